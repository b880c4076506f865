// The wallet finds its coins in blocks, spends them as nodes accept it, and never spends one twice.
#include "paychan/memory/wallet.hpp"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "channel_parts.hpp"
#include "paychan/memory/chain_follower.hpp"
#include "paychan/memory/keys.hpp"
#include "paychan/memory/store.hpp"

using namespace paychan;
using namespace paychan::testing;

namespace {

// BIP84 and BIP44 test vectors: the seed of the mnemonic "abandon abandon ... about".
constexpr const char* seed_hex =
    "5eb00bbddcf069084889a8ab9155568165f5c453ccb85e70811aaed6f6da5fc1"
    "9a5ac40b389cd370d086206dec8aa6c43daea6690f20ad3d8d48b2d2ce9e38e4";

std::array<std::uint8_t, 64> wallet_seed() {
    std::array<std::uint8_t, 64> out{};
    REQUIRE(from_hex(seed_hex, out));
    return out;
}

seed_wallet open_wallet(funding_style style = funding_style::segwit, std::function<std::uint32_t()> channel_keys = {}) {
    auto w = seed_wallet::open(wallet_seed(), network::regtest, style, std::move(channel_keys));
    REQUIRE(w);
    return *std::move(w);
}

std::string text_of(const result<address_text>& a) {
    REQUIRE(a);
    return std::string(a->view());
}

/// A chain on which coins are given away, and the follower that tells a wallet of it.
struct coin_world {
    memory_chain chain;
    chain_follower network{chain, 1};
    std::int32_t next_coin = 1;

    coin_world() { chain.mine(130, to_miner.view()); }

    void tell(seed_wallet& w) { network.deliver(w); }
    void mine(seed_wallet& w, int count = 1) {
        chain.mine(count, to_miner.view());
        tell(w);
    }

    /// Sends to a script; not yet in a block.  Returns where it is.
    outpoint give(bytes_view script, satoshi amount) {
        const auto block = chain.block_at(next_coin++);
        auto walk = open_block(block->raw);
        const outpoint from{walk->next()->id(), 0};
        const std::array out{tx_output{amount, script},
                             tx_output{satoshi{fifty.value - amount.value - 1000}, to_miner.view()}};
        const byte_string tx = spend_mined(from, out);
        REQUIRE(chain.submit(tx).reason == "");
        return {id_of(tx), 0};
    }
    outpoint give(const seed_wallet& w, funding_style style, satoshi amount, std::uint32_t index = 0) {
        const auto address = w.address(index, style);
        REQUIRE(address);
        const auto script = script_of_address(address->view(), network::regtest);
        REQUIRE(script);
        return give(script->view(), amount);
    }
};

/// A wallet with coins of these amounts, in a block.
seed_wallet wallet_with(coin_world& world, std::initializer_list<std::int64_t> amounts,
                        funding_style style = funding_style::segwit) {
    seed_wallet w = open_wallet(style);
    for (const std::int64_t amount : amounts) world.give(w, style, satoshi{amount});
    world.mine(w);
    return w;
}

script_buffer script_at(const seed_wallet& w, funding_style style, std::uint32_t index) {
    return *script_of_address(w.address(index, style)->view(), network::regtest);
}

/// [satoshi] what the inputs bring more than the outputs; inputs must be unspent in a block.
std::int64_t fee_of(const memory_chain& chain, bytes_view tx) {
    const auto parsed = parse_transaction(tx);
    std::int64_t fee = 0;
    for (const tx_input& in : parsed->inputs()) {
        const auto c = chain.coin_at(in.prevout);
        REQUIRE(c);
        fee += c->value.value;
    }
    for (const tx_output& out : parsed->outputs()) fee -= out.value.value;
    return fee;
}

const script_buffer contract_script = channel_keys().contract_script;
constexpr fee_rate five{5000};  // [sat/kvB]

}  // namespace

TEST_CASE("the addresses are those of BIP84 and BIP44", "[memory][wallet]") {
    auto w = seed_wallet::open(wallet_seed(), network::mainnet);
    REQUIRE(w);
    CHECK(text_of(w->address(0, funding_style::segwit)) == "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu");
    CHECK(text_of(w->address(1, funding_style::segwit)) == "bc1qnjg0jd8228aq7egyzacy8cys3knf9xvrerkf9g");
    CHECK(text_of(w->address(0, funding_style::legacy)) == "1LqBGSKuX5yYUonjxT5qGfpUsXKYYWeabA");
    // BIP84's first change address: payouts and change use that row.
    CHECK(text_of(address_of_script(w->payout_script()->view(), network::mainnet)) ==
          "bc1q8c6fshw2dlwun7ekn9qwf37cu2rn755upcp6el");
    CHECK(w->address(20, funding_style::segwit).error().code == errc::invalid_argument);
    CHECK(seed_wallet::open(bytes_view(wallet_seed()).first(15), network::mainnet).error().code ==
          errc::invalid_argument);
}

TEST_CASE("a contract is funded as nodes accept it, at its fee rate", "[memory][wallet]") {
    const auto style = GENERATE(funding_style::segwit, funding_style::legacy);
    const int coins = GENERATE(1, 2, 7);
    coin_world world;
    seed_wallet w = open_wallet(style);
    for (int i = 0; i < coins; ++i) world.give(w, style, satoshi{1'000'000}, static_cast<std::uint32_t>(i));
    world.mine(w);
    const satoshi amount{1'000'000 * coins - 100'000};
    std::vector<std::uint8_t> memory(5000);
    const auto tx = w.fund(contract_script.view(), amount, five, memory);
    REQUIRE(tx);
    const auto parsed = parse_transaction(*tx);
    REQUIRE(parsed);
    CHECK(parsed->version() == 1);
    CHECK(parsed->lock_time() == 0);
    CHECK(parsed->input_count() == static_cast<std::size_t>(coins));
    for (const tx_input& in : parsed->inputs()) CHECK(in.sequence == 0xffffffff);
    CHECK(parsed->output_count() == 2);
    CHECK(parsed->output(0)->value == amount);
    CHECK(equal(parsed->output(0)->script_pubkey, contract_script.view()));
    CHECK(parsed->has_witness() == (style == funding_style::segwit));
    CHECK((match_p2wpkh(parsed->output(1)->script_pubkey).has_value()) == (style == funding_style::segwit));

    // At least the rate for the size as nodes count it; a signature that came out short costs a byte or two.
    const std::int64_t fee = fee_of(world.chain, *tx);
    const auto vsize = static_cast<std::int64_t>(relay_vsize(*parsed));
    CHECK(fee >= vsize * 5);
    CHECK(fee <= (vsize + 2 * coins) * 5 + 5);
    CHECK(world.chain.submit(*tx).reason == "");

    CHECK(w.balance().reserved == satoshi{1'000'000 * coins});
    world.mine(w);
    CHECK(w.balance().reserved == satoshi{0});
    CHECK(w.balance().confirmed == satoshi{100'000 - fee});
    // The change can be spent too.
    const auto next = w.fund(contract_script.view(), satoshi{50'000}, five, memory);
    REQUIRE(next);
    CHECK(world.chain.submit(*next).reason == "");
}

TEST_CASE("a change below dust goes to the fee", "[memory][wallet]") {
    coin_world world;
    seed_wallet w = wallet_with(world, {100'000});
    std::vector<std::uint8_t> memory(1000);
    // 405 vB, as nodes count the signature operations of a 2-of-2: a change would be 45.
    const auto tx = w.fund(contract_script.view(), satoshi{99'550}, fee_rate{1000}, memory);
    REQUIRE(tx);
    CHECK(parse_transaction(*tx)->output_count() == 1);
    CHECK(fee_of(world.chain, *tx) == 450);
    CHECK(world.chain.submit(*tx).reason == "");
}

TEST_CASE("coins are spent only when they are confirmed, mature, free, and of the style", "[memory][wallet]") {
    coin_world world;
    seed_wallet w = open_wallet();
    std::vector<std::uint8_t> memory(1000);
    const auto attempt = [&](std::int64_t amount) {
        return w.fund(contract_script.view(), satoshi{amount}, five, memory);
    };
    world.tell(w);
    CHECK(attempt(10'000).error().code == errc::insufficient_funds);

    world.give(w, funding_style::segwit, satoshi{100'000});
    world.tell(w);
    CHECK(w.balance().confirmed == satoshi{0});
    CHECK(attempt(10'000).error().code == errc::insufficient_funds);
    world.mine(w);
    CHECK(attempt(99'999).error().code == errc::insufficient_funds);  // nothing is left for the fee
    CHECK(w.balance().confirmed == satoshi{100'000});
    const auto first = attempt(10'000);
    REQUIRE(first);
    const std::vector<std::uint8_t> contract(first->begin(), first->end());
    CHECK(attempt(10'000).error().code == errc::insufficient_funds);
    w.release(contract);
    CHECK(attempt(10'000));
    w.release(contract);

    world.give(w, funding_style::legacy, satoshi{500'000});
    world.mine(w);
    CHECK(w.balance().p2pkh == satoshi{500'000});
    const auto refused = attempt(200'000);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().text.find("P2PKH coins must be moved") != std::string_view::npos);

    world.chain.mine(1, script_at(w, funding_style::segwit, 3).view());
    world.mine(w, 98);
    CHECK(w.balance().immature == fifty);
    CHECK(attempt(1'000'000).error().code == errc::insufficient_funds);
    world.mine(w);
    CHECK(w.balance().immature == satoshi{0});
    const auto mined = attempt(1'000'000);
    REQUIRE(mined);
    CHECK(world.chain.submit(*mined).reason == "");
}

TEST_CASE("what cannot be funded reserves nothing", "[memory][wallet]") {
    coin_world world;
    seed_wallet w = wallet_with(world, {100'000});
    std::vector<std::uint8_t> memory(100);
    CHECK(w.fund(contract_script.view(), satoshi{10'000}, five, memory).error().code == errc::too_long);
    CHECK(w.fund(contract_script.view(), satoshi{10'000}, five, bytes_span(memory).first(0)).error().code ==
          errc::too_long);
    memory.resize(1000);
    for (const std::int64_t bad :
         {std::int64_t{0}, std::int64_t{-1}, std::int64_t{545}, max_money.value + 1, INT64_MAX})
        CHECK(w.fund(contract_script.view(), satoshi{bad}, five, memory).error().code == errc::out_of_range);
    CHECK(w.fund(contract_script.view(), satoshi{10'000}, fee_rate{-1}, memory).error().code == errc::out_of_range);
    CHECK(w.fund(contract_script.view(), satoshi{10'000}, fee_rate{10'000'001}, memory).error().code ==
          errc::out_of_range);
    CHECK(w.fund(contract_script.view(), max_money, five, memory).error().code == errc::insufficient_funds);
    CHECK(w.balance().confirmed == satoshi{100'000});
    const auto low = w.fund(contract_script.view(), satoshi{10'000}, fee_rate{0}, memory);
    REQUIRE(low);
    CHECK(world.chain.submit(*low).reason == "");  // raised to what nodes ask for
}

TEST_CASE("coins are found up to the gap, wherever in a block they are", "[memory][wallet]") {
    coin_world world;
    seed_wallet w = open_wallet();
    seed_wallet far = open_wallet();
    // Two wallets of one seed: `far` is moved on, so that it tells addresses which `w` does not look for yet.
    world.give(w, funding_style::segwit, satoshi{1'000}, 19);
    world.chain.mine(1, to_miner.view());
    world.tell(far);
    const script_buffer at_39 = script_at(far, funding_style::segwit, 39);
    CHECK(w.address(39, funding_style::segwit).error().code == errc::invalid_argument);
    REQUIRE(far.balance().confirmed == satoshi{1'000});

    // In one block: number 39 first, which only number 19 behind it brings into sight.
    seed_wallet late = open_wallet();
    REQUIRE(world.chain.disconnect_tip());
    const auto again = world.chain.find_transaction(
        world.chain.spender_in_mempool({open_block(world.chain.block_at(1)->raw)->next()->id(), 0}).value());
    REQUIRE(again);
    world.chain.forget(id_of(*again));
    world.give(at_39.view(), satoshi{2'000});
    REQUIRE(world.chain.submit(*again).accepted);
    world.chain.mine(1, to_miner.view());
    chain_follower all(world.chain, 1);
    all.deliver(late);
    CHECK(late.balance().confirmed == satoshi{3'000});
    CHECK(late.next_address(funding_style::segwit) == 40);
}

TEST_CASE("a reorganisation takes coins away and brings them back reserved", "[memory][wallet]") {
    coin_world world;
    seed_wallet w = wallet_with(world, {100'000});
    std::vector<std::uint8_t> memory(1000);
    const auto tx = w.fund(contract_script.view(), satoshi{60'000}, five, memory);
    REQUIRE(tx);
    REQUIRE(world.chain.submit(*tx).accepted);
    world.mine(w);
    const wallet_balance after = w.balance();
    CHECK(after.confirmed.value > 37'000);

    REQUIRE(world.chain.disconnect_tip());  // the contract's block
    world.tell(w);
    CHECK(w.balance().confirmed == satoshi{0});
    CHECK(w.balance().reserved == satoshi{100'000});  // its coin is the contract's, which waits in the mempool
    std::vector<std::uint8_t> other(1000);
    CHECK(w.fund(contract_script.view(), satoshi{10'000}, five, other).error().code == errc::insufficient_funds);

    REQUIRE(world.chain.disconnect_tip());  // the coin's block
    world.tell(w);
    CHECK(w.balance().reserved == satoshi{0});
    world.mine(w, 3);
    CHECK(w.balance().confirmed == after.confirmed);
    CHECK(w.balance().reserved == satoshi{0});
}

TEST_CASE("a wallet that missed blocks spends nothing until it has scanned again", "[memory][wallet]") {
    coin_world world;
    seed_wallet w = wallet_with(world, {100'000});
    std::vector<std::uint8_t> memory(1000);

    SECTION("a gap in the heights") {
        world.chain.mine(2, to_miner.view());
        w.on_chain(*world.chain.block_at(world.chain.height()));
    }
    SECTION("a block that does not follow the last one") {
        REQUIRE(world.chain.reorg(1, to_miner.view()));
        w.on_chain(*world.chain.block_at(world.chain.height()));
    }
    SECTION("a block that cannot be read") {
        world.chain.mine(1, to_miner.view());
        connected_block next = *world.chain.block_at(world.chain.height());
        next.raw = next.raw.first(next.raw.size() - 1);
        w.on_chain(next);
    }
    SECTION("another branch, of which it was not told where it begins") {
        REQUIRE(world.chain.reorg(2, to_miner.view()));
        w.on_chain(*world.chain.block_at(world.chain.height() - 1));
    }
    CHECK(w.fund(contract_script.view(), satoshi{10'000}, five, memory).error().code == errc::wrong_state);
    CHECK(w.usable().error().code == errc::wrong_state);

    w.restart_scan();
    chain_follower again(world.chain, 1);
    again.deliver(w);
    CHECK(w.usable());
    CHECK(w.balance().confirmed == satoshi{100'000});
    CHECK(w.fund(contract_script.view(), satoshi{10'000}, five, memory));
}

TEST_CASE("blocks are taken back to any depth, in one event", "[memory][wallet]") {
    coin_world world;
    seed_wallet w = wallet_with(world, {100'000});
    const std::int32_t with_coin = world.chain.height();
    std::vector<std::uint8_t> memory(1000);
    const auto tx = w.fund(contract_script.view(), satoshi{60'000}, five, memory);
    REQUIRE(tx);
    REQUIRE(world.chain.submit(*tx).accepted);
    world.mine(w, 300);
    const wallet_balance after = w.balance();
    w.on_chain(disconnected_blocks{world.chain.height() + 1});  // above all that it knows
    CHECK(w.balance().confirmed == after.confirmed);
    w.on_chain(disconnected_blocks{with_coin + 1});
    CHECK(w.height() == with_coin);
    CHECK(w.balance().reserved == satoshi{100'000});
    CHECK(w.balance().confirmed == satoshi{0});
    for (std::int32_t h = with_coin + 1; h <= world.chain.height(); ++h) w.on_chain(*world.chain.block_at(h));
    CHECK(w.usable());
    CHECK(w.balance().confirmed == after.confirmed);
    CHECK(w.balance().reserved == satoshi{0});
    w.on_chain(disconnected_blocks{0});
    CHECK_FALSE(w.height());
    CHECK(w.balance().confirmed == satoshi{0});
    CHECK(w.usable());
}

TEST_CASE("blocks that nobody can show take the coins before them away, unless they are known", "[memory][wallet]") {
    coin_world world;
    seed_wallet w = wallet_with(world, {100'000});
    const std::int32_t tip = world.chain.height();
    w.on_chain(passed_blocks{1, tip});
    CHECK(w.balance().confirmed == satoshi{100'000});
    world.chain.mine(2, to_miner.view());
    w.on_chain(passed_blocks{tip, tip + 2});
    CHECK(w.balance().confirmed == satoshi{0});
    CHECK(w.height() == tip + 2);
    world.give(w, funding_style::segwit, satoshi{50'000});
    world.chain.mine(1, to_miner.view());
    w.on_chain(*world.chain.block_at(tip + 3));
    CHECK(w.usable());
    CHECK(w.balance().confirmed == satoshi{50'000});
}

TEST_CASE("a block that is told twice changes nothing; one that does not parse is missed, and a new scan mends it",
          "[memory][wallet]") {
    coin_world world;
    seed_wallet w = wallet_with(world, {100'000});
    w.on_chain(*world.chain.block_at(world.chain.height()));
    CHECK(w.balance().confirmed == satoshi{100'000});
    world.give(w, funding_style::segwit, satoshi{50'000});
    world.chain.mine(1, to_miner.view());
    connected_block next = *world.chain.block_at(world.chain.height());
    const bytes_view raw = next.raw;
    next.raw = raw.first(GENERATE_COPY(std::size_t{0}, std::size_t{79}, std::size_t{81}, raw.size() - 1));
    w.on_chain(next);
    REQUIRE_FALSE(w.usable());
    CHECK(w.usable().error().code == errc::wrong_state);
    w.restart_scan();
    for (std::int32_t height = 0; height <= world.chain.height(); ++height) w.on_chain(*world.chain.block_at(height));
    CHECK(w.usable());
    CHECK(w.balance().confirmed == satoshi{150'000});
}

TEST_CASE("after a restart a stored contract keeps its coins", "[memory][wallet]") {
    coin_world world;
    seed_wallet w = wallet_with(world, {100'000});
    std::vector<std::uint8_t> memory(1000);
    const auto tx = w.fund(contract_script.view(), satoshi{60'000}, five, memory);
    REQUIRE(tx);

    seed_wallet restarted = open_wallet();
    REQUIRE(restarted.reserve_inputs_of(*tx));
    chain_follower network(world.chain, 1);
    network.deliver(restarted);
    CHECK(restarted.balance().reserved == satoshi{100'000});
    CHECK(restarted.balance().confirmed == satoshi{0});
    REQUIRE(world.chain.submit(*tx).accepted);
    world.chain.mine(1, to_miner.view());
    network.deliver(restarted);
    CHECK(restarted.balance().reserved == satoshi{0});
    CHECK(restarted.balance().confirmed.value > 37'000);
    CHECK(restarted.reserve_inputs_of(bytes_view(*tx).first(20)).error().code == errc::malformed);
    // It is mined: what it spends needs no keeping, and its change is free.
    REQUIRE(restarted.reserve_inputs_of(*tx));
    CHECK(restarted.balance().reserved == satoshi{0});
}

TEST_CASE("refunds to channel keys are found, spent, and moved to SegWit", "[memory][wallet]") {
    coin_world world;
    memory_store store;
    auto keys = seed_keys<memory_store>::open(wallet_seed(), network::regtest, store);
    REQUIRE(keys);
    const auto style = funding_style::segwit;
    seed_wallet w = *seed_wallet::open(
        wallet_seed(), network::regtest, style, [&] { return keys->count(); }, 20);
    for (int i = 0; i < 30; ++i) REQUIRE(keys->new_key());
    const auto refund_script = [&](std::uint64_t id) { return p2pkh_script(hash160(keys->peek(key_id{id})->view())); };
    world.give(refund_script(1).view(), satoshi{10'000});
    world.give(refund_script(30).view(), satoshi{20'000});
    world.give(refund_script(50).view(), satoshi{40'000});  // 20 behind what this store knows
    world.give(refund_script(71).view(), satoshi{80'000});  // 21 behind that
    world.mine(w);
    CHECK(w.balance().p2pkh == satoshi{70'000});
    CHECK(w.balance().confirmed == satoshi{70'000});

    std::vector<std::uint8_t> memory(2000);
    CHECK(w.fund(contract_script.view(), satoshi{50'000}, five, memory).error().code == errc::insufficient_funds);
    const auto moved = w.to_segwit(five, memory);
    REQUIRE(moved);
    const std::int64_t fee = fee_of(world.chain, *moved);
    CHECK(fee >= 5 * static_cast<std::int64_t>(parse_transaction(*moved)->vsize()));
    CHECK(world.chain.submit(*moved).reason == "");
    world.mine(w);
    CHECK(w.balance().p2pkh == satoshi{0});
    CHECK(w.balance().confirmed == satoshi{70'000 - fee});
    const auto tx = w.fund(contract_script.view(), satoshi{50'000}, five, memory);
    REQUIRE(tx);
    CHECK(world.chain.submit(*tx).reason == "");
    CHECK(w.to_segwit(five, memory).error().code == errc::insufficient_funds);
}

TEST_CASE("from the seed alone, coins behind a thousand channel keys without a coin are found", "[memory][wallet]") {
    coin_world world;
    memory_store lost;
    const auto keys = seed_keys<memory_store>::open(wallet_seed(), network::regtest, lost);
    for (const std::uint64_t id : {999U, 1'999U, 3'000U})
        world.give(p2pkh_script(hash160(keys->peek(key_id{id})->view())).view(), satoshi{1'000});
    seed_wallet w = open_wallet(funding_style::segwit);
    world.mine(w);
    CHECK(w.balance().confirmed == satoshi{2'000});
    CHECK(w.highest_channel_key() == 1'999);
}

TEST_CASE("the coins of a contract that is taken back are free when that is mined, and the contract cannot be",
          "[memory][wallet]") {
    coin_world world;
    seed_wallet w = open_wallet(funding_style::segwit);
    for (int i = 0; i < 3; ++i) world.give(w, funding_style::segwit, satoshi{10'000});
    world.mine(w);
    std::vector<std::uint8_t> memory(2000), other(2000);
    const auto contract = w.fund(contract_script.view(), satoshi{15'000}, five, memory);
    REQUIRE(contract);
    REQUIRE(w.balance().reserved == satoshi{20'000});
    SECTION("by the process that made it") {}
    SECTION("after a restart") {
        w = open_wallet(funding_style::segwit);
        REQUIRE(w.reserve_inputs_of(*contract));
        chain_follower(world.chain, 1).deliver(w);
        REQUIRE(w.balance().reserved == satoshi{20'000});
    }
    // Whatever the fee is now, it is more than the contract's.
    const fee_rate rate = GENERATE(fee_rate{1'000}, fee_rate{20'000});
    const std::int64_t contract_fee = fee_of(world.chain, *contract);
    world.chain.set_replacement(memory_chain::replacement::by_fee);
    if (GENERATE(false, true)) REQUIRE(world.chain.submit(*contract).accepted);  // then it is replaced
    const auto back = w.take_back(*contract, rate, other);
    REQUIRE(back);
    const auto parsed = parse_transaction(*back);
    CHECK(parsed->input_count() == 2);
    CHECK(parsed->output_count() == 1);
    CHECK(parsed->input(0)->sequence == 0xffff'fffd);
    const std::int64_t fee = 20'000 - parsed->output(0)->value.value;
    CHECK(fee >= contract_fee + 150);
    CHECK(w.balance().reserved == satoshi{20'000});
    // Made twice it is the same one.
    const txid id = parsed->id();
    CHECK(parse_transaction(w.take_back(*contract, rate, other).value())->id() == id);
    CHECK(world.chain.submit(*back).reason == "");
    world.mine(w);
    CHECK(w.balance().reserved == satoshi{0});
    CHECK(w.balance().confirmed == satoshi{30'000 - fee});
    CHECK_FALSE(world.chain.submit(*contract).accepted);
    // There is nothing left to take back.
    CHECK(w.take_back(*contract, five, other).error().code == errc::insufficient_funds);
    CHECK(w.take_back(bytes_view(*contract).first(20), five, other).error().code == errc::malformed);
}

TEST_CASE("change of a contract that is in no block funds the next one, once the network has that",
          "[memory][wallet]") {
    coin_world world;
    seed_wallet w = wallet_with(world, {10'000'000});
    std::vector<std::uint8_t> memory(5000);
    const auto fund = [&] { return w.fund(contract_script.view(), satoshi{1'000'000}, five, memory); };
    const auto funded = [&] {
        const auto tx = fund();
        REQUIRE(tx);
        return byte_string(tx->begin(), tx->end());
    };
    const byte_string first = funded();
    const txid one = id_of(first);
    CHECK(w.balance().unconfirmed.value > 8'990'000);
    CHECK(w.balance().confirmed == satoshi{0});
    CHECK(fund().error().code == errc::insufficient_funds);
    world.network.refuse_next("mempool full");
    world.network.broadcast(first);
    world.tell(w);
    CHECK(fund().error().code == errc::insufficient_funds);

    world.network.broadcast(first);
    world.tell(w);
    const byte_string second = funded();
    CHECK(parse_transaction(bytes_view(second))->input(0)->prevout.id == one);
    CHECK(world.chain.submit(second).reason == "");
    CHECK(w.balance().unconfirmed.value > 7'980'000);  // of the second one only
    SECTION("both are mined, and the last change is a coin") {
        world.mine(w);
        CHECK(w.balance().unconfirmed == satoshi{0});
        CHECK(w.balance().confirmed.value > 7'980'000);
        CHECK(w.balance().reserved == satoshi{0});
    }
    SECTION("the second one is not sent: its coins are free") {
        w.release(second);
        CHECK(w.balance().unconfirmed.value > 8'990'000);
    }
    SECTION("the second one is taken back, before the first is mined") {
        world.chain.forget(id_of(second));
        const auto back = w.take_back(second, five, memory);
        REQUIRE(back);
        CHECK(world.chain.submit(*back).reason == "");
        CHECK(parse_transaction(*back)->input(0)->prevout.id == one);
    }
    SECTION("the first one is double spent in a block: nothing is left of either") {
        world.chain.forget(one);
        const auto back = w.take_back(first, five, memory);
        REQUIRE(back);
        REQUIRE(world.chain.submit(*back).reason == "");
        world.mine(w);
        CHECK(w.balance().unconfirmed == satoshi{0});
        CHECK(w.balance().confirmed.value > 9'990'000);
    }
    SECTION("after a restart, in whatever order the contracts are told") {
        const bool in_order = GENERATE(true, false);
        w = open_wallet();
        world.network = chain_follower(world.chain, 1);
        REQUIRE(w.reserve_inputs_of(in_order ? first : second));
        REQUIRE(w.reserve_inputs_of(in_order ? second : first));
        world.tell(w);
        CHECK(w.balance().unconfirmed.value > 7'980'000);
        CHECK(fund().error().code == errc::insufficient_funds);
        world.network.broadcast(second);
        world.tell(w);
        CHECK(fund().error().code == errc::insufficient_funds);  // what that rests on is not known to be there
        world.network.broadcast(first);
        world.tell(w);
        CHECK(world.chain.submit(funded()).reason == "");
    }
    SECTION("a node that was away may have forgotten it") {
        w.release(second);
        world.network.restart_node();
        world.tell(w);
        CHECK(fund().error().code == errc::insufficient_funds);
    }
}

TEST_CASE("no more than ten unmined contracts hang on each other", "[memory][wallet]") {
    coin_world world;
    seed_wallet w = wallet_with(world, {20'000'000});
    std::vector<std::uint8_t> memory(5000);
    const auto fund = [&] { return w.fund(contract_script.view(), satoshi{1'000'000}, five, memory); };
    for (int i = 0; i < 11; ++i) {
        const auto tx = fund();
        REQUIRE(tx);
        world.network.broadcast(*tx);
        world.tell(w);
        REQUIRE(world.chain.in_mempool(parse_transaction(*tx)->id()));
    }
    CHECK(fund().error().code == errc::insufficient_funds);
    world.mine(w);
    CHECK(fund());
}

TEST_CASE("a contract rests on one unmined contract at most, however many there are side by side", "[memory][wallet]") {
    coin_world world;
    seed_wallet w = wallet_with(world, {1'000'000, 1'000'000, 1'000'000});
    std::vector<std::uint8_t> memory(5000);
    for (int i = 0; i < 3; ++i) {
        const auto tx = w.fund(contract_script.view(), satoshi{600'000}, five, memory);
        REQUIRE(tx);
        world.network.broadcast(*tx);
        world.tell(w);
    }
    REQUIRE(w.balance().confirmed == satoshi{0});
    REQUIRE(w.balance().unconfirmed.value > 1'190'000);
    CHECK(w.fund(contract_script.view(), satoshi{500'000}, five, memory).error().code == errc::insufficient_funds);
    const auto tx = w.fund(contract_script.view(), satoshi{300'000}, five, memory);
    REQUIRE(tx);
    CHECK(parse_transaction(*tx)->input_count() == 1);
}

TEST_CASE("change of a contract whose own parent is spent otherwise funds nothing", "[memory][wallet]") {
    coin_world world;
    seed_wallet w = wallet_with(world, {10'000'000});
    std::vector<std::uint8_t> memory(5000);
    const auto funded = [&] {
        const auto tx = w.fund(contract_script.view(), satoshi{1'000'000}, five, memory);
        REQUIRE(tx);
        world.network.broadcast(*tx);
        world.tell(w);
        return byte_string(tx->begin(), tx->end());
    };
    const byte_string first = funded();
    const byte_string second = funded();
    REQUIRE(w.balance().unconfirmed.value > 7'980'000);
    // By another process with the seed, of which this one hears from the block.
    seed_wallet other = open_wallet();
    chain_follower(world.chain, 1).deliver(other);
    REQUIRE(other.reserve_inputs_of(first));
    world.chain.forget(id_of(first));
    std::vector<std::uint8_t> others(5000);
    const auto back = other.take_back(first, five, others);
    REQUIRE(back);
    REQUIRE(world.chain.submit(*back).reason == "");
    world.mine(w);
    CHECK(w.balance().unconfirmed == satoshi{0});
    CHECK(w.balance().confirmed.value > 9'990'000);
}

TEST_CASE("a contract that spends unmined change is taken back for more than it pays", "[memory][wallet]") {
    coin_world world;
    world.chain.set_replacement(memory_chain::replacement::by_fee);
    seed_wallet w = wallet_with(world, {10'000'000});
    std::vector<std::uint8_t> memory(5000);
    byte_string last;
    for (int i = 0; i < 2; ++i) {
        const auto tx = w.fund(contract_script.view(), satoshi{1'000'000}, fee_rate{20'000}, memory);
        REQUIRE(tx);
        last.assign(tx->begin(), tx->end());
        world.network.broadcast(last);
        world.tell(w);
    }
    REQUIRE(world.chain.in_mempool(id_of(last)));
    const auto back = w.take_back(last, fee_rate{1'000}, memory);  // fees have fallen
    REQUIRE(back);
    CHECK(world.chain.submit(*back).reason == "");
    CHECK_FALSE(world.chain.in_mempool(id_of(last)));
}

TEST_CASE("what was taken back funds nothing before it is mined, for a higher fee may take its place",
          "[memory][wallet]") {
    coin_world world;
    seed_wallet w = wallet_with(world, {10'000'000});
    std::vector<std::uint8_t> memory(5000);
    const auto contract = w.fund(contract_script.view(), satoshi{1'000'000}, five, memory);
    REQUIRE(contract);
    const byte_string first(contract->begin(), contract->end());
    const auto back = w.take_back(first, five, memory);
    REQUIRE(back);
    world.network.broadcast(*back);
    world.tell(w);
    CHECK(w.balance().unconfirmed == satoshi{0});
    CHECK(w.fund(contract_script.view(), satoshi{1'000'000}, five, memory).error().code == errc::insufficient_funds);
    world.mine(w);
    CHECK(w.fund(contract_script.view(), satoshi{1'000'000}, five, memory));
}

TEST_CASE("change of the legacy style, whose txids others can change, funds nothing before it is mined",
          "[memory][wallet]") {
    coin_world world;
    seed_wallet w = wallet_with(world, {10'000'000}, funding_style::legacy);
    std::vector<std::uint8_t> memory(5000);
    const auto tx = w.fund(contract_script.view(), satoshi{1'000'000}, five, memory);
    REQUIRE(tx);
    world.network.broadcast(*tx);
    world.tell(w);
    CHECK(w.balance().unconfirmed == satoshi{0});
    CHECK(w.fund(contract_script.view(), satoshi{1'000'000}, five, memory).error().code == errc::insufficient_funds);
}

TEST_CASE("a sweep sends coins of both forms, but none that is reserved or not worth its fee", "[memory][wallet]") {
    coin_world world;
    seed_wallet w = open_wallet(funding_style::segwit);
    const auto to_us = [&](std::uint32_t n, funding_style style, std::int64_t value) {
        const auto script = script_of_address(w.address(n, style)->view(), network::regtest);
        REQUIRE(script);
        world.give(script->view(), satoshi{value});
    };
    std::vector<std::uint8_t> memory(5000);
    const auto elsewhere = p2wpkh_script(bytes20{9});
    CHECK(w.sweep(elsewhere.view(), five, memory).error().code == errc::insufficient_funds);
    to_us(0, funding_style::segwit, 100'000);
    to_us(1, funding_style::segwit, 60'000);
    to_us(0, funding_style::legacy, 30'000);
    to_us(1, funding_style::legacy, 600);  // at 5 sat/vB its input costs more
    world.mine(w);

    std::vector<std::uint8_t> contract_memory(5000);
    REQUIRE(w.fund(contract_script.view(), satoshi{80'000}, five, contract_memory));  // takes the largest
    const auto swept = w.sweep(elsewhere.view(), five, memory);
    REQUIRE(swept);
    const auto tx = parse_transaction(*swept);
    CHECK(tx->input_count() == 2);
    CHECK(tx->output_count() == 1);
    const std::int64_t fee = fee_of(world.chain, *swept);
    CHECK(tx->output(0)->value == satoshi{90'000 - fee});
    CHECK(fee >= 5 * static_cast<std::int64_t>(tx->vsize()));
    CHECK(fee < 6 * static_cast<std::int64_t>(tx->vsize()));
    CHECK(world.chain.submit(*swept).reason == "");
    world.mine(w);
    CHECK(w.balance().reserved == satoshi{100'000});
    CHECK(w.balance().confirmed == satoshi{600});
    CHECK(w.sweep(elsewhere.view(), five, memory).error().code == errc::insufficient_funds);
}

TEST_CASE("change that never comes to be leaves no gap", "[memory][wallet]") {
    coin_world world;
    seed_wallet w = wallet_with(world, {100'000});
    std::vector<std::uint8_t> memory(1000);
    for (int i = 0; i < 100; ++i) {
        const auto tx = w.fund(contract_script.view(), satoshi{60'000}, five, memory);
        REQUIRE(tx);
        if (i < 99) {
            w.release(*tx);
        } else {
            REQUIRE(world.chain.submit(*tx).accepted);
        }
    }
    world.chain.mine(1, to_miner.view());
    seed_wallet from_seed_alone = open_wallet();
    chain_follower all(world.chain, 1);
    all.deliver(from_seed_alone);
    CHECK(from_seed_alone.balance().confirmed.value > 37'000);
}

TEST_CASE("the payout script stays until it was paid to", "[memory][wallet]") {
    coin_world world;
    seed_wallet w = open_wallet();
    const auto first = w.payout_script();
    REQUIRE(first);
    CHECK(*w.payout_script() == *first);
    world.give(first->view(), satoshi{5'000});
    world.mine(w);
    CHECK(w.balance().confirmed == satoshi{5'000});
    CHECK_FALSE(*w.payout_script() == *first);
}

namespace {

/// A channel whose contract is in a block, and the server's wallet.
struct poor_settlement {
    coin_world world_;
    seed_wallet server;
    channel_keys keys;
    satoshi value;
    outpoint contract;
    script_buffer payout;

    explicit poor_settlement(funding_style style = funding_style::segwit, satoshi channel_value = {1'000'000})
        : server(open_wallet(style)), value(channel_value) {
        contract = world_.give(keys.contract_script.view(), value);
        payout = *server.payout_script();
        world_.mine(server);
    }

    /// As settlement_draft wants it: the client's change in front unless it is 0.
    [[nodiscard]] byte_string draft(satoshi change) const {
        const tx_input in{contract, {}, final_sequence, {}};
        std::vector<tx_output> out;
        if (change.value > 0) out.push_back({change, keys.client_script.view()});
        out.push_back({satoshi{0}, payout.view()});
        return written(1, std::span(&in, 1), out, 0);
    }

    /// The server's signature over all, and the client's over its change, which it made before it knew the rest.
    [[nodiscard]] byte_string finish(bytes_view tx, satoshi change) const {
        const tx_input in{contract, {}, final_sequence, {}};
        const tx_output own{change, keys.client_script.view()};
        const bool pays_all = change.value == 0;
        const byte_string payment = written(1, std::span(&in, 1), std::span(&own, pays_all ? 0u : 1u), 0);
        const std::uint8_t type = (pays_all ? sighash_none : sighash_single) | sighash_anyonecanpay;
        const auto by_client = signature(payment, 0, keys.contract_script.view(), keys.client, type);
        const byte_string copy = copied(tx);
        return keys.finish(copy, by_client, signature(copy, 0, keys.contract_script.view(), keys.server, sighash_all));
    }
};

constexpr std::size_t two_signatures = 1 + 73 + 73;  // [bytes] of script_sig: the dummy, and two pushes of 72

}  // namespace

TEST_CASE("a settlement whose payout nodes would not relay gets a coin of the wallet, and nodes accept it",
          "[memory][wallet]") {
    struct variant {
        funding_style style;
        satoshi contract;
        satoshi change;
        fee_rate rate;
    };
    // The fee leaves less than a payout that nodes relay, and is still less than what was paid with the input; in the
    // last two the client keeps nothing.
    const auto v = GENERATE(variant{funding_style::segwit, {1'000'000}, {999'000}, {2'800}},
                            variant{funding_style::legacy, {1'000'000}, {999'000}, {2'000}},
                            variant{funding_style::segwit, {1'000}, {0}, {3'200}},
                            variant{funding_style::legacy, {1'000}, {0}, {2'100}});
    constexpr int coins = 1;
    poor_settlement s(v.style, v.contract);
    for (int i = 0; i < coins; ++i) s.world_.give(s.server, v.style, satoshi{18'000});
    s.world_.mine(s.server);
    CHECK(s.server.spare() == satoshi{18'000 * coins});

    const satoshi paid{v.contract.value - v.change.value};
    std::vector<std::uint8_t> memory(5000);
    const auto grown = s.server.add_fee_inputs({s.draft(v.change), paid, two_signatures, v.rate}, memory);
    REQUIRE(grown);
    const auto parsed = parse_transaction(*grown);
    REQUIRE(parsed);
    CHECK(parsed->input(0)->prevout == s.contract);
    CHECK(parsed->input(0)->script_sig.empty());
    CHECK(parsed->input_count() == static_cast<std::size_t>(1 + coins));
    CHECK(parsed->output_count() == (v.change.value > 0 ? 2 : 1));
    if (v.change.value > 0) CHECK(parsed->output(0)->value == v.change);
    CHECK(equal(parsed->output(parsed->output_count() - 1)->script_pubkey, s.payout.view()));
    CHECK(parsed->has_witness() == (v.style == funding_style::segwit));
    CHECK(s.server.spare() == satoshi{0});

    const byte_string settlement = s.finish(*grown, v.change);
    const auto vsize = static_cast<std::int64_t>(parse_transaction(bytes_view(settlement))->vsize());
    const std::int64_t fee = fee_of(s.world_.chain, settlement);
    CHECK(fee * 1000 >= vsize * v.rate.sat_per_kvb);
    CHECK(fee * 1000 <= (vsize + 2 * (2 + coins)) * v.rate.sat_per_kvb + 1000);
    CHECK(s.world_.chain.submit(settlement).reason == "");
    s.world_.mine(s.server);
    CHECK(s.server.balance().confirmed == satoshi{18'000 * coins + paid.value - fee});
    CHECK(s.server.balance().reserved == satoshi{0});
}

TEST_CASE("a settlement that pays for itself gets no fee inputs", "[memory][wallet]") {
    poor_settlement s;
    s.world_.give(s.server, funding_style::segwit, satoshi{18'000});
    s.world_.mine(s.server);
    const byte_string draft = s.draft(satoshi{0});
    std::vector<std::uint8_t> memory(5000);
    const auto alone = s.server.add_fee_inputs({draft, s.value, two_signatures, five}, memory);
    REQUIRE(alone);
    CHECK(parse_transaction(*alone)->input_count() == 1);
    CHECK(s.server.spare() == satoshi{18'000});
    CHECK(s.world_.chain.submit(s.finish(*alone, satoshi{0})).reason == "");
}

TEST_CASE("a settlement that is made again takes the same coins, and a rival sets them free", "[memory][wallet]") {
    poor_settlement s;
    s.world_.give(s.server, funding_style::segwit, satoshi{30'000});
    s.world_.give(s.server, funding_style::segwit, satoshi{20'000}, 1);
    s.world_.mine(s.server);
    const byte_string draft = s.draft(satoshi{999'000});
    std::vector<std::uint8_t> memory(5000);
    REQUIRE(s.server.add_fee_inputs({draft, satoshi{1'000}, two_signatures, fee_rate{2'800}}, memory));
    CHECK(s.server.spare() == satoshi{30'000});  // the smallest that does
    REQUIRE(s.server.add_fee_inputs({draft, satoshi{1'000}, two_signatures, fee_rate{2'900}}, memory));
    CHECK(s.server.spare() == satoshi{30'000});
    // Not at a loss: with the input, the fee would be more than what was paid.
    for (const fee_rate dear : {fee_rate{3'100}, fee_rate{20'000}, fee_rate{400'000}}) {
        CHECK(s.server.add_fee_inputs({draft, satoshi{1'000}, two_signatures, dear}, memory).error().code ==
              errc::insufficient_funds);
        CHECK(s.server.spare() == satoshi{30'000});
    }

    // After a restart too, if the settlement was stored.
    {
        const auto last = s.server.add_fee_inputs({draft, satoshi{1'000}, two_signatures, fee_rate{2'900}}, memory);
        REQUIRE(last);
        seed_wallet restarted = open_wallet();
        REQUIRE(restarted.reserve_inputs_of(*last));
        chain_follower network(s.world_.chain, 1);
        network.deliver(restarted);
        CHECK(restarted.spare() == satoshi{30'000});
        std::vector<std::uint8_t> again(5000);
        const auto same = restarted.add_fee_inputs({draft, satoshi{1'000}, two_signatures, fee_rate{2'900}}, again);
        REQUIRE(same);
        CHECK(equal(*same, *last));
    }

    // The client's refund, or an older settlement, is mined instead.
    REQUIRE(s.world_.chain.submit(s.keys.settlement(s.contract, satoshi{999'000}, satoshi{600})).accepted);
    s.world_.mine(s.server);
    CHECK(s.server.spare() == satoshi{50'000});
    CHECK(s.server.balance().reserved == satoshi{0});
}

TEST_CASE("a draft that is not a settlement of ours is refused", "[memory][wallet]") {
    poor_settlement s;
    s.world_.give(s.server, funding_style::segwit, satoshi{30'000});
    s.world_.mine(s.server);
    std::vector<std::uint8_t> memory(5000);
    const byte_string good = s.draft(satoshi{999'000});
    const byte_string foreign = [&] {
        poor_settlement other;
        other.payout = to_miner;
        return other.draft(satoshi{999'000});
    }();
    const auto code = [&](bytes_view tx, satoshi available, bytes_span out) {
        const auto r = s.server.add_fee_inputs({tx, available, two_signatures, fee_rate{2'800}}, out);
        return r ? errc::other : r.error().code;
    };
    CHECK(code(foreign, satoshi{1'000}, memory) == errc::invalid_argument);
    CHECK(code(bytes_view(good).first(30), satoshi{1'000}, memory) == errc::malformed);
    CHECK(code(good, satoshi{-1}, memory) == errc::invalid_argument);
    CHECK(code(good, satoshi{1'000}, bytes_span(memory).first(150)) == errc::too_long);
    CHECK(s.server.spare() == satoshi{30'000});
    // The draft may lie in the memory that the result is written to.
    std::ranges::copy(good, memory.begin());
    const auto grown = s.server.add_fee_inputs(
        {bytes_view(memory).first(good.size()), satoshi{1'000}, two_signatures, fee_rate{2'800}}, memory);
    REQUIRE(grown);
    CHECK(s.world_.chain.submit(s.finish(*grown, satoshi{999'000})).reason == "");
}
