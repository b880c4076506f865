// What both sides need to be played: the policies whose answers are recorded, and the transcript.
#pragma once

#include "paychan/memory/clock.hpp"
#include "paychan/memory/store.hpp"
#include "paychan/protobuf/codec.hpp"
#include "paychan/wire/codec.hpp"
#include "replay/play.hpp"

namespace replay {

class player {
protected:
    player(const session& s, side own, nonces n) : session_(s), clock_(s.time), keys_(s, own, n) {
        if (!keys_.problem().empty()) cannot_be_played(keys_.problem());
    }

    void cannot_be_played(const std::string& why) { out_.problems.push_back("cannot be played: " + why); }
    void complain(const std::string& what, const paychan::error& e) {
        out_.problems.push_back(what + " failed: " + std::string(e.text));
    }

    const session& session_;
    paychan::manual_clock clock_;
    recorded_keys keys_;
    paychan::memory_store store_;
    transcript out_;
};

/// f.template operator()<CodecPolicy>() for the codec of that name.
template <class F>
played with_codec(codec_choice choice, F&& f) {
    return choice == codec_choice::small ? f.template operator()<paychan::wire::small_codec>()
                                         : f.template operator()<paychan::protobuf_codec>();
}

}  // namespace replay
