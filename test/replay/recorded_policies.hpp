// Policies whose answers stand in a recording: keys, funding and payouts.
#pragma once

#include "paychan/channel/cltv_p2sh.hpp"
#include "paychan/channel/multisig_refund.hpp"
#include "paychan/channel/settlement.hpp"
#include "replay/session.hpp"

namespace replay {

using both_versions = paychan::contracts<paychan::cltv_p2sh, paychan::multisig_refund>;

/// Whether signatures are to be the recorder's, byte for byte (RFC 6979), or others that mean the same.
enum class nonces : std::uint8_t { recorded, other };

/// The private keys of a session's side in the order in which it showed them, and then some of our own, for a
/// conversation that goes further than the recorded one.
class recorded_keys {
public:
    recorded_keys(const session& s, side own, nonces n);

    [[nodiscard]] paychan::result<paychan::key_id> new_key();
    [[nodiscard]] paychan::result<paychan::public_key> public_key(paychan::key_id id) const;
    [[nodiscard]] paychan::result<paychan::ecdsa_signature> sign(const paychan::sign_request& request) const;

    /// Empty when all is there that the session needs.
    [[nodiscard]] const std::string& problem() const { return problem_; }

private:
    std::vector<paychan::secret_key> keys_;
    std::size_t given_out_ = 0;
    nonces nonces_;
    std::string problem_;
};
static_assert(paychan::KeyStore<recorded_keys>);

/// All contracts of all sessions that are played: the same keys and coins give the same one, also in a session that ends
/// before it is shown.
using contract_pool = std::vector<bytes>;

/// A client's wallet, whose contracts are the recorded ones; one that is in no recording it makes up.
struct recorded_funding {
    const contract_pool& pool;
    paychan::satoshi funds = paychan::max_money;  ///< [satoshi] what it can spend
    bool made_up = false;                         ///< the last contract is in no recording

    [[nodiscard]] paychan::result<paychan::bytes_view> fund(paychan::bytes_view script, paychan::satoshi amount,
                                                            paychan::fee_rate, paychan::bytes_span memory);
    void release(paychan::bytes_view) {}
};

/// A server's wallet, which pays out to where the recorded settlement does, with the inputs that this one has.
struct recorded_payout {
    paychan::script_buffer script = paychan::p2pkh_script({});
    bytes settlement{};  ///< the recorded one when it has fee inputs

    [[nodiscard]] paychan::result<paychan::script_buffer> payout_script() const { return script; }
    [[nodiscard]] paychan::result<paychan::bytes_view> add_fee_inputs(const paychan::settlement_draft& draft,
                                                                      paychan::bytes_span memory) const;
};
static_assert(paychan::FeeInputWallet<recorded_payout>);

/// The rate at which our estimate of a settlement's size comes to the fee that the reference paid, by its own estimate.
/// Fails  unsupported (the record's version).
[[nodiscard]] paychan::result<paychan::fee_rate> rate_of(const recorded_settlement& settlement,
                                                         const paychan::channel_record& record,
                                                         const paychan::script_buffer& payout_to);

}  // namespace replay
