// A contract whose coins another transaction has spent: both sides hear of it, stop, and go on if the block goes.
#include <catch2/catch.hpp>

#include "support/versions.hpp"
#include "support/world.hpp"

using namespace paychan;
using namespace paychan_test;

namespace {

using logging_payees_monitor = server_monitor<both_versions, faulty_store, faulty_keys, faulty_wallet,
                                              faulty_broadcaster<chain_follower>, event_log>;
using payers_monitor =
    client_monitor<both_versions, faulty_store, faulty_keys, faulty_broadcaster<chain_follower>, event_log>;

/// A channel that was paid on, whose contract is in no block yet.
struct unmined : world {
    event_log payee_told;
    event_log payer_told;
    chain_follower payee_view{chain};
    chain_follower payer_view{chain};
    faulty_broadcaster<chain_follower> payee_network{payee.plan, payee_view};
    faulty_broadcaster<chain_follower> payer_network{payer.plan, payer_view};
    std::unique_ptr<logging_payees_monitor> server_side;
    std::unique_ptr<payers_monitor> client_side;
    txid id;
    bytes contract;
    unix_time expiry;

    unmined() : world(each_version()) {
        chain.mine(1, p2pkh_script({}).view());
        REQUIRE(open());
        REQUIRE(pays(49'000));
        id = channel();
        contract = stored_bytes(payer.disk, record_kind::client_contract, id);
        expiry = c->record().terms.expiry;
        start();
    }

    /// The books as processes have them that start now: the blocks come again.
    void start() {
        payee_view = chain_follower(chain);
        payer_view = chain_follower(chain);
        server_side = std::make_unique<logging_payees_monitor>(both_versions{}, payee.store, payee.keys, payee.wallet,
                                                               payee_network, payee_told, server_settings);
        client_side =
            std::make_unique<payers_monitor>(both_versions{}, payer.store, payer.keys, payer_network, payer_told);
        REQUIRE(server_side->load());
        REQUIRE(client_side->load());
        catch_up();
    }
    void catch_up() {
        while (payee_view.deliver(*server_side) + (client_side ? payer_view.deliver(*client_side) : 0) > 0) {
        }
    }
    void tick() {
        catch_up();
        server_side->tick(clock.now());
        if (client_side) client_side->tick(clock.now());
        catch_up();
    }
    void mine(int count = 1, memory_chain::contents what = memory_chain::contents::mempool) {
        chain.mine(count, p2pkh_script({}).view(), what);
        catch_up();
    }
    void mine_empty(int count = 1) { mine(count, memory_chain::contents::nothing); }

    /// Another transaction of the client's, of the contract's own coins.  [satoshi] amount  that it pays to `script`
    [[nodiscard]] bytes double_spend(bytes_view script, satoshi amount) {
        bytes memory(10'000);
        while (payer.purse.fund(script, satoshi{1'000}, {}, memory)) {
        }
        payer.purse.release(contract);
        const auto tx = payer.purse.fund(script, amount, {}, memory);
        REQUIRE(tx);
        payer.purse.reserved.clear();
        payer.purse.reserved.insert(parse_transaction(*tx)->input(0)->prevout);
        return owned(*tx);
    }
    [[nodiscard]] bytes double_spend() { return double_spend(p2pkh_script({}).view(), satoshi{5'000'000}); }

    /// The contract leaves the mempool for the other one.
    void submit(const bytes& tx) {
        chain.forget(id);
        REQUIRE(chain.submit(tx).accepted);
    }
    void hang_up() { reconnect(); }
    void pass_expiry() {
        clock.set(expiry + 1);
        chain.set_time(expiry + 1);
        mine_empty(12);
    }
    [[nodiscard]] channel_record server_record() {
        return load_record(payee.disk, record_kind::server_channel, id).value();
    }
    [[nodiscard]] channel_record client_record() {
        return load_record(payer.disk, record_kind::client_channel, id).value();
    }
};

}  // namespace

TEST_CASE("both sides hear of a transaction in a block that spends the coins of an unmined contract", "[monitor]") {
    unmined w;
    w.hang_up();
    const bytes other = w.double_spend();
    w.submit(other);
    w.mine();
    for (const event_log* told : {&w.payee_told, &w.payer_told}) {
        CHECK(told->names() == "double_spent");
        const heard_event e = told->last(event_kind::double_spent);
        CHECK(e.channel == w.id);
        CHECK(e.closing == parse_transaction(other)->id());
        CHECK(e.data == other);
        CHECK(e.total == satoshi{50'000});
        CHECK(e.problem.code == errc::bad_transaction);
        CHECK(e.problem.text == "another transaction has spent the coins of the contract");
    }
    CHECK(w.server_record().stage == channel_stage::unbacked);
    CHECK(w.server_record().paid() == satoshi{50'000});
    w.server_side->on_chain(w.chain.block_at(w.chain.height()).value());  // the same block again
    w.mine(3);
    CHECK(w.payee_told.names() == "double_spent");
}

TEST_CASE("nothing is broadcast in vain for a double-spent channel, and no error is told", "[monitor]") {
    unmined w;
    w.hang_up();
    w.submit(w.double_spend());
    w.mine();
    // No call of a broadcaster is left unseen: each has an outcome.
    CHECK(w.server_side->next_expiry() == std::nullopt);
    CHECK(w.client_side->next_expiry() == std::nullopt);
    CHECK(w.server_side->unended() == 0);
    w.pass_expiry();
    for (int i = 0; i < 3; ++i) {
        w.mine_empty();
        w.server_side->tick(w.clock.now());
        w.client_side->tick(w.clock.now());
        CHECK(w.payee_view.deliver(*w.server_side) == 0);
        CHECK(w.payer_view.deliver(*w.client_side) == 0);
    }
    CHECK(w.server_side->settle(w.id).error().code == errc::wrong_state);
    CHECK(w.server_record().stage == channel_stage::unbacked);
    CHECK(w.payee_told.names() == "double_spent");
    CHECK(w.payer_told.names() == "double_spent");
}

TEST_CASE("a double-spent channel's records are erased when that block is 100 deep, and not before", "[monitor]") {
    unmined w;
    w.hang_up();
    w.submit(w.double_spend());
    w.mine(99);
    w.tick();
    CHECK(w.payee_told.names() == "double_spent");
    CHECK(stored_channels(w.payer.disk, record_kind::client_refund).size() == 1);
    w.mine();
    w.tick();
    CHECK(w.payee_told.names() == "double_spent buried");
    CHECK(w.payer_told.names() == "double_spent buried");
    CHECK(w.server_side->size() == 0);
    for (const auto kind : {record_kind::server_channel, record_kind::server_contract})
        CHECK(stored_channels(w.payee.disk, kind).empty());
    for (const auto kind : {record_kind::client_channel, record_kind::client_contract, record_kind::client_refund})
        CHECK(stored_channels(w.payer.disk, kind).empty());
}

TEST_CASE("a connection cannot ack a payment on a double-spent channel", "[monitor]") {
    unmined w;
    w.submit(w.double_spend());
    w.mine();
    outcome o;
    if (w.c->pay(satoshi{1'000}, o.callback())) (void)pump(w.pipe, *w.c, *w.s);
    CHECK_FALSE(o.told);
    CHECK(w.server_record().paid() == satoshi{50'000});
}

TEST_CASE("a server ends the connection of a double-spent channel as that of a spent one", "[monitor]") {
    unmined w;
    w.payee_told.then = [&](const event& e) {
        if (e.kind == event_kind::double_spent) w.s->close();
    };
    w.submit(w.double_spend());
    w.mine();
    CHECK(w.s->phase() == server_phase::ended);
    CHECK(w.server_record().stage == channel_stage::unbacked);
}

TEST_CASE("a double-spent channel is not resumed: the client opens another one", "[monitor]") {
    unmined w;
    w.hang_up();
    w.submit(w.double_spend());
    w.mine();
    SECTION("a client without a monitor names it, and the network refuses it") {
        REQUIRE(w.open(satoshi{0}));
        CHECK(w.payee.events.last(event_kind::error).problem.code == errc::bad_transaction);
        CHECK(w.server_record().stage == channel_stage::unbacked);
    }
    SECTION("a client with one") {
        REQUIRE(w.c->load(w.id));
        REQUIRE(w.open());
        CHECK(w.channel() != w.id);
        CHECK(w.pays(1'000));
    }
}

TEST_CASE("a reorganisation that undoes the double spend makes the channel what it was", "[monitor]") {
    unmined w;
    w.hang_up();
    const bytes other = w.double_spend();
    w.submit(other);
    w.mine(3);
    w.tick();
    for (int i = 0; i < 3; ++i) REQUIRE(w.chain.disconnect_tip());
    w.chain.forget(parse_transaction(other)->id());
    w.mine_empty(4);
    w.tick();
    CHECK(w.chain.in_mempool(w.id));  // offered again
    CHECK(w.server_side->next_expiry() == w.expiry);
    CHECK(w.client_side->next_expiry() == w.expiry);
    SECTION("it is settled") {
        w.mine();
        w.clock.set(w.expiry + -w.server_settings.settle_margin);
        w.tick();
        CHECK(w.payee_told.last(event_kind::settled).total == satoshi{50'000});
        w.mine();
        CHECK(w.payee_told.count(event_kind::confirmed) == 1);
    }
    SECTION("the client is refunded") {
        w.mine();
        w.pass_expiry();
        w.client_side->tick(w.clock.now());
        CHECK(w.payer_told.names() == "double_spent refunding");
        CHECK(w.chain.spender_in_mempool({w.id, 0}));
    }
    SECTION("it is double-spent again") {
        w.submit(other);
        w.mine();
        CHECK(w.payee_told.names() == "double_spent double_spent");
    }
    SECTION("when it is over, it is buried like any other") {
        w.mine();
        REQUIRE(w.server_side->settle(w.id));
        w.mine(100);
        w.tick();
        CHECK(w.payee_told.count(event_kind::buried) == 1);
    }
}

TEST_CASE("after such a reorganisation a client that goes on is served", "[monitor]") {
    unmined w;
    w.hang_up();
    w.client_side.reset();  // a monitor would have had it open another channel
    const bytes other = w.double_spend();
    w.submit(other);
    w.mine();
    REQUIRE(w.server_record().stage == channel_stage::unbacked);
    REQUIRE(w.chain.disconnect_tip());
    w.chain.forget(parse_transaction(other)->id());
    w.mine_empty(2);
    w.tick();
    REQUIRE(w.open(satoshi{0}));
    CHECK(w.channel() == w.id);
    CHECK(w.s->phase() == server_phase::open);
    CHECK(w.pays(5'000));
    CHECK(w.server_record().paid() == satoshi{55'000});
}

TEST_CASE("what a contract spends is watched again when a reorganisation takes the contract's block", "[monitor]") {
    unmined w;
    w.hang_up();
    const bytes other = w.double_spend();
    SECTION("unspent") { w.mine(); }
    SECTION("unspent, and the store fails for a moment") {
        w.mine();
        w.payee.plan = {call::store_get, fault::fails, 0, false};
        w.payer.plan = {call::store_get, fault::fails, 0, false};
    }
    SECTION("settled in the same block") {
        REQUIRE(w.server_side->settle(w.id));
        w.catch_up();
        w.mine();
        REQUIRE(w.payee_told.count(event_kind::confirmed) == 1);
    }
    REQUIRE(w.chain.disconnect_tip());
    w.catch_up();
    w.tick();
    w.submit(other);
    w.mine();
    CHECK(w.payee_told.count(event_kind::double_spent) == 1);
    CHECK(w.payer_told.count(event_kind::double_spent) == 1);
}

TEST_CASE("a contract in a block is not double-spent by itself, nor by another with its coins that never comes",
          "[monitor]") {
    unmined w;
    w.hang_up();
    w.mine();
    w.mine(2);
    w.tick();
    CHECK(w.payee_told.heard.empty());
    CHECK(w.payer_told.heard.empty());
}

TEST_CASE("of two contracts with the same coins the one that is not mined is double-spent", "[monitor]") {
    unmined w;
    w.hang_up();
    const txid first = w.id;
    w.chain.forget(first);
    bytes memory(10'000);
    while (w.payer.purse.fund(p2pkh_script({}).view(), satoshi{1'000}, {}, memory)) {
    }
    w.payer.purse.release(w.contract);
    w.make_client();
    REQUIRE(w.open(satoshi{2'000'000}));
    const txid second = w.channel();
    REQUIRE(second != first);
    w.hang_up();
    w.server_side->add(second);
    w.client_side->add(second);
    w.mine();
    for (const event_log* told : {&w.payee_told, &w.payer_told}) {
        CHECK(told->names() == "double_spent");
        CHECK(told->last(event_kind::double_spent).channel == first);
        CHECK(told->last(event_kind::double_spent).closing == second);
    }
}

TEST_CASE("a settlement of a double-spent contract is not broadcast any more, and goes with it", "[monitor]") {
    unmined w;
    w.hang_up();
    REQUIRE(w.server_side->settle(w.id));
    w.catch_up();
    w.submit(w.double_spend());
    w.mine();
    w.tick();
    w.mine_empty();
    w.server_side->tick(w.clock.now());
    CHECK(w.payee_view.deliver(*w.server_side) == 0);
    CHECK(w.payee_told.names() == "settled double_spent");
    CHECK(w.server_record().stage == channel_stage::settling);
    w.mine_empty(98);
    w.tick();
    CHECK(w.payee_told.names() == "settled double_spent buried");
}

TEST_CASE("a monitor that starts again learns of the double spend from the blocks", "[monitor]") {
    unmined w;
    w.hang_up();
    w.submit(w.double_spend());
    w.mine();
    w.start();
    CHECK(w.payee_told.names() == "double_spent double_spent");
    w.pass_expiry();
    w.server_side->tick(w.clock.now());
    w.client_side->tick(w.clock.now());
    CHECK(w.payee_view.deliver(*w.server_side) == 0);
    CHECK(w.payer_view.deliver(*w.client_side) == 0);
}

TEST_CASE("a contract that is mined under another txid is said to be, and the client's record is kept", "[monitor]") {
    unmined w;
    w.hang_up();
    const auto out = parse_transaction(w.contract)->output(0).value();
    SECTION("with another value it is not the contract") {
        w.submit(w.double_spend(out.script_pubkey, satoshi{out.value.value + 1}));
        w.mine(100);
        w.tick();
        CHECK(w.payer_told.names() == "double_spent buried");
        return;
    }
    w.submit(w.double_spend(out.script_pubkey, out.value));
    w.mine(100);
    w.tick();
    CHECK(w.payer_told.names() == "double_spent");
    CHECK(w.payer_told.last(event_kind::double_spent).problem.text ==
          "the contract is in a block under another txid: its refund and its payments do not fit it");
    CHECK(w.client_record().key != key_id{});
    CHECK(w.client_side->size() == 1);
}

TEST_CASE("a contract that never opened is watched when the network took it or another process opened it, else not",
          "[monitor]") {
    world w(each_version());
    w.chain.mine(1, p2pkh_script({}).view());
    w.payee.follower.set_node(chain_follower::node::down);
    REQUIRE(w.open());
    const txid id = w.channel();
    const bytes contract = stored_bytes(w.payer.disk, record_kind::client_contract, id);
    w.reconnect();
    event_log told;
    chain_follower view(w.chain);
    faulty_broadcaster<chain_follower> network{w.payee.plan, view};
    logging_payees_monitor monitor(both_versions{}, w.payee.store, w.payee.keys, w.payee.wallet, network, told,
                                   w.server_settings);
    REQUIRE(monitor.load());
    view.deliver(monitor);
    const bool accepted = GENERATE(true, false);
    const bool opened = GENERATE(true, false);
    if (!accepted) view.refuse_next("bad-txns-inputs-missingorspent");
    monitor.tick(w.clock.now());
    view.deliver(monitor);
    if (opened) {
        auto record = load_record(w.payee.disk, record_kind::server_channel, id).value();
        record.stage = channel_stage::open;
        ++record.version;
        REQUIRE(w.payee.disk.put({record_kind::server_channel, id}, record.version, write_record(record).view()));
        REQUIRE(monitor.refresh());
    }
    bytes memory(10'000);
    while (w.payer.purse.fund(p2pkh_script({}).view(), satoshi{1'000}, {}, memory)) {
    }
    w.payer.purse.release(contract);
    const auto other = w.payer.purse.fund(p2pkh_script({}).view(), satoshi{5'000'000}, {}, memory);
    w.chain.forget(id);
    REQUIRE(w.chain.submit(*other).accepted);
    w.chain.mine(1, p2pkh_script({}).view());
    view.deliver(monitor);
    CHECK(told.count(event_kind::double_spent) == (accepted || opened ? 1U : 0U));
}

// ---- Writes that fail

TEST_CASE("a disk that does not take the word on a double spend is asked again with each tick", "[monitor]") {
    unmined w;
    w.hang_up();
    w.tick();
    REQUIRE(w.server_side->is_backed(w.id));
    w.submit(w.double_spend());
    w.payee.plan = {call::store_put, fault::fails, 0, false};
    w.payer.plan = {call::store_put, fault::fails, 0, false};
    w.mine();
    REQUIRE(w.payee.plan.hit);
    REQUIRE(w.payer.plan.hit);
    CHECK(w.payee_told.names() == "error double_spent");
    CHECK(w.server_record().stage == channel_stage::open);
    CHECK_FALSE(w.server_side->is_backed(w.id));  // whoever resumes it meanwhile has to ask the network
    CHECK(w.server_side->may_take(w.id, satoshi{60'000}).error().code == errc::other);
    SECTION("and takes it") {
        w.tick();
        CHECK(w.server_record().stage == channel_stage::unbacked);
        CHECK(w.client_record().stage == channel_stage::settling);
        const auto version = w.server_record().version;
        w.tick();
        CHECK(w.server_record().version == version);
    }
    SECTION("but not when the block is gone") {
        REQUIRE(w.chain.disconnect_tip());
        w.catch_up();
        w.server_side->tick(w.clock.now());
        w.client_side->tick(w.clock.now());
        CHECK(w.server_record().stage == channel_stage::open);
        CHECK(w.client_record().stage == channel_stage::open);
    }
    CHECK(w.payee_told.count(event_kind::error) == 1);
}

TEST_CASE("a contract that was replaced in the mempool stops payments within a minute, without a block", "[monitor]") {
    unmined w;
    w.reconnect();
    w.tick();
    const auto stage = [&] { return load_record(w.payee.disk, record_kind::server_channel, w.id)->stage; };
    w.payee_view.refuse_next("txn-mempool-conflict");
    w.tick();
    CHECK(stage() == channel_stage::open);  // it was asked just now
    w.clock.advance(60);
    w.tick();
    CHECK(stage() == channel_stage::unbacked);
}

TEST_CASE("a disk that does not take the word on a refused contract is asked again with each tick", "[monitor]") {
    unmined w;
    w.hang_up();
    const auto refuse = [&] { w.server_side->on_chain(broadcast_answer{w.id, broadcast_outcome::refused, "no"}); };
    w.payee.plan = {call::store_put, fault::fails, 0, false};
    refuse();
    REQUIRE(w.payee.plan.hit);
    CHECK(w.payee_told.names() == "error");
    REQUIRE(w.server_record().stage == channel_stage::open);
    SECTION("and takes it") {
        w.server_side->tick(w.clock.now());
        CHECK(w.server_record().stage == channel_stage::unbacked);
        // Once: to another process the network says something else by now.
        channel_record record = w.server_record();
        record.stage = channel_stage::open;
        ++record.version;
        REQUIRE(w.payee.disk.put({record_kind::server_channel, w.id}, record.version, write_record(record).view()));
        w.server_side->tick(w.clock.now());
        CHECK(w.server_record().stage == channel_stage::open);
    }
    SECTION("and has taken it before a payment of a connection that resumed it") {
        REQUIRE(w.open(satoshi{0}));
        REQUIRE(w.s->phase() == server_phase::open);
        w.server_side->tick(w.clock.now());
        outcome o;
        REQUIRE(w.c->pay(satoshi{1'000}, o.callback()));
        (void)pump(w.pipe, *w.c, *w.s);
        CHECK_FALSE(o.told);
        CHECK(w.server_record().paid() == satoshi{50'000});
    }
    SECTION("but not when the network takes the contract after all, or it is in a block") {
        if (GENERATE(true, false))
            w.server_side->on_chain(broadcast_answer{w.id, broadcast_outcome::accepted, ""});
        else
            w.mine();
        w.server_side->tick(w.clock.now());
        CHECK(w.server_record().stage == channel_stage::open);
    }
    CHECK(w.payee_told.count(event_kind::error) == 1);
}
