// The first payment over TCP: a server remembers for each address what its clients would have paid.
#include "paychan/asio/tcp_server.hpp"
#include "support.hpp"

using namespace paychan;
using namespace paychan::asio::testing;
using paychan::asio::tcp_client_settings;
using paychan::asio::tcp_server_settings;
namespace net = boost::asio;

namespace {

/// 127.0.0.1 is number 1; all of 127/8 is this machine.
net::ip::address_v4 address(std::uint32_t number) { return net::ip::address_v4(0x7f00'0000 + number); }

/// The first payment that a server demands of whoever comes from there; `refusal` is sent as the answer.
std::uint64_t demanded(world& w, std::uint32_t from, const std::optional<wire::error_message>& refusal = {}) {
    raw_peer peer(w.client_io, w.server->port(), address(from));
    peer.write(hello());
    REQUIRE(w.run_until([&] { return peer.count<wire::initiate>() == 1; }));
    const std::uint64_t least = peer.all<wire::initiate>()[0].min_payment;
    if (refusal) peer.write(*refusal);
    peer.end();
    REQUIRE(w.run_until([&] { return peer.ended && w.server->connections() == 0; }));
    return least;
}

wire::error_message too_large(std::optional<std::uint64_t> expected) {
    wire::error_message m;
    m.code = static_cast<std::int32_t>(errc::min_payment_too_large);
    m.expected_value = expected;
    return m;
}

}  // namespace

TEST_CASE("tcp_server offers an address the first payment that it asked for", "[asio][server][min_payment]") {
    world w;
    CHECK(demanded(w, 1, too_large(5'000)) == 1'000);
    CHECK(demanded(w, 2) == 1'000);  // somebody else
    CHECK(demanded(w, 1) == 5'000);
    CHECK(demanded(w, 1) == 1'000);  // for one attempt: others may be behind the same address
    CHECK(demanded(w, 1, too_large(5'000)) == 1'000);
    CHECK(demanded(w, 1, too_large(2'000)) == 5'000);
    CHECK(demanded(w, 1) == 2'000);
}

TEST_CASE("tcp_server follows no wish out of its range, and no other ERROR", "[asio][server][min_payment]") {
    world w;
    wire::error_message refusal;
    SECTION("too little") { refusal = too_large(999); }
    SECTION("nothing") { refusal = too_large(0); }
    SECTION("not said") { refusal = too_large({}); }
    SECTION("too much") { refusal = too_large(10'001); }
    SECTION("more than there is") { refusal = too_large(2'100'000'000'000'001); }
    SECTION("absurd") { refusal = too_large(0xffff'ffff'ffff'ffff); }
    SECTION("another code") {
        refusal = too_large(5'000);
        refusal.code = static_cast<std::int32_t>(errc::channel_value_too_large);
    }
    CHECK(demanded(w, 1, refusal) == 1'000);
    CHECK(demanded(w, 1) == 1'000);
}

TEST_CASE("tcp_server forgets what it was told before it made an offer", "[asio][server][min_payment]") {
    world w;
    raw_peer peer(w.client_io, w.server->port());
    peer.write(too_large(5'000));
    peer.end();
    REQUIRE(w.run_until([&] { return peer.ended && w.server->connections() == 0; }));
    CHECK(demanded(w, 1) == 1'000);
}

TEST_CASE("tcp_server does not let a client pay less than a settlement costs", "[asio][server][min_payment]") {
    world w;
    w.server->on_fee_rate({20'000});  // [sat/kvB] about 340 bytes
    const std::uint64_t least = demanded(w, 1, too_large(1'000));
    CHECK(least > 5'000);
    CHECK(demanded(w, 1, too_large(10'000)) == least);
    CHECK(demanded(w, 1) == 10'000);
}

TEST_CASE("tcp_server and tcp_client agree at the second attempt", "[asio][server][min_payment]") {
    tcp_server_settings settings;
    settings.channel.min_payment = satoshi{5'000};
    settings.channel.lowest_min_payment = satoshi{1'000};
    world w(settings);
    tcp_client_settings client_settings;
    client_settings.channel.max_min_payment = satoshi{3'000};
    const auto payer = w.make_client(client_settings);
    world::outcome<channel_record> opened;
    payer->async_open("127.0.0.1", w.port(), satoshi{1'000'000}, {}, opened.handler());
    REQUIRE(w.run_until([&] { return opened.fired > 0; }));
    CHECK(opened.code() == errc::min_payment_too_large);
    REQUIRE(w.run_until([&] { return !payer->connected(); }));
    CHECK(w.open(*payer).paid() == satoshi{3'000});
}

TEST_CASE("tcp_server remembers a bounded number of addresses", "[asio][server][min_payment][hostile]") {
    world w;
    CHECK(demanded(w, 1, too_large(5'000)) == 1'000);
    for (std::uint32_t n = 2; n <= 1'000; ++n) REQUIRE(demanded(w, n, too_large(2'000)) == 1'000);
    CHECK(demanded(w, 1'001, too_large(4'000)) == 1'000);
    CHECK(demanded(w, 1'001) == 4'000);
    int forgotten = 0;
    for (std::uint32_t n = 1; n <= 1'000; ++n) forgotten += demanded(w, n) == 1'000 ? 1 : 0;
    CHECK(forgotten == 1);
}
