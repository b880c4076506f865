// The loop of a program that runs one io_context on one thread, until something is so or somebody ends it.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <chrono>
#include <csignal>
#include <initializer_list>
#include <memory>
#include <optional>
#include <utility>

#include "paychan/core/result.hpp"

namespace paychan::asio {

class loop {
public:
    static constexpr std::chrono::milliseconds for_ever = std::chrono::hours(24 * 365 * 50);

    /// signals  that end it; with none it takes no signal from the program
    explicit loop(std::initializer_list<int> signals = {SIGINT, SIGTERM}) : signals_(io_) {
        for (const int s : signals) signals_.add(s);
        if (signals.size() == 0) return;
        signals_.async_wait([this](boost::system::error_code ec, int) {
            if (!ec) stopping_ = true;
        });
    }
    loop(const loop&) = delete;
    loop& operator=(const loop&) = delete;

    [[nodiscard]] boost::asio::io_context& io() { return io_; }
    /// A signal came.
    [[nodiscard]] bool stopping() const { return stopping_; }
    /// Nobody waits for a signal from here on: it does nothing, so that a program that ends comes to its end.
    void ignore_signals() { signals_.cancel(); }

    /// Runs until `done` says so, a signal came, or `limit` has passed.  True when `done`.
    template <class Done>
    bool run_until(const Done& done, std::chrono::milliseconds limit = for_ever) {
        const auto end = std::chrono::steady_clock::now() + limit;
        while (!done() && !stopping_ && std::chrono::steady_clock::now() < end) {
            io_.restart();
            io_.run_one_for(std::chrono::milliseconds(100));
            io_.poll();
        }
        return done();
    }

    /// Runs until an operation completes: start(handler) begins it.  Nothing: it has not yet; its handler
    /// may still be called.
    template <class T, class Start, class Run>
    static std::optional<result<T>> wait_for(Start start, Run run_until) {
        const auto done = std::make_shared<std::optional<result<T>>>();  // the handler may outlive this call
        start([done](result<T> r) { *done = std::move(r); });
        run_until([&] { return done->has_value(); });
        return std::move(*done);
    }

private:
    boost::asio::io_context io_;
    boost::asio::signal_set signals_;
    bool stopping_ = false;
};

}  // namespace paychan::asio
