// secret<T>: what it leaves in memory, and what it does not let one do.
#include "paychan/core/secret.hpp"

#include <catch2/catch.hpp>
#include <concepts>
#include <new>
#include <type_traits>
#include <utility>

using namespace paychan;

namespace {
bytes32 filled(std::uint8_t value) {
    bytes32 out{};
    out.fill(value);
    return out;
}
}  // namespace

TEST_CASE("a secret leaves only zeros in memory when it dies", "[secret]") {
    alignas(secret<bytes32>) std::array<std::uint8_t, sizeof(secret<bytes32>)> memory{};
    memory.fill(0xee);
    auto* s = new (memory.data()) secret<bytes32>(filled(7));
    REQUIRE(s->reveal() == filled(7));
    s->~secret();
    REQUIRE(std::ranges::all_of(memory, [](std::uint8_t b) { return b == 0; }));
}

TEST_CASE("a secret wipes what it was moved from", "[secret]") {
    secret<bytes32> first(filled(7));
    secret<bytes32> second(std::move(first));
    REQUIRE(second.reveal() == filled(7));
    REQUIRE(first.reveal() == filled(0));  // NOLINT: the contract of secret

    secret<bytes32> third;
    third = std::move(second);
    REQUIRE(third.reveal() == filled(7));
    REQUIRE(second.reveal() == filled(0));  // NOLINT
}

TEST_CASE("a secret survives being moved onto itself", "[secret]") {
    secret<bytes32> s(filled(7));
    auto& same = s;
    s = std::move(same);
    REQUIRE(s.reveal() == filled(7));
}

TEST_CASE("a secret wipes the variable that it took over", "[secret]") {
    bytes32 plain = filled(7);
    const secret<bytes32> s(std::move(plain));
    REQUIRE(s.reveal() == filled(7));
    REQUIRE(plain == filled(0));  // NOLINT
}

TEST_CASE("a copy of a secret is made on purpose and stands alone", "[secret]") {
    secret<bytes32> s(filled(7));
    const auto copy = s.copy();
    s.edit().fill(9);
    REQUIRE(copy.reveal() == filled(7));
}

TEST_CASE("wipe zeroes its memory and bears an empty view", "[secret]") {
    bytes32 bytes = filled(7);
    wipe(bytes);
    wipe({});
    REQUIRE(bytes == filled(0));
}

static_assert(!std::is_copy_constructible_v<secret<bytes32>>);
static_assert(!std::is_copy_assignable_v<secret<bytes32>>);
static_assert(!std::equality_comparable<secret<bytes32>>);
static_assert(!std::is_convertible_v<secret<bytes32>, bytes32>);
