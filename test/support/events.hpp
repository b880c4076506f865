// What an application hears, written down.
#pragma once

#include <functional>
#include <string>

#include "paychan/channel/effects.hpp"
#include "support/bytes.hpp"

namespace paychan_test {

using paychan::name_of;

struct heard_event {
    paychan::event_kind kind{};
    paychan::txid channel{};
    paychan::satoshi amount{};
    paychan::satoshi total{};
    paychan::txid closing{};
    bytes data;
    paychan::error problem{};
    paychan::unix_time clock{};
    paychan::unix_time chain_time{};
};

/// Keeps every event, and then does what the test wants.
struct event_log {
    std::vector<heard_event> heard;
    std::function<void(const paychan::event&)> then;

    void on_event(const paychan::event& e) {
        heard.push_back(
            {e.kind, e.channel, e.amount, e.total, e.closing, owned(e.data), e.problem, e.clock, e.chain_time});
        if (then) then(e);
    }
    [[nodiscard]] std::size_t count(paychan::event_kind kind) const {
        std::size_t n = 0;
        for (const heard_event& e : heard) n += e.kind == kind ? 1U : 0U;
        return n;
    }
    /// The last one of that kind; an empty one when there was none.
    [[nodiscard]] heard_event last(paychan::event_kind kind) const {
        for (auto e = heard.rbegin(); e != heard.rend(); ++e)
            if (e->kind == kind) return *e;
        return {};
    }
    /// "stored payment opened"
    [[nodiscard]] std::string names() const {
        std::string out;
        for (const heard_event& e : heard) out += std::string(out.empty() ? "" : " ") + name_of(e.kind);
        return out;
    }
};

}  // namespace paychan_test
