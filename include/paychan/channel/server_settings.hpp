// What a server demands of its clients, and when it settles.
#pragma once

#include <optional>

#include "paychan/channel/contract.hpp"
#include "paychan/channel/fee_engine.hpp"

namespace paychan {

/// What becomes of a CLOSE on a resumed channel by a peer that has shown no signature on this connection.
enum class unproven_close_rule : std::uint8_t {
    leaves_open,  ///< the connection ends; the channel goes on
    settles,      ///< as in the reference: anyone who knows the contract's txid can have it settled
};

/// What the server demands.
struct server_settings {
    satoshi min_channel{100'000};  ///< [satoshi] the smallest contract
    satoshi min_payment{1'000};    ///< [satoshi] the least first payment; raised to what a settlement costs
    /// [satoshi] Releases of bitcoinj take one min_payment each.  One that a peer asked for is demanded in its place,
    /// if it lies in this range and a settlement costs no more.  Not set: no less than min_payment.
    std::optional<satoshi> lowest_min_payment{};
    satoshi highest_min_payment{10'000};
    std::int64_t min_window = 14'400;    ///< [s] 4 h; what is asked for is clamped to these two
    std::int64_t max_window = 604'800;   ///< [s] 7 d
    std::int64_t settle_margin = 7'200;  ///< [s] before the expiry; from there on it settles and takes no payments
    fee_budget fees{};                   ///< what settlements may cost
    /// [blocks] that hold a contract, before a payment is taken on it.  This and the next are asked of the server_monitor: see
    /// may_take() in server.hpp.
    std::int32_t min_confirmations = 0;
    /// [satoshi] paid on all contracts together that are in no block: what clients who spend the same coins otherwise can take.
    satoshi max_unconfirmed{max_money};
    unproven_close_rule unproven_close = unproven_close_rule::leaves_open;
    version_set versions = version_set::all();  ///< that a new channel may have
};

/// [s] by which every window is longer than the margin: room to open and to pay.
inline constexpr std::int64_t shortest_life = 600;

/// When the server settles by itself.
[[nodiscard]] inline unix_time settlement_deadline(unix_time expiry, std::int64_t settle_margin) {
    return expiry + -settle_margin;
}
[[nodiscard]] inline unix_time settlement_deadline(const channel_record& record, const server_settings& settings) {
    return settlement_deadline(record.terms.expiry, settings.settle_margin);
}

}  // namespace paychan
