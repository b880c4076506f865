#include "paychan/bitcoind/answers.hpp"

#include <catch2/catch.hpp>

using namespace paychan;
using namespace paychan::bitcoind;

namespace {
rpc_result node_error(int code, const std::string& message) {
    return tl::make_unexpected(rpc_error{rpc_failure::node_error, code, message});
}
const txid some_id = *parse_txid("f4184fc596403b9d638783cf57adfe4c75c605f6356fbc91338530e9831e9e16");
}  // namespace

// The texts are Bitcoin Core's.
TEST_CASE("a broadcast's outcome follows the node's error code and the beginning of its words", "[bitcoind]") {
    using enum broadcast_outcome;
    const auto [code, words, expected] = GENERATE(table<int, std::string, broadcast_outcome>({
        {-27, "Transaction already in block chain", accepted},
        {-27, "Transaction outputs already in utxo set", accepted},
        {-26, "txn-already-known", accepted},
        {-26, "txn-already-in-mempool", accepted},
        {-25, "txn-already-in-mempool", accepted},
        {-26, "txn-same-nonwitness-data-in-mempool", accepted},
        {-26, "non-final", refused},
        {-26, "txn-mempool-conflict", refused},
        {-26, "min relay fee not met, 10 < 192", refused},
        {-26, "dust", refused},
        {-26, "mandatory-script-verify-flag-failed (txn-already-known)", refused},
        {-25, "bad-txns-inputs-missingorspent", refused},
        {-25, "Fee exceeds maximum configured by user (e.g. -maxtxfee, maxfeerate)", refused},
        {-22, "TX decode failed. Make sure the tx has at least one input.", refused},
        {-28, "Loading block index...", unreachable},
        {-32601, "Method not found", unreachable},
        {-32603, "internal", unreachable},
        {-1, "", unreachable},
        {0, "", unreachable},
    }));
    INFO(code << ' ' << words);
    const auto r = read_broadcast(node_error(code, words), some_id);
    CHECK(r.outcome == expected);
    CHECK(r.reason.find(words) != std::string::npos);
}

TEST_CASE("a broadcast that the node did not hear of is unreachable", "[bitcoind]") {
    const auto failure = GENERATE(rpc_failure::unauthorized, rpc_failure::forbidden, rpc_failure::unreachable,
                                  rpc_failure::bad_answer, rpc_failure::queue_full);
    const auto r = read_broadcast(fail_rpc(failure, "why"), some_id);
    CHECK(r.outcome == broadcast_outcome::unreachable);
    CHECK(r.reason == "why");
}

TEST_CASE("a broadcast is accepted only under its own txid", "[bitcoind]") {
    CHECK(read_broadcast(json("f4184fc596403b9d638783cf57adfe4c75c605f6356fbc91338530e9831e9e16"), some_id).outcome ==
          broadcast_outcome::accepted);
    for (const json& other : {json("00"), json(nullptr), json(std::string(64, '0')), json(7)})
        CHECK(read_broadcast(other, some_id).outcome == broadcast_outcome::unreachable);
}

TEST_CASE("a fee estimate is used within its bounds, and replaced when there is none", "[bitcoind]") {
    const fee_settings s;
    const auto rate = [&](const char* text) {
        return read_fee_estimate(parse_json(text).value(), {}, s).value().sat_per_kvb;
    };
    CHECK(rate(R"({"feerate":0.00012345,"blocks":6})") == 12'345);
    CHECK(rate(R"({"feerate":5e-5,"blocks":6})") == 5'000);
    CHECK(rate(R"({"feerate":1e-7})") == 1'000);
    CHECK(rate(R"({"feerate":0.5})") == 200'000);
    for (const char* none :
         {R"({"errors":["Insufficient data or no feerate found"],"blocks":6})", R"({"feerate":-1})", R"({"feerate":0})",
          R"({"feerate":null})", R"({"feerate":"0.1"})", R"({"feerate":1e20})", "null", "[]"})
        CHECK(rate(none) == 2'000);
    CHECK(read_fee_estimate(node_error(-32603, "Fee estimation disabled"), {}, s) == fee_rate{2'000});
    CHECK(read_fee_estimate(fail_rpc(rpc_failure::forbidden, ""), {}, s) == fee_rate{2'000});
    CHECK_FALSE(read_fee_estimate(node_error(-28, "Verifying blocks..."), {}, s));
    CHECK_FALSE(read_fee_estimate(fail_rpc(rpc_failure::unreachable, ""), {}, s));
    CHECK_FALSE(read_fee_estimate(fail_rpc(rpc_failure::unauthorized, ""), {}, s));
}

TEST_CASE("an estimate is never below what the node's mempool takes, and nothing is above the operator's limit",
          "[bitcoind]") {
    const fee_settings s;
    const auto rate = [&](const char* text, std::int64_t floor) {
        return read_fee_estimate(parse_json(text).value(), fee_rate{floor}, s).value().sat_per_kvb;
    };
    CHECK(rate(R"({"errors":["Insufficient data or no feerate found"]})", 1'000) == 2'000);
    CHECK(rate(R"({"errors":["Insufficient data or no feerate found"]})", 8'000) == 10'000);
    CHECK(rate(R"({"feerate":0.00005})", 8'000) == 10'000);
    CHECK(rate(R"({"feerate":0.0002})", 8'000) == 20'000);
    CHECK(rate(R"({"feerate":0.00005})", 1'000'000) == 200'000);
    CHECK(rate(R"({"feerate":0.00001})", 100) == 1'000);  // Core 30 relays less, and older nodes do not
    CHECK(rate(R"({"feerate":0.00001})", 1'000) == 1'000);
}

TEST_CASE("refusals for the fee are told apart", "[bitcoind]") {
    const auto why = [&](const char* words) { return read_broadcast(node_error(-26, words), some_id).for_fee; };
    for (const char* words : {"min relay fee not met, 100 < 337", "mempool min fee not met", "mempool full"})
        CHECK(why(words) == fee_refusal::underpaid);
    CHECK(why("insufficient fee, rejecting replacement 00; new feerate 0.00001 BTC/kvB <= old feerate") ==
          fee_refusal::outbid);
    for (const char* words :
         {"txn-mempool-conflict", "bad-txns-inputs-missingorspent", "non-final", "bare-multisig", ""})
        CHECK(why(words) == fee_refusal::none);
}

TEST_CASE("what a transaction pays with its unmined ancestors", "[bitcoind]") {
    const auto read = [](const char* text) { return read_mempool_entry(parse_json(text).value()).with_ancestors; };
    constexpr const char* entry =
        R"({"vsize":141,"ancestorsize":478,"fees":{"base":0.00000141,"ancestor":0.00001141}})";
    const package both = read(entry);
    CHECK(both.fee == satoshi{1'141});
    CHECK(both.vsize == 478);
    const package alone = read_mempool_entry(parse_json(entry).value()).alone;
    CHECK(alone.fee == satoshi{141});
    CHECK(alone.vsize == 141);
    for (const char* other :
         {"null", "{}", R"({"ancestorsize":478})", R"({"ancestorsize":0,"fees":{"ancestor":1}})",
          R"({"ancestorsize":-5,"fees":{"ancestor":1}})", R"({"ancestorsize":4,"fees":{"ancestor":-1}})",
          R"({"ancestorsize":"4","fees":{"ancestor":1}})", R"({"ancestorsize":1000001,"fees":{"ancestor":1}})"})
        CHECK(read(other).vsize == 0);
    CHECK(read_mempool_entry(node_error(-5, "Transaction not in mempool")).alone.vsize == 0);
    CHECK(read_mempool_entry(node_error(-5, "Transaction not in mempool")).with_ancestors.vsize == 0);
}

TEST_CASE("a mempool's floor is the larger of what it takes now and what it relays at all", "[bitcoind]") {
    const auto floor = [](const char* text) {
        return read_mempool_floor(parse_json(text).value()).value().sat_per_kvb;
    };
    CHECK(floor(R"({"mempoolminfee":0.00003,"minrelaytxfee":0.00001})") == 3'000);
    CHECK(floor(R"({"mempoolminfee":0.00001,"minrelaytxfee":0.00005})") == 5'000);
    CHECK(floor(R"({"mempoolminfee":0.000001})") == 100);
    for (const char* none : {R"({"mempoolminfee":-1})", R"({"mempoolminfee":"0.1"})", R"({"size":3})", "null", "[]"})
        CHECK(floor(none) == 0);
    CHECK(read_mempool_floor(node_error(-32601, "Method not found")) == fee_rate{});
    CHECK(read_mempool_floor(fail_rpc(rpc_failure::forbidden, "")) == fee_rate{});
    CHECK_FALSE(read_mempool_floor(node_error(-28, "Verifying blocks...")));
    CHECK_FALSE(read_mempool_floor(fail_rpc(rpc_failure::unreachable, "")));
}

TEST_CASE("a node's chain info is read, or refused as malformed", "[bitcoind]") {
    const json good{{"chain", "regtest"},
                    {"blocks", 7},
                    {"bestblockhash", "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"},
                    {"initialblockdownload", true}};
    const auto info = read_chain_info(good);
    REQUIRE(info);
    CHECK(info->chain == "regtest");
    CHECK(info->height == 7);
    CHECK(info->initial_download);
    CHECK(info->best.bytes[31] == 0);
    CHECK(info->best.bytes[0] == 0x6f);

    json without = good;
    without.erase("initialblockdownload");  // older dialects
    CHECK_FALSE(read_chain_info(without).value().initial_download);
    for (const auto& [key, value] : std::initializer_list<std::pair<const char*, json>>{{"chain", nullptr},
                                                                                        {"chain", 1},
                                                                                        {"blocks", -1},
                                                                                        {"blocks", 2147483647},
                                                                                        {"blocks", "7"},
                                                                                        {"blocks", 7.5},
                                                                                        {"bestblockhash", "00"},
                                                                                        {"bestblockhash", nullptr}}) {
        json bad = good;
        bad[key] = value;
        CHECK_FALSE(read_chain_info(bad));
    }
    CHECK_FALSE(read_chain_info(nullptr));
}
