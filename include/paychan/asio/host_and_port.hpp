// Where to connect to, or to listen, as people write it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "paychan/core/result.hpp"

namespace paychan::asio {

struct host_and_port {
    std::string host;
    std::uint16_t port = 0;
};

/// HOST:PORT, or [IPv6]:PORT.  Fails  malformed.
[[nodiscard]] inline result<host_and_port> parse_host_and_port(std::string_view text) {
    const auto bad = fail(errc::malformed, "an address looks like HOST:PORT, or [IPv6]:PORT");
    const auto colon = text.rfind(':');
    if (colon == std::string_view::npos || colon == 0 || colon + 1 == text.size()) return bad;
    std::string_view host = text.substr(0, colon);
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    std::uint32_t port = 0;
    for (const char c : text.substr(colon + 1)) {
        if (c < '0' || c > '9') return bad;
        port = port * 10 + static_cast<std::uint32_t>(c - '0');
        if (port > 65'535) return bad;
    }
    return host_and_port{std::string(host), static_cast<std::uint16_t>(port)};
}

}  // namespace paychan::asio
