// What every command but the demo stands on: seed, store, keys, wallet and chain, and the loop that they run in.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <vector>

#include "any_store.hpp"
#include "options.hpp"
#include "paychan/asio/host_and_port.hpp"
#include "paychan/asio/keep_turning.hpp"
#include "paychan/asio/loop.hpp"
#include "paychan/bitcoind/backend.hpp"
#include "paychan/bitcoind/print.hpp"
#include "paychan/channel/fee_engine.hpp"
#include "paychan/keeper/delivery.hpp"
#include "paychan/keeper/hourly.hpp"
#include "paychan/keeper/keeper.hpp"
#include "paychan/keeper/one_of_chains.hpp"
#include "paychan/memory/clock.hpp"
#include "paychan/memory/export_file.hpp"
#include "paychan/memory/keys.hpp"
#include "paychan/memory/seed.hpp"
#include "paychan/memory/wallet.hpp"
#include "report.hpp"

namespace tool {

using store_type = exporting_store<any_store>;
using keys_type = seed_keys<store_type>;
using chain_type = one_of_chains<bitcoind::backend, bitcoind::print_broadcaster>;

/// Throws usage_error.
[[nodiscard]] network network_of(const options& o);

/// HOST:PORT, or [IPv6]:PORT.  Throws usage_error.
[[nodiscard]] asio::host_and_port parse_host_and_port(const std::string& text, const char* option);

/// [bytes] The longest info of a payment or an ack: with what else is in the message it fits into a frame.
inline constexpr std::size_t max_info = 32'000;

/// The bytes that an option gives in hexadecimal digits.  Throws usage_error (no such digits, more than max_info).
[[nodiscard]] std::vector<std::uint8_t> info_of(const std::string& hex, const char* option);

/// The value, or an end of the program in one line that says what failed.
template <class T>
[[nodiscard]] T need(result<T> r, const std::string& what) {
    if (!r) throw usage_error{what + ": " + std::string(r.error().text)};
    return *std::move(r);
}

/// The same for what is no question of options.
template <class T>
[[nodiscard]] T need_at_run_time(result<T> r, const std::string& what) {
    if (!r && r.error().code == errc::store_failed) throw store_away{{what + ": " + std::string(r.error().text)}};
    if (!r) throw run_error{what + ": " + std::string(r.error().text)};
    return *std::move(r);
}

/// A record that cannot be read, now or ever.
[[nodiscard]] inline bool is_damage(const error& e) {
    return e.code == errc::corrupt_record || e.code == errc::unknown_format;
}

/// "; 500 sat are reserved for ..." where that is so.
[[nodiscard]] std::string reserved_text(const wallet_balance& b);

/// How a command uses the node.
struct node_use {
    store_access access = store_access::existing;
    const char* needs_node = nullptr;  ///< why `print:` will not do, for people
    bool patient = false;              ///< waits for a node that does not answer, for as long as it takes
    bool writes = true;                ///< what was read of the chain is kept in the store
    bool waits_for_store = false;      ///< for as long as it takes
    bool passes_pruned = false;        ///< goes on without blocks that the node has deleted: coins in them are not seen
    bool brings_home = false;          ///< what is due does not wait for a node that is still downloading the chain
};

/// The ChainSource of all commands: a Bitcoin node, or `print:`.  It also tells people what becomes of broadcasts.
class node {
public:
    static constexpr chain_turn chain_order = chain_turn::others;

    /// Opens all of it.  Throws usage_error, run_error.  A command that waits for its store may be stopped meanwhile: that
    /// throws run_error.
    node(const options& o, report& out, const node_use& use);
    node(const node&) = delete;
    node& operator=(const node&) = delete;

    // ---- ChainSource

    void broadcast(bytes_view tx) { delivery_.broadcast(tx); }
    void follow(const chain_position& from, std::optional<std::int32_t> first) { chain_.follow(from, first); }
    [[nodiscard]] chain_position position() const { return chain_.position(); }
    void on_chain(const chain_event& e);

    // ---- Keeper

    /// What the options say, and what is wrong told in the tool's words.
    [[nodiscard]] keeper_settings keeping();

    /// Opens the keeper and begins to follow the chain for it.  Throws usage_error, run_error.
    template <class Keeper>
    void start(Keeper& keep) {
        with_store([&] { return keep.open(net_); }, [&](const error& e) { explain(e, keep); });
        tell_ = [&](const chain_event& e) { tell(e, keep); };
        height_ = [&] { return keep.height(); };
        caught_up_ = [&] { return keep.caught_up(); };
        chain_.start(*this);
        if (tip_) tell_(*tip_);
        if (options_.fee_rate || prints()) tell_(fees_);
        tick();
        turning_ = std::make_shared<asio::keep_turning<Keeper>>(io().get_executor(), keep);
        save_ = [&] { return keep.save(); };
    }

    /// Connections, or a client, hear of the chain before the keeper, until stop().
    template <class Connections>
    void join(Connections& c) {
        connections_ = [&c](const chain_event& e) { tell(e, c); };
        if (tip_) connections_(*tip_);
        connections_(fees_);
    }

    /// Runs until the chain has been read to its tip.  False: it cannot be, or, unless the command is patient, there was
    /// no progress for --patience, or Ctrl-C; the reason was reported.
    [[nodiscard]] bool catch_up();

    /// Lets all broadcasts end, and repeats those that reached no network.  False: some still did not, and this was
    /// reported.
    [[nodiscard]] bool deliver();

    /// Runs the loop until `done` says so, it is stopped, or `limit` has passed.  True when `done`.
    bool run_until(const std::function<bool()>& done, std::chrono::milliseconds limit = asio::loop::for_ever);

    /// Runs the loop until an operation completes.  Nothing: stopped by Ctrl-C, or the node cannot be followed.
    template <class T, class Start>
    std::optional<result<T>> wait_for(Start start) {
        return asio::loop::wait_for<T>(start, [this](const auto& done) { run_until(done); });
    }

    /// Calls `what` every second, from the loop.
    void every_second(std::function<void()> what) { every_second_ = std::move(what); }

    /// Which outcomes of broadcasts are told; without it, all.
    void hear_broadcasts(std::function<bool(const broadcast_answer&)> is_told) { tells_ = std::move(is_told); }

    /// Ends what runs in the loop, and keeps what was read of the chain.
    void stop();

    boost::asio::io_context& io() { return loop_.io(); }
    store_type& store() { return *store_; }
    keys_type& keys() { return *keys_; }
    seed_wallet& wallet() { return *wallet_; }
    wall_clock& clock() { return clock_; }
    [[nodiscard]] bool prints() const { return chain_.is<bitcoind::print_broadcaster>(); }
    [[nodiscard]] bool stopping() const { return loop_.stopping(); }
    [[nodiscard]] fee_rate rate() const { return fees_.rate; }
    /// What settlements and refunds may cost.
    [[nodiscard]] fee_budget budget() const {
        fee_budget out;
        if (options_.fee_share) out.share = *options_.fee_share;
        out.last_share = std::max(out.share, out.last_share);
        return out;
    }
    [[nodiscard]] std::int32_t height() const { return height_ ? height_() : 0; }
    /// Of the node's last block.
    [[nodiscard]] unix_time median_time() const { return tip_ ? tip_->median_time : unix_time{}; }

    /// How the last broadcast of a transaction ended.
    [[nodiscard]] std::optional<broadcast_outcome> outcome_of(const txid& id) const { return delivery_.outcome_of(id); }
    [[nodiscard]] bool has_taken_spend_of(const outpoint& spent) const { return delivery_.has_taken_spend_of(spent); }

private:
    [[nodiscard]] result<void> open_store(const seed_bytes& seed);
    void with_store(const std::function<result<void>()>& f, const std::function<void(const error&)>& explain);
    template <class Keeper>
    void explain(const error& e, const Keeper& keep) const {
        if (e.code == errc::invalid_argument)
            throw usage_error{"the store has channels of " + std::string(name(keep.network_in_store())) +
                              ", and --network is " + std::string(name(net_))};
        if (e.code == errc::out_of_range)
            throw usage_error{"--birthday can only lower the one in the store, which is " +
                              std::to_string(keep.birthday().value_or(0)) + ": coins that came since could be missed"};
        if (e.code == errc::not_found)
            throw usage_error{
                "say from which block on to look for coins: --birthday HEIGHT, the chain's height when the seed was "
                "made"};
    }
    void on_broadcast_news(const broadcast_answer& a, bytes_view transaction);
    void on_status(bitcoind::node_status status, const bitcoind::rpc_error& cause, std::string_view text);
    void on_passed(const passed_blocks& p);
    [[nodiscard]] bool is_unreadable(std::string_view what);
    void on_problem(std::string_view what, const txid& channel, const error& e);
    void fail(std::string_view code, const std::string& text);
    void tick();

    const options& options_;
    report& out_;
    node_use use_;
    network net_;
    fee_estimate fees_{fee_rate{2'000}, {}, {}};
    bool fees_known_ = false;  // by the node
    asio::loop loop_;
    boost::asio::steady_timer timer_{loop_.io()};
    std::function<void()> every_second_;
    std::function<bool(const broadcast_answer&)> tells_;
    wall_clock clock_;
    std::optional<any_store> stored_;
    std::optional<store_type> store_;
    std::optional<keys_type> keys_;
    std::optional<seed_wallet> wallet_;
    chain_type chain_;
    delivery<chain_type> delivery_;
    // Of the keeper.
    std::function<void(const chain_event&)> tell_;
    std::function<void(const chain_event&)> connections_;
    std::function<std::int32_t()> height_;
    std::function<bool()> caught_up_;
    std::function<result<void>()> save_;
    std::shared_ptr<void> turning_;

    std::optional<chain_tip> tip_;  // that was told last
    std::string trouble_;           // with the node, for people
    hourly told_;
    bool failed_ = false;
    std::uint64_t steps_ = 0;  // of progress
};

}  // namespace tool
