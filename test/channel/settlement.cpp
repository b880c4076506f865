// Settlements: built for every fee, taken by the chain, and checked by the client.
#include "paychan/channel/settlement.hpp"

#include <catch2/catch.hpp>

#include "paychan/memory/chain_follower.hpp"
#include "paychan/memory/wallet.hpp"
#include "support/channel.hpp"
#include "support/coin_wallet.hpp"

using namespace paychan;
using namespace paychan_test;

namespace {

/// A wallet that tells of no coin what it is worth.
constexpr auto no_values = [](const outpoint&) { return std::optional<satoshi>{}; };

using memory_for_tx = std::array<std::uint8_t, max_settlement_size>;

/// A server's wallet with coins of its own, on a chain that has matured them.
struct rich_server {
    memory_chain chain{unix_time{1'700'000'000}};
    chain_follower network{chain, 1};
    seed_wallet wallet = seed_wallet::open(bytes(32, 7), network::regtest).value();

    rich_server() {
        chain.mine(1, wallet.payout_script()->view());
        chain.mine(100, p2pkh_script({}).view());
        network.deliver(wallet);
        REQUIRE(wallet.spare() > satoshi{0});
    }
};

std::string verdict(memory_chain& chain, bytes_view tx) {
    const submission said = chain.submit(tx);
    return said.accepted ? "accepted" : said.reason;
}

/// [bytes] of the largest settlement with a change and a payout to P2PKH.
/// Source: counted by hand: version, locktime and counts 10, outpoint and sequence 40, outputs 2 * 34, script_sig with its
/// length 150 (0 <73> <73>) or 232 (<73> <73> 1 <80>, with OP_PUSHDATA1).
template <class Scheme>
constexpr std::int64_t largest = Scheme::version == 1 ? 268 : 350;

/// [satoshi]
std::int64_t outputs_of(const transaction& tx) {
    std::int64_t sum = 0;
    for (const tx_output& out : tx.outputs()) sum += out.value.value;
    return sum;
}

}  // namespace

TEMPLATE_TEST_CASE("a settlement pays its fee out of the payout when that bears it", "[channel][settlement]",
                   multisig_refund, cltv_p2sh) {
    channel_of<TestType> c;
    coin_wallet wallet(3);
    const fee_rate rate{GENERATE(1'000, 10'000, 100'000)};
    c.pay_down_to(GENERATE(900'000, 546, 0));
    memory_chain chain;
    c.fund(chain);
    memory_for_tx memory{};
    const auto built = build_settlement<TestType>(c.record, c.server_keys, wallet, rate, memory);
    REQUIRE(built);
    const auto tx = parse_transaction(*built).value();
    CHECK(tx.input_count() == 1);
    CHECK(tx.output_count() == (c.record.change.value > 0 ? 2 : 1));
    CHECK(tx.lock_time() == 0);
    CHECK(tx.input(0)->sequence == final_sequence);
    if (c.record.change.value > 0) {
        CHECK(tx.output(0)->value == c.record.change);
        CHECK(equal(tx.output(0)->script_pubkey, script_of_key(c.record.terms.client_key).view()));
    }
    // The rate that was asked for, within the two bytes that signatures vary by and the one that a fee is rounded by.
    const std::int64_t fee = c.record.terms.value.value - outputs_of(tx);
    const auto size = static_cast<std::int64_t>(tx.vsize());
    CHECK(fee >= size * rate.sat_per_kvb / 1000);
    CHECK(fee <= (size + 4) * rate.sat_per_kvb / 1000 + 1);
    CHECK(rate_of_settlement(tx, c.record.terms.value, no_values) == fee_rate{fee * 1'000 / size});
    CHECK(verdict(chain, *built) == "accepted");
    CHECK(check_settlement<TestType>(c.record.terms, *built) == tx.id());
}

TEMPLATE_TEST_CASE("a settlement that costs more than was paid takes inputs of the wallet", "[channel][settlement]",
                   multisig_refund, cltv_p2sh) {
    rich_server s;
    channel_of<TestType> c;
    // Version 1: 265 bytes at 2 satoshi each, and a P2WPKH output of 294, are 824; with an input more the fee is about 670.
    const std::int64_t more = 2 * (largest<TestType> - largest<multisig_refund>);
    c.pay_down_to(1'000'000 - GENERATE(700, 823) - more);
    c.fund(s.chain);
    memory_for_tx memory{};
    const fee_rate rate{2'000};
    const auto built = build_settlement<TestType>(c.record, c.server_keys, s.wallet, rate, memory);
    REQUIRE(built);
    const auto tx = parse_transaction(*built).value();
    CHECK(tx.input_count() == 2);
    CHECK(tx.output_count() == 2);
    CHECK(tx.input(0)->prevout == c.record.terms.contract);
    CHECK(tx.output(0)->value == c.record.change);
    CHECK(tx.output(1)->value.value > 50 * coin.value);  // more than the wallet's coin that went in
    CHECK(rate_of_settlement(tx, c.record.terms.value, no_values) == std::nullopt);
    CHECK(verdict(s.chain, *built) == "accepted");
    CHECK(check_settlement<TestType>(c.record.terms, *built) == tx.id());

    SECTION("built again with another fee it spends no second coin") {
        memory_for_tx again{};
        const auto rebuilt = build_settlement<TestType>(c.record, c.server_keys, s.wallet, fee_rate{2'050}, again);
        REQUIRE(rebuilt);
        CHECK(parse_transaction(*rebuilt)->input(1)->prevout == tx.input(1)->prevout);
    }
}

TEMPLATE_TEST_CASE("a wallet's inputs are never added at a loss", "[channel][settlement]", multisig_refund, cltv_p2sh) {
    // A stranger who pays little must not make the wallet pay for a settlement that brings nothing.
    for (const std::int64_t rate : {1'000, 2'000, 3'000, 4'000, 10'000, 50'000})
        for (const std::int64_t paid :
             {100, 558, 559, 660, 680, 823, 824, 900, 1'000, 1'081, 1'400, 2'000, 3'000, 13'400}) {
            INFO("rate " << rate << ", paid " << paid);
            rich_server s;
            channel_of<TestType> c;
            c.pay_down_to(1'000'000 - paid);
            c.fund(s.chain);
            memory_for_tx memory{};
            const auto built = build_settlement<TestType>(c.record, c.server_keys, s.wallet, fee_rate{rate}, memory);
            if (!built) {
                CHECK(built.error().code == errc::insufficient_funds);
                CHECK(s.wallet.balance().reserved == satoshi{0});
                continue;
            }
            const auto tx = parse_transaction(*built).value();
            const std::int64_t added = static_cast<std::int64_t>(tx.input_count() - 1) * 50 * coin.value;
            CHECK(tx.output(1)->value.value > added);
            CHECK(verdict(s.chain, *built) == "accepted");
        }
}

TEMPLATE_TEST_CASE("a settlement that nobody helps pays the most that it bears, if nodes relay it",
                   "[channel][settlement]", multisig_refund, cltv_p2sh) {
    channel_of<TestType> c;
    coin_wallet wallet(3);
    memory_chain chain;
    c.fund(chain);
    memory_for_tx memory{};
    const fee_rate rate{50'000};

    c.pay_down_to(999'000);  // 1,000 were paid
    const auto built = build_settlement<TestType>(c.record, c.server_keys, wallet, rate, memory);
    REQUIRE(built);
    const auto tx = parse_transaction(*built).value();
    CHECK(tx.output(1)->value == p2pkh_dust);
    CHECK(verdict(chain, *built) == "accepted");

    // That size at 1 satoshi a byte, and an output of 546: the least that nodes relay.
    const auto least = least_settlement<TestType>(c.record, *wallet.payout_script(), min_relay_fee_rate);
    REQUIRE(least);
    CHECK(*least == satoshi{largest<TestType> + 546});
    c.pay_down_to(1'000'000 - least->value);
    memory_chain other;
    c.fund(other);
    const auto last = build_settlement<TestType>(c.record, c.server_keys, wallet, rate, memory);
    REQUIRE(last);
    CHECK(verdict(other, *last) == "accepted");

    c.pay_down_to(1'000'000 - least->value + 1);
    const auto refused = build_settlement<TestType>(c.record, c.server_keys, wallet, rate, memory);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == errc::insufficient_funds);
}

TEMPLATE_TEST_CASE("a settlement without a payment, or without room, is refused", "[channel][settlement]",
                   multisig_refund, cltv_p2sh) {
    channel_of<TestType> c;
    coin_wallet wallet(3);
    memory_for_tx memory{};
    CHECK(build_settlement<TestType>(c.record, c.server_keys, wallet, min_relay_fee_rate, memory).error().code ==
          errc::wrong_state);
    c.pay_down_to(500'000);
    for (std::size_t room = 0; room < 260; room += 13)
        CHECK(build_settlement<TestType>(c.record, c.server_keys, wallet, min_relay_fee_rate,
                                         bytes_span(memory).first(room))
                  .error()
                  .code == errc::too_long);
}

namespace {
/// A wallet that breaks the contract of add_fee_inputs.
struct rogue_wallet {
    coin_wallet purse{3};
    void (*rogue)(std::vector<tx_input>&, std::vector<tx_output>&) = nullptr;

    result<script_buffer> payout_script() const { return purse.payout_script(); }
    result<bytes_view> add_fee_inputs(const settlement_draft& draft, bytes_span memory) const {
        const auto tx = parse_transaction(draft.tx).value();
        std::vector<tx_input> in;
        std::vector<tx_output> out;
        for (const tx_input& i : tx.inputs()) in.push_back(i);
        for (const tx_output& o : tx.outputs()) out.push_back(o);
        out.back().value = draft.available;
        rogue(in, out);
        writer w(memory);
        write_transaction(w, 1, in, out, 0);
        return w.written();
    }
};
static_assert(FeeInputWallet<rogue_wallet>);
}  // namespace

TEMPLATE_TEST_CASE("a settlement that the wallet spoiled is never signed", "[channel][settlement]", multisig_refund,
                   cltv_p2sh) {
    channel_of<TestType> c;
    c.pay_down_to(999'000);
    memory_for_tx memory{};
    rogue_wallet wallet;
    errc expected = errc::bad_transaction;
    SECTION("first input moved") {
        wallet.rogue = [](auto& in, auto&) { in.insert(in.begin(), tx_input{}); };
    }
    SECTION("the client's change changed") {
        wallet.rogue = [](auto&, auto& out) { --out[0].value.value; };
    }
    SECTION("outputs swapped") {
        wallet.rogue = [](auto&, auto& out) { std::swap(out[0], out[1]); };
    }
    SECTION("a sequence that is not final") {
        wallet.rogue = [](auto& in, auto&) { in[0].sequence = 1; };
    }
    SECTION("too many inputs") {
        wallet.rogue = [](auto& in, auto&) { in.resize(max_settlement_inputs + 1); };
        expected = errc::too_long;
    }
    const auto built = build_settlement<TestType>(c.record, c.server_keys, wallet, fee_rate{50'000}, memory);
    REQUIRE_FALSE(built);
    CHECK(built.error().code == expected);
}

TEMPLATE_TEST_CASE("the client takes a settlement of an older state, and refuses one that was changed",
                   "[channel][settlement]", multisig_refund, cltv_p2sh) {
    channel_of<TestType> c;
    coin_wallet wallet(3);
    c.pay_down_to(700'000);
    memory_for_tx memory{};
    const bytes good =
        owned(build_settlement<TestType>(c.record, c.server_keys, wallet, min_relay_fee_rate, memory).value());
    CHECK(check_settlement<TestType>(c.record.terms, good));

    for (std::size_t i = 0; i < good.size(); ++i) {
        bytes changed = good;
        changed[i] ^= 1;
        INFO("byte " << i);
        CHECK_FALSE(check_settlement<TestType>(c.record.terms, changed));
    }
    for (std::size_t size = 0; size < good.size(); ++size)
        CHECK(check_settlement<TestType>(c.record.terms, bytes_view(good).first(size)).error().code == errc::malformed);
    contract_terms other = c.record.terms;
    other.contract.index = 1;
    CHECK(check_settlement<TestType>(other, good).error().code == errc::bad_transaction);
    other = c.record.terms;
    std::swap(other.client_key, other.server_key);
    CHECK(check_settlement<TestType>(other, good).error().code == errc::bad_transaction);
}

TEMPLATE_TEST_CASE("the reference's settlements pass the client's check, its bogus ones do not",
                   "[channel][settlement]", multisig_refund, cltv_p2sh) {
    for (const char* name : {"open_pay10_settle", "exhaust_all", "resume",
                             TestType::version == 1 ? "fake_close_old_state" : "raw_pay_after_close"}) {
        const recorded_channel recorded(name, TestType::version);
        int checked = 0;
        for (const auto& s : recorded.file["spends"])
            if (s["sequence"] == 0xffff'ffff) {
                INFO(name);
                CHECK(check_settlement<TestType>(recorded.terms, unhex(s["tx"].get<std::string>())));
                ++checked;
            }
        CHECK(checked > 0);
    }
    if (TestType::version == 2) return;  // bogus ones were recorded in version 1
    const recorded_channel bogus("fake_close_bogus_settlement");
    int refused = 0;
    for (const auto& e : bogus.file["exchange"])
        if (e.contains("message") && e["message"].contains("settlement") && e["from"] == "server") {
            const bytes tx = unhex(e["message"]["settlement"]["tx"].get<std::string>());
            CHECK_FALSE(check_settlement<TestType>(bogus.terms, tx));
            ++refused;
        }
    CHECK(refused > 0);
}

TEST_CASE("real nodes' verdicts on payments of a 2-of-2 are the client's", "[channel][settlement]") {
    const auto all = read_vectors("channel_transactions.json");
    int accepted = 0;
    int refused = 0;
    bool trap = false;
    for (const auto& v : all) {
        const std::string name = v["name"];
        if (v["section"] != "a bare 2of2") continue;
        const bytes tx_bytes = unhex(v["hex"].get<std::string>());
        const auto tx = parse_transaction(tx_bytes).value();
        const bool is_trap = name.find("SIGHASH_SINGLE|ACP with index") != std::string::npos;
        if (name.rfind("payment", 0) != 0 && !is_trap) continue;
        for (std::size_t i = 0; i < tx.input_count(); ++i) {
            if (!is_trap && i > 0) continue;
            const bytes script = unhex(v["prevs"][i]["script"].get<std::string>());
            const auto keys = match_multisig_2of2(script);
            if (!keys) continue;
            contract_terms terms;
            terms.contract = tx.input(i)->prevout;
            terms.value = {v["prevs"][i]["value"].get<std::int64_t>()};
            terms.client_key = parse_public_key(keys->key1).value();
            terms.server_key = parse_public_key(keys->key2).value();
            INFO(name);
            // A transaction that nodes know already is a good one too.
            const bool ok = v["res"] == "ok" || v.value("err", "").rfind("-27", 0) == 0;
            const bool taken = check_settlement<v1_scheme>(terms, tx_bytes).has_value();
            if (is_trap) {
                // Nodes take it; whoever signed it signed "1".  We do not.
                REQUIRE(ok);
                CHECK_FALSE(taken);
                trap = true;
                continue;
            }
            CHECK(taken == ok);
            ++(ok ? accepted : refused);
        }
    }
    CHECK(accepted >= 3);
    CHECK(refused >= 5);
    CHECK(trap);
}
