// One export file back into a store: all that must be checked before, and written down, in the order that is safe.
#pragma once

#include <string>

#include "paychan/channel/export.hpp"
#include "paychan/keeper/network_guard.hpp"

namespace paychan {

/// What became of a channel that restore_channel imported.
struct restored_channel {
    import_outcome outcome = import_outcome::kept;
    channel_record record;  ///< what the store has of it now
    bool settles = false;   ///< a server's, that is settled as soon as a monitor of this store meets a chain
    txid discarded{};       ///< its settlement that rested on a smaller payment; it may have left already
};

/// Imports what read_export gave.  The key of the channel is counted first: from there on it is not given out again,
/// whatever happens to the rest.  A channel that belongs to the seed shows the store's network, too.
/// keys   a KeyStore with peek() and saw(); seed_keys is one
/// known  of this store and this network
/// why    what failed, for people
/// Fails  invalid_argument (another network), invalid_key (another seed); as check_export, import_channel and keys.saw.
template <class Contracts, Store S, class Keys>
[[nodiscard]] result<restored_channel> restore_channel(const channel_export& file, network net, S& store, Keys& keys,
                                                       network_guard<S>& known, std::string& why) {
    const auto refuse = [&why](const error& e, const std::string& text) {
        why = text;
        return fail(e);
    };
    const auto store_failed = [&](const error& e) {
        std::string text(e.text);
        if constexpr (requires { store.last_error(); }) text = store.last_error();
        return refuse(e, "the store: " + text);
    };
    if (file.net != net)
        return refuse({errc::invalid_argument, "the channel is on another network"},
                      "the channel is on " + std::string(name(file.net)) + ", and not on " + std::string(name(net)));
    const auto e = check_export<Contracts>(file);
    if (!e) return refuse(e.error(), std::string(e.error().text));
    const contract_terms& terms = e->record.terms;
    const auto ours = keys.peek(e->record.key);
    if (!ours || !equal(ours->view(), (e->role == channel_role::client ? terms.client_key : terms.server_key).view()))
        return refuse({errc::invalid_key, "the channel belongs to another seed"},
                      "the channel belongs to another seed");
    if (const auto counted = keys.saw(e->record.key); !counted) return store_failed(counted.error());

    const auto there = [&] { return load_record(store, kinds_of(e->role).channel, terms.contract.id); };
    const auto before = there();
    const auto done = import_channel(store, *e);
    if (!done && (done.error().code == errc::corrupt_record || done.error().code == errc::unknown_format))
        return refuse(
            done.error(),
            "the store has a record of this channel that cannot be read, and it stays: import into a new store");
    if (!done) return store_failed(done.error());
    known.keep();
    const auto now = there();
    restored_channel out{*done, now ? *now : e->record};
    // Not shown by the file: see check_export.
    out.settles =
        e->role == channel_role::server && now && now->stage == channel_stage::settling && now->closing == txid{};
    if (out.settles && before) out.discarded = before->closing;
    return out;
}

}  // namespace paychan
