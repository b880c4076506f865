// The Bitcoin networks, and what differs in their addresses.
#pragma once

#include <array>
#include <string_view>

#include "paychan/core/result.hpp"

namespace paychan {

/// testnet is testnet 3, whose end is announced.
enum class network : std::uint8_t { mainnet, testnet, testnet4, signet, regtest };

inline constexpr std::array all_networks{network::mainnet, network::testnet, network::testnet4, network::signet,
                                         network::regtest};

[[nodiscard]] constexpr std::string_view name(network n) {
    switch (n) {
        case network::mainnet: return "mainnet";
        case network::testnet: return "testnet";
        case network::testnet4: return "testnet4";
        case network::signet: return "signet";
        case network::regtest: return "regtest";
    }
    return "unknown";
}

/// The names above, and those of Bitcoin Core's RPC: main, test.  Fails  invalid_argument.
[[nodiscard]] constexpr result<network> parse_network(std::string_view text) {
    if (text == "mainnet" || text == "main") return network::mainnet;
    if (text == "testnet" || text == "test") return network::testnet;
    if (text == "testnet4") return network::testnet4;
    if (text == "signet") return network::signet;
    if (text == "regtest") return network::regtest;
    return fail(errc::invalid_argument, "network is none of mainnet, testnet, testnet4, signet, regtest");
}

/// First bytes in base58check and the prefix in bech32.  Source  Bitcoin Core chainparams.cpp.
struct address_prefixes {
    std::uint8_t p2pkh;
    std::uint8_t p2sh;
    std::uint8_t wif;
    std::string_view bech32;
};

[[nodiscard]] constexpr address_prefixes prefixes(network n) {
    switch (n) {
        case network::mainnet: return {0x00, 0x05, 0x80, "bc"};
        case network::testnet:
        case network::testnet4:
        case network::signet: return {0x6f, 0xc4, 0xef, "tb"};
        case network::regtest: break;
    }
    return {0x6f, 0xc4, 0xef, "bcrt"};
}

}  // namespace paychan
