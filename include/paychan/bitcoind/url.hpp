// Where the node's RPC is and how to log in: `rpc:http://USER:PASS@HOST:PORT` or `rpc:http://HOST:PORT?cookie=FILE`.
#pragma once

#include <cstdint>
#include <fstream>
#include <string>
#include <string_view>

#include "paychan/core/hex.hpp"
#include "paychan/core/result.hpp"
#include "paychan/core/secret.hpp"

namespace paychan::bitcoind {

/// A text that is wiped when it dies or is replaced, and has no way to a log: only `reveal()` shows it.
class secret_text {
public:
    secret_text() = default;
    explicit secret_text(std::string_view text) : text_(text) {}
    secret_text(const secret_text&) = default;
    secret_text& operator=(const secret_text& other) {
        if (this != &other) {
            clear();
            text_ = other.text_;
        }
        return *this;
    }
    ~secret_text() { clear(); }

    [[nodiscard]] const std::string& reveal() const { return text_; }
    [[nodiscard]] bool empty() const { return text_.empty(); }

private:
    void clear() { wipe({reinterpret_cast<std::uint8_t*>(text_.data()), text_.size()}); }

    std::string text_;
};

struct node_address {
    std::string host;  ///< a name or an address; IPv6 without its brackets
    std::uint16_t port = 0;
    secret_text login;        ///< USER:PASS; empty with a cookie file
    std::string cookie_file;  ///< holds USER:PASS, and is another after each start of the node
};

namespace detail {

/// %40 and the like to their characters.  Fails  invalid_argument.
[[nodiscard]] inline result<std::string> percent_decode(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            out += text[i];
            continue;
        }
        std::uint8_t byte[1] = {};
        if (i + 2 >= text.size() || !from_hex(text.substr(i + 1, 2), byte))
            return fail(errc::invalid_argument, "the chain's address has a % without two hex digits: write % as %25");
        out += static_cast<char>(byte[0]);
        i += 2;
    }
    return out;
}

[[nodiscard]] inline bool is_host(std::string_view text) {
    constexpr std::string_view allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:";
    return !text.empty() && text.find_first_not_of(allowed) == std::string_view::npos;
}

}  // namespace detail

/// Reads the tool's --chain option.  The texts of the errors never repeat the input, which holds a password.
/// Special characters in user or password are written as in other URLs: %40 for @, %2F for /, %3F for ?.
/// Fails  invalid_argument (with what to do), unsupported (https).
[[nodiscard]] inline result<node_address> parse_node_address(std::string_view url) {
    const auto bad = [](std::string_view text) { return fail(errc::invalid_argument, text); };
    constexpr std::string_view scheme = "rpc:http://";
    if (url.starts_with("rpc:https://"))
        return fail(errc::unsupported,
                    "RPC over https is not supported: use a node on this machine, or a tunnel to it");
    if (!url.starts_with(scheme)) return bad("the chain must look like rpc:http://USER:PASS@HOST:PORT");
    url.remove_prefix(scheme.size());

    node_address out;
    const std::size_t end = std::min(url.find_first_of("/?"), url.size());
    std::string_view authority = url.substr(0, end);
    std::string_view rest = url.substr(end);

    if (const std::size_t at = authority.rfind('@'); at != std::string_view::npos) {
        const std::string_view login = authority.substr(0, at);
        authority.remove_prefix(at + 1);
        const std::size_t colon = login.find(':');
        if (colon == std::string_view::npos)
            return bad("the node's password is missing: rpc:http://USER:PASS@HOST:PORT");
        PAYCHAN_TRY(const std::string user, detail::percent_decode(login.substr(0, colon)));
        PAYCHAN_TRY(std::string both, detail::percent_decode(login));
        if (user.find(':') != std::string::npos) return bad("the node's user name cannot hold a colon");
        out.login = secret_text(both);
        wipe({reinterpret_cast<std::uint8_t*>(both.data()), both.size()});
    }

    if (rest.starts_with('/')) rest.remove_prefix(1);
    if (constexpr std::string_view cookie = "?cookie="; rest.starts_with(cookie)) {
        out.cookie_file = rest.substr(cookie.size());
        if (out.cookie_file.empty()) return bad("the name of the cookie file is missing after ?cookie=");
        if (!out.login.empty()) return bad("give the node's USER:PASS or a cookie file, not both");
    } else if (!rest.empty()) {
        return bad("after the node's PORT only ?cookie=FILE may follow; write / and ? in a password as %2F and %3F");
    }
    if (out.login.empty() && out.cookie_file.empty())
        return bad("the node's login is missing: rpc:http://USER:PASS@HOST:PORT or rpc:http://HOST:PORT?cookie=FILE");

    std::string_view host = authority;
    const std::size_t colon = authority.rfind(':');
    if (colon == std::string_view::npos || authority.ends_with(']'))
        return bad(
            "the node's port is missing: rpc:http://USER:PASS@HOST:PORT, with 8332 on mainnet, 18332 on testnet, 48332 "
            "on "
            "testnet4, 38332 on signet, 18443 on regtest");
    host = authority.substr(0, colon);
    if (host.starts_with('[') && host.ends_with(']'))
        host = host.substr(1, host.size() - 2);
    else if (host.find(':') != std::string_view::npos)
        return bad("an IPv6 address stands in brackets: rpc:http://USER:PASS@[::1]:PORT");
    if (!detail::is_host(host))
        return bad("the node's HOST must be a name or an address; write @, : and / in a password as %40, %3A and %2F");
    out.host = host;

    const std::string_view port = authority.substr(colon + 1);
    std::uint32_t number = 0;
    for (const char c : port) {
        if (c < '0' || c > '9' || number > 65535) return bad("the node's PORT must be a number from 1 to 65535");
        number = number * 10 + static_cast<std::uint32_t>(c - '0');
    }
    if (number == 0 || number > 65535) return bad("the node's PORT must be a number from 1 to 65535");
    out.port = static_cast<std::uint16_t>(number);
    return out;
}

/// USER:PASS, now: the cookie file is read anew each time, since a node that restarts writes another.
/// Fails  not_found (no such file, or it cannot be read), malformed (no USER:PASS in it).
[[nodiscard]] inline result<secret_text> read_login(const node_address& node) {
    if (node.cookie_file.empty()) return node.login;
    std::ifstream file(node.cookie_file, std::ios::binary);
    char text[512] = {};
    if (!file) return fail(errc::not_found, "the node's cookie file cannot be read: is the node running?");
    file.read(text, sizeof text - 1);
    std::string_view line(text, static_cast<std::size_t>(file.gcount()));
    line = line.substr(0, line.find_first_of("\r\n"));
    const bool good = line.find(':') != std::string_view::npos;
    secret_text out(good ? line : std::string_view{});
    wipe({reinterpret_cast<std::uint8_t*>(text), sizeof text});
    if (!good) return fail(errc::malformed, "the node's cookie file does not hold USER:PASS");
    return out;
}

/// What Bitcoin Core calls the network that the tool's --network names.
[[nodiscard]] inline std::string_view core_chain_name(std::string_view network) {
    if (network == "mainnet") return "main";
    if (network == "testnet") return "test";
    return network;  // testnet4, signet and regtest have one name
}

}  // namespace paychan::bitcoind
