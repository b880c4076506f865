// Which of a client's stored channels to go on with.
#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include "paychan/channel/contract.hpp"
#include "paychan/core/hex.hpp"
#include "paychan/crypto/hash.hpp"

namespace paychan {

/// A server's name as a channel's label.  Of one that is longer than a label: its first 31 bytes, '#', which no HOST:PORT
/// has, and 32 hex digits of the name's SHA-256, so that no two servers have the same.  Labels of before, which were the
/// first 64 bytes of such a name, fit any of several servers and are no server's any more: a channel with one comes home as
/// ever, but does not go on.
[[nodiscard]] inline channel_label label_of(std::string_view server) {
    const bytes_view name(reinterpret_cast<const std::uint8_t*>(server.data()), server.size());
    channel_label label;
    if (label.assign(name)) return label;
    constexpr std::size_t kept = 31;
    std::array<char, 2 * 16> digits{};
    (void)to_hex(bytes_view(sha256(name)).first(16), digits);  // cannot fail: two characters a byte are there
    std::array<std::uint8_t, channel_label::capacity()> text{};
    const auto behind = std::copy_n(name.begin(), kept, text.begin());
    *behind = '#';
    std::copy(digits.begin(), digits.end(), behind + 1);
    (void)label.assign(text);
    return label;
}

/// What a client wants of a stored channel.
struct resume_wish {
    channel_label label;  ///< of the server, as when the channel was opened
    version_set versions = version_set::all();
    satoshi amount{1};           ///< of one payment; not 0
    std::uint64_t payments = 1;  ///< that the channel has room for
    /// It must live longer than that.  The server settles 2 hours before the expiry, and the first payments should not come
    /// to nothing.
    unix_time alive_after{};
};

inline constexpr std::int64_t least_resumed_life = 7'200 + 1'200;  // [s] from now: a good `alive_after`

struct resumable_channels {
    std::optional<channel_record> best;           ///< of those that can go on, the one that lives longest
    std::optional<channel_record> other_version;  ///< one that could but for its version
};

/// records  a range of client records
template <class Records>
[[nodiscard]] resumable_channels find_resumable(const Records& records, const resume_wish& wish) {
    resumable_channels out;
    for (const channel_record& r : records) {
        const bool alive = r.stage == channel_stage::open || r.stage == channel_stage::contract_stored;
        const auto room = static_cast<std::uint64_t>(r.change.value) / static_cast<std::uint64_t>(wish.amount.value);
        if (!alive || room < wish.payments || r.terms.expiry <= wish.alive_after ||
            !equal(r.label.view(), wish.label.view()))
            continue;
        if (!wish.versions.has(r.protocol))
            out.other_version = r;
        else if (!out.best || r.terms.expiry > out.best->terms.expiry)
            out.best = r;
    }
    return out;
}

}  // namespace paychan
