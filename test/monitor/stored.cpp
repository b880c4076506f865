// What the chain did is stored: a process that starts does not read old blocks, and behaves as one that saw them.
#include <catch2/catch.hpp>

#include "monitor/support.hpp"

using namespace paychan;
using namespace paychan_test;

namespace {
using offered = std::pair<std::size_t, std::size_t>;
}

// ---- Open channels

TEST_CASE("a contract that is known to be in a block is not offered again, and one in none is", "[monitor][stored]") {
    const bool mined = GENERATE(true, false);
    kept w(mined);
    w.save();
    w.restart();
    w.chain.forget(w.id);
    CHECK(w.offers() == (mined ? offered{0, 0} : offered{1, 1}));
    CHECK(w.chain.in_mempool(w.id) == !mined);
    CHECK(w.offers() == offered{0, 0});  // once a round
    w.mine_empty();
    CHECK(w.offers() == (mined ? offered{0, 0} : offered{1, 1}));
    CHECK(w.server_side->height() == w.chain.height());
    CHECK(w.payee_told.heard.empty());
    CHECK(w.payer_told.heard.empty());
}

TEST_CASE("an open channel is settled at its deadline by a process that read no old block", "[monitor][stored]") {
    kept w;
    w.mine(3);
    w.catch_up();
    w.save();
    w.restart();
    CHECK(w.server_side->unended() == 1);
    CHECK(w.server_side->next_expiry() == w.expiry);
    w.set_time(w.expiry + -(w.server_settings.settle_margin + 1));
    CHECK(w.offers() == offered{0, 0});
    w.set_time(w.expiry + -w.server_settings.settle_margin);
    CHECK(w.offers() == offered{1, 0});  // without the contract
    CHECK(w.in_mempool() == "settlement");
}

TEST_CASE("a refund is offered at its time by a process that read no old block", "[monitor][stored]") {
    kept w;
    w.save();
    w.set_time(w.expiry + 1);
    w.mine(12);
    w.catch_up();
    w.save();
    w.restart();
    w.client_side->tick(w.clock.now());
    CHECK(w.in_mempool() == "refund");
    CHECK(w.payer_told.names() == "refunding");
}

TEST_CASE("nothing is written for a channel to which nothing happened", "[monitor][stored]") {
    kept w;
    w.save();
    const auto version = [&] {
        bytes memory(100);
        return w.payee.disk.get({record_kind::server_watch, w.id}, memory)->version;
    };
    REQUIRE(version() == 1);
    w.mine(3);
    w.tick();
    w.save();
    CHECK(version() == 1);
    w.restart();
    w.save();
    CHECK(version() == 1);
}

// ---- Ended channels

TEST_CASE("a channel that is known to have been settled in a block is not settled again, and buried in time",
          "[monitor][stored]") {
    kept w;
    w.settle_and_mine();
    const txid closing = w.server_record().closing;
    w.mine(GENERATE(0, 7));
    w.catch_up();
    w.save();
    CHECK(w.server_facts() == watch_facts{1, 2, closing, false, false});
    CHECK(w.client_facts() == w.server_facts());
    w.payee_told.heard.clear();
    w.payer_told.heard.clear();
    w.restart();
    CHECK(w.server_side->unended() == 0);
    CHECK(w.client_side->unended() == 0);
    CHECK(w.server_side->settle(w.id).error().code == errc::wrong_state);
    w.set_time(w.expiry + 1);
    w.mine(12);
    CHECK(w.offers() == offered{0, 0});
    w.mine(99 - w.chain.confirmations(closing));
    w.save();
    w.restart();
    CHECK(w.offers() == offered{0, 0});
    CHECK(w.records() == 8);
    CHECK(w.payee_told.heard.empty());
    w.mine();
    CHECK(w.offers() == offered{0, 0});
    CHECK(w.payee_told.names() == "buried");
    CHECK(w.payer_told.names() == "buried");
    CHECK(w.records() == 0);
    w.save();  // there is nothing left to be written
    CHECK(w.records() == 0);
}

TEST_CASE("a refund that is known to be in a block is not offered again, and buried in time", "[monitor][stored]") {
    kept w;
    w.set_time(w.expiry + 1);
    w.mine(12);
    w.catch_up();
    w.client_side->tick(w.clock.now());
    REQUIRE(w.in_mempool() == "refund");
    w.mine();
    w.catch_up();
    w.save();
    const std::int32_t end = w.chain.height();
    CHECK(w.client_facts().end_height == end);
    CHECK(w.server_facts() == w.client_facts());
    w.restart();
    CHECK(w.offers() == offered{0, 0});
    w.mine(98);
    CHECK(w.offers() == offered{0, 0});
    CHECK(w.records() == 7);  // the server made no settlement
    w.mine();
    CHECK(w.offers() == offered{0, 0});
    CHECK(w.records() == 0);
}

TEST_CASE("a double spend that is known is not forgotten by a restart, and may be undone after it",
          "[monitor][stored]") {
    kept w(false);
    w.mine_empty();
    w.catch_up();
    const txid other = w.double_spend();
    w.mine();
    w.catch_up();
    w.save();
    REQUIRE(w.payee_told.names() == "double_spent");
    CHECK(w.server_facts() == watch_facts{0, w.chain.height(), {}, true, false});
    CHECK(w.client_facts() == w.server_facts());
    w.restart();
    CHECK(w.server_side->unended() == 0);
    CHECK(w.client_side->unended() == 0);
    CHECK(w.payee_told.names() == "double_spent");  // it is not told again
    SECTION("it stays") {
        w.set_time(w.expiry + 1);
        w.mine_empty(98);
        CHECK(w.offers() == offered{0, 0});
        CHECK(w.records() == 7);
        w.mine_empty();
        CHECK(w.offers() == offered{0, 0});
        CHECK(w.records() == 0);
    }
    SECTION("it is undone: the contract is offered, and settled") {
        w.tell(disconnected_blocks{w.chain.height()});
        w.disconnect(1);
        w.chain.forget(other);
        w.payee_view = chain_follower(w.chain, w.chain.height() + 1);
        w.payer_view = chain_follower(w.chain, w.chain.height() + 1);
        w.mine_empty(2);
        CHECK(w.offers() == offered{1, 0});
        CHECK(w.chain.in_mempool(w.id));
        w.mine();
        w.catch_up();
        w.save();
        CHECK(w.server_facts() == watch_facts{w.chain.height(), 0, {}, false, false});
        w.set_time(w.expiry + -w.server_settings.settle_margin);
        CHECK(w.offers() == offered{1, 0});
        CHECK(w.in_mempool() == "settlement");
    }
    SECTION("its block is replaced by another one that has it too: both sides hear of it") {
        w.tell(disconnected_blocks{w.chain.height()});
        w.disconnect(1);
        w.payee_view = chain_follower(w.chain, w.chain.height() + 1);
        w.payer_view = chain_follower(w.chain, w.chain.height() + 1);
        w.mine(2);
        w.catch_up();
        CHECK(w.payee_told.names() == "double_spent double_spent");
        CHECK(w.payer_told.names() == "double_spent double_spent");
        CHECK(w.server_side->unended() == 0);
        CHECK(w.client_side->unended() == 0);
    }
}

TEST_CASE("a double spend whose block is replaced by one that has it too is noticed", "[monitor]") {
    kept w(false);
    w.mine_empty();
    w.catch_up();
    w.double_spend();
    w.mine();
    w.catch_up();
    w.disconnect(1);
    w.mine(2);  // it came back into the mempool
    w.catch_up();
    CHECK(w.payee_told.names() == "double_spent double_spent");
    CHECK(w.payer_told.names() == "double_spent double_spent");
    CHECK(w.server_side->unended() == 0);
}

TEST_CASE("a contract that a block has refuted the refusal of is not forgotten when that block goes", "[monitor]") {
    // Ten blocks later: its refusal is older than what forgets it.
    kept w(false);
    channel_record r = w.server_record();
    r.stage = channel_stage::contract_stored;
    ++r.version;
    REQUIRE(w.payee.disk.put({record_kind::server_channel, w.id}, r.version, write_record(r).view()));
    w.start();
    w.mine_empty();
    w.catch_up();
    w.server_side->on_chain(broadcast_answer{w.id, broadcast_outcome::refused, "txn-mempool-conflict"});
    w.mine(10);
    w.tick();
    REQUIRE(w.chain.confirmations(w.id) == 10);
    w.disconnect(10);
    w.mine_empty(11);
    w.tick();
    CHECK(w.server_side->size() == 1);
    w.mine();
    w.set_time(w.expiry + -w.server_settings.settle_margin);
    w.tick();
    CHECK(w.in_mempool() == "settlement");
}

// ---- Reorganisations while the process was away

TEST_CASE("heights above where blocks are told from are not believed, and written anew before anything else counts",
          "[monitor][stored]") {
    kept w;
    w.mine(3);
    w.settle_and_mine();
    w.save();
    const txid closing = w.server_record().closing;
    const watch_facts before = w.server_facts();
    REQUIRE(before.end_height == w.chain.height());
    const bool contract_too = GENERATE(false, true);
    const std::int32_t fork = contract_too ? 0 : w.chain.height() - 1;
    // While nobody looked, the chain has become another one.
    w.disconnect(w.chain.height() - fork);
    w.chain.forget(w.id);
    w.chain.forget(closing);
    w.saved_at = fork;
    w.restart();
    CHECK(w.server_side->unended() == 1);
    CHECK(w.client_side->unended() == 1);
    CHECK(w.server_facts() == before);

    w.payee.plan = {call::store_put, fault::fails, 0, false};
    CHECK_FALSE(w.server_side->save());
    CHECK(w.server_facts() == before);
    w.save();
    CHECK(w.server_facts() == watch_facts{contract_too ? 0 : before.contract_height, 0, {}, false, false});
    CHECK(w.client_facts() == w.server_facts());

    w.mine_empty(2);
    CHECK(w.offers().first == (contract_too ? 2U : 1U));
    CHECK(w.in_mempool() == "settlement");
    w.mine();
    w.catch_up();
    w.save();
    CHECK(w.server_facts().end_height == w.chain.height());
    CHECK(w.server_record().closing_height == w.chain.height());
}

TEST_CASE("an end that a record has of a block that is gone is not believed of blocks that cannot be shown",
          "[monitor][stored]") {
    // The node has deleted the blocks of the new branch.
    kept w;
    w.mine(3);
    w.settle_and_mine();
    w.save();
    const std::int32_t end = w.chain.height();
    const txid closing = w.server_record().closing;
    w.disconnect(2);
    w.chain.forget(closing);
    w.mine_empty(40);
    w.begin();
    REQUIRE(w.server_side->load());
    REQUIRE(w.client_side->load());
    w.tell(disconnected_blocks{end - 1});
    w.tell(passed_blocks{end - 1, end + 20});
    CHECK(w.server_side->unended() == 1);
    CHECK(w.client_side->unended() == 1);
    w.saved_at = end + 20;
    w.payee_view = chain_follower(w.chain, end + 21);
    w.payer_view = chain_follower(w.chain, end + 21);
    w.tell_tip();
    CHECK(w.offers().first >= 1);
    CHECK(w.in_mempool() == "settlement");
}

// ---- No save

TEST_CASE("blocks that were read and not saved say the same when they are told again", "[monitor][stored]") {
    kept w;
    w.save();
    const std::int32_t from = w.chain.height();
    w.mine(2);
    w.settle_and_mine();
    w.mine(2);
    w.catch_up();
    const channel_record known = w.server_record();
    SECTION("by another process") {
        w.saved_at = from + GENERATE(0, 1, 2);
        w.restart();
        CHECK(w.payee_told.count(event_kind::confirmed) == 2);
    }
    SECTION("by the same") {
        w.payee_view = chain_follower(w.chain, from + 1);
        w.payer_view = chain_follower(w.chain, from + 1);
        w.catch_up();
        CHECK(w.payee_told.count(event_kind::confirmed) == 2);
    }
    CHECK(w.server_record().version == known.version);
    CHECK(w.server_side->unended() == 0);
    CHECK(w.offers() == offered{0, 0});
    w.save();
    CHECK(w.server_facts() == watch_facts{1, known.closing_height, known.closing, false, false});
    CHECK(w.client_facts() == w.server_facts());
    w.restart();
    CHECK(w.server_side->unended() == 0);
}

TEST_CASE("the end of a channel that is only in its watch record is written into its record", "[monitor][stored]") {
    kept w;
    w.settle_and_mine();
    w.save();
    const channel_record known = w.server_record();
    w.forget_end_in_record();
    w.restart();
    CHECK(w.server_side->unended() == 0);
    CHECK(w.offers() == offered{0, 0});
    CHECK(w.server_record().closing_height == known.closing_height);
    CHECK(w.server_record().closing == known.closing);
    CHECK(w.server_record().stage == channel_stage::settling);
    w.mine(99);
    CHECK(w.offers() == offered{0, 0});
    CHECK(w.records() == 0);
}

TEST_CASE("a watch record without a channel's record is nothing", "[monitor][stored]") {
    kept w;
    w.save();
    const bytes facts = stored_bytes(w.payee.disk, record_kind::server_watch, w.id);
    REQUIRE(w.payee.disk.put({record_kind::server_watch, txid{bytes32{9}}}, 1, facts));
    REQUIRE(w.payee.disk.put({record_kind::server_watch, txid{bytes32{8}}}, 1, bytes{1, 2}));
    w.restart();
    CHECK(w.server_side->size() == 1);
    CHECK(w.payee_told.heard.empty());
    CHECK_FALSE(w.server_side->is_doubtful());
    CHECK(w.offers() == offered{0, 0});
}
