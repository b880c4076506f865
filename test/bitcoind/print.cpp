#include "paychan/bitcoind/print.hpp"

#include <catch2/catch.hpp>
#include <stdexcept>
#include <vector>

using namespace paychan;

namespace {
struct outcome {
    txid id;
    broadcast_outcome how;
};
struct throwing_follower {
    static constexpr chain_turn chain_order = chain_turn::others;
    std::vector<outcome> outcomes;
    int throws = 0;  // times that it will
    void on_chain(const chain_event& e) {
        match(e, [this](const broadcast_answer& a) { outcomes.push_back({a.id, a.outcome}); });
        if (throws > 0 && throws-- > 0) throw std::runtime_error("a bug");
    }
};

// Mainnet's first payment, of block 170.
constexpr std::string_view first_payment =
    "0100000001c997a5e56e104102fa209c6a852dd90660a20b2d9c352423edce25857fcd3704000000004847304402204e45e16932b8af514961"
    "a1d3"
    "a1a25fdf3f4f7732e9d624c6c61548ab5fb8cd410220181522ec8eca07de4860a4acdd12909d831cc56cbbac4622082221a8768d1d0901ffff"
    "ffff"
    "0200ca9a3b00000000434104ae1a62fe09c5f51b13905f07f06b99a2f7159b2225f374cd378d71302fa28414e7aab37397f554a7df5f142c21"
    "c1b7"
    "303b8a0626f1baded5c72a704f7e6cd84cac00286bee0000000043410411db93e1dcdb8a016b49840f8c53bc1eb68a382e97b1482ecad7b148"
    "a690"
    "9a5cb2e0eaddfb84ccf9744464f82e160bfa9b8b64f9d4c03f999b8643f656b412a3ac00000000";
}  // namespace

TEST_CASE("the print chain prints a transaction once and takes it as broadcast each time, later", "[bitcoind]") {
    boost::asio::io_context io;
    throwing_follower f;
    std::vector<std::string> printed;
    bitcoind::print_broadcaster chain(io, [&](const txid&, std::string_view hex) { printed.emplace_back(hex); });

    std::vector<std::uint8_t> tx(first_payment.size() / 2);
    REQUIRE(from_hex(first_payment, tx));
    chain.broadcast(tx);
    chain.start(f);
    chain.broadcast(tx);
    CHECK(f.outcomes.empty());
    io.run();
    REQUIRE(printed.size() == 1);
    CHECK(printed[0] == first_payment);
    REQUIRE(f.outcomes.size() == 2);
    for (const outcome& o : f.outcomes) {
        CHECK(o.id == parse_txid("f4184fc596403b9d638783cf57adfe4c75c605f6356fbc91338530e9831e9e16").value());
        CHECK(o.how == broadcast_outcome::accepted);
    }
}

TEST_CASE("the print chain refuses what is no transaction", "[bitcoind]") {
    boost::asio::io_context io;
    throwing_follower f;
    bitcoind::print_broadcaster chain(io, [](const txid&, std::string_view) { FAIL("printed"); });
    chain.start(f);
    chain.broadcast(std::vector<std::uint8_t>{1, 2, 3});
    io.run();
    REQUIRE(f.outcomes.size() == 1);
    CHECK(f.outcomes[0].how == broadcast_outcome::refused);
}

TEST_CASE("the print chain tells nobody after its end", "[bitcoind]") {
    boost::asio::io_context io;
    throwing_follower f;
    {
        bitcoind::print_broadcaster chain(io, [](const txid&, std::string_view) {});
        chain.start(f);
        chain.broadcast(std::vector<std::uint8_t>{1});
    }
    io.run();
    CHECK(f.outcomes.empty());
}

TEST_CASE("the print chain has no blocks, and tells an answer again that a listener threw at", "[bitcoind]") {
    boost::asio::io_context io;
    throwing_follower before, f;
    f.throws = 1;
    bitcoind::print_broadcaster chain(io, [](const txid&, std::string_view) {});
    chain.start(before, f);
    chain.follow({}, 7);
    CHECK(chain.position().empty());
    chain.broadcast(std::vector<std::uint8_t>{1});
    CHECK_THROWS(io.run());
    io.run();
    CHECK(before.outcomes.size() == 2);
    CHECK(f.outcomes.size() == 2);
}
