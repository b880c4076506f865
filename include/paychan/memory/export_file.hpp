// Channels' export files in a folder: written when a channel opens, before its contract leaves; and when somebody asks.
#pragma once

#include <dirent.h>
#include <sys/file.h>

#include <concepts>
#include <cstring>
#include <ctime>
#include <memory>
#include <optional>
#include <string>

#include "paychan/channel/export.hpp"
#include "paychan/memory/file.hpp"
#include "paychan/memory/random.hpp"

namespace paychan {

/// The name of a channel's file: one for each side of it, whatever became of it since.  It is for people and for whoever
/// writes: a file is read under any name, and older ones have no role in theirs.
[[nodiscard]] inline std::string export_file_name(channel_role role, const txid& channel) {
    const auto hex = display(channel);
    return std::string(hex.data(), hex.size()) + (role == channel_role::client ? ".client" : ".server") + ".channel";
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

namespace detail {

/// Keeps other processes from writing into a folder of exports, for as long as the descriptor is open.  False, with
/// errno, when another one has it and does not go on.  Some network file systems have no such locks: it is true there.
[[nodiscard]] inline bool lock_exports(int folder) {
    constexpr int patience = 10'000, pause = 10;  // [ms]
    for (int waited = 0; ::flock(folder, LOCK_EX | LOCK_NB) != 0; waited += pause) {
        if (errno != EWOULDBLOCK && errno != EINTR) return true;
        if (waited >= patience) return false;
        ::usleep(pause * 1000);
    }
    return true;
}

/// A name that no other process has for its unfinished file, also on another machine.
[[nodiscard]] inline result<std::string> unfinished_name(const std::string& name) {
    std::array<std::uint8_t, 8> number{};
    PAYCHAN_CHECK(fill_random(number));
    std::string out = name + ".";
    for (const std::uint8_t byte : number)
        for (const int digit : {byte >> 4, byte & 15}) out += "0123456789abcdef"[digit];
    return out + std::string(unfinished);
}

/// Whether unfinished_name() gave this name, for an export file of this version or of one that knew no roles.
[[nodiscard]] inline bool is_unfinished_export(std::string_view name) {
    const auto take = [&name](std::string_view ending) {
        if (!name.ends_with(ending)) return false;
        name.remove_suffix(ending.size());
        return true;
    };
    const auto take_hex = [&name](std::size_t digits) {
        if (name.size() < digits) return false;
        const auto end = name.substr(name.size() - digits);
        if (end.find_first_not_of("0123456789abcdef") != std::string_view::npos) return false;
        name.remove_suffix(digits);
        return true;
    };
    if (!take(unfinished) || !take_hex(16) || !take(".channel.")) return false;
    if (!take(".client")) (void)take(".server");
    return take_hex(2 * sizeof(txid)) && name.empty();
}

}  // namespace detail

/// Removes what writers of export files left when they were killed.  What cannot be removed stays: it does no harm.
/// Reads all names of the folder: call it once, not with each file.
inline void remove_unfinished_exports(const std::string& folder) {
    constexpr std::time_t at_rest = 60;  // [s] some network file systems do not show other machines our lock
    detail::open_file f(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!f.ok() || ::flock(f.get(), LOCK_EX | LOCK_NB) != 0) return;  // whoever writes now cannot be told from who died
    const int descriptor = f.get();
    const std::unique_ptr<DIR, int (*)(DIR*)> names(::fdopendir(descriptor), &::closedir);
    if (!names) return;
    f.release();
    const std::time_t now = std::time(nullptr);
    while (const dirent* const entry = ::readdir(names.get())) {
        struct stat about {};
        if (detail::is_unfinished_export(entry->d_name) &&
            ::fstatat(descriptor, entry->d_name, &about, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(about.st_mode) &&
            about.st_mtime < now - at_rest)
            ::unlinkat(descriptor, entry->d_name, 0);
    }
}

/// Writes a channel's file, mode 0600; it is on disk when this returns.  A file of a better record is left alone, and so
/// is a newer paychan's.
/// folder  made if it is missing, but not the folders above it
/// why     as load_export
/// Fails   store_failed, too_long; stale_record (the file there is as good, or better: nothing is written);
///         unknown_format (the file there is a newer paychan's), invalid_argument (it is of another network);
///         corrupt_record (what is to be written does not belong together).
[[nodiscard]] inline result<void> save_export(const std::string& folder, const channel_export& e, std::string& why) {
    const std::string name = export_file_name(e.role, e.record.terms.contract.id);
    const auto failed = [&](errc code, std::string_view text, int system = 0) {
        why =
            folder + "/" + name + ": " + std::string(text) + (system ? std::string(": ") + std::strerror(system) : "");
        return fail(code, text);
    };
    std::vector<std::uint8_t> memory(max_export_size);
    const auto bytes = write_export(e, memory);
    if (!bytes) return failed(bytes.error().code, bytes.error().text);
    if (const auto good = read_export(*bytes); !good) return failed(good.error().code, good.error().text);
    const auto begun = detail::unfinished_name(name);
    if (!begun) return failed(errc::store_failed, begun.error().text);

    const bool made = ::mkdir(folder.c_str(), 0700) == 0;
    const detail::open_file f(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!f.ok()) return failed(errc::store_failed, "the folder for exports cannot be opened", errno);
    if (made) {
        const detail::open_file above(::openat(f.get(), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (above.ok() && !detail::sync(above.get()))
            return failed(errc::store_failed, "the folder above it cannot be synced", errno);
    }
    // From the look at what is there to the new name: nobody else writes.
    if (!detail::lock_exports(f.get()))
        return failed(errc::store_failed, "another process writes into the folder, and does not end");
    int system = 0;
    const auto old = detail::read_whole(f.get(), name, 1'000'000, system);  // a newer format may be longer
    if (!old && old.error().code == errc::store_failed)
        return failed(errc::store_failed, "the file there cannot be read", system);
    if (old) {
        const auto there = read_export(*old);
        if (!there && there.error().code == errc::unknown_format)
            return failed(errc::unknown_format,
                          "the file there was written by a newer version of paychan: use that one");
        if (there && there->net != e.net) return failed(errc::invalid_argument, "the file there is of another network");
        if (there && there->role == e.role && equal(there->refund, e.refund) && !supersedes(e.record, there->record))
            return failed(errc::stale_record, "the file there is of this record or a newer one");
    }
    system = detail::write_whole(f.get(), *begun, name, *bytes);
    if (system == 0 && !detail::sync(f.get())) system = errno;
    if (system == ENOSPC || system == EDQUOT) return failed(errc::store_failed, "the disk is full", system);
    if (system != 0) return failed(errc::store_failed, "the export cannot be written", system);
    return {};
}

/// Writes the file of a stored channel, once it has shown that the file can bring its money home.
/// Fails  as save_export, as the store does, and as check_export: what is stored is damaged, and no file is touched.
template <class Contracts, Store S>
[[nodiscard]] result<void> export_channel(S& store, channel_role role, const txid& channel, network net,
                                          const std::string& folder, std::string& why) {
    const bool client = role == channel_role::client;
    const auto failed = [&](const error& problem, const char* text = "") {
        const auto hex = display(channel);
        why = "channel " + std::string(hex.data(), hex.size()) + ": " + text + std::string(problem.text);
        return fail(problem);
    };
    channel_export e{net, role, {}, {}, {}};
    const auto record = load_record(store, client ? record_kind::client_channel : record_kind::server_channel, channel);
    if (!record) return failed(record.error());
    e.record = *record;
    std::vector<std::uint8_t> contract(max_contract_size), refund(refund_buffer::capacity());
    const auto stored =
        store.get({client ? record_kind::client_contract : record_kind::server_contract, channel}, contract);
    if (!stored) return failed(stored.error(), "its contract in the store: ");
    e.contract = stored->bytes;
    if (client) {
        const auto back = store.get({record_kind::client_refund, channel}, refund);
        if (!back) return failed(back.error(), "its refund in the store: ");
        e.refund = back->bytes;
    }
    if (const auto good = check_export<Contracts>(e); !good)
        return failed(good.error(), "what the store has of it brings no money home: ");
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

    /// Fails  also as save_export: nothing is in the store then.
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
    template <std::predicate<const record_id&, const result<stored_record>&> F>
    requires ScanStore<StoreT>
    [[nodiscard]] result<void> scan(record_kind kind, const std::optional<txid>& after, F&& f) {
        file_error_.clear();
        return store_.scan(kind, after, std::forward<F>(f));
    }
    [[nodiscard]] std::uint64_t foreign_writes() requires requires(StoreT& s) { s.foreign_writes(); }
    { return store_.foreign_writes(); }

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
        if (!std::exchange(tidied_, true)) remove_unfinished_exports(folder_);
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
    bool tidied_ = false;
};

}  // namespace paychan
