// paychan export, import: a channel's money in a file, and back into a store.
#include "node.hpp"
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

/// What one file brought: `stored`, or `kept` where the store had that record or a newer one.
struct importer {
    report& out;
    network net;
    any_store& store;
    seed_keys<any_store>& keys;

    /// Fails with the words in `why`.
    result<const char*> take(const channel_export& e, std::string& why) {
        const auto refuse = [&](const error& problem, const std::string& text = {}) {
            why += text.empty() ? std::string(problem.text) : text;
            return fail(problem);
        };
        if (e.net != net)
            return refuse(
                {errc::invalid_argument, "the channel is on another network"},
                "the channel is on " + std::string(name(e.net)) + ", and --network is " + std::string(name(net)));
        if (const auto good = check_export<schemes>(e); !good) return refuse(good.error());
        const channel_record& record = e.record;
        const bool client = e.role == channel_role::client;
        const auto ours = keys.peek(record.key);
        if (!ours || !equal(ours->view(), (client ? record.terms.client_key : record.terms.server_key).view()))
            return refuse({errc::invalid_key, "the channel belongs to another seed"});

        // First: from here on no key of this channel is given out again, whatever happens to the rest.
        const auto written = [&](const result<void>& put) {
            return put || put.error().code == errc::stale_record;  // a record that is this new is there
        };
        const auto failed = [&](const error& problem) { return refuse(problem, "the store: " + store.last_error()); };
        if (const auto counted = keys.saw(record.key); !counted) return failed(counted.error());
        const txid& id = record.terms.contract.id;
        const auto contract =
            store.put({client ? record_kind::client_contract : record_kind::server_contract, id}, 1, e.contract);
        if (!written(contract)) return failed(contract.error());
        if (client)
            if (const auto refund = store.put({record_kind::client_refund, id}, 1, e.refund); !written(refund))
                return failed(refund.error());
        // Last: a record is never there without its transactions.
        const auto put = store.put({kind_of(e.role), id}, record.version, write_record(record).view());
        if (!written(put)) return failed(put.error());
        if (put) return "stored";
        if (const auto there = load_record(store, kind_of(e.role), id); !there)
            return refuse(there.error(),
                          "the store has a record of this channel that cannot be read, and it stays: "
                          "import into a new store");
        return "kept";
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
        const auto done = take(*e, why);
        if (!done) return refused(done.error());
        const channel_record& r = e->record;
        const std::string id = text_of(r.terms.contract.id);
        out.event({{"event", "imported"},
                   {"file", path},
                   {"role", name_of(e->role)},
                   {"channel", id},
                   {"result", *done},
                   {"paid", r.paid().value},
                   {"expiry", r.terms.expiry.seconds}},
                  std::string(name_of(e->role)) + " " + id +
                      (*done == std::string_view("stored")
                           ? ": stored, paid " + text_of(r.paid()) + ", expires " + text_of(r.terms.expiry)
                           : ": the store has this record, or a newer one"));
        return true;
    }
};

}  // namespace

int run_export(const options& o) {
    report out(o.json);
    const network net = network_of(o);
    any_store store(o.store, store_access::read_only);
    bool good = true;
    const auto channels = chosen(store, o);
    for (const auto& [role, id] : channels) {
        std::string why;
        const auto done = export_channel(store, role, id, net, o.to, why);
        // What is there is as good, or better: a store that is older than its exports is a restored one.
        const bool kept = !done && done.error().code == errc::stale_record;
        if (!done && !kept) {
            out.error(name(done.error().code), "channel " + text_of(id) + ": " + std::string(done.error().text) +
                                                   (why.empty() ? "" : " (" + why + ")"));
            good = false;
            continue;
        }
        const std::string file = o.to + "/" + export_file_name(id);
        out.event({{"event", "exported"},
                   {"role", name_of(role)},
                   {"channel", text_of(id)},
                   {"file", file},
                   {"result", kept ? "kept" : "written"}},
                  file + (kept ? ": there already, of this record or a newer one" : ": written"));
    }
    if (channels.empty()) out.say("no channels");
    return good ? exit_done : exit_failed;
}

int run_import(const options& o) {
    report out(o.json);
    const network net = network_of(o);
    const seed_bytes seed = need(load_seed(o.seed), "--seed " + o.seed);
    any_store store(o.store, store_access::create);
    auto keys = need_at_run_time(seed_keys<any_store>::open(seed.reveal(), net, store), "the store's key counter");
    importer to{out, net, store, keys};
    bool good = true;
    for (const std::string& file : o.files) good = to.take_file(file) && good;
    return good ? exit_done : exit_failed;
}

}  // namespace tool
