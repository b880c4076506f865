// Bech32 and bech32m: the text form of SegWit addresses (BIP173, BIP350).
#pragma once

#include <string_view>

#include "paychan/core/bytes.hpp"
#include "paychan/core/result.hpp"

namespace paychan {

/// Up to N characters held inline.
template <std::size_t N>
class bounded_text {
public:
    [[nodiscard]] constexpr std::string_view view() const { return {data_.data(), size_}; }
    [[nodiscard]] constexpr bool empty() const { return size_ == 0; }

    /// The whole memory, to be filled; follow with `resize`.
    [[nodiscard]] constexpr std::span<char> memory() { return data_; }
    constexpr void resize(std::size_t size) { size_ = static_cast<std::uint32_t>(size < N ? size : N); }

    /// Adds a character.  Returns false when there is no room.
    [[nodiscard]] constexpr bool append(char c) {
        if (size_ == N) return false;
        data_[size_++] = c;
        return true;
    }

    friend constexpr bool operator==(const bounded_text& a, const bounded_text& b) { return a.view() == b.view(); }

private:
    std::array<char, N> data_{};
    std::uint32_t size_ = 0;
};

inline constexpr std::size_t max_bech32_text = 90;  // [characters] BIP173

enum class bech32_variant : std::uint8_t { bech32, bech32m };

struct bech32_parts {
    bech32_variant variant = bech32_variant::bech32;
    bounded_text<max_bech32_text> prefix;   ///< lower case, without the separator
    bounded_bytes<max_bech32_text> values;  ///< numbers of 5 bits, without the checksum
};

namespace detail {
inline constexpr std::string_view bech32_digits = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// The checksum of BIP173, one value at a time; starts with the prefix.
class bech32_checksum {
public:
    constexpr explicit bech32_checksum(std::string_view prefix) {
        for (const char c : prefix) add(static_cast<std::uint8_t>(c) >> 5);
        add(0);
        for (const char c : prefix) add(static_cast<std::uint8_t>(c) & 31);
    }
    constexpr void add(unsigned value) {
        constexpr std::array<std::uint32_t, 5> generator{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3};
        const std::uint32_t top = state_ >> 25;
        state_ = (state_ & 0x1ff'ffff) << 5 ^ value;
        for (unsigned i = 0; i < generator.size(); ++i)
            if ((top >> i & 1) != 0) state_ ^= generator[i];
    }
    [[nodiscard]] constexpr std::uint32_t state() const { return state_; }

private:
    std::uint32_t state_ = 1;
};

[[nodiscard]] constexpr std::uint32_t bech32_constant(bech32_variant v) {
    return v == bech32_variant::bech32 ? 1 : 0x2bc8'30a3;
}
}  // namespace detail

/// Writes prefix, separator, values and checksum.
/// prefix  lower-case ASCII
/// Fails   too_long (above 90 characters), invalid_argument (a value above 31).
[[nodiscard]] inline result<bounded_text<max_bech32_text>> encode_bech32(bech32_variant variant,
                                                                         std::string_view prefix, bytes_view values) {
    if (prefix.size() + 1 + values.size() + 6 > max_bech32_text)
        return fail(errc::too_long, "more than 90 characters of bech32");
    bounded_text<max_bech32_text> out;
    bool room = true;
    for (const char c : prefix) room = room && out.append(c);
    room = room && out.append('1');
    detail::bech32_checksum sum(prefix);
    for (const std::uint8_t v : values) {
        if (v > 31) return fail(errc::invalid_argument, "a bech32 value has five bits");
        sum.add(v);
        room = room && out.append(detail::bech32_digits[v]);
    }
    for (int i = 0; i < 6; ++i) sum.add(0);
    const std::uint32_t check = sum.state() ^ detail::bech32_constant(variant);
    for (unsigned i = 0; i < 6; ++i) room = room && out.append(detail::bech32_digits[check >> 5 * (5 - i) & 31]);
    if (!room) return fail(errc::too_long, "more than 90 characters of bech32");
    return out;
}

/// Reads either variant, all upper or all lower case.
/// Fails  malformed.
[[nodiscard]] inline result<bech32_parts> decode_bech32(std::string_view text) {
    if (text.size() > max_bech32_text) return fail(errc::malformed, "bech32 text has more than 90 characters");
    bool lower = false;
    bool upper = false;
    for (const char c : text) {
        if (c < 33 || c > 126) return fail(errc::malformed, "bech32 text has an unprintable character");
        lower = lower || (c >= 'a' && c <= 'z');
        upper = upper || (c >= 'A' && c <= 'Z');
    }
    if (lower && upper) return fail(errc::malformed, "bech32 text mixes upper and lower case");
    const auto lowered = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };

    const std::size_t separator = text.rfind('1');
    if (separator == std::string_view::npos || separator == 0)
        return fail(errc::malformed, "bech32 text has no prefix");
    if (text.size() - separator - 1 < 6) return fail(errc::malformed, "bech32 text is too short for a checksum");

    bech32_parts out;
    for (std::size_t i = 0; i < separator; ++i) (void)out.prefix.append(lowered(text[i]));  // fits: at most 90
    text.remove_prefix(separator + 1);
    detail::bech32_checksum sum(out.prefix.view());
    std::size_t count = 0;
    for (const char c : text) {
        const std::size_t value = detail::bech32_digits.find(lowered(c));
        if (value == std::string_view::npos) return fail(errc::malformed, "text has a character that is not bech32");
        sum.add(static_cast<unsigned>(value));
        out.values.memory()[count++] = static_cast<std::uint8_t>(value);
    }
    out.values.resize(count - 6);
    if (sum.state() == detail::bech32_constant(bech32_variant::bech32))
        out.variant = bech32_variant::bech32;
    else if (sum.state() == detail::bech32_constant(bech32_variant::bech32m))
        out.variant = bech32_variant::bech32m;
    else
        return fail(errc::malformed, "checksum is wrong: mistyped?");
    return out;
}

}  // namespace paychan
