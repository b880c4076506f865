// What the tool prints: lines for people, or with --json one object a line for programs.
#pragma once

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "paychan/bitcoin/txid.hpp"
#include "paychan/core/result.hpp"
#include "paychan/core/satoshi.hpp"
#include "paychan/core/unix_time.hpp"

namespace tool {

using json = nlohmann::ordered_json;

/// 1234567 -> "1,234,567 sat".
[[nodiscard]] std::string text_of(paychan::satoshi amount);

/// "2026-11-21 05:31:00 UTC".
[[nodiscard]] std::string text_of(paychan::unix_time t);

[[nodiscard]] std::string text_of(const paychan::txid& id);
[[nodiscard]] std::string hex_of(paychan::bytes_view bytes);

/// A stranger's bytes as text that cannot steer a terminal: what is not printable ASCII becomes \xNN; 200 characters at
/// the most.
[[nodiscard]] std::string harmless(paychan::bytes_view bytes);

class report {
public:
    explicit report(bool as_json) : json_(as_json) {}

    /// One event: the object with --json, else the line; an empty line is not printed.
    void event(const json& object, const std::string& line);

    /// A line that only people read.
    void say(const std::string& line);

    /// Shows how far something is: at most ten times a second on a terminal, every five seconds elsewhere; never with
    /// --json.
    void progress(std::string_view what, std::uint64_t done, std::uint64_t all);

    /// An error: on standard error, or with --json an event.
    void error(std::string_view code, const std::string& explanation);

    /// An error with more to say than that: the object with --json, else the line on standard error.
    void error_event(const json& object, const std::string& line);
    void error(const paychan::error& e) { error(paychan::name(e.code), std::string(e.text)); }

    [[nodiscard]] bool as_json() const { return json_; }

private:
    void end_progress();

    bool json_;
    bool progress_shown_ = false;
    std::chrono::steady_clock::time_point next_progress_{};
};

}  // namespace tool
