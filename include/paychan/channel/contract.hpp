// The transactions of a channel whatever its contract scheme: refund, payment and the rules for amounts; and the list
// of schemes.
#pragma once

#include "paychan/bitcoin/fee.hpp"
#include "paychan/bitcoin/script.hpp"
#include "paychan/bitcoin/sighash.hpp"
#include "paychan/bitcoin/transaction.hpp"
#include "paychan/channel/record.hpp"
#include "paychan/core/writer.hpp"
#include "paychan/crypto/hash.hpp"

// A contract scheme is a type with these static members; multisig_refund.hpp and cltv_p2sh.hpp are the two there are:
//     version                            the protocol version that it belongs to
//     refund_is_cosigned                 true when the server signs the refund before the contract is shown
//     script_pubkey(terms)               what output 0 of the contract pays to
//     script_code(terms)                 what signatures that spend it commit to
//     max_settlement_script_sig(terms)   [bytes] the longest script_sig of a settlement, and
//     max_refund_script_sig(terms)       of a refund
//     write_refund_script_sig(to, terms, client_signature, server_signature)
//     write_settlement_script_sig(to, terms, client_signature, server_signature)
//     read_settlement_script_sig(terms, script_sig)   the two signatures in it, client's first
namespace paychan {

inline constexpr std::int32_t channel_transaction_version = 1;  // rule: all transactions of a channel
inline constexpr std::uint32_t refund_sequence =
    0xffff'fffe;  // not final: a final sequence would switch the lock_time off
inline constexpr std::uint8_t cosigned_refund_flags = sighash_none | sighash_anyonecanpay;
inline constexpr std::int64_t lock_time_threshold = 500'000'000;  // BIP65: below it, a lock_time is a height

inline constexpr std::size_t max_contract_size = 10'000;  // [bytes] of a contract that we make or take: about 65 inputs

using refund_buffer = bounded_bytes<512>;
using payment_buffer = bounded_bytes<128>;

/// What a public key's owner is paid with: P2PKH of the key's bytes as they went over the wire.
[[nodiscard]] inline script_buffer script_of_key(const public_key& key) { return p2pkh_script(hash160(key.view())); }

/// The refund, complete when it is given the script_sig: all but the fee, which the protocol fixes for the one that is made
/// when the channel opens, back to the client, at the expiry.
[[nodiscard]] inline refund_buffer refund_transaction(const contract_terms& terms, bytes_view script_sig = {},
                                                      satoshi fee = refund_fee,
                                                      std::uint32_t sequence = refund_sequence) {
    const auto to = script_of_key(terms.client_key);
    const tx_input in{terms.contract, script_sig, sequence, {}};
    const tx_output out{{terms.value.value - fee.value}, to.view()};
    refund_buffer tx;
    writer w(tx.memory());
    write_transaction(w, channel_transaction_version, {&in, 1}, {&out, 1},
                      static_cast<std::uint32_t>(terms.expiry.seconds));
    tx.resize(w.size());
    return tx;
}

/// The flags that a payment is signed with: the change is fixed, or there is none to fix and the server may do as it
/// likes.
[[nodiscard]] constexpr std::uint8_t payment_flags(satoshi change) {
    return static_cast<std::uint8_t>((change.value > 0 ? sighash_single : sighash_none) | sighash_anyonecanpay);
}

/// What the client signs to leave itself no more than `change`.  Fails  bad_transaction (never, for terms that were
/// checked).
template <class Scheme>
[[nodiscard]] result<bytes32> payment_digest(const contract_terms& terms, satoshi change) {
    const auto to = script_of_key(terms.client_key);
    const tx_input in{terms.contract, {}, final_sequence, {}};
    const tx_output out{change, to.view()};
    payment_buffer tx;
    writer w(tx.memory());
    // With no change there is no output at all: an output that nobody's signature needs would only cost fees.
    write_transaction(w, channel_transaction_version, {&in, 1}, {&out, change.value > 0 ? 1U : 0U}, 0);
    tx.resize(w.size());
    PAYCHAN_TRY(const auto parsed, parse_transaction(tx.view()));
    return legacy_sighash(parsed, 0, Scheme::script_code(terms).view(), payment_flags(change));
}

/// What `flags` of the refund commit to.
template <class Scheme>
[[nodiscard]] result<bytes32> refund_digest(const contract_terms& terms, bytes_view refund, std::uint8_t flags) {
    PAYCHAN_TRY(const auto parsed, parse_transaction(refund));
    return legacy_sighash(parsed, 0, Scheme::script_code(terms).view(), flags);
}

/// [vbytes] of what spends the contract alone to these outputs.
/// script_sig  [bytes]
[[nodiscard]] inline std::size_t spend_vsize(std::size_t script_sig, std::span<const tx_output> outputs) {
    std::size_t size = 4 + 1 + (36 + (script_sig < 0xfd ? 1 : 3) + script_sig + 4) + 1 + 4;
    for (const tx_output& out : outputs) size += 8 + 1 + out.script_pubkey.size();
    return size;
}

/// True when the amount can hold a channel: the refund must be worth relaying.
[[nodiscard]] constexpr bool bears_refund(satoshi value) { return value.value - refund_fee.value >= p2pkh_dust.value; }

/// What the client keeps when it gives `amount` out of `kept`: a rest that no node would relay is given away too.
/// Fails  out_of_range (amount < 0), insufficient_funds (amount > kept).
[[nodiscard]] constexpr result<satoshi> change_after(satoshi kept, satoshi amount) {
    PAYCHAN_TRY(const auto change, subtract(kept, amount));
    return change < p2pkh_dust ? satoshi{0} : change;
}

inline constexpr std::int32_t newest_version = 2;  // of the protocol

/// A set of protocol versions: which a new channel may have, of those that the program is built with.
class version_set {
public:
    [[nodiscard]] static constexpr version_set all() { return version_set((1U << (newest_version + 1)) - 2); }
    [[nodiscard]] static constexpr version_set only(std::int32_t version) { return version_set(0).with(version); }

    /// This set and `version`; one that the protocol does not have changes nothing.
    [[nodiscard]] constexpr version_set with(std::int32_t version) const {
        return is_one(version) ? version_set(bits_ | 1U << version) : *this;
    }
    [[nodiscard]] constexpr version_set without(std::int32_t version) const {
        return is_one(version) ? version_set(bits_ & ~(1U << version)) : *this;
    }
    [[nodiscard]] constexpr bool has(std::int32_t version) const {
        return is_one(version) && (bits_ >> version & 1U) != 0;
    }

private:
    constexpr explicit version_set(unsigned bits) : bits_(bits) {}
    [[nodiscard]] static constexpr bool is_one(std::int32_t v) { return 1 <= v && v <= newest_version; }
    unsigned bits_;
};

/// The schemes that a program is built with, the preferred one first.  What is not listed is not compiled.
template <class... Schemes>
struct contracts {
    static_assert(sizeof...(Schemes) > 0, "contracts<...> needs at least one scheme, for example cltv_p2sh");

    [[nodiscard]] static constexpr bool has(std::int32_t version) { return ((Schemes::version == version) || ...); }

    /// The version of the first scheme that is allowed; 0 when none is.
    [[nodiscard]] static constexpr std::int32_t preferred(version_set allowed) {
        std::int32_t first = 0;
        ((first = first == 0 && allowed.has(Schemes::version) ? Schemes::version : first), ...);
        return first;
    }

    /// f.template operator()<Scheme>() for the scheme of that version.  Fails  unsupported (this program does not have
    /// it).
    template <class Result, class F>
    [[nodiscard]] static Result with(std::int32_t version, F&& f) {
        Result out = fail(errc::unsupported, "this program is built without the channel's protocol version");
        (void)((Schemes::version == version && (out = f.template operator()<Schemes>(), true)) || ...);
        return out;
    }
};

}  // namespace paychan
