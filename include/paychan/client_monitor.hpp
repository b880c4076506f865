// A client's channels, brought home with nobody connected: each is refunded in time, unless a settlement was mined before.
#pragma once

#include "paychan/monitor/watch_list.hpp"

namespace paychan {

/// Follows the chain for all channels that a store has of a client.  Call load() first, on_chain() with all that happens on
/// the chain, tick() every second or so, and save() before the chain's position is stored: see keeper/.
/// Refunds leave as soon as the chain's median time allows, and again with each block until one is in a block.
/// Beside a live connection Events must have `bool is_attached(const txid&)`: a record that the connection holds is not
/// deleted, or the connection would write it anew.
template <class StorePolicy, class BroadcastPolicy, class Events>
class client_monitor {
    static_assert(Store<StorePolicy>, "StorePolicy: see Store in policy.hpp");
    static_assert(Broadcaster<BroadcastPolicy>, "BroadcastPolicy: see Broadcaster in policy.hpp");

public:
    static constexpr channel_role role = channel_role::client;
    static constexpr chain_turn chain_order = chain_turn::monitors;

    client_monitor(StorePolicy& store, BroadcastPolicy& broadcaster, Events& events,
                   const monitor_settings& settings = {})
        : list_(store, events, settings), store_(store), broadcaster_(broadcaster) {}
    client_monitor(const client_monitor&) = delete;
    client_monitor& operator=(const client_monitor&) = delete;

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
        match(e, [this](const broadcast_answer& a) { on_answer(a); });
    }

    /// Broadcasts the refunds that are due, and forgets what is buried.
    /// now  the clock; refunds go by the chain's time alone
    void tick(unix_time now) {
        list_.tick(now, list_.median_time(), {},
                   [this](const txid& id, const duties& todo, const happened::look& look) {
                       if (todo.offer_closing) refund(id, look);
                   });
    }

    [[nodiscard]] std::size_t size() const { return list_.index().size(); }
    /// How many channels have no end in any block yet.
    [[nodiscard]] std::size_t unended() const { return list_.index().unended(); }
    /// The expiry of the channel that is refunded next.
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
    void refund(const txid& id, const happened::look& look) {
        const auto record = load_record(store_, record_kind::client_channel, id);
        if (!record) return list_.report_now_and_then(id, record.error());
        const auto sent = broadcast_refund(*record, look.median_time, store_, broadcaster_, list_.memory());
        if (!sent) return list_.report_now_and_then(id, sent.error());
        const auto tx = parse_transaction(*sent);
        const auto closing = tx ? std::optional(tx->id()) : std::nullopt;
        if (!list_.apply(id, happened::closing_offered{closing, look.round, {}}).tell) return;
        event told = detail::event_of(event_kind::refunding, *record);
        if (closing) told.closing = *closing;
        list_.tell(told);
    }

    /// What could not be delivered is due again at once.
    void on_answer(const broadcast_answer& a) {
        if (a.outcome != broadcast_outcome::unreachable) return;
        (void)list_.apply(a.id, happened::contract_answered{a.outcome, list_.height()});
        if (auto* const ended = list_.index().ended_by(a.id))
            (void)list_.apply(txid(ended->first), happened::closing_answered{a.outcome});
    }

    detail::watch_list<role, StorePolicy, Events> list_;
    StorePolicy& store_;
    BroadcastPolicy& broadcaster_;
};

}  // namespace paychan
