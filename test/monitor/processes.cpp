// One store and several processes with monitors.
#include <catch2/catch.hpp>

#include "monitor/support.hpp"

using namespace paychan;
using namespace paychan_test;

namespace {

/// Another process with a server's monitor over the same store.
struct second_process {
    chain_follower view;
    faulty_broadcaster<chain_follower> network;
    hooked_events told;
    payees_monitor monitor;

    explicit second_process(left_alone& w)
        : view(w.chain),
          network{w.payee.plan, view},
          monitor(both_versions{}, w.payee.store, w.payee.keys, w.payee.wallet, network, told, w.server_settings) {}

    void tick(left_alone& w) {
        while (view.deliver(monitor) > 0) {
        }
        monitor.tick(w.clock.now());
        while (view.deliver(monitor) > 0) {
        }
    }
};

}  // namespace

TEST_CASE("a channel that another process has stored since is found, and settled when it is due", "[monitor][shared]") {
    left_alone w;
    second_process other(w);
    CHECK(other.monitor.size() == 0);
    REQUIRE(other.monitor.refresh());
    CHECK(other.monitor.size() == 1);
    CHECK(other.monitor.unended() == 1);
    CHECK(other.monitor.next_expiry() == w.expiry);
    REQUIRE(other.monitor.refresh());
    CHECK(other.monitor.size() == 1);
    w.set_time(w.expiry + -w.server_settings.settle_margin);
    other.tick(w);
    CHECK(w.in_mempool() == "settlement");
    w.mine();
    other.tick(w);
    CHECK(other.monitor.unended() == 0);
    CHECK(other.told.names() == "settled confirmed");
}

TEST_CASE("two processes with one store settle a channel once, and both see its end", "[monitor][shared]") {
    left_alone w;
    second_process other(w);
    REQUIRE(other.monitor.refresh());
    other.tick(w);
    w.set_time(w.expiry + -w.server_settings.settle_margin);
    w.tick();
    const channel_record settled = w.server_record();
    other.tick(w);
    CHECK(w.server_record().version == settled.version);
    CHECK(w.in_mempool() == "settlement");
    w.mine();
    w.tick();
    other.tick(w);
    CHECK(w.server_record().version == settled.version + 1);  // the block
    CHECK(w.payee_told.names() == "settled confirmed");
    CHECK(other.told.names() == "settled confirmed");
}

TEST_CASE("a channel that another process has opened since is not deleted as one that never began",
          "[monitor][shared]") {
    left_alone w(false);
    const auto put_stage = [&](channel_stage stage) {
        channel_record r = w.server_record();
        r.stage = stage;
        ++r.version;
        const auto encoded = write_record(r);
        REQUIRE(w.payee.disk.put({record_kind::server_channel, w.id}, r.version, encoded.view()));
    };
    put_stage(channel_stage::contract_stored);
    w.start();
    put_stage(channel_stage::open);
    w.set_time(w.expiry + (monitor_settings{}.stillborn_age + 1));
    w.chain.mine(12, p2pkh_script({}).view(), memory_chain::contents::nothing);
    w.catch_up();
    w.server_side->tick(w.clock.now());
    CHECK(load_record(w.payee.disk, record_kind::server_channel, w.id));
}

TEST_CASE("a channel that another process has opened since is settled, its contract in a block or not",
          "[monitor][shared]") {
    left_alone w(false);
    w.chain.mine(1, p2pkh_script({}).view(), memory_chain::contents::nothing);
    channel_record r = w.server_record();
    r.stage = channel_stage::contract_stored;
    ++r.version;
    auto encoded = write_record(r);
    REQUIRE(w.payee.disk.put({record_kind::server_channel, w.id}, r.version, encoded.view()));
    w.start();
    r.stage = channel_stage::open;
    ++r.version;
    encoded = write_record(r);
    REQUIRE(w.payee.disk.put({record_kind::server_channel, w.id}, r.version, encoded.view()));
    REQUIRE(w.server_side->refresh());
    w.set_time(w.expiry + -w.server_settings.settle_margin);
    w.tick();
    CHECK(w.in_mempool() == "settlement");
}

TEST_CASE("an unbacked channel whose contract is in a block that was not shown is settled, and kept until then",
          "[monitor][shared]") {
    left_alone w;
    channel_record r = w.server_record();
    r.stage = channel_stage::unbacked;
    ++r.version;
    REQUIRE(w.payee.disk.put({record_kind::server_channel, w.id}, r.version, write_record(r).view()));
    second_process other(w);
    other.view = chain_follower(w.chain, w.chain.height() + 1);
    const auto block = [&] {
        w.chain.mine(1, p2pkh_script({}).view());
        other.tick(w);
    };
    REQUIRE(other.monitor.refresh());
    SECTION("in time") {
        block();
        w.set_time(w.expiry + -w.server_settings.settle_margin);
        other.tick(w);
        CHECK(w.in_mempool() == "settlement");
    }
    SECTION("while the node says nothing, it is not deleted") {
        other.view.set_node(chain_follower::node::down);
        w.set_time(w.expiry + (monitor_settings{}.stillborn_age + 1));
        w.mine(12);
        for (int i = 0; i < 3; ++i) other.monitor.on_chain(w.chain.block_at(w.chain.height() - 2 + i).value());
        other.monitor.tick(w.clock.now());
        CHECK(other.told.names().empty());
        CHECK(load_record(w.payee.disk, record_kind::server_channel, w.id));
    }
}

TEST_CASE("a settlement that was refused is offered again after ten minutes, also when no block is shown",
          "[monitor]") {
    left_alone w;
    w.tick();
    w.set_time(w.expiry + -w.server_settings.settle_margin);
    w.payee_view.refuse_next("bad-txns-inputs-missingorspent");
    w.tick();
    REQUIRE(w.in_mempool() == "nothing");
    const auto tick_later = [&](std::int64_t seconds) {
        w.clock.advance(seconds);
        w.server_side->tick(w.clock.now());
    };
    tick_later(monitor_settings{}.retry - 1);
    CHECK(w.in_mempool() == "nothing");
    tick_later(1);
    CHECK(w.in_mempool() == "settlement");
}

TEST_CASE("the end of a channel that the disk did not take is written when it does", "[monitor]") {
    left_alone w;
    REQUIRE(w.server_side->settle(w.id));
    const channel_stage before = GENERATE(channel_stage::settling, channel_stage::open);
    if (before == channel_stage::open) {  // as after a full disk
        channel_record r = w.server_record();
        r.stage = before;
        r.closing = {};
        ++r.version;
        REQUIRE(w.payee.disk.put({record_kind::server_channel, w.id}, r.version, write_record(r).view()));
    }
    w.mine();
    w.payee.plan = {call::store_put, fault::fails, 0, false};
    w.catch_up();
    REQUIRE(w.payee.plan.hit);
    CHECK(w.server_record().closing_height == 0);
    w.server_side->add(w.id);  // what is stored is older than what this process knows
    CHECK(w.server_side->unended() == 0);
    w.server_side->tick(w.clock.now());
    CHECK(w.server_record().closing_height == w.chain.height());
    CHECK(w.server_record().stage == channel_stage::settling);
    CHECK(w.payee_told.count(event_kind::confirmed) == 1);
}

namespace {
/// A store from which another process deletes after some reads.
struct vanishing_store {
    memory_store& disk;
    int reads_left = -1;
    result<void> put(const record_id& id, std::uint64_t v, bytes_view b) { return disk.put(id, v, b); }
    result<stored_record> get(const record_id& id, bytes_span memory) {
        if (reads_left == 0) return fail(errc::not_found, "deleted by another process");
        if (reads_left > 0) --reads_left;
        return disk.get(id, memory);
    }
    result<void> erase(const record_id& id) { return disk.erase(id); }
    template <class F>
    result<void> list(record_kind kind, F&& f) {
        return disk.list(kind, f);
    }
};
}  // namespace

TEST_CASE("a channel that vanishes while it is being settled is not found", "[monitor][shared]") {
    left_alone w;
    vanishing_store store{w.payee.disk, 1};
    server_monitor monitor(both_versions{}, store, w.payee.keys, w.payee.wallet, w.payee_network, w.payee_told,
                           w.server_settings);
    const auto settled = monitor.settle(w.id);
    REQUIRE_FALSE(settled);
    CHECK(settled.error().code == errc::not_found);
}

TEST_CASE("a record that could not be read, and was then deleted by another process, leaves the monitor",
          "[monitor][shared]") {
    left_alone w;
    second_process other(w);
    w.payee.plan = {call::store_get, fault::fails, 0, false};
    other.monitor.add(w.id);
    CHECK(other.monitor.size() == 1);
    CHECK_FALSE(other.monitor.next_expiry());
    REQUIRE(w.payee.disk.erase({record_kind::server_channel, w.id}));
    other.tick(w);
    CHECK(other.monitor.size() == 0);
    CHECK(other.monitor.unended() == 0);
}

TEST_CASE("an end that the store knows is believed when its block is on the chain and cannot be shown", "[monitor]") {
    left_alone w;
    w.settle_and_mine();
    const std::int32_t end = w.chain.height();
    w.mine(3);
    const channel_record known = w.server_record();
    REQUIRE(known.closing_height == end);
    second_process other(w);
    other.view = chain_follower(w.chain, w.chain.height() + 1);
    REQUIRE(other.monitor.load());
    const std::int32_t last = end - GENERATE(0, 1);  // the last one that is passed
    other.monitor.on_chain(passed_blocks{1, last});
    const bool believed = last == end;
    CHECK(other.monitor.unended() == (believed ? 0 : 1));
    if (!believed) return;
    other.tick(w);
    w.mine(3);
    other.tick(w);
    CHECK(w.server_record().version == known.version);  // nothing was built anew
    w.mine(burial_depth - 8);
    other.tick(w);
    CHECK(other.told.names().empty());
    w.mine();
    other.tick(w);
    CHECK(other.told.names() == "buried");
    CHECK_FALSE(load_record(w.payee.disk, record_kind::server_channel, w.id));
}
