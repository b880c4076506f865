// A server's channels, brought home with nobody connected: each is settled before its expiry.
#pragma once

#include "paychan/channel/server_step.hpp"
#include "paychan/monitor/watch_list.hpp"

namespace paychan {

/// Follows the chain for all channels that a store has of a server.  Call load() first, on_chain() with all that happens on
/// the chain, tick() every second or so, and save() before the chain's position is stored: see keeper/.
/// A channel is settled a safe margin before its expiry; contract and settlement are given to the network again with each
/// block until they are in one.
/// Events may have, for channels that a live connection holds: `bool is_attached(const txid&)`, and `bool
/// settle_attached(const txid&)`, which settles it over that connection and is true when there is one.
template <class Contracts, class StorePolicy, class KeyPolicy, class WalletPolicy, class BroadcastPolicy, class Events>
class server_monitor {
    static_assert(Store<StorePolicy>, "StorePolicy: see Store in policy.hpp");
    static_assert(KeyStore<KeyPolicy>, "KeyPolicy: see KeyStore in policy.hpp");
    static_assert(PayoutWallet<WalletPolicy>, "WalletPolicy: see PayoutWallet in policy.hpp");
    static_assert(Broadcaster<BroadcastPolicy>, "BroadcastPolicy: see Broadcaster in policy.hpp");

public:
    static constexpr channel_role role = channel_role::server;
    static constexpr chain_turn chain_order = chain_turn::monitors;

    server_monitor(Contracts, StorePolicy& store, KeyPolicy& keys, WalletPolicy& wallet, BroadcastPolicy& broadcaster,
                   Events& events, const server_settings& settings = {}, const monitor_settings& monitor = {})
        : list_(store, events, with_margin(monitor, settings)),
          store_(store),
          keys_(keys),
          wallet_(wallet),
          broadcaster_(broadcaster),
          events_(events),
          settings_(settings) {}
    server_monitor(const server_monitor&) = delete;
    server_monitor& operator=(const server_monitor&) = delete;

    // As in watch_list, which says what each does.
    void start_at(std::int32_t height) { list_.start_at(height); }
    [[nodiscard]] result<void> load() { return list_.load(); }
    [[nodiscard]] result<bool> load_some(std::size_t most) { return list_.load_some(most); }
    [[nodiscard]] result<void> refresh() { return list_.refresh(); }
    [[nodiscard]] result<void> save() { return list_.save(); }
    [[nodiscard]] bool is_doubtful() const { return list_.is_doubtful(); }
    void will_be_told_all() { list_.will_be_told_all(); }
    void will_be_told_the_rest() { list_.will_be_told_the_rest(); }
    void was_told_all() { list_.was_told_all(); }
    void add(const txid& id) { list_.add(id); }
    void on_event(const event& e) { list_.on_event(e); }

    void on_chain(const chain_event& e) {
        list_.on_chain(e);
        match(
            e, [this](const broadcast_answer& a) { on_answer(a); }, [this](const fee_estimate& f) { rate_ = f.rate; });
    }

    /// Settles what is due by the clock or by the chain's time, whichever is later (an early settlement costs nobody
    /// money), gives to the network again what is in no block yet, and forgets what is buried.
    void tick(unix_time now) {
        list_.tick(now, std::max(now, list_.median_time()), rate_,
                   [this](const txid& id, const duties& todo, const happened::look& look) { carry(id, todo, look); });
    }

    /// Settles a channel now that no connection holds, or broadcasts its settlement again.
    /// Fails  not_found, wrong_state (its end is mined), insufficient_funds (what was paid does not bear the fee yet),
    /// key_unavailable, store_failed, stale_record.
    [[nodiscard]] result<void> settle(const txid& id) { return settle(id, false); }

    [[nodiscard]] std::size_t size() const { return list_.index().size(); }
    /// How many channels have no end in any block yet.
    [[nodiscard]] std::size_t unended() const { return list_.index().unended(); }
    /// The expiry of the channel that is settled next.
    [[nodiscard]] std::optional<unix_time> next_expiry() const { return list_.index().first_expiry(); }
    [[nodiscard]] std::int32_t height() const { return list_.height(); }
    [[nodiscard]] unix_time median_time() const { return list_.median_time(); }
    /// f(const txid&) for each channel that is watched.
    template <class F>
    void for_each(F&& f) {
        list_.index().for_each([&](const auto& e) { f(e.first); });
    }
    /// Of the keys of those channels that were read.
    [[nodiscard]] key_id highest_key() const { return list_.highest_key(); }

private:
    [[nodiscard]] static monitor_settings with_margin(monitor_settings s, const server_settings& server) {
        s.settle_margin = server.settle_margin;
        return s;
    }

    void carry(const txid& id, const duties& todo, const happened::look& look) {
        if (todo.settle && settle_when_due(id, look)) return;
        bool build = todo.build_anew && !list_.is_attached(id);
        if (build) {
            const auto built = settle(id, is_in_need(id, look));
            if (built) return;
            list_.report_now_and_then(id, built.error());
        }
        if (todo.offer_contract) offer_contract(id);
        if (todo.offer_closing || todo.build_anew)
            offer_settlement(id, look);
        else if (todo.offer_contract)
            (void)list_.apply(id, happened::contract_offered{look.round, look.now});
    }

    /// True when the settlement has left, or will.
    bool settle_when_due(const txid& id, const happened::look& look) {
        if constexpr (requires { events_.settle_attached(id); })
            if (events_.settle_attached(id)) {
                (void)list_.apply(id, happened::connection_asked{look.round});
                return true;
            }
        if (const auto stage = list_.look_again(id); stage && *stage == channel_stage::settling) {
            // By another process: its settlement is as good.
            offer_contract(id);
            offer_settlement(id, look);
            return true;
        }
        // Tried again with the next tick.  A record that is newer by now is of another process, which settles it.
        const auto settled = settle(id, is_in_need(id, look));
        if (!settled && settled.error().code != errc::stale_record) list_.report_now_and_then(id, settled.error());
        return settled.has_value();
    }

    /// True from half the margin before the expiry on.
    [[nodiscard]] bool is_in_need(const txid& id, const happened::look& look) {
        const auto* const e = list_.index().find(id);
        return e != nullptr &&
               std::max(look.now, look.median_time) + settings_.settle_margin / 2 >= e->second.state.expiry;
    }

    /// in_need  the settlement leaves even if it cannot be written: see settlement_on_full_disk_near_expiry
    [[nodiscard]] result<void> settle(const txid& id, bool in_need) {
        PAYCHAN_TRY(const auto record, load_record(store_, record_kind::server_channel, id));
        if (list_.index().find(id) == nullptr) list_.add(id);
        const auto* const e = list_.index().find(id);
        if (e == nullptr) return fail(errc::not_found, "another process has deleted the channel");
        if (e->second.state.ended()) return fail(errc::wrong_state, "what ends the channel is in a block already");
        server_channel next{record, {}};
        next.session.phase = server_phase::open;
        auto find = [](const txid&) -> result<channel_record> { return fail(errc::not_found, "not asked for"); };
        const server_environment<KeyPolicy, WalletPolicy, decltype(find)> env{
            settings_, keys_, wallet_, find, {}, rate_, bytes_span{settlement_}};
        const result<effects> wanted = paychan::settle<Contracts>(next, env);
        if (!wanted) return fail(wanted.error());
        const detail::put_batch batch(wanted->persist, next.record, record_kind::server_channel);
        const result<void> written = put_all(store_, batch.view());
        auto ready = !written && in_need ? detail::settlement_on_full_disk_near_expiry(written.error(), wanted)
                                         : detail::on_disk(written, wanted);
        if (!ready) return fail(ready.error());
        (void)list_.apply(id,
                          happened::settlement_built{next.record.closing, list_.round(), rate_, written.has_value()});
        offer_contract(id);
        std::move(*ready).broadcast(broadcaster_).without_connection().notify([this](const event& told) {
            list_.tell(told);
        });
        return written;
    }

    void offer_contract(const txid& id) {
        const auto* const e = list_.index().find(id);
        if (e == nullptr || e->second.state.contract_height != 0) return;
        (void)detail::broadcast_stored(record_kind::server_contract, id, store_, broadcaster_, list_.memory());
    }

    void offer_settlement(const txid& id, const happened::look& look) {
        const auto sent =
            detail::broadcast_stored(record_kind::server_settlement, id, store_, broadcaster_, list_.memory());
        const auto tx = sent ? parse_transaction(*sent) : fail(sent.error());
        happened::closing_offered offered{tx ? std::optional(tx->id()) : std::nullopt, look.round, {}};
        // An earlier process may have built it, at the fee of another day.
        if (const auto* const e = list_.index().find(id); tx && e != nullptr && e->second.state.built_rate == 0)
            if (const auto record = load_record(store_, record_kind::server_channel, id))
                offered.rate = rate_of_settlement(*tx, record->terms.value).value_or(rate_);
        (void)list_.apply(id, offered);
        if (sent || sent.error().code == errc::store_failed) return;
        // The contract was spent before this side settled, and the block that spent it is gone; or a write was cut in two,
        // or the record is damaged.
        if (const auto settled = settle(id, is_in_need(id, look)); !settled)
            list_.report_now_and_then(id, settled.error());
    }

    /// How a broadcast ended: a settlement that was refused is built anew in time, with the fee of the day.
    void on_answer(const broadcast_answer& a) {
        // A contract first: it may be what ended another channel.
        if (list_.index().find(a.id) != nullptr) {
            if (list_.apply(a.id, happened::contract_answered{a.outcome, list_.height()}).stop_if_open)
                list_.stop_if_open(a.id);
            return;
        }
        auto* const ended = list_.index().ended_by(a.id);
        if (ended == nullptr) return;
        const txid channel = ended->first;
        if (list_.apply(channel, happened::closing_answered{a.outcome}).tell) tell_settled(channel, a.id);
    }

    void tell_settled(const txid& channel, const txid& closing) {
        const auto record = load_record(store_, record_kind::server_channel, channel);
        if (!record) return;
        event told = detail::event_of(event_kind::settled, *record);
        told.closing = closing;
        if (const auto tx = store_.get({record_kind::server_settlement, channel}, list_.memory()))
            told.data = tx->bytes;
        list_.tell(told);
    }

    detail::watch_list<role, StorePolicy, Events> list_;
    StorePolicy& store_;
    KeyPolicy& keys_;
    WalletPolicy& wallet_;
    BroadcastPolicy& broadcaster_;
    Events& events_;
    server_settings settings_;
    fee_rate rate_ = min_relay_fee_rate;
    std::array<std::uint8_t, max_settlement_size> settlement_{};
};

}  // namespace paychan
