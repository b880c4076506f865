// What leaves is given to the network again until it is in a block, and built anew where that helps.
#include <catch2/catch.hpp>

#include "monitor/support.hpp"

using namespace paychan;
using namespace paychan_test;

TEST_CASE("a settlement and its contract are broadcast with each block until they are mined", "[monitor]") {
    left_alone w(false);
    REQUIRE(w.server_side->settle(w.id));
    for (int i = 0; i < 3; ++i) {
        REQUIRE(w.in_mempool() == "settlement");
        w.chain.forget(w.id);  // and with it the settlement
        REQUIRE(w.in_mempool() == "nothing");
        w.tick_server();
        CHECK(w.in_mempool() == "nothing");
        w.mine();
        w.tick_server();
    }
    CHECK(w.in_mempool() == "settlement");
    w.mine();
    w.tick_server();
    CHECK(w.chain.confirmations(w.id) == 1);
    CHECK(w.payee_told.names() == "settled confirmed");
}

TEST_CASE("an open channel's contract that is in no block is broadcast again, by both sides", "[monitor]") {
    left_alone w(false);
    const bool by_client = GENERATE(false, true);
    for (int i = 0; i < 2; ++i) {
        w.chain.forget(w.id);
        w.mine();
        w.catch_up();
        by_client ? w.client_side->tick(w.clock.now()) : w.server_side->tick(w.clock.now());
        CHECK(w.chain.in_mempool(w.id));
    }
    w.mine();
    w.tick();
    CHECK(w.chain.confirmations(w.id) == 1);
    CHECK(w.chain.mempool_size() == 0);
}

TEST_CASE("what a node has forgotten is broadcast again as soon as it is back, without a block", "[monitor]") {
    left_alone w(false);
    SECTION("an open channel's contract; until the node has it, the channel is not open") {
        w.chain.forget(w.id);
        w.tick();
        CHECK(w.in_mempool() == "nothing");
        CHECK(w.server_record().stage == channel_stage::open);
        w.payee_view.restart_node();
        w.catch_up();
        CHECK_FALSE(w.server_side->is_backed(w.id));
        w.tick();
        CHECK(w.server_side->is_backed(w.id));
        CHECK(w.chain.in_mempool(w.id));
        w.set_time(w.expiry + -7'000);  // it has the contract: what was paid is collected as ever
        w.tick();
        CHECK(w.in_mempool() == "settlement");
    }
    SECTION("contract and settlement") {
        REQUIRE(w.server_side->settle(w.id));
        w.catch_up();
        w.chain.forget(w.id);
        w.payee_view.restart_node();
        w.tick();
        CHECK(w.in_mempool() == "settlement");
    }
    SECTION("a refund") {
        w.mine();
        w.set_time(w.expiry + 1);
        w.mine(12);
        w.catch_up();
        w.client_side->tick(w.clock.now());
        const auto refund = w.chain.spender_in_mempool(w.contract);
        REQUIRE(refund);
        w.chain.forget(*refund);
        w.payer_view.restart_node();
        w.catch_up();
        w.client_side->tick(w.clock.now());
        CHECK(w.chain.in_mempool(*refund));
    }
    SECTION("but a channel whose contract is in a block stays open") {
        w.mine();
        w.tick();
        w.payee_view.restart_node();
        w.tick();
        CHECK(w.server_record().stage == channel_stage::open);
    }
}

TEST_CASE("a settlement that no node was there for is broadcast again at the next tick", "[monitor]") {
    left_alone w;
    w.payee_view.set_node(chain_follower::node::down);
    REQUIRE(w.server_side->settle(w.id));
    w.catch_up();
    CHECK(w.in_mempool() == "nothing");
    w.payee_view.set_node(chain_follower::node::up);
    w.tick();
    CHECK(w.in_mempool() == "settlement");
}

TEST_CASE("a refund that no node was there for is broadcast again at the next tick", "[monitor]") {
    left_alone w;
    w.set_time(w.expiry + 1);
    w.mine(12);
    w.catch_up();
    w.payer_view.set_node(chain_follower::node::down);
    w.client_side->tick(w.clock.now());
    w.catch_up();
    CHECK(w.in_mempool() == "nothing");
    w.payer_view.set_node(chain_follower::node::up);
    w.tick();
    CHECK(w.chain.spender_in_mempool(w.contract));
}

TEST_CASE("a payment that does not bear the fee is settled when fees are lower, and reported now and then",
          "[monitor]") {
    left_alone w;
    // As if the first payment had been all, and smaller than a settlement costs: 814 satoshi.
    channel_record record = w.server_record();
    record.change = {999'500};
    const auto clients = load_record(w.payer.disk, record_kind::client_channel, w.id).value();
    const auto signature = both_versions::with<result<bounded_bytes<73>>>(
        clients.protocol, [&]<class Scheme>() { return sign_payment<Scheme>(clients, record.change, w.payer.ring); });
    REQUIRE(signature);
    record.signature = *signature;
    ++record.version;
    const record_buffer written = write_record(record);
    REQUIRE(w.payee.disk.put({record_kind::server_channel, w.id}, record.version, written.view()));
    w.set_time(w.expiry + -w.server_settings.settle_margin);
    for (int i = 0; i < 3; ++i) {
        w.tick();
        w.mine();
    }
    CHECK(w.in_mempool() == "nothing");
    CHECK(w.payee_told.names() == "error");
    CHECK(w.payee_told.last(event_kind::error).problem.code == errc::insufficient_funds);
    CHECK(w.server_record().stage == channel_stage::open);
    // Told again as long as it lasts, and not with every block.
    for (int i = 0; i < 9; ++i) {
        w.tick();
        w.mine();
    }
    CHECK(w.payee_told.names() == "error error");
}

TEST_CASE("a key store that cannot sign at the deadline is asked again at the next tick", "[monitor]") {
    left_alone w;
    w.payee.plan = {call::keys_sign, fault::fails, 0, false};
    w.set_time(w.expiry + -w.server_settings.settle_margin);
    w.tick();
    CHECK(w.payee.plan.hit);
    CHECK(w.in_mempool() == "nothing");
    CHECK(w.payee_told.last(event_kind::error).problem.code == errc::key_unavailable);
    w.tick();  // no block came
    CHECK(w.in_mempool() == "settlement");
}

TEST_CASE("a settlement that could not be stored is not broadcast, and built again at the next tick", "[monitor]") {
    left_alone w;
    w.payee.plan = {call::store_put, GENERATE(fault::fails, fault::fails_after), 0, false};
    w.set_time(w.expiry + -w.server_settings.settle_margin);
    w.tick();
    CHECK(w.payee.plan.hit);
    CHECK(w.in_mempool() == "nothing");
    w.tick();  // no block came
    CHECK(w.in_mempool() == "settlement");
    CHECK(w.server_record().closing == *w.chain.spender_in_mempool(w.contract));
}

TEST_CASE("a settlement whose batch was cut in two is made by the next process", "[monitor]") {
    left_alone w;
    w.set_time(w.expiry + -w.server_settings.settle_margin);
    const fault how = GENERATE(fault::fails, fault::fails_after, fault::crashes, fault::crashes_after);
    const int n = GENERATE(0, 1);
    const bool wrote = how == fault::fails_after || how == fault::crashes_after;
    const std::uint64_t version = w.server_record().version;
    fault_plan plan{call::store_put, how, n, false};
    plain_store store{plan, w.payee.disk};
    using plain_book =
        server_monitor<both_versions, plain_store, faulty_keys, faulty_wallet, chain_follower, hooked_events>;
    {
        chain_follower view(w.chain);
        plain_book monitor(both_versions{}, store, w.payee.keys, w.payee.wallet, view, w.payee_told, w.server_settings);
        REQUIRE(monitor.load());
        view.deliver(monitor);
        try {
            monitor.tick(w.clock.now());
        } catch (const crash&) {
        }
        REQUIRE(plan.hit);
        CHECK(w.in_mempool() == "nothing");
    }
    // First the channel's record, then the settlement.
    const bool record_there = n == 1 || wrote;
    CHECK(w.server_record().version == version + (record_there ? 1 : 0));
    CHECK(w.server_record().stage == (record_there ? channel_stage::settling : channel_stage::open));
    CHECK(stored_bytes(w.payee.disk, record_kind::server_settlement, w.id).empty() == !(n == 1 && wrote));

    chain_follower view(w.chain);
    // The fee of another day makes another settlement where there is none yet.
    plain_book monitor(both_versions{}, store, w.payee.keys, w.payee.wallet, view, w.payee_told, w.server_settings);
    monitor.on_chain(fee_estimate{{3'000}});
    REQUIRE(monitor.load());
    view.deliver(monitor);
    monitor.tick(w.clock.now());
    view.deliver(monitor);
    REQUIRE(w.in_mempool() == "settlement");
    const txid closing = *w.chain.spender_in_mempool(w.contract);
    CHECK(w.server_record().closing == closing);
    CHECK(parse_transaction(stored_bytes(w.payee.disk, record_kind::server_settlement, w.id))->id() == closing);
    w.mine();
    view.deliver(monitor);
    CHECK(w.payee_told.last(event_kind::confirmed).closing == closing);
}

TEST_CASE("a process that goes on after such a failure settles at its next tick", "[monitor]") {
    left_alone w;
    w.set_time(w.expiry + -w.server_settings.settle_margin);
    fault_plan plan{call::store_put, GENERATE(fault::fails, fault::fails_after), GENERATE(0, 1), false};
    plain_store store{plan, w.payee.disk};
    chain_follower view(w.chain);
    server_monitor monitor(both_versions{}, store, w.payee.keys, w.payee.wallet, view, w.payee_told, w.server_settings);
    REQUIRE(monitor.load());
    view.deliver(monitor);
    monitor.tick(w.clock.now());
    REQUIRE(plan.hit);
    CHECK(w.in_mempool() == "nothing");
    CHECK(w.payee_told.names() == "error");
    monitor.tick(w.clock.now());  // no block came
    view.deliver(monitor);
    CHECK(w.in_mempool() == "settlement");
    CHECK(w.server_record().closing == *w.chain.spender_in_mempool(w.contract));
    CHECK(parse_transaction(stored_bytes(w.payee.disk, record_kind::server_settlement, w.id))->id() ==
          w.server_record().closing);
}

TEST_CASE("a disk that takes nothing any more does not keep a settlement back until it is too late", "[monitor]") {
    left_alone w;
    const std::int64_t margin = w.server_settings.settle_margin;
    fault_plan every_write{call::store_put, fault::fails, 0, false};
    plain_store store{every_write, w.payee.disk};
    chain_follower view(w.chain);
    server_monitor monitor(both_versions{}, store, w.payee.keys, w.payee.wallet, view, w.payee_told, w.server_settings);
    REQUIRE(monitor.load());
    view.deliver(monitor);
    const auto tick_at = [&](unix_time now) {
        every_write.left = 0;
        monitor.tick(now);
        view.deliver(monitor);
        CHECK(every_write.hit);
    };
    tick_at(w.expiry + -margin);
    tick_at(w.expiry + -(margin / 2 + 1));
    CHECK(w.in_mempool() == "nothing");  // there is time for another try
    tick_at(w.expiry + -(margin / 2));
    CHECK(w.in_mempool() == "settlement");
    CHECK(w.server_record().stage == channel_stage::open);

    w.chain.forget(*w.chain.spender_in_mempool(w.contract));
    w.chain.mine(1, p2pkh_script({}).view(), memory_chain::contents::nothing);
    view.deliver(monitor);
    tick_at(w.expiry + -(margin / 2));
    CHECK(w.in_mempool() == "settlement");  // with each block, as ever
    CHECK(w.payee_told.last(event_kind::error).problem.code == errc::store_failed);
}

TEST_CASE("a settlement whose record is damaged is built again", "[monitor]") {
    left_alone w;
    w.payee_view.set_node(chain_follower::node::down);
    REQUIRE(w.server_side->settle(w.id));
    const std::uint64_t version = w.server_record().version;
    fault_plan plan;
    plain_store store{plan, w.payee.disk, record_kind::server_settlement};
    chain_follower view(w.chain);
    server_monitor monitor(both_versions{}, store, w.payee.keys, w.payee.wallet, view, w.payee_told, w.server_settings);
    REQUIRE(monitor.load());
    view.deliver(monitor);
    monitor.tick(w.clock.now());
    view.deliver(monitor);
    CHECK(w.in_mempool() == "settlement");
    CHECK(w.server_record().version == version + 1);
}

TEST_CASE("a monitor whose program lacks the channel's version says so, and does not lose the channel", "[monitor]") {
    left_alone w(true, 2);
    hooked_events told;
    chain_follower view(w.chain);
    server_monitor older(contracts<multisig_refund>{}, w.payee.store, w.payee.keys, w.payee.wallet, view, told,
                         w.server_settings);
    REQUIRE(older.load());
    view.deliver(older);
    const std::uint64_t version = w.server_record().version;
    CHECK(older.settle(w.id).error().code == errc::unsupported);
    w.set_time(w.expiry + -w.server_settings.settle_margin);
    for (int i = 0; i < 3; ++i) {
        older.tick(w.clock.now());
        w.mine();
        view.deliver(older);
    }
    CHECK(told.names() == "error");  // once
    CHECK(told.last(event_kind::error).problem.code == errc::unsupported);
    CHECK(told.last(event_kind::error).channel == w.id);
    w.mine(150);
    view.deliver(older);
    older.tick(w.clock.now());
    CHECK(older.size() == 1);
    CHECK(w.server_record().version == version);
    CHECK(w.in_mempool() == "nothing");
    // A program that has it settles.
    w.tick();
    CHECK(w.in_mempool() == "settlement");
}

TEST_CASE("a settlement that is on disk is broadcast by a program that could not have made it", "[monitor]") {
    left_alone w(true, 2);
    w.payee_view.set_node(chain_follower::node::down);
    REQUIRE(w.server_side->settle(w.id));
    REQUIRE(w.in_mempool() == "nothing");
    hooked_events told;
    chain_follower view(w.chain);
    server_monitor older(contracts<multisig_refund>{}, w.payee.store, w.payee.keys, w.payee.wallet, view, told,
                         w.server_settings);
    REQUIRE(older.load());
    view.deliver(older);
    older.tick(w.clock.now());
    view.deliver(older);
    CHECK(w.in_mempool() == "settlement");
}

TEST_CASE("a payment that waited for its answer when the process died is settled like any other", "[monitor]") {
    world w(each_version());
    w.payee.events.answer = [](const event&) { return payment_answer::hold(); };
    REQUIRE(w.open());
    REQUIRE(w.c->pay(satoshi{70'000}));
    w.run();
    REQUIRE(w.s->phase() == server_phase::answering);
    w.reconnect();
    hooked_events told;
    payees_monitor monitor(both_versions{}, w.payee.store, w.payee.keys, w.payee.wallet, w.payee.network, told,
                           w.server_settings);
    REQUIRE(monitor.load());
    w.payee.follower.deliver(monitor);
    REQUIRE(monitor.settle(w.channel()));
    w.payee.follower.deliver(monitor);
    CHECK(told.last(event_kind::settled).total == satoshi{71'000});
    CHECK(w.chain.spender_in_mempool({w.channel(), 0}));
}
