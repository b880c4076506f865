// sqlite_store when it is killed, and when the disk fails at each of its operations.
#include <sys/stat.h>
#include <sys/syscall.h>

#include <csignal>

#include "../support/writer_process.hpp"
#include "support.hpp"

using namespace paychan;
using namespace paychan::sqlite_test;

namespace {

/// Stands between SQLite and the kernel.
struct disk {
    static inline int syncs = 0;
    static inline std::set<ino_t> synced;  // also folders
    static inline int left = -1;           // operations that still succeed; -1: all
    static inline int error = 0;           // errno of the others
    static inline bool met = false;

    static bool fails() {
        if (left < 0) return false;
        if (left > 0) {
            --left;
            return false;
        }
        met = true;
        errno = error;
        return true;
    }
    static ssize_t pwrite64(int fd, const void* from, std::size_t size, off_t at) {
        return fails() ? -1 : ::pwrite(fd, from, size, at);
    }
    static ssize_t write(int fd, const void* from, std::size_t size) { return fails() ? -1 : ::write(fd, from, size); }
    static int ftruncate(int fd, off_t size) { return fails() ? -1 : ::ftruncate(fd, size); }

    disk() {
        sqlite3_vfs* const vfs = sqlite3_vfs_find(nullptr);
        const auto replace = [&](const char* name, auto* by) {
            return vfs->xSetSystemCall(vfs, name, reinterpret_cast<sqlite3_syscall_ptr>(by));
        };
        replace("write", &write);
        replace("ftruncate", &ftruncate);
        replace("pwrite", &pwrite64);
        replace("pwrite64", &pwrite64);
    }
    ~disk() {
        sqlite3_vfs* const vfs = sqlite3_vfs_find(nullptr);
        for (const char* name : {"write", "ftruncate", "pwrite", "pwrite64"}) vfs->xSetSystemCall(vfs, name, nullptr);
        left = -1;
    }
};

}  // namespace

// Found before libc's: SQLite has no hook for these two.
extern "C" int fdatasync(int fd) {
    ++disk::syncs;
    return disk::fails() ? -1 : static_cast<int>(syscall(SYS_fdatasync, fd));
}
extern "C" int fsync(int fd) {
    ++disk::syncs;
    struct stat about {};
    if (::fstat(fd, &about) == 0) disk::synced.insert(about.st_ino);
    return disk::fails() ? -1 : static_cast<int>(syscall(SYS_fsync, fd));
}

TEST_CASE("sqlite_store syncs once before put returns, and once for a whole batch", "[sqlite][store]") {
    const temporary_folder folder;
    sqlite_store store(folder.file());
    REQUIRE(store.put(a, 1, content_of(1)));  // the first write makes the log, with syncs of its own
    disk::syncs = 0;
    REQUIRE(store.put(a, 2, content_of(2)));
    CHECK(disk::syncs == 1);
    std::vector<put_request> batch;
    for (std::uint8_t i = 0; i < 100; ++i) batch.push_back({id_of(record_kind::client_channel, i), 1, {}});
    disk::syncs = 0;
    REQUIRE(store.put_many(batch));
    CHECK(disk::syncs == 1);
    REQUIRE(store.erase(a));
    CHECK(disk::syncs == 2);
    REQUIRE(fetch(store, b).error().code == errc::not_found);
    CHECK(disk::syncs == 2);
}

TEST_CASE("sqlite_store syncs its folder also when another process made the files", "[sqlite][store]") {
    const temporary_folder folder;
    child other([&](int channel) {
        sqlite_store store(folder.file());
        tell(channel, store.status().has_value());
        char go = 0;
        (void)!::read(channel, &go, 1);
    });
    REQUIRE(other.next<bool>() == true);
    REQUIRE(fs::exists(folder.file("store.db-wal")));  // SQLite syncs its name when `other` writes, which it will not
    disk::synced.clear();
    sqlite_store store(folder.file(), store_access::existing);
    REQUIRE(store.put(a, 1, {}));
    struct stat about {};
    REQUIRE(::stat(folder.path.c_str(), &about) == 0);
    CHECK(disk::synced.contains(about.st_ino));
}

// A kill leaves the page cache alone, so this shows atomicity and order; the test above shows that each put syncs.
TEST_CASE("sqlite_store has every put that returned, and no half of a batch, after kill -9", "[sqlite][store]") {
    const temporary_folder folder;
    const auto open = [&] { return sqlite_store(folder.file()); };
    const twin_records twins{a, b, content_of};
    std::uint64_t last = 0;
    for (int round = 0; round < 8; ++round) {
        child writer([&](int channel) { twins.write_on(open, last, channel); });
        const auto told = twins.end_after(writer, 5 + 7 * round, [&] { ::kill(writer.pid, SIGKILL); });
        CHECK(writer.end() == -1);

        auto store = open();
        REQUIRE(store.status());
        last = twins.check_whole(store, told);
    }
}

TEST_CASE("sqlite_store survives the failure of any disk operation with the old content or the new",
          "[sqlite][store]") {
    const int error = GENERATE(ENOSPC, EIO);
    const std::size_t batch = GENERATE(as<std::size_t>(), 1, 2);  // records in one write
    CAPTURE(error, batch);
    const disk broken;
    int failures = 0;
    for (int n = 0;; ++n) {
        CAPTURE(n);
        const temporary_folder folder;
        disk::left = -1;
        auto store = std::make_unique<sqlite_store>(folder.file());
        const bytes before(5000, 1), after(9000, 2);
        const std::array old{put_request{a, 1, before}, put_request{b, 1, before}};
        const std::array next{put_request{a, 2, after}, put_request{b, 2, after}};
        REQUIRE(store->put_many(old));

        disk::met = false;
        disk::left = n;
        disk::error = error;
        const auto outcome = batch == 1 ? store->put(a, 2, after) : store->put_many(next);
        disk::left = -1;
        if (!outcome) {
            ++failures;
            CHECK(disk::met);
            CHECK(code_of(outcome) == errc::store_failed);
            CHECK(store->last_error().size() > folder.file().size() + 2);
            CHECK(fetch(*store, a) == found{1, before});  // this process goes on with the old content
        }
        const bool written_again = !outcome && n % 2 == 0;
        if (written_again) CHECK(store->put_many(next));  // and can write when the disk is well

        store.reset();
        sqlite_store reopened(folder.file());
        REQUIRE(reopened.status());
        const auto in_a = fetch(reopened, a);
        REQUIRE(in_a);
        CHECK((in_a == found{1, before} || in_a == found{2, after}));
        if (outcome || written_again) CHECK(in_a->version == 2);
        if (batch == 2) CHECK(fetch(reopened, b) == *in_a);
        if (outcome && !disk::met) break;
    }
    CHECK(failures >= 2);  // at least a write and a sync
}

TEST_CASE("sqlite_store that cannot be made for want of a disk can be made later", "[sqlite][store]") {
    const disk broken;
    int failures = 0;
    for (int n = 0;; ++n) {
        CAPTURE(n);
        const temporary_folder folder;
        disk::met = false;
        disk::error = ENOSPC;
        disk::left = n;
        {
            sqlite_store store(folder.file());
            if (!store.status()) {
                ++failures;
                CHECK(store.status().error().code == errc::store_failed);
                CHECK(code_of(store.put(a, 1, {})) == errc::store_failed);
            }
        }
        disk::left = -1;
        sqlite_store store(folder.file());
        REQUIRE(store.status());
        CHECK(store.put(a, 1, {}));
        if (!disk::met) break;
    }
    CHECK(failures >= 2);
}
