#include "paychan/core/satoshi.hpp"

#include <boost/multiprecision/cpp_int.hpp>
#include <catch2/catch.hpp>
#include <limits>
#include <vector>

using namespace paychan;
using boost::multiprecision::cpp_int;

namespace {

/// Edges of every range, and numbers of every size.
std::vector<std::int64_t> amounts() {
    std::vector<std::int64_t> out{0,
                                  1,
                                  545,
                                  546,
                                  1000,
                                  coin.value,
                                  std::numeric_limits<std::int64_t>::max(),
                                  std::numeric_limits<std::int64_t>::min(),
                                  -1,
                                  max_money.value / 2};
    for (std::int64_t d = -2; d <= 2; ++d) out.push_back(max_money.value + d);
    std::uint64_t seed = 42;
    for (int i = 0; i < 200; ++i) {
        seed = seed * 6364136223846793005U + 1442695040888963407U;
        out.push_back(static_cast<std::int64_t>(seed >> (i % 64)));
    }
    return out;
}

const cpp_int limit = cpp_int(21'000'000) * 100'000'000;

bool in_range(const cpp_int& n) { return n >= 0 && n <= limit; }

}  // namespace

TEST_CASE("amounts add and subtract as unbounded numbers do, or not at all", "[core]") {
    std::size_t sums = 0;
    std::size_t differences = 0;
    for (const std::int64_t a : amounts()) {
        for (const std::int64_t b : amounts()) {
            const bool both = in_range(a) && in_range(b);
            const cpp_int sum = cpp_int(a) + b;
            const cpp_int difference = cpp_int(a) - b;

            const auto added = add(satoshi{a}, satoshi{b});
            REQUIRE(added.has_value() == (both && in_range(sum)));
            if (added) {
                REQUIRE(cpp_int(added->value) == sum);
                ++sums;
            } else {
                REQUIRE(added.error().code == errc::out_of_range);
            }

            const auto taken = subtract(satoshi{a}, satoshi{b});
            REQUIRE(taken.has_value() == (both && in_range(difference)));
            if (taken) {
                REQUIRE(cpp_int(taken->value) == difference);
                ++differences;
            } else {
                REQUIRE(taken.error().code == (both ? errc::insufficient_funds : errc::out_of_range));
            }
        }
    }
    CHECK(sums > 1000);
    CHECK(differences > 1000);
}

TEST_CASE("an amount from the wire is money or refused", "[core]") {
    CHECK(money(0).value() == satoshi{0});
    CHECK(money(static_cast<std::uint64_t>(max_money.value)).value() == max_money);
    CHECK(money(static_cast<std::uint64_t>(max_money.value) + 1).error().code == errc::out_of_range);
    CHECK(money(std::uint64_t{1} << 63).error().code == errc::out_of_range);
    CHECK(money(~std::uint64_t{0}).error().code == errc::out_of_range);
}
