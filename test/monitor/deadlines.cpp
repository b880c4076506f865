// Channels come home at their time with nobody connected.
#include <catch2/catch.hpp>

#include "monitor/support.hpp"

using namespace paychan;
using namespace paychan_test;

TEST_CASE("a server's channel is settled its margin before the expiry, and not before", "[monitor]") {
    left_alone w;
    w.set_time(w.expiry + -(w.server_settings.settle_margin + 1));
    w.tick();
    CHECK(w.in_mempool() == "nothing");
    w.set_time(w.expiry + -w.server_settings.settle_margin);
    w.tick();
    CHECK(w.in_mempool() == "settlement");
    CHECK(w.payee_told.names() == "settled");
    const heard_event e = w.payee_told.last(event_kind::settled);
    CHECK(e.total == satoshi{50'000});
    CHECK(e.closing == *w.chain.spender_in_mempool(w.contract));
    CHECK(parse_transaction(e.data)->id() == e.closing);
    CHECK(w.server_record().stage == channel_stage::settling);
    CHECK(w.server_record().closing == e.closing);
}

TEST_CASE("a server's channel is settled by the chain's time when its own clock is behind", "[monitor]") {
    left_alone w;
    w.chain.set_time(w.expiry + -w.server_settings.settle_margin);
    w.mine(12);
    w.tick();  // the server's clock stands where it was
    CHECK(w.in_mempool() == "settlement");
}

TEST_CASE("a clock that is behind the chain is told once, with both times, until it is right again", "[monitor]") {
    left_alone w;
    w.clock.set(world_start);
    w.chain.set_time(world_start + 100'000);
    w.mine(12);
    w.tick();
    w.tick();
    for (const auto* told : {&w.payee_told.heard, &w.payer_told.heard}) {
        REQUIRE(std::ranges::count(*told, event_kind::clock_wrong, &heard_event::kind) == 1);
        const auto& e = *std::ranges::find(*told, event_kind::clock_wrong, &heard_event::kind);
        CHECK(e.problem.code == errc::wrong_clock);
        CHECK(e.clock == world_start);
        CHECK(e.chain_time == w.chain.median_time());
        CHECK(e.channel == txid{});
    }
    w.clock.set(world_start + 100'000);
    w.tick();
    CHECK(w.payee_told.count(event_kind::clock_wrong) == 1);
    w.clock.set(world_start);
    w.tick();
    CHECK(w.payee_told.count(event_kind::clock_wrong) == 2);
}

TEST_CASE("a server that was away settles the moment it starts, as long as nobody was faster", "[monitor]") {
    left_alone w;
    w.set_time(w.expiry + 100'000);
    w.server_side->tick(w.clock.now());
    CHECK(w.in_mempool() == "settlement");
}

TEST_CASE("a client's refund is broadcast when the median time is past the expiry, and not before", "[monitor]") {
    left_alone w;
    w.clock.set(w.expiry + 100'000);  // the wall clock does not count: BIP113
    w.client_side->tick(w.clock.now());
    CHECK(w.payer_told.heard.empty());
    w.chain.set_time(w.expiry);
    const auto mine_up_to = [&](unix_time median) {
        while (w.chain.median_time() < median) {
            CHECK(w.in_mempool() == "nothing");
            w.mine();
            w.catch_up();
            w.client_side->tick(w.clock.now());
        }
        REQUIRE(w.chain.median_time() == median);
    };
    mine_up_to(w.expiry);  // six blocks of that time
    CHECK(w.in_mempool() == "nothing");
    CHECK(w.payer_told.heard.empty());
    w.chain.set_time(w.expiry + 1);
    mine_up_to(w.expiry + 1);
    CHECK(w.in_mempool() == "refund");
    CHECK(w.payer_told.names() == "refunding");
}

TEST_CASE("a refund is broadcast with each block until it is mined, and told once", "[monitor]") {
    left_alone w;
    w.set_time(w.expiry + 1);
    w.mine(12);
    for (int i = 0; i < 3; ++i) {
        w.catch_up();
        w.client_side->tick(w.clock.now());
        REQUIRE(w.in_mempool() == "refund");
        w.chain.forget(*w.chain.spender_in_mempool(w.contract));  // a node that was restarted
        w.client_side->tick(w.clock.now());
        CHECK(w.in_mempool() == "nothing");  // once a block is enough
        w.mine();
    }
    w.catch_up();
    w.client_side->tick(w.clock.now());
    w.mine();
    w.catch_up();
    CHECK(w.payer_told.names() == "refunding confirmed");
    CHECK(w.payee_told.names() == "confirmed lost");
    CHECK(w.payee_told.last(event_kind::lost).total == satoshi{50'000});
    w.client_side->tick(w.clock.now());
    CHECK(w.payer_told.names() == "refunding confirmed");
    CHECK(w.chain.mempool_size() == 0);
}

TEST_CASE("a refund comes with its contract when the server never broadcast that", "[monitor]") {
    world w(each_version());
    w.payee.follower.set_node(chain_follower::node::down);
    REQUIRE(w.open());
    REQUIRE(w.c->phase() == client_phase::contract_sent);
    REQUIRE(w.chain.mempool_size() == 0);
    const txid id = w.channel();
    payers_monitor monitor(both_versions{}, w.payer.store, w.payer.keys, w.payer.network, w.payer.events);
    REQUIRE(monitor.load());
    w.chain.set_time(w.c->record().terms.expiry + 1);
    w.chain.mine(12, p2pkh_script({}).view());
    w.payer.follower.deliver(monitor);
    monitor.tick(w.clock.now());
    CHECK(w.chain.in_mempool(id));
    CHECK(w.chain.spender_in_mempool({id, 0}));
}

TEST_CASE("no refund is broadcast for a channel whose settlement is mined", "[monitor]") {
    left_alone w;
    w.settle_and_mine();
    w.set_time(w.expiry + 1);
    w.mine(12);
    w.tick();
    CHECK(w.payer_told.names() == "confirmed");
    CHECK(w.chain.mempool_size() == 0);
}

TEST_CASE("a channel that a connection holds is settled over that connection", "[monitor]") {
    left_alone w;
    w.payee_told.attached.push_back(w.id);
    w.set_time(w.expiry + -w.server_settings.settle_margin);
    w.tick();
    w.tick();
    CHECK(w.payee_told.settled_over_connection == 1);  // once a block
    CHECK(w.in_mempool() == "nothing");
    w.payee_told.attached.clear();
    w.mine();
    w.tick();
    CHECK(w.in_mempool() == "settlement");
}
