// How far the chain was followed: what is written is read, and nothing else is.
#include "paychan/keeper/position.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

#include "support/bytes.hpp"

using namespace paychan;
using paychan_test::bytes;
using paychan_test::owned;

namespace {

chain_position made(std::size_t places) {
    chain_position p;
    for (std::size_t i = 0; i < places; ++i) {
        chain_place place{static_cast<std::int32_t>(800'000 - 3 * i), {}};
        place.hash.fill(static_cast<std::uint8_t>(i + 1));
        p.push_back(place);
    }
    return p;
}

/// With a checksum that fits.
bytes signed_off(bytes content) {
    const bytes32 hash = hash256(content);
    content.insert(content.end(), hash.begin(), hash.begin() + detail::checksum_size);
    return content;
}

}  // namespace

TEST_CASE("a position is read as it was written", "[keeper][position]") {
    for (std::size_t n : {1U, 2U, 40U, 48U}) {
        const chain_position p = made(n);
        const auto read = read_position(write_position(p).view());
        REQUIRE(read);
        CHECK(std::ranges::equal(*read, p));
    }
    const chain_position first = [] {
        chain_position p;
        p.push_back(chain_place{0, {}});
        return p;
    }();
    CHECK(read_position(write_position(first).view()));
}

TEST_CASE("damage to a position is noticed, whichever byte it hits", "[keeper][position]") {
    const bytes good = owned(write_position(made(3)).view());
    REQUIRE(read_position(good));
    for (std::size_t i = 0; i < good.size(); ++i)
        for (int bit = 0; bit < 8; ++bit) {
            bytes bad = good;
            bad[i] = static_cast<std::uint8_t>(bad[i] ^ (1U << bit));
            CHECK_FALSE(read_position(bad));
        }
    for (std::size_t size = 0; size < good.size(); ++size)
        CHECK(read_position(bytes_view(good).first(size)).error().code == errc::corrupt_record);
    bytes longer = good;
    longer.push_back(0);
    CHECK(read_position(longer).error().code == errc::corrupt_record);
}

TEST_CASE("a position of a newer format is told apart from a damaged one", "[keeper][position]") {
    bytes newer = owned(write_position(made(2)).view());
    newer[0] = position_format + 1;
    CHECK(read_position(newer).error().code == errc::unknown_format);
    newer[0] = 0;
    CHECK(read_position(newer).error().code == errc::corrupt_record);
}

TEST_CASE("a position that cannot be is none, though its checksum fits", "[keeper][position]") {
    const bytes good = owned(write_position(made(2)).view());
    const bytes content(good.begin(), good.end() - detail::checksum_size);
    REQUIRE(read_position(signed_off(content)));
    const auto is_refused = [](const bytes& b) { return read_position(b).error().code == errc::corrupt_record; };

    CHECK(is_refused(signed_off({position_format, 0})));  // of no block
    bytes rising = content;
    std::swap_ranges(rising.begin() + 2, rising.begin() + 38, rising.begin() + 38);
    CHECK(is_refused(signed_off(rising)));
    bytes below_zero = content;
    std::fill_n(below_zero.begin() + 38, 4, std::uint8_t{0xff});
    CHECK(is_refused(signed_off(below_zero)));
    bytes too_many{position_format, 200};
    for (std::int32_t h = 200; h > 0; --h) {
        std::array<std::uint8_t, 36> place{};
        writer w(place);
        w.i32(h);
        too_many.insert(too_many.end(), place.begin(), place.end());
    }
    CHECK(is_refused(signed_off(too_many)));
}

TEST_CASE("each follower's position has a name of its own", "[keeper][position]") {
    std::set<record_id> names;
    for (const follower who :
         {follower::birthday, follower::wallet, follower::client_monitor, follower::server_monitor}) {
        names.insert(position_id(who));
        CHECK(position_id(who).channel.bytes[0] == static_cast<std::uint8_t>(who));
    }
    CHECK(names.size() == 4);
}

TEST_CASE("a birthday is four bytes, and a height", "[keeper][position]") {
    for (const std::int32_t height : {0, 1, 800'000, 0x7fff'ffff})
        CHECK(read_birthday(write_birthday(height)) == height);
    CHECK(write_birthday(0x0102'0304) == std::array<std::uint8_t, 4>{4, 3, 2, 1});
    CHECK(read_birthday(bytes{0, 0, 0, 0x80}).error().code == errc::corrupt_record);
    CHECK(read_birthday(bytes{0, 0, 0}).error().code == errc::corrupt_record);
    CHECK(read_birthday(bytes{0, 0, 0, 0, 0}).error().code == errc::corrupt_record);
    CHECK(read_birthday({}).error().code == errc::corrupt_record);
}
