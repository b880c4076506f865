// The stores of test/vectors/stores, which older versions of paychan wrote: what must be found in each of them.
#pragma once

#include <catch2/catch.hpp>
#include <set>

#include "paychan/channel/record_io.hpp"
#include "support/bytes.hpp"

namespace paychan_test {

/// The value of each field, as another program read it out of the bytes.
inline void check_record(const paychan::channel_record& r, const nlohmann::json& known) {
    const auto number = [&](const char* field) { return known.at(field).get<std::int64_t>(); };
    const auto text = [&](const char* field) { return known.at(field).get<std::string>(); };
    CHECK(r.version == known.at("version").get<std::uint64_t>());
    CHECK(r.protocol == number("protocol"));
    CHECK(static_cast<int>(r.stage) == number("stage"));
    CHECK(r.terms.contract.id == paychan::parse_txid(text("contract")).value());
    CHECK(r.terms.contract.index == number("index"));
    CHECK(r.terms.value.value == number("value"));
    CHECK(r.terms.expiry.seconds == number("expiry"));
    CHECK(hex(r.terms.client_key.view()) == text("client_key"));
    CHECK(hex(r.terms.server_key.view()) == text("server_key"));
    CHECK(static_cast<std::uint64_t>(r.key) == known.at("key").get<std::uint64_t>());
    CHECK(r.change.value == number("change"));
    CHECK(hex(r.signature.view()) == text("signature"));
    CHECK(r.closing == paychan::parse_txid(text("closing")).value());
    CHECK(r.closing_height == number("closing_height"));
    CHECK(hex(r.label.view()) == text("label"));
}

/// All that the store holds, no more and no less, and that it goes on from there where it may.
/// known  of read_vectors("stores/format_1.json")
void check_old_store(auto& store, const nlohmann::json& known, paychan::store_access access) {
    using namespace paychan;
    std::set<record_id> expected, listed;
    for (const auto& r : known.at("records")) {
        const record_id id{static_cast<record_kind>(r.at("kind").get<int>()),
                           parse_txid(r.at("channel").get<std::string>()).value()};
        CAPTURE(r.dump());
        bytes memory(10'000);
        const auto stored = store.get(id, memory);
        REQUIRE(stored);
        CHECK(stored->version == r.at("version").get<std::uint64_t>());
        CHECK(hex(stored->bytes) == r.at("bytes").get<std::string>());
        expected.insert(id);
    }
    for (int kind = 1; kind <= 8; ++kind)
        REQUIRE(store.list(static_cast<record_kind>(kind), [&](const record_id& id) { listed.insert(id); }));
    CHECK(listed == expected);
    for (const auto& c : known.at("channels")) {
        const auto kind = c.at("role") == "client" ? record_kind::client_channel : record_kind::server_channel;
        const txid id = parse_txid(c.at("contract").get<std::string>()).value();
        auto record = load_record(store, kind, id);
        REQUIRE(record);
        check_record(*record, c);
        if (access == store_access::read_only) continue;
        const auto again = store.put({kind, id}, record->version, as_bytes("again"));
        REQUIRE_FALSE(again);
        CHECK(again.error().code == errc::stale_record);
        ++record->version;
        REQUIRE(store.put({kind, id}, record->version, write_record(*record).view()));
        CHECK(load_record(store, kind, id)->version == record->version);
    }
}

}  // namespace paychan_test
