// The small codec against the specification and the recorded sessions of the reference.
#include "paychan/wire/codec.hpp"

#include <catch2/catch.hpp>

#include "conformance/codec.hpp"

using namespace paychan;

TEMPLATE_TEST_CASE("a codec without libprotobuf reads and writes the frames of the reference", "[wire][codec]",
                   wire::small_codec) {
    conformance::check_codec_on_recording<TestType>(conformance::load_recording(PAYCHAN_TEST_VECTORS "/bitcoinj"));
}

TEMPLATE_TEST_CASE("a codec without libprotobuf knows the corners of the wire format", "[wire][codec]",
                   wire::small_codec) {
    conformance::check_codec_on_corners<TestType>();
}

TEMPLATE_TEST_CASE("a codec without libprotobuf knows the extension fields", "[wire][codec]", wire::small_codec) {
    conformance::check_codec_on_extensions<TestType>();
}

TEST_CASE("a peer that does not know the extensions skips them and reads what it always read", "[wire][codec]") {
    // Such a peer passes over all fields from 12 on in a frame, and from 5 on in a body.
    using conformance::bytes;
    using conformance::operator+;
    const auto kept = [](bytes_view in, std::uint32_t up_to, auto&& inside) {
        bytes out;
        wire::field_reader fields(in);
        while (!fields.at_end()) {
            const auto t = fields.next_tag();
            if (t.number > up_to || (t.type != 0 && t.type != 2)) {
                fields.skip(t, wire::max_depth);
                continue;
            }
            out.push_back(static_cast<std::uint8_t>(t.number << 3 | t.type));
            if (t.type == 0) {
                auto v = fields.varint();
                for (; v >= 0x80; v >>= 7) out.push_back(static_cast<std::uint8_t>(v | 0x80));
                out.push_back(static_cast<std::uint8_t>(v));
            } else {
                const bytes body = inside(fields.sized_bytes());
                out.push_back(static_cast<std::uint8_t>(body.size()));
                out = out + body;
            }
        }
        CHECK(fields.ok());
        return out;
    };
    const auto as_it_is = [](bytes_view b) { return bytes(b.begin(), b.end()); };
    for (const auto& e : conformance::extended_frames()) {
        CAPTURE(e.frame);
        const auto seen = kept(e.frame, 11, [&](bytes_view body) { return kept(body, 4, as_it_is); });
        CHECK((seen == e.without));
    }
}

TEST_CASE("small codec points into the frame that it decoded", "[wire][codec]") {
    const conformance::bytes frame{0x08, 0x0b, 0x5a, 0x05, 0x0a, 0x03, 1, 2, 3};
    const auto got = wire::small_codec::decode(frame);
    REQUIRE(got);
    CHECK(std::get<wire::payment_ack>(*got).info->data() == frame.data() + 6);
}

TEST_CASE("the numbers of the types are the order of the messages", "[wire][codec]") {
    // protocol.md, section 2
    CHECK(wire::type_of(wire::client_version{}) == wire::message_type::client_version);
    CHECK(wire::type_of(wire::channel_open{}) == wire::message_type::channel_open);
    CHECK(wire::type_of(wire::update_payment{}) == wire::message_type::update_payment);
    CHECK(wire::type_of(wire::close{}) == wire::message_type::close);
    CHECK(wire::type_of(wire::error_message{}) == wire::message_type::error);
    CHECK(static_cast<int>(wire::type_of(wire::payment_ack{})) == 11);
}
