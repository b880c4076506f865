// What the tests of postgres_store share: a PostgreSQL of our own, a schema for each test, and two records.
#pragma once

#include <pwd.h>
#include <sys/prctl.h>
#include <sys/un.h>

#include <atomic>
#include <iostream>
#include <thread>

#include "../conformance/store.hpp"
#include "../support/process.hpp"
#include "paychan/postgres/store.hpp"

namespace paychan::postgres_test {

using namespace conformance;
using namespace paychan_test;

/// Debian's PostgreSQL in a temporary folder, reached by a socket in that folder, so that no port is taken.  Made at the
/// first use, and stopped and deleted when the program ends.  It refuses to run as root, and becomes `postgres` then.
class database {
public:
    static database& get() {
        static database one;
        return one;
    }

    /// With which a client reaches it.
    [[nodiscard]] std::string connection(const std::string& more = "") const {
        return "host=" + folder_ + " port=5432 user=paychan dbname=postgres " + more;
    }
    [[nodiscard]] const std::string& folder() const { return folder_; }

    /// Runs SQL by a connection that is not the store's; the first field of its last row.
    std::string run(const std::string& sql, const std::string& more = "") const {
        PGconn* const c = PQconnectdb(connection(more).c_str());
        PGresult* const r = PQexec(c, sql.c_str());
        const auto status = PQresultStatus(r);
        const std::string words = PQerrorMessage(c);
        const std::string out = PQntuples(r) > 0 ? PQgetvalue(r, 0, 0) : "";
        PQclear(r);
        PQfinish(c);
        CAPTURE(sql, words);
        REQUIRE((status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK));
        return out;
    }

    void start() {
        pid_ = spawn({"postgres", "-D", folder_ + "/data", "-k", folder_, "-c", "listen_addresses=", "-c",
                      "max_connections=30", "-c", "shared_buffers=8MB", "-c", "log_min_messages=fatal"});
        for (int i = 0; PQping(connection().c_str()) != PQPING_OK; ++i) {
            if (i == 3000 || ::waitpid(pid_, nullptr, WNOHANG) == pid_) FAIL("PostgreSQL does not start: " + folder_);
            ::usleep(10'000);
        }
    }
    /// As a crash does: pg_ctl stop -m immediate.
    void stop() {
        if (pid_ < 0) return;
        ::kill(pid_, SIGQUIT);
        ::waitpid(pid_, nullptr, 0);
        pid_ = -1;
    }
    [[nodiscard]] pid_t pid() const { return pid_; }

    database(const database&) = delete;
    database& operator=(const database&) = delete;
    ~database() {
        if (::getpid() != owner_) return;  // a child that was forked
        stop();
        std::error_code ignored;
        fs::remove_all(folder_, ignored);
    }

private:
    database() {
        for (const auto& v : fs::directory_iterator("/usr/lib/postgresql"))
            if (fs::exists(v.path() / "bin/initdb")) programs_ = v.path() / "bin";
        std::string name = (fs::temp_directory_path() / "paychan_pg.XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
        folder_ = name;
        if (const passwd* const p = ::getuid() == 0 ? ::getpwnam("postgres") : nullptr) {
            user_ = p->pw_uid;
            group_ = p->pw_gid;
            if (::chown(folder_.c_str(), user_, group_) != 0) throw std::runtime_error("cannot give the folder away");
        }
        const pid_t made = spawn({"initdb", "-D", folder_ + "/data", "-U", "paychan", "-A", "trust", "-N", "-E", "UTF8",
                                  "--no-locale", "--no-instructions"});
        int status = 0;
        ::waitpid(made, &status, 0);
        if (status != 0) throw std::runtime_error("initdb fails: is Debian's package postgresql there?");
        start();
    }

    pid_t spawn(std::vector<std::string> arguments) const {
        const std::string program = (programs_ / arguments.front()).string();
        std::vector<char*> argv;
        for (std::string& a : arguments) argv.push_back(a.data());
        argv.push_back(nullptr);
        const pid_t parent = ::getpid();
        const pid_t pid = ::fork();
        if (pid != 0) return pid;
        if (::getuid() == 0 && (::setgid(group_) != 0 || ::setuid(user_) != 0)) ::_exit(126);
        ::prctl(PR_SET_PDEATHSIG, SIGQUIT);  // also when this program is killed
        if (::getppid() != parent || ::chdir(folder_.c_str()) != 0) ::_exit(125);
        (void)!::freopen("log", "a", stdout);
        (void)!::freopen("log", "a", stderr);
        ::setenv("LC_ALL", "C", 1);
        ::execv(program.c_str(), argv.data());
        ::_exit(127);
    }

    fs::path programs_ = "/usr/lib/postgresql";
    std::string folder_;
    uid_t user_ = 0;
    gid_t group_ = 0;
    pid_t pid_ = -1;
    pid_t owner_ = ::getpid();
};

/// A place of its own for the tables of one test.
struct schema {
    std::string name;
    schema() {
        static int count = 0;
        name = "test" + std::to_string(++count);
        run("CREATE SCHEMA " + name);
    }
    [[nodiscard]] std::string connection(const std::string& more = "") const {
        return database::get().connection("options='-c search_path=" + name + "' " + more);
    }
    std::string run(const std::string& sql) const {
        return database::get().run(sql, "options='-c search_path=" + name + "'");
    }
};

/// Stands between a store and the database, and cuts them off from each other.
class wire_cutter {
public:
    enum class cut { nothing, request, answer };

    explicit wire_cutter(const std::string& folder) : folder_(folder) {
        listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const sockaddr_un at = address(folder);
        REQUIRE(::bind(listener_, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0);
        REQUIRE(::listen(listener_, 5) == 0);
        thread_ = std::thread([this] { run(); });
    }
    ~wire_cutter() {
        end_ = true;
        thread_.join();
        ::close(listener_);
    }
    [[nodiscard]] std::string connection(const std::string& more) const {
        return "host=" + folder_ + " port=5432 user=paychan dbname=postgres " + more;
    }

    /// At the `after`-th request from now: drops it and hangs up; or hands it on, and hangs up when the answer comes.
    void cut_at(cut what, int after) {
        left_ = after;
        what_ = what;
    }
    std::atomic<int> requests{0};
    std::atomic<bool> silent{false};  ///< takes everything, and answers nothing

private:
    static sockaddr_un address(const std::string& folder) {
        sockaddr_un out{};
        out.sun_family = AF_UNIX;
        (folder + "/.s.PGSQL.5432").copy(out.sun_path, sizeof out.sun_path - 1);
        return out;
    }

    void run() {
        int client = -1, server = -1;
        bool awaited = false;  // an answer that must not arrive
        const auto hang_up = [&] {
            for (int* s : {&client, &server}) {
                if (*s >= 0) ::close(*s);
                *s = -1;
            }
            awaited = false;
        };
        while (!end_) {
            pollfd p[3] = {{listener_, POLLIN, 0}, {client, POLLIN, 0}, {server, POLLIN, 0}};
            ::poll(p, 3, 5);
            if ((p[0].revents & POLLIN) != 0) {
                hang_up();
                client = ::accept(listener_, nullptr, nullptr);
                server = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
                const sockaddr_un to = address(database::get().folder());
                if (::connect(server, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) hang_up();
                continue;
            }
            char memory[65536];
            if (client >= 0 && p[1].revents != 0) {
                const auto n = ::recv(client, memory, sizeof memory, 0);
                if (n <= 0) {
                    hang_up();
                    continue;
                }
                ++requests;
                if (silent) continue;
                const bool now = what_ != cut::nothing && --left_ == 0;
                const cut what = what_;
                if (now) what_ = cut::nothing;
                if (now && what == cut::request) {
                    hang_up();
                    continue;
                }
                awaited = awaited || now;
                (void)!::send(server, memory, static_cast<std::size_t>(n), MSG_NOSIGNAL);
            }
            if (server >= 0 && p[2].revents != 0) {
                const auto n = ::recv(server, memory, sizeof memory, 0);
                if (n <= 0 || awaited) {
                    hang_up();
                    continue;
                }
                (void)!::send(client, memory, static_cast<std::size_t>(n), MSG_NOSIGNAL);
            }
        }
        hang_up();
    }

    std::string folder_;
    int listener_ = -1;
    std::atomic<bool> end_{false};
    std::atomic<int> left_{0};
    std::atomic<cut> what_{cut::nothing};
    std::thread thread_;
};

inline constexpr auto kind = record_kind::server_channel;
inline const record_id a = id_of(kind, 1);
inline const record_id b = id_of(kind, 2);

inline bytes content_of(std::uint64_t version) {
    return bytes(300 + version % 5000, static_cast<std::uint8_t>(version));
}

}  // namespace paychan::postgres_test
