// All channels that are watched, and which of them is due next.  Uses the heap: not for payments.
#pragma once

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "paychan/channel/monitor_step.hpp"
#include "paychan/monitor/due_heap.hpp"

namespace paychan::detail {

/// A txid is a hash already.
struct txid_hash {
    std::size_t operator()(const txid& id) const noexcept {
        std::size_t out = 0;
        std::memcpy(&out, id.bytes.data(), sizeof out);
        return out;
    }
};

/// A channel in the index.  It stays where it is in memory for as long as it is watched.
struct watch_entry {
    watched state;
    std::uint32_t version = 0;                               // of the stored watch record
    std::int32_t reported_at = watched::never;               // height at which an error was told last, and
    std::uint32_t by_time = 0, by_height = 0, by_round = 0;  // places in the heaps
    errc reported = errc::other;                             // which
};

/// What the contract of a channel spends, while it is in no block.
struct watched_coins {
    std::vector<outpoint> spends;
    bytes32 script{};  // hash of what the contract pays to
    satoshi value{};
};

/// Changes go through apply(): a step of the channel, after which its places are right again.  O(log n).
template <channel_role Role>
class watch_index {
public:
    using item = std::pair<const txid, watch_entry>;

    explicit watch_index(const monitor_settings& settings) : settings_(settings) {}
    watch_index(const watch_index&) = delete;
    watch_index& operator=(const watch_index&) = delete;

    [[nodiscard]] item* find(const txid& id) {
        const auto found = entries_.find(id);
        return found == entries_.end() ? nullptr : &*found;
    }
    [[nodiscard]] const item* find(const txid& id) const {
        const auto found = entries_.find(id);
        return found == entries_.end() ? nullptr : &*found;
    }
    /// The channel, and whether it is new.
    [[nodiscard]] std::pair<item*, bool> insert(const txid& id) {
        const auto [at, fresh] = entries_.try_emplace(id);
        return {&*at, fresh};
    }

    duties apply(item& e, const happening& what) {
        watched& w = e.second.state;
        const txid closing = w.closing;
        const bool ended = w.ended(), unopened = w.unopened() && !w.accepted;
        const duties out = step<Role>(w, what, settings_);
        if (w.closing != closing) {
            unlink_closing(closing, e);
            if (w.closing != txid{}) channel_of_[w.closing] = &e;
        }
        if (w.ended() != ended) ended_ += ended ? -1 : 1;
        if (const bool now = w.unopened() && !w.accepted; now != unopened) {
            if (now)
                unopened_.insert(e.first);
            else
                unopened_.erase(e.first);
        }
        if (w.contract_height != 0 || w.ended()) forget_coins(e.first);
        place(e);
        return out;
    }

    void erase(item& e) {
        unlink_closing(e.second.state.closing, e);
        if (e.second.state.ended()) --ended_;
        unopened_.erase(e.first);
        forget_coins(e.first);
        by_time_.take_out(e);
        by_height_.take_out(e);
        by_round_.take_out(e);
        entries_.erase(txid(e.first));
    }

    /// The channels that are to be looked at, each once, the first expiry first.
    [[nodiscard]] std::vector<txid> due_at(unix_time time, std::int32_t height, std::int32_t round) const {
        std::vector<std::pair<unix_time, txid>> found;
        const auto add = [&](const item& e) { found.emplace_back(e.second.state.expiry, e.first); };
        by_time_.up_to(time, add);
        by_height_.up_to(height, add);
        by_round_.up_to(round, add);
        std::sort(found.begin(), found.end());
        found.erase(std::unique(found.begin(), found.end()), found.end());
        std::vector<txid> out;
        for (const auto& [expiry, id] : found) out.push_back(id);
        return out;
    }

    /// Until then, what is in no block may be in one that was not read yet.
    void caught_up() {
        if (std::exchange(caught_up_, true)) return;
        for (item& e : entries_) place(e);
    }
    void fell_behind() {
        if (!std::exchange(caught_up_, false)) return;
        for (item& e : entries_) place(e);
    }
    [[nodiscard]] bool has_caught_up() const { return caught_up_; }

    /// The channel that ends with this transaction.
    [[nodiscard]] item* ended_by(const txid& closing) const {
        const auto found = channel_of_.find(closing);
        return found == channel_of_.end() ? nullptr : found->second;
    }

    /// Those for which a transaction is known that ends them.
    [[nodiscard]] std::vector<txid> closing() const {
        std::vector<txid> out;
        for (const auto& [closing, e] : channel_of_) out.push_back(e->first);
        return out;
    }

    void watch_coins(const txid& id, watched_coins coins) {
        forget_coins(id);
        for (const outpoint& o : coins.spends) spenders_.emplace(o, id);
        coins_.insert_or_assign(id, std::move(coins));
    }
    [[nodiscard]] const watched_coins* coins_of(const txid& id) const {
        const auto found = coins_.find(id);
        return found == coins_.end() ? nullptr : &found->second;
    }
    /// The channels whose contract is in no block, and may come into one.
    [[nodiscard]] std::vector<txid> unmined() const {
        std::vector<txid> out;
        for (const auto& [id, coins] : coins_) out.push_back(id);
        return out;
    }
    /// The channels whose contract spends this coin and is in no block.
    [[nodiscard]] std::vector<txid> spending(const outpoint& coin) const {
        return spenders(coin, [&](const outpoint& o) { return o == coin; });
    }

    /// So too, for any output of this transaction.
    [[nodiscard]] std::vector<txid> spending_outputs_of(const txid& id) const {
        return spenders({id, 0}, [&](const outpoint& o) { return o.id == id; });
    }

    template <class F>
    void for_each(F&& f) {
        for (item& e : entries_) f(e);
    }
    [[nodiscard]] std::size_t size() const { return entries_.size(); }
    [[nodiscard]] std::size_t unended() const { return entries_.size() - static_cast<std::size_t>(ended_); }
    /// Those that never opened and that no network has taken.
    [[nodiscard]] const std::set<txid>& unopened() const { return unopened_; }
    /// The expiry of the channel that is due first by its time.
    [[nodiscard]] std::optional<unix_time> first_expiry() const {
        if (by_time_.empty() || by_time_.first().second.state.expiry == watched::no_time) return std::nullopt;
        return by_time_.first().second.state.expiry;
    }

private:
    /// Of the coins from this one on, as long as `which` wants them.
    template <class Which>
    [[nodiscard]] std::vector<txid> spenders(const outpoint& first, Which which) const {
        std::vector<txid> out;
        for (auto i = spenders_.lower_bound({first, txid{}}); i != spenders_.end() && which(i->first); ++i)
            out.push_back(i->second);
        return out;
    }

    static std::uint32_t& time_place(item& i) { return i.second.by_time; }
    static std::uint32_t& height_place(item& i) { return i.second.by_height; }
    static std::uint32_t& round_place(item& i) { return i.second.by_round; }

    void place(item& e) {
        const due next = due_of<Role>(e.second.state, settings_, caught_up_);
        const auto put = [&e](auto& heap, const auto& key, const auto& none) {
            if (key == none)
                heap.take_out(e);
            else
                heap.put(e, key);
        };
        put(by_time_, next.time, watched::no_time);
        put(by_height_, next.height, due::no_number);
        put(by_round_, next.round, due::no_number);
    }

    void unlink_closing(const txid& closing, const item& e) {
        const auto found = channel_of_.find(closing);
        if (found != channel_of_.end() && found->second == &e) channel_of_.erase(found);
    }

    void forget_coins(const txid& id) {
        const auto found = coins_.find(id);
        if (found == coins_.end()) return;
        for (const outpoint& o : found->second.spends) spenders_.erase({o, id});
        coins_.erase(found);
    }

    monitor_settings settings_;
    std::unordered_map<txid, watch_entry, txid_hash> entries_;
    due_heap<unix_time, item, time_place> by_time_;
    due_heap<std::int32_t, item, height_place> by_height_;
    due_heap<std::int32_t, item, round_place> by_round_;
    // Of few channels only.
    std::map<txid, item*> channel_of_;  // the transaction that ends a channel
    std::map<txid, watched_coins> coins_;
    std::set<std::pair<outpoint, txid>> spenders_;
    std::set<txid> unopened_;
    std::ptrdiff_t ended_ = 0;
    bool caught_up_ = false;
};

}  // namespace paychan::detail
