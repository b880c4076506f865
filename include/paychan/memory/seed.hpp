// The seed file: 32 random bytes that every key comes from, as hex in a file that only its owner can read.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <string_view>

#include "paychan/core/hex.hpp"
#include "paychan/core/result.hpp"
#include "paychan/core/secret.hpp"
#include "paychan/memory/file.hpp"
#include "paychan/memory/random.hpp"

namespace paychan {

/// Whoever has these bytes has the money.  Wiped when it dies.
using seed_bytes = secret<bytes32>;

/// Makes a new seed and its file, mode 0600; both are on disk when it returns.
/// Fails  invalid_argument (the file exists already: it is never overwritten), store_failed (it cannot be written; what
///        was begun is removed), key_unavailable (no random bytes).
[[nodiscard]] inline result<seed_bytes> create_seed(const std::string& path) {
    seed_bytes made;
    PAYCHAN_CHECK(fill_random(made.edit()));
    secret<std::array<char, 65>> text;  // 64 digits and the end of the line
    PAYCHAN_CHECK(to_hex(made.reveal(), text.edit()));
    text.edit()[64] = '\n';

    // O_EXCL: two starts at once make one seed, and an old seed, which may hold money, is never replaced.
    const detail::open_file file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!file.ok() && errno == EEXIST)
        return fail(errc::invalid_argument, "the seed file exists already: load it, or choose another name");
    if (!file.ok())
        return fail(errc::store_failed, "cannot make the seed file: check its folder and your rights there");

    const auto& t = text.reveal();
    const bytes_view bytes{reinterpret_cast<const std::uint8_t*>(t.data()), t.size()};
    if (detail::write_all(file.get(), bytes) && detail::sync(file.get()) && detail::sync_folder_of(path)) return made;
    ::unlink(path.c_str());  // a seed that may not survive a power cut must not receive money
    return fail(errc::store_failed, "cannot write the seed file: the disk may be full");
}

/// Reads the seed that `create_seed` wrote.
/// Fails  not_found (no such file), invalid_argument (others may read it, or it is no plain file), malformed (not 64
///        hex digits), store_failed.
[[nodiscard]] inline result<seed_bytes> load_seed(const std::string& path) {
    // O_NONBLOCK: a FIFO of that name must not hang us.
    const detail::open_file file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!file.ok() && (errno == ENOENT || errno == ENOTDIR)) return fail(errc::not_found, "there is no such seed file");
    if (!file.ok()) return fail(errc::store_failed, "cannot open the seed file: check that it is yours");

    struct stat about {};
    if (::fstat(file.get(), &about) != 0) return fail(errc::store_failed, "cannot examine the seed file");
    if (!S_ISREG(about.st_mode)) return fail(errc::invalid_argument, "the seed file is not a plain file");
    if ((about.st_mode & 077) != 0)
        return fail(errc::invalid_argument,
                    "others may read the seed file: run chmod 600 FILE, with its name for FILE");

    secret<std::array<char, 80>> text;  // 64 digits, the end of the line, and room to notice more
    std::size_t size = 0;
    while (size < text.reveal().size()) {
        const auto n = ::read(file.get(), text.edit().data() + size, text.reveal().size() - size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail(errc::store_failed, "cannot read the seed file");
        if (n == 0) break;
        size += static_cast<std::size_t>(n);
    }
    std::string_view digits(text.reveal().data(), size);
    while (!digits.empty() && (digits.back() == '\n' || digits.back() == '\r')) digits.remove_suffix(1);
    if (digits.size() != 64) return fail(errc::malformed, "the seed file does not hold 64 hex digits");
    seed_bytes out;
    if (!from_hex(digits, out.edit())) return fail(errc::malformed, "the seed file does not hold 64 hex digits");
    return out;
}

}  // namespace paychan
