// The server's driver: what it acks, what it demands, and how its connections end.
#include "paychan/server.hpp"

#include <catch2/catch.hpp>

#include "support/channel.hpp"
#include "support/versions.hpp"
#include "support/world.hpp"

using namespace paychan;
using namespace paychan_test;

namespace {

struct open_server : world {
    explicit open_server(std::int32_t version = each_version()) : world(version) {
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
    const std::int32_t version = w.server_settings.versions.has(2) ? 2 : 1;
    w.s->on_frame(encoded(wire::client_version{version, 0, {}, window}));
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
        world w(each_version());
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

// ---- Keys

TEST_CASE("a stranger's hello costs the server no key", "[server]") {
    world w(each_version());
    (void)initiate_of(w);
    SECTION("the connection is lost") {}
    SECTION("the stranger sends an ERROR") { w.s->on_frame(encoded(wire::error_message{8, {}, {}})); }
    SECTION("the stranger sends what is no message") { w.s->on_frame(as_bytes("x")); }
    SECTION("the stranger says hello again") { w.s->on_frame(encoded(wire::client_version{2, 0, {}, 86'340})); }
    CHECK(w.payee.keys.given_back.empty());
    w.s->on_disconnected();
    CHECK(w.payee.keys.given_back == std::vector{key_id{1}});
    CHECK(stored_channels(w.payee.disk, record_kind::server_channel).empty());
}

TEST_CASE("a hello that cannot be answered costs the server no key", "[server]") {
    world w(each_version());
    SECTION("there is no payout script") { w.payee.plan = {call::wallet_payout, fault::fails, 0, false}; }
    SECTION("the answer cannot be encoded") { w.payee.plan = {call::codec_encode, fault::fails, 0, false}; }
    w.s->on_frame(encoded(wire::client_version{w.version(), 0, {}, 86'340}));
    REQUIRE(w.payee.plan.hit);
    CHECK(w.payee.keys.given_back == std::vector{key_id{1}});
    w.s->on_disconnected();
    CHECK(w.payee.keys.given_back.size() == 1);
}

TEST_CASE("a key that has signed a refund is not used for another channel", "[server]") {
    // With it and a refund of a near lock time, a client would open a channel with a far expiry on the same contract.
    world w(1);
    const made_refund refund(initiate_of(w), {txid{}, 0});
    w.s->on_frame(encoded(wire::provide_refund{refund.key.view(), refund.tx.view()}));
    REQUIRE(w.s->phase() == server_phase::refund_signed);
    w.s->on_disconnected();
    CHECK(w.payee.keys.given_back.empty());
}

TEST_CASE("the key of a contract that may be on disk stays used", "[server]") {
    world w(each_version());
    SECTION("it is") {}
    SECTION("the network refuses it") { w.payee.follower.refuse_next("min relay fee not met"); }
    SECTION("the write failed") {
        w.payee.plan = {call::store_put, GENERATE(fault::fails, fault::fails_after), 0, false};
    }
    (void)w.open();
    w.pipe.cut();
    w.run();
    CHECK(w.payee.keys.given_back.empty());
}

TEST_CASE("the smallest window leaves ten minutes before the server's margin, to open and to pay", "[server]") {
    world w(each_version());
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
    // The largest settlement, counted by hand in channel/settlement.cpp, and an output that is no dust: 546.
    const std::int32_t version = each_version();
    const std::uint64_t size = version == 1 ? 268 : 350;
    {
        world w(version);
        CHECK(initiate_of(w).min_payment == 1'000);
    }
    {
        world w(version);
        w.server_settings.min_payment = satoshi{1};
        w.make_server();
        CHECK(initiate_of(w).min_payment == size + 546);
    }
    {
        world w(version);
        w.s->on_fee_rate({10'000});
        CHECK(initiate_of(w).min_payment == 10 * size + 546);
    }
    {
        world w(version);
        w.server_settings.min_channel = satoshi{2'000};
        w.make_server();
        w.s->on_fee_rate({10'000});
        CHECK(initiate_of(w).min_accepted_channel_size == 10 * size + 546);
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
    server payee(both_versions{}, connection, clock, keys, store, wallet, network, codec, events);
    payee.on_fee_rate({10'000});
    payee.on_frame(encoded(wire::client_version{1, 0, {}, 86'340}));
    REQUIRE(connection.sent.size() == 2);
    CHECK(as<wire::initiate>(connection.sent[1])->min_payment == 3'226);
}

TEST_CASE("a first payment below what was demanded opens nothing", "[server]") {
    world w(each_version());
    w.server_settings.min_payment = satoshi{2'000};
    w.make_server();
    REQUIRE(w.c->connect(satoshi{1'000'000}));
    w.pipe.second.deliver(*w.s);
    w.c->on_frame(w.payee.transport.sent[0]);
    auto terms = decoded(w.payee.transport.sent[1]);
    std::get<wire::initiate>(terms).min_payment = 1'999;  // a client that pays less
    w.c->on_frame(encoded(terms));
    w.pipe.second.deliver(*w.s);
    if (w.payee.transport.sent.size() > 2 && as<wire::return_refund>(w.payee.transport.sent[2])) {
        w.c->on_frame(w.payee.transport.sent[2]);
        w.pipe.second.deliver(*w.s);
    }
    CHECK(error_text(w.payee.transport.sent) == "BAD_TRANSACTION: the first payment is below the minimum");
    CHECK(stored_channels(w.payee.disk, record_kind::server_channel).empty());
    CHECK(w.chain.mempool_size() == 0);
}

TEST_CASE("a server follows what a peer asked for as first payment, in its range and when it can afford it",
          "[server]") {
    const std::int32_t version = each_version();
    const auto demanded = [&](std::int64_t expected, std::int64_t rate = 1'000, std::int64_t own = 1'000,
                              std::optional<satoshi> lowest = satoshi{1'000}) {
        world w(version);
        w.server_settings.min_payment = satoshi{own};
        w.server_settings.lowest_min_payment = lowest;
        w.make_server();
        w.s->on_fee_rate({rate});
        w.s->expect_min_payment(satoshi{expected});
        return static_cast<std::int64_t>(initiate_of(w).min_payment);
    };
    CHECK(demanded(5'000) == 5'000);
    CHECK(demanded(10'000) == 10'000);
    CHECK(demanded(1'000, 1'000, 5'000) == 1'000);      // also down,
    CHECK(demanded(1'000, 1'000, 5'000, {}) == 5'000);  // if the operator said so
    CHECK(demanded(6'000, 1'000, 5'000, {}) == 6'000);
    // Outside of the range: its own.
    CHECK(demanded(10'001) == 1'000);
    CHECK(demanded(999) == 1'000);
    CHECK(demanded(0) == 1'000);
    CHECK(demanded(-1) == 1'000);
    CHECK(demanded(std::numeric_limits<std::int64_t>::max()) == 1'000);
    CHECK(demanded(std::numeric_limits<std::int64_t>::min(), 1'000, 5'000) == 5'000);
    // Not below what a settlement costs now.
    const std::int64_t cost = 10 * (version == 1 ? 268 : 350) + 546;
    CHECK(demanded(1'000, 10'000) == cost);
    CHECK(demanded(5'000, 10'000) == 5'000);
    CHECK(demanded(1'000, 10'000, 5'000) == 5'000);
}

TEST_CASE("a range that the operator sets for first payments is kept", "[server]") {
    world w(each_version());
    w.server_settings.lowest_min_payment = satoshi{2'000};
    w.server_settings.highest_min_payment = satoshi{4'000};
    const std::int64_t asked = GENERATE(1'999, 2'000, 4'000, 4'001);
    w.make_server();
    w.s->expect_min_payment(satoshi{asked});
    const bool follows = asked == 2'000 || asked == 4'000;
    CHECK(initiate_of(w).min_payment == static_cast<std::uint64_t>(follows ? asked : 1'000));
}

TEST_CASE("what a peer would have taken as first payment is kept for its next attempt", "[server]") {
    const std::int32_t version = each_version();
    const auto after = [&](const wire::error_message& m) {
        world w(version);
        CHECK_FALSE(w.s->peer_expects());
        (void)initiate_of(w);
        CHECK_FALSE(w.s->peer_expects());
        w.s->on_frame(encoded(m));
        CHECK(w.s->phase() == server_phase::ended);
        return w.s->peer_expects();
    };
    CHECK(after({7, {}, 5'000}) == satoshi{5'000});
    CHECK(after({7, as_bytes("too much"), max_money.value}) == max_money);
    CHECK_FALSE(after({7, {}, static_cast<std::uint64_t>(max_money.value) + 1}));
    CHECK_FALSE(after({7, {}, ~std::uint64_t{0}}));
    CHECK_FALSE(after({7, {}, {}}));  // it did not say
    CHECK_FALSE(after({6, {}, 5'000}));
    CHECK_FALSE(after({8, {}, 5'000}));
    // Before the terms there is nothing that it could mean.
    world w(version);
    w.s->on_frame(encoded(wire::error_message{7, {}, 5'000}));
    CHECK_FALSE(w.s->peer_expects());
}

TEST_CASE("a client that takes one first payment only gets it at its second attempt", "[server]") {
    const std::int32_t version = each_version();
    world w(version);
    w.server_settings.min_payment = satoshi{5'000};
    w.server_settings.lowest_min_payment = satoshi{1'000};
    w.client_settings.max_min_payment = satoshi{1'000};  // as releases of the reference
    w.make_client();
    w.make_server();
    REQUIRE(w.open());
    CHECK(w.payer.events.last(event_kind::error).problem.code == errc::min_payment_too_large);
    const auto expected = w.s->peer_expects();
    REQUIRE(expected == satoshi{1'000});
    w.reconnect();
    w.s->expect_min_payment(*expected);
    REQUIRE(w.open());
    CHECK(w.c->phase() == client_phase::open);
    CHECK(w.s->record().paid() == satoshi{1'000});
}

// ---- Versions

TEST_CASE("a version that the server does not speak is answered with those that it does", "[server]") {
    struct row {
        version_set versions;
        std::string text;
        std::array<bool, 2> speaks;
    };
    const row r = GENERATE(row{version_set::only(1), "this server speaks protocol version 1", {true, false}},
                           row{version_set::only(2), "this server speaks protocol version 2", {false, true}},
                           row{version_set::all(), "this server speaks protocol versions 1 and 2", {true, true}},
                           row{version_set::only(1).without(1), "this server opens no channels", {false, false}});
    for (const std::int32_t major : {0, 1, 2, 3, -1, std::numeric_limits<std::int32_t>::max()}) {
        INFO(r.text << ", asked for " << major);
        world w;
        w.server_settings.versions = r.versions;
        w.make_server();
        w.s->on_frame(encoded(wire::client_version{major, GENERATE(0, 7), {}, 86'340}));  // minor is ignored
        if ((major == 1 && r.speaks[0]) || (major == 2 && r.speaks[1])) {
            REQUIRE(names_of(w.payee.transport.sent) == "SERVER_VERSION INITIATE");
            CHECK(as<wire::server_version>(w.payee.transport.sent[0])->major == major);
            CHECK(as<wire::server_version>(w.payee.transport.sent[0])->minor == 0);
        } else {
            CHECK(error_text(w.payee.transport.sent) == "NO_ACCEPTABLE_VERSION: " + r.text);
            CHECK(w.payee.transport.closed == 1);
        }
    }
}

TEST_CASE("a program with one scheme names its version, whatever is allowed", "[server]") {
    recording_transport connection;
    manual_clock clock(world_start);
    memory_keys keys = memory_keys::testing_from(5);
    memory_store store;
    coin_wallet wallet(3);
    recording_broadcaster network;
    wire::small_codec codec;
    event_log events;
    server payee(contracts<cltv_p2sh>{}, connection, clock, keys, store, wallet, network, codec, events);
    payee.on_frame(encoded(wire::client_version{1, 0, {}, 86'340}));
    CHECK(error_text(connection.sent) == "NO_ACCEPTABLE_VERSION: this server speaks protocol version 2");
}

TEST_CASE("a channel is resumed with its own version by who asks for that or for a higher one", "[server]") {
    const std::int32_t version = each_version();
    open_server w(version);
    const txid id = w.channel();
    w.server_settings.versions = version_set::only(3 - version);  // of new channels
    const auto answer = [&](std::int32_t major) {
        w.reconnect();
        w.payee.transport.sent.clear();
        const bytes32 hash = display_bytes(id);
        w.s->on_frame(encoded(wire::client_version{major, 0, hash, 86'340}));
        if (names_of(w.payee.transport.sent) != "SERVER_VERSION CHANNEL_OPEN")
            return error_text(w.payee.transport.sent);
        return std::to_string(as<wire::server_version>(w.payee.transport.sent[0])->major);
    };
    const std::string refusal =
        "NO_ACCEPTABLE_VERSION: that channel was opened with another protocol version: resume it with that one";
    CHECK(answer(version) == std::to_string(version));
    CHECK(answer(2) == std::to_string(version));  // a client of the reference that knows both asks for 2
    CHECK(answer(1) == (version == 1 ? "1" : refusal));
    for (const std::int32_t other : {0, 3, -1, std::numeric_limits<std::int32_t>::max()})
        CHECK(answer(other) == refusal);
    CHECK(w.s->record().stage == channel_stage::none);  // and a refusal takes nothing up
}

TEST_CASE("a version 1 channel is resumed, paid on and settled by a client that asked for 2", "[server]") {
    open_server w(1);
    const txid id = w.channel();
    REQUIRE(w.c->pay(satoshi{5'000}));
    const bytes payment = w.payer.transport.sent.back();
    w.reconnect();
    const bytes32 hash = display_bytes(id);
    w.s->on_frame(encoded(wire::client_version{2, 0, hash, 86'340}));
    w.s->on_frame(payment);
    w.s->on_frame(encoded(wire::close{}));
    w.payee.follower.deliver(*w.s);
    CHECK(w.s->record().paid() == satoshi{6'000});
    CHECK(w.chain.spender_in_mempool({id, 0}));
}

TEST_CASE("a channel whose version the program lacks is not resumed, nor is another opened in its place", "[server]") {
    open_server w(2);
    const bytes32 hash = display_bytes(w.channel());
    recording_transport connection;
    server older(contracts<multisig_refund>{}, connection, w.clock, w.payee.keys, w.payee.store, w.payee.wallet,
                 w.payee.network, w.payee.codec, w.payee.events);
    older.on_frame(encoded(wire::client_version{2, 0, hash, 86'340}));
    CHECK(error_text(connection.sent) == "OTHER: this side cannot go on now; try again later");
    CHECK(w.payee.events.last(event_kind::error).problem.code == errc::unsupported);
    CHECK(w.pays(1));  // the older connection is not touched
}

TEST_CASE("the first payment of a client with a long key bears the settlement, or opens nothing", "[server]") {
    // What INITIATE demands was counted with a key of 33 bytes.
    world w(2);
    w.server_settings.min_payment = satoshi{1};
    w.make_server();
    const wire::initiate m = initiate_of(w);
    contract_terms terms;
    terms.value = satoshi{1'000'000};
    terms.expiry = {static_cast<std::int64_t>(m.expire_time_secs)};
    terms.server_key = parse_public_key(m.multisig_key).value();
    channel_record own;
    own.key = w.payer.ring.new_key().value();
    terms.client_key = uncompressed(w.payer.ring.public_key(own.key).value());
    bytes memory(1'000);
    const bytes contract = owned(
        w.payer.purse.fund(v2_scheme::script_pubkey(terms).view(), terms.value, min_relay_fee_rate, memory).value());
    terms.contract = {parse_transaction(contract).value().id(), 0};
    own.terms = terms;
    const auto offer = [&](std::int64_t first) {
        own.change = {1'000'000 - first};
        const auto signature = sign_payment<v2_scheme>(own, own.change, w.payer.ring).value();
        wire::provide_contract offered{
            contract, {static_cast<std::uint64_t>(own.change.value), signature.view(), {}}, terms.client_key.view()};
        w.s->on_frame(encoded(offered));
    };
    SECTION("what was demanded") {
        offer(static_cast<std::int64_t>(m.min_payment) + GENERATE(0, 33));
        CHECK(error_text(w.payee.transport.sent) ==
              "BAD_TRANSACTION: the first payment does not bear the fee of a settlement");
        CHECK(stored_channels(w.payee.disk, record_kind::server_channel).empty());
    }
    SECTION("and what the longer key costs") {
        offer(static_cast<std::int64_t>(m.min_payment) + 34);  // 32 bytes, and two for the length of the script_sig
        w.payee.follower.deliver(*w.s);
        REQUIRE(w.s->phase() == server_phase::open);
        w.s->on_frame(encoded(wire::close{}));
        w.payee.follower.deliver(*w.s);
        CHECK(w.chain.spender_in_mempool(terms.contract));
    }
}

// ---- Opening

TEST_CASE("the application hears of the first payment before it hears of the opening", "[server]") {
    world w(each_version());
    REQUIRE(w.open());
    CHECK(w.payee.events.names() == "stored payment opened");
    CHECK(w.payee.events.last(event_kind::payment).amount == satoshi{1'000});
    CHECK(w.payee.events.last(event_kind::opened).channel == w.channel());
}

TEST_CASE("the channel opens when the network has the contract, and not before", "[server]") {
    world w(each_version());
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
    world w(each_version());
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
    world w(each_version());
    w.payee.follower.refuse_next("bare-multisig");
    REQUIRE(w.open());
    CHECK(error_text(w.payee.transport.sent) == "BAD_TRANSACTION: the network refuses the contract");
    CHECK(w.payee.events.names() == "stored error closed");
    CHECK(w.payer.events.count(event_kind::opened) == 0);
    // Its key stays on disk: the client could still have it mined.
    CHECK(load_record(w.payee.disk, record_kind::server_channel, w.channel()));
}

TEST_CASE("outcomes of other transactions do not open a channel", "[server]") {
    world w(each_version());
    REQUIRE(w.c->connect(satoshi{1'000'000}));
    talk(w);
    REQUIRE(w.s->phase() == server_phase::broadcasting);
    w.s->on_broadcast(txid{bytes32{9}}, broadcast_outcome::accepted);
    w.s->on_broadcast(txid{bytes32{9}}, broadcast_outcome::refused);
    CHECK(w.s->phase() == server_phase::broadcasting);
}

TEST_CASE("a connection that was lost while the contract was broadcast goes on when it is resumed", "[server]") {
    world w(each_version());
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
    open_server victim(1);
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
    open_server w;
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
        CHECK(w.payee.events.names() == "stored opened payment");
        CHECK(w.payee.events.last(event_kind::payment).amount == satoshi{7'000});
        CHECK(load_record(w.payee.disk, record_kind::server_channel, id)->stage == channel_stage::open);
        CHECK(w.pays(1));
    }
}

TEST_CASE("a channel whose contract nobody has seen since the start is resumed when the network has it", "[server]") {
    open_server w;
    const txid id = w.channel();
    const bool backed = GENERATE(false, true);
    w.payee.events.backed = backed;
    w.payee.follower.set_node(chain_follower::node::down);
    w.reconnect();
    w.payee.events.heard.clear();
    REQUIRE(w.open(satoshi{0}));
    CHECK((w.s->phase() == server_phase::open) == backed);
    if (backed) return;
    CHECK(w.payee.events.count(event_kind::opened) == 0);
    CHECK(load_record(w.payee.disk, record_kind::server_channel, id)->stage == channel_stage::open);
    w.payee.follower.set_node(chain_follower::node::up);
    w.s->rebroadcast();
    w.run();
    CHECK(w.s->phase() == server_phase::open);
    CHECK(w.pays(1));
}

TEST_CASE("what may not be taken yet opens no channel, and moves nothing on one that is open", "[server]") {
    world w(each_version());
    const auto no = [](satoshi) -> result<void> { return fail(errc::other, "wait for a block"); };
    w.payee.events.may = no;
    REQUIRE(w.open());
    CHECK(error_text(w.payee.transport.sent) == "OTHER: wait for a block");
    CHECK(w.s->phase() == server_phase::ended);
    const txid id = w.s->record().terms.contract.id;
    CHECK(w.chain.in_mempool(id));
    const auto stored = [&] { return load_record(w.payee.disk, record_kind::server_channel, id).value(); };
    CHECK(stored().stage == channel_stage::contract_stored);
    CHECK(w.payee.events.count(event_kind::opened) == 0);

    w.payee.events.may = [&](satoshi total) { return total > satoshi{1'500} ? no(total) : result<void>{}; };
    w.reconnect();
    REQUIRE(w.open(satoshi{0}));
    CHECK(w.s->phase() == server_phase::open);
    CHECK(w.pays(500));
    outcome o;
    REQUIRE(w.pay(satoshi{1}, o));
    CHECK_FALSE(o.told);
    CHECK(error_text(w.payee.transport.sent) == "OTHER: wait for a block");
    CHECK(stored().paid() == satoshi{1'500});

    w.payee.events.may = {};
    w.reconnect();
    REQUIRE(w.open(satoshi{0}));
    CHECK(w.pays(1));
}

TEST_CASE("an unreachable node, an acceptance or another contract's refusal changes nothing in an open channel",
          "[server]") {
    open_server w;
    w.s->on_broadcast(w.channel(), broadcast_outcome::unreachable);
    w.s->on_broadcast(w.channel(), broadcast_outcome::accepted);
    w.s->on_broadcast(txid{bytes32{9}}, broadcast_outcome::refused);
    CHECK(w.s->phase() == server_phase::open);
    CHECK(w.sent().empty());
    CHECK(w.payee.events.heard.empty());
    CHECK(w.pays(1));
}

TEST_CASE("a stranger's hello settles no channel whose client has paid all and awaits the answer", "[server]") {
    world w(each_version());
    REQUIRE(w.open());
    w.payee.events.answer = [](const event&) { return payment_answer::hold(); };
    REQUIRE(w.c->pay(w.c->record().change));
    w.run();
    REQUIRE(w.s->phase() == server_phase::answering);
    const txid id = w.s->record().terms.contract.id;
    const bytes32 hash = display_bytes(id);
    w.make_server();  // another connection
    wire::client_version hello;
    hello.major = w.version();
    hello.previous_channel_contract_hash = hash;
    w.s->on_frame(encoded(hello));
    CHECK(w.s->phase() == server_phase::open);
    CHECK_FALSE(w.s->proven());
    const auto stored = load_record(w.payee.disk, record_kind::server_channel, id);
    REQUIRE(stored);
    CHECK(stored->stage == channel_stage::open);
    // The client itself has it settled: by its last payment, said again.
    w.s->on_frame(w.payer.transport.sent.back());
    CHECK(w.s->phase() == server_phase::settling);
}

TEST_CASE("a contract that cannot be looked up is this side's problem, not the client's", "[server]") {
    world w(each_version());
    w.payee.plan = {call::store_get, fault::fails, 0, false};
    REQUIRE(w.open());
    CHECK(w.payee.plan.hit);
    CHECK(error_text(w.payee.transport.sent) == "OTHER: this side cannot go on now; try again later");
    CHECK(w.payee.events.count(event_kind::stored) == 0);
}

TEST_CASE("a refused contract ends the connection also when that cannot be stored", "[server]") {
    open_server w;
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
    open_server w;
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
    open_server w;
    REQUIRE(w.pays(5'000));
    const std::uint64_t version = w.stored().version;
    w.s->on_frame(w.payer.transport.sent.back());
    CHECK(w.sent() == "PAYMENT_ACK PAYMENT_ACK");
    CHECK(w.payee.events.names() == "payment");
    CHECK(w.stored().version == version);
}

TEST_CASE("a payment's information reaches the application with the amount", "[server]") {
    open_server w;
    outcome o;
    REQUIRE(w.pay(satoshi{5}, o, "order 7"));
    const heard_event e = w.payee.events.last(event_kind::payment);
    CHECK(text_of(e.data) == "order 7");
    CHECK(e.amount == satoshi{5});
    CHECK(e.total == satoshi{1'005});
}

TEST_CASE("a bad payment ends the connection, and the channel can be resumed", "[server]") {
    open_server w;
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
    open_server w;
    REQUIRE(w.c->pay(satoshi{5}));
    w.clock.set(w.s->record().terms.expiry);
    w.run();
    CHECK(error_text(w.payee.transport.sent) ==
          "TIME_WINDOW_UNACCEPTABLE: the channel is about to expire and is settled now");
    CHECK(w.stored().paid() == satoshi{1'000});
}

// ---- The application's answer

namespace {

/// An open channel whose application is asked, and answers later.
struct held_payment : open_server {
    outcome o;

    explicit held_payment(std::int64_t amount = 5'000, std::int32_t of_version = each_version())
        : open_server(of_version) {
        payee.events.asked.clear();
        payee.events.answer = [](const event&) { return payment_answer::hold(); };
        REQUIRE(pay(satoshi{amount}, o));
        REQUIRE(s->phase() == server_phase::answering);
        REQUIRE(sent().empty());
        REQUIRE(o.calls == 0);
    }
    /// Both kinds of answer are refused, and do nothing.
    void answers_are_late(satoshi total) {
        const std::size_t before = payee.transport.sent.size();
        const std::size_t told = payee.events.heard.size();
        const server_phase phase = s->phase();
        CHECK(s->ack(total).error().code == errc::wrong_state);
        CHECK(s->refuse(total, "no").error().code == errc::wrong_state);
        CHECK(payee.transport.sent.size() == before);
        CHECK(payee.events.heard.size() == told);
        CHECK(s->phase() == phase);
    }
    void resume() {
        payee.events.answer = nullptr;
        reconnect();
        payee.events.heard.clear();
        payee.events.asked.clear();
        REQUIRE(open(satoshi{0}));
    }
};

}  // namespace

TEST_CASE("the application is asked about each payment that moves money, when it is on disk, and gives bytes back",
          "[server]") {
    world w(each_version());
    const bytes thanks = owned(as_bytes("thanks"));
    w.payee.events.answer = [&](const event& e) {
        CHECK(e.kind == event_kind::payment);
        CHECK(e.amount == satoshi{5'000});
        CHECK(text_of(e.data) == "order 7");
        CHECK(w.payee.events.names() == "stored payment opened payment");  // on_event comes first
        CHECK(load_record(w.payee.disk, record_kind::server_channel, e.channel)->paid() == satoshi{6'000});
        CHECK(names_of(w.payee.transport.sent).find("PAYMENT_ACK") == std::string::npos);
        return payment_answer::ack(thanks);
    };
    REQUIRE(w.open());
    CHECK(w.payee.events.asked.empty());  // the first payment opens the channel
    outcome o;
    REQUIRE(w.pay(satoshi{5'000}, o, "order 7"));
    CHECK(o.told);
    CHECK(text_of(o.info) == "thanks");
    w.s->on_frame(w.payer.transport.sent.back());  // the same again
    CHECK(as<wire::payment_ack>(w.payee.transport.sent.back()));
    CHECK(w.payee.events.asked == std::vector{satoshi{6'000}});
}

TEST_CASE("an application that is not asked takes every payment", "[server]") {
    open_server w;
    REQUIRE(w.c->pay(satoshi{5'000}));
    const bytes payment = w.payer.transport.sent.back();
    recording_transport connection;
    event_log listener;  // has no on_payment
    server plain(both_versions{}, connection, w.clock, w.payee.keys, w.payee.store, w.payee.wallet, w.payee.network,
                 w.payee.codec, listener);
    const bytes32 hash = display_bytes(w.channel());
    plain.on_frame(encoded(wire::client_version{w.version(), 0, hash, 86'340}));
    plain.on_frame(payment);
    CHECK(names_of(connection.sent) == "SERVER_VERSION CHANNEL_OPEN PAYMENT_ACK");
    CHECK(listener.names() == "opened payment");
    CHECK(w.stored().paid() == satoshi{6'000});
}

TEST_CASE("a held payment is on disk, and its ack leaves when the application says so", "[server]") {
    held_payment w;
    CHECK(w.stored().paid() == satoshi{6'000});
    CHECK(w.payee.events.asked == std::vector{satoshi{6'000}});
    w.answers_are_late(satoshi{5'000});
    w.answers_are_late(satoshi{1'000});
    w.answers_are_late(satoshi{6'001});
    REQUIRE(w.s->ack(satoshi{6'000}, as_bytes("later")));
    CHECK(w.s->phase() == server_phase::open);
    w.run();
    CHECK(w.sent() == "PAYMENT_ACK");
    CHECK(w.o.calls == 1);
    REQUIRE(w.o.told);
    CHECK(w.o.told->total == satoshi{6'000});
    CHECK(text_of(w.o.info) == "later");
    w.answers_are_late(satoshi{6'000});
    w.payee.events.answer = nullptr;
    CHECK(w.pays(1));
}

TEST_CASE("a payment that the application refuses ends the connection with its words, and stays paid", "[server]") {
    const bool later = GENERATE(true, false);
    open_server w;
    w.payee.events.answer = [&](const event&) {
        return later ? payment_answer::hold() : payment_answer::refuse("sold out");
    };
    outcome o;
    REQUIRE(w.pay(satoshi{5'000}, o));
    if (later) {
        REQUIRE(w.s->phase() == server_phase::answering);
        REQUIRE(w.s->refuse(satoshi{6'000}, "sold out"));
        w.run();
    }
    CHECK(w.s->phase() == server_phase::ended);
    CHECK(w.sent() == "ERROR");
    CHECK(error_text(w.payee.transport.sent) == "OTHER: sold out");
    CHECK(w.payee.transport.closed == 1);
    CHECK(w.payee.events.names() == "payment error closed");
    CHECK(w.payee.events.last(event_kind::error).problem.code == errc::other);
    CHECK(o.calls == 1);
    REQUIRE_FALSE(o.told);
    CHECK(o.told.error().code == errc::peer_error);
    CHECK(text_of(w.payer.events.last(event_kind::error).data) == "sold out");
    CHECK(w.stored().paid() == satoshi{6'000});
    CHECK(w.stored().stage == channel_stage::open);
    // Both sides go on from there, and nobody is asked about it again.
    w.payee.events.answer = nullptr;
    w.payee.events.asked.clear();
    w.payee.events.heard.clear();
    w.reconnect();
    REQUIRE(w.open(satoshi{0}));
    CHECK(w.payee.events.count(event_kind::payment) == 0);
    CHECK(w.payee.events.asked.empty());
    CHECK(w.c->record().paid() == satoshi{6'000});
    CHECK(w.pays(1));
    CHECK(w.payee.events.asked == std::vector{satoshi{6'001}});
}

TEST_CASE("a payment that was held when the connection broke is acked on the next one without a question", "[server]") {
    held_payment w;
    w.pipe.cut();
    w.run();
    CHECK(w.o.calls == 1);
    CHECK_FALSE(w.o.told);
    w.answers_are_late(satoshi{6'000});
    SECTION("by its amount") {
        w.resume();
        CHECK(w.c->phase() == client_phase::open);
        CHECK(w.payee.events.names() == "opened");
    }
    SECTION("to a peer of the reference") {
        w.client_settings.extensions = false;
        const txid id = w.channel();
        w.make_client();
        REQUIRE(w.c->load(id));
        w.resume();
        CHECK(names_of(w.payee.transport.sent, w.payee.transport.sent.size() - 1) == "PAYMENT_ACK");
        CHECK(w.c->phase() == client_phase::open);
    }
    CHECK(w.payee.events.asked.empty());
    CHECK(w.c->record().paid() == satoshi{6'000});
    CHECK(w.pays(1));
}

TEST_CASE("an answer whose bytes do not fit into a frame is told to the application, or ends the connection",
          "[server]") {
    const bytes info(wire::max_frame_size, 'x');
    SECTION("when it comes later, it can be given again") {
        held_payment w;
        CHECK(w.s->ack(satoshi{6'000}, info).error().code == errc::too_long);
        CHECK(w.s->refuse(satoshi{6'000}, {reinterpret_cast<const char*>(info.data()), info.size()}).error().code ==
              errc::too_long);
        CHECK(w.sent().empty());
        CHECK(w.s->phase() == server_phase::answering);
        REQUIRE(w.s->ack(satoshi{6'000}, as_bytes("short")));
        w.run();
        CHECK(w.o.told);
    }
    SECTION("at once, the connection ends, and the payment stays") {
        open_server w;
        w.payee.events.answer = [&](const event&) { return payment_answer::ack(info); };
        outcome o;
        REQUIRE(w.pay(satoshi{5'000}, o));
        CHECK(w.sent() == "ERROR");
        CHECK(w.payee.events.last(event_kind::error).problem.code == errc::too_long);
        CHECK(w.stored().paid() == satoshi{6'000});
        w.payee.events.answer = nullptr;
        w.reconnect();
        REQUIRE(w.open(satoshi{0}));
        CHECK(w.pays(1));
    }
}

TEST_CASE("a second payment before the answer to the first ends the connection, and changes nothing", "[server]") {
    held_payment w;
    const std::uint64_t version = w.stored().version;
    // The client's driver would not send it.
    channel_record next = w.c->record();
    next.change = {900'000};
    next.signature = w.version() == 1 ? sign_payment<v1_scheme>(next, next.change, w.payer.ring).value()
                                      : sign_payment<v2_scheme>(next, next.change, w.payer.ring).value();
    const bytes repeated = w.payer.transport.sent.back();
    const bytes frame = GENERATE(true, false) ? repeated : encoded(detail::payment_message(next, {}));
    w.s->on_frame(frame);
    CHECK(error_text(w.payee.transport.sent) == "SYNTAX_ERROR: a payment before the last one was acknowledged");
    CHECK(w.s->phase() == server_phase::ended);
    CHECK(w.stored().version == version);
    CHECK(w.stored().paid() == satoshi{6'000});
    w.answers_are_late(satoshi{6'000});
    w.run();
    w.resume();
    CHECK(w.pays(1));
}

TEST_CASE("CLOSE, or the operator, settles a payment that still waits for its answer", "[server]") {
    held_payment w;
    if (GENERATE(true, false)) {
        REQUIRE(w.c->settle());
        w.pipe.second.deliver(*w.s);
    } else {
        REQUIRE(w.s->settle());
    }
    CHECK(w.s->phase() == server_phase::settling);
    w.answers_are_late(satoshi{6'000});
    w.run();
    CHECK(w.sent() == "CLOSE");
    CHECK(w.payee.events.last(event_kind::settled).total == satoshi{6'000});
    CHECK(w.payer.events.last(event_kind::settled).total == satoshi{6'000});
    CHECK(w.chain.spender_in_mempool({w.channel(), 0}));
    CHECK(w.o.calls == 1);  // told as unknown: no ack came
    CHECK_FALSE(w.o.told);
}

TEST_CASE("a channel that is used up is settled behind the answer to its last payment, not before", "[server]") {
    held_payment w(999'000);
    CHECK(w.stored().change == satoshi{0});
    CHECK_FALSE(w.chain.spender_in_mempool({w.channel(), 0}));
    SECTION("acked") {
        REQUIRE(w.s->ack(satoshi{1'000'000}));
        w.run();
        CHECK(w.sent() == "PAYMENT_ACK CLOSE");
        CHECK(w.o.told);
    }
    SECTION("refused: it is settled when the client resumes") {
        REQUIRE(w.s->refuse(satoshi{1'000'000}, "no"));
        w.run();
        CHECK(w.sent() == "ERROR");
        CHECK_FALSE(w.chain.spender_in_mempool({w.channel(), 0}));
        w.resume();
    }
    SECTION("never answered: the same") {
        w.pipe.cut();
        w.run();
        w.resume();
    }
    CHECK(w.chain.spender_in_mempool({w.channel(), 0}));
    CHECK(w.payee.events.last(event_kind::settled).total == satoshi{1'000'000});
    CHECK(w.payer.events.last(event_kind::settled).total == satoshi{1'000'000});
}

TEST_CASE("a contract that is refused while a payment waits ends the channel, and the answer is late", "[server]") {
    held_payment w;
    w.s->on_broadcast(w.channel(), broadcast_outcome::refused);
    CHECK(w.sent() == "ERROR");
    CHECK(error_text(w.payee.transport.sent) == "BAD_TRANSACTION: the network refuses the contract by now");
    CHECK(w.stored().stage == channel_stage::unbacked);
    CHECK(w.stored().paid() == satoshi{6'000});
    w.answers_are_late(satoshi{6'000});
    w.run();
    CHECK_FALSE(w.o.told);
}

TEST_CASE("a connection that this side ends while a payment waits can be resumed", "[server]") {
    held_payment w;
    w.s->close();
    CHECK(w.sent() == "CLOSE");
    w.answers_are_late(satoshi{6'000});
    w.run();
    w.resume();
    CHECK(w.c->record().paid() == satoshi{6'000});
    CHECK(w.pays(1));
}

TEST_CASE("an application is not asked about a payment that could not be stored", "[server]") {
    open_server w;
    w.payee.plan = {call::store_put, GENERATE(fault::fails, fault::fails_after), 0, false};
    outcome o;
    REQUIRE(w.pay(satoshi{5'000}, o));
    CHECK(w.payee.events.asked.empty());
    CHECK(w.sent() == "ERROR");
}

TEST_CASE("a fault while the ack is written leaves the payment paid, and the connection ended", "[server]") {
    open_server w;
    w.payee.plan = {call::codec_encode, fault::fails, 0, false};
    outcome o;
    REQUIRE(w.pay(satoshi{5'000}, o));
    REQUIRE(w.payee.plan.hit);
    CHECK(w.sent() == "ERROR");
    CHECK(w.s->phase() == server_phase::ended);
    CHECK(w.stored().paid() == satoshi{6'000});
    w.reconnect();
    REQUIRE(w.open(satoshi{0}));
    CHECK(w.c->record().paid() == satoshi{6'000});
}

TEST_CASE("held payments of many connections wait each for its own answer", "[server]") {
    open_server w;
    w.payee.events.answer = [](const event&) { return payment_answer::hold(); };
    REQUIRE(w.c->pay(satoshi{10}));
    w.s->finish(put_all(w.payee.store, w.s->take(w.payer.transport.sent.back())));
    CHECK(w.s->phase() == server_phase::answering);
    CHECK(w.sent().empty());
    w.s->on_broadcast(txid{bytes32{9}}, broadcast_outcome::accepted);  // somebody else's news
    w.s->on_broadcast(w.channel(), broadcast_outcome::accepted);
    w.s->rebroadcast();
    CHECK(w.s->phase() == server_phase::answering);
    REQUIRE(w.s->ack(satoshi{1'010}));
    CHECK(w.sent() == "PAYMENT_ACK");
}

TEST_CASE("many connections' payments are written in one batch, and acked when that is on disk", "[server]") {
    open_server a;
    // A second channel of another client, on the same disk.
    memory_pipe pipe;
    faulty_transport connection{a.payee.plan, pipe, pipe.second, {}};
    world b(a.version());
    REQUIRE(b.open(satoshi{900'000}));
    for (const auto kind : {record_kind::server_channel, record_kind::server_contract}) {
        const txid id = b.channel();
        const bytes record = stored_bytes(b.payee.disk, kind, id);
        const std::uint64_t version = kind == record_kind::server_channel ? b.s->record().version : 1;
        if (needs_predecessor({kind, id}, version)) REQUIRE(a.payee.disk.put({kind, id}, 1, record));
        REQUIRE(a.payee.disk.put({kind, id}, version, record));
    }
    world::server other(both_versions{}, connection, a.clock, a.payee.keys, a.payee.store, a.payee.wallet,
                        a.payee.network, a.payee.codec, a.payee.events);
    wire::client_version hello{a.version(), 0, {}, 86'340};
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
    open_server w;
    memory_pipe pipe;
    faulty_transport connection{w.payee.plan, pipe, pipe.second, {}};
    world::server newer(both_versions{}, connection, w.clock, w.payee.keys, w.payee.store, w.payee.wallet,
                        w.payee.network, w.payee.codec, w.payee.events);
    wire::client_version hello{w.version(), 0, {}, 86'340};
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
    open_server w;
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
    open_server w;
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
    open_server w;
    REQUIRE(w.pays(5'000));
    const bytes last = w.payer.transport.sent.back();
    const txid id = w.channel();
    const channel_record before = w.stored();
    w.reconnect();
    w.payee.events.heard.clear();
    const auto resume = [&] {
        w.make_server();
        wire::client_version hello{w.version(), 0, {}, 86'340};
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
    open_server w;
    w.s->on_frame(encoded(wire::close{}));
    w.payee.follower.deliver(*w.s);
    CHECK(w.sent() == "CLOSE");
    CHECK(w.chain.spender_in_mempool({w.channel(), 0}));
}

TEST_CASE("payments and a second CLOSE are passed over while the server settles", "[server]") {
    open_server w;
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
    open_server w;
    w.payee.follower.refuse_next("min relay fee not met");
    REQUIRE(w.c->settle());
    w.run();
    CHECK(error_text(w.payee.transport.sent) ==
          "OTHER: the network refuses the settlement now: the server tries again");
    CHECK(w.stored().stage == channel_stage::settling);
    CHECK_FALSE(stored_bytes(w.payee.disk, record_kind::server_settlement, w.channel()).empty());
}

TEST_CASE("a settlement that nobody answers is broadcast again when asked to", "[server]") {
    open_server w;
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
    open_server w;
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
    open_server w;
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
    open_server w;
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
