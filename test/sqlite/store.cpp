// sqlite_store: the conformance of Store, and its files: foreign, damaged, forbidden, moved.
#include "paychan/sqlite/store.hpp"

#include <sys/stat.h>

#include "../support/old_stores.hpp"
#include "support.hpp"

using namespace paychan;
using namespace paychan::sqlite_test;

TEST_CASE("sqlite_store keeps the contract of Store", "[sqlite][store]") {
    const temporary_folder folder;
    store_conformance([&] { return sqlite_store(folder.file()); });
}

TEST_CASE("sqlite_store keeps everything when it is closed and opened again", "[sqlite][store]") {
    const temporary_folder folder;
    {
        sqlite_store store(folder.file());
        REQUIRE(store.status());
        REQUIRE(store.put(a, 1, content_of(1)));
        REQUIRE(store.put(a, 2, content_of(2)));
        REQUIRE(store.put(b, 1, {}));
        REQUIRE(store.put(id_of(kind, 3), 1, {}));
        REQUIRE(store.erase(id_of(kind, 3)));
    }
    for (const auto access : {store_access::create, store_access::existing, store_access::read_only}) {
        sqlite_store store(folder.file(), access);
        REQUIRE(store.status());
        CHECK(fetch(store, a) == found{2, content_of(2)});
        CHECK(fetch(store, b) == found{1, {}});
        CHECK(listed(store, kind) == std::set{a, b});
        if (access != store_access::read_only) CHECK(code_of(store.put(a, 2, {})) == errc::stale_record);
    }
}

TEST_CASE("sqlite_store refuses a version that SQLite cannot hold", "[sqlite][store]") {
    const temporary_folder folder;
    sqlite_store store(folder.file());
    CHECK(code_of(store.put(a, std::uint64_t{1} << 63, {})) == errc::invalid_argument);
    const std::array batch{put_request{a, 1, {}}, put_request{b, ~std::uint64_t{0}, {}}};
    CHECK(code_of(store.put_many(batch)) == errc::invalid_argument);
    CHECK(listed(store, kind).empty());
}

TEST_CASE("sqlite_store makes its files for their owner alone, whatever the umask", "[sqlite][store]") {
    const temporary_folder folder;
    const mode_t before = ::umask(0);
    sqlite_store store(folder.file());
    const bool put = store.put(a, 1, {}).has_value();
    ::umask(before);
    REQUIRE(put);
    for (const char* name : {"store.db", "store.db-wal", "store.db-shm"}) {
        struct stat info {};
        CAPTURE(name);
        REQUIRE(::stat(folder.file(name).c_str(), &info) == 0);
        CHECK((info.st_mode & 07777) == 0600);
    }
}

TEST_CASE("sqlite_store does not make a file that was asked for as existing", "[sqlite][store]") {
    const temporary_folder folder;
    for (const auto access : {store_access::existing, store_access::read_only}) {
        sqlite_store store(folder.file(), access);
        CHECK(code_of(store.status()) == errc::not_found);
        CHECK(code_of(store.put(a, 1, {})) == errc::not_found);
        CHECK(code_of(fetch(store, a)) == errc::not_found);
        CHECK(code_of(store.put_many({})) == errc::not_found);
        CHECK(code_of(store.erase(a)) == errc::not_found);
        CHECK(code_of(store.list(kind, [](const record_id&) {})) == errc::not_found);
        CHECK(store.last_error() == folder.file() + ": there is no such store");
    }
    CHECK(fs::is_empty(folder.path));
}

TEST_CASE("sqlite_store refuses a file that is not its own, by name, and leaves it as it was", "[sqlite][store]") {
    const temporary_folder folder;
    const std::string path = folder.file();
    errc expected = errc::unknown_format;
    std::string words;
    SECTION("a short text") {
        write_file(path, "seed = hello\n");
        words = "the file is not a paychan store: file is not a database";
    }
    SECTION("a long text") {
        write_file(path, std::string(20'000, 'x'));
        words = "the file is not a paychan store: file is not a database";
    }
    SECTION("a database without a name") {
        run_sql(path, "CREATE TABLE record (kind, channel, version, bytes)");
        words = "the file is another program's";
    }
    SECTION("another program's database") {
        run_sql(path, "PRAGMA application_id = 252006673; PRAGMA user_version = 1; CREATE TABLE t (x)");
        words = "the file is another program's";
    }
    SECTION("a later format") {
        REQUIRE(sqlite_store(path).put(a, 1, {}));
        run_sql(path, "PRAGMA user_version = 2");
        words = "the store was written by a newer version of paychan: use that one";
    }
    SECTION("a store whose version was lost") {
        REQUIRE(sqlite_store(path).put(a, 1, {}));
        run_sql(path, "PRAGMA user_version = 0");
        expected = errc::corrupt_record;
        words = "the store has no known version";
    }
    SECTION("a store without its table") {
        REQUIRE(sqlite_store(path).put(a, 1, {}));
        run_sql(path, "DROP TABLE record");
        expected = errc::corrupt_record;
        words = "the store lacks a table or a column: no such table: record";
    }
    const bytes before = read_file(path);
    for (const auto access : {store_access::create, store_access::existing, store_access::read_only}) {
        sqlite_store store(path, access);
        CHECK(code_of(store.status()) == expected);
        CHECK(store.last_error() == path + ": " + words);
        CHECK(code_of(store.put(a, 5, {})) == expected);
    }
    CHECK(read_file(path) == before);
}

TEST_CASE("an sqlite_store of format 1 is read for ever", "[sqlite][store]") {
    const auto known = read_vectors("stores/format_1.json");
    const temporary_folder folder;
    fs::copy_file(std::string(PAYCHAN_TEST_VECTORS) + "/stores/sqlite_format_1.db", folder.file());
    fs::permissions(folder.file(), fs::perms::owner_read | fs::perms::owner_write);
    for (const auto access : {store_access::read_only, store_access::existing}) {
        sqlite_store store(folder.file(), access);
        REQUIRE(store.status());
        check_old_store(store, known, access);
    }
}

TEST_CASE("a channel's record with any bit flipped in sqlite_store's file is refused by name, and the others load",
          "[sqlite][store]") {
    const auto known = read_vectors("stores/format_1.json");
    const bytes whole = read_file(std::string(PAYCHAN_TEST_VECTORS) + "/stores/sqlite_format_1.db");
    std::size_t flips = 0;
    for (const auto& damaged : known["records"]) {
        if (damaged["kind"] != 1 && damaged["kind"] != 4) continue;
        const bytes record = unhex(damaged["bytes"].get<std::string>());
        const auto at = std::search(whole.begin(), whole.end(), record.begin(), record.end());
        REQUIRE(at != whole.end());
        for (std::size_t i = 0; i < record.size(); i += 7) {
            bytes file = whole;
            file[static_cast<std::size_t>(at - whole.begin()) + i] ^= static_cast<std::uint8_t>(1U << i % 8);
            ++flips;
            const temporary_folder folder;
            write_file(folder.file(), std::string(file.begin(), file.end()));
            sqlite_store store(folder.file());
            REQUIRE(store.status());
            for (const auto& c : known["channels"]) {
                const auto one = c["role"] == "client" ? record_kind::client_channel : record_kind::server_channel;
                const auto read = load_record(store, one, parse_txid(c["contract"].get<std::string>()).value());
                if (static_cast<int>(one) == damaged["kind"] && c["contract"] == damaged["channel"])
                    CHECK(code_of(read) == (i == 0 ? errc::unknown_format : errc::corrupt_record));
                else
                    REQUIRE(read);
            }
        }
    }
    CHECK(flips > 100);
}

TEST_CASE("sqlite_store reports a damaged file", "[sqlite][store]") {
    const temporary_folder folder;
    {
        sqlite_store store(folder.file());
        REQUIRE(store.put(a, 1, bytes(100'000, 7)));
    }
    SECTION("garbage in its pages") {
        std::fstream file(folder.file(), std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(4096);
        file << std::string(8192, '\xff');
    }
    SECTION("its end is missing") { fs::resize_file(folder.file(), 8192); }
    sqlite_store store(folder.file());
    const auto r = fetch(store, a);
    REQUIRE(!r);
    CHECK(r.error().code == errc::corrupt_record);
    CHECK(code_of(store.scan(kind, {}, [](const record_id&, const result<stored_record>&) { return true; })) ==
          errc::corrupt_record);
}

TEST_CASE("sqlite_store that was edited by hand into something else is corrupt, not trusted", "[sqlite][store]") {
    const temporary_folder folder;
    REQUIRE(sqlite_store(folder.file()).put(a, 1, bytes{1}));
    run_sql(folder.file(), GENERATE("UPDATE record SET bytes = 'a text'", "UPDATE record SET version = 'a text'"));
    sqlite_store store(folder.file());
    CHECK(code_of(fetch(store, a)) == errc::corrupt_record);
}

TEST_CASE("a scan of sqlite_store tells what was edited into something else as an error, and goes on behind it",
          "[sqlite][store]") {
    const temporary_folder folder;
    const record_id c = id_of(kind, 3);
    {
        sqlite_store store(folder.file());
        for (const record_id& id : {a, b, c}) REQUIRE(store.put(id, 1, bytes{7}));
    }
    const std::string edit = GENERATE("bytes = 'a text'", "bytes = 5", "version = 'a text'", "version = 1.5");
    const auto damaged = static_cast<std::uint8_t>(GENERATE(1, 2, 3));
    CAPTURE(edit, damaged);
    run_sql(folder.file(),
            "UPDATE record SET " + edit + " WHERE hex(channel) LIKE '0" + std::to_string(damaged) + "%'");
    sqlite_store store(folder.file());
    scanned_records all;
    for (const record_id& id : {a, b, c})
        all.push_back({id, id == id_of(kind, damaged) ? unreadable(errc::corrupt_record) : found{1, {7}}});
    CHECK(scanned(store, kind) == all);
    CHECK(scanned(store, kind, {}, 2) == scanned_records{all[0], all[1]});
    CHECK(scanned(store, kind, a.channel) == scanned_records{all[1], all[2]});
    CHECK(scanned(store, kind, b.channel) == scanned_records{all[2]});
    CHECK(listed(store, kind) == std::set{a, b, c});
    CHECK(code_of(fetch(store, id_of(kind, damaged))) == errc::corrupt_record);
}

TEST_CASE("a scan of sqlite_store passes over names that are none", "[sqlite][store]") {
    const temporary_folder folder;
    {
        sqlite_store store(folder.file());
        for (const record_id& id : {a, b}) REQUIRE(store.put(id, 1, bytes{7}));
    }
    run_sql(folder.file(),
            "PRAGMA ignore_check_constraints = ON; INSERT INTO record VALUES"
            " (4, x'', 1, x''), (4, x'00', 1, x''), (4, x'0102', 1, x''), (4, x'0203', 1, x''), (4, 'name', 1, x'')");
    sqlite_store store(folder.file());
    CHECK(scanned(store, kind) == scanned_records{{a, {1, {7}}}, {b, {1, {7}}}});
    CHECK(code_of(store.list(kind, [](const record_id&) {})) == errc::corrupt_record);
}

TEST_CASE("sqlite_store knows that others have written, and does not count itself", "[sqlite][store][shared]") {
    const temporary_folder folder;
    sqlite_store store(folder.file());
    sqlite_store other(folder.file());
    const std::array batch{put_request{a, 2, {}}, put_request{b, 1, {}}};
    auto last = store.foreign_writes();
    const auto changed = [&] { return std::exchange(last, store.foreign_writes()) != last; };

    CHECK_FALSE(changed());
    REQUIRE(store.put(a, 1, bytes{1}));
    CHECK_FALSE(changed());
    REQUIRE(store.put_many(batch));
    CHECK_FALSE(changed());
    CHECK(code_of(store.put_many(batch)) == errc::stale_record);
    REQUIRE(store.erase(b));
    CHECK_FALSE(changed());
    CHECK(fetch(other, a) == found{2, {}});
    CHECK(scanned(other, kind).size() == 1);
    CHECK_FALSE(changed());

    REQUIRE(other.put(a, 3, bytes{3}));
    CHECK(changed());
    CHECK_FALSE(changed());
    const std::array second{put_request{a, 4, {}}, put_request{b, 1, {}}};
    REQUIRE(other.put_many(second));
    CHECK(changed());
    REQUIRE(other.erase(b));
    CHECK(changed());
    CHECK_FALSE(changed());
    // Also when this one has read or written since, and so has met the other's writes already.
    REQUIRE(other.put(b, 1, {}));
    CHECK(fetch(store, b) == found{1, {}});
    CHECK(changed());
    REQUIRE(other.put(b, 2, {}));
    REQUIRE(store.put(b, 3, {}));
    CHECK(changed());
    CHECK(other.put(a, 5, {}));
    CHECK(store.put(a, 6, {}));
    CHECK(code_of(other.put(a, 6, {})) == errc::stale_record);
    CHECK(changed());
    CHECK_FALSE(changed());
}

TEST_CASE("a reader of sqlite_store knows that others have written", "[sqlite][store][shared]") {
    const temporary_folder folder;
    sqlite_store store(folder.file());
    REQUIRE(store.put(a, 1, {}));
    sqlite_store reader(folder.file(), store_access::read_only);
    const auto before = reader.foreign_writes();
    CHECK(reader.foreign_writes() == before);
    REQUIRE(store.put(a, 2, {}));
    CHECK(reader.foreign_writes() != before);
}

TEST_CASE("sqlite_store that cannot tell whether others have written says so each time", "[sqlite][store]") {
    const temporary_folder folder;
    sqlite_store store(folder.file(), store_access::existing);
    REQUIRE_FALSE(store.status());
    const auto before = store.foreign_writes();
    CHECK(store.foreign_writes() != before);
    CHECK(code_of(store.scan(kind, {}, [](const record_id&, const result<stored_record>&) { return true; })) ==
          errc::not_found);
}

TEST_CASE("sqlite_store stops when its file is deleted or moved, since nobody would find what it writes",
          "[sqlite][store]") {
    const temporary_folder folder;
    sqlite_store store(folder.file());
    REQUIRE(store.put(a, 1, {}));
    SECTION("deleted") { fs::remove(folder.file()); }
    SECTION("moved") { fs::rename(folder.file(), folder.file("other.db")); }
    SECTION("replaced") {
        fs::rename(folder.file(), folder.file("other.db"));
        write_file(folder.file(), "");
    }
    const std::array batch{put_request{a, 2, {}}};
    CHECK(code_of(store.put(a, 2, {})) == errc::store_failed);
    CHECK(code_of(store.put_many(batch)) == errc::store_failed);
    CHECK(code_of(store.erase(a)) == errc::store_failed);
    CHECK(store.last_error() == folder.file() + ": the store's file was moved or deleted while in use");
}

TEST_CASE("sqlite_store takes any path for a file's name", "[sqlite][store]") {
    const temporary_folder folder;
    SECTION("names that mean something to SQLite") {
        const fs::path before = fs::current_path();
        fs::current_path(folder.path);
        for (const std::string name : {":memory:", "file:x?mode=memory", "with space.db"}) {
            CAPTURE(name);
            CHECK(sqlite_store(name).put(a, 1, bytes{1}));
            CHECK(fs::exists(folder.path / name));
            sqlite_store again(name);
            CHECK(fetch(again, a) == found{1, {1}});
        }
        fs::current_path(before);
    }
    SECTION("no name") {
        CHECK(code_of(sqlite_store("").status()) == errc::invalid_argument);
        CHECK(code_of(sqlite_store(std::string("a\0b", 3)).status()) == errc::invalid_argument);
    }
    SECTION("a folder") { CHECK(code_of(sqlite_store(folder.path.string()).status()) == errc::store_failed); }
    SECTION("a folder that is not there") {
        sqlite_store store(folder.file("none/store.db"));
        CHECK(code_of(store.status()) == errc::store_failed);
        CHECK(store.last_error() ==
              folder.file("none/store.db") + ": the store's file cannot be made: No such file or directory");
    }
}

TEST_CASE("sqlite_store says so when it may not read or write its file", "[sqlite][store]") {
    const temporary_folder folder;
    const auto everything = fs::perms::owner_all;
    SECTION("a folder in which nothing may be made") {
        fs::permissions(folder.path, fs::perms::owner_read | fs::perms::owner_exec);
        const without_privileges now(folder.path);
        sqlite_store store(folder.file());
        CHECK(code_of(store.status()) == errc::store_failed);
        CHECK(store.last_error() == folder.file() + ": the store's file cannot be made: Permission denied");
    }
    SECTION("a store that is read-only") {
        REQUIRE(sqlite_store(folder.file()).put(a, 1, {}));
        fs::permissions(folder.file(), fs::perms::owner_read);
        const without_privileges now(folder.path);
        sqlite_store store(folder.file());
        CHECK(code_of(store.status()) == errc::store_failed);
        CHECK(store.last_error() == folder.file() + ": the store's file or folder may not be written to");
        sqlite_store reader(folder.file(), store_access::read_only);
        CHECK(fetch(reader, a) == found{1, {}});
    }
    SECTION("a store that may not be read") {
        REQUIRE(sqlite_store(folder.file()).put(a, 1, {}));
        fs::permissions(folder.file(), fs::perms::none);
        const without_privileges now(folder.path);
        sqlite_store store(folder.file());
        CHECK(code_of(store.status()) == errc::store_failed);
        CHECK(store.last_error() == folder.file() +
                                        ": the store's file cannot be opened: unable to open database file: "
                                        "Permission denied");
    }
    fs::permissions(folder.path, everything);
}
