// A channel's export file: all that brings its money home when the store is lost, and the seed is there.
#pragma once

#include "paychan/bitcoin/interpreter.hpp"
#include "paychan/bitcoin/network.hpp"
#include "paychan/channel/payment.hpp"
#include "paychan/channel/watched.hpp"

namespace paychan {

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
inline constexpr std::uint8_t export_format = 1;                             // old formats are read for ever
inline constexpr std::uint64_t max_export_version = std::uint64_t{1} << 48;  // more writes than any channel has seen
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
        case network::testnet4: return 5;
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
    for (const network n : all_networks)
        if (net == detail::export_number(n)) {
            out.net = n;
            known_network = true;
        }
    if (!r.done() || format != export_format || !known_network || role < 1 || role > 2)
        return fail(errc::corrupt_record, "the file does not hold what it says");
    out.role = static_cast<channel_role>(role);
    PAYCHAN_TRY(out.record, read_record(record));
    // A store takes no version of 2^63, and whoever imports one just below it could not even write the settlement.
    if (out.record.version < 1 || out.record.version > max_export_version)
        return fail(errc::corrupt_record, "the file's record has a version that cannot be");
    const auto contract = parse_transaction(out.contract);
    if (!contract || contract->id() != out.record.terms.contract.id || out.record.terms.contract.index != 0)
        return fail(errc::corrupt_record, "the file holds another contract than its record names");
    if (out.refund.empty() != (out.role == channel_role::server))
        return fail(errc::corrupt_record, "the file of a client has a refund, that of a server has none");
    return out;
}

/// Checks that the parts belong together and are worth something: the contract pays what the record says, the last
/// payment's signature holds, and nodes would take the refund at its time.
/// Gives what may be believed of it.  A server's file proves its payment and, in version 2, its terms; the rest is
/// whatever somebody wrote, maybe the client:
/// - The chain says what spent the contract, not the file.
/// - A server's channel is `open`, so that it is settled at its deadline; or, if the file says so, `settling`, at once.
/// - In version 1 nothing but the refund holds the expiry, and a server keeps none.  A date that is too late would lose
///   everything, so such a channel is `settling`: too early costs no more than what could have been paid yet.
/// Fails  bad_transaction, unsupported (this program is built without the channel's protocol version).
template <class Contracts>
[[nodiscard]] result<channel_export> check_export(const channel_export& e) {
    return Contracts::template with<result<channel_export>>(
        e.record.protocol, [&]<class Scheme>() -> result<channel_export> {
            const contract_terms& terms = e.record.terms;
            PAYCHAN_TRY(const auto contract, parse_transaction(e.contract));
            PAYCHAN_TRY(const auto locked, contract.output(0));
            if (locked.value != terms.value || !equal(locked.script_pubkey, Scheme::script_pubkey(terms).view()))
                return fail(errc::bad_transaction, "the contract pays to something else than the channel");
            PAYCHAN_TRY(
                const auto payment,
                check_payment<Scheme>(
                    e.record, {static_cast<std::uint64_t>(e.record.change.value), e.record.signature.view(), {}}));
            channel_export out = e;
            out.record.signature = payment.signature;
            out.record.closing = {};
            out.record.closing_height = 0;
            const bool over = e.record.stage == channel_stage::settling;
            if (e.role == channel_role::server) {
                out.record.stage = over || Scheme::refund_is_cosigned ? channel_stage::settling : channel_stage::open;
                return out;
            }
            if (!over && e.record.stage != channel_stage::open) out.record.stage = channel_stage::contract_stored;
            PAYCHAN_TRY(const auto refund, parse_transaction(e.refund));
            PAYCHAN_TRY(const auto in, refund.input(0));
            if (!equal(refund_transaction(terms, in.script_sig).view(), e.refund))
                return fail(errc::bad_transaction, "the refund is not that of the channel");
            PAYCHAN_CHECK(verify_input(refund, 0, locked, standard_flags));
            return out;
        });
}

/// Whether record `a` of a channel is worth more than `b`.  What was paid only ever grows; a version may begin anew, with
/// a store that was lost.
[[nodiscard]] inline bool supersedes(const channel_record& a, const channel_record& b) {
    return a.change < b.change || (a.change == b.change && a.version > b.version);
}

/// What an import came to.
enum class import_outcome : std::uint8_t {
    stored,
    kept,      ///< by the record that is in the store no less was paid: it stays
    repaired,  ///< so too, but its contract or its refund was damaged, and is there again
    too_late,  ///< more was paid by the file, but what spends the contract is in a block; used only if that block goes
};

/// Puts into a store what check_export gave.  Of a channel that the store has, a better payment is taken and nothing
/// else: who was paid more cannot lose by it, and what else the store knows is more than a file can show.  A settlement
/// that rests on less is not kept: the monitor builds it anew.  One that has left already may still be mined.
/// The channel's key must never be given out again: tell the key store first (seed_keys::saw).
/// Fails  as the store does; corrupt_record, unknown_format (of the record that is there: it stays).
template <Store S>
[[nodiscard]] result<import_outcome> import_channel(S& store, const channel_export& e) {
    constexpr int patience = 10;  // attempts beside other processes that write
    const bool client = e.role == channel_role::client;
    const txid& channel = e.record.terms.contract.id;
    bool repaired = false;
    /// is_sound  of what is there
    const auto put_transaction = [&](record_kind kind, bytes_view tx, auto is_sound) -> result<void> {
        const record_id id{kind, channel};
        std::array<std::uint8_t, max_contract_size> memory{};
        for (int attempt = 1;; ++attempt) {
            const auto there = store.get(id, memory);
            if (there && is_sound(there->bytes)) return {};
            const errc code = there ? errc::corrupt_record : there.error().code;
            const bool damaged = code == errc::corrupt_record || code == errc::too_long;
            if (!damaged && code != errc::not_found) return fail(there.error());
            if (damaged) PAYCHAN_CHECK(store.erase(id));  // it was worth nothing
            repaired = repaired || damaged;
            const auto put = store.put(id, 1, tx);
            if (put || put.error().code != errc::stale_record || attempt == patience) return put;
        }
    };
    // Another one of this txid differs in its witnesses only, which the file's are no better than.
    PAYCHAN_CHECK(put_transaction(client ? record_kind::client_contract : record_kind::server_contract, e.contract,
                                  [&](bytes_view tx) {
                                      const auto parsed = parse_transaction(tx);
                                      return parsed && parsed->id() == channel;
                                  }));
    if (client)
        PAYCHAN_CHECK(
            put_transaction(record_kind::client_refund, e.refund, [&](bytes_view tx) { return equal(tx, e.refund); }));

    // Last: a record is never there without its transactions.
    const record_id id{client ? record_kind::client_channel : record_kind::server_channel, channel};
    for (int attempt = 1;; ++attempt) {
        import_outcome outcome = import_outcome::stored;
        const auto there = load_record(store, id.kind, channel);
        if (!there && there.error().code != errc::not_found) return fail(there.error());
        channel_record wanted = e.record;
        std::uint64_t first = needs_predecessor(id, wanted.version) ? 1 : wanted.version;
        if (!there) {  // before: whoever finds the channel is to know that it has not followed the chain for it
            const record_id watch{kinds_of(e.role).watch, channel};
            const watch_buffer unknown = write_watch(watch_facts{.unknown = true});
            PAYCHAN_CHECK(store.erase(watch));
            PAYCHAN_CHECK(store.put(watch, 1, unknown.view()));
        }
        if (there) {
            if (e.record.change >= there->change) return repaired ? import_outcome::repaired : import_outcome::kept;
            const contract_terms& known = there->terms;
            const contract_terms& shown = e.record.terms;
            if (known.value != shown.value || !equal(known.client_key.view(), shown.client_key.view()) ||
                !equal(known.server_key.view(), shown.server_key.view()) || there->protocol != e.record.protocol)
                return fail(errc::corrupt_record, "the store's record of the channel has other terms");
            wanted = *there;
            first = ++wanted.version;
            wanted.change = e.record.change;
            wanted.signature = e.record.signature;
            // What was paid on was open.
            if (!client && wanted.stage < channel_stage::open) wanted.stage = channel_stage::open;
            if (!client && wanted.stage == channel_stage::settling) {
                if (wanted.closing_height == 0)
                    wanted.closing = {};
                else
                    outcome = import_outcome::too_late;
                // First: a settlement of less beside a better record would be sent, and the next import would find nothing
                // to do.  An import that is cut off here leaves the payment that was there, to be settled and imported on.
                PAYCHAN_CHECK(store.erase({record_kind::server_settlement, channel}));
            }
        }
        // A store takes a later version only of a record that it has.
        channel_record begun = wanted;
        begun.version = first;
        const record_buffer begin = write_record(begun), whole = write_record(wanted);
        const std::array both{put_request{id, first, begin.view()}, put_request{id, wanted.version, whole.view()}};
        const auto written = put_all(store, std::span<const put_request>(both).last(first == wanted.version ? 1 : 2));
        if (written) return outcome;
        if (written.error().code != errc::stale_record || attempt == patience) return fail(written.error());
    }
}

}  // namespace paychan
