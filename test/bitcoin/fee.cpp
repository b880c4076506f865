#include "paychan/bitcoin/fee.hpp"

#include <boost/multiprecision/cpp_int.hpp>
#include <catch2/catch.hpp>

#include "support.hpp"

using namespace paychan;
using namespace support;
using boost::multiprecision::cpp_int;

TEST_CASE("fee_for agrees with unbounded arithmetic", "[bitcoin][fee]") {
    std::vector<std::int64_t> rates{0,
                                    1,
                                    2,
                                    999,
                                    1000,
                                    1001,
                                    3000,
                                    12'345,
                                    1'000'000,
                                    max_money.value,
                                    std::numeric_limits<std::int64_t>::max(),
                                    -1,
                                    std::numeric_limits<std::int64_t>::min()};
    std::vector<std::size_t> sizes{
        0, 1, 110, 141, 192, 999, 1000, 1001, 100'000, 4'000'000, 0xffff'ffff, std::numeric_limits<std::size_t>::max()};
    std::uint64_t seed = 7;
    for (int i = 0; i < 300; ++i) {
        seed = seed * 6364136223846793005U + 1442695040888963407U;
        rates.push_back(static_cast<std::int64_t>(seed >> (seed >> 59)));
        sizes.push_back(static_cast<std::size_t>(seed >> (seed % 61)));
    }
    std::size_t good = 0;
    for (const std::int64_t rate : rates) {
        for (const std::size_t size : sizes) {
            const cpp_int exact = (cpp_int(rate) * size + 999) / 1000;
            const auto fee = fee_for(fee_rate{rate}, size);
            if (rate < 0 || exact > max_money.value) {
                REQUIRE_FALSE(fee.has_value());
                REQUIRE(fee.error().code == errc::out_of_range);
            } else {
                REQUIRE(fee.has_value());
                REQUIRE(cpp_int(fee->value) == exact);
                ++good;
            }
        }
    }
    CHECK(good > 10'000);
}

TEST_CASE("dust limits are those of Bitcoin Core's policy", "[bitcoin][fee]") {
    const bytes20 hash{};
    const bytes32 wide{};
    CHECK(dust_limit(p2pkh_script(hash).view()) == satoshi{546});
    CHECK(dust_limit(p2sh_script(hash).view()) == satoshi{540});
    CHECK(dust_limit(p2wpkh_script(hash).view()) == satoshi{294});
    CHECK(dust_limit(p2wsh_script(wide).view()) == satoshi{330});
    CHECK(dust_limit(unhex("5120" + std::string(64, '0'))) == satoshi{330});  // P2TR
    CHECK(dust_limit(unhex("51024e73")) == satoshi{240});                     // P2A, Core's anchor
    CHECK(dust_limit(unhex("6a0100")) == satoshi{0});                         // can never be spent
    CHECK(dust_limit(bytes(10'001)) == satoshi{0});
    CHECK(p2pkh_dust == dust_limit(p2pkh_script(hash).view()));
}
