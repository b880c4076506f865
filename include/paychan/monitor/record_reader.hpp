// Reads all records of a kind, a part at a time: in one pass where the store can scan, else name by name.
#pragma once

#include <optional>
#include <vector>

#include "paychan/monitor/stored_channels.hpp"

namespace paychan::detail {

class record_reader {
public:
    /// Calls f(const record_id&, const result<stored_record>&) for about `most` records, behind those of the last call.
    /// True when that were all; the next call then begins anew.  What another process deletes meanwhile may be left out.
    /// memory  for one record, where the store cannot scan
    /// Fails   store_failed: call it again.  corrupt_record: the store cannot go on behind those that were read; the next
    ///         call begins anew.
    template <Store S, class F>
    [[nodiscard]] result<bool> read(S& store, record_kind kind, std::size_t most, [[maybe_unused]] bytes_span memory,
                                    F&& f) {
        std::size_t left = most;
        if constexpr (ScanStore<S>) {
            bool more = false;
            const auto scanned =
                store.scan(kind, after_, [&](const record_id& id, const result<stored_record>& stored) {
                    more = left == 0;
                    if (more) return false;
                    --left;
                    after_ = id.channel;
                    f(id, stored);
                    return true;
                });
            if (!scanned && scanned.error().code != errc::store_failed) after_.reset();
            if (!scanned) return fail(scanned.error());
            if (more) return false;
        } else {
            if (!names_) {
                PAYCHAN_TRY(names_, list_names(store, kind));
            }
            for (; left > 0 && !names_->empty(); --left) {
                const record_id id{kind, names_->back()};
                names_->pop_back();
                const auto stored = store.get(id, memory);
                if (stored || stored.error().code != errc::not_found) f(id, stored);
            }
            if (!names_->empty()) return false;
        }
        after_.reset();
        names_.reset();
        return true;
    }

    /// Some have been read, and more are to be.
    [[nodiscard]] bool begun() const { return after_ || names_; }

private:
    std::optional<txid> after_;               // where a scan goes on
    std::optional<std::vector<txid>> names_;  // what is still to be read
};

}  // namespace paychan::detail
