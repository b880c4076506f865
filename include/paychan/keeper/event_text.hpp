// Events as people read them, in a log or on a terminal.
#pragma once

#include "paychan/channel/effects.hpp"
#include "paychan/keeper/text.hpp"

namespace paychan {

/// The hex of a stranger's info: of 64 bytes at the most.
[[nodiscard]] inline std::string short_hex(bytes_view info) {
    constexpr std::size_t longest = 64;
    if (info.size() <= longest) return hex_of(info);
    return hex_of(info.first(longest)) + "... (" + std::to_string(info.size()) + " bytes)";
}

/// One line.  Empty for what is no news to people: what was stored or closed, and payments without info.
/// protocol  the channel's protocol version, where `opened` should tell it; 0: it should not
[[nodiscard]] inline std::string text_of(const event& e, std::int32_t protocol = 0) {
    const std::string channel = "channel " + text_of(e.channel);
    const auto paid = [&](const char* what) {
        if (e.data.empty()) return std::string();
        return what + text_of(e.amount) + " on " + channel + " with info " + short_hex(e.data);
    };
    switch (e.kind) {
        case event_kind::stored:
        case event_kind::closed: return {};
        case event_kind::opened:
            return "opened " + channel + (protocol != 0 ? " (version " + std::to_string(protocol) + ")" : "") +
                   ", paid so far " + text_of(e.total);
        case event_kind::payment: return paid("payment of ");
        case event_kind::acked: return paid("ack of ");
        case event_kind::settled:
            return "settled " + channel + " for " + text_of(e.total) + " with transaction " + text_of(e.closing);
        case event_kind::error: {
            std::string line = e.channel != txid{} ? channel + ": " : "";
            line += std::string(e.problem.text) + " (" + std::string(name(e.problem.code)) + ")";
            if (!e.data.empty()) line += "; the peer says: " + harmless(e.data);
            return line;
        }
        case event_kind::refunding: return "taking the refund of " + channel;
        case event_kind::confirmed:
            if (e.closing == txid{}) return channel + " ended on chain: " + std::string(e.problem.text);
            return channel + " ended on chain with transaction " + text_of(e.closing);
        case event_kind::buried: return channel + " is buried and forgotten";
        case event_kind::double_spent:
            return channel + ": " + std::string(e.problem.text) + ", with transaction " + text_of(e.closing) + "; " +
                   text_of(e.total) + " paid on it are worth nothing unless a reorganisation undoes that";
        case event_kind::lost:
            return channel + " was refunded to its client with transaction " + text_of(e.closing) + ": " +
                   text_of(e.total) + " paid on it are lost";
        case event_kind::taken_back:
            return "the coins of " + channel + " come back to the wallet with transaction " + text_of(e.closing);
        case event_kind::clock_wrong:
            return "this machine's clock says " + text_of(e.clock) + ", and the chain's blocks are of " +
                   text_of(e.chain_time) + ": set it right; until then no channel is opened";
    }
    return {};
}

}  // namespace paychan
