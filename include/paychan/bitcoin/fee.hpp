// Fees and dust: what a transaction costs, and which outputs are too small for the network to relay.
#pragma once

#include "paychan/bitcoin/script.hpp"
#include "paychan/core/satoshi.hpp"

namespace paychan {

/// What a transaction pays for its size [sat/kvB: satoshi for 1,000 virtual bytes].
struct fee_rate {
    std::int64_t sat_per_kvb = 0;
    friend constexpr auto operator<=>(fee_rate, fee_rate) = default;
};

inline constexpr fee_rate min_relay_fee_rate{1000};   // [sat/kvB] Core's default of -minrelaytxfee
inline constexpr fee_rate dust_relay_fee_rate{3000};  // [sat/kvB] Core's default of -dustrelayfee
inline constexpr satoshi p2pkh_dust{546};             // [satoshi] dust_limit of a P2PKH output
inline constexpr satoshi refund_fee{1000};            // [satoshi] rule of the protocol: contract value minus refund

/// The fee of a transaction of `vsize` [virtual bytes], rounded up.
/// Fails   out_of_range (the rate is negative, or the fee is above 21 million coins).
[[nodiscard]] constexpr result<satoshi> fee_for(fee_rate rate, std::size_t vsize) {
    std::uint64_t product = 0;
    if (rate.sat_per_kvb < 0) return fail(errc::out_of_range, "a fee rate is not negative");
    if (__builtin_mul_overflow(static_cast<std::uint64_t>(rate.sat_per_kvb), std::uint64_t{vsize}, &product))
        return fail(errc::out_of_range, "the fee is above 21 million coins");
    return money(product / 1000 + (product % 1000 != 0 ? 1 : 0));
}

/// The least value [satoshi] that nodes relay in an output with this script; less is dust.
/// Source  Bitcoin Core GetDustThreshold: the output and the input that will spend it at dust_relay_fee_rate.
///         546 P2PKH, 540 P2SH, 294 P2WPKH, 330 P2WSH and P2TR; 0 for what can never be spent.
[[nodiscard]] inline satoshi dust_limit(bytes_view script_pubkey) {
    const std::size_t size = script_pubkey.size();
    if (size > max_script_size || (size > 0 && script_pubkey[0] == op_return)) return satoshi{0};
    const std::size_t count_size = size < 0xfd ? 1 : 3;
    // Prevout, size, sequence: 41; then a signature and a key, 107 bytes, of which a witness weighs a quarter.
    const std::size_t input_size = match_witness_program(script_pubkey) ? 41 + 107 / 4 : 41 + 107;
    const std::size_t spent = 8 + count_size + size + input_size;
    return satoshi{dust_relay_fee_rate.sat_per_kvb * static_cast<std::int64_t>(spent) / 1000};
}

}  // namespace paychan
