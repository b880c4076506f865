// The network that a store's channels are on: what a node has confirmed once, no slip of the hand contradicts later.
#pragma once

#include "any_store.hpp"
#include "paychan/bitcoin/network.hpp"

namespace tool {

class store_network {
public:
    /// store  borrowed.  Throws usage_error (it is of another network), run_error.
    store_network(any_store& store, paychan::network net);

    /// Whether the store says that it is of this network; one that has met no node yet says nothing.
    [[nodiscard]] bool known() const { return known_; }

    /// Writes it down, where a node or an imported channel has shown it.  What the store does not take now, the next
    /// command tries again.
    void keep();

private:
    any_store& store_;
    paychan::network net_;
    bool known_ = false;
    bool tried_ = false;
};

}  // namespace tool
