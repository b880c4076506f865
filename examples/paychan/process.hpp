// What the tool asks of the process that it runs in.
#pragma once

#include <fcntl.h>

#include <csignal>

#include "options.hpp"
#include "paychan/asio/descriptors.hpp"

namespace tool {

/// As many open files as the system allows.  A reader that goes away is an error and no signal.  What is closed of 0, 1
/// and 2 is not given to a store or to a connection, which our lines would go to.
inline void prepare_process() {
    asio::raise_descriptor_limit();
    std::signal(SIGPIPE, SIG_IGN);
    for (const int fd : {0, 1, 2})
        if (::fcntl(fd, F_GETFD) < 0) (void)::open("/dev/null", O_RDWR);  // takes the lowest that is free
}

}  // namespace tool
