// Keys, and signing and verifying with them, over libsecp256k1: no heap, no exceptions.
#pragma once

#include "paychan/crypto/signature.hpp"

namespace paychan {

/// A point of the curve in the byte form that was given, 33 or 65 bytes: scripts and hash160 depend on that form.
/// Empty until it comes from parse_public_key or public_key_of; an empty key verifies nothing.
struct public_key {
    bounded_bytes<65> bytes;

    [[nodiscard]] bytes_view view() const { return bytes.view(); }

    /// Same bytes.  The compressed and the uncompressed form of a point are different keys here, as in scripts.
    friend bool operator==(const public_key&, const public_key&) = default;
};

/// 1..n-1, as 32 big-endian bytes.  One that was moved from is zero and signs nothing.
using secret_key = secret<bytes32>;

/// Reads a key of 33 (02, 03) or 65 bytes (04) and checks that it is on the curve.
/// Fails  invalid_key; hybrid keys (06, 07) too: nodes relay no script with them (STRICTENC).
[[nodiscard]] inline result<public_key> parse_public_key(bytes_view bytes) {
    const bool compressed = bytes.size() == 33 && (bytes[0] == 2 || bytes[0] == 3);
    const bool uncompressed = bytes.size() == 65 && bytes[0] == 4;
    if (!compressed && !uncompressed)
        return fail(errc::invalid_key, "public key is not 33 bytes with 02 or 03, nor 65 bytes with 04, in front");
    secp256k1_pubkey point{};
    if (secp256k1_ec_pubkey_parse(detail::context(), &point, bytes.data(), bytes.size()) != 1)
        return fail(errc::invalid_key, "public key is not a point of the curve");
    public_key out;
    if (!out.bytes.assign(bytes)) return fail(errc::invalid_key, "public key is too long");
    return out;
}

/// Fails  invalid_key (zero, or not below the curve's order).  `bytes` stays the caller's to wipe.
[[nodiscard]] inline result<secret_key> make_secret_key(const bytes32& bytes) {
    if (secp256k1_ec_seckey_verify(detail::context(), bytes.data()) != 1)
        return fail(errc::invalid_key, "secret key is zero or not below the order of the curve");
    return secret_key(bytes);
}

/// The compressed public key; empty if `key` holds none (moved from).
[[nodiscard]] inline public_key public_key_of(const secret_key& key) {
    public_key out;
    secp256k1_pubkey point{};
    if (secp256k1_ec_pubkey_create(detail::context(), &point, key.reveal().data()) != 1) return out;
    std::size_t size = 33;
    secp256k1_ec_pubkey_serialize(detail::context(), out.bytes.memory().data(), &size, &point, SECP256K1_EC_COMPRESSED);
    out.bytes.resize(size);
    return out;
}

/// Signs a digest: deterministic (RFC 6979), low S (BIP146), constant time.
/// Fails  invalid_key (`key` holds none: moved from).
[[nodiscard]] inline result<ecdsa_signature> sign_ecdsa(const secret_key& key, const bytes32& digest) {
    secp256k1_ecdsa_signature signature{};
    if (secp256k1_ecdsa_sign(detail::context(), &signature, digest.data(), key.reveal().data(), nullptr, nullptr) != 1)
        return fail(errc::invalid_key, "secret key is zero or not below the order of the curve");
    return detail::compacted(signature);
}

/// True when `signature` is of `digest` by `key`, and has a low S.
/// A high S is false here, though consensus would take it: refuse it (is_low_s) or verify and keep normalized().
[[nodiscard]] inline bool verify_ecdsa(const public_key& key, const bytes32& digest, const ecdsa_signature& signature) {
    secp256k1_pubkey point{};
    if (key.bytes.empty()) return false;
    if (secp256k1_ec_pubkey_parse(detail::context(), &point, key.view().data(), key.view().size()) != 1) return false;
    const auto parsed = detail::parsed(signature);
    return secp256k1_ecdsa_verify(detail::context(), &parsed, digest.data(), &point) == 1;
}

}  // namespace paychan
