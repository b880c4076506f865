// Which of a client's stored channels to go on with.
#pragma once

#include <algorithm>
#include <optional>
#include <string_view>

#include "paychan/channel/contract.hpp"

namespace paychan {

/// A server's name as a channel's label: its first 64 bytes.
[[nodiscard]] inline channel_label label_of(std::string_view server) {
    channel_label label;
    (void)label.assign(
        {reinterpret_cast<const std::uint8_t*>(server.data()), std::min(server.size(), channel_label::capacity())});
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
