// Makes a failing history short: leaves steps out for as long as the same rule is still broken.
#pragma once

#include "simulation/play.hpp"

namespace simulation {

/// Delta debugging, simple: halves, quarters, ... single steps, until nothing more can go.
/// numbers  which steps of the whole history are left
[[nodiscard]] inline history shrink(const history& whole, rule broken, std::vector<std::size_t>& numbers) {
    const auto part = [&](const std::vector<std::size_t>& kept) {
        history h{whole.who, {}};
        for (const std::size_t n : kept) h.steps.push_back(whole.steps[n]);
        return h;
    };
    const auto still_fails = [&](const std::vector<std::size_t>& kept) {
        tally ignored;
        const auto result = play(part(kept), ignored, tell::nothing);
        return result.broken && result.broken->broken == broken;
    };
    numbers.clear();
    for (std::size_t n = 0; n < whole.steps.size(); ++n) numbers.push_back(n);
    for (bool shorter = true; shorter;) {
        shorter = false;
        for (std::size_t size = std::max<std::size_t>(1, numbers.size() / 2); size > 0; size /= 2) {
            for (std::size_t at = 0; at < numbers.size();) {
                std::vector<std::size_t> less = numbers;
                const auto first = less.begin() + static_cast<std::ptrdiff_t>(at);
                less.erase(first, first + static_cast<std::ptrdiff_t>(std::min(size, less.size() - at)));
                if (still_fails(less)) {
                    numbers = std::move(less);
                    shorter = true;
                } else {
                    at += size;
                }
            }
        }
    }
    return part(numbers);
}

}  // namespace simulation
