// A server on TCP: one driver for each connection, and one commit for all that arrived together.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "paychan/asio/descriptors.hpp"
#include "paychan/asio/guard.hpp"
#include "paychan/asio/tcp_transport.hpp"
#include "paychan/asio/use_codec.hpp"
#include "paychan/server.hpp"
#include "paychan/wire/codec.hpp"

namespace paychan::asio {

struct tcp_server_settings {
    server_settings channel{};
    transport_settings transport{};
    std::size_t max_connections = 1'000;    ///< more are closed when accepted; each takes about 80 kB, and its queue
    std::size_t reserved_descriptors = 64;  ///< that connections leave to the rest of the process: max_connections is
                                            ///< lowered to what RLIMIT_NOFILE has beside them
    std::size_t max_per_address = 100;      ///< 0: as many as there may be in all.  Of IPv6, whose users have 2^64
                                            ///< addresses each, all with the same first 64 bits are one
    milliseconds limit{60'000};             ///< [ms] without a whole message, unless the channel is open; then TIMEOUT
    milliseconds open_limit{0};       ///< [ms] the same while the channel is open; 0: none.  Not while a payment is
                                      ///< held: the client must not say anything then
    milliseconds rebroadcast{5'000};  ///< [ms] between two attempts to get a contract or settlement accepted
    milliseconds accept_pause{200};   ///< [ms] after an accept that failed: there may be no file descriptor left
};

/// Accepts clients that pay.  Every policy is borrowed and outlives it.
///     tcp_server server(io.get_executor(), {address, port}, contracts<cltv_p2sh, multisig_refund>{}, clock, keys, store,
///                       wallet, broadcaster, events);
/// Push chain events into on_chain(), and every event of `events` into a server_monitor, whose
/// questions is_attached() and settle_attached() are answered here.
///
/// Group commit: what is ready in one turn of the loop is computed for all connections, written by one put_many, and
/// only then answered.  If that write fails, each connection's records are written by themselves, so that one stale
/// record does not fail the others.
///
/// Events is anything with on_event(const event&), which hears of all channels; event.channel tells them apart.  If it
/// has on_connection(std::uint64_t id, std::string_view what, const tcp::endpoint&), it hears "opened" and "ended".  If it
/// has on_turned_away(const tcp::endpoint&, std::string_view why), it hears of those who come when there is no room.  If
/// it has on_payment(), see server.hpp, it has a say in the acks: what that holds is answered with ack() or refuse()
/// here, and until then no further frame of that connection is read, and no limit runs: the application must answer in
/// the end, for the connection keeps its place meanwhile.
/// It must not throw.  It may call stop(), ack(), settle_attached() and their like from there: they then wait until the
/// turn is over.
/// Thread rule: all calls on the executor's one thread (or strand).
template <class Contracts, class ClockPolicy, class KeyPolicy, class StorePolicy, class WalletPolicy,
          class BroadcastPolicy, class Events, class CodecPolicy = wire::small_codec>
class tcp_server {
    static_assert(Store<StorePolicy>, "4th argument: see Store in policy.hpp");
    static_assert(Codec<CodecPolicy>, "8th argument: see Codec in policy.hpp");

public:
    /// Listens at once.  Port 0 takes a free one: see port().
    /// Throws  boost::system::system_error (the address is in use or not ours, no permission).
    tcp_server(const net::any_io_executor& executor, const tcp::endpoint& endpoint, Contracts, ClockPolicy& clock,
               KeyPolicy& keys, StorePolicy& store, WalletPolicy& wallet, BroadcastPolicy& broadcaster, Events& events,
               const tcp_server_settings& settings = {}, use_codec<CodecPolicy> = {})
        : policies_{clock, keys, store, wallet, broadcaster, events},
          settings_(settings),
          max_connections_(connections_that_fit(settings.max_connections, settings.reserved_descriptors)),
          acceptor_(executor, endpoint),
          accept_timer_(executor),
          maintenance_timer_(executor) {
        accept();
        maintain_later();
    }
    tcp_server(const tcp_server&) = delete;
    tcp_server& operator=(const tcp_server&) = delete;

    /// Drops all connections; call stop() first, and let the loop run, for an orderly end.
    ~tcp_server() {
        for (auto& [id, c] : connections_) c->stream->abandon();
    }

    [[nodiscard]] std::uint16_t port() const { return port_; }
    [[nodiscard]] std::size_t connections() const { return connections_.size(); }
    /// As in the settings, or fewer: what the limit of open files allows.
    [[nodiscard]] std::size_t max_connections() const { return max_connections_; }

    /// Accepts no more, sends CLOSE to all, and ends when they are gone, or after transport.linger.
    void stop() {
        outside_of_drivers([this] {
            stopped_ = true;
            boost::system::error_code ignored;
            acceptor_.close(ignored);
            accept_timer_.cancel();
            maintenance_timer_.cancel();
            for (auto& [id, c] : connections_) {
                c->driver.close();
                c->stream->close();  // also where the driver had ended before
                go_on(*c);
            }
        });
    }

    /// How a broadcast ended; pass every outcome on, also to the monitor.
    void on_broadcast(const txid& id, broadcast_outcome outcome, std::string_view = {}) {
        outside_of_drivers([this, id, outcome] {
            for (auto& [n, c] : connections_) {
                const auto before = std::pair(c->driver.phase(), c->driver.is_busy());
                c->driver.on_broadcast(id, outcome);
                if (std::pair(c->driver.phase(), c->driver.is_busy()) != before) go_on(*c);
            }
        });
    }

    /// Follows the chain.
    static constexpr chain_turn chain_order = chain_turn::connections;
    void on_chain(const chain_event& e) {
        if (const auto* const a = std::get_if<broadcast_answer>(&e)) return on_broadcast(a->id, a->outcome, a->words);
        if (std::holds_alternative<node_returned>(e))
            return outside_of_drivers([this] {
                for (auto& [id, c] : connections_)
                    if (!is_mined(c->driver.record().terms.contract.id)) {
                        c->driver.on_chain(node_returned{});
                        go_on(*c);
                    }
            });
        view_.on_chain(e);
        for (auto& [id, c] : connections_) c->driver.set_chain(view_);
    }

    /// What a settlement should pay now [sat/kvB].
    void on_fee_rate(fee_rate rate) { on_chain(fee_estimate{rate}); }

    /// Answers a payment that on_payment held: PAYMENT_ACK leaves.  One that does not wait any more (the connection ended,
    /// or the channel settles) is passed over: the payment itself is safe, and is acked when the client resumes.
    /// total  [satoshi] event::total of the payment, which names it
    /// info   for the client's application; copied
    void ack(const txid& channel, satoshi total, bytes_view info = {}) {
        outside_of_drivers([this, channel, total, info = std::vector<std::uint8_t>(info.begin(), info.end())] {
            answer(channel, total, [&](auto& driver) { return driver.ack(total, info); });
        });
    }

    /// Answers a payment that on_payment held: the connection ends with an ERROR; see paychan::refuse.
    /// why  for the peer to read; copied
    void refuse(const txid& channel, satoshi total, std::string_view why) {
        outside_of_drivers([this, channel, total, why = std::string(why)] {
            answer(channel, total, [&](auto& driver) { return driver.refuse(total, why); });
        });
    }

    /// True when a connection uses this channel.
    /// As the application's monitor knows: such a contract no node forgets.
    [[nodiscard]] bool is_mined(const txid& channel) {
        if constexpr (requires { policies_.events.is_mined(channel); })
            return policies_.events.is_mined(channel);
        else
            return false;
    }
    [[nodiscard]] bool is_attached(const txid& channel) { return find_attached(channel) != nullptr; }

    /// Ends the connection that uses a channel, if there is one: its contract was spent, or never can be in a block, and
    /// payments on it would be worth nothing.  Pass every `confirmed` and `double_spent` of a server_monitor on.
    /// closing  of that event
    void detach(const txid& channel, const txid& closing) {
        outside_of_drivers([this, channel, closing] {
            for_each_attached(channel, [&](connection& c) {
                const bool ours = c.driver.phase() == server_phase::settling && c.driver.record().closing == closing;
                if (ours)
                    c.driver.on_broadcast(closing, broadcast_outcome::accepted);  // a block is as good as a mempool
                else
                    c.driver.close();
                go_on(c);
            });
        });
    }

    /// Settles a channel over the connection that uses it.  False when there is none, or when that does not work:
    /// settle it from the store then, which says why.
    bool settle_attached(const txid& channel) {
        if (!in_driver_) return settle_now(channel);
        if (!is_attached(channel)) return false;
        outside_of_drivers([this, channel] { settle_over(channel); });
        return true;
    }

private:
    using steady = std::chrono::steady_clock;

    struct policies {
        ClockPolicy& clock;
        KeyPolicy& keys;
        StorePolicy& store;
        WalletPolicy& wallet;
        BroadcastPolicy& broadcaster;
        Events& events;
    };

    struct connection final : tcp_transport::listener {
        connection(tcp_server& whole, std::uint64_t number, tcp::socket socket, const tcp::endpoint& from)
            : server(whole),
              id(number),
              remote(from),
              stream(std::make_shared<tcp_transport>(std::move(socket), *this, whole.settings_.transport)),
              driver(Contracts{}, *stream, whole.policies_.clock, whole.policies_.keys, whole.policies_.store,
                     whole.policies_.wallet, whole.policies_.broadcaster, codec, whole.policies_.events,
                     whole.settings_.channel) {}

        void on_frame_waiting() override {
            server.ready_.push_back(this);
            server.turn_soon();
        }
        void on_end() override { server.forget(*this); }

        tcp_server& server;
        std::uint64_t id;
        tcp::endpoint remote;
        std::shared_ptr<tcp_transport> stream;
        CodecPolicy codec;
        paychan::server<Contracts, tcp_transport, ClockPolicy, KeyPolicy, StorePolicy, WalletPolicy, BroadcastPolicy,
                        CodecPolicy, Events>
            driver;
        steady::time_point deadline = steady::time_point::max();
        std::span<const put_request> batch;  // from take() to finish()
        bool parked = false;                 // has a frame that waits for the application's answer to an earlier one
        bool beside_another = false;         // see take_over
    };

    /// Calls f now, or as soon as no driver is at work.
    template <class F>
    void outside_of_drivers(F f) {
        if (in_driver_) {
            net::post(acceptor_.get_executor(),
                      alive_.guard([this, f = std::move(f)]() mutable { outside_of_drivers(f); }));
            return;
        }
        const detail::scope now(in_driver_);
        f();
    }

    [[nodiscard]] bool settle_now(const txid& channel) {
        const detail::scope now(in_driver_);
        return settle_over(channel);
    }

    bool settle_over(const txid& channel) {
        connection* const c = find_attached(channel);
        if (c == nullptr) return false;
        if (c->driver.phase() == server_phase::settling) return true;
        if (c->driver.phase() == server_phase::broadcasting) {  // not open yet: only the store can settle it
            c->driver.close();
            return false;
        }
        const auto settled = c->driver.settle();
        go_on(*c);
        take_over(*c);
        return settled.has_value();
    }

    // ---- connections

    void accept() {
        acceptor_.async_accept(alive_.guard([this](const boost::system::error_code& e, tcp::socket socket) {
            if (stopped_) return;
            if (e) return accept_later();
            boost::system::error_code gone;
            const tcp::endpoint remote = socket.remote_endpoint(gone);
            if (!gone) welcome(std::move(socket), remote);
            accept();
        }));
    }

    /// EMFILE and its like come back at once: accepting again would spin.
    void accept_later() {
        accept_timer_.expires_after(settings_.accept_pause);
        accept_timer_.async_wait(alive_.guard([this](const boost::system::error_code& e) {
            if (!e && !stopped_) accept();
        }));
    }

    void welcome(tcp::socket socket, const tcp::endpoint& remote) {
        if (connections_.size() >= max_connections_) return turn_away(remote, "all places are taken");
        if (settings_.max_per_address > 0) {
            const auto same = per_address_.find(neighbourhood(remote.address()));
            if (same != per_address_.end() && same->second >= settings_.max_per_address)
                return turn_away(remote, "its address has as many connections as it may");
        }
        add(std::move(socket), remote);
    }

    void turn_away(const tcp::endpoint& remote, std::string_view why) {
        const detail::scope now(in_driver_);
        if constexpr (requires { policies_.events.on_turned_away(remote, why); })
            policies_.events.on_turned_away(remote, why);
    }

    /// Of which one user has all addresses.
    [[nodiscard]] static net::ip::address neighbourhood(const net::ip::address& from) {
        if (from.is_v4() || from.to_v6().is_v4_mapped()) return from;
        auto bytes = from.to_v6().to_bytes();
        std::fill(bytes.begin() + 8, bytes.end(), std::uint8_t{0});
        return net::ip::address_v6(bytes);
    }

    void add(tcp::socket socket, const tcp::endpoint& remote) {
        const std::uint64_t id = ++last_id_;
        auto made = std::make_unique<connection>(*this, id, std::move(socket), remote);
        connection& c = *made;
        connections_.emplace(id, std::move(made));
        ++per_address_[neighbourhood(remote.address())];
        c.driver.set_chain(view_);
        // For one attempt: behind an address there may be others.
        if (auto known = expected_.extract(remote.address())) c.driver.expect_min_payment(known.mapped());
        wind(c);
        c.stream->start();
        const detail::scope now(in_driver_);
        tell_connection(c, "opened");
    }

    void forget(connection& c) {
        std::erase(ready_, &c);
        const detail::scope now(in_driver_);
        c.driver.on_disconnected();
        tell_connection(c, "ended");
        const auto same = per_address_.find(neighbourhood(c.remote.address()));
        if (--same->second == 0) per_address_.erase(same);
        connections_.erase(c.id);
    }

    void tell_connection(const connection& c, std::string_view what) {
        if constexpr (requires { policies_.events.on_connection(c.id, what, c.remote); })
            policies_.events.on_connection(c.id, what, c.remote);
    }

    [[nodiscard]] static bool uses(const connection& c, const txid& channel) {
        const server_phase phase = c.driver.phase();
        const bool attached = phase == server_phase::broadcasting || is_open(phase) || phase == server_phase::settling;
        return attached && c.driver.record().terms.contract.id == channel;
    }

    /// The connection that uses a channel; of two, see take_over, the one that was there first.
    [[nodiscard]] connection* find_attached(const txid& channel) {
        for (auto& [id, c] : connections_)
            if (uses(*c, channel)) return c.get();
        return nullptr;
    }

    template <class F>
    void for_each_attached(const txid& channel, F f) {
        for (auto& [id, c] : connections_)
            if (uses(*c, channel)) f(*c);
    }

    // ---- turns

    /// Posted, and not called: what else is ready to be read now is read before, and joins.
    void turn_soon() {
        if (turn_posted_) return;
        turn_posted_ = true;
        net::post(acceptor_.get_executor(), alive_.guard([this] { turn(); }));
    }

    void turn() {
        turn_posted_ = false;
        // Bounded: the loop has others to serve.
        for (int round = 0; round < 8 && !ready_.empty(); ++round) take_round();
        if (!ready_.empty()) turn_soon();
    }

    /// One frame of each connection that has one.
    void take_round() {
        const detail::scope now(in_driver_);
        round_.swap(ready_);
        std::erase_if(round_, [](connection* c) { return c->parked = c->driver.is_busy(); });
        const auto first = std::partition(round_.begin(), round_.end(),
                                          [](const connection* c) { return c->driver.phase() != server_phase::idle; });
        const std::span<connection*> talking(round_.begin(), first);
        const std::span<connection*> greeting(first, round_.end());
        commit(talking);
        // Whoever resumes a channel reads from the store what its other connection has just written.
        commit(greeting);
        for (connection* const c : greeting) take_over(*c);
        for (connection* const c : talking)
            if (c->beside_another || c->driver.phase() == server_phase::settling) take_over(*c);
        for (connection* const c : round_) {
            c->stream->pop();
            if (c->stream->front()) ready_.push_back(c);
        }
        round_.clear();
    }

    void commit(std::span<connection*> group) {
        batch_.clear();
        for (connection* const c : group) {
            c->batch = {};
            if (const auto frame = c->stream->front()) c->batch = c->driver.take(*frame);
            batch_.insert(batch_.end(), c->batch.begin(), c->batch.end());
        }
        const result<void> all = group.size() > 1 && !BatchStore<StorePolicy>
                                     ? fail(errc::unsupported, "this store writes one by one")
                                     : put_all(policies_.store, batch_);
        for (connection* const c : group) {
            if (!c->stream->front()) continue;
            c->driver.finish(all || group.size() == 1 ? all : put_all(policies_.store, c->batch));
            if (const auto expected = c->driver.peer_expects()) remember(c->remote.address(), *expected);
            wind(*c);
        }
    }

    /// What a peer would have paid to open a channel, for when it comes again.
    void remember(const net::ip::address& from, satoshi expected) {
        constexpr std::size_t most = 1'000;
        if (expected_.size() >= most && !expected_.contains(from)) expected_.erase(expected_.begin());
        expected_[from] = expected;
    }

    /// Gives the driver of a payment that waits its answer.
    template <class F>
    void answer(const txid& channel, satoshi total, F give) {
        for_each_attached(channel, [&](connection& c) {
            if (c.driver.phase() != server_phase::answering) return;
            if (const auto given = give(c.driver); !given && given.error().code != errc::wrong_state)
                (void)c.driver.refuse(total, "the server's answer does not fit into a message");
            go_on(c);
        });
    }

    /// After a driver was told something, not by its client: the frame that was parked has its turn, if nothing waits
    /// for an answer any more.  Also on a connection that is closed now: until the frame is popped, nothing is read, and
    /// the peer's end of stream would not be seen.
    void go_on(connection& c) {
        wind(c);
        if (c.driver.is_busy() || !std::exchange(c.parked, false)) return;
        ready_.push_back(&c);
        turn_soon();
    }

    /// One connection for each channel: another that uses the same is sent CLOSE.  But the txid that names a channel is
    /// public: whoever has shown nothing more stays beside a connection that has, until it pays or that one ends.  What
    /// either of them writes then, the store takes from one only.
    void take_over(connection& c) {
        const txid channel = c.driver.record().terms.contract.id;
        c.beside_another = false;
        if (!uses(c, channel)) return;
        const bool entitled = c.driver.proven() || c.driver.phase() == server_phase::settling;
        for_each_attached(channel, [&](connection& other) {
            if (&other == &c) return;
            if (!entitled && other.driver.proven()) {
                c.beside_another = true;
                return;
            }
            other.driver.close();
            go_on(other);
        });
    }

    // ---- time

    /// Sets the limit anew: a whole message came, or the phase changed.
    void wind(connection& c) {
        const server_phase phase = c.driver.phase();
        const milliseconds limit = c.driver.is_busy()            ? milliseconds{0}  // it is not the client's turn
                                   : phase == server_phase::open ? settings_.open_limit
                                                                 : settings_.limit;
        c.deadline = limit.count() > 0 ? steady::now() + limit : steady::time_point::max();
    }

    void maintain_later() {
        milliseconds pause{1'000};
        for (const milliseconds m : {settings_.limit / 4, settings_.open_limit / 4, settings_.rebroadcast})
            if (m.count() > 0) pause = std::min(pause, m);
        maintenance_timer_.expires_after(pause);
        maintenance_timer_.async_wait(alive_.guard([this](const boost::system::error_code& e) {
            if (e || stopped_) return;
            const auto t = steady::now();
            const bool again = t >= rebroadcast_at_;
            if (again) rebroadcast_at_ = t + settings_.rebroadcast;
            maintain(t, again, 0);
        }));
    }

    /// From the connection of this number on; a part at a time, for thousands who came together also come to their limit
    /// together, and those who pay have their turn in between.
    void maintain(steady::time_point t, bool again, std::uint64_t from) {
        constexpr int most_looked_at = 1'000;
        constexpr int most_closed = 16;
        const detail::scope now(in_driver_);
        int looked_at = 0;
        int closed = 0;
        auto i = connections_.lower_bound(from);
        for (; i != connections_.end() && looked_at < most_looked_at && closed < most_closed; ++i, ++looked_at) {
            connection& c = *i->second;
            if (t >= c.deadline) {
                c.deadline = steady::time_point::max();
                c.driver.close({errc::timeout, "no message came in time"});
                ++closed;
            } else if (again) {
                c.driver.rebroadcast();
            }
        }
        if (i == connections_.end()) return maintain_later();
        net::post(acceptor_.get_executor(), alive_.guard([this, t, again, next = i->first] {
            if (!stopped_) maintain(t, again, next);
        }));
    }

    detail::lifetime alive_;
    policies policies_;
    tcp_server_settings settings_;
    std::size_t max_connections_;
    tcp::acceptor acceptor_;
    std::uint16_t port_ = acceptor_.local_endpoint().port();
    net::steady_timer accept_timer_;
    net::steady_timer maintenance_timer_;
    bool stopped_ = false;
    bool in_driver_ = false;
    bool turn_posted_ = false;
    chain_view view_;
    steady::time_point rebroadcast_at_{};
    std::uint64_t last_id_ = 0;
    std::map<std::uint64_t, std::unique_ptr<connection>> connections_;
    std::map<net::ip::address, std::size_t> per_address_;  // how many, see neighbourhood()
    std::map<net::ip::address, satoshi> expected_;         // [satoshi] min_payment, of peers that refused ours
    std::vector<connection*> ready_;                       // have a frame for the next round
    std::vector<connection*> round_;
    std::vector<put_request> batch_;
};

}  // namespace paychan::asio
