// Wall-clock time as Bitcoin has it: whole seconds since 1970.
#pragma once

#include <compare>
#include <cstdint>
#include <limits>

namespace paychan {

/// Seconds since 1970 [s].  64 bits: a channel may expire after 2038.
struct unix_time {
    std::int64_t seconds = 0;
    friend constexpr auto operator<=>(unix_time, unix_time) = default;
};

/// Later by `seconds` [s], stopping at the ends of the range instead of wrapping.
[[nodiscard]] constexpr unix_time operator+(unix_time t, std::int64_t seconds) {
    std::int64_t sum = 0;
    if (__builtin_add_overflow(t.seconds, seconds, &sum))
        sum = seconds < 0 ? std::numeric_limits<std::int64_t>::min() : std::numeric_limits<std::int64_t>::max();
    return {sum};
}

}  // namespace paychan
