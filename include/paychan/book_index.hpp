// What both roles' books share: an index of the channels of a store, and what the chain does to them.
#pragma once

#include <limits>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "paychan/bitcoin/block.hpp"
#include "paychan/channel/carry_out.hpp"
#include "paychan/channel/contract.hpp"
#include "paychan/wire/messages.hpp"

namespace paychan {

inline constexpr std::int32_t burial_depth = 100;  // [blocks] a reorganisation this deep has never been seen

/// How the book acts, beyond what server_settings say.
struct book_settings {
    std::int32_t burial = burial_depth;    ///< [blocks] from the closing transaction's on, before records are deleted
    std::int32_t refused_depth = 6;        ///< [blocks] after which a refused contract that never opened is forgotten
    std::int64_t stillborn_age = 604'800;  ///< [s] past the expiry, after which any that never opened or was refused is
    std::int32_t reminder = 6;             ///< [blocks] after which an error that lasts is told again
    std::size_t max_unopened = 1'000;  ///< server: contracts not accepted yet; beyond that, some are forgotten early
    std::int64_t retry = 600;          ///< [s] server: after which what is unmined is broadcast again, block or not
    std::int64_t opening = 60;  ///< [s] server: what a channel that opens is given, before it counts for max_unopened
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
    /// that had no contract in a block.  Also what a write stored that seemed to fail.  Call it before each block: a channel
    /// is stored before its contract leaves, so that nothing that spends it is missed.  An import is no such channel: start
    /// the book again after one.  Reads names, and the records of channels whose contract is in no block.
    /// Fails  store_failed: the channels that are known are watched as before.
    [[nodiscard]] result<void> refresh() {
        std::vector<txid> fresh;
        PAYCHAN_CHECK(store_.list(kind_, [&](const record_id& id) {
            if (!entries_.contains(id.channel)) fresh.push_back(id.channel);
        }));
        for (const txid& id : fresh) add(id);
        // Contracts that no network has taken are limited, and one that it has taken costs its owner coins.
        for (const auto& [expiry, id] : by_time(unbegun_))
            if (const auto now = look_again(id); !now && now.error().code == errc::not_found) drop(id);
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
        if (!record) {
            if (record.error().code == errc::not_found && entries_.contains(id)) return drop(id);  // by another process
            return report(id, record.error());
        }
        const bool is_new = entries_.try_emplace(id).second;
        change(id, [&](entry& e) {
            if (is_new) e.seen = now_;
            e.expiry = record->terms.expiry;
            if (e.closing_height != 0) return;  // this process knows better, and may not have been able to write it
            e.stage = record->stage;
            e.closing = record->closing;
        });
        watch_funding(id);
    }

    /// Keeps up with what a connection did to a channel: pass every event of a driver on.
    void on_event(const event& e) {
        if (e.kind == event_kind::stored || e.kind == event_kind::opened || e.kind == event_kind::settled ||
            (e.kind == event_kind::closed && entries_.contains(e.channel)))
            add(e.channel);
        const auto own = entries_.find(e.channel);
        if (own == entries_.end()) return;
        if (e.kind == event_kind::settled) own->second.told = true;
        if (e.kind == event_kind::stored) own->second.asked = true;  // the connection broadcasts it
    }

    /// A block joined the chain: remembers who spent a contract, or what a contract was to spend.
    void on_block(const connected_block& block) {
        height_ = block.height;
        median_time_ = block.median_time;
        if (entries_.empty()) return;
        auto reader = open_block(block.raw);
        if (!reader) return;  // a backend checks its blocks; one that does not parse cannot be on the chain
        while (const auto tx = reader->next()) {
            const txid id = tx->id();
            if (entries_.contains(id)) {
                change(id, [&](entry& e) {
                    e.contract_height = block.height;
                    e.lost_height = 0;
                    e.funding.clear();
                });
                if (entries_.at(id).closing_height == 0) unwritten_.erase(id);
            }
            for (const tx_input& in : tx->inputs()) {
                if (in.prevout.index == 0 && entries_.contains(in.prevout.id))
                    on_spent(in.prevout.id, id, tx->bytes(), block.height);
                for (const txid& channel : funded_by(in.prevout)) on_double_spent(channel, *tx, id, block.height);
            }
        }
    }

    /// Blocks that are on the chain, and that nobody can show any more.  What the store says of ends in them is believed:
    /// this process, or an older one, saw them.
    void on_blocks_passed(std::int32_t first, std::int32_t last) {
        height_ = std::max(height_, last);
        std::vector<txid> ids;
        for (const auto& [id, e] : entries_)
            if (!is_ended(e)) ids.push_back(id);
        for (const txid& id : ids)
            if (const auto record = load_record(store_, kind_, id);
                record && record->closing_height >= first && record->closing_height <= last)
                change(id, [&](entry& e) {
                    e.closing_height = record->closing_height;
                    e.closing = record->closing;
                    e.stage = record->stage;
                });
    }

    /// A block left the chain: what it confirmed is open again.
    void on_block_disconnected(std::int32_t height) {
        height_ = height - 1;
        while (!ends_.empty() && ends_.rbegin()->first >= height) {
            const txid id = ends_.rbegin()->second;
            unwritten_.erase(id);
            change(id, [](entry& e) {
                (e.closing_height != 0 ? e.closing_height : e.lost_height) = 0;
                e.broadcast_at = never;
            });
        }
        while (!contracts_.empty() && contracts_.rbegin()->first >= height) {
            const txid id = contracts_.rbegin()->second;
            change(id, [](entry& e) { e.contract_height = 0; });
            watch_funding(id);
        }
    }

    [[nodiscard]] std::size_t size() const { return entries_.size(); }

    /// How many channels have no end in any block yet, and may have one.
    [[nodiscard]] std::size_t unended() const { return entries_.size() - ends_.size(); }

    /// The expiry of the first channel that something must be done about; none when nothing must.
    [[nodiscard]] std::optional<unix_time> next_expiry() const {
        if (deadlines_.empty() || deadlines_.begin()->first == unknown_expiry) return std::nullopt;
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
        std::int32_t lost_height = 0;       // of the block with another transaction that spends the contract's funding
        std::int32_t broadcast_at = never;  // client: height at which it was broadcast last; server: round
        std::int32_t refused_at = never;    // height at which the network refused the contract first
        unix_time seen{};                   // server: when this process heard of it
        std::vector<outpoint> funding;      // what the contract spends, while it is in no block: see watch_funding
        bytes32 contract_script{};          // hash of what the contract pays to
        satoshi contract_value{};           // [satoshi]
        bool asked = false;                 // the contract was given to the network
        bool accepted = false;              // which took it, the last time that it answered
        bool is_elsewhere = false;          // what spent the funding pays the same to the contract's script
        bool refused = false;               // the last broadcast was refused: build it anew
        std::int32_t built_at = 0;          // server: round in which the settlement was built, and
        fee_rate built_rate{};              // with which fee
        bool told = false;                  // the application heard of it
        std::int32_t reported_at = never;   // height at which an error was told last, and
        errc reported = errc::other;        // which
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

    /// Writes what the disk did not take when it was due.
    void write_unwritten() {
        for (const txid& id : std::vector<txid>(unwritten_.begin(), unwritten_.end()))
            if (entries_.at(id).closing_height != 0)
                (void)write_end(id);
            else
                (void)stop_payments(id);
    }

    /// Deletes the channels whose end is buried, and those that never began.
    void bury() {
        // What cannot be deleted now is looked at again with the next tick.
        for (const txid& id : up_to(ends_, height_ + 1 - settings_.burial))
            // Money that lies in a contract under another txid can only be had with this record's key.
            if (const entry& e = entries_.at(id); e.lost_height == 0 || !e.is_elsewhere) forget(id);
        if (kind_ != record_kind::server_channel || height_ == 0) return;
        for (const txid& id : up_to(refused_, height_ - settings_.refused_depth))
            if (never_opened(id)) forget(id);
        limit_unopened();
        // Payments on an `unbacked` one were acked, and its contract may be in a block that this process was not shown: it
        // goes only if the network has refused the contract since.
        for (const txid& id : up_to(unbegun_, median_time_ + (-settings_.stillborn_age - 1)))
            if (never_began(id) &&
                (entries_.at(id).stage == channel_stage::contract_stored || entries_.at(id).refused_at != never))
                forget(id);
    }

    /// A stranger can have contracts stored as fast as the disk takes them, for each is stored before the network is asked,
    /// and nobody refuses any while the node is away.  Too many are not kept: refused ones go first, and none that may be
    /// opening just now.  No payment is lost by it: CHANNEL_OPEN leaves when `open` is on disk, so that none of these was
    /// ever open and nothing on it acked.  A client whose coins are in such a contract has its refund.
    void limit_unopened() {
        const auto too_many = [this] { return refused_.size() + unanswered_.size() > settings_.max_unopened; };
        if (!too_many()) return;
        std::vector<txid> candidates = up_to(refused_, height_);
        candidates.insert(candidates.end(), unanswered_.begin(), unanswered_.end());
        for (const txid& id : candidates) {
            if (!too_many()) return;
            const entry& e = entries_.at(id);
            if (e.asked && now_ >= e.seen + settings_.opening && never_opened(id)) forget(id);
        }
    }

    /// Watches what the contract spends, while it is in no block.  What cannot be read is read with the next tick; a double
    /// spend that is missed meanwhile is learnt from the network, which refuses the contract.
    void watch_funding(const txid& id) {
        const entry& e = entries_.at(id);
        // A contract that no network has taken yet may have any inputs, and a stranger's has many: it is not watched.
        const bool real =
            kind_ == record_kind::client_channel || e.stage != channel_stage::contract_stored || e.accepted;
        if (!real || e.stage == channel_stage::none || e.contract_height != 0 || e.closing_height != 0 ||
            !e.funding.empty())
            return;
        const auto kind =
            kind_ == record_kind::client_channel ? record_kind::client_contract : record_kind::server_contract;
        std::array<std::uint8_t, max_contract_size> memory{};
        const auto stored = store_.get({kind, id}, memory);
        if (!stored && stored.error().code == errc::store_failed) unread_.insert(id);
        if (!stored) return;
        const auto tx = parse_transaction(stored->bytes);
        const auto out = tx ? tx->output(0) : fail(tx.error());
        if (!out) return;
        change(id, [&](entry& changed) {
            for (const tx_input& in : tx->inputs()) changed.funding.push_back(in.prevout);
            changed.contract_script = sha256(out->script_pubkey);
            changed.contract_value = out->value;
        });
    }

    /// Payments on this contract are worth nothing for now: its record says so, at once or when the disk takes it.  Until
    /// then a resume may open it once more: a payment is not acked before it is on disk, and what a disk takes it takes here
    /// with the next tick, which makes the connection's next write stale.
    result<channel_record> stop_payments(const txid& id) {
        const auto record = rewrite(id, [this](channel_record& r) {
            const channel_stage before = r.stage;
            if (kind_ == record_kind::server_channel)
                r.stage = before == channel_stage::open ? channel_stage::unbacked : before;
            else
                r.stage = channel_stage::settling;  // the next connection opens another one; the refund is due as ever
            return r.stage != before;
        });
        if (record) change(id, [&](entry& e) { e.stage = record->stage; });
        settle_write(id, record);
        return record;
    }

    void settle_write(const txid& id, const result<channel_record>& written) {
        if (written || written.error().code != errc::store_failed) unwritten_.erase(txid(id));
        if (written) return;
        if (written.error().code == errc::store_failed) unwritten_.insert(id);
        report_now_and_then(id, entries_.at(id), written.error());
    }

    /// Writes into a channel's record what ended it, at once or when the disk takes it.
    result<channel_record> write_end(const txid& id) {
        const entry& e = entries_.at(id);
        const auto record = rewrite(id, [&](channel_record& r) {
            if (r.closing == e.closing && r.closing_height == e.closing_height && r.stage == channel_stage::settling)
                return false;
            r.closing = e.closing;
            r.closing_height = e.closing_height;
            r.stage = channel_stage::settling;
            return true;
        });
        settle_write(id, record);
        return record;
    }

    /// True when something that ends the channel is in a block, or makes its contract impossible.
    [[nodiscard]] static bool is_ended(const entry& e) { return e.closing_height != 0 || e.lost_height != 0; }

    /// A channel that has no contract anywhere, as far as is known: not settled at its deadline, and deleted in the end.
    ///     contract_stored   in no block: never opened, nothing acked
    ///     unbacked          in no block, and the network did not take it when it answered last
    /// Any other stage was begun.  Strangers could fill a server's store with such; a client's record is kept, for its
    /// contract may be somewhere.
    [[nodiscard]] static bool is_unbegun(const entry& e) {
        return e.contract_height == 0 && e.closing_height == 0 &&
               (e.stage == channel_stage::contract_stored || (e.stage == channel_stage::unbacked && !e.accepted));
    }

    /// The stage of the record as it is now: another process may have changed it.  Fails as load_record does.
    [[nodiscard]] result<channel_stage> look_again(const txid& id) {
        PAYCHAN_TRY(const auto record, load_record(store_, kind_, id));
        if (entries_.at(id).stage != record.stage) {
            change(id, [&](entry& e) {
                e.stage = record.stage;
                e.closing = record.closing;
            });
            watch_funding(id);
        }
        return record.stage;
    }

    /// True for what may be deleted although no end was seen: as the store has it now, not as this process read it last.
    [[nodiscard]] bool never_began(const txid& id) {
        const auto stage = look_again(id);
        return stage ? is_unbegun(entries_.at(id))
                     : stage.error().code == errc::not_found;  // deleted by another process
    }

    /// True for what may be deleted before its time: payments on an `unbacked` one were acked.
    [[nodiscard]] bool never_opened(const txid& id) {
        return never_began(id) && entries_.at(id).stage == channel_stage::contract_stored;
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

    /// Told now and then, as long as it lasts: neither with every block, nor so seldom that nobody hears of it in time.
    void report_now_and_then(const txid& id, entry& e, const error& problem) {
        if (e.reported_at != never && e.reported == problem.code && height_ < e.reported_at + settings_.reminder)
            return;
        e.reported_at = height_;
        e.reported = problem.code;
        report(id, problem);
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
    by_height ends_;                   // by height: what spends a contract, or what that was to spend, in a block
    std::set<txid> unmined_;           // server: broadcast with each block
    std::map<txid, txid> channel_of_;  // the transaction that ends a channel -> the channel
    std::set<txid> unanswered_;        // unopened ones of whose contract the network's word is not known
    std::set<txid> unread_;            // records that the store could not read
    std::set<txid> unwritten_;         // whose end, or whose payments' end, is still to be written: a write failed
    std::set<std::pair<outpoint, txid>> funding_;  // what contracts that are in no block spend, and their channels
    std::int32_t height_ = 0;
    unix_time median_time_{};
    unix_time now_{};                                          // server: of the last tick
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
        const bool ended = is_ended(e);
        list(deadlines_, std::pair{e.expiry, id},
             !ended && (kind_ == record_kind::client_channel || e.stage != channel_stage::settling));
        list(unbegun_, std::pair{e.expiry, id}, is_unbegun(e));
        const bool unopened = is_unbegun(e) && e.stage == channel_stage::contract_stored;
        list(refused_, std::pair{e.refused_at, id}, unopened && e.refused_at != never);
        list(unanswered_, id, unopened && e.refused_at == never && !e.accepted);
        for (const outpoint& coin : e.funding) list(funding_, std::pair{coin, id}, true);
        list(contracts_, std::pair{e.contract_height, id}, e.contract_height != 0);
        list(ends_, std::pair{e.closing_height != 0 ? e.closing_height : e.lost_height, id}, ended);
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
        if (erase_records(id)) drop(id);
    }

    /// Watches it no more: its records are deleted.
    void drop(txid id) {  // a copy: the list that it stands in changes
        enlist(id, entries_.at(id), false);
        entries_.erase(id);
        unread_.erase(id);
        unwritten_.erase(id);
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
        const auto record = write_end(channel);
        // Told all the same: a connection that holds the channel must not take payments on a contract that is spent.
        event told = record ? event_of(event_kind::confirmed, *record) : event{event_kind::confirmed};
        told.channel = channel;
        told.closing = closing;
        told.data = tx;
        events_.on_event(told);
    }

    /// The channels whose contract spends this and is in no block.
    [[nodiscard]] std::vector<txid> funded_by(const outpoint& coin) const {
        std::vector<txid> out;
        for (auto i = funding_.lower_bound({coin, txid{}}); i != funding_.end() && i->first == coin; ++i)
            out.push_back(i->second);
        return out;
    }

    /// While that block stays, the contract can be in none.
    void on_double_spent(const txid& channel, const transaction& by, const txid& by_id, std::int32_t height) {
        if (is_ended(entries_.at(channel))) return;
        change(channel, [&](entry& e) {
            e.lost_height = height;
            e.is_elsewhere = false;
            for (const tx_output& out : by.outputs())
                if (out.value == e.contract_value && sha256(out.script_pubkey) == e.contract_script)
                    e.is_elsewhere = true;
        });
        const auto record = stop_payments(channel);
        event told = record ? event_of(event_kind::double_spent, *record) : event{event_kind::double_spent};
        told.channel = channel;
        told.closing = by_id;
        told.data = by.bytes();
        // By a higher fee, or by a change to signatures that its txid covers.
        told.problem = {errc::bad_transaction,
                        entries_.at(channel).is_elsewhere
                            ? "the contract is in a block under another txid: its refund and its payments do not fit it"
                            : "another transaction has spent the coins of the contract"};
        events_.on_event(told);
    }

    /// Changes a channel's record.  One that is newer by then is of another process, or of a connection: it is read again.
    /// f  bool(channel_record&): false when there is nothing to change
    template <class F>
    [[nodiscard]] result<channel_record> rewrite(const txid& channel, F&& f) {
        for (int attempt = 1;; ++attempt) {
            PAYCHAN_TRY(channel_record record, load_record(store_, kind_, channel));
            if (!f(record)) return record;
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

}  // namespace paychan
