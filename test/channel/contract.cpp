// Which versions a program has, which of them are allowed, and which is asked for.
#include "paychan/channel/contract.hpp"

#include <catch2/catch.hpp>

#include "paychan/channel/cltv_p2sh.hpp"
#include "paychan/channel/multisig_refund.hpp"

using namespace paychan;

TEST_CASE("a set of versions holds the protocol's versions and no others", "[channel][versions]") {
    for (const std::int32_t v : {1, 2}) {
        CHECK(version_set::all().has(v));
        CHECK(version_set::only(v).has(v));
        CHECK_FALSE(version_set::only(v).has(3 - v));
        CHECK(version_set::only(v).with(3 - v).has(3 - v));
        CHECK(version_set::only(v).with(3 - v).has(v));
        CHECK_FALSE(version_set::all().without(v).has(v));
        CHECK(version_set::all().without(v).has(3 - v));
        CHECK_FALSE(version_set::only(v).without(v).has(v));
    }
    // What a peer may write as a version: no shift by it.
    for (const std::int32_t v : {0, -1, 3, 31, 32, 33, 64, std::numeric_limits<std::int32_t>::max(),
                                 std::numeric_limits<std::int32_t>::min()}) {
        INFO(v);
        CHECK_FALSE(version_set::all().has(v));
        CHECK_FALSE(version_set::all().with(v).has(v));
        CHECK_FALSE(version_set::only(v).has(v));
        CHECK_FALSE(version_set::only(v).has(1));
        CHECK_FALSE(version_set::only(v).has(2));
        CHECK(version_set::all().without(v).has(1));
        CHECK(version_set::all().without(v).has(2));
    }
}

TEST_CASE("a list of schemes prefers its first one that is allowed", "[channel][versions]") {
    using newest_first = contracts<cltv_p2sh, multisig_refund>;
    using oldest_first = contracts<multisig_refund, cltv_p2sh>;
    using one = contracts<multisig_refund>;
    CHECK(newest_first::preferred(version_set::all()) == 2);
    CHECK(newest_first::preferred(version_set::only(1)) == 1);
    CHECK(oldest_first::preferred(version_set::all()) == 1);
    CHECK(oldest_first::preferred(version_set::only(2)) == 2);
    CHECK(one::preferred(version_set::all()) == 1);
    CHECK(one::preferred(version_set::only(2)) == 0);
    CHECK(newest_first::preferred(version_set::only(1).without(1)) == 0);
    CHECK_FALSE(newest_first::has(0));
    CHECK_FALSE(one::has(2));
}

TEST_CASE("what is done with a scheme that a program lacks fails as unsupported", "[channel][versions]") {
    const auto version_of = [](std::int32_t version) {
        return contracts<cltv_p2sh>::with<result<std::int32_t>>(
            version, []<class Scheme>() -> result<std::int32_t> { return Scheme::version; });
    };
    CHECK(version_of(2) == 2);
    for (const std::int32_t other : {1, 0, -1, 3}) CHECK(version_of(other).error().code == errc::unsupported);
}
