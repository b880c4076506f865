// Fees that move while a settlement or a refund waits: what pays too little is replaced, or paid for by a child, within a
// budget.
#include <catch2/catch.hpp>

#include "monitor/support.hpp"
#include "paychan/memory/wallet.hpp"

using namespace paychan;
using namespace paychan_test;

namespace {

constexpr auto by_fee = memory_chain::replacement::by_fee;

/// About that: a transaction is a few bytes smaller than the largest that it can be.
void check_rate(std::int64_t pays, std::int64_t wanted) {
    CHECK(pays >= wanted);
    CHECK(pays <= wanted + wanted / 50 + 20);
}

/// A channel whose settlement or refund leaves while fees move.
struct moving_fees : left_alone {
    explicit moving_fees(bool mined = true) : left_alone(mined) {}

    void fees(std::int64_t rate, std::int64_t floor = 0) {
        const fee_estimate now{fee_rate{rate}, {}, fee_rate{floor}};
        server_side->on_chain(now);
        client_side->on_chain(now);
    }
    /// At `rate`, which nodes let be replaced.
    void settle_at(std::int64_t rate) {
        chain.set_replacement(by_fee);
        fees(rate);
        REQUIRE(server_side->settle(id));
        tick();
        check_rate(pays(), rate);
    }
    void mine_nothing() { chain.mine(1, p2pkh_script({}).view(), memory_chain::contents::nothing); }
    void empty_block() {
        mine_nothing();
        tick();
    }
    /// Only the client is there to see it.
    void empty_block_for_client() {
        mine_nothing();
        catch_up();
        client_side->tick(clock.now());
        catch_up();
    }
    /// [sat/kvB] of what spends the contract in the mempool, with its ancestors there.
    [[nodiscard]] std::int64_t pays() {
        const auto spender = chain.spender_in_mempool(contract);
        if (!spender) return 0;
        const package p = chain.with_ancestors(*spender);
        return p.fee.value * 1'000 / p.vsize;
    }
    [[nodiscard]] txid stored_settlement() {
        return parse_transaction(stored_bytes(payee.disk, record_kind::server_settlement, id))->id();
    }
    void pass_expiry() {
        set_time(expiry + 1);
        mine(12);
        catch_up();
    }
};

}  // namespace

TEST_CASE("a settlement that is refused for its fee is built anew at once, and stored when the network has it",
          "[monitor]") {
    moving_fees w;
    w.chain.set_floor(fee_rate{10'000});
    REQUIRE(w.server_side->settle(w.id));
    const txid first = w.stored_settlement();
    w.catch_up();  // no block, no tick, and no estimate
    REQUIRE(w.in_mempool() == "settlement");
    CHECK(w.pays() >= 10'000);
    CHECK(w.pays() < 13'000);
    const txid now = *w.chain.spender_in_mempool(w.contract);
    CHECK(now != first);
    CHECK(w.stored_settlement() == now);
    CHECK(w.server_record().closing == now);
    CHECK(w.payee_told.names() == "settled");
    CHECK(w.payee_told.last(event_kind::settled).closing == now);
    w.mine();
    w.tick();
    CHECK(w.payee_told.last(event_kind::confirmed).closing == now);
}

TEST_CASE("a settlement that fees have left behind is replaced at the next tick", "[monitor]") {
    moving_fees w;
    w.settle_at(1'000);
    const bool restart = GENERATE(false, true);
    if (restart) w.start();
    w.fees(40'000);
    w.tick();
    check_rate(w.pays(), 40'000);
    CHECK(w.stored_settlement() == *w.chain.spender_in_mempool(w.contract));
    if (restart) w.start();
    w.fees(40'000);
    const std::uint64_t version = w.server_record().version;
    for (int i = 0; i < 3; ++i) w.empty_block();  // far from the deadline
    check_rate(w.pays(), 40'000);
    CHECK(w.server_record().version == version);
    // A little more is not worth another transaction.
    w.fees(42'000);
    w.empty_block();
    check_rate(w.pays(), 40'000);
}

TEST_CASE("each block that passes unmined before the deadline raises a settlement's fee, within the budget",
          "[monitor]") {
    moving_fees w;
    w.chain.set_replacement(by_fee);
    w.fees(2'000);
    const std::int64_t margin = w.server_settings.settle_margin;
    const bool restarts = GENERATE(false, true);
    std::vector<std::int64_t> paid;
    for (std::int64_t left = margin; left >= 0; left -= 600) {
        w.set_time(w.expiry + -left);
        if (restarts) {  // a program that is run every ten minutes
            w.start();
            w.fees(2'000);
        }
        w.empty_block();
        paid.push_back(w.pays());
        CHECK(w.stored_settlement() == *w.chain.spender_in_mempool(w.contract));
    }
    check_rate(paid.front(), 2'000);
    CHECK(std::ranges::is_sorted(paid));
    CHECK(paid[7] < 12'000);  // 4 blocks before it
    const std::int64_t vsize = w.chain.with_ancestors(*w.chain.spender_in_mempool(w.contract)).vsize;
    CHECK(paid.back() <= 45'000 * 1'000 / vsize);  // 90 % of the 50,000 that were paid
    CHECK(paid.back() >= 44'000 * 1'000 / (vsize + 4));
    CHECK(paid[paid.size() - 3] <= 25'000 * 1'000 / vsize);
    w.mine();
    w.tick();
    CHECK(w.payee_told.count(event_kind::confirmed) == 1);
}

TEST_CASE("a settlement that comes late outbids the refund that stands in the mempool", "[monitor]") {
    moving_fees w;
    w.chain.set_replacement(by_fee);
    w.pass_expiry();
    w.fees(4'000);
    w.client_side->tick(w.clock.now());
    w.catch_up();
    REQUIRE(w.in_mempool() == "refund");
    w.fees(2'000);
    w.server_side->tick(w.clock.now());
    w.catch_up();
    CHECK(w.in_mempool() == "settlement");
    // The client does not fight it: it pays both sides.
    for (int i = 0; i < 3; ++i) {
        w.empty_block();
        CHECK(w.in_mempool() == "settlement");
    }
}

TEST_CASE("a settlement is settled again at no lower fee", "[monitor]") {
    moving_fees w;
    w.settle_at(40'000);
    const txid first = w.stored_settlement();
    w.fees(5'000);
    if (GENERATE(false, true)) w.chain.forget(first);
    for (int i = 0; i < 3; ++i) {
        REQUIRE(w.server_side->settle(w.id));
        w.catch_up();
        CHECK(w.stored_settlement() == first);
        CHECK(w.chain.spender_in_mempool(w.contract) == first);
    }
}

TEST_CASE("a settlement that is outbid before the expiry is raised by its deadline, and not by who outbids it",
          "[monitor]") {
    moving_fees w;
    w.settle_at(1'000);
    w.fees(40'000);
    w.payee_view.refuse_next("insufficient fee, rejecting replacement");  // a client's child of its change
    w.payee_view.refuse_next("insufficient fee, rejecting replacement");
    w.tick();
    check_rate(w.pays(), 1'000);
    w.payee_view = chain_follower(w.chain, w.chain.height() + 1);
    w.empty_block();
    check_rate(w.pays(), 40'000);
}

TEST_CASE("a floor above the budget is waited for, and costs nothing when it has fallen", "[monitor]") {
    moving_fees w;
    w.chain.set_floor(fee_rate{1'000'000});
    w.fees(2'000, 1'000'000);
    REQUIRE(w.server_side->settle(w.id));
    w.tick();
    CHECK(w.in_mempool() == "nothing");
    CHECK(w.payee_told.last(event_kind::error).problem.code == errc::insufficient_funds);
    w.empty_block();
    w.chain.set_floor({});
    w.fees(2'000);
    w.empty_block();
    check_rate(w.pays(), 2'000);
    CHECK(w.stored_settlement() == *w.chain.spender_in_mempool(w.contract));
}

TEST_CASE("a settlement pays for what its contract hangs on when it is urgent, and not before", "[monitor]") {
    moving_fees w(false);
    w.chain.set_replacement(by_fee);
    w.fees(20'000);
    const broadcast_answer hangs_on_much{w.id,
                                         broadcast_outcome::accepted,
                                         {},
                                         fee_refusal::none,
                                         {.alone = {satoshi{300}, 300}, .with_ancestors = {satoshi{90'000}, 90'000}}};
    w.server_side->on_chain(hangs_on_much);
    const auto fee = [&] { return w.chain.alone(*w.chain.spender_in_mempool(w.contract)).fee.value; };
    REQUIRE(w.server_side->settle(w.id));
    w.catch_up();
    CHECK(fee() < 15'000);
    CHECK(fee() > 10'000);  // for itself and for the contract
    w.server_side->tick(w.clock.now());
    w.set_time(w.expiry + -6'000);
    w.mine_nothing();
    w.catch_up();
    w.server_side->on_chain(hangs_on_much);
    w.server_side->tick(w.clock.now());
    w.catch_up();
    CHECK(fee() > 24'000);
}

TEST_CASE("what the budget does not bear is told, and leaves at what it bears", "[monitor]") {
    moving_fees w;
    w.fees(1'000'000);
    REQUIRE(w.server_side->settle(w.id));
    w.tick();
    const std::int64_t vsize = w.chain.with_ancestors(*w.chain.spender_in_mempool(w.contract)).vsize;
    CHECK(w.pays() <= 25'000 * 1'000 / vsize);  // half of what was paid
    CHECK(w.pays() >= 24'500 * 1'000 / vsize);
    REQUIRE(w.payee_told.count(event_kind::error) >= 1);
    CHECK(w.payee_told.last(event_kind::error).problem.code == errc::insufficient_funds);
    CHECK(w.payee_told.last(event_kind::error).channel == w.id);
}

TEST_CASE("a settlement pays for its unmined contract too", "[monitor]") {
    moving_fees w(false);
    w.fees(20'000);
    w.chain.set_replacement(by_fee);
    w.empty_block();  // the contract is offered again: the network says what it pays
    REQUIRE(w.server_side->settle(w.id));
    w.tick();
    check_rate(w.pays(), 20'000);
    CHECK(w.chain.in_mempool(w.id));
}

TEST_CASE("a child pays for a settlement whose place nothing takes", "[monitor]") {
    moving_fees w;
    const auto seed = std::array<std::uint8_t, 32>{7};
    seed_wallet wallet = seed_wallet::open(seed, network::regtest, funding_style::segwit, [] { return 0U; }).value();
    using monitor_type =
        server_monitor<both_versions, faulty_store, faulty_keys, seed_wallet, chain_follower, hooked_events>;
    std::optional<chain_follower> view;
    std::optional<monitor_type> monitor;
    const auto start = [&] {
        view.emplace(w.chain);
        monitor.emplace(both_versions{}, w.payee.store, w.payee.keys, wallet, *view, w.payee_told, w.server_settings);
        REQUIRE(monitor->load());
    };
    const auto catch_up = [&] {
        monitor->tick(w.clock.now());
        while (view->deliver(*monitor, wallet) > 0) {
        }
    };
    const auto market = [&](std::int64_t rate) { monitor->on_chain(fee_estimate{fee_rate{rate}, {}, {}}); };
    start();
    catch_up();
    market(1'000);
    REQUIRE(monitor->settle(w.id));
    catch_up();
    const txid settlement = *w.chain.spender_in_mempool(w.contract);
    REQUIRE(w.stored_settlement() == settlement);
    w.chain.set_miners_rate(fee_rate{20'000});
    if (GENERATE(false, true)) {
        start();
        catch_up();
    }
    market(20'000);
    catch_up();
    CHECK(w.chain.spender_in_mempool(w.contract) == settlement);
    CHECK(w.stored_settlement() == settlement);
    CHECK(w.server_record().closing == settlement);
    const auto child = w.chain.spender_in_mempool({settlement, 1});
    REQUIRE(child);
    const package both = w.chain.with_ancestors(*child);
    check_rate(both.fee.value * 1'000 / both.vsize, 20'000);
    // The same child again, as long as fees stay.
    w.mine_nothing();
    catch_up();
    CHECK(w.chain.spender_in_mempool({settlement, 1}) == child);
    // A node that has forgotten it is given it again.
    w.chain.forget(*child);
    w.mine_nothing();
    catch_up();
    CHECK(w.chain.spender_in_mempool({settlement, 1}) == child);
    w.mine();
    catch_up();
    CHECK(w.payee_told.last(event_kind::confirmed).closing == settlement);
    CHECK(wallet.balance().confirmed.value > 40'000);
}

TEST_CASE("a refund pays the fee of the day, and more when fees rise", "[monitor]") {
    moving_fees w;
    w.chain.set_replacement(by_fee);
    w.pass_expiry();
    w.fees(30'000);
    w.client_side->tick(w.clock.now());
    w.catch_up();
    REQUIRE(w.in_mempool() == "refund");
    check_rate(w.pays(), 30'000);
    const txid first = *w.chain.spender_in_mempool(w.contract);
    CHECK(w.payer_told.last(event_kind::refunding).closing == first);
    if (GENERATE(false, true)) w.start();
    w.fees(30'000);
    w.client_side->tick(w.clock.now());
    w.catch_up();
    CHECK(*w.chain.spender_in_mempool(w.contract) == first);
    w.fees(90'000);
    w.client_side->tick(w.clock.now());
    w.catch_up();
    check_rate(w.pays(), 90'000);
    w.chain.mine(1, p2pkh_script({}).view());
    w.catch_up();
    CHECK(w.payer_told.last(event_kind::confirmed).closing != first);
}

TEST_CASE("a refund below the mempool's floor is made anew above it", "[monitor]") {
    moving_fees w;
    w.pass_expiry();
    w.chain.set_floor(fee_rate{50'000});
    w.client_side->tick(w.clock.now());
    w.catch_up();  // without an estimate
    REQUIRE(w.in_mempool() == "refund");
    CHECK(w.pays() >= 50'000);
    CHECK(w.pays() < 63'000);
}

TEST_CASE("a refund whose fee the market never takes is worth more with each block, and never all", "[monitor]") {
    moving_fees w;
    w.chain.set_replacement(by_fee);
    w.pass_expiry();
    w.fees(2'000);
    std::int64_t last = 0;
    for (int i = 0; i < 60; ++i) {
        w.set_time(w.expiry + 2'000);
        w.empty_block_for_client();
        CHECK(w.pays() >= last);
        last = w.pays();
        if (i < 12) check_rate(last, 2'000);
    }
    CHECK(last > 50'000);
    CHECK(last <= 500'000LL * 1'000 / 200);  // half of the channel
}

TEST_CASE("a refund does not climb over a settlement, however long it waits", "[monitor]") {
    moving_fees w;
    w.chain.set_replacement(by_fee);
    w.fees(2'000);
    REQUIRE(w.server_side->settle(w.id));
    w.catch_up();
    w.set_time(w.expiry + 1);
    for (int i = 0; i < 60; ++i) {
        w.empty_block_for_client();
        REQUIRE(w.in_mempool() == "settlement");
    }
    check_rate(w.pays(), 2'000);
}

TEST_CASE("a refund whose contract is gone is at the market's fee when that is back", "[monitor]") {
    moving_fees w(false);
    w.chain.set_replacement(by_fee);
    w.fees(2'000);
    w.set_time(w.expiry + 1);
    const bool refused = GENERATE(false, true);
    for (int i = 0; i < 60; ++i) {
        w.chain.forget(w.id);
        if (refused) w.payer_view.refuse_next("mempool min fee not met");  // of the contract
        w.empty_block_for_client();
    }
    w.empty_block_for_client();
    REQUIRE(w.in_mempool() == "refund");
    if (refused)
        check_rate(w.chain.alone(*w.chain.spender_in_mempool(w.contract)).fee.value * 1'000 /
                       w.chain.alone(*w.chain.spender_in_mempool(w.contract)).vsize,
                   2'000);
}

TEST_CASE("time without blocks raises no refund", "[monitor]") {
    moving_fees w;
    w.chain.set_replacement(by_fee);
    w.pass_expiry();
    w.fees(2'000);
    for (int i = 0; i < 60; ++i) {
        w.clock.advance(601);
        w.client_side->tick(w.clock.now());
        w.catch_up();
        check_rate(w.pays(), 2'000);
    }
}

TEST_CASE("the stored refund leaves when the keys cannot be had", "[monitor]") {
    moving_fees w;
    w.pass_expiry();
    w.fees(30'000);
    w.payer.plan = {call::keys_sign, fault::fails, 0, false};
    w.client_side->tick(w.clock.now());
    w.catch_up();
    CHECK(w.payer.plan.hit);
    const bytes stored = stored_bytes(w.payer.disk, record_kind::client_refund, w.id);
    CHECK(*w.chain.spender_in_mempool(w.contract) == parse_transaction(stored)->id());
}
