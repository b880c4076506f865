// The in-process chain says yes and no as real nodes do, and tells each follower everything once.
#include "paychan/memory/chain.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "channel_parts.hpp"
#include "paychan/memory/chain_follower.hpp"

using namespace paychan;
using namespace paychan::testing;

namespace {

byte_string from_hex_text(const std::string& text) {
    byte_string out(text.size() / 2);
    REQUIRE(from_hex(text, out));
    return out;
}

std::string display_text(const txid& id) {
    const auto text = display(id);
    return {text.begin(), text.end()};
}

/// The outpoint of the coinbase at this height.
outpoint mined_coin(const memory_chain& chain, std::int32_t height) {
    const auto block = chain.block_at(height);
    REQUIRE(block);
    auto walk = open_block(block->raw);
    return {walk->next()->id(), 0};
}

std::vector<byte_string> transactions_of(const memory_chain& chain, std::int32_t height) {
    std::vector<byte_string> out;
    auto walk = open_block(chain.block_at(height)->raw);
    while (walk->left() > 0) out.push_back(copied(walk->next()->bytes()));
    return out;
}

struct ready_chain : memory_chain {
    /// 110 blocks: the coins of the first 11 can be spent.
    ready_chain() { mine(110, to_miner.view()); }
};

/// A contract in a block, and its value.
struct open_channel {
    channel_keys keys;
    satoshi value{10'000'000};
    outpoint contract;
    explicit open_channel(memory_chain& chain, std::int32_t coin_height = 1) {
        const std::array out{tx_output{value, keys.contract_script.view()},
                             tx_output{satoshi{fifty.value - value.value - 1000}, to_miner.view()}};
        const byte_string tx = spend_mined(mined_coin(chain, coin_height), out);
        REQUIRE(chain.submit(tx).reason.empty());
        chain.mine(1, to_miner.view());
        contract = {id_of(tx), 0};
        REQUIRE(chain.confirmations(contract.id) == 1);
    }
};

struct recorder {
    static constexpr chain_turn chain_order = chain_turn::others;
    std::vector<std::string> events;
    std::function<void()> then = [] {};  // after the event was written down
    void on_chain(const chain_event& e) {
        const auto add = [this](const std::string& text) { events.push_back(text); };
        match(
            e, [&](const connected_block& b) { add("+" + std::to_string(b.height)); },
            [&](const disconnected_blocks& d) { add("-" + std::to_string(d.from)); },
            [&](const passed_blocks& p) { add(std::to_string(p.first) + "..." + std::to_string(p.last)); },
            [&](const chain_tip& t) { add("tip" + std::to_string(t.height) + (t.downloading ? "?" : "")); },
            [&](const broadcast_answer& a) {
                const char* word = a.outcome == broadcast_outcome::accepted  ? "yes"
                                   : a.outcome == broadcast_outcome::refused ? "no"
                                                                             : "down";
                add(std::string(word) + ":" + std::string(a.words));
            },
            [&](const fee_estimate& f) { add("rate" + std::to_string(f.rate.sat_per_kvb)); });
        then();
    }
    std::vector<std::string> take() { return std::exchange(events, {}); }
};

using texts = std::vector<std::string>;

}  // namespace

TEST_CASE("the chain begins with the genesis block of regtest", "[memory][chain]") {
    const memory_chain chain;
    const auto genesis = chain.block_at(0);
    REQUIRE(genesis);
    CHECK(display_text(txid{genesis->hash}) == "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206");
    auto walk = open_block(genesis->raw);
    const auto coinbase = walk->next();
    REQUIRE(coinbase);
    CHECK(coinbase->id().bytes == walk->header().merkle_root);
}

TEST_CASE("the merkle root of block 100,000 of the main network", "[memory][chain]") {
    std::vector<bytes32> ids;
    for (const char* id : {"8c14f0db3df150123e6f3dbbf30f8b955a8249b62ac1d1ff16284aefa3d06d87",
                           "fff2525b8931402dd09222c50775608f75787bd2b87e56995a7bdd30f79702c4",
                           "6359f0868171b1d194cbee1af2f16ea598ae8fad666d9b012c8ed2b79a236ec4",
                           "e9a66845e05d5abc0ad04ec80f774a7e585c6e8db975962d069a522137b80c1d"})
        ids.push_back(parse_txid(id)->bytes);
    CHECK(display_text(txid{regtest::merkle_root(ids)}) ==
          "f3e94742aca4b5ef85488dc37c06c3282295ffec960994b2c0d5ac2a25a95766");
}

TEST_CASE("mined blocks are linked, solved and dated", "[memory][chain]") {
    memory_chain chain(unix_time{1'700'000'000});
    chain.mine(160, to_miner.view());
    for (std::int32_t h = 1; h <= 160; ++h) {
        const auto block = chain.block_at(h);
        REQUIRE(block);
        auto walk = open_block(block->raw);
        REQUIRE(walk);
        CHECK(walk->header().hash.bytes == block->hash);
        CHECK(walk->header().previous.bytes == chain.block_at(h - 1)->hash);
        CHECK(block->hash[31] <= 0x7f);
        CHECK(walk->header().bits == 0x207fffff);
        CHECK(walk->header().time > chain.median_time(h - 1));
        const auto coinbase = walk->next();
        CHECK(coinbase->id().bytes == walk->header().merkle_root);
        // Core chainparams.cpp: regtest halves every 150 blocks.
        CHECK(coinbase->output(0)->value == satoshi{(h < 150 ? 50 : 25) * coin.value});
    }
}

TEST_CASE("the median time moves with the clock after some blocks", "[memory][chain]") {
    memory_chain chain(unix_time{1'700'000'000});
    chain.mine(20, to_miner.view());
    const unix_time later{1'700'100'000};
    chain.set_time(later);
    chain.mine(5, to_miner.view());
    CHECK(chain.median_time() < later);
    chain.mine(1, to_miner.view());
    CHECK(chain.median_time() == later);
    CHECK(chain.now() == later);
}

TEST_CASE("the recorded channel transactions get the verdicts that real nodes gave", "[memory][chain]") {
    std::ifstream file(std::string(PAYCHAN_TEST_VECTORS) + "/channel_transactions.json");
    REQUIRE(file);
    const auto all = nlohmann::json::parse(file);
    int replayed = 0;
    for (const auto& v : all) {
        const std::string error = v.value("err", std::string());
        // These rest on transactions that were sent before; the tests below make their own.
        if (error.find("conflict") != std::string::npos || error.find("missingorspent") != std::string::npos ||
            error.find("insufficient fee") != std::string::npos || error.find("already in block") != std::string::npos)
            continue;
        // Sent with the node's limit on fees taken away.
        if (v["name"].get<std::string>().find("the \"1\" hash") != std::string::npos) continue;
        CAPTURE(v["name"].get<std::string>(), v["section"].get<std::string>());
        const byte_string tx = from_hex_text(v["hex"].get<std::string>());
        const auto parsed = parse_transaction(bytes_view(tx));
        REQUIRE(parsed);
        const bool non_final = error.find("non-final") != std::string::npos;
        // The median time is the lock time itself when the node said no, and a second later when it looked at the rest.
        const std::int64_t lock = parsed->lock_time();
        const std::int64_t start = lock < 1'600'000'000 ? 1'700'000'000 : lock + (non_final ? 0 : 1);
        memory_chain chain{unix_time{start}};
        chain.mine(2, to_miner.view());
        REQUIRE(chain.median_time() == unix_time{start});
        std::size_t i = 0;
        for (const tx_input& in : parsed->inputs()) {
            REQUIRE(i < v["prevs"].size());
            const auto& prev = v["prevs"][i++];
            chain_coin made;
            if (prev.is_null()) {  // a coinbase that was too young
                made = {fifty, copied(to_miner.view()), chain.height(), true};
                chain.testing_add_coin(in.prevout, made);
                continue;
            }
            made.value = satoshi{prev["value"].get<std::int64_t>()};
            made.script = from_hex_text(prev["script"].get<std::string>());
            made.height = error.find("BIP68") != std::string::npos ? chain.height() : -1000;
            chain.testing_add_coin(in.prevout, made);
        }
        const submission said = chain.submit(tx);
        CAPTURE(said.reason);
        const std::string wanted = v["res"].get<std::string>();
        if (wanted == "ok") {
            CHECK(said.reason == "");
            CHECK(said.accepted);
        } else if (wanted == "script") {
            CHECK_FALSE(said.accepted);
            CHECK(said.reason.find("script-verify-flag") != std::string::npos);
        } else {
            CHECK_FALSE(said.accepted);
            CHECK(error.find(said.reason) != std::string::npos);
        }
        ++replayed;
    }
    CHECK(replayed > 80);
}

TEST_CASE("mined coins cannot be spent before 100 blocks", "[memory][chain]") {
    memory_chain chain;
    chain.mine(99, to_miner.view());
    const tx_output out{satoshi{fifty.value - 1000}, to_miner.view()};
    const byte_string tx = spend_mined(mined_coin(chain, 1), std::span(&out, 1));
    CHECK(chain.submit(tx).reason == "bad-txns-premature-spend-of-coinbase");
    chain.mine(1, to_miner.view());
    CHECK(chain.submit(tx).accepted);
}

TEST_CASE("a refund is refused before its time and accepted after", "[memory][chain]") {
    ready_chain chain;
    const open_channel channel(chain);
    const unix_time expiry{chain.median_time().seconds + 86'400};
    const byte_string refund =
        channel.keys.refund(channel.contract, channel.value, static_cast<std::uint32_t>(expiry.seconds));

    CHECK(chain.submit(refund).reason == "non-final");
    chain.set_time(expiry + 1);
    CHECK(chain.submit(refund).reason == "non-final");  // the wall clock is past it, the median time is not
    while (chain.median_time() < expiry) chain.mine(1, to_miner.view());
    if (chain.median_time() == expiry) CHECK(chain.submit(refund).reason == "non-final");
    chain.mine(12, to_miner.view());
    CHECK(chain.submit(refund).accepted);
    chain.mine(1, to_miner.view());
    CHECK(chain.confirmations(id_of(refund)) == 1);
    CHECK_FALSE(chain.coin_at(channel.contract));
    CHECK(chain.coin_at({id_of(refund), 0})->value == satoshi{channel.value.value - 1000});
}

TEST_CASE("a settlement is accepted, and its rivals are not", "[memory][chain]") {
    ready_chain chain;
    const open_channel channel(chain);
    const byte_string settlement = channel.keys.settlement(channel.contract, satoshi{6'000'000}, satoshi{3'999'000});
    const byte_string rival = channel.keys.settlement(channel.contract, satoshi{7'000'000}, satoshi{2'999'000});

    CHECK(chain.submit(settlement).reason == "");
    CHECK(chain.submit(settlement).reason == "txn-already-in-mempool");
    CHECK(chain.submit(settlement).accepted);
    CHECK(chain.submit(rival).reason == "txn-mempool-conflict");
    CHECK(chain.spender_in_mempool(channel.contract) == id_of(settlement));
    chain.mine(1, to_miner.view());
    CHECK(chain.submit(rival).reason == "bad-txns-inputs-missingorspent");
    CHECK(chain.submit(settlement).reason == "Transaction already in block chain");
    CHECK(chain.submit(settlement).accepted);
}

TEST_CASE("each fault of a transaction is refused with the node's words", "[memory][chain]") {
    ready_chain chain;
    const channel_keys keys;
    const outpoint from = mined_coin(chain, 1);
    const auto try_outputs = [&](std::vector<tx_output> out) { return chain.submit(spend_mined(from, out)).reason; };
    const auto client = keys.client_script.view();

    CHECK(chain.submit(byte_string{1, 2, 3}).reason == "TX decode failed");
    CHECK(try_outputs({{fifty, client}}) == "min relay fee not met");
    CHECK(try_outputs({{satoshi{fifty.value + 1}, client}}) == "bad-txns-in-belowout");
    CHECK(try_outputs({{satoshi{fifty.value - 2000}, client}, {satoshi{545}, client}}) == "dust");
    CHECK(try_outputs({{satoshi{1000}, client}}).starts_with("Fee exceeds maximum"));
    CHECK(try_outputs({{satoshi{-1}, client}}).starts_with("bad-txns"));
    CHECK(try_outputs({}).starts_with("bad-txns"));
    const byte_string anyone{op_1};
    CHECK(try_outputs({{satoshi{fifty.value - 2000}, anyone}}) == "scriptpubkey");
    const tx_output fine{satoshi{fifty.value - 2000}, client};
    CHECK(chain.submit(spend_mined({from.id, 7}, std::span(&fine, 1))).reason == "bad-txns-inputs-missingorspent");
    CHECK(chain.submit(spend_mined(from, std::span(&fine, 1), 0xffff'fffe, 112)).reason == "non-final");  // a height
    byte_string broken = spend_mined(from, std::span(&fine, 1));
    broken[60] ^= 1;  // inside the signature
    CHECK(chain.submit(broken).reason.find("script-verify-flag") != std::string::npos);
    CHECK(chain.mempool_size() == 0);
    CHECK(chain.submit(spend_mined(from, std::span(&fine, 1), 0xffff'fffe, 110)).accepted);

    memory_chain strict(unix_time{1'700'000'000}, bare_multisig::refused);
    strict.mine(110, to_miner.view());
    const tx_output contract{satoshi{fifty.value - 2000}, keys.contract_script.view()};
    CHECK(strict.submit(spend_mined(mined_coin(strict, 1), std::span(&contract, 1))).reason == "bare-multisig");
}

TEST_CASE("a block takes parents before children, and the miner gets the fees", "[memory][chain]") {
    ready_chain chain;
    const tx_output first{satoshi{fifty.value - 1000}, to_miner.view()};
    const byte_string parent = spend_mined(mined_coin(chain, 1), std::span(&first, 1));
    const tx_output second{satoshi{fifty.value - 3000}, to_miner.view()};
    const byte_string child = spend_mined({id_of(parent), 0}, std::span(&second, 1));
    CHECK(chain.submit(child).reason == "bad-txns-inputs-missingorspent");
    CHECK(chain.submit(parent).accepted);
    CHECK(chain.submit(child).accepted);
    CHECK_FALSE(chain.coin_at({id_of(parent), 0}));
    chain.mine(1, to_miner.view());
    const auto block = transactions_of(chain, chain.height());
    REQUIRE(block.size() == 3);
    CHECK(block[1] == parent);
    CHECK(block[2] == child);
    CHECK(parse_transaction(bytes_view(block[0]))->output(0)->value == satoshi{fifty.value + 3000});
    CHECK(chain.find_transaction(id_of(child)) == child);
    auto walk = open_block(chain.block_at(chain.height())->raw);
    CHECK(walk->header().merkle_root ==
          regtest::merkle_root({id_of(block[0]).bytes, id_of(parent).bytes, id_of(child).bytes}));
}

TEST_CASE("a reorganisation brings transactions back to the mempool, and coins to where they were", "[memory][chain]") {
    ready_chain chain;
    const open_channel channel(chain);  // one block
    const byte_string settlement = channel.keys.settlement(channel.contract, satoshi{6'000'000}, satoshi{3'999'000});
    REQUIRE(chain.submit(settlement).accepted);
    chain.mine(1, to_miner.view());
    const std::int32_t before = chain.height();

    REQUIRE(chain.disconnect_tip());
    CHECK(chain.in_mempool(id_of(settlement)));
    CHECK(chain.confirmations(id_of(settlement)) == 0);
    REQUIRE(chain.disconnect_tip());
    CHECK(chain.in_mempool(channel.contract.id));
    CHECK(chain.in_mempool(id_of(settlement)));

    SECTION("they are mined again") {
        chain.mine(1, to_miner.view());
        CHECK(chain.confirmations(channel.contract.id) == 1);
        CHECK(chain.confirmations(id_of(settlement)) == 1);
    }
    SECTION("the contract is forgotten, and its coin is spent otherwise") {
        chain.forget(channel.contract.id);
        CHECK(chain.mempool_size() == 0);
        const tx_output other{satoshi{fifty.value - 1000}, to_miner.view()};
        CHECK(chain.submit(spend_mined(mined_coin(chain, 1), std::span(&other, 1))).accepted);
        chain.mine(2, to_miner.view());
        CHECK(chain.submit(settlement).reason == "bad-txns-inputs-missingorspent");
    }
    SECTION("blocks with the same content differ from those that left") {
        const bytes32 old = chain.block_at(chain.height())->hash;
        REQUIRE(chain.reorg(1, to_miner.view(), memory_chain::contents::nothing));
        CHECK(chain.height() == before - 1);
        CHECK(chain.block_at(before - 2)->hash != old);
        CHECK(chain.in_mempool(id_of(settlement)));
    }
    memory_chain fresh;
    CHECK(fresh.disconnect_tip().error().code == errc::not_found);
    CHECK(fresh.reorg(1, to_miner.view()).error().code == errc::not_found);
}

TEST_CASE("a reorganisation that moves the time back takes early refunds out of the mempool", "[memory][chain]") {
    ready_chain chain;
    const open_channel channel(chain);
    const unix_time expiry{chain.median_time().seconds + 1000};
    const byte_string refund =
        channel.keys.refund(channel.contract, channel.value, static_cast<std::uint32_t>(expiry.seconds));
    chain.set_time(expiry + 1);
    int mined = 0;
    for (; chain.median_time() <= expiry; ++mined) chain.mine(1, to_miner.view());
    REQUIRE(chain.submit(refund).accepted);
    REQUIRE(chain.disconnect_tip());
    CHECK_FALSE(chain.in_mempool(id_of(refund)));
    CHECK(chain.submit(refund).reason == "non-final");
}

TEST_CASE("each follower is told everything once, when its owner asks", "[memory][chain]") {
    ready_chain chain;
    chain_follower client(chain, 109);
    chain_follower server(chain, 110);
    recorder c;
    recorder s;
    CHECK(client.deliver(c) == 3);
    CHECK(c.take() == texts{"tip110", "+109", "+110"});
    CHECK(client.deliver(c) == 0);
    const tx_output out{satoshi{fifty.value - 1000}, to_miner.view()};
    client.broadcast(spend_mined(mined_coin(chain, 1), std::span(&out, 1)));
    server.broadcast(byte_string{1});
    CHECK(c.take().empty());
    client.deliver(c);
    CHECK(c.take() == texts{"yes:"});
    server.deliver(s);
    CHECK(s.take() == texts{"no:TX decode failed", "tip110", "+110"});

    REQUIRE(chain.reorg(2, to_miner.view()));
    client.set_fee_rate(fee_rate{5000});
    recorder wallet;
    client.deliver(wallet, c);
    CHECK(c.take() == texts{"-109", "tip111", "+109", "+110", "+111", "rate5000"});
    CHECK(wallet.take() == texts{"-109", "tip111", "+109", "+110", "+111", "rate5000"});
    server.deliver(s);
    CHECK(s.take() == texts{"-110", "tip111", "+110", "+111"});
    CHECK(client.deliver(c) == 0);
}

TEST_CASE("a follower whose node is down hears so, and catches up later", "[memory][chain]") {
    ready_chain chain;
    chain_follower network(chain, 110);
    recorder r;
    network.deliver(r);
    r.take();
    const tx_output out{satoshi{fifty.value - 1000}, to_miner.view()};
    const byte_string tx = spend_mined(mined_coin(chain, 1), std::span(&out, 1));

    network.set_node(chain_follower::node::down);
    network.broadcast(tx);
    chain.mine(1, to_miner.view());
    network.deliver(r);
    CHECK(r.take() == texts{"down:the node does not answer"});
    CHECK_FALSE(chain.in_mempool(id_of(tx)));

    network.set_node(chain_follower::node::up);
    network.refuse_next("min relay fee not met");
    network.broadcast(tx);
    network.broadcast(tx);
    network.deliver(r);
    CHECK(r.take() == texts{"no:min relay fee not met", "yes:", "tip111", "+111"});
    CHECK(chain.in_mempool(id_of(tx)));
}

TEST_CASE("a follower whose node shows no blocks hears of all else, and reads them later", "[memory][chain]") {
    ready_chain chain;
    chain_follower network(chain, 110);
    recorder r;
    network.deliver(r);
    r.take();
    chain.mine(1, to_miner.view());
    const tx_output out{satoshi{fifty.value - 1000}, to_miner.view()};
    const byte_string tx = spend_mined(mined_coin(chain, 1), std::span(&out, 1));

    network.set_node(chain_follower::node::syncing);
    network.broadcast(tx);
    network.deliver(r);
    CHECK(r.take() == texts{"yes:", "tip110?"});
    CHECK(chain.in_mempool(id_of(tx)));
    network.set_node(chain_follower::node::slow);
    REQUIRE(chain.reorg(1, to_miner.view()));
    network.set_fee_rate(fee_rate{5000});
    network.deliver(r);
    CHECK(r.take() == texts{"tip112", "rate5000"});
    CHECK(network.deliver(r) == 0);
    network.set_node(chain_follower::node::up);
    network.deliver(r);
    CHECK(r.take() == texts{"+111", "+112"});
    CHECK(chain.confirmations(id_of(tx)) == 2);
}

TEST_CASE("a node that syncs from the start has no block of those that are wanted", "[memory][chain]") {
    ready_chain chain;
    chain_follower network(chain, 110);
    network.set_node(chain_follower::node::syncing);
    recorder r;
    network.deliver(r);
    CHECK(r.take() == texts{"tip109?"});
}

TEST_CASE("blocks that a node has deleted are passed over by whoever has not read them", "[memory][chain]") {
    ready_chain chain;
    chain_follower early(chain, 107);
    chain_follower late(chain, 107);
    recorder r;
    early.deliver(r);
    CHECK(r.take() == texts{"tip110", "+107", "+108", "+109", "+110"});
    early.prune(109);
    late.prune(109);
    CHECK(early.deliver(r) == 0);
    late.deliver(r);
    CHECK(r.take() == texts{"tip110", "107...109", "+110"});
    CHECK(late.position()[0] == early.position()[0]);
    REQUIRE(chain.reorg(2, to_miner.view()));
    late.deliver(r);
    CHECK(r.take() == texts{"-109", "tip111", "109...109", "+110", "+111"});
    late.prune(1'000);
    chain.mine(2, to_miner.view());
    late.deliver(r);
    CHECK(r.take() == texts{"tip113", "112...113"});
}

TEST_CASE("a node that restarts without its mempool takes the same transaction again", "[memory][chain]") {
    ready_chain chain;
    const tx_output out{satoshi{fifty.value - 1000}, to_miner.view()};
    const byte_string tx = spend_mined(mined_coin(chain, 1), std::span(&out, 1));
    REQUIRE(chain.submit(tx).accepted);
    chain.forget_mempool();
    CHECK(chain.mempool_size() == 0);
    CHECK(chain.coin_at(mined_coin(chain, 1)));
    CHECK(chain.submit(tx).reason.empty());
    CHECK(chain.in_mempool(id_of(tx)));
}

TEST_CASE("what a follower broadcasts while it is told is answered at the next delivery", "[memory][chain]") {
    ready_chain chain;
    chain_follower network(chain, 111);
    recorder r;
    r.then = [&] {
        if (!r.events.back().starts_with("tip")) network.broadcast(byte_string{1});
    };
    network.broadcast(byte_string{1});
    network.deliver(r);
    CHECK(r.take() == texts{"no:TX decode failed", "tip110"});
    CHECK(network.deliver(r) == 1);
    CHECK(r.take() == texts{"no:TX decode failed"});
}

TEST_CASE("a follower goes on from the position of another one", "[memory][chain]") {
    ready_chain chain;
    recorder r;
    const auto resumed = [&](const chain_position& from, std::optional<std::int32_t> first) {
        chain_follower again(chain);
        again.follow(from, first);
        r.take();
        again.deliver(r);
        auto told = r.take();
        CHECK(again.deliver(r) == 0);
        std::erase_if(told, [](const std::string& t) { return t.starts_with("tip"); });
        return told;
    };
    CHECK(chain_follower(chain).position().empty());
    chain_follower first(chain, 50);
    first.deliver(r);
    const chain_position at_110 = first.position();
    CHECK(at_110[0] == chain_place{110, chain.block_at(110)->hash});
    CHECK(at_110[at_110.size() - 1].height == 50);

    CHECK(resumed(at_110, 0).empty());
    chain.mine(2, to_miner.view());
    CHECK(resumed(at_110, std::nullopt) == texts{"+111", "+112"});
    CHECK(resumed({}, 111) == texts{"+111", "+112"});
    CHECK(resumed({}, std::nullopt).empty());  // from the next one on
    REQUIRE(chain.reorg(5, to_miner.view()));  // 108 to 112 are others, and there is a 113th
    CHECK(resumed(at_110, 0) == texts{"-108", "+108", "+109", "+110", "+111", "+112", "+113"});
    REQUIRE(chain.reorg(33, to_miner.view()));  // 81 is another; of the blocks below the last 11, some are in the list
    const auto deep = resumed(at_110, 0);
    CHECK(deep.front() == "-81");  // 80 is in it
    CHECK(deep[1] == "+81");
    REQUIRE(chain.reorg(70, to_miner.view()));  // none is left
    const auto all = resumed(at_110, 48);
    CHECK(all.front() == "-50");
    CHECK(all[1] == "+48");
    CHECK(resumed(at_110, std::nullopt)[1] == "+50");  // what was told is told anew
}

TEST_CASE("a position is right after going on from one, and after a reorganisation", "[memory][chain]") {
    ready_chain chain;
    recorder r;
    chain_follower first(chain, 20);
    first.deliver(r);
    chain_follower second(chain);
    second.follow(first.position(), 0);
    CHECK(second.position()[0].height == 110);
    chain.mine(40, to_miner.view());
    second.deliver(r);
    first.deliver(r);
    CHECK(second.position()[0].height == 150);
    CHECK(std::ranges::equal(second.position(), first.position()));
    REQUIRE(chain.reorg(20, to_miner.view(), memory_chain::contents::nothing));
    first.deliver(r);
    for (const chain_place& p : first.position()) CHECK(chain.block_at(p.height)->hash == p.hash);
    CHECK(first.position()[0].height == chain.height());
}

TEST_CASE("a listener may let blocks be told anew", "[memory][chain]") {
    ready_chain chain;
    chain_follower network(chain, 109);
    recorder r;
    r.then = [&] {
        if (r.events.size() == 3) network.follow({}, 108);
    };
    CHECK(network.deliver(r) == 3);
    CHECK(r.take() == texts{"tip110", "+109", "+110"});
    CHECK(network.position().empty());
    network.deliver(r);
    CHECK(r.take() == texts{"+108", "+109", "+110"});
}

TEST_CASE("what a listener's exception interrupts is told to all once more", "[memory][chain]") {
    ready_chain chain;
    chain_follower network(chain, 110);
    recorder before, thrower;
    std::string bad;
    thrower.then = [&] {
        if (thrower.events.back() != bad) return;
        bad.clear();
        throw std::runtime_error("a bug");
    };
    const auto told_twice = [&](const std::string& event) {
        bad = event;
        before.take();
        CHECK_THROWS(network.deliver(before, thrower));
        while (network.deliver(before, thrower) > 0) continue;
        CHECK(std::ranges::count(before.take(), event) == 2);
    };
    told_twice("tip110");
    chain.mine(1, to_miner.view());
    told_twice("+111");
    REQUIRE(chain.reorg(1, to_miner.view()));
    told_twice("-111");
    network.broadcast(byte_string{1});
    told_twice("no:TX decode failed");
    network.set_fee_rate(fee_rate{5000});
    told_twice("rate5000");
    CHECK(network.deliver(before, thrower) == 0);
}
