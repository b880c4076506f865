// A chain whose kind is chosen when the program starts.
#include "paychan/keeper/one_of_chains.hpp"

#include <catch2/catch.hpp>

#include "paychan/bitcoin/script.hpp"
#include "paychan/memory/chain_follower.hpp"

using namespace paychan;

namespace {

struct listener {
    static constexpr chain_turn chain_order = chain_turn::others;
    std::int32_t height = 0;
    int answers = 0;
    void on_chain(const chain_event& e) {
        match(
            e, [this](const connected_block& b) { height = b.height; }, [this](const broadcast_answer&) { ++answers; });
    }
};

}  // namespace

TEST_CASE("nothing is broadcast before a chain is chosen, and then by that one", "[keeper]") {
    memory_chain chain;
    const auto elsewhere = p2wpkh_script(bytes20{});
    chain.mine(3, elsewhere.view());
    one_of_chains<chain_follower> source;
    static_assert(ChainSource<one_of_chains<chain_follower>>);
    const std::array<std::uint8_t, 1> nonsense{7};
    source.broadcast(nonsense);
    CHECK(source.position().empty());
    CHECK_FALSE(source.is<chain_follower>());
    CHECK(source.get_if<chain_follower>() == nullptr);

    source.emplace<chain_follower>(chain);
    CHECK(source.is<chain_follower>());
    listener heard;
    source.broadcast(nonsense);
    while (source.get_if<chain_follower>()->deliver(heard) > 0) continue;
    CHECK(heard.height == 3);
    CHECK(heard.answers == 1);
    REQUIRE_FALSE(source.position().empty());
    CHECK(source.position()[0].height == 3);
}
