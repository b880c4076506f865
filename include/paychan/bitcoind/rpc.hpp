// JSON-RPC over HTTP to a node: a queue of requests, one connection that is kept, every answer read whatever its
// status.
#pragma once

#include <algorithm>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "paychan/bitcoind/base64.hpp"
#include "paychan/bitcoind/json.hpp"
#include "paychan/bitcoind/rpc_error.hpp"
#include "paychan/bitcoind/url.hpp"

namespace paychan::bitcoind {

struct rpc_settings {
    std::chrono::milliseconds timeout{30'000};  ///< for one request, from looking up the host to the last byte
    /// A node that is there and needs longer is given twice the time with each further attempt, up to this.
    std::chrono::milliseconds longest_timeout{600'000};
    std::size_t max_answer = std::size_t{32} << 20;  ///< [bytes] a block of 4 MB travels as 8 MB of hex
    std::size_t max_queue = 1'000;                   ///< requests that wait; more fail at once with `queue_full`
};

/// Calls a node.  Use it, and run its io_context, from one thread.
///     rpc_client rpc(io, address);
///     rpc.call("getblockhash", json::array({100}), [](rpc_result r) { ... });
/// Requests go one by one, in order.  When the node cannot be reached, or does not answer in time, all that wait fail
/// with it; the next call tries anew, with more patience if the node was there and slow.
class rpc_client {
public:
    using completion = std::function<void(rpc_result)>;

    rpc_client(boost::asio::io_context& io, node_address node, rpc_settings settings = {})
        : state_(std::make_shared<state>(io, std::move(node), settings)) {}
    rpc_client(const rpc_client&) = delete;
    rpc_client& operator=(const rpc_client&) = delete;
    ~rpc_client() { stop(); }

    /// Asks.  `done` is called once, later, from the io_context; never after stop().
    void call(std::string_view method, json params, completion done) {
        state_->add(method, std::move(params), std::move(done));
    }

    /// Drops what waits, without calling anyone, and closes the connection: the io_context runs out of work.
    void stop() { state_->stop(); }

private:
    struct request {
        std::uint64_t id = 0;
        std::string method;
        std::string body;
        completion done;
    };

    /// One TCP connection and what is under way on it.  A handler that finds another one current has come too late.
    struct connection {
        explicit connection(boost::asio::io_context& io) : resolver(io), socket(io) {}
        boost::asio::ip::tcp::resolver resolver;
        boost::asio::ip::tcp::socket socket;
        boost::beast::flat_buffer buffer;
        boost::beast::http::request<boost::beast::http::string_body> out;
        std::optional<boost::beast::http::response_parser<boost::beast::http::string_body>> in;
        bool connected = false;
        bool used = false;  ///< has carried an answer before: the node may have closed it meanwhile
    };
    using connection_ptr = std::shared_ptr<connection>;
    using error_code = boost::system::error_code;
    using clock = std::chrono::steady_clock;

    struct state : std::enable_shared_from_this<state> {
        state(boost::asio::io_context& io, node_address node, rpc_settings settings)
            : io_(io), node_(std::move(node)), settings_(settings), timeout_(settings.timeout), timer_(io) {}

        void add(std::string_view method, json params, completion done) {
            if (stopped_) return;
            if (queue_.size() >= settings_.max_queue) {
                boost::asio::post(io_, [self = shared_from_this(), done = std::move(done)] {
                    if (!self->stopped_) done(fail_rpc(rpc_failure::queue_full, "too many requests wait for the node"));
                });
                return;
            }
            const std::uint64_t id = ++last_id_;
            const json body{{"jsonrpc", "1.0"}, {"id", id}, {"method", method}, {"params", std::move(params)}};
            queue_.push_back(
                {id, std::string(method), body.dump(-1, ' ', false, json::error_handler_t::replace), std::move(done)});
            if (queue_.size() == 1) boost::asio::post(io_, [self = shared_from_this()] { self->next(); });
        }

        void stop() {
            stopped_ = true;
            timer_.cancel();
            drop_connection();
            queue_.clear();
        }

    private:
        /// Sends the request at the front, unless one is under way.
        void next() {
            if (stopped_ || busy_ || queue_.empty()) return;
            busy_ = true;
            began_ = clock::now();
            timer_.expires_after(timeout_);
            timer_.async_wait([self = shared_from_this(), id = queue_.front().id](error_code ec) {
                // An expiry that was already on its way when the answer came must not end the next request.
                if (!ec && self->busy_ && !self->queue_.empty() && self->queue_.front().id == id) self->too_slow();
            });
            if (connection_)
                send(connection_);
            else
                connect();
        }

        void connect() {
            const auto login = read_login(node_);
            if (!login) return lost(std::string(login.error().text));
            authorization_ = secret_text("Basic " + base64(login->reveal()));
            const auto c = connection_ = std::make_shared<connection>(io_);
            c->resolver.async_resolve(node_.host, std::to_string(node_.port),
                                      [self = shared_from_this(), c](error_code ec, const auto& found) {
                                          if (self->connection_ != c) return;
                                          if (ec) return self->lost("the node's host is not found: " + ec.message());
                                          self->connect_to(c, found);
                                      });
        }

        void connect_to(const connection_ptr& c, const boost::asio::ip::tcp::resolver::results_type& found) {
            boost::asio::async_connect(c->socket, found, [self = shared_from_this(), c](error_code ec, const auto&) {
                if (self->connection_ != c) return;
                if (ec) return self->lost("cannot connect to the node: " + ec.message());
                c->connected = true;
                error_code ignored;
                c->socket.set_option(boost::asio::ip::tcp::no_delay(true), ignored);
                self->send(c);
            });
        }

        void send(const connection_ptr& c) {
            namespace http = boost::beast::http;
            const bool v6 = node_.host.find(':') != std::string::npos;
            c->out = {http::verb::post, "/", 11};
            c->out.set(http::field::host,
                       (v6 ? '[' + node_.host + ']' : node_.host) + ':' + std::to_string(node_.port));
            c->out.set(http::field::authorization, authorization_.reveal());
            c->out.set(http::field::content_type, "application/json");
            c->out.body() = queue_.front().body;
            c->out.prepare_payload();
            http::async_write(c->socket, c->out, [self = shared_from_this(), c](error_code ec, std::size_t) {
                if (self->connection_ != c) return;
                // A node may answer, say with 401, and close before it has read all: look for the answer all the same.
                self->receive(c, ec);
            });
        }

        void receive(const connection_ptr& c, error_code sent) {
            namespace http = boost::beast::http;
            c->in.emplace();
            c->in->body_limit(settings_.max_answer);
            http::async_read(c->socket, c->buffer, *c->in,
                             [self = shared_from_this(), c, sent](error_code ec, std::size_t bytes) {
                                 if (self->connection_ == c) self->received(c, sent ? sent : ec, ec, bytes);
                             });
        }

        void received(const connection_ptr& c, error_code cause, error_code ec, std::size_t bytes) {
            namespace http = boost::beast::http;
            if (ec == http::error::body_limit || ec == http::error::header_limit) {
                drop_connection();
                return finish(fail_rpc(rpc_failure::bad_answer, "the node's answer is too long"));
            }
            if (ec) {
                // A kept connection that the node has closed since: once more, on a new one.  All that we ask may run
                // twice; a transaction that is sent again is already known.
                if (c->used && bytes == 0 && !c->in->got_some()) {
                    drop_connection();
                    return connect();
                }
                if (ec.category() == http::make_error_code(http::error::bad_version).category() &&
                    ec != http::error::end_of_stream && ec != http::error::partial_message) {
                    drop_connection();
                    return finish(fail_rpc(rpc_failure::bad_answer, "what answers at the node's address is not HTTP"));
                }
                return lost("the connection to the node broke: " + cause.message());
            }
            c->used = true;
            if (queue_.front().method == slow_) next_timeout();
            const auto answer = c->in->release();
            const unsigned status = answer.result_int();
            // Bytes after the answer are no answer to the next request.
            if (!c->in->keep_alive() || status == 401 || c->buffer.size() > 0) drop_connection();
            rpc_result result = read_answer(status, answer.body(), queue_.front().id);
            if (!result && result.error().failure == rpc_failure::unauthorized) return fail_all(result.error());
            if (!result && result.error().failure == rpc_failure::forbidden)
                result.error().message += ": " + queue_.front().method;
            finish(std::move(result));
        }

        void drop_connection() {
            if (!connection_) return;
            error_code ignored;
            connection_->resolver.cancel();
            connection_->socket.close(ignored);
            connection_.reset();
        }

        /// Ends the request at the front.  The next one is on its way before `done` runs, so that the node works
        /// meanwhile.
        void finish(rpc_result result) {
            timer_.cancel();
            busy_ = false;
            const completion done = std::move(queue_.front().done);
            queue_.pop_front();
            next();
            done(std::move(result));
        }

        /// The next answer to what was slow may take as long, and twice.
        void next_timeout() {
            const auto taken = std::chrono::ceil<std::chrono::milliseconds>(clock::now() - began_);
            timeout_ = std::clamp(2 * taken, settings_.timeout, std::max(settings_.timeout, timeout_));
        }

        /// Asking again with the same patience would ask for ever.
        void too_slow() {
            if (!connection_ || !connection_->connected) return lost("the node does not answer in time");
            const auto waited = std::chrono::ceil<std::chrono::seconds>(timeout_).count();
            timeout_ = std::max(timeout_, std::min(2 * timeout_, settings_.longest_timeout));
            slow_ = queue_.front().method;
            fail_all(
                {rpc_failure::too_slow, 0,
                 "the node has not answered " + queue_.front().method + " within " + std::to_string(waited) + " s"});
        }

        void lost(std::string text) { fail_all({rpc_failure::unreachable, 0, std::move(text)}); }

        void fail_all(const rpc_error& e) {
            timer_.cancel();
            drop_connection();
            busy_ = false;
            // Each from the loop: one that throws must not keep the others from hearing.
            for (request& r : std::exchange(queue_, {}))
                boost::asio::post(io_, [self = shared_from_this(), done = std::move(r.done), e] {
                    if (!self->stopped_) done(tl::make_unexpected(e));
                });
        }

        boost::asio::io_context& io_;
        node_address node_;
        rpc_settings settings_;
        std::chrono::milliseconds timeout_;
        std::string slow_;           // the method for which it was raised
        clock::time_point began_{};  // the request at the front
        boost::asio::steady_timer timer_;
        secret_text authorization_;
        connection_ptr connection_;
        std::deque<request> queue_;  // the front one is under way while busy_
        std::uint64_t last_id_ = 0;
        bool busy_ = false;
        bool stopped_ = false;
    };

    std::shared_ptr<state> state_;
};

}  // namespace paychan::bitcoind
