// What the script language says of operations before any is executed: limits, disabled ones, arguments.
#pragma once

#include "paychan/bitcoin/script.hpp"

namespace paychan::detail {

inline constexpr std::size_t max_operations = 201;        // consensus, pushes not counted
inline constexpr std::size_t max_multisig_keys = 20;      // consensus
inline constexpr std::uint32_t time_locks = 500'000'000;  // lock times from here on are times, below heights
inline constexpr std::uint32_t sequence_off = 1U << 31;   // BIP68: no relative lock
inline constexpr std::uint32_t sequence_time = 1U << 22;  // BIP68: the lock is a time
inline constexpr std::uint32_t sequence_mask = 0x0000'ffff;

/// Disabled since 2010, also where it is not executed (CVE-2010-5137).
[[nodiscard]] inline bool is_disabled(std::uint8_t code) {
    switch (code) {
        case op_cat:
        case op_substr:
        case op_left:
        case op_right:
        case op_invert:
        case op_and:
        case op_or:
        case op_xor:
        case op_2mul:
        case op_2div:
        case op_mul:
        case op_div:
        case op_mod:
        case op_lshift:
        case op_rshift: return true;
        default: return false;
    }
}

/// A push, compared with the one that `push` would have chosen.
[[nodiscard]] inline bool is_minimal(const script_operation& op) {
    const std::size_t size = op.data.size();
    if (size == 0) return op.code == op_0;
    if (size == 1 && ((op.data[0] >= 1 && op.data[0] <= 16) || op.data[0] == 0x81)) return false;
    if (size < op_pushdata1) return op.code == size;
    return op.code == (size <= 0xff ? op_pushdata1 : op_pushdata2);
}

/// Items that an operation wants on the stack, of those that rearrange it.
[[nodiscard]] inline std::size_t items_needed(std::uint8_t code) {
    switch (code) {
        case op_toaltstack:
        case op_ifdup:
        case op_drop:
        case op_dup: return 1;
        case op_2drop:
        case op_2dup:
        case op_nip:
        case op_over:
        case op_pick:
        case op_roll:
        case op_swap:
        case op_tuck: return 2;
        case op_3dup:
        case op_rot: return 3;
        case op_2over:
        case op_2swap: return 4;
        case op_2rot: return 6;
        default: return 0;
    }
}

}  // namespace paychan::detail
