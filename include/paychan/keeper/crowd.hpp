// What strangers can cause at will, told in a bounded number of lines.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

namespace paychan {

/// For a log of things that cost those who cause them nothing: the first few of a minute are told in full, the others are
/// counted, and one line a minute says how many there were.
class crowd {
public:
    using clock = std::chrono::steady_clock;
    using counts = std::map<std::string, std::uint64_t>;

    static constexpr std::uint64_t in_full = 10;  ///< of each `which`, a minute

    /// True when it is to be told in full; else it is counted.
    /// what   its kind, as the counts are to name it
    /// which  of that kind: of a bounded number, for each is remembered until the minute is over
    [[nodiscard]] bool is_told(const std::string& what, const std::string& which) {
        if (seen_[what + ' ' + which]++ < in_full) return true;
        ++untold_[what];
        return false;
    }

    /// Call it now and then: when a minute is over, what was not told in it; another begins.
    [[nodiscard]] counts take(clock::time_point now = clock::now()) {
        if (now < next_) return {};
        next_ = now + std::chrono::minutes(1);
        seen_.clear();
        return std::exchange(untold_, {});
    }

private:
    clock::time_point next_{};
    std::map<std::string, std::uint64_t> seen_;
    counts untold_;
};

}  // namespace paychan
