// A whole life of a channel, again and again, each time with another call of a policy failing or the process dying in
// it; then both sides' money is counted.
#include <algorithm>
#include <catch2/catch.hpp>
#include <deque>
#include <map>

#include "support/versions.hpp"
#include "support/world.hpp"

using namespace paychan;
using namespace paychan_test;

namespace {

constexpr satoshi offer{1'000'000};
constexpr satoshi first_payment{1'000};  // the server's min_payment
constexpr std::int64_t dust_given_away = 545;

/// What every life of a run has in common.
struct circumstances {
    std::int32_t version = 1;
    bool plain = false;   // both disks take a batch one record after the other
    bool held = false;    // the server's application answers each payment later
    bool legacy = false;  // the client does without the extensions, as one of the reference
};

enum class ending : std::uint8_t { client_settles, channel_is_exhausted };

/// The application on both sides: it does not know what fails, so after each failure it connects again.
class life {
public:
    explicit life(const circumstances& c) : w(c.version) {
        w.client_settings.extensions = !c.legacy;
        w.make_client();
        w.payer.store.one_by_one = c.plain;
        w.payee.store.one_by_one = c.plain;
        if (c.held) w.payee.events.answer = [](const event&) { return payment_answer::hold(); };
        w.payer.transport.watch = [this](const bytes& frame) { before_client_sends(frame); };
        w.payee.transport.watch = [this](const bytes& frame) { before_server_sends(frame); };
    }

    void play(ending end) {
        for (const std::int64_t amount : {5'000, 1, 7'000}) pay(satoshi{amount});
        guarded([&] { w.reconnect(); });
        for (const std::int64_t amount : {2'000, 3'000}) pay(satoshi{amount});
        for (int attempt = 0; attempt < 4 && !is_settled(); ++attempt) {
            guarded([&] {
                if (!reopen()) return;
                if (end == ending::client_settles)
                    (void)w.c->settle();
                else if (w.c->record().change.value > 0)
                    pay(w.c->record().change);
                // Else it paid all there is: a payment that was lost on the way was sent again when it resumed.
                w.run();
            });
        }
        guarded([&] { w.reconnect(); });
    }

    /// What must hold whatever failed.
    void check_money() {
        for (const outcome& o : payments) {
            INFO("a payment of " << o.asked.value);
            CHECK(o.calls <= 1);
            if (!client_was_restarted) CHECK(o.calls == 1);
        }
        for (const auto& [channel, total] : receipts) {
            // Nobody forgets a channel on which a payment was acked.
            REQUIRE(load_record(w.payee.disk, record_kind::server_channel, channel));
            REQUIRE(load_record(w.payer.disk, record_kind::client_channel, channel));
        }
        for (const txid& channel : stored_channels(w.payer.disk, record_kind::client_channel)) {
            const auto record = load_record(w.payer.disk, record_kind::client_channel, channel);
            REQUIRE(record);
            if (least_sent.contains(channel)) CHECK(record->change <= least_sent[channel]);
            CHECK(std::ranges::count(w.payer.keys.given_back, record->key) == 0);
        }
        for (const txid& channel : stored_channels(w.payee.disk, record_kind::server_channel)) {
            const auto record = load_record(w.payee.disk, record_kind::server_channel, channel);
            REQUIRE(record);
            CHECK(record->paid() >= receipts[channel]);
            CHECK(std::ranges::count(w.payee.keys.given_back, record->key) == 0);
            // The client knows of all that it gave away.
            const auto other = load_record(w.payer.disk, record_kind::client_channel, channel);
            REQUIRE(other);
            CHECK(other->change <= record->change);
            check_settlement_of(*record);
        }
        for (const txid& channel : stored_channels(w.payer.disk, record_kind::client_channel)) check_refund_of(channel);
    }

    [[nodiscard]] bool is_settled() const {
        const auto spender = w.chain.spender_in_mempool({w.channel(), 0});
        return spender.has_value();
    }

    world w;
    std::deque<outcome> payments;
    bool client_was_restarted = false;

private:
    /// The process dies when a policy says so, and starts again.
    template <class F>
    void guarded(F&& f) {
        try {
            f();
        } catch (const crash&) {
            restart();
        }
    }

    void restart() {
        client_was_restarted = true;
        w.c.reset();
        w.s.reset();
        w.pipe.reconnect();
        w.make_client();
        w.make_server();
        w.payer.purse.reserved.clear();
        for (const txid& id : stored_channels(w.payer.disk, record_kind::client_contract)) {
            const bytes contract = stored_bytes(w.payer.disk, record_kind::client_contract, id);
            for (const tx_input& in : parse_transaction(contract).value().inputs())
                w.payer.purse.reserved.insert(in.prevout);
        }
        for (const txid& id : stored_channels(w.payer.disk, record_kind::client_channel)) (void)w.c->load(id);
    }

    /// The application answers what it held.
    void answer() {
        if (!w.payee.events.answer || w.s->phase() != server_phase::answering) return;
        (void)w.s->ack(w.s->record().paid());
        w.run();
    }

    /// True when payments may flow.
    bool reopen() {
        for (int attempt = 0; attempt < 3; ++attempt) {
            if (w.c->phase() == client_phase::open && !w.c->payment_in_flight()) return true;
            guarded([&] {
                w.reconnect();
                const std::size_t signed_before = w.payer.keys.signed_requests.size();
                (void)w.open(offer);
                answer();
                check_signed(signed_before, first_payment, satoshi{0});
            });
        }
        return w.c->phase() == client_phase::open;
    }

    void pay(satoshi amount) {
        for (int attempt = 0; attempt < 3; ++attempt) {
            bool done = false;
            guarded([&] {
                if (!reopen()) return;
                const txid channel = w.channel();
                const satoshi before = w.c->record().paid();
                const std::size_t signed_before = w.payer.keys.signed_requests.size();
                outcome& o = payments.emplace_back();
                const auto sent = w.pay(amount, o);
                if (!sent) payments.pop_back();
                answer();
                check_signed(signed_before, amount, before);
                if (sent && o.calls == 0) w.reconnect();  // nobody answers
                if (sent && o.told) {
                    CHECK(o.told->amount >= amount);
                    CHECK(o.told->amount <= satoshi{amount.value + dust_given_away});
                    receipts[channel] = std::max(receipts[channel], o.told->total);
                    done = true;
                }
                if (!sent && sent.error().code != errc::key_unavailable && sent.error().code != errc::too_long)
                    w.reconnect();
            });
            if (done) return;
        }
    }

    void check_signed(std::size_t from, satoshi amount, satoshi paid_before) const {
        const auto& all = w.payer.keys.signed_requests;
        for (std::size_t i = from; i < all.size(); ++i)
            if (all[i].purpose == signing_purpose::payment)
                CHECK(all[i].to_server.value <= paid_before.value + amount.value + dust_given_away);
    }

    // ---- Durable before it leaves: looked at in the moment in which it leaves.

    void before_client_sends(const bytes& frame) {
        if (const auto m = as<wire::update_payment>(frame)) {
            const txid id = w.channel();
            const auto record = load_record(w.payer.disk, record_kind::client_channel, id);
            REQUIRE(record);
            CHECK(equal(record->signature.view(), m->signature));
            note_sent(id, m->client_change_value);
        }
        if (const auto m = as<wire::provide_contract>(frame)) {
            const txid id = parse_transaction(m->tx).value().id();
            REQUIRE(load_record(w.payer.disk, record_kind::client_channel, id));
            CHECK(stored_bytes(w.payer.disk, record_kind::client_contract, id) == owned(m->tx));
            CHECK_FALSE(stored_bytes(w.payer.disk, record_kind::client_refund, id).empty());
            note_sent(id, m->initial_payment.client_change_value);
        }
    }

    void note_sent(const txid& id, std::uint64_t change) {
        const satoshi sent{static_cast<std::int64_t>(change)};
        last_sent = sent;
        least_sent.try_emplace(id, sent);
        least_sent[id] = std::min(least_sent[id], sent);
    }

    void before_server_sends(const bytes& frame) {
        const bool ack = as<wire::payment_ack>(frame).has_value();
        const bool open = as<wire::channel_open>(frame).has_value();
        const auto close = as<wire::close>(frame);
        if (!ack && !open && !(close && close->settlement)) return;
        const txid id = w.s->record().terms.contract.id;
        const auto record = load_record(w.payee.disk, record_kind::server_channel, id);
        REQUIRE(record);
        if (ack) CHECK(record->change <= last_sent);
        if (open) CHECK(record->stage == channel_stage::open);
        if (close) CHECK(record->stage == channel_stage::settling);
        CHECK_FALSE(stored_bytes(w.payee.disk, record_kind::server_contract, id).empty());
    }

    // ---- What the chain says to what the disks hold.

    /// A server that starts with nothing but its disk and its keys collects what it was paid.
    void check_settlement_of(const channel_record& record) {
        memory_chain chain = w.chain;
        memory_store disk = w.payee.disk;
        chain_follower network(chain);
        event_log events;
        server_monitor monitor(both_versions{}, disk, w.payee.ring, w.payee.purse, network, events);
        REQUIRE(monitor.load());
        network.deliver(monitor);
        monitor.tick(record.terms.expiry + -w.server_settings.settle_margin);
        network.deliver(monitor);
        INFO("events of the monitor: " << events.names() << ", paid " << record.paid().value);

        const outpoint contract{record.terms.contract.id, 0};
        const auto closing = chain.spender_in_mempool(contract);
        REQUIRE(closing);
        const auto bytes_of_closing = chain.find_transaction(*closing);
        REQUIRE(bytes_of_closing);
        const auto tx = parse_transaction(bytes_view(*bytes_of_closing)).value();
        const bool with_change = record.change.value > 0;
        REQUIRE(tx.output_count() == (with_change ? 2 : 1));
        if (with_change) {
            CHECK(tx.output(0)->value == record.change);
            CHECK(equal(tx.output(0)->script_pubkey, script_of_key(record.terms.client_key).view()));
        }
        const tx_output payout = tx.output(tx.output_count() - 1).value();
        CHECK(equal(payout.script_pubkey, w.payee.purse.payout_script()->view()));
        CHECK(payout.value < record.paid());
        // The largest settlement, counted by hand in settlement.cpp, at 1 satoshi a byte.
        CHECK(record.paid().value - payout.value.value <= (w.version() == 1 ? 268 : 350));
    }

    /// A client that starts with nothing but its disk takes the rest back, when the chain's time has come and not before.
    void check_refund_of(const txid& channel) {
        const outpoint contract{channel, 0};
        memory_chain chain = w.chain;
        if (chain.spender_in_mempool(contract)) return;
        const auto record = load_record(w.payer.disk, record_kind::client_channel, channel).value();
        memory_store disk = w.payer.disk;
        chain_follower network(chain);
        event_log events;
        client_monitor monitor(both_versions{}, disk, w.payer.ring, network, events);
        REQUIRE(monitor.load());
        network.deliver(monitor);
        monitor.tick(record.terms.expiry + 1);
        network.deliver(monitor);
        CHECK(events.count(event_kind::refunding) == 0);
        CHECK_FALSE(chain.spender_in_mempool(contract));

        chain.set_time(record.terms.expiry + 1);
        chain.mine(12, script_of_key(record.terms.client_key).view());
        network.deliver(monitor);
        monitor.tick(record.terms.expiry + 1);
        const auto refund = chain.spender_in_mempool(contract);
        REQUIRE(refund);
        const bytes stored = stored_bytes(disk, record_kind::client_refund, channel);
        CHECK(parse_transaction(stored)->output(0)->value == satoshi{offer.value - 1'000});
        // At 1 satoshi a byte, and not at the fixed fee of the stored one.
        CHECK(offer.value - chain.coin_at({*refund, 0})->value.value < 400);
    }

    std::map<txid, satoshi> receipts;    // the most that a completion was told
    std::map<txid, satoshi> least_sent;  // the least change that the client signed away
    satoshi last_sent{};
};

struct plan {
    call which;
    fault how;
    const char* text;
};

enum class side : std::uint8_t { client, server };

void fail_at_every(side who, const plan& p, ending end, const circumstances& c) {
    for (int n = 0;; ++n) {
        life l(c);
        fault_plan& f = who == side::client ? l.w.payer.plan : l.w.payee.plan;
        f = {p.which, p.how, n, false};
        INFO((who == side::client ? "client: " : "server: ") << p.text << ", call " << n);
        l.play(end);
        const bool hit = f.hit || f.left < 0;
        f = {};
        l.check_money();
        // Nothing that fails once keeps the server from its money or the client from its channel.
        CHECK(l.is_settled());
        if (!hit) {
            CHECK(n > 0);  // a plan that never strikes tests nothing
            return;
        }
        REQUIRE(n < 1'000);
    }
}

constexpr std::array client_plans{
    plan{call::store_put, fault::fails, "put fails"},
    plan{call::store_put, fault::fails_after, "put fails after it wrote"},
    plan{call::keys_new, fault::fails, "new_key fails"},
    plan{call::keys_public, fault::fails, "public_key fails"},
    plan{call::keys_sign, fault::fails, "sign fails"},
    plan{call::wallet_fund, fault::fails, "fund fails"},
    plan{call::codec_encode, fault::fails, "encode fails"},
    plan{call::codec_decode, fault::fails, "a malformed frame arrives"},
    plan{call::transport_send, fault::fails, "a frame and the connection are lost"},
    plan{call::transport_send, fault::fails_after, "the connection is lost behind a frame"},
};

constexpr std::array server_plans{
    plan{call::store_put, fault::fails, "put fails"},
    plan{call::store_put, fault::fails_after, "put fails after it wrote"},
    plan{call::store_get, fault::fails, "get fails"},
    plan{call::keys_new, fault::fails, "new_key fails"},
    plan{call::keys_public, fault::fails, "public_key fails"},
    plan{call::keys_sign, fault::fails, "sign fails"},
    plan{call::wallet_payout, fault::fails, "payout_script fails"},
    plan{call::codec_encode, fault::fails, "encode fails"},
    plan{call::codec_decode, fault::fails, "a malformed frame arrives"},
    plan{call::transport_send, fault::fails, "a frame and the connection are lost"},
    plan{call::transport_send, fault::fails_after, "the connection is lost behind a frame"},
};

}  // namespace

TEST_CASE("a channel whose policies all work is opened, paid on, resumed and settled", "[channel][failure]") {
    const circumstances c{each_version(), false, GENERATE(false, true), GENERATE(false, true)};
    for (const ending end : {ending::client_settles, ending::channel_is_exhausted}) {
        life l(c);
        l.play(end);
        l.check_money();
        CHECK(l.is_settled());
        for (const outcome& o : l.payments) CHECK(o.told);
        CHECK(l.payments.size() == (end == ending::client_settles ? 5 : 6));
        CHECK(l.w.payee.events.asked.size() == l.payments.size());
    }
}

TEST_CASE("no money is lost whichever call of a client's policy fails", "[channel][failure]") {
    const circumstances c{each_version()};
    for (const plan& p : client_plans) fail_at_every(side::client, p, ending::client_settles, c);
}

TEST_CASE("no money is lost whichever call of a server's policy fails", "[channel][failure]") {
    const circumstances c{each_version()};
    for (const plan& p : server_plans) fail_at_every(side::server, p, ending::client_settles, c);
}

TEST_CASE("no money is lost whichever call fails beside a client without extensions", "[channel][failure]") {
    const circumstances c{each_version(), false, false, true};
    for (const plan& p : client_plans) fail_at_every(side::client, p, ending::client_settles, c);
    for (const plan& p : server_plans) fail_at_every(side::server, p, ending::channel_is_exhausted, c);
    for (const side who : {side::client, side::server})
        fail_at_every(who, {call::any, fault::crashes_after, "dies after a call"}, ending::client_settles, c);
}

TEST_CASE("no money is lost whichever call fails in a channel that is used up", "[channel][failure]") {
    const circumstances c{each_version()};
    for (const plan& p : {client_plans[0], client_plans[8]})
        fail_at_every(side::client, p, ending::channel_is_exhausted, c);
    for (const plan& p : {server_plans[0], server_plans[1], server_plans[5], server_plans[9]})
        fail_at_every(side::server, p, ending::channel_is_exhausted, c);
}

TEST_CASE("no money is lost whichever call fails while the application thinks about a payment", "[channel][failure]") {
    const circumstances c{each_version(), false, true};
    for (const plan& p : client_plans) fail_at_every(side::client, p, ending::client_settles, c);
    for (const plan& p : server_plans) fail_at_every(side::server, p, ending::client_settles, c);
    for (const plan& p : {server_plans[0], server_plans[1], server_plans[5], server_plans[7], server_plans[9]})
        fail_at_every(side::server, p, ending::channel_is_exhausted, c);
}

TEST_CASE("no money is lost whenever the processes die", "[channel][failure]") {
    const circumstances c{each_version(), false, GENERATE(false, true)};
    const ending end = GENERATE(ending::client_settles, ending::channel_is_exhausted);
    for (const side who : {side::client, side::server}) {
        fail_at_every(who, {call::any, fault::crashes, "dies before a call"}, end, c);
        fail_at_every(who, {call::any, fault::crashes_after, "dies after a call"}, end, c);
    }
}

TEST_CASE("no money is lost where a store takes the records of a batch one by one", "[channel][failure]") {
    const circumstances c{each_version(), true};
    const ending end = GENERATE(ending::client_settles, ending::channel_is_exhausted);
    const side who = GENERATE(side::client, side::server);
    fail_at_every(who, {call::store_put, fault::fails, "put of one record fails"}, end, c);
    fail_at_every(who, {call::store_put, fault::fails_after, "put of one record fails after it wrote"}, end, c);
    fail_at_every(who, {call::store_put, fault::crashes, "dies before a put of one record"}, end, c);
    fail_at_every(who, {call::store_put, fault::crashes_after, "dies after a put of one record"}, end, c);
}
