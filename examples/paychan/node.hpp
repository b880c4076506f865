// What every command but the demo stands on: seed, store, keys, wallet and chain, and the loop that they run in.
#pragma once

#include <boost/asio/signal_set.hpp>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "any_store.hpp"
#include "hourly.hpp"
#include "options.hpp"
#include "paychan/asio/keep_turning.hpp"
#include "paychan/bitcoind/backend.hpp"
#include "paychan/bitcoind/print.hpp"
#include "paychan/keeper/keeper.hpp"
#include "paychan/memory/clock.hpp"
#include "paychan/memory/export_file.hpp"
#include "paychan/memory/keys.hpp"
#include "paychan/memory/seed.hpp"
#include "paychan/memory/wallet.hpp"
#include "report.hpp"

namespace tool {

using store_type = paychan::exporting_store<any_store>;
using keys_type = paychan::seed_keys<store_type>;

/// Throws usage_error.
[[nodiscard]] paychan::network network_of(const options& o);

struct host_and_port {
    std::string host;
    std::uint16_t port = 0;
};

/// HOST:PORT, or [IPv6]:PORT.  Throws usage_error.
[[nodiscard]] host_and_port parse_host_and_port(const std::string& text, const char* option);

/// [bytes] The longest info of a payment or an ack: with what else is in the message it fits into a frame.
inline constexpr std::size_t max_info = 32'000;

/// The bytes that an option gives in hexadecimal digits.  Throws usage_error (no such digits, more than max_info).
[[nodiscard]] std::vector<std::uint8_t> info_of(const std::string& hex, const char* option);

/// The value, or an end of the program in one line that says what failed.
template <class T>
[[nodiscard]] T need(paychan::result<T> r, const std::string& what) {
    if (!r) throw usage_error{what + ": " + std::string(r.error().text)};
    return *std::move(r);
}

/// The same for what is no question of options.
template <class T>
[[nodiscard]] T need_at_run_time(paychan::result<T> r, const std::string& what) {
    if (!r && r.error().code == paychan::errc::store_failed)
        throw store_away{{what + ": " + std::string(r.error().text)}};
    if (!r) throw run_error{what + ": " + std::string(r.error().text)};
    return *std::move(r);
}

/// Those of a kind that can be read.  Throws run_error.
[[nodiscard]] std::vector<paychan::channel_record> load_all(store_type& store, paychan::record_kind kind);

/// "; 500 sat are reserved for ..." where that is so.
[[nodiscard]] std::string reserved_text(const paychan::wallet_balance& b);

/// How a command uses the node.
struct node_use {
    paychan::store_access access = paychan::store_access::existing;
    bool patient = false;  ///< waits for a node that does not answer, for as long as it takes
    bool writes = true;    ///< what was read of the chain is kept in the store
    std::uint32_t keys_per_write = 1;
    bool waits_for_store = false;  ///< for as long as it takes
    bool passes_pruned = false;    ///< goes on without blocks that the node has deleted: coins in them are not seen
};

/// The ChainSource of all commands: a Bitcoin node, or `print:`.  It also tells people what becomes of broadcasts.
class node {
public:
    static constexpr paychan::chain_turn chain_order = paychan::chain_turn::others;

    /// Opens all of it.  Throws usage_error, run_error.  A command that waits for its store may be stopped meanwhile: that
    /// throws run_error.
    node(const options& o, report& out, const node_use& use);
    node(const node&) = delete;
    node& operator=(const node&) = delete;

    // ---- ChainSource

    void broadcast(paychan::bytes_view tx);
    void follow(const paychan::chain_position& from, std::optional<std::int32_t> first);
    [[nodiscard]] paychan::chain_position position() const;
    void on_chain(const paychan::chain_event& e);

    // ---- Keeper

    /// What the options say, and what is wrong told in the tool's words.
    [[nodiscard]] paychan::keeper_settings keeping();

    /// Opens the keeper and begins to follow the chain for it.  Throws usage_error, run_error.
    template <class Keeper>
    void start(Keeper& keep) {
        with_store([&] { return keep.open(net_); }, [&](const paychan::error& e) { explain(e, keep); });
        begin([&](const paychan::chain_event& e) { paychan::tell(e, keep); }, [&] { return keep.height(); },
              [&] { return keep.caught_up(); });
        turning_ = std::make_shared<paychan::asio::keep_turning<Keeper>>(io_.get_executor(), keep);
        save_ = [&] { return keep.save(); };
    }

    /// Connections, or a client, hear of the chain before the keeper, until stop().
    template <class Connections>
    void join(Connections& c) {
        connections_ = [&c](const paychan::chain_event& e) { paychan::tell(e, c); };
        connections_(paychan::fee_estimate{rate_});
    }

    /// Runs until the chain has been read to its tip.  False: it cannot be, or, unless the command is patient, there was
    /// no progress for a minute, or Ctrl-C; the reason was reported.
    [[nodiscard]] bool catch_up();

    /// Lets all broadcasts end, and repeats those that reached no network.  False: some still did not, and this was
    /// reported.
    [[nodiscard]] bool deliver();

    /// Runs the loop until `done` says so, it is stopped, or `limit` has passed.  True when `done`.
    bool run_until(const std::function<bool()>& done,
                   std::chrono::milliseconds limit = std::chrono::hours(24 * 365 * 50));

    /// Calls `what` every second, from the loop.
    void every_second(std::function<void()> what) { every_second_ = std::move(what); }

    /// Ends what runs in the loop, and keeps what was read of the chain.
    void stop();

    boost::asio::io_context& io() { return io_; }
    store_type& store() { return *store_; }
    keys_type& keys() { return *keys_; }
    paychan::seed_wallet& wallet() { return *wallet_; }
    paychan::wall_clock& clock() { return clock_; }
    [[nodiscard]] bool prints() const { return print_ != nullptr; }
    [[nodiscard]] bool stopping() const { return stopping_; }
    [[nodiscard]] paychan::fee_rate rate() const { return rate_; }
    [[nodiscard]] std::int32_t height() const { return height_ ? height_() : 0; }
    [[nodiscard]] paychan::unix_time median_time() const { return median_time_; }  ///< of the node's last block

    /// How the last broadcast of a transaction ended.
    [[nodiscard]] std::optional<paychan::broadcast_outcome> outcome_of(const paychan::txid& id) const;

private:
    void open_store(const options& o, const paychan::seed_bytes& seed);
    void with_store(const std::function<paychan::result<void>()>& f,
                    const std::function<void(const paychan::error&)>& explain);
    template <class Keeper>
    void explain(const paychan::error& e, const Keeper& keep) const {
        using paychan::errc;
        if (e.code == errc::invalid_argument)
            throw usage_error{"the store has channels of " + std::string(paychan::name(keep.network_in_store())) +
                              ", and --network is " + std::string(paychan::name(net_))};
        if (e.code == errc::out_of_range)
            throw usage_error{"--birthday can only lower the one in the store, which is " +
                              std::to_string(keep.birthday().value_or(0)) + ": coins that came since could be missed"};
        if (e.code == errc::not_found)
            throw usage_error{
                "say from which block on to look for coins: --birthday HEIGHT, the chain's height when the seed was "
                "made"};
    }
    void begin(std::function<void(const paychan::chain_event&)> tell, std::function<std::int32_t()> height,
               std::function<bool()> caught_up);
    void wait_for_store(const std::string& why);
    void on_answer(const paychan::broadcast_answer& a);
    void on_status(paychan::bitcoind::node_status status, const paychan::bitcoind::rpc_error& cause,
                   std::string_view text);
    void on_passed(const paychan::passed_blocks& p);
    [[nodiscard]] bool is_unreadable(std::string_view what);
    void on_problem(std::string_view what, const paychan::txid& channel, const paychan::error& e);
    void fail(std::string_view code, const std::string& text);
    void tick();

    report& out_;
    node_use use_;
    paychan::network net_;
    std::chrono::seconds patience_;
    std::optional<std::int32_t> birthday_;
    bool rescan_;
    std::optional<paychan::fee_rate> fixed_rate_;
    paychan::fee_rate rate_{2'000};
    boost::asio::io_context io_;
    boost::asio::signal_set signals_{io_};
    boost::asio::steady_timer timer_{io_};
    std::function<void()> every_second_;
    paychan::wall_clock clock_;
    std::optional<any_store> stored_;
    std::optional<store_type> store_;
    std::optional<keys_type> keys_;
    std::optional<paychan::seed_wallet> wallet_;
    std::unique_ptr<paychan::bitcoind::backend> backend_;
    std::unique_ptr<paychan::bitcoind::print_broadcaster> print_;
    // Of the keeper.
    std::function<void(const paychan::chain_event&)> tell_;
    std::function<void(const paychan::chain_event&)> connections_;
    std::function<std::int32_t()> height_;
    std::function<bool()> caught_up_;
    std::function<paychan::result<void>()> save_;
    std::shared_ptr<void> turning_;

    paychan::unix_time median_time_{};
    std::string trouble_;  // with the node, for people
    hourly told_;
    bool syncing_ = false;  // the node is downloading the chain
    bool failed_ = false;
    bool stopping_ = false;
    std::uint64_t steps_ = 0;                                       // of progress
    std::map<paychan::txid, std::vector<std::uint8_t>> under_way_;  // broadcasts whose outcome is awaited
    std::map<paychan::txid, std::vector<std::uint8_t>> unsent_;     // those that reached no network
    // What was reported, so that repetitions are silent.
    std::map<paychan::txid, paychan::broadcast_outcome> last_outcome_;
};

}  // namespace tool
