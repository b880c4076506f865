// The server's side of the protocol as a pure function: (channel, input) -> (channel', effects).
#pragma once

#include "paychan/channel/contract.hpp"
#include "paychan/channel/effects.hpp"
#include "paychan/channel/payment.hpp"
#include "paychan/channel/resume.hpp"
#include "paychan/channel/server_settings.hpp"
#include "paychan/channel/settlement.hpp"

namespace paychan {

/// Where the conversation stands.  Of the connection, not of the channel: it is not stored.
enum class server_phase : std::uint8_t {
    idle,           ///< awaits CLIENT_VERSION
    initiated,      ///< awaits PROVIDE_REFUND (version 1) or PROVIDE_CONTRACT
    refund_signed,  ///< awaits PROVIDE_CONTRACT
    broadcasting,   ///< awaits the network's word on the contract
    open,           ///< takes payments
    answering,      ///< open, and a payment is on disk whose ack awaits the application's word
    settling,       ///< awaits the network's word on the settlement
    ended,          ///< nothing more is sent or listened to
};

struct server_session {
    server_phase phase = server_phase::idle;
    satoshi min_payment{};     ///< [satoshi] as it was demanded
    outpoint refund_spends{};  ///< version 1: what the refund spends that was signed
    bounded_bytes<73> refund_signature{};
    bool proven = false;                  ///< the peer has shown a signature of the client's key
    bool in_doubt = false;                ///< its node may have forgotten the contract: see is_in_doubt()
    bool resumed = false;                 ///< an older connection opened the channel
    bool extended = false;                ///< it understands amounts in PAYMENT_ACK and CHANNEL_OPEN
    std::optional<satoshi> peer_expects;  ///< [satoshi] the min_payment that it would have taken
    txid broadcast{};                     ///< whose outcome is awaited
    bytes_view settlement{};              ///< in the driver's memory
};

/// What a step computes on: a copy of it is committed when the effects are carried out, thrown away when they are not.
struct server_channel {
    channel_record record;
    server_session session;
};

/// What a step may ask.
/// find  result<channel_record>(const txid&): the stored channel, or not_found
template <class Keys, class Payout, class Find>
struct server_environment {
    const server_settings& settings;
    Keys& keys;
    Payout& wallet;
    Find& find;
    unix_time now{};  ///< [s] the later of the clock and the chain's median time
    fee_rate rate{};
    bytes_span settlement_memory;    ///< for the settlement; lives as long as the session
    satoshi expected_min_payment{};  ///< [satoshi] what this peer asked for at an earlier attempt; 0: not known
    bool clock_behind = false;       ///< the clock is behind the chain's median time: nothing is opened
    bool downloading = false;        ///< nor while blocks are missing, which may spend a contract's coins
};

//  phase         | message or input    | condition, else the error                                | next
//  --------------+---------------------+----------------------------------------------------------+---------------
//  idle          | CLIENT_VERSION      | a version that we have (NO_ACCEPTABLE_VERSION), and a    | initiated
//                |                     | clock that is not behind the chain, all of which its     |
//                |                     | node has (OTHER);                                        |
//                |                     | if it names a channel that can be resumed                | open, broadcasting
//  initiated     | PROVIDE_REFUND      | version 1; shape and lock_time (BAD_TRANSACTION)         | refund_signed
//  initiated     | PROVIDE_CONTRACT    | version 2; script, value, key, payment (BAD_TRANSACTION) | broadcasting
//  refund_signed | PROVIDE_CONTRACT    | script, value, outpoint, payment (BAD_TRANSACTION)       | broadcasting
//  broadcasting  | contract accepted   | in time (TIME_WINDOW_UNACCEPTABLE)                       | open
//  broadcasting  | contract refused    | (BAD_TRANSACTION)                                        | ended
//  open          | UPDATE_PAYMENT      | see check_payment (BAD_TRANSACTION)                      | answering
//  open          | UPDATE_PAYMENT      | the last one again: it is acked                          | open
//  answering     | application acks    |                                                          | open
//  answering     | application refuses | (OTHER)                                                  | ended
//  open, answ.   | CLOSE, or all paid  | a fee that can be paid (OTHER)                           | settling
//  open          | CLOSE               | resumed, and nothing has proven that it is the client    | ended
//  open, answ.   | contract refused    | (BAD_TRANSACTION)                                        | ended
//  open, answ.   | node returned       | no payment is taken until the contract is accepted again | open, answ.
//  settling      | settlement accepted |                                                          | ended
//  settling      | settlement refused  | (OTHER); it is tried again without the connection        | ended
//  settling      | UPDATE_PAYMENT      | passed over, and so is CLOSE                             | settling
//  any           | ERROR               |                                                          | ended
//  ended         | any                 | passed over                                              | ended
//  everything else                     | SYNTAX_ERROR                                             | ended
// A failure ends the connection; the record stays what it was.

/// True when the channel is open on the connection.
[[nodiscard]] constexpr bool is_open(server_phase phase) {
    return phase == server_phase::open || phase == server_phase::answering;
}

/// True while it is open, and its node, which was away, has still to say that it has the contract.
[[nodiscard]] inline bool is_in_doubt(const server_channel& c) {
    return is_open(c.session.phase) && (c.session.in_doubt || c.record.stage == channel_stage::unbacked);
}

namespace detail {

/// False from where on the server settles by itself: a later payment might not be mined before the refund.
[[nodiscard]] inline bool takes_payments(const channel_record& record, const server_settings& settings, unix_time now) {
    return now + settings.settle_margin < record.terms.expiry;
}

/// True when the channel can go on over a new connection.
[[nodiscard]] inline bool can_resume(const channel_record& record, const server_settings& settings, unix_time now) {
    const bool alive = record.stage == channel_stage::open || record.stage == channel_stage::contract_stored ||
                       record.stage == channel_stage::unbacked;
    return alive && takes_payments(record, settings, now);
}

/// [s] What is asked for, clamped.  2^63 and more counts as the minimum, as in the reference.
[[nodiscard]] inline std::int64_t clamp_window(std::uint64_t asked, const server_settings& settings) {
    const std::int64_t least = std::max(settings.min_window, settings.settle_margin + shortest_life);
    const std::int64_t most = std::max(settings.max_window, least);
    if (asked > 0x7fff'ffff'ffff'ffff) return least;
    return std::clamp(static_cast<std::int64_t>(asked), least, most);
}

/// CHANNEL_OPEN; to a client that resumes, has proven itself and understands it, with what is on disk.
[[nodiscard]] inline wire::channel_open channel_open_message(const server_channel& c) {
    wire::channel_open m;
    if (c.session.resumed && c.session.extended && c.session.proven) m.resumed = resume_state_of(c.record);
    return m;
}

/// PAYMENT_ACK for all that was paid.
[[nodiscard]] inline wire::payment_ack ack_message(const server_channel& c, bytes_view info) {
    wire::payment_ack m;
    if (!info.empty()) m.info = info;
    if (c.session.extended) m.paid = static_cast<std::uint64_t>(c.record.paid().value);
    return m;
}

template <class Scheme, class Env>
[[nodiscard]] result<effects> initiate_channel(server_channel& next, const Env& env, const wire::client_version& m) {
    channel_record& record = next.record;
    server_session& session = next.session;
    if (env.clock_behind)
        return fail(errc::other,
                    "this server opens no channels now: its clock is behind the time of the chain's blocks");
    if (env.downloading)
        return fail(errc::other, "this server opens no channels now: its node is still downloading the chain");
    record = {};
    record.protocol = Scheme::version;
    PAYCHAN_TRY(record.key, opening_key(env.keys));
    PAYCHAN_TRY(record.terms.server_key, env.keys.public_key(record.key));
    record.terms.expiry = env.now + clamp_window(m.time_window_secs, env.settings);

    // A channel that holds no more than its first payment must still pay for its settlement.
    record.change = satoshi{1};  // any change: a settlement with both outputs is the larger one
    PAYCHAN_TRY(const auto payout_to, env.wallet.payout_script());
    record.terms.client_key = record.terms.server_key;  // for the size only
    PAYCHAN_TRY(const auto least, least_settlement<Scheme>(record, payout_to, env.rate));
    record.change = {};
    record.terms.client_key = {};
    const satoshi asked = env.expected_min_payment;
    const bool follow = std::max(env.settings.lowest_min_payment.value_or(env.settings.min_payment), least) <= asked &&
                        asked <= env.settings.highest_min_payment;
    session.min_payment = std::max(follow ? asked : env.settings.min_payment, least);
    session.phase = server_phase::initiated;

    effects out;
    out.send.push_back(wire::server_version{Scheme::version, 0});
    wire::initiate terms;
    terms.multisig_key = record.terms.server_key.view();
    terms.min_accepted_channel_size =
        static_cast<std::uint64_t>(std::max(env.settings.min_channel, session.min_payment).value);
    terms.expire_time_secs = static_cast<std::uint64_t>(record.terms.expiry.seconds);
    terms.min_payment = static_cast<std::uint64_t>(session.min_payment.value);
    out.send.push_back(terms);
    return out;
}

/// A stored channel goes on over this connection.
[[nodiscard]] inline effects resume_channel(server_channel& next, const channel_record& stored,
                                            const wire::client_version& m, unix_time now) {
    server_session& session = next.session;
    next.record = stored;
    effects out;
    session.resumed = true;
    session.proven = proves_resume(stored, m, now);
    out.send.push_back(wire::server_version{stored.protocol, 0});
    if (stored.stage != channel_stage::open) {
        // The driver broadcasts the stored contract again; CHANNEL_OPEN follows its outcome.
        session.phase = server_phase::broadcasting;
        session.broadcast = stored.terms.contract.id;
        // The monitor of this process may not know the channel: another process stored it, or a write that seemed to fail.
        out.notify.push_back(event_of(event_kind::stored, next.record));
        return out;
    }
    session.phase = server_phase::open;
    out.send.push_back(channel_open_message(next));
    out.notify.push_back(event_of(event_kind::opened, next.record));
    return out;
}

template <class Contracts, class Env>
[[nodiscard]] result<effects> on_client_version(server_channel& next, const Env& env, const wire::client_version& m) {
    next.session.extended = (m.extensions.value_or(0) & wire::understands_amounts) != 0;
    // A hash that is no hash names no channel: as the reference, offer a new one.
    if (m.previous_channel_contract_hash && m.previous_channel_contract_hash->size() == 32) {
        PAYCHAN_TRY(const auto id, txid_from_display_bytes(*m.previous_channel_contract_hash));
        const auto found = env.find(id);
        if (!found && found.error().code != errc::not_found) return fail(found.error());
        if (found && can_resume(*found, env.settings, env.now)) {
            if (!Contracts::has(found->protocol))
                return fail(errc::unsupported, "this program is built without the channel's protocol version");
            // A client of the reference that knows both versions asks for 2, and takes the channel's own, 1.
            if (m.major < found->protocol || m.major > newest_version)
                return fail(errc::no_acceptable_version,
                            "that channel was opened with another protocol version: resume it with that one");
            return resume_channel(next, *found, m, env.now);
        }
    }
    const auto speaks = [&](std::int32_t v) { return Contracts::has(v) && env.settings.versions.has(v); };
    if (!speaks(m.major)) {
        constexpr std::array texts{"this server opens no channels", "this server speaks protocol version 1",
                                   "this server speaks protocol version 2",
                                   "this server speaks protocol versions 1 and 2"};
        return fail(errc::no_acceptable_version, texts[(speaks(1) ? 1U : 0U) + (speaks(2) ? 2U : 0U)]);
    }
    return Contracts::template with<result<effects>>(
        m.major, [&]<class Scheme>() { return initiate_channel<Scheme>(next, env, m); });
}

template <class Scheme, class Env>
[[nodiscard]] result<effects> on_provide_refund(server_channel& next, const Env& env, const wire::provide_refund& m) {
    channel_record& record = next.record;
    server_session& session = next.session;
    const auto client_key = parse_public_key(m.multisig_key);
    if (!client_key) return fail(errc::bad_transaction, client_key.error().text);
    record.terms.client_key = *client_key;

    const auto refund = parse_transaction(m.tx);
    if (!refund) return fail(errc::bad_transaction, "the refund is not a transaction");
    if (refund->input_count() != 1) return fail(errc::bad_transaction, "the refund does not have exactly one input");
    if (refund->output_count() != 1) return fail(errc::bad_transaction, "the refund does not have exactly one output");
    PAYCHAN_TRY(const auto in, refund->input(0));
    // A final sequence switches the lock_time off: signed, it would let the client take everything back at any time.
    if (in.sequence == final_sequence)
        return fail(errc::bad_transaction, "the refund's sequence number disables its lock time");
    if (std::int64_t{refund->lock_time()} < lock_time_threshold ||
        std::int64_t{refund->lock_time()} < record.terms.expiry.seconds)
        return fail(errc::bad_transaction, "the refund has a lock time too soon");
    if (in.prevout.index != 0)
        return fail(errc::bad_transaction, "the refund does not spend the contract's first output");
    session.refund_spends = in.prevout;

    PAYCHAN_TRY(const auto digest, refund_digest<Scheme>(record.terms, m.tx, cosigned_refund_flags));
    PAYCHAN_TRY(const auto signature, env.keys.sign({record.key, signing_purpose::refund_for_client, digest, {}, {}}));
    session.refund_signature = to_bytes({signature, cosigned_refund_flags});
    session.phase = server_phase::refund_signed;
    effects out;
    out.send.push_back(wire::return_refund{session.refund_signature.view()});
    return out;
}

template <class Scheme, class Env>
[[nodiscard]] result<effects> on_provide_contract(server_channel& next, const Env& env,
                                                  const wire::provide_contract& m) {
    channel_record& record = next.record;
    server_session& session = next.session;
    const satoshi min_payment = session.min_payment;
    if constexpr (!Scheme::refund_is_cosigned) {
        if (!m.client_key) return fail(errc::syntax_error, "PROVIDE_CONTRACT has no client key");
        const auto client_key = parse_public_key(*m.client_key);
        if (!client_key) return fail(errc::bad_transaction, client_key.error().text);
        record.terms.client_key = *client_key;
    }
    // It is stored before the network is asked: a stranger must not fill the disk with it.
    if (m.tx.size() > max_contract_size)
        return fail(errc::bad_transaction, "the contract is too long: fund it from fewer inputs");
    const auto tx = parse_transaction(m.tx);
    if (!tx) return fail(errc::bad_transaction, "the contract is not a transaction");
    const auto out0 = tx->output(0);
    if (!out0 || !equal(out0->script_pubkey, Scheme::script_pubkey(record.terms).view()))
        return fail(errc::bad_transaction,
                    "the contract's first output does not pay to the client's and the server's key in that order");
    if (!is_money(out0->value) || out0->value < std::max(env.settings.min_channel, min_payment) ||
        !bears_refund(out0->value))
        return fail(errc::bad_transaction, "the contract holds less than the smallest channel");
    // A client that waits with its contract must not get a channel whose refund is due before a settlement is mined.
    if (!takes_payments(record, env.settings, env.now))
        return fail(errc::time_window_unacceptable, "the contract comes too late: its expiry is too near by now");
    const outpoint contract{tx->id(), 0};
    if (Scheme::refund_is_cosigned && contract != session.refund_spends)
        return fail(errc::bad_transaction, "the refund that was signed spends another contract");
    const auto known = env.find(contract.id);
    if (known) return fail(errc::bad_transaction, "this contract is in use already");
    if (known.error().code != errc::not_found) return fail(known.error());
    record.terms.contract = contract;
    record.terms.value = out0->value;
    record.change = out0->value;

    PAYCHAN_TRY(const auto payment, check_payment<Scheme>(record, m.initial_payment));
    if (out0->value.value - payment.change.value < min_payment.value)
        return fail(errc::bad_transaction, "the first payment is below the minimum");
    record.change = payment.change;
    // What INITIATE demanded was counted with a client key of 33 bytes; one of 65 makes a longer settlement in version 2.
    PAYCHAN_TRY(const auto payout_to, env.wallet.payout_script());
    PAYCHAN_TRY(const auto least, least_settlement<Scheme>(record, payout_to, std::min(env.rate, min_relay_fee_rate)));
    if (record.paid() < least)
        return fail(errc::bad_transaction, "the first payment does not bear the fee of a settlement");
    record.signature = payment.signature;
    record.stage = channel_stage::contract_stored;
    ++record.version;
    session.proven = true;
    session.phase = server_phase::broadcasting;
    session.broadcast = contract.id;

    effects out;
    // Key and contract on disk before the network sees it: from then on the client's money is locked with this key.
    out.persist.channel = true;
    out.persist.contract = m.tx;
    out.broadcast.push_back(m.tx);
    out.notify.push_back(event_of(event_kind::stored, record));
    return out;
}

template <class Scheme, class Env>
[[nodiscard]] result<effects> settle_channel(server_channel& next, const Env& env, fee_rate rate) {
    channel_record& record = next.record;
    server_session& session = next.session;
    PAYCHAN_TRY(session.settlement,
                build_settlement<Scheme>(record, env.keys, env.wallet, rate, env.settlement_memory));
    PAYCHAN_TRY(const auto tx, parse_transaction(session.settlement));
    record.stage = channel_stage::settling;
    record.closing = tx.id();
    ++record.version;
    session.phase = server_phase::settling;
    session.broadcast = record.closing;
    effects out;
    out.persist.channel = true;
    out.persist.settlement = session.settlement;
    out.broadcast.push_back(session.settlement);
    return out;
}

/// At the fee of the day, within the budget.
template <class Scheme, class Env>
[[nodiscard]] result<effects> settle_channel(server_channel& next, const Env& env) {
    PAYCHAN_TRY(const auto payout_to, env.wallet.payout_script());
    fee_question q{next.record.paid()};
    q.vsize = static_cast<std::int64_t>(settlement_vsize<Scheme>(next.record, payout_to));
    q.blocks_left = detail::rising_blocks + 1;  // a monitor raises it when it has to
    return settle_channel<Scheme>(next, env, decide_fee({env.rate}, q, env.settings.fees).rate);
}

template <class Scheme, class Env>
[[nodiscard]] result<effects> on_update_payment(server_channel& next, const Env& env, const wire::update_payment& m) {
    channel_record& record = next.record;
    if (!takes_payments(record, env.settings, env.now))
        return fail(errc::time_window_unacceptable, "the channel is about to expire and is settled now");
    if (is_in_doubt(next))
        return fail(errc::other, "the network is being asked whether it still has the contract: pay again later");
    PAYCHAN_TRY(const auto payment, check_payment<Scheme>(record, m));
    next.session.proven = true;
    effects out;
    const satoshi increment{record.change.value - payment.change.value};
    if (increment.value == 0) {  // a repeated frame: what it says is on disk already
        out.send.push_back(ack_message(next, {}));
        return out;
    }
    // The ack follows when the application has heard of it.
    next.session.phase = server_phase::answering;
    record.change = payment.change;
    record.signature = payment.signature;
    ++record.version;
    out.persist.channel = true;
    event e = event_of(event_kind::payment, record);
    e.amount = increment;
    e.data = m.info.value_or(bytes_view{});
    out.notify.push_back(e);
    return out;
}

/// The connection ends, and the channel stays as it is.
[[nodiscard]] inline effects end_unsettled(server_channel& next) {
    next.session.phase = server_phase::ended;
    effects out;
    out.send.push_back(wire::close{});
    out.close = true;
    return out;
}

}  // namespace detail

/// Takes one message from the client.  Fails with the code that belongs into an ERROR, or with a local one; see the
/// table above.
template <class Contracts, class Env>
[[nodiscard]] result<effects> step(server_channel& next, const Env& env, const wire::message& m) {
    channel_record& record = next.record;
    server_session& session = next.session;
    if (session.phase == server_phase::ended) return effects{};
    if (const auto* refusal = std::get_if<wire::error_message>(&m)) {
        if (session.phase == server_phase::initiated &&
            refusal->code == static_cast<std::int32_t>(errc::min_payment_too_large) && refusal->expected_value &&
            *refusal->expected_value <= static_cast<std::uint64_t>(max_money.value))
            session.peer_expects = satoshi{static_cast<std::int64_t>(*refusal->expected_value)};
        session.phase = server_phase::ended;
        return detail::on_peer_error(record, *refusal);
    }
    const auto with_scheme = [&](auto&& f) { return Contracts::template with<result<effects>>(record.protocol, f); };

    switch (session.phase) {
        case server_phase::idle:
            if (const auto* hello = std::get_if<wire::client_version>(&m))
                return detail::on_client_version<Contracts>(next, env, *hello);
            break;
        case server_phase::initiated:
            return with_scheme([&]<class Scheme>() -> result<effects> {
                if constexpr (Scheme::refund_is_cosigned) {
                    if (const auto* refund = std::get_if<wire::provide_refund>(&m))
                        return detail::on_provide_refund<Scheme>(next, env, *refund);
                } else {
                    if (const auto* contract = std::get_if<wire::provide_contract>(&m))
                        return detail::on_provide_contract<Scheme>(next, env, *contract);
                }
                return detail::out_of_order();
            });
        case server_phase::refund_signed:
            if (const auto* contract = std::get_if<wire::provide_contract>(&m))
                return with_scheme(
                    [&]<class Scheme>() { return detail::on_provide_contract<Scheme>(next, env, *contract); });
            break;
        case server_phase::broadcasting: break;
        case server_phase::answering:
            if (std::holds_alternative<wire::update_payment>(m))
                return fail(errc::syntax_error, "a payment before the last one was acknowledged");
            [[fallthrough]];
        case server_phase::open:
            if (const auto* payment = std::get_if<wire::update_payment>(&m))
                return with_scheme(
                    [&]<class Scheme>() { return detail::on_update_payment<Scheme>(next, env, *payment); });
            if (std::holds_alternative<wire::close>(m)) {
                // A contract's txid is public: whoever resumes with it and has shown no signature settles nothing.
                if (!session.proven && env.settings.unproven_close == unproven_close_rule::leaves_open)
                    return detail::end_unsettled(next);
                return with_scheme([&]<class Scheme>() { return detail::settle_channel<Scheme>(next, env); });
            }
            break;
        case server_phase::settling:
            if (std::holds_alternative<wire::update_payment>(m) || std::holds_alternative<wire::close>(m))
                return effects{};
            break;
        case server_phase::ended: break;
    }
    return detail::out_of_order();
}

/// The application takes the payment that brought the total to `total` [satoshi]: PAYMENT_ACK leaves, with its `info`.
/// Fails  wrong_state (that payment does not wait for an answer).
[[nodiscard]] inline result<effects> acknowledge(server_channel& next, satoshi total, bytes_view info) {
    if (next.session.phase != server_phase::answering || next.record.paid() != total)
        return fail(errc::wrong_state, "no payment of that total waits for an answer on this connection");
    next.session.phase = server_phase::open;
    effects out;
    out.send.push_back(detail::ack_message(next, info));
    return out;
}

/// The application refuses the payment that brought the total to `total` [satoshi]: the connection ends with an ERROR.
/// What was paid stays paid: its signature is on disk, and when the client resumes it is acked without a question.
/// why    for the peer to read
/// Fails  as acknowledge.
[[nodiscard]] inline result<effects> refuse(server_channel& next, satoshi total, std::string_view why) {
    if (next.session.phase != server_phase::answering || next.record.paid() != total)
        return fail(errc::wrong_state, "no payment of that total waits for an answer on this connection");
    next.session.phase = server_phase::ended;
    effects out;
    out.send.push_back(detail::error_message_for({errc::other, why}));
    out.close = true;
    event e = detail::event_of(event_kind::error, next.record);
    e.problem = {errc::other, "the application refused a payment"};
    out.notify.push_back(e);
    return out;
}

/// Settles an open channel: the client paid all there is, the operator or a deadline says so.
/// Fails  wrong_state, insufficient_funds (what was paid does not bear the fee yet), key_unavailable, too_long.
template <class Contracts, class Env>
[[nodiscard]] result<effects> settle(server_channel& next, const Env& env) {
    if (!is_open(next.session.phase)) return fail(errc::wrong_state, "the channel is not open on this connection");
    return Contracts::template with<result<effects>>(
        next.record.protocol, [&]<class Scheme>() { return detail::settle_channel<Scheme>(next, env); });
}

/// The same at a fee that was decided on.
template <class Contracts, class Env>
[[nodiscard]] result<effects> settle(server_channel& next, const Env& env, fee_rate rate) {
    if (!is_open(next.session.phase)) return fail(errc::wrong_state, "the channel is not open on this connection");
    return Contracts::template with<result<effects>>(
        next.record.protocol, [&]<class Scheme>() { return detail::settle_channel<Scheme>(next, env, rate); });
}

/// Takes the network's word on the contract or the settlement that this conversation waits for; other txids are passed
/// over. `unreachable` changes nothing: who broadcasts tries again.
/// now    [s] the later of the clock and the chain's median time
/// Fails  bad_transaction (the network refuses the contract), time_window_unacceptable (it took it too late), other (it
///        refuses the settlement now).
[[nodiscard]] inline result<effects> on_broadcast(server_channel& next, const server_settings& settings, unix_time now,
                                                  const txid& id, broadcast_outcome outcome) {
    channel_record& record = next.record;
    server_session& session = next.session;
    if (is_open(session.phase) && id == record.terms.contract.id && outcome == broadcast_outcome::refused) {
        // It was evicted or double-spent: from here on payments would be worth nothing.  A resume asks the network anew.
        constexpr std::string_view text = "the network refuses the contract by now";
        session.phase = server_phase::ended;
        record.stage = channel_stage::unbacked;
        ++record.version;
        effects out;
        out.persist.channel = true;
        out.send.push_back(detail::error_message_for({errc::bad_transaction, text}));
        out.close = true;
        event e = detail::event_of(event_kind::error, record);
        e.problem = {errc::bad_transaction, text};
        out.notify.push_back(e);
        return out;
    }
    if (is_in_doubt(next) && id == record.terms.contract.id && outcome == broadcast_outcome::accepted) {
        effects out;
        session.in_doubt = false;
        if (record.stage == channel_stage::open) return out;
        record.stage = channel_stage::open;
        ++record.version;
        out.persist.channel = true;
        return out;
    }
    const bool contract = session.phase == server_phase::broadcasting;
    const bool settlement = session.phase == server_phase::settling;
    if ((!contract && !settlement) || id != session.broadcast || outcome == broadcast_outcome::unreachable)
        return effects{};
    if (outcome == broadcast_outcome::refused)
        return contract ? fail(errc::bad_transaction, "the network refuses the contract")
                        : fail(errc::other, "the network refuses the settlement now: the server tries again");
    // The chain's time may have been told, or have passed, since the contract came.
    if (contract && !detail::takes_payments(record, settings, now))
        return fail(errc::time_window_unacceptable,
                    "the network took the contract too late: its expiry is too near by now");
    effects out;
    if (contract) {
        // The application hears of the first payment before it hears of the opening, as in the reference.
        event first = detail::event_of(event_kind::payment, record);
        first.amount = record.paid();
        if (record.stage == channel_stage::contract_stored) out.notify.push_back(first);
        session.phase = server_phase::open;
        record.stage = channel_stage::open;
        ++record.version;
        out.persist.channel = true;
        out.send.push_back(detail::channel_open_message(next));
        out.notify.push_back(detail::event_of(event_kind::opened, record));
    } else {
        session.phase = server_phase::ended;
        out.send.push_back(wire::close{session.settlement});
        out.close = true;
        event e = detail::event_of(event_kind::settled, record);
        e.closing = record.closing;
        e.data = session.settlement;
        out.notify.push_back(e);
    }
    return out;
}

/// The server's node was away and may have forgotten the contract.  It is to be given to it again, and until it was accepted
/// payments are not taken.
/// stored  nobody else remembers that: it is written into the record, for a connection that resumes the channel
[[nodiscard]] inline effects on_node_returned(server_channel& next, bool stored) {
    effects out;
    if (!is_open(next.session.phase) || next.record.stage != channel_stage::open) return out;
    next.session.in_doubt = true;
    if (!stored || !next.session.proven) return out;  // whoever has not shown to be the client writes nothing
    next.record.stage = channel_stage::unbacked;
    ++next.record.version;
    out.persist.channel = true;
    return out;
}

/// True when the client has paid all there is: nothing is left to wait for, so the server settles.  Not for a peer that
/// has only named the channel.
[[nodiscard]] inline bool is_exhausted(const server_channel& c) {
    return c.session.phase == server_phase::open && c.session.proven && c.record.change.value == 0;
}

}  // namespace paychan
