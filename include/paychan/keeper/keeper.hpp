// What a running side must do besides speaking the protocol, in the order that is safe: join monitors, wallet and chain.
#pragma once

#include <algorithm>
#include <functional>
#include <limits>
#include <optional>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "paychan/keeper/network_guard.hpp"
#include "paychan/keeper/position.hpp"
#include "paychan/monitor/record_reader.hpp"

namespace paychan {

/// A wallet that is brought up from a store and kept there; seed_wallet is one.
/// load(store)            what save() wrote.  Fails  corrupt_record, unknown_format (then forget() and a scan), store_failed.
/// save(store)            writes what has changed.  When it succeeds, all that on_chain() told of is on disk.
/// forget(store)          erases all of it: a scan begins anew.
/// restart_scan()         the same in memory only.
/// usable()               fails with wrong_state when blocks were missed: a scan is needed.
/// height()               of the last block that was taken in.
/// reserve_inputs_of(tx)  nothing else may spend what this contract or settlement spends.
template <class W, class S>
concept KeptWallet = ChainListener<W> && requires(W w, const W k, S& store, bytes_view tx) {
    { w.load(store) } -> std::same_as<result<void>>;
    { w.save(store) } -> std::same_as<result<void>>;
    { w.forget(store) } -> std::same_as<result<void>>;
    { w.restart_scan() } -> std::same_as<void>;
    { k.usable() } -> std::same_as<result<void>>;
    { k.height() } -> std::same_as<std::optional<std::int32_t>>;
    { w.reserve_inputs_of(tx) } -> std::same_as<result<void>>;
};

struct keeper_settings {
    /// [blocks] Height of the first block that can hold coins of the seed.  Kept in the store; can only be lowered later.
    /// Without it a store that knows none is refused, but on regtest, where it is 0.
    std::optional<std::int32_t> birthday{};
    bool rescan = false;               ///< forget what is known of coins and blocks, and read them from the birthday on
    bool writes = true;                ///< false: a look that leaves the store as it is
    bool sees_blocks = true;           ///< false: the chain takes transactions and shows nothing
    bool needs_birthday = true;        ///< false: a damaged one is passed over; coins that came before are not seen
    std::int64_t refresh = 10;         ///< [s] between looks for what other processes have stored
    std::int64_t save = 5;             ///< [s] between saves while many blocks are read
    std::int64_t rate_patience = 10;   ///< [s] that what is due waits for the first fee estimate
    std::size_t load_at_once = 2'000;  ///< [records] read by one turn() while a store is loaded
    /// Hears of what is wrong and does not stop the rest; `what` names it: "network", "birthday", "position", "wallet",
    /// "store", "keys", "clock" (ahead of the chain by hours), or "transaction", with its channel.  The same may be told each
    /// second.
    std::function<void(std::string_view what, const txid& channel, const error&)> on_problem{};
};

/// Brings up one side, or both, and keeps it going:
///     keeper keep(store, keys, wallet, chain, clock, settings, monitor);
///     if (const auto opened = keep.open(network::regtest); !opened) ...
///     chain.start(connections, keep);        // the keeper tells monitors and wallet
///     and call keep.turn() every second, and at once again while it returns true.
/// In this order: the store's network is checked; coins of stored contracts are reserved before anything is funded; what is
/// due leaves, by the chain's time as its node tells it, before records and blocks have been read; channels are loaded a
/// part at a time; then blocks are read, from where this store was left.  From then on: channels of other processes are
/// picked up before the blocks that may hold them, keys that the chain has paid to are counted as given out, and what the
/// chain did is on disk before the position behind it is.
/// All policies are borrowed.  One thread.  Monitors  client_monitor or server_monitor, one of a role
template <class StorePolicy, class KeyPolicy, class WalletPolicy, class ChainPolicy, class ClockPolicy,
          class... Monitors>
class keeper {
    static_assert(Store<StorePolicy>, "StorePolicy: see Store in policy.hpp");
    static_assert(KeyStore<KeyPolicy>, "KeyPolicy: see KeyStore in policy.hpp");
    static_assert(KeptWallet<WalletPolicy, StorePolicy>, "WalletPolicy: see KeptWallet in keeper/keeper.hpp");
    static_assert(ChainSource<ChainPolicy>, "ChainPolicy: see ChainSource in policy.hpp");
    static_assert(Clock<ClockPolicy>, "ClockPolicy: see Clock in policy.hpp");
    static_assert((ChainListener<Monitors> && ...), "Monitors: client_monitor or server_monitor");

public:
    static constexpr chain_turn chain_order = chain_turn::monitors;

    keeper(StorePolicy& store, KeyPolicy& keys, WalletPolicy& wallet, ChainPolicy& chain, ClockPolicy& clock,
           keeper_settings settings, Monitors&... monitors)
        : store_(store),
          keys_(keys),
          wallet_(wallet),
          chain_(chain),
          clock_(clock),
          settings_(std::move(settings)),
          monitors_(monitors...) {}
    keeper(const keeper&) = delete;
    keeper& operator=(const keeper&) = delete;

    /// Reads where this store was left.  Call it before anything else; again, if it failed with store_failed.
    /// Fails  invalid_argument (the store has channels of another network: see network_in_store), out_of_range (a birthday
    ///        that is later than the store's), not_found (no birthday is known: see keeper_settings), store_failed.
    [[nodiscard]] result<void> open(network net) {
        guard_.emplace(store_, net);
        blocks_keep_time_ = net != network::regtest;
        if (const auto said = guard_->check(); !said) {
            if (said.error().code != errc::corrupt_record) return said;
            problem("network", said.error());
        }
        is_new_ = false;
        if (!guard_->known()) {
            const auto looked = guard_->look_for_contracts();
            if (!looked && looked.error().code == errc::store_failed) return looked;
            if (!looked) problem("store", looked.error());
            is_new_ = looked && !guard_->has_contracts();
        }
        if (settings_.sees_blocks) PAYCHAN_CHECK(find_birthday(net));
        if (settings_.rescan) PAYCHAN_CHECK(forget_chain());
        PAYCHAN_CHECK(find_positions());
        if (from_) each_monitor([this](auto& m) { m.start_at((*from_)[0].height); });
        height_ = from_ ? (*from_)[0].height : -1;
        return {};
    }

    /// Does what is due.  True while there is more to load: then it wants to be called again at once.
    bool turn() {
        if (!loaded_ && !stuck_) load_a_part();
        const unix_time now = clock_.now();
        if (now != std::exchange(last_second_, now)) look();
        return !loaded_ && !stuck_;
    }

    /// What turn() does once a second.
    void look() {
        const unix_time now = clock_.now();
        stuck_ = false;
        // Counted and not by the clock, which may jump.
        if (!rate_known_ && waited_ < settings_.rate_patience)
            ++waited_;
        else if (reserved_)
            each_monitor([&](auto& m) { m.tick(now); });
        if (!loaded_) return;
        for (const record_id& id : std::exchange(unreserved_, {})) reserve(id);
        watch_clock(now);
        if ((refresh_.is_due(now, settings_.refresh) || blind_) && refresh() && blind_) read_again();
        keep_order(now);
    }

    void on_chain(const chain_event& e) {
        match(
            e,
            [this](const chain_tip& t) {
                tip_ = t;
                look_ = true;
            },
            [this](const fee_estimate&) { rate_known_ = true; },
            [this](const connected_block& b) {
                // All blocks that follow a look at the node were there when it was taken: so is in the store what they hold.
                if (std::exchange(look_, false) && !refresh()) blind_ = true;
                // What the store knows of blocks that nobody can show, for the birthday is not known, is believed.
                if (std::exchange(unseen_, false) && b.height > 0)
                    each_monitor([&](auto& m) { m.on_chain(passed_blocks{0, b.height - 1}); });
                height_ = b.height;
            },
            [this](const passed_blocks& p) {
                if (std::exchange(look_, false) && !refresh()) blind_ = true;
                height_ = p.last;
            },
            [this](const disconnected_blocks& d) {
                lowered_ = std::min(lowered_, d.from);
                height_ = d.from - 1;
            });
        std::apply([&](auto&... m) { tell(e, m..., wallet_); }, monitors_);
        if (tip_ && std::exchange(begin_at_tip_, false)) chain_.follow({}, tip_->height);
        if (!shown_ && settings_.sees_blocks && guard_ && guard_->is_shown_by(e)) {
            shown_ = true;
            keep_network();
        }
        if (!caught_up_ && is_at_tip()) on_caught_up();
    }

    /// Writes what the chain did, and then how far it was read.  By itself now and then: call it in the end.
    /// Fails  store_failed: what is left is written by the next call.
    [[nodiscard]] result<void> save() {
        if (!settings_.writes || !settings_.sees_blocks || !loaded_ || !(guard_->known() || is_new_)) return {};
        if (blind_) return {};  // whoever starts next reads those blocks too
        PAYCHAN_CHECK(lower_positions());
        result<void> done;
        each_monitor([&](auto& m) {
            if (done) done = m.save();
        });
        PAYCHAN_CHECK(done);
        PAYCHAN_CHECK(wallet_.save(store_));
        const chain_position now = chain_.position();
        if (now.empty() || (!saved_.empty() && saved_[0] == now[0])) return {};
        PAYCHAN_CHECK(write_positions(now));
        saved_ = now;
        return {};
    }

    /// All records have been read; blocks are being read.
    [[nodiscard]] bool loaded() const { return loaded_; }
    /// Blocks have been read to the tip, once.
    [[nodiscard]] bool caught_up() const { return caught_up_; }
    /// The store knows the coins of some block; those of later ones are being read.  Else a wallet is empty until caught_up().
    [[nodiscard]] bool knows_coins() const { return caught_up_ || from_.has_value(); }
    [[nodiscard]] const std::optional<chain_tip>& tip() const { return tip_; }
    [[nodiscard]] std::int32_t height() const { return std::max(height_, 0); }
    [[nodiscard]] network network_in_store() const { return guard_->said(); }
    /// [blocks] where a scan begins; none when the record of it is damaged.
    [[nodiscard]] std::optional<std::int32_t> birthday() const { return birthday_; }

private:
    static constexpr std::int32_t no_height = std::numeric_limits<std::int32_t>::max();

    /// Something that is done now and then.
    struct now_and_then {
        unix_time next{};
        /// every  [s]
        [[nodiscard]] bool is_due(unix_time now, std::int64_t every) {
            if (now < next && next <= now + every) return false;  // later than that: the clock was set back
            next = now + every;
            return true;
        }
    };

    struct stored_position {
        follower who{};
        std::uint64_t version = 0;
        bool damaged = false;
    };

    template <class F>
    void each_monitor(F&& f) {
        std::apply([&](auto&... m) { (f(m), ...); }, monitors_);
    }

    void problem(std::string_view what, const error& e, const txid& channel = {}) {
        if (settings_.on_problem) settings_.on_problem(what, channel, e);
    }

    /// One is wrong, and nobody can tell which: with a clock ahead channels are settled early and open too short, behind a
    /// chain that stands still settlements seem to wait.
    void watch_clock(unix_time now) {
        constexpr std::int64_t most = 3 * 3'600;  // [s] the median lags an hour, and two hours without a block are rare
        if (blocks_keep_time_ && tip_ && !tip_->downloading && tip_->median_time + most < now)
            problem("clock", {errc::wrong_clock,
                              "the newest block is hours old: this machine's clock is ahead, or its node sees no new "
                              "blocks (is it connected?)"});
    }

    // ---------------------------------------------------------------------------------------------- where it was left

    /// Blocks before the birthday hold nothing of ours.
    [[nodiscard]] result<void> find_birthday(network net) {
        std::array<std::uint8_t, 16> memory{};
        const auto stored = store_.get(position_id(follower::birthday), memory);
        if (!stored && stored.error().code == errc::store_failed) return fail(stored.error());
        const auto known = stored ? read_birthday(stored->bytes) : fail(stored.error());
        damaged_birthday_ = !known && (stored || stored.error().code != errc::not_found);
        if (known && settings_.birthday && *settings_.birthday > *known) {
            birthday_ = *known;
            return fail(errc::out_of_range,
                        "a birthday can only be lowered: coins that came since the stored one could be missed");
        }
        birthday_ = settings_.birthday        ? settings_.birthday
                    : known                   ? std::optional(*known)
                    : net == network::regtest ? std::optional(0)
                                              : std::nullopt;
        if (damaged_birthday_) problem("birthday", stored ? known.error() : stored.error());
        if (!birthday_ && !(damaged_birthday_ && !settings_.needs_birthday))
            return fail(errc::not_found, "it is not known from which block on to look for coins");
        if (birthday_ && *birthday_ < 0) return fail(errc::out_of_range, "a birthday is 0 or more");
        if (birthday_ && (!known || *known != *birthday_)) new_birthday_ = stored ? stored->version + 1 : 1;
        // Blocks before the one that was the first have not been read.
        if (known && birthday_ && *birthday_ < *known) return forget_chain();
        return {};
    }

    /// The lowest block that somebody was left at; none when somebody has never been anywhere.
    [[nodiscard]] result<void> find_positions() {
        if (const auto read = in_memory_only_ ? result<void>{} : wallet_.load(store_); !read) {
            if (read.error().code == errc::store_failed) return read;
            problem("wallet", read.error());
            const auto forgot = forget_coins();
            if (!forgot && forgot.error().code == errc::store_failed) return forgot;
            if (!forgot) wallet_.restart_scan();  // a damaged page: in memory, what is due goes on
        }
        positions_.clear();
        from_.reset();
        uneven_ = false;
        bool lost = false;
        const auto find = [&](follower who, bool has_something) -> result<void> {
            position_buffer memory;
            stored_position own{who};
            const auto stored = store_.get(position_id(who), memory.memory());
            if (!stored && stored.error().code == errc::store_failed) return fail(stored.error());
            if (stored) own.version = stored->version;
            const auto place = stored ? read_position(stored->bytes) : fail(stored.error());
            if (!place && place.error().code != errc::not_found) {
                own.damaged = true;
                problem("position", place.error());
            }
            positions_.push_back(own);
            if (!has_something) return {};
            lost = lost || !place;
            uneven_ = uneven_ || (place && from_ && (*place)[0] != (*from_)[0]);
            if (place && (!from_ || (*place)[0].height < (*from_)[0].height)) from_ = *place;
            return {};
        };
        PAYCHAN_CHECK(find(follower::wallet, true));
        lost = lost || !wallet_.height();
        result<void> done;
        each_monitor([&](const auto& m) {
            if (!done) return;
            const channel_role role = m.role;
            const auto some = has_any(kinds_of(role).channel);
            if (!some && some.error().code == errc::store_failed)
                done = fail(some.error());
            else  // on a damaged page there were some
                done = find(role == channel_role::client ? follower::client_monitor : follower::server_monitor,
                            !some || *some);
        });
        PAYCHAN_CHECK(done);
        if (!lost && from_ && *wallet_.height() < (*from_)[0].height) {
            // Copied back from a backup, for one: no block would tell what it has missed.
            problem("wallet", {errc::corrupt_record, "the wallet's coins are older than the position on the chain"});
            lost = true;
        }
        if (lost) from_.reset();
        return {};
    }

    [[nodiscard]] result<bool> has_any(record_kind kind) {
        bool any = false;
        if constexpr (ScanStore<StorePolicy>) {
            PAYCHAN_CHECK(store_.scan(kind, std::nullopt, [&](const record_id&, const result<stored_record>&) {
                any = true;
                return false;
            }));
        } else {
            PAYCHAN_CHECK(store_.list(kind, [&](const record_id&) { any = true; }));
        }
        return any;
    }

    [[nodiscard]] result<void> forget_coins() {
        if (settings_.writes) return wallet_.forget(store_);
        wallet_.restart_scan();
        return {};
    }

    /// Coins, and how far blocks were read: they are read anew.
    [[nodiscard]] result<void> forget_chain() {
        if (!settings_.writes) {
            in_memory_only_ = true;  // what is stored stays, and counts no more
            return forget_coins();
        }
        for (const follower who : {follower::wallet, follower::client_monitor, follower::server_monitor})
            PAYCHAN_CHECK(store_.erase(position_id(who)));
        return forget_coins();
    }

    // ------------------------------------------------------------------------------------------------------- loading

    void load_a_part() {
        const auto done = load_some();
        if (!done) {
            problem("store", done.error());
            stuck_ = true;  // until the next second
        }
        if (!done || !*done) return;
        loaded_ = true;
        if (std::exchange(by_name_, false))
            each_monitor([this](auto& m) {
                constexpr bool client = std::remove_cvref_t<decltype(m)>::role == channel_role::client;
                m.for_each([this](const txid& id) {
                    reserve({client ? record_kind::client_contract : record_kind::server_settlement, id});
                });
            });
        count_seen_keys();
        const bool lost = birthday_ && !wallet_.usable();  // forgotten, or not written to the end
        if (lost) wallet_.restart_scan();
        if (lost || any_doubtful()) from_.reset();
        follow();
    }

    [[nodiscard]] bool any_doubtful() {
        bool doubtful = false;
        each_monitor([&](const auto& m) { doubtful = doubtful || m.is_doubtful(); });
        return doubtful;
    }

    [[nodiscard]] result<bool> load_some() {
        std::vector<std::uint8_t> memory(reserved_ ? 0 : 100'000);
        // Contracts, and settlements with inputs of the wallet, may not be mined yet.
        for (; reading_ < 2; ++reading_) {
            const record_kind kind = reading_ == 0 ? record_kind::client_contract : record_kind::server_settlement;
            const auto all =
                reader_.read(store_, kind, settings_.load_at_once, memory,
                             [this](const record_id& id, const result<stored_record>& stored) { reserve(id, stored); });
            if (!all && all.error().code == errc::store_failed) return fail(all.error());
            if (!all) {  // a damaged page: what is due does not wait for what is behind it
                problem("store", all.error());
                by_name_ = true;
            }
            if (all && !*all) return false;
        }
        reserved_ = true;
        result<bool> done = true;
        each_monitor([&](auto& m) {
            if (done && *done) done = m.load_some(settings_.load_at_once);
        });
        return done;
    }

    void reserve(const record_id& id, const result<stored_record>& stored) {
        const auto kept = stored ? wallet_.reserve_inputs_of(stored->bytes) : fail(stored.error());
        if (!kept) problem("transaction", kept.error(), id.channel);
        if (!kept && kept.error().code == errc::store_failed) unreserved_.push_back(id);
    }
    void reserve(const record_id& id) {
        std::vector<std::uint8_t> memory(100'000);
        const auto stored = store_.get(id, memory);
        if (stored || stored.error().code != errc::not_found) reserve(id, stored);
    }

    /// Reads all blocks, for what is stored does not tell enough.
    void follow_from_birthday() {
        unseen_ = !birthday_;
        anew_ = telling_all_ = true;
        height_ = -1;
        each_monitor([this](auto& m) { birthday_ ? m.will_be_told_all() : m.will_be_told_the_rest(); });
        begin_at_tip_ = !birthday_ && !tip_;
        if (!begin_at_tip_) chain_.follow({}, birthday_ ? *birthday_ : tip_->height);
    }

    void follow() {
        if (!from_) return follow_from_birthday();
        // Who is ahead is told the same blocks again, of whatever branch they are now.
        const std::int32_t height = (*from_)[0].height;
        if (wallet_.height() && *wallet_.height() > height) wallet_.on_chain(disconnected_blocks{height + 1});
        saved_ = *from_;
        height_ = height;
        chain_.follow(*from_, birthday_);
    }

    // ------------------------------------------------------------------------------------------------- while it runs

    /// False: channels of other processes may be unknown.
    bool refresh() {
        bool sees = true;
        each_monitor([&](auto& m) {
            const auto looked = m.refresh();
            if (looked) return;
            problem("store", looked.error());
            sees = sees && looked.error().code != errc::store_failed;
        });
        return sees;
    }

    /// Blocks were read while channels of other processes were not known: those blocks are told once more.
    void read_again() {
        blind_ = false;
        if (saved_.empty() || telling_all_) return follow_from_birthday();
        on_chain(disconnected_blocks{saved_[0].height + 1});
        chain_.follow(saved_, birthday_);
    }

    [[nodiscard]] bool is_at_tip() const { return loaded_ && tip_ && height() >= tip_->height; }

    /// At once, for some programs end as soon as they have caught up.
    void on_caught_up() {
        caught_up_ = true;
        if (!settings_.sees_blocks) return;
        if (settings_.writes && !is_new_ && !shown_ && !guard_->known())
            guard_->offer_contracts([this](bytes_view tx) { chain_.broadcast(tx); });
        keep_network();
        count_seen_keys();
        if (new_birthday_ && settings_.writes) keep_birthday();
    }

    void keep_network() {
        if (settings_.writes && settings_.sees_blocks && (shown_ || (is_new_ && caught_up_))) guard_->keep();
    }

    void keep_order(unix_time now) {
        if (!caught_up_ && is_at_tip()) on_caught_up();
        if (telling_all_ && is_at_tip()) {
            telling_all_ = false;
            each_monitor([](auto& m) { m.was_told_all(); });
        }
        keep_network();
        if (const bool lost = !wallet_.usable(); birthday_ && (lost || any_doubtful())) {
            if (lost) {  // a reorganisation that is too deep for it
                wallet_.restart_scan();
                caught_up_ = false;
                from_.reset();
            }
            follow_from_birthday();
        }
        count_seen_keys();
        if (save_.is_due(now, settings_.save) || caught_up_) {
            // stale_record: another process knows another branch of the chain; one of the two will learn of it.
            if (const auto saved = save(); !saved && saved.error().code != errc::stale_record)
                problem("store", saved.error());
        }
        if (new_birthday_ && caught_up_ && settings_.writes && keep_birthday_.is_due(now, 60)) keep_birthday();
    }

    /// Keeps keys that the chain has paid to, and those of stored channels, from being given out: the store may be older
    /// than the chain, or its counter lost.
    void count_seen_keys() {
        if constexpr (requires { keys_.saw(key_id{wallet_.highest_channel_key()}); }) {
            std::uint64_t seen = wallet_.highest_channel_key();
            each_monitor([&](const auto& m) { seen = std::max(seen, static_cast<std::uint64_t>(m.highest_key())); });
            if (settings_.writes && seen > keys_.count())
                if (const auto counted = keys_.saw(key_id{seen}); !counted) problem("keys", counted.error());
        }
    }

    /// Not before the chain was shown to be long enough for it: a slip of the hand is not to be kept.  A store that does not
    /// take it now is asked again: nothing else depends on it before the next start.
    void keep_birthday() {
        // Nothing replaces what cannot be read, in some stores.
        if (damaged_birthday_ && store_.erase(position_id(follower::birthday))) damaged_birthday_ = false;
        const auto bytes = write_birthday(*birthday_);
        const auto put = store_.put(position_id(follower::birthday), *new_birthday_, bytes);
        // stale_record: another process was faster.
        if (put || put.error().code == errc::stale_record) return new_birthday_.reset();
        problem("birthday", put.error());
    }

    // ------------------------------------------------------------------------------------------------------ positions
    // "All blocks up to here are in what is stored."  Lower is always true: so it goes down before what blocks did is taken
    // back, and up when all that they did is on disk.

    [[nodiscard]] result<void> lower_positions() {
        if (anew_) {
            for (stored_position& own : positions_) PAYCHAN_CHECK(erase_position(own));
            saved_ = {};
            anew_ = uneven_ = false;
        }
        if (std::exchange(uneven_, false)) {
            const auto written = write_positions(saved_);
            uneven_ = !written;
            PAYCHAN_CHECK(written);
        }
        if (lowered_ == no_height) return {};
        if (!saved_.empty() && saved_[0].height >= lowered_) {
            chain_position left;
            for (const chain_place& p : saved_)
                if (p.height < lowered_) left.push_back(p);
            if (left.empty()) {
                for (stored_position& own : positions_) PAYCHAN_CHECK(erase_position(own));
            } else {
                PAYCHAN_CHECK(write_positions(left));
            }
            saved_ = left;
        }
        lowered_ = no_height;
        return {};
    }

    [[nodiscard]] result<void> erase_position(stored_position& own) {
        PAYCHAN_CHECK(store_.erase(position_id(own.who)));
        own.version = 0;
        own.damaged = false;
        return {};
    }

    [[nodiscard]] result<void> write_positions(const chain_position& position) {
        const position_buffer bytes = write_position(position);
        std::vector<put_request> batch;
        for (stored_position& own : positions_) {
            if (own.damaged) PAYCHAN_CHECK(erase_position(own));
            batch.push_back({position_id(own.who), own.version + 1, bytes.view()});
        }
        const auto written = put_all(store_, batch);
        if (written)
            for (stored_position& own : positions_) ++own.version;
        if (written || written.error().code != errc::stale_record) return written;
        for (stored_position& own : positions_) PAYCHAN_CHECK(write_beside_others(own, bytes.view()));
        return {};
    }

    /// Another process keeps the same store; what it says is true, and so is what this one says.
    [[nodiscard]] result<void> write_beside_others(stored_position& own, bytes_view bytes) {
        for (int attempt = 1;; ++attempt) {
            const auto written = store_.put(position_id(own.who), own.version + 1, bytes);
            if (written) ++own.version;
            if (written || written.error().code != errc::stale_record || attempt == 10) return written;
            position_buffer memory;
            PAYCHAN_TRY(const auto stored, store_.get(position_id(own.who), memory.memory()));
            own.version = stored.version;
        }
    }

    StorePolicy& store_;
    KeyPolicy& keys_;
    WalletPolicy& wallet_;
    ChainPolicy& chain_;
    ClockPolicy& clock_;
    keeper_settings settings_;
    std::tuple<Monitors&...> monitors_;
    std::optional<network_guard<StorePolicy>> guard_;
    bool is_new_ = false;  // a store that has never had a channel: there is nothing to be wrong about
    bool shown_ = false;   // the network, by the chain
    std::optional<std::int32_t> birthday_;
    std::optional<std::uint64_t> new_birthday_;  // the version that it is to be stored with
    bool damaged_birthday_ = false;
    bool in_memory_only_ = false;  // a scan that nothing is written of
    std::vector<stored_position> positions_;
    std::optional<chain_position> from_;  // where blocks are read on
    chain_position saved_;                // as it is in the store
    std::int32_t lowered_ = no_height;    // blocks from here on have left the chain since
    std::vector<record_id> unreserved_;   // transactions that could not be read: with the next look
    bool by_name_ = false;                // they are read once more, by the names of channels
    bool anew_ = false;                   // positions are to be erased, for all blocks are read again
    bool uneven_ = false;                 // some are higher than the one from which blocks are read
    bool begin_at_tip_ = false;           // as soon as it is known
    bool telling_all_ = false;            // they are being read

    detail::record_reader reader_;
    int reading_ = 0;        // which kind of transactions
    bool reserved_ = false;  // what stored transactions spend
    bool loaded_ = false;
    bool stuck_ = false;
    bool caught_up_ = false;
    bool rate_known_ = false;
    bool blocks_keep_time_ = false;
    bool look_ = false;
    bool blind_ = false;  // the store could not be asked for channels of other processes before blocks that were told
    bool unseen_ = false;
    std::optional<chain_tip> tip_;
    std::int32_t height_ = 0;  // of the last block that all were told of
    std::int64_t waited_ = 0;  // [looks] for the first fee estimate
    unix_time last_second_{std::numeric_limits<std::int64_t>::min()};
    now_and_then refresh_, save_, keep_birthday_;
};

}  // namespace paychan
