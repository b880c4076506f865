// The bytes of file_store's files: records one after the other, a format number in front and a checksum behind.
#pragma once

#include <vector>

#include "paychan/core/reader.hpp"
#include "paychan/core/writer.hpp"
#include "paychan/crypto/hash.hpp"
#include "paychan/policy.hpp"

namespace paychan::detail {

// bytes 4 "pych" | u8 format | u32 count | count times (u8 kind | bytes 32 channel | u64 version | u64 size | bytes)
// | bytes 32 sha256 of all before.  Little-endian.  Every later format begins with "pych" and its number too, and ends
// with that checksum: so a newer file and a damaged one are told apart.
inline constexpr std::array<std::uint8_t, 4> record_file_mark{'p', 'y', 'c', 'h'};
inline constexpr std::uint8_t record_file_format = 1;
inline constexpr std::size_t record_file_around = 4 + 1 + 4 + 32;     // [bytes] besides the records
inline constexpr std::size_t record_file_header = 1 + 32 + 8 + 8;     // [bytes] of a record, besides its content
inline constexpr std::size_t max_record_file = std::size_t{1} << 26;  // [bytes] 64 MB; a record has a few hundred

/// Fails  too_long (the file would be longer than `max_record_file`).
[[nodiscard]] inline result<std::vector<std::uint8_t>> encode_record_file(std::span<const put_request> records) {
    std::size_t size = record_file_around;
    for (const put_request& r : records) {
        if (r.bytes.size() > max_record_file - record_file_header ||
            size > max_record_file - record_file_header - r.bytes.size())
            return fail(errc::too_long, "the records are longer than the store takes");
        size += record_file_header + r.bytes.size();
    }
    std::vector<std::uint8_t> out(size);
    writer w(out);
    w.bytes(record_file_mark);
    w.u8(record_file_format);
    w.u32(static_cast<std::uint32_t>(records.size()));
    for (const put_request& r : records) {
        w.u8(static_cast<std::uint8_t>(r.id.kind));
        w.bytes(r.id.channel.bytes);
        w.u64(r.version);
        w.u64(r.bytes.size());
        w.bytes(r.bytes);
    }
    w.bytes(sha256(w.written()));
    return out;
}

/// The records in the order of the file; their bytes view `file`.
/// Fails  corrupt_record, unknown_format.
[[nodiscard]] inline result<std::vector<put_request>> decode_record_file(bytes_view file) {
    constexpr std::size_t sum_size = sizeof(bytes32);
    if (file.size() < record_file_mark.size() + 1 + sum_size) return fail(errc::corrupt_record, "the file is cut off");
    const bytes_view content = file.first(file.size() - sum_size);
    reader r(content);
    if (r.array<4>() != record_file_mark) return fail(errc::corrupt_record, "the file is not a record of paychan");
    const std::uint8_t format = r.u8();
    if (!equal(sha256(content), file.last(sum_size)))
        return fail(errc::corrupt_record, "the file is damaged: its checksum is wrong");
    if (format > record_file_format)
        return fail(errc::unknown_format, "the file was written by a newer version of paychan: use that one");
    if (format != record_file_format) return fail(errc::corrupt_record, "the file has no known version");

    std::vector<put_request> out;
    const std::uint32_t count = r.u32();
    while (r.ok() && out.size() < count) {
        put_request one;
        one.id.kind = static_cast<record_kind>(r.u8());
        one.id.channel.bytes = r.array<32>();
        one.version = r.u64();
        one.bytes = r.bytes(r.u64());
        if (r.ok()) out.push_back(one);
    }
    if (!r.done()) return fail(errc::corrupt_record, "the file does not hold what it says");
    return out;
}

}  // namespace paychan::detail
