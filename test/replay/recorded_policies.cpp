// Keys, funding and payouts of a recording.
#include "replay/recorded_policies.hpp"

#include <algorithm>

#include "paychan/core/writer.hpp"
#include "paychan/crypto/context.hpp"
#include "support/wire.hpp"

namespace replay {

using namespace paychan;

namespace {

/// The key that a frame shows as its sender's.
bytes shown_key(const bytes& frame) {
    const auto m = wire::small_codec::decode(frame);
    if (!m) return {};
    if (const auto* i = std::get_if<wire::initiate>(&*m)) return paychan_test::owned(i->multisig_key);
    if (const auto* r = std::get_if<wire::provide_refund>(&*m)) return paychan_test::owned(r->multisig_key);
    if (const auto* c = std::get_if<wire::provide_contract>(&*m); c && c->client_key)
        return paychan_test::owned(*c->client_key);
    return {};
}

}  // namespace

recorded_keys::recorded_keys(const session& s, side own, nonces n) : nonces_(n) {
    std::vector<bytes> order;
    const auto add = [&](const bytes& key) {
        if (!key.empty() && std::ranges::find(order, key) == order.end()) order.push_back(key);
    };
    for (const step& e : s.steps)
        if (e.frame && e.from == own) add(shown_key(*e.frame));
    for (const recorded_key& key : s.keys)
        if (key.owner == name_of(own)) add(key.public_key);
    for (const bytes& wanted : order) {
        const auto found =
            std::ranges::find_if(s.keys, [&](const recorded_key& key) { return key.public_key == wanted; });
        bytes32 secret{};
        if (found == s.keys.end() || found->private_key.size() != secret.size()) {
            problem_ = "\"keys\" has no private key for " + paychan_test::hex(wanted);
            return;
        }
        std::ranges::copy(found->private_key, secret.begin());
        if (auto key = make_secret_key(secret)) keys_.push_back(std::move(*key));
    }
    for (std::uint8_t i = 0; i < 4; ++i)
        keys_.push_back(
            make_secret_key(sha256(std::array<std::uint8_t, 2>{i, static_cast<std::uint8_t>(own)})).value());
}

result<key_id> recorded_keys::new_key() {
    if (given_out_ == keys_.size()) return fail(errc::key_unavailable, "the recording has no more keys");
    return key_id{++given_out_};
}

result<public_key> recorded_keys::public_key(key_id id) const {
    const auto n = static_cast<std::size_t>(id);
    if (n == 0 || n > given_out_) return fail(errc::not_found, "no key of that number was given out");
    return public_key_of(keys_[n - 1]);
}

result<ecdsa_signature> recorded_keys::sign(const sign_request& request) const {
    const auto n = static_cast<std::size_t>(request.key);
    if (n == 0 || n > given_out_) return fail(errc::not_found, "no key of that number was given out");
    if (nonces_ == nonces::recorded) return sign_ecdsa(keys_[n - 1], request.digest);
    const bytes32 more = sha256(request.digest);  // RFC 6979, 3.6: additional data gives another nonce
    secp256k1_ecdsa_signature signature{};
    ecdsa_signature out;
    if (secp256k1_ecdsa_sign(detail::context(), &signature, request.digest.data(), keys_[n - 1].reveal().data(),
                             secp256k1_nonce_function_rfc6979, more.data()) != 1)
        return fail(errc::invalid_key, "the key is none");
    secp256k1_ecdsa_signature_serialize_compact(detail::context(), out.compact.data(), &signature);
    return out;
}

result<bytes_view> recorded_funding::fund(bytes_view script, satoshi amount, fee_rate, bytes_span memory) {
    if (amount > funds) return fail(errc::insufficient_funds, "the recorded wallet does not hold that much");
    for (const bytes& contract : pool) {
        const auto tx = parse_transaction(contract);
        const auto out = tx ? tx->output(0) : fail(tx.error());
        if (!out || out->value != amount || !equal(out->script_pubkey, script)) continue;
        std::ranges::copy(contract, memory.begin());
        return memory.first(contract.size());
    }
    made_up = true;
    const tx_input in{{{sha256(script)}, 0}, script, final_sequence, {}};
    const tx_output out{amount, script};
    writer w(memory);
    write_transaction(w, 1, {&in, 1}, {&out, 1}, 0);
    return w.written();
}

result<bytes_view> recorded_payout::add_fee_inputs(const settlement_draft&, bytes_span memory) const {
    if (settlement.empty())
        return fail(errc::insufficient_funds, "the recorded settlement has no inputs of the server");
    PAYCHAN_TRY(const auto tx, parse_transaction(settlement));
    std::vector<tx_input> inputs;
    for (const tx_input& in : tx.inputs()) inputs.push_back(in);
    std::vector<tx_output> outputs;
    for (const tx_output& out : tx.outputs()) outputs.push_back(out);
    inputs[0].script_sig = {};
    writer w(memory);
    write_transaction(w, tx.version(), inputs, outputs, tx.lock_time());
    return w.written();
}

result<fee_rate> rate_of(const recorded_settlement& settlement, const channel_record& record,
                         const script_buffer& payout_to) {
    return both_versions::with<result<fee_rate>>(record.protocol, [&]<class Scheme>() {
        channel_record sized = record;
        const auto tx = parse_transaction(settlement.tx);
        if (tx) sized.change = satoshi{tx->output_count() > 1 ? 1 : 0};
        const auto size = static_cast<std::int64_t>(settlement_vsize<Scheme>(sized, payout_to));
        return fee_rate{settlement.fee.value * 1000 / size};
    });
}

}  // namespace replay
