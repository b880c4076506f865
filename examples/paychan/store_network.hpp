// The network that a store's channels are on: what a node has confirmed once, no slip of the hand contradicts later.
#pragma once

#include "any_store.hpp"
#include "paychan/bitcoin/network.hpp"

namespace tool {

class store_network {
public:
    /// store  borrowed.  Throws usage_error (it is of another network), store_away.
    store_network(any_store& store, paychan::network net);

    /// Whether the store says that it is of this network; one that has met no node yet says nothing.
    [[nodiscard]] bool known() const { return known_; }

    /// Why what the store says cannot be read, or nothing.  Then it says nothing, and keep() writes it anew: one damaged
    /// word must not keep the money of all channels from coming home.
    [[nodiscard]] const std::string& damage() const { return damage_; }

    /// Writes it down, where a node or an imported channel has shown it.  What the store does not take now, the next
    /// command tries again.
    void keep();

private:
    any_store& store_;
    paychan::network net_;
    bool known_ = false;
    std::string damage_;
    bool tried_ = false;
};

}  // namespace tool
