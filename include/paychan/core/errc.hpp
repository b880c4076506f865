// Every way in which a call can fail, and which of them travel to the peer.
#pragma once

#include <cstdint>
#include <string_view>

namespace paychan {

/// 1-8 are the numbers of the wire's ERROR message; 64 and up are local and never leave this process.
enum class errc : std::uint8_t {
    timeout = 1,                   ///< the peer took too long
    syntax_error = 2,              ///< a message out of order, without its body, or not understood
    no_acceptable_version = 3,     ///< no protocol version that both sides speak
    bad_transaction = 4,           ///< a transaction, script, amount or signature that the rules forbid
    time_window_unacceptable = 5,  ///< the expiry is too near or too far
    channel_value_too_large = 6,   ///< the server's minimum is above what the client offers
    min_payment_too_large = 7,     ///< the server's minimum payment is above what the client accepts
    other = 8,                     ///< anything else that the peer should hear about

    wrong_state = 64,         ///< the call does not fit the channel's state
    payment_in_flight = 65,   ///< a payment still awaits its PAYMENT_ACK; one at a time
    insufficient_funds = 66,  ///< the channel or the wallet does not hold that much
    out_of_range = 67,        ///< an amount that is negative, zero where that makes no sense, or above 21 million coins
    key_unavailable = 68,     ///< the key store cannot sign now; nothing moved, ask again
    store_failed = 69,        ///< the store could not write or read; nothing was sent
    stale_record = 70,        ///< a newer record is already stored; this writer must stop
    not_found = 71,           ///< no such record, key, transaction or block
    corrupt_record = 72,      ///< a stored record does not parse or its checksum is wrong
    unknown_format = 73,      ///< a stored record was written by a newer version of this library
    malformed = 74,           ///< bytes that do not parse; a peer that sends such is cut off without an ERROR
    too_long = 75,            ///< more bytes than the buffer or the rule allows
    unreachable = 77,         ///< the node or the peer does not answer; try again later
    connection_lost = 78,     ///< the connection ended with a payment in flight: a resume will tell whether it counted
    not_yet_due = 79,         ///< the lock time is not reached; try again later
    invalid_argument = 80,    ///< the caller passed something that cannot be right
    unsupported = 81,         ///< valid, but not something that this build handles
    peer_error = 82,          ///< the peer sent an ERROR message
    invalid_signature = 83,   ///< a signature that is not strict DER, not on its curve, or does not verify
    invalid_key = 84,         ///< bytes that are not a public or private key
    wrong_clock = 85,         ///< this machine's clock is behind the chain's time: set it right
};

/// True when the code is one of the wire's own numbers.
[[nodiscard]] constexpr bool is_wire_code(errc code) { return static_cast<std::uint8_t>(code) < 64; }

/// The name of the code as it stands in the specification or in this enum.
[[nodiscard]] constexpr std::string_view name(errc code) {
    switch (code) {
        case errc::timeout: return "TIMEOUT";
        case errc::syntax_error: return "SYNTAX_ERROR";
        case errc::no_acceptable_version: return "NO_ACCEPTABLE_VERSION";
        case errc::bad_transaction: return "BAD_TRANSACTION";
        case errc::time_window_unacceptable: return "TIME_WINDOW_UNACCEPTABLE";
        case errc::channel_value_too_large: return "CHANNEL_VALUE_TOO_LARGE";
        case errc::min_payment_too_large: return "MIN_PAYMENT_TOO_LARGE";
        case errc::other: return "OTHER";
        case errc::wrong_state: return "wrong_state";
        case errc::payment_in_flight: return "payment_in_flight";
        case errc::insufficient_funds: return "insufficient_funds";
        case errc::out_of_range: return "out_of_range";
        case errc::key_unavailable: return "key_unavailable";
        case errc::store_failed: return "store_failed";
        case errc::stale_record: return "stale_record";
        case errc::not_found: return "not_found";
        case errc::corrupt_record: return "corrupt_record";
        case errc::unknown_format: return "unknown_format";
        case errc::malformed: return "malformed";
        case errc::too_long: return "too_long";
        case errc::unreachable: return "unreachable";
        case errc::connection_lost: return "connection_lost";
        case errc::not_yet_due: return "not_yet_due";
        case errc::invalid_argument: return "invalid_argument";
        case errc::unsupported: return "unsupported";
        case errc::peer_error: return "peer_error";
        case errc::invalid_signature: return "invalid_signature";
        case errc::invalid_key: return "invalid_key";
        case errc::wrong_clock: return "wrong_clock";
    }
    return "unknown";
}

}  // namespace paychan
