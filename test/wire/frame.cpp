// Frames on a stream: whole, in pieces, many at once, and those that nobody may send.
#include "paychan/wire/frame.hpp"

#include <catch2/catch.hpp>
#include <memory>

#include "conformance/codec.hpp"
#include "paychan/wire/codec.hpp"

using namespace paychan;
using conformance::bytes;
using conformance::operator+;

namespace {

bytes framed(const bytes& payload) {
    const auto header = wire::frame_header(payload.size());
    return bytes(header.begin(), header.end()) + payload;
}

bytes copy(bytes_view b) { return {b.begin(), b.end()}; }

/// All frames of a stream that comes in pieces of `step` bytes, and how it ended.
struct cut {
    std::vector<bytes> frames;
    std::optional<errc> failed;
    bool between_frames = false;
};

template <class Reader>
cut cut_up(Reader& reader, bytes_view stream, std::size_t step) {
    cut out;
    while (!stream.empty()) {
        const bytes owned = copy(stream.first(std::min(step, stream.size())));
        stream = stream.subspan(owned.size());
        bytes_view segment = owned;
        for (;;) {
            const auto frame = reader.next(segment);
            if (!frame) {
                out.failed = frame.error().code;
                return out;
            }
            if (!*frame) break;
            out.frames.push_back(copy(**frame));
        }
        REQUIRE(segment.empty());
    }
    out.between_frames = reader.between_frames();
    return out;
}

cut cut_up(bytes_view stream, std::size_t step) {
    const auto reader = std::make_unique<wire::frame_reader<>>();
    return cut_up(*reader, stream, step);
}

}  // namespace

TEST_CASE("frame length travels as four bytes, big-endian", "[wire][frame]") {
    CHECK(wire::frame_header(1) == std::array<std::uint8_t, 4>{0, 0, 0, 1});
    CHECK(wire::frame_header(0x7fff) == std::array<std::uint8_t, 4>{0, 0, 0x7f, 0xff});
}

TEST_CASE("frame reader finds the same frames however the stream is cut", "[wire][frame]") {
    bytes stream;
    std::vector<bytes> frames;
    for (const auto& f : conformance::load_recording(PAYCHAN_TEST_VECTORS "/bitcoinj").frames) {
        if (f.payload.empty()) continue;
        frames.push_back(f.payload);
        stream = stream + framed(f.payload);
    }
    REQUIRE(frames.size() > 100);
    for (const std::size_t step : {std::size_t{1}, std::size_t{2}, std::size_t{3}, std::size_t{4}, std::size_t{5},
                                   std::size_t{7}, std::size_t{1000}, std::size_t{1460}, stream.size()}) {
        const auto got = cut_up(stream, step);
        CHECK_FALSE(got.failed);
        CHECK((got.frames == frames));
        CHECK(got.between_frames);
    }
}

TEST_CASE("frame reader does not copy a frame that came whole", "[wire][frame]") {
    const bytes stream = framed({1, 2, 3}) + framed({4, 5});
    const auto reader = std::make_unique<wire::frame_reader<>>();
    bytes_view segment = stream;
    const auto first = reader->next(segment);
    REQUIRE((first && *first));
    CHECK((*first)->data() == stream.data() + 4);
    const auto second = reader->next(segment);
    REQUIRE((second && *second));
    CHECK((*second)->data() == stream.data() + 11);
    CHECK(segment.empty());
}

TEST_CASE("frame reader refuses a length as soon as it has it, and stays with that", "[wire][frame]") {
    struct refused {
        bytes header;
        errc code;
    };
    for (const auto& [header, code] :
         {refused{{0, 0, 0, 0}, errc::malformed}, refused{{0x80, 0, 0, 0}, errc::malformed},
          refused{{0xff, 0xff, 0xff, 0xff}, errc::malformed}, refused{{0, 0, 0x80, 0}, errc::too_long},
          refused{{0x7f, 0xff, 0xff, 0xff}, errc::too_long}}) {
        for (const std::size_t step : {std::size_t{1}, std::size_t{4}}) {
            wire::frame_reader<64> reader;
            CHECK(cut_up(reader, header, step).failed == code);
            CHECK_FALSE(reader.between_frames());
            CHECK(cut_up(reader, framed({1}), 64).failed == code);
            reader.clear();
            CHECK(cut_up(reader, framed({1}), 64).frames.size() == 1);
        }
    }
}

TEST_CASE("frame reader gives out the frames before one that it refuses", "[wire][frame]") {
    const auto got = cut_up(framed({1, 2}) + framed({3}) + bytes{0, 0, 0, 0} + framed({4}), 100);
    CHECK((got.frames == std::vector<bytes>{{1, 2}, {3}}));
    CHECK(got.failed == errc::malformed);
}

TEST_CASE("frame reader refuses what the reference refuses", "[wire][frame]") {
    int seen = 0;
    for (const auto& other : conformance::load_recording(PAYCHAN_TEST_VECTORS "/bitcoinj").others) {
        INFO(other.where);
        const auto got = cut_up(other.raw, 3);
        CHECK(got.frames.empty());
        CHECK_FALSE(got.between_frames);
        CHECK(got.failed.has_value() == !other.partial);
        ++seen;
    }
    CHECK(seen >= 5);  // raw_len_*, fake_len_32768, raw_http, raw_partial_frame
}

TEST_CASE("frame reader takes the longest frame and holds no more than that", "[wire][frame]") {
    bytes longest(wire::max_frame_size);
    longest.back() = 7;
    for (const std::size_t step : {std::size_t{1000}, std::size_t{40'000}}) {
        CHECK((cut_up(framed(longest), step).frames == std::vector<bytes>{longest}));
    }
    STATIC_REQUIRE(sizeof(wire::frame_reader<>) < 4 + wire::max_frame_size + 64);
}

TEST_CASE("a smaller frame reader refuses longer frames", "[wire][frame]") {
    wire::frame_reader<100> reader;
    CHECK(cut_up(reader, framed(bytes(100)), 9).frames.size() == 1);
    CHECK(cut_up(reader, framed(bytes(101)), 9).failed == errc::too_long);
}

TEST_CASE("frame reader knows whether the stream ended inside a frame", "[wire][frame]") {
    CHECK(cut_up(framed({1, 2, 3}), 2).between_frames);
    CHECK_FALSE(cut_up(framed({1, 2, 3}) + bytes{0}, 2).between_frames);
    CHECK_FALSE(cut_up(framed({1, 2, 3}) + bytes{0, 0, 0, 2}, 4).between_frames);
    CHECK_FALSE(cut_up(framed({1, 2, 3}) + bytes{0, 0, 0, 2, 1}, 2).between_frames);
    const wire::frame_reader<8> fresh;
    CHECK(fresh.between_frames());
}

TEST_CASE("a message is written with its length in one piece", "[wire][frame]") {
    std::array<std::uint8_t, wire::max_written_frame_size> memory;
    const auto out = wire::write_frame(wire::small_codec{}, wire::server_version{2, 0}, memory);
    REQUIRE(out);
    CHECK(out->data() == memory.data());
    CHECK((copy(*out) == framed({0x08, 0x02, 0x1a, 0x04, 0x08, 0x02, 0x10, 0x00})));  // open_pay10_settle.v2

    for (std::size_t size = 0; size < 12; ++size) {
        const auto less =
            wire::write_frame(wire::small_codec{}, wire::server_version{2, 0}, bytes_span(memory).first(size));
        REQUIRE(!less);
        CHECK(less.error().code == errc::too_long);
    }
}
