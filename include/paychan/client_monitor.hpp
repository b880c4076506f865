// A client's channels, brought home with nobody connected: each is refunded in time, unless a settlement was mined before.
#pragma once

#include "paychan/channel/refund.hpp"
#include "paychan/monitor/take_backs.hpp"
#include "paychan/monitor/watch_list.hpp"

namespace paychan {

/// Of a client_monitor that takes nothing back.
struct no_wallet {};

/// Follows the chain for all channels that a store has of a client.  Call load() first, on_chain() with all that happens on
/// the chain, tick() every second or so, and save() before the chain's position is stored: see keeper/.
/// Refunds leave as soon as the chain's median time allows, at the fee of the day, and again with each block until one is in
/// a block: at a higher fee where the market asks for more, or where none takes it.  What was stored when the channel opened
/// leaves in its place when the keys cannot be had.  Until then the contract of an open channel is given to the network with
/// each block, while it is in none.
/// With a TakeBackWallet, a contract that is in no block and that the network refuses after the expiry, which makes its
/// refund useless, has its coins sent back to that wallet; before the expiry only `abandon` does that.  When a block has spent
/// them the channel has ended.
/// Beside a live connection Events must have `bool is_attached(const txid&)`: a record that the connection holds is not
/// deleted, or the connection would write it anew.
template <class Contracts, class StorePolicy, class KeyPolicy, class BroadcastPolicy, class Events,
          class WalletPolicy = no_wallet>
class client_monitor {
    static constexpr bool takes_back = !std::is_same_v<WalletPolicy, no_wallet>;
    static_assert(!takes_back || TakeBackWallet<WalletPolicy>, "WalletPolicy: see TakeBackWallet in policy.hpp");
    static_assert(Store<StorePolicy>, "StorePolicy: see Store in policy.hpp");
    static_assert(KeyStore<KeyPolicy>, "KeyPolicy: see KeyStore in policy.hpp");
    static_assert(Broadcaster<BroadcastPolicy>, "BroadcastPolicy: see Broadcaster in policy.hpp");

public:
    static constexpr channel_role role = channel_role::client;
    static constexpr chain_turn chain_order = chain_turn::monitors;

    /// budget  what refunds may cost
    client_monitor(Contracts, StorePolicy& store, KeyPolicy& keys, BroadcastPolicy& broadcaster, Events& events,
                   const monitor_settings& settings = {}, const fee_budget& budget = {})
        : list_(store, events, settings), store_(store), keys_(keys), broadcaster_(broadcaster), budget_(budget) {}
    /// wallet  that has funded the contracts
    client_monitor(Contracts contracts, StorePolicy& store, KeyPolicy& keys, WalletPolicy& wallet,
                   BroadcastPolicy& broadcaster, Events& events, const monitor_settings& settings = {},
                   const fee_budget& budget = {}) requires TakeBackWallet<WalletPolicy>
        : client_monitor(contracts, store, keys, broadcaster, events, settings, budget) {
        wallet_ = &wallet;
    }
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
        match(
            e, [this](const broadcast_answer& a) { on_answer(a); },
            [this](const fee_estimate& f) {
                fees_ = f;
                list_.on_fees(f);
            });
    }

    /// Broadcasts the refunds that are due, and forgets what is buried.
    /// now  the clock; refunds go by the chain's time alone
    void tick(unix_time now) {
        list_.tick(now, list_.median_time(), [this](const txid& id, const duties& todo, const happened::look& look) {
            if (todo.offer_closing) refund(id, look, false);
            if (todo.offer_contract && !todo.offer_closing) offer_contract(id, look);
        });
        take_backs_.forget_if([this](const txid& id) { return list_.index().find(id) == nullptr; });
    }

    /// The operator's word on a contract that is in no block: payments on it end, which is on disk before its coins are sent
    /// back to the wallet.  The records stay, and the refund with them, until a block that has spent the coins is buried.
    /// Returns the transaction, which is the same one when it is asked for again at the same fee.  The event `taken_back`
    /// follows when the network has it.
    /// Fails  not_found, wrong_state (the contract is in a block, or the channel has ended), insufficient_funds and as
    ///        TakeBackWallet says, corrupt_record, unknown_format, store_failed.  Then nothing was sent.
    [[nodiscard]] result<txid> abandon(const txid& id) requires TakeBackWallet<WalletPolicy> {
        const auto* const e = list_.index().find(id);
        if (e == nullptr) return fail(errc::not_found, "there is no such channel");
        if (e->second.state.ended()) return fail(errc::wrong_state, "the channel has ended");
        if (e->second.state.contract_height != 0)
            return fail(errc::wrong_state, "the contract is in a block: its refund comes free after the expiry");
        return take_back(id, [&]() -> result<void> {
            PAYCHAN_CHECK(list_.stop_payments(id));
            return {};
        });
    }

    /// True when a block has what ended the channel, or the network what takes its coins back.
    [[nodiscard]] bool is_over(const txid& id) const {
        const auto* const e = list_.index().find(id);
        return take_backs_.has(id) || (e != nullptr && e->second.state.ended());
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
    static constexpr std::int64_t patience = 12;    // [blocks] that a refund waits at what the market asks
    static constexpr std::int64_t most_steps = 48;  // times an eighth more than that

    void offer_contract(const txid& id, const happened::look& look) {
        (void)detail::broadcast_stored(record_kind::client_contract, id, store_, broadcaster_, list_.memory());
        (void)list_.apply(id, happened::contract_offered{look.round, look.now});
    }

    /// A contract that was refused before, for what it spends was not there.
    void offer_what_hangs_on(const txid& contract) {
        for (const txid& id : list_.index().spending_outputs_of(contract)) {
            const watched& w = list_.index().find(id)->second.state;
            if (w.stage == channel_stage::open && !w.backed) offer_contract(id, list_.look());
        }
    }

    /// underpaid  the last one was refused for its fee
    void refund(const txid& id, const happened::look& look, bool underpaid) {
        const auto record = load_record(store_, record_kind::client_channel, id);
        if (!record) return list_.report_now_and_then(id, record.error());
        if (!refund_is_due(*record, look.median_time)) return;
        const auto& known = list_.index().find(id)->second.state;
        // A contract that cannot be read is most likely mined long since: its refund must not wait for it.
        (void)detail::broadcast_stored(record_kind::client_contract, id, store_, broadcaster_, list_.memory());
        const auto stored = store_.get({record_kind::client_refund, id}, list_.memory());
        const bytes_view old = stored ? stored->bytes : bytes_view{};

        const fee_decision fee = decide(*record, known, look, underpaid);
        const auto fresh = Contracts::template with<result<refund_buffer>>(record->protocol, [&]<class Scheme>() {
            return build_refund<Scheme>(record->terms, record->key, keys_, old, fee.rate);
        });
        const bytes_view tx = fresh ? fresh->view() : old;
        if (tx.empty()) return list_.report_now_and_then(id, stored ? fresh.error() : stored.error());
        detail::broadcast_again(tx, broadcaster_);
        const auto parsed = parse_transaction(tx);
        const auto closing = parsed ? std::optional(parsed->id()) : std::nullopt;
        if (!fee.within_budget)
            list_.report_now_and_then(
                id, {errc::insufficient_funds, "the refund pays less than the network asks for, as its budget says"});
        const happened::closing_offered offered{closing, look.round, fresh ? fee.rate : fee_rate{}};
        if (!list_.apply(id, offered).tell) return;
        event told = detail::event_of(event_kind::refunding, *record);
        if (closing) told.closing = *closing;
        list_.tell(told);
    }

    /// first  result<void>(): what must be done before it leaves
    template <class First>
    [[nodiscard]] result<txid> take_back(const txid& id, First&& first) {
        PAYCHAN_TRY(const auto contract, store_.get({record_kind::client_contract, id}, list_.memory()));
        std::array<std::uint8_t, max_contract_size>
            memory{};  // it has no more inputs than the contract, and one output
        PAYCHAN_TRY(const bytes_view tx, wallet_->take_back(contract.bytes, std::max(fees_.rate, fees_.floor), memory));
        PAYCHAN_TRY(const transaction parsed, parse_transaction(tx));
        PAYCHAN_CHECK(first());
        take_backs_.was_offered(parsed.id(), id);
        detail::broadcast_again(tx, broadcaster_);
        return parsed.id();
    }

    /// The refund of a contract that is nowhere is refused, too.  Before the expiry a refusal proves nothing: the node may be
    /// short of memory, or behind.  After it all of the contract is ours in any case, whoever has it.
    void on_contract_refused(const txid& id) {
        if constexpr (takes_back) {
            const auto* const e = list_.index().find(id);
            const auto look = list_.look();
            if (wallet_ == nullptr || e == nullptr || !look.caught_up) return;
            const watched& w = e->second.state;
            if (w.ended() || w.contract_height != 0 || look.median_time <= w.expiry) return;
            const auto sent = take_back(id, []() -> result<void> { return {}; });
            // Coins that are spent in a block that nobody can show are no news.
            if (!sent && sent.error().code != errc::insufficient_funds) list_.report_now_and_then(id, sent.error());
        }
    }

    void on_take_back(const txid& taken_by) {
        const auto id = take_backs_.was_taken(taken_by);
        if (!id) return;
        const auto record = load_record(store_, record_kind::client_channel, *id);
        event told = record ? detail::event_of(event_kind::taken_back, *record) : event{event_kind::taken_back};
        told.channel = *id;
        told.closing = taken_by;
        list_.tell(told);
    }

    /// Without a deadline: the market's fee at first, and more when blocks pass that do not take what nodes have.
    [[nodiscard]] fee_decision decide(const channel_record& record, const watched& known, const happened::look& look,
                                      bool underpaid) const {
        fee_question q{record.terms.value};
        q.vsize = Contracts::template with<result<std::int64_t>>(
                      record.protocol,
                      [&]<class Scheme>() -> result<std::int64_t> {
                          return static_cast<std::int64_t>(refund_vsize<Scheme>(record.terms));
                      })
                      .value_or(0);
        q.blocks_left = detail::rising_blocks + 1;
        q.paid = fee_rate{known.built_rate};
        if (known.built_at != watched::never)
            q.steps = std::clamp<std::int64_t>(look.height - known.built_at - patience, 0, most_steps);
        q.underpaid = underpaid;
        fee_decision fee = decide_fee(fees_, q, budget_);
        // A little more would not be taken in its place, and be another transaction.
        if (q.paid.sat_per_kvb > 0 && !is_worth_replacing(q.paid, fee.rate)) fee.rate = q.paid;
        return fee;
    }

    /// What could not be delivered is due again at once; so is one that pays too little for nodes.  One that another spend of
    /// the contract outbids is not: that is an older refund, or a settlement, which pays this side too.
    void on_answer(const broadcast_answer& a) {
        const bool underpaid = a.outcome == broadcast_outcome::refused && a.for_fee == fee_refusal::underpaid;
        (void)list_.on_contract_answered(a.id, a);
        if (a.outcome == broadcast_outcome::refused) on_contract_refused(a.id);
        if (a.outcome == broadcast_outcome::accepted) {
            on_take_back(a.id);
            offer_what_hangs_on(a.id);
        }
        auto* const ended = list_.index().ended_by(a.id);
        if (ended == nullptr) return;
        const txid channel = ended->first;
        (void)list_.on_closing_answered(channel, a, underpaid);
        const auto& known = ended->second.state;
        if (!underpaid || known.ended() || known.built_rate == 0) return;
        const auto record = load_record(store_, record_kind::client_channel, channel);
        const auto look = list_.look();
        if (record && decide(*record, known, look, true).rate > fee_rate{known.built_rate}) refund(channel, look, true);
    }

    detail::watch_list<role, StorePolicy, Events> list_;
    StorePolicy& store_;
    KeyPolicy& keys_;
    BroadcastPolicy& broadcaster_;
    fee_budget budget_;
    WalletPolicy* wallet_ = nullptr;
    detail::take_backs take_backs_;
    fee_estimate fees_{min_relay_fee_rate, {}, {}};
};

}  // namespace paychan
