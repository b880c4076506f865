// What the chain, the network and the time do to a channel, as a table: every situation and every event, for both roles,
// with what is to be done and what the channel is then.  No pair may be missing, and no row may be out of date.
#include <catch2/catch.hpp>

#include "channel/monitor_occurrences.hpp"

using namespace paychan;
using namespace paychan_test;
using namespace paychan_test::monitor_words;

namespace {

// A row holds for all situations and events that have one of its words of each dimension; where it names none of a dimension,
// for all of them; "!" stands for all words of a dimension but this one.  Each pair has exactly one row in every group of its
// event.  All that these rows want is done, and nothing else; all that they change is changed, and nothing else.
struct row {
    std::string_view when;
    std::string_view wanted = "";  // duties
    std::string_view then = "";    // what changes; all else stays as it was
};
struct group {
    std::string_view event;
    std::string_view about;
    std::vector<row> rows;
};

// clang-format off
const std::vector<group> table{
    // ---- the store
    {"record_read", "is new", {
        {"none", "", "seen_now"},
        {"!none"},
    }},
    {"record_read", "was read", {
        {"spent", "", "read in_time"},  // the chain is right, and not the record
        {"!spent", "watch_coins", "read in_time"},
    }},
    {"record_read", "stage", {
        {"spent", "", "settling"},
        {"!spent has_stored", "", "stored"},
        {"!spent has_open", "", "open"},
        {"!spent has_settling", "", "settling"},
        {"!spent has_unbacked", "", "unbacked"},
    }},
    {"record_read", "closing", {
        {"spent"},
        {"!spent has_no_closing", "", "no_closing"},
        {"!spent has_closing", "", "closing"},
        {"!spent has_another_closing", "", "another_closing"},
    }},
    {"record_read", "height", {
        {"has_no_height", "", "unrecorded"},
        {"has_height", "", "recorded"},
        {"has_another_height", "", "recorded_anew"},
    }},
    {"record_read", "end that is not in the record", {
        {"!spent"},
        {"spent closing has_settling has_closing has_height"},
        {"spent closing has_settling has_closing !has_height", "", "unwritten"},
        {"spent closing has_settling !has_closing", "", "unwritten"},
        {"spent closing !has_settling", "", "unwritten"},
        {"spent no_closing has_settling has_no_closing has_height"},
        {"spent no_closing has_settling has_no_closing !has_height", "", "unwritten"},
        {"spent no_closing has_settling !has_no_closing", "", "unwritten"},
        {"spent no_closing !has_settling", "", "unwritten"},
    }},
    {"record_unreadable", "", {
        {"none", "", "unread no_expiry"},
        {"!none", "", "unread"},
    }},

    {"facts_read", "contract", {
        {"mined"},
        {"unmined fact_unmined"},
        {"unmined fact_mined known_to_89"},
        {"unmined fact_mined !known_to_89", "", "mined"},
        {"unmined fact_mined_anew !known_to_99"},
        {"unmined fact_mined_anew known_to_99", "", "mined_anew"},
    }},
    {"facts_read", "end", {
        {"!unended"},
        {"unended fact_unended"},
        {"unended !fact_unended known_to_89 known_to_90 known_to_94"},
        {"unended fact_spent fact_spent_by_another fact_lost fact_elsewhere known_to_95 known_to_98 known_to_99", "", "ended"},
        {"unended fact_spent_anew fact_lost_anew known_to_95 known_to_98"},
        {"unended fact_spent_anew fact_lost_anew known_to_99", "", "ended_anew"},
    }},
    {"facts_read", "which end", {
        {"!unended"},
        {"unended fact_unended"},
        {"unended !fact_unended known_to_89 known_to_90 known_to_94"},
        {"unended fact_spent fact_spent_by_another known_to_95 known_to_98 known_to_99", "", "spent settling"},
        {"unended fact_lost known_to_95 known_to_98 known_to_99", "", "lost"},
        {"unended fact_elsewhere known_to_95 known_to_98 known_to_99", "", "elsewhere"},
        {"unended fact_spent_anew fact_lost_anew known_to_95 known_to_98"},
        {"unended fact_spent_anew known_to_99", "", "spent settling"},
        {"unended fact_lost_anew known_to_99", "", "lost"},
    }},
    {"facts_read", "by what", {
        {"!unended"},
        {"unended fact_unended fact_lost fact_elsewhere fact_lost_anew"},
        {"unended fact_spent fact_spent_by_another fact_spent_anew known_to_89 known_to_90 known_to_94"},
        {"unended fact_spent known_to_95 known_to_98 known_to_99 settling closing recorded", "", "closing"},
        {"unended fact_spent known_to_95 known_to_98 known_to_99 settling closing unrecorded", "", "closing unwritten"},
        {"unended fact_spent known_to_95 known_to_98 known_to_99 settling no_closing", "", "closing unwritten"},
        {"unended fact_spent known_to_95 known_to_98 known_to_99 !settling", "", "closing unwritten"},
        {"unended fact_spent_by_another known_to_95 known_to_98 known_to_99", "", "another_closing unwritten"},
        {"unended fact_spent_anew known_to_95 known_to_98"},
        {"unended fact_spent_anew known_to_99", "", "closing unwritten"},
    }},
    {"facts_read", "contract in the store, not believed", {
        {"mined fact_mined"},
        {"mined !fact_mined", "keep"},
        {"unmined fact_unmined"},
        {"unmined fact_mined known_to_89", "keep"},
        {"unmined fact_mined !known_to_89"},
        {"unmined fact_mined_anew !known_to_99", "keep"},
        {"unmined fact_mined_anew known_to_99"},
    }},
    {"facts_read", "end in the store, not believed", {
        {"!unended fact_spent fact_spent_by_another fact_lost fact_elsewhere"},
        {"!unended fact_unended fact_spent_anew fact_lost_anew", "keep"},
        {"unended fact_unended"},
        {"unended !fact_unended known_to_89 known_to_90 known_to_94", "keep"},
        {"unended fact_spent fact_spent_by_another fact_lost fact_elsewhere known_to_95 known_to_98 known_to_99"},
        {"unended fact_spent_anew fact_lost_anew known_to_95 known_to_98", "keep"},
        {"unended fact_spent_anew fact_lost_anew known_to_99"},
    }},
    {"facts_read", "coins", {{"", "watch_coins"}}},
    {"facts_read", "complete", {
        {"fact_complete", "", "facts_known"},
        {"fact_unknown", "", "facts_unknown"},
    }},
    {"facts_unreadable", "", {{"", "keep", "facts_unknown"}}},
    {"facts_read", "record", {
        {"unrecorded"},
        {"recorded !unended"},
        {"recorded unended fact_unknown"},
        {"recorded unended fact_complete known_to_89 known_to_90 known_to_94"},
        {"recorded unended fact_complete fact_unended known_to_95 known_to_98 known_to_99", "", "unrecorded"},
        {"recorded unended fact_complete fact_spent fact_spent_by_another fact_lost fact_elsewhere known_to_95 known_to_98 known_to_99"},
        {"recorded unended fact_complete fact_spent_anew fact_lost_anew known_to_95 known_to_98", "", "unrecorded"},
        {"recorded unended fact_complete fact_spent_anew fact_lost_anew known_to_99"},
    }},
    {"told_anew", "contract", {
        {"unmined"},
        {"mined", "keep watch_coins", "unmined"},
    }},
    {"told_anew", "complete", {
        {"unended unmined"},
        {"unended mined", "keep watch_coins", "facts_unknown"},  // until all have been told
        {"!unended", "keep watch_coins", "facts_unknown"},
    }},
    {"told_anew", "end", {
        {"unended"},
        {"spent", "keep watch_coins", "unended not_ended never_offered recorded"},  // blocks that are passed
        {"lost elsewhere", "keep watch_coins", "unended not_ended never_offered"},
    }},
    {"told_all", "", {
        {"facts_known"},
        {"facts_unknown", "keep", "facts_known"},
    }},

    // ---- a driver
    {"driver_stored", "", {{"", "", "asked"}}},
    {"driver_settled", "", {{"", "", "told"}}},

    // ---- blocks
    {"contract_mined", "height", {
        {"mined at_90"},
        {"mined at_99", "keep", "mined_anew"},
        {"unmined at_90", "keep", "mined"},
        {"unmined at_99", "keep", "mined_anew"},
    }},
    {"contract_mined", "end", {
        {"spent"},
        {"unended", "", "written"},
        {"lost elsewhere", "keep", "unended not_ended written"},  // it cannot be lost: it is in a block
    }},
    {"contract_mined", "network", {{"", "", "in_time unrefused"}}},

    {"contract_spent", "height", {
        {"at_95", "", "ended"},
        {"at_99", "", "ended_anew"},
    }},
    {"contract_spent", "by what", {
        {"by_closing", "", "closing"},
        {"by_another", "", "another_closing"},
    }},
    {"contract_spent", "news", {
        {"spent closing at_95 by_closing"},
        {"spent closing at_99 by_closing", "keep"},
        {"spent closing by_another", "keep"},
        {"spent no_closing", "keep"},
        {"!spent", "keep"},
    }},
    {"contract_spent", "", {{"", "write_end tell_confirmed", "spent settling unwritten"}}},

    {"coins_spent", "", {
        {"mined"},
        {"unmined !unended"},
        {"unmined unended at_95 to_others", "keep stop_payments tell_double_spent", "lost ended unwritten"},
        {"unmined unended at_99 to_others", "keep stop_payments tell_double_spent", "lost ended_anew unwritten"},
        {"unmined unended at_95 to_contract", "keep stop_payments tell_double_spent", "elsewhere ended unwritten"},
        {"unmined unended at_99 to_contract", "keep stop_payments tell_double_spent", "elsewhere ended_anew unwritten"},
    }},

    {"passed_blocks", "", {
        {"!unended"},
        {"unended unrecorded"},
        {"unended recorded passed_to_94 passed_from_96"},
        {"unended recorded passed_to_95 passed_from_95", "keep", "spent ended"},
    }},

    {"disconnected_blocks", "end", {
        {"unended"},
        {"!unended from_96"},
        {"!unended from_95 from_91 from_90", "keep watch_coins", "unended not_ended written never_offered"},
    }},
    {"disconnected_blocks", "contract", {
        {"unmined"},
        {"mined from_96 from_95 from_91"},
        {"mined from_90", "keep watch_coins", "unmined"},
    }},
    {"disconnected_blocks", "record", {
        {"unrecorded"},
        {"recorded from_96"},
        {"recorded from_95 from_91 from_90", "", "unrecorded"},
    }},

    // ---- the network
    {"node_returned", "offer", {
        {"!unended"},
        {"unended", "", "never_offered"},
    }},
    {"node_returned", "contract", {
        {"server"},
        {"client !unended"},
        {"client unended", "", "not_asked_over"},
    }},
    {"node_returned", "backed", {
        {"!unended"},
        {"unended !backed"},
        {"unended backed", "", "accepted"},
    }},
    {"contract_answered", "offer", {
        {"is_unreachable", "", "never_offered"},
        {"is_accepted is_refused"},
    }},
    {"contract_answered", "word", {
        {"client is_unreachable", "", "not_asked_over"},
        {"client is_accepted", "", "asked backed"},
        {"client is_refused mined"},
        {"client is_refused unmined", "", "unaccepted"},
        {"server is_unreachable"},
        {"server is_accepted unended", "watch_coins", "asked backed unrefused in_time written"},
        {"server is_accepted !unended", "watch_coins", "asked backed unrefused in_time"},
        {"server is_refused mined"},
        {"server is_refused unmined unrefused", "stop_if_open", "asked unaccepted refused_anew"},
        {"server is_refused unmined refused", "stop_if_open", "asked unaccepted"},
    }},
    {"closing_answered", "end", {  // in a block that nobody could show
        {"is_accepted is_unreachable"},
        {"is_refused of_unspent"},
        {"is_refused of_spent !unended"},
        {"is_refused of_spent unended unmined"},  // of a contract that is perhaps to come
        {"is_refused of_spent unended mined", "keep write_end tell_confirmed", "spent ended_anew no_closing settling unwritten"},
    }},
    {"closing_answered", "offer", {
        {"is_unreachable", "", "never_offered"},
        {"is_accepted is_refused"},
    }},
    {"closing_answered", "word", {
        {"client"},
        {"server !settling"},
        {"server settling is_unreachable"},
        {"server settling is_accepted untold", "tell_settled", "told closing_fine"},
        {"server settling is_accepted told", "", "closing_fine"},
        {"server settling is_refused of_unspent", "", "closing_refused"},
        {"server settling is_refused of_spent unended unmined", "", "closing_refused"},
        {"server settling is_refused of_spent unended mined"},
        {"server settling is_refused of_spent !unended"},
    }},
    {"closing_answered", "patience", {
        {"server"},
        {"client is_unreachable"},
        {"client is_accepted not_built", "", "taken_at_99"},
        {"client is_accepted built_long_ago built_lately"},
        {"client is_refused for_its_fee"},
        {"client is_refused for_something_else of_unspent", "", "not_built rate_unknown"},
        {"client is_refused for_something_else of_spent unended unmined", "", "not_built rate_unknown"},
        {"client is_refused for_something_else of_spent unended mined"},
        {"client is_refused for_something_else of_spent !unended"},
    }},

    // ---- looks
    {"look", "record", {
        {"read"},
        {"unread", "read"},
    }},
    {"look", "what is to be written", {
        {"none"},
        {"!none written"},
        {"!none unwritten spent", "write_end"},
        {"!none unwritten !spent", "stop_payments"},
    }},
    {"look", "burial", {
        {"none"},
        {"!none unended"},
        {"!none spent lost !buried"},
        {"!none spent lost buried", "forget"},
        {"!none elsewhere"},  // money may be had with this record's key
    }},
    {"look", "refund", {
        {"server"},
        {"client none"},
        {"client !none !unended"},
        {"client !none unended offered_now early clock_at_deadline chain_at_deadline at_expiry", "", "never_offered asked_over_now"},
        {"client stored settling unbacked unended !offered_now early clock_at_deadline chain_at_deadline at_expiry", "", "never_offered"},
        {"client open unended mined !offered_now early clock_at_deadline chain_at_deadline at_expiry", "", "never_offered"},
        {"client open unended unmined behind !offered_now early clock_at_deadline chain_at_deadline at_expiry", "", "never_offered"},
        {"client open unended unmined caught_up asked_over_now !offered_now early clock_at_deadline chain_at_deadline at_expiry", "", "never_offered"},
        {"client open unended unmined caught_up !asked_over_now !offered_now early clock_at_deadline chain_at_deadline at_expiry", "offer_contract", "never_offered"},
        {"client !none unended past_expiry clock_past_week past_week offered_now"},
        {"client !none unended past_expiry clock_past_week past_week !offered_now", "offer_contract offer_closing"},
    }},
    {"look", "deadline", {
        {"client"},
        {"server none settling"},
        {"server stored open unbacked !unended"},
        {"server stored open unbacked unended early", "", "not_asked_over"},
        // There is no contract to collect from.  While no block was seen, one does not know.
        {"server stored unended unmined !early !nothing_seen", "", "overdue"},
        {"server unbacked unaccepted unended unmined !early !nothing_seen caught_up", "", "overdue"},
        {"server unbacked unaccepted unended unmined !early !nothing_seen behind !asked_over_now", "settle", "in_time"},
        {"server unbacked unaccepted unended unmined !early !nothing_seen behind asked_over_now", "", "in_time"},
        {"server stored unended unmined !early nothing_seen !asked_over_now", "settle", "in_time"},
        {"server unbacked unaccepted unended unmined !early nothing_seen !asked_over_now", "settle", "in_time"},
        {"server stored unended unmined !early nothing_seen asked_over_now", "", "in_time"},
        {"server unbacked unaccepted unended unmined !early nothing_seen asked_over_now", "", "in_time"},
        {"server open unended !early !asked_over_now", "settle", "in_time"},
        {"server unbacked !unaccepted unended !early !asked_over_now", "settle", "in_time"},
        {"server unbacked unaccepted mined unended !early !asked_over_now", "settle", "in_time"},
        {"server stored mined unended !early !asked_over_now", "settle", "in_time"},
        {"server open unended !early asked_over_now", "", "in_time"},  // once a round
        {"server unbacked !unaccepted unended !early asked_over_now", "", "in_time"},
        {"server unbacked unaccepted mined unended !early asked_over_now", "", "in_time"},
        {"server stored mined unended !early asked_over_now", "", "in_time"},
    }},
    {"look", "settlement", {
        {"client"},
        {"server !settling"},
        {"server settling !unended"},
        {"server settling unended offered_now"},
        {"server settling unended !offered_now closing_fine", "offer_contract offer_closing"},
        {"server settling unended !offered_now closing_refused not_built built_long_ago", "offer_contract build_anew"},
        {"server settling unended !offered_now closing_refused built_lately", "offer_contract offer_closing"},
    }},
    {"look", "contract", {
        {"client"},
        {"server none settling"},
        {"server stored open unbacked !unended"},
        {"server stored open unbacked unended mined"},
        {"server stored open unbacked unended unmined behind"},  // it may be in a block that was not read yet
        {"server stored open unbacked unended unmined caught_up offered_now"},
        {"server open unbacked unended unmined caught_up !offered_now", "offer_contract"},
        {"server stored unended unmined caught_up !offered_now unaccepted unrefused", "offer_contract"},
        {"server stored unended unmined caught_up !offered_now unaccepted refused"},  // answered
        {"server stored unended unmined caught_up !offered_now !unaccepted"},
    }},
    {"look", "one that never opened", {
        {"client"},
        {"server !stored"},
        {"server stored !unended"},
        {"server stored unended mined"},
        {"server stored unended unmined unrefused"},
        {"server stored unended unmined refused nothing_seen seen_95"},
        {"server stored unended unmined refused seen_96 seen_193 buried", "forget_unopened"},
    }},
    {"look", "one that never began", {
        {"client"},
        {"server none open settling"},
        {"server stored unbacked !unended"},
        {"server stored unbacked unended mined"},
        {"server stored unbacked unended unmined nothing_seen"},
        {"server stored unbacked unended unmined !nothing_seen !past_week"},
        {"server stored unbacked unended unmined !nothing_seen past_week behind"},  // it may be in a block to come
        {"server stored unended unmined !nothing_seen past_week caught_up", "forget_unbegun"},
        {"server unbacked unended unmined !nothing_seen past_week caught_up !unaccepted"},
        {"server unbacked unended unmined !nothing_seen past_week caught_up unaccepted unrefused"},  // asked again first
        {"server unbacked unended unmined !nothing_seen past_week caught_up unaccepted refused", "forget_unbegun"},
    }},

    // ---- what came of it
    {"record_written", "", {
        {"was_written wrote_open", "", "open written"},
        {"was_written wrote_settling", "", "settling written"},
        {"was_written wrote_unbacked", "", "unbacked written"},
        {"was_not_written", "", "unwritten"},
        {"cannot_be_written", "", "written"},  // that was told, and asking again would not help
    }},
    {"settlement_built", "fee", {{"", "", "built_now rate_of_day"}}},
    {"settlement_built", "", {
        {"was_stored", "", "settling another_closing closing_fine offered_now"},
        {"was_not_stored", "", "another_closing closing_fine offered_now asked_over_now"},
    }},
    {"closing_offered", "closing", {
        {"of_nothing", "", "offered_now"},
        {"of_closing", "", "offered_now closing"},
        {"of_another", "", "offered_now another_closing"},
    }},
    {"closing_offered", "fee", {
        {"fee_1999", "", "rate_of_day"},
        {"fee_unread"},
    }},
    {"fees_rose", "", {
        {"!unended"},
        {"server unended !settling"},
        {"server unended settling", "", "never_offered"},  // looked at with the next tick
        {"client unended untold"},
        {"client unended told", "", "never_offered"},
    }},
    {"closing_offered", "told", {
        {"server"},
        {"client untold", "tell_refunding", "told"},
        {"client told"},
    }},
    {"contract_offered", "", {
        {"server asked", "", "offered_now"},
        {"server unasked", "", "offered_now asked seen_now"},
        {"client asked", "", "asked_over_now"},
        {"client unasked", "", "asked_over_now asked seen_now"},
    }},
    {"connection_asked", "", {{"", "", "asked_over_now"}}},
};
// clang-format on

// ---- Rows as they are compared.

struct read_row {
    const group* of = nullptr;
    const row* from = nullptr;
    pattern when;
    duties wanted;
    std::vector<change> then;
    std::size_t matched = 0;
};
using read_group = std::vector<read_row>;

std::vector<read_group> read_table() {
    std::vector<read_group> out;
    for (const group& g : table) {
        read_group& rows = out.emplace_back();
        for (const row& r : g.rows)
            rows.push_back({&g, &r, pattern_of(r.when), duties_of(r.wanted), changes_of(r.then), 0});
    }
    return out;
}

std::string name_of(const read_row& r) {
    return std::string(r.of->event) + ", " + std::string(r.of->about) + ": {" + std::string(r.from->when) + "}";
}

/// Tells the first few of what may be thousands.
class complaints {
public:
    void add(const std::string& text) {
        if (++count_ <= 10) FAIL_CHECK(text);
    }
    [[nodiscard]] std::size_t count() const { return count_; }

private:
    std::size_t count_ = 0;
};

template <channel_role Role>
void check_against(std::vector<read_group>& table_rows) {
    complaints wrong;
    for (const occurrence& e : occurrences()) {
        // The rows for this event, and of those the one for each situation.
        std::vector<std::vector<read_row*>> groups;
        for (read_group& g : table_rows) {
            if (g.front().of->event != e.kind) continue;
            auto& rows = groups.emplace_back();
            for (read_row& r : g)
                if (r.when.holds(e)) rows.push_back(&r);
        }
        INFO(e.kind);
        REQUIRE_FALSE(groups.empty());  // an alternative without rows
        for_each_situation<Role>(e, [&](const watched& before, const situation& was) {
            watched after = before;
            const duties done = step<Role>(after, e.what, settings);
            duties expected;
            situation then = was;
            for (const auto& rows : groups) {
                const read_row* found = nullptr;
                for (read_row* const r : rows) {
                    if (!r->when.holds(was)) continue;
                    ++r->matched;
                    if (found != nullptr)
                        wrong.add("two rows: " + name_of(*found) + ", " + name_of(*r) + ": " + in_words(was));
                    found = r;
                }
                if (found == nullptr) {
                    wrong.add("no row: " + std::string(e.kind) + " " + in_words(e) + ": " + in_words(was));
                    continue;
                }
                add_to(expected, found->wanted);
                for (const change& c : found->then) apply(c, e, then);
            }
            const situation is = situation_of<Role>(after);
            if (done != expected || is != then)
                wrong.add(std::string(e.kind) + " " + in_words(e) + ": " + in_words(was) +
                          "\nduties: " + in_words(done) + "\nnot:    " + in_words(expected) +
                          "\nis:     " + in_words(is) + "\nnot:    " + in_words(then));
        });
    }
    CHECK(wrong.count() == 0);
}

}  // namespace

TEST_CASE("each situation of a watched channel and each event have exactly one row", "[channel][table]") {
    auto rows = read_table();
    check_against<channel_role::client>(rows);
    check_against<channel_role::server>(rows);
    for (const read_group& g : rows)
        for (const read_row& r : g) {
            INFO(name_of(r));
            CHECK(r.matched > 0);  // a row that holds for nothing is out of date
        }
}

TEST_CASE("each alternative of what may happen, and each stage, is in the table", "[channel][table]") {
    std::set<std::size_t> alternatives;
    std::set<std::string_view> kinds;
    for (const occurrence& e : occurrences()) {
        alternatives.insert(e.what.index());
        kinds.insert(e.kind);
    }
    CHECK(alternatives.size() == std::variant_size_v<happening>);
    for (const group& g : table) {
        INFO(g.event);
        CHECK(kinds.contains(g.event));
    }
    std::set<channel_stage> stages;
    for_each_situation<channel_role::server>(occurrences().front(),
                                             [&](const watched& w, const situation&) { stages.insert(w.stage); });
    CHECK(stages.size() == number_of_stages());
}
