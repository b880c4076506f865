// How broadcasts end: each is remembered, only news is told, and what reached nobody is sent again.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "paychan/channel/record_io.hpp"

namespace paychan {

struct delivery_settings {
    /// Sends again what reached no network, and takes a refusal of what depends on such a transaction for the same.  False
    /// for a side whose monitors run: they repeat, and build anew, what is theirs.
    bool repeats = true;
    std::int64_t pause = 1;  ///< [s] between an answer and the next attempt
    /// Hears of an outcome that is not the last one of this transaction.  transaction  empty if it is not ours
    std::function<void(const broadcast_answer&, bytes_view transaction)> on_news{};
};

/// A Broadcaster over another one, and a ChainSource if that is one.  Let it hear what the chain tells, and call turn()
/// now and then until done().
template <Broadcaster Chain>
class delivery {
public:
    static constexpr chain_turn chain_order = chain_turn::others;

    /// chain  borrowed
    explicit delivery(Chain& chain, delivery_settings settings = {}) : chain_(chain), settings_(std::move(settings)) {}
    delivery(const delivery&) = delete;
    delivery& operator=(const delivery&) = delete;

    void broadcast(bytes_view tx) {
        if (const auto parsed = parse_transaction(tx)) under_way_[parsed->id()].assign(tx.begin(), tx.end());
        chain_.broadcast(tx);
    }
    void follow(const chain_position& from, std::optional<std::int32_t> first) requires ChainSource<Chain> {
        chain_.follow(from, first);
    }
    [[nodiscard]] chain_position position() const requires ChainSource<Chain> { return chain_.position(); }

    void on_chain(const chain_event& e) {
        match(e, [this](const broadcast_answer& a) { on_answer(a); });
    }

    /// Sends again what reached no network, a while after the last answer came.
    void turn(unix_time now) {
        if (!under_way_.empty() || unsent_.empty()) return answered_.reset();
        if (!answered_) answered_ = now;
        if (now >= *answered_ && now < *answered_ + settings_.pause) return;  // a clock may be set back
        answered_.reset();
        for (const auto& [id, tx] : std::exchange(unsent_, {})) broadcast(tx);
    }

    /// Every broadcast has ended, and none is left that reached no network.
    [[nodiscard]] bool done() const { return left() == 0; }
    /// [transactions] How many did not end yet, or reached no network.
    [[nodiscard]] std::size_t left() const { return under_way_.size() + unsent_.size(); }

    /// How the last broadcast of a transaction ended.
    [[nodiscard]] std::optional<broadcast_outcome> outcome_of(const txid& id) const {
        const auto found = last_outcome_.find(id);
        if (found == last_outcome_.end()) return std::nullopt;
        return found->second;
    }
    /// The network has taken something whose first input spends this: a settlement or refund of the contract there, of
    /// whatever fee.
    [[nodiscard]] bool has_taken_spend_of(const outpoint& spent) const { return taken_.contains(spent); }

private:
    void on_answer(broadcast_answer a) {
        const auto sent = under_way_.extract(a.id);
        // One that was sent twice may be answered twice.
        if (settings_.repeats && !sent.empty()) unsent_[a.id] = sent.mapped();
        const auto unsent = unsent_.find(a.id);
        if (unsent != unsent_.end() && a.outcome == broadcast_outcome::refused && rests_on_unsent(unsent->second))
            a.outcome = broadcast_outcome::unreachable;
        if (unsent != unsent_.end() && a.outcome != broadcast_outcome::unreachable) unsent_.erase(unsent);
        if (last_outcome_.size() > 10'000) last_outcome_.clear();  // strangers can make a server broadcast
        if (taken_.size() > 10'000) taken_.clear();
        const auto tx = parse_transaction(sent.empty() ? bytes_view{} : bytes_view(sent.mapped()));
        if (const auto first = tx ? tx->input(0) : fail(tx.error()); first && a.outcome == broadcast_outcome::accepted)
            taken_.insert(first->prevout);
        const auto [last, first_time] = last_outcome_.try_emplace(a.id, a.outcome);
        if (!first_time && std::exchange(last->second, a.outcome) == a.outcome) return;
        if (settings_.on_news) settings_.on_news(a, sent.empty() ? bytes_view{} : bytes_view(sent.mapped()));
    }

    /// While what it spends has not reached the network, a refusal says nothing about the transaction itself.
    [[nodiscard]] bool rests_on_unsent(bytes_view raw) const {
        if (const auto tx = parse_transaction(raw))
            for (const tx_input& in : tx->inputs())
                if (outcome_of(in.prevout.id) == broadcast_outcome::unreachable) return true;
        return false;
    }

    Chain& chain_;
    delivery_settings settings_;
    std::map<txid, std::vector<std::uint8_t>> under_way_;  // whose outcome is awaited
    std::map<txid, std::vector<std::uint8_t>> unsent_;     // that reached no network
    std::map<txid, broadcast_outcome> last_outcome_;
    std::set<outpoint> taken_;           // first inputs of what was accepted
    std::optional<unix_time> answered_;  // when turn() saw the last answer
};

}  // namespace paychan
