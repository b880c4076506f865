# Writes copies of those headers into which the known losses are put back, so that the library itself has no switch.
#   cmake -DINCLUDE=<repo>/include -DFOLDER=<where the copies go> -P mutate.cmake
# Fails when a text that is to be replaced is not there any more, or not once: mend the mutant with the header.
# Numbers are places in ../mutant.hpp.
cmake_minimum_required(VERSION 3.25)

function(open_header path)
    file(READ "${INCLUDE}/paychan/${path}" text)
    string(REPLACE "#pragma once\n" "#pragma once\n\n#include \"simulation/mutants/active.hpp\"\n" text "${text}")
    set(header "${path}" PARENT_SCOPE)
    set(text "${text}" PARENT_SCOPE)
endfunction()

function(mutate old new)
    string(FIND "${text}" "${old}" first)
    string(FIND "${text}" "${old}" last REVERSE)
    if(first EQUAL -1 OR NOT first EQUAL last)
        message(FATAL_ERROR "mutant: this text is not in ${header} exactly once:\n${old}")
    endif()
    string(REPLACE "${old}" "${new}" text "${text}")
    set(text "${text}" PARENT_SCOPE)
endfunction()

function(close_header)
    # Only when it changed: the program is not to be built anew for nothing.
    set(to "${FOLDER}/paychan/${header}")
    set(before "")
    if(EXISTS "${to}")
        file(READ "${to}" before)
    endif()
    if(NOT before STREQUAL text)
        file(WRITE "${to}" "${text}")
    endif()
endfunction()

open_header(client_monitor.hpp)
# 1: the records go with the first broadcast.
mutate([=[        if (!list_.apply(id, offered).tell) return;
]=] [=[        const bool first = list_.apply(id, offered).tell.has_value();
        if (simulation::is_mutant(1))
            for (const auto kind : {record_kind::client_contract, record_kind::client_refund, record_kind::client_channel})
                (void)store_.erase({kind, id});
        if (!first) return;
]=])
# 2: 300 s after the expiry by the wall clock, which is about an hour ahead of the median time.
mutate([=[        list_.tick(now, list_.median_time(),]=]
       [=[        list_.tick(now, simulation::is_mutant(2) ? simulation::wall_clock + -300 : list_.median_time(),]=])
# 19: the coins of a contract that nobody takes stay where they are.
mutate([=[        if (a.outcome == broadcast_outcome::refused) on_contract_refused(a.id);]=]
       [=[        if (a.outcome == broadcast_outcome::refused && !simulation::is_mutant(19)) on_contract_refused(a.id);]=])
close_header()

open_header(channel/monitor_step.hpp)
mutate([=[        } else if (l.median_time <= w.expiry) {]=]
       [=[        } else if ((simulation::is_mutant(2) ? simulation::wall_clock + -300 : l.median_time) <= w.expiry) {]=])
# 3: one broadcast, then the timer is dead.
mutate([=[        } else if (w.offered != l.round) {]=]
       [=[        } else if (simulation::is_mutant(3) ? w.offered == watched::never : w.offered != l.round) {]=])
# 5: one attempt, whatever came of it.
mutate([=[            if (news) (needs_rebuilding(l) ? out.build_anew : out.offer_closing) = true;
            out.offer_contract = news;]=]
       [=[            if (simulation::is_mutant(5)) return;
            if (news) (needs_rebuilding(l) ? out.build_anew : out.offer_closing) = true;
            out.offer_contract = news;]=])
close_header()

open_header(server_monitor.hpp)
# 4: the records go with the first broadcast.
mutate([=[        offer_contract(id);
        std::move(*ready).broadcast(broadcaster_).without_connection()]=]
       [=[        offer_contract(id);
        if (simulation::is_mutant(4)) {
            for (const bytes_view tx : wanted->broadcast) broadcaster_.broadcast(tx);
            for (const auto kind : {record_kind::server_contract, record_kind::server_settlement, record_kind::server_channel})
                (void)store_.erase({kind, id});
            return written;
        }
        std::move(*ready).broadcast(broadcaster_).without_connection()]=])
# 11: no locks here, so the deadlock itself: whoever waits for the other does so for ever.
mutate([=[        if (todo.settle && settle_when_due(id, look)) return;
]=] [=[        if (simulation::is_mutant(11) && todo.settle && list_.is_attached(id)) frozen_ = true;
        if (frozen_) return;
        if (todo.settle && settle_when_due(id, look)) return;
]=])
mutate([=[    detail::by_channel<offer> offers_;
]=] [=[    detail::by_channel<offer> offers_;
    bool frozen_ = false;
]=])
# 14: the fee that it was built with is taken to be today's.
mutate([=[        const fee_rate paid = pays.value_or(]=]
       [=[        const fee_rate paid = simulation::is_mutant(14) ? std::max(fees_.rate, min_relay_fee_rate) : pays.value_or(]=])
# 15: once it has left it is never raised, whatever the network says.
mutate([=[            if (!stands && (more || less || anew) &&]=]
       [=[            if (!simulation::is_mutant(15) && !stands && (more || less || anew) &&]=])
mutate([=[        if (a.for_fee == fee_refusal::underpaid) {
]=] [=[        if (a.for_fee != fee_refusal::none && (simulation::is_mutant(14) || simulation::is_mutant(15))) return;
        if (a.for_fee == fee_refusal::underpaid) {
]=])
# 16: what nodes take is nobody's question.
mutate([=[        const fee_decision fee = decide_fee(fees_, q, settings_.fees);]=]
       [=[        const fee_decision fee =
            simulation::is_mutant(16) ? fee_decision{std::max(fees_.rate, min_relay_fee_rate), true} : decide_fee(fees_, q, settings_.fees);]=])
close_header()

open_header(keeper/keeper.hpp)
# 18: nothing is done while blocks are missing.
mutate([=[        else if (reserved_)
]=] [=[        else if (reserved_ && !(simulation::is_mutant(18) && tip_ && (tip_->downloading || tip_->height > height())))
]=])
# 13: how far the chain was read is on disk before what was read.
mutate([=[        PAYCHAN_CHECK(lower_positions());
]=] [=[        PAYCHAN_CHECK(lower_positions());
        if (simulation::is_mutant(13)) {
            const chain_position early = chain_.position();
            if (!early.empty() && (saved_.empty() || !(saved_[0] == early[0]))) {
                PAYCHAN_CHECK(write_positions(early));
                saved_ = early;
            }
        }
]=])
close_header()

open_header(channel/claim.hpp)
mutate([=[median_time > record.terms.expiry;]=]
       [=[(simulation::is_mutant(2) ? simulation::wall_clock : median_time) > record.terms.expiry;]=])
close_header()

open_header(channel/server_step.hpp)
# 6: key and contract on disk after the broadcast.
mutate([=[    out.persist.channel = true;
    out.persist.contract = m.tx;
]=] [=[    if (!simulation::is_mutant(6)) {
        out.persist.channel = true;
        out.persist.contract = m.tx;
    }
]=])
# 8: no proof is asked for.
mutate([=[env.settings.unproven_close == unproven_close_rule::leaves_open)]=]
       [=[env.settings.unproven_close == unproven_close_rule::leaves_open && !simulation::is_mutant(8))]=])
# 9: the first payment is believed.
mutate([=[    PAYCHAN_TRY(const auto payment, check_payment<Scheme>(record, m.initial_payment));
]=] [=[    const auto checked = check_payment<Scheme>(record, m.initial_payment);
    if (!checked && !simulation::is_mutant(9)) return fail(checked.error());
    const checked_payment payment = checked ? *checked
                                            : checked_payment{satoshi{static_cast<std::int64_t>(
                                                                  m.initial_payment.client_change_value)}, {}};
]=])
close_header()

open_header(server.hpp)
# 7: a failed write is passed over.
mutate([=[detail::on_disk(written, pending_)]=]
       [=[detail::on_disk(simulation::is_mutant(7) ? result<void>{} : written, pending_)]=])
# 20: no key is given back.
mutate([=[        if (c.record.stage != channel_stage::none ||]=]
       [=[        if (simulation::is_mutant(20) || c.record.stage != channel_stage::none ||]=])
# 17: the time of the chain is not asked for.
mutate([=[view_.later(clock_.now()), id]=]
       [=[simulation::is_mutant(17) ? clock_.now() : view_.later(clock_.now()), id]=])
mutate([=[                view_.later(now),
]=] [=[                simulation::is_mutant(17) ? now : view_.later(now),
]=])
mutate([=[                is_behind(now, view_.median_time),
]=] [=[                !simulation::is_mutant(17) && is_behind(now, view_.median_time),
]=])
close_header()

open_header(channel/payment.hpp)
# 10: stored as it came.
mutate([=[    return checked_payment{change, to_bytes(low)};]=]
       [=[    return checked_payment{change, to_bytes(simulation::is_mutant(10) ? *flagged : low)};]=])
close_header()

open_header(memory/file_store.hpp)
# 12: the file is synced, and the folder that knows its name is not.
mutate([=[        if (!written || !detail::sync(folder_.get())) {]=]
       [=[        if (!written || !(simulation::is_mutant(12) || detail::sync(folder_.get()))) {]=])
close_header()
