// A reader that stalls, comes back, or never was.
#include "paychan/keeper/line_writer.hpp"

#include <fcntl.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <csignal>

using namespace paychan;

namespace {

struct lines_pipe {
    lines_pipe() { REQUIRE(pipe(ends) == 0); }
    ~lines_pipe() {
        close_end(0);
        close_end(1);
    }
    void close_end(std::size_t i) {
        if (ends[i] >= 0) ::close(std::exchange(ends[i], -1));
    }
    /// All until `last` is in it.
    [[nodiscard]] std::string read_until(const std::string& last) const {
        std::string all;
        while (all.find(last) == std::string::npos) {
            char part[4096];
            const ssize_t n = ::read(ends[0], part, sizeof part);
            if (n <= 0) break;
            all.append(part, static_cast<std::size_t>(n));
        }
        return all;
    }
    int ends[2];
};

std::string lost_text(std::uint64_t n) { return "lost " + std::to_string(n) + "\n"; }

const std::string kilobyte = std::string(1'023, '.') + '\n';

}  // namespace

TEST_CASE("a reader that stalls costs lines and no time, and hears how many", "[keeper]") {
    lines_pipe p;
    line_writer out(p.ends[1], when_full::drop, lost_text);
    constexpr std::size_t all = 5'000;
    for (std::size_t i = 0; i < all; ++i) out.write(kilobyte);
    out.write("never seen\n");
    const std::string heard = p.read_until("lost ");
    const std::string rest = heard.substr(heard.find("lost ")) + (heard.back() == '\n' ? "" : p.read_until("\n"));
    const auto kept = static_cast<std::size_t>(std::count(heard.begin(), heard.end(), '.')) / 1'023;
    CHECK(kept >= 990);  // what was full is the queue (and the pipe, when the thread was quick)
    CHECK(kept < 1'200);
    CHECK(rest == lost_text(all + 1 - kept));
    out.write("and on\n");
    CHECK(p.read_until("and on\n") == "and on\n");
    CHECK(out.finish() == 0);
}

TEST_CASE("a program that goes on does not wait for its last lines for ever", "[keeper]") {
    lines_pipe p;
    const auto start = std::chrono::steady_clock::now();
    {
        line_writer out(p.ends[1], when_full::drop, lost_text);
        for (int i = 0; i < 200; ++i) out.write(kilobyte);
        out.write("last\n");
        CHECK(out.finish() == ETIMEDOUT);
    }
    CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(10));
    CHECK(p.read_until("last\n").size() == 200 * kilobyte.size() + 5);  // its thread goes on while there is a process
}

TEST_CASE("a program that ends says all of it to a slow reader", "[keeper]") {
    lines_pipe p;
    constexpr std::size_t all = 3'000;
    std::thread slow([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(300));
        const std::string heard = p.read_until("last\n");
        CHECK(heard.size() == all * kilobyte.size() + 5);
    });
    {
        line_writer out(p.ends[1], when_full::wait, lost_text);
        for (std::size_t i = 0; i < all; ++i) out.write(kilobyte);
        out.write("last\n");
        CHECK(out.finish() == 0);
    }
    slow.join();
}

TEST_CASE("what cannot be written is a failure, and no hang", "[keeper]") {
    const auto full = GENERATE(when_full::wait, when_full::drop);
    const int fd = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
    REQUIRE(fd >= 0);
    {
        line_writer out(fd, full, lost_text);
        for (std::size_t i = 0; i < 3'000; ++i) out.write(kilobyte);
        CHECK(out.finish() == ENOSPC);
    }
    ::close(fd);
}

TEST_CASE("a reader that is gone is a failure", "[keeper]") {
    std::signal(SIGPIPE, SIG_IGN);
    lines_pipe p;
    p.close_end(0);
    line_writer out(p.ends[1], when_full::wait, lost_text);
    out.write(kilobyte);
    CHECK(out.finish() == EPIPE);
}

TEST_CASE("a descriptor that another process made non-blocking gets all lines", "[keeper]") {
    lines_pipe p;
    REQUIRE(::fcntl(p.ends[1], F_SETFL, O_NONBLOCK) == 0);
    line_writer out(p.ends[1], when_full::wait, lost_text);
    for (int i = 0; i < 500; ++i) out.write(kilobyte);
    out.write("last\n");
    CHECK(p.read_until("last\n").size() == 500 * kilobyte.size() + 5);
    CHECK(out.finish() == 0);
}
