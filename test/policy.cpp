// The order in which the chain's events are told.
#include "paychan/policy.hpp"

#include <catch2/catch.hpp>
#include <string>

using namespace paychan;

namespace {

template <chain_turn Turn>
struct listener {
    static constexpr chain_turn chain_order = Turn;
    std::string& heard;
    char name;
    void on_chain(const chain_event& e) {
        match(
            e, [&](const connected_block& b) { heard += name + std::to_string(b.height) + " "; },
            [&](const fee_estimate& f) { heard += name + std::to_string(f.rate.sat_per_kvb) + " "; });
    }
};

}  // namespace

TEST_CASE("connections hear of an event first, then monitors, the wallet, and others, however they are named") {
    std::string heard;
    listener<chain_turn::wallet> wallet{heard, 'w'};
    listener<chain_turn::others> other{heard, 'o'};
    listener<chain_turn::connections> connection{heard, 'c'}, second{heard, 'd'};
    listener<chain_turn::monitors> monitor{heard, 'm'};
    tell(connected_block{7, {}, {}, {}}, other, wallet, monitor, connection, second);
    CHECK(heard == "c7 d7 m7 w7 o7 ");
    heard.clear();
    tell(fee_estimate{{1'000}}, wallet, connection);
    CHECK(heard == "c1000 w1000 ");
    tell(chain_tip{8, {}}, wallet, connection);  // nobody takes it
    tell(chain_tip{8, {}});
    CHECK(heard == "c1000 w1000 ");
}
