// What every Codec has to do.  Run it on your own: TEST_CASE("my codec") { conformance::check_codec<my_codec>(); }
#pragma once

#include <array>
#include <catch2/catch.hpp>
#include <utility>

#include "conformance/recorded.hpp"
#include "paychan/core/result.hpp"
#include "paychan/wire/messages.hpp"

namespace paychan::conformance {

inline bytes operator+(bytes a, const bytes& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

inline bytes repeat(const bytes& what, int times) {
    bytes out;
    for (int i = 0; i < times; ++i) out.insert(out.end(), what.begin(), what.end());
    return out;
}

/// The sessions of the reference: what its frames mean, and the same bytes when written again.
template <class Codec>
void check_codec_on_recording(const recording& recorded) {
    Codec codec;
    std::array<std::uint8_t, wire::max_frame_size> memory;
    std::size_t rewritten = 0;
    for (const auto& frame : recorded.frames) {
        INFO(frame.where);
        meaning_reader read;
        const auto got = codec.decode(frame.payload);
        if (frame.meaning.contains("missing_required")) {
            REQUIRE(!got);
            CHECK(got.error().code == errc::malformed);
            continue;
        }
        const auto expected = read(frame.meaning);
        if (!expected) {
            REQUIRE(!got);
            CHECK(got.error().code == errc::syntax_error);
            continue;
        }
        REQUIRE(got);
        CHECK((*got == *expected));
        if (!frame.by_reference) continue;
        const auto again = codec.encode(*got, memory);
        REQUIRE(again);
        CHECK((bytes(again->begin(), again->end()) == frame.payload));
        ++rewritten;
    }
    CHECK(rewritten > 100);
}

/// The corners of protobuf's wire format, proto2.  Source: libprotobuf, on which this runs as well.
template <class Codec>
void check_codec_on_corners() {
    Codec codec;
    const auto verdict = [&](const bytes& frame) {
        const auto got = codec.decode(frame);
        return got ? errc{0} : got.error().code;
    };
    const auto ok = errc{0};
    const bytes version_2{0x08, 0x02, 0x1a, 0x02, 0x08, 0x02};  // SERVER_VERSION, major 2
    const auto server = [&](const bytes& frame) {
        const auto got = codec.decode(frame);
        if (!got || !std::holds_alternative<wire::server_version>(*got)) return wire::server_version{-99, -99};
        return std::get<wire::server_version>(*got);
    };

    SECTION("the last of a repeated scalar counts, and repeated messages merge") {
        CHECK(server(version_2 + bytes{0x1a, 0x02, 0x10, 0x05}) == wire::server_version{2, 5});
        CHECK(server(bytes{0x1a, 0x02, 0x10, 0x05} + version_2) == wire::server_version{2, 5});
        CHECK(server(version_2 + bytes{0x1a, 0x02, 0x08, 0x01}) == wire::server_version{1, 0});
        CHECK(server(bytes{0x08, 0x07} + version_2) == wire::server_version{2, 0});
    }
    SECTION("the payment inside a contract merges as well, and its fields may come in pieces") {
        const bytes first{0x08, 0x06, 0x3a, 0x07, 0x0a, 0x01, 0xaa, 0x12, 0x02, 0x08, 0x05};  // tx, change 5
        CHECK(verdict(first) == errc::malformed);                                             // lacks the signature
        const bytes both = first + bytes{0x3a, 0x05, 0x12, 0x03, 0x12, 0x01, 0xbb};
        const auto got = codec.decode(both);
        REQUIRE(got);
        const auto& m = std::get<wire::provide_contract>(*got);
        CHECK(m.initial_payment.client_change_value == 5);
        CHECK(equal(m.initial_payment.signature, bytes{0xbb}));
    }
    SECTION("varints: padded to ten bytes, cut to the width of their field, no more than ten bytes") {
        const bytes pad9 = repeat({0x80}, 9);
        CHECK(verdict(bytes{0x08, 0x82} + repeat({0x80}, 8) + bytes{0x00} + bytes{0x1a, 0x02, 0x08, 0x02}) == ok);
        CHECK(verdict(bytes{0x08, 0x82} + pad9 + bytes{0x00} + bytes{0x1a, 0x02, 0x08, 0x02}) == errc::malformed);
        // 2^32 + 2, as a type and as a version
        CHECK(server({0x08, 0x82, 0x80, 0x80, 0x80, 0x10, 0x1a, 0x06, 0x08, 0x82, 0x80, 0x80, 0x80, 0x10}) ==
              wire::server_version{2, 0});
        CHECK(server(bytes{0x08, 0x02, 0x1a, 0x0b, 0x08} + repeat({0xff}, 9) + bytes{0x01}) ==
              wire::server_version{-1, 0});
        CHECK(server({0x08, 0x02, 0x1a, 0x06, 0x08, 0xff, 0xff, 0xff, 0xff, 0x0f}) == wire::server_version{-1, 0});
        CHECK(server(bytes{0x08, 0x02, 0x1a, 0x0b, 0x08} + repeat({0xff}, 9) + bytes{0x7f}) ==
              wire::server_version{-1, 0});
    }
    SECTION("tags take up to five bytes, of which 32 bits count, and their number is not 0") {
        CHECK(server(bytes{0x88, 0x80, 0x00, 0x02} + bytes{0x1a, 0x02, 0x08, 0x02}) == wire::server_version{2, 0});
        CHECK(server(bytes{0x88, 0x80, 0x80, 0x80, 0x70, 0x02, 0x1a, 0x02, 0x08, 0x02}) == wire::server_version{2, 0});
        CHECK(verdict(bytes{0x88, 0x80, 0x80, 0x80, 0x80, 0x00, 0x02}) == errc::malformed);
        CHECK(verdict(version_2 + bytes{0x00, 0x00}) == errc::malformed);
        CHECK(verdict(version_2 + bytes{0x02, 0x00}) == errc::malformed);
        CHECK(verdict(version_2 + bytes{0x80, 0x80, 0x80, 0x80, 0x10, 0x00}) == errc::malformed);
    }
    SECTION("lengths: padded to five bytes, not beyond the end, not beyond the message around it") {
        CHECK(verdict({0x08, 0x02, 0x1a, 0x82, 0x80, 0x80, 0x80, 0x00, 0x08, 0x02}) == ok);
        CHECK(verdict({0x08, 0x02, 0x1a, 0x82, 0x80, 0x80, 0x80, 0x80, 0x00, 0x08, 0x02}) == errc::malformed);
        CHECK(verdict({0x08, 0x02, 0x1a, 0x03, 0x08, 0x02}) == errc::malformed);
        CHECK(verdict({0x08, 0x02, 0x1a, 0x82, 0x80, 0x80, 0x80, 0x10, 0x08, 0x02}) == errc::malformed);
        CHECK(verdict({0x08, 0x05, 0x32, 0x02, 0x0a, 0x01, 0xaa}) == errc::malformed);
        CHECK(verdict({0x08, 0x02, 0x1a, 0x01, 0x08, 0x02}) == errc::malformed);
    }
    SECTION("a known field of another wire type is an unknown field") {
        CHECK(verdict(version_2 + bytes{0x0d, 1, 2, 3, 4}) == ok);
        CHECK(verdict(version_2 + bytes{0x09, 1, 2, 3, 4, 5, 6, 7, 8}) == ok);
        CHECK(verdict(version_2 + bytes{0x18, 0x01}) == ok);
        CHECK(verdict(version_2 + bytes{0x1b, 0x08, 0x01, 0x1c}) == ok);
        CHECK(verdict({0x0a, 0x01, 0x02, 0x1a, 0x02, 0x08, 0x02}) == errc::malformed);  // type as bytes: no type
        CHECK(verdict({0x08, 0x02, 0x1a, 0x05, 0x0d, 2, 0, 0, 0}) == errc::malformed);  // major as fixed 32: no major
        CHECK(verdict(version_2 + bytes{0x0e}) == errc::malformed);
        CHECK(verdict(version_2 + bytes{0x0f}) == errc::malformed);
    }
    SECTION("unknown fields of every wire type are skipped, and have to be complete") {
        const std::vector<bytes> unknown{{0x60, 0xff, 0x01},    {0x61, 1, 2, 3, 4, 5, 6, 7, 8},
                                         {0x62, 0x03, 1, 2, 3}, {0x63, 0x08, 0x01, 0x0b, 0x0c, 0x64},
                                         {0x65, 1, 2, 3, 4},    {0x9a, 0x06, 0x00}};
        for (const auto& one : unknown) {
            CHECK(verdict(version_2 + one) == ok);
            CHECK(verdict(one + version_2) == ok);
            CHECK(verdict(version_2 + bytes(one.begin(), one.end() - 1)) == errc::malformed);
        }
    }
    SECTION("groups nest to a depth of 100, end with their own number, and do not end what they did not begin") {
        CHECK(verdict(version_2 + repeat({0x63}, 100) + repeat({0x64}, 100)) == ok);
        CHECK(verdict(version_2 + repeat({0x63}, 101) + repeat({0x64}, 101)) == errc::malformed);
        CHECK(verdict(version_2 + bytes{0x63, 0x6c}) == errc::malformed);
        CHECK(verdict(version_2 + bytes{0x64}) == errc::malformed);
        CHECK(verdict(version_2 + bytes{0x0c}) == errc::malformed);
        const auto inside = [](int n) {  // groups inside SERVER_VERSION's body
            const bytes body = bytes{0x08, 0x02} + repeat({0x63}, n) + repeat({0x64}, n);
            const auto size = body.size();
            return bytes{0x08, 0x02, 0x1a, static_cast<std::uint8_t>(0x80 | (size & 0x7f)),
                         static_cast<std::uint8_t>(size >> 7)} +
                   body;
        };
        CHECK(verdict(inside(99)) == ok);
        CHECK(verdict(inside(100)) == errc::malformed);
        CHECK(verdict(bytes{0x08, 0x02, 0x1a, 0x03, 0x08, 0x02, 0x1c}) == errc::malformed);
    }
    SECTION("a type that is not known does not replace one that is, and alone is none") {
        CHECK(verdict(version_2 + bytes{0x08, 0x0c}) == ok);
        CHECK(verdict({0x08, 0x00}) == errc::malformed);
        CHECK(verdict({0x08, 0x0c}) == errc::malformed);
        CHECK(verdict({0x1a, 0x02, 0x08, 0x02}) == errc::malformed);
        CHECK(verdict({}) == errc::malformed);
    }
    SECTION("a body that the type does not call for has to be complete all the same") {
        CHECK(verdict({0x08, 0x07, 0x1a, 0x00}) == errc::malformed);
        CHECK(verdict({0x08, 0x07, 0x1a, 0x02, 0x08, 0x02}) == ok);
        CHECK(verdict({0x08, 0x07, 0x3a, 0x04, 0x0a, 0x00, 0x12, 0x00}) == errc::malformed);
        CHECK(verdict({0x08, 0x06, 0x3a, 0x02, 0x0a, 0x00}) == errc::malformed);  // no initial payment
    }
    SECTION("without the body that its type calls for a message is a syntax error with a text") {
        for (const std::uint8_t type : bytes{1, 2, 3, 4, 5, 6, 8}) {
            const auto got = codec.decode(bytes{0x08, type});
            REQUIRE(!got);
            CHECK(got.error().code == errc::syntax_error);
            CHECK(got.error().text.ends_with(" has no body"));
        }
        CHECK(verdict({0x08, 0x01, 0x1a, 0x02, 0x08, 0x02}) == errc::syntax_error);  // another's body
    }
    SECTION("CHANNEL_OPEN, CLOSE, ERROR and PAYMENT_ACK need no body") {
        CHECK((codec.decode(bytes{0x08, 0x07}) == wire::message{wire::channel_open{}}));
        CHECK((codec.decode(bytes{0x08, 0x09}) == wire::message{wire::close{}}));
        CHECK((codec.decode(bytes{0x08, 0x0b}) == wire::message{wire::payment_ack{}}));
        CHECK((codec.decode(bytes{0x08, 0x0b, 0x5a, 0x00}) == wire::message{wire::payment_ack{}}));
        const auto got = codec.decode(bytes{0x08, 0x0a});
        REQUIRE(got);
        CHECK((*got == wire::message{wire::error_message{}}));
        CHECK(std::get<wire::error_message>(*got).code == 8);
        CHECK(verdict({0x08, 0x09, 0x4a, 0x00}) == errc::malformed);  // a settlement without its transaction
    }
    SECTION("an error code that is not known counts as OTHER, or as the known one beside it") {
        const auto code = [&](const bytes& body) {
            const auto got = codec.decode(bytes{0x08, 0x0a, 0x52, static_cast<std::uint8_t>(body.size())} + body);
            return got ? std::get<wire::error_message>(*got).code : -1;
        };
        CHECK(code({0x08, 0x00}) == 8);
        CHECK(code({0x08, 0x09}) == 8);
        CHECK(code({0x08, 0x03, 0x08, 0x09}) == 3);
        CHECK(code({0x08, 0x09, 0x08, 0x03}) == 3);
        CHECK(code({0x08, 0x83, 0x80, 0x80, 0x80, 0x10}) == 3);
    }
    SECTION("an explanation may hold any bytes") {
        const bytes frame{0x08, 0x0a, 0x52, 0x06, 0x12, 0x04, 0xff, 0x00, 0xc3, 0x28};
        const auto got = codec.decode(frame);
        REQUIRE(got);
        CHECK(equal(*std::get<wire::error_message>(*got).explanation, bytes{0xff, 0x00, 0xc3, 0x28}));
    }
    SECTION("a frame holds 32767 bytes and not one more, both ways") {
        const bytes filler = bytes{0x62, 0xf4, 0xff, 0x01} + bytes(32'756);
        CHECK(verdict(version_2 + filler + bytes{0xf8}) == errc::malformed);
        CHECK(verdict(version_2 + bytes{0x62, 0xf5, 0xff, 0x01} + bytes(32'757)) == ok);
        CHECK(verdict(version_2 + bytes{0x62, 0xf6, 0xff, 0x01} + bytes(32'758)) == errc::too_long);

        std::array<std::uint8_t, wire::max_frame_size + 10> memory;
        const bytes tx(wire::max_frame_size);
        const auto length_with = [&](std::size_t size) -> std::size_t {
            const auto got = codec.encode(wire::close{bytes_view(tx).first(size)}, memory);
            if (!got) CHECK(got.error().code == errc::too_long);
            return got ? got->size() : 0;
        };
        CHECK(length_with(32'757) == 32'767);
        CHECK(length_with(32'758) == 0);
    }
    SECTION("a message is written at the start of the memory, and not when that is too small") {
        std::array<std::uint8_t, 6> memory;
        const auto got = codec.encode(wire::payment_ack{bytes_view(memory).first(0)}, memory);
        REQUIRE(got);
        CHECK(got->data() == memory.data());
        CHECK((bytes(got->begin(), got->end()) == bytes{0x08, 0x0b, 0x5a, 0x02, 0x0a, 0x00}));
        for (std::size_t size = 0; size < 6; ++size) {
            const auto less =
                codec.encode(wire::payment_ack{bytes_view(memory).first(0)}, bytes_span(memory).first(size));
            REQUIRE(!less);
            CHECK(less.error().code == errc::too_long);
        }
    }
    SECTION("an error code that does not exist is not written") {
        std::array<std::uint8_t, 64> memory;
        for (const std::int32_t code : {-1, 0, 9, 64}) {
            wire::error_message m;
            m.code = code;
            const auto got = codec.encode(m, memory);
            REQUIRE(!got);
            CHECK(got.error().code == errc::invalid_argument);
        }
    }
    SECTION("what was decoded stays valid while it is encoded") {
        const bytes frame{0x08, 0x0b, 0x5a, 0x05, 0x0a, 0x03, 1, 2, 3};
        std::array<std::uint8_t, 64> memory;
        const auto got = codec.decode(frame);
        REQUIRE(got);
        for (int i = 0; i < 2; ++i) {
            const auto out = codec.encode(*got, memory);
            REQUIRE(out);
            CHECK(equal(*out, frame));
        }
    }
}

}  // namespace paychan::conformance
