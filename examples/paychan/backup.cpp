// paychan export, import: a channel's money in a file, and back into a store.
#include <iostream>

#include "node.hpp"
#include "paychan/keeper/network_guard.hpp"
#include "versions.hpp"

namespace tool {

using namespace paychan;

namespace {

const char* name_of(channel_role role) { return role == channel_role::client ? "client" : "server"; }

record_kind kind_of(channel_role role) {
    return role == channel_role::client ? record_kind::client_channel : record_kind::server_channel;
}

struct stored_channel {
    channel_role role;
    txid id;
};

/// The channels that are asked for.  Throws usage_error, run_error.
std::vector<stored_channel> chosen(any_store& store, const options& o) {
    if (o.all == !o.channels.empty())
        throw usage_error{
            "say which channels: --all, or --channel with the txid of each (`paychan channels` has them)"};
    std::vector<stored_channel> out;
    for (const channel_role role : {channel_role::client, channel_role::server})
        if (!store.list(kind_of(role), [&](const record_id& id) { out.push_back({role, id.channel}); }))
            throw run_error{"--store: " + store.last_error()};
    if (o.all) return out;
    std::vector<stored_channel> some;
    for (const std::string& text : o.channels) {
        const txid id = need(parse_txid(text), "--channel " + text);
        const std::size_t before = some.size();
        for (const stored_channel& c : out)
            if (c.id == id) some.push_back(c);
        if (some.size() == before) throw usage_error{"--channel " + text + ": the store has no such channel"};
    }
    return some;
}

/// Why the store does not show that its channels are on this network; empty when it does.  A file with another network in
/// it is worth nothing, and shows it when it is needed.  But who exports may have no node any more, and a disk that dies.
/// Throws usage_error: it shows that they are on another one.
std::string doubt_about_network(network_guard<any_store>& stored, any_store& store, network net) {
    const auto said = stored.check();
    if (said) return stored.known() ? "" : "no node has shown yet which one the store's channels are on";
    if (said.error().code == errc::invalid_argument)
        throw usage_error{"the store has channels of " + std::string(name(stored.said())) + ", and --network is " +
                          std::string(name(net))};
    // This record, and maybe no other.
    return "--store: " +
           (said.error().code == errc::store_failed ? store.last_error() : std::string(said.error().text));
}

const char* name_of(import_outcome o) {
    switch (o) {
        case import_outcome::stored: return "stored";
        case import_outcome::kept: return "kept";
        case import_outcome::repaired: return "repaired";
        case import_outcome::too_late: return "too_late";
    }
    return "unknown";
}

struct importer {
    report& out;
    network net;
    any_store& store;
    seed_keys<any_store>& keys;
    network_guard<any_store>& known;
    bool stored = false;  ///< something new

    /// Fails with the words in `why`.
    result<import_outcome> take(const channel_export& file, std::string& why) {
        const auto refuse = [&](const error& problem, const std::string& text = {}) {
            why += text.empty() ? std::string(problem.text) : text;
            return fail(problem);
        };
        if (file.net != net)
            return refuse(
                {errc::invalid_argument, "the channel is on another network"},
                "the channel is on " + std::string(name(file.net)) + ", and --network is " + std::string(name(net)));
        const auto e = check_export<schemes>(file);
        if (!e) return refuse(e.error());
        const channel_record& record = e->record;
        const bool client = e->role == channel_role::client;
        const auto ours = keys.peek(record.key);
        if (!ours || !equal(ours->view(), (client ? record.terms.client_key : record.terms.server_key).view()))
            return refuse({errc::invalid_key, "the channel belongs to another seed"});

        // First: from here on no key of this channel is given out again, whatever happens to the rest.
        const auto failed = [&](const error& problem) { return refuse(problem, "the store: " + store.last_error()); };
        if (const auto counted = keys.saw(record.key); !counted) return failed(counted.error());
        const auto done = import_channel(store, *e);
        if (done) {
            known.keep();
            stored = stored || *done != import_outcome::kept;
            return *done;
        }
        if (done.error().code == errc::corrupt_record || done.error().code == errc::unknown_format)
            return refuse(done.error(),
                          "the store has a record of this channel that cannot be read, and it stays: "
                          "import into a new store");
        return failed(done.error());
    }

    bool take_file(const std::string& path) {
        std::string why;
        const auto refused = [&](const error& e) {
            out.error_event({{"event", "error"}, {"code", name(e.code)}, {"file", path}, {"explanation", why}},
                            why + " (" + std::string(name(e.code)) + ")");
            return false;
        };
        const auto bytes = load_export(path, why);
        if (!bytes) return refused(bytes.error());
        why = path + ": ";
        const auto e = read_export(*bytes);
        if (!e) {
            why += e.error().text;
            return refused(e.error());
        }
        const channel_record& r = e->record;
        const auto before = load_record(store, kind_of(e->role), r.terms.contract.id);
        const auto done = take(*e, why);
        if (!done) return refused(done.error());
        const std::string id = text_of(r.terms.contract.id);
        // Not shown by the file: see check_export.
        const auto now = load_record(store, kind_of(e->role), r.terms.contract.id);
        const bool settles =
            e->role == channel_role::server && now && now->stage == channel_stage::settling && now->closing == txid{};
        std::string what;
        if (*done == import_outcome::stored)
            what = "stored, paid " + text_of(r.paid()) + ", expires " + text_of(r.terms.expiry);
        if (*done == import_outcome::stored && settles) what += "; it is settled as soon as a command meets a node";
        const bool discards = settles && before && before->closing != txid{};
        if (discards)
            what += ", in place of " + text_of(before->closing) +
                    ", which rests on a smaller payment: if that one has left already, the network may take either";
        if (*done == import_outcome::kept) what = "no less was paid by the record in the store, which stays";
        if (*done == import_outcome::repaired)
            what = "a damaged transaction in the store is replaced, its record stays";
        json told{{"event", "imported"},      {"file", path},
                  {"role", name_of(e->role)}, {"channel", id},
                  {"result", name_of(*done)}, {"settles", settles},
                  {"paid", r.paid().value},   {"expiry", r.terms.expiry.seconds}};
        if (discards) told["discarded"] = text_of(before->closing);
        if (*done == import_outcome::too_late) {
            const std::string by =
                now ? ", with " + text_of(now->closing) + " in block " + std::to_string(now->closing_height) : "";
            out.error_event(told, std::string(name_of(e->role)) + " " + id + ": paid " + text_of(r.paid()) +
                                      " by this file, but it comes too late: the channel ended on chain before" + by +
                                      "; it is used only if that block leaves the chain");
            return false;
        }
        out.event(told, std::string(name_of(e->role)) + " " + id + ": " + what);
        return true;
    }
};

}  // namespace

int run_export(const options& o) {
    report out(o.json);
    const network net = network_of(o);
    any_store store(o.store, store_access::read_only);
    network_guard known(store, net);
    const std::string doubt = doubt_about_network(known, store, net);
    const auto channels = chosen(store, o);
    if (!doubt.empty() && !channels.empty())
        std::cerr << "paychan: WARNING: unproven network: " << doubt << ". The files say " << name(net)
                  << ", as --network does: if that is wrong, no import takes them. As soon as there is a node, let "
                     "`paychan watch` meet it once, and export again"
                  << std::endl;
    remove_unfinished_exports(o.to);
    bool good = true;
    for (const auto& [role, id] : channels) {
        std::string why;
        const auto done = export_channel<schemes>(store, role, id, net, o.to, why);
        // What is there is as good, or better: a store that is older than its exports is a restored one.
        const bool kept = !done && done.error().code == errc::stale_record;
        if (!done && !kept) {
            out.error(name(done.error().code), why);
            good = false;
            continue;
        }
        const std::string file = o.to + "/" + export_file_name(role, id);
        json told{{"event", "exported"},
                  {"role", name_of(role)},
                  {"channel", text_of(id)},
                  {"file", file},
                  {"result", kept ? "kept" : "written"},
                  {"network", name(net)}};
        if (!doubt.empty()) told["warning"] = "unproven network";
        out.event(told, file + (kept ? ": there already, of this record or a newer one" : ": written"));
    }
    if (channels.empty()) out.say("no channels");
    return good ? exit_done : exit_failed;
}

int run_import(const options& o) {
    report out(o.json);
    const network net = network_of(o);
    const seed_bytes seed = need(load_seed(o.seed), "--seed " + o.seed);
    any_store store(o.store, store_access::create);
    network_guard known(store, net);
    (void)doubt_about_network(known, store, net);
    auto keys = need_at_run_time(seed_keys<any_store>::open(seed.reveal(), net, store), "the store's key counter");
    importer to{out, net, store, keys, known};
    bool good = true;
    for (const std::string& file : o.files) good = to.take_file(file) && good;
    if (to.stored)
        out.say("whoever watches this store next, or does already, reads the blocks from the birthday on once more");
    return good ? exit_done : exit_failed;
}

}  // namespace tool
