// What a transaction should pay: the table in README, and what holds whatever it is asked.
#include "paychan/channel/fee_engine.hpp"

#include <catch2/catch.hpp>
#include <cstdint>
#include <vector>

using namespace paychan;

namespace {

constexpr fee_estimate market(std::int64_t rate, std::int64_t soon = 0, std::int64_t floor = 0) {
    return {fee_rate{rate}, fee_rate{soon}, fee_rate{floor}};
}

/// 100,000 satoshi at stake, 400 vbytes: half of it is 125,000 sat/kvB, and 90 percent 225,000.
constexpr fee_question asking(std::int64_t blocks_left, std::int64_t paid = 0, bool unmined = false) {
    fee_question q{satoshi{100'000}};
    q.vsize = 400;
    q.blocks_left = blocks_left;
    q.paid = fee_rate{paid};
    q.unmined = unmined;
    return q;
}

std::int64_t rate(const fee_estimate& m, const fee_question& q, const fee_budget& b = {}) {
    return decide_fee(m, q, b).rate.sat_per_kvb;
}

}  // namespace

TEST_CASE("what a transaction pays follows the market, the deadline and the budget", "[channel][fees]") {
    SECTION("far from the deadline: the market") {
        CHECK(rate(market(7'000), asking(100)) == 7'000);
        CHECK(rate(market(7'000), asking(100, 5'000, true)) == 7'000);
        CHECK(rate(market(7'000), asking(100, 9'000, true)) == 7'000);  // what was paid stands: see is_worth_replacing
        CHECK(rate(market(7'000, 30'000), asking(3)) == 7'000);
        CHECK(rate(market(7'000, 30'000), asking(2)) == 30'000);
        CHECK(rate(market(200), asking(100)) == 1'000);
    }
    SECTION("no less than the floor, and a quarter more, for it moves") {
        CHECK(rate(market(2'000, 0, 40'000), asking(100)) == 50'000);
        CHECK(rate(market(90'000, 0, 40'000), asking(100)) == 90'000);
        CHECK(rate(market(2'000, 0, 1'000), asking(100)) == 2'000);
    }
    SECTION("each block before the deadline raises it") {
        CHECK(rate(market(2'000), asking(13, 8'000, true)) == 2'000);
        CHECK(rate(market(2'000), asking(12, 8'000, true)) == 9'000);
        CHECK(rate(market(2'000), asking(12, 80'000, true)) == 90'000);
        CHECK(rate(market(2'000), asking(12, 8'000, false)) == 2'000);  // no block has passed
    }
    SECTION("the last ones raise it to all that the budget allows") {
        CHECK(rate(market(2'000), asking(4, 4'000, true)) == 5'000 + (125'000 - 5'000) / 16);
        CHECK(rate(market(2'000), asking(3, 4'000, true)) == 5'000 + (125'000 - 5'000) / 16 * 4);
        CHECK(rate(market(2'000), asking(2, 4'000, true)) == 5'000 + (125'000 - 5'000) / 16 * 9);
        CHECK(rate(market(2'000), asking(1, 4'000, true)) == 225'000);
        CHECK(rate(market(2'000), asking(-30, 4'000, true)) == 225'000);
        CHECK(rate(market(2'000), asking(1)) == 2'000);  // the first try is one for the market
    }
    SECTION("a refusal for the fee raises it by a quarter, and by a satoshi a byte at least") {
        fee_question q = asking(100, 8'000);
        q.underpaid = true;
        CHECK(rate(market(2'000), q) == 10'000);
        q.paid = fee_rate{1'000};
        CHECK(rate(market(1'000), q) == 2'000);
    }
    SECTION("an unmined parent that pays less is made up for") {
        fee_question q = asking(100);
        q.parent = {satoshi{200}, 200};  // 1 sat/vB
        CHECK(rate(market(20'000), q) == 20'000 + (4'000 - 200) * 1'000 / 400);
        q.parent = {satoshi{20'000}, 200};
        CHECK(rate(market(20'000), q) == 20'000);
    }
    SECTION("the budget") {
        CHECK(rate(market(900'000), asking(100)) == 125'000);
        CHECK_FALSE(decide_fee(market(900'000), asking(100), {}).within_budget);
        CHECK(decide_fee(market(125'000), asking(100), {}).within_budget);
        CHECK(rate(market(900'000), asking(100), fee_budget{.share = 10}) == 25'000);
        CHECK(rate(market(900'000), asking(0), fee_budget{.last_share = 50}) == 125'000);
        CHECK(rate(market(900'000), asking(100), fee_budget{.most = satoshi{4'000}}) == 10'000);
        CHECK(rate(market(900'000), asking(100), fee_budget{.max_rate = fee_rate{50'000}}) == 50'000);
        // What the network takes at least is paid, where that leaves something.
        fee_question small = asking(100);
        small.at_stake = satoshi{600};
        CHECK(rate(market(5'000), small) == 1'000);
        CHECK(rate(market(5'000, 0, 1'400), small) == 1'400);
        CHECK(rate(market(5'000, 0, 90'000), small) == 1'500);
    }
}

TEST_CASE("no fee is above the budget or the network's least, nor falls as the deadline comes nearer",
          "[channel][fees]") {
    const std::vector<std::int64_t> rates{0, 1, 999, 1'000, 2'000, 49'999, 200'000, 2'000'000, 1'000'000'000'000};
    const std::vector<std::int64_t> stakes{0, 1, 546, 100'000, 10'000'000'000, max_money.value};
    std::int64_t checked = 0;
    for (const std::int64_t stake : stakes)
        for (const std::int64_t market_rate : rates)
            for (const std::int64_t floor : rates)
                for (const std::int64_t paid : rates)
                    for (const bool unmined : {false, true})
                        for (const bool underpaid : {false, true}) {
                            std::int64_t before = 0;
                            for (std::int64_t left = 20; left >= -2; --left) {
                                fee_question q = asking(left, paid, unmined);
                                q.at_stake = satoshi{stake};
                                q.underpaid = underpaid;
                                const fee_estimate m = market(market_rate, market_rate, floor);
                                const fee_decision got = decide_fee(m, q, {});
                                const auto fee = fee_for(got.rate, 400);
                                const std::int64_t least = std::max<std::int64_t>(floor, 1'000) * 400 / 1'000;
                                const std::int64_t share = share_of(q.at_stake, {}, left <= 1 ? 90 : 50).value;
                                const bool in_budget = fee && fee->value <= std::max(share, std::min(least, stake)) + 1;
                                if (!in_budget || got.rate.sat_per_kvb < before || got.rate.sat_per_kvb > 2'000'000)
                                    FAIL_CHECK(stake << " " << market_rate << " " << floor << " " << paid << " "
                                                     << unmined << underpaid << " " << left << ": "
                                                     << got.rate.sat_per_kvb);
                                before = got.rate.sat_per_kvb;
                                ++checked;
                            }
                        }
    CHECK(checked > 400'000 / 10);
}

TEST_CASE("a fee that nodes would not take in another one's place is not tried", "[channel][fees]") {
    CHECK_FALSE(is_worth_replacing(fee_rate{1'000}, fee_rate{1'999}));
    CHECK(is_worth_replacing(fee_rate{1'000}, fee_rate{2'000}));
    CHECK_FALSE(is_worth_replacing(fee_rate{50'000}, fee_rate{54'999}));
    CHECK(is_worth_replacing(fee_rate{50'000}, fee_rate{55'000}));
    CHECK_FALSE(is_worth_replacing(fee_rate{50'000}, fee_rate{2'000}));
}
