// A TCP server that answers HTTP as a test tells it to, well or badly, on the test's own io_context.
#pragma once

#include <boost/asio.hpp>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "paychan/bitcoind/json.hpp"
#include "paychan/bitcoind/url.hpp"

namespace fake {

namespace asio = boost::asio;
using paychan::bitcoind::json;

struct request {
    std::string head;  ///< request line and headers
    json body;
    [[nodiscard]] std::string method() const { return body.value("method", ""); }
};

/// What is sent, byte for byte, in these pieces, each in a write of its own; and whether the connection ends then.
struct reply {
    std::vector<std::string> pieces;
    bool close = false;
};

inline reply http(unsigned status, const std::string& body) {
    return {{"HTTP/1.1 " + std::to_string(status) + " Any\r\nContent-Type: application/json\r\nContent-Length: " +
             std::to_string(body.size()) + "\r\n\r\n" + body}};
}
inline reply ok(const request& r, const json& result) {
    return http(200, json{{"result", result}, {"error", nullptr}, {"id", r.body["id"]}}.dump());
}
inline reply error(const request& r, int code, const std::string& message, unsigned status = 500) {
    return http(
        status,
        json{{"result", nullptr}, {"error", {{"code", code}, {"message", message}}}, {"id", r.body["id"]}}.dump());
}

class node {
public:
    using handler = std::function<reply(const request&)>;

    node(asio::io_context& io, handler answer)
        : io_(io), acceptor_(io, {asio::ip::address_v4::loopback(), 0}), answer_(std::move(answer)) {
        port_ = acceptor_.local_endpoint().port();
        accept();
    }
    ~node() { down(); }

    [[nodiscard]] paychan::bitcoind::node_address address() const {
        return *paychan::bitcoind::parse_node_address("rpc:http://user:pass@127.0.0.1:" + std::to_string(port_));
    }
    [[nodiscard]] std::size_t connections() const { return accepted_; }
    void answer_with(handler h) { answer_ = std::move(h); }
    void delay_with(std::function<std::chrono::milliseconds(const request&)> f) { delay_ = std::move(f); }

    /// Ends the connections, not the listening: what a node does with one that was idle for too long.
    void hang_up() {
        for (const auto& weak : open_)
            if (const auto c = weak.lock()) c->socket.close();
        open_.clear();
    }
    void down() {
        acceptor_.close();
        hang_up();
    }
    void up() {
        acceptor_ = asio::ip::tcp::acceptor(io_, {asio::ip::address_v4::loopback(), port_});
        accept();
    }

private:
    struct connection {
        explicit connection(asio::ip::tcp::socket s) : socket(std::move(s)), timer(socket.get_executor()) {
            socket.set_option(asio::ip::tcp::no_delay(true));
        }
        asio::ip::tcp::socket socket;
        asio::steady_timer timer;
        std::string in;
        reply out;
        std::size_t piece = 0;
    };
    using connection_ptr = std::shared_ptr<connection>;

    void accept() {
        acceptor_.async_accept([this](boost::system::error_code ec, asio::ip::tcp::socket s) {
            if (ec) return;
            ++accepted_;
            const auto c = std::make_shared<connection>(std::move(s));
            open_.push_back(c);
            read(c);
            accept();
        });
    }

    void read(const connection_ptr& c) {
        asio::async_read_until(
            c->socket, asio::dynamic_buffer(c->in), "\r\n\r\n", [this, c](boost::system::error_code ec, std::size_t n) {
                if (ec) return;
                request r{c->in.substr(0, n), {}};
                c->in.erase(0, n);
                const auto at = r.head.find("Content-Length: ");
                const auto size = static_cast<std::size_t>(std::stoul(r.head.substr(at + 16)));
                const std::size_t missing = size > c->in.size() ? size - c->in.size() : 0;
                asio::async_read(c->socket, asio::dynamic_buffer(c->in), asio::transfer_exactly(missing),
                                 [this, c, r, size](boost::system::error_code e, std::size_t) mutable {
                                     if (e) return;
                                     r.body = json::parse(c->in.substr(0, size));
                                     c->in.erase(0, size);
                                     c->out = answer_(r);
                                     c->piece = 0;
                                     if (!delay_) return write(c);
                                     c->timer.expires_after(delay_(r));
                                     c->timer.async_wait([this, c](boost::system::error_code) { write(c); });
                                 });
            });
    }

    void write(const connection_ptr& c) {
        if (c->piece == c->out.pieces.size()) {
            if (c->out.close) return c->socket.close();
            return read(c);
        }
        asio::async_write(c->socket, asio::buffer(c->out.pieces[c->piece++]),
                          [this, c](boost::system::error_code ec, std::size_t) {
                              if (!ec) asio::post(io_, [this, c] { write(c); });
                          });
    }

    asio::io_context& io_;
    asio::ip::tcp::acceptor acceptor_;
    handler answer_;
    std::function<std::chrono::milliseconds(const request&)> delay_;
    std::uint16_t port_ = 0;
    std::size_t accepted_ = 0;
    std::vector<std::weak_ptr<connection>> open_;
};

/// Runs until `done()`, at most 10 s.  Returns done().
template <class Done>
bool run_until(asio::io_context& io, Done done) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!done() && std::chrono::steady_clock::now() < end) {
        io.restart();
        io.run_one_for(std::chrono::milliseconds(100));
    }
    return done();
}

}  // namespace fake
