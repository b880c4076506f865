// Which known loss is put back: the mutated headers ask.
#pragma once

#include "paychan/core/unix_time.hpp"

namespace simulation {

inline int active_mutant = 0;  // its place in mutant.hpp, from 1 on; 0: none

inline paychan::unix_time wall_clock{};  // of the client that acts now; the library does not ask for it

[[nodiscard]] inline bool is_mutant(int n) { return active_mutant == n; }

}  // namespace simulation
