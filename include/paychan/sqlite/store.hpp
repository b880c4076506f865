// The store in one SQLite file: on disk when a put returns, shared safely between processes.
#pragma once

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <concepts>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "paychan/policy.hpp"

namespace paychan {

/// Keeps records in a file, in WAL mode with synchronous=FULL: a put has been synced when it returns.
///     sqlite_store store("channels.db");
///     if (!store.status()) std::cerr << store.last_error() << '\n';
/// Several processes may have the file open: each write is a transaction of its own, and versions keep stale writers
/// out. When the file turns out to be damaged, any function may fail with corrupt_record. No function throws, as long
/// as the f of `list` and `scan` does not. One thread at a time; not to be carried across fork().
class sqlite_store {
public:
    /// Opens the file; `status` says how that went, and while it is an error every function fails with it.
    /// patience  [ms] how long a call waits for a lock that another process holds
    explicit sqlite_store(const std::string& path, store_access access = store_access::create, int patience = 2000)
        : path_(path) {
        status_ = open(access, patience);
        if (status_) return;
        for (prepared* s : {&put_, &replace_, &get_, &erase_, &list_, &scan_, &version_}) s->reset();
        db_.reset();
    }
    sqlite_store(const sqlite_store&) = delete;
    sqlite_store& operator=(const sqlite_store&) = delete;

    /// How opening went.
    /// Fails  not_found (no such file), unknown_format (another program's file, or a newer paychan's), corrupt_record,
    ///        store_failed (no permission, locked, no disk, a file system without WAL), invalid_argument (no path).
    [[nodiscard]] const result<void>& status() const { return status_; }

    /// What the last failure was, for people: the file, the fact, and SQLite's or the system's own words.
    [[nodiscard]] std::string last_error() const { return path_ + ": " + detail_.data(); }

    /// version  below 2^63
    /// Fails  as Store says; too_long (a billion bytes), invalid_argument (version).
    [[nodiscard]] result<void> put(const record_id& id, std::uint64_t version, bytes_view bytes) {
        PAYCHAN_CHECK(check_writable());
        return write({id, version, bytes});  // one statement is a transaction of its own
    }

    /// One transaction, one sync.
    [[nodiscard]] result<void> put_many(std::span<const put_request> batch) {
        if (batch.empty()) return status_;
        PAYCHAN_CHECK(check_writable());
        PAYCHAN_CHECK(execute("BEGIN IMMEDIATE"));
        for (const put_request& r : batch)
            if (const auto written = write(r); !written) return rolled_back(written);
        return rolled_back(execute("COMMIT"));
    }

    [[nodiscard]] result<stored_record> get(const record_id& id, bytes_span memory) {
        PAYCHAN_CHECK(status_);
        const use s(get_.get());
        PAYCHAN_CHECK(bind(s.statement, id));
        const int code = sqlite3_step(s.statement);
        if (code == SQLITE_DONE) return refuse(errc::not_found, "no such record");
        if (code != SQLITE_ROW) return failed(code);

        PAYCHAN_TRY(const stored_record r, record_in(s.statement, 0));
        const std::size_t size = r.bytes.size();
        if (size > memory.size()) return refuse(errc::too_long, "the record is longer than the memory for it");
        if (size != 0) std::memcpy(memory.data(), r.bytes.data(), size);
        return stored_record{r.version, memory.first(size)};
    }

    [[nodiscard]] result<void> erase(const record_id& id) {
        PAYCHAN_CHECK(check_writable());
        const use s(erase_.get());
        PAYCHAN_CHECK(bind(s.statement, id));
        const int code = sqlite3_step(s.statement);
        if (code != SQLITE_DONE) return failed(code);
        return {};
    }

    /// In the order of the channels' bytes.
    template <std::invocable<const record_id&> F>
    [[nodiscard]] result<void> list(record_kind kind, F&& f) {
        PAYCHAN_CHECK(status_);
        const use s(list_.get());
        PAYCHAN_CHECK(checked(sqlite3_bind_int(s.statement, 1, static_cast<int>(kind))));
        int code = SQLITE_OK;
        while ((code = sqlite3_step(s.statement)) == SQLITE_ROW) {
            const auto channel = name_in(s.statement);
            if (!channel) return refuse(errc::corrupt_record, "a stored record has a wrong name");
            const record_id id{kind, *channel};
            f(id);
        }
        if (code != SQLITE_DONE) return failed(code);
        return {};
    }

    /// In the order of the channels' bytes, as they are when it begins.  Rows whose names are none are passed over.  A
    /// damaged page of the file ends it: what lies behind cannot be found.
    template <std::predicate<const record_id&, const result<stored_record>&> F>
    [[nodiscard]] result<void> scan(record_kind kind, const std::optional<txid>& after, F&& f) {
        PAYCHAN_CHECK(status_);
        const use s(scan_.get());
        PAYCHAN_CHECK(checked(sqlite3_bind_int(s.statement, 1, static_cast<int>(kind))));
        PAYCHAN_CHECK(after ? bind_channel(s.statement, *after)
                            : checked(sqlite3_bind_zeroblob(s.statement, 2, 0)));  // which is before all names
        int code = SQLITE_OK;
        while ((code = sqlite3_step(s.statement)) == SQLITE_ROW) {
            const auto channel = name_in(s.statement);
            if (!channel) continue;
            const record_id id{kind, *channel};
            const auto r = record_in(s.statement, 1);
            if (!r && r.error().code == errc::store_failed) return fail(r.error());
            if (!f(id, r)) return {};
        }
        if (code != SQLITE_DONE) return failed(code);
        return {};
    }

    /// Counts what any connection but this one has committed, also one of this process.  Another number too when SQLite
    /// cannot tell.
    [[nodiscard]] std::uint64_t foreign_writes() {
        bool known = false;
        if (status_) {
            const use s(version_.get());
            known = sqlite3_step(s.statement) == SQLITE_ROW;
            if (known) data_version_ = static_cast<std::uint32_t>(sqlite3_column_int64(s.statement, 0));
        }
        if (!known) ++unknown_;
        return unknown_ << 32 | data_version_;
    }

private:
    // In the file's header, so that no program takes another's file for its own.
    static constexpr std::int64_t application_id = 0x70796368;  // "pych"
    static constexpr std::int64_t format = 1;                   // user_version: goes up when the tables change

    struct closer {
        void operator()(sqlite3* db) const { sqlite3_close_v2(db); }
        void operator()(sqlite3_stmt* s) const { sqlite3_finalize(s); }
    };
    using prepared = std::unique_ptr<sqlite3_stmt, closer>;

    /// One run of a prepared statement; gives up its lock and the caller's bytes at the end.
    struct use {
        sqlite3_stmt* const statement;
        explicit use(sqlite3_stmt* s) : statement(s) {}
        use(const use&) = delete;
        use& operator=(const use&) = delete;
        ~use() {
            sqlite3_reset(statement);  // repeats the code of the step, which was looked at
            sqlite3_clear_bindings(statement);
        }
    };

    // ---- opening ------------------------------------------------------------------------------------------------

    [[nodiscard]] result<void> open(store_access access, int patience) {
        if (path_.empty() || path_.find('\0') != std::string::npos)
            return refuse(errc::invalid_argument, "a store needs the path of a file");
        // SQLite would take ":memory:" and "file:..." for more than names.
        const std::string file = path_.front() == '/' ? path_ : "./" + path_;
        PAYCHAN_CHECK(check_there(file, access));

        const bool read_only = access == store_access::read_only;
        sqlite3* db = nullptr;
        const int code = sqlite3_open_v2(
            file.c_str(), &db,
            (read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE) | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
            nullptr);
        db_.reset(db);  // is there after a failure too, and holds the message
        if (code != SQLITE_OK) return failed(code);
        PAYCHAN_CHECK(checked(sqlite3_busy_timeout(db, patience)));

        // Before anything is written, for the file may be another program's; in one snapshot, for another process may
        // be making the store just now.
        PAYCHAN_CHECK(execute("BEGIN"));
        const result<bool> fresh = is_fresh();
        roll_back();
        if (!fresh) return fail(fresh.error());
        if (read_only && *fresh) return refuse(errc::unknown_format, "the file is empty, not a paychan store");
        if (!read_only) {
            if (sqlite3_db_readonly(db, "main") != 0)
                return refuse(errc::store_failed, "the store's file or folder may not be written to");
            PAYCHAN_CHECK(make_durable(patience));
            if (*fresh) PAYCHAN_CHECK(create());
            PAYCHAN_CHECK(sync_folder(file));
        }
        PAYCHAN_CHECK(prepare(put_,
                              "INSERT INTO record (kind, channel, version, bytes) VALUES (?1, ?2, ?3, ?4) "
                              "ON CONFLICT (kind, channel) DO UPDATE SET version = excluded.version, "
                              "bytes = excluded.bytes WHERE excluded.version > record.version"));
        PAYCHAN_CHECK(prepare(
            replace_, "UPDATE record SET version = ?3, bytes = ?4 WHERE kind = ?1 AND channel = ?2 AND version < ?3"));
        PAYCHAN_CHECK(prepare(get_, "SELECT version, bytes FROM record WHERE kind = ?1 AND channel = ?2"));
        PAYCHAN_CHECK(prepare(erase_, "DELETE FROM record WHERE kind = ?1 AND channel = ?2"));
        PAYCHAN_CHECK(prepare(list_, "SELECT channel FROM record WHERE kind = ?1 ORDER BY channel"));
        PAYCHAN_CHECK(prepare(
            scan_, "SELECT channel, version, bytes FROM record WHERE kind = ?1 AND channel > ?2 ORDER BY channel"));
        return prepare(version_, "PRAGMA data_version");
    }

    /// Makes the file if it is to be made.  An existing one is not opened: closing it again would drop the locks of
    /// another store of this process on it.  SQLite gives the files beside it (-wal, -shm) the same mode.
    [[nodiscard]] result<void> check_there(const std::string& file, store_access access) {
        if (access != store_access::create) {
            if (::access(file.c_str(), F_OK) == 0 || errno != ENOENT) return {};
            return refuse(errc::not_found, "there is no such store");
        }
        const int made = ::open(file.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (made >= 0)
            ::close(made);
        else if (errno != EEXIST)
            return refuse(errc::store_failed, "the store's file cannot be made", 0, errno);
        return {};
    }

    /// True when the file holds nothing yet.  Fails  unknown_format, corrupt_record, store_failed.
    [[nodiscard]] result<bool> is_fresh() {
        PAYCHAN_TRY(const std::int64_t application, number("PRAGMA application_id"));
        PAYCHAN_TRY(const std::int64_t version, number("PRAGMA user_version"));
        PAYCHAN_TRY(const std::int64_t tables, number("SELECT count(*) FROM sqlite_master"));
        if (application == 0 && version == 0 && tables == 0) return true;
        if (application != application_id) return refuse(errc::unknown_format, "the file is another program's");
        if (version > format)
            return refuse(errc::unknown_format, "the store was written by a newer version of paychan: use that one");
        if (version != format) return refuse(errc::corrupt_record, "the store has no known version");
        return false;
    }

    [[nodiscard]] result<void> make_durable(int patience) {
        prepared s;
        PAYCHAN_CHECK(prepare(s, "PRAGMA journal_mode = WAL"));
        int code = sqlite3_step(s.get());
        // Only while a new file changes its mode: SQLite itself does not wait here, as two that wait could wait for
        // ever.
        for (int waited = 0; (code & 0xff) == SQLITE_BUSY && waited < patience; waited += 5) {
            sqlite3_reset(s.get());
            sqlite3_sleep(5);
            code = sqlite3_step(s.get());
        }
        if (code != SQLITE_ROW) return failed(code);
        const auto* const mode = reinterpret_cast<const char*>(sqlite3_column_text(s.get(), 0));
        if (mode == nullptr || std::string_view(mode) != "wal")
            return refuse(errc::store_failed, "the file system cannot hold the store: SQLite's WAL mode fails on it");
        s.reset();

        PAYCHAN_CHECK(execute("PRAGMA synchronous = FULL"));  // in WAL mode: each commit is synced
        PAYCHAN_CHECK(execute("PRAGMA fullfsync = ON"));      // on macOS fsync alone does not reach the disk
        PAYCHAN_TRY(const std::int64_t synchronous, number("PRAGMA synchronous"));
        if (synchronous != 2) return refuse(errc::store_failed, "SQLite does not sync what it writes");
        return {};
    }

    /// Makes the names of the file and of its log survive a power cut.  SQLite does it for files that this connection
    /// made; a process that was killed in between, or one that only looked, leaves them to the next writer.
    [[nodiscard]] result<void> sync_folder(const std::string& file) {
        const std::string folder = file.substr(0, file.rfind('/') + 1);  // "./" or longer
        const int opened = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        const bool good = opened >= 0 && ::fsync(opened) == 0;
        const int why = errno;
        if (opened >= 0) ::close(opened);
        if (!good) return refuse(errc::store_failed, "the store's folder cannot be synced", 0, why);
        return {};
    }

    [[nodiscard]] result<void> create() {
        PAYCHAN_CHECK(execute("BEGIN IMMEDIATE"));
        const auto fresh = is_fresh();  // again: another process may have been faster
        if (!fresh) return rolled_back(fail(fresh.error()));
        if (*fresh) {
            static_assert(application_id == 1887003496 && format == 1, "the numbers below");
            const auto made = execute(
                "CREATE TABLE record ("
                "  kind INTEGER NOT NULL,"
                "  channel BLOB NOT NULL CHECK (length(channel) = 32),"  // the contract's txid in internal order
                "  version INTEGER NOT NULL CHECK (version >= 0),"
                "  bytes BLOB NOT NULL,"
                "  PRIMARY KEY (kind, channel)"
                ") WITHOUT ROWID;"
                "PRAGMA application_id = 1887003496;"
                "PRAGMA user_version = 1;");
            if (!made) return rolled_back(made);
        }
        return rolled_back(execute("COMMIT"));
    }

    // ---- reading ------------------------------------------------------------------------------------------------

    /// The channel in a row's first column; nothing when it is none.
    [[nodiscard]] static std::optional<txid> name_in(sqlite3_stmt* row) {
        txid out;
        const void* const channel = sqlite3_column_blob(row, 0);
        if (channel == nullptr || sqlite3_column_bytes(row, 0) != int{sizeof out.bytes}) return std::nullopt;
        std::memcpy(out.bytes.data(), channel, out.bytes.size());
        return out;
    }

    /// The version in this column of a row and the bytes in the next one, which live until the next step.
    /// Fails  corrupt_record, store_failed.
    [[nodiscard]] result<stored_record> record_in(sqlite3_stmt* row, int column) {
        const bool typed =
            sqlite3_column_type(row, column) == SQLITE_INTEGER && sqlite3_column_type(row, column + 1) == SQLITE_BLOB;
        const std::int64_t version = sqlite3_column_int64(row, column);
        if (!typed || version < 0) return refuse(errc::corrupt_record, "a stored record has a wrong type");
        const auto* const bytes = static_cast<const std::uint8_t*>(sqlite3_column_blob(row, column + 1));
        const auto size = static_cast<std::size_t>(sqlite3_column_bytes(row, column + 1));
        if (size != 0 && bytes == nullptr) return failed(sqlite3_errcode(db_.get()));  // no memory, or unreadable
        return stored_record{static_cast<std::uint64_t>(version), bytes_view(bytes, size)};
    }

    // ---- writing ------------------------------------------------------------------------------------------------

    [[nodiscard]] result<void> check_writable() {
        PAYCHAN_CHECK(status_);
        // A put inside a transaction that could not be rolled back would not be on disk when it returns.
        if (sqlite3_get_autocommit(db_.get()) == 0)
            return refuse(errc::store_failed, "an earlier transaction did not end: open the store again");
        // SQLite would go on writing to a file that was deleted, and nobody would ever read it.
        int moved = 0;
        const int code = sqlite3_file_control(db_.get(), "main", SQLITE_FCNTL_HAS_MOVED, &moved);
        if (code != SQLITE_OK) return failed(code);
        if (moved != 0) return refuse(errc::store_failed, "the store's file was moved or deleted while in use");
        return {};
    }

    [[nodiscard]] result<void> write(const put_request& r) {
        if (r.version > std::uint64_t{std::numeric_limits<std::int64_t>::max()})
            return refuse(errc::invalid_argument, "a record's version must be below 2^63");
        const bool replaces = needs_predecessor(r.id, r.version);
        const use s(replaces ? replace_.get() : put_.get());
        PAYCHAN_CHECK(bind(s.statement, r.id));
        PAYCHAN_CHECK(checked(sqlite3_bind_int64(s.statement, 3, static_cast<std::int64_t>(r.version))));
        const void* const bytes = r.bytes.empty() ? "" : static_cast<const void*>(r.bytes.data());  // null is NULL
        const int bound = sqlite3_bind_blob64(s.statement, 4, bytes, r.bytes.size(), SQLITE_STATIC);
        if (bound == SQLITE_TOOBIG) return refuse(errc::too_long, "the record is longer than SQLite takes", bound);
        PAYCHAN_CHECK(checked(bound));
        const int code = sqlite3_step(s.statement);
        if (code != SQLITE_DONE) return failed(code);
        if (sqlite3_changes(db_.get()) == 0)
            return refuse(errc::stale_record, replaces ? "a newer record is stored, or it was deleted"
                                                       : "a record of this version or a newer one is stored");
        return {};
    }

    /// Keeps the words of the failure that led here.  check_writable sees it if this fails too.
    void roll_back() {
        if (sqlite3_get_autocommit(db_.get()) == 0)
            (void)sqlite3_exec(db_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
    }

    /// Passes `outcome` on; if a transaction is still open then, it has failed and is undone.
    [[nodiscard]] result<void> rolled_back(const result<void>& outcome) {
        if (!outcome) roll_back();
        return outcome;
    }

    // ---- SQLite -------------------------------------------------------------------------------------------------

    [[nodiscard]] result<void> bind(sqlite3_stmt* s, const record_id& id) {
        PAYCHAN_CHECK(checked(sqlite3_bind_int(s, 1, static_cast<int>(id.kind))));
        return bind_channel(s, id.channel);
    }

    /// channel  lives until the statement is reset
    [[nodiscard]] result<void> bind_channel(sqlite3_stmt* s, const txid& channel) {
        const bytes32& bytes = channel.bytes;
        return checked(sqlite3_bind_blob(s, 2, bytes.data(), int{sizeof bytes}, SQLITE_STATIC));
    }

    [[nodiscard]] result<void> execute(const char* sql) {
        return checked(sqlite3_exec(db_.get(), sql, nullptr, nullptr, nullptr));
    }

    [[nodiscard]] result<void> prepare(prepared& to, const char* sql) {
        sqlite3_stmt* s = nullptr;
        const int code = sqlite3_prepare_v3(db_.get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &s, nullptr);
        to.reset(s);
        if ((code & 0xff) == SQLITE_ERROR)
            return refuse(errc::corrupt_record, "the store lacks a table or a column", code);
        return checked(code);
    }

    [[nodiscard]] result<std::int64_t> number(const char* sql) {
        prepared s;
        PAYCHAN_CHECK(prepare(s, sql));
        const int code = sqlite3_step(s.get());
        if (code != SQLITE_ROW) return failed(code);
        return sqlite3_column_int64(s.get(), 0);
    }

    [[nodiscard]] result<void> checked(int code) {
        if (code != SQLITE_OK) return failed(code);
        return {};
    }

    /// The error for a code of SQLite's; SQLITE_DONE and SQLITE_ROW in the wrong place are errors too.
    [[nodiscard]] tl::unexpected<error> failed(int code) {
        switch (code & 0xff) {  // the low byte is the primary code
            case SQLITE_BUSY:
            case SQLITE_LOCKED: return refuse(errc::store_failed, "the store is locked by another process", code);
            case SQLITE_FULL: return refuse(errc::store_failed, "the disk is full", code);
            case SQLITE_READONLY: return refuse(errc::store_failed, "the store may not be written to", code);
            case SQLITE_IOERR: return refuse(errc::store_failed, "the disk does not read or write", code);
            case SQLITE_CANTOPEN: return refuse(errc::store_failed, "the store's file cannot be opened", code);
            case SQLITE_NOMEM: return refuse(errc::store_failed, "no memory is left for the store", code);
            case SQLITE_NOTADB: return refuse(errc::unknown_format, "the file is not a paychan store", code);
            case SQLITE_CORRUPT: return refuse(errc::corrupt_record, "the store's file is damaged", code);
            default: return refuse(errc::store_failed, "SQLite refuses", code);
        }
    }

    /// An error, with its words kept for last_error().
    [[nodiscard]] tl::unexpected<error> refuse(errc code, std::string_view text, int sqlite = 0, int system = 0) {
        const int primary = sqlite & 0xff;
        if (primary == SQLITE_IOERR || primary == SQLITE_CANTOPEN) system = sqlite3_system_errno(db_.get());
        std::snprintf(detail_.data(), detail_.size(), "%.*s%s%s%s%s", static_cast<int>(text.size()), text.data(),
                      sqlite != 0 ? ": " : "", sqlite != 0 ? sqlite3_errmsg(db_.get()) : "", system != 0 ? ": " : "",
                      system != 0 ? std::strerror(system) : "");
        return fail(code, text);
    }

    std::string path_;
    std::array<char, 512> detail_{"no error"};
    result<void> status_;
    std::unique_ptr<sqlite3, closer> db_;
    prepared put_, replace_, get_, erase_, list_, scan_, version_;  // after db_: gone before it closes
    std::uint32_t data_version_ = 0;                                // as SQLite said it last
    std::uint64_t unknown_ = 0;                                     // how often it could not
};

static_assert(BatchStore<sqlite_store> && ScanStore<sqlite_store>);

}  // namespace paychan
