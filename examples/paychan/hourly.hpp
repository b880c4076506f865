// What goes on for long is told again: once an hour, and not with every block.
#pragma once

#include <chrono>
#include <map>
#include <string>

namespace tool {

class hourly {
public:
    /// True when `what` is to be told: the first time, and when the last time was an hour ago.
    [[nodiscard]] bool is_due(const std::string& what) {
        const auto now = std::chrono::steady_clock::now();
        if (told_.size() > 10'000) told_.clear();  // strangers' names may be in it
        const auto [last, first_time] = told_.try_emplace(what, now);
        if (!first_time && now - last->second < std::chrono::hours(1)) return false;
        last->second = now;
        return true;
    }

    /// It is over: when it begins anew, that is news.
    void forget(const std::string& what) { told_.erase(what); }

private:
    std::map<std::string, std::chrono::steady_clock::time_point> told_;
};

}  // namespace tool
