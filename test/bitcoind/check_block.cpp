#include "paychan/bitcoind/check_block.hpp"

#include <catch2/catch.hpp>
#include <string>

using namespace paychan;
using bitcoind::check_block;

namespace {

struct example {
    const char* origin;
    std::size_t transactions;
    const char* hash;
    const char* hex;
};

// Mainnet's first two, with 1 and 2 transactions; two from bcoin 1.0.2 on regtest, with 3 and 5: odd levels in the
// tree.
const example examples[] = {
    {"mainnet, block 0", 1, "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
     "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e6776"
     "8f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c0101000000010000000000000000000000000000"
     "000000000000000000000000000000000000ffffffff4d04ffff001d0104455468652054696d65732030332f4a616e2f3230"
     "3039204368616e63656c6c6f72206f6e206272696e6b206f66207365636f6e64206261696c6f757420666f722062616e6b73"
     "ffffffff0100f2052a01000000434104678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb649f6"
     "bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac00000000"},
    {"mainnet, block 170", 2, "00000000d1145790a8694403d4063f323d499e655c83426834d4ce2f8dd4a2ee",
     "0100000055bd840a78798ad0da853f68974f3d183e2bd1db6a842c1feecf222a00000000ff104ccb05421ab93e63f8c3ce5c"
     "2c2e9dbb37de2764b3a3175c8166562cac7d51b96a49ffff001d283e9e700201000000010000000000000000000000000000"
     "000000000000000000000000000000000000ffffffff0704ffff001d0102ffffffff0100f2052a01000000434104d46c4968"
     "bde02899d2aa0963367c7a6ce34eec332b32e42e5f3407e052d64ac625da6f0718e7b302140434bd725706957c092db53805"
     "b821a85b23a7ac61725bac000000000100000001c997a5e56e104102fa209c6a852dd90660a20b2d9c352423edce25857fcd"
     "3704000000004847304402204e45e16932b8af514961a1d3a1a25fdf3f4f7732e9d624c6c61548ab5fb8cd410220181522ec"
     "8eca07de4860a4acdd12909d831cc56cbbac4622082221a8768d1d0901ffffffff0200ca9a3b00000000434104ae1a62fe09"
     "c5f51b13905f07f06b99a2f7159b2225f374cd378d71302fa28414e7aab37397f554a7df5f142c21c1b7303b8a0626f1bade"
     "d5c72a704f7e6cd84cac00286bee0000000043410411db93e1dcdb8a016b49840f8c53bc1eb68a382e97b1482ecad7b148a6"
     "909a5cb2e0eaddfb84ccf9744464f82e160bfa9b8b64f9d4c03f999b8643f656b412a3ac00000000"},
    {"bcoin regtest", 3, "24d0a64594e57e1fd08c7fceb7a8336f890feb8de42af72b4ee4ad2a5466e004",
     "000000203f5da4aaff5b56db6661a9df332bbdafac0e814e4198df20d3c51fdc55068b5e795bb6baa4334bad1671f0c3e565"
     "802b42b46ffeffdd0623a8cc026b734a9dd90437016bffff7f20000000000301000000000101000000000000000000000000"
     "0000000000000000000000000000000000000000ffffffff1f016b0e6d696e65642062792062636f696e040cff2e9e080000"
     "000000000000ffffffff02d0f9052a010000001976a914de3a86278d9bf6f414977b9014ceaaa93e20aebc88ac0000000000"
     "000000266a24aa21a9ed6a96247d106e912cc515ee7ed0b7da071a79c2964326472d38140fc1816c74380120000000000000"
     "0000000000000000000000000000000000000000000000000000000000000100000001dbaf2e76de981fb9442db782fb2848"
     "2daf62bbc8b045df7a4eb8d76e7d472105000000006b483045022100874ae03b157c926df5c0a940de9fc1c55cb08b02b8ec"
     "f8f23c9f7b821efa70ee0220784f2cbe09b450fe1466c744215dead14bac72463fc6cf369e8c4e9e17b65376012103aa3090"
     "6b36b8b044c87ee7e21d7f22442ce0665c5947d7490907e94898822c5affffffff0118ee052a010000001976a914de3a8627"
     "8d9bf6f414977b9014ceaaa93e20aebc88ac000000000100000001428d8277b4991b7ebd1b568279e4b3345be76e0081ac33"
     "c6921bfad6a0454c88000000006b483045022100819f9ca1c129bc9404e9fef0bdb454a7b05bdbfb99eaf1e3db601f93f777"
     "1f35022050729105c3c7a70c2f276ec4bf5e2590a62beef4ba0d19145286b875132ff2c7012103aa30906b36b8b044c87ee7"
     "e21d7f22442ce0665c5947d7490907e94898822c5affffffff0118ee052a010000001976a914de3a86278d9bf6f414977b90"
     "14ceaaa93e20aebc88ac00000000"},
    {"bcoin regtest", 5, "3af738080ae5259590a3ef1321d73a5a0be75fb13041e8646435111a694f7128",
     "0000002004e066542aade44e2bf72ae48deb0f896f33a8b7ce7f8cd01f7ee59445a6d02450978da239526a46eb6d63516d42"
     "ce23624b597492ab3e14871853adbbf227600437016bffff7f20000000000501000000000101000000000000000000000000"
     "0000000000000000000000000000000000000000ffffffff1f016c0e6d696e65642062792062636f696e04961a9033080000"
     "000000000000ffffffff02a001062a010000001976a914de3a86278d9bf6f414977b9014ceaaa93e20aebc88ac0000000000"
     "000000266a24aa21a9eda543ea7ee2aebe055ca00b2250a9b958bc6e8a0d838f919667010e99ba2db1620120000000000000"
     "00000000000000000000000000000000000000000000000000000000000001000000015397040ea9325bb8d6426fee4ec68e"
     "758476c72890ab176e3ee00d6317058da9000000006a473044022032948fb614ba5e0ce0904e939628c640ee7a287118a4d3"
     "6cc8aa1e452eb923e502203bd5a5567459e42aa7bc1b1106ed0a201b3bf5cbb6bd45b0a9669866a4807f6f012103aa30906b"
     "36b8b044c87ee7e21d7f22442ce0665c5947d7490907e94898822c5affffffff0118ee052a010000001976a914de3a86278d"
     "9bf6f414977b9014ceaaa93e20aebc88ac000000000100000001276a787b5a5584276a602de48fd09504ec38c63bb5c77bdc"
     "582ab47ae4ea977d000000006b48304502210093808e3e63b4f8966de8eedb51a170f8d4f493ccf1e951ddefece38316cab1"
     "2f02204f528e6ff1e8e6a6c3326ad67606bc4636304973bc4d99d4e2c366ac716db300012103aa30906b36b8b044c87ee7e2"
     "1d7f22442ce0665c5947d7490907e94898822c5affffffff0118ee052a010000001976a914de3a86278d9bf6f414977b9014"
     "ceaaa93e20aebc88ac000000000100000001dc431e52bd1634d111d961981e05534cabd54f99841efa35916eee3623306749"
     "000000006b483045022100e345488cdb7a39baffc3828fd05b78035e784a8df6404cb2b490235197d07fb2022048de27ce16"
     "1b0178abd7e92f2b5b81280290dee68b27451a97ddf37c4e835eb2012103aa30906b36b8b044c87ee7e21d7f22442ce0665c"
     "5947d7490907e94898822c5affffffff0118ee052a010000001976a914de3a86278d9bf6f414977b9014ceaaa93e20aebc88"
     "ac0000000001000000015a8481fe1abfe36ac50700b1b83cbc65c0f126f53bbb089461f73c2ec3b649b4000000006b483045"
     "022100db1b1c23ac24ef66a2f729573c0391de7599fb16438ee732034b38f3ccc9b8ec022076aa9cfc569c89d81af9deca2a"
     "cafc32cb3729c68d272da5533be446a6895ad6012103aa30906b36b8b044c87ee7e21d7f22442ce0665c5947d7490907e948"
     "98822c5affffffff0118ee052a010000001976a914de3a86278d9bf6f414977b9014ceaaa93e20aebc88ac00000000"},
};

std::vector<std::uint8_t> bytes(const std::string& hex) {
    std::vector<std::uint8_t> out(hex.size() / 2);
    REQUIRE(from_hex(hex, out));
    return out;
}

}  // namespace

TEST_CASE("a whole block is recognised by its hash and its transactions", "[bitcoind]") {
    for (const example& e : examples) {
        INFO(e.origin << ", " << e.transactions << " transactions");
        const auto raw = bytes(e.hex);
        const auto hash = parse_block_hash(e.hash).value();
        const auto header = check_block(raw, hash);
        REQUIRE(header);
        CHECK(header->hash == hash);
        CHECK(open_block(raw)->transaction_count() == e.transactions);
    }
}

TEST_CASE("a block of another hash is refused", "[bitcoind]") {
    CHECK_FALSE(check_block(bytes(examples[0].hex), parse_block_hash(examples[1].hash).value()));
}

TEST_CASE("a block with any other byte is refused, unless it is witness data", "[bitcoind]") {
    for (const example& e : {examples[0], examples[1]}) {  // without witness
        const auto raw = bytes(e.hex);
        const auto hash = parse_block_hash(e.hash).value();
        for (std::size_t i = 0; i < raw.size(); ++i) {
            auto changed = raw;
            changed[i] ^= 1;
            INFO("byte " << i);
            REQUIRE_FALSE(check_block(changed, hash));
        }
    }
}

TEST_CASE("a block that is cut short or goes on is refused", "[bitcoind]") {
    for (const example& e : examples) {
        const auto raw = bytes(e.hex);
        const auto hash = parse_block_hash(e.hash).value();
        for (std::size_t n = 0; n < raw.size(); ++n) REQUIRE_FALSE(check_block(bytes_view(raw).first(n), hash));
        auto longer = raw;
        longer.push_back(0);
        CHECK_FALSE(check_block(longer, hash));
    }
}

TEST_CASE("a block that repeats its last transaction under the same merkle root is refused", "[bitcoind]") {
    // CVE-2012-2459: three transactions and the last one again have the root of the three.
    const auto raw = bytes(examples[2].hex);
    auto block = open_block(raw).value();
    std::vector<std::uint8_t> last;
    while (block.left() > 0) {
        const auto tx = block.next().value();
        last.assign(tx.bytes().begin(), tx.bytes().end());
    }
    auto repeated = raw;
    repeated[80] = 4;
    repeated.insert(repeated.end(), last.begin(), last.end());
    REQUIRE(open_block(repeated)->transaction_count() == 4);
    CHECK_FALSE(check_block(repeated, parse_block_hash(examples[2].hash).value()));
}
