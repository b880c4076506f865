// Ends in blocks that nobody could show: the network's word on what is offered again tells of them.
#include <catch2/catch.hpp>

#include "monitor/support.hpp"

using namespace paychan;
using namespace paychan_test;

namespace {

struct unseen : kept {
    explicit unseen(bool mined = true) : kept(mined) { save(); }

    /// A block that the monitors are not shown.
    std::int32_t mine_unseen() {
        mine();
        const std::int32_t height = chain.height();
        tell(passed_blocks{height, height});
        payee_view = chain_follower(chain, height + 1);
        payer_view = chain_follower(chain, height + 1);
        tell_tip();
        return height;
    }
    void hear(auto& monitor, const txid& of, std::int32_t mined, bool spent) {
        const auto outcome = mined > 0 ? broadcast_outcome::accepted : broadcast_outcome::refused;
        monitor.on_chain(broadcast_answer{of, outcome, "the node's words", fee_refusal::none, {}, mined, spent});
    }
    [[nodiscard]] txid settle_unseen(std::int32_t& height) {
        REQUIRE(server_side->settle(id));
        while (payee_view.deliver(*server_side) > 0) {
        }
        height = mine_unseen();
        return server_record().closing;
    }
    [[nodiscard]] channel_record client_record() {
        return load_record(payer.disk, record_kind::client_channel, id).value();
    }
    void pass_expiry() {
        set_time(expiry + 3'600);
        for (int i = 0; i < 12; ++i) mine_empty();
        tick();
    }
    [[nodiscard]] txid refund() const { return payer_told.last(event_kind::refunding).closing; }
};

}  // namespace

TEST_CASE("an own settlement in a block that nobody showed has ended its channel", "[monitor]") {
    unseen w;
    std::int32_t height = 0;
    const txid closing = w.settle_unseen(height);
    CHECK(w.server_side->unended() == 1);
    w.hear(*w.server_side, closing, height, false);
    CHECK(w.server_side->unended() == 0);
    CHECK(w.server_record().closing == closing);
    CHECK(w.server_record().closing_height == height);
    CHECK(w.payee_told.last(event_kind::confirmed).closing == closing);
    CHECK_FALSE(w.payee_told.last(event_kind::confirmed).data.empty());
    SECTION("also after a restart, until it is buried") {
        w.save();
        w.restart();
        CHECK(w.server_side->unended() == 0);
        w.mine_empty(98);
        w.tick();
        CHECK(w.server_side->size() == 1);
        w.mine_empty(1);
        w.tick();
        CHECK(w.server_side->size() == 0);
    }
    SECTION("while that block stays") {
        w.server_side->on_chain(disconnected_blocks{height});
        CHECK(w.server_side->unended() == 1);
    }
}

TEST_CASE("a contract that is spent in a block that nobody showed has ended its channel, by what is not known",
          "[monitor]") {
    unseen w;
    std::int32_t height = 0;
    (void)w.settle_unseen(height);
    w.pass_expiry();
    REQUIRE(w.payer_told.count(event_kind::refunding) == 1);  // which the network refuses
    CHECK(w.client_side->unended() == 0);
    const auto told = w.payer_told.last(event_kind::confirmed);
    CHECK(told.closing == txid{});
    CHECK(told.problem.code == errc::not_found);
    CHECK(w.client_record().closing_height == w.chain.height());
    CHECK(w.client_record().closing == txid{});
    w.hear(*w.client_side, w.refund(), 0, true);
    CHECK(w.payer_told.count(event_kind::confirmed) == 1);
    w.save();
    w.restart();
    CHECK(w.client_side->unended() == 0);
    CHECK(w.offers().second == 0);
}

TEST_CASE("a contract in no block whose coins are not there for a while is refunded when it comes", "[monitor]") {
    unseen w(false);
    w.chain.forget(w.id);
    w.pass_expiry();
    w.hear(*w.client_side, w.id, 0, true);
    w.hear(*w.client_side, w.refund(), 0, true);
    CHECK(w.client_side->unended() == 1);
    w.mine();
    w.tick();
    CHECK(w.chain.confirmations(w.id) == 1);
    w.mine_empty();
    w.tick();
    CHECK(w.client_side->unended() == 0);  // its refund was mined with it
}

TEST_CASE("a contract in a block that nobody showed has its confirmations", "[monitor]") {
    unseen w(false);
    const std::int32_t height = w.mine_unseen();
    CHECK_FALSE(w.server_side->is_mined(w.id));
    w.hear(*w.server_side, w.id, height, false);
    CHECK(w.server_side->is_mined(w.id));
    CHECK(w.server_side->is_backed(w.id));
}

TEST_CASE("a settlement that was to take another's place, and finds the contract spent, asks about that one first",
          "[monitor]") {
    unseen w;
    std::int32_t height = 0;
    const txid closing = w.settle_unseen(height);
    w.server_side->on_chain(fee_estimate{fee_rate{20'000}, {}, {}});
    w.mine_empty();
    w.tick_server();
    CHECK(w.server_side->unended() == 0);
    CHECK(w.server_record().closing == closing);
    CHECK(w.server_record().closing_height == height);
}
