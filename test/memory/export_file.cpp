// Export files in a folder, and the store that writes them before it takes a channel that opens.
#include "paychan/memory/export_file.hpp"

#include <catch2/catch.hpp>

#include "support/process.hpp"
#include "support/world.hpp"

using namespace paychan;
using namespace paychan_test;

namespace {

/// A channel that opens: the batch that a client gives its store before the contract leaves.
struct opening : world {
    txid id;
    bytes record, contract, refund;
    std::vector<put_request> batch;

    opening() : world(2) {
        REQUIRE(open());
        id = channel();
        record = stored_bytes(payer.disk, record_kind::client_channel, id);
        contract = stored_bytes(payer.disk, record_kind::client_contract, id);
        refund = stored_bytes(payer.disk, record_kind::client_refund, id);
        batch = {{{record_kind::client_contract, id}, 1, contract},
                 {{record_kind::client_refund, id}, 1, refund},
                 {{record_kind::client_channel, id}, read_record(record)->version, record}};
    }
};

/// Looks at a file whenever it is written to.
struct watching_store : memory_store {
    std::string file;
    std::vector<bool> was_there;
    result<void> answer{};
    [[nodiscard]] result<void> put_many(std::span<const put_request> batch) {
        was_there.push_back(fs::exists(file));
        if (!answer) return answer;
        return memory_store::put_many(batch);
    }
    [[nodiscard]] std::string last_error() const { return "the store's own words"; }
};

unsigned mode_of(const fs::path& path) { return static_cast<unsigned>(fs::status(path).permissions()) & 07777; }

}  // namespace

TEST_CASE("a channel that opens is in a file of its own before the store has it", "[memory][export]") {
    opening w;
    const temporary_folder folder;
    const std::string exports = folder.file("exports");
    watching_store inner;
    inner.file = exports + "/" + export_file_name(w.id);
    exporting_store store(inner, network::regtest, exports);
    REQUIRE(store.put_many(w.batch));
    CHECK(inner.was_there == std::vector{true});
    CHECK(mode_of(exports) == 0700);
    CHECK(mode_of(inner.file) == 0600);
    CHECK(stored_bytes(inner, record_kind::client_channel, w.id) == w.record);

    std::string why;
    const auto file = load_export(inner.file, why);
    REQUIRE(file);
    const auto read = read_export(*file);
    REQUIRE(read);
    CHECK(check_export<both_versions>(*read));
    CHECK(equal(read->contract, w.contract));
    CHECK(equal(read->refund, w.refund));
    CHECK(equal(write_record(read->record).view(), w.record));

    // Payments do not touch it.
    const auto before = fs::last_write_time(inner.file);
    channel_record paid = read_record(w.record).value();
    ++paid.version;
    const auto bytes_of_it = write_record(paid);
    REQUIRE(store.put({record_kind::client_channel, w.id}, paid.version, bytes_of_it.view()));
    CHECK(fs::last_write_time(inner.file) == before);
}

TEST_CASE("without its file a channel does not open, and the store has nothing of it", "[memory][export]") {
    opening w;
    const temporary_folder folder;
    write_file(folder.file("plain"), "");
    for (const std::string& impossible : {folder.file("plain"), folder.file("missing") + "/below"}) {
        watching_store inner;
        exporting_store store(inner, network::regtest, impossible);
        const auto refused = store.put_many(w.batch);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == errc::store_failed);
        CHECK(store.last_error().find(impossible) == 0);
        CHECK(inner.was_there.empty());
    }
}

TEST_CASE("a store that refuses a channel once may take it when it is offered again", "[memory][export]") {
    opening w;
    const temporary_folder folder;
    watching_store inner;
    inner.answer = fail(errc::store_failed, "full");
    exporting_store store(inner, network::regtest, folder.file("exports"));
    CHECK_FALSE(store.put_many(w.batch));
    CHECK(store.last_error() == "the store's own words");
    inner.answer = {};
    CHECK(store.put_many(w.batch));
}

TEST_CASE("a file of a newer record is left alone, a damaged one is replaced", "[memory][export]") {
    opening w;
    const temporary_folder folder;
    std::string why;
    channel_export e{network::regtest, channel_role::client, read_record(w.record).value(), w.contract, w.refund};
    e.record.version = 7;
    REQUIRE(save_export(folder.path.string(), e, why));
    for (const std::uint64_t version : {7U, 6U}) {
        e.record.version = version;
        const auto refused = save_export(folder.path.string(), e, why);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == errc::stale_record);
    }
    e.record.version = 8;
    CHECK(save_export(folder.path.string(), e, why));
    write_file(folder.file(export_file_name(w.id)), "damaged");
    e.record.version = 1;
    CHECK(save_export(folder.path.string(), e, why));
    const auto file = load_export(folder.file(export_file_name(w.id)), why);
    REQUIRE(file);
    CHECK(read_export(*file)->record.version == 1);
}

TEST_CASE("an export file that is no file, or longer than any, is refused by name", "[memory][export]") {
    const temporary_folder folder;
    write_file(folder.file("long"), std::string(max_export_size + 1, 'x'));
    fs::create_symlink(folder.file("long"), folder.file("link"));
    REQUIRE(::mkfifo(folder.file("pipe").c_str(), 0600) == 0);
    for (const char* name : {"long", "link", "pipe", "."}) {
        std::string why;
        const auto read = load_export(folder.file(name), why);
        CAPTURE(name, why);
        REQUIRE_FALSE(read);
        CHECK(read.error().code == errc::corrupt_record);
        CHECK(why.find(folder.file(name)) == 0);
    }
    std::string why;
    CHECK(load_export(folder.file("none"), why).error().code == errc::not_found);
}
