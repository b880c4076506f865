// The side that is paid: joins the server's steps to policies that the user owns.
#pragma once

#include <utility>

#include "paychan/channel/carry_out.hpp"
#include "paychan/channel/chain_view.hpp"
#include "paychan/channel/claim.hpp"
#include "paychan/channel/cltv_p2sh.hpp"
#include "paychan/channel/multisig_refund.hpp"
#include "paychan/channel/server_step.hpp"

namespace paychan {

/// What the application says to a payment that is on disk already: Events::on_payment returns it.
class payment_answer {
public:
    enum class kind : std::uint8_t { ack, hold, refuse };

    /// PAYMENT_ACK leaves at once.  info  for the client's application; must live until the driver has sent it
    [[nodiscard]] static payment_answer ack(bytes_view info = {}) { return {kind::ack, info, {}}; }
    /// The answer comes later: server::ack or server::refuse.
    [[nodiscard]] static payment_answer hold() { return {kind::hold, {}, {}}; }
    /// The connection ends with an ERROR; see paychan::refuse for what becomes of the payment.
    [[nodiscard]] static payment_answer refuse(std::string_view why) { return {kind::refuse, {}, why}; }

    [[nodiscard]] kind what() const { return kind_; }
    [[nodiscard]] bytes_view info() const { return info_; }
    [[nodiscard]] std::string_view why() const { return why_; }

private:
    payment_answer(kind k, bytes_view info, std::string_view why) : kind_(k), info_(info), why_(why) {}
    kind kind_;
    bytes_view info_;
    std::string_view why_;
};

/// One connection from a client that pays.
///     server s(contracts<cltv_p2sh, multisig_refund>{}, transport, clock, keys, store, wallet, broadcaster, codec, events);
/// The owner of the connection calls on_frame() for each frame and on_disconnected() once at its end; the owner of the
/// chain calls on_broadcast() for every outcome.
///
/// Many connections share one commit where the store has put_many: take() a frame on each, write all their batches at
/// once, finish() each with the outcome.  on_frame() is that for a single one.  Each server needs a codec of its own: what
/// one has decoded must live until its finish().
///
/// Events is anything with on_event(const event&); it must not call back into the server from there.  Where it has
/// `payment_answer on_payment(const event&)` too, that decides on the ack of each payment, which is on disk by then;
/// without it all are acked.  The first payment, in PROVIDE_CONTRACT, and one that a client repeats are not asked about:
/// when a channel opens, its total tells what is paid, also by a payment that a crash kept from being told.
/// Where it has `bool is_backed(const txid&)`, a channel is only resumed when that, or the network once more, says that its
/// contract is in a block or in a mempool.  Where it has `result<void> may_take(const txid&, satoshi total)`, that is asked
/// before a channel opens or a payment on it is stored; its error ends the connection.  A server_monitor answers both.
/// FrameCapacity  [bytes] the longest frame it sends, and the longest contract it can broadcast again from its store
template <class Contracts, class TransportPolicy, class ClockPolicy, class KeyPolicy, class StorePolicy,
          class WalletPolicy, class BroadcastPolicy, class CodecPolicy, class Events,
          std::size_t FrameCapacity = wire::max_frame_size>
class server {
    static_assert(Transport<TransportPolicy>, "2nd argument: see Transport in policy.hpp");
    static_assert(Clock<ClockPolicy>, "3rd argument: see Clock in policy.hpp");
    static_assert(KeyStore<KeyPolicy>, "4th argument: see KeyStore in policy.hpp");
    static_assert(Store<StorePolicy>, "5th argument: see Store in policy.hpp");
    static_assert(PayoutWallet<WalletPolicy>, "6th argument: see PayoutWallet in policy.hpp");
    static_assert(Broadcaster<BroadcastPolicy>, "7th argument: see Broadcaster in policy.hpp");
    static_assert(Codec<CodecPolicy>, "8th argument: see Codec in policy.hpp");

public:
    server(Contracts, TransportPolicy& transport, ClockPolicy& clock, KeyPolicy& keys, StorePolicy& store,
           WalletPolicy& wallet, BroadcastPolicy& broadcaster, CodecPolicy& codec, Events& events,
           const server_settings& settings = {})
        : transport_(transport),
          clock_(clock),
          keys_(keys),
          store_(store),
          wallet_(wallet),
          broadcaster_(broadcaster),
          codec_(codec),
          events_(events),
          settings_(settings) {}
    server(const server&) = delete;
    server& operator=(const server&) = delete;

    /// One frame from the client.  The bytes must live during the call.
    void on_frame(bytes_view frame) { finish(put_all(store_, take(frame))); }

    /// Computes what a frame means and returns what must be on disk before its effects; nothing has happened yet.
    /// The frame must live until finish(), which must be called next and exactly once, also when nothing is to be
    /// written.
    [[nodiscard]] std::span<const put_request> take(bytes_view frame) {
        pending_ = effects{};
        frames_.clear();  // or finish() would send the last ones again
        next_ = channel_;
        if (channel_.session.phase == server_phase::ended) return {};
        const auto m = codec_.decode(frame);
        if (!m) {
            pending_ = fail(detail::decode_error(m.error()));
            return {};
        }
        return prepare(allowed(step<Contracts>(next_, environment(), *m)));
    }

    /// Carries out what take() computed.  written  the outcome of writing its batch; on a failure nothing leaves but an
    /// ERROR.
    void finish(const result<void>& written) {
        if (carry_out(written)) follow_up();
    }

    /// How a broadcast ended; outcomes of other connections' transactions are passed over.
    void on_broadcast(const txid& id, broadcast_outcome outcome, std::string_view = {}) {
        if (channel_.session.phase == server_phase::ended) return;
        // A node that is behind does not know what has spent the contract's coins since: it is asked again later.
        const bool is_contract = id == channel_.record.terms.contract.id;
        if (is_contract && view_.downloading && outcome == broadcast_outcome::accepted) return;
        next_ = channel_;
        const auto batch =
            prepare(allowed(paychan::on_broadcast(next_, settings_, view_.later(clock_.now()), id, outcome)));
        if (carry_out(put_all(store_, batch))) follow_up();
    }

    /// Settles now: the operator or the monitor says so.  Fails  wrong_state, insufficient_funds, key_unavailable,
    /// store_failed.
    [[nodiscard]] result<void> settle() {
        next_ = channel_;
        return run(paychan::settle<Contracts>(next_, environment()));
    }

    /// Answers the payment that on_payment held: PAYMENT_ACK leaves.
    /// total  [satoshi] event::total of that payment, which names it
    /// info   for the client's application
    /// Fails  wrong_state (it does not wait any more: the connection ended, or the channel settles), too_long (info).
    [[nodiscard]] result<void> ack(satoshi total, bytes_view info = {}) {
        next_ = channel_;
        PAYCHAN_CHECK(run(paychan::acknowledge(next_, total, info)));
        follow_up();
        return {};
    }

    /// Answers the payment that on_payment held: the connection ends with an ERROR; see paychan::refuse.
    /// Fails  wrong_state, too_long (why).
    [[nodiscard]] result<void> refuse(satoshi total, std::string_view why) {
        next_ = channel_;
        return run(paychan::refuse(next_, total, why));
    }

    /// [satoshi] The min_payment that this peer asked for before; call it before the first frame.
    void expect_min_payment(satoshi value) { expected_min_payment_ = value; }

    /// True when the peer has shown a signature of the channel's client on this connection.
    [[nodiscard]] bool proven() const { return channel_.session.proven; }

    /// [satoshi] The min_payment that the peer would have taken in place of ours, if it said so.
    [[nodiscard]] std::optional<satoshi> peer_expects() const { return channel_.session.peer_expects; }

    /// Broadcasts again what this connection waits for; call it now and then, the network may have been down.  A node that
    /// was away may have forgotten the contract too: it goes first.
    void rebroadcast() {
        const server_phase phase = channel_.session.phase;
        if (phase != server_phase::broadcasting && phase != server_phase::settling && !is_in_doubt(channel_)) return;
        (void)detail::broadcast_stored(record_kind::server_contract, channel_.record.terms.contract.id, store_,
                                       broadcaster_, frames_.memory());
        if (phase == server_phase::settling) broadcaster_.broadcast(channel_.session.settlement);
    }

    /// Sends CLOSE and ends the connection: the channel goes on elsewhere, or the server stops.  It can be resumed.
    void close() { end_by(wire::close{}); }

    /// Ends the connection with an ERROR, for example TIMEOUT.
    void close(const error& e) { end_by(detail::error_message_for(e)); }

    /// The connection is over, whoever ended it.
    void on_disconnected() {
        channel_.session.phase = server_phase::ended;
        give_back_key(channel_);
        events_.on_event(detail::event_of(event_kind::closed, channel_.record));
    }

    /// Follows the chain.
    static constexpr chain_turn chain_order = chain_turn::connections;
    void on_chain(const chain_event& e) {
        view_.on_chain(e);
        match(
            e, [this](const broadcast_answer& a) { on_broadcast(a.id, a.outcome, a.words); },
            [this](const node_returned&) { on_node_returned(); });
    }

    /// No frame is to be given to it now: a payment waits for the application, or for what the network says.
    [[nodiscard]] bool is_busy() const {
        return channel_.session.phase == server_phase::answering || is_in_doubt(channel_);
    }

    /// What the chain's events have told before this driver was there.
    void set_chain(const chain_view& view) { view_ = view; }

    /// What a settlement should pay now [sat/kvB].
    void on_fee_rate(fee_rate rate) { view_.rate = rate; }

    [[nodiscard]] const channel_record& record() const { return channel_.record; }
    [[nodiscard]] server_phase phase() const { return channel_.session.phase; }

private:
    struct finder {
        StorePolicy& store;
        Events& events;
        /// The network is asked again about a contract that it may have forgotten while nobody looked.
        result<channel_record> operator()(const txid& id) {
            auto record = load_record(store, record_kind::server_channel, id);
            if constexpr (requires { events.is_backed(id); })
                if (record && record->stage == channel_stage::open && !events.is_backed(id))
                    record->stage = channel_stage::unbacked;
            return record;
        }
    };

    [[nodiscard]] server_environment<KeyPolicy, WalletPolicy, finder> environment() {
        const unix_time now = clock_.now();
        return {settings_,
                keys_,
                wallet_,
                find_,
                view_.later(now),
                view_.rate,
                bytes_span{settlement_},
                expected_min_payment_,
                is_behind(now, view_.median_time),
                view_.downloading};
    }

    void on_node_returned() {
        constexpr bool is_remembered = requires { events_.is_backed(txid{}); };
        next_ = channel_;
        if (run(paychan::on_node_returned(next_, !is_remembered))) rebroadcast();
    }

    /// A payment is worth nothing before the network keeps the contract: whoever follows it may say no.
    [[nodiscard]] result<effects> allowed(result<effects> wanted) {
        if constexpr (requires { events_.may_take(txid{}, satoshi{}); }) {
            const server_phase before = channel_.session.phase;
            const server_phase after = next_.session.phase;
            const bool opens = before == server_phase::broadcasting && after == server_phase::open;
            const bool pays = before == server_phase::open && after == server_phase::answering;
            if (wanted && (opens || pays))
                if (const auto may = events_.may_take(next_.record.terms.contract.id, next_.record.paid()); !may)
                    return fail(may.error());
        }
        return wanted;
    }

    /// Encodes the frames and lists the records of what a step computed on next_.
    [[nodiscard]] std::span<const put_request> prepare(const result<effects>& wanted) {
        pending_ = wanted;
        batch_.reset();
        if (!pending_) return {};
        if (const auto encoded = frames_.encode(pending_->send, codec_); !encoded) {
            pending_ = fail(encoded.error());
            return {};
        }
        batch_.emplace(pending_->persist, next_.record, record_kind::server_channel);
        return batch_->view();
    }

    /// Carries out what an input from this side computed on next_.
    [[nodiscard]] result<void> run(const result<effects>& wanted) {
        const auto batch = prepare(wanted);
        if (!pending_) return fail(pending_.error());
        const auto written = put_all(store_, batch);
        carry_out(written);
        return written;
    }

    /// True when the effects happened.
    bool carry_out(const result<void>& written) {
        auto saved = detail::on_disk(written, pending_);
        if (!saved) {
            if (next_.record.key != channel_.record.key)
                give_back_key(next_);
            else if (!written && channel_.record.stage == channel_stage::none)
                channel_.record.key = {};  // its channel may be on disk all the same: the key stays used
            end_with(saved.error());
            return false;
        }
        const bool resumed =
            channel_.session.phase == server_phase::idle && next_.session.phase == server_phase::broadcasting;
        channel_ = next_;
        if (pending_->close) channel_.session.phase = server_phase::ended;
        std::move(*saved)
            .broadcast(broadcaster_)
            .send(transport_, frames_)
            .close(transport_)
            .notify([&](const event& e) {
                events_.on_event(e);
                // The answer is a step of its own.
                if (e.kind == event_kind::payment && channel_.session.phase == server_phase::answering) answer(e);
            });
        if (resumed) rebroadcast();
        return true;
    }

    /// A key whose opening came to nothing is free again: a stranger's hello costs none.  One that has signed a version 1
    /// refund is not: where it could be had again, a client would let the server sign a refund with a near lock time,
    /// break off, and open a channel with a far expiry on the same contract.
    void give_back_key(server_channel& c) {
        if (c.record.stage != channel_stage::none || !c.session.refund_signature.view().empty()) return;
        give_back(keys_, std::exchange(c.record.key, key_id{}));
    }

    /// Asks the application about a payment that is on disk.
    void answer(const event& payment) {
        payment_answer said = payment_answer::ack();
        if constexpr (requires { events_.on_payment(payment); }) said = events_.on_payment(payment);
        if (said.what() == payment_answer::kind::hold) return;
        next_ = channel_;
        const auto done =
            run(said.what() == payment_answer::kind::ack ? paychan::acknowledge(next_, payment.total, said.info())
                                                         : paychan::refuse(next_, payment.total, said.why()));
        if (!done) end_with(done.error());
    }

    /// A client that has paid everything has nothing more to say: settle.
    void follow_up() {
        if (!is_exhausted(channel_)) return;
        if (const auto settled = settle(); !settled) end_with(settled.error());
    }

    /// Ends the connection for a failure; the record stays what it was.
    void end_with(const error& e) {
        if (channel_.session.phase == server_phase::ended) return;
        if (e.code == errc::malformed) {
            channel_.session.phase = server_phase::ended;
            transport_.close();
        } else {
            end_by(detail::error_message_for(e));
        }
        event told = detail::event_of(event_kind::error, channel_.record);
        told.problem = e;
        events_.on_event(told);
    }

    template <class Last>
    void end_by(const Last& last) {
        if (channel_.session.phase == server_phase::ended) return;
        channel_.session.phase = server_phase::ended;
        frames_.send_last(last, transport_, codec_);
    }

    TransportPolicy& transport_;
    ClockPolicy& clock_;
    KeyPolicy& keys_;
    StorePolicy& store_;
    WalletPolicy& wallet_;
    BroadcastPolicy& broadcaster_;
    CodecPolicy& codec_;
    Events& events_;
    server_settings settings_;
    chain_view view_;
    satoshi expected_min_payment_{};
    finder find_{store_, events_};
    server_channel channel_;
    server_channel next_;  // a step's copy of channel_; effects point into it
    result<effects> pending_;
    std::optional<detail::put_batch> batch_;
    detail::frame_list<FrameCapacity> frames_;
    std::array<std::uint8_t, max_settlement_size> settlement_{};
};

}  // namespace paychan
