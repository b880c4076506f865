// What the tests of bitcoin/ share: vector files, hex, and Bitcoin Core's text form of scripts and rules.
#pragma once

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "paychan/bitcoin/script.hpp"
#include "paychan/bitcoin/script_flags.hpp"
#include "paychan/bitcoin/transaction.hpp"
#include "paychan/core/hex.hpp"

namespace support {

using bytes = std::vector<std::uint8_t>;

inline nlohmann::json load(const std::string& file) {
    std::ifstream in(std::string(PAYCHAN_TEST_VECTORS "/") + file);
    if (!in) throw std::runtime_error("no vector file " + file);
    return nlohmann::json::parse(in);
}

inline bytes unhex(const std::string& text) {
    bytes out(text.size() / 2);
    const auto read = paychan::from_hex(text, out);
    if (!read || read->size() != out.size()) throw std::runtime_error("bad hex in a vector: " + text);
    return out;
}

inline std::string hex(paychan::bytes_view b) {
    std::string out(2 * b.size(), ' ');
    if (!paychan::to_hex(b, out)) throw std::runtime_error("hex");
    return out;
}

inline std::string str(std::string_view v) { return std::string(v); }
template <std::size_t N>
std::string str(const std::array<char, N>& a) {
    return std::string(a.data(), a.size());
}

/// Serializes what `write` writes.
template <class Write>
bytes written(const Write& write) {
    bytes memory(200'000);
    paychan::writer w(memory);
    write(w);
    if (!w.ok()) throw std::runtime_error("test transaction is too long");
    memory.resize(w.size());
    return memory;
}

/// Parses and writes again, from parsed inputs and outputs.
inline bytes rewritten(const paychan::transaction& tx) {
    std::vector<paychan::tx_input> inputs;
    std::vector<paychan::tx_output> outputs;
    for (const auto& in : tx.inputs()) inputs.push_back(in);
    for (const auto& out : tx.outputs()) outputs.push_back(out);
    return written(
        [&](paychan::writer& w) { paychan::write_transaction(w, tx.version(), inputs, outputs, tx.lock_time()); });
}

inline std::vector<std::string> split(const std::string& text, const std::string& separators) {
    std::vector<std::string> out;
    std::size_t at = 0;
    while ((at = text.find_first_not_of(separators, at)) != std::string::npos) {
        const std::size_t end = std::min(text.find_first_of(separators, at), text.size());
        out.push_back(text.substr(at, end - at));
        at = end;
    }
    return out;
}

/// Operations in the order of their numbers, from 0x61 on.
inline const std::map<std::string, std::uint8_t>& opcodes() {
    static const std::map<std::string, std::uint8_t> all = [] {
        const char* const names =
            "NOP VER IF NOTIF VERIF VERNOTIF ELSE ENDIF VERIFY RETURN TOALTSTACK FROMALTSTACK 2DROP 2DUP 3DUP 2OVER "
            "2ROT 2SWAP IFDUP DEPTH DROP DUP NIP OVER PICK ROLL ROT SWAP TUCK CAT SUBSTR LEFT RIGHT SIZE INVERT AND OR "
            "XOR EQUAL EQUALVERIFY RESERVED1 RESERVED2 1ADD 1SUB 2MUL 2DIV NEGATE ABS NOT 0NOTEQUAL ADD SUB MUL DIV "
            "MOD LSHIFT RSHIFT BOOLAND BOOLOR NUMEQUAL NUMEQUALVERIFY NUMNOTEQUAL LESSTHAN GREATERTHAN LESSTHANOREQUAL "
            "GREATERTHANOREQUAL MIN MAX WITHIN RIPEMD160 SHA1 SHA256 HASH160 HASH256 CODESEPARATOR CHECKSIG "
            "CHECKSIGVERIFY CHECKMULTISIG CHECKMULTISIGVERIFY NOP1 CHECKLOCKTIMEVERIFY CHECKSEQUENCEVERIFY NOP4 NOP5 "
            "NOP6 NOP7 NOP8 NOP9 NOP10";
        std::map<std::string, std::uint8_t> out{{"RESERVED", 0x50}};
        std::uint8_t number = 0x61;
        for (const auto& name : split(names, " ")) out[name] = number++;
        return out;
    }();
    return all;
}

/// Bitcoin Core's ParseScript: numbers, 0xHEX as it stands, 'text' pushed, names of operations.
inline bytes assemble(const std::string& text) {
    return written([&](paychan::writer& w) {
        for (const auto& word : split(text, " \t\n")) {
            const std::string digits = word[0] == '-' ? word.substr(1) : word;
            if (!digits.empty() && digits.find_first_not_of("0123456789") == std::string::npos) {
                paychan::push_number(w, std::stoll(word));
            } else if (word.rfind("0x", 0) == 0) {
                w.bytes(unhex(word.substr(2)));
            } else if (word.size() >= 2 && word.front() == '\'' && word.back() == '\'') {
                const bytes data(word.begin() + 1, word.end() - 1);
                if (data.size() == 1) w.u8(1);  // Core's operator<< knows no op_1 to op_16
                if (data.size() == 1)
                    w.bytes(data);
                else
                    paychan::push(w, data);
            } else {
                const std::string name = word.rfind("OP_", 0) == 0 ? word.substr(3) : word;
                const auto found = opcodes().find(name);
                if (found == opcodes().end()) throw std::runtime_error("unknown operation in a vector: " + word);
                w.u8(found->second);
            }
        }
    });
}

/// Names of rules, joined with commas.
inline std::vector<paychan::script_flags> flag_list(const std::string& text) {
    using enum paychan::script_flags;
    static const std::map<std::string, paychan::script_flags> all{
        {"NONE", none},
        {"P2SH", p2sh},
        {"STRICTENC", strictenc},
        {"DERSIG", dersig},
        {"LOW_S", low_s},
        {"NULLDUMMY", nulldummy},
        {"SIGPUSHONLY", sigpushonly},
        {"MINIMALDATA", minimaldata},
        {"DISCOURAGE_UPGRADABLE_NOPS", discourage_upgradable_nops},
        {"CLEANSTACK", cleanstack},
        {"CHECKLOCKTIMEVERIFY", checklocktimeverify},
        {"CHECKSEQUENCEVERIFY", checksequenceverify},
        {"WITNESS", witness},
        {"DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM", discourage_upgradable_witness_program},
        {"MINIMALIF", minimalif},
        {"NULLFAIL", nullfail},
        {"WITNESS_PUBKEYTYPE", witness_pubkeytype},
        {"CONST_SCRIPTCODE", const_scriptcode}};
    std::vector<paychan::script_flags> out;
    for (const auto& word : split(text, ",")) out.push_back(all.at(word));
    return out;
}

inline paychan::script_flags flags(const std::string& text) {
    auto out = paychan::script_flags::none;
    for (const auto f : flag_list(text)) out = out | f;
    return out;
}

}  // namespace support
