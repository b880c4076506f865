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
