// Which payments a server believes, and that what it keeps of them can be settled.
#include "paychan/channel/payment.hpp"

#include <catch2/catch.hpp>

#include "support/channel.hpp"

using namespace paychan;
using namespace paychan_test;

namespace {

template <class Scheme>
std::string refusal(const channel_of<Scheme>& c, const bytes& signature, std::int64_t change) {
    const auto checked = check_payment<Scheme>(c.record, c.payment(signature, change));
    if (checked) return "accepted";
    CHECK(checked.error().code == errc::bad_transaction);
    return std::string(checked.error().text);
}

constexpr std::uint8_t with_change = 0x83;     // SINGLE|ANYONECANPAY
constexpr std::uint8_t without_change = 0x82;  // NONE|ANYONECANPAY

}  // namespace

TEMPLATE_TEST_CASE("a payment's sighash is the one that the reference computed", "[channel][payment]", multisig_refund,
                   cltv_p2sh) {
    for (const char* name : {"open_pay10_settle", "exhaust_all", "raw_initial_all", "raw_pay_change_546"}) {
        const recorded_channel recorded(name, TestType::version);
        for (const auto& p : recorded.file["payments"]) {
            INFO(name << ", change " << p["client_change_value"]);
            const satoshi change{p["client_change_value"].get<std::int64_t>()};
            const auto digest = payment_digest<TestType>(recorded.terms, change);
            REQUIRE(digest);
            CHECK(hex(*digest) == p["sighash"].get<std::string>());
        }
    }
}

TEMPLATE_TEST_CASE("a server judges recorded payments as they are: valid or not", "[channel][payment]", multisig_refund,
                   cltv_p2sh) {
    int valid = 0;
    int invalid = 0;
    constexpr bool first = TestType::version == 1;
    for (const char* name : {"open_pay10_settle", "exhaust_all", first ? "info_ack" : "info_ack_text",
                             "raw_initial_all", first ? "raw_initial_bad_sig" : "raw_pay_bad_sig", "raw_pay_high_s",
                             "raw_pay_change_546", first ? "mitm_payment_bad_signature" : "raw_pay_sig_garbage"}) {
        const recorded_channel recorded(name, TestType::version);
        channel_record record;
        record.protocol = TestType::version;
        record.terms = recorded.terms;
        record.change = recorded.terms.value;
        for (const auto& p : recorded.file["payments"]) {
            wire::update_payment m;
            m.client_change_value = p["client_change_value"].get<std::uint64_t>();
            const bytes signature = unhex(p["signature"].get<std::string>());
            m.signature = signature;
            INFO(name << ", change " << m.client_change_value);
            const bool expected = p["valid"].get<bool>();
            CHECK(check_payment<TestType>(record, m).has_value() == expected);
            ++(expected ? valid : invalid);
        }
    }
    CHECK(valid > 20);
    CHECK(invalid > 0);
}

TEMPLATE_TEST_CASE("a payment is refused with a text that says why", "[channel][payment]", multisig_refund, cltv_p2sh) {
    channel_of<TestType> c;
    c.pay_down_to(900'000);
    const auto sign = [&](std::int64_t change, std::uint8_t flags) { return c.signed_change({change}, flags); };

    CHECK(refusal(c, sign(890'000, with_change), 890'000) == "accepted");
    CHECK(refusal(c, sign(900'000, with_change), 900'000) == "accepted");  // a repeated frame
    CHECK(refusal(c, sign(546, with_change), 546) == "accepted");
    CHECK(refusal(c, sign(0, without_change), 0) == "accepted");

    CHECK(refusal(c, sign(900'001, with_change), 900'001) == "attempt to roll back a payment on the channel");
    CHECK(refusal(c, sign(1'000'000, with_change), 1'000'000) == "attempt to roll back a payment on the channel");
    CHECK(refusal(c, sign(1'000'001, with_change), 1'000'001) == "attempt to refund more than the contract holds");
    for (const std::int64_t huge : {std::int64_t{-1}, std::int64_t{-1'000}, std::numeric_limits<std::int64_t>::min()})
        CHECK(refusal(c, sign(890'000, with_change), huge) == "attempt to refund more than the contract holds");
    for (const std::int64_t dust : {1, 545})
        CHECK(refusal(c, sign(dust, with_change), dust) ==
              "change is below the dust limit: pay it too, or leave 546 or more");

    const bytes good = sign(890'000, with_change);
    CHECK(refusal(c, {}, 890'000) == "payment signature is not strict DER");
    CHECK(refusal(c, {0x83}, 890'000) == "payment signature is not strict DER");
    CHECK(refusal(c, bytes(good.begin(), good.end() - 1), 890'000) == "payment signature is not strict DER");
    bytes longer = good;
    longer.insert(longer.end() - 1, 0);
    CHECK(refusal(c, longer, 890'000) == "payment signature is not strict DER");
    CHECK(refusal(c, bytes(200, 0x30), 890'000) == "payment signature is not strict DER");
    CHECK(refusal(c, sign(889'999, with_change), 890'000) == "payment signature does not verify");
    const channel_of<TestType> other(satoshi{2'000'000});
    channel_of<TestType> elsewhere;
    elsewhere.record.terms.contract.id = txid{sha256(as_bytes("another contract"))};
    CHECK(refusal(c, elsewhere.signed_change({890'000}, with_change), 890'000) == "payment signature does not verify");
}

TEMPLATE_TEST_CASE("a payment under any other flags than 83 with change and 82 without is refused",
                   "[channel][payment]", multisig_refund, cltv_p2sh) {
    channel_of<TestType> c;
    const std::string_view wrong = "payment signature has the wrong SIGHASH flags: 83 with change, 82 without";
    for (int flags = 0; flags < 256; ++flags) {
        const auto f = static_cast<std::uint8_t>(flags);
        INFO("flags " << flags);
        if (f != with_change) CHECK(refusal(c, c.signed_change({600'000}, f), 600'000) == wrong);
        if (f != without_change) CHECK(refusal(c, c.signed_change({0}, f), 0) == wrong);
    }
}

TEMPLATE_TEST_CASE("a SIGHASH_SINGLE signature without an output is neither made nor believed", "[channel][payment]",
                   multisig_refund, cltv_p2sh) {
    // Consensus has it sign the number 1: it would then unlock every such transaction, of any channel.
    channel_of<TestType> c;
    const bytes signature = c.signed_change({0}, with_change);
    CHECK(refusal(c, signature, 0) != "accepted");
    CHECK(payment_flags({0}) == without_change);

    const tx_input in{c.record.terms.contract, {}, final_sequence, {}};
    std::array<std::uint8_t, 128> memory{};
    writer w(memory);
    write_transaction(w, 1, {&in, 1}, {}, 0);
    const auto tx = parse_transaction(w.written()).value();
    for (const int single : {0x03, 0x83, 0x23, 0xe3}) {
        const auto digest =
            legacy_sighash(tx, 0, TestType::script_code(c.record.terms).view(), static_cast<std::uint32_t>(single));
        REQUIRE_FALSE(digest);
        CHECK(digest.error().code == errc::bad_transaction);
    }
}

TEMPLATE_TEST_CASE("a payment with a high S is accepted and kept with the low one", "[channel][payment]",
                   multisig_refund, cltv_p2sh) {
    channel_of<TestType> c;
    const bytes low = c.signed_change({600'000}, with_change);
    const bytes high = c.signed_change({600'000}, with_change, true);
    REQUIRE(low != high);
    REQUIRE_FALSE(is_low_s(parse_flagged(high)->signature));
    const auto checked = check_payment<TestType>(c.record, c.payment(high, 600'000));
    REQUIRE(checked);
    CHECK(owned(checked->signature.view()) == low);

    // The reference's recording of such a client.
    const recorded_channel recorded("raw_pay_high_s", TestType::version);
    channel_record record;
    record.terms = recorded.terms;
    record.change = recorded.terms.value;
    int high_ones = 0;
    for (const auto& p : recorded.file["payments"]) {
        wire::update_payment m;
        m.client_change_value = p["client_change_value"].get<std::uint64_t>();
        const bytes signature = unhex(p["signature"].get<std::string>());
        m.signature = signature;
        const auto kept = check_payment<TestType>(record, m);
        REQUIRE(kept);
        CHECK(is_low_s(parse_flagged(kept->signature.view())->signature));
        high_ones += owned(kept->signature.view()) != signature ? 1 : 0;
    }
    CHECK(high_ones > 0);
}

TEST_CASE("what a client keeps is never dust, and never more than it had", "[channel][payment]") {
    CHECK(change_after({10'000}, {9'454}) == satoshi{546});
    CHECK(change_after({10'000}, {9'455}) == satoshi{0});  // 545 would be left: given away
    CHECK(change_after({10'000}, {10'000}) == satoshi{0});
    CHECK(change_after({10'000}, {0}) == satoshi{10'000});
    CHECK(change_after({10'000}, {10'001}).error().code == errc::insufficient_funds);
    CHECK(change_after({10'000}, {-1}).error().code == errc::out_of_range);
}

TEMPLATE_TEST_CASE("a client's signature is one that the server accepts, at each kind of change", "[channel][payment]",
                   multisig_refund, cltv_p2sh) {
    channel_of<TestType> c;
    channel_record own = c.record;
    own.key = c.client_key;
    for (const std::int64_t change : {1'000'000, 999'999, 546, 0}) {
        const auto signature = sign_payment<TestType>(own, {change}, c.client_keys);
        REQUIRE(signature);
        CHECK(refusal(c, owned(signature->view()), change) == "accepted");
        CHECK(owned(signature->view()) == c.signed_change({change}, change > 0 ? with_change : without_change));
    }
}
