// Bytes to hexadecimal text and back.
#pragma once

#include <span>
#include <string_view>

#include "paychan/core/bytes.hpp"
#include "paychan/core/result.hpp"

namespace paychan {

namespace detail {
[[nodiscard]] constexpr int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}
}  // namespace detail

/// Writes the lower-case hex of `bytes`, without an ending zero, into `out` (2 characters a byte).
/// Fails  too_long (out is shorter).
[[nodiscard]] constexpr result<std::string_view> to_hex(bytes_view bytes, std::span<char> out) {
    constexpr std::string_view digits = "0123456789abcdef";
    if (out.size() / 2 < bytes.size()) return fail(errc::too_long, "no room for the hex text");
    std::size_t n = 0;
    for (const std::uint8_t b : bytes) {
        out[n++] = digits[b >> 4];
        out[n++] = digits[b & 15];
    }
    return std::string_view{out.data(), n};
}

/// Reads hex of either case into `out`; the result views the part of `out` that was written.
/// Fails  malformed (an odd length or another character), too_long (out is shorter than half the text).
[[nodiscard]] constexpr result<bytes_view> from_hex(std::string_view text, bytes_span out) {
    if (text.size() % 2 != 0) return fail(errc::malformed, "hex text has an odd length");
    if (text.size() / 2 > out.size()) return fail(errc::too_long, "hex text is longer than expected");
    for (std::size_t i = 0; i < text.size(); i += 2) {
        const int high = detail::hex_digit(text[i]);
        const int low = detail::hex_digit(text[i + 1]);
        if (high < 0 || low < 0) return fail(errc::malformed, "hex text has a character that is not 0-9, a-f");
        out[i / 2] = static_cast<std::uint8_t>(high << 4 | low);
    }
    return bytes_view{out.data(), text.size() / 2};
}

}  // namespace paychan
