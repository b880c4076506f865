// The server's driver: what it acks, what it demands, and how its connections end.
#include "paychan/server.hpp"

#include <catch2/catch.hpp>

#include "support/world.hpp"

using namespace paychan;
using namespace paychan_test;

namespace {

struct open_world : world {
    open_world() {
        REQUIRE(open());
        REQUIRE(s->phase() == server_phase::open);
        frames = payee.transport.sent.size();
        payee.events.heard.clear();
    }
    /// What the server has sent since the channel was open.
    [[nodiscard]] std::string sent() const { return names_of(payee.transport.sent, frames); }
    [[nodiscard]] channel_record stored() {
        return load_record(payee.disk, record_kind::server_channel, s->record().terms.contract.id).value();
    }
    std::size_t frames = 0;
};

wire::initiate initiate_of(world& w, std::uint64_t window = 86'340) {
    w.s->on_frame(encoded(wire::client_version{1, 0, {}, window}));
    REQUIRE(w.payee.transport.sent.size() == 2);
    return as<wire::initiate>(w.payee.transport.sent[1]).value();
}

/// A refund that a server signs, of any contract.
struct made_refund {
    public_key key;
    refund_buffer tx;

    made_refund(const wire::initiate& m, const outpoint& contract) {
        memory_keys ring = memory_keys::testing_from(99);
        contract_terms terms;
        terms.contract = contract;
        terms.value = satoshi{1'000'000};
        terms.expiry = {static_cast<std::int64_t>(m.expire_time_secs)};
        terms.client_key = ring.public_key(ring.new_key().value()).value();
        terms.server_key = terms.client_key;
        key = terms.client_key;
        tx = refund_transaction(terms);
    }
};

/// Delivers frames both ways, but no news of broadcasts.
void talk(world& w) { (void)pump(w.pipe, *w.c, *w.s); }

}  // namespace

// ---- Terms

TEST_CASE("the server clamps the window that is asked for", "[server]") {
    const auto window = [](std::uint64_t asked) {
        world w;
        return static_cast<std::int64_t>(initiate_of(w, asked).expire_time_secs) - world_start.seconds;
    };
    CHECK(window(86'340) == 86'340);
    CHECK(window(0) == 14'400);
    CHECK(window(14'399) == 14'400);
    CHECK(window(604'801) == 604'800);
    CHECK(window((std::uint64_t{1} << 63) - 1) == 604'800);
    CHECK(window(std::uint64_t{1} << 63) == 14'400);
    CHECK(window(~std::uint64_t{0}) == 14'400);
}

TEST_CASE("the smallest window leaves ten minutes before the server's margin, to open and to pay", "[server]") {
    world w;
    w.server_settings.min_window = GENERATE(0, 7'200, 7'800);
    w.make_server();
    SECTION("what is asked for is raised to it") {
        CHECK(static_cast<std::int64_t>(initiate_of(w, 1).expire_time_secs) == world_start.seconds + 7'800);
    }
    SECTION("also above the largest") {
        w.server_settings.max_window = 3'600;
        w.make_server();
        CHECK(static_cast<std::int64_t>(initiate_of(w).expire_time_secs) == world_start.seconds + 7'800);
    }
    SECTION("a channel with it opens, and takes payments until the margin begins") {
        w.client_settings.time_window = 7'800;
        w.make_client();
        REQUIRE(w.open());
        CHECK(w.c->record().terms.expiry == world_start + 7'800);
        CHECK(w.pays(5));
        w.clock.set(world_start + 599);
        CHECK(w.pays(5));
        w.clock.set(world_start + 600);
        CHECK_FALSE(w.pays(5));
        CHECK(error_text(w.payee.transport.sent) ==
              "TIME_WINDOW_UNACCEPTABLE: the channel is about to expire and is settled now");
    }
}

TEST_CASE("the first payment that is demanded bears the fee of a settlement", "[server]") {
    // 268 bytes, and an output that is no dust: 546.
    {
        world w;
        CHECK(initiate_of(w).min_payment == 1'000);
    }
    {
        world w;
        w.server_settings.min_payment = satoshi{1};
        w.make_server();
        CHECK(initiate_of(w).min_payment == 268 + 546);
    }
    {
        world w;
        w.s->on_fee_rate({10'000});
        CHECK(initiate_of(w).min_payment == 2'680 + 546);
    }
    {
        world w;
        w.server_settings.min_channel = satoshi{2'000};
        w.make_server();
        w.s->on_fee_rate({10'000});
        CHECK(initiate_of(w).min_accepted_channel_size == 2'680 + 546);
    }
}

namespace {
/// A wallet that could pay any fee.
struct generous_wallet {
    coin_wallet purse{3};
    result<script_buffer> payout_script() const { return purse.payout_script(); }
    result<bytes_view> add_fee_inputs(const settlement_draft&, bytes_span) const {
        return fail(errc::insufficient_funds, "not today");
    }
};
static_assert(FeeInputWallet<generous_wallet>);
}  // namespace

TEST_CASE("a server whose wallet could pay fees demands a first payment that bears them all the same", "[server]") {
    recording_transport connection;
    manual_clock clock(world_start);
    memory_keys keys = memory_keys::testing_from(5);
    memory_store store;
    generous_wallet wallet;
    recording_broadcaster network;
    wire::small_codec codec;
    event_log events;
    server payee(v1{}, connection, clock, keys, store, wallet, network, codec, events);
    payee.on_fee_rate({10'000});
    payee.on_frame(encoded(wire::client_version{1, 0, {}, 86'340}));
    REQUIRE(connection.sent.size() == 2);
    CHECK(as<wire::initiate>(connection.sent[1])->min_payment == 3'226);
}

TEST_CASE("a first payment below what was demanded opens nothing", "[server]") {
    world w;
    w.server_settings.min_payment = satoshi{2'000};
    w.make_server();
    REQUIRE(w.c->connect(satoshi{1'000'000}));
    w.pipe.second.deliver(*w.s);
    w.c->on_frame(w.payee.transport.sent[0]);
    auto terms = decoded(w.payee.transport.sent[1]);
    std::get<wire::initiate>(terms).min_payment = 1'999;  // a client that pays less
    w.c->on_frame(encoded(terms));
    w.pipe.second.deliver(*w.s);
    w.c->on_frame(w.payee.transport.sent[2]);
    w.pipe.second.deliver(*w.s);
    CHECK(error_text(w.payee.transport.sent) == "BAD_TRANSACTION: the first payment is below the minimum");
    CHECK(stored_channels(w.payee.disk, record_kind::server_channel).empty());
    CHECK(w.chain.mempool_size() == 0);
}

TEST_CASE("a version that the server does not speak is answered with those that it does", "[server]") {
    for (const std::int32_t major : {0, 2, 3, -1, std::numeric_limits<std::int32_t>::max()}) {
        world w;
        w.s->on_frame(encoded(wire::client_version{major, 0, {}, 86'340}));
        CHECK(error_text(w.payee.transport.sent) == "NO_ACCEPTABLE_VERSION: this server speaks protocol version 1");
        CHECK(w.payee.transport.closed == 1);
    }
    world w;
    w.s->on_frame(encoded(wire::client_version{1, 7, {}, 86'340}));  // the minor version is ignored
    CHECK(names_of(w.payee.transport.sent) == "SERVER_VERSION INITIATE");
}

// ---- Opening

TEST_CASE("the application hears of the first payment before it hears of the opening", "[server]") {
    world w;
    REQUIRE(w.open());
    CHECK(w.payee.events.names() == "stored payment opened");
    CHECK(w.payee.events.last(event_kind::payment).amount == satoshi{1'000});
    CHECK(w.payee.events.last(event_kind::opened).channel == w.channel());
}

TEST_CASE("the channel opens when the network has the contract, and not before", "[server]") {
    world w;
    REQUIRE(w.c->connect(satoshi{1'000'000}));
    w.payee.follower.set_node(chain_follower::node::down);
    talk(w);
    CHECK(w.s->phase() == server_phase::broadcasting);
    w.payee.follower.deliver(*w.s);  // unreachable
    talk(w);
    CHECK(w.s->phase() == server_phase::broadcasting);
    CHECK(w.c->phase() == client_phase::contract_sent);
    CHECK(load_record(w.payee.disk, record_kind::server_channel, w.channel())->stage == channel_stage::contract_stored);
    w.payee.follower.set_node(chain_follower::node::up);
    w.s->rebroadcast();
    w.run();
    CHECK(w.s->phase() == server_phase::open);
    CHECK(w.pays(1));
}

TEST_CASE("a node that comes back empty is sent the contract before the settlement", "[server]") {
    world w;
    REQUIRE(w.open());
    REQUIRE(w.pays(50'000));
    w.payee.follower.set_node(chain_follower::node::down);
    REQUIRE(w.c->settle());
    talk(w);
    w.payee.follower.deliver(*w.s);  // unreachable
    REQUIRE(w.s->phase() == server_phase::settling);
    w.chain.forget(w.channel());
    w.payee.follower.set_node(chain_follower::node::up);
    w.s->rebroadcast();
    w.run();
    CHECK(w.payee.events.count(event_kind::settled) == 1);
    CHECK(w.payee.events.count(event_kind::error) == 0);
    CHECK(w.chain.spender_in_mempool({w.channel(), 0}));
}

TEST_CASE("a contract that the network refuses opens nothing, and the client is told", "[server]") {
    world w;
    w.payee.follower.refuse_next("bare-multisig");
    REQUIRE(w.open());
    CHECK(error_text(w.payee.transport.sent) == "BAD_TRANSACTION: the network refuses the contract");
    CHECK(w.payee.events.names() == "stored error closed");
    CHECK(w.payer.events.count(event_kind::opened) == 0);
    // Its key stays on disk: the client could still have it mined.
    CHECK(load_record(w.payee.disk, record_kind::server_channel, w.channel()));
}

TEST_CASE("outcomes of other transactions do not open a channel", "[server]") {
    world w;
    REQUIRE(w.c->connect(satoshi{1'000'000}));
    talk(w);
    REQUIRE(w.s->phase() == server_phase::broadcasting);
    w.s->on_broadcast(txid{bytes32{9}}, broadcast_outcome::accepted);
    w.s->on_broadcast(txid{bytes32{9}}, broadcast_outcome::refused);
    CHECK(w.s->phase() == server_phase::broadcasting);
}

TEST_CASE("a connection that was lost while the contract was broadcast goes on when it is resumed", "[server]") {
    world w;
    REQUIRE(w.c->connect(satoshi{1'000'000}));
    w.payee.follower.set_node(chain_follower::node::down);
    talk(w);
    w.reconnect();
    w.payee.follower.set_node(chain_follower::node::up);
    REQUIRE(w.open(satoshi{0}));
    CHECK(w.s->phase() == server_phase::open);
    CHECK(w.payee.events.count(event_kind::opened) == 1);
    CHECK(w.payee.events.count(event_kind::payment) == 1);
    CHECK(w.pays(1));
}

TEST_CASE("the txid of somebody else's contract in a refund reaches no event", "[server]") {
    open_world victim;
    const txid theirs = victim.channel();
    world w;
    const auto terms = initiate_of(w);
    made_refund refund(terms, {theirs, 0});
    w.s->on_frame(encoded(wire::provide_refund{refund.key.view(), refund.tx.view()}));
    REQUIRE(w.s->phase() == server_phase::refund_signed);
    SECTION("when it goes wrong") {
        w.s->on_frame(encoded(wire::channel_open{}));
        w.s->on_disconnected();
        CHECK(w.payee.events.names() == "error closed");
    }
    SECTION("when the peer gives up") {
        w.s->on_frame(encoded(wire::error_message{8, {}, {}}));
        w.s->on_disconnected();
        CHECK(w.payee.events.names() == "error closed");
    }
    SECTION("when the connection is lost") {
        w.s->on_disconnected();
        CHECK(w.payee.events.names() == "closed");
    }
    for (const heard_event& e : w.payee.events.heard) {
        CHECK(e.channel == txid{});
        CHECK(e.total == satoshi{0});
    }
}

// ---- A contract that the network refuses after all

TEST_CASE("a contract that is refused while the channel is open ends it: no payment is acked any more", "[server]") {
    open_world w;
    REQUIRE(w.pays(5'000));
    w.payee.events.heard.clear();
    outcome o;
    REQUIRE(w.c->pay(satoshi{7'000}, o.callback()));
    w.s->on_broadcast(w.channel(), broadcast_outcome::refused);
    CHECK(w.s->phase() == server_phase::ended);
    CHECK(w.stored().stage == channel_stage::unbacked);
    CHECK(w.sent() == "PAYMENT_ACK ERROR");
    CHECK(error_text(w.payee.transport.sent) == "BAD_TRANSACTION: the network refuses the contract by now");
    CHECK(w.payee.transport.closed == 1);
    CHECK(w.payee.events.names() == "error");
    CHECK(w.payee.events.last(event_kind::error).problem.code == errc::bad_transaction);
    w.run();
    CHECK(w.sent() == "PAYMENT_ACK ERROR");
    CHECK(o.calls == 1);
    CHECK_FALSE(o.told);
    CHECK(w.stored().paid() == satoshi{6'000});
    CHECK(w.stored().stage == channel_stage::unbacked);

    const txid id = w.channel();
    w.reconnect();
    w.payee.events.heard.clear();
    SECTION("resumed, it asks the network again, which refuses it again") {
        w.payee.follower.refuse_next("bad-txns-inputs-missingorspent");
        REQUIRE(w.open(satoshi{0}));
        CHECK(error_text(w.payee.transport.sent) == "BAD_TRANSACTION: the network refuses the contract");
        CHECK(load_record(w.payee.disk, record_kind::server_channel, id)->stage == channel_stage::unbacked);
        CHECK(w.payee.events.count(event_kind::payment) == 0);
        CHECK(w.payee.events.count(event_kind::opened) == 0);
    }
    SECTION("resumed, it opens again when the network takes the contract, and the lost payment is taken") {
        REQUIRE(w.open(satoshi{0}));
        CHECK(w.s->phase() == server_phase::open);
        CHECK(w.payee.events.names() == "opened payment");
        CHECK(w.payee.events.last(event_kind::payment).amount == satoshi{7'000});
        CHECK(load_record(w.payee.disk, record_kind::server_channel, id)->stage == channel_stage::open);
        CHECK(w.pays(1));
    }
}

TEST_CASE("an unreachable node, an acceptance or another contract's refusal changes nothing in an open channel",
          "[server]") {
    open_world w;
    w.s->on_broadcast(w.channel(), broadcast_outcome::unreachable);
    w.s->on_broadcast(w.channel(), broadcast_outcome::accepted);
    w.s->on_broadcast(txid{bytes32{9}}, broadcast_outcome::refused);
    CHECK(w.s->phase() == server_phase::open);
    CHECK(w.sent().empty());
    CHECK(w.payee.events.heard.empty());
    CHECK(w.pays(1));
}

TEST_CASE("a refused contract ends the connection also when that cannot be stored", "[server]") {
    open_world w;
    w.payee.plan = {call::store_put, fault::fails, 0, false};
    w.s->on_broadcast(w.channel(), broadcast_outcome::refused);
    CHECK(w.s->phase() == server_phase::ended);
    CHECK(w.sent() == "ERROR");
    REQUIRE(w.c->pay(satoshi{5}));
    w.run();
    CHECK(w.sent() == "ERROR");
    CHECK(w.stored().paid() == satoshi{1'000});
}

// ---- Payments

TEST_CASE("no ack leaves when a payment could not be stored", "[server]") {
    open_world w;
    w.payee.plan = {call::store_put, GENERATE(fault::fails, fault::fails_after), 0, false};
    outcome o;
    REQUIRE(w.pay(satoshi{5'000}, o));
    CHECK(w.sent() == "ERROR");
    CHECK(error_text(w.payee.transport.sent) == "OTHER: this side cannot go on now; try again later");
    CHECK(w.payee.events.names() == "error closed");
    CHECK(w.payee.events.last(event_kind::error).problem.code == errc::store_failed);
    CHECK_FALSE(o.told);
    // Whatever the disk has, the next payment covers it.
    w.payee.events.heard.clear();
    w.reconnect();
    REQUIRE(w.open(satoshi{0}));
    CHECK(w.pays(2));
    CHECK(w.stored().paid() == satoshi{6'002});
}

TEST_CASE("a repeated frame is acked again and moves nothing", "[server]") {
    open_world w;
    REQUIRE(w.pays(5'000));
    const std::uint64_t version = w.stored().version;
    w.s->on_frame(w.payer.transport.sent.back());
    CHECK(w.sent() == "PAYMENT_ACK PAYMENT_ACK");
    CHECK(w.payee.events.names() == "payment");
    CHECK(w.stored().version == version);
}

TEST_CASE("a payment's information reaches the application with the amount", "[server]") {
    open_world w;
    outcome o;
    REQUIRE(w.pay(satoshi{5}, o, "order 7"));
    const heard_event e = w.payee.events.last(event_kind::payment);
    CHECK(text_of(e.data) == "order 7");
    CHECK(e.amount == satoshi{5});
    CHECK(e.total == satoshi{1'005});
}

TEST_CASE("a bad payment ends the connection, and the channel can be resumed", "[server]") {
    open_world w;
    const channel_record before = w.stored();
    wire::update_payment m;
    m.client_change_value = 990'000;
    m.signature = before.signature.view();
    w.s->on_frame(encoded(m));
    CHECK(error_text(w.payee.transport.sent) == "BAD_TRANSACTION: payment signature does not verify");
    CHECK(w.payee.transport.closed == 1);
    CHECK(w.stored().version == before.version);
    w.reconnect();
    REQUIRE(w.open(satoshi{0}));
    CHECK(w.pays(5));
}

TEST_CASE("payments after the expiry are refused", "[server]") {
    open_world w;
    REQUIRE(w.c->pay(satoshi{5}));
    w.clock.set(w.s->record().terms.expiry);
    w.run();
    CHECK(error_text(w.payee.transport.sent) ==
          "TIME_WINDOW_UNACCEPTABLE: the channel is about to expire and is settled now");
    CHECK(w.stored().paid() == satoshi{1'000});
}

TEST_CASE("many connections' payments are written in one batch, and acked when that is on disk", "[server]") {
    open_world a;
    // A second channel of another client, on the same disk.
    memory_pipe pipe;
    faulty_transport connection{a.payee.plan, pipe, pipe.second, {}};
    world b;
    REQUIRE(b.open(satoshi{900'000}));
    for (const auto kind : {record_kind::server_channel, record_kind::server_contract}) {
        const txid id = b.channel();
        const bytes record = stored_bytes(b.payee.disk, kind, id);
        const std::uint64_t version = kind == record_kind::server_channel ? b.s->record().version : 1;
        REQUIRE(a.payee.disk.put({kind, id}, version, record));
    }
    world::server other(v1{}, connection, a.clock, a.payee.keys, a.payee.store, a.payee.wallet, a.payee.network,
                        a.payee.codec, a.payee.events);
    wire::client_version hello{1, 0, {}, 86'340};
    const bytes32 hash = display_bytes(b.channel());
    hello.previous_channel_contract_hash = hash;
    other.on_frame(encoded(hello));
    REQUIRE(other.phase() == server_phase::open);
    connection.sent.clear();
    a.payee.events.heard.clear();

    REQUIRE(a.c->pay(satoshi{10}));
    REQUIRE(b.c->pay(satoshi{20}));
    const bytes first = a.payer.transport.sent.back();
    const bytes second = b.payer.transport.sent.back();

    std::vector<put_request> batch;
    for (const put_request& r : a.s->take(first)) batch.push_back(r);
    for (const put_request& r : other.take(second)) batch.push_back(r);
    CHECK(batch.size() == 2);
    CHECK(a.sent().empty());
    CHECK(connection.sent.empty());
    CHECK(a.payee.events.heard.empty());
    SECTION("written") {
        const auto written = a.payee.store.put_many(batch);
        a.s->finish(written);
        other.finish(written);
        CHECK(a.sent() == "PAYMENT_ACK");
        CHECK(names_of(connection.sent) == "PAYMENT_ACK");
        CHECK(a.stored().paid() == satoshi{1'010});
        CHECK(load_record(a.payee.disk, record_kind::server_channel, b.channel())->paid() == satoshi{1'020});
        CHECK(a.payee.events.names() == "payment payment");
    }
    SECTION("not written") {
        a.payee.plan = {call::store_put, fault::fails, 0, false};
        const auto written = a.payee.store.put_many(batch);
        a.s->finish(written);
        other.finish(written);
        CHECK(a.sent() == "ERROR");
        CHECK(names_of(connection.sent) == "ERROR");
        CHECK(a.stored().paid() == satoshi{1'000});
        CHECK(a.payee.events.names() == "error error");
    }
}

TEST_CASE("of two connections on one channel, the one that was left behind cannot ack", "[server]") {
    open_world w;
    memory_pipe pipe;
    faulty_transport connection{w.payee.plan, pipe, pipe.second, {}};
    world::server newer(v1{}, connection, w.clock, w.payee.keys, w.payee.store, w.payee.wallet, w.payee.network,
                        w.payee.codec, w.payee.events);
    wire::client_version hello{1, 0, {}, 86'340};
    const bytes32 hash = display_bytes(w.channel());
    hello.previous_channel_contract_hash = hash;
    newer.on_frame(encoded(hello));
    REQUIRE(newer.phase() == server_phase::open);

    REQUIRE(w.c->pay(satoshi{10}));
    newer.on_frame(w.payer.transport.sent.back());
    CHECK(newer.record().paid() == satoshi{1'010});
    w.c->on_frame(encoded(wire::payment_ack{}));
    w.pipe.second.deliver(*w.s);  // the same frame on the older connection
    CHECK(w.sent() == "ERROR");
    CHECK(w.payee.events.last(event_kind::error).problem.code == errc::stale_record);
    CHECK(w.stored().paid() == satoshi{1'010});
}

// ---- Ends

TEST_CASE("a channel that is used up is acked, settled and closed with the settlement", "[server]") {
    open_world w;
    outcome o;
    REQUIRE(w.pay(w.c->record().change, o));
    CHECK(o.told);
    CHECK(w.sent() == "PAYMENT_ACK CLOSE");
    CHECK(w.payee.events.names() == "payment settled closed");
    CHECK(w.payee.events.last(event_kind::settled).total == satoshi{1'000'000});
    const auto closing = w.chain.spender_in_mempool({w.channel(), 0});
    REQUIRE(closing);
    CHECK(*closing == w.payee.events.last(event_kind::settled).closing);
    CHECK(w.payer.events.last(event_kind::settled).closing == *closing);
}

TEST_CASE("the operator settles an open channel once", "[server]") {
    open_world w;
    REQUIRE(w.pays(5'000));
    REQUIRE(w.s->settle());
    CHECK(w.s->settle().error().code == errc::wrong_state);
    w.run();
    CHECK(w.sent() == "PAYMENT_ACK CLOSE");
    CHECK(as<wire::close>(w.payee.transport.sent.back())->settlement);
    CHECK(w.s->settle().error().code == errc::wrong_state);
    world fresh;
    CHECK(fresh.s->settle().error().code == errc::wrong_state);
    CHECK(fresh.payee.transport.sent.empty());
}

TEST_CASE("who resumes a channel and shows no signature cannot have it settled", "[server]") {
    // A contract's txid is public.
    open_world w;
    REQUIRE(w.pays(5'000));
    const bytes last = w.payer.transport.sent.back();
    const txid id = w.channel();
    const channel_record before = w.stored();
    w.reconnect();
    w.payee.events.heard.clear();
    const auto resume = [&] {
        w.make_server();
        wire::client_version hello{1, 0, {}, 86'340};
        const bytes32 hash = display_bytes(id);
        hello.previous_channel_contract_hash = hash;
        w.s->on_frame(encoded(hello));
        REQUIRE(w.s->phase() == server_phase::open);
        w.payee.transport.sent.clear();
    };
    resume();
    SECTION("nothing is settled, and the client goes on") {
        w.s->on_frame(encoded(wire::close{}));
        CHECK(names_of(w.payee.transport.sent) == "CLOSE");
        CHECK_FALSE(as<wire::close>(w.payee.transport.sent.back())->settlement);
        CHECK(w.s->phase() == server_phase::ended);
        CHECK(w.payee.events.count(event_kind::settled) == 0);
        CHECK_FALSE(w.chain.spender_in_mempool({id, 0}));
        const auto after = load_record(w.payee.disk, record_kind::server_channel, id);
        CHECK(after->stage == channel_stage::open);
        CHECK(after->version == before.version);
        CHECK(stored_bytes(w.payee.disk, record_kind::server_settlement, id).empty());
        w.reconnect();
        REQUIRE(w.open(satoshi{0}));
        CHECK(w.pays(1));
        REQUIRE(w.c->settle());
        w.run();
        CHECK(w.chain.spender_in_mempool({id, 0}));
    }
    SECTION("with the last payment it is settled") {
        w.s->on_frame(last);
        w.s->on_frame(encoded(wire::close{}));
        w.payee.follower.deliver(*w.s);
        CHECK(names_of(w.payee.transport.sent) == "PAYMENT_ACK CLOSE");
        CHECK(w.chain.spender_in_mempool({id, 0}));
    }
    SECTION("as in the reference, where the operator wants that") {
        w.server_settings.unproven_close = unproven_close_rule::settles;
        resume();
        w.s->on_frame(encoded(wire::close{}));
        w.payee.follower.deliver(*w.s);
        CHECK(names_of(w.payee.transport.sent) == "CLOSE");
        CHECK(as<wire::close>(w.payee.transport.sent.back())->settlement);
        CHECK(w.chain.spender_in_mempool({id, 0}));
    }
}

TEST_CASE("a new channel is settled on CLOSE: its first payment was the proof", "[server]") {
    open_world w;
    w.s->on_frame(encoded(wire::close{}));
    w.payee.follower.deliver(*w.s);
    CHECK(w.sent() == "CLOSE");
    CHECK(w.chain.spender_in_mempool({w.channel(), 0}));
}

TEST_CASE("payments and a second CLOSE are passed over while the server settles", "[server]") {
    open_world w;
    REQUIRE(w.c->pay(satoshi{5}));
    const bytes payment = w.payer.transport.sent.back();
    REQUIRE(w.s->settle());
    w.s->on_frame(payment);
    w.s->on_frame(encoded(wire::close{}));
    CHECK(w.sent().empty());
    CHECK(w.stored().paid() == satoshi{1'000});
    w.payee.follower.deliver(*w.s);
    CHECK(w.sent() == "CLOSE");
}

TEST_CASE("a settlement that the network refuses ends the connection; the channel stays to be settled", "[server]") {
    open_world w;
    w.payee.follower.refuse_next("min relay fee not met");
    REQUIRE(w.c->settle());
    w.run();
    CHECK(error_text(w.payee.transport.sent) ==
          "OTHER: the network refuses the settlement now: the server tries again");
    CHECK(w.stored().stage == channel_stage::settling);
    CHECK_FALSE(stored_bytes(w.payee.disk, record_kind::server_settlement, w.channel()).empty());
}

TEST_CASE("a settlement that nobody answers is broadcast again when asked to", "[server]") {
    open_world w;
    w.payee.follower.set_node(chain_follower::node::down);
    REQUIRE(w.c->settle());
    w.run();
    CHECK(w.s->phase() == server_phase::settling);
    w.payee.follower.set_node(chain_follower::node::up);
    w.s->rebroadcast();
    w.run();
    CHECK(w.sent() == "CLOSE");
    CHECK(w.chain.spender_in_mempool({w.channel(), 0}));
}

TEST_CASE("a settlement that cannot be stored or signed is not broadcast", "[server]") {
    open_world w;
    w.payee.plan = {GENERATE(call::store_put, call::keys_sign, call::wallet_payout), fault::fails, 0, false};
    REQUIRE(w.c->settle());
    w.run();
    CHECK(w.payee.plan.hit);
    CHECK(w.sent() == "ERROR");
    CHECK_FALSE(w.chain.spender_in_mempool({w.channel(), 0}));
    CHECK(w.stored().stage == channel_stage::open);
    w.reconnect();
    REQUIRE(w.open(satoshi{0}));
    REQUIRE(w.c->settle());
    w.run();
    CHECK(w.chain.spender_in_mempool({w.channel(), 0}));
}

TEST_CASE("a frame that does not parse ends the server's connection without an ERROR", "[server]") {
    for (const bytes& frame : {bytes{}, bytes{0}, bytes(100, 0xff), bytes(wire::max_frame_size + 1, 0)}) {
        world w;
        w.s->on_frame(frame);
        CHECK(w.payee.transport.sent.empty());
        CHECK(w.payee.transport.closed == 1);
        CHECK(w.payee.events.names() == "error");
    }
}

TEST_CASE("a message without its body or out of order is told so", "[server]") {
    {
        world w;
        w.s->on_frame(unhex("0801"));
        CHECK(error_text(w.payee.transport.sent) == "SYNTAX_ERROR: CLIENT_VERSION has no body");
    }
    world w;
    w.s->on_frame(encoded(wire::close{}));
    CHECK(error_text(w.payee.transport.sent) == "SYNTAX_ERROR: this message does not belong here in the conversation");
    CHECK(w.payee.transport.closed == 1);
}

TEST_CASE("nothing is sent on a connection that has ended, whatever arrives", "[server]") {
    // It used to send its last frame again for each frame that came.
    open_world w;
    SECTION("after an ERROR") { w.s->on_frame(encoded(wire::channel_open{})); }
    SECTION("after CLOSE") { w.s->close(); }
    SECTION("after the settlement") {
        REQUIRE(w.s->settle());
        w.payee.follower.deliver(*w.s);
    }
    REQUIRE(w.s->phase() == server_phase::ended);
    const std::size_t sent = w.payee.transport.sent.size();
    const std::size_t told = w.payee.events.heard.size();
    w.s->on_frame(encoded(wire::client_version{1, 0, {}, 86'340}));
    w.s->on_frame(encoded(wire::close{}));
    w.s->on_frame(unhex("00"));
    w.s->finish(put_all(w.payee.store, w.s->take(unhex("0807"))));
    w.s->on_broadcast(w.channel(), broadcast_outcome::accepted);
    w.s->close();
    w.s->rebroadcast();
    CHECK(w.payee.transport.sent.size() == sent);
    CHECK(w.payee.transport.closed == 1);
    CHECK(w.payee.events.heard.size() == told);
}

TEST_CASE("a server that stops says CLOSE, and the client resumes elsewhere", "[server]") {
    open_world w;
    REQUIRE(w.pays(5));
    w.s->close();
    w.run();
    CHECK(w.sent() == "PAYMENT_ACK CLOSE");
    CHECK_FALSE(as<wire::close>(w.payee.transport.sent.back())->settlement);
    CHECK(w.payer.events.count(event_kind::settled) == 0);
    w.reconnect();
    REQUIRE(w.open(satoshi{0}));
    CHECK(w.pays(5));
    CHECK(w.stored().paid() == satoshi{1'010});
}

TEST_CASE("a server that waited too long says TIMEOUT", "[server]") {
    world w;
    w.s->close({errc::timeout, "no message for 15 seconds"});
    CHECK(error_text(w.payee.transport.sent) == "TIMEOUT: no message for 15 seconds");
    CHECK(w.payee.transport.closed == 1);
}
