// One fault that waits for its moment: the Nth effect of a process fails, or the process dies before or after it.
#pragma once

#include <optional>

#include "paychan/core/result.hpp"
#include "simulation/tally.hpp"

namespace simulation {

/// Thrown through a driver: the process is gone in the middle of a call.
struct crash {};

/// operation: of a disk with files, what changes something.
enum class effect : std::uint8_t { write, read, new_key, sign, fund, payout, send, broadcast, operation, any };
enum class way : std::uint8_t { fails, fails_after, crashes_before, crashes_after };

struct strike {
    effect where = effect::any;
    std::uint32_t left = 0;  // effects that pass before it
    way how = way::fails;
};

class strike_plan {
public:
    explicit strike_plan(tally& t) : tally_(t) {}

    void arm(const strike& s) { armed_ = s; }
    void disarm() { armed_.reset(); }

    /// What happens to the effect that begins now.
    [[nodiscard]] std::optional<way> next(effect e) {
        if (!armed_ || (armed_->where != effect::any && armed_->where != e)) return std::nullopt;
        if (armed_->left-- > 0) return std::nullopt;
        const way how = armed_->how;
        armed_.reset();
        if (how == way::crashes_before) count(fault::crash_before_effect);
        if (how == way::crashes_after) count(fault::crash_after_effect);
        return how;
    }

    /// Does f, unless it is struck.
    template <class F>
    auto run(effect e, paychan::errc failure, fault counted, F&& f) -> decltype(f()) {
        const auto how = next(e);
        if (!how) return f();
        if (*how == way::crashes_before) throw crash{};
        // Of the effects only a write may be done and reported as failed: see policy.hpp.
        if (*how == way::fails || (*how == way::fails_after && e != effect::write)) {
            count(counted);
            return paychan::fail(failure, "the simulation says so");
        }
        (void)f();
        if (*how == way::crashes_after) throw crash{};
        count(fault::write_done_but_failed);
        return paychan::fail(failure, "the simulation says so, though it was done");
    }

    void count(fault f) { tally_.add(f); }

private:
    tally& tally_;
    std::optional<strike> armed_;
};

}  // namespace simulation
