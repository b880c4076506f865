// What a step wants done.  The order of the fields is the order of execution: durable before it leaves.
#pragma once

#include "paychan/channel/record.hpp"
#include "paychan/core/bounded_list.hpp"
#include "paychan/wire/messages.hpp"

namespace paychan {

/// What the application hears.
enum class event_kind : std::uint8_t {
    stored,   ///< the channel is on disk and the contract may be on chain from here on: a monitor should watch it
    opened,   ///< payments may flow; total = what is paid already
    payment,  ///< server: amount more was paid, total in all, data = the payment's info
    acked,    ///< client: the server has the last payment on disk; amount, total, data = the ack's info
    settled,  ///< a settlement exists: closing = its txid, data = the transaction; total = what the server gets before
              ///< its fee
    error,    ///< problem; data = the peer's own words when it was the peer who refused (unsafe to print unescaped)
    closed,   ///< the connection is over; the channel's record is kept
    refunding,  ///< client: the expiry has passed and the refund was broadcast; closing = its txid
    confirmed,  ///< a transaction that spends the contract is in a block; closing = its txid, data = the transaction; zeros
                ///< when nobody can show that block, with a problem that says so
    buried,  ///< that block is so deep, or the contract missing so long, or so many such, that the records were deleted
    double_spent,  ///< another transaction, in a block, has spent the contract's coins: payments on it are worth nothing
                   ///< while that stays; closing = its txid, data = the transaction; total = what is lost
    lost,  ///< server: after `confirmed`, when that is the client's refund; closing = its txid, total = what was paid and is
           ///< lost while it stays; told again when that block is read again
    taken_back,  ///< client: the network has a transaction that spends to ourselves what the contract was to spend: closing
    clock_wrong,  ///< this machine's `clock` is behind the chain's `chain_time`: no channel is opened until it is right
};

[[nodiscard]] constexpr const char* name_of(event_kind k) {
    switch (k) {
        case event_kind::stored: return "stored";
        case event_kind::opened: return "opened";
        case event_kind::payment: return "payment";
        case event_kind::acked: return "acked";
        case event_kind::settled: return "settled";
        case event_kind::error: return "error";
        case event_kind::closed: return "closed";
        case event_kind::refunding: return "refunding";
        case event_kind::confirmed: return "confirmed";
        case event_kind::buried: return "buried";
        case event_kind::double_spent: return "double_spent";
        case event_kind::lost: return "lost";
        case event_kind::taken_back: return "taken_back";
        case event_kind::clock_wrong: return "clock_wrong";
    }
    return "unknown";
}

struct event {
    event_kind kind{};
    txid channel{};    ///< the contract's txid, zeros before there is one
    satoshi amount{};  ///< [satoshi]
    satoshi total{};   ///< [satoshi] the server's share
    txid closing{};
    bytes_view data{};  ///< lives during the call
    error problem{};
    bool by_peer = false;    ///< the problem is what the peer's ERROR says
    unix_time clock{};       ///< clock_wrong: what this machine's says,
    unix_time chain_time{};  ///< and the chain's median time
};

/// Records to be on disk, all at once, before anything else happens.  An empty view is not written.
struct persist_set {
    bool channel = false;   ///< the record that the step computed
    bytes_view contract;    ///< once, at opening
    bytes_view refund;      ///< once, at opening (client)
    bytes_view settlement;  ///< server: the one to broadcast
    [[nodiscard]] bool empty() const { return !channel && contract.empty() && refund.empty() && settlement.empty(); }
};

/// If a step fails there are no effects.  If `persist` fails, nothing below it happens, and the record stays as it was.
/// Views point into the step's own session and record, or into its input: carry the effects out before either changes.
struct effects {
    persist_set persist;                    // 1. on disk,
    bounded_list<bytes_view, 2> broadcast;  // 2. then to the network,
    bounded_list<wire::message, 2> send;    // 3. then to the peer,
    bool close = false;                     // 4. then the connection ends,
    bounded_list<event, 3> notify;          // 5. then the application hears of it.
};

namespace detail {

[[nodiscard]] inline event event_of(event_kind kind, const channel_record& record) {
    event e{kind};
    if (record.stage == channel_stage::none) return e;  // what a peer has only claimed so far is nobody's channel
    e.channel = record.terms.contract.id;
    e.total = record.paid();
    return e;
}

/// The end that an ERROR from the peer means: no answer, and the application hears the peer's words.
[[nodiscard]] inline effects on_peer_error(const channel_record& record, const wire::error_message& m) {
    effects out;
    out.close = true;
    event e = event_of(event_kind::error, record);
    e.data = m.explanation.value_or(bytes_view{});
    const bool known = m.code >= 1 && m.code <= 8;
    e.problem = {known ? static_cast<errc>(m.code) : errc::other, "the peer ended the connection with an error"};
    e.by_peer = true;
    out.notify.push_back(e);
    return out;
}

/// The ERROR for a failed step.  A local failure is nobody else's business: the peer only hears that this side cannot
/// go on.
[[nodiscard]] inline wire::error_message error_message_for(const error& e) {
    const std::string_view text = is_wire_code(e.code) ? e.text : "this side cannot go on now; try again later";
    wire::error_message m;
    m.code = static_cast<std::int32_t>(is_wire_code(e.code) ? e.code : errc::other);
    m.explanation = bytes_view{reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
    return m;
}

[[nodiscard]] inline tl::unexpected<error> out_of_order() {
    return fail(errc::syntax_error, "this message does not belong here in the conversation");
}

}  // namespace detail

}  // namespace paychan
