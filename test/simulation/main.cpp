// The simulation's command line: plays histories, and shows the shortest form of one that breaks a rule.
//
// What this is.  A history is a list of steps that follows from a seed (schedule.cpp).  It is played (play.cpp) by up to
// two server and three client processes; then the faults end, time goes on, and every channel must end with the right money.
// Real are: client.hpp, server.hpp, the monitors, the keeper and all below them, memory/chain (a node that
// checks scripts, and mines) with memory/chain_follower, memory/store or memory/file_store, memory/export_file.  Made here
// are the processes around them (client_process, server_process: an application, put together as asio/ does it), the
// policies that can fail or be a process' end (parts), the wires and the disks (world, file_system).
// An observer sees all of it (truth.hpp), and checks the rules (tally.hpp) when something happens and after each step.
//
// A new fault: an `act` in schedule.hpp, its weight, numbers and words in schedule.cpp, what it does in play.cpp, and a
// `fault` in tally.hpp that counts it.  A new rule: in tally.hpp, and world::check where it could be broken.  A header's
// new call of a policy is a new effect: see strike.hpp.  A loss to be caught: mutant.hpp and mutants/mutate.cmake.
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "simulation/mutant.hpp"
#include "simulation/shrink.hpp"

using namespace simulation;

namespace {

constexpr const char* usage_text =
    R"(Usage: simulation [--seed N] [--histories N] [--jobs N] [--trace] [--keep LIST] [--json] [--mutant NAME] [--help]

Clients, servers, chain, disks, network and clock in one process: plays random histories with random faults, and checks
after every step that no money is lost.  The same seed does the same, bit for bit, on any machine.
Links are as TCP is: frames wait until they are delivered, and all that is late is lost with the connection; frames that
are repeated or changed are somebody's on the wire.  In some histories the disks are folders under the real file_store:
a crash at any of its operations is a power cut that takes, or tears, what was not synced.

  --seed N       the first history's seed (default 1); the others follow
  --histories N  how many (default 2000)
  --jobs N       processes that share the work (default 1); the result does not depend on it
  --trace        tell every step in words
  --keep LIST    play only these steps, for example 0,3,17: a shortened history prints how to replay itself
  --json         the totals as one JSON object
  --mutant NAME  play with one known loss put back into the library, until it is caught.  The status is 1 when it is
                 not.  NAME is `all`, or one of:
)";

struct options {
    std::uint64_t seed = 1;
    std::uint64_t histories = 2'000;
    std::uint32_t jobs = 1;
    bool trace = false;
    bool json = false;
    std::string keep;
    std::string mutant;
};

[[noreturn]] void usage_error(const std::string& text) {
    std::fprintf(stderr, "simulation: %s; see simulation --help\n", text.c_str());
    std::exit(2);
}

std::uint64_t number_of(const std::string& text, const char* option) {
    if (text.empty() || text.size() > 18 || text.find_first_not_of("0123456789") != std::string::npos)
        usage_error(std::string(option) + " wants a number, not '" + text + "'");
    return std::stoull(text);
}

options parse(int argc, char** argv) {
    options o;
    for (int i = 1; i < argc; ++i) {
        const std::string a = argv[i];
        const auto value = [&]() -> std::string {
            if (i + 1 == argc) usage_error(a + " wants a value");
            return argv[++i];
        };
        if (a == "--seed")
            o.seed = number_of(value(), "--seed");
        else if (a == "--histories")
            o.histories = number_of(value(), "--histories");
        else if (a == "--jobs")
            o.jobs = static_cast<std::uint32_t>(number_of(value(), "--jobs"));
        else if (a == "--trace")
            o.trace = true;
        else if (a == "--json")
            o.json = true;
        else if (a == "--keep")
            o.keep = value();
        else if (a == "--mutant")
            o.mutant = value();
        else if (a == "--help" || a == "-h") {
            std::fputs(usage_text, stdout);
            for (const mutant& m : mutants)
                std::printf("      %-24s %.*s\n", std::string(m.name).c_str(), static_cast<int>(m.what.size()),
                            m.what.data());
            std::exit(0);
        } else {
            usage_error("no option " + a);
        }
    }
    if (o.jobs < 1 || o.jobs > 64) usage_error("--jobs wants a number from 1 to 64");
    return o;
}

inline constexpr std::uint64_t none_broken = ~std::uint64_t{0};

/// What one worker found.
struct findings {
    findings() { count.digest = 0; }  // a sum over histories
    tally count;
    std::uint64_t broken_seed = none_broken;
};

history history_of(std::uint64_t seed, const std::string& keep) {
    history h = make_history(seed);
    if (keep.empty()) return h;
    std::vector<simulation::step> kept;
    for (std::size_t at = 0; at < keep.size();) {
        const std::size_t comma = std::min(keep.find(',', at), keep.size());
        const auto n = number_of(keep.substr(at, comma - at), "--keep");
        if (n >= h.steps.size()) usage_error("--keep: this history has " + std::to_string(h.steps.size()) + " steps");
        kept.push_back(h.steps[n]);
        at = comma + 1;
    }
    h.steps = kept;
    return h;
}

/// Every `jobs`-th history from `from` on, until one breaks a rule.
findings work(const options& o, std::uint32_t from) {
    findings out;
    for (std::uint64_t n = from; n < o.histories; n += o.jobs) {
        tally one;
        const auto result = play(history_of(o.seed + n, o.keep), one, o.trace ? tell::everything : tell::nothing);
        out.count.add(one);
        if (o.trace)
            for (const std::string& line : result.trace) std::puts(line.c_str());
        if (result.broken) {
            out.broken_seed = o.seed + n;
            break;
        }
    }
    return out;
}

findings work_in_parallel(const options& o) {
    if (o.jobs == 1) return work(o, 0);
    std::vector<int> pipes;
    for (std::uint32_t j = 0; j < o.jobs; ++j) {
        int ends[2];
        if (pipe(ends) != 0) usage_error("no pipe to a worker");
        const pid_t child = fork();
        if (child < 0) usage_error("no worker can be started");
        if (child == 0) {
            close(ends[0]);
            const findings f = work(o, j);
            const bool written = write(ends[1], &f, sizeof f) == static_cast<ssize_t>(sizeof f);
            _exit(written ? 0 : 1);
        }
        close(ends[1]);
        pipes.push_back(ends[0]);
    }
    findings all;
    for (const int p : pipes) {
        findings f;
        std::size_t got = 0;
        while (got < sizeof f) {
            const ssize_t n = read(p, reinterpret_cast<char*>(&f) + got, sizeof f - got);
            if (n <= 0) {
                std::fputs("simulation: a worker crashed\n", stderr);
                std::exit(3);
            }
            got += static_cast<std::size_t>(n);
        }
        close(p);
        all.count.add(f.count);
        all.broken_seed = std::min(all.broken_seed, f.broken_seed);
    }
    while (wait(nullptr) > 0) {
    }
    return all;
}

/// Prints the shortest form of a history that breaks a rule, and the command that replays it.
void show(const options& o, const char* program, std::uint64_t seed) {
    const history whole = history_of(seed, o.keep);
    tally ignored;
    const auto result = play(whole, ignored, tell::nothing);
    if (!result.broken) {
        std::printf("seed %llu broke a rule and does not any more: the simulation is not deterministic\n",
                    static_cast<unsigned long long>(seed));
        return;
    }
    std::vector<std::size_t> numbers;
    const history small = shrink(whole, result.broken->broken, numbers);
    const auto again = play(small, ignored, tell::everything);
    std::printf("seed %llu breaks the rule \"%s\"; shortened from %zu steps to %zu:\n",
                static_cast<unsigned long long>(seed),
                std::string(rule_names[static_cast<std::size_t>(result.broken->broken)]).c_str(), whole.steps.size(),
                small.steps.size());
    for (const std::string& line : again.trace) std::printf("  %s\n", line.c_str());
    std::printf("  => %s\n", again.broken ? again.broken->text.c_str() : "(not broken any more)");
    std::string keep;
    for (const std::size_t n : numbers) keep += (keep.empty() ? "" : ",") + std::to_string(n);
    const std::string mutated = o.mutant.empty() ? "" : " --mutant " + o.mutant;
    std::printf("replay: %s --seed %llu --histories 1 --trace --keep %s%s\n", program,
                static_cast<unsigned long long>(seed), keep.empty() ? "0" : keep.c_str(), mutated.c_str());
}

void print_totals(const options& o, const tally& t, double seconds) {
    const auto u = [](std::uint64_t n) { return static_cast<unsigned long long>(n); };
    if (o.json) {
        std::printf(
            "{\"histories\":%llu,\"steps\":%llu,\"channels\":%llu,\"payments\":%llu,\"settled\":%llu,"
            "\"refunded\":%llu,\"rescues\":%llu,\"seconds\":%.1f,\"digest\":\"%016llx\",\"faults\":{",
            u(t.histories), u(t.steps), u(t.channels), u(t.payments), u(t.settled), u(t.refunded), u(t.rescues),
            seconds, u(t.digest));
        for (std::size_t i = 0; i < fault_names.size(); ++i)
            std::printf("%s\"%s\":%llu", i ? "," : "", std::string(fault_names[i]).c_str(), u(t.faults[i]));
        std::printf("},\"checked\":{");
        for (std::size_t i = 0; i < rule_names.size(); ++i)
            std::printf("%s\"%s\":%llu", i ? "," : "", std::string(rule_names[i]).c_str(), u(t.checked[i]));
        std::puts("}}");
        return;
    }
    std::printf(
        "%llu histories, %llu steps, %llu channels (%llu settled, %llu refunded), %llu payments acked, in %.1f s\n",
        u(t.histories), u(t.steps), u(t.channels), u(t.settled), u(t.refunded), u(t.payments), seconds);
    std::uint64_t all = 0;
    for (const auto n : t.faults) all += n;
    std::printf("%llu faults:", u(all));
    for (std::size_t i = 0; i < fault_names.size(); ++i)
        std::printf("%s %s %llu", i ? "," : "", std::string(fault_names[i]).c_str(), u(t.faults[i]));
    std::uint64_t checks = 0;
    for (const auto n : t.checked) checks += n;
    std::printf("\n%llu checks:", u(checks));
    for (std::size_t i = 0; i < rule_names.size(); ++i)
        std::printf("%s %s %llu", i ? "," : "", std::string(rule_names[i]).c_str(), u(t.checked[i]));
    std::printf("\n%llu rescues near a refund's time; digest %016llx\n", u(t.rescues), u(t.digest));
}

/// True when the mutant that is chosen breaks a rule.
bool catches(const options& o, const char* program) {
    const auto begun = std::chrono::steady_clock::now();
    const findings f = work_in_parallel(o);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
    if (f.broken_seed == none_broken) {
        std::printf("%s: not caught in %llu histories, %.1f s\n", o.mutant.c_str(),
                    static_cast<unsigned long long>(f.count.histories), seconds);
        return false;
    }
    std::printf("%s: caught in history %llu, after %.1f s\n", o.mutant.c_str(),
                static_cast<unsigned long long>(f.broken_seed - o.seed + 1), seconds);
    show(o, program, f.broken_seed);
    return true;
}

int run_mutants(options o, char** argv) {
    if (!has_mutants()) {
        // The losses are in a program of their own: the library that this one is built from has no switches.
        const auto other = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "simulation_mutants";
        execv(other.c_str(), argv);
        usage_error("the mutants are in " + other.string() + ", which cannot be started");
    }
    const bool all = o.mutant == "all";
    bool known = false;
    bool caught = true;
    for (const mutant& m : mutants) {
        if (!all && o.mutant != m.name) continue;
        known = true;
        o.mutant = m.name;
        choose_mutant(m.name);
        caught = catches(o, argv[0]) && caught;
        std::fflush(stdout);
        if (!all) break;
    }
    if (!known) usage_error("no mutant " + o.mutant);
    return caught ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    const options o = parse(argc, argv);
    if (!o.mutant.empty()) return run_mutants(o, argv);
    const auto begun = std::chrono::steady_clock::now();
    const findings f = work_in_parallel(o);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
    std::fflush(stdout);
    print_totals(o, f.count, seconds);
    if (f.broken_seed == none_broken) return 0;
    show(o, argv[0], f.broken_seed);
    return 1;
}
