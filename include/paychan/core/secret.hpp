// secret<T>: a value that is wiped when it dies, and is neither copied, compared nor printed by accident.
#pragma once

#include <cstring>
#include <type_traits>

#include "paychan/core/bytes.hpp"

namespace paychan {

/// Overwrites `memory` with zeros; the compiler cannot drop it as a dead store.
inline void wipe(bytes_span memory) {
    if (memory.empty()) return;
    std::memset(memory.data(), 0, memory.size());
    asm volatile("" : : "r"(memory.data()) : "memory");  // "someone reads these bytes": keeps the memset alive
}

/// Holds a secret inline.  Wiped on destruction and when moved from; what was moved from holds zeros.
/// Copies are made by `copy()` only.  There is no operator==: comparing secrets byte by byte leaks where they differ.
template <class T>
class secret {
    static_assert(std::is_trivially_copyable_v<T>, "a secret must be plain bytes: nothing else can be wiped");

public:
    secret() = default;
    explicit secret(const T& value) : value_(value) {}

    /// Takes the value and wipes where it came from.
    explicit secret(T&& value) : value_(value) { clear(value); }

    secret(const secret&) = delete;
    secret& operator=(const secret&) = delete;
    secret(secret&& other) noexcept : value_(other.value_) { clear(other.value_); }
    secret& operator=(secret&& other) noexcept {
        if (this == &other) return *this;
        value_ = other.value_;
        clear(other.value_);
        return *this;
    }
    ~secret() { clear(value_); }

    [[nodiscard]] secret copy() const { return secret(value_); }

    /// The secret itself, valid as long as this object.  Do not copy it to where nothing wipes it.
    [[nodiscard]] const T& reveal() const& { return value_; }
    const T& reveal() && = delete;

    /// The memory, to be filled or changed in place.
    [[nodiscard]] T& edit() & { return value_; }

private:
    static void clear(T& value) {
        // Bytes of any trivially copyable T may be written as unsigned char.
        wipe({reinterpret_cast<std::uint8_t*>(&value), sizeof(T)});
    }

    T value_{};
};

}  // namespace paychan
