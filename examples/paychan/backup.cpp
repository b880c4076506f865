// paychan export, import: a channel's money in a file, and back into a store.
#include <iostream>

#include "node.hpp"
#include "paychan/keeper/restore.hpp"
#include "versions.hpp"

namespace tool {

namespace {

/// The channels that are asked for.  Throws usage_error, run_error.
std::vector<stored_channel> chosen(any_store& store, const options& o) {
    if (o.all == !o.channels.empty())
        throw usage_error{
            "say which channels: --all, or --channel with the txid of each (`paychan channels` has them)"};
    const auto all = need_stored(list_channels(store), store);
    if (o.all) return all;
    std::vector<stored_channel> some;
    for (const std::string& text : o.channels) {
        const txid id = need(parse_txid(text), "--channel " + text);
        const std::size_t before = some.size();
        for (const stored_channel& c : all)
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

struct importer {
    report& out;
    network net;
    any_store& store;
    seed_keys<any_store>& keys;
    network_guard<any_store>& known;
    bool stored = false;  ///< something new

    bool take_file(const std::string& path) {
        const auto refused = [&](const error& e, const std::string& why) {
            out.error_event({{"event", "error"}, {"code", name(e.code)}, {"file", path}, {"explanation", why}},
                            why + " (" + std::string(name(e.code)) + ")");
            return false;
        };
        std::string problem;
        const auto bytes = load_export(path, problem);
        if (!bytes) return refused(bytes.error(), problem);
        const auto e = read_export(*bytes);
        if (!e) return refused(e.error(), path + ": " + std::string(e.error().text));
        const auto done = restore_channel<schemes>(*e, net, store, keys, known, problem);
        if (!done) return refused(done.error(), path + ": " + problem);
        stored = stored || done->outcome != import_outcome::kept;
        const channel_record& r = e->record;
        const std::string id = text_of(r.terms.contract.id), paid = "paid " + text_of(r.paid());
        const std::string who = std::string(name_of(e->role)) + " " + id + ": ";
        const bool discards = done->discarded != txid{};
        std::string what = "no less was paid by the record in the store, which stays";
        if (done->outcome == import_outcome::repaired)
            what = "a damaged transaction in the store is replaced, its record stays";
        if (done->outcome == import_outcome::stored) {
            what = "stored, " + paid + ", expires " + text_of(r.terms.expiry);
            if (done->settles) what += "; it is settled as soon as a command meets a node";
            if (discards)
                what += ", in place of " + text_of(done->discarded) +
                        ", which rests on a smaller payment: if that one has left already, the network may take either";
        }
        json told{{"event", "imported"},
                  {"file", path},
                  {"role", name_of(e->role)},
                  {"channel", id},
                  {"result", name_of(done->outcome)},
                  {"settles", done->settles},
                  {"paid", r.paid().value},
                  {"expiry", r.terms.expiry.seconds}};
        if (discards) told["discarded"] = text_of(done->discarded);
        if (done->outcome == import_outcome::too_late) {
            const channel_record& now = done->record;
            const std::string by = ", with " + text_of(now.closing) + " in block " + std::to_string(now.closing_height);
            out.error_event(told,
                            who + paid + " by this file, but it comes too late: the channel ended on chain before" +
                                (now.closing == txid{} ? "" : by) + "; it is used only if that block leaves the chain");
            return false;
        }
        out.event(told, who + what);
        return true;
    }
};

}  // namespace

int run_export(const options& o, report& out) {
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

int run_import(const options& o, report& out) {
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
