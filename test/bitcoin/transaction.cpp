#include "paychan/bitcoin/transaction.hpp"

#include <catch2/catch.hpp>

#include "paychan/bitcoin/check.hpp"
#include "support.hpp"

using namespace paychan;
using namespace support;

namespace {

/// All raw transactions of tx_valid.json and channel_transactions.json.
std::vector<bytes> vectors() {
    std::vector<bytes> out;
    for (const auto& entry : load("bitcoin-core/tx_valid.json"))
        if (entry.size() > 1) out.push_back(unhex(entry[1]));
    for (const auto& entry : load("channel_transactions.json")) out.push_back(unhex(entry["hex"]));
    return out;
}

/// Touches every byte that the view gives out, so that a sanitizer sees a wrong one.
std::size_t touch(const transaction& tx) {
    std::size_t sum = tx.vsize() + tx.id().bytes[0] + tx.wtxid()[0] + rewritten(tx).size();
    const auto add = [&sum](bytes_view v) {
        for (const std::uint8_t b : v) sum += b;
    };
    for (const auto& in : tx.inputs()) {
        add(in.script_sig);
        add(in.witness);
    }
    for (const auto& out : tx.outputs()) add(out.script_pubkey);
    return sum + (check_transaction(tx) ? 1 : 0);
}

/// A copy on the heap of the exact size: a byte read beyond it is seen by AddressSanitizer.
result<transaction> parse_exactly(const bytes& raw, bytes& exact) {
    exact = bytes(raw.begin(), raw.end());
    exact.shrink_to_fit();
    return parse_transaction(bytes_view{exact});
}

}  // namespace

TEST_CASE("transaction writes every vector back byte for byte", "[bitcoin][transaction]") {
    const auto all = vectors();
    CHECK(all.size() == 120 + 96);
    for (const auto& raw : all) {
        INFO(hex(raw));
        const auto tx = parse_transaction(bytes_view{raw});
        REQUIRE(tx.has_value());
        CHECK(rewritten(*tx) == raw);
        CHECK(equal(tx->bytes(), raw));
    }
}

TEST_CASE("transaction names itself as the outputs that it spends are named", "[bitcoin][transaction]") {
    // In each section the contract comes first; what spends it names it by its txid.
    std::map<std::string, std::size_t> known;
    std::size_t spends = 0;
    for (const auto& entry : load("channel_transactions.json")) {
        const bytes raw = unhex(entry["hex"]);
        const transaction tx = parse_transaction(bytes_view{raw}).value();
        std::size_t index = 0;
        for (const auto& in : tx.inputs()) {
            const std::string spent = str(display(in.prevout.id));
            CHECK(spent + ":" + std::to_string(in.prevout.index) == entry["nin"][index].get<std::string>());
            spends += known.count(spent);
            ++index;
        }
        known[str(display(tx.id()))] = tx.output_count();
    }
    CHECK(spends > 20);
}

TEST_CASE("transaction of the genesis block has the txid and size that everyone knows", "[bitcoin][transaction]") {
    // The genesis coinbase, the best known transaction of all.
    const bytes genesis = unhex(
        "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff4d04ffff001d0104455468652054"
        "696d65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b206f66207365636f6e64206261696c6f757420"
        "666f722062616e6b73ffffffff0100f2052a01000000434104678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61"
        "deb649f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac00000000");
    const transaction tx = parse_transaction(bytes_view{genesis}).value();
    CHECK(str(display(tx.id())) == "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b");
    CHECK(tx.wtxid() == tx.id().bytes);
    CHECK_FALSE(tx.has_witness());
    CHECK(tx.vsize() == 204);
    CHECK(tx.weight() == 816);
    CHECK(is_coinbase(tx));
    CHECK(check_transaction(tx).has_value());
    CHECK(tx.output(0)->value == satoshi{50 * coin.value});
    CHECK(tx.output(1).error().code == errc::not_found);
    CHECK(tx.input(1).error().code == errc::not_found);
}

TEST_CASE("transaction counts a witness by a quarter", "[bitcoin][transaction]") {
    // BIP143 P2SH-P2WPKH, unsigned and signed: the witness adds 2 bytes of marker and flag and 107 of stack.
    const bytes without = unhex(
        "0100000001db6b1b20aa0fd7b23880be2ecbd4a98130974cf4748fb66092ac4d3ceb1a5477010000001716001479091972186c449eb1de"
        "d22b78e40d009bdf0089feffffff02b8b4eb0b000000001976a914a457b684d7f0d539a46a45bbc043f35b59d0d96388ac0008af2f0000"
        "00001976a914fd270b1ee6abcaea97fea7ad0402e8bd8ad6d77c88ac92040000");
    const bytes with = unhex(
        "01000000000101db6b1b20aa0fd7b23880be2ecbd4a98130974cf4748fb66092ac4d3ceb1a5477010000001716001479091972186c449e"
        "b1ded22b78e40d009bdf0089feffffff02b8b4eb0b000000001976a914a457b684d7f0d539a46a45bbc043f35b59d0d96388ac0008af2f"
        "000000001976a914fd270b1ee6abcaea97fea7ad0402e8bd8ad6d77c88ac02473044022047ac8e878352d3ebbde1c94ce3a10d057c2417"
        "5747116f8288e5d794d12d482f0220217f36a485cae903c713331d877c1f64677e3622ad4010726870540656fe9dcb012103ad1d8e8921"
        "2f0b92c74d23bb710c00662ad1470198ac48c43f7d6f93a2a2687392040000");
    const transaction a = parse_transaction(bytes_view{without}).value();
    const transaction b = parse_transaction(bytes_view{with}).value();
    CHECK(b.has_witness());
    CHECK(a.id() == b.id());
    CHECK(a.wtxid() != b.wtxid());
    CHECK(b.stripped_size() == without.size());
    CHECK(b.weight() == 4 * without.size() + 109);
    CHECK(b.vsize() == without.size() + 28);  // 109 / 4, rounded up
}

TEST_CASE("transaction refuses what Bitcoin Core's parser refuses", "[bitcoin][transaction]") {
    const auto refused = [](const char* text) {
        const bytes raw = unhex(text);
        const auto tx = parse_transaction(bytes_view{raw});
        return !tx && tx.error().code == errc::malformed;
    };
    const std::string in = std::string(64, '0') + "00000000" + "00" + "ffffffff";
    const std::string out =
        "0000000000000000"
        "00";
    const auto tx = [&](const std::string& middle) { return "01000000" + middle + "00000000"; };
    CHECK_FALSE(refused(tx("01" + in + "01" + out).c_str()));
    CHECK(refused(""));
    CHECK(refused((tx("01" + in + "01" + out) + "00").c_str()));            // a byte behind
    CHECK(refused(tx("fd0100" + in + "01" + out).c_str()));                 // count not in shortest form
    CHECK(refused(tx("ffffffffffffffffff" + in + "01" + out).c_str()));     // count beyond the bytes
    CHECK(refused(tx("01" + in + "ffffffffffffffff7f" + out).c_str()));     //
    CHECK(refused(tx("000101" + in + "01" + out + "00").c_str()));          // witness record, all empty
    CHECK_FALSE(refused(tx("000101" + in + "01" + out + "0100").c_str()));  // one empty item is a witness
    CHECK(refused(tx("000201" + in + "01" + out + "0100").c_str()));        // unknown flag
    CHECK(refused(tx("000301" + in + "01" + out + "0100").c_str()));        // unknown flag
    CHECK(refused(tx("000101" + in + "01" + out + "feffffffff").c_str()));  // witness count beyond the bytes
    CHECK(refused(tx("000100"
                     "01" +
                     out)
                      .c_str()));              // witness record without inputs
    CHECK_FALSE(refused(tx("0000").c_str()));  // neither inputs nor outputs
}

TEST_CASE("transaction can be taken off the front of a stream", "[bitcoin][transaction]") {
    const auto all = vectors();
    bytes joined;
    for (const auto& raw : all) joined.insert(joined.end(), raw.begin(), raw.end());
    reader r{bytes_view{joined}};
    for (const auto& raw : all) {
        const auto tx = parse_transaction(r);
        REQUIRE(tx.has_value());
        CHECK(equal(tx->bytes(), raw));
    }
    CHECK(r.done());
    CHECK_FALSE(parse_transaction(r).has_value());
}

TEST_CASE("transaction refuses every prefix of a vector", "[bitcoin][transaction]") {
    bytes exact;
    for (const auto& raw : vectors()) {
        if (raw.size() > 2000) continue;  // the square of the size
        for (std::size_t size = 0; size < raw.size(); ++size) {
            const bytes prefix(raw.begin(), raw.begin() + static_cast<std::ptrdiff_t>(size));
            CHECK_FALSE(parse_exactly(prefix, exact).has_value());
        }
    }
}

TEST_CASE("transaction survives mutated vectors, and writes back what it accepts", "[bitcoin][transaction]") {
    std::uint64_t seed = 0x9e3779b97f4a7c15;
    INFO("seed " << seed);
    const auto next = [&seed] {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        return static_cast<std::size_t>(seed >> 11);
    };
    std::size_t accepted = 0;
    std::size_t refused = 0;
    bytes exact;
    for (const auto& original : vectors()) {
        for (int round = 0; round < 200; ++round) {
            bytes raw = original;
            for (std::size_t changes = 1 + next() % 4; changes > 0 && !raw.empty(); --changes) {
                const std::size_t at = next() % raw.size();
                const auto position = raw.begin() + static_cast<std::ptrdiff_t>(at);
                switch (next() % 5) {
                    case 0: raw[at] = static_cast<std::uint8_t>(next()); break;
                    case 1: raw[at] ^= static_cast<std::uint8_t>(1U << next() % 8); break;
                    case 2: raw.erase(position); break;
                    case 3: raw.insert(position, static_cast<std::uint8_t>(next())); break;
                    default: raw[at] = static_cast<std::uint8_t>(0xfd + next() % 3); break;
                }
            }
            const auto tx = parse_exactly(raw, exact);
            (tx ? accepted : refused) += 1;
            if (!tx) continue;
            CHECK(rewritten(*tx) == raw);
            CHECK(touch(*tx) > 0);
        }
    }
    CHECK(accepted > 1000);
    CHECK(refused > 1000);
}

TEST_CASE("txid reads and writes display order", "[bitcoin][transaction]") {
    const std::string text = "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b";
    const txid id = parse_txid(text).value();
    CHECK(id.bytes[0] == 0x3b);
    CHECK(str(display(id)) == text);
    CHECK(hex(display_bytes(id)) == text);
    CHECK(txid_from_display_bytes(unhex(text)).value() == id);
    CHECK(parse_txid("4A5E1E4BAAB89F3A32518A88C31BC87F618F76673E2CC77AB2127B7AFDEDA33B").value() == id);
    CHECK(parse_txid(text.substr(1)).error().code == errc::malformed);
    CHECK(parse_txid(text + "00").error().code == errc::malformed);
    CHECK(parse_txid("g" + text.substr(1)).error().code == errc::malformed);
    CHECK(txid_from_display_bytes(bytes(31)).error().code == errc::malformed);
    CHECK(txid_from_display_bytes(bytes(33)).error().code == errc::malformed);
}
