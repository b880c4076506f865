// Monitors beside connections, and contracts that never opened a channel there.
#include <catch2/catch.hpp>

#include "monitor/support.hpp"

using namespace paychan;
using namespace paychan_test;

TEST_CASE("a monitor that hears a driver's events watches its channels", "[monitor]") {
    world w(each_version());
    payees_monitor* server_side = nullptr;
    hooked_events told;
    payees_monitor monitor(both_versions{}, w.payee.store, w.payee.keys, w.payee.wallet, w.payee.network, told,
                           w.server_settings);
    server_side = &monitor;
    w.payee.events.then = [&](const event& e) { server_side->on_event(e); };
    REQUIRE(w.open());
    CHECK(monitor.size() == 1);
    REQUIRE(w.pays(20'000));
    REQUIRE(w.c->settle());
    w.run();
    // The monitor's view of the network is its own.
    w.chain.forget(*w.chain.spender_in_mempool({w.channel(), 0}));
    w.chain.mine(1, p2pkh_script({}).view());
    w.payee.follower.deliver(monitor);
    monitor.tick(w.clock.now());
    CHECK(w.chain.spender_in_mempool({w.channel(), 0}));
}

TEST_CASE("a settlement that a connection has told of is not told again by the monitor", "[monitor]") {
    world w(each_version());
    hooked_events told;
    payees_monitor monitor(both_versions{}, w.payee.store, w.payee.keys, w.payee.wallet, w.payee.network, told,
                           w.server_settings);
    w.payee.events.then = [&](const event& e) { monitor.on_event(e); };
    REQUIRE(w.open());
    REQUIRE(w.c->settle());
    w.run();
    REQUIRE(w.payee.events.count(event_kind::settled) == 1);
    w.chain.mine(1, p2pkh_script({}).view(), memory_chain::contents::nothing);
    for (int i = 0; i < 3; ++i) {
        w.payee.follower.deliver(monitor);
        monitor.tick(w.clock.now());
    }
    CHECK(told.count(event_kind::settled) == 0);
}

TEST_CASE("a channel whose contract never came is not settled with every block, and is forgotten in the end",
          "[monitor]") {
    world w(each_version());
    w.payee.follower.refuse_next("bad-txns-inputs-missingorspent");
    REQUIRE(w.open());
    const txid id = w.channel();
    REQUIRE(w.payee.events.last(event_kind::error).problem.code == errc::bad_transaction);
    // It reached the mempool by another way, and left it again.
    w.chain.forget(id);
    hooked_events told;
    payees_monitor monitor(both_versions{}, w.payee.store, w.payee.keys, w.payee.wallet, w.payee.network, told,
                           w.server_settings);
    REQUIRE(monitor.load());
    REQUIRE(monitor.size() == 1);
    const auto version = load_record(w.payee.disk, record_kind::server_channel, id)->version;
    const auto pass = [&](unix_time t) {
        w.chain.set_time(t);
        w.clock.set(t);
        w.chain.mine(12, p2pkh_script({}).view());
        w.payee.follower.deliver(monitor);
        monitor.tick(w.clock.now());
        w.payee.follower.deliver(monitor);  // asked once more, the network takes it,
        w.chain.forget(id);                 // and forgets it before it is mined
    };
    const unix_time expiry = load_record(w.payee.disk, record_kind::server_channel, id)->terms.expiry;
    pass(expiry);
    pass(expiry + 604'700);
    CHECK(monitor.size() == 1);
    CHECK(load_record(w.payee.disk, record_kind::server_channel, id)->version == version);
    pass(expiry + 604'900);
    CHECK(monitor.size() == 0);
    CHECK(told.count(event_kind::buried) == 1);
    CHECK(stored_channels(w.payee.disk, record_kind::server_channel).empty());
    CHECK(stored_channels(w.payee.disk, record_kind::server_contract).empty());
}

namespace {
/// A server that stored a contract and heard nothing of it: the node was down, and the connection is gone.
struct never_answered : world {
    txid id;
    hooked_events told;
    payees_monitor monitor{both_versions{}, payee.store, payee.keys,     payee.wallet,
                           payee.network,   told,        server_settings};

    never_answered() : world(each_version()) {
        payee.follower.set_node(chain_follower::node::down);
        REQUIRE(open());
        id = channel();
        reconnect();
        payee.follower.set_node(chain_follower::node::up);
        REQUIRE(load_record(payee.disk, record_kind::server_channel, id)->stage == channel_stage::contract_stored);
        REQUIRE(monitor.load());
        payee.follower.deliver(monitor);
        REQUIRE(monitor.size() == 1);
    }
    [[nodiscard]] std::size_t records() const {
        return stored_channels(payee.disk, record_kind::server_channel).size() +
               stored_channels(payee.disk, record_kind::server_contract).size();
    }
};
}  // namespace

TEST_CASE("a contract that is refused and never opened a channel is forgotten after six blocks, not before",
          "[monitor]") {
    never_answered w;
    w.chain.forget(w.id);
    const auto pass = [&](int blocks) {
        for (int i = 0; i < blocks; ++i) {
            w.chain.mine(1, p2pkh_script({}).view());
            w.payee.follower.deliver(w.monitor);
            w.monitor.tick(w.clock.now());
        }
    };
    pass(1);  // asks the network
    w.payee.follower.deliver(w.monitor);
    w.chain.forget(w.id);
    const auto refuse = [&] {
        w.monitor.on_chain(broadcast_answer{w.id, broadcast_outcome::refused, "bad-txns-inputs-missingorspent"});
    };
    SECTION("refused") {
        refuse();
        pass(5);  // another node may be a block ahead of ours, or its mempool fuller: the client may come back
        CHECK(w.told.heard.empty());
        CHECK(w.records() == 2);
        pass(1);
        CHECK(w.told.names() == "buried");
        CHECK(w.told.last(event_kind::buried).channel == w.id);
        CHECK(w.monitor.size() == 0);
        CHECK(w.records() == 0);
        refuse();
        pass(1);
        CHECK(w.told.names() == "buried");
    }
    SECTION("not while a connection holds it") {
        w.told.attached.push_back(w.id);
        refuse();
        pass(10);
        CHECK(w.told.heard.empty());
        CHECK(w.records() == 2);
    }
    SECTION("not when it is in a block") {
        refuse();
        REQUIRE(w.chain.submit(stored_bytes(w.payee.disk, record_kind::server_contract, w.id)).accepted);
        pass(10);
        CHECK(w.told.heard.empty());
        CHECK(w.records() == 2);
    }
    SECTION("not when it is accepted after all, or nobody answers, or another one is refused") {
        refuse();
        w.monitor.on_chain(broadcast_answer{w.id, broadcast_outcome::accepted, ""});
        w.monitor.on_chain(broadcast_answer{w.id, broadcast_outcome::unreachable, ""});
        w.monitor.on_chain(broadcast_answer{txid{bytes32{9}}, broadcast_outcome::refused, ""});
        pass(10);
        CHECK(w.told.heard.empty());
        CHECK(w.records() == 2);
    }
    SECTION("a deletion that fails is done later") {
        refuse();
        pass(5);
        w.payee.plan = {call::store_erase, fault::fails, GENERATE(0, 1, 2), false};
        pass(1);
        REQUIRE(w.payee.plan.hit);
        CHECK(w.told.heard.empty());
        CHECK(w.monitor.size() == 1);
        pass(1);
        CHECK(w.told.names() == "buried");
        CHECK(w.records() == 0);
    }
    SECTION("not when it opened meanwhile: then it is unbacked") {
        REQUIRE(w.open(satoshi{0}));  // the monitor is told nothing of it
        REQUIRE(w.pays(10));
        w.reconnect();
        w.chain.forget(w.id);
        refuse();
        CHECK(load_record(w.payee.disk, record_kind::server_channel, w.id)->stage == channel_stage::unbacked);
        w.payee.follower.set_node(chain_follower::node::down);  // it is not offered again
        w.monitor.tick(w.clock.now());
        CHECK(w.told.heard.empty());
        CHECK(w.records() == 2);
    }
}

namespace {
/// The monitor's listener beside one connection, as a TCP server answers for many.
struct events_beside : event_log {
    world& w;
    explicit events_beside(world& beside) : w(beside) {}
    bool is_attached(const txid& id) const {
        const server_phase p = w.s->phase();
        const bool holds = p == server_phase::broadcasting || is_open(p) || p == server_phase::settling;
        return holds && w.s->record().terms.contract.id == id;
    }
};
}  // namespace

TEST_CASE("a refusal is told to the connection first, and then the monitor counts or marks the channel", "[monitor]") {
    world w(each_version());
    events_beside told(w);
    server_monitor monitor(both_versions{}, w.payee.store, w.payee.keys, w.payee.wallet, w.payee.network, told,
                           w.server_settings);
    w.payee.events.then = [&](const event& e) { monitor.on_event(e); };
    const auto run = [&] {
        for (int i = 0; i < 100; ++i)
            if (pump(w.pipe, *w.c, *w.s) + w.payee.follower.deliver(*w.s, monitor) == 0) return;
    };
    SECTION("a contract that never opened a channel") {
        w.payee.follower.refuse_next("bad-txns-inputs-missingorspent");
        REQUIRE(w.c->connect(satoshi{1'000'000}));
        run();
        CHECK(w.payee.events.names() == "stored error closed");
        REQUIRE(monitor.size() == 1);
        w.chain.mine(1, p2pkh_script({}).view());  // a height to count from
        run();
        w.payee.follower.refuse_next("bad-txns-inputs-missingorspent");
        monitor.on_chain(broadcast_answer{w.channel(), broadcast_outcome::refused, "bad-txns-inputs-missingorspent"});
        w.chain.mine(6, p2pkh_script({}).view());
        run();
        monitor.tick(w.clock.now());
        CHECK(told.names() == "buried");
        CHECK(monitor.size() == 0);
        CHECK(stored_channels(w.payee.disk, record_kind::server_channel).empty());
        CHECK(stored_channels(w.payee.disk, record_kind::server_contract).empty());
    }
    SECTION("a contract that opened one") {
        REQUIRE(w.c->connect(satoshi{1'000'000}));
        run();
        REQUIRE(w.s->phase() == server_phase::open);
        w.chain.forget(w.channel());
        w.payee.follower.refuse_next("bad-txns-inputs-missingorspent");
        w.chain.mine(1, p2pkh_script({}).view());
        w.payee.follower.deliver(monitor);
        monitor.tick(w.clock.now());  // offers the contract again
        run();
        CHECK(w.s->phase() == server_phase::ended);
        CHECK(w.payee.events.last(event_kind::error).problem.code == errc::bad_transaction);
        const auto record = load_record(w.payee.disk, record_kind::server_channel, w.channel());
        REQUIRE(record);
        CHECK(record->stage == channel_stage::unbacked);
        CHECK(record->version == w.s->record().version);  // written once, by the connection
        CHECK(monitor.size() == 1);
    }
}

TEST_CASE("an open channel whose contract is refused takes no payment before the network takes it", "[monitor]") {
    left_alone w(false);
    w.chain.forget(w.id);
    w.payee_view.refuse_next("bad-txns-inputs-missingorspent");
    const std::uint64_t version = w.server_record().version;
    SECTION("nobody holds it") {
        w.tick_server();
        CHECK(w.server_record().stage == channel_stage::unbacked);
        CHECK(w.server_record().version == version + 1);
        CHECK(w.server_record().paid() == satoshi{50'000});
        CHECK(w.payee_told.heard.empty());
        // It is not forgotten, and its contract is offered with each block; the client comes back, too.
        w.mine();
        w.tick_server();
        CHECK(w.chain.in_mempool(w.id));
        w.payee.events.heard.clear();
        REQUIRE(w.open(satoshi{0}));
        CHECK(w.s->phase() == server_phase::open);
        CHECK(w.server_record().stage == channel_stage::open);
        CHECK(w.payee.events.names() == "stored opened");
        CHECK(w.pays(1));
    }
    SECTION("at the deadline it is settled all the same, if the network has taken the contract since") {
        w.chain.mine(1, p2pkh_script({}).view(), memory_chain::contents::nothing);
        w.tick_server();
        REQUIRE(w.server_record().stage == channel_stage::unbacked);
        const bool taken = GENERATE(true, false);
        if (!taken) w.payee_view.refuse_next("mempool min fee not met");
        w.chain.mine(1, p2pkh_script({}).view(), memory_chain::contents::nothing);
        w.tick_server();
        REQUIRE(w.chain.in_mempool(w.id) == taken);
        w.set_time(w.expiry + -w.server_settings.settle_margin);
        w.tick_server();
        CHECK(w.in_mempool() == (taken ? "settlement" : "nothing"));
        // Taken at last: it is not too late.
        w.chain.mine(1, p2pkh_script({}).view(), memory_chain::contents::nothing);
        w.tick_server();
        w.tick_server();
        CHECK(w.in_mempool() == "settlement");
    }
    SECTION("a connection holds it, and hears of it itself") {
        w.payee_told.attached.push_back(w.id);
        w.tick_server();
        CHECK(w.server_record().stage == channel_stage::open);
        CHECK(w.server_record().version == version);
    }
    SECTION("the disk cannot take it: reported, and seen again with the next block") {
        w.payee.plan = {call::store_put, fault::fails, 0, false};
        w.tick_server();
        CHECK(w.payee.plan.hit);
        CHECK(w.payee_told.names() == "error");
        CHECK(w.server_record().stage == channel_stage::open);
        w.payee_view.refuse_next("bad-txns-inputs-missingorspent");
        w.mine();
        w.tick_server();
        CHECK(w.server_record().stage == channel_stage::unbacked);
    }
}

TEST_CASE("a refusal of a contract that is in a block changes nothing", "[monitor]") {
    left_alone w;
    const std::uint64_t version = w.server_record().version;
    w.server_side->on_chain(broadcast_answer{w.id, broadcast_outcome::refused, "bad-txns-inputs-missingorspent"});
    CHECK(w.server_record().version == version);
    CHECK(w.server_record().stage == channel_stage::open);
    CHECK(w.payee_told.heard.empty());
    CHECK(w.server_side->size() == 1);
}

TEST_CASE("a channel that never opened is settled all the same when its contract is mined", "[monitor]") {
    world w(each_version());
    w.payee.follower.refuse_next("min relay fee not met");
    REQUIRE(w.open());
    const txid id = w.channel();
    const auto contract = stored_bytes(w.payee.disk, record_kind::server_contract, id);
    REQUIRE(w.chain.submit(contract).accepted);
    w.chain.mine(1, p2pkh_script({}).view());
    hooked_events told;
    payees_monitor monitor(both_versions{}, w.payee.store, w.payee.keys, w.payee.wallet, w.payee.network, told,
                           w.server_settings);
    REQUIRE(monitor.load());
    w.payee.follower.deliver(monitor);
    monitor.tick(load_record(w.payee.disk, record_kind::server_channel, id)->terms.expiry);
    CHECK(w.chain.spender_in_mempool({id, 0}));
}

TEST_CASE("a connection cannot ack a payment on a channel that the monitor has settled", "[monitor]") {
    world w(each_version());
    REQUIRE(w.open());
    hooked_events told;
    payees_monitor monitor(both_versions{}, w.payee.store, w.payee.keys, w.payee.wallet, w.payee.network, told,
                           w.server_settings);
    REQUIRE(monitor.load());
    REQUIRE(monitor.settle(w.channel()));
    outcome o;
    REQUIRE(w.c->pay(satoshi{5'000}, o.callback()));
    (void)pump(w.pipe, *w.c, *w.s);
    CHECK(o.calls == 1);
    CHECK_FALSE(o.told);
    CHECK(w.payee.events.last(event_kind::error).problem.code == errc::stale_record);
    CHECK(load_record(w.payee.disk, record_kind::server_channel, w.channel())->paid() == satoshi{1'000});
}

TEST_CASE("a client whose contract was spent pays no more on it", "[monitor]") {
    world w(each_version());
    REQUIRE(w.open());
    REQUIRE(w.pays(5'000));
    payers_monitor monitor(both_versions{}, w.payer.store, w.payer.keys, w.payer.network, w.payer.events);
    REQUIRE(monitor.load());
    hooked_events told;
    payees_monitor theirs(both_versions{}, w.payee.store, w.payee.keys, w.payee.wallet, w.payee.network, told,
                          w.server_settings);
    REQUIRE(theirs.load());
    REQUIRE(theirs.settle(w.channel()));
    w.chain.mine(1, p2pkh_script({}).view());
    w.payer.follower.deliver(monitor);
    CHECK(w.payer.events.last(event_kind::confirmed).closing ==
          load_record(w.payee.disk, record_kind::server_channel, w.channel())->closing);
    const auto refused = w.c->pay(satoshi{1});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == errc::stale_record);
    // The next connection opens a new channel instead.
    const txid first = w.channel();
    w.reconnect();
    REQUIRE(w.open());
    CHECK(w.channel() != first);
    CHECK(w.pays(1));
}
