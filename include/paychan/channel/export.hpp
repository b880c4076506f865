// A channel's export file: all that brings its money home when the store is lost, and the seed is there.
#pragma once

#include "paychan/bitcoin/interpreter.hpp"
#include "paychan/bitcoin/network.hpp"
#include "paychan/channel/payment.hpp"
#include "paychan/channel/record_io.hpp"

namespace paychan {

/// Which side of a channel is ours.  The numbers are on disk.
enum class channel_role : std::uint8_t { client = 1, server = 2 };

/// Everything that belongs to one channel.  No secret is in it: record.key is the key's number in the seed.
struct channel_export {
    network net{};
    channel_role role = channel_role::client;
    channel_record record;
    bytes_view contract;
    bytes_view refund;  ///< complete; empty for a server
};

// bytes 4 "pycx" | u8 format | u8 network | u8 role | u16 size, record | u16 size, contract | u16 size, refund
// | bytes 32 sha256 of all before.  Little-endian.  Every later format begins with "pycx" and its number too, and ends
// with that checksum: so a newer file and a damaged one are told apart.
inline constexpr std::array<std::uint8_t, 4> export_mark{'p', 'y', 'c', 'x'};
inline constexpr std::uint8_t export_format = 1;  // old formats are read for ever
inline constexpr std::size_t max_export_size =
    4 + 1 + 1 + 1 + 3 * 2 + max_record_size + max_contract_size + refund_buffer::capacity() + 32;  // [bytes]

namespace detail {

// The networks' numbers on disk.
[[nodiscard]] constexpr std::uint8_t export_number(network n) {
    switch (n) {
        case network::mainnet: return 1;
        case network::testnet: return 2;
        case network::signet: return 3;
        case network::regtest: return 4;
    }
    return 0;
}

inline void write_part(writer& to, bytes_view part) {
    to.u16(static_cast<std::uint16_t>(part.size()));  // all of them are shorter than 64 KB, or do not fit
    to.bytes(part);
}

[[nodiscard]] inline bytes_view read_part(reader& from, std::size_t longest) {
    const std::size_t size = from.u16();
    return from.bytes(size <= longest ? size : max_export_size);  // more than is there
}

}  // namespace detail

/// The file's bytes, written into `memory`, for which max_export_size is enough.  Fails  too_long.
[[nodiscard]] inline result<bytes_view> write_export(const channel_export& from, bytes_span memory) {
    if (from.contract.size() > max_contract_size || from.refund.size() > refund_buffer::capacity())
        return fail(errc::too_long, "a transaction of the channel is longer than any that this library makes or takes");
    writer w(memory);
    w.bytes(export_mark);
    w.u8(export_format);
    w.u8(detail::export_number(from.net));
    w.u8(static_cast<std::uint8_t>(from.role));
    const record_buffer record = write_record(from.record);
    for (const bytes_view part : {record.view(), from.contract, from.refund}) detail::write_part(w, part);
    w.bytes(sha256(w.written()));
    if (!w.ok()) return fail(errc::too_long, "the export does not fit into its memory");
    return w.written();
}

/// Reads what write_export wrote; the transactions are views of `file`, and are those of the record's contract.
/// Fails  unknown_format (a newer paychan's), corrupt_record (damaged, or no export at all).
[[nodiscard]] inline result<channel_export> read_export(bytes_view file) {
    constexpr std::size_t sum_size = sizeof(bytes32);
    reader start(file);
    if (start.array<4>() != export_mark) return fail(errc::corrupt_record, "the file is not a channel's export");
    const std::uint8_t format = start.u8();
    if (!start.ok() || start.remaining() < sum_size) return fail(errc::corrupt_record, "the file is cut off");
    const bytes_view content = file.first(file.size() - sum_size);
    if (!equal(sha256(content), file.last(sum_size)))
        return fail(errc::corrupt_record, "the file is damaged: its checksum is wrong");
    if (format > export_format)
        return fail(errc::unknown_format, "the file was written by a newer version of paychan: use that one");

    reader r(content.subspan(export_mark.size() + 1));
    channel_export out;
    const std::uint8_t net = r.u8();
    const std::uint8_t role = r.u8();
    const bytes_view record = detail::read_part(r, max_record_size);
    out.contract = detail::read_part(r, max_contract_size);
    out.refund = detail::read_part(r, refund_buffer::capacity());
    bool known_network = false;
    for (const network n : {network::mainnet, network::testnet, network::signet, network::regtest})
        if (net == detail::export_number(n)) {
            out.net = n;
            known_network = true;
        }
    if (!r.done() || format != export_format || !known_network || role < 1 || role > 2)
        return fail(errc::corrupt_record, "the file does not hold what it says");
    out.role = static_cast<channel_role>(role);
    PAYCHAN_TRY(out.record, read_record(record));
    const auto contract = parse_transaction(out.contract);
    if (!contract || contract->id() != out.record.terms.contract.id || out.record.terms.contract.index != 0)
        return fail(errc::corrupt_record, "the file holds another contract than its record names");
    if (out.refund.empty() != (out.role == channel_role::server))
        return fail(errc::corrupt_record, "the file of a client has a refund, that of a server has none");
    return out;
}

/// Checks that the parts belong together and are worth something: the contract pays what the record says, the last
/// payment's signature holds, and nodes would take the refund at its time.
/// Fails  bad_transaction, unsupported (this program is built without the channel's protocol version).
template <class Contracts>
[[nodiscard]] result<void> check_export(const channel_export& e) {
    return Contracts::template with<result<void>>(e.record.protocol, [&]<class Scheme>() -> result<void> {
        const contract_terms& terms = e.record.terms;
        PAYCHAN_TRY(const auto contract, parse_transaction(e.contract));
        PAYCHAN_TRY(const auto locked, contract.output(0));
        if (locked.value != terms.value || !equal(locked.script_pubkey, Scheme::script_pubkey(terms).view()))
            return fail(errc::bad_transaction, "the contract in the file pays to something else than the channel");
        PAYCHAN_CHECK(check_payment<Scheme>(
            e.record, {static_cast<std::uint64_t>(e.record.change.value), e.record.signature.view(), {}}));
        if (e.role == channel_role::server) return {};
        PAYCHAN_TRY(const auto refund, parse_transaction(e.refund));
        PAYCHAN_TRY(const auto in, refund.input(0));
        if (!equal(refund_transaction(terms, in.script_sig).view(), e.refund))
            return fail(errc::bad_transaction, "the refund in the file is not that of the channel");
        return verify_input(refund, 0, locked, standard_flags);
    });
}

}  // namespace paychan
