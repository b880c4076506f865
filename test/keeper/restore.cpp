// An export file back into a store: what is refused leaves no trace, what is taken is told.
#include "paychan/keeper/restore.hpp"

#include <catch2/catch.hpp>

#include "support/versions.hpp"
#include "support/world.hpp"

using namespace paychan;
using namespace paychan_test;

namespace {

/// Keys of a seed, that write down which of them were counted.
struct counted_keys {
    memory_keys& ring;
    memory_store& disk;
    bool works = true;
    std::vector<key_id> counted{};

    [[nodiscard]] result<public_key> peek(key_id id) { return ring.public_key(id); }
    [[nodiscard]] result<void> saw(key_id id) {
        if (!works) return fail(errc::store_failed, "the counter cannot be written");
        bool any = false;  // the key is counted before anything of its channel is stored
        for (const auto kind : {record_kind::client_contract, record_kind::server_contract})
            REQUIRE(disk.list(kind, [&](const record_id&) { any = true; }));
        CHECK_FALSE(any);
        counted.push_back(id);
        return {};
    }
};

struct exported : world {
    channel_role role = GENERATE(channel_role::client, channel_role::server);
    decltype(kinds_of(role)) kinds = kinds_of(role);
    txid id;
    bytes contract, refund;
    memory_store disk;
    network_guard<memory_store> known{disk, network::regtest};
    counted_keys keys{role == channel_role::client ? payer.ring : payee.ring, disk};
    std::string why;

    exported() : world(each_version()) {
        REQUIRE(open());
        REQUIRE(pays(5'000));
        id = channel();
        contract = stored_bytes(payer.disk, record_kind::client_contract, id);
        refund = role == channel_role::client ? stored_bytes(payer.disk, record_kind::client_refund, id) : bytes{};
    }
    [[nodiscard]] memory_store& theirs() { return role == channel_role::client ? payer.disk : payee.disk; }
    [[nodiscard]] channel_export file() {
        return {network::regtest, role, load_record(theirs(), kinds.channel, id).value(), contract, refund};
    }
    [[nodiscard]] result<restored_channel> restore(const channel_export& e) {
        return restore_channel<both_versions>(e, network::regtest, disk, keys, known, why);
    }
    [[nodiscard]] bool untouched() {
        bool any = false;
        for (const auto kind : {kinds.channel, kinds.contract, kinds.closing, kinds.watch, record_kind::store_network})
            REQUIRE(disk.list(kind, [&](const record_id&) { any = true; }));
        return !any;
    }
};

}  // namespace

TEST_CASE("a channel is restored: its key is counted first, and it shows the store's network", "[keeper][restore]") {
    exported w;
    const auto done = w.restore(w.file());
    REQUIRE(done);
    CHECK(done->outcome == import_outcome::stored);
    CHECK(done->record.paid() == w.file().record.paid());
    CHECK(done->settles == (w.role == channel_role::server && w.file().record.protocol == 1));  // see check_export
    CHECK(done->discarded == txid{});
    CHECK(w.keys.counted == std::vector{w.file().record.key});
    CHECK(w.known.known());
    CHECK(load_record(w.disk, w.kinds.channel, w.id));
    REQUIRE(w.disk.erase({w.kinds.contract, w.id}));
    w.keys.counted = {};
    const auto again = w.restore(w.file());
    CHECK(again.value().outcome == import_outcome::kept);
    CHECK(stored_bytes(w.disk, w.kinds.contract, w.id) == w.contract);
}

TEST_CASE("what another network or another seed has exported leaves no trace", "[keeper][restore]") {
    exported w;
    channel_export e = w.file();
    e.net = network::mainnet;
    CHECK(w.restore(e).error().code == errc::invalid_argument);
    CHECK(w.why == "the channel is on mainnet, and not on regtest");
    memory_keys other = memory_keys::testing_from(77);
    counted_keys others{other, w.disk};
    for (int i = 0; i < 3; ++i) (void)other.new_key();
    CHECK(restore_channel<both_versions>(w.file(), network::regtest, w.disk, others, w.known, w.why).error().code ==
          errc::invalid_key);
    CHECK(others.counted.empty());
    CHECK(w.keys.counted.empty());
    CHECK(w.untouched());
}

TEST_CASE("a key that cannot be counted keeps its channel out", "[keeper][restore]") {
    exported w;
    w.keys.works = false;
    CHECK(w.restore(w.file()).error().code == errc::store_failed);
    CHECK(w.why == "the store: the counter cannot be written");
    CHECK(w.untouched());
}

TEST_CASE("a record that cannot be read stays, and this is said", "[keeper][restore]") {
    exported w;
    const bytes nonsense(10);
    REQUIRE(w.disk.put({w.kinds.channel, w.id}, 1, nonsense));
    CHECK(w.restore(w.file()).error().code == errc::unknown_format);
    CHECK(w.why.find("import into a new store") != std::string::npos);
    CHECK(stored_bytes(w.disk, w.kinds.channel, w.id) == nonsense);
}

TEST_CASE("a settlement that rests on a smaller payment is named", "[keeper][restore]") {
    exported w;
    if (w.role == channel_role::client) return;
    channel_record old = w.file().record;
    old.stage = channel_stage::settling;
    old.closing = txid{{1}};
    REQUIRE(w.pays(3'000));
    REQUIRE(w.disk.put({w.kinds.channel, w.id}, 1, write_record(old).view()));
    REQUIRE(w.disk.put({w.kinds.channel, w.id}, old.version, write_record(old).view()));
    const auto done = w.restore(w.file());
    REQUIRE(done);
    CHECK(done->outcome == import_outcome::stored);
    CHECK(done->settles);
    CHECK(done->discarded == txid{{1}});
    CHECK(done->record.paid() == w.file().record.paid());
}
