// Random bytes from the operating system.
#pragma once

#include <sys/random.h>

#include <cerrno>

#include "paychan/core/bytes.hpp"
#include "paychan/core/result.hpp"

namespace paychan {

/// Fills `out` with bytes that are fit for keys.  Waits, at the machine's start only, until the kernel has enough.
/// Fails   key_unavailable (the kernel gives none); `out` is then not to be used.
/// Source  getrandom(2)
[[nodiscard]] inline result<void> fill_random(bytes_span out) {
    while (!out.empty()) {
        const auto n = ::getrandom(out.data(), out.size(), 0);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return fail(errc::key_unavailable, "the operating system gives no random bytes");
        out = out.subspan(static_cast<std::size_t>(n));
    }
    return {};
}

}  // namespace paychan
