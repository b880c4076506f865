// What a reorganisation takes out of the chain goes back into it.
#include <catch2/catch.hpp>

#include "monitor/support.hpp"

using namespace paychan;
using namespace paychan_test;

TEST_CASE("a settlement that a reorganisation takes out of the chain is broadcast again", "[monitor]") {
    left_alone w;
    w.mine(3);
    w.settle_and_mine();
    REQUIRE(w.payee_told.count(event_kind::confirmed) == 1);
    const txid closing = w.server_record().closing;
    REQUIRE(w.chain.disconnect_tip());
    w.chain.forget(closing);
    w.mine(2);  // another branch, without it
    w.tick();
    CHECK(w.in_mempool() == "settlement");
    w.mine();
    w.tick();
    CHECK(w.chain.confirmations(closing) == 1);
    CHECK(w.payee_told.count(event_kind::confirmed) == 2);
    CHECK(w.server_record().closing_height == w.chain.height());
}

TEST_CASE("burial counts from the block that the settlement is in after a reorganisation", "[monitor]") {
    left_alone w;
    w.settle_and_mine();
    w.mine(50);
    w.tick();
    const txid closing = w.server_record().closing;
    while (w.chain.confirmations(closing) > 0) REQUIRE(w.chain.disconnect_tip());
    w.chain.forget(closing);
    w.mine(60);
    w.tick();  // broadcast again
    w.mine(99);
    w.tick();
    CHECK(w.payee_told.count(event_kind::buried) == 0);
    CHECK(w.server_side->size() == 1);
    w.mine();
    w.tick();
    CHECK(w.payee_told.count(event_kind::buried) == 1);
}

TEST_CASE("a refund that a reorganisation takes out of the chain is raced by the server's settlement", "[monitor]") {
    // The server was away until the refund was mined: it has never made a settlement.
    left_alone w;
    w.set_time(w.expiry + 1);
    w.mine(12);
    w.catch_up();
    w.client_side->tick(w.clock.now());
    w.mine();
    w.catch_up();
    REQUIRE(w.payee_told.names() == "confirmed lost");
    CHECK(w.server_record().stage == channel_stage::settling);
    REQUIRE(w.server_side->settle(w.id).error().code == errc::wrong_state);
    const txid refund = w.server_record().closing;
    REQUIRE(w.chain.disconnect_tip());
    w.chain.forget(refund);
    w.mine(2);
    w.catch_up();
    w.server_side->tick(w.clock.now());
    CHECK(w.in_mempool() == "settlement");
    w.catch_up();
    w.mine();
    w.catch_up();
    CHECK(w.payee_told.last(event_kind::confirmed).closing != refund);
}
