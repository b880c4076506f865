// A process that starts reads all blocks again; what its disk has is damaged, or cannot be read.
#include <catch2/catch.hpp>

#include "monitor/support.hpp"

using namespace paychan;
using namespace paychan_test;

TEST_CASE("a monitor that starts again learns from the blocks what ended its channels", "[monitor]") {
    left_alone w;
    w.settle_and_mine();
    w.mine(5);
    w.start();  // a rescan tells the same again
    CHECK(w.payee_told.count(event_kind::confirmed) == 2);
    w.tick();
    CHECK(w.chain.mempool_size() == 0);
    w.mine(94);
    w.start();
    w.tick();
    CHECK(w.payee_told.count(event_kind::buried) == 1);
    CHECK(w.payer_told.count(event_kind::buried) == 1);
}

TEST_CASE("a settlement that was broadcast before a restart is broadcast after it", "[monitor]") {
    left_alone w;
    w.payee_view.set_node(chain_follower::node::down);
    REQUIRE(w.server_side->settle(w.id));
    w.start();
    CHECK(w.in_mempool() == "nothing");
    w.tick();
    CHECK(w.in_mempool() == "settlement");
}

TEST_CASE("a monitor does not bury by a height that is on disk only", "[monitor]") {
    // The chain that the record speaks of may be gone.
    left_alone w;
    w.settle_and_mine();
    const txid closing = w.server_record().closing;
    REQUIRE(w.chain.disconnect_tip());
    w.chain.forget(closing);
    w.mine(200);
    w.start();
    w.tick();
    CHECK(w.payee_told.count(event_kind::buried) == 0);
    CHECK(w.in_mempool() == "settlement");
}

TEST_CASE("a damaged record is reported, and the others load", "[monitor]") {
    left_alone w;
    const txid broken{sha256(as_bytes("broken"))};
    const txid newer{sha256(as_bytes("newer"))};
    for (auto* disk : {&w.payee.disk, &w.payer.disk}) {
        const auto kind = disk == &w.payee.disk ? record_kind::server_channel : record_kind::client_channel;
        bytes record = stored_bytes(*disk, kind, w.id);
        record[40] ^= 1;
        REQUIRE(disk->put({kind, broken}, 1, record));
        record[0] = record_format + 1;
        REQUIRE(disk->put({kind, newer}, 1, record));
    }
    w.start();
    CHECK(w.server_side->size() == 1);
    CHECK(w.client_side->size() == 1);
    for (const event_log* log : std::initializer_list<const event_log*>{&w.payee_told, &w.payer_told}) {
        REQUIRE(log->heard.size() == 2);
        for (const heard_event& e : log->heard) {
            CHECK(e.kind == event_kind::error);
            CHECK(e.problem.code == (e.channel == broken ? errc::corrupt_record : errc::unknown_format));
            CHECK((e.channel == broken || e.channel == newer));
        }
    }
    // And the good one is still brought home.
    w.set_time(w.expiry + -w.server_settings.settle_margin);
    w.tick();
    CHECK(w.in_mempool() == "settlement");
    CHECK(stored_channels(w.payee.disk, record_kind::server_channel).size() == 3);
}

TEST_CASE("a store that cannot list is an error, not an empty monitor", "[monitor]") {
    left_alone w;
    w.payee.plan = {call::store_list, fault::fails, 0, false};
    payees_monitor monitor(both_versions{}, w.payee.store, w.payee.keys, w.payee.wallet, w.payee_network, w.payee_told);
    const auto loaded = monitor.load();
    REQUIRE_FALSE(loaded);
    CHECK(loaded.error().code == errc::store_failed);
}
