// What a position keeps of a chain, however it has grown and shrunk.
#include "paychan/channel/chain_places.hpp"

#include <catch2/catch.hpp>
#include <random>
#include <vector>

using namespace paychan;

namespace {

chain_place place(std::int32_t height) {
    chain_place p{height, {}};
    p.hash[0] = static_cast<std::uint8_t>(height);
    return p;
}

chain_position told(std::int32_t first, std::int32_t last) {
    chain_position p;
    for (std::int32_t h = first; h <= last; ++h) p = advanced(p, place(h));
    return p;
}

/// The highest first, each further below the last one than that one was, more or less.
void check(const chain_position& p, std::int32_t first, std::int32_t last) {
    REQUIRE(!p.empty());
    REQUIRE(p.size() <= 40);
    REQUIRE(p[0] == place(last));
    REQUIRE(p[p.size() - 1] == place(first));
    for (std::size_t i = 1; i < p.size(); ++i) {
        const std::int32_t above = last - p[i - 1].height;
        const std::int32_t below = last - p[i].height;
        REQUIRE(above < below);
        REQUIRE(below <= (below <= 10 ? above + 1 : 4 * (above + 1)));
        REQUIRE(p[i] == place(p[i].height));
    }
}

}  // namespace

TEST_CASE("a position keeps the last 11 blocks, then fewer and fewer, down to the first", "[channel]") {
    const std::int32_t first = GENERATE(0, 1, 7, 500'000);
    chain_position p;
    for (std::int32_t h = first; h < first + 3'000; ++h) {
        p = advanced(p, place(h));
        check(p, first, h);
    }
    CHECK(told(0, 10).size() == 11);
    std::vector<std::int32_t> heights;
    for (const chain_place& place : told(0, 3'000))
        if (place.height <= 2'989) heights.push_back(place.height);
    CHECK(heights == std::vector<std::int32_t>{2'976, 2'944, 2'880, 2'816, 2'560, 2'048, 1'024, 0});
}

TEST_CASE("a position never needs more room than it has", "[channel]") {
    std::size_t kept = 1;
    constexpr std::int32_t tip = INT32_MAX;
    for (std::int32_t h = tip; h > tip - 11; --h) kept += is_kept(h, tip);
    CHECK(kept == 12);
    for (std::uint32_t octave = 8; octave <= 1U << 30; octave <<= 1) {
        // Of the distances octave <= d < 2 * octave, the multiples of `octave` among the heights: one.
        const std::uint32_t h = (static_cast<std::uint32_t>(tip) - octave) / octave * octave;
        kept += is_kept(static_cast<std::int32_t>(h), tip);
    }
    CHECK(kept <= 40);
}

TEST_CASE("a position that is taken back ends with the fork, and grows from there", "[channel]") {
    const chain_position p = told(100, 400);
    chain_position shorter = taken_back(p, place(333));
    CHECK(shorter[0] == place(333));
    CHECK(shorter[1] == place(320));
    CHECK(shorter[shorter.size() - 1] == place(100));
    shorter = advanced(shorter, place(334));
    CHECK(shorter[0] == place(334));
    CHECK(taken_back(p, place(400))[0] == place(400));
    CHECK(taken_back(p, place(100)).size() == 1);
}

TEST_CASE("a position stays short and keeps its first block, whatever happens to the chain", "[channel]") {
    const auto seed = std::random_device{}();
    INFO("seed " << seed);
    std::mt19937 random(seed);
    std::int32_t tip = 50;
    chain_position p = told(50, 50);
    for (int i = 0; i < 20'000; ++i) {
        if (random() % 20 == 0) {
            const std::int32_t back = static_cast<std::int32_t>(random() % (random() % 30 == 0 ? 500 : 5));
            tip = std::max(50, tip - back);
            p = taken_back(p, place(tip));
        } else {
            p = advanced(p, place(++tip));
        }
        REQUIRE(p.size() <= 40);
        REQUIRE(p[0] == place(tip));
        REQUIRE(p[p.size() - 1] == place(50));
    }
}
