// What an observer who sees all disks, wires and the chain knows of each channel; the rules are checked against it.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "paychan/channel/record_io.hpp"
#include "paychan/memory/chain.hpp"
#include "simulation/tally.hpp"

namespace simulation {

using namespace paychan;

using byte_string = std::vector<std::uint8_t>;

/// The parts of a channel's record that the rules are about.
struct on_disk {
    std::uint64_t version = 0;
    channel_stage stage = channel_stage::none;
    key_id key{};
    satoshi paid{};
    bool has_signature = false;
};

/// Reads those parts only: read_record checks keys, which takes longer than all the rest of a step.
[[nodiscard]] inline on_disk peek(bytes_view record) {
    on_disk out;
    reader r(record.subspan(1));
    out.version = r.u64();
    (void)r.i32();
    out.stage = static_cast<channel_stage>(r.u8());
    (void)r.array<32>();
    (void)r.u32();
    const std::int64_t value = r.i64();
    (void)r.i64();
    (void)r.sized_bytes();
    (void)r.sized_bytes();
    out.key = key_id{r.u64()};
    out.paid = {value - r.i64()};
    out.has_signature = !r.sized_bytes().empty();
    return out;
}

struct channel_truth {
    std::uint8_t client = 0;
    std::int32_t protocol = 0;
    contract_terms terms;
    key_id client_key{};
    std::int64_t first = 0;          // [satoshi] the first payment
    std::int64_t asked = 0;          // [satoshi] what its application asked to be paid, each payment once
    std::int64_t acked = 0;          // [satoshi] the total that the client saw acked by the honest server
    std::int64_t best_on_disk = 0;   // [satoshi] the most that ever was on the server's disk
    bool may_end = false;            // client, operator or deadline wanted a settlement, or a tampered wire may have
    bool hopeless = false;           // the server's clock was so wrong that the refund was due before the settlement
    std::optional<satoshi> stopped;  // paid when the server's record came to say that nothing more is: see lost_height
    std::set<std::uint8_t> unseen;  // processes whose node had deleted the block of contract or end before they read it
    // On the chain:
    std::int32_t lost_height = 0;  // of something else that spends its coins
    std::int32_t contract_height = 0;
    bool late = false;  // the contract came there when its refund was due already
    std::int32_t closing_height = 0;
    bool ended_before = false;  // in a block that has left the chain
    txid closing{};
    byte_string closing_tx;
};

struct truth {
    std::map<txid, channel_truth> channels;
    std::map<outpoint, std::set<txid>> funded_by;  // contracts by the coin that they spend; more than one after a crash
    std::map<outpoint, std::pair<std::int32_t, txid>> spent;  // in blocks: height, and by what
    std::set<std::pair<txid, record_kind>> ends_stored;       // refunds and settlements that ever were on a disk
    std::map<txid, on_disk> server_disk;                      // server_channel records
    std::map<std::uint8_t, std::map<txid, on_disk>> client_disk;
    std::map<std::pair<std::uint8_t, key_id>, std::int64_t> signed_away;  // [satoshi] the most by each client key
};

}  // namespace simulation
