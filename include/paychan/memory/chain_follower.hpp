// One side's view of a memory_chain: its broadcaster, and the events that it has not seen yet.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "paychan/memory/chain.hpp"
#include "paychan/policy.hpp"

namespace paychan {

/// The canonical Broadcaster.  Make one for each side (client, server): each gets every block once, and the outcomes of
/// its own broadcasts.  A transaction reaches the mempool at once, but nothing is told before the owner's `deliver`.
///     chain_follower network(chain);
///     client c(..., network, ...);
///     while (network.deliver(wallet, c) > 0) {}
class chain_follower {
public:
    /// chain        borrowed; must outlive this
    /// from_height  the first block to deliver: a wallet's birthday
    explicit chain_follower(memory_chain& chain, std::int32_t from_height = 0)
        : chain_(&chain), from_height_(from_height) {}

    void broadcast(bytes_view bytes) {
        const auto tx = parse_transaction(bytes);
        const txid id = tx ? tx->id() : txid{};
        if (!reachable_) {
            outcomes_.push_back({id, broadcast_outcome::unreachable, "the node does not answer"});
        } else if (!refusals_.empty()) {
            outcomes_.push_back({id, broadcast_outcome::refused, std::move(refusals_.front())});
            refusals_.pop_front();
        } else {
            submission said = chain_->submit(bytes);
            const auto how = said.accepted ? broadcast_outcome::accepted : broadcast_outcome::refused;
            outcomes_.push_back({id, how, std::move(said.reason)});
        }
    }

    /// Tells `to` what happened since the last call: outcomes first, then blocks that left and came, then the fee rate.
    /// Each of `to` gets every event, in the order given; functions of policy.hpp that one lacks are not called.
    /// Returns the number of events.  What `to` broadcasts meanwhile is told at the next call, so that no call is
    /// endless.
    template <class... Followers>
    std::size_t deliver(Followers&... to) {
        std::size_t events = 0;
        std::vector<outcome> told;
        told.swap(outcomes_);
        for (const outcome& o : told) {
            (tell_outcome(to, o), ...);
            ++events;
        }
        if (!reachable_) return events;
        while (!seen_.empty() && !on_active_chain(seen_.back(), tip_seen())) {
            const std::int32_t left = tip_seen();
            seen_.pop_back();
            (tell_disconnected(to, left), ...);
            ++events;
        }
        while (tip_seen() < chain_->height()) {
            const auto next = chain_->block_at(tip_seen() + 1);
            if (!next) break;
            seen_.push_back(next->hash);
            (tell_block(to, *next), ...);
            ++events;
        }
        if (const auto rate = std::exchange(new_rate_, std::nullopt)) {
            (tell_rate(to, *rate), ...);
            ++events;
        }
        return events;
    }

    /// What transactions should pay from now on; told at the next delivery.
    void set_fee_rate(fee_rate rate) { new_rate_ = rate; }

    // ---- faults

    /// While it is not reachable, broadcasts end as unreachable, and no blocks come.
    enum class node : std::uint8_t { up, down };
    void set_node(node n) { reachable_ = n == node::up; }

    /// The next broadcast is refused with these words, whatever it is; call again for more.
    void refuse_next(std::string_view reason) { refusals_.emplace_back(reason); }

private:
    struct outcome {
        txid id;
        broadcast_outcome how{};
        std::string reason;
    };

    [[nodiscard]] std::int32_t tip_seen() const { return from_height_ + static_cast<std::int32_t>(seen_.size()) - 1; }

    [[nodiscard]] bool on_active_chain(const bytes32& hash, std::int32_t height) const {
        const auto there = chain_->block_at(height);
        return there && there->hash == hash;
    }

    template <class F>
    static void tell_outcome(F& to, const outcome& o) {
        if constexpr (requires { to.on_broadcast(o.id, o.how, std::string_view(o.reason)); })
            to.on_broadcast(o.id, o.how, std::string_view(o.reason));
    }
    template <class F>
    static void tell_disconnected(F& to, std::int32_t height) {
        if constexpr (requires { to.on_block_disconnected(height); }) to.on_block_disconnected(height);
    }
    template <class F>
    static void tell_block(F& to, const connected_block& b) {
        if constexpr (requires { to.on_block(b); }) to.on_block(b);
    }
    template <class F>
    static void tell_rate(F& to, fee_rate rate) {
        if constexpr (requires { to.on_fee_rate(rate); }) to.on_fee_rate(rate);
    }

    memory_chain* chain_;
    std::int32_t from_height_;
    std::vector<bytes32> seen_;  // hashes of the delivered blocks, from from_height_ on
    std::vector<outcome> outcomes_;
    std::deque<std::string> refusals_;
    std::optional<fee_rate> new_rate_;
    bool reachable_ = true;
};
static_assert(Broadcaster<chain_follower>);

}  // namespace paychan
