#include "paychan/core/reader.hpp"

#include <catch2/catch.hpp>
#include <vector>

#include "paychan/core/hex.hpp"

using namespace paychan;

namespace {
struct source {
    std::array<std::uint8_t, 64> memory{};
    bytes_view bytes;
    explicit source(std::string_view text) : bytes(from_hex(text, memory).value()) {}
};
}  // namespace

TEST_CASE("reader reads little-endian numbers", "[core]") {
    const source s(
        "01"
        "0203"
        "04050607"
        "08090a0b0c0d0e0f"
        "feffffff"
        "feffffffffffffff");
    reader r(s.bytes);
    CHECK(r.u8() == 0x01);
    CHECK(r.u16() == 0x0302);
    CHECK(r.u32() == 0x07060504);
    CHECK(r.u64() == 0x0f0e0d0c0b0a0908);
    CHECK(r.i32() == -2);
    CHECK(r.i64() == -2);
    CHECK(r.done());
}

TEST_CASE("reader that fails stays failed, yields zeros and moves no further", "[core]") {
    const source s("0102030405");
    reader r(s.bytes);
    CHECK(r.u32() == 0x04030201);
    CHECK(r.u16() == 0);
    CHECK_FALSE(r.ok());
    CHECK(r.u8() == 0);
    CHECK(r.bytes(0).empty());
    CHECK(r.array<2>() == std::array<std::uint8_t, 2>{});
    CHECK(r.position() == 4);
    CHECK(r.remaining() == 1);
    CHECK_FALSE(r.done());
}

TEST_CASE("reader takes CompactSize in its shortest form only", "[core]") {
    const auto read = [](std::string_view text) -> std::int64_t {
        const source s(text);
        reader r(s.bytes);
        const std::uint64_t value = r.compact_size();
        return r.done() ? static_cast<std::int64_t>(value) : -1;
    };
    CHECK(read("00") == 0);
    CHECK(read("fc") == 252);
    CHECK(read("fdfd00") == 253);
    CHECK(read("fdffff") == 0xffff);
    CHECK(read("fe00000100") == 0x10000);
    CHECK(read("feffffffff") == 0xffffffff);
    CHECK(read("ff0000000001000000") == 0x1'0000'0000);
    for (const char* const text : {"fdfc00", "fd0000", "feffff0000", "fe00000000", "ffffffffff00000000", "", "fd",
                                   "fd00", "fe000001", "ff00000000010000"})
        CHECK(read(text) == -1);
}

TEST_CASE("reader refuses a size beyond what is left, however large", "[core]") {
    const source s("ffffffffffffffffff0102");
    reader r(s.bytes);
    CHECK(r.sized_bytes().empty());
    CHECK_FALSE(r.ok());
    reader again(s.bytes);
    CHECK(again.bytes(12).empty());
    CHECK_FALSE(again.ok());
    reader all(s.bytes);
    CHECK(all.bytes(11).size() == 11);
    CHECK(all.done());
}
