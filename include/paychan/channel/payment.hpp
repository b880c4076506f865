// One payment: what the client signs, and what the server checks before it believes it.
#pragma once

#include "paychan/channel/contract.hpp"

namespace paychan {

/// A payment that was checked: what the record becomes when it is accepted.
struct checked_payment {
    satoshi change{};             ///< [satoshi] what the client keeps
    bounded_bytes<73> signature;  ///< low S, with its flags
};

/// The client's signature for keeping `change`.  Fails  key_unavailable, not_found.
template <class Scheme, KeyStore K>
[[nodiscard]] result<bounded_bytes<73>> sign_payment(const channel_record& record, satoshi change, K& keys) {
    PAYCHAN_TRY(const auto digest, payment_digest<Scheme>(record.terms, change));
    const satoshi to_server{record.terms.value.value - change.value};
    PAYCHAN_TRY(const auto signature, keys.sign({record.key, signing_purpose::payment, digest, change, to_server}));
    return to_bytes({signature, payment_flags(change)});
}

/// Checks a payment against what was paid before.  An equal one passes: a repeated frame is acked again, moving nothing.
/// record  the channel, with the best change so far
/// Fails   bad_transaction.  Nothing of the payment may be used then.
/// Source  UPDATE_PAYMENT and the initial payment of PROVIDE_CONTRACT.
template <class Scheme>
[[nodiscard]] result<checked_payment> check_payment(const channel_record& record, const wire::update_payment& payment) {
    if (payment.client_change_value > static_cast<std::uint64_t>(record.terms.value.value))
        return fail(errc::bad_transaction, "attempt to refund more than the contract holds");
    const satoshi change{static_cast<std::int64_t>(payment.client_change_value)};
    if (change.value != 0 && change < p2pkh_dust)
        return fail(errc::bad_transaction, "change is below the dust limit: pay it too, or leave 546 or more");
    if (change > record.change) return fail(errc::bad_transaction, "attempt to roll back a payment on the channel");

    const auto flagged = parse_flagged(payment.signature);
    if (!flagged) return fail(errc::bad_transaction, "payment signature is not strict DER");
    if (flagged->hash_type != payment_flags(change))
        return fail(errc::bad_transaction, "payment signature has the wrong SIGHASH flags: 83 with change, 82 without");
    // Nodes relay no high S: such a signature would buy service that can never be settled.
    const flagged_signature low{normalized(flagged->signature), flagged->hash_type};
    PAYCHAN_TRY(const auto digest, payment_digest<Scheme>(record.terms, change));
    if (!verify_ecdsa(record.terms.client_key, digest, low.signature))
        return fail(errc::bad_transaction, "payment signature does not verify");
    return checked_payment{change, to_bytes(low)};
}

}  // namespace paychan
