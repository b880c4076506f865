// A server of your own: takes payments over TCP, keeps its channels in SQLite, follows a Bitcoin node, and brings the money
// home by itself, also after a crash.
//     build/paychan address --seed server.seed --network regtest                         makes the seed
//     build/example_04_own_server server.db server.seed rpc:http://user:pass@127.0.0.1:18443 4242
#include <boost/asio/signal_set.hpp>
#include <cstdio>

#include "paychan/asio/keep_turning.hpp"
#include "paychan/asio/tcp_server.hpp"
#include "paychan/bitcoind/backend.hpp"
#include "paychan/keeper/payee.hpp"
#include "paychan/memory/clock.hpp"
#include "paychan/memory/keys.hpp"
#include "paychan/memory/seed.hpp"
#include "paychan/memory/wallet.hpp"
#include "paychan/protobuf/codec.hpp"
#include "paychan/sqlite/store.hpp"

using namespace paychan;
using schemes = contracts<cltv_p2sh, multisig_refund>;
constexpr network where = network::regtest;

/// Your application: hears of everything, and has a say in each ack.
struct shop {
    void on_event(const event& e) {
        const auto name = display(e.channel);
        const auto say = [&](const char* what, long long n) { std::printf("%s %lld %.64s\n", what, n, name.data()); };
        if (e.kind == event_kind::opened) say("opened", e.total.value);
        if (e.kind == event_kind::settled) say("settled", e.total.value);
        if (e.kind == event_kind::error)
            std::printf("error: %.*s\n", int(e.problem.text.size()), e.problem.text.data());
        std::fflush(stdout);
    }
    payment_answer on_payment(const event& e) {
        return e.amount >= satoshi{10} ? payment_answer::ack() : payment_answer::refuse("10 satoshi at least, please");
    }
};

int fail_with(const char* what, std::string_view why) {
    return std::fprintf(stderr, "%s: %.*s\n", what, static_cast<int>(why.size()), why.data()), 1;
}

int main(int argc, char** argv) {
    if (argc != 5)
        return std::puts("usage: example_04_own_server STORE SEED rpc:http://USER:PASS@HOST:PORT PORT"), argc > 2;
    sqlite_store store(argv[1]);
    if (!store.status()) return fail_with("the store", store.last_error());
    const auto seed = load_seed(argv[2]);
    if (!seed) return fail_with("the seed", seed.error().text);
    const auto node = bitcoind::parse_node_address(argv[3]);
    if (!node) return fail_with("the node", node.error().text);
    auto keys = seed_keys<sqlite_store>::open(seed->reveal(), where, store);
    if (!keys) return fail_with("the key counter", keys.error().text);
    auto wallet = seed_wallet::open(seed->reveal(), where, funding_style::segwit, [&] { return keys->count(); });
    if (!wallet) return fail_with("the wallet", wallet.error().text);
    boost::asio::io_context io;
    wall_clock clock;
    shop app;
    bitcoind::backend_settings settings;
    settings.chain = "regtest";
    settings.walk.pass_pruned = true;  // a node that keeps recent blocks only will do
    const auto loopback = boost::asio::ip::address_v4::loopback();
    const auto port = static_cast<std::uint16_t>(std::atoi(argv[4]));
    // --8<-- server
    bitcoind::backend chain(io, *node, settings);
    payee side(schemes{}, store, *keys, *wallet, chain, clock, app);
    if (const auto opened = side.open(where); !opened) return fail_with("the store", opened.error().text);
    asio::tcp_server server(io.get_executor(), {loopback, port}, schemes{}, clock, *keys, store, *wallet, chain, side,
                            {}, asio::use_codec<protobuf_codec>{});
    side.join(server);
    chain.start(server, side);
    asio::keep_turning turning(io.get_executor(), side);
    // --8<-- server
    boost::asio::signal_set signals(io, SIGINT, SIGTERM);
    signals.async_wait([&](auto, int) { server.stop(), chain.stop(), turning.stop(); });
    std::printf("listening %d\n", server.port()), std::fflush(stdout);
    io.run();
    return side.save() ? 0 : fail_with("the store", store.last_error());
}
