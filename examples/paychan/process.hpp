// What the tool asks of the process that it runs in.
#pragma once

#include <fcntl.h>

#include <csignal>

namespace tool {

/// A reader that goes away is an error and no signal.  What is closed of 0, 1
/// and 2 is not given to a store or to a connection, which our lines would go to.
inline void prepare_process() {
    std::signal(SIGPIPE, SIG_IGN);
    for (const int fd : {0, 1, 2})
        if (::fcntl(fd, F_GETFD) < 0) (void)::open("/dev/null", O_RDWR);  // takes the lowest that is free
}

}  // namespace tool
