// Prints what came of all that was played.
#include "replay/report.hpp"

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>

#include "replay/differences.hpp"

namespace replay {

namespace {

std::string counted(std::size_t n, const std::string& thing) {
    return std::to_string(n) + " " + thing + (n == 1 ? "" : "s");
}

nlohmann::ordered_json counts(const verdict& v) {
    return {{"equal", v.equal},           {"ends", v.ends},
            {"extended", v.extended},     {"same_meaning", v.same_meaning},
            {"beside", v.beside},         {"not_compared", v.not_compared},
            {"deliberate", v.deliberate}, {"problems", v.problems}};
}

}  // namespace

void report::add(verdict v) {
    for (const listed& change : v.used) used_.insert({change, v.session});
    verdicts_.push_back(std::move(v));
    if (!options_.json) print(verdicts_.back());
}

void report::add_scripted(const session& s, side who) {
    notes_.insert(s.name + " " + std::string(name_of(who)) +
                  ": the file says that it is the reference's, but it has no options: a script, not played");
}

void report::add_failure(const std::string& text) {
    failures_.push_back(text);
    if (!options_.json) std::cout << "FAIL  " << text << "\n";
}

void report::find_stale() {
    for (std::size_t n = 0; n < differences.size(); ++n)
        for (std::size_t k = 0; k < differences[n].changes.size(); ++k)
            if (const change& c = differences[n].changes[k]; c.is_set())
                each_of(c.seen_in, [&](std::string_view name) { look_for({n, k}, name); });
}

void report::look_for(const listed& where, std::string_view name) {
    const difference& d = differences[where.first];
    const change& c = d.changes[where.second];
    const bool was_played =
        std::ranges::any_of(verdicts_, [&](const verdict& v) { return v.session == name && v.who == d.who; });
    if (used_.contains({where, std::string(name)}) || (!was_played && !options_.all_listed)) return;
    const auto words = [](std::string_view w) { return w.empty() ? std::string("nothing") : std::string(w); };
    add_failure(std::string(name) + " " + std::string(name_of(d.who)) + ": a listed difference " +
                (was_played ? "did not come any more" : "could not come: the session was not played") +
                ": reference: " + words(c.reference) + ", ours: " + words(c.ours) + " (" + std::string(d.reason) +
                ").  Mend its entry in test/replay/differences.hpp, or take it out.");
}

bool report::good() const {
    return failures_.empty() && !verdicts_.empty() &&
           std::ranges::all_of(verdicts_, [](const verdict& v) { return v.problems.empty(); });
}

void report::print_end(std::size_t sessions) const {
    if (options_.json) return print_json(sessions);
    for (const std::string& note : notes_) std::cout << "note  " << note << "\n";
    const verdict sum = total();
    std::cout << counted(sessions, "session") << ", " << counted(verdicts_.size(), "side")
              << " played: " << counted(sum.equal, "frame") << " equal (" << sum.extended
              << " but for extension fields), " << counted(sum.ends, "end") << " alike, " << sum.same_meaning
              << " of the same meaning, " << counted(sum.deliberate.size(), "deliberate difference") << ", "
              << counted(sum.not_compared, "frame") << " behind one, " << sum.beside
              << " broadcasts, refunds and events equal; " << sum.problems.size() + failures_.size()
              << " unexplained\n";
}

void report::print(const verdict& v) const {
    std::cout << (v.problems.empty() ? "ok    " : "FAIL  ") << v.session << " " << name_of(v.who) << ": "
              << counted(v.equal, "frame") << " equal";
    if (v.ends > 0) std::cout << ", " << counted(v.ends, "end") << " alike";
    if (v.same_meaning > 0) std::cout << ", " << v.same_meaning << " of the same meaning";
    if (!v.deliberate.empty()) {
        std::cout << ", " << counted(v.deliberate.size(), "deliberate difference") << ":";
        const std::set<std::string> reasons(v.deliberate.begin(), v.deliberate.end());
        for (const std::string& reason : reasons)
            std::cout << " " << reason << (reason == *reasons.rbegin() ? "" : ";");
    }
    if (v.not_compared > 0) std::cout << " (" << counted(v.not_compared, "frame") << " behind it)";
    std::cout << "\n";
    for (const std::string& p : v.problems) std::cout << "      " << p << "\n";
    if (options_.verbose)
        for (const std::string& l : v.log) std::cout << "      " << l << "\n";
}

verdict report::total() const {
    verdict sum;
    for (const verdict& v : verdicts_) {
        sum.equal += v.equal;
        sum.ends += v.ends;
        sum.extended += v.extended;
        sum.same_meaning += v.same_meaning;
        sum.not_compared += v.not_compared;
        sum.beside += v.beside;
        sum.deliberate.insert(sum.deliberate.end(), v.deliberate.begin(), v.deliberate.end());
        sum.problems.insert(sum.problems.end(), v.problems.begin(), v.problems.end());
    }
    return sum;
}

void report::print_json(std::size_t sessions) const {
    const verdict sum = total();
    nlohmann::ordered_json out{{"ok", good()},
                               {"sessions", sessions},
                               {"sides", verdicts_.size()},
                               {"equal", sum.equal},
                               {"ends", sum.ends},
                               {"extended", sum.extended},
                               {"same_meaning", sum.same_meaning},
                               {"beside", sum.beside},
                               {"not_compared", sum.not_compared},
                               {"deliberate", sum.deliberate.size()},
                               {"unexplained", sum.problems.size() + failures_.size()},
                               {"failures", failures_},
                               {"notes", notes_},
                               {"played", nlohmann::ordered_json::array()}};
    for (const verdict& v : verdicts_) {
        nlohmann::ordered_json one{{"session", v.session}, {"side", name_of(v.who)}, {"ok", v.problems.empty()}};
        one.update(counts(v));
        if (options_.verbose) one["log"] = v.log;
        out["played"].push_back(one);
    }
    // A peer's text need not be UTF-8.
    std::cout << out.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << "\n";
}

}  // namespace replay
