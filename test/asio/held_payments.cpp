// The application's answers to payments over TCP: acks with bytes, acks that come later, refusals, and what waits.
#include "paychan/asio/tcp_server.hpp"
#include "support.hpp"

using namespace paychan;
using namespace paychan::asio::testing;
using paychan::asio::receipt;
using paychan::asio::tcp_client_settings;
using paychan::asio::tcp_server_settings;
namespace net = boost::asio;

namespace {

payment_answer hold(const event&) { return payment_answer::hold(); }

/// A limit that no test waits for: what needs it hangs.
tcp_server_settings patient() {
    tcp_server_settings settings;
    settings.transport.linger = 60s;
    return settings;
}

/// A server that holds every payment.
struct holding_world : world {
    explicit holding_world(const tcp_server_settings& settings = patient()) : world(settings) {
        server_events.answers = hold;
    }

    /// True when the application was asked about so many payments.
    bool asked(std::size_t payments) {
        return run_until([&] { return server_events.asked.size() >= payments; });
    }

    /// Lets everything happen that is going to.
    void settle_down() {
        for (int i = 0; i < 20; ++i) {
            step_server();
            step_client();
        }
    }
};

/// A channel that a tcp_client opened, in the hands of a raw_payer.
struct raw_world : holding_world {
    explicit raw_world(const tcp_server_settings& settings = patient()) : holding_world(settings) {
        const auto opener = make_client();
        channel = open(*opener);
        id = channel.terms.contract.id;
        opener->disconnect();
        REQUIRE(run_until([&] { return !opener->connected() && server->connections() == 0; }));
        payer.emplace(*this, channel);
    }

    channel_record channel;
    txid id;
    std::optional<raw_payer> payer;
};

}  // namespace

TEST_CASE("tcp_server sends the application's bytes with the ack", "[asio][server][answer]") {
    tcp_server_settings settings;
    settings.channel.versions = version_set::only(GENERATE(1, 2));
    world w(settings);
    const bytes info(GENERATE(as<std::size_t>{}, 1, 300, 32'000), 0xa5);
    w.server_events.answers = [&](const event& e) {
        CHECK(text_of(e.data) == "for the server");
        CHECK(e.amount == satoshi{10});
        return payment_answer::ack(info);
    };
    const auto payer = w.make_client();
    w.open(*payer);
    CHECK(w.server_events.asked.empty());  // the first payment was made already
    world::outcome<receipt> acked;
    payer->async_pay(satoshi{10}, as_bytes("for the server"), acked.handler());
    REQUIRE(w.run_until([&] { return acked.fired > 0; }));
    REQUIRE(acked.ok());
    CHECK((*acked.value)->info == info);
    CHECK((*acked.value)->total == satoshi{1'010});
    CHECK(w.server_events.asked == std::vector<satoshi>{satoshi{1'010}});
}

TEST_CASE("tcp_server acks a held payment when the application says so, and not before", "[asio][server][answer]") {
    holding_world w;
    const auto payer = w.make_client();
    const txid id = w.open(*payer).terms.contract.id;
    const auto ack = [&] {
        const bytes info{1, 2, 3};
        w.server->ack(id, satoshi{1'010}, info);  // copied: it is gone when the ack leaves
    };
    world::outcome<receipt> acked;
    bool late = false;
    SECTION("in another turn") { late = true; }
    SECTION("from a posted handler") {
        w.server_events.answers = [&](const event&) {
            net::post(w.server_io, ack);
            return payment_answer::hold();
        };
    }
    SECTION("from inside on_payment, before it says that it holds") {
        w.server_events.answers = [&](const event&) {
            ack();
            return payment_answer::hold();
        };
    }
    SECTION("from inside on_event, before on_payment is asked") {
        w.server_events.then = [&](const event& e) {
            if (e.kind == event_kind::payment && e.total == satoshi{1'010}) ack();
        };
    }
    payer->async_pay(satoshi{10}, acked.handler());
    if (late) {
        REQUIRE(w.asked(1));
        w.server->ack(id, satoshi{1'009});  // another payment's name
        w.server->ack(txid{}, satoshi{1'010});
        w.settle_down();
        CHECK(acked.fired == 0);
        CHECK(w.stored(id)->paid() == satoshi{1'010});  // it is safe while it waits
        ack();
    }
    REQUIRE(w.run_until([&] { return acked.fired > 0; }));
    REQUIRE(acked.ok());
    CHECK((*acked.value)->info == bytes{1, 2, 3});
    CHECK((*acked.value)->total == satoshi{1'010});
    ack();  // answered already
    w.settle_down();
    CHECK(acked.fired == 1);
    w.server_events.then = [](const event&) {};
    w.server_events.answers = [](const event&) { return payment_answer::ack(); };
    CHECK(w.pay(*payer, satoshi{5}).total == satoshi{1'015});
    CHECK(w.client_events.problems.empty());
}

TEST_CASE("tcp_server refuses a payment with the application's words; it counts once, and the channel goes on",
          "[asio][server][answer]") {
    holding_world w;
    tcp_client_settings settings;
    settings.channel.extensions = GENERATE(true, false);
    const auto payer = w.make_client(settings);
    const txid id = w.open(*payer).terms.contract.id;
    const auto refuse = [&] { w.server->refuse(id, satoshi{1'010}, std::string("sold") + " out"); };
    bool late = false;
    SECTION("later") { late = true; }
    SECTION("at once") {
        w.server_events.answers = [](const event&) { return payment_answer::refuse("sold out"); };
    }
    SECTION("from inside on_event") {
        w.server_events.then = [&](const event& e) {
            if (e.kind == event_kind::payment) refuse();
        };
    }
    world::outcome<receipt> refused;
    payer->async_pay(satoshi{10}, refused.handler());
    if (late) {
        REQUIRE(w.asked(1));
        refuse();
    }
    REQUIRE(w.run_until([&] { return refused.fired > 0 && !payer->connected() && w.server->connections() == 0; }));
    CHECK(refused.code() == errc::peer_error);
    CHECK(w.client_events.problems == std::vector<errc>{errc::other});
    CHECK(w.client_events.words == std::vector<std::string>{"sold out"});
    CHECK(w.server_events.problems == std::vector<errc>{errc::other});
    CHECK(w.stored(id)->paid() == satoshi{1'010});

    w.server_events.then = [](const event&) {};
    w.server_events.answers = [](const event&) { return payment_answer::ack(); };
    CHECK(w.resume(*payer, id).paid() == satoshi{1'010});
    CHECK(w.pay(*payer, satoshi{5}).total == satoshi{1'015});
    CHECK(w.server_events.asked == std::vector<satoshi>{satoshi{1'010}, satoshi{1'015}});
    CHECK(w.server_events.count(event_kind::payment) == 3);  // and the first, of the opening
    CHECK(w.stored(id)->paid() == satoshi{1'015});
    CHECK(refused.fired == 1);
}

TEST_CASE("tcp_server ends the connection when the answer is too long for a frame, and the payment counts",
          "[asio][server][answer]") {
    holding_world w;
    const auto payer = w.make_client();
    const txid id = w.open(*payer).terms.contract.id;
    const bytes info(32'768, 7);
    const std::string why(40'000, 'x');
    bool late = false;
    SECTION("an ack, later") { late = true; }
    SECTION("an ack, at once") {
        w.server_events.answers = [&](const event&) { return payment_answer::ack(info); };
    }
    SECTION("a refusal") {
        w.server_events.answers = [&](const event&) { return payment_answer::refuse(why); };
    }
    world::outcome<receipt> acked;
    payer->async_pay(satoshi{10}, acked.handler());
    if (late) {
        REQUIRE(w.asked(1));
        w.server->ack(id, satoshi{1'010}, info);
    }
    REQUIRE(w.run_until([&] { return acked.fired > 0 && !payer->connected() && w.server->connections() == 0; }));
    CHECK(acked.code() == errc::peer_error);
    CHECK(w.resume(*payer, id).paid() == satoshi{1'010});
}

TEST_CASE("tcp_server answers payments that were sent at once one after the other", "[asio][server][answer]") {
    raw_world w;
    w.payer->write(
        joined({w.payer->payment(satoshi{1'010}), w.payer->payment(satoshi{1'030}), w.payer->payment(satoshi{1'060})}));
    REQUIRE(w.asked(1));
    w.settle_down();
    CHECK(w.server_events.asked == std::vector<satoshi>{satoshi{1'010}});
    CHECK(w.payer->acks().empty());
    CHECK(w.stored(w.id)->paid() == satoshi{1'010});
    w.server->ack(w.id, satoshi{1'060}, as_bytes("too early"));
    w.server->ack(w.id, satoshi{1'010}, as_bytes("first"));
    w.server->ack(w.id, satoshi{1'010}, as_bytes("twice"));
    REQUIRE(w.asked(2));
    w.settle_down();
    CHECK(w.payer->acks() == "first");
    // The second is answered at once, from inside.
    w.server_events.answers = [&](const event& e) {
        w.server->ack(w.id, e.total, as_bytes("third"));
        return payment_answer::hold();
    };
    w.server->ack(w.id, satoshi{1'030}, as_bytes("second"));
    REQUIRE(w.run_until([&] { return w.payer->count<wire::payment_ack>() == 3; }));
    w.settle_down();
    CHECK(w.payer->acks() == "first second third");
    CHECK(w.server_events.asked == std::vector<satoshi>{satoshi{1'010}, satoshi{1'030}, satoshi{1'060}});
    CHECK(w.stored(w.id)->paid() == satoshi{1'060});
    CHECK_FALSE(w.payer->ended);
}

TEST_CASE("tcp_server answers in order whatever happens first: the next frame, its turn, or the answer",
          "[asio][server][answer]") {
    raw_world w;
    const int handlers = GENERATE(range(0, 6));
    w.payer->write(w.payer->payment(satoshi{1'010}));
    REQUIRE(w.asked(1));
    w.settle_down();
    w.payer->write(joined({w.payer->payment(satoshi{1'030}), w.payer->payment(satoshi{1'030})}));
    w.server_io.restart();
    for (int i = 0; i < handlers; ++i) w.server_io.poll_one();
    w.server->ack(w.id, satoshi{1'010}, as_bytes("first"));
    REQUIRE(w.asked(2));
    w.settle_down();
    CHECK(w.payer->acks() == "first");
    w.server->ack(w.id, satoshi{1'030}, as_bytes("second"));
    REQUIRE(w.run_until([&] { return w.payer->count<wire::payment_ack>() == 3; }));
    w.settle_down();
    CHECK(w.payer->acks() == "first second -");  // the repeated one is no question
    CHECK(w.server_events.asked.size() == 2);
}

TEST_CASE("tcp_server holds many payments of one commit, and answers each connection in its own order",
          "[asio][server][answer]") {
    constexpr std::size_t clients = 6;
    holding_world w;
    std::vector<std::unique_ptr<raw_payer>> payers;
    for (std::size_t i = 0; i < clients; ++i) {
        const auto opener = w.make_client();
        payers.push_back(std::make_unique<raw_payer>(w, w.open(*opener)));
    }
    REQUIRE(w.run_until([&] { return w.server->connections() == clients; }));
    std::vector<std::pair<txid, satoshi>> held;
    w.server_events.answers = [&](const event& e) {
        // Some are answered at once, so that a round has both.
        if (e.channel == payers[1]->record.terms.contract.id) return payment_answer::ack(as_bytes("now"));
        held.emplace_back(e.channel, e.total);
        return payment_answer::hold();
    };
    const int before = w.server_store.commits;
    for (const auto& p : payers) p->write(joined({p->payment(satoshi{1'010}), p->payment(satoshi{1'020})}));
    REQUIRE(w.run_until([&] { return held.size() == clients - 1; }));
    w.settle_down();
    CHECK(held.size() == clients - 1);
    CHECK(w.server_store.commits - before < static_cast<int>(clients + 1));
    // The last one first, and those that come meanwhile behind them.
    while (!held.empty()) {
        const auto [channel, total] = held.back();
        held.pop_back();
        w.server->ack(channel, total, as_bytes(total == satoshi{1'010} ? "one" : "two"));
        if (held.size() % 2 == 0) w.settle_down();
    }
    REQUIRE(w.run_until([&] {
        for (const auto& [channel, total] : std::exchange(held, {})) w.server->ack(channel, total, as_bytes("two"));
        return std::ranges::all_of(payers, [](const auto& p) { return p->template count<wire::payment_ack>() == 2; });
    }));
    w.settle_down();
    for (std::size_t i = 0; i < clients; ++i) {
        CHECK(payers[i]->acks() == (i == 1 ? "now now" : "one two"));
        CHECK(w.stored(payers[i]->record.terms.contract.id)->paid() == satoshi{1'020});
    }
    CHECK(w.server_events.asked.size() == 2 * clients);
}

TEST_CASE("tcp_server ends a connection with a held payment in order, also with frames that wait behind it",
          "[asio][server][answer]") {
    raw_world w;
    const bool more = GENERATE(false, true);
    w.payer->write(w.payer->payment(satoshi{1'010}));
    if (more) w.payer->write(joined({w.payer->payment(satoshi{1'020}), w.payer->payment(satoshi{1'030})}));
    REQUIRE(w.asked(1));
    w.settle_down();
    std::optional<raw_payer> taker;
    std::ptrdiff_t closes = 1;
    bool stopped = false;
    SECTION("stop") {
        w.server->stop();
        stopped = true;
    }
    SECTION("stop, from inside an event of another connection") {
        const auto other = w.make_client();
        w.server_events.then = [&](const event& e) {
            if (e.kind == event_kind::opened) w.server->stop();
        };
        world::outcome<channel_record> opened;
        other->async_open("127.0.0.1", w.port(), satoshi{1'000'000}, {}, opened.handler());
        REQUIRE(w.run_until([&] { return opened.fired > 0 && !other->connected(); }));
        stopped = true;
    }
    SECTION("detach: the contract was spent") { w.server->detach(w.id, txid{}); }
    SECTION("another connection takes the channel over") { taker.emplace(w, w.channel); }
    SECTION("the network refuses the contract by now") {
        w.server->on_broadcast(w.id, broadcast_outcome::refused);
        closes = 0;
    }
    SECTION("the operator settles") {
        CHECK(w.server->settle_attached(w.id));
        REQUIRE(w.run_until([&] { return w.payer->ended; }));
        REQUIRE(w.payer->all<wire::close>().size() == 1);
        REQUIRE(w.payer->all<wire::close>()[0].settlement);
        CHECK(w.stored(w.id)->stage == channel_stage::settling);
    }
    SECTION("the application refuses") {
        w.server->refuse(w.id, satoshi{1'010}, "no");
        closes = 0;
    }
    REQUIRE(w.run_until([&] { return w.payer->ended; }));
    CHECK(w.payer->how == net::error::eof);  // ended, not reset: the last message is sure to arrive
    CHECK(w.payer->count<wire::close>() == closes);
    CHECK(w.payer->count<wire::error_message>() == 1 - closes);
    w.payer->end();
    REQUIRE(w.run_until([&] { return w.server->connections() == (taker ? 1U : 0U); }));
    // The answer comes too late to matter.
    w.server->ack(w.id, satoshi{1'010});
    w.server->refuse(w.id, satoshi{1'010}, "late");
    w.settle_down();
    CHECK(w.payer->count<wire::payment_ack>() == 0);
    CHECK(w.stored(w.id)->paid() == satoshi{1'010});
    CHECK(w.server_events.asked.size() == 1);
    if (taker) {
        CHECK(taker->count<wire::payment_ack>() == 0);
        CHECK_FALSE(taker->ended);
    }
    if (stopped) {
        w.server_io.restart();
        w.server_io.run();  // returns: nothing is left
    }
}

TEST_CASE("tcp_server passes late answers over, and takes those of the new connection", "[asio][server][answer]") {
    raw_world w;
    w.payer->write(w.payer->payment(satoshi{1'010}));
    REQUIRE(w.asked(1));
    bool taken_over = false;
    SECTION("the connection ended") {
        w.payer->end();
        REQUIRE(w.run_until([&] { return w.server->connections() == 0; }));
    }
    SECTION("the connection was reset") {
        w.payer->socket.set_option(net::socket_base::linger(true, 0));
        w.payer->socket.close();
        REQUIRE(w.run_until([&] { return w.server->connections() == 0; }));
    }
    SECTION("the channel was taken over") { taken_over = true; }
    w.server->ack(w.id, satoshi{1'010}, as_bytes("late"));
    if (taken_over) {
        REQUIRE(w.run_until([&] { return w.payer->acks() == "late"; }));  // not late yet
        w.payer->write(w.payer->payment(satoshi{1'015}));
        REQUIRE(w.asked(2));
    }
    const satoshi before = taken_over ? satoshi{1'015} : satoshi{1'010};
    const std::size_t asked = w.server_events.asked.size();
    raw_payer next(w, w.channel);
    w.server->ack(w.id, before, as_bytes("late"));
    w.server->refuse(w.id, before, "late");
    w.settle_down();
    CHECK(next.acks().empty());
    next.write(next.payment(before));  // what counted already is acked without a question
    REQUIRE(w.run_until([&] { return next.acks() == "-"; }));
    next.write(next.payment(satoshi{1'020}));
    REQUIRE(w.asked(asked + 1));
    w.server->ack(w.id, before, as_bytes("late"));
    w.server->refuse(w.id, before, "late");
    w.settle_down();
    CHECK(next.acks() == "-");
    CHECK_FALSE(next.ended);
    w.server->ack(w.id, satoshi{1'020}, as_bytes("right"));
    REQUIRE(w.run_until([&] { return next.acks() == "- right"; }));
    CHECK(w.stored(w.id)->paid() == satoshi{1'020});
    CHECK(w.server_events.asked.size() == asked + 1);
}

TEST_CASE("tcp_server serves others while a payment is held, and settles an exhausted channel after the ack",
          "[asio][server][answer]") {
    holding_world w;
    const auto payer = w.make_client();
    const txid id = w.open(*payer, satoshi{200'000}).terms.contract.id;
    world::outcome<receipt> acked;
    payer->async_pay(satoshi{199'000}, acked.handler());
    REQUIRE(w.asked(1));
    w.server_events.answers = [](const event&) { return payment_answer::ack(); };
    const auto other = w.make_client();
    w.open(*other);
    CHECK(w.pay(*other, satoshi{3}).total == satoshi{1'003});
    CHECK(acked.fired == 0);
    CHECK(w.stored(id)->stage == channel_stage::open);
    w.server->ack(id, satoshi{200'000}, as_bytes("all of it"));
    REQUIRE(w.run_until([&] { return acked.fired == 1 && !payer->connected(); }));
    REQUIRE(acked.ok());
    CHECK(text_of((*acked.value)->info) == "all of it");
    CHECK(w.client_events.count(event_kind::settled) == 1);
    CHECK(w.chain.in_mempool(w.stored(id)->closing));
}

TEST_CASE("tcp_client that settles while its payment is held gets the ack first, then the settlement",
          "[asio][server][answer]") {
    holding_world w;
    const auto payer = w.make_client();
    const txid id = w.open(*payer).terms.contract.id;
    world::outcome<receipt> acked;
    world::outcome<asio::settlement> settled;
    payer->async_pay(satoshi{10}, acked.handler());
    payer->async_settle(settled.handler());
    REQUIRE(w.asked(1));
    w.settle_down();
    CHECK(acked.fired + settled.fired == 0);
    SECTION("acked") {
        w.server->ack(id, satoshi{1'010});
        REQUIRE(w.run_until([&] { return acked.fired > 0 && settled.fired > 0; }));
        CHECK(acked.ok());
        REQUIRE(settled.ok());
        CHECK((*settled.value)->total == satoshi{1'010});
    }
    SECTION("refused") {
        w.server->refuse(id, satoshi{1'010}, "no");
        REQUIRE(w.run_until([&] { return acked.fired > 0 && settled.fired > 0; }));
        CHECK(acked.code() == errc::peer_error);
        CHECK(settled.code() == errc::other);
        CHECK(w.stored(id)->stage == channel_stage::open);
    }
    REQUIRE(w.run_until([&] { return !payer->connected(); }));
    CHECK(acked.fired == 1);
    CHECK(settled.fired == 1);
}

TEST_CASE("tcp_server does not blame the client for the time that the application takes", "[asio][server][answer]") {
    tcp_server_settings settings = patient();
    settings.open_limit = 100ms;
    raw_world w(settings);
    const bool more = GENERATE(false, true);
    w.payer->write(w.payer->payment(satoshi{1'010}));
    if (more) w.payer->write(w.payer->payment(satoshi{1'020}));
    REQUIRE(w.asked(1));
    CHECK_FALSE(w.run_until([&] { return w.payer->ended; }, 300ms));
    w.server->ack(w.id, satoshi{1'010}, as_bytes("first"));
    if (more) {
        REQUIRE(w.asked(2));
        w.server->ack(w.id, satoshi{1'020}, as_bytes("second"));
    }
    // From here on it is the client's turn again.
    REQUIRE(w.run_until([&] { return w.payer->ended; }));
    CHECK(w.payer->acks() == (more ? "first second" : "first"));
    const auto said = w.payer->all<wire::error_message>();
    REQUIRE(said.size() == 1);
    CHECK(said[0].code == static_cast<std::int32_t>(errc::timeout));
}

TEST_CASE("tcp_server reads nothing more of a connection while a payment is held", "[asio][server][answer][hostile]") {
    raw_world w;
    w.payer->write(w.payer->payment(satoshi{1'010}));
    REQUIRE(w.asked(1));
    // Equal payments with long bytes for the application: each would be acked at once.
    const bytes frame = w.payer->payment(satoshi{1'010}, bytes(32'000, 1));
    w.payer->socket.set_option(net::socket_base::send_buffer_size(65'536));
    w.payer->socket.non_blocking(true);
    constexpr std::size_t far_too_much = std::size_t{64} * 1024 * 1024;
    std::size_t sent = 0;
    const auto push = [&] {
        boost::system::error_code e;
        const auto rest = bytes_view(frame).subspan(sent % frame.size());
        const std::size_t n = w.payer->socket.write_some(net::buffer(rest.data(), rest.size()), e);
        sent += n;
        return n > 0;
    };
    int stuck = 0;
    while (stuck < 200 && sent < far_too_much) {
        stuck = push() ? 0 : stuck + 1;
        w.step_server();
    }
    CHECK(sent < far_too_much);  // what the two kernels take, and no more
    CHECK(w.payer->count<wire::payment_ack>() == 0);
    CHECK(w.server_events.asked.size() == 1);

    // And then all of it is answered, in order.
    w.server->ack(w.id, satoshi{1'010}, as_bytes("first"));
    REQUIRE(w.run_until([&] {
        while (sent % frame.size() != 0 && push()) continue;
        return sent % frame.size() == 0;
    }));
    const auto frames = static_cast<std::ptrdiff_t>(sent / frame.size());
    CHECK(frames > 0);
    REQUIRE(w.run_until([&] { return w.payer->count<wire::payment_ack>() == 1 + frames; }));
    CHECK(w.payer->acks().starts_with("first -"));
    CHECK(w.server_events.asked.size() == 1);
    CHECK(w.stored(w.id)->paid() == satoshi{1'010});
}
