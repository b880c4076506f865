// Plays one side of a recorded session: ours, against the other side's recorded bytes.
#pragma once

#include "replay/recorded_policies.hpp"
#include "replay/transcript.hpp"

namespace replay {

/// Which codec our side reads and writes frames with.
enum class codec_choice : std::uint8_t { small, protobuf };

struct play_options {
    nonces signing = nonces::recorded;
    codec_choice codec = codec_choice::small;
};

struct played {
    transcript ours;
    bool made_up_contract = false;  ///< our client's contract is in no recording
};

[[nodiscard]] played play_server(const session& s, const play_options& options);
[[nodiscard]] played play_client(const session& s, const play_options& options, const contract_pool& pool);

}  // namespace replay
