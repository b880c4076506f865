#include "paychan/bitcoind/amount.hpp"

#include <boost/multiprecision/cpp_int.hpp>
#include <catch2/catch.hpp>
#include <random>
#include <string>

using namespace paychan;
using bitcoind::parse_btc;
using bitcoind::parse_btc_per_kvb;

TEST_CASE("amounts are read exactly, in every form that JSON allows", "[bitcoind]") {
    const auto [text, expected] = GENERATE(table<std::string, std::int64_t>({
        {"0", 0},
        {"-0", 0},
        {"0.0", 0},
        {"0e999", 0},
        {"0e-999", 0},
        {"1", 100'000'000},
        {"5e-7", 50},
        {"1e-8", 1},
        {"1E+2", 10'000'000'000},
        {"0.00000001", 1},
        {"0.1", 10'000'000},
        {"0.29", 29'000'000},  // 0.29 * 1e8 is 28999999.999999996 in a double
        {"20999999.9769", 2'099'999'997'690'000},
        {"21000000", 2'100'000'000'000'000},
        {"2.1e7", 2'100'000'000'000'000},
        {"0.000000010000000000000", 1},
        {"10000000e-7", 100'000'000},
        {"0.00000000000001e6", 1},
    }));
    INFO(text);
    const auto got = parse_btc(text);
    REQUIRE(got);
    CHECK(got->value == expected);
}

TEST_CASE("amounts that are not whole satoshi, negative or above 21 million coins are refused", "[bitcoind]") {
    const std::string text = GENERATE(as<std::string>{}, "0.000000001", "1e-9", "0.123456789", "-1", "-1e-8",
                                      "21000000.00000001", "2.1e8", "1e300", "1e999999999999999999999",
                                      "18446744073709551616", "99999999999999999999999999", "184467440737.09551617");
    INFO(text);
    const auto got = parse_btc(text);
    REQUIRE_FALSE(got);
    CHECK(got.error().code == errc::out_of_range);
}

TEST_CASE("what is not a JSON number is no amount", "[bitcoind]") {
    const std::string text =
        GENERATE(as<std::string>{}, "", "-", "+1", ".5", "1.", "01", "00", "1e", "1e+", "0x10", " 1", "1 ", "1,5",
                 "NaN", "Infinity", "1e5.5", "--1", "1-", "\"1\"", std::string(65, '1'), std::string(1, '\0'));
    INFO(text);
    const auto got = parse_btc(text);
    REQUIRE_FALSE(got);
    CHECK(got.error().code == errc::malformed);
}

TEST_CASE("fee rates are rounded up, and a negative one is no rate", "[bitcoind]") {
    CHECK(parse_btc_per_kvb("0.00001")->sat_per_kvb == 1000);
    CHECK(parse_btc_per_kvb("1.000000001e-5")->sat_per_kvb == 1001);
    CHECK(parse_btc_per_kvb("1e-9")->sat_per_kvb == 1);
    CHECK(parse_btc_per_kvb("0")->sat_per_kvb == 0);
    CHECK_FALSE(parse_btc_per_kvb("-1"));
    CHECK_FALSE(parse_btc_per_kvb("-1e-9"));
    CHECK_FALSE(parse_btc_per_kvb("1e9"));
}

TEST_CASE("amounts equal exact rational arithmetic on random numbers", "[bitcoind]") {
    namespace mp = boost::multiprecision;
    const auto seed = std::random_device{}();
    INFO("seed " << seed);
    std::mt19937 random(seed);
    const auto digits = [&](int most) {
        std::string out;
        for (int n = 1 + static_cast<int>(random() % static_cast<unsigned>(most)); n > 0; --n)
            out += random() % 3 == 0 ? '0' : static_cast<char>('0' + random() % 10);
        return out;
    };
    int whole_amounts = 0;
    for (int i = 0; i < 20'000; ++i) {
        std::string integer = digits(9);
        integer.erase(0, std::min(integer.find_first_not_of('0'), integer.size() - 1));
        const std::string fraction = random() % 2 == 0 ? digits(12) : "";
        const int exponent = random() % 2 == 0 ? static_cast<int>(random() % 25) - 12 : 0;
        std::string text = integer;
        if (!fraction.empty()) text += '.' + fraction;
        if (exponent != 0) text += (random() % 2 == 0 ? "e" : "E") + std::to_string(exponent);
        INFO(text);

        // The oracle: digits as one integer, times a power of ten as a fraction.
        const std::string all =
            (integer + fraction)
                .substr(std::min((integer + fraction).find_first_not_of('0'), (integer + fraction).size() - 1));
        mp::cpp_rational value = mp::cpp_int(all);
        const int power = exponent + 8 - static_cast<int>(fraction.size());
        const mp::cpp_int ten = mp::pow(mp::cpp_int(10), static_cast<unsigned>(std::abs(power)));
        if (power >= 0)
            value *= ten;
        else
            value /= ten;
        const bool whole = mp::denominator(value) == 1;
        const bool in_range = value <= mp::cpp_int(max_money.value);

        const auto got = parse_btc(text);
        REQUIRE(got.has_value() == (whole && in_range));
        if (got) {
            REQUIRE(mp::cpp_int(got->value) == mp::numerator(value));
            ++whole_amounts;
        }
        const auto rate = parse_btc_per_kvb(text);
        const mp::cpp_int up = (mp::numerator(value) + mp::denominator(value) - 1) / mp::denominator(value);
        if (in_range) REQUIRE(mp::cpp_int(rate.value().sat_per_kvb) == up);
    }
    CHECK(whole_amounts > 1000);
}
