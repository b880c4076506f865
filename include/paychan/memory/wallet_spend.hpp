// Spends wallet coins: what their inputs weigh at worst, and their signatures.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "paychan/bitcoin/fee.hpp"
#include "paychan/bitcoin/sighash.hpp"
#include "paychan/bitcoin/sigops.hpp"
#include "paychan/bitcoin/transaction.hpp"
#include "paychan/memory/wallet_coins.hpp"

namespace paychan {

/// Measures a transaction before its signatures exist.  Low-S signatures take up to 72 bytes with their hash type, half
/// of them one less: a fee for this size is about half a percent more than for the actual one, and never less.
class spend_size {
public:
    void add_output(bytes_view script) {
        ++outputs_;
        sigop_cost_ += sigop_cost(script);
        base_ += 8 + compact(script.size()) + script.size();
    }

    void add_coin(coin_form form) {
        constexpr std::size_t signature_and_key = 1 + 72 + 1 + 33;
        ++inputs_;
        base_ += 36 + 1 + 4;
        if (form == coin_form::p2pkh) {
            base_ += signature_and_key;
            ++witness_;  // an empty stack, if any input has one
        } else {
            segwit_ = true;
            ++sigop_cost_;
            witness_ += 1 + signature_and_key;
        }
    }

    /// An input that somebody else signs.
    void add_foreign_input(std::size_t script_sig_size) {
        ++inputs_;
        base_ += 36 + compact(script_sig_size) + script_sig_size + 4;
        ++witness_;
    }

    /// As nodes count it for their least fee: more than the bytes where there are many signature operations.
    [[nodiscard]] std::size_t vsize() const {
        const std::size_t base = 4 + compact(inputs_) + compact(outputs_) + base_ + 4;
        return relay_vsize(base * 4 + (segwit_ ? 2 + witness_ : 0), sigop_cost_);
    }

private:
    static constexpr std::size_t compact(std::size_t n) { return n < 0xfd ? 1 : n <= 0xffff ? 3 : 5; }

    std::size_t base_ = 0;
    std::size_t witness_ = 0;
    std::size_t sigop_cost_ = 0;
    std::size_t inputs_ = 0;
    std::size_t outputs_ = 0;
    bool segwit_ = false;
};

/// A transaction to be: an input of somebody else in front, if there is one, then coins of the wallet.
struct spend {
    std::int32_t version = 1;  // no BIP68: no sequence here is a relative lock
    std::uint32_t lock_time = 0;
    // No BIP125 signal: a contract or settlement that peers rely on must not look replaceable.
    std::uint32_t sequence = final_sequence;  // of the wallet's inputs
    std::optional<tx_input> foreign_input;
    std::vector<wallet_coin> coins;
    std::vector<tx_output> outputs;
};

namespace detail {

/// SIGHASH_ALL of one input, as the scriptSig (P2PKH) or the witness (P2WPKH) that goes with it.
[[nodiscard]] inline result<bounded_bytes<112>> sign_coin(const transaction& unsigned_tx, std::size_t input,
                                                          const wallet_coin& c, const wallet_keys& keys) {
    PAYCHAN_TRY(const secret_key key, keys.secret_of(c.key));
    const public_key pub = public_key_of(key);
    // The script code of P2WPKH is the P2PKH script of the same key hash.  BIP143.
    const script_buffer code = p2pkh_script(hash160(pub.view()));
    const auto digest = c.form == coin_form::p2wpkh
                            ? bip143_sighash(unsigned_tx, input, code.view(), c.value, sighash_all)
                            : legacy_sighash(unsigned_tx, input, code.view(), sighash_all);
    if (!digest) return fail(digest.error());
    PAYCHAN_TRY(const ecdsa_signature signature, sign_ecdsa(key, *digest));
    const auto flagged = to_bytes(flagged_signature{signature, sighash_all});
    bounded_bytes<112> out;
    writer w(out.memory());
    if (c.form == coin_form::p2wpkh) {
        w.compact_size(2);
        w.sized_bytes(flagged.view());
        w.sized_bytes(pub.view());
    } else {
        push(w, flagged.view());
        push(w, pub.view());
    }
    if (!w.ok()) return fail(errc::too_long, "a signature is longer than signatures are");
    out.resize(w.size());
    return out;
}

}  // namespace detail

/// Signs all coins and writes the transaction into `memory`.
/// Fails  too_long (memory), invalid_key, bad_transaction.
[[nodiscard]] inline result<bytes_view> sign_spend(const spend& s, const wallet_keys& keys, bytes_span memory) {
    std::vector<tx_input> inputs;
    if (s.foreign_input) inputs.push_back(*s.foreign_input);
    const std::size_t first = inputs.size();
    for (const wallet_coin& c : s.coins) inputs.push_back({c.where, {}, s.sequence, {}});

    writer draft(memory);
    write_transaction(draft, s.version, inputs, s.outputs, s.lock_time);
    if (!draft.ok()) return fail(errc::too_long, "no room for the transaction");
    const std::vector<std::uint8_t> copy(draft.written().begin(), draft.written().end());
    PAYCHAN_TRY(const transaction unsigned_tx, parse_transaction(bytes_view(copy)));

    std::vector<bounded_bytes<112>> proofs;
    for (std::size_t i = 0; i < s.coins.size(); ++i) {
        PAYCHAN_TRY(const auto proof, detail::sign_coin(unsigned_tx, first + i, s.coins[i], keys));
        proofs.push_back(proof);
    }
    for (std::size_t i = 0; i < s.coins.size(); ++i) {
        tx_input& in = inputs[first + i];
        (s.coins[i].form == coin_form::p2wpkh ? in.witness : in.script_sig) = proofs[i].view();
    }
    writer w(memory);
    write_transaction(w, s.version, inputs, s.outputs, s.lock_time);
    if (!w.ok()) return fail(errc::too_long, "no room for the transaction");
    return w.written();
}

}  // namespace paychan
