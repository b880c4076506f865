// What is known of a channel that is watched with nobody connected: from its record, and from the chain.
#pragma once

#include <limits>
#include <type_traits>

#include "paychan/channel/record_io.hpp"

namespace paychan {

/// A few words for each channel, kept in memory; a copy is a checkpoint.  What the chain did to the channel is stored too,
/// as a record of its own, so that a start does not read old blocks: see write_watch.  The rest is of this process.
struct watched {
    static constexpr std::int32_t never = -1;
    static constexpr unix_time no_time{std::numeric_limits<std::int64_t>::max()};

    // Of the channel's record.
    unix_time expiry{};
    txid
        closing{};  ///< what spends the contract: in a block, or offered to the network last; zeros while nothing is known
    std::int32_t recorded_height = 0;  ///< of the block of `closing`, as the record has it
    // Of the chain; stored.
    std::int32_t contract_height = 0;  ///< 0: the contract is in no block
    std::int32_t end_height = 0;  ///< of the block with what spends the contract, or what the contract was to spend
    // Of this process.  A round is a block, or ten minutes in which none comes.
    std::int32_t offered = never;     ///< round in which what is in no block yet was given to the network last
    std::int32_t asked_over = never;  ///< server: round in which the channel's connection was asked to settle; client:
                                      ///< round in which the network was given the contract of an open one last
    std::int32_t refused_at = never;  ///< server: height at which the network refused the contract first
    std::int32_t built_at = never;    ///< server: round in which the settlement was built; client: [blocks] height at
                                      ///< which the network took a refund first
    std::int32_t built_rate = 0;      ///< [sat/kvB] what the last one of these pays; 0: not known yet
    unix_time seen{};                 ///< when this process heard of the channel

    channel_stage stage = channel_stage::none;
    bool lost : 1 = false;       ///< the end is another spend of the contract's coins; stored
    bool elsewhere : 1 = false;  ///< which pays the same to the contract's script; stored
    bool unknown : 1 = false;    ///< blocks before this process's are still to tell what the chain did; stored
    bool unread : 1 = false;     ///< the record could not be read
    bool unwritten : 1 = false;  ///< the end, or that payments must stop, is still to be written into the record
    bool asked : 1 = false;      ///< the contract was given to the network,
    bool accepted : 1 = false;   ///< which took it, the last time that it answered
    bool backed : 1 = false;     ///< so too, and its node has been there since
    bool refused : 1 = false;    ///< server: the network refused the settlement the last time
    bool told : 1 = false;       ///< the application heard of settlement or refund
    bool overdue : 1 = false;    ///< server: the deadline has passed, and there is no contract to collect from

    /// True when something that ends the channel is in a block, or makes its contract impossible.
    [[nodiscard]] bool ended() const { return end_height != 0; }

    /// A channel that has no contract anywhere, as far as is known: not settled at its deadline, and deleted in the end.
    ///     contract_stored   in no block: never opened, nothing acked
    ///     unbacked          in no block, and the network did not take it when it answered last
    /// Any other stage was begun.  Strangers could fill a server's store with such.
    [[nodiscard]] bool unbegun() const {
        return contract_height == 0 && !ended() &&
               (stage == channel_stage::contract_stored || (stage == channel_stage::unbacked && !accepted));
    }

    /// A channel that takes payments, as far as is known, and has its contract in no block.
    [[nodiscard]] bool open_unmined() const { return stage == channel_stage::open && contract_height == 0; }

    /// One that never opened: no payment on it was acked.
    [[nodiscard]] bool unopened() const { return unbegun() && stage == channel_stage::contract_stored; }
};
static_assert(std::is_trivially_copyable_v<watched>);

/// What a watch record holds.
struct watch_facts {
    std::int32_t contract_height = 0;
    std::int32_t end_height = 0;
    txid closing{};
    bool lost = false;
    bool elsewhere = false;
    bool unknown = false;  ///< an import: only blocks from the beginning on can tell the rest
    friend bool operator==(const watch_facts&, const watch_facts&) = default;
};

inline constexpr std::uint8_t watch_format = 1;
using watch_buffer = bounded_bytes<64>;

[[nodiscard]] inline watch_buffer write_watch(const watch_facts& facts) {
    watch_buffer out;
    writer w(out.memory());
    w.u8(watch_format);
    w.i32(facts.contract_height);
    w.i32(facts.end_height);
    w.u8(static_cast<std::uint8_t>((facts.lost ? 1 : 0) | (facts.elsewhere ? 2 : 0) | (facts.unknown ? 4 : 0)));
    w.bytes(facts.closing.bytes);
    w.bytes(detail::checksum(hash256(w.written())));
    out.resize(w.size());
    return out;
}
[[nodiscard]] inline watch_buffer write_watch(const watched& w) {
    return write_watch(watch_facts{w.contract_height, w.end_height, w.ended() && !w.lost ? w.closing : txid{}, w.lost,
                                   w.elsewhere, w.unknown});
}

/// Fails  unknown_format (a newer paychan wrote it), corrupt_record.
[[nodiscard]] inline result<watch_facts> read_watch(bytes_view bytes) {
    if (!bytes.empty() && bytes.front() > watch_format)
        return fail(errc::unknown_format,
                    "what the chain did to the channel was written by a newer version of paychan");
    if (bytes.size() < detail::checksum_size)
        return fail(errc::corrupt_record, "the channel's watch record is cut off");
    const auto content = bytes.first(bytes.size() - detail::checksum_size);
    reader r(content);
    const std::uint8_t format = r.u8();
    watch_facts out;
    out.contract_height = r.i32();
    out.end_height = r.i32();
    const std::uint8_t flags = r.u8();
    out.lost = (flags & 1) != 0;
    out.elsewhere = (flags & 2) != 0;
    out.unknown = (flags & 4) != 0;
    out.closing.bytes = r.array<32>();
    const bool spent = out.end_height != 0 && !out.lost;
    const bool can_be = flags <= 7 && out.contract_height >= 0 && out.end_height >= 0 && (out.lost || !out.elsewhere) &&
                        (out.end_height != 0 || !out.lost) && (spent || out.closing == txid{});
    if (!r.done() || format != watch_format || !can_be ||
        !equal(detail::checksum(hash256(content)), bytes.last(detail::checksum_size)))
        return fail(errc::corrupt_record, "the channel's watch record is damaged");
    return out;
}

}  // namespace paychan
