// Which rules a script is held to.
#pragma once

#include <cstdint>

namespace paychan {

/// A set of rules; join them with |.  Source  Bitcoin Core interpreter.h SCRIPT_VERIFY_*.
enum class script_flags : std::uint32_t {
    none = 0,
    p2sh = 1U << 0,                        ///< BIP16
    strictenc = 1U << 1,                   ///< signatures strict DER with a known hash type, keys no hybrids
    dersig = 1U << 2,                      ///< BIP66
    low_s = 1U << 3,                       ///< BIP62 rule 5
    nulldummy = 1U << 4,                   ///< BIP147
    sigpushonly = 1U << 5,                 ///< BIP62 rule 2
    minimaldata = 1U << 6,                 ///< BIP62 rules 3 and 4
    discourage_upgradable_nops = 1U << 7,  ///< policy
    cleanstack = 1U << 8,                  ///< BIP62 rule 6; brings p2sh and witness with it
    checklocktimeverify = 1U << 9,         ///< BIP65
    checksequenceverify = 1U << 10,        ///< BIP112
    witness = 1U << 11,                    ///< BIP141, version 0; brings p2sh with it
    discourage_upgradable_witness_program = 1U << 12,  ///< policy; here version 1 (taproot) is among them
    minimalif = 1U << 13,                              ///< policy, witness version 0
    nullfail = 1U << 14,                               ///< BIP146
    witness_pubkeytype = 1U << 15,                     ///< policy: compressed keys only, witness version 0
    const_scriptcode = 1U << 16,                       ///< policy: no CODESEPARATOR and no FindAndDelete, not witness
};

[[nodiscard]] constexpr script_flags operator|(script_flags a, script_flags b) {
    return static_cast<script_flags>(static_cast<std::uint32_t>(a) | static_cast<std::uint32_t>(b));
}
[[nodiscard]] constexpr script_flags operator&(script_flags a, script_flags b) {
    return static_cast<script_flags>(static_cast<std::uint32_t>(a) & static_cast<std::uint32_t>(b));
}

/// True if any rule of `b` is in `a`.
[[nodiscard]] constexpr bool has(script_flags a, script_flags b) { return (a & b) != script_flags::none; }

/// What a block must keep today, taproot aside.
inline constexpr script_flags consensus_flags = script_flags::p2sh | script_flags::dersig | script_flags::nulldummy |
                                                script_flags::checklocktimeverify | script_flags::checksequenceverify |
                                                script_flags::witness;

/// What nodes ask of a transaction that they relay, taproot aside.  Core policy.h STANDARD_SCRIPT_VERIFY_FLAGS.
inline constexpr script_flags standard_flags =
    consensus_flags | script_flags::strictenc | script_flags::low_s | script_flags::minimaldata |
    script_flags::discourage_upgradable_nops | script_flags::cleanstack |
    script_flags::discourage_upgradable_witness_program | script_flags::minimalif | script_flags::nullfail |
    script_flags::witness_pubkeytype | script_flags::const_scriptcode;

}  // namespace paychan
