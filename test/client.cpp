// The client's driver: what its application is told, what it keeps, and what it never sends.
#include "paychan/client.hpp"

#include <catch2/catch.hpp>

#include "support/versions.hpp"
#include "support/world.hpp"

using namespace paychan;
using namespace paychan_test;

namespace {

constexpr const char* expiry_too_near =
    "TIME_WINDOW_UNACCEPTABLE: the expiry is too near for the channel to be of use: ask for a longer window, and "
    "compare "
    "the clocks of both sides";
constexpr const char* expiry_too_late =
    "TIME_WINDOW_UNACCEPTABLE: the expiry is later than the window that was asked for: the clock here is behind the "
    "server's, or the server takes no window so short";

/// A world in which the channel is open.
struct open_client : world {
    explicit open_client(std::int32_t version = each_version()) : world(version) {
        REQUIRE(open());
        REQUIRE(c->phase() == client_phase::open);
        frames = payer.transport.sent.size();
        payer.events.heard.clear();
    }
    /// What the client has sent since the channel was open.
    [[nodiscard]] std::string sent() const { return names_of(payer.transport.sent, frames); }
    /// The client's process starts again, on a new connection and without the extensions.
    void restart_as_legacy() {
        const txid id = channel();
        reconnect();
        client_settings.extensions = false;
        make_client();
        REQUIRE(c->load(id));
    }
    std::size_t frames = 0;
};

/// Opens until the client has sent the frame of that name; the server says nothing after it.
void open_until(world& w, std::string_view last_frame) {
    REQUIRE(w.c->connect(satoshi{1'000'000}));
    for (int i = 0; i < 10 && name_of(decoded(w.payer.transport.sent.back())) != last_frame; ++i) {
        w.pipe.second.deliver(*w.s);
        while (w.pipe.first.deliver(*w.c)) {
        }
    }
    REQUIRE(name_of(decoded(w.payer.transport.sent.back())) == last_frame);
}

}  // namespace

// ---- Payments

TEST_CASE("a payment's completion hears the amount, the total and the server's bytes, once", "[client]") {
    open_client w;
    outcome o;
    REQUIRE(w.pay(satoshi{5'000}, o));
    CHECK(o.calls == 1);
    REQUIRE(o.told);
    CHECK(o.told->amount == satoshi{5'000});
    CHECK(o.told->total == satoshi{6'000});
    CHECK(w.c->record().paid() == satoshi{6'000});
    CHECK(w.payer.events.names() == "acked");
    CHECK(w.sent() == "UPDATE_PAYMENT");

    SECTION("bytes in the ack") {
        outcome second;
        REQUIRE(w.c->pay(satoshi{1}, second.callback()));
        const bytes ack = encoded(wire::payment_ack{as_bytes("thanks")});
        w.c->on_frame(ack);
        CHECK(second.calls == 1);
        CHECK(text_of(second.info) == "thanks");
    }
}

TEST_CASE("a second payment is refused while one awaits its ack, and changes nothing", "[client]") {
    open_client w;
    outcome first, second;
    REQUIRE(w.c->pay(satoshi{5'000}, first.callback()));
    const auto refused = w.c->pay(satoshi{7'000}, second.callback());
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == errc::payment_in_flight);
    CHECK(w.sent() == "UPDATE_PAYMENT");
    w.run();
    CHECK(first.calls == 1);
    CHECK(first.told);
    CHECK(second.calls == 0);
    CHECK(w.c->record().paid() == satoshi{6'000});
    CHECK(w.payee.events.last(event_kind::payment).total == satoshi{6'000});
}

TEST_CASE("a payment whose ack never comes is told as lost, once", "[client]") {
    open_client w;
    outcome o;
    REQUIRE(w.c->pay(satoshi{5'000}, o.callback()));
    CHECK(w.c->payment_in_flight());
    w.pipe.cut();
    w.run();
    CHECK(o.calls == 1);
    REQUIRE_FALSE(o.told);
    CHECK(o.told.error().code == errc::connection_lost);
    w.run();
    CHECK(o.calls == 1);

    // It stays subtracted, and is sent again when the channel is resumed.
    w.reconnect();
    REQUIRE(w.open(satoshi{0}));
    CHECK(w.c->record().paid() == satoshi{6'000});
    CHECK(w.payee.events.last(event_kind::payment).amount == satoshi{5'000});
    CHECK(w.s->record().paid() == satoshi{6'000});
    CHECK(o.calls == 1);
    CHECK(w.pays(2'000));
    CHECK(w.payee.events.last(event_kind::payment).amount == satoshi{2'000});
    CHECK(w.s->record().paid() == satoshi{8'000});
}

TEST_CASE("a channel is open again when the server has acked the last payment, and not before", "[client]") {
    open_client w;
    outcome o;
    REQUIRE(w.c->pay(satoshi{5'000}, o.callback()));
    const auto [lost, extensions] = GENERATE(table<bool, bool>({{true, true}, {true, false}, {false, false}}));
    if (lost) {
        w.pipe.cut();  // the payment is lost; else it is its ack
    } else {
        w.pipe.second.deliver(*w.s);
        REQUIRE(w.s->record().paid() == satoshi{6'000});
    }
    const bytes last = w.payer.transport.sent.back();
    if (extensions)
        w.reconnect();
    else
        w.restart_as_legacy();
    w.payer.events.heard.clear();
    w.payer.keys.signed_requests.clear();
    w.payee.events.heard.clear();
    const std::size_t frames = w.payer.transport.sent.size();
    const std::uint64_t version = w.c->record().version;

    REQUIRE(w.c->connect(satoshi{0}));
    w.pipe.second.deliver(*w.s);
    while (w.pipe.first.deliver(*w.c)) {
    }
    CHECK(w.c->phase() == client_phase::resuming);
    CHECK(names_of(w.payer.transport.sent, frames) == "CLIENT_VERSION UPDATE_PAYMENT");
    CHECK(as<wire::update_payment>(w.payer.transport.sent.back())->client_change_value == 994'000);
    CHECK(w.payer.transport.sent.back() == last);
    CHECK(w.payer.events.heard.empty());
    CHECK_FALSE(w.c->payment_in_flight());
    outcome refused;
    CHECK(w.c->pay(satoshi{1}, refused.callback()).error().code == errc::wrong_state);
    CHECK(w.c->settle().error().code == errc::wrong_state);
    CHECK(refused.calls == 0);
    w.run();
    CHECK(w.c->phase() == client_phase::open);
    CHECK(w.payer.events.names() == "opened");
    CHECK(w.payer.events.last(event_kind::opened).total == satoshi{6'000});
    CHECK(w.payee.events.names() == (lost ? "opened payment" : "opened"));
    // Nothing was signed that moves money.
    REQUIRE(w.payer.keys.signed_requests.size() == (extensions ? 1 : 0));
    for (const sign_request& r : w.payer.keys.signed_requests) CHECK(r.purpose == signing_purpose::resume);
    CHECK(w.c->record().version == version);
    CHECK(w.c->record().paid() == w.s->record().paid());
    CHECK(w.pays(1));
}

TEST_CASE("a lost payment that takes all there is is taken when the channel is resumed, and settled", "[client]") {
    open_client w;
    outcome o;
    REQUIRE(w.c->pay(w.c->record().change, o.callback()));
    w.pipe.cut();
    w.run();
    REQUIRE_FALSE(o.told);
    w.reconnect();
    w.payer.events.heard.clear();
    w.payee.events.heard.clear();
    const std::size_t frames = w.payee.transport.sent.size();
    REQUIRE(w.open(satoshi{0}));
    CHECK(names_of(w.payee.transport.sent, frames) == "SERVER_VERSION CHANNEL_OPEN PAYMENT_ACK CLOSE");
    CHECK(w.payee.events.names() == "opened payment settled closed");
    CHECK(w.payee.events.last(event_kind::settled).total == satoshi{1'000'000});
    CHECK(w.payer.events.names() == "opened settled closed");
    CHECK(w.chain.spender_in_mempool({w.channel(), 0}));
}

TEST_CASE("a connection that is lost while resuming changes nothing", "[client]") {
    open_client w;
    REQUIRE(w.pays(5'000));
    w.restart_as_legacy();
    w.payer.events.heard.clear();
    REQUIRE(w.c->connect(satoshi{0}));
    w.pipe.second.deliver(*w.s);
    while (w.pipe.first.deliver(*w.c)) {
    }
    REQUIRE(w.c->phase() == client_phase::resuming);
    w.reconnect();
    CHECK(w.payer.events.names() == "closed");
    REQUIRE(w.open(satoshi{0}));
    CHECK(w.pays(1));
    CHECK(w.s->record().paid() == satoshi{6'001});
}

TEST_CASE("a payment that the server refuses is told so, with the server's words", "[client]") {
    open_client w;
    outcome o;
    REQUIRE(w.c->pay(satoshi{5'000}, o.callback()));
    const bytes refusal = encoded(wire::error_message{4, as_bytes("no <b>thanks</b>"), {}});
    w.c->on_frame(refusal);
    CHECK(o.calls == 1);
    REQUIRE_FALSE(o.told);
    CHECK(o.told.error().code == errc::peer_error);
    const heard_event e = w.payer.events.last(event_kind::error);
    CHECK(e.problem.code == errc::bad_transaction);
    CHECK(text_of(e.data) == "no <b>thanks</b>");
    CHECK(w.sent() == "UPDATE_PAYMENT");  // an ERROR is not answered
    CHECK(w.payer.transport.closed == 1);
    w.pipe.cut();
    w.run();
    CHECK(o.calls == 1);
    CHECK(w.payer.events.names() == "error closed");
}

TEST_CASE("an ERROR with a code that nobody knows is OTHER", "[client]") {
    open_client w;
    // Code 99: the codec drops it, as protobuf does with unknown enum values.
    w.c->on_frame(unhex("080a520408631200"));
    CHECK(w.payer.events.last(event_kind::error).problem.code == errc::other);
}

TEST_CASE("a CLOSE while a payment is in flight leaves it unknown", "[client]") {
    open_client w;
    outcome o;
    REQUIRE(w.c->pay(satoshi{5'000}, o.callback()));
    w.c->on_frame(encoded(wire::close{}));
    w.pipe.cut();
    w.run();
    CHECK(o.calls == 1);
    REQUIRE_FALSE(o.told);
    CHECK(o.told.error().code == errc::connection_lost);
}

namespace {
struct payer_in_a_row {
    world& w;
    int left = 0;
    int calls = 0;
    satoshi total{};

    payment_callback callback() {
        return {[](void* self, const result<payment_receipt>& r) {
                    auto& p = *static_cast<payer_in_a_row*>(self);
                    ++p.calls;
                    REQUIRE(r);
                    p.total = r->total;
                    if (p.left-- > 0) REQUIRE(p.w.c->pay(satoshi{10}, p.callback()));
                },
                this};
    }
};
}  // namespace

TEST_CASE("a completion may pay again from inside", "[client]") {
    open_client w;
    payer_in_a_row p{w, 20};
    REQUIRE(w.c->pay(satoshi{10}, p.callback()));
    w.run();
    CHECK(p.calls == 21);
    CHECK(p.total == satoshi{1'000 + 21 * 10});
    CHECK(w.s->record().paid() == p.total);
    CHECK(w.payer.events.count(event_kind::acked) == 21);
}

TEST_CASE("a listener may pay from inside `opened` and `acked`, and settle", "[client]") {
    world w(each_version());
    int payments = 0;
    outcome o;
    w.payer.events.then = [&](const event& e) {
        if (e.kind == event_kind::opened || (e.kind == event_kind::acked && payments < 3)) {
            ++payments;
            REQUIRE(w.c->pay(satoshi{100}, o.callback()));
        } else if (e.kind == event_kind::acked) {
            REQUIRE(w.c->settle());
        }
    };
    REQUIRE(w.open());
    CHECK(o.calls == 3);
    CHECK(w.payer.events.names() == "stored opened acked acked acked settled closed");
    CHECK(w.payee.events.last(event_kind::settled).total == satoshi{1'300});
    CHECK(w.chain.spender_in_mempool({w.channel(), 0}));
}

TEST_CASE("payments that cannot be are refused and change nothing", "[client]") {
    open_client w;
    const auto code_of = [&](std::int64_t amount) {
        const auto r = w.c->pay(satoshi{amount});
        return r ? errc{} : r.error().code;
    };
    CHECK(code_of(0) == errc::out_of_range);
    CHECK(code_of(-1) == errc::out_of_range);
    CHECK(code_of(std::numeric_limits<std::int64_t>::min()) == errc::out_of_range);
    CHECK(code_of(999'001) == errc::insufficient_funds);
    CHECK(code_of(std::numeric_limits<std::int64_t>::max()) == errc::insufficient_funds);
    w.clock.set(w.c->record().terms.expiry);
    CHECK(code_of(1) == errc::wrong_state);
    CHECK(w.sent().empty());
    CHECK(w.c->record().paid() == satoshi{1'000});
    w.clock.set(world_start);
    CHECK(w.pays(5));

    world fresh;
    CHECK(fresh.c->pay(satoshi{1}).error().code == errc::wrong_state);
    CHECK(fresh.c->settle().error().code == errc::wrong_state);
    CHECK(fresh.payer.transport.closed == 0);
}

TEST_CASE("a payment that would leave dust gives the dust away, and says so", "[client]") {
    open_client w;
    outcome o;
    REQUIRE(w.pay(satoshi{999'000 - 545}, o));
    REQUIRE(o.told);
    CHECK(o.told->amount == satoshi{999'000});
    CHECK(w.c->record().change == satoshi{0});
    CHECK(w.payer.events.names() == "acked settled closed");
}

TEST_CASE("a payment with more bytes of information than a frame holds is refused, and the channel goes on",
          "[client]") {
    open_client w;
    const bytes info(wire::max_frame_size, 'x');
    outcome o;
    const auto refused = w.c->pay(satoshi{100}, o.callback(), info);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == errc::too_long);
    CHECK(w.sent().empty());
    CHECK(w.c->record().paid() == satoshi{1'000});
    CHECK(o.calls == 0);
    CHECK(w.pays(100));
    CHECK(w.s->record().paid() == satoshi{1'100});
}

// ---- Failures of policies

TEST_CASE("nothing of a payment leaves when it could not be stored", "[client]") {
    open_client w;
    w.payer.plan = {call::store_put, GENERATE(fault::fails, fault::fails_after), 0, false};
    const bool written = w.payer.plan.how == fault::fails_after;
    outcome o;
    const auto failed = w.c->pay(satoshi{5'000}, o.callback());
    REQUIRE_FALSE(failed);
    CHECK(failed.error().code == errc::store_failed);
    CHECK(w.sent() == "ERROR");
    CHECK(error_text(w.payer.transport.sent) == "OTHER: this side cannot go on now; try again later");
    CHECK(w.payer.transport.closed == 1);
    w.run();
    CHECK(o.calls == 0);  // pay() has told it

    // The next connection goes on from what is on disk, whichever it is.
    w.reconnect();
    REQUIRE(w.open(satoshi{0}));
    CHECK(w.c->record().paid() == satoshi{written ? 6'000 : 1'000});
    CHECK(w.pays(10));
    CHECK(w.s->record().paid() == w.c->record().paid());
}

TEST_CASE("a key store that cannot sign now costs nothing: the payment can be made again", "[client]") {
    open_client w;
    w.payer.plan = {call::keys_sign, fault::fails, 0, false};
    outcome o;
    CHECK(w.c->pay(satoshi{5'000}, o.callback()).error().code == errc::key_unavailable);
    CHECK(w.sent().empty());
    CHECK(w.c->phase() == client_phase::open);
    CHECK(w.pays(5'000));
    CHECK(o.calls == 0);
}

TEST_CASE("the coins and the key of a channel that was never offered are free again", "[client]") {
    world w;
    SECTION("the connection ends before the refund is signed") {
        open_until(w, "PROVIDE_REFUND");
        CHECK(w.payer.purse.reserved.size() == 1);
        w.pipe.cut();
        w.run();
    }
    SECTION("the server says ERROR") {
        open_until(w, "PROVIDE_REFUND");
        w.c->on_frame(encoded(wire::error_message{8, {}, {}}));
        w.pipe.cut();
        w.run();
    }
    SECTION("the server's signature is bad") {
        open_until(w, "PROVIDE_REFUND");
        w.c->on_frame(encoded(wire::return_refund{as_bytes("garbage")}));
        CHECK(error_text(w.payer.transport.sent) == "BAD_TRANSACTION: refund signature is not strict DER");
        w.pipe.cut();
        w.run();
    }
    SECTION("the application gives up") {
        open_until(w, "PROVIDE_REFUND");
        REQUIRE(w.c->settle());
        w.run();
    }
    SECTION("the refund cannot be sent") {
        w.payer.plan = {call::codec_encode, fault::fails, 1, false};  // after CLIENT_VERSION
        (void)w.open();
        CHECK(w.payer.plan.hit);
    }
    SECTION("the contract cannot be sent") {
        w.payer.plan = {call::codec_encode, fault::fails, 2, false};
        (void)w.open();
        CHECK(w.payer.plan.hit);
    }
    SECTION("the refund cannot be signed") {
        w.payer.plan = {call::keys_sign, fault::fails, 0, false};
        (void)w.open();
        CHECK(w.payer.plan.hit);
    }
    CHECK(w.payer.purse.reserved.empty());
    CHECK(stored_channels(w.payer.disk, record_kind::client_channel).empty());
    CHECK(w.payer.keys.given_back == std::vector{key_id{1}});
    // And another channel can be opened.
    w.payer.plan = {};
    w.reconnect();
    REQUIRE(w.open());
    CHECK(w.pays(1));
}

TEST_CASE("the coins and the key of a version 2 channel that was never offered are free again", "[client]") {
    world w(2);
    SECTION("the refund cannot be signed") { w.payer.plan = {call::keys_sign, fault::fails, 0, false}; }
    SECTION("the first payment cannot be signed") { w.payer.plan = {call::keys_sign, fault::fails, 1, false}; }
    SECTION("the contract cannot be sent") { w.payer.plan = {call::codec_encode, fault::fails, 1, false}; }
    (void)w.open();
    REQUIRE(w.payer.plan.hit);
    w.pipe.cut();
    w.run();
    CHECK(w.payer.purse.reserved.empty());
    CHECK(stored_channels(w.payer.disk, record_kind::client_channel).empty());
    CHECK(w.payer.keys.given_back == std::vector{key_id{1}});
    CHECK(w.c->record().stage == channel_stage::none);
    w.reconnect();
    REQUIRE(w.open());
    CHECK(w.pays(1));
}

TEST_CASE("the coins of a channel that may be on disk stay reserved, and its key used", "[client]") {
    world w(each_version());
    SECTION("the write failed: it may be there") {
        w.payer.plan = {call::store_put, GENERATE(fault::fails, fault::fails_after), 0, false};
        (void)w.open();
        CHECK(w.payer.plan.hit);
        CHECK(names_of(w.payer.transport.sent) ==
              (w.client_settings.versions.has(1) ? "CLIENT_VERSION PROVIDE_REFUND ERROR" : "CLIENT_VERSION ERROR"));
    }
    SECTION("the contract left, and no answer came") {
        open_until(w, "PROVIDE_CONTRACT");
        w.pipe.cut();
        w.run();
    }
    SECTION("the server refuses the contract") {
        w.payee.follower.refuse_next("min relay fee not met");
        (void)w.open();
        CHECK(w.payer.events.last(event_kind::error).problem.code == errc::bad_transaction);
    }
    CHECK(w.payer.purse.reserved.size() == 1);
    w.pipe.cut();
    w.run();
    CHECK(w.payer.keys.given_back.empty());
}

TEST_CASE("an opening for which there are no coins gives its key back", "[client]") {
    world w(each_version());
    w.payer.plan = {call::wallet_fund, fault::fails, 0, false};
    (void)w.open();
    REQUIRE(w.payer.plan.hit);
    CHECK(w.payer.keys.given_back == std::vector{key_id{1}});
    w.pipe.cut();
    w.run();
    CHECK(w.payer.keys.given_back.size() == 1);
}

TEST_CASE("a store that writes one record at a time gets what never changes first, and a settlement last", "[client]") {
    // While the channel's record is there, the contract and the refund are: what finds it can take the money back.  And
    // one that says `settling` without a settlement has it built again.
    struct plain_store {
        memory_store disk;
        std::vector<record_kind> order;
        result<void> put(const record_id& id, std::uint64_t version, bytes_view b) {
            order.push_back(id.kind);
            return disk.put(id, version, b);
        }
        result<stored_record> get(const record_id& id, bytes_span memory) { return disk.get(id, memory); }
        result<void> erase(const record_id& id) { return disk.erase(id); }
        result<void> list(record_kind kind, void (*f)(const record_id&)) { return disk.list(kind, f); }
    };
    static_assert(Store<plain_store> && !BatchStore<plain_store>);
    plain_store store;
    channel_record record;
    record.version = 1;
    const bytes some{1, 2, 3};
    const detail::put_batch client_batch({true, some, some, {}}, record, record_kind::client_channel);
    REQUIRE(put_all(store, client_batch.view()));
    const detail::put_batch server_batch({true, some, {}, some}, record, record_kind::server_channel);
    REQUIRE(put_all(store, server_batch.view()));
    CHECK(store.order == std::vector{record_kind::client_contract, record_kind::client_refund,
                                     record_kind::client_channel, record_kind::server_contract,
                                     record_kind::server_channel, record_kind::server_settlement});
}

// ---- Peers

TEST_CASE("a frame that does not parse ends the client's connection without an ERROR", "[client]") {
    open_client w;
    for (const char* frame : {"", "00", "ffffffff", "0808"}) {
        if (std::string_view(frame) == "0808") continue;  // UPDATE_PAYMENT without its body: a syntax error
        open_client each;
        each.c->on_frame(unhex(frame));
        CHECK(each.sent().empty());
        CHECK(each.payer.transport.closed == 1);
        CHECK(each.payer.events.last(event_kind::error).problem.code == errc::malformed);
    }
    w.c->on_frame(bytes(wire::max_frame_size + 1, 0));
    CHECK(w.sent().empty());
    CHECK(w.payer.transport.closed == 1);
}

TEST_CASE("a message without its body or out of order is answered with SYNTAX_ERROR and a text", "[client]") {
    {
        open_client w;
        w.c->on_frame(unhex("0803"));
        CHECK(error_text(w.payer.transport.sent) == "SYNTAX_ERROR: INITIATE has no body");
        CHECK(w.payer.transport.closed == 1);
    }
    open_client w;
    w.c->on_frame(encoded(wire::server_version{1, 0}));
    CHECK(error_text(w.payer.transport.sent) == "SYNTAX_ERROR: this message does not belong here in the conversation");
    CHECK(w.payer.transport.closed == 1);
    // What comes after the end is not listened to.
    w.c->on_frame(encoded(wire::server_version{1, 0}));
    w.c->on_frame(unhex("00"));
    CHECK(w.sent() == "ERROR");
    CHECK(w.payer.transport.closed == 1);
    // The channel can be resumed.
    w.reconnect();
    REQUIRE(w.open(satoshi{0}));
    CHECK(w.pays(5));
}

TEST_CASE("a refund that the server holds back until the expiry is near brings it no contract", "[client]") {
    world in_time;  // the same keys and coins: its server's frames suit the client below
    REQUIRE(in_time.open());
    const std::vector<bytes>& frames = in_time.payee.transport.sent;
    REQUIRE(as<wire::return_refund>(frames.at(2)));

    world w;
    REQUIRE(w.c->connect(satoshi{1'000'000}));
    w.c->on_frame(frames.at(0));
    w.c->on_frame(frames.at(1));
    REQUIRE(w.c->phase() == client_phase::refund_sent);
    w.clock.set(world_start + (86'340 - 599));
    w.c->on_frame(frames.at(2));
    CHECK(error_text(w.payer.transport.sent) == expiry_too_near);
    CHECK(w.c->record().stage == channel_stage::none);
    bytes memory(1'000);
    const auto kept = w.payer.disk.get({record_kind::client_contract, in_time.c->record().terms.contract.id}, memory);
    REQUIRE_FALSE(kept);
    CHECK(kept.error().code == errc::not_found);
}

TEST_CASE("the client refuses terms that it cannot accept, with the code and the number", "[client]") {
    const std::int32_t version = each_version();
    world w(version);
    REQUIRE(w.c->connect(satoshi{1'000'000}));
    w.c->on_frame(encoded(wire::server_version{version, 0}));
    auto ring = memory_keys::testing_from(77);
    const auto key = ring.public_key(ring.new_key().value()).value();
    wire::initiate m{key.view(), 100'000, static_cast<std::uint64_t>(world_start.seconds) + 86'340, 1'000};
    std::string expected;
    const auto expire_in = [&](std::int64_t s) {
        m.expire_time_secs = static_cast<std::uint64_t>(world_start.seconds + s);
    };
    SECTION("an expiry later than was asked for") {
        expire_in(86'340 + 61);
        expected = expiry_too_late;
    }
    SECTION("an expiry in the past") {
        expire_in(-1);
        expected = expiry_too_near;
    }
    SECTION("an expiry in nine minutes") {
        expire_in(599);
        expected = expiry_too_near;
    }
    SECTION("an expiry that is no 32-bit time, or a height") {
        m.expire_time_secs =
            GENERATE(std::uint64_t{0}, 1U, 499'999'999U, 0x1'0000'0000U, std::uint64_t{1} << 63, ~std::uint64_t{0});
        expected = expiry_too_late;
    }
    SECTION("a larger channel than is offered") {
        m.min_accepted_channel_size = GENERATE(std::uint64_t{1'000'001}, ~std::uint64_t{0});
        expected = "CHANNEL_VALUE_TOO_LARGE: the server wants a larger channel than this client offers";
    }
    SECTION("a first payment above the limit") {
        m.min_payment = GENERATE(std::uint64_t{10'001}, ~std::uint64_t{0});
        expected = "MIN_PAYMENT_TOO_LARGE: the minimum payment is more than this client pays to open a channel";
    }
    SECTION("a key that is no point") {
        bytes bad = owned(key.view());
        bad[0] = 7;
        m.multisig_key = bad;
        const bytes frame = encoded(m);
        w.c->on_frame(frame);
        CHECK(error_text(w.payer.transport.sent).rfind("BAD_TRANSACTION: ", 0) == 0);
        return;
    }
    w.c->on_frame(encoded(m));
    CHECK(error_text(w.payer.transport.sent) == expected);
    if (m.min_payment > 1'000)
        CHECK(as<wire::error_message>(w.payer.transport.sent.back())->expected_value == std::uint64_t{10'000});
    CHECK(w.payer.transport.closed == 1);
    CHECK(w.payer.events.count(event_kind::error) == 1);
    CHECK(w.payer.purse.reserved.empty());
    CHECK(w.payer.keys.signed_requests.empty());
}

TEST_CASE("the client takes a first payment up to its limit, and pays exactly that", "[client]") {
    world w(each_version());
    w.server_settings.min_payment = satoshi{10'000};
    w.make_server();
    REQUIRE(w.open());
    CHECK(w.c->record().paid() == satoshi{10'000});
    CHECK(w.s->record().paid() == satoshi{10'000});
}

// ---- Versions

namespace {

/// A client that asked for a channel, and what it says to the server's answer.
struct asking : world {
    explicit asking(version_set versions) {
        client_settings.versions = versions;
        make_client();
        REQUIRE(c->connect(satoshi{1'000'000}));
    }
    [[nodiscard]] std::int32_t asked() const { return as<wire::client_version>(payer.transport.sent.at(0))->major; }
    [[nodiscard]] std::string told(std::int32_t version) {
        c->on_frame(encoded(wire::server_version{version, 0}));
        return c->phase() == client_phase::version_agreed ? "agreed" : error_text(payer.transport.sent);
    }
};
constexpr const char* unwanted =
    "NO_ACCEPTABLE_VERSION: the server answers with a protocol version that this client does not want";

}  // namespace

TEST_CASE("a client asks for the best version that it may use, and takes that or a lower one that it may use too",
          "[client]") {
    struct row {
        version_set versions;
        std::int32_t asks;
        std::array<std::int32_t, 2> takes;
    };
    const auto [versions, asks, takes] = GENERATE(
        row{version_set::all(), 2, {1, 2}}, row{version_set::only(2), 2, {2, 2}}, row{version_set::only(1), 1, {1, 1}});
    for (const std::int32_t answer : {1, 2, 0, -1, 3, std::numeric_limits<std::int32_t>::max()}) {
        INFO("answered " << answer);
        asking w(versions);
        CHECK(w.asked() == asks);
        const bool takes_it = answer == takes[0] || answer == takes[1];
        CHECK(w.told(answer) == (takes_it ? "agreed" : unwanted));
        CHECK(w.payer.transport.closed == (takes_it ? 0 : 1));
        CHECK(w.payer.purse.reserved.empty());
    }
}

TEST_CASE("a client that was answered with version 1 opens a channel of version 1", "[client]") {
    asking w(version_set::all());
    REQUIRE(w.told(1) == "agreed");
    auto ring = memory_keys::testing_from(77);
    const auto key = ring.public_key(ring.new_key().value()).value();
    w.c->on_frame(
        encoded(wire::initiate{key.view(), 100'000, static_cast<std::uint64_t>(world_start.seconds) + 86'340, 1'000}));
    CHECK(names_of(w.payer.transport.sent) == "CLIENT_VERSION PROVIDE_REFUND");
    CHECK(w.c->record().protocol == 1);
}

TEST_CASE("a client that may use no version does not begin", "[client]") {
    world w;
    w.client_settings.versions = version_set::only(1).without(1);
    w.make_client();
    CHECK(w.c->connect(satoshi{1'000'000}).error().code == errc::unsupported);
    CHECK(w.payer.transport.sent.empty());
}

TEST_CASE("a channel is resumed with its own version, whichever new ones may have", "[client]") {
    const std::int32_t version = each_version();
    open_client w(version);
    REQUIRE(w.pays(5'000));
    const txid id = w.channel();
    w.reconnect();
    w.client_settings.versions = w.server_settings.versions = version_set::only(3 - version);
    w.make_client();
    w.make_server();
    REQUIRE(w.c->load(id));
    SECTION("both sides go on") {
        REQUIRE(w.open(satoshi{0}));
        CHECK(w.c->phase() == client_phase::open);
        CHECK(w.pays(1));
        CHECK(w.s->record().paid() == satoshi{6'001});
    }
    SECTION("an answer with another version is refused, also a lower one") {
        REQUIRE(w.c->connect(satoshi{0}));
        w.c->on_frame(encoded(wire::server_version{3 - version, 0}));
        CHECK(error_text(w.payer.transport.sent) == unwanted);
        CHECK(w.channel() == id);
    }
}

TEST_CASE("in the place of a forgotten channel, none is opened with a version that new ones may not have", "[client]") {
    const std::int32_t version = each_version();
    open_client w(version);
    const txid id = w.channel();
    w.payee.disk = memory_store{};
    w.reconnect();
    w.client_settings.versions = version_set::only(3 - version);
    w.make_client();
    REQUIRE(w.c->load(id));
    const std::size_t reserved = w.payer.purse.reserved.size();
    REQUIRE(w.open());
    CHECK(error_text(w.payer.transport.sent) ==
          "NO_ACCEPTABLE_VERSION: this client opens no new channel of that protocol version");
    CHECK(w.channel() == id);
    CHECK(w.payer.purse.reserved.size() == reserved);
    CHECK(stored_channels(w.payer.disk, record_kind::client_channel) == std::vector{id});
}

TEST_CASE("a program without a channel's version does not resume it, and does not lose it", "[client]") {
    open_client w(2);
    const txid id = w.channel();
    w.reconnect();
    recording_transport connection;
    paychan::client older(contracts<multisig_refund>{}, connection, w.clock, w.payer.keys, w.payer.store,
                          w.payer.wallet, w.payer.network, w.payer.codec, w.payer.events);
    REQUIRE(older.load(id));
    CHECK(older.connect(satoshi{1'000'000}).error().code == errc::unsupported);
    CHECK(connection.sent.empty());
    CHECK(older.record().terms.contract.id == id);
    // The refund needs no scheme: it was complete before the contract left.
    w.chain.set_time(older.record().terms.expiry + 1);
    w.chain.mine(12, p2pkh_script({}).view());
    CHECK(older.refund(w.chain.median_time()));
    CHECK(w.chain.spender_in_mempool({id, 0}));
}

// ---- Opening, resuming, ending

TEST_CASE("a channel that cannot be refunded is not opened", "[client]") {
    world w;
    CHECK(w.c->connect(satoshi{1'545}).error().code == errc::out_of_range);
    CHECK(w.c->connect(satoshi{-1}).error().code == errc::out_of_range);
    CHECK(w.c->connect(satoshi{max_money.value + 1}).error().code == errc::out_of_range);
    CHECK(w.payer.transport.sent.empty());
    REQUIRE(w.c->connect(satoshi{1'546}));
    CHECK(w.c->connect(satoshi{1'546}).error().code == errc::wrong_state);
    CHECK(names_of(w.payer.transport.sent) == "CLIENT_VERSION");
}

TEST_CASE("a stored channel is loaded and resumed after a restart", "[client]") {
    open_client w;
    CHECK(w.pays(3'000));
    const txid id = w.channel();
    w.make_client();
    w.pipe.reconnect();
    w.make_server();
    CHECK(w.c->load(txid{bytes32{1}}).error().code == errc::not_found);
    REQUIRE(w.c->load(id));
    REQUIRE(w.open(satoshi{0}));
    CHECK(w.c->phase() == client_phase::open);
    CHECK(w.channel() == id);
    CHECK(w.c->load(id).error().code == errc::wrong_state);
    CHECK(w.pays(4'000));
    CHECK(w.s->record().paid() == satoshi{8'000});
}

TEST_CASE("a server that forgot the channel is told so, or opens another; the first one's money is not forgotten",
          "[client]") {
    open_client w;
    const txid first = w.channel();
    w.payee.disk = memory_store{};
    w.reconnect();
    SECTION("without an offer") {
        REQUIRE(w.open(satoshi{0}));
        CHECK(w.payer.events.last(event_kind::error).problem.code == errc::not_found);
        CHECK(w.channel() == first);
    }
    SECTION("with an offer") {
        REQUIRE(w.open(satoshi{500'000}));
        CHECK(w.channel() != first);
        CHECK(w.pays(10));
        CHECK(stored_channels(w.payer.disk, record_kind::client_channel).size() == 2);
    }
    CHECK(load_record(w.payer.disk, record_kind::client_channel, first));
    CHECK_FALSE(stored_bytes(w.payer.disk, record_kind::client_refund, first).empty());
}

TEST_CASE("a client that was offered another channel keeps the old one when the connection breaks before the contract",
          "[client]") {
    open_client w(1);  // in version 2 the contract is the answer to INITIATE
    REQUIRE(w.pays(5'000));
    const txid first = w.channel();
    const record_buffer before = write_record(w.c->record());
    const memory_store forgotten = std::exchange(w.payee.disk, memory_store{});
    w.reconnect();
    open_until(w, "PROVIDE_REFUND");
    CHECK(w.payer.purse.reserved.size() == 2);
    SECTION("it breaks") { w.pipe.cut(); }
    SECTION("the server gives up") { w.c->on_frame(encoded(wire::error_message{8, {}, {}})); }
    SECTION("the refund comes back with garbage") { w.c->on_frame(encoded(wire::return_refund{as_bytes("garbage")})); }
    SECTION("the application gives up") { REQUIRE(w.c->settle()); }
    w.pipe.cut();
    w.run();
    CHECK(w.channel() == first);
    CHECK(equal(write_record(w.c->record()).view(), before.view()));
    CHECK(w.payer.purse.reserved.size() == 1);  // those of the new contract are free
    // The server finds its disk again: the old channel goes on.
    w.payee.disk = forgotten;
    w.reconnect();
    REQUIRE(w.open(satoshi{0}));
    CHECK(w.pays(1));
    CHECK(w.s->record().paid() == satoshi{6'001});
}

TEST_CASE("a client of version 2 keeps the old channel when it cannot make the new contract", "[client]") {
    open_client w(2);
    REQUIRE(w.pays(5'000));
    const txid first = w.channel();
    const record_buffer before = write_record(w.c->record());
    const memory_store forgotten = std::exchange(w.payee.disk, memory_store{});
    w.reconnect();
    SECTION("no coins") { w.payer.plan = {call::wallet_fund, fault::fails, 0, false}; }
    SECTION("no key") { w.payer.plan = {call::keys_new, fault::fails, 0, false}; }
    SECTION("no refund") { w.payer.plan = {call::keys_sign, fault::fails, 1, false}; }  // 0: that it resumes
    SECTION("no first payment") { w.payer.plan = {call::keys_sign, fault::fails, 2, false}; }
    SECTION("no frame") { w.payer.plan = {call::codec_encode, fault::fails, 1, false}; }
    (void)w.open();
    REQUIRE(w.payer.plan.hit);
    w.pipe.cut();
    w.run();
    CHECK(w.channel() == first);
    CHECK(equal(write_record(w.c->record()).view(), before.view()));
    CHECK(w.payer.purse.reserved.size() == 1);
    w.payee.disk = forgotten;
    w.reconnect();
    REQUIRE(w.open(satoshi{0}));
    CHECK(w.pays(1));
    CHECK(w.s->record().paid() == satoshi{6'001});
}

TEST_CASE("a settlement ends the channel for good, and the next connection opens another", "[client]") {
    open_client w;
    const txid first = w.channel();
    REQUIRE(w.c->settle());
    CHECK(w.c->pay(satoshi{1}).error().code == errc::wrong_state);
    w.run();
    const heard_event e = w.payer.events.last(event_kind::settled);
    CHECK(e.closing == parse_transaction(e.data)->id());
    const auto stored = load_record(w.payer.disk, record_kind::client_channel, first);
    REQUIRE(stored);
    CHECK(stored->stage == channel_stage::settling);
    CHECK(stored->closing == e.closing);
    w.reconnect();
    REQUIRE(w.open());
    CHECK(w.channel() != first);
    CHECK(w.pays(1));
}

TEST_CASE("a settlement of something else ends the connection, and the channel can be resumed", "[client]") {
    open_client w;
    const bytes contract = stored_bytes(w.payer.disk, record_kind::client_contract, w.channel());
    w.c->on_frame(encoded(wire::close{contract}));
    CHECK(w.payer.events.count(event_kind::settled) == 0);
    CHECK(w.payer.transport.closed == 1);
    CHECK(w.sent().empty());
    w.reconnect();
    REQUIRE(w.open(satoshi{0}));
    CHECK(w.pays(1));

    w.c->on_frame(encoded(wire::close{as_bytes("garbage")}));
    CHECK(error_text(w.payer.transport.sent) == "BAD_TRANSACTION: the settlement is not a transaction");
}

TEST_CASE("the client's own refund is sent when the chain's time has come", "[client]") {
    open_client w;
    w.reconnect();
    const unix_time expiry = w.c->record().terms.expiry;
    CHECK(w.c->refund(expiry).error().code == errc::not_yet_due);
    w.chain.set_time(expiry + 1);
    w.chain.mine(12, p2pkh_script({}).view());
    REQUIRE(w.c->refund(w.chain.median_time()));
    const auto refund = w.chain.spender_in_mempool({w.channel(), 0});
    REQUIRE(refund);
    CHECK(*refund == parse_transaction(stored_bytes(w.payer.disk, record_kind::client_refund, w.channel()))->id());
    world fresh;
    CHECK(fresh.c->refund(expiry + 1).error().code == errc::wrong_state);
}

TEST_CASE("the end of a connection is told once, and nothing when there was none", "[client]") {
    world w;
    w.c->on_disconnected();
    CHECK(w.payer.events.heard.empty());
    REQUIRE(w.c->connect(satoshi{1'000'000}));
    w.c->on_disconnected();
    w.c->on_disconnected();
    CHECK(w.payer.events.names() == "closed");
}
