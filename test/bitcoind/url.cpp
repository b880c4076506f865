#include "paychan/bitcoind/url.hpp"

#include <catch2/catch.hpp>

using namespace paychan;
using namespace paychan::bitcoind;

TEST_CASE("the node's address is read from the tool's option", "[bitcoind]") {
    const auto node = parse_node_address("rpc:http://alice:s3cret@127.0.0.1:18443");
    REQUIRE(node);
    CHECK(node->host == "127.0.0.1");
    CHECK(node->port == 18443);
    CHECK(node->login.reveal() == "alice:s3cret");
    CHECK(node->cookie_file.empty());
}

TEST_CASE("the node's address takes names, IPv6, an ending slash, and escapes in the login", "[bitcoind]") {
    CHECK(parse_node_address("rpc:http://u:p@my-node.example:8332/")->host == "my-node.example");
    CHECK(parse_node_address("rpc:http://u:p@[::1]:8332")->host == "::1");
    CHECK(parse_node_address("rpc:http://u:p%40%3a%2F%25@h:1")->login.reveal() == "u:p@:/%");
    CHECK(parse_node_address("rpc:http://u:p@q:r@h:65535")->login.reveal() == "u:p@q:r");
    CHECK(parse_node_address("rpc:http://u:@h:1")->login.reveal() == "u:");
}

TEST_CASE("the node's address takes a cookie file", "[bitcoind]") {
    const auto node = parse_node_address("rpc:http://localhost:8332?cookie=/home/a/.bitcoin/.cookie");
    REQUIRE(node);
    CHECK(node->cookie_file == "/home/a/.bitcoin/.cookie");
    CHECK(node->login.empty());
    CHECK(parse_node_address("rpc:http://localhost:8332/?cookie=x")->cookie_file == "x");
}

TEST_CASE("a wrong address of the node is refused with what to do, without repeating the password", "[bitcoind]") {
    const auto [url, part] = GENERATE(table<std::string, std::string>({
        {"", "rpc:http://USER:PASS@HOST:PORT"},
        {"http://u:hunter2@h:1", "rpc:http://"},
        {"rpc:u:hunter2@h:1", "rpc:http://"},
        {"rpc:https://u:hunter2@h:1", "tunnel"},
        {"rpc:http://", "login"},
        {"rpc:http://h:1", "login"},
        {"rpc:http://hunter2@h:1", "password is missing"},
        {"rpc:http://u:hunter2@h", "port is missing"},
        {"rpc:http://u:hunter2@[::1]", "port is missing"},
        {"rpc:http://u:hunter2@::1:1", "brackets"},
        {"rpc:http://u:hunter2@:1", "HOST"},
        {"rpc:http://u:hunter2@a b:1", "HOST"},
        {"rpc:http://u:hunter2@h\r\nX:1", "HOST"},
        {"rpc:http://u:hunter2@h:", "PORT"},
        {"rpc:http://u:hunter2@h:0", "PORT"},
        {"rpc:http://u:hunter2@h:65536", "PORT"},
        {"rpc:http://u:hunter2@h:99999999999999999999", "PORT"},
        {"rpc:http://u:hunter2@h:1x", "PORT"},
        {"rpc:http://u:hunter2@h:-1", "PORT"},
        {"rpc:http://u:hunter2@h:1/wallet", "PORT"},
        {"rpc:http://u:hunter2@h:1?cookie=x", "not both"},
        {"rpc:http://h:1?cookie=", "cookie"},
        {"rpc:http://u:hunter2%4@h:1", "%25"},
        {"rpc:http://u:hunter2%zz@h:1", "%25"},
        {"rpc:http://u:hunter2%", "login"},
        {"rpc:http://a%3Ab:hunter2@h:1", "colon"},
    }));
    INFO(url);
    const auto node = parse_node_address(url);
    REQUIRE_FALSE(node);
    INFO(node.error().text);
    CHECK(node.error().text.find(part) != std::string_view::npos);
    CHECK(node.error().text.find("hunter2") == std::string_view::npos);
}

TEST_CASE("core's names of the networks", "[bitcoind]") {
    CHECK(core_chain_name("mainnet") == "main");
    CHECK(core_chain_name("testnet") == "test");
    CHECK(core_chain_name("signet") == "signet");
    CHECK(core_chain_name("testnet4") == "testnet4");
    CHECK(core_chain_name("regtest") == "regtest");
}
