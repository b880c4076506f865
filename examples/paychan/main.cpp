// paychan: open, pay, settle and refund Bitcoin micropayment channels.  The turnkey level of the library, and the
// reference composition.
#include <CLI/CLI.hpp>
#include <csignal>
#include <cstring>
#include <iostream>
#include <string_view>

#include "process.hpp"
#include "report.hpp"

namespace {

using paychan::when_full;
using tool::options;

/// An option that has a value, which the help calls `value`.
template <class T>
CLI::Option* add(CLI::App& command, const char* name, T& to, const char* value, const char* text) {
    return command.add_option(name, to, text)->type_name(value);
}

template <class T>
CLI::Option* add_required(CLI::App& command, const char* name, T& to, const char* value, const char* text) {
    return add(command, name, to, value, text)->required();
}

/// The help shows what the value is without it.
template <class T>
CLI::Option* add_default(CLI::App& command, const char* name, T& to, const char* value, const char* text) {
    return add(command, name, to, value, text)->capture_default_str();
}

void add_json(CLI::App& command, options& o) {
    command.add_flag("--json", o.json, "One JSON object a line on standard output");
}

void add_network(CLI::App& command, options& o) {
    add_required(command, "--network", o.network, "TEXT", "mainnet, testnet (3), testnet4, signet or regtest")
        ->check(CLI::IsMember({"mainnet", "testnet", "testnet4", "signet", "regtest"}));
}

void add_seed(CLI::App& command, options& o) {
    add_required(command, "--seed", o.seed, "FILE", "File with the seed of all keys (make it with `paychan address`)");
}

void add_store(CLI::App& command, options& o) {
    add_required(command, "--store", o.store, "STORE",
                 "Where channels are kept: sqlite:FILE, file:FOLDER (one process at a time), or postgres:CONNECTION "
                 "(a\ndatabase that several may share; as libpq takes it: host=... dbname=..., or //HOST/DATABASE)");
}

void add_chain(CLI::App& command, options& o) {
    add_required(
        command, "--chain", o.chain, "CHAIN",
        "A Bitcoin node: rpc:http://USER:PASS@HOST:PORT (or rpc:http://HOST:PORT?cookie=FILE); or print: to print\n"
        "transactions for you to broadcast by other means, taken as broadcast");
    add_default(
        command, "--gap-limit", o.gap_limit, "N",
        "How many keys of channels to look for behind the last that is known or was paid to; takes effect on blocks\n"
        "that are read from then on (see --rescan)")
        ->check(CLI::Range(std::uint32_t{20}, std::uint32_t{1'000'000}));
    add(command, "--birthday", o.birthday, "HEIGHT",
        "Height of the first block that can hold coins of the seed; kept in the store");
    command.add_flag(
        "--rescan", o.rescan,
        "Read all blocks from the birthday on again, in place of those that are new since the last command");
    add(command, "--fee-rate", o.fee_rate, "RATE", "[sat/kvB] in place of the node's estimate")
        ->check(CLI::Range(1'000, 1'000'000));
    add(command, "--fee-share", o.fee_share, "PERCENT",
        "What settlements and refunds may cost: [percent] of what would be lost without them; 50, and 90 at the "
        "deadline")
        ->check(CLI::Range(1, 100));
    add_default(command, "--patience", o.patience, "S",
                "[s] for which a node that does not answer is asked again; `serve` and `watch` never give up")
        ->check(CLI::Range(1, 86'400));
    add_default(command, "--poll", o.poll, "MS", "[ms] between looks at the node")->check(CLI::Range(50, 60'000));
}

/// What CLI11 says, without the argument's own text where that may be a password.
std::string words_of(const CLI::ParseError& e, const CLI::App& app, int argc, char** argv) {
    std::string words = e.what();
    if (dynamic_cast<const CLI::ConversionError*>(&e) != nullptr) return words.substr(0, words.find(" = "));
    if (dynamic_cast<const CLI::ExtrasError*>(&e) == nullptr) return words;
    const auto extra = app.remaining(true);
    const std::string first = extra.empty() ? "" : extra.front();
    if (first.starts_with("--")) return "there is no option " + first.substr(0, first.find('='));
    for (int i = 1; i < argc; ++i)
        if (first == argv[i]) return "argument " + std::to_string(i) + " was not expected";
    return "there is an argument that was not expected";
}

using command_function = int (*)(const options&, tool::report&);

/// It guards money: neither a reader of its lines nor a terminal that closes may stop it.
int run_and_stay(command_function run, const options& o) {
    std::signal(SIGHUP, SIG_IGN);
    tool::report out(o.json, when_full::drop);
    return run(o, out);
}

/// It is there to be heard: what could not be written is a failure.
int run_to_the_end(command_function run, const options& o) {
    tool::report out(o.json, when_full::wait);
    const int status = run(o, out);
    const int failure = out.finish();
    if (failure == 0) return status;
    std::cerr << "paychan: standard output: " << std::strerror(failure) << '\n';
    return tool::exit_failed;
}

}  // namespace

int main(int argc, char** argv) {
    tool::prepare_process();
    options o;
    CLI::App app{
        "paychan: Bitcoin micropayment channels.\n"
        "A client locks coins in a contract with a server, pays by sending ever-larger signatures, and the server "
        "settles with one\n"
        "transaction.  If the server vanishes, the client's refund comes free after a lock time."};
    app.require_subcommand(1);
    app.footer(
        "Start with:  paychan demo\n"
        "Exit status: 0 what was asked happened; 1 it did not; 2 wrong options; 3 nothing is due yet.");
    int status = tool::exit_failed;
    const auto add_command = [&](const char* name, command_function run, const char* text, const char* example,
                                 bool stays = false) -> CLI::App& {
        CLI::App* const command = app.add_subcommand(name, text);
        command->footer(std::string("Example:\n  ") + example);
        command->callback(
            [&o, &status, run, stays] { status = stays ? run_and_stay(run, o) : run_to_the_end(run, o); });
        return *command;
    };
    const CLI::Validator not_empty(
        [](std::string& text) { return text.empty() ? std::string("the name is empty") : std::string(); }, "");
    const CLI::IsMember versions({"1", "2", "2or1"});
    const CLI::Range life(7'800, 31'536'000);  // [s] of a channel
    const CLI::Range money(std::int64_t{1}, std::int64_t{2'100'000'000'000'000});

    CLI::App& demo =
        add_command("demo", tool::run_demo, "Both sides in this process, on a chain in memory: open, pay, settle",
                    "paychan demo --payments 1000 --amount 10");
    demo.add_option("--payments", o.payments, "How many")->default_val(1000)->check(CLI::Range(1, 10'000'000));
    demo.add_option("--amount", o.amount, "[satoshi] each")->default_val(10)->check(money);
    const CLI::Range demo_channel(std::int64_t{100'000}, std::int64_t{4'900'000'000});  // the server's least, our coin
    add_default(demo, "--channel", o.channel, "INT", "[satoshi] the channel's value")->check(demo_channel);
    add_default(demo, "--version", o.version, "V",
                "Protocol version of the channel; 2or1 makes it 2, for both sides speak that")
        ->check(versions);
    add_json(demo, o);

    CLI::App& serve = add_command("serve", tool::run_serve, "Take payments",
                                  "paychan serve --listen 127.0.0.1:4242 --store sqlite:server.db --chain "
                                  "rpc:http://user:pass@127.0.0.1:18443 --network regtest --seed server.seed",
                                  true);
    add_required(serve, "--listen", o.listen, "HOST:PORT", "Address and port to listen on; port 0 takes a free one");
    add_default(serve, "--min-channel", o.min_channel, "SAT", "[satoshi] the smallest contract")->check(money);
    add_default(serve, "--min-payment", o.min_payment, "SAT",
                "[satoshi] the first payment of each channel; who refuses it because it wants to pay more (releases\n"
                "of bitcoinj do), up to 10000, is asked for that when it comes again")
        ->check(money);
    add_default(serve, "--min-window", o.min_window, "S",
                "[s] the shortest life of a channel; at least 7800: it is settled 7200 before its end, and 600 "
                "are for paying")
        ->check(life);
    add_default(serve, "--max-window", o.max_window, "S", "[s] the longest; at least 7800 too")->check(life);
    add_default(serve, "--versions", o.versions, "V",
                "Protocol versions that new channels may have: 1 (2-of-2, the server signs the refund), 2 "
                "(CHECKLOCKTIMEVERIFY);\nstored channels go on whatever their version");
    add(serve, "--ack-info", o.ack_info, "HEX",
        "Bytes for the client's application, sent with every ack; at most 32000, two hexadecimal digits each");
    add_default(
        serve, "--max-connections", o.max_connections, "N",
        "Connections at a time; the limit of open files (ulimit -n) may allow fewer, 64 of which are kept free. "
        "A stranger\nkeeps a place for a minute without a word")
        ->check(CLI::Range(1, 1'000'000));
    add_default(serve, "--max-per-address", o.max_per_address, "N",
                "Of those so many from one address (of IPv6: from the same first 64 bits); 0: no limit, for clients "
                "that come\nthrough a proxy, Tor or a shared address")
        ->check(CLI::Range(0, 1'000'000));
    add_default(serve, "--min-confirmations", o.min_confirmations, "N",
                "[blocks] that hold a channel's contract before payments are taken on it; 0: a mempool will do. Its "
                "client\nis told to come again")
        ->check(CLI::Range(0, 100));
    add(serve, "--max-unconfirmed", o.max_unconfirmed, "SAT",
        "[satoshi] paid on all contracts together that are in no block: what clients who double-spend them can take\n"
        "(default: no limit)")
        ->check(CLI::Range(std::int64_t{0}, paychan::max_money.value));
    add(serve, "--settle-after", o.settle_after, "N",
        "Settle a channel after its Nth payment since this start (the first payment, in the contract, does not "
        "count);\nits client is sent the settlement")
        ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1'000'000'000}));

    CLI::App& pay = add_command("pay", tool::run_pay, "Open a channel, or go on with a stored one, and pay",
                                "paychan pay --connect 127.0.0.1:4242 --store sqlite:client.db --chain "
                                "rpc:http://user:pass@127.0.0.1:18443 --network regtest --seed client.seed\n"
                                "      --channel 1000000 --payments 1000 --amount 10 --settle");
    add_required(pay, "--connect", o.connect, "HOST:PORT", "The server");
    add_required(pay, "--channel", o.channel, "SAT", "[satoshi] what to lock in the channel")->check(money);
    add_required(pay, "--payments", o.payments, "N", "How many payments to make")
        ->check(CLI::Range(std::uint64_t{0}, std::uint64_t{1'000'000'000}));
    add_required(pay, "--amount", o.amount, "SAT", "[satoshi] each")->check(money);
    add_default(pay, "--max-first-payment", o.max_first_payment, "SAT",
                "[satoshi] the most that opening the channel may cost")
        ->check(money);
    add_default(pay, "--window", o.window, "S", "[s] how long the channel shall live")
        ->check(CLI::Range(600, 31'536'000));
    add_default(
        pay, "--version", o.version, "V",
        "Protocol version of a new channel: 2, 1, or 2or1, which asks for 2 and takes 1 from a server that has no "
        "2;\na stored channel of another version does not go on")
        ->check(versions);
    add(pay, "--info", o.info, "HEX",
        "Bytes for the server's application, sent with each payment; at most 32000, two hexadecimal digits each");
    pay.add_flag("--settle", o.settle, "Ask the server to settle in the end");
    pay.add_flag("--new", o.new_channel,
                 "Open another channel even if the store holds one with this server that can go on");
    pay.add_flag("--legacy", o.legacy,
                 "Fund from P2PKH coins, for servers that cannot read SegWit (bitcoinj before 0.15).  Does not take\n"
                 "version 1 unless --version 1 asks for it: its refund would be void if somebody changed the txid");
    add(pay, "--export-folder", o.export_folder, "DIR",
        "Write a file for the channel, before its contract leaves: with it and the seed a lost store is no loss")
        ->check(not_empty);

    CLI::App& watch = add_command(
        "watch", tool::run_watch, "Settle and refund what is due, with nobody connected, until Ctrl-C",
        "paychan watch --store sqlite:client.db --chain rpc:... --network regtest --seed client.seed", true);
    watch.add_flag("--until-idle", o.until_idle, "End when no channel is left whose end is in no block");

    CLI::App& export_ =
        add_command("export", tool::run_export, "Write a file for each channel, enough for its money with the seed",
                    "paychan export --store sqlite:client.db --network regtest --all --to backup");
    add_store(export_, o);
    add_network(export_, o);
    add_json(export_, o);
    add(export_, "--channel", o.channels, "TXID", "One channel, by its contract's txid; may be given several times");
    export_.add_flag("--all", o.all, "All channels of the store");
    add_required(export_, "--to", o.to, "DIR", "The folder")->check(not_empty);

    CLI::App& import_ =
        add_command("import", tool::run_import,
                    "Put exported channels into a store; of one that is there it takes a better payment only",
                    "paychan import --store sqlite:client.db --network regtest --seed client.seed backup/*.channel");
    add_store(import_, o);
    add_network(import_, o);
    add_seed(import_, o);
    add_json(import_, o);
    import_.add_option("FILE", o.files, "Export files")->required();

    CLI::App& settle =
        add_command("settle", tool::run_settle, "Server: settle what is due, say when the rest will be",
                    "paychan settle --store sqlite:server.db --chain rpc:... --network regtest --seed server.seed");
    settle.add_flag("--all", o.all,
                    "Settle every channel now, due or not; what was refused before, again with the fee of the day");

    CLI::App& refund =
        add_command("refund", tool::run_refund, "Client: take back what is due, say when the rest will be",
                    "paychan refund --store sqlite:client.db --chain rpc:... --network regtest --seed client.seed");
    refund.add_flag("--early", o.early, "Broadcast refunds whose lock time has not come: nodes refuse them");

    CLI::App& abandon = add_command(
        "abandon", tool::run_abandon,
        "Client: give up a channel whose contract is in no block: one that never opened, or whose contract the node\n"
        "refuses.  Its coins are sent back to the seed's wallet, at a fee, and the channel is forgotten when that is\n"
        "buried.  `refund` and `watch` do so by themselves after the expiry",
        "paychan abandon --store sqlite:client.db --chain rpc:... --network regtest --seed client.seed TXID");
    abandon.add_option("CHANNEL", o.channels, "The contract's txid, as `paychan channels` tells it")->required();

    CLI::App& address =
        add_command("address", tool::run_address, "Where to send coins for the seed; makes the seed if there is none",
                    "paychan address --seed client.seed --network regtest");
    add_seed(address, o);
    add_network(address, o);
    address.add_flag("--legacy", o.legacy, "P2PKH in place of P2WPKH");
    add_default(address, "--index", o.address_index, "I", "Which of the seed's addresses")->check(CLI::Range(0, 19));
    add_json(address, o);

    CLI::App& sweep = add_command(
        "sweep", tool::run_sweep, "Send all coins that no channel needs to an address",
        "paychan sweep --store sqlite:server.db --chain rpc:... --network regtest --seed server.seed --to bcrt1...");
    add_required(sweep, "--to", o.to, "ADDRESS", "The address, of your own or of anybody");

    CLI::App& balance =
        add_command("balance", tool::run_balance, "The seed's coins",
                    "paychan balance --store sqlite:client.db --chain rpc:... --network regtest --seed client.seed");
    CLI::App& channels = add_command("channels", tool::run_channels, "What a store holds",
                                     "paychan channels --store sqlite:server.db --json");
    add_store(channels, o);
    add_json(channels, o);

    for (CLI::App* const command : {&serve, &pay, &watch, &settle, &refund, &abandon, &sweep, &balance}) {
        add_store(*command, o);
        add_chain(*command, o);
        add_network(*command, o);
        add_seed(*command, o);
        add_json(*command, o);
    }

    const auto end = [](std::string_view text, int exit_status) {
        std::cerr << "paychan: " << text << '\n';
        return exit_status;
    };
    try {
        app.parse(argc, argv);
        return status;
    } catch (const CLI::ParseError& e) {
        if (e.get_exit_code() == 0) return app.exit(e) == 0 && std::cout.flush() ? 0 : tool::exit_failed;  // --help
        const auto chosen = app.get_subcommands();
        return end(words_of(e, app, argc, argv) + "; see `paychan" +
                       (chosen.empty() ? "" : " " + chosen.front()->get_name()) + " --help`",
                   2);
    } catch (const tool::usage_error& e) {
        return end(e.text, 2);
    } catch (const tool::run_error& e) {
        return end(e.text, tool::exit_failed);
    } catch (const std::exception& e) {
        return end(e.what(), tool::exit_failed);
    }
}
