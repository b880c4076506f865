// file_store when it is killed, when the power fails at any moment, and when the disk fails at each of its operations.
#include <sys/stat.h>
#include <sys/syscall.h>

#include <csignal>
#include <map>
#include <memory>
#include <random>

#include "../conformance/store.hpp"
#include "../support/writer_process.hpp"
#include "paychan/memory/file_store.hpp"

using namespace paychan;
using namespace paychan::conformance;
using namespace paychan_test;

namespace {

const record_id id_1 = id_of(record_kind::server_channel, 1);
const record_id id_2 = id_of(record_kind::client_channel, 2);
const record_id id_3 = id_of(record_kind::server_settlement, 3);  // of those that may be put at any version

bytes content_of(std::uint64_t version) { return bytes(30 + version % 500, static_cast<std::uint8_t>(version)); }

/// Stands between file_store and the kernel: counts, fails, and knows what a power cut would leave.
struct disk {
    static inline int syncs = 0;
    static inline std::set<ino_t> synced;  // also folders
    static inline int left = -1;           // operations that still succeed; -1: all
    static inline int error = 0;           // errno of the others
    static inline bool met = false;

    // A power cut leaves what was synced.  Of what was not: no content, and any of the names.
    using content = std::shared_ptr<const bytes>;
    using names = std::map<std::string, content>;
    struct change {
        std::string name;
        std::optional<content> now;  // nothing: deleted
    };
    static inline fs::path watched;  // the store's folder
    static inline names synced_names;
    static inline std::map<ino_t, content> synced_files;
    static inline std::vector<change> unsynced;
    static inline std::function<void()> before_each;  // operation

    static bool fails() {
        if (before_each) std::exchange(before_each, nullptr)();  // what it does itself does not count
        if (left < 0) return false;
        if (left > 0) {
            --left;
            return false;
        }
        met = true;
        errno = error;
        return true;
    }

    static ino_t file_of(const fs::path& path) {
        struct stat about {};
        return ::lstat(path.c_str(), &about) == 0 ? about.st_ino : 0;
    }

    static void watch(const fs::path& folder) {
        watched = folder;
        synced_names.clear();
        synced_files.clear();
        unsynced.clear();
        for (const auto& f : fs::directory_iterator(folder)) {
            const auto now = std::make_shared<const bytes>(read_file(f.path().string()));
            synced_files[file_of(f.path())] = synced_names[f.path().filename().string()] = now;
        }
    }

    static void on_sync(int fd) {
        struct stat about {};
        if (::fstat(fd, &about) != 0) return;
        synced.insert(about.st_ino);
        if (watched.empty()) return;
        if (S_ISREG(about.st_mode)) {
            synced_files[about.st_ino] =
                std::make_shared<const bytes>(read_file("/proc/self/fd/" + std::to_string(fd)));
        } else if (about.st_ino == file_of(watched)) {
            apply([] { return true; }, synced_names);
            unsynced.clear();
        }
    }

    static void apply(const std::function<bool()>& happens, names& to) {
        for (const change& ch : unsynced) {
            if (!happens()) continue;
            if (ch.now)
                to[ch.name] = *ch.now;
            else
                to.erase(ch.name);
        }
    }

    /// What a power cut now could leave.
    static void image(const fs::path& to, const std::function<bool()>& happens) {
        names left_names = synced_names;
        apply(happens, left_names);
        fs::create_directory(to);
        for (const auto& [name, now] : left_names)
            write_file((to / name).string(), now ? std::string(now->begin(), now->end()) : "");
    }

    ~disk() {
        left = -1;
        watched.clear();
        before_each = nullptr;
    }
};

}  // namespace

// Found before libc's.
extern "C" int fsync(int fd) {
    ++disk::syncs;
    if (disk::fails()) return -1;
    disk::on_sync(fd);
    return disk::watched.empty() ? static_cast<int>(syscall(SYS_fsync, fd)) : 0;
}
extern "C" int renameat(int from, const char* old_name, int to, const char* new_name) noexcept {
    if (disk::fails()) return -1;
    if (!disk::watched.empty()) {
        disk::synced_files.erase(disk::file_of(disk::watched / new_name));  // its number will be used again
        disk::unsynced.push_back({new_name, disk::synced_files[disk::file_of(disk::watched / old_name)]});
    }
    return static_cast<int>(syscall(SYS_renameat, from, old_name, to, new_name));
}
extern "C" int unlinkat(int at, const char* name, int flags) noexcept {
    if (disk::fails()) return -1;
    if (!disk::watched.empty()) {
        disk::synced_files.erase(disk::file_of(disk::watched / name));
        disk::unsynced.push_back({name, std::nullopt});
    }
    return static_cast<int>(syscall(SYS_unlinkat, at, name, flags));
}

TEST_CASE("file_store syncs twice before put returns, and twice for a whole batch", "[memory][store]") {
    const temporary_folder folder;
    file_store store(folder.file());
    disk::syncs = 0;
    REQUIRE(store.put(id_1, 1, content_of(1)));
    CHECK(disk::syncs == 2);  // the file, and the folder
    std::vector<put_request> batch;
    for (std::uint8_t i = 0; i < 100; ++i) batch.push_back({id_of(record_kind::client_refund, i), 1, {}});
    disk::syncs = 0;
    REQUIRE(store.put_many(batch));
    CHECK(disk::syncs == 2);
    REQUIRE(fetch(store, id_3).error().code == errc::not_found);
    CHECK(disk::syncs == 2);
}

TEST_CASE("file_store has every put that returned, and no half of a batch, wherever the power fails",
          "[memory][store]") {
    const temporary_folder folder;
    const disk cleared;
    std::mt19937 random(20240611);  // the same at each run

    std::uint64_t acked = 0, tried = 0;           // versions of id_1 and id_2, which are written together
    std::set<std::optional<std::uint64_t>> of_c;  // versions of id_3 that may be found; nothing: erased
    std::size_t images = 0, batches = 0;
    const auto check = [&](const fs::path& left) {
        ++images;
        file_store store(left.string(), store_access::read_only);
        CAPTURE(images, acked, tried, store.last_error());
        REQUIRE(store.status());
        const auto in_a = fetch(store, id_1);
        if (acked == 0 && !in_a) return;
        REQUIRE(in_a);
        REQUIRE(in_a->version >= acked);
        REQUIRE(in_a->version <= tried);
        REQUIRE(in_a->content == content_of(in_a->version));
        REQUIRE(fetch(store, id_2) == *in_a);
        const auto in_c = fetch(store, id_3);
        if (!in_c) REQUIRE(in_c.error().code == errc::not_found);
        REQUIRE(of_c.contains(in_c ? std::optional(in_c->version) : std::nullopt));
        const auto names = listed(store, id_1.kind);
        REQUIRE(names.contains(id_1));
        REQUIRE(listed(store, id_3.kind).contains(id_3) == in_c.has_value());
    };
    const std::function<void()> look = [&] {
        const auto changes = disk::unsynced;
        for (int i = 0; i < 4; ++i) {
            const fs::path left = folder.path / "left";
            disk::image(left, [&] { return i < 2 ? i == 0 : random() % 2 == 0; });  // all, nothing, some
            check(left);
            fs::remove_all(left);
            disk::unsynced = changes;
        }
        disk::before_each = look;
    };
    {
        file_store store(folder.file());
        REQUIRE(store.status());
        disk::watch(folder.file());
        const auto write = [&] {
            const bytes content = content_of(++tried);
            const std::array both{put_request{id_1, tried, content}, put_request{id_2, tried, content}};
            REQUIRE(store.put_many(both));
            acked = tried;
            ++batches;
        };
        of_c = {std::nullopt, 9};
        REQUIRE(store.put(id_3, 9, content_of(9)));
        of_c = {9};
        while (batches < 61) write();
        disk::before_each = look;
        while (batches < 66) write();  // the records move to their files meanwhile
        of_c.insert(std::nullopt);
        REQUIRE(store.erase(id_3));
        of_c = {std::nullopt};
        write();
        of_c.insert(2);
        REQUIRE(store.put(id_3, 2, content_of(2)));  // older than what was erased
        of_c = {2};
        write();
    }
    disk::before_each = nullptr;
    look();
    disk::before_each = nullptr;
    CHECK(images > 400);
}

// A kill leaves the page cache alone, so this shows atomicity and order; the test above is about the disk.
TEST_CASE("file_store has every put that returned, and no half of a batch, after kill -9", "[memory][store]") {
    const temporary_folder folder;
    const auto open = [&] { return file_store(folder.file()); };
    const twin_records twins{id_1, id_2, content_of};
    std::uint64_t last = 0;
    for (int round = 0; round < 6; ++round) {
        child writer([&](int channel) { twins.write_on(open, last, channel); });
        const auto told = twins.end_after(writer, 5 + 15 * round, [&] { ::kill(writer.pid, SIGKILL); });
        CHECK(writer.end() == -1);

        auto store = open();
        REQUIRE(store.status());
        last = twins.check_whole(store, told);
    }
}

TEST_CASE("file_store survives the failure of any disk operation with the old content or the new", "[memory][store]") {
    const int error = GENERATE(ENOSPC, EIO);
    const bool full = GENERATE(false, true);  // of batches: a write first moves the records to their files
    CAPTURE(error, full);
    const disk cleared;
    int failures = 0;
    for (int n = 0;; ++n) {
        CAPTURE(n);
        const temporary_folder folder;
        disk::left = -1;
        auto store = std::make_unique<file_store>(folder.file());
        disk::watch(folder.file());  // syncs nothing from here on: quicker
        std::uint64_t v = 0;
        const auto write = [&] {
            const bytes content = content_of(v + 1);
            const std::array both{put_request{id_1, v + 1, content}, put_request{id_2, v + 1, content}};
            const auto outcome = store->put_many(both);
            if (outcome) ++v;
            return outcome;
        };
        do REQUIRE(write());
        while (full && v < 64);

        disk::met = false;
        disk::left = n;
        disk::error = error;
        const auto outcome = write();
        disk::left = -1;
        if (!outcome) {
            ++failures;
            CHECK(disk::met);
            CHECK(code_of(outcome) == errc::store_failed);
            CHECK(store->last_error().ends_with(std::strerror(error)));
            CHECK(fetch(*store, id_1) == found{v, content_of(v)});  // this process goes on with the old content
        }
        const bool written_again = !outcome && n % 2 == 0;
        if (written_again) CHECK(write());  // and can write when the disk is well

        store.reset();
        file_store reopened(folder.file());
        REQUIRE(reopened.status());
        const auto in_a = fetch(reopened, id_1);
        REQUIRE(in_a);
        CHECK((in_a->version == v || (!outcome && !written_again && in_a->version == v + 1)));
        CHECK(in_a->content == content_of(in_a->version));
        CHECK(fetch(reopened, id_2) == *in_a);
        if (outcome && !disk::met) break;
    }
    CHECK(failures >= (full ? 60 : 3));
}

TEST_CASE("file_store that failed to write, and to take that back, has what it wrote after that", "[memory][store]") {
    const disk cleared;
    const temporary_folder folder;
    file_store store(folder.file());
    disk::watch(folder.file());
    disk::error = EIO;
    const bytes failed{1}, done{2};
    REQUIRE(store.put(id_1, 1, {}));
    disk::left = 2;  // written and renamed; not synced, nor deleted
    CHECK(code_of(store.put(id_1, 2, failed)) == errc::store_failed);
    REQUIRE(fs::exists(folder.file("store.db/batch-1")));
    disk::left = GENERATE(-1, 0, 1, 4);
    CAPTURE(disk::left);
    const bool first_try = disk::left < 0;
    CHECK(store.put(id_1, 2, done).has_value() == first_try);
    disk::left = -1;
    if (!first_try) REQUIRE(store.put(id_1, 2, done));
    CHECK(fetch(store, id_1) == found{2, done});
    // As after kill -9.
    fs::copy(folder.file(), folder.file("copy"));
    file_store reopened(folder.file("copy"));
    REQUIRE(reopened.status());
    CHECK(fetch(reopened, id_1) == found{2, done});
}

TEST_CASE("file_store whose folder another process was killed over syncs the folder above it", "[memory][store]") {
    const disk cleared;
    const temporary_folder folder;
    fs::create_directory(folder.file());
    const bool lock = GENERATE(true, false);
    if (lock) write_file(folder.file("store.db/paychan.lock"), "");
    disk::synced.clear();
    file_store store(folder.file());
    REQUIRE(store.status());
    for (const std::string& f : {folder.path.string(), folder.file(), folder.file("store.db/paychan.lock")})
        CHECK(disk::synced.contains(disk::file_of(f)));
}

TEST_CASE("file_store that is opened after a kill has on disk what it finds, before it is asked", "[memory][store]") {
    const disk cleared;
    const temporary_folder folder;
    { REQUIRE(file_store(folder.file()).put(id_1, 1, {})); }
    disk::synced.clear();
    { REQUIRE(file_store(folder.file(), store_access::read_only).status()); }
    CHECK(disk::synced.empty());
    file_store store(folder.file(), store_access::existing);
    for (const std::string& f : {folder.file(), folder.file("store.db/paychan.lock")})
        CHECK(disk::synced.contains(disk::file_of(f)));
}

TEST_CASE("file_store that could not erase a record does not bring it back later", "[memory][store]") {
    const disk cleared;
    for (int n = 0;; ++n) {
        CAPTURE(n);
        const temporary_folder folder;
        disk::left = -1;
        disk::met = false;
        disk::error = EIO;
        auto store = std::make_unique<file_store>(folder.file());
        disk::watch(folder.file());
        REQUIRE(store->put(id_1, 1, content_of(1)));
        disk::left = 2;
        CHECK(code_of(store->put(id_1, 2, content_of(2))) ==
              errc::store_failed);  // its batch cannot be synced, nor deleted
        disk::left = n;
        const auto outcome = store->erase(id_1);
        disk::left = -1;
        if (!outcome) CHECK(code_of(outcome) == errc::store_failed);
        if (!outcome) REQUIRE(store->erase(id_1));
        store.reset();
        file_store reopened(folder.file());
        CHECK(code_of(fetch(reopened, id_1)) == errc::not_found);
        if (outcome) break;
    }
}

TEST_CASE("file_store that cannot be made for want of a disk can be made later", "[memory][store]") {
    const disk cleared;
    int failures = 0;
    for (int n = 0;; ++n) {
        CAPTURE(n);
        const temporary_folder folder;
        disk::met = false;
        disk::error = ENOSPC;
        disk::left = n;
        {
            file_store store(folder.file());
            if (!store.status()) {
                ++failures;
                CHECK(store.status().error().code == errc::store_failed);
                CHECK(code_of(store.put(id_1, 1, {})) == errc::store_failed);
            }
        }
        disk::left = -1;
        file_store store(folder.file());
        REQUIRE(store.status());
        CHECK(store.put(id_1, 1, {}));
        if (!disk::met) break;
    }
    CHECK(failures == 3);
}
