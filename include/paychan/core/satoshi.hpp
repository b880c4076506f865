// Amounts: checked 64-bit satoshi, so that no sum of a peer's numbers can wrap.
#pragma once

#include <compare>
#include <cstdint>

#include "paychan/core/result.hpp"

namespace paychan {

/// An amount of money [satoshi].  Holds any 64-bit value, since a peer's transaction may; use `money` to check the
/// range.
struct satoshi {
    std::int64_t value = 0;
    friend constexpr auto operator<=>(satoshi, satoshi) = default;
};

inline constexpr satoshi coin{100'000'000};                      // [satoshi]
inline constexpr satoshi max_money{21'000'000 * 100'000'000LL};  // [satoshi] consensus limit

[[nodiscard]] constexpr bool is_money(satoshi s) { return s.value >= 0 && s <= max_money; }

/// An amount from the wire.  Fails  out_of_range (above 21 million coins).
[[nodiscard]] constexpr result<satoshi> money(std::uint64_t value) {
    if (value > static_cast<std::uint64_t>(max_money.value))
        return fail(errc::out_of_range, "amount is above 21 million coins");
    return satoshi{static_cast<std::int64_t>(value)};
}

/// a + b.  Fails  out_of_range (either is not money, or the sum is not).
[[nodiscard]] constexpr result<satoshi> add(satoshi a, satoshi b) {
    if (!is_money(a) || !is_money(b) || a.value > max_money.value - b.value)
        return fail(errc::out_of_range, "amounts add up to more than 21 million coins");
    return satoshi{a.value + b.value};
}

/// a - b.  Fails  out_of_range (either is not money), insufficient_funds (b > a).
[[nodiscard]] constexpr result<satoshi> subtract(satoshi a, satoshi b) {
    if (!is_money(a) || !is_money(b)) return fail(errc::out_of_range, "not an amount of money");
    if (b > a) return fail(errc::insufficient_funds, "less is there than is taken away");
    return satoshi{a.value - b.value};
}

}  // namespace paychan
