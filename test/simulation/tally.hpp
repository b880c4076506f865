// What a simulation did, counted: steps, faults by kind, rules checked; and how a broken rule is told.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace simulation {

/// What must hold whatever fails.
enum class rule : std::uint8_t {
    acked_is_kept,  ///< what a client saw acked is on the server's disk, until it is in a buried settlement
    paid_once,      ///< a client signs away no more than it was asked to: first payment, payments, a rest below dust
    right_money,    ///< every contract ends in time, by a settlement of the best payment or by the refund
    kept_until_buried,    ///< no record is deleted before the transaction that ends its channel is buried
    durable_before_sent,  ///< nothing leaves before what it rests on is on disk
    relayed,              ///< no transaction of ours is refused for its own fault, and no refund comes before its time
    one_writer,           ///< records grow version by version, and no payment is ever taken back
    strangers_end_nothing,  ///< nobody but the client, the operator and the deadline has a channel settled
    disk_keeps,             ///< what file_store took is there after a power cut, and of what it did not, no half
    hellos_are_free,  ///< a key that locks nothing and has signed no refund is given back when its connection ends
    coins_come_free,  ///< no client keeps coins locked in a contract that no block has, when its refund is due
    as_heard,  ///< no channel opens, and no payment is taken, against what the server has heard of time and contract
};
inline constexpr std::array<std::string_view, 12> rule_names{
    "acked value is kept", "paid once",     "right money in time",   "kept until buried", "durable before it is sent",
    "relayed by nodes",    "one writer",    "strangers end nothing", "disks keep",        "hellos are free",
    "coins come free",     "taken as heard"};

enum class fault : std::uint8_t {
    crash_before_effect,
    crash_after_effect,
    kill,
    store_read_fails,
    store_write_fails,
    write_done_but_failed,
    disk_full,
    disk_operation_fails,
    unsynced_lost,
    file_torn,
    disk_lost,
    double_spend,
    contract_barred,
    bad_first_payment,
    key_unavailable,
    funding_fails,
    frame_lost,
    frame_repeated,
    frame_changed,
    high_s,
    disconnect,
    old_disk,
    clock_jump,
    node_down,
    node_syncs,
    mempool_lost,
    blocks_pruned,
    broadcast_unreachable,
    broadcast_refused,
    eviction,
    reorg,
    fee_spike,
    estimate_wrong,
    estimate_stale,
    stranger,
    server_dies,
};
inline constexpr std::array<std::string_view, 36> fault_names{"crash before an effect",
                                                              "crash after an effect",
                                                              "kill",
                                                              "store read fails",
                                                              "store write fails",
                                                              "write done, but reported failed",
                                                              "disk full",
                                                              "disk operation fails",
                                                              "un-synced change lost",
                                                              "file torn",
                                                              "disk lost",
                                                              "double spend of the funding",
                                                              "contract barred",
                                                              "bad first payment",
                                                              "key unavailable",
                                                              "funding fails",
                                                              "frame lost",
                                                              "frame repeated",
                                                              "frame changed",
                                                              "high S on the wire",
                                                              "disconnect",
                                                              "old disk restored",
                                                              "clock jump",
                                                              "node down",
                                                              "node syncs",
                                                              "mempools lost",
                                                              "blocks passed over",
                                                              "broadcast unreachable",
                                                              "broadcast refused",
                                                              "eviction",
                                                              "reorganisation",
                                                              "fee spike",
                                                              "wrong estimate",
                                                              "stale estimate",
                                                              "hostile peer",
                                                              "server dies for good"};

struct tally {
    std::uint64_t histories = 0;
    std::uint64_t steps = 0;
    std::uint64_t channels = 0;
    std::uint64_t payments = 0;  // acked
    std::uint64_t settled = 0;   // contracts that ended so
    std::uint64_t refunded = 0;
    std::uint64_t rescues = 0;                     // servers that were given one calm moment before a refund's time
    std::uint64_t digest = 14695981039346656037U;  // FNV-1a of all that happened: equal runs have equal digests
    std::array<std::uint64_t, rule_names.size()> checked{};
    std::array<std::uint64_t, fault_names.size()> faults{};

    void add(fault f) { ++faults[static_cast<std::size_t>(f)]; }
    void mix(std::uint64_t n) { digest = (digest ^ n) * 1099511628211U; }
    void add(const tally& other) {
        histories += other.histories;
        steps += other.steps;
        channels += other.channels;
        payments += other.payments;
        settled += other.settled;
        refunded += other.refunded;
        rescues += other.rescues;
        digest += other.digest;  // whatever the order
        for (std::size_t i = 0; i < checked.size(); ++i) checked[i] += other.checked[i];
        for (std::size_t i = 0; i < faults.size(); ++i) faults[i] += other.faults[i];
    }
};

/// Thrown when a rule is broken, through whatever is running: the history ends there.
struct violation {
    rule broken{};
    std::string text;
};

}  // namespace simulation
