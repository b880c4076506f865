#include "paychan/bitcoin/wif.hpp"

#include <catch2/catch.hpp>

#include "support.hpp"

using namespace paychan;
using namespace support;

// The cases of key_io_valid.json and key_io_invalid.json are in address.cpp.

TEST_CASE("WIF of another network or of no key is refused", "[bitcoin][address]") {
    const char* const mainnet = "KwDiBf89QgGbjEhKnhXJuH7LrciVrZi3qYjgd9M7rFU73sVHnoWn";  // the key 1, compressed
    const auto key = parse_wif(mainnet, network::mainnet);
    REQUIRE(key.has_value());
    CHECK(hex(key->key.reveal()) == std::string(63, '0') + "1");
    CHECK(hex(public_key_of(key->key).view()) ==
          "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798");  // the generator of the curve
    CHECK(parse_wif(mainnet, network::regtest).error().code == errc::malformed);
    CHECK(parse_wif("", network::mainnet).error().code == errc::malformed);

    const auto encoded = [](const std::string& payload) {
        std::array<char, 100> out{};
        return str(encode_base58check(unhex(payload), out).value());
    };
    const std::string order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
    CHECK(parse_wif(encoded("80" + std::string(64, '0') + "01"), network::mainnet).error().code == errc::invalid_key);
    CHECK(parse_wif(encoded("80" + order + "01"), network::mainnet).error().code == errc::invalid_key);
    CHECK(parse_wif(encoded("80" + std::string(63, '0') + "102"), network::mainnet).error().code == errc::malformed);
    CHECK(parse_wif(encoded("80" + std::string(63, '0') + "1"), network::mainnet)->form == key_form::uncompressed);
}
