// A running server as one object: connections, monitor and application hear of each other.
#include "paychan/keeper/payee.hpp"

#include "keeper/support.hpp"

using namespace paychan;
using namespace paychan_test;

namespace {

/// What a tcp_server is for the payee.
struct connections {
    std::vector<txid> attached;
    std::vector<txid> settled;
    std::vector<std::pair<txid, txid>> detached;

    [[nodiscard]] bool is_attached(const txid& id) const { return std::ranges::find(attached, id) != attached.end(); }
    bool settle_attached(const txid& id) {
        if (!is_attached(id)) return false;
        settled.push_back(id);
        return true;
    }
    void detach(const txid& id, const txid& closing) {
        detached.emplace_back(id, closing);
        std::erase(attached, id);
    }
};

/// An application that wants to know of connections too.
struct curious_app : asked_events {
    std::vector<std::string> words;
    void on_connection(const std::string& word) { words.push_back(word); }
};

struct silent_app {
    void on_event(const event&) {}
};

template <class P>
concept asks = requires(P& p, const event& e, const std::string& word) {
    p.on_payment(e);
    p.on_connection(word);
};

template <class App = asked_events>
struct side_of {
    using payee_type = payee<both_versions, memory_store, memory_keys, seed_wallet, source, manual_clock, App>;
    scene& w;
    source net{w.chain};
    seed_wallet wallet = open_wallet();
    App app;
    connections live;
    payee_type side;

    explicit side_of(scene& in)
        : w(in),
          side(both_versions{}, in.disk, in.payee.ring, wallet, net, in.clock, app, in.server_settings, at_once()) {}

    void hear() {
        while (net.inner.deliver(side) > 0) {
        }
    }
    void second() {
        w.clock.advance(1);
        while (side.turn()) {
        }
        hear();
    }
    void run() {
        REQUIRE(side.open(network::regtest));
        hear();
        for (int i = 0; i < 8; ++i) second();
    }
};
using server_side = side_of<>;

event event_of(event_kind kind, const txid& channel) {
    event e{kind};
    e.channel = channel;
    return e;
}

}  // namespace

TEST_CASE("an event of a connection reaches the application and the monitor", "[keeper][payee]") {
    scene w(false);
    server_side p(w);
    p.run();
    REQUIRE(p.side.monitor().size() == 0);
    w.open_channel();
    p.side.on_event(event_of(event_kind::stored, w.id));
    CHECK(p.app.names() == "stored");
    CHECK(p.side.monitor().size() == 1);
    CHECK(p.live.detached.empty());
}

TEST_CASE("the application may refuse a payment, and hears of connections", "[keeper][payee]") {
    scene w;
    side_of<curious_app> p(w);
    p.app.answer = [](const event& e) {
        return e.total.value > 100 ? payment_answer::refuse("too much") : payment_answer::ack();
    };
    event e = event_of(event_kind::payment, w.id);
    e.total = satoshi{50};
    CHECK(p.side.on_payment(e).what() == payment_answer::kind::ack);
    e.total = satoshi{500};
    CHECK(p.side.on_payment(e).what() == payment_answer::kind::refuse);
    CHECK(p.app.asked == std::vector{satoshi{50}, satoshi{500}});
    p.side.on_connection(std::string("begun"));
    CHECK(p.app.words == std::vector<std::string>{"begun"});

    // An application without these words is not asked.
    STATIC_REQUIRE(asks<side_of<curious_app>::payee_type>);
    STATIC_REQUIRE_FALSE(asks<side_of<silent_app>::payee_type>);
}

TEST_CASE("a connection whose contract is spent is ended", "[keeper][payee]") {
    scene w;
    server_side p(w);
    p.live.attached = {w.id};
    p.side.join(p.live);
    p.run();
    CHECK(p.live.detached.empty());

    // By a settlement that another process has sent.
    server_side other(w);
    other.run();
    REQUIRE(other.side.settle(w.id));
    other.hear();
    const auto settlement = w.chain.spender_in_mempool({w.id, 0});
    REQUIRE(settlement);
    w.mine();
    p.second();
    CHECK(p.live.detached == std::vector{std::pair(w.id, *settlement)});
    CHECK(p.app.count(event_kind::confirmed) == 1);
}

TEST_CASE("a connection whose contract was double spent is ended", "[keeper][payee]") {
    scene w(true, false);
    server_side p(w);
    p.live.attached = {w.id};
    p.side.join(p.live);
    p.run();
    // The contract's coin is free again, for whoever made it.
    const bytes contract = stored_bytes(w.disk, record_kind::client_contract, w.id);
    w.chain.forget(w.id);
    w.payer.purse.release(contract);
    bytes memory(10'000);
    const outpoint spent = parse_transaction(contract)->input(0)->prevout;
    txid by;
    for (bool found = false; !found;) {
        const auto tx = w.payer.purse.fund(p2pkh_script({}).view(), satoshi{5'000'000}, {}, memory);
        REQUIRE(tx);
        found = parse_transaction(*tx)->input(0)->prevout == spent;
        by = parse_transaction(*tx)->id();
        if (found) REQUIRE(w.chain.submit(*tx).accepted);
    }
    w.mine();
    p.second();
    CHECK(p.app.count(event_kind::double_spent) == 1);
    CHECK(p.live.detached == std::vector{std::pair(w.id, by)});
}

TEST_CASE("what is due is settled over its connection where there is one", "[keeper][payee]") {
    const bool attached = GENERATE(true, false);
    scene w;
    server_side p(w);
    if (attached) p.live.attached = {w.id};
    p.side.join(p.live);
    p.run();
    CHECK(p.live.settled.empty());
    w.set_time(w.expiry + -7'200);
    p.second();
    p.second();
    CHECK((p.live.settled == std::vector{w.id}) == attached);
    CHECK(w.chain.spender_in_mempool({w.id, 0}).has_value() == !attached);
}

TEST_CASE("a settlement that is asked for goes over the connection where there is one", "[keeper][payee]") {
    scene w;
    server_side p(w);
    p.live.attached = {w.id};
    p.side.join(p.live);
    p.run();
    REQUIRE(p.side.settle(w.id));
    CHECK(p.live.settled == std::vector{w.id});
    CHECK_FALSE(w.chain.spender_in_mempool({w.id, 0}));
    CHECK(p.side.settle(txid{}).error().code == errc::not_found);

    p.side.part();  // the connections are gone
    CHECK_FALSE(p.side.is_attached(w.id));
    REQUIRE(p.side.settle(w.id));
    CHECK(p.live.settled.size() == 1);
    CHECK(w.chain.spender_in_mempool({w.id, 0}));
    p.side.on_event(event_of(event_kind::confirmed, w.id));
    CHECK(p.live.detached.empty());
}

TEST_CASE("of a contract in no block a payee wants to hear again from a node that was away", "[keeper][payee]") {
    const bool mined = GENERATE(false, true);
    scene w(true, mined);
    server_side p(w);
    REQUIRE(p.side.open(network::regtest));
    CHECK_FALSE(p.side.is_backed(w.id));
    p.run();
    CHECK(p.side.is_backed(w.id));
    p.side.on_chain(node_returned{});
    CHECK(p.side.is_backed(w.id) == mined);
    p.second();
    CHECK(p.side.is_backed(w.id));
}

TEST_CASE("a payee that is started again goes on behind the last block", "[keeper][payee]") {
    scene w;
    {
        server_side p(w);
        p.run();
        REQUIRE(p.side.save());
    }
    const std::int32_t before = w.chain.height();
    w.mine(2);
    server_side p(w);
    p.run();
    CHECK(p.net.followed_at == std::vector{before});
    CHECK(p.side.monitor().size() == 1);
    CHECK(p.side.keep().caught_up());
    CHECK(p.wallet.balance().confirmed == w.coins());
}
