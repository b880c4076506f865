// What a wallet stores: whatever ends its process, and whoever else writes to the store, it ends with the coins that a scan
// of the whole chain gives.
#include <catch2/catch.hpp>
#include <memory>
#include <random>
#include <vector>

#include "channel_parts.hpp"
#include "paychan/memory/chain.hpp"
#include "paychan/memory/store.hpp"
#include "paychan/memory/wallet.hpp"
#include "support/faults.hpp"

using namespace paychan;
using namespace paychan::testing;
using paychan_test::call;
using paychan_test::fault;
using paychan_test::fault_plan;
using paychan_test::faulty_store;

namespace {

const bytes32 stored_seed{42};

/// A store without put_many: a save is as many steps as it has records.
struct plain_store {
    faulty_store& to;
    result<void> put(const record_id& id, std::uint64_t version, bytes_view b) { return to.put(id, version, b); }
    result<stored_record> get(const record_id& id, bytes_span memory) { return to.get(id, memory); }
    result<void> erase(const record_id& id) { return to.erase(id); }
    template <class F>
    result<void> list(record_kind kind, F&& f) {
        return to.list(kind, f);
    }
};
static_assert(Store<plain_store> && !BatchStore<plain_store>);

/// memory_store that can scan, counts its writes, and cannot read records that a test has damaged.
struct scanning_store {
    memory_store disk;
    int puts = 0;
    int gets = 0;
    std::vector<record_id> unreadable;

    result<void> put(const record_id& id, std::uint64_t version, bytes_view b) {
        ++puts;
        return disk.put(id, version, b);
    }
    result<void> put_many(std::span<const put_request> batch) {
        ++puts;
        return disk.put_many(batch);
    }
    result<stored_record> get(const record_id& id, bytes_span memory) {
        ++gets;
        if (std::ranges::find(unreadable, id) != unreadable.end()) return fail(errc::corrupt_record, "damaged");
        return disk.get(id, memory);
    }
    result<void> erase(const record_id& id) {
        std::erase(unreadable, id);
        return disk.erase(id);
    }
    template <class F>
    result<void> list(record_kind kind, F&& f) {
        return disk.list(kind, f);
    }
    template <class F>
    result<void> scan(record_kind kind, const std::optional<txid>& after, F&& f) {
        std::vector<record_id> ids;
        PAYCHAN_CHECK(disk.list(kind, [&](const record_id& id) { ids.push_back(id); }));
        std::vector<std::uint8_t> memory(100'000);
        for (const record_id& id : ids) {
            if (after && id.channel <= *after) continue;
            if (!f(id, get(id, memory))) return {};
        }
        return {};
    }
};
static_assert(BatchStore<scanning_store> && ScanStore<scanning_store>);

std::vector<record_id> records_of(memory_store& disk) {
    std::vector<record_id> out;
    for (const record_kind kind : {record_kind::wallet_coin, record_kind::wallet_state})
        REQUIRE(disk.list(kind, [&](const record_id& id) { out.push_back(id); }));
    return out;
}

/// A chain on which a miner has money from the beginning, and what happens to the wallet's coins on it.
struct ledger {
    memory_chain chain;
    std::uint32_t next_coin = 0;

    void mine(int count = 1) { chain.mine(count, to_miner.view()); }

    /// In the mempool.
    outpoint give(bytes_view script, std::int64_t value) {
        const outpoint from{txid{bytes32{7}}, next_coin++};
        chain.testing_add_coin(from, {satoshi{1'000'000}, {to_miner.view().begin(), to_miner.view().end()}, 0, false});
        const std::array out{tx_output{satoshi{value}, script},
                             tx_output{satoshi{1'000'000 - value - 1000}, to_miner.view()}};
        const byte_string tx = spend_mined(from, out);
        (void)chain.submit(tx);
        return {id_of(tx), 0};
    }
};

/// The wallet's parts in one process, so that tests see all coins.
struct process {
    wallet_coins coins{{}};
    wallet_keys& keys = derived();
    wallet_sync sync;
    std::vector<bytes32> told;  // hashes of the blocks from height 1 on
    int rescans = 0;

    /// Once for all processes: it takes a while.
    static wallet_keys& derived() {
        static wallet_keys once = [] {
            wallet_keys out = *wallet_keys::open(stored_seed, network::regtest);
            for (const key_branch b : all_key_branches) REQUIRE(out.watch(b, 28));
            return out;
        }();
        return once;
    }

    void rescan() {
        ++rescans;
        coins.restart_scan();
        told.clear();
    }

    /// What a source does: where the told branch ends, then up to `most` blocks.
    void hear(const memory_chain& chain, int most = 1'000'000) {
        const auto is_active = [&](std::size_t i) {
            const auto b = chain.block_at(static_cast<std::int32_t>(i) + 1);
            return b && b->hash == told[i];
        };
        std::size_t common = told.size();
        while (common > 0 && !is_active(common - 1)) --common;
        if (common < told.size()) {
            (void)coins.disconnect(static_cast<std::int32_t>(common) + 1);
            told.resize(common);
        }
        for (int i = 0; i < most && static_cast<std::int32_t>(told.size()) < chain.height(); ++i) {
            const connected_block b = *chain.block_at(static_cast<std::int32_t>(told.size()) + 1);
            (void)coins.connect(b, keys);
            told.push_back(b.hash);
        }
    }

    template <class S>
    result<void> load(S& store) {
        return sync.load(store, coins, keys);
    }
    template <class S>
    result<void> save(S& store) {
        return sync.save(store, coins, keys);
    }

    [[nodiscard]] bool same_coins(const process& other) const { return coins.all() == other.coins.all(); }
};

process scan(const memory_chain& chain) {
    process out;
    out.hear(chain);
    REQUIRE(out.coins.usable());
    return out;
}

struct dice {
    std::mt19937 bits;
    int operator()(int n) { return static_cast<int>(bits() % static_cast<unsigned>(n)); }
};

/// Something that may happen on the chain.
void happen(ledger& l, const process& owner, dice& roll) {
    switch (roll(8)) {
        case 0:
        case 1: {
            const auto branch = key_branch{static_cast<std::uint8_t>(roll(4))};
            const auto script = owner.keys.script({branch, static_cast<std::uint32_t>(roll(8))});
            l.give(script->view(), 10'000 + roll(5'000));
            return;
        }
        case 2:
        case 3: {  // spends one or two coins, perhaps to itself
            std::vector<wallet_coin> have = owner.coins.spendable();
            if (have.empty()) return;
            std::ranges::shuffle(have, roll.bits);
            have.resize(std::min<std::size_t>(have.size(), static_cast<std::size_t>(1 + roll(2))));
            std::int64_t value = -2'000;
            for (const wallet_coin& c : have) value += c.value.value;
            const auto own = owner.keys.script({key_branch::segwit_change, static_cast<std::uint32_t>(roll(8))});
            spend s;
            s.coins = have;
            if (value < 3'000) return;
            s.outputs.push_back({satoshi{value / 2}, roll(2) == 0 ? to_miner.view() : own->view()});
            s.outputs.push_back({satoshi{value - value / 2}, own->view()});
            std::vector<std::uint8_t> memory(2'000);
            const auto tx = sign_spend(s, owner.keys, memory);
            REQUIRE(tx);
            (void)l.chain.submit(*tx);
            return;
        }
        case 4: {
            const int depth = 1 + roll(roll(4) == 0 ? 30 : 5);
            if (depth >= l.chain.height()) return;
            const bool with_mempool = roll(2) == 0;
            REQUIRE(l.chain.reorg(depth, to_miner.view(),
                                  with_mempool ? memory_chain::contents::mempool : memory_chain::contents::nothing));
            return;
        }
        case 5:  // the branch that takes over may be the shorter one
            if (roll(3) == 0 && l.chain.height() > 5)
                for (int i = roll(4); i >= 0; --i) REQUIRE(l.chain.disconnect_tip());
            l.mine();
            return;
        default: l.mine(roll(10) == 0 ? 30 : 1 + roll(3)); return;
    }
}

}  // namespace

TEST_CASE("a wallet that is loaded has what was saved, and goes on from there", "[memory][wallet_store]") {
    ledger l;
    scanning_store store;
    auto w = *seed_wallet::open(stored_seed, network::regtest);
    REQUIRE(w.load(store));
    CHECK(w.saved());
    REQUIRE(w.save(store));
    CHECK(store.puts == 0);
    const auto address = [&](std::uint32_t n) {
        return *script_of_address(w.address(n, funding_style::segwit)->view(), network::regtest);
    };
    l.give(address(0).view(), 100'000);
    l.give(address(15).view(), 50'000);
    l.mine();
    w.on_chain(*l.chain.block_at(1));
    std::vector<std::uint8_t> memory(1'000);
    const byte_string tx = copied(*w.fund(to_miner.view(), satoshi{60'000}, fee_rate{2'000}, memory));
    REQUIRE(l.chain.submit(tx).reason == "");
    l.mine();
    w.on_chain(*l.chain.block_at(2));
    l.give(address(1).view(), 30'000);
    l.mine();
    w.on_chain(*l.chain.block_at(3));
    CHECK_FALSE(w.saved());
    REQUIRE(w.save(store));
    CHECK(w.saved());
    CHECK(store.puts == 1);
    REQUIRE(w.save(store));
    CHECK(store.puts == 1);

    auto again = *seed_wallet::open(stored_seed, network::regtest);
    REQUIRE(again.load(store));
    CHECK(again.saved());
    CHECK(again.height() == 3);
    CHECK(again.balance().confirmed == w.balance().confirmed);
    CHECK(again.next_address(funding_style::segwit) == 16);
    CHECK(again.payout_script() == w.payout_script());
    // The mined contract keeps nothing; told again, blocks change nothing.
    REQUIRE(again.reserve_inputs_of(tx));
    CHECK(again.balance().reserved == satoshi{0});
    for (std::int32_t h = 1; h <= 3; ++h) again.on_chain(*l.chain.block_at(h));
    again.on_chain(passed_blocks{1, 3});
    CHECK(again.usable());
    CHECK(again.saved());
    CHECK(again.balance().confirmed == w.balance().confirmed);
    // One write for each block that comes.
    l.mine();
    again.on_chain(*l.chain.block_at(4));
    REQUIRE(again.save(store));
    CHECK(store.puts == 2);
    // A reorganisation of what it was not there for: the contract waits again, and has its coin.
    again.on_chain(disconnected_blocks{2});
    CHECK(again.balance().reserved == satoshi{100'000});
    CHECK(again.balance().confirmed == satoshi{50'000});
}

TEST_CASE("whatever happens on the chain and to the process, a wallet ends with what a scan gives",
          "[memory][wallet_store]") {
    int rescans = 0;
    int restarts = 0;
    for (unsigned n = 0; n < 120; ++n) {
        INFO("history " << n);
        dice roll{std::mt19937(n)};
        ledger l;
        memory_store disk;
        fault_plan plan;
        faulty_store faulty{plan, disk};
        plain_store plain{faulty};
        const bool batches = n % 2 == 0;
        auto p = std::make_unique<process>();
        std::vector<bytes32> position;  // in a store of its own; never newer than the coins
        const auto restart = [&] {
            rescans += p->rescans;
            ++restarts;
            p = std::make_unique<process>();
            plan.left = -1;
            REQUIRE((batches ? p->load(faulty) : p->load(plain)));
            p->told = position;
            if (!p->coins.usable()) p->rescan();
        };
        restart();
        for (int step = 0; step < 60; ++step) {
            happen(l, *p, roll);
            if (roll(3) > 0) p->hear(l.chain, roll(4) == 0 ? 1 + roll(10) : 1'000);
            if (!p->coins.usable()) p->rescan();
            if (roll(5) == 0) plan = {call::any, fault{static_cast<std::uint8_t>(roll(4))}, roll(12), false};
            if (roll(3) == 0) {
                try {
                    const result<void> saved = batches ? p->save(faulty) : p->save(plain);
                    if (saved && roll(3) == 0) position = p->told;
                } catch (const paychan_test::crash&) {
                    restart();
                }
            }
            if (roll(12) == 0) restart();
            if (roll(6) > 0) continue;
            p->hear(l.chain);
            if (!p->coins.usable()) {
                p->rescan();
                p->hear(l.chain);
            }
            REQUIRE(p->same_coins(scan(l.chain)));
        }
        restart();
        l.mine(8);  // above all that was told
        p->hear(l.chain);
        if (!p->coins.usable()) {
            p->rescan();
            p->hear(l.chain);
        }
        REQUIRE(p->coins.usable());
        REQUIRE(p->same_coins(scan(l.chain)));
        REQUIRE((batches ? p->save(faulty) : p->save(plain)));
        process reader;
        REQUIRE(reader.load(disk));
        REQUIRE(reader.coins.usable());
        REQUIRE(reader.same_coins(*p));
        rescans += p->rescans;
    }
    CHECK(restarts > 500);
    CAPTURE(rescans);
    CHECK(rescans < 20);
}

TEST_CASE("two wallets on one store end with what a scan gives, however far apart they are", "[memory][wallet_store]") {
    int rescans = 0;
    int waits = 0;
    for (unsigned n = 0; n < 80; ++n) {
        INFO("history " << n);
        dice roll{std::mt19937(1'000 + n)};
        ledger l;
        memory_store disk;
        struct one {
            std::unique_ptr<process> p;
            std::vector<bytes32> position;
        };
        std::array<one, 2> both;
        const auto restart = [&](one& o) {
            if (o.p) rescans += o.p->rescans;
            o.p = std::make_unique<process>();
            REQUIRE(o.p->load(disk));
            o.p->told = o.position;
            const auto height = o.p->coins.height();
            if (!o.p->coins.usable() || height.value_or(0) < static_cast<std::int32_t>(o.position.size()))
                o.p->rescan();
        };
        for (one& o : both) restart(o);
        const auto save = [&](one& o) {
            const auto saved = o.p->save(disk);
            if (saved)
                o.position = o.p->told;
            else if (saved.error().code == errc::stale_record)
                ++waits;
            else
                CHECK(saved.error().code == errc::wrong_state);
        };
        int paused = 0;
        for (int step = 0; step < 80; ++step) {
            if (roll(20) == 0) paused = roll(3);  // 2: nobody
            const int who = roll(2);
            one& o = both[static_cast<std::size_t>(who)];
            happen(l, *o.p, roll);
            if (who == paused) continue;
            o.p->hear(l.chain, roll(4) == 0 ? 1 + roll(10) : 1'000);
            if (!o.p->coins.usable()) {
                o.p->rescan();
                o.p->hear(l.chain);
            }
            if (roll(2) == 0) save(o);
            if (roll(20) == 0) restart(o);
        }
        l.mine(8);
        for (int round = 0; round < 4; ++round) {
            l.mine();
            for (one& o : both) {
                o.p->hear(l.chain);
                if (!o.p->coins.usable()) {
                    o.p->rescan();
                    o.p->hear(l.chain);
                }
                save(o);
            }
        }
        const process clean = scan(l.chain);
        for (one& o : both) {
            REQUIRE(o.p->coins.changes().none());
            REQUIRE(o.p->same_coins(clean));
            rescans += o.p->rescans;
        }
        process reader;
        REQUIRE(reader.load(disk));
        REQUIRE(reader.coins.usable());
        REQUIRE(reader.same_coins(clean));
    }
    CAPTURE(rescans, waits);
    CHECK(rescans < 60);
    CHECK(waits > 0);
}

TEST_CASE("a wallet that slept writes over nothing that another has stored", "[memory][wallet_store]") {
    ledger l;
    memory_store disk;
    process awake;
    process asleep;
    REQUIRE(awake.load(disk));
    REQUIRE(asleep.load(disk));
    const auto script = awake.keys.script({key_branch::segwit_receive, 0});
    const outpoint coin_there = l.give(script->view(), 100'000);
    l.mine(2);
    awake.hear(l.chain);
    asleep.hear(l.chain);
    REQUIRE(awake.save(disk));

    const int later = GENERATE(1, 10, 300);
    spend s;
    s.coins = awake.coins.spendable();
    s.outputs.push_back({satoshi{90'000}, to_miner.view()});
    std::vector<std::uint8_t> memory(1'000);
    REQUIRE(l.chain.submit(*sign_spend(s, awake.keys, memory)).reason == "");
    l.mine(later);
    awake.hear(l.chain);
    REQUIRE(awake.save(disk));

    // It has not been told of the spend, and has something to write.
    REQUIRE_FALSE(asleep.coins.changes().none());
    REQUIRE(asleep.save(disk));
    process reader;
    REQUIRE(reader.load(disk));
    CHECK(reader.coins.height() == l.chain.height());
    REQUIRE(reader.coins.find(coin_there) != nullptr);
    CHECK(reader.coins.find(coin_there)->spent == 3);
    // What was stored is its own now, so that it does not spend the coin either; blocks told later are known.
    CHECK(asleep.coins.spendable().empty());
    asleep.hear(l.chain);
    CHECK(asleep.coins.changes().none());
    CHECK(asleep.same_coins(awake));

    // Who hears of a reorganisation may say that the coin is unspent.
    REQUIRE(l.chain.reorg(later, to_miner.view(), memory_chain::contents::nothing));
    asleep.hear(l.chain);
    REQUIRE(asleep.save(disk));
    process another;
    REQUIRE(another.load(disk));
    CHECK(another.coins.find(coin_there)->spent == 0);
    awake.hear(l.chain);
    REQUIRE(awake.save(disk));
    CHECK(awake.same_coins(scan(l.chain)));
}

TEST_CASE("damaged records are found, and forgetting them mends the wallet", "[memory][wallet_store]") {
    ledger l;
    scanning_store store;
    const auto script = process::derived().script({key_branch::segwit_receive, 0});
    l.give(script->view(), 100'000);
    l.give(script->view(), 50'000);
    l.mine(3);
    process before;
    REQUIRE(before.load(store));
    before.hear(l.chain);
    REQUIRE(before.save(store));
    const auto ids = records_of(store.disk);
    REQUIRE(ids.size() == 3);

    const auto put_bytes = [&](const record_id& id, const auto& change) {
        std::vector<std::uint8_t> memory(4096);
        const auto stored = store.disk.get(id, memory);
        REQUIRE(stored);
        byte_string bytes = copied(stored->bytes);
        change(bytes);
        REQUIRE(store.disk.put(id, stored->version + 1, bytes));
    };
    for (const record_id& id : ids) {
        std::vector<std::uint8_t> memory(4096);
        const std::size_t size = store.disk.get(id, memory)->bytes.size();
        const memory_store good = store.disk;
        for (std::size_t i = 0; i < size; ++i) {  // no byte is without meaning
            put_bytes(id, [&](byte_string& b) { b[i] ^= 1; });
            process w;
            CHECK(w.load(store).error().code == errc::corrupt_record);
            CHECK_FALSE(w.coins.height());
            store.disk = good;
        }
        for (const std::size_t cut : {std::size_t{0}, std::size_t{1}, std::size_t{4}, size - 1}) {
            put_bytes(id, [&](byte_string& b) { b.resize(cut); });
            process w;
            CHECK(w.load(store).error().code == errc::corrupt_record);
            store.disk = good;
        }
        put_bytes(id, [](byte_string& b) {
            b[0] = 2;
            b.resize(b.size() - 4);
            const bytes32 sum = hash256(b);
            b.insert(b.end(), sum.begin(), sum.begin() + 4);
        });
        {
            process w;
            CHECK(w.load(store).error().code == errc::unknown_format);
        }
        store.disk = good;
        // One that the store itself cannot read.
        store.unreadable = {id};
        process w;
        CHECK(w.load(store).error().code == errc::corrupt_record);
        REQUIRE(w.sync.forget(store, w.coins));
        CHECK(w.coins.usable());
        {
            process meanwhile;  // the process has ended before it scanned
            REQUIRE(meanwhile.load(store));
            CHECK(meanwhile.coins.usable().error().code == errc::wrong_state);
        }
        w.hear(l.chain);
        REQUIRE(w.save(store));
        process after;
        REQUIRE(after.load(store));
        CHECK(after.same_coins(before));
        CHECK(after.coins.usable());
    }
    // A record under another's name.
    std::vector<std::uint8_t> memory(4096);
    const auto first = store.disk.get(ids[0], memory);
    REQUIRE(store.disk.put(ids[1], first->version + 1, first->bytes));
    process w;
    CHECK(w.load(store).error().code == errc::corrupt_record);
}

TEST_CASE("forgetting a wallet's records does not let a sleeper store half a wallet", "[memory][wallet_store]") {
    ledger l;
    memory_store disk;
    const auto script = process::derived().script({key_branch::segwit_receive, 0});
    l.give(script->view(), 100'000);
    l.mine(3);
    process sleeper;
    REQUIRE(sleeper.load(disk));
    for (std::int32_t h = 1; h <= 3; ++h) {
        sleeper.hear(l.chain, 1);
        REQUIRE(sleeper.save(disk));
    }
    process other;
    REQUIRE(other.load(disk));
    REQUIRE(other.sync.forget(disk, other.coins));
    l.give(script->view(), 50'000);
    l.mine();
    sleeper.hear(l.chain);
    REQUIRE(sleeper.save(disk));
    process reader;
    REQUIRE(reader.load(disk));
    CHECK(reader.coins.usable());
    CHECK(reader.same_coins(scan(l.chain)));
    other.hear(l.chain);
    REQUIRE(other.save(disk));
    CHECK(other.same_coins(scan(l.chain)));
}

TEST_CASE("coins that were spent long ago are forgotten, and a reorganisation of that depth asks for a scan",
          "[memory][wallet_store]") {
    ledger l;
    memory_store disk;
    process p;
    REQUIRE(p.load(disk));
    const auto script = p.keys.script({key_branch::segwit_receive, 0});
    const outpoint coin_there = l.give(script->view(), 100'000);
    l.mine();
    p.hear(l.chain);
    spend s;
    s.coins = p.coins.spendable();
    s.outputs.push_back({satoshi{90'000}, script->view()});
    std::vector<std::uint8_t> memory(1'000);
    REQUIRE(l.chain.submit(*sign_spend(s, p.keys, memory)).reason == "");
    l.mine();
    REQUIRE(p.save(disk));
    l.mine(wallet_coins::spent_depth);
    p.hear(l.chain);
    REQUIRE(p.save(disk));
    CHECK(p.coins.find(coin_there) != nullptr);
    CHECK(records_of(disk).size() == 3);
    l.mine(wallet_coins::forget_interval);
    p.hear(l.chain);
    CHECK(p.coins.find(coin_there) == nullptr);
    REQUIRE(p.save(disk));
    CHECK(records_of(disk).size() == 2);
    CHECK(p.same_coins(scan(l.chain)));

    process again;
    REQUIRE(again.load(disk));
    CHECK(again.coins.state().forgotten_up_to == 2);
    SECTION("it is told from the beginning") {
        again.hear(l.chain);
        CHECK(again.coins.usable());
        CHECK(again.coins.changes().none());
        CHECK(again.same_coins(p));
    }
    SECTION("it is told from the beginning of another branch") {
        REQUIRE(l.chain.reorg(l.chain.height(), to_miner.view(), memory_chain::contents::nothing));
        again.hear(l.chain);
        CHECK(again.coins.usable().error().code == errc::wrong_state);
        CHECK(again.save(disk).error().code == errc::wrong_state);
        again.rescan();
        again.hear(l.chain);
        REQUIRE(again.save(disk));
        CHECK(records_of(disk).size() == 1);
    }
    SECTION("above what is forgotten") {
        CHECK(again.coins.disconnect(3));
        CHECK(again.coins.usable());
        CHECK(again.coins.height() == 2);
    }
    SECTION("below it") {
        CHECK(again.coins.disconnect(2).error().code == errc::wrong_state);
        CHECK(again.coins.usable().error().code == errc::wrong_state);
    }
}

TEST_CASE("a save of many records may end anywhere", "[memory][wallet_store]") {
    // 700 transactions in one block, each with a coin, and half of them spent in the next.
    ledger l;
    process p;
    const auto script = p.keys.script({key_branch::segwit_receive, 0});
    for (int i = 0; i < 700; ++i) l.give(script->view(), 10'000);
    l.mine();
    p.hear(l.chain);
    spend s;
    s.coins = p.coins.spendable();
    s.coins.resize(300);
    s.outputs.push_back({satoshi{2'900'000}, to_miner.view()});
    std::vector<std::uint8_t> memory(100'000);
    REQUIRE(l.chain.submit(*sign_spend(s, p.keys, memory)).reason == "");

    memory_store first_block;
    REQUIRE(p.save(first_block));
    l.mine();
    const bool batches = GENERATE(true, false);
    const auto how = GENERATE(fault::fails, fault::fails_after, fault::crashes, fault::crashes_after);
    const int step = batches ? 1 : 90;
    int places = 0;
    for (int nth = 0;; nth += step) {
        memory_store disk = first_block;
        fault_plan plan{call::any, how, -1, false};
        faulty_store faulty{plan, disk};
        plain_store plain{faulty};
        process w;
        REQUIRE(w.load(disk));
        w.told.push_back(l.chain.block_at(1)->hash);
        const auto before = w.told;
        w.hear(l.chain);
        plan.left = nth;
        bool saved = false;
        bool crashed = false;
        try {
            saved = (batches ? w.save(faulty) : w.save(plain)).has_value();
        } catch (const paychan_test::crash&) {
            crashed = true;
        }
        if (!plan.hit) {
            CHECK(saved);
            break;
        }
        ++places;
        if (!crashed) {
            CHECK_FALSE(saved);
            CHECK_FALSE(w.coins.changes().none());
            REQUIRE(w.save(disk));
        }
        process again;
        REQUIRE(again.load(disk));
        again.told = before;
        again.hear(l.chain);
        REQUIRE(again.same_coins(scan(l.chain)));
    }
    CHECK(places >= 3);
}

TEST_CASE("blocks further back than the hashes are told again, from another branch too", "[memory][wallet_store]") {
    constexpr int more_than_hashes = static_cast<int>(wallet_state::max_hashes) + 20;
    ledger l;
    process p;
    const auto script = p.keys.script({key_branch::segwit_receive, 0});
    l.give(script->view(), 100'000);
    l.give(script->view(), 70'000);
    l.mine(5);
    p.hear(l.chain);
    const auto position = p.told;  // at 5
    spend s;
    s.coins = p.coins.spendable();
    s.coins.resize(1);
    s.outputs.push_back({satoshi{90'000}, script->view()});
    std::vector<std::uint8_t> memory(1'000);
    const byte_string tx = copied(*sign_spend(s, p.keys, memory));
    REQUIRE(l.chain.submit(tx).reason == "");
    l.give(script->view(), 30'000);
    l.mine(more_than_hashes);
    p.hear(l.chain);
    memory_store disk;
    REQUIRE(p.save(disk));

    process again;
    REQUIRE(again.load(disk));
    again.told = position;
    SECTION("the same blocks") {
        again.hear(l.chain);
        CHECK(again.coins.changes().none());
    }
    SECTION("a branch in which nothing of this happened") {
        for (int i = 0; i < more_than_hashes; ++i) REQUIRE(l.chain.disconnect_tip());
        l.chain.forget(id_of(tx));
        l.chain.mine(more_than_hashes + 1, to_miner.view(), memory_chain::contents::nothing);
        again.hear(l.chain, 1);
        CHECK(again.coins.find(s.coins[0].where)->spent == 0);
        CHECK(again.coins.is_reserved(*again.coins.find(s.coins[0].where)));
        again.hear(l.chain);
    }
    SECTION("a branch in which it happened later") {
        for (int i = 0; i < more_than_hashes; ++i) REQUIRE(l.chain.disconnect_tip());
        l.chain.mine(10, to_miner.view(), memory_chain::contents::nothing);
        l.mine(more_than_hashes);
        again.hear(l.chain);
    }
    CHECK(again.coins.usable());
    CHECK(again.same_coins(scan(l.chain)));
}

TEST_CASE("a save in parts that takes blocks back may end anywhere, and the old branch may return",
          "[memory][wallet_store]") {
    ledger l;
    process p;
    memory_store disk;
    fault_plan plan;
    faulty_store faulty{plan, disk};
    plain_store plain{faulty};
    const auto script = p.keys.script({key_branch::segwit_receive, 0});
    for (int i = 0; i < 5; ++i) l.give(script->view(), 100'000);
    l.mine(3);
    p.hear(l.chain);
    spend s;
    s.coins = p.coins.spendable();
    s.outputs.push_back({satoshi{490'000}, to_miner.view()});
    std::vector<std::uint8_t> memory(2'000);
    REQUIRE(l.chain.submit(*sign_spend(s, p.keys, memory)).reason == "");
    l.mine();
    p.hear(l.chain);
    REQUIRE(p.save(disk));
    const memory_store before = disk;
    const auto position = p.told;
    const memory_chain old_branch = l.chain;
    for (int nth = 0;; ++nth) {
        disk = before;
        process w;
        REQUIRE(w.load(disk));
        w.told = position;
        memory_chain other_branch = old_branch;
        REQUIRE(other_branch.reorg(1, to_miner.view(), memory_chain::contents::nothing));
        w.hear(other_branch);
        plan = {call::any, fault::crashes, nth, false};
        try {
            (void)w.save(plain);
        } catch (const paychan_test::crash&) {
        }
        if (!plan.hit) break;
        // Either all is as it was, or it is seen that blocks are missing: then this place is not to be used.
        process again;
        REQUIRE(again.load(disk));
        again.told = position;
        if (!again.coins.usable() || again.coins.height() < static_cast<std::int32_t>(position.size())) again.rescan();
        again.hear(old_branch);
        REQUIRE(again.coins.usable());
        REQUIRE(again.same_coins(scan(old_branch)));
    }
}

TEST_CASE("coins that only one of two processes has the key number of are stored once seen", "[memory][wallet_store]") {
    ledger l;
    memory_store disk;
    wallet_keys all_keys = *wallet_keys::open(stored_seed, network::regtest);
    wallet_coins knows{[] { return 200u; }, 20};  // it has given out the keys
    wallet_sync sync;
    REQUIRE(knows.look_ahead(all_keys));
    REQUIRE(sync.load(disk, knows, all_keys));
    wallet_keys few_keys = *wallet_keys::open(stored_seed, network::regtest);
    wallet_coins does_not{{}, 20};
    wallet_sync other_sync;
    REQUIRE(does_not.look_ahead(few_keys));
    REQUIRE(other_sync.load(disk, does_not, few_keys));

    const auto refund = all_keys.script({key_branch::channel, 150});
    const outpoint coin_there = l.give(refund->view(), 100'000);
    l.mine(2);
    const int ahead = GENERATE(1, 2);
    for (int h = 1; h <= ahead; ++h) REQUIRE(does_not.connect(*l.chain.block_at(h), few_keys));
    REQUIRE(other_sync.save(disk, does_not, few_keys));
    CHECK(does_not.find(coin_there) == nullptr);
    REQUIRE(knows.connect(*l.chain.block_at(1), all_keys));
    REQUIRE(sync.save(disk, knows, all_keys));
    CHECK(knows.height() == ahead);

    process reader;
    REQUIRE(reader.load(disk));
    CHECK(reader.coins.find(coin_there) != nullptr);
    CHECK(reader.coins.first_unused(key_branch::channel) == 151);
}

TEST_CASE("what is written after a new scan may end anywhere, and never passes for all coins",
          "[memory][wallet_store]") {
    ledger l;
    process p;
    memory_store disk;
    fault_plan plan;
    faulty_store faulty{plan, disk};
    plain_store plain{faulty};
    const auto script = p.keys.script({key_branch::segwit_receive, 0});
    for (int i = 0; i < 4; ++i) {
        l.give(script->view(), 100'000);
        l.mine();
    }
    p.hear(l.chain);
    REQUIRE(p.save(disk));
    const memory_store before = disk;
    const bool batches = GENERATE(true, false);
    for (int nth = 0;; ++nth) {
        disk = before;
        process w;
        REQUIRE(w.load(disk));
        w.rescan();
        w.hear(l.chain, 2);
        plan = {call::any, fault::crashes, nth, false};
        try {
            (void)(batches ? w.save(faulty) : w.save(plain));
        } catch (const paychan_test::crash&) {
        }
        process again;  // the place that is stored is the one before the scan
        REQUIRE(again.load(disk));
        again.told = p.told;
        if (!again.coins.usable() || again.coins.height() < static_cast<std::int32_t>(p.told.size())) again.rescan();
        again.hear(l.chain);
        REQUIRE(again.same_coins(scan(l.chain)));
        if (!plan.hit) break;
    }
}

TEST_CASE("a wallet whose state is lost is not taken for a new one", "[memory][wallet_store]") {
    ledger l;
    scanning_store store;
    process sleeper;
    REQUIRE(sleeper.load(store));
    l.give(sleeper.keys.script({key_branch::segwit_receive, 0})->view(), 100'000);
    l.mine(9);
    for (int i = 0; i < 9; ++i) {
        sleeper.hear(l.chain, 1);
        REQUIRE(sleeper.save(store));
    }
    const record_id state{record_kind::wallet_state, {}};
    SECTION("erased") {
        REQUIRE(store.erase(state));
        process w;
        REQUIRE(w.load(store));
        CHECK(w.coins.usable().error().code == errc::wrong_state);
    }
    SECTION("damaged, and forgotten while another sleeps, whose saves were more than can be seen") {
        store.unreadable = {state};
        process w;
        REQUIRE(w.load(store).error().code == errc::corrupt_record);
        REQUIRE(w.sync.forget(store, w.coins));
        l.mine();
        sleeper.hear(l.chain);
        REQUIRE(sleeper.save(store));
        process reader;
        REQUIRE(reader.load(store));
        CHECK(reader.same_coins(scan(l.chain)));
    }
}
