#include "paychan/bitcoind/json.hpp"

#include <catch2/catch.hpp>

using namespace paychan::bitcoind;

TEST_CASE("json keeps the text of every number", "[bitcoind]") {
    const std::string text =
        GENERATE(as<std::string>{}, "0.1", "5e-7", "1E+2", "0.29", "20999999.9769", "1e-8", "7", "-3",
                 "18446744073709551615", "18446744073709551616", "0.10000000000000000000000000001");
    const auto tree = parse_json("{\"fee\":" + text + "}");
    REQUIRE(tree);
    CHECK(number_text(member(*tree, "fee")) == text);
}

TEST_CASE("json does not take a text for a number", "[bitcoind]") {
    const auto tree = parse_json(R"(["0.1", true, null, {}, []])");
    REQUIRE(tree);
    for (const auto& value : *tree) CHECK_FALSE(number_text(value));
}

TEST_CASE("json reads objects and arrays at any place", "[bitcoind]") {
    const char* text = R"({"a":[1,[2,{"b":"c"}],[]],"d":{"e":null,"f":true},"g":"\u00e9"})";
    CHECK(parse_json(text).value() == json::parse(text));
}

TEST_CASE("json refuses what is not JSON", "[bitcoind]") {
    const std::string text = GENERATE(as<std::string>{}, "", " ", "{", "[1,]", "{\"a\":}", "nul", "1 2", "{}x",
                                      "\"\xff\"", "[1e99999]", "'a'", "]");
    CHECK_FALSE(parse_json(text));
}

TEST_CASE("json is bounded in depth and in values", "[bitcoind]") {
    CHECK(parse_json(std::string(32, '[') + std::string(32, ']')));
    CHECK_FALSE(parse_json(std::string(33, '[') + std::string(33, ']')));
    CHECK_FALSE(parse_json(std::string(10'000'000, '[')));
    std::string wide = "[0";
    for (int i = 0; i < 100'000; ++i) wide += ",0";
    CHECK_FALSE(parse_json(wide + "]"));
}

TEST_CASE("json members that are absent, null or of no object are null", "[bitcoind]") {
    const json object{{"null", nullptr}, {"number", 3}, {"large", 18446744073709551615U}};
    CHECK(member(object, "none").is_null());
    CHECK(member(object, "null").is_null());
    CHECK(member(json(7), "x").is_null());
    CHECK(integer(member(object, "number")) == 3);
    CHECK_FALSE(integer(member(object, "large")));
    CHECK_FALSE(integer(member(object, "none")));
    CHECK(text_or_empty(member(object, "number")).empty());
}
