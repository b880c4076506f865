// Two small guards: handlers that outlive their object, and drivers that take one input at a time.
#pragma once

#include <concepts>
#include <memory>
#include <utility>

namespace paychan::asio::detail {

/// A member of an object whose handlers may still be queued when it dies.
class lifetime {
public:
    /// f, which does nothing once the object is gone.
    template <class F>
    [[nodiscard]] auto guard(F f) const {
        return [ alive = watch(),
                 f = std::move(f) ]<class... A>(A && ... arguments) mutable requires std::invocable<F&, A...> {
            if (!alive.expired()) f(std::forward<A>(arguments)...);
        };
    }

    [[nodiscard]] std::weak_ptr<const char> watch() const { return token_; }

private:
    std::shared_ptr<const char> token_ = std::make_shared<const char>();
};

/// Marks that a driver, or the application's on_event(), is on the stack.
class scope {
public:
    explicit scope(bool& flag) : flag_(flag) { flag_ = true; }
    ~scope() { flag_ = false; }
    scope(const scope&) = delete;
    scope& operator=(const scope&) = delete;

private:
    bool& flag_;
};

}  // namespace paychan::asio::detail
