// What a call to the node ends with: its result, or why there is none.  And how an HTTP answer becomes one of the two.
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "paychan/bitcoind/json.hpp"

namespace paychan::bitcoind {

enum class rpc_failure {
    node_error,    ///< the node's own error: `code` is JSON-RPC's, `message` the node's words
    unauthorized,  ///< HTTP 401: the login is wrong
    forbidden,     ///< HTTP 403: this user may not call the method, or nobody may from this address
    unreachable,   ///< no connection
    busy,          ///< it is there, and has too much to do
    too_slow,      ///< it is there, and has not answered in time
    bad_answer,    ///< what answers does not speak JSON-RPC as a node does
    queue_full,    ///< it was not asked: too many requests wait
};

struct rpc_error {
    rpc_failure failure = rpc_failure::unreachable;
    int code = 0;         ///< with node_error only
    std::string message;  ///< for people: one line, bounded
};

using rpc_result = tl::expected<json, rpc_error>;

[[nodiscard]] inline tl::unexpected<rpc_error> fail_rpc(rpc_failure failure, std::string_view message) {
    return tl::make_unexpected(rpc_error{failure, 0, std::string(message)});
}

inline constexpr int rpc_in_warmup = -28;  // Bitcoin Core RPC_IN_WARMUP

inline constexpr std::size_t max_words = 300;  // [characters] of a node's text that we repeat

/// The node's words as one bounded line without control characters: safe to print.
[[nodiscard]] inline std::string one_line(std::string_view text) {
    std::string out(text.substr(0, max_words));
    for (char& c : out)
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
    return out;
}

/// Reads a node's answer.  Nodes send a JSON body with 200, 404 and 500 alike; 401 and 403 have none.
[[nodiscard]] inline rpc_result read_answer(unsigned status, std::string_view body, std::uint64_t id) {
    if (status == 401) return fail_rpc(rpc_failure::unauthorized, "the node refuses user or password");
    if (status == 403) return fail_rpc(rpc_failure::forbidden, "the node forbids this user or this address to call it");
    auto answer = parse_json(body);
    if (!answer || !answer->is_object()) {
        if (status == 503) return fail_rpc(rpc_failure::busy, "the node is too busy: " + one_line(body));
        return fail_rpc(rpc_failure::bad_answer, "HTTP status " + std::to_string(status) +
                                                     " without a JSON-RPC answer: is this a node's RPC port?");
    }
    if (const json& e = member(*answer, "error"); !e.is_null()) {
        const auto code = integer(member(e, "code"));
        if (!code || *code < INT32_MIN || *code > INT32_MAX)
            return fail_rpc(rpc_failure::bad_answer, "the node's error has no code");
        return tl::make_unexpected(
            rpc_error{rpc_failure::node_error, static_cast<int>(*code), one_line(text_or_empty(member(e, "message")))});
    }
    // Without a result that is present, even as null, this is something else than a node.
    if (status != 200 || !answer->contains("result"))
        return fail_rpc(rpc_failure::bad_answer, "the node's answer has neither a result nor an error");
    if (integer(member(*answer, "id")) != static_cast<std::int64_t>(id))
        return fail_rpc(rpc_failure::bad_answer, "the node answered another request");
    return std::move((*answer)["result"]);
}

}  // namespace paychan::bitcoind
