// Reads protobuf's wire format: tags, varints, lengths, and whatever has to be skipped.
#pragma once

#include "paychan/core/bytes.hpp"

namespace paychan::wire {

/// What stands before each field.
struct tag {
    std::uint32_t number = 0;
    std::uint8_t type = 0;  ///< 0 varint, 1 fixed 64, 2 length and bytes, 3 start of group, 4 end of group, 5 fixed 32
};

/// How deep messages and groups may nest; libprotobuf's default.
inline constexpr std::size_t max_depth = 100;

/// Reads from a view that must outlive it, and fails where libprotobuf fails.  Once it fails it stays failed.
class field_reader {
public:
    constexpr explicit field_reader(bytes_view bytes) : bytes_(bytes) {}

    [[nodiscard]] constexpr bool ok() const { return ok_; }

    /// True when nothing is left to read, or it failed.
    [[nodiscard]] constexpr bool at_end() const { return !ok_ || bytes_.empty(); }

    /// Makes it fail, for a reason that only the caller can see.
    constexpr void fail() { ok_ = false; }

    /// A tag takes at most 5 bytes, of which 32 bits count; the number 0 does not exist.
    constexpr tag next_tag() {
        const auto value = static_cast<std::uint32_t>(varint_of(5));
        if (value >> 3 == 0) ok_ = false;
        return {value >> 3, static_cast<std::uint8_t>(value & 7)};
    }

    /// A varint takes at most 10 bytes, of which 64 bits count.
    constexpr std::uint64_t varint() { return varint_of(10); }

    /// A length and that many bytes, as a view into the source.  The length takes at most 5 bytes.
    constexpr bytes_view sized_bytes() { return take(varint_of(5)); }

    /// Skips the field whose tag was just read; a group with all that is in it.
    /// depth  how many groups may be open at the same time, at most max_depth
    constexpr void skip(tag t, std::size_t depth) {
        std::array<std::uint32_t, max_depth> open{};
        std::size_t groups = 0;
        while (ok_) {
            switch (t.type) {
                case 0: varint(); break;
                case 1: take(8); break;
                case 2: sized_bytes(); break;
                case 3:
                    if (groups == depth) return fail();
                    open[groups++] = t.number;
                    break;
                case 4:
                    if (groups == 0 || open[groups - 1] != t.number) return fail();
                    --groups;
                    break;
                case 5: take(4); break;
                default: return fail();
            }
            if (groups == 0) return;
            t = next_tag();
        }
    }

private:
    constexpr std::uint64_t varint_of(unsigned max_bytes) {
        std::uint64_t value = 0;
        for (unsigned i = 0; i < max_bytes; ++i) {
            const bytes_view byte = take(1);
            if (byte.empty()) return 0;
            value |= std::uint64_t{byte[0] & 0x7fU} << (7 * i);
            if (byte[0] < 0x80) return value;
        }
        ok_ = false;
        return 0;
    }

    constexpr bytes_view take(std::uint64_t n) {
        if (!ok_ || n > bytes_.size()) {
            ok_ = false;
            return {};
        }
        const auto out = bytes_.first(static_cast<std::size_t>(n));
        bytes_ = bytes_.subspan(out.size());
        return out;
    }

    bytes_view bytes_;
    bool ok_ = true;
};

}  // namespace paychan::wire
