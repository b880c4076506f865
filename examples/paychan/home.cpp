// paychan settle, refund: bring home what is due with nobody connected, and say when the rest will be.
#include "node.hpp"
#include "paychan/book.hpp"
#include "paychan/channel/multisig_refund.hpp"

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

std::vector<channel_record> load_all(sqlite_store& store, record_kind kind) {
    std::vector<txid> ids;
    if (!store.list(kind, [&](const record_id& id) { ids.push_back(id.channel); }))
        throw usage_error{"--store: " + store.last_error()};
    std::vector<channel_record> out;
    for (const txid& id : ids)
        if (const auto record = load_record(store, kind, id)) out.push_back(*record);
    return out;
}

/// Lets the broadcasts end, says what still waits, and tells the exit status.
/// due  when a channel that is not over yet comes home
template <class Due>
int finish(node& n, report& out, const listener& heard, record_kind kind, const char* what, Due due) {
    constexpr std::chrono::seconds patience{60};
    if (!n.run_until([&] { return n.broadcasts_under_way() == 0; }, patience))
        out.error("unreachable", "the node did not answer: run this again");
    const bool answered = n.broadcasts_under_way() == 0;
    std::size_t waiting = 0, over = 0;
    for (const channel_record& r : load_all(n.store(), kind)) {
        if (r.closing_height != 0) {
            ++over;
            continue;
        }
        const unix_time when = due(r);
        const bool is_due = kind == record_kind::client_channel ? refund_is_due(r, n.median_time())
                                                                : r.stage == channel_stage::settling;
        if (is_due) continue;
        ++waiting;
        out.event({{"event", "waiting"},
                   {"channel", text_of(r.terms.contract.id)},
                   {"due", when.seconds},
                   {"chain_time", n.median_time().seconds}},
                  text_of(r.terms.contract.id) + ": " + what + " possible after " + text_of(when) +
                      "; the chain's time is " + text_of(n.median_time()));
    }
    n.stop();
    if (!answered || heard.failed || n.any_refused()) return exit_failed;
    if (waiting == 0 && over == 0 && load_all(n.store(), kind).empty()) out.say("no channels");
    return waiting == 0 ? exit_done : exit_not_due;
}

}  // namespace

int run_settle(const options& o) {
    report out(o.json);
    node n(o, out, store_access::existing);
    listener heard{out};
    server_settings settings;
    server_book book(contracts<multisig_refund>{}, n.store(), n.keys(), n.wallet(), n, heard, settings);
    if (const auto loaded = book.load(); !loaded) throw usage_error{"--store: " + n.store().last_error()};
    n.hooks().block = [&](const connected_block& b) { book.on_block(b); };
    n.hooks().block_disconnected = [&](std::int32_t height) { book.on_block_disconnected(height); };
    n.hooks().broadcast = [&](const txid& id, broadcast_outcome how, std::string_view why) {
        book.on_broadcast(id, how, why);
    };
    n.hooks().fee_rate = [&](fee_rate rate) { book.on_fee_rate(rate); };
    if (!n.catch_up()) return exit_failed;
    book.on_fee_rate(n.rate());
    if (o.all)
        for (const channel_record& r : load_all(n.store(), record_kind::server_channel))
            if (r.stage == channel_stage::open)
                if (const auto settled = book.settle(r.terms.contract.id); !settled) {
                    heard.failed = true;
                    out.error(name(settled.error().code),
                              "channel " + text_of(r.terms.contract.id) + ": " + std::string(settled.error().text));
                }
    book.tick(n.clock().now());
    return finish(n, out, heard, record_kind::server_channel, "settled by itself, or now with --all;",
                  [&](const channel_record& r) { return settlement_deadline(r, settings); });
}

int run_refund(const options& o) {
    report out(o.json);
    node n(o, out, store_access::existing);
    listener heard{out};
    client_book book(n.store(), n, heard);
    if (const auto loaded = book.load(); !loaded) throw usage_error{"--store: " + n.store().last_error()};
    n.hooks().block = [&](const connected_block& b) { book.on_block(b); };
    n.hooks().block_disconnected = [&](std::int32_t height) { book.on_block_disconnected(height); };
    if (!n.catch_up()) return exit_failed;
    book.tick();
    if (o.early) {
        std::vector<std::uint8_t> memory(wire::max_frame_size);
        for (const channel_record& r : load_all(n.store(), record_kind::client_channel))
            if (r.closing_height == 0 && !refund_is_due(r, n.median_time()))
                (void)detail::broadcast_stored(record_kind::client_refund, r.terms.contract.id, n.store(), n, memory);
    }
    return finish(n, out, heard, record_kind::client_channel, "refund",
                  [](const channel_record& r) { return r.terms.expiry; });
}

}  // namespace tool
