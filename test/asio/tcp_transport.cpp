// The framed stream: every cut of the bytes, bounds in both directions, and orderly ends.
#include "paychan/asio/tcp_transport.hpp"

#include <boost/asio/io_context.hpp>
#include <catch2/catch.hpp>
#include <functional>

using namespace paychan::asio;
using namespace std::chrono_literals;
using paychan::bytes_view;

namespace {

using bytes = std::vector<std::uint8_t>;

bytes framed(const bytes& payload) {
    const auto header = paychan::wire::frame_header(payload.size());
    bytes out(header.begin(), header.end());
    out.insert(out.end(), payload.begin(), payload.end());
    return out;
}

bytes operator+(bytes a, const bytes& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

/// A transport with its owner at one end of a connection, and a bare socket at the other.
struct line : tcp_transport::listener {
    explicit line(const transport_settings& settings = {}) {
        tcp::acceptor acceptor(io, {net::ip::address_v4::loopback(), 0});
        tcp::socket near(io);
        far.connect(acceptor.local_endpoint());
        acceptor.accept(near);
        far.set_option(tcp::no_delay(true));
        transport = std::make_shared<tcp_transport>(std::move(near), *this, settings);
        transport->start();
    }

    void on_frame_waiting() override {
        if (!takes) return;
        while (const auto frame = transport->front()) {
            heard.emplace_back(frame->begin(), frame->end());
            then();
            CHECK(bytes(frame->begin(), frame->end()) == heard.back());  // stays where it is until pop()
            transport->pop();
        }
    }
    void on_end() override { ++ended; }

    bool run_until(const std::function<bool()>& done, std::chrono::milliseconds limit = 20s) {
        const auto end = std::chrono::steady_clock::now() + limit;
        while (!done()) {
            if (std::chrono::steady_clock::now() > end) return false;
            io.restart();
            io.run_one_for(1ms);
        }
        return true;
    }

    void write(bytes_view b) { net::write(far, net::buffer(b.data(), b.size())); }

    /// What the far end gets until the stream ends.
    bytes read_all() {
        bytes out;
        far.non_blocking(true);
        run_until([&] {
            std::array<std::uint8_t, 4096> memory{};
            boost::system::error_code e;
            const std::size_t n = far.read_some(net::buffer(memory), e);
            out.insert(out.end(), memory.begin(), memory.begin() + static_cast<std::ptrdiff_t>(n));
            last = e;
            return e && e != net::error::would_block;
        });
        return out;
    }

    net::io_context io;
    tcp::socket far{io};
    std::shared_ptr<tcp_transport> transport;
    std::vector<bytes> heard;
    std::function<void()> then = [] {};
    bool takes = true;
    int ended = 0;
    boost::system::error_code last;
};

}  // namespace

TEST_CASE("tcp_transport finds the frames wherever the stream is cut", "[asio][transport]") {
    const std::vector<bytes> frames{{1}, bytes(300, 2), {3, 3}};
    const bytes all = framed(frames[0]) + framed(frames[1]) + framed(frames[2]);
    for (std::size_t cut = 0; cut <= all.size(); ++cut) {
        line l;
        l.write(bytes_view(all).first(cut));
        l.io.poll();
        l.io.restart();
        l.write(bytes_view(all).subspan(cut));
        REQUIRE(l.run_until([&] { return l.heard.size() == 3; }));
        CHECK(l.heard == frames);
        CHECK(l.ended == 0);
        l.transport->abandon();
        l.io.poll();
    }
}

TEST_CASE("tcp_transport takes frames of every length that is allowed", "[asio][transport]") {
    line l;
    const bytes longest(paychan::wire::max_frame_size, 7);
    l.write(framed(longest) + framed({1}) + framed(longest));
    REQUIRE(l.run_until([&] { return l.heard.size() == 3; }));
    CHECK(l.heard == std::vector<bytes>{longest, {1}, longest});
}

TEST_CASE("tcp_transport sends copies, in order, each with its length", "[asio][transport]") {
    line l;
    bytes frame{1, 2};
    l.transport->send(frame);
    frame[0] = 9;
    l.transport->send(frame);
    l.transport->close();
    l.transport->send(frame);  // after close: dropped
    l.transport->close();
    CHECK(l.ended == 0);
    CHECK(l.read_all() == framed({1, 2}) + framed({9, 2}));
    CHECK(l.last == net::error::eof);
    CHECK(l.ended == 0);  // it waits for the other end
    l.far.close();
    REQUIRE(l.run_until([&] { return l.ended > 0; }));
    l.io.restart();
    l.io.run();  // nothing is left
    CHECK(l.ended == 1);
}

TEST_CASE("tcp_transport keeps the frame in place for an owner who closes while looking at it", "[asio][transport]") {
    transport_settings settings;
    settings.linger = 1h;  // it is the far end's end that ends it
    line l(settings);
    l.then = [&] {
        l.transport->send(bytes{5});
        l.transport->close();
        l.io.poll();
    };
    l.write(framed({1, 2, 3}) + framed({4}));
    l.write(bytes(100'000, 0xee));
    CHECK(l.read_all() == framed({5}));
    CHECK(l.heard == std::vector<bytes>{{1, 2, 3}});
    CHECK(l.last == net::error::eof);  // the unread rest did not turn the end into a reset
    l.far.close();
    REQUIRE(l.run_until([&] { return l.ended == 1; }));
}

TEST_CASE("tcp_transport does not wait for ever for a peer that keeps its end open", "[asio][transport]") {
    transport_settings settings;
    settings.linger = 30ms;
    line l(settings);
    l.transport->close();
    REQUIRE(l.run_until([&] { return l.ended == 1; }));
}

TEST_CASE("tcp_transport ends at the end of the stream and at what is no frame", "[asio][transport]") {
    line l;
    SECTION("end between frames") { l.write(framed({1})); }
    SECTION("end in a frame") { l.write(framed({1}) + bytes{0, 0, 0, 9, 1}); }
    SECTION("end in a length") { l.write(framed({1}) + bytes{0, 0}); }
    SECTION("length zero") { l.write(framed({1}) + bytes{0, 0, 0, 0}); }
    SECTION("length negative") { l.write(framed({1}) + bytes{0x80, 0, 0, 0}); }
    SECTION("length above the limit") { l.write(framed({1}) + bytes{0, 0, 0x80, 0}); }
    l.far.shutdown(tcp::socket::shutdown_send);
    l.then = [&] { l.transport->send(bytes{6}); };
    CHECK(l.read_all() == framed({6}));
    CHECK(l.heard.size() == 1);
    REQUIRE(l.run_until([&] { return l.ended == 1; }));
}

TEST_CASE("tcp_transport drops a peer that does not read, and queues no more than its limit", "[asio][transport]") {
    transport_settings settings;
    settings.queue = 10'000;
    line l(settings);
    int sent = 0;
    SECTION("the queue alone") {  // without a turn of the loop, nothing leaves
        for (; sent < 9; ++sent) l.transport->send(bytes(1'000));
        l.io.poll();
        l.io.restart();
        CHECK(l.ended == 0);
        for (; sent < 20; ++sent) l.transport->send(bytes(1'000));
    }
    SECTION("what the system takes, and the queue") {
        // A frame a turn, so that all that can leave does: the system's buffers fill, then ours.
        const bool ended = l.run_until([&] {
            l.transport->send(bytes(9'000));
            ++sent;
            return l.ended > 0 || sent > 100'000;
        });
        CHECK(ended);
        CHECK(sent < 100'000);
    }
    SECTION("one frame that is longer than the queue") { l.transport->send(bytes(20'000)); }
    REQUIRE(l.run_until([&] { return l.ended == 1; }));
}

TEST_CASE("tcp_transport stops reading while a frame waits", "[asio][transport]") {
    line l;
    l.takes = false;
    l.far.non_blocking(true);
    const bytes frame = framed(bytes(1'000, 1));
    std::size_t written = 0;
    const bool stuck = l.run_until(
        [&] {
            boost::system::error_code e;
            written += l.far.write_some(net::buffer(frame), e);
            l.io.poll();
            l.io.restart();
            return e == net::error::would_block;
        },
        10s);
    CHECK(stuck);  // the peer feels it
    CHECK(l.heard.empty());
    l.takes = true;
    l.on_frame_waiting();
    const std::size_t whole = written / frame.size();
    REQUIRE(l.run_until([&] { return l.heard.size() >= whole; }));
}

TEST_CASE("tcp_transport that is abandoned or aborted ends without touching its owner again", "[asio][transport]") {
    line l;
    l.transport->send(bytes{1});
    SECTION("abandoned") {
        l.transport->abandon();
        l.io.run();
        CHECK(l.ended == 0);
    }
    SECTION("aborted") {
        l.transport->abort();
        CHECK(l.ended == 0);  // not from inside
        l.io.run();
        CHECK(l.ended == 1);
    }
    SECTION("aborted, then abandoned before it was told") {
        l.transport->abort();
        l.transport->abandon();
        l.io.run();
        CHECK(l.ended == 0);
    }
}
