// The wallet's coins: found by walking blocks, undone with them, and reserved for the transactions that spend them.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "paychan/bitcoin/block.hpp"
#include "paychan/bitcoin/check.hpp"
#include "paychan/memory/wallet_keys.hpp"
#include "paychan/policy.hpp"

namespace paychan {

/// How a coin is spent: with a signature inside the txid, or beside it.
enum class coin_form : std::uint8_t { p2pkh, p2wpkh };

struct wallet_coin {
    outpoint where;
    satoshi value;
    key_path key;
    coin_form form{};
    std::int32_t height = 0;
    bool coinbase = false;
};

/// Follows the chain from a birthday on.  Holds no key: `keys` says what is ours, and is told what to look for next.
class wallet_coins {
public:
    static constexpr std::uint32_t gap_limit = 20;          // [keys] BIP44: looked for behind the last that was paid to
    static constexpr std::size_t undo_depth = 200;          // [blocks] a deeper reorganisation needs a new scan
    static constexpr std::int32_t coinbase_maturity = 100;  // [blocks] consensus

    /// channel_keys  asks how many channel keys are given out: refunds and change are paid to them.  May be empty.
    explicit wallet_coins(std::function<std::uint32_t()> channel_keys) : channel_keys_(std::move(channel_keys)) {}

    /// Takes the next block.  The first one may have any height: it is the wallet's birthday.
    /// Fails  malformed (the block; nothing is changed, push it again), wrong_state (blocks are missing before it: from
    ///        now on nothing is spent until restart_scan), invalid_key.
    result<void> connect(const connected_block& block, wallet_keys& keys) {
        if (lost_) return must_rescan();
        if (tip_ && tip_->height == block.height && tip_->hash == block.hash) return {};  // told twice
        PAYCHAN_TRY(const block_reader at_start, open_block(block.raw));
        if (tip_ && (block.height != tip_->height + 1 || at_start.header().previous.bytes != tip_->hash)) {
            lost_ = true;
            return must_rescan();
        }
        PAYCHAN_CHECK(look_ahead(keys));
        // An early transaction may pay to a key that only a later one brings into sight: look until nothing new comes.
        for (bool again = true; again;) {
            again = false;
            for (block_reader r = at_start; r.left() > 0;) {
                PAYCHAN_TRY(const transaction tx, r.next());
                for (const tx_output& out : tx.outputs())
                    if (const auto key = keys.find(out.script_pubkey)) again |= mark_used(*key);
            }
            if (again) PAYCHAN_CHECK(look_ahead(keys));
        }

        undo back{tip_, {}, {}};
        for (block_reader r = at_start; r.left() > 0;) {
            PAYCHAN_TRY(const transaction tx, r.next());  // parsed above
            apply(tx, block.height, keys, back);
        }
        tip_ = position{block.height, block.hash};
        undo_.push_back(std::move(back));
        if (undo_.size() > undo_depth) undo_.pop_front();
        return {};
    }

    /// Takes the tip back.  Coins that it spent are there again, but reserved: the network still knows what spent them.
    /// Fails  wrong_state (not the tip, or deeper than undo_depth: from now on nothing is spent until restart_scan).
    result<void> disconnect(std::int32_t height) {
        if (lost_) return must_rescan();
        if (!tip_ || tip_->height != height || undo_.empty()) {
            lost_ = true;
            return must_rescan();
        }
        undo back = std::move(undo_.back());
        undo_.pop_back();
        for (const auto& [c, first_input] : back.spent) {
            coins_.insert_or_assign(c.where, c);
            reserved_.insert_or_assign(c.where, first_input);
        }
        for (const outpoint& o : back.created) coins_.erase(o);
        tip_ = back.before;
        return {};
    }

    /// Forgets all coins, so that blocks can be pushed from the birthday on again.  Reservations stay.
    void restart_scan() {
        coins_.clear();
        undo_.clear();
        tip_.reset();
        lost_ = false;
    }

    /// Fails  wrong_state (blocks were missed: what we think to have may be spent).
    [[nodiscard]] result<void> usable() const {
        if (lost_) return must_rescan();
        return {};
    }

    /// The last block that was taken; nothing before the first.
    [[nodiscard]] std::optional<std::int32_t> height() const {
        if (!tip_) return std::nullopt;
        return tip_->height;
    }

    // ---- reservations

    /// Keeps a coin for the transaction whose input 0 is `first_input`.  Once that is spent, the transaction is mined
    /// or dead, and what is left of its reservations ends; and of all that have this input 0, one can be mined at most,
    /// so that a settlement may take the coins of the settlement that it replaces.
    void reserve(const outpoint& where, const outpoint& first_input) { reserved_.insert_or_assign(where, first_input); }
    void release(const outpoint& where) { reserved_.erase(where); }
    void release_all_for(const outpoint& first_input) {
        std::erase_if(reserved_, [&](const auto& r) { return r.second == first_input; });
    }

    [[nodiscard]] bool is_mature(const wallet_coin& c) const {
        // The block that could hold the spending transaction comes after the tip.
        return !c.coinbase || (tip_ && std::int64_t{tip_->height} + 1 - c.height >= coinbase_maturity);
    }
    [[nodiscard]] bool is_reserved(const wallet_coin& c) const { return reserved_.contains(c.where); }

    /// Coins that can be spent now, the largest first; with those that are reserved for a transaction of this input 0.
    [[nodiscard]] std::vector<wallet_coin> spendable(std::optional<outpoint> first_input = std::nullopt) const {
        std::vector<wallet_coin> out;
        for (const auto& [where, c] : coins_) {
            const auto r = reserved_.find(where);
            const bool free = r == reserved_.end() || r->second == first_input;
            if (free && is_mature(c)) out.push_back(c);
        }
        std::ranges::stable_sort(out, std::ranges::greater{}, &wallet_coin::value);
        return out;
    }

    [[nodiscard]] const std::map<outpoint, wallet_coin>& all() const { return coins_; }

    // ---- keys

    /// The first key of the row that nobody has paid to, nor to a later one.
    [[nodiscard]] std::uint32_t first_unused(key_branch branch) const {
        return used_[static_cast<std::size_t>(branch)];
    }

    /// Has `keys` look for all that may be paid to.
    [[nodiscard]] result<void> look_ahead(wallet_keys& keys) {
        // A store may be older than the chain, hence the gap here too.  Channel keys count from 1.
        if (channel_keys_) (void)mark_used({key_branch::channel, channel_keys_()});
        for (const key_branch b : all_key_branches) PAYCHAN_CHECK(keys.watch(b, first_unused(b) + gap_limit));
        return {};
    }

private:
    struct position {
        std::int32_t height = 0;
        bytes32 hash{};
    };
    struct undo {
        std::optional<position> before;
        std::vector<std::pair<wallet_coin, outpoint>> spent;  // and input 0 of what spent it
        std::vector<outpoint> created;
    };

    [[nodiscard]] static tl::unexpected<error> must_rescan() {
        return fail(errc::wrong_state, "the wallet has missed blocks: it must scan again from its birthday");
    }

    /// True if that moved the end of what is used.
    bool mark_used(key_path key) {
        std::uint32_t& n = used_[static_cast<std::size_t>(key.branch)];
        if (key.index < n) return false;
        n = key.index + 1;
        return true;
    }

    void apply(const transaction& tx, std::int32_t height, const wallet_keys& keys, undo& back) {
        const outpoint first_input = tx.inputs().begin()->prevout;
        for (const tx_input& in : tx.inputs()) {
            release_all_for(in.prevout);
            const auto found = coins_.find(in.prevout);
            if (found == coins_.end()) continue;
            reserved_.erase(in.prevout);
            back.spent.emplace_back(found->second, first_input);
            coins_.erase(found);
        }
        std::optional<txid> id;
        std::uint32_t index = 0;
        for (const tx_output& out : tx.outputs()) {
            const std::uint32_t n = index++;
            const auto key = keys.find(out.script_pubkey);
            if (!key || out.value.value <= 0 || !is_money(out.value)) continue;
            if (!id) id = tx.id();
            const outpoint where{*id, n};
            const auto form = match_p2wpkh(out.script_pubkey) ? coin_form::p2wpkh : coin_form::p2pkh;
            coins_.insert_or_assign(where, wallet_coin{where, out.value, *key, form, height, is_coinbase(tx)});
            back.created.push_back(where);
        }
    }

    std::function<std::uint32_t()> channel_keys_;
    std::map<outpoint, wallet_coin> coins_;
    std::map<outpoint, outpoint> reserved_;  // and input 0 of the transaction that it is kept for
    std::deque<undo> undo_;
    std::optional<position> tip_;
    std::array<std::uint32_t, all_key_branches.size()> used_{};
    bool lost_ = false;
};

}  // namespace paychan
