// The refund at the fee of the day: signed anew by the client alone, or under the server's signature, which leaves the outputs
// free.
#pragma once

#include "paychan/channel/contract.hpp"
#include "paychan/channel/fee_engine.hpp"

namespace paychan {

/// BIP125: it may be replaced, and its lock time holds.  Version 1 has the one that the server signed.
template <class Scheme>
inline constexpr std::uint32_t fresh_refund_sequence = Scheme::refund_is_cosigned ? refund_sequence : 0xffff'fffd;

/// [vbytes] at most
template <class Scheme>
[[nodiscard]] std::size_t refund_vsize(const contract_terms& terms) {
    const auto to = script_of_key(terms.client_key);
    const tx_output out{terms.value, to.view()};
    return spend_vsize(Scheme::max_refund_script_sig(terms), {&out, 1});
}

/// A refund that pays `rate` instead of the protocol's fixed fee.
/// stored  the refund that was made when the channel opened; version 1 takes the server's signature from it
/// Fails   insufficient_funds (it would leave dust), key_unavailable and as sign() fails, bad_transaction (the stored one is
///         none of this contract).
template <class Scheme, KeyStore K>
[[nodiscard]] result<refund_buffer> build_refund(const contract_terms& terms, key_id key, K& keys, bytes_view stored,
                                                 fee_rate rate) {
    PAYCHAN_TRY(const auto fee, fee_for(rate, refund_vsize<Scheme>(terms)));
    if (terms.value.value - fee.value < p2pkh_dust.value)
        return fail(errc::insufficient_funds, "the refund's fee would leave nothing of it");
    const auto with = [&](bytes_view script_sig) {
        return refund_transaction(terms, script_sig, fee, fresh_refund_sequence<Scheme>);
    };
    const refund_buffer unsigned_tx = with({});
    bytes_view servers;
    if constexpr (Scheme::refund_is_cosigned) {
        PAYCHAN_TRY(const auto parsed, parse_transaction(stored));
        PAYCHAN_TRY(const auto in, parsed.input(0));
        const auto both = Scheme::read_settlement_script_sig(terms, in.script_sig);
        if (!both) return fail(errc::bad_transaction, "the stored refund is none of this contract");
        PAYCHAN_TRY(const auto flagged, parse_flagged((*both)[1]));
        PAYCHAN_TRY(const auto signed_by_server, refund_digest<Scheme>(terms, unsigned_tx.view(), flagged.hash_type));
        if (flagged.hash_type != cosigned_refund_flags ||
            !verify_ecdsa(terms.server_key, signed_by_server, flagged.signature))
            return fail(errc::bad_transaction, "the server's signature in the stored refund does not fit this one");
        servers = (*both)[1];
    }
    PAYCHAN_TRY(const auto digest, refund_digest<Scheme>(terms, unsigned_tx.view(), sighash_all));
    PAYCHAN_TRY(const auto signature, keys.sign({key, signing_purpose::refund, digest, terms.value, {}}));
    if (!verify_ecdsa(terms.client_key, digest, signature))
        return fail(errc::key_unavailable, "the key store signed with another key");
    std::array<std::uint8_t, 512> memory{};
    writer script_sig(memory);
    Scheme::write_refund_script_sig(script_sig, terms, to_bytes(flagged_signature{signature, sighash_all}).view(),
                                    servers);
    if (!script_sig.ok()) return fail(errc::too_long, "the refund's script_sig does not fit");
    return with(script_sig.written());
}

}  // namespace paychan
