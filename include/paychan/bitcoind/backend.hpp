// A Bitcoin node as Broadcaster and as the source of chain events: Bitcoin Core, or anything in its dialect, over
// JSON-RPC.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "paychan/bitcoind/answers.hpp"
#include "paychan/bitcoind/chain_walk.hpp"
#include "paychan/bitcoind/rpc.hpp"
#include "paychan/policy.hpp"

namespace paychan::bitcoind {

/// How the node is doing; told once for each change.
enum class node_status {
    following,    ///< at its tip
    syncing,      ///< it is still downloading the chain; what it has is followed
    waiting,      ///< its chain has not reached the first height that was asked for
    unreachable,  ///< down, starting, refusing our login, or no node at all; it is tried again
    failed,       ///< the wrong network, a reorganisation that is too deep, a pruned block: following has ended
};

struct backend_settings {
    std::string chain;  ///< what the node must call its chain: main, test, signet, regtest; see core_chain_name()
    walk_settings walk;
    fee_settings fees;
    rpc_settings rpc;
    std::chrono::milliseconds poll{1'000};       ///< between looks at the node
    std::chrono::milliseconds fee_poll{60'000};  ///< between fee estimates
    std::size_t max_held = 1'000;                ///< broadcasts that wait for the first answer of the node
};

/// Follower  gets the chain events of policy.hpp: on_block, on_block_disconnected, on_broadcast, on_fee_rate.
/// Optional: on_node_status(node_status, std::string_view text)   text for people; or with the cause between the two,
///                                                                a const rpc_error&, which counts if unreachable
///           on_catch_up(height, tip)                             twice a second while there is much to read
///           on_tip(height, median_time)                          what the node says of its best block, with each look at
///                                                                it: long before on_block() gets there, perhaps
///           on_blocks_passed(first, last)                        blocks that the node has deleted, and that no on_block()
///                                                                tells of; with walk_settings::pass_pruned
/// The type may be incomplete until start() is called, so that it can hold a driver that broadcasts through this
/// backend.
///
/// All calls to the follower come from the io_context, never from inside a call to the backend.  The follower may call
/// broadcast() and stop() from inside them, but not destroy the backend.  One thread.
template <class Follower>
class backend {
public:
    backend(boost::asio::io_context& io, const node_address& node, Follower& follower, backend_settings settings)
        : io_(io),
          follower_(follower),
          settings_(std::move(settings)),
          rpc_(io, node, settings_.rpc),
          walk_(rpc_, *this, settings_.walk),
          timer_(io) {}
    backend(const backend&) = delete;
    backend& operator=(const backend&) = delete;
    ~backend() { stop(); }

    /// Begins to look at the node.  Once.
    void start() {
        static_assert(
            requires(Follower & f, const connected_block& b, const txid& id, std::string_view text) {
                f.on_block(b);
                f.on_block_disconnected(b.height);
                f.on_broadcast(id, broadcast_outcome::accepted, text);
                f.on_fee_rate(fee_rate{});
            },
            "the follower lacks a chain event: see policy.hpp");
        later([this] { poll(); });
    }

    /// Ends timers and connection, so that the io_context runs out of work.  Nothing is told to the follower any more;
    /// how broadcasts ended that are under way stays unknown, and they are to be repeated after the next start.
    void stop() {
        stopped_ = true;
        alive_.reset();
        held_.clear();
        walk_.stop();
        rpc_.stop();
        timer_.cancel();
    }

    /// Broadcaster.  Each call ends in one on_broadcast(); what does not parse is refused.  It waits for the node to
    /// prove that it is on the right chain, and is `unreachable` if it does not.
    void broadcast(bytes_view tx) {
        if (stopped_) return;
        const auto parsed = parse_transaction(tx);
        if (!parsed)
            return outcome_later(txid{hash256(tx)}, broadcast_outcome::refused, std::string(parsed.error().text));
        const txid id = parsed->id();
        if (wrong_chain_) return outcome_later(id, broadcast_outcome::unreachable, "the node is on another chain");
        std::string hex(2 * tx.size(), '\0');
        (void)to_hex(tx, hex);  // cannot fail: two characters a byte are there
        if (right_chain_) return send(id, std::move(hex));
        if (held_.size() >= settings_.max_held)
            return outcome_later(id, broadcast_outcome::unreachable, "too many transactions wait for the node");
        held_.push_back({id, std::move(hex)});
    }

private:
    friend class chain_walk<backend>;
    using clock = std::chrono::steady_clock;

    struct held_broadcast {
        txid id;
        std::string hex;
    };

    // ------------------------------------------------------------------------------------------------------- polling
    void poll() {
        rpc_.call("getblockchaininfo", json::array(), [this](rpc_result answer) {
            if (!answer) return walk_broke(answer.error());
            const auto info = read_chain_info(*answer);
            if (!info) return walk_broke({rpc_failure::bad_answer, 0, std::string(info.error().text)});
            if (info->chain != settings_.chain) return wrong_chain(info->chain);
            right_chain_ = true;
            downloading_ = info->initial_download;
            for (auto& [id, hex] : std::exchange(held_, {})) send(id, std::move(hex));
            if constexpr (requires { follower_.on_tip(info->height, unix_time{}); })
                if (info->median_time) follower_.on_tip(info->height, *info->median_time);
            if (stopped_) return;
            ask_fee_rate();
            walk_began_ = clock::now();
            walk_.advance(*info);
        });
    }

    void poll_later() {
        if (stopped_) return;
        timer_.expires_after(settings_.poll);
        // The handler may be on its way already when we are destroyed: `alive` tells it.
        timer_.async_wait([this, alive = std::weak_ptr(alive_)](boost::system::error_code ec) {
            if (!ec && !alive.expired()) poll();
        });
    }

    void wrong_chain(const std::string& chain) {
        wrong_chain_ = true;
        right_chain_ = false;
        give_up_held("the node is on another chain");
        report(node_status::failed, {},
               "the node is on the chain " + chain + ", not on " + settings_.chain +
                   ": check the node's address and the network that you chose");
    }

    // ---------------------------------------------------------------------------------------- what chain_walk tells us
    void block_joined(const connected_block& b) { follower_.on_block(b); }
    void block_left(std::int32_t height) { follower_.on_block_disconnected(height); }

    void blocks_passed(std::int32_t first, std::int32_t last) {
        if constexpr (requires { follower_.on_blocks_passed(first, last); }) follower_.on_blocks_passed(first, last);
    }

    void walk_at(std::int32_t height, std::int32_t tip) {
        constexpr std::chrono::milliseconds progress_interval{500};
        const auto now = clock::now();
        if (height == tip || now - std::max(walk_began_, told_progress_) < progress_interval) return;
        told_progress_ = now;
        if constexpr (requires { follower_.on_catch_up(height, tip); }) follower_.on_catch_up(height, tip);
    }

    void walk_ended(walk_end how, std::string_view text) {
        switch (how) {
            case walk_end::caught_up:
                if (downloading_)
                    report(node_status::syncing, {}, "the node is still downloading the chain");
                else
                    report(node_status::following, {}, "following the node's chain");
                return poll_later();
            case walk_end::more: return poll();
            case walk_end::later: return poll_later();
            case walk_end::waiting: report(node_status::waiting, {}, text); return poll_later();
            case walk_end::impossible: return report(node_status::failed, {}, text);
        }
    }

    /// The node is down, or makes no sense.  When it is back, it may be another one: its chain is checked anew.
    void walk_broke(const rpc_error& e) {
        right_chain_ = false;
        give_up_held(e.message);
        const bool warming_up = e.failure == rpc_failure::node_error && e.code == rpc_in_warmup;
        report(node_status::unreachable, e, (warming_up ? "the node is starting: " : "") + e.message);
        poll_later();
    }

    // --------------------------------------------------------------------------------------------------- broadcasting
    void send(const txid& id, std::string hex) {
        rpc_.call("sendrawtransaction", json::array({std::move(hex)}), [this, id](rpc_result answer) {
            const broadcast_result r = read_broadcast(answer, id);
            follower_.on_broadcast(id, r.outcome, r.reason);
        });
    }

    void outcome_later(const txid& id, broadcast_outcome outcome, std::string reason) {
        later([this, id, outcome, reason = std::move(reason)] { follower_.on_broadcast(id, outcome, reason); });
    }

    void give_up_held(const std::string& reason) {
        for (const auto& h : std::exchange(held_, {})) outcome_later(h.id, broadcast_outcome::unreachable, reason);
    }

    // --------------------------------------------------------------------------------------------------------- others
    void ask_fee_rate() {
        if (clock::now() < next_fee_) return;
        next_fee_ = clock::now() + settings_.fee_poll;
        rpc_.call("estimatesmartfee", json::array({settings_.fees.target}), [this](rpc_result answer) {
            const auto rate = read_fee_estimate(answer, settings_.fees);
            if (!rate) next_fee_ = {};  // no answer: again with the next look at the node
            if (!rate || rate == rate_) return;
            rate_ = rate;
            follower_.on_fee_rate(*rate);
        });
    }

    /// Tells the follower, unless nothing but the words has changed since the last time.
    void report(node_status status, const rpc_error& cause, std::string_view text) {
        const auto key = std::tuple(status, cause.failure, cause.code);
        if (stopped_ || key == reported_) return;
        reported_ = key;
        if constexpr (requires { follower_.on_node_status(status, cause, text); })
            follower_.on_node_status(status, cause, text);
        else if constexpr (requires { follower_.on_node_status(status, text); })
            follower_.on_node_status(status, text);
    }

    template <class F>
    void later(F f) {
        boost::asio::post(io_, [alive = std::weak_ptr(alive_), f = std::move(f)] {
            if (!alive.expired()) f();
        });
    }

    boost::asio::io_context& io_;
    Follower& follower_;
    backend_settings settings_;
    rpc_client rpc_;
    chain_walk<backend> walk_;
    boost::asio::steady_timer timer_;
    std::shared_ptr<int> alive_ = std::make_shared<int>(0);
    std::vector<held_broadcast> held_;
    std::optional<std::tuple<node_status, rpc_failure, int>> reported_;
    std::optional<fee_rate> rate_;
    clock::time_point next_fee_{};
    clock::time_point walk_began_{};
    clock::time_point told_progress_{};
    bool downloading_ = false;
    bool right_chain_ = false;
    bool wrong_chain_ = false;
    bool stopped_ = false;
};

}  // namespace paychan::bitcoind
