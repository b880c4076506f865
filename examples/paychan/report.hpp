// What the tool prints: lines for people, or with --json one object a line for programs.
#pragma once

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "options.hpp"
#include "paychan/channel/effects.hpp"
#include "paychan/keeper/line_writer.hpp"
#include "paychan/keeper/text.hpp"

namespace tool {

using json = nlohmann::ordered_json;

class report {
public:
    /// full  what becomes of lines that nobody reads
    report(bool as_json, when_full full);

    /// One event: the object with --json, else the line; an empty line is not printed.
    void event(const json& object, const std::string& line);

    /// A line that only people read.
    void say(const std::string& line);

    /// Shows how far something is: at most ten times a second on a terminal, every five seconds elsewhere; never with
    /// --json.
    void progress(std::string_view what, std::uint64_t done, std::uint64_t all);

    /// An error: on standard error, or with --json an event.
    void error(std::string_view code, const std::string& explanation);
    void error(const paychan::error& e, const std::string& before, const std::string& behind = {}) {
        error(paychan::name(e.code), before + std::string(e.text) + behind);
    }

    /// An error with more to say than that: the object with --json, else the line on standard error.
    void error_event(const json& object, const std::string& line);

    /// Waits for the last lines on standard output.  Returns  errno of those that could not be written, or 0.
    [[nodiscard]] int finish() { return out_.finish(); }

    [[nodiscard]] bool as_json() const { return json_; }

private:
    void end_progress();

    bool json_;
    line_writer out_;
    line_writer err_;
    bool progress_shown_ = false;
    std::chrono::steady_clock::time_point next_progress_{};
};

/// Reports one event of a driver or a monitor.  Payments are only reported with --json, or when they carry info: people get
/// a progress line.
/// protocol  the channel's protocol version, where `opened` should tell it; 0: it should not
/// advice    what the user may do about an error
void report_event(report& out, const event& e, std::int32_t protocol = 0, const std::string& advice = {});

}  // namespace tool
