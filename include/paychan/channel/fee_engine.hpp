// What a transaction that must be in a block before a deadline should pay now.  Pure, without heap.
#pragma once

#include <algorithm>

#include "paychan/policy.hpp"

namespace paychan {

/// What bringing a channel home may cost: shares of what would be lost without it.
struct fee_budget {
    std::int32_t share = 50;  ///< [percent] of what is at stake
    std::int32_t last_share =
        90;                   ///< [percent] at the deadline and behind it: to lose a part is better than to lose all
    satoshi most{max_money};  ///< [satoshi] and never more than this
    fee_rate max_rate{2'000'000};  ///< [sat/kvB] and never a higher rate; nodes take 10,000,000 and more for a mistake
};

/// A transaction that is to be in a block.
struct fee_question {
    satoshi at_stake{};            ///< [satoshi] what is lost if it never is
    std::int64_t vsize = 0;        ///< [vbytes]
    std::int64_t blocks_left = 0;  ///< to its deadline; 0 or less: that has passed
    fee_rate paid{};               ///< [sat/kvB] by the last one that was offered; 0: none was
    bool unmined = false;          ///< and a block has passed since
    bool underpaid = false;        ///< and the network refused it for its fee
    package parent{};              ///< unmined, that it spends: miners count what both pay, and what both weigh
};

struct fee_decision {
    fee_rate rate{};             ///< [sat/kvB] what to pay, of its own vsize
    bool within_budget = false;  ///< false: it should pay more, and may not
};

/// [satoshi] `share` percent of what is at stake, but never more than the budget's limit.
[[nodiscard]] constexpr satoshi share_of(satoshi at_stake, const fee_budget& budget, std::int32_t share) {
    return std::min(budget.most, satoshi{at_stake.value / 100 * share + at_stake.value % 100 * share / 100});
}

namespace detail {

inline constexpr std::int64_t rising_blocks = 12;  // before the deadline: from here on each block raises the fee
inline constexpr std::int64_t steep_blocks = 4;    // from here on towards all that the budget allows

/// More by a quarter, or by what nodes want at least for taking a transaction's place.
[[nodiscard]] constexpr std::int64_t stepped(std::int64_t rate, std::int64_t part) {
    return rate + std::max(rate / part, min_relay_fee_rate.sat_per_kvb);
}

/// The highest rate that `share` percent of what is at stake can pay.
[[nodiscard]] constexpr std::int64_t rate_of_share(const fee_question& q, const fee_budget& budget,
                                                   std::int32_t share) {
    const std::int64_t allowed = share_of(q.at_stake, budget, share).value;
    return std::min(budget.max_rate.sat_per_kvb, allowed * 1'000 / std::max<std::int64_t>(q.vsize, 1));
}

/// What the market asks for a place within so many blocks.
[[nodiscard]] constexpr std::int64_t rate_within(const fee_estimate& market, std::int64_t blocks) {
    std::int64_t rate = market.rate.sat_per_kvb;
    if (blocks <= 2) rate = std::max(rate, market.soon.sat_per_kvb);
    // A floor moves while a transaction waits.
    if (market.floor > min_relay_fee_rate)
        rate = std::max(rate, market.floor.sat_per_kvb + market.floor.sat_per_kvb / 4);
    return std::max(rate, min_relay_fee_rate.sat_per_kvb);
}

}  // namespace detail

/// What to pay now:
///     far from the deadline       what the market asks; no more while it waits, unless the market does
///     12 blocks before it         an eighth more with each block that passes unmined
///      4 blocks before it         with each such block a larger part of the way to all that the budget allows
///     at it, and behind it        all of that
///     refused for its fee         a quarter more, at once
/// An unmined parent that pays less is made up for.  Never more than the budget, but what the network takes at least, where
/// that leaves something of what is at stake.
[[nodiscard]] constexpr fee_decision decide_fee(const fee_estimate& market, const fee_question& q,
                                                const fee_budget& budget) {
    using detail::stepped;
    const std::int64_t left = q.blocks_left;
    const std::int64_t end = detail::rate_of_share(q, budget, left <= 1 ? budget.last_share : budget.share);
    const std::int64_t asked = detail::rate_within(market, left);
    std::int64_t rate = asked;
    if (q.parent.vsize > 0) {
        const std::int64_t missing = asked * q.parent.vsize / 1'000 - q.parent.fee.value;
        if (missing > 0) rate += missing * 1'000 / std::max<std::int64_t>(q.vsize, 1);
    }
    const std::int64_t paid = q.paid.sat_per_kvb;
    if (paid > 0 && q.unmined && left <= detail::rising_blocks) rate = std::max(rate, stepped(paid, 8));
    if (paid > 0 && q.unmined && left <= detail::steep_blocks && end > rate) {
        const std::int64_t steps =
            std::min(detail::steep_blocks, detail::steep_blocks + 1 - std::max<std::int64_t>(left, 1));
        rate += (end - rate) / (detail::steep_blocks * detail::steep_blocks) * steps * steps;
        if (steps == detail::steep_blocks) rate = end;
    }
    if (paid > 0 && q.underpaid) rate = std::max(rate, stepped(paid, 4));
    const std::int64_t floor = std::max(market.floor.sat_per_kvb, min_relay_fee_rate.sat_per_kvb);
    const std::int64_t most =
        detail::rate_of_share({q.at_stake, q.vsize}, {100, 100, budget.most, budget.max_rate}, 100);
    const std::int64_t allowed = end >= floor ? end : std::min(floor, most);
    return {{std::min(rate, allowed)}, rate <= allowed};
}

/// True when `now` is so much more than what was paid that nodes take it in the other one's place.
[[nodiscard]] constexpr bool is_worth_replacing(fee_rate paid, fee_rate now) {
    return now.sat_per_kvb >= detail::stepped(paid.sat_per_kvb, 10);
}

}  // namespace paychan
