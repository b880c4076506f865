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

/// What both programs are built with; which version they speak is a setting.
using both_versions = contracts<cltv_p2sh, multisig_refund>;

[[nodiscard]] inline std::string text_of(bytes_view b) { return {b.begin(), b.end()}; }
[[nodiscard]] inline bytes_view as_bytes(std::string_view text) {
    return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

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

/// Writes down what it hears, and answers payments as it is told.
struct recorder {
    std::vector<event_kind> kinds;
    std::vector<errc> problems;
    std::vector<std::string> words;  // of the peer, or this side's own, for each problem
    std::vector<std::string> connections;
    int turned_away = 0;
    std::vector<satoshi> asked;  // totals of the payments that on_payment was asked about
    std::function<void(const event&)> then = [](const event&) {};
    std::function<payment_answer(const event&)> answers = [](const event&) { return payment_answer::ack(); };

    void on_event(const event& e) {
        kinds.push_back(e.kind);
        if (e.kind == event_kind::error) {
            problems.push_back(e.problem.code);
            words.emplace_back(e.data.empty() ? std::string(e.problem.text) : text_of(e.data));
        }
        then(e);
    }
    payment_answer on_payment(const event& e) {
        asked.push_back(e.total);
        return answers(e);
    }
    void on_connection(std::uint64_t, std::string_view what, const tcp::endpoint&) { connections.emplace_back(what); }
    void on_turned_away(const tcp::endpoint&, std::string_view) { ++turned_away; }

    [[nodiscard]] std::ptrdiff_t count(event_kind kind) const { return std::ranges::count(kinds, kind); }
};

inline seed_wallet wallet_of(std::uint8_t number) {
    auto w = seed_wallet::open(bytes(32, number), network::regtest);
    REQUIRE(w);
    return *std::move(w);
}

/// The two sides have a loop each, so that a test can let one work while the other stands still.
struct world {
    using server_type =
        tcp_server<both_versions, manual_clock, memory_keys, counting_store, seed_wallet, chain_follower, recorder>;
    using client_type =
        tcp_client<both_versions, manual_clock, memory_keys, counting_store, seed_wallet, chain_follower, recorder>;

    explicit world(const tcp_server_settings& settings = {}) {
        auto script = payer.payout_script();
        REQUIRE(script);
        chain.mine(140, script->view());
        payer_network.deliver(payer);
        start_server(settings);
    }

    void start_server(const tcp_server_settings& settings = {}) {
        server.emplace(server_io.get_executor(), tcp::endpoint(net::ip::address_v4::loopback(), 0), both_versions{},
                       clock, server_keys, server_store, payee, server_network, server_events, settings);
    }

    std::unique_ptr<client_type> make_client(const tcp_client_settings& settings = {}) {
        return std::make_unique<client_type>(client_io.get_executor(), both_versions{}, clock, client_keys,
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

    channel_record resume(client_type& c, const txid& channel) {
        outcome<channel_record> resumed;
        c.async_resume("127.0.0.1", port(), channel, {}, resumed.handler());
        REQUIRE(run_until([&] { return resumed.fired > 0; }));
        REQUIRE(resumed.ok());
        return **resumed.value;
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

/// All whole messages in what a connection has carried; views into it.
[[nodiscard]] inline std::vector<wire::message> messages_in(const bytes& carried) {
    std::vector<wire::message> out;
    for (std::size_t at = 0; at + 4 <= carried.size();) {
        const std::size_t size = std::size_t{carried[at + 2]} * 256 + carried[at + 3];
        if (at + 4 + size > carried.size()) break;
        const auto m = wire::small_codec::decode(bytes_view(carried).subspan(at + 4, size));
        REQUIRE(m);
        out.push_back(*m);
        at += 4 + size;
    }
    return out;
}

/// Those of one type.
template <class M>
[[nodiscard]] std::vector<M> all_of(const std::vector<wire::message>& list) {
    std::vector<M> out;
    for (const wire::message& m : list)
        if (const auto* const one = std::get_if<M>(&m)) out.push_back(*one);
    return out;
}

/// A peer that speaks in bytes.
struct raw_peer {
    raw_peer(net::io_context& io, std::uint16_t port, const net::ip::address_v4& from = net::ip::address_v4::loopback())
        : socket(io, {from, 0}) {
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
    [[nodiscard]] std::vector<wire::message> messages() const { return messages_in(received); }
    template <class M>
    [[nodiscard]] std::vector<M> all() const {
        return all_of<M>(messages());
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

/// A client in bytes, which goes on with a channel that a tcp_client has opened, and signs what it likes.
struct raw_payer : raw_peer {
    /// Resumes, and proves whose the channel is; that takes it over.
    raw_payer(world& w, const channel_record& opened)
        : raw_peer(w.client_io, w.server->port()), keys(w.client_keys), record(opened) {
        const bytes32 hash = display_bytes(record.terms.contract.id);
        wire::client_version m;
        m.major = record.protocol;
        m.previous_channel_contract_hash = bytes_view(hash);
        m.resume_time = static_cast<std::uint64_t>(w.clock.now().seconds);
        const auto proof = sign_resume(record, *m.resume_time, keys);
        REQUIRE(proof);
        m.resume_signature = proof->view();
        write(m);
        REQUIRE(w.run_until([&] { return count<wire::channel_open>() == 1; }));
    }

    /// The frame that brings all that is paid to `total`.
    [[nodiscard]] bytes payment(satoshi total, bytes_view info = {}) const {
        const satoshi change{record.terms.value.value - total.value};
        const auto signature = both_versions::with<result<bounded_bytes<73>>>(
            record.protocol, [&]<class Scheme>() { return sign_payment<Scheme>(record, change, keys); });
        REQUIRE(signature);
        wire::update_payment m;
        m.client_change_value = static_cast<std::uint64_t>(change.value);
        m.signature = signature->view();
        if (!info.empty()) m.info = info;
        return framed(m);
    }

    /// The info of each ack, in order: "first second".
    [[nodiscard]] std::string acks() const {
        std::string out;
        for (const auto& ack : all<wire::payment_ack>())
            out += (out.empty() ? "" : " ") + (ack.info ? text_of(*ack.info) : std::string("-"));
        return out;
    }

    memory_keys& keys;
    channel_record record;
};

[[nodiscard]] inline bytes joined(std::initializer_list<bytes> frames) {
    bytes out;
    for (const bytes& f : frames) out.insert(out.end(), f.begin(), f.end());
    return out;
}

/// Carries connections on to the server, and keeps what they carried.
struct relay {
    relay(net::io_context& io, std::uint16_t server_port)
        : acceptor(io, {net::ip::address_v4::loopback(), 0}), to(server_port) {
        accept();
    }
    [[nodiscard]] std::string port() const { return std::to_string(acceptor.local_endpoint().port()); }

    struct carried {
        carried(tcp::socket from, net::io_context& io) : client(std::move(from)), server(io) {}
        tcp::socket client;
        tcp::socket server;
        std::array<std::uint8_t, 4096> up_memory{};
        std::array<std::uint8_t, 4096> down_memory{};
        bytes up;  // what the client said
        bytes down;
    };

    void accept() {
        acceptor.async_accept([this](const boost::system::error_code& e, tcp::socket from) {
            if (e) return;
            connections.push_back(std::make_unique<carried>(
                std::move(from), static_cast<net::io_context&>(acceptor.get_executor().context())));
            carried& c = *connections.back();
            boost::system::error_code refused;
            c.server.connect({net::ip::address_v4::loopback(), to}, refused);
            if (!refused) {
                pump(c.client, c.server, c.up_memory, c.up);
                pump(c.server, c.client, c.down_memory, c.down);
            } else {
                c.client.close();
            }
            accept();
        });
    }

    static void pump(tcp::socket& from, tcp::socket& to, std::array<std::uint8_t, 4096>& memory, bytes& kept) {
        from.async_read_some(net::buffer(memory), [&](const boost::system::error_code& e, std::size_t n) {
            boost::system::error_code ignored;
            if (e == net::error::operation_aborted) return;
            if (e) {
                to.shutdown(tcp::socket::shutdown_send, ignored);
                return;
            }
            kept.insert(kept.end(), memory.begin(), memory.begin() + static_cast<std::ptrdiff_t>(n));
            net::write(to, net::buffer(memory.data(), n), ignored);
            pump(from, to, memory, kept);
        });
    }

    tcp::acceptor acceptor;
    std::uint16_t to;
    std::vector<std::unique_ptr<carried>> connections;
};

inline wire::message hello() {
    wire::client_version m;
    m.major = 1;
    m.time_window_secs = 86'340;
    return m;
}

}  // namespace paychan::asio::testing
