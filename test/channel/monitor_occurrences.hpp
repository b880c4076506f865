// All that may happen to a watched channel, in words, and the situations in which it may; see monitor_table.cpp.
#pragma once

#include <algorithm>
#include <bitset>
#include <map>
#include <set>

#include "channel/monitor_words.hpp"

namespace paychan_test::monitor_words {

using paychan::broadcast_outcome;
using paychan::happening;
namespace happened = paychan::happened;

/// An event with values that matter.
struct occurrence {
    std::string_view kind;
    std::vector<std::string_view> is;
    happening what;
};

/// The words of events; of a dimension, an event has one or none.
inline const std::vector<std::vector<std::string_view>>& event_vocabulary() {
    static const std::vector<std::vector<std::string_view>> all{
        {"has_stored", "has_open", "has_settling", "has_unbacked"},
        {"has_no_closing", "has_closing", "has_another_closing"},
        {"has_no_height", "has_height", "has_another_height"},
        {"fact_unmined", "fact_mined", "fact_mined_anew"},
        {"fact_unended", "fact_spent", "fact_spent_by_another", "fact_spent_anew", "fact_lost", "fact_elsewhere",
         "fact_lost_anew"},
        {"fact_complete", "fact_unknown"},
        {"known_to_89", "known_to_90", "known_to_94", "known_to_95", "known_to_98", "known_to_99"},
        {"at_90", "at_95", "at_99"},
        {"by_closing", "by_another"},
        {"to_others", "to_contract"},
        {"passed_to_94", "passed_to_95", "passed_from_95", "passed_from_96"},
        {"from_90", "from_91", "from_95", "from_96"},
        {"is_accepted", "is_refused", "is_unreachable"},
        {"for_its_fee", "for_something_else"},
        {"of_spent", "of_unspent"},
        {"early", "clock_at_deadline", "chain_at_deadline", "at_expiry", "past_expiry", "clock_past_week", "past_week"},
        {"nothing_seen", "seen_95", "seen_96", "seen_193", "buried"},
        {"behind", "caught_up"},
        {"fee_1000", "fee_1999", "fee_2000", "fee_unread"},
        {"was_written", "was_not_written", "cannot_be_written"},
        {"wrote_open", "wrote_settling", "wrote_unbacked"},
        {"was_stored", "was_not_stored"},
        {"of_nothing", "of_closing", "of_another"},
    };
    return all;
}

/// The times of looks: [s] of the clock and of the chain.
struct look_time {
    std::string_view word;
    unix_time now, median_time;
};
inline const std::vector<look_time>& look_times() {
    static const std::int64_t margin = settings.settle_margin, week = settings.stillborn_age;
    static const std::vector<look_time> all{
        {"early", expiry + -(margin + 1), expiry + -(margin + 1)},
        {"clock_at_deadline", expiry + -margin, expiry + -(margin + 3'600)},
        {"chain_at_deadline", expiry + -(margin + 3'600), expiry + -margin},
        {"at_expiry", expiry, expiry},
        {"past_expiry", expiry, expiry + 1},
        {"clock_past_week", expiry + (week + 1), expiry + week},
        {"past_week", expiry + week, expiry + (week + 1)},
    };
    return all;
}
inline const std::vector<std::pair<std::string_view, std::int32_t>> look_heights{
    {"nothing_seen", 0},
    {"seen_95", refused_at + settings.refused_depth - 1},
    {"seen_96", refused_at + settings.refused_depth},
    {"seen_193", ended_at + settings.burial - 2},
    {"buried", ended_at + settings.burial - 1},
};

inline const std::vector<occurrence>& occurrences() {
    static const auto all = [] {
        std::vector<occurrence> out;
        using words = std::vector<std::string_view>;
        const std::pair<std::string_view, txid> closings[]{
            {"has_no_closing", {}}, {"has_closing", closing}, {"has_another_closing", another_closing}};
        const std::pair<std::string_view, std::int32_t> heights[]{
            {"has_no_height", 0}, {"has_height", ended_at}, {"has_another_height", other_height}};
        for (const auto& [stage_word, has_stage] :
             {std::pair{"has_stored", channel_stage::contract_stored}, std::pair{"has_open", channel_stage::open},
              std::pair{"has_settling", channel_stage::settling}, std::pair{"has_unbacked", channel_stage::unbacked}})
            for (const auto& [closing_word, by] : closings)
                for (const auto& [height_word, height] : heights)
                    out.push_back({"record_read", words{stage_word, closing_word, height_word},
                                   happened::record_read{has_stage, expiry, by, height, looked_at}});
        out.push_back({"record_unreadable", {}, happened::record_unreadable{}});

        struct fact_end {
            std::string_view word;
            std::int32_t height;
            txid by;
            bool lost, elsewhere;
        };
        for (const auto& [contract_word, contract_height] :
             {std::pair{"fact_unmined", 0}, std::pair{"fact_mined", mined_at},
              std::pair{"fact_mined_anew", other_height}})
            for (const fact_end& f : {fact_end{"fact_unended", 0, {}, false, false},
                                      fact_end{"fact_spent", ended_at, closing, false, false},
                                      fact_end{"fact_spent_by_another", ended_at, another_closing, false, false},
                                      fact_end{"fact_spent_anew", other_height, closing, false, false},
                                      fact_end{"fact_lost", ended_at, {}, true, false},
                                      fact_end{"fact_elsewhere", ended_at, {}, true, true},
                                      fact_end{"fact_lost_anew", other_height, {}, true, false}})
                for (const auto& [known_word, known] :
                     {std::pair{"known_to_89", mined_at - 1}, std::pair{"known_to_90", mined_at},
                      std::pair{"known_to_94", ended_at - 1}, std::pair{"known_to_95", ended_at},
                      std::pair{"known_to_98", other_height - 1}, std::pair{"known_to_99", other_height}})
                    for (const bool unknown : {false, true})
                        out.push_back(
                            {"facts_read",
                             words{contract_word, f.word, known_word, unknown ? "fact_unknown" : "fact_complete"},
                             happened::facts_read{{contract_height, f.height, f.by, f.lost, f.elsewhere, unknown},
                                                  known}});
        out.push_back({"facts_unreadable", {}, happened::facts_unreadable{}});
        out.push_back({"told_anew", {}, happened::told_anew{}});
        out.push_back({"told_all", {}, happened::told_all{}});
        out.push_back({"driver_stored", {}, happened::driver_stored{}});
        out.push_back({"driver_settled", {}, happened::driver_settled{}});

        out.push_back({"contract_mined", {"at_90"}, happened::contract_mined{mined_at}});
        out.push_back({"contract_mined", {"at_99"}, happened::contract_mined{other_height}});
        for (const auto& [at, height] : {std::pair{"at_95", ended_at}, std::pair{"at_99", other_height}}) {
            out.push_back({"contract_spent", words{at, "by_closing"}, happened::contract_spent{height, closing}});
            out.push_back(
                {"contract_spent", words{at, "by_another"}, happened::contract_spent{height, another_closing}});
            out.push_back({"coins_spent", words{at, "to_others"}, happened::coins_spent{height, false}});
            out.push_back({"coins_spent", words{at, "to_contract"}, happened::coins_spent{height, true}});
        }
        out.push_back({"passed_blocks", {"passed_to_94"}, paychan::passed_blocks{1, ended_at - 1}});
        out.push_back({"passed_blocks", {"passed_to_95"}, paychan::passed_blocks{1, ended_at}});
        out.push_back({"passed_blocks", {"passed_from_95"}, paychan::passed_blocks{ended_at, 98}});
        out.push_back({"passed_blocks", {"passed_from_96"}, paychan::passed_blocks{ended_at + 1, 98}});
        for (const auto& [from_word, from] : {std::pair{"from_90", mined_at}, std::pair{"from_91", mined_at + 1},
                                              std::pair{"from_95", ended_at}, std::pair{"from_96", ended_at + 1}})
            out.push_back({"disconnected_blocks", words{from_word}, paychan::disconnected_blocks{from}});

        out.push_back({"node_returned", {}, paychan::node_returned{}});
        for (const auto& [is, outcome] : {std::pair{"is_accepted", broadcast_outcome::accepted},
                                          std::pair{"is_refused", broadcast_outcome::refused},
                                          std::pair{"is_unreachable", broadcast_outcome::unreachable}}) {
            out.push_back({"contract_answered", words{is}, happened::contract_answered{outcome, other_height}});
            if (outcome != broadcast_outcome::refused) {
                out.push_back({"closing_answered", words{is}, happened::closing_answered{outcome, other_height}});
                continue;
            }
            for (const auto& [underpaid, spent] :
                 {std::pair{true, false}, std::pair{false, false}, std::pair{false, true}})
                out.push_back(
                    {"closing_answered",
                     words{is, underpaid ? "for_its_fee" : "for_something_else", spent ? "of_spent" : "of_unspent"},
                     happened::closing_answered{outcome, other_height, underpaid, spent}});
        }

        out.push_back({"fees_rose", {}, happened::fees_rose{}});
        for (const look_time& t : look_times())
            for (const auto& [height_word, height] : look_heights)
                for (const bool caught_up : {false, true})
                    out.push_back({"look", words{t.word, height_word, caught_up ? "caught_up" : "behind"},
                                   happened::look{t.now, t.median_time, height, this_round, caught_up}});

        for (const auto& [wrote, has_stage] :
             {std::pair{"wrote_open", channel_stage::open}, std::pair{"wrote_settling", channel_stage::settling},
              std::pair{"wrote_unbacked", channel_stage::unbacked}})
            out.push_back(
                {"record_written", words{"was_written", wrote}, happened::record_written{true, false, has_stage}});
        out.push_back({"record_written", {"was_not_written"}, happened::record_written{false, true, {}}});
        out.push_back({"record_written", {"cannot_be_written"}, happened::record_written{false, false, {}}});
        for (const auto& [fee, sat_per_kvb] : {std::pair{"fee_1000", 1'000}, std::pair{"fee_2000", 2'000}})
            for (const bool stored : {false, true})
                out.push_back(
                    {"settlement_built", words{stored ? "was_stored" : "was_not_stored", fee},
                     happened::settlement_built{another_closing, this_round, paychan::fee_rate{sat_per_kvb}, stored}});
        out.push_back(
            {"closing_offered", {"of_nothing", "fee_unread"}, happened::closing_offered{std::nullopt, this_round, {}}});
        out.push_back(
            {"closing_offered", {"of_closing", "fee_unread"}, happened::closing_offered{closing, this_round, {}}});
        out.push_back({"closing_offered",
                       {"of_another", "fee_unread"},
                       happened::closing_offered{another_closing, this_round, {}}});
        out.push_back({"closing_offered",
                       {"of_closing", "fee_1999"},
                       happened::closing_offered{closing, this_round, paychan::fee_rate{1'999}}});
        out.push_back({"contract_offered", {}, happened::contract_offered{this_round, looked_at}});
        out.push_back({"connection_asked", {}, happened::connection_asked{this_round}});
        return out;
    }();
    return all;
}

[[nodiscard]] inline std::string in_words(const occurrence& e) {
    std::string out;
    for (const std::string_view word : e.is) out += (out.empty() ? "" : " ") + std::string(word);
    return out;
}

// ---- Situations for an event.

/// The dimensions that may make a difference to an event, beside stage, contract and end.
[[nodiscard]] inline std::vector<of> that_matter(channel_role r, std::string_view kind, std::size_t of_stage) {
    static const std::map<std::string_view, std::vector<of>> all{
        {"record_read", {read, written, overdue, closed_by, recorded}},
        {"record_unreadable", {read}},
        {"facts_read", {written, closed_by, recorded, facts}},
        {"facts_unreadable", {facts}},
        {"told_anew", {written, offered, closed_by, recorded, facts}},
        {"told_all", {facts}},
        {"driver_stored", {asked}},
        {"driver_settled", {told}},
        {"contract_mined", {written, overdue, refused}},
        {"contract_spent", {written, closed_by, recorded}},
        {"coins_spent", {written, accepted, closed_by}},
        {"passed_blocks", {written, closed_by, recorded}},
        {"disconnected_blocks", {written, offered, recorded}},
        {"node_returned", {accepted, offered, asked_over}},
        {"contract_answered", {written, asked, accepted, refused, overdue, offered, asked_over}},
        {"closing_answered", {written, closing_refused, told, offered, built_at, built_rate, closed_by}},
        {"record_written", {written}},
        {"settlement_built", {closing_refused, offered, asked_over, built_at, built_rate}},
        {"closing_offered", {told, offered, closed_by, built_rate}},
        {"fees_rose", {told, offered}},
        {"contract_offered", {asked, offered, asked_over}},
        {"connection_asked", {asked_over}},
    };
    if (kind != "look") return all.at(kind);
    if (r == channel_role::client) return {read, written, told, offered, asked_over};
    if (of_stage == 3) return {read, written, closing_refused, offered, built_at};
    return {read, written, accepted, refused, overdue, offered, asked_over};
}

/// f(const watched&, const situation&) for each situation that may matter to the event.  What should not matter to it is
/// different in each, so that it would be noticed.
template <channel_role Role, class F>
void for_each_situation(const occurrence& e, F&& f) {
    std::uint64_t random = 0x9e37'79b9'7f4a'7c15;
    for (std::uint8_t of_stage = 0; of_stage < vocabulary()[stage].given; ++of_stage) {
        std::vector<of> all = that_matter(Role, e.kind, of_stage);
        all.insert(all.end(), {contract, end});
        situation s{};
        s[role] = Role == channel_role::client ? 0 : 1;
        s[stage] = of_stage;
        std::vector<std::size_t> rest;
        for (std::size_t d = stage + 1; d < dimensions; ++d)
            if (d != end_height && std::find(all.begin(), all.end(), d) == all.end()) rest.push_back(d);
        for (bool left = true; left;) {
            for (const std::size_t d : rest) {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                s[d] = static_cast<std::uint8_t>(random % vocabulary()[d].given);
            }
            s[end_height] = s[end] == 0 ? 0 : 1;
            f(watched_of(s), s);
            left = false;
            for (const of d : all) {
                if (++s[d] < vocabulary()[d].given) {
                    left = true;
                    break;
                }
                s[d] = 0;
            }
        }
    }
}

// ---- Rows.

/// Of situations and events, those that have one of its words of each dimension that it names.
class pattern {
public:
    [[nodiscard]] bool holds(const situation& s) const {
        for (const auto& [d, words] : situations_)
            if (!words[s[d]]) return false;
        return true;
    }
    [[nodiscard]] bool holds(const occurrence& e) const {
        for (const auto& [d, words] : events_) {
            bool found = false;
            for (const std::string_view word : e.is) found = found || words.contains(word);
            if (!found) return false;
        }
        return true;
    }
    void add(std::string_view word, bool is_not) {
        for (std::size_t d = 0; d < dimensions; ++d)
            for (std::size_t i = 0; i < vocabulary()[d].words.size(); ++i)
                if (vocabulary()[d].words[i] == word) {
                    auto at = std::find_if(situations_.begin(), situations_.end(),
                                           [d](const auto& p) { return p.first == d; });
                    if (at == situations_.end())
                        at = situations_.insert(at, {d, is_not ? ~std::bitset<8>{} : std::bitset<8>{}});
                    at->second[i] = !is_not;
                    return;
                }
        for (std::size_t d = 0; d < event_vocabulary().size(); ++d) {
            const auto& of_dimension = event_vocabulary()[d];
            if (std::find(of_dimension.begin(), of_dimension.end(), word) == of_dimension.end()) continue;
            auto& words = events_[d];
            if (is_not && words.empty()) words.insert(of_dimension.begin(), of_dimension.end());
            if (is_not)
                words.erase(word);
            else
                words.insert(word);
            return;
        }
        throw std::logic_error("no such word: " + std::string(word));
    }

private:
    std::vector<std::pair<std::size_t, std::bitset<8>>> situations_;
    std::map<std::size_t, std::set<std::string_view>> events_;
};

[[nodiscard]] inline pattern pattern_of(std::string_view text) {
    pattern out;
    detail::for_each_word(text, [&](std::string_view word) {
        const bool is_not = word.front() == '!';
        out.add(is_not ? word.substr(1) : word, is_not);
    });
    return out;
}

/// A dimension and its new word; no dimension: the event's fee.
struct change {
    std::size_t dimension = dimensions;
    std::uint8_t word = 0;
};

[[nodiscard]] inline std::vector<change> changes_of(std::string_view text) {
    std::vector<change> out;
    detail::for_each_word(text, [&](std::string_view word) {
        if (word == "rate_of_day") {
            out.push_back({});
            return;
        }
        for (std::size_t d = 0; d < dimensions; ++d)
            for (std::size_t i = 0; i < vocabulary()[d].words.size(); ++i)
                if (vocabulary()[d].words[i] == word) {
                    out.push_back({d, static_cast<std::uint8_t>(i)});
                    return;
                }
        throw std::logic_error("no such word: " + std::string(word));
    });
    return out;
}

inline void apply(const change& c, const occurrence& e, situation& s) {
    if (c.dimension != dimensions) {
        s[c.dimension] = c.word;
        return;
    }
    for (const std::string_view word : e.is) {
        if (word == "fee_1000") s[built_rate] = 1;
        if (word == "fee_1999") s[built_rate] = 2;
        if (word == "fee_2000") s[built_rate] = 3;
    }
}

}  // namespace paychan_test::monitor_words
