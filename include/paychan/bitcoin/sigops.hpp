// Signature operations: nodes charge a transaction for them where that is more than for its bytes.
#pragma once

#include <algorithm>

#include "paychan/bitcoin/script.hpp"
#include "paychan/bitcoin/transaction.hpp"

namespace paychan {

inline constexpr std::size_t legacy_sigop_cost = 4;  // BIP141: outside of the witness
inline constexpr std::size_t weight_per_sigop = 20;  // [weight units] Core's default of -bytespersigop, by cost
inline constexpr std::size_t multisig_sigops = 20;   // consensus: CHECKMULTISIG in an output counts as its most

/// The cost of a script_sig or script_pubkey.  Source  Bitcoin Core GetSigOpCount(false), BIP141.
[[nodiscard]] inline std::size_t sigop_cost(bytes_view script) {
    std::size_t count = 0;
    script_reader ops(script);
    while (const auto op = ops.next()) {
        if (op->code == op_checksig || op->code == op_checksigverify) count += 1;
        if (op->code == op_checkmultisig || op->code == op_checkmultisigverify) count += multisig_sigops;
    }
    return count * legacy_sigop_cost;
}

/// The cost of a transaction, without that of the P2SH scripts it spends.  An input with a witness counts as P2WPKH: 1.
[[nodiscard]] inline std::size_t sigop_cost(const transaction& tx) {
    std::size_t cost = 0;
    for (const tx_input& in : tx.inputs()) cost += sigop_cost(in.script_sig) + (in.witness.empty() ? 0 : 1);
    for (const tx_output& out : tx.outputs()) cost += sigop_cost(out.script_pubkey);
    return cost;
}

/// [vbytes] What nodes take as the size when they compare a fee with their least rate.  A bare 2-of-2 contract is
/// charged as 400. Source  Bitcoin Core GetVirtualTransactionSize.
[[nodiscard]] constexpr std::size_t relay_vsize(std::size_t weight, std::size_t sigop_cost) {
    return (std::max(weight, sigop_cost * weight_per_sigop) + 3) / 4;
}

[[nodiscard]] inline std::size_t relay_vsize(const transaction& tx) { return relay_vsize(tx.weight(), sigop_cost(tx)); }

}  // namespace paychan
