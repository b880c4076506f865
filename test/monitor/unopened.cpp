// Contracts that never opened a channel: strangers may store many, and a server's monitor keeps few.
#include <catch2/catch.hpp>

#include "support/versions.hpp"
#include "support/world.hpp"

using namespace paychan;
using namespace paychan_test;

namespace {

struct told_events : event_log {
    std::vector<txid> attached;
    [[nodiscard]] bool is_attached(const txid& id) const { return std::ranges::find(attached, id) != attached.end(); }
};

using told_payees_monitor = server_monitor<both_versions, faulty_store, faulty_keys, faulty_wallet,
                                           faulty_broadcaster<chain_follower>, told_events>;

/// A server whose node is away while clients provide contracts.
struct unopened : world {
    told_events told;
    chain_follower view{chain};
    faulty_broadcaster<chain_follower> network{payee.plan, view};
    told_payees_monitor monitor;

    explicit unopened(std::size_t max_unopened)
        : world(each_version()),
          monitor(both_versions{}, payee.store, payee.keys, payee.wallet, network, told, server_settings,
                  monitor_settings{.max_unopened = max_unopened}) {
        payee.follower.set_node(chain_follower::node::down);
        payee.events.then = [this](const event& e) { monitor.on_event(e); };
        mine();
    }

    /// Another client, whose connection is gone by the end.
    txid store_one() {
        make_client();
        REQUIRE(open());
        const txid id = channel();
        reconnect();
        REQUIRE(stage_of(id) == channel_stage::contract_stored);
        return id;
    }
    /// A block with nothing in it, and what the monitor makes of it.
    void mine(int blocks = 1) {
        for (int i = 0; i < blocks; ++i) {
            chain.mine(1, p2pkh_script({}).view(), memory_chain::contents::nothing);
            follow();
        }
    }
    void follow() {
        catch_up();
        monitor.tick(clock.now());
        catch_up();
    }
    /// What is opening gets a minute.
    void follow_later() {
        clock.advance(monitor_settings{}.opening);
        follow();
    }
    void catch_up() {
        while (view.deliver(monitor) > 0) {
        }
    }
    void refuse(const txid& id) {
        monitor.on_chain(broadcast_answer{id, broadcast_outcome::refused, "bad-txns-inputs-missingorspent"});
    }
    [[nodiscard]] bool is_stored(const txid& id) {
        const bool has_contract = !stored_bytes(payee.disk, record_kind::server_contract, id).empty();
        CHECK(has_contract == (stage_of(id) != channel_stage::none));
        return has_contract;
    }
    [[nodiscard]] channel_stage stage_of(const txid& id) {
        const auto record = load_record(payee.disk, record_kind::server_channel, id);
        return record ? record->stage : channel_stage::none;
    }
    /// By another process with the same store.
    void put_stage(const txid& id, channel_stage stage) {
        auto record = load_record(payee.disk, record_kind::server_channel, id).value();
        record.stage = stage;
        ++record.version;
        REQUIRE(payee.disk.put({record_kind::server_channel, id}, record.version, write_record(record).view()));
    }
};

}  // namespace

TEST_CASE("more contracts than a server's monitor keeps are forgotten after a minute, although the node is away",
          "[monitor]") {
    unopened w(2);
    w.view.set_node(chain_follower::node::down);
    std::vector<txid> ids;
    for (int i = 0; i < 4; ++i) ids.push_back(w.store_one());
    CHECK(w.monitor.size() == 4);
    w.follow();
    CHECK(w.monitor.size() == 4);  // they may be opening
    w.follow_later();              // no block came, and nothing was refused
    CHECK(w.monitor.size() == 2);
    CHECK(w.told.names() == "buried buried");
    CHECK(std::ranges::count_if(ids, [&](const txid& id) { return w.is_stored(id); }) == 2);
    w.follow();
    CHECK(w.monitor.size() == 2);
}

TEST_CASE("of too many contracts those that the network refused are forgotten first", "[monitor]") {
    unopened w(2);
    w.view.set_node(chain_follower::node::down);
    std::vector<txid> ids;
    for (int i = 0; i < 3; ++i) ids.push_back(w.store_one());
    std::ranges::sort(ids);
    const auto refused = ids[GENERATE(0U, 1U, 2U)];
    w.refuse(refused);
    w.follow_later();
    CHECK(w.monitor.size() == 2);
    for (const txid& id : ids) CHECK(w.is_stored(id) == (id != refused));
}

TEST_CASE("a contract that the network has taken does not count as one too many, nor is it forgotten", "[monitor]") {
    unopened w(1);
    const txid taken = w.store_one();
    w.mine();  // it is offered
    REQUIRE(w.chain.in_mempool(taken));
    w.view.set_node(chain_follower::node::down);
    const txid other = w.store_one();
    w.follow_later();
    CHECK(w.is_stored(taken));
    CHECK(w.is_stored(other));
    const txid third = w.store_one();
    w.follow_later();
    CHECK(w.is_stored(taken));
    CHECK(w.monitor.size() == 2);
    CHECK(w.is_stored(other) != w.is_stored(third));
}

TEST_CASE("one too many that a connection holds, that another process opened, or that is in a block, is kept",
          "[monitor]") {
    unopened w(0);
    w.view.set_node(chain_follower::node::down);
    const txid id = w.store_one();
    SECTION("a connection holds it") {
        w.told.attached.push_back(id);
        w.follow_later();
        CHECK(w.is_stored(id));
        w.told.attached.clear();
        w.follow_later();
        CHECK_FALSE(w.is_stored(id));
    }
    SECTION("another process opened it, or the network refused it after that") {
        const auto stage = GENERATE(channel_stage::open, channel_stage::unbacked);
        w.put_stage(id, stage);
        w.follow_later();
        CHECK(w.stage_of(id) == stage);
        CHECK(w.is_stored(id));
        CHECK(w.told.names().empty());
    }
    SECTION("it is in a block") {
        REQUIRE(w.chain.submit(stored_bytes(w.payee.disk, record_kind::server_contract, id)).accepted);
        w.chain.mine(1, p2pkh_script({}).view());
        w.view.set_node(chain_follower::node::up);
        w.follow_later();
        CHECK(w.is_stored(id));
    }
    SECTION("an erasure that fails is done again") {
        w.payee.plan = {call::store_erase, fault::fails, GENERATE(0, 1, 2), false};
        w.follow_later();
        CHECK(w.payee.plan.hit);
        CHECK(w.monitor.size() == 1);
        w.follow();
        CHECK(w.monitor.size() == 0);
        CHECK_FALSE(w.is_stored(id));
    }
}

TEST_CASE("a process that starts asks the network before it forgets", "[monitor]") {
    unopened w(10);
    w.view.set_node(chain_follower::node::down);
    std::vector<txid> ids;
    for (int i = 0; i < 3; ++i) {
        ids.push_back(w.store_one());
        REQUIRE(w.chain.submit(stored_bytes(w.payee.disk, record_kind::server_contract, ids.back())).accepted);
    }
    told_events told;
    chain_follower view(w.chain);
    faulty_broadcaster<chain_follower> network{w.payee.plan, view};
    told_payees_monitor monitor(both_versions{}, w.payee.store, w.payee.keys, w.payee.wallet, network, told,
                                w.server_settings, monitor_settings{.max_unopened = 1});
    REQUIRE(monitor.load());
    view.deliver(monitor);
    for (int i = 0; i < 3; ++i) {
        w.clock.advance(monitor_settings{}.opening);
        monitor.tick(w.clock.now());
        view.deliver(monitor);
    }
    for (const txid& id : ids) CHECK(w.is_stored(id));
    CHECK(told.names().empty());
}

TEST_CASE("a channel that was refused here, and opened and then refused elsewhere, is not forgotten", "[monitor]") {
    unopened w(10);
    w.view.set_node(chain_follower::node::down);
    const txid id = w.store_one();
    w.refuse(id);
    w.put_stage(id, channel_stage::unbacked);  // payments were acked before that
    w.view.set_node(chain_follower::node::up);
    w.view.refuse_next("bad-txns-inputs-missingorspent");
    w.mine(10);
    CHECK(w.is_stored(id));
}

TEST_CASE("a contract that a process finds in its store is offered to the network once more", "[monitor]") {
    unopened w(10);
    w.view.set_node(chain_follower::node::down);
    const txid id = w.store_one();
    told_events told;
    chain_follower view(w.chain);
    faulty_broadcaster<chain_follower> network{w.payee.plan, view};
    told_payees_monitor monitor(both_versions{}, w.payee.store, w.payee.keys, w.payee.wallet, network, told,
                                w.server_settings);
    REQUIRE(monitor.load());
    const auto pass = [&](int blocks) {
        for (int i = 0; i < blocks; ++i) {
            w.chain.mine(1, p2pkh_script({}).view(), memory_chain::contents::nothing);
            while (view.deliver(monitor) > 0) {
            }
            monitor.tick(w.clock.now());
            while (view.deliver(monitor) > 0) {
            }
        }
    };
    SECTION("refused: it is forgotten six blocks later") {
        view.refuse_next("bad-txns-inputs-missingorspent");
        pass(6);
        CHECK_FALSE(w.chain.in_mempool(id));
        CHECK(w.is_stored(id));
        pass(1);
        CHECK_FALSE(w.is_stored(id));
        CHECK(told.names() == "buried");
    }
    SECTION("accepted: it stays, is not offered again, and opens when the client resumes") {
        pass(1);
        CHECK(w.chain.in_mempool(id));
        w.chain.forget(id);
        pass(10);
        CHECK_FALSE(w.chain.in_mempool(id));
        CHECK(w.is_stored(id));
        w.payee.follower.set_node(chain_follower::node::up);
        REQUIRE(w.open(satoshi{0}));
        CHECK(w.channel() == id);
        CHECK(w.s->phase() == server_phase::open);
        CHECK(w.pays(10'000));
    }
    SECTION("the node is away: it is offered with the next block") {
        pass(1);
        w.chain.forget(id);  // as if nothing had been asked
        view = chain_follower(w.chain, w.chain.height() + 1);
        told_payees_monitor later(both_versions{}, w.payee.store, w.payee.keys, w.payee.wallet, network, told,
                                  w.server_settings);
        REQUIRE(later.load());
        view.set_node(chain_follower::node::down);
        later.tick(w.clock.now());
        view.deliver(later);
        later.tick(w.clock.now());
        CHECK(view.deliver(later) == 0);  // not with each tick
        view.set_node(chain_follower::node::up);
        w.chain.mine(1, p2pkh_script({}).view());
        view.deliver(later);
        later.tick(w.clock.now());
        CHECK(w.chain.in_mempool(id));
    }
}

TEST_CASE("unopened channels that another process has deleted leave the monitor", "[monitor][shared]") {
    unopened w(10);
    w.view.set_node(chain_follower::node::down);
    const txid id = w.store_one();
    REQUIRE(w.payee.disk.erase({record_kind::server_channel, id}));
    REQUIRE(w.monitor.refresh());
    CHECK(w.monitor.size() == 0);
    CHECK(w.told.names() == "buried");
}

TEST_CASE("a contract is refused whose channel another process has deleted: it leaves the monitor",
          "[monitor][shared]") {
    unopened w(10);
    w.view.set_node(chain_follower::node::down);
    const txid id = w.store_one();
    w.put_stage(id, channel_stage::open);
    REQUIRE(w.monitor.refresh());
    REQUIRE(w.payee.disk.erase({record_kind::server_channel, id}));
    w.refuse(id);
    CHECK(w.monitor.size() == 0);
    w.follow();
    CHECK(w.told.names() == "buried");
}

TEST_CASE("a client's monitor keeps every contract, however many", "[monitor]") {
    unopened w(10);
    for (int i = 0; i < 3; ++i) w.store_one();
    event_log told;
    chain_follower view(w.chain);
    client_monitor monitor(both_versions{}, w.payer.store, w.payer.keys, view, told,
                           monitor_settings{.max_unopened = 1});
    REQUIRE(monitor.load());
    view.deliver(monitor);
    monitor.tick(w.clock.now());
    CHECK(monitor.size() == 3);
    CHECK(stored_channels(w.payer.disk, record_kind::client_channel).size() == 3);
}
