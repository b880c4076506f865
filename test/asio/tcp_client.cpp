// The TCP client: completion tokens, limits, and that every completion fires once whatever happens.
#include "paychan/asio/tcp_client.hpp"

#include <atomic>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/use_future.hpp>
#include <future>
#include <thread>

#include "support.hpp"

#if defined(BOOST_ASIO_HAS_CO_AWAIT)  // not with clang 14 and libstdc++
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>
#endif

using namespace paychan;
using namespace paychan::asio::testing;
using paychan::asio::receipt;
using paychan::asio::settlement;
using paychan::asio::tcp;
using paychan::asio::tcp_client_settings;
namespace net = boost::asio;

namespace {

/// A server that accepts, and then does what the test writes.
struct fake_server {
    explicit fake_server(net::io_context& io) : acceptor(io, {net::ip::address_v4::loopback(), 0}), socket(io) {
        acceptor.async_accept(socket, [this](const boost::system::error_code& e) { accepted = !e; });
    }
    [[nodiscard]] std::string port() const { return std::to_string(acceptor.local_endpoint().port()); }
    void write(const wire::message& m) { net::write(socket, net::buffer(raw_peer::framed(m))); }

    tcp::acceptor acceptor;
    tcp::socket socket;
    bool accepted = false;
};

}  // namespace

#if defined(BOOST_ASIO_HAS_CO_AWAIT)
namespace {
net::awaitable<void> converse(world& w, world::client_type& payer, int& stage) {
    const auto opened = co_await payer.async_open("127.0.0.1", w.port(), satoshi{1'000'000}, {}, net::use_awaitable);
    if (!opened) co_return;
    stage = 1;
    for (int i = 0; i < 5; ++i) {
        const auto acked = co_await payer.async_pay(satoshi{10}, net::use_awaitable);
        if (!acked || acked->amount != satoshi{10}) co_return;
    }
    stage = 2;
    const auto settled = co_await payer.async_settle(net::use_awaitable);
    if (!settled || settled->total != satoshi{1'050}) co_return;
    stage = 3;
}
}  // namespace

TEST_CASE("tcp_client opens, pays and settles with co_await", "[asio][client]") {
    world w;
    const auto payer = w.make_client();
    int stage = 0;
    net::co_spawn(w.client_io, converse(w, *payer, stage), net::detached);
    REQUIRE(w.run_until([&] { return stage == 3 && !payer->connected(); }));
}
#endif

TEST_CASE("tcp_client opens, pays and settles with futures, called from another thread", "[asio][client]") {
    world w;
    const auto payer = w.make_client();
    std::atomic<bool> stop = false;
    std::thread loop([&] { w.run_until([&] { return stop.load(); }, 60s); });
    const std::string port = w.port();
    const auto opened = payer->async_open("127.0.0.1", port, satoshi{1'000'000}, {}, net::use_future).get();
    std::vector<result<receipt>> acked;
    for (int i = 0; i < 5 && opened; ++i) acked.push_back(payer->async_pay(satoshi{10}, net::use_future).get());
    const auto settled = payer->async_settle(net::use_future).get();
    stop = true;
    loop.join();
    REQUIRE(opened);
    for (const auto& a : acked) CHECK((a && a->amount == satoshi{10}));
    REQUIRE(settled);
    CHECK(settled->total == satoshi{1'050});
    const auto tx = parse_transaction(bytes_view(settled->transaction));
    REQUIRE(tx);
    CHECK(tx->id() == settled->id);
    CHECK(tx->input(0)->prevout == opened->terms.contract);
}

TEST_CASE("tcp_client completes on the executor of the handler, and never inside the call", "[asio][client]") {
    world w;
    const auto payer = w.make_client();
    net::io_context elsewhere;
    int fired = 0;
    // Fails at once: there is no connection.
    payer->async_pay(satoshi{1}, net::bind_executor(elsewhere, [&](const result<receipt>& r) {
                         ++fired;
                         CHECK(r.error().code == errc::wrong_state);
                     }));
    CHECK(fired == 0);
    w.step_client();
    CHECK(fired == 0);
    elsewhere.run();
    CHECK(fired == 1);
}

TEST_CASE("tcp_client refuses a payment while one is in flight, at once, and the first one goes on", "[asio][client]") {
    world w;
    const auto payer = w.make_client();
    w.open(*payer);
    world::outcome<receipt> first, second;
    payer->async_pay(satoshi{10}, first.handler());
    payer->async_pay(satoshi{20}, second.handler());
    w.step_client();
    CHECK(second.code() == errc::payment_in_flight);
    REQUIRE(w.run_until([&] { return first.fired == 1; }));
    REQUIRE(first.ok());
    CHECK((*first.value)->total == satoshi{1'010});
    CHECK(w.pay(*payer, satoshi{20}).total == satoshi{1'030});
}

TEST_CASE("tcp_client takes orders from inside its events", "[asio][client]") {
    world w;
    const auto payer = w.make_client();
    world::outcome<channel_record> opened;
    world::outcome<receipt> acked;
    world::outcome<settlement> settled;
    w.client_events.then = [&](const event& e) {
        if (e.kind == event_kind::opened) payer->async_pay(satoshi{10}, acked.handler());
        if (e.kind == event_kind::acked) payer->async_settle(settled.handler());
        if (e.kind == event_kind::settled) payer->disconnect();
    };
    payer->async_open("127.0.0.1", w.port(), satoshi{1'000'000}, {}, opened.handler());
    REQUIRE(w.run_until([&] { return settled.fired == 1 && !payer->connected(); }));
    CHECK(settled.ok());
    CHECK(acked.fired == 1);
    CHECK(opened.fired == 1);
}

TEST_CASE("tcp_clients pay on their own channels at the same time", "[asio][client]") {
    world w;
    const auto one = w.make_client();
    const auto two = w.make_client();
    w.open(*one);
    w.open(*two, satoshi{2'000'000});
    world::outcome<receipt> a, b;
    one->async_pay(satoshi{10}, a.handler());
    two->async_pay(satoshi{20}, b.handler());
    REQUIRE(w.run_until([&] { return a.fired == 1 && b.fired == 1; }));
    CHECK((*a.value)->total == satoshi{1'010});
    CHECK((*b.value)->total == satoshi{1'020});
}

TEST_CASE("tcp_client pays all there is, and the server settles by itself", "[asio][client]") {
    world w;
    const auto payer = w.make_client();
    w.open(*payer, satoshi{200'000});
    CHECK(w.pay(*payer, satoshi{198'900}).amount == satoshi{199'000});  // the rest would be dust
    REQUIRE(w.run_until([&] { return !payer->connected(); }));
    CHECK(w.client_events.count(event_kind::settled) == 1);
}

TEST_CASE("tcp_client says what is wrong when it cannot connect", "[asio][client]") {
    world w;
    tcp_client_settings settings;
    world::outcome<channel_record> opened;
    std::string port = w.port();
    errc expected = errc::unreachable;
    SECTION("nobody listens") { w.server.reset(); }
    SECTION("the caller gives up") { expected = errc::connection_lost; }
    const auto payer = w.make_client(settings);
    payer->async_open("127.0.0.1", port, satoshi{1'000'000}, {}, opened.handler());
    if (expected == errc::connection_lost) payer->disconnect();
    REQUIRE(w.run_until([&] { return opened.fired == 1; }));
    CHECK(opened.code() == expected);
    CHECK_FALSE(payer->connected());
    // And it can try again.
    if (!w.server) w.start_server();
    w.open(*payer);
}

TEST_CASE("tcp_client refuses a second connection, a channel that it does not know, and one too small",
          "[asio][client]") {
    world w;
    const auto payer = w.make_client();
    world::outcome<channel_record> second, unknown, small;
    payer->async_resume("127.0.0.1", w.port(), txid{}, {}, unknown.handler());
    REQUIRE(w.run_until([&] { return unknown.fired == 1; }));
    CHECK(unknown.code() == errc::not_found);
    payer->async_open("127.0.0.1", w.port(), satoshi{1'545}, {}, small.handler());
    REQUIRE(w.run_until([&] { return small.fired == 1; }));
    CHECK(small.code() == errc::out_of_range);
    w.open(*payer);
    payer->async_open("127.0.0.1", w.port(), satoshi{1'000'000}, {}, second.handler());
    REQUIRE(w.run_until([&] { return second.fired == 1; }));
    CHECK(second.code() == errc::wrong_state);
    CHECK(w.pay(*payer, satoshi{1}).amount == satoshi{1});
}

TEST_CASE("tcp_client does not wait for ever for a server that says nothing", "[asio][client]") {
    world w;
    tcp_client_settings settings;
    settings.open_limit = 30ms;
    const auto payer = w.make_client(settings);
    fake_server mute(w.server_io);
    world::outcome<channel_record> opened;
    payer->async_open("127.0.0.1", mute.port(), satoshi{1'000'000}, {}, opened.handler());
    REQUIRE(w.run_until([&] { return opened.fired == 1; }));
    CHECK(opened.code() == errc::timeout);
    CHECK_FALSE(payer->connected());
}

TEST_CASE("tcp_client hands on the server's ERROR", "[asio][client]") {
    world w;
    const auto payer = w.make_client();
    fake_server unkind(w.server_io);
    world::outcome<channel_record> opened;
    payer->async_open("127.0.0.1", unkind.port(), satoshi{1'000'000}, {}, opened.handler());
    REQUIRE(w.run_until([&] { return unkind.accepted; }));
    errc expected{};
    SECTION("ERROR") {
        wire::error_message m;
        m.code = static_cast<std::int32_t>(errc::channel_value_too_large);
        unkind.write(m);
        expected = errc::channel_value_too_large;
    }
    SECTION("a message out of order") {
        unkind.write(wire::channel_open{});
        expected = errc::syntax_error;
    }
    SECTION("a bare end") {
        unkind.socket.close();
        expected = errc::connection_lost;
    }
    SECTION("garbage") {
        net::write(unkind.socket, net::buffer("HTTP/1.1 400 Bad Request\r\n\r\n"));
        unkind.socket.shutdown(tcp::socket::shutdown_send);
        expected = errc::connection_lost;
    }
    REQUIRE(w.run_until([&] { return opened.fired == 1; }));
    if (expected == errc::channel_value_too_large) unkind.socket.close();
    CHECK(opened.code() == expected);
}

TEST_CASE("tcp_client completes what is under way when the server's answer does not come", "[asio][client]") {
    world w;
    tcp_client_settings settings;
    settings.ack_limit = settings.settle_limit = 40ms;
    const auto payer = w.make_client(settings);
    const channel_record channel = w.open(*payer);
    world::outcome<receipt> acked;
    world::outcome<settlement> settled;
    const auto client_alone = [&](const auto& done) {
        const auto end = std::chrono::steady_clock::now() + 20s;
        while (!done() && std::chrono::steady_clock::now() < end) {
            w.client_io.restart();
            w.client_io.run_one_for(1ms);
        }
    };
    SECTION("an ack") {
        payer->async_pay(satoshi{10}, acked.handler());
        client_alone([&] { return acked.fired > 0; });
        CHECK(acked.code() == errc::connection_lost);
        // A resume tells: the server got it or it did not, and the next payment covers it either way.
        REQUIRE(w.run_until([&] { return !payer->connected() && w.server->connections() == 0; }));
        world::outcome<channel_record> resumed;
        payer->async_resume("127.0.0.1", w.port(), channel.terms.contract.id, {}, resumed.handler());
        REQUIRE(w.run_until([&] { return resumed.fired == 1; }));
        REQUIRE(resumed.ok());
        world::outcome<receipt> next;
        payer->async_pay(satoshi{5}, next.handler());
        REQUIRE(w.run_until([&] { return next.fired == 1; }));
        REQUIRE(next.ok());
        CHECK(w.stored(channel.terms.contract.id)->paid() == satoshi{1'015});
    }
    SECTION("a settlement") {
        payer->async_settle(settled.handler());
        world::outcome<settlement> again;
        payer->async_settle(again.handler());
        client_alone([&] { return settled.fired > 0; });
        CHECK(settled.code() == errc::timeout);
        CHECK(again.code() == errc::wrong_state);
    }
    CHECK(acked.fired + settled.fired == 1);
}

TEST_CASE("tcp_client completes what is under way when it is disconnected or destroyed", "[asio][client]") {
    world w;
    auto payer = w.make_client();
    w.open(*payer);
    world::outcome<receipt> acked, late;
    payer->async_pay(satoshi{10}, acked.handler());
    SECTION("disconnected") {
        payer->disconnect();
        payer->async_pay(satoshi{10}, late.handler());
    }
    SECTION("destroyed") {
        w.step_client();
        payer.reset();
        late.fired = 1;
    }
    SECTION("destroyed before the operation began") {
        payer.reset();
        late.fired = 1;
    }
    SECTION("the server is destroyed") {
        w.server.reset();
        REQUIRE(w.run_until([&] { return acked.fired == 1; }));
        payer->async_pay(satoshi{10}, late.handler());
    }
    REQUIRE(w.run_until([&] { return acked.fired == 1 && late.fired == 1; }));
    CHECK((acked.ok() || acked.code() == errc::connection_lost));
    CHECK_FALSE(late.ok());
}

TEST_CASE("tcp_client whose store fails sends no payment and ends the connection", "[asio][client]") {
    world w;
    const auto payer = w.make_client();
    const channel_record channel = w.open(*payer);
    w.client_store.fail_next = 1;
    world::outcome<receipt> acked;
    payer->async_pay(satoshi{10}, acked.handler());
    REQUIRE(w.run_until([&] { return acked.fired == 1 && !payer->connected(); }));
    CHECK(acked.code() == errc::store_failed);
    CHECK(w.stored(channel.terms.contract.id)->paid() == satoshi{1'000});
}
