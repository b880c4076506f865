#include "paychan/bitcoind/base64.hpp"

#include <catch2/catch.hpp>

TEST_CASE("base64 gives the examples of RFC 4648", "[bitcoind]") {
    const auto [text, expected] = GENERATE(table<std::string, std::string>({{"", ""},
                                                                            {"f", "Zg=="},
                                                                            {"fo", "Zm8="},
                                                                            {"foo", "Zm9v"},
                                                                            {"foob", "Zm9vYg=="},
                                                                            {"fooba", "Zm9vYmE="},
                                                                            {"foobar", "Zm9vYmFy"}}));
    CHECK(paychan::bitcoind::base64(text) == expected);
}

TEST_CASE("base64 keeps bytes above 127", "[bitcoind]") {
    CHECK(paychan::bitcoind::base64("\xff\xfe\xfd") == "//79");  // RFC 4648's alphabet, values 62 and 63
}
