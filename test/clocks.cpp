// Clocks that are behind the chain's time cost nobody money, on either side.
#include <catch2/catch.hpp>

#include "support/versions.hpp"
#include "support/wire.hpp"
#include "support/world.hpp"

using namespace paychan;
using namespace paychan_test;

namespace {

constexpr std::int64_t two_days = 172'800;

/// Both clocks are two days slow, and whoever is told of the chain can know it.
struct slow_world : world {
    explicit slow_world(std::int32_t version = each_version()) : world(version) {
        clock.set(world_start + -two_days);
        chain.mine(12, p2pkh_script({}).view());
    }
};

/// Blocks are mined until lock times are compared with that.
void set_chain_time(world& w, unix_time median) {
    w.chain.mine(11, p2pkh_script({}).view());
    w.chain.set_time(median);
    while (w.chain.median_time() < median) w.chain.mine(1, p2pkh_script({}).view());
    REQUIRE(w.chain.median_time() == median);
}

}  // namespace

TEST_CASE("a client whose clock is behind the chain opens nothing, and says why", "[client][clocks]") {
    slow_world w;
    w.payer.follower.deliver(*w.c);
    const auto begun = w.c->connect(satoshi{1'000'000});
    REQUIRE_FALSE(begun);
    CHECK(begun.error().code == errc::wrong_clock);
    CHECK(w.payer.transport.sent.empty());
    w.clock.set(world_start);
    CHECK(w.open());
    CHECK(w.pays(10));
}

TEST_CASE("a client that learns on the way that its clock is behind locks no coins", "[client][clocks]") {
    slow_world w;
    REQUIRE(w.c->connect(satoshi{1'000'000}));
    w.payer.follower.deliver(*w.c);
    w.run();
    CHECK(w.c->phase() == client_phase::idle);
    CHECK(w.payer.events.last(event_kind::error).problem.code == errc::wrong_clock);
    CHECK(stored_channels(w.payer.disk, record_kind::client_channel).empty());
    CHECK(w.payer.purse.reserved.empty());
}

TEST_CASE("a server whose clock is behind the chain opens nothing: the refund could be due before it settles",
          "[server][clocks]") {
    slow_world w;
    w.payee.follower.deliver(*w.s);
    REQUIRE(w.c->connect(satoshi{1'000'000}));  // a client that nobody has told of the chain
    w.pipe.second.deliver(*w.s);
    CHECK(error_text(w.payee.transport.sent) ==
          "OTHER: this server opens no channels now: its clock is behind the time of the chain's blocks");
    CHECK(w.s->phase() == server_phase::ended);
    CHECK(w.payee.events.last(event_kind::error).problem.code == errc::other);
}

TEST_CASE("a server whose node is still downloading the chain opens nothing", "[server]") {
    slow_world w;
    const auto tip = [&](bool downloading) { return chain_tip{w.chain.height(), {}, downloading}; };
    w.s->on_chain(tip(true));
    REQUIRE(w.c->connect(satoshi{1'000'000}));
    w.pipe.second.deliver(*w.s);
    CHECK(error_text(w.payee.transport.sent) ==
          "OTHER: this server opens no channels now: its node is still downloading the chain");
    chain_view view;
    view.on_chain(tip(true));
    CHECK(view.downloading);
    view.on_chain(tip(false));
    CHECK_FALSE(view.downloading);
}

TEST_CASE("a server that learns the chain's time before its node takes the contract opens nothing",
          "[server][clocks]") {
    slow_world w;
    REQUIRE(w.c->connect(satoshi{1'000'000}));  // neither side was told of the chain
    while (w.s->phase() != server_phase::broadcasting) {
        REQUIRE(w.pipe.second.deliver(*w.s));
        while (w.pipe.first.deliver(*w.c)) continue;
    }
    w.s->on_chain(chain_tip{w.chain.height(), w.chain.median_time()});
    w.payee.follower.deliver(*w.s);
    CHECK(error_text(w.payee.transport.sent) ==
          "TIME_WINDOW_UNACCEPTABLE: the network took the contract too late: its expiry is too near by now");
    CHECK(w.payee.events.count(event_kind::opened) == 0);
    CHECK(w.payee.events.count(event_kind::payment) == 0);
    CHECK(load_record(w.payee.disk, record_kind::server_channel, w.s->record().terms.contract.id)->stage ==
          channel_stage::contract_stored);
}

TEST_CASE("a server that comes to a connection late knows what the chain has told before", "[server][clocks]") {
    slow_world w;
    chain_view view;
    view.on_chain(chain_tip{w.chain.height(), w.chain.median_time()});
    w.s->set_chain(view);
    REQUIRE(w.c->connect(satoshi{1'000'000}));
    w.pipe.second.deliver(*w.s);
    CHECK(w.s->phase() == server_phase::ended);
}

TEST_CASE("a server whose clock stands still takes no payment when the chain's time nears the expiry",
          "[server][clocks]") {
    world w(each_version());
    REQUIRE(w.open());
    REQUIRE(w.pays(10));
    const unix_time deadline = settlement_deadline(w.s->record(), w.server_settings);
    set_chain_time(w, deadline + -1);
    w.payee.follower.deliver(*w.s);
    outcome o;
    SECTION("a second before, it does") {
        CHECK(w.c->pay(satoshi{10}, o.callback()));
        CHECK(w.pipe.second.deliver(*w.s));
        CHECK(w.s->record().paid() == satoshi{1'020});
    }
    SECTION("on the connection") {
        set_chain_time(w, deadline);
        w.payee.follower.deliver(*w.s);
        REQUIRE(w.c->pay(satoshi{10}, o.callback()));
        w.pipe.second.deliver(*w.s);
        CHECK(error_text(w.payee.transport.sent) ==
              "TIME_WINDOW_UNACCEPTABLE: the channel is about to expire and is settled now");
        CHECK(w.s->record().paid() == satoshi{1'010});
    }
    SECTION("on a new one") {
        set_chain_time(w, deadline);
        w.reconnect();
        chain_view view;
        view.on_chain(chain_tip{w.chain.height(), w.chain.median_time()});
        w.s->set_chain(view);
        const std::size_t before = w.payee.transport.sent.size();
        REQUIRE(w.c->connect(satoshi{0}));
        w.pipe.second.deliver(*w.s);
        CHECK(names_of(w.payee.transport.sent, before).find("CHANNEL_OPEN") == std::string::npos);
        CHECK_FALSE(is_open(w.s->phase()));
    }
}

TEST_CASE("a channel that is open is resumed whatever the clocks say, while the chain is far from its expiry",
          "[clocks]") {
    world w(each_version());
    REQUIRE(w.open());
    w.clock.set(world_start + -two_days);
    w.chain.mine(6, p2pkh_script({}).view());
    w.reconnect();
    w.run();
    chain_view view;
    view.on_chain(chain_tip{w.chain.height(), w.chain.median_time()});
    w.s->set_chain(view);
    w.c->set_chain(view);
    REQUIRE(w.open(satoshi{0}));
    CHECK(w.pays(10));
}

TEST_CASE("a client whose clock stands still pays nothing after the expiry", "[client][clocks]") {
    world w(each_version());
    REQUIRE(w.open());
    set_chain_time(w, w.c->record().terms.expiry);
    w.payer.follower.deliver(*w.c);
    CHECK(w.c->pay(satoshi{10}).error().text == "the channel has expired");
}
