// Makes histories from seeds.
#include "simulation/schedule.hpp"

#include <array>

#include "simulation/strike.hpp"

namespace simulation {

namespace {

struct weight {
    act what;
    std::uint32_t w;
};

constexpr std::array weights{
    weight{act::connect, 150},
    weight{act::pay, 300},
    weight{act::settle, 12},
    weight{act::hang_up, 20},
    weight{act::frames, 150},
    weight{act::turn, 40},
    weight{act::backup, 8},
    weight{act::answer, 40},
    weight{act::follow, 90},
    weight{act::mine, 80},
    weight{act::pass, 40},
    weight{act::hours, 45},
    weight{act::order_settlement, 6},
    weight{act::start, 70},
    weight{act::strike, 60},
    weight{act::kill, 14},
    weight{act::disk_full, 6},
    weight{act::disk_freed, 12},
    weight{act::lose_frame, 14},
    weight{act::repeat_frame, 8},
    weight{act::change_frame, 14},
    weight{act::raise_s, 6},
    weight{act::jump, 8},
    weight{act::restore, 6},
    weight{act::node_down, 8},
    weight{act::node_syncs, 8},
    weight{act::node_up, 16},
    weight{act::node_restarts, 8},
    weight{act::prune, 6},
    weight{act::refuse, 8},
    weight{act::evict, 10},
    weight{act::reorg, 10},
    weight{act::fees, 8},
    weight{act::stranger, 24},
    weight{act::lose_disk, 6},
    weight{act::spoil_first, 4},
    weight{act::double_spend, 3},
    weight{act::bar_contract, 3},
};

act pick(random& r) {
    std::uint32_t sum = 0;
    for (const weight& w : weights) sum += w.w;
    std::uint32_t n = r.below(sum);
    for (const weight& w : weights) {
        if (n < w.w) return w.what;
        n -= w.w;
    }
    return act::frames;
}

constexpr auto any_effect = static_cast<std::uint32_t>(effect::any);

std::uint8_t server_of(const cast& c, random& r) { return static_cast<std::uint8_t>(r.below(c.servers)); }
std::uint8_t client_of(const cast& c, random& r) {
    return static_cast<std::uint8_t>(first_client + r.below(c.clients));
}
std::uint8_t process_of(const cast& c, random& r) { return r.chance(55) ? server_of(c, r) : client_of(c, r); }

step make_step(act what, const cast& c, random& r) {
    step s{what, 0, 0, 0, 0};
    switch (what) {
        case act::connect:
            s.who = client_of(c, r);
            s.a = r.below(c.servers);
            s.b = r.chance(80) ? 14 : r.below(10);
            break;
        case act::pay:
            s.who = client_of(c, r);
            s.a = r.chance(6) ? 1'000'000 : 1 + r.below(r.chance(50) ? 100 : 60'000);
            s.b = r.chance(75) ? 4 : r.below(4);
            break;
        case act::settle:
            s.who = client_of(c, r);
            s.b = r.below(5);
            break;
        case act::hang_up: s.who = client_of(c, r); break;
        case act::frames:
            s.a = 1 + r.below(16);
            s.b = r.below(8);
            break;
        case act::answer:
            s.who = server_of(c, r);
            s.b = r.chance(5) ? 1 : 0;
            break;
        case act::turn: s.who = server_of(c, r); break;
        case act::backup:
        case act::restore: s.who = client_of(c, r); break;
        case act::follow: s.who = process_of(c, r); break;
        case act::mine: s.a = 1 + r.below(r.chance(20) ? 8 : 2); break;
        case act::pass: s.a = 1 + r.below(r.chance(25) ? 14'000 : 2'000); break;
        case act::hours:
            s.a = 1 + r.below(14);
            s.b = r.below(65'536);
            break;
        case act::order_settlement:
            s.who = server_of(c, r);
            s.a = r.below(4);
            break;
        case act::start: s.who = process_of(c, r); break;
        case act::strike:
            s.who = process_of(c, r);
            s.a = r.chance(50) ? any_effect : r.below(any_effect + 1);  // any, or one kind
            s.b = r.below(s.a >= any_effect - 1 ? 24 : 3);
            s.c = r.below(4);
            break;
        case act::kill:
        case act::disk_full:
        case act::disk_freed:
        case act::node_down:
        case act::node_up: s.who = process_of(c, r); break;
        case act::lose_frame:
            s.who = client_of(c, r);
            s.a = r.below(4);
            break;
        case act::repeat_frame:
            s.who = client_of(c, r);
            s.a = r.below(2);
            break;
        case act::raise_s:
        case act::spoil_first:
        case act::bar_contract:
        case act::double_spend: s.who = client_of(c, r); break;
        case act::change_frame:
            s.who = client_of(c, r);
            s.a = r.below(2);
            s.b = r.below(1'000);
            s.c = 1 + r.below(255);
            break;
        case act::jump: {
            s.who = process_of(c, r);
            const std::uint32_t by = r.below(r.chance(30) ? r.chance(30) ? clock_right : 200'000 : 5'000);
            s.a = r.chance(50) ? clock_right + by : clock_right - by;
            s.b = r.chance(30) ? 1 + r.below(static_cast<std::uint32_t>(clocks::count) - 1) : 0;
            break;
        }
        case act::node_syncs:
        case act::node_restarts:
            s.who = process_of(c, r);
            s.b = r.below(2);
            break;
        case act::prune:
            s.who = process_of(c, r);
            s.a = 4 + r.below(8);  // no reorganisation is that deep
            break;
        case act::refuse:
            s.who = process_of(c, r);
            s.a = 1 + r.below(3);
            break;
        case act::evict: s.a = r.below(4); break;
        case act::reorg:
            s.a = 1 + r.below(3);
            s.b = r.below(2);
            break;
        case act::fees:
            s.a = r.chance(50) ? 1'000 : 1'000 + r.below(30'000);
            s.b = r.below(static_cast<std::uint32_t>(estimate::count));
            break;
        case act::stranger:
            s.who = server_of(c, r);
            s.a = r.below(7);
            s.b = r.below(64);
            s.c = r.below(64);
            break;
        case act::lose_disk: s.who = client_of(c, r); break;
        case act::server_dies: break;
    }
    return s;
}

std::string process(std::uint8_t n) {
    return n < first_client ? "server " + std::to_string(n) : "client " + std::to_string(n - first_client);
}

constexpr std::array<std::string_view, 10> effects{"write",         "read",  "new key",   "signature",      "funding",
                                                   "payout script", "frame", "broadcast", "disk operation", "effect"};
constexpr std::array<std::string_view, 4> ways{"fails", "is done and reported as failed",
                                               "crashes the process before it", "crashes the process after it"};
constexpr std::array<std::string_view, 5> estimates{"have no estimate", "say so", "say ten times as much",
                                                    "say a tenth of it", "say what they said before"};
constexpr std::array<std::string_view, 7> tricks{"resumes a channel by its txid and sends CLOSE",
                                                 "resumes a channel and sends a recorded payment again",
                                                 "resumes a channel and rolls a payment back",
                                                 "sends a recorded payment with a high S",
                                                 "sends recorded frames",
                                                 "sends garbage",
                                                 "repeats a recorded contract"};

}  // namespace

history make_history(std::uint64_t seed) {
    random r(seed * 0x2545f4914f6cdd1d + 1);
    history h;
    h.who.clients = r.chance(60) ? 1 : 2 + r.below(2);
    h.who.servers = r.chance(75) ? 1 : 2;
    h.who.one_by_one = r.chance(30);
    h.who.extensions = r.chance(75);
    h.who.held = r.chance(15);
    h.who.versions = 1 + r.below(3);
    h.who.window = r.chance(70) ? 14'400 : 7'200 + r.below(80'000);
    h.who.files = h.who.servers == 1 && r.chance(30);
    h.who.exports = r.chance(40);
    h.who.replaces = r.chance(60);
    h.who.dice = r.below(1'000'000);
    const std::uint32_t length = 15 + r.below(60);
    const bool quiet = r.chance(10);  // no faults at all: the simulation itself must not be the reason of what happens
    h.steps.push_back(make_step(act::connect, h.who, r));
    for (std::uint32_t i = 0; i < length; ++i) {
        const act what = pick(r);
        if (quiet && what >= act::strike) continue;
        h.steps.push_back(make_step(what, h.who, r));
    }
    if (!quiet && r.chance(8)) {
        const auto at = static_cast<std::ptrdiff_t>(r.below(static_cast<std::uint32_t>(h.steps.size())));
        h.steps.insert(h.steps.begin() + at, step{act::server_dies, 0, 0, 0, 0});
    }
    return h;
}

std::string words(const step& s) {
    const std::string who = process(s.who);
    const auto number = [](std::uint32_t n) { return std::to_string(n); };
    switch (s.what) {
        case act::connect: return who + " connects to server " + number(s.a) + "; " + number(s.b) + " frames";
        case act::pay: return who + " pays " + number(s.a) + "; " + number(s.b) + " frames";
        case act::settle: return who + " asks for the settlement; " + number(s.b) + " frames";
        case act::hang_up: return who + " hangs up";
        case act::frames: return number(s.a) + " frames are delivered, from link " + number(s.b) + " on";
        case act::answer: return who + (s.b != 0 ? " refuses" : " acknowledges") + " the payments that it held";
        case act::follow: return who + " hears of the chain";
        case act::mine: return number(s.a) + " blocks are mined";
        case act::pass: return number(s.a) + " s pass";
        case act::hours: return number(s.a) + " times 20 minutes pass, with a block each";
        case act::order_settlement: return "the operator of " + who + " settles channel " + number(s.a);
        case act::start: return who + " is started again";
        case act::strike:
            return who + ": " + std::string(effects.at(s.a)) + " number " + number(s.b) + " from now " +
                   std::string(ways.at(s.c));
        case act::kill: return who + " is killed";
        case act::disk_full: return "the disk of " + who + " is full";
        case act::disk_freed: return "the disk of " + who + " has room again";
        case act::lose_frame: return "the connection of " + who + " breaks; " + number(s.a) + " frames still arrive";
        case act::repeat_frame:
            return std::string("the next frame ") + (s.a == 0 ? "from " : "to ") + who + " is delivered twice";
        case act::change_frame:
            return std::string("byte ") + number(s.b) + " of the next frame " + (s.a == 0 ? "from " : "to ") + who +
                   " changes";
        case act::raise_s: return "the next payment of " + who + " gets a high S on the wire";
        case act::spoil_first: return "the next first payment of " + who + " gets a wrong signature on the wire";
        case act::bar_contract: return "no node takes the next contract of " + who;
        case act::double_spend: return "the coins of a contract of " + who + " are spent otherwise";
        case act::turn: return who + " takes a frame of each connection and writes all at once";
        case act::backup: return "the disk of " + who + " is copied";
        case act::restore: return who + " starts again with the disk as it was copied";
        case act::jump:
            return (s.b == 0   ? "the clock of " + who + " is"
                    : s.b == 1 ? std::string("all clocks are")
                               : std::string("the clocks of servers, and of clients the other way, are")) +
                   " wrong by " + std::to_string(std::int64_t{s.a} - clock_right) + " s";
        case act::node_down: return "the node of " + who + " goes down";
        case act::node_syncs:
            return "the node of " + who + (s.b != 0 ? " is slow to show blocks" : " is downloading the chain");
        case act::node_up: return "the node of " + who + " is there";
        case act::node_restarts:
            return "nodes restart with empty mempools" + (s.b != 0 ? ", and only " + who + " is told" : std::string());
        case act::prune: return "the node of " + who + " deletes all blocks but the last " + number(s.a);
        case act::refuse: return "the node refuses the next " + number(s.a) + " transactions of " + who;
        case act::evict: return "transaction " + number(s.a) + " is evicted from the mempool";
        case act::reorg: return "a reorganisation of " + number(s.a) + " blocks" + (s.b != 0 ? ", to empty ones" : "");
        case act::fees: return "nodes want " + number(s.a) + " sat/kvB, and " + std::string(estimates.at(s.b));
        case act::stranger: return "a stranger at " + who + " " + std::string(tricks.at(s.a));
        case act::lose_disk: return who + " loses its disk, and has its seed and its export files";
        case act::server_dies: return "the server dies for good";
    }
    return "?";
}

std::string words(const cast& c) {
    return std::to_string(c.clients) + " client" + (c.clients == 1 ? "" : "s") + ", " + std::to_string(c.servers) +
           " server process" + (c.servers == 1 ? "" : "es") + ", protocol " +
           (c.versions == 3 ? "1 and 2" : std::to_string(c.versions)) + (c.extensions ? "" : ", no extensions") +
           (c.files ? ", disks are folders" : "") + (c.exports ? ", clients export" : "") +
           (c.one_by_one ? ", disks write one by one" : "") + (c.held ? ", payments are answered later" : "") +
           (c.replaces ? ", nodes replace" : "") + ", window " + std::to_string(c.window) + " s";
}

}  // namespace simulation
