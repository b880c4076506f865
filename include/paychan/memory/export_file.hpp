// Channels' export files in a folder: written when a channel opens, before its contract leaves; and when somebody asks.
#pragma once

#include <cstring>
#include <memory>
#include <string>

#include "paychan/channel/export.hpp"
#include "paychan/memory/file.hpp"

namespace paychan {

/// The name of a channel's file: one a channel, whatever became of it since.
[[nodiscard]] inline std::string export_file_name(const txid& channel) {
    const auto hex = display(channel);
    return std::string(hex.data(), hex.size()) + ".channel";
}

/// The bytes of an export file, of the length of one at most.
/// why  the file and the reason, for people, on failure
/// Fails  not_found, corrupt_record, store_failed.
[[nodiscard]] inline result<std::vector<std::uint8_t>> load_export(const std::string& path, std::string& why) {
    int system = 0;
    auto read = detail::read_whole(AT_FDCWD, path, max_export_size, system);
    if (!read)
        why = path + ": " + std::string(read.error().text) + (system ? std::string(": ") + std::strerror(system) : "");
    return read;
}

/// Writes a channel's file, mode 0600; it is on disk when this returns.  A file of a newer record is left alone.
/// folder  made if it is missing, but not the folders above it
/// why     as load_export
/// Fails   store_failed, too_long; stale_record (the file there is newer, or this old: nothing is written).
[[nodiscard]] inline result<void> save_export(const std::string& folder, const channel_export& e, std::string& why) {
    const std::string name = export_file_name(e.record.terms.contract.id);
    const auto failed = [&](errc code, std::string_view text, int system = 0) {
        why =
            folder + "/" + name + ": " + std::string(text) + (system ? std::string(": ") + std::strerror(system) : "");
        return fail(code, text);
    };
    std::vector<std::uint8_t> memory(max_export_size);
    const auto bytes = write_export(e, memory);
    if (!bytes) return failed(bytes.error().code, bytes.error().text);

    const bool made = ::mkdir(folder.c_str(), 0700) == 0;
    const detail::open_file f(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!f.ok()) return failed(errc::store_failed, "the folder for exports cannot be opened", errno);
    if (made) {
        const detail::open_file above(::openat(f.get(), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (above.ok() && !detail::sync(above.get()))
            return failed(errc::store_failed, "the folder above it cannot be synced", errno);
    }
    int system = 0;
    const auto old = detail::read_whole(f.get(), name, max_export_size, system);
    if (old)
        if (const auto there = read_export(*old);
            there && there->role == e.role && there->record.version >= e.record.version)
            return failed(errc::stale_record, "the file there is of this record or a newer one");
    system = detail::write_whole(f.get(), name, *bytes);
    if (system == 0 && !detail::sync(f.get())) system = errno;
    if (system == ENOSPC || system == EDQUOT) return failed(errc::store_failed, "the disk is full", system);
    if (system != 0) return failed(errc::store_failed, "the export cannot be written", system);
    return {};
}

/// Writes the file of a stored channel.
/// Fails  as save_export, and as the store does.
template <Store S>
[[nodiscard]] result<void> export_channel(S& store, channel_role role, const txid& channel, network net,
                                          const std::string& folder, std::string& why) {
    const bool client = role == channel_role::client;
    why = "channel " + export_file_name(channel);
    std::vector<std::uint8_t> contract(max_contract_size), refund(refund_buffer::capacity());
    channel_export e{net, role, {}, {}, {}};
    PAYCHAN_TRY(e.record,
                load_record(store, client ? record_kind::client_channel : record_kind::server_channel, channel));
    PAYCHAN_TRY(const auto stored,
                store.get({client ? record_kind::client_contract : record_kind::server_contract, channel}, contract));
    e.contract = stored.bytes;
    if (client) {
        PAYCHAN_TRY(const auto back, store.get({record_kind::client_refund, channel}, refund));
        e.refund = back.bytes;
    }
    return save_export(folder, e, why);
}

/// A store that writes a client's export file before it takes the channel that opens: what the server has seen of a
/// contract is then in the store and in a file, whatever is lost later.  All else passes through.
///     exporting_store store(sqlite, network::mainnet, "/mnt/stick/channels");
/// A file without a channel may be left when the store refuses; its contract never left the process.
template <class StoreT>
class exporting_store {
    static_assert(BatchStore<StoreT>, "an opening is one batch: see put_many in policy.hpp");

public:
    /// store   borrowed
    /// folder  for the files; with an empty one none are written
    exporting_store(StoreT& store, network net, std::string folder)
        : store_(store), net_(net), folder_(std::move(folder)) {}

    [[nodiscard]] result<void> put(const record_id& id, std::uint64_t version, bytes_view bytes) {
        const put_request one{id, version, bytes};
        return put_many({&one, 1});
    }

    /// Fails  also store_failed (the file cannot be written: nothing is in the store then).
    [[nodiscard]] result<void> put_many(std::span<const put_request> batch) {
        file_error_.clear();
        if (!folder_.empty()) PAYCHAN_CHECK(export_opening(batch));
        return store_.put_many(batch);
    }

    [[nodiscard]] result<stored_record> get(const record_id& id, bytes_span memory) {
        file_error_.clear();
        return store_.get(id, memory);
    }
    [[nodiscard]] result<void> erase(const record_id& id) {
        file_error_.clear();
        return store_.erase(id);
    }
    template <std::invocable<const record_id&> F>
    [[nodiscard]] result<void> list(record_kind kind, F&& f) {
        file_error_.clear();
        return store_.list(kind, std::forward<F>(f));
    }

    /// What the last failure was, for people: the file's, or the store's own words.
    [[nodiscard]] std::string last_error() const { return file_error_.empty() ? store_.last_error() : file_error_; }

private:
    [[nodiscard]] result<void> export_opening(std::span<const put_request> batch) {
        const auto part = [&](record_kind kind) -> const put_request* {
            for (const put_request& r : batch)
                if (r.id.kind == kind) return &r;
            return nullptr;
        };
        const put_request* const contract = part(record_kind::client_contract);
        if (contract == nullptr) return {};
        const put_request* const refund = part(record_kind::client_refund);
        const put_request* const record = part(record_kind::client_channel);
        if (refund == nullptr || record == nullptr)
            return fail(errc::invalid_argument, "a contract is stored with its record and its refund");
        channel_export e{net_, channel_role::client, {}, contract->bytes, refund->bytes};
        PAYCHAN_TRY(e.record, read_record(record->bytes));
        const auto saved = save_export(folder_, e, file_error_);
        // Written before by an attempt that the store refused: nothing is wrong with it.
        if (!saved && saved.error().code == errc::stale_record) return {};
        return saved;
    }

    StoreT& store_;
    network net_;
    std::string folder_;
    std::string file_error_;
};

}  // namespace paychan
