// Frames in tests: written, read, named; and a peer that is a script.
#pragma once

#include <optional>

#include "paychan/policy.hpp"
#include "paychan/wire/codec.hpp"
#include "support/bytes.hpp"

namespace paychan_test {

/// In the order of the message types.
inline constexpr std::array<std::string_view, std::variant_size_v<paychan::wire::message>> message_names{
    "CLIENT_VERSION", "SERVER_VERSION", "INITIATE", "PROVIDE_REFUND", "RETURN_REFUND", "PROVIDE_CONTRACT",
    "CHANNEL_OPEN",   "UPDATE_PAYMENT", "CLOSE",    "ERROR",          "PAYMENT_ACK"};

[[nodiscard]] inline std::string name_of(const paychan::wire::message& m) {
    return std::string(message_names[m.index()]);
}

[[nodiscard]] inline bytes encoded(const paychan::wire::message& m) {
    bytes out(paychan::wire::max_frame_size);
    out.resize(paychan::wire::small_codec::encode(m, out).value().size());
    return out;
}

/// Views point into `frame`.
[[nodiscard]] inline paychan::wire::message decoded(const bytes& frame) {
    return paychan::wire::small_codec::decode(frame).value();
}

/// The body when the frame is of that type.
template <class M>
[[nodiscard]] std::optional<M> as(const bytes& frame) {
    const auto m = paychan::wire::small_codec::decode(frame);
    if (!m || !std::holds_alternative<M>(*m)) return std::nullopt;
    return std::get<M>(*m);
}

/// "SERVER_VERSION INITIATE" of frames, from the `from`-th on.
[[nodiscard]] inline std::string names_of(const std::vector<bytes>& frames, std::size_t from = 0) {
    std::string out;
    for (std::size_t i = from; i < frames.size(); ++i) out += (out.empty() ? "" : " ") + name_of(decoded(frames[i]));
    return out;
}

/// The code and the text of the last frame, when it is an ERROR.
[[nodiscard]] inline std::string error_text(const std::vector<bytes>& frames) {
    const auto e = frames.empty() ? std::nullopt : as<paychan::wire::error_message>(frames.back());
    if (!e) return "no ERROR";
    return std::string(name(static_cast<paychan::errc>(e->code))) + ": " +
           text_of(e->explanation.value_or(paychan::bytes_view{}));
}

/// A connection whose other end is the test: it reads `sent`, and calls the driver.
struct recording_transport {
    std::vector<bytes> sent;
    int closed = 0;

    void send(paychan::bytes_view frame) { sent.push_back(owned(frame)); }
    void close() { ++closed; }
};
static_assert(paychan::Transport<recording_transport>);

/// Broadcasts that go nowhere.
struct recording_broadcaster {
    std::vector<bytes> sent;
    void broadcast(paychan::bytes_view tx) { sent.push_back(owned(tx)); }
    /// "ab12.. cd34.." are hard to read: the txids.
    [[nodiscard]] std::vector<paychan::txid> ids() const {
        std::vector<paychan::txid> out;
        for (const bytes& b : sent) out.push_back(paychan::parse_transaction(b).value().id());
        return out;
    }
};
static_assert(paychan::Broadcaster<recording_broadcaster>);

}  // namespace paychan_test
