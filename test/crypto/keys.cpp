// Keys, signing and verifying: RFC 6979 vectors, and every signature of two recorded bitcoinj sessions.
#include "paychan/crypto/keys.hpp"

#include <catch2/catch.hpp>
#include <fstream>
#include <nlohmann/json.hpp>

#include "paychan/crypto/hash.hpp"
#include "support.hpp"

using namespace paychan;
using namespace support;

namespace {

// The generator (SEC 2, 2.4.1), which is the public key of the secret key 1.
const std::string gx = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
const std::string gy = "483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8";

secret_key key_of(const std::string& text) {
    auto key = make_secret_key(unhex32(text));
    REQUIRE(key);
    return std::move(*key);
}

errc error_of(const std::string& public_key_text) {
    const auto key = parse_public_key(unhex(public_key_text));
    REQUIRE(!key);
    return key.error().code;
}

nlohmann::json session(const std::string& name) {
    std::ifstream file(std::string(PAYCHAN_TEST_VECTORS) + "/bitcoinj/" + name);
    REQUIRE(file);
    return nlohmann::json::parse(file);
}

struct recorded {
    std::string public_key, secret_key, sighash, signature;
};

// All signatures of a session that name their signer and sighash.
std::vector<recorded> signatures_of(const nlohmann::json& s) {
    const auto& channel = s.at("channels").at(0);
    const std::string client = channel.at("client_pub"), server = channel.at("server_pub");
    const auto secret_of = [&](const std::string& pub) -> std::string { return s.at("keys").at(pub).at("priv"); };
    std::vector<recorded> out;
    out.push_back({server, secret_of(server), channel.at("refund_server_sighash"), channel.at("refund_server_sig")});
    for (const auto& p : s.at("payments"))
        out.push_back({client, secret_of(client), p.at("sighash"), p.at("signature")});
    for (const auto& spend : s.at("spends"))
        for (const auto& sig : spend.at("sigs")) {
            const auto& by = sig.at("by") == "client" ? client : server;
            out.push_back({by, secret_of(by), sig.at("sighash"), sig.at("sig")});
        }
    return out;
}

}  // namespace

TEST_CASE("a public key keeps the form it was given in", "[keys]") {
    for (const auto& text : {"02" + gx, "04" + gx + gy}) {
        const auto key = parse_public_key(unhex(text));
        REQUIRE(key);
        CHECK(hex(key->view()) == text);
    }
    CHECK(*parse_public_key(unhex("02" + gx)) == *parse_public_key(unhex("02" + gx)));
    CHECK(!(*parse_public_key(unhex("02" + gx)) == *parse_public_key(unhex("04" + gx + gy))));
    CHECK(!(*parse_public_key(unhex("02" + gx)) == *parse_public_key(unhex("03" + gx))));
}

TEST_CASE("bytes that are no public key are refused", "[keys]") {
    CHECK(error_of("") == errc::invalid_key);
    CHECK(error_of("02") == errc::invalid_key);
    CHECK(error_of("02" + gx.substr(2)) == errc::invalid_key);
    CHECK(error_of("02" + gx + "00") == errc::invalid_key);
    CHECK(error_of("04" + gx) == errc::invalid_key);
    CHECK(error_of("02" + gx + gy) == errc::invalid_key);
    CHECK(error_of("04" + gx + gy + "00") == errc::invalid_key);
    CHECK(error_of("05" + gx) == errc::invalid_key);
    CHECK(error_of("00" + gx) == errc::invalid_key);
}

TEST_CASE("a hybrid public key is refused though it is on the curve", "[keys]") {
    CHECK(error_of("06" + gx + gy) == errc::invalid_key);  // even y: the right one of the two
    CHECK(error_of("07" + gx + gy) == errc::invalid_key);
}

TEST_CASE("a public key beside the curve is refused", "[keys]") {
    CHECK(error_of("04" + gx + gx) == errc::invalid_key);
    // x = 5 has no y (125 + 7 is no square), x = p is out of the field.
    CHECK(error_of("02" + std::string(63, '0') + "5") == errc::invalid_key);
    CHECK(error_of("02fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f") == errc::invalid_key);
}

TEST_CASE("a secret key is in 1..n-1", "[keys]") {
    CHECK(make_secret_key(unhex32(one)));
    CHECK(make_secret_key(unhex32(order_minus_1)));
    for (const auto& bad : {zero, order, std::string(64, 'f')}) {
        const auto key = make_secret_key(unhex32(bad));
        REQUIRE(!key);
        CHECK(key.error().code == errc::invalid_key);
    }
}

TEST_CASE("the public key of 1 is the generator and that of n-1 its negative", "[keys]") {
    CHECK(hex(public_key_of(key_of(one)).view()) == "02" + gx);
    CHECK(hex(public_key_of(key_of(order_minus_1)).view()) == "03" + gx);
}

TEST_CASE("a key that was moved from signs nothing", "[keys]") {
    auto key = key_of(one);
    const auto taken = std::move(key);
    CHECK(public_key_of(key).view().empty());  // NOLINT: the contract of secret
    const auto signature = sign_ecdsa(key, bytes32{});
    REQUIRE(!signature);
    CHECK(signature.error().code == errc::invalid_key);
    CHECK(sign_ecdsa(taken, bytes32{}));
}

TEST_CASE("signing is deterministic as RFC 6979 has it", "[keys]") {
    struct vector {
        std::string key, message, signature;
    };
    // The secp256k1 vectors that Trezor, bitcoinjs and python-ecdsa share; the digest is SHA-256 of the message.
    const vector vectors[] = {
        {one, "Satoshi Nakamoto",
         "934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d8"
         "2442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5"},
        {one, "All those moments will be lost in time, like tears in rain. Time to die...",
         "8600dbd41e348fe5c9465ab92d23e3db8b98b873beecd930736488696438cb6b"
         "547fe64427496db33bf66019dacbf0039c04199abb0122918601db38a72cfc21"},
        {order_minus_1, "Satoshi Nakamoto",
         "fd567d121db66e382991534ada77a6bd3106f0a1098c231e47993447cd6af2d0"
         "6b39cd0eb1bc8603e159ef5c20a5c8ad685a45b06ce9bebed3f153d10d93bed5"},
        {"f8b8af8ce3c7cca5e300d33939540c10d45ce001b8f252bfbc57ba0342904181", "Alan Turing",
         "7063ae83e7f62bbb171798131b4a0564b956930092b33b07b395615d9ec7e15c"
         "58dfcc1e00a35e1572f366ffe34ba0fc47db1e7189759b9fb233c5b05ab388ea"},
    };
    for (const auto& v : vectors) {
        const auto key = key_of(v.key);
        const auto digest = sha256(bytes_of(v.message));
        const auto signature = sign_ecdsa(key, digest);
        REQUIRE(signature);
        CHECK(hex(signature->compact) == v.signature);
        CHECK(is_low_s(*signature));
        CHECK(verify_ecdsa(public_key_of(key), digest, *signature));
    }
}

TEST_CASE("our signatures are those that bitcoinj made, byte for byte", "[keys]") {
    const auto all = signatures_of(session("open_pay10_settle.v1.json"));
    REQUIRE(all.size() == 18);  // refund, 11 payments, three spends with two each
    for (const auto& r : all) {
        INFO(r.signature);
        const auto key = key_of(r.secret_key);
        const auto digest = unhex32(r.sighash);
        CHECK(hex(public_key_of(key).view()) == r.public_key);

        const auto theirs = parse_flagged(unhex(r.signature));
        REQUIRE(theirs);
        const auto ours = sign_ecdsa(key, digest);
        REQUIRE(ours);
        CHECK(hex(to_bytes({*ours, theirs->hash_type}).view()) == r.signature);
        CHECK(verify_ecdsa(*parse_public_key(unhex(r.public_key)), digest, theirs->signature));
    }
}

TEST_CASE("a high S payment parses, does not verify, and verifies once normalised", "[keys]") {
    std::size_t high = 0;
    for (const auto& r : signatures_of(session("raw_pay_high_s.v1.json"))) {
        const auto theirs = parse_flagged(unhex(r.signature));
        REQUIRE(theirs);
        const auto key = *parse_public_key(unhex(r.public_key));
        const auto digest = unhex32(r.sighash);
        const bool low = is_low_s(theirs->signature);
        high += low ? 0 : 1;
        CHECK(verify_ecdsa(key, digest, theirs->signature) == low);
        CHECK(verify_ecdsa(key, digest, normalized(theirs->signature)));
        CHECK(normalized(theirs->signature) == *sign_ecdsa(key_of(r.secret_key), digest));
    }
    CHECK(high == 1);
}

TEST_CASE("a signature verifies for its key and its digest only", "[keys]") {
    const auto key = key_of(one);
    const auto digest = sha256(bytes_of("a payment"));
    const auto signature = *sign_ecdsa(key, digest);
    const auto pub = public_key_of(key);
    REQUIRE(verify_ecdsa(pub, digest, signature));
    CHECK(verify_ecdsa(*parse_public_key(unhex("04" + gx + gy)), digest, signature));

    CHECK(!verify_ecdsa(*parse_public_key(unhex("03" + gx)), digest, signature));
    CHECK(!verify_ecdsa(public_key{}, digest, signature));
    CHECK(!verify_ecdsa(pub, sha256(bytes_of("another")), signature));
    CHECK(!verify_ecdsa(pub, digest, ecdsa_signature{}));
    for (std::size_t i = 0; i < 64; ++i) {
        auto changed = signature;
        changed.compact[i] ^= 1;
        CHECK(!verify_ecdsa(pub, digest, changed));
    }
    ecdsa_signature beyond;
    beyond.compact.fill(0xff);
    CHECK(!verify_ecdsa(pub, digest, beyond));
}

TEST_CASE("blinding the context changes no signature", "[keys]") {
    const auto digest = sha256(bytes_of("a payment"));
    const auto before = *sign_ecdsa(key_of(order_minus_1), digest);
    randomize_context(secret<bytes32>(sha256(bytes_of("a seed of a test"))));
    CHECK(*sign_ecdsa(key_of(order_minus_1), digest) == before);
}
