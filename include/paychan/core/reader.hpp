// A bounded reader of Bitcoin's little-endian serialization.  Once it fails it stays failed and yields zeros.
#pragma once

#include "paychan/core/bytes.hpp"

namespace paychan {

/// Reads from a view that must outlive it.  Check `ok()` before using what was read:
///     reader r(bytes);
///     const auto version = r.u32();
///     if (!r.ok()) return fail(errc::malformed, "...");
class reader {
public:
    constexpr explicit reader(bytes_view bytes) : bytes_(bytes) {}

    [[nodiscard]] constexpr bool ok() const { return ok_; }
    [[nodiscard]] constexpr std::size_t position() const { return position_; }
    [[nodiscard]] constexpr std::size_t remaining() const { return bytes_.size() - position_; }

    /// True when all was read and nothing failed.
    [[nodiscard]] constexpr bool done() const { return ok_ && remaining() == 0; }

    /// The next `n` bytes as a view into the source; empty after a failure.
    constexpr bytes_view bytes(std::uint64_t n) {
        if (!ok_ || n > remaining()) {
            ok_ = false;
            return {};
        }
        const auto out = bytes_.subspan(position_, static_cast<std::size_t>(n));
        position_ += static_cast<std::size_t>(n);
        return out;
    }

    template <std::size_t N>
    constexpr std::array<std::uint8_t, N> array() {
        std::array<std::uint8_t, N> out{};
        std::ranges::copy(bytes(N), out.begin());
        return out;
    }

    constexpr std::uint8_t u8() { return static_cast<std::uint8_t>(little(1)); }
    constexpr std::uint16_t u16() { return static_cast<std::uint16_t>(little(2)); }
    constexpr std::uint32_t u32() { return static_cast<std::uint32_t>(little(4)); }
    constexpr std::uint64_t u64() { return little(8); }
    constexpr std::int32_t i32() { return static_cast<std::int32_t>(u32()); }
    constexpr std::int64_t i64() { return static_cast<std::int64_t>(u64()); }

    /// Bitcoin's CompactSize; a number that is not in its shortest form fails, as it does in Bitcoin Core.
    constexpr std::uint64_t compact_size() {
        const std::uint8_t first = u8();
        std::uint64_t value = first;
        std::uint64_t least = 0;
        if (first == 0xfd) {
            value = little(2);
            least = 0xfd;
        } else if (first == 0xfe) {
            value = little(4);
            least = 0x1'0000;
        } else if (first == 0xff) {
            value = little(8);
            least = 0x1'0000'0000;
        }
        if (value < least) ok_ = false;
        return ok_ ? value : 0;
    }

    /// A CompactSize and that many bytes.
    constexpr bytes_view sized_bytes() { return bytes(compact_size()); }

private:
    constexpr std::uint64_t little(std::size_t n) {
        std::uint64_t value = 0;
        int shift = 0;
        for (const std::uint8_t b : bytes(n)) {
            value |= std::uint64_t{b} << shift;
            shift += 8;
        }
        return value;
    }

    bytes_view bytes_;
    std::size_t position_ = 0;
    bool ok_ = true;
};

}  // namespace paychan
