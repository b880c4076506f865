#include "paychan/bitcoin/address.hpp"

#include <catch2/catch.hpp>

#include "paychan/bitcoin/wif.hpp"
#include "support.hpp"

using namespace paychan;
using namespace support;

namespace {

constexpr auto networks = all_networks;

std::string flip_case(std::string text) {
    for (char& c : text) {
        const auto u = static_cast<unsigned char>(c);
        c = static_cast<char>(std::isupper(u) != 0 ? std::tolower(u) : std::toupper(u));
    }
    return text;
}

std::string script_hex(const std::string& address, network net) {
    const auto script = script_of_address(address, net);
    return script ? hex(script->view()) : "";
}

}  // namespace

TEST_CASE("address and WIF read and write every case of key_io_valid.json", "[bitcoin][address]") {
    std::size_t addresses = 0;
    std::size_t keys = 0;
    for (const auto& entry : load("bitcoin-core/key_io_valid.json")) {
        const std::string text = entry[0];
        const std::string expected = entry[1];
        const auto net = parse_network(entry[2]["chain"].get<std::string>()).value();
        INFO(text);
        if (entry[2]["isPrivkey"].get<bool>()) {
            const auto key = parse_wif(text, net);
            REQUIRE(key.has_value());
            CHECK(hex(key->key.reveal()) == expected);
            CHECK((key->form == key_form::compressed) == entry[2]["isCompressed"].get<bool>());
            const auto again = wif_of_key(*key, net);
            REQUIRE(again.has_value());
            CHECK(str(again->reveal().view()) == text);
            CHECK_FALSE(script_of_address(text, net).has_value());
            ++keys;
        } else {
            CHECK(script_hex(text, net) == expected);
            const auto again = address_of_script(unhex(expected), net);
            REQUIRE(again.has_value());
            CHECK(str(again->view()) == text);
            CHECK_FALSE(parse_wif(text, net).has_value());
            // Case matters in base58, and not in bech32.
            CHECK(script_hex(flip_case(text), net) == (entry[2].value("tryCaseFlip", false) ? expected : ""));
            // Mainnet and the test networks do not mix.
            CHECK(script_hex(text, net == network::mainnet ? network::testnet : network::mainnet).empty());
            ++addresses;
        }
    }
    CHECK(addresses + keys == 70);
    CHECK(keys > 10);
}

TEST_CASE("address and WIF refuse every case of key_io_invalid.json on every network", "[bitcoin][address]") {
    std::size_t cases = 0;
    for (const auto& entry : load("bitcoin-core/key_io_invalid.json")) {
        const std::string text = entry[0];
        INFO(text);
        for (const network net : networks) {
            CHECK_FALSE(script_of_address(text, net).has_value());
            CHECK_FALSE(parse_wif(text, net).has_value());
        }
        ++cases;
    }
    CHECK(cases == 70);
}

TEST_CASE("address reads and writes the valid addresses of BIP350", "[bitcoin][address]") {
    const std::vector<std::pair<std::string, std::string>> valid{
        {"BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4", "0014751e76e8199196d454941c45d1b3a323f1433bd6"},
        {"tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7",
         "00201863143c14c5166804bd19203356da136c985678cd4d27a1b8c6329604903262"},
        {"bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kt5nd6y",
         "5128751e76e8199196d454941c45d1b3a323f1433bd6751e76e8199196d454941c45d1b3a323f1433bd6"},
        {"BC1SW50QGDZ25J", "6002751e"},
        {"bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs", "5210751e76e8199196d454941c45d1b3a323"},
        {"tb1qqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesrxh6hy",
         "0020000000c4a5cad46221b2a187905e5266362b99d5e91c6ce24d165dab93e86433"},
        {"tb1pqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesf3hn0c",
         "5120000000c4a5cad46221b2a187905e5266362b99d5e91c6ce24d165dab93e86433"},
        {"bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
         "512079be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"}};
    for (const auto& [text, script] : valid) {
        INFO(text);
        const network net = text[0] == 't' ? network::testnet : network::mainnet;
        CHECK(script_hex(text, net) == script);
        std::string lower = text;
        for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
        CHECK(str(address_of_script(unhex(script), net).value().view()) == lower);
    }
}

TEST_CASE("address refuses the invalid addresses of BIP173 and BIP350", "[bitcoin][address]") {
    const std::vector<std::string> invalid{
        // BIP173
        "tc1qw508d6qejxtdg4y5r3zarvary0c5xw7kg3g4ty", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5",
        "BC13W508D6QEJXTDG4Y5R3ZARVARY0C5XW7KN40WF2", "bc1rw5uspcuh",
        "bc10w508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kw5rljs90",
        "BC1QR508D6QEJXTDG4Y5R3ZARVARYV98GJ9P", "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sL5k7",
        "bc1zw508d6qejxtdg4y5r3zarvaryvqyzf3du", "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3pjxtptv",
        "bc1gmk9yu",
        // BIP350
        "tc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq5zuyut",
        "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd",
        "tb1z0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqglt7rf",
        "BC1S0XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ54WELL", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kemeawh",
        "tb1q0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq24jc47",
        "bc1p38j9r5y49hruaue7wxjce0updqjuyyx0kh56v8s25huc6995vvpql3jow4",
        "BC130XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ7ZWS8R", "bc1pw5dgrnzv",
        "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v8n0nx0muaewav253zgeav",
        "tb1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq47Zagq",
        "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v07qwwzcrf",
        "tb1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vpggkg4j"};
    for (const auto& text : invalid) {
        INFO(text);
        for (const network net : networks) CHECK(script_of_address(text, net).error().code == errc::malformed);
    }
}

TEST_CASE("address says which network and which form a text seems to have", "[bitcoin][address]") {
    const auto why = [](const char* text, network net) { return str(script_of_address(text, net).error().text); };
    const char* const genesis = "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa";
    CHECK(why(genesis, network::regtest) == "address is not one of this network");
    CHECK(why("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", network::regtest) == "address is not one of this network");
    CHECK(why("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5", network::mainnet) == "checksum is wrong: mistyped?");
    CHECK(why("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb", network::mainnet) == "checksum is wrong: mistyped?");
    CHECK(address_of_script(unhex("6a"), network::mainnet).error().code == errc::unsupported);
    CHECK(address_of_script({}, network::mainnet).error().code == errc::unsupported);
    CHECK(address_of_script(unhex("0002aaaa"), network::mainnet).error().code == errc::unsupported);
}

TEST_CASE("network names are read back, and others refused", "[bitcoin][address]") {
    for (const network net : networks) CHECK(parse_network(name(net)).value() == net);
    CHECK(parse_network("main").value() == network::mainnet);
    CHECK(parse_network("test").value() == network::testnet);
    for (const char* const text : {"", "Regtest", "regtest ", "testnet3"})
        CHECK(parse_network(text).error().code == errc::invalid_argument);
}
