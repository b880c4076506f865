// paychan demo: both sides in one process, over TCP on this machine, on a chain in memory, with SQLite stores in a
// temporary folder.
#include <unistd.h>

#include <filesystem>

#include "paychan/asio/loop.hpp"
#include "paychan/asio/tcp_client.hpp"
#include "paychan/asio/tcp_server.hpp"
#include "paychan/keeper/payee.hpp"
#include "paychan/memory/chain.hpp"
#include "paychan/memory/chain_follower.hpp"
#include "paychan/memory/clock.hpp"
#include "paychan/memory/keys.hpp"
#include "paychan/memory/seed.hpp"
#include "paychan/memory/wallet.hpp"
#include "paychan/protobuf/codec.hpp"
#include "paychan/sqlite/store.hpp"
#include "report.hpp"
#include "versions.hpp"

namespace tool {

namespace {

template <class T>
T need(result<T> r) {
    if (!r) throw run_error{"the demo cannot go on: " + std::string(r.error().text)};
    return *std::move(r);
}

/// A folder that goes when the demo ends.
struct temporary_folder {
    std::filesystem::path path = std::filesystem::temp_directory_path();

    temporary_folder() {
        std::string name = (path / "paychan-demo-XXXXXX").string();
        if (mkdtemp(name.data()) == nullptr) throw run_error{"cannot make a temporary folder in " + path.string()};
        path = name;
    }
    ~temporary_folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path, ignored);
    }
    temporary_folder(const temporary_folder&) = delete;
    temporary_folder& operator=(const temporary_folder&) = delete;
};

/// What each side of the demo owns.
struct side {
    sqlite_store store;
    seed_bytes seed;
    seed_keys<sqlite_store> keys = need(seed_keys<sqlite_store>::open(seed.reveal(), network::regtest, store));
    seed_wallet wallet = need(
        seed_wallet::open(seed.reveal(), network::regtest, funding_style::segwit, [this] { return keys.count(); }));
    chain_follower chain;

    side(const std::filesystem::path& file, memory_chain& on)
        : store(file.string()), seed(need(create_seed(file.string() + ".seed"))), chain(on) {
        if (!store.status()) throw run_error{store.last_error()};
    }

    [[nodiscard]] satoshi money() const {
        const auto b = wallet.balance();
        return {b.confirmed.value + b.reserved.value + b.immature.value};
    }
};

struct demo_events {
    report& out;
    void on_event(const event& e) {
        if (out.as_json() || e.kind == event_kind::error) report_event(out, e);
    }
};

}  // namespace

int run_demo(const options& o, report& out) {
    const std::int64_t first_payment = server_settings{}.min_payment.value;
    if (static_cast<std::uint64_t>(o.channel - first_payment) / static_cast<std::uint64_t>(o.amount) < o.payments)
        throw usage_error{"these payments are more than the channel holds after its first payment of " +
                          text_of(satoshi{first_payment}) + ": lower --payments or --amount, or raise --channel"};
    const temporary_folder folder;
    asio::loop loop({});
    boost::asio::io_context& io = loop.io();
    memory_chain chain;
    wall_clock clock;
    chain.set_time(clock.now());
    side client_side(folder.path / "client.db", chain), server_side(folder.path / "server.db", chain);

    out.say("a chain in memory, the client's and the server's stores in " + folder.path.string());
    const auto coins_to =
        need(script_of_address(need(client_side.wallet.address(0, funding_style::segwit)).view(), network::regtest));
    const auto elsewhere = p2wpkh_script(bytes20{});
    chain.mine(1, coins_to.view());
    chain.mine(100, elsewhere.view());  // a coinbase is spendable after 100 blocks
    while (client_side.chain.deliver(client_side.wallet) > 0) continue;
    const satoshi before = client_side.money();
    out.say("the client has " + text_of(before));

    demo_events client_events{out}, server_events{out};
    payee kept(schemes{}, server_side.store, server_side.keys, server_side.wallet, server_side.chain, clock,
               server_events);
    if (const auto opened = kept.open(network::regtest); !opened) throw run_error{server_side.store.last_error()};
    asio::tcp_server server(io.get_executor(), {boost::asio::ip::address_v4::loopback(), 0}, schemes{}, clock,
                            server_side.keys, server_side.store, server_side.wallet, server_side.chain, kept, {},
                            asio::use_codec<protobuf_codec>{});
    kept.join(server);
    asio::tcp_client_settings asking;
    asking.channel.versions = versions_to_ask(o.version, false);
    asio::tcp_client payer(io.get_executor(), schemes{}, clock, client_side.keys, client_side.store, client_side.wallet,
                           client_side.chain, client_events, asking, asio::use_codec<protobuf_codec>{});
    out.say("the server listens on 127.0.0.1:" + std::to_string(server.port()));

    const auto run_until = [&](const auto& done) {
        const auto turn = [&] {
            (void)client_side.chain.deliver(client_side.wallet);
            (void)server_side.chain.deliver(kept, server);
            (void)kept.turn();
            return done();
        };
        if (!loop.run_until(turn, std::chrono::minutes(2)))
            throw run_error{"the demo got no answer within two minutes"};
    };
    const auto wait = [&]<class T>(std::type_identity<T>, const auto& start) {
        return need(*asio::loop::wait_for<T>(start, run_until));
    };

    const auto began = std::chrono::steady_clock::now();
    const channel_record opened = wait(std::type_identity<channel_record>{}, [&](auto done) {
        payer.async_open("127.0.0.1", std::to_string(server.port()), satoshi{o.channel}, {}, std::move(done));
    });
    const std::string contract = text_of(opened.terms.contract.id);
    out.say("opened a channel of " + text_of(opened.terms.value) + " with contract " + contract + " (version " +
            std::to_string(opened.protocol) + ", first payment " + text_of(opened.paid()) + ")");

    const auto first = std::chrono::steady_clock::now();
    for (std::uint64_t i = 0; i < o.payments; ++i) {
        (void)wait(std::type_identity<asio::receipt>{},
                   [&](auto done) { payer.async_pay(satoshi{o.amount}, std::move(done)); });
        out.progress("payment", i + 1, o.payments);
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - first;
    const satoshi paid = payer.record().paid();

    const asio::settlement settled =
        wait(std::type_identity<asio::settlement>{}, [&](auto done) { payer.async_settle(std::move(done)); });
    chain.mine(1, elsewhere.view());
    run_until(
        [&] { return client_side.wallet.height() == chain.height() && server_side.wallet.height() == chain.height(); });
    if (chain.confirmations(settled.id) != 1) throw run_error{"the settlement was not mined"};
    server.stop();
    io.restart();
    io.run_for(std::chrono::milliseconds(200));

    const std::chrono::duration<double> whole = std::chrono::steady_clock::now() - began;
    char rate[64];
    std::snprintf(rate, sizeof rate, "%.1f s, %.0f a second", took.count(),
                  took.count() > 0 ? static_cast<double>(o.payments) / took.count() : 0.0);
    out.event({{"event", "summary"},
               {"contract", contract},
               {"protocol", opened.protocol},
               {"payments", o.payments},
               {"paid", paid.value},
               {"settlement", text_of(settled.id)},
               {"hex", hex_of(settled.transaction)},
               {"client", client_side.money().value},
               {"server", server_side.money().value},
               {"seconds", whole.count()}},
              "\n  contract     " + contract + "\n  payments     " + std::to_string(o.payments) +
                  " acked, each on both disks before it counted (" + rate + ")\n  paid         " + text_of(paid) +
                  "\n  settlement   " + text_of(settled.id) + ", mined\n  client       " + text_of(before) + " -> " +
                  text_of(client_side.money()) + "\n  server       " + text_of(satoshi{0}) + " -> " +
                  text_of(server_side.money()) +
                  " (after the settlement's fee)\n\nNext: paychan address --seed client.seed --network regtest, then "
                  "paychan serve --help and paychan pay --help");
    return exit_done;
}

}  // namespace tool
