// The list of deliberate differences: where we send something else than the reference, and why.  Nothing else may differ
// but explanations, and signatures that verify all the same.
#pragma once

#include <array>
#include <string_view>

#include "replay/session.hpp"

namespace replay {

/// In the words of in_brief(); * stands for any text; empty: nothing.
struct change {
    std::string_view reference;
    std::string_view ours;
    /// Sessions in which it must come, when they are played: or it is stale.  Names, with | between them.
    std::string_view seen_in;
    /// What else holds of it: nothing; the conversations have parted, so that what follows in this session cannot be
    /// compared; or but for the signatures, which verify, the two are the same.
    enum class more : std::uint8_t { nothing, parts, same_but_signed } also = more::nothing;

    [[nodiscard]] constexpr bool is_set() const { return !reference.empty() || !ours.empty(); }
};
inline constexpr auto parts = change::more::parts;
inline constexpr auto same_but_signed = change::more::same_but_signed;

struct difference {
    std::string_view sessions;  ///< to which it may come: names with *, with | between them
    side who{};
    std::array<change, 4> changes{};
    std::string_view reason;
};

inline constexpr std::array differences{
    // ---- server
    difference{"raw_close_after_version*|raw_first_contract*|raw_update_before_open*|raw_update_no_body*|"
               "raw_version_no_body*|raw_version_twice*",
               side::server,
               {{{"hangs up", "ERROR SYNTAX_ERROR",
                  "raw_close_after_version.v1|raw_close_after_version.v2|raw_first_contract.v2|"
                  "raw_update_before_open.v2|raw_update_no_body.v2|raw_version_no_body.v2|raw_version_twice.v2"}}},
               "the reference dies silently of messages out of order or without a body; we say why, then end"},
    difference{"broadcast_of_contract_fails*|raw_contract_bad_client_key*|raw_pay_negative*",
               side::server,
               {{{"hangs up", "ERROR BAD_TRANSACTION",
                  "broadcast_of_contract_fails.v1|raw_contract_bad_client_key.v2|raw_pay_negative.v2"}}},
               "the reference dies silently of some bad contracts and payments; we say why, then end"},
    difference{"raw_partial_frame*",
               side::server,
               {{{"hangs up", "ERROR TIMEOUT", "raw_partial_frame.v2"}}},
               "the reference drops a client that is too slow without a word; we say why, then end"},
    difference{
        "raw_initial_one*|raw_initial_zero*|raw_settle_zero_paid*",
        side::server,
        {{{"CHANNEL_OPEN", "ERROR BAD_TRANSACTION",
           "raw_initial_one.v1|raw_initial_one.v2|raw_initial_zero.v1|raw_initial_zero.v2|raw_settle_zero_paid.v2",
           parts}}},
        "we enforce our minimum payment"},
    difference{"raw_contract_below_min*",
               side::server,
               {{{"CHANNEL_OPEN", "ERROR BAD_TRANSACTION", "raw_contract_below_min.v2", parts}}},
               "we enforce our minimum channel size"},
    difference{"raw_contract_trailing_byte*",
               side::server,
               {{{"CHANNEL_OPEN", "ERROR BAD_TRANSACTION", "raw_contract_trailing_byte.v1", parts}}},
               "bytes behind a transaction are not part of it, and no node would take them"},
    difference{"raw_refund_other_contract*",
               side::server,
               {{{"CHANNEL_OPEN", "ERROR BAD_TRANSACTION", "raw_refund_other_contract.v1", parts}}},
               "the refund that we signed must spend the contract that follows"},
    difference{"raw_initial_bad_sig*|raw_settle_after_bad_initial*",
               side::server,
               {{{"broadcasts the contract", "", "raw_initial_bad_sig.v1"},
                 {"CHANNEL_OPEN", "INITIATE", "raw_settle_after_bad_initial.v1", parts}}},
               "a channel whose first payment is bad is neither broadcast nor stored"},
    difference{
        "raw_settle_high_s*|p2p_high_s*",
        side::server,
        {{{"CLOSE with settlement", "CLOSE with settlement", "raw_settle_high_s.v1|p2p_high_s.v1.p2p", same_but_signed},
          {"broadcasts a settlement", "broadcasts a settlement", "raw_settle_high_s.v1|p2p_high_s.v1.p2p",
           same_but_signed},
          {"hangs up", "CLOSE with settlement", "p2p_high_s.v2.p2p"},
          {"", "broadcasts a settlement", "p2p_high_s.v2.p2p"}}},
        "a high S is made low before it is stored, or no node would relay the settlement"},
    difference{
        "settle_fee_too_high*|settle_server_adds_input*",
        side::server,
        {{{"ERROR BAD_TRANSACTION", "CLOSE with settlement", "settle_fee_too_high.v1|settle_server_adds_input.v2"},
          {"", "broadcasts a settlement", "settle_fee_too_high.v1|settle_server_adds_input.v2"}}},
        "where the fee is above what was paid, the reference loses all; we pay the most that the payments bear"},
    difference{"server_settle*|autoclose*",
               side::server,
               {{{"CLOSE", "CLOSE with settlement", "server_settle.v1|autoclose.v1|autoclose.v2"}}},
               "the settlement is in the CLOSE that the server begins, too"},
    difference{
        "resume_with_other_version*",
        side::server,
        {{{"SERVER_VERSION 2", "SERVER_VERSION 1", "resume_with_other_version.v1"}}},
        "a channel goes on with the version that it was opened with; the reference answers with another and fails"},

    // ---- client
    difference{"fake_key_not_on_curve*",
               side::client,
               {{{"hangs up", "ERROR BAD_TRANSACTION", "fake_key_not_on_curve.v2"}}},
               "the reference dies silently of a key that is none; we say why, then end"},
    difference{"client_insufficient_money*",
               side::client,
               {{{"hangs up", "ERROR OTHER", "client_insufficient_money.v1|client_insufficient_money.v2"}}},
               "the reference dies silently when its wallet cannot pay; we say why, then end"},
    difference{"fake_min_payment_*",
               side::client,
               {{{"ERROR MIN_PAYMENT_TOO_LARGE *", "PROVIDE_REFUND", "fake_min_payment_999.v1|fake_min_payment_1001.v1",
                  parts},
                 {"ERROR MIN_PAYMENT_TOO_LARGE *", "PROVIDE_CONTRACT",
                  "fake_min_payment_1001.v2|fake_min_payment_5460.v2", parts}}},
               "a minimum payment up to a limit is accepted, not one's own value alone"},
    difference{"resume*|mitm_payment_lost_then_resume*",
               side::client,
               {{{"", "UPDATE_PAYMENT again",
                  "resume.v1|resume.v2|resume_after_restart_of_both.v2|mitm_payment_lost_then_resume.v1|"
                  "mitm_payment_lost_then_resume.v2"}}},
               "amounts are reconciled when a channel is resumed: with a server that does not tell, by the last "
               "payment again"},
    difference{"resume_with_other_version*",
               side::client,
               {{{"CLIENT_VERSION * to resume", "CLIENT_VERSION * to resume", "resume_with_other_version.v1", parts}}},
               "we ask for the version that the channel was opened with"},
};

/// Calls f(word) for each part of "a|b|c".
template <class F>
constexpr void each_of(std::string_view list, F&& f) {
    for (;;) {
        const auto bar = list.find('|');
        f(list.substr(0, bar));
        if (bar == std::string_view::npos) return;
        list.remove_prefix(bar + 1);
    }
}

/// No change is allowed that nobody has seen: what no session needs would only hide bugs.
static_assert([] {
    for (const difference& d : differences)
        for (const change& c : d.changes)
            if (c.is_set() && c.seen_in.empty()) return false;
    return true;
}());

}  // namespace replay
