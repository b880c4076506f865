// paychan address, balance, channels: what there is, without changing any of it.
#include "node.hpp"

namespace tool {

int run_address(const options& o, report& out) {
    const network net = network_of(o);
    auto seed = load_seed(o.seed);
    if (!seed && seed.error().code == errc::not_found) {
        seed = create_seed(o.seed);
        if (seed)
            out.say("made a new seed in " + o.seed + ": it is the backup of all the money; copy it to a safe place");
    }
    const seed_bytes bytes = need(std::move(seed), "--seed " + o.seed);
    const auto style = o.legacy ? funding_style::legacy : funding_style::segwit;
    const auto wallet = need(seed_wallet::open(bytes.reveal(), net, style), "the seed");
    const auto address = need(wallet.address(o.address_index, style), "--index");
    const std::string text(address.view());
    out.event({{"event", "address"}, {"address", text}, {"network", o.network}}, text);
    return exit_done;
}

int run_balance(const options& o, report& out) {
    node n(o, out,
           {.access = store_access::create,  // before the first `pay` there is none
            .needs_node = "balance needs a node that knows the chain",
            .writes = false});
    keeper keep(n.store(), n.keys(), n.wallet(), n, n.clock(), n.keeping());
    n.start(keep);
    if (!n.catch_up()) return exit_failed;
    const wallet_balance b = n.wallet().balance();
    n.stop();
    out.event({{"event", "balance"},
               {"confirmed", b.confirmed.value},
               {"unconfirmed", b.unconfirmed.value},
               {"reserved", b.reserved.value},
               {"immature", b.immature.value},
               {"legacy", b.p2pkh.value},
               {"height", n.height()}},
              "confirmed " + text_of(b.confirmed) + " (of that in P2PKH coins " + text_of(b.p2pkh) + "), unconfirmed " +
                  text_of(b.unconfirmed) + ", reserved " + text_of(b.reserved) + ", immature " + text_of(b.immature));
    return exit_done;
}

namespace {

/// False when a record is damaged.
bool show(any_store& store, channel_role role, const txid& id, report& out) {
    const auto record = load_record(store, kinds_of(role).channel, id);
    if (!record) {
        out.error(record.error(), "channel " + text_of(id) + ": ");
        return false;
    }
    json o{{"event", "channel"},
           {"role", name_of(role)},
           {"channel", text_of(id)},
           {"stage", name_of(record->stage)},
           {"protocol", record->protocol},
           {"value", record->terms.value.value},
           {"paid", record->paid().value},
           {"change", record->change.value},
           {"expiry", record->terms.expiry.seconds},
           {"record_version", record->version}};
    std::string line = std::string(name_of(role)) + " " + text_of(id) + ": version " +
                       std::to_string(record->protocol) + ", " + name_of(record->stage) + ", paid " +
                       text_of(record->paid()) + " of " + text_of(record->terms.value) + ", expires " +
                       text_of(record->terms.expiry);
    if (record->closing != txid{} || record->closing_height > 0) {
        const bool known = record->closing != txid{};
        if (known) o["closing"] = text_of(record->closing);
        o["closing_height"] = record->closing_height;
        line += known ? ", spent by " + text_of(record->closing) : ", spent, and not known by what, seen";
        line += record->closing_height > 0 ? " in block " + std::to_string(record->closing_height)
                                           : " (not yet in a block)";
    }
    if (!record->label.empty()) o["with"] = harmless(record->label.view());
    out.event(o, line);
    return true;
}

}  // namespace

int run_channels(const options& o, report& out) {
    any_store store(o.store, store_access::read_only);
    bool good = true;
    const auto all = need_stored(list_channels(store), store);
    for (const auto& [role, id] : all) good = show(store, role, id, out) && good;
    if (all.empty()) out.say("no channels");
    return good ? exit_done : exit_failed;
}

}  // namespace tool
