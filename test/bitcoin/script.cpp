#include "paychan/bitcoin/script.hpp"

#include <catch2/catch.hpp>

#include "paychan/bitcoin/sha1.hpp"
#include "paychan/crypto/hash.hpp"
#include "support.hpp"

using namespace paychan;
using namespace support;

namespace {
bytes pushed(const bytes& data) {
    return written([&](writer& w) { push(w, data); });
}
}  // namespace

TEST_CASE("script push takes the shortest form", "[bitcoin][script]") {
    // Bitcoin Core CheckMinimalPush.
    CHECK(hex(pushed({})) == "00");
    CHECK(hex(pushed({0})) == "0100");
    CHECK(hex(pushed({1})) == "51");
    CHECK(hex(pushed({16})) == "60");
    CHECK(hex(pushed({17})) == "0111");
    CHECK(hex(pushed({0x80})) == "0180");
    CHECK(hex(pushed({0x81})) == "4f");
    CHECK(hex(pushed({1, 0})) == "020100");
    CHECK(hex(pushed(bytes(75, 7))).substr(0, 4) == "4b07");
    CHECK(hex(pushed(bytes(76, 7))).substr(0, 6) == "4c4c07");
    CHECK(hex(pushed(bytes(255, 7))).substr(0, 6) == "4cff07");
    CHECK(hex(pushed(bytes(256, 7))).substr(0, 8) == "4d000107");
    CHECK(hex(pushed(bytes(65'535, 7))).substr(0, 8) == "4dffff07");
    CHECK(hex(pushed(bytes(65'536, 7))).substr(0, 12) == "4e0000010007");
}

TEST_CASE("script numbers read and write as Bitcoin Core's", "[bitcoin][script]") {
    // Bitcoin Core scriptnum_tests and the examples of CScriptNum::serialize.
    const std::vector<std::pair<std::int64_t, std::string>> known{{0, ""},
                                                                  {1, "01"},
                                                                  {-1, "81"},
                                                                  {127, "7f"},
                                                                  {-127, "ff"},
                                                                  {128, "8000"},
                                                                  {-128, "8080"},
                                                                  {255, "ff00"},
                                                                  {256, "0001"},
                                                                  {-256, "0081"},
                                                                  {32767, "ff7f"},
                                                                  {32768, "008000"},
                                                                  {500'000'000, "0065cd1d"},
                                                                  {2'147'483'647, "ffffff7f"},
                                                                  {-2'147'483'647, "ffffffff"},
                                                                  {2'147'483'648, "0000008000"},
                                                                  {4'294'967'295, "ffffffff00"}};
    for (const auto& [value, text] : known) {
        CHECK(hex(encode_script_number(value).view()) == text);
        CHECK(decode_script_number(unhex(text), 5, number_encoding::minimal).value() == value);
    }
    for (const std::int64_t v :
         {std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::min() + 1})
        CHECK(decode_script_number(encode_script_number(v).view(), 8, number_encoding::minimal).value() == v);
    CHECK(hex(encode_script_number(std::numeric_limits<std::int64_t>::min()).view()) == "000000000000008080");

    for (const char* const longer : {"00", "80", "0100", "0180", "ff0000", "ffffff7f00"}) {
        CHECK_FALSE(decode_script_number(unhex(longer), 5, number_encoding::minimal).has_value());
        CHECK(decode_script_number(unhex(longer), 5, number_encoding::any).has_value());
    }
    CHECK(decode_script_number(unhex("80"), 4, number_encoding::any).value() == 0);
    CHECK_FALSE(decode_script_number(unhex("0000008000"), 4, number_encoding::any).has_value());
    CHECK_FALSE(decode_script_number(bytes(9, 1), 20, number_encoding::any).has_value());
}

TEST_CASE("script reader walks operations and sees a push that is cut off", "[bitcoin][script]") {
    const bytes script = unhex("0002aabb4c01cc4d0100dd4e01000000ee51ac");
    script_reader ops(script);
    std::string seen;
    while (const auto op = ops.next()) seen += hex(bytes{op->code}) + "(" + hex(op->data) + ")";
    CHECK(ops.ok());
    CHECK(seen == "00()02(aabb)4c(cc)4d(dd)4e(ee)51()ac()");
    for (const char* const cut : {"01", "02aa", "4c", "4c01", "4d01", "4d0100", "4e010000", "4effffffff00"}) {
        const bytes keep = unhex(cut);
        script_reader again(keep);
        CHECK_FALSE(again.next().has_value());
        CHECK_FALSE(again.ok());
        CHECK_FALSE(again.next().has_value());
    }
}

TEST_CASE("script templates are those of known transactions", "[bitcoin][script]") {
    // From the examples of BIP143: the keys and the scripts that pay to them.
    const bytes key = unhex("03ad1d8e89212f0b92c74d23bb710c00662ad1470198ac48c43f7d6f93a2a26873");
    const script_buffer witness = p2wpkh_script(hash160(key));
    CHECK(hex(witness.view()) == "001479091972186c449eb1ded22b78e40d009bdf0089");
    CHECK(hex(p2sh_script(hash160(witness.view())).view()) == "a9144733f37cf4db86fbc2efed2500b4f4e49f31202387");
    CHECK(hex(p2pkh_script(hash160(key)).view()) == "76a91479091972186c449eb1ded22b78e40d009bdf008988ac");
    const bytes inner = unhex(
        "21026dccc749adc2a9d0d89497ac511f760f45c47dc5ed9cf352a58ac706453880aeadab210255a9626aebf5e29c0e6538428ba0d1dcf6"
        "ca98ffdf086aa8ced5e0d0215ea465ac");
    CHECK(hex(p2wsh_script(sha256(inner)).view()) ==
          "00205d1b56b63d714eebe542309525f484b7e9d6f686b3781b6f61ef925d66d6f6a0");

    CHECK(match_p2wpkh(witness.view()) == hash160(key));
    CHECK(match_p2pkh(p2pkh_script(hash160(key)).view()) == hash160(key));
    CHECK(match_p2sh(p2sh_script(hash160(inner)).view()) == hash160(inner));
    CHECK(match_p2wsh(p2wsh_script(sha256(inner)).view()) == sha256(inner));
    CHECK_FALSE(match_p2wpkh(p2wsh_script(sha256(inner)).view()));
    CHECK_FALSE(match_p2sh(p2pkh_script(hash160(key)).view()));
}

TEST_CASE("script recognises the 2-of-2 contracts that nodes have seen", "[bitcoin][script]") {
    std::size_t found = 0;
    for (const auto& entry : load("channel_transactions.json")) {
        for (const auto& prev : entry["prevs"]) {
            if (prev.is_null()) continue;
            const bytes script = unhex(prev["script"]);
            const auto match = match_multisig_2of2(script);
            if (!match) continue;
            ++found;
            CHECK(equal(multisig_2of2_script(match->key1, match->key2).view(), script));
        }
    }
    CHECK(found > 5);

    const bytes key = unhex("03ad1d8e89212f0b92c74d23bb710c00662ad1470198ac48c43f7d6f93a2a26873");
    bytes long_key(65, 9);
    long_key[0] = 4;
    CHECK(multisig_2of2_script(long_key, long_key).size() == 135);
    CHECK(match_multisig_2of2(multisig_2of2_script(key, long_key).view()).has_value());
    CHECK(multisig_2of2_script(bytes(100), bytes(100)).empty());
    const auto changed = [&](std::size_t at, std::uint8_t to) {
        const script_buffer script = multisig_2of2_script(key, key);
        bytes b(script.view().begin(), script.view().end());
        b[at] = to;
        return match_multisig_2of2(b).has_value();
    };
    CHECK(changed(1, 33));
    CHECK_FALSE(changed(0, op_1));
    CHECK_FALSE(changed(1, 32));
    CHECK_FALSE(changed(1, 34));
    CHECK_FALSE(changed(69, op_3));
    CHECK_FALSE(changed(70, op_checkmultisigverify));
    for (const char* const text : {"", "52", "5252ae", "520052ae", "52210052ae"})
        CHECK_FALSE(match_multisig_2of2(unhex(text)).has_value());
}

TEST_CASE("script recognises witness programs of BIP141 only", "[bitcoin][script]") {
    const auto match = [](const std::string& text) {
        const bytes script = unhex(text);
        const auto program = match_witness_program(script);
        return program ? static_cast<int>(program->version) * 100 + static_cast<int>(program->program.size()) : -1;
    };
    CHECK(match("0014" + std::string(40, 'a')) == 20);
    CHECK(match("5120" + std::string(64, 'a')) == 132);
    CHECK(match("6002aaaa") == 1602);
    CHECK(match("5128" + std::string(80, 'a')) == 140);
    CHECK(match("5129" + std::string(82, 'a')) == -1);
    CHECK(match("6001aa") == -1);
    CHECK(match("6102aaaa") == -1);
    CHECK(match("4f02aaaa") == -1);
    CHECK(match("5002aaaa") == -1);
    CHECK(match("6002aa") == -1);
    CHECK(match("6002aaaaaa") == -1);
    CHECK(match_p2tr(unhex("5120" + std::string(64, 'a'))).has_value());
    CHECK_FALSE(match_p2tr(unhex("5220" + std::string(64, 'a'))).has_value());
}

TEST_CASE("SHA-1 gives the digests of FIPS 180", "[bitcoin][script]") {
    const auto sha1_of = [](const std::string& text) { return hex(detail::sha1(bytes(text.begin(), text.end()))); };
    CHECK(sha1_of("abc") == "a9993e364706816aba3e25717850c26c9cd0d89d");
    CHECK(sha1_of("") == "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    CHECK(sha1_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
          "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
}
