// paychan pay: open a channel, make payments, and settle if asked to.
#include "node.hpp"
#include "paychan/asio/tcp_client.hpp"
#include "paychan/channel/resumable.hpp"
#include "paychan/client_monitor.hpp"
#include "paychan/protobuf/codec.hpp"
#include "versions.hpp"

namespace tool {

namespace {

/// Reports events; of a failure, which is an event and the outcome of an operation too, only one error.
struct pay_events {
    report& out;
    std::function<std::int32_t()> protocol{};  // of the channel
    std::optional<txid> resuming{};
    bool opened = false;
    bool settled = false;
    bool failed = false;
    std::string last_info{};  // of an ack

    void on_event(const event& e) {
        if (e.kind == event_kind::opened) return on_opened(e);
        if (e.kind == event_kind::error) {
            // What is short is told by run_pay, which knows more about it.
            if (e.problem.code == errc::insufficient_funds || std::exchange(failed, true)) return;
            return report_event(out, e, 0, advice(e.problem.code));
        }
        settled = settled || e.kind == event_kind::settled;
        // People are told of an ack's info when it changes.
        if (e.kind == event_kind::acked)
            if (std::string info = hex_of(e.data); std::exchange(last_info, info) == info && !out.as_json()) return;
        report_event(out, e);
    }

    void on_opened(const event& e) {
        opened = true;
        const bool resumed = resuming && *resuming == e.channel;
        out.event({{"event", "opened"},
                   {"channel", text_of(e.channel)},
                   {"paid", e.total.value},
                   {"resumed", resumed},
                   {"protocol", protocol()}},
                  (resumed ? "resumed channel " : "opened channel ") + text_of(e.channel) + " (version " +
                      std::to_string(protocol()) + "), paid so far " + text_of(e.total));
    }

    /// What the user may do where the channel did not open.
    [[nodiscard]] std::string advice(errc code) const {
        if (opened) return {};
        if (resuming) return "--new opens another channel";
        if (code == errc::no_acceptable_version) return "--version says which to ask for";
        return {};
    }

    /// The outcome of an operation.
    void failure(const error& e, const std::string& more = {}) {
        if (std::exchange(failed, true)) return;
        const std::string todo = advice(e.code);
        out.error(e, {}, more + (todo.empty() ? "" : "; " + todo));
    }
};

/// The stored channel with this server to go on with.
/// out  hears of one with another version
std::optional<txid> resumable(node& n, report* out, const options& o, version_set allowed) {
    const auto found = find_resumable(need_stored(load_channels(n.store(), channel_role::client), n.store()),
                                      {label_of(o.connect), allowed, satoshi{o.amount}, o.payments,
                                       std::max(n.clock().now(), n.median_time()) + least_resumed_life});
    if (found.best) return found.best->terms.contract.id;
    if (found.other_version && out != nullptr) {
        const std::string id = text_of(found.other_version->terms.contract.id);
        const std::int32_t version = found.other_version->protocol;
        out->event({{"event", "not_resumed"}, {"channel", id}, {"protocol", version}},
                   "channel " + id + " could go on, but it has version " + std::to_string(version) +
                       ", and --version is " + o.version + ": opening another");
    }
    return std::nullopt;
}

/// The file of a channel that was opened without --export-folder, or a newer one.  What cannot be written is told: the
/// channel goes on, for its store is there.  False: there is no such file.
bool keep_export(node& n, report& out, const txid& channel, const options& o) {
    std::string why;
    const auto kept =
        export_channel<schemes>(n.store(), channel_role::client, channel, network_of(o), o.export_folder, why);
    const bool good = kept || kept.error().code == errc::stale_record;
    if (!good) out.error(name(kept.error().code), why + "; the channel goes on without the file");
    return good;
}

/// What to do about a wallet that cannot fund the channel.
std::string about_shortage(const wallet_balance& b, const options& o) {
    std::string out = reserved_text(b);
    const std::int64_t other = o.legacy ? b.confirmed.value - b.p2pkh.value : b.p2pkh.value;
    if (other > 0)
        out += "; `paychan sweep` with `--to` an address of `paychan address" +
               std::string(o.legacy ? " --legacy" : "") + "` turns " + text_of(satoshi{other}) +
               (o.legacy ? " of SegWit coins" : " of P2PKH coins") + " into coins that do";
    return out;
}

/// The payments, one after the other.  False: one failed, and was reported.
template <class Client>
bool make_payments(Client& payer, node& n, report& out, pay_events& events, const options& o, bytes_view info) {
    for (std::uint64_t i = 0; i < o.payments; ++i) {
        if (out.as_json()) out.event({{"event", "payment"}, {"number", i + 1}, {"amount", o.amount}}, {});
        const auto acked =
            n.wait_for<asio::receipt>([&](auto done) { payer.async_pay(satoshi{o.amount}, info, std::move(done)); });
        if (!acked) return false;
        if (!*acked && !events.settled) events.failure(acked->error());
        if (!*acked && events.settled)
            events.failure({errc::wrong_state, "the server settled the channel"},
                           " after " + std::to_string(i) + " of " + std::to_string(o.payments) +
                               " payments: pay the rest over another");
        if (!*acked) return false;
        out.progress("payment", i + 1, o.payments);
    }
    return true;
}

}  // namespace

int run_pay(const options& o, report& out) {
    const auto to = parse_host_and_port(o.connect, "--connect");
    const version_set versions = versions_to_ask(o.version, o.legacy);
    const std::vector<std::uint8_t> info = info_of(o.info, "--info");
    node n(o, out, {store_access::create, "pay needs a node to find its coins"});
    // What the server settled while we were away is not to be resumed: the blocks tell.
    ignore_events nobody;
    client_monitor monitor(schemes{}, n.store(), n.keys(), n.wallet(), n, nobody, {}, n.budget());
    keeper keep(n.store(), n.keys(), n.wallet(), n, n.clock(), n.keeping(), monitor);
    pay_events events{out};
    asio::tcp_client_settings settings;
    settings.channel.time_window = o.window;
    settings.channel.max_min_payment = satoshi{o.max_first_payment};
    settings.channel.versions = versions;
    int status = exit_failed;
    {
        asio::tcp_client payer(n.io().get_executor(), schemes{}, n.clock(), n.keys(), n.store(), n.wallet(), n, events,
                               settings, asio::use_codec<protobuf_codec>{});
        events.protocol = [&] { return payer.record().protocol; };
        n.start(keep);
        n.join(payer);
        // A channel goes on at once; another one is paid for from coins that blocks must tell of.
        if (!o.new_channel && keep.knows_coins()) events.resuming = resumable(n, nullptr, o, versions);
        if (!events.resuming) {
            if (!n.catch_up()) return exit_failed;
            if (!o.new_channel) events.resuming = resumable(n, &out, o, versions);
        }
        // Change of contracts that are in no block counts when the node says that it has them.
        if (!events.resuming && n.wallet().balance().unconfirmed.value > 0) {
            monitor.tick(n.clock().now());
            if (!n.deliver()) return exit_failed;
        }
        const bool exported = !events.resuming || o.export_folder.empty() || keep_export(n, out, *events.resuming, o);
        const auto open = [&] {
            return n.wait_for<channel_record>([&](auto done) {
                if (events.resuming)
                    payer.async_resume(to.host, std::to_string(to.port), *events.resuming, satoshi{o.channel},
                                       std::move(done));
                else
                    payer.async_open(to.host, std::to_string(to.port), satoshi{o.channel}, label_of(o.connect),
                                     std::move(done));
            });
        };
        auto opened = open();
        // The server wants another channel, and the coins for it are in blocks that are still being read.
        if (opened && !*opened && opened->error().code == errc::insufficient_funds && !keep.caught_up()) {
            if (!n.catch_up()) return exit_failed;
            opened = open();
        }
        if (opened && *opened) {
            bool good = make_payments(payer, n, out, events, o, info);
            if (good && o.settle && !events.settled) {
                const auto settled =
                    n.wait_for<asio::settlement>([&](auto done) { payer.async_settle(std::move(done)); });
                good = settled && *settled;
                if (settled && !*settled) events.failure(settled->error());
            }
            const channel_record& record = payer.record();
            if (good || !events.settled)
                out.say("paid " + text_of(record.paid()) + " of " + text_of(record.terms.value) + " on channel " +
                        text_of(record.terms.contract.id));
            if (!events.settled)
                out.say("if the server does not settle, `paychan refund` takes the rest back after " +
                        text_of(record.terms.expiry));
            status = good && exported ? exit_done : exit_failed;
        } else if (opened) {
            const bool is_short = opened->error().code == errc::insufficient_funds;
            events.failure(opened->error(), is_short ? about_shortage(n.wallet().balance(), o) : "");
        }
        payer.disconnect();
        n.run_until([&] { return !payer.connected(); }, std::chrono::seconds(3));
    }
    n.stop();
    return status;
}

}  // namespace tool
