// The messages of the protocol as plain structs.  What a codec decodes, and what a step sends.
#pragma once

#include <optional>
#include <variant>

#include "paychan/core/bytes.hpp"
#include "paychan/core/errc.hpp"

// Views point into the frame that was decoded, or into memory that outlives the sending of the message.
// Amounts and times are as on the wire, unchecked: the steps check them.
// Source: proto/paymentchannel.proto.
namespace paychan::wire {

/// client_version.extensions: the client understands channel_open.resumed and payment_ack.paid.
inline constexpr std::uint64_t understands_amounts = 1;

/// Client: "I speak this version"; with a hash, "and I want to go on with this channel".
struct client_version {
    std::int32_t major = 0;
    std::int32_t minor = 0;
    std::optional<bytes_view> previous_channel_contract_hash;  ///< the contract's txid in display order, 32 bytes
    std::uint64_t time_window_secs = 86'340;                   ///< [s]
    std::optional<std::uint64_t> extensions{};                 ///< bit set, see `understands_amounts`
    std::optional<std::uint64_t> resume_time{};                ///< [s since 1970] when resume_signature was made
    std::optional<bytes_view> resume_signature{};              ///< DER: proves that the client holds its key
    friend bool operator==(const client_version&, const client_version&);
};

/// Server: "we speak this version".
struct server_version {
    std::int32_t major = 0;
    std::int32_t minor = 0;
    friend bool operator==(const server_version&, const server_version&) = default;
};

/// Server: its terms for a new channel.
struct initiate {
    bytes_view multisig_key;                      ///< the server's public key, 33 or 65 bytes
    std::uint64_t min_accepted_channel_size = 0;  ///< [satoshi]
    std::uint64_t expire_time_secs = 0;           ///< [s since 1970]
    std::uint64_t min_payment = 0;                ///< [satoshi] the least initial payment
    friend bool operator==(const initiate&, const initiate&);
};

/// Client, version 1: the refund to be signed.
struct provide_refund {
    bytes_view multisig_key;  ///< the client's public key
    bytes_view tx;            ///< the refund, unsigned
    friend bool operator==(const provide_refund&, const provide_refund&);
};

/// Server, version 1: its signature under the refund, NONE|ANYONECANPAY.
struct return_refund {
    bytes_view signature;
    friend bool operator==(const return_refund&, const return_refund&);
};

/// Client: "you may have so much": the change that stays with the client, and the signature for it.
struct update_payment {
    std::uint64_t client_change_value = 0;  ///< [satoshi] what the client keeps: goes down with every payment
    bytes_view signature;                   ///< DER and one byte of flags
    std::optional<bytes_view> info;         ///< for the server's application
    friend bool operator==(const update_payment&, const update_payment&);
};

/// Client: the contract, and the first payment out of it.
struct provide_contract {
    bytes_view tx;
    update_payment initial_payment;
    std::optional<bytes_view> client_key;  ///< version 2
    friend bool operator==(const provide_contract&, const provide_contract&);
};

/// Extension: what the server holds of the client's on a channel that is resumed.
struct resume_state {
    std::uint64_t client_change_value = 0;  ///< [satoshi]
    bytes_view signature;                   ///< the client's own, DER and one byte of flags
    friend bool operator==(const resume_state&, const resume_state&);
};

/// Server: the contract is accepted; payments may follow.
struct channel_open {
    std::optional<resume_state> resumed{};
    friend bool operator==(const channel_open&, const channel_open&) = default;
};

/// Either side: client asks for settlement; server ends the connection, with the settlement when the channel is over.
struct close {
    std::optional<bytes_view> settlement;
    friend bool operator==(const close&, const close&);
};

/// Either side: why the sender ends the connection.
struct error_message {
    std::int32_t code = 8;                        ///< 1-8, see errc
    std::optional<bytes_view> explanation;        ///< text from a stranger: not safe to print or embed unescaped
    std::optional<std::uint64_t> expected_value;  ///< [satoshi] with MIN_PAYMENT_TOO_LARGE: what would be accepted
    friend bool operator==(const error_message&, const error_message&);
};

/// Server: the last payment is durable here.
struct payment_ack {
    std::optional<bytes_view> info;
    std::optional<std::uint64_t> paid{};  ///< [satoshi] extension: all that the server has accepted on the channel
    friend bool operator==(const payment_ack&, const payment_ack&);
};

/// The number of each type on the wire, in the order of the alternatives of `message`.
enum class message_type : std::uint8_t {
    client_version = 1,
    server_version = 2,
    initiate = 3,
    provide_refund = 4,
    return_refund = 5,
    provide_contract = 6,
    channel_open = 7,
    update_payment = 8,
    close = 9,
    error = 10,
    payment_ack = 11,
};

using message = std::variant<client_version, server_version, initiate, provide_refund, return_refund, provide_contract,
                             channel_open, update_payment, close, error_message, payment_ack>;

[[nodiscard]] inline message_type type_of(const message& m) { return static_cast<message_type>(m.index() + 1); }

/// The longest frame that a peer may send or be sent, without its 4 bytes of length [bytes].
inline constexpr std::size_t max_frame_size = 32'767;

namespace detail {
inline bool same(const std::optional<bytes_view>& a, const std::optional<bytes_view>& b) {
    return a.has_value() == b.has_value() && (!a || equal(*a, *b));
}
}  // namespace detail

inline bool operator==(const client_version& a, const client_version& b) {
    return a.major == b.major && a.minor == b.minor && a.time_window_secs == b.time_window_secs &&
           detail::same(a.previous_channel_contract_hash, b.previous_channel_contract_hash) &&
           a.extensions == b.extensions && a.resume_time == b.resume_time &&
           detail::same(a.resume_signature, b.resume_signature);
}
inline bool operator==(const initiate& a, const initiate& b) {
    return equal(a.multisig_key, b.multisig_key) && a.min_accepted_channel_size == b.min_accepted_channel_size &&
           a.expire_time_secs == b.expire_time_secs && a.min_payment == b.min_payment;
}
inline bool operator==(const provide_refund& a, const provide_refund& b) {
    return equal(a.multisig_key, b.multisig_key) && equal(a.tx, b.tx);
}
inline bool operator==(const return_refund& a, const return_refund& b) { return equal(a.signature, b.signature); }
inline bool operator==(const update_payment& a, const update_payment& b) {
    return a.client_change_value == b.client_change_value && equal(a.signature, b.signature) &&
           detail::same(a.info, b.info);
}
inline bool operator==(const provide_contract& a, const provide_contract& b) {
    return equal(a.tx, b.tx) && a.initial_payment == b.initial_payment && detail::same(a.client_key, b.client_key);
}
inline bool operator==(const close& a, const close& b) { return detail::same(a.settlement, b.settlement); }
inline bool operator==(const error_message& a, const error_message& b) {
    return a.code == b.code && a.expected_value == b.expected_value && detail::same(a.explanation, b.explanation);
}
inline bool operator==(const resume_state& a, const resume_state& b) {
    return a.client_change_value == b.client_change_value && equal(a.signature, b.signature);
}
inline bool operator==(const payment_ack& a, const payment_ack& b) {
    return a.paid == b.paid && detail::same(a.info, b.info);
}

}  // namespace paychan::wire
