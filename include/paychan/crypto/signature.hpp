// ECDSA signatures as bytes: strict DER, low S, and the form with a sighash byte that scripts and messages carry.
#pragma once

#include "paychan/core/result.hpp"
#include "paychan/crypto/context.hpp"

namespace paychan {

/// r and s, 32 big-endian bytes each.  What parse_der and sign_ecdsa return has both in 1..n-1.
struct ecdsa_signature {
    std::array<std::uint8_t, 64> compact{};

    friend bool operator==(const ecdsa_signature&, const ecdsa_signature&) = default;
};

using der_signature = bounded_bytes<72>;  // [bytes] 6 of framing and two integers of up to 33

/// A signature and the byte that says what it signs, as in a scriptSig and in UPDATE_PAYMENT.
struct flagged_signature {
    ecdsa_signature signature;
    std::uint8_t hash_type = 0;  ///< SIGHASH_*; any value parses, its meaning is the caller's to check

    friend bool operator==(const flagged_signature&, const flagged_signature&) = default;
};

namespace detail {

/// For libsecp256k1.  Numbers beyond the curve's order become zeros, which verify nowhere.
[[nodiscard]] inline secp256k1_ecdsa_signature parsed(const ecdsa_signature& signature) {
    secp256k1_ecdsa_signature out{};
    secp256k1_ecdsa_signature_parse_compact(context(), &out, signature.compact.data());
    return out;
}

[[nodiscard]] inline ecdsa_signature compacted(const secp256k1_ecdsa_signature& signature) {
    ecdsa_signature out;
    secp256k1_ecdsa_signature_serialize_compact(context(), out.compact.data(), &signature);
    return out;
}

[[nodiscard]] inline bool is_zero(bytes_view bytes) {
    return std::ranges::all_of(bytes, [](std::uint8_t b) { return b == 0; });
}

}  // namespace detail

/// The DER form, as BIP66 wants it.
[[nodiscard]] inline der_signature to_der(const ecdsa_signature& signature) {
    der_signature out;
    const auto parsed = detail::parsed(signature);
    std::size_t size = der_signature::capacity();
    // Cannot fail: 72 bytes hold any signature.
    if (secp256k1_ecdsa_signature_serialize_der(detail::context(), out.memory().data(), &size, &parsed) == 1)
        out.resize(size);
    return out;
}

/// Reads a DER signature without a sighash byte.  High S is accepted: see is_low_s.
/// Fails  invalid_signature (not the one strict encoding of BIP66, trailing bytes, or r or s not in 1..n-1).
[[nodiscard]] inline result<ecdsa_signature> parse_der(bytes_view der) {
    constexpr std::string_view text = "signature is not strict DER";
    if (der.empty() || der.size() > der_signature::capacity()) return fail(errc::invalid_signature, text);
    secp256k1_ecdsa_signature parsed{};
    if (secp256k1_ecdsa_signature_parse_der(detail::context(), &parsed, der.data(), der.size()) != 1)
        return fail(errc::invalid_signature, text);
    const ecdsa_signature out = detail::compacted(parsed);
    const bytes_view both = out.compact;
    if (detail::is_zero(both.first(32)) || detail::is_zero(both.last(32)))
        return fail(errc::invalid_signature, "signature has a number that is zero, negative or beyond the curve");
    // BIP66 leaves a pair of numbers one encoding: strictness does not rest on what a later library accepts.
    if (!equal(to_der(out).view(), der)) return fail(errc::invalid_signature, text);
    return out;
}

/// False when s is in the upper half of the order: valid by consensus, but relayed by no node (BIP62, BIP146).
[[nodiscard]] inline bool is_low_s(const ecdsa_signature& signature) {
    const auto parsed = detail::parsed(signature);
    return secp256k1_ecdsa_signature_normalize(detail::context(), nullptr, &parsed) == 0;
}

/// The same signature with the low one of its two possible s.
[[nodiscard]] inline ecdsa_signature normalized(const ecdsa_signature& signature) {
    const auto parsed = detail::parsed(signature);
    secp256k1_ecdsa_signature low{};
    secp256k1_ecdsa_signature_normalize(detail::context(), &low, &parsed);
    return detail::compacted(low);
}

/// Reads DER and one sighash byte.  Fails  invalid_signature (empty, or as parse_der).
[[nodiscard]] inline result<flagged_signature> parse_flagged(bytes_view bytes) {
    if (bytes.empty()) return fail(errc::invalid_signature, "signature is empty");
    PAYCHAN_TRY(const auto signature, parse_der(bytes.first(bytes.size() - 1)));
    return flagged_signature{signature, bytes.back()};
}

/// DER and the sighash byte, as it is pushed in a scriptSig.
[[nodiscard]] inline bounded_bytes<73> to_bytes(const flagged_signature& flagged) {
    const der_signature der = to_der(flagged.signature);
    bounded_bytes<73> out;
    std::ranges::copy(der.view(), out.memory().begin());
    out.memory()[der.size()] = flagged.hash_type;
    out.resize(der.size() + 1);
    return out;
}

}  // namespace paychan
