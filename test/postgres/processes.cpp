// postgres_store between processes: two servers, a server that is killed, and a database that crashes.
#include <random>

#include "../support/writer_process.hpp"
#include "support.hpp"

using namespace paychan;
using namespace paychan::postgres_test;

TEST_CASE("postgres_store has every put that returned, and no half of a batch, after kill -9", "[postgres][store]") {
    const schema s;
    const auto open = [&] { return postgres_store(s.connection()); };
    const twin_records twins{a, b, content_of};
    std::uint64_t last = 0;
    for (int round = 0; round < 6; ++round) {
        child writer([&](int channel) { twins.write_on(open, last, channel); });
        const auto told = twins.end_after(writer, 5 + 7 * round, [&] { ::kill(writer.pid, SIGKILL); });
        CHECK(writer.end() == -1);

        auto store = open();
        last = twins.check_whole(store, told);
    }
}

TEST_CASE("postgres_store has every put that returned after the database crashed, and goes on", "[postgres][store]") {
    const schema s;
    const auto open = [&] { return postgres_store(s.connection()); };
    const twin_records twins{a, b, content_of};
    database& db = database::get();
    postgres_store survivor(s.connection(), store_access::create, 2000);
    std::uint64_t last = 0;
    for (int round = 0; round < 3; ++round) {
        child writer([&](int channel) { twins.write_on(open, last, channel); });
        const auto told = twins.end_after(writer, 10 + 7 * round, [&] { db.stop(); });
        CHECK(writer.end() == 2);  // its put failed
        CHECK(code_of(survivor.put(a, last + 1000, {})) == errc::store_failed);
        CHECK(survivor.last_error().starts_with("PostgreSQL database postgres: the database cannot be reached: "));
        CHECK(code_of(postgres_store(s.connection()).status()) == errc::store_failed);  // down at start
        db.start();
        last = twins.check_whole(survivor, told);
        CHECK(survivor.put(id_of(record_kind::server_settlement, 3), last, {}));
    }
}

TEST_CASE("two servers on one postgres_store: each version of a record is written by one of them",
          "[postgres][store]") {
    const schema s;
    REQUIRE(postgres_store(s.connection()).put(a, 0, {}));
    const auto contend = [&](std::uint8_t mark) {
        return [&, mark](int channel) {
            postgres_store store(s.connection());
            for (std::uint64_t v = 1; v <= 100; ++v) {
                const auto outcome = store.put(a, v, bytes{mark});
                if (!outcome && outcome.error().code != errc::stale_record) ::_exit(1);
                tell(channel, outcome.has_value());
            }
        };
    };
    child first(contend(1)), second(contend(2));
    for (int v = 1; v <= 100; ++v) {
        const auto one = first.next<bool>(), two = second.next<bool>();
        REQUIRE(one);
        REQUIRE(two);
        CHECK_FALSE((*one && *two));
    }
    CHECK(first.end() == 0);
    CHECK(second.end() == 0);
    postgres_store store(s.connection());
    CHECK(fetch(store, a)->version == 100);
}

TEST_CASE("two servers on one postgres_store do not wait for each other's locks for ever", "[postgres][store]") {
    const schema s;
    const auto contend = [&](bool forwards) {
        return [&, forwards](int) {
            postgres_store store(s.connection());
            for (std::uint64_t v = 1; v <= 100; ++v) {
                std::vector<put_request> batch;
                for (std::uint8_t i = 0; i < 10; ++i)
                    batch.push_back({id_of(kind, forwards ? i : static_cast<std::uint8_t>(9 - i)), v, {}});
                const auto outcome = store.put_many(batch);
                if (!outcome && outcome.error().code != errc::stale_record) ::_exit(1);
            }
        };
    };
    child first(contend(true)), second(contend(false));
    CHECK(first.end() == 0);
    CHECK(second.end() == 0);
    postgres_store store(s.connection());
    for (std::uint8_t i = 0; i < 10; ++i) CHECK(fetch(store, id_of(kind, i))->version == 100);
}

TEST_CASE("a server that was stopped and believed dead cannot write when it wakes up", "[postgres][store]") {
    const schema s;
    child stale([&](int channel) {
        postgres_store store(s.connection());
        tell(channel, store.put(a, 1, bytes{1}).has_value());
        ::raise(SIGSTOP);
        const auto outcome = store.put(a, 2, bytes{2});
        tell(channel, outcome ? errc{} : outcome.error().code);
    });
    REQUIRE(stale.next<bool>() == true);
    REQUIRE(::waitpid(stale.pid, nullptr, WUNTRACED) == stale.pid);
    postgres_store store(s.connection());
    CHECK(fetch(store, a) == found{1, {1}});
    REQUIRE(store.put(a, 2, bytes{3}));
    ::kill(stale.pid, SIGCONT);
    CHECK(stale.next<errc>() == errc::stale_record);
    CHECK(fetch(store, a) == found{2, {3}});
}

TEST_CASE("a server that is stopped in the middle of a batch gives up its locks", "[postgres][store]") {
    const schema s;
    REQUIRE(postgres_store(s.connection()).put(a, 1, {}));
    PGconn* const other = PQconnectdb(s.connection().c_str());  // as postgres_store sets itself up
    PQclear(PQexec(other, "SET idle_in_transaction_session_timeout = 200"));
    PQclear(PQexec(other, "BEGIN; UPDATE paychan_record SET version = 2 WHERE kind = 4"));
    postgres_store store(s.connection());
    CHECK(store.put(a, 2, {}));
    PQfinish(other);
}

TEST_CASE("postgres_store's table may be made by several processes at once", "[postgres][store]") {
    for (int round = 0; round < 4; ++round) {
        const schema s;
        std::vector<std::unique_ptr<child>> children;
        for (std::uint8_t i = 0; i < 5; ++i)
            children.push_back(std::make_unique<child>([&s, i](int channel) {
                char go = 0;
                if (::read(channel, &go, 1) != 1) ::_exit(9);
                postgres_store store(s.connection());
                if (!store.status()) ::_exit(1);
                if (!store.put(id_of(kind, i), 1, {})) ::_exit(2);
            }));
        for (const auto& c : children) tell(c->channel, 'g');
        for (const auto& c : children) CHECK(c->end() == 0);
        postgres_store store(s.connection(), store_access::existing);
        CHECK(listed(store, kind).size() == 5);
    }
}

TEST_CASE("a server that slept while another one deleted a channel cannot write it again", "[postgres][store]") {
    const schema s;
    child sleeper([&](int channel) {
        postgres_store store(s.connection());
        for (std::uint64_t v = 1; v <= 3; ++v)
            if (!store.put(a, v, {})) ::_exit(1);
        tell(channel, 'r');
        char go = 0;
        if (::read(channel, &go, 1) != 1) ::_exit(9);
        tell(channel, code_of(store.put(a, 4, {})));
        const std::array both{put_request{b, 1, {}}, put_request{a, 4, {}}};
        tell(channel, code_of(store.put_many(both)));
    });
    REQUIRE(sleeper.next<char>());
    postgres_store other(s.connection());
    REQUIRE(other.put(a, 4, {}));
    REQUIRE(other.erase(a));
    tell(sleeper.channel, 'g');
    for (int i = 0; i < 2; ++i) CHECK(sleeper.next<errc>() == errc::stale_record);
    CHECK(listed(other, kind).empty());
}
