// A channel's record on disk: what was written is read, and what was damaged is refused.
#include "paychan/channel/record_io.hpp"

#include <catch2/catch.hpp>

#include "paychan/memory/store.hpp"
#include "support/channel.hpp"
#include "support/old_stores.hpp"

using namespace paychan;
using namespace paychan_test;

namespace {

channel_record full_record() {
    made_channel made;
    made.pay_down_to(900'000);
    channel_record r = made.record;
    r.version = 0x1122'3344'5566'7788;
    r.closing = txid{sha256(as_bytes("closing"))};
    r.closing_height = 812'345;
    REQUIRE(r.label.assign(as_bytes("https://service.example/")));
    return r;
}

void check_same(const channel_record& a, const channel_record& b) {
    CHECK(a.version == b.version);
    CHECK(a.protocol == b.protocol);
    CHECK(a.stage == b.stage);
    CHECK(a.terms.contract == b.terms.contract);
    CHECK(a.terms.value == b.terms.value);
    CHECK(a.terms.expiry == b.terms.expiry);
    CHECK(equal(a.terms.client_key.view(), b.terms.client_key.view()));
    CHECK(equal(a.terms.server_key.view(), b.terms.server_key.view()));
    CHECK(a.key == b.key);
    CHECK(a.change == b.change);
    CHECK(a.signature == b.signature);
    CHECK(a.closing == b.closing);
    CHECK(a.closing_height == b.closing_height);
    CHECK(a.label == b.label);
}

/// The bytes with another content, under the checksum that fits them.
bytes rewritten(bytes record, std::size_t at, std::uint8_t value) {
    record[at] = value;
    const bytes32 hash = hash256(bytes_view(record).first(record.size() - 4));
    std::copy_n(hash.begin(), 4, record.end() - 4);
    return record;
}

errc record_error(bytes_view record) {
    const auto read = read_record(record);
    REQUIRE_FALSE(read);
    return read.error().code;
}

}  // namespace

TEST_CASE("a record is read as it was written, each field of it", "[channel][record]") {
    const channel_record r = full_record();
    const auto read = read_record(write_record(r).view());
    REQUIRE(read);
    check_same(r, *read);
}

TEST_CASE("records with the longest and the shortest fields are read as they were written", "[channel][record]") {
    channel_record r = full_record();
    SECTION("longest") {
        // BIP39's generator point in both forms: an uncompressed key of 65 bytes.
        r.terms.client_key = parse_public_key(unhex("0479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
                                                    "483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8"))
                                 .value();
        r.terms.server_key = r.terms.client_key;
        REQUIRE(r.signature.assign(bytes(73, 0x30)));
        REQUIRE(r.label.assign(bytes(64, 'x')));
        r.terms.value = max_money;
        r.change = max_money;
    }
    SECTION("shortest") {
        r.signature.clear();
        r.label.clear();
        r.change = {};
    }
    const auto read = read_record(write_record(r).view());
    REQUIRE(read);
    check_same(r, *read);
}

TEST_CASE("a record of each stage is read as it was written", "[channel][record]") {
    // The numbers are on disk: none of them may ever mean something else.
    const std::pair<channel_stage, int> stages[] = {{channel_stage::none, 0},
                                                    {channel_stage::contract_stored, 1},
                                                    {channel_stage::open, 2},
                                                    {channel_stage::settling, 3},
                                                    {channel_stage::unbacked, 4}};
    for (const auto& [stage, number] : stages) {
        channel_record r = full_record();
        r.stage = stage;
        const record_buffer written = write_record(r);
        CHECK(written.view()[1 + 8 + 4] == number);
        const auto read = read_record(written.view());
        REQUIRE(read);
        check_same(r, *read);
    }
}

TEST_CASE("a record with any one bit flipped is refused", "[channel][record]") {
    const bytes good = owned(write_record(full_record()).view());
    for (std::size_t i = 0; i < good.size(); ++i)
        for (int bit = 0; bit < 8; ++bit) {
            bytes damaged = good;
            damaged[i] = static_cast<std::uint8_t>(damaged[i] ^ (1 << bit));
            INFO("byte " << i << ", bit " << bit);
            // The first byte says which format it is, so that a newer one is called by its name.
            CHECK(record_error(damaged) == (i == 0 ? errc::unknown_format : errc::corrupt_record));
        }
}

TEST_CASE("a record that is cut off, or longer than it should be, is refused", "[channel][record]") {
    bytes record = owned(write_record(full_record()).view());
    for (std::size_t size = 0; size < record.size(); ++size)
        CHECK(record_error(bytes_view(record).first(size)) == errc::corrupt_record);
    record.push_back(0);
    CHECK(record_error(record) == errc::corrupt_record);
    // Also with a checksum that fits: a byte behind the last field.
    const bytes32 hash = hash256(bytes_view(record).first(record.size() - 4));
    std::copy_n(hash.begin(), 4, record.end() - 4);
    CHECK(record_error(record) == errc::corrupt_record);
}

TEST_CASE("a record of a newer format is named so", "[channel][record]") {
    const bytes newer = rewritten(owned(write_record(full_record()).view()), 0, record_format + 1);
    CHECK(record_error(newer) == errc::unknown_format);
}

TEST_CASE("a record with values that cannot be is refused, whatever its checksum says", "[channel][record]") {
    channel_record r = full_record();
    const bytes good = owned(write_record(r).view());
    SECTION("an unknown stage") { CHECK(record_error(rewritten(good, 1 + 8 + 4, 5)) == errc::corrupt_record); }
    SECTION("a key that is no point of the curve") {
        const std::size_t first_key = 1 + 8 + 4 + 1 + 36 + 8 + 8 + 1;
        REQUIRE((good[first_key] == 2 || good[first_key] == 3));
        CHECK(record_error(rewritten(good, first_key, 5)) == errc::corrupt_record);
    }
    SECTION("more change than the contract holds") {
        r.change = {r.terms.value.value + 1};
        CHECK(record_error(write_record(r).view()) == errc::corrupt_record);
    }
    SECTION("a negative amount") {
        r.change = {-1};
        CHECK(record_error(write_record(r).view()) == errc::corrupt_record);
    }
    SECTION("more than 21 million coins") {
        r.terms.value = {max_money.value + 1};
        CHECK(record_error(write_record(r).view()) == errc::corrupt_record);
    }
}

TEST_CASE("records of format 1 are read for ever, of both roles and both protocol versions", "[channel][record]") {
    const auto known = read_vectors("stores/format_1.json");
    std::set<std::pair<std::string, int>> seen;
    for (const auto& c : known["channels"])
        for (const auto& r : known["records"]) {
            const int kind = c["role"] == "client" ? 1 : 4;
            if (r["kind"] != kind || r["channel"] != c["contract"]) continue;
            CAPTURE(c.dump());
            const bytes file = unhex(r["bytes"].get<std::string>());
            const auto read = read_record(file);
            REQUIRE(read);
            check_record(*read, c);
            CHECK(owned(write_record(*read).view()) == file);  // while this is the format that is written
            seen.insert({c["role"].get<std::string>(), c["protocol"].get<int>()});
        }
    CHECK(seen.size() == 4);
}

TEST_CASE("a record is not taken for another channel's or another version's", "[channel][record]") {
    memory_store store;
    channel_record r = full_record();
    r.version = 1;
    const record_buffer b = write_record(r);
    const txid other{sha256(as_bytes("other"))};
    const auto load = [&](const txid& id) { return load_record(store, record_kind::server_channel, id); };
    CHECK(load(r.terms.contract.id).error().code == errc::not_found);
    REQUIRE(store.put({record_kind::server_channel, r.terms.contract.id}, r.version, b.view()));
    REQUIRE(load(r.terms.contract.id));
    REQUIRE(store.put({record_kind::server_channel, other}, r.version, b.view()));
    CHECK(load(other).error().code == errc::corrupt_record);
    REQUIRE(store.put({record_kind::server_channel, r.terms.contract.id}, r.version + 1, b.view()));
    CHECK(load(r.terms.contract.id).error().code == errc::corrupt_record);
}

TEST_CASE("a record that is read without its keys is the same but for them", "[channel][record]") {
    const auto without_keys = [](const channel_record& r, bytes_view written) {
        return read_record_without_keys({record_kind::server_channel, r.terms.contract.id}, {r.version, written});
    };
    channel_record r = full_record();
    SECTION("full") {}
    SECTION("shortest") {
        r.signature.clear();
        r.label.clear();
        r.change = {};
    }
    SECTION("settled") { r.stage = channel_stage::settling; }
    const record_buffer written = write_record(r);
    const auto read = without_keys(r, written.view());
    REQUIRE(read);
    CHECK(equal(read->terms.client_key.view(), public_key{}.view()));
    channel_record expected = read_record(written.view()).value();
    CHECK(equal(expected.terms.client_key.view(), r.terms.client_key.view()));
    expected.terms.client_key = expected.terms.server_key = {};
    check_same(*read, expected);
    // What read_record refuses, this one does, with the same word; but for a key that is none under a good checksum.
    const bytes good = owned(written.view());
    for (std::size_t i = 0; i < good.size(); ++i) {
        bytes damaged = good;
        damaged[i] ^= 1;
        INFO("byte " << i);
        const auto refused = without_keys(r, damaged);
        REQUIRE_FALSE(refused);
        CHECK(refused.error() == read_record(damaged).error());
        CHECK_FALSE(without_keys(r, bytes_view(good).first(i)));
    }
    CHECK(without_keys(r, rewritten(good, 0, record_format + 1)).error().code == errc::unknown_format);
    CHECK(without_keys(r, rewritten(good, 1 + 8 + 4, 5)).error().code == errc::corrupt_record);
}

TEST_CASE("a record is not read without its keys under another's name or version", "[channel][record]") {
    const channel_record r = full_record();
    const record_buffer written = write_record(r);
    const record_id id{record_kind::server_channel, r.terms.contract.id};
    REQUIRE(read_record_without_keys(id, {r.version, written.view()}));
    const txid other{sha256(as_bytes("other"))};
    CHECK(read_record_without_keys({id.kind, other}, {r.version, written.view()}).error().code == errc::corrupt_record);
    for (const std::uint64_t version : {r.version - 1, r.version + 1, std::uint64_t{0}})
        CHECK(read_record_without_keys(id, {version, written.view()}).error().code == errc::corrupt_record);
}

TEST_CASE("records of format 1 are read without their keys too", "[channel][record]") {
    const auto known = read_vectors("stores/format_1.json");
    int seen = 0;
    for (const auto& r : known["records"]) {
        if (r["kind"] != 1 && r["kind"] != 4) continue;
        const bytes file = unhex(r["bytes"].get<std::string>());
        channel_record expected = read_record(file).value();
        const auto read = read_record_without_keys(
            {static_cast<record_kind>(r["kind"].get<int>()), expected.terms.contract.id}, {expected.version, file});
        REQUIRE(read);
        expected.terms.client_key = expected.terms.server_key = {};
        check_same(*read, expected);
        ++seen;
    }
    CHECK(seen >= 4);
}
