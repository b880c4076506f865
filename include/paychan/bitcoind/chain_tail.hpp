// The last blocks of the active chain as we have followed it: hashes to find a fork by, times for the median.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>

#include "paychan/bitcoin/block.hpp"

namespace paychan::bitcoind {

/// Keeps enough of them to step back over up to `depth` blocks; older ones are forgotten.
class chain_tail {
public:
    explicit chain_tail(std::size_t depth) : keep_(depth + median_span - 1) {}

    [[nodiscard]] bool empty() const { return kept_.empty(); }
    [[nodiscard]] std::int32_t tip_height() const { return next_height_ - 1; }
    [[nodiscard]] std::int32_t lowest() const { return next_height_ - static_cast<std::int32_t>(kept_.size()); }

    /// The lowest block that a fork may leave standing: the median of the block after it needs the 10 before that.
    [[nodiscard]] std::int32_t lowest_fork() const {
        return lowest() == 0 ? 0 : lowest() + static_cast<std::int32_t>(median_span) - 2;
    }

    /// lowest() <= height <= tip_height()
    [[nodiscard]] const block_hash& hash_at(std::int32_t height) const {
        return kept_[static_cast<std::size_t>(height - lowest())].hash;
    }
    [[nodiscard]] const block_hash& tip_hash() const { return kept_.back().hash; }

    /// Forgets all; the next block has this height.
    void restart(std::int32_t height) {
        kept_.clear();
        next_height_ = height;
    }

    /// True when the block may stand on the tip; any may after restart().
    [[nodiscard]] bool fits(const block_header& h) const { return kept_.empty() || h.previous == tip_hash(); }

    void push(const block_header& h) {
        kept_.push_back({h.hash, h.time});
        ++next_height_;
        if (kept_.size() > keep_) kept_.pop_front();
    }

    /// Takes all blocks above `height` away.  lowest() - 1 <= height
    void cut(std::int32_t height) {
        for (; tip_height() > height; --next_height_) kept_.pop_back();
    }

    /// The median of the times of a block that stands on the tip and of the 10 blocks before it, or of all when there
    /// are fewer.
    /// Source  BIP113; Bitcoin Core CBlockIndex::GetMedianTimePast.
    [[nodiscard]] unix_time median_time(const block_header& next) const {
        std::array<unix_time, median_span> times{next.time};
        const std::size_t n = std::min(kept_.size() + 1, times.size());
        for (std::size_t i = 1; i < n; ++i) times[i] = kept_[kept_.size() - i].time;
        std::sort(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(n));
        return times[n / 2];
    }

    static constexpr std::size_t median_span = 11;  // [blocks] BIP113

private:
    struct entry {
        block_hash hash;
        unix_time time;
    };
    std::deque<entry> kept_;
    std::size_t keep_;
    std::int32_t next_height_ = 0;
};

}  // namespace paychan::bitcoind
