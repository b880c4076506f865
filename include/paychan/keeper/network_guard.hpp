// The network that a store's channels are on: what a chain has confirmed once, no slip of the hand contradicts later.
#pragma once

#include <set>
#include <string_view>
#include <vector>

#include "paychan/bitcoin/block.hpp"
#include "paychan/bitcoin/network.hpp"
#include "paychan/channel/record_io.hpp"

namespace paychan {

/// Writes the network's name into the store where a chain, or an imported channel, has shown it.  A node of the wrong
/// network must not bind a store to it for ever: so one of the store's contracts must be seen on the chain first, unless
/// there is none.
template <class StorePolicy>
class network_guard {
public:
    static constexpr record_id id{record_kind::store_network, {}};  ///< the record that says it

    network_guard(StorePolicy& store, network net) : store_(store), net_(net) {}

    /// What the store says.
    /// Fails  invalid_argument (it is of another network), store_failed, corrupt_record (it says nothing that can be read:
    ///        keep() writes it anew, for one damaged word must not keep the money of all channels from coming home).
    [[nodiscard]] result<void> check() {
        known_ = damaged_ = false;
        std::array<std::uint8_t, 16> memory{};
        const auto stored = store_.get(id, memory);
        if (!stored && stored.error().code == errc::not_found) return {};
        if (!stored && stored.error().code == errc::store_failed) return fail(stored.error());
        const std::string_view there =
            stored ? std::string_view(reinterpret_cast<const char*>(stored->bytes.data()), stored->bytes.size()) : "";
        const auto readable = parse_network(there);
        damaged_ = !stored || !readable || name(*readable) != there;
        if (damaged_) return fail(errc::corrupt_record, "the name of the store's network is damaged");
        said_ = *readable;
        if (*readable != net_) return fail(errc::invalid_argument, "the store has channels of another network");
        known_ = true;
        return {};
    }

    /// Whether the store says that it is of this network; one that has met no chain yet says nothing.
    [[nodiscard]] bool known() const { return known_; }
    [[nodiscard]] network said() const { return said_; }  ///< when check() failed with invalid_argument

    /// Lists the contracts that can show it.  Only where that is not known.  Fails  as the store does.
    [[nodiscard]] result<void> look_for_contracts() {
        contracts_.clear();
        for (const record_kind kind : {record_kind::client_channel, record_kind::server_channel})
            PAYCHAN_CHECK(store_.list(kind, [this](const record_id& r) { contracts_.insert(r.channel); }));
        return {};
    }

    /// f(bytes_view): a few stored contracts, for a node to say whether it knows them: they may be in its mempool, or in
    /// blocks that are not read.  Not one that its server may never have taken.
    template <class F>
    void offer_contracts(F&& f) {
        constexpr int most = 100;
        int offered = 0;
        std::vector<std::uint8_t> memory(max_record_size + 100'000);
        for (const channel_role role : {channel_role::client, channel_role::server})
            for (const txid& contract : contracts_) {
                const auto record = load_record(store_, kinds_of(role).channel, contract);
                if (!record || record->closing_height != 0 || record->stage == channel_stage::none ||
                    record->stage == channel_stage::contract_stored)
                    continue;
                if (const auto stored = store_.get({kinds_of(role).contract, contract}, memory)) f(stored->bytes);
                if (++offered == most) return;
            }
    }

    /// True when the event shows one of the contracts.
    [[nodiscard]] bool is_shown_by(const chain_event& e) const {
        bool shown = false;
        if (contracts_.empty()) return shown;
        match(
            e,
            [&](const connected_block& b) {
                auto block = open_block(b.raw);
                while (block && !shown) {
                    const auto tx = block->next();
                    if (!tx) break;
                    shown = contracts_.contains(tx->id());
                }
            },
            [&](const broadcast_answer& a) {
                shown = a.outcome == broadcast_outcome::accepted && contracts_.contains(a.id);
            });
        return shown;
    }
    [[nodiscard]] bool has_contracts() const { return !contracts_.empty(); }

    /// Writes it down.  What the store does not take now, the next call tries again; unless another process was faster, and
    /// says otherwise.
    void keep() {
        if (known_ || contradicted_) return;
        if (damaged_ && !store_.erase(id)) return;
        const std::string_view text = name(net_);
        const auto put = store_.put(id, 1, {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
        if (put) {
            known_ = true;
            damaged_ = false;
        } else if (put.error().code == errc::stale_record) {
            const auto said = check();
            contradicted_ = !said && said.error().code == errc::invalid_argument;
        }
        if (known_ || contradicted_) contracts_.clear();
    }

private:
    StorePolicy& store_;
    network net_;
    network said_{};
    bool known_ = false;
    bool damaged_ = false;
    bool contradicted_ = false;
    std::set<txid> contracts_;
};

}  // namespace paychan
