// The store in a folder of plain files, without any library: on disk when a put returns, for one process at a time.
#pragma once

#include <dirent.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <charconv>
#include <concepts>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "paychan/memory/file.hpp"
#include "paychan/memory/record_file.hpp"
#include "paychan/policy.hpp"

namespace paychan {

/// Keeps each record in a file of its own, KIND-TXID.record, in a folder of mode 0700.
///     file_store store("channels");
///     if (!store.status()) std::cerr << store.last_error() << '\n';
/// A write becomes one file, batch-NUMBER, which holds all of its records: synced, renamed into place, and the folder
/// synced, so that it is there as a whole or not at all.  Now and then, and at the end, the records move from there to
/// files of their own; after a crash the batches that are left are read again.  A damaged record fails with
/// corrupt_record, and last_error() names its file; the others are read and written as ever.
/// Files with other names are left alone.  A copy of the folder, made while no process uses it, is a backup.
///
/// One process at a time, or any number that only read.  One thread at a time; not to be carried across fork().
/// POSIX.  Throws only std::bad_alloc, and is unchanged then.  A put costs two syncs, a batch as much as one put, and
/// 64 of them one more for each record that they wrote: for thousands of channels there is sqlite_store.
class file_store {
public:
    /// Opens the folder; `status` says how that went, and while it is an error every function fails with it.
    /// path      of the folder; `create` makes it, but not the folders above it
    /// patience  [ms] how long it waits for another process to let go of the store
    explicit file_store(const std::string& path, store_access access = store_access::create, int patience = 2000)
        : path_(path), access_(access) {
        status_ = open(patience);
    }
    ~file_store() {
        if (!status_ || access_ == store_access::read_only) return;
        try {
            if (check_writable()) (void)settle();
        } catch (const std::bad_alloc&) {
            return;  // the next opening reads the batches
        }
    }
    file_store(const file_store&) = delete;
    file_store& operator=(const file_store&) = delete;

    /// How opening went.
    /// Fails  not_found (no such store), unknown_format (a newer paychan's), corrupt_record (a damaged batch: it is not
    ///        known which records it held), store_failed (in use, no permission, no folder), invalid_argument (no path).
    [[nodiscard]] const result<void>& status() const { return status_; }

    /// What the last failure was, for people: the file, the fact, and the system's own words.
    [[nodiscard]] const std::string& last_error() const { return last_error_; }

    /// version  below 2^63
    /// Fails  as Store says; too_long (64 MB), invalid_argument (version).
    [[nodiscard]] result<void> put(const record_id& id, std::uint64_t version, bytes_view bytes) {
        const put_request one{id, version, bytes};
        return put_many({&one, 1});
    }

    /// All of them or none, also after a crash.  A record may occur twice, if its second version is the newer one.
    [[nodiscard]] result<void> put_many(std::span<const put_request> batch) {
        if (batch.empty()) return status_;
        PAYCHAN_CHECK(check_writable());
        records staged;
        for (const put_request& r : batch) PAYCHAN_CHECK(stage(staged, r));
        const auto file = detail::encode_record_file(batch);
        if (!file) return refuse(file.error().code, file.error().text);
        if (in_doubt_ || batches_.size() >= most_batches || pending_.size() >= most_pending) PAYCHAN_CHECK(settle());

        const std::uint64_t number = next_batch_++;
        const std::string name = name_of(number);
        batches_.push_back(number);
        const auto written = write_file(name, *file);
        if (!written || !detail::sync(folder_.get())) {
            const auto why = written ? refuse(errc::store_failed, "the folder cannot be synced", name, errno)
                                     : fail(written.error());
            if (::unlinkat(folder_.get(), name.c_str(), 0) == 0 || errno == ENOENT)
                batches_.pop_back();
            else
                in_doubt_ = true;  // it would come before the next one, and keep what that one says out
            return why;
        }
        for (const auto& [id, _] : staged) pending_.erase(id);  // from here on nothing can throw
        pending_.merge(staged);
        return {};
    }

    [[nodiscard]] result<stored_record> get(const record_id& id, bytes_span memory) {
        PAYCHAN_CHECK(status_);
        const auto pending = pending_.find(id);
        if (pending != pending_.end()) return copied(pending->second, memory);
        const auto stored = load(id);
        if (stored) return copied(*stored, memory);
        if (stored.error().code == errc::not_found) return refuse(errc::not_found, "no such record");
        return fail(stored.error());
    }

    /// A damaged record too.
    [[nodiscard]] result<void> erase(const record_id& id) {
        PAYCHAN_CHECK(check_writable());
        PAYCHAN_CHECK(settle());  // no batch may bring it back
        const std::string name = name_of(id);
        if (::unlinkat(folder_.get(), name.c_str(), 0) != 0 && errno != ENOENT)
            return refuse(errc::store_failed, "the file cannot be deleted", name, errno);
        if (!detail::sync(folder_.get())) return refuse(errc::store_failed, "the folder cannot be synced", name, errno);
        return {};
    }

    /// In the order of the channels' bytes; damaged records too, since their names are not in doubt.
    template <std::invocable<const record_id&> F>
    [[nodiscard]] result<void> list(record_kind kind, F&& f) {
        PAYCHAN_CHECK(status_);
        PAYCHAN_TRY(const std::set<record_id> found, names_behind(kind, std::nullopt));
        for (const record_id& id : found) f(id);
        return {};
    }

    /// In the order of the channels' bytes.  A file that is damaged or cannot be read is an error of that record alone;
    /// last_error() names the last of them.  Reads all names of the folder each time.
    template <std::predicate<const record_id&, const result<stored_record>&> F>
    [[nodiscard]] result<void> scan(record_kind kind, const std::optional<txid>& after, F&& f) {
        PAYCHAN_CHECK(status_);
        PAYCHAN_TRY(const std::set<record_id> found, names_behind(kind, after));
        for (const record_id& id : found) {
            const auto pending = pending_.find(id);
            const auto loaded = pending != pending_.end() ? result<entry>() : load(id);
            if (!loaded && loaded.error().code == errc::not_found) continue;  // deleted by hand just now
            const auto view = [](const entry& e) { return stored_record{e.version, e.bytes}; };
            const result<stored_record> r = pending != pending_.end() ? view(pending->second) : loaded.map(view);
            if (!f(id, r)) break;
        }
        return {};
    }

    /// Nobody else writes while the store is open.
    [[nodiscard]] std::uint64_t foreign_writes() const { return 0; }

private:
    struct entry {
        std::uint64_t version = 0;
        std::vector<std::uint8_t> bytes;
    };
    using records = std::map<record_id, entry>;

    static constexpr const char* lock_name = "paychan.lock";
    static constexpr std::string_view mark = "paychan file store, format ";  // in the lock file, with the number
    static constexpr std::string_view format = "1\n";  // goes up when the files' names or meaning change
    static constexpr std::size_t most_batches = 64;
    static constexpr std::size_t most_pending = 256;  // [records] bounds the syncs of one settle()

    // ---- names --------------------------------------------------------------------------------------------------

    [[nodiscard]] static std::string name_of(const record_id& id) {
        const auto hex = display(id.channel);
        return std::to_string(static_cast<unsigned>(id.kind)) + "-" + std::string(hex.data(), hex.size()) + ".record";
    }

    [[nodiscard]] static std::string name_of(std::uint64_t batch) { return "batch-" + std::to_string(batch); }

    /// The record that the file of this name holds; nothing for any other name.
    [[nodiscard]] static std::optional<record_id> id_of(const std::string& name) {
        unsigned kind = 256;
        const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), kind);
        const auto at = static_cast<std::size_t>(end - name.data());
        if (error != std::errc{} || kind > 255 || name.size() < at + 65) return std::nullopt;
        const auto channel = parse_txid(std::string_view(name).substr(at + 1, 64));
        if (!channel) return std::nullopt;
        const record_id id{static_cast<record_kind>(kind), *channel};
        if (name_of(id) != name) return std::nullopt;  // 04-... or capital letters: not ours
        return id;
    }

    [[nodiscard]] static std::optional<std::uint64_t> batch_of(const std::string& name) {
        if (!name.starts_with("batch-")) return std::nullopt;
        std::uint64_t number = 0;
        std::from_chars(name.data() + 6, name.data() + name.size(), number);
        if (name_of(number) != name || number == std::numeric_limits<std::uint64_t>::max()) return std::nullopt;
        return number;
    }

    // ---- opening ------------------------------------------------------------------------------------------------

    [[nodiscard]] result<void> open(int patience) {
        if (path_.empty() || path_.find('\0') != std::string::npos)
            return refuse(errc::invalid_argument, "a store needs the path of a folder");
        PAYCHAN_CHECK(open_folder());
        PAYCHAN_CHECK(lock(patience));
        if (access_ != store_access::read_only && ::faccessat(folder_.get(), ".", W_OK | X_OK, AT_EACCESS) != 0)
            return refuse(errc::store_failed, "the store's folder may not be written to", "", errno);

        std::set<std::uint64_t> numbers;
        std::vector<std::string> left;
        PAYCHAN_CHECK(for_each_name([&](const std::string& name) {
            if (const auto number = batch_of(name)) numbers.insert(*number);
            if (name.ends_with(detail::unfinished)) {
                const std::string whole = name.substr(0, name.size() - detail::unfinished.size());
                if (id_of(whole) || batch_of(whole)) left.push_back(name);
            }
        }));
        batches_.assign(numbers.begin(), numbers.end());
        if (!batches_.empty()) next_batch_ = batches_.back() + 1;
        for (const std::uint64_t number : batches_) PAYCHAN_CHECK(read_again(name_of(number)));
        if (access_ != store_access::read_only)  // what a crash interrupted
            for (const std::string& name : left) ::unlinkat(folder_.get(), name.c_str(), 0);
        return {};
    }

    [[nodiscard]] result<void> open_folder() {
        constexpr int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
        folder_ = detail::open_file(::open(path_.c_str(), flags));
        if (!folder_.ok() && errno == ENOENT) {
            if (access_ != store_access::create) return refuse(errc::not_found, "there is no such store");
            if (::mkdir(path_.c_str(), 0700) != 0 && errno != EEXIST)
                return refuse(errc::store_failed, "the store's folder cannot be made", "", errno);
            folder_ = detail::open_file(::open(path_.c_str(), flags));
        }
        if (folder_.ok()) {
            const std::unique_ptr<char, decltype(&std::free)> place(::realpath(path_.c_str(), nullptr), &std::free);
            if (!place) return refuse(errc::store_failed, "the store's folder cannot be found", "", errno);
            place_ = place.get();
            return {};
        }
        if (errno == ENOTDIR) return refuse(errc::store_failed, "the store is no folder", "", errno);
        return refuse(errc::store_failed, "the store's folder cannot be opened", "", errno);
    }

    /// The lock ends with the descriptor: a process that dies keeps nobody out.
    [[nodiscard]] result<void> lock(int patience) {
        const bool reads = access_ == store_access::read_only;
        const int flags = (reads ? O_RDONLY : O_RDWR) | (access_ == store_access::create ? O_CREAT : 0);
        // O_NONBLOCK: a FIFO of that name must not hang us.
        lock_ = detail::open_file(
            ::openat(folder_.get(), lock_name, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, mode_t{0600}));
        if (!lock_.ok() && errno == ENOENT && access_ != store_access::create)
            return refuse(errc::not_found, "the folder is not a store", lock_name);
        if (!lock_.ok()) return refuse(errc::store_failed, "the file cannot be opened", lock_name, errno);
        constexpr int pause = 10;  // [ms]
        for (int waited = 0; ::flock(lock_.get(), (reads ? LOCK_SH : LOCK_EX) | LOCK_NB) != 0; waited += pause) {
            if (errno != EWOULDBLOCK && errno != EINTR)
                return refuse(errc::store_failed, "the file cannot be locked", lock_name, errno);
            if (waited >= patience) return refuse(errc::store_failed, "another process uses the store", lock_name);
            ::usleep(pause * 1000);
        }
        PAYCHAN_TRY(const std::vector<std::uint8_t> content, read_file(lock_name));
        const std::string_view text(reinterpret_cast<const char*>(content.data()), content.size());
        const std::string ours = std::string(mark) + std::string(format);
        if (text == ours) {
            // What a process that was killed left in the kernel's memory is read now as if it were on disk: let it be so.
            if (reads || (detail::sync(lock_.get()) && detail::sync(folder_.get()))) return {};
            return refuse(errc::store_failed, "the folder cannot be synced", "", errno);
        }
        // A power cut while the store was made leaves its beginning, or its length alone: there are no records yet.
        const auto written = text.substr(0, text.find_last_not_of('\0') + 1);
        if (text.size() <= ours.size() && ours.starts_with(written)) return make(ours);
        if (text.starts_with(mark))
            return refuse(errc::unknown_format, "the store was written by a newer version of paychan: use that one",
                          lock_name);
        return refuse(errc::unknown_format, "the file is another program's", lock_name);
    }

    /// What makes a folder a store.  Written last: whoever reads it finds all of the rest on disk.
    [[nodiscard]] result<void> make(std::string_view ours) {
        if (access_ != store_access::create) return refuse(errc::not_found, "the folder is not a store", lock_name);
        const detail::open_file above(::openat(folder_.get(), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (above.ok() && !detail::sync(above.get()))
            return refuse(errc::store_failed, "the folder above the store cannot be synced", "", errno);
        if (!detail::sync(folder_.get()) || ::ftruncate(lock_.get(), 0) != 0 ||
            !detail::write_all(lock_.get(), {reinterpret_cast<const std::uint8_t*>(ours.data()), ours.size()}) ||
            !detail::sync(lock_.get())) {
            const int why = errno;
            (void)!::ftruncate(lock_.get(), 0);
            return refuse(errc::store_failed, "the file cannot be written", lock_name, why);
        }
        return {};
    }

    /// What a batch holds that is newer than what is stored.
    [[nodiscard]] result<void> read_again(const std::string& name) {
        PAYCHAN_TRY(const std::vector<std::uint8_t> file, read_file(name));
        const auto found = detail::decode_record_file(file);
        if (!found) return refuse(found.error().code, found.error().text, name);
        for (const put_request& r : *found) {
            const auto stored = version_of(r.id, pending_);
            if (!stored && stored.error().code == errc::store_failed) return fail(stored.error());
            // A damaged file may hold a newer version than this one: it stays damaged, and is not replaced.
            if (stored && (!*stored || r.version > **stored)) add(pending_, r);
        }
        return {};
    }

    // ---- reading ------------------------------------------------------------------------------------------------

    template <class F>
    [[nodiscard]] result<void> for_each_name(F&& f) {
        detail::open_file again(::openat(folder_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        struct closer {
            void operator()(DIR* d) const { ::closedir(d); }
        };
        const std::unique_ptr<DIR, closer> names(again.ok() ? ::fdopendir(again.get()) : nullptr);
        if (!names) return refuse(errc::store_failed, "the folder cannot be read", "", errno);
        again.release();  // closed with `names`
        errno = 0;
        while (const dirent* const one = ::readdir(names.get())) {
            f(std::string(one->d_name));
            errno = 0;
        }
        if (errno != 0) return refuse(errc::store_failed, "the folder cannot be read", "", errno);
        return {};
    }

    /// Of the records that are there, damaged ones too.
    [[nodiscard]] result<std::set<record_id>> names_behind(record_kind kind, const std::optional<txid>& after) {
        std::set<record_id> found;
        const auto add = [&](const record_id& id) {
            if (id.kind == kind && (!after || id.channel > *after)) found.insert(id);
        };
        for (const auto& [id, _] : pending_) add(id);
        PAYCHAN_CHECK(for_each_name([&](const std::string& name) {
            if (const auto id = id_of(name)) add(*id);
        }));
        return found;
    }

    /// Fails  not_found, corrupt_record (not a plain file, or too long for one of ours), store_failed.
    [[nodiscard]] result<std::vector<std::uint8_t>> read_file(const std::string& name) {
        int why = 0;
        auto read = detail::read_whole(folder_.get(), name, detail::max_record_file, why);
        if (!read && read.error().code == errc::not_found) return fail(errc::not_found, "no such record");
        if (!read) return refuse(read.error().code, read.error().text, name, why);
        return read;
    }

    /// From the record's own file.
    [[nodiscard]] result<entry> load(const record_id& id) {
        const std::string name = name_of(id);
        PAYCHAN_TRY(const std::vector<std::uint8_t> file, read_file(name));
        const auto found = detail::decode_record_file(file);
        if (!found) return refuse(found.error().code, found.error().text, name);
        if (found->size() != 1 || found->front().id != id)
            return refuse(errc::corrupt_record, "the file holds another record than its name says", name);
        const put_request& r = found->front();
        return entry{r.version, {r.bytes.begin(), r.bytes.end()}};
    }

    [[nodiscard]] result<stored_record> copied(const entry& from, bytes_span memory) {
        if (from.bytes.size() > memory.size())
            return refuse(errc::too_long, "the record is longer than the memory for it");
        std::ranges::copy(from.bytes, memory.begin());
        return stored_record{from.version, memory.first(from.bytes.size())};
    }

    // ---- writing ------------------------------------------------------------------------------------------------

    [[nodiscard]] result<void> check_writable() {
        PAYCHAN_CHECK(status_);
        if (access_ == store_access::read_only)
            return refuse(errc::store_failed, "the store was opened for reading only");
        // Another process would not see our lock, and nobody would find what we write.
        struct stat ours {
        }, named{};
        const auto same = [&] { return ours.st_ino == named.st_ino && ours.st_dev == named.st_dev; };
        if (::fstat(folder_.get(), &ours) != 0 || ::stat(place_.c_str(), &named) != 0 || !same() ||
            ::fstat(lock_.get(), &ours) != 0 || ::fstatat(folder_.get(), lock_name, &named, 0) != 0 || !same())
            return refuse(errc::store_failed, "the store was moved or deleted while in use");
        return {};
    }

    /// Of what is stored, after what is staged; nothing where no record is.  Fails  corrupt_record, store_failed.
    [[nodiscard]] result<std::optional<std::uint64_t>> version_of(const record_id& id, const records& staged) {
        if (const auto again = staged.find(id); again != staged.end()) return again->second.version;
        if (const auto pending = pending_.find(id); pending != pending_.end()) return pending->second.version;
        const auto loaded = load(id);
        if (loaded) return loaded->version;
        if (loaded.error().code != errc::not_found) return fail(loaded.error());
        return std::nullopt;
    }

    static void add(records& to, const put_request& r) {
        to.insert_or_assign(r.id, entry{r.version, {r.bytes.begin(), r.bytes.end()}});
    }

    /// Adds a record to those to be written, if it is newer than what is stored.
    [[nodiscard]] result<void> stage(records& staged, const put_request& r) {
        if (r.version > std::uint64_t{std::numeric_limits<std::int64_t>::max()})
            return refuse(errc::invalid_argument, "a record's version must be below 2^63");
        PAYCHAN_TRY(const auto stored, version_of(r.id, staged));
        if (stored && r.version <= *stored)
            return refuse(errc::stale_record, "a record of this version or a newer one is stored", name_of(r.id));
        if (!stored && needs_predecessor(r.id, r.version))
            return refuse(errc::stale_record, "the record that this one follows was deleted", name_of(r.id));
        add(staged, r);
        return {};
    }

    /// As a whole or not at all; the folder is still to be synced.
    [[nodiscard]] result<void> write_file(const std::string& name, bytes_view bytes) {
        const int why = detail::write_whole(folder_.get(), name, bytes);
        if (why == 0) return {};
        return refuse(errc::store_failed,
                      why == ENOSPC || why == EDQUOT ? "the disk is full" : "the file cannot be written", name, why);
    }

    /// Moves the records from the batches to files of their own.  After a failure everything is where it was.
    [[nodiscard]] result<void> settle() {
        for (const auto& [id, e] : pending_) {
            const put_request one{id, e.version, e.bytes};
            const auto file = detail::encode_record_file({&one, 1});
            if (!file) return refuse(file.error().code, file.error().text);
            PAYCHAN_CHECK(write_file(name_of(id), *file));
        }
        if (batches_.empty()) return {};
        if (!detail::sync(folder_.get())) return refuse(errc::store_failed, "the folder cannot be synced", "", errno);
        for (const std::uint64_t number : batches_) {
            const std::string name = name_of(number);
            if (::unlinkat(folder_.get(), name.c_str(), 0) != 0 && errno != ENOENT)
                return refuse(errc::store_failed, "the file cannot be deleted", name, errno);
        }
        if (!detail::sync(folder_.get())) return refuse(errc::store_failed, "the folder cannot be synced", "", errno);
        batches_.clear();
        pending_.clear();
        in_doubt_ = false;
        return {};
    }

    /// An error, with its words kept for last_error().
    [[nodiscard]] tl::unexpected<error> refuse(errc code, std::string_view text, const std::string& name = "",
                                               int system = 0) {
        last_error_ = path_ + (name.empty() ? "" : "/" + name) + ": " + std::string(text);
        if (system != 0) last_error_ += std::string(": ") + std::strerror(system);
        return fail(code, text);
    }

    std::string path_;
    std::string place_;  // the same, wherever the process goes
    store_access access_;
    std::string last_error_ = path_ + ": no error";
    result<void> status_;
    detail::open_file folder_, lock_;
    std::vector<std::uint64_t> batches_;  // the batch files that are there
    std::uint64_t next_batch_ = 0;
    bool in_doubt_ = false;  // one of them is of a put that failed, and may be read again or not
    records pending_;        // what they hold: newer than the records' own files
};

static_assert(BatchStore<file_store> && ScanStore<file_store>);

}  // namespace paychan
