#include "paychan/bitcoin/check.hpp"

#include <catch2/catch.hpp>

#include "support.hpp"

using namespace paychan;
using namespace support;

// The cases of tx_invalid.json that break these rules are run in interpreter.cpp.

TEST_CASE("check refuses outputs that are no money and inputs that repeat", "[bitcoin][check]") {
    const auto verdict = [](const std::vector<tx_input>& inputs, const std::vector<tx_output>& outputs) {
        const bytes raw = written([&](writer& w) { write_transaction(w, 1, inputs, outputs, 0); });
        const auto checked = check_transaction(parse_transaction(bytes_view{raw}).value());
        return checked ? "" : str(checked.error().text);
    };
    const txid id{bytes32{7}};
    const tx_input a{{id, 0}, {}, final_sequence, {}};
    const tx_input b{{id, 1}, {}, final_sequence, {}};
    const tx_input nothing{{txid{}, 0xffff'ffff}, {}, final_sequence, {}};
    const tx_output one{satoshi{1}, {}};
    CHECK(verdict({a, b}, {one, one}) == "");
    CHECK(verdict({a}, {tx_output{max_money, {}}}) == "");
    CHECK(verdict({}, {}) == "transaction has no inputs");
    CHECK(verdict({a}, {}) == "transaction has no outputs");
    CHECK(verdict({a, b, a}, {one}) == "an output is spent twice");
    CHECK(verdict({a, nothing}, {one}) == "input spends nothing");
    CHECK(verdict({nothing}, {one}) == "coinbase script is not of 2 to 100 bytes");
    const std::string no_money = "outputs are negative or above 21 million coins";
    CHECK(verdict({a}, {tx_output{satoshi{-1}, {}}}) == no_money);
    CHECK(verdict({a}, {tx_output{max_money, {}}, one}) == no_money);
    CHECK(verdict({a}, {tx_output{satoshi{std::numeric_limits<std::int64_t>::max()}, {}}, one}) == no_money);
    CHECK(verdict({a}, {tx_output{satoshi{std::numeric_limits<std::int64_t>::min()}, {}}, one}) == no_money);
}
