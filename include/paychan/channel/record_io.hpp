// A channel's record as bytes on disk: explicit fields, little-endian, a format number in front and a checksum behind.
#pragma once

#include "paychan/channel/record.hpp"
#include "paychan/core/reader.hpp"
#include "paychan/core/writer.hpp"
#include "paychan/crypto/hash.hpp"

namespace paychan {

inline constexpr std::uint8_t record_format = 1;     // written in front of every record; old formats are read for ever
inline constexpr std::size_t max_record_size = 512;  // [bytes]
using record_buffer = bounded_bytes<max_record_size>;

namespace detail {
inline constexpr std::size_t checksum_size = 4;  // [bytes] of hash256: finds damage, keeps out nobody

[[nodiscard]] inline bytes_view checksum(const bytes32& hash) { return bytes_view{hash}.first(checksum_size); }
}  // namespace detail

[[nodiscard]] inline record_buffer write_record(const channel_record& record) {
    record_buffer out;
    writer w(out.memory());
    w.u8(record_format);
    w.u64(record.version);
    w.i32(record.protocol);
    w.u8(static_cast<std::uint8_t>(record.stage));
    w.bytes(record.terms.contract.id.bytes);
    w.u32(record.terms.contract.index);
    w.i64(record.terms.value.value);
    w.i64(record.terms.expiry.seconds);
    w.sized_bytes(record.terms.client_key.view());
    w.sized_bytes(record.terms.server_key.view());
    w.u64(static_cast<std::uint64_t>(record.key));
    w.i64(record.change.value);
    w.sized_bytes(record.signature.view());
    w.bytes(record.closing.bytes);
    w.i32(record.closing_height);
    w.sized_bytes(record.label.view());
    w.bytes(detail::checksum(hash256(w.written())));
    out.resize(w.size());
    static_assert(
        max_record_size >= 1 + 8 + 4 + 1 + 36 + 8 + 8 + 66 + 66 + 8 + 8 + 74 + 32 + 4 + 65 + detail::checksum_size,
        "the longest record fits");
    return out;
}

namespace detail {

/// A record whose keys are not parsed yet: that costs two square roots, ten times all the rest.
struct unparsed_record {
    channel_record record;
    bytes_view client_key;
    bytes_view server_key;
};

[[nodiscard]] inline result<unparsed_record> read_fields(bytes_view bytes) {
    if (bytes.empty()) return fail(errc::corrupt_record, "the channel's record is empty");
    if (bytes.front() != record_format)
        return fail(errc::unknown_format, "the channel's record was written by a newer version of paychan");
    if (bytes.size() < checksum_size) return fail(errc::corrupt_record, "the channel's record is cut off");
    const auto content = bytes.first(bytes.size() - checksum_size);
    if (!equal(checksum(hash256(content)), bytes.last(checksum_size)))
        return fail(errc::corrupt_record, "the channel's record does not match its checksum");

    reader r(content.subspan(1));
    unparsed_record out;
    channel_record& record = out.record;
    record.version = r.u64();
    record.protocol = r.i32();
    const std::uint8_t stage = r.u8();
    record.terms.contract.id.bytes = r.array<32>();
    record.terms.contract.index = r.u32();
    record.terms.value = {r.i64()};
    record.terms.expiry = {r.i64()};
    out.client_key = r.sized_bytes();
    out.server_key = r.sized_bytes();
    record.key = key_id{r.u64()};
    record.change = {r.i64()};
    const bool signature_fits = record.signature.assign(r.sized_bytes());
    record.closing.bytes = r.array<32>();
    record.closing_height = r.i32();
    const bool label_fits = record.label.assign(r.sized_bytes());

    const bool amounts_fit =
        is_money(record.terms.value) && is_money(record.change) && record.change <= record.terms.value;
    if (!r.done() || !signature_fits || !label_fits || !amounts_fit ||
        stage > static_cast<std::uint8_t>(channel_stage::unbacked))
        return fail(errc::corrupt_record, "the channel's record holds values that cannot be");
    record.stage = static_cast<channel_stage>(stage);
    return out;
}

}  // namespace detail

/// Fails  unknown_format (a newer paychan wrote it), corrupt_record (damaged, or not a record).
[[nodiscard]] inline result<channel_record> read_record(bytes_view bytes) {
    PAYCHAN_TRY(detail::unparsed_record read, detail::read_fields(bytes));
    const auto client_key = parse_public_key(read.client_key);
    const auto server_key = parse_public_key(read.server_key);
    if (!client_key || !server_key)
        return fail(errc::corrupt_record, "the channel's record holds values that cannot be");
    read.record.terms.client_key = *client_key;
    read.record.terms.server_key = *server_key;
    return read.record;
}

/// The record without its two keys, for who reads a million of them: the checksum shows that they are as they were written.
/// Fails  as read_record; corrupt_record (stored under another's name or version).
[[nodiscard]] inline result<channel_record> read_record_without_keys(const record_id& id, const stored_record& stored) {
    PAYCHAN_TRY(const detail::unparsed_record read, detail::read_fields(stored.bytes));
    if (read.record.version != stored.version || read.record.terms.contract.id != id.channel)
        return fail(errc::corrupt_record, "the channel's record is stored under another's name");
    return read.record;
}

/// Reads the record of a channel.  Fails  not_found, store_failed, corrupt_record, unknown_format.
template <Store S>
[[nodiscard]] result<channel_record> load_record(S& store, record_kind kind, const txid& channel) {
    record_buffer memory;
    PAYCHAN_TRY(const auto stored, store.get({kind, channel}, memory.memory()));
    PAYCHAN_TRY(const auto record, read_record(stored.bytes));
    // A record under another's name would make us sign for the wrong contract.
    if (record.version != stored.version || record.terms.contract.id != channel)
        return fail(errc::corrupt_record, "the channel's record is stored under another's name");
    return record;
}

}  // namespace paychan
