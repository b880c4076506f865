// A channel's terms and both sides' keys: made up here, or taken from a recorded session.
#pragma once

#include "paychan/channel/contract.hpp"
#include "paychan/channel/multisig_refund.hpp"
#include "paychan/channel/payment.hpp"
#include "paychan/channel/settlement.hpp"
#include "paychan/memory/chain.hpp"
#include "paychan/memory/keys.hpp"
#include "support/bytes.hpp"

namespace paychan_test {

using v1_scheme = paychan::multisig_refund;

/// An open channel with a first payment, and the keys to sign whatever a test wants signed.
struct made_channel {
    paychan::memory_keys client_keys = paychan::memory_keys::testing_from(11);
    paychan::memory_keys server_keys = paychan::memory_keys::testing_from(12);
    paychan::key_id client_key = client_keys.new_key().value();
    paychan::channel_record record;  // the server's

    explicit made_channel(paychan::satoshi value = paychan::satoshi{1'000'000}) {
        record.version = 1;
        record.protocol = 1;
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
        const auto digest =
            paychan::unchecked_legacy_sighash(tx, 0, v1_scheme::script_code(record.terms).view(), flags);
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
        const auto script = v1_scheme::script_pubkey(record.terms);
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

/// Terms and values of a channel that the reference recorded.
struct recorded_channel {
    nlohmann::json file;
    paychan::contract_terms terms;

    explicit recorded_channel(const std::string& name) : file(read_vectors("bitcoinj/" + name + ".v1.json")) {
        const auto& c = file["channels"][0];
        terms.contract = {paychan::parse_txid(c["contract_txid"].get<std::string>()).value(), 0};
        terms.value = {c["value"].get<std::int64_t>()};
        terms.expiry = {c["expiry"].get<std::int64_t>()};
        terms.client_key = paychan::parse_public_key(unhex(c["client_pub"].get<std::string>())).value();
        terms.server_key = paychan::parse_public_key(unhex(c["server_pub"].get<std::string>())).value();
    }
    [[nodiscard]] const nlohmann::json& channel() const { return file["channels"][0]; }
};

}  // namespace paychan_test
