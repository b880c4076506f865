// A test for each version of the protocol.
#pragma once

#include <catch2/catch.hpp>
#include <cstdint>

namespace paychan_test {

/// The version that this run of the test case is about.  Call it before anything else in the test: the whole of it then
/// runs once for each.
[[nodiscard]] inline std::int32_t each_version() { return GENERATE(1, 2); }

}  // namespace paychan_test
