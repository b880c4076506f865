// Bytes in tests: owned, from hex, from files of vectors.
#pragma once

#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "paychan/core/bytes.hpp"
#include "paychan/core/hex.hpp"

namespace paychan_test {

using bytes = std::vector<std::uint8_t>;

[[nodiscard]] inline bytes owned(paychan::bytes_view b) { return {b.begin(), b.end()}; }

[[nodiscard]] inline bytes unhex(std::string_view text) {
    bytes out(text.size() / 2);
    if (!paychan::from_hex(text, out)) throw std::runtime_error("not hex: " + std::string(text));
    return out;
}

[[nodiscard]] inline std::string hex(paychan::bytes_view b) {
    std::string out(2 * b.size(), ' ');
    (void)paychan::to_hex(b, out);
    return out;
}

[[nodiscard]] inline std::string text_of(paychan::bytes_view b) { return {b.begin(), b.end()}; }

[[nodiscard]] inline paychan::bytes_view as_bytes(std::string_view text) {
    return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

/// A file below test/vectors.
[[nodiscard]] inline nlohmann::json read_vectors(const std::string& name) {
    std::ifstream file(std::string(PAYCHAN_TEST_VECTORS) + "/" + name);
    if (!file) throw std::runtime_error("no such vectors: " + name);
    return nlohmann::json::parse(file);
}

}  // namespace paychan_test
