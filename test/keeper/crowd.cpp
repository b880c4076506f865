// The rate limit of what strangers cause.
#include "paychan/keeper/crowd.hpp"

#include <catch2/catch.hpp>

using namespace paychan;

TEST_CASE("of what strangers cause the first few of a minute are told, and the others are counted", "[keeper]") {
    crowd strangers;
    const crowd::clock::time_point start{std::chrono::hours(1)};
    CHECK(strangers.take(start).empty());
    int told = 0;
    for (int i = 0; i < 2'000; ++i) told += strangers.is_told("error", "TIMEOUT") ? 1 : 0;
    CHECK(told == crowd::in_full);
    CHECK(strangers.is_told("error", "SYNTAX_ERROR"));  // another is not hidden among them
    CHECK(strangers.is_told("closed", ""));
    CHECK(strangers.take(start + std::chrono::seconds(59)).empty());
    CHECK(strangers.take(start + std::chrono::seconds(60)) == crowd::counts{{"error", 2'000 - crowd::in_full}});
    CHECK(strangers.is_told("error", "TIMEOUT"));
    CHECK(strangers.take(start + std::chrono::seconds(120)).empty());
}
