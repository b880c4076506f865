// What a client claims of a stored channel with nobody connected: when its refund is due, and the broadcasts that bring the
// money home.
#pragma once

#include "paychan/channel/carry_out.hpp"
#include "paychan/policy.hpp"

namespace paychan {

/// True when nodes accept the refund.  BIP113: a lock_time is compared with the median time of the last 11 blocks,
/// about an hour behind the clock, and must be below it.
[[nodiscard]] inline bool refund_is_due(const channel_record& record, unix_time median_time) {
    return record.stage != channel_stage::none && median_time > record.terms.expiry;
}

namespace detail {
/// Gives a transaction to the network that nothing rests on: it is stored already, or can be made again.
template <Broadcaster B>
void broadcast_again(bytes_view tx, B& broadcaster) {
    result<effects> wanted;
    wanted->broadcast.push_back(tx);
    if (auto ready = on_disk({}, wanted))  // nothing is to be written
        std::move(*ready).broadcast(broadcaster).without_connection().notify([](const event&) {});
}

/// Gives a stored transaction to the network.  Fails  not_found, store_failed, too_long.
template <Store S, Broadcaster B>
[[nodiscard]] result<bytes_view> broadcast_stored(record_kind kind, const txid& channel, S& store, B& broadcaster,
                                                  bytes_span memory) {
    PAYCHAN_TRY(const auto stored, store.get({kind, channel}, memory));
    broadcast_again(stored.bytes, broadcaster);
    return stored.bytes;
}
}  // namespace detail

/// Broadcasts the contract, in case the server never did, and the refund, and returns that one.  Safe to repeat: call it
/// with every block until the contract is spent in one.
/// memory  room for either transaction
/// Fails   wrong_state (no channel), not_yet_due, not_found, store_failed, too_long.
template <Store S, Broadcaster B>
[[nodiscard]] result<bytes_view> broadcast_refund(const channel_record& record, unix_time median_time, S& store,
                                                  B& broadcaster, bytes_span memory) {
    if (record.stage == channel_stage::none) return fail(errc::wrong_state, "there is no channel to refund");
    if (!refund_is_due(record, median_time))
        return fail(errc::not_yet_due, "the refund's lock time is not reached by the chain's median time");
    // A contract that cannot be read is most likely mined long since: its refund must not wait for it.
    (void)detail::broadcast_stored(record_kind::client_contract, record.terms.contract.id, store, broadcaster, memory);
    return detail::broadcast_stored(record_kind::client_refund, record.terms.contract.id, store, broadcaster, memory);
}

}  // namespace paychan
