#include "paychan/bitcoin/base58.hpp"

#include <catch2/catch.hpp>

#include "support.hpp"

using namespace paychan;
using namespace support;

TEST_CASE("base58 reads and writes every case of base58_encode_decode.json", "[bitcoin][address]") {
    std::size_t cases = 0;
    for (const auto& entry : load("bitcoin-core/base58_encode_decode.json")) {
        const bytes plain = unhex(entry[0]);
        const std::string text = entry[1];
        std::array<char, 400> chars{};
        std::array<std::uint8_t, 300> memory{};
        CHECK(str(encode_base58(plain, chars).value()) == text);
        CHECK(hex(decode_base58(text, memory).value()) == entry[0].get<std::string>());
        // Memory of exactly the size is enough, and less is not.
        if (!text.empty()) {
            CHECK(encode_base58(plain, std::span<char>{chars}.first(text.size())).has_value());
            CHECK(encode_base58(plain, std::span<char>{chars}.first(text.size() - 1)).error().code == errc::too_long);
            CHECK(decode_base58(text, bytes_span{memory}.first(plain.size())).has_value());
            CHECK(decode_base58(text, bytes_span{memory}.first(plain.size() - 1)).error().code == errc::too_long);
        }
        ++cases;
    }
    CHECK(cases == 14);
}

TEST_CASE("base58 refuses other characters", "[bitcoin][address]") {
    std::array<std::uint8_t, 100> memory{};
    // Bitcoin Core base58_tests.
    for (const char* const text : {"invalid", "bad0IOl", "goodbad0IOl", " good", "good ", "\x80"})
        CHECK(decode_base58(text, memory).error().code == errc::malformed);
    CHECK(decode_base58("good", memory).has_value());
    CHECK(decode_base58(std::string_view("go\0od", 5), memory).error().code == errc::malformed);
}

TEST_CASE("base58check refuses a changed character and a short text", "[bitcoin][address]") {
    std::array<std::uint8_t, 21> memory{};
    const std::string genesis = "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa";
    CHECK(hex(decode_base58check(genesis, memory).value()) == "0062e907b15cbf27d5425399ebf6f0fb50ebb88f18");
    std::size_t refused = 0;
    for (std::size_t i = 0; i < genesis.size(); ++i) {
        std::string changed = genesis;
        changed[i] = changed[i] == 'x' ? 'y' : 'x';
        refused += decode_base58check(changed, memory) ? 0U : 1U;
    }
    CHECK(refused == genesis.size());
    for (const char* const text : {"", "1", "2g", "111"})
        CHECK(decode_base58check(text, memory).error().code == errc::malformed);
    CHECK(decode_base58check(genesis, bytes_span{memory}.first(20)).error().code == errc::too_long);
    CHECK(decode_base58check(std::string(100'000, '1'), memory).error().code == errc::too_long);
    CHECK(decode_base58check(std::string(100'000, 'z'), memory).error().code == errc::too_long);
    std::array<char, 200> chars{};
    CHECK(encode_base58check(bytes(max_base58check_payload + 1), chars).error().code == errc::too_long);
    CHECK(encode_base58check(bytes(max_base58check_payload, 0xff), chars).has_value());
}
