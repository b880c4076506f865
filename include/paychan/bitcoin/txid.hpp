// Names of transactions and of their outputs: txid and outpoint.
#pragma once

#include <compare>
#include <string_view>

#include "paychan/core/bytes.hpp"
#include "paychan/core/hex.hpp"
#include "paychan/core/result.hpp"

namespace paychan {

/// hash256 of a transaction without its witness, in internal order: as it is hashed and serialized.  People, RPC and
/// the resume field of CLIENT_VERSION use display order, which is the reverse.
struct txid {
    bytes32 bytes{};
    friend constexpr auto operator<=>(const txid&, const txid&) = default;
};

/// One output of a transaction.
struct outpoint {
    txid id;
    std::uint32_t index = 0;
    friend constexpr auto operator<=>(const outpoint&, const outpoint&) = default;
};

namespace detail {
[[nodiscard]] constexpr bytes32 reversed(const bytes32& from) {
    bytes32 out{};
    std::ranges::reverse_copy(from, out.begin());
    return out;
}

/// 64 characters of hex, of the bytes in reverse.
[[nodiscard]] constexpr std::array<char, 64> display_hex(const bytes32& internal) {
    std::array<char, 64> out{};
    (void)to_hex(reversed(internal), out);  // cannot fail: 64 characters are there
    return out;
}

[[nodiscard]] constexpr result<bytes32> parse_display_hex(std::string_view text) {
    if (text.size() != 64) return fail(errc::malformed, "a hash has 64 hexadecimal digits");
    bytes32 out{};
    PAYCHAN_CHECK(from_hex(text, out));
    return reversed(out);
}
}  // namespace detail

/// The bytes in display order.
[[nodiscard]] constexpr bytes32 display_bytes(const txid& id) { return detail::reversed(id.bytes); }

/// The text that people and RPC use: 64 lower-case hexadecimal digits in display order, without an ending zero.
[[nodiscard]] constexpr std::array<char, 64> display(const txid& id) { return detail::display_hex(id.bytes); }

/// From 32 bytes in display order.  Fails  malformed (another size).
[[nodiscard]] constexpr result<txid> txid_from_display_bytes(bytes_view display_order) {
    if (display_order.size() != 32) return fail(errc::malformed, "a txid has 32 bytes");
    txid id;
    std::ranges::reverse_copy(display_order, id.bytes.begin());
    return id;
}

/// From hex in display order.  Fails  malformed.
[[nodiscard]] constexpr result<txid> parse_txid(std::string_view display_hex) {
    PAYCHAN_TRY(const bytes32 bytes, detail::parse_display_hex(display_hex));
    return txid{bytes};
}

}  // namespace paychan
