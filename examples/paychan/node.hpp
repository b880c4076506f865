// What every command but the demo stands on: seed, store, keys, wallet and chain, joined by one loop.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "options.hpp"
#include "paychan/bitcoind/backend.hpp"
#include "paychan/bitcoind/print.hpp"
#include "paychan/memory/clock.hpp"
#include "paychan/memory/keys.hpp"
#include "paychan/memory/seed.hpp"
#include "paychan/memory/wallet.hpp"
#include "paychan/sqlite/store.hpp"
#include "report.hpp"

namespace tool {

using keys_type = paychan::seed_keys<paychan::sqlite_store>;

/// The FILE of sqlite:FILE.  Throws usage_error.
[[nodiscard]] std::string store_path(const std::string& option);

/// Throws usage_error.
[[nodiscard]] paychan::network network_of(const options& o);

struct host_and_port {
    std::string host;
    std::uint16_t port = 0;
};

/// HOST:PORT, or [IPv6]:PORT.  Throws usage_error.
[[nodiscard]] host_and_port parse_host_and_port(const std::string& text, const char* option);

/// The value, or an end of the program in one line that says what failed.
template <class T>
[[nodiscard]] T need(paychan::result<T> r, const std::string& what) {
    if (!r) throw usage_error{what + ": " + std::string(r.error().text)};
    return *std::move(r);
}

/// What a command does with the chain's events; the wallet has had them before.
struct chain_hooks {
    std::function<void(const paychan::connected_block&)> block;
    std::function<void(std::int32_t)> block_disconnected;
    std::function<void(const paychan::txid&, paychan::broadcast_outcome, std::string_view)> broadcast;
    std::function<void(paychan::fee_rate)> fee_rate;
};

/// Broadcaster for the drivers, follower of the backend.
class node {
public:
    /// Opens all of it.  Throws usage_error.
    node(const options& o, report& out, paychan::store_access access);
    node(const node&) = delete;
    node& operator=(const node&) = delete;

    void broadcast(paychan::bytes_view tx);

    /// Follows the chain until it is caught up; Ctrl-C ends it.  False: it cannot be followed; the reason was reported.
    [[nodiscard]] bool catch_up();

    /// Runs the loop until `done` says so, it is stopped, or `limit` has passed.  True when `done`.
    bool run_until(const std::function<bool()>& done,
                   std::chrono::milliseconds limit = std::chrono::hours(24 * 365 * 50));

    /// Calls `what` every second, from the loop.
    void every_second(std::function<void()> what);

    /// Ends what runs in the loop.
    void stop();

    boost::asio::io_context& io() { return io_; }
    paychan::sqlite_store& store() { return *store_; }
    keys_type& keys() { return *keys_; }
    paychan::seed_wallet& wallet() { return *wallet_; }
    paychan::wall_clock& clock() { return clock_; }
    chain_hooks& hooks() { return hooks_; }
    [[nodiscard]] bool prints() const { return print_ != nullptr; }
    [[nodiscard]] bool stopping() const { return stopping_; }
    [[nodiscard]] paychan::fee_rate rate() const { return rate_; }
    [[nodiscard]] std::int32_t height() const { return height_; }
    [[nodiscard]] paychan::unix_time median_time() const { return median_time_; }
    [[nodiscard]] std::size_t broadcasts_under_way() const { return under_way_.size(); }
    [[nodiscard]] bool any_refused() const { return any_refused_; }

    // Of the backend:
    void on_block(const paychan::connected_block& b);
    void on_block_disconnected(std::int32_t height);
    void on_broadcast(const paychan::txid& id, paychan::broadcast_outcome outcome, std::string_view reason);
    void on_fee_rate(paychan::fee_rate rate);
    void on_node_status(paychan::bitcoind::node_status status, std::string_view text);
    void on_catch_up(std::int32_t height, std::int32_t tip);

private:
    [[nodiscard]] std::int32_t find_birthday(const options& o);
    void reserve_stored_transactions();
    void tick();

    using backend = paychan::bitcoind::backend<node>;
    using printer =
        paychan::bitcoind::print_broadcaster<node, std::function<void(const paychan::txid&, std::string_view)>>;

    report& out_;
    std::optional<paychan::fee_rate> fixed_rate_;
    boost::asio::io_context io_;
    boost::asio::signal_set signals_{io_};
    boost::asio::steady_timer timer_{io_};
    std::function<void()> every_second_;
    paychan::wall_clock clock_;
    std::unique_ptr<paychan::sqlite_store> store_;
    std::optional<keys_type> keys_;
    std::optional<paychan::seed_wallet> wallet_;
    std::unique_ptr<backend> backend_;
    std::unique_ptr<printer> print_;
    chain_hooks hooks_;
    paychan::fee_rate rate_{2'000};
    std::int32_t height_ = 0;
    paychan::unix_time median_time_{};
    bool caught_up_ = false;
    bool failed_ = false;
    bool stopping_ = false;
    bool any_refused_ = false;
    std::map<paychan::txid, std::vector<std::uint8_t>> under_way_;  // broadcasts whose outcome is awaited
    std::map<paychan::txid, std::string> last_outcome_;             // what was reported, so that repetitions are silent
};

}  // namespace tool
