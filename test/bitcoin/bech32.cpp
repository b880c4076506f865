#include "paychan/bitcoin/bech32.hpp"

#include <catch2/catch.hpp>

#include "support.hpp"

using namespace paychan;
using namespace support;

namespace {

const std::vector<std::string> valid_bech32{
    // BIP173
    "A12UEL5L",
    "a12uel5l",
    "an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1tt5tgs",
    "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw",
    "11qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqc8247j",
    "split1checkupstagehandshakeupstreamerranterredcaperred2y9e3w",
    "?1ezyfcl"};

const std::vector<std::string> valid_bech32m{
    // BIP350
    "A1LQFN3A",
    "a1lqfn3a",
    "an83characterlonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11sg7hg6",
    "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx",
    "11llllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllludsr8",
    "split1checkupstagehandshakeupstreamerranterredcaperredlc445v",
    "?1v759aa"};

const std::vector<std::string> invalid{
    // BIP173
    "\x20"
    "1nwldj5",
    "\x7f"
    "1axkwrx",
    "\x80"
    "1eym55h",
    "an84characterslonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1569pvx", "pzry9x0s0muk",
    "1pzry9x0s0muk", "x1b4n0q5v", "li1dgmt3", "de1lg7wt\xff", "A1G7SGD8", "10a06t8", "1qzzfhee",
    // BIP350
    "\x20"
    "1xj0phk",
    "\x7f"
    "1g6xzxy",
    "\x80"
    "1vctc34",
    "an84characterslonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11d6pts4", "qyrz8wqd2c9m",
    "1qyrz8wqd2c9m", "y1b0jsk6g", "lt1igcx5c0", "in1muywd", "mm1crxm3i", "au1s5cgom", "M1VUXWEZ", "16plkw9", "1p2gdwpf",
    // ours
    "", "1", "a12UEL5L", "a1", "a1lqfn3"};

std::string lower(std::string text) {
    for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return text;
}

void check_valid(const std::vector<std::string>& texts, bech32_variant variant) {
    for (const auto& text : texts) {
        INFO(text);
        const auto parts = decode_bech32(text);
        REQUIRE(parts.has_value());
        CHECK(parts->variant == variant);
        const auto again = encode_bech32(variant, parts->prefix.view(), parts->values.view());
        REQUIRE(again.has_value());
        CHECK(str(again->view()) == lower(text));
        // One changed character is always found.
        for (std::size_t i = text.rfind('1') + 1; i < text.size(); ++i) {
            std::string changed = lower(text);
            changed[i] = changed[i] == 'q' ? 'p' : 'q';
            CHECK_FALSE(decode_bech32(changed).has_value());
        }
    }
}

}  // namespace

TEST_CASE("bech32 reads and writes the valid strings of BIP173", "[bitcoin][address]") {
    check_valid(valid_bech32, bech32_variant::bech32);
}

TEST_CASE("bech32m reads and writes the valid strings of BIP350", "[bitcoin][address]") {
    check_valid(valid_bech32m, bech32_variant::bech32m);
}

TEST_CASE("bech32 refuses the invalid strings of BIP173 and BIP350", "[bitcoin][address]") {
    for (const auto& text : invalid) {
        INFO(text);
        const auto parts = decode_bech32(text);
        REQUIRE_FALSE(parts.has_value());
        CHECK(parts.error().code == errc::malformed);
    }
}

TEST_CASE("bech32 refuses to write what it could not read", "[bitcoin][address]") {
    CHECK(encode_bech32(bech32_variant::bech32, "a", bytes(82)).has_value());
    CHECK(encode_bech32(bech32_variant::bech32, "a", bytes(83)).error().code == errc::too_long);
    CHECK(encode_bech32(bech32_variant::bech32, "a", bytes{32}).error().code == errc::invalid_argument);
}
