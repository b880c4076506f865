#include "report.hpp"

#include <unistd.h>

#include <cstdio>
#include <ctime>
#include <iostream>

namespace tool {

std::string text_of(paychan::satoshi amount) {
    const std::string digits = std::to_string(amount.value);
    const std::size_t sign = amount.value < 0 ? 1 : 0;
    std::string out;
    for (std::size_t i = 0; i < digits.size(); ++i) {
        if (i > sign && (digits.size() - i) % 3 == 0) out += ',';
        out += digits[i];
    }
    return out + " sat";
}

std::string text_of(paychan::unix_time t) {
    const auto seconds = static_cast<std::time_t>(t.seconds);
    std::tm parts{};
    char text[64];
    if (gmtime_r(&seconds, &parts) == nullptr || std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &parts) == 0)
        return std::to_string(t.seconds);
    return text;
}

std::string text_of(const paychan::txid& id) {
    const auto text = paychan::display(id);
    return {text.begin(), text.end()};
}

std::string hex_of(paychan::bytes_view bytes) {
    std::string out(2 * bytes.size(), '\0');
    (void)paychan::to_hex(bytes, out);  // cannot fail: two characters a byte are there
    return out;
}

std::string harmless(paychan::bytes_view bytes) {
    constexpr std::size_t longest = 200;
    std::string out;
    for (const std::uint8_t b : bytes) {
        if (out.size() >= longest) return out + "...";
        if (b >= 0x20 && b < 0x7f && b != '\\') {
            out += static_cast<char>(b);
        } else {
            char text[8];
            std::snprintf(text, sizeof text, "\\x%02x", b);
            out += text;
        }
    }
    return out;
}

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
