// paychan watch: the custodian.  Settles and refunds what is due with no peer connected, until Ctrl-C.
#include <set>

#include "node.hpp"
#include "paychan/client_monitor.hpp"
#include "paychan/server_monitor.hpp"
#include "versions.hpp"

namespace tool {

namespace {

/// Hears one role's monitor.
class watch_events {
public:
    watch_events(report& out, store_type& store, record_kind kind) : out_(out), store_(store), kind_(kind) {}

    void on_event(const event& e) {
        const bool failed = e.kind == event_kind::error;
        // Another process was faster: what is due is looked at again.
        if (failed && e.problem.code == errc::stale_record) return;
        if (failed && is_damage(e.problem)) damaged_.insert(e.channel);
        if (told_.is_news(e)) report_event(out_, e);
    }

    /// How many channels the monitor cannot watch, for their records cannot be read.
    [[nodiscard]] std::size_t damaged() {
        std::erase_if(damaged_, [this](const txid& id) {
            const auto record = load_record(store_, kind_, id);
            return record || record.error().code == errc::not_found;
        });
        return damaged_.size();
    }

private:
    report& out_;
    store_type& store_;
    record_kind kind_;
    std::set<txid> damaged_;
    hourly told_;
};

/// What there is to do, told when it changes.
class outlook {
public:
    outlook(node& n, report& out) : node_(n), out_(out) {}

    /// refund, settlement  when the next is due
    /// damaged             records that cannot be read
    void tell(std::size_t clients, std::size_t servers, std::size_t damaged, std::optional<unix_time> refund,
              std::optional<unix_time> settlement) {
        json o{{"event", "watching"}, {"client_channels", clients}, {"server_channels", servers}};
        std::string line = "watching " + std::to_string(clients) + " channels that we pay on and " +
                           std::to_string(servers) + " that we are paid on";
        if (damaged > 0) {
            o["unreadable"] = damaged;
            line += "; unwatched: " + unreadable(damaged);
        }
        const auto due = [&](const char* key, const char* what, std::optional<unix_time> t) {
            if (!t) return;
            o[key] = t->seconds;
            line += std::string("; ") + what + text_of(*t);
        };
        due("next_refund", "next refund after ", refund);
        due("next_settlement", "next settlement at ", settlement);
        if (std::exchange(told_, o) == o) return;
        o["height"] = node_.height();
        o["chain_time"] = node_.median_time().seconds;
        line += "; height " + std::to_string(node_.height()) + ", the chain's time is " + text_of(node_.median_time());
        out_.event(o, line);
    }

    [[nodiscard]] static std::string unreadable(std::size_t damaged) {
        return std::to_string(damaged) + (damaged == 1 ? " channel whose record" : " channels whose records") +
               " cannot be read";
    }

private:
    node& node_;
    report& out_;
    json told_;
};

}  // namespace

int run_watch(const options& o, report& out) {
    node n(o, out,
           {.needs_node = "watch needs a node that tells what is in the blocks",
            .patient = true,
            .waits_for_store = true,
            .passes_pruned = true,
            .brings_home = true});
    watch_events paying_heard(out, n.store(), record_kind::client_channel);
    watch_events paid_heard(out, n.store(), record_kind::server_channel);
    server_settings settings;
    settings.fees = n.budget();
    client_monitor paying(schemes{}, n.store(), n.keys(), n.wallet(), n, paying_heard, {}, n.budget());
    server_monitor paid(schemes{}, n.store(), n.keys(), n.wallet(), n, paid_heard, settings);
    keeper keep(n.store(), n.keys(), n.wallet(), n, n.clock(), n.keeping(), paying, paid);
    n.start(keep);
    if (!n.catch_up()) return n.stopping() ? exit_done : exit_failed;

    outlook tell(n, out);
    bool idle = false;
    std::size_t damaged = 0;
    const auto look = [&] {
        auto settlement = paid.next_expiry();
        if (settlement) settlement = settlement_deadline(*settlement, settings.settle_margin);
        damaged = paying_heard.damaged() + paid_heard.damaged();
        tell.tell(paying.unended(), paid.unended(), damaged, paying.next_expiry(), settlement);
        idle = paying.unended() + paid.unended() == 0;
    };
    look();
    n.every_second(look);
    n.run_until([&] { return o.until_idle && idle; });
    const bool asked = n.stopping() || (o.until_idle && idle);
    n.stop();
    json last{{"event", "stopped"}};
    if (damaged > 0) last["unreadable"] = damaged;
    out.event(last, idle && damaged == 0 ? "nothing is left to watch"
                    : idle               ? "nothing is left to watch but " + outlook::unreadable(damaged)
                                         : "stopped");
    if (idle && damaged > 0 && !n.stopping()) return exit_failed;
    return asked ? exit_done : exit_failed;
}

}  // namespace tool
