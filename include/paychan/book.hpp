// The book: all channels of a node, brought home at their time with nobody connected.  Uses the heap: not for payments.
#pragma once

#include <limits>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "paychan/bitcoin/block.hpp"
#include "paychan/channel/carry_out.hpp"
#include "paychan/channel/custody.hpp"
#include "paychan/wire/messages.hpp"

namespace paychan {

inline constexpr std::int32_t burial_depth = 100;  // [blocks] a reorganisation this deep has never been seen

/// How the book acts, beyond what server_settings say.
struct book_settings {
    std::int32_t burial = burial_depth;    ///< [blocks] from the closing transaction's on, before records are deleted
    std::int32_t refused_depth = 6;        ///< [blocks] after which a refused contract that never opened is forgotten
    std::int64_t stillborn_age = 604'800;  ///< [s] past the expiry, after which any that never opened or was refused is
};

namespace detail {

/// What both roles' books share: which channels there are, when they are due, and what the chain did to them.
/// Rescans are normal: the same block may come again after a restart, and says the same again.
/// Records are read when a channel is added and when something happens to it, never to find out what is due.
template <Store S, class Events>
class channel_index {
public:
    channel_index(S& store, Events& events, record_kind kind, book_settings settings)
        : store_(store), events_(events), kind_(kind), settings_(settings) {}

    /// Reads the names and deadlines of all stored channels.  Damaged records are reported as events, and the others
    /// still load. Fails  store_failed.
    [[nodiscard]] result<void> load() {
        std::set<txid> ids;
        PAYCHAN_CHECK(store_.list(kind_, [&ids](const record_id& id) { ids.insert(id.channel); }));
        for (const txid& id : ids) add(id);
        return {};
    }

    /// Finds what other processes have done to a store that several share: channels that are new, and what became of those
    /// that had no contract in a block.  Call it before each block, at the tip of the chain: a channel is stored before its
    /// contract leaves, so that nothing that spends it is missed.  Reads names, and few records.
    /// Fails  store_failed: the channels that are known are watched as before.
    [[nodiscard]] result<void> refresh() {
        std::vector<txid> fresh;
        PAYCHAN_CHECK(store_.list(kind_, [&](const record_id& id) {
            if (!entries_.contains(id.channel)) fresh.push_back(id.channel);
        }));
        for (const txid& id : fresh) add(id);
        for (const auto& [expiry, id] : by_time(unbegun_)) (void)look_again(id);
        return {};
    }

    /// Watches a channel that was stored, or looks at its record again.  What a store cannot read now, the next tick reads.
    void add(const txid& id) {
        const auto record = load_record(store_, kind_, id);
        if (!record && record.error().code == errc::store_failed) {
            if (!unread_.insert(id).second) return;
            // Blocks that come meanwhile may hold its contract: they are not shown twice.
            if (entries_.try_emplace(id).second) change(id, [](entry& e) { e.expiry = unknown_expiry; });
            return report(id, record.error());
        }
        unread_.erase(id);
        if (!record) return report(id, record.error());
        entries_.try_emplace(id);
        change(id, [&](entry& e) {
            e.expiry = record->terms.expiry;
            e.stage = record->stage;
            e.closing = record->closing;
        });
    }

    /// Keeps up with what a connection did to a channel: pass every event of a driver on.
    void on_event(const event& e) {
        if (e.kind == event_kind::stored || e.kind == event_kind::opened || e.kind == event_kind::settled ||
            (e.kind == event_kind::closed && entries_.contains(e.channel)))
            add(e.channel);
        if (const auto own = entries_.find(e.channel); own != entries_.end() && e.kind == event_kind::settled)
            own->second.told = true;
    }

    /// A block joined the chain: remembers who spent a contract.
    void on_block(const connected_block& block) {
        height_ = block.height;
        median_time_ = block.median_time;
        if (entries_.empty()) return;
        auto reader = open_block(block.raw);
        if (!reader) return;  // a backend checks its blocks; one that does not parse cannot be on the chain
        while (const auto tx = reader->next()) {
            const txid id = tx->id();
            if (entries_.contains(id)) change(id, [&](entry& e) { e.contract_height = block.height; });
            for (const tx_input& in : tx->inputs())
                if (in.prevout.index == 0 && entries_.contains(in.prevout.id))
                    on_spent(in.prevout.id, id, tx->bytes(), block.height);
        }
    }

    /// A block left the chain: what it confirmed is open again.
    void on_block_disconnected(std::int32_t height) {
        height_ = height - 1;
        while (!contracts_.empty() && contracts_.rbegin()->first >= height)
            change(contracts_.rbegin()->second, [](entry& e) { e.contract_height = 0; });
        while (!ends_.empty() && ends_.rbegin()->first >= height)
            change(ends_.rbegin()->second, [](entry& e) {
                e.closing_height = 0;
                e.broadcast_at = never;
            });
    }

    [[nodiscard]] std::size_t size() const { return entries_.size(); }

    /// How many channels have no end in any block yet.
    [[nodiscard]] std::size_t unended() const { return entries_.size() - ends_.size(); }

    /// The expiry of the first channel that something must be done about; none when nothing must.
    [[nodiscard]] std::optional<unix_time> next_expiry() const {
        if (deadlines_.empty()) return std::nullopt;
        return deadlines_.begin()->first;
    }

    [[nodiscard]] std::int32_t height() const { return height_; }
    [[nodiscard]] unix_time median_time() const { return median_time_; }

protected:
    static constexpr std::int32_t never = -1;
    static constexpr unix_time unknown_expiry{std::numeric_limits<std::int64_t>::max()};

    struct entry {
        unix_time expiry{};
        channel_stage stage = channel_stage::none;
        txid closing{};
        // What this process saw on the chain; 0 = nothing yet.  Stored heights are not believed after a restart: a
        // rescan tells.
        std::int32_t contract_height = 0;
        std::int32_t closing_height = 0;
        std::int32_t broadcast_at = never;  // height at which it was broadcast last
        std::int32_t refused_at = never;    // height at which the network refused the contract first
        bool refused = false;               // the last broadcast was refused: build it anew
        bool told = false;                  // the application heard of it
        bool reported = false;              // an error is told once, not with every block
    };

    using by_height = std::set<std::pair<std::int32_t, txid>>;
    using by_time = std::set<std::pair<unix_time, txid>>;

    /// Changes an entry, and with it the lists that it stands in.  O(log n).
    template <class F>
    void change(txid id, F&& f) {  // a copy: the list that it stands in changes
        entry& e = entries_.at(id);
        enlist(id, e, false);
        f(e);
        enlist(id, e, true);
    }

    /// The channels at the front of a list, up to `last`.  Copied: what is done about them changes the list.
    template <class List, class Key>
    [[nodiscard]] static std::vector<txid> up_to(const List& list, const Key& last) {
        std::vector<txid> out;
        for (auto i = list.begin(); i != list.end() && i->first <= last; ++i) out.push_back(i->second);
        return out;
    }

    /// Looks again at records that could not be read: a deadline must not pass because a disk failed once.
    void add_unread() {
        for (const txid& id : std::vector<txid>(unread_.begin(), unread_.end())) add(id);
    }

    /// Deletes the channels whose end is buried, and those that never began.
    void bury() {
        // What cannot be deleted now is looked at again with the next tick.
        for (const txid& id : up_to(ends_, height_ + 1 - settings_.burial)) forget(id);
        if (kind_ != record_kind::server_channel || height_ == 0) return;
        for (const txid& id : up_to(refused_, height_ - settings_.refused_depth))
            if (never_began(id)) forget(id);
        for (const txid& id : up_to(unbegun_, median_time_ + (-settings_.stillborn_age - 1)))
            if (never_began(id)) forget(id);
    }

    /// A channel that has no contract in any block, as far as is known.  Strangers could fill a server's store with such;
    /// a client's record is kept, for its contract may be somewhere.
    [[nodiscard]] static bool is_unbegun(const entry& e) {
        return e.contract_height == 0 && e.closing_height == 0 &&
               (e.stage == channel_stage::contract_stored || e.stage == channel_stage::unbacked);
    }

    /// The stage of the record as it is now: another process may have changed it.  Fails as load_record does.
    [[nodiscard]] result<channel_stage> look_again(const txid& id) {
        PAYCHAN_TRY(const auto record, load_record(store_, kind_, id));
        if (entries_.at(id).stage != record.stage)
            change(id, [&](entry& e) {
                e.stage = record.stage;
                e.closing = record.closing;
            });
        return record.stage;
    }

    /// True for what may be deleted although no end was seen: as the store has it now, not as this process read it last.
    [[nodiscard]] bool never_began(const txid& id) {
        const auto stage = look_again(id);
        return stage ? is_unbegun(entries_.at(id))
                     : stage.error().code == errc::not_found;  // deleted by another process
    }

    [[nodiscard]] bool is_attached(const txid& id) {
        if constexpr (requires { events_.is_attached(id); })
            return events_.is_attached(id);
        else
            return false;
    }

    void report(const txid& id, const error& e) {
        event told{event_kind::error};
        told.channel = id;
        told.problem = e;
        events_.on_event(told);
    }

    void report_once(const txid& id, entry& e, const error& problem) {
        if (!e.reported) report(id, problem);
        e.reported = true;
    }

    S& store_;
    Events& events_;
    record_kind kind_;
    book_settings settings_;
    std::map<txid, entry> entries_;
    // What is to be done, in the order in which it is due.
    by_time deadlines_;                // by expiry: client: those whose end is in no block; server: those not settling
    by_time unbegun_;                  // by expiry: those that have no contract in a block either
    by_height refused_;                // by the height at which the network refused the contract of an unopened channel
    by_height contracts_;              // by height: contracts in a block
    by_height ends_;                   // by height: what spends a contract, in a block
    std::set<txid> unmined_;           // server: broadcast with each block
    std::map<txid, txid> channel_of_;  // the transaction that ends a channel -> the channel
    std::set<txid> unread_;            // records that the store could not read
    std::int32_t height_ = 0;
    unix_time median_time_{};
    std::array<std::uint8_t, wire::max_frame_size> memory_{};  // one stored transaction

private:
    /// Puts an entry into the lists that it belongs to, or takes it out.
    void enlist(const txid& id, const entry& e, bool in) {
        const auto list = [in](auto& to, const auto& item, bool belongs) {
            if (!belongs) return;
            if (in)
                to.insert(item);
            else
                to.erase(item);
        };
        const bool ended = e.closing_height != 0;
        list(deadlines_, std::pair{e.expiry, id},
             !ended && (kind_ == record_kind::client_channel || e.stage != channel_stage::settling));
        list(unbegun_, std::pair{e.expiry, id}, is_unbegun(e));
        list(refused_, std::pair{e.refused_at, id},
             is_unbegun(e) && e.stage == channel_stage::contract_stored && e.refused_at != never);
        list(contracts_, std::pair{e.contract_height, id}, e.contract_height != 0);
        list(ends_, std::pair{e.closing_height, id}, ended);
        const bool has_contract_to_show = e.stage == channel_stage::open || e.stage == channel_stage::unbacked;
        list(unmined_, id,
             !ended && (e.stage == channel_stage::settling || (has_contract_to_show && e.contract_height == 0)));
        if (e.closing == txid{}) return;
        if (in)
            channel_of_.insert_or_assign(e.closing, id);
        else
            channel_of_.erase(e.closing);
    }

    void forget(const txid& id) {
        // A connection that still holds the channel could write its record anew after the deletion.
        if (is_attached(id)) return;
        if (!erase_records(id)) return;
        enlist(id, entries_.at(id), false);
        entries_.erase(id);
        event told{event_kind::buried};
        told.channel = id;
        events_.on_event(told);
    }

    void on_spent(const txid& channel, const txid& closing, bytes_view tx, std::int32_t height) {
        change(channel, [&](entry& changed) {
            changed.closing_height = height;
            changed.closing = closing;
            changed.stage = channel_stage::settling;
        });
        entry& e = entries_.at(channel);
        const auto record = write_end(channel, closing, height);
        // Not written is not lost: a rescan finds the block again.
        if (!record) report_once(channel, e, record.error());
        // Told all the same: a connection that holds the channel must not take payments on a contract that is spent.
        event told = record ? event_of(event_kind::confirmed, *record) : event{event_kind::confirmed};
        told.channel = channel;
        told.closing = closing;
        told.data = tx;
        events_.on_event(told);
    }

    /// Writes into a channel's record what ended it.  A record that is newer by then is of another process that saw the
    /// same block, or of a connection: it is read again.
    [[nodiscard]] result<channel_record> write_end(const txid& channel, const txid& closing, std::int32_t height) {
        for (int attempt = 1;; ++attempt) {
            PAYCHAN_TRY(channel_record record, load_record(store_, kind_, channel));
            if (record.closing == closing && record.closing_height == height && record.stage == channel_stage::settling)
                return record;
            record.closing = closing;
            record.closing_height = height;
            record.stage = channel_stage::settling;
            ++record.version;
            const put_batch batch({true, {}, {}, {}}, record, kind_);
            const auto written = put_all(store_, batch.view());
            if (written) return record;
            if (written.error().code != errc::stale_record || attempt == 10) return fail(written.error());
        }
    }

    /// The channel's record goes last: while it is there, a deletion that was cut short is done again.
    [[nodiscard]] bool erase_records(const txid& id) {
        const bool client = kind_ == record_kind::client_channel;
        for (const record_kind kind :
             client ? std::array{record_kind::client_contract, record_kind::client_refund, kind_}
                    : std::array{record_kind::server_contract, record_kind::server_settlement, kind_})
            if (!store_.erase({kind, id})) return false;
        return true;
    }
};

}  // namespace detail

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
        if (!record) return this->report_once(id, e, record.error());
        if (const auto sent = broadcast_refund(*record, this->median_time_, this->store_, broadcaster_, this->memory_);
            !sent)
            return this->report_once(id, e, sent.error());
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
    /// money), broadcasts with each block what is not mined yet, and forgets what is buried.
    void tick(unix_time now) {
        this->add_unread();
        const unix_time latest = std::max(now, this->median_time_);
        for (const txid& id : base::up_to(this->deadlines_, latest + settings_.settle_margin)) {
            auto& e = this->entries_.at(id);
            if (e.broadcast_at == this->height_) continue;
            // There is no contract to collect from, yet.
            if (base::is_unbegun(e) && this->height_ != 0) continue;
            if (settle_attached(id)) {
                e.broadcast_at = this->height_;
                continue;
            }
            if (this->look_again(id) == channel_stage::settling) {  // by another process: its settlement is as good
                broadcast_height_ = base::never;
                continue;
            }
            // Tried again with the next tick.  A record that is newer by now is of another process, which settles it.
            if (const auto settled = settle(id); !settled && settled.error().code != errc::stale_record)
                this->report_once(id, e, settled.error());
        }
        if (broadcast_height_ != this->height_) broadcast_unmined();
        this->bury();
    }

    /// Settles a channel now that no connection holds, or broadcasts its settlement again.
    /// Fails  not_found, wrong_state (its end is mined), insufficient_funds (what was paid does not bear the fee yet),
    /// key_unavailable, store_failed, stale_record.
    [[nodiscard]] result<void> settle(const txid& id) {
        PAYCHAN_TRY(const auto record, load_record(this->store_, this->kind_, id));
        if (!this->entries_.contains(id)) this->add(id);
        auto& e = this->entries_.at(id);
        if (e.closing_height != 0) return fail(errc::wrong_state, "what ends the channel is in a block already");
        server_channel next{record, {}};
        next.session.phase = server_phase::open;
        auto find = [](const txid&) -> result<channel_record> { return fail(errc::not_found, "not asked for"); };
        const server_environment<K, W, decltype(find)> env{
            settings_, keys_, wallet_, find, {}, rate_, bytes_span{settlement_}};
        PAYCHAN_TRY(const auto wanted, paychan::settle<Contracts>(next, env));
        const detail::put_batch batch(wanted.persist, next.record, this->kind_);
        PAYCHAN_CHECK(put_all(this->store_, batch.view()));
        this->change(id, [&](auto& changed) {
            changed.stage = next.record.stage;
            changed.closing = next.record.closing;
            changed.refused = false;
            changed.broadcast_at = this->height_;
        });
        broadcast_contract(id, e);
        for (const bytes_view tx : wanted.broadcast) broadcaster_.broadcast(tx);
        return {};
    }

    /// How a broadcast ended: a settlement that was refused is built anew with the next block, with the fee of the day; see
    /// on_contract for contracts.  Tell the connections first: what they hold is theirs to change.
    void on_broadcast(const txid& id, broadcast_outcome outcome, std::string_view) {
        const auto ended = this->channel_of_.find(id);
        const auto own = this->entries_.find(ended == this->channel_of_.end() ? id : ended->second);
        if (outcome == broadcast_outcome::unreachable) broadcast_height_ = base::never;
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
    void on_contract(const txid& id, typename base::entry& e, broadcast_outcome outcome) {
        if (outcome == broadcast_outcome::accepted)
            this->change(id, [](auto& changed) { changed.refused_at = base::never; });
        if (outcome != broadcast_outcome::refused || e.contract_height != 0) return;
        if (e.refused_at == base::never) this->change(id, [&](auto& changed) { changed.refused_at = this->height_; });
        if (this->is_attached(id)) return;
        this->add(id);  // a connection may have changed it
        if (e.stage == channel_stage::open) {
            auto record = load_record(this->store_, this->kind_, id);
            if (!record) return this->report_once(id, e, record.error());
            record->stage = channel_stage::unbacked;
            ++record->version;
            const detail::put_batch batch({true, {}, {}, {}}, *record, this->kind_);
            if (const auto written = put_all(this->store_, batch.view()); !written)
                return this->report_once(id, e, written.error());
            this->change(id, [](auto& changed) { changed.stage = channel_stage::unbacked; });
        }
    }

    /// Contracts that payments were taken on, and settlements: each until it is in a block.
    void broadcast_unmined() {
        broadcast_height_ = this->height_;
        const std::vector<txid> unmined(this->unmined_.begin(), this->unmined_.end());
        for (const txid& id : unmined) {
            auto& e = this->entries_.at(id);
            if (e.stage != channel_stage::settling) broadcast_contract(id, e);
            if (e.stage != channel_stage::settling || e.broadcast_at == this->height_) continue;
            if (e.refused && !this->is_attached(id)) {
                if (const auto settled = settle(id); settled) continue;
            }
            broadcast_contract(id, e);
            const auto sent =
                detail::broadcast_stored(record_kind::server_settlement, id, this->store_, broadcaster_, this->memory_);
            e.broadcast_at = this->height_;
            if (sent) {
                // After a reorganisation `closing` may still name what another transaction of the contract was.
                if (const auto tx = parse_transaction(*sent))
                    this->change(id, [&](auto& changed) { changed.closing = tx->id(); });
            } else if (sent.error().code != errc::store_failed) {
                // The contract was spent before this side settled, and the block that spent it is gone; or a write was
                // cut in two, or the record is damaged.
                if (const auto settled = settle(id); !settled) this->report_once(id, e, settled.error());
            }
        }
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

    K& keys_;
    W& wallet_;
    B& broadcaster_;
    server_settings settings_;
    fee_rate rate_ = min_relay_fee_rate;
    std::int32_t broadcast_height_ = base::never;
    std::array<std::uint8_t, max_settlement_size> settlement_{};
};

}  // namespace paychan
