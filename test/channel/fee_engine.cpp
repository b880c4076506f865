// What a transaction should pay: the table in README, and what holds whatever it is asked.
#include "paychan/channel/fee_engine.hpp"

#include <catch2/catch.hpp>
#include <cstdint>
#include <limits>
#include <vector>

using namespace paychan;

namespace {

constexpr fee_estimate market(std::int64_t rate, std::int64_t soon = 0, std::int64_t floor = 0) {
    return {fee_rate{rate}, fee_rate{soon}, fee_rate{floor}};
}

/// 100,000 satoshi at stake, 400 vbytes: half of it is 125,000 sat/kvB, and 90 percent 225,000.
constexpr fee_question asking(std::int64_t blocks_left, std::int64_t paid = 0) {
    fee_question q{satoshi{100'000}};
    q.vsize = 400;
    q.blocks_left = blocks_left;
    q.paid = fee_rate{paid};
    return q;
}

std::int64_t rate(const fee_estimate& m, const fee_question& q, const fee_budget& b = {}) {
    return decide_fee(m, q, b).rate.sat_per_kvb;
}

}  // namespace

TEST_CASE("what a transaction pays follows the market, the deadline and the budget", "[channel][fees]") {
    SECTION("far from the deadline: the market") {
        CHECK(rate(market(7'000), asking(100)) == 7'000);
        CHECK(rate(market(7'000), asking(100, 5'000)) == 7'000);
        CHECK(rate(market(7'000), asking(100, 9'000)) == 7'000);  // what was paid stands: see is_worth_replacing
        CHECK(rate(market(7'000, 30'000), asking(3)) == 7'000);
        CHECK(rate(market(7'000, 30'000), asking(2)) == 30'000);
        CHECK(rate(market(200), asking(100)) == 1'000);
    }
    SECTION("no less than the floor, and a quarter more, for it moves") {
        CHECK(rate(market(2'000, 0, 40'000), asking(100)) == 50'000);
        CHECK(rate(market(90'000, 0, 40'000), asking(100)) == 90'000);
        CHECK(rate(market(2'000, 0, 1'000), asking(100)) == 2'000);
    }
    SECTION("each block before the deadline raises it, whatever was paid") {
        for (const std::int64_t paid : {1, 8'000, 80'000}) {
            CHECK(rate(market(2'000), asking(12, paid)) == 2'000);
            CHECK(rate(market(2'000), asking(11, paid)) == 3'000);
            CHECK(rate(market(2'000), asking(10, paid)) == 4'000);
            CHECK(rate(market(80'000), asking(11, paid)) == 90'000);
            CHECK(rate(market(80'000), asking(10, paid)) == 101'250);
        }
        CHECK(rate(market(2'000), asking(5)) == 2'000);  // the first try is one for the market
    }
    SECTION("the last ones raise it to all that the budget allows") {
        CHECK(rate(market(2'000), asking(5, 2'000)) == 9'000);
        const std::int64_t whole = 125'000 - 9'000;
        CHECK(rate(market(2'000), asking(4, 4'000)) == 9'000 + whole / 16);
        CHECK(rate(market(2'000), asking(3, 4'000)) == 9'000 + whole / 16 * 4);
        CHECK(rate(market(2'000), asking(2, 4'000)) == 9'000 + whole / 16 * 9);
        CHECK(rate(market(2'000), asking(1, 4'000)) == 225'000);
        CHECK(rate(market(2'000), asking(-30, 4'000)) == 225'000);
        CHECK(rate(market(2'000), asking(1)) == 2'000);
    }
    SECTION("without a deadline as often as it is asked") {
        fee_question q = asking(100, 2'000);
        q.steps = 3;
        CHECK(rate(market(2'000), q) == 5'000);
        q.steps = 1'000'000;
        CHECK(rate(market(2'000), q) == 125'000);
        q.paid = {};
        CHECK(rate(market(2'000), q) == 2'000);
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
        q.parent = {max_money, std::numeric_limits<std::int64_t>::max()};
        CHECK(rate(market(20'000), q) == 20'000);
        q.parent.fee = {};
        CHECK(rate(market(20'000), q) == 125'000);
        CHECK(rate(market(std::numeric_limits<std::int64_t>::max()), q) == 125'000);
    }
    SECTION("the budget") {
        CHECK(rate(market(900'000), asking(100)) == 125'000);
        CHECK_FALSE(decide_fee(market(900'000), asking(100), {}).within_budget);
        CHECK(decide_fee(market(125'000), asking(100), {}).within_budget);
        CHECK(rate(market(900'000), asking(100), fee_budget{.share = 10}) == 25'000);
        CHECK(rate(market(900'000), asking(0), fee_budget{.last_share = 50}) == 125'000);
        CHECK(rate(market(900'000), asking(100), fee_budget{.most = satoshi{4'000}}) == 10'000);
        CHECK(rate(market(900'000), asking(100), fee_budget{.max_rate = fee_rate{50'000}}) == 50'000);
        // The least that any node takes is paid, out of the last share; a floor above that may fall.
        fee_question small = asking(100);
        small.at_stake = satoshi{600};
        CHECK(rate(market(5'000), small) == 1'000);
        CHECK(rate(market(5'000, 0, 90'000), small) == 1'000);
        small.blocks_left = 1;
        CHECK(rate(market(5'000, 0, 90'000), small) == 1'350);
        small.at_stake = satoshi{400};
        CHECK(rate(market(5'000), small) == 900);
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
                    for (const std::int64_t parent : rates)
                        for (const bool underpaid : {false, true}) {
                            std::int64_t before = 0;
                            for (std::int64_t left = 20; left >= -2; --left) {
                                fee_question q = asking(left, paid);
                                q.parent.vsize = parent;
                                q.at_stake = satoshi{stake};
                                q.underpaid = underpaid;
                                const fee_estimate m = market(market_rate, market_rate, floor);
                                const fee_decision got = decide_fee(m, q, {});
                                const auto fee = fee_for(got.rate, 400);
                                const std::int64_t share = share_of(q.at_stake, {}, left <= 1 ? 90 : 50).value;
                                const std::int64_t least = std::min<std::int64_t>(400, stake * 9 / 10);
                                const bool in_budget = fee && fee->value <= std::max(share, least) + 1;
                                if (!in_budget || got.rate.sat_per_kvb < before || got.rate.sat_per_kvb > 2'000'000)
                                    FAIL_CHECK(stake << " " << market_rate << " " << floor << " " << paid << " "
                                                     << parent << underpaid << " " << left << ": "
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
