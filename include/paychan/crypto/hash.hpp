// The hashes of Bitcoin.  The only header below the leaves that includes OpenSSL, and only on hosts.
#pragma once

// Hosts: SHA-2 comes from libcrypto (OpenSSL 3), which uses the processor's SHA instructions.
// With PAYCHAN_PORTABLE_HASH defined, for the whole program: from portable_hash.hpp, without OpenSSL.
// RIPEMD-160 is ours in both: OpenSSL 3.0.0-3.0.6 and FIPS builds lack it, and a hash160 that some hosts cannot
// compute is worse than the little time that libcrypto would save on 32 bytes.

#include "paychan/core/bytes.hpp"
#include "paychan/core/secret.hpp"
#include "paychan/crypto/portable_hash.hpp"

#ifndef PAYCHAN_PORTABLE_HASH
#include <openssl/evp.h>

#include <cstdio>
#include <cstdlib>
#endif

namespace paychan {

#ifdef PAYCHAN_PORTABLE_HASH

using portable::sha256_stream;
using portable::sha512_stream;

#else

namespace libcrypto {

/// Ends the program: a hash that failed must not become a txid or a digest that someone signs.
[[noreturn]] inline void give_up(const char* what) {
    std::fputs("paychan: libcrypto cannot compute ", stderr);
    std::fputs(what, stderr);
    std::fputs("; repair OpenSSL or build with PAYCHAN_PORTABLE_HASH\n", stderr);
    std::abort();
}

/// Contexts that this thread made and does not use now: a stream borrows one, so that hashing makes none anew.
/// Plain data, since a stream in a static object may outlive the thread's destructors; `closed` then turns reuse off.
struct context_pool {
    EVP_MD_CTX* idle[4];
    std::size_t count;
    bool closed;
};

inline context_pool& this_thread_pool() {
    struct closer {
        context_pool& pool;
        ~closer() {
            while (pool.count > 0) EVP_MD_CTX_free(pool.idle[--pool.count]);
            pool.closed = true;
        }
    };
    static thread_local context_pool pool{};
    static thread_local closer at_exit{pool};
    (void)at_exit;
    return pool;
}

/// One hash computation over libcrypto.  Algorithm gives `name` and `digest_size`.
template <class Algorithm>
class stream {
public:
    using digest_type = std::array<std::uint8_t, Algorithm::digest_size>;

    stream() : context_(borrow()) {}
    stream(const stream&) = delete;
    stream& operator=(const stream&) = delete;
    ~stream() {
        // libcrypto keeps the tail of the last message in its buffer: a context that saw keys is freed, which wipes it.
        context_pool& pool = this_thread_pool();
        if (Algorithm::sees_keys || pool.closed || pool.count == std::size(pool.idle))
            EVP_MD_CTX_free(context_);
        else
            pool.idle[pool.count++] = context_;
    }

    void update(bytes_view data) {
        start();
        if (EVP_DigestUpdate(context_, data.data(), data.size()) != 1) give_up(Algorithm::name);
    }

    /// The digest of all that was fed.  Starts afresh, ready for another message.
    [[nodiscard]] digest_type finish() {
        start();
        digest_type out{};
        unsigned int size = 0;
        if (EVP_DigestFinal_ex(context_, out.data(), &size) != 1 || size != out.size()) give_up(Algorithm::name);
        started_ = false;
        return out;
    }

private:
    static EVP_MD_CTX* borrow() {
        context_pool& pool = this_thread_pool();
        if (pool.count > 0) return pool.idle[--pool.count];
        EVP_MD_CTX* made = EVP_MD_CTX_new();
        if (made == nullptr) give_up(Algorithm::name);
        return made;
    }

    // Only when needed: OpenSSL 3.0 allocates its state in each init, and nothing anywhere else.
    void start() {
        if (started_) return;
        // Fetched once for the program and never freed: other threads may hash until the last moment.
        static EVP_MD* const algorithm = EVP_MD_fetch(nullptr, Algorithm::name, nullptr);
        if (algorithm == nullptr || EVP_DigestInit_ex2(context_, algorithm, nullptr) != 1) give_up(Algorithm::name);
        started_ = true;
    }

    EVP_MD_CTX* context_;
    bool started_ = false;
};

struct sha256_algorithm {
    static constexpr const char* name = "SHA256";
    static constexpr std::size_t digest_size = 32;
    static constexpr bool sees_keys = false;
};
struct sha512_algorithm {
    static constexpr const char* name = "SHA512";
    static constexpr std::size_t digest_size = 64;
    static constexpr bool sees_keys = true;  // through hmac_sha512
};

using sha256_stream = stream<sha256_algorithm>;
using sha512_stream = stream<sha512_algorithm>;

}  // namespace libcrypto

using libcrypto::sha256_stream;
using libcrypto::sha512_stream;

#endif

/// SHA-256 in one call.  To hash what is not in one piece: sha256_stream, with update(bytes_view) and finish().
[[nodiscard]] inline bytes32 sha256(bytes_view data) {
    sha256_stream s;
    s.update(data);
    return s.finish();
}

/// Ends a stream with Bitcoin's double SHA-256, as txid and sighash have it.
[[nodiscard]] inline bytes32 finish_hash256(sha256_stream& s) {
    const bytes32 once = s.finish();
    s.update(once);
    return s.finish();
}

/// SHA-256 of SHA-256: txid, sighash, checksums.  In the order of the bytes; txids are displayed reversed.
[[nodiscard]] inline bytes32 hash256(bytes_view data) {
    sha256_stream s;
    s.update(data);
    return finish_hash256(s);
}

[[nodiscard]] inline bytes20 ripemd160(bytes_view data) {
    portable::ripemd160_stream s;
    s.update(data);
    return s.finish();
}

/// RIPEMD-160 of SHA-256: addresses, P2PKH, P2SH.
[[nodiscard]] inline bytes20 hash160(bytes_view data) { return ripemd160(sha256(data)); }

namespace detail {

/// HMAC of RFC 2104 with SHA-512; Sha512 is the stream of either implementation.
template <class Sha512>
[[nodiscard]] inline std::array<std::uint8_t, 64> hmac_sha512(bytes_view key, bytes_view data) {
    constexpr std::size_t block_size = 128;  // [bytes] of SHA-512
    Sha512 s;
    secret<std::array<std::uint8_t, block_size>> pad;
    auto& p = pad.edit();
    if (key.size() > block_size) {
        s.update(key);
        const secret short_key(s.finish());
        std::ranges::copy(short_key.reveal(), p.begin());
    } else {
        std::ranges::copy(key, p.begin());
    }
    for (auto& b : p) b ^= 0x36;
    s.update(p);
    s.update(data);
    const secret inner(s.finish());
    for (auto& b : p) b ^= 0x36 ^ 0x5c;
    s.update(p);
    s.update(inner.reveal());
    return s.finish();
}

}  // namespace detail

/// HMAC-SHA512 (RFC 4231), for BIP32.  What it leaves in memory of key and data is wiped; the result is the caller's.
[[nodiscard]] inline std::array<std::uint8_t, 64> hmac_sha512(bytes_view key, bytes_view data) {
    return detail::hmac_sha512<sha512_stream>(key, data);
}

}  // namespace paychan
