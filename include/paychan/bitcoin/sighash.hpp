// What a signature signs: the legacy and the BIP143 digest of one input, under every hash type.
#pragma once

#include "paychan/bitcoin/script.hpp"
#include "paychan/bitcoin/transaction.hpp"

namespace paychan {

inline constexpr std::uint8_t sighash_all = 0x01;           ///< all outputs
inline constexpr std::uint8_t sighash_none = 0x02;          ///< no output
inline constexpr std::uint8_t sighash_single = 0x03;        ///< the output with the input's index
inline constexpr std::uint8_t sighash_anyonecanpay = 0x80;  ///< of the inputs, only this one

namespace detail {

/// A sha256 that takes Bitcoin's words.  Short ones are gathered, since each update of the hash has its price.
class hash_writer {
public:
    void bytes(bytes_view from) {
        if (from.size() > pending_.size() - size_) flush();
        if (from.size() > pending_.size()) return hash_.update(from);
        std::ranges::copy(from, pending_.begin() + static_cast<std::ptrdiff_t>(size_));
        size_ += from.size();
    }
    void u32(std::uint32_t v) { number(v, &writer::u32); }
    void u64(std::uint64_t v) { number(v, &writer::u64); }
    void compact_size(std::uint64_t v) { number(v, &writer::compact_size); }
    void outpoint_of(const tx_input& in) {
        bytes(in.prevout.id.bytes);
        u32(in.prevout.index);
    }

    [[nodiscard]] bytes32 finish_double() {
        flush();
        return finish_hash256(hash_);
    }

private:
    template <class T>
    void number(T v, void (writer::*write)(T)) {
        std::array<std::uint8_t, 9> memory;
        writer w(memory);
        (w.*write)(v);
        bytes(w.written());
    }
    void flush() {
        hash_.update(bytes_view{pending_.data(), size_});
        size_ = 0;
    }

    sha256_stream hash_;
    std::array<std::uint8_t, 192> pending_;
    std::size_t size_ = 0;
};

/// The script code with its size, each CODESEPARATOR left out.  Behind a push that is cut off the bytes stay as they
/// are.
inline void write_script_code(hash_writer& to, bytes_view script_code) {
    if (std::ranges::find(script_code, std::uint8_t{op_codeseparator}) == script_code.end()) {
        to.compact_size(script_code.size());
        return to.bytes(script_code);
    }
    std::size_t separators = 0;
    for (script_reader ops(script_code); const auto op = ops.next();)
        separators += op->code == op_codeseparator ? 1u : 0u;
    to.compact_size(script_code.size() - separators);
    std::size_t start = 0;
    for (script_reader ops(script_code); const auto op = ops.next();) {
        if (op->code != op_codeseparator) continue;
        to.bytes(script_code.subspan(start, ops.position() - 1 - start));
        start = ops.position();
    }
    to.bytes(script_code.subspan(start));
}

inline constexpr std::uint32_t output_mask = 0x1f;  // the part of a hash type that chooses the outputs

}  // namespace detail

/// The digest that consensus verifies, whatever nonsense it is asked for: with SINGLE and no output of the input's
/// index, or without such an input, it is the number 1, which anyone can sign once for all such transactions.  Do not
/// sign what this returns; see `legacy_sighash`.
/// hash_type   all 32 bits are hashed; a signature carries only the lowest 8
/// Source      Bitcoin Core SignatureHash, SigVersion::BASE
[[nodiscard]] inline bytes32 unchecked_legacy_sighash(const transaction& tx, std::size_t input, bytes_view script_code,
                                                      std::uint32_t hash_type) {
    const bool anyone_can_pay = (hash_type & sighash_anyonecanpay) != 0;
    const bool single = (hash_type & detail::output_mask) == sighash_single;
    const bool none = (hash_type & detail::output_mask) == sighash_none;
    if (input >= tx.input_count() || (single && input >= tx.output_count())) return bytes32{1};

    detail::hash_writer to;
    to.u32(static_cast<std::uint32_t>(tx.version()));
    to.compact_size(anyone_can_pay ? 1 : tx.input_count());
    std::size_t index = 0;
    for (const tx_input& in : tx.inputs()) {
        const bool signed_input = index++ == input;
        if (anyone_can_pay && !signed_input) continue;
        to.outpoint_of(in);
        if (signed_input)
            detail::write_script_code(to, script_code);
        else
            to.compact_size(0);
        to.u32(!signed_input && (single || none) ? 0 : in.sequence);
    }

    if (none) {
        to.compact_size(0);
    } else if (single) {
        to.compact_size(input + 1);
        index = 0;
        for (const tx_output& out : tx.outputs()) {
            const bool signed_output = index++ == input;
            to.u64(signed_output ? static_cast<std::uint64_t>(out.value.value) : ~std::uint64_t{0});
            to.compact_size(signed_output ? out.script_pubkey.size() : 0);
            if (signed_output) {
                to.bytes(out.script_pubkey);
                break;
            }
        }
    } else {
        to.bytes(tx.serialized_outputs_with_count());
    }
    to.u32(tx.lock_time());
    to.u32(hash_type);
    return to.finish_double();
}

/// The digest of a legacy (not SegWit) input, fit to be signed and to be verified before money is trusted to it.
/// script_code  the script that is executed: script_pubkey of the output, or the redeem script
/// Fails        bad_transaction (no such input; SINGLE without an output of that index: consensus would have it sign 1)
[[nodiscard]] inline result<bytes32> legacy_sighash(const transaction& tx, std::size_t input, bytes_view script_code,
                                                    std::uint32_t hash_type) {
    if (input >= tx.input_count()) return fail(errc::bad_transaction, "no such input to sign");
    if ((hash_type & detail::output_mask) == sighash_single && input >= tx.output_count())
        return fail(errc::bad_transaction, "SIGHASH_SINGLE without an output to sign");
    return unchecked_legacy_sighash(tx, input, script_code, hash_type);
}

/// The digest of a SegWit version 0 input.
/// script_code  the P2PKH script of the key hash for P2WPKH; the witness script (behind the last CODESEPARATOR that was
///              executed) for P2WSH
/// value        [satoshi] of the output that the input spends
/// Fails        bad_transaction (no such input)
/// Source       BIP143
[[nodiscard]] inline result<bytes32> bip143_sighash(const transaction& tx, std::size_t input, bytes_view script_code,
                                                    satoshi value, std::uint32_t hash_type) {
    const auto found = tx.input(input);
    if (!found) return fail(errc::bad_transaction, "no such input to sign");
    const tx_input& signed_input = *found;
    const bool anyone_can_pay = (hash_type & sighash_anyonecanpay) != 0;
    const bool single = (hash_type & detail::output_mask) == sighash_single;
    const bool none = (hash_type & detail::output_mask) == sighash_none;

    bytes32 prevouts{};
    bytes32 sequences{};
    bytes32 outputs{};
    if (!anyone_can_pay) {
        detail::hash_writer hash;
        for (const tx_input& in : tx.inputs()) hash.outpoint_of(in);
        prevouts = hash.finish_double();
    }
    if (!anyone_can_pay && !single && !none) {
        detail::hash_writer hash;
        for (const tx_input& in : tx.inputs()) hash.u32(in.sequence);
        sequences = hash.finish_double();
    }
    if (!single && !none) {
        outputs = hash256(tx.serialized_outputs());
    } else if (single && input < tx.output_count()) {
        PAYCHAN_TRY(const tx_output out, tx.output(input));
        detail::hash_writer hash;
        hash.u64(static_cast<std::uint64_t>(out.value.value));
        hash.compact_size(out.script_pubkey.size());
        hash.bytes(out.script_pubkey);
        outputs = hash.finish_double();
    }

    detail::hash_writer to;
    to.u32(static_cast<std::uint32_t>(tx.version()));
    to.bytes(prevouts);
    to.bytes(sequences);
    to.outpoint_of(signed_input);
    to.compact_size(script_code.size());
    to.bytes(script_code);
    to.u64(static_cast<std::uint64_t>(value.value));
    to.u32(signed_input.sequence);
    to.bytes(outputs);
    to.u32(tx.lock_time());
    to.u32(hash_type);
    return to.finish_double();
}

}  // namespace paychan
