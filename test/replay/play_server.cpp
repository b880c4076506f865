// Our server against a recorded client.
#include <algorithm>
#include <functional>
#include <memory>

#include "paychan/server.hpp"
#include "paychan/server_monitor.hpp"
#include "replay/player.hpp"
#include "support/wire.hpp"

namespace replay {

using namespace paychan;

namespace {

/// What is sent goes into the transcript.
struct server_transport {
    talk& t;
    void send(bytes_view frame) { t.said(paychan_test::owned(frame)); }
    void close() { t.ended_by(side::server); }
};

/// The network that the recorder gave its server: "fail:1" refuses the first transaction, "never:2" never answers for the
/// second.
class recorded_network {
public:
    explicit recorded_network(const session& s) : waits_(s.option(side::server, "broadcast-delay").has_value()) {
        const auto plan = s.option(side::server, "broadcast-fail");
        if (!plan) return;
        const auto colon = plan->find(':');
        const std::string what = plan->substr(0, colon);
        if (colon == std::string::npos || (what != "fail" && what != "never"))
            throw unreadable("broadcast-fail is \"" + *plan + "\": this program knows fail:N and never:N");
        fails_ = what == "fail";
        which_ = std::stoul(plan->substr(colon + 1));
    }

    void broadcast(bytes_view tx) {
        if (std::ranges::find(sent, paychan_test::owned(tx)) == sent.end()) sent.push_back(paychan_test::owned(tx));
    }

    /// f(txid, outcome) for each outcome that has not been told.
    template <class F>
    void deliver(F&& f) {
        for (; told_ < sent.size(); ++told_) {
            const bool planned = told_ + 1 == which_;
            if (planned && !fails_) continue;
            f(parse_transaction(sent[told_]).value().id(),
              planned ? broadcast_outcome::refused : broadcast_outcome::accepted);
        }
    }

    /// True when outcomes take a while, and come just before the server's next word.
    [[nodiscard]] bool waits() const { return waits_; }

    std::vector<bytes> sent;

private:
    bool waits_;
    bool fails_ = false;
    std::size_t which_ = 0;  // from 1; 0: none
    std::size_t told_ = 0;
};

/// The application that the recorder put behind its server.
class recorded_application {
public:
    explicit recorded_application(const session& s) : way_(s.option(side::server, "ack").value_or("none")) {
        if (way_ == "null-future") way_ = "none";
        if (way_.starts_with("text:"))
            info_ = paychan_test::owned(paychan_test::as_bytes(std::string_view(way_).substr(5)));
        if (way_.starts_with("hex:")) info_ = paychan_test::unhex(way_.substr(4));
        if (way_ != "none" && way_ != "echo" && way_ != "fail" && !way_.starts_with("text:") &&
            !way_.starts_with("hex:"))
            throw unreadable("ack is \"" + way_ +
                             "\": this program knows none, echo, fail, text:X, hex:X and null-future");
    }

    void on_event(const event& e) {
        if (e.kind == event_kind::payment) payments.push_back({e.amount.value, e.total.value});
        if (listen) listen(e);
    }
    /// Answers at once where there is nothing to say, and later else: both must come to the same.
    payment_answer on_payment(const event& e) {
        if (way_ == "none") return payment_answer::ack();
        if (way_ == "echo") info_ = paychan_test::owned(e.data);
        waiting_ = e.total;
        return payment_answer::hold();
    }
    template <class Server>
    void answer(Server& server, std::vector<std::string>& problems) {
        if (!waiting_) return;
        const satoshi total = *waiting_;
        waiting_.reset();
        const auto said =
            way_ == "fail" ? server.refuse(total, "Failed processing payment update") : server.ack(total, info_);
        if (!said) problems.push_back("an answer to a payment was refused: " + std::string(said.error().text));
    }

    [[nodiscard]] bool settle_attached(const txid& id) { return settle_over && settle_over(id); }
    [[nodiscard]] bool is_attached(const txid&) const { return true; }

    std::vector<told_payment> payments;
    std::function<void(const event&)> listen;
    std::function<bool(const txid&)> settle_over;

private:
    std::string way_;
    bytes info_;
    std::optional<satoshi> waiting_;
};

server_settings settings_of(const session& s) {
    server_settings out;
    out.unproven_close =
        unproven_close_rule::settles;  // as the reference does, for clients that cannot prove themselves
    out.min_channel = {s.number(side::server, "min-channel", 100'000)};
    out.min_window = s.number(side::server, "min-window", 14'400);
    out.max_window = s.number(side::server, "max-window", 604'800);
    // Our windows outlive the margin by ten minutes: one that the reference settles after seconds needs a shorter margin.
    out.settle_margin = std::clamp(out.min_window - shortest_life, std::int64_t{0}, out.settle_margin);
    out.min_payment = {s.number(side::server, "min-payment", 1'000)};
    return out;
}

template <class CodecPolicy>
class server_play : player {
public:
    server_play(const session& s, const play_options& options)
        : player(s, side::server, options.signing),
          network_(s),
          application_(s),
          settings_(settings_of(s)),
          monitor_(both_versions{}, store_, keys_, wallet_, network_, application_, settings_),
          settle_after_(s.number(side::server, "settle-after", -1)),
          close_after_(s.number(side::server, "close-after", -1)) {
        application_.listen = [this](const event& e) { monitor_.on_event(e); };
        application_.settle_over = [this](const txid& id) { return settle_over(id); };
    }

    transcript run() {
        for (const step& e : session_.steps) play(e);
        out_.payments = application_.payments;
        out_.broadcasts = network_.sent;
        return std::move(out_);
    }

private:
    using server_type = server<both_versions, server_transport, manual_clock, recorded_keys, memory_store,
                               recorded_payout, recorded_network, CodecPolicy, recorded_application>;

    struct line {
        line(server_play& play, talk& own)
            : t(own),
              transport{own},
              driver(both_versions{}, transport, play.clock_, play.keys_, play.store_, play.wallet_, play.network_,
                     codec, play.application_, play.settings_) {}
        talk& t;
        server_transport transport;
        CodecPolicy codec;
        wire::frame_reader<> reader;
        server_type driver;
        std::int64_t payments = 0;  // on this connection
        bool gone = false;          // the owner has let go of the connection
    };

    void play(const step& e) {
        if (e.what == step::kind::connected) {
            talk& t = out_.connections.try_emplace(e.connection, side::server).first->second;
            lines_[e.connection] = std::make_unique<line>(*this, t);
            return;
        }
        const auto found = lines_.find(e.connection);
        if (found == lines_.end()) {
            cannot_be_played("connection " + std::to_string(e.connection) + " was never made");
            return;
        }
        line& l = *found->second;
        if (e.what == step::kind::ended) return end(l, e.from);
        if (e.from == side::server) return reference_speaks(l, e);
        for (const bytes& segment : e.delivered) receive(l, segment);
    }

    void receive(line& l, const bytes& segment) {
        if (l.t.over()) return;
        const bool framed = each_frame(l.reader, segment, [&](bytes_view frame) {
            l.t.heard(frame);
            const bool counts = payments_on(l);
            l.driver.on_frame(frame);
            application_.answer(l.driver, out_.problems);
            if (counts) ++l.payments;
            take_over(l);
            know_settlement(l);
            if (!network_.waits()) hear_network();
        });
        if (framed) return;
        // As the owner of a connection does: nothing can be said on such a stream.
        l.t.heard_garbage();
        l.t.ended_by(side::server);
        let_go(l);
    }

    [[nodiscard]] static bool payments_on(const line& l) { return l.driver.phase() == server_phase::open; }

    /// The reference says something: what of ours comes by the clock or by the operator comes now.
    void reference_speaks(line& l, const step& e) {
        if (network_.waits()) hear_network();
        if (!e.frame || !paychan_test::as<wire::close>(*e.frame) || l.t.over()) return;
        if (l.driver.phase() != server_phase::open) return;
        if (settle_after_ >= 0 && l.payments >= settle_after_) {
            if (const auto settled = l.driver.settle(); !settled) complain("settle", settled.error());
        } else if (close_after_ >= 0 && l.payments >= close_after_) {
            l.driver.close();
        } else if (const auto& record = l.driver.record(); is_soon(record)) {
            clock_.set(settlement_deadline(record, settings_));
            monitor_.tick(clock_.now());
        }
        hear_network();
    }

    /// The reference's own margin is two hours: within the minute of the recording its timer struck.
    [[nodiscard]] bool is_soon(const channel_record& record) const {
        return record.terms.expiry + -7'200 <= session_.time + 60;
    }

    bool settle_over(const txid& id) {
        for (auto& [n, l] : lines_)
            if (is_open(l->driver.phase()) && l->driver.record().terms.contract.id == id)
                return l->driver.settle().has_value();
        return false;
    }

    void hear_network() {
        network_.deliver([&](const txid& id, broadcast_outcome outcome) {
            for (auto& [n, l] : lines_)
                if (!l->gone) l->driver.on_broadcast(id, outcome);
            monitor_.on_chain(broadcast_answer{id, outcome, {}});
        });
    }

    /// A second connection for a channel takes it over, as in tcp_server.
    void take_over(line& l) {
        const auto uses = [](const line& x) {
            return !x.gone && (is_open(x.driver.phase()) || x.driver.phase() == server_phase::broadcasting);
        };
        if (!uses(l)) return;
        for (auto& [n, x] : lines_)
            if (x.get() != &l && uses(*x) &&
                x->driver.record().terms.contract.id == l.driver.record().terms.contract.id)
                x->driver.close();
    }

    /// From here on fees are what they were when the reference settled this channel.
    void know_settlement(line& l) {
        const channel_record& record = l.driver.record();
        if (record.stage == channel_stage::none) return;
        fee_rate rate{session_.number(side::server, "fee-per-kb", 10'000)};
        for (const recorded_settlement& s : session_.settlements) {
            const auto tx = parse_transaction(s.tx);
            const auto in = tx ? tx->input(0) : fail(tx.error());
            if (!in || in->prevout != record.terms.contract) continue;
            const auto payout = tx->output(tx->output_count() - 1);
            if (!payout || payout->script_pubkey.size() > wallet_.script.memory().size()) continue;
            std::ranges::copy(payout->script_pubkey, wallet_.script.memory().begin());
            wallet_.script.resize(payout->script_pubkey.size());
            wallet_.settlement = s.inputs > 1 ? s.tx : bytes{};
            if (const auto paid = rate_of(s, record, wallet_.script))
                rate = *paid;
            else
                complain("the fee rate of a settlement", paid.error());
        }
        l.driver.on_fee_rate(rate);
        monitor_.on_chain(fee_estimate{rate});
    }

    void end(line& l, side who) {
        if (l.gone) return;
        // The owner's limits: they hold until the channel is open.
        if (who == side::server && !l.t.over() && !is_open(l.driver.phase()))
            l.driver.close({errc::timeout, "no message came in time"});
        l.t.ended_by(who == side::server ? side::client : who);  // an end of our own has been written down by now
        let_go(l);
    }

    void let_go(line& l) {
        l.gone = true;
        l.driver.on_disconnected();
    }

    recorded_payout wallet_;
    recorded_network network_;
    recorded_application application_;
    server_settings settings_;
    server_monitor<both_versions, memory_store, recorded_keys, recorded_payout, recorded_network, recorded_application>
        monitor_;
    std::int64_t settle_after_;
    std::int64_t close_after_;
    std::map<int, std::unique_ptr<line>> lines_;
};

}  // namespace

played play_server(const session& s, const play_options& options) {
    return with_codec(options.codec, [&]<class CodecPolicy>() -> played {
        return {std::make_unique<server_play<CodecPolicy>>(s, options)->run(), false};
    });
}

}  // namespace replay
