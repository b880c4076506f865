// wall_clock and manual_clock.
#include "paychan/memory/clock.hpp"

#include <catch2/catch.hpp>
#include <ctime>
#include <limits>

using namespace paychan;

TEST_CASE("wall_clock shows the seconds since 1970 that the system shows", "[memory][clock]") {
    const std::int64_t before = std::time(nullptr);
    const std::int64_t now = wall_clock().now().seconds;
    const std::int64_t after = std::time(nullptr);
    CHECK(now >= before);
    CHECK(now <= after + 1);  // time() may read a coarser clock, which lags
}

TEST_CASE("manual_clock stands still until it is moved, forward or back", "[memory][clock]") {
    manual_clock clock(unix_time{1000});
    CHECK(clock.now() == unix_time{1000});
    CHECK(clock.now() == unix_time{1000});
    clock.advance(86'400);
    CHECK(clock.now() == unix_time{87'400});
    clock.advance(-400);
    CHECK(clock.now() == unix_time{87'000});
    clock.set(unix_time{5});
    CHECK(clock.now() == unix_time{5});
    CHECK(manual_clock().now() == unix_time{0});
}

TEST_CASE("manual_clock stops at the end of time instead of wrapping", "[memory][clock]") {
    manual_clock clock(unix_time{1});
    clock.advance(std::numeric_limits<std::int64_t>::max());
    CHECK(clock.now().seconds == std::numeric_limits<std::int64_t>::max());
}
