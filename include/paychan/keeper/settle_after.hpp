// Settles each channel after a number of payments, so that a server's money does not wait for the channel's end.
#pragma once

#include <map>

#include "paychan/channel/record_io.hpp"

namespace paychan {

/// Side  a payee, or what has its settle_attached() and settle()
template <class Side, class StorePolicy>
class settle_after {
public:
    /// payments  that count() is told of; the first payment, in the contract, is none of them
    settle_after(std::uint64_t payments, Side& side, StorePolicy& store)
        : payments_(payments), side_(side), store_(store) {}

    /// A payment is on disk, and its ack leaves next.  True: there are enough; call settle() when it has left.
    [[nodiscard]] bool count(const txid& channel) { return ++seen_[channel] >= payments_; }

    /// Over its connection; from the store, if the client has gone already and did not ask for it itself.
    /// Fails  as payee::settle: the next payment tries it again.
    [[nodiscard]] result<void> settle(const txid& channel) {
        const auto own = seen_.find(channel);
        if (own == seen_.end()) return {};  // an earlier one has done it
        const bool done = side_.settle_attached(channel) || is_settling(channel);
        const auto settled = done ? result<void>{} : side_.settle(channel);
        if (settled) seen_.erase(own);
        return settled;
    }

private:
    [[nodiscard]] bool is_settling(const txid& channel) {
        const auto record = load_record(store_, record_kind::server_channel, channel);
        return record && record->stage == channel_stage::settling;
    }

    std::uint64_t payments_;
    Side& side_;
    StorePolicy& store_;
    std::map<txid, std::uint64_t> seen_;  // payments
};

}  // namespace paychan
