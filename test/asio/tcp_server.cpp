// The TCP server: the whole conversation over real sockets, commits that join, take-overs, and hostile peers.
#include "paychan/asio/tcp_server.hpp"

#include <deque>
#include <thread>

#include "support.hpp"

using namespace paychan;
using namespace paychan::asio::testing;
using paychan::asio::receipt;
using paychan::asio::tcp_server_settings;
namespace net = boost::asio;

TEST_CASE("tcp_server opens a channel of either version, takes 200 payments and settles it", "[asio][server]") {
    tcp_server_settings settings;
    const std::int32_t version = GENERATE(1, 2);
    settings.channel.versions = version_set::only(version);
    world w(settings);
    asio::tcp_client_settings client_settings;
    client_settings.channel.versions = version_set::only(version);
    const auto payer = w.make_client(client_settings);
    const channel_record opened = w.open(*payer);
    CHECK(opened.protocol == version);
    CHECK(opened.paid() == satoshi{1'000});
    CHECK(w.chain.in_mempool(opened.terms.contract.id));
    for (int i = 1; i <= 200; ++i) {
        const auto r = w.pay(*payer, satoshi{10});
        REQUIRE(r.total == satoshi{1'000 + 10 * i});
        REQUIRE(w.stored(opened.terms.contract.id)->paid() == r.total);  // acked means stored
    }
    world::outcome<asio::settlement> settled;
    payer->async_settle(settled.handler());
    REQUIRE(w.run_until([&] { return settled.fired > 0 && !payer->connected() && w.server->connections() == 0; }));
    REQUIRE(settled.ok());
    CHECK((*settled.value)->total == satoshi{3'000});
    CHECK(w.chain.in_mempool((*settled.value)->id));
    CHECK(w.stored(opened.terms.contract.id)->stage == channel_stage::settling);
    CHECK(w.server_events.count(event_kind::payment) == 201);
    CHECK(w.server_events.count(event_kind::settled) == 1);
    CHECK(w.server_events.connections == std::vector<std::string>{"opened", "ended"});
}

TEST_CASE("tcp_server opens nothing while its clock is behind the chain, on old connections and on new ones",
          "[asio][server]") {
    world w;
    const auto before = w.make_client();
    w.open(*before);
    const unix_time ahead = w.clock.now() + 10'000;
    w.server->on_chain(chain_tip{100, ahead});
    const auto refused = w.make_client();
    world::outcome<channel_record> opened;
    refused->async_open("127.0.0.1", w.port(), satoshi{1'000'000}, {}, opened.handler());
    REQUIRE(w.run_until([&] { return opened.fired > 0; }));
    CHECK_FALSE(opened.ok());
    CHECK(w.pay(*before, satoshi{10}).total == satoshi{1'010});  // far from its expiry
}

TEST_CASE("tcp_server commits once for payments that arrive together", "[asio][server]") {
    world w;
    constexpr std::size_t clients = 8;
    std::vector<std::unique_ptr<world::client_type>> payers;
    for (std::size_t i = 0; i < clients; ++i) {
        payers.push_back(w.make_client());
        w.open(*payers.back());
    }
    const int before = w.server_store.commits;
    std::vector<world::outcome<receipt>> acked(clients);
    for (std::size_t i = 0; i < clients; ++i) payers[i]->async_pay(satoshi{7}, acked[i].handler());
    w.step_client();  // all of them have left when the server looks
    REQUIRE(w.run_until([&] { return std::ranges::all_of(acked, [](const auto& a) { return a.fired == 1; }); }));
    for (const auto& a : acked) CHECK(a.ok());
    CHECK(w.server_store.commits - before < static_cast<int>(clients));
    CHECK(w.server_store.largest > 2);  // more than the two records of an opening
}

TEST_CASE("tcp_server acknowledges nothing that is not stored, and one bad record does not fail the others",
          "[asio][server]") {
    world w;
    std::vector<std::unique_ptr<world::client_type>> payers;
    std::vector<channel_record> channels;
    for (int i = 0; i < 3; ++i) {
        payers.push_back(w.make_client());
        channels.push_back(w.open(*payers.back()));
    }
    std::vector<world::outcome<receipt>> acked(3);
    bool second_is_acked = true;
    SECTION("one channel cannot be written") {
        w.server_store.broken = channels[1].terms.contract.id;
        second_is_acked = false;
    }
    SECTION("the joint write fails once") { w.server_store.fail_next = 1; }
    for (std::size_t i = 0; i < 3; ++i) payers[i]->async_pay(satoshi{7}, acked[i].handler());
    w.step_client();
    REQUIRE(w.run_until([&] { return std::ranges::all_of(acked, [](const auto& a) { return a.fired == 1; }); }));
    CHECK(acked[0].ok());
    CHECK(acked[1].ok() == second_is_acked);
    CHECK(acked[2].ok());
    for (std::size_t i = 0; i < 3; ++i)
        CHECK(w.stored(channels[i].terms.contract.id)->paid() == satoshi{acked[i].ok() ? 1'007 : 1'000});
    if (!second_is_acked) {
        CHECK(acked[1].code() == errc::peer_error);
        CHECK(w.server_events.problems == std::vector<errc>{errc::store_failed});
        // The channel is not lost: the next connection pays for both.
        w.server_store.broken.reset();
        REQUIRE(w.run_until([&] { return !payers[1]->connected(); }));
        world::outcome<channel_record> resumed;
        payers[1]->async_resume("127.0.0.1", w.port(), channels[1].terms.contract.id, {}, resumed.handler());
        REQUIRE(w.run_until([&] { return resumed.fired > 0; }));
        REQUIRE(resumed.ok());
        CHECK(w.pay(*payers[1], satoshi{1}).total == satoshi{1'008});
        CHECK(w.stored(channels[1].terms.contract.id)->paid() == satoshi{1'008});
    }
}

TEST_CASE("tcp_server with a store that fails sends no ack at all", "[asio][server]") {
    world w;
    std::vector<std::unique_ptr<world::client_type>> payers;
    for (int i = 0; i < 3; ++i) {
        payers.push_back(w.make_client());
        w.open(*payers.back());
    }
    w.server_store.fail_next = 1'000;
    std::vector<world::outcome<receipt>> acked(3);
    for (std::size_t i = 0; i < 3; ++i) payers[i]->async_pay(satoshi{7}, acked[i].handler());
    REQUIRE(w.run_until([&] { return std::ranges::all_of(acked, [](const auto& a) { return a.fired == 1; }); }));
    for (const auto& a : acked) CHECK(a.code() == errc::peer_error);
}

TEST_CASE("tcp_server takes no channel from its client for a stranger who knows the txid", "[asio][server][hostile]") {
    world w;
    const auto payer = w.make_client();
    const channel_record channel = w.open(*payer);
    const txid id = channel.terms.contract.id;
    const bytes32 hash = display_bytes(id);
    wire::client_version m;
    m.major = channel.protocol;
    m.previous_channel_contract_hash = bytes_view(hash);
    std::vector<std::unique_ptr<raw_peer>> strangers;
    for (std::size_t n = 1; n <= 3; ++n) {
        strangers.push_back(std::make_unique<raw_peer>(w.client_io, w.server->port()));
        strangers.back()->write(m);
        REQUIRE(w.run_until([&] { return strangers.back()->count<wire::channel_open>() == 1; }));
        // Of strangers there is one at a time.
        REQUIRE(w.run_until([&] { return w.server->connections() == 2; }));
    }
    CHECK(payer->connected());
    CHECK(w.pay(*payer, satoshi{50}).total == satoshi{1'050});
    SECTION("a CLOSE of the stranger's settles nothing") {
        strangers.back()->write(wire::close{});
        REQUIRE(w.run_until([&] { return strangers.back()->ended; }));
        CHECK(w.stored(id)->stage == channel_stage::open);
        CHECK(w.pay(*payer, satoshi{1}).total == satoshi{1'051});
    }
    SECTION("a settlement ends both connections") {
        CHECK(w.server->settle_attached(id));
        REQUIRE(w.run_until([&] { return strangers.back()->ended && !payer->connected(); }));
        CHECK(w.stored(id)->paid() == satoshi{1'050});
        CHECK(w.run_until([&] { return w.server->connections() == 0; }));
    }
    SECTION("all that the channel holds is settled for the client, not for the stranger") {
        const satoshi rest = payer->record().change;
        CHECK(w.pay(*payer, rest).total == satoshi{1'000'000});
        REQUIRE(w.run_until([&] { return strangers.back()->ended && !payer->connected(); }));
        CHECK(w.stored(id)->stage == channel_stage::settling);
        CHECK(w.client_events.count(event_kind::settled) == 1);
    }
}

TEST_CASE("tcp_server gives a channel to the connection that resumes it, after what the old one wrote",
          "[asio][server]") {
    world w;
    const auto old = w.make_client();
    const channel_record channel = w.open(*old);
    const bytes32 hash = display_bytes(channel.terms.contract.id);
    raw_peer taker(w.client_io, w.server->port());
    REQUIRE(w.run_until([&] { return w.server->connections() == 2; }));
    // A payment and the greeting lie ready in the same turn.
    world::outcome<receipt> acked;
    old->async_pay(satoshi{50}, acked.handler());
    w.step_client();
    wire::client_version m;
    m.major = channel.protocol;
    m.previous_channel_contract_hash = bytes_view(hash);
    m.resume_time = static_cast<std::uint64_t>(w.clock.now().seconds);
    const auto proof = sign_resume(channel, *m.resume_time, w.client_keys);
    REQUIRE(proof);
    m.resume_signature = proof->view();
    taker.write(m);
    REQUIRE(w.run_until([&] { return taker.count<wire::channel_open>() == 1 && !old->connected(); }));
    CHECK(acked.fired == 1);
    CHECK(acked.ok());
    CHECK(w.stored(channel.terms.contract.id)->paid() == satoshi{1'050});
    REQUIRE(w.run_until([&] { return w.server->connections() == 1; }));
    CHECK_FALSE(taker.ended);
    CHECK(w.server->is_attached(channel.terms.contract.id));
    SECTION("the new connection holds what the old one wrote, so that it can settle") {
        CHECK(w.server->settle_attached(channel.terms.contract.id));
        REQUIRE(w.run_until([&] { return taker.ended; }));
        CHECK(taker.count<wire::close>() == 1);
        CHECK(w.stored(channel.terms.contract.id)->paid() == satoshi{1'050});
    }
    SECTION("a third takes it over in turn, and pays") {
        world::outcome<channel_record> resumed;
        old->async_resume("127.0.0.1", w.port(), channel.terms.contract.id, {}, resumed.handler());
        REQUIRE(w.run_until([&] { return resumed.fired > 0 && taker.ended; }));
        REQUIRE(resumed.ok());
        CHECK(taker.count<wire::close>() == 1);
        CHECK(w.pay(*old, satoshi{1}).total == satoshi{1'051});
    }
}

TEST_CASE("tcp_server settles an attached channel when the book asks, and sends the settlement", "[asio][server]") {
    world w;
    const auto payer = w.make_client();
    const channel_record channel = w.open(*payer);
    const txid& id = channel.terms.contract.id;
    CHECK_FALSE(w.server->is_attached(txid{}));
    CHECK_FALSE(w.server->settle_attached(txid{}));
    SECTION("from the loop") { CHECK(w.server->settle_attached(id)); }
    SECTION("from inside an event") {
        w.server_events.then = [&](const event& e) {
            if (e.kind == event_kind::payment) CHECK(w.server->settle_attached(id));
        };
        w.pay(*payer, satoshi{5});
    }
    REQUIRE(w.run_until([&] { return !payer->connected(); }));
    CHECK(w.client_events.count(event_kind::settled) == 1);
    CHECK(w.stored(id)->stage == channel_stage::settling);
    CHECK(w.chain.in_mempool(w.stored(id)->closing));
}

TEST_CASE("tcp_server asks the network again for what it waits for", "[asio][server]") {
    tcp_server_settings settings;
    settings.rebroadcast = 5ms;
    world w(settings);
    const auto payer = w.make_client();
    w.server_network.set_node(chain_follower::node::down);
    world::outcome<channel_record> opened;
    payer->async_open("127.0.0.1", w.port(), satoshi{1'000'000}, {}, opened.handler());
    REQUIRE(w.run_until([&] { return w.server_events.count(event_kind::stored) == 1; }));
    CHECK(opened.fired == 0);
    w.server_network.set_node(chain_follower::node::up);
    REQUIRE(w.run_until([&] { return opened.fired == 1; }));
    CHECK(opened.ok());
}

TEST_CASE("tcp_server takes no payment after its node was away, until that has the contract again", "[asio][server]") {
    tcp_server_settings settings;
    settings.rebroadcast = 5ms;
    world w(settings);
    const auto payer = w.make_client();
    const txid id = w.open(*payer).terms.contract.id;
    w.pay(*payer, satoshi{10});
    w.chain.forget(id);
    w.server_network.restart_node();
    REQUIRE(w.run_until([&] { return w.chain.in_mempool(id) && w.stored(id)->stage == channel_stage::open; }));
    w.pay(*payer, satoshi{10});

    // Back, and gone again before it has answered.
    w.chain.forget(id);
    w.server_network.set_node(chain_follower::node::down);
    w.server->on_chain(node_returned{});
    CHECK(w.stored(id)->stage == channel_stage::unbacked);
    world::outcome<receipt> acked;
    payer->async_pay(satoshi{10}, acked.handler());
    CHECK_FALSE(w.run_until([&] { return acked.fired > 0; }, 100ms));
    CHECK(w.stored(id)->paid() == satoshi{1'020});
    w.server_network.set_node(chain_follower::node::up);
    REQUIRE(w.run_until([&] { return acked.fired > 0; }));
    REQUIRE(acked.ok());
    CHECK(w.chain.in_mempool(id));
    CHECK(w.stored(id)->paid() == satoshi{1'030});
    CHECK(w.stored(id)->stage == channel_stage::open);
}

TEST_CASE("tcp_server stops in order: CLOSE to all, and the loop runs out of work", "[asio][server]") {
    world w;
    const auto payer = w.make_client();
    const channel_record channel = w.open(*payer);
    raw_peer idle(w.client_io, w.server->port());
    REQUIRE(w.run_until([&] { return w.server->connections() == 2; }));
    SECTION("from the loop") { w.server->stop(); }
    SECTION("from inside an event") {
        w.server_events.then = [&](const event& e) {
            if (e.kind == event_kind::payment) w.server->stop();
        };
        w.pay(*payer, satoshi{5});
    }
    idle.end();
    REQUIRE(w.run_until([&] { return w.server->connections() == 0 && !payer->connected() && idle.ended; }));
    CHECK(idle.count<wire::close>() == 1);
    w.server_io.restart();
    w.server_io.run();  // returns: nothing is left
    CHECK_THROWS(raw_peer(w.client_io, w.server->port()));
    // And the channel goes on with the next server.
    w.server_events.then = [](const event&) {};
    w.start_server();
    world::outcome<channel_record> resumed;
    payer->async_resume("127.0.0.1", w.port(), channel.terms.contract.id, {}, resumed.handler());
    REQUIRE(w.run_until([&] { return resumed.fired > 0; }));
    CHECK(resumed.ok());
}

TEST_CASE("tcp_server can be destroyed with connections, in every phase", "[asio][server]") {
    world w;
    const auto payer = w.make_client();
    w.open(*payer);
    raw_peer idle(w.client_io, w.server->port());
    idle.write(hello());
    REQUIRE(w.run_until([&] { return idle.count<wire::initiate>() == 1; }));
    w.server.reset();
    REQUIRE(w.run_until([&] { return idle.ended && !payer->connected(); }));
}

// ---- hostile peers

namespace {

bytes text(std::string_view s) { return {s.begin(), s.end()}; }

/// The server still serves others.
void check_alive(world& w) {
    const auto payer = w.make_client();
    w.open(*payer);
    CHECK(w.pay(*payer, satoshi{3}).amount == satoshi{3});
}

}  // namespace

TEST_CASE("tcp_server ends a connection without an ERROR when its bytes are no frames", "[asio][server][hostile]") {
    world w;
    bytes attack;
    SECTION("zero length") { attack = {0, 0, 0, 0}; }
    SECTION("one byte more than allowed") { attack = {0, 0, 0x80, 0}; }
    SECTION("negative length") { attack = {0xff, 0xff, 0xff, 0xff}; }
    SECTION("an HTTP request") { attack = text("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); }
    SECTION("garbage of a good length") { attack = {0, 0, 0, 3, 0xff, 0xff, 0xff}; }
    SECTION("a type without its required fields") { attack = {0, 0, 0, 4, 0x08, 0x01, 0x12, 0x00}; }
    SECTION("a flood behind it") {
        attack = {0, 0, 0, 0};
        attack.resize(100'000, 0x55);
    }
    raw_peer peer(w.client_io, w.server->port());
    peer.write(attack);
    REQUIRE(w.run_until([&] { return peer.ended; }));
    CHECK(peer.received.empty());
    CHECK(peer.how == net::error::eof);  // ended, not reset
    peer.end();
    REQUIRE(w.run_until([&] { return w.server->connections() == 0; }));
    check_alive(w);
}

TEST_CASE("tcp_server answers the messages before an end of stream, and ends", "[asio][server][hostile]") {
    world w;
    raw_peer peer(w.client_io, w.server->port());
    SECTION("behind a whole message") { peer.write(hello()); }
    SECTION("in the middle of a frame") {
        bytes both = raw_peer::framed(hello());
        both.insert(both.end(), {0, 0, 1, 0, 8});
        peer.write(both);
    }
    peer.end();
    REQUIRE(w.run_until([&] { return peer.ended; }));
    CHECK(peer.count<wire::initiate>() == 1);
    CHECK(peer.count<wire::error_message>() == 0);
    REQUIRE(w.run_until([&] { return w.server->connections() == 0; }));
}

TEST_CASE("tcp_server takes two messages of one segment in order, and answers the wrong one with an ERROR",
          "[asio][server][hostile]") {
    world w;
    raw_peer peer(w.client_io, w.server->port());
    bytes both = raw_peer::framed(hello());
    const bytes again = raw_peer::framed(hello());  // does not belong there
    both.insert(both.end(), again.begin(), again.end());
    both.insert(both.end(), again.begin(), again.end());  // behind the end: not answered
    peer.write(both);
    REQUIRE(w.run_until([&] { return peer.ended; }));
    const auto m = peer.messages();
    REQUIRE(m.size() == 3);
    CHECK(std::holds_alternative<wire::server_version>(m[0]));
    CHECK(std::holds_alternative<wire::initiate>(m[1]));
    REQUIRE(std::holds_alternative<wire::error_message>(m[2]));
    CHECK(std::get<wire::error_message>(m[2]).code == static_cast<std::int32_t>(errc::syntax_error));
}

TEST_CASE("tcp_server ends a peer that is too slow with TIMEOUT, however many bytes it drips",
          "[asio][server][hostile]") {
    tcp_server_settings settings;
    settings.limit = 60ms;
    world w(settings);
    raw_peer peer(w.client_io, w.server->port());
    SECTION("silent") {}
    SECTION("byte by byte") {
        // As fast as the loop turns, but never a whole message.
        bytes frame = raw_peer::framed(hello());
        std::size_t at = 0;
        const auto begin = std::chrono::steady_clock::now();
        w.run_until(
            [&] {
                boost::system::error_code e;
                if (at + 1 < frame.size() && std::chrono::steady_clock::now() - begin > at * 2ms)
                    net::write(peer.socket, net::buffer(&frame[at++], 1), e);
                return peer.ended;
            },
            5s);
    }
    REQUIRE(w.run_until([&] { return peer.ended; }));
    REQUIRE(peer.messages().size() == 1);
    const auto m = peer.messages();
    REQUIRE(std::holds_alternative<wire::error_message>(m[0]));
    CHECK(std::get<wire::error_message>(m[0]).code == static_cast<std::int32_t>(errc::timeout));
    CHECK(w.server_keys.new_key() == key_id{1});  // it had not got as far as to cost a key
}

TEST_CASE("tcp_server ends a crowd whose time is up a few at a time, so that others have their turn in between",
          "[asio][server][hostile]") {
    tcp_server_settings settings;
    settings.limit = 200ms;
    constexpr std::size_t crowd = 90;
    world w(settings);
    std::deque<raw_peer> peers;
    for (std::size_t i = 0; i < crowd; ++i) peers.emplace_back(w.client_io, w.server->port());
    REQUIRE(w.run_until([&] { return w.server->connections() == crowd; }));
    std::this_thread::sleep_for(2 * settings.limit);

    // Somebody else who always has something to do: how many hear of their end between two of its turns?
    std::size_t told = 0;
    std::size_t most = 0;
    const auto end = std::chrono::steady_clock::now() + 20s;
    const std::function<void()> turn = [&] {
        w.step_client();
        const auto now = std::ranges::count_if(peers, [](const raw_peer& p) { return !p.received.empty(); });
        most = std::max(most, static_cast<std::size_t>(now) - std::exchange(told, static_cast<std::size_t>(now)));
        if (told < crowd && std::chrono::steady_clock::now() < end) net::post(w.server_io, turn);
    };
    net::post(w.server_io, turn);
    REQUIRE(w.run_until([&] { return told == crowd; }));
    CHECK(most <= 32);
    REQUIRE(w.run_until([&] { return std::ranges::all_of(peers, &raw_peer::ended); }));
    for (const raw_peer& peer : peers) CHECK(peer.count<wire::error_message>() == 1);
}

TEST_CASE("tcp_server lets an open channel rest, unless a limit for that is set", "[asio][server]") {
    tcp_server_settings settings;
    settings.limit = 200ms;
    const bool limited = GENERATE(false, true);
    if (limited) settings.open_limit = 30ms;
    world w(settings);
    const auto payer = w.make_client();
    w.open(*payer);
    CHECK(w.run_until([&] { return !payer->connected(); }, 600ms) == limited);
}

TEST_CASE("tcp_server drops those who come when it is full, and serves those who are there",
          "[asio][server][hostile]") {
    tcp_server_settings settings;
    SECTION("in all") { settings.max_connections = 3; }
    SECTION("from one address") { settings.max_per_address = 3; }
    world w(settings);
    const auto payer = w.make_client();
    w.open(*payer);
    std::vector<std::unique_ptr<raw_peer>> flood;
    for (int i = 0; i < 50; ++i) flood.push_back(std::make_unique<raw_peer>(w.client_io, w.server->port()));
    REQUIRE(w.run_until([&] { return std::ranges::count_if(flood, [](const auto& p) { return p->ended; }) == 48; }));
    CHECK(w.server->connections() == 3);
    CHECK(w.server_events.turned_away == 48);
    CHECK(w.pay(*payer, satoshi{3}).amount == satoshi{3});
    for (const auto& p : flood) p->socket.close();
    REQUIRE(w.run_until([&] { return w.server->connections() == 1; }));
    check_alive(w);
}

TEST_CASE("tcp_server leaves descriptors to the rest of the process", "[asio][server][hostile]") {
    rlimit before{};
    REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
    const auto fits = [&](rlim_t limit, std::size_t wanted, std::size_t reserve) {
        const rlimit lowered{limit, before.rlim_max};
        REQUIRE(setrlimit(RLIMIT_NOFILE, &lowered) == 0);
        const std::size_t out = asio::connections_that_fit(wanted, reserve);
        REQUIRE(setrlimit(RLIMIT_NOFILE, &before) == 0);
        return out;
    };
    CHECK(fits(256, 1'000, 64) == 192);
    CHECK(fits(256, 100, 64) == 100);
    CHECK(fits(100, 1'000, 64) == 50);

    // A server that is full has them left.
    tcp_server_settings settings;
    settings.max_per_address = 0;
    const rlimit lowered{128, before.rlim_max};
    REQUIRE(setrlimit(RLIMIT_NOFILE, &lowered) == 0);
    world w(settings);
    CHECK(w.server->max_connections() == 64);
    REQUIRE(setrlimit(RLIMIT_NOFILE, &before) == 0);
    std::vector<std::unique_ptr<raw_peer>> flood;
    for (int i = 0; i < 70; ++i) flood.push_back(std::make_unique<raw_peer>(w.client_io, w.server->port()));
    CHECK(w.run_until([&] { return std::ranges::count_if(flood, [](const auto& p) { return p->ended; }) == 6; }));
    CHECK(w.server->connections() == 64);
}

TEST_CASE("tcp_server keeps the channel through a disconnection at any point", "[asio][server]") {
    world w;
    const int steps = GENERATE(range(1, 14));
    asio::tcp_client_settings settings;
    settings.channel.versions = version_set::only(GENERATE(1, 2));
    const auto payer = w.make_client(settings);
    world::outcome<channel_record> opened;
    payer->async_open("127.0.0.1", w.port(), satoshi{1'000'000}, {}, opened.handler());
    for (int i = 0; i < steps; ++i) {
        w.step_client();
        w.step_server();
    }
    SECTION("by the client, in order") { payer->disconnect(); }
    SECTION("by a crash of the client") {
        const txid id = payer->record().terms.contract.id;
        const bool stored = payer->record().stage != channel_stage::none;
        w.run_until([&] { return w.server->connections() == 0 || opened.fired > 0; }, 1ms);
        CHECK((!stored || load_record(w.client_store, record_kind::client_channel, id)));
        payer->disconnect();
    }
    REQUIRE(w.run_until([&] { return opened.fired == 1 && !payer->connected() && w.server->connections() == 0; }));
    std::vector<txid> ids;
    CHECK(w.client_store.list(record_kind::client_channel, [&](const record_id& id) { ids.push_back(id.channel); }));
    for (const txid& id :
         ids) {  // what the client has stored, it can go on with, or open anew if the server never knew
        world::outcome<channel_record> resumed;
        payer->async_resume("127.0.0.1", w.port(), id, satoshi{1'000'000}, resumed.handler());
        REQUIRE(w.run_until([&] { return resumed.fired == 1; }));
        REQUIRE(resumed.ok());
        CHECK(w.pay(*payer, satoshi{10}).amount == satoshi{10});
    }
}
