// The refund: the reference's bytes, a lock that holds, and a server that signs no other.
#include <catch2/catch.hpp>

#include "paychan/bitcoin/interpreter.hpp"
#include "paychan/channel/claim.hpp"
#include "paychan/channel/client_step.hpp"
#include "paychan/channel/server_step.hpp"
#include "paychan/memory/store.hpp"
#include "support/channel.hpp"
#include "support/coin_wallet.hpp"
#include "support/wire.hpp"

using namespace paychan;
using namespace paychan_test;

namespace {

constexpr unix_time today{1'700'000'000};

/// A server that has sent INITIATE.
struct waiting_server {
    made_channel made;
    server_settings settings;
    coin_wallet wallet{3};
    server_channel channel;

    auto environment() {
        static auto find = [](const txid&) -> result<channel_record> { return fail(errc::not_found, "none"); };
        return server_environment<memory_keys, coin_wallet, decltype(find)>{settings, made.server_keys,   wallet, find,
                                                                            today,    min_relay_fee_rate, {}};
    }

    waiting_server() {
        REQUIRE(step<contracts<cltv_p2sh, multisig_refund>>(channel, environment(),
                                                            wire::client_version{1, 0, {}, 86'340}));
    }

    /// The terms that the client would make a refund from.
    contract_terms terms() const {
        contract_terms t = channel.record.terms;
        t.client_key = made.record.terms.client_key;
        t.contract = made.record.terms.contract;
        t.value = made.record.terms.value;
        return t;
    }

    std::string asked_to_sign(const bytes& refund) {
        server_channel next = channel;
        const auto done = step<contracts<cltv_p2sh, multisig_refund>>(
            next, environment(), wire::provide_refund{made.record.terms.client_key.view(), refund});
        if (done) return "signed";
        CHECK(done.error().code == errc::bad_transaction);
        return std::string(done.error().text);
    }
};

struct refund_parts {
    std::vector<tx_input> inputs;
    std::vector<tx_output> outputs;
    std::uint32_t lock_time = 0;

    explicit refund_parts(const transaction& tx) : lock_time(tx.lock_time()) {
        for (const tx_input& i : tx.inputs()) inputs.push_back(i);
        for (const tx_output& o : tx.outputs()) outputs.push_back(o);
    }
    [[nodiscard]] bytes written() const {
        bytes out(1'000);
        writer w(out);
        write_transaction(w, 1, inputs, outputs, lock_time);
        out.resize(w.size());
        return out;
    }
};

}  // namespace

TEST_CASE("the refund and its sighash are the reference's, byte for byte", "[channel][refund]") {
    for (const char* name : {"open_pay10_settle", "client_value_equals_min", "resume"}) {
        const recorded_channel recorded(name);
        INFO(name);
        const refund_buffer refund = refund_transaction(recorded.terms);
        CHECK(hex(refund.view()) == recorded.channel()["refund_unsigned"].get<std::string>());
        const auto digest = refund_digest<v1_scheme>(recorded.terms, refund.view(), cosigned_refund_flags);
        REQUIRE(digest);
        CHECK(hex(*digest) == recorded.channel()["refund_server_sighash"].get<std::string>());
        const bytes signature = unhex(recorded.channel()["refund_server_sig"].get<std::string>());
        CHECK(verify_ecdsa(recorded.terms.server_key, *digest, parse_flagged(signature)->signature));
    }
}

TEST_CASE("a completed refund is the reference's, and spends the contract", "[channel][refund]") {
    const recorded_channel recorded("open_pay10_settle");
    const bytes complete = unhex(recorded.channel()["refund_complete"].get<std::string>());
    memory_keys keys = recorded.client_keys();
    client_channel channel;
    channel.record.terms = recorded.terms;
    channel.record.key = keys.new_key().value();
    channel.session.refund = refund_transaction(recorded.terms);
    const bytes server_signature = unhex(recorded.channel()["refund_server_sig"].get<std::string>());
    REQUIRE(paychan::detail::complete_refund<v1_scheme>(channel, keys, server_signature));
    CHECK(hex(channel.session.refund.view()) == hex(complete));

    const auto script = v1_scheme::script_pubkey(recorded.terms);
    const auto tx = parse_transaction(complete).value();
    CHECK(verify_input(tx, 0, {recorded.terms.value, script.view()}, standard_flags));
}

TEST_CASE("a server signs a refund that is locked, and no other", "[channel][refund]") {
    waiting_server s;
    const refund_buffer good = refund_transaction(s.terms());
    refund_parts r(parse_transaction(good.view()).value());
    CHECK(s.asked_to_sign(r.written()) == "signed");

    SECTION("any sequence but the final one keeps the lock") {
        for (const std::uint32_t sequence : {0U, 1U, 0x8000'0000U, 0xffff'fffeU}) {
            r.inputs[0].sequence = sequence;
            CHECK(s.asked_to_sign(r.written()) == "signed");
        }
        r.inputs[0].sequence = 0xffff'ffff;
        CHECK(s.asked_to_sign(r.written()) == "the refund's sequence number disables its lock time");
    }
    SECTION("the lock time is the expiry or later") {
        const auto seconds = static_cast<std::uint32_t>(s.channel.record.terms.expiry.seconds);
        for (const std::uint32_t lock : {seconds, seconds + 1, 0xffff'ffffU}) {
            r.lock_time = lock;
            CHECK(s.asked_to_sign(r.written()) == "signed");
        }
        for (const std::uint32_t lock : {seconds - 1, 500'000'000U, 499'999'999U, 800'000U, 0U}) {
            r.lock_time = lock;
            CHECK(s.asked_to_sign(r.written()) == "the refund has a lock time too soon");
        }
    }
    SECTION("a lock time that is a height is refused, though the expiry were one") {
        // Such an expiry comes of a broken clock only; the refund would be free at once.
        s.channel.record.terms.expiry = {400'000'000};
        r.lock_time = 450'000'000;
        CHECK(s.asked_to_sign(r.written()) == "the refund has a lock time too soon");
    }
    SECTION("one input, one output") {
        auto two = r;
        two.inputs.push_back(two.inputs[0]);
        CHECK(s.asked_to_sign(two.written()) == "the refund does not have exactly one input");
        two = r;
        two.outputs.push_back(two.outputs[0]);
        CHECK(s.asked_to_sign(two.written()) == "the refund does not have exactly one output");
        two.outputs.clear();
        CHECK(s.asked_to_sign(two.written()) == "the refund does not have exactly one output");
    }
    SECTION("the first output of the contract") {
        r.inputs[0].prevout.index = 1;
        CHECK(s.asked_to_sign(r.written()) == "the refund does not spend the contract's first output");
    }
    SECTION("bytes that are no transaction") {
        CHECK(s.asked_to_sign({}) == "the refund is not a transaction");
        bytes longer = owned(good.view());
        longer.push_back(0);
        CHECK(s.asked_to_sign(longer) == "the refund is not a transaction");
        for (std::size_t size = 0; size < good.size(); ++size)
            CHECK(s.asked_to_sign(owned(good.view().first(size))) == "the refund is not a transaction");
    }
    SECTION("the trap that nodes accept: a final sequence, so that the lock does not bind") {
        int found = 0;
        for (const auto& v : read_vectors("channel_transactions.json")) {
            if (v["name"].get<std::string>().rfind("same refund but sequence 0xffffffff", 0) != 0) continue;
            REQUIRE(v["res"] == "ok");
            CHECK(s.asked_to_sign(unhex(v["hex"].get<std::string>())) ==
                  "the refund's sequence number disables its lock time");
            ++found;
        }
        CHECK(found == 1);
    }
}

TEST_CASE("the server's signature under a refund lets the client do nothing before the lock", "[channel][refund]") {
    waiting_server s;
    const refund_buffer good = refund_transaction(s.terms());
    server_channel next = s.channel;
    REQUIRE(step<contracts<cltv_p2sh, multisig_refund>>(
        next, s.environment(), wire::provide_refund{s.made.record.terms.client_key.view(), good.view()}));
    const auto flagged = parse_flagged(next.session.refund_signature.view());
    REQUIRE(flagged);
    CHECK(flagged->hash_type == 0x82);

    const contract_terms terms = s.terms();
    const auto verifies = [&](const bytes& refund) {
        const auto digest = refund_digest<v1_scheme>(terms, refund, 0x82);
        return digest && verify_ecdsa(terms.server_key, *digest, flagged->signature);
    };
    refund_parts r(parse_transaction(good.view()).value());
    CHECK(verifies(r.written()));
    r.outputs[0].value = {546};  // NONE: the outputs are the client's
    CHECK(verifies(r.written()));
    auto changed = r;
    changed.lock_time -= 1;
    CHECK_FALSE(verifies(changed.written()));
    changed = r;
    changed.inputs[0].sequence = final_sequence;
    CHECK_FALSE(verifies(changed.written()));
    changed = r;
    changed.inputs[0].prevout.id.bytes[0] ^= 1;
    CHECK_FALSE(verifies(changed.written()));
}

TEST_CASE("a refund is due when the median time is behind the expiry, not before and not at it", "[channel][refund]") {
    channel_record record = made_channel().record;
    const unix_time t = record.terms.expiry;
    CHECK_FALSE(refund_is_due(record, t + -1));
    CHECK_FALSE(refund_is_due(record, t));  // BIP113: the lock time must be below the median time
    CHECK(refund_is_due(record, t + 1));
    record.stage = channel_stage::none;
    CHECK_FALSE(refund_is_due(record, t + 1));
}

TEST_CASE("a refund is broadcast behind its contract, and never before its time", "[channel][refund]") {
    const channel_record record = made_channel().record;
    const txid id = record.terms.contract.id;
    memory_store store;
    recording_broadcaster network;
    bytes memory(10'000);
    REQUIRE(store.put({record_kind::client_contract, id}, 1, as_bytes("contract")));
    CHECK(broadcast_refund(record, record.terms.expiry, store, network, memory).error().code == errc::not_yet_due);
    CHECK(network.sent.empty());
    CHECK(broadcast_refund(record, record.terms.expiry + 1, store, network, memory).error().code == errc::not_found);
    REQUIRE(store.put({record_kind::client_refund, id}, 1, as_bytes("refund")));
    network.sent.clear();
    REQUIRE(broadcast_refund(record, record.terms.expiry + 1, store, network, memory));
    REQUIRE(network.sent.size() == 2);
    CHECK(text_of(network.sent[0]) == "contract");
    CHECK(text_of(network.sent[1]) == "refund");
    CHECK(broadcast_refund({}, record.terms.expiry + 1, store, network, memory).error().code == errc::wrong_state);
}

TEST_CASE("a refund is broadcast although its contract's record is damaged or gone", "[channel][refund]") {
    // The contract is most likely mined long since; without the refund the money would stay where it is.
    made_channel c;
    channel_record record = c.record;
    record.stage = channel_stage::open;
    const txid id = record.terms.contract.id;
    memory_store store;
    recording_broadcaster network;
    const refund_buffer refund = refund_transaction(record.terms);
    const unix_time due = record.terms.expiry + 1;
    bytes memory(wire::max_frame_size);

    CHECK(broadcast_refund(record, due, store, network, memory).error().code == errc::not_found);
    CHECK(network.sent.empty());
    REQUIRE(store.put({record_kind::client_refund, id}, 1, refund.view()));
    SECTION("gone") {
        REQUIRE(broadcast_refund(record, due, store, network, memory));
        CHECK(network.sent == std::vector<bytes>{owned(refund.view())});
    }
    SECTION("longer than the memory for it") {
        const bytes contract(memory.size() + 1, 'x');
        REQUIRE(store.put({record_kind::client_contract, id}, 1, contract));
        REQUIRE(broadcast_refund(record, due, store, network, memory));
        CHECK(network.sent == std::vector<bytes>{owned(refund.view())});
    }
    SECTION("a store that cannot read it") {
        struct half_broken {
            memory_store& disk;
            errc code;
            result<void> put(const record_id& r, std::uint64_t v, bytes_view b) { return disk.put(r, v, b); }
            result<stored_record> get(const record_id& r, bytes_span m) {
                if (r.kind == record_kind::client_contract) return fail(code, "as planned by the test");
                return disk.get(r, m);
            }
            result<void> erase(const record_id& r) { return disk.erase(r); }
            result<void> list(record_kind kind, void (*f)(const record_id&)) { return disk.list(kind, f); }
        };
        for (const errc code : {errc::corrupt_record, errc::store_failed}) {
            half_broken broken{store, code};
            network.sent.clear();
            REQUIRE(broadcast_refund(record, due, broken, network, memory));
            CHECK(network.sent == std::vector<bytes>{owned(refund.view())});
        }
    }
}
