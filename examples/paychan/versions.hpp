// Protocol versions: the contract schemes that the tool is built with, and how its options name them.
#pragma once

#include <string>

#include "options.hpp"
#include "paychan/channel/cltv_p2sh.hpp"
#include "paychan/channel/multisig_refund.hpp"

namespace tool {

/// The preferred one first.
using schemes = contracts<cltv_p2sh, multisig_refund>;

/// What `--version` allows: 1, 2 or 2or1, which is 2 alone for a contract from P2PKH coins (`legacy`).  Throws usage_error.
[[nodiscard]] inline version_set versions_to_ask(const std::string& text, bool legacy) {
    if (text == "1") return version_set::only(1);
    if (text == "2") return version_set::only(2);
    // P2PKH coins do not fix the contract's txid, and a version 1 refund is void when that changes.
    if (text == "2or1") return legacy ? version_set::only(2) : version_set::all();
    throw usage_error{"--version must be 1, 2, or 2or1, which takes 1 from a server that does not speak 2"};
}

/// What `--versions` allows: 1, 2 or both with a comma between them.  Throws usage_error.
[[nodiscard]] inline version_set versions_to_serve(const std::string& text) {
    if (text == "1") return version_set::only(1);
    if (text == "2") return version_set::only(2);
    if (text == "1,2" || text == "2,1") return version_set::all();
    throw usage_error{"--versions must be 1, 2 or 1,2: the protocol versions that clients may ask for"};
}

}  // namespace tool
