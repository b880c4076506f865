// Both sides in one process: open a channel, pay a hundred times, settle, and see the settlement mined.
#include <cstdio>

#include "paychan/paychan.hpp"

using namespace paychan;

int main() {
    memory_chain chain;
    manual_clock clock(chain.now());
    memory_store client_store, server_store;
    auto client_keys = memory_keys::testing_from(1), server_keys = memory_keys::testing_from(1'000);
    const bytes32 client_seed{1}, server_seed{2};
    auto client_wallet = *seed_wallet::open(client_seed, network::regtest);
    auto server_wallet = *seed_wallet::open(server_seed, network::regtest);
    wire::small_codec codec;
    ignore_events client_events, server_events;

    // --8<-- composition
    memory_pipe connection;
    chain_follower client_network(chain), server_network(chain);
    client payer(contracts<cltv_p2sh, multisig_refund>{}, connection.first, clock, client_keys, client_store,
                 client_wallet, client_network, codec, client_events);
    server payee(contracts<cltv_p2sh, multisig_refund>{}, connection.second, clock, server_keys, server_store,
                 server_wallet, server_network, codec, server_events);
    // --8<-- composition

    const auto run = [&] {  // carries frames and chain events until nothing moves any more
        while (pump(connection, payer, payee) + client_network.deliver(client_wallet) +
                   server_network.deliver(server_wallet, payee) >
               0)
            continue;
    };

    const auto address = *client_wallet.address(0, funding_style::segwit);
    chain.mine(1, script_of_address(address.view(), network::regtest)->view());
    chain.mine(100, p2wpkh_script(bytes20{}).view());  // a coinbase is spendable after 100 blocks
    run();

    if (!payer.connect(satoshi{1'000'000})) return 1;
    run();
    int acked = 0;
    const payment_callback on_ack{
        [](void* count, const result<payment_receipt>& outcome) { *static_cast<int*>(count) += outcome.has_value(); },
        &acked};
    for (int i = 0; i < 100; ++i) {
        if (!payer.pay(satoshi{10}, on_ack)) return 1;
        run();
    }
    const auto paid = payee.record().paid();
    if (!payer.settle()) return 1;
    run();
    const txid settlement = payee.record().closing;
    chain.mine(1, p2wpkh_script(bytes20{}).view());

    std::printf("%d payments acked, %lld satoshi paid, settlement %.64s has %d confirmation\n", acked,
                static_cast<long long>(paid.value), display(settlement).data(), chain.confirmations(settlement));
    return acked == 100 && paid == satoshi{2'000} && chain.confirmations(settlement) == 1 ? 0 : 1;
}
