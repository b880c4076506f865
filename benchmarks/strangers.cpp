// What strangers cost those who pay: honest payments timed without them, beside them, and without them again.
// A server, its clients and the strangers are a process each, on real sockets of 127.0.0.1: see usage.  Times are of the
// clients, from send to ack; a payment that the one before made late counts from when it was due.
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cinttypes>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <deque>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "paychan/asio/keep_turning.hpp"
#include "paychan/asio/tcp_client.hpp"
#include "paychan/asio/tcp_server.hpp"
#include "paychan/keeper/payee.hpp"
#include "paychan/memory/chain_follower.hpp"
#include "paychan/memory/clock.hpp"
#include "paychan/memory/keys.hpp"
#include "paychan/memory/store.hpp"
#include "paychan/memory/wallet.hpp"
#include "stranger_crowd.hpp"

namespace {

using namespace paychan;
using namespace std::chrono_literals;
using schemes = contracts<cltv_p2sh, multisig_refund>;
using steady = std::chrono::steady_clock;
namespace net = boost::asio;

constexpr const char* usage =
    "usage: benchmark_strangers [--payers N] [--rate N] [--strangers N] [--seconds S] [--limit S] [--json]\n"
    "    --payers     honest clients, 100 unless said otherwise\n"
    "    --rate       payments a second of each, 10\n"
    "    --strangers  10,000: a third silent; a third sends one byte a second; a third sends garbage once a second,\n"
    "                 and connects again when it is closed for that\n"
    "    --seconds    [s] of each of the three phases, 20; below 1: a short run with 10 payers and 300 strangers\n"
    "    --limit      [s] until the server ends who has sent no whole message: the library's 60; with less,\n"
    "                 thousands are ended together in each phase, and come again\n"
    "    --json       one object on standard output; progress is on standard error\n"
    "Other programs on the machine are measured too.  They are kept out by: sudo chrt -r 2 benchmark_strangers\n";

[[noreturn]] void stop(const std::string& what) {
    std::fprintf(stderr, "benchmark_strangers: %s\n", what.c_str());
    std::exit(1);
}

template <class T>
T must(result<T> r) {
    if (!r) stop(std::string(r.error().text));
    return std::move(*r);
}

struct options {
    std::size_t payers = 100;
    double rate = 10;  // [1/s]
    std::size_t strangers = 10'000;
    double seconds = 20;
    double limit = 0;  // [s] 0: the library's
    bool json = false;
};

/// That the server has for connections: some are on their way out.
std::size_t places(const options& o) { return o.payers + o.strangers + o.strangers / 10 + 10; }

options read(int argc, char** argv) {
    options o;
    for (int i = 1; i < argc; ++i) {
        const std::string name = argv[i];
        if (name == "--help") std::fputs(usage, stdout), std::exit(0);
        if (name == "--json") {
            o.json = true;
            continue;
        }
        const double value = i + 1 < argc ? std::atof(argv[++i]) : 0;
        if (!(value > 0)) std::fputs(usage, stderr), std::exit(2);
        if (name == "--seconds") {
            o.seconds = value;
            if (value < 1) o.payers = 10, o.strangers = 300;
        } else if (name == "--payers") {
            o.payers = static_cast<std::size_t>(value);
        } else if (name == "--rate") {
            o.rate = value;
        } else if (name == "--strangers") {
            o.strangers = static_cast<std::size_t>(value);
        } else if (name == "--limit") {
            o.limit = value;
        } else {
            std::fputs(usage, stderr), std::exit(2);
        }
    }
    return o;
}

// ---- the server

/// What the processes tell each other.
struct board {
    std::atomic<std::uint16_t> port{0};
    std::atomic<std::uint64_t> connections{0};
    std::atomic<std::uint64_t> turned_away{0};
    crowd_board crowd;
};

struct shop {
    board& told;
    void on_event(const event&) {}
    void on_turned_away(const asio::tcp::endpoint&, std::string_view) { ++told.turned_away; }
};

[[noreturn]] void serve(const options& o, memory_chain& chain, board& told) {
    net::io_context io;
    const std::vector<std::uint8_t> seed(32, 2);
    memory_store store;
    auto keys = must(seed_keys<memory_store>::open(seed, network::regtest, store));
    auto wallet = must(seed_wallet::open(seed, network::regtest, funding_style::segwit, [&] { return keys.count(); }));
    chain_follower follower(chain);
    manual_clock clock(chain.now());
    shop app{told};
    payee side(schemes{}, store, keys, wallet, follower, clock, app);
    if (const auto opened = side.open(network::regtest); !opened) stop("the server's store does not open");
    asio::tcp_server_settings settings;
    settings.max_connections = places(o);
    settings.max_per_address = std::max(settings.max_per_address, o.payers);
    if (o.limit > 0) settings.limit = std::chrono::milliseconds(static_cast<std::int64_t>(o.limit * 1'000));
    asio::tcp_server server(io.get_executor(), {net::ip::address_v4::loopback(), 0}, schemes{}, clock, keys, store,
                            wallet, follower, side, settings);
    side.join(server);
    asio::keep_turning turning(io.get_executor(), side);
    net::steady_timer timer(io);
    const std::function<void()> look = [&] {
        while (follower.deliver(server, side) > 0) continue;
        told.connections = server.connections();
        told.port = server.port();
        timer.expires_after(10ms);
        timer.async_wait([&](const boost::system::error_code&) { look(); });
    };
    look();
    io.run();
    std::exit(0);
}

// ---- those who pay

/// Pays at an even pace, and says how long each ack took.
class payer {
public:
    using client_type =
        asio::tcp_client<schemes, manual_clock, memory_keys, memory_store, seed_wallet, chain_follower, ignore_events>;

    payer(net::io_context& io, std::unique_ptr<client_type> client, steady::duration pace,
          std::vector<double>*& samples)
        : client_(std::move(client)), timer_(io), pace_(pace), samples_(samples) {}

    [[nodiscard]] client_type& client() { return *client_; }

    void start(steady::time_point first) {
        due_ = first;
        wait();
    }

private:
    void wait() {
        const auto now = steady::now();
        if (due_ <= now) return pay(due_);
        timer_.expires_at(due_);
        timer_.async_wait([this](const boost::system::error_code& e) {
            if (!e) pay(steady::now());
        });
    }

    void pay(steady::time_point begun) {
        due_ += pace_;
        client_->async_pay(satoshi{1}, [this, begun](const result<asio::receipt>& r) {
            if (!r) stop("an honest payment failed: " + std::string(r.error().text));
            if (samples_ != nullptr)
                samples_->push_back(std::chrono::duration<double, std::micro>(steady::now() - begun).count());
            wait();
        });
    }

    std::unique_ptr<client_type> client_;
    net::steady_timer timer_;
    steady::duration pace_;
    steady::time_point due_{};
    std::vector<double>*& samples_;  // of the phase; null between two
};

// ---- what is measured

/// [s] of CPU that a process has taken.
double cpu_of(pid_t process) {
    clockid_t id{};
    timespec t{};
    if (::clock_getcpuclockid(process, &id) != 0 || ::clock_gettime(id, &t) != 0) return 0;
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

/// [bytes] resident
double memory_of(pid_t process) {
    std::ifstream in("/proc/" + std::to_string(process) + "/statm");
    double all = 0, resident = 0;
    in >> all >> resident;
    return resident * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

struct phase {
    const char* name;
    const char* key;
    std::vector<double> us{};       // each payment, sorted
    double server_cpu = 0;          // [s/s]
    double strangers_cpu = 0;       // [s/s]
    double memory = 0;              // [bytes] of the server
    std::uint64_t strangers = 0;    // connected at its end
    std::uint64_t connects = 0;     // of strangers meanwhile
    std::uint64_t failed = 0;       // connects that this machine refused
    std::uint64_t turned_away = 0;  // meanwhile
};

double quantile(const std::vector<double>& sorted, double q) {
    if (sorted.empty()) stop("no payment was made: give it more --seconds");
    return sorted[std::min(sorted.size() - 1, static_cast<std::size_t>(q * static_cast<double>(sorted.size())))];
}

/// `without` has the payments of both phases without strangers.
double ratio_of_p99(const std::vector<phase>& phases) {
    std::vector<double> without = phases[0].us;
    without.insert(without.end(), phases[2].us.begin(), phases[2].us.end());
    std::ranges::sort(without);
    return quantile(phases[1].us, 0.99) / quantile(without, 0.99);
}

/// [bytes] of the server's memory
double each_stranger(const std::vector<phase>& phases) {
    const double strangers = static_cast<double>(std::max<std::uint64_t>(phases[1].strangers, 1));
    return std::max(0.0, phases[1].memory - phases[0].memory) / strangers;
}

void print_json(const options& o, const std::vector<phase>& phases) {
    std::printf("{\"commit\":\"%s\",\"payers\":%zu,\"rate\":%g,\"strangers\":%zu,\"seconds\":%g",
                PAYCHAN_BENCHMARK_COMMIT, o.payers, o.rate, o.strangers, o.seconds);
    for (const phase& p : phases)
        std::printf(
            ",\"%s\":{\"payments\":%zu,\"p50_us\":%.0f,\"p99_us\":%.0f,\"max_us\":%.0f,\"server_cpu\":%.3f,"
            "\"strangers_cpu\":%.3f,\"strangers\":%" PRIu64 ",\"connects\":%" PRIu64 ",\"turned_away\":%" PRIu64
            ",\"failed\":%" PRIu64 "}",
            p.key, p.us.size(), quantile(p.us, 0.5), quantile(p.us, 0.99), p.us.back(), p.server_cpu, p.strangers_cpu,
            p.strangers, p.connects, p.turned_away, p.failed);
    std::printf(",\"p99_ratio\":%.2f,\"bytes_per_stranger\":%.0f}\n", ratio_of_p99(phases), each_stranger(phases));
}

void print(const options& o, const std::vector<phase>& phases) {
    std::printf(
        "compiler %s, flags %s, commit %s\n%zu payers, %g payments a second each; %zu strangers of %zu addresses\n\n",
        PAYCHAN_BENCHMARK_COMPILER, PAYCHAN_BENCHMARK_FLAGS, PAYCHAN_BENCHMARK_COMMIT, o.payers, o.rate, o.strangers,
        o.strangers / stranger_crowd::per_address + 1);
    std::printf("%-20s%10s%10s%10s%10s%14s%16s\n", "", "payments", "p50 us", "p99 us", "max us", "CPU: server",
                "strangers");
    for (const phase& p : phases)
        std::printf("%-20s%10zu%10.0f%10.0f%10.0f%13.0f%%%15.0f%%\n", p.name, p.us.size(), quantile(p.us, 0.5),
                    quantile(p.us, 0.99), p.us.back(), p.server_cpu * 100, p.strangers_cpu * 100);
    const phase& beside = phases[1];
    std::printf(
        "\np99 beside strangers is %.2f times that without (of both phases)\n"
        "%" PRIu64
        " strangers at the end, %.1f kB of the server's memory each; %.0f connected again each second; %" PRIu64
        " turned away, %" PRIu64 " could not connect\n",
        ratio_of_p99(phases), beside.strangers, each_stranger(phases) / 1'000,
        static_cast<double>(beside.connects) / o.seconds, beside.turned_away, beside.failed);
}

// ---- the run

/// A process that ends with this one.
template <class F>
pid_t in_a_process(F f) {
    const pid_t parent = ::getpid();
    const pid_t child = ::fork();
    if (child < 0) stop("no process can be made");
    if (child > 0) return child;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() == parent) f();
    std::_Exit(1);
}

/// Strangers have machines of their own: what they do here must not take a core from the server or its clients.
void yield_to_others() {
    sched_param p{};
    if (::sched_getscheduler(0) == SCHED_RR && ::sched_getparam(0, &p) == 0 && p.sched_priority > 1) {
        --p.sched_priority;
        (void)::sched_setparam(0, &p);
    } else {
        (void)::nice(10);
    }
}

steady::duration seconds(double s) {
    return std::chrono::duration_cast<steady::duration>(std::chrono::duration<double>(s));
}

class run {
public:
    run(const options& o, memory_chain& chain, seed_wallet wallet)
        : options_(o), shared_(share()), wallet_(std::move(wallet)), follower_(chain), clock_(chain.now()) {
        server_ = in_a_process([&] { serve(o, chain, shared_); });
        while (shared_.port == 0)
            if (::usleep(1'000), ::waitpid(server_, nullptr, WNOHANG) != 0) stop("the server did not start");
        crowd_ = in_a_process([&] {
            yield_to_others();
            stranger_crowd(o.strangers, shared_.port, shared_.crowd).run();
        });
        while (follower_.deliver(wallet_) > 0) continue;
    }
    run(const run&) = delete;
    run& operator=(const run&) = delete;
    ~run() {
        for (const pid_t child : {crowd_, server_}) ::kill(child, SIGKILL), ::waitpid(child, nullptr, 0);
    }

    void open_channels() {
        const auto pace = seconds(1 / options_.rate);
        for (std::size_t i = 0; i < options_.payers; ++i) {
            auto client = std::make_unique<payer::client_type>(io_.get_executor(), schemes{}, clock_, keys_, store_,
                                                               wallet_, follower_, events_);
            auto& c = payers_.emplace_back(io_, std::move(client), pace, samples_).client();
            bool opened = false;
            c.async_open("127.0.0.1", std::to_string(shared_.port), satoshi{10'000'000}, {},
                         [&](const result<channel_record>& r) { must(r), opened = true; });
            while (!opened) io_.restart(), io_.run_one_for(10ms), follower_.deliver(wallet_, c);
            std::fprintf(stderr, "\r%zu of %zu payers have a channel", i + 1, options_.payers);
        }
        const auto first = steady::now();
        for (std::size_t i = 0; i < options_.payers; ++i) payers_[i].start(first + pace * i / options_.payers);
    }

    void measure(phase& p, bool with_strangers) {
        shared_.crowd.wanted = with_strangers;
        await_strangers(with_strangers);
        pass(std::min(2.0, options_.seconds));
        const double server_before = cpu_of(server_), crowd_before = cpu_of(crowd_);
        p.connects = shared_.crowd.connects, p.failed = shared_.crowd.failures, p.turned_away = shared_.turned_away;
        const auto begun = steady::now();
        double passed = 0;
        samples_ = &p.us;
        while (passed < options_.seconds) {
            pass(std::min(1.0, options_.seconds - passed));
            passed = std::chrono::duration<double>(steady::now() - begun).count();
            std::fprintf(stderr, "\r%s: %.0f of %.0f s, %zu payments, %" PRIu64 " strangers    ", p.name, passed,
                         options_.seconds, p.us.size(), strangers());
        }
        samples_ = nullptr;
        p.server_cpu = (cpu_of(server_) - server_before) / passed;
        p.strangers_cpu = (cpu_of(crowd_) - crowd_before) / passed;
        p.memory = memory_of(server_);
        p.strangers = strangers();
        p.connects = shared_.crowd.connects - p.connects;
        p.failed = shared_.crowd.failures - p.failed;
        p.turned_away = shared_.turned_away - p.turned_away;
        std::ranges::sort(p.us);
        std::fprintf(stderr, "\r%79s\r", "");
    }

private:
    static board& share() {
        void* const memory = ::mmap(nullptr, sizeof(board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) stop("no memory can be shared");
        return *new (memory) board;
    }

    void pass(double time) { io_.restart(), io_.run_for(seconds(time)); }

    /// That the server has.
    [[nodiscard]] std::uint64_t strangers() const {
        const std::uint64_t all = shared_.connections;
        return all - std::min<std::uint64_t>(all, options_.payers);
    }

    /// Until all but one in a hundred are there, for some are always on their way; or until all are gone.
    void await_strangers(bool wanted) {
        const auto end = steady::now() + 60s;
        while (wanted ? strangers() < options_.strangers * 99 / 100 : strangers() > 0) {
            pass(0.01);
            if (steady::now() < end) continue;
            std::fprintf(stderr, "\nnot all strangers %s in a minute\n", wanted ? "came" : "went");
            return;
        }
    }

    const options& options_;
    board& shared_;
    pid_t server_ = 0;
    pid_t crowd_ = 0;
    seed_wallet wallet_;
    chain_follower follower_;
    manual_clock clock_;
    memory_keys keys_ = memory_keys::testing_from(1);
    memory_store store_;
    ignore_events events_;
    net::io_context io_;
    std::vector<double>* samples_ = nullptr;
    std::deque<payer> payers_;
};

}  // namespace

int main(int argc, char** argv) {
    options o = read(argc, argv);
    asio::raise_descriptor_limit();
    const std::size_t room = asio::connections_that_fit(places(o), 64);
    if (room < places(o)) {
        if (room < o.payers + 20) stop("the limit of open files (ulimit -n) leaves no room for strangers");
        o.strangers = (room - o.payers - 10) * 10 / 11;
        std::fprintf(stderr, "only %zu strangers: the limit of open files (ulimit -n) allows no more\n", o.strangers);
    }
    // One chain, of which each process gets a copy by fork.
    memory_chain chain;
    auto wallet = must(seed_wallet::open(std::vector<std::uint8_t>(32, 1), network::regtest));
    chain.mine(static_cast<int>(o.payers), must(wallet.payout_script()).view());
    chain.mine(100, p2wpkh_script(bytes20{}).view());

    std::vector<phase> phases{
        {"without strangers", "without"}, {"beside strangers", "beside"}, {"without again", "again"}};
    run r(o, chain, std::move(wallet));
    r.open_channels();
    for (phase& p : phases) r.measure(p, &p == &phases[1]);
    o.json ? print_json(o, phases) : print(o, phases);
    return 0;
}
