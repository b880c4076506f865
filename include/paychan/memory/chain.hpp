// A regtest chain in memory, for demos, tests and simulations: blocks, and a mempool that says no as a node does.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "paychan/bitcoin/sigops.hpp"
#include "paychan/memory/regtest_block.hpp"
#include "paychan/memory/relay_rules.hpp"
#include "paychan/policy.hpp"

namespace paychan {

/// What the mempool said to a transaction.
struct submission {
    bool accepted = false;  ///< in the mempool, or in a block already
    std::string reason;     ///< Bitcoin Core's words; also set when the transaction was known before
};

/// An output that nobody has spent.
struct chain_coin {
    satoshi value;
    regtest::byte_string script;
    std::int32_t height = 0;  ///< of its block; of the next one while it is in the mempool
    bool coinbase = false;
};

/// One node and one miner.  Blocks are made by `mine` only, and time passes by `set_time` only.
/// Checked: everything that check.hpp, relay_rules.hpp and interpreter.hpp check, double spends, amounts, coinbase
/// maturity, lock times by height and median time (BIP113, BIP68), the mempool's floor, replacement by fee where that is switched
/// on (of whatever signals it or not), and a miner who leaves out what pays too little.  Not modelled: taproot.
class memory_chain {
public:
    /// start  the clock; blocks are never older than the median of the 11 before
    explicit memory_chain(unix_time start = unix_time{1'700'000'000}, bare_multisig multisig = bare_multisig::relayed)
        : time_(start), bare_multisig_(multisig) {
        block first;
        first.raw = regtest::genesis_block();
        if (const auto header = parse_block_header(first.raw)) {
            first.hash = header->hash;
            first.time = header->time;
        }
        blocks_.push_back(std::move(first));  // its coinbase cannot be spent, by consensus
    }

    // ---- time and blocks

    [[nodiscard]] unix_time now() const { return time_; }

    /// Sets the clock that the next blocks carry.  The median time, which lock times are compared with, follows once
    /// six blocks have been mined, and is there after twelve.
    void set_time(unix_time t) { time_ = t; }

    [[nodiscard]] std::int32_t height() const { return static_cast<std::int32_t>(blocks_.size()) - 1; }

    /// Of the block at this height and the 10 before it.  0 <= height <= height().
    [[nodiscard]] unix_time median_time(std::int32_t height) const {
        std::vector<unix_time> times;
        for (std::int32_t h = height; h >= 0 && h > height - 11; --h) times.push_back(at(h).time);
        std::ranges::sort(times);
        return times[times.size() / 2];
    }
    [[nodiscard]] unix_time median_time() const { return median_time(height()); }

    /// The block as followers see it; views live until the next mine or disconnect.  Fails  not_found.
    [[nodiscard]] result<connected_block> block_at(std::int32_t height) const {
        if (height < 0 || height > this->height())
            return fail(errc::not_found, "the chain has no block of that height");
        return connected_block{height, at(height).hash.bytes, median_time(height), at(height).raw};
    }

    /// What goes into a block that is mined.
    enum class contents : std::uint8_t { mempool, nothing };

    /// Mines `count` blocks; the first takes the mempool, all pay to `script`.
    void mine(int count, bytes_view script, contents take = contents::mempool) {
        for (int i = 0; i < count; ++i) mine_one(script, take);
    }

    /// Takes the tip away; its transactions return to the mempool, and what became invalid leaves it.
    /// Fails  not_found (only the genesis block is left).
    result<void> disconnect_tip() {
        if (height() == 0) return fail(errc::not_found, "the genesis block stays");
        const block tip = std::move(blocks_.back());
        blocks_.pop_back();
        for (const auto& [where, spent] : tip.spent) coins_.insert_or_assign(where, spent);
        std::vector<regtest::byte_string> again = tip.transactions;
        for (const txid& id : tip.ids) erase_outputs(id);
        for (mempool_entry* e : in_order()) again.push_back(std::move(e->bytes));
        mempool_.clear();
        mempool_spends_.clear();
        for (const auto& tx : again) (void)submit(tx);
        return {};
    }

    /// A reorganisation: `depth` blocks go, and depth + 1 others come, with what is in the mempool then.
    result<void> reorg(int depth, bytes_view script, contents take = contents::mempool) {
        if (depth > height())
            return fail(errc::not_found, "the chain has fewer blocks than the reorganisation is deep");
        for (int i = 0; i < depth; ++i) PAYCHAN_CHECK(disconnect_tip());
        mine(depth + 1, script, take);
        return {};
    }

    // ---- fees

    /// What is below it leaves the mempool, but for what a child pays for, and is refused: as in a mempool that is full.
    void set_floor(fee_rate floor) {
        floor_ = std::max(floor, min_relay_fee_rate);
        std::vector<txid> evicted;
        for (const auto& [id, entry] : mempool_)
            if (!is_paid_for(id, floor_)) evicted.push_back(id);
        for (const txid& id : evicted) forget(id);
    }
    [[nodiscard]] fee_rate floor() const { return floor_; }

    /// The next blocks take only what pays this, by itself or with a child.
    void set_miners_rate(fee_rate rate) { miners_rate_ = rate; }

    /// Whether a transaction with a higher fee takes the place of those that spend the same (BIP125, rules 3 and 4).
    enum class replacement : std::uint8_t { none, by_fee };
    void set_replacement(replacement r) { replacement_ = r; }

    /// What a transaction in the mempool and its ancestors there pay and weigh; zeros if it is not there.
    [[nodiscard]] package with_ancestors(const txid& id) const {
        package all;
        for (const txid& one : ancestors_of(id)) {
            const mempool_entry& e = mempool_.at(one);
            all.fee.value += e.fee.value;
            all.vsize += e.vsize;
        }
        return all;
    }

    /// What it pays and weighs itself.
    [[nodiscard]] package alone(const txid& id) const {
        const auto e = mempool_.find(id);
        return e == mempool_.end() ? package{} : package{e->second.fee, e->second.vsize};
    }

    // ---- transactions

    /// Offers a transaction, as sendrawtransaction does.
    submission submit(bytes_view bytes) {
        const auto tx = parse_transaction(bytes);
        if (!tx) return {false, "TX decode failed"};
        const txid id = tx->id();
        if (mempool_.contains(id)) return {true, "txn-already-in-mempool"};
        if (has_output_of(id)) return {true, "Transaction already in block chain"};
        mempool_entry entry;
        if (auto why = refusal(*tx, entry)) return {false, *std::move(why)};
        for (const txid& old : entry.replaces) forget(old);
        entry.bytes.assign(bytes.begin(), bytes.end());
        entry.vsize = static_cast<std::int64_t>(relay_vsize(*tx));
        entry.order = next_order_++;
        put(id, std::move(entry));
        return {true, {}};
    }

    /// Makes the mempool forget a transaction and all that spends it, as nodes do when they restart or are full.
    void forget(const txid& id) {
        const auto found = mempool_.find(id);
        if (found == mempool_.end()) return;
        const regtest::byte_string bytes = std::move(found->second.bytes);
        mempool_.erase(found);
        const auto tx = parse_transaction(bytes_view(bytes));
        if (!tx) return;
        for (const tx_input& in : tx->inputs()) mempool_spends_.erase(in.prevout);
        for (std::uint32_t i = 0; i < tx->output_count(); ++i)
            if (const auto child = mempool_spends_.find(outpoint{id, i}); child != mempool_spends_.end()) {
                const txid child_id = child->second;  // the recursion erases what `child` points to
                forget(child_id);
            }
    }

    /// All that is in no block, as a node does that restarts without its mempool.
    void forget_mempool() {
        mempool_.clear();
        mempool_spends_.clear();
    }

    [[nodiscard]] bool in_mempool(const txid& id) const { return mempool_.contains(id); }
    [[nodiscard]] std::size_t mempool_size() const { return mempool_.size(); }

    /// The transaction that is in the mempool or in a block.  Walks the chain.
    [[nodiscard]] std::optional<regtest::byte_string> find_transaction(const txid& id) const {
        if (const auto found = mempool_.find(id); found != mempool_.end()) return found->second.bytes;
        for (const block& b : blocks_)
            for (std::size_t i = 0; i + 1 < b.ids.size(); ++i)
                if (b.ids[i + 1] == id) return b.transactions[i];
        return std::nullopt;
    }

    /// [blocks] 1 when it is in the tip; 0 when it is in no block.  Walks the chain.
    [[nodiscard]] std::int32_t confirmations(const txid& id) const {
        for (std::int32_t h = height(); h >= 0; --h)
            if (std::ranges::find(at(h).ids, id) != at(h).ids.end()) return height() - h + 1;
        return 0;
    }

    /// The unspent output there, of a block or of the mempool; what the mempool spends counts as spent.
    [[nodiscard]] std::optional<chain_coin> coin_at(const outpoint& where) const {
        if (mempool_spends_.contains(where)) return std::nullopt;
        return find_coin(where);
    }

    /// The transaction in the mempool that spends this output.
    [[nodiscard]] std::optional<txid> spender_in_mempool(const outpoint& where) const {
        const auto found = mempool_spends_.find(where);
        if (found == mempool_spends_.end()) return std::nullopt;
        return found->second;
    }

    /// Puts a coin on the chain that no transaction made, so that a test can spend recorded transactions.
    void testing_add_coin(const outpoint& where, const chain_coin& made) { coins_.insert_or_assign(where, made); }

private:
    struct block {
        block_hash hash;
        unix_time time;
        regtest::byte_string raw;
        std::vector<txid> ids;                               // with the coinbase's first
        std::vector<regtest::byte_string> transactions;      // without the coinbase
        std::vector<std::pair<outpoint, chain_coin>> spent;  // what disconnecting brings back
    };

    struct mempool_entry {
        regtest::byte_string bytes;
        satoshi fee;
        std::int64_t vsize = 0;
        std::uint64_t order = 0;  // of arrival: parents before children
        std::vector<txid> replaces;
    };

    [[nodiscard]] const block& at(std::int32_t height) const { return blocks_[static_cast<std::size_t>(height)]; }

    [[nodiscard]] std::vector<mempool_entry*> in_order() {
        std::vector<mempool_entry*> out;
        for (auto& [id, entry] : mempool_) out.push_back(&entry);
        std::ranges::sort(out, {}, &mempool_entry::order);
        return out;
    }

    void put(const txid& id, mempool_entry entry) {
        if (const auto tx = parse_transaction(bytes_view(entry.bytes)))
            for (const tx_input& in : tx->inputs()) mempool_spends_.emplace(in.prevout, id);
        mempool_.emplace(id, std::move(entry));
    }

    [[nodiscard]] static bool pays(const package& p, fee_rate rate) {
        return p.fee.value * 1'000 >= rate.sat_per_kvb * p.vsize;
    }

    /// Itself, and all in the mempool that it spends; parents first.
    [[nodiscard]] std::vector<txid> ancestors_of(const txid& id) const {
        std::vector<txid> out;
        const auto found = mempool_.find(id);
        if (found == mempool_.end()) return out;
        if (const auto tx = parse_transaction(bytes_view(found->second.bytes)))
            for (const tx_input& in : tx->inputs())
                for (const txid& one : ancestors_of(in.prevout.id))
                    if (std::ranges::find(out, one) == out.end()) out.push_back(one);
        out.push_back(id);
        return out;
    }

    /// Itself, and all in the mempool that spends it.
    [[nodiscard]] std::vector<txid> descendants_of(const txid& id) const {
        std::vector<txid> out;
        for (const auto& [other, entry] : mempool_) {
            const auto above = ancestors_of(other);
            if (std::ranges::find(above, id) != above.end()) out.push_back(other);
        }
        return out;
    }

    /// By itself with what it spends, or with one of those that spend it.
    [[nodiscard]] bool is_paid_for(const txid& id, fee_rate rate) const {
        const auto all = descendants_of(id);
        return std::ranges::any_of(all, [&](const txid& one) { return pays(with_ancestors(one), rate); });
    }

    [[nodiscard]] auto first_output_of(const txid& id) const { return coins_.lower_bound(outpoint{id, 0}); }
    [[nodiscard]] bool has_output_of(const txid& id) const {
        const auto found = first_output_of(id);
        return found != coins_.end() && found->first.id == id;
    }
    void erase_outputs(const txid& id) {
        for (auto i = first_output_of(id); i != coins_.end() && i->first.id == id;) i = coins_.erase(i);
    }

    [[nodiscard]] std::optional<chain_coin> find_coin(const outpoint& where) const {
        if (const auto found = coins_.find(where); found != coins_.end()) return found->second;
        const auto parent = mempool_.find(where.id);
        if (parent == mempool_.end()) return std::nullopt;
        const auto tx = parse_transaction(bytes_view(parent->second.bytes));
        if (!tx) return std::nullopt;
        const auto out = tx->output(where.index);
        if (!out) return std::nullopt;
        return chain_coin{out->value, {out->script_pubkey.begin(), out->script_pubkey.end()}, height() + 1, false};
    }

    /// Why the mempool refuses it; fills entry.fee when it does not.  The order of the checks is Core's
    /// (MemPoolAccept::PreChecks), since callers decide by the first thing that is wrong.
    [[nodiscard]] std::optional<std::string> refusal(const transaction& tx, mempool_entry& entry) const {
        if (const auto ok = check_transaction(tx); !ok) return "bad-txns: " + std::string(ok.error().text);
        if (is_coinbase(tx)) return "coinbase";
        if (const auto why = not_standard(tx, bare_multisig_)) return std::string(*why);
        if (!is_final(tx, height() + 1, median_time())) return "non-final";
        for (const tx_input& in : tx.inputs())
            if (const auto other = mempool_spends_.find(in.prevout); other != mempool_spends_.end()) {
                if (replacement_ == replacement::none) return "txn-mempool-conflict";
                if (std::ranges::find(entry.replaces, other->second) == entry.replaces.end())
                    entry.replaces.push_back(other->second);
            }

        std::vector<chain_coin> spent;
        for (const tx_input& in : tx.inputs()) {
            auto found = find_coin(in.prevout);
            if (!found) return "bad-txns-inputs-missingorspent";
            spent.push_back(*std::move(found));
        }
        if (!sequence_locks_open(tx, spent)) return "non-BIP68-final";

        satoshi in_total{0};
        for (const chain_coin& c : spent) {
            if (c.coinbase && height() + 1 - c.height < regtest::coinbase_maturity)
                return "bad-txns-premature-spend-of-coinbase";
            const auto sum = add(in_total, c.value);
            if (!sum) return "bad-txns-inputvalues-outofrange";
            in_total = *sum;
        }
        satoshi out_total{0};
        for (const tx_output& out : tx.outputs())
            out_total.value += out.value.value;  // check_transaction has bounded the sum
        if (out_total > in_total) return "bad-txns-in-belowout";
        for (const chain_coin& c : spent)
            if (const script_form form = form_of(c.script);
                form == script_form::non_standard || form == script_form::data)
                return "bad-txns-nonstandard-inputs";
        entry.fee = satoshi{in_total.value - out_total.value};
        const auto least = fee_for(min_relay_fee_rate, relay_vsize(tx));
        if (!least || entry.fee < *least) return "min relay fee not met";
        const auto vsize = static_cast<std::int64_t>(relay_vsize(tx));
        if (!pays({entry.fee, vsize}, floor_)) return "mempool min fee not met";
        std::int64_t replaced = 0;
        for (const txid& old : entry.replaces) {
            const mempool_entry& e = mempool_.at(old);
            if (entry.fee.value * e.vsize <= e.fee.value * vsize) return "insufficient fee, rejecting replacement";
            for (const txid& gone : descendants_of(old)) replaced += mempool_.at(gone).fee.value;
        }
        if (!entry.replaces.empty() && entry.fee.value < replaced + least->value)
            return "insufficient fee, rejecting replacement";
        // sendrawtransaction's maxfeerate, 0.1 coins/kvB: a fee like this is a mistake.
        if (const auto most = fee_for(fee_rate{coin.value / 10}, relay_vsize(tx)); most && entry.fee > *most)
            return "Fee exceeds maximum configured by user (e.g. -maxtxfee, maxfeerate)";
        return script_refusal(tx, spent);
    }

    [[nodiscard]] static std::optional<std::string> script_refusal(const transaction& tx,
                                                                   const std::vector<chain_coin>& spent) {
        for (std::size_t i = 0; i < spent.size(); ++i) {
            const tx_output out{spent[i].value, spent[i].script};
            const auto policy = verify_input(tx, i, out, standard_flags);
            if (policy) continue;
            if (const auto mandatory = verify_input(tx, i, out, consensus_flags); !mandatory)
                return "mandatory-script-verify-flag-failed (" + std::string(mandatory.error().text) + ")";
            return "non-mandatory-script-verify-flag (" + std::string(policy.error().text) + ")";
        }
        return std::nullopt;
    }

    /// BIP68.  The refund's and the settlement's sequences have the top bit set, or mean no lock: this is for other
    /// transactions.
    [[nodiscard]] bool sequence_locks_open(const transaction& tx, const std::vector<chain_coin>& spent) const {
        constexpr std::uint32_t disabled = 1u << 31;
        constexpr std::uint32_t by_time = 1u << 22;
        if (tx.version() < 2) return true;
        std::size_t i = 0;
        for (const tx_input& in : tx.inputs()) {
            const chain_coin& c = spent[i++];
            if ((in.sequence & disabled) != 0) continue;
            const auto units = static_cast<std::int32_t>(in.sequence & 0xffff);
            if ((in.sequence & by_time) == 0) {
                if (c.height + units > height() + 1) return false;
            } else {
                const unix_time since = median_time(std::max(0, c.height - 1));
                if (median_time() < since + std::int64_t{units} * 512) return false;
            }
        }
        return true;
    }

    void mine_one(bytes_view script, contents take) {
        block made;
        satoshi fees{0};
        if (take == contents::mempool) {
            std::vector<txid> left_out;
            for (const auto& [id, entry] : mempool_)
                if (!is_paid_for(id, miners_rate_)) left_out.push_back(id);
            std::vector<mempool_entry> waiting;
            for (const txid& id : left_out) waiting.push_back(std::move(mempool_.extract(id).mapped()));
            for (mempool_entry* e : in_order()) {
                made.transactions.push_back(std::move(e->bytes));
                fees.value += e->fee.value;
            }
            mempool_.clear();
            mempool_spends_.clear();
            for (std::size_t i = 0; i < waiting.size(); ++i) put(left_out[i], std::move(waiting[i]));
        }
        regtest::block_template t;
        t.height = height() + 1;
        t.previous = blocks_.back().hash;
        t.time = std::max(time_, median_time() + 1);  // consensus: later than the median; else the miner's clock
        t.reward = satoshi{regtest::subsidy(t.height).value + fees.value};
        t.reward_script = script;
        t.extra_nonce = ++extra_nonce_;
        t.transactions = made.transactions;
        made.raw = regtest::build_block(t);
        made.time = t.time;

        auto walk = open_block(made.raw);
        if (!walk) return;  // cannot be: we built it
        made.hash = walk->header().hash;
        while (walk->left() > 0) {
            const auto tx = walk->next();
            if (!tx) return;
            connect(*tx, t.height, made);
        }
        blocks_.push_back(std::move(made));
    }

    void connect(const transaction& tx, std::int32_t height, block& into) {
        const txid id = tx.id();
        const bool coinbase = is_coinbase(tx);
        into.ids.push_back(id);
        if (!coinbase) {
            for (const tx_input& in : tx.inputs()) {
                const auto found = coins_.find(in.prevout);
                if (found == coins_.end()) continue;  // cannot be: the mempool has checked it
                into.spent.emplace_back(*found);
                coins_.erase(found);
            }
        }
        std::uint32_t index = 0;
        for (const tx_output& out : tx.outputs()) {
            const outpoint where{id, index++};
            if (form_of(out.script_pubkey) == script_form::data) continue;  // nobody can ever spend it
            coins_.insert_or_assign(
                where, chain_coin{out.value, {out.script_pubkey.begin(), out.script_pubkey.end()}, height, coinbase});
        }
    }

    unix_time time_;
    bare_multisig bare_multisig_;
    std::vector<block> blocks_;
    std::map<outpoint, chain_coin> coins_;
    std::map<txid, mempool_entry> mempool_;
    std::map<outpoint, txid> mempool_spends_;
    fee_rate floor_ = min_relay_fee_rate;
    fee_rate miners_rate_{};
    replacement replacement_ = replacement::none;
    std::uint64_t next_order_ = 0;
    std::uint32_t extra_nonce_ = 0;
};

}  // namespace paychan
