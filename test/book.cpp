// The book: channels come home at their time with nobody connected, whatever the chain and the process do meanwhile.
#include "paychan/book.hpp"

#include <catch2/catch.hpp>
#include <optional>

#include "support/versions.hpp"
#include "support/world.hpp"

using namespace paychan;
using namespace paychan_test;

namespace {

struct hooked_events : event_log {
    std::vector<txid> attached;
    int settled_over_connection = 0;
    bool is_attached(const txid& id) const { return std::ranges::find(attached, id) != attached.end(); }
    bool settle_attached(const txid& id) {
        settled_over_connection += is_attached(id) ? 1 : 0;
        return is_attached(id);
    }
};

using payees_book = server_book<both_versions, faulty_store, faulty_keys, faulty_wallet,
                                faulty_broadcaster<chain_follower>, hooked_events>;
using payers_book = client_book<faulty_store, faulty_broadcaster<chain_follower>, event_log>;

/// A channel that was opened and paid on, is in a block, and whose peers have gone.
struct left_alone : world {
    txid id;
    outpoint contract;
    unix_time expiry;
    chain_follower payee_view{chain};
    chain_follower payer_view{chain};
    faulty_broadcaster<chain_follower> payee_network{payee.plan, payee_view};
    faulty_broadcaster<chain_follower> payer_network{payer.plan, payer_view};
    hooked_events payee_told;
    event_log payer_told;
    std::unique_ptr<payees_book> server_side;
    std::unique_ptr<payers_book> client_side;

    explicit left_alone(bool mined = true, std::int32_t of_version = each_version()) : world(of_version) {
        REQUIRE(open());
        REQUIRE(pays(49'000));
        id = channel();
        contract = {id, 0};
        expiry = c->record().terms.expiry;
        reconnect();
        if (mined) mine();
        start();
    }

    /// The books as a process that starts has them: from the disks, and all blocks again.
    void start() {
        server_side = std::make_unique<payees_book>(both_versions{}, payee.store, payee.keys, payee.wallet,
                                                    payee_network, payee_told, server_settings);
        client_side = std::make_unique<payers_book>(payer.store, payer_network, payer_told);
        payee_view = chain_follower(chain);
        payer_view = chain_follower(chain);
        REQUIRE(server_side->load());
        REQUIRE(client_side->load());
        catch_up();
    }

    void mine(int count = 1) { chain.mine(count, p2pkh_script({}).view()); }

    void catch_up() {
        while (payee_view.deliver(*server_side) > 0) {
        }
        while (payer_view.deliver(*client_side) > 0) {
        }
    }

    /// Time goes by on both sides, and each follows the chain.
    void tick() {
        catch_up();
        server_side->tick(clock.now());
        client_side->tick();
        catch_up();
    }

    void set_time(unix_time t) {
        clock.set(t);
        chain.set_time(t);
    }

    [[nodiscard]] std::string in_mempool() {
        const auto spender = chain.spender_in_mempool(contract);
        if (!spender) return "nothing";
        const bytes refund = stored_bytes(payer.disk, record_kind::client_refund, id);
        return *spender == parse_transaction(refund)->id() ? "refund" : "settlement";
    }

    [[nodiscard]] channel_record server_record() {
        return load_record(payee.disk, record_kind::server_channel, id).value();
    }

    /// Closed by the server, in a block.
    void settle_and_mine() {
        REQUIRE(server_side->settle(id));
        mine();
        catch_up();
    }
};

}  // namespace

// ---- Deadlines

TEST_CASE("a server's channel is settled its margin before the expiry, and not before", "[book]") {
    left_alone w;
    w.set_time(w.expiry + -(w.server_settings.settle_margin + 1));
    w.tick();
    CHECK(w.in_mempool() == "nothing");
    w.set_time(w.expiry + -w.server_settings.settle_margin);
    w.tick();
    CHECK(w.in_mempool() == "settlement");
    CHECK(w.payee_told.names() == "settled");
    const heard_event e = w.payee_told.last(event_kind::settled);
    CHECK(e.total == satoshi{50'000});
    CHECK(e.closing == *w.chain.spender_in_mempool(w.contract));
    CHECK(parse_transaction(e.data)->id() == e.closing);
    CHECK(w.server_record().stage == channel_stage::settling);
    CHECK(w.server_record().closing == e.closing);
}

TEST_CASE("a server's channel is settled by the chain's time when its own clock is behind", "[book]") {
    left_alone w;
    w.chain.set_time(w.expiry + -w.server_settings.settle_margin);
    w.mine(12);
    w.tick();  // the server's clock stands where it was
    CHECK(w.in_mempool() == "settlement");
}

TEST_CASE("a server that was away settles the moment it starts, as long as nobody was faster", "[book]") {
    left_alone w;
    w.set_time(w.expiry + 100'000);
    w.server_side->tick(w.clock.now());
    CHECK(w.in_mempool() == "settlement");
}

TEST_CASE("a client's refund is broadcast when the median time is past the expiry, and not before", "[book]") {
    left_alone w;
    w.clock.set(w.expiry + 100'000);  // the wall clock does not count: BIP113
    w.client_side->tick();
    CHECK(w.payer_told.heard.empty());
    w.chain.set_time(w.expiry);
    const auto mine_up_to = [&](unix_time median) {
        while (w.chain.median_time() < median) {
            CHECK(w.in_mempool() == "nothing");
            w.mine();
            w.catch_up();
            w.client_side->tick();
        }
        REQUIRE(w.chain.median_time() == median);
    };
    mine_up_to(w.expiry);  // six blocks of that time
    CHECK(w.in_mempool() == "nothing");
    CHECK(w.payer_told.heard.empty());
    w.chain.set_time(w.expiry + 1);
    mine_up_to(w.expiry + 1);
    CHECK(w.in_mempool() == "refund");
    CHECK(w.payer_told.names() == "refunding");
}

TEST_CASE("a refund is broadcast with each block until it is mined, and told once", "[book]") {
    left_alone w;
    w.set_time(w.expiry + 1);
    w.mine(12);
    for (int i = 0; i < 3; ++i) {
        w.catch_up();
        w.client_side->tick();
        REQUIRE(w.in_mempool() == "refund");
        w.chain.forget(*w.chain.spender_in_mempool(w.contract));  // a node that was restarted
        w.client_side->tick();
        CHECK(w.in_mempool() == "nothing");  // once a block is enough
        w.mine();
    }
    w.catch_up();
    w.client_side->tick();
    w.mine();
    w.catch_up();
    CHECK(w.payer_told.names() == "refunding confirmed");
    w.client_side->tick();
    CHECK(w.payer_told.names() == "refunding confirmed");
    CHECK(w.chain.mempool_size() == 0);
}

TEST_CASE("a refund comes with its contract when the server never broadcast that", "[book]") {
    world w(each_version());
    w.payee.follower.set_node(chain_follower::node::down);
    REQUIRE(w.open());
    REQUIRE(w.c->phase() == client_phase::contract_sent);
    REQUIRE(w.chain.mempool_size() == 0);
    const txid id = w.channel();
    payers_book book(w.payer.store, w.payer.network, w.payer.events);
    REQUIRE(book.load());
    w.chain.set_time(w.c->record().terms.expiry + 1);
    w.chain.mine(12, p2pkh_script({}).view());
    w.payer.follower.deliver(book);
    book.tick();
    CHECK(w.chain.in_mempool(id));
    CHECK(w.chain.spender_in_mempool({id, 0}));
}

TEST_CASE("no refund is broadcast for a channel whose settlement is mined", "[book]") {
    left_alone w;
    w.settle_and_mine();
    w.set_time(w.expiry + 1);
    w.mine(12);
    w.tick();
    CHECK(w.payer_told.names() == "confirmed");
    CHECK(w.chain.mempool_size() == 0);
}

TEST_CASE("a channel that a connection holds is settled over that connection", "[book]") {
    left_alone w;
    w.payee_told.attached.push_back(w.id);
    w.set_time(w.expiry + -w.server_settings.settle_margin);
    w.tick();
    w.tick();
    CHECK(w.payee_told.settled_over_connection == 1);  // once a block
    CHECK(w.in_mempool() == "nothing");
    w.payee_told.attached.clear();
    w.mine();
    w.tick();
    CHECK(w.in_mempool() == "settlement");
}

// ---- Until it is mined

TEST_CASE("a settlement and its contract are broadcast with each block until they are mined", "[book]") {
    left_alone w(false);
    REQUIRE(w.server_side->settle(w.id));
    for (int i = 0; i < 3; ++i) {
        REQUIRE(w.in_mempool() == "settlement");
        w.chain.forget(w.id);  // and with it the settlement
        REQUIRE(w.in_mempool() == "nothing");
        w.tick();
        CHECK(w.in_mempool() == "nothing");
        w.mine();
        w.tick();
    }
    CHECK(w.in_mempool() == "settlement");
    w.mine();
    w.tick();
    CHECK(w.chain.confirmations(w.id) == 1);
    CHECK(w.payee_told.names() == "settled confirmed");
}

TEST_CASE("an open channel's contract that is in no block is broadcast again", "[book]") {
    left_alone w(false);
    for (int i = 0; i < 2; ++i) {
        w.chain.forget(w.id);
        w.mine();
        w.tick();
        CHECK(w.chain.in_mempool(w.id));
    }
    w.mine();
    w.tick();
    CHECK(w.chain.confirmations(w.id) == 1);
    CHECK(w.chain.mempool_size() == 0);
}

TEST_CASE("a settlement that was refused is built anew with the next block, at the fee of the day", "[book]") {
    left_alone w;
    w.payee_view.refuse_next("min relay fee not met");
    REQUIRE(w.server_side->settle(w.id));
    w.catch_up();
    CHECK(w.in_mempool() == "nothing");
    const txid first = w.server_record().closing;
    w.server_side->on_fee_rate({5'000});
    w.tick();
    CHECK(w.in_mempool() == "nothing");
    w.mine();
    w.tick();
    CHECK(w.in_mempool() == "settlement");
    const txid second = *w.chain.spender_in_mempool(w.contract);
    CHECK(second != first);
    CHECK(w.server_record().closing == second);
    const auto tx = w.chain.find_transaction(second);
    REQUIRE(tx);
    const auto parsed = parse_transaction(bytes_view(*tx)).value();
    std::int64_t out = 0;
    for (const tx_output& o : parsed.outputs()) out += o.value.value;
    CHECK(1'000'000 - out == 5 * (w.version() == 1 ? 268 : 350));  // counted by hand in channel/settlement.cpp
    CHECK(w.payee_told.count(event_kind::settled) == 1);
}

TEST_CASE("a settlement that no node was there for is broadcast again at the next tick", "[book]") {
    left_alone w;
    w.payee_view.set_node(chain_follower::node::down);
    REQUIRE(w.server_side->settle(w.id));
    w.catch_up();
    CHECK(w.in_mempool() == "nothing");
    w.payee_view.set_node(chain_follower::node::up);
    w.tick();
    CHECK(w.in_mempool() == "settlement");
}

TEST_CASE("a refund that no node was there for is broadcast again at the next tick", "[book]") {
    left_alone w;
    w.set_time(w.expiry + 1);
    w.mine(12);
    w.catch_up();
    w.payer_view.set_node(chain_follower::node::down);
    w.client_side->tick();
    w.catch_up();
    CHECK(w.in_mempool() == "nothing");
    w.payer_view.set_node(chain_follower::node::up);
    w.tick();
    CHECK(w.chain.spender_in_mempool(w.contract));
}

TEST_CASE("a payment that does not bear the fee is settled when fees are lower, and reported now and then", "[book]") {
    left_alone w;
    // As if the first payment had been all, and smaller than a settlement costs: 814 satoshi.
    channel_record record = w.server_record();
    record.change = {999'500};
    const auto clients = load_record(w.payer.disk, record_kind::client_channel, w.id).value();
    const auto signature = both_versions::with<result<bounded_bytes<73>>>(
        clients.protocol, [&]<class Scheme>() { return sign_payment<Scheme>(clients, record.change, w.payer.ring); });
    REQUIRE(signature);
    record.signature = *signature;
    ++record.version;
    const record_buffer written = write_record(record);
    REQUIRE(w.payee.disk.put({record_kind::server_channel, w.id}, record.version, written.view()));
    w.set_time(w.expiry + -w.server_settings.settle_margin);
    for (int i = 0; i < 3; ++i) {
        w.tick();
        w.mine();
    }
    CHECK(w.in_mempool() == "nothing");
    CHECK(w.payee_told.names() == "error");
    CHECK(w.payee_told.last(event_kind::error).problem.code == errc::insufficient_funds);
    CHECK(w.server_record().stage == channel_stage::open);
    // Told again as long as it lasts, and not with every block.
    for (int i = 0; i < 9; ++i) {
        w.tick();
        w.mine();
    }
    CHECK(w.payee_told.names() == "error error");
}

TEST_CASE("a key store that cannot sign at the deadline is asked again at the next tick", "[book]") {
    left_alone w;
    w.payee.plan = {call::keys_sign, fault::fails, 0, false};
    w.set_time(w.expiry + -w.server_settings.settle_margin);
    w.tick();
    CHECK(w.payee.plan.hit);
    CHECK(w.in_mempool() == "nothing");
    CHECK(w.payee_told.last(event_kind::error).problem.code == errc::key_unavailable);
    w.tick();  // no block came
    CHECK(w.in_mempool() == "settlement");
}

TEST_CASE("a settlement that could not be stored is not broadcast, and built again at the next tick", "[book]") {
    left_alone w;
    w.payee.plan = {call::store_put, GENERATE(fault::fails, fault::fails_after), 0, false};
    w.set_time(w.expiry + -w.server_settings.settle_margin);
    w.tick();
    CHECK(w.payee.plan.hit);
    CHECK(w.in_mempool() == "nothing");
    w.tick();  // no block came
    CHECK(w.in_mempool() == "settlement");
    CHECK(w.server_record().closing == *w.chain.spender_in_mempool(w.contract));
}

namespace {
/// A store without put_many: put_all writes a batch one record after the other.
struct plain_store {
    fault_plan& plan;
    memory_store& disk;
    std::optional<record_kind> damaged = std::nullopt;

    result<void> put(const record_id& id, std::uint64_t version, bytes_view b) {
        return plan.run(call::store_put, errc::store_failed, [&] { return disk.put(id, version, b); });
    }
    result<stored_record> get(const record_id& id, bytes_span memory) {
        if (id.kind == damaged) return fail(errc::corrupt_record, "as planned by the test");
        return disk.get(id, memory);
    }
    result<void> erase(const record_id& id) { return disk.erase(id); }
    template <class F>
    result<void> list(record_kind kind, F&& f) {
        return disk.list(kind, f);
    }
};
static_assert(Store<plain_store> && !BatchStore<plain_store>);
}  // namespace

TEST_CASE("a settlement whose batch was cut in two is made by the next process", "[book]") {
    left_alone w;
    w.set_time(w.expiry + -w.server_settings.settle_margin);
    const fault how = GENERATE(fault::fails, fault::fails_after, fault::crashes, fault::crashes_after);
    const int n = GENERATE(0, 1);
    const bool wrote = how == fault::fails_after || how == fault::crashes_after;
    const std::uint64_t version = w.server_record().version;
    fault_plan plan{call::store_put, how, n, false};
    plain_store store{plan, w.payee.disk};
    using plain_book =
        server_book<both_versions, plain_store, faulty_keys, faulty_wallet, chain_follower, hooked_events>;
    {
        chain_follower view(w.chain);
        plain_book book(both_versions{}, store, w.payee.keys, w.payee.wallet, view, w.payee_told, w.server_settings);
        REQUIRE(book.load());
        view.deliver(book);
        try {
            book.tick(w.clock.now());
        } catch (const crash&) {
        }
        REQUIRE(plan.hit);
        CHECK(w.in_mempool() == "nothing");
    }
    // First the channel's record, then the settlement.
    const bool record_there = n == 1 || wrote;
    CHECK(w.server_record().version == version + (record_there ? 1 : 0));
    CHECK(w.server_record().stage == (record_there ? channel_stage::settling : channel_stage::open));
    CHECK(stored_bytes(w.payee.disk, record_kind::server_settlement, w.id).empty() == !(n == 1 && wrote));

    chain_follower view(w.chain);
    // The fee of another day makes another settlement where there is none yet.
    plain_book book(both_versions{}, store, w.payee.keys, w.payee.wallet, view, w.payee_told, w.server_settings);
    book.on_fee_rate({3'000});
    REQUIRE(book.load());
    view.deliver(book);
    book.tick(w.clock.now());
    view.deliver(book);
    REQUIRE(w.in_mempool() == "settlement");
    const txid closing = *w.chain.spender_in_mempool(w.contract);
    CHECK(w.server_record().closing == closing);
    CHECK(parse_transaction(stored_bytes(w.payee.disk, record_kind::server_settlement, w.id))->id() == closing);
    w.mine();
    view.deliver(book);
    CHECK(w.payee_told.last(event_kind::confirmed).closing == closing);
}

TEST_CASE("a process that goes on after such a failure settles at its next tick", "[book]") {
    left_alone w;
    w.set_time(w.expiry + -w.server_settings.settle_margin);
    fault_plan plan{call::store_put, GENERATE(fault::fails, fault::fails_after), GENERATE(0, 1), false};
    plain_store store{plan, w.payee.disk};
    chain_follower view(w.chain);
    server_book book(both_versions{}, store, w.payee.keys, w.payee.wallet, view, w.payee_told, w.server_settings);
    REQUIRE(book.load());
    view.deliver(book);
    book.tick(w.clock.now());
    REQUIRE(plan.hit);
    CHECK(w.in_mempool() == "nothing");
    CHECK(w.payee_told.names() == "error");
    book.tick(w.clock.now());  // no block came
    view.deliver(book);
    CHECK(w.in_mempool() == "settlement");
    CHECK(w.server_record().closing == *w.chain.spender_in_mempool(w.contract));
    CHECK(parse_transaction(stored_bytes(w.payee.disk, record_kind::server_settlement, w.id))->id() ==
          w.server_record().closing);
}

TEST_CASE("a disk that takes nothing any more does not keep a settlement back until it is too late", "[book]") {
    left_alone w;
    const std::int64_t margin = w.server_settings.settle_margin;
    fault_plan every_write{call::store_put, fault::fails, 0, false};
    plain_store store{every_write, w.payee.disk};
    chain_follower view(w.chain);
    server_book book(both_versions{}, store, w.payee.keys, w.payee.wallet, view, w.payee_told, w.server_settings);
    REQUIRE(book.load());
    view.deliver(book);
    const auto tick_at = [&](unix_time now) {
        every_write.left = 0;
        book.tick(now);
        view.deliver(book);
        CHECK(every_write.hit);
    };
    tick_at(w.expiry + -margin);
    tick_at(w.expiry + -(margin / 2 + 1));
    CHECK(w.in_mempool() == "nothing");  // there is time for another try
    tick_at(w.expiry + -(margin / 2));
    CHECK(w.in_mempool() == "settlement");
    CHECK(w.server_record().stage == channel_stage::open);

    w.chain.forget(*w.chain.spender_in_mempool(w.contract));
    w.chain.mine(1, p2pkh_script({}).view(), memory_chain::contents::nothing);
    view.deliver(book);
    tick_at(w.expiry + -(margin / 2));
    CHECK(w.in_mempool() == "settlement");  // with each block, as ever
    w.chain.forget(*w.chain.spender_in_mempool(w.contract));
    for (const std::int64_t early : {1, 0}) {  // at the word of somebody who does not wait for the book
        every_write.left = 0;
        CHECK_FALSE(book.settle(w.id, w.expiry + -(margin / 2 + early)));
        view.deliver(book);
        CHECK(w.in_mempool() == (early == 1 ? "nothing" : "settlement"));
    }
    CHECK(w.payee_told.last(event_kind::error).problem.code == errc::store_failed);
}

TEST_CASE("a settlement whose record is damaged is built again", "[book]") {
    left_alone w;
    w.payee_view.set_node(chain_follower::node::down);
    REQUIRE(w.server_side->settle(w.id));
    const std::uint64_t version = w.server_record().version;
    fault_plan plan;
    plain_store store{plan, w.payee.disk, record_kind::server_settlement};
    chain_follower view(w.chain);
    server_book book(both_versions{}, store, w.payee.keys, w.payee.wallet, view, w.payee_told, w.server_settings);
    REQUIRE(book.load());
    view.deliver(book);
    book.tick(w.clock.now());
    view.deliver(book);
    CHECK(w.in_mempool() == "settlement");
    CHECK(w.server_record().version == version + 1);
}

TEST_CASE("a book whose program lacks the channel's version says so, and does not lose the channel", "[book]") {
    left_alone w(true, 2);
    hooked_events told;
    chain_follower view(w.chain);
    server_book older(contracts<multisig_refund>{}, w.payee.store, w.payee.keys, w.payee.wallet, view, told,
                      w.server_settings);
    REQUIRE(older.load());
    view.deliver(older);
    const std::uint64_t version = w.server_record().version;
    CHECK(older.settle(w.id).error().code == errc::unsupported);
    w.set_time(w.expiry + -w.server_settings.settle_margin);
    for (int i = 0; i < 3; ++i) {
        older.tick(w.clock.now());
        w.mine();
        view.deliver(older);
    }
    CHECK(told.names() == "error");  // once
    CHECK(told.last(event_kind::error).problem.code == errc::unsupported);
    CHECK(told.last(event_kind::error).channel == w.id);
    w.mine(150);
    view.deliver(older);
    older.tick(w.clock.now());
    CHECK(older.size() == 1);
    CHECK(w.server_record().version == version);
    CHECK(w.in_mempool() == "nothing");
    // A program that has it settles.
    w.tick();
    CHECK(w.in_mempool() == "settlement");
}

TEST_CASE("a settlement that is on disk is broadcast by a program that could not have made it", "[book]") {
    left_alone w(true, 2);
    w.payee_view.set_node(chain_follower::node::down);
    REQUIRE(w.server_side->settle(w.id));
    REQUIRE(w.in_mempool() == "nothing");
    hooked_events told;
    chain_follower view(w.chain);
    server_book older(contracts<multisig_refund>{}, w.payee.store, w.payee.keys, w.payee.wallet, view, told,
                      w.server_settings);
    REQUIRE(older.load());
    view.deliver(older);
    older.tick(w.clock.now());
    view.deliver(older);
    CHECK(w.in_mempool() == "settlement");
}

TEST_CASE("a payment that waited for its answer when the process died is settled like any other", "[book]") {
    world w(each_version());
    w.payee.events.answer = [](const event&) { return payment_answer::hold(); };
    REQUIRE(w.open());
    REQUIRE(w.c->pay(satoshi{70'000}));
    w.run();
    REQUIRE(w.s->phase() == server_phase::answering);
    w.reconnect();
    hooked_events told;
    payees_book book(both_versions{}, w.payee.store, w.payee.keys, w.payee.wallet, w.payee.network, told,
                     w.server_settings);
    REQUIRE(book.load());
    w.payee.follower.deliver(book);
    REQUIRE(book.settle(w.channel()));
    w.payee.follower.deliver(book);
    CHECK(told.last(event_kind::settled).total == satoshi{71'000});
    CHECK(w.chain.spender_in_mempool({w.channel(), 0}));
}

// ---- Reorganisations

TEST_CASE("a settlement that a reorganisation takes out of the chain is broadcast again", "[book]") {
    left_alone w;
    w.mine(3);
    w.settle_and_mine();
    REQUIRE(w.payee_told.count(event_kind::confirmed) == 1);
    const txid closing = w.server_record().closing;
    REQUIRE(w.chain.disconnect_tip());
    w.chain.forget(closing);
    w.mine(2);  // another branch, without it
    w.tick();
    CHECK(w.in_mempool() == "settlement");
    w.mine();
    w.tick();
    CHECK(w.chain.confirmations(closing) == 1);
    CHECK(w.payee_told.count(event_kind::confirmed) == 2);
    CHECK(w.server_record().closing_height == w.chain.height());
}

TEST_CASE("burial counts from the block that the settlement is in after a reorganisation", "[book]") {
    left_alone w;
    w.settle_and_mine();
    w.mine(50);
    w.tick();
    const txid closing = w.server_record().closing;
    while (w.chain.confirmations(closing) > 0) REQUIRE(w.chain.disconnect_tip());
    w.chain.forget(closing);
    w.mine(60);
    w.tick();  // broadcast again
    w.mine(99);
    w.tick();
    CHECK(w.payee_told.count(event_kind::buried) == 0);
    CHECK(w.server_side->size() == 1);
    w.mine();
    w.tick();
    CHECK(w.payee_told.count(event_kind::buried) == 1);
}

TEST_CASE("a refund that a reorganisation takes out of the chain is raced by the server's settlement", "[book]") {
    // The server was away until the refund was mined: it has never made a settlement.
    left_alone w;
    w.set_time(w.expiry + 1);
    w.mine(12);
    w.catch_up();
    w.client_side->tick();
    w.mine();
    w.catch_up();
    REQUIRE(w.payee_told.names() == "confirmed");
    CHECK(w.server_record().stage == channel_stage::settling);
    REQUIRE(w.server_side->settle(w.id).error().code == errc::wrong_state);
    const txid refund = w.server_record().closing;
    REQUIRE(w.chain.disconnect_tip());
    w.chain.forget(refund);
    w.mine(2);
    w.catch_up();
    w.server_side->tick(w.clock.now());
    CHECK(w.in_mempool() == "settlement");
    w.catch_up();
    w.mine();
    w.catch_up();
    CHECK(w.payee_told.last(event_kind::confirmed).closing != refund);
}

// ---- The end

TEST_CASE("a channel's records are erased when its end is 100 blocks deep, and not before", "[book]") {
    left_alone w;
    w.settle_and_mine();
    w.mine(98);
    w.tick();
    const auto all = {
        std::pair{&w.payer.disk, record_kind::client_channel},
        std::pair{&w.payer.disk, record_kind::client_contract},
        std::pair{&w.payer.disk, record_kind::client_refund},
        std::pair{&w.payee.disk, record_kind::server_channel},
        std::pair{&w.payee.disk, record_kind::server_contract},
        std::pair{&w.payee.disk, record_kind::server_settlement},
    };
    CHECK(w.chain.confirmations(w.server_record().closing) == 99);
    for (const auto& [disk, kind] : all) CHECK(stored_channels(*disk, kind).size() == 1);
    CHECK(w.payee_told.count(event_kind::buried) == 0);
    w.mine();
    w.tick();
    for (const auto& [disk, kind] : all) CHECK(stored_channels(*disk, kind).empty());
    CHECK(w.payee_told.last(event_kind::buried).channel == w.id);
    CHECK(w.payer_told.last(event_kind::buried).channel == w.id);
    CHECK(w.server_side->size() == 0);
    CHECK(w.client_side->size() == 0);
    w.mine(3);
    w.tick();
    CHECK(w.payee_told.count(event_kind::buried) == 1);
}

TEST_CASE("a deletion that fails is done again, and the channel's record goes last", "[book]") {
    left_alone w;
    w.settle_and_mine();
    w.mine(98);
    w.tick();
    const int n = GENERATE(0, 1, 2);
    w.payee.plan = {call::store_erase, fault::fails, n, false};
    w.mine();
    w.tick();
    REQUIRE(w.payee.plan.hit);
    CHECK(stored_channels(w.payee.disk, record_kind::server_channel).size() == 1);
    CHECK(w.payee_told.count(event_kind::buried) == 0);
    w.tick();
    CHECK(stored_channels(w.payee.disk, record_kind::server_channel).empty());
    CHECK(w.payee_told.count(event_kind::buried) == 1);
}

TEST_CASE("a channel that a connection still holds is not erased before that lets go", "[book]") {
    // The connection could write its record anew after the deletion.
    left_alone w;
    w.settle_and_mine();
    w.payee_told.attached.push_back(w.id);
    w.mine(150);
    w.tick();
    CHECK(w.payee_told.count(event_kind::buried) == 0);
    CHECK(w.server_side->size() == 1);
    CHECK(stored_channels(w.payee.disk, record_kind::server_channel).size() == 1);
    w.payee_told.attached.clear();
    w.tick();
    CHECK(w.payee_told.count(event_kind::buried) == 1);
    CHECK(stored_channels(w.payee.disk, record_kind::server_channel).empty());
}

TEST_CASE("an unspent contract is never buried, however long it takes", "[book]") {
    left_alone w;
    w.mine(250);
    w.tick();
    CHECK(w.server_side->size() == 1);
    CHECK(w.client_side->size() == 1);
    CHECK(w.server_record().stage == channel_stage::open);
}

// ---- Restarts

TEST_CASE("a book that starts again learns from the blocks what ended its channels", "[book]") {
    left_alone w;
    w.settle_and_mine();
    w.mine(5);
    w.start();  // a rescan tells the same again
    CHECK(w.payee_told.count(event_kind::confirmed) == 2);
    w.tick();
    CHECK(w.chain.mempool_size() == 0);
    w.mine(94);
    w.start();
    w.tick();
    CHECK(w.payee_told.count(event_kind::buried) == 1);
    CHECK(w.payer_told.count(event_kind::buried) == 1);
}

TEST_CASE("a settlement that was broadcast before a restart is broadcast after it", "[book]") {
    left_alone w;
    w.payee_view.set_node(chain_follower::node::down);
    REQUIRE(w.server_side->settle(w.id));
    w.start();
    CHECK(w.in_mempool() == "nothing");
    w.tick();
    CHECK(w.in_mempool() == "settlement");
}

TEST_CASE("a book does not bury by a height that is on disk only", "[book]") {
    // The chain that the record speaks of may be gone.
    left_alone w;
    w.settle_and_mine();
    const txid closing = w.server_record().closing;
    REQUIRE(w.chain.disconnect_tip());
    w.chain.forget(closing);
    w.mine(200);
    w.start();
    w.tick();
    CHECK(w.payee_told.count(event_kind::buried) == 0);
    CHECK(w.in_mempool() == "settlement");
}

TEST_CASE("a damaged record is reported, and the others load", "[book]") {
    left_alone w;
    const txid broken{sha256(as_bytes("broken"))};
    const txid newer{sha256(as_bytes("newer"))};
    for (auto* disk : {&w.payee.disk, &w.payer.disk}) {
        const auto kind = disk == &w.payee.disk ? record_kind::server_channel : record_kind::client_channel;
        bytes record = stored_bytes(*disk, kind, w.id);
        record[40] ^= 1;
        REQUIRE(disk->put({kind, broken}, 1, record));
        record[0] = record_format + 1;
        REQUIRE(disk->put({kind, newer}, 1, record));
    }
    w.start();
    CHECK(w.server_side->size() == 1);
    CHECK(w.client_side->size() == 1);
    for (const event_log* log : std::initializer_list<const event_log*>{&w.payee_told, &w.payer_told}) {
        REQUIRE(log->heard.size() == 2);
        for (const heard_event& e : log->heard) {
            CHECK(e.kind == event_kind::error);
            CHECK(e.problem.code == (e.channel == broken ? errc::corrupt_record : errc::unknown_format));
            CHECK((e.channel == broken || e.channel == newer));
        }
    }
    // And the good one is still brought home.
    w.set_time(w.expiry + -w.server_settings.settle_margin);
    w.tick();
    CHECK(w.in_mempool() == "settlement");
    CHECK(stored_channels(w.payee.disk, record_kind::server_channel).size() == 3);
}

TEST_CASE("a store that cannot list is an error, not an empty book", "[book]") {
    left_alone w;
    w.payee.plan = {call::store_list, fault::fails, 0, false};
    payees_book book(both_versions{}, w.payee.store, w.payee.keys, w.payee.wallet, w.payee_network, w.payee_told);
    const auto loaded = book.load();
    REQUIRE_FALSE(loaded);
    CHECK(loaded.error().code == errc::store_failed);
}

// ---- Beside connections

TEST_CASE("a book that hears a driver's events watches its channels", "[book]") {
    world w(each_version());
    payees_book* server_side = nullptr;
    hooked_events told;
    payees_book book(both_versions{}, w.payee.store, w.payee.keys, w.payee.wallet, w.payee.network, told,
                     w.server_settings);
    server_side = &book;
    w.payee.events.then = [&](const event& e) { server_side->on_event(e); };
    REQUIRE(w.open());
    CHECK(book.size() == 1);
    REQUIRE(w.pays(20'000));
    REQUIRE(w.c->settle());
    w.run();
    // The book's view of the network is its own.
    w.chain.forget(*w.chain.spender_in_mempool({w.channel(), 0}));
    w.chain.mine(1, p2pkh_script({}).view());
    w.payee.follower.deliver(book);
    book.tick(w.clock.now());
    CHECK(w.chain.spender_in_mempool({w.channel(), 0}));
}

TEST_CASE("a settlement that a connection has told of is not told again by the book", "[book]") {
    world w(each_version());
    hooked_events told;
    payees_book book(both_versions{}, w.payee.store, w.payee.keys, w.payee.wallet, w.payee.network, told,
                     w.server_settings);
    w.payee.events.then = [&](const event& e) { book.on_event(e); };
    REQUIRE(w.open());
    REQUIRE(w.c->settle());
    w.run();
    REQUIRE(w.payee.events.count(event_kind::settled) == 1);
    w.chain.mine(1, p2pkh_script({}).view(), memory_chain::contents::nothing);
    for (int i = 0; i < 3; ++i) {
        w.payee.follower.deliver(book);
        book.tick(w.clock.now());
    }
    CHECK(told.count(event_kind::settled) == 0);
}

TEST_CASE("a channel whose contract never came is not settled with every block, and is forgotten in the end",
          "[book]") {
    world w(each_version());
    w.payee.follower.refuse_next("bad-txns-inputs-missingorspent");
    REQUIRE(w.open());
    const txid id = w.channel();
    REQUIRE(w.payee.events.last(event_kind::error).problem.code == errc::bad_transaction);
    // It reached the mempool by another way, and left it again.
    w.chain.forget(id);
    hooked_events told;
    payees_book book(both_versions{}, w.payee.store, w.payee.keys, w.payee.wallet, w.payee.network, told,
                     w.server_settings);
    REQUIRE(book.load());
    REQUIRE(book.size() == 1);
    const auto version = load_record(w.payee.disk, record_kind::server_channel, id)->version;
    const auto pass = [&](unix_time t) {
        w.chain.set_time(t);
        w.clock.set(t);
        w.chain.mine(12, p2pkh_script({}).view());
        w.payee.follower.deliver(book);
        book.tick(w.clock.now());
        w.payee.follower.deliver(book);  // asked once more, the network takes it,
        w.chain.forget(id);              // and forgets it before it is mined
    };
    const unix_time expiry = load_record(w.payee.disk, record_kind::server_channel, id)->terms.expiry;
    pass(expiry);
    pass(expiry + 604'700);
    CHECK(book.size() == 1);
    CHECK(load_record(w.payee.disk, record_kind::server_channel, id)->version == version);
    pass(expiry + 604'900);
    CHECK(book.size() == 0);
    CHECK(told.count(event_kind::buried) == 1);
    CHECK(stored_channels(w.payee.disk, record_kind::server_channel).empty());
    CHECK(stored_channels(w.payee.disk, record_kind::server_contract).empty());
}

namespace {
/// A server that stored a contract and heard nothing of it: the node was down, and the connection is gone.
struct never_answered : world {
    txid id;
    hooked_events told;
    payees_book book{both_versions{}, payee.store, payee.keys, payee.wallet, payee.network, told, server_settings};

    never_answered() : world(each_version()) {
        payee.follower.set_node(chain_follower::node::down);
        REQUIRE(open());
        id = channel();
        reconnect();
        payee.follower.set_node(chain_follower::node::up);
        REQUIRE(load_record(payee.disk, record_kind::server_channel, id)->stage == channel_stage::contract_stored);
        REQUIRE(book.load());
        payee.follower.deliver(book);
        REQUIRE(book.size() == 1);
    }
    [[nodiscard]] std::size_t records() const {
        return stored_channels(payee.disk, record_kind::server_channel).size() +
               stored_channels(payee.disk, record_kind::server_contract).size();
    }
};
}  // namespace

TEST_CASE("a contract that is refused and never opened a channel is forgotten after six blocks, not before", "[book]") {
    never_answered w;
    w.chain.forget(w.id);
    const auto pass = [&](int blocks) {
        for (int i = 0; i < blocks; ++i) {
            w.chain.mine(1, p2pkh_script({}).view());
            w.payee.follower.deliver(w.book);
            w.book.tick(w.clock.now());
        }
    };
    pass(1);  // asks the network
    w.payee.follower.deliver(w.book);
    w.chain.forget(w.id);
    const auto refuse = [&] {
        w.book.on_broadcast(w.id, broadcast_outcome::refused, "bad-txns-inputs-missingorspent");
    };
    SECTION("refused") {
        refuse();
        pass(5);  // another node may be a block ahead of ours, or its mempool fuller: the client may come back
        CHECK(w.told.heard.empty());
        CHECK(w.records() == 2);
        pass(1);
        CHECK(w.told.names() == "buried");
        CHECK(w.told.last(event_kind::buried).channel == w.id);
        CHECK(w.book.size() == 0);
        CHECK(w.records() == 0);
        refuse();
        pass(1);
        CHECK(w.told.names() == "buried");
    }
    SECTION("not while a connection holds it") {
        w.told.attached.push_back(w.id);
        refuse();
        pass(10);
        CHECK(w.told.heard.empty());
        CHECK(w.records() == 2);
    }
    SECTION("not when it is in a block") {
        refuse();
        REQUIRE(w.chain.submit(stored_bytes(w.payee.disk, record_kind::server_contract, w.id)).accepted);
        pass(10);
        CHECK(w.told.heard.empty());
        CHECK(w.records() == 2);
    }
    SECTION("not when it is accepted after all, or nobody answers, or another one is refused") {
        refuse();
        w.book.on_broadcast(w.id, broadcast_outcome::accepted, "");
        w.book.on_broadcast(w.id, broadcast_outcome::unreachable, "");
        w.book.on_broadcast(txid{bytes32{9}}, broadcast_outcome::refused, "");
        pass(10);
        CHECK(w.told.heard.empty());
        CHECK(w.records() == 2);
    }
    SECTION("a deletion that fails is done later") {
        refuse();
        pass(5);
        w.payee.plan = {call::store_erase, fault::fails, GENERATE(0, 1, 2), false};
        pass(1);
        REQUIRE(w.payee.plan.hit);
        CHECK(w.told.heard.empty());
        CHECK(w.book.size() == 1);
        pass(1);
        CHECK(w.told.names() == "buried");
        CHECK(w.records() == 0);
    }
    SECTION("not when it opened meanwhile: then it is unbacked") {
        REQUIRE(w.open(satoshi{0}));  // the book is told nothing of it
        REQUIRE(w.pays(10));
        w.reconnect();
        w.chain.forget(w.id);
        refuse();
        CHECK(load_record(w.payee.disk, record_kind::server_channel, w.id)->stage == channel_stage::unbacked);
        w.payee.follower.set_node(chain_follower::node::down);  // it is not offered again
        w.book.tick(w.clock.now());
        CHECK(w.told.heard.empty());
        CHECK(w.records() == 2);
    }
}

namespace {
/// The book's listener beside one connection, as a TCP server answers for many.
struct events_beside : event_log {
    world& w;
    explicit events_beside(world& beside) : w(beside) {}
    bool is_attached(const txid& id) const {
        const server_phase p = w.s->phase();
        const bool holds = p == server_phase::broadcasting || is_open(p) || p == server_phase::settling;
        return holds && w.s->record().terms.contract.id == id;
    }
};
}  // namespace

TEST_CASE("a refusal is told to the connection first, and then the book counts or marks the channel", "[book]") {
    world w(each_version());
    events_beside told(w);
    server_book book(both_versions{}, w.payee.store, w.payee.keys, w.payee.wallet, w.payee.network, told,
                     w.server_settings);
    w.payee.events.then = [&](const event& e) { book.on_event(e); };
    const auto run = [&] {
        for (int i = 0; i < 100; ++i)
            if (pump(w.pipe, *w.c, *w.s) + w.payee.follower.deliver(*w.s, book) == 0) return;
    };
    SECTION("a contract that never opened a channel") {
        w.payee.follower.refuse_next("bad-txns-inputs-missingorspent");
        REQUIRE(w.c->connect(satoshi{1'000'000}));
        run();
        CHECK(w.payee.events.names() == "stored error closed");
        REQUIRE(book.size() == 1);
        w.chain.mine(1, p2pkh_script({}).view());  // a height to count from
        run();
        w.payee.follower.refuse_next("bad-txns-inputs-missingorspent");
        book.on_broadcast(w.channel(), broadcast_outcome::refused, "bad-txns-inputs-missingorspent");
        w.chain.mine(6, p2pkh_script({}).view());
        run();
        book.tick(w.clock.now());
        CHECK(told.names() == "buried");
        CHECK(book.size() == 0);
        CHECK(stored_channels(w.payee.disk, record_kind::server_channel).empty());
        CHECK(stored_channels(w.payee.disk, record_kind::server_contract).empty());
    }
    SECTION("a contract that opened one") {
        REQUIRE(w.c->connect(satoshi{1'000'000}));
        run();
        REQUIRE(w.s->phase() == server_phase::open);
        w.chain.forget(w.channel());
        w.payee.follower.refuse_next("bad-txns-inputs-missingorspent");
        w.chain.mine(1, p2pkh_script({}).view());
        w.payee.follower.deliver(book);
        book.tick(w.clock.now());  // offers the contract again
        run();
        CHECK(w.s->phase() == server_phase::ended);
        CHECK(w.payee.events.last(event_kind::error).problem.code == errc::bad_transaction);
        const auto record = load_record(w.payee.disk, record_kind::server_channel, w.channel());
        REQUIRE(record);
        CHECK(record->stage == channel_stage::unbacked);
        CHECK(record->version == w.s->record().version);  // written once, by the connection
        CHECK(book.size() == 1);
    }
}

TEST_CASE("an open channel whose contract is refused takes no payment before the network takes it", "[book]") {
    left_alone w(false);
    w.chain.forget(w.id);
    w.payee_view.refuse_next("bad-txns-inputs-missingorspent");
    const std::uint64_t version = w.server_record().version;
    SECTION("nobody holds it") {
        w.tick();
        CHECK(w.server_record().stage == channel_stage::unbacked);
        CHECK(w.server_record().version == version + 1);
        CHECK(w.server_record().paid() == satoshi{50'000});
        CHECK(w.payee_told.heard.empty());
        // It is not forgotten, and its contract is offered with each block; the client comes back, too.
        w.mine();
        w.tick();
        CHECK(w.chain.in_mempool(w.id));
        w.payee.events.heard.clear();
        REQUIRE(w.open(satoshi{0}));
        CHECK(w.s->phase() == server_phase::open);
        CHECK(w.server_record().stage == channel_stage::open);
        CHECK(w.payee.events.names() == "stored opened");
        CHECK(w.pays(1));
    }
    SECTION("at the deadline it is settled all the same, if the network has taken the contract since") {
        w.chain.mine(1, p2pkh_script({}).view(), memory_chain::contents::nothing);
        w.tick();
        REQUIRE(w.server_record().stage == channel_stage::unbacked);
        const bool taken = GENERATE(true, false);
        if (!taken) w.payee_view.refuse_next("mempool min fee not met");
        w.chain.mine(1, p2pkh_script({}).view(), memory_chain::contents::nothing);
        w.tick();
        REQUIRE(w.chain.in_mempool(w.id) == taken);
        w.set_time(w.expiry + -w.server_settings.settle_margin);
        w.tick();
        CHECK(w.in_mempool() == (taken ? "settlement" : "nothing"));
        // Taken at last: it is not too late.
        w.chain.mine(1, p2pkh_script({}).view(), memory_chain::contents::nothing);
        w.tick();
        w.tick();
        CHECK(w.in_mempool() == "settlement");
    }
    SECTION("a connection holds it, and hears of it itself") {
        w.payee_told.attached.push_back(w.id);
        w.tick();
        CHECK(w.server_record().stage == channel_stage::open);
        CHECK(w.server_record().version == version);
    }
    SECTION("the disk cannot take it: reported, and seen again with the next block") {
        w.payee.plan = {call::store_put, fault::fails, 0, false};
        w.tick();
        CHECK(w.payee.plan.hit);
        CHECK(w.payee_told.names() == "error");
        CHECK(w.server_record().stage == channel_stage::open);
        w.payee_view.refuse_next("bad-txns-inputs-missingorspent");
        w.mine();
        w.tick();
        CHECK(w.server_record().stage == channel_stage::unbacked);
    }
}

TEST_CASE("a refusal of a contract that is in a block changes nothing", "[book]") {
    left_alone w;
    const std::uint64_t version = w.server_record().version;
    w.server_side->on_broadcast(w.id, broadcast_outcome::refused, "bad-txns-inputs-missingorspent");
    CHECK(w.server_record().version == version);
    CHECK(w.server_record().stage == channel_stage::open);
    CHECK(w.payee_told.heard.empty());
    CHECK(w.server_side->size() == 1);
}

TEST_CASE("a channel that never opened is settled all the same when its contract is mined", "[book]") {
    world w(each_version());
    w.payee.follower.refuse_next("min relay fee not met");
    REQUIRE(w.open());
    const txid id = w.channel();
    const auto contract = stored_bytes(w.payee.disk, record_kind::server_contract, id);
    REQUIRE(w.chain.submit(contract).accepted);
    w.chain.mine(1, p2pkh_script({}).view());
    hooked_events told;
    payees_book book(both_versions{}, w.payee.store, w.payee.keys, w.payee.wallet, w.payee.network, told,
                     w.server_settings);
    REQUIRE(book.load());
    w.payee.follower.deliver(book);
    book.tick(load_record(w.payee.disk, record_kind::server_channel, id)->terms.expiry);
    CHECK(w.chain.spender_in_mempool({id, 0}));
}

TEST_CASE("a connection cannot ack a payment on a channel that the book has settled", "[book]") {
    world w(each_version());
    REQUIRE(w.open());
    hooked_events told;
    payees_book book(both_versions{}, w.payee.store, w.payee.keys, w.payee.wallet, w.payee.network, told,
                     w.server_settings);
    REQUIRE(book.load());
    REQUIRE(book.settle(w.channel()));
    outcome o;
    REQUIRE(w.c->pay(satoshi{5'000}, o.callback()));
    (void)pump(w.pipe, *w.c, *w.s);
    CHECK(o.calls == 1);
    CHECK_FALSE(o.told);
    CHECK(w.payee.events.last(event_kind::error).problem.code == errc::stale_record);
    CHECK(load_record(w.payee.disk, record_kind::server_channel, w.channel())->paid() == satoshi{1'000});
}

TEST_CASE("a client whose contract was spent pays no more on it", "[book]") {
    world w(each_version());
    REQUIRE(w.open());
    REQUIRE(w.pays(5'000));
    payers_book book(w.payer.store, w.payer.network, w.payer.events);
    REQUIRE(book.load());
    hooked_events told;
    payees_book theirs(both_versions{}, w.payee.store, w.payee.keys, w.payee.wallet, w.payee.network, told,
                       w.server_settings);
    REQUIRE(theirs.load());
    REQUIRE(theirs.settle(w.channel()));
    w.chain.mine(1, p2pkh_script({}).view());
    w.payer.follower.deliver(book);
    CHECK(w.payer.events.last(event_kind::confirmed).closing ==
          load_record(w.payee.disk, record_kind::server_channel, w.channel())->closing);
    const auto refused = w.c->pay(satoshi{1});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == errc::stale_record);
    // The next connection opens a new channel instead.
    const txid first = w.channel();
    w.reconnect();
    REQUIRE(w.open());
    CHECK(w.channel() != first);
    CHECK(w.pays(1));
}

// ---- One store, several processes

namespace {

/// Another process with a server's book over the same store.
struct second_process {
    chain_follower view;
    faulty_broadcaster<chain_follower> network;
    hooked_events told;
    payees_book book;

    explicit second_process(left_alone& w)
        : view(w.chain),
          network{w.payee.plan, view},
          book(both_versions{}, w.payee.store, w.payee.keys, w.payee.wallet, network, told, w.server_settings) {}

    void tick(left_alone& w) {
        while (view.deliver(book) > 0) {
        }
        book.tick(w.clock.now());
        while (view.deliver(book) > 0) {
        }
    }
};

}  // namespace

TEST_CASE("a channel that another process has stored since is found, and settled when it is due", "[book][shared]") {
    left_alone w;
    second_process other(w);
    CHECK(other.book.size() == 0);
    REQUIRE(other.book.refresh());
    CHECK(other.book.size() == 1);
    CHECK(other.book.unended() == 1);
    CHECK(other.book.next_expiry() == w.expiry);
    REQUIRE(other.book.refresh());
    CHECK(other.book.size() == 1);
    w.set_time(w.expiry + -w.server_settings.settle_margin);
    other.tick(w);
    CHECK(w.in_mempool() == "settlement");
    w.mine();
    other.tick(w);
    CHECK(other.book.unended() == 0);
    CHECK(other.told.names() == "settled confirmed");
}

TEST_CASE("two processes with one store settle a channel once, and both see its end", "[book][shared]") {
    left_alone w;
    second_process other(w);
    REQUIRE(other.book.refresh());
    other.tick(w);
    w.set_time(w.expiry + -w.server_settings.settle_margin);
    w.tick();
    const channel_record settled = w.server_record();
    other.tick(w);
    CHECK(w.server_record().version == settled.version);
    CHECK(w.in_mempool() == "settlement");
    w.mine();
    w.tick();
    other.tick(w);
    CHECK(w.server_record().version == settled.version + 1);  // the block
    CHECK(w.payee_told.names() == "settled confirmed");
    CHECK(other.told.names() == "settled confirmed");
}

TEST_CASE("a channel that another process has opened since is not deleted as one that never began", "[book][shared]") {
    left_alone w(false);
    const auto put_stage = [&](channel_stage stage) {
        channel_record r = w.server_record();
        r.stage = stage;
        ++r.version;
        const auto encoded = write_record(r);
        REQUIRE(w.payee.disk.put({record_kind::server_channel, w.id}, r.version, encoded.view()));
    };
    put_stage(channel_stage::contract_stored);
    w.start();
    put_stage(channel_stage::open);
    w.set_time(w.expiry + (book_settings{}.stillborn_age + 1));
    w.chain.mine(12, p2pkh_script({}).view(), memory_chain::contents::nothing);
    w.catch_up();
    w.server_side->tick(w.clock.now());
    CHECK(load_record(w.payee.disk, record_kind::server_channel, w.id));
}

TEST_CASE("a channel that another process has opened since is settled, its contract in a block or not",
          "[book][shared]") {
    left_alone w(false);
    w.chain.mine(1, p2pkh_script({}).view(), memory_chain::contents::nothing);
    channel_record r = w.server_record();
    r.stage = channel_stage::contract_stored;
    ++r.version;
    auto encoded = write_record(r);
    REQUIRE(w.payee.disk.put({record_kind::server_channel, w.id}, r.version, encoded.view()));
    w.start();
    r.stage = channel_stage::open;
    ++r.version;
    encoded = write_record(r);
    REQUIRE(w.payee.disk.put({record_kind::server_channel, w.id}, r.version, encoded.view()));
    REQUIRE(w.server_side->refresh());
    w.set_time(w.expiry + -w.server_settings.settle_margin);
    w.tick();
    CHECK(w.in_mempool() == "settlement");
}

TEST_CASE("an unbacked channel whose contract is in a block that was not shown is settled, and kept until then",
          "[book][shared]") {
    left_alone w;
    channel_record r = w.server_record();
    r.stage = channel_stage::unbacked;
    ++r.version;
    REQUIRE(w.payee.disk.put({record_kind::server_channel, w.id}, r.version, write_record(r).view()));
    second_process other(w);
    other.view = chain_follower(w.chain, w.chain.height() + 1);
    const auto block = [&] {
        w.chain.mine(1, p2pkh_script({}).view());
        other.tick(w);
    };
    REQUIRE(other.book.refresh());
    SECTION("in time") {
        block();
        w.set_time(w.expiry + -w.server_settings.settle_margin);
        other.tick(w);
        CHECK(w.in_mempool() == "settlement");
    }
    SECTION("while the node says nothing, it is not deleted") {
        other.view.set_node(chain_follower::node::down);
        w.set_time(w.expiry + (book_settings{}.stillborn_age + 1));
        w.mine(12);
        for (int i = 0; i < 3; ++i) other.book.on_block(w.chain.block_at(w.chain.height() - 2 + i).value());
        other.book.tick(w.clock.now());
        CHECK(other.told.names().empty());
        CHECK(load_record(w.payee.disk, record_kind::server_channel, w.id));
    }
}

TEST_CASE("a settlement that was refused is built anew after ten minutes, also when no block is shown", "[book]") {
    left_alone w;
    w.tick();
    w.set_time(w.expiry + -w.server_settings.settle_margin);
    w.payee_view.refuse_next("mempool min fee not met");
    w.tick();
    REQUIRE(w.in_mempool() == "nothing");
    const auto tick_later = [&](std::int64_t seconds) {
        w.clock.advance(seconds);
        w.server_side->tick(w.clock.now());
    };
    tick_later(book_settings{}.retry - 1);
    CHECK(w.in_mempool() == "nothing");
    tick_later(1);
    CHECK(w.in_mempool() == "settlement");
}

TEST_CASE("the end of a channel that the disk did not take is written when it does", "[book]") {
    left_alone w;
    REQUIRE(w.server_side->settle(w.id));
    const channel_stage before = GENERATE(channel_stage::settling, channel_stage::open);
    if (before == channel_stage::open) {  // as after a full disk
        channel_record r = w.server_record();
        r.stage = before;
        r.closing = {};
        ++r.version;
        REQUIRE(w.payee.disk.put({record_kind::server_channel, w.id}, r.version, write_record(r).view()));
    }
    w.mine();
    w.payee.plan = {call::store_put, fault::fails, 0, false};
    w.catch_up();
    REQUIRE(w.payee.plan.hit);
    CHECK(w.server_record().closing_height == 0);
    w.server_side->add(w.id);  // what is stored is older than what this process knows
    CHECK(w.server_side->unended() == 0);
    w.server_side->tick(w.clock.now());
    CHECK(w.server_record().closing_height == w.chain.height());
    CHECK(w.server_record().stage == channel_stage::settling);
    CHECK(w.payee_told.count(event_kind::confirmed) == 1);
}

namespace {
/// A store from which another process deletes after some reads.
struct vanishing_store {
    memory_store& disk;
    int reads_left = -1;
    result<void> put(const record_id& id, std::uint64_t v, bytes_view b) { return disk.put(id, v, b); }
    result<stored_record> get(const record_id& id, bytes_span memory) {
        if (reads_left == 0) return fail(errc::not_found, "deleted by another process");
        if (reads_left > 0) --reads_left;
        return disk.get(id, memory);
    }
    result<void> erase(const record_id& id) { return disk.erase(id); }
    template <class F>
    result<void> list(record_kind kind, F&& f) {
        return disk.list(kind, f);
    }
};
}  // namespace

TEST_CASE("a channel that vanishes while it is being settled is not found", "[book][shared]") {
    left_alone w;
    vanishing_store store{w.payee.disk, 1};
    server_book book(both_versions{}, store, w.payee.keys, w.payee.wallet, w.payee_network, w.payee_told,
                     w.server_settings);
    const auto settled = book.settle(w.id);
    REQUIRE_FALSE(settled);
    CHECK(settled.error().code == errc::not_found);
}

TEST_CASE("a record that could not be read, and was then deleted by another process, leaves the book",
          "[book][shared]") {
    left_alone w;
    second_process other(w);
    w.payee.plan = {call::store_get, fault::fails, 0, false};
    REQUIRE(other.book.load());
    CHECK(other.book.size() == 1);
    CHECK_FALSE(other.book.next_expiry());
    REQUIRE(w.payee.disk.erase({record_kind::server_channel, w.id}));
    other.tick(w);
    CHECK(other.book.size() == 0);
    CHECK(other.book.unended() == 0);
}

TEST_CASE("an end that the store knows is believed when its block is on the chain and cannot be shown", "[book]") {
    left_alone w;
    w.settle_and_mine();
    const std::int32_t end = w.chain.height();
    w.mine(3);
    const channel_record known = w.server_record();
    REQUIRE(known.closing_height == end);
    second_process other(w);
    other.view = chain_follower(w.chain, w.chain.height() + 1);
    REQUIRE(other.book.load());
    const std::int32_t last = end - GENERATE(0, 1);  // the last one that is passed
    other.book.on_blocks_passed(1, last);
    const bool believed = last == end;
    CHECK(other.book.unended() == (believed ? 0 : 1));
    if (!believed) return;
    other.tick(w);
    w.mine(3);
    other.tick(w);
    CHECK(w.server_record().version == known.version);  // nothing was built anew
    w.mine(burial_depth - 8);
    other.tick(w);
    CHECK(other.told.names().empty());
    w.mine();
    other.tick(w);
    CHECK(other.told.names() == "buried");
    CHECK_FALSE(load_record(w.payee.disk, record_kind::server_channel, w.id));
}

TEST_CASE("a settlement that stays refused is built anew for another fee at once, else not with each block", "[book]") {
    left_alone w;
    REQUIRE(w.server_side->settle(w.id));
    w.chain.forget(*w.chain.spender_in_mempool(w.contract));
    const auto refused_block = [&] {
        w.payee_view.refuse_next("bad-txns-inputs-missingorspent");
        w.payee_view.refuse_next("bad-txns-inputs-missingorspent");
        w.chain.mine(1, p2pkh_script({}).view(), memory_chain::contents::nothing);
        w.tick();
    };
    refused_block();
    const std::uint64_t version = w.server_record().version;
    for (int i = 0; i < 4; ++i) refused_block();
    CHECK(w.server_record().version == version);
    SECTION("another fee") {
        w.server_side->on_fee_rate({5'000});
        refused_block();
    }
    SECTION("an hour later") {
        for (int i = 0; i < 2; ++i) refused_block();
    }
    CHECK(w.server_record().version == version + 1);
}

TEST_CASE("a settlement that fees have left behind is built anew with the next block, and either of the two will do",
          "[book]") {
    left_alone w;
    const bool by_another = GENERATE(false, true);
    w.server_side->on_fee_rate({2'000});
    REQUIRE(w.server_side->settle(w.id));
    w.catch_up();
    if (by_another) {
        w.start();
        w.server_side->on_fee_rate({2'000});
        w.tick();
    }
    const txid first = *w.chain.spender_in_mempool(w.contract);
    const auto empty_block = [&] {
        w.chain.mine(1, p2pkh_script({}).view(), memory_chain::contents::nothing);
        w.tick();
    };
    w.server_side->on_fee_rate({3'999});
    empty_block();
    CHECK(w.server_record().closing == first);
    w.server_side->on_fee_rate({4'000});
    w.tick();
    CHECK(w.server_record().closing == first);  // no block came
    empty_block();
    const txid second = w.server_record().closing;
    CHECK(second != first);
    CHECK(parse_transaction(stored_bytes(w.payee.disk, record_kind::server_settlement, w.id))->id() == second);
    REQUIRE(w.chain.spender_in_mempool(w.contract) == first);  // this node replaces nothing
    for (int i = 0; i < 4; ++i) empty_block();
    CHECK(w.server_record().closing == second);
    const bool evicted = GENERATE(false, true);
    if (evicted) {
        w.chain.forget(first);
        empty_block();
    }
    w.mine();
    w.tick();
    CHECK(w.payee_told.last(event_kind::confirmed).closing == (evicted ? second : first));
    CHECK(w.server_record().closing == (evicted ? second : first));
    CHECK(w.server_record().closing_height == w.chain.height());
}
