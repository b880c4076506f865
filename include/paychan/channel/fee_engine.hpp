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
    std::int64_t steps = 0;        ///< so many times an eighth more than the market, where no deadline says so
    bool underpaid = false;        ///< the network refused the last one for its fee
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
///     the first time              what the market asks
///     far from the deadline       the same; no more while it waits, unless the market asks for more
///     12 blocks before it         with each block an eighth more than that
///      4 blocks before it         with each block a larger part of the way to all that the budget allows
///     at it, and behind it        all of that
///     refused for its fee         a quarter more than it paid, at once
/// An unmined parent that pays less is made up for.  Never more than the budget, but for the little that any node takes.
/// It goes by what is left and not by what was done: asked again, also after a restart, it says the same.
[[nodiscard]] constexpr fee_decision decide_fee(const fee_estimate& market, const fee_question& q,
                                                const fee_budget& budget) {
    using detail::stepped;
    constexpr std::int64_t sane = 1'000'000;  // [vbytes, sat/vB] what is more, nobody means
    const std::int64_t left = q.blocks_left;
    const std::int64_t end = detail::rate_of_share(q, budget, left <= 1 ? budget.last_share : budget.share);
    const std::int64_t asked = std::min(detail::rate_within(market, left), 1'000 * sane);
    std::int64_t rate = asked;
    if (q.parent.vsize > 0) {
        const std::int64_t missing = asked * std::min(q.parent.vsize, sane) / 1'000 - q.parent.fee.value;
        if (missing > 0) rate += missing * 1'000 / std::max<std::int64_t>(q.vsize, 1);
    }
    if (q.paid.sat_per_kvb > 0) {
        constexpr std::int64_t rising = detail::rising_blocks - detail::steep_blocks - 1;
        std::int64_t steps = std::max(q.steps, std::clamp<std::int64_t>(detail::rising_blocks - left, 0, rising));
        for (; steps > 0 && rate < end; --steps) rate = stepped(rate, 8);
        if (left <= detail::steep_blocks && rate < end) {
            const std::int64_t part = detail::steep_blocks + 1 - std::max<std::int64_t>(left, 1);  // 1 to 4
            const std::int64_t way = part * part;
            constexpr std::int64_t whole = detail::steep_blocks * detail::steep_blocks;
            rate = way == whole ? end : rate + (end - rate) / whole * way;
        }
        if (q.underpaid) rate = std::max(rate, stepped(q.paid.sat_per_kvb, 4));
    }
    // A floor above that may fall again; what is below this can never be had.
    const std::int64_t relayed = std::min(min_relay_fee_rate.sat_per_kvb,
                                          detail::rate_of_share(q, budget, std::max(budget.share, budget.last_share)));
    const std::int64_t allowed = std::max(end, relayed);
    return {{std::min(rate, allowed)}, rate <= allowed};
}

/// True when `now` is so much more than what was paid that nodes take it in the other one's place.
[[nodiscard]] constexpr bool is_worth_replacing(fee_rate paid, fee_rate now) {
    return now.sat_per_kvb >= detail::stepped(paid.sat_per_kvb, 10);
}

}  // namespace paychan
