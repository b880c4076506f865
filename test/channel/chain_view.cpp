// What a driver knows of the chain: which time counts, and when a clock is wrong.
#include "paychan/channel/chain_view.hpp"

#include <catch2/catch.hpp>

using namespace paychan;

TEST_CASE("the later of clock and chain counts", "[channel]") {
    chain_view view;
    CHECK(view.later(unix_time{5}) == unix_time{5});
    view.on_chain(chain_tip{100, unix_time{1'000'000}});
    CHECK(view.later(unix_time{5}) == unix_time{1'000'000});
    CHECK(view.later(unix_time{1'000'001}) == unix_time{1'000'001});
}

TEST_CASE(
    "a clock is behind when even the chain's median time is ahead of it by more than its blocks' times may be off",
    "[channel]") {
    chain_view view;
    CHECK_FALSE(is_behind(unix_time{0}, view.median_time));  // nothing is known
    view.on_chain(chain_tip{100, unix_time{1'000'000}});
    CHECK_FALSE(is_behind(unix_time{1'000'000}, view.median_time));
    CHECK_FALSE(is_behind(unix_time{1'000'000 - clock_tolerance}, view.median_time));
    CHECK(is_behind(unix_time{1'000'000 - clock_tolerance - 1}, view.median_time));
}

TEST_CASE("a block that is read late does not set the chain's time back; the tip may", "[channel]") {
    chain_view view;
    view.on_chain(chain_tip{100, unix_time{1'000'000}});
    view.on_chain(connected_block{7, {}, unix_time{500'000}, {}});
    CHECK(view.median_time == unix_time{1'000'000});
    view.on_chain(connected_block{101, {}, unix_time{1'000'600}, {}});
    CHECK(view.median_time == unix_time{1'000'600});
    view.on_chain(chain_tip{100, unix_time{1'000'000}});  // a reorganisation
    CHECK(view.median_time == unix_time{1'000'000});
    view.on_chain(chain_tip{10, unix_time{400'000}, true});  // another node, which is still downloading
    CHECK(view.median_time == unix_time{1'000'000});
    CHECK(view.downloading);
    view.on_chain(fee_estimate{{7'000}});
    CHECK(view.rate == fee_rate{7'000});
    CHECK(view.median_time == unix_time{1'000'000});
}
