#include "paychan/core/hex.hpp"

#include <catch2/catch.hpp>
#include <string>

using namespace paychan;

TEST_CASE("hex of every byte is read back, in either case", "[core]") {
    for (int i = 0; i < 256; ++i) {
        const std::array<std::uint8_t, 1> byte{static_cast<std::uint8_t>(i)};
        std::array<char, 2> text{};
        std::array<std::uint8_t, 1> back{};
        std::array<char, 3> expected{};
        std::snprintf(expected.data(), expected.size(), "%02x", static_cast<unsigned>(i));
        REQUIRE(to_hex(byte, text).value() == std::string_view(expected.data(), 2));
        REQUIRE(from_hex(std::string_view(text.data(), 2), back).has_value());
        CHECK(back == byte);
        std::snprintf(expected.data(), expected.size(), "%02X", static_cast<unsigned>(i));
        REQUIRE(from_hex(std::string_view(expected.data(), 2), back).has_value());
        CHECK(back == byte);
    }
}

TEST_CASE("hex text of odd length, with other characters, or too long is refused", "[core]") {
    std::array<std::uint8_t, 2> out{};
    CHECK(from_hex("", out).value().empty());
    CHECK(from_hex("abcd", out).value().size() == 2);
    CHECK(from_hex("abc", out).error().code == errc::malformed);
    CHECK(from_hex("abcdef", out).error().code == errc::too_long);
    for (int c = 0; c < 256; ++c) {
        const bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
        for (const std::string& text : {std::string{'0', static_cast<char>(c)}, std::string{static_cast<char>(c), '0'}})
            CHECK(from_hex(text, out).has_value() == digit);
    }
    std::array<char, 3> small{};
    CHECK(to_hex(out, small).error().code == errc::too_long);
}
