// What a client's monitor has offered to the network in place of contracts that are in no block, and what it has taken.
// Uses the heap: not for payments.
#pragma once

#include <map>
#include <optional>
#include <utility>

#include "paychan/bitcoin/txid.hpp"

namespace paychan::detail {

/// Of few channels only.
class take_backs {
public:
    void was_offered(const txid& tx, const txid& channel) { offered_[tx] = channel; }

    /// The channel, if the network has this transaction and did not have it when it said so last.
    [[nodiscard]] std::optional<txid> was_taken(const txid& tx) {
        const auto found = offered_.find(tx);
        if (found == offered_.end() || std::exchange(taken_[found->second], tx) == tx) return std::nullopt;
        return found->second;
    }

    /// The network has taken one for this channel.
    [[nodiscard]] bool has(const txid& channel) const { return taken_.contains(channel); }

    /// gone  bool(const txid&): the channel is watched no more
    template <class Gone>
    void forget_if(Gone&& gone) {
        std::erase_if(offered_, [&](const auto& o) { return gone(o.second); });
        std::erase_if(taken_, [&](const auto& t) { return gone(t.first); });
    }

private:
    std::map<txid, txid> offered_;  // and the channel of each
    std::map<txid, txid> taken_;    // channels, and what was taken last
};

}  // namespace paychan::detail
