// Which blocks a position keeps: for those who follow a chain and must be able to go on from where they were.
#pragma once

#include <bit>
#include <cstdint>

#include "paychan/policy.hpp"

namespace paychan {

/// Whether a position that ends at `tip` keeps the block at `height`: the last 11, and below them one each time the
/// distance doubles.  What it keeps, the positions before it kept as well, so that a list can be thinned as it grows.
/// With the first block, which is always kept, these are 40 at most.
[[nodiscard]] constexpr bool is_kept(std::int32_t height, std::int32_t tip) {
    const auto below = static_cast<std::uint32_t>(tip) - static_cast<std::uint32_t>(height);
    return below < 11 || static_cast<std::uint32_t>(height) % std::bit_floor(below) == 0;
}

/// The position when `next` was told too, which is above all of `p`.
[[nodiscard]] constexpr chain_position advanced(const chain_position& p, const chain_place& next) {
    chain_position out;
    out.push_back(next);
    for (std::size_t i = 0; i < p.size(); ++i)
        if (i + 1 == p.size() || is_kept(p[i].height, next.height)) out.push_back(p[i]);
    return out;
}

/// The position when the blocks above `fork` have left the chain; fork is a block that was told.
[[nodiscard]] constexpr chain_position taken_back(const chain_position& p, const chain_place& fork) {
    chain_position below;
    for (const chain_place& place : p)
        if (place.height < fork.height) below.push_back(place);
    return advanced(below, fork);
}

}  // namespace paychan
