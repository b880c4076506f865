// The channel's record: all that a side must remember to pay, settle or take its money back.  A copy is a checkpoint.
#pragma once

#include "paychan/bitcoin/transaction.hpp"
#include "paychan/core/bytes.hpp"
#include "paychan/core/satoshi.hpp"
#include "paychan/core/unix_time.hpp"
#include "paychan/crypto/keys.hpp"
#include "paychan/policy.hpp"

namespace paychan {

/// Which side of a channel is ours.  The numbers are on disk.
enum class channel_role : std::uint8_t { client = 1, server = 2 };

/// The kinds of a role's records.
struct role_kinds {
    record_kind channel, contract, closing, watch;  ///< closing: the client's refund, the server's settlement
};
[[nodiscard]] constexpr role_kinds kinds_of(channel_role role) {
    using enum record_kind;
    return role == channel_role::client ? role_kinds{client_channel, client_contract, client_refund, client_watch}
                                        : role_kinds{server_channel, server_contract, server_settlement, server_watch};
}

/// What both sides agreed on when they opened the channel.  Never changes after that.
struct contract_terms {
    outpoint contract;        ///< output 0 of the contract transaction
    satoshi value{};          ///< [satoshi] what that output holds
    unix_time expiry{};       ///< the refund's lock_time
    public_key client_key{};  ///< in the byte form given on the wire
    public_key server_key{};
};

/// How far the channel is.  The numbers are on disk.
enum class channel_stage : std::uint8_t {
    none = 0,  ///< nothing that is worth storing exists
    contract_stored =
        1,         ///< the contract may be on chain from here on; the network's or the server's answer is awaited
    open = 2,      ///< payments may flow
    settling = 3,  ///< a transaction that spends the contract was made or seen; no payment any more
    unbacked = 4,  ///< server: was open, and then the network refused the contract; no payment until it takes that
};

/// An application's own name for the other side.
using channel_label = bounded_bytes<64>;

/// One format for both roles.  Everything in it is stored.
struct channel_record {
    std::uint64_t version = 0;  ///< of the stored record: grows by one with each write
    std::int32_t protocol = 0;  ///< protocol version, which names the contract scheme
    channel_stage stage = channel_stage::none;
    contract_terms terms{};
    key_id key{};                 ///< our own key of the two
    satoshi change{};             ///< [satoshi] what stays with the client by the last signature; only ever goes down
    bounded_bytes<73> signature;  ///< the client's signature for that change, low S, with its hash type
    txid closing{};               ///< the transaction that spends the contract, zeros while none is known
    std::int32_t closing_height = 0;  ///< its block, 0 while it is in none
    channel_label label{};

    /// [satoshi] What the server may take by the last signature.
    [[nodiscard]] satoshi paid() const { return {terms.value.value - change.value}; }
};

}  // namespace paychan
