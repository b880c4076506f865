#include "channel_events.hpp"

namespace tool {

using namespace paychan;

void report_event(report& out, const event& e) {
    const std::string channel = text_of(e.channel);
    switch (e.kind) {
        case event_kind::stored: return out.event({{"event", "stored"}, {"channel", channel}}, {});
        case event_kind::opened:
            return out.event({{"event", "opened"}, {"channel", channel}, {"paid", e.total.value}},
                             "opened channel " + channel + ", paid so far " + text_of(e.total));
        case event_kind::payment:
        case event_kind::acked: {
            if (!out.as_json()) return;
            json o{{"event", e.kind == event_kind::payment ? "payment" : "acked"},
                   {"channel", channel},
                   {"amount", e.amount.value},
                   {"total", e.total.value}};
            if (!e.data.empty()) o["info"] = hex_of(e.data);
            return out.event(o, {});
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
    }
}

}  // namespace tool
