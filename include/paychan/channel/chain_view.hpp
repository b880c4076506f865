// What a driver knows of the chain: the time that its deadlines count from, and the fee of the day.
#pragma once

#include <algorithm>

#include "paychan/bitcoin/fee.hpp"
#include "paychan/policy.hpp"

namespace paychan {

/// [s] by which the chain may be ahead of a clock: its blocks' times are those of whoever mined them.
inline constexpr std::int64_t clock_tolerance = 600;

/// The chain's median time is about an hour behind the world's, so a clock that is behind it is wrong.
[[nodiscard]] constexpr bool is_behind(unix_time clock, unix_time median_time) {
    return clock + clock_tolerance < median_time;
}

/// As chain events have told it.
struct chain_view {
    fee_rate rate = min_relay_fee_rate;  ///< [sat/kvB] what a transaction should pay now
    unix_time median_time{};             ///< [s] of the best block and the 10 before it (BIP113); 0: not told yet
    bool downloading = false;            ///< whoever shows the chain has not got all of it

    void on_chain(const chain_event& e) {
        match(
            e, [this](const fee_estimate& f) { rate = f.rate; },
            [this](const chain_tip& t) {
                median_time = t.time_after(median_time);
                downloading = t.downloading;
            },
            // Old ones are told too, while blocks are read.
            [this](const connected_block& b) { median_time = std::max(median_time, b.median_time); });
    }

    /// The later of the two: a refund comes free by the chain's time, whatever a clock says.
    [[nodiscard]] unix_time later(unix_time clock) const { return std::max(clock, median_time); }
};

}  // namespace paychan
