// Which known loss is put back: the mutated headers ask.
#pragma once

namespace simulation {

inline int active_mutant = 0;  // its place in mutant.hpp, from 1 on; 0: none

[[nodiscard]] inline bool is_mutant(int n) { return active_mutant == n; }

}  // namespace simulation
