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

open_header(book.hpp)
# 1: the records go with the first broadcast.
mutate([=[        e.broadcast_at = this->height_;
        if (!e.told) this->events_.on_event(detail::event_of(event_kind::refunding, *record));
]=] [=[        e.broadcast_at = this->height_;
        if (simulation::is_mutant(1))
            for (const auto kind : {record_kind::client_contract, record_kind::client_refund, record_kind::client_channel})
                (void)this->store_.erase({kind, id});
        if (!e.told) this->events_.on_event(detail::event_of(event_kind::refunding, *record));
]=])
# 2: 300 s after the expiry by the wall clock, which is about an hour ahead of the median time.
mutate([=[base::up_to(this->deadlines_, this->median_time_ + -1)]=]
       [=[base::up_to(this->deadlines_, simulation::is_mutant(2) ? simulation::wall_clock + -300 : this->median_time_ + -1)]=])
# 3: one broadcast, then the timer is dead.
mutate([=[            if (e.broadcast_at != this->height_ || again) refund(id, e);]=]
       [=[            if (simulation::is_mutant(3) ? e.broadcast_at == base::never : e.broadcast_at != this->height_ || again)
                refund(id, e);]=])
# 4: the records go with the first broadcast.
mutate([=[        (void)std::move(*saved).broadcast(broadcaster_);  // there is no connection
]=] [=[        (void)std::move(*saved).broadcast(broadcaster_);
        if (simulation::is_mutant(4))
            for (const auto kind : {record_kind::server_contract, record_kind::server_settlement, record_kind::server_channel})
                (void)this->store_.erase({kind, id});
]=])
# 5: one attempt, whatever came of it.
mutate([=[        const std::vector<txid> unmined(this->unmined_.begin(), this->unmined_.end());]=]
       [=[        std::vector<txid> unmined(this->unmined_.begin(), this->unmined_.end());
        if (simulation::is_mutant(5)) unmined.clear();]=])
# 11: no locks here, so the deadlock itself: whoever waits for the other does so for ever.
mutate([=[            // There is no contract to collect from, yet.
]=] [=[            if (simulation::is_mutant(11) && this->is_attached(id)) frozen_ = true;
            if (frozen_) return;
            // There is no contract to collect from, yet.
]=])
mutate([=[    fee_rate rate_ = min_relay_fee_rate;
]=] [=[    fee_rate rate_ = min_relay_fee_rate;
    bool frozen_ = false;
]=])
close_header()

open_header(channel/custody.hpp)
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
