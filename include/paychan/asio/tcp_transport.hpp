// Frames over a TCP stream: a Transport that never blocks, and an inbox of one frame.
#pragma once

#include <array>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "paychan/policy.hpp"
#include "paychan/wire/frame.hpp"

namespace paychan::asio {

namespace net = boost::asio;
using tcp = net::ip::tcp;
using milliseconds = std::chrono::milliseconds;

struct transport_settings {
    std::size_t queue = std::size_t{256} * 1024;  ///< [bytes] that may wait to be sent; a peer that does not read is
                                                  ///< dropped when there would be more
    milliseconds linger{2'000};                   ///< [ms] for the last bytes and the peer's end of stream
};

/// One connection.  The owner takes the frames and answers:
///     void on_frame_waiting() override { while (auto frame = t->front()) { driver.on_frame(*frame); t->pop(); } }
///     void on_end() override { driver.on_disconnected(); }
/// Nothing more is read while a frame waits, so a fast peer is slowed down by TCP and memory stays bounded.
/// A length that is zero, negative or too long ends the connection without an ERROR, as does a frame that stops half
/// way; the end of the stream is a normal end.  What was queued is still sent.
/// Create it with std::make_shared: it lives until its last operation has ended.  One thread, or a strand.
class tcp_transport : public std::enable_shared_from_this<tcp_transport> {
public:
    class listener {
    public:
        /// front() has a frame.  Called once when the inbox fills; whether there is another is asked after pop().
        virtual void on_frame_waiting() = 0;
        /// The connection is closed: once, and never from inside a call of this class.
        virtual void on_end() = 0;

    protected:
        ~listener() = default;
    };

    /// socket  connected
    tcp_transport(tcp::socket socket, listener& owner, transport_settings settings = {})
        : socket_(std::move(socket)), timer_(socket_.get_executor()), owner_(&owner), settings_(settings) {
        boost::system::error_code ignored;
        socket_.set_option(tcp::no_delay(true), ignored);  // an ack must not wait for the next one
        socket_.set_option(net::socket_base::keep_alive(true), ignored);
    }
    tcp_transport(const tcp_transport&) = delete;
    tcp_transport& operator=(const tcp_transport&) = delete;

    /// Begins to read.
    void start() {
        if (state_ == state::open) read();
    }

    // ---- Transport

    /// Queues a copy.  All that is queued in one turn of the loop leaves in one write.
    void send(bytes_view frame) {
        if (state_ != state::open) return;
        const std::size_t size = wire::frame_header_size + frame.size();
        if (size > settings_.queue || queued_.size() + writing_.size() > settings_.queue - size) return abort();
        const auto header = wire::frame_header(frame.size());
        queued_.insert(queued_.end(), header.begin(), header.end());
        queued_.insert(queued_.end(), frame.begin(), frame.end());
        flush_soon();
    }

    /// Sends what is queued, ends the stream, and waits a little for the peer to end its own: closed at once with
    /// unread bytes, TCP would throw away what the peer has not received yet.
    void close() {
        if (state_ != state::open) return;
        state_ = state::closing;
        timer_.expires_after(settings_.linger);
        timer_.async_wait([self = shared_from_this()](const boost::system::error_code& e) {
            if (!e) self->abort();
        });
        flush_soon();
        // A frame that the owner still looks at stays where it is until pop().
        if (!front_ && !reading_ && !input_over_) read();
    }

    // ---- for the owner

    /// The frame that waits; valid until pop().
    [[nodiscard]] std::optional<bytes_view> front() const { return state_ == state::open ? front_ : std::nullopt; }

    /// Done with the frame; call it also after close().  The next may be there already.
    void pop() {
        if (!front_) return;
        front_.reset();
        if (state_ == state::open) {
            next();
        } else if (state_ == state::closing && !reading_ && !input_over_) {
            read();
        }
    }

    /// Drops the connection with all that is queued.
    void abort() {
        if (state_ == state::ended) return;
        state_ = state::ended;
        timer_.cancel();
        boost::system::error_code ignored;
        socket_.close(ignored);
        net::post(socket_.get_executor(), [self = shared_from_this()] {
            if (listener* const owner = std::exchange(self->owner_, nullptr)) owner->on_end();
        });
    }

    /// As abort(), but nobody is told: the owner ceases to exist.
    void abandon() {
        owner_ = nullptr;
        abort();
    }

private:
    enum class state : std::uint8_t { open, closing, ended };

    void read() {
        reading_ = true;
        socket_.async_read_some(net::buffer(memory_),
                                [self = shared_from_this()](const boost::system::error_code& e, std::size_t size) {
                                    self->reading_ = false;
                                    self->on_read(e, size);
                                });
    }

    void on_read(const boost::system::error_code& e, std::size_t size) {
        if (state_ == state::ended) return;
        if (e) {
            input_over_ = true;
            if (e != net::error::eof) return abort();
            close();
            flush_soon();  // when it was closing before: there is nothing to wait for any more
            return;
        }
        if (state_ == state::closing) return read();  // dropped; the timer ends it
        segment_ = bytes_view{memory_}.first(size);
        next();
        if (front()) owner_->on_frame_waiting();
    }

    void next() {
        const auto frame = frames_.next(segment_);
        if (!frame) return close();
        front_ = *frame;
        if (!front_) read();
    }

    void flush_soon() {
        if (flushing_ || !writing_.empty()) return;
        flushing_ = true;
        net::post(socket_.get_executor(), [self = shared_from_this()] {
            self->flushing_ = false;
            self->flush();
        });
    }

    void flush() {
        if (state_ == state::ended || !writing_.empty()) return;
        if (queued_.empty()) {
            if (state_ == state::closing) end_output();
            return;
        }
        writing_.swap(queued_);
        net::async_write(socket_, net::buffer(writing_),
                         [self = shared_from_this()](const boost::system::error_code& e, std::size_t) {
                             self->writing_.clear();
                             if (e) return self->abort();
                             self->flush();
                         });
    }

    void end_output() {
        if (input_over_) return abort();  // both directions are over, and nothing is queued
        boost::system::error_code e;
        socket_.shutdown(tcp::socket::shutdown_send, e);
        if (e) abort();
    }

    tcp::socket socket_;
    net::steady_timer timer_;
    listener* owner_;
    transport_settings settings_;
    state state_ = state::open;
    bool reading_ = false;
    bool input_over_ = false;
    bool flushing_ = false;              // a flush is posted
    std::vector<std::uint8_t> queued_;   // frames with their lengths
    std::vector<std::uint8_t> writing_;  // what the write under way reads from
    wire::frame_reader<> frames_;
    std::optional<bytes_view> front_;  // in frames_ or in memory_
    bytes_view segment_;               // what of memory_ is not cut into frames yet
    std::array<std::uint8_t, 4096> memory_{};
};

static_assert(Transport<tcp_transport>);

}  // namespace paychan::asio
