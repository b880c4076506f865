// WIF: the text form of one private key, as wallets import and export it.
#pragma once

#include "paychan/bitcoin/base58.hpp"
#include "paychan/bitcoin/bech32.hpp"
#include "paychan/bitcoin/network.hpp"
#include "paychan/crypto/keys.hpp"

namespace paychan {

/// How the public key of a private key is written in scripts.
enum class key_form : std::uint8_t { uncompressed, compressed };

struct wif_key {
    secret_key key;
    key_form form = key_form::compressed;
};

using wif_text = bounded_text<52>;

/// Reads a private key of this network.
/// Fails   malformed (not WIF, mistyped, or of another network), invalid_key (zero, or not below the curve's order).
///         The caller wipes `text`.
[[nodiscard]] inline result<wif_key> parse_wif(std::string_view text, network net) {
    secret<std::array<std::uint8_t, 34>> memory;
    const auto payload = decode_base58check(text, memory.edit());
    if (!payload) return fail(errc::malformed, "text is not a private key in WIF: mistyped?");
    const bool compressed = payload->size() == 34 && payload->back() == 1;
    if (payload->size() != 33 && !compressed) return fail(errc::malformed, "text is not a private key in WIF");
    if ((*payload)[0] != prefixes(net).wif) return fail(errc::malformed, "private key is of another network");
    secret<bytes32> bytes;
    std::ranges::copy(payload->subspan(1, 32), bytes.edit().begin());
    PAYCHAN_TRY(auto key, make_secret_key(bytes.reveal()));
    return wif_key{std::move(key), compressed ? key_form::compressed : key_form::uncompressed};
}

/// Writes a private key.  Fails  too_long, never in practice.
[[nodiscard]] inline result<secret<wif_text>> wif_of_key(const wif_key& from, network net) {
    secret<std::array<std::uint8_t, 34>> memory;
    auto& bytes = memory.edit();
    bytes[0] = prefixes(net).wif;
    std::ranges::copy(from.key.reveal(), bytes.begin() + 1);
    bytes[33] = 1;
    secret<wif_text> out;
    const std::size_t size = from.form == key_form::compressed ? 34 : 33;
    PAYCHAN_TRY(const std::string_view text, encode_base58check(bytes_view{bytes}.first(size), out.edit().memory()));
    out.edit().resize(text.size());
    return out;
}

}  // namespace paychan
