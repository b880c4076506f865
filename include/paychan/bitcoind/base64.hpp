// Base64, for HTTP's Authorization header.
#pragma once

#include <string>
#include <string_view>

namespace paychan::bitcoind {

/// With padding.  Source  RFC 4648, section 4.
[[nodiscard]] inline std::string base64(std::string_view text) {
    constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
    std::string out;
    out.reserve((text.size() + 2) / 3 * 4);
    for (std::size_t i = 0; i < text.size(); i += 3) {
        const unsigned bits = byte(i) << 16 | byte(i + 1) << 8 | byte(i + 2);
        out += alphabet[bits >> 18];
        out += alphabet[bits >> 12 & 63];
        out += i + 1 < text.size() ? alphabet[bits >> 6 & 63] : '=';
        out += i + 2 < text.size() ? alphabet[bits & 63] : '=';
    }
    return out;
}

}  // namespace paychan::bitcoind
