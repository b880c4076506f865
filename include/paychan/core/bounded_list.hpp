// Up to N things held inline: for the short lists of a step's effects.
#pragma once

#include <array>
#include <cstddef>
#include <utility>

namespace paychan {

/// N is what the protocol needs at most, so `push_back` beyond it is a bug in a step and drops the value.
template <class T, std::size_t N>
class bounded_list {
public:
    /// value  a T, or what one is assigned from: a variant then takes the one alternative and copies no unset bytes
    template <class U>
    constexpr void push_back(U&& value) {
        if (size_ < N) items_[size_++] = std::forward<U>(value);
    }

    [[nodiscard]] static constexpr std::size_t capacity() { return N; }
    [[nodiscard]] constexpr std::size_t size() const { return size_; }
    [[nodiscard]] constexpr bool empty() const { return size_ == 0; }
    [[nodiscard]] constexpr const T& operator[](std::size_t i) const { return items_[i]; }
    [[nodiscard]] constexpr const T* begin() const { return items_.data(); }
    [[nodiscard]] constexpr const T* end() const { return items_.data() + size_; }

private:
    std::array<T, N> items_{};
    std::size_t size_ = 0;
};

}  // namespace paychan
