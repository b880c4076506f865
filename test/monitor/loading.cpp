// How a process that starts reads its store: in steps, in the middle of events, and what is due before all is read.
#include <catch2/catch.hpp>

#include "monitor/support.hpp"

using namespace paychan;
using namespace paychan_test;

namespace {

using offered = std::pair<std::size_t, std::size_t>;

/// A store whose scans and lists fail after some records.
struct torn_store {
    memory_store& disk;
    int left = -1;  ///< records that a scan gives before it fails; below 0: all
    int scans = 0;

    result<void> put(const record_id& id, std::uint64_t v, bytes_view b) { return disk.put(id, v, b); }
    result<stored_record> get(const record_id& id, bytes_span memory) { return disk.get(id, memory); }
    result<void> erase(const record_id& id) { return disk.erase(id); }
    template <class F>
    result<void> list(record_kind kind, F&& f) {
        return disk.list(kind, f);
    }
    template <class F>
    result<void> scan(record_kind kind, const std::optional<txid>& after, F&& f) {
        ++scans;
        bool failed = false;
        const auto done = disk.scan(kind, after, [&](const record_id& id, const result<stored_record>& stored) {
            failed = left == 0;
            if (failed) {
                left = -1;
                return false;
            }
            if (left > 0) --left;
            return f(id, stored);
        });
        if (failed) return fail(errc::store_failed, "as planned by the test");
        return done;
    }
};
static_assert(ScanStore<torn_store>);

/// Another process's writes are told, and lists are counted.
struct told_store {
    memory_store& disk;
    std::uint64_t writes = 0;
    int lists = 0;
    bool fails = false;

    result<void> put(const record_id& id, std::uint64_t v, bytes_view b) { return disk.put(id, v, b); }
    result<stored_record> get(const record_id& id, bytes_span memory) { return disk.get(id, memory); }
    result<void> erase(const record_id& id) { return disk.erase(id); }
    template <class F>
    result<void> list(record_kind kind, F&& f) {
        ++lists;
        if (fails) return fail(errc::store_failed, "as planned by the test");
        return disk.list(kind, f);
    }
    [[nodiscard]] std::uint64_t foreign_writes() const { return writes; }
};

/// One channel of each kind that a start may find: open, its contract in a block and in none, settled in a block, and one
/// whose contract nobody has taken and that is in a block all the same.
struct assorted : kept {
    txid open_mined, open_unmined, settled, never_opened;

    assorted() : kept(false) {
        open_mined = id;
        settled = another();
        never_opened = another();
        mine();
        catch_up();
        REQUIRE(server_side->settle(settled));
        mine();
        catch_up();
        open_unmined = another();
        save();
        channel_record r = load_record(payee.disk, record_kind::server_channel, never_opened).value();
        r.stage = channel_stage::contract_stored;
        ++r.version;
        REQUIRE(payee.disk.put({record_kind::server_channel, never_opened}, r.version, write_record(r).view()));
    }
    txid another() {
        make_client();
        REQUIRE(open());
        REQUIRE(pays(10'000));
        const txid made = channel();
        server_side->add(made);
        client_side->add(made);
        reconnect();
        return made;
    }
};

/// A server's monitor over some store, with its own view of the chain; broadcasts are written down.
template <class S>
struct reader_of {
    struct network_log {
        chain_follower& view;
        std::multiset<txid> sent{};
        void broadcast(bytes_view tx) {
            sent.insert(parse_transaction(tx)->id());
            view.broadcast(tx);
        }
    };
    chain_follower view;
    network_log network{view};
    hooked_events told;
    server_monitor<both_versions, S, faulty_keys, faulty_wallet, network_log, hooked_events> monitor;

    reader_of(kept& w, S& store)
        : view(w.chain, w.saved_at + 1),
          monitor(both_versions{}, store, w.payee.keys, w.payee.wallet, network, told, w.server_settings) {
        monitor.start_at(w.saved_at);
    }
    void catch_up() {
        while (view.deliver(monitor) > 0) {
        }
    }
    void tick(kept& w) {
        monitor.tick(w.clock.now());
        catch_up();
    }
};

template <class S>
void check_read(assorted& w, reader_of<S>& r) {
    CHECK(r.monitor.size() == 4);
    CHECK(r.monitor.unended() == 3);
    CHECK(r.monitor.next_expiry() == w.expiry);
    CHECK_FALSE(r.monitor.is_doubtful());
    r.tick(w);
    CHECK(r.network.sent == std::multiset<txid>{w.open_unmined});
    CHECK(r.told.heard.empty());
    // Each one at its deadline.
    w.set_time(w.expiry + -w.server_settings.settle_margin);
    r.tick(w);
    for (const txid& id : {w.open_mined, w.open_unmined, w.never_opened}) CHECK(w.chain.spender_in_mempool({id, 0}));
    CHECK(r.told.names() == "settled settled settled");
    REQUIRE(r.monitor.save());
}

}  // namespace

TEST_CASE("a store that is read in steps, with events and ticks in between, is read as one that is read at once",
          "[monitor][stored]") {
    assorted w;
    const std::size_t most = GENERATE(1U, 2U, 3U, 100U);
    const auto read = [&](auto& store) {
        reader_of r(w, store);
        bool done = false;
        int steps = 0;
        while (!done) {
            r.monitor.on_chain(chain_tip{w.chain.height(), w.chain.median_time()});
            r.monitor.on_chain(fee_estimate{{2'000}});
            const auto read_now = r.monitor.load_some(most);
            REQUIRE(read_now);
            done = *read_now;
            REQUIRE(++steps < 50);
            w.clock.advance(monitor_settings{}.retry);  // each one is a round of its own
            if (done) break;
            r.tick(w);
            // What is not known yet is not acted on; what is in no block may be offered when that is known.
            for (const txid& id : r.network.sent) CHECK(id == w.open_unmined);
            r.monitor.on_event(event{event_kind::stored, steps == 1 ? w.open_unmined : w.settled});
        }
        r.network.sent.clear();
        CHECK(r.told.heard.empty());
        w.clock.advance(monitor_settings{}.retry);
        check_read(w, r);
    };
    SECTION("with a scan") { read(w.payee.store); }
    SECTION("by names") {
        fault_plan plan;
        plain_store store{plan, w.payee.disk};
        read(store);
    }
}

TEST_CASE("a contract that a watch record has in a block is not forgotten before that is read", "[monitor][stored]") {
    // A week past its expiry, and its channel never opened.
    assorted w;
    w.set_time(w.expiry + (monitor_settings{}.stillborn_age + 1));
    w.mine_empty(12);
    w.catch_up();
    w.save();
    reader_of r(w, w.payee.store);
    r.monitor.on_chain(chain_tip{w.chain.height(), w.chain.median_time()});
    for (bool done = false; !done;) {
        done = r.monitor.load_some(1).value();
        r.tick(w);
    }
    CHECK(r.told.count(event_kind::buried) == 0);
    CHECK(r.monitor.size() == 4);
    CHECK(load_record(w.payee.disk, record_kind::server_channel, w.never_opened));
    CHECK(w.chain.spender_in_mempool({w.never_opened, 0}));
}

TEST_CASE("a scan that fails in the middle goes on where it was, and tells nothing twice", "[monitor][stored]") {
    assorted w;
    const bytes damaged{1, 2, 3};
    REQUIRE(w.payee.disk.put({record_kind::server_channel, txid{bytes32{}}}, 1, damaged));
    const int at = GENERATE(0, 1, 2, 3, 4);
    const bool facts_too = GENERATE(false, true);
    torn_store store{w.payee.disk, at};
    reader_of r(w, store);
    const auto first = r.monitor.load();
    REQUIRE_FALSE(first);
    CHECK(first.error().code == errc::store_failed);
    CHECK(r.monitor.size() == (at == 0 ? 0U : static_cast<std::size_t>(at - 1)));  // the damaged one is first
    if (facts_too) {
        REQUIRE_FALSE(r.monitor.load_some(10).value());
        store.left = std::min(at, 2);
        REQUIRE_FALSE(r.monitor.load());
    }
    REQUIRE(r.monitor.load());
    REQUIRE(r.monitor.load_some(1).value());  // nothing is left
    CHECK(r.told.names() == "error");
    r.told.heard.clear();
    r.monitor.on_chain(chain_tip{w.chain.height(), w.chain.median_time()});
    check_read(w, r);
}

TEST_CASE("a contract that cannot be read does not keep a start from its end", "[monitor][stored]") {
    // What it spends is read when the disk gives it.
    kept w(false);
    w.mine_empty();
    w.catch_up();
    w.save();
    struct store_without_contracts : plain_store {
        bool fails = true;
        result<stored_record> get(const record_id& id, bytes_span memory) {
            if (fails && id.kind == record_kind::server_contract) return fail(errc::store_failed, "as planned");
            return plain_store::get(id, memory);
        }
    };
    fault_plan plan;
    store_without_contracts store{{plan, w.payee.disk}};
    reader_of r(w, store);
    bool done = false;
    for (int i = 0; i < 10 && !done; ++i) done = r.monitor.load_some(100).value();
    REQUIRE(done);
    r.tick(w);
    store.fails = false;
    r.tick(w);
    w.double_spend();
    w.mine();
    r.catch_up();
    CHECK(r.told.names() == "double_spent");
}

TEST_CASE("what is due leaves before any block is read", "[monitor][stored]") {
    kept w;
    w.save();
    w.set_time(w.expiry + 1);
    w.mine_empty(12);  // they are still to be read
    w.begin();
    REQUIRE(w.server_side->load());
    REQUIRE(w.client_side->load());
    SECTION("the settlement, by the clock") {
        w.server_side->tick(w.clock.now());
        CHECK(w.in_mempool() == "settlement");
    }
    SECTION("the settlement, by the chain's time") {
        w.server_side->on_chain(chain_tip{w.chain.height(), w.chain.median_time()});
        w.server_side->tick(world_start);
        CHECK(w.in_mempool() == "settlement");
    }
    SECTION("the settlement, by the chain's time, of which the node knows nothing any more: it downloads it anew") {
        w.server_side->on_chain(chain_tip{w.chain.height(), w.chain.median_time()});
        w.server_side->on_chain(chain_tip{1, world_start, true});
        w.server_side->tick(world_start);
        CHECK(w.in_mempool() == "settlement");
    }
    SECTION("the refund, by the chain's time") {
        w.client_side->tick(w.clock.now());
        CHECK(w.in_mempool() == "nothing");
        w.client_side->on_chain(chain_tip{w.chain.height(), w.chain.median_time()});
        w.client_side->tick(w.clock.now());
        CHECK(w.in_mempool() == "refund");
    }
    CHECK(w.server_side->height() == w.saved_at);
}

TEST_CASE("what is due leaves before the store is read to its end", "[monitor][stored]") {
    assorted w;
    w.set_time(w.expiry + -w.server_settings.settle_margin);
    reader_of r(w, w.payee.store);
    REQUIRE_FALSE(r.monitor.load_some(4).value());
    r.tick(w);
    CHECK(w.chain.spender_in_mempool({w.open_mined, 0}));
    CHECK(w.chain.spender_in_mempool({w.open_unmined, 0}));
    CHECK(r.network.sent.count(w.server_record().closing) == 1);
}

// ---- Behind the chain

TEST_CASE(
    "while blocks are still to be read, what may be in one of them is not offered, and rounds are not run with each",
    "[monitor][stored]") {
    kept w(false);
    w.save();
    REQUIRE(w.payee_view.deliver(*w.server_side) == 0);
    w.mine_empty(5);
    w.mine();  // it is in the last one
    REQUIRE(w.chain.confirmations(w.id) == 1);
    w.begin();
    REQUIRE(w.server_side->load());
    w.server_side->on_chain(chain_tip{w.chain.height(), w.chain.median_time()});
    const auto read_next = [&] {
        w.server_side->on_chain(w.chain.block_at(w.server_side->height() + 1).value());
        w.server_side->tick(w.clock.now());
        return w.payee_view.deliver(*w.server_side);
    };
    SECTION("a contract") {
        w.payee_view = chain_follower(w.chain, w.chain.height() + 1);
        (void)w.payee_view.deliver();  // the tip
        while (w.server_side->height() < w.chain.height()) CHECK(read_next() == 0);
    }
    SECTION("a settlement") {
        w.payee_view = chain_follower(w.chain, w.chain.height() + 1);
        w.server_side->tick(w.clock.now());
        REQUIRE(w.server_side->settle(w.id));
        (void)w.payee_view.deliver(*w.server_side);
        while (w.server_side->height() < w.chain.height() - 1) CHECK(read_next() == 0);
        w.clock.advance(monitor_settings{}.retry);
        w.server_side->tick(w.clock.now());
        CHECK(w.payee_view.deliver(*w.server_side) == 2);  // with its contract, ten minutes later
    }
}

// ---- Others' writes

TEST_CASE("names are listed again only after another process has written", "[monitor][shared]") {
    kept w;
    told_store store{w.payee.disk};
    reader_of r(w, store);
    REQUIRE(r.monitor.load());
    const int before = store.lists;
    REQUIRE(r.monitor.refresh());
    CHECK(store.lists == before + 1);  // what was written since the start is not known yet
    for (int i = 0; i < 3; ++i) REQUIRE(r.monitor.refresh());
    CHECK(store.lists == before + 1);
    w.make_client();
    REQUIRE(w.open());
    ++store.writes;
    store.fails = true;
    CHECK_FALSE(r.monitor.refresh());
    CHECK(r.monitor.size() == 1);
    store.fails = false;
    REQUIRE(r.monitor.refresh());  // asked again, though no write came
    CHECK(r.monitor.size() == 2);
    const int after = store.lists;
    REQUIRE(r.monitor.refresh());
    CHECK(store.lists == after);
}
