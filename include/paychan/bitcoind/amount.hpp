// Amounts as nodes write them, JSON numbers in BTC, to satoshi: exactly, without a floating-point number on the way.
#pragma once

#include <optional>
#include <string_view>

#include "paychan/bitcoin/fee.hpp"
#include "paychan/core/satoshi.hpp"

namespace paychan::bitcoind {

namespace detail {

struct scaled_number {
    std::uint64_t units = 0;  ///< whole units of 1e-8, towards zero
    bool negative = false;
    bool fraction = false;  ///< something was below one unit
};

inline constexpr std::size_t max_number_text = 64;  // [characters] longer is no amount

/// Reads one JSON number (RFC 8259, section 6) and multiplies it by 10^8.
/// Fails  malformed (not a JSON number, or longer than 64 characters), out_of_range (2^64 units or more).
[[nodiscard]] constexpr result<scaled_number> scale_btc(std::string_view text) {
    if (text.size() > max_number_text) return fail(errc::malformed, "number is too long to be an amount");
    const auto malformed = [] { return fail(errc::malformed, "not a JSON number"); };
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    std::size_t at = 0;
    const auto peek = [&] { return at < text.size() ? text[at] : '\0'; };

    scaled_number out;
    if (peek() == '-') {
        out.negative = true;
        ++at;
    }
    const std::size_t whole = at;
    while (is_digit(peek())) ++at;
    const std::size_t whole_size = at - whole;
    if (whole_size == 0 || (whole_size > 1 && text[whole] == '0')) return malformed();
    std::size_t fraction = at;
    if (peek() == '.') {
        fraction = ++at;
        while (is_digit(peek())) ++at;
        if (at == fraction) return malformed();
    }
    const std::size_t fraction_size = at - fraction;
    int exponent = 0;
    if (peek() == 'e' || peek() == 'E') {
        ++at;
        const bool down = peek() == '-';
        if (peek() == '-' || peek() == '+') ++at;
        const std::size_t digits = at;
        // Stops growing where 64 digits can no longer matter, so that it cannot overflow.
        for (; is_digit(peek()); ++at) exponent = exponent < 1000 ? exponent * 10 + (peek() - '0') : exponent;
        if (at == digits) return malformed();
        if (down) exponent = -exponent;
    }
    if (at != text.size()) return malformed();

    // Each digit has its place: power 0 is one unit.
    int power = exponent + 8 + static_cast<int>(whole_size);
    const auto take = [&](std::string_view digits) {
        for (const char c : digits) {
            const auto digit = static_cast<std::uint64_t>(c - '0');
            if (--power >= 0) {
                if (__builtin_mul_overflow(out.units, 10U, &out.units)) return false;
                if (__builtin_add_overflow(out.units, digit, &out.units)) return false;
            } else if (digit != 0) {
                out.fraction = true;
            }
        }
        return true;
    };
    const auto too_large = [] { return fail(errc::out_of_range, "number is too large to be an amount"); };
    if (!take(text.substr(whole, whole_size)) || !take(text.substr(fraction, fraction_size))) return too_large();
    for (; power > 0 && out.units != 0; --power)
        if (__builtin_mul_overflow(out.units, 10U, &out.units)) return too_large();
    return out;
}

}  // namespace detail

/// An amount in BTC, as the text of a JSON number (`0.1`, `5e-7`, `1E+2`), to satoshi.
/// Fails  malformed (not a JSON number), out_of_range (negative, above 21 million, or with a part below one satoshi).
[[nodiscard]] constexpr result<satoshi> parse_btc(std::string_view text) {
    PAYCHAN_TRY(const detail::scaled_number n, detail::scale_btc(text));
    if (n.fraction) return fail(errc::out_of_range, "amount has a part below one satoshi");
    if (n.negative && n.units != 0) return fail(errc::out_of_range, "amount is negative");
    return money(n.units);
}

/// A fee rate in BTC/kvB, as the text of a JSON number, to [sat/kvB]; a part below one is rounded up, since a rate is
/// a floor for relay.
/// Fails  malformed (not a JSON number), out_of_range (negative, which some nodes give for "unknown", or too large).
[[nodiscard]] constexpr result<fee_rate> parse_btc_per_kvb(std::string_view text) {
    PAYCHAN_TRY(const detail::scaled_number n, detail::scale_btc(text));
    if (n.negative && (n.units != 0 || n.fraction)) return fail(errc::out_of_range, "fee rate is negative");
    PAYCHAN_TRY(const satoshi rate, money(n.units));
    return fee_rate{rate.value + (n.fraction ? 1 : 0)};
}

}  // namespace paychan::bitcoind
