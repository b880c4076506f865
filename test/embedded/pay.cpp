// An embedded composition: open, pay and settle a channel with no heap, no exceptions, no RTTI and no Asio.
// Compile it with -DSCHEME=cltv_p2sh or -DSCHEME=multisig_refund.
#include <cstdio>

#include "paychan/client.hpp"
#include "paychan/server.hpp"
#include "paychan/wire/codec.hpp"
#include "policies.hpp"

namespace {

using namespace embedded;

using schemes = contracts<SCHEME>;
constexpr std::size_t frame_capacity = 1024;  // [bytes] enough for a contract with one input
constexpr int payments = 100;

/// What both sides' applications remember.
struct listener {
    int opened = 0, paid = 0, settled = 0, errors = 0;
    void on_event(const event& e) {
        opened += e.kind == event_kind::opened;
        paid += e.kind == event_kind::payment;
        settled += e.kind == event_kind::settled;
        if (e.kind != event_kind::error) return;
        ++errors;
        std::printf("error: %.*s\n", static_cast<int>(e.problem.text.size()), e.problem.text.data());
    }
};

int failures = 0;
void check(bool fact, const char* what) {
    if (fact) return;
    ++failures;
    std::printf("FAILED: %s\n", what);
}

mailbox_transport to_server, to_client;
fixed_clock the_clock;
fixed_keys client_keys(1), server_keys(101);
slot_store client_store, server_store;
one_coin_wallet client_wallet, server_wallet;
last_broadcast client_network, server_network;
wire::small_codec codec;
listener client_events, server_events;

client<schemes, mailbox_transport, fixed_clock, fixed_keys, slot_store, one_coin_wallet, last_broadcast,
       wire::small_codec, listener, frame_capacity>
    payer(schemes{}, to_server, the_clock, client_keys, client_store, client_wallet, client_network, codec,
          client_events);
server<schemes, mailbox_transport, fixed_clock, fixed_keys, slot_store, one_coin_wallet, last_broadcast,
       wire::small_codec, listener, frame_capacity>
    payee(schemes{}, to_client, the_clock, server_keys, server_store, server_wallet, server_network, codec,
          server_events);

void talk() {
    for (bool any = true; any;) {
        any = to_server.deliver(payee);
        any = to_client.deliver(payer) || any;
    }
}

}  // namespace

int main() {
    check(payer.connect(satoshi{1'000'000}).has_value(), "connects");
    talk();
    check(payee.phase() == server_phase::broadcasting, "the server broadcasts the contract");
    payee.on_broadcast(server_network.id(), broadcast_outcome::accepted);
    talk();
    check(client_events.opened == 1 && server_events.opened == 1, "both sides know that the channel is open");

    int acked = 0;
    const payment_callback on_ack{
        [](void* count, const result<payment_receipt>& outcome) { *static_cast<int*>(count) += outcome.has_value(); },
        &acked};
    for (int i = 0; i < payments; ++i) {
        check(payer.pay(satoshi{10}, on_ack).has_value(), "pays");
        talk();
    }
    check(acked == payments, "every payment is acked");
    check(payee.record().paid() == satoshi{1'000 + 10 * payments},
          "the server has the first payment and all that followed");
    check(client_store.writes >= payments && server_store.writes >= payments, "each payment is stored on both sides");
    check(!payer.refund(unix_time{1'700'000'000}), "no refund before the expiry");

    check(payer.settle().has_value(), "asks for settlement");
    talk();
    payee.on_broadcast(server_network.id(), broadcast_outcome::accepted);
    talk();
    check(client_events.settled == 1 && server_events.settled == 1, "both sides have the settlement");
    check(check_settlement<SCHEME>(payee.record().terms, server_network.tx()).has_value(),
          "the settlement spends the contract");
    check(client_events.errors == 0 && server_events.errors == 0, "nothing went wrong");

    std::printf(
        "embedded: version %d, %d payments acked, %lld satoshi to the server; client object %zu bytes, server object "
        "%zu bytes\n",
        SCHEME::version, acked, static_cast<long long>(payee.record().paid().value), sizeof payer, sizeof payee);
    return failures == 0 ? 0 : 1;
}
