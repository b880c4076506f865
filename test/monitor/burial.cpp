// A channel is forgotten when its end is buried, and not before.
#include <catch2/catch.hpp>

#include "monitor/support.hpp"

using namespace paychan;
using namespace paychan_test;

TEST_CASE("a channel's records are erased when its end is 100 blocks deep, and not before", "[monitor]") {
    left_alone w;
    w.settle_and_mine();
    w.mine(98);
    w.tick();
    const auto all = {
        std::pair{&w.payer.disk, record_kind::client_channel},
        std::pair{&w.payer.disk, record_kind::client_contract},
        std::pair{&w.payer.disk, record_kind::client_refund},
        std::pair{&w.payee.disk, record_kind::server_channel},
        std::pair{&w.payee.disk, record_kind::server_contract},
        std::pair{&w.payee.disk, record_kind::server_settlement},
    };
    CHECK(w.chain.confirmations(w.server_record().closing) == 99);
    for (const auto& [disk, kind] : all) CHECK(stored_channels(*disk, kind).size() == 1);
    CHECK(w.payee_told.count(event_kind::buried) == 0);
    w.mine();
    w.tick();
    for (const auto& [disk, kind] : all) CHECK(stored_channels(*disk, kind).empty());
    CHECK(w.payee_told.last(event_kind::buried).channel == w.id);
    CHECK(w.payer_told.last(event_kind::buried).channel == w.id);
    CHECK(w.server_side->size() == 0);
    CHECK(w.client_side->size() == 0);
    w.mine(3);
    w.tick();
    CHECK(w.payee_told.count(event_kind::buried) == 1);
}

TEST_CASE("a deletion that fails is done again, and the channel's record goes last", "[monitor]") {
    left_alone w;
    w.settle_and_mine();
    w.mine(98);
    w.tick();
    const int n = GENERATE(0, 1, 2);
    w.payee.plan = {call::store_erase, fault::fails, n, false};
    w.mine();
    w.tick();
    REQUIRE(w.payee.plan.hit);
    CHECK(stored_channels(w.payee.disk, record_kind::server_channel).size() == 1);
    CHECK(w.payee_told.count(event_kind::buried) == 0);
    w.tick();
    CHECK(stored_channels(w.payee.disk, record_kind::server_channel).empty());
    CHECK(w.payee_told.count(event_kind::buried) == 1);
}

TEST_CASE("a channel that a connection still holds is not erased before that lets go", "[monitor]") {
    // The connection could write its record anew after the deletion.
    left_alone w;
    w.settle_and_mine();
    w.payee_told.attached.push_back(w.id);
    w.mine(150);
    w.tick();
    CHECK(w.payee_told.count(event_kind::buried) == 0);
    CHECK(w.server_side->size() == 1);
    CHECK(stored_channels(w.payee.disk, record_kind::server_channel).size() == 1);
    w.payee_told.attached.clear();
    w.tick();
    CHECK(w.payee_told.count(event_kind::buried) == 1);
    CHECK(stored_channels(w.payee.disk, record_kind::server_channel).empty());
}

TEST_CASE("an unspent contract is never buried, however long it takes", "[monitor]") {
    left_alone w;
    w.mine(250);
    w.tick();
    CHECK(w.server_side->size() == 1);
    CHECK(w.client_side->size() == 1);
    CHECK(w.server_record().stage == channel_stage::open);
}
