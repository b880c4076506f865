// paychan: open, pay, settle and refund Bitcoin micropayment channels.  The turnkey level of the library, and the
// reference composition.
#include <CLI/CLI.hpp>
#include <csignal>
#include <iostream>

#include "options.hpp"

namespace {

using tool::options;

void add_json(CLI::App& command, options& o) {
    command.add_flag("--json", o.json, "One JSON object a line on standard output");
}

void add_network(CLI::App& command, options& o) {
    command.add_option("--network", o.network, "mainnet, testnet, signet or regtest")
        ->required()
        ->check(CLI::IsMember({"mainnet", "testnet", "signet", "regtest"}));
}

void add_seed(CLI::App& command, options& o) {
    command.add_option("--seed", o.seed, "File with the seed of all keys (make it with `paychan address`)")
        ->required()
        ->type_name("FILE");
}

void add_store(CLI::App& command, options& o) {
    command
        .add_option("--store", o.store,
                    "Where channels are kept: sqlite:FILE, file:FOLDER (one process at a time), or postgres:CONNECTION "
                    "(a\ndatabase that several may share; as libpq takes it: host=... dbname=..., or //HOST/DATABASE)")
        ->required()
        ->type_name("STORE");
}

void add_chain(CLI::App& command, options& o) {
    command
        .add_option(
            "--chain", o.chain,
            "A Bitcoin node: rpc:http://USER:PASS@HOST:PORT (or rpc:http://HOST:PORT?cookie=FILE); or print: to print\n"
            "transactions for you to broadcast by other means, taken as broadcast")
        ->required()
        ->type_name("CHAIN");
    command
        .add_option("--birthday", o.birthday,
                    "Height of the first block that can hold coins of the seed; kept in the store")
        ->type_name("HEIGHT");
    command.add_flag(
        "--rescan", o.rescan,
        "Read all blocks from the birthday on again, in place of those that are new since the last command");
    command.add_option("--fee-rate", o.fee_rate, "[sat/kvB] in place of the node's estimate")
        ->check(CLI::Range(1'000, 1'000'000))
        ->type_name("RATE");
    command
        .add_option("--patience", o.patience,
                    "[s] for which a node that does not answer is asked again; `serve` and `watch` never give up")
        ->check(CLI::Range(1, 86'400))
        ->capture_default_str()
        ->type_name("S");
    command.add_option("--poll", o.poll, "[ms] between looks at the node")
        ->check(CLI::Range(50, 60'000))
        ->capture_default_str()
        ->type_name("MS");
}

void add_version(CLI::App& command, options& o, const char* text) {
    command.add_option("--version", o.version, text)
        ->capture_default_str()
        ->check(CLI::IsMember({"1", "2", "2or1"}))
        ->type_name("V");
}

CLI::App* add_command(CLI::App& app, const char* name, const char* text, const char* example) {
    CLI::App* const command = app.add_subcommand(name, text);
    command->footer(std::string("Example:\n  ") + example);
    return command;
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

}  // namespace

int main(int argc, char** argv) {
    std::signal(SIGPIPE, SIG_IGN);  // who reads our lines may go away: the server must not
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
    const CLI::Validator not_empty(
        [](std::string& text) { return text.empty() ? std::string("the name is empty") : std::string(); }, "");
    const CLI::Range money(std::int64_t{1}, std::int64_t{2'100'000'000'000'000});

    CLI::App* const demo =
        add_command(app, "demo", "Both sides in this process, on a chain in memory: open, pay, settle",
                    "paychan demo --payments 1000 --amount 10");
    demo->add_option("--payments", o.payments, "How many")->default_val(1000)->check(CLI::Range(1, 10'000'000));
    demo->add_option("--amount", o.amount, "[satoshi] each")->default_val(10)->check(money);
    demo->add_option("--channel", o.channel, "[satoshi] the channel's value")
        ->capture_default_str()
        ->check(
            CLI::Range(std::int64_t{100'000}, std::int64_t{4'900'000'000}));  // the server's least, the client's coin
    add_version(*demo, o, "Protocol version of the channel; 2or1 makes it 2, for both sides speak that");
    add_json(*demo, o);

    CLI::App* const serve = add_command(app, "serve", "Take payments",
                                        "paychan serve --listen 127.0.0.1:4242 --store sqlite:server.db --chain "
                                        "rpc:http://user:pass@127.0.0.1:18443 --network regtest --seed server.seed");
    serve->add_option("--listen", o.listen, "Address and port to listen on; port 0 takes a free one")
        ->required()
        ->type_name("HOST:PORT");
    serve->add_option("--min-channel", o.min_channel, "[satoshi] the smallest contract")
        ->capture_default_str()
        ->check(money)
        ->type_name("SAT");
    serve
        ->add_option(
            "--min-payment", o.min_payment,
            "[satoshi] the first payment of each channel; who refuses it because it wants to pay more (releases\n"
            "of bitcoinj do), up to 10000, is asked for that when it comes again")
        ->capture_default_str()
        ->check(money)
        ->type_name("SAT");
    serve
        ->add_option("--min-window", o.min_window,
                     "[s] the shortest life of a channel; at least 7800: it is settled 7200 before its end, and 600 "
                     "are for paying")
        ->capture_default_str()
        ->check(CLI::Range(7'800, 31'536'000))
        ->type_name("S");
    serve->add_option("--max-window", o.max_window, "[s] the longest; at least 7800 too")
        ->capture_default_str()
        ->check(CLI::Range(7'800, 31'536'000))
        ->type_name("S");

    serve
        ->add_option("--versions", o.versions,
                     "Protocol versions that new channels may have: 1 (2-of-2, the server signs the refund), 2 "
                     "(CHECKLOCKTIMEVERIFY);\nstored channels go on whatever their version")
        ->capture_default_str()
        ->type_name("V");
    serve
        ->add_option(
            "--ack-info", o.ack_info,
            "Bytes for the client's application, sent with every ack; at most 32000, two hexadecimal digits each")
        ->type_name("HEX");
    serve
        ->add_option(
            "--settle-after", o.settle_after,
            "Settle a channel after its Nth payment since this start (the first payment, in the contract, does not "
            "count);\nits client is sent the settlement")
        ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1'000'000'000}))
        ->type_name("N");

    CLI::App* const pay = add_command(app, "pay", "Open a channel, or go on with a stored one, and pay",
                                      "paychan pay --connect 127.0.0.1:4242 --store sqlite:client.db --chain "
                                      "rpc:http://user:pass@127.0.0.1:18443 --network regtest --seed client.seed\n"
                                      "      --channel 1000000 --payments 1000 --amount 10 --settle");
    pay->add_option("--connect", o.connect, "The server")->required()->type_name("HOST:PORT");
    pay->add_option("--channel", o.channel, "[satoshi] what to lock in the channel")
        ->required()
        ->check(money)
        ->type_name("SAT");
    pay->add_option("--payments", o.payments, "How many payments to make")
        ->required()
        ->check(CLI::Range(std::uint64_t{0}, std::uint64_t{1'000'000'000}))
        ->type_name("N");
    pay->add_option("--amount", o.amount, "[satoshi] each")->required()->check(money)->type_name("SAT");
    pay->add_option("--max-first-payment", o.max_first_payment, "[satoshi] the most that opening the channel may cost")
        ->capture_default_str()
        ->check(money)
        ->type_name("SAT");
    pay->add_option("--window", o.window, "[s] how long the channel shall live")
        ->capture_default_str()
        ->check(CLI::Range(600, 31'536'000))
        ->type_name("S");
    add_version(
        *pay, o,
        "Protocol version of a new channel: 2, 1, or 2or1, which asks for 2 and takes 1 from a server that has no "
        "2;\na stored channel of another version does not go on");
    pay->add_option(
           "--info", o.info,
           "Bytes for the server's application, sent with each payment; at most 32000, two hexadecimal digits each")
        ->type_name("HEX");
    pay->add_flag("--settle", o.settle, "Ask the server to settle in the end");
    pay->add_flag("--new", o.new_channel,
                  "Open another channel even if the store holds one with this server that can go on");
    pay->add_flag("--legacy", o.legacy,
                  "Fund from P2PKH coins, for servers that cannot read SegWit (bitcoinj before 0.15).  Does not take\n"
                  "version 1 unless --version 1 asks for it: its refund would be void if somebody changed the txid");

    pay->add_option(
           "--export-folder", o.export_folder,
           "Write a file for the channel, before its contract leaves: with it and the seed a lost store is no loss")
        ->check(not_empty)
        ->type_name("DIR");

    CLI::App* const watch =
        add_command(app, "watch", "Settle and refund what is due, with nobody connected, until Ctrl-C",
                    "paychan watch --store sqlite:client.db --chain rpc:... --network regtest --seed client.seed");
    watch->add_flag("--until-idle", o.until_idle, "End when no channel is left whose end is in no block");

    CLI::App* const export_ =
        add_command(app, "export", "Write a file for each channel, enough for its money with the seed",
                    "paychan export --store sqlite:client.db --network regtest --all --to backup");
    add_store(*export_, o);
    add_network(*export_, o);
    add_json(*export_, o);
    export_->add_option("--channel", o.channels, "One channel, by its contract's txid; may be given several times")
        ->type_name("TXID");
    export_->add_flag("--all", o.all, "All channels of the store");
    export_->add_option("--to", o.to, "The folder")->required()->check(not_empty)->type_name("DIR");

    CLI::App* const import = add_command(
        app, "import", "Put exported channels into a store; of one that is there it takes a better payment only",
        "paychan import --store sqlite:client.db --network regtest --seed client.seed backup/*.channel");
    add_store(*import, o);
    add_network(*import, o);
    add_seed(*import, o);
    add_json(*import, o);
    import->add_option("FILE", o.files, "Export files")->required();

    CLI::App* const settle =
        add_command(app, "settle", "Server: settle what is due, say when the rest will be",
                    "paychan settle --store sqlite:server.db --chain rpc:... --network regtest --seed server.seed");
    settle->add_flag("--all", o.all,
                     "Settle every channel now, due or not; what was refused before, again with the fee of the day");

    CLI::App* const refund =
        add_command(app, "refund", "Client: take back what is due, say when the rest will be",
                    "paychan refund --store sqlite:client.db --chain rpc:... --network regtest --seed client.seed");
    refund->add_flag("--early", o.early, "Broadcast refunds whose lock time has not come: nodes refuse them");

    CLI::App* const address =
        add_command(app, "address", "Where to send coins for the seed; makes the seed if there is none",
                    "paychan address --seed client.seed --network regtest");
    add_seed(*address, o);
    add_network(*address, o);
    address->add_flag("--legacy", o.legacy, "P2PKH in place of P2WPKH");
    address->add_option("--index", o.address_index, "Which of the seed's addresses")
        ->capture_default_str()
        ->check(CLI::Range(0, 19))
        ->type_name("I");
    add_json(*address, o);

    CLI::App* const sweep = add_command(
        app, "sweep", "Send all coins that no channel needs to an address",
        "paychan sweep --store sqlite:server.db --chain rpc:... --network regtest --seed server.seed --to bcrt1...");
    sweep->add_option("--to", o.to, "The address, of your own or of anybody")->required()->type_name("ADDRESS");

    CLI::App* const balance =
        add_command(app, "balance", "The seed's coins",
                    "paychan balance --store sqlite:client.db --chain rpc:... --network regtest --seed client.seed");
    CLI::App* const channels =
        add_command(app, "channels", "What a store holds", "paychan channels --store sqlite:server.db --json");
    add_store(*channels, o);
    add_json(*channels, o);

    for (CLI::App* const command : {serve, pay, watch, settle, refund, sweep, balance}) {
        add_store(*command, o);
        add_chain(*command, o);
        add_network(*command, o);
        add_seed(*command, o);
        add_json(*command, o);
    }

    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        if (e.get_exit_code() == 0) return app.exit(e);  // --help
        std::cerr << "paychan: " << words_of(e, app, argc, argv) << "; see `paychan"
                  << (app.get_subcommands().empty() ? "" : " " + app.get_subcommands().front()->get_name())
                  << " --help`\n";
        return 2;
    }
    try {
        if (demo->parsed()) return tool::run_demo(o);
        if (serve->parsed()) return tool::run_serve(o);
        if (pay->parsed()) return tool::run_pay(o);
        if (watch->parsed()) return tool::run_watch(o);
        if (export_->parsed()) return tool::run_export(o);
        if (import->parsed()) return tool::run_import(o);
        if (settle->parsed()) return tool::run_settle(o);
        if (refund->parsed()) return tool::run_refund(o);
        if (address->parsed()) return tool::run_address(o);
        if (balance->parsed()) return tool::run_balance(o);
        if (sweep->parsed()) return tool::run_sweep(o);
        return tool::run_channels(o);
    } catch (const tool::usage_error& e) {
        std::cerr << "paychan: " << e.text << '\n';
        return 2;
    } catch (const tool::run_error& e) {
        std::cerr << "paychan: " << e.text << '\n';
        return tool::exit_failed;
    } catch (const std::exception& e) {
        std::cerr << "paychan: " << e.what() << '\n';
        return tool::exit_failed;
    }
}
