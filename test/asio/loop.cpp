// The loop of a program, and addresses as people write them.
#include "paychan/asio/loop.hpp"

#include <boost/asio/post.hpp>
#include <catch2/catch.hpp>
#include <functional>

#include "paychan/asio/host_and_port.hpp"

using namespace paychan;

TEST_CASE("a loop runs until something is so, a time has passed, or a signal came", "[asio][loop]") {
    asio::loop loop({SIGUSR1});
    bool so = false;
    boost::asio::post(loop.io(), [&] { so = true; });
    CHECK(loop.run_until([&] { return so; }));
    CHECK_FALSE(loop.run_until([] { return false; }, std::chrono::milliseconds(1)));
    CHECK_FALSE(loop.stopping());
    boost::asio::post(loop.io(), [] { std::raise(SIGUSR1); });
    CHECK_FALSE(loop.run_until([] { return false; }));
    CHECK(loop.stopping());
}

TEST_CASE("an operation that completes after nobody waits for it any more does no harm", "[asio][loop]") {
    asio::loop loop({});
    const auto run = [&](const auto& done) { loop.run_until(done, std::chrono::milliseconds(1)); };
    std::function<void(result<int>)> late;
    CHECK_FALSE(asio::loop::wait_for<int>([&](auto done) { late = done; }, run));
    late(5);
    const auto done = asio::loop::wait_for<int>([](auto handler) { handler(6); }, run);
    REQUIRE(done);
    CHECK(done->value() == 6);
}

TEST_CASE("an address is a host and a port", "[asio]") {
    const auto good = [](std::string_view text) { return asio::parse_host_and_port(text).value(); };
    CHECK(good("127.0.0.1:4242").host == "127.0.0.1");
    CHECK(good("127.0.0.1:4242").port == 4242);
    CHECK(good("[::1]:0").host == "::1");
    CHECK(good("server.example:65535").port == 65535);
    for (const char* const bad : {"", ":", "a:", ":1", "a", "a:65536", "a:99999999999", "a:-1", "a:1x", "a: 1"})
        CHECK(asio::parse_host_and_port(bad).error().code == errc::malformed);
}
