// Where in the BIP32 tree of one seed each of our keys grows: the layout that makes the seed a backup.
#pragma once

#include "paychan/bitcoin/network.hpp"
#include "paychan/crypto/bip32.hpp"

namespace paychan {

/// The five rows of keys.  Their names are a promise: never change a path, or old seeds no longer find their coins.
enum class key_branch : std::uint8_t {
    segwit_receive,  ///< m/84'/coin'/0'/0/n  BIP84
    segwit_change,   ///< m/84'/coin'/0'/1/n
    legacy_receive,  ///< m/44'/coin'/0'/0/n  BIP44
    legacy_change,   ///< m/44'/coin'/0'/1/n
    channel,  ///< m/1885436259'/coin'/n'  ours; 1885436259 is "payc" as a number.  Hardened, so that one channel key
              ///< that leaks does not endanger the others.  n counts from 1; below 0' are a server's, see seed_keys.
};

inline constexpr std::array<key_branch, 5> all_key_branches{key_branch::segwit_receive, key_branch::segwit_change,
                                                            key_branch::legacy_receive, key_branch::legacy_change,
                                                            key_branch::channel};

/// SLIP-44: the main network's coins are 0, those of all test networks 1.
[[nodiscard]] constexpr std::uint32_t coin_type(network net) { return net == network::mainnet ? 0 : 1; }

/// The parent of a row's keys.  Fails  invalid_argument (seed not 16 to 64 bytes), invalid_key (1 in 2^127).
[[nodiscard]] inline result<extended_key> derive_branch(bytes_view seed, network net, key_branch branch) {
    constexpr std::uint32_t channel_purpose = 0x7061'7963;
    const std::uint32_t account_coin = hardened + coin_type(net);
    PAYCHAN_TRY(const extended_key root, master_key(seed));
    if (branch == key_branch::channel) {
        PAYCHAN_TRY(const extended_key purpose, derive(root, hardened + channel_purpose));
        return derive(purpose, account_coin);
    }
    const bool segwit = branch == key_branch::segwit_receive || branch == key_branch::segwit_change;
    const bool change = branch == key_branch::segwit_change || branch == key_branch::legacy_change;
    PAYCHAN_TRY(const extended_key purpose, derive(root, hardened + (segwit ? 84u : 44u)));
    PAYCHAN_TRY(const extended_key coin_level, derive(purpose, account_coin));
    PAYCHAN_TRY(const extended_key account, derive(coin_level, hardened));
    return derive(account, change ? 1 : 0);
}

/// The private key with this number in its row.  Fails  invalid_argument (n >= 2^31), invalid_key (1 in 2^127).
[[nodiscard]] inline result<secret_key> derive_in_branch(const extended_key& parent, key_branch branch,
                                                         std::uint32_t n) {
    if (n >= hardened) return fail(errc::invalid_argument, "there are 2^31 keys in a row");
    PAYCHAN_TRY(extended_key child, derive(parent, branch == key_branch::channel ? hardened + n : n));
    return std::move(child.key);
}

}  // namespace paychan
