// A connection inside one process: two transports, and the pumps that carry their frames to the drivers.
#pragma once

#include <deque>
#include <vector>

#include "paychan/policy.hpp"

namespace paychan {

/// Two ends; what one sends waits until its owner delivers it to the driver at the other:
///     memory_pipe connection;
///     client<...> payer(connection.first, ...);
///     server<...> payee(connection.second, ...);
///     pump(connection, payer, payee);
/// Neither `send` nor `close` calls a driver; only `deliver` does, and never from inside another `deliver`.
/// Each driver hears on_disconnected() once, whoever ended the connection: `close`, `cut`, or a queue that was full.
/// One thread at a time.
class memory_pipe {
public:
    /// What one end sees of the connection.
    class end {
    public:
        explicit end(memory_pipe& whole) : pipe_(whole) {}
        end(const end&) = delete;
        end& operator=(const end&) = delete;

        /// Queues a copy for the other end.  A frame that does not fit cuts the connection.
        void send(bytes_view frame) { pipe_.send(*this, frame); }

        /// The other end still gets what was queued for it; what was queued for this one is lost, as with TCP.
        void close() {
            closed_ = true;
            pipe_.drop(pipe_.other(*this));
        }

        /// Hands the driver at this end the next frame, or the news of the connection's end.
        /// Returns false when there is nothing for it now, or when a delivery is under way.
        template <class Driver>
        bool deliver(Driver& driver) {
            return pipe_.deliver(*this, driver);
        }

    private:
        friend class memory_pipe;
        memory_pipe& pipe_;
        std::deque<std::vector<std::uint8_t>> sent_;  // not yet delivered to the other end
        bool closed_ = false;
        bool told_ = false;
    };

    /// limit  [bytes] in both directions together; each frame counts 4 bytes more than its size
    explicit memory_pipe(std::size_t limit = std::size_t{1} << 20) : limit_(limit) {}

    end first{*this};
    end second{*this};

    /// The connection breaks: what is queued is lost, and both drivers are told at their next delivery.
    void cut() {
        cut_ = true;
        drop(first);
        drop(second);
    }

    /// A new connection between the same two ends.
    void reconnect() {
        cut();
        cut_ = false;
        for (end* e : {&first, &second}) e->closed_ = e->told_ = false;
    }

private:
    static constexpr std::size_t frame_overhead = 4;  // [bytes] as a length takes on a stream; bounds empty frames too

    end& other(const end& e) { return &e == &first ? second : first; }

    void send(end& from, bytes_view frame) {
        if (cut_ || from.closed_ || other(from).closed_) return;
        const std::size_t left = limit_ - queued_;
        if (left < frame_overhead || left - frame_overhead < frame.size()) return cut();
        from.sent_.emplace_back(frame.begin(), frame.end());
        queued_ += frame.size() + frame_overhead;
    }

    void drop(end& from) {
        for (const auto& frame : from.sent_) queued_ -= frame.size() + frame_overhead;
        from.sent_.clear();
    }

    template <class Driver>
    bool deliver(end& to, Driver& driver) {
        if (delivering_) return false;
        struct scope {
            bool& flag;
            explicit scope(bool& f) : flag(f) { flag = true; }
            ~scope() { flag = false; }
        } const now(delivering_);

        end& from = other(to);
        if (!from.sent_.empty()) {
            const std::vector<std::uint8_t> frame = std::move(from.sent_.front());  // outlives a cut by the driver
            from.sent_.pop_front();
            queued_ -= frame.size() + frame_overhead;
            driver.on_frame(bytes_view(frame));
            return true;
        }
        if (to.told_ || !(cut_ || to.closed_ || from.closed_)) return false;
        to.told_ = true;
        driver.on_disconnected();
        return true;
    }

    std::size_t limit_;
    std::size_t queued_ = 0;  // [bytes]
    bool cut_ = false;
    bool delivering_ = false;
};

static_assert(Transport<memory_pipe::end>);

/// Carries frames to and fro until both queues are empty.
/// limit  deliveries after which it stops, so that drivers which answer each other for ever do not hang the caller
/// Returns the number of deliveries: `limit` when it stopped because of it.
template <class First, class Second>
std::size_t pump(memory_pipe& connection, First& first, Second& second, std::size_t limit = 1'000'000) {
    std::size_t delivered = 0;
    for (bool any = true; any && delivered < limit;) {
        any = connection.second.deliver(second);
        if (any) ++delivered;
        if (delivered < limit && connection.first.deliver(first)) {
            any = true;
            ++delivered;
        }
    }
    return delivered;
}

}  // namespace paychan
