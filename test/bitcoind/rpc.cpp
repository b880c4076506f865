#include "paychan/bitcoind/rpc.hpp"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <stdexcept>

#include "fake_node.hpp"

using namespace paychan::bitcoind;
using namespace std::chrono_literals;

namespace {

struct called_node {
    boost::asio::io_context io;
    fake::node node;
    rpc_client rpc;

    explicit called_node(fake::node::handler h, rpc_settings s = {})
        : node(io, std::move(h)), rpc(io, node.address(), s) {}

    rpc_result call(const std::string& method = "x", json params = json::array()) {
        std::optional<rpc_result> got;
        rpc.call(method, std::move(params), [&](rpc_result r) {
            REQUIRE_FALSE(got);
            got = std::move(r);
        });
        REQUIRE_FALSE(got);  // never from inside call()
        REQUIRE(fake::run_until(io, [&] { return got.has_value(); }));
        return std::move(*got);
    }
    rpc_failure failure() {
        const auto r = call();
        REQUIRE_FALSE(r);
        INFO(r.error().message);
        REQUIRE_FALSE(r.error().message.empty());
        return r.error().failure;
    }
};

fake::reply raw(std::string bytes, bool close = false) { return {{std::move(bytes)}, close}; }

/// One piece for each byte.
fake::reply in_bytes(const fake::reply& whole) {
    fake::reply out;
    for (const std::string& piece : whole.pieces)
        for (const char c : piece) out.pieces.emplace_back(1, c);
    return out;
}

}  // namespace

TEST_CASE("rpc sends method, parameters and login, and gives the result", "[bitcoind]") {
    std::string head;
    json body;
    called_node f([&](const fake::request& r) {
        head = r.head;
        body = r.body;
        return fake::ok(r, {{"answer", 42}});
    });
    const auto r = f.call("getblockhash", json::array({7, "a"}));
    REQUIRE(r);
    CHECK((*r)["answer"] == 42);
    CHECK(head.starts_with("POST / HTTP/1.1\r\n"));
    CHECK(head.find("Authorization: Basic dXNlcjpwYXNz\r\n") != std::string::npos);  // base64 of user:pass
    CHECK(body["method"] == "getblockhash");
    CHECK(body["params"] == json::array({7, "a"}));
}

TEST_CASE("rpc keeps one connection for many calls and answers them in order", "[bitcoind]") {
    called_node f([](const fake::request& r) { return fake::ok(r, r.body["params"][0]); });
    std::vector<int> got;
    for (int i = 0; i < 50; ++i) f.rpc.call("x", json::array({i}), [&](rpc_result r) { got.push_back(r->get<int>()); });
    REQUIRE(fake::run_until(f.io, [&] { return got.size() == 50; }));
    CHECK(std::is_sorted(got.begin(), got.end()));
    CHECK(f.node.connections() == 1);
}

TEST_CASE("rpc reads the node's error whatever the HTTP status", "[bitcoind]") {
    const unsigned status = GENERATE(200U, 400U, 404U, 500U, 503U);
    called_node f([&](const fake::request& r) { return fake::error(r, -26, "non-final", status); });
    const auto r = f.call();
    REQUIRE_FALSE(r);
    CHECK(r.error().failure == rpc_failure::node_error);
    CHECK(r.error().code == -26);
    CHECK(r.error().message == "non-final");
}

TEST_CASE("rpc says that the node refuses user or password on a 401 without a body", "[bitcoind]") {
    called_node f([](const fake::request&) {
        return raw(
            "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"jsonrpc\"\r\nContent-Length: 0\r\n\r\n",
            true);
    });
    const auto r = f.call();
    REQUIRE_FALSE(r);
    CHECK(r.error().failure == rpc_failure::unauthorized);
    CHECK(r.error().message == "the node refuses user or password");
}

TEST_CASE("rpc reads an answer that comes byte by byte", "[bitcoind]") {
    called_node f([](const fake::request& r) { return in_bytes(fake::ok(r, "split")); });
    CHECK(f.call().value() == "split");
    CHECK(f.call().value() == "split");
    CHECK(f.node.connections() == 1);
}

TEST_CASE("rpc reads an answer without a length up to its end, and connects again for the next", "[bitcoind]") {
    called_node f([](const fake::request& r) {
        return raw("HTTP/1.1 200 OK\r\n\r\n" + json{{"result", 1}, {"id", r.body["id"]}}.dump(), true);
    });
    CHECK(f.call().value() == 1);
    CHECK(f.call().value() == 1);
    CHECK(f.node.connections() == 2);
}

TEST_CASE("rpc reads a chunked answer", "[bitcoind]") {
    called_node f([](const fake::request& r) {
        const std::string body = json{{"result", 1}, {"id", r.body["id"]}}.dump();
        const std::string first = body.substr(0, 5);
        const std::string second = body.substr(5);
        std::array<char, 16> size{};
        std::snprintf(size.data(), size.size(), "%zx", second.size());
        return raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n" + first + "\r\n" + size.data() +
                   "\r\n" + second + "\r\n0\r\n\r\n");
    });
    CHECK(f.call().value() == 1);
}

TEST_CASE("rpc calls anything that is no JSON-RPC answer a bad answer", "[bitcoind]") {
    const std::string body =
        GENERATE(as<std::string>{}, "", "null", "[]", "{}", "garbage", "<html>", "{\"result\":1", "{\"error\":{}}",
                 R"({"error":"words"})", R"({"result":1,"id":999})", R"({"result":1})",
                 R"({"error":{"code":99999999999,"message":"x"}})", R"({"error":{"code":"-1"}})");
    const unsigned status = GENERATE(200U, 500U);
    called_node f([&](const fake::request&) { return fake::http(status, body); });
    CHECK(f.failure() == rpc_failure::bad_answer);
    f.node.answer_with([](const fake::request& r) { return fake::ok(r, "well"); });
    CHECK(f.call().value() == "well");
}

TEST_CASE("rpc calls what is not HTTP a bad answer", "[bitcoind]") {
    const std::string bytes = GENERATE(as<std::string>{}, "SSH-2.0-OpenSSH_9.2\r\n", "HTTP/9.9 200 OK\r\n\r\n",
                                       "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", "\x16\x03\x01\x02\r\n\r\n");
    called_node f([&](const fake::request&) { return raw(bytes, true); });
    CHECK(f.failure() == rpc_failure::bad_answer);
}

TEST_CASE("rpc refuses an answer longer than its bound without reading it", "[bitcoind]") {
    called_node f(
        [](const fake::request& r) {
            if (r.method() == "says") return raw("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n");
            if (r.method() == "sends") return raw("HTTP/1.1 200 OK\r\n\r\n" + std::string(4096, ' '), true);
            if (r.method() == "heads") return raw("HTTP/1.1 200 OK\r\nX: " + std::string(100'000, 'x') + "\r\n\r\n");
            return fake::ok(r, 1);
        },
        {.timeout = 10s, .max_answer = 1000});
    for (const char* method : {"says", "sends", "heads"}) {
        const auto r = f.call(method);
        REQUIRE_FALSE(r);
        CHECK(r.error().failure == rpc_failure::bad_answer);
        CHECK(f.call().value() == 1);
    }
}

TEST_CASE("rpc reads an answer of 9 MB", "[bitcoind]") {
    const std::string block(9'000'000, 'a');
    called_node f([&](const fake::request& r) { return fake::ok(r, block); });
    CHECK(f.call().value() == block);
}

TEST_CASE("rpc survives a connection that breaks in the middle of an answer", "[bitcoind]") {
    const std::string bytes =
        GENERATE(as<std::string>{}, "", "HTTP/1.1 2", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"resu");
    called_node f([&](const fake::request&) { return raw(bytes, true); });
    CHECK(f.failure() == rpc_failure::unreachable);
    f.node.answer_with([](const fake::request& r) { return fake::ok(r, 1); });
    CHECK(f.call().value() == 1);
}

TEST_CASE("rpc does not take bytes after an answer for the next answer", "[bitcoind]") {
    called_node f([](const fake::request& r) {
        fake::reply out = fake::ok(r, r.body["params"][0]);
        out.pieces[0] += fake::ok(r, "stray").pieces[0];
        return out;
    });
    CHECK(f.call("x", json::array({"first"})).value() == "first");
    CHECK(f.call("x", json::array({"second"})).value() == "second");
}

TEST_CASE("rpc asks again on a new connection when the node closed the kept one", "[bitcoind]") {
    called_node f([](const fake::request& r) { return fake::ok(r, 1); });
    CHECK(f.call().value() == 1);
    f.node.hang_up();
    CHECK(f.call().value() == 1);
    CHECK(f.node.connections() == 2);
}

TEST_CASE("rpc fails all that waits when the node does not answer in time, and then tries anew", "[bitcoind]") {
    called_node f([](const fake::request&) { return fake::reply{}; }, {.timeout = 100ms});
    int failed = 0;
    for (int i = 0; i < 5; ++i)
        f.rpc.call("x", json::array(), [&](rpc_result r) {
            REQUIRE_FALSE(r);
            CHECK(r.error().failure == rpc_failure::too_slow);
            ++failed;
        });
    REQUIRE(fake::run_until(f.io, [&] { return failed == 5; }));
    f.node.answer_with([](const fake::request& r) { return fake::ok(r, 1); });
    CHECK(f.call().value() == 1);
}

TEST_CASE("rpc counts a dribbling answer against the same time limit", "[bitcoind]") {
    called_node f(
        [](const fake::request&) {
            return in_bytes(raw("HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + std::string(1'000'000, ' ')));
        },
        {.timeout = 100ms});
    CHECK(f.failure() == rpc_failure::too_slow);
}

TEST_CASE("rpc gives a slow node twice the time with each attempt, and less when it is fast again", "[bitcoind]") {
    called_node f([](const fake::request&) { return fake::reply{}; }, {.timeout = 100ms, .longest_timeout = 600ms});
    const auto waits = [&] {
        const auto began = std::chrono::steady_clock::now();
        const auto r = f.call("getblock");
        REQUIRE_FALSE(r);
        CHECK(r.error().failure == rpc_failure::too_slow);
        CHECK(r.error().message.find("getblock") != std::string::npos);
        return std::chrono::steady_clock::now() - began;
    };
    CHECK(waits() >= 100ms);
    CHECK(waits() >= 200ms);
    CHECK(waits() >= 400ms);
    CHECK(waits() >= 600ms);
    CHECK(waits() < 1'200ms);
    f.node.answer_with([](const fake::request& r) { return fake::ok(r, 1); });
    CHECK(f.call("getblockhash"));  // was never slow
    f.node.answer_with([](const fake::request&) { return fake::reply{}; });
    CHECK(waits() >= 600ms);
    f.node.answer_with([](const fake::request& r) { return fake::ok(r, 1); });
    CHECK(f.call("getblock"));
    f.node.answer_with([](const fake::request&) { return fake::reply{}; });
    CHECK(waits() < 600ms);
}

TEST_CASE("rpc has no more patience with a node that is not there", "[bitcoind]") {
    called_node f([](const fake::request& r) { return fake::ok(r, 1); }, {.timeout = 100ms});
    f.node.down();
    for (int i = 0; i < 5; ++i) CHECK(f.failure() == rpc_failure::unreachable);
    f.node.up();
    f.node.answer_with([](const fake::request&) { return fake::reply{}; });
    const auto began = std::chrono::steady_clock::now();
    CHECK(f.failure() == rpc_failure::too_slow);
    CHECK(std::chrono::steady_clock::now() - began < 1s);
}

TEST_CASE("rpc says unreachable when nothing listens, and recovers when the node is up", "[bitcoind]") {
    called_node f([](const fake::request& r) { return fake::ok(r, 1); });
    f.node.down();
    CHECK(f.failure() == rpc_failure::unreachable);
    CHECK(f.failure() == rpc_failure::unreachable);
    f.node.up();
    CHECK(f.call().value() == 1);
}

TEST_CASE("rpc tells all that waits of a failure, also when one of them throws", "[bitcoind]") {
    called_node f([](const fake::request& r) { return fake::ok(r, 1); });
    f.node.down();
    int failed = 0, thrown = 0;
    for (int i = 0; i < 3; ++i)
        f.rpc.call("x", json::array(), [&failed, i](rpc_result r) {
            failed += !r;
            if (i == 1) throw std::runtime_error("a bug");
        });
    for (int i = 0; failed < 3 && i < 100; ++i) try {
            f.io.restart();
            f.io.run_one_for(100ms);
        } catch (const std::runtime_error&) {
            ++thrown;
        }
    CHECK(failed == 3);
    CHECK(thrown == 1);
    f.node.up();
    CHECK(f.call());
}

TEST_CASE("rpc bounds its queue", "[bitcoind]") {
    called_node f([](const fake::request& r) { return fake::ok(r, 1); }, {.max_queue = 3});
    int answered = 0;
    int refused = 0;
    for (int i = 0; i < 5; ++i)
        f.rpc.call("x", json::array(), [&](rpc_result r) {
            if (r) ++answered;
            if (!r && r.error().failure == rpc_failure::queue_full) ++refused;
        });
    REQUIRE(fake::run_until(f.io, [&] { return answered + refused == 5; }));
    CHECK(answered == 3);
}

TEST_CASE("rpc may be called and stopped from inside a completion", "[bitcoind]") {
    called_node f([](const fake::request& r) { return fake::ok(r, 1); });
    int answers = 0;
    f.rpc.call("x", json::array(), [&](rpc_result) {
        ++answers;
        f.rpc.call("x", json::array(), [&](rpc_result) {
            ++answers;
            f.rpc.stop();
        });
        f.rpc.call("x", json::array(), [&](rpc_result) { ++answers; });
    });
    REQUIRE(fake::run_until(f.io, [&] { return answers == 2; }));
    f.node.down();
    f.io.restart();
    f.io.run_for(5s);
    CHECK(f.io.stopped());
    CHECK(answers == 2);
}

TEST_CASE("rpc that is destroyed with calls under way calls nobody and lets the io_context end", "[bitcoind]") {
    boost::asio::io_context io;
    fake::node node(io, [](const fake::request&) { return fake::reply{}; });
    int asked = 0;
    node.answer_with([&](const fake::request&) {
        ++asked;
        return fake::reply{};
    });
    {
        rpc_client rpc(io, node.address());
        for (int i = 0; i < 3; ++i) rpc.call("x", json::array(), [](rpc_result) { FAIL("called after its end"); });
        REQUIRE(fake::run_until(io, [&] { return asked == 1; }));
    }
    node.down();
    io.restart();
    io.run_for(5s);
    CHECK(io.stopped());
}

TEST_CASE("rpc reads the cookie file anew for each connection", "[bitcoind]") {
    char name[] = "/tmp/paychan_cookie_XXXXXX";
    const int opened = ::mkstemp(name);
    REQUIRE(opened >= 0);
    ::close(opened);
    const std::string file = name;
    const auto write = [&](const char* text) { std::ofstream(file) << text; };
    std::string head;
    boost::asio::io_context io;
    fake::node node(io, [&](const fake::request& r) {
        head = r.head;
        return fake::ok(r, 1);
    });
    node_address address = node.address();
    address.login = {};
    address.cookie_file = file;
    rpc_client rpc(io, address);
    int done = 0;
    bool good = false;
    const auto call = [&] {
        rpc.call("x", json::array(), [&](rpc_result r) {
            ++done;
            good = r.has_value();
        });
        const int expected = done + 1;
        REQUIRE(fake::run_until(io, [&] { return done == expected; }));
        return good;
    };
    CHECK_FALSE(call());  // nothing in it yet
    write("__cookie__:first\n");
    CHECK(call());
    CHECK(head.find(base64("__cookie__:first") + "\r\n") != std::string::npos);
    write("__cookie__:second");
    node.hang_up();
    CHECK(call());
    CHECK(head.find(base64("__cookie__:second") + "\r\n") != std::string::npos);
    std::remove(file.c_str());
    node.hang_up();
    CHECK_FALSE(call());  // no such file
}
