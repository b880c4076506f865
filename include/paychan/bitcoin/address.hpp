// Addresses: the text of an output script, and back.
#pragma once

#include "paychan/bitcoin/base58.hpp"
#include "paychan/bitcoin/bech32.hpp"
#include "paychan/bitcoin/network.hpp"
#include "paychan/bitcoin/script.hpp"

namespace paychan {

using address_text = bounded_text<max_bech32_text>;

namespace detail {

/// Regroups bits, for SegWit addresses: 5 to 8 refuses a remainder that is not zero padding of less than 5 bits.
template <unsigned From, unsigned To, std::size_t N>
[[nodiscard]] bool regroup_bits(bytes_view in, bounded_bytes<N>& out) {
    std::uint32_t bits = 0;
    unsigned count = 0;
    std::size_t size = 0;
    const auto put = [&](std::uint32_t value) {
        if (size == N) return false;
        out.memory()[size++] = static_cast<std::uint8_t>(value & ((1U << To) - 1));
        return true;
    };
    for (const std::uint8_t v : in) {
        bits = (bits << From | v) & 0xfffff;
        for (count += From; count >= To;) {
            count -= To;
            if (!put(bits >> count)) return false;
        }
    }
    const std::uint32_t remainder = bits & ((1U << count) - 1);
    if constexpr (From < To) {
        if (count >= From || remainder != 0) return false;
    } else {
        if (count > 0 && !put(remainder << (To - count))) return false;
    }
    out.resize(size);
    return true;
}

[[nodiscard]] inline result<script_buffer> script_of_segwit_address(const bech32_parts& parts) {
    const bytes_view values = parts.values.view();
    if (values.empty() || values[0] > 16) return fail(errc::malformed, "address has an unknown witness version");
    bounded_bytes<40> program;
    if (!regroup_bits<5, 8>(values.subspan(1), program) || program.size() < 2)
        return fail(errc::malformed, "address has a witness program of a wrong size or padding");
    const bool version_0 = values[0] == 0;
    if (version_0 && program.size() != 20 && program.size() != 32)
        return fail(errc::malformed, "address of witness version 0 is of neither 20 nor 32 bytes");
    if (version_0 != (parts.variant == bech32_variant::bech32))
        return fail(errc::malformed, "address has the checksum of another witness version");  // BIP350
    return make_script([&](writer& w) {
        push_number(w, values[0]);
        w.sized_bytes(program.view());  // the direct push of its 2 to 40 bytes
    });
}

}  // namespace detail

/// The script_pubkey that an address stands for: P2PKH, P2SH, or a witness program of any version.
/// Fails   malformed (not an address, mistyped, or of another network).
/// Source  BIP13, BIP173, BIP350.
[[nodiscard]] inline result<script_buffer> script_of_address(std::string_view address, network net) {
    constexpr std::string_view other_network = "address is not one of this network";
    const address_prefixes expected = prefixes(net);
    const auto parts = decode_bech32(address);
    if (parts) {
        if (parts->prefix.view() != expected.bech32) return fail(errc::malformed, other_network);
        return detail::script_of_segwit_address(*parts);
    }

    std::array<std::uint8_t, 21> memory{};
    const auto payload = decode_base58check(address, memory);
    if (!payload) {
        // Say what is wrong in the form that the text seems to have.
        const std::size_t separator = address.rfind('1');
        const bool seems_bech32 = separator != std::string_view::npos && separator > 0 && separator <= 4 &&
                                  address.size() > separator + 6 && (address[0] == 'b' || address[0] == 't');
        return fail(errc::malformed, seems_bech32 ? parts.error().text : payload.error().text);
    }
    if (payload->size() != 21) return fail(errc::malformed, "text is not an address: its length is wrong");
    const bytes20 hash = detail::hash_at(*payload, 1);
    if ((*payload)[0] == expected.p2pkh) return p2pkh_script(hash);
    if ((*payload)[0] == expected.p2sh) return p2sh_script(hash);
    return fail(errc::malformed, other_network);
}

/// The address of a script_pubkey.  Fails  unsupported (no address stands for such a script).
[[nodiscard]] inline result<address_text> address_of_script(bytes_view script_pubkey, network net) {
    const address_prefixes own = prefixes(net);
    if (const auto program = match_witness_program(script_pubkey)) {
        const std::size_t size = program->program.size();
        if (program->version == 0 && size != 20 && size != 32)
            return fail(errc::unsupported, "a witness program of version 0 is of 20 or 32 bytes");
        bounded_bytes<65> values;  // the version; then 40 bytes are 64 groups of 5 bits
        bounded_bytes<64> groups;
        if (!detail::regroup_bits<8, 5>(program->program, groups))
            return fail(errc::unsupported, "the witness program is too long");
        values.memory()[0] = program->version;
        std::ranges::copy(groups.view(), values.memory().subspan(1).begin());
        values.resize(1 + groups.size());
        const auto variant = program->version == 0 ? bech32_variant::bech32 : bech32_variant::bech32m;
        return encode_bech32(variant, own.bech32, values.view());
    }

    std::array<std::uint8_t, 21> payload{};
    if (const auto key_hash = match_p2pkh(script_pubkey)) {
        payload[0] = own.p2pkh;
        std::ranges::copy(*key_hash, payload.begin() + 1);
    } else if (const auto script_hash = match_p2sh(script_pubkey)) {
        payload[0] = own.p2sh;
        std::ranges::copy(*script_hash, payload.begin() + 1);
    } else {
        return fail(errc::unsupported, "no address stands for this script");
    }
    address_text out;
    PAYCHAN_TRY(const std::string_view text, encode_base58check(payload, out.memory()));
    out.resize(text.size());
    return out;
}

}  // namespace paychan
