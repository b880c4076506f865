// What a wallet remembers, and its records on disk: explicit fields, little-endian, a format in front, a checksum behind.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <vector>

#include "paychan/core/reader.hpp"
#include "paychan/core/writer.hpp"
#include "paychan/memory/wallet_keys.hpp"
#include "paychan/policy.hpp"

namespace paychan {

/// How a coin is spent: with a signature inside the txid, or beside it.
enum class coin_form : std::uint8_t { p2pkh, p2wpkh };

struct wallet_coin {
    outpoint where;
    satoshi value;
    key_path key;
    coin_form form{};
    bool coinbase = false;
    std::int32_t height = 0;
    std::int32_t spent = 0;  ///< height of the block that spends it; 0: none does
    outpoint spender;        ///< input 0 of what spends it
    friend bool operator==(const wallet_coin&, const wallet_coin&) = default;
};

/// What a wallet knows besides its coins.
struct wallet_state {
    /// So many blocks are known by their hashes, so that a fork among them is seen when its blocks are told.
    static constexpr std::size_t max_hashes = 24;

    bool complete = true;                                       ///< false: the coins are being written anew
    std::array<std::uint32_t, all_key_branches.size()> used{};  ///< [keys] of each row, up to the last that was paid to
    std::int32_t forgotten_up_to = 0;    ///< the highest block that spends a coin that is no longer remembered
    std::optional<std::int32_t> height;  ///< of the last block that was taken in
    std::vector<bytes32> hashes;         ///< of that block and those below it, the highest first; perhaps fewer

    /// Nothing when it is not known.
    [[nodiscard]] std::optional<bytes32> hash_at(std::int32_t at) const {
        if (!height || at > *height) return std::nullopt;
        const auto below = static_cast<std::size_t>(std::int64_t{*height} - at);
        if (below >= hashes.size()) return std::nullopt;
        return hashes[below];
    }

    /// Whether the other's last block is certainly one of ours.
    [[nodiscard]] bool contains_tip_of(const wallet_state& other) const {
        if (!other.height || other.hashes.empty()) return false;
        return hash_at(*other.height) == other.hashes.front();
    }

    /// Whether both certainly had a block in common.
    [[nodiscard]] bool meets(const wallet_state& other) const {
        if (!other.height) return false;
        for (std::size_t i = 0; i < other.hashes.size(); ++i)
            if (hash_at(*other.height - static_cast<std::int32_t>(i)) == other.hashes[i]) return true;
        return false;
    }

    /// The same before the blocks from this height on.  `from` is not above the next block.
    void cut(std::int32_t from) {
        if (!height) return;
        const auto gone = static_cast<std::size_t>(std::int64_t{*height} + 1 - from);
        hashes.erase(hashes.begin(), hashes.begin() + static_cast<std::ptrdiff_t>(std::min(gone, hashes.size())));
        height = from - 1;
        if (from <= 0) height.reset();
    }
};

namespace detail {

inline constexpr std::uint8_t wallet_format = 1;   // written in front of both records; old formats are read for ever
inline constexpr std::size_t wallet_checksum = 4;  // [bytes] of hash256: finds damage, keeps out nobody

inline void seal_wallet_record(writer& w) { w.bytes(bytes_view{hash256(w.written())}.first(wallet_checksum)); }

/// What is between format and checksum.  Fails  corrupt_record, unknown_format.
[[nodiscard]] inline result<bytes_view> open_wallet_record(bytes_view bytes) {
    if (bytes.size() < 1 + wallet_checksum) return fail(errc::corrupt_record, "a record of the wallet is cut off");
    const bytes_view content = bytes.first(bytes.size() - wallet_checksum);
    if (!equal(bytes_view{hash256(content)}.first(wallet_checksum), bytes.last(wallet_checksum)))
        return fail(errc::corrupt_record, "a record of the wallet does not match its checksum");
    if (content.front() != wallet_format)
        return fail(errc::unknown_format, "the wallet was stored by a newer version of paychan");
    return content.subspan(1);
}

}  // namespace detail

/// Our outputs of one transaction, in the order of their indices; with none, the transaction was there and is not any
/// more.
[[nodiscard]] inline std::vector<std::uint8_t> write_wallet_coins(const txid& id, std::span<const wallet_coin> coins) {
    constexpr std::size_t around = 1 + 32 + 4 + 1 + 5 + detail::wallet_checksum;
    constexpr std::size_t most = 4 + 8 + 1 + 4 + 1 + 4 + 36;
    std::vector<std::uint8_t> out(around + coins.size() * most);
    writer w(out);
    w.u8(detail::wallet_format);
    w.bytes(id.bytes);
    w.i32(coins.empty() ? 0 : coins.front().height);
    w.u8(!coins.empty() && coins.front().coinbase ? 1 : 0);
    w.compact_size(coins.size());
    for (const wallet_coin& c : coins) {
        w.u32(c.where.index);
        w.i64(c.value.value);
        w.u8(static_cast<std::uint8_t>(c.key.branch));
        w.u32(c.key.index);
        w.u8(static_cast<std::uint8_t>(c.form));
        w.i32(c.spent);
        if (c.spent == 0) continue;
        w.bytes(c.spender.id.bytes);
        w.u32(c.spender.index);
    }
    detail::seal_wallet_record(w);
    out.resize(w.size());
    return out;
}

/// Fails  corrupt_record (damaged, or stored under another's name), unknown_format.
[[nodiscard]] inline result<std::vector<wallet_coin>> read_wallet_coins(const txid& id, bytes_view bytes) {
    PAYCHAN_TRY(const bytes_view content, detail::open_wallet_record(bytes));
    reader r(content);
    bool good = r.array<32>() == id.bytes;
    const std::int32_t height = r.i32();
    const std::uint8_t coinbase = r.u8();
    const std::uint64_t count = r.compact_size();
    good = good && height >= 0 && coinbase <= 1 && count <= r.remaining();
    std::vector<wallet_coin> out;
    for (std::uint64_t i = 0; good && i < count; ++i) {
        wallet_coin c;
        c.where = {id, r.u32()};
        c.value = {r.i64()};
        const std::uint8_t branch = r.u8();
        c.key = {key_branch{branch}, r.u32()};
        const std::uint8_t form = r.u8();
        c.form = coin_form{form};
        c.coinbase = coinbase != 0;
        c.height = height;
        c.spent = r.i32();
        if (c.spent != 0) c.spender = {txid{r.array<32>()}, r.u32()};
        good = r.ok() && is_money(c.value) && c.value.value > 0 && branch < all_key_branches.size() &&
               c.key.index < hardened && form <= static_cast<std::uint8_t>(coin_form::p2wpkh) &&
               (c.spent == 0 || c.spent >= height) && (out.empty() || out.back().where.index < c.where.index);
        out.push_back(c);
    }
    if (!good || !r.done()) return fail(errc::corrupt_record, "a record of the wallet holds values that cannot be");
    return out;
}

[[nodiscard]] inline std::vector<std::uint8_t> write_wallet_state(const wallet_state& s) {
    std::vector<std::uint8_t> out(1 + 1 + s.used.size() * 4 + 4 + 1 + 4 + 1 + s.hashes.size() * 32 +
                                  detail::wallet_checksum);
    writer w(out);
    w.u8(detail::wallet_format);
    w.u8(s.complete ? 1 : 0);
    for (const std::uint32_t n : s.used) w.u32(n);
    w.i32(s.forgotten_up_to);
    w.u8(s.height ? 1 : 0);
    w.i32(s.height.value_or(0));
    w.u8(static_cast<std::uint8_t>(s.hashes.size()));
    for (const bytes32& hash : s.hashes) w.bytes(hash);
    detail::seal_wallet_record(w);
    return out;
}

/// Fails  corrupt_record, unknown_format.
[[nodiscard]] inline result<wallet_state> read_wallet_state(bytes_view bytes) {
    PAYCHAN_TRY(const bytes_view content, detail::open_wallet_record(bytes));
    reader r(content);
    wallet_state out;
    const std::uint8_t complete = r.u8();
    out.complete = complete != 0;
    bool good = complete <= 1;
    for (std::uint32_t& n : out.used) {
        n = r.u32();
        good = good && n <= hardened;
    }
    out.forgotten_up_to = r.i32();
    const std::uint8_t has_height = r.u8();
    if (const std::int32_t height = r.i32(); has_height != 0) out.height = height;
    const std::uint8_t hashes = r.u8();
    good = good && has_height <= 1 && out.height.value_or(0) >= 0 && out.forgotten_up_to >= 0 &&
           hashes <= wallet_state::max_hashes && (hashes == 0 || out.height);
    for (std::uint8_t i = 0; good && i < hashes; ++i) out.hashes.push_back(r.array<32>());
    if (!good || !r.done()) return fail(errc::corrupt_record, "the wallet's state holds values that cannot be");
    return out;
}

}  // namespace paychan
