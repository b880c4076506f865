// One side's view of a memory_chain: its broadcaster, and the events that it has not seen yet.
#pragma once

#include <algorithm>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "paychan/channel/chain_places.hpp"
#include "paychan/memory/chain.hpp"
#include "paychan/policy.hpp"

namespace paychan {

/// A ChainSource.  Make one for each side (client, server): each tells of every block once, and of its own broadcasts.  A
/// transaction reaches the mempool at once, but nothing is told before the owner's `deliver`.
///     chain_follower network(chain);
///     client c(..., network, ...);
///     while (network.deliver(wallet, c) > 0) {}
class chain_follower {
public:
    /// Follows from the start: as by follow({}, from_height).
    /// chain        borrowed; must outlive this
    /// from_height  the first block to deliver: a wallet's birthday
    explicit chain_follower(memory_chain& chain, std::int32_t from_height = 0) : chain_(&chain), first_(from_height) {}

    void broadcast(bytes_view bytes) {
        const auto tx = parse_transaction(bytes);
        const auto input = tx ? tx->input(0) : fail(tx.error());
        const txid id = tx ? tx->id() : txid{};
        if (node_ == node::down) {
            answers_.push_back({id, broadcast_outcome::unreachable, "the node does not answer"});
        } else if (!refusals_.empty()) {
            answers_.push_back({id, broadcast_outcome::refused, std::move(refusals_.front())});
            refusals_.pop_front();
        } else {
            submission said = chain_->submit(bytes);
            const auto how = said.accepted ? broadcast_outcome::accepted : broadcast_outcome::refused;
            answers_.push_back({id, how, std::move(said.reason), {chain_->alone(id), chain_->with_ancestors(id)}});
            if (input) answers_.back().input = input->prevout;
        }
    }

    void follow(const chain_position& from, std::optional<std::int32_t> first) {
        told_.assign(from.begin(), from.end());
        std::ranges::reverse(told_);
        first_ = first;
        ++stretch_;
    }

    [[nodiscard]] chain_position position() const {
        chain_position p;
        for (std::size_t i = told_.size(); i-- > 0;)
            if (i == 0 || is_kept(told_[i].height, told_.back().height)) p.push_back(told_[i]);
        return p;
    }

    /// Tells the listeners what happened since the last call: how broadcasts ended, then which blocks left, the tip when it
    /// is another one, which blocks came, and the fee rate.  Returns the number of events.  What they broadcast meanwhile
    /// is told at the next call, so that no call is endless; and after follow() blocks are.
    /// What a listener's exception interrupts is told again by the next call, to all of them.
    template <class... L>
    std::size_t deliver(L&... listeners) {
        std::size_t events = 0;
        const std::uint64_t stretch = stretch_;
        const auto told = [&](const chain_event& e) {
            tell(e, listeners...);
            ++events;
            return stretch == stretch_;
        };
        for (std::size_t n = answers_.size(); n > 0; --n) {
            const answer a = answers_.front();
            (void)told(broadcast_answer{a.id, a.outcome, a.words, why(a.words), a.pays, mined(a), is_spent(a)});
            answers_.pop_front();
        }
        if (node_ == node::down || stretch != stretch_) return events;
        if (returned_) {
            const bool same = told(node_returned{});
            returned_ = false;
            if (!same) return events;
        }
        if (!first_ && told_.empty()) first_ = chain_->height() + 1;
        if (const std::size_t left = active(); shows_blocks() && left < told_.size()) {
            const std::int32_t from = left > 0 ? told_[left - 1].height + 1 : told_[0].height;
            if (!told(disconnected_blocks{from})) return events;
            if (left == 0 && !first_) first_ = from;
            told_.resize(left);
        }
        const auto tip = chain_->block_at(node_ == node::syncing ? behind() : chain_->height()).value();
        if (const std::pair now{tip.hash, node_ == node::syncing}; now != tip_) {
            const bool same = told(chain_tip{tip.height, tip.median_time, node_ == node::syncing});
            tip_ = now;
            if (!same) return events;
        }
        if (const std::int32_t from = next_height(); shows_blocks() && from <= std::min(pruned_, chain_->height())) {
            const std::int32_t last = std::min(pruned_, chain_->height());
            if (!told(passed_blocks{from, last})) return events;
            for (std::int32_t h = from; h <= last; ++h) told_.push_back({h, chain_->block_at(h).value().hash});
        }
        while (shows_blocks()) {
            const auto next = chain_->block_at(next_height());
            if (!next) break;
            if (!told(*next)) return events;
            told_.push_back({next->height, next->hash});
        }
        if (const auto fees = new_fees_) {
            (void)told(*fees);
            if (new_fees_ == fees) new_fees_.reset();
        }
        return events;
    }

    /// What transactions should pay from now on; told at the next delivery.
    void set_fee_rate(fee_rate rate) { new_fees_ = fee_estimate{rate, {}, chain_->floor()}; }

    // ---- faults

    /// down     broadcasts end as unreachable, and nothing is told
    /// syncing  it takes transactions, and says that it is still downloading what is behind the last block that was told
    /// slow     it takes transactions, and shows its tip: blocks do not come yet
    enum class node : std::uint8_t { up, down, syncing, slow };
    void set_node(node n) { node_ = n; }

    /// It was started anew: what it forgot is to leave the chain's mempool, by forget() or forget_mempool().
    void restart_node() { returned_ = true; }

    /// It has deleted the blocks up to this one: they are passed over by whoever was not told of them yet.
    void prune(std::int32_t height) { pruned_ = height; }

    /// The next broadcast is refused with these words, whatever it is; call again for more.
    void refuse_next(std::string_view reason) { refusals_.emplace_back(reason); }

private:
    struct answer {
        txid id;
        broadcast_outcome outcome{};
        std::string words;
        mempool_fees pays{};
        std::optional<outpoint> input{};  // of one that was given to the chain
    };

    // As in broadcast_answer: only when no block is still to be told.
    [[nodiscard]] std::int32_t mined(const answer& a) const {
        if (a.outcome != broadcast_outcome::accepted || !has_told_all()) return 0;
        const std::int32_t n = chain_->confirmations(a.id);
        return n == 0 ? 0 : chain_->height() - n + 1;
    }
    [[nodiscard]] bool is_spent(const answer& a) const {
        return a.outcome == broadcast_outcome::refused && a.input && has_told_all() && !chain_->coin_at(*a.input) &&
               !chain_->spender_in_mempool(*a.input);
    }
    [[nodiscard]] bool has_told_all() const {
        return node_ == node::up && !told_.empty() && told_.back().height == chain_->height() &&
               told_.back().hash == chain_->block_at(chain_->height()).value().hash;
    }

    [[nodiscard]] static fee_refusal why(std::string_view words) {
        if (words.starts_with("insufficient fee")) return fee_refusal::outbid;
        return words.find("fee not met") != std::string_view::npos ? fee_refusal::underpaid : fee_refusal::none;
    }

    [[nodiscard]] std::int32_t next_height() const { return told_.empty() ? *first_ : told_.back().height + 1; }
    [[nodiscard]] bool shows_blocks() const { return node_ == node::up; }
    /// Height of the best block of a node that has none behind those that were told.
    [[nodiscard]] std::int32_t behind() const {
        const std::int32_t last = told_.empty() ? std::max(*first_ - 1, 0) : told_.back().height;
        return std::min(last, chain_->height());
    }

    /// How many of the blocks that were told, from the lowest on, are on the active chain.
    [[nodiscard]] std::size_t active() const {
        std::size_t n = told_.size();
        for (; n > 0; --n)
            if (const auto b = chain_->block_at(told_[n - 1].height); b && b->hash == told_[n - 1].hash) break;
        return n;
    }

    memory_chain* chain_;
    std::optional<std::int32_t> first_;
    std::vector<chain_place> told_;  // the lowest first
    std::uint64_t stretch_ = 0;      // counts calls of follow()
    std::pair<bytes32, bool> tip_;   // of the last chain_tip
    std::deque<answer> answers_;
    std::deque<std::string> refusals_;
    std::optional<fee_estimate> new_fees_;
    node node_ = node::up;
    bool returned_ = false;
    std::int32_t pruned_ = -1;
};
static_assert(ChainSource<chain_follower>);

}  // namespace paychan
