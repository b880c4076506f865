// A running server as one object: what keeps its money safe, joined to its connections and to your application.
#pragma once

#include <functional>
#include <utility>

#include "paychan/keeper/keeper.hpp"
#include "paychan/server.hpp"
#include "paychan/server_monitor.hpp"

namespace paychan {

/// Give it to the connections as their Events, and tell them of each other:
///     payee side(contracts<cltv_p2sh, multisig_refund>{}, store, keys, wallet, chain, clock, app);
///     if (const auto opened = side.open(network::regtest); !opened) ...
///     asio::tcp_server server(..., store, wallet, chain, side);
///     side.join(server);
///     chain.start(server, side);
///     asio::keep_turning turning(io.get_executor(), side);
/// App is your application: anything with on_event(const event&), which hears connections and monitor alike, and, if you
/// like, `payment_answer on_payment(const event&)`, on_connection(...) and on_turned_away(...): see server.hpp and
/// asio/tcp_server.hpp.
/// Channels are settled, over their connection where there is one; a connection whose contract is spent is ended.
template <class Contracts, class StorePolicy, class KeyPolicy, class WalletPolicy, class ChainPolicy, class ClockPolicy,
          class App>
class payee {
public:
    static constexpr chain_turn chain_order = chain_turn::monitors;
    using monitor_type = server_monitor<Contracts, StorePolicy, KeyPolicy, WalletPolicy, ChainPolicy, payee>;

    payee(Contracts, StorePolicy& store, KeyPolicy& keys, WalletPolicy& wallet, ChainPolicy& chain, ClockPolicy& clock,
          App& app, const server_settings& settings = {}, keeper_settings keeping = {},
          const monitor_settings& monitor = {})
        : app_(app),
          monitor_(Contracts{}, store, keys, wallet, chain, *this, settings, monitor),
          keeper_(store, keys, wallet, chain, clock, std::move(keeping), monitor_) {}
    payee(const payee&) = delete;
    payee& operator=(const payee&) = delete;

    // ---- As in keeper.hpp.

    [[nodiscard]] result<void> open(network net) { return keeper_.open(net); }
    bool turn() { return keeper_.turn(); }
    [[nodiscard]] result<void> save() { return keeper_.save(); }
    void on_chain(const chain_event& e) { keeper_.on_chain(e); }

    // ---- Connections

    /// Connections  tcp_server, or what has its is_attached(), settle_attached() and detach()
    template <class Connections>
    void join(Connections& c) {
        is_attached_ = [&c](const txid& channel) { return c.is_attached(channel); };
        settle_attached_ = [&c](const txid& channel) { return c.settle_attached(channel); };
        detach_ = [&c](const txid& channel, const txid& closing) { c.detach(channel, closing); };
    }
    /// Before they are gone.
    void part() { is_attached_ = settle_attached_ = nullptr, detach_ = nullptr; }

    void on_event(const event& e) {
        monitor_.on_event(e);  // first: whatever the application does with it, the channel is watched
        app_.on_event(e);
        if (detach_ && (e.kind == event_kind::confirmed || e.kind == event_kind::double_spent))
            detach_(e.channel, e.closing);
    }
    template <class... Words>
    auto on_connection(const Words&... words) requires requires(App& a) {
        a.on_connection(words...);
    }
    { return app_.on_connection(words...); }
    template <class... Words>
    auto on_turned_away(const Words&... words) requires requires(App& a) {
        a.on_turned_away(words...);
    }
    { return app_.on_turned_away(words...); }
    payment_answer on_payment(const event& e) requires requires(App& a) { a.on_payment(e); }
    { return app_.on_payment(e); }

    [[nodiscard]] bool is_mined(const txid& channel) const { return monitor_.is_mined(channel); }
    [[nodiscard]] bool is_backed(const txid& channel) const { return monitor_.is_backed(channel); }
    [[nodiscard]] result<void> may_take(const txid& channel, satoshi total) {
        return monitor_.may_take(channel, total);
    }
    [[nodiscard]] bool is_attached(const txid& channel) { return is_attached_ && is_attached_(channel); }
    bool settle_attached(const txid& channel) { return settle_attached_ && settle_attached_(channel); }

    // ----

    /// Settles a channel now, over its connection where there is one.  Fails  as server_monitor::settle.
    [[nodiscard]] result<void> settle(const txid& channel) {
        if (settle_attached(channel)) return {};
        return monitor_.settle(channel);
    }

    [[nodiscard]] monitor_type& monitor() { return monitor_; }
    [[nodiscard]] auto& keep() { return keeper_; }

private:
    App& app_;
    std::function<bool(const txid&)> is_attached_;
    std::function<bool(const txid&)> settle_attached_;
    std::function<void(const txid&, const txid&)> detach_;
    monitor_type monitor_;
    keeper<StorePolicy, KeyPolicy, WalletPolicy, ChainPolicy, ClockPolicy, monitor_type> keeper_;
};

}  // namespace paychan
