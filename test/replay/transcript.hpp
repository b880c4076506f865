// What one side said in a session, the reference's or ours, in the same form, so that the two can be compared.
#pragma once

#include "paychan/wire/frame.hpp"
#include "replay/session.hpp"

namespace replay {

/// A frame, or the end of the connection by this side.
struct item {
    enum class kind : std::uint8_t {
        frame,
        resent,    ///< our client's last payment again, before a resumed channel goes on
        hangs_up,  ///< ends the connection without a word
        cuts_off,  ///< the same, because of bytes that are no message
        let_go,    ///< ours only: its owner ended the connection, for the recorded one did
    };
    kind what = kind::frame;
    bytes frame{};
};

/// One side's part of one connection.  An end that the protocol asks for (after CLOSE and ERROR) is not written down.
class talk {
public:
    explicit talk(side own = side::server) : own_(own) {}

    void said(bytes frame);
    /// The last frame was no new payment.
    void said_again() { items_.back().what = item::kind::resent; }
    void heard(paychan::bytes_view frame);
    void heard_garbage() { garbage_ = true; }
    /// Either side ended; only the first end counts.
    void ended_by(side who);

    /// Our side's owner ended the connection when the recorded one did, for it wants nothing more or has waited long
    /// enough: that our side itself would have ended it is not known then.
    void given_up();

    [[nodiscard]] const std::vector<item>& items() const { return items_; }
    [[nodiscard]] bool over() const { return over_; }

private:
    side own_;
    std::vector<item> items_;
    bool over_ = false;
    bool garbage_ = false;
    bool goodbye_ = false;  // a CLOSE or ERROR after which the end needs no explanation
};

struct transcript {
    bool has_events = true;  ///< false: what is not frames is unknown
    std::map<int, talk> connections;
    std::vector<told_payment> payments;      ///< server: that its application heard of
    std::vector<told_payment> acks;          ///< client: the same
    std::vector<bytes> broadcasts;           ///< server
    std::map<paychan::txid, bytes> refunds;  ///< client: on its disk
    std::vector<std::string> problems;       ///< what went wrong besides frames, or cannot be played
};

/// What the reference said.
[[nodiscard]] transcript recorded(const session& s, side own);

/// In words: "SERVER_VERSION 2", "ERROR BAD_TRANSACTION", "CLOSE with settlement", "hangs up".  What must be equal where
/// bytes need not be.
[[nodiscard]] std::string in_brief(const item& i);

/// Calls f(frame) for each frame that a stream's next bytes complete; false when the stream is no longer one of frames.
template <class F>
[[nodiscard]] bool each_frame(paychan::wire::frame_reader<>& reader, paychan::bytes_view segment, F&& f) {
    for (;;) {
        const auto frame = reader.next(segment);
        if (!frame) return false;
        if (!*frame) return true;
        f(**frame);
    }
}

}  // namespace replay
