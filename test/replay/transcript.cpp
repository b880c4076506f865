// Writes transcripts of recordings, and names what is in them.
#include "replay/transcript.hpp"

#include "paychan/wire/codec.hpp"
#include "support/wire.hpp"

namespace replay {

using namespace paychan;

namespace {

bool is_malformed(bytes_view frame) {
    const auto m = wire::small_codec::decode(frame);
    return !m && m.error().code != errc::syntax_error;
}

template <class M>
bool is_a(bytes_view frame) {
    const auto m = wire::small_codec::decode(frame);
    return m && std::holds_alternative<M>(*m);
}

}  // namespace

void talk::said(bytes frame) {
    goodbye_ = is_a<wire::close>(frame) || is_a<wire::error_message>(frame);
    items_.push_back({item::kind::frame, std::move(frame)});
}

void talk::heard(bytes_view frame) {
    if (is_malformed(frame)) garbage_ = true;
    // A client's CLOSE is a question; a server's is the end.
    if (is_a<wire::error_message>(frame) || (own_ == side::client && is_a<wire::close>(frame))) goodbye_ = true;
}

void talk::ended_by(side who) {
    if (over_) return;
    over_ = true;
    if (who != own_ || goodbye_) return;
    items_.push_back({garbage_ ? item::kind::cuts_off : item::kind::hangs_up, {}});
}

void talk::given_up() {
    if (over_) return;
    over_ = true;
    if (!goodbye_) items_.push_back({item::kind::let_go, {}});
}

transcript recorded(const session& s, side own) {
    transcript out;
    std::map<int, wire::frame_reader<>> readers;
    for (const step& e : s.steps) {
        talk& t = out.connections.try_emplace(e.connection, own).first->second;
        if (e.what == step::kind::ended) t.ended_by(e.from);
        if (e.what != step::kind::said) continue;
        if (e.from == own) {
            if (e.frame) t.said(*e.frame);
            continue;
        }
        for (const bytes& segment : e.delivered)
            if (!each_frame(readers[e.connection], segment, [&](bytes_view frame) { t.heard(frame); }))
                t.heard_garbage();
    }
    out.has_events = s.has_events;
    if (own == side::server) {
        out.payments = s.payments;
        out.broadcasts = s.broadcasts;
    } else {
        out.acks = s.acks;
        for (const recorded_channel& c : s.channels)
            if (!c.refund.empty()) out.refunds[c.terms.contract.id] = c.refund;
    }
    return out;
}

std::string in_brief(const item& i) {
    switch (i.what) {
        case item::kind::hangs_up: return "hangs up";
        case item::kind::cuts_off: return "cuts off";
        case item::kind::let_go: return "its owner ends";
        case item::kind::resent: return "UPDATE_PAYMENT again";
        case item::kind::frame: break;
    }
    const auto m = wire::small_codec::decode(i.frame);
    if (!m) return "a frame that does not parse";
    std::string out = paychan_test::name_of(*m);
    if (const auto* v = std::get_if<wire::client_version>(&*m))
        out += " " + std::to_string(v->major) + (v->previous_channel_contract_hash ? " to resume" : "");
    if (const auto* v = std::get_if<wire::server_version>(&*m)) out += " " + std::to_string(v->major);
    if (const auto* e = std::get_if<wire::error_message>(&*m)) {
        out += " " + std::string(name(static_cast<errc>(e->code)));
        if (e->expected_value) out += " " + std::to_string(*e->expected_value);
    }
    if (const auto* c = std::get_if<wire::close>(&*m); c && c->settlement) out += " with settlement";
    if (const auto* a = std::get_if<wire::payment_ack>(&*m); a && a->info) out += " " + paychan_test::text_of(*a->info);
    return out;
}

}  // namespace replay
