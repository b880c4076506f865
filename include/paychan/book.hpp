// The book: all channels of a node, brought home at their time with nobody connected.  Uses the heap: not for payments.
#pragma once

#include <map>
#include <set>

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

    /// Watches a channel that was stored, or looks at its record again.
    void add(const txid& id) {
        const auto record = load_record(store_, kind_, id);
        if (!record) return report(id, record.error());
        entry& e = entries_[id];
        e.expiry = record->terms.expiry;
        e.stage = record->stage;
        e.closing = record->closing;
        deadlines_.insert({e.expiry, id});
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
            if (const auto own = entries_.find(id); own != entries_.end()) own->second.contract_height = block.height;
            for (const tx_input& in : tx->inputs())
                if (in.prevout.index == 0 && entries_.contains(in.prevout.id))
                    on_spent(in.prevout.id, id, tx->bytes(), block.height);
        }
    }

    /// A block left the chain: what it confirmed is open again.
    void on_block_disconnected(std::int32_t height) {
        height_ = height - 1;
        for (auto& [id, e] : entries_) {
            if (e.contract_height == height) e.contract_height = 0;
            if (e.closing_height != height) continue;
            e.closing_height = 0;
            e.broadcast_at = never;
        }
    }

    [[nodiscard]] std::size_t size() const { return entries_.size(); }
    [[nodiscard]] std::int32_t height() const { return height_; }
    [[nodiscard]] unix_time median_time() const { return median_time_; }

protected:
    static constexpr std::int32_t never = -1;

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

    /// Deletes the channels whose end is buried, and those that never began.
    void bury() {
        for (auto i = entries_.begin(); i != entries_.end();) {
            const auto& [id, e] = *i;
            // A connection that still holds the channel could write its record anew after the deletion.
            const bool over =
                e.closing_height != 0 && height_ - e.closing_height + 1 >= settings_.burial && !is_attached(id);
            if ((!over && !is_stillborn(e)) || is_attached(id) || !erase_records(id)) {
                ++i;
                continue;
            }
            event told{event_kind::buried};
            told.channel = id;
            events_.on_event(told);
            deadlines_.erase({e.expiry, id});
            i = entries_.erase(i);
        }
    }

    /// A server's channel without a contract in any block: refused by the network some blocks ago and never opened, or long
    /// past its expiry.  Strangers could fill the store with such.  A client's record is kept, for its contract may be
    /// somewhere.
    [[nodiscard]] bool is_stillborn(const entry& e) const {
        const bool unopened = e.stage == channel_stage::contract_stored;
        if (kind_ != record_kind::server_channel || height_ == 0 || e.contract_height != 0 || e.closing_height != 0 ||
            (!unopened && e.stage != channel_stage::unbacked))
            return false;
        if (unopened && e.refused_at != never && height_ - e.refused_at >= settings_.refused_depth) return true;
        return median_time_ > e.expiry + settings_.stillborn_age;
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
    std::set<std::pair<unix_time, txid>> deadlines_;
    std::int32_t height_ = 0;
    unix_time median_time_{};
    std::array<std::uint8_t, wire::max_frame_size> memory_{};  // one stored transaction

private:
    void on_spent(const txid& channel, const txid& closing, bytes_view tx, std::int32_t height) {
        entry& e = entries_[channel];
        e.closing_height = height;
        e.closing = closing;
        e.stage = channel_stage::settling;
        auto record = load_record(store_, kind_, channel);
        if (!record) return report_once(channel, e, record.error());
        if (record->closing != closing || record->closing_height != height ||
            record->stage != channel_stage::settling) {
            record->closing = closing;
            record->closing_height = height;
            record->stage = channel_stage::settling;
            ++record->version;
            const put_batch batch({true, {}, {}, {}}, *record, kind_);
            // Not written is not lost: a rescan finds the block again.  A connection that wrote meanwhile is newer.
            if (const auto written = put_all(store_, batch.view()); !written)
                return report_once(channel, e, written.error());
        }
        event told = event_of(event_kind::confirmed, *record);
        told.closing = closing;
        told.data = tx;
        events_.on_event(told);
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
/// block, and now and then.
template <Store S, Broadcaster B, class Events>
class client_book : public detail::channel_index<S, Events> {
    using base = detail::channel_index<S, Events>;

public:
    client_book(S& store, B& broadcaster, Events& events, book_settings settings = {})
        : base(store, events, record_kind::client_channel, settings), broadcaster_(broadcaster) {}

    /// Broadcasts the refunds that are due, once with each block until one is mined, and forgets what is buried.
    void tick() {
        for (const auto& [expiry, id] : this->deadlines_) {
            if (expiry >= this->median_time_) break;  // in order of expiry: no later one is due
            auto& e = this->entries_[id];
            if (e.closing_height != 0 || e.broadcast_at == this->height_) continue;
            refund(id, e);
        }
        this->bury();
    }

    /// A refund that could not be delivered is due again at once.
    void on_broadcast(const txid&, broadcast_outcome outcome, std::string_view) {
        if (outcome != broadcast_outcome::unreachable) return;
        for (auto& [id, e] : this->entries_) e.broadcast_at = base::never;
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
        const unix_time latest = std::max(now, this->median_time_);
        for (const auto& [expiry, id] : this->deadlines_) {
            if (expiry + -settings_.settle_margin > latest) break;  // in order of expiry: no later one is due
            auto& e = this->entries_[id];
            if (e.stage == channel_stage::settling || e.broadcast_at == this->height_) continue;
            // There is no contract to collect from, yet.
            if (lacks_contract(e) && this->height_ != 0) continue;
            if (settle_attached(id))
                e.broadcast_at = this->height_;
            else if (const auto settled = settle(id); !settled)
                this->report_once(id, e, settled.error());  // and tried again with the next tick
        }
        if (broadcast_height_ != this->height_) broadcast_unmined();
        this->bury();
    }

    /// Settles a channel now that no connection holds, or broadcasts its settlement again.
    /// Fails  not_found, wrong_state (its end is mined), insufficient_funds (what was paid does not bear the fee yet),
    /// key_unavailable, store_failed, stale_record.
    [[nodiscard]] result<void> settle(const txid& id) {
        PAYCHAN_TRY(const auto record, load_record(this->store_, this->kind_, id));
        auto& e = this->entries_[id];
        if (e.closing_height != 0) return fail(errc::wrong_state, "what ends the channel is in a block already");
        server_channel next{record, {}};
        next.session.phase = server_phase::open;
        auto find = [](const txid&) -> result<channel_record> { return fail(errc::not_found, "not asked for"); };
        const server_environment<K, W, decltype(find)> env{
            settings_, keys_, wallet_, find, {}, rate_, bytes_span{settlement_}};
        PAYCHAN_TRY(const auto wanted, paychan::settle<Contracts>(next, env));
        const detail::put_batch batch(wanted.persist, next.record, this->kind_);
        PAYCHAN_CHECK(put_all(this->store_, batch.view()));
        e.stage = next.record.stage;
        e.closing = next.record.closing;
        e.refused = false;
        e.broadcast_at = this->height_;
        broadcast_contract(id, e);
        for (const bytes_view tx : wanted.broadcast) broadcaster_.broadcast(tx);
        return {};
    }

    /// How a broadcast ended: a settlement that was refused is built anew with the next block, with the fee of the day; see
    /// on_contract for contracts.  Tell the connections first: what they hold is theirs to change.
    void on_broadcast(const txid& id, broadcast_outcome outcome, std::string_view) {
        if (outcome == broadcast_outcome::unreachable) {
            broadcast_height_ = base::never;
            for (auto& [channel, e] : this->entries_)
                if (e.closing == id) e.broadcast_at = base::never;
            return;
        }
        if (const auto own = this->entries_.find(id); own != this->entries_.end())
            return on_contract(id, own->second, outcome);
        for (auto& [channel, e] : this->entries_) {
            if (e.closing != id || e.stage != channel_stage::settling) continue;
            e.refused = outcome == broadcast_outcome::refused;
            if (e.refused || e.told) continue;
            e.told = true;
            if (const auto record = load_record(this->store_, this->kind_, channel)) {
                event told = detail::event_of(event_kind::settled, *record);
                told.closing = id;
                if (const auto tx = this->store_.get({record_kind::server_settlement, channel}, this->memory_))
                    told.data = tx->bytes;
                this->events_.on_event(told);
            }
        }
    }

    /// What a settlement should pay now [sat/kvB].
    void on_fee_rate(fee_rate rate) { rate_ = rate; }

private:
    /// A channel that has no contract, as far as is known.
    [[nodiscard]] static bool lacks_contract(const typename base::entry& e) {
        return e.contract_height == 0 &&
               (e.stage == channel_stage::contract_stored || e.stage == channel_stage::unbacked);
    }

    /// The network refuses a contract: a channel that was open takes no payments until the network thinks better of it.
    void on_contract(const txid& id, typename base::entry& e, broadcast_outcome outcome) {
        if (outcome == broadcast_outcome::accepted) e.refused_at = base::never;
        if (outcome != broadcast_outcome::refused || e.contract_height != 0) return;
        if (e.refused_at == base::never) e.refused_at = this->height_;
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
            e.stage = channel_stage::unbacked;
        }
    }

    /// Contracts that payments were taken on, and settlements: each until it is in a block.
    void broadcast_unmined() {
        broadcast_height_ = this->height_;
        for (auto& [id, e] : this->entries_) {
            if (e.closing_height != 0) continue;
            if (e.stage == channel_stage::open || e.stage == channel_stage::unbacked) broadcast_contract(id, e);
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
                if (const auto tx = parse_transaction(*sent)) e.closing = tx->id();
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
