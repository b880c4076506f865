// A store whose kind is chosen when the program starts, behind one type.
#pragma once

#include <concepts>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "paychan/policy.hpp"

namespace paychan {

/// A look at the variant's index for each call, which the disk does not notice.  All of it fails with store_failed before
/// emplace().
template <class... Stores>
class one_of_stores {
    static_assert((BatchStore<Stores> && ...), "Stores: see BatchStore in policy.hpp");
    static_assert((ScanStore<Stores> && ...), "Stores: see ScanStore in policy.hpp");

    template <class R, class F>
    R visit(F&& f) {
        return std::visit(
            [&]<class S>(S& store) -> R {
                if constexpr (std::same_as<S, std::monostate>)
                    return fail(errc::store_failed, "no store is open");
                else
                    return f(store);
            },
            store_);
    }

public:
    one_of_stores() = default;
    one_of_stores(const one_of_stores&) = delete;
    one_of_stores& operator=(const one_of_stores&) = delete;

    /// Opens one, which takes the place of another.
    template <class S, class... Arguments>
    S& emplace(Arguments&&... arguments) {
        return store_.template emplace<S>(std::forward<Arguments>(arguments)...);
    }
    [[nodiscard]] bool is_open() const { return store_.index() != 0 && !store_.valueless_by_exception(); }

    [[nodiscard]] result<void> put(const record_id& id, std::uint64_t version, bytes_view bytes) {
        return visit<result<void>>([&](auto& s) { return s.put(id, version, bytes); });
    }
    [[nodiscard]] result<void> put_many(std::span<const put_request> batch) {
        return visit<result<void>>([&](auto& s) { return s.put_many(batch); });
    }
    [[nodiscard]] result<stored_record> get(const record_id& id, bytes_span memory) {
        return visit<result<stored_record>>([&](auto& s) { return s.get(id, memory); });
    }
    [[nodiscard]] result<void> erase(const record_id& id) {
        return visit<result<void>>([&](auto& s) { return s.erase(id); });
    }
    template <std::invocable<const record_id&> F>
    [[nodiscard]] result<void> list(record_kind kind, F&& f) {
        return visit<result<void>>([&](auto& s) { return s.list(kind, f); });
    }
    template <std::predicate<const record_id&, const result<stored_record>&> F>
    [[nodiscard]] result<void> scan(record_kind kind, const std::optional<txid>& after, F&& f) {
        return visit<result<void>>([&](auto& s) { return s.scan(kind, after, f); });
    }

    /// Always another number where the store cannot tell: whoever asks must look.
    [[nodiscard]] std::uint64_t foreign_writes() {
        return std::visit(
            [this](auto& s) -> std::uint64_t {
                if constexpr (requires { s.foreign_writes(); })
                    return s.foreign_writes();
                else
                    return ++asked_;
            },
            store_);
    }

    /// What the last failure was, for people.
    [[nodiscard]] std::string last_error() const {
        return std::visit(
            [](const auto& s) -> std::string {
                if constexpr (requires { s.last_error(); })
                    return s.last_error();
                else
                    return "there is no store";
            },
            store_);
    }

private:
    std::variant<std::monostate, Stores...> store_;
    std::uint64_t asked_ = 0;
};

}  // namespace paychan
