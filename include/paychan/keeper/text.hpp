// Words for people: amounts, times, names, and what strangers say.
#pragma once

#include <cstdio>
#include <ctime>
#include <string>
#include <string_view>
#include <vector>

#include "paychan/channel/export.hpp"
#include "paychan/core/hex.hpp"

namespace paychan {

/// 1234567 -> "1,234,567 sat".
[[nodiscard]] inline std::string text_of(satoshi amount) {
    const std::string digits = std::to_string(amount.value);
    const std::size_t sign = amount.value < 0 ? 1 : 0;
    std::string out;
    for (std::size_t i = 0; i < digits.size(); ++i) {
        if (i > sign && (digits.size() - i) % 3 == 0) out += ',';
        out += digits[i];
    }
    return out + " sat";
}

/// "2026-11-21 05:31:00 UTC".
[[nodiscard]] inline std::string text_of(unix_time t) {
    const auto seconds = static_cast<std::time_t>(t.seconds);
    std::tm parts{};
    char text[64];
    if (gmtime_r(&seconds, &parts) == nullptr || std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &parts) == 0)
        return std::to_string(t.seconds);
    return text;
}

[[nodiscard]] inline std::string text_of(const txid& id) {
    const auto text = display(id);
    return {text.begin(), text.end()};
}

[[nodiscard]] inline std::string hex_of(bytes_view bytes) {
    std::string out(2 * bytes.size(), '\0');
    (void)to_hex(bytes, out);  // cannot fail: two characters a byte are there
    return out;
}

/// The bytes that somebody wrote as hexadecimal digits.
/// most  [bytes]
/// why   what is wrong with the text, for people: it goes on behind the text's name
/// Fails  malformed, too_long.
[[nodiscard]] inline result<std::vector<std::uint8_t>> bytes_of_hex(std::string_view hex, std::size_t most,
                                                                    std::string& why) {
    const auto bad = [&](errc code, const std::string& text) {
        why = text;
        return fail(code, "this is not the hex of some bytes, or of too many");
    };
    if (hex.find_first_not_of("0123456789abcdefABCDEF") != std::string_view::npos)
        return bad(errc::malformed,
                   " must be hexadecimal digits only, two for each byte, for example 0102ff (without 0x)");
    if (hex.size() % 2 != 0)
        return bad(errc::malformed, " has an odd number of hexadecimal digits: two make a byte, 0a and not a");
    if (hex.size() / 2 > most)
        return bad(errc::too_long, " has " + std::to_string(hex.size() / 2) + " bytes, more than the " +
                                       std::to_string(most) + " that are allowed: take less, or a hash of it");
    std::vector<std::uint8_t> out(hex.size() / 2);
    PAYCHAN_CHECK(from_hex(hex, out));
    return out;
}

/// A stranger's bytes as text that cannot steer a terminal: what is not printable ASCII becomes \xNN; 200 characters at
/// the most.
[[nodiscard]] inline std::string harmless(bytes_view bytes) {
    constexpr std::size_t longest = 200;
    std::string out;
    for (const std::uint8_t b : bytes) {
        if (out.size() >= longest) return out + "...";
        if (b >= 0x20 && b < 0x7f && b != '\\') {
            out += static_cast<char>(b);
        } else {
            char text[8];
            std::snprintf(text, sizeof text, "\\x%02x", b);
            out += text;
        }
    }
    return out;
}

[[nodiscard]] constexpr const char* name_of(channel_role role) {
    return role == channel_role::client ? "client" : "server";
}

[[nodiscard]] constexpr const char* name_of(channel_stage s) {
    switch (s) {
        case channel_stage::none: return "none";
        case channel_stage::contract_stored: return "opening";
        case channel_stage::open: return "open";
        case channel_stage::settling: return "settling";
        case channel_stage::unbacked: return "unbacked";
    }
    return "unknown";
}

[[nodiscard]] constexpr const char* name_of(import_outcome o) {
    switch (o) {
        case import_outcome::stored: return "stored";
        case import_outcome::kept: return "kept";
        case import_outcome::repaired: return "repaired";
        case import_outcome::too_late: return "too_late";
    }
    return "unknown";
}

[[nodiscard]] constexpr const char* name_of(broadcast_outcome o) {
    switch (o) {
        case broadcast_outcome::accepted: return "accepted";
        case broadcast_outcome::refused: return "refused";
        case broadcast_outcome::unreachable: return "unreachable";
    }
    return "unknown";
}

}  // namespace paychan
