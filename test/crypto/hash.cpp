// The hashes against published vectors, and both implementations against libcrypto at every length around a block.
#include "paychan/crypto/hash.hpp"

#include <openssl/evp.h>

#include <catch2/catch.hpp>
#include <random>
#include <thread>

#include "support.hpp"

using namespace paychan;
using support::bytes_of;
using support::hex;
using support::unhex;

namespace {

struct hash_vector {
    std::string message;
    std::string digest;
};

const std::string million(1'000'000, 'a');
const std::string two_blocks = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
const std::string four_words =
    "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu";

// FIPS 180-4 examples (NIST, "SHA256.pdf"), and the one of a million letters.
const hash_vector sha256_vectors[] = {
    {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {two_blocks, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    {million, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
};

// FIPS 180-4 examples (NIST, "SHA512.pdf").
const hash_vector sha512_vectors[] = {
    {"abc",
     "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
     "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"},
    {four_words,
     "8e959b75dae313da8cf4f72814fc143f8f7779c6eb9f7fa17299aeadb6889018"
     "501d289e4900f7e4331b99dec4b5433ac7d329eeb6dd26545e96e55b874be909"},
    {million,
     "e718483d0ce769644e2e42c7bc15b4638e1f98b13b2044285632a803afa973eb"
     "de0ff244877ea60a4cb0432ce577c31beb009c5c2c49aa2e4eadb217ad8cc09b"},
};

// Dobbertin, Bosselaers, Preneel: the test values of the RIPEMD-160 page.
const hash_vector ripemd160_vectors[] = {
    {"", "9c1185a5c5e9fc54612808977ee8f548b2258d31"},
    {"a", "0bdc9d2d256b3ee9daae347be6f4dc835a467ffe"},
    {"abc", "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc"},
    {"message digest", "5d0689ef49d2fae572b881b123a85ffa21595f36"},
    {"abcdefghijklmnopqrstuvwxyz", "f71c27109c692c1b56bbdceb5b9d2865b3708dbc"},
    {two_blocks, "12a053384a9c0c88e405a06c27dcf49ada62eb2b"},
    {"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", "b0e20b6e3116640286ed3a87a5713079b21f5189"},
    {"12345678901234567890123456789012345678901234567890123456789012345678901234567890",
     "9b752e45573d4b39f4dbd3323cab82bf63326bfb"},
    {million, "52783243c1697bdbe16d37f97f68f08325dc1528"},
};

template <class Stream>
std::string digest(bytes_view message) {
    Stream s;
    s.update(message);
    return hex(s.finish());
}

std::string by_libcrypto(const char* name, bytes_view message) {
    std::array<std::uint8_t, 64> out{};
    std::size_t size = 0;
    REQUIRE(EVP_Q_digest(nullptr, name, nullptr, message.data(), message.size(), out.data(), &size) == 1);
    return hex(bytes_view(out).first(size));
}

}  // namespace

TEMPLATE_TEST_CASE("SHA-256 gives the digests of FIPS 180-4", "[hash]", sha256_stream, portable::sha256_stream) {
    for (const auto& v : sha256_vectors) CHECK(digest<TestType>(bytes_of(v.message)) == v.digest);
}

TEMPLATE_TEST_CASE("SHA-512 gives the digests of FIPS 180-4", "[hash]", sha512_stream, portable::sha512_stream) {
    for (const auto& v : sha512_vectors) CHECK(digest<TestType>(bytes_of(v.message)) == v.digest);
}

TEST_CASE("RIPEMD-160 gives the digests that its authors published", "[hash]") {
    for (const auto& v : ripemd160_vectors) CHECK(hex(ripemd160(bytes_of(v.message))) == v.digest);
}

TEST_CASE("every hash agrees with libcrypto at every length from 0 to 300", "[hash]") {
    const auto seed = 20240229U;
    INFO("seed " << seed);
    std::mt19937 random(seed);
    for (std::size_t length = 0; length <= 300; ++length) {
        std::vector<std::uint8_t> message(length);
        for (auto& b : message) b = static_cast<std::uint8_t>(random());
        INFO("length " << length);
        const auto expected256 = by_libcrypto("SHA256", message);
        const auto expected512 = by_libcrypto("SHA512", message);
        REQUIRE(digest<sha256_stream>(message) == expected256);
        REQUIRE(digest<portable::sha256_stream>(message) == expected256);
        REQUIRE(digest<sha512_stream>(message) == expected512);
        REQUIRE(digest<portable::sha512_stream>(message) == expected512);
        REQUIRE(hex(ripemd160(message)) == by_libcrypto("RIPEMD160", message));
    }
}

TEMPLATE_TEST_CASE("a stream does not care how the message is cut", "[hash]", sha256_stream, portable::sha256_stream) {
    const auto seed = 7U;
    INFO("seed " << seed);
    std::mt19937 random(seed);
    const auto whole = bytes_of(million).first(1000);
    for (int run = 0; run < 200; ++run) {
        TestType s;
        for (auto rest = whole; !rest.empty();) {
            const std::size_t n = std::min<std::size_t>(random() % 150, rest.size());
            s.update(rest.first(n));
            rest = rest.subspan(n);
        }
        REQUIRE(hex(s.finish()) == by_libcrypto("SHA256", whole));
    }
}

TEMPLATE_TEST_CASE("a stream starts afresh after finish", "[hash]", sha256_stream, portable::sha256_stream) {
    TestType s;
    s.update(bytes_of("something else"));
    (void)s.finish();
    CHECK(hex(s.finish()) == sha256_vectors[0].digest);
    s.update(bytes_of("abc"));
    CHECK(hex(s.finish()) == sha256_vectors[1].digest);
}

TEST_CASE("an abandoned stream leaves nothing for the next", "[hash]") {
    {
        sha256_stream s;
        s.update(bytes_of("never finished"));
    }
    CHECK(hex(sha256(bytes_of("abc"))) == sha256_vectors[1].digest);
}

TEST_CASE("streams may be open at once, more than the thread keeps contexts for", "[hash]") {
    std::array<sha256_stream, 9> streams;
    for (auto& s : streams) s.update(bytes_of("a"));
    for (auto& s : streams) s.update(bytes_of("bc"));
    for (auto& s : streams) CHECK(hex(s.finish()) == sha256_vectors[1].digest);
}

TEST_CASE("threads hash without disturbing each other", "[hash]") {
    std::array<std::size_t, 4> wrong{};
    std::vector<std::thread> threads;
    for (auto& count : wrong)
        threads.emplace_back([&count] {
            for (int i = 0; i < 2000; ++i)
                if (hex(sha256(bytes_of("abc"))) != sha256_vectors[1].digest) ++count;
        });
    for (auto& t : threads) t.join();
    for (const auto count : wrong) CHECK(count == 0);
}

TEST_CASE("hash256 of the genesis header is the id of the genesis block", "[hash]") {
    const auto header = unhex(
        "01000000"
        "0000000000000000000000000000000000000000000000000000000000000000"
        "3ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a"
        "29ab5f49ffff001d1dac2b7c");
    auto id = hash256(header);
    std::ranges::reverse(id);
    CHECK(hex(id) == "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f");

    sha256_stream s;
    s.update(bytes_view(header).first(10));
    s.update(bytes_view(header).subspan(10));
    auto streamed = finish_hash256(s);
    std::ranges::reverse(streamed);
    CHECK(streamed == id);
}

TEST_CASE("hash160 of the generator's key is the program of BIP173", "[hash]") {
    const auto key = unhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798");
    CHECK(hex(hash160(key)) == "751e76e8199196d454941c45d1b3a323f1433bd6");
}

TEMPLATE_TEST_CASE("HMAC-SHA512 gives the results of RFC 4231", "[hash]", sha512_stream, portable::sha512_stream) {
    struct hmac_vector {
        std::vector<std::uint8_t> key;
        std::string data;
        std::string mac;
    };
    const hmac_vector vectors[] = {
        {std::vector<std::uint8_t>(20, 0x0b), "Hi There",
         "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde"
         "daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854"},
        {unhex("4a656665"), "what do ya want for nothing?",
         "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
         "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"},
        {std::vector<std::uint8_t>(20, 0xaa), std::string(50, '\xdd'),
         "fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39"
         "bf3e848279a722c806b485a47e67c807b946a337bee8942674278859e13292fb"},
        {std::vector<std::uint8_t>(131, 0xaa), "Test Using Larger Than Block-Size Key - Hash Key First",
         "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352"
         "6b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598"},
        {std::vector<std::uint8_t>(131, 0xaa),
         "This is a test using a larger than block-size key and a larger than block-size data. The key needs to be "
         "hashed before being used by the HMAC algorithm.",
         "e37b6a775dc87dbaa4dfa9f96e5e3ffddebd71f8867289865df5a32d20cdc944"
         "b6022cac3c4982b10d5eeb55c3e4de15134676fb6de0446065c97440fa8c6a58"},
    };
    for (const auto& v : vectors) CHECK(hex(detail::hmac_sha512<TestType>(v.key, bytes_of(v.data))) == v.mac);
}
