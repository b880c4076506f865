// BIP32: a tree of private keys from one seed, so that the seed is the backup.
#pragma once

#include <utility>

#include "paychan/crypto/hash.hpp"
#include "paychan/crypto/keys.hpp"

namespace paychan {

/// A private key and the chain code that its children come from.  Both are secret: a child's private key together
/// with its parent's chain code and public key gives the parent's private key, unless the child is hardened.
struct extended_key {
    secret_key key;
    secret<bytes32> chain_code;
};

inline constexpr std::uint32_t hardened = 0x8000'0000;  // BIP32: add to an index to derive from the private key

namespace detail {

// HMAC-SHA512's two halves: key or tweak, and chain code.
using hmac_halves = secret<std::array<std::uint8_t, 64>>;

[[nodiscard]] inline secret<bytes32> half(const hmac_halves& i, std::size_t from) {
    secret<bytes32> out;
    std::ranges::copy(bytes_view(i.reveal()).subspan(from, 32), out.edit().begin());
    return out;
}

}  // namespace detail

/// The root of the tree.
/// seed   16 to 64 random bytes [bytes]
/// Fails  invalid_argument (another length), invalid_key (1 in 2^127 seeds has no key: take another).
[[nodiscard]] inline result<extended_key> master_key(bytes_view seed) {
    if (seed.size() < 16 || seed.size() > 64) return fail(errc::invalid_argument, "seed is not 16 to 64 bytes");
    constexpr std::array<std::uint8_t, 12> salt{'B', 'i', 't', 'c', 'o', 'i', 'n', ' ', 's', 'e', 'e', 'd'};
    const detail::hmac_halves i(hmac_sha512(salt, seed));
    secret<bytes32> left = detail::half(i, 0);
    if (secp256k1_ec_seckey_verify(detail::context(), left.reveal().data()) != 1)
        return fail(errc::invalid_key, "this seed has no master key: take another");
    return extended_key{std::move(left), detail::half(i, 32)};
}

/// The child with this index; hardened from 0x80000000 up.
/// Fails  invalid_key (1 in 2^127 indices has no key: take the next; or `parent` was moved from).
/// Source  BIP32 CKDpriv.
[[nodiscard]] inline result<extended_key> derive(const extended_key& parent, std::uint32_t index) {
    secret<std::array<std::uint8_t, 37>> data;
    auto& d = data.edit();
    if (index >= hardened) {
        std::ranges::copy(parent.key.reveal(), d.begin() + 1);
    } else {
        const public_key point = public_key_of(parent.key);
        if (point.bytes.empty()) return fail(errc::invalid_key, "there is no parent key");
        std::ranges::copy(point.view(), d.begin());
    }
    for (std::size_t n = 0; n < 4; ++n) d[33 + n] = static_cast<std::uint8_t>(index >> (24 - 8 * n));

    const detail::hmac_halves i(hmac_sha512(parent.chain_code.reveal(), d));
    const secret<bytes32> tweak = detail::half(i, 0);
    secret_key key = parent.key.copy();
    if (secp256k1_ec_seckey_tweak_add(detail::context(), key.edit().data(), tweak.reveal().data()) != 1)
        return fail(errc::invalid_key, "this index has no key: take the next");
    return extended_key{std::move(key), detail::half(i, 32)};
}

}  // namespace paychan
