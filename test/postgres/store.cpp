// postgres_store: the conformance of Store, and its database: foreign, forbidden, locked, away, cut off.
#include "paychan/postgres/store.hpp"

#include "../support/old_stores.hpp"
#include "support.hpp"

using namespace paychan;
using namespace paychan::postgres_test;
using cut = wire_cutter::cut;

TEST_CASE("postgres_store keeps the contract of Store", "[postgres][store]") {
    const schema s;
    store_conformance([&] { return postgres_store(s.connection()); });
}

TEST_CASE("postgres_store keeps everything when it is closed and opened again", "[postgres][store]") {
    const schema s;
    {
        postgres_store store(s.connection());
        REQUIRE(store.status());
        REQUIRE(store.put(a, 1, content_of(1)));
        REQUIRE(store.put(a, 2, content_of(2)));
        REQUIRE(store.put(b, 1, {}));
        REQUIRE(store.put(id_of(kind, 3), 1, {}));
        REQUIRE(store.erase(id_of(kind, 3)));
        CHECK(store.last_error() == "PostgreSQL database postgres: no error");
    }
    for (const auto access : {store_access::create, store_access::existing, store_access::read_only}) {
        postgres_store store(s.connection(), access);
        REQUIRE(store.status());
        CHECK(fetch(store, a) == found{2, content_of(2)});
        CHECK(fetch(store, b) == found{1, {}});
        CHECK(listed(store, kind) == std::set{a, b});
        CHECK(code_of(store.put(a, 2, {})) ==
              (access == store_access::read_only ? errc::store_failed : errc::stale_record));
    }
}

TEST_CASE("postgres_store lists more records than one page holds", "[postgres][store]") {
    const schema s;
    postgres_store store(s.connection());
    std::vector<put_request> batch;
    for (std::size_t i = 0; i < 2000; ++i) {
        record_id id{record_kind::client_refund, {}};
        id.channel.bytes[31] = static_cast<std::uint8_t>(i % 256);
        id.channel.bytes[0] = static_cast<std::uint8_t>(i / 256);
        batch.push_back({id, i, {}});
    }
    REQUIRE(store.put_many(batch));
    std::vector<record_id> all;
    REQUIRE(store.list(record_kind::client_refund, [&](const record_id& id) { all.push_back(id); }));
    REQUIRE(all.size() == 2000);
    CHECK(std::ranges::is_sorted(all));
    for (std::size_t i = 0; i < 2000; ++i) CHECK(all[i] == batch[i].id);
    CHECK(fetch(store, all[1234]) == found{1234, {}});
}

TEST_CASE("postgres_store scans more records than one page holds, and long ones among them", "[postgres][store]") {
    const schema s;
    postgres_store store(s.connection());
    const auto most = static_cast<std::size_t>(GENERATE(1, 999, 1000, 1001, 2000, 2500));
    std::vector<put_request> batch;
    const bytes small(270, 1), longest_in_page(4096, 2), longer(4097, 3);
    scanned_records all;
    for (std::size_t i = 0; i < most; ++i) {
        record_id id{record_kind::client_refund, {}};
        id.channel.bytes[0] = static_cast<std::uint8_t>(i / 256);
        id.channel.bytes[31] = static_cast<std::uint8_t>(i % 256);
        const bytes& content = i % 333 == 0 ? longer : i % 333 == 1 ? longest_in_page : small;
        batch.push_back({id, i, content});
        all.push_back({id, {i, content}});
    }
    REQUIRE(store.put_many(batch));
    CHECK(scanned(store, record_kind::client_refund) == all);
    const auto middle = static_cast<std::ptrdiff_t>(most / 2);
    CHECK(scanned(store, record_kind::client_refund, all[most / 2].first.channel) ==
          scanned_records(all.begin() + middle + 1, all.end()));
    CHECK(scanned(store, record_kind::client_refund, {}, most / 2 + 1) ==
          scanned_records(all.begin(), all.begin() + middle + 1));
}

TEST_CASE("a scan of postgres_store tells rows that were edited by hand into something else as errors",
          "[postgres][store]") {
    const schema s;
    postgres_store store(s.connection());
    const record_id c = id_of(kind, 3);
    for (const record_id& id : {a, b, c}) REQUIRE(store.put(id, 1, bytes{7}));
    s.run("ALTER TABLE paychan_record DROP CONSTRAINT paychan_record_channel_check");
    s.run("ALTER TABLE paychan_record DROP CONSTRAINT paychan_record_version_check");
    const std::string of_b = " WHERE kind = 4 AND channel = decode(repeat('02', 32), 'hex')";
    errc problem = errc::corrupt_record;
    SECTION("a version") { s.run("UPDATE paychan_record SET version = -1" + of_b); }
    SECTION("a version, of a record that is longer than a page takes") {
        s.run("UPDATE paychan_record SET version = -1, bytes = decode(repeat('07', 5000), 'hex')" + of_b);
    }
    SECTION("no bytes") {
        s.run("ALTER TABLE paychan_record ALTER bytes DROP NOT NULL");
        s.run("UPDATE paychan_record SET bytes = NULL" + of_b);
    }
    SECTION("more bytes than are ever read") {
        s.run("UPDATE paychan_record SET bytes = decode(repeat('07', 67108865), 'hex')" + of_b);
        problem = errc::too_long;
    }
    CHECK(listed(store, kind) == std::set{a, b, c});
    CHECK(code_of(fetch(store, b)) == problem);
    const scanned_records all{{a, {1, {7}}}, {b, unreadable(problem)}, {c, {1, {7}}}};
    CHECK(scanned(store, kind) == all);
    CHECK(scanned(store, kind, {}, 2) == scanned_records{all[0], all[1]});
    CHECK(scanned(store, kind, a.channel) == scanned_records{all[1], all[2]});
    CHECK(scanned(store, kind, b.channel) == scanned_records{all[2]});
}

TEST_CASE("a scan of postgres_store passes over names that are none", "[postgres][store]") {
    const schema s;
    postgres_store store(s.connection());
    const record_id c = id_of(kind, 3);
    for (const record_id& id : {a, b, c}) REQUIRE(store.put(id, 1, bytes{7}));
    s.run("ALTER TABLE paychan_record DROP CONSTRAINT paychan_record_channel_check");
    const std::string of_b = " WHERE kind = 4 AND channel = decode(repeat('02', 32), 'hex')";
    const scanned_records good{{a, {1, {7}}}, {c, {1, {7}}}};
    SECTION("one") {
        s.run("UPDATE paychan_record SET channel = '\\x0202'" + of_b);
        CHECK(code_of(store.list(kind, [](const record_id&) {})) == errc::corrupt_record);
    }
    SECTION("more than a page") {
        s.run("DELETE FROM paychan_record" + of_b);
        s.run(
            "INSERT INTO paychan_record SELECT 4, decode('02' || lpad(to_hex(i), 6, '0'), 'hex'), 1, ''"
            " FROM generate_series(1, 2500) AS i");
    }
    CHECK(scanned(store, kind) == good);
    CHECK(scanned(store, kind, a.channel) == scanned_records{good[1]});
}

TEST_CASE("a scan of postgres_store passes over a long record that was deleted just before it is asked for",
          "[postgres][store]") {
    const schema s;
    postgres_store store(s.connection());
    postgres_store other(s.connection());
    const record_id c = id_of(kind, 3);
    for (const record_id& id : {a, b, c}) REQUIRE(store.put(id, 1, bytes(5000, 7)));
    std::vector<record_id> told;
    CHECK(store.scan(kind, {}, [&](const record_id& id, const result<stored_record>& r) {
        REQUIRE(r);
        CHECK(r->bytes.size() == 5000);
        told.push_back(id);
        return other.erase(b).has_value();
    }));
    CHECK(told == std::vector{a, c});
}

TEST_CASE("a scan of postgres_store that is cut off fails, and what it told before stays told", "[postgres][store]") {
    const schema s;
    const temporary_folder folder;
    wire_cutter wire(folder.path.string());
    postgres_store store(wire.connection("options='-c search_path=" + s.name + "'"));
    std::vector<put_request> batch;
    for (std::size_t i = 0; i < 1500; ++i) {
        record_id id{record_kind::client_refund, {}};
        id.channel.bytes[0] = static_cast<std::uint8_t>(i / 256);
        id.channel.bytes[1] = static_cast<std::uint8_t>(i % 256);
        batch.push_back({id, i, {}});
    }
    REQUIRE(store.put_many(batch));
    wire.requests = 0;
    wire.cut_at(cut::request, 2);
    std::size_t told = 0;
    CHECK(code_of(store.scan(record_kind::client_refund, {}, [&](const record_id& id, const result<stored_record>& r) {
              REQUIRE(r);
              CHECK(id == batch[told].id);
              CHECK(r->version == told);
              return ++told > 0;
          })) == errc::store_failed);
    CHECK(told == 1000);
    CHECK(scanned(store, record_kind::client_refund, batch[999].id.channel).size() == 500);  // connects again
}

TEST_CASE("postgres_store refuses a version that does not fit, a kind that is none, and a record that is too long",
          "[postgres][store]") {
    const schema s;
    postgres_store store(s.connection());
    CHECK(code_of(store.put(a, std::uint64_t{1} << 63, {})) == errc::invalid_argument);
    const std::array batch{put_request{a, 1, {}}, put_request{b, ~std::uint64_t{0}, {}}};
    CHECK(code_of(store.put_many(batch)) == errc::invalid_argument);
    CHECK(listed(store, kind).empty());
    const record_id none{record_kind{}, {}};
    CHECK(code_of(store.put(none, 9, {})) == errc::invalid_argument);
    CHECK(code_of(store.erase(none)) == errc::invalid_argument);
    CHECK(code_of(fetch(store, none)) == errc::invalid_argument);
    CHECK(code_of(store.put(a, 1, bytes((std::size_t{1} << 26) + 1))) == errc::too_long);
}

TEST_CASE("postgres_store does not make a table in a database that was asked for as existing", "[postgres][store]") {
    const schema s;
    for (const auto access : {store_access::existing, store_access::read_only}) {
        postgres_store store(s.connection(), access);
        CHECK(code_of(store.status()) == errc::not_found);
        CHECK(store.last_error() ==
              "PostgreSQL database postgres: there is no such store: the database has no table paychan_record");
        CHECK(code_of(fetch(store, a)) == errc::store_failed);  // not: "there is no such record"
        CHECK(code_of(store.put(a, 1, {})) == errc::store_failed);
        CHECK(code_of(store.list(kind, [](const record_id&) {})) == errc::store_failed);
    }
    CHECK(s.run("SELECT count(*) FROM information_schema.tables WHERE table_schema = '" + s.name + "'") == "0");
}

TEST_CASE("postgres_store refuses a table that is not its own, by name, and leaves it as it was", "[postgres][store]") {
    const schema s;
    errc expected = errc::corrupt_record;
    std::string words = "the table paychan_record has another shape";
    SECTION("other columns") {
        s.run("CREATE TABLE paychan_record (a int)");
        words += ": column \"kind\" does not exist";
    }
    SECTION("columns of other types") {
        s.run("CREATE TABLE paychan_record (kind int, channel text, version text, bytes text)");
    }
    SECTION("no key") {
        s.run(
            "CREATE TABLE paychan_record AS SELECT 0::smallint AS kind, '\\x00'::bytea AS channel,"
            " 1::bigint AS version, '\\x'::bytea AS bytes");
        words += ": there is no unique or exclusion constraint matching the ON CONFLICT specification";
    }
    SECTION("another program's, of the same shape") {
        s.run("CREATE TABLE paychan_record (kind smallint, channel bytea, version bigint, bytes bytea)");
        expected = errc::unknown_format;
        words = "the table paychan_record is another program's: it has no format";
    }
    SECTION("a newer format") {
        CHECK(postgres_store(s.connection()).put(a, 1, {}));
        s.run("UPDATE paychan_record SET version = 2 WHERE kind = 0");
        expected = errc::unknown_format;
        words = "the table was written by a newer version of paychan: use that one";
    }
    const std::string before = s.run("SELECT string_agg(t::text, ',') FROM paychan_record t");
    for (const auto access : {store_access::create, store_access::existing}) {
        postgres_store store(s.connection(), access);
        CHECK(code_of(store.status()) == expected);
        CHECK(store.last_error() == "PostgreSQL database postgres: " + words);
        CHECK(code_of(store.put(a, 5, {})) == expected);
    }
    CHECK(s.run("SELECT string_agg(t::text, ',') FROM paychan_record t") == before);
}

TEST_CASE("a postgres_store of format 1 is read for ever", "[postgres][store]") {
    const auto known = read_vectors("stores/format_1.json");
    const bytes sql = read_file(std::string(PAYCHAN_TEST_VECTORS) + "/stores/postgres_format_1.sql");
    const schema s;
    s.run(std::string(sql.begin(), sql.end()));
    for (const auto access : {store_access::read_only, store_access::existing}) {
        postgres_store store(s.connection(), access);
        REQUIRE(store.status());
        check_old_store(store, known, access);
    }
}

TEST_CASE("postgres_store commits synchronously, whatever the role's or the database's setting", "[postgres][store]") {
    const schema s;
    s.run("CREATE ROLE lazy" + s.name + " LOGIN SUPERUSER");
    s.run("ALTER ROLE lazy" + s.name + " SET synchronous_commit = off");
    postgres_store store(s.connection("user=lazy" + s.name));
    REQUIRE(store.put(a, 1, {}));
    const std::string before = s.run("SELECT pg_current_wal_flush_lsn()");
    REQUIRE(store.put(a, 2, bytes(100, 1)));
    CHECK(s.run("SELECT pg_current_wal_flush_lsn() > '" + before + "'::pg_lsn") == "t");
    CHECK(s.run("SHOW fsync") == "on");
}

TEST_CASE("postgres_store says so when it may not write", "[postgres][store]") {
    const schema s;
    REQUIRE(postgres_store(s.connection()).put(a, 1, bytes{1}));
    const std::string role = "reader" + s.name;
    s.run("CREATE ROLE " + role + " LOGIN");
    s.run("GRANT USAGE ON SCHEMA " + s.name + " TO " + role);
    SECTION("a role that may read") {
        s.run("GRANT SELECT ON paychan_record TO " + role);
        postgres_store store(s.connection("user=" + role));
        const std::array batch{put_request{a, 2, {}}, put_request{b, 2, {}}};
        for (const auto& outcome : {store.status(), store.put(a, 2, {}), store.put_many(batch), store.erase(a)}) {
            CHECK(code_of(outcome) == errc::store_failed);
            CHECK(store.last_error() ==
                  "PostgreSQL database postgres: the store may not be read or written to: "
                  "permission denied for table paychan_record");
        }
        postgres_store reader(s.connection("user=" + role), store_access::read_only);
        CHECK(fetch(reader, a) == found{1, {1}});
    }
    SECTION("a role that loses its right in the middle") {
        s.run("GRANT SELECT, INSERT, UPDATE, DELETE ON paychan_record TO " + role);
        postgres_store store(s.connection("user=" + role));
        REQUIRE(store.put(a, 2, bytes{2}));
        s.run("REVOKE INSERT, UPDATE, DELETE ON paychan_record FROM " + role);
        const std::array batch{put_request{a, 3, {}}, put_request{b, 3, {}}};
        for (const auto& outcome : {store.put(a, 3, {}), store.put_many(batch), store.erase(a)}) {
            CHECK(code_of(outcome) == errc::store_failed);
            CHECK(store.last_error() ==
                  "PostgreSQL database postgres: the store may not be read or written to: "
                  "permission denied for table paychan_record");
        }
        CHECK(fetch(store, a) == found{2, {2}});
    }
    SECTION("a role that may not even read") {
        postgres_store store(s.connection("user=" + role));
        CHECK(code_of(store.status()) == errc::store_failed);
        CHECK(code_of(fetch(store, a)) == errc::store_failed);
    }
    SECTION("a session that is read-only") {
        s.run("ALTER ROLE " + role + " SET default_transaction_read_only = on");
        postgres_store store(s.connection("user=" + role));
        CHECK(code_of(store.status()) == errc::store_failed);
        CHECK(store.last_error().ends_with("session is read-only"));
        s.run("GRANT SELECT ON paychan_record TO " + role);
        postgres_store reader(s.connection("user=" + role), store_access::read_only);
        CHECK(fetch(reader, a) == found{1, {1}});
        CHECK(code_of(reader.put(a, 2, {})) == errc::store_failed);
        CHECK(reader.last_error() == "PostgreSQL database postgres: the store was opened for reading only");
    }
}

TEST_CASE("postgres_store names what it cannot reach, and never the password", "[postgres][store]") {
    const schema s;
    const std::string here = "host=" + database::get().folder() + " port=5432 user=paychan ";
    errc expected = errc::store_failed;
    std::string connection;
    SECTION("no such database") {
        connection = here + "dbname=nothing password=geheim";
        expected = errc::not_found;
    }
    SECTION("no such role") { connection = s.connection("user=nobody password=geheim"); }
    SECTION("nobody is there") { connection = "host=" + s.name + "/none port=1 dbname=x password=geheim"; }
    SECTION("nobody is there, by a URI") { connection = "postgresql://u:geheim@127.0.0.1:1/x"; }
    SECTION("not a connection string") {
        connection = "host=x password=ge geheim";
        expected = errc::invalid_argument;
    }
    SECTION("a URI with a password that is not encoded") {
        connection = GENERATE("postgresql://u:gehe/geheim@h/x", "postgresql://u:1/geheim@h/x",
                              "postgresql://u:ge@geheim@h/x", "postgresql://u:geheim/x@h/x");
        expected = errc::invalid_argument;
    }
    SECTION("a zero in it") {
        connection = here + std::string("\0 geheim", 8);
        expected = errc::invalid_argument;
    }
    CAPTURE(connection);
    postgres_store store(connection);
    CHECK(code_of(store.status()) == expected);
    CHECK(store.last_error().starts_with("PostgreSQL"));
    CHECK(store.last_error().find("geheim") == std::string::npos);
    CHECK(store.last_error().find('\n') == std::string::npos);
    CHECK(code_of(store.put(a, 1, {})) == (expected == errc::not_found ? errc::store_failed : expected));
}

TEST_CASE("postgres_store fails, and does not hang, while another session keeps a lock", "[postgres][store]") {
    const schema s;
    postgres_store store(s.connection(), store_access::create, 100);
    REQUIRE(store.put(a, 1, bytes{1}));
    PGconn* const other = PQconnectdb(s.connection().c_str());
    PQclear(PQexec(other, "BEGIN; UPDATE paychan_record SET version = version"));
    const std::array batch{put_request{b, 1, {}}, put_request{a, 2, {}}};
    for (const auto& outcome : {store.put(a, 2, {}), store.put_many(batch), store.erase(a)}) {
        CHECK(code_of(outcome) == errc::store_failed);
        CHECK(store.last_error() ==
              "PostgreSQL database postgres: the record is locked by another session, or the database is too slow: "
              "canceling statement due to lock timeout");
    }
    CHECK(fetch(store, a) == found{1, {1}});  // readers do not wait
    CHECK(code_of(fetch(store, b)) == errc::not_found);
    PQclear(PQexec(other, "ROLLBACK; BEGIN; LOCK TABLE paychan_record"));
    CHECK(code_of(fetch(store, a)) == errc::store_failed);
    PQfinish(other);
    CHECK(store.put_many(batch));
}

TEST_CASE("postgres_store does not write a channel that another session deletes at the same moment",
          "[postgres][store]") {
    const schema s;
    postgres_store store(s.connection());
    REQUIRE(store.put(a, 1, bytes{1}));
    REQUIRE(store.put(b, 1, bytes{1}));
    PGconn* const other = PQconnectdb(s.connection().c_str());
    PQclear(PQexec(other,
                   "BEGIN; DELETE FROM paychan_record WHERE kind = 4 AND channel = decode(repeat('01', 32), 'hex')"));
    // It commits when our write waits for it, not before.
    REQUIRE(
        PQsendQuery(other,
                    "DO $$ BEGIN"
                    " WHILE NOT EXISTS (SELECT FROM pg_locks WHERE NOT granted) LOOP PERFORM pg_sleep(0.001); END LOOP;"
                    " END $$; COMMIT") == 1);
    const bool one = GENERATE(true, false);
    const std::array batch{put_request{b, 2, {}}, put_request{a, 2, {}}};
    const auto outcome = one ? store.put(a, 2, {}) : store.put_many(batch);
    while (PGresult* const r = PQgetResult(other)) {
        CHECK(PQresultStatus(r) == PGRES_COMMAND_OK);
        PQclear(r);
    }
    PQfinish(other);
    CHECK(code_of(outcome) == errc::stale_record);
    CHECK(store.last_error() == "PostgreSQL database postgres: a newer record is stored, or it was deleted");
    CHECK(code_of(fetch(store, a)) == errc::not_found);
    CHECK(fetch(store, b) == found{1, {1}});
    CHECK(store.put(b, 2, {}));
}

TEST_CASE("postgres_store fails, and does not hang, when the database falls silent", "[postgres][store]") {
    const schema s;
    const temporary_folder folder;
    wire_cutter wire(folder.path.string());
    const std::string path = wire.connection("options='-c search_path=" + s.name + "'");
    postgres_store store(path, store_access::create, 100);
    REQUIRE(store.put(a, 1, {}));
    wire.silent = true;
    CHECK(code_of(store.put(a, 2, {})) == errc::store_failed);
    CHECK(store.last_error() == "PostgreSQL database postgres: the database does not answer in time");
    CHECK(code_of(fetch(store, a)) == errc::store_failed);  // nor does a new connection
    CHECK(code_of(store.status()) == errc::store_failed);
    wire.silent = false;
    CHECK(fetch(store, a) == found{1, {}});
}

TEST_CASE("postgres_store connects again after the connection was lost between calls, with nothing in doubt",
          "[postgres][store]") {
    const schema s;
    postgres_store store(s.connection());
    REQUIRE(store.put(a, 1, {}));
    s.run("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'paychan'");
    CHECK(store.put(a, 2, {}));
    CHECK(fetch(store, a) == found{2, {}});
}

TEST_CASE("postgres_store reports a write whose connection is cut, and does not repeat it", "[postgres][store]") {
    const schema s;
    const temporary_folder folder;
    wire_cutter wire(folder.path.string());
    postgres_store store(wire.connection("options='-c search_path=" + s.name + "'"));
    REQUIRE(store.put(a, 1, bytes{1}));
    REQUIRE(store.put(b, 1, bytes{1}));
    const std::array batch{put_request{a, 2, {}}, put_request{b, 2, {}}};
    const bool one = GENERATE(true, false);
    const auto what = GENERATE(cut::request, cut::answer);
    const int at = one ? 1 : GENERATE(1, 2);  // of a batch: its statements, or its COMMIT
    CAPTURE(one, what == cut::request, at);
    wire.requests = 0;
    wire.cut_at(what, at);
    const auto outcome = one ? store.put(a, 2, {}) : store.put_many(batch);
    CHECK(code_of(outcome) == errc::store_failed);
    CHECK(wire.requests == at);
    CHECK(store.last_error().starts_with("PostgreSQL database postgres: the connection to the database is lost"));

    // It is committed only if the last request arrived; and the next call connects again and tells.
    const bool committed = what == cut::answer && (one || at == 2);
    if (!committed)
        s.run(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = "
            "'paychan' AND state LIKE 'idle in transaction%'");
    const auto in_a = fetch(store, a);
    REQUIRE(in_a);
    CHECK(in_a->version == (committed ? 2 : 1));
    if (!one) CHECK(fetch(store, b)->version == in_a->version);
    if (committed)
        CHECK(code_of(one ? store.put(a, 2, {}) : store.put_many(batch)) == errc::stale_record);
    else
        CHECK((one ? store.put(a, 2, {}) : store.put_many(batch)));
}

TEST_CASE("postgres_store whose rows were edited by hand into something else is corrupt, not trusted",
          "[postgres][store]") {
    const schema s;
    postgres_store store(s.connection());
    REQUIRE(store.put(a, 1, bytes{1}));
    SECTION("a name") {
        s.run("ALTER TABLE paychan_record DROP CONSTRAINT paychan_record_channel_check");
        s.run("UPDATE paychan_record SET channel = '\\x01' WHERE kind = 4");
        CHECK(code_of(store.list(kind, [](const record_id&) {})) == errc::corrupt_record);
    }
    SECTION("a version") {
        s.run("ALTER TABLE paychan_record DROP CONSTRAINT paychan_record_version_check");
        s.run("UPDATE paychan_record SET version = -1 WHERE kind = 4");
        CHECK(code_of(fetch(store, a)) == errc::corrupt_record);
    }
    SECTION("the table is gone") {
        s.run("DROP TABLE paychan_record");
        CHECK(code_of(fetch(store, a)) == errc::corrupt_record);
        CHECK(code_of(store.put(a, 2, {})) == errc::corrupt_record);
        // Nor is it made again, as if nothing had ever been stored.
        s.run("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'paychan'");
        CHECK(code_of(store.put(a, 2, {})) == errc::store_failed);
        CHECK(code_of(fetch(store, a)) == errc::store_failed);
        CHECK(code_of(store.status()) == errc::not_found);
    }
}

TEST_CASE("postgres_store reports a commit that did not reach the replica that it waits for", "[postgres][store]") {
    const schema s;
    postgres_store store(s.connection());
    child canceller([&](int) {
        PGconn* const c = PQconnectdb(s.connection().c_str());
        for (;;) {
            PGresult* const r =
                PQexec(c, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
            if (PQntuples(r) > 0 || PQresultStatus(r) != PGRES_TUPLES_OK) break;
            PQclear(r);
            ::usleep(1000);
        }
        ::_exit(0);  // with the connection: nothing is cleared away twice
    });
    s.run("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    s.run("SELECT pg_reload_conf()");
    result<void> outcome;
    std::uint64_t v = 0;
    while (outcome && v < 100'000) outcome = store.put(a, ++v, {});  // soon it has heard of the setting
    s.run("ALTER SYSTEM RESET synchronous_standby_names");
    s.run("SELECT pg_reload_conf()");
    CHECK(code_of(outcome) == errc::store_failed);
    CHECK(store.last_error() ==
          "PostgreSQL database postgres: the database warns of what it has written: it may be lost: "
          "canceling wait for synchronous replication due to user request");
    CHECK(fetch(store, a)->version == v);
}

TEST_CASE("postgres_store never quotes a record in its words", "[postgres][store]") {
    const schema s;
    postgres_store store(s.connection());
    s.run("ALTER TABLE paychan_record ADD CHECK (octet_length(bytes) < 10)");
    CHECK(code_of(store.put(a, 1, bytes(50, 0x5a))) == errc::corrupt_record);
    CHECK(store.last_error().find("5a5a") == std::string::npos);
}
