// Calls a keeper from an Asio loop: every second, and at once again while it has more to load.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>

#include "paychan/asio/guard.hpp"

namespace paychan::asio {

/// Keeper  anything with `bool turn()`; borrowed.  Begins at once; stop() lets the loop run out of work.
/// Thread rule: all on the executor's one thread (or strand).
template <class Keeper>
class keep_turning {
public:
    keep_turning(const boost::asio::any_io_executor& executor, Keeper& keeper)
        : executor_(executor), keeper_(keeper), timer_(executor) {
        again();
    }
    keep_turning(const keep_turning&) = delete;
    keep_turning& operator=(const keep_turning&) = delete;

    void stop() {
        stopped_ = true;
        timer_.cancel();
    }

private:
    /// Posted: connections have their turn in between.
    void again() {
        boost::asio::post(executor_, alive_.guard([this] { turn(); }));
    }

    void turn() {
        if (stopped_) return;
        if (keeper_.turn()) return again();
        timer_.expires_after(std::chrono::seconds(1));
        timer_.async_wait(alive_.guard([this](const boost::system::error_code& e) {
            if (!e) turn();
        }));
    }

    detail::lifetime alive_;
    boost::asio::any_io_executor executor_;
    Keeper& keeper_;
    boost::asio::steady_timer timer_;
    bool stopped_ = false;
};

}  // namespace paychan::asio
