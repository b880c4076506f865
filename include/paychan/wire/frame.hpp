// Frames on a stream: 4 bytes of length, big-endian, and that many bytes of message.
#pragma once

#include <optional>

#include "paychan/core/result.hpp"
#include "paychan/wire/messages.hpp"

namespace paychan::wire {

/// [bytes] What stands before each frame.
inline constexpr std::size_t frame_header_size = 4;

/// [bytes] Memory in which every message fits with its length.
inline constexpr std::size_t max_written_frame_size = frame_header_size + max_frame_size;

/// The length as it travels.
/// size    [bytes] 1 to max_frame_size
[[nodiscard]] constexpr std::array<std::uint8_t, frame_header_size> frame_header(std::size_t size) {
    return {static_cast<std::uint8_t>(size >> 24), static_cast<std::uint8_t>(size >> 16),
            static_cast<std::uint8_t>(size >> 8), static_cast<std::uint8_t>(size)};
}

/// Length and message in one piece at the start of `out`, for a single write: two would wait for each other's
/// TCP acknowledgement.
/// Fails   as codec.encode does: too_long, invalid_argument.
template <class Codec>
[[nodiscard]] result<bytes_view> write_frame(Codec&& codec, const message& m, bytes_span out) {
    if (out.size() < frame_header_size) return fail(errc::too_long, "message does not fit into its frame");
    PAYCHAN_TRY(const bytes_view payload, codec.encode(m, out.subspan(frame_header_size)));
    std::ranges::copy(frame_header(payload.size()), out.begin());
    return out.first(frame_header_size + payload.size());
}

/// Cuts a stream into frames.  Holds no more than one frame that has not come completely.
///     while (...) {
///         bytes_view segment = ...;  // as it came from the stream
///         for (;;) {
///             PAYCHAN_TRY(const auto frame, frames.next(segment));
///             if (!frame) break;  // the segment is used up
///             ...
///         }
///     }
/// MaxFrame  [bytes] longer frames are refused; a device that expects only short ones saves memory
template <std::size_t MaxFrame = max_frame_size>
class frame_reader {
    static_assert(0 < MaxFrame && MaxFrame <= max_frame_size);

public:
    /// Takes bytes off the front of `input`, up to the end of a frame.  Nothing when `input` ended first.
    /// The view is valid until the next call, and as long as the memory behind `input`.
    /// Fails   malformed (length zero or negative), too_long (more than MaxFrame), as soon as the four bytes of
    ///         length are there, and from then on always: end the connection without an ERROR.
    [[nodiscard]] result<std::optional<bytes_view>> next(bytes_view& input) {
        if (failed_) return fail(*failed_);
        if (held_ == wanted()) held_ = 0;  // the frame that the last call gave out
        take(input, frame_header_size);
        if (held_ < frame_header_size) return std::nullopt;

        const std::uint32_t size = announced();
        if (size == 0 || size > 0x7fff'ffff) return stop(errc::malformed, "frame length is zero or negative");
        if (size > MaxFrame) return stop(errc::too_long, "frame is longer than allowed");

        if (held_ == frame_header_size && input.size() >= size) {  // complete in the segment: no copy
            const bytes_view frame = input.first(size);
            input = input.subspan(size);
            held_ = 0;
            return frame;
        }
        take(input, wanted());
        if (held_ < wanted()) return std::nullopt;
        return bytes_view{buffer_}.subspan(frame_header_size, size);
    }

    /// True when no part of a frame is waiting for the rest: the end of the stream is a normal one here.
    [[nodiscard]] bool between_frames() const { return !failed_ && (held_ == 0 || held_ == wanted()); }

    /// Forgets everything, for a new stream.
    void clear() {
        held_ = 0;
        failed_.reset();
    }

private:
    /// The length in the buffer.
    [[nodiscard]] std::uint32_t announced() const {
        return std::uint32_t{buffer_[0]} << 24 | std::uint32_t{buffer_[1]} << 16 | std::uint32_t{buffer_[2]} << 8 |
               std::uint32_t{buffer_[3]};
    }

    /// How much the buffer holds when its frame is complete; the length itself while that is not there.
    [[nodiscard]] std::size_t wanted() const {
        return frame_header_size + (held_ < frame_header_size ? 0 : announced());
    }

    /// Moves bytes from the input until the buffer holds `until` of them.  until <= buffer_.size()
    void take(bytes_view& input, std::size_t until) {
        const std::size_t n = std::min(input.size(), until > held_ ? until - held_ : 0);
        std::ranges::copy(input.first(n), buffer_.begin() + static_cast<std::ptrdiff_t>(held_));
        input = input.subspan(n);
        held_ += n;
    }

    [[nodiscard]] tl::unexpected<error> stop(errc code, std::string_view text) {
        failed_ = error{code, text};
        return fail(*failed_);
    }

    std::array<std::uint8_t, frame_header_size + MaxFrame> buffer_{};
    std::size_t held_ = 0;
    std::optional<error> failed_;
};

}  // namespace paychan::wire
