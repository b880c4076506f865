// paychan serve: take payments over TCP, settle every channel before its expiry, until Ctrl-C.
#include "node.hpp"
#include "paychan/asio/tcp_server.hpp"
#include "paychan/keeper/crowd.hpp"
#include "paychan/keeper/payee.hpp"
#include "paychan/keeper/settle_after.hpp"
#include "paychan/protobuf/codec.hpp"
#include "versions.hpp"

namespace tool {

namespace {

/// Hears connections and monitor, and acks the payments.  What strangers can cause at will is told in a bounded number of
/// lines.
struct serve_events {
    report& out;
    store_type& store;
    bytes_view ack_info;
    std::function<void(const txid&)> paid{};  // a payment is acked next
    hourly told{};                            // of damaged records: they are looked at again and again
    crowd strangers{};

    void on_event(const event& e) {
        const bool is_damaged = e.kind == event_kind::error && is_damage(e.problem);
        if (is_damaged ? !told.is_news(e) : !is_told(e)) return;
        const auto record = e.kind == event_kind::opened ? load_record(store, record_kind::server_channel, e.channel)
                                                         : channel_record{};
        report_event(out, e, record ? record->protocol : 0);
    }
    void on_turned_away(const boost::asio::ip::tcp::endpoint& from, std::string_view why) {
        if (!strangers.is_told("turned_away", std::string(why))) return;
        const std::string address = from.address().to_string();
        out.event({{"event", "turned_away"}, {"address", address}, {"explanation", why}},
                  "turned " + address + " away: " + std::string(why));
    }
    [[nodiscard]] bool is_told(const broadcast_answer& a) {
        if (a.outcome == broadcast_outcome::accepted || stage_of(a.id) != channel_stage::contract_stored) return true;
        return strangers.is_told("broadcast", name_of(a.outcome));
    }
    payment_answer on_payment(const event& e) {
        if (paid) paid(e.channel);
        return payment_answer::ack(ack_info);
    }

    /// Once a second.
    void tell_counts() {
        const auto untold = strangers.take();
        if (untold.empty()) return;
        json o{{"event", "not_told"}};
        std::string line = "not told in the last minute:";
        for (const auto& [what, count] : untold) {
            o[what] = count;
            line += " " + std::to_string(count) + " more of " + what + ";";
        }
        line.pop_back();
        out.event(o, line);
    }

private:
    [[nodiscard]] channel_stage stage_of(const txid& channel) {
        if (channel == txid{}) return channel_stage::none;  // most strangers name none
        const auto record = load_record(store, record_kind::server_channel, channel);
        return record ? record->stage : channel_stage::none;
    }

    /// Connections cost nothing, nor do contracts that no node has taken yet; and whoever knows a channel's txid can resume
    /// it.
    [[nodiscard]] bool is_told(const event& e) {
        using enum event_kind;
        if (e.kind != error && e.kind != closed && e.kind != opened && e.kind != stored) return true;
        std::string which(name(e.problem.code));
        if (stage_of(e.channel) > channel_stage::contract_stored) which += text_of(e.channel);  // that was paid for
        return strangers.is_told(name_of(e.kind), which);
    }
};

}  // namespace

int run_serve(const options& o, report& out) {
    const auto at = parse_host_and_port(o.listen, "--listen");
    boost::system::error_code bad;
    const auto address = boost::asio::ip::make_address(at.host, bad);
    if (bad)
        throw usage_error{"--listen needs an IP address of this machine, for example 127.0.0.1:4242 or 0.0.0.0:4242"};
    if (o.min_window > o.max_window) throw usage_error{"--min-window must not be more than --max-window"};

    const std::vector<std::uint8_t> ack_info = info_of(o.ack_info, "--ack-info");
    server_settings settings;
    settings.versions = versions_to_serve(o.versions);
    settings.min_channel = satoshi{o.min_channel};
    // The operator's word is the least; what a client wants instead may only be more.
    settings.min_payment = satoshi{o.min_payment};
    settings.min_window = o.min_window;
    settings.max_window = o.max_window;

    node n(o, out, {.access = store_access::create, .patient = true, .passes_pruned = true, .brings_home = true});
    settings.fees = n.budget();
    settings.min_confirmations = o.min_confirmations;
    if (o.max_unconfirmed) settings.max_unconfirmed = satoshi{*o.max_unconfirmed};
    serve_events events{out, n.store(), ack_info};
    payee side(schemes{}, n.store(), n.keys(), n.wallet(), n, n.clock(), events, settings, n.keeping());
    settle_after settling(o.settle_after, side, n.store());
    const auto settle = [&](const txid& channel) {
        const auto settled = settling.settle(channel);
        if (settled) return;
        event e{event_kind::error};
        e.channel = channel;
        e.problem = settled.error();
        if (events.told.is_news(e)) report_event(out, e, 0, "--settle-after tries it again after the next payment");
    };
    if (o.settle_after > 0)
        events.paid = [&](const txid& channel) {
            if (settling.count(channel)) boost::asio::post(n.io(), [&settle, channel] { settle(channel); });
        };
    n.hear_broadcasts([&](const broadcast_answer& a) { return events.is_told(a); });
    n.start(side.keep());
    // A store that has met the chain before takes payments at once.
    if (!side.keep().knows_coins() && !n.catch_up()) return n.stopping() ? exit_done : exit_failed;

    asio::tcp_server_settings tcp;
    tcp.max_connections = o.max_connections;
    tcp.max_per_address = o.max_per_address;
    tcp.channel = settings;
    std::optional<
        asio::tcp_server<schemes, wall_clock, keys_type, store_type, seed_wallet, node, decltype(side), protobuf_codec>>
        server;
    try {
        server.emplace(n.io().get_executor(), boost::asio::ip::tcp::endpoint(address, at.port), schemes{}, n.clock(),
                       n.keys(), n.store(), n.wallet(), n, side, tcp, asio::use_codec<protobuf_codec>{});
    } catch (const boost::system::system_error& e) {
        throw run_error{"cannot listen on " + o.listen + ": " + e.code().message()};
    }
    side.join(*server);
    n.join(*server);
    n.every_second([&] { events.tell_counts(); });
    if (server->max_connections() < tcp.max_connections)
        out.event({{"event", "fewer_connections"},
                   {"connections", server->max_connections()},
                   {"wanted", tcp.max_connections}},
                  "only " + std::to_string(server->max_connections()) + " connections at a time, not " +
                      std::to_string(tcp.max_connections) + ": the limit of open files (ulimit -n) allows no more");
    json versions = json::array();
    for (const std::int32_t v : {1, 2})
        if (settings.versions.has(v)) versions.push_back(v);
    out.event({{"event", "listening"},
               {"host", at.host},
               {"port", server->port()},
               {"channels", side.monitor().size()},
               {"versions", versions}},
              "listening on " + at.host + ":" + std::to_string(server->port()) + " for new channels of version " +
                  o.versions + ", " + std::to_string(side.monitor().size()) +
                  " stored channels; end it with Ctrl-C, and start it again before they expire");
    n.run_until([] { return false; });

    const bool asked = n.stopping();
    server->stop();
    n.stop();
    n.io().restart();
    n.io().run_for(std::chrono::seconds(3));  // the last frames
    side.part();
    events.paid = nullptr;
    out.event({{"event", "stopped"}}, "stopped");
    return asked ? exit_done : exit_failed;
}

}  // namespace tool
