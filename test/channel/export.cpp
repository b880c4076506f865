// Export files: what was written is read, what is damaged or does not belong together is refused, old files load for ever.
#include "paychan/channel/export.hpp"

#include <catch2/catch.hpp>
#include <fstream>

#include "support/channel.hpp"
#include "support/versions.hpp"
#include "support/world.hpp"

using namespace paychan;
using namespace paychan_test;

namespace {

/// An open channel, and both sides' exports of it.
struct exported : world {
    txid id;
    bytes contract, refund;

    exported() : world(each_version()) {
        REQUIRE(open());
        REQUIRE(pays(5'000));
        id = channel();
        contract = stored_bytes(payer.disk, record_kind::client_contract, id);
        refund = stored_bytes(payer.disk, record_kind::client_refund, id);
    }
    [[nodiscard]] channel_export of_client() {
        return {network::signet, channel_role::client, load_record(payer.disk, record_kind::client_channel, id).value(),
                contract, refund};
    }
    [[nodiscard]] channel_export of_server() {
        return {network::mainnet,
                channel_role::server,
                load_record(payee.disk, record_kind::server_channel, id).value(),
                contract,
                {}};
    }
};

bytes file_of(const channel_export& e) {
    bytes memory(max_export_size);
    return owned(write_export(e, memory).value());
}

/// The file with another content, under the checksum that fits it.
bytes resealed(bytes file, std::size_t at, std::uint8_t value) {
    file[at] = value;
    const bytes32 sum = sha256(bytes_view(file).first(file.size() - 32));
    std::copy(sum.begin(), sum.end(), file.end() - 32);
    return file;
}

errc refusal_of(bytes_view file) {
    const auto read = read_export(file);
    REQUIRE_FALSE(read);
    return read.error().code;
}

errc objection_to(const channel_export& e) {
    const auto checked = check_export<both_versions>(e);
    REQUIRE_FALSE(checked);
    return checked.error().code;
}

}  // namespace

TEST_CASE("an export says which of all networks it is of", "[channel][export]") {
    exported w;
    for (const network net : all_networks) {
        channel_export e = w.of_client();
        e.net = net;
        const bytes file = file_of(e);
        CHECK(read_export(file).value().net == net);
    }
}

TEST_CASE("an export is read as it was written, and its parts belong together", "[channel][export]") {
    exported w;
    for (const channel_export& e : {w.of_client(), w.of_server()}) {
        const bytes file = file_of(e);
        const auto read = read_export(file);
        REQUIRE(read);
        CHECK(read->net == e.net);
        CHECK(read->role == e.role);
        CHECK(equal(write_record(read->record).view(), write_record(e.record).view()));
        CHECK(equal(read->contract, e.contract));
        CHECK(equal(read->refund, e.refund));
        CHECK(check_export<both_versions>(*read));
    }
}

TEST_CASE("an export with any bit changed is refused, and so is one that is cut or longer", "[channel][export]") {
    exported w;
    const bytes file = file_of(w.of_client());
    for (std::size_t i = 0; i < file.size(); ++i) {
        bytes changed = file;
        changed[i] = static_cast<std::uint8_t>(changed[i] ^ (1U << i % 8));
        CAPTURE(i);
        REQUIRE(refusal_of(changed) == errc::corrupt_record);
        REQUIRE(refusal_of(bytes_view(file).first(i)) == errc::corrupt_record);
    }
    bytes longer = file;
    longer.push_back(0);
    CHECK(refusal_of(longer) == errc::corrupt_record);
}

TEST_CASE("whatever an export holds under a checksum that fits: it is refused, or its refund is the channel's",
          "[channel][export]") {
    exported w;
    const bytes file = file_of(w.of_client());
    for (std::size_t i = 0; i < file.size() - 32; ++i) {
        const bytes changed = resealed(file, i, static_cast<std::uint8_t>(file[i] + 1 + i % 255));
        CAPTURE(i);
        const auto read = read_export(changed);
        if (!read || !check_export<both_versions>(*read)) continue;
        REQUIRE(equal(read->refund, w.refund));
        REQUIRE(equal(write_record(read->record).view(), write_record(w.of_client().record).view()));
    }
}

TEST_CASE("an export of a newer paychan is refused as such", "[channel][export]") {
    exported w;
    const bytes file = file_of(w.of_client());
    CHECK(refusal_of(resealed(file, 4, export_format + 1)) == errc::unknown_format);
    CHECK(refusal_of(resealed(file, 4, 0)) == errc::corrupt_record);
}

TEST_CASE("an export with an impossible network, role or length is refused", "[channel][export]") {
    exported w;
    const bytes file = file_of(w.of_client());
    for (const std::uint8_t value : bytes{0, 6, 255})
        CHECK(refusal_of(resealed(file, 5, value)) == errc::corrupt_record);
    for (const std::uint8_t value : bytes{0, 3, 255})
        CHECK(refusal_of(resealed(file, 6, value)) == errc::corrupt_record);
    // A client's file says that it is a server's, which has no refund.
    CHECK(refusal_of(resealed(file, 6, 2)) == errc::corrupt_record);
    for (const std::size_t at : {7U, 8U}) CHECK(refusal_of(resealed(file, at, 0xff)) == errc::corrupt_record);
}

TEST_CASE("an export whose parts do not belong together is refused", "[channel][export]") {
    exported w, other;
    const auto changed = [&](auto change) {
        channel_export e = w.of_client();
        change(e);
        return e;
    };
    CHECK(refusal_of(file_of(changed([&](channel_export& e) { e.record.terms.contract.id = {}; }))) ==
          errc::corrupt_record);
    CHECK(objection_to(changed([](channel_export& e) { e.record.terms.value.value += 1; })) == errc::bad_transaction);
    CHECK(objection_to(changed([](channel_export& e) { e.record.terms.expiry.seconds += 1; })) ==
          errc::bad_transaction);
    CHECK(objection_to(changed([](channel_export& e) { e.record.change.value -= 1; })) == errc::bad_transaction);
    CHECK(objection_to(changed([](channel_export& e) { e.record.signature = {}; })) == errc::bad_transaction);
    CHECK(objection_to(changed([](channel_export& e) { e.record.protocol = 3; })) == errc::unsupported);
    // A refund that no node would take: its signature is another's.
    bytes refund = w.refund;
    refund[60] ^= 1;
    CHECK(objection_to(changed([&](channel_export& e) { e.refund = refund; })) == errc::bad_transaction);
    refund = w.refund;
    refund.back() ^= 1;  // of its lock_time
    CHECK(objection_to(changed([&](channel_export& e) { e.refund = refund; })) == errc::bad_transaction);
}

TEST_CASE("an export of a version that no store could follow is refused", "[channel][export]") {
    exported w;
    channel_export e = w.of_server();
    for (const std::uint64_t version : {std::uint64_t{0}, max_export_version + 1, (std::uint64_t{1} << 63U) - 1}) {
        e.record.version = version;
        CHECK(refusal_of(file_of(e)) == errc::corrupt_record);
    }
    e.record.version = max_export_version;
    CHECK(read_export(file_of(e)));
}

TEST_CASE("what an export says of the chain and of its stage is not believed", "[channel][export]") {
    exported w;
    for (channel_export e : {w.of_client(), w.of_server()})
        for (const auto stage : {channel_stage::none, channel_stage::contract_stored, channel_stage::open,
                                 channel_stage::settling, channel_stage::unbacked}) {
            e.record.stage = stage;
            e.record.closing = w.id;
            e.record.closing_height = 7;
            const auto believed = check_export<both_versions>(e);
            REQUIRE(believed);
            CHECK(believed->record.closing == txid{});
            CHECK(believed->record.closing_height == 0);
            const bool over = stage == channel_stage::settling;
            if (e.role == channel_role::server)  // version 1: nothing shows the expiry, which may be a year too late
                CHECK(believed->record.stage ==
                      (over || w.version() == 1 ? channel_stage::settling : channel_stage::open));
            else  // never none, of which there is no refund
                CHECK(believed->record.stage == (over                           ? channel_stage::settling
                                                 : stage == channel_stage::open ? channel_stage::open
                                                                                : channel_stage::contract_stored));
        }
}

TEST_CASE("an export's signature with a high S is taken with the low one, which nodes relay", "[channel][export]") {
    exported w;
    channel_export e = w.of_server();
    const auto low = e.record.signature;
    const auto real = parse_flagged(low.view()).value();
    e.record.signature = to_bytes({channel_of<v2_scheme>::with_high_s(real.signature), real.hash_type});
    REQUIRE_FALSE(equal(e.record.signature.view(), low.view()));
    const auto believed = check_export<both_versions>(e);
    REQUIRE(believed);
    CHECK(equal(believed->record.signature.view(), low.view()));
}

namespace {

/// A channel's exports when less was paid, and later.
struct twice_exported : exported {
    channel_export less, more;
    explicit twice_exported(channel_role role) {
        const auto now = [&] {
            return check_export<both_versions>(role == channel_role::client ? of_client() : of_server()).value();
        };
        less = now();
        REQUIRE(pays(2'000));
        more = now();
        REQUIRE(less.record.version > 2);
        REQUIRE(more.record.paid().value == less.record.paid().value + 2'000);
    }
};

record_kind kind_of(channel_role role) {
    return role == channel_role::client ? record_kind::client_channel : record_kind::server_channel;
}

}  // namespace

TEST_CASE("an export is imported where nothing is, where less was paid, and not where as much was",
          "[channel][export]") {
    const auto role = GENERATE(channel_role::client, channel_role::server);
    twice_exported w(role);
    const bool batches = GENERATE(true, false);
    /// A store that takes one record at a time.
    struct one_by_one {
        memory_store& inner;
        result<void> put(const record_id& id, std::uint64_t v, bytes_view b) { return inner.put(id, v, b); }
        result<stored_record> get(const record_id& id, bytes_span m) { return inner.get(id, m); }
        result<void> erase(const record_id& id) { return inner.erase(id); }
        result<void> list(record_kind kind, void (*f)(const record_id&)) { return inner.list(kind, f); }
    };
    static_assert(Store<one_by_one> && !BatchStore<one_by_one>);
    const bool client = role == channel_role::client;
    memory_store store;
    const auto import = [&](const channel_export& e) {
        one_by_one simple{store};
        return batches ? import_channel(store, e) : import_channel(simple, e);
    };
    const auto check_there = [&](const channel_record& paid, std::uint64_t version, channel_stage stage) {
        const auto there = load_record(store, kind_of(role), w.id);
        REQUIRE(there);
        CHECK(there->version == version);
        CHECK(there->stage == stage);
        CHECK(there->paid() == paid.paid());
        CHECK(equal(there->signature.view(), paid.signature.view()));
        CHECK(there->terms.expiry == w.less.record.terms.expiry);
        CHECK(stored_bytes(store, client ? record_kind::client_contract : record_kind::server_contract, w.id) ==
              w.contract);
        if (client) CHECK(stored_bytes(store, record_kind::client_refund, w.id) == w.refund);
    };
    const channel_stage stage = w.less.record.stage;
    const std::uint64_t begun = w.less.record.version;
    CHECK(import(w.less) == import_outcome::stored);
    check_there(w.less.record, begun, stage);
    // A higher version that pays no more is worth nothing: not to replace what the store knows, nor to stop it for good.
    channel_export again = w.less;
    again.record.version = max_export_version;
    again.record.stage = channel_stage::settling;
    CHECK(import(again) == import_outcome::kept);
    check_there(w.less.record, begun, stage);
    // More was paid: that is taken, and nothing else.  In version 1 nothing shows that the date is wrong.
    channel_export later = w.more;
    later.record.version = 1;
    later.record.stage = channel_stage::settling;
    if (w.version() == 1) later.record.terms.expiry = later.record.terms.expiry + 31'536'000;
    CHECK(import(later) == import_outcome::stored);
    check_there(w.more.record, begun + 1, stage);
    CHECK(import(w.less) == import_outcome::kept);
    check_there(w.more.record, begun + 1, stage);
    // It was deleted: whoever imports it wants it back, at the opening's version or any other.
    for (const std::uint64_t version : {1U, 9U}) {
        REQUIRE(store.erase({kind_of(role), w.id}));
        w.more.record.version = version;
        CHECK(import(w.more) == import_outcome::stored);
        check_there(w.more.record, version, w.more.record.stage);
    }
    // And the channel goes on from there.
    CHECK(store.put({kind_of(role), w.id}, 10, as_bytes("\1 next")));
    CHECK(import(w.more).error().code == errc::corrupt_record);  // what cannot be read stays
    CHECK(stored_bytes(store, kind_of(role), w.id) == owned(as_bytes("\1 next")));
}

TEST_CASE("a payment that is imported opens a server's channel that did not know it, and opens none that is settled",
          "[channel][export]") {
    twice_exported w(channel_role::server);
    using enum channel_stage;
    for (const auto& [before, after] :
         {std::pair{contract_stored, open}, {open, open}, {settling, settling}, {unbacked, unbacked}}) {
        memory_store store;
        channel_record known = w.less.record;
        known.version = 1;
        known.stage = before;
        known.closing = w.id;
        REQUIRE(store.put({record_kind::server_channel, w.id}, 1, write_record(known).view()));
        CHECK(import_channel(store, w.more) == import_outcome::stored);
        const auto there = load_record(store, record_kind::server_channel, w.id);
        REQUIRE(there);
        CHECK(there->stage == after);
        CHECK(there->closing == (after == settling ? txid{} : w.id));  // that one is not kept
        CHECK(there->paid() == w.more.record.paid());
    }
}

namespace {

/// A server's store that has settled: with a record and a settlement that rest on less than the export.
/// ended  the height of the block that the settlement is in
void settle_less(memory_store& store, const twice_exported& w, std::int32_t ended = 0) {
    channel_record known = w.less.record;
    known.version = 1;
    known.stage = channel_stage::settling;
    known.closing.bytes.fill(7);
    known.closing_height = ended;
    REQUIRE(store.put({record_kind::server_contract, w.id}, 1, w.contract));
    REQUIRE(store.put({record_kind::server_channel, w.id}, 1, write_record(known).view()));
    REQUIRE(store.put({record_kind::server_settlement, w.id}, 1, as_bytes("of less")));
}

bool has_settlement(memory_store& store, const txid& channel) {
    bytes memory(max_settlement_size);
    return store.get({record_kind::server_settlement, channel}, memory).has_value();
}

}  // namespace

TEST_CASE("a settlement of less than an import shows is not kept: what is sent next rests on the import",
          "[channel][export]") {
    twice_exported w(channel_role::server);
    memory_store store;
    settle_less(store, w);
    CHECK(import_channel(store, w.less) == import_outcome::kept);
    CHECK(has_settlement(store, w.id));
    CHECK(import_channel(store, w.more) == import_outcome::stored);
    CHECK_FALSE(has_settlement(store, w.id));
    const auto there = load_record(store, record_kind::server_channel, w.id);
    REQUIRE(there);
    CHECK(there->stage == channel_stage::settling);
    CHECK(there->closing == txid{});
    CHECK(there->paid() == w.more.record.paid());

    // The monitor of a process that starts now.
    event_log told;
    server_monitor monitor(both_versions{}, store, w.payee.keys, w.payee.wallet, w.payee.network, told);
    REQUIRE(monitor.load());
    monitor.tick(world_start);
    bytes memory(max_settlement_size);
    const auto sent = store.get({record_kind::server_settlement, w.id}, memory);
    REQUIRE(sent);
    const auto tx = parse_transaction(sent->bytes);
    REQUIRE(tx);
    CHECK(tx->output(0)->value == w.more.record.change);
    CHECK(load_record(store, record_kind::server_channel, w.id)->closing == tx->id());
}

TEST_CASE("a better payment on a channel whose end is in a block comes too late, and is there if that block goes",
          "[channel][export]") {
    twice_exported w(channel_role::server);
    memory_store store;
    settle_less(store, w, 7);
    CHECK(import_channel(store, w.more) == import_outcome::too_late);
    const auto there = load_record(store, record_kind::server_channel, w.id);
    REQUIRE(there);
    CHECK(there->closing.bytes[0] == 7);
    CHECK(there->closing_height == 7);
    CHECK(there->paid() == w.more.record.paid());
    CHECK_FALSE(has_settlement(store, w.id));
}

TEST_CASE("an import that is killed anywhere leaves no settlement of less beside a better record, and can be repeated",
          "[channel][export]") {
    twice_exported w(channel_role::server);
    /// Takes so many changes, and then no more.
    struct dying_store : memory_store {
        int left = 0;
        result<void> put(const record_id& id, std::uint64_t v, bytes_view b) {
            const put_request one{id, v, b};
            return put_many({&one, 1});
        }
        result<void> put_many(std::span<const put_request> batch) {
            if (left-- <= 0) return fail(errc::store_failed, "killed");
            return memory_store::put_many(batch);
        }
        result<void> erase(const record_id& id) {
            if (left-- <= 0) return fail(errc::store_failed, "killed");
            return memory_store::erase(id);
        }
    };
    bool whole = false;
    int cut = 0;
    for (; !whole; ++cut) {
        REQUIRE(cut < 10);
        dying_store store;
        settle_less(store, w);
        store.left = cut;
        whole = import_channel(store, w.more).has_value();
        const auto there = load_record(store, record_kind::server_channel, w.id);
        REQUIRE(there);
        CHECK(there->stage == channel_stage::settling);
        if (has_settlement(store, w.id)) CHECK(there->paid() == w.less.record.paid());
        store.left = 10;
        CHECK(import_channel(store, w.more) == (whole ? import_outcome::kept : import_outcome::stored));
        CHECK_FALSE(has_settlement(store, w.id));
        CHECK(load_record(store, record_kind::server_channel, w.id)->paid() == w.more.record.paid());
    }
    CHECK(cut > 2);
}

TEST_CASE("a settlement of less that another process stores during an import does not stay", "[channel][export]") {
    twice_exported w(channel_role::server);
    /// Another process builds the settlement anew just before our write to the record.
    struct shared_store : memory_store {
        channel_record other;
        result<void> put(const record_id& id, std::uint64_t v, bytes_view b) {
            const put_request one{id, v, b};
            return put_many({&one, 1});
        }
        result<void> put_many(std::span<const put_request> batch) {
            if (const auto r = std::exchange(other, {}); r.version != 0) {
                const txid& id = r.terms.contract.id;
                REQUIRE(memory_store::put({record_kind::server_channel, id}, r.version, write_record(r).view()));
                REQUIRE(memory_store::put({record_kind::server_settlement, id}, r.version, as_bytes("again of less")));
            }
            return memory_store::put_many(batch);
        }
    };
    shared_store store;
    settle_less(store, w);
    store.other = load_record(store, record_kind::server_channel, w.id).value();
    ++store.other.version;
    CHECK(import_channel(store, w.more) == import_outcome::stored);
    CHECK_FALSE(has_settlement(store, w.id));
    CHECK(load_record(store, record_kind::server_channel, w.id)->paid() == w.more.record.paid());
}

TEST_CASE("an export of other terms than the store's does not touch the channel", "[channel][export]") {
    twice_exported w(channel_role::server);
    memory_store store;
    channel_record known = w.less.record;
    known.version = 1;
    known.terms.value.value -= 1;
    known.change.value -= 1;
    REQUIRE(store.put({record_kind::server_channel, w.id}, 1, write_record(known).view()));
    CHECK(import_channel(store, w.more).error().code == errc::corrupt_record);
    CHECK(load_record(store, record_kind::server_channel, w.id)->version == 1);
}

TEST_CASE("a damaged contract or refund in the store is replaced by the export's, a sound one is not",
          "[channel][export]") {
    exported w;
    for (const channel_export& file : {w.of_client(), w.of_server()}) {
        const bool client = file.role == channel_role::client;
        const auto e = check_export<both_versions>(file).value();
        memory_store store;
        REQUIRE(import_channel(store, e) == import_outcome::stored);
        const auto contract_kind = client ? record_kind::client_contract : record_kind::server_contract;
        std::vector<record_kind> kinds{contract_kind};
        if (client) kinds.push_back(record_kind::client_refund);
        for (const record_kind kind : kinds) {
            const bytes whole = stored_bytes(store, kind, w.id);
            const std::vector<bytes> damages{
                bytes(whole.size(), 0), bytes(whole.begin(), whole.end() - 1), {}, bytes(max_contract_size + 1, 1)};
            for (const bytes& damage : damages) {
                REQUIRE(store.put({kind, w.id}, 1'000, damage));
                CHECK(import_channel(store, e) == import_outcome::repaired);
                CHECK(stored_bytes(store, kind, w.id) == whole);
            }
            REQUIRE(store.erase({kind, w.id}));
            CHECK(import_channel(store, e) == import_outcome::kept);
            CHECK(stored_bytes(store, kind, w.id) == whole);
        }
        CHECK(load_record(store, kind_of(e.role), w.id)->version == e.record.version);
    }
}

TEST_CASE("other witnesses in an export do not replace those of the stored contract", "[channel][export]") {
    // The txid does not show them: a stranger may have written any.
    int segwit = 0;
    for (const auto& one : read_vectors("exports/format_1.json")) {
        const bytes file = unhex(one["file"].get<std::string>());
        channel_export e = check_export<both_versions>(read_export(file).value()).value();
        const txid& id = e.record.terms.contract.id;
        bytes spoilt = owned(e.contract);
        spoilt[spoilt.size() - 10] ^= 1;
        if (parse_transaction(spoilt)->id() != id) continue;
        ++segwit;
        memory_store store;
        REQUIRE(import_channel(store, e) == import_outcome::stored);
        const bytes_view real = e.contract;
        e.contract = spoilt;
        CHECK(import_channel(store, e) == import_outcome::kept);
        const auto kind = e.role == channel_role::client ? record_kind::client_contract : record_kind::server_contract;
        CHECK(stored_bytes(store, kind, id) == owned(real));
    }
    CHECK(segwit > 0);
}

TEST_CASE("a store that fails in the middle of an import says so", "[channel][export]") {
    exported w;
    const auto e = check_export<both_versions>(w.of_client()).value();
    struct failing_store : memory_store {
        int left = 0;
        result<void> put(const record_id& id, std::uint64_t v, bytes_view b) {
            const put_request one{id, v, b};
            return put_many({&one, 1});
        }
        result<void> put_many(std::span<const put_request> batch) {
            if (left-- == 0) return fail(errc::store_failed, "full");
            return memory_store::put_many(batch);
        }
    };
    for (int good = 0; good < 3; ++good) {
        failing_store store;
        store.left = good;
        CHECK(import_channel(store, e).error().code == errc::store_failed);
        CHECK_FALSE(
            load_record(store, record_kind::client_channel, w.id));  // without its transactions it is never there
        CHECK(import_channel(store, e) == import_outcome::stored);
    }
}

TEST_CASE("an import beside another process that writes the channel ends with the better payment",
          "[channel][export]") {
    twice_exported w(channel_role::client);
    /// Another process writes just before each of our writes to the record.
    struct shared_store : memory_store {
        std::vector<channel_record> others;
        result<void> put(const record_id& id, std::uint64_t v, bytes_view b) {
            const put_request one{id, v, b};
            return put_many({&one, 1});
        }
        result<void> put_many(std::span<const put_request> batch) {
            if (batch.front().id.kind == record_kind::client_channel && !others.empty()) {
                const channel_record r = others.front();
                others.erase(others.begin());
                REQUIRE(memory_store::put({record_kind::client_channel, r.terms.contract.id}, r.version,
                                          write_record(r).view()));
            }
            return memory_store::put_many(batch);
        }
    };
    shared_store store;
    const auto import_beside = [&](const channel_record& last) {
        for (const std::uint64_t version : {1U, 2U, 3U}) {
            channel_record other = version == 3 ? last : w.less.record;
            other.version = version;
            store.others.push_back(other);
        }
        return import_channel(store, w.more);
    };
    SECTION("ours") {
        CHECK(import_beside(w.less.record) == import_outcome::stored);
        CHECK(load_record(store, record_kind::client_channel, w.id)->version == 4);
    }
    SECTION("the other's") {
        CHECK(import_beside(w.more.record) == import_outcome::kept);
        CHECK(load_record(store, record_kind::client_channel, w.id)->version == 3);
    }
    CHECK(load_record(store, record_kind::client_channel, w.id)->paid() == w.more.record.paid());
}

TEST_CASE("exports of format 1 are read for ever", "[channel][export]") {
    const auto known = read_vectors("exports/format_1.json");
    for (const auto& one : known) {
        const bytes file = unhex(one["file"].get<std::string>());
        const auto read = read_export(file);
        REQUIRE(read);
        CHECK(read->net == network::regtest);
        CHECK(read->role == (one["role"] == "client" ? channel_role::client : channel_role::server));
        CHECK(read->record.terms.contract.id == parse_txid(one["channel"].get<std::string>()).value());
        CHECK(read->record.protocol == one["protocol"].get<std::int32_t>());
        CHECK(read->record.terms.value.value == one["value"].get<std::int64_t>());
        CHECK(read->record.paid().value == one["paid"].get<std::int64_t>());
        CHECK(read->record.terms.expiry.seconds == one["expiry"].get<std::int64_t>());
        CHECK(check_export<both_versions>(*read));
    }
}
