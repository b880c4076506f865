// What nodes ask of a transaction before they relay it, beyond that it is valid: the standard forms of Bitcoin Core.
#pragma once

#include <optional>
#include <string_view>

#include "paychan/bitcoin/check.hpp"
#include "paychan/bitcoin/fee.hpp"
#include "paychan/bitcoin/interpreter.hpp"
#include "paychan/core/unix_time.hpp"

namespace paychan {

/// Some nodes refuse the bare multisig contract of protocol version 1 (Core: -permitbaremultisig=0).
enum class bare_multisig : std::uint8_t { relayed, refused };

enum class script_form : std::uint8_t { non_standard, key, key_hash, script_hash, multisig, witness, data };

/// Source  Bitcoin Core Solver and IsStandard.
[[nodiscard]] inline script_form form_of(bytes_view script) {
    const auto is_key = [](bytes_view k) { return k.size() == 33 || k.size() == 65; };
    if (match_witness_program(script)) return script_form::witness;
    if (match_p2pkh(script)) return script_form::key_hash;
    if (match_p2sh(script)) return script_form::script_hash;
    if (script.size() > 1 && script.back() == op_checksig && script.size() == script[0] + std::size_t{2} &&
        is_key(script.subspan(1, script[0])))
        return script_form::key;
    if (!script.empty() && script[0] == op_return && script.size() <= 83) return script_form::data;
    // m <key>... n CHECKMULTISIG with at most 3 keys.
    if (script.size() < 3 || script.back() != op_checkmultisig) return script_form::non_standard;
    reader keys(script.subspan(1, script.size() - 3));
    int count = 0;
    while (keys.ok() && keys.remaining() > 0)
        if (is_key(keys.bytes(keys.u8())))
            ++count;
        else
            return script_form::non_standard;
    const int wanted = script[0] - (op_1 - 1);
    const int given = script[script.size() - 2] - (op_1 - 1);
    if (!keys.done() || given != count || count > 3 || wanted < 1 || wanted > count) return script_form::non_standard;
    return script_form::multisig;
}

/// Why nodes do not relay this transaction, in Core's words; nothing when they do.  Looks at the transaction alone.
/// Source  Bitcoin Core IsStandardTx.
[[nodiscard]] inline std::optional<std::string_view> not_standard(const transaction& tx, bare_multisig multisig) {
    constexpr std::size_t max_weight = 400'000;    // [weight units]
    constexpr std::size_t max_script_sig = 1650;   // [bytes]
    constexpr std::size_t min_stripped_size = 65;  // [bytes] against CVE-2017-12842; 82 in older releases
    if (tx.version() < 1 || tx.version() > 2) return "version";
    if (tx.weight() > max_weight) return "tx-size";
    for (const tx_input& in : tx.inputs()) {
        if (in.script_sig.size() > max_script_sig) return "scriptsig-size";
        script_reader ops(in.script_sig);
        while (const auto op = ops.next())
            if (op->code > op_16) return "scriptsig-not-pushonly";
        if (!ops.ok()) return "scriptsig-not-pushonly";
    }
    std::size_t data_outputs = 0;
    for (const tx_output& out : tx.outputs()) {
        const script_form form = form_of(out.script_pubkey);
        if (form == script_form::non_standard) return "scriptpubkey";
        if (form == script_form::multisig && multisig == bare_multisig::refused) return "bare-multisig";
        if (form == script_form::data)
            ++data_outputs;
        else if (out.value < dust_limit(out.script_pubkey))
            return "dust";
    }
    if (data_outputs > 1) return "multi-op-return";
    if (tx.stripped_size() < min_stripped_size) return "tx-size-small";
    return std::nullopt;
}

/// True when the lock time allows the transaction into a block at `height` whose predecessor has this median time.
/// Source  Bitcoin Core IsFinalTx, BIP113.
[[nodiscard]] inline bool is_final(const transaction& tx, std::int32_t height, unix_time median_time) {
    constexpr std::uint32_t first_time = 500'000'000;  // below: a height; from here: a time
    const std::uint32_t lock = tx.lock_time();
    const std::int64_t now = lock < first_time ? height : median_time.seconds;
    if (lock < now) return true;
    for (const tx_input& in : tx.inputs())
        if (in.sequence != final_sequence) return false;
    return true;
}

}  // namespace paychan
