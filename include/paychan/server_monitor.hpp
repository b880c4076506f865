// A server's channels, brought home with nobody connected: each is settled before its expiry.
#pragma once

#include "paychan/channel/server_step.hpp"
#include "paychan/monitor/offers.hpp"
#include "paychan/monitor/unconfirmed_credit.hpp"
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
          settings_(settings),
          credit_(settings.max_unconfirmed),
          recheck_(monitor.recheck) {}
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
            e, [this](const broadcast_answer& a) { on_answer(a); },
            [this](const disconnected_blocks&) { counted_ = false; },
            [this](const fee_estimate& f) {
                fees_ = f;
                list_.on_fees(f);
            });
    }

    /// Settles what is due by the clock or by the chain's time, whichever is later (an early settlement costs nobody
    /// money), gives to the network again what is in no block yet, and forgets what is buried.
    void tick(unix_time now) {
        list_.tick(now, std::max(now, list_.median_time()),
                   [this](const txid& id, const duties& todo, const happened::look& look) { carry(id, todo, look); });
        forget_offers();
        recheck(now);
    }

    /// Settles a channel now that no connection holds, or broadcasts its settlement again.
    /// Fails  not_found, wrong_state (its end is mined), insufficient_funds (what was paid does not bear the fee yet),
    /// key_unavailable, store_failed, stale_record.
    [[nodiscard]] result<void> settle(const txid& id) {
        if (const auto stage = list_.look_again(id); stage && *stage == channel_stage::settling && has_settlement(id)) {
            if (list_.index().find(id) == nullptr) list_.add(id);
            const auto* const e = list_.index().find(id);
            if (e != nullptr && e->second.state.ended())
                return fail(errc::wrong_state, "what ends the channel is in a block already");
            offer_contract(id);
            offer_settlement(id, list_.look(), false);
            return {};
        }
        return build_and_settle(id, false);
    }

    /// Its contract is in a block.
    [[nodiscard]] bool is_mined(const txid& id) const {
        const auto* const e = list_.index().find(id);
        return e != nullptr && e->second.state.contract_height != 0;
    }
    /// It is in a block, or the node has said since it came back last, or since the start, that it has it; and no block has
    /// spent it or its coins, which a full disk may keep from the channel's record.
    [[nodiscard]] bool is_backed(const txid& id) const {
        const auto* const e = list_.index().find(id);
        return e != nullptr && !e->second.state.ended() &&
               (e->second.state.contract_height != 0 || e->second.state.backed);
    }
    /// Whether `total` may be paid on a channel now, as the chain and the settings say: it counts then.
    /// Fails  other (wait for a block, or the channel has ended, which a full disk may keep from its record).
    [[nodiscard]] result<void> may_take(const txid& id, satoshi total) {
        const auto* const e = list_.index().find(id);
        if (e != nullptr && e->second.state.ended())
            return fail(errc::other, "what ends the channel is in a block: open another one");
        const bool any = settings_.max_unconfirmed >= max_money;
        if (settings_.min_confirmations <= 0 && any) return {};
        const std::int32_t mined = e == nullptr ? 0 : e->second.state.contract_height;
        const std::int32_t confirmations = mined == 0 ? 0 : list_.height() - mined + 1;
        if (confirmations < settings_.min_confirmations)
            return fail(errc::other,
                        "the contract has too few confirmations for this server to take payments: resume the channel "
                        "when it has more");
        if (mined != 0 || any) return {};
        if (!list_.is_loaded())
            return fail(errc::other, "this server has not read all its channels yet: resume the channel in a minute");
        count_unconfirmed();
        if (credit_.take(id, total)) return {};
        return fail(errc::other,
                    "this server takes no more payments on contracts that are in no block: resume the channel after "
                    "the next block");
    }
    /// [satoshi] paid on contracts that are in no block; 0 where max_unconfirmed is not set.
    [[nodiscard]] satoshi unconfirmed() const { return credit_.sum(); }
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
    using offer = detail::settlement_offer;

    [[nodiscard]] static monitor_settings with_margin(monitor_settings s, const server_settings& server) {
        s.settle_margin = server.settle_margin;
        return s;
    }

    void carry(const txid& id, const duties& todo, const happened::look& look) {
        if (todo.settle && settle_when_due(id, look)) return;
        if (todo.offer_contract) offer_contract(id);
        if (todo.offer_closing || todo.build_anew)
            offer_settlement(id, look, todo.build_anew);
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
            offer_settlement(id, look, false);
            return true;
        }
        // Tried again with the next tick.  A record that is newer by now is of another process, which settles it.
        const auto settled = build_and_settle(id, is_in_need(id, look));
        if (!settled && settled.error().code != errc::stale_record) list_.report_now_and_then(id, settled.error());
        return settled.has_value();
    }

    [[nodiscard]] bool has_settlement(const txid& id) {
        const auto stored = store_.get({record_kind::server_settlement, id}, list_.memory());
        return stored && parse_transaction(stored->bytes);
    }

    /// True from half the margin before the expiry on.
    [[nodiscard]] bool is_in_need(const txid& id, const happened::look& look) {
        const auto* const e = list_.index().find(id);
        return e != nullptr &&
               std::max(look.now, look.median_time) + settings_.settle_margin / 2 >= e->second.state.expiry;
    }

    /// in_need  the settlement leaves even if it cannot be written: see settlement_on_full_disk_near_expiry
    [[nodiscard]] result<void> build_and_settle(const txid& id, bool in_need) {
        PAYCHAN_TRY(const auto record, load_record(store_, record_kind::server_channel, id));
        if (list_.index().find(id) == nullptr) list_.add(id);
        const auto* const e = list_.index().find(id);
        if (e == nullptr) return fail(errc::not_found, "another process has deleted the channel");
        if (e->second.state.ended()) return fail(errc::wrong_state, "what ends the channel is in a block already");
        PAYCHAN_TRY(const fee_decision fee,
                    decide(record, e->second.state, fee_rate{e->second.state.built_rate}, false));
        server_channel next{record, {}};
        const result<effects> wanted = build(next, fee.rate);
        if (!wanted) return fail(wanted.error());
        const detail::put_batch batch(wanted->persist, next.record, record_kind::server_channel);
        const result<void> written = put_all(store_, batch.view());
        auto ready = !written && in_need ? detail::settlement_on_full_disk_near_expiry(written.error(), wanted)
                                         : detail::on_disk(written, wanted);
        if (!ready) return fail(ready.error());
        offers_.erase(id);
        (void)list_.apply(
            id, happened::settlement_built{next.record.closing, list_.round(), fee.rate, written.has_value()});
        offer_contract(id);
        std::move(*ready).broadcast(broadcaster_).without_connection().notify([this](const event& told) {
            list_.tell(told);
        });
        return written;
    }

    /// The effects of settling point to settlement_.
    [[nodiscard]] result<effects> build(server_channel& next, fee_rate rate) {
        next.session.phase = server_phase::open;
        auto find = [](const txid&) -> result<channel_record> { return fail(errc::not_found, "not asked for"); };
        const server_environment<KeyPolicy, WalletPolicy, decltype(find)> env{
            settings_, keys_, wallet_, find, {}, fees_.rate, bytes_span{settlement_}};
        return paychan::settle<Contracts>(next, env, rate);
    }

    /// A mempool that has replaced a contract tells it to no one, but to whoever offers it again.
    void recheck(unix_time now) {
        // The tick has done that in a new round.
        const bool is_new = std::exchange(rechecked_round_, list_.round()) != list_.round();
        if (!is_new && now >= rechecked_ && now < rechecked_ + recheck_) return;
        rechecked_ = now;
        if (is_new || !list_.index().has_caught_up()) return;
        for (const txid& id : list_.index().unmined())
            if (list_.index().find(id)->second.state.stage == channel_stage::open) offer_contract(id);
    }

    /// What was paid before this process began, or in blocks that have left the chain.
    void count_unconfirmed() {
        if (std::exchange(counted_, true)) return;
        for (const txid& id : list_.index().unmined())
            if (const auto record = load_record(store_, record_kind::server_channel, id))
                if (record->stage != channel_stage::contract_stored) credit_.count(id, record->paid());
    }

    void offer_contract(const txid& id) {
        const auto* const e = list_.index().find(id);
        if (e == nullptr || e->second.state.contract_height != 0) return;
        (void)detail::broadcast_stored(record_kind::server_contract, id, store_, broadcaster_, list_.memory());
    }

    // ---- fees.  A settlement that takes another one's place is stored when the network has taken it: either pays this side,
    // and until then the stored one is the one that nodes may have.

    /// [satoshi] of the inputs that a wallet has added, where it tells.
    [[nodiscard]] std::optional<satoshi> value_of(const outpoint& where) {
        if constexpr (requires { wallet_.value_of(where); })
            return wallet_.value_of(where);
        else
            return std::nullopt;
    }
    [[nodiscard]] std::optional<fee_rate> rate_of(const transaction& settlement, const channel_record& record) {
        return rate_of_settlement(settlement, record.terms.value, [this](const outpoint& o) { return value_of(o); });
    }

    /// paid  by the last one.  Fails  as payout_script() does, unsupported.
    [[nodiscard]] result<fee_decision> decide(const channel_record& record, const watched& known, fee_rate paid,
                                              bool underpaid) {
        PAYCHAN_TRY(const auto payout_to, wallet_.payout_script());
        PAYCHAN_TRY(const std::size_t vsize, Contracts::template with<result<std::size_t>>(
                                                 record.protocol, [&]<class Scheme>() -> result<std::size_t> {
                                                     return settlement_vsize<Scheme>(record, payout_to);
                                                 }));
        constexpr std::int64_t block_interval = 600;  // [s]
        const happened::look look = list_.look();
        fee_question q{record.paid()};
        q.vsize = static_cast<std::int64_t>(vsize);
        q.blocks_left = (record.terms.expiry.seconds - std::max(look.now, look.median_time).seconds) / block_interval;
        q.paid = paid;
        q.underpaid = underpaid;
        const auto parent = contracts_.find(record.terms.contract.id);
        if (known.contract_height == 0 && parent != contracts_.end())
            q.parent = q.blocks_left > detail::rising_blocks ? usual_part(parent->second.alone)
                                                             : parent->second.with_ancestors;
        const fee_decision fee = decide_fee(fees_, q, settings_.fees);
        if (!fee.within_budget)
            list_.report_now_and_then(record.terms.contract.id,
                                      {errc::insufficient_funds,
                                       "the settlement pays less than it should to be mined in time: its fee would be "
                                       "above its budget, a share of what was paid"});
        return fee;
    }

    /// The client chose how large its contract is and what it hangs on: before it is urgent, others' fees are not paid.
    [[nodiscard]] static package usual_part(package contract) {
        constexpr std::int64_t usual = 1'000;  // [vbytes] of a contract
        if (contract.vsize <= usual) return contract;
        return {satoshi{contract.fee.value / contract.vsize * usual}, usual};
    }

    /// Gives the stored settlement to the network, or one that pays what is due now.
    /// anew  what was offered last was refused, and not for its fee: other coins may help
    void offer_settlement(const txid& id, const happened::look& look, bool anew) {
        const auto stored = store_.get({record_kind::server_settlement, id}, list_.memory());
        const auto tx = stored ? parse_transaction(stored->bytes) : fail(stored.error());
        if (!tx) {
            (void)list_.apply(id, happened::closing_offered{std::nullopt, look.round, {}});
            if (!stored && stored.error().code == errc::store_failed) return;
            // The contract was spent before this side settled, and the block that spent it is gone; or a write was cut in
            // two, or the record is damaged.
            if (const auto settled = build_and_settle(id, is_in_need(id, look)); !settled)
                list_.report_now_and_then(id, settled.error());
            return;
        }
        const txid closing = tx->id();
        const auto record = load_record(store_, record_kind::server_channel, id);
        const auto* const e = list_.index().find(id);
        if (e == nullptr) return;
        const auto pays = record ? rate_of(*tx, *record) : std::nullopt;
        const fee_rate last{e->second.state.built_rate};
        const fee_rate paid = pays.value_or(last > fee_rate{} ? last : fees_.rate);
        fee_rate child{};
        if (record && may_replace(*record)) {
            const auto o = offers_.find(id);
            const bool stands = o != offers_.end() && o->second.stands(look.round);
            if (o != offers_.end()) child = o->second.child;  // nodes may have forgotten it too
            const fee_rate before = stands ? std::max(paid, child) : paid;
            const auto fee = decide(*record, e->second.state, before, false);
            const bool more = fee && is_worth_replacing(before, fee->rate);
            const bool less = fee && o != offers_.end() && o->second.underpaid && is_worth_replacing(fee->rate, before);
            if (stands && more) child = fee->rate;
            if (!stands && (more || less || anew) && replace(*record, more || less ? fee->rate : paid)) return;
        }
        (void)detail::broadcast_stored(record_kind::server_settlement, id, store_, broadcaster_, list_.memory());
        (void)list_.apply(id, happened::closing_offered{closing, look.round, paid});
        if (child > fee_rate{}) pay_for(id, child);
    }

    /// Where the store says that it is settled, a connection that still holds it has nothing to say any more.
    [[nodiscard]] bool may_replace(const channel_record& record) {
        return record.stage == channel_stage::settling || !list_.is_attached(record.terms.contract.id);
    }

    /// Gives a settlement at another fee to the network.  False: there is none, and this was told.
    bool replace(const channel_record& record, fee_rate rate) {
        const txid id = record.terms.contract.id;
        server_channel next{record, {}};
        const auto built = build(next, rate);
        if (!built) {
            list_.report_now_and_then(id, built.error());
            return false;
        }
        offer& o = offers_[id];
        o.id = next.record.closing;
        o.tx.assign(built->persist.settlement.begin(), built->persist.settlement.end());
        const bool is_stored = record.stage == channel_stage::settling;  // one like it
        (void)list_.apply(id, happened::settlement_built{o.id, list_.round(), rate, is_stored});
        detail::broadcast_again(o.tx, broadcaster_);
        return true;
    }

    /// The network has refused the settlement for its fee: more, at once, as long as the budget lasts.
    void raise(const txid& id) {
        const auto* const e = list_.index().find(id);
        if (e == nullptr) return;
        // One that left past a full disk too.
        if (e->second.state.stage != channel_stage::settling && e->second.state.asked_over == watched::never) return;
        const auto record = load_record(store_, record_kind::server_channel, id);
        if (!record || !may_replace(*record)) return;
        const fee_rate paid{std::max(e->second.state.built_rate, 1)};
        const auto fee = decide(*record, e->second.state, paid, true);
        if (fee && fee->rate > paid) (void)replace(*record, fee->rate);
    }

    /// Nodes keep the first one: a child of its payout raises what they are paid for both.
    void pay_for(const txid& id, fee_rate rate) {
        if constexpr (ChildWallet<WalletPolicy>) {
            const auto o = offers_.find(id);
            const auto record = load_record(store_, record_kind::server_channel, id);
            if (o == offers_.end() || o->second.pays.alone.vsize == 0 || !record) return;
            const satoshi most{share_of(record->paid(), settings_.fees, settings_.fees.last_share).value -
                               o->second.pays.alone.fee.value};
            const auto child = wallet_.pay_for(
                {o->second.payout, o->second.value, o->second.script.view(), o->second.pays.with_ancestors, rate, most},
                list_.memory());
            if (!child) return list_.report_now_and_then(id, child.error());
            o->second.child = rate;
            detail::broadcast_again(*child, broadcaster_);
        }
    }

    /// The network has a settlement: what it pays is remembered, and one that took the stored one's place is stored.
    void on_taken(const txid& id, const broadcast_answer& a, bool instead) {
        offer& o = offers_[id];
        if (!instead) {
            const auto stored = store_.get({record_kind::server_settlement, id}, list_.memory());
            if (!stored) return;
            o.tx.assign(stored->bytes.begin(), stored->bytes.end());
        }
        const std::vector<std::uint8_t> bytes = std::exchange(o.tx, {});
        const auto tx = parse_transaction(bytes);
        const auto record = load_record(store_, record_kind::server_channel, id);
        if (!tx || !record || tx->id() != a.id) return;
        for (const tx_output& out : tx->outputs()) {  // the last one is the payout
            o.value = out.value;
            if (!o.script.assign(out.script_pubkey)) return;
        }
        o.payout = {a.id, static_cast<std::uint32_t>(tx->output_count() - 1)};
        o.underpaid = false;
        o.pays = a.pays;
        if (const auto rate = rate_of(*tx, *record); o.pays.with_ancestors.vsize == 0 && rate) {
            const auto vsize = static_cast<std::int64_t>(tx->vsize());
            o.pays.alone = o.pays.with_ancestors = {satoshi{rate->sat_per_kvb * vsize / 1'000}, vsize};
        }
        if (!instead && o.stands(list_.round()) && o.wanted > o.child) pay_for(id, std::exchange(o.wanted, {}));
        if (!instead) return;
        o.is_fixed = false;
        o.outbid = -1;
        o.child = {};
        channel_record next = *record;
        next.stage = channel_stage::settling;
        next.closing = a.id;
        ++next.version;
        const detail::put_batch batch({true, {}, {}, bytes}, next, record_kind::server_channel);
        if (const auto written = put_all(store_, batch.view()); !written)
            list_.report_now_and_then(id, written.error());
    }

    // ---- what the network says

    void on_answer(const broadcast_answer& a) {
        // A contract first: it may be what ended another channel.
        if (list_.index().find(a.id) != nullptr) {
            if (a.outcome == broadcast_outcome::accepted && a.pays.with_ancestors.vsize > 0) contracts_[a.id] = a.pays;
            if (list_.on_contract_answered(a.id, a).stop_if_open) list_.stop_if_open(a.id);
            return;
        }
        auto* const ended = list_.index().ended_by(a.id);
        if (ended == nullptr) return;
        const txid channel = ended->first;
        const auto o = offers_.find(channel);
        const bool instead = o != offers_.end() && !o->second.tx.empty() && o->second.id == a.id;
        if (a.outcome == broadcast_outcome::accepted && (a.mined == 0 || instead)) on_taken(channel, a, instead);
        broadcast_answer news = a;
        news.spent = a.spent && !instead;  // perhaps by the stored one, which is asked about first
        if (list_.on_closing_answered(channel, news).tell) tell_settled(channel, a.id);
        if (a.outcome != broadcast_outcome::refused || ended->second.state.ended()) return;
        if (instead) {
            o->second.tx.clear();
            keep_coins(channel);
        }
        if (a.for_fee == fee_refusal::underpaid) {
            offers_[channel].underpaid = true;
            return raise(channel);
        }
        const happened::look look = list_.look();
        // By the refund; before the expiry only by a settlement of this side, or what hangs on it.
        if (a.for_fee == fee_refusal::outbid && look.median_time > ended->second.state.expiry) return raise(channel);
        if (o == offers_.end()) return;
        // Perhaps nodes have the stored one, and keep it: then a child pays.
        o->second.is_fixed = instead && a.for_fee == fee_refusal::none;
        if (!instead) return;
        o->second.outbid = look.round;
        o->second.wanted = fee_rate{ended->second.state.built_rate};
        offer_settlement(channel, look, false);
    }

    /// Of the stored settlement, which nodes may have: the wallet has let them go for the one that was to take its place.
    void keep_coins(const txid& channel) {
        if constexpr (requires { wallet_.reserve_inputs_of(bytes_view{}); })
            if (const auto stored = store_.get({record_kind::server_settlement, channel}, list_.memory()))
                (void)wallet_.reserve_inputs_of(stored->bytes);
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

    void forget_offers() {
        std::erase_if(offers_, [this](const auto& o) {
            const auto* const e = list_.index().find(o.first);
            return e == nullptr || e->second.state.ended();
        });
        // Contracts that a block holds need nothing more.
        if (std::exchange(pruned_at_, list_.height()) == list_.height()) return;
        const auto is_done = [this](const txid& id) {
            const auto* const e = list_.index().find(id);
            return e == nullptr || e->second.state.ended() || e->second.state.contract_height != 0;
        };
        std::erase_if(contracts_, [&](const auto& c) { return is_done(c.first); });
        credit_.forget_if(is_done);
    }

    detail::watch_list<role, StorePolicy, Events> list_;
    StorePolicy& store_;
    KeyPolicy& keys_;
    WalletPolicy& wallet_;
    BroadcastPolicy& broadcaster_;
    Events& events_;
    server_settings settings_;
    fee_estimate fees_{min_relay_fee_rate, {}, {}};
    detail::by_channel<offer> offers_;
    detail::by_channel<mempool_fees> contracts_;  // that are in no block
    detail::unconfirmed_credit credit_;
    bool counted_ = false;
    std::int32_t pruned_at_ = 0;  // [blocks] height at which those in blocks were left out
    std::int64_t recheck_;
    std::int32_t rechecked_round_ = watched::never;
    unix_time rechecked_{};
    std::array<std::uint8_t, max_settlement_size> settlement_{};
};

}  // namespace paychan
