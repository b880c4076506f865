// SHA-256, SHA-512 and RIPEMD-160 in plain C++: no library, no heap, fit for freestanding targets.
#pragma once

#include <bit>

#include "paychan/core/bytes.hpp"
#include "paychan/core/secret.hpp"

namespace paychan::portable {

namespace detail {

/// Gathers blocks, counts the length and pads: what the three hashes share (Merkle-Damgard).
/// Algorithm gives block_size, digest_size, length_size [bytes], big_endian, word, `initial` and
/// `compress(state, block)`.  Wiped on destruction, because HMAC feeds it keys.
template <class Algorithm>
class stream {
    using word = typename Algorithm::word;
    using state = std::remove_const_t<decltype(Algorithm::initial)>;

public:
    using digest_type = std::array<std::uint8_t, Algorithm::digest_size>;
    static constexpr std::size_t block_size = Algorithm::block_size;

    stream() = default;
    stream(const stream&) = delete;
    stream& operator=(const stream&) = delete;
    ~stream() {
        wipe(block_);
        wipe({reinterpret_cast<std::uint8_t*>(state_.data()), sizeof(state_)});
    }

    void update(bytes_view data) {
        length_ += data.size();
        while (!data.empty()) {
            if (used_ == 0 && data.size() >= block_size) {
                Algorithm::compress(state_, data.data());
                data = data.subspan(block_size);
                continue;
            }
            const std::size_t n = std::min(block_size - used_, data.size());
            std::memcpy(block_.data() + used_, data.data(), n);
            used_ += n;
            data = data.subspan(n);
            if (used_ == block_size) flush();
        }
    }

    /// The digest of all that was fed.  Starts afresh, ready for another message.
    [[nodiscard]] digest_type finish() {
        const std::uint64_t bits = length_ * 8;
        block_[used_++] = 0x80;
        if (used_ > block_size - Algorithm::length_size) {
            std::fill(block_.begin() + static_cast<std::ptrdiff_t>(used_), block_.end(), std::uint8_t{0});
            flush();
        }
        std::fill(block_.begin() + static_cast<std::ptrdiff_t>(used_), block_.end(), std::uint8_t{0});
        for (std::size_t i = 0; i < 8; ++i) {  // SHA-512's 128-bit length: the upper half stays zero
            const auto byte = static_cast<std::uint8_t>(bits >> (8 * i));
            block_[Algorithm::big_endian ? block_size - 1 - i : block_size - 8 + i] = byte;
        }
        flush();

        digest_type out{};
        for (std::size_t i = 0; i < out.size(); ++i) {
            const std::size_t in_word = i % sizeof(word);
            const std::size_t shift = 8 * (Algorithm::big_endian ? sizeof(word) - 1 - in_word : in_word);
            out[i] = static_cast<std::uint8_t>(state_[i / sizeof(word)] >> shift);
        }
        wipe(block_);
        state_ = Algorithm::initial;
        length_ = 0;
        return out;
    }

private:
    void flush() {
        Algorithm::compress(state_, block_.data());
        used_ = 0;
    }

    state state_ = Algorithm::initial;
    std::array<std::uint8_t, block_size> block_{};
    std::size_t used_ = 0;      // [bytes] of block_; always below block_size between calls
    std::uint64_t length_ = 0;  // [bytes] fed so far
};

template <class Word>
[[nodiscard]] inline Word load_big(const std::uint8_t* p) {
    Word w = 0;
    for (std::size_t i = 0; i < sizeof(Word); ++i) w = static_cast<Word>(w << 8 | p[i]);
    return w;
}

// The rotations that tell SHA-256 and SHA-512 apart (FIPS 180-4, 4.1.2 and 4.1.3).
struct sha2_rotations {
    int big0[3], big1[3], small0[3], small1[3];  // the third of the small ones is a shift
};

/// The compression of FIPS 180-4, 6.2.2 and 6.4.2, the same for both widths.
template <class Word, std::size_t Rounds>
inline void sha2_compress(std::array<Word, 8>& h, const std::uint8_t* block, const std::array<Word, Rounds>& k,
                          const sha2_rotations& r) {
    std::array<Word, Rounds> w;
    for (std::size_t i = 0; i < 16; ++i) w[i] = load_big<Word>(block + i * sizeof(Word));
    for (std::size_t i = 16; i < Rounds; ++i) {
        const Word a = w[i - 15];
        const Word b = w[i - 2];
        const Word s0 = std::rotr(a, r.small0[0]) ^ std::rotr(a, r.small0[1]) ^ (a >> r.small0[2]);
        const Word s1 = std::rotr(b, r.small1[0]) ^ std::rotr(b, r.small1[1]) ^ (b >> r.small1[2]);
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    auto v = h;
    auto& [a, b, c, d, e, f, g, hh] = v;
    for (std::size_t i = 0; i < Rounds; ++i) {
        const Word s1 = std::rotr(e, r.big1[0]) ^ std::rotr(e, r.big1[1]) ^ std::rotr(e, r.big1[2]);
        const Word t1 = hh + s1 + ((e & f) ^ (~e & g)) + k[i] + w[i];
        const Word s0 = std::rotr(a, r.big0[0]) ^ std::rotr(a, r.big0[1]) ^ std::rotr(a, r.big0[2]);
        const Word t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
        hh = g;
        g = f;
        f = e;
        e = d + t1;
        d = c;
        c = b;
        b = a;
        a = t1 + t2;
    }
    for (std::size_t i = 0; i < 8; ++i) h[i] += v[i];
    wipe({reinterpret_cast<std::uint8_t*>(w.data()), sizeof(w)});  // the first words are the message itself
}

/// FIPS 180-4, SHA-256.
struct sha256_algorithm {
    using word = std::uint32_t;
    static constexpr std::size_t block_size = 64, digest_size = 32, length_size = 8;
    static constexpr bool big_endian = true;
    static constexpr std::array<word, 8> initial{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                                 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    static constexpr std::array<word, 64> k{
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
        0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
        0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

    static void compress(std::array<word, 8>& h, const std::uint8_t* block) {
        constexpr sha2_rotations r{{2, 13, 22}, {6, 11, 25}, {7, 18, 3}, {17, 19, 10}};
        sha2_compress(h, block, k, r);
    }
};

/// FIPS 180-4, SHA-512.
struct sha512_algorithm {
    using word = std::uint64_t;
    static constexpr std::size_t block_size = 128, digest_size = 64, length_size = 16;
    static constexpr bool big_endian = true;
    static constexpr std::array<word, 8> initial{0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b,
                                                 0xa54ff53a5f1d36f1, 0x510e527fade682d1, 0x9b05688c2b3e6c1f,
                                                 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179};
    static constexpr std::array<word, 80> k{
        0x428a2f98d728ae22, 0x7137449123ef65cd, 0xb5c0fbcfec4d3b2f, 0xe9b5dba58189dbbc, 0x3956c25bf348b538,
        0x59f111f1b605d019, 0x923f82a4af194f9b, 0xab1c5ed5da6d8118, 0xd807aa98a3030242, 0x12835b0145706fbe,
        0x243185be4ee4b28c, 0x550c7dc3d5ffb4e2, 0x72be5d74f27b896f, 0x80deb1fe3b1696b1, 0x9bdc06a725c71235,
        0xc19bf174cf692694, 0xe49b69c19ef14ad2, 0xefbe4786384f25e3, 0x0fc19dc68b8cd5b5, 0x240ca1cc77ac9c65,
        0x2de92c6f592b0275, 0x4a7484aa6ea6e483, 0x5cb0a9dcbd41fbd4, 0x76f988da831153b5, 0x983e5152ee66dfab,
        0xa831c66d2db43210, 0xb00327c898fb213f, 0xbf597fc7beef0ee4, 0xc6e00bf33da88fc2, 0xd5a79147930aa725,
        0x06ca6351e003826f, 0x142929670a0e6e70, 0x27b70a8546d22ffc, 0x2e1b21385c26c926, 0x4d2c6dfc5ac42aed,
        0x53380d139d95b3df, 0x650a73548baf63de, 0x766a0abb3c77b2a8, 0x81c2c92e47edaee6, 0x92722c851482353b,
        0xa2bfe8a14cf10364, 0xa81a664bbc423001, 0xc24b8b70d0f89791, 0xc76c51a30654be30, 0xd192e819d6ef5218,
        0xd69906245565a910, 0xf40e35855771202a, 0x106aa07032bbd1b8, 0x19a4c116b8d2d0c8, 0x1e376c085141ab53,
        0x2748774cdf8eeb99, 0x34b0bcb5e19b48a8, 0x391c0cb3c5c95a63, 0x4ed8aa4ae3418acb, 0x5b9cca4f7763e373,
        0x682e6ff3d6b2b8a3, 0x748f82ee5defb2fc, 0x78a5636f43172f60, 0x84c87814a1f0ab72, 0x8cc702081a6439ec,
        0x90befffa23631e28, 0xa4506cebde82bde9, 0xbef9a3f7b2c67915, 0xc67178f2e372532b, 0xca273eceea26619c,
        0xd186b8c721c0c207, 0xeada7dd6cde0eb1e, 0xf57d4f7fee6ed178, 0x06f067aa72176fba, 0x0a637dc5a2c898a6,
        0x113f9804bef90dae, 0x1b710b35131c471b, 0x28db77f523047d84, 0x32caab7b40c72493, 0x3c9ebe0a15c9bebc,
        0x431d67c49c100d4c, 0x4cc5d4becb3e42b6, 0x597f299cfc657e2a, 0x5fcb6fab3ad6faec, 0x6c44198c4a475817};

    static void compress(std::array<word, 8>& h, const std::uint8_t* block) {
        constexpr sha2_rotations r{{28, 34, 39}, {14, 18, 41}, {1, 8, 7}, {19, 61, 6}};
        sha2_compress(h, block, k, r);
    }
};

/// RIPEMD-160: Dobbertin, Bosselaers, Preneel, "RIPEMD-160: A Strengthened Version of RIPEMD" (1996), appendix A.
struct ripemd160_algorithm {
    using word = std::uint32_t;
    static constexpr std::size_t block_size = 64, digest_size = 20, length_size = 8;
    static constexpr bool big_endian = false;
    static constexpr std::array<word, 5> initial{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};

    using schedule = std::array<std::array<std::uint8_t, 16>, 5>;  // five rounds of sixteen steps

    static constexpr schedule left_word{{{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
                                         {7, 4, 13, 1, 10, 6, 15, 3, 12, 0, 9, 5, 2, 14, 11, 8},
                                         {3, 10, 14, 4, 9, 15, 8, 1, 2, 7, 0, 6, 13, 11, 5, 12},
                                         {1, 9, 11, 10, 0, 8, 12, 4, 13, 3, 7, 15, 14, 5, 6, 2},
                                         {4, 0, 5, 9, 7, 12, 2, 10, 14, 1, 3, 8, 11, 6, 15, 13}}};
    static constexpr schedule right_word{{{5, 14, 7, 0, 9, 2, 11, 4, 13, 6, 15, 8, 1, 10, 3, 12},
                                          {6, 11, 3, 7, 0, 13, 5, 10, 14, 15, 8, 12, 4, 9, 1, 2},
                                          {15, 5, 1, 3, 7, 14, 6, 9, 11, 8, 12, 2, 10, 0, 4, 13},
                                          {8, 6, 4, 1, 3, 11, 15, 0, 5, 12, 2, 13, 9, 7, 10, 14},
                                          {12, 15, 10, 4, 1, 5, 8, 7, 6, 2, 13, 14, 0, 3, 9, 11}}};
    static constexpr schedule left_rotation{{{11, 14, 15, 12, 5, 8, 7, 9, 11, 13, 14, 15, 6, 7, 9, 8},
                                             {7, 6, 8, 13, 11, 9, 7, 15, 7, 12, 15, 9, 11, 7, 13, 12},
                                             {11, 13, 6, 7, 14, 9, 13, 15, 14, 8, 13, 6, 5, 12, 7, 5},
                                             {11, 12, 14, 15, 14, 15, 9, 8, 9, 14, 5, 6, 8, 6, 5, 12},
                                             {9, 15, 5, 11, 6, 8, 13, 12, 5, 12, 13, 14, 11, 8, 5, 6}}};
    static constexpr schedule right_rotation{{{8, 9, 9, 11, 13, 15, 15, 5, 7, 7, 8, 11, 14, 14, 12, 6},
                                              {9, 13, 15, 7, 12, 8, 9, 11, 7, 7, 12, 7, 6, 15, 13, 11},
                                              {9, 7, 15, 11, 8, 6, 6, 14, 12, 13, 5, 14, 13, 13, 7, 5},
                                              {15, 5, 8, 11, 14, 14, 6, 14, 6, 9, 12, 9, 12, 5, 15, 8},
                                              {8, 5, 12, 9, 12, 5, 14, 6, 8, 13, 6, 5, 15, 13, 11, 11}}};
    static constexpr std::array<word, 5> left_k{0, 0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xa953fd4e};
    static constexpr std::array<word, 5> right_k{0x50a28be6, 0x5c4dd124, 0x6d703ef3, 0x7a6d76e9, 0};

    static word mix(std::size_t round, word x, word y, word z) {
        switch (round) {
            case 0: return x ^ y ^ z;
            case 1: return (x & y) | (~x & z);
            case 2: return (x | ~y) ^ z;
            case 3: return (x & z) | (y & ~z);
            default: return x ^ (y | ~z);
        }
    }

    static void step(std::array<word, 5>& v, word mixed, word message, word k, int rotation) {
        auto& [a, b, c, d, e] = v;
        const word t = std::rotl(a + mixed + message + k, rotation) + e;
        a = e;
        e = d;
        d = std::rotl(c, 10);
        c = b;
        b = t;
    }

    static void compress(std::array<word, 5>& h, const std::uint8_t* block) {
        std::array<word, 16> w;
        for (std::size_t i = 0; i < 16; ++i) {
            const std::uint8_t* p = block + 4 * i;
            w[i] = word{p[0]} | word{p[1]} << 8 | word{p[2]} << 16 | word{p[3]} << 24;
        }
        auto l = h;
        auto r = h;
        for (std::size_t round = 0; round < 5; ++round) {
            for (std::size_t i = 0; i < 16; ++i) {
                step(l, mix(round, l[1], l[2], l[3]), w[left_word[round][i]], left_k[round], left_rotation[round][i]);
                step(r, mix(4 - round, r[1], r[2], r[3]), w[right_word[round][i]], right_k[round],
                     right_rotation[round][i]);
            }
        }
        const word t = h[1] + l[2] + r[3];
        h[1] = h[2] + l[3] + r[4];
        h[2] = h[3] + l[4] + r[0];
        h[3] = h[4] + l[0] + r[1];
        h[4] = h[0] + l[1] + r[2];
        h[0] = t;
    }
};

}  // namespace detail

// Each has update(bytes_view) and finish(); finish gives the digest and starts afresh.
using sha256_stream = detail::stream<detail::sha256_algorithm>;
using sha512_stream = detail::stream<detail::sha512_algorithm>;
using ripemd160_stream = detail::stream<detail::ripemd160_algorithm>;

}  // namespace paychan::portable
