// What tests of files and of several processes need: a folder that goes away, a child, and life without root's rights.
#pragma once

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace paychan_test {

namespace fs = std::filesystem;

struct temporary_folder {
    fs::path path;
    temporary_folder() {
        std::string name = (fs::temp_directory_path() / "paychan.XXXXXX").string();
        REQUIRE(::mkdtemp(name.data()) != nullptr);
        path = name;
    }
    ~temporary_folder() { fs::remove_all(path); }
    temporary_folder(const temporary_folder&) = delete;
    temporary_folder& operator=(const temporary_folder&) = delete;
    [[nodiscard]] std::string file(const std::string& name = "store.db") const { return (path / name).string(); }
};

inline std::set<std::string> names_in(const fs::path& folder) {
    std::set<std::string> out;
    for (const auto& f : fs::directory_iterator(folder)) out.insert(f.path().filename().string());
    return out;
}

inline unsigned mode_of(const fs::path& path) { return static_cast<unsigned>(fs::status(path).permissions()) & 07777; }

/// Root may do everything; these tests ask what others may.
struct without_privileges {
    explicit without_privileges(const fs::path& folder) {
        if (was_ != 0) return;
        for (const auto& f : fs::directory_iterator(folder)) REQUIRE(::chown(f.path().c_str(), nobody, nobody) == 0);
        REQUIRE(::chown(folder.c_str(), nobody, nobody) == 0);
        REQUIRE(::seteuid(nobody) == 0);
    }
    ~without_privileges() {
        if (was_ == 0) (void)!::seteuid(0);
    }
    without_privileges(const without_privileges&) = delete;
    without_privileges& operator=(const without_privileges&) = delete;

private:
    static constexpr unsigned nobody = 65534;
    uid_t was_ = ::geteuid();
};

/// Another process, which runs `body` with one end of a socket pair.
struct child {
    pid_t pid = -1;
    int channel = -1;

    explicit child(const std::function<void(int)>& body) {
        int ends[2];
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
        pid = ::fork();
        REQUIRE(pid >= 0);
        if (pid == 0) {
            ::close(ends[0]);
            body(ends[1]);
            ::_exit(0);
        }
        ::close(ends[1]);
        channel = ends[0];
    }
    ~child() {
        if (pid >= 0) ::kill(pid, SIGKILL);  // a test that failed does not wait for it
        end();
    }
    child(const child&) = delete;
    child& operator=(const child&) = delete;

    /// The next byte or number that the child wrote; nothing at its end.
    template <class T>
    std::optional<T> next() const {
        T value{};
        if (::recv(channel, &value, sizeof value, MSG_WAITALL) != ssize_t{sizeof value}) return std::nullopt;
        return value;
    }
    /// Waits for its end.  Returns its exit status, or -1 when it was killed.
    int end() {
        if (channel >= 0) ::close(channel);
        channel = -1;
        if (pid < 0) return 0;
        int status = 0;
        ::waitpid(pid, &status, 0);
        pid = -1;
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }
};

inline void tell(int channel, const auto& value) { (void)!::send(channel, &value, sizeof value, MSG_NOSIGNAL); }

inline std::vector<std::uint8_t> read_file(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

inline void write_file(const std::string& path, const std::string& content) {
    std::ofstream(path, std::ios::binary) << content;
}

}  // namespace paychan_test
