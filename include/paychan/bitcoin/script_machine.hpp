// Executes one script on a stack: every operation of Bitcoin's script language.
#pragma once

#include "paychan/bitcoin/script_rules.hpp"
#include "paychan/bitcoin/script_stack.hpp"
#include "paychan/bitcoin/sha1.hpp"
#include "paychan/bitcoin/signature_check.hpp"

namespace paychan::detail {

/// Bitcoin Core EvalScript, for legacy and witness version 0.
class script_machine {
public:
    script_machine(script_stack& stack, const spending& spend, script_flags flags, script_version version)
        : stack_(stack), spend_(spend), flags_(flags), version_(version) {}

    /// Runs a script to its end.  What the stack holds then is the caller's to judge.
    [[nodiscard]] script_error run(bytes_view script) {
        if (script.size() > max_script_size) return script_error::script_size;
        stack_.clear_alternative();
        script_ = script;
        code_start_ = 0;
        operations_ = 0;
        conditions_ = {};

        script_reader ops(script);
        while (const auto op = ops.next()) {
            position_ = ops.position();
            const script_error e = step(*op);
            if (e != script_error::ok) return e;
            if (stack_.too_large()) return script_error::stack_size;
        }
        if (!ops.ok()) return script_error::bad_opcode;
        return conditions_.empty() ? script_error::ok : script_error::unbalanced_conditional;
    }

private:
    [[nodiscard]] bool has(script_flags f) const { return paychan::has(flags_, f); }

    [[nodiscard]] result<std::int64_t> number(std::size_t depth, std::size_t max_size = 4) {
        return decode_script_number(stack_.top(depth).view(), max_size,
                                    has(script_flags::minimaldata) ? number_encoding::minimal : number_encoding::any);
    }

    /// The limits that hold for every operation, executed or not; then the operation.
    [[nodiscard]] script_error step(const script_operation& op) {
        if (op.data.size() > max_push_size) return script_error::push_size;
        if (op.code > op_16 && ++operations_ > max_operations) return script_error::op_count;
        if (is_disabled(op.code)) return script_error::disabled_opcode;  // CVE-2010-5137
        if (op.code == op_codeseparator && version_ == script_version::legacy && has(script_flags::const_scriptcode))
            return script_error::op_codeseparator;

        const bool is_condition = op.code >= op_if && op.code <= op_endif;
        if (!conditions_.all_true() && !is_condition) return script_error::ok;
        if (op.code <= op_pushdata4) {
            if (has(script_flags::minimaldata) && !is_minimal(op)) return script_error::minimaldata;
            stack_.push(stack_item::viewing(op.data));
            return script_error::ok;
        }
        if (op.code == op_1negate || (op.code >= op_1 && op.code <= op_16)) {
            stack_.push_number(op.code - (op_1 - 1));
            return script_error::ok;
        }
        if (op.code >= op_nop && op.code <= op_return) return control(op.code);
        if (op.code >= op_toaltstack && op.code <= op_tuck) return rearrange(op.code);
        if (op.code >= op_size && op.code <= op_equalverify) return compare(op.code);
        if (op.code >= op_1add && op.code <= op_within) return calculate(op.code);
        if (op.code >= op_ripemd160 && op.code <= op_hash256) return hash(op.code);
        if (op.code >= op_codeseparator && op.code <= op_checkmultisigverify) return sign(op.code);
        if (op.code >= op_nop1 && op.code <= op_nop10) return lock(op.code);
        return script_error::bad_opcode;
    }

    [[nodiscard]] script_error control(std::uint8_t code) {
        switch (code) {
            case op_nop: return script_error::ok;
            case op_if:
            case op_notif: {
                bool taken = false;
                if (conditions_.all_true()) {
                    if (stack_.size() < 1) return script_error::unbalanced_conditional;
                    const bytes_view value = stack_.top().view();
                    if (version_ == script_version::witness_v0 && has(script_flags::minimalif) &&
                        (value.size() > 1 || (value.size() == 1 && value[0] != 1)))
                        return script_error::minimalif;
                    taken = stack_.top().is_true() == (code == op_if);
                    stack_.pop();
                }
                conditions_.enter(taken);
                return script_error::ok;
            }
            case op_else:
                if (conditions_.empty()) return script_error::unbalanced_conditional;
                conditions_.toggle();
                return script_error::ok;
            case op_endif:
                if (conditions_.empty()) return script_error::unbalanced_conditional;
                conditions_.leave();
                return script_error::ok;
            case op_verify:
                if (stack_.size() < 1) return script_error::invalid_stack_operation;
                if (!stack_.top().is_true()) return script_error::verify;
                stack_.pop();
                return script_error::ok;
            case op_return: return script_error::op_return;
            default: return script_error::bad_opcode;
        }
    }

    [[nodiscard]] script_error rearrange(std::uint8_t code) {
        if (stack_.size() < items_needed(code)) return script_error::invalid_stack_operation;
        const auto copy = [this](std::size_t depth) { stack_.push(stack_item{stack_.top(depth)}); };
        switch (code) {
            case op_toaltstack: stack_.to_alternative(); break;
            case op_fromaltstack:
                if (stack_.alternative_size() < 1) return script_error::invalid_altstack_operation;
                stack_.from_alternative();
                break;
            case op_2drop: stack_.pop(2); break;
            case op_2dup:
                copy(2);
                copy(2);
                break;
            case op_3dup:
                copy(3);
                copy(3);
                copy(3);
                break;
            case op_2over:
                copy(4);
                copy(4);
                break;
            case op_2rot:
                stack_.push(stack_.remove(6));
                stack_.push(stack_.remove(6));
                break;
            case op_2swap:
                stack_.push(stack_.remove(4));
                stack_.push(stack_.remove(4));
                break;
            case op_ifdup:
                if (stack_.top().is_true()) copy(1);
                break;
            case op_depth: stack_.push_number(static_cast<std::int64_t>(stack_.size())); break;
            case op_drop: stack_.pop(); break;
            case op_dup: copy(1); break;
            case op_nip: stack_.remove(2); break;
            case op_over: copy(2); break;
            case op_pick:
            case op_roll: {
                const auto n = number(1);
                if (!n) return script_error::unknown_error;
                stack_.pop();
                if (*n < 0 || static_cast<std::uint64_t>(*n) >= stack_.size())
                    return script_error::invalid_stack_operation;
                const std::size_t depth = static_cast<std::size_t>(*n) + 1;
                if (code == op_pick)
                    copy(depth);
                else
                    stack_.push(stack_.remove(depth));
                break;
            }
            case op_rot: stack_.push(stack_.remove(3)); break;
            case op_swap: stack_.push(stack_.remove(2)); break;
            case op_tuck: stack_.insert_below(2, stack_item{stack_.top()}); break;
            default: return script_error::bad_opcode;
        }
        return script_error::ok;
    }

    [[nodiscard]] script_error compare(std::uint8_t code) {
        if (code == op_size) {
            if (stack_.size() < 1) return script_error::invalid_stack_operation;
            stack_.push_number(static_cast<std::int64_t>(stack_.top().view().size()));
            return script_error::ok;
        }
        if (code != op_equal && code != op_equalverify) return script_error::bad_opcode;
        if (stack_.size() < 2) return script_error::invalid_stack_operation;
        const bool same = equal(stack_.top(1).view(), stack_.top(2).view());
        stack_.pop(2);
        return conclude(same, code == op_equalverify, script_error::equalverify);
    }

    /// Pushes a verdict; the form with VERIFY wants it true and pushes nothing.
    [[nodiscard]] script_error conclude(bool verdict, bool verify, script_error otherwise) {
        if (!verify)
            stack_.push(verdict);
        else if (!verdict)
            return otherwise;
        return script_error::ok;
    }

    [[nodiscard]] script_error calculate(std::uint8_t code) {
        const std::size_t arguments = code <= op_0notequal ? 1 : code == op_within ? 3 : 2;
        if (stack_.size() < arguments) return script_error::invalid_stack_operation;
        std::array<std::int64_t, 3> n{};
        for (std::size_t i = 0; i < arguments; ++i) {
            const auto value = number(arguments - i);
            if (!value) return script_error::unknown_error;
            n[i] = *value;
        }
        stack_.pop(arguments);

        const auto [a, b, c] = n;  // 32-bit magnitudes: no sum overflows
        switch (code) {
            case op_1add: stack_.push_number(a + 1); break;
            case op_1sub: stack_.push_number(a - 1); break;
            case op_negate: stack_.push_number(-a); break;
            case op_abs: stack_.push_number(a < 0 ? -a : a); break;
            case op_not: stack_.push_number(a == 0); break;
            case op_0notequal: stack_.push_number(a != 0); break;
            case op_add: stack_.push_number(a + b); break;
            case op_sub: stack_.push_number(a - b); break;
            case op_booland: stack_.push_number(a != 0 && b != 0); break;
            case op_boolor: stack_.push_number(a != 0 || b != 0); break;
            case op_numequal: stack_.push_number(a == b); break;
            case op_numequalverify: return conclude(a == b, true, script_error::numequalverify);
            case op_numnotequal: stack_.push_number(a != b); break;
            case op_lessthan: stack_.push_number(a < b); break;
            case op_greaterthan: stack_.push_number(a > b); break;
            case op_lessthanorequal: stack_.push_number(a <= b); break;
            case op_greaterthanorequal: stack_.push_number(a >= b); break;
            case op_min: stack_.push_number(a < b ? a : b); break;
            case op_max: stack_.push_number(a > b ? a : b); break;
            case op_within: stack_.push(b <= a && a < c); break;
            default: return script_error::bad_opcode;
        }
        return script_error::ok;
    }

    [[nodiscard]] script_error hash(std::uint8_t code) {
        if (stack_.size() < 1) return script_error::invalid_stack_operation;
        const bytes_view data = stack_.top().view();
        stack_item out;
        switch (code) {
            case op_ripemd160: out = stack_item::holding(ripemd160(data)); break;
            case op_sha1: out = stack_item::holding(sha1(data)); break;
            case op_sha256: out = stack_item::holding(sha256(data)); break;
            case op_hash160: out = stack_item::holding(hash160(data)); break;
            default: out = stack_item::holding(hash256(data)); break;
        }
        stack_.top() = out;
        return script_error::ok;
    }

    [[nodiscard]] script_error sign(std::uint8_t code) {
        switch (code) {
            case op_codeseparator: code_start_ = position_; return script_error::ok;
            case op_checksig:
            case op_checksigverify: return check_signature(code == op_checksigverify);
            default: return check_multisig(code == op_checkmultisigverify);
        }
    }

    [[nodiscard]] script_error check_encodings(bytes_view signature, bytes_view key) const {
        const script_error e = check_signature_encoding(signature, flags_);
        return e != script_error::ok ? e : check_key_encoding(key, flags_, version_);
    }

    /// Takes the signature out of the script code, which witness scripts do not do.
    [[nodiscard]] script_error remove(legacy_script_code& code, bytes_view signature) const {
        if (version_ == script_version::legacy && code.remove(signature) && has(script_flags::const_scriptcode))
            return script_error::sig_findanddelete;
        return script_error::ok;
    }

    [[nodiscard]] script_error check_signature(bool verify) {
        if (stack_.size() < 2) return script_error::invalid_stack_operation;
        const bytes_view signature = stack_.top(2).view();
        const bytes_view key = stack_.top(1).view();
        legacy_script_code code(script_.subspan(code_start_));
        if (const auto e = remove(code, signature); e != script_error::ok) return e;
        if (const auto e = check_encodings(signature, key); e != script_error::ok) return e;
        const bool good = verify_in_script(signature, key, code.view(), spend_, version_);
        if (!good && has(script_flags::nullfail) && !signature.empty()) return script_error::nullfail;
        stack_.pop(2);
        return conclude(good, verify, script_error::checksigverify);
    }

    /// Stack, from the top: count of keys, keys, count of signatures, signatures, a dummy.
    [[nodiscard]] script_error check_multisig(bool verify) {
        if (stack_.size() < 1) return script_error::invalid_stack_operation;
        const auto key_count = number(1);
        if (!key_count) return script_error::unknown_error;
        if (*key_count < 0 || *key_count > std::int64_t{max_multisig_keys}) return script_error::pubkey_count;
        auto keys_left = static_cast<std::size_t>(*key_count);
        operations_ += keys_left;
        if (operations_ > max_operations) return script_error::op_count;
        std::size_t key = 2;  // depth
        const std::size_t count_depth = key + keys_left;
        if (stack_.size() < count_depth) return script_error::invalid_stack_operation;

        const auto signature_count = number(count_depth);
        if (!signature_count) return script_error::unknown_error;
        if (*signature_count < 0 || *signature_count > *key_count) return script_error::sig_count;
        auto signatures_left = static_cast<std::size_t>(*signature_count);
        std::size_t signature = count_depth + 1;  // depth
        const std::size_t dummy = signature + signatures_left;
        if (stack_.size() < dummy - 1) return script_error::invalid_stack_operation;

        legacy_script_code code(script_.subspan(code_start_));
        for (std::size_t depth = signature; depth < dummy; ++depth)
            if (const auto e = remove(code, stack_.top(depth).view()); e != script_error::ok) return e;

        bool good = true;
        while (good && signatures_left > 0) {
            const bytes_view s = stack_.top(signature).view();
            const bytes_view k = stack_.top(key).view();
            if (const auto e = check_encodings(s, k); e != script_error::ok) return e;
            if (verify_in_script(s, k, code.view(), spend_, version_)) {
                ++signature;
                --signatures_left;
            }
            ++key;
            --keys_left;
            good = signatures_left <= keys_left;  // signatures come in the order of the keys
        }

        if (!good && has(script_flags::nullfail))
            for (std::size_t depth = count_depth + 1; depth < dummy; ++depth)
                if (!stack_.top(depth).view().empty()) return script_error::nullfail;
        if (stack_.size() < dummy) return script_error::invalid_stack_operation;
        if (has(script_flags::nulldummy) && !stack_.top(dummy).view().empty()) return script_error::sig_nulldummy;
        stack_.pop(dummy);
        return conclude(good, verify, script_error::checkmultisigverify);
    }

    /// The NOPs, of which two have become locks.  Their argument stays on the stack.
    [[nodiscard]] script_error lock(std::uint8_t code) {
        const bool absolute = code == op_checklocktimeverify && has(script_flags::checklocktimeverify);
        const bool relative = code == op_checksequenceverify && has(script_flags::checksequenceverify);
        if (!absolute && !relative) {
            const bool was_nop = code == op_checklocktimeverify || code == op_checksequenceverify;
            return has(script_flags::discourage_upgradable_nops) && !was_nop ? script_error::discourage_upgradable_nops
                                                                             : script_error::ok;
        }
        if (stack_.size() < 1) return script_error::invalid_stack_operation;
        const auto argument = number(1, 5);  // 5 bytes: lock times are unsigned 32-bit numbers
        if (!argument) return script_error::unknown_error;
        if (*argument < 0) return script_error::negative_locktime;
        if (absolute ? is_lock_time_reached(*argument) : is_sequence_reached(*argument)) return script_error::ok;
        return script_error::unsatisfied_locktime;
    }

    /// BIP65.  A final sequence would switch the transaction's lock_time off, so it does not count.
    [[nodiscard]] bool is_lock_time_reached(std::int64_t wanted) const {
        const std::int64_t locked = spend_.tx.lock_time();
        if ((wanted < time_locks) != (locked < time_locks)) return false;
        return wanted <= locked && spend_.input.sequence != final_sequence;
    }

    /// BIP112.
    [[nodiscard]] bool is_sequence_reached(std::int64_t argument) const {
        if ((argument & sequence_off) != 0) return true;
        const std::uint32_t locked = spend_.input.sequence;
        if (static_cast<std::uint32_t>(spend_.tx.version()) < 2 || (locked & sequence_off) != 0) return false;
        const auto wanted = static_cast<std::uint32_t>(argument);
        if ((wanted & sequence_time) != (locked & sequence_time)) return false;
        return (wanted & sequence_mask) <= (locked & sequence_mask);
    }

    script_stack& stack_;
    const spending& spend_;
    script_flags flags_;
    script_version version_;
    bytes_view script_;
    std::size_t position_ = 0;    // behind the operation that runs
    std::size_t code_start_ = 0;  // behind the last CODESEPARATOR that was executed
    std::size_t operations_ = 0;
    conditions conditions_;
};

}  // namespace paychan::detail
