// The paying side: joins the client's steps to policies that the user owns.
#pragma once

#include "paychan/channel/carry_out.hpp"
#include "paychan/channel/chain_view.hpp"
#include "paychan/channel/claim.hpp"
#include "paychan/channel/client_step.hpp"
#include "paychan/channel/cltv_p2sh.hpp"
#include "paychan/channel/multisig_refund.hpp"

namespace paychan {

/// What a payment's completion is told when the server's PAYMENT_ACK arrives.
struct payment_receipt {
    satoshi amount{};   ///< [satoshi] what was paid: what was asked for, and a rest below the dust limit
    satoshi total{};    ///< [satoshi] all that was paid on this channel
    bytes_view info{};  ///< the server's own bytes; live during the call
};

/// A plain function and its context: the core has no heap to keep more in.  Called exactly once for each payment that
/// was sent: with a receipt, or connection_lost ("unknown: a resume will tell"), or peer_error.
struct payment_callback {
    void (*call)(void* context, const result<payment_receipt>& outcome) = nullptr;
    void* context = nullptr;
};

/// Events that nobody listens to.
struct ignore_events {
    void on_event(const event&) {}
};

/// One channel that pays, over one connection at a time.
///     client c(contracts<cltv_p2sh, multisig_refund>{}, transport, clock, keys, store, wallet, broadcaster, codec, events);
///     c.connect(satoshi{1'000'000});         // opens a channel
///     c.pay(satoshi{10}, {on_ack, this});    // when on_event() said `opened`
/// The owner of the connection calls on_frame() for each frame and on_disconnected() once at its end.
/// Events is anything with on_event(const event&); it must not call back into the client from there, except pay() and
/// settle() on `opened` and `acked`.
/// FrameCapacity  [bytes] the longest frame it sends; smaller where memory is dear
template <class Contracts, class TransportPolicy, class ClockPolicy, class KeyPolicy, class StorePolicy,
          class WalletPolicy, class BroadcastPolicy, class CodecPolicy, class Events,
          std::size_t FrameCapacity = wire::max_frame_size>
class client {
    static_assert(Transport<TransportPolicy>, "2nd argument: see Transport in policy.hpp");
    static_assert(Clock<ClockPolicy>, "3rd argument: see Clock in policy.hpp");
    static_assert(KeyStore<KeyPolicy>, "4th argument: see KeyStore in policy.hpp");
    static_assert(Store<StorePolicy>, "5th argument: see Store in policy.hpp");
    static_assert(FundingWallet<WalletPolicy>, "6th argument: see FundingWallet in policy.hpp");
    static_assert(Broadcaster<BroadcastPolicy>, "7th argument: see Broadcaster in policy.hpp");
    static_assert(Codec<CodecPolicy>, "8th argument: see Codec in policy.hpp");

public:
    client(Contracts, TransportPolicy& transport, ClockPolicy& clock, KeyPolicy& keys, StorePolicy& store,
           WalletPolicy& wallet, BroadcastPolicy& broadcaster, CodecPolicy& codec, Events& events,
           const client_settings& settings = {})
        : transport_(transport),
          clock_(clock),
          keys_(keys),
          store_(store),
          wallet_(wallet),
          broadcaster_(broadcaster),
          codec_(codec),
          events_(events),
          settings_(settings) {}
    client(const client&) = delete;
    client& operator=(const client&) = delete;

    /// Begins on a connection that was just made: resumes the channel this object holds, or opens a new one.
    /// offer  [satoshi] value of the channel to open; with one to resume, opened only if the server forgot that; 0: never
    /// label  the caller's name for the server, kept in the record
    /// Fails  wrong_state, out_of_range, wrong_clock, unsupported, too_long, key_unavailable.
    [[nodiscard]] result<void> connect(satoshi offer, const channel_label& label = {}) {
        if (uncertain_ && channel_.session.phase == client_phase::idle) {
            // The write that failed may be on disk: what is there counts, or no payment would ever be newer.
            PAYCHAN_TRY(channel_.record,
                        load_record(store_, record_kind::client_channel, channel_.record.terms.contract.id));
            uncertain_ = false;
        }
        next_ = channel_;
        if (next_.record.stage == channel_stage::settling) next_.record = {};
        if (next_.record.stage == channel_stage::none) next_.record.label = label;
        return run(start<Contracts>(next_, environment(), offer));
    }

    /// Takes up a stored channel; `connect` then resumes it.  Fails  wrong_state (connected), not_found,
    /// corrupt_record, store_failed.
    [[nodiscard]] result<void> load(const txid& channel) {
        if (channel_.session.phase != client_phase::idle) return fail(errc::wrong_state, "a conversation is under way");
        PAYCHAN_TRY(channel_.record, load_record(store_, record_kind::client_channel, channel));
        uncertain_ = false;
        return {};
    }

    /// One frame from the server.  The bytes must live during the call.
    void on_frame(bytes_view frame) {
        if (channel_.session.phase == client_phase::idle || channel_.session.phase == client_phase::ended) return;
        const auto m = codec_.decode(frame);
        if (!m) return end_with(detail::decode_error(m.error()));
        next_ = channel_;
        const auto done = run(step<Contracts>(next_, environment(), *m));
        if (!done) end_with(done.error());
    }

    /// The connection is over, whoever ended it.
    void on_disconnected() {
        if (channel_.session.phase == client_phase::idle) return;
        if (channel_.record.stage == channel_stage::none) {
            release_contract(channel_.session);
            give_back(keys_, channel_.record.key);
            channel_.record = {};
            // A channel that the server had forgotten still holds money: it stays this object's.
            if (channel_.session.resuming)
                if (const auto id = txid_from_display_bytes(channel_.session.resume_hash))
                    if (const auto old = load_record(store_, record_kind::client_channel, *id)) channel_.record = *old;
        }
        channel_.session = {};
        fail_payment({errc::connection_lost,
                      "the connection ended before the ack: whether the payment counted is unknown until the channel "
                      "is resumed"});
        events_.on_event(detail::event_of(event_kind::closed, channel_.record));
    }

    /// Moves value to the server; see paychan::pay for amounts and failures.
    /// done   called once when the ack arrives or cannot arrive any more; not called when this fails
    /// Fails  also store_failed, stale_record: the connection is then ended, for what is on disk is uncertain.
    [[nodiscard]] result<void> pay(satoshi amount, payment_callback done = {}, bytes_view info = {}) {
        next_ = channel_;
        const auto wanted = paychan::pay<Contracts>(next_, environment(), amount, info);
        if (!wanted) return fail(wanted.error());
        completion_ = done;
        const auto sent = run(wanted);
        if (!sent) {
            completion_ = {};
            if (sent.error().code != errc::too_long) end_with(sent.error());
        }
        return sent;
    }

    /// Asks the server to settle: no payments after this.  The event `settled` brings the transaction.
    [[nodiscard]] result<void> settle() {
        next_ = channel_;
        return run(paychan::settle(next_));
    }

    /// Sends the refund of the channel that this object holds, if the chain's time has come; call it with each new block, for
    /// as long as the contract is unspent.  A client_monitor does it for all that are in the store.
    /// median_time  of the last 11 blocks
    /// Fails        not_yet_due, wrong_state (there is no channel), not_found, store_failed.
    [[nodiscard]] result<void> refund(unix_time median_time) {
        PAYCHAN_CHECK(broadcast_refund(channel_.record, median_time, store_, broadcaster_, memory_));
        return {};
    }

    /// Follows the chain.
    static constexpr chain_turn chain_order = chain_turn::connections;
    void on_chain(const chain_event& e) { view_.on_chain(e); }

    /// What the chain's events have told before this driver was there.
    void set_chain(const chain_view& view) { view_ = view; }

    /// What a contract should pay now [sat/kvB].
    void on_fee_rate(fee_rate rate) { view_.rate = rate; }

    [[nodiscard]] const channel_record& record() const { return channel_.record; }
    [[nodiscard]] client_phase phase() const { return channel_.session.phase; }
    [[nodiscard]] bool payment_in_flight() const { return channel_.session.payment_in_flight; }

private:
    [[nodiscard]] client_environment<KeyPolicy, WalletPolicy> environment() {
        const unix_time now = clock_.now();
        return {settings_,
                keys_,
                wallet_,
                view_.later(now),
                view_.rate,
                bytes_span{memory_},
                is_behind(now, view_.median_time)};
    }

    /// Carries out what a step computed on next_: persist, broadcast, send, close, notify.
    [[nodiscard]] result<void> run(const result<effects>& wanted) {
        if (!wanted || !frames_.encode(wanted->send, codec_)) {
            // A contract that the failed step had funded, and its key.
            if (next_.session.contract.data() != channel_.session.contract.data()) release_contract(next_.session);
            if (next_.record.key != channel_.record.key) give_back(keys_, next_.record.key);
            return wanted ? fail(errc::too_long, "the message does not fit into a frame") : fail(wanted.error());
        }
        auto saved = detail::on_disk(write(wanted->persist), wanted);
        if (!saved) {
            // Whether it is on disk is unknown: its coins stay reserved and its key used, for a restart may find it there.
            if (!wanted->persist.contract.empty()) channel_.session.contract = {};
            uncertain_ = channel_.record.stage != channel_stage::none;
            if (!uncertain_) channel_.record.key = {};
            return fail(saved.error());
        }
        const bool acked = channel_.session.payment_in_flight && !next_.session.payment_in_flight;
        channel_ = next_;
        if (wanted->close) channel_.session.phase = client_phase::ended;
        // A listener that pays from inside its event begins the next step.
        std::move(*saved)
            .broadcast(broadcaster_)
            .send(transport_, frames_)
            .close(transport_)
            .notify([&](const event& e) {
                if (e.kind == event_kind::acked && acked) complete_payment(payment_receipt{e.amount, e.total, e.data});
                if (e.kind == event_kind::error)
                    fail_payment({errc::peer_error, "the server refused and ended the connection"});
                events_.on_event(e);
            });
        return {};
    }

    [[nodiscard]] result<void> write(const persist_set& what) {
        const detail::put_batch batch(what, next_.record, record_kind::client_channel);
        return put_all(store_, batch.view());
    }

    /// Ends the connection for a failure of a step; the record stays what it was.
    void end_with(const error& e) {
        channel_.session.phase = client_phase::ended;
        if (e.code == errc::malformed)
            transport_.close();
        else
            frames_.send_last(detail::error_message_for(e), transport_, codec_);
        event told = detail::event_of(event_kind::error, channel_.record);
        told.problem = e;
        events_.on_event(told);
    }

    /// Frees the coins of a contract that never left this process, and never will.
    void release_contract(const client_session& session) {
        if (!session.contract.empty()) wallet_.release(session.contract);
    }

    void complete_payment(const result<payment_receipt>& outcome) {
        const payment_callback done = completion_;
        completion_ = {};  // first: the callback may pay again
        if (done.call != nullptr) done.call(done.context, outcome);
    }
    void fail_payment(const error& e) { complete_payment(fail(e)); }

    TransportPolicy& transport_;
    ClockPolicy& clock_;
    KeyPolicy& keys_;
    StorePolicy& store_;
    WalletPolicy& wallet_;
    BroadcastPolicy& broadcaster_;
    CodecPolicy& codec_;
    Events& events_;
    client_settings settings_;
    chain_view view_;
    client_channel channel_;
    client_channel next_;  // a step's copy of channel_; effects point into it
    payment_callback completion_;
    bool uncertain_ = false;  // a write failed: the record on disk may be newer than channel_.record
    detail::frame_list<FrameCapacity> frames_;
    // The contract while the channel is opened, or a stored transaction.
    std::array<std::uint8_t, std::min(FrameCapacity, max_contract_size)> memory_{};
};

}  // namespace paychan
