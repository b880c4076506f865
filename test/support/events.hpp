// What an application hears, written down.
#pragma once

#include <functional>
#include <string>

#include "paychan/channel/effects.hpp"
#include "support/bytes.hpp"

namespace paychan_test {

[[nodiscard]] inline std::string name_of(paychan::event_kind kind) {
    using paychan::event_kind;
    switch (kind) {
        case event_kind::stored: return "stored";
        case event_kind::opened: return "opened";
        case event_kind::payment: return "payment";
        case event_kind::acked: return "acked";
        case event_kind::settled: return "settled";
        case event_kind::error: return "error";
        case event_kind::closed: return "closed";
        case event_kind::refunding: return "refunding";
        case event_kind::confirmed: return "confirmed";
        case event_kind::buried: return "buried";
        case event_kind::double_spent: return "double_spent";
    }
    return "?";
}

struct heard_event {
    paychan::event_kind kind{};
    paychan::txid channel{};
    paychan::satoshi amount{};
    paychan::satoshi total{};
    paychan::txid closing{};
    bytes data;
    paychan::error problem{};
};

/// Keeps every event, and then does what the test wants.
struct event_log {
    std::vector<heard_event> heard;
    std::function<void(const paychan::event&)> then;

    void on_event(const paychan::event& e) {
        heard.push_back({e.kind, e.channel, e.amount, e.total, e.closing, owned(e.data), e.problem});
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
        for (const heard_event& e : heard) out += (out.empty() ? "" : " ") + name_of(e.kind);
        return out;
    }
};

}  // namespace paychan_test
