// The libprotobuf codec against the specification and the recorded sessions, and each codec against the other.
#include "paychan/protobuf/codec.hpp"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <random>

#include "conformance/codec.hpp"
#include "conformance/codec_agreement.hpp"
#include "paychan/wire/codec.hpp"

using namespace paychan;
using conformance::bytes;
using conformance::operator+;

TEMPLATE_TEST_CASE("a codec with libprotobuf reads and writes the frames of the reference", "[protobuf][codec]",
                   protobuf_codec) {
    conformance::check_codec_on_recording<TestType>(conformance::load_recording(PAYCHAN_TEST_VECTORS "/bitcoinj"));
}

TEMPLATE_TEST_CASE("a codec with libprotobuf knows the corners of the wire format", "[protobuf][codec]",
                   protobuf_codec) {
    conformance::check_codec_on_corners<TestType>();
}

TEMPLATE_TEST_CASE("a codec with libprotobuf knows the extension fields", "[protobuf][codec]", protobuf_codec) {
    conformance::check_codec_on_extensions<TestType>();
}

TEST_CASE("protobuf codec prints nothing about the bytes of a stranger", "[protobuf][codec]") {
    std::FILE* caught = std::tmpfile();
    REQUIRE(caught);
    std::fflush(stderr);
    const int stderr_before = dup(STDERR_FILENO);
    dup2(fileno(caught), STDERR_FILENO);
    protobuf_codec codec;
    int refused = 0;
    for (const bytes& frame :
         {bytes{}, bytes{0x1a, 0x00}, bytes{0x08, 0x01, 0x12, 0x00}, bytes{0x08, 0x0c}, bytes{0xff},
          bytes{0x08, 0x0a, 0x52, 0x03, 0x12, 0x01, 0xff}, bytes{0x08, 0x07, 0xc2, 0x3e, 0x00}}) {
        if (!codec.decode(frame)) ++refused;
    }
    std::fflush(stderr);
    dup2(stderr_before, STDERR_FILENO);
    close(stderr_before);
    std::fseek(caught, 0, SEEK_END);
    CHECK(std::ftell(caught) == 0);
    CHECK(refused == 6);
    std::fclose(caught);
}

namespace {

/// Frames and messages by chance, from one seed.
class generator {
public:
    explicit generator(std::uint32_t seed) : random_(seed) {}

    std::uint64_t below(std::uint64_t n) { return random_() % n; }

    /// A frame with some of its bytes changed, moved, repeated, dropped, or with parts of another.
    bytes mutate(bytes f, const bytes& other, std::uint64_t at_most) {
        for (std::uint64_t n = below(at_most) + 1; n > 0; --n) {
            const auto at = [&] { return static_cast<std::ptrdiff_t>(below(f.size() + 1)); };
            const auto a = at();
            const auto b = at();
            const auto from = f.begin() + std::min(a, b);
            const auto to = f.begin() + std::max(a, b);
            switch (below(7)) {
                case 0:
                    if (!f.empty()) f[below(f.size())] ^= static_cast<std::uint8_t>(1U << below(8));
                    break;
                case 1:
                    if (!f.empty()) f[below(f.size())] = static_cast<std::uint8_t>(below(256));
                    break;
                case 2: f.insert(from, field(2).front()); break;
                case 3: f.erase(from, from + std::min<std::ptrdiff_t>(to - from, 4)); break;
                case 4: f = f + bytes(from, to); break;
                case 5: f = f + other; break;
                case 6: {
                    const auto more = field(3);
                    f.insert(from, more.begin(), more.end());
                    break;
                }
            }
        }
        return f;
    }

    /// A frame of likely tags with likely values: mostly one that parses.
    bytes frame() {
        bytes out;
        if (below(8) != 0) out = out + bytes{0x08, static_cast<std::uint8_t>(below(13))};
        for (std::uint64_t n = below(5); n > 0; --n) out = out + field(3);
        return out;
    }

    wire::message message() {
        switch (below(11)) {
            case 0:
                return wire::client_version{int32(),        int32(),        maybe(), uint64(),
                                            maybe_uint64(), maybe_uint64(), maybe()};
            case 1: return wire::server_version{int32(), int32()};
            case 2: return wire::initiate{view(), uint64(), uint64(), uint64()};
            case 3: return wire::provide_refund{view(), view()};
            case 4: return wire::return_refund{view()};
            case 5: return wire::provide_contract{view(), {uint64(), view(), maybe()}, maybe()};
            case 6:
                if (below(4) == 0) return wire::channel_open{};
                return wire::channel_open{wire::resume_state{uint64(), view()}};
            case 7: return wire::update_payment{uint64(), view(), maybe()};
            case 8: return wire::close{maybe()};
            case 9: return wire::error_message{static_cast<std::int32_t>(below(10)), maybe(), maybe_uint64()};
            default: return wire::payment_ack{maybe(), maybe_uint64()};
        }
    }

private:
    static void varint(bytes& out, std::uint64_t v, std::uint64_t padding) {
        for (; v >= 0x80; v >>= 7) out.push_back(static_cast<std::uint8_t>(v | 0x80));
        out.push_back(static_cast<std::uint8_t>(v));
        for (; padding > 0; --padding) {
            out.back() |= 0x80;
            out.push_back(0);
        }
    }

    std::uint64_t padding() { return below(30) == 0 ? below(8) : 0; }

    bytes field(int depth) {
        bytes out;
        const std::uint64_t type = below(12) == 0 ? below(8) : std::array<std::uint64_t, 3>{0, 2, 2}[below(3)];
        const std::uint64_t number = below(20) == 0  ? below(1U << 29)
                                     : below(6) == 0 ? 999 + below(5)  // the extensions and their neighbours
                                                     : below(13);
        varint(out, number << 3 | type, padding());
        switch (type) {
            case 0: varint(out, uint64(), padding()); break;
            case 1: out = out + bytes(8, 0x11); break;
            case 2: {
                bytes inner;
                if (depth > 0) {
                    for (std::uint64_t n = below(5); n > 0; --n) inner = inner + field(depth - 1);
                } else {
                    inner = bytes(below(4), 0x22);
                }
                varint(out, inner.size() + (below(50) == 0 ? below(3) : 0), padding());
                out = out + inner;
                break;
            }
            case 3:
                for (std::uint64_t n = depth > 0 ? below(3) : 0; n > 0; --n) out = out + field(depth - 1);
                if (below(8) != 0) varint(out, number << 3 | 4, 0);
                break;
            case 5: out = out + bytes(4, 0x33); break;
            default: break;
        }
        return out;
    }

    std::uint64_t uint64() {
        const auto any = random_();
        return below(3) == 0 ? any : any >> below(64);
    }
    std::int32_t int32() { return static_cast<std::int32_t>(uint64()); }

    bytes_view view() {
        const std::size_t size = below(200) == 0   ? 16'300 + below(200)
                                 : below(400) == 0 ? 32'740 + below(40)
                                                   : below(80);
        return bytes_view(filler_).subspan(below(100), size);
    }
    std::optional<std::uint64_t> maybe_uint64() { return below(2) != 0 ? std::optional(uint64()) : std::nullopt; }
    std::optional<bytes_view> maybe() { return below(2) != 0 ? std::optional(view()) : std::nullopt; }

    std::mt19937_64 random_;
    bytes filler_ = [] {
        bytes out(33'000);
        for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::uint8_t>(i * 37);
        return out;
    }();
};

bool has_extension(const wire::message& m) {
    if (const auto* v = std::get_if<wire::client_version>(&m)) {
        return v->extensions || v->resume_time || v->resume_signature;
    }
    if (const auto* open = std::get_if<wire::channel_open>(&m)) return open->resumed.has_value();
    if (const auto* ack = std::get_if<wire::payment_ack>(&m)) return ack->paid.has_value();
    return false;
}

}  // namespace

#ifndef PAYCHAN_FUZZ_ROUNDS
#define PAYCHAN_FUZZ_ROUNDS 200'000
#endif

TEST_CASE("both codecs say the same about frames that were tampered with", "[protobuf][wire][codec][fuzz]") {
    const std::uint32_t seed = 20'231'114;
    CAPTURE(seed);
    generator random(seed);
    std::vector<bytes> frames;
    for (auto& f : conformance::load_recording(PAYCHAN_TEST_VECTORS "/bitcoinj").frames) {
        if (f.payload.size() < 400) frames.push_back(std::move(f.payload));
    }
    REQUIRE(frames.size() > 100);
    wire::small_codec small;
    protobuf_codec big;
    std::size_t accepted = 0;
    std::size_t malformed = 0;
    std::size_t without_body = 0;
    std::size_t extended = 0;
    std::array<std::uint8_t, wire::max_frame_size> memory;
    for (int i = 0; i < PAYCHAN_FUZZ_ROUNDS; ++i) {
        bytes one = frames[random.below(frames.size())];
        const auto& other = frames[random.below(frames.size())];
        std::uint64_t changes = 4;
        if (random.below(2) == 0) {  // the recorded frames have no extensions; these have
            changes = 1;
            const auto own = small.encode(random.message(), bytes_span(memory).first(400));
            if (own) one.assign(own->begin(), own->end());
        }
        const bytes frame = random.below(2) == 0 ? random.mutate(one, other, changes) : random.frame();
        // A copy of its exact size, so that the address sanitizer sees a read beyond the end.
        const bytes exact(frame.begin(), frame.end());
        if (const char* what = conformance::disagreement_on_frame(small, big, exact)) {
            CAPTURE(i, exact);
            FAIL(what);
        }
        const auto got = wire::small_codec::decode(exact);
        if (got) ++accepted;
        if (got && has_extension(*got)) ++extended;
        if (!got && got.error().code == errc::malformed) ++malformed;
        if (!got && got.error().code == errc::syntax_error) ++without_body;
    }
    // The frames have to be good enough to reach behind the first check.
    CHECK(accepted > PAYCHAN_FUZZ_ROUNDS / 10);
    CHECK(malformed > PAYCHAN_FUZZ_ROUNDS / 10);
    CHECK(without_body > PAYCHAN_FUZZ_ROUNDS / 100);
    CHECK(extended > PAYCHAN_FUZZ_ROUNDS / 200);
}

TEST_CASE("both codecs write the same, and read what the other wrote", "[protobuf][wire][codec][fuzz]") {
    const std::uint32_t seed = 4;
    CAPTURE(seed);
    generator random(seed);
    wire::small_codec small;
    protobuf_codec big;
    for (int i = 0; i < PAYCHAN_FUZZ_ROUNDS; ++i) {
        const auto m = random.message();
        const std::size_t size = random.below(10) == 0 ? random.below(120) : wire::max_frame_size + random.below(100);
        if (const char* what = conformance::disagreement_on_message(small, big, m, size)) {
            CAPTURE(i, m.index(), size);
            FAIL(what);
        }
    }
}
