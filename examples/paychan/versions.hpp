// Protocol versions: the contract schemes that the tool is built with, and how its options name them.
#pragma once

#include <string>

#include "paychan/channel/cltv_p2sh.hpp"
#include "paychan/channel/multisig_refund.hpp"

namespace tool {

/// The preferred one first.
using schemes = paychan::contracts<paychan::cltv_p2sh, paychan::multisig_refund>;

/// What `--version` allows: 1, 2 or 2or1, which is 2 alone for a contract from P2PKH coins (`legacy`).  Throws usage_error.
[[nodiscard]] paychan::version_set versions_to_ask(const std::string& text, bool legacy);

/// What `--versions` allows: 1, 2 or both with a comma between them.  Throws usage_error.
[[nodiscard]] paychan::version_set versions_to_serve(const std::string& text);

}  // namespace tool
