// A bounded writer of Bitcoin's little-endian serialization into caller-owned memory.
#pragma once

#include "paychan/core/bytes.hpp"

namespace paychan {

/// Writes until the memory is full; then it stays failed, and what was written is not to be used.
class writer {
public:
    constexpr explicit writer(bytes_span memory) : memory_(memory) {}

    [[nodiscard]] constexpr bool ok() const { return ok_; }
    [[nodiscard]] constexpr bytes_view written() const { return memory_.first(size_); }
    [[nodiscard]] constexpr std::size_t size() const { return size_; }

    constexpr void bytes(bytes_view from) {
        if (!ok_ || from.size() > memory_.size() - size_) {
            ok_ = false;
            return;
        }
        std::ranges::copy(from, memory_.begin() + static_cast<std::ptrdiff_t>(size_));
        size_ += from.size();
    }

    constexpr void u8(std::uint8_t v) { little(v, 1); }
    constexpr void u16(std::uint16_t v) { little(v, 2); }
    constexpr void u32(std::uint32_t v) { little(v, 4); }
    constexpr void u64(std::uint64_t v) { little(v, 8); }
    constexpr void i32(std::int32_t v) { u32(static_cast<std::uint32_t>(v)); }
    constexpr void i64(std::int64_t v) { u64(static_cast<std::uint64_t>(v)); }

    constexpr void compact_size(std::uint64_t v) {
        if (v < 0xfd) {
            little(v, 1);
        } else if (v <= 0xffff) {
            u8(0xfd);
            little(v, 2);
        } else if (v <= 0xffff'ffff) {
            u8(0xfe);
            little(v, 4);
        } else {
            u8(0xff);
            little(v, 8);
        }
    }

    constexpr void sized_bytes(bytes_view from) {
        compact_size(from.size());
        bytes(from);
    }

private:
    constexpr void little(std::uint64_t v, std::size_t n) {
        std::array<std::uint8_t, 8> out{};
        for (std::size_t i = 0; i < n; ++i) out[i] = static_cast<std::uint8_t>(v >> (8 * i));
        bytes(bytes_view{out.data(), n});
    }

    bytes_span memory_;
    std::size_t size_ = 0;
    bool ok_ = true;
};

}  // namespace paychan
