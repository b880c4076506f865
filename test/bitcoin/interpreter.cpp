#include "paychan/bitcoin/interpreter.hpp"

#include <catch2/catch.hpp>

#include "paychan/bitcoin/check.hpp"
#include "support.hpp"

using namespace paychan;
using namespace support;

namespace {

const std::map<std::string, script_error>& verdicts() {
    using enum script_error;
    static const std::map<std::string, script_error> all{
        {"OK", ok},
        {"UNKNOWN_ERROR", unknown_error},
        {"EVAL_FALSE", eval_false},
        {"OP_RETURN", op_return},
        {"SCRIPT_SIZE", script_size},
        {"PUSH_SIZE", push_size},
        {"OP_COUNT", op_count},
        {"STACK_SIZE", stack_size},
        {"SIG_COUNT", sig_count},
        {"PUBKEY_COUNT", pubkey_count},
        {"VERIFY", verify},
        {"EQUALVERIFY", equalverify},
        {"CHECKMULTISIGVERIFY", checkmultisigverify},
        {"CHECKSIGVERIFY", checksigverify},
        {"NUMEQUALVERIFY", numequalverify},
        {"BAD_OPCODE", bad_opcode},
        {"DISABLED_OPCODE", disabled_opcode},
        {"INVALID_STACK_OPERATION", invalid_stack_operation},
        {"INVALID_ALTSTACK_OPERATION", invalid_altstack_operation},
        {"UNBALANCED_CONDITIONAL", unbalanced_conditional},
        {"NEGATIVE_LOCKTIME", negative_locktime},
        {"UNSATISFIED_LOCKTIME", unsatisfied_locktime},
        {"SIG_HASHTYPE", sig_hashtype},
        {"SIG_DER", sig_der},
        {"MINIMALDATA", minimaldata},
        {"SIG_PUSHONLY", sig_pushonly},
        {"SIG_HIGH_S", sig_high_s},
        {"SIG_NULLDUMMY", sig_nulldummy},
        {"PUBKEYTYPE", pubkeytype},
        {"CLEANSTACK", cleanstack},
        {"MINIMALIF", minimalif},
        {"NULLFAIL", nullfail},
        {"DISCOURAGE_UPGRADABLE_NOPS", discourage_upgradable_nops},
        {"DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM", discourage_upgradable_witness_program},
        {"WITNESS_PROGRAM_WRONG_LENGTH", witness_program_wrong_length},
        {"WITNESS_PROGRAM_WITNESS_EMPTY", witness_program_witness_empty},
        {"WITNESS_PROGRAM_MISMATCH", witness_program_mismatch},
        {"WITNESS_MALLEATED", witness_malleated},
        {"WITNESS_MALLEATED_P2SH", witness_malleated_p2sh},
        {"WITNESS_UNEXPECTED", witness_unexpected},
        {"WITNESS_PUBKEYTYPE", witness_pubkeytype}};
    return all;
}

std::string verdict_name(script_error e) {
    for (const auto& [text, value] : verdicts())
        if (value == e) return text;
    return "?";
}

script_flags without(script_flags from, script_flags one) {
    return static_cast<script_flags>(static_cast<std::uint32_t>(from) & ~static_cast<std::uint32_t>(one));
}

/// The two transactions around a case of script_tests.json, as Bitcoin Core's test builds them.
struct script_case {
    bytes crediting;
    bytes spending;
    satoshi value;

    script_case(const bytes& script_sig, const bytes& script_pubkey, const bytes& witness, satoshi amount)
        : value(amount) {
        const bytes two_zeros{0, 0};
        const tx_input from_nowhere{outpoint{txid{}, 0xffff'ffff}, two_zeros, final_sequence, {}};
        const tx_output paid{value, script_pubkey};
        crediting = written([&](writer& w) { write_transaction(w, 1, {&from_nowhere, 1}, {&paid, 1}, 0); });
        const tx_input in{outpoint{parse_transaction(bytes_view{crediting}).value().id(), 0}, script_sig,
                          final_sequence, witness};
        const tx_output out{value, {}};
        spending = written([&](writer& w) { write_transaction(w, 1, {&in, 1}, {&out, 1}, 0); });
    }
};

/// A case of tx_valid.json or tx_invalid.json.
struct tx_case {
    std::map<outpoint, std::pair<bytes, satoshi>> prevouts;
    bytes raw;

    explicit tx_case(const nlohmann::json& entry) : raw(unhex(entry[1])) {
        for (const auto& p : entry[0]) {
            const outpoint o{parse_txid(p[0].get<std::string>()).value(),
                             static_cast<std::uint32_t>(p[1].get<std::int64_t>())};
            prevouts[o] = {assemble(p[2]), satoshi{p.size() > 3 ? p[3].get<std::int64_t>() : 0}};
        }
    }

    [[nodiscard]] result<void> verify(script_flags rules) const {
        PAYCHAN_TRY(const transaction tx, parse_transaction(bytes_view{raw}));
        PAYCHAN_CHECK(check_transaction(tx));
        for (std::size_t i = 0; i < tx.input_count(); ++i) {
            const auto& [script, value] = prevouts.at(tx.input(i)->prevout);
            PAYCHAN_CHECK(verify_input(tx, i, tx_output{value, script}, rules));
        }
        return {};
    }
};

}  // namespace

TEST_CASE("interpreter gives Bitcoin Core's verdict on every case of script_tests.json", "[bitcoin][interpreter]") {
    std::size_t cases = 0;
    for (const auto& entry : load("bitcoin-core/script_tests.json")) {
        if (entry.size() == 1) continue;  // a comment
        const std::size_t at = entry[0].is_array() ? 1 : 0;
        bytes witness;
        satoshi value{0};
        if (at == 1) {
            const std::size_t items = entry[0].size() - 1;
            if (items > 0)
                witness = written([&](writer& w) {
                    w.compact_size(items);
                    for (std::size_t i = 0; i < items; ++i) w.sized_bytes(unhex(entry[0][i]));
                });
            value = satoshi{std::llround(entry[0][items].get<double>() * 1e8)};
        }
        INFO(entry.dump());
        const bytes script_sig = assemble(entry[at]);
        const bytes script_pubkey = assemble(entry[at + 1]);
        const script_case c(script_sig, script_pubkey, witness, value);
        const transaction tx = parse_transaction(bytes_view{c.spending}).value();
        const auto rules = flag_list(entry[at + 2]);
        const script_flags all = flags(entry[at + 2]);
        const auto judge = [&](script_flags f) {
            return judge_script(script_sig, script_pubkey, witness, tx, 0, value, f).value();
        };
        const script_error verdict = judge(all);
        CHECK(verdict_name(verdict) == entry[at + 3].get<std::string>());
        // Rules only forbid: what passes all of them passes with any of them left out.
        if (verdict == script_error::ok)
            for (const script_flags one : rules) CHECK(judge(without(all, one)) == script_error::ok);
        ++cases;
    }
    CHECK(cases == 1203);
}

TEST_CASE("interpreter accepts every transaction of tx_valid.json", "[bitcoin][interpreter]") {
    std::size_t cases = 0;
    for (const auto& entry : load("bitcoin-core/tx_valid.json")) {
        if (entry.size() == 1) continue;
        INFO(entry.dump());
        const tx_case c(entry);
        const auto verdict = c.verify(flags(entry[2]));
        CHECK(str(verdict ? "" : verdict.error().text) == "");
        for (const script_flags one : flag_list(entry[2])) CHECK(c.verify(without(flags(entry[2]), one)).has_value());
        ++cases;
    }
    CHECK(cases == 120);
}

TEST_CASE("interpreter and check refuse every transaction of tx_invalid.json", "[bitcoin][interpreter]") {
    std::size_t cases = 0;
    for (const auto& entry : load("bitcoin-core/tx_invalid.json")) {
        if (entry.size() == 1) continue;
        INFO(entry.dump());
        CHECK_FALSE(tx_case(entry).verify(flags(entry[2])).has_value());
        ++cases;
    }
    CHECK(cases == 92);
}

TEST_CASE("interpreter agrees with two nodes on every channel transaction", "[bitcoin][interpreter]") {
    std::size_t ok = 0;
    std::size_t refused = 0;
    for (const auto& entry : load("channel_transactions.json")) {
        const std::string verdict = entry["res"];
        INFO(entry["section"] << ": " << entry["name"] << ": " << verdict << " " << entry.value("err", ""));
        const bytes raw = unhex(entry["hex"]);
        const transaction tx = parse_transaction(bytes_view{raw}).value();
        CHECK(hex(rewritten(tx)) == entry["hex"].get<std::string>());
        const auto& prevs = entry["prevs"];
        REQUIRE(prevs.size() == tx.input_count());
        bool all = true;
        bool known = true;
        for (std::size_t i = 0; i < tx.input_count(); ++i) {
            if (prevs[i].is_null()) {
                known = false;
                continue;
            }
            const bytes script = unhex(prevs[i]["script"]);
            const tx_output spent{satoshi{prevs[i]["value"].get<std::int64_t>()}, script};
            all = verify_input(tx, i, spent, standard_flags).has_value() && all;
        }
        if (verdict == "ok") {
            CHECK(known);
            CHECK(all);
            ++ok;
        } else if (verdict == "script") {
            CHECK_FALSE(all);
            ++refused;
        } else if (known) {
            CHECK(all);  // the nodes refused it for its lock time, its fee or a conflict
        }
    }
    CHECK(ok == 38);
    CHECK(refused == 37);
}

// The four examples of BIP143 below check out only if digest, script code and amount are right for each signature.
TEST_CASE("interpreter accepts the signed transactions of BIP143 and no other amount", "[bitcoin][interpreter]") {
    struct spent {
        const char* script;
        std::int64_t value;
    };
    const auto check = [](const char* signed_tx, const std::vector<spent>& prevouts, std::size_t witness_input) {
        const bytes raw = unhex(signed_tx);
        const transaction tx = parse_transaction(bytes_view{raw}).value();
        REQUIRE(tx.input_count() == prevouts.size());
        for (std::size_t i = 0; i < prevouts.size(); ++i) {
            const bytes script = unhex(prevouts[i].script);
            CHECK(verify_input(tx, i, {satoshi{prevouts[i].value}, script}, consensus_flags).has_value());
            const auto other = verify_input(tx, i, {satoshi{prevouts[i].value - 1}, script}, consensus_flags);
            CHECK(other.has_value() == (i != witness_input));  // a legacy signature does not cover the amount
        }
    };
    // Native P2WPKH
    check(
        "01000000000102fff7f7881a8099afa6940d42d1e7f6362bec38171ea3edf433541db4e4ad969f00000000494830450221008b9d1dc26b"
        "a"
        "6a9cb62127b02742fa9d754cd3bebf337f7a55d114c8e5cdd30be022040529b194ba3f9281a99f2b1c0a19c0489bc22ede944ccf4ecbab"
        "4cc618ef3ed01eeffffffef51e1b804cc89d182d279655c3aa89e815b1b309fe287d9b2b55d57b90ec68a0100000000ffffffff02202cb"
        "206000000001976a9148280b37df378db99f66f85c95a783a76ac7a6d5988ac9093510d000000001976a9143bde42dbee7e4dbe6a21b2d"
        "50ce2f0167faa815988ac000247304402203609e17b84f6a7d30c80bfa610b5b4542f32a8a0d5447a12fb1366d7f01cc44a0220573a954"
        "c4518331561406f90300e8f3358f51928d43c212a8caed02de67eebee0121025476c2e83188368da1ff3e292e7acafcdb3566bb0ad253f"
        "62fc70f07aeee635711000000",
        {{"2103c9f4836b9a4f77fc0d81f7bcb01b7f1b35916864b9476c241ce9fc198bd25432ac", 625000000},
         {"00141d0f172a0ecb48aee1be1f2687d2963ae33f71a1", 600000000}},
        1);
    // P2SH-P2WPKH
    check(
        "01000000000101db6b1b20aa0fd7b23880be2ecbd4a98130974cf4748fb66092ac4d3ceb1a5477010000001716001479091972186c449e"
        "b1ded22b78e40d009bdf0089feffffff02b8b4eb0b000000001976a914a457b684d7f0d539a46a45bbc043f35b59d0d96388ac0008af2f"
        "000000001976a914fd270b1ee6abcaea97fea7ad0402e8bd8ad6d77c88ac02473044022047ac8e878352d3ebbde1c94ce3a10d057c2417"
        "5747116f8288e5d794d12d482f0220217f36a485cae903c713331d877c1f64677e3622ad4010726870540656fe9dcb012103ad1d8e8921"
        "2f0b92c74d23bb710c00662ad1470198ac48c43f7d6f93a2a2687392040000",
        {{"a9144733f37cf4db86fbc2efed2500b4f4e49f31202387", 1000000000}}, 0);
    // Native P2WSH: CODESEPARATOR, and SINGLE without an output of that index
    check(
        "01000000000102fe3dc9208094f3ffd12645477b3dc56f60ec4fa8e6f5d67c565d1c6b9216b36e000000004847304402200af4e47c9b96"
        "29dbecc21f73af989bdaa911f7e6f6c2e9394588a3aa68f81e9902204f3fcf6ade7e5abb1295b6774c8e0abd94ae62217367096bc02ee5"
        "e435b67da201ffffffff0815cf020f013ed6cf91d29f4202e8a58726b1ac6c79da47c23d1bee0a6925f80000000000ffffffff0100f205"
        "2a010000001976a914a30741f8145e5acadf23f751864167f32e0963f788ac000347304402200de66acf4527789bfda55fc5459e214fa6"
        "083f936b430a762c629656216805ac0220396f550692cd347171cbc1ef1f51e15282e837bb2b30860dc77c8f78bc8501e5034730440220"
        "27dc95ad6b740fe5129e7e62a75dd00f291a2aeb1200b84b09d9e3789406b6c002201a9ecd315dd6a0e632ab20bbb98948bc0c6fb204f2"
        "c286963bb48517a7058e27034721026dccc749adc2a9d0d89497ac511f760f45c47dc5ed9cf352a58ac706453880aeadab210255a9626a"
        "ebf5e29c0e6538428ba0d1dcf6ca98ffdf086aa8ced5e0d0215ea465ac00000000",
        {{"21036d5c20fa14fb2f635474c1dc4ef5909d4568e5569b79fc94d3448486e14685f8ac", 156250000},
         {"00205d1b56b63d714eebe542309525f484b7e9d6f686b3781b6f61ef925d66d6f6a0", 4900000000}},
        1);
}

TEST_CASE("interpreter refuses an input that the transaction does not have", "[bitcoin][interpreter]") {
    const script_case c({}, {op_1}, {}, satoshi{0});
    const transaction tx = parse_transaction(bytes_view{c.spending}).value();
    const bytes anyone{op_1};
    CHECK(verify_script({}, anyone, {}, tx, 0, satoshi{0}, consensus_flags).has_value());
    CHECK(verify_script({}, anyone, {}, tx, 1, satoshi{0}, consensus_flags).error().code == errc::invalid_argument);
}

TEST_CASE("interpreter refuses a witness of more items than a script may hold", "[bitcoin][interpreter]") {
    // <true if all is dropped>: as many DROPs as allowed, then 1
    const auto attempt = [](std::size_t items, std::size_t drops) {
        bytes script(drops, op_2drop);
        script.push_back(op_depth);
        script.push_back(op_not);
        const bytes witness = written([&](writer& w) {
            w.compact_size(items + 1);
            for (std::size_t i = 0; i < items; ++i) w.sized_bytes({});
            w.sized_bytes(script);
        });
        const bytes program = written([&](writer& w) { w.bytes(p2wsh_script(sha256(script)).view()); });
        const script_case c({}, program, witness, satoshi{0});
        const transaction tx = parse_transaction(bytes_view{c.spending}).value();
        return judge_script({}, program, witness, tx, 0, satoshi{0}, consensus_flags).value();
    };
    CHECK(attempt(0, 0) == script_error::ok);
    CHECK(attempt(398, 199) == script_error::ok);
    CHECK(attempt(400, 200) == script_error::op_count);
    CHECK(attempt(1003, 199) == script_error::stack_size);
    CHECK(attempt(5000, 199) == script_error::stack_size);
}

TEST_CASE("interpreter survives scripts of random bytes", "[bitcoin][interpreter]") {
    std::uint32_t seed = 20240229;
    INFO("seed " << seed);
    const auto next = [&seed] { return seed = seed * 1664525U + 1013904223U, static_cast<std::uint8_t>(seed >> 24); };
    std::size_t passed = 0;
    for (int round = 0; round < 20'000; ++round) {
        const auto script = [&](std::size_t longest) {
            bytes out(next() % longest);
            // Half of the bytes small pushes, so that operations find something to work on.
            for (auto& b : out) b = next() % 2 == 0 ? static_cast<std::uint8_t>(op_1 + next() % 16) : next();
            return out;
        };
        const bytes script_sig = script(8);
        const bytes script_pubkey = script(40);
        const script_case c(script_sig, script_pubkey, {}, satoshi{1});
        const transaction tx = parse_transaction(bytes_view{c.spending}).value();
        passed += verify_script(script_sig, script_pubkey, {}, tx, 0, satoshi{1}, consensus_flags) ? 1U : 0U;
    }
    CHECK(passed > 0);
    CHECK(passed < 20'000);
}
