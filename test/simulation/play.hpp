// Plays one history: carries out its steps, then ends all faults and waits until every channel has ended.
#pragma once

#include <optional>

#include "simulation/schedule.hpp"
#include "simulation/tally.hpp"

namespace simulation {

struct outcome {
    std::optional<violation> broken;
    std::size_t at = 0;              // the step at which it was; the number of steps when it was at the end
    std::vector<std::string> trace;  // in words, when asked for
};

enum class tell : std::uint8_t { nothing, everything };

[[nodiscard]] outcome play(const history& h, tally& count, tell how);

}  // namespace simulation
