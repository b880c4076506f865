// Raw blocks: the header, and the transactions one by one.
#pragma once

#include "paychan/bitcoin/transaction.hpp"
#include "paychan/core/unix_time.hpp"

namespace paychan {

inline constexpr std::size_t block_header_size = 80;  // [bytes]

/// hash256 of a header, in internal order; display order is the reverse, as with txid.
struct block_hash {
    bytes32 bytes{};
    friend constexpr auto operator<=>(const block_hash&, const block_hash&) = default;
};

[[nodiscard]] constexpr std::array<char, 64> display(const block_hash& hash) { return detail::display_hex(hash.bytes); }

/// From hex in display order.  Fails  malformed.
[[nodiscard]] constexpr result<block_hash> parse_block_hash(std::string_view display_hex) {
    PAYCHAN_TRY(const bytes32 bytes, detail::parse_display_hex(display_hex));
    return block_hash{bytes};
}

struct block_header {
    std::int32_t version = 0;
    block_hash previous;
    bytes32 merkle_root{};  ///< internal order
    unix_time time;
    std::uint32_t bits = 0;
    std::uint32_t nonce = 0;
    block_hash hash;  ///< of these 80 bytes
};

/// Reads the first 80 bytes of a block.  The proof of work is not looked at.  Fails  malformed (fewer).
[[nodiscard]] inline result<block_header> parse_block_header(bytes_view bytes) {
    if (bytes.size() < block_header_size) return fail(errc::malformed, "block is shorter than its header");
    reader r(bytes.first(block_header_size));
    block_header out;
    out.version = r.i32();
    out.previous.bytes = r.array<32>();
    out.merkle_root = r.array<32>();
    out.time = unix_time{r.u32()};
    out.bits = r.u32();
    out.nonce = r.u32();
    out.hash.bytes = hash256(bytes.first(block_header_size));
    return out;
}

/// Walks a raw block that must outlive it.
///     PAYCHAN_TRY(auto block, open_block(bytes));
///     while (block.left() > 0) { PAYCHAN_TRY(const transaction tx, block.next()); ... }
/// After the last transaction nothing may follow: `next` then fails instead of giving it.
class block_reader {
public:
    [[nodiscard]] const block_header& header() const { return header_; }

    /// Transactions in the block, and those not read yet.
    [[nodiscard]] std::uint64_t transaction_count() const { return count_; }
    [[nodiscard]] std::uint64_t left() const { return left_; }

    /// The next transaction.  Fails  malformed, not_found (none is left).
    [[nodiscard]] result<transaction> next() {
        if (left_ == 0) return fail(errc::not_found, "the block has no more transactions");
        PAYCHAN_TRY(const transaction tx, parse_transaction(from_));
        if (left_ == 1 && !from_.done()) return fail(errc::malformed, "bytes follow the block's last transaction");
        --left_;
        return tx;
    }

private:
    friend result<block_reader> open_block(bytes_view bytes);
    block_reader(const block_header& header, reader from, std::uint64_t count)
        : header_(header), from_(from), count_(count), left_(count) {}

    block_header header_;
    reader from_;
    std::uint64_t count_;
    std::uint64_t left_;
};

/// Starts at a block's first byte.  Fails  malformed (too short, or fewer bytes than transactions).
[[nodiscard]] inline result<block_reader> open_block(bytes_view bytes) {
    PAYCHAN_TRY(const block_header header, parse_block_header(bytes));
    reader r(bytes.subspan(block_header_size));
    const std::uint64_t count = r.compact_size();
    if (!r.ok() || count == 0 || count > r.remaining() / 10)
        return fail(errc::malformed, "block is shorter than its transactions");
    return block_reader(header, r, count);
}

}  // namespace paychan
