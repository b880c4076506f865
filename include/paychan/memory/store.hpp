// The store in memory: the model of a BatchStore and ScanStore, to read, to test with, and to copy as a disk's image.
// Several processes of a test may share one, so it has no foreign_writes().
#pragma once

#include <concepts>
#include <map>
#include <optional>
#include <vector>

#include "paychan/policy.hpp"

namespace paychan {

/// Keeps records as long as it lives.  A copy is a snapshot: what another process would find after a crash.
/// One thread at a time.  Throws only std::bad_alloc, and is unchanged then.
class memory_store {
public:
    [[nodiscard]] result<void> put(const record_id& id, std::uint64_t version, bytes_view bytes) {
        const put_request one{id, version, bytes};
        return put_many({&one, 1});
    }

    [[nodiscard]] result<void> put_many(std::span<const put_request> batch) {
        std::map<record_id, entry> staged;
        for (const put_request& r : batch) {
            const auto again = staged.find(r.id);
            const auto stored = records_.find(r.id);
            const entry* before = nullptr;
            if (stored != records_.end()) before = &stored->second;
            if (again != staged.end()) before = &again->second;
            if (before != nullptr && r.version <= before->version)
                return fail(errc::stale_record, "a record of this version or a newer one is stored");
            if (before == nullptr && needs_predecessor(r.id, r.version))
                return fail(errc::stale_record, "the record that this one follows was deleted");
            staged.insert_or_assign(r.id, entry{r.version, {r.bytes.begin(), r.bytes.end()}});
        }
        for (const auto& [id, _] : staged) records_.erase(id);  // from here on nothing can throw
        records_.merge(staged);
        return {};
    }

    [[nodiscard]] result<stored_record> get(const record_id& id, bytes_span memory) const {
        const auto found = records_.find(id);
        if (found == records_.end()) return fail(errc::not_found, "no such record");
        const auto& [version, bytes] = found->second;
        if (bytes.size() > memory.size()) return fail(errc::too_long, "the record is longer than the memory for it");
        std::ranges::copy(bytes, memory.begin());
        return stored_record{version, memory.first(bytes.size())};
    }

    [[nodiscard]] result<void> erase(const record_id& id) {
        records_.erase(id);
        return {};
    }

    template <std::invocable<const record_id&> F>
    [[nodiscard]] result<void> list(record_kind kind, F&& f) const {
        for (auto i = records_.lower_bound({kind, {}}); i != records_.end() && i->first.kind == kind; ++i) f(i->first);
        return {};
    }

    template <std::predicate<const record_id&, const result<stored_record>&> F>
    [[nodiscard]] result<void> scan(record_kind kind, const std::optional<txid>& after, F&& f) const {
        auto i = after ? records_.upper_bound({kind, *after}) : records_.lower_bound({kind, {}});
        for (; i != records_.end() && i->first.kind == kind; ++i)
            if (const result<stored_record> r{{i->second.version, i->second.bytes}}; !f(i->first, r)) break;
        return {};
    }

private:
    struct entry {
        std::uint64_t version = 0;
        std::vector<std::uint8_t> bytes;
    };
    std::map<record_id, entry> records_;
};

static_assert(BatchStore<memory_store> && ScanStore<memory_store>);

}  // namespace paychan
