// Change of transactions that are in no block yet: coins to be.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <vector>

#include "paychan/memory/wallet_coins.hpp"

namespace paychan {

/// As all inputs of a wallet do: a signature, then a compressed key, in the witness or in the scriptSig.
[[nodiscard]] inline bool spends_by_one_key(const tx_input& in) {
    reader r(in.witness.empty() ? in.script_sig : in.witness);
    if (!in.witness.empty() && r.compact_size() != 2) return false;
    (void)r.sized_bytes();  // a push of up to 75 bytes is written as its size, too
    return r.sized_bytes().size() == 33 && r.done();
}

/// Remembers what unmined transactions of the wallet pay back to it.  Only of those that spend SegWit coins of one key and
/// nothing else: their txids cannot be changed, and nobody but this wallet can replace them.  That they are mined, or that
/// something else was, is seen in the wallet's coins.
class unmined_change {
public:
    static constexpr int max_depth = 10;  ///< [transactions] unmined, one upon the other: nodes relay up to 25

    /// A transaction that the network may hear of, or has.  Those that it would replace end.  It spends the change of one of
    /// these at most.
    void add(const transaction& tx, const wallet_keys& keys, const wallet_coins& mined) {
        std::erase_if(entries_, [&](const auto& e) { return is_over(e.second, mined); });
        entry made;
        for (const tx_input& in : tx.inputs()) {
            if (!in.script_sig.empty() || !spends_by_one_key(in)) return;
            made.inputs.push_back(in.prevout);
        }
        const txid id = tx.id();
        std::uint32_t index = 0;
        for (const tx_output& out : tx.outputs()) {
            const std::uint32_t n = index++;
            const auto key = keys.find(out.script_pubkey);
            if (key && match_p2wpkh(out.script_pubkey) && out.value.value > 0 && is_money(out.value))
                made.coins.push_back({{id, n}, out.value, *key, coin_form::p2wpkh, false, 0, 0, {}});
        }
        if (entries_.contains(id)) return;
        replaced_by(tx);
        if (!made.coins.empty()) entries_.emplace(id, std::move(made));
    }
    void remove(const txid& id) { entries_.erase(id); }
    /// Those that spend what this one spends.
    void replaced_by(const transaction& tx) {
        std::erase_if(entries_, [&](const auto& e) {
            return std::ranges::any_of(e.second.inputs, [&](const outpoint& in) {
                return std::ranges::any_of(tx.inputs(), [&](const tx_input& own) { return own.prevout == in; });
            });
        });
    }

    /// [satoshi] of such a coin.
    [[nodiscard]] std::optional<satoshi> value_of(const outpoint& where) const {
        const auto found = entries_.find(where.id);
        if (found == entries_.end()) return std::nullopt;
        for (const wallet_coin& c : found->second.coins)
            if (c.where == where) return c.value;
        return std::nullopt;
    }

    /// The network's word.  Change of what it does not have funds nothing.
    void on_answer(const broadcast_answer& a) {
        const auto found = entries_.find(a.id);
        if (found == entries_.end() || a.outcome == broadcast_outcome::unreachable) return;
        found->second.accepted = a.outcome == broadcast_outcome::accepted;
    }
    /// It may have forgotten them.
    void on_node_returned() {
        for (auto& [id, e] : entries_) e.accepted = false;
    }

    /// Coins that are there as soon as what makes them is mined, the largest first.
    /// only_accepted  those that may be spent now: the network has them, and not too many hang on each other
    /// first_input    with those that are reserved for a transaction of this input 0
    [[nodiscard]] std::vector<wallet_coin> coins(const wallet_coins& mined, bool only_accepted,
                                                 std::optional<outpoint> first_input = std::nullopt) const {
        std::vector<wallet_coin> out;
        for (const auto& [id, e] : entries_) {
            if (is_over(e, mined) || depth_of(e, mined, only_accepted, max_depth) == 0) continue;
            for (const wallet_coin& c : e.coins)
                if (mined.is_free(c.where, first_input)) out.push_back(c);
        }
        std::ranges::stable_sort(out, std::ranges::greater{}, &wallet_coin::value);
        return out;
    }

private:
    struct entry {
        std::vector<outpoint> inputs;
        std::vector<wallet_coin> coins;
        bool accepted = false;
    };

    /// It is in a block, or something else that spends one of its inputs is.
    [[nodiscard]] static bool is_over(const entry& e, const wallet_coins& mined) {
        if (mined.find(e.coins.front().where) != nullptr) return true;
        return std::ranges::any_of(e.inputs, [&](const outpoint& in) {
            const wallet_coin* const known = mined.find(in);
            return known != nullptr && known->spent != 0;
        });
    }

    /// [transactions] unmined ones that it rests on, with itself; 0: more than `most`, or it rests on what is not known.
    [[nodiscard]] int depth_of(const entry& e, const wallet_coins& mined, bool only_accepted, int most) const {
        if (most == 0 || (only_accepted && !e.accepted)) return 0;
        int depth = 1;
        for (const outpoint& in : e.inputs) {
            if (mined.find(in) != nullptr) continue;
            const auto parent = entries_.find(in.id);
            const bool lives = parent != entries_.end() && !is_over(parent->second, mined);
            const int above = lives ? depth_of(parent->second, mined, only_accepted, most - 1) : 0;
            if (above == 0) return 0;
            depth = std::max(depth, above + 1);
        }
        return depth;
    }

    std::map<txid, entry> entries_;
};

}  // namespace paychan
