// Follows the node's active chain block by block, and steps back over reorganisations.
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

namespace paychan::bitcoind {

struct walk_settings {
    std::optional<std::int32_t> from;  ///< height of the first block to report; without it, the tip at the first look
    std::int32_t max_reorg_depth = 2016;  ///< [blocks] deeper needs a rescan
    std::int32_t ahead = 8;               ///< blocks asked for before the one before them has come
    bool pass_pruned = false;  ///< goes on behind blocks that the node has deleted, which are not reported then
};

/// How one look at the chain ended.
enum class walk_end {
    caught_up,   ///< at the node's tip
    more,        ///< something was done, and there is more: look again at once
    later,       ///< the chain moved meanwhile, or the node is behind us: look again after a while
    waiting,     ///< the chain has not reached the first height yet
    impossible,  ///< cannot be followed any further from here; the text says why
};

/// Events  what the owner provides:
///     block_joined(const connected_block&), block_left(height), walk_at(height, tip),
///     blocks_passed(first, last) those that the node has deleted, with walk_settings::pass_pruned,
///     walk_ended(walk_end, text), walk_broke(const rpc_error&)
/// Each advance() ends with exactly one of the last two, unless stop() comes before.
template <class Events>
class chain_walk {
public:
    chain_walk(rpc_client& rpc, Events& events, walk_settings settings)
        : rpc_(rpc),
          events_(events),
          settings_(settings),
          first_(settings.from),
          tail_(static_cast<std::size_t>(std::max(settings.max_reorg_depth, 1))) {}

    /// Goes to where the node is.  Not while a walk is under way.
    void advance(const chain_info& node) {
        ++run_;
        moved_ = false;
        node_ = node;
        if (!first_) first_ = node.height;
        if (!ready_) return prepare();
        if (!tail_.empty() && node.best == tail_.tip_hash()) return end(walk_end::caught_up);
        if (node.height > tail_.tip_height()) return forward();
        // A node that loads its blocks anew is behind, which is no reorganisation.
        if (node.initial_download) return end(walk_end::later);
        find_fork(node.height);
    }

    /// Answers that are still to come are ignored.
    void stop() { ++run_; }

private:
    static constexpr std::int32_t blocks_at_once = 1000;  // then the owner looks at the node anew

    // ------------------------------------------------------------------ before the first block: what came before it
    void prepare() {
        if (*first_ > node_.height)
            return end(walk_end::waiting, "the node is at block " + std::to_string(node_.height) +
                                              ", waiting for block " + std::to_string(*first_));
        if (const auto lowest = node_.prune_height; settings_.pass_pruned && lowest && *lowest > *first_) {
            const std::uint64_t run = run_;
            events_.blocks_passed(std::exchange(*first_, *lowest), *lowest - 1);
            if (run != run_) return;
        }
        // The 10 blocks before the first are for its median time, one more so that a fork at the start is seen.
        tail_.restart(std::max(0, *first_ - static_cast<std::int32_t>(chain_tail::median_span)));
        prepare_next();
    }

    void prepare_next() {
        const std::int32_t height = tail_.tip_height() + 1;
        if (height == *first_) {
            ready_ = true;
            return forward();
        }
        ask_header(height, [this](const block_header& header) {
            if (!tail_.fits(header)) return end(walk_end::later);
            tail_.push(header);
            prepare_next();
        });
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
        tail_.push(*header);
        moved_ = true;
        const std::uint64_t run = run_;
        if (height >= *first_) events_.block_joined(connected_block{height, hash.bytes, tail_.median_time(), raw});
        if (run != run_) return;
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
            tail_.push(header);
            moved_ = true;
            const std::uint64_t run = run_;
            events_.blocks_passed(height, height);
            if (run != run_) return;
            if (height >= target_) return end(target_ < node_.height ? walk_end::more : walk_end::caught_up);
            asked_ = height;
            fetch_ahead();
        });
    }

    // ------------------------------------------------------------------------------------------------ reorganisation
    /// Looks downwards from `height` for the highest of our blocks that the node still has in its active chain.
    void find_fork(std::int32_t height) {
        ++run_;  // blocks that are on their way are of no use now
        height = std::min(height, tail_.tip_height());
        if (height < tail_.lowest_fork())
            return end(walk_end::impossible, "reorganisation deeper than " +
                                                 std::to_string(tail_.tip_height() - tail_.lowest_fork()) +
                                                 " blocks, or another chain: rescan from a lower height");
        rpc_.call("getblockhash", json::array({height}), [this, height, run = run_](rpc_result answer) {
            if (run != run_) return;
            if (!answer && is_out_of_range(answer.error())) return find_fork(height - 1);
            if (!answer) return failed(answer.error(), height);
            const auto hash = parse_block_hash(text_or_empty(*answer));
            if (!hash) return broke("the node's getblockhash is not understood");
            if (*hash != tail_.hash_at(height)) return find_fork(height - 1);
            step_back_to(height);
        });
    }

    void step_back_to(std::int32_t fork) {
        const std::uint64_t run = run_;
        while (tail_.tip_height() > fork) {
            const std::int32_t height = tail_.tip_height();
            tail_.pop();
            moved_ = true;
            if (height >= *first_) events_.block_left(height);
            if (run != run_) return;
        }
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

    static bool is_out_of_range(const rpc_error& e) { return e.failure == rpc_failure::node_error && e.code == -8; }

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
    std::optional<std::int32_t> first_;
    chain_tail tail_;
    chain_info node_;
    std::uint64_t run_ = 0;  // an answer to a question of another run is ignored
    std::int32_t asked_ = 0;
    std::int32_t target_ = 0;
    bool ready_ = false;
    bool moved_ = false;
};

}  // namespace paychan::bitcoind
