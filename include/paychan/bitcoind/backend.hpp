// A Bitcoin node as ChainSource: Bitcoin Core, or anything in its dialect, over JSON-RPC.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "paychan/bitcoind/answers.hpp"
#include "paychan/bitcoind/chain_walk.hpp"
#include "paychan/bitcoind/rpc.hpp"
#include "paychan/policy.hpp"

namespace paychan::bitcoind {

/// How the node is doing; told once for each change.
enum class node_status {
    following,    ///< at its tip, and all was told; not before follow() is called
    syncing,      ///< it is still downloading the chain; what it has was told; not before follow() is called
    waiting,      ///< its chain does not reach to where we begin, or go on, yet
    unreachable,  ///< down, starting, refusing our login, or no node at all; it is tried again
    failed,       ///< the wrong network, or a pruned block: nothing more is read until follow() is called again
};

struct backend_settings {
    std::string
        chain;  ///< what the node must call its chain: main, test, testnet4, signet, regtest; see core_chain_name()
    walk_settings walk;
    fee_settings fees;
    rpc_settings rpc;
    std::chrono::milliseconds poll{1'000};       ///< between looks at the node
    std::chrono::milliseconds fee_poll{60'000};  ///< between fee estimates
    std::size_t max_held = 1'000;                ///< broadcasts that wait for the first answer of the node

    // For people, and no chain events; either may be empty.
    std::function<void(node_status, const rpc_error& cause, std::string_view words)> on_status;  ///< cause: unreachable
    std::function<void(std::int32_t height, std::int32_t tip)>
        on_progress;  ///< twice a second while there is much to read
};

/// A ChainSource.
///     backend chain(io, node, settings);
///     server s(..., chain, ...);
///     chain.start(s, wallet);
///     chain.follow(stored_position, birthday);
/// The chain's tip is told with each look at the node.  Reorganisations of any depth are followed.
///
/// All calls to listeners and to the settings' functions come from the io_context, never from inside a call to the
/// backend.  They may call it, but not destroy it.  When one throws, the exception leaves the io_context's run(); run it
/// again, and after `poll` all are told again of what was being told.  One thread.
class backend {
public:
    backend(boost::asio::io_context& io, const node_address& node, backend_settings settings)
        : io_(io),
          settings_(std::move(settings)),
          rpc_(io, node, of_quick_calls(settings_.rpc)),
          blocks_(io, node, settings_.rpc),
          walk_(blocks_, *this, settings_.walk),
          timer_(io) {}
    backend(const backend&) = delete;
    backend& operator=(const backend&) = delete;
    ~backend() { stop(); }

    /// Begins to look at the node.  Once.  The listeners must outlive this, or its stop().
    template <class... L>
    void start(L&... listeners) {
        static_assert((ChainListener<L> && ...),
                      "who follows the chain has chain_order and on_chain(): see ChainListener");
        tell_ = [&listeners...](const chain_event& e) { tell(e, listeners...); };
        look_soon();
    }

    /// Ends timers and connection, so that the io_context runs out of work.  Nothing is told any more; how broadcasts
    /// ended that are under way stays unknown, and they are to be repeated after the next start.
    void stop() {
        stopped_ = true;
        alive_.reset();
        held_.clear();
        ++look_;
        walk_.stop();
        rpc_.stop();
        blocks_.stop();
        timer_.cancel();
    }

    /// ChainSource.  Before start() or after, and again at any time.
    void follow(const chain_position& from, std::optional<std::int32_t> first) {
        following_ = true;
        impossible_.clear();
        walk_.restart(from, first);
        if (reported_ && std::get<0>(*reported_) != node_status::unreachable) reported_.reset();
        if (tell_) look_soon();
    }

    /// ChainSource.  Where follow() was told to begin, until there is more to say.
    [[nodiscard]] chain_position position() const { return walk_.position(); }

    /// Broadcaster.  Each call ends in one broadcast_answer; what does not parse is refused.  It waits for the node to
    /// prove that it is on the right chain, and is `unreachable` if it does not.
    void broadcast(bytes_view tx) {
        if (stopped_) return;
        const auto parsed = parse_transaction(tx);
        if (!parsed)
            return answer_later(txid{hash256(tx)}, broadcast_outcome::refused, std::string(parsed.error().text));
        const txid id = parsed->id();
        if (wrong_chain_) return answer_later(id, broadcast_outcome::unreachable, "the node is on another chain");
        if (!right_chain_ && held_.size() >= settings_.max_held)
            return answer_later(id, broadcast_outcome::unreachable, "too many transactions wait for the node");
        std::string hex(2 * tx.size(), '\0');
        (void)to_hex(tx, hex);  // cannot fail: two characters a byte are there
        const auto input = parsed->input(0);
        const sent_transaction own{await_answer(), id, input ? input->prevout : outpoint{},
                                   static_cast<std::uint32_t>(parsed->output_count())};
        if (right_chain_) return send(own, std::move(hex));
        held_.push_back({own, std::move(hex)});
    }

private:
    friend class chain_walk<backend>;

    /// A broadcast does not wait ten minutes behind a call that a node should answer at once.
    [[nodiscard]] static rpc_settings of_quick_calls(rpc_settings s) {
        s.longest_timeout = std::min(s.longest_timeout, 2 * s.timeout);
        return s;
    }

    using clock = std::chrono::steady_clock;

    struct sent_transaction {
        std::uint64_t number = 0;  // of its answer
        txid id;
        outpoint input;  // the first
        std::uint32_t outputs = 0;
    };

    struct held_broadcast {
        sent_transaction tx;
        std::string hex;
    };

    struct answered {
        broadcast_answer said;  // but for its words
        std::string words;
        block_hash best{};  // of which `mined` and `spent` are true
    };

    // ------------------------------------------------------------------------------------------------------- looking
    /// One look is under way at a time: a newer one, or the wait for one, ends those before it.
    void look() {
        const std::uint64_t own = ++look_;
        tell_answers();
        if (own == look_) ask_tip(own, false);
    }

    /// Reading blocks may take long: meanwhile the chain's time and fees are told all the same.
    void glance_later(std::uint64_t own) {
        timer_.expires_after(settings_.poll);
        timer_.async_wait([this, own, alive = std::weak_ptr(alive_)](boost::system::error_code ec) {
            if (!ec && !alive.expired() && own == look_) ask_tip(own, true);
        });
    }

    /// walking  blocks are being read, and go on
    void ask_tip(std::uint64_t own, bool walking) {
        rpc_.call("getblockchaininfo", json::array(), [this, own, walking](rpc_result answer) {
            if (own != look_) return;
            const auto info = answer ? read_chain_info(*answer) : fail(errc::other, answer.error().message);
            if (!info) {
                walking ? glance_later(own) : look_later();
                node_failed(answer ? rpc_error{rpc_failure::bad_answer, 0, std::string(info.error().text)}
                                   : answer.error());
            } else if (info->chain != settings_.chain) {
                walk_.stop();
                wrong_chain(info->chain);
            } else {
                looked(own, *info, walking);
            }
        });
    }

    void looked(std::uint64_t own, const chain_info& info, bool walking) {
        right_chain_ = true;
        if (std::exchange(wrong_chain_, false)) reported_.reset();
        if (away_) {
            tell_all(node_returned{});
            away_ = false;
            if (own != look_) return;
        }
        downloading_ = info.initial_download;
        for (auto& [tx, hex] : std::exchange(held_, {})) send(tx, std::move(hex));
        tell_tip(info);
        if (own != look_) return;
        ask_fee_rate();
        if (walking) return glance_later(own);
        if (!following_) {
            if (!impossible_.empty()) report(node_status::failed, {}, impossible_);
            return look_later();
        }
        walk_began_ = clock::now();
        glance_later(own);
        walk_.advance(info);
    }

    void look_soon() {
        timer_.cancel();
        later([this, own = ++look_] {
            if (own == look_) look();
        });
    }

    void look_later() {
        if (stopped_) return;
        timer_.expires_after(settings_.poll);
        // The handler may be on its way already when we are destroyed: `alive` tells it.
        timer_.async_wait([this, own = ++look_, alive = std::weak_ptr(alive_)](boost::system::error_code ec) {
            if (!ec && !alive.expired() && own == look_) look();
        });
    }

    void wrong_chain(const std::string& chain) {
        wrong_chain_ = away_ = true;
        right_chain_ = false;
        give_up_held("the node is on another chain");
        report(node_status::failed, {},
               "the node is on the chain " + chain + ", not on " + settings_.chain +
                   ": check the node's address and the network that you chose");
        look_later();  // its operator may start it anew
    }

    // ------------------------------------------------------------------------------------------------------- telling
    /// Calls out.  After an exception there is another look, at which all is told again that does not count as told.
    template <class F>
    void call_out(F f) {
        try {
            f();
        } catch (...) {
            walk_.stop();
            reported_.reset();
            next_fee_ = {};
            look_later();
            throw;
        }
    }

    void tell_all(const chain_event& e) {
        call_out([&] { tell_(e); });
    }

    /// On regtest a node says that it is downloading for as long as its last block is old.
    void tell_tip(const chain_info& info) {
        if (info.median_time)
            tell_all(chain_tip{info.height, *info.median_time, info.initial_download && info.chain != "regtest"});
    }

    void tell_answers() {
        while (tell_ && !stopped_ && !answers_.empty() && answers_.begin()->second) {
            const auto [number, next] = *answers_.begin();
            broadcast_answer a = next->said;
            a.words = next->words;
            if (!was_told(next->best)) a.mined = 0, a.spent = false;  // a reorganisation came while it waited
            tell_all(a);
            answers_.erase(number);
        }
    }

    // ---------------------------------------------------------------------------------------- what chain_walk tells us
    void block_joined(const connected_block& b) { tell_all(b); }
    void blocks_left(std::int32_t from) { tell_all(disconnected_blocks{from}); }
    void blocks_passed(std::int32_t first, std::int32_t last) { tell_all(passed_blocks{first, last}); }

    void walk_at(std::int32_t height, std::int32_t tip) {
        constexpr std::chrono::milliseconds progress_interval{500};
        const auto now = clock::now();
        if (height == tip || now - std::max(walk_began_, told_progress_) < progress_interval) return;
        told_progress_ = now;
        if (settings_.on_progress) call_out([&] { settings_.on_progress(height, tip); });
    }

    void walk_ended(walk_end how, std::string_view text) {
        if (how == walk_end::more) return look();
        look_later();
        if (how == walk_end::impossible) {
            // No block can be told any more until follow().  The chain's time is, for refunds that come due by it.
            following_ = false;
            impossible_ = text;
            report(node_status::failed, {}, text);
        }
        if (how == walk_end::waiting) report(node_status::waiting, {}, text);
        if (how == walk_end::caught_up && downloading_)
            report(node_status::syncing, {}, "the node is still downloading the chain");
        if (how == walk_end::caught_up && !downloading_)
            report(node_status::following, {}, "following the node's chain");
    }

    void walk_broke(const rpc_error& e) {
        look_later();
        node_failed(e);
    }

    /// The node is down, or makes no sense.  When it is back, it may be another one: its chain is checked anew.
    void node_failed(const rpc_error& e) {
        right_chain_ = false;
        give_up_held(e.message);
        const bool warming_up = e.failure == rpc_failure::node_error && e.code == rpc_in_warmup;
        away_ = away_ || warming_up || e.failure == rpc_failure::unreachable;
        report(node_status::unreachable, e, (warming_up ? "the node is starting: " : "") + e.message);
    }

    // --------------------------------------------------------------------------------------------------- broadcasting
    void send(const sent_transaction& tx, std::string hex) {
        rpc_.call("sendrawtransaction", json::array({std::move(hex)}), [this, tx](rpc_result answer) {
            broadcast_result r = read_broadcast(answer, tx.id);
            if (r.outcome == broadcast_outcome::refused) next_fee_ = {};  // perhaps for its fee: what is it now?
            if (r.is_mined) return ask_where(tx, 0, std::move(r.reason));
            if (r.outcome == broadcast_outcome::accepted) return ask_package(tx, std::move(r.reason));
            if (r.lacks_input) return ask_whether_spent(tx, false, walk_.position(), std::move(r.reason));
            answered_now(tx, {{tx.id, r.outcome, {}, r.for_fee}, std::move(r.reason)});
        });
    }

    // Some answers take more questions than others, and all are told in the order of the broadcasts: of a transaction that
    // was given to the node twice, what it said last counts.
    [[nodiscard]] std::uint64_t await_answer() {
        answers_.emplace(++awaited_, std::nullopt);
        return awaited_;
    }
    void answered_now(const sent_transaction& tx, answered a) {
        answers_[tx.number] = std::move(a);
        tell_answers();
    }

    [[nodiscard]] bool was_told(const block_hash& best) const {
        const chain_position& told = walk_.position();
        return !told.empty() && told[0].hash == best.bytes;
    }

    /// Blocks tell where it is, but those that the node has deleted: its unspent outputs know.
    void ask_where(const sent_transaction& tx, std::uint32_t output, std::string words) {
        rpc_.call("gettxout", json::array({text(tx.id), output, false}),
                  [this, tx, output, words = std::move(words)](rpc_result answer) mutable {
                      const auto coin = read_coin(answer);
                      constexpr std::uint32_t most = 2;  // [outputs] of contracts, refunds and settlements
                      if (!coin && coin.error().code == errc::not_found && output + 1 < std::min(tx.outputs, most))
                          return ask_where(tx, output + 1, std::move(words));
                      answered a{{tx.id, broadcast_outcome::accepted, {}}, std::move(words)};
                      if (coin && was_told(coin->best)) {
                          a.best = coin->best;
                          a.said.mined = walk_.position()[0].height - coin->confirmations + 1;
                      }
                      answered_now(tx, std::move(a));
                  });
    }

    /// Neither in a block nor in the mempool: in a block that is still to be told, or in one that nobody can show?
    /// told  up to where blocks were told before the first question
    void ask_whether_spent(const sent_transaction& tx, bool in_mempool, const chain_position& told, std::string words) {
        rpc_.call("gettxout", json::array({text(tx.input.id), tx.input.index, in_mempool}),
                  [this, tx, in_mempool, told, words = std::move(words)](rpc_result answer) mutable {
                      const auto coin = read_coin(answer);
                      const bool gone = !coin && coin.error().code == errc::not_found;
                      if (!gone) return answered_now(tx, {{tx.id, broadcast_outcome::refused, {}}, std::move(words)});
                      if (!in_mempool) return ask_whether_spent(tx, true, told, std::move(words));
                      ask_whether_all_told(tx, told, std::move(words));
                  });
    }
    /// A node that has all its blocks has shown what spends the coin, or does not know of it yet.
    void ask_whether_all_told(const sent_transaction& tx, const chain_position& told, std::string words) {
        rpc_.call("getblockchaininfo", json::array(),
                  [this, tx, told, words = std::move(words)](rpc_result answer) mutable {
                      const auto info = answer ? read_chain_info(*answer) : fail(errc::other, answer.error().message);
                      answered a{{tx.id, broadcast_outcome::refused, {}}, std::move(words)};
                      if (info && info->prune_height && was_told(info->best) && !told.empty() &&
                          told[0] == walk_.position()[0]) {
                          a.best = info->best;
                          a.said.spent = true;
                      }
                      answered_now(tx, std::move(a));
                  });
    }

    static std::string text(const txid& id) {
        const auto hex = display(id);
        return {hex.data(), hex.size()};
    }

    /// Whatever comes of it, the transaction was accepted.
    void ask_package(const sent_transaction& tx, std::string words) {
        rpc_.call("getmempoolentry", json::array({text(tx.id)}),
                  [this, tx, words = std::move(words)](rpc_result answer) mutable {
                      answered_now(
                          tx, {{tx.id, broadcast_outcome::accepted, {}, fee_refusal::none, read_mempool_entry(answer)},
                               std::move(words)});
                  });
    }

    void answer_later(const txid& id, broadcast_outcome outcome, std::string words) {
        answers_[await_answer()] = answered{{id, outcome, {}}, std::move(words)};
        later([this] { tell_answers(); });
    }

    void give_up_held(const std::string& words) {
        for (const auto& h : std::exchange(held_, {}))
            answers_[h.tx.number] = answered{{h.tx.id, broadcast_outcome::unreachable, {}}, words};
        later([this] { tell_answers(); });
    }

    // --------------------------------------------------------------------------------------------------------- others
    void ask_fee_rate() {
        if (clock::now() < next_fee_) return;
        next_fee_ = clock::now() + settings_.fee_poll;
        rpc_.call("getmempoolinfo", json::array(), [this](rpc_result answer) {
            const auto floor = read_mempool_floor(answer);
            if (!floor) next_fee_ = {};  // no answer: again with the next look at the node
            floor_ = std::min(floor.value_or(floor_), settings_.fees.max);
        });
        rpc_.call("estimatesmartfee", json::array({2}), [this](rpc_result answer) {
            fee_settings none = settings_.fees;
            none.fallback = {};
            soon_ = read_fee_estimate(answer, floor_, none).value_or(soon_);
        });
        rpc_.call("estimatesmartfee", json::array({settings_.fees.target}), [this](rpc_result answer) {
            const auto rate = read_fee_estimate(answer, floor_, settings_.fees);
            if (!rate) next_fee_ = {};  // no answer: again with the next look at the node
            const fee_estimate now{rate.value_or(fee_rate{}), soon_, floor_};
            if (!rate || now == fees_) return;
            tell_all(now);
            fees_ = now;
        });
    }

    /// Unless nothing but the words has changed since the last time.
    void report(node_status status, const rpc_error& cause, std::string_view words) {
        const auto key = std::tuple(status, cause.failure, cause.code);
        if (stopped_ || key == reported_) return;
        reported_ = key;
        if (settings_.on_status) call_out([&] { settings_.on_status(status, cause, words); });
    }

    template <class F>
    void later(F f) {
        boost::asio::post(io_, [alive = std::weak_ptr(alive_), f = std::move(f)] {
            if (!alive.expired()) f();
        });
    }

    boost::asio::io_context& io_;
    backend_settings settings_;
    rpc_client rpc_;     // what is soon answered, and what is due
    rpc_client blocks_;  // a slow one holds nothing else up
    chain_walk<backend> walk_;
    boost::asio::steady_timer timer_;
    std::function<void(const chain_event&)> tell_;  // to all listeners; empty before start()
    std::shared_ptr<int> alive_ = std::make_shared<int>(0);
    std::vector<held_broadcast> held_;
    std::map<std::uint64_t, std::optional<answered>> answers_;  // that were not told to all yet, or that are to come
    std::uint64_t awaited_ = 0;
    std::optional<std::tuple<node_status, rpc_failure, int>> reported_;
    std::optional<fee_estimate> fees_;  // as it was told
    fee_rate floor_{};                  // of the node's mempool
    fee_rate soon_{};
    clock::time_point next_fee_{};
    clock::time_point walk_began_{};
    clock::time_point told_progress_{};
    std::uint64_t look_ = 0;
    bool following_ = false;
    std::string impossible_;  // why no block can be told any more
    bool downloading_ = false;
    bool right_chain_ = false;
    bool wrong_chain_ = false;
    bool away_ = false;  // it may have forgotten what we gave it
    bool stopped_ = false;
};
static_assert(ChainSource<backend>);

}  // namespace paychan::bitcoind
