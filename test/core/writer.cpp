#include "paychan/core/writer.hpp"

#include <catch2/catch.hpp>
#include <string>

#include "paychan/core/hex.hpp"
#include "paychan/core/reader.hpp"

using namespace paychan;

namespace {
std::string hex(bytes_view b) {
    std::string out(2 * b.size(), ' ');
    return std::string(to_hex(b, out).value());
}
}  // namespace

TEST_CASE("writer writes little-endian numbers", "[core]") {
    std::array<std::uint8_t, 64> memory{};
    writer w(memory);
    w.u8(0x01);
    w.u16(0x0302);
    w.u32(0x07060504);
    w.u64(0x0f0e0d0c0b0a0908);
    w.i32(-2);
    w.i64(-2);
    CHECK(w.ok());
    CHECK(hex(w.written()) == "0102030405060708090a0b0c0d0e0ffefffffffeffffffffffffff");
}

TEST_CASE("writer writes CompactSize in its shortest form, and the reader takes it", "[core]") {
    for (const std::uint64_t value :
         {std::uint64_t{0}, std::uint64_t{252}, std::uint64_t{253}, std::uint64_t{0xffff}, std::uint64_t{0x1'0000},
          std::uint64_t{0xffff'ffff}, std::uint64_t{0x1'0000'0000}, ~std::uint64_t{0}}) {
        std::array<std::uint8_t, 9> memory{};
        writer w(memory);
        w.compact_size(value);
        reader r(w.written());
        CHECK(r.compact_size() == value);
        CHECK(r.done());
        CHECK(w.size() == (value < 0xfd ? 1 : value <= 0xffff ? 3 : value <= 0xffff'ffff ? 5 : 9));
    }
}

TEST_CASE("writer that is full stays failed and never writes beyond its memory", "[core]") {
    std::array<std::uint8_t, 8> memory{};
    memory[4] = 0xaa;
    writer w(bytes_span{memory}.first(4));
    w.u16(0x0201);
    CHECK(w.ok());
    w.u32(0x06050403);
    CHECK_FALSE(w.ok());
    w.u8(7);  // would fit, but what was lost before it is gone
    CHECK_FALSE(w.ok());
    CHECK(w.size() == 2);
    CHECK(memory[2] == 0);
    CHECK(memory[4] == 0xaa);
    writer exact(bytes_span{memory}.first(4));
    exact.u32(1);
    CHECK(exact.ok());
    exact.bytes({});
    CHECK(exact.ok());
}
