// paychan pay: open a channel, make payments, and settle if asked to.
#include "channel_events.hpp"
#include "node.hpp"
#include "paychan/asio/tcp_client.hpp"
#include "paychan/book.hpp"
#include "paychan/channel/multisig_refund.hpp"
#include "paychan/protobuf/codec.hpp"

namespace tool {

using namespace paychan;

namespace {

/// Reports events; of a failure, which is an event and the outcome of an operation too, only one error.
struct pay_events {
    report& out;
    std::optional<txid> resuming{};
    bool failed = false;

    void on_event(const event& e) {
        if (e.kind == event_kind::error) {
            if (failed) return;
            failed = true;
            // What is short is told by run_pay, which knows more about it.
            if (e.problem.code == errc::insufficient_funds)
                failed = false;
            else
                report_event(out, e);
        } else if (e.kind == event_kind::opened) {
            const bool resumed = resuming && *resuming == e.channel;
            out.event(
                {{"event", "opened"}, {"channel", text_of(e.channel)}, {"paid", e.total.value}, {"resumed", resumed}},
                (resumed ? "resumed channel " : "opened channel ") + text_of(e.channel) + ", paid so far " +
                    text_of(e.total));
        } else {
            report_event(out, e);
        }
    }

    /// The outcome of an operation.
    void failure(const error& e, const std::string& more = {}) {
        if (!std::exchange(failed, true)) out.error(name(e.code), std::string(e.text) + more);
    }
};

channel_label label_of(const std::string& server) {
    channel_label label;
    (void)label.assign(
        {reinterpret_cast<const std::uint8_t*>(server.data()), std::min(server.size(), channel_label::capacity())});
    return label;
}

/// The stored channel with this server that lives longest, of those that can bear what is to be paid.
std::optional<txid> resumable(node& n, const options& o) {
    // The server settles 2 hours before the expiry, and the first payments should not come to nothing.
    constexpr std::int64_t least_life = 7'200 + 1'200;
    const channel_label label = label_of(o.connect);
    std::optional<txid> best;
    unix_time longest = n.clock().now() + least_life;
    for (const channel_record& r : load_all(n.store(), record_kind::client_channel)) {
        const bool alive = r.stage == channel_stage::open || r.stage == channel_stage::contract_stored;
        const auto amount = static_cast<std::uint64_t>(o.amount);
        const bool enough = static_cast<std::uint64_t>(r.change.value) / amount >= o.payments;
        if (!alive || !enough || r.terms.expiry <= longest || !equal(r.label.view(), label.view())) continue;
        longest = r.terms.expiry;
        best = r.terms.contract.id;
    }
    return best;
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

/// Runs the loop until an operation completes.  Nothing: stopped by Ctrl-C.
template <class T, class Start>
std::optional<result<T>> wait(node& n, Start start) {
    std::optional<result<T>> done;
    start([&done](result<T> r) { done = std::move(r); });
    n.run_until([&] { return done.has_value(); });
    return done;
}

/// The payments, one after the other.  False: one failed, and was reported.
template <class Client>
bool make_payments(Client& payer, node& n, report& out, pay_events& events, const options& o) {
    for (std::uint64_t i = 0; i < o.payments; ++i) {
        if (out.as_json()) out.event({{"event", "payment"}, {"number", i + 1}, {"amount", o.amount}}, {});
        const auto acked =
            wait<asio::receipt>(n, [&](auto done) { payer.async_pay(satoshi{o.amount}, std::move(done)); });
        if (!acked) return false;
        if (!*acked) {
            events.failure(acked->error());
            return false;
        }
        out.progress("payment", i + 1, o.payments);
    }
    return true;
}

}  // namespace

int run_pay(const options& o) {
    report out(o.json);
    const host_and_port to = parse_host_and_port(o.connect, "--connect");
    node n(o, out, {store_access::create});
    if (n.prints()) throw usage_error{"pay needs a node to find its coins: --chain rpc:http://USER:PASS@HOST:PORT"};
    // What the server settled while we were away is not to be resumed: the blocks tell.
    ignore_events nobody;
    client_book book(n.store(), n, nobody);
    if (!book.load()) throw run_error{"--store: " + n.store().last_error()};
    n.hooks().block = [&](const connected_block& b) { book.on_block(b); };
    n.hooks().block_disconnected = [&](std::int32_t height) { book.on_block_disconnected(height); };
    if (!n.catch_up()) return exit_failed;
    n.count_seen_keys();

    pay_events events{out};
    asio::tcp_client_settings settings;
    settings.channel.time_window = o.window;
    settings.channel.max_min_payment = satoshi{o.max_first_payment};
    int status = exit_failed;
    {
        asio::tcp_client payer(n.io().get_executor(), contracts<multisig_refund>{}, n.clock(), n.keys(), n.store(),
                               n.wallet(), n, events, settings, asio::use_codec<protobuf_codec>{});
        payer.on_fee_rate(n.rate());
        if (!o.new_channel) events.resuming = resumable(n, o);
        const auto opened = wait<channel_record>(n, [&](auto done) {
            if (events.resuming)
                payer.async_resume(to.host, std::to_string(to.port), *events.resuming, satoshi{o.channel},
                                   std::move(done));
            else
                payer.async_open(to.host, std::to_string(to.port), satoshi{o.channel}, label_of(o.connect),
                                 std::move(done));
        });
        if (opened && *opened) {
            bool good = make_payments(payer, n, out, events, o);
            if (good && o.settle) {
                const auto settled = wait<asio::settlement>(n, [&](auto done) { payer.async_settle(std::move(done)); });
                good = settled && *settled;
                if (settled && !*settled) events.failure(settled->error());
            }
            const channel_record& record = payer.record();
            out.say("paid " + text_of(record.paid()) + " of " + text_of(record.terms.value) + " on channel " +
                    text_of(record.terms.contract.id));
            if (!o.settle)
                out.say("if the server does not settle, `paychan refund` takes the rest back after " +
                        text_of(record.terms.expiry));
            status = good ? exit_done : exit_failed;
        } else if (opened) {
            const error& e = opened->error();
            std::string more;
            if (e.code == errc::insufficient_funds) more = about_shortage(n.wallet().balance(), o);
            if (events.resuming) more += "; --new opens another channel";
            events.failure(e, more);
        }
        payer.disconnect();
        n.run_until([&] { return !payer.connected(); }, std::chrono::seconds(3));
    }
    n.stop();
    return status;
}

}  // namespace tool
