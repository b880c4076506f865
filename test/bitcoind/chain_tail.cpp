#include "paychan/bitcoind/chain_tail.hpp"

#include <catch2/catch.hpp>

using namespace paychan;
using bitcoind::chain_tail;

namespace {
block_header header(std::uint8_t name, std::int64_t time, std::uint8_t previous = 0) {
    block_header h;
    h.hash.bytes[0] = name;
    h.previous.bytes[0] = previous;
    h.time = unix_time{time};
    return h;
}
}  // namespace

// Bitcoin Core, CBlockIndex::GetMedianTimePast: sorts up to 11 times and takes the one at size / 2.
TEST_CASE("the median time is that of the last 11 blocks, or of all while there are fewer", "[bitcoind]") {
    chain_tail tail(100);
    tail.restart(0);
    const std::int64_t times[] = {50, 10, 40, 20, 30, 90, 80, 70, 60, 100, 110, 5, 1000};
    const std::int64_t medians[] = {50, 50, 40, 40, 30, 40, 40, 50, 50, 60, 60, 60, 70};
    for (std::size_t i = 0; i < std::size(times); ++i) {
        const auto next = header(static_cast<std::uint8_t>(i), times[i]);
        INFO("block " << i);
        CHECK(tail.median_time(next).seconds == medians[i]);
        tail.push(next);
    }
}

TEST_CASE("the tail knows its heights and which block fits on it", "[bitcoind]") {
    chain_tail tail(100);
    tail.restart(500);
    CHECK(tail.empty());
    CHECK(tail.tip_height() == 499);
    CHECK(tail.fits(header(1, 0, 99)));
    tail.push(header(1, 0));
    tail.push(header(2, 0, 1));
    CHECK(tail.tip_height() == 501);
    CHECK(tail.lowest() == 500);
    CHECK(tail.hash_at(500).bytes[0] == 1);
    CHECK(tail.hash_at(501).bytes[0] == 2);
    CHECK(tail.fits(header(3, 0, 2)));
    CHECK_FALSE(tail.fits(header(3, 0, 1)));
    tail.cut(501);
    CHECK(tail.tip_height() == 501);
    tail.cut(500);
    CHECK(tail.tip_height() == 500);
    CHECK(tail.fits(header(3, 0, 1)));
}

TEST_CASE("the tail forgets what is deeper than a reorganisation may be, but keeps what its median needs",
          "[bitcoind]") {
    chain_tail tail(5);
    tail.restart(0);
    for (int i = 0; i < 100; ++i) {
        tail.push(header(static_cast<std::uint8_t>(i), i));
        CHECK(tail.tip_height() - tail.lowest_fork() <= std::max(5, 14));
    }
    REQUIRE(tail.lowest_fork() == 99 - 5);
    tail.cut(tail.lowest_fork());
    CHECK(tail.median_time(header(200, 95)).seconds == 90);  // of 85..95
}

TEST_CASE("a tail that does not begin at genesis forks no deeper than its medians reach", "[bitcoind]") {
    chain_tail tail(100);
    tail.restart(500);
    for (int i = 0; i < 10; ++i) tail.push(header(static_cast<std::uint8_t>(i), i));
    CHECK(tail.lowest_fork() == tail.tip_height());
    tail.restart(0);
    for (int i = 0; i < 3; ++i) tail.push(header(static_cast<std::uint8_t>(i), i));
    CHECK(tail.lowest_fork() == 0);
}
