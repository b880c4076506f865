// memory_pipe: order, ends, bounds, and that no driver is called from inside a call.
#include "paychan/memory/pipe.hpp"

#include <catch2/catch.hpp>
#include <functional>

using namespace paychan;

namespace {

using bytes = std::vector<std::uint8_t>;

/// Writes down what it hears, and then does what the test wants.
struct listener {
    std::vector<bytes> heard;
    int disconnected = 0;
    int depth = 0;
    int deepest = 0;
    std::function<void(bytes_view)> then = [](bytes_view) {};

    void on_frame(bytes_view frame) {
        deepest = std::max(deepest, ++depth);
        heard.emplace_back(frame.begin(), frame.end());
        then(frame);
        CHECK(bytes(frame.begin(), frame.end()) == heard.back());  // the view lives as long as the call
        --depth;
    }
    void on_disconnected() { ++disconnected; }
};

}  // namespace

TEST_CASE("memory_pipe delivers copies of the frames, in order, one at a time, and only when asked to",
          "[memory][pipe]") {
    memory_pipe p;
    listener a, b;
    bytes frame{1, 2};
    p.first.send(frame);
    frame[0] = 9;
    p.first.send({});
    p.first.send(frame);
    CHECK(b.heard.empty());
    CHECK(p.second.deliver(b));
    CHECK(b.heard == std::vector<bytes>{{1, 2}});
    CHECK_FALSE(p.first.deliver(a));
    CHECK(pump(p, a, b) == 2);
    CHECK(b.heard == std::vector<bytes>{{1, 2}, {}, {9, 2}});
    CHECK(a.heard.empty());
    CHECK(a.disconnected + b.disconnected == 0);
}

TEST_CASE("pump carries answers and their answers until both queues are empty", "[memory][pipe]") {
    memory_pipe p;
    listener a, b;
    a.then = [&](bytes_view f) {
        if (f[0] < 10) p.first.send(bytes{static_cast<std::uint8_t>(f[0] + 1)});
    };
    b.then = [&](bytes_view f) { p.second.send(bytes{static_cast<std::uint8_t>(f[0] + 1)}); };
    p.first.send(bytes{1});
    CHECK(pump(p, a, b) == 10);
    CHECK(b.heard == std::vector<bytes>{{1}, {3}, {5}, {7}, {9}});
    CHECK(a.heard == std::vector<bytes>{{2}, {4}, {6}, {8}, {10}});
    CHECK(pump(p, a, b) == 0);
}

TEST_CASE("pump stops at its limit when two drivers answer each other for ever", "[memory][pipe]") {
    memory_pipe p;
    listener a, b;
    a.then = [&](bytes_view f) { p.first.send(f); };
    b.then = [&](bytes_view f) { p.second.send(f); };
    p.first.send(bytes{1});
    CHECK(pump(p, a, b, 101) == 101);
    CHECK(b.heard.size() == 51);
    CHECK(a.heard.size() == 50);
}

TEST_CASE("memory_pipe never calls a driver from inside a call, even if the driver pumps", "[memory][pipe]") {
    memory_pipe p;
    listener a, b;
    b.then = [&](bytes_view) {
        CHECK(pump(p, a, b) == 0);
        p.second.send(bytes{7});
        CHECK_FALSE(p.first.deliver(a));
    };
    p.first.send(bytes{1});
    p.first.send(bytes{2});
    pump(p, a, b);
    CHECK(b.deepest == 1);
    CHECK(b.heard.size() == 2);
    CHECK(a.heard.size() == 2);
}

TEST_CASE("memory_pipe delivers again after a driver threw", "[memory][pipe]") {
    memory_pipe p;
    listener b;
    b.then = [](bytes_view f) {
        if (f[0] == 1) throw 1;
    };
    p.first.send(bytes{1});
    p.first.send(bytes{2});
    CHECK_THROWS(p.second.deliver(b));
    b.depth = 0;
    CHECK(p.second.deliver(b));
    CHECK(b.heard.size() == 2);
}

TEST_CASE("memory_pipe ends after what was queued before close, and tells each driver once", "[memory][pipe]") {
    memory_pipe p;
    listener a, b;
    p.first.send(bytes{1});
    p.second.send(bytes{5});
    p.first.close();
    p.first.send(bytes{2});   // after close: dropped
    p.second.send(bytes{6});  // nobody listens: dropped
    CHECK(a.disconnected == 0);
    SECTION("the end arrives behind the last frame") {
        CHECK(p.second.deliver(b));
        CHECK(b.disconnected == 0);
        CHECK(p.second.deliver(b));
        CHECK(b.disconnected == 1);
    }
    SECTION("both ends may close") { p.second.close(); }
    pump(p, a, b);
    CHECK(b.heard.size() <= 1);
    CHECK(a.heard.empty());
    CHECK(a.disconnected == 1);
    CHECK(b.disconnected == 1);
    p.first.close();
    p.cut();
    CHECK(pump(p, a, b) == 0);
}

TEST_CASE("memory_pipe that is cut loses what was queued", "[memory][pipe]") {
    memory_pipe p;
    listener a, b;
    p.first.send(bytes{1});
    SECTION("between deliveries") { p.cut(); }
    SECTION("by a driver, which keeps its view of the frame") {
        p.first.send(bytes{2});
        b.then = [&](bytes_view) { p.cut(); };
        CHECK(p.second.deliver(b));
    }
    const std::size_t heard = b.heard.size();
    p.first.send(bytes{3});
    CHECK(pump(p, a, b) == 2);
    CHECK(b.heard.size() == heard);
    CHECK(a.disconnected == 1);
    CHECK(b.disconnected == 1);
}

TEST_CASE("memory_pipe holds as much as its limit, over both directions, and is cut by the next frame",
          "[memory][pipe]") {
    memory_pipe p(100);  // a frame of n bytes counts n + 4
    listener a, b;
    p.first.send(bytes(46));
    p.second.send(bytes(46));
    SECTION("a full pipe still delivers, and room comes back") {
        CHECK(pump(p, a, b) == 2);
        p.first.send(bytes(96));
        CHECK(pump(p, a, b) == 1);
        CHECK(b.heard.back().size() == 96);
        CHECK(a.disconnected + b.disconnected == 0);
        p.first.send(bytes(97));
        CHECK(pump(p, a, b) == 2);
        CHECK(a.disconnected + b.disconnected == 2);
    }
    SECTION("empty frames count") {
        p.first.send({});
        CHECK(pump(p, a, b) == 2);
        CHECK(a.heard.size() + b.heard.size() == 0);
        CHECK(a.disconnected + b.disconnected == 2);
    }
}

TEST_CASE("memory_pipe that is reconnected carries nothing over from before", "[memory][pipe]") {
    memory_pipe p(100);
    listener a, b;
    p.first.send(bytes(90));
    SECTION("after close") {
        p.second.close();
        pump(p, a, b);
    }
    SECTION("while frames were queued") {}
    const int told = a.disconnected + b.disconnected;
    p.reconnect();
    b.heard.clear();
    p.first.send(bytes(96, 3));
    CHECK(pump(p, a, b) == 1);
    CHECK(b.heard == std::vector<bytes>{bytes(96, 3)});
    CHECK(a.disconnected + b.disconnected == told);
    p.second.close();
    CHECK(pump(p, a, b) == 2);
}
