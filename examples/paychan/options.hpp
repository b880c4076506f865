// What the command line says, after CLI11 has read it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "paychan/bitcoin/address.hpp"

namespace tool {

using namespace paychan;  // a program of this library through and through

struct options {
    bool json = false;

    // where things are
    std::string store;                      ///< sqlite:FILE, file:FOLDER or postgres:CONNECTION
    std::string chain;                      ///< rpc:http://USER:PASS@HOST:PORT or print:
    std::string network;                    ///< mainnet, testnet, testnet4, signet, regtest
    std::string seed;                       ///< file
    std::optional<std::int32_t> birthday;   ///< [blocks] height of the first block that can hold our coins
    bool rescan = false;                    ///< read all blocks again
    std::uint32_t gap_limit = 1'000;        ///< [keys] of channels to look for behind the last one known
    std::optional<std::int64_t> fee_rate;   ///< [sat/kvB] in place of the node's estimate
    std::optional<std::int32_t> fee_share;  ///< [percent]
    std::int64_t poll = 1000;               ///< [ms] between looks at the node
    std::int64_t patience = 60;             ///< [s] for which a node that does not answer is asked again

    // serve
    std::string listen;
    std::int64_t min_channel = 100'000;  ///< [satoshi]
    std::int64_t min_payment = 1'000;    ///< [satoshi]
    std::int64_t min_window = 14'400;    ///< [s]
    std::int64_t max_window = 604'800;   ///< [s]
    std::string versions = "1,2";        ///< of the protocol that new channels may have
    std::string ack_info;                ///< hex, sent with every ack
    std::size_t max_connections = 1'000;
    std::int32_t min_confirmations = 0;
    std::optional<std::int64_t> max_unconfirmed;
    std::size_t max_per_address = 100;  ///< 0: no limit
    std::uint64_t settle_after = 0;     ///< payments, after which a channel is settled; 0: when it must be

    // pay
    std::string connect;
    std::int64_t channel = 1'000'000;  ///< [satoshi]
    std::uint64_t payments = 1;
    std::int64_t amount = 1'000;              ///< [satoshi]
    std::int64_t max_first_payment = 10'000;  ///< [satoshi]
    std::uint64_t window = 86'340;            ///< [s]
    bool settle = false;
    bool new_channel = false;      ///< although a stored one could be resumed
    std::string info;              ///< hex, sent with every payment
    std::string export_folder;     ///< for the files of channels
    std::string version = "2or1";  ///< of the protocol: 1, 2 or 2or1; demo has it too

    // the others
    bool until_idle = false;            ///< watch
    std::vector<std::string> channels;  ///< export, abandon: txids
    std::vector<std::string> files;     ///< import
    std::string to;                     ///< sweep: address; export: folder
    bool all = false;                   ///< settle, export
    bool early = false;                 ///< refund
    bool legacy = false;                ///< address, pay: P2PKH
    std::uint32_t address_index = 0;
};

class report;

// Each returns the exit status: 0 when what was asked happened, 1 when it did not, 3 when it is not due yet.
int run_demo(const options& o, report& out);
int run_serve(const options& o, report& out);
int run_pay(const options& o, report& out);
int run_settle(const options& o, report& out);
int run_refund(const options& o, report& out);
int run_abandon(const options& o, report& out);
int run_address(const options& o, report& out);
int run_balance(const options& o, report& out);
int run_sweep(const options& o, report& out);
int run_channels(const options& o, report& out);
int run_watch(const options& o, report& out);
int run_export(const options& o, report& out);
int run_import(const options& o, report& out);

inline constexpr int exit_done = 0;
inline constexpr int exit_failed = 1;
inline constexpr int exit_not_due = 3;

/// What the user got wrong, in one line that says what to do.  main() prints it; exit status 2.
struct usage_error {
    std::string text;
};

/// What went wrong though the options are right, in one line.  main() prints it; exit status 1.
struct run_error {
    std::string text;
};

/// The store is away: it may be there later.
struct store_away : run_error {};

}  // namespace tool
