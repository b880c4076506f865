// Hex and text as bytes, and the curve's numbers, for the tests of crypto/.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "paychan/core/hex.hpp"

namespace support {

// n, the order of the curve (SEC 2, 2.4.1), its half, and their neighbours.
inline const std::string order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
inline const std::string order_minus_1 = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364140";
inline const std::string half_order = "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0";
inline const std::string half_order_plus_1 = "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a1";
inline const std::string zero(64, '0');
inline const std::string one = std::string(63, '0') + "1";

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
