// A world for the tests of asio/: a chain, both sides' policies in memory, real sockets on 127.0.0.1, and a raw peer.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/read.hpp>
#include <catch2/catch.hpp>
#include <functional>
#include <string>
#include <vector>

#include "paychan/asio/tcp_client.hpp"
#include "paychan/asio/tcp_server.hpp"
#include "paychan/memory/chain_follower.hpp"
#include "paychan/memory/clock.hpp"
#include "paychan/memory/keys.hpp"
#include "paychan/memory/store.hpp"
#include "paychan/memory/wallet.hpp"

namespace paychan::asio::testing {

using namespace std::chrono_literals;
using bytes = std::vector<std::uint8_t>;

/// Counts its commits, and fails when it is told to.
struct counting_store {
    memory_store records;
    int commits = 0;
    int fail_next = 0;           // so many commits fail, whatever is in them
    std::optional<txid> broken;  // commits with a record of this channel fail
    std::size_t largest = 0;     // records in one commit

    result<void> put(const record_id& id, std::uint64_t version, bytes_view b) {
        const put_request one{id, version, b};
        return put_many({&one, 1});
    }
    result<void> put_many(std::span<const put_request> batch) {
        ++commits;
        largest = std::max(largest, batch.size());
        if (fail_next > 0) {
            --fail_next;
            return fail(errc::store_failed, "told to fail");
        }
        for (const put_request& r : batch)
            if (broken && r.id.channel == *broken) return fail(errc::store_failed, "told to fail for this channel");
        return records.put_many(batch);
    }
    result<stored_record> get(const record_id& id, bytes_span memory) { return records.get(id, memory); }
    result<void> erase(const record_id& id) { return records.erase(id); }
    template <class F>
    result<void> list(record_kind kind, F&& f) {
        return records.list(kind, std::forward<F>(f));
    }
};
static_assert(BatchStore<counting_store>);

/// Writes down what it hears.
struct recorder {
    std::vector<event_kind> kinds;
    std::vector<errc> problems;
    std::vector<std::string> connections;
    std::function<void(const event&)> then = [](const event&) {};

    void on_event(const event& e) {
        kinds.push_back(e.kind);
        if (e.kind == event_kind::error) problems.push_back(e.problem.code);
        then(e);
    }
    void on_connection(std::uint64_t, std::string_view what, const tcp::endpoint&) { connections.emplace_back(what); }

    [[nodiscard]] std::ptrdiff_t count(event_kind kind) const { return std::ranges::count(kinds, kind); }
};

inline seed_wallet wallet_of(std::uint8_t number) {
    auto w = seed_wallet::open(bytes(32, number), network::regtest);
    REQUIRE(w);
    return *std::move(w);
}

/// The two sides have a loop each, so that a test can let one work while the other stands still.
struct world {
    using server_type = tcp_server<contracts<multisig_refund>, manual_clock, memory_keys, counting_store, seed_wallet,
                                   chain_follower, recorder>;
    using client_type = tcp_client<contracts<multisig_refund>, manual_clock, memory_keys, counting_store, seed_wallet,
                                   chain_follower, recorder>;

    explicit world(const tcp_server_settings& settings = {}) {
        auto script = payer.payout_script();
        REQUIRE(script);
        chain.mine(140, script->view());
        payer_network.deliver(payer);
        start_server(settings);
    }

    void start_server(const tcp_server_settings& settings = {}) {
        server.emplace(server_io.get_executor(), tcp::endpoint(net::ip::address_v4::loopback(), 0),
                       contracts<multisig_refund>{}, clock, server_keys, server_store, payee, server_network,
                       server_events, settings);
    }

    std::unique_ptr<client_type> make_client(const tcp_client_settings& settings = {}) {
        return std::make_unique<client_type>(client_io.get_executor(), contracts<multisig_refund>{}, clock, client_keys,
                                             client_store, payer, payer_network, client_events, settings);
    }

    [[nodiscard]] std::string port() const { return std::to_string(server->port()); }

    void step_server() {
        server_io.restart();
        server_io.poll();
        if (server) server_network.deliver(payee, *server);
    }
    void step_client() {
        client_io.restart();
        client_io.poll();
        payer_network.deliver(payer);
    }

    /// Runs both loops until it is true.  False when that takes too long.
    bool run_until(const std::function<bool()>& done, std::chrono::milliseconds limit = 20s) {
        const auto end = std::chrono::steady_clock::now() + limit;
        while (!done()) {
            if (std::chrono::steady_clock::now() > end) return false;
            step_server();
            step_client();
            client_io.restart();
            client_io.run_one_for(1ms);
        }
        return true;
    }

    /// What a completion brought.
    template <class T>
    struct outcome {
        std::optional<result<T>> value;
        int fired = 0;
        auto handler() {
            return [this](result<T> r) {
                value = std::move(r);
                ++fired;
            };
        }
        [[nodiscard]] bool ok() const { return value && value->has_value(); }
        [[nodiscard]] errc code() const { return value && !*value ? value->error().code : errc{}; }
    };

    channel_record open(client_type& c, satoshi value = satoshi{1'000'000}) {
        outcome<channel_record> opened;
        c.async_open("127.0.0.1", port(), value, {}, opened.handler());
        REQUIRE(run_until([&] { return opened.fired > 0; }));
        REQUIRE(opened.ok());
        return **opened.value;
    }

    receipt pay(client_type& c, satoshi amount) {
        outcome<receipt> acked;
        c.async_pay(amount, acked.handler());
        REQUIRE(run_until([&] { return acked.fired > 0; }));
        REQUIRE(acked.ok());
        return **acked.value;
    }

    result<channel_record> stored(const txid& channel) {
        return load_record(server_store, record_kind::server_channel, channel);
    }

    memory_chain chain;
    manual_clock clock{unix_time{1'700'000'000}};
    memory_keys client_keys;
    memory_keys server_keys;
    counting_store client_store;
    counting_store server_store;
    seed_wallet payer = wallet_of(1);
    seed_wallet payee = wallet_of(2);
    chain_follower payer_network{chain, 1};
    chain_follower server_network{chain, 1};
    recorder client_events;
    recorder server_events;
    net::io_context client_io;
    net::io_context server_io;
    std::optional<server_type> server;
};

/// A peer that speaks in bytes.
struct raw_peer {
    raw_peer(net::io_context& io, std::uint16_t port) : socket(io) {
        socket.connect({net::ip::address_v4::loopback(), port});
        socket.set_option(tcp::no_delay(true));
        read();
    }

    void read() {
        socket.async_read_some(net::buffer(memory), [this](const boost::system::error_code& e, std::size_t n) {
            if (e) {
                ended = true;
                how = e;
                return;
            }
            received.insert(received.end(), memory.begin(), memory.begin() + static_cast<std::ptrdiff_t>(n));
            read();
        });
    }

    void write(bytes_view data) { net::write(socket, net::buffer(data.data(), data.size())); }
    void write(const wire::message& m) { write(framed(m)); }
    void end() { socket.shutdown(tcp::socket::shutdown_send); }

    static bytes framed(const wire::message& m) {
        bytes out(wire::max_written_frame_size);
        const auto written = wire::write_frame(wire::small_codec{}, m, out);
        REQUIRE(written);
        out.resize(written->size());
        return out;
    }

    /// All whole messages that came so far; views into `received`.
    [[nodiscard]] std::vector<wire::message> messages() const {
        std::vector<wire::message> out;
        for (std::size_t at = 0; at + 4 <= received.size();) {
            const std::size_t size = std::size_t{received[at + 2]} * 256 + received[at + 3];
            if (at + 4 + size > received.size()) break;
            const auto m = wire::small_codec::decode(bytes_view(received).subspan(at + 4, size));
            REQUIRE(m);
            out.push_back(*m);
            at += 4 + size;
        }
        return out;
    }
    template <class M>
    [[nodiscard]] std::ptrdiff_t count() const {
        return std::ranges::count_if(messages(), [](const auto& m) { return std::holds_alternative<M>(m); });
    }

    tcp::socket socket;
    std::array<std::uint8_t, 4096> memory{};
    bytes received;
    bool ended = false;
    boost::system::error_code how;
};

inline wire::message hello() {
    wire::client_version m;
    m.major = 1;
    m.time_window_secs = 86'340;
    return m;
}

}  // namespace paychan::asio::testing
