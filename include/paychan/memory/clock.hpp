// Clocks: the machine's, and one that stands still until it is set.
#pragma once

#include <chrono>

#include "paychan/policy.hpp"

namespace paychan {

/// The machine's wall clock.  Any thread.
struct wall_clock {
    [[nodiscard]] unix_time now() const {
        using namespace std::chrono;
        return {floor<seconds>(system_clock::now()).time_since_epoch().count()};  // C++20: counts from 1970
    }
};

static_assert(Clock<wall_clock>);

/// Shows the time that it was last set to: for tests, simulations, and devices that are told the time.
class manual_clock {
public:
    explicit manual_clock(unix_time start = {}) : now_(start) {}

    [[nodiscard]] unix_time now() const { return now_; }

    /// Wall clocks jump: back, too.
    void set(unix_time now) { now_ = now; }

    /// by  [s] forward, or back when negative; stops at the ends of the range
    void advance(std::int64_t by) { now_ = now_ + by; }

private:
    unix_time now_;
};

static_assert(Clock<manual_clock>);

}  // namespace paychan
