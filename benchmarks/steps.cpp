// What each step costs beside the bare libsecp256k1 call under it, in the same run: benchmark_steps [--seconds S]
#include <secp256k1.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "paychan/bitcoin/script.hpp"
#include "paychan/bitcoin/sighash.hpp"
#include "paychan/bitcoin/transaction.hpp"
#include "paychan/client.hpp"
#include "paychan/core/writer.hpp"
#include "paychan/crypto/hash.hpp"
#include "paychan/crypto/keys.hpp"
#include "paychan/memory/chain_follower.hpp"
#include "paychan/memory/clock.hpp"
#include "paychan/memory/keys.hpp"
#include "paychan/memory/pipe.hpp"
#include "paychan/memory/store.hpp"
#include "paychan/memory/wallet.hpp"
#include "paychan/server.hpp"
#include "paychan/wire/codec.hpp"

namespace {

using namespace paychan;

double seconds_per_row = 0.5;

/// Keeps the compiler from leaving out what nobody looks at.
template <class T>
void keep(const T& value) {
    asm volatile("" : : "g"(&value) : "memory");
}

[[noreturn]] void stop(const char* what) {
    std::fprintf(stderr, "benchmark_steps: %s\n", what);
    std::exit(1);
}

/// Microseconds a call takes: the best of several slices, since whatever else the machine does only makes it slower.
template <class F>
double microseconds(F&& call) {
    using clock = std::chrono::steady_clock;
    constexpr int slices = 10;
    double best = 1e9;
    for (int slice = 0; slice < slices; ++slice) {
        const auto start = clock::now();
        double elapsed = 0;
        int calls = 0;
        do {
            for (int i = 0; i < 8; ++i) call();
            calls += 8;
            elapsed = std::chrono::duration<double>(clock::now() - start).count();
        } while (elapsed < seconds_per_row / slices);
        best = std::min(best, elapsed / calls * 1e6);
    }
    return best;
}

/// One row; `bare` is the time of the libsecp256k1 call that the step cannot do without, 0 for none.
void row(const char* name, double us, double bare) {
    std::printf("%-44s %10.2f %12.0f", name, us, 1e6 / us);
    if (bare > 0) std::printf(" %8.2f", us / bare);
    std::printf("\n");
}

template <class T>
T must(result<T> r) {
    if (!r) stop(std::string(r.error().text).c_str());
    return std::move(*r);
}

secret_key key_of(std::uint8_t last) {
    bytes32 bytes{};
    bytes[31] = last;
    return must(make_secret_key(bytes));
}

}  // namespace

int main(int argc, char** argv) {
    if (argc == 3 && std::strcmp(argv[1], "--seconds") == 0) seconds_per_row = std::atof(argv[2]);
    if (argc != 1 && !(argc == 3 && seconds_per_row > 0)) stop("usage: benchmark_steps [--seconds S], S per row");

    // A payment as the client signs it: one input, the change to P2PKH, a bare 2-of-2 as script code.
    const secret_key client_key = key_of(1);
    const public_key client = public_key_of(client_key);
    const public_key server = public_key_of(key_of(2));
    const script_buffer contract = multisig_2of2_script(client.view(), server.view());
    const script_buffer change = p2pkh_script(hash160(client.view()));
    std::array<std::uint8_t, 256> memory{};
    writer w(memory);
    const tx_input input{};
    const tx_output output{satoshi{900'000}, change.view()};
    write_transaction(w, 1, std::span(&input, 1), std::span(&output, 1), 0);
    if (!w.ok()) stop("the transaction does not fit");
    const transaction tx = must(parse_transaction(w.written()));
    constexpr std::uint8_t flag = sighash_single | sighash_anyonecanpay;

    const bytes32 digest = must(legacy_sighash(tx, 0, contract.view(), flag));
    const ecdsa_signature signature = must(sign_ecdsa(client_key, digest));
    if (!verify_ecdsa(client, digest, signature)) stop("the signature does not verify");

    // The same with nothing of paychan around it.
    secp256k1_context* const context = secp256k1_context_create(SECP256K1_CONTEXT_NONE);
    std::array<unsigned char, 32> secret{};
    secret[31] = 1;
    secp256k1_pubkey point{};
    secp256k1_ecdsa_signature bare_signature{};
    if (secp256k1_ec_pubkey_create(context, &point, secret.data()) != 1 ||
        secp256k1_ecdsa_sign(context, &bare_signature, digest.data(), secret.data(), nullptr, nullptr) != 1)
        stop("libsecp256k1 does not sign");

    std::printf("compiler %s, flags %s, commit %s\n\n", PAYCHAN_BENCHMARK_COMPILER, PAYCHAN_BENCHMARK_FLAGS,
                PAYCHAN_BENCHMARK_COMMIT);
    std::printf("%-44s %10s %12s %8s\n", "", "us", "per second", "x bare");

    const double sign = microseconds([&] {
        keep(secp256k1_ecdsa_sign(context, &bare_signature, digest.data(), secret.data(), nullptr, nullptr));
        keep(bare_signature);
    });
    const double verify =
        microseconds([&] { keep(secp256k1_ecdsa_verify(context, &bare_signature, digest.data(), &point)); });
    row("secp256k1_ecdsa_sign, bare", sign, sign);
    row("secp256k1_ecdsa_verify, bare", verify, verify);

    row("hash256 of 80 bytes", microseconds([&] { keep(hash256(bytes_view(memory).first(80))); }), 0);
    row("parse a payment's transaction", microseconds([&] { keep(parse_transaction(w.written())); }), 0);
    row("legacy_sighash of a payment", microseconds([&] { keep(legacy_sighash(tx, 0, contract.view(), flag)); }), 0);
    row("sign_ecdsa", microseconds([&] { keep(sign_ecdsa(client_key, digest)); }), sign);
    row("verify_ecdsa", microseconds([&] { keep(verify_ecdsa(client, digest, signature)); }), verify);
    row("sighash and sign_ecdsa",
        microseconds([&] { keep(sign_ecdsa(client_key, *legacy_sighash(tx, 0, contract.view(), flag))); }), sign);
    row("sighash and verify_ecdsa",
        microseconds([&] { keep(verify_ecdsa(client, *legacy_sighash(tx, 0, contract.view(), flag), signature)); }),
        verify);

    // The steps: what the client does for a payment, and what the server does before it acks.
    contract_terms terms{{txid{{1}}, 0}, satoshi{1'000'000}, unix_time{1'700'086'400}, client, server};
    channel_record record;
    record.protocol = 1;
    record.terms = terms;
    record.change = terms.value;
    std::array<bytes32, 1> keys_given{};  // the key that signs above
    keys_given[0][31] = 1;
    memory_keys keys(keys_given);
    record.key = must(keys.new_key());
    const auto both_steps = [&]<class Scheme>(const std::string& version) {
        const satoshi kept{900'000};
        const auto flagged = must(sign_payment<Scheme>(record, kept, keys));
        const wire::update_payment payment{900'000, flagged.view(), {}};
        if (!check_payment<Scheme>(record, payment)) stop("the payment is not accepted");
        row(("client: sign_payment, version " + version).c_str(),
            microseconds([&] { keep(sign_payment<Scheme>(record, kept, keys)); }), sign);
        row(("server: check_payment, version " + version).c_str(),
            microseconds([&] { keep(check_payment<Scheme>(record, payment)); }), verify);
    };
    both_steps.operator()<multisig_refund>("1");
    both_steps.operator()<cltv_p2sh>("2");
    row("write_record", microseconds([&] { keep(write_record(record)); }), 0);

    // Both drivers with everything around the steps: codec, memory stores, a pipe.
    memory_chain chain;
    manual_clock clock(chain.now());
    memory_store client_store, server_store;
    auto client_keys = memory_keys::testing_from(1), server_keys = memory_keys::testing_from(1'000);
    auto client_wallet = must(seed_wallet::open(bytes32{1}, network::regtest));
    auto server_wallet = must(seed_wallet::open(bytes32{2}, network::regtest));
    wire::small_codec codec;
    ignore_events nobody;
    memory_pipe connection;
    chain_follower client_network(chain), server_network(chain);
    paychan::client payer(contracts<cltv_p2sh>{}, connection.first, clock, client_keys, client_store, client_wallet,
                          client_network, codec, nobody);
    paychan::server payee(contracts<cltv_p2sh>{}, connection.second, clock, server_keys, server_store, server_wallet,
                          server_network, codec, nobody);
    const auto settle_down = [&] {
        while (pump(connection, payer, payee) + client_network.deliver(client_wallet) +
                   server_network.deliver(server_wallet, payee) >
               0)
            continue;
    };
    const auto address = must(client_wallet.address(0, funding_style::segwit));
    chain.mine(1, must(script_of_address(address.view(), network::regtest)).view());
    chain.mine(100, p2wpkh_script(bytes20{}).view());
    settle_down();
    if (!payer.connect(satoshi{2'000'000'000})) stop("the client does not connect");
    settle_down();
    if (payer.phase() != client_phase::open) stop("the channel does not open");
    row("one payment, both drivers, memory stores", microseconds([&] {
            if (!payer.pay(satoshi{10})) stop("the payment is refused");
            pump(connection, payer, payee);
        }),
        sign + verify);

    secp256k1_context_destroy(context);
}
