#include "paychan/bitcoin/block.hpp"

#include <catch2/catch.hpp>

#include "support.hpp"

using namespace paychan;
using namespace support;

namespace {

const std::string genesis_block =
    "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc388"
    "8a51"
    "323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c010100000001000000000000000000000000000000000000000000000000000000000000"
    "0000"
    "ffffffff4d04ffff001d0104455468652054696d65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b206f66"
    "2073"
    "65636f6e64206261696c6f757420666f722062616e6b73ffffffff0100f2052a01000000434104678afdb0fe5548271967f1a67130b7105cd6"
    "a828"
    "e03909a67962e0ea1f61deb649f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac00000000";

/// Walks all.  Returns the number of transactions, or -1 when the block is refused.
int walk(bytes_view raw) {
    auto block = open_block(raw);
    if (!block) return -1;
    int n = 0;
    while (block->left() > 0) {
        if (!block->next()) return -1;
        ++n;
    }
    return n;
}

}  // namespace

TEST_CASE("block reads the genesis block", "[bitcoin][block]") {
    const bytes raw = unhex(genesis_block);
    auto block = open_block(raw);
    REQUIRE(block.has_value());
    const block_header& h = block->header();
    CHECK(str(display(h.hash)) == "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f");
    CHECK(h.version == 1);
    CHECK(h.previous == block_hash{});
    CHECK(h.time == unix_time{1231006505});
    CHECK(h.bits == 0x1d00ffff);
    CHECK(h.nonce == 2083236893);
    CHECK(block->transaction_count() == 1);
    const auto tx = block->next();
    REQUIRE(tx.has_value());
    CHECK(tx->id().bytes == h.merkle_root);  // of a single transaction
    CHECK(block->left() == 0);
    CHECK(block->next().error().code == errc::not_found);
    CHECK(parse_block_hash(str(display(h.hash))).value() == h.hash);
    CHECK(parse_block_hash("00").error().code == errc::malformed);
}

TEST_CASE("block refuses every prefix, a byte behind, and a count that its bytes cannot hold", "[bitcoin][block]") {
    const bytes raw = unhex(genesis_block);
    CHECK(walk(raw) == 1);
    for (std::size_t size = 0; size < raw.size(); ++size) {
        const bytes prefix(raw.begin(), raw.begin() + static_cast<std::ptrdiff_t>(size));
        CHECK(walk(prefix) == -1);
    }
    bytes longer = raw;
    longer.push_back(0);
    CHECK(walk(longer) == -1);
    for (const int count : {0, 2, 200, 0xfd, 0xfe, 0xff}) {
        bytes changed = raw;
        changed[block_header_size] = static_cast<std::uint8_t>(count);
        CHECK(walk(changed) == -1);
    }
}

TEST_CASE("block walks many transactions, with and without witness", "[bitcoin][block]") {
    bytes raw = unhex(genesis_block.substr(0, 2 * block_header_size));
    std::vector<bytes> all;
    for (const auto& entry : load("channel_transactions.json")) all.push_back(unhex(entry["hex"]));
    REQUIRE(all.size() == 96);
    raw.push_back(96);
    for (const auto& tx : all) raw.insert(raw.end(), tx.begin(), tx.end());
    auto block = open_block(raw);
    REQUIRE(block.has_value());
    for (const auto& tx : all) CHECK(equal(block->next().value().bytes(), tx));
    CHECK(block->left() == 0);
}
