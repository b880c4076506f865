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
        const auto got = codec.encode(wire::payment_ack{bytes_view(memory).first(0), {}}, memory);
        REQUIRE(got);
        CHECK(got->data() == memory.data());
        CHECK((bytes(got->begin(), got->end()) == bytes{0x08, 0x0b, 0x5a, 0x02, 0x0a, 0x00}));
        for (std::size_t size = 0; size < 6; ++size) {
            const auto less =
                codec.encode(wire::payment_ack{bytes_view(memory).first(0), {}}, bytes_span(memory).first(size));
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

/// A frame that has extension fields: what it means, and what a peer without the extensions reads in it.
struct extended_frame {
    bytes frame;            ///< fields in the order of their numbers
    wire::message meaning;  ///< points into static memory
    bytes without;          ///< the same frame without the fields numbered from 1000
};

/// Worked out by hand from protobuf's encoding: a field begins with the varint of number << 3 | wire type, so that
/// 1000 is c0 3e (varint) or c2 3e (bytes), 1001 is c8 3e (varint), 1002 is d2 3e (bytes).
inline std::vector<extended_frame> extended_frames() {
    static const bytes hash(32, 0xab);
    static const bytes signature{0x30, 0x01, 0x83};
    static const bytes info{0x68, 0x69};
    static const bytes big(200, 0x5a);
    const bytes window{0x20, 0xc4, 0xa2, 0x05};                       // 86,340
    const bytes at{0xc8, 0x3e, 0x80, 0xe2, 0xcf, 0xaa, 0x06};         // 1,700,000,000
    const bytes proof = bytes{0xd2, 0x3e, 0x03, 0x30, 0x01, 0x83};    // signature
    const bytes start{0x08, 0x02, 0x10, 0x00};                        // major 2, minor 0
    const bytes resumes = start + bytes{0x1a, 0x20} + hash + window;  // 42 bytes
    const bytes announces{0x08, 0x01, 0x12, 0x0b, 0x08, 0x02, 0x10, 0x00};
    const auto version = [](std::optional<bytes_view> id, std::optional<std::uint64_t> extensions,
                            std::optional<std::uint64_t> time, std::optional<bytes_view> by) {
        return wire::client_version{2, 0, id, 86'340, extensions, time, by};
    };
    const auto open = [](std::uint64_t change, bytes_view by) {
        return wire::channel_open{wire::resume_state{change, by}};
    };
    const auto none = std::nullopt;
    const bytes plain_version = bytes{0x08, 0x01, 0x12, 0x08} + start + window;
    const bytes plain_resume = bytes{0x08, 0x01, 0x12, 0x2a} + resumes;
    const bytes plain_open{0x08, 0x07};
    const bytes plain_ack{0x08, 0x0b, 0x5a, 0x00};
    return {
        // ClientVersion: each alone, all, with a value of 0 and of 0 bytes, which is not the same as none
        {announces + window + bytes{0xc0, 0x3e, 0x01}, version(none, 1, none, none), plain_version},
        {announces + window + bytes{0xc0, 0x3e, 0x00}, version(none, 0, none, none), plain_version},
        {bytes{0x08, 0x01, 0x12, 0x14} + start + window + bytes{0xc0, 0x3e} + repeat({0xff}, 9) + bytes{0x01},
         version(none, ~std::uint64_t{0}, none, none), plain_version},
        {bytes{0x08, 0x01, 0x12, 0x0f} + start + window + at, version(none, none, 1'700'000'000, none), plain_version},
        {bytes{0x08, 0x01, 0x12, 0x0e} + start + window + proof, version(none, none, none, signature), plain_version},
        {announces + window + bytes{0xd2, 0x3e, 0x00}, version(none, none, none, bytes_view{}), plain_version},
        {bytes{0x08, 0x01, 0x12, 0x3a} + resumes + bytes{0xc0, 0x3e, 0x01} + at + proof,
         version(hash, 1, 1'700'000'000, signature), plain_resume},
        // CHANNEL_OPEN
        {{0x08, 0x07, 0xc2, 0x3e, 0x09, 0x08, 0xe0, 0xa7, 0x12, 0x12, 0x03, 0x30, 0x01, 0x83},
         open(300'000, signature),
         plain_open},
        {{0x08, 0x07, 0xc2, 0x3e, 0x04, 0x08, 0x00, 0x12, 0x00}, open(0, {}), plain_open},
        {bytes{0x08, 0x07, 0xc2, 0x3e, 0xcd, 0x01, 0x08, 0x01, 0x12, 0xc8, 0x01} + big, open(1, big), plain_open},
        // PaymentAck
        {{0x08, 0x0b, 0x5a, 0x05, 0xc0, 0x3e, 0xb8, 0x91, 0x02}, wire::payment_ack{none, 35'000}, plain_ack},
        {{0x08, 0x0b, 0x5a, 0x03, 0xc0, 0x3e, 0x00}, wire::payment_ack{none, 0}, plain_ack},
        {{0x08, 0x0b, 0x5a, 0x09, 0x0a, 0x02, 0x68, 0x69, 0xc0, 0x3e, 0xb8, 0x91, 0x02},
         wire::payment_ack{info, 35'000},
         {0x08, 0x0b, 0x5a, 0x04, 0x0a, 0x02, 0x68, 0x69}},
    };
}

/// The extension fields.  Source: proto/paymentchannel.proto, and libprotobuf, on which this runs as well.
template <class Codec>
void check_codec_on_extensions() {
    Codec codec;
    std::array<std::uint8_t, wire::max_frame_size> memory;
    const auto verdict = [&](const bytes& frame) {
        const auto got = codec.decode(frame);
        return got ? errc{0} : got.error().code;
    };
    const auto ok = errc{0};
    const auto encoded = [&](const wire::message& m) {
        const auto out = codec.encode(m, memory);
        return out ? bytes(out->begin(), out->end()) : bytes{};
    };
    const auto open = [&](const bytes& frame) {
        const auto got = codec.decode(frame);
        const auto* m = got ? std::get_if<wire::channel_open>(&*got) : nullptr;
        return m && m->resumed ? wire::resume_state{m->resumed->client_change_value, m->resumed->signature}
                               : wire::resume_state{99, {}};
    };

    SECTION("each extension field is written and read") {
        for (const auto& e : extended_frames()) {
            CAPTURE(e.frame);
            CHECK((encoded(e.meaning) == e.frame));
            const auto got = codec.decode(e.frame);
            REQUIRE(got);
            CHECK((*got == e.meaning));
        }
    }
    SECTION("the bytes of a peer without the extensions say nothing in their place, and stay as they were") {
        for (const auto& e : extended_frames()) {
            CAPTURE(e.without);
            const auto got = codec.decode(e.without);
            REQUIRE(got);
            if (const auto* m = std::get_if<wire::client_version>(&*got)) {
                CHECK(!m->extensions);
                CHECK(!m->resume_time);
                CHECK(!m->resume_signature);
            } else if (const auto* o = std::get_if<wire::channel_open>(&*got)) {
                CHECK(!o->resumed);
            } else {
                CHECK(!std::get<wire::payment_ack>(*got).paid);
            }
            const bytes empty_ack{0x08, 0x0b, 0x5a, 0x00};  // read as without a body, which is how that is written
            CHECK((encoded(*got) == (e.without == empty_ack ? bytes{0x08, 0x0b} : e.without)));
        }
    }
    SECTION("what the server has of a resumed channel is there whole or the frame is malformed") {
        CHECK(verdict({0x08, 0x07, 0xc2, 0x3e, 0x00}) == errc::malformed);
        CHECK(verdict({0x08, 0x07, 0xc2, 0x3e, 0x02, 0x08, 0x05}) == errc::malformed);
        CHECK(verdict({0x08, 0x07, 0xc2, 0x3e, 0x03, 0x12, 0x01, 0xaa}) == errc::malformed);
        CHECK(verdict({0x08, 0x07, 0xc2, 0x3e, 0x05, 0x08, 0x05, 0x12, 0x01, 0xaa}) == ok);
        CHECK(verdict({0x08, 0x07, 0xc2, 0x3e, 0x06, 0x08, 0x05, 0x12, 0x01, 0xaa}) == errc::malformed);  // cut off
        CHECK(verdict({0x08, 0x07, 0xc2, 0x3e, 0x04, 0x08, 0x05, 0x12, 0x01, 0xaa}) == errc::malformed);  // too short
        CHECK(verdict({0x08, 0x07, 0xc2, 0x3e, 0x05, 0x0a, 0x01, 0x05, 0x12, 0x00}) == errc::malformed);  // wire type
    }
    SECTION("it may come in pieces, and the last of its fields counts") {
        CHECK(open({0x08, 0x07, 0xc2, 0x3e, 0x02, 0x08, 0x05, 0xc2, 0x3e, 0x03, 0x12, 0x01, 0xaa}) ==
              wire::resume_state{5, bytes_view(bytes{0xaa})});
        CHECK(open({0xc2, 0x3e, 0x05, 0x08, 0x05, 0x12, 0x01, 0xaa, 0xc2, 0x3e, 0x02, 0x08, 0x04, 0x08, 0x07}) ==
              wire::resume_state{4, bytes_view(bytes{0xaa})});
        CHECK(open({0x08, 0x07, 0xc2, 0xbe, 0x80, 0x00, 0x05, 0x12, 0x01, 0xaa, 0x08, 0x05}) ==
              wire::resume_state{5, bytes_view(bytes{0xaa})});  // its tag padded
        CHECK(open({0x08, 0x07, 0xc2, 0x3e, 0x08, 0x08, 0x05, 0x12, 0x01, 0xaa, 0xc0, 0x3e, 0x07}) ==
              wire::resume_state{5, bytes_view(bytes{0xaa})});  // unknown fields in it are skipped
    }
    SECTION("with another type than CHANNEL_OPEN it has to be complete, and is not used") {
        const bytes resumed{0xc2, 0x3e, 0x05, 0x08, 0x05, 0x12, 0x01, 0xaa};
        const bytes cut_short{0xc2, 0x3e, 0x02, 0x08, 0x05};
        const bytes version_2{0x08, 0x02, 0x1a, 0x02, 0x08, 0x02};
        CHECK((codec.decode(version_2 + resumed) == wire::message{wire::server_version{2, 0}}));
        CHECK((codec.decode(resumed + bytes{0x08, 0x09}) == wire::message{wire::close{}}));
        CHECK((codec.decode(bytes{0x08, 0x0b} + resumed) == wire::message{wire::payment_ack{}}));
        CHECK(verdict(bytes{0x08, 0x02} + resumed) == errc::syntax_error);  // it does not stand for another's body
        CHECK(verdict(version_2 + cut_short) == errc::malformed);
        CHECK((codec.decode(bytes{0x08, 0x07, 0x5a, 0x03, 0xc0, 0x3e, 0x05}) == wire::message{wire::channel_open{}}));
    }
    SECTION("an extension field of another wire type, or in another message, is an unknown field") {
        const auto is = [&](const bytes& frame, const wire::message& m) { return codec.decode(frame) == m; };
        CHECK(is({0x08, 0x07, 0xc0, 0x3e, 0x05}, wire::channel_open{}));
        CHECK(is({0x08, 0x07, 0xc3, 0x3e, 0x08, 0x05, 0xc4, 0x3e}, wire::channel_open{}));
        CHECK(is({0x08, 0x07, 0xc5, 0x3e, 1, 2, 3, 4}, wire::channel_open{}));
        CHECK(is({0x08, 0x0b, 0x5a, 0x04, 0xc2, 0x3e, 0x01, 0x05}, wire::payment_ack{}));
        CHECK(is({0x08, 0x0b, 0x5a, 0x0a, 0xc1, 0x3e, 1, 2, 3, 4, 5, 6, 7, 8}, wire::payment_ack{}));
        CHECK(is({0x08, 0x02, 0x1a, 0x05, 0x08, 0x02, 0xc0, 0x3e, 0x01}, wire::server_version{2, 0}));
        const auto client = [&](const bytes& more) {
            const bytes body = bytes{0x08, 0x02} + more;
            return bytes{0x08, 0x01, 0x12, static_cast<std::uint8_t>(body.size())} + body;
        };
        const wire::client_version plain{2, 0, {}, 86'340, {}, {}, {}};
        CHECK(is(client({0xc2, 0x3e, 0x01, 0x01}), plain));
        CHECK(is(client({0xca, 0x3e, 0x01, 0x01}), plain));
        CHECK(is(client({0xd0, 0x3e, 0x01}), plain));
        CHECK(is(client({0xd8, 0x3e, 0x01}), plain));  // 1003
        CHECK(is(client({0xb8, 0x3e, 0x01}), plain));  // 999
        CHECK(verdict(client({0xc0, 0x3e})) == errc::malformed);
        CHECK(verdict(client({0xd2, 0x3e, 0x02, 0x01})) == errc::malformed);
    }
    SECTION("the last of a repeated extension field counts, to 64 bits") {
        const auto paid = [&](const bytes& body) {
            const auto got = codec.decode(bytes{0x08, 0x0b, 0x5a, static_cast<std::uint8_t>(body.size())} + body);
            return got ? std::get<wire::payment_ack>(*got).paid.value_or(98) : 99;
        };
        CHECK(paid({0xc0, 0x3e, 0x05, 0xc0, 0x3e, 0x04}) == 4);
        CHECK(paid({0xc0, 0x3e, 0x05, 0xc2, 0x3e, 0x01, 0x04}) == 5);
        CHECK(paid(bytes{0xc0, 0x3e} + repeat({0xff}, 9) + bytes{0x01}) == ~std::uint64_t{0});
        CHECK(paid(bytes{0xc0, 0x3e} + repeat({0xff}, 9) + bytes{0x7f}) == ~std::uint64_t{0});
        CHECK(paid(bytes{0xc0, 0x3e} + repeat({0xff}, 10) + bytes{0x01}) == 99);
        CHECK(paid(bytes{0xc0, 0xbe, 0x80, 0x80, 0x00, 0x05}) == 5);
        CHECK(paid(bytes{0xc0, 0xbe, 0x80, 0x80, 0x80, 0x00, 0x05}) == 99);
    }
    SECTION("a field whose number differs from an extension's by a power of two is another one") {
        // 1000 + 2^k, and 1000 - 512: what a set of 32 or 64 bits, or a cut tag, would take for the same.
        for (const bytes& t : std::vector<bytes>{{0xc0, 0x1e},
                                                 {0xc0, 0x40},
                                                 {0xc0, 0x42},
                                                 {0xc0, 0x7e},
                                                 {0xc0, 0xbe, 0x01},
                                                 {0xc0, 0xbe, 0x80, 0x80, 0x01}}) {
            const bytes body = t + bytes{0x05};
            const bytes frame = bytes{0x08, 0x0b, 0x5a, static_cast<std::uint8_t>(body.size())} + body;
            CHECK((codec.decode(frame) == wire::message{wire::payment_ack{}}));
        }
    }
    SECTION("a message with extension fields that does not fit is not written") {
        for (const auto& e : extended_frames()) {
            for (std::size_t size = 0; size < e.frame.size(); ++size) {
                const auto less = codec.encode(e.meaning, bytes_span(memory).first(size));
                REQUIRE(!less);
                CHECK(less.error().code == errc::too_long);
            }
            CHECK(codec.encode(e.meaning, bytes_span(memory).first(e.frame.size())));
        }
    }
}

}  // namespace paychan::conformance
