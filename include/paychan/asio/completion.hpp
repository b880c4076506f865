// A completion handler of any token, kept until its operation ends.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <memory>
#include <utility>

#include "paychan/core/result.hpp"

namespace paychan::asio {

namespace net = boost::asio;

/// Holds a handler of signature void(result<T>), for tokens such as a lambda, use_future and use_awaitable.
/// Fires at most once, through the handler's associated executor, and never from inside the call that fires it.  Keeps
/// both executors from running out of work until then.
template <class T>
class completion {
public:
    completion() = default;

    /// fallback  the executor of the object that the operation was started on
    template <class Handler>
    completion(Handler handler, const net::any_io_executor& fallback)
        : held_(std::make_unique<holder<Handler>>(std::move(handler), fallback)) {}

    [[nodiscard]] explicit operator bool() const { return held_ != nullptr; }

    /// Does nothing when it is empty or was fired before.
    void fire(result<T> outcome) {
        if (const auto held = std::exchange(held_, nullptr)) held->fire(std::move(outcome));
    }

private:
    struct base {
        base() = default;
        base(const base&) = delete;
        base& operator=(const base&) = delete;
        virtual ~base() = default;
        virtual void fire(result<T> outcome) = 0;
    };

    template <class Handler>
    struct holder final : base {
        using handler_executor = net::associated_executor_t<Handler, net::any_io_executor>;

        holder(Handler h, const net::any_io_executor& fallback)
            : own(fallback), work(net::get_associated_executor(h, fallback)), handler(std::move(h)) {}

        void fire(result<T> outcome) override {
            const auto first = own.get_executor();
            // By pointer: g++ 12 believes that a result which moves from lambda to lambda is not initialised.
            auto kept = std::make_unique<result<T>>(std::move(outcome));
            // Posted, so that it is never inside the initiating call; then dispatched to where the handler wants to be.
            net::post(first, [w = std::move(work), h = std::move(handler), r = std::move(kept)]() mutable {
                const auto there = w.get_executor();
                net::dispatch(there, [h = std::move(h), r = std::move(r)]() mutable { std::move(h)(std::move(*r)); });
            });
        }

        net::executor_work_guard<net::any_io_executor> own;
        net::executor_work_guard<handler_executor> work;
        Handler handler;
    };

    std::unique_ptr<base> held_;
};

}  // namespace paychan::asio
