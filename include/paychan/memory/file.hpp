// What the files of memory/ share: a descriptor that closes itself, and writes that are on disk when they return.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "paychan/core/bytes.hpp"
#include "paychan/core/result.hpp"

namespace paychan::detail {

/// Owns a file's descriptor; below 0 it owns none.
class open_file {
public:
    open_file() = default;
    explicit open_file(int descriptor) : descriptor_(descriptor) {}
    open_file(open_file&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
    open_file& operator=(open_file&& other) noexcept {
        std::swap(descriptor_, other.descriptor_);
        return *this;
    }
    ~open_file() {
        if (descriptor_ >= 0) ::close(descriptor_);
    }
    [[nodiscard]] int get() const { return descriptor_; }
    void release() { descriptor_ = -1; }
    [[nodiscard]] bool ok() const { return descriptor_ >= 0; }

private:
    int descriptor_ = -1;
};

/// False, with errno, when not all could be written.
[[nodiscard]] inline bool write_all(int descriptor, bytes_view bytes) {
    while (!bytes.empty()) {
        const auto n = ::write(descriptor, bytes.data(), bytes.size());
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        bytes = bytes.subspan(static_cast<std::size_t>(n));
    }
    return true;
}

/// Of a file its content, of a folder its names.  False, with errno, when they may not be on disk.
[[nodiscard]] inline bool sync(int descriptor) {
#ifdef F_FULLFSYNC
    if (::fcntl(descriptor, F_FULLFSYNC) == 0) return true;  // on macOS fsync alone does not reach the disk
#endif
    return ::fsync(descriptor) == 0;
}

/// Makes the name of a new file survive a power cut: without it the file is there, but the folder does not know it.
[[nodiscard]] inline bool sync_folder_of(const std::string& path) {
    const auto slash = path.rfind('/');
    const std::string folder = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
    const open_file f(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    return f.ok() && sync(f.get());
}

inline constexpr std::string_view unfinished = ".new";  // behind the name of a file that is being written

/// Writes a file, mode 0600, as a whole or not at all; the folder is still to be synced.  Gives 0, or errno.
/// begun  what it is called until it is whole; no other process may write to that name
[[nodiscard]] inline int write_whole(int folder, const std::string& begun, const std::string& name, bytes_view bytes) {
    int why = 0;
    {
        const open_file file(
            ::openat(folder, begun.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, mode_t{0600}));
        if (!file.ok() || !write_all(file.get(), bytes) || !sync(file.get())) why = errno;
    }
    if (why == 0 && ::renameat(folder, begun.c_str(), folder, name.c_str()) != 0) why = errno;
    if (why != 0) ::unlinkat(folder, begun.c_str(), 0);
    return why;
}

/// For a folder that only one process writes to.
[[nodiscard]] inline int write_whole(int folder, const std::string& name, bytes_view bytes) {
    return write_whole(folder, name + std::string(unfinished), name, bytes);
}

/// What a plain file holds.
/// folder   a descriptor, or AT_FDCWD
/// longest  [bytes]
/// why      errno of a failure that the system has words for, else 0
/// Fails    not_found, corrupt_record (not a plain file, or longer than that), store_failed.
[[nodiscard]] inline result<std::vector<std::uint8_t>> read_whole(int folder, const std::string& name,
                                                                  std::size_t longest, int& why) {
    why = 0;
    const auto failed = [&why](std::string_view text) {
        why = errno;
        return fail(errc::store_failed, text);
    };
    // O_NONBLOCK: a FIFO of that name must not hang us.
    const open_file file(::openat(folder, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!file.ok() && errno == ENOENT) return fail(errc::not_found, "there is no such file");
    if (!file.ok() && errno == ELOOP) return fail(errc::corrupt_record, "the file is a link");
    if (!file.ok()) return failed("the file cannot be opened");
    struct stat about {};
    if (::fstat(file.get(), &about) != 0) return failed("the file cannot be read");
    if (!S_ISREG(about.st_mode)) return fail(errc::corrupt_record, "this is no plain file");
    if (static_cast<std::uintmax_t>(about.st_size) > longest)
        return fail(errc::corrupt_record, "the file is longer than any of ours");
    std::vector<std::uint8_t> out(static_cast<std::size_t>(about.st_size));
    std::size_t size = 0;
    while (size < out.size()) {
        const auto n = ::read(file.get(), out.data() + size, out.size() - size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return failed("the file cannot be read");
        if (n == 0) break;
        size += static_cast<std::size_t>(n);
    }
    out.resize(size);
    return out;
}

}  // namespace paychan::detail
