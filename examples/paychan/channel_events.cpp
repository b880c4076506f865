#include "channel_events.hpp"

#include <algorithm>

namespace tool {

using namespace paychan;

namespace {

/// The hex of a stranger's info for people: of 64 bytes at the most.
std::string short_hex(bytes_view info) {
    constexpr std::size_t longest = 64;
    if (info.size() <= longest) return hex_of(info);
    return hex_of(info.first(longest)) + "... (" + std::to_string(info.size()) + " bytes)";
}

}  // namespace

void report_event(report& out, const event& e, std::int32_t protocol, const std::string& advice) {
    const std::string channel = text_of(e.channel);
    switch (e.kind) {
        case event_kind::stored: return out.event({{"event", "stored"}, {"channel", channel}}, {});
        case event_kind::opened: {
            json o{{"event", "opened"}, {"channel", channel}, {"paid", e.total.value}};
            if (protocol != 0) o["protocol"] = protocol;
            return out.event(o, "opened channel " + channel +
                                    (protocol != 0 ? " (version " + std::to_string(protocol) + ")" : "") +
                                    ", paid so far " + text_of(e.total));
        }
        case event_kind::payment:
        case event_kind::acked: {
            if (e.data.empty() && !out.as_json()) return;
            json o{{"event", e.kind == event_kind::payment ? "payment" : "acked"},
                   {"channel", channel},
                   {"amount", e.amount.value},
                   {"total", e.total.value}};
            if (e.data.empty()) return out.event(o, {});
            // A stranger's bytes, for the price of a payment: a log that keeps them all could be filled.
            constexpr std::size_t most = 1'024;
            o["info"] = hex_of(e.data.first(std::min(e.data.size(), most)));
            if (e.data.size() > most) o["info_bytes"] = e.data.size();
            return out.event(o, (e.kind == event_kind::payment ? "payment of " : "ack of ") + text_of(e.amount) +
                                    " on channel " + channel + " with info " + short_hex(e.data));
        }
        case event_kind::settled:
            return out.event(
                {{"event", "settled"},
                 {"channel", channel},
                 {"txid", text_of(e.closing)},
                 {"paid", e.total.value},
                 {"hex", hex_of(e.data)}},
                "settled channel " + channel + " for " + text_of(e.total) + " with transaction " + text_of(e.closing));
        case event_kind::error: {
            json o{{"event", "error"}, {"code", name(e.problem.code)}, {"explanation", e.problem.text}};
            std::string line = std::string(e.problem.text) + " (" + std::string(name(e.problem.code)) + ")";
            if (is_wire_code(e.problem.code)) o["wire_code"] = static_cast<int>(e.problem.code);
            if (e.channel != txid{}) {
                o["channel"] = channel;
                line = "channel " + channel + ": " + line;
            }
            if (!e.data.empty()) {
                o["peer_says"] = harmless(e.data);
                line += "; the peer says: " + harmless(e.data);
            }
            if (!advice.empty()) {
                o["advice"] = advice;
                line += "; " + advice;
            }
            return out.error_event(o, line);
        }
        case event_kind::closed:
            if (e.channel == txid{}) return out.event({{"event", "closed"}}, {});
            return out.event({{"event", "closed"}, {"channel", channel}, {"paid", e.total.value}}, {});
        case event_kind::refunding:
            return out.event({{"event", "refunding"}, {"channel", channel}}, "taking the refund of channel " + channel);
        case event_kind::confirmed:
            return out.event({{"event", "confirmed"}, {"channel", channel}, {"txid", text_of(e.closing)}},
                             "channel " + channel + " ended on chain with transaction " + text_of(e.closing));
        case event_kind::buried:
            return out.event({{"event", "buried"}, {"channel", channel}},
                             "channel " + channel + " is buried and forgotten");
        case event_kind::double_spent:
            return out.event({{"event", "double_spent"},
                              {"channel", channel},
                              {"txid", text_of(e.closing)},
                              {"lost", e.total.value},
                              {"explanation", e.problem.text}},
                             "channel " + channel + ": " + std::string(e.problem.text) + ", with transaction " +
                                 text_of(e.closing) + "; " + text_of(e.total) +
                                 " paid on it are worth nothing unless a reorganisation undoes that");
    }
}

}  // namespace tool
