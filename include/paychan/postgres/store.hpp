// The store in a PostgreSQL database: committed when a put returns, shared by any number of servers.
#pragma once

#include <algorithm>
#include <concepts>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "paychan/policy.hpp"
#include "paychan/postgres/session.hpp"

namespace paychan {

/// Keeps records in the table paychan_record of a database that speaks PostgreSQL's protocol, in plain SQL.
///     postgres_store store("host=db.example dbname=channels user=paychan");
///     if (!store.status()) std::cerr << store.last_error() << '\n';
/// A put has been committed with synchronous_commit when it returns; a batch is one transaction.
///
/// Several servers may share the database.  Who owns a channel is decided by versions, under the row's lock: each write
/// must be newer than what is stored, so of two servers that have loaded the same record one gets it written, and the
/// other stale_record, after which it must drop the channel.  There is no moment with two writers, and a server that
/// was paused, cut off or believed dead cannot overwrite what another has written since.
///
/// A call fails with store_failed when the database is away, and the next call connects again.  A write during which
/// the connection is lost may have been committed or not: it fails too, is not repeated, and `get` tells.  After a
/// connection is lost between calls nothing is in doubt, and the call connects again by itself.
///
/// A put is as durable as the database: where a replica is to take over, let it commit synchronously too
/// (synchronous_standby_names), or what was acked last is lost with the first machine.
///
/// No call waits for ever.  One thread at a time; not to be carried across fork().  Needs a session of its own: not a
/// pooler in transaction mode.  Throws only std::bad_alloc.
class postgres_store : detail::postgres_session {
public:
    /// Connects, and makes the table if `access` is `create` and there is none; `status` says how that went.
    /// connection  libpq's connection string or URI; what it does not say comes from libpq's environment variables and
    ///             password file.  The table is the one that the search_path finds or makes
    /// patience    [ms] how long a call waits for another session's lock, and at most 1 s longer for the database
    explicit postgres_store(std::string connection, store_access access = store_access::create, int patience = 5000)
        : postgres_session(std::move(connection), patience), access_(access) {
        start_call();
        status_ = open();
    }

    /// How the last attempt to connect went: the first one, until a connection was lost.
    /// Fails  not_found (no such database or table), unknown_format (another program's table, or a newer paychan's),
    ///        corrupt_record (a table of another shape), store_failed (away, refused, not durable), invalid_argument
    ///        (the connection string).
    [[nodiscard]] const result<void>& status() const { return status_; }

    /// What the last failure was, for people: the database, the fact, and its own words.  Never a password, nor a
    /// record's content.
    [[nodiscard]] const std::string& last_error() const { return last_error_; }

    /// version  below 2^63
    /// Fails  as Store says; too_long (64 MB), invalid_argument (version).
    [[nodiscard]] result<void> put(const record_id& id, std::uint64_t version, bytes_view bytes) {
        const put_request one{id, version, bytes};
        return put_many({&one, 1});
    }

    /// One transaction: one commit.
    [[nodiscard]] result<void> put_many(std::span<const put_request> batch) {
        PAYCHAN_CHECK(check_writable());
        for (const put_request& r : batch) PAYCHAN_CHECK(check(r));
        PAYCHAN_CHECK(ready());
        if (batch.empty()) return {};
        if (batch.size() == 1) {  // a statement is a transaction of its own
            PAYCHAN_CHECK(sent(send_put(batch.front())));
            PAYCHAN_TRY(const answer a, receive());
            PAYCHAN_CHECK(check_committed());
            return check_written(a, batch.front());
        }
        const auto written = write_in_transaction(batch);
        if (!written && connected() && PQtransactionStatus(connection()) != PQTRANS_IDLE) disconnect();  // rolls back
        return written;
    }

    [[nodiscard]] result<stored_record> get(const record_id& id, bytes_span memory) {
        PAYCHAN_CHECK(check_kind(id.kind));
        PAYCHAN_CHECK(ready());
        const std::size_t room = std::min(memory.size(), max_record);
        PAYCHAN_TRY(const answer a, select(id, room));
        if (PQntuples(a.get()) == 0) return refuse(errc::not_found, "no such record");
        PAYCHAN_TRY(const stored_record r, checked(record_in(a, 0, 0), room));
        std::ranges::copy(r.bytes, memory.begin());
        return stored_record{r.version, memory.first(r.bytes.size())};
    }

    [[nodiscard]] result<void> erase(const record_id& id) {
        PAYCHAN_CHECK(check_writable());
        PAYCHAN_CHECK(check_kind(id.kind));
        PAYCHAN_CHECK(ready());
        parameters p;
        p.add(id);
        PAYCHAN_CHECK(sent(p.send(connection(), "paychan_erase")));
        PAYCHAN_CHECK(receive());
        return check_committed();
    }

    /// In the order of the channels' bytes, a page at a time: not a snapshot, when others write meanwhile.
    template <std::invocable<const record_id&> F>
    [[nodiscard]] result<void> list(record_kind kind, F&& f) {
        PAYCHAN_CHECK(check_kind(kind));
        record_id id{kind, {}};
        for (std::size_t after = 0;;) {  // [bytes] of the last channel: at first an empty name, which is before all
            PAYCHAN_CHECK(ready());
            parameters p;
            p.add(big_endian<2>(static_cast<std::uint8_t>(kind)));
            p.add(bytes_view(id.channel.bytes).first(after));
            PAYCHAN_CHECK(sent(p.send(connection(), "paychan_list")));
            PAYCHAN_TRY(const answer a, receive());
            const int count = PQntuples(a.get());
            for (int i = 0; i < count; ++i) {
                const bytes_view channel = field(a, i, 0);
                if (channel.size() != id.channel.bytes.size())
                    return refuse(errc::corrupt_record, "a stored record has a wrong name");
                std::ranges::copy(channel, id.channel.bytes.begin());
                f(std::as_const(id));
            }
            if (count < page) return {};
            after = id.channel.bytes.size();
        }
    }

    /// In the order of the channels' bytes, a page at a time: not a snapshot, when others write meanwhile.  Rows whose
    /// names are none are passed over.
    template <std::predicate<const record_id&, const result<stored_record>&> F>
    [[nodiscard]] result<void> scan(record_kind kind, const std::optional<txid>& after, F&& f) {
        PAYCHAN_CHECK(check_kind(kind));
        answer a;  // the page; its last name is where the next one goes on
        bytes_view last = after ? bytes_view(after->bytes) : bytes_view();
        for (;;) {
            PAYCHAN_CHECK(ready());
            parameters p;
            p.add(big_endian<2>(static_cast<std::uint8_t>(kind)));
            p.add(last);
            p.add(big_endian<8>(most_in_page));
            PAYCHAN_CHECK(sent(p.send(connection(), "paychan_scan")));
            PAYCHAN_TRY(a, receive());
            const int count = PQntuples(a.get());
            for (int i = 0; i < count; ++i) {
                record_id id{kind, {}};
                last = field(a, i, 0);
                if (last.size() != id.channel.bytes.size()) continue;
                std::ranges::copy(last, id.channel.bytes.begin());
                answer longer;
                auto row = record_in(a, i, 1);
                if (row && !row->is_whole()) {
                    PAYCHAN_CHECK(ready());
                    PAYCHAN_TRY(longer, select(id, max_record));
                    if (PQntuples(longer.get()) == 0) continue;  // deleted just now
                    row = record_in(longer, 0, 0);
                }
                const auto r = checked(row, max_record);
                if (!f(std::as_const(id), r)) return {};
            }
            if (count < page) return {};
        }
    }

private:
    static constexpr std::int64_t format = 1;                        // goes up when the table changes
    static constexpr std::size_t max_record = std::size_t{1} << 26;  // [bytes] 64 MB; a record has a few hundred
    static constexpr int page = 1000;                                // [records] of a list or scan
    static constexpr std::size_t most_in_page = 4096;                // [bytes] longer records are asked for one by one

    // ---- opening ------------------------------------------------------------------------------------------------

    /// Begins a call with a connection that is alive.
    [[nodiscard]] result<void> ready() {
        start_call();
        if (alive()) return {};
        status_ = open();
        if (status_) return {};
        // To whoever asks for a record, "not found" would mean that the record is not there.
        if (status_.error().code == errc::not_found) return fail(errc::store_failed, status_.error().text);
        return status_;
    }

    [[nodiscard]] result<void> open() {
        PAYCHAN_CHECK(connect(access_));
        auto opened = open_table();
        if (opened) opened = prepare_all();
        if (opened && access_ != store_access::read_only) opened = try_to_write();
        if (!opened) {
            disconnect();
            return opened;
        }
        // A table that is gone later is lost records, not a new store.
        if (access_ == store_access::create) access_ = store_access::existing;
        forget_errors();
        return {};
    }

    [[nodiscard]] result<void> open_table() {
        // The row of kind 0 holds the table's format.  There is no record of that kind.
        constexpr const char* look = "SELECT kind, channel, version, bytes FROM paychan_record WHERE kind = 0";
        auto found = query(look);
        if (!found && last_code_ == "42P01") {  // undefined_table
            if (access_ != store_access::create)
                return refuse(errc::not_found, "there is no such store: the database has no table paychan_record");
            for (int i = 0; !found && i < 5; ++i) {
                // As one transaction.  It fails when another process is making the table: then it is there soon.
                const auto made = query(
                    "CREATE TABLE IF NOT EXISTS paychan_record ("
                    "  kind SMALLINT NOT NULL,"
                    "  channel BYTEA NOT NULL CHECK (octet_length(channel) = 32),"  // the txid in internal order
                    "  version BIGINT NOT NULL CHECK (version >= 0),"
                    "  bytes BYTEA NOT NULL,"
                    "  PRIMARY KEY (kind, channel)"
                    ");"
                    "INSERT INTO paychan_record VALUES (0, decode(repeat('00', 32), 'hex'), 1, '')"
                    " ON CONFLICT DO NOTHING");
                static_assert(format == 1, "the number above");
                if (!made && !interfered()) return fail(made.error());
                found = query(look);
                if (!found && last_code_ != "42P01") break;
            }
        }
        if (!found) return fail(found.error());
        const PGresult* const r = found->get();
        if (PQftype(r, 0) != type_int2 || PQftype(r, 1) != type_bytea || PQftype(r, 2) != type_int8 ||
            PQftype(r, 3) != type_bytea)
            return refuse(errc::corrupt_record, "the table paychan_record has another shape");
        if (PQntuples(r) != 1)
            return refuse(errc::unknown_format, "the table paychan_record is another program's: it has no format");
        const std::string_view stored = PQgetvalue(r, 0, 2);
        if (stored == std::to_string(format)) return {};
        if (stored == "0") return refuse(errc::corrupt_record, "the table paychan_record has no known version");
        return refuse(errc::unknown_format, "the table was written by a newer version of paychan: use that one");
    }

    [[nodiscard]] result<void> prepare_all() {
        if (access_ != store_access::read_only) {
            PAYCHAN_CHECK(prepare("paychan_put",
                                  "INSERT INTO paychan_record (kind, channel, version, bytes) VALUES ($1, $2, $3, $4) "
                                  "ON CONFLICT (kind, channel) DO UPDATE SET version = excluded.version, "
                                  "bytes = excluded.bytes WHERE excluded.version > paychan_record.version"));
            // Not an INSERT that looks for the row before: another session may delete it in between.
            PAYCHAN_CHECK(prepare("paychan_replace",
                                  "UPDATE paychan_record SET version = $3, bytes = $4 "
                                  "WHERE kind = $1 AND channel = $2 AND version < $3"));
            PAYCHAN_CHECK(prepare("paychan_erase", "DELETE FROM paychan_record WHERE kind = $1 AND channel = $2"));
        }
        PAYCHAN_CHECK(prepare("paychan_get",
                              "SELECT version, CAST(octet_length(bytes) AS BIGINT),"
                              " CASE WHEN octet_length(bytes) <= CAST($3 AS BIGINT) THEN bytes END "
                              "FROM paychan_record WHERE kind = $1 AND channel = $2"));
        PAYCHAN_CHECK(
            prepare("paychan_list",
                    "SELECT channel FROM paychan_record WHERE kind = $1 AND channel > $2 ORDER BY channel LIMIT 1000"));
        return prepare("paychan_scan",
                       "SELECT channel, version, CAST(octet_length(bytes) AS BIGINT),"
                       " CASE WHEN octet_length(bytes) <= CAST($3 AS BIGINT) THEN bytes END "
                       "FROM paychan_record WHERE kind = $1 AND channel > $2 ORDER BY channel LIMIT 1000");
    }

    /// Writes the format again, which is stale: who may not write, or to a table without a key, finds out now and not
    /// at the first payment.
    [[nodiscard]] result<void> try_to_write() {
        PAYCHAN_CHECK(sent(send_put({record_id{}, format, {}})));
        PAYCHAN_CHECK(receive());
        return {};
    }

    // ---- reading -------------------------------------------------------------------------------------------------

    /// A record's row; its bytes are in the answer, unless they are longer than was asked for.
    struct record_row {
        std::uint64_t version = 0;
        std::uint64_t size = 0;
        bytes_view bytes;
        [[nodiscard]] bool is_whole() const { return bytes.size() == size; }
    };

    /// The columns version, size, bytes from `first` on; nothing where there is no row, or something else in it.
    [[nodiscard]] static std::optional<record_row> record_in(const answer& a, int row, int first) {
        if (row >= PQntuples(a.get())) return std::nullopt;
        const auto version = number(a, row, first), size = number(a, row, first + 1);
        if (!version || !size || *version < 0 || *size < 0) return std::nullopt;
        return record_row{static_cast<std::uint64_t>(*version), static_cast<std::uint64_t>(*size),
                          field(a, row, first + 2)};
    }

    /// Fails  corrupt_record, too_long (than the `room` that was asked for).
    [[nodiscard]] result<stored_record> checked(const std::optional<record_row>& r, std::size_t room) {
        if (r && r->size > room) return refuse(errc::too_long, "the record is longer than the memory for it");
        if (!r || !r->is_whole()) return refuse(errc::corrupt_record, "a stored record has a wrong type");
        return stored_record{r->version, r->bytes};
    }

    /// room  [bytes] a longer record comes without its content
    [[nodiscard]] result<answer> select(const record_id& id, std::size_t room) {
        parameters p;
        p.add(id);
        p.add(big_endian<8>(room));
        PAYCHAN_CHECK(sent(p.send(connection(), "paychan_get")));
        return receive();
    }

    // ---- writing -------------------------------------------------------------------------------------------------

    [[nodiscard]] result<void> check_writable() {
        if (access_ == store_access::read_only)
            return refuse(errc::store_failed, "the store was opened for reading only");
        return {};
    }

    [[nodiscard]] result<void> check_kind(record_kind kind) {
        if (kind == record_kind{}) return refuse(errc::invalid_argument, "there are no records of kind 0");
        return {};
    }

    [[nodiscard]] result<void> check(const put_request& r) {
        if (r.version > std::uint64_t{std::numeric_limits<std::int64_t>::max()})
            return refuse(errc::invalid_argument, "a record's version must be below 2^63");
        PAYCHAN_CHECK(check_kind(r.id.kind));
        if (r.bytes.size() > max_record) return refuse(errc::too_long, "the record is longer than the store takes");
        return {};
    }

    [[nodiscard]] bool send_put(const put_request& r) {
        parameters p;
        p.add(r.id);
        p.add(big_endian<8>(r.version));
        p.add(r.bytes);
        return p.send(connection(), needs_predecessor(r.id, r.version) ? "paychan_replace" : "paychan_put");
    }

    [[nodiscard]] result<void> check_written(const answer& a, const put_request& r) {
        if (std::string_view(PQcmdTuples(a.get())) == "1") return {};
        return refuse(errc::stale_record, needs_predecessor(r.id, r.version)
                                              ? "a newer record is stored, or it was deleted"
                                              : "a record of this version or a newer one is stored");
    }

    /// All statements in one round trip, and the commit in another once each of them is known to have written.
    [[nodiscard]] result<void> write_in_transaction(std::span<const put_request> batch) {
        // Rows are locked in the order of their names, so that two servers cannot wait for each other.
        std::vector<const put_request*> order;
        for (const put_request& r : batch) order.push_back(&r);
        std::ranges::stable_sort(order, {}, [](const put_request* r) { return r->id; });

        PAYCHAN_CHECK(sent(PQenterPipelineMode(connection()) == 1));
        PAYCHAN_CHECK(sent(PQsendQueryParams(connection(), "BEGIN", 0, nullptr, nullptr, nullptr, nullptr, 0) == 1));
        for (const put_request* r : order) PAYCHAN_CHECK(sent(send_put(*r)));
        PAYCHAN_CHECK(sent(PQpipelineSync(connection()) == 1));
        result<void> outcome;
        for (std::size_t i = 0; i <= order.size(); ++i) {  // BEGIN, and each record
            const auto a = receive();
            if (!a && !connected()) return fail(a.error());
            if (!outcome) continue;  // what follows a failure was not done
            if (!a)
                outcome = fail(a.error());
            else if (i > 0)
                outcome = check_written(*a, *order[i - 1]);
        }
        PAYCHAN_CHECK(receive());
        if (PQexitPipelineMode(connection()) != 1) return lost("the database answers in a way that is not understood");
        if (!outcome) {
            const std::string words = last_error_;
            (void)query("ROLLBACK");
            last_error_ = words;
            return outcome;
        }
        PAYCHAN_TRY(const answer a, query("COMMIT"));
        // The COMMIT of a transaction that failed succeeds, and says ROLLBACK.
        if (std::string_view(PQcmdStatus(a.get())) != "COMMIT")
            return refuse(errc::store_failed, "the database rolled the transaction back");
        return check_committed();
    }

    /// A warning with a commit means that it is not as safe as it should be: on this server, but not on its replica.
    [[nodiscard]] result<void> check_committed() {
        if (warning_[0] == 0) return {};
        return refuse(errc::store_failed, "the database warns of what it has written: it may be lost", warning_.data());
    }

    store_access access_;
    result<void> status_;
};

static_assert(BatchStore<postgres_store> && ScanStore<postgres_store>);

}  // namespace paychan
