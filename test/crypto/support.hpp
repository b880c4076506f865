// Hex and text as bytes, for the tests of crypto/.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "paychan/core/hex.hpp"

namespace support {

/// The bytes of a hex text; a typing error in a test ends that test.
inline std::vector<std::uint8_t> unhex(std::string_view text) {
    std::vector<std::uint8_t> out(text.size() / 2);
    if (!paychan::from_hex(text, out)) throw std::runtime_error("not hex: " + std::string(text));
    return out;
}

inline paychan::bytes32 unhex32(std::string_view text) {
    const auto bytes = unhex(text);
    if (bytes.size() != 32) throw std::runtime_error("not 32 bytes: " + std::string(text));
    paychan::bytes32 out{};
    std::ranges::copy(bytes, out.begin());
    return out;
}

inline std::string hex(paychan::bytes_view bytes) {
    std::string out(bytes.size() * 2, ' ');
    if (!paychan::to_hex(bytes, out)) throw std::runtime_error("no room for hex");
    return out;
}

/// The characters of a text as bytes; valid as long as the text.
inline paychan::bytes_view bytes_of(std::string_view text) {
    return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

}  // namespace support
