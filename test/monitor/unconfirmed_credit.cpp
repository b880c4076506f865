// How much a server takes on contracts that are in no block.
#include "paychan/monitor/unconfirmed_credit.hpp"

#include <catch2/catch.hpp>

#include "monitor/support.hpp"

using namespace paychan;
using namespace paychan_test;

namespace {

txid channel_named(std::uint8_t name) { return txid{bytes32{name}}; }

}  // namespace

TEST_CASE("what all channels together may owe is counted when it is allowed, and once", "[monitor]") {
    detail::unconfirmed_credit c(satoshi{100});
    CHECK(c.take(channel_named(1), satoshi{60}));
    CHECK(c.take(channel_named(1), satoshi{60}));
    CHECK(c.take(channel_named(1), satoshi{50}));
    CHECK(c.sum() == satoshi{60});
    CHECK(c.take(channel_named(2), satoshi{40}));
    CHECK_FALSE(c.take(channel_named(2), satoshi{41}));
    CHECK_FALSE(c.take(channel_named(3), satoshi{1}));
    CHECK(c.take(channel_named(1), satoshi{60}));
    c.count(channel_named(3), satoshi{30});  // was paid before anybody asked
    CHECK(c.sum() == satoshi{130});
    CHECK_FALSE(c.take(channel_named(3), satoshi{31}));
    c.forget_if([](const txid& id) { return id == channel_named(1); });
    CHECK(c.sum() == satoshi{70});
    CHECK(c.take(channel_named(3), satoshi{60}));
    CHECK_FALSE(c.take(channel_named(4), max_money));
}

TEST_CASE("without a block a server takes so much and no more, also after a restart", "[monitor]") {
    left_alone w(false);
    w.server_settings.max_unconfirmed = satoshi{60'000};
    w.start();
    w.tick();
    CHECK(w.server_side->may_take(w.id, satoshi{50'000}));  // paid already
    CHECK(w.server_side->may_take(channel_named(1), satoshi{10'000}));
    CHECK_FALSE(w.server_side->may_take(channel_named(1), satoshi{10'001}));
    const auto refused = w.server_side->may_take(w.id, satoshi{50'001});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == errc::other);
    CHECK(w.server_side->unconfirmed() == satoshi{60'000});
    w.mine();
    w.tick();
    CHECK(w.server_side->may_take(w.id, satoshi{1'000'000}));
    CHECK(w.server_side->unconfirmed() == satoshi{});
    REQUIRE(w.chain.disconnect_tip());
    w.tick();
    CHECK_FALSE(w.server_side->may_take(w.id, satoshi{60'001}));
    CHECK(w.server_side->may_take(w.id, satoshi{60'000}));
}

TEST_CASE("a server that wants blocks first takes nothing before them", "[monitor]") {
    left_alone w(false);
    w.server_settings.min_confirmations = 2;
    w.start();
    for (int i = 0; i < 2; ++i) {
        w.tick();
        CHECK_FALSE(w.server_side->may_take(w.id, satoshi{1}));
        w.mine();
    }
    w.tick();
    CHECK(w.server_side->may_take(w.id, satoshi{1}));
    CHECK_FALSE(w.server_side->may_take(channel_named(1), satoshi{1}));
    REQUIRE(w.chain.disconnect_tip());
    w.tick();
    CHECK_FALSE(w.server_side->may_take(w.id, satoshi{1}));
}
