// Compares transcripts frame by frame.
#include "replay/compare.hpp"

#include <algorithm>

#include "replay/differences.hpp"
#include "support/wire.hpp"

namespace replay {

using namespace paychan;

namespace {

/// * stands for any text.
bool matches(std::string_view pattern, std::string_view text) {
    if (pattern.empty()) return text.empty();
    if (pattern[0] == '*') {
        for (std::size_t skip = 0; skip <= text.size(); ++skip)
            if (matches(pattern.substr(1), text.substr(skip))) return true;
        return false;
    }
    return !text.empty() && pattern[0] == text[0] && matches(pattern.substr(1), text.substr(1));
}

bool is_among(std::string_view patterns, std::string_view name) {
    bool found = false;
    each_of(patterns, [&](std::string_view pattern) { found = found || matches(pattern, name); });
    return found;
}

std::optional<listed> find(const std::string& name, side who, const std::string& reference, const std::string& ours) {
    for (std::size_t n = 0; n < differences.size(); ++n) {
        const difference& d = differences[n];
        if (d.who != who || !is_among(d.sessions, name)) continue;
        for (std::size_t k = 0; k < d.changes.size(); ++k) {
            const change& c = d.changes[k];
            if (c.is_set() && matches(c.reference, reference) && matches(c.ours, ours)) return listed{n, k};
        }
    }
    return std::nullopt;
}

std::string text_of(const std::vector<told_payment>& list) {
    std::string out;
    for (const told_payment& p : list)
        out += (out.empty() ? "" : " ") + std::to_string(p.amount) + "/" + std::to_string(p.total);
    return out.empty() ? "none" : out;
}

class comparison {
public:
    comparison(const session& s, side who, const transcript& reference, const transcript& ours, bool made_up)
        : session_(s), reference_(reference), ours_(ours), made_up_(made_up) {
        out_.session = s.name;
        out_.who = who;
        out_.problems = ours.problems;
    }

    verdict run() {
        if (!out_.problems.empty()) parted_ = true;  // it could not be played as recorded
        for (const auto& [connection, talk] : reference_.connections) {
            const auto mine = ours_.connections.find(connection);
            compare_talk(connection, talk.items(), mine == ours_.connections.end() ? nothing_ : mine->second.items());
        }
        if (!reference_.has_events) return std::move(out_);
        if (!parted_) compare_broadcasts();
        if (!parted_) compare_refunds();
        if (!parted_) compare_told("payments", reference_.payments, ours_.payments);
        if (!parted_) compare_told("acks", reference_.acks, ours_.acks);
        return std::move(out_);
    }

private:
    /// One thing that the reference did, or nothing, and one of ours.
    struct pair {
        std::string where;
        std::string reference;  // in brief; empty: nothing
        std::string ours;
        bytes reference_bytes{};
        bytes our_bytes{};
    };
    enum class outcome : std::uint8_t { equal, same_meaning, deliberate, only_ours, unknown, unexplained };

    void compare_talk(int connection, const std::vector<item>& reference, const std::vector<item>& ours) {
        std::size_t i = 0;
        std::size_t j = 0;
        while (!parted_ && (i < reference.size() || j < ours.size())) {
            const item* theirs = i < reference.size() ? &reference[i] : nullptr;
            const item* mine = j < ours.size() ? &ours[j] : nullptr;
            // What nobody asked the reference for stands alone.
            if (mine != nullptr && mine->what == item::kind::resent) theirs = nullptr;
            const outcome o = compare_items("connection " + std::to_string(connection) + ": ", theirs, mine);
            if (theirs != nullptr && o != outcome::only_ours) ++i;
            if (mine != nullptr) ++j;
        }
        if (parted_) out_.not_compared += reference.size() - i;
    }

    outcome compare_items(const std::string& where, const item* theirs, const item* mine) {
        pair p{where, theirs != nullptr ? in_brief(*theirs) : "", mine != nullptr ? in_brief(*mine) : ""};
        if (theirs != nullptr) p.reference_bytes = theirs->frame;
        if (mine != nullptr) p.our_bytes = without_extensions(mine->frame);
        if (theirs != nullptr && mine != nullptr && theirs->what == item::kind::hangs_up &&
            mine->what == item::kind::let_go)
            return log("-", p, both_briefs(p)), outcome::unknown;
        const bool extended = mine != nullptr && p.our_bytes != mine->frame;
        // Extensions are for those who announced them, and the reference never does.
        if (extended && !p.ours.starts_with("CLIENT_VERSION"))
            out_.problems.push_back(where + p.ours + " has extension fields, for a peer that did not announce them");
        const bool both = theirs != nullptr && mine != nullptr && theirs->what == mine->what;
        const bool equal = both && p.reference_bytes == p.our_bytes;
        if (equal) ++(theirs->what == item::kind::frame ? out_.equal : out_.ends);
        out_.extended += equal && extended ? 1U : 0U;
        const outcome o =
            judge(p, equal, [&] { return both && mean_the_same(session_, p.reference_bytes, p.our_bytes, made_up_); });
        out_.same_meaning += o == outcome::same_meaning ? 1U : 0U;
        return o;
    }

    template <class SameMeaning>
    outcome judge(const pair& p, bool equal, SameMeaning&& same_meaning) {
        if (equal) return log("=", p, p.ours), outcome::equal;
        const auto found = find(session_.name, out_.who, p.reference, p.ours);
        const change what = found ? differences[found->first].changes[found->second] : change{};
        if (found && (what.also != same_but_signed || same_meaning())) {
            out_.deliberate.emplace_back(differences[found->first].reason);
            out_.used.insert(*found);
            parted_ = what.also == parts;
            log("!", p, both_briefs(p));
            return what.reference.empty() ? outcome::only_ours : outcome::deliberate;
        }
        if (same_meaning()) return log("~", p, p.ours), outcome::same_meaning;
        std::string text = p.where + both_briefs(p);
        if (!p.reference_bytes.empty()) text += "\n          reference " + paychan_test::hex(p.reference_bytes);
        if (!p.our_bytes.empty()) text += "\n          ours      " + paychan_test::hex(p.our_bytes);
        if (p.ours.starts_with("ERROR")) text += "\n          our text: " + paychan_test::error_text({p.our_bytes});
        out_.problems.push_back(text);
        log("X", p, both_briefs(p));
        // Where another kind of message came, nothing behind it fits.
        parted_ = p.reference != p.ours;
        return outcome::unexplained;
    }

    void compare_broadcasts() {
        std::size_t i = 0;
        std::size_t j = 0;
        while (i < reference_.broadcasts.size() || j < ours_.broadcasts.size()) {
            pair p{"network: ", "", ""};
            if (i < reference_.broadcasts.size()) p.reference_bytes = reference_.broadcasts[i];
            if (j < ours_.broadcasts.size()) p.our_bytes = ours_.broadcasts[j];
            p.reference = broadcast_in_brief(p.reference_bytes);
            p.ours = broadcast_in_brief(p.our_bytes);
            if (judge_beside(p) != outcome::only_ours) ++i;
            ++j;
        }
    }

    void compare_refunds() {
        for (const auto& [id, refund] : reference_.refunds) {
            const auto mine = ours_.refunds.find(id);
            pair p{"disk: ", "has the refund", mine != ours_.refunds.end() ? "has the refund" : "", refund};
            if (mine != ours_.refunds.end()) p.our_bytes = mine->second;
            (void)judge_beside(p);
        }
    }

    outcome judge_beside(const pair& p) {
        const outcome o = judge(p, p.reference_bytes == p.our_bytes,
                                [&] { return spend_the_same(session_, p.reference_bytes, p.our_bytes); });
        out_.beside += o == outcome::equal || o == outcome::same_meaning ? 1U : 0U;
        return o;
    }

    [[nodiscard]] std::string broadcast_in_brief(const bytes& tx) const {
        if (tx.empty()) return "";
        const bool contract = std::ranges::any_of(session_.channels, [&](const auto& c) { return c.contract == tx; });
        return contract ? "broadcasts the contract" : "broadcasts a settlement";
    }

    void compare_told(const char* what, const std::vector<told_payment>& reference,
                      const std::vector<told_payment>& ours) {
        if (reference == ours) {
            out_.beside += ours.size();
            return;
        }
        out_.problems.push_back(std::string(what) + ": the reference told its application " + text_of(reference) +
                                ", we ours " + text_of(ours) + " (amount/total)");
    }

    [[nodiscard]] static std::string both_briefs(const pair& p) {
        const auto words = [](const std::string& brief) { return brief.empty() ? std::string("nothing") : brief; };
        return "reference: " + words(p.reference) + ", ours: " + words(p.ours);
    }

    void log(const char* sign, const pair& p, const std::string& text) {
        out_.log.push_back(std::string(sign) + " " + p.where + text +
                           (p.our_bytes.empty() ? "" : "  " + paychan_test::hex(p.our_bytes)));
    }

    const session& session_;
    const transcript& reference_;
    const transcript& ours_;
    bool made_up_;
    bool parted_ = false;
    verdict out_;
    const std::vector<item> nothing_{};
};

}  // namespace

bytes without_extensions(const bytes& frame) {
    auto m = wire::small_codec::decode(frame);
    // Decoding would hide how something is written: what is not written as we write has to differ.
    if (!m || paychan_test::encoded(*m) != frame) return frame;
    if (auto* v = std::get_if<wire::client_version>(&*m)) {
        v->extensions.reset();
        v->resume_time.reset();
        v->resume_signature.reset();
    }
    if (auto* o = std::get_if<wire::channel_open>(&*m)) o->resumed.reset();
    if (auto* a = std::get_if<wire::payment_ack>(&*m)) a->paid.reset();
    return paychan_test::encoded(*m);
}

verdict compare(const session& s, side who, const transcript& ours, bool made_up_contract) {
    return comparison(s, who, recorded(s, who), ours, made_up_contract).run();
}

}  // namespace replay
