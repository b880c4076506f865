// What every command but the demo stands on: seed, store, keys, wallet and chain, joined by one loop.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "any_store.hpp"
#include "hourly.hpp"
#include "options.hpp"
#include "paychan/bitcoind/backend.hpp"
#include "paychan/bitcoind/print.hpp"
#include "paychan/channel/record_io.hpp"
#include "paychan/memory/clock.hpp"
#include "paychan/memory/export_file.hpp"
#include "paychan/memory/keys.hpp"
#include "paychan/memory/seed.hpp"
#include "paychan/memory/wallet.hpp"
#include "report.hpp"
#include "store_network.hpp"

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

/// Throws run_error.
[[nodiscard]] std::vector<paychan::channel_record> load_all(store_type& store, paychan::record_kind kind);

/// "; 500 sat are reserved for ..." where that is so.
[[nodiscard]] std::string reserved_text(const paychan::wallet_balance& b);

/// How a command uses the node.
struct node_use {
    paychan::store_access access = paychan::store_access::existing;
    bool patient = false;        ///< waits for a node that does not answer, for as long as it takes
    bool keeps_birthday = true;  ///< writes the birthday into the store
    std::uint32_t keys_per_write = 1;
    bool waits_for_store = false;  ///< for as long as it takes
    bool passes_pruned = false;    ///< goes on without blocks that the node has deleted: coins in them are not seen
};

/// What a command does with the chain's events; the wallet has had them before.
struct chain_hooks {
    std::function<void(const paychan::connected_block&)> block;
    std::function<void(std::int32_t)> block_disconnected;
    std::function<void(std::int32_t first, std::int32_t last)> blocks_passed;  // they are not told of
    std::function<void(const paychan::txid&, paychan::broadcast_outcome, std::string_view)> broadcast;
    std::function<void(paychan::fee_rate)> fee_rate;
};

/// Broadcaster for the drivers, follower of the backend.
class node {
public:
    /// Opens all of it.  Throws usage_error, run_error.  A command that waits for its store may be stopped meanwhile: that
    /// throws run_error.
    node(const options& o, report& out, const node_use& use);
    node(const node&) = delete;
    node& operator=(const node&) = delete;

    void broadcast(paychan::bytes_view tx);

    /// Does what needs the store, again and again if the command waits for it.
    /// f  result<void>() that fails with store_failed, or throws store_away, when the store is away
    /// Throws  as f, run_error.
    template <class F>
    void with_store(F&& f) {
        while (true) {
            try {
                const paychan::result<void> done = f();
                if (done) break;
                give_up(done.error());
            } catch (const store_away& e) {
                if (!use_.waits_for_store) throw;
                wait_for_store(e);
            }
        }
        if (std::exchange(store_was_away_, false))
            out_.event({{"event", "store"}, {"status", "there"}}, "the store is there");
    }

    /// Follows the chain until it is caught up; Ctrl-C ends it.  False: it cannot be followed, or, unless the command
    /// is patient, there was no progress for a minute; the reason was reported.
    [[nodiscard]] bool catch_up();

    /// Lets all broadcasts end, and repeats those that reached no network.  False: some still did not, and this was
    /// reported.
    [[nodiscard]] bool deliver();

    /// Keeps keys that the chain has paid to from being given out, in case the store is older than the chain.
    void count_seen_keys();

    /// Runs the loop until `done` says so, it is stopped, or `limit` has passed.  True when `done`.
    bool run_until(const std::function<bool()>& done,
                   std::chrono::milliseconds limit = std::chrono::hours(24 * 365 * 50));

    /// Calls `what` every second, from the loop.
    void every_second(std::function<void()> what);

    /// Ends what runs in the loop.
    void stop();

    boost::asio::io_context& io() { return io_; }
    store_type& store() { return *store_; }
    keys_type& keys() { return *keys_; }
    paychan::seed_wallet& wallet() { return *wallet_; }
    paychan::wall_clock& clock() { return clock_; }
    chain_hooks& hooks() { return hooks_; }
    [[nodiscard]] bool prints() const { return print_ != nullptr; }
    [[nodiscard]] bool stopping() const { return stopping_; }
    [[nodiscard]] bool caught_up() const { return caught_up_; }
    /// True when the node has blocks that on_block() has not told of.
    [[nodiscard]] bool is_behind() const { return tip_height_ > height_; }
    [[nodiscard]] paychan::unix_time tip_median_time() const { return tip_median_time_; }  ///< as the node says it
    /// How often the node has told its tip: the blocks that on_block() tells of then were there at that time.
    [[nodiscard]] std::uint64_t looks() const { return looks_; }
    [[nodiscard]] bool knows_rate() const { return fixed_rate_ || rate_told_; }
    [[nodiscard]] paychan::fee_rate rate() const { return rate_; }
    [[nodiscard]] std::int32_t height() const { return height_; }
    [[nodiscard]] paychan::unix_time median_time() const { return median_time_; }

    /// How the last broadcast of a transaction ended.
    [[nodiscard]] std::optional<paychan::broadcast_outcome> outcome_of(const paychan::txid& id) const;

    // Of the backend:
    void on_block(const paychan::connected_block& b);
    void on_block_disconnected(std::int32_t height);
    void on_broadcast(const paychan::txid& id, paychan::broadcast_outcome outcome, std::string_view reason);
    void on_fee_rate(paychan::fee_rate rate);
    void on_node_status(paychan::bitcoind::node_status status, const paychan::bitcoind::rpc_error& cause,
                        std::string_view text);
    void on_catch_up(std::int32_t height, std::int32_t tip);
    void on_tip(std::int32_t height, paychan::unix_time median_time);
    void on_blocks_passed(std::int32_t first, std::int32_t last);

private:
    void open_store(const options& o, paychan::network net, const paychan::seed_bytes& seed);
    void wait_for_store(const store_away& why);
    /// Throws store_away, or run_error where waiting does not help.
    [[noreturn]] void give_up(const paychan::error& e);
    void list_stored_contracts();
    void look_for_contracts(const paychan::connected_block& b);
    void ask_for_contracts();
    [[nodiscard]] std::optional<std::int32_t> find_birthday(const options& o);
    void on_caught_up();
    void keep_network();
    void keep_birthday();
    void fail(std::string_view code, const std::string& text);
    void reserve_stored_transactions();
    void tick();

    using backend = paychan::bitcoind::backend<node>;
    using printer =
        paychan::bitcoind::print_broadcaster<node, std::function<void(const paychan::txid&, std::string_view)>>;

    report& out_;
    node_use use_;
    bool regtest_ = false;
    std::chrono::seconds patience_;
    std::optional<paychan::fee_rate> fixed_rate_;
    bool rate_told_ = false;
    boost::asio::io_context io_;
    boost::asio::signal_set signals_{io_};
    boost::asio::steady_timer timer_{io_};
    std::function<void()> every_second_;
    paychan::wall_clock clock_;
    std::optional<any_store> stored_;
    std::optional<store_network> network_;
    std::optional<store_type> store_;
    std::optional<keys_type> keys_;
    std::optional<paychan::seed_wallet> wallet_;
    std::unique_ptr<backend> backend_;
    std::unique_ptr<printer> print_;
    chain_hooks hooks_;
    paychan::fee_rate rate_{2'000};
    std::int32_t height_ = 0;
    paychan::unix_time median_time_{};
    std::int32_t tip_height_ = -1;
    paychan::unix_time tip_median_time_{};
    std::uint64_t looks_ = 0;
    std::string trouble_;  // with the node, for people
    hourly told_;
    bool store_was_away_ = false;
    bool caught_up_ = false;
    bool failed_ = false;
    bool stopping_ = false;
    std::optional<std::int32_t> from_ = 0;      // the birthday; none: it is damaged, and the tip takes its place
    bool has_begun_ = false;                    // with the first block
    std::optional<std::int32_t> new_birthday_;  // to be stored once the chain was followed from there
    bool birthday_is_damaged_ = false;
    std::chrono::steady_clock::time_point next_birthday_{};
    std::uint64_t birthday_version_ = 0;
    // Of a store that does not say its network: until the chain shows one of them, --network may be a slip of the hand.
    std::set<paychan::txid> contracts_;
    bool is_new_ = false;         // a store that has never had a channel: there is nothing to be wrong about
    bool network_shown_ = false;  // by the chain
    std::uint64_t steps_ = 0;     // of progress
    std::map<paychan::txid, std::vector<std::uint8_t>> under_way_;  // broadcasts whose outcome is awaited
    std::map<paychan::txid, std::vector<std::uint8_t>> unsent_;     // those that reached no network
    // What was reported, so that repetitions are silent.
    std::map<paychan::txid, paychan::broadcast_outcome> last_outcome_;
};

}  // namespace tool
