// paychan settle, refund, abandon, sweep: bring home what is due, and what nobody takes, with nobody connected.
#include <algorithm>

#include "node.hpp"
#include "paychan/client_monitor.hpp"
#include "paychan/server_monitor.hpp"
#include "versions.hpp"

namespace tool {

namespace {

struct listener {
    report& out;
    bool failed = false;
    void on_event(const event& e) {
        const std::string channel = text_of(e.channel);
        // What the network takes at a fee that its budget cuts short is on its way; what it does not take is told as undone.
        if (e.kind == event_kind::error && e.problem.code == errc::insufficient_funds)
            out.error(e.problem, "channel " + channel + ": ");
        else if (e.kind == event_kind::error)
            failure(e.problem, e.channel);
        else if (e.kind == event_kind::settled)
            out.event({{"event", "settled"},
                       {"channel", channel},
                       {"txid", text_of(e.closing)},
                       {"paid", e.total.value},
                       {"hex", hex_of(e.data)}},
                      "settled " + channel + " with " + text_of(e.closing));
        else if (e.kind == event_kind::refunding)
            out.event({{"event", "refunding"}, {"channel", channel}}, "took the refund of " + channel);
        else if (e.kind == event_kind::taken_back || (e.kind == event_kind::confirmed && e.closing == txid{}))
            report_event(out, e);
    }
    void failure(const error& e, const txid& channel) {
        failed = true;
        out.error(e, "channel " + text_of(channel) + ": ");
    }
};

/// Has the monitor bring home what is due, says what still waits, and tells the exit status: 0 only if all that is due is
/// in a block or on its way there.
/// more    what is to be done besides, and delivered; false: it did not reach the network
/// wanted  which of the channels that are not over were to come home now
/// due     when the others do
/// over    which need nothing any more
template <class Monitor, class More, class Wanted, class Due, class Over>
int bring_home(node& n, report& out, const listener& heard, Monitor& monitor, const char* what, More more,
               Wanted wanted, Due due, Over over) {
    constexpr channel_role role = Monitor::role;
    keeper keep(n.store(), n.keys(), n.wallet(), n, n.clock(), n.keeping(), monitor);
    n.start(keep);
    if (!n.catch_up()) return exit_failed;
    if (role == channel_role::client && n.prints())
        out.say("there is no node to ask: the chain's time is taken to be two hours ago, " + text_of(n.median_time()));
    monitor.tick(n.clock().now());  // what is due, and what was made before and is not mined
    const bool delivered = more();
    std::size_t waiting = 0, undone = 0;
    const auto all = need_stored(load_channels(n.store(), role), n.store());
    for (const channel_record& r : all) {
        if (r.closing_height != 0 || over(r)) continue;
        const std::string id = text_of(r.terms.contract.id);
        if (wanted(r)) {
            if (n.has_taken_spend_of(r.terms.contract)) continue;
            ++undone;
            out.event({{"event", "undone"}, {"channel", id}}, id + ": the network has not taken what brings it home");
            continue;
        }
        ++waiting;
        out.event(
            {{"event", "waiting"}, {"channel", id}, {"due", due(r).seconds}, {"chain_time", n.median_time().seconds}},
            id + ": " + what + " possible after " + text_of(due(r)) + "; the chain's time is " +
                text_of(n.median_time()));
    }
    n.stop();
    if (!delivered || heard.failed || undone > 0) return exit_failed;
    if (all.empty()) out.say("no channels");
    return waiting == 0 ? exit_done : exit_not_due;
}

/// The other side may have payments on what was open, and on what was closed with a settlement; not on another.
bool may_be_claimed(const channel_record& r) {
    return r.stage == channel_stage::open || (r.stage == channel_stage::settling && r.closing != txid{});
}

template <class Monitor>
void abandon_one(node& n, report& out, listener& heard, Monitor& monitor, const txid& id) {
    const auto record = load_record(n.store(), record_kind::client_channel, id);
    if (!record) return heard.failure(record.error(), id);
    if (monitor.is_over(id))
        return out.event({{"event", "over"}, {"channel", text_of(id)}}, "channel " + text_of(id) + " is over already");
    if (may_be_claimed(*record)) {  // then the node is asked, by giving it the contract
        std::vector<std::uint8_t> memory(max_contract_size);
        const auto asked = detail::broadcast_stored(record_kind::client_contract, id, n.store(), n, memory);
        if (!asked) return heard.failure(asked.error(), id);
        heard.failed = !n.deliver() || heard.failed;
        if (!n.outcome_of(id) || n.outcome_of(id) == broadcast_outcome::unreachable) return;
        if (n.outcome_of(id) == broadcast_outcome::accepted)
            return heard.failure(
                {errc::wrong_state,
                 "the network takes its contract, so it is not given up: `paychan pay --settle` ends it, "
                 "or `paychan refund` after its expiry"},
                id);
    }
    const auto back = monitor.abandon(id);
    if (!back) return heard.failure(back.error(), id);
    if (n.deliver() && n.outcome_of(*back) == broadcast_outcome::accepted) return;
    heard.failure({errc::other,
                   "the network has not taken what sends its coins back: run this again, or `paychan refund` after its "
                   "expiry"},
                  id);
}

/// What a sweep does not take; empty if nothing.
std::string left_text(const wallet_balance& b) {
    std::string out = reserved_text(b);
    if (b.confirmed.value > 0) out += "; " + text_of(b.confirmed) + " are not worth the fee of sending them";
    if (b.immature.value > 0) out += "; " + text_of(b.immature) + " were mined less than 100 blocks ago";
    return out;
}

}  // namespace

int run_settle(const options& o, report& out) {
    node n(o, out, {.passes_pruned = true, .brings_home = true});
    listener heard{out};
    server_settings settings;
    settings.fees = n.budget();
    server_monitor monitor(schemes{}, n.store(), n.keys(), n.wallet(), n, heard, settings);
    const auto settle_all = [&](const auto& which) {
        for (const channel_record& r : need_stored(load_channels(n.store(), channel_role::server), n.store()))
            if (which(r))
                if (const auto settled = monitor.settle(r.terms.contract.id); !settled)
                    heard.failure(settled.error(), r.terms.contract.id);
    };
    const auto settling = [](const channel_record& r) { return r.stage == channel_stage::settling; };
    const auto more = [&] {
        if (o.all)
            settle_all([](const channel_record& r) {
                return r.stage == channel_stage::open || r.stage == channel_stage::unbacked;
            });
        return n.deliver();
    };
    return bring_home(
        n, out, heard, monitor, "settled by itself, or now with --all;", more, settling,
        [&](const channel_record& r) { return settlement_deadline(r, settings); },
        [](const channel_record&) { return false; });
}

int run_refund(const options& o, report& out) {
    node n(o, out, {.passes_pruned = true, .brings_home = true});
    listener heard{out};
    client_monitor monitor(schemes{}, n.store(), n.keys(), n.wallet(), n, heard, {}, n.budget());
    const auto is_due = [&](const channel_record& r) { return refund_is_due(r, n.median_time()); };
    const auto more = [&] {
        std::vector<std::uint8_t> memory(wire::max_frame_size);
        if (o.early)  // else what is due waits for no list
            for (const channel_record& r : need_stored(load_channels(n.store(), channel_role::client), n.store()))
                if (r.closing_height == 0 && !is_due(r))
                    (void)detail::broadcast_stored(record_kind::client_refund, r.terms.contract.id, n.store(), n,
                                                   memory);
        return n.deliver();
    };
    return bring_home(
        n, out, heard, monitor, "refund", more, [&](const channel_record& r) { return o.early || is_due(r); },
        [](const channel_record& r) { return r.terms.expiry; },
        [&](const channel_record& r) { return monitor.is_over(r.terms.contract.id); });
}

int run_abandon(const options& o, report& out) {
    std::vector<txid> channels;
    for (const std::string& text : o.channels) channels.push_back(need(parse_txid(text), "CHANNEL " + text));
    node n(o, out, {.needs_node = "abandon needs a node that says what it has", .passes_pruned = true});
    listener heard{out};
    client_monitor monitor(schemes{}, n.store(), n.keys(), n.wallet(), n, heard, {}, n.budget());
    keeper keep(n.store(), n.keys(), n.wallet(), n, n.clock(), n.keeping(), monitor);
    n.start(keep);
    if (!n.catch_up()) return exit_failed;
    for (const txid& id : channels) abandon_one(n, out, heard, monitor, id);
    n.stop();
    return heard.failed ? exit_failed : exit_done;
}

int run_sweep(const options& o, report& out) {
    const network net = network_of(o);
    const auto to = need(script_of_address(o.to, net), "--to");
    node n(o, out, {store_access::create, "sweep needs a node to find the coins"});
    keeper keep(n.store(), n.keys(), n.wallet(), n, n.clock(), n.keeping());
    n.start(keep);
    if (!n.catch_up()) return exit_failed;
    const wallet_balance before = n.wallet().balance();
    std::vector<std::uint8_t> memory(100'000);  // [bytes] what nodes relay
    std::vector<txid> sent;
    bool delivered = true;
    while (true) {
        const auto tx = n.wallet().sweep(to.view(), n.rate(), memory);
        const bool all = !tx && tx.error().code == errc::insufficient_funds && !sent.empty();
        if (all) break;
        if (!tx) {
            out.error(tx.error(), {}, left_text(before));
            delivered = false;
            break;
        }
        const auto parsed = need_at_run_time(parse_transaction(*tx), "the transaction");
        const satoshi amount = need_at_run_time(parsed.output(0), "the transaction").value;
        sent.push_back(parsed.id());
        out.event({{"event", "sweep"},
                   {"txid", text_of(parsed.id())},
                   {"to", o.to},
                   {"coins", parsed.input_count()},
                   {"amount", amount.value},
                   {"reserved", before.reserved.value},
                   {"immature", before.immature.value}},
                  "sends " + text_of(amount) + " from " + std::to_string(parsed.input_count()) + " coins to " + o.to);
        n.broadcast(*tx);
    }
    if (sent.empty()) return exit_failed;
    wallet_balance left = before;
    left.confirmed = n.wallet().balance().confirmed;
    if (const std::string text = left_text(left); delivered && !text.empty())
        out.event({{"event", "left"},
                   {"dust", left.confirmed.value},
                   {"reserved", left.reserved.value},
                   {"immature", left.immature.value}},
                  "left behind" + text);
    delivered = n.deliver() && delivered;
    n.stop();
    const auto accepted = [&](const txid& id) { return n.outcome_of(id) == broadcast_outcome::accepted; };
    return delivered && std::ranges::all_of(sent, accepted) ? exit_done : exit_failed;
}

}  // namespace tool
