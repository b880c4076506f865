// Two codecs have to say the same about any bytes, and read what the other wrote.
#pragma once

#include <array>

#include "paychan/core/result.hpp"
#include "paychan/wire/messages.hpp"

namespace paychan::conformance {

/// What they differ in when they write a message into `size` bytes of memory and read it again; nullptr when in
/// nothing.
template <class A, class B>
const char* disagreement_on_message(A& a, B& b, const wire::message& m, std::size_t size = wire::max_frame_size) {
    static std::array<std::uint8_t, 40'000> memory_a;
    static std::array<std::uint8_t, 40'000> memory_b;
    const auto out_a = a.encode(m, bytes_span(memory_a).first(size));
    const auto out_b = b.encode(m, bytes_span(memory_b).first(size));
    if (out_a.has_value() != out_b.has_value()) return "one can write the message and the other cannot";
    if (!out_a) return out_a.error() == out_b.error() ? nullptr : "they fail to write for different reasons";
    if (!equal(*out_a, *out_b)) return "they write different bytes";
    const auto back_a = a.decode(*out_b);
    if (!back_a || *back_a != m) return "the first does not read what the second wrote";
    const auto back_b = b.decode(*out_a);
    if (!back_b || *back_b != m) return "the second does not read what the first wrote";
    return nullptr;
}

/// What they differ in when they read a frame; nullptr when in nothing.
template <class A, class B>
const char* disagreement_on_frame(A& a, B& b, bytes_view frame) {
    // The first codec's views point into the frame, so that it can go on decoding while they are in use.
    const auto got_a = a.decode(frame);
    const auto got_b = b.decode(frame);
    if (got_a.has_value() != got_b.has_value()) return "one can read the frame and the other cannot";
    if (!got_a) return got_a.error() == got_b.error() ? nullptr : "they refuse the frame for different reasons";
    if (*got_a != *got_b) return "they read different messages";
    return disagreement_on_message(a, b, *got_a);
}

}  // namespace paychan::conformance
