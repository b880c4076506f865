// Keeps a wallet's coins in a store: writes what changed, reads it at the start, agrees with others on the same store.
#pragma once

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "paychan/memory/wallet_coins.hpp"
#include "paychan/memory/wallet_records.hpp"
#include "paychan/monitor/stored_channels.hpp"
#include "paychan/policy.hpp"

namespace paychan {

// Each save has a number, above that of all saves before: the version of all records that it writes.  The state comes
// last or in the same batch, so whoever has written it last has written all that it knew.
//
// Several processes may keep the same coins in one store, each at its own pace; all follow the same node.  Who finds
// that another has written since reads the state and compares the last blocks' hashes:
//   the other has our last block         it knows all that we know: what it stored is ours now; blocks that are told to
//                                        us later are known ones.  A coin that it does not have is added, and a coin
//                                        that either has seen spent at the same height is spent.
//   we have the other's last block       we know more: ours is written on top.
//   both have some block, then differ    one of them has not heard of a reorganisation.  It will.  The higher one's
//                                        is stored, and the lower one waits: save fails with stale_record until then.
//   nothing in common is remembered      the higher one is taken: it is the lower one that lagged.
// So who lags never writes over what another has seen spent, and who took blocks back can say that a coin is unspent.
// If the lower one was right and its process ends before the higher one hears of it, the store holds the old branch: its
// next reader is told of blocks that do not fit, and takes the old ones back or scans again.  Until then a coin may look
// unspent that is not; the network refuses what spends it, so nothing is lost.  The other way round, a coin that looks
// spent would be missed by nobody.
class wallet_sync {
public:
    /// Fails  corrupt_record, unknown_format, store_failed.  Nothing is changed then.
    template <Store S>
    [[nodiscard]] result<void> load(S& store, wallet_coins& coins, wallet_keys& keys) {
        PAYCHAN_TRY(const stored_state found, read_state(store));
        PAYCHAN_TRY(stored_coins all, read_coins(store));
        take_over(found, std::move(all), coins);
        return coins.look_ahead(keys);
    }

    /// Fails  wrong_state (blocks were missed), stale_record (another process knows another branch: again with the next
    ///        block), corrupt_record, unknown_format, store_failed.
    template <Store S>
    [[nodiscard]] result<void> save(S& store, wallet_coins& coins, wallet_keys& keys) {
        PAYCHAN_CHECK(coins.usable());
        for (int attempt = 0; attempt < max_attempts; ++attempt) {
            if (coins.changes().none()) return {};
            if (unsure_) PAYCHAN_CHECK(join(store, coins, keys));
            if (coins.changes().none()) return {};
            const result<void> written = write(store, coins);
            if (written) return {};
            unsure_ = true;
            if (written.error().code != errc::stale_record) return written;
            was_stale_ = true;
        }
        return fail(errc::stale_record, "others write to the wallet's store at the same time: try again");
    }

    /// Fails  store_failed.
    template <Store S>
    [[nodiscard]] result<void> forget(S& store, wallet_coins& coins) {
        // Whoever was stopped before this must find that its next save is stale, whatever can be read here.
        PAYCHAN_TRY(const auto names, list_names(store, record_kind::wallet_coin));
        std::vector<std::uint8_t> memory;
        const auto seen = [&](const record_id& id) {
            const auto stored = get_whole(store, id, memory);
            if (stored) version_ = std::max(version_, stored->version);
            return stored.has_value();
        };
        for (const txid& name : names) (void)seen({record_kind::wallet_coin, name});
        // Nothing replaces what cannot be read, in some stores.
        if (!seen(state_id)) PAYCHAN_CHECK(store.erase(state_id));
        version_ += forget_step;
        PAYCHAN_CHECK(put_state(store, nothing()));
        for (const txid& name : names) PAYCHAN_CHECK(store.erase({record_kind::wallet_coin, name}));
        coins.restart_scan();
        unsure_ = false;
        was_stale_ = false;
        return {};
    }

private:
    static constexpr int max_attempts = 10;
    static constexpr std::size_t batch_records = 256;
    static constexpr std::size_t batch_bytes = std::size_t{1} << 20;
    static constexpr std::size_t max_record = std::size_t{1} << 26;       // [bytes] no store takes more
    static constexpr std::uint64_t forget_step = std::uint64_t{1} << 32;  // more than anybody saves meanwhile
    static constexpr record_id state_id{record_kind::wallet_state, {}};

    struct stored_state {
        wallet_state state;
        std::uint64_t version = 0;  // 0: none is there
    };
    struct stored_coins {
        wallet_coins::coin_map coins;
        std::set<txid> gone;  // records without coins
        std::uint64_t version = 0;
    };

    /// Fails  as Store::get.
    template <class S>
    [[nodiscard]] static result<stored_record> get_whole(S& store, const record_id& id,
                                                         std::vector<std::uint8_t>& memory) {
        if (memory.empty()) memory.resize(4096);
        for (;;) {
            const auto stored = store.get(id, memory);
            if (stored || stored.error().code != errc::too_long || memory.size() >= max_record) return stored;
            memory.resize(memory.size() * 4);
        }
    }

    template <class S>
    [[nodiscard]] static result<stored_state> read_state(S& store) {
        std::vector<std::uint8_t> memory;
        const auto stored = get_whole(store, state_id, memory);
        if (!stored && stored.error().code == errc::not_found) return stored_state{};
        if (!stored) return fail(stored.error());
        PAYCHAN_TRY(wallet_state state, read_wallet_state(stored->bytes));
        return stored_state{std::move(state), stored->version};
    }

    [[nodiscard]] static result<void> add(const txid& id, const stored_record& stored, stored_coins& to) {
        PAYCHAN_TRY(const auto read, read_wallet_coins(id, stored.bytes));
        for (const wallet_coin& c : read) to.coins.insert_or_assign(c.where, c);
        if (read.empty()) to.gone.insert(id);
        to.version = std::max(to.version, stored.version);
        return {};
    }

    template <class S>
    [[nodiscard]] static result<stored_coins> read_coins(S& store) {
        stored_coins out;
        const auto take = [&](const txid& id, const result<stored_record>& stored) -> result<void> {
            if (!stored && stored.error().code == errc::not_found) return {};  // another process has erased it
            if (!stored) return fail(stored.error());
            return add(id, *stored, out);
        };
        if constexpr (ScanStore<S>) {
            result<void> good;
            PAYCHAN_CHECK(store.scan(record_kind::wallet_coin, std::optional<txid>{},
                                     [&](const record_id& id, const result<stored_record>& stored) {
                                         good = take(id.channel, stored);
                                         return good.has_value();
                                     }));
            PAYCHAN_CHECK(good);
        } else {
            PAYCHAN_TRY(const auto names, list_names(store, record_kind::wallet_coin));
            std::vector<std::uint8_t> memory;
            for (const txid& id : names)
                PAYCHAN_CHECK(take(id, get_whole(store, {record_kind::wallet_coin, id}, memory)));
        }
        return out;
    }

    void take_over(const stored_state& found, stored_coins all, wallet_coins& coins) {
        version_ = std::max({version_, found.version, all.version});
        synced_ = found.version;
        base_ = found.state.height.value_or(-1);
        unsure_ = false;
        was_stale_ = false;
        coins.replace(found.state, std::move(all.coins), std::move(all.gone));
    }

    /// Says that the coins which are stored do not count.
    [[nodiscard]] static wallet_state nothing() {
        wallet_state out;
        out.complete = false;
        return out;
    }

    template <class S>
    [[nodiscard]] result<void> put_state(S& store, const wallet_state& state) {
        const auto bytes = write_wallet_state(state);
        const put_request one{state_id, ++version_, bytes};
        PAYCHAN_CHECK(put_all(store, {&one, 1}));
        synced_ = version_;
        base_ = state.height.value_or(-1);
        return {};
    }

    // ---- writing

    template <class S>
    [[nodiscard]] result<void> write(S& store, wallet_coins& coins) {
        const bool all = coins.changes().all;
        std::set<txid> ids = coins.changes().coins;
        if (all) {
            ids.clear();
            for (const auto& [where, c] : coins.all()) ids.insert(ids.end(), where.id);
            PAYCHAN_CHECK(clear(store, ids));
        }
        const std::set<txid> forgotten = coins.changes().forgotten;

        batch b;
        for (const txid& id : ids) {
            b.records.push_back({{record_kind::wallet_coin, id}, write_wallet_coins(id, coins.coins_of(id))});
            b.bytes += b.records.back().bytes.size();
            if (b.records.size() < batch_records && b.bytes < batch_bytes) continue;
            PAYCHAN_CHECK(begin_parts(store, coins, b));
            PAYCHAN_CHECK(put(store, b));
        }
        if (!BatchStore<S> && !b.records.empty()) PAYCHAN_CHECK(begin_parts(store, coins, b));
        b.records.push_back({state_id, write_wallet_state(coins.state())});
        if (!b.in_parts) ++version_;
        PAYCHAN_CHECK(put(store, b));
        synced_ = version_;
        base_ = coins.state().height.value_or(-1);

        // After the state: if they are still there at the next start, they are forgotten again.
        for (const txid& id : forgotten)
            if (coins.coins_of(id).empty()) PAYCHAN_CHECK(store.erase({record_kind::wallet_coin, id}));
        coins.is_stored();
        unsure_ = false;
        return {};
    }

    struct record {
        record_id id;
        std::vector<std::uint8_t> bytes;
    };
    struct batch {
        std::vector<record> records;
        std::size_t bytes = 0;
        bool in_parts = false;
    };

    template <class S>
    [[nodiscard]] result<void> put(S& store, batch& b) {
        std::vector<put_request> requests;
        for (const record& r : b.records) requests.push_back({r.id, version_, r.bytes});
        PAYCHAN_CHECK(put_all(store, requests));
        b.records.clear();
        b.bytes = 0;
        return {};
    }

    /// Before a save that is not one step for the store.  Nobody else may have written meanwhile, and if it does not end,
    /// what it left must not be taken for the coins at the stored height: that height is lowered first to where the
    /// blocks were taken back.
    template <class S>
    [[nodiscard]] result<void> begin_parts(S& store, const wallet_coins& coins, batch& b) {
        if (b.in_parts) return {};
        b.in_parts = true;
        std::vector<std::uint8_t> memory;
        const auto stored = get_whole(store, state_id, memory);
        if (!stored && stored.error().code != errc::not_found) return fail(stored.error());
        if ((stored ? stored->version : 0) != synced_)
            return fail(errc::stale_record, "another process has written to the wallet's store");
        if (!coins.changes().all && coins.changes().lowest < base_) {
            wallet_state before = coins.state();
            // Above our own height nothing was stored that is still true.
            if (before.height && coins.changes().lowest < *before.height) before.cut(coins.changes().lowest + 1);
            PAYCHAN_CHECK(put_state(store, before));
        }
        ++version_;
        return {};
    }

    /// Before all is written anew: what is in the store counts no more, and what is not ours goes.
    template <class S>
    [[nodiscard]] result<void> clear(S& store, const std::set<txid>& ours) {
        PAYCHAN_TRY(const auto names, list_names(store, record_kind::wallet_coin));
        if (names.empty()) return {};
        PAYCHAN_CHECK(put_state(store, nothing()));
        for (const txid& name : names)
            if (!ours.contains(name)) PAYCHAN_CHECK(store.erase({record_kind::wallet_coin, name}));
        return {};
    }

    // ---- others

    /// Agrees with what is stored: see above.
    template <class S>
    [[nodiscard]] result<void> join(S& store, wallet_coins& coins, wallet_keys& keys) {
        PAYCHAN_TRY(const stored_state found, read_state(store));
        version_ = std::max(version_, found.version);
        if (found.version == synced_) {
            // Nobody has ended a save; somebody may have begun one.
            if (was_stale_) PAYCHAN_CHECK(raise_version(store));
        } else {
            coins.raise_used(found.state.used);
            PAYCHAN_CHECK(coins.look_ahead(keys));
            PAYCHAN_CHECK(compare(store, found, coins, keys));
            synced_ = found.version;
        }
        unsure_ = false;
        was_stale_ = false;
        return {};
    }

    template <class S>
    [[nodiscard]] result<void> compare(S& store, const stored_state& found, wallet_coins& coins, wallet_keys& keys) {
        const wallet_state& theirs = found.state;
        const wallet_state& ours = coins.state();
        if (!theirs.complete || !theirs.height) {
            coins.all_changed();
            return {};
        }
        if (!ours.height) return adopt(store, found, coins, keys);
        const bool higher = *theirs.height > *ours.height;
        if (!coins.changes().all) {
            const bool have_ours = theirs.contains_tip_of(ours);
            if (have_ours && higher) return adopt(store, found, coins, keys);
            const bool on_top =
                ours.contains_tip_of(theirs) && *theirs.height >= base_ && coins.changes().lowest >= base_;
            if (have_ours || on_top) {
                PAYCHAN_CHECK(reconcile(store, coins));
                base_ = *theirs.height;
                if (coins.changes().coins.empty() && write_wallet_state(ours) == write_wallet_state(theirs))
                    coins.is_stored();
                return {};
            }
            if (higher && theirs.meets(ours) && !have_ours)
                return fail(errc::stale_record, "another process has stored the coins of another branch of the chain");
        }
        if (higher || theirs.contains_tip_of(ours)) return adopt(store, found, coins, keys);
        coins.all_changed();
        return {};
    }

    /// What is stored is further on the same chain.
    template <class S>
    [[nodiscard]] result<void> adopt(S& store, const stored_state& found, wallet_coins& coins, wallet_keys& keys) {
        PAYCHAN_TRY(stored_coins all, read_coins(store));
        std::vector<wallet_coin> unwritten;
        for (const txid& id : coins.changes().coins)
            for (const wallet_coin& c : coins.coins_of(id)) unwritten.push_back(c);
        take_over(found, std::move(all), coins);
        for (const wallet_coin& c : unwritten)
            if (c.height > found.state.forgotten_up_to) coins.learn(c);
        return coins.look_ahead(keys);
    }

    /// What is stored is of the same chain: of what we would write, only that remains which is not there.
    template <class S>
    [[nodiscard]] result<void> reconcile(S& store, wallet_coins& coins) {
        std::vector<std::uint8_t> memory;
        const std::set<txid> ids = coins.changes().coins;
        for (const txid& id : ids) {
            const auto stored = get_whole(store, {record_kind::wallet_coin, id}, memory);
            if (!stored && stored.error().code == errc::not_found) continue;
            if (!stored) return fail(stored.error());
            PAYCHAN_TRY(const auto theirs, read_wallet_coins(id, stored->bytes));
            for (const wallet_coin& c : theirs) coins.learn(c);
            if (coins.coins_of(id) == theirs) coins.is_stored(id);
        }
        return {};
    }

    /// Above all records that are there.
    template <class S>
    [[nodiscard]] result<void> raise_version(S& store) {
        PAYCHAN_TRY(const stored_coins all, read_coins(store));
        version_ = std::max(version_, all.version);
        return {};
    }

    std::uint64_t version_ = 0;  // of the last save, ours or another's that we have seen
    std::uint64_t synced_ = 0;   // of the stored state that we know
    std::int32_t base_ = -1;     // its height
    bool unsure_ = true;         // what the store holds may be other than we think
    bool was_stale_ = false;
};

}  // namespace paychan
