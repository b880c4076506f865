// The transactions of a version 1 channel, made by hand, for tests of the chain and of the wallet.
#pragma once

#include <array>
#include <vector>

#include "paychan/bitcoin/sighash.hpp"
#include "paychan/crypto/keys.hpp"

namespace paychan::testing {

using byte_string = std::vector<std::uint8_t>;

inline byte_string copied(bytes_view v) { return {v.begin(), v.end()}; }

inline secret_key key_of(std::uint8_t number) {
    bytes32 out{};
    out[31] = number;
    return *make_secret_key(out);
}

inline byte_string written(std::int32_t version, std::span<const tx_input> in, std::span<const tx_output> out,
                           std::uint32_t lock_time) {
    byte_string memory(100'000);
    writer w(memory);
    write_transaction(w, version, in, out, lock_time);
    memory.resize(w.ok() ? w.size() : 0);
    return memory;
}

/// DER and hash type, over the legacy digest.
inline byte_string signature(const byte_string& tx, std::size_t input, bytes_view code, const secret_key& key,
                             std::uint8_t hash_type) {
    const auto parsed = parse_transaction(bytes_view(tx));
    const auto digest = legacy_sighash(*parsed, input, code, hash_type);
    return copied(to_bytes(flagged_signature{*sign_ecdsa(key, *digest), hash_type}).view());
}

/// A 2-of-2 of two keys that everyone knows.
struct channel_keys {
    secret_key client = key_of(11);
    secret_key server = key_of(12);
    script_buffer contract_script = multisig_2of2_script(public_key_of(client).view(), public_key_of(server).view());
    script_buffer client_script = p2pkh_script(hash160(public_key_of(client).view()));
    script_buffer server_script = p2pkh_script(hash160(public_key_of(server).view()));

    /// Puts `0 <client's> <server's>` into input 0, which spends the contract.
    [[nodiscard]] byte_string finish(const byte_string& tx, const byte_string& by_client,
                                     const byte_string& by_server) const {
        byte_string script_sig(200);
        writer w(script_sig);
        w.u8(op_0);
        push(w, by_client);
        push(w, by_server);
        script_sig.resize(w.size());
        const auto parsed = parse_transaction(bytes_view(tx));
        std::vector<tx_input> in;
        for (const tx_input& i : parsed->inputs()) in.push_back(i);  // with the witnesses that are there
        std::vector<tx_output> out;
        for (const tx_output& o : parsed->outputs()) out.push_back(o);
        in[0].script_sig = script_sig;
        return written(parsed->version(), in, out, parsed->lock_time());
    }

    /// protocol.md section 5: sequence 0xfffffffe, one output of value - 1,000; client ALL, server NONE|ANYONECANPAY.
    [[nodiscard]] byte_string refund(const outpoint& contract, satoshi value, std::uint32_t lock_time) const {
        const tx_input in{contract, {}, 0xffff'fffe, {}};
        const tx_output out{satoshi{value.value - 1000}, client_script.view()};
        const byte_string tx = written(1, std::span(&in, 1), std::span(&out, 1), lock_time);
        return finish(tx, signature(tx, 0, contract_script.view(), client, sighash_all),
                      signature(tx, 0, contract_script.view(), server, sighash_none | sighash_anyonecanpay));
    }

    /// The client signs its change alone (SINGLE|ANYONECANPAY), the server all of it.
    [[nodiscard]] byte_string settlement(const outpoint& contract, satoshi change, satoshi payout) const {
        const tx_input in{contract, {}, final_sequence, {}};
        const std::array out{tx_output{change, client_script.view()}, tx_output{payout, server_script.view()}};
        const byte_string tx = written(1, std::span(&in, 1), out, 0);
        return finish(tx, signature(tx, 0, contract_script.view(), client, sighash_single | sighash_anyonecanpay),
                      signature(tx, 0, contract_script.view(), server, sighash_all));
    }
};

/// The key hash of a key that everyone knows, as P2PKH: where tests mine to.
inline script_buffer miner_script() { return p2pkh_script(hash160(public_key_of(key_of(99)).view())); }
inline const script_buffer to_miner = miner_script();
inline constexpr satoshi fifty{50 * coin.value};  // what a block pays

/// Spends a P2PKH output of key 99.
inline byte_string spend_mined(const outpoint& coin_to_spend, std::span<const tx_output> out,
                               std::uint32_t sequence = final_sequence, std::uint32_t lock_time = 0) {
    const script_buffer code = miner_script();
    tx_input in{coin_to_spend, {}, sequence, {}};
    const byte_string tx = written(1, std::span(&in, 1), out, lock_time);
    byte_string script_sig(120);
    writer w(script_sig);
    push(w, signature(tx, 0, code.view(), key_of(99), sighash_all));
    push(w, public_key_of(key_of(99)).view());
    in.script_sig = w.written();
    return written(1, std::span(&in, 1), out, lock_time);
}

inline txid id_of(const byte_string& tx) { return parse_transaction(bytes_view(tx))->id(); }

}  // namespace paychan::testing
