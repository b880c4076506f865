// Strict DER (BIP66), low S, and signatures with their sighash byte.
#include "paychan/crypto/signature.hpp"

#include <catch2/catch.hpp>

#include "support.hpp"

using namespace paychan;
using namespace support;

namespace {

ecdsa_signature compact(const std::string& r, const std::string& s) {
    ecdsa_signature out;
    std::ranges::copy(unhex(r + s), out.compact.begin());
    return out;
}

// A signature with this r and s = 1, in lengths that fit.
std::string der_of(const std::string& r) {
    const auto length = [](std::size_t n) { return hex(std::array{static_cast<std::uint8_t>(n)}); };
    return "30" + length(r.size() / 2 + 5) + "02" + length(r.size() / 2) + r + "020101";
}

}  // namespace

TEST_CASE("strict DER is read and written back the same", "[signature]") {
    const std::string good[] = {
        // Bitcoin Core, script_tests.json: BIP66 example 4 with a non-null compliant signature.
        "3006020101020101",
        // The same file: the signature under its two sighash bytes in "multi-byte hashtype".
        "304402203e4516da7253cf068effec6b95c41221c0cf3a8e6ccb8cbf1725b562e9afde2c022054e1c258c2981cdfba5df1f46661fb6541"
        "c44f77ca0092f3600331abfffb1251",
        // bitcoinj, raw_pay_high_s.v1.json: two 33-byte integers, the longest that there is.
        "3046022100a5ed446f70a0f42eaee72accc34ea340769fbe48bd9279094ef4d74824ee2d9302210085131198a9750e0e4903e577ba5183"
        "45e42dd09259bdee6649afd96e7f7e98e8",
        der_of("00" + order_minus_1),
        der_of("0080"),
    };
    for (const auto& der : good) {
        INFO(der);
        const auto signature = parse_der(unhex(der));
        REQUIRE(signature);
        CHECK(hex(to_der(*signature).view()) == der);
    }
}

TEST_CASE("the numbers of a signature are read as they stand", "[signature]") {
    CHECK(parse_der(unhex("3006020101020101")) == compact(one, one));
    CHECK(parse_der(unhex(der_of("00" + order_minus_1))) == compact(order_minus_1, one));
}

TEST_CASE("what is not strict DER is refused", "[signature]") {
    struct bad {
        const char* why;
        std::string der;
    };
    // From Bitcoin Core's script_tests.json (the DERSIG cases, without their sighash byte) where so noted: [core].
    const bad cases[] = {
        {"empty", ""},
        {"one byte", "30"},
        {"overly long [core]", std::string(146, '0')},
        {"no S [core]", "302202200000000000000000000000000000000000000000000000000000000000000000"},
        {"S with a wrong length [core]",
         "3024021077777777777777777777777777777777020a77777777777777777777777777777777"},
        {"R is no integer [core]", "3024031077777777777777777777777777777777021077777777777777777777777777777777"},
        {"S is no integer [core]", "3024021077777777777777777777777777777777031077777777777777777777777777777777"},
        {"R of no length [core]", "30140200021077777777777777777777777777777777"},
        {"S of no length [core]", "30140210777777777777777777777777777777770200"},
        {"S negative [core]", "3024021077777777777777777777777777777777021087777777777777777777777777777777"},
        {"R with a zero too many [core]",
         "304402200060558477337b9022e70534f1fea71a318caf836812465a2509931c5e7c4987022078ec32bd50ac9e03a349ba953dfd9fe1c"
         "8d2dd8bdb1d38ddca844d3d5c78c118"},
        {"S with a zero too many [core]",
         "304502202de8c03fc525285c9c535631019a5f2af7c6454fa9eb392a3756a4917c420edd02210046130bf2baf7cfc065067c8b9e33a06"
         "6d9c15edcea9feb0ca2d233e3597925b4"},
        {"R negative, BIP66 example 1 [core]",
         "30440220d7a0417c3f6d1a15094d1cf2a3378ca0503eb8a57630953a9e2987e21ddd0a6502207a6266d686c99090920249991d3d42065"
         "b6d43eb70187b219c0db82e4f94d1a2"},
        {"a byte after it, two sighash bytes [core]",
         "304402203e4516da7253cf068effec6b95c41221c0cf3a8e6ccb8cbf1725b562e9afde2c022054e1c258c2981cdfba5df1f46661fb654"
         "1c44f77ca0092f3600331abfffb125101"},
        {"a byte after S inside the sequence", "300702010102010100"},
        {"a byte after the sequence", "300602010102010100"},
        {"another tag", "3106020101020101"},
        {"sequence too short", "3005020101020101"},
        {"sequence too long", "3007020101020101"},
        {"length in two bytes (BER)", "308106020101020101"},
        {"indefinite length (BER)", "30800201010201010000"},
        {"integer length in two bytes (BER)", "300702810101020101"},
        {"R zero", der_of("00")},
        {"S zero", "3006020101020100"},
        {"R is the order", der_of("00" + order)},
        {"R above the order", der_of("00" + std::string(64, 'f'))},
        {"R of 33 bytes that are all used", der_of("01" + zero)},
        {"R minus one", der_of("ff")},
    };
    for (const auto& c : cases) {
        INFO(c.why);
        const auto signature = parse_der(unhex(c.der));
        REQUIRE(!signature);
        CHECK(signature.error().code == errc::invalid_signature);
    }
}

TEST_CASE("every cut of a good signature is refused", "[signature]") {
    const auto der = unhex(
        "3046022100a5ed446f70a0f42eaee72accc34ea340769fbe48bd9279094ef4d74824ee2d9302210085131198a9750e0e4903e577ba5183"
        "45e42dd09259bdee6649afd96e7f7e98e8");
    for (std::size_t n = 0; n < der.size(); ++n) CHECK(!parse_der(bytes_view(der).first(n)));
}

TEST_CASE("S is low up to half the order and high above", "[signature]") {
    CHECK(is_low_s(compact(one, one)));
    CHECK(is_low_s(compact(one, half_order)));
    CHECK(!is_low_s(compact(one, half_order_plus_1)));
    CHECK(!is_low_s(compact(one, order_minus_1)));
}

TEST_CASE("normalising mirrors a high S and keeps a low one", "[signature]") {
    CHECK(normalized(compact(one, order_minus_1)) == compact(one, one));
    CHECK(normalized(compact(one, half_order_plus_1)) == compact(one, half_order));
    CHECK(normalized(compact(one, half_order)) == compact(one, half_order));
}

TEST_CASE("a flagged signature carries any sighash byte", "[signature]") {
    for (const char* flag : {"00", "01", "82", "83", "ff"}) {
        const std::string text = std::string("3006020101020101") + flag;
        const auto flagged = parse_flagged(unhex(text));
        REQUIRE(flagged);
        CHECK(flagged->signature == compact(one, one));
        CHECK(flagged->hash_type == unhex(flag)[0]);
        CHECK(hex(to_bytes(*flagged).view()) == text);
    }
}

TEST_CASE("the longest signature fits with its flag", "[signature]") {
    const flagged_signature flagged{compact(order_minus_1, order_minus_1), 0x83};
    const auto bytes = to_bytes(flagged);
    CHECK(bytes.size() == 73);
    CHECK(parse_flagged(bytes.view()) == flagged);
}

TEST_CASE("a flagged signature without a signature or without its flag is refused", "[signature]") {
    for (const char* bad : {"", "83", "3006020101020101", "30060201010201018383"}) {
        const auto flagged = parse_flagged(unhex(bad));
        REQUIRE(!flagged);
        CHECK(flagged.error().code == errc::invalid_signature);
    }
}
