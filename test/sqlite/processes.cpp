// sqlite_store between processes: locks, readers beside a writer, and who makes the file.
#include "support.hpp"

using namespace paychan;
using namespace paychan::sqlite_test;

namespace {

// SQLite's own note of its locks must not be inherited: each child is made before this process opens a store,
// and waits.
void wait_for_go(int channel) {
    char go = 0;
    if (::read(channel, &go, 1) != 1) ::_exit(9);
}

void go(const child& c) { tell(c.channel, 'g'); }

}  // namespace

TEST_CASE("sqlite_store fails when another process keeps the lock, and works once it lets go", "[sqlite][store]") {
    const temporary_folder folder;
    child other([&](int channel) {
        wait_for_go(channel);
        sqlite3* db = nullptr;
        sqlite3_open(folder.file().c_str(), &db);
        tell(channel, sqlite3_exec(db, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr));
        wait_for_go(channel);
        sqlite3_exec(db, "ROLLBACK", nullptr, nullptr, nullptr);
        wait_for_go(channel);
    });
    sqlite_store store(folder.file(), store_access::create, 50);
    REQUIRE(store.put(a, 1, {}));
    go(other);
    REQUIRE(other.next<int>() == SQLITE_OK);

    const std::array batch{put_request{a, 2, {}}};
    for (const auto& outcome : {store.put(a, 2, {}), store.put_many(batch), store.erase(a)}) {
        REQUIRE(!outcome);
        CHECK(outcome.error().code == errc::store_failed);
        CHECK(outcome.error().text == "the store is locked by another process");
    }
    CHECK(store.last_error() == folder.file() + ": the store is locked by another process: database is locked");
    CHECK(fetch(store, a) == found{1, {}});  // readers do not wait
    CHECK(sqlite_store(folder.file(), store_access::existing, 50).status());

    sqlite_store patient(folder.file(), store_access::existing, 60'000);
    go(other);
    CHECK(patient.put(a, 2, {}));
    CHECK(store.put(a, 3, {}));
    CHECK(code_of(patient.put(a, 3, {})) == errc::stale_record);
}

TEST_CASE("sqlite_store is read by one process while another writes it", "[sqlite][store]") {
    const temporary_folder folder;
    REQUIRE(sqlite_store(folder.file()).put(a, 1, content_of(1)));
    child writer([&](int channel) {
        sqlite_store store(folder.file());
        for (std::uint64_t v = 2; v < 200; ++v)
            if (!store.put(a, v, content_of(v))) ::_exit(1);
        tell(channel, 'd');
    });
    sqlite_store reader(folder.file(), store_access::read_only);
    REQUIRE(reader.status());
    std::uint64_t seen = 0;
    for (int reads = 0; seen != 199; ++reads) {
        REQUIRE(reads < 1'000'000);
        const auto r = fetch(reader, a);
        REQUIRE(r);
        REQUIRE(r->version >= seen);
        REQUIRE(r->content == content_of(r->version));
        seen = r->version;
    }
    CHECK(writer.end() == 0);
    CHECK(code_of(reader.put(a, 1000, {})) == errc::store_failed);
    CHECK(code_of(reader.erase(a)) == errc::store_failed);
}

TEST_CASE("sqlite_store may be made by several processes at once", "[sqlite][store]") {
    for (int round = 0; round < 6; ++round) {
        const temporary_folder folder;
        std::vector<std::unique_ptr<child>> children;
        for (std::uint8_t i = 0; i < 4; ++i)
            children.push_back(std::make_unique<child>([&folder, i](int channel) {
                wait_for_go(channel);
                sqlite_store store(folder.file());
                if (!store.status()) ::_exit(1);
                for (std::uint64_t v = 1; v <= 2; ++v)
                    if (!store.put(id_of(kind, i), v, content_of(v))) ::_exit(2);
            }));
        for (const auto& c : children) go(*c);
        for (const auto& c : children) CHECK(c->end() == 0);
        sqlite_store store(folder.file(), store_access::existing);
        CHECK(listed(store, kind).size() == 4);
    }
}

TEST_CASE("sqlite_store waits for its turn to make a file that another process keeps locking", "[sqlite][store]") {
    const temporary_folder folder;
    child other([&](int channel) {
        sqlite3* db = nullptr;
        sqlite3_open(folder.file().c_str(), &db);
        for (int i = 0; i < 5000; ++i) {
            sqlite3_exec(db, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr);
            if (i == 0) tell(channel, 'r');
            sqlite3_exec(db, "SELECT 1 FROM sqlite_master; ROLLBACK", nullptr, nullptr, nullptr);
        }
    });
    REQUIRE(other.next<char>());
    sqlite_store store(folder.file(), store_access::create, 60'000);
    CHECK(store.last_error() == folder.file() + ": no error");
    CHECK(store.put(a, 1, {}));
}

TEST_CASE("two sqlite_stores of one process on one file do not lose each other's locks", "[sqlite][store]") {
    const temporary_folder folder;
    child other([&](int channel) {
        wait_for_go(channel);
        tell(channel, sqlite_store(folder.file()).put(b, 1, {}).has_value());
        wait_for_go(channel);
        sqlite_store store(folder.file());
        bytes memory(1);
        const auto r = store.get(a, memory);
        tell(channel, r ? r->version : 0);
    });
    sqlite_store first(folder.file());
    REQUIRE(first.put(a, 1, {}));
    { const sqlite_store second(folder.file()); }
    go(other);  // it would delete the log of `first` if it believed itself alone
    REQUIRE(other.next<bool>() == true);
    CHECK(fs::exists(folder.file("store.db-wal")));
    REQUIRE(first.put(a, 2, {}));
    go(other);
    CHECK(other.next<std::uint64_t>() == 2);
    CHECK(fetch(first, b) == found{1, {}});
}

TEST_CASE("a process that slept while another one deleted a channel cannot write it again", "[sqlite][store]") {
    const temporary_folder folder;
    child sleeper([&](int channel) {
        sqlite_store store(folder.file());
        for (std::uint64_t v = 1; v <= 3; ++v)
            if (!store.put(a, v, {})) ::_exit(1);
        tell(channel, 'r');
        wait_for_go(channel);
        tell(channel, code_of(store.put(a, 4, {})));
        const std::array both{put_request{b, 1, {}}, put_request{a, 4, {}}};
        tell(channel, code_of(store.put_many(both)));
    });
    REQUIRE(sleeper.next<char>());
    sqlite_store other(folder.file());
    REQUIRE(other.put(a, 4, {}));
    REQUIRE(other.erase(a));
    go(sleeper);
    for (int i = 0; i < 2; ++i) CHECK(sleeper.next<errc>() == errc::stale_record);
    CHECK(listed(other, kind).empty());
}
