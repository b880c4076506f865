// Compares what we said with what the reference said.
#pragma once

#include <set>

#include "replay/transcript.hpp"

namespace replay {

/// A change in the list of differences: the number of its entry, and its own number in that.
using listed = std::pair<std::size_t, std::size_t>;

/// What came of one session and one side.
struct verdict {
    std::string session;
    side who{};
    std::size_t equal = 0;                ///< frames, byte for byte
    std::size_t ends = 0;                 ///< of connections, by our side itself, without a word, as the reference
    std::size_t extended = 0;             ///< of these, ours had extension fields, which were taken off
    std::size_t same_meaning = 0;         ///< explanations, or other signatures that verify
    std::size_t not_compared = 0;         ///< frames of the reference after the conversations parted
    std::size_t beside = 0;               ///< broadcasts, refunds and what the application heard, all equal
    std::vector<std::string> deliberate;  ///< reasons of differences that are listed, one for each
    std::vector<std::string> problems;    ///< differences that are not
    std::vector<std::string> log;         ///< a line for each frame
    std::set<listed> used;                ///< changes of the list that came
};

/// made_up_contract  ours spends one that is in no recording: PROVIDE_REFUND may name another txid
[[nodiscard]] verdict compare(const session& s, side who, const transcript& ours, bool made_up_contract);

/// The frame without the fields of extensions.  As it is when it has none, and when it is not what our codec writes.
[[nodiscard]] bytes without_extensions(const bytes& frame);

/// True when the frames differ in nothing but an explanation, or in signatures that both verify.
[[nodiscard]] bool mean_the_same(const session& s, const bytes& reference, const bytes& ours, bool made_up_contract);

/// True when the transactions are the same but for the signatures in their first input, and ours spends a contract of the
/// session as nodes want it.
[[nodiscard]] bool spend_the_same(const session& s, const bytes& reference, const bytes& ours);

}  // namespace replay
