#include "paychan/bitcoind/rpc_error.hpp"

#include <catch2/catch.hpp>

using namespace paychan::bitcoind;

TEST_CASE("a node's words become one bounded line", "[bitcoind]") {
    const auto r = read_answer(500, R"({"error":{"code":-1,"message":"a\n\u001b[31mb\u0000c"}})", 1);
    REQUIRE_FALSE(r);
    CHECK(r.error().message == "a  [31mb c");
    const auto flood = read_answer(500, R"({"error":{"code":-1,"message":")" + std::string(1'000'000, 'x') + "\"}}", 1);
    CHECK(flood.error().message.size() == 300);
}

TEST_CASE("an answer's null error is no error, and its null result is a result", "[bitcoind]") {
    CHECK(read_answer(200, R"({"result":null,"error":null,"id":5})", 5).value().is_null());
    CHECK(read_answer(200, R"({"jsonrpc":"2.0","result":[1],"id":5})", 5).value() == json::array({1}));
}

TEST_CASE("an answer to another request is refused", "[bitcoind]") {
    CHECK(read_answer(200, R"({"result":1,"error":null,"id":4})", 5).error().failure == rpc_failure::bad_answer);
}

TEST_CASE("a node that is too busy is to be asked again", "[bitcoind]") {
    const auto r = read_answer(503, "Work queue depth exceeded", 1);
    CHECK(r.error().failure == rpc_failure::busy);
    CHECK(r.error().message.find("Work queue depth exceeded") != std::string::npos);
}

TEST_CASE("401 is about the login, and 403 about what it may do, whatever their body", "[bitcoind]") {
    CHECK(read_answer(401, "", 1).error().failure == rpc_failure::unauthorized);
    CHECK(read_answer(403, R"({"result":1,"id":1})", 1).error().failure == rpc_failure::forbidden);
}
