// paychan settle, refund: bring home what is due with nobody connected, and say when the rest will be.
#include "node.hpp"
#include "paychan/client_monitor.hpp"
#include "paychan/server_monitor.hpp"
#include "versions.hpp"

namespace tool {

using namespace paychan;

namespace {

struct listener {
    report& out;
    bool failed = false;
    void on_event(const event& e) {
        if (e.kind == event_kind::error) {
            failed = true;
            out.error(name(e.problem.code), "channel " + text_of(e.channel) + ": " + std::string(e.problem.text));
        } else if (e.kind == event_kind::settled) {
            out.event({{"event", "settled"},
                       {"channel", text_of(e.channel)},
                       {"txid", text_of(e.closing)},
                       {"paid", e.total.value},
                       {"hex", hex_of(e.data)}},
                      "settled " + text_of(e.channel) + " with " + text_of(e.closing));
        } else if (e.kind == event_kind::refunding) {
            out.event({{"event", "refunding"}, {"channel", text_of(e.channel)}},
                      "took the refund of " + text_of(e.channel));
        }
    }
};

/// The transaction that brings a channel home, as far as it exists.
std::optional<txid> home_of(node& n, record_kind kind, const channel_record& r) {
    std::vector<std::uint8_t> memory(wire::max_frame_size);
    const auto stored = n.store().get(
        {kind == record_kind::client_channel ? record_kind::client_refund : record_kind::server_settlement,
         r.terms.contract.id},
        memory);
    if (!stored) return std::nullopt;
    const auto tx = parse_transaction(stored->bytes);
    if (!tx) return std::nullopt;
    return tx->id();
}

bool accepted(node& n, record_kind kind, const channel_record& r) {
    const auto id = home_of(n, kind, r);
    return id && n.outcome_of(*id) == broadcast_outcome::accepted;
}

/// Says what still waits, and tells the exit status: 0 only if all that is due is in a block or on its way there.
/// wanted  which of the channels that are not over were to come home now
/// due     when the others do
template <class Wanted, class Due>
int finish(node& n, report& out, const listener& heard, bool delivered, record_kind kind, const char* what,
           Wanted wanted, Due due) {
    std::size_t waiting = 0, undone = 0;
    const auto all = load_all(n.store(), kind);
    for (const channel_record& r : all) {
        if (r.closing_height != 0) continue;
        if (wanted(r)) {
            if (accepted(n, kind, r)) continue;
            ++undone;
            out.event({{"event", "undone"}, {"channel", text_of(r.terms.contract.id)}},
                      text_of(r.terms.contract.id) + ": the network has not taken what brings it home");
            continue;
        }
        ++waiting;
        out.event({{"event", "waiting"},
                   {"channel", text_of(r.terms.contract.id)},
                   {"due", due(r).seconds},
                   {"chain_time", n.median_time().seconds}},
                  text_of(r.terms.contract.id) + ": " + what + " possible after " + text_of(due(r)) +
                      "; the chain's time is " + text_of(n.median_time()));
    }
    n.stop();
    if (!delivered || heard.failed || undone > 0) return exit_failed;
    if (all.empty()) out.say("no channels");
    return waiting == 0 ? exit_done : exit_not_due;
}

}  // namespace

int run_settle(const options& o) {
    report out(o.json);
    node n(o, out, {.passes_pruned = true});
    listener heard{out};
    const server_settings settings;
    server_monitor monitor(schemes{}, n.store(), n.keys(), n.wallet(), n, heard, settings);
    keeper keep(n.store(), n.keys(), n.wallet(), n, n.clock(), n.keeping(), monitor);
    n.start(keep);
    if (!n.catch_up()) return exit_failed;
    const auto settle = [&](const txid& id) {
        if (const auto settled = monitor.settle(id); !settled) {
            heard.failed = true;
            out.error(name(settled.error().code), "channel " + text_of(id) + ": " + std::string(settled.error().text));
        }
    };
    constexpr auto kind = record_kind::server_channel;
    monitor.tick(n.clock().now());  // what is due, and what was settled before and is not mined
    if (o.all)
        for (const channel_record& r : load_all(n.store(), kind))
            if (r.stage == channel_stage::open || r.stage == channel_stage::unbacked) settle(r.terms.contract.id);
    bool delivered = n.deliver();
    // Once more with the fee of the day for those that the network does not want: it may be the fee.
    if (delivered) {
        for (const channel_record& r : load_all(n.store(), kind)) {
            if (r.stage != channel_stage::settling || r.closing_height != 0) continue;
            const auto id = home_of(n, kind, r);
            if (id && n.outcome_of(*id) == broadcast_outcome::refused) settle(r.terms.contract.id);
        }
        delivered = n.deliver();
    }
    return finish(
        n, out, heard, delivered, kind, "settled by itself, or now with --all;",
        [](const channel_record& r) { return r.stage == channel_stage::settling; },
        [&](const channel_record& r) { return settlement_deadline(r, settings); });
}

int run_refund(const options& o) {
    report out(o.json);
    node n(o, out, {.passes_pruned = true});
    listener heard{out};
    client_monitor monitor(n.store(), n, heard);
    keeper keep(n.store(), n.keys(), n.wallet(), n, n.clock(), n.keeping(), monitor);
    n.start(keep);
    if (!n.catch_up()) return exit_failed;
    if (n.prints())
        out.say("there is no node to ask: the chain's time is taken to be two hours ago, " + text_of(n.median_time()));
    monitor.tick(n.clock().now());
    constexpr auto kind = record_kind::client_channel;
    if (o.early) {
        std::vector<std::uint8_t> memory(wire::max_frame_size);
        for (const channel_record& r : load_all(n.store(), kind))
            if (r.closing_height == 0 && !refund_is_due(r, n.median_time()))
                (void)detail::broadcast_stored(record_kind::client_refund, r.terms.contract.id, n.store(), n, memory);
    }
    const bool delivered = n.deliver();
    return finish(
        n, out, heard, delivered, kind, "refund",
        [&](const channel_record& r) { return o.early || refund_is_due(r, n.median_time()); },
        [](const channel_record& r) { return r.terms.expiry; });
}

int run_sweep(const options& o) {
    report out(o.json);
    const network net = network_of(o);
    const auto to = need(script_of_address(o.to, net), "--to");
    node n(o, out, {store_access::create});
    if (n.prints()) throw usage_error{"sweep needs a node to find the coins: --chain rpc:http://USER:PASS@HOST:PORT"};
    keeper keep(n.store(), n.keys(), n.wallet(), n, n.clock(), n.keeping());
    n.start(keep);
    if (!n.catch_up()) return exit_failed;
    const wallet_balance b = n.wallet().balance();
    std::vector<std::uint8_t> memory(100'000);  // [bytes] what nodes relay
    const auto tx = n.wallet().sweep(to.view(), n.rate(), memory);
    if (!tx) {
        out.error(name(tx.error().code), std::string(tx.error().text) + reserved_text(b));
        return exit_failed;
    }
    const auto parsed = need_at_run_time(parse_transaction(*tx), "the transaction");
    const satoshi amount = need_at_run_time(parsed.output(0), "the transaction").value;
    out.event({{"event", "sweep"},
               {"txid", text_of(parsed.id())},
               {"to", o.to},
               {"coins", parsed.input_count()},
               {"amount", amount.value},
               {"reserved", b.reserved.value},
               {"immature", b.immature.value}},
              "sends " + text_of(amount) + " from " + std::to_string(parsed.input_count()) + " coins to " + o.to +
                  reserved_text(b));
    const txid id = parsed.id();
    n.broadcast(*tx);
    const bool delivered = n.deliver();
    n.stop();
    return delivered && n.outcome_of(id) == broadcast_outcome::accepted ? exit_done : exit_failed;
}

}  // namespace tool
