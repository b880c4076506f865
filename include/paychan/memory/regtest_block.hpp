// Builds regtest blocks as a miner does: coinbase with height and witness commitment, merkle root, proof of work.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "paychan/bitcoin/block.hpp"
#include "paychan/bitcoin/script.hpp"
#include "paychan/core/hex.hpp"

namespace paychan::regtest {

using byte_string = std::vector<std::uint8_t>;

inline constexpr std::uint32_t bits = 0x207f'ffff;      // the easiest target: every second hash is below it
inline constexpr std::int32_t halving_interval = 150;   // [blocks] Core chainparams.cpp, regtest
inline constexpr std::int32_t coinbase_maturity = 100;  // [blocks] consensus

/// [satoshi] new coins in the block at this height.
[[nodiscard]] constexpr satoshi subsidy(std::int32_t height) {
    const std::int32_t halvings = height / halving_interval;
    return halvings >= 63 ? satoshi{0} : satoshi{(50 * coin.value) >> halvings};
}

/// The genesis block of regtest, all of it.  Source  Bitcoin Core chainparams.cpp.
inline constexpr std::string_view genesis_hex =
    "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc388"
    "8a51323a9fb8"
    "aa4b1e5e4adae5494dffff7f20020000000101000000010000000000000000000000000000000000000000000000000000000000000000ffff"
    "ffff4d04ffff"
    "001d0104455468652054696d65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b206f66207365636f6e6420"
    "6261696c6f75"
    "7420666f722062616e6b73ffffffff0100f2052a01000000434104678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61"
    "deb649f6bc3f"
    "4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac00000000";

[[nodiscard]] inline byte_string genesis_block() {
    byte_string out(genesis_hex.size() / 2);
    if (!from_hex(genesis_hex, out)) out.clear();
    return out;
}

/// The root over txids or wtxids; an odd one is paired with itself.  At least one leaf.
[[nodiscard]] inline bytes32 merkle_root(std::vector<bytes32> row) {
    while (row.size() > 1) {
        if (row.size() % 2 != 0) row.push_back(row.back());
        for (std::size_t i = 0; i < row.size() / 2; ++i) {
            std::array<std::uint8_t, 64> pair{};
            std::ranges::copy(row[2 * i], pair.begin());
            std::ranges::copy(row[2 * i + 1], pair.begin() + 32);
            row[i] = hash256(pair);
        }
        row.resize(row.size() / 2);
    }
    return row.empty() ? bytes32{} : row.front();
}

struct block_template {
    std::int32_t height = 0;
    block_hash previous;
    unix_time time;    ///< fits 32 bits
    satoshi reward{};  ///< [satoshi] subsidy and fees
    bytes_view reward_script;
    std::uint32_t extra_nonce = 0;              ///< makes blocks with equal content differ
    std::span<const byte_string> transactions;  ///< without the coinbase
};

namespace detail {

[[nodiscard]] inline byte_string coinbase(const block_template& from, std::span<const bytes32> wtxids) {
    std::array<std::uint8_t, 32> sig{};
    writer script_sig(sig);
    push_number(script_sig, from.height);  // BIP34
    std::array<std::uint8_t, 4> nonce{};
    writer n(nonce);
    n.u32(from.extra_nonce);
    push(script_sig, nonce);

    std::vector<tx_output> outputs{{from.reward, from.reward_script}};
    // BIP141: the commitment over the witness root, under a reserved value of zeros that the coinbase's witness holds.
    constexpr std::array<std::uint8_t, 34> reserved_witness{1, 32};
    std::array<std::uint8_t, 38> commitment{op_return, 36, 0xaa, 0x21, 0xa9, 0xed};
    const bool segwit = !wtxids.empty();
    if (segwit) {
        std::vector<bytes32> leaves{bytes32{}};  // the coinbase counts as zeros
        leaves.insert(leaves.end(), wtxids.begin(), wtxids.end());
        std::array<std::uint8_t, 64> pair{};
        std::ranges::copy(merkle_root(std::move(leaves)), pair.begin());
        std::ranges::copy(hash256(pair), commitment.begin() + 6);
        outputs.push_back({satoshi{0}, commitment});
    }
    tx_input in;
    in.prevout.index = 0xffff'ffff;
    in.script_sig = script_sig.written();
    if (segwit) in.witness = reserved_witness;

    byte_string out(300 + from.reward_script.size());
    writer w(out);
    write_transaction(w, 2, std::span(&in, 1), outputs, 0);
    out.resize(w.ok() ? w.size() : 0);
    return out;
}

}  // namespace detail

/// The block, solved: two hashes on average.  The transactions must be valid ones.
[[nodiscard]] inline byte_string build_block(const block_template& from) {
    std::vector<bytes32> ids{bytes32{}};
    std::vector<bytes32> wtxids;
    bool any_witness = false;
    for (const byte_string& bytes : from.transactions) {
        const auto tx = parse_transaction(bytes_view(bytes));
        if (!tx) return {};
        ids.push_back(tx->id().bytes);
        wtxids.push_back(tx->wtxid());
        any_witness |= tx->has_witness();
    }
    if (!any_witness) wtxids.clear();
    const byte_string first = detail::coinbase(from, wtxids);
    if (const auto tx = parse_transaction(bytes_view(first))) ids[0] = tx->id().bytes;

    std::size_t size = block_header_size + 9 + first.size();
    for (const byte_string& bytes : from.transactions) size += bytes.size();
    byte_string out(size);
    writer w(out);
    w.u32(0x2000'0000);
    w.bytes(from.previous.bytes);
    w.bytes(merkle_root(std::move(ids)));
    w.u32(static_cast<std::uint32_t>(from.time.seconds));
    w.u32(bits);
    w.u32(0);  // nonce
    w.compact_size(1 + from.transactions.size());
    w.bytes(first);
    for (const byte_string& bytes : from.transactions) w.bytes(bytes);
    out.resize(w.size());

    // The hash is a little-endian number: its last byte is the highest.  Below 7f00... is below the target 7fffff00....
    for (std::uint32_t nonce = 0; hash256(bytes_view(out).first(block_header_size))[31] >= 0x7f;) {
        ++nonce;
        writer header(bytes_span(out).subspan(76, 4));
        header.u32(nonce);
    }
    return out;
}

}  // namespace paychan::regtest
