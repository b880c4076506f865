// The file descriptors that strangers may take, and those that they may not.
#pragma once

#include <sys/resource.h>

#include <algorithm>
#include <cstddef>

namespace paychan::asio {

/// How many of `wanted` connections fit under the process's limit of open files (RLIMIT_NOFILE), when so many descriptors
/// are to stay for its store, its node and its files: without those no settlement leaves.  Of a very low limit connections
/// get half.
[[nodiscard]] inline std::size_t connections_that_fit(std::size_t wanted, std::size_t reserve) {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return wanted;
    const auto all = static_cast<std::size_t>(limit.rlim_cur);
    return std::min(wanted, all - std::min(reserve, all / 2));
}

/// Lets the process have as many as the system allows it.
inline void raise_descriptor_limit() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);  // what it was will do too: see above
}

}  // namespace paychan::asio
