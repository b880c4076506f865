// The rules of consensus that a transaction must keep by itself, without looking at what it spends.
#pragma once

#include "paychan/bitcoin/transaction.hpp"

namespace paychan {

inline constexpr std::size_t max_block_weight = 4'000'000;  // [weight units] BIP141

/// The prevout of a coinbase's only input names nothing.
[[nodiscard]] inline bool is_null(const outpoint& o) { return o == outpoint{txid{}, 0xffff'ffff}; }

[[nodiscard]] inline bool is_coinbase(const transaction& tx) {
    return tx.input_count() == 1 && is_null((*tx.inputs().begin()).prevout);
}

/// Inputs and outputs are there, amounts are money, no output is spent twice.
/// Fails   bad_transaction.
/// Work    grows with the square of the number of inputs: bound the size of a peer's transaction first.
/// Source  Bitcoin Core CheckTransaction.
[[nodiscard]] inline result<void> check_transaction(const transaction& tx) {
    if (tx.input_count() == 0) return fail(errc::bad_transaction, "transaction has no inputs");
    if (tx.output_count() == 0) return fail(errc::bad_transaction, "transaction has no outputs");
    if (tx.stripped_size() * 4 > max_block_weight) return fail(errc::bad_transaction, "transaction is too large");

    satoshi total{0};
    for (const tx_output& out : tx.outputs()) {
        const auto sum = add(total, out.value);
        if (!sum) return fail(errc::bad_transaction, "outputs are negative or above 21 million coins");
        total = *sum;
    }

    if (is_coinbase(tx)) {
        const std::size_t size = (*tx.inputs().begin()).script_sig.size();
        if (size < 2 || size > 100) return fail(errc::bad_transaction, "coinbase script is not of 2 to 100 bytes");
        return {};
    }
    const auto inputs = tx.inputs();
    std::size_t index = 0;
    for (const tx_input& in : inputs) {
        if (is_null(in.prevout)) return fail(errc::bad_transaction, "input spends nothing");
        auto earlier = inputs.begin();
        for (std::size_t i = 0; i < index; ++i, ++earlier)
            if (earlier->prevout == in.prevout) return fail(errc::bad_transaction, "an output is spent twice");
        ++index;
    }
    return {};
}

}  // namespace paychan
