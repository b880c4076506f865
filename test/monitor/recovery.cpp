// What the simulation found in the books: a disk that fails for a moment must not make them forget a channel.
#include <catch2/catch.hpp>

#include "support/versions.hpp"
#include "support/world.hpp"

using namespace paychan;
using namespace paychan_test;

namespace {

using logging_payees_monitor = server_monitor<both_versions, faulty_store, faulty_keys, faulty_wallet,
                                              faulty_broadcaster<chain_follower>, event_log>;

/// An opened channel and a server's monitor that has not read it yet.
struct unread_channel : world {
    event_log told;
    chain_follower view{chain};
    faulty_broadcaster<chain_follower> network{payee.plan, view};
    logging_payees_monitor monitor{both_versions{}, payee.store, payee.keys,     payee.wallet,
                                   network,         told,        server_settings};
    txid id;

    unread_channel() : world(each_version()) {
        REQUIRE(open());
        REQUIRE(pays(49'000));
        id = channel();
        reconnect();
    }
    void catch_up() {
        while (view.deliver(monitor) > 0) {
        }
    }
    void fail_next_read() { payee.plan = {call::store_get, fault::fails, 0}; }
    [[nodiscard]] bool is_settled() const { return chain.spender_in_mempool({id, 0}).has_value(); }
};

}  // namespace

TEST_CASE("a channel that could not be read when it began is settled in time all the same", "[monitor]") {
    unread_channel w;
    w.fail_next_read();
    w.monitor.add(w.id);
    REQUIRE(w.told.names() == "error");
    w.chain.mine(1, p2pkh_script({}).view());
    w.catch_up();
    w.monitor.tick(w.clock.now());
    CHECK_FALSE(w.is_settled());
    const auto record = load_record(w.payee.disk, record_kind::server_channel, w.id);
    REQUIRE(record);
    w.clock.set(record->terms.expiry + -w.server_settings.settle_margin);
    w.monitor.tick(w.clock.now());
    w.catch_up();
    CHECK(w.is_settled());
}

TEST_CASE("a record that is damaged while it is watched is told now and then, and not with each tick", "[monitor]") {
    unread_channel w;
    w.chain.mine(1, p2pkh_script({}).view());
    w.catch_up();
    w.monitor.add(w.id);
    w.fail_next_read();
    w.monitor.add(w.id);
    REQUIRE(w.told.names() == "error");
    bytes record = stored_bytes(w.payee.disk, record_kind::server_channel, w.id);
    record[40] ^= 1;
    REQUIRE(w.payee.disk.put({record_kind::server_channel, w.id}, 100, record));
    const auto tick = [&](int times) {
        for (int i = 0; i < times; ++i) w.monitor.tick(w.clock.now());
    };
    tick(10);
    CHECK(w.told.names() == "error error");
    CHECK(w.told.last(event_kind::error).problem.code == errc::corrupt_record);
    w.chain.mine(monitor_settings{}.reminder, p2pkh_script({}).view());
    w.catch_up();
    tick(10);
    CHECK(w.told.names() == "error error error");
    CHECK(w.monitor.size() == 1);
}

TEST_CASE("a block that comes while a channel cannot be read still counts for it", "[monitor]") {
    unread_channel w;
    // As after a crash between the broadcast and its outcome: the contract may be anywhere.
    auto record = load_record(w.payee.disk, record_kind::server_channel, w.id).value();
    record.stage = channel_stage::contract_stored;
    ++record.version;
    REQUIRE(w.payee.disk.put({record_kind::server_channel, w.id}, record.version, write_record(record).view()));
    w.fail_next_read();
    w.monitor.add(w.id);
    w.chain.mine(1, p2pkh_script({}).view());
    w.catch_up();
    w.clock.set(record.terms.expiry + -w.server_settings.settle_margin);
    w.monitor.tick(w.clock.now());
    w.catch_up();
    CHECK(w.is_settled());
}

TEST_CASE("a channel that was refused here and opened by another process is not forgotten", "[monitor]") {
    unread_channel w;
    auto record = load_record(w.payee.disk, record_kind::server_channel, w.id).value();
    const auto write = [&](channel_stage stage) {
        record.stage = stage;
        ++record.version;
        REQUIRE(w.payee.disk.put({record_kind::server_channel, w.id}, record.version, write_record(record).view()));
    };
    write(channel_stage::contract_stored);
    w.chain.forget(w.id);
    w.catch_up();
    w.monitor.add(w.id);
    w.monitor.on_chain(broadcast_answer{w.id, broadcast_outcome::refused, "no"});
    write(channel_stage::open);  // by the other process
    w.chain.mine(10, p2pkh_script({}).view(), memory_chain::contents::nothing);
    w.catch_up();
    w.monitor.tick(w.clock.now());
    CHECK(load_record(w.payee.disk, record_kind::server_channel, w.id));
    CHECK(w.told.count(event_kind::buried) == 0);
}

TEST_CASE("whoever resumes a channel that waits for its contract has the monitor watch it", "[server]") {
    world w(each_version());
    // The write at the opening is done and reported as failed: this process never heard `stored`.
    w.payee.plan = {call::store_put, fault::fails_after, 0};
    (void)w.open();
    REQUIRE(w.payee.events.count(event_kind::stored) == 0);
    REQUIRE(load_record(w.payee.disk, record_kind::server_channel, w.channel()));
    w.reconnect();
    REQUIRE(w.open());
    CHECK(w.payee.events.count(event_kind::stored) == 1);
    CHECK(w.payee.events.count(event_kind::opened) == 1);
}
