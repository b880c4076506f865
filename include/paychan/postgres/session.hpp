// One session with a PostgreSQL database over libpq: statements that end in time, errors in words that quote no secret.
#pragma once

#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "paychan/core/secret.hpp"
#include "paychan/policy.hpp"

#ifndef LIBPQ_HAS_PIPELINING
#error "paychan/postgres needs libpq 14 or later"
#endif

namespace paychan::detail {

/// What postgres_store does not say in SQL.  After any failure that leaves the session in doubt it is closed.
class postgres_session {
protected:
    struct closer {
        void operator()(PGconn* c) const { PQfinish(c); }
        void operator()(PGresult* r) const { PQclear(r); }
        void operator()(PQconninfoOption* o) const { PQconninfoFree(o); }
    };
    using answer = std::unique_ptr<PGresult, closer>;
    using clock = std::chrono::steady_clock;

    static constexpr Oid type_bytea = 17, type_int8 = 20, type_int2 = 21;  // pg_type.dat

    explicit postgres_session(std::string connection, int patience)
        : connection_(std::move(connection)), patience_(std::max(patience, 1)) {}
    ~postgres_session() { wipe({reinterpret_cast<std::uint8_t*>(connection_.data()), connection_.size()}); }
    postgres_session(const postgres_session&) = delete;
    postgres_session& operator=(const postgres_session&) = delete;

    // ---- values on the wire --------------------------------------------------------------------------------------

    template <std::size_t N>
    [[nodiscard]] static std::array<std::uint8_t, N> big_endian(std::uint64_t value) {
        std::array<std::uint8_t, N> out{};
        for (std::size_t i = 0; i < N; ++i) out[i] = static_cast<std::uint8_t>(value >> (8 * (N - 1 - i)));
        return out;
    }

    /// The binary parameters of a prepared statement; bytes are borrowed, numbers copied.
    class parameters {
    public:
        void add(bytes_view bytes) {
            // A null pointer is NULL, which no bytes are not.
            values_[count_] = bytes.empty() ? "" : reinterpret_cast<const char*>(bytes.data());
            lengths_[count_++] = static_cast<int>(bytes.size());  // below max_record
        }
        template <std::size_t N>
        requires(N <= 8) void add(const std::array<std::uint8_t, N>& value) {
            auto& kept = numbers_[count_];
            std::ranges::copy(value, kept.begin());
            add(bytes_view(kept).first(N));
        }
        void add(const record_id& id) {
            add(big_endian<2>(static_cast<std::uint8_t>(id.kind)));
            add(bytes_view(id.channel.bytes));
        }
        [[nodiscard]] bool send(PGconn* to, const char* statement) const {
            constexpr int all_binary[most]{1, 1, 1, 1};
            return PQsendQueryPrepared(to, statement, static_cast<int>(count_), values_.data(), lengths_.data(),
                                       all_binary, 1) == 1;
        }

    private:
        static constexpr std::size_t most = 4;
        std::array<const char*, most> values_{};
        std::array<int, most> lengths_{};
        std::array<std::array<std::uint8_t, 8>, most> numbers_{};
        std::size_t count_ = 0;
    };

    [[nodiscard]] static bytes_view field(const answer& a, int row, int column) {
        return {reinterpret_cast<const std::uint8_t*>(PQgetvalue(a.get(), row, column)),
                static_cast<std::size_t>(PQgetlength(a.get(), row, column))};
    }

    [[nodiscard]] static std::optional<std::int64_t> number(const answer& a, int row, int column) {
        const bytes_view bytes = field(a, row, column);
        if (PQgetisnull(a.get(), row, column) != 0 || PQftype(a.get(), column) != type_int8 || bytes.size() != 8)
            return std::nullopt;
        std::uint64_t value = 0;
        for (const std::uint8_t b : bytes) value = value << 8 | b;
        return static_cast<std::int64_t>(value);
    }

    // ---- the connection ------------------------------------------------------------------------------------------

    [[nodiscard]] PGconn* connection() const { return link_.get(); }
    [[nodiscard]] bool connected() const { return link_ && PQstatus(connection()) == CONNECTION_OK; }
    void disconnect() { link_.reset(); }

    /// Everything until the next call is done by then.
    void start_call() {
        deadline_ = clock::now() + std::chrono::milliseconds(patience_) + std::chrono::seconds(1);
        warning_[0] = 0;
    }

    /// True when there is a connection, as far as can be known without asking the database.
    [[nodiscard]] bool alive() {
        if (!connected()) return false;
        // Left in the middle, by an exception: what arrives next would be taken for an answer to the next statement.
        if (PQtransactionStatus(connection()) != PQTRANS_IDLE || PQpipelineStatus(connection()) != PQ_PIPELINE_OFF)
            disconnect();
        // What arrived while nothing was asked: mostly the database's farewell, before anything of ours was sent.
        while (connected() && readable(0))
            if (PQconsumeInput(connection()) != 1) disconnect();
        warning_[0] = 0;
        return connected();
    }

    /// Makes a session that commits durably and waits for nothing for ever, or leaves none.
    [[nodiscard]] result<void> connect(store_access access) {
        disconnect();
        const auto made = let_in(access);
        if (!made) disconnect();
        return made;
    }

    // ---- statements ----------------------------------------------------------------------------------------------

    /// Runs statements; the last one's rows, as text.
    [[nodiscard]] result<answer> query(const std::string& sql) {
        PAYCHAN_CHECK(sent(PQsendQuery(connection(), sql.c_str()) == 1));
        return receive();
    }

    [[nodiscard]] result<void> prepare(const char* statement, const char* sql) {
        PAYCHAN_CHECK(sent(PQsendPrepare(connection(), statement, sql, 0, nullptr) == 1));
        PAYCHAN_CHECK(receive());
        return {};
    }

    [[nodiscard]] result<void> sent(bool ok) {
        if (!ok) return lost("the connection to the database is lost");
        return {};
    }

    /// What a statement ended with: of several, the first that failed, or the last.
    [[nodiscard]] result<answer> receive() {
        answer kept;
        for (;;) {
            PAYCHAN_TRY(answer a, next());
            if (!a) break;
            const bool end = PQresultStatus(a.get()) == PGRES_PIPELINE_SYNC;  // nothing follows it
            if (!kept || PQresultStatus(kept.get()) != PGRES_FATAL_ERROR) kept = std::move(a);
            if (end) break;
        }
        if (!kept) return lost("the database answers in a way that is not understood");
        switch (PQresultStatus(kept.get())) {
            case PGRES_COMMAND_OK:
            case PGRES_TUPLES_OK:
            case PGRES_PIPELINE_SYNC: return kept;
            case PGRES_PIPELINE_ABORTED: return fail(errc::store_failed, "an earlier statement failed");
            case PGRES_FATAL_ERROR: return failed(kept);
            case PGRES_EMPTY_QUERY:
            case PGRES_COPY_OUT:
            case PGRES_COPY_IN:
            case PGRES_COPY_BOTH:
            case PGRES_BAD_RESPONSE:
            case PGRES_NONFATAL_ERROR:
            case PGRES_SINGLE_TUPLE: break;
        }
        return lost("the database answers in a way that is not understood");
    }

    /// Another session did the same at the same time: unique_violation, duplicate_table or duplicate_object while the
    /// table is made; serialization_failure, deadlock_detected.
    [[nodiscard]] bool interfered() const {
        return last_code_ == "23505" || last_code_ == "42P07" || last_code_ == "42710" || last_code_ == "40001" ||
               last_code_ == "40P01";
    }

    /// A connection that is of no use any more.
    [[nodiscard]] tl::unexpected<error> lost(std::string_view text, errc code = errc::store_failed) {
        last_code_.clear();
        const auto e = refuse(code, text, link_ ? PQerrorMessage(connection()) : "");
        disconnect();
        return e;
    }

    /// An error, with its words kept for last_error(), in one line.
    [[nodiscard]] tl::unexpected<error> refuse(errc code, std::string_view text, std::string_view words = "") {
        last_error_ = name_ + ": " + std::string(text);
        bool space = false;
        if (!words.empty()) last_error_ += ":";
        for (const char c : words) {
            space = space || c == '\n' || c == '\t' || c == ' ';
            if (c == '\n' || c == '\t' || c == ' ') continue;
            if (space || last_error_.back() == ':') last_error_ += ' ';
            last_error_ += c;
            space = false;
        }
        return fail(code, text);
    }

    void forget_errors() { last_error_ = name_ + ": no error"; }

private:
    [[nodiscard]] result<void> let_in(store_access access) {
        PAYCHAN_CHECK(check_connection_string());
        // Before "dbname", which expands to what the user says, and so overrules these.
        const bool writes = access != store_access::read_only;
        const std::string unheard = std::to_string(patience_ / 2);
        const char* const names[] = {"application_name", "target_session_attrs", "tcp_user_timeout", "dbname", nullptr};
        const char* const values[] = {"paychan", writes ? "read-write" : "any", unheard.c_str(), connection_.c_str(),
                                      nullptr};
        link_.reset(PQconnectStartParams(names, values, 1));
        if (!link_) return refuse(errc::store_failed, "no memory is left for the connection");
        PQsetNoticeReceiver(connection(), &on_notice, this);
        if (PQstatus(connection()) == CONNECTION_BAD) return lost("the database cannot be reached");
        for (auto step = PGRES_POLLING_WRITING; step != PGRES_POLLING_OK; step = PQconnectPoll(connection())) {
            if (step == PGRES_POLLING_FAILED) return not_let_in();
            if (!wait(step == PGRES_POLLING_READING ? POLLIN : POLLOUT))
                return refuse(errc::store_failed, "the database does not answer in time");
        }
        PQsetErrorVerbosity(connection(), PQERRORS_TERSE);  // no DETAIL: it may quote a record
        if (PQsetnonblocking(connection(), 1) != 0) return lost("the connection cannot be used");
        return set_up(access);
    }

    /// libpq quotes what it does not understand, which may be a part of the password: such strings never reach it.
    [[nodiscard]] result<void> check_connection_string() {
        const std::unique_ptr<PQconninfoOption, closer> options(PQconninfoParse(connection_.c_str(), nullptr));
        bool good = options != nullptr && connection_.find('\0') == std::string::npos;
        name_ = "PostgreSQL";
        for (const PQconninfoOption* o = options.get(); good && o->keyword != nullptr; ++o) {
            if (o->val == nullptr) continue;
            const std::string_view keyword = o->keyword, value = o->val;
            if (keyword == "port") good = value.find_first_not_of("0123456789,") == value.npos;
            // A host that begins with @ is a socket's name.
            if (keyword == "host" || keyword == "dbname") good = value.find('@', 1) == value.npos;
            if (!good) break;
            if (keyword == "dbname") name_ = "PostgreSQL database " + std::string(value);
        }
        if (good) return {};
        name_ = "PostgreSQL";
        return refuse(errc::invalid_argument,
                      "the connection string is not understood: a URI has %40 %3A %2F %3F for @ : / ? in a password");
    }

    [[nodiscard]] tl::unexpected<error> not_let_in() {
        const std::string_view words = PQerrorMessage(connection());
        // While connecting there is no code to ask for, only words.
        if (words.find("database \"") != words.npos && words.find("does not exist") != words.npos)
            return lost("there is no such database", errc::not_found);
        return lost("the database cannot be reached");
    }

    [[nodiscard]] result<void> set_up(store_access access) {
        // An engine without a setting has nothing to switch off.
        PAYCHAN_TRY(const answer now,
                    query("SELECT current_setting('synchronous_commit', true),"
                          " current_setting('fsync', true), current_setting('full_page_writes', true)"));
        if (text(now, 1) == "off" || text(now, 2) == "off")
            return refuse(errc::store_failed,
                          "the database does not sync what it writes: fsync and full_page_writes must be on");
        const std::string synchronous(text(now, 0));
        const std::string wait = std::to_string(patience_);
        PAYCHAN_CHECK(query("SET lock_timeout = " + wait));
        PAYCHAN_CHECK(query("SET statement_timeout = " + std::to_string(patience_ + 500)));
        // Or a process that was stopped in the middle of a batch would keep its locks for ever.
        PAYCHAN_CHECK(query("SET idle_in_transaction_session_timeout = " + wait));
        PAYCHAN_CHECK(query("SET default_transaction_isolation = 'read committed'"));
        if (access == store_access::read_only) PAYCHAN_CHECK(query("SET default_transaction_read_only = on"));
        if (synchronous.empty() || synchronous == "remote_apply") return {};  // which is more than "on"
        PAYCHAN_CHECK(query("SET synchronous_commit = on"));
        PAYCHAN_TRY(const answer then, query("SHOW synchronous_commit"));
        if (text(then, 0) != "on") return refuse(errc::store_failed, "synchronous_commit cannot be switched on");
        return {};
    }

    [[nodiscard]] static std::string_view text(const answer& a, int column) {
        return PQntuples(a.get()) == 1 ? PQgetvalue(a.get(), 0, column) : "";
    }

    /// The next result, or none at the end of a statement's.
    [[nodiscard]] result<answer> next() {
        for (;;) {
            const int unsent = PQflush(connection());
            if (unsent < 0 && PQisBusy(connection()) == 1 && !readable(0))
                return lost("the connection to the database is lost");
            if (PQisBusy(connection()) == 0) return answer(PQgetResult(connection()));
            if (!wait(unsent > 0 ? POLLIN | POLLOUT : POLLIN)) {
                disconnect();  // or its answer would be taken for that of the next statement
                return refuse(errc::store_failed, "the database does not answer in time");
            }
            if (PQconsumeInput(connection()) != 1) return lost("the connection to the database is lost");
        }
    }

    /// The error for what the database says, by its code (PostgreSQL manual, appendix A).
    [[nodiscard]] tl::unexpected<error> failed(const answer& a) {
        const char* const code = PQresultErrorField(a.get(), PG_DIAG_SQLSTATE);
        if (code == nullptr) return lost("the connection to the database is lost");
        last_code_ = code;
        const char* const primary = PQresultErrorField(a.get(), PG_DIAG_MESSAGE_PRIMARY);
        const std::string_view words = primary == nullptr ? "" : primary;
        const auto is = [&](auto... codes) { return ((last_code_ == codes) || ...); };
        if (is("55P03", "57014"))  // lock_not_available, query_canceled by a timeout
            return refuse(errc::store_failed, "the record is locked by another session, or the database is too slow",
                          words);
        if (interfered())
            return refuse(errc::store_failed, "another session was in the way, and nothing is written: try again",
                          words);
        if (is("42501", "25006"))  // insufficient_privilege, read_only_sql_transaction
            return refuse(errc::store_failed, "the store may not be read or written to", words);
        if (is("53100", "53200")) return refuse(errc::store_failed, "the database's disk or memory is full", words);
        if (is("42P01", "42703", "42P10", "42804", "42883", "42P18", "22003", "23502", "23514"))
            return refuse(errc::corrupt_record, "the table paychan_record has another shape", words);
        if (is("XX001", "XX002")) return refuse(errc::corrupt_record, "the database is damaged", words);
        const auto refused = refuse(errc::store_failed, "the database refuses", words);
        disconnect();  // which will be made anew: an unknown state is not gone on with
        return refused;
    }

    static std::array<char, 200>& warning_of(void* self) { return static_cast<postgres_session*>(self)->warning_; }

    /// Called from C: must not throw.
    static void on_notice(void* self, const PGresult* r) {
        const char* const severity = PQresultErrorField(r, PG_DIAG_SEVERITY_NONLOCALIZED);
        const char* const words = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
        if (severity != nullptr && words != nullptr && std::strcmp(severity, "WARNING") == 0)
            (void)std::snprintf(warning_of(self).data(), warning_of(self).size(), "%s", words);
    }

    [[nodiscard]] bool readable(int timeout) const {
        pollfd p{PQsocket(connection()), POLLIN, 0};
        return ::poll(&p, 1, timeout) > 0;
    }

    /// False at the deadline.
    [[nodiscard]] bool wait(short events) const {
        for (;;) {
            const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline_ - clock::now()).count();
            if (left <= 0) return false;
            pollfd p{PQsocket(connection()), events, 0};
            const int n = ::poll(&p, 1, static_cast<int>(std::min<std::int64_t>(left, 1 << 30)));
            if (n > 0 || (n < 0 && errno != EINTR)) return true;  // libpq finds out what is wrong with the socket
        }
    }

    std::string connection_;
    int patience_;
    std::string name_ = "PostgreSQL";
    clock::time_point deadline_;
    std::unique_ptr<PGconn, closer> link_;

protected:
    std::string last_error_ = name_ + ": no error";
    std::string last_code_;            // SQLSTATE
    std::array<char, 200> warning_{};  // of the last call
};

}  // namespace paychan::detail
