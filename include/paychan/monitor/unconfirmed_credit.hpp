// What a server has taken on contracts that are in no block yet, and how much that may be in all.
// Uses the heap: not for payments on contracts that are in a block.
#pragma once

#include <algorithm>
#include <map>

#include "paychan/bitcoin/transaction.hpp"
#include "paychan/core/satoshi.hpp"

namespace paychan::detail {

class unconfirmed_credit {
public:
    explicit unconfirmed_credit(satoshi most) : most_(most) {}

    /// False: with `paid` on this channel it would be more than it may.  It counts as soon as it was allowed, for many
    /// payments may be on their way to the disk.
    [[nodiscard]] bool take(const txid& channel, satoshi paid) {
        const auto own = paid_.find(channel);
        const satoshi before = own == paid_.end() ? satoshi{} : own->second;
        if (paid > before && paid.value - before.value > most_.value - sum_.value) return false;
        count(channel, paid);
        return true;
    }

    /// What is on disk already counts whatever is allowed.
    void count(const txid& channel, satoshi paid) {
        satoshi& own = paid_[channel];
        const satoshi more{std::max<std::int64_t>(paid.value - own.value, 0)};
        own.value += more.value;
        sum_.value += more.value;
    }

    /// done  bool(const txid&): a block holds its contract, or nobody will pay on it any more
    template <class Done>
    void forget_if(Done&& done) {
        std::erase_if(paid_, [&](const auto& p) {
            if (!done(p.first)) return false;
            sum_.value -= p.second.value;
            return true;
        });
    }

    [[nodiscard]] satoshi sum() const { return sum_; }

private:
    satoshi most_;  // [satoshi] of all together
    satoshi sum_{};
    std::map<txid, satoshi> paid_;
};

}  // namespace paychan::detail
