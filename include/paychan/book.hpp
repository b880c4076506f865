// The book: all channels of a node, brought home at their time with nobody connected.  Uses the heap: not for payments.
#pragma once

#include "paychan/book_index.hpp"
#include "paychan/channel/custody.hpp"

namespace paychan {

/// A client's channels: each is refunded as soon as the chain's median time allows, unless a settlement was mined
/// before. Feed it with on_block() and on_block_disconnected(), and call tick() when the chain is caught up: with each
/// block, and now and then.  Beside a live connection Events must have `bool is_attached(const txid&)`: a record that the
/// connection holds is not deleted, or the connection would write it anew.
template <Store S, Broadcaster B, class Events>
class client_book : public detail::channel_index<S, Events> {
    using base = detail::channel_index<S, Events>;

public:
    client_book(S& store, B& broadcaster, Events& events, book_settings settings = {})
        : base(store, events, record_kind::client_channel, settings), broadcaster_(broadcaster) {}

    /// Broadcasts the refunds that are due, once with each block until one is mined, and forgets what is buried.
    void tick() {
        this->add_unread();
        this->write_unwritten();
        const bool again = std::exchange(undelivered_, false);
        for (const txid& id : base::up_to(this->deadlines_, this->median_time_ + -1)) {
            auto& e = this->entries_.at(id);
            if (e.broadcast_at != this->height_ || again) refund(id, e);
        }
        this->bury();
    }

    /// A refund that could not be delivered is due again at once.
    void on_broadcast(const txid&, broadcast_outcome outcome, std::string_view) {
        if (outcome == broadcast_outcome::unreachable) undelivered_ = true;
    }

private:
    void refund(const txid& id, typename base::entry& e) {
        const auto record = load_record(this->store_, this->kind_, id);
        if (!record) return this->report_now_and_then(id, e, record.error());
        if (const auto sent = broadcast_refund(*record, this->median_time_, this->store_, broadcaster_, this->memory_);
            !sent)
            return this->report_now_and_then(id, e, sent.error());
        e.broadcast_at = this->height_;
        if (!e.told) this->events_.on_event(detail::event_of(event_kind::refunding, *record));
        e.told = true;
    }

    B& broadcaster_;
    bool undelivered_ = false;
};

/// A server's channels: each is settled a safe margin before its expiry, and broadcast again with each block until it
/// is mined. Events may have, for channels that a live connection holds: `bool is_attached(const txid&)`, and `bool
/// settle_attached(const txid&)`, which settles it over that connection and is true when there is one.
template <class Contracts, Store S, KeyStore K, PayoutWallet W, Broadcaster B, class Events>
class server_book : public detail::channel_index<S, Events> {
    using base = detail::channel_index<S, Events>;

public:
    server_book(Contracts, S& store, K& keys, W& wallet, B& broadcaster, Events& events,
                const server_settings& settings = {}, book_settings book = {})
        : base(store, events, record_kind::server_channel, book),
          keys_(keys),
          wallet_(wallet),
          broadcaster_(broadcaster),
          settings_(settings) {}

    /// Settles what is due by the clock or by the chain's time, whichever is later (an early settlement costs nobody
    /// money), broadcasts with each block what is not mined yet, and forgets what is buried.  Call it every few seconds.
    void tick(unix_time now) {
        // A round is a block, or ten minutes in which none is shown: the chain may go on where this process cannot follow.
        if (this->height_ != round_height_ || now < round_time_ || now >= round_time_ + base::settings_.retry) {
            if (round_height_ != base::never) ++round_;  // what was settled before the first tick is of its round
            round_height_ = this->height_;
            round_time_ = now;
        }
        this->now_ = now;
        this->add_unread();
        this->write_unwritten();
        for (const txid& id : base::up_to(this->deadlines_, latest() + settings_.settle_margin)) {
            auto& e = this->entries_.at(id);
            if (e.broadcast_at == round_) continue;
            // There is no contract to collect from, yet.
            if (base::is_unbegun(e) && this->height_ != 0) continue;
            e.broadcast_at = round_;  // before the connection speaks, whose events may change or drop the entry
            if (settle_attached(id)) continue;
            e.broadcast_at = base::never;
            if (this->look_again(id) == channel_stage::settling) {  // by another process: its settlement is as good
                broadcast_round_ = base::never;
                continue;
            }
            // Tried again with the next tick.  A record that is newer by now is of another process, which settles it.
            if (const auto settled = settle(id, latest()); !settled && settled.error().code != errc::stale_record)
                this->report_now_and_then(id, e, settled.error());
        }
        if (broadcast_round_ != round_) broadcast_unmined();
        this->bury();
        if (asked_round_ != round_) ask_again();
    }

    /// Settles a channel now that no connection holds, or broadcasts its settlement again.
    /// Fails  not_found, wrong_state (its end is mined), insufficient_funds (what was paid does not bear the fee yet),
    /// key_unavailable, store_failed, stale_record.
    [[nodiscard]] result<void> settle(const txid& id) { return settle(id, false); }

    /// The same; from half the margin before the expiry on, the settlement leaves even if it cannot be written.
    [[nodiscard]] result<void> settle(const txid& id, unix_time now) {
        const auto own = this->entries_.find(id);
        return settle(id, own != this->entries_.end() && is_in_need(own->second, now));
    }

    /// How a broadcast ended: a settlement that was refused is built anew with the next block, with the fee of the day; see
    /// on_contract for contracts.  Tell the connections first: what they hold is theirs to change.
    void on_broadcast(const txid& id, broadcast_outcome outcome, std::string_view) {
        // A contract first: it may be what ended another channel.
        auto own = this->entries_.find(id);
        if (const auto ended = this->channel_of_.find(id);
            own == this->entries_.end() && ended != this->channel_of_.end())
            own = this->entries_.find(ended->second);
        if (outcome == broadcast_outcome::unreachable) broadcast_round_ = base::never;
        if (own == this->entries_.end()) return;
        auto& [channel, e] = *own;
        if (outcome == broadcast_outcome::unreachable) {
            e.broadcast_at = base::never;
        } else if (channel == id) {
            on_contract(channel, e, outcome);
        } else if (e.stage == channel_stage::settling) {
            e.refused = outcome == broadcast_outcome::refused;
            if (!e.refused && !std::exchange(e.told, true)) tell_settled(channel, id);
        }
    }

    /// What a settlement should pay now [sat/kvB].
    void on_fee_rate(fee_rate rate) { rate_ = rate; }

private:
    /// The clock or the chain's time, whichever is later.
    [[nodiscard]] unix_time latest() const { return std::max(this->now_, this->median_time_); }

    [[nodiscard]] bool is_in_need(const typename base::entry& e, unix_time now) const {
        return now + settings_.settle_margin / 2 >= e.expiry;
    }

    /// in_need  the settlement leaves even if it cannot be written: what it rests on, the last payment, is on disk, and so
    ///          near the expiry nobody takes another one.  A full disk must not cost the channel.
    [[nodiscard]] result<void> settle(const txid& id, bool in_need) {
        PAYCHAN_TRY(const auto record, load_record(this->store_, this->kind_, id));
        if (!this->entries_.contains(id)) this->add(id);
        const auto own = this->entries_.find(id);
        if (own == this->entries_.end()) return fail(errc::not_found, "another process has deleted the channel");
        auto& e = own->second;
        if (base::is_ended(e)) return fail(errc::wrong_state, "what ends the channel is in a block already");
        server_channel next{record, {}};
        next.session.phase = server_phase::open;
        auto find = [](const txid&) -> result<channel_record> { return fail(errc::not_found, "not asked for"); };
        const server_environment<K, W, decltype(find)> env{
            settings_, keys_, wallet_, find, {}, rate_, bytes_span{settlement_}};
        const result<effects> wanted = paychan::settle<Contracts>(next, env);
        if (!wanted) return fail(wanted.error());
        const detail::put_batch batch(wanted->persist, next.record, this->kind_);
        const result<void> written = put_all(this->store_, batch.view());
        const bool anyway = !written && in_need && written.error().code == errc::store_failed;
        auto saved = detail::on_disk(anyway ? result<void>{} : written, wanted);
        if (!saved) return fail(saved.error());
        this->change(id, [&](auto& changed) {
            if (written) changed.stage = next.record.stage;
            changed.closing = next.record.closing;
            changed.refused = false;
            changed.broadcast_at = changed.built_at = round_;
            changed.built_rate = rate_;
        });
        broadcast_contract(id, e);
        (void)std::move(*saved).broadcast(broadcaster_);  // there is no connection
        return written;
    }

    void tell_settled(const txid& channel, const txid& closing) {
        const auto record = load_record(this->store_, this->kind_, channel);
        if (!record) return;
        event told = detail::event_of(event_kind::settled, *record);
        told.closing = closing;
        if (const auto tx = this->store_.get({record_kind::server_settlement, channel}, this->memory_))
            told.data = tx->bytes;
        this->events_.on_event(told);
    }

    /// The network refuses a contract: a channel that was open takes no payments until the network thinks better of it.
    void on_contract(const txid id, typename base::entry& e, broadcast_outcome outcome) {
        if (outcome == broadcast_outcome::accepted) {
            this->change(id, [](auto& changed) {
                changed.refused_at = base::never;
                changed.asked = changed.accepted = true;
            });
            this->watch_funding(id);
            if (!base::is_ended(e)) this->unwritten_.erase(id);
        }
        if (outcome != broadcast_outcome::refused || e.contract_height != 0) return;
        this->change(id, [&](auto& changed) {
            if (changed.refused_at == base::never) changed.refused_at = this->height_;
            changed.asked = true;
            changed.accepted = false;
        });
        if (this->is_attached(id)) return;
        this->add(id);  // a connection may have changed it, or another process deleted it
        const auto own = this->entries_.find(id);
        if (own != this->entries_.end() && own->second.stage == channel_stage::open) (void)this->stop_payments(id);
    }

    /// Contracts that never opened a channel, and of which this process does not know what the network says: they were stored
    /// before it began, or the node was away.  An accepted one stays until its client resumes.
    void ask_again() {
        asked_round_ = round_;
        for (const txid& id : std::vector<txid>(this->unanswered_.begin(), this->unanswered_.end())) {
            auto& e = this->entries_.at(id);
            if (!std::exchange(e.asked, true)) e.seen = this->now_;
            broadcast_contract(id, e);
        }
    }

    /// Contracts that payments were taken on, and settlements: each until it is in a block.
    void broadcast_unmined() {
        broadcast_round_ = round_;
        const std::vector<txid> unmined(this->unmined_.begin(), this->unmined_.end());
        for (const txid& id : unmined) {
            auto& e = this->entries_.at(id);
            if (e.stage != channel_stage::settling) broadcast_contract(id, e);
            if (e.stage != channel_stage::settling || e.broadcast_at == round_) continue;
            if (!this->is_attached(id) && needs_rebuilding(e)) {
                const auto settled = settle(id, latest());
                if (settled) continue;
                this->report_now_and_then(id, e, settled.error());
            }
            broadcast_contract(id, e);
            const auto sent =
                detail::broadcast_stored(record_kind::server_settlement, id, this->store_, broadcaster_, this->memory_);
            e.broadcast_at = round_;
            if (sent) {
                // After a reorganisation `closing` may still name what another transaction of the contract was.
                if (const auto tx = parse_transaction(*sent))
                    this->change(id, [&](auto& changed) { changed.closing = tx->id(); });
            } else if (sent.error().code != errc::store_failed) {
                // The contract was spent before this side settled, and the block that spent it is gone; or a write was
                // cut in two, or the record is damaged.
                if (const auto settled = settle(id, latest()); !settled)
                    this->report_now_and_then(id, e, settled.error());
            }
        }
    }

    /// What was refused is built anew at another fee, or with other coins for it; not with each block, for what this process
    /// cannot see may have ended the channel.  What was accepted is built anew when fees have doubled since: a node that
    /// does not replace it keeps the old one, and either will do.
    [[nodiscard]] bool needs_rebuilding(typename base::entry& e) {
        if (e.built_rate == fee_rate{}) e.built_rate = rate_;  // by another process
        if (e.refused) return e.built_rate != rate_ || round_ >= e.built_at + rebuild_rounds;
        return rate_.sat_per_kvb / 2 >= e.built_rate.sat_per_kvb;
    }

    void broadcast_contract(const txid& id, const typename base::entry& e) {
        if (e.contract_height != 0) return;
        (void)detail::broadcast_stored(record_kind::server_contract, id, this->store_, broadcaster_, this->memory_);
    }

    [[nodiscard]] bool settle_attached(const txid& id) {
        if constexpr (requires { this->events_.settle_attached(id); })
            return this->events_.settle_attached(id);
        else
            return false;
    }

    static constexpr std::int32_t rebuild_rounds = 6;

    K& keys_;
    W& wallet_;
    B& broadcaster_;
    server_settings settings_;
    fee_rate rate_ = min_relay_fee_rate;
    std::int32_t round_ = 0;
    std::int32_t round_height_ = base::never;
    unix_time round_time_{};
    std::int32_t broadcast_round_ = base::never;
    std::int32_t asked_round_ = base::never;
    std::array<std::uint8_t, max_settlement_size> settlement_{};
};

}  // namespace paychan
