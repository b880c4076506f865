// Why a script does not let an output be spent.
#pragma once

#include <cstdint>
#include <string_view>

namespace paychan {

/// Source  Bitcoin Core script_error.h; same names, so that the verdicts can be compared.
enum class script_error : std::uint8_t {
    ok,
    unknown_error,
    eval_false,
    op_return,
    script_size,
    push_size,
    op_count,
    stack_size,
    sig_count,
    pubkey_count,
    verify,
    equalverify,
    checkmultisigverify,
    checksigverify,
    numequalverify,
    bad_opcode,
    disabled_opcode,
    invalid_stack_operation,
    invalid_altstack_operation,
    unbalanced_conditional,
    negative_locktime,
    unsatisfied_locktime,
    sig_hashtype,
    sig_der,
    minimaldata,
    sig_pushonly,
    sig_high_s,
    sig_nulldummy,
    pubkeytype,
    cleanstack,
    minimalif,
    nullfail,
    discourage_upgradable_nops,
    discourage_upgradable_witness_program,
    witness_program_wrong_length,
    witness_program_witness_empty,
    witness_program_mismatch,
    witness_malleated,
    witness_malleated_p2sh,
    witness_unexpected,
    witness_pubkeytype,
    op_codeseparator,
    sig_findanddelete,
};

/// The fact in words.
[[nodiscard]] constexpr std::string_view message(script_error e) {
    switch (e) {
        case script_error::ok: return "the script is satisfied";
        case script_error::unknown_error: return "a number or a witness in the script is malformed";
        case script_error::eval_false: return "the script ends with false: it is not satisfied";
        case script_error::op_return: return "the output can never be spent";
        case script_error::script_size: return "the script is above 10,000 bytes";
        case script_error::push_size: return "the script pushes more than 520 bytes";
        case script_error::op_count: return "the script has more than 201 operations";
        case script_error::stack_size: return "the script's stack grows above 1,000 items";
        case script_error::sig_count: return "multisig wants more signatures than it has keys";
        case script_error::pubkey_count: return "multisig has a wrong number of keys";
        case script_error::verify: return "VERIFY failed";
        case script_error::equalverify: return "EQUALVERIFY failed: another key or script than the output asks for";
        case script_error::checkmultisigverify: return "CHECKMULTISIGVERIFY failed: a signature does not verify";
        case script_error::checksigverify: return "CHECKSIGVERIFY failed: the signature does not verify";
        case script_error::numequalverify: return "NUMEQUALVERIFY failed";
        case script_error::bad_opcode: return "the script has an unknown operation or a push that is cut off";
        case script_error::disabled_opcode: return "the script has a disabled operation";
        case script_error::invalid_stack_operation: return "an operation finds too few items on the stack";
        case script_error::invalid_altstack_operation: return "an operation finds the alternative stack empty";
        case script_error::unbalanced_conditional: return "IF, ELSE and ENDIF do not match";
        case script_error::negative_locktime: return "the script's lock time is negative";
        case script_error::unsatisfied_locktime: return "the transaction's lock time or sequence is below the script's";
        case script_error::sig_hashtype: return "the signature's hash type is unknown";
        case script_error::sig_der: return "the signature is not strict DER";
        case script_error::minimaldata: return "a push is not in its shortest form";
        case script_error::sig_pushonly: return "the script_sig does more than push";
        case script_error::sig_high_s: return "the signature's S is high";
        case script_error::sig_nulldummy: return "the dummy item of multisig is not empty";
        case script_error::pubkeytype: return "the public key is neither compressed nor uncompressed";
        case script_error::cleanstack: return "the script leaves items on the stack";
        case script_error::minimalif: return "the argument of IF is neither empty nor 1";
        case script_error::nullfail: return "a signature that does not verify is not empty";
        case script_error::discourage_upgradable_nops: return "the script has a NOP that is kept for upgrades";
        case script_error::discourage_upgradable_witness_program: return "the witness version is kept for upgrades";
        case script_error::witness_program_wrong_length: return "the witness program is of neither 20 nor 32 bytes";
        case script_error::witness_program_witness_empty: return "the witness is missing";
        case script_error::witness_program_mismatch: return "the witness is for another key or script";
        case script_error::witness_malleated: return "a witness input has a script_sig";
        case script_error::witness_malleated_p2sh: return "the script_sig is more than one push of the redeem script";
        case script_error::witness_unexpected: return "there is a witness, but the output asks for none";
        case script_error::witness_pubkeytype: return "the public key is not compressed";
        case script_error::op_codeseparator: return "the script has a CODESEPARATOR";
        case script_error::sig_findanddelete: return "the script contains its own signature";
    }
    return "unknown";
}

}  // namespace paychan
