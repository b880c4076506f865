// May this input spend that output?  The rules of legacy, P2SH and SegWit version 0 scripts.
#pragma once

#include "paychan/bitcoin/script_machine.hpp"

namespace paychan {

namespace detail {

/// One input's judgement, with its 60 KB of stack items.
class spend_judge {
public:
    spend_judge(const spending& spend, script_flags flags) : spend_(spend), flags_(flags) {
        if (has(script_flags::cleanstack)) flags_ = flags_ | script_flags::witness;
        if (has(script_flags::witness)) flags_ = flags_ | script_flags::p2sh;
    }

    /// Bitcoin Core VerifyScript.
    [[nodiscard]] script_error judge(bytes_view script_sig, bytes_view script_pubkey, bytes_view witness) {
        if (has(script_flags::sigpushonly) && !is_push_only(script_sig)) return script_error::sig_pushonly;
        if (const auto e = run(script_sig, script_version::legacy); e != script_error::ok) return e;
        const stack_item redeem = stack_.size() > 0 ? stack_.top() : stack_item::holding({});
        if (const auto e = run(script_pubkey, script_version::legacy); e != script_error::ok) return e;
        if (stack_.size() == 0 || !stack_.top().is_true()) return script_error::eval_false;

        bool had_witness = false;
        if (has(script_flags::witness)) {
            if (const auto program = match_witness_program(script_pubkey)) {
                had_witness = true;
                if (!script_sig.empty()) return script_error::witness_malleated;
                if (const auto e = run_witness(*program, witness); e != script_error::ok) return e;
            }
        }
        if (has(script_flags::p2sh) && match_p2sh(script_pubkey)) {
            if (!is_push_only(script_sig)) return script_error::sig_pushonly;
            // The script_pubkey has turned the redeem script on top into its verdict; all below is as script_sig left
            // it.
            stack_.pop();
            if (const auto e = run(redeem.view(), script_version::legacy); e != script_error::ok) return e;
            if (stack_.size() == 0 || !stack_.top().is_true()) return script_error::eval_false;
            if (has(script_flags::witness)) {
                if (const auto program = match_witness_program(redeem.view())) {
                    had_witness = true;
                    // A witness program is 4 to 42 bytes: the only push allowed is one length byte and itself.
                    if (script_sig.size() != redeem.view().size() + 1 || script_sig[0] != redeem.view().size())
                        return script_error::witness_malleated_p2sh;
                    if (const auto e = run_witness(*program, witness); e != script_error::ok) return e;
                }
            }
        }
        if (has(script_flags::cleanstack) && stack_.size() != 1) return script_error::cleanstack;
        if (has(script_flags::witness) && !had_witness && !witness.empty() && witness[0] != 0)
            return script_error::witness_unexpected;
        return script_error::ok;
    }

private:
    [[nodiscard]] bool has(script_flags f) const { return paychan::has(flags_, f); }

    [[nodiscard]] static bool is_push_only(bytes_view script) {
        script_reader ops(script);
        while (const auto op = ops.next())
            if (op->code > op_16) return false;
        return ops.ok();
    }

    [[nodiscard]] script_error run(bytes_view script, script_version version) {
        return script_machine(stack_, spend_, flags_, version).run(script);
    }

    /// Bitcoin Core VerifyWitnessProgram.  Leaves one item, whatever it ran.
    [[nodiscard]] script_error run_witness(const witness_program& program, bytes_view witness) {
        const script_error e = program.version == 0 ? run_version_0(program.program, witness)
                               : has(script_flags::discourage_upgradable_witness_program)
                                   ? script_error::discourage_upgradable_witness_program
                                   : script_error::ok;  // anyone can spend what a later soft fork will guard
        stack_.clear();
        stack_.push(true);
        return e;
    }

    [[nodiscard]] script_error run_version_0(bytes_view program, bytes_view witness) {
        reader items(witness);
        const std::uint64_t count = witness.empty() ? 0 : items.compact_size();
        bytes_view script;
        script_buffer key_script;
        std::uint64_t arguments = count;
        stack_.clear();
        if (program.size() == 32) {
            if (count == 0) return script_error::witness_program_witness_empty;
            --arguments;
        } else if (program.size() == 20) {
            if (count != 2) return script_error::witness_program_mismatch;
            key_script = p2pkh_script(hash_at(program, 0));
            script = key_script.view();
        } else {
            return script_error::witness_program_wrong_length;
        }

        bool too_long = false;
        for (std::uint64_t i = 0; i < arguments && items.ok(); ++i) {
            const bytes_view item = items.sized_bytes();
            too_long = too_long || item.size() > max_push_size;
            if (stack_.size() + 4 > script_stack::capacity) return script_error::stack_size;
            stack_.push(stack_item::viewing(item));
        }
        if (program.size() == 32) script = items.sized_bytes();
        if (!items.done()) return script_error::unknown_error;
        if (program.size() == 32 && !equal(sha256(script), program)) return script_error::witness_program_mismatch;
        if (too_long) return script_error::push_size;

        if (const auto e = run(script, script_version::witness_v0); e != script_error::ok) return e;
        if (stack_.size() != 1) return script_error::cleanstack;  // consensus here, not policy
        return stack_.top().is_true() ? script_error::ok : script_error::eval_false;
    }

    spending spend_;
    script_flags flags_;
    script_stack stack_;
};

}  // namespace detail

/// The verdict with the reason that Bitcoin Core gives.
/// script_sig, witness  of the input, or what is tried in their place; witness as in tx_input
/// script_pubkey, value of the output that it spends [satoshi]
/// flags                consensus_flags for what a block may hold, standard_flags for what nodes relay
/// Fails                invalid_argument (tx has no such input)
/// Memory               about 75 KB of stack, no heap.  Taproot is not looked into: see script_flags.
[[nodiscard]] inline result<script_error> judge_script(bytes_view script_sig, bytes_view script_pubkey,
                                                       bytes_view witness, const transaction& tx, std::size_t input,
                                                       satoshi value, script_flags flags) {
    const auto spent_by = tx.input(input);
    if (!spent_by) return fail(errc::invalid_argument, "the transaction has no input of that index");
    detail::spend_judge judge(detail::spending{tx, input, *spent_by, value}, flags);
    return judge.judge(script_sig, script_pubkey, witness);
}

/// The same as a result.  Fails  bad_transaction (the script says no; the text says why), invalid_argument.
[[nodiscard]] inline result<void> verify_script(bytes_view script_sig, bytes_view script_pubkey, bytes_view witness,
                                                const transaction& tx, std::size_t input, satoshi value,
                                                script_flags flags) {
    PAYCHAN_TRY(const script_error verdict, judge_script(script_sig, script_pubkey, witness, tx, input, value, flags));
    if (verdict != script_error::ok) return fail(errc::bad_transaction, message(verdict));
    return {};
}

/// Input `input` of `tx`, as it stands, spends `spent`.  Fails  as verify_script.
[[nodiscard]] inline result<void> verify_input(const transaction& tx, std::size_t input, const tx_output& spent,
                                               script_flags flags) {
    PAYCHAN_TRY(const tx_input in, tx.input(input));
    return verify_script(in.script_sig, spent.script_pubkey, in.witness, tx, input, spent.value, flags);
}

}  // namespace paychan
