// A history as a list of decisions: made from a seed, printed in words, shortened by leaving some out.
#pragma once

#include <string>
#include <vector>

#include "simulation/random.hpp"

namespace simulation {

/// What can happen next.  A step that makes no sense where it stands does nothing, so any part of a list is a history.
enum class act : std::uint8_t {
    // Life.
    connect,           ///< client `who` connects to server a, resumes or opens; then b frames
    pay,               ///< client `who` pays a; then b frames
    settle,            ///< client `who` asks for the settlement; then b frames
    hang_up,           ///< client `who` ends its connection
    frames,            ///< a frames are delivered, beginning with link b
    turn,              ///< server `who` takes a frame of every connection, and writes all of them at once
    backup,            ///< somebody copies the disk of client `who`
    answer,            ///< server `who`'s application answers the payments that it held; b: it refuses
    follow,            ///< process `who` hears of the chain, and its book ticks
    mine,              ///< a blocks
    pass,              ///< a seconds
    hours,             ///< a times 20 minutes and a block; b: bits that say who hears of it when
    order_settlement,  ///< the operator of server `who` settles its channel a
    start,             ///< process `who` starts again, if it is down
    // Faults.
    strike,     ///< process `who`: its next effect of kind a, b times later, goes wrong in the way c
    kill,       ///< process `who`
    disk_full,  ///< of process `who`
    disk_freed,
    lose_frame,    ///< the connection of client `who` is cut after a frames of those that wait
    repeat_frame,  ///< the next one from client `who`; a: to it
    change_frame,  ///< the same; byte b changes by c
    raise_s,       ///< the next payment of client `who` gets a signature that no node relays
    spoil_first,   ///< the next first payment of client `who` gets a signature of something else
    restore,       ///< client `who` dies, and starts again with the disk as it was copied
    jump,          ///< the clock of process `who` is wrong by a - clock_right seconds; b: see clocks
    node_down,     ///< for process `who`
    node_syncs,    ///< for process `who`: it takes transactions and shows no blocks; b: it has them, and is slow
    node_up,
    node_restarts,  ///< all mempools are empty; all processes are told, or with b only `who`
    prune,          ///< the node of process `who` deletes all blocks but the last a
    refuse,         ///< the next a broadcasts of process `who` are refused
    evict,          ///< transaction a leaves the mempool
    reorg,          ///< a blocks; b: the new ones are empty
    fees,           ///< nodes want a sat/kvB from now on; b: what they tell, see estimate
    stranger,       ///< a hostile peer comes to server `who` and does a
    lose_disk,      ///< client `who` comes back with a new one, its seed and its export files
    bar_contract,   ///< no node takes the next contract of client `who`, ever
    double_spend,   ///< a contract of client `who` that is in no block never will be: its coins are spent otherwise
    server_dies,    ///< and never comes back
};

/// Whose clock jumps.
enum class clocks : std::uint8_t { one, all, apart, count };  ///< apart: those of servers one way, of clients the other
inline constexpr std::uint32_t clock_right = 1'000'000;       // [s]

/// What nodes say that fees are.
enum class estimate : std::uint8_t { none, right, too_high, too_low, stale, count };

struct step {
    act what{};
    std::uint8_t who = 0;
    std::uint32_t a = 0;
    std::uint32_t b = 0;
    std::uint32_t c = 0;
};

/// Who takes part, and how they are set up.
struct cast {
    std::uint32_t clients = 1;
    std::uint32_t servers = 1;      // processes that share one store
    bool one_by_one = false;        // disks write a batch one record after the other
    bool extensions = true;         // clients announce them
    bool held = false;              // the server's application answers payments later
    std::uint32_t versions = 3;     // bit 0: version 1, bit 1: version 2
    std::uint32_t window = 14'400;  // [s] asked for
    bool files = false;             // disks are folders under a file_store, and can lose what was not synced
    bool exports = false;           // clients write export files
    bool replaces = false;          // nodes let a transaction take the place of one that pays less
    std::uint32_t dice = 0;         // decides what a power cut takes
};

struct history {
    cast who;
    std::vector<step> steps;
};

/// Processes are numbered: servers from 0 on, clients from here.
inline constexpr std::uint8_t first_client = 2;

[[nodiscard]] history make_history(std::uint64_t seed);
[[nodiscard]] std::string words(const step& s);
[[nodiscard]] std::string words(const cast& c);

}  // namespace simulation
