// The library with the known losses in it, each of which one name switches on.
#include "simulation/mutant.hpp"
#include "simulation/mutants/active.hpp"

namespace simulation {

bool has_mutants() { return true; }

void choose_mutant(std::string_view name) {
    for (std::size_t i = 0; i < mutants.size(); ++i)
        if (mutants[i].name == name) active_mutant = static_cast<int>(i) + 1;
}

}  // namespace simulation
