// A client on TCP: connects, opens or resumes a channel, pays and settles, with completion tokens.
#pragma once

#include <boost/asio/async_result.hpp>
#include <boost/asio/connect.hpp>
#include <memory>
#include <string>
#include <vector>

#include "paychan/asio/completion.hpp"
#include "paychan/asio/guard.hpp"
#include "paychan/asio/tcp_transport.hpp"
#include "paychan/asio/use_codec.hpp"
#include "paychan/client.hpp"
#include "paychan/wire/codec.hpp"

namespace paychan::asio {

struct tcp_client_settings {
    client_settings channel{};
    transport_settings transport{};
    milliseconds connect_limit{20'000};  ///< [ms] to find the address and to connect
    milliseconds open_limit{60'000};     ///< [ms] between two messages of the server until the channel is open
    milliseconds ack_limit{60'000};      ///< [ms] for a PAYMENT_ACK
    milliseconds settle_limit{60'000};   ///< [ms] for the settlement
};

/// What the server acknowledged.
struct receipt {
    satoshi amount{};                ///< [satoshi] what was paid: what was asked for, and a rest below the dust limit
    satoshi total{};                 ///< [satoshi] all that was paid on this channel
    std::vector<std::uint8_t> info;  ///< the server's own bytes
};

/// The end of a channel.
struct settlement {
    txid id{};
    satoshi total{};                        ///< [satoshi] what the server gets, before its fee
    std::vector<std::uint8_t> transaction;  ///< as the server sent it; it spends the contract validly
};

/// One channel at a time, over one connection at a time.  Every policy is borrowed and outlives it.
///     tcp_client payer(io.get_executor(), contracts<cltv_p2sh, multisig_refund>{}, clock, keys, store, wallet, broadcaster,
///                      events);
///     auto opened = co_await payer.async_open("host", "4242", satoshi{1'000'000}, {}, net::use_awaitable);
///     auto acked = co_await payer.async_pay(satoshi{10}, net::use_awaitable);
/// Any completion token goes: a callback, std::future by use_future, co_await by use_awaitable; the signature is
/// void(result<T>).  Each completion fires exactly once, also when the connection or this object ends before; through
/// the token's executor, and never from inside the call.
///
/// Events hears every event of the driver.  It must not throw, and may call everything here.
/// Thread rule: the async_ functions and disconnect() from any thread; all else on the executor's one thread or strand.
template <class Contracts, class ClockPolicy, class KeyPolicy, class StorePolicy, class WalletPolicy,
          class BroadcastPolicy, class Events, class CodecPolicy = wire::small_codec>
class tcp_client final : tcp_transport::listener {
    static_assert(Codec<CodecPolicy>, "8th argument: see Codec in policy.hpp");

public:
    tcp_client(const net::any_io_executor& executor, Contracts, ClockPolicy& clock, KeyPolicy& keys, StorePolicy& store,
               WalletPolicy& wallet, BroadcastPolicy& broadcaster, Events& events,
               const tcp_client_settings& settings = {}, use_codec<CodecPolicy> = {})
        : executor_(executor),
          settings_(settings),
          listener_{*this, events},
          policies_{clock, keys, store, wallet, broadcaster},
          resolver_(executor),
          timer_(executor) {
        renew();
    }
    tcp_client(const tcp_client&) = delete;
    tcp_client& operator=(const tcp_client&) = delete;

    /// Drops the connection; what was under way completes with connection_lost.
    ~tcp_client() {
        if (stream_) stream_->abandon();
        close_socket();
        finish_all({errc::connection_lost, "the client was destroyed"});
        driver_->on_disconnected();  // frees the coins of a contract that was never sent
    }

    /// Connects and opens a new channel.  A server that does not speak the version asked for is connected again and asked
    /// for a lower one, where channel.versions allows it.
    /// value  [satoshi] what the channel holds
    /// label  the caller's name for the server, kept in the record
    /// Gives  result<channel_record> when the channel is open.
    /// Fails  wrong_state (a connection is there), unreachable, timeout, connection_lost, what the server's ERROR says,
    ///        and as client::connect and the checks of client_step.hpp.
    template <class Token>
    auto async_open(std::string host, std::string port, satoshi value, const channel_label& label, Token&& token) {
        return start<channel_record>(
            [this, host = std::move(host), port = std::move(port), value, label](completion<channel_record> done) {
                open(host, port, std::nullopt, value, label, std::move(done));
            },
            token);
    }

    /// Connects and goes on with a stored channel.
    /// offer  [satoshi] value of the new channel to open if the server forgot this one; 0: none
    /// Gives, fails  as async_open; also not_found, corrupt_record, store_failed.
    template <class Token>
    auto async_resume(std::string host, std::string port, const txid& channel, satoshi offer, Token&& token) {
        return start<channel_record>(
            [this, host = std::move(host), port = std::move(port), channel, offer](completion<channel_record> done) {
                open(host, port, channel, offer, {}, std::move(done));
            },
            token);
    }

    /// Moves value to the server; one payment at a time.
    /// amount  [satoshi] an increment
    /// info    for the server's application; copied
    /// Gives   result<receipt> when the server has it on disk.
    /// Fails   payment_in_flight and what else client::pay says: nothing was sent;
    ///         connection_lost (also when ack_limit passed: the connection is dropped), peer_error: whether it counted,
    ///         a resume will tell.
    template <class Token>
    auto async_pay(satoshi amount, bytes_view info, Token&& token) {
        return start<receipt>([this, amount, info = std::vector<std::uint8_t>(info.begin(), info.end())](
                                  completion<receipt> done) { pay(amount, info, std::move(done)); },
                              token);
    }
    template <class Token>
    auto async_pay(satoshi amount, Token&& token) {
        return async_pay(amount, {}, std::forward<Token>(token));
    }

    /// Asks the server to settle: no payments after this, and the connection ends.
    /// Gives  result<settlement> when the server's CLOSE with it arrives.
    /// Fails  wrong_state; timeout, connection_lost, or the server's ERROR: the settlement may come yet, and the refund
    ///        stays armed.
    template <class Token>
    auto async_settle(Token&& token) {
        return start<settlement>([this](completion<settlement> done) { settle(std::move(done)); }, token);
    }

    /// Ends the connection, whatever it is doing.  The channel can be resumed.
    void disconnect() {
        net::dispatch(executor_, alive_.guard([this] { end({errc::connection_lost, "disconnected by the caller"}); }));
    }

    /// Follows the chain.
    static constexpr chain_turn chain_order = chain_turn::connections;
    void on_chain(const chain_event& e) {
        view_.on_chain(e);
        driver_->set_chain(view_);
    }

    /// What a contract should pay now [sat/kvB].
    void on_fee_rate(fee_rate rate) { on_chain(fee_estimate{rate}); }

    [[nodiscard]] const channel_record& record() const { return driver_->record(); }
    [[nodiscard]] client_phase phase() const { return driver_->phase(); }
    [[nodiscard]] bool connected() const { return stream_ != nullptr; }

private:
    /// The driver's Transport: the connection of the moment.
    struct outlet {
        tcp_client& client;
        void send(bytes_view frame) {
            if (client.stream_) client.stream_->send(frame);
        }
        void close() {
            if (client.stream_) client.stream_->close();
        }
    };

    struct event_listener {
        tcp_client& client;
        Events& events;
        void on_event(const event& e) {
            client.on_event(e);
            if (!client.asks_lower()) events.on_event(e);  // else neither the ERROR nor the end of that connection
        }
    };

    /// Where to connect, and what for.
    struct target {
        std::string host;
        std::string port;
        satoshi offer{};
        channel_label label{};
        bool resumes = false;
        version_set versions;
    };

    struct policies {
        ClockPolicy& clock;
        KeyPolicy& keys;
        StorePolicy& store;
        WalletPolicy& wallet;
        BroadcastPolicy& broadcaster;
    };

    using driver_type = paychan::client<Contracts, outlet, ClockPolicy, KeyPolicy, StorePolicy, WalletPolicy,
                                        BroadcastPolicy, CodecPolicy, event_listener>;

    // ---- operations

    /// An operation, and who waits for its outcome.  It begins when it is called on the executor, or a little later if
    /// the driver, which takes one input at a time, is at work then.
    template <class T, class F>
    struct job {
        tcp_client* client;
        std::weak_ptr<const char> alive;
        F begin;
        completion<T> done;

        void operator()() {
            if (alive.expired()) return done.fire(fail(errc::connection_lost, "the client was destroyed"));
            if (client->in_driver_) return net::post(client->executor_, std::move(*this));
            begin(std::move(done));
        }
    };

    template <class T, class F, class Token>
    auto start(F operation, Token&& token) {
        return net::async_initiate<Token, void(result<T>)>(
            [this](auto handler, F begin) {
                net::dispatch(executor_, job<T, F>{this, alive_.watch(), std::move(begin),
                                                   completion<T>(std::move(handler), executor_)});
            },
            token, std::move(operation));
    }

    void open(const std::string& host, const std::string& port, const std::optional<txid>& stored, satoshi offer,
              const channel_label& label, completion<channel_record> done) {
        if (stream_ || connecting_)
            return done.fire(fail(errc::wrong_state, "a connection is there already: disconnect first"));
        target_ = {host, port, offer, label, stored.has_value(), settings_.channel.versions};
        renew();
        if (stored) {
            if (const auto loaded = driver_->load(*stored); !loaded) return done.fire(fail(loaded.error()));
            if (record().stage == channel_stage::settling && offer.value == 0)
                return done.fire(fail(errc::wrong_state, "the channel is settling and takes no more payments"));
        }
        open_ = std::move(done);
        connect();
    }

    void connect() {
        problem_.reset();
        told_by_peer_ = false;
        connecting_ = true;
        limit(settings_.connect_limit);
        socket_ = std::make_shared<tcp::socket>(executor_);
        resolver_.async_resolve(
            target_.host, target_.port,
            alive_.guard([this, attempt = ++attempt_](const boost::system::error_code& e,
                                                      const tcp::resolver::results_type& found) {
                if (attempt != attempt_) return;
                if (e) return end({errc::unreachable, "no address is known for the server's name and port"});
                // It looks at the socket before it calls the handler, also when this object or the attempt is gone:
                // so the handler keeps the socket, and each attempt has its own.
                net::async_connect(*socket_, found,
                                   alive_.guard([this, attempt, kept = socket_](const boost::system::error_code& failed,
                                                                                const tcp::endpoint&) {
                                       if (attempt != attempt_) return;
                                       if (failed) return end({errc::unreachable, "the server does not answer there"});
                                       greet();
                                   }));
            }));
    }

    void greet() {
        connecting_ = false;
        ending_ = false;
        stream_ = std::make_shared<tcp_transport>(std::move(*socket_), static_cast<tcp_transport::listener&>(*this),
                                                  settings_.transport);
        socket_.reset();
        stream_->start();
        limit(settings_.open_limit);
        const detail::scope now(in_driver_);
        if (const auto begun = driver_->connect(target_.offer, target_.label); !begun) end(begun.error());
    }

    /// True when the server refused the version of a new channel, and there is a lower one to ask for.  Never after a
    /// contract was sent: the money is in that one, and another attempt would lock it twice.
    [[nodiscard]] bool asks_lower() const {
        const std::int32_t asked = Contracts::preferred(target_.versions);
        const std::int32_t next = Contracts::preferred(target_.versions.without(asked));
        const bool refused = told_by_peer_ && problem_ && problem_->code == errc::no_acceptable_version;
        return refused && open_ && !ending_ && !target_.resumes && record().stage == channel_stage::none && next != 0 &&
               next < asked;
    }

    void pay(satoshi amount, bytes_view info, completion<receipt> done) {
        if (!stream_ || ending_) return done.fire(fail(errc::wrong_state, "there is no connection"));
        const detail::scope now(in_driver_);
        if (const auto sent = driver_->pay(amount, {&on_payment, this}, info); !sent)
            return done.fire(fail(sent.error()));
        pay_ = std::move(done);
        limit(settings_.ack_limit);
    }

    void settle(completion<settlement> done) {
        if (!stream_ || ending_) return done.fire(fail(errc::wrong_state, "there is no connection"));
        if (settle_) return done.fire(fail(errc::wrong_state, "the settlement is awaited already"));
        const detail::scope now(in_driver_);
        if (const auto asked = driver_->settle(); !asked) return done.fire(fail(asked.error()));
        settle_ = std::move(done);
        limit(settings_.settle_limit);
    }

    /// Ends what there is of a connection, and says why to those who wait.
    void end(const error& why) {
        if (!problem_) problem_ = why;
        if (stream_) {
            ending_ = true;
            return stream_->close();
        }
        if (!connecting_) return;
        connecting_ = false;
        ++attempt_;
        resolver_.cancel();
        close_socket();
        finish_all(*problem_);
    }

    void close_socket() {
        boost::system::error_code ignored;
        if (socket_) socket_->close(ignored);
        socket_.reset();
    }

    void finish_all(const error& why) {
        no_limit();
        open_.fire(fail(why));
        settle_.fire(fail(why));
        pay_.fire(fail(errc::connection_lost, "the connection ended before the ack: a resume will tell"));
    }

    // ---- what comes from below

    void on_frame_waiting() override {
        while (const auto frame = stream_->front()) {
            {
                const detail::scope now(in_driver_);
                driver_->on_frame(*frame);
            }
            if (open_)
                limit(settings_.open_limit);
            else if (!pay_ && !settle_)
                no_limit();
            stream_->pop();
        }
    }

    void on_end() override {
        stream_.reset();
        {
            const detail::scope now(in_driver_);
            driver_->on_disconnected();
        }
        if (asks_lower()) {
            target_.versions = target_.versions.without(Contracts::preferred(target_.versions));
            renew();
            return connect();
        }
        finish_all(problem_.value_or(error{errc::connection_lost, "the server ended the connection"}));
    }

    void on_event(const event& e) {
        if (e.kind == event_kind::error) {
            problem_ = e.problem;
            told_by_peer_ = e.by_peer;
        }
        if (e.kind == event_kind::opened) open_.fire(record());
        if (e.kind == event_kind::settled) settle_.fire(settlement{e.closing, e.total, {e.data.begin(), e.data.end()}});
    }

    static void on_payment(void* self, const result<payment_receipt>& outcome) {
        auto& done = static_cast<tcp_client*>(self)->pay_;
        if (!outcome) return done.fire(fail(outcome.error()));
        done.fire(receipt{outcome->amount, outcome->total, {outcome->info.begin(), outcome->info.end()}});
    }

    // ---- time

    void limit(milliseconds wait) {
        timer_.expires_after(wait);
        timer_.async_wait(alive_.guard([this, number = ++limit_number_](const boost::system::error_code& e) {
            if (!e && number == limit_number_) on_limit();
        }));
    }

    void no_limit() {
        ++limit_number_;  // one that has expired already may be on its way
        timer_.cancel();
    }

    void on_limit() {
        if (!stream_) return end({errc::timeout, "the connection was not made in time"});
        if (!problem_) problem_ = error{errc::timeout, "the server did not answer in time"};
        ending_ = true;
        stream_->abort();
    }

    /// An empty driver: it remembers its last channel, and that one is in the store.
    void renew() {
        client_settings channel = settings_.channel;
        channel.versions = target_.versions;
        driver_ = std::make_unique<driver_type>(Contracts{}, outlet_, policies_.clock, policies_.keys, policies_.store,
                                                policies_.wallet, policies_.broadcaster, codec_, listener_, channel);
        driver_->set_chain(view_);
    }

    detail::lifetime alive_;
    net::any_io_executor executor_;
    tcp_client_settings settings_;
    outlet outlet_{*this};
    event_listener listener_;
    policies policies_;
    target target_{{}, {}, {}, {}, false, settings_.channel.versions};
    CodecPolicy codec_{};
    chain_view view_;
    std::unique_ptr<driver_type> driver_;
    tcp::resolver resolver_;
    std::shared_ptr<tcp::socket> socket_;  // until it is connected
    net::steady_timer timer_;
    std::shared_ptr<tcp_transport> stream_;
    bool connecting_ = false;
    bool ending_ = false;
    bool in_driver_ = false;
    std::uint64_t attempt_ = 0;
    std::uint64_t limit_number_ = 0;
    std::optional<error> problem_;
    bool told_by_peer_ = false;  // problem_ is the server's word
    completion<channel_record> open_;
    completion<receipt> pay_;
    completion<settlement> settle_;
};

}  // namespace paychan::asio
