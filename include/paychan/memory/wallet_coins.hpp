// The wallet's coins: found by walking blocks, undone with them, and reserved for the transactions that spend them.
#pragma once

#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "paychan/bitcoin/block.hpp"
#include "paychan/bitcoin/check.hpp"
#include "paychan/memory/wallet_keys.hpp"
#include "paychan/memory/wallet_records.hpp"
#include "paychan/policy.hpp"

namespace paychan {

/// What has changed since everything was stored last.
struct wallet_changes {
    bool all = true;           ///< nothing is known of what the store holds
    bool state = false;        ///< what is not a coin
    std::set<txid> coins;      ///< transactions whose outputs have changed, or are gone
    std::set<txid> forgotten;  ///< those that are too old to be kept: they go with the next save, whenever that is
    std::int32_t lowest = std::numeric_limits<std::int32_t>::max();  ///< height that disconnected blocks left behind

    [[nodiscard]] bool none() const { return !all && !state && coins.empty(); }
};

/// Follows the chain from a birthday on.  Holds no key: `keys` says what is ours, and is told what to look for next.
/// Spent coins are kept with the height of the block that spends them, so that blocks can be taken back, and told again.
class wallet_coins {
public:
    using coin_map = std::map<outpoint, wallet_coin>;

    static constexpr std::uint32_t gap_limit = 20;        // [keys] BIP44: looked for behind the last that was paid to
    static constexpr std::uint32_t channel_gap = 1000;    // [keys] the same of channels: openings fail, without a coin
    static constexpr std::int32_t spent_depth = 1000;     // [blocks] spent coins below are forgotten,
    static constexpr std::int32_t forget_interval = 100;  // [blocks] now and then
    static constexpr std::int32_t coinbase_maturity = 100;  // [blocks] consensus

    /// channel_keys  asks how many channel keys are given out: refunds and change are paid to them.  May be empty.
    /// gap           [keys] how many channel keys to look for behind those
    explicit wallet_coins(std::function<std::uint32_t()> channel_keys, std::uint32_t gap = channel_gap)
        : channel_keys_(std::move(channel_keys)), gap_(gap) {}

    /// Takes the next block, or one that is known.  The first one may have any height: it is the wallet's birthday.
    /// A block at a known height says all about that height: what was known of it from another branch ends.  Blocks so
    /// deep that coins were forgotten change nothing.
    /// Fails  malformed (the block; nothing is changed, push it again), wrong_state (blocks are missing before it, or
    ///        another branch began below what is remembered: from now on nothing is spent until restart_scan),
    ///        invalid_key.
    result<void> connect(const connected_block& block, wallet_keys& keys) {
        if (lost_) return must_rescan();
        PAYCHAN_TRY(const block_reader at_start, open_block(block.raw));
        const bytes32 previous = at_start.header().previous.bytes;
        if (state_.height && block.height > *state_.height && !follows(block.height, previous)) return lose();
        PAYCHAN_CHECK(find_keys(at_start, keys));

        if (state_.height && block.height <= *state_.height) {
            const auto known = state_.hash_at(block.height);
            if (!known) return take_again(block, previous, at_start, keys);
            if (*known == block.hash) {
                doubtful_ = false;
                take(block, at_start, keys);
                told_ = {block.height, block.hash};
                return {};
            }
            // Another branch.  It must begin here: below, we would have had to be told of it.
            const auto below = state_.hash_at(block.height - 1);
            const bool joined = below ? *below == previous : told_ == chain_place{block.height - 1, previous};
            if (!joined || doubtful_ || is_forgotten(block.height)) return lose();
            roll_back(block.height);
        }
        take(block, at_start, keys);
        if (state_.hashes.empty()) state_.hashes.push_back(previous);
        state_.hashes.insert(state_.hashes.begin(), block.hash);
        if (state_.hashes.size() > wallet_state::max_hashes) state_.hashes.pop_back();
        state_.height = block.height;
        changes_.state = true;
        told_ = {block.height, block.hash};
        again_from_.reset();
        at_height_.clear();
        if (block.height % forget_interval == 0) forget_spent();
        return {};
    }

    /// Takes back the block at this height and all above it.  Coins that they spent are there again, but reserved: the
    /// network still knows what spent them.  A height above the tip changes nothing.
    /// Fails  wrong_state (a coin that was spent from there on is forgotten: nothing is spent until restart_scan).
    result<void> disconnect(std::int32_t from) {
        if (lost_) return must_rescan();
        if (!state_.height || from > *state_.height) return {};
        if (is_forgotten(from)) return lose();
        roll_back(from);
        return {};
    }

    /// Blocks that nobody can show.  Coins that were known before may be spent in them: only what comes behind counts.
    void pass(const passed_blocks& p) {
        if (!lost_ && state_.height && p.last <= *state_.height) return;
        restart_scan();
        state_.height = p.last;
    }

    /// Forgets all coins, so that blocks can be pushed from the birthday on again.  Reservations stay.
    void restart_scan() {
        coins_.clear();
        const auto used = state_.used;
        state_ = {};
        state_.used = used;
        changes_ = {};
        end_replay();
        lost_ = false;
    }

    /// Blocks were missed: nothing is spent until restart_scan.  Returns wrong_state.
    tl::unexpected<error> lose() {
        lost_ = true;
        return must_rescan();
    }

    /// Fails  wrong_state (blocks were missed: what we think to have may be spent).
    [[nodiscard]] result<void> usable() const {
        if (lost_) return must_rescan();
        return {};
    }

    /// The highest block that was taken; nothing before the first.
    [[nodiscard]] std::optional<std::int32_t> height() const { return state_.height; }

    // ---- reservations

    /// Keeps a coin for the transaction whose input 0 is `first_input`.  Once that is spent, the transaction is mined
    /// or dead, and what is left of its reservations ends; and of all that have this input 0, one can be mined at most,
    /// so that a settlement may take the coins of the settlement that it replaces.
    void reserve(const outpoint& where, const outpoint& first_input) {
        release(where);
        reserved_.emplace(where, first_input);
        kept_for_.emplace(first_input, where);
    }
    void release(const outpoint& where) {
        const auto found = reserved_.find(where);
        if (found == reserved_.end()) return;
        kept_for_.erase({found->second, where});
        reserved_.erase(found);
    }
    void release_all_for(const outpoint& first_input) {
        for (auto i = kept_for_.lower_bound({first_input, {}}); i != kept_for_.end() && i->first == first_input;) {
            reserved_.erase(i->second);
            i = kept_for_.erase(i);
        }
    }

    [[nodiscard]] bool is_mature(const wallet_coin& c) const {
        // The block that could hold the spending transaction comes after the tip.
        return !c.coinbase || (state_.height && std::int64_t{*state_.height} + 1 - c.height >= coinbase_maturity);
    }
    [[nodiscard]] bool is_reserved(const wallet_coin& c) const { return reserved_.contains(c.where); }
    /// Not reserved, or for a transaction of this input 0.
    [[nodiscard]] bool is_free(const outpoint& where, const std::optional<outpoint>& first_input) const {
        const auto r = reserved_.find(where);
        return r == reserved_.end() || r->second == first_input;
    }

    /// Coins that can be spent now, the largest first; with those that are reserved for a transaction of this input 0.
    [[nodiscard]] std::vector<wallet_coin> spendable(std::optional<outpoint> first_input = std::nullopt) const {
        std::vector<wallet_coin> out;
        for (const auto& [where, c] : coins_)
            if (c.spent == 0 && is_mature(c) && is_free(where, first_input)) out.push_back(c);
        std::ranges::stable_sort(out, std::ranges::greater{}, &wallet_coin::value);
        return out;
    }

    /// Also those that are spent, and not forgotten yet.
    [[nodiscard]] const coin_map& all() const { return coins_; }

    [[nodiscard]] const wallet_coin* find(const outpoint& where) const {
        const auto found = coins_.find(where);
        return found == coins_.end() ? nullptr : &found->second;
    }

    // ---- keys

    /// The first key of the row that nobody has paid to, nor to a later one.
    [[nodiscard]] std::uint32_t first_unused(key_branch branch) const {
        return state_.used[static_cast<std::size_t>(branch)];
    }

    /// Has `keys` look for all that may be paid to.
    [[nodiscard]] result<void> look_ahead(wallet_keys& keys) {
        for (const key_branch b : all_key_branches)
            if (b != key_branch::channel) PAYCHAN_CHECK(keys.watch(b, first_unused(b) + gap_limit));
        // A store may be older than the chain, hence the gap behind its keys too.  Channel keys count from 1.
        const std::uint32_t given_out = channel_keys_ ? channel_keys_() + 1 : 0;
        return keys.watch(key_branch::channel, std::max(first_unused(key_branch::channel), given_out) + gap_);
    }

    // ---- for whoever stores it: see wallet_sync.hpp

    [[nodiscard]] const wallet_state& state() const { return state_; }
    [[nodiscard]] const wallet_changes& changes() const { return changes_; }

    /// Our outputs of one transaction, by their indices.
    [[nodiscard]] std::vector<wallet_coin> coins_of(const txid& id) const {
        std::vector<wallet_coin> out;
        for (auto i = coins_.lower_bound({id, 0}); i != coins_.end() && i->first.id == id; ++i)
            out.push_back(i->second);
        return out;
    }

    /// What was stored, in place of what is known.  What it holds above its height comes from a save that did not end:
    /// it is taken back, so that blocks can say it again.  Of key numbers the higher ones stay.
    void replace(wallet_state stored, coin_map coins, std::set<txid> forgotten) {
        const auto used = std::exchange(state_, std::move(stored)).used;
        coins_ = std::move(coins);
        changes_ = {};
        changes_.all = false;
        changes_.forgotten = std::move(forgotten);
        const auto in_store = std::exchange(state_.used, used);
        raise_used(in_store);
        end_replay();
        // Coins without a height: the first save did not end, or the state is lost.
        lost_ = !state_.complete || (!state_.height && !coins_.empty());
        state_.complete = true;
        if (!lost_ && state_.height) undo_from(*state_.height + 1);
    }

    /// Adds a coin, or the mark that it is spent, that another process has seen on the same chain.
    void learn(const wallet_coin& c) {
        const auto others = coins_.lower_bound({c.where.id, 0});
        if (others != coins_.end() && others->first.id == c.where.id && others->second.height != c.height) return;
        const auto [known, is_new] = coins_.try_emplace(c.where, c);
        wallet_coin& ours = known->second;
        const bool later_spent = !is_new && ours.spent == 0 && c.spent != 0;
        if (later_spent) {
            ours.spent = c.spent;
            ours.spender = c.spender;
        }
        if (is_new || later_spent) changed(c.where.id);
    }

    /// The store knows these keys to be used.
    void raise_used(const std::array<std::uint32_t, all_key_branches.size()>& stored) {
        for (std::size_t i = 0; i < stored.size(); ++i) {
            if (stored[i] < state_.used[i]) changes_.state = true;
            state_.used[i] = std::max(state_.used[i], stored[i]);
        }
    }

    void all_changed() { changes_.all = true; }
    void is_stored(const txid& id) { changes_.coins.erase(id); }
    void is_stored() {
        changes_ = {};
        changes_.all = false;
    }

private:
    [[nodiscard]] static tl::unexpected<error> must_rescan() {
        return fail(errc::wrong_state, "the wallet has missed blocks: it must scan again from its birthday");
    }

    /// True if that moved the end of what is used.
    bool mark_used(key_path key) {
        std::uint32_t& n = state_.used[static_cast<std::size_t>(key.branch)];
        if (key.index < n) return false;
        n = key.index + 1;
        changes_.state = true;
        return true;
    }

    /// While nothing is known of the store, all will be written anyway.
    void changed(const txid& id) {
        changes_.state = true;
        if (!changes_.all) changes_.coins.insert(id);
    }

    [[nodiscard]] bool follows(std::int32_t height, const bytes32& previous) const {
        const auto tip = state_.hash_at(*state_.height);
        return height == *state_.height + 1 && (!tip || *tip == previous);
    }

    [[nodiscard]] bool is_forgotten(std::int32_t height) const {
        return state_.forgotten_up_to > 0 && height <= state_.forgotten_up_to;
    }

    /// An early transaction may pay to a key that only a later one brings into sight: looks until nothing new comes.
    result<void> find_keys(const block_reader& at_start, wallet_keys& keys) {
        PAYCHAN_CHECK(look_ahead(keys));
        for (bool again = true; again;) {
            again = false;
            for (block_reader r = at_start; r.left() > 0;) {
                PAYCHAN_TRY(const transaction tx, r.next());
                for (const tx_output& out : tx.outputs())
                    if (const auto key = keys.find(out.script_pubkey)) again |= mark_used(*key);
            }
            if (again) PAYCHAN_CHECK(look_ahead(keys));
        }
        return {};
    }

    struct effects {
        std::set<outpoint> created;
        std::set<outpoint> spent;
    };

    effects take(const connected_block& block, const block_reader& at_start, const wallet_keys& keys) {
        effects out;
        for (block_reader r = at_start; r.left() > 0;)
            if (const auto tx = r.next())
                apply(*tx, block.height, keys, out);
            else
                break;  // cannot be: find_keys has parsed it
        return out;
    }

    void apply(const transaction& tx, std::int32_t height, const wallet_keys& keys, effects& out) {
        const outpoint first_input = tx.inputs().begin()->prevout;
        for (const tx_input& in : tx.inputs()) {
            release_all_for(in.prevout);
            const auto found = coins_.find(in.prevout);
            if (found == coins_.end()) continue;
            release(in.prevout);
            out.spent.insert(in.prevout);
            wallet_coin& c = found->second;
            if (c.spent == height && c.spender == first_input) continue;
            c.spent = height;
            c.spender = first_input;
            changed(c.where.id);
        }
        std::optional<txid> id;
        std::uint32_t index = 0;
        for (const tx_output& o : tx.outputs()) {
            const std::uint32_t n = index++;
            const auto key = keys.find(o.script_pubkey);
            if (!key || o.value.value <= 0 || !is_money(o.value)) continue;
            if (!id) id = tx.id();
            const outpoint where{*id, n};
            out.created.insert(where);
            const auto form = match_p2wpkh(o.script_pubkey) ? coin_form::p2wpkh : coin_form::p2pkh;
            wallet_coin made{where, o.value, *key, form, is_coinbase(tx), height, 0, {}};
            const auto [known, is_new] = coins_.try_emplace(where, made);
            if (!is_new && known->second.height == height) continue;
            if (!is_new) unspend(known->second);
            known->second = made;
            changed(*id);
        }
    }

    /// The network still knows what spent it.
    void unspend(wallet_coin& c) {
        if (c.spent == 0) return;
        reserve(c.where, c.spender);
        c.spent = 0;
        c.spender = {};
        changed(c.where.id);
    }

    /// A block of a known height whose hash is not remembered: it may be of another branch.
    result<void> take_again(const connected_block& block, const bytes32& previous, const block_reader& at_start,
                            const wallet_keys& keys) {
        if (is_forgotten(block.height)) {
            // Most likely the same block, and the coins that it made are spent.  If not, the hashes above will say so.
            doubtful_ = true;
            told_ = {block.height, block.hash};
            return {};
        }
        if (!again_from_ || told_ != chain_place{block.height - 1, previous}) {
            again_from_ = block.height;
            at_height_.clear();
            for (const auto& [where, c] : coins_) {
                if (c.height >= block.height) at_height_.emplace(c.height, where);
                if (c.spent >= block.height) at_height_.emplace(c.spent, where);
            }
        }
        const effects now = take(block, at_start, keys);
        const auto [first, last] = at_height_.equal_range(block.height);
        for (auto i = first; i != last; ++i) {
            const auto found = coins_.find(i->second);
            if (found == coins_.end()) continue;
            wallet_coin& c = found->second;
            if (c.spent == block.height && !now.spent.contains(c.where)) unspend(c);
            if (c.height == block.height && !now.created.contains(c.where)) {
                changed(c.where.id);
                coins_.erase(found);
            }
        }
        told_ = {block.height, block.hash};
        return {};
    }

    void roll_back(std::int32_t from) {
        undo_from(from);
        state_.cut(from);
        changes_.state = true;
        changes_.lowest = std::min(changes_.lowest, from - 1);
        end_replay();
    }

    void undo_from(std::int32_t from) {
        for (auto i = coins_.begin(); i != coins_.end();) {
            wallet_coin& c = i->second;
            if (c.height >= from) {
                changed(c.where.id);
                i = coins_.erase(i);
                continue;
            }
            if (c.spent >= from) unspend(c);
            ++i;
        }
    }

    /// Transactions of which everything was spent long ago.
    void forget_spent() {
        const std::int32_t deep = *state_.height - spent_depth;
        for (auto i = coins_.begin(); i != coins_.end();) {
            const auto begin = i;
            std::int32_t last_spent = 0;
            bool all_deep = true;
            for (; i != coins_.end() && i->first.id == begin->first.id; ++i) {
                all_deep = all_deep && i->second.spent != 0 && i->second.spent < deep;
                last_spent = std::max(last_spent, i->second.spent);
            }
            if (!all_deep) continue;
            const txid id = begin->first.id;
            coins_.erase(begin, i);
            changes_.coins.erase(id);
            if (!changes_.all) changes_.forgotten.insert(id);
            changes_.state = true;
            state_.forgotten_up_to = std::max(state_.forgotten_up_to, last_spent);
        }
    }

    void end_replay() {
        told_ = {};
        again_from_.reset();
        at_height_.clear();
        doubtful_ = false;
    }

    std::function<std::uint32_t()> channel_keys_;
    std::uint32_t gap_;
    coin_map coins_;
    std::map<outpoint, outpoint> reserved_;             // and input 0 of the transaction that it is kept for
    std::set<std::pair<outpoint, outpoint>> kept_for_;  // the same from the other end
    wallet_state state_;
    wallet_changes changes_;
    bool lost_ = false;

    // While known blocks are told again:
    chain_place told_;                                 // the last one
    std::optional<std::int32_t> again_from_;           // the first one of those whose hashes are not known
    std::multimap<std::int32_t, outpoint> at_height_;  // what is known to have happened from there on
    bool doubtful_ = false;                            // blocks went by in which coins may have been forgotten
};

}  // namespace paychan
