// What holds for every situation of a watched channel and every event, whatever the table says.
#include <catch2/catch.hpp>

#include "channel/monitor_occurrences.hpp"

using namespace paychan;
using namespace paychan_test::monitor_words;

namespace {

template <class F>
void for_each_pair(F&& f) {
    for (const occurrence& e : occurrences()) {
        for_each_situation<channel_role::client>(e, [&](const watched& w, const situation& s) {
            f(std::integral_constant<channel_role, channel_role::client>{}, e, w, s);
        });
        for_each_situation<channel_role::server>(e, [&](const watched& w, const situation& s) {
            f(std::integral_constant<channel_role, channel_role::server>{}, e, w, s);
        });
    }
}

/// Counts what is wrong, and tells the first few.
struct counted {
    std::size_t wrong = 0;
    std::size_t checked = 0;
    void expect(bool right, const occurrence& e, const situation& s) {
        ++checked;
        if (!right && ++wrong <= 10) FAIL_CHECK(e.kind << " " << in_words(e) << ": " << in_words(s));
    }
    ~counted() {
        CHECK(wrong == 0);
        CHECK(checked > 0);
    }
};

/// A channel's next look as an index has it: `time` is the later of clock and chain for a server, the chain's for a client.
template <channel_role Role>
bool reached(const due& d, const happened::look& l) {
    const unix_time at = Role == channel_role::server ? std::max(l.now, l.median_time) : l.median_time;
    return d.time <= at || d.height <= l.height || d.round <= l.round;
}

/// Looks at more times, heights and rounds than the table has.
const std::vector<occurrence>& looks() {
    static const auto all = [] {
        std::vector<occurrence> out;
        for (const look_time& t : look_times())
            for (const std::int64_t later : {0, 1})
                for (const auto& [word, height] : look_heights)
                    for (const std::int32_t round : {this_round, this_round + 1, this_round + 7})
                        for (const bool caught_up : {false, true})
                            out.push_back(
                                {"look",
                                 {t.word, word, caught_up ? "caught_up" : "behind"},
                                 happened::look{t.now + later, t.median_time + later, height, round, caught_up}});
        return out;
    }();
    return all;
}

template <channel_role Role, class F>
void for_each_look(F&& f) {
    for (const occurrence& e : looks())
        for_each_situation<Role>(e, [&](const watched& w, const situation& s) {
            f(std::integral_constant<channel_role, Role>{}, e, std::get<happened::look>(e.what), w, s);
        });
}

/// Not of this world: only a block makes a channel overdue, and there is a height from then on; and nothing is to be written
/// of a channel that was never read and need not be read.
bool is_impossible(const watched& w, const happened::look& l) {
    return (w.overdue && l.height == 0) || (w.stage == channel_stage::none && w.unwritten && !w.unread);
}

/// Looked at with each tick until the chain's time, which decides when such a channel is forgotten, is past that too.
bool awaits_chains_time(const watched& w, const happened::look& l) {
    const unix_time week_later = w.expiry + settings.stillborn_age;
    return w.overdue && w.unbegun() && l.now > week_later && l.median_time <= week_later;
}

}  // namespace

TEST_CASE("a monitor's step is the same whenever it is taken", "[channel][table]") {
    counted all;
    for_each_pair([&](auto role, const occurrence& e, const watched& before, const situation& s) {
        watched first = before, second = before;
        const duties todo = step<role()>(first, e.what, settings);
        const bool same = step<role()>(second, e.what, settings) == todo;
        all.expect(same && situation_of<role()>(first) == situation_of<role()>(second), e, s);
    });
}

TEST_CASE("an event that is told twice changes nothing the second time, and asks to keep nothing new",
          "[channel][table]") {
    counted all;
    for_each_pair([&](auto role, const occurrence& e, const watched& before, const situation& s) {
        if (e.kind == "record_written") return;
        watched w = before;
        (void)step<role()>(w, e.what, settings);
        const situation once = situation_of<role()>(w);
        const duties again = step<role()>(w, e.what, settings);
        // What is stored differs from what is believed as before: it is to be written until it is.
        const bool keeps = again.keep && e.kind != "facts_read" && e.kind != "facts_unreadable";
        all.expect(!keeps && situation_of<role()>(w) == once, e, s);
    });
}

TEST_CASE("a block that leaves takes with it what it did", "[channel][table]") {
    counted all;
    for_each_pair([&](auto role, const occurrence& e, const watched& before, const situation& s) {
        std::int32_t height = 0;
        if (const auto* const m = std::get_if<happened::contract_mined>(&e.what)) height = m->height;
        if (const auto* const m = std::get_if<happened::contract_spent>(&e.what)) height = m->height;
        if (const auto* const m = std::get_if<happened::coins_spent>(&e.what)) height = m->height;
        if (height == 0) return;
        watched w = before;
        const duties todo = step<role()>(w, e.what, settings);
        if (!todo.keep && e.kind == "coins_spent") return;  // it made no difference
        const duties undone = step<role()>(w, disconnected_blocks{height}, settings);
        const bool is_undone = w.contract_height < height && w.end_height < height;
        const bool gone = e.kind == "contract_mined" ? w.contract_height == 0 : !w.ended() && !w.lost && !w.unwritten;
        all.expect(is_undone && gone && undone.keep && undone.watch_coins, e, s);
    });
}

TEST_CASE("the chain's facts come back from the store as they were, whatever happened", "[channel][table]") {
    counted all;
    for_each_pair([&](auto role, const occurrence& e, const watched& before, const situation& s) {
        if (e.kind == "look") return;  // the table has that it changes none
        watched w = before;
        (void)step<role()>(w, e.what, settings);
        const auto facts = read_watch(write_watch(w).view());
        const bool same = facts && facts->contract_height == w.contract_height && facts->end_height == w.end_height &&
                          facts->lost == w.lost && facts->elsewhere == w.elsewhere &&
                          facts->closing == (w.ended() && !w.lost ? w.closing : txid{});
        all.expect(same, e, s);
    });
}

TEST_CASE("whatever changes what is stored asks to keep it", "[channel][table]") {
    counted all;
    for_each_pair([&](auto role, const occurrence& e, const watched& before, const situation& s) {
        if (e.kind == "facts_read" || e.kind == "record_read" || e.kind == "look") return;  // see the table
        watched w = before;
        const duties todo = step<role()>(w, e.what, settings);
        // The name of what ends a channel that is not ended is the record's matter.
        const bool changed = write_watch(w) != write_watch(before);
        const bool only_name = e.kind == "settlement_built" || e.kind == "closing_offered";
        all.expect(!changed || todo.keep || only_name, e, s);
    });
}

TEST_CASE("no look that finds something to do is missed", "[channel][table]") {
    counted all;
    const auto check = [&](auto role, const occurrence& e, const happened::look& l, const watched& before,
                           const situation& s) {
        if (is_impossible(before, l)) return;
        watched w = before;
        const duties todo = step<role()>(w, l, settings);
        if (todo == duties{} || reached<role()>(due_of<role()>(before, settings, l.caught_up), l))
            return all.expect(true, e, s);
        // Whose connection was asked in this round, is looked at in the next one.
        duties only;
        only.forget_unbegun = true;
        all.expect(todo == only && before.asked_over == l.round, e, s);
    };
    for_each_look<channel_role::client>(check);
    for_each_look<channel_role::server>(check);
}

TEST_CASE("a channel that has nothing to be done is not looked at again before something changes", "[channel][table]") {
    counted all;
    const auto check = [&](auto role, const occurrence& e, const happened::look& l, const watched& before,
                           const situation& s) {
        if (is_impossible(before, l)) return;
        watched w = before;
        if (step<role()>(w, l, settings) != duties{}) return;
        if (role() == channel_role::server && awaits_chains_time(w, l)) return;
        all.expect(!reached<role()>(due_of<role()>(w, settings, l.caught_up), l), e, s);
    };
    for_each_look<channel_role::client>(check);
    for_each_look<channel_role::server>(check);
}

TEST_CASE("a channel with its duties done is not due again in this round, but for what failed", "[channel][table]") {
    counted all;
    const auto check = [&](auto role, const occurrence& e, const happened::look& l, const watched& before,
                           const situation& s) {
        if (is_impossible(before, l)) return;
        constexpr bool server = role() == channel_role::server;
        watched w = before;
        const auto now = [&](const happening& what) { return step<role()>(w, what, settings); };
        const duties todo = now(l);
        if (todo == duties{} || todo.read || todo.forget || todo.forget_unopened || todo.forget_unbegun) return;
        // As the monitors carry it out when nothing fails.
        if (todo.write_end) (void)now(happened::record_written{true, false, channel_stage::settling});
        if (todo.stop_payments) (void)now(happened::record_written{true, false, w.stage});
        if (todo.settle || todo.build_anew)
            (void)now(happened::settlement_built{another_closing, l.round, fee_rate{1'999}, true});
        else if (todo.offer_closing)
            (void)now(happened::closing_offered{closing, l.round, {}});
        else if (todo.offer_contract)
            (void)now(happened::contract_offered{l.round, l.now});
        const duties left = now(l);
        if (server && awaits_chains_time(w, l)) return;
        all.expect(left == duties{} && !reached<role()>(due_of<role()>(w, settings, l.caught_up), l), e, s);
    };
    for_each_look<channel_role::client>(check);
    for_each_look<channel_role::server>(check);
}
