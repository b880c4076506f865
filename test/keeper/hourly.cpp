// The rate limit of what is told again and again.
#include "paychan/keeper/hourly.hpp"

#include <catch2/catch.hpp>

using namespace paychan;

TEST_CASE("the same is told once an hour, and anew when it was over", "[keeper]") {
    hourly told;
    const hourly::clock::time_point start{};
    CHECK(told.is_due("store", start));
    CHECK_FALSE(told.is_due("store", start + std::chrono::minutes(59)));
    CHECK(told.is_due("node", start));
    CHECK(told.is_due("store", start + std::chrono::hours(1)));
    CHECK_FALSE(told.is_due("store", start + std::chrono::minutes(61)));
    told.forget("store");
    CHECK(told.is_due("store", start + std::chrono::minutes(62)));
}

TEST_CASE("the same error of the same channel is no news, and every other event is", "[keeper]") {
    hourly told;
    event opened{event_kind::opened}, failed{event_kind::error};
    failed.problem = {errc::corrupt_record, "the record is damaged"};
    CHECK(told.is_news(failed));
    CHECK_FALSE(told.is_news(failed));
    CHECK(told.is_news(opened));
    CHECK(told.is_news(opened));
    failed.channel.bytes[0] = 1;
    CHECK(told.is_news(failed));
    failed.problem.text = "its contract is damaged";
    CHECK(told.is_news(failed));
}
