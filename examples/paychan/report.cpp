#include "report.hpp"

#include <unistd.h>

namespace tool {

namespace {

[[nodiscard]] bool is_terminal() { return isatty(STDOUT_FILENO) != 0; }

[[nodiscard]] std::string line_of(const json& object) {
    return object.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

[[nodiscard]] line_writer writer(int fd, when_full full, bool as_json) {
    return {fd, full, [as_json](std::uint64_t lines) {
                if (as_json) return line_of({{"event", "lines_lost"}, {"lines", lines}});
                return "paychan: " + std::to_string(lines) +
                       " lines were lost here: nobody read them, or they could not be written\n";
            }};
}

}  // namespace

report::report(bool as_json, when_full full)
    : json_(as_json), out_(writer(STDOUT_FILENO, full, as_json)), err_(writer(STDERR_FILENO, full, false)) {}

void report::end_progress() {
    if (progress_shown_ && is_terminal()) out_.write("\n");
    progress_shown_ = false;
}

void report::event(const json& object, const std::string& line) {
    if (json_)
        out_.write(line_of(object));
    else if (!line.empty())
        say(line);
}

void report::say(const std::string& line) {
    if (json_) return;
    end_progress();
    out_.write(line + "\n");
}

void report::progress(std::string_view what, std::uint64_t done, std::uint64_t all) {
    if (json_) return;
    const bool terminal = is_terminal();
    const auto now = std::chrono::steady_clock::now();
    if (now < next_progress_ && done != all) return;
    if (next_progress_ == std::chrono::steady_clock::time_point{} && !terminal) {
        next_progress_ = now + std::chrono::seconds(5);  // short work needs no progress line in a log
        return;
    }
    next_progress_ = now + (terminal ? std::chrono::milliseconds(100) : std::chrono::milliseconds(5000));
    out_.write((terminal ? "\r" : "") + std::string(what) + ' ' + std::to_string(done) + " of " + std::to_string(all) +
               (terminal ? "   " : "\n"));
    progress_shown_ = true;
}

void report::error(std::string_view code, const std::string& explanation) {
    error_event({{"event", "error"}, {"code", code}, {"explanation", explanation}},
                explanation + " (" + std::string(code) + ")");
}

void report::error_event(const json& object, const std::string& line) {
    if (json_) return event(object, {});
    end_progress();
    if (is_terminal()) out_.drain(std::chrono::milliseconds(20));  // people see them in their order
    err_.write("paychan: " + line + "\n");
}

}  // namespace tool
