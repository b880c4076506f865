// A channel's terms and both sides' keys: made up here, or taken from a recorded session.
#pragma once

#include "paychan/channel/cltv_p2sh.hpp"
#include "paychan/channel/contract.hpp"
#include "paychan/channel/multisig_refund.hpp"
#include "paychan/channel/payment.hpp"
#include "paychan/channel/settlement.hpp"
#include "paychan/memory/chain.hpp"
#include "paychan/memory/keys.hpp"
#include "support/bytes.hpp"

namespace paychan_test {

using v1_scheme = paychan::multisig_refund;
using v2_scheme = paychan::cltv_p2sh;

/// The other byte form of a compressed key: 04, x, y.
[[nodiscard]] inline paychan::public_key uncompressed(const paychan::public_key& key) {
    secp256k1_context* const context = secp256k1_context_create(SECP256K1_CONTEXT_NONE);
    secp256k1_pubkey point{};
    std::array<std::uint8_t, 65> out{};
    std::size_t size = out.size();
    const bool read = secp256k1_ec_pubkey_parse(context, &point, key.view().data(), key.view().size()) == 1;
    secp256k1_ec_pubkey_serialize(context, out.data(), &size, &point, SECP256K1_EC_UNCOMPRESSED);
    secp256k1_context_destroy(context);
    if (!read) throw std::runtime_error("not a key");
    return paychan::parse_public_key(out).value();
}

/// An open channel with a first payment, and the keys to sign whatever a test wants signed.
template <class Scheme>
struct channel_of {
    paychan::memory_keys client_keys = paychan::memory_keys::testing_from(11);
    paychan::memory_keys server_keys = paychan::memory_keys::testing_from(12);
    paychan::key_id client_key = client_keys.new_key().value();
    paychan::channel_record record;  // the server's

    explicit channel_of(paychan::satoshi value = paychan::satoshi{1'000'000}) {
        record.version = 1;
        record.protocol = Scheme::version;
        record.stage = paychan::channel_stage::open;
        record.key = server_keys.new_key().value();
        record.terms.contract = {{paychan::sha256(as_bytes("contract"))}, 0};
        record.terms.value = value;
        record.terms.expiry = {1'700'086'340};
        record.terms.client_key = client_keys.public_key(client_key).value();
        record.terms.server_key = server_keys.public_key(record.key).value();
        record.change = value;
    }

    /// The client's signature for that change under any flags; SINGLE without an output signs what consensus asks for.
    [[nodiscard]] bytes signed_change(paychan::satoshi change, std::uint8_t flags, bool high_s = false) const {
        const auto to = paychan::script_of_key(record.terms.client_key);
        const paychan::tx_input in{record.terms.contract, {}, paychan::final_sequence, {}};
        const paychan::tx_output out{change, to.view()};
        std::array<std::uint8_t, 256> memory{};
        paychan::writer w(memory);
        paychan::write_transaction(w, 1, {&in, 1}, {&out, change.value > 0 ? 1U : 0U}, 0);
        const auto tx = paychan::parse_transaction(w.written()).value();
        const auto digest = paychan::unchecked_legacy_sighash(tx, 0, Scheme::script_code(record.terms).view(), flags);
        auto signature = client_keys.sign({client_key, paychan::signing_purpose::payment, digest, change, {}}).value();
        if (high_s) signature = with_high_s(signature);
        return owned(paychan::to_bytes({signature, flags}).view());
    }

    [[nodiscard]] paychan::wire::update_payment payment(const bytes& signature, std::int64_t change) const {
        paychan::wire::update_payment m;
        m.client_change_value = static_cast<std::uint64_t>(change);
        m.signature = signature;
        return m;
    }

    /// The record after a payment that leaves `change`.
    void pay_down_to(std::int64_t change) {
        const bytes signature = signed_change({change}, paychan::payment_flags({change}));
        record.change = {change};
        (void)record.signature.assign(signature);
    }

    /// Puts the contract's output on a chain.
    void fund(paychan::memory_chain& chain) const {
        const auto script = Scheme::script_pubkey(record.terms);
        chain.testing_add_coin(record.terms.contract,
                               {record.terms.value, {script.view().begin(), script.view().end()}, 1, false});
    }

    /// n - s: the other s of the same signature, which consensus takes and no node relays.
    static paychan::ecdsa_signature with_high_s(paychan::ecdsa_signature signature) {
        const bytes order = unhex("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141");
        int borrow = 0;
        for (std::size_t i = 32; i-- > 0;) {
            const int d = order[i] - signature.compact[32 + i] - borrow;
            borrow = d < 0 ? 1 : 0;
            signature.compact[32 + i] = static_cast<std::uint8_t>(d + 256 * borrow);
        }
        return signature;
    }
};

using made_channel = channel_of<v1_scheme>;

/// Terms and values of a channel that the reference recorded.
struct recorded_channel {
    nlohmann::json file;
    paychan::contract_terms terms;

    /// version  of the protocol: a session's name is the same in both
    explicit recorded_channel(const std::string& name, std::int32_t version = 1)
        : file(read_vectors("bitcoinj/" + name + ".v" + std::to_string(version) + ".json")) {
        const auto& c = file["channels"][0];
        terms.contract = {paychan::parse_txid(c["contract_txid"].get<std::string>()).value(), 0};
        terms.value = {c["value"].get<std::int64_t>()};
        terms.expiry = {c["expiry"].get<std::int64_t>()};
        terms.client_key = paychan::parse_public_key(unhex(c["client_pub"].get<std::string>())).value();
        terms.server_key = paychan::parse_public_key(unhex(c["server_pub"].get<std::string>())).value();
    }
    [[nodiscard]] const nlohmann::json& channel() const { return file["channels"][0]; }

    /// The key store of the recorded client, whose only key is the channel's.
    [[nodiscard]] paychan::memory_keys client_keys() const {
        paychan::bytes32 key{};
        for (const auto& k : file["keys"])
            if (k.value("from", "") == "client_key" && !paychan::from_hex(k["priv"].get<std::string>(), key))
                throw std::runtime_error("not a key");
        return paychan::memory_keys{std::span(&key, 1)};
    }
};

}  // namespace paychan_test
