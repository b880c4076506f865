// What both monitors share: reads the store and the blocks, tells the steps what happened, and writes what they decide.
// Uses the heap: not for payments.
#pragma once

#include <array>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "paychan/bitcoin/block.hpp"
#include "paychan/channel/chain_view.hpp"
#include "paychan/channel/claim.hpp"
#include "paychan/channel/contract.hpp"
#include "paychan/monitor/record_reader.hpp"
#include "paychan/monitor/watch_index.hpp"

namespace paychan::detail {

/// The channels of one role in one store.  Records are read when a channel is added and when something happens to it, never
/// to find out what is due.
template <channel_role Role, Store S, class Events>
class watch_list {
public:
    using index_type = watch_index<Role>;
    using item = typename index_type::item;
    static constexpr role_kinds kinds = kinds_of(Role);

    watch_list(S& store, Events& events, const monitor_settings& settings)
        : store_(store), events_(events), settings_(settings), index_(settings) {}

    // ------------------------------------------------------------------------------------------------- reading the store

    /// What is stored of blocks up to this one is believed; blocks from the next one on will be told.  Before load().
    void start_at(std::int32_t height) { height_ = known_ = height; }

    /// Reads all stored channels.  Damaged records are told as events, and the others still load.  Fails  store_failed.
    [[nodiscard]] result<void> load() {
        while (true) {
            PAYCHAN_TRY(const bool done, load_some(10'000));
            if (done) return {};
        }
    }

    /// Reads about `most` records more.  True when all have been read.  Fails  store_failed: call it again.
    [[nodiscard]] result<bool> load_some(std::size_t most) {
        switch (loading_) {
            case loading::channels:
                PAYCHAN_CHECK(
                    read_some(kinds.channel, most, loading::facts, [this](const record_id& id, const auto& stored) {
                        const auto record = stored ? read_record_without_keys(id, *stored) : fail(stored.error());
                        take_record(id.channel, record);
                    }));
                break;
            case loading::facts:
                PAYCHAN_CHECK(read_some(
                    kinds.watch, most, loading::coins,
                    [this](const record_id& id, const auto& stored) { take_facts(id.channel, stored, known_); }));
                if (loading_ == loading::facts) break;
                erase_left_behind();
                index_.for_each([this](const item& e) {
                    if (wants_coins(e)) coins_to_read_.push_back(e.first);
                });
                break;
            case loading::coins:
                for (; most > 0 && !coins_to_read_.empty(); --most) {
                    watch_coins(coins_to_read_.back());
                    coins_to_read_.pop_back();
                }
                if (coins_to_read_.empty()) loading_ = loading::done;
                break;
            case loading::done: break;
        }
        return loading_ == loading::done;
    }

    /// Finds what other processes have done to a store that several share: channels that are new, and what became of those
    /// that had no contract in a block.  Also what a write stored that seemed to fail.  Call it before each block: a channel
    /// is stored before its contract leaves, so that nothing that spends it is missed.  An import is no such channel: start
    /// again after one.  Fails  store_failed: the channels that are known are watched as before.
    [[nodiscard]] result<void> refresh() {
        if constexpr (requires { store_.foreign_writes(); }) {
            const std::uint64_t now = store_.foreign_writes();
            if (foreign_writes_ == now) return {};
            foreign_writes_.reset();  // looked at again if the list cannot be had
            PAYCHAN_CHECK(look_for_others());
            foreign_writes_ = now;
            return {};
        } else {
            return look_for_others();
        }
    }

    /// Watches a channel that was stored, or looks at its record again.  What a store cannot read now, the next tick reads.
    void add(const txid& id) {
        const bool is_new = index_.find(id) == nullptr;
        take_record(id, load_record(store_, kinds.channel, id));
        item* const e = index_.find(id);
        if (e == nullptr) return;
        // Another process may have written of blocks that this one is still to be told.
        if (is_new) read_facts(id, height_);
        watch_coins(id);
    }

    /// Keeps up with what a connection did to a channel: pass every event of a driver on.
    void on_event(const event& e) {
        if (e.kind == event_kind::stored || e.kind == event_kind::opened || e.kind == event_kind::settled ||
            (e.kind == event_kind::closed && index_.find(e.channel) != nullptr))
            add(e.channel);
        if (e.kind == event_kind::settled) apply(e.channel, happened::driver_settled{});
        if (e.kind == event_kind::stored) apply(e.channel, happened::driver_stored{});
    }

    [[nodiscard]] bool is_loaded() const { return loading_ == loading::done; }

    // ------------------------------------------------------------------------------------------------------------- blocks

    void on_chain(const chain_event& e) {
        match(
            e, [this](const connected_block& b) { on_block(b); },
            [this](const passed_blocks& p) {
                height_ = std::max(height_, p.last);
                apply_to_all(p);
            },
            [this](const disconnected_blocks& d) {
                height_ = std::min(height_, d.from - 1);
                known_ = std::min(known_, d.from - 1);
                apply_to_all(d);
            },
            [this](const node_returned& r) {
                std::vector<txid> all;
                index_.for_each([&](const item& i) { all.push_back(i.first); });
                for (const txid& id : all) (void)apply(id, r);
            },
            [this](const chain_tip& t) {
                tip_height_ = t.height;
                tip_median_time_ = t.time_after(tip_median_time_);
            });
    }

    // ------------------------------------------------------------------------------------------------------------- looks

    /// Looks at every channel that is due.
    /// at     of the server, the later of its clock and the chain; of the client, the chain's
    /// carry  void(const txid&, const duties&, const happened::look&): carries out what is this role's own
    template <class Carry>
    void tick(unix_time now, unix_time at, Carry&& carry) {
        now_ = now;
        watch_clock(now);
        const bool behind = tip_height_ > height_;
        // A round is a block, or ten minutes in which none is shown: the chain may go on where this process cannot follow.
        if ((!behind && height_ != round_height_) || now < round_time_ || now >= round_time_ + settings_.retry) {
            if (round_height_ != watched::never) ++round_;  // what was done before the first tick is of its round
            round_height_ = height_;
            round_time_ = now;
        }
        const bool at_tip = tip_height_ >= 0 ? tip_height_ == height_ : has_seen_block_;
        if (at_tip && !is_half_read()) index_.caught_up();
        for (const txid& id : std::exchange(without_facts_, {})) read_facts(id, known_);
        for (const txid& id : std::exchange(without_coins_, {})) watch_coins(id);
        const happened::look at_now = look();
        for (const txid& id : index_.due_at(at, height_, round_)) look_at(id, at_now, carry);
        if (Role == channel_role::server && !is_half_read()) limit_unopened();
    }

    /// What a look sees now.
    [[nodiscard]] happened::look look() const { return {now_, median_time(), height_, round_, index_.has_caught_up()}; }

    /// Looks at once at what is unmined, when a transaction should pay a quarter more than when it did so last.
    void on_fees(const fee_estimate& fees) {
        const std::int64_t now = std::max(fees.rate, fees.floor).sat_per_kvb;
        if (now <= looked_rate_.sat_per_kvb) {
            looked_rate_.sat_per_kvb = now;
            return;
        }
        if (now < looked_rate_.sat_per_kvb + looked_rate_.sat_per_kvb / 4) return;
        looked_rate_.sat_per_kvb = now;
        for (const txid& id : index_.closing()) (void)apply(id, happened::fees_rose{});
    }

    /// Tells the step what came of something, and does what follows.  Nothing when the channel is not watched.
    duties apply(const txid& id, const happening& what) {
        item* const e = index_.find(id);
        if (e == nullptr) return {};
        const duties todo = index_.apply(*e, what);
        if (todo.keep) unsaved_.insert(id);
        if (todo.watch_coins) watch_coins(id);
        return todo;
    }

    /// The network's word on what ends a channel: refund or settlement.
    [[nodiscard]] duties on_closing_answered(const txid& channel, const broadcast_answer& a, bool underpaid = false) {
        item* const e = index_.find(channel);
        if (e == nullptr) return {};
        if (a.mined > 0 && !e->second.state.ended()) {
            const auto stored = store_.get({kinds.closing, channel}, memory_);
            const auto tx = stored ? parse_transaction(stored->bytes) : fail(stored.error());
            on_end(channel, a.id, tx && tx->id() == a.id ? tx->bytes() : bytes_view{}, a.mined);
            return {};
        }
        const duties todo = apply(channel, happened::closing_answered{a.outcome, height_, underpaid, a.spent});
        if (todo.tell != event_kind::confirmed) return todo;
        tell_of_block(event_kind::confirmed, channel, write_end(channel), {}, {},
                      {errc::not_found,
                       "the contract was spent in a block that the node has deleted, and by what is not known: another "
                       "node or a block explorer shows what spends its output 0"});
        return {};
    }
    /// Its word on a contract.
    duties on_contract_answered(const txid& channel, const broadcast_answer& a) {
        if (a.mined > 0) return apply(channel, happened::contract_mined{a.mined});
        return apply(channel, happened::contract_answered{a.outcome, height_});
    }

    /// The network refuses a contract: a channel that was open takes no payments until the network thinks better of it.
    void stop_if_open(const txid& id) {
        if (is_attached(id)) return;
        add(id);  // a connection may have changed it, or another process deleted it
        const item* const e = index_.find(id);
        if (e != nullptr && e->second.state.stage == channel_stage::open) (void)stop_payments(id);
    }

    /// Payments on this contract are worth nothing for now: its record says so, at once or when the disk takes it.  Until
    /// then a resume may open it once more: a payment is not acked before it is on disk, and what a disk takes it takes here
    /// with the next tick, which makes the connection's next write stale.
    result<channel_record> stop_payments(const txid& id) {
        return rewrite(id, [](channel_record& r) {
            const channel_stage before = r.stage;
            if (Role == channel_role::server)
                r.stage = before == channel_stage::open ? channel_stage::unbacked : before;
            else
                r.stage = channel_stage::settling;  // the next connection opens another one; the refund is due as ever
            return r.stage != before;
        });
    }

    /// The stage of the record as it is now: another process may have changed it.  Fails as load_record does.
    [[nodiscard]] result<channel_stage> look_again(const txid& id) {
        PAYCHAN_TRY(const auto record, load_record(store_, kinds.channel, id));
        const item* const e = index_.find(id);
        if (e != nullptr && e->second.state.stage != record.stage) take_record(id, record);
        return record.stage;
    }

    // ------------------------------------------------------------------------------------------------------------ storing

    /// Writes what the chain did to channels since the last call.  When it succeeds, all that on_chain() told of is on disk.
    /// Fails  as the store does, store_failed (a record's end is still to be written): what is left is written by the next
    /// call.
    [[nodiscard]] result<void> save() {
        std::vector<txid> now;
        bool left = false;
        for (const txid& id : unsaved_) {
            const item* const e = index_.find(id);
            // The record that a start reads must not be older than these words.
            if (e != nullptr && e->second.state.unwritten)
                left = true;
            else
                now.push_back(id);
        }
        for (std::size_t at = 0; at < now.size(); at += save_at_once)
            PAYCHAN_CHECK(save_facts(std::span(now).subspan(at, std::min(save_at_once, now.size() - at))));
        if (left) return fail(errc::store_failed, "the end of a channel could not be written yet");
        if (!without_facts_.empty()) return fail(errc::store_failed, "a channel's watch record could not be read yet");
        return {};
    }

    /// True when a watch record could not be read, or a channel was imported: only blocks from the beginning on can tell.
    [[nodiscard]] bool is_doubtful() const { return doubtful_; }
    /// They are told from now on: whether a block that was told before is still on the chain will be seen then,
    void will_be_told_all() {
        doubtful_ = false;
        height_ = known_ = 0;
        index_.fell_behind();
        std::vector<txid> known;
        index_.for_each([&](const item& e) {
            if (e.second.state.contract_height != 0 || e.second.state.ended()) known.push_back(e.first);
        });
        for (const txid& id : known) (void)apply(id, happened::told_anew{});
    }
    /// or not: nobody knows from which block on,
    void will_be_told_the_rest() { doubtful_ = false; }
    /// and have been.  Until then a crash leaves the next process as doubtful.
    void was_told_all() {
        std::vector<txid> unknown;
        index_.for_each([&](const item& e) {
            if (e.second.state.unknown) unknown.push_back(e.first);
        });
        for (const txid& id : unknown) (void)apply(id, happened::told_all{});
    }

    // -------------------------------------------------------------------------------------------------------------- words

    [[nodiscard]] bool is_attached(const txid& id) {
        if constexpr (requires { events_.is_attached(id); })
            return events_.is_attached(id);
        else
            return false;
    }

    void tell(const event& e) { events_.on_event(e); }

    /// Told now and then, as long as it lasts: neither with every block, nor so seldom that nobody hears of it in time.
    void report_now_and_then(const txid& id, const error& problem) {
        item* const e = index_.find(id);
        if (e != nullptr) {
            watch_entry& own = e->second;
            if (own.reported_at != watched::never && own.reported == problem.code && height_ >= own.reported_at &&
                height_ < own.reported_at + settings_.reminder)
                return;
            own.reported_at = height_;
            own.reported = problem.code;
        }
        report(id, problem);
    }

    [[nodiscard]] index_type& index() { return index_; }
    [[nodiscard]] const index_type& index() const { return index_; }
    [[nodiscard]] std::int32_t height() const { return height_; }
    [[nodiscard]] std::int32_t round() const { return round_; }
    [[nodiscard]] unix_time now() const { return now_; }
    /// Of the last block that was read, or of the one that is to be read last.
    [[nodiscard]] unix_time median_time() const { return std::max(median_time_, tip_median_time_); }
    [[nodiscard]] key_id highest_key() const { return highest_key_; }
    [[nodiscard]] bytes_span memory() { return memory_; }

private:
    enum class loading : std::uint8_t { channels, facts, coins, done };
    static constexpr std::size_t save_at_once = 256;

    /// True while it is not known of each channel that was read what the chain did to it: then a contract that seems to be
    /// in no block may be in one.
    [[nodiscard]] bool is_half_read() const {
        return loading_ == loading::facts || (loading_ == loading::channels && reader_.begun());
    }

    /// f(record_id, result<stored_record>) for about `most` records of a kind, behind those of the last call.
    template <class F>
    [[nodiscard]] result<void> read_some(record_kind kind, std::size_t most, loading then, F&& f) {
        record_buffer memory;
        const auto all = reader_.read(store_, kind, most, memory.memory(), f);
        if (!all && all.error().code == errc::store_failed) return fail(all.error());
        if (!all) {  // a damaged page: what is behind it is lost, and must not hold up what was read
            report({}, all.error());
            doubtful_ = doubtful_ || kind == kinds.watch;
        }
        if (!all || *all) loading_ = then;
        return {};
    }

    void take_record(const txid& id, const result<channel_record>& record) {
        item* e = index_.find(id);
        if (!record && record.error().code == errc::store_failed) {
            const bool known = e != nullptr && e->second.state.unread;
            if (e == nullptr) e = index_.insert(id).first;
            (void)index_.apply(*e, happened::record_unreadable{});
            if (!known) report(id, record.error());
            return;
        }
        if (!record) {
            if (record.error().code == errc::not_found && e != nullptr) return drop(id);         // by another process
            if (e != nullptr && e->second.state.stage == channel_stage::none) index_.erase(*e);  // never read: damaged
            return report_now_and_then(id, record.error());  // one that is known may be read with each tick
        }
        if (e == nullptr) e = index_.insert(id).first;
        if (is_counted(record->key)) highest_key_ = std::max(highest_key_, record->key);
        (void)index_.apply(*e, happened::record_read{record->stage, record->terms.expiry, record->closing,
                                                     record->closing_height, now_});
    }

    /// known  height up to which they are believed
    void take_facts(const txid& id, const result<stored_record>& stored, std::int32_t known) {
        item* const e = index_.find(id);
        if (e == nullptr) return left_behind_.push_back(id);  // its record was deleted, or cannot be read
        const auto facts = stored ? read_watch(stored->bytes) : fail(stored.error());
        if (stored) e->second.version = static_cast<std::uint32_t>(stored->version);
        if (facts) {
            doubtful_ = doubtful_ || facts->unknown;
            if (!index_.apply(*e, happened::facts_read{*facts, known}).keep) return;
            unsaved_.insert(id);
            // Once loaded: another process wrote it, and may be right.  See save_beside_others.
            if (loading_ != loading::facts) --e->second.version;
            return;
        }
        report_now_and_then(id, facts.error());
        if (facts.error().code == errc::store_failed) return without_facts_.push_back(id);
        // Written anew, for good when the blocks have told it again.
        if (!stored) damaged_.insert(id);
        if (index_.apply(*e, happened::facts_unreadable{}).keep) unsaved_.insert(id);
        doubtful_ = true;
    }

    void read_facts(const txid& id, std::int32_t known) {
        std::array<std::uint8_t, watch_buffer::capacity()> memory{};
        const auto stored = store_.get({kinds.watch, id}, memory);
        if (stored || stored.error().code != errc::not_found) take_facts(id, stored, known);
    }

    [[nodiscard]] result<void> look_for_others() {
        std::vector<txid> fresh;
        const auto listed = store_.list(kinds.channel, [&](const record_id& id) {
            if (index_.find(id.channel) == nullptr) fresh.push_back(id.channel);
        });
        for (const txid& id : fresh) add(id);  // also those that it told before it failed
        PAYCHAN_CHECK(listed);
        // Contracts that no network has taken are limited, and one that it has taken costs its owner coins.
        std::vector<txid> unbegun;
        index_.for_each([&](const item& e) {
            if (e.second.state.unbegun()) unbegun.push_back(e.first);
        });
        for (const txid& id : unbegun) {
            const auto now = look_again(id);
            if (!now && now.error().code == errc::not_found) drop(id);
            if (now) watch_coins(id);
        }
        return {};
    }

    // ---- coins that a contract spends

    [[nodiscard]] bool wants_coins(const item& e) const {
        const watched& w = e.second.state;
        // A contract that no network has taken yet may have any inputs, and a stranger's has many: it is not watched.
        const bool real = Role == channel_role::client || w.stage != channel_stage::contract_stored || w.accepted;
        return real && w.stage != channel_stage::none && w.contract_height == 0 && !w.ended() &&
               index_.coins_of(e.first) == nullptr;
    }

    /// Watches what the contract spends, while it is in no block.  What cannot be read is read with the next tick; a double
    /// spend that is missed meanwhile is learnt from the network, which refuses the contract.
    void watch_coins(const txid& id) {
        item* const e = index_.find(id);
        if (e == nullptr || !wants_coins(*e)) return;
        std::array<std::uint8_t, max_contract_size> memory{};
        const auto stored = store_.get({kinds.contract, id}, memory);
        if (!stored && stored.error().code == errc::store_failed) without_coins_.push_back(id);
        if (!stored) return;
        const auto tx = parse_transaction(stored->bytes);
        const auto out = tx ? tx->output(0) : fail(tx.error());
        if (!out) return;
        watched_coins coins;
        for (const tx_input& in : tx->inputs()) coins.spends.push_back(in.prevout);
        coins.script = sha256(out->script_pubkey);
        coins.value = out->value;
        index_.watch_coins(id, std::move(coins));
    }

    // ---- blocks

    void on_block(const connected_block& block) {
        height_ = block.height;
        median_time_ = block.median_time;
        has_seen_block_ = true;
        if (index_.size() == 0) return;
        auto reader = open_block(block.raw);
        if (!reader) return;  // a backend checks its blocks; one that does not parse cannot be on the chain
        while (const auto tx = reader->next()) {
            const txid id = tx->id();
            if (index_.find(id) != nullptr) (void)apply(id, happened::contract_mined{block.height});
            for (const tx_input& in : tx->inputs()) {
                if (in.prevout.index == 0 && index_.find(in.prevout.id) != nullptr)
                    on_spent(in.prevout.id, id, *tx, block.height);
                for (const txid& channel : index_.spending(in.prevout))
                    if (channel != id) on_coins_spent(channel, *tx, id, block.height);
            }
        }
    }

    /// A block has what spends the contract.
    result<channel_record> on_end(const txid& channel, const txid& closing, bytes_view tx, std::int32_t height) {
        (void)apply(channel, happened::contract_spent{height, closing});
        auto record = write_end(channel);
        // Told all the same: a connection that holds the channel must not take payments on a contract that is spent.
        tell_of_block(event_kind::confirmed, channel, record, closing, tx);
        return record;
    }

    void on_spent(const txid& channel, const txid& closing, const transaction& tx, std::int32_t height) {
        const auto record = on_end(channel, closing, tx.bytes(), height);
        // Only a refund has a lock time.
        if (Role == channel_role::server && tx.lock_time() != 0)
            tell_of_block(event_kind::lost, channel, record ? record : load_record(store_, kinds.channel, channel),
                          closing, tx.bytes());
    }

    /// While that block stays, the contract can be in none.
    void on_coins_spent(const txid& channel, const transaction& by, const txid& by_id, std::int32_t height) {
        const watched_coins* const coins = index_.coins_of(channel);
        bool elsewhere = false;
        if (coins != nullptr)
            for (const tx_output& out : by.outputs())
                if (out.value == coins->value && sha256(out.script_pubkey) == coins->script) elsewhere = true;
        if (!apply(channel, happened::coins_spent{height, elsewhere}).stop_payments) return;
        const auto record = stop_payments(channel);
        // By a higher fee, or by a change to signatures that its txid covers.
        tell_of_block(
            event_kind::double_spent, channel, record, by_id, by.bytes(),
            {errc::bad_transaction,
             elsewhere ? "the contract is in a block under another txid: its refund and its payments do not fit it"
                       : "another transaction has spent the coins of the contract"});
    }

    void tell_of_block(event_kind kind, const txid& channel, const result<channel_record>& record, const txid& closing,
                       bytes_view tx, const error& problem = {}) {
        event told = record ? event_of(kind, *record) : event{kind};
        told.channel = channel;
        told.closing = closing;
        told.data = tx;
        told.problem = problem;
        events_.on_event(told);
    }

    template <class What>
    void apply_to_all(const What& what) {
        std::vector<txid> touched;
        index_.for_each([&](item& e) {
            const watched before = e.second.state;
            if constexpr (std::is_same_v<What, disconnected_blocks>) {
                if (std::max({before.contract_height, before.end_height, before.recorded_height}) < what.from) return;
            } else {
                if (before.ended() || before.recorded_height < what.first) return;
            }
            touched.push_back(e.first);
        });
        for (const txid& id : touched) (void)apply(id, what);
    }

    // ---- looks

    template <class Carry>
    void look_at(const txid& id, const happened::look& look, Carry& carry) {
        // What a record says of an end is in its watch record too, if it is still so: that is read soon.
        if (const item* const e = index_.find(id); (is_half_read() || !look.caught_up) && e != nullptr &&
                                                   e->second.state.recorded_height != 0 && !e->second.state.ended())
            return;
        duties todo = apply(id, look);
        if (todo.read) {
            add(id);
            todo = apply(id, look);
        }
        if (todo.write_end) (void)write_end(id);
        if (todo.stop_payments) (void)stop_payments(id);
        carry(id, todo, look);
        // What cannot be deleted now is looked at again with the next tick.
        if (is_half_read()) return;
        // Not while its contract may be in a block that is about to be read.
        const bool unbegun = todo.forget_unbegun && tip_height_ <= height_;
        if (todo.forget || (todo.forget_unopened && never_opened(id)) || (unbegun && never_began(id))) forget(id);
    }

    /// A stranger can have contracts stored as fast as the disk takes them, for each is stored before the network is asked,
    /// and nobody refuses any while the node is away.  Too many are not kept: refused ones go first, and none that may be
    /// opening just now.  No payment is lost by it: CHANNEL_OPEN leaves when `open` is on disk, so that none of these was
    /// ever open and nothing on it acked.  A client whose coins are in such a contract has its refund.
    void limit_unopened() {
        const auto too_many = [this] { return index_.unopened().size() > settings_.max_unopened; };
        if (!too_many()) return;
        std::vector<std::pair<std::int32_t, txid>> candidates;  // refused first
        for (const txid& id : index_.unopened()) {
            const std::int32_t refused_at = index_.find(id)->second.state.refused_at;
            candidates.emplace_back(refused_at == watched::never ? due::no_number : refused_at, id);
        }
        std::sort(candidates.begin(), candidates.end());
        for (const auto& [refused_at, id] : candidates) {
            if (!too_many()) return;
            const item* const e = index_.find(id);
            if (e != nullptr && e->second.state.asked && now_ >= e->second.state.seen + settings_.opening &&
                never_opened(id))
                forget(id);
        }
    }

    /// True for what may be deleted although no end was seen: as the store has it now, not as this process read it last.
    [[nodiscard]] bool never_began(const txid& id) {
        const auto stage = look_again(id);
        const item* const e = index_.find(id);
        if (e == nullptr) return false;
        return stage ? e->second.state.unbegun() : stage.error().code == errc::not_found;  // deleted by another process
    }

    /// True for what may be deleted before its time: payments on an `unbacked` one were acked.
    [[nodiscard]] bool never_opened(const txid& id) {
        return never_began(id) && index_.find(id)->second.state.stage == channel_stage::contract_stored;
    }

    // ---- writing

    /// Writes into a channel's record what ended it, at once or when the disk takes it.
    result<channel_record> write_end(const txid& id) {
        const watched end = index_.find(id)->second.state;
        return rewrite(id, [&](channel_record& r) {
            if (r.closing == end.closing && r.closing_height == end.end_height && r.stage == channel_stage::settling)
                return false;
            r.closing = end.closing;
            r.closing_height = end.end_height;
            r.stage = channel_stage::settling;
            return true;
        });
    }

    /// Changes a channel's record.  f  bool(channel_record&): false when there is nothing to change
    template <class F>
    result<channel_record> rewrite(const txid& channel, F&& f) {
        const auto record = try_rewrite(channel, f);
        const bool failed = !record && (record.error().code == errc::store_failed ||  // or others write all the time
                                        record.error().code == errc::stale_record);
        (void)apply(channel,
                    happened::record_written{record.has_value(), failed, record ? record->stage : channel_stage{}});
        if (!record) report_now_and_then(channel, record.error());
        return record;
    }

    /// One that is newer by then is of another process, or of a connection: it is read again.
    template <class F>
    [[nodiscard]] result<channel_record> try_rewrite(const txid& channel, F& f) {
        for (int attempt = 1;; ++attempt) {
            PAYCHAN_TRY(channel_record record, load_record(store_, kinds.channel, channel));
            if (!f(record)) return record;
            ++record.version;
            const put_batch batch({true, {}, {}, {}}, record, kinds.channel);
            const auto written = put_all(store_, batch.view());
            if (written) return record;
            if (written.error().code != errc::stale_record || attempt == 10) return fail(written.error());
        }
    }

    [[nodiscard]] result<void> save_facts(std::span<const txid> ids) {
        std::vector<watch_buffer> bytes;
        std::vector<put_request> batch;
        bytes.reserve(ids.size());
        for (const txid& id : ids) {
            const item* const e = index_.find(id);
            if (e == nullptr) continue;
            if (damaged_.contains(id)) PAYCHAN_CHECK(store_.erase({kinds.watch, id}));
            damaged_.erase(id);
            bytes.push_back(write_watch(e->second.state));
            batch.push_back({{kinds.watch, id}, e->second.version + 1, bytes.back().view()});
        }
        const auto written = put_all(store_, batch);
        if (!written && written.error().code != errc::stale_record) return written;
        for (const put_request& r : batch) {
            item* const e = index_.find(r.id.channel);
            if (written) e->second.version = static_cast<std::uint32_t>(r.version);
        }
        if (written)
            for (const txid& id : ids) unsaved_.erase(id);
        else  // another process follows the chain too
            for (const put_request& r : batch) PAYCHAN_CHECK(save_beside_others(r));
        return {};
    }

    /// Both follow the same chain: who has seen more of it is right.  What it saw may leave the chain before it dies: it is
    /// compared again, until this process has read as far.
    [[nodiscard]] result<void> save_beside_others(const put_request& r) {
        item* const e = index_.find(r.id.channel);
        std::uint64_t version = e->second.version;
        for (int attempt = 1;; ++attempt) {
            const auto written = store_.put(r.id, version + 1, r.bytes);
            if (written) e->second.version = static_cast<std::uint32_t>(version + 1);
            if (written) unsaved_.erase(r.id.channel);
            if (written || written.error().code != errc::stale_record || attempt == 10) return written;
            std::array<std::uint8_t, watch_buffer::capacity()> memory{};
            PAYCHAN_TRY(const auto stored, store_.get(r.id, memory));
            version = stored.version;
            const auto theirs = read_watch(stored.bytes);
            if (theirs && std::max(theirs->contract_height, theirs->end_height) > height_) return {};
        }
    }

    // ---- deleting

    void forget(const txid& id) {
        // A connection that still holds the channel could write its record anew after the deletion.
        if (is_attached(id)) return;
        if (erase_records(id)) drop(id);
    }

    /// The channel's record goes after its transactions: while it is there, a deletion that was cut short is done again.
    /// What the chain did to it goes last, for without that the channel would seem to have no end.
    [[nodiscard]] bool erase_records(const txid& id) {
        for (const record_kind kind : {kinds.contract, kinds.closing, kinds.channel, kinds.watch})
            if (!store_.erase({kind, id})) return false;
        return true;
    }

    /// Watch records whose channel's deletion was cut short.
    void erase_left_behind() {
        for (const txid& id : std::exchange(left_behind_, {})) {
            const auto record = load_record(store_, kinds.channel, id);
            if (!record && record.error().code == errc::not_found)
                (void)store_.erase({kinds.watch, id});
            else if (record || record.error().code == errc::store_failed)
                add(id);  // behind a damaged page of channels
        }
    }

    /// Watches it no more: its records are deleted.
    void drop(txid id) {  // a copy: it may be the index's own
        item* const e = index_.find(id);
        if (e == nullptr) return;
        index_.erase(*e);
        unsaved_.erase(id);
        event told{event_kind::buried};
        told.channel = id;
        events_.on_event(told);
    }

    void report(const txid& id, const error& e) {
        event told{event_kind::error};
        told.channel = id;
        told.problem = e;
        events_.on_event(told);
    }

    /// Told once, until it is right again.
    void watch_clock(unix_time now) {
        const bool wrong = is_behind(now, median_time());
        if (wrong && !clock_told_) {
            event told{event_kind::clock_wrong};
            told.problem = {errc::wrong_clock, "this machine's clock is behind the time of the chain's blocks"};
            told.clock = now;
            told.chain_time = median_time();
            events_.on_event(told);
        }
        clock_told_ = wrong;
    }

    S& store_;
    Events& events_;
    monitor_settings settings_;
    index_type index_;
    std::set<txid> unsaved_;  // whose watch record is to be written
    loading loading_ = loading::channels;
    record_reader reader_;
    std::vector<txid> coins_to_read_;  // by load_some()
    std::vector<txid> left_behind_;    // watch records without a channel
    std::vector<txid> without_coins_;  // by the next tick
    std::vector<txid> without_facts_;  // so too
    std::set<txid> damaged_;           // whose watch record is erased before it is written
    std::optional<std::uint64_t> foreign_writes_;
    std::int32_t height_ = 0;
    std::int32_t known_ = 0;  // what was stored before the start is believed up to this block
    std::int32_t tip_height_ = -1;
    std::int32_t round_ = 0;
    std::int32_t round_height_ = watched::never;
    unix_time round_time_{};
    unix_time median_time_{};
    unix_time tip_median_time_{};
    unix_time now_{};  // of the last tick
    key_id highest_key_{};
    fee_rate looked_rate_{};  // with which on_fees() looked last
    bool has_seen_block_ = false;
    bool doubtful_ = false;
    bool clock_told_ = false;
    std::array<std::uint8_t, wire::max_frame_size> memory_{};  // one stored transaction
};

}  // namespace paychan::detail
