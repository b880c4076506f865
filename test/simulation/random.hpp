// The only randomness of a simulation: numbers that follow from a seed.
#pragma once

#include <cstdint>

namespace simulation {

/// splitmix64 (Steele, Lea, Flood 2014): small, fast, and the same everywhere.
class random {
public:
    explicit random(std::uint64_t seed) : state_(seed) {}

    [[nodiscard]] std::uint64_t next() {
        state_ += 0x9e3779b97f4a7c15;
        std::uint64_t z = state_;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }
    /// 0 to n - 1; n > 0.  The bias of a remainder does not matter here.
    [[nodiscard]] std::uint32_t below(std::uint32_t n) { return static_cast<std::uint32_t>(next() % n); }
    [[nodiscard]] bool chance(std::uint32_t percent) { return below(100) < percent; }

private:
    std::uint64_t state_;
};

}  // namespace simulation
