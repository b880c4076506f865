// What a server's monitor has offered to the network for channels that are settling, and what the network has taken.
// Uses the heap: not for payments.
#pragma once

#include <map>
#include <vector>

#include "paychan/bitcoin/script.hpp"
#include "paychan/bitcoin/transaction.hpp"
#include "paychan/policy.hpp"

namespace paychan::detail {

/// What was offered for a channel that is settling, and what the network has taken.
struct settlement_offer {
    std::vector<std::uint8_t> tx;  ///< given to the network in place of the stored one; empty: none
    txid id;                       ///< of `tx`
    mempool_fees pays{};           ///< the one that was taken; vsize 0: none was
    outpoint payout;               ///< of that one
    satoshi value{};
    script_buffer script;
    bool is_fixed = false;     ///< nodes let nothing take its place
    bool underpaid = false;    ///< the one that was offered last was refused for its fee: nodes have none
    std::int32_t outbid = -1;  ///< round in which one that was to take its place did not pay enough
    fee_rate wanted{};         ///< [sat/kvB] that was to take it
    fee_rate child{};          ///< [sat/kvB] that it pays with its child

    /// Only a child can raise it, for good or in this round.
    [[nodiscard]] bool stands(std::int32_t round) const { return is_fixed || outbid == round; }
};

/// Of few channels only.
template <class T>
using by_channel = std::map<txid, T>;

}  // namespace paychan::detail
