// Lines for a reader that may be slow, asleep or gone: a side that guards money does not wait for it.
#pragma once

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

namespace paychan {

/// What happens to a line when too many wait for their reader.
enum class when_full : std::uint8_t {
    wait,  ///< whoever writes waits: for a program that ends when all is said
    drop   ///< the line is dropped and counted: for a program that must go on
};

/// Writes lines to a descriptor from a thread of its own, one write() a line: a pipe, a terminal and a disk may each stop
/// whoever writes to them, and O_NONBLOCK would change them for all processes that share them.
/// What was lost, because nobody read or the disk was full, is told in one line as soon as lines can be written again.
/// Ignore SIGPIPE: a reader that is gone is a failure like others.
class line_writer {
public:
    using milliseconds = std::chrono::milliseconds;

    static constexpr std::size_t most = 1 << 20;   ///< [bytes] that wait for the reader, before `full` applies
    static constexpr milliseconds parting{1'000};  ///< for the last lines, where lines may be dropped

    /// fd         borrowed
    /// lost_line  tells how many lines were lost; called in the thread, maybe after this object is gone
    line_writer(int fd, when_full full, std::function<std::string(std::uint64_t lines)> lost_line)
        : full_(full), state_(std::make_shared<state>()) {
        state_->fd = fd;
        state_->lost_line = std::move(lost_line);
        thread_ = std::thread([s = state_] { s->run(); });  // now: later there may be no room for one
    }
    line_writer(const line_writer&) = delete;
    line_writer& operator=(const line_writer&) = delete;

    /// Ends as finish() does.  A thread that its reader still holds then is left to the end of the process.
    ~line_writer() {
        (void)finish();
        bool idle = false;
        {
            const std::lock_guard lock(state_->mutex);
            state_->ended = true;
            idle = !state_->work;
        }
        state_->changed.notify_all();
        idle ? thread_.join() : thread_.detach();
    }

    /// text  with its line end
    void write(std::string text) {
        {
            std::unique_lock lock(state_->mutex);
            const auto is_full = [this] { return state_->bytes >= most; };
            if (full_ == when_full::wait) state_->changed.wait(lock, [&] { return !is_full(); });
            if (state_->lost > 0 || is_full())
                ++state_->lost;
            else
                state_->push(std::move(text));
            state_->work = true;
        }
        state_->changed.notify_all();
    }

    /// Waits until all has been written or is lost, or until `limit` has passed.  True when nothing is left to do.
    bool drain(milliseconds limit) {
        std::unique_lock lock(state_->mutex);
        return state_->changed.wait_for(lock, limit, [this] { return !state_->work; });
    }

    /// The same for the end: waits for as long as it takes, or for `parting` where lines may be dropped.
    /// Returns  errno of a write that failed; ETIMEDOUT: lines are left; 0: all was written.
    int finish() {
        if (full_ == when_full::drop && !drain(parting)) return ETIMEDOUT;
        std::unique_lock lock(state_->mutex);
        state_->changed.wait(lock, [this] { return !state_->work; });
        return state_->failure;
    }

private:
    struct state {
        int fd = -1;
        std::function<std::string(std::uint64_t)> lost_line;
        std::mutex mutex;  // of all below
        std::condition_variable changed;
        std::deque<std::string> lines;
        std::size_t bytes = 0;  // of `lines`
        std::uint64_t lost = 0;
        int failure = 0;    // errno
        bool work = false;  // from a write() until the thread has done what it can
        bool ended = false;
        bool torn = false;  // the thread's: half a line was written

        [[nodiscard]] static std::size_t cost(const std::string& line) { return sizeof line + line.size(); }

        void push(std::string line) {
            bytes += cost(line);
            lines.push_back(std::move(line));
        }

        void run() {
            std::unique_lock lock(mutex);
            while (true) {
                changed.wait(lock, [this] { return work || ended; });
                while (!lines.empty() || lost > 0)
                    if (!write_one(lock)) break;  // tried again with the next line
                work = false;
                changed.notify_all();
                if (ended) return;
            }
        }

        /// The first line; or, behind all that were kept, how many were lost.
        [[nodiscard]] bool write_one(std::unique_lock<std::mutex>& lock) {
            const bool tells = lines.empty();
            const std::uint64_t count = tells ? std::exchange(lost, 0) : 1;
            std::string line;
            if (!tells) {
                line = std::move(lines.front());
                lines.pop_front();
                bytes -= cost(line);
            }
            lock.unlock();
            if (tells) line = lost_line(count);
            const int error = write_all(torn ? "\n" + line : line);
            lock.lock();
            if (error != 0) {
                failure = error;
                lost += count + lines.size();
                lines.clear();
                bytes = 0;
            }
            changed.notify_all();
            return error == 0;
        }

        /// Returns  errno, or 0.
        [[nodiscard]] int write_all(std::string_view text) {
            while (!text.empty()) {
                const ssize_t n = ::write(fd, text.data(), text.size());
                if (n < 0 && errno == EINTR) continue;
                if (n < 0 && errno == EAGAIN) {  // another process made it so
                    pollfd writable{fd, POLLOUT, 0};
                    (void)::poll(&writable, 1, 1'000);
                    continue;
                }
                if (n <= 0) return n < 0 ? errno : EIO;
                text.remove_prefix(static_cast<std::size_t>(n));
                torn = !text.empty();
            }
            return 0;
        }
    };

    when_full full_;
    std::shared_ptr<state> state_;
    std::thread thread_;
};

}  // namespace paychan
