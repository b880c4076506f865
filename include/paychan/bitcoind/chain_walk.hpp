// Follows the node's active chain block by block, from any position on, and steps back over reorganisations of any depth.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "paychan/bitcoind/answers.hpp"
#include "paychan/bitcoind/chain_tail.hpp"
#include "paychan/bitcoind/check_block.hpp"
#include "paychan/bitcoind/rpc.hpp"
#include "paychan/channel/chain_places.hpp"

namespace paychan::bitcoind {

struct walk_settings {
    std::int32_t ahead = 8;    ///< blocks asked for before the one before them has come
    bool pass_pruned = false;  ///< goes on behind blocks that the node has deleted, which are not reported then
};

/// How one look at the chain ended.
enum class walk_end {
    caught_up,   ///< at the node's tip
    more,        ///< something was done, and there is more: look again at once
    later,       ///< the chain moved meanwhile, or the node is behind us: look again after a while
    waiting,     ///< the node's chain does not reach to where we begin, or go on, yet
    impossible,  ///< a block that was to be read is pruned; the text says which
};

/// Events  what the owner provides:
///     block_joined(const connected_block&), blocks_left(from), walk_at(height, tip),
///     blocks_passed(first, last) those that the node has deleted, with walk_settings::pass_pruned,
///     walk_ended(walk_end, text), walk_broke(const rpc_error&)
/// Each advance() ends with exactly one of the last two, unless stop() or restart() comes before.  A block counts as
/// told when the call that tells of it has returned: after one that throws, call stop(), and the next advance() tells it
/// again.
template <class Events>
class chain_walk {
public:
    chain_walk(rpc_client& rpc, Events& events, walk_settings settings)
        : rpc_(rpc), events_(events), settings_(settings), tail_(dense) {}

    /// Goes on from somewhere else with the next advance(); see ChainSource.
    void restart(const chain_position& from, std::optional<std::int32_t> first) {
        ++run_;
        ready_ = false;
        told_ = from;
        first_ = first;
    }

    /// See ChainSource.
    [[nodiscard]] const chain_position& position() const { return told_; }

    /// Goes to where the node is.  Not while a walk is under way.
    void advance(const chain_info& node) {
        ++run_;
        moved_ = false;
        node_ = node;
        if (ready_ && !tail_.empty() && node.best == tail_.tip_hash()) return end(walk_end::caught_up);
        if (ready_ && node.height > tail_.tip_height()) return forward();
        if (!ready_ && told_.empty()) {
            if (!first_) first_ = node.height + 1;
            return prepare(*first_);
        }
        // A node that loads its blocks anew is behind, which is no reorganisation.
        const std::int32_t last = ready_ ? tail_.tip_height() : told_[0].height;
        if (node.height < last && node.initial_download) return ready_ ? end(walk_end::later) : wait_for(last);
        find_fork(node.height);
    }

    /// Answers that are still to come are ignored.
    void stop() { ++run_; }

private:
    static constexpr std::int32_t blocks_at_once = 1000;  // then the owner looks at the node anew
    static constexpr std::size_t dense = 288;  // [blocks] below them only the places of the position are known

    // -------------------------------------------------------------------- before the first block: what came before it
    /// Asks for the headers of the 10 blocks before `wanted`, which its median time rests on.
    void prepare(std::int32_t wanted) {
        if (wanted > node_.height + 1) return wait_for(wanted);
        const std::int32_t lowest = settings_.pass_pruned ? node_.prune_height.value_or(0) : 0;
        const std::int32_t first = std::max(wanted, lowest);
        tail_.restart(std::max(0, first - static_cast<std::int32_t>(chain_tail::median_span) + 1));
        prepare_next(wanted, first);
    }

    void prepare_next(std::int32_t wanted, std::int32_t first) {
        const std::int32_t height = tail_.tip_height() + 1;
        if (height < first)
            return ask_header(height, [this, wanted, first](const block_header& header) {
                if (!tail_.fits(header)) return end(walk_end::later);
                tail_.push(header);
                prepare_next(wanted, first);
            });
        if (first > wanted) {
            const std::uint64_t run = run_;
            events_.blocks_passed(wanted, first - 1);
            if (run != run_) return;
            told_ = advanced(told_, {first - 1, tail_.tip_hash().bytes});
        } else if (!told_.empty() && tail_.tip_hash() != block_hash{told_[0].hash}) {
            return end(walk_end::later);  // it has left the chain since we found it there
        }
        ready_ = true;
        if (tail_.tip_height() < node_.height) return forward();
        end(tail_.tip_hash() == node_.best ? walk_end::caught_up : walk_end::later);
    }

    void wait_for(std::int32_t height) {
        end(walk_end::waiting,
            "the node is at block " + std::to_string(node_.height) + ", waiting for block " + std::to_string(height));
    }

    // ------------------------------------------------------------------------------------------------------- forward
    void forward() {
        asked_ = tail_.tip_height();
        target_ = std::min(node_.height, asked_ + std::min(node_.height - asked_, blocks_at_once));
        fetch_ahead();
    }

    void fetch_ahead() {
        while (asked_ < target_ && asked_ - tail_.tip_height() < std::max(settings_.ahead, 1)) {
            const std::int32_t height = ++asked_;
            ask_hash(height, [this, height](const block_hash& hash) {
                // Verbosity 0: the block itself.  What else the answer could hold differs between nodes.
                ask("getblock", json::array({text(hash), 0}), height,
                    [this, height, hash](const json& answer) { joined(height, hash, decode(answer)); });
            });
        }
    }

    void joined(std::int32_t height, const block_hash& hash, const std::vector<std::uint8_t>& raw) {
        const auto header = check_block(raw, hash);
        if (!header) return broke(header.error().text);
        // Answers come in the order of the questions, so this is the block after the tip, or on another branch.
        if (!tail_.fits(*header)) return find_fork(tail_.tip_height());
        const std::uint64_t run = run_;
        events_.block_joined(connected_block{height, hash.bytes, tail_.median_time(*header), raw});
        if (run != run_) return;
        told(height, *header);
        events_.walk_at(height, node_.height);
        if (run != run_) return;
        if (height == target_) return end(target_ < node_.height ? walk_end::more : walk_end::caught_up);
        fetch_ahead();
    }

    /// The node has deleted this block: its header takes its place.
    void pass_over(std::int32_t height) {
        ++run_;  // the blocks behind it are asked for anew
        ask_header(height, [this, height](const block_header& header) {
            if (!tail_.fits(header)) return find_fork(tail_.tip_height());
            const std::uint64_t run = run_;
            events_.blocks_passed(height, height);
            if (run != run_) return;
            told(height, header);
            if (height >= target_) return end(target_ < node_.height ? walk_end::more : walk_end::caught_up);
            asked_ = height;
            fetch_ahead();
        });
    }

    void told(std::int32_t height, const block_header& header) {
        tail_.push(header);
        told_ = advanced(told_, {height, header.hash.bytes});
        moved_ = true;
    }

    // ------------------------------------------------------------------------------------------------ reorganisation
    /// Looks downwards from `height` for the highest of the told blocks that the node still has in its active chain.
    void find_fork(std::int32_t height) {
        ++run_;  // blocks that are on their way are of no use now
        const auto candidate = highest_told(height);
        if (!candidate) return begin_anew();
        ask_hash(candidate->height, [this, own = *candidate](const block_hash& hash) {
            if (hash.bytes != own.hash) return find_fork(own.height - 1);
            step_back_to(own);
        });
    }

    /// The highest of the blocks that are known to have been told, from `height` down.
    [[nodiscard]] std::optional<chain_place> highest_told(std::int32_t height) const {
        if (told_.empty()) return std::nullopt;
        if (ready_) {
            const std::int32_t densest = std::min(height, tail_.tip_height());
            if (densest >= std::max(tail_.lowest_fork(), told_[told_.size() - 1].height))
                return chain_place{densest, tail_.hash_at(densest).bytes};
        }
        for (const chain_place& p : told_)
            if (p.height >= 0 && p.height <= height) return p;
        return std::nullopt;
    }

    void step_back_to(const chain_place& fork) {
        if (told_[0].height > fork.height) {
            const std::uint64_t run = run_;
            events_.blocks_left(fork.height + 1);
            if (run != run_) return;
            told_ = taken_back(told_, fork);
            moved_ = true;
        }
        if (ready_ && fork.height >= tail_.lowest_fork()) {
            tail_.cut(fork.height);
            return end(moved_ ? walk_end::more : walk_end::later);
        }
        ready_ = false;
        prepare(fork.height + 1);
    }

    /// None of the told blocks is left.
    void begin_anew() {
        if (!told_.empty()) {
            const std::int32_t lowest = told_[told_.size() - 1].height;
            const std::uint64_t run = run_;
            events_.blocks_left(lowest);
            if (run != run_) return;
            if (!first_) first_ = lowest;
            told_ = {};
            moved_ = true;
        }
        ready_ = false;
        end(moved_ ? walk_end::more : walk_end::later);
    }

    // ------------------------------------------------------------------------------------------------ asking the node
    /// Asks, and goes on with the result; an error, or an answer that comes after this run has ended, goes no further.
    template <class Next>
    void ask(std::string_view method, json params, std::int32_t height, Next next) {
        rpc_.call(method, std::move(params), [this, height, run = run_, next = std::move(next)](rpc_result answer) {
            if (run != run_) return;
            if (!answer) return failed(answer.error(), height);
            next(*answer);
        });
    }

    template <class Next>
    void ask_hash(std::int32_t height, Next next) {
        ask("getblockhash", json::array({height}), height, [this, next = std::move(next)](const json& answer) {
            const auto hash = parse_block_hash(text_or_empty(answer));
            if (!hash) return broke("the node's getblockhash is not understood");
            next(*hash);
        });
    }

    template <class Next>
    void ask_header(std::int32_t height, Next next) {
        ask_hash(height, [this, height, next = std::move(next)](const block_hash& hash) {
            ask("getblockheader", json::array({text(hash), false}), height, [this, hash, next](const json& answer) {
                const auto raw = decode(answer);
                const auto header = parse_block_header(raw);
                if (!header || header->hash != hash) return broke("the node gave another header than was asked for");
                next(*header);
            });
        });
    }

    void failed(const rpc_error& e, std::int32_t height) {
        // -8: the chain is shorter now; -5: the block is gone.  Both mean that it moved since we asked.
        if (e.failure == rpc_failure::node_error && (e.code == -8 || e.code == -5)) return end(walk_end::later);
        const bool pruned = e.failure == rpc_failure::node_error && e.message.find("pruned") != std::string::npos;
        // Answers come in the order of the questions: it is the block after the tip.
        if (pruned && settings_.pass_pruned && height == tail_.tip_height() + 1) return pass_over(height);
        if (pruned)
            return end(walk_end::impossible, "the node has pruned block " + std::to_string(height) +
                                                 ": use a node that keeps its blocks, or begin at a later one");
        ++run_;
        events_.walk_broke(e);
    }

    void broke(std::string_view text) { failed({rpc_failure::bad_answer, 0, std::string(text)}, 0); }

    void end(walk_end how, std::string_view text = {}) {
        ++run_;
        events_.walk_ended(how, text);
    }

    static std::string text(const block_hash& hash) {
        const auto hex = display(hash);
        return {hex.data(), hex.size()};
    }

    /// Empty when it is not hex, which no header or block is.
    static std::vector<std::uint8_t> decode(const json& answer) {
        const std::string& hex = text_or_empty(answer);
        std::vector<std::uint8_t> out(hex.size() / 2);
        if (!from_hex(hex, out)) out.clear();
        return out;
    }

    rpc_client& rpc_;
    Events& events_;
    walk_settings settings_;
    std::optional<std::int32_t> first_;  // where to begin when nothing that was told is left
    chain_position told_;
    chain_tail tail_;  // while ready_: the headers up to the last block that was told
    chain_info node_;
    std::uint64_t run_ = 0;  // an answer to a question of another run is ignored
    std::int32_t asked_ = 0;
    std::int32_t target_ = 0;
    bool ready_ = false;
    bool moved_ = false;
};

}  // namespace paychan::bitcoind
