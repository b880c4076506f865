// Resuming a channel: how a client proves that the channel is its own, and what the server then tells it.
#pragma once

#include "paychan/channel/payment.hpp"

namespace paychan {

inline constexpr std::int64_t resume_proof_life = 300;  // [s] by which the two clocks may differ, and a proof be old

/// What resume_signature signs: tagged as in BIP340, so that it can never be a sighash.
/// Source: PROTOCOL.md, extensions.
[[nodiscard]] inline bytes32 resume_digest(const txid& contract, std::uint64_t time) {
    constexpr std::string_view tag = "paychan/resume";
    const bytes32 tag_hash = sha256({reinterpret_cast<const std::uint8_t*>(tag.data()), tag.size()});
    std::array<std::uint8_t, 32 + 32 + 32 + 8> message{};
    writer w(message);
    w.bytes(tag_hash);
    w.bytes(tag_hash);
    w.bytes(contract.bytes);
    w.u64(time);
    return sha256(message);
}

/// The client's proof that the channel is its own, made at `time` [s].  Fails  key_unavailable, not_found.
template <KeyStore K>
[[nodiscard]] result<der_signature> sign_resume(const channel_record& record, std::uint64_t time, K& keys) {
    const bytes32 digest = resume_digest(record.terms.contract.id, time);
    PAYCHAN_TRY(const auto signature, keys.sign({record.key, signing_purpose::resume, digest, {}, {}}));
    return to_der(signature);
}

/// True when CLIENT_VERSION proves that whoever sent it holds the channel's client key.  A plain connection can be
/// listened to: within resume_proof_life somebody else may send the same proof.
[[nodiscard]] inline bool proves_resume(const channel_record& record, const wire::client_version& m, unix_time now) {
    if (!m.resume_time || !m.resume_signature || now.seconds < 0) return false;
    const auto ours = static_cast<std::uint64_t>(now.seconds);
    const std::uint64_t apart = std::max(ours, *m.resume_time) - std::min(ours, *m.resume_time);
    if (apart > static_cast<std::uint64_t>(resume_proof_life)) return false;
    const auto signature = parse_der(*m.resume_signature);
    return signature && is_low_s(*signature) &&
           verify_ecdsa(record.terms.client_key, resume_digest(record.terms.contract.id, *m.resume_time), *signature);
}

/// The client's last payment as the server has it on disk.
[[nodiscard]] inline wire::resume_state resume_state_of(const channel_record& record) {
    return {static_cast<std::uint64_t>(record.change.value), record.signature.view()};
}

}  // namespace paychan
