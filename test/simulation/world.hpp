// Everything that outlives a process: chain, disks, wires, time; and the rules, checked as things happen.
#pragma once

#include <deque>
#include <functional>
#include <memory>

#include "paychan/memory/chain_follower.hpp"
#include "paychan/memory/clock.hpp"
#include "paychan/memory/file_store.hpp"
#include "paychan/memory/store.hpp"
#include "paychan/wire/codec.hpp"
#include "simulation/file_system.hpp"
#include "simulation/schedule.hpp"
#include "simulation/truth.hpp"

namespace simulation {

inline constexpr unix_time world_start{1'700'000'000};
inline constexpr std::int64_t settle_margin = 7'200;  // [s]
inline constexpr std::int32_t burial = 8;             // [blocks] 100 would only take longer
inline constexpr int coins_per_client = 4;
inline constexpr satoshi coin_value{2'000'000};

/// A frame on its way.
struct frame {
    byte_string bytes;
    bool honest = true;  // sent by the process at the other end, once, and not changed
};

/// A connection.  Its ends are processes, or the simulation itself as a stranger.
struct wire_link {
    std::uint8_t client = 0;  // process number; 0 for a stranger
    std::uint8_t server = 0;
    std::deque<frame> to_server;
    std::deque<frame> to_client;
    bool client_gone = false;  // that end is closed: what it sent before still arrives
    bool server_gone = false;
    bool client_told = false;  // that side was told of the end
    bool server_told = false;
    bool tampered = false;  // what is said on it proves nothing any more
    txid channel{};         // the last one that the client used on it
};

/// What somebody on the wire does to the next frame that fits.
struct wire_attack {
    enum class kind : std::uint8_t { none, repeat, change, raise_s, spoil_first } what = kind::none;
    bool to_client = false;
    std::uint32_t at = 0;
    std::uint8_t change = 0;
};

/// A write that failed or was cut short: its records may be on the disk as a whole, or not at all.
struct unsure_write {
    struct record {
        record_id id;
        std::uint64_t version = 0;
        std::optional<byte_string> bytes;  // nothing: erased
    };
    std::vector<record> records;
    bool whole = true;  // false: some of it was written again since
};

/// One disk.  Processes come and go; a disk stays.
struct disk {
    memory_store kept;                   // with files: what must be in them
    std::unique_ptr<file_system> files;  // nothing: the disk is `kept` itself, and a write is there or not
    std::vector<unsure_write> unsure;    // in files only, and nobody knows
    bool full = false;
    bool one_by_one = false;

    void may_have(unsure_write w);
    /// What was written, or erased, for sure: older attempts do not matter any more.
    void has(const record_id& id);
};

/// What a process was told since it started.
struct news {
    unix_time median_time{};  // the latest
    bool downloading = false;
    std::set<txid> lost;   // contracts whose coins a block has spent otherwise
    std::set<txid> taken;  // what its node had when it said so last, and since it returned
};

class world {
public:
    world(const cast& c, tally& t, bool tracing);

    // ---- what happened, in words
    template <class F>
    void say(F&& text) {
        if (tracing) trace.push_back(text());
    }

    // ---- rules
    template <class F>
    void check(rule r, bool holds, F&& text) {
        ++count.checked[static_cast<std::size_t>(r)];
        if (!holds) throw violation{r, text()};
    }
    /// About to write it, as far as it knows; the disk may fail.
    void writes(std::uint8_t process, const record_id& id, bytes_view bytes);
    void stored(std::uint8_t process, const record_id& id, std::uint64_t version, bytes_view bytes);
    void erases(std::uint8_t process, const record_id& id, std::int32_t height_seen);  ///< may it?
    void erased(std::uint8_t process, const record_id& id);
    /// A process opens its disk of files: is all there that must be, and nothing by halves?
    void opens(std::uint8_t process, file_store& found);
    /// The process is gone, and perhaps the power with it.
    void dies(std::uint8_t process);
    void signs(std::uint8_t process, const sign_request& request);
    void server_sends(std::uint8_t process, const channel_record& record, bytes_view frame);
    void client_sends(std::uint8_t process, const channel_record& record, bytes_view frame);
    void broadcasts(std::uint8_t process, bytes_view tx);
    /// Offers a transaction to the network, and judges a refusal; the process hears of it later.
    void submits(std::uint8_t process, bytes_view tx);
    /// A process is told of blocks that its node has deleted.
    void passes(std::uint8_t process, const passed_blocks& p);
    /// [satoshi] What was paid, as its disk has it; or had it, when the channel is over and perhaps buried.
    [[nodiscard]] std::int64_t kept_by_server(const txid& id) const;
    void check_all();
    void check_ended();
    /// The client has a record of it, and what its contract spends is unspent.
    [[nodiscard]] bool is_locked(const txid& id, const channel_truth& c) const;
    /// Nobody can show the process what became of the channel.
    [[nodiscard]] static bool is_unseen(const channel_truth& c, std::uint8_t process) {
        return std::ranges::any_of(c.unseen, [&](std::uint8_t p) {
            return p == process || (p < first_client && process < first_client);  // those of the server share a store
        });
    }

    [[nodiscard]] unix_time clock_of(std::uint8_t process) const { return now + clock_error[process]; }
    /// True when the operator's clock says that a channel is due, or the chain as far as this process has heard of it.
    [[nodiscard]] bool is_due(const channel_truth& c, std::uint8_t process) const {
        return std::max(clock_of(process), heard[process].median_time) + settle_margin >= c.terms.expiry;
    }

    /// Puts a frame on the wire, where it may be attacked.
    void carry(wire_link& link, bool to_client, bytes_view bytes);
    /// What a frame becomes under an attack on what it says; nothing when it says something else.
    [[nodiscard]] static std::optional<byte_string> rewritten(bytes_view frame, wire_attack::kind how);

    // ---- chain
    void mine_one(memory_chain::contents take = memory_chain::contents::mempool);
    void reorg(std::int32_t depth, memory_chain::contents take);
    /// Spends the coins of a client's contract that is in no block.
    void double_spend(std::uint8_t client);
    /// [sat/kvB] what a transaction pays; nothing when it is unknown what it spends.

    // For the observer's own follower.
    static constexpr chain_turn chain_order = chain_turn::others;
    void on_chain(const chain_event& e) {
        match(
            e, [this](const connected_block& b) { on_block(b); },
            [this](const disconnected_blocks& d) { on_blocks_left(d.from); });
    }
    void on_block(const connected_block& b);
    void on_blocks_left(std::int32_t from);
    /// Something else in a block has spent what the contract spends.
    void find_other_spend(const txid& id);

    /// Nothing when clients write no export files.
    [[nodiscard]] std::string export_folder(std::uint8_t client) const {
        return sticks[client] ? sticks[client]->path() : std::string();
    }
    [[nodiscard]] disk& disk_of(std::uint8_t process) { return process < first_client ? disks[0] : disks[process]; }

    cast who;
    tally& count;
    bool tracing;
    std::vector<std::string> trace;
    memory_chain chain;
    chain_follower observer;
    unix_time now = world_start;
    std::array<std::int64_t, 8> clock_error{};  // [s] by process
    std::array<news, 8> heard{};                // by process
    std::array<disk, 8> disks;                  // by process; 0: the servers'
    std::array<std::optional<std::pair<memory_store, std::map<txid, on_disk>>>, 8> copies;  // of clients' disks
    std::array<std::unique_ptr<file_system>, 8> sticks;  // with the clients' export files
    std::vector<std::unique_ptr<wire_link>> links;
    truth known;
    std::int64_t fee_floor = 1'000;  // [sat/kvB]
    bool server_dead = false;
    std::vector<byte_string> recorded;     // frames that a stranger has listened to, from clients
    std::array<wire_attack, 8> attacks{};  // by client
    std::array<bool, 8> bars_next{};       // by client: its next contract
    std::set<txid> barred;                 // contracts that no node takes
    byte_string miner{0x51};
    script_buffer server_payout;
};

/// n - s: the other s of a signature, as valid, but relayed by no node.
[[nodiscard]] ecdsa_signature with_high_s(ecdsa_signature signature);

/// The chain that every history begins with, and the clients' coins on it.
[[nodiscard]] const memory_chain& first_chain();
[[nodiscard]] std::int32_t first_height();

}  // namespace simulation
