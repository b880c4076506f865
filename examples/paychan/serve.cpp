// paychan serve: take payments over TCP, settle every channel before its expiry, until Ctrl-C.
#include "channel_events.hpp"
#include "node.hpp"
#include "paychan/asio/tcp_server.hpp"
#include "paychan/book.hpp"
#include "paychan/channel/multisig_refund.hpp"
#include "paychan/protobuf/codec.hpp"

namespace tool {

using namespace paychan;

namespace {

/// Hears the drivers and the book, and answers the book's questions about live connections.
struct serve_events {
    report& out;
    std::function<void(const event&)> to_book;
    std::function<bool(const txid&)> attached;
    std::function<bool(const txid&)> settle;
    std::function<void(const txid&, const txid&)> detach;

    void on_event(const event& e) {
        report_event(out, e);
        if (to_book) to_book(e);
        if (detach && e.kind == event_kind::confirmed) detach(e.channel, e.closing);
    }
    bool is_attached(const txid& channel) { return attached && attached(channel); }
    bool settle_attached(const txid& channel) { return settle && settle(channel); }
};

/// Takes payments until Ctrl-C.
template <class Book, class Server>
int run(node& n, report& out, serve_events& events, Book& book, Server& server, const std::string& host) {
    server.on_fee_rate(n.rate());
    events.attached = [&](const txid& channel) { return server.is_attached(channel); };
    events.settle = [&](const txid& channel) { return server.settle_attached(channel); };
    events.detach = [&](const txid& channel, const txid& closing) { server.detach(channel, closing); };
    n.hooks().broadcast = [&](const txid& id, broadcast_outcome how, std::string_view why) {
        server.on_broadcast(id, how, why);
        book.on_broadcast(id, how, why);
    };
    n.hooks().fee_rate = [&](fee_rate rate) {
        book.on_fee_rate(rate);
        server.on_fee_rate(rate);
    };
    out.event({{"event", "listening"}, {"host", host}, {"port", server.port()}, {"channels", book.size()}},
              "listening on " + host + ":" + std::to_string(server.port()) + ", " + std::to_string(book.size()) +
                  " stored channels; end it with Ctrl-C, and start it again before they expire");
    n.every_second([&] { book.tick(n.clock().now()); });
    n.run_until([] { return false; });

    const bool asked = n.stopping();
    server.stop();
    n.stop();
    n.io().restart();
    n.io().run_for(std::chrono::seconds(3));  // the last frames
    n.hooks() = {};
    events.attached = events.settle = nullptr;
    events.detach = nullptr;
    out.event({{"event", "stopped"}}, "stopped");
    return asked ? exit_done : exit_failed;
}

}  // namespace

int run_serve(const options& o) {
    report out(o.json);
    const host_and_port at = parse_host_and_port(o.listen, "--listen");
    boost::system::error_code bad;
    const auto address = boost::asio::ip::make_address(at.host, bad);
    if (bad)
        throw usage_error{"--listen needs an IP address of this machine, for example 127.0.0.1:4242 or 0.0.0.0:4242"};
    if (o.min_window > o.max_window) throw usage_error{"--min-window must not be more than --max-window"};

    server_settings settings;
    settings.min_channel = satoshi{o.min_channel};
    settings.min_payment = satoshi{o.min_payment};
    settings.min_window = o.min_window;
    settings.max_window = o.max_window;

    node n(o, out, {store_access::create, true, true, 32});
    serve_events events{out, {}, {}, {}, {}};
    server_book book(contracts<multisig_refund>{}, n.store(), n.keys(), n.wallet(), n, events, settings);
    if (const auto loaded = book.load(); !loaded) throw run_error{"--store: " + n.store().last_error()};
    events.to_book = [&](const event& e) { book.on_event(e); };

    n.hooks().block = [&](const connected_block& b) { book.on_block(b); };
    n.hooks().block_disconnected = [&](std::int32_t height) { book.on_block_disconnected(height); };
    n.hooks().fee_rate = [&](fee_rate rate) { book.on_fee_rate(rate); };
    book.on_fee_rate(n.rate());
    if (!n.catch_up()) return n.stopping() ? exit_done : exit_failed;
    n.count_seen_keys();

    asio::tcp_server_settings tcp;
    tcp.channel = settings;
    try {
        asio::tcp_server server(n.io().get_executor(), boost::asio::ip::tcp::endpoint(address, at.port),
                                contracts<multisig_refund>{}, n.clock(), n.keys(), n.store(), n.wallet(), n, events,
                                tcp, asio::use_codec<protobuf_codec>{});
        return run(n, out, events, book, server, at.host);
    } catch (const boost::system::system_error& e) {
        throw run_error{"cannot listen on " + o.listen + ": " + e.code().message()};
    }
}

}  // namespace tool
