// The contract of protocol version 2: the client's and the server's signatures, or after the expiry the client's alone.
#pragma once

#include <array>
#include <optional>

#include "paychan/channel/contract.hpp"

namespace paychan {

/// Source: protocol version 2, BIP65.  Output 0 pays to the hash (P2SH) of
///     IF <server> CHECKSIGVERIFY ELSE <expiry> CHECKLOCKTIMEVERIFY DROP ENDIF <client> CHECKSIG
/// The refund needs no signature of the server's: it is complete before the contract is shown to anybody.
struct cltv_p2sh {
    static constexpr std::int32_t version = 2;
    static constexpr bool refund_is_cosigned = false;

    [[nodiscard]] static std::size_t max_settlement_script_sig(const contract_terms& terms) {
        return 2 * (1 + 73) + 1 + (2 + redeem_script(terms).size());
    }
    [[nodiscard]] static std::size_t max_refund_script_sig(const contract_terms& terms) {
        return (1 + 73) + 2 + (2 + redeem_script(terms).size());
    }

    [[nodiscard]] static script_buffer redeem_script(const contract_terms& terms) {
        constexpr std::size_t longest = 7 + 2 * (1 + 65) + (1 + 5);  // uncompressed keys, a time after 2038
        static_assert(longest <= script_buffer::capacity());
        script_buffer out;
        writer w(out.memory());
        w.u8(op_if);
        push(w, terms.server_key.view());
        w.u8(op_checksigverify);
        w.u8(op_else);
        push_number(w, terms.expiry.seconds);
        w.u8(op_checklocktimeverify);
        w.u8(op_drop);
        w.u8(op_endif);
        push(w, terms.client_key.view());
        w.u8(op_checksig);
        out.resize(w.size());
        return out;
    }

    [[nodiscard]] static script_buffer script_pubkey(const contract_terms& terms) {
        return p2sh_script(hash160(redeem_script(terms).view()));
    }

    [[nodiscard]] static script_buffer script_code(const contract_terms& terms) { return redeem_script(terms); }

    static void write_refund_script_sig(writer& to, const contract_terms& terms, bytes_view client_signature,
                                        bytes_view /*server_signature*/) {
        push(to, client_signature);
        push(to, std::array<std::uint8_t, 1>{0});  // false, written as the reference writes it
        push(to, redeem_script(terms).view());
    }

    static void write_settlement_script_sig(writer& to, const contract_terms& terms, bytes_view client_signature,
                                            bytes_view server_signature) {
        push(to, client_signature);
        push(to, server_signature);
        to.u8(op_1);
        push(to, redeem_script(terms).view());
    }

    [[nodiscard]] static std::optional<std::array<bytes_view, 2>> read_settlement_script_sig(
        const contract_terms& terms, bytes_view script_sig) {
        script_reader r(script_sig);
        const auto client = r.next();
        const auto server = r.next();
        const auto branch = r.next();
        const auto redeem = r.next();
        if (!client || !server || !branch || !redeem || r.next() || !r.ok() || branch->code != op_1 ||
            !equal(redeem->data, redeem_script(terms).view()))
            return std::nullopt;
        return std::array{client->data, server->data};
    }
};

}  // namespace paychan
