// When two frames that differ mean the same.
#include "paychan/bitcoin/interpreter.hpp"
#include "paychan/channel/payment.hpp"
#include "replay/compare.hpp"
#include "replay/recorded_policies.hpp"
#include "support/wire.hpp"

namespace replay {

using namespace paychan;

namespace {

/// True when the payment verifies on a channel of the session.
bool verifies(const session& s, const wire::update_payment& m) {
    for (const recorded_channel& c : s.channels) {
        channel_record record;
        record.terms = c.terms;
        record.change = c.terms.value;
        if (both_versions::with<result<checked_payment>>(
                c.version, [&]<class Scheme>() { return check_payment<Scheme>(record, m); }))
            return true;
    }
    return false;
}

bool same(const session& s, const wire::update_payment& a, const wire::update_payment& b) {
    const auto text = [](const std::optional<bytes_view>& info) { return info ? paychan_test::hex(*info) : "none"; };
    return a.client_change_value == b.client_change_value && text(a.info) == text(b.info) && verifies(s, a) &&
           verifies(s, b);
}

/// The server's signature for a refund that was shown in the session.
bool verifies(const session& s, const wire::return_refund& m) {
    const auto flagged = parse_flagged(m.signature);
    if (!flagged || flagged->hash_type != cosigned_refund_flags) return false;
    for (const step& e : s.steps) {
        if (!e.frame || e.from != side::client) continue;
        const auto shown = wire::small_codec::decode(*e.frame);
        const auto* refund = shown ? std::get_if<wire::provide_refund>(&*shown) : nullptr;
        if (refund == nullptr) continue;
        for (const step& i : s.steps) {
            if (!i.frame || i.from != side::server) continue;
            const auto said = wire::small_codec::decode(*i.frame);
            const auto* terms = said ? std::get_if<wire::initiate>(&*said) : nullptr;
            if (terms == nullptr) continue;
            const auto client = parse_public_key(refund->multisig_key);
            const auto server = parse_public_key(terms->multisig_key);
            if (!client || !server) continue;
            contract_terms t;
            t.client_key = *client;
            t.server_key = *server;
            const auto digest = refund_digest<multisig_refund>(t, refund->tx, cosigned_refund_flags);
            if (digest && verify_ecdsa(t.server_key, *digest, flagged->signature)) return true;
        }
    }
    return false;
}

/// The transaction without its first script_sig.
bytes unsigned_form(bytes_view tx) {
    const auto parsed = parse_transaction(tx);
    if (!parsed) return {};
    std::vector<tx_input> inputs;
    for (const tx_input& in : parsed->inputs()) inputs.push_back(in);
    std::vector<tx_output> outputs;
    for (const tx_output& out : parsed->outputs()) outputs.push_back(out);
    if (inputs.empty()) return {};
    inputs[0].script_sig = {};
    bytes out(tx.size() + 100);
    writer w(out);
    write_transaction(w, parsed->version(), inputs, outputs, parsed->lock_time());
    return paychan_test::owned(w.written());
}

/// But for the contract that the refund spends.
bool same_but_for_the_contract(const wire::provide_refund& a, const wire::provide_refund& b) {
    if (!equal(a.multisig_key, b.multisig_key) || a.tx.size() != b.tx.size()) return false;
    constexpr std::size_t txid_at = 5;  // after version and number of inputs
    for (std::size_t i = 0; i < a.tx.size(); ++i)
        if ((i < txid_at || i >= txid_at + 32) && a.tx[i] != b.tx[i]) return false;
    return true;
}

}  // namespace

bool spend_the_same(const session& s, const bytes& reference, const bytes& ours) {
    if (unsigned_form(reference).empty() || unsigned_form(reference) != unsigned_form(ours)) return false;
    const auto tx = parse_transaction(ours);
    for (const recorded_channel& c : s.channels) {
        const auto contract = parse_transaction(c.contract);
        const auto spent = contract ? contract->output(0) : fail(contract.error());
        if (spent && tx->input(0)->prevout == outpoint{contract->id(), 0} &&
            verify_input(*tx, 0, *spent, standard_flags))
            return true;
    }
    return false;
}

bool mean_the_same(const session& s, const bytes& reference, const bytes& ours, bool made_up_contract) {
    const auto m = wire::small_codec::decode(reference);
    const auto n = wire::small_codec::decode(ours);
    if (!m || !n || m->index() != n->index()) return false;
    const auto both = [&]<class M>(const M*) { return std::pair{std::get_if<M>(&*m), std::get_if<M>(&*n)}; };
    if (const auto [a, b] = both(static_cast<const wire::error_message*>(nullptr)); a)
        return a->code == b->code && a->expected_value == b->expected_value;
    if (const auto [a, b] = both(static_cast<const wire::update_payment*>(nullptr)); a) return same(s, *a, *b);
    if (const auto [a, b] = both(static_cast<const wire::return_refund*>(nullptr)); a)
        return verifies(s, *a) && verifies(s, *b);
    if (const auto [a, b] = both(static_cast<const wire::close*>(nullptr)); a)
        return a->settlement && b->settlement &&
               spend_the_same(s, paychan_test::owned(*a->settlement), paychan_test::owned(*b->settlement));
    if (const auto [a, b] = both(static_cast<const wire::provide_refund*>(nullptr)); a)
        return made_up_contract && same_but_for_the_contract(*a, *b);
    if (const auto [a, b] = both(static_cast<const wire::provide_contract*>(nullptr)); a)
        return equal(a->tx, b->tx) && a->client_key.has_value() == b->client_key.has_value() &&
               (!a->client_key || equal(*a->client_key, *b->client_key)) &&
               same(s, a->initial_payment, b->initial_payment);
    return false;
}

}  // namespace replay
