// Protocol versions over TCP: a client that is refused asks for a lower one, once, and only for a new channel.
#include "paychan/asio/tcp_client.hpp"
#include "support.hpp"

using namespace paychan;
using namespace paychan::asio::testing;
using paychan::asio::tcp;
using paychan::asio::tcp_client_settings;
using paychan::asio::tcp_server_settings;
namespace net = boost::asio;

namespace {

tcp_server_settings serves(version_set versions) {
    tcp_server_settings settings;
    settings.channel.versions = versions;
    return settings;
}

tcp_client_settings asks(version_set versions) {
    tcp_client_settings settings;
    settings.channel.versions = versions;
    return settings;
}

std::vector<std::int32_t> asked(const relay& between) {
    std::vector<std::int32_t> out;
    for (const auto& c : between.connections)
        for (const auto& m : all_of<wire::client_version>(messages_in(c->up))) out.push_back(m.major);
    return out;
}

}  // namespace

TEST_CASE("tcp_client opens a version 1 channel with a server that has no other", "[asio][client][version]") {
    world w(serves(version_set::only(1)));
    relay between(w.client_io, w.server->port());
    const auto payer = w.make_client();
    world::outcome<channel_record> opened;
    channel_label label;
    REQUIRE(label.assign(as_bytes("shop")));
    payer->async_open("127.0.0.1", between.port(), satoshi{1'000'000}, label, opened.handler());
    REQUIRE(w.run_until([&] { return opened.fired > 0; }));
    REQUIRE(opened.ok());
    CHECK((*opened.value)->protocol == 1);
    CHECK(text_of((*opened.value)->label.view()) == "shop");
    CHECK(asked(between) == std::vector<std::int32_t>{2, 1});
    CHECK(w.client_events.kinds == std::vector<event_kind>{event_kind::stored, event_kind::opened});
    CHECK(w.pay(*payer, satoshi{10}).total == satoshi{1'010});
    world::outcome<asio::settlement> settled;
    payer->async_settle(settled.handler());
    REQUIRE(w.run_until([&] { return settled.fired > 0 && !payer->connected(); }));
    CHECK(settled.ok());
    CHECK(opened.fired == 1);
    CHECK(w.client_events.problems.empty());

    // The next channel begins with the version that the settings prefer.
    opened = {};
    payer->async_open("127.0.0.1", between.port(), satoshi{1'000'000}, {}, opened.handler());
    REQUIRE(w.run_until([&] { return opened.fired > 0; }));
    CHECK(opened.ok());
    CHECK(asked(between) == std::vector<std::int32_t>{2, 1, 2, 1});
}

TEST_CASE("tcp_client asks once where the server has the version", "[asio][client][version]") {
    world w;
    relay between(w.client_io, w.server->port());
    const std::int32_t version = GENERATE(1, 2);
    const auto payer = w.make_client(asks(version_set::only(version)));
    world::outcome<channel_record> opened;
    payer->async_open("127.0.0.1", between.port(), satoshi{1'000'000}, {}, opened.handler());
    REQUIRE(w.run_until([&] { return opened.fired > 0; }));
    REQUIRE(opened.ok());
    CHECK((*opened.value)->protocol == version);
    CHECK(asked(between) == std::vector<std::int32_t>{version});
}

TEST_CASE("tcp_client says that there is no acceptable version when there is none", "[asio][client][version]") {
    version_set ours = version_set::all();
    version_set theirs = version_set::all();
    std::vector<std::int32_t> expected;
    SECTION("2 only, of a server with 1 only") {
        ours = version_set::only(2);
        theirs = version_set::only(1);
        expected = {2};
    }
    SECTION("1 only, of a server with 2 only") {
        ours = version_set::only(1);
        theirs = version_set::only(2);
        expected = {1};
    }
    SECTION("2 or 1, of a server with none") {
        theirs = version_set::only(1).without(1);
        expected = {2, 1};
    }
    world w(serves(theirs));
    relay between(w.client_io, w.server->port());
    const auto payer = w.make_client(asks(ours));
    world::outcome<channel_record> opened;
    payer->async_open("127.0.0.1", between.port(), satoshi{1'000'000}, {}, opened.handler());
    REQUIRE(w.run_until([&] { return opened.fired > 0 && !payer->connected(); }));
    CHECK(opened.code() == errc::no_acceptable_version);
    CHECK(asked(between) == expected);
    CHECK(w.client_events.kinds == std::vector<event_kind>{event_kind::error, event_kind::closed});
    CHECK(w.client_events.problems == std::vector<errc>{errc::no_acceptable_version});
    for (int i = 0; i < 20; ++i) {
        w.step_client();
        w.step_server();
    }
    CHECK(opened.fired == 1);
    CHECK(asked(between) == expected);
    // And it is ready for a better server.
    w.server.reset();
    w.start_server(serves(version_set::all()));
    w.open(*payer);
}

TEST_CASE("tcp_client completes once when the server is gone at its second attempt", "[asio][client][version]") {
    world w(serves(version_set::only(1)));
    const auto payer = w.make_client();
    w.server_events.then = [&](const event& e) {
        if (e.kind == event_kind::error) w.server->stop();
    };
    world::outcome<channel_record> opened;
    payer->async_open("127.0.0.1", w.port(), satoshi{1'000'000}, {}, opened.handler());
    REQUIRE(w.run_until([&] { return opened.fired > 0; }));
    CHECK(opened.code() == errc::unreachable);
    CHECK_FALSE(payer->connected());
    w.server_events.then = [](const event&) {};
    w.start_server();
    w.open(*payer);
    CHECK(opened.fired == 1);
}

TEST_CASE("tcp_client completes once when it is disconnected or destroyed between two attempts",
          "[asio][client][version]") {
    world w(serves(version_set::only(1)));
    auto payer = w.make_client();
    const int handlers = GENERATE(range(1, 28));
    const bool destroyed = GENERATE(false, true);
    world::outcome<channel_record> opened;
    payer->async_open("127.0.0.1", w.port(), satoshi{1'000'000}, {}, opened.handler());
    for (int i = 0; i < handlers && opened.fired == 0; ++i) {
        w.client_io.restart();
        w.client_io.run_one_for(2ms);  // one handler: all points in time are met
        for (int k = 0; k < 3; ++k) w.step_server();
        w.payer_network.deliver(w.payer);
    }
    const bool was_open = opened.fired > 0;
    if (destroyed)
        payer.reset();
    else
        payer->disconnect();
    const std::size_t before = w.server_events.connections.size();
    REQUIRE(w.run_until(
        [&] { return opened.fired > 0 && (destroyed || !payer->connected()) && w.server->connections() == 0; }));
    for (int i = 0; i < 20; ++i) {
        w.step_client();
        w.step_server();
    }
    CHECK(opened.fired == 1);
    // It may have been on its way already.
    CHECK((opened.ok() ||
           (!was_open && (opened.code() == errc::connection_lost || opened.code() == errc::no_acceptable_version))));
    // The connection that was under way may still arrive, and is ended; none is made after it.
    CHECK(w.server_events.connections.size() <= before + 2);
    CHECK(w.server->connections() == 0);
    if (!destroyed) w.open(*payer);
}

TEST_CASE("tcp_client asks for the channel's own version when it resumes, and for no other",
          "[asio][client][version]") {
    world w;
    const auto payer = w.make_client();
    const txid id = w.open(*payer).terms.contract.id;
    payer->disconnect();
    REQUIRE(w.run_until([&] { return !payer->connected() && w.server->connections() == 0; }));
    w.server.reset();
    w.server_store.records = {};  // it has forgotten the channel
    w.start_server(serves(version_set::only(1)));
    relay between(w.client_io, w.server->port());
    const satoshi offer{GENERATE(0, 1'000'000)};
    world::outcome<channel_record> resumed;
    payer->async_resume("127.0.0.1", between.port(), id, offer, resumed.handler());
    REQUIRE(w.run_until([&] { return resumed.fired > 0 && !payer->connected(); }));
    CHECK(resumed.code() == errc::no_acceptable_version);
    CHECK(asked(between) == std::vector<std::int32_t>{2});
    CHECK(w.client_events.problems == std::vector<errc>{errc::no_acceptable_version});
    CHECK(payer->record().terms.contract.id == id);  // its money is still in there
}

TEST_CASE("tcp_client asks no server again that answers with a version nobody asked for",
          "[asio][client][version][hostile]") {
    world w;
    tcp::acceptor acceptor(w.server_io, {net::ip::address_v4::loopback(), 0});
    tcp::socket socket(w.server_io);
    int connections = 0;
    acceptor.async_accept(socket, [&](const boost::system::error_code& e) { connections += e ? 0 : 1; });
    const auto payer = w.make_client();
    world::outcome<channel_record> opened;
    payer->async_open("127.0.0.1", std::to_string(acceptor.local_endpoint().port()), satoshi{1'000'000}, {},
                      opened.handler());
    REQUIRE(w.run_until([&] { return connections == 1; }));
    acceptor.async_accept([&](const boost::system::error_code& e, const tcp::socket&) { connections += e ? 0 : 1; });
    net::write(socket, net::buffer(raw_peer::framed(wire::server_version{3, 0})));
    socket.shutdown(tcp::socket::shutdown_send);
    REQUIRE(w.run_until([&] { return opened.fired > 0 && !payer->connected(); }));
    CHECK(opened.code() == errc::no_acceptable_version);
    CHECK(connections == 1);
    CHECK(w.client_events.problems == std::vector<errc>{errc::no_acceptable_version});
}

TEST_CASE("tcp_client makes no second contract when a server takes the first and then refuses the version",
          "[asio][client][version][hostile]") {
    world w;
    // Says what the true server says, but answers the contract with NO_ACCEPTABLE_VERSION.
    tcp::acceptor acceptor(w.server_io, {net::ip::address_v4::loopback(), 0});
    tcp::socket socket(w.server_io);
    int connections = 0;
    acceptor.async_accept(socket, [&](const boost::system::error_code& e) { connections += e ? 0 : 1; });
    const auto payer = w.make_client();
    world::outcome<channel_record> opened;
    payer->async_open("127.0.0.1", std::to_string(acceptor.local_endpoint().port()), satoshi{1'000'000}, {},
                      opened.handler());
    REQUIRE(w.run_until([&] { return connections == 1; }));
    const auto say = [&](const wire::message& m) { net::write(socket, net::buffer(raw_peer::framed(m))); };
    const auto key = w.server_keys.public_key(*w.server_keys.new_key());
    REQUIRE(key);
    wire::initiate terms;
    terms.multisig_key = key->view();
    terms.min_accepted_channel_size = 100'000;
    terms.expire_time_secs = 1'700'086'340;
    terms.min_payment = 1'000;
    say(wire::server_version{2, 0});
    say(terms);
    REQUIRE(w.run_until([&] { return w.client_events.count(event_kind::stored) == 1; }));
    const txid id = payer->record().terms.contract.id;
    wire::error_message refusal;
    refusal.code = static_cast<std::int32_t>(errc::no_acceptable_version);
    say(refusal);
    acceptor.async_accept([&](const boost::system::error_code& e, const tcp::socket&) { connections += e ? 0 : 1; });
    socket.shutdown(tcp::socket::shutdown_send);
    REQUIRE(w.run_until([&] { return opened.fired > 0 && !payer->connected(); }));
    CHECK(opened.code() == errc::no_acceptable_version);
    CHECK(connections == 1);
    CHECK(w.client_events.problems == std::vector<errc>{errc::no_acceptable_version});
    CHECK(w.client_events.count(event_kind::stored) == 1);
    CHECK(payer->record().terms.contract.id == id);  // the money in it waits for its refund
}
