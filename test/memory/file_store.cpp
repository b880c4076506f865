// file_store: the conformance of Store, and its folder: foreign, damaged, forbidden, in use, moved.
#include "paychan/memory/file_store.hpp"

#include <sys/resource.h>

#include <csignal>

#include "../conformance/store.hpp"
#include "../support/process.hpp"
#include "paychan/core/hex.hpp"
#include "support/old_stores.hpp"

using namespace paychan;
using namespace paychan::conformance;
using namespace paychan_test;

namespace {

constexpr auto server_kind = record_kind::server_channel;
const record_id id_a = id_of(server_kind, 1);
const record_id id_b = id_of(server_kind, 2);

std::string digits(std::uint8_t n) {
    std::string out;
    for (int i = 0; i < 32; ++i) out += {"0123456789abcdef"[n >> 4], "0123456789abcdef"[n & 15]};
    return out;
}

const std::string file_a = "4-" + digits(1) + ".record";
const std::string file_b = "4-" + digits(2) + ".record";

void write_bytes(const std::string& path, const bytes& content) {
    write_file(path, std::string(content.begin(), content.end()));
}

}  // namespace

TEST_CASE("file_store keeps the contract of Store", "[memory][store]") {
    const temporary_folder folder;
    store_conformance([&] { return file_store(folder.file()); });
}

TEST_CASE("file_store keeps everything when it is closed and opened again", "[memory][store]") {
    const temporary_folder folder;
    {
        file_store store(folder.file());
        REQUIRE(store.status());
        REQUIRE(store.put(id_a, 1, bytes{1}));
        REQUIRE(store.put(id_a, 2, bytes{2}));
        REQUIRE(store.put(id_b, 1, {}));
        REQUIRE(store.put(id_of(server_kind, 3), 1, {}));
        REQUIRE(store.erase(id_of(server_kind, 3)));
        CHECK(store.last_error() == folder.file() + ": no error");
    }
    CHECK(names_in(folder.file()) == std::set<std::string>{"paychan.lock", file_a, file_b});
    for (const auto access : {store_access::create, store_access::existing, store_access::read_only}) {
        file_store store(folder.file(), access);
        REQUIRE(store.status());
        CHECK(fetch(store, id_a) == found{2, {2}});
        CHECK(fetch(store, id_b) == found{1, {}});
        CHECK(listed(store, server_kind) == std::set{id_a, id_b});
        CHECK(code_of(store.put(id_a, 2, {})) ==
              (access == store_access::read_only ? errc::store_failed : errc::stale_record));
    }
}

TEST_CASE("file_store moves records to files of their own before the batches are too many", "[memory][store]") {
    const temporary_folder folder;
    file_store store(folder.file());
    for (std::uint64_t v = 1; v <= 80; ++v) REQUIRE(store.put(id_a, v, bytes{static_cast<std::uint8_t>(v)}));
    CHECK(names_in(folder.file()).size() < 70);
    for (std::uint8_t n = 0; n < 140; ++n) {
        const std::array two{put_request{id_of(record_kind::client_channel, n), 1, {}},
                             put_request{id_of(record_kind::client_refund, n), 1, {}}};
        REQUIRE(store.put_many(two));
    }
    CHECK(listed(store, record_kind::client_channel).size() == 140);
    CHECK(fetch(store, id_a) == found{80, {80}});
}

TEST_CASE("file_store makes its folder and files for their owner alone, whatever the umask", "[memory][store]") {
    const temporary_folder folder;
    const mode_t before = ::umask(0);
    bool put = false;
    {
        file_store store(folder.file());
        put = store.put(id_a, 1, {}).has_value();
        CHECK(mode_of(folder.file("store.db/batch-0")) == 0600);
    }
    ::umask(before);
    REQUIRE(put);
    CHECK(mode_of(folder.file()) == 0700);
    CHECK(mode_of(folder.file("store.db/" + file_a)) == 0600);
    CHECK(mode_of(folder.file("store.db/paychan.lock")) == 0600);
}

TEST_CASE("file_store does not make a folder that was asked for as existing", "[memory][store]") {
    const temporary_folder folder;
    SECTION("no folder") {}
    SECTION("a folder that is not a store") { fs::create_directory(folder.file()); }
    const auto before = names_in(folder.path);
    for (const auto access : {store_access::existing, store_access::read_only}) {
        file_store store(folder.file(), access);
        CHECK(code_of(store.status()) == errc::not_found);
        CHECK(code_of(store.put(id_a, 1, {})) == errc::not_found);
        CHECK(code_of(fetch(store, id_a)) == errc::not_found);
        CHECK(code_of(store.put_many({})) == errc::not_found);
        CHECK(code_of(store.erase(id_a)) == errc::not_found);
        CHECK(code_of(store.list(server_kind, [](const record_id&) {})) == errc::not_found);
    }
    CHECK(names_in(folder.path) == before);
}

// Written by hand from the table in record_file.hpp, its checksum by another program (Python's hashlib).
TEST_CASE("file_store reads a record of format 1", "[memory][store]") {
    const temporary_folder folder;
    fs::create_directory(folder.file());
    write_file(folder.file("store.db/paychan.lock"), "paychan file store, format 1\n");
    bytes file(200);
    const auto content = from_hex(
        "70796368"
        "01"
        "01000000"
        "04"
        "0101010101010101010101010101010101010101010101010101010101010101"
        "0700000000000000"
        "0300000000000000"
        "0a0b0c"
        "65ac40658cd21f2aecc17ff1c6c8d0febeb2a0a832ac642b24f641e81e23f87c",
        file);
    REQUIRE(content);
    file.resize(content->size());
    write_bytes(folder.file("store.db/" + file_a), file);
    file_store store(folder.file(), store_access::existing);
    CHECK(fetch(store, id_a) == found{7, {10, 11, 12}});
    REQUIRE(store.put(id_b, 1, bytes{1}));
    CHECK(listed(store, server_kind) == std::set{id_a, id_b});
}

TEST_CASE("a file_store of format 1 is read for ever, also after its process was killed", "[memory][store]") {
    const auto known = read_vectors("stores/format_1.json");
    const temporary_folder folder;
    fs::create_directory(folder.file());
    for (const auto& [name, content] : known["file_store"].items())
        write_bytes(folder.file("store.db/" + name), unhex(content.get<std::string>()));
    REQUIRE(fs::exists(folder.file("store.db/batch-0")));
    for (const auto access : {store_access::read_only, store_access::existing}) {
        file_store store(folder.file(), access);
        REQUIRE(store.status());
        check_old_store(store, known, access);
    }
}

TEST_CASE("file_store refuses a damaged record by name, wherever the damage is, and the others work",
          "[memory][store]") {
    const temporary_folder folder;
    const std::string path = folder.file("store.db/" + file_a);
    {
        file_store store(folder.file());
        REQUIRE(store.put(id_a, 1, bytes{1, 2, 3}));
        REQUIRE(store.put(id_b, 1, bytes{4}));
    }
    const bytes whole = read_file(path);
    for (std::size_t i = 0; i < 2 * whole.size(); ++i) {
        bytes broken = whole;
        if (i < whole.size())
            broken[i] ^= static_cast<std::uint8_t>(1 + i % 255);
        else
            broken.resize(i - whole.size());
        CAPTURE(i);
        write_bytes(path, broken);
        file_store store(folder.file());
        REQUIRE(store.status());
        CHECK(code_of(fetch(store, id_a)) == errc::corrupt_record);
        CHECK(store.last_error().starts_with(path + ": the file "));
        CHECK(code_of(store.put(id_a, 6, {})) == errc::corrupt_record);  // what it held may be newer
        const std::array both{put_request{id_b, 6, {}}, put_request{id_a, 6, {}}};
        CHECK(code_of(store.put_many(both)) == errc::corrupt_record);
        CHECK(fetch(store, id_b) == found{1, {4}});
        CHECK(listed(store, server_kind) == std::set{id_a, id_b});
    }
    file_store store(folder.file());
    CHECK(store.put(id_b, 6, {}));
    CHECK(store.erase(id_a));
    CHECK(code_of(fetch(store, id_a)) == errc::not_found);
}

TEST_CASE("a scan of file_store tells damaged records as errors, and goes on behind them", "[memory][store]") {
    const temporary_folder folder;
    const record_id c = id_of(server_kind, 3), d = id_of(server_kind, 4);
    {
        file_store store(folder.file());
        for (const record_id& id : {id_a, id_b, c}) REQUIRE(store.put(id, 1, bytes{7}));
    }
    write_file(folder.file("store.db/" + file_b), "half");
    fs::remove(folder.file("store.db/" + file_a));
    fs::create_symlink(folder.file("store.db/" + file_b), folder.file("store.db/" + file_a));
    file_store store(folder.file());
    REQUIRE(store.put(d, 1, bytes{8}));  // still in a batch
    const scanned_records all{{id_a, unreadable(errc::corrupt_record)},
                              {id_b, unreadable(errc::corrupt_record)},
                              {c, {1, {7}}},
                              {d, {1, {8}}}};
    const auto from = [&](std::ptrdiff_t first) { return scanned_records(all.begin() + first, all.end()); };
    CHECK(scanned(store, server_kind) == all);
    CHECK(store.last_error().starts_with(folder.file("store.db/" + file_b)));
    CHECK(scanned(store, server_kind, {}, 1) == scanned_records{all[0]});
    CHECK(scanned(store, server_kind, id_a.channel) == from(1));
    CHECK(scanned(store, server_kind, id_b.channel) == from(2));
    CHECK(scanned(store, server_kind, c.channel) == from(3));
    CHECK(listed(store, server_kind) == std::set{id_a, id_b, c, d});
}

TEST_CASE("a scan of file_store tells a damaged record by what a newer batch says of it", "[memory][store]") {
    const temporary_folder folder;
    file_store store(folder.file());
    REQUIRE(store.put(id_a, 1, bytes{1}));
    write_file(folder.file("store.db/" + file_a), "half");
    REQUIRE(store.put(id_b, 1, bytes{2}));
    CHECK(fetch(store, id_a) == found{1, {1}});
    CHECK(scanned(store, server_kind) == scanned_records{{id_a, {1, {1}}}, {id_b, {1, {2}}}});
}

TEST_CASE("a scan of file_store tells a file that may not be read as an error, and goes on behind it",
          "[memory][store]") {
    const temporary_folder folder;
    const record_id c = id_of(server_kind, 3);
    {
        file_store store(folder.path.string());
        for (const record_id& id : {id_a, id_b, c}) REQUIRE(store.put(id, 1, bytes{7}));
    }
    fs::permissions(folder.file(file_b), fs::perms::none);
    const without_privileges now(folder.path);
    file_store store(folder.path.string());
    CHECK(code_of(fetch(store, id_b)) == errc::store_failed);
    const scanned_records all{{id_a, {1, {7}}}, {id_b, unreadable(errc::store_failed)}, {c, {1, {7}}}};
    CHECK(scanned(store, server_kind) == all);
    CHECK(store.last_error().starts_with(folder.file(file_b) + ": the file cannot be opened"));
    CHECK(scanned(store, server_kind, {}, 2) == scanned_records{all[0], all[1]});
    CHECK(scanned(store, server_kind, id_b.channel) == scanned_records{all[2]});
}

TEST_CASE("a scan of file_store fails where the folder cannot be read", "[memory][store]") {
    const temporary_folder folder;
    file_store store(folder.path.string());
    REQUIRE(store.put(id_a, 1, bytes{7}));
    fs::permissions(folder.path, fs::perms::none);
    {
        const without_privileges now(folder.path);
        CHECK(code_of(store.scan(server_kind, {}, [](const record_id&, const result<stored_record>&) {
                  return true;
              })) == errc::store_failed);
    }
    fs::permissions(folder.path, fs::perms::owner_all);
}

TEST_CASE("nobody but file_store itself writes while it is open", "[memory][store]") {
    const temporary_folder folder;
    file_store store(folder.file());
    const auto before = store.foreign_writes();
    REQUIRE(store.put(id_a, 1, {}));
    CHECK(store.foreign_writes() == before);
}

TEST_CASE("file_store refuses what stands under a record's name and is not that record", "[memory][store]") {
    const temporary_folder folder;
    const std::string path = folder.file("store.db/" + file_a);
    { REQUIRE(file_store(folder.file()).put(id_b, 1, bytes{4})); }
    errc expected = errc::corrupt_record;
    std::string words;
    SECTION("another record") {
        fs::copy_file(folder.file("store.db/" + file_b), path);
        words = "the file holds another record than its name says";
    }
    SECTION("a record of a newer paychan") {
        bytes file{'p', 'y', 'c', 'h', 2, 'n', 'e', 'w'};
        const bytes32 sum = sha256(file);
        file.insert(file.end(), sum.begin(), sum.end());
        write_bytes(path, file);
        expected = errc::unknown_format;
        words = "the file was written by a newer version of paychan: use that one";
    }
    SECTION("a link") {
        fs::create_symlink(folder.file("store.db/" + file_b), path);
        words = "the file is a link";
    }
    SECTION("a pipe") {
        REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
        words = "this is no plain file";
    }
    SECTION("a huge file") {
        write_file(path, "");
        fs::resize_file(path, std::uintmax_t{1} << 40);
        words = "the file is longer than any of ours";
    }
    file_store store(folder.file());
    REQUIRE(store.status());
    CHECK(code_of(fetch(store, id_a)) == expected);
    CHECK(store.last_error() == path + ": " + words);
    CHECK(code_of(store.put(id_a, 9, {})) == expected);
    CHECK(fetch(store, id_b) == found{1, {4}});
    CHECK(scanned(store, server_kind) == scanned_records{{id_a, unreadable(expected)}, {id_b, {1, {4}}}});
    CHECK(store.last_error() == path + ": " + words);
}

TEST_CASE("file_store does not open with a damaged batch, since what it held is not known", "[memory][store]") {
    const temporary_folder folder;
    child writer([&](int channel) {
        file_store store(folder.file());
        if (!store.put(id_a, 1, bytes{1}) || !store.put(id_a, 2, bytes{2})) ::_exit(1);
        tell(channel, 'd');
        ::kill(::getpid(), SIGKILL);
    });
    REQUIRE(writer.next<char>());
    REQUIRE(writer.end() == -1);
    const std::string path = folder.file("store.db/batch-1");
    const bytes whole = read_file(path);
    for (std::size_t i = 0; i < whole.size(); ++i) {
        bytes broken = whole;
        broken[i] ^= 0x20;
        write_bytes(path, broken);
        file_store store(folder.file());
        CHECK(code_of(store.status()) == errc::corrupt_record);
        CHECK(store.last_error().starts_with(path + ": the file "));
        CHECK(code_of(store.put(id_a, 3, {})) == errc::corrupt_record);
    }
    write_bytes(path, whole);
    file_store store(folder.file());
    CHECK(fetch(store, id_a) == found{2, {2}});
}

TEST_CASE("file_store leaves other programs' files alone, and clears away what a crash left", "[memory][store]") {
    const temporary_folder folder;
    fs::create_directory(folder.file());
    const std::set<std::string> others{"notes.txt",
                                       "notes.new",
                                       "batch-",
                                       "batch-01",
                                       "batch-x.new",
                                       "04-" + digits(1) + ".record",
                                       "256-" + digits(1) + ".record",
                                       "4-" + digits(1) + ".record.bak",
                                       "4-" + digits(1).substr(1) + ".record",
                                       "4-" + digits(0xab).replace(0, 1, "A") + ".record",
                                       ".new",
                                       "-.record"};
    for (const std::string& name : others) write_file(folder.file("store.db/" + name), "theirs");
    fs::create_directory(folder.file("store.db/folder"));
    for (const std::string& left : {file_a + ".new", std::string("batch-17.new")})
        write_file(folder.file("store.db/" + left), "half");
    {
        file_store store(folder.file());
        REQUIRE(store.status());
        CHECK(listed(store, server_kind).empty());
        CHECK(store.put(id_a, 1, bytes{1}));
    }
    auto expected = others;
    expected.insert({"paychan.lock", file_a, "folder"});
    CHECK(names_in(folder.file()) == expected);
    for (const std::string& name : others)
        CHECK(read_file(folder.file("store.db/" + name)) == bytes{'t', 'h', 'e', 'i', 'r', 's'});
}

TEST_CASE("file_store refuses a folder whose lock is not its own, by name, and leaves it as it was",
          "[memory][store]") {
    const temporary_folder folder;
    fs::create_directory(folder.file());
    const std::string path = folder.file("store.db/paychan.lock");
    std::string content, words;
    SECTION("another program's") {
        content = "12345\n";
        words = "the file is another program's";
    }
    SECTION("a later format") {
        content = "paychan file store, format 2\n";
        words = "the store was written by a newer version of paychan: use that one";
    }
    write_file(path, content);
    for (const auto access : {store_access::create, store_access::existing, store_access::read_only}) {
        file_store store(folder.file(), access);
        CHECK(code_of(store.status()) == errc::unknown_format);
        CHECK(store.last_error() == path + ": " + words);
        CHECK(code_of(store.put(id_a, 5, {})) == errc::unknown_format);
    }
    CHECK(read_file(path) == bytes(content.begin(), content.end()));
    CHECK(names_in(folder.file()).size() == 1);
}

TEST_CASE("file_store whose making a power cut tore is made again, and is no store before that", "[memory][store]") {
    const std::string whole = "paychan file store, format 1\n";
    const temporary_folder folder;
    const std::string path = folder.file("store.db/paychan.lock");
    fs::create_directory(folder.file());
    for (std::size_t size = 0; size <= whole.size(); ++size)
        for (std::size_t kept = 0; kept <= size; ++kept) {
            if (kept == whole.size()) continue;
            std::string torn = whole.substr(0, kept);
            torn.resize(size);  // the length is there, and of the content only the beginning
            CAPTURE(size, kept);
            write_file(path, torn);
            for (const auto access : {store_access::existing, store_access::read_only})
                REQUIRE(code_of(file_store(folder.file(), access).status()) == errc::not_found);
            REQUIRE(file_store(folder.file()).status());
            REQUIRE(read_file(path) == bytes(whole.begin(), whole.end()));
        }
}

TEST_CASE("file_store reads a batch whose channel began at a later version, as imports once wrote them",
          "[memory][store]") {
    const temporary_folder folder;
    { REQUIRE(file_store(folder.file()).status()); }
    const bytes content{7};
    const std::array batch{put_request{id_a, 7, content}};
    write_bytes(folder.file("store.db/batch-0"), detail::encode_record_file(batch).value());
    file_store store(folder.file());
    CHECK(fetch(store, id_a) == found{7, {7}});
    CHECK(store.put(id_a, 8, {}));
}

TEST_CASE("file_store is used by one process at a time", "[memory][store]") {
    const temporary_folder folder;
    child other([&](int channel) {
        file_store store(folder.file());
        tell(channel, store.put(id_a, 1, bytes{1}).has_value());
        char go = 0;
        (void)!::read(channel, &go, 1);
    });
    REQUIRE(other.next<bool>() == true);
    for (const auto access : {store_access::create, store_access::existing, store_access::read_only}) {
        file_store store(folder.file(), access, 20);
        CHECK(code_of(store.status()) == errc::store_failed);
        CHECK(store.last_error() == folder.file("store.db/paychan.lock") + ": another process uses the store");
        CHECK(code_of(store.put(id_a, 2, {})) == errc::store_failed);
    }
    ::kill(other.pid, SIGKILL);  // its lock dies with it, at once or soon
    file_store store(folder.file(), store_access::existing, 60'000);
    CHECK(fetch(store, id_a) == found{1, {1}});
    CHECK(store.put(id_a, 2, {}));
    CHECK(code_of(file_store(folder.file(), store_access::create, 20).status()) == errc::store_failed);
}

TEST_CASE("file_store is read by several processes at a time, which write nothing", "[memory][store]") {
    const temporary_folder folder;
    child writer([&](int channel) {
        file_store store(folder.file());
        if (!store.put(id_a, 1, bytes{1}) || !store.put(id_b, 1, bytes{2})) ::_exit(1);
        tell(channel, 'd');
        ::kill(::getpid(), SIGKILL);
    });
    REQUIRE(writer.next<char>());
    REQUIRE(writer.end() == -1);
    write_file(folder.file("store.db/batch-9.new"), "half");
    const auto before = names_in(folder.file());
    {
        file_store first(folder.file(), store_access::read_only);
        file_store second(folder.file(), store_access::read_only);
        for (file_store* store : {&first, &second}) {
            CHECK(fetch(*store, id_a) == found{1, {1}});
            CHECK(listed(*store, server_kind) == std::set{id_a, id_b});
            CHECK(code_of(store->put(id_a, 3, {})) == errc::store_failed);
            CHECK(code_of(store->erase(id_a)) == errc::store_failed);
            CHECK(store->last_error() == folder.file() + ": the store was opened for reading only");
        }
        CHECK(code_of(file_store(folder.file(), store_access::existing, 20).status()) == errc::store_failed);
    }
    CHECK(names_in(folder.file()) == before);
}

TEST_CASE("file_store stops when its folder or lock is deleted or moved, since nobody would find what it writes",
          "[memory][store]") {
    const temporary_folder folder;
    const std::string other = folder.file("other");
    file_store store(folder.file());
    REQUIRE(store.put(id_a, 1, {}));
    SECTION("folder deleted") { fs::remove_all(folder.file()); }
    SECTION("folder moved") { fs::rename(folder.file(), other); }
    SECTION("folder replaced") {
        fs::rename(folder.file(), other);
        fs::copy(other, folder.file());
    }
    SECTION("lock deleted") { fs::remove(folder.file("store.db/paychan.lock")); }
    SECTION("lock replaced") {
        fs::remove(folder.file("store.db/paychan.lock"));
        CHECK(file_store(folder.file()).put(id_a, 2, {}));  // now theirs
    }
    const std::array batch{put_request{id_a, 3, {}}};
    CHECK(code_of(store.put(id_a, 3, {})) == errc::store_failed);
    CHECK(code_of(store.put_many(batch)) == errc::store_failed);
    CHECK(code_of(store.erase(id_a)) == errc::store_failed);
    CHECK(store.last_error() == folder.file() + ": the store was moved or deleted while in use");
}

TEST_CASE("file_store stays where it is when the process changes its folder", "[memory][store]") {
    const temporary_folder folder;
    const fs::path before = fs::current_path();
    fs::current_path(folder.path);
    {
        file_store store("here");
        REQUIRE(store.put(id_a, 1, {}));
        fs::current_path(before);
        CHECK(store.put(id_a, 2, {}));
    }
    CHECK(names_in(folder.file("here")) == std::set<std::string>{"paychan.lock", file_a});
}

TEST_CASE("file_store says so when it cannot make, read or write its folder", "[memory][store]") {
    const temporary_folder folder;
    SECTION("no name") {
        CHECK(code_of(file_store("").status()) == errc::invalid_argument);
        CHECK(code_of(file_store(std::string("a\0b", 3)).status()) == errc::invalid_argument);
    }
    SECTION("a file") {
        write_file(folder.file(), "text");
        file_store store(folder.file());
        CHECK(code_of(store.status()) == errc::store_failed);
        CHECK(store.last_error() == folder.file() + ": the store is no folder: Not a directory");
    }
    SECTION("a folder that is not there") {
        file_store store(folder.file("none/store"));
        CHECK(code_of(store.status()) == errc::store_failed);
        CHECK(store.last_error() ==
              folder.file("none/store") + ": the store's folder cannot be made: No such file or directory");
    }
    SECTION("a folder in which nothing may be made") {
        fs::permissions(folder.path, fs::perms::owner_read | fs::perms::owner_exec);
        const without_privileges now(folder.path);
        file_store store(folder.file());
        CHECK(code_of(store.status()) == errc::store_failed);
        CHECK(store.last_error() == folder.file() + ": the store's folder cannot be made: Permission denied");
    }
    SECTION("a store that is read-only") {
        { REQUIRE(file_store(folder.file()).put(id_a, 1, {})); }
        fs::permissions(folder.file(), fs::perms::owner_read | fs::perms::owner_exec);
        fs::permissions(folder.path, fs::perms::owner_all | fs::perms::group_exec | fs::perms::others_exec);
        const without_privileges now(folder.file());
        {
            file_store store(folder.file());
            CHECK(code_of(store.status()) == errc::store_failed);
            CHECK(store.last_error() ==
                  folder.file() + ": the store's folder may not be written to: Permission denied");
        }
        file_store reader(folder.file(), store_access::read_only);
        CHECK(fetch(reader, id_a) == found{1, {}});
    }
    SECTION("a record that may not be read") {
        { REQUIRE(file_store(folder.file()).put(id_a, 1, {})); }
        fs::permissions(folder.file("store.db/" + file_a), fs::perms::none);
        fs::permissions(folder.path, fs::perms::owner_all | fs::perms::group_exec | fs::perms::others_exec);
        const without_privileges now(folder.file());
        file_store store(folder.file());
        CHECK(code_of(fetch(store, id_a)) == errc::store_failed);
        CHECK(store.last_error() ==
              folder.file("store.db/" + file_a) + ": the file cannot be opened: Permission denied");
    }
    fs::permissions(folder.path, fs::perms::owner_all);
}

TEST_CASE("file_store refuses a version that does not fit, and a record that is too long", "[memory][store]") {
    const temporary_folder folder;
    file_store store(folder.file());
    CHECK(code_of(store.put(id_a, std::uint64_t{1} << 63, {})) == errc::invalid_argument);
    const std::array batch{put_request{id_a, 1, {}}, put_request{id_b, ~std::uint64_t{0}, {}}};
    CHECK(code_of(store.put_many(batch)) == errc::invalid_argument);
    CHECK(code_of(store.put(id_a, 1, bytes(std::size_t{1} << 26))) == errc::too_long);
    CHECK(listed(store, server_kind).empty());
}

TEST_CASE("file_store that runs out of space keeps what it had, and goes on when there is space", "[memory][store]") {
    const temporary_folder folder;
    file_store store(folder.file());
    REQUIRE(store.put(id_a, 1, bytes{1}));
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
    auto* const handler = std::signal(SIGXFSZ, SIG_IGN);
    const rlimit small{1000, before.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
    const auto outcome = store.put(id_a, 2, bytes(5000, 2));
    const auto names = names_in(folder.file());
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
    std::signal(SIGXFSZ, handler);

    CHECK(code_of(outcome) == errc::store_failed);
    CHECK(store.last_error() == folder.file("store.db/batch-1") + ": the file cannot be written: File too large");
    CHECK(names == std::set<std::string>{"paychan.lock", "batch-0"});
    CHECK(fetch(store, id_a) == found{1, {1}});
    CHECK(store.put(id_a, 2, bytes(5000, 2)));
}
