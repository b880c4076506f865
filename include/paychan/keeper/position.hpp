// How far somebody has followed the chain, as a record in a store.
#pragma once

#include "paychan/channel/record_io.hpp"

namespace paychan {

/// Whose position it is.  The numbers are on disk: they name the record.
enum class follower : std::uint8_t {
    birthday = 0,  ///< nobody's: the height of the first block that can hold coins of the seed
    wallet = 1,
    client_monitor = 2,
    server_monitor = 3,
};

[[nodiscard]] constexpr record_id position_id(follower who) {
    record_id id{record_kind::chain_position, {}};
    id.channel.bytes[0] = static_cast<std::uint8_t>(who);
    return id;
}

inline constexpr std::uint8_t position_format = 1;
inline constexpr std::size_t max_position_size = 2 + chain_position::capacity() * 36 + detail::checksum_size;
using position_buffer = bounded_bytes<max_position_size>;

[[nodiscard]] inline position_buffer write_position(const chain_position& position) {
    position_buffer out;
    writer w(out.memory());
    w.u8(position_format);
    w.u8(static_cast<std::uint8_t>(position.size()));
    for (const chain_place& p : position) {
        w.i32(p.height);
        w.bytes(p.hash);
    }
    w.bytes(detail::checksum(hash256(w.written())));
    out.resize(w.size());
    return out;
}

/// Fails  unknown_format (a newer paychan wrote it), corrupt_record.
[[nodiscard]] inline result<chain_position> read_position(bytes_view bytes) {
    if (!bytes.empty() && bytes.front() > position_format)
        return fail(errc::unknown_format, "the position on the chain was written by a newer version of paychan");
    if (bytes.size() < detail::checksum_size) return fail(errc::corrupt_record, "the position on the chain is cut off");
    const auto content = bytes.first(bytes.size() - detail::checksum_size);
    reader r(content);
    const std::uint8_t format = r.u8();
    const std::size_t count = r.u8();
    chain_position out;
    std::int32_t above = std::numeric_limits<std::int32_t>::max();
    bool descending = true;
    for (std::size_t i = 0; i < count && r.ok(); ++i) {
        chain_place p{r.i32(), r.array<32>()};
        descending = descending && p.height < above && p.height >= 0;
        above = p.height;
        out.push_back(p);
    }
    if (!r.done() || format != position_format || count == 0 || count > chain_position::capacity() || !descending ||
        !equal(detail::checksum(hash256(content)), bytes.last(detail::checksum_size)))
        return fail(errc::corrupt_record, "the position on the chain is damaged");
    return out;
}

/// The birthday's record is older than the others: four bytes.
[[nodiscard]] inline std::array<std::uint8_t, 4> write_birthday(std::int32_t height) {
    std::array<std::uint8_t, 4> out{};
    writer w(out);
    w.i32(height);
    return out;
}
[[nodiscard]] inline result<std::int32_t> read_birthday(bytes_view bytes) {
    reader r(bytes);
    const std::int32_t height = r.i32();
    if (!r.done() || height < 0) return fail(errc::corrupt_record, "the birthday in the store is damaged");
    return height;
}

}  // namespace paychan
