// paychan pay: open a channel, make payments, and settle if asked to.
#include "channel_events.hpp"
#include "node.hpp"
#include "paychan/asio/tcp_client.hpp"
#include "paychan/channel/multisig_refund.hpp"
#include "paychan/protobuf/codec.hpp"

namespace tool {

using namespace paychan;

namespace {

struct pay_events {
    report& out;
    void on_event(const event& e) { report_event(out, e); }
};

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
bool make_payments(Client& payer, node& n, report& out, const options& o) {
    for (std::uint64_t i = 0; i < o.payments; ++i) {
        if (out.as_json()) out.event({{"event", "payment"}, {"number", i + 1}, {"amount", o.amount}}, {});
        const auto acked =
            wait<asio::receipt>(n, [&](auto done) { payer.async_pay(satoshi{o.amount}, std::move(done)); });
        if (!acked) return false;
        if (!*acked) {
            out.error(acked->error());
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
    node n(o, out, store_access::create);
    if (n.prints()) throw usage_error{"pay needs a node to find its coins: --chain rpc:http://USER:PASS@HOST:PORT"};
    if (!n.catch_up()) return exit_failed;

    pay_events events{out};
    asio::tcp_client_settings settings;
    settings.channel.time_window = o.window;
    int status = exit_failed;
    {
        asio::tcp_client payer(n.io().get_executor(), contracts<multisig_refund>{}, n.clock(), n.keys(), n.store(),
                               n.wallet(), n, events, settings, asio::use_codec<protobuf_codec>{});
        payer.on_fee_rate(n.rate());
        channel_label label;
        (void)label.assign({reinterpret_cast<const std::uint8_t*>(o.connect.data()),
                            std::min(o.connect.size(), channel_label::capacity())});
        const auto opened = wait<channel_record>(n, [&](auto done) {
            payer.async_open(to.host, std::to_string(to.port), satoshi{o.channel}, label, std::move(done));
        });
        if (opened && *opened) {
            bool good = make_payments(payer, n, out, o);
            if (good && o.settle) {
                const auto settled = wait<asio::settlement>(n, [&](auto done) { payer.async_settle(std::move(done)); });
                good = settled && *settled;
                if (settled && !*settled) out.error(settled->error());
            }
            const channel_record& record = payer.record();
            out.say("paid " + text_of(record.paid()) + " of " + text_of(record.terms.value) + " on channel " +
                    text_of(record.terms.contract.id));
            if (!o.settle)
                out.say("if the server does not settle, `paychan refund` takes the rest back after " +
                        text_of(record.terms.expiry));
            status = good ? exit_done : exit_failed;
        } else if (opened) {
            out.error(opened->error());
        }
        payer.disconnect();
        n.run_until([&] { return !payer.connected(); }, std::chrono::seconds(3));
    }
    n.stop();
    return status;
}

}  // namespace tool
