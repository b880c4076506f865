// The store that `--store` names, chosen when the program starts.
#pragma once

#include <concepts>
#include <optional>
#include <string>
#include <variant>

#include "paychan/memory/file_store.hpp"
#include "paychan/postgres/store.hpp"
#include "paychan/sqlite/store.hpp"

namespace tool {

/// One of the library's stores, behind one type: a look at the variant's index for each call, which the disk does not
/// notice.
class any_store {
    template <class F>
    auto visit(F&& f) {
        switch (store_.index()) {
            case 1: return f(*std::get_if<1>(&store_));
            case 2: return f(*std::get_if<2>(&store_));
            default: return f(*std::get_if<3>(&store_));  // the constructor leaves none without a store
        }
    }

public:
    /// option  sqlite:FILE, file:FOLDER or postgres:CONNECTION
    /// Throws  usage_error (it is none of these; no store is there, or another program's), store_away, run_error (damaged).
    any_store(const std::string& option, paychan::store_access access);
    any_store(const any_store&) = delete;
    any_store& operator=(const any_store&) = delete;

    [[nodiscard]] paychan::result<void> put(const paychan::record_id& id, std::uint64_t version,
                                            paychan::bytes_view bytes) {
        return visit([&](auto& s) { return s.put(id, version, bytes); });
    }
    [[nodiscard]] paychan::result<void> put_many(std::span<const paychan::put_request> batch) {
        return visit([&](auto& s) { return s.put_many(batch); });
    }
    [[nodiscard]] paychan::result<paychan::stored_record> get(const paychan::record_id& id,
                                                              paychan::bytes_span memory) {
        return visit([&](auto& s) { return s.get(id, memory); });
    }
    [[nodiscard]] paychan::result<void> erase(const paychan::record_id& id) {
        return visit([&](auto& s) { return s.erase(id); });
    }
    template <std::invocable<const paychan::record_id&> F>
    [[nodiscard]] paychan::result<void> list(paychan::record_kind kind, F&& f) {
        return visit([&](auto& s) { return s.list(kind, f); });
    }
    template <std::predicate<const paychan::record_id&, const paychan::result<paychan::stored_record>&> F>
    [[nodiscard]] paychan::result<void> scan(paychan::record_kind kind, const std::optional<paychan::txid>& after,
                                             F&& f) {
        return visit([&](auto& s) { return s.scan(kind, after, f); });
    }
    /// Always another number where the store cannot tell: whoever asks must look.
    [[nodiscard]] std::uint64_t foreign_writes() {
        return visit([&](auto& s) -> std::uint64_t {
            if constexpr (requires { s.foreign_writes(); })
                return s.foreign_writes();
            else
                return ++asked_;
        });
    }

    /// What the last failure was, for people; never a password.
    [[nodiscard]] std::string last_error() const;

private:
    std::variant<std::monostate, paychan::sqlite_store, paychan::file_store, paychan::postgres_store> store_;
    std::uint64_t asked_ = 0;
};

static_assert(paychan::BatchStore<any_store> && paychan::ScanStore<any_store>);

}  // namespace tool
