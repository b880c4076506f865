// A store belongs to the network that a chain has shown, and to no other.
#include "paychan/keeper/network_guard.hpp"

#include "keeper/support.hpp"

using namespace paychan;
using namespace paychan_test;

namespace {

constexpr record_id network_id{record_kind::store_network, {}};

void name_network(memory_store& disk, std::string_view text) { plant(disk, network_id, 1, as_bytes(text)); }
std::string text_in(const memory_store& disk) {
    const bytes b = stored_bytes(disk, record_kind::store_network, {});
    return {b.begin(), b.end()};
}

}  // namespace

TEST_CASE("a store that has met no chain says nothing", "[keeper][network_guard]") {
    memory_store disk;
    network_guard guard(disk, network::regtest);
    CHECK(guard.check());
    CHECK_FALSE(guard.known());
    REQUIRE(guard.look_for_contracts());
    CHECK_FALSE(guard.has_contracts());
    guard.keep();
    CHECK(guard.known());
    CHECK(text_in(disk) == "regtest");

    network_guard again(disk, network::regtest);
    CHECK(again.check());
    CHECK(again.known());
}

TEST_CASE("a store of another network is refused, and says which it is", "[keeper][network_guard]") {
    for (const network there : {network::mainnet, network::testnet, network::testnet4, network::signet}) {
        memory_store disk;
        name_network(disk, name(there));
        network_guard guard(disk, network::regtest);
        CHECK(guard.check().error().code == errc::invalid_argument);
        CHECK(guard.said() == there);
        CHECK_FALSE(guard.known());
    }
}

TEST_CASE("a name that cannot be read is written anew", "[keeper][network_guard]") {
    const std::string text = GENERATE("", "regtesu", "regtest ", "REGTEST", "a name longer than all that there are");
    memory_store disk;
    name_network(disk, text);
    network_guard guard(disk, network::regtest);
    CHECK(guard.check().error().code == errc::corrupt_record);
    CHECK_FALSE(guard.known());
    guard.keep();
    CHECK(guard.known());
    CHECK(text_in(disk) == "regtest");
}

TEST_CASE("a store that fails is not one without a name", "[keeper][network_guard]") {
    memory_store disk;
    name_network(disk, "mainnet");
    fault_plan plan{call::store_get, fault::fails, 0};
    faulty_store store{plan, disk};
    network_guard guard(store, network::regtest);
    CHECK(guard.check().error().code == errc::store_failed);
    CHECK(guard.check().error().code == errc::invalid_argument);
}

TEST_CASE("a contract on the chain shows the network", "[keeper][network_guard]") {
    scene w(true, false);
    network_guard guard(w.disk, network::regtest);
    REQUIRE(guard.check());
    const auto block = [&] { return chain_event{w.chain.block_at(w.chain.height()).value()}; };
    const auto answer = [](const txid& id, broadcast_outcome how) {
        return chain_event{broadcast_answer{id, how, ""}};
    };
    CHECK_FALSE(guard.is_shown_by(answer(w.id, broadcast_outcome::accepted)));  // no contracts were looked for
    REQUIRE(guard.look_for_contracts());
    REQUIRE(guard.has_contracts());

    CHECK_FALSE(guard.is_shown_by(block()));
    CHECK_FALSE(guard.is_shown_by(answer(w.id, broadcast_outcome::refused)));
    CHECK_FALSE(guard.is_shown_by(answer(w.id, broadcast_outcome::unreachable)));
    CHECK_FALSE(guard.is_shown_by(answer(txid{}, broadcast_outcome::accepted)));
    CHECK_FALSE(guard.is_shown_by(chain_tip{w.chain.height(), {}}));
    CHECK(guard.is_shown_by(answer(w.id, broadcast_outcome::accepted)));
    w.mine();
    CHECK(guard.is_shown_by(block()));

    guard.keep();
    CHECK_FALSE(guard.is_shown_by(block()));  // nothing is left to show
}

TEST_CASE("a node is offered contracts that their server has taken", "[keeper][network_guard]") {
    scene w(true, false);
    const auto offered = [&] {
        network_guard guard(w.disk, network::regtest);
        REQUIRE(guard.look_for_contracts());
        std::vector<txid> out;
        guard.offer_contracts([&](bytes_view tx) { out.push_back(parse_transaction(tx)->id()); });
        return out;
    };
    CHECK(offered() == std::vector{w.id, w.id});  // the client's and the server's
    for (const record_kind kind : {record_kind::client_channel, record_kind::server_channel}) {
        auto record = load_record(w.disk, kind, w.id).value();
        record.stage = channel_stage::contract_stored;
        ++record.version;
        REQUIRE(w.disk.put({kind, w.id}, record.version, write_record(record).view()));
    }
    CHECK(offered().empty());
}

TEST_CASE("a name that the store does not take is written by the next call", "[keeper][network_guard]") {
    memory_store disk;
    fault_plan plan{call::store_put, fault::fails, 0};
    faulty_store store{plan, disk};
    network_guard guard(store, network::regtest);
    REQUIRE(guard.check());
    guard.keep();
    CHECK_FALSE(guard.known());
    CHECK(contents_of(disk).empty());
    guard.keep();
    CHECK(guard.known());
    CHECK(text_in(disk) == "regtest");
}

TEST_CASE("a name that another process has written meanwhile is believed", "[keeper][network_guard]") {
    const network there = GENERATE(network::regtest, network::testnet);
    memory_store disk;
    network_guard guard(disk, network::regtest);
    REQUIRE(guard.check());
    name_network(disk, name(there));
    for (int i = 0; i < 2; ++i) {
        guard.keep();
        CHECK(guard.known() == (there == network::regtest));
        CHECK(text_in(disk) == name(there));
    }
}
