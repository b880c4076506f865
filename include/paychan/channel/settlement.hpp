// The settlement: the server's transaction that pays both sides by the last payment; how it is built, and how the
// client checks it.
#pragma once

#include <optional>

#include "paychan/channel/contract.hpp"

namespace paychan {

inline constexpr std::size_t max_settlement_size = 8'192;  // [bytes] with fee inputs
inline constexpr std::size_t max_settlement_inputs = 32;   // the contract and the wallet's fee inputs

namespace detail {

/// The settlement without signatures: the client's change where there is any, then the server's payout.
struct settlement_outputs {
    script_buffer change_script;
    script_buffer payout_script;
    std::array<tx_output, 2> list{};
    std::size_t count = 0;

    settlement_outputs(const channel_record& record, const script_buffer& payout_to, satoshi payout)
        : change_script(script_of_key(record.terms.client_key)), payout_script(payout_to) {
        // SIGHASH_SINGLE: the client's signature on input 0 fixes output 0, so its change comes first.
        if (record.change.value > 0) list[count++] = {record.change, change_script.view()};
        list[count++] = {payout, payout_script.view()};
    }
    settlement_outputs(const settlement_outputs&) = delete;
    settlement_outputs& operator=(const settlement_outputs&) = delete;

    [[nodiscard]] std::span<const tx_output> view() const { return {list.data(), count}; }
};

}  // namespace detail

/// [vbytes] of a settlement without fee inputs.
template <class Scheme>
[[nodiscard]] std::size_t settlement_vsize(const channel_record& record, const script_buffer& payout_to) {
    const detail::settlement_outputs outputs(record, payout_to, {});
    return spend_vsize(Scheme::max_settlement_script_sig(record.terms), outputs.view());
}

/// The least that must be paid before a settlement can pay for itself at `rate` [satoshi].
template <class Scheme>
[[nodiscard]] result<satoshi> least_settlement(const channel_record& record, const script_buffer& payout_to,
                                               fee_rate rate) {
    PAYCHAN_TRY(const auto fee, fee_for(rate, settlement_vsize<Scheme>(record, payout_to)));
    return add(fee, dust_limit(payout_to.view()));
}

/// The txid of a transaction whose input 0 validly spends the contract.  Fails  malformed (no transaction),
/// bad_transaction.
template <class Scheme>
[[nodiscard]] result<txid> check_settlement(const contract_terms& terms, bytes_view bytes) {
    PAYCHAN_TRY(const auto tx, parse_transaction(bytes));
    PAYCHAN_TRY(const auto in, tx.input(0));
    if (in.prevout != terms.contract) return fail(errc::bad_transaction, "the settlement spends something else");
    const auto signatures = Scheme::read_settlement_script_sig(terms, in.script_sig);
    if (!signatures) return fail(errc::bad_transaction, "the settlement's script_sig is not one of this contract");
    for (std::size_t i = 0; i < 2; ++i) {
        PAYCHAN_TRY(const auto flagged, parse_flagged((*signatures)[i]));
        PAYCHAN_TRY(const auto digest, legacy_sighash(tx, 0, Scheme::script_code(terms).view(), flagged.hash_type));
        if (!verify_ecdsa(i == 0 ? terms.client_key : terms.server_key, digest, flagged.signature))
            return fail(errc::bad_transaction, "a signature in the settlement does not verify");
    }
    return tx.id();
}

/// [sat/kvB] What a stored settlement pays; nothing where a value of a wallet's input is not known.
/// value_of  std::optional<satoshi>(const outpoint&)
template <class ValueOf>
[[nodiscard]] std::optional<fee_rate> rate_of_settlement(const transaction& tx, satoshi contract_value,
                                                         ValueOf&& value_of) {
    std::int64_t fee = contract_value.value;
    bool first = true;
    for (const tx_input& in : tx.inputs()) {
        if (std::exchange(first, false)) continue;
        const std::optional<satoshi> value = value_of(in.prevout);
        if (!value) return std::nullopt;
        fee += value->value;
    }
    for (const tx_output& out : tx.outputs())
        if (__builtin_sub_overflow(fee, out.value.value, &fee)) return std::nullopt;
    return std::max(min_relay_fee_rate, fee_rate{fee * 1'000 / static_cast<std::int64_t>(tx.vsize())});
}

/// Builds and signs the settlement of the last payment, into `memory`.
/// Pays the fee out of the payout; when that is too little, asks the wallet for inputs if it can add some; else pays
/// the most that the payout bears, if a node would still relay it. Fails  insufficient_funds (try again when fees are
/// lower or more was paid), key_unavailable, too_long, unsupported, bad_transaction (the wallet broke its contract).
template <class Scheme, KeyStore K, PayoutWallet W>
[[nodiscard]] result<bytes_view> build_settlement(const channel_record& record, K& keys, W& wallet, fee_rate rate,
                                                  bytes_span memory) {
    if (record.signature.empty()) return fail(errc::wrong_state, "there is no payment to settle");
    PAYCHAN_TRY(const auto payout_to, wallet.payout_script());
    const satoshi paid = record.paid();
    const auto dust = dust_limit(payout_to.view());
    PAYCHAN_TRY(const auto least, least_settlement<Scheme>(record, payout_to, rate));
    PAYCHAN_TRY(const auto least_relayed, least_settlement<Scheme>(record, payout_to, min_relay_fee_rate));

    std::array<std::uint8_t, max_settlement_size> draft_memory{};
    std::array<std::uint8_t, max_settlement_size> funded_memory{};
    writer draft(draft_memory);
    const tx_input contract_input{record.terms.contract, {}, final_sequence, {}};
    const auto write_draft = [&](satoshi payout) {
        const detail::settlement_outputs outputs(record, payout_to, payout);
        draft = writer(draft_memory);
        write_transaction(draft, channel_transaction_version, {&contract_input, 1}, outputs.view(), 0);
    };

    bytes_view unsigned_bytes;
    bool funded = false;
    if (paid < least) {
        if constexpr (FeeInputWallet<W>) {
            write_draft({});
            const auto completed = wallet.add_fee_inputs(
                {draft.written(), paid, Scheme::max_settlement_script_sig(record.terms), rate}, funded_memory);
            if (completed) {
                unsigned_bytes = *completed;
                funded = true;
            }
        }
        if (!funded) {
            if (paid < least_relayed)
                return fail(errc::insufficient_funds, "what was paid does not bear the settlement's fee yet");
            write_draft(dust);
            unsigned_bytes = draft.written();
        }
    } else {
        const satoshi fee{least.value - dust.value};
        write_draft({paid.value - fee.value});
        unsigned_bytes = draft.written();
    }

    PAYCHAN_TRY(const auto unsigned_tx, parse_transaction(unsigned_bytes));
    PAYCHAN_TRY(const auto digest,
                legacy_sighash(unsigned_tx, 0, Scheme::script_code(record.terms).view(), sighash_all));
    PAYCHAN_TRY(const auto signature,
                keys.sign({record.key, signing_purpose::settlement, digest, record.change, paid}));

    std::array<std::uint8_t, 512> script_sig_memory{};
    writer script_sig(script_sig_memory);
    Scheme::write_settlement_script_sig(script_sig, record.terms, record.signature.view(),
                                        to_bytes({signature, sighash_all}).view());

    std::array<tx_input, max_settlement_inputs> inputs{};
    std::array<tx_output, 2> outputs{};
    if (unsigned_tx.input_count() > inputs.size() || unsigned_tx.output_count() > outputs.size())
        return fail(errc::too_long, "the wallet added more inputs to the settlement than it may");
    std::ranges::copy(unsigned_tx.inputs(), inputs.begin());
    std::ranges::copy(unsigned_tx.outputs(), outputs.begin());
    if (inputs[0].prevout != record.terms.contract)
        return fail(errc::bad_transaction, "the wallet moved the settlement's first input");
    inputs[0].script_sig = script_sig.written();
    writer complete(memory);
    write_transaction(complete, channel_transaction_version, std::span(inputs).first(unsigned_tx.input_count()),
                      std::span(outputs).first(unsigned_tx.output_count()), 0);
    if (!script_sig.ok() || !complete.ok()) return fail(errc::too_long, "the settlement does not fit its memory");
    // What the wallet changed, or a damaged record, shows here and not when the network refuses it.
    PAYCHAN_CHECK(check_settlement<Scheme>(record.terms, complete.written()));
    return complete.written();
}

}  // namespace paychan
