// save() and what can go wrong with it: writes that fail, crashes, damage, and other processes with the same store.
#include <catch2/catch.hpp>

#include "monitor/support.hpp"

using namespace paychan;
using namespace paychan_test;

namespace {

using offered = std::pair<std::size_t, std::size_t>;

/// Three channels of one server.
struct three : kept {
    std::vector<txid> ids;

    three() : kept(false) {
        ids.push_back(id);
        for (int i = 0; i < 2; ++i) {
            make_client();
            REQUIRE(open());
            REQUIRE(pays(10'000));
            ids.push_back(channel());
            server_side->add(channel());
            client_side->add(channel());
            reconnect();
        }
        mine();
        catch_up();
    }
    [[nodiscard]] std::vector<std::int32_t> stored_heights() const {
        std::vector<std::int32_t> out;
        for (const txid& each : ids) {
            const auto facts = read_watch(stored_bytes(payee.disk, record_kind::server_watch, each));
            out.push_back(facts ? facts->contract_height : -1);
        }
        return out;
    }
};

const char* name_of(fault f) {
    switch (f) {
        case fault::fails: return "fails";
        case fault::fails_after: return "fails_after";
        case fault::crashes: return "crashes";
        case fault::crashes_after: return "crashes_after";
    }
    return "?";
}

}  // namespace

// ---- Writes that fail

TEST_CASE("whatever write of save() fails, nothing is lost, and the next save writes what is left",
          "[monitor][stored]") {
    const bool one_by_one = GENERATE(false, true);
    const fault how = GENERATE(fault::fails, fault::fails_after);
    int failures = 0;
    for (int n = 0;; ++n) {
        INFO("write " << n << " " << name_of(how));
        three w;
        w.payee.store.one_by_one = one_by_one;
        w.payee.plan = {call::store_put, how, n, false};
        const auto saved = w.server_side->save();
        if (!w.payee.plan.hit) {
            CHECK(saved);
            break;
        }
        ++failures;
        REQUIRE_FALSE(saved);
        CHECK(saved.error().code == errc::store_failed);
        CHECK(w.payee_told.heard.empty());  // who calls it is told
        w.save();
        CHECK(w.stored_heights() == std::vector<std::int32_t>{1, 1, 1});
        w.payee.plan = {call::store_put, fault::fails, 0, false};
        w.save();  // there is nothing to be written any more
        CHECK_FALSE(w.payee.plan.hit);
        w.payee.plan = {};
        w.restart();
        CHECK(w.offers() == offered{0, 0});
    }
    CHECK(failures == (one_by_one ? 3 : 1));
}

TEST_CASE("a process that dies amid a save reads the blocks again", "[monitor][stored]") {
    const bool one_by_one = GENERATE(false, true);
    const fault how = GENERATE(fault::crashes, fault::crashes_after);
    for (int n = 0;; ++n) {
        INFO("write " << n << " " << name_of(how));
        three w;
        w.payee.store.one_by_one = one_by_one;
        w.payee.plan = {call::store_put, how, n, false};
        bool crashed = false;
        try {
            (void)w.server_side->save();
        } catch (const crash&) {
            crashed = true;
        }
        if (!crashed) break;
        w.saved_at = 0;  // where the chain was followed to is stored after a save
        w.restart();
        w.save();
        CHECK(w.stored_heights() == std::vector<std::int32_t>{1, 1, 1});
        CHECK(w.offers() == offered{0, 0});
    }
}

TEST_CASE("wherever a process dies between a block and its save, the end is in both records in the end",
          "[monitor][stored]") {
    const fault how = GENERATE(fault::crashes, fault::crashes_after, fault::fails, fault::fails_after);
    int strikes = 0;
    for (int n = 0;; ++n) {
        INFO("write " << n << " " << name_of(how));
        kept w;
        w.save();
        REQUIRE(w.server_side->settle(w.id));
        w.catch_up();
        const txid closing = *w.chain.spender_in_mempool(w.contract);
        w.mine();
        w.payee.plan = {call::store_put, how, n, false};
        bool crashed = false, saved = false;
        try {
            w.catch_up();
            saved = w.server_side->save().has_value();
        } catch (const crash&) {
            crashed = true;
        }
        const bool struck = std::exchange(w.payee.plan, {}).hit;
        if (!struck) {
            CHECK(saved);
            break;
        }
        ++strikes;
        CHECK_FALSE(saved);
        if (!saved && w.server_record().closing_height == 0) {
            const auto facts = read_watch(stored_bytes(w.payee.disk, record_kind::server_watch, w.id));
            CHECK(facts->end_height == 0);  // the record that a start reads is not older than its watch record
        }
        if (crashed) w.restart();
        w.tick();
        w.save();
        CHECK(w.server_record().closing_height == w.chain.height());
        CHECK(w.server_record().closing == closing);
        CHECK(w.server_facts() == watch_facts{1, w.chain.height(), closing, false, false});
        w.restart();
        CHECK(w.server_side->unended() == 0);
        CHECK(w.offers() == offered{0, 0});
    }
    CHECK(strikes == 2);
}

TEST_CASE("while the end of one channel cannot be written, nothing counts as saved but the others are",
          "[monitor][stored]") {
    three w;
    w.save();
    const auto end = [&](const txid& id) {
        return read_watch(stored_bytes(w.payee.disk, record_kind::server_watch, id))->end_height;
    };
    for (const txid& id : w.ids) REQUIRE(w.server_side->settle(id));
    w.catch_up();
    w.mine();
    w.payee.plan = {call::store_put, fault::fails, 1, false};  // the second end
    w.catch_up();
    REQUIRE(w.payee.plan.hit);
    const auto saved = w.server_side->save();
    REQUIRE_FALSE(saved);
    CHECK(saved.error().code == errc::store_failed);
    CHECK(std::count_if(w.ids.begin(), w.ids.end(), [&](const txid& id) { return end(id) == w.chain.height(); }) == 2);
    CHECK_FALSE(w.server_side->save());
    w.tick();
    w.save();
    for (const txid& id : w.ids) CHECK(end(id) == w.chain.height());
}

// ---- Damage

TEST_CASE("a damaged watch record is told, the others go on, and blocks from the first on mend it",
          "[monitor][stored]") {
    three w;
    w.save();
    REQUIRE(w.server_side->settle(w.id));
    w.catch_up();
    w.mine();
    w.catch_up();
    w.save();
    const watch_facts before = w.server_facts();
    REQUIRE(before.end_height == 2);
    const bool newer = GENERATE(false, true);
    bytes damaged = stored_bytes(w.payee.disk, record_kind::server_watch, w.id);
    damaged[newer ? 0U : 3U] ^= 2;
    REQUIRE(w.payee.disk.put({record_kind::server_watch, w.id}, 10, damaged));
    w.payee_told.heard.clear();
    w.restart();
    CHECK(w.server_side->is_doubtful());
    CHECK_FALSE(w.client_side->is_doubtful());
    CHECK(w.payee_told.names() == "error");
    CHECK(w.payee_told.last(event_kind::error).channel == w.id);
    CHECK(w.payee_told.last(event_kind::error).problem.code == (newer ? errc::unknown_format : errc::corrupt_record));
    CHECK(w.server_side->size() == 3);
    w.set_time(w.expiry + -w.server_settings.settle_margin);
    w.server_side->tick(w.clock.now());
    for (const txid& other : {w.ids[1], w.ids[2]}) CHECK(w.chain.spender_in_mempool({other, 0}));

    w.payee_view = chain_follower(w.chain);  // from the first on
    w.catch_up();
    CHECK(w.server_side->unended() == 2);
    w.server_side->was_told_all();
    w.save();
    CHECK(w.server_facts() == before);
    w.restart();
    CHECK_FALSE(w.server_side->is_doubtful());
    CHECK(w.server_side->unended() == 2);
}

TEST_CASE("a watch record that its store cannot give back is written anew when blocks have told it",
          "[monitor][stored]") {
    kept w;
    w.settle_and_mine();
    w.save();
    const watch_facts before = w.server_facts();
    fault_plan plan;
    plain_store store{plan, w.payee.disk, record_kind::server_watch};
    chain_follower view(w.chain);
    hooked_events told;
    server_monitor monitor(both_versions{}, store, w.payee.keys, w.payee.wallet, view, told, w.server_settings);
    monitor.start_at(w.saved_at);
    REQUIRE(monitor.load());
    CHECK(monitor.is_doubtful());
    CHECK(told.names() == "error");
    CHECK(told.last(event_kind::error).problem.code == errc::corrupt_record);
    CHECK(monitor.unended() == 1);
    store.damaged.reset();
    while (view.deliver(monitor) > 0) {
    }
    CHECK(monitor.unended() == 0);
    REQUIRE(monitor.save());
    CHECK(w.server_facts().unknown);  // a crash now: the next process is as doubtful
    monitor.was_told_all();
    REQUIRE(monitor.save());
    CHECK(w.server_facts() == before);
}

// ---- Several processes

namespace {
/// Another process with the same store, which goes on from where the first one had saved.
struct second : hooked_events {
    chain_follower view;
    faulty_broadcaster<chain_follower> network;
    payees_monitor monitor;

    explicit second(kept& w)
        : view(w.chain, w.saved_at + 1),
          network{w.payee.plan, view},
          monitor(both_versions{}, w.payee.store, w.payee.keys, w.payee.wallet, network, *this, w.server_settings) {
        monitor.start_at(w.saved_at);
        REQUIRE(monitor.load());
    }
    void catch_up() {
        while (view.deliver(monitor) > 0) {
        }
    }
};
}  // namespace

TEST_CASE("a process that was paused does not overwrite what the other has seen later", "[monitor][shared][stored]") {
    kept w(false);
    w.mine_empty();
    w.catch_up();
    w.save();
    second paused(w);
    w.mine();  // the contract
    const auto first = w.chain.block_at(w.chain.height()).value();
    const bytes first_raw = owned(first.raw);
    const std::int32_t height = first.height;
    w.catch_up();
    w.settle_and_mine();
    w.save();
    const watch_facts seen = w.server_facts();
    REQUIRE(seen.contract_height == height);
    REQUIRE(seen.end_height == height + 1);
    paused.monitor.on_chain(connected_block{height, first.hash, first.median_time, first_raw});
    REQUIRE(paused.monitor.save());
    CHECK(w.server_facts() == seen);
    paused.view = chain_follower(w.chain, height + 1);
    paused.catch_up();
    REQUIRE(paused.monitor.save());
    CHECK(w.server_facts() == seen);
    CHECK(paused.monitor.unended() == 0);
    // And the first one goes on.
    w.mine(99);
    CHECK(w.offers() == offered{0, 0});
    CHECK(w.records() == 0);
}

TEST_CASE("a process writes what it knows better after a reorganisation that the other has not seen",
          "[monitor][shared][stored]") {
    kept w;
    w.save();
    second other(w);
    w.settle_and_mine();
    w.save();
    const std::int32_t end = w.chain.height();
    const txid closing = w.server_record().closing;
    other.catch_up();
    REQUIRE(other.monitor.save());
    // The first one is paused.
    w.disconnect(1);
    w.chain.forget(closing);
    w.mine_empty(2);
    other.catch_up();
    REQUIRE(other.monitor.save());
    CHECK(w.server_facts() == watch_facts{1, 0, {}, false, false});
    CHECK(other.monitor.unended() == 1);
    other.monitor.tick(w.clock.now());
    CHECK(w.in_mempool() == "settlement");
    w.mine();
    other.catch_up();
    REQUIRE(other.monitor.save());
    const watch_facts known = w.server_facts();
    CHECK(known.end_height == end + 2);
    // It wakes up, and sees the same.
    w.catch_up();
    w.save();
    CHECK(w.server_facts() == known);
    CHECK(w.server_side->unended() == 0);
}

TEST_CASE("an end that only a dead process saw does not stay in the store", "[monitor][shared][stored]") {
    kept w;
    w.save();
    second other(w);
    w.settle_and_mine();
    const std::int32_t end = w.chain.height();
    const txid closing = w.server_record().closing;
    other.catch_up();
    REQUIRE(other.monitor.save());
    w.save();  // and dies
    w.disconnect(1);
    w.chain.forget(closing);
    other.monitor.on_chain(disconnected_blocks{end});
    REQUIRE(other.monitor.save());  // before there is another block
    w.mine_empty(2);
    other.catch_up();
    REQUIRE(other.monitor.save());
    CHECK(w.server_facts().end_height == 0);
}

TEST_CASE("a watch record that is read late is believed no further than the others", "[monitor][stored]") {
    kept w;
    w.settle_and_mine();
    w.save();
    const std::int32_t end = w.chain.height();
    const memory_store before = w.payee.disk;
    bool hit = true;
    for (int n = 0; hit; ++n) {
        REQUIRE(n < 100);
        CAPTURE(n);
        memory_store disk = before;
        fault_plan plan{call::store_get, fault::fails, n};
        faulty_store store{plan, disk};
        chain_follower view(w.chain, w.saved_at + 1);
        hooked_events told;
        server_monitor monitor(both_versions{}, store, w.payee.keys, w.payee.wallet, view, told, w.server_settings);
        monitor.start_at(w.saved_at);
        while (!monitor.load()) continue;
        hit = plan.hit;
        monitor.on_chain(chain_tip{end, w.chain.median_time()});
        // The settlement's block leaves before the record could be read.
        monitor.on_chain(disconnected_blocks{end});
        const bytes32 other{1};
        const auto empty = w.chain.block_at(end - 1).value();
        monitor.on_chain(connected_block{end, other, empty.median_time, empty.raw});
        monitor.tick(w.clock.now());
        CHECK(monitor.unended() == 1);
        CHECK_FALSE(monitor.is_doubtful());
        CHECK(monitor.save());
    }
}

TEST_CASE("a block that left while all were read once more takes with it what it did", "[monitor][stored]") {
    const bool running = GENERATE(true, false);
    const bool with_contract = GENERATE(false, true);
    CAPTURE(running, with_contract);
    kept w;
    w.settle_and_mine();
    w.save();
    const txid closing = w.server_record().closing;
    if (!running) w.restart();
    REQUIRE(w.server_side->unended() == 0);
    w.disconnect(with_contract ? w.chain.height() : 1);
    w.chain.forget(closing);
    if (with_contract) w.chain.forget(w.id);
    w.mine_empty(w.saved_at + 1);
    w.server_side->will_be_told_all();
    w.client_side->will_be_told_all();
    w.payee_view = chain_follower(w.chain);  // nobody tells that the old blocks have left
    w.payer_view = chain_follower(w.chain);
    w.catch_up();
    w.server_side->was_told_all();
    w.client_side->was_told_all();
    CHECK(w.server_side->unended() == 1);
    CHECK(w.client_side->unended() == 1);
    w.save();
    CHECK(w.server_facts().end_height == 0);
    CHECK((w.server_facts().contract_height == 0) == with_contract);
    CHECK(w.client_facts().end_height == 0);
    w.server_side->tick(w.clock.now());
    w.catch_up();
    CHECK(w.chain.in_mempool(w.server_record().closing));
}

TEST_CASE("one process writes where another has written first, and both keep what they know",
          "[monitor][shared][stored]") {
    kept w(false);
    w.mine_empty();
    w.catch_up();
    w.save();
    second other(w);
    w.mine();
    w.catch_up();
    other.catch_up();
    w.save();
    const fault how = GENERATE(fault::fails, fault::fails_after);
    for (int n = 0; n < 2; ++n) {  // the batch, and the one that was not the first
        w.payee.plan = {call::store_put, how, n, false};
        (void)other.monitor.save();
    }
    w.payee.plan = {};
    REQUIRE(other.monitor.save());
    CHECK(w.server_facts() == watch_facts{2, 0, {}, false, false});
    w.settle_and_mine();
    other.catch_up();
    REQUIRE(other.monitor.save());
    w.save();
    CHECK(w.server_facts().end_height == 3);
}
