// Whether a raw block is the one that was asked for, whole: its header's hash, and the merkle root over its
// transactions.
#pragma once

#include <vector>

#include "paychan/bitcoin/block.hpp"
#include "paychan/crypto/hash.hpp"

namespace paychan::bitcoind {

/// The header, if these bytes are the whole block of that hash.  Witness data is not covered by it.
/// Fails   malformed (does not parse, another block, or not with the transactions that its header commits to).
/// Source  Bitcoin Core ComputeMerkleRoot, with its check for repeated transactions (CVE-2012-2459).
[[nodiscard]] inline result<block_header> check_block(bytes_view raw, const block_hash& asked) {
    PAYCHAN_TRY(block_reader block, open_block(raw));
    if (block.header().hash != asked) return fail(errc::malformed, "the node gave another block than was asked for");

    std::vector<bytes32> level;
    while (block.left() > 0) {
        PAYCHAN_TRY(const transaction tx, block.next());
        level.push_back(tx.id().bytes);
    }
    while (level.size() > 1) {
        for (std::size_t i = 0; i + 1 < level.size(); i += 2)
            if (level[i] == level[i + 1]) return fail(errc::malformed, "block repeats transactions");
        if (level.size() % 2 != 0) level.push_back(level.back());
        for (std::size_t i = 0; i < level.size() / 2; ++i) {
            sha256_stream pair;
            pair.update(level[2 * i]);
            pair.update(level[2 * i + 1]);
            level[i] = finish_hash256(pair);
        }
        level.resize(level.size() / 2);
    }
    if (level.empty() || level[0] != block.header().merkle_root)
        return fail(errc::malformed, "block's transactions are not those of its header");
    return block.header();
}

}  // namespace paychan::bitcoind
