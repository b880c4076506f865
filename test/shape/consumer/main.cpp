// Uses a piece of every component that was asked for, so that it has to link: a signature, and a message through
// protobuf.
#include <array>
#include <cstdio>

#include "paychan/crypto/hash.hpp"
#include "paychan/crypto/keys.hpp"
#ifdef HAS_PROTOBUF
#include "paychan/protobuf/codec.hpp"
#endif
#ifdef HAS_SQLITE
#include <sqlite3.h>
#endif
#ifdef HAS_POSTGRES
#include <libpq-fe.h>
#endif
#ifdef HAS_CONFORMANCE
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>

#include "conformance/store.hpp"
#include "paychan/memory/store.hpp"

TEST_CASE("a store of my own keeps the contract of Store") {
    paychan::conformance::store_conformance([] { return paychan::memory_store(); });
}
#endif
#ifdef HAS_ASIO
#include <boost/asio/io_context.hpp>
#endif

int main() {
    paychan::bytes32 secret{};
    secret[31] = 1;
    const auto key = paychan::make_secret_key(secret);
    if (!key) return 1;
    // The generator of the curve: SEC 2.
    const auto point = paychan::public_key_of(*key);
    if (point.view().size() != 33 || point.view()[0] != 0x02 || point.view()[1] != 0x79) return 2;
    const auto digest = paychan::hash256(point.view());
    const auto signature = paychan::sign_ecdsa(*key, digest);
    if (!signature) return 3;
#ifdef HAS_PROTOBUF
    paychan::protobuf_codec codec;
    if (codec.decode({})) return 4;  // an empty frame lacks its type
#endif
#ifdef HAS_SQLITE
    if (sqlite3_threadsafe() < 0) return 5;
#endif
#ifdef HAS_POSTGRES
    if (PQlibVersion() < 140000) return 7;
#endif
#ifdef HAS_ASIO
    boost::asio::io_context io;
    if (io.run() != 0) return 6;
#endif
#ifdef HAS_CONFORMANCE
    if (Catch::Session().run() != 0) return 8;
#endif
    std::puts("works");
}
