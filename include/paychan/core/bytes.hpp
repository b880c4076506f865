// The byte types that every floor speaks: views in, caller-owned memory out.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace paychan {

using bytes_view = std::span<const std::uint8_t>;
using bytes_span = std::span<std::uint8_t>;
using bytes32 = std::array<std::uint8_t, 32>;
using bytes20 = std::array<std::uint8_t, 20>;

[[nodiscard]] inline bool equal(bytes_view a, bytes_view b) { return std::ranges::equal(a, b); }

/// Up to N bytes held inline: a trivially copyable stand-in for a vector where no heap is allowed.
template <std::size_t N>
class bounded_bytes {
public:
    constexpr bounded_bytes() = default;

    /// Replaces the content.  Returns false, and leaves the content as it was, when `from` is longer than N.
    [[nodiscard]] constexpr bool assign(bytes_view from) {
        if (from.size() > N) return false;
        std::ranges::copy(from, data_.begin());
        size_ = static_cast<std::uint32_t>(from.size());
        return true;
    }

    /// The whole memory, to be filled by a writer; follow with `resize`.
    [[nodiscard]] constexpr bytes_span memory() { return data_; }

    /// Declares the first `size` bytes of `memory()` to be the content.  size <= N.
    constexpr void resize(std::size_t size) { size_ = static_cast<std::uint32_t>(size < N ? size : N); }

    constexpr void clear() { size_ = 0; }

    [[nodiscard]] constexpr bytes_view view() const { return {data_.data(), size_}; }
    [[nodiscard]] constexpr std::size_t size() const { return size_; }
    [[nodiscard]] constexpr bool empty() const { return size_ == 0; }
    [[nodiscard]] static constexpr std::size_t capacity() { return N; }

    friend constexpr bool operator==(const bounded_bytes& a, const bounded_bytes& b) {
        return std::ranges::equal(a.view(), b.view());
    }

private:
    std::array<std::uint8_t, N> data_{};
    std::uint32_t size_ = 0;
};

}  // namespace paychan
