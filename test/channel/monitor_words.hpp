// Words for what a watched channel is, for the table of monitor_table.cpp: each dimension has one word for each value that
// makes a difference.
#pragma once

#include <algorithm>
#include <array>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "paychan/channel/monitor_step.hpp"

namespace paychan_test::monitor_words {

using paychan::channel_role;
using paychan::channel_stage;
using paychan::duties;
using paychan::txid;
using paychan::unix_time;
using paychan::watched;

// ---- The values behind the words.

inline const paychan::monitor_settings settings{};
inline constexpr unix_time expiry{1'700'000'000};
inline constexpr unix_time first_seen{1'600'000'000};
inline constexpr unix_time looked_at{1'650'000'000};
inline constexpr std::int32_t this_round = 7;
inline constexpr std::int32_t mined_at = 90, refused_at = 90, ended_at = 95, other_height = 99;
inline constexpr txid closing{{1}}, another_closing{{2}};

// ---- Situations.

/// The words of a dimension; the first `given` are of situations before an event, the others only come out of one.
struct dimension {
    std::size_t given;
    std::vector<std::string_view> words;
};
enum of : std::size_t {
    role,
    stage,
    contract,
    end,
    end_height,
    read,
    written,
    asked,
    accepted,
    refused,
    closing_refused,
    told,
    overdue,
    offered,
    asked_over,
    built_at,
    built_rate,
    closed_by,
    recorded,
    expires,
    seen,
    facts,
    dimensions
};
inline const std::array<dimension, dimensions>& vocabulary() {
    static const std::array<dimension, dimensions> all{{
        {2, {"client", "server"}},
        {5, {"none", "stored", "open", "settling", "unbacked"}},
        {2, {"unmined", "mined", "mined_anew"}},
        {4, {"unended", "spent", "lost", "elsewhere"}},
        {2, {"not_ended", "ended", "ended_anew"}},
        {2, {"read", "unread"}},
        {2, {"written", "unwritten"}},
        {2, {"unasked", "asked"}},
        {3, {"unaccepted", "accepted", "backed"}},
        {2, {"unrefused", "refused", "refused_anew"}},
        {2, {"closing_fine", "closing_refused"}},
        {2, {"untold", "told"}},
        {2, {"in_time", "overdue"}},
        {3, {"never_offered", "offered_before", "offered_now"}},
        {3, {"not_asked_over", "asked_over_before", "asked_over_now"}},
        {3, {"not_built", "built_long_ago", "built_lately", "built_now", "taken_at_99"}},
        {2, {"rate_unknown", "rate_1000", "rate_1999", "rate_2000"}},
        {2, {"no_closing", "closing", "another_closing"}},
        {2, {"unrecorded", "recorded", "recorded_anew"}},
        {1, {"expiry", "no_expiry"}},
        {1, {"seen_before", "seen_now"}},
        {2, {"facts_known", "facts_unknown"}},
    }};
    return all;
}

/// Which word of each dimension.
using situation = std::array<std::uint8_t, dimensions>;

[[nodiscard]] inline std::string in_words(const situation& s) {
    std::string out;
    for (std::size_t d = 0; d < dimensions; ++d) out += (d == 0 ? "" : " ") + std::string(vocabulary()[d].words[s[d]]);
    return out;
}

template <class T>
[[nodiscard]] T value_at(std::size_t word, std::initializer_list<T> values) {
    return *(values.begin() + word);
}

/// The channel that is so.
[[nodiscard]] inline watched watched_of(const situation& s) {
    using paychan::channel_stage;
    watched w;
    w.stage = value_at(s[stage], {channel_stage::none, channel_stage::contract_stored, channel_stage::open,
                                  channel_stage::settling, channel_stage::unbacked});
    w.contract_height = value_at(s[contract], {0, mined_at, other_height});
    w.end_height = value_at(s[end_height], {0, ended_at, other_height});
    w.lost = s[end] >= 2;
    w.elsewhere = s[end] == 3;
    w.unread = s[read] == 1;
    w.unwritten = s[written] == 1;
    w.asked = s[asked] == 1;
    w.accepted = s[accepted] >= 1;
    w.backed = s[accepted] == 2;
    w.refused_at = value_at(s[refused], {watched::never, refused_at, other_height});
    w.refused = s[closing_refused] == 1;
    w.told = s[told] == 1;
    w.overdue = s[overdue] == 1;
    w.offered = value_at(s[offered], {watched::never, this_round - 1, this_round});
    w.asked_over = value_at(s[asked_over], {watched::never, this_round - 1, this_round});
    w.built_at = value_at(s[built_at], {watched::never, this_round - 6, this_round - 5, this_round, other_height});
    w.built_rate = value_at(s[built_rate], {0, 1'000, 1'999, 2'000});
    w.closing = value_at(s[closed_by], {txid{}, closing, another_closing});
    w.recorded_height = value_at(s[recorded], {0, ended_at, other_height});
    w.expiry = value_at(s[expires], {expiry, watched::no_time});
    w.seen = value_at(s[seen], {first_seen, looked_at});
    w.unknown = s[facts] == 1;
    return w;
}

template <class T>
[[nodiscard]] std::uint8_t word_of(const T& value, std::initializer_list<T> values) {
    std::uint8_t word = 0;
    for (const T& v : values) {
        if (v == value) return word;
        ++word;
    }
    throw std::logic_error("a value that no situation has");
}

/// What the channel is.  Throws where it is nothing that there are words for: a value from nowhere.
template <channel_role Role>
[[nodiscard]] situation situation_of(const watched& w) {
    // A field more is a mistake here, until it is a dimension.
    [[maybe_unused]] const auto& [f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19,
                                  f20, f21, f22, f23] = w;
    situation s{};
    s[role] = Role == channel_role::client ? 0 : 1;
    s[stage] = word_of(w.stage, {channel_stage::none, channel_stage::contract_stored, channel_stage::open,
                                 channel_stage::settling, channel_stage::unbacked});
    s[contract] = word_of(w.contract_height, {0, mined_at, other_height});
    s[end_height] = word_of(w.end_height, {0, ended_at, other_height});
    if (!w.ended() && (w.lost || w.elsewhere)) throw std::logic_error("lost without an end");
    if (w.elsewhere && !w.lost) throw std::logic_error("elsewhere, and not lost");
    s[end] = static_cast<std::uint8_t>(w.ended() ? 1 + (w.lost ? 1 : 0) + (w.elsewhere ? 1 : 0) : 0);
    s[read] = w.unread;
    s[written] = w.unwritten;
    s[asked] = w.asked;
    if (w.backed && !w.accepted) throw std::logic_error("backed, and not accepted");
    s[accepted] = static_cast<std::uint8_t>((w.accepted ? 1 : 0) + (w.backed ? 1 : 0));
    s[refused] = word_of(w.refused_at, {watched::never, refused_at, other_height});
    s[closing_refused] = w.refused;
    s[told] = w.told;
    s[overdue] = w.overdue;
    s[offered] = word_of(w.offered, {watched::never, this_round - 1, this_round});
    s[asked_over] = word_of(w.asked_over, {watched::never, this_round - 1, this_round});
    s[built_at] = word_of(w.built_at, {watched::never, this_round - 6, this_round - 5, this_round, other_height});
    s[built_rate] = word_of(w.built_rate, {0, 1'000, 1'999, 2'000});
    s[closed_by] = word_of(w.closing, {txid{}, closing, another_closing});
    s[recorded] = word_of(w.recorded_height, {0, ended_at, other_height});
    s[expires] = word_of(w.expiry, {expiry, watched::no_time});
    s[seen] = word_of(w.seen, {first_seen, looked_at});
    s[facts] = w.unknown;
    return s;
}

// No default: a new enumerator is a warning here, and is one stage more.
[[nodiscard]] inline std::size_t number_of_stages() {
    std::size_t n = 0;
    for (int i = 0; i < 256; ++i) switch (static_cast<channel_stage>(i)) {
            case channel_stage::none:
            case channel_stage::contract_stored:
            case channel_stage::open:
            case channel_stage::settling:
            case channel_stage::unbacked: ++n;
        }
    return n;
}

// ---- Duties.

namespace detail {
/// f(name, flag) for each, but for `tell`.
template <class Duties, class F>
void for_each_duty(Duties& d, F&& f) {
    auto& [keep, read, write_end, stop_payments, stop_if_open, settle, build_anew, offer_contract, offer_closing,
           watch_coins, forget, forget_unopened, forget_unbegun, tell] = d;
    f("keep", keep);
    f("read", read);
    f("write_end", write_end);
    f("stop_payments", stop_payments);
    f("stop_if_open", stop_if_open);
    f("settle", settle);
    f("build_anew", build_anew);
    f("offer_contract", offer_contract);
    f("offer_closing", offer_closing);
    f("watch_coins", watch_coins);
    f("forget", forget);
    f("forget_unopened", forget_unopened);
    f("forget_unbegun", forget_unbegun);
}
inline constexpr std::array told_kinds{
    std::pair{std::string_view("tell_confirmed"), paychan::event_kind::confirmed},
    std::pair{std::string_view("tell_double_spent"), paychan::event_kind::double_spent},
    std::pair{std::string_view("tell_settled"), paychan::event_kind::settled},
    std::pair{std::string_view("tell_refunding"), paychan::event_kind::refunding},
};

template <class F>
void for_each_word(std::string_view text, F&& f) {
    while (!text.empty()) {
        const std::size_t space = std::min(text.find(' '), text.size());
        if (space > 0) f(text.substr(0, space));
        text.remove_prefix(std::min(space + 1, text.size()));
    }
}
}  // namespace detail

[[nodiscard]] inline duties duties_of(std::string_view text) {
    duties out;
    detail::for_each_word(text, [&](std::string_view word) {
        bool known = false;
        detail::for_each_duty(out, [&](std::string_view name, bool& flag) {
            if (name == word) flag = known = true;
        });
        for (const auto& [name, kind] : detail::told_kinds)
            if (name == word) {
                out.tell = kind;
                known = true;
            }
        if (!known) throw std::logic_error("no such duty: " + std::string(word));
    });
    return out;
}

[[nodiscard]] inline std::string in_words(const duties& d) {
    std::string out;
    detail::for_each_duty(d, [&](std::string_view name, bool flag) {
        if (flag) out += std::string(name) + " ";
    });
    if (!d.tell) return out;
    for (const auto& [name, kind] : detail::told_kinds)
        if (d.tell == kind) return out + std::string(name);
    return out + "tell_?";
}

inline void add_to(duties& all, const duties& more) {
    std::vector<bool> flags;
    detail::for_each_duty(more, [&](std::string_view, bool flag) { flags.push_back(flag); });
    std::size_t i = 0;
    detail::for_each_duty(all, [&](std::string_view, bool& flag) { flag = flags[i++] || flag; });
    if (more.tell) all.tell = more.tell;
}

}  // namespace paychan_test::monitor_words
