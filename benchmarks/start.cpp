// What a start costs with many channels in one SQLite store: benchmark_start [--channels N] [--store FILE] [--seconds S]
//     --channels  1,000,000 unless said otherwise
//     --store     is made, or used again if it is there; else one in a temporary folder, which goes
//     --seconds   [s] below 1: a short run, with 2,000 channels
// A server with a few hundred payments' worth of life, killed and started: how long until it acks a payment on a stored
// channel, until all channels are read, what they take on the heap, and what a tick with nothing due costs.  Beside it, in
// the same run, the same records read by their names, as it was done before there were scans.
#include <malloc.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "paychan/client.hpp"
#include "paychan/keeper/payee.hpp"
#include "paychan/memory/chain_follower.hpp"
#include "paychan/memory/clock.hpp"
#include "paychan/memory/keys.hpp"
#include "paychan/memory/pipe.hpp"
#include "paychan/memory/store.hpp"
#include "paychan/memory/wallet.hpp"
#include "paychan/sqlite/store.hpp"
#include "paychan/wire/codec.hpp"

namespace {

using namespace paychan;
using schemes = contracts<cltv_p2sh, multisig_refund>;
using steady = std::chrono::steady_clock;

[[noreturn]] void stop(const std::string& what) {
    std::fprintf(stderr, "benchmark_start: %s\n", what.c_str());
    std::exit(1);
}

template <class T>
T must(result<T> r) {
    if (!r) stop(std::string(r.error().text));
    return std::move(*r);
}
void must(const result<void>& r, const sqlite_store& store) {
    if (!r) stop(std::string(r.error().text) + ": " + store.last_error());
}

double since(steady::time_point start) { return std::chrono::duration<double>(steady::now() - start).count(); }

const bytes32 client_seed{1}, server_seed{2};

/// The client, its store and the chain: they live on while the server is started again.
struct outside {
    memory_chain chain;
    manual_clock clock{chain.now()};
    memory_store store;
    memory_keys keys = memory_keys::testing_from(1);
    seed_wallet wallet = must(seed_wallet::open(client_seed, network::regtest));
    chain_follower network{chain};
    memory_pipe pipe;
    wire::small_codec codec;
    ignore_events events;
    using driver = client<schemes, memory_pipe::end, manual_clock, memory_keys, memory_store, seed_wallet,
                          chain_follower, wire::small_codec, ignore_events>;
    driver payer{schemes{}, pipe.first, clock, keys, store, wallet, network, codec, events};

    outside() {
        const auto address = must(wallet.address(0, funding_style::segwit));
        chain.mine(1, must(script_of_address(address.view(), network::regtest)).view());
        chain.mine(100, p2wpkh_script(bytes20{}).view());
        while (network.deliver(wallet, payer) > 0) continue;
    }
};

struct server_side {
    explicit server_side(outside& o, const std::string& path)
        : store(path),
          keys(must(seed_keys<sqlite_store>::open(server_seed, network::regtest, store))),
          wallet(must(seed_wallet::open(server_seed, network::regtest, funding_style::segwit,
                                        [this] { return keys.count(); }))),
          chain(o.chain),
          side(schemes{}, store, keys, wallet, chain, o.clock, app),
          driver(schemes{}, o.pipe.second, o.clock, keys, store, wallet, chain, codec, side) {
        must(store.status(), store);
        must(side.open(network::regtest), store);
    }
    sqlite_store store;
    seed_keys<sqlite_store> keys;
    seed_wallet wallet;
    chain_follower chain;
    ignore_events app;
    payee<schemes, sqlite_store, seed_keys<sqlite_store>, seed_wallet, chain_follower, manual_clock, ignore_events>
        side;
    wire::small_codec codec;
    server<schemes, memory_pipe::end, manual_clock, seed_keys<sqlite_store>, sqlite_store, seed_wallet, chain_follower,
           wire::small_codec, decltype(side)>
        driver;
};

/// Frames and chain events, until nothing moves any more.  Blocks are read when the records have been.
void run(outside& o, server_side& s) {
    while (pump(o.pipe, o.payer, s.driver) + o.network.deliver(o.wallet, o.payer) + s.chain.deliver(s.driver, s.side) >
           0)
        continue;
}

/// One channel, paid on, mined and seen by the server; all others are copies of it under other names.
txid make(outside& o, const std::string& path, std::uint32_t channels) {
    txid real;
    {
        server_side s(o, path);
        while (s.side.turn()) continue;
        if (!o.payer.connect(satoshi{10'000'000})) stop("no channel");
        run(o, s);
        real = o.payer.record().terms.contract.id;
        o.chain.mine(1, p2wpkh_script(bytes20{}).view());
        run(o, s);
        o.clock.advance(1);
        (void)s.side.turn();
        must(s.side.save(), s.store);
        o.pipe.cut();
        run(o, s);
        o.pipe.reconnect();
    }
    sqlite_store store(path);
    must(store.status(), store);
    std::vector<std::uint8_t> contract(10'000), watch(64);
    auto record = must(load_record(store, record_kind::server_channel, real));
    const auto contract_bytes = must(store.get({record_kind::server_contract, real}, contract)).bytes;
    const auto watch_bytes = must(store.get({record_kind::server_watch, real}, watch)).bytes;
    record.version = 1;
    std::vector<record_buffer> written;
    std::vector<put_request> batch;
    constexpr std::uint32_t at_once = 5'000;
    for (std::uint32_t done = 1; done < channels; done += at_once) {
        const std::uint32_t count = std::min(at_once, channels - done);
        written.clear();
        batch.clear();
        written.reserve(count);
        for (std::uint32_t i = 0; i < count; ++i) {
            const std::uint32_t n = done + i;
            const std::array<std::uint8_t, 4> number{static_cast<std::uint8_t>(n >> 24),
                                                     static_cast<std::uint8_t>(n >> 16),
                                                     static_cast<std::uint8_t>(n >> 8), static_cast<std::uint8_t>(n)};
            const txid id{sha256(number)};
            record.terms.contract.id = id;
            written.push_back(write_record(record));
            batch.push_back({{record_kind::server_contract, id}, 1, contract_bytes});
            batch.push_back({{record_kind::server_channel, id}, 1, written.back().view()});
            batch.push_back({{record_kind::server_watch, id}, 1, watch_bytes});
        }
        must(store.put_many(batch), store);
        std::printf("\rmade %u of %u channels", done + count, channels);
        std::fflush(stdout);
    }
    std::printf("\r%60s\r", "");
    return real;
}

}  // namespace

int main(int argc, char** argv) {
    std::uint32_t channels = 1'000'000;
    std::string path;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (std::strcmp(argv[i], "--channels") == 0)
            channels = static_cast<std::uint32_t>(std::atoi(argv[i + 1]));
        else if (std::strcmp(argv[i], "--store") == 0)
            path = argv[i + 1];
        else if (std::strcmp(argv[i], "--seconds") == 0)
            channels = std::atof(argv[i + 1]) < 1 ? 2'000 : channels;
        else
            stop("usage: benchmark_start [--channels N] [--store FILE] [--seconds S]");
    }
    if (argc % 2 == 0 || channels == 0) stop("usage: benchmark_start [--channels N] [--store FILE] [--seconds S]");
    const auto folder = std::filesystem::temp_directory_path() / ("paychan_start_" + std::to_string(::getpid()));
    if (path.empty()) {
        std::filesystem::create_directory(folder);
        path = (folder / "server.db").string();
    }
    std::printf("compiler %s, flags %s, commit %s\n%u channels in %s\n\n", PAYCHAN_BENCHMARK_COMPILER,
                PAYCHAN_BENCHMARK_FLAGS, PAYCHAN_BENCHMARK_COMMIT, channels, path.c_str());

    outside o;
    const auto making = steady::now();
    const txid real = make(o, path, channels);
    std::printf("%-52s %10.1f s\n", "made in", since(making));

    const std::size_t before = mallinfo2().uordblks;
    const auto start = steady::now();
    server_side s(o, path);
    int acked = 0;
    const payment_callback on_ack{
        [](void* count, const result<payment_receipt>& paid) { *static_cast<int*>(count) += paid.has_value(); },
        &acked};
    if (!o.payer.load(real) || !o.payer.connect(satoshi{0})) stop("the channel does not go on");
    double first_ack = 0, all_read = 0;
    int acked_while_reading = 0;
    while (all_read == 0 || first_ack == 0) {
        // One frame or one part of the records at a time, as a loop serves them.
        const std::size_t moved = pump(o.pipe, o.payer, s.driver) + s.chain.deliver(s.driver, s.side);
        if (moved == 0 && o.payer.phase() == client_phase::open && !o.payer.payment_in_flight() &&
            !o.payer.pay(satoshi{10}, on_ack))
            stop("a payment failed");
        if (acked > 0 && first_ack == 0) first_ack = since(start);
        if (all_read == 0 && !s.side.turn() && s.side.keep().loaded()) {
            all_read = since(start);
            acked_while_reading = acked;
        }
    }
    const std::size_t after = mallinfo2().uordblks;
    if (s.side.monitor().size() != channels) stop("not all channels were read");

    while (s.chain.deliver(s.driver, s.side) > 0) continue;
    constexpr int ticks = 1'000;
    s.side.monitor().tick(o.clock.now());
    const auto ticking = steady::now();
    for (int i = 0; i < ticks; ++i) s.side.monitor().tick(o.clock.now());
    const double tick = since(ticking) / ticks;

    // By name, for as long as all took by scan: as much as that would take.
    std::vector<txid> names;
    const auto naming = steady::now();
    must(s.store.list(record_kind::server_channel, [&](const record_id& id) { names.push_back(id.channel); }), s.store);
    const double listed = since(naming);
    const auto reading = steady::now();
    std::size_t read = 0;
    for (; read < names.size() && (read % 100 != 0 || since(reading) < std::max(all_read, 0.01)); ++read)
        if (!load_record(s.store, record_kind::server_channel, names[read])) stop("a record cannot be read");
    const double by_name = listed + since(reading) / static_cast<double>(read) * static_cast<double>(names.size());

    const double per_channel = static_cast<double>(after - before) / channels;
    std::printf("%-52s %10.3f s\n", "first payment acked after", first_ack);
    std::printf("%-52s %10.3f s   %d payments acked meanwhile\n", "all channels read after", all_read,
                acked_while_reading);
    std::printf("%-52s %10.3f s   x %.1f\n", "the same by name, keys parsed (from a part of them)", by_name,
                by_name / all_read);
    std::printf("%-52s %10.0f bytes\n", "heap a channel", per_channel);
    std::printf("%-52s %10.2f us\n", "a tick with nothing due", tick * 1e6);
    std::filesystem::remove_all(folder);
    return 0;
}
