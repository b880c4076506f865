#include "paychan/bitcoin/sighash.hpp"

#include <catch2/catch.hpp>

#include "paychan/crypto/keys.hpp"
#include "support.hpp"

using namespace paychan;
using namespace support;

TEST_CASE("legacy sighash gives the hash of every case of sighash.json", "[bitcoin][sighash]") {
    std::size_t cases = 0;
    for (const auto& entry : load("bitcoin-core/sighash.json")) {
        if (entry.size() == 1) continue;
        INFO(entry.dump());
        const bytes raw = unhex(entry[0]);
        const bytes script = unhex(entry[1]);
        const auto input = entry[2].get<std::size_t>();
        const auto hash_type = static_cast<std::uint32_t>(entry[3].get<std::int64_t>());
        const transaction tx = parse_transaction(bytes_view{raw}).value();
        const bytes32 digest = unchecked_legacy_sighash(tx, input, script, hash_type);
        CHECK(str(display(txid{digest})) == entry[4].get<std::string>());

        // The safe form is the same wherever consensus does not sign the number 1.
        const auto safe = legacy_sighash(tx, input, script, hash_type);
        CHECK(safe.has_value() == (digest != bytes32{1}));
        if (safe) CHECK(*safe == digest);
        ++cases;
    }
    CHECK(cases == 500);
}

TEST_CASE("legacy sighash refuses what consensus signs as the number 1", "[bitcoin][sighash]") {
    const std::array<tx_input, 2> inputs{};
    const std::array<tx_output, 1> outputs{};
    const bytes raw = written([&](writer& w) { write_transaction(w, 1, inputs, outputs, 0); });
    const transaction tx = parse_transaction(bytes_view{raw}).value();
    const bytes32 one{1};
    for (const unsigned more : {0U, unsigned{sighash_anyonecanpay}}) {
        CHECK(unchecked_legacy_sighash(tx, 1, {}, sighash_single | more) == one);
        CHECK(legacy_sighash(tx, 1, {}, sighash_single | more).error().code == errc::bad_transaction);
        CHECK(legacy_sighash(tx, 0, {}, sighash_single | more).has_value());
        CHECK(legacy_sighash(tx, 1, {}, sighash_none | more).has_value());
        CHECK(legacy_sighash(tx, 2, {}, sighash_all | more).error().code == errc::bad_transaction);
    }
    CHECK(legacy_sighash(tx, 1, {}, 0x43).error().code == errc::bad_transaction);  // SINGLE by its lowest five bits
    CHECK(bip143_sighash(tx, 2, {}, satoshi{0}, sighash_all).error().code == errc::bad_transaction);
}

TEST_CASE("BIP143 sighash gives the digests of the BIP's examples, and their signatures verify", "[bitcoin][sighash]") {
    struct example {
        const char* unsigned_tx;
        std::size_t input;
        const char* script_code;
        std::int64_t value;
        std::uint8_t hash_type;
        const char* digest;
        const char* key;
        const char* signature;  // without hash type
    };
    const char* const p2wsh_tx =
        "0100000002fe3dc9208094f3ffd12645477b3dc56f60ec4fa8e6f5d67c565d1c6b9216b36e0000000000ffffffff0815cf020f013ed6cf"
        "91d29f4202e8a58726b1ac6c79da47c23d1bee0a6925f80000000000ffffffff0100f2052a010000001976a914a30741f8145e5acadf23"
        "f751864167f32e0963f788ac00000000";
    const std::vector<example> examples{
        {"0100000002fff7f7881a8099afa6940d42d1e7f6362bec38171ea3edf433541db4e4ad969f0000000000eeffffffef51e1b804cc89d18"
         "2d279655c3aa89e815b1b309fe287d9b2b55d57b90ec68a0100000000ffffffff02202cb206000000001976a9148280b37df378db99f6"
         "6f85c95a783a76ac7a6d5988ac9093510d000000001976a9143bde42dbee7e4dbe6a21b2d50ce2f0167faa815988ac11000000",
         1, "76a9141d0f172a0ecb48aee1be1f2687d2963ae33f71a188ac", 600000000, sighash_all,
         "c37af31116d1b27caf68aae9e3ac82f1477929014d5b917657d0eb49478cb670",
         "025476c2e83188368da1ff3e292e7acafcdb3566bb0ad253f62fc70f07aeee6357",
         "304402203609e17b84f6a7d30c80bfa610b5b4542f32a8a0d5447a12fb1366d7f01cc44a0220573a954c4518331561406f90300e8f335"
         "8f51928d43c212a8caed02de67eebee"},
        {"0100000001db6b1b20aa0fd7b23880be2ecbd4a98130974cf4748fb66092ac4d3ceb1a54770100000000feffffff02b8b4eb0b0000000"
         "01976a914a457b684d7f0d539a46a45bbc043f35b59d0d96388ac0008af2f000000001976a914fd270b1ee6abcaea97fea7ad0402e8bd"
         "8ad6d77c88ac92040000",
         0, "76a91479091972186c449eb1ded22b78e40d009bdf008988ac", 1000000000, sighash_all,
         "64f3b0f4dd2bb3aa1ce8566d220cc74dda9df97d8490cc81d89d735c92e59fb6",
         "03ad1d8e89212f0b92c74d23bb710c00662ad1470198ac48c43f7d6f93a2a26873",
         "3044022047ac8e878352d3ebbde1c94ce3a10d057c24175747116f8288e5d794d12d482f0220217f36a485cae903c713331d877c1f646"
         "77e3622ad4010726870540656fe9dcb"},
        {p2wsh_tx, 1,
         "21026dccc749adc2a9d0d89497ac511f760f45c47dc5ed9cf352a58ac706453880aeadab210255a9626aebf5e29c0e6538428ba0d1dcf"
         "6ca98ffdf086aa8ced5e0d0215ea465ac",
         4900000000, sighash_single, "82dde6e4f1e94d02c2b7ad03d2115d691f48d064e9d52f58194a6637e4194391",
         "026dccc749adc2a9d0d89497ac511f760f45c47dc5ed9cf352a58ac706453880ae",
         "3044022027dc95ad6b740fe5129e7e62a75dd00f291a2aeb1200b84b09d9e3789406b6c002201a9ecd315dd6a0e632ab20bbb98948bc0"
         "c6fb204f2c286963bb48517a7058e27"},
        {p2wsh_tx, 1, "210255a9626aebf5e29c0e6538428ba0d1dcf6ca98ffdf086aa8ced5e0d0215ea465ac", 4900000000,
         sighash_single, "fef7bd749cce710c5c052bd796df1af0d935e59cea63736268bcbe2d2134fc47",
         "0255a9626aebf5e29c0e6538428ba0d1dcf6ca98ffdf086aa8ced5e0d0215ea465",
         "304402200de66acf4527789bfda55fc5459e214fa6083f936b430a762c629656216805ac0220396f550692cd347171cbc1ef1f51e1528"
         "2e837bb2b30860dc77c8f78bc8501e5"}};
    for (const auto& e : examples) {
        const bytes raw = unhex(e.unsigned_tx);
        const transaction tx = parse_transaction(bytes_view{raw}).value();
        const auto digest = bip143_sighash(tx, e.input, unhex(e.script_code), satoshi{e.value}, e.hash_type);
        REQUIRE(digest.has_value());
        CHECK(hex(*digest) == e.digest);
        const auto key = parse_public_key(unhex(e.key));
        const auto signature = parse_der(unhex(e.signature));
        REQUIRE(key.has_value());
        REQUIRE(signature.has_value());
        CHECK(verify_ecdsa(*key, *digest, *signature));
    }
}

TEST_CASE("legacy sighash is what both parties of a 2-of-2 contract have signed", "[bitcoin][sighash]") {
    for (const auto& entry : load("channel_transactions.json")) {
        if (entry["section"] != "a bare 2of2" || entry["res"] != "ok") continue;
        const bytes raw = unhex(entry["hex"]);
        const transaction tx = parse_transaction(bytes_view{raw}).value();
        const bytes script = unhex(entry["prevs"][0]["script"]);
        const auto keys = match_multisig_2of2(script);
        if (!keys) continue;
        INFO(entry["name"].get<std::string>());
        script_reader pushes(tx.input(0)->script_sig);
        REQUIRE(pushes.next()->code == op_0);
        for (const bytes_view key : {keys->key1, keys->key2}) {
            const auto push = pushes.next();
            REQUIRE(push.has_value());
            const auto flagged = parse_flagged(push->data);
            REQUIRE(flagged.has_value());
            const auto digest = unchecked_legacy_sighash(tx, 0, script, flagged->hash_type);
            CHECK(verify_ecdsa(parse_public_key(key).value(), digest, flagged->signature));
        }
    }
}
