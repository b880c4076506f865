// Thousands of connections that bring a server nothing, from one cheap loop: a process of its own.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

/// What the crowd is told, and what it tells, in memory that two processes share.
struct crowd_board {
    std::atomic<bool> wanted{false};
    std::atomic<std::uint64_t> connects{0};  // since the start
    std::atomic<std::uint64_t> failures{0};  // connects that this machine refused: descriptors, ports
};

/// A third says nothing, a third sends one byte a second of a frame that never ends, a third sends garbage once a second
/// and connects again when it is closed for that.  Each has its turn once a second, evenly spread.
class stranger_crowd {
public:
    static constexpr std::size_t per_address = 50;  // of 127.1.0.1, 127.1.0.2, ...

    stranger_crowd(std::size_t count, std::uint16_t port, crowd_board& board)
        : strangers_(count), board_(board), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
        server_.sin_family = AF_INET;
        server_.sin_port = htons(port);
        server_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        std::mt19937 random(1);  // the same garbage each time
        for (auto& b : garbage_) b = static_cast<std::uint8_t>(random());
        garbage_[0] = garbage_[1] = garbage_[2] = 0, garbage_[3] = 60;  // a frame, but no message
    }

    [[noreturn]] void run() {
        std::array<epoll_event, 256> events{};
        std::size_t turn = 0;
        auto second = std::chrono::steady_clock::now();
        for (;;) {
            const int patience = board_.wanted ? 1 : 20;  // [ms]
            const int n = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), patience);
            for (int i = 0; i < n; ++i) on_ready(events[static_cast<std::size_t>(i)].data.u64);
            if (!board_.wanted) {
                for (stranger& s : strangers_) leave(s);
                turn = 0;
                second = std::chrono::steady_clock::now();
                continue;
            }
            const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - second;
            const auto due = static_cast<std::size_t>(std::min(passed.count(), 1.0) * double(strangers_.size()));
            for (; turn < due; ++turn) act(turn);
            if (turn == strangers_.size()) turn = 0, second = std::chrono::steady_clock::now();
        }
    }

private:
    struct stranger {
        int socket = -1;
        std::uint32_t bytes = 0;  // sent on this connection
    };

    void act(std::size_t i) {
        stranger& s = strangers_[i];
        if (s.socket < 0) return connect(i);
        static constexpr std::array<std::uint8_t, 4> length{0, 0, 0x7f, 0xff};
        const std::uint8_t slow = s.bytes < length.size() ? length[s.bytes] : 0;
        if (i % 3 == 1) say(s, &slow, 1);
        if (i % 3 == 2) say(s, garbage_.data(), garbage_.size());
    }

    void connect(std::size_t i) {
        stranger& s = strangers_[i];
        s = {::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
        sockaddr_in from{};
        from.sin_family = AF_INET;
        from.sin_addr.s_addr = htonl(0x7f01'0001U + static_cast<std::uint32_t>(i / per_address));
        const int later = 1;  // the port is chosen when it is known for which peer: more of them are free
        ::setsockopt(s.socket, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &later, sizeof later);
        const bool begun = s.socket >= 0 && ::bind(s.socket, any(from), sizeof from) == 0 &&
                           (::connect(s.socket, any(server_), sizeof server_) == 0 || errno == EINPROGRESS);
        epoll_event event{};
        event.events = EPOLLIN | EPOLLRDHUP;
        event.data.u64 = i;
        if (!begun || ::epoll_ctl(epoll_, EPOLL_CTL_ADD, s.socket, &event) != 0) {
            ++board_.failures;
            return leave(s);
        }
        ++board_.connects;
    }

    /// What the server says does not matter; that it ended the connection does.
    void on_ready(std::size_t i) {
        stranger& s = strangers_[i];
        std::array<char, 512> heard{};
        const ssize_t size = ::recv(s.socket, heard.data(), heard.size(), 0);
        if (size > 0 || (size < 0 && errno == EAGAIN)) return;
        const bool had_its_say = s.bytes > 0;
        leave(s);
        if (i % 3 == 2 && had_its_say && board_.wanted) connect(i);
    }

    static void say(stranger& s, const std::uint8_t* bytes, std::size_t size) {
        if (::send(s.socket, bytes, size, MSG_NOSIGNAL) > 0) s.bytes += static_cast<std::uint32_t>(size);
    }

    static void leave(stranger& s) {
        if (s.socket >= 0) ::close(s.socket);
        s = {};
    }

    static const sockaddr* any(const sockaddr_in& a) { return reinterpret_cast<const sockaddr*>(&a); }

    std::vector<stranger> strangers_;
    crowd_board& board_;
    int epoll_;
    sockaddr_in server_{};
    std::array<std::uint8_t, 64> garbage_{};
};
