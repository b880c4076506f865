// The wallet's keys: which output scripts are ours, and the private key behind each.
#pragma once

#include <array>
#include <map>
#include <optional>

#include "paychan/bitcoin/script.hpp"
#include "paychan/crypto/hash.hpp"
#include "paychan/memory/key_branch.hpp"

namespace paychan {

/// One key of the seed.
struct key_path {
    key_branch branch{};
    std::uint32_t index = 0;
    friend bool operator==(const key_path&, const key_path&) = default;
};

/// Derives on demand and remembers which key hashes to look for.
class wallet_keys {
public:
    /// Fails  invalid_argument (seed not 16 to 64 bytes), invalid_key (1 in 2^127).
    [[nodiscard]] static result<wallet_keys> open(bytes_view seed, network net) {
        wallet_keys out;
        for (const key_branch b : all_key_branches) {
            PAYCHAN_TRY(out.rows_[slot(b)].parent, derive_branch(seed, net, b));
        }
        return out;
    }

    /// The script that pays to a key: P2WPKH in the segwit rows, P2PKH in the others.
    /// Fails  invalid_argument, invalid_key.
    [[nodiscard]] result<script_buffer> script(key_path path) const {
        PAYCHAN_TRY(const bytes20 hash, key_hash(path));
        const bool segwit = path.branch == key_branch::segwit_receive || path.branch == key_branch::segwit_change;
        return segwit ? p2wpkh_script(hash) : p2pkh_script(hash);
    }

    [[nodiscard]] result<secret_key> secret_of(key_path path) const {
        return derive_in_branch(rows_[slot(path.branch)].parent, path.branch, path.index);
    }

    /// Whose script this is, if it pays to a key that is looked for, as P2PKH or as P2WPKH.
    [[nodiscard]] std::optional<key_path> find(bytes_view script_pubkey) const {
        auto hash = match_p2pkh(script_pubkey);
        if (!hash) hash = match_p2wpkh(script_pubkey);
        if (!hash) return std::nullopt;
        const auto found = watched_.find(*hash);
        if (found == watched_.end()) return std::nullopt;
        return found->second;
    }

    /// Looks for the first `count` keys of a row from now on; a smaller number than before changes nothing.
    [[nodiscard]] result<void> watch(key_branch branch, std::uint32_t count) {
        for (std::uint32_t& n = rows_[slot(branch)].watched; n < count; ++n) {
            const auto hash = key_hash({branch, n});
            if (!hash && hash.error().code == errc::invalid_key)
                continue;  // this number has no key: nobody can pay to it
            if (!hash) return fail(hash.error());
            watched_.emplace(*hash, key_path{branch, n});
        }
        return {};
    }

    [[nodiscard]] std::uint32_t watched(key_branch branch) const { return rows_[slot(branch)].watched; }

private:
    struct row {
        extended_key parent;
        std::uint32_t watched = 0;
    };

    wallet_keys() = default;

    static constexpr std::size_t slot(key_branch b) { return static_cast<std::size_t>(b); }

    [[nodiscard]] result<bytes20> key_hash(key_path path) const {
        PAYCHAN_TRY(const secret_key key, secret_of(path));
        return hash160(public_key_of(key).view());
    }

    std::array<row, all_key_branches.size()> rows_;
    std::map<bytes20, key_path> watched_;
};

}  // namespace paychan
