// The contract of protocol version 1: a bare 2-of-2, and a refund that the server signs before it sees the contract.
#pragma once

#include <array>
#include <optional>

#include "paychan/channel/contract.hpp"

namespace paychan {

/// Source: protocol version 1.  Output 0: 2 <client> <server> 2 CHECKMULTISIG.
struct multisig_refund {
    static constexpr std::int32_t version = 1;
    static constexpr bool refund_is_cosigned = true;

    [[nodiscard]] static constexpr std::size_t max_settlement_script_sig(const contract_terms&) {
        return 1 + 2 * (1 + 73);
    }
    [[nodiscard]] static constexpr std::size_t max_refund_script_sig(const contract_terms& terms) {
        return max_settlement_script_sig(terms);
    }

    [[nodiscard]] static script_buffer script_pubkey(const contract_terms& terms) {
        return multisig_2of2_script(terms.client_key.view(), terms.server_key.view());
    }

    [[nodiscard]] static script_buffer script_code(const contract_terms& terms) { return script_pubkey(terms); }

    static void write_refund_script_sig(writer& to, const contract_terms&, bytes_view client_signature,
                                        bytes_view server_signature) {
        push(to, {});  // BIP147: CHECKMULTISIG takes one item too many, and it must be empty
        push(to, client_signature);
        push(to, server_signature);
    }

    static void write_settlement_script_sig(writer& to, const contract_terms& terms, bytes_view client_signature,
                                            bytes_view server_signature) {
        write_refund_script_sig(to, terms, client_signature, server_signature);
    }

    [[nodiscard]] static std::optional<std::array<bytes_view, 2>> read_settlement_script_sig(const contract_terms&,
                                                                                             bytes_view script_sig) {
        script_reader r(script_sig);
        const auto dummy = r.next();
        const auto client = r.next();
        const auto server = r.next();
        if (!dummy || !client || !server || r.next() || !r.ok() || dummy->code != op_0) return std::nullopt;
        return std::array{client->data, server->data};
    }
};

}  // namespace paychan
