// paychan address, balance, channels: what there is, without changing any of it.
#include "node.hpp"
#include "paychan/channel/record_io.hpp"

namespace tool {

using namespace paychan;

int run_address(const options& o) {
    report out(o.json);
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

int run_balance(const options& o) {
    report out(o.json);
    node n(o, out, {.writes = false});
    if (n.prints())
        throw usage_error{"balance needs a node that knows the chain: --chain rpc:http://USER:PASS@HOST:PORT"};
    keeper keep(n.store(), n.keys(), n.wallet(), n, n.clock(), n.keeping());
    n.start(keep);
    if (!n.catch_up()) return exit_failed;
    const wallet_balance b = n.wallet().balance();
    n.stop();
    out.event({{"event", "balance"},
               {"confirmed", b.confirmed.value},
               {"reserved", b.reserved.value},
               {"immature", b.immature.value},
               {"legacy", b.p2pkh.value},
               {"height", n.height()}},
              "confirmed " + text_of(b.confirmed) + " (of that in P2PKH coins " + text_of(b.p2pkh) + "), reserved " +
                  text_of(b.reserved) + ", immature " + text_of(b.immature));
    return exit_done;
}

namespace {

const char* name_of(channel_stage s) {
    switch (s) {
        case channel_stage::none: return "none";
        case channel_stage::contract_stored: return "opening";
        case channel_stage::open: return "open";
        case channel_stage::settling: return "settling";
        case channel_stage::unbacked: return "unbacked";
    }
    return "unknown";
}

/// False when a record is damaged.
bool show(any_store& store, record_kind kind, const txid& id, report& out) {
    const auto record = load_record(store, kind, id);
    if (!record) {
        out.error(name(record.error().code), "channel " + text_of(id) + ": " + std::string(record.error().text));
        return false;
    }
    const char* const role = kind == record_kind::client_channel ? "client" : "server";
    json o{{"event", "channel"},
           {"role", role},
           {"channel", text_of(id)},
           {"stage", name_of(record->stage)},
           {"protocol", record->protocol},
           {"value", record->terms.value.value},
           {"paid", record->paid().value},
           {"change", record->change.value},
           {"expiry", record->terms.expiry.seconds},
           {"record_version", record->version}};
    std::string line = std::string(role) + " " + text_of(id) + ": version " + std::to_string(record->protocol) + ", " +
                       name_of(record->stage) + ", paid " + text_of(record->paid()) + " of " +
                       text_of(record->terms.value) + ", expires " + text_of(record->terms.expiry);
    if (record->closing != txid{}) {
        o["closing"] = text_of(record->closing);
        o["closing_height"] = record->closing_height;
        line += ", spent by " + text_of(record->closing);
        line += record->closing_height > 0 ? " in block " + std::to_string(record->closing_height)
                                           : " (not yet in a block)";
    }
    if (!record->label.empty()) o["with"] = harmless(record->label.view());
    out.event(o, line);
    return true;
}

}  // namespace

int run_channels(const options& o) {
    report out(o.json);
    any_store store(o.store, store_access::read_only);
    bool good = true;
    std::size_t count = 0;
    for (const record_kind kind : {record_kind::client_channel, record_kind::server_channel}) {
        std::vector<txid> ids;
        if (!store.list(kind, [&](const record_id& id) { ids.push_back(id.channel); }))
            throw run_error{"--store: " + store.last_error()};
        for (const txid& id : ids) good = show(store, kind, id, out) && good;
        count += ids.size();
    }
    if (count == 0) out.say("no channels");
    return good ? exit_done : exit_failed;
}

}  // namespace tool
