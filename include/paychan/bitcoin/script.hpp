// Scripts: reading their operations, writing pushes, and the templates that we pay to.
#pragma once

#include <optional>

#include "paychan/bitcoin/opcode.hpp"
#include "paychan/core/bytes.hpp"
#include "paychan/core/reader.hpp"
#include "paychan/core/result.hpp"
#include "paychan/core/writer.hpp"

namespace paychan {

/// Holds every template below: a 2-of-2 multisig of two 65-byte keys takes 135 bytes, the P2SH contract of protocol
/// version 2 with the same keys 145.
using script_buffer = bounded_bytes<148>;

inline constexpr std::size_t max_script_size = 10'000;  // [bytes] consensus
inline constexpr std::size_t max_push_size = 520;       // [bytes] consensus, one stack item

// ---- reading ----------------------------------------------------------------------------------------------------

struct script_operation {
    std::uint8_t code = op_0;  ///< an `opcode`, or the length of a push below op_pushdata1
    bytes_view data;           ///< what a push pushes; empty for the rest and for op_0
};

/// Walks the operations of a script.
///     script_reader ops(script);
///     while (const auto op = ops.next()) ...
///     if (!ops.ok()) the script ends in the middle of a push
class script_reader {
public:
    explicit script_reader(bytes_view script) : from_(script) {}

    /// The next operation; nothing at the end, or when a push is longer than what is left.
    std::optional<script_operation> next() {
        if (from_.remaining() == 0 || !from_.ok()) return std::nullopt;
        script_operation op{from_.u8(), {}};
        if (op.code < op_pushdata1)
            op.data = from_.bytes(op.code);
        else if (op.code == op_pushdata1)
            op.data = from_.bytes(from_.u8());
        else if (op.code == op_pushdata2)
            op.data = from_.bytes(from_.u16());
        else if (op.code == op_pushdata4)
            op.data = from_.bytes(from_.u32());
        if (!from_.ok()) return std::nullopt;
        return op;
    }

    /// False when the last `next` met a push that is cut off.
    [[nodiscard]] bool ok() const { return from_.ok(); }

    /// Bytes read so far: behind the operation that `next` returned last.
    [[nodiscard]] std::size_t position() const { return from_.position(); }

private:
    reader from_;
};

// ---- numbers ----------------------------------------------------------------------------------------------------

enum class number_encoding : std::uint8_t { any, minimal };

/// A number as scripts have it: little-endian magnitude, the top bit of the last byte is the sign, zero is empty.
[[nodiscard]] inline bounded_bytes<9> encode_script_number(std::int64_t value) {
    bounded_bytes<9> out;
    const bool negative = value < 0;
    std::uint64_t left = negative ? 0 - static_cast<std::uint64_t>(value) : static_cast<std::uint64_t>(value);
    std::size_t size = 0;
    for (; left != 0; left >>= 8) out.memory()[size++] = static_cast<std::uint8_t>(left);
    if (size != 0) {
        if ((out.memory()[size - 1] & 0x80) != 0) out.memory()[size++] = 0;
        if (negative) out.memory()[size - 1] |= 0x80;
    }
    out.resize(size);
    return out;
}

/// Reads a script number of at most `max_size` bytes (4 in arithmetic, 5 in lock times; at most 8).
/// Fails   bad_transaction (too long, or not in its shortest form while `minimal` is asked for).
[[nodiscard]] inline result<std::int64_t> decode_script_number(bytes_view bytes, std::size_t max_size,
                                                               number_encoding encoding) {
    if (bytes.size() > max_size || bytes.size() > 8) return fail(errc::bad_transaction, "script number is too long");
    if (bytes.empty()) return 0;
    if (encoding == number_encoding::minimal && (bytes.back() & 0x7f) == 0 &&
        (bytes.size() == 1 || (bytes[bytes.size() - 2] & 0x80) == 0))
        return fail(errc::bad_transaction, "script number is not in its shortest form");
    std::uint64_t magnitude = 0;
    for (std::size_t i = bytes.size(); i-- > 0;) magnitude = magnitude << 8 | bytes[i];
    const std::uint64_t sign = std::uint64_t{0x80} << (8 * (bytes.size() - 1));
    if ((magnitude & sign) == 0) return static_cast<std::int64_t>(magnitude);
    return -static_cast<std::int64_t>(magnitude & ~sign);
}

// ---- writing ----------------------------------------------------------------------------------------------------

/// Writes the shortest operation that pushes `data`.  Source  Bitcoin Core CheckMinimalPush (policy, BIP62 rule 3).
inline void push(writer& to, bytes_view data) {
    const std::size_t size = data.size();
    if (size == 1 && data[0] >= 1 && data[0] <= 16) return to.u8(static_cast<std::uint8_t>(op_1 - 1 + data[0]));
    if (size == 1 && data[0] == 0x81) return to.u8(op_1negate);
    if (size < op_pushdata1) {
        to.u8(static_cast<std::uint8_t>(size));
    } else if (size <= 0xff) {
        to.u8(op_pushdata1);
        to.u8(static_cast<std::uint8_t>(size));
    } else if (size <= 0xffff) {
        to.u8(op_pushdata2);
        to.u16(static_cast<std::uint16_t>(size));
    } else {
        to.u8(op_pushdata4);
        to.u32(static_cast<std::uint32_t>(size));
    }
    to.bytes(data);
}

/// Writes the shortest operation that pushes a number.
inline void push_number(writer& to, std::int64_t value) { push(to, encode_script_number(value).view()); }

// ---- templates --------------------------------------------------------------------------------------------------

namespace detail {
template <class Write>
[[nodiscard]] script_buffer make_script(const Write& write) {
    script_buffer out;
    writer w(out.memory());
    write(w);
    out.resize(w.ok() ? w.size() : 0);
    return out;
}
}  // namespace detail

/// DUP HASH160 <key hash> EQUALVERIFY CHECKSIG
[[nodiscard]] inline script_buffer p2pkh_script(const bytes20& key_hash) {
    return detail::make_script([&](writer& w) {
        w.u8(op_dup);
        w.u8(op_hash160);
        push(w, key_hash);
        w.u8(op_equalverify);
        w.u8(op_checksig);
    });
}

/// HASH160 <script hash> EQUAL.  BIP16.
[[nodiscard]] inline script_buffer p2sh_script(const bytes20& script_hash) {
    return detail::make_script([&](writer& w) {
        w.u8(op_hash160);
        push(w, script_hash);
        w.u8(op_equal);
    });
}

/// 0 <key hash>.  BIP141.
[[nodiscard]] inline script_buffer p2wpkh_script(const bytes20& key_hash) {
    return detail::make_script([&](writer& w) {
        w.u8(op_0);
        push(w, key_hash);
    });
}

/// 0 <sha256 of the script>.  BIP141.
[[nodiscard]] inline script_buffer p2wsh_script(const bytes32& script_hash) {
    return detail::make_script([&](writer& w) {
        w.u8(op_0);
        push(w, script_hash);
    });
}

/// 2 <key1> <key2> 2 CHECKMULTISIG: the contract of protocol version 1.  Keys in the byte form that the wire gave,
/// 33 or 65 bytes each; anything that does not fit gives an empty script.
[[nodiscard]] inline script_buffer multisig_2of2_script(bytes_view key1, bytes_view key2) {
    return detail::make_script([&](writer& w) {
        w.u8(op_2);
        push(w, key1);
        push(w, key2);
        w.u8(op_2);
        w.u8(op_checkmultisig);
    });
}

// ---- recognising ------------------------------------------------------------------------------------------------

struct witness_program {
    std::uint8_t version = 0;  ///< 0 to 16
    bytes_view program;        ///< 2 to 40 bytes, in the script that was matched
};

/// Any witness program, of known and future versions.  BIP141.
[[nodiscard]] inline std::optional<witness_program> match_witness_program(bytes_view s) {
    if (s.size() < 4 || s.size() > 42 || s[1] + std::size_t{2} != s.size()) return std::nullopt;
    if (s[0] != op_0 && (s[0] < op_1 || s[0] > op_16)) return std::nullopt;
    const int version = s[0] == op_0 ? 0 : s[0] - op_1 + 1;
    return witness_program{static_cast<std::uint8_t>(version), s.subspan(2)};
}

namespace detail {
template <std::size_t N>
[[nodiscard]] std::optional<std::array<std::uint8_t, N>> program_of(bytes_view script, int version) {
    const auto match = match_witness_program(script);
    if (!match || match->version != version || match->program.size() != N) return std::nullopt;
    std::array<std::uint8_t, N> out;
    std::ranges::copy(match->program, out.begin());
    return out;
}

[[nodiscard]] inline bytes20 hash_at(bytes_view script, std::size_t position) {
    bytes20 out;
    std::ranges::copy(script.subspan(position, 20), out.begin());
    return out;
}
}  // namespace detail

/// The key hash of a P2PKH script.
[[nodiscard]] inline std::optional<bytes20> match_p2pkh(bytes_view s) {
    if (s.size() != 25 || s[0] != op_dup || s[1] != op_hash160 || s[2] != 20) return std::nullopt;
    if (s[23] != op_equalverify || s[24] != op_checksig) return std::nullopt;
    return detail::hash_at(s, 3);
}

/// The script hash of a P2SH script.
[[nodiscard]] inline std::optional<bytes20> match_p2sh(bytes_view s) {
    if (s.size() != 23 || s[0] != op_hash160 || s[1] != 20 || s[22] != op_equal) return std::nullopt;
    return detail::hash_at(s, 2);
}

/// The key hash of a P2WPKH script.
[[nodiscard]] inline std::optional<bytes20> match_p2wpkh(bytes_view s) { return detail::program_of<20>(s, 0); }

/// The script hash of a P2WSH script.
[[nodiscard]] inline std::optional<bytes32> match_p2wsh(bytes_view s) { return detail::program_of<32>(s, 0); }

/// The output key of a P2TR script.  BIP341.
[[nodiscard]] inline std::optional<bytes32> match_p2tr(bytes_view s) { return detail::program_of<32>(s, 1); }

struct multisig_2of2 {
    bytes_view key1;
    bytes_view key2;
};

/// The keys of a 2-of-2 multisig script in the exact form that `multisig_2of2_script` writes.  The keys have the size
/// of one; whether they are on the curve is not looked at.
[[nodiscard]] inline std::optional<multisig_2of2> match_multisig_2of2(bytes_view s) {
    const auto is_key = [](bytes_view k) { return k.size() == 33 || k.size() == 65; };
    if (s.size() < 4 || s[0] != op_2 || s[s.size() - 2] != op_2 || s.back() != op_checkmultisig) return std::nullopt;
    reader keys(s.subspan(1, s.size() - 3));
    const multisig_2of2 out{keys.bytes(keys.u8()), keys.bytes(keys.u8())};
    if (!keys.done() || !is_key(out.key1) || !is_key(out.key2)) return std::nullopt;
    return out;
}

}  // namespace paychan
