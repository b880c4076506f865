// All that a store has of a kind at once, where there is a heap.
#pragma once

#include <vector>

#include "paychan/channel/record_io.hpp"

namespace paychan {

/// The names of all records of a kind.  Fails  as Store::list.
template <Store S>
[[nodiscard]] result<std::vector<txid>> list_names(S& store, record_kind kind) {
    std::vector<txid> out;
    PAYCHAN_CHECK(store.list(kind, [&](const record_id& id) { out.push_back(id.channel); }));
    return out;
}

struct stored_channel {
    channel_role role;
    txid id;
};

/// Both roles' channels, the client's first.  Fails  as Store::list.
template <Store S>
[[nodiscard]] result<std::vector<stored_channel>> list_channels(S& store) {
    std::vector<stored_channel> out;
    for (const channel_role role : {channel_role::client, channel_role::server}) {
        PAYCHAN_TRY(const auto names, list_names(store, kinds_of(role).channel));
        for (const txid& id : names) out.push_back({role, id});
    }
    return out;
}

/// Those of a role but for damaged records.  Fails  as Store::list, store_failed.
template <Store S>
[[nodiscard]] result<std::vector<channel_record>> load_channels(S& store, channel_role role) {
    PAYCHAN_TRY(const auto names, list_names(store, kinds_of(role).channel));
    std::vector<channel_record> out;
    for (const txid& id : names) {
        const auto record = load_record(store, kinds_of(role).channel, id);
        if (!record && record.error().code == errc::store_failed) return fail(record.error());
        if (record) out.push_back(*record);
    }
    return out;
}

}  // namespace paychan
