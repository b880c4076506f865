// The contract of version 2: the reference's bytes, and what nodes say to each way of spending it.
#include "paychan/channel/cltv_p2sh.hpp"

#include <catch2/catch.hpp>

#include "paychan/bitcoin/interpreter.hpp"
#include "paychan/channel/client_step.hpp"
#include "support/channel.hpp"
#include "support/coin_wallet.hpp"

using namespace paychan;
using namespace paychan_test;

namespace {

using scheme = cltv_p2sh;

struct key_forms {
    bool client_uncompressed;
    bool server_uncompressed;
};
constexpr std::array all_key_forms{key_forms{false, false}, key_forms{true, false}, key_forms{false, true},
                                   key_forms{true, true}};
// An expiry now, and on both sides of 2038 and at the last one that a lock_time holds.
constexpr std::array<std::int64_t, 4> expiries{1'700'086'340, 0x7fff'ffff, 0x8000'0000, 0xffff'ffff};

channel_of<scheme> made(key_forms forms = {}, std::int64_t expiry = 1'700'086'340) {
    channel_of<scheme> c;
    c.record.terms.expiry = {expiry};
    if (forms.client_uncompressed) c.record.terms.client_key = uncompressed(c.record.terms.client_key);
    if (forms.server_uncompressed) c.record.terms.server_key = uncompressed(c.record.terms.server_key);
    return c;
}

/// A transaction that spends the contract into one output, signed and put together as the test wants it.
struct attempt {
    const channel_of<scheme>& c;
    std::uint32_t sequence = refund_sequence;
    std::uint32_t lock_time = static_cast<std::uint32_t>(c.record.terms.expiry.seconds);

    [[nodiscard]] bytes written(bytes_view script_sig) const {
        const auto to = script_of_key(c.record.terms.client_key);
        const tx_input in{c.record.terms.contract, script_sig, sequence, {}};
        const tx_output out{{999'000}, to.view()};
        bytes tx(1'000);
        writer w(tx);
        write_transaction(w, 1, {&in, 1}, {&out, 1}, lock_time);
        tx.resize(w.size());
        return tx;
    }
    [[nodiscard]] bytes signature(const memory_keys& keys, key_id key) const {
        const bytes unsigned_tx = written({});
        const auto digest = legacy_sighash(parse_transaction(unsigned_tx).value(), 0,
                                           scheme::script_code(c.record.terms).view(), sighash_all);
        const auto made = keys.sign({key, signing_purpose::refund, digest.value(), {}, {}});
        return owned(to_bytes({made.value(), sighash_all}).view());
    }
    [[nodiscard]] script_error verdict(bytes_view script_sig, script_flags flags = standard_flags) const {
        const bytes tx = written(script_sig);
        const auto to = scheme::script_pubkey(c.record.terms);
        return judge_script(script_sig, to.view(), {}, parse_transaction(tx).value(), 0, c.record.terms.value, flags)
            .value();
    }
};

bytes refund_script_sig(const contract_terms& terms, bytes_view client) {
    bytes out(500);
    writer w(out);
    scheme::write_refund_script_sig(w, terms, client, {});
    out.resize(w.size());
    return out;
}
bytes settlement_script_sig(const contract_terms& terms, bytes_view client, bytes_view server) {
    bytes out(500);
    writer w(out);
    scheme::write_settlement_script_sig(w, terms, client, server);
    out.resize(w.size());
    return out;
}

}  // namespace

// ---- The reference

TEST_CASE("the version 2 contract's scripts are the reference's", "[channel][cltv]") {
    // The last two have a client's and a server's key of 65 bytes.
    for (const char* name : {"open_pay10_settle", "client_value_equals_min", "raw_good", "raw_pay_high_s",
                             "fake_expire_at_limit", "raw_uncompressed_key", "fake_key_uncompressed"}) {
        INFO(name);
        const recorded_channel recorded(name, 2);
        CHECK(hex(scheme::redeem_script(recorded.terms).view()) ==
              recorded.channel()["redeem_script"].get<std::string>());
        CHECK(hex(scheme::script_pubkey(recorded.terms).view()) ==
              recorded.channel()["output_script"].get<std::string>());
        CHECK(hex(scheme::script_code(recorded.terms).view()) == recorded.channel()["code"].get<std::string>());
        const bytes contract = unhex(recorded.channel()["contract"].get<std::string>());
        const auto tx = parse_transaction(contract).value();
        CHECK(equal(tx.output(0)->script_pubkey, scheme::script_pubkey(recorded.terms).view()));
    }
}

TEST_CASE("a version 2 refund is the reference's, byte for byte, and nodes take it", "[channel][cltv][refund]") {
    for (const char* name : {"open_pay10_settle", "client_value_equals_min", "fake_key_uncompressed"}) {
        INFO(name);
        const recorded_channel recorded(name, 2);
        memory_keys keys = recorded.client_keys();
        client_channel channel;
        channel.record.terms = recorded.terms;
        channel.record.key = keys.new_key().value();
        channel.session.refund = refund_transaction(recorded.terms);
        REQUIRE(detail::complete_refund<scheme>(channel, keys, {}));
        CHECK(hex(channel.session.refund.view()) == recorded.channel()["refund_complete"].get<std::string>());

        const auto script = scheme::script_pubkey(recorded.terms);
        const auto tx = parse_transaction(channel.session.refund.view()).value();
        CHECK(verify_input(tx, 0, {recorded.terms.value, script.view()}, standard_flags));
    }
}

TEST_CASE("a version 2 settlement's script_sig is the reference's", "[channel][cltv][settlement]") {
    int seen = 0;
    for (const char* name : {"open_pay10_settle", "exhaust_all", "raw_good", "raw_initial_all"}) {
        const recorded_channel recorded(name, 2);
        for (const auto& s : recorded.file["spends"]) {
            if (s["sequence"] != 0xffff'ffff) continue;
            INFO(name);
            const bytes client = unhex(s["sigs"][0]["sig"].get<std::string>());
            const bytes server = unhex(s["sigs"][1]["sig"].get<std::string>());
            const bytes script_sig = settlement_script_sig(recorded.terms, client, server);
            CHECK(hex(script_sig) == s["script_sig"].get<std::string>());
            const auto read = scheme::read_settlement_script_sig(recorded.terms, script_sig);
            REQUIRE(read);
            CHECK(owned((*read)[0]) == client);
            CHECK(owned((*read)[1]) == server);
            ++seen;
        }
    }
    CHECK(seen >= 6);
}

TEST_CASE("real nodes' verdicts on spends of a version 2 contract are the client's", "[channel][cltv]") {
    int accepted = 0;
    int refused = 0;
    for (const auto& v : read_vectors("channel_transactions.json")) {
        const std::string name = v["name"];
        if (v["section"] != "b CLTV P2SH" || name == "funding") continue;
        INFO(name);
        const bytes tx_bytes = unhex(v["hex"].get<std::string>());
        const auto tx = parse_transaction(tx_bytes).value();
        const tx_input in = tx.input(0).value();
        script_reader ops(in.script_sig);
        bytes redeem;
        while (const auto op = ops.next()) redeem = owned(op->data);
        REQUIRE(redeem.size() == 80);
        contract_terms terms;
        terms.contract = in.prevout;
        terms.value = {v["prevs"][0]["value"].get<std::int64_t>()};
        terms.server_key = parse_public_key(bytes_view(redeem).subspan(2, 33)).value();
        terms.client_key = parse_public_key(bytes_view(redeem).last(34).first(33)).value();
        for (std::size_t i = 0; i < 4; ++i) terms.expiry.seconds |= std::int64_t{redeem[38 + i]} << (8 * i);
        CHECK(owned(scheme::redeem_script(terms).view()) == redeem);
        CHECK(hex(scheme::script_pubkey(terms).view()) == v["prevs"][0]["script"].get<std::string>());

        const bool settlement = name.rfind("payment", 0) == 0;
        const bool ok = v["res"] == "ok";
        if (!settlement) {
            CHECK_FALSE(check_settlement<scheme>(terms, tx_bytes));  // a refund is none
            const bool script_says_yes = v["res"] != "script";       // time and double spends are not the script's
            CHECK(verify_input(tx, 0, {terms.value, scheme::script_pubkey(terms).view()}, standard_flags).has_value() ==
                  script_says_yes);
            continue;
        }
        CHECK(check_settlement<scheme>(terms, tx_bytes).has_value() == ok);
        ++(ok ? accepted : refused);
    }
    CHECK(accepted == 2);
    CHECK(refused == 3);
}

// ---- The script

TEST_CASE("the expiry is a minimal script number: four bytes, from 2038 on five", "[channel][cltv]") {
    const auto pushed = [](std::int64_t expiry) {
        const auto redeem = scheme::redeem_script(made({}, expiry).record.terms);
        const std::string text = hex(redeem.view());
        // Behind: IF, a key of 33 bytes, CHECKSIGVERIFY, ELSE.
        return text.substr(2 * (1 + 34 + 1 + 1), text.find("b17568") - 2 * (1 + 34 + 1 + 1));
    };
    CHECK(pushed(1'700'086'340) == "0444425565");  // as recorded
    CHECK(pushed(0x7fff'ffff) == "04ffffff7f");
    CHECK(pushed(0x8000'0000) == "050000008000");
    CHECK(pushed(0xffff'ffff) == "05ffffffff00");
}

TEST_CASE("a client refunds itself from the expiry on, and not before", "[channel][cltv][refund]") {
    for (const key_forms forms : all_key_forms)
        for (const std::int64_t expiry : expiries) {
            INFO("keys " << forms.client_uncompressed << forms.server_uncompressed << ", expiry " << expiry);
            const auto c = made(forms, expiry);
            const auto script_sig_of = [&](const attempt& a) {
                return refund_script_sig(c.record.terms, a.signature(c.client_keys, c.client_key));
            };
            attempt a{c};
            CHECK(a.verdict(script_sig_of(a)) == script_error::ok);
            a.lock_time -= 1;
            CHECK(a.verdict(script_sig_of(a)) == script_error::unsatisfied_locktime);
            CHECK(a.verdict(script_sig_of(a), consensus_flags) == script_error::unsatisfied_locktime);
            a.lock_time = 0;
            CHECK(a.verdict(script_sig_of(a)) == script_error::unsatisfied_locktime);
            a.lock_time = 499'999'999;  // BIP65: a height never satisfies a time
            CHECK(a.verdict(script_sig_of(a)) == script_error::unsatisfied_locktime);
            attempt b{c};
            b.sequence = final_sequence;
            CHECK(b.verdict(script_sig_of(b)) == script_error::unsatisfied_locktime);
            b.sequence = 0;
            CHECK(b.verdict(script_sig_of(b)) == script_error::ok);
        }
}

TEST_CASE("the refund branch is the client's alone, and the other one is nobody's alone", "[channel][cltv]") {
    const auto c = made();
    const memory_keys& client_keys = c.client_keys;
    const memory_keys& server_keys = c.server_keys;
    const attempt a{c};
    const bytes client = a.signature(client_keys, c.client_key);
    const bytes server = a.signature(server_keys, c.record.key);
    const contract_terms& terms = c.record.terms;

    CHECK(a.verdict(settlement_script_sig(terms, client, server)) == script_error::ok);
    CHECK(a.verdict(settlement_script_sig(terms, server, client)) != script_error::ok);
    CHECK(a.verdict(settlement_script_sig(terms, client, client)) != script_error::ok);
    CHECK(a.verdict(settlement_script_sig(terms, server, server)) != script_error::ok);
    CHECK(a.verdict(settlement_script_sig(terms, client, {})) != script_error::ok);
    CHECK(a.verdict(settlement_script_sig(terms, {}, server)) != script_error::ok);
    CHECK(a.verdict(refund_script_sig(terms, client)) == script_error::ok);
    CHECK(a.verdict(refund_script_sig(terms, server)) != script_error::ok);
    CHECK(a.verdict(refund_script_sig(terms, {})) != script_error::ok);

    // What satisfies one branch, with the number that chooses the other.
    attempt early{c};
    early.lock_time = 0;
    const bytes early_client = early.signature(client_keys, c.client_key);
    const bytes early_server = early.signature(server_keys, c.record.key);
    CHECK(early.verdict(settlement_script_sig(terms, early_client, early_server)) == script_error::ok);
    const auto chosen = [&](std::initializer_list<bytes> stack) {
        bytes out(500);
        writer w(out);
        for (const bytes& item : stack) push(w, item);
        push(w, scheme::redeem_script(terms).view());
        out.resize(w.size());
        return out;
    };
    CHECK(early.verdict(chosen({early_client, early_server, {0}})) == script_error::unsatisfied_locktime);
    CHECK(a.verdict(chosen({client, server, {0}})) == script_error::nullfail);
    CHECK(a.verdict(chosen({server, client, {0}})) == script_error::cleanstack);  // one signature too many
    CHECK(a.verdict(chosen({client, {1}})) != script_error::ok);
    // A contract with another key or another expiry has another hash.
    contract_terms other = terms;
    other.expiry.seconds -= 1;
    CHECK(a.verdict(refund_script_sig(other, client)) != script_error::ok);
}

TEST_CASE("a settlement's script_sig is read as it is written, and no other", "[channel][cltv][settlement]") {
    const auto c = made();
    const contract_terms& terms = c.record.terms;
    const bytes client(72, 1);
    const bytes server(71, 2);
    const bytes good = settlement_script_sig(terms, client, server);
    const auto read = scheme::read_settlement_script_sig(terms, good);
    REQUIRE(read);
    CHECK(owned((*read)[0]) == client);
    CHECK(owned((*read)[1]) == server);

    CHECK_FALSE(scheme::read_settlement_script_sig(terms, refund_script_sig(terms, client)));
    CHECK_FALSE(scheme::read_settlement_script_sig(terms, {}));
    for (std::size_t size = 0; size < good.size(); ++size)
        CHECK_FALSE(scheme::read_settlement_script_sig(terms, bytes_view(good).first(size)));
    bytes longer = good;
    longer.push_back(op_1);
    CHECK_FALSE(scheme::read_settlement_script_sig(terms, longer));
    contract_terms other = terms;
    other.expiry.seconds += 1;
    CHECK_FALSE(scheme::read_settlement_script_sig(other, good));
}

// ---- Sizes

TEST_CASE("a version 2 settlement is never larger than its fee was counted for", "[channel][cltv][settlement]") {
    for (const key_forms forms : all_key_forms)
        for (const std::int64_t expiry : expiries)
            for (const std::int64_t change : {900'000, 0}) {
                INFO("keys " << forms.client_uncompressed << forms.server_uncompressed << ", expiry " << expiry);
                auto c = made(forms, expiry);
                c.pay_down_to(change);
                coin_wallet wallet(3);
                std::array<std::uint8_t, max_settlement_size> memory{};
                const auto built = build_settlement<scheme>(c.record, c.server_keys, wallet, fee_rate{10'000}, memory);
                REQUIRE(built);
                const auto tx = parse_transaction(*built).value();
                const std::size_t counted = settlement_vsize<scheme>(c.record, wallet.payout_script().value());
                CHECK(tx.vsize() <= counted);
                CHECK(tx.vsize() + 4 >= counted);  // two signatures, each up to two bytes shorter than the longest
                CHECK(tx.input(0)->script_sig.size() <= scheme::max_settlement_script_sig(c.record.terms));
                const auto to = scheme::script_pubkey(c.record.terms);
                CHECK(verify_input(tx, 0, {c.record.terms.value, to.view()}, standard_flags));
                CHECK(check_settlement<scheme>(c.record.terms, *built) == tx.id());
            }
}

TEST_CASE("the fixed fee of a version 2 refund is one that nodes relay, with keys of any form", "[channel][cltv]") {
    for (const key_forms forms : all_key_forms) {
        auto c = made(forms, 0xffff'ffff);
        client_channel channel;
        channel.record = c.record;
        channel.record.key = c.client_key;
        channel.session.refund = refund_transaction(c.record.terms);
        REQUIRE(detail::complete_refund<scheme>(channel, c.client_keys, {}));
        const auto tx = parse_transaction(channel.session.refund.view()).value();
        CHECK(refund_fee >= fee_for(min_relay_fee_rate, tx.vsize()).value());
        const auto to = scheme::script_pubkey(c.record.terms);
        CHECK(verify_input(tx, 0, {c.record.terms.value, to.view()}, standard_flags));
    }
}
