// Signatures and keys inside scripts: how they must be encoded, and whether they verify as consensus has it.
#pragma once

#include "paychan/bitcoin/script_error.hpp"
#include "paychan/bitcoin/script_flags.hpp"
#include "paychan/bitcoin/sighash.hpp"
#include "paychan/crypto/keys.hpp"

namespace paychan::detail {

enum class script_version : std::uint8_t { legacy, witness_v0 };

/// What the signatures of one input are checked against.
struct spending {
    const transaction& tx;
    std::size_t index;
    tx_input input;
    satoshi value;  ///< [satoshi] of the output that is spent
};

/// BIP66, with the hash type behind.
[[nodiscard]] inline bool is_strict_der(bytes_view s) {
    const auto is_integer = [](bytes_view n) {
        return !n.empty() && (n[0] & 0x80) == 0 && (n.size() == 1 || n[0] != 0 || (n[1] & 0x80) != 0);
    };
    if (s.size() < 9 || s.size() > 73) return false;
    reader r(s);
    if (r.u8() != 0x30 || r.u8() != s.size() - 3) return false;
    if (r.u8() != 0x02 || !is_integer(r.bytes(r.u8()))) return false;
    if (r.u8() != 0x02 || !is_integer(r.bytes(r.u8()))) return false;
    r.u8();  // hash type
    return r.done();
}

/// Reads DER as OpenSSL once did: without DERSIG, old blocks and consensus still take such.  Nothing that we trust
/// money to is read with this: see parse_der.  Source  libsecp256k1 contrib/lax_der_parsing.
[[nodiscard]] inline std::optional<secp256k1_ecdsa_signature> parse_lax_der(bytes_view der) {
    reader r(der);
    const auto integer = [&r](bytes_span out) {  // -1: malformed, 0: above 32 bytes, 1: read
        if (r.u8() != 0x02) return -1;
        std::uint64_t size = r.u8();
        if ((size & 0x80) != 0) {
            const bytes_view digits = r.bytes(size & 0x7f);
            size = 0;
            for (const std::uint8_t d : digits) {
                if (size > 0xffff) return -1;  // four significant digits or more
                size = size << 8 | d;
            }
        }
        bytes_view number = r.bytes(size);
        while (!number.empty() && number[0] == 0) number = number.subspan(1);
        if (!r.ok()) return -1;
        if (number.size() > out.size()) return 0;
        std::ranges::copy(number, out.last(number.size()).begin());
        return 1;
    };

    if (r.u8() != 0x30) return std::nullopt;
    const std::uint8_t length = r.u8();
    if ((length & 0x80) != 0) r.bytes(length & 0x7fu);
    std::array<std::uint8_t, 64> compact{};
    const int first = integer(bytes_span{compact}.first(32));
    const int second = first < 0 ? -1 : integer(bytes_span{compact}.last(32));
    if (!r.ok() || second < 0) return std::nullopt;

    secp256k1_ecdsa_signature out{};
    if (first == 0 || second == 0 || secp256k1_ecdsa_signature_parse_compact(context(), &out, compact.data()) != 1) {
        compact = {};  // well formed, but beyond the curve: zeros, which verify nowhere
        (void)secp256k1_ecdsa_signature_parse_compact(context(), &out, compact.data());
    }
    return out;
}

[[nodiscard]] inline script_error check_signature_encoding(bytes_view s, script_flags flags) {
    using enum script_flags;
    if (s.empty()) return script_error::ok;  // a compact way to give an invalid signature on purpose
    if (has(flags, dersig | low_s | strictenc) && !is_strict_der(s)) return script_error::sig_der;
    if (has(flags, low_s)) {
        const auto parsed = parse_lax_der(s.first(s.size() - 1));
        if (parsed && secp256k1_ecdsa_signature_normalize(context(), nullptr, &*parsed) == 1)
            return script_error::sig_high_s;
    }
    if (has(flags, strictenc)) {
        const unsigned type = s.back() & ~unsigned{sighash_anyonecanpay};
        if (type < sighash_all || type > sighash_single) return script_error::sig_hashtype;
    }
    return script_error::ok;
}

[[nodiscard]] inline script_error check_key_encoding(bytes_view key, script_flags flags, script_version version) {
    const bool compressed = key.size() == 33 && (key[0] == 2 || key[0] == 3);
    const bool uncompressed = key.size() == 65 && key[0] == 4;
    if (has(flags, script_flags::strictenc) && !compressed && !uncompressed) return script_error::pubkeytype;
    if (has(flags, script_flags::witness_pubkeytype) && version == script_version::witness_v0 && !compressed)
        return script_error::witness_pubkeytype;
    return script_error::ok;
}

/// True if the signature, with its hash type behind, is by the key for this input.  High S and hybrid keys count, as
/// consensus has it.
[[nodiscard]] inline bool verify_in_script(bytes_view signature, bytes_view key, bytes_view script_code,
                                           const spending& spend, script_version version) {
    if (signature.empty() || key.empty()) return false;
    const bool size_fits = key[0] == 2 || key[0] == 3                  ? key.size() == 33
                           : key[0] == 4 || key[0] == 6 || key[0] == 7 ? key.size() == 65
                                                                       : false;
    secp256k1_pubkey point{};
    if (!size_fits || secp256k1_ec_pubkey_parse(context(), &point, key.data(), key.size()) != 1) return false;
    auto parsed = parse_lax_der(signature.first(signature.size() - 1));
    if (!parsed) return false;
    (void)secp256k1_ecdsa_signature_normalize(context(), &*parsed, &*parsed);

    const std::uint32_t hash_type = signature.back();
    bytes32 digest;
    if (version == script_version::witness_v0) {
        const auto hashed = bip143_sighash(spend.tx, spend.index, script_code, spend.value, hash_type);
        if (!hashed) return false;
        digest = *hashed;
    } else {
        digest = unchecked_legacy_sighash(spend.tx, spend.index, script_code, hash_type);
    }
    return secp256k1_ecdsa_verify(context(), &*parsed, digest.data(), &point) == 1;
}

/// The script code of legacy signatures, from which each signature itself is removed (FindAndDelete of old).
class legacy_script_code {
public:
    /// script.size() <= max_script_size
    explicit legacy_script_code(bytes_view script) : code_(script) {}

    [[nodiscard]] bytes_view view() const { return code_; }

    /// Removes each push of the signature that starts where an operation starts.  Returns whether there was one.
    bool remove(bytes_view signature) {
        std::array<std::uint8_t, max_push_size + 3> memory;
        writer w(memory);
        // Not `push`: the removal knows no op_1 to op_16.
        if (signature.size() >= op_pushdata1) w.u8(signature.size() <= 0xff ? op_pushdata1 : op_pushdata2);
        if (signature.size() <= 0xff)
            w.u8(static_cast<std::uint8_t>(signature.size()));
        else
            w.u16(static_cast<std::uint16_t>(signature.size()));
        w.bytes(signature);
        const bytes_view pattern = w.written();
        // Not ranges::search: clang 14 cannot compile it with this library.
        if (std::search(code_.begin(), code_.end(), pattern.begin(), pattern.end()) == code_.end()) return false;

        // Kept bytes move to the front of own_; they never overtake the reader, so that code_ may be own_ itself.
        std::size_t kept = 0;
        std::size_t at = 0;
        bool found = false;
        const auto keep_until = [&](std::size_t end) {
            for (; at < end; ++at) own_[kept++] = code_[at];
        };
        for (;;) {
            while (code_.size() - at >= pattern.size() && equal(code_.subspan(at, pattern.size()), pattern)) {
                at += pattern.size();
                found = true;
            }
            script_reader ops(code_.subspan(at));
            if (!ops.next()) break;
            keep_until(at + ops.position());
        }
        keep_until(code_.size());
        code_ = bytes_view{own_.data(), kept};
        return found;
    }

private:
    bytes_view code_;
    std::array<std::uint8_t, max_script_size> own_;  // filled when something is removed
};

}  // namespace paychan::detail
