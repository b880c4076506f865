// A contract that no node takes: its coins come back to the client's wallet, after the expiry or at the operator's word.
#include "monitor/support.hpp"

using namespace paychan;
using namespace paychan_test;

namespace {

using taking_monitor = client_monitor<both_versions, faulty_store, faulty_keys, faulty_broadcaster<chain_follower>,
                                      event_log, coin_wallet>;

/// A channel that was opened and paid on, whose contract was in the mempool and is nowhere now.
struct untaken : left_alone {
    std::optional<taking_monitor> monitor;
    outpoint coin;

    untaken() : left_alone(false) {
        const bytes contract_tx = stored_bytes(payer.disk, record_kind::client_contract, id);
        coin = parse_transaction(bytes_view(contract_tx))->input(0)->prevout;
        chain.forget(id);
        begin();
    }
    /// As a process that starts.
    void begin() {
        client_side.reset();
        monitor.emplace(both_versions{}, payer.store, payer.keys, payer.purse, payer_network, payer_told);
        REQUIRE(monitor->load());
        payer_view = chain_follower(chain);
        follow();
    }
    void follow() {
        while (payer_view.deliver(*monitor) > 0) {
        }
    }
    void look() {
        follow();
        monitor->tick(clock.now());
        follow();
    }
    void mine_empty(int count = 1) {
        chain.mine(count, p2pkh_script({}).view(), memory_chain::contents::nothing);
        follow();
    }
    void refuse_contract() { payer_view.refuse_next("bare-multisig"); }
    void pass_expiry() {
        set_time(expiry + 1);
        mine_empty(12);
    }
    [[nodiscard]] std::optional<txid> spender() { return chain.spender_in_mempool(coin); }
    [[nodiscard]] channel_record record() { return load_record(payer.disk, record_kind::client_channel, id).value(); }

    void check_end() {
        REQUIRE(spender());
        const txid back = *spender();
        CHECK(monitor->is_over(id));
        CHECK(payer_told.last(event_kind::taken_back).closing == back);
        CHECK(payer_told.last(event_kind::taken_back).channel == id);
        mine();
        look();
        CHECK(payer_told.count(event_kind::taken_back) == 1);
        CHECK(payer_told.last(event_kind::double_spent).closing == back);
        CHECK(monitor->unended() == 0);
        CHECK(monitor->is_over(id));
        CHECK(monitor->abandon(id).error().code == errc::wrong_state);
        mine_empty(98);
        look();
        CHECK(stored_channels(payer.disk, record_kind::client_refund).size() == 1);
        mine_empty(1);
        look();
        CHECK(payer_told.count(event_kind::buried) == 1);
        CHECK(stored_channels(payer.disk, record_kind::client_channel).empty());
    }
};

}  // namespace

TEST_CASE("a contract that the network refuses after its expiry has its coins sent back, and not before", "[monitor]") {
    untaken w;
    w.mine_empty(20);
    w.refuse_contract();
    w.look();
    w.monitor->on_chain(broadcast_answer{w.id, broadcast_outcome::refused, "mempool full"});
    w.follow();
    CHECK_FALSE(w.spender());
    CHECK_FALSE(w.monitor->is_over(w.id));
    w.pass_expiry();
    w.refuse_contract();
    w.look();
    REQUIRE(w.spender());
    // Again with each block, and as the same transaction.
    const txid first = *w.spender();
    w.mine_empty();
    w.look();
    CHECK(w.spender() == first);
    SECTION("") {}
    SECTION("after a restart") {
        w.payer_told.heard.clear();
        w.begin();
        w.look();
        CHECK(w.spender() == first);
    }
    w.check_end();
}

TEST_CASE("a contract that the network takes after its expiry is refunded as ever", "[monitor]") {
    untaken w;
    w.pass_expiry();
    w.look();
    CHECK(w.spender() == w.id);
    CHECK(w.in_mempool() == "refund");
    // What is in a block is not taken back, whatever a node says.
    w.chain.mine(1, p2pkh_script({}).view());
    w.monitor->on_chain(broadcast_answer{w.id, broadcast_outcome::refused, "bad-txns-inputs-missingorspent"});
    w.follow();
    CHECK(w.payer_told.count(event_kind::taken_back) == 0);
    CHECK(w.payer_told.count(event_kind::confirmed) == 1);
}

TEST_CASE("an abandoned channel takes no payments, and its coins come back", "[monitor]") {
    untaken w;
    w.mine_empty();
    const auto back = w.monitor->abandon(w.id);
    REQUIRE(back);
    CHECK(w.record().stage == channel_stage::settling);
    CHECK(w.payer_told.count(event_kind::taken_back) == 0);
    SECTION("") {}
    SECTION("by a process that is killed before it leaves, and starts again") {
        w.begin();
        REQUIRE(w.monitor->abandon(w.id));
    }
    SECTION("and the same is asked for once more") { CHECK(w.monitor->abandon(w.id).value() == *back); }
    w.follow();
    CHECK(w.spender() == *back);
    w.check_end();
}

TEST_CASE("what is not to be abandoned", "[monitor]") {
    untaken w;
    w.mine_empty();
    CHECK(w.monitor->abandon(txid{}).error().code == errc::not_found);
    SECTION("while the disk takes nothing") {
        w.payer.plan = fault_plan{call::store_put, fault::fails, 0};
        CHECK(w.monitor->abandon(w.id).error().code == errc::store_failed);
    }
    SECTION("what is in a block") {
        const bytes contract_tx = stored_bytes(w.payer.disk, record_kind::client_contract, w.id);
        REQUIRE(w.chain.submit(contract_tx).accepted);
        w.mine();
        w.follow();
        CHECK(w.monitor->abandon(w.id).error().code == errc::wrong_state);
        CHECK(w.record().stage == channel_stage::open);
    }
    w.follow();
    CHECK_FALSE(w.spender());
}
