// The client's side of the protocol as a pure function: (channel, input) -> (channel', effects).
#pragma once

#include "paychan/channel/contract.hpp"
#include "paychan/channel/effects.hpp"
#include "paychan/channel/payment.hpp"
#include "paychan/channel/resume.hpp"
#include "paychan/channel/settlement.hpp"

namespace paychan {

/// What the client insists on.
struct client_settings {
    std::uint64_t time_window = 86'340;         ///< [s] asked for; the protocol's default
    std::int64_t window_tolerance = 60;         ///< [s] by which the server's clock may be ahead (rule)
    std::int64_t min_window = 600;              ///< [s] an expiry nearer than this is of no use
    satoshi max_min_payment{10'000};            ///< [satoshi] the most that opening a channel may cost
    version_set versions = version_set::all();  ///< that a new channel may have: the first of the list is asked for
    bool extensions = true;  ///< announce what servers of bitcoinj pass over: amounts in acks and when resuming
};

/// Where the conversation stands.  Of the connection, not of the channel: it is not stored.
enum class client_phase : std::uint8_t {
    idle,            ///< not connected
    version_sent,    ///< awaits SERVER_VERSION
    version_agreed,  ///< awaits INITIATE, or CHANNEL_OPEN when it resumes
    refund_sent,     ///< awaits RETURN_REFUND
    contract_sent,   ///< awaits CHANNEL_OPEN; from here on the channel is on disk
    resuming,        ///< has sent the last payment again, for the server may not have it; awaits its PAYMENT_ACK
    open,            ///< may pay
    settling,        ///< CLOSE was sent; awaits the settlement
    ended,           ///< nothing more is sent or listened to
};

struct client_session {
    client_phase phase = client_phase::idle;
    std::int32_t version = 0;  ///< asked for, then agreed on
    unix_time asked_at{};      ///< when CLIENT_VERSION left: the server's expiry is measured from here
    bool resuming = false;
    satoshi offer{};          ///< [satoshi] value of the channel to open; 0 when it only resumes
    satoshi first_payment{};  ///< [satoshi] the server's min_payment
    satoshi in_flight{};      ///< [satoshi] the payment that awaits its PAYMENT_ACK
    bool payment_in_flight = false;
    bytes32 resume_hash{};  ///< display order
    der_signature resume_proof{};
    bytes_view contract{};   ///< funded, in the driver's memory
    refund_buffer refund{};  ///< unsigned, then complete
};

/// What a step computes on: a copy of it is committed when the effects are carried out, thrown away when they are not.
struct client_channel {
    channel_record record;
    client_session session;
};

/// What a step may ask.
template <class Keys, class Funding>
struct client_environment {
    const client_settings& settings;
    Keys& keys;
    Funding& wallet;
    unix_time now{};  ///< [s] the later of the clock and the chain's median time
    fee_rate rate{};
    bytes_span contract_memory;  ///< for the contract; lives as long as the session
    bool clock_behind = false;   ///< the clock is behind the chain's median time: nothing is opened
};

//  phase          | message         | condition, else the error                                    | next
//  ---------------+-----------------+--------------------------------------------------------------+---------------
//  version_sent   | SERVER_VERSION  | as asked, or a lower one we have (NO_ACCEPTABLE_VERSION)     | version_agreed
//  version_agreed | INITIATE        | window, minimum, payment, key (their codes); funds           | refund_sent (1),
//                 |                 |                                                              | contract_sent (2)
//  version_agreed | CHANNEL_OPEN    | resuming: the server has what we paid, or shows our own      | open
//                 |                 | signature for more (BAD_TRANSACTION)                         |
//  version_agreed | CHANNEL_OPEN    | resuming: it has less, or does not say                       | resuming
//  refund_sent    | RETURN_REFUND   | it verifies, with flags 82 (BAD_TRANSACTION)                 | contract_sent
//  contract_sent  | CHANNEL_OPEN    |                                                              | open
//  resuming       | PAYMENT_ACK     | an amount in it is what was paid (BAD_TRANSACTION)           | open
//  open           | PAYMENT_ACK     | a payment is in flight; the same                             | open
//  settling       | PAYMENT_ACK     | one that nothing awaits is passed over                       | settling
//  any            | CLOSE           | a settlement in it parses (BAD_TRANSACTION); one that does   | ended
//                 |                 | not spend the contract is passed over                        |
//  any            | ERROR           |                                                              | ended
//  idle, ended    | any             | passed over                                                  | the same
//  everything else                  | SYNTAX_ERROR                                                 | ended
// A failure ends the connection; the record stays what it was.

namespace detail {

/// The record's last payment as it goes to the server.
[[nodiscard]] inline wire::update_payment payment_message(const channel_record& record, bytes_view info) {
    wire::update_payment m;
    m.client_change_value = static_cast<std::uint64_t>(record.change.value);
    m.signature = record.signature.view();
    if (!info.empty()) m.info = info;
    return m;
}

/// Refuses the server's terms.  An effect and not a failure, because MIN_PAYMENT_TOO_LARGE carries a number.
[[nodiscard]] inline effects refuse_min_payment(client_channel& next, satoshi acceptable) {
    constexpr std::string_view text = "the minimum payment is more than this client pays to open a channel";
    next.session.phase = client_phase::ended;
    effects out;
    wire::error_message m;
    m.code = static_cast<std::int32_t>(errc::min_payment_too_large);
    m.explanation = bytes_view{reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
    m.expected_value = static_cast<std::uint64_t>(acceptable.value);
    out.send.push_back(m);
    out.close = true;
    event e{event_kind::error};
    e.problem = {errc::min_payment_too_large, text};
    out.notify.push_back(e);
    return out;
}

/// Checks that the wallet made what was asked for: a contract with a wrong output would lock money nobody can take out.
[[nodiscard]] inline result<txid> check_funding(bytes_view contract, bytes_view script_pubkey, satoshi value) {
    PAYCHAN_TRY(const auto tx, parse_transaction(contract));
    PAYCHAN_TRY(const auto out, tx.output(0));
    if (out.value != value || !equal(out.script_pubkey, script_pubkey))
        return fail(errc::bad_transaction, "the wallet funded another output than the contract");
    return tx.id();
}

/// Signs the refund and joins both signatures to it.
template <class Scheme, KeyStore K>
[[nodiscard]] result<void> complete_refund(client_channel& next, K& keys, bytes_view server_signature) {
    channel_record& record = next.record;
    client_session& session = next.session;
    PAYCHAN_TRY(const auto digest, refund_digest<Scheme>(record.terms, session.refund.view(), sighash_all));
    PAYCHAN_TRY(const auto signature, keys.sign({record.key, signing_purpose::refund, digest, record.terms.value, {}}));
    std::array<std::uint8_t, 400> memory{};
    writer script_sig(memory);
    Scheme::write_refund_script_sig(script_sig, record.terms, to_bytes({signature, sighash_all}).view(),
                                    server_signature);
    if (!script_sig.ok()) return fail(errc::too_long, "the refund's script_sig does not fit");
    session.refund = refund_transaction(record.terms, script_sig.written());
    return {};
}

/// Steps count from the chain's time then, which is about an hour late: good enough to get money back by, not to open on.
[[nodiscard]] inline tl::unexpected<error> clock_is_behind() {
    return fail(errc::wrong_clock,
                "this machine's clock is behind the time of the chain's blocks: set it right to open channels");
}

template <class Keys, class Funding>
[[nodiscard]] result<void> check_expiry(unix_time expiry, const client_environment<Keys, Funding>& env) {
    if (expiry < env.now + env.settings.min_window)
        return fail(
            errc::time_window_unacceptable,
            "the expiry is too near for the channel to be of use: ask for a longer window, and compare the clocks "
            "of both sides");
    return {};
}

template <class Scheme, class Keys, class Funding>
[[nodiscard]] result<effects> send_contract(client_channel& next, const client_environment<Keys, Funding>& env) {
    channel_record& record = next.record;
    client_session& session = next.session;
    PAYCHAN_CHECK(check_expiry(record.terms.expiry, env));  // again: the server may have held the refund back
    PAYCHAN_TRY(record.change, change_after(record.terms.value, session.first_payment));
    PAYCHAN_TRY(record.signature, sign_payment<Scheme>(record, record.change, env.keys));
    record.stage = channel_stage::contract_stored;
    ++record.version;
    session.phase = client_phase::contract_sent;

    effects out;
    // All of it before the contract leaves: once the server has it, only what is on disk brings the money back.
    out.persist = {true, session.contract, session.refund.view(), {}};
    out.notify.push_back(event_of(event_kind::stored, record));
    wire::provide_contract m;
    m.tx = session.contract;
    m.initial_payment.client_change_value = static_cast<std::uint64_t>(record.change.value);
    m.initial_payment.signature = record.signature.view();
    if constexpr (!Scheme::refund_is_cosigned) m.client_key = record.terms.client_key.view();
    out.send.push_back(m);
    return out;
}

template <class Scheme, class Keys, class Funding>
[[nodiscard]] result<effects> on_initiate(client_channel& next, const client_environment<Keys, Funding>& env,
                                          const wire::initiate& m) {
    channel_record& record = next.record;
    client_session& session = next.session;
    if (session.offer.value == 0)
        return fail(errc::not_found,
                    "the server does not know this channel any more: its refund comes free after the expiry");
    if (env.clock_behind) return clock_is_behind();

    if (!env.settings.versions.has(session.version))
        return fail(errc::no_acceptable_version, "this client opens no new channel of that protocol version");

    const auto expiry = unix_time{static_cast<std::int64_t>(m.expire_time_secs)};
    const std::int64_t window =
        static_cast<std::int64_t>(std::min<std::uint64_t>(env.settings.time_window, 0xffff'ffff));
    // A lock_time has 32 bits, and below the threshold it would be a height.
    if (m.expire_time_secs > 0xffff'ffff || expiry.seconds < lock_time_threshold ||
        expiry > session.asked_at + (window + env.settings.window_tolerance))
        return fail(errc::time_window_unacceptable,
                    "the expiry is later than the window that was asked for: the clock here is behind the server's, "
                    "or the server takes no window so short");
    PAYCHAN_CHECK(check_expiry(expiry, env));
    if (m.min_accepted_channel_size > static_cast<std::uint64_t>(session.offer.value))
        return fail(errc::channel_value_too_large, "the server wants a larger channel than this client offers");
    if (!bears_refund(session.offer))
        return fail(errc::channel_value_too_large, "the channel is too small for its refund to be relayed");
    const satoshi most = std::min(env.settings.max_min_payment, session.offer);
    if (m.min_payment > static_cast<std::uint64_t>(most.value)) return refuse_min_payment(next, most);
    const auto server_key = parse_public_key(m.multisig_key);
    if (!server_key) return fail(errc::bad_transaction, server_key.error().text);

    session.first_payment = {static_cast<std::int64_t>(m.min_payment)};
    const auto label = record.label;
    record = {};
    record.protocol = Scheme::version;
    record.label = label;
    PAYCHAN_TRY(record.key, env.keys.new_key());
    PAYCHAN_TRY(record.terms.client_key, env.keys.public_key(record.key));
    record.terms.server_key = *server_key;
    record.terms.value = session.offer;
    record.terms.expiry = expiry;

    const auto script = Scheme::script_pubkey(record.terms);
    PAYCHAN_TRY(session.contract, env.wallet.fund(script.view(), session.offer, env.rate, env.contract_memory));
    PAYCHAN_TRY(record.terms.contract.id, check_funding(session.contract, script.view(), session.offer));
    record.terms.contract.index = 0;
    session.refund = refund_transaction(record.terms);

    if constexpr (Scheme::refund_is_cosigned) {
        session.phase = client_phase::refund_sent;
        effects out;
        out.send.push_back(wire::provide_refund{record.terms.client_key.view(), session.refund.view()});
        return out;
    } else {
        PAYCHAN_CHECK(complete_refund<Scheme>(next, env.keys, {}));
        return send_contract<Scheme>(next, env);
    }
}

template <class Scheme, class Keys, class Funding>
[[nodiscard]] result<effects> on_return_refund(client_channel& next, const client_environment<Keys, Funding>& env,
                                               const wire::return_refund& m) {
    channel_record& record = next.record;
    client_session& session = next.session;
    const auto flagged = parse_flagged(m.signature);
    if (!flagged) return fail(errc::bad_transaction, "refund signature is not strict DER");
    if (flagged->hash_type != cosigned_refund_flags)
        return fail(errc::bad_transaction, "refund signature is not SIGHASH_NONE|SIGHASH_ANYONECANPAY");
    // Low S, or no node would relay the refund.
    const flagged_signature low{normalized(flagged->signature), flagged->hash_type};
    PAYCHAN_TRY(const auto digest, refund_digest<Scheme>(record.terms, session.refund.view(), cosigned_refund_flags));
    if (!verify_ecdsa(record.terms.server_key, digest, low.signature))
        return fail(errc::bad_transaction, "refund signature does not verify");
    PAYCHAN_CHECK(complete_refund<Scheme>(next, env.keys, to_bytes(low).view()));
    return send_contract<Scheme>(next, env);
}

template <class Scheme>
[[nodiscard]] result<effects> on_close(client_channel& next, const wire::close& m) {
    channel_record& record = next.record;
    client_session& session = next.session;
    effects out;
    out.close = true;
    session.phase = client_phase::ended;
    if (!m.settlement || record.stage == channel_stage::none) return out;
    const auto tx = parse_transaction(*m.settlement);
    if (!tx) return fail(errc::bad_transaction, "the settlement is not a transaction");
    // A settlement that does not spend our contract says nothing about it: the refund stays armed.
    const auto id = check_settlement<Scheme>(record.terms, *m.settlement);
    if (!id) return out;
    record.closing = *id;
    record.stage = channel_stage::settling;
    ++record.version;
    out.persist.channel = true;
    event e = event_of(event_kind::settled, record);
    // It may be of an older payment than the last one: what it gives back tells.
    const auto back = tx->output(0);
    const bool is_change = back && equal(back->script_pubkey, script_of_key(record.terms.client_key).view());
    e.total = subtract(record.terms.value, is_change ? back->value : satoshi{0}).value_or(satoshi{0});
    e.closing = *id;
    e.data = *m.settlement;
    out.notify.push_back(e);
    return out;
}

[[nodiscard]] inline result<effects> on_channel_open(client_channel& next) {
    channel_record& record = next.record;
    next.session.phase = client_phase::open;
    record.stage = channel_stage::open;
    ++record.version;
    effects out;
    out.persist.channel = true;
    out.notify.push_back(event_of(event_kind::opened, record));
    return out;
}

/// A stored channel goes on.  After this both sides know the same amount.
template <class Scheme>
[[nodiscard]] result<effects> on_channel_resumed(client_channel& next, const client_settings& settings,
                                                 const wire::channel_open& m) {
    channel_record& record = next.record;
    client_session& session = next.session;
    const wire::resume_state* const held = settings.extensions && m.resumed ? &*m.resumed : nullptr;
    const auto ours = static_cast<std::uint64_t>(record.change.value);
    effects out;
    if (held && held->client_change_value < ours) {
        // A payment that this record has lost.  With our own signature in its hands the server can collect it anyway.
        const auto payment = check_payment<Scheme>(record, {held->client_change_value, held->signature, {}});
        if (!payment) return fail(errc::bad_transaction, "the server claims a payment that this client never signed");
        record.change = payment->change;
        record.signature = payment->signature;
        out.persist.channel = true;
    }
    if (record.stage != channel_stage::open) {
        record.stage = channel_stage::open;
        out.persist.channel = true;
    }
    if (out.persist.channel) ++record.version;
    if (held && held->client_change_value <= ours) {
        session.phase = client_phase::open;
        out.notify.push_back(event_of(event_kind::opened, record));
        return out;
    }
    // The server has not got the last payment, or does not say what it has.  It acks an equal one and takes a higher
    // one; and the payment proves who resumes.
    session.phase = client_phase::resuming;
    out.send.push_back(payment_message(record, {}));
    return out;
}

/// An amount in PAYMENT_ACK is all that the server has accepted.
[[nodiscard]] inline result<void> check_ack(const channel_record& record, const client_settings& settings,
                                            const wire::payment_ack& m) {
    if (settings.extensions && m.paid && *m.paid != static_cast<std::uint64_t>(record.paid().value))
        return fail(errc::bad_transaction, "the server acknowledges another amount than was paid");
    return {};
}

[[nodiscard]] inline result<effects> on_resumed(client_channel& next, const client_settings& settings,
                                                const wire::payment_ack& m) {
    PAYCHAN_CHECK(check_ack(next.record, settings, m));
    next.session.phase = client_phase::open;
    effects out;
    out.notify.push_back(event_of(event_kind::opened, next.record));
    return out;
}

[[nodiscard]] inline result<effects> on_payment_ack(client_channel& next, const client_settings& settings,
                                                    const wire::payment_ack& m) {
    channel_record& record = next.record;
    client_session& session = next.session;
    effects out;
    if (!session.payment_in_flight) return out;
    PAYCHAN_CHECK(check_ack(record, settings, m));
    event e = event_of(event_kind::acked, record);
    e.amount = session.in_flight;
    e.data = m.info.value_or(bytes_view{});
    out.notify.push_back(e);
    session.payment_in_flight = false;
    session.in_flight = {};
    return out;
}

}  // namespace detail

/// Begins the conversation on a new connection: CLIENT_VERSION.
/// next.record  a stored channel to resume, or an empty one
/// offer        [satoshi] the channel to open; with one to resume, opened only if the server has forgotten that; 0: none
/// Fails        wrong_state (not idle, or a record that cannot be resumed), out_of_range (too small to be refunded),
///              wrong_clock (it is behind the chain, and a channel is to be opened), unsupported (no version that is
///              built in is allowed), key_unavailable.
template <class Contracts, class Keys, class Funding>
[[nodiscard]] result<effects> start(client_channel& next, const client_environment<Keys, Funding>& env, satoshi offer) {
    channel_record& record = next.record;
    client_session& session = next.session;
    if (session.phase != client_phase::idle) return fail(errc::wrong_state, "a conversation is under way");
    const bool resuming = record.stage != channel_stage::none;
    if (record.stage == channel_stage::settling)
        return fail(errc::wrong_state, "the channel is settling and takes no more payments");
    if (!resuming && !bears_refund(offer))
        return fail(errc::out_of_range, "a channel holds at least 1546 satoshi, or its refund is dust");
    if (!is_money(offer)) return fail(errc::out_of_range, "the channel's value is not an amount of money");
    if (!resuming && env.clock_behind) return detail::clock_is_behind();
    session.phase = client_phase::version_sent;
    session.version = resuming ? record.protocol : Contracts::preferred(env.settings.versions);
    if (!Contracts::has(session.version))
        return fail(errc::unsupported, "this program is built without the protocol version to ask for");
    session.asked_at = env.now;
    session.resuming = resuming;
    session.offer = offer;
    effects out;
    wire::client_version m;
    m.major = session.version;
    m.time_window_secs = env.settings.time_window;
    if (env.settings.extensions) m.extensions = wire::understands_amounts;
    if (resuming) {
        session.resume_hash = display_bytes(record.terms.contract.id);
        m.previous_channel_contract_hash = session.resume_hash;
    }
    if (resuming && env.settings.extensions) {
        m.resume_time = static_cast<std::uint64_t>(std::max<std::int64_t>(env.now.seconds, 0));
        PAYCHAN_TRY(session.resume_proof, sign_resume(record, *m.resume_time, env.keys));
        m.resume_signature = session.resume_proof.view();
    }
    out.send.push_back(m);
    return out;
}

/// Takes one message from the server.  Fails with the code that belongs into an ERROR, or with a local one; see the
/// table above.
template <class Contracts, class Keys, class Funding>
[[nodiscard]] result<effects> step(client_channel& next, const client_environment<Keys, Funding>& env,
                                   const wire::message& m) {
    channel_record& record = next.record;
    client_session& session = next.session;
    if (session.phase == client_phase::ended || session.phase == client_phase::idle) return effects{};
    if (const auto* refusal = std::get_if<wire::error_message>(&m)) {
        session.phase = client_phase::ended;
        return detail::on_peer_error(record, *refusal);
    }
    const auto with_scheme = [&](auto&& f) {
        return Contracts::template with<result<effects>>(
            record.stage == channel_stage::none && session.phase <= client_phase::version_agreed ? session.version
                                                                                                 : record.protocol,
            f);
    };
    if (const auto* closing = std::get_if<wire::close>(&m))
        return with_scheme([&]<class Scheme>() { return detail::on_close<Scheme>(next, *closing); });

    switch (session.phase) {
        case client_phase::version_sent:
            if (const auto* version = std::get_if<wire::server_version>(&m)) {
                const bool lower = version->major < session.version && Contracts::has(version->major) &&
                                   env.settings.versions.has(version->major) && !session.resuming;
                if (version->major != session.version && !lower)
                    return fail(errc::no_acceptable_version,
                                "the server answers with a protocol version that this client does not want");
                session.version = version->major;
                session.phase = client_phase::version_agreed;
                return effects{};
            }
            break;
        case client_phase::version_agreed:
            if (const auto* terms = std::get_if<wire::initiate>(&m))
                return Contracts::template with<result<effects>>(
                    session.version, [&]<class Scheme>() { return detail::on_initiate<Scheme>(next, env, *terms); });
            if (const auto* open = std::get_if<wire::channel_open>(&m); open && session.resuming)
                return with_scheme(
                    [&]<class Scheme>() { return detail::on_channel_resumed<Scheme>(next, env.settings, *open); });
            break;
        case client_phase::refund_sent:
            if (const auto* refund = std::get_if<wire::return_refund>(&m))
                return with_scheme([&]<class Scheme>() -> result<effects> {
                    if constexpr (Scheme::refund_is_cosigned)
                        return detail::on_return_refund<Scheme>(next, env, *refund);
                    else
                        return detail::out_of_order();
                });
            break;
        case client_phase::contract_sent:
            if (std::holds_alternative<wire::channel_open>(m)) return detail::on_channel_open(next);
            break;
        case client_phase::resuming:
            if (const auto* ack = std::get_if<wire::payment_ack>(&m))
                return detail::on_resumed(next, env.settings, *ack);
            break;
        case client_phase::open:
            if (const auto* ack = std::get_if<wire::payment_ack>(&m); ack && session.payment_in_flight)
                return detail::on_payment_ack(next, env.settings, *ack);
            break;
        case client_phase::settling:
            if (const auto* ack = std::get_if<wire::payment_ack>(&m))
                return detail::on_payment_ack(next, env.settings, *ack);
            break;
        case client_phase::idle:
        case client_phase::ended: break;
    }
    return detail::out_of_order();
}

/// Moves value to the server.
/// amount  [satoshi] an increment, not a total; 0 < amount <= what is left.  A rest below 546 is given away with it.
/// info    for the server's application; may be empty
/// Fails   wrong_state (not open, or the channel has expired), payment_in_flight, out_of_range, insufficient_funds,
///         key_unavailable.  On failure nothing is sent and the record is unchanged.
/// Source  UPDATE_PAYMENT; SIGHASH_SINGLE|ANYONECANPAY, or NONE|ANYONECANPAY without change.
template <class Contracts, class Keys, class Funding>
[[nodiscard]] result<effects> pay(client_channel& next, const client_environment<Keys, Funding>& env, satoshi amount,
                                  bytes_view info) {
    channel_record& record = next.record;
    client_session& session = next.session;
    if (session.phase != client_phase::open) return fail(errc::wrong_state, "the channel is not open");
    if (session.payment_in_flight) return fail(errc::payment_in_flight, "the last payment still awaits its ack");
    if (amount.value <= 0) return fail(errc::out_of_range, "a payment is more than nothing");
    if (env.now >= record.terms.expiry) return fail(errc::wrong_state, "the channel has expired");
    if (amount > record.change) return fail(errc::insufficient_funds, "the channel does not hold that much any more");
    PAYCHAN_TRY(const auto change, change_after(record.change, amount));
    PAYCHAN_TRY(record.signature,
                Contracts::template with<result<bounded_bytes<73>>>(
                    record.protocol, [&]<class Scheme>() { return sign_payment<Scheme>(record, change, env.keys); }));
    session.in_flight = {record.change.value - change.value};
    session.payment_in_flight = true;
    record.change = change;
    ++record.version;

    effects out;
    out.persist.channel = true;
    out.send.push_back(detail::payment_message(record, info));
    return out;
}

/// Asks the server to settle.  Before there is a contract the connection just ends.  Fails  wrong_state.
[[nodiscard]] inline result<effects> settle(client_channel& next) {
    effects out;
    if (next.session.phase == client_phase::idle || next.session.phase == client_phase::ended)
        return fail(errc::wrong_state, "there is no conversation to end");
    if (next.record.stage == channel_stage::none) {
        next.session.phase = client_phase::ended;
        out.close = true;
        return out;
    }
    if (next.session.phase != client_phase::open)
        return fail(errc::wrong_state, "the channel is not open on this connection");
    next.session.phase = client_phase::settling;
    out.send.push_back(wire::close{});
    return out;
}

}  // namespace paychan
