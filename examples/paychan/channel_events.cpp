// The events of channels as the tool reports them, for both roles.
#include <algorithm>

#include "paychan/keeper/event_text.hpp"
#include "report.hpp"

namespace tool {

namespace {

void report_failure(report& out, const event& e, const std::string& advice) {
    json o{{"event", "error"}, {"code", name(e.problem.code)}, {"explanation", e.problem.text}};
    if (is_wire_code(e.problem.code)) o["wire_code"] = static_cast<int>(e.problem.code);
    if (e.channel != txid{}) o["channel"] = text_of(e.channel);
    if (!e.data.empty()) o["peer_says"] = harmless(e.data);
    if (!advice.empty()) o["advice"] = advice;
    out.error_event(o, text_of(e) + (advice.empty() ? "" : "; " + advice));
}

}  // namespace

void report_event(report& out, const event& e, std::int32_t protocol, const std::string& advice) {
    json o{{"event", name_of(e.kind)}};
    if (e.channel != txid{}) o["channel"] = text_of(e.channel);
    switch (e.kind) {
        case event_kind::opened:
            o["paid"] = e.total.value;
            if (protocol != 0) o["protocol"] = protocol;
            break;
        case event_kind::payment:
        case event_kind::acked: {
            if (e.data.empty() && !out.as_json()) return;
            o["amount"] = e.amount.value;
            o["total"] = e.total.value;
            // A stranger's bytes, for the price of a payment: a log that keeps them all could be filled.
            constexpr std::size_t most = 1'024;
            if (!e.data.empty()) o["info"] = hex_of(e.data.first(std::min(e.data.size(), most)));
            if (e.data.size() > most) o["info_bytes"] = e.data.size();
            break;
        }
        case event_kind::settled:
            o.update({{"txid", text_of(e.closing)}, {"paid", e.total.value}, {"hex", hex_of(e.data)}});
            break;
        case event_kind::error: return report_failure(out, e, advice);
        case event_kind::closed:
            if (e.channel != txid{}) o["paid"] = e.total.value;
            break;
        case event_kind::taken_back:
        case event_kind::confirmed:
            if (e.closing != txid{})
                o["txid"] = text_of(e.closing);
            else
                o["explanation"] = e.problem.text;
            break;
        case event_kind::double_spent:
            o.update({{"txid", text_of(e.closing)}, {"lost", e.total.value}, {"explanation", e.problem.text}});
            break;
        case event_kind::lost: o.update({{"txid", text_of(e.closing)}, {"lost", e.total.value}}); break;
        case event_kind::clock_wrong:
            o.update({{"clock", e.clock.seconds}, {"chain_time", e.chain_time.seconds}});
            break;
        case event_kind::stored:
        case event_kind::refunding:
        case event_kind::buried: break;
    }
    out.event(o, text_of(e, protocol));
}

}  // namespace tool
