// A wallet without a node's wallet: keys from a seed, coins from pushed blocks; funds contracts, pays fees.
#pragma once

#include <algorithm>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "paychan/bitcoin/address.hpp"
#include "paychan/memory/wallet_change.hpp"
#include "paychan/memory/wallet_spend.hpp"
#include "paychan/memory/wallet_sync.hpp"

namespace paychan {

/// What contracts are funded from.  Nothing but `fund` and `add_fee_inputs` choose coins by it.
enum class funding_style : std::uint8_t {
    segwit,  ///< P2WPKH coins only: nobody can change the contract's txid, on which the pre-signed refund rests
    legacy,  ///< P2PKH coins only, for peers that cannot read a witness (bitcoinj before 0.15); until the contract is
             ///< mined, others can change its txid, and the refund with it
};

/// [satoshi]
struct wallet_balance {
    satoshi confirmed{};    ///< can be spent now
    satoshi unconfirmed{};  ///< change of unmined transactions: funds channels once the network has those
    satoshi reserved{};     ///< in the inputs of transactions that were made but not seen in a block
    satoshi immature{};     ///< mined by us, less than 100 blocks ago
    satoshi p2pkh{};        ///< the part of `confirmed` that funding_style::segwit does not fund from; see to_segwit
};

/// FundingWallet of a client, PayoutWallet and FeeInputWallet of a server; follows the chain as a ChainListener.
/// What it knows is kept in a store by `save`, and read by `load` at the next start, which comes first; then it is told by
/// `reserve_inputs_of` of each stored contract and settlement that is not mined yet, and then of the blocks behind the
/// last place for which `save` has succeeded.  A place further back does too: known blocks change nothing.  When `usable`
/// fails after `load`, or the place is above `height`, blocks were missed: `restart_scan`, and all blocks since its
/// birthday.  Without `load` and `save` it knows nothing after a restart, and is told all blocks since its birthday.
/// Coins are chosen largest first: the fewest inputs, so the smallest transaction, with nothing to tune.  Small coins
/// are left for fees, where the smallest that does is taken, and for to_segwit.  Where confirmed ones do not suffice,
/// change of contracts that are in no block yet funds the next contract, in the style segwit and once the network is known
/// to have them: tell it how broadcasts end.
class seed_wallet {
public:
    /// channel_keys  how many keys the key store has given out, as seed_keys::count; without it a scan from the birthday
    ///               finds refunds all the same, one that goes on from a store may miss some
    /// channel_gap   [keys] how many channel keys to look for behind the last that was given out or paid to: what a scan
    ///               from the seed alone goes by.  30 us each
    /// Fails         invalid_argument (seed not 16 to 64 bytes), invalid_key.
    [[nodiscard]] static result<seed_wallet> open(bytes_view seed, network net,
                                                  funding_style style = funding_style::segwit,
                                                  std::function<std::uint32_t()> channel_keys = {},
                                                  std::uint32_t channel_gap = wallet_coins::channel_gap) {
        PAYCHAN_TRY(wallet_keys keys, wallet_keys::open(seed, net));
        seed_wallet out(std::move(keys), net, style, wallet_coins(std::move(channel_keys), channel_gap));
        PAYCHAN_CHECK(out.coins_.look_ahead(out.keys_));
        return out;
    }

    // ---- chain events

    static constexpr chain_turn chain_order = chain_turn::wallet;

    /// Blocks that are missing, or cannot be read, are remembered: `usable` fails until `restart_scan`.  After passed
    /// blocks that it does not know, it has only the coins that come behind them.
    void on_chain(const chain_event& e) {
        match(
            e,
            [this](const connected_block& b) {
                if (!coins_.connect(b, keys_)) (void)coins_.lose();
            },
            [this](const disconnected_blocks& d) { (void)coins_.disconnect(d.from); },
            [this](const passed_blocks& p) { coins_.pass(p); },
            [this](const broadcast_answer& a) { change_.on_answer(a); },
            [this](const node_returned&) { change_.on_node_returned(); });
    }

    /// Forgets coins, to be pushed all blocks from the birthday on again.
    void restart_scan() { coins_.restart_scan(); }

    /// Fails  wrong_state (a scan from the birthday is needed).
    [[nodiscard]] result<void> usable() const { return coins_.usable(); }

    /// The highest block that was taken in.
    [[nodiscard]] std::optional<std::int32_t> height() const { return coins_.height(); }

    // ---- store; several processes with the same seed and the same node may use one: see wallet_sync

    /// Takes what is stored in place of what is known.  Reservations stay.
    /// Fails  corrupt_record (`forget` mends it), unknown_format, store_failed, invalid_key.  Nothing is changed then.
    template <Store S>
    [[nodiscard]] result<void> load(S& store) {
        return sync_.load(store, coins_, keys_);
    }

    /// Writes what has changed since the last time; after a failure all of that is written by the next one.  When it
    /// succeeds, all up to `height` is on disk: only then may a place in the chain be stored that is so high.  Afterwards
    /// `height` may be higher than the blocks that were told, by what another process has stored.
    /// Fails  wrong_state (blocks were missed), stale_record (another process has stored another branch of the chain:
    ///        again with the next block), corrupt_record (`forget` mends it), unknown_format, store_failed.
    template <Store S>
    [[nodiscard]] result<void> save(S& store) {
        return sync_.save(store, coins_, keys_);
    }

    /// Nothing is to be written.
    [[nodiscard]] bool saved() const { return coins_.usable() && coins_.changes().none(); }

    /// Erases what is stored, damaged or not, and all coins: then all blocks must be told from the birthday on.
    /// Fails  store_failed; call it again.
    template <Store S>
    [[nodiscard]] result<void> forget(S& store) {
        return sync_.forget(store, coins_);
    }

    // ---- FundingWallet

    /// rate   below 1,000 sat/kvB it is taken as 1,000, which nodes ask for.  The fee is that of the largest size that
    ///        signatures can give: at most two bytes for each input above the actual one.
    /// Fails  insufficient_funds, too_long (memory), out_of_range (amount is dust or no money; rate above 0.1
    ///        coins/kvB), wrong_state (blocks were missed).  On failure nothing is reserved.
    [[nodiscard]] result<bytes_view> fund(bytes_view script, satoshi amount, fee_rate rate, bytes_span memory) {
        PAYCHAN_CHECK(coins_.usable());
        PAYCHAN_TRY(const fee_rate paid, checked(rate));
        if (!is_money(amount) || amount.value <= 0 || amount < dust_limit(script))
            return fail(errc::out_of_range, "the amount is below what nodes relay, or above 21 million coins");
        spend s;
        s.outputs.push_back({amount, script});
        spend_size size;
        size.add_output(script);

        satoshi total{0};
        satoshi needed{0};
        bool rests_on_unmined = false;
        for (const wallet_coin& c : spendable()) {
            if (c.height == 0 && std::exchange(rests_on_unmined, true))
                continue;  // nodes limit how much hangs together
            if (!funds(c) || s.coins.size() == max_inputs) continue;
            s.coins.push_back(c);
            size.add_coin(c.form);
            PAYCHAN_TRY(total, add(total, c.value));
            PAYCHAN_TRY(const satoshi fee, fee_for(paid, size.vsize()));
            needed = satoshi{amount.value + fee.value};  // both are money: far below 64 bits
            if (total >= needed) break;
        }
        if (s.coins.empty() || total < needed) return fail(errc::insufficient_funds, shortage());

        PAYCHAN_TRY(const script_buffer to_change, change_script(change_branch()));
        size.add_output(to_change.view());
        PAYCHAN_TRY(const satoshi fee_with_change, fee_for(paid, size.vsize()));
        const satoshi change{total.value - amount.value - fee_with_change.value};
        // A change below dust would not be relayed: it goes to the fee.
        if (change >= dust_limit(to_change.view())) s.outputs.push_back({change, to_change.view()});
        return sign_and_reserve(s, memory);
    }

    /// The transaction will never be broadcast: its coins are free again.
    void release(bytes_view tx) {
        const auto parsed = parse_transaction(tx);
        if (!parsed) return;
        for (const tx_input& in : parsed->inputs()) coins_.release(in.prevout);
        change_.remove(parsed->id());
    }

    /// Keeps a coin for something that was made before a restart.
    void reserve(const outpoint& where) { coins_.reserve(where, where); }

    /// Keeps all that a stored contract or settlement spends of ours.  Call it after `load` and before `fund`, or two
    /// contracts spend one coin.  What is mined keeps nothing.  Fails  malformed.
    result<void> reserve_inputs_of(bytes_view tx) {
        PAYCHAN_TRY(const transaction parsed, parse_transaction(tx));
        const outpoint first_input = parsed.inputs().begin()->prevout;
        // Then this transaction is in a block, or one that took its place.
        if (const wallet_coin* first = coins_.find(first_input); first != nullptr && first->spent != 0) return {};
        for (const tx_input& in : parsed.inputs()) {
            const wallet_coin* known = coins_.find(in.prevout);
            // One that is not known may be in a block that comes.
            const bool ours = known != nullptr ? known->spent == 0 : spends_by_one_key(in);
            if (ours) coins_.reserve(in.prevout, first_input);
        }
        change_.add(parsed, keys_, coins_);
        return {};
    }

    // ---- PayoutWallet, FeeInputWallet

    /// A script of our change row that was not paid to yet.  The same one until it is, so that a settlement that is
    /// made twice is one transaction and not two that conflict; settlements of the same hour share it.
    /// Fails  key_unavailable.
    [[nodiscard]] result<script_buffer> payout_script() const { return internal_script(change_branch(), 0); }

    /// As policy.hpp says; adds no input if the payment bears the fee after all.  Calling it again for the same
    /// contract gives up the coins of the earlier call.  Whether the payout is worth the fee is the caller's question.
    /// Fails  insufficient_funds, too_long (memory), invalid_argument (not a draft as it should be, or it does not pay
    ///        us), malformed, out_of_range, wrong_state.  On failure the reservations are as before.
    [[nodiscard]] result<bytes_view> add_fee_inputs(const settlement_draft& draft, bytes_span memory) {
        PAYCHAN_CHECK(coins_.usable());
        PAYCHAN_TRY(const fee_rate paid, checked(draft.rate));
        const std::vector<std::uint8_t> copy(draft.tx.begin(), draft.tx.end());  // the draft may lie in `memory`
        PAYCHAN_TRY(const transaction tx, parse_transaction(bytes_view(copy)));
        if (tx.input_count() != 1 || tx.output_count() < 1 || tx.output_count() > 2 || !is_money(draft.available))
            return fail(errc::invalid_argument,
                        "a settlement draft has one input, one or two outputs, and money to share");
        spend s;
        s.version = tx.version();
        s.lock_time = tx.lock_time();
        PAYCHAN_TRY(s.foreign_input, tx.input(0));
        const outpoint contract = s.foreign_input->prevout;
        spend_size size;
        size.add_foreign_input(s.foreign_input->script_sig.size() + draft.script_sig_size);
        for (const tx_output& out : tx.outputs()) {
            s.outputs.push_back(out);
            size.add_output(out.script_pubkey);
        }
        tx_output& payout = s.outputs.back();
        if (!keys_.find(payout.script_pubkey))
            return fail(errc::invalid_argument, "the draft's last output does not pay this wallet");

        PAYCHAN_TRY(s.coins, choose_fee_coins(contract, size, paid, draft.available, dust_limit(payout.script_pubkey)));
        satoshi total = draft.available;
        for (const wallet_coin& c : s.coins) {
            size.add_coin(c.form);
            PAYCHAN_TRY(total, add(total, c.value));
        }
        PAYCHAN_TRY(const satoshi fee, fee_for(paid, size.vsize()));
        if (fee >= draft.available)
            return fail(errc::insufficient_funds, "the settlement's fee is more than what was paid");
        PAYCHAN_TRY(payout.value, subtract(total, fee));
        return sign_and_reserve(s, memory);
    }

    /// ChildWallet.  It may be replaced by one that pays more (BIP125).
    /// Fails  insufficient_funds, too_long (memory), invalid_argument (the payout is not this wallet's), out_of_range.
    [[nodiscard]] result<bytes_view> pay_for(const child_draft& draft, bytes_span memory) const {
        PAYCHAN_TRY(const fee_rate rate, checked(draft.rate));
        const auto key = keys_.find(draft.script);
        if (!key) return fail(errc::invalid_argument, "the payout does not pay this wallet");
        wallet_coin payout;
        payout.where = draft.payout;
        payout.value = draft.value;
        payout.key = *key;
        payout.form = match_witness_program(draft.script) ? coin_form::p2wpkh : coin_form::p2pkh;
        spend s;
        s.sequence = final_sequence - 2;
        s.coins.push_back(payout);
        spend_size size;
        size.add_coin(payout.form);
        size.add_output(draft.script);
        PAYCHAN_TRY(const satoshi both, fee_for(rate, static_cast<std::size_t>(draft.parent.vsize) + size.vsize()));
        PAYCHAN_TRY(const satoshi least, fee_for(min_relay_fee_rate, size.vsize()));
        const satoshi fee{std::min(both.value - draft.parent.fee.value, draft.most.value)};
        if (fee < least || draft.value.value - fee.value < dust_limit(draft.script).value)
            return fail(errc::insufficient_funds,
                        "the settlement's payout does not bear the fee of a child that pays for it");
        s.outputs.push_back({{draft.value.value - fee.value}, draft.script});
        return sign_spend(s, keys_, memory);
    }

    /// [satoshi] of a coin of this wallet that is not seen spent.
    [[nodiscard]] std::optional<satoshi> value_of(const outpoint& where) const {
        const wallet_coin* const known = coins_.find(where);
        return known != nullptr ? std::optional(known->value) : std::nullopt;
    }

    /// [satoshi] what add_fee_inputs can draw on.
    [[nodiscard]] satoshi spare() const {
        satoshi total{0};
        for (const wallet_coin& c : coins_.spendable())
            if (pays_fees(c)) total = saturated(total, c.value);
        return total;
    }

    // ---- for people

    [[nodiscard]] wallet_balance balance() const {
        wallet_balance out;
        for (const wallet_coin& c : change_.coins(coins_, false)) out.unconfirmed = saturated(out.unconfirmed, c.value);
        for (const auto& [where, c] : coins_.all()) {
            if (c.spent != 0) continue;
            satoshi& part = coins_.is_reserved(c) ? out.reserved : coins_.is_mature(c) ? out.confirmed : out.immature;
            part = saturated(part, c.value);
            if (&part == &out.confirmed && c.form == coin_form::p2pkh) out.p2pkh = saturated(out.p2pkh, c.value);
        }
        return out;
    }

    /// Where to send coins: number `index` of the receive row, P2WPKH or P2PKH.
    /// Fails  invalid_argument (20 or more beyond next_address: coins sent there would not be found), invalid_key.
    [[nodiscard]] result<address_text> address(std::uint32_t index, funding_style style) const {
        const key_branch branch = receive_branch(style);
        if (index >= keys_.watched(branch))
            return fail(errc::invalid_argument, "this address is too far from the last used one");
        PAYCHAN_TRY(const script_buffer script, keys_.script({branch, index}));
        return address_of_script(script.view(), network_);
    }

    /// The first number of the receive row that nobody has paid to.
    [[nodiscard]] std::uint32_t next_address(funding_style style) const {
        return coins_.first_unused(receive_branch(style));
    }

    /// Moves all P2PKH coins, such as refunds and change of channels, into one P2WPKH coin that `fund` can use.
    /// Fails  insufficient_funds (there are none, or they are not worth the fee), and as `fund`.
    [[nodiscard]] result<bytes_view> to_segwit(fee_rate rate, bytes_span memory) {
        PAYCHAN_TRY(const script_buffer to, change_script(key_branch::segwit_change));
        return move_coins(to.view(), rate, memory, [](const wallet_coin& c) { return c.form == coin_form::p2pkh; });
    }

    /// Sends all coins that can be spent, of both forms and less the fee, to a script of anybody: so the money leaves.
    /// 500 coins at most, the largest; call it again for the others.
    /// Fails  insufficient_funds (there are none, or they are not worth the fee), and as `fund`.
    [[nodiscard]] result<bytes_view> sweep(bytes_view script, fee_rate rate, bytes_span memory) {
        return move_coins(script, rate, memory, [](const wallet_coin&) { return true; });
    }

    // ---- TakeBackWallet

    /// Sends to ourselves what a contract was to spend.  It pays more than the contract does, so that nodes that have that
    /// take this one in its place, and may be replaced itself (BIP125).  At the same rate it is the same transaction again.
    /// Until it is in a block the contract may still be, so the records of that are to be kept.
    /// Fails  insufficient_funds (the contract's coins are spent, or not worth the fee), malformed (the contract), and as
    ///        `fund`.
    [[nodiscard]] result<bytes_view> take_back(bytes_view contract, fee_rate rate, bytes_span memory) {
        PAYCHAN_TRY(const transaction tx, parse_transaction(contract));
        PAYCHAN_TRY(const script_buffer to, payout_script());
        const auto spent_by_it = [&](const wallet_coin& c) {
            return std::ranges::any_of(tx.inputs(), [&](const tx_input& in) { return in.prevout == c.where; });
        };
        return move_coins(to.view(), rate, memory, spent_by_it, instead_of{tx.inputs().begin()->prevout, fee_of(tx)});
    }

    /// The highest number of a channel key that the chain has paid to; 0: none.
    [[nodiscard]] std::uint32_t highest_channel_key() const {
        const std::uint32_t unused = coins_.first_unused(key_branch::channel);
        return unused == 0 ? 0 : unused - 1;
    }

private:
    static constexpr std::size_t max_inputs = 500;     // 74 kvB of P2PKH inputs: nodes relay up to 100 kvB
    static constexpr std::size_t max_fee_inputs = 30;  // build_settlement has room for 31 beside the contract
    static constexpr std::uint32_t rotation =
        10;  // [keys] below gap_limit, so that a scan from the seed alone finds each of them

    seed_wallet(wallet_keys keys, network net, funding_style style, wallet_coins coins)
        : keys_(std::move(keys)), network_(net), style_(style), coins_(std::move(coins)) {}

    [[nodiscard]] static key_branch receive_branch(funding_style style) {
        return style == funding_style::segwit ? key_branch::segwit_receive : key_branch::legacy_receive;
    }

    [[nodiscard]] bool funds(const wallet_coin& c) const {
        return c.form == (style_ == funding_style::segwit ? coin_form::p2wpkh : coin_form::p2pkh);
    }

    // Nothing is signed on top of a settlement, so its txid may be malleable; but a peer of the legacy style must read
    // it.
    [[nodiscard]] bool pays_fees(const wallet_coin& c) const { return style_ == funding_style::segwit || funds(c); }

    [[nodiscard]] static satoshi saturated(satoshi a, satoshi b) { return add(a, b).value_or(max_money); }

    [[nodiscard]] static result<fee_rate> checked(fee_rate rate) {
        if (rate.sat_per_kvb < 0 || rate.sat_per_kvb > coin.value / 10)
            return fail(errc::out_of_range,
                        "the fee rate is negative or above 0.1 coins/kvB: nodes take that for a mistake");
        return std::max(rate, min_relay_fee_rate);
    }

    /// Confirmed coins, and behind them change that is in no block yet.
    [[nodiscard]] std::vector<wallet_coin> spendable(std::optional<outpoint> first_input = std::nullopt) const {
        std::vector<wallet_coin> out = coins_.spendable(first_input);
        const auto unmined = change_.coins(coins_, true, first_input);
        out.insert(out.end(), unmined.begin(), unmined.end());
        return out;
    }

    /// A transaction that another one is to replace.
    struct instead_of {
        outpoint first_input;  ///< for which its coins are reserved
        satoshi fee{};
    };

    /// [satoshi] 0 if not all that it spends are coins of this wallet that are there, or to be.
    [[nodiscard]] satoshi fee_of(const transaction& tx) const {
        satoshi fee{0};
        for (const tx_input& in : tx.inputs()) {
            const wallet_coin* const known = coins_.find(in.prevout);
            const auto value = known == nullptr ? change_.value_of(in.prevout) : std::optional(known->value);
            if (!value || (known != nullptr && known->spent != 0)) return {};
            fee = saturated(fee, *value);
        }
        for (const tx_output& out : tx.outputs()) fee.value -= out.value.value;
        return std::max(fee, satoshi{0});
    }

    /// All coins that `which` wants and that bring more than their input costs, into one.
    template <class Which>
    [[nodiscard]] result<bytes_view> move_coins(bytes_view to, fee_rate rate, bytes_span memory, Which which,
                                                const std::optional<instead_of>& old = {}) {
        PAYCHAN_CHECK(coins_.usable());
        PAYCHAN_TRY(const fee_rate paid, checked(rate));
        spend s;
        if (old) s.sequence = final_sequence - 2;
        spend_size size;
        size.add_output(to);
        satoshi total{0};
        PAYCHAN_TRY(satoshi fee, fee_for(paid, size.vsize()));
        for (const wallet_coin& c : old ? spendable(old->first_input) : coins_.spendable()) {
            if (!which(c) || s.coins.size() == max_inputs) continue;
            spend_size with = size;
            with.add_coin(c.form);
            PAYCHAN_TRY(const satoshi fee_with, fee_for(paid, with.vsize()));
            if (c.value.value <= fee_with.value - fee.value) continue;
            s.coins.push_back(c);
            size = with;
            fee = fee_with;
            PAYCHAN_TRY(total, add(total, c.value));
        }
        if (old) {
            PAYCHAN_TRY(const satoshi more, fee_for(min_relay_fee_rate, size.vsize()));
            fee = std::max(fee, saturated(old->fee, more));
        }
        const satoshi rest{total.value - fee.value};
        if (s.coins.empty() || rest < dust_limit(to))
            return fail(errc::insufficient_funds, "there are no coins that are worth the fee of moving them");
        s.outputs.push_back({rest, to});
        return sign_and_reserve(s, memory, old ? std::optional(old->first_input) : std::nullopt);
    }

    [[nodiscard]] std::string_view shortage() const {
        const wallet_balance b = balance();
        if (style_ == funding_style::segwit && b.p2pkh.value > 0)
            return "not enough confirmed SegWit coins for amount and fee; P2PKH coins must be moved to SegWit first";
        if (style_ == funding_style::legacy && b.confirmed > b.p2pkh)
            return "not enough confirmed P2PKH coins for amount and fee; SegWit coins do not count for a legacy peer";
        if (b.immature.value > 0) return "not enough confirmed coins for amount and fee; mined coins need 100 blocks";
        if (b.unconfirmed.value > 0)
            return "not enough confirmed coins for amount and fee; the change of earlier contracts counts when the "
                   "network has them, and ten that hang on each other wait for a block";
        return "not enough confirmed coins for amount and fee";
    }

    [[nodiscard]] key_branch change_branch() const {
        return style_ == funding_style::segwit ? key_branch::segwit_change : key_branch::legacy_change;
    }

    /// The next in a small circle behind the payout's: change that never comes to be leaves no gap that hides coins.
    [[nodiscard]] result<script_buffer> change_script(key_branch branch) {
        return internal_script(branch, 1 + turn_++ % rotation);
    }

    [[nodiscard]] result<script_buffer> internal_script(key_branch branch, std::uint32_t beyond) const {
        const auto script = keys_.script({branch, coins_.first_unused(branch) + beyond});
        if (!script) return fail(errc::key_unavailable, script.error().text);
        return *script;
    }

    /// None if none is needed; the smallest one that does; else the largest until they do.
    [[nodiscard]] result<std::vector<wallet_coin>> choose_fee_coins(const outpoint& contract, const spend_size& without,
                                                                    fee_rate rate, satoshi available,
                                                                    satoshi least) const {
        const auto covers = [&](const spend_size& size, satoshi total) {
            const auto fee = fee_for(rate, size.vsize());
            return fee && total.value - fee->value >= least.value;
        };
        if (covers(without, available)) return std::vector<wallet_coin>{};
        std::vector<wallet_coin> coins = coins_.spendable(contract);
        std::erase_if(coins, [&](const wallet_coin& c) { return !pays_fees(c); });
        for (auto c = coins.rbegin(); c != coins.rend(); ++c) {
            spend_size with_one = without;
            with_one.add_coin(c->form);
            PAYCHAN_TRY(const satoshi total, add(available, c->value));
            if (covers(with_one, total)) return std::vector<wallet_coin>{*c};
        }
        spend_size size = without;
        satoshi total = available;
        for (std::size_t i = 0; i < coins.size() && i < max_fee_inputs; ++i) {
            size.add_coin(coins[i].form);
            PAYCHAN_TRY(total, add(total, coins[i].value));
            if (covers(size, total)) {
                coins.resize(i + 1);
                return coins;
            }
        }
        return fail(errc::insufficient_funds, "not enough confirmed coins in the wallet for the settlement's fee");
    }

    /// of  input 0 of what the coins stay reserved for, if not of this one
    [[nodiscard]] result<bytes_view> sign_and_reserve(const spend& s, bytes_span memory,
                                                      std::optional<outpoint> of = std::nullopt) {
        PAYCHAN_TRY(const bytes_view tx, sign_spend(s, keys_, memory));
        const outpoint first_input = of ? *of : s.foreign_input ? s.foreign_input->prevout : s.coins.front().where;
        coins_.release_all_for(first_input);  // of the settlement that this one replaces
        for (const wallet_coin& c : s.coins) coins_.reserve(c.where, first_input);
        PAYCHAN_TRY(const transaction made, parse_transaction(tx));
        if (of)
            change_.replaced_by(made);  // at another fee it will be replaced itself
        else
            change_.add(made, keys_, coins_);
        return tx;
    }

    wallet_keys keys_;
    network network_;
    funding_style style_;
    wallet_coins coins_;
    unmined_change change_;
    wallet_sync sync_;
    std::uint32_t turn_ = 0;
};
static_assert(ChainListener<seed_wallet>);
static_assert(FundingWallet<seed_wallet>);
static_assert(FeeInputWallet<seed_wallet>);
static_assert(ChildWallet<seed_wallet>);
static_assert(TakeBackWallet<seed_wallet>);

}  // namespace paychan
