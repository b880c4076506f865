// What goes on for long is told again: once an hour, and not with every block.
#pragma once

#include <chrono>
#include <map>
#include <string>

#include "paychan/channel/effects.hpp"

namespace paychan {

/// For what a log, or a person, is told: see keeper_settings::on_problem, which may be called each second.
class hourly {
public:
    using clock = std::chrono::steady_clock;

    /// True when `what` is to be told: the first time, and when the last time was an hour ago.
    [[nodiscard]] bool is_due(const std::string& what, clock::time_point now = clock::now()) {
        if (told_.size() > 10'000) told_.clear();  // strangers' names may be in it
        const auto [last, first_time] = told_.try_emplace(what, now);
        if (!first_time && now - last->second < std::chrono::hours(1)) return false;
        last->second = now;
        return true;
    }

    /// The same for an error of a channel; all other events are always told.
    [[nodiscard]] bool is_news(const event& e) {
        const auto id = display(e.channel);
        return e.kind != event_kind::error || is_due(std::string(id.data(), id.size()) +
                                                     std::string(name(e.problem.code)) + std::string(e.problem.text));
    }

    /// It is over: when it begins anew, that is news.
    void forget(const std::string& what) { told_.erase(what); }

private:
    std::map<std::string, clock::time_point> told_;
};

}  // namespace paychan
