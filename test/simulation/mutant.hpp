// The known losses that can be put back into the library: only the program simulation_mutants is built with them.
#pragma once

#include <array>
#include <string_view>

namespace simulation {

struct mutant {
    std::string_view name;
    std::string_view what;
};

/// PROTOCOL.md, "Known losses", in that order, and more of loss 5.  Their places are numbers in mutants/mutate.cmake.
inline constexpr std::array mutants{
    mutant{"refund_forgotten", "loss 1: the client deletes its records when it broadcasts the refund"},
    mutant{"refund_by_wall_clock", "loss 2: the client's refund goes by the wall clock"},
    mutant{"refund_once", "loss 2: the refund's timer is dead after one attempt"},
    mutant{"settlement_forgotten", "loss 3: the server deletes its records when it broadcasts the settlement"},
    mutant{"settlement_once", "loss 3: one attempt to settle, whatever became of it"},
    mutant{"contract_stored_late", "loss 4: the server stores contract and key after the broadcast"},
    mutant{"ack_after_failed_write", "loss 5: the server acks what it could not write"},
    mutant{"anyone_settles", "loss 6: whoever knows a channel's txid can have it settled"},
    mutant{"bad_first_payment", "loss 7: a contract is stored and broadcast though its first payment is bad"},
    mutant{"high_s_acked", "loss 8: a payment with a high S is acked as it came"},
    mutant{"payment_blocks_deadline", "loss 9: a payment's connection and the deadline wait for each other"},
    mutant{"folder_not_synced", "loss 5: the name of a new file is not on disk when the write returns"},
    mutant{"position_first", "of this library: how far the chain was read is on disk before what was read"},
    mutant{"bump_forgotten", "fees: what a settlement was built with is taken to be the fee of the day"},
    mutant{"never_raised", "fees: a settlement that has left is never raised"},
    mutant{"floor_unasked", "fees: a settlement pays what the estimate says, whatever nodes take"},
    mutant{"slow_clock_opens", "time: the server opens and takes payments by its own clock only"},
    mutant{"due_waits_for_sync", "blocks: what is due waits for them, and for a node that is downloading"},
    mutant{"contract_stays_locked", "coins: those of a contract that nobody takes never come back"},
    mutant{"hello_uses_keys", "keys: a stranger's hello costs the server one"},
};

/// True in the one program that is built over headers with the losses in them.
[[nodiscard]] bool has_mutants();
void choose_mutant(std::string_view name);

}  // namespace simulation
