// result<T>: a value or an error, without exceptions.  The only place that names the expected library.
#pragma once

#include <string_view>
#include <tl/expected.hpp>

#include "paychan/core/errc.hpp"

namespace paychan {

/// What went wrong, and the fact in words.
struct error {
    errc code = errc::other;
    std::string_view text;  ///< a literal: lives as long as the program

    friend bool operator==(const error&, const error&) = default;
};

template <class T>
using result = tl::expected<T, error>;

/// return fail(errc::bad_transaction, "refund sequence is final");
[[nodiscard]] inline tl::unexpected<error> fail(errc code, std::string_view text) {
    return tl::unexpected<error>(error{code, text});
}

[[nodiscard]] inline tl::unexpected<error> fail(const error& e) { return tl::unexpected<error>(e); }

}  // namespace paychan

#define PAYCHAN_CONCAT_(a, b) a##b
#define PAYCHAN_CONCAT(a, b) PAYCHAN_CONCAT_(a, b)
#define PAYCHAN_TRY_IMPL(tmp, var, expr)             \
    auto tmp = (expr);                               \
    if (!tmp) return ::paychan::fail((tmp).error()); \
    var = *std::move(tmp)

/// PAYCHAN_TRY(const auto x, f()): x is the value of f(), or the enclosing function returns f's error.
#define PAYCHAN_TRY(var, expr) PAYCHAN_TRY_IMPL(PAYCHAN_CONCAT(paychan_try_, __LINE__), var, expr)

#define PAYCHAN_CHECK_IMPL(tmp, expr) \
    if (auto tmp = (expr); !tmp) return ::paychan::fail((tmp).error())

/// PAYCHAN_CHECK(f()): the enclosing function returns f's error if f failed; the value is dropped.
#define PAYCHAN_CHECK(expr) PAYCHAN_CHECK_IMPL(PAYCHAN_CONCAT(paychan_check_, __LINE__), expr)
