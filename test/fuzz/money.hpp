// What must be true of records and transactions whatever a peer says: the invariants that both fuzzers share.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>

#include "paychan/bitcoin/interpreter.hpp"
#include "paychan/channel/cltv_p2sh.hpp"
#include "paychan/channel/multisig_refund.hpp"
#include "paychan/channel/record_io.hpp"
#include "paychan/channel/settlement.hpp"
#include "paychan/memory/store.hpp"
#include "support/bytes.hpp"

namespace paychan_fuzz {

using namespace paychan;
using paychan_test::bytes;
using paychan_test::owned;

using schemes = contracts<cltv_p2sh, multisig_refund>;

inline std::string story;  // the actions so far: shown when something must not be

[[noreturn]] inline void stop(const char* what) {
    std::fprintf(stderr, "MONEY: %s\nafter: %s\n", what, story.c_str());
    std::abort();
}

inline void must(bool holds, const char* what) {
    if (!holds) stop(what);
}

/// f.template operator()<Scheme>() for the protocol version of a record.
template <class F>
auto with_scheme(std::int32_t version, F&& f) {
    must(schemes::has(version), "a record has no protocol version");
    using answer = decltype(f.template operator()<cltv_p2sh>());
    if constexpr (std::is_constructible_v<answer, tl::unexpected<error>>)
        return schemes::with<answer>(version, f);
    else
        return *schemes::with<result<answer>>(version, f);
}

[[nodiscard]] inline script_buffer contract_script(const channel_record& r) {
    return with_scheme(r.protocol, [&]<class Scheme>() { return Scheme::script_pubkey(r.terms); });
}

/// The record of that kind in a store, if there is one.  One that cannot be read stops the fuzzer.
[[nodiscard]] inline std::optional<channel_record> record_in(const memory_store& disk, record_kind kind,
                                                             const txid& id) {
    record_buffer memory;
    const auto stored = disk.get({kind, id}, memory.memory());
    if (!stored) return std::nullopt;
    const auto record = read_record(stored->bytes);
    must(record.has_value(), "a stored record cannot be read");
    must(record->version == stored->version && record->terms.contract == outpoint{id, 0},
         "a record is stored under another's name or version");
    return *record;
}

[[nodiscard]] inline bytes bytes_in(const memory_store& disk, record_kind kind, const txid& id) {
    static std::array<std::uint8_t, wire::max_frame_size> memory;  // large ones from the heap are slow here
    const auto stored = disk.get({kind, id}, memory);
    return stored ? owned(stored->bytes) : bytes{};
}

/// The client's signature for `change`: strict, low S, the right flags, and it verifies.
[[nodiscard]] inline bool is_signed(const channel_record& r, satoshi change, bytes_view signature) {
    const auto flagged = parse_flagged(signature);
    if (!flagged || !is_low_s(flagged->signature)) return false;
    if (flagged->hash_type != (change.value > 0 ? 0x83 : 0x82)) return false;
    const auto digest =
        with_scheme(r.protocol, [&]<class Scheme>() { return payment_digest<Scheme>(r.terms, change); });
    return digest && verify_ecdsa(r.terms.client_key, *digest, flagged->signature);
}

/// What resume_signature signs, from its description.
[[nodiscard]] inline bytes32 resume_message(const txid& contract, std::uint64_t time) {
    const bytes32 tag = sha256(paychan_test::as_bytes("paychan/resume"));
    bytes message = owned(tag);
    message.insert(message.end(), tag.begin(), tag.end());
    message.insert(message.end(), contract.bytes.begin(), contract.bytes.end());
    for (int i = 0; i < 8; ++i) message.push_back(static_cast<std::uint8_t>(time >> 8 * i));
    return sha256(message);
}

/// How a hostile peer signs.
enum sign_as : std::uint8_t { right, high_s, flag_all, other_flag, wrong_key, damaged };

/// What a stored record says of money is backed by the client's signature.
inline void check_backed(const channel_record& r) {
    must(r.change.value == 0 || r.change >= p2pkh_dust, "the stored change is dust");
    must(r.change <= r.terms.value, "the stored change is more than the contract");
    must(is_signed(r, r.change, r.signature.view()), "the stored signature does not back the stored change");
}

/// All is equal that never changes after the opening.
inline void check_same_terms(const channel_record& old, channel_record now) {
    now.version = old.version;
    now.stage = old.stage;
    now.change = old.change;
    now.signature = old.signature;
    now.closing = old.closing;
    now.closing_height = old.closing_height;
    must(write_record(now) == write_record(old), "the channel's terms changed");
}

/// The contract transaction's first output is the channel's.
inline void check_contract(const channel_record& r, bytes_view contract) {
    const auto tx = parse_transaction(contract);
    must(tx.has_value() && tx->id() == r.terms.contract.id, "the stored contract is another transaction");
    const auto out = tx->output(0);
    must(out && out->value == r.terms.value && equal(out->script_pubkey, contract_script(r).view()),
         "the contract's first output is not the channel's");
}

/// Input 0 spends the contract, by the rules that `flags` name.
[[nodiscard]] inline bool spends_contract(const channel_record& r, const transaction& tx, script_flags flags) {
    const auto in = tx.input(0);
    if (!in || in->prevout != r.terms.contract) return false;
    const auto script = contract_script(r);
    return verify_input(tx, 0, {r.terms.value, script.view()}, flags).has_value();
}

[[nodiscard]] inline satoshi total_out(const transaction& tx) {
    satoshi sum{};
    for (const tx_output& out : tx.outputs()) {
        must(is_money(out.value), "an output of ours is no amount of money");
        sum.value += out.value.value;
    }
    return sum;
}

/// A settlement that the server made: nodes relay it, the client gets its change, and the server the rest.
inline void check_settlement_pays(const channel_record& r, bytes_view bytes) {
    const auto tx = parse_transaction(bytes);
    must(tx.has_value(), "the settlement is no transaction");
    must(tx->lock_time() == 0 && tx->input_count() == 1, "the settlement has a lock time or foreign inputs");
    must(spends_contract(r, *tx, standard_flags), "the settlement does not validly spend the contract");
    const auto checked =
        with_scheme(r.protocol, [&]<class Scheme>() { return paychan::check_settlement<Scheme>(r.terms, bytes); });
    must(checked && *checked == tx->id(), "the client would not believe the settlement");
    const auto first = tx->output(0);
    must(first.has_value(), "the settlement has no output");
    if (r.change.value > 0)
        must(first->value == r.change && equal(first->script_pubkey, script_of_key(r.terms.client_key).view()),
             "the settlement does not pay the client its change");
    must(tx->output_count() == (r.change.value > 0 ? 2U : 1U), "the settlement has other outputs than its two");
    must(total_out(*tx) <= r.terms.value, "the settlement pays more than the contract holds");
    must(total_out(*tx) > r.change, "the settlement leaves the server nothing");
}

/// The complete refund: final at the expiry and not before, relayed by nodes, all but the fee to the client.
inline void check_refund(const channel_record& r, bytes_view bytes) {
    const auto tx = parse_transaction(bytes);
    must(tx && tx->input_count() == 1 && tx->output_count() == 1, "the refund has not one input and one output");
    must(tx->input(0)->sequence != final_sequence, "the refund's sequence switches its lock time off");
    must(tx->lock_time() == static_cast<std::uint64_t>(r.terms.expiry.seconds), "the refund is not due at the expiry");
    must(spends_contract(r, *tx, standard_flags), "the refund does not validly spend the contract");
    must(tx->output(0)->value.value == r.terms.value.value - 1'000 &&
             equal(tx->output(0)->script_pubkey, script_of_key(r.terms.client_key).view()),
         "the refund does not pay the client");
}

}  // namespace paychan_fuzz
