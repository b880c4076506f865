// paychan watch: the custodian.  Settles and refunds what is due with no peer connected, until Ctrl-C.
#include "book_view.hpp"
#include "channel_events.hpp"
#include "paychan/book.hpp"
#include "versions.hpp"

namespace tool {

using namespace paychan;

namespace {

struct watch_events {
    report& out;
    void on_event(const event& e) {
        // Another process was faster: what is due is looked at again.
        if (e.kind == event_kind::error && e.problem.code == errc::stale_record) return;
        report_event(out, e);
    }
};

/// What there is to do, told when it changes.
class outlook {
public:
    outlook(node& n, report& out) : node_(n), out_(out) {}

    /// refund, settlement  when the next is due
    void tell(std::size_t clients, std::size_t servers, std::optional<unix_time> refund,
              std::optional<unix_time> settlement) {
        const state now{clients, servers, refund, settlement};
        if (told_ == now) return;
        told_ = now;
        json o{{"event", "watching"}, {"client_channels", clients}, {"server_channels", servers}};
        std::string line = "watching " + std::to_string(clients) + " channels that we pay on and " +
                           std::to_string(servers) + " that we are paid on";
        const auto due = [&](const char* key, const char* what, std::optional<unix_time> t) {
            if (!t) return;
            o[key] = t->seconds;
            line += std::string("; ") + what + text_of(*t);
        };
        due("next_refund", "next refund after ", refund);
        due("next_settlement", "next settlement at ", settlement);
        o["height"] = node_.height();
        o["chain_time"] = node_.median_time().seconds;
        line += "; height " + std::to_string(node_.height()) + ", the chain's time is " + text_of(node_.median_time());
        out_.event(o, line);
    }

private:
    struct state {
        std::size_t clients = 0, servers = 0;
        std::optional<unix_time> refund, settlement;
        friend bool operator==(const state&, const state&) = default;
    };
    node& node_;
    report& out_;
    std::optional<state> told_;
};

}  // namespace

int run_watch(const options& o) {
    report out(o.json);
    node n(o, out, {.patient = true});
    if (n.prints())
        throw usage_error{
            "watch needs a node that tells what is in the blocks: --chain rpc:http://USER:PASS@HOST:PORT"};
    watch_events heard{out};
    const server_settings settings;
    client_book paying(n.store(), n, heard);
    server_book paid(schemes{}, n.store(), n.keys(), n.wallet(), n, heard, settings);
    if (!paying.load() || !paid.load()) throw run_error{"--store: " + n.store().last_error()};
    book_view paying_view(n, out, paying);
    book_view paid_view(n, out, paid);
    n.hooks().block = [&](const connected_block& b) {
        paying_view.on_block(b);
        paid_view.on_block(b);
    };
    n.hooks().block_disconnected = [&](std::int32_t height) {
        paying.on_block_disconnected(height);
        paid.on_block_disconnected(height);
    };
    n.hooks().broadcast = [&](const txid& id, broadcast_outcome how, std::string_view why) {
        paying.on_broadcast(id, how, why);
        paid.on_broadcast(id, how, why);
    };
    n.hooks().fee_rate = [&](fee_rate rate) { paid.on_fee_rate(rate); };
    paid.on_fee_rate(n.rate());
    if (!n.catch_up()) return n.stopping() ? exit_done : exit_failed;

    outlook tell(n, out);
    bool idle = false;
    n.every_second([&] {
        paying_view.look();
        paid_view.look();
        paying.tick();
        paid.tick(n.clock().now());
        auto settlement = paid.next_expiry();
        if (settlement) settlement = *settlement + -settings.settle_margin;
        tell.tell(paying.unended(), paid.unended(), paying.next_expiry(), settlement);
        idle = paying.unended() + paid.unended() == 0;
    });
    n.run_until([&] { return o.until_idle && idle; });
    const bool asked = n.stopping() || (o.until_idle && idle);
    n.stop();
    n.hooks() = {};
    out.event({{"event", "stopped"}}, idle ? "nothing is left to watch" : "stopped");
    return asked ? exit_done : exit_failed;
}

}  // namespace tool
