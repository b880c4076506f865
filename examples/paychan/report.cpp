#include "report.hpp"

#include <unistd.h>

#include <iostream>

namespace tool {

void report::end_progress() {
    if (progress_shown_ && isatty(STDOUT_FILENO) != 0) std::cout << '\n';
    progress_shown_ = false;
}

void report::event(const json& object, const std::string& line) {
    if (json_)
        std::cout << object.dump(-1, ' ', false, json::error_handler_t::replace) << std::endl;
    else if (!line.empty())
        say(line);
}

void report::say(const std::string& line) {
    if (json_) return;
    end_progress();
    std::cout << line << std::endl;
}

void report::progress(std::string_view what, std::uint64_t done, std::uint64_t all) {
    if (json_) return;
    const bool terminal = isatty(STDOUT_FILENO) != 0;
    const auto now = std::chrono::steady_clock::now();
    if (now < next_progress_ && done != all) return;
    if (next_progress_ == std::chrono::steady_clock::time_point{} && !terminal) {
        next_progress_ = now + std::chrono::seconds(5);  // short work needs no progress line in a log
        return;
    }
    next_progress_ = now + (terminal ? std::chrono::milliseconds(100) : std::chrono::milliseconds(5000));
    std::cout << (terminal ? "\r" : "") << what << ' ' << done << " of " << all << (terminal ? "   " : "\n")
              << std::flush;
    progress_shown_ = true;
}

void report::error(std::string_view code, const std::string& explanation) {
    error_event({{"event", "error"}, {"code", code}, {"explanation", explanation}},
                explanation + " (" + std::string(code) + ")");
}

void report::error_event(const json& object, const std::string& line) {
    if (json_) return event(object, {});
    end_progress();
    std::cerr << "paychan: " << line << std::endl;
}

}  // namespace tool
