// What the chain, the network and the time do to a channel, as a pure function: (watched, what happened) -> (watched',
// what is to be done).
#pragma once

#include <algorithm>
#include <optional>
#include <variant>

#include "paychan/channel/effects.hpp"
#include "paychan/channel/watched.hpp"

namespace paychan {

inline constexpr std::int32_t burial_depth = 100;  // [blocks] a reorganisation this deep has never been seen

/// How a monitor acts.
struct monitor_settings {
    std::int32_t burial = burial_depth;    ///< [blocks] from the closing transaction's on, before records are deleted
    std::int32_t refused_depth = 6;        ///< [blocks] after which a refused contract that never opened is forgotten
    std::int64_t stillborn_age = 604'800;  ///< [s] past the expiry, after which any that never opened or was refused is
    std::int32_t reminder = 6;             ///< [blocks] after which an error that lasts is told again
    std::size_t max_unopened = 1'000;  ///< server: contracts not accepted yet; beyond that, some are forgotten early
    std::int64_t retry = 600;  ///< [s] after which what is in no block is given to the network again, block or not
    /// [s] server: between two times that an open channel's contract is given to the network while it is in no block, which
    /// says then whether another transaction spends the same coins.
    std::int64_t recheck = 50;
    std::int64_t opening = 60;  ///< [s] server: what a channel that opens is given, before it counts for max_unopened
    std::int64_t settle_margin = 7'200;  ///< [s] server: see server_settings, which decides
};

/// What may happen to a channel that is watched.
namespace happened {
/// Its record was read.
struct record_read {
    channel_stage stage{};
    unix_time expiry{};
    txid closing{};
    std::int32_t closing_height = 0;
    unix_time now{};
};
/// Its record is there and could not be read.
struct record_unreadable {};
/// What was stored of it.  Heights above `known` are not believed: blocks will tell.
struct facts_read {
    watch_facts facts;
    std::int32_t known = 0;
};
/// What was stored of it cannot be read.
struct facts_unreadable {};
/// All blocks are told once more, from the first on, for what is known may be of blocks that have left the chain meanwhile;
struct told_anew {};
/// and have been.
struct told_all {};
/// A driver has stored it, or settled it.
struct driver_stored {};
struct driver_settled {};
/// A block holds the contract;
struct contract_mined {
    std::int32_t height = 0;
};
/// a transaction that spends it;
struct contract_spent {
    std::int32_t height = 0;
    txid by;
};
/// or another spend of the contract's coins, while the contract is in no block.
struct coins_spent {
    std::int32_t height = 0;
    bool elsewhere = false;  ///< it pays the same to the contract's script
};
/// The network's word on the contract, and on refund or settlement.
struct contract_answered {
    broadcast_outcome outcome{};
    std::int32_t height = 0;
};
struct closing_answered {
    broadcast_outcome outcome{};
    std::int32_t height = 0;
    bool underpaid = false;  ///< refused for its fee, and nodes have no other
    bool spent = false;      ///< refused: as in broadcast_answer
};
/// Fees have risen: what is unmined may pay too little by now.
struct fees_rose {};
/// Time has passed, or a block: what is to be done now?
struct look {
    unix_time now{};
    unix_time median_time{};
    std::int32_t height = 0;  ///< 0: no block was seen
    std::int32_t round = 0;
    bool caught_up = true;  ///< the blocks that there are have been read: what is in none is in none
};
/// What came of what was to be done: the record was written, or could not be.
struct record_written {
    bool written = false;
    bool try_again = false;
    channel_stage stage{};
};
/// A settlement was built, and left; stored, but for a disk that did not take it.
struct settlement_built {
    txid closing;
    std::int32_t round = 0;
    fee_rate rate{};
    bool stored = true;
};
/// Contract and refund, or contract and settlement, were given to the network again.
struct closing_offered {
    std::optional<txid> closing;  ///< of what was stored
    std::int32_t round = 0;
    fee_rate rate{};  ///< what that pays; 0: not known
};
struct contract_offered {
    std::int32_t round = 0;
    unix_time now{};
};
/// The channel's connection was asked to settle.
struct connection_asked {
    std::int32_t round = 0;
};
}  // namespace happened

using happening =
    std::variant<happened::record_read, happened::record_unreadable, happened::facts_read, happened::facts_unreadable,
                 happened::told_anew, happened::told_all, happened::driver_stored, happened::driver_settled,
                 happened::contract_mined, happened::contract_spent, happened::coins_spent, passed_blocks,
                 disconnected_blocks, node_returned, happened::contract_answered, happened::closing_answered,
                 happened::fees_rose, happened::look, happened::record_written, happened::settlement_built,
                 happened::closing_offered, happened::contract_offered, happened::connection_asked>;

/// What a monitor's step wants done, in the order of its fields.  Each becomes effects that carry_out carries out.
struct duties {
    bool keep = false;           ///< 0. what the chain did has changed: it is stored before the block counts as read
    bool read = false;           ///< 1. read the record, and look again
    bool write_end = false;      ///< 2. write into the record what ended the channel,
    bool stop_payments = false;  ///<    or that no payment may be taken on it
    bool stop_if_open = false;   ///<    the same, if no connection holds it and its record, read again, says `open`
    bool settle = false;         ///< 3. settle it: over its connection if there is one, else from the store
    bool build_anew =
        false;  ///<    build the settlement anew, if no connection holds it; if that fails, offer the old one
    bool offer_contract = false;     ///< 4. give the stored contract to the network,
    bool offer_closing = false;      ///<    and refund or settlement: the stored one, or one that pays what is due now
    bool watch_coins = false;        ///< 5. watch what the contract spends, if that is not done yet
    bool forget = false;             ///< 6. delete it: its end is buried
    bool forget_unopened = false;    ///<    or it never opened, if its record, read again, says so,
    bool forget_unbegun = false;     ///<    or never began
    std::optional<event_kind> tell;  ///< 7. confirmed, double_spent, settled, refunding
    friend bool operator==(const duties&, const duties&) = default;
};

/// When a channel is to be looked at: as soon as one of these is reached.
struct due {
    static constexpr std::int32_t no_number = std::numeric_limits<std::int32_t>::max();
    unix_time time = watched::no_time;  ///< client: of the chain's median time; server: of clock or chain, the later
    std::int32_t height = no_number;
    std::int32_t round = no_number;
    friend bool operator==(const due&, const due&) = default;
};

//  what the channel is    | what happened            | what is to be done                             | what it is then
//  -----------------------+--------------------------+------------------------------------------------+----------------
//  any                    | its contract in a block  | keep                                           | mined
//  not ended, or ended    | its contract spent       | keep, write the end, tell confirmed            | ended
//  not ended              | its coins spent          | keep, stop payments, tell double_spent         | lost
//  ended, lost or mined   | that block disconnected  | keep, watch its coins                          | not ended
//  ended, lost or mined   | all blocks told anew     | keep, watch its coins                          | not ended
//  client, not ended      | median time > expiry     | offer contract and refund, once a round        | refunding
//  server, begun          | deadline                 | settle                                         | settling
//  server, unbegun        | deadline                 | nothing: there is no contract to collect from  |
//  server, settling       | another round            | offer contract and settlement, or build anew   | settling
//  settling or refunding  | fees rose                | the same, at once                              |
//  open, unmined          | another round            | offer the contract                             |
//  server, unopened       | another round            | offer the contract, until it is answered       |
//  server, unmined        | contract refused         | stop payments, if open                         | refused
//  not ended              | its node returned        | offer all that is in no block, at the next look| not backed
//  server, settling       | settlement accepted      | tell settled, once                             |
//  mined, not ended       | refused: contract spent  | keep, write the end, tell confirmed            | ended, unseen
//  server, refused        | six blocks later         | forget, if it never opened                     | gone
//  server, unbegun        | a week after the expiry  | forget                                         | gone
//  ended                  | 100 blocks deep          | forget; not one that is mined under another id | gone
//  record unread          | look                     | read                                           |
//  end unwritten          | look                     | write it                                       |
// test/channel/monitor_table.cpp has all of it, each situation and each event.

namespace detail {

template <channel_role Role>
struct monitor_rules {
    watched& w;
    const monitor_settings& s;
    static constexpr bool server = Role == channel_role::server;

    duties operator()(const happened::record_read& r) const {
        duties out;
        if (w.stage == channel_stage::none) w.seen = r.now;
        w.unread = false;
        w.overdue = false;
        w.expiry = r.expiry;
        w.recorded_height = r.closing_height;
        if (w.ended() && !w.lost) {
            // This process knows better, and may not have been able to write it.
            if (r.stage != channel_stage::settling || r.closing != w.closing || r.closing_height != w.end_height)
                w.unwritten = true;
            w.stage = channel_stage::settling;
            return out;
        }
        w.stage = r.stage;
        w.closing = r.closing;
        out.watch_coins = true;
        return out;
    }

    duties operator()(const happened::record_unreadable&) const {
        w.unread = true;
        // Blocks that come meanwhile may hold its contract: they are not shown twice.
        if (w.stage == channel_stage::none) w.expiry = watched::no_time;
        return {};
    }

    duties operator()(const happened::facts_read& f) const {
        duties out;
        const auto believed = [&](std::int32_t height) { return height <= f.known ? height : 0; };
        if (w.contract_height == 0) w.contract_height = believed(f.facts.contract_height);
        if (!w.ended() && believed(f.facts.end_height) != 0) {
            w.end_height = f.facts.end_height;
            w.lost = f.facts.lost;
            w.elsewhere = f.facts.elsewhere;
            if (!w.lost) {
                if (w.stage != channel_stage::settling || w.closing != f.facts.closing ||
                    w.recorded_height != w.end_height)
                    w.unwritten = true;
                w.closing = f.facts.closing;
                w.stage = channel_stage::settling;
            }
        }
        w.unknown = f.facts.unknown;
        // The record may name a block that has left the chain since.
        if (!w.ended() && !w.unknown && believed(w.recorded_height) != 0) w.recorded_height = 0;
        // What is stored of blocks that may have left the chain must not be believed by a later process.
        out.keep = w.contract_height != f.facts.contract_height || w.end_height != f.facts.end_height;
        out.watch_coins = true;
        return out;
    }

    duties operator()(const happened::facts_unreadable&) const {
        duties out;
        w.unknown = out.keep = true;
        return out;
    }

    /// As if all blocks had left; but of those that nobody can show any more, what was known counts: see passed_blocks.
    duties operator()(const happened::told_anew&) const {
        duties out;
        if (w.ended() && !w.lost) w.recorded_height = w.end_height;
        out.keep = out.watch_coins = w.ended() || w.contract_height != 0;
        if (w.ended()) w.offered = watched::never;
        // What is stored now is true only of blocks that are told: whoever starts before the end is to read them too.
        w.unknown = w.unknown || out.keep;
        w.contract_height = w.end_height = 0;
        w.lost = w.elsewhere = false;
        return out;
    }

    duties operator()(const happened::told_all&) const {
        duties out;
        out.keep = w.unknown;
        w.unknown = false;
        return out;
    }

    duties operator()(const happened::driver_stored&) const {
        w.asked = true;  // the connection broadcasts it
        return {};
    }
    duties operator()(const happened::driver_settled&) const {
        w.told = true;
        return {};
    }

    duties operator()(const happened::contract_mined& m) const {
        duties out;
        out.keep = w.contract_height != m.height || w.lost;
        w.contract_height = m.height;
        if (w.lost) w.end_height = 0;
        w.lost = w.elsewhere = false;
        w.overdue = false;
        w.refused_at = watched::never;  // a block says more than a mempool
        if (!w.ended()) w.unwritten = false;
        return out;
    }

    duties operator()(const happened::contract_spent& e) const {
        duties out;
        out.keep = w.end_height != e.height || w.closing != e.by || w.lost;
        w.end_height = e.height;
        w.closing = e.by;
        w.lost = w.elsewhere = false;
        w.stage = channel_stage::settling;
        w.unwritten = true;
        out.write_end = true;
        out.tell = event_kind::confirmed;
        return out;
    }

    duties operator()(const happened::coins_spent& e) const {
        duties out;
        if (w.ended() || w.contract_height != 0) return out;
        w.end_height = e.height;
        w.lost = true;
        w.elsewhere = e.elsewhere;
        w.unwritten = true;
        out.keep = out.stop_payments = true;
        out.tell = event_kind::double_spent;
        return out;
    }

    /// What the record says of an end in them is believed: this process, or another one, saw it.
    duties operator()(const passed_blocks& p) const {
        duties out;
        if (w.ended() || w.recorded_height == 0 || w.recorded_height < p.first || w.recorded_height > p.last)
            return out;
        w.end_height = w.recorded_height;
        out.keep = true;
        return out;
    }

    duties operator()(const disconnected_blocks& d) const {
        duties out;
        if (w.ended() && w.end_height >= d.from) {
            w.end_height = 0;
            w.lost = w.elsewhere = w.unwritten = false;
            w.offered = watched::never;
            out.keep = out.watch_coins = true;
        }
        if (w.contract_height >= d.from && w.contract_height != 0) {
            w.contract_height = 0;
            out.keep = out.watch_coins = true;
        }
        if (w.recorded_height >= d.from) w.recorded_height = 0;  // that block is not on the chain any more
        return out;
    }

    /// What is in no block is given to the node again, and until it has a contract no payment is taken on it.
    duties operator()(const node_returned&) const {
        if (w.ended()) return {};
        w.offered = watched::never;
        if (!server) w.asked_over = watched::never;
        w.backed = false;
        return {};
    }

    duties operator()(const happened::contract_answered& a) const {
        duties out;
        if (a.outcome == broadcast_outcome::unreachable) {
            w.offered = watched::never;
            if (!server) w.asked_over = watched::never;
        }
        const bool refused = a.outcome == broadcast_outcome::refused && w.contract_height == 0;
        if (a.outcome == broadcast_outcome::accepted) w.asked = w.accepted = w.backed = true;
        if (refused) w.accepted = w.backed = false;
        if (!server) return out;
        if (a.outcome == broadcast_outcome::accepted) {
            w.refused_at = watched::never;
            w.overdue = false;
            if (!w.ended()) w.unwritten = false;
            out.watch_coins = true;
        }
        if (refused) {
            if (w.refused_at == watched::never) w.refused_at = a.height;
            w.asked = true;
            out.stop_if_open = true;
        }
        return out;
    }

    duties operator()(const happened::closing_answered& a) const {
        duties out;
        // The contract is in a block, and no block that was shown has what spent it.  Of one that is in none nothing is known:
        // what it spends may come back.
        if (a.spent && w.ended()) return out;
        if (a.spent && w.contract_height != 0) return (*this)(happened::contract_spent{a.height, {}});
        if (a.outcome == broadcast_outcome::unreachable) {
            w.offered = watched::never;
        } else if (server && w.stage == channel_stage::settling) {
            w.refused = a.outcome == broadcast_outcome::refused;
            if (!w.refused && !w.told) out.tell = event_kind::settled;
            w.told = w.told || !w.refused;
        } else if (!server && a.outcome == broadcast_outcome::accepted) {
            if (w.built_at == watched::never) w.built_at = a.height;
        } else if (!server && !a.underpaid) {
            // Not for its fee: a settlement or an older refund is there, or the contract is not.  More would not help.
            w.built_at = watched::never;
            w.built_rate = 0;
        }
        return out;
    }

    duties operator()(const happened::fees_rose&) const {
        if (!w.ended() && (server ? w.stage == channel_stage::settling : w.told)) w.offered = watched::never;
        return {};
    }

    duties operator()(const happened::look& l) const {
        duties out;
        out.read = w.unread;
        if (w.stage == channel_stage::none) return out;
        if (w.unwritten) (w.ended() && !w.lost ? out.write_end : out.stop_payments) = true;
        if (w.ended()) {
            // Money that lies in a contract under another txid can only be had with this record's key.
            out.forget = l.height + 1 - s.burial >= w.end_height && !(w.lost && w.elsewhere);
            return out;
        }
        if constexpr (server) {
            look_as_server(l, out);
        } else if (l.median_time <= w.expiry) {
            if (w.offered == l.round) w.asked_over = l.round;  // it went with the refund
            w.offered = watched::never;                        // a reorganisation has set the chain's time back
            // Both sides see to it that it is mined; and until the node has it, its change funds nothing.
            out.offer_contract = w.open_unmined() && l.caught_up && w.asked_over != l.round;
        } else if (w.offered != l.round) {
            out.offer_contract = out.offer_closing = true;
        }
        return out;
    }

    void look_as_server(const happened::look& l, duties& out) const {
        const bool unbegun = w.unbegun();
        const bool news = w.offered != l.round;
        if (w.stage == channel_stage::settling) {
            if (news) (needs_rebuilding(l) ? out.build_anew : out.offer_closing) = true;
            out.offer_contract = news;
            return;
        }
        if (std::max(l.now, l.median_time) + s.settle_margin >= w.expiry) {
            // An early settlement costs nobody money.  But while blocks are shown, one without a contract is in vain.
            w.overdue = unbegun && l.height != 0 && (w.unopened() || l.caught_up);
            out.settle = !w.overdue && w.asked_over != l.round;
        } else {
            w.asked_over = watched::never;  // the clock was set back
        }
        const bool unanswered = w.unopened() && w.refused_at == watched::never && !w.accepted;
        const bool begun = w.stage == channel_stage::open || w.stage == channel_stage::unbacked;
        out.offer_contract = news && l.caught_up && w.contract_height == 0 && (begun || unanswered);
        if (!unbegun || l.height == 0) return;
        out.forget_unopened =
            w.unopened() && w.refused_at != watched::never && l.height - s.refused_depth >= w.refused_at;
        // Payments on an `unbacked` one were acked, and its contract may be in a block that this process was not shown: it
        // goes only if the network has refused the contract since.
        out.forget_unbegun = l.caught_up && l.median_time > w.expiry + s.stillborn_age &&
                             (w.stage == channel_stage::contract_stored || w.refused_at != watched::never);
    }

    /// What was refused for something else than its fee is built anew with other coins; not with each block, for what this
    /// process cannot see may have ended the channel.
    [[nodiscard]] bool needs_rebuilding(const happened::look& l) const {
        constexpr std::int32_t rebuild_rounds = 6;
        return w.refused && l.round >= w.built_at + rebuild_rounds;
    }

    [[nodiscard]] static std::int32_t rate_number(fee_rate rate) {
        return static_cast<std::int32_t>(
            std::clamp<std::int64_t>(rate.sat_per_kvb, 0, std::numeric_limits<std::int32_t>::max()));
    }

    duties operator()(const happened::record_written& r) const {
        if (r.written) w.stage = r.stage;
        w.unwritten = !r.written && r.try_again;
        return {};
    }

    duties operator()(const happened::settlement_built& b) const {
        if (b.stored) w.stage = channel_stage::settling;
        w.closing = b.closing;
        w.refused = false;
        w.offered = w.built_at = b.round;
        w.built_rate = rate_number(b.rate);
        if (!b.stored) w.asked_over = b.round;  // once a round
        return {};
    }

    duties operator()(const happened::closing_offered& o) const {
        duties out;
        w.offered = o.round;
        // After a reorganisation `closing` may still name what another transaction of the contract was.
        if (o.closing) w.closing = *o.closing;
        if (o.rate > fee_rate{}) w.built_rate = rate_number(o.rate);
        if (server) return out;
        if (!w.told) out.tell = event_kind::refunding;
        w.told = true;
        return out;
    }

    duties operator()(const happened::contract_offered& o) const {
        if (!w.asked) w.seen = o.now;
        w.asked = true;
        (server ? w.offered : w.asked_over) = o.round;
        return {};
    }

    duties operator()(const happened::connection_asked& a) const {
        w.asked_over = a.round;
        return {};
    }
};

}  // namespace detail

/// next  is what it was when nothing happened to it
template <channel_role Role>
[[nodiscard]] duties step(watched& next, const happening& what, const monitor_settings& settings) {
    return std::visit(detail::monitor_rules<Role>{next, settings}, what);
}

/// When step() may want something done at a look.  caught_up  as in happened::look
template <channel_role Role>
[[nodiscard]] due due_of(const watched& w, const monitor_settings& s, bool caught_up) {
    constexpr bool server = Role == channel_role::server;
    due out;
    if (w.unread || w.unwritten) out.round = watched::never;  // with each tick
    if (w.stage == channel_stage::none) return out;
    if (w.ended()) {
        if (!(w.lost && w.elsewhere)) out.height = w.end_height + s.burial - 1;
        return out;
    }
    const auto again = [&out](std::int32_t last) { out.round = std::min(out.round, last + 1); };
    if constexpr (!server) {
        if (w.offered != watched::never) {
            again(w.offered);
            return out;
        }
        out.time = w.expiry + 1;
        if (caught_up && w.open_unmined()) again(w.asked_over);
        return out;
    }
    if (w.stage == channel_stage::settling) {
        again(w.offered);
        return out;
    }
    const bool refused = w.refused_at != watched::never;
    if (w.unbegun() && w.overdue && (w.unopened() || caught_up)) {
        // The chain's time decides: with a clock ahead of it, the channel is looked at with each tick in between.
        if (caught_up && (w.stage == channel_stage::contract_stored || refused))
            out.time = w.expiry + (s.stillborn_age + 1);
    } else if (w.asked_over == watched::never) {
        out.time = w.expiry + -s.settle_margin;
    } else {
        again(w.asked_over);
    }
    if (w.unopened() && refused) out.height = w.refused_at + s.refused_depth;
    const bool begun = w.stage == channel_stage::open || w.stage == channel_stage::unbacked;
    if (caught_up && w.contract_height == 0 && (begun || (w.unopened() && !refused && !w.accepted))) again(w.offered);
    return out;
}

}  // namespace paychan
