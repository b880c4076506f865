// SHA-1, which the script language has as an opcode and which nothing else here may use: it is broken.
#pragma once

#include "paychan/crypto/portable_hash.hpp"

namespace paychan::detail {

/// FIPS 180-4, 6.1.
struct sha1_algorithm {
    using word = std::uint32_t;
    static constexpr std::size_t block_size = 64, digest_size = 20, length_size = 8;
    static constexpr bool big_endian = true;
    static constexpr std::array<word, 5> initial{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};

    static void compress(std::array<word, 5>& h, const std::uint8_t* block) {
        std::array<word, 80> w;
        for (std::size_t i = 0; i < 16; ++i) w[i] = portable::detail::load_big<word>(block + 4 * i);
        for (std::size_t i = 16; i < 80; ++i) w[i] = std::rotl(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
        auto [a, b, c, d, e] = h;
        for (std::size_t i = 0; i < 80; ++i) {
            word mixed = b ^ c ^ d;
            word k = i < 40 ? 0x6ed9eba1 : 0xca62c1d6;
            if (i < 20) {
                mixed = (b & c) | (~b & d);
                k = 0x5a827999;
            } else if (i >= 40 && i < 60) {
                mixed = (b & c) | (b & d) | (c & d);
                k = 0x8f1bbcdc;
            }
            const word t = std::rotl(a, 5) + mixed + e + k + w[i];
            e = d;
            d = c;
            c = std::rotl(b, 30);
            b = a;
            a = t;
        }
        h = {h[0] + a, h[1] + b, h[2] + c, h[3] + d, h[4] + e};
    }
};

[[nodiscard]] inline bytes20 sha1(bytes_view data) {
    portable::detail::stream<sha1_algorithm> s;
    s.update(data);
    return s.finish();
}

}  // namespace paychan::detail
