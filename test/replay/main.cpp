// replay: plays recorded sessions of the reference against our client and our server, and compares.
#include <iostream>

#include "replay/differences.hpp"
#include "replay/play.hpp"
#include "replay/report.hpp"

namespace {

using namespace replay;

constexpr std::string_view help = R"(replay [OPTIONS] DIR...

Plays recorded sessions of the reference implementation (bitcoinj) against our client and our server, with the other
side's recorded bytes.  Every frame of ours must be the reference's, byte for byte, but for explanations, for signatures
made with other nonces (they must verify), and for the deliberate differences that are listed in
test/replay/differences.hpp.

Taken from the recording, so that it cannot differ: keys; contracts, as the client's wallet makes them; where settlements
pay to, their fees and the server's inputs in them; when an application or an operator acts; the clock.  Sessions
without a clock of their own ("time" is null: *.p2p, recorded with a real node) get one that follows from the recorded
INITIATE: its expiry cannot differ in these.  All else is ours: defaults, and the options that the file gives.

  DIR               a folder of sessions (*.json) in the format of test/vectors/bitcoinj, or one such file
  --verbose         each frame: = equal, ~ same meaning, ! deliberate difference, X unexplained; and - where our side did
                    not end the connection but its owner did, as the recording says: neither alike nor different
  --json            one JSON object instead of lines
  --codec NAME      small (default), protobuf, or both: what our side reads and writes frames with
  --other-nonces    our side signs with other nonces than the reference: nothing but signatures may change
  --all-listed      every session in which a listed difference was seen must be among those played
  --differences     print the list of deliberate differences, and end
  --help            this

Exit status: 0 all played, no unexplained difference; 1 a difference, or an entry of the list that has become stale, or a
session that cannot be read or played, or none at all; 2 wrong usage.
)";

struct arguments {
    std::vector<std::string> paths;
    report_options print;
    nonces signing = nonces::recorded;
    std::vector<codec_choice> codecs{codec_choice::small};
};

struct wrong_usage : std::runtime_error {
    using std::runtime_error::runtime_error;
};

arguments parse(int argc, char** argv) {
    arguments out;
    for (int i = 1; i < argc; ++i) {
        const std::string a = argv[i];
        if (a == "--verbose") {
            out.print.verbose = true;
        } else if (a == "--json") {
            out.print.json = true;
        } else if (a == "--other-nonces") {
            out.signing = nonces::other;
        } else if (a == "--all-listed") {
            out.print.all_listed = true;
        } else if (a == "--codec" && i + 1 < argc) {
            const std::string name = argv[++i];
            if (name == "small")
                out.codecs = {codec_choice::small};
            else if (name == "protobuf")
                out.codecs = {codec_choice::protobuf};
            else if (name == "both")
                out.codecs = {codec_choice::small, codec_choice::protobuf};
            else
                throw wrong_usage("--codec is small, protobuf or both, not \"" + name + "\"");
        } else if (a.starts_with("-")) {
            throw wrong_usage("there is no option " + a + ": see --help");
        } else {
            out.paths.push_back(a);
        }
    }
    if (out.paths.empty())
        throw wrong_usage("give a folder of recorded sessions, for example: replay test/vectors/bitcoinj");
    return out;
}

void print_differences() {
    const auto words = [](std::string_view w) { return w.empty() ? std::string_view("nothing") : w; };
    for (const difference& d : differences) {
        std::cout << "\n" << name_of(d.who) << ", " << d.sessions << "\n    " << d.reason << "\n";
        for (const change& c : d.changes)
            if (c.is_set())
                std::cout << "    reference: " << words(c.reference) << "; ours: " << words(c.ours)
                          << (c.also == parts             ? "; the conversations part"
                              : c.also == same_but_signed ? "; but for signatures the same"
                                                          : "")
                          << "; seen in " << c.seen_in << "\n";
    }
}

contract_pool contracts_of(const std::vector<session>& sessions) {
    contract_pool out;
    for (const session& s : sessions)
        if (s.is_real(side::client))
            for (const recorded_channel& c : s.channels) out.push_back(c.contract);
    return out;
}

/// A session's own contract before those of the others.
contract_pool own_first(const session& s, const contract_pool& all) {
    contract_pool out = contracts_of({s});
    out.insert(out.end(), all.begin(), all.end());
    return out;
}

void play(const session& s, const play_options& options, const contract_pool& all, report& out) {
    bool any = false;
    for (const side who : {side::server, side::client}) {
        if (!s.is_real(who)) {
            if (s.claims(who)) out.add_scripted(s, who);
            continue;
        }
        any = true;
        try {
            const played p = who == side::server ? play_server(s, options) : play_client(s, options, own_first(s, all));
            out.add(compare(s, who, p.ours, p.made_up_contract));
        } catch (const std::exception& e) {
            out.add_failure(s.name + " " + std::string(name_of(who)) + ": cannot be played: " + e.what());
        }
    }
    if (!any)
        out.add_failure(s.name +
                        ": neither side is the reference's (reference_is and options say so): nothing to play");
}

int run(const arguments& a) {
    report out(a.print);
    std::vector<session> sessions;
    try {
        for (const auto& file : find_sessions(a.paths)) {
            try {
                sessions.push_back(read_session(file));
            } catch (const unreadable& e) {
                out.add_failure(e.what());
            }
        }
    } catch (const unreadable& e) {
        out.add_failure(e.what());
    }
    const contract_pool all = contracts_of(sessions);
    for (const codec_choice codec : a.codecs) {
        const play_options options{a.signing, codec};
        for (const session& s : sessions) play(s, options, all, out);
    }
    out.find_stale();
    out.print_end(sessions.size());
    return out.good() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        for (int i = 1; i < argc; ++i) {
            if (std::string_view(argv[i]) == "--help") {
                std::cout << help;
                return 0;
            }
            if (std::string_view(argv[i]) == "--differences") {
                print_differences();
                return 0;
            }
        }
        return run(parse(argc, argv));
    } catch (const wrong_usage& e) {
        std::cerr << "replay: " << e.what() << "\n";
        return 2;
    } catch (const std::exception& e) {
        std::cerr << "replay: " << e.what() << "\n";
        return 1;
    }
}
