// Words for people.
#include "paychan/keeper/text.hpp"

#include <catch2/catch.hpp>

#include "paychan/keeper/event_text.hpp"

using namespace paychan;

TEST_CASE("amounts, times and strangers' bytes as people read them", "[keeper]") {
    CHECK(text_of(satoshi{0}) == "0 sat");
    CHECK(text_of(satoshi{999}) == "999 sat");
    CHECK(text_of(satoshi{1'234'567}) == "1,234,567 sat");
    CHECK(text_of(satoshi{-123'456}) == "-123,456 sat");
    CHECK(text_of(unix_time{0}) == "1970-01-01 00:00:00 UTC");
    const std::array<std::uint8_t, 4> odd{'a', 0x1b, '\\', 0xff};
    CHECK(hex_of(odd) == "611b5cff");
    CHECK(harmless(odd) == "a\\x1b\\x5c\\xff");
    CHECK(harmless(std::vector<std::uint8_t>(300, 'x')) == std::string(200, 'x') + "...");
}

TEST_CASE("an event in one line", "[keeper]") {
    const std::string channel = "channel " + std::string(64, '0');
    event e{event_kind::opened};
    e.total = satoshi{1'000};
    CHECK(text_of(e) == "opened " + channel + ", paid so far 1,000 sat");
    CHECK(text_of(e, 2) == "opened " + channel + " (version 2), paid so far 1,000 sat");
    e.kind = event_kind::payment;
    CHECK(text_of(e).empty());
    const std::array<std::uint8_t, 2> info{1, 2};
    e.amount = satoshi{10};
    e.data = info;
    CHECK(text_of(e) == "payment of 10 sat on " + channel + " with info 0102");
}

TEST_CASE("bytes that somebody wrote as hexadecimal digits", "[keeper]") {
    std::string why;
    CHECK(bytes_of_hex("0aFF", 2, why).value() == std::vector<std::uint8_t>{0x0a, 0xff});
    CHECK(bytes_of_hex("", 2, why).value().empty());
    CHECK(bytes_of_hex("0x0a", 2, why).error().code == errc::malformed);
    CHECK(bytes_of_hex("0a0", 2, why).error().code == errc::malformed);
    CHECK(why.find("odd") != std::string::npos);
    CHECK(bytes_of_hex("0a0a0a", 2, why).error().code == errc::too_long);
    CHECK(why.find("3 bytes, more than the 2") != std::string::npos);
}
