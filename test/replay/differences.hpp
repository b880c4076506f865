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
    /// What else holds of it: nothing; the conversations have parted, so that what follows in this session cannot be
    /// compared; or but for the signatures, which verify, the two are the same.
    enum class more : std::uint8_t { nothing, parts, same_but_signed } also = more::nothing;
};
inline constexpr auto parts = change::more::parts;
inline constexpr auto same_but_signed = change::more::same_but_signed;

struct difference {
    std::string_view sessions;  ///< to which it may come: names with *, with | between them
    side who{};
    std::array<change, 4> changes{};
    std::string_view reason;
    /// Sessions in which it must come, when they are played: or the entry is stale.
    std::array<std::string_view, 4> seen_in{};
};

inline constexpr std::array differences{
    // ---- server
    difference{
        "*",
        side::server,
        {{{"hangs up", "ERROR SYNTAX_ERROR"}, {"hangs up", "ERROR BAD_TRANSACTION"}, {"hangs up", "ERROR TIMEOUT"}}},
        "the reference dies silently of some messages; we always say why, then end",
        {"raw_update_before_open.v2", "raw_close_after_version.v1", "raw_pay_negative.v2", "raw_partial_frame.v2"}},
    difference{"raw_initial_one*|raw_initial_zero*|raw_settle_zero_paid*",
               side::server,
               {{{"CHANNEL_OPEN", "ERROR BAD_TRANSACTION", parts}}},
               "we enforce our minimum payment",
               {"raw_initial_one.v1", "raw_initial_one.v2", "raw_initial_zero.v2", "raw_settle_zero_paid.v2"}},
    difference{"raw_contract_below_min*",
               side::server,
               {{{"CHANNEL_OPEN", "ERROR BAD_TRANSACTION", parts}}},
               "we enforce our minimum channel size",
               {"raw_contract_below_min.v2"}},
    difference{"raw_contract_trailing_byte*",
               side::server,
               {{{"CHANNEL_OPEN", "ERROR BAD_TRANSACTION", parts}}},
               "bytes behind a transaction are not part of it, and no node would take them",
               {"raw_contract_trailing_byte.v1"}},
    difference{"raw_refund_other_contract*",
               side::server,
               {{{"CHANNEL_OPEN", "ERROR BAD_TRANSACTION", parts}}},
               "the refund that we signed must spend the contract that follows",
               {"raw_refund_other_contract.v1"}},
    difference{"raw_initial_bad_sig*|raw_settle_after_bad_initial*",
               side::server,
               {{{"broadcasts the contract", ""}, {"CHANNEL_OPEN", "INITIATE", parts}}},
               "a channel whose first payment is bad is neither broadcast nor stored",
               {"raw_initial_bad_sig.v1", "raw_settle_after_bad_initial.v1"}},
    difference{"*high_s*",
               side::server,
               {{{"CLOSE with settlement", "CLOSE with settlement", same_but_signed},
                 {"broadcasts a settlement", "broadcasts a settlement", same_but_signed},
                 {"hangs up", "CLOSE with settlement"},
                 {"", "broadcasts a settlement"}}},
               "a high S is made low before it is stored, or no node would relay the settlement",
               {"raw_settle_high_s.v1", "p2p_high_s.v1.p2p", "p2p_high_s.v2.p2p"}},
    difference{"settle_fee_too_high*|settle_server_adds_input*",
               side::server,
               {{{"ERROR BAD_TRANSACTION", "CLOSE with settlement"}, {"", "broadcasts a settlement"}}},
               "where the fee is above what was paid, the reference loses all; we pay the most that the payments bear",
               {"settle_fee_too_high.v1", "settle_server_adds_input.v2"}},
    difference{"*",
               side::server,
               {{{"CLOSE", "CLOSE with settlement"}}},
               "the settlement is in the CLOSE that the server begins, too",
               {"server_settle.v1", "autoclose.v1", "autoclose.v2"}},
    difference{
        "resume_with_other_version*",
        side::server,
        {{{"SERVER_VERSION 2", "SERVER_VERSION 1"}, {"SERVER_VERSION 1", "ERROR NO_ACCEPTABLE_VERSION", parts}}},
        "a channel goes on with the version that it was opened with; the reference answers with another and fails",
        {"resume_with_other_version.v1"}},

    // ---- client
    difference{"*",
               side::client,
               {{{"hangs up", "ERROR BAD_TRANSACTION"}, {"hangs up", "ERROR OTHER"}}},
               "the reference dies silently of some messages; we always say why, then end",
               {"fake_key_not_on_curve.v2", "client_insufficient_money.v1", "client_insufficient_money.v2"}},
    difference{"*",
               side::client,
               {{{"ERROR MIN_PAYMENT_TOO_LARGE *", "PROVIDE_REFUND", parts},
                 {"ERROR MIN_PAYMENT_TOO_LARGE *", "PROVIDE_CONTRACT", parts}}},
               "a minimum payment up to a limit is accepted, not one's own value alone",
               {"fake_min_payment_999.v1", "fake_min_payment_1001.v1", "fake_min_payment_1001.v2",
                "fake_min_payment_5460.v2"}},
    difference{"fake_expire_*",
               side::client,
               {{{"PROVIDE_REFUND", "ERROR TIME_WINDOW_UNACCEPTABLE", parts},
                 {"PROVIDE_CONTRACT", "ERROR TIME_WINDOW_UNACCEPTABLE", parts}}},
               "an expiry that is past or too near to be useful is refused"},
    difference{"*",
               side::client,
               {{{"", "UPDATE_PAYMENT again"}}},
               "amounts are reconciled when a channel is resumed: with a server that does not tell, by the last "
               "payment again",
               {"resume.v1", "resume.v2", "mitm_payment_lost_then_resume.v1", "resume_after_restart_of_both.v2"}},
    difference{"resume_with_other_version*",
               side::client,
               {{{"CLIENT_VERSION * to resume", "CLIENT_VERSION * to resume", parts}}},
               "we ask for the version that the channel was opened with",
               {"resume_with_other_version.v1"}},
};

}  // namespace replay
