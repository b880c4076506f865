// Our client against a recorded server.
#include <memory>

#include "paychan/client.hpp"
#include "replay/player.hpp"
#include "support/wire.hpp"

namespace replay {

using namespace paychan;

namespace {

/// What is sent goes into the transcript of the connection that there is now.
struct client_transport {
    talk* t = nullptr;
    void send(bytes_view frame) { t->said(paychan_test::owned(frame)); }
    void close() { t->ended_by(side::client); }
};

struct client_events {
    std::vector<told_payment> acks;
    void on_event(const event& e) {
        if (e.kind == event_kind::acked) acks.push_back({e.amount.value, e.total.value});
    }
};

/// A client broadcasts nothing while it is connected.
struct no_network {
    void broadcast(bytes_view) {}
};

/// What the recorder's application did with its channel, by the options of its process.
struct plan {
    satoshi value{};
    satoshi size{};
    std::int64_t payments = 0;
    std::int64_t resume = -1;  ///< payments on the next connection; below 0: it does not come back
    std::int64_t leave = 0;
    std::string info;
    bool exhaust = false;
    bool settle = false;
    bool overlap = false;

    plan(const session& s, std::size_t run)
        : value{s.number(side::client, "value", 1'000'000, run)},
          size{s.number(side::client, "size", 1'000, run)},
          payments(s.number(side::client, "payments", 0, run)),
          resume(s.number(side::client, "resume", -1, run)),
          leave(s.number(side::client, "leave", 0, run)),
          info(s.option(side::client, "info", run).value_or("")),
          exhaust(s.flag(side::client, "exhaust", run)),
          settle(s.flag(side::client, "settle", run)),
          overlap(s.flag(side::client, "overlap", run)) {}
};

client_settings settings_of(const session& s, std::size_t run) {
    client_settings out;
    out.time_window = static_cast<std::uint64_t>(s.number(side::client, "window", 86'340, run));
    const std::string version = s.option(side::client, "version", run).value_or("2or1");
    if (version != "1" && version != "2" && version != "2or1")
        throw unreadable("version is \"" + version + "\": this program knows 1, 2 and 2or1");
    if (version != "2or1") out.versions = version_set::only(version == "1" ? 1 : 2);
    return out;
}

template <class CodecPolicy>
class client_play : player {
public:
    client_play(const session& s, const play_options& options, const contract_pool& pool)
        : player(s, side::client, options.signing), wallet_{pool}, plan_(s, 0) {
        if (const auto funds = s.option(side::client, "fund"))
            wallet_.funds = {s.number(side::client, "fund", 0) * s.number(side::client, "fund-n", 2)};
        start(0);
    }

    played run() {
        for (const step& e : session_.steps) play(e);
        out_.acks = events_.acks;
        for (const recorded_channel& c : session_.channels) {
            bytes memory(wire::max_frame_size);
            const auto refund = store_.get({record_kind::client_refund, c.terms.contract.id}, memory);
            if (refund) out_.refunds[c.terms.contract.id] = paychan_test::owned(refund->bytes);
        }
        return {std::move(out_), wallet_.made_up};
    }

private:
    using client_type = client<both_versions, client_transport, manual_clock, recorded_keys, memory_store,
                               recorded_funding, no_network, CodecPolicy, client_events>;

    /// A new process: all it knows is on disk.
    void start(std::size_t run) {
        run_ = run;
        plan_ = plan(session_, run);
        payer_ = std::make_unique<client_type>(both_versions{}, transport_, clock_, keys_, store_, wallet_, network_,
                                               codec_, events_, settings_of(session_, run));
    }

    void play(const step& e) {
        if (e.what == step::kind::connected) return connect(e.connection);
        if (e.connection != connection_) {
            // A client has one connection at a time; what still comes on an older one, its process has left behind.
            if (!out_.connections.contains(e.connection))
                cannot_be_played("connection " + std::to_string(e.connection) + " was never made");
            return;
        }
        talk& t = out_.connections.at(e.connection);
        if (e.what == step::kind::ended) {
            if (e.from == side::client)
                t.given_up();
            else
                t.ended_by(side::server);
            return leave();
        }
        if (e.from == side::client) return;
        for (const bytes& segment : e.delivered) receive(t, segment);
        act();
    }

    void connect(int number) {
        leave();
        if (connection_ != 0) {
            const txid channel = payer_->record().terms.contract.id;
            const bool has_channel = payer_->record().stage != channel_stage::none;
            if (session_.client_runs.size() > run_ + 1) {
                start(run_ + 1);
                if (has_channel)
                    if (const auto loaded = payer_->load(channel); !loaded) complain("load", loaded.error());
            } else {
                plan_.payments = plan_.resume;
                plan_.resume = -1;
            }
        }
        connection_ = number;
        reader_.clear();
        transport_.t = &out_.connections.try_emplace(number, side::client).first->second;
        if (const auto begun = payer_->connect(plan_.value); !begun) complain("connect", begun.error());
    }

    void receive(talk& t, const bytes& segment) {
        if (t.over()) return;
        const bool framed = each_frame(reader_, segment, [&](bytes_view frame) {
            t.heard(frame);
            payer_->on_frame(frame);
            ack_again(t);
        });
        if (framed) return;
        t.heard_garbage();
        t.ended_by(side::client);
        leave();
    }

    /// Our client has sent its last payment again, for this server does not tell what it has; the reference's would ack it
    /// (raw_pay_same_again), and so does the recorded one here.
    void ack_again(talk& t) {
        if (payer_->phase() != client_phase::resuming) return;
        const auto sent = paychan_test::as<wire::update_payment>(t.items().back().frame);
        const channel_record& record = payer_->record();
        if (!sent || sent->info || sent->client_change_value != static_cast<std::uint64_t>(record.change.value) ||
            !equal(sent->signature, record.signature.view())) {
            out_.problems.emplace_back("what is sent before a resumed channel goes on is not the last payment");
            return;
        }
        t.said_again();
        payer_->on_frame(paychan_test::encoded(wire::payment_ack{}));
    }

    /// What the recorder's application does when its channel is open and no payment is under way.
    void act() {
        if (payer_->phase() != client_phase::open || payer_->payment_in_flight()) return;
        if (plan_.payments > 0) {
            --plan_.payments;
            std::string info = plan_.info;
            if (const auto at = info.find("%d"); at != std::string::npos) info.replace(at, 2, std::to_string(++paid_));
            pay(plan_.size, info);
        } else if (plan_.exhaust) {
            plan_.exhaust = false;
            pay(satoshi{payer_->record().change.value - plan_.leave}, {});
        } else if (plan_.settle && plan_.resume < 0) {
            plan_.settle = false;
            if (const auto asked = payer_->settle(); !asked) complain("settle", asked.error());
        }
    }

    void pay(satoshi amount, const std::string& info) {
        if (!payer_->pay(amount, {}, paychan_test::as_bytes(info))) {
            // The recorder's application gives up when a payment is refused to it; whether the reference refused this
            // one too, its frames show.
            plan_.payments = 0;
            plan_.exhaust = plan_.settle = false;
            return;
        }
        if (!plan_.overlap) return;
        const auto second = payer_->pay(amount);
        if (second || second.error().code != errc::payment_in_flight)
            out_.problems.emplace_back("a second payment before the ack of the first was not refused");
    }

    void leave() {
        if (connection_ != 0 && payer_->phase() != client_phase::idle) payer_->on_disconnected();
    }

    recorded_funding wallet_;
    no_network network_;
    CodecPolicy codec_;
    client_events events_;
    client_transport transport_;
    wire::frame_reader<> reader_;
    plan plan_;
    std::size_t run_ = 0;
    std::int64_t paid_ = 0;
    int connection_ = 0;
    std::unique_ptr<client_type> payer_;
};

}  // namespace

played play_client(const session& s, const play_options& options, const contract_pool& pool) {
    return with_codec(options.codec, [&]<class CodecPolicy>() {
        return std::make_unique<client_play<CodecPolicy>>(s, options, pool)->run();
    });
}

}  // namespace replay
