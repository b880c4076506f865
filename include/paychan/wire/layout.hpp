// Which field of which message has which number: proto/paymentchannel.proto as data for the small codec.
#pragma once

#include <string_view>
#include <type_traits>

#include "paychan/wire/messages.hpp"

namespace paychan::wire {

enum class rule : std::uint8_t {
    required,    ///< a message without it is malformed; its number is below 16
    optional,    ///< std::optional members may stay away; others are written even when they hold their default
    error_code,  ///< optional; a number that is not 1-8 is treated as an unknown field
};

struct field {
    std::uint32_t number;
    rule presence;
};

/// Where TwoWayChannelMessage keeps the body of a type.
struct body {
    message_type type;
    std::uint32_t number;
    rule presence;
    std::string_view missing;  ///< what to tell the peer when a required one is not there
};

// CLOSE, PAYMENT_ACK and ERROR make sense without their body; the reference sends the first two so, and takes all
// three.  CHANNEL_OPEN has none of the reference's; the body of the extension is resume_state.
template <class Message>
inline constexpr body body_of{};
template <>
inline constexpr body body_of<client_version>{message_type::client_version, 2, rule::required,
                                              "CLIENT_VERSION has no body"};
template <>
inline constexpr body body_of<server_version>{message_type::server_version, 3, rule::required,
                                              "SERVER_VERSION has no body"};
template <>
inline constexpr body body_of<initiate>{message_type::initiate, 4, rule::required, "INITIATE has no body"};
template <>
inline constexpr body body_of<provide_refund>{message_type::provide_refund, 5, rule::required,
                                              "PROVIDE_REFUND has no body"};
template <>
inline constexpr body body_of<return_refund>{message_type::return_refund, 6, rule::required,
                                             "RETURN_REFUND has no body"};
template <>
inline constexpr body body_of<provide_contract>{message_type::provide_contract, 7, rule::required,
                                                "PROVIDE_CONTRACT has no body"};
template <>
inline constexpr body body_of<update_payment>{message_type::update_payment, 8, rule::required,
                                              "UPDATE_PAYMENT has no body"};
template <>
inline constexpr body body_of<close>{message_type::close, 9, rule::optional, {}};
template <>
inline constexpr body body_of<error_message>{message_type::error, 10, rule::optional, {}};
template <>
inline constexpr body body_of<payment_ack>{message_type::payment_ack, 11, rule::optional, {}};
template <>
inline constexpr body body_of<resume_state>{message_type::channel_open, 1000, rule::optional, {}};

/// True when the message is written with its body: there is something in it, or the type calls for one.
template <class Message>
[[nodiscard]] constexpr bool has_body(const Message&) {
    return true;
}
[[nodiscard]] constexpr bool has_body(const close& m) { return m.settlement.has_value(); }
[[nodiscard]] constexpr bool has_body(const payment_ack& m) { return m.info.has_value() || m.paid.has_value(); }

/// M is T or const T.
template <class M, class T>
concept maybe_const = std::is_same_v<std::remove_const_t<M>, T>;

// layout(message, visit): calls visit(field, member) for each field of the message, in the order of their numbers.

template <class Visit>
constexpr void layout(maybe_const<client_version> auto& m, Visit&& visit) {
    visit(field{1, rule::required}, m.major);
    visit(field{2, rule::optional}, m.minor);
    visit(field{3, rule::optional}, m.previous_channel_contract_hash);
    visit(field{4, rule::optional}, m.time_window_secs);
    visit(field{1000, rule::optional}, m.extensions);
    visit(field{1001, rule::optional}, m.resume_time);
    visit(field{1002, rule::optional}, m.resume_signature);
}

template <class Visit>
constexpr void layout(maybe_const<server_version> auto& m, Visit&& visit) {
    visit(field{1, rule::required}, m.major);
    visit(field{2, rule::optional}, m.minor);
}

template <class Visit>
constexpr void layout(maybe_const<initiate> auto& m, Visit&& visit) {
    visit(field{1, rule::required}, m.multisig_key);
    visit(field{2, rule::required}, m.min_accepted_channel_size);
    visit(field{3, rule::required}, m.expire_time_secs);
    visit(field{4, rule::required}, m.min_payment);
}

template <class Visit>
constexpr void layout(maybe_const<provide_refund> auto& m, Visit&& visit) {
    visit(field{1, rule::required}, m.multisig_key);
    visit(field{2, rule::required}, m.tx);
}

template <class Visit>
constexpr void layout(maybe_const<return_refund> auto& m, Visit&& visit) {
    visit(field{1, rule::required}, m.signature);
}

template <class Visit>
constexpr void layout(maybe_const<update_payment> auto& m, Visit&& visit) {
    visit(field{1, rule::required}, m.client_change_value);
    visit(field{2, rule::required}, m.signature);
    visit(field{3, rule::optional}, m.info);
}

template <class Visit>
constexpr void layout(maybe_const<provide_contract> auto& m, Visit&& visit) {
    visit(field{1, rule::required}, m.tx);
    visit(field{2, rule::required}, m.initial_payment);
    visit(field{3, rule::optional}, m.client_key);
}

template <class Visit>
constexpr void layout(maybe_const<close> auto& m, Visit&& visit) {
    visit(field{3, rule::required}, m.settlement);  // required in its body, which is optional
}

template <class Visit>
constexpr void layout(maybe_const<error_message> auto& m, Visit&& visit) {
    visit(field{1, rule::error_code}, m.code);
    visit(field{2, rule::optional}, m.explanation);
    visit(field{3, rule::optional}, m.expected_value);
}

template <class Visit>
constexpr void layout(maybe_const<payment_ack> auto& m, Visit&& visit) {
    visit(field{1, rule::optional}, m.info);
    visit(field{1000, rule::optional}, m.paid);
}

template <class Visit>
constexpr void layout(maybe_const<resume_state> auto& m, Visit&& visit) {
    visit(field{1, rule::required}, m.client_change_value);
    visit(field{2, rule::required}, m.signature);
}

/// True for a number that error_message.code may hold.
[[nodiscard]] constexpr bool is_error_code(std::int32_t code) { return 1 <= code && code <= 8; }

}  // namespace paychan::wire
