// Base58 and base58check: the text form of legacy addresses and of private keys.
#pragma once

#include <span>
#include <string_view>

#include "paychan/core/bytes.hpp"
#include "paychan/core/result.hpp"
#include "paychan/core/secret.hpp"
#include "paychan/crypto/hash.hpp"

namespace paychan {

/// The most that base58check takes: an extended key of BIP32 has 78 bytes.
inline constexpr std::size_t max_base58check_payload = 124;  // [bytes]

namespace detail {
inline constexpr std::string_view base58_digits = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
}

/// Writes the base58 of `bytes` into `out`, without an ending zero.  Takes time by the square of the size: for short
/// things only.
/// Fails  too_long (no room; 1.4 characters a byte suffice).
[[nodiscard]] inline result<std::string_view> encode_base58(bytes_view bytes, std::span<char> out) {
    std::size_t zeros = 0;
    while (zeros < bytes.size() && bytes[zeros] == 0) ++zeros;

    // out holds the number's base58 digits, the least one first, until all bytes are in.
    std::size_t size = 0;
    for (const std::uint8_t byte : bytes.subspan(zeros)) {
        unsigned carry = byte;
        for (std::size_t i = 0; i < size || carry != 0; ++i) {
            if (i == size) {
                if (size == out.size()) return fail(errc::too_long, "no room for the base58 text");
                out[size++] = 0;
            }
            carry += 256u * static_cast<unsigned char>(out[i]);
            out[i] = static_cast<char>(carry % 58);
            carry /= 58;
        }
    }
    if (zeros > out.size() - size) return fail(errc::too_long, "no room for the base58 text");
    for (; zeros > 0; --zeros) out[size++] = 0;
    const auto text = out.first(size);
    std::ranges::reverse(text);
    for (char& c : text) c = detail::base58_digits[static_cast<unsigned char>(c)];
    return std::string_view{text.data(), text.size()};
}

/// Reads base58 into `out`; the result views the part that was written.  Spaces are not skipped.
/// Fails  malformed (another character), too_long (no room).
[[nodiscard]] inline result<bytes_view> decode_base58(std::string_view text, bytes_span out) {
    std::size_t ones = 0;
    while (ones < text.size() && text[ones] == detail::base58_digits[0]) ++ones;
    text.remove_prefix(ones);  // not substr, which brings a throw into programs that have none

    std::size_t size = 0;
    for (const char c : text) {
        const std::size_t digit = detail::base58_digits.find(c);
        if (digit == std::string_view::npos) return fail(errc::malformed, "text has a character that is not base58");
        auto carry = static_cast<unsigned>(digit);
        for (std::size_t i = 0; i < size || carry != 0; ++i) {
            if (i == size) {
                if (size == out.size()) return fail(errc::too_long, "base58 text is longer than expected");
                out[size++] = 0;
            }
            carry += 58u * out[i];
            out[i] = static_cast<std::uint8_t>(carry);
            carry >>= 8;
        }
    }
    if (ones > out.size() - size) return fail(errc::too_long, "base58 text is longer than expected");
    for (; ones > 0; --ones) out[size++] = 0;
    const auto bytes = out.first(size);
    std::ranges::reverse(bytes);
    return bytes_view{bytes};
}

/// Base58 of the payload and of the first four bytes of its hash256.  What it leaves in memory is wiped, except `out`.
/// Fails  too_long.
[[nodiscard]] inline result<std::string_view> encode_base58check(bytes_view payload, std::span<char> out) {
    if (payload.size() > max_base58check_payload) return fail(errc::too_long, "payload is too long for base58check");
    secret<std::array<std::uint8_t, max_base58check_payload + 4>> memory;
    const auto bytes = bytes_span{memory.edit()}.first(payload.size() + 4);
    std::ranges::copy(payload, bytes.begin());
    std::ranges::copy(bytes_view{hash256(payload)}.first(4),
                      bytes.begin() + static_cast<std::ptrdiff_t>(payload.size()));
    return encode_base58(bytes, out);
}

/// Reads base58check into `out`; the result views the payload in it, without the checksum.  What it leaves in memory is
/// wiped, except `out`.
/// Fails  malformed (not base58, or the checksum is wrong), too_long.
[[nodiscard]] inline result<bytes_view> decode_base58check(std::string_view text, bytes_span out) {
    secret<std::array<std::uint8_t, max_base58check_payload + 4>> memory;
    PAYCHAN_TRY(const bytes_view bytes, decode_base58(text, memory.edit()));
    if (bytes.size() < 4) return fail(errc::malformed, "text is too short for a checksum");
    const bytes_view payload = bytes.first(bytes.size() - 4);
    const bytes32 hash = hash256(payload);
    if (!equal(bytes_view{hash}.first(4), bytes.last(4))) return fail(errc::malformed, "checksum is wrong: mistyped?");
    if (payload.size() > out.size()) return fail(errc::too_long, "base58 text is longer than expected");
    std::ranges::copy(payload, out.begin());
    return bytes_view{out.first(payload.size())};
}

}  // namespace paychan
