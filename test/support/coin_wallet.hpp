// A client's or a server's wallet of coins that no block made: quick to set up, and real enough for the chain.
#pragma once

#include <map>
#include <set>

#include "paychan/bitcoin/sighash.hpp"
#include "paychan/crypto/keys.hpp"
#include "paychan/memory/chain.hpp"
#include "paychan/policy.hpp"

namespace paychan_test {

/// One key; P2PKH coins; each funded transaction spends one coin.
class coin_wallet {
public:
    /// number  another one, another key
    explicit coin_wallet(std::uint8_t number)
        : key_(paychan::make_secret_key(paychan::sha256(bytes_of(number))).value()),
          public_key_(paychan::public_key_of(key_)),
          script_(paychan::p2pkh_script(paychan::hash160(public_key_.view()))) {}

    void add_coin(paychan::memory_chain& chain, paychan::satoshi value) {
        const paychan::outpoint where{{paychan::sha256(bytes_of(static_cast<std::uint8_t>(coins_.size() + 100)))}, 0};
        chain.testing_add_coin(where, {value, {script_.view().begin(), script_.view().end()}, 1, false});
        coins_[where] = value;
    }

    [[nodiscard]] paychan::result<paychan::bytes_view> fund(paychan::bytes_view script, paychan::satoshi amount,
                                                            paychan::fee_rate, paychan::bytes_span memory) {
        constexpr std::int64_t fee = 2'000;
        for (const auto& [where, value] : coins_) {
            if (reserved.contains(where) || value.value < amount.value + fee + 546) continue;
            const std::array outputs{
                paychan::tx_output{amount, script},
                paychan::tx_output{{value.value - amount.value - fee}, script_.view()},
            };
            const auto tx = spend(where, outputs, paychan::final_sequence, memory);
            if (tx) reserved.insert(where);
            return tx;
        }
        return paychan::fail(paychan::errc::insufficient_funds, "no coin is left");
    }

    void release(paychan::bytes_view tx) {
        if (const auto parsed = paychan::parse_transaction(tx))
            for (const auto& in : parsed->inputs()) reserved.erase(in.prevout);
    }

    /// At twice the fee of `fund`; it does not know what is spent.
    [[nodiscard]] paychan::result<paychan::bytes_view> take_back(paychan::bytes_view contract, paychan::fee_rate,
                                                                 paychan::bytes_span memory) {
        PAYCHAN_TRY(const auto tx, paychan::parse_transaction(contract));
        const auto coin = coins_.find(tx.input(0)->prevout);
        if (coin == coins_.end()) return paychan::fail(paychan::errc::insufficient_funds, "none of our coins");
        const std::array outputs{paychan::tx_output{{coin->second.value - 4'000}, script_.view()}};
        return spend(coin->first, outputs, paychan::final_sequence - 2, memory);
    }

    [[nodiscard]] paychan::result<paychan::script_buffer> payout_script() const { return script_; }

    std::set<paychan::outpoint> reserved;

private:
    [[nodiscard]] paychan::result<paychan::bytes_view> spend(const paychan::outpoint& where,
                                                             std::span<const paychan::tx_output> outputs,
                                                             std::uint32_t sequence, paychan::bytes_span memory) {
        paychan::tx_input in{where, {}, sequence, {}};
        std::array<std::uint8_t, 4096> unsigned_memory{};
        paychan::writer w(unsigned_memory);
        paychan::write_transaction(w, 1, {&in, 1}, outputs, 0);
        PAYCHAN_TRY(const auto tx, paychan::parse_transaction(w.written()));
        PAYCHAN_TRY(const auto digest, paychan::legacy_sighash(tx, 0, script_.view(), paychan::sighash_all));
        PAYCHAN_TRY(const auto signature, paychan::sign_ecdsa(key_, digest));
        std::array<std::uint8_t, 200> sig_memory{};
        paychan::writer sig(sig_memory);
        paychan::push(sig, paychan::to_bytes({signature, paychan::sighash_all}).view());
        paychan::push(sig, public_key_.view());
        in.script_sig = sig.written();
        paychan::writer out(memory);
        paychan::write_transaction(out, 1, {&in, 1}, outputs, 0);
        if (!out.ok()) return paychan::fail(paychan::errc::too_long, "no room for the transaction");
        return out.written();
    }

    static std::array<std::uint8_t, 1> bytes_of(std::uint8_t n) { return {n}; }

    paychan::secret_key key_;
    paychan::public_key public_key_;
    paychan::script_buffer script_;
    std::map<paychan::outpoint, paychan::satoshi> coins_;
};

static_assert(paychan::FundingWallet<coin_wallet>);
static_assert(paychan::PayoutWallet<coin_wallet>);
static_assert(paychan::TakeBackWallet<coin_wallet>);

}  // namespace paychan_test
