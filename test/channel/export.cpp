// Export files: what was written is read, what is damaged or does not belong together is refused, old files load for ever.
#include "paychan/channel/export.hpp"

#include <catch2/catch.hpp>
#include <fstream>

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
    for (const std::uint8_t value : bytes{0, 5, 255})
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
