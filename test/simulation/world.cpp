// The rules: each is checked at the moment at which it could be broken, or after every step.
#include "simulation/world.hpp"

#include "paychan/core/hex.hpp"
#include "simulation/parts.hpp"

namespace simulation {

namespace {

std::string name_of(const txid& id) {
    std::string out(64, ' ');
    (void)to_hex(display_bytes(id), out);
    return out.substr(0, 8);
}

std::string sat(std::int64_t n) { return std::to_string(n) + " sat"; }

bool on_disk_is(const disk& d, record_kind kind, const txid& id, bytes_view expected) {
    std::array<std::uint8_t, 10'000> memory{};
    const auto found = d.kept.get({kind, id}, memory);
    return found && (expected.empty() || equal(found->bytes, expected));
}

}  // namespace

const memory_chain& first_chain() {
    static const memory_chain made = [] {
        memory_chain chain(world_start + -7'200);
        const byte_string miner{0x51};
        for (int i = 0; i < 12; ++i) {
            chain.set_time(world_start + (-7'200 + 600 * i));
            chain.mine(1, miner);
        }
        chain.set_time(world_start);
        for (std::uint8_t c = first_client; c < first_client + 3; ++c)
            for (int n = 0; n < coins_per_client; ++n) {
                const bytes_view script = key_of(c, 0).script.view();
                chain.testing_add_coin(coin_of(c, n), {coin_value, {script.begin(), script.end()}, 1, false});
            }
        return chain;
    }();
    return made;
}

std::int32_t first_height() { return first_chain().height(); }

world::world(const cast& c, tally& t, bool with_trace)
    : who(c),
      count(t),
      tracing(with_trace),
      chain(first_chain()),
      observer(chain, first_height()),
      server_payout(key_of(1, 0).script) {
    if (c.replaces) chain.set_replacement(memory_chain::replacement::by_fee);
    for (std::uint8_t n = 0; n < disks.size(); ++n) {
        disks[n].one_by_one = c.one_by_one;
        const bool client = n >= first_client && n < first_client + c.clients;
        if (c.files && (n == 0 || client)) disks[n].files = std::make_unique<file_system>(n, c.dice);
        if (c.exports && client) sticks[n] = std::make_unique<file_system>(static_cast<std::uint8_t>(8 + n), c.dice);
    }
}

// ---- disks

void world::writes(std::uint8_t process, const record_id& id, bytes_view bytes) {
    if (id.kind != record_kind::server_channel) return;
    const auto found = known.channels.find(id.channel);
    if (found == known.channels.end()) return;
    const channel_truth& c = found->second;
    const on_disk next = peek(bytes);
    const auto there = known.server_disk.find(id.channel);
    const on_disk before = there == known.server_disk.end() ? on_disk{} : there->second;
    if (next.version != before.version + 1) return;  // no store takes it
    check(rule::as_heard, next.paid <= before.paid || !is_due(c, process), [&] {
        return "a payment on channel " + name_of(id.channel) + " is taken, and the server has heard that it is due";
    });
    check(rule::as_heard,
          next.paid <= before.paid || before.version == 0 || c.contract_height != 0 ||
              heard[process].taken.contains(id.channel),
          [&] {
              return "a payment on channel " + name_of(id.channel) +
                     " is taken, and the server has not heard that its node has the contract";
          });
    check(rule::as_heard,
          next.stage != channel_stage::open || before.stage == channel_stage::open || !heard[process].downloading, [&] {
              return "channel " + name_of(id.channel) + " opens, and the server has heard that its node lacks blocks";
          });
    if (next.stage == channel_stage::settling && before.stage != channel_stage::settling)
        check(rule::strangers_end_nothing, c.may_end || is_due(c, process) || next.paid == c.terms.value,
              [&] { return "channel " + name_of(id.channel) + " is settled, and nobody who may has asked for it"; });
}

void world::stored(std::uint8_t process, const record_id& id, std::uint64_t version, bytes_view bytes) {
    count.mix(version * 31 + static_cast<std::uint64_t>(id.kind));
    if (id.kind == record_kind::client_contract) {
        const outpoint coin = parse_transaction(bytes).value().inputs().begin()->prevout;
        const bool is_new = known.funded_by[coin].insert(id.channel).second;
        if (is_new && std::exchange(bars_next[process], false)) {
            count.add(fault::contract_barred);
            barred.insert(id.channel);
        }
    }
    if (id.kind == record_kind::client_refund || id.kind == record_kind::server_settlement)
        known.ends_stored.insert({id.channel, id.kind});
    const bool client = id.kind == record_kind::client_channel;
    if (!client && id.kind != record_kind::server_channel) return;
    const on_disk now_there = peek(bytes);
    auto& records = client ? known.client_disk[process] : known.server_disk;
    const on_disk before = records[id.channel];
    check(rule::one_writer, now_there.version == version && version == before.version + 1, [&] {
        return "version " + std::to_string(version) + " of channel " + name_of(id.channel) +
               " was written over version " + std::to_string(before.version);
    });
    check(rule::one_writer, now_there.paid >= before.paid,
          [&] { return "a payment on channel " + name_of(id.channel) + " was taken back on disk"; });
    records[id.channel] = now_there;
    if (client && !known.channels.contains(id.channel)) {
        const auto record = read_record(bytes).value();
        channel_truth& c = known.channels[id.channel];
        c.client = process;
        c.protocol = record.protocol;
        c.terms = record.terms;
        c.client_key = record.key;
        c.first = record.paid().value;
        ++count.channels;
        say([&] { return "    channel " + name_of(id.channel) + " of " + sat(c.terms.value.value) + " begins"; });
    }
    // One that an export file brings back may have been lost before.
    if (client && before.version == 0) find_other_spend(id.channel);
    const auto found = known.channels.find(id.channel);
    if (client || found == known.channels.end()) return;
    channel_truth& c = found->second;
    c.best_on_disk = std::max(c.best_on_disk, now_there.paid.value);
    // With a clock that is hours behind, and no word of the chain since, a server cannot know better: see writes().
    if (before.version == 0 && c.terms.expiry < chain.median_time() + settle_margin) c.hopeless = true;
    if (now_there.stage == channel_stage::unbacked && c.lost_height != 0 && !c.stopped) c.stopped = now_there.paid;
}

void world::erases(std::uint8_t process, const record_id& id, std::int32_t height_seen) {
    const auto found = known.channels.find(id.channel);
    if (found == known.channels.end()) return;
    const channel_truth& c = found->second;
    const bool buried = c.closing_height != 0 && height_seen - c.closing_height + 1 >= burial;
    const bool server = process < first_client;
    // What a deletion that was cut short has left behind brings nobody any money.
    const auto& records = server ? known.server_disk : known.client_disk[process];
    const bool watch = id.kind == record_kind::client_watch || id.kind == record_kind::server_watch;
    if (watch && !records.contains(id.channel)) return;
    const bool never_began = server && c.contract_height == 0 && c.acked == 0;
    const bool lost = c.lost_height != 0 && height_seen - c.lost_height + 1 >= burial;
    check(rule::kept_until_buried, buried || never_began || lost, [&] {
        return std::string(server ? "the server" : "the client") + " deletes a record of channel " +
               name_of(id.channel) + " before its end is buried";
    });
}

void world::erased(std::uint8_t process, const record_id& id) {
    if (id.kind == record_kind::server_channel) known.server_disk.erase(id.channel);
    if (id.kind == record_kind::client_channel) known.client_disk[process].erase(id.channel);
}

void disk::may_have(unsure_write w) {
    for (unsure_write& before : unsure)
        for (const auto& r : w.records)
            if (std::ranges::any_of(before.records, [&](const auto& b) { return b.id == r.id; })) before.whole = false;
    unsure.push_back(std::move(w));
}

void disk::has(const record_id& id) {
    for (unsure_write& w : unsure)
        if (std::erase_if(w.records, [&](const auto& r) { return r.id == id; }) > 0) w.whole = false;
    std::erase_if(unsure, [](const unsure_write& w) { return w.records.empty(); });
}

void world::opens(std::uint8_t process, file_store& found) {
    constexpr std::array kinds{
        record_kind::client_channel, record_kind::client_contract, record_kind::client_refund,
        record_kind::server_channel, record_kind::server_contract, record_kind::server_settlement,
        record_kind::key_counter,    record_kind::chain_position,  record_kind::store_network,
        record_kind::client_watch,   record_kind::server_watch};
    disk& d = disk_of(process);
    const auto say_why = [&] { return "after a crash, a disk is not what it must be: " + found.last_error(); };
    using content = std::pair<std::uint64_t, byte_string>;
    const auto all_of = [&](auto& store) {
        std::map<record_id, content> out;
        std::vector<std::uint8_t> memory(10'000);
        for (const record_kind kind : kinds) {
            std::vector<record_id> ids;
            check(rule::disk_keeps, store.list(kind, [&](const record_id& id) { ids.push_back(id); }).has_value(),
                  say_why);
            for (const record_id& id : ids) {
                const auto one = store.get(id, memory);
                check(rule::disk_keeps, one.has_value(), say_why);
                out[id] = {one->version, {one->bytes.begin(), one->bytes.end()}};
            }
        }
        return out;
    };
    const auto there = all_of(found);
    const std::vector<unsure_write> attempts = std::exchange(d.unsure, {});
    for (const unsure_write& w : attempts) {
        std::vector<const unsure_write::record*> came;
        for (const auto& r : w.records) {
            const auto now_there = there.find(r.id);
            const bool happened = r.bytes
                                      ? now_there != there.end() && now_there->second == content{r.version, *r.bytes}
                                      : now_there == there.end();
            if (happened) came.push_back(&r);
        }
        check(rule::disk_keeps, !w.whole || came.empty() || came.size() == w.records.size(),
              [] { return "after a crash, half of a write is on the disk"; });
        for (const auto* r : came) {
            if (!r->bytes) {
                (void)d.kept.erase(r->id);
                erased(process, r->id);
            } else if (d.kept.put(r->id, r->version, *r->bytes)) {
                stored(process, r->id, r->version, *r->bytes);
            }
        }
    }
    check(rule::disk_keeps, there == all_of(d.kept),
          [] { return "after a crash, a record is not on the disk that was written, or one is that was not"; });
}

void world::dies(std::uint8_t process) {
    for (file_system* const f : {disk_of(process).files.get(), sticks[process].get()}) {
        if (f == nullptr) continue;
        const auto [lost, torn] = f->crash();
        for (std::uint32_t i = 0; i < lost; ++i) count.add(fault::unsynced_lost);
        for (std::uint32_t i = 0; i < torn; ++i) count.add(fault::file_torn);
    }
}

// ---- wires

void world::signs(std::uint8_t process, const sign_request& request) {
    if (request.purpose != signing_purpose::payment) return;
    auto& most = known.signed_away[{process, request.key}];
    most = std::max(most, request.to_server.value);
}

void world::server_sends(std::uint8_t process, const channel_record& record, bytes_view bytes) {
    const auto m = codec::decode(bytes);
    if (!m) return;
    count.mix(m->index() + 100U * process);
    const disk& d = disk_of(process);
    if (std::holds_alternative<wire::payment_ack>(*m) || std::holds_alternative<wire::channel_open>(*m)) {
        if (const auto own = known.channels.find(record.terms.contract.id); own != known.channels.end())
            // What one process has stored before another one saw that, it may still ack; and where it has not seen it, it may
            // take its node's last word on the contract for the new one, and open it once more.
            check(rule::acked_is_kept,
                  !own->second.stopped || (record.paid() <= *own->second.stopped &&
                                           (std::holds_alternative<wire::payment_ack>(*m) ||
                                            (who.servers > 1 && !heard[process].lost.contains(own->first)))),
                  [&] {
                      return "the server answers for channel " + name_of(own->first) +
                             ", and knows that its coins are spent";
                  });
        check(rule::durable_before_sent, kept_by_server(record.terms.contract.id) >= record.paid().value, [&] {
            return "the server answers for " + sat(record.paid().value) + " on channel " +
                   name_of(record.terms.contract.id) + ", and on its disk are " +
                   sat(kept_by_server(record.terms.contract.id));
        });
    } else if (std::holds_alternative<wire::initiate>(*m)) {
        std::array<std::uint8_t, 8> memory{};
        const auto counter = d.kept.get({record_kind::key_counter, {}}, memory);
        check(rule::durable_before_sent, counter && counter->version >= static_cast<std::uint64_t>(record.key),
              [] { return "the server shows a key that is not counted on disk"; });
        check(
            rule::as_heard, !is_behind(clock_of(process), heard[process].median_time) && !heard[process].downloading,
            [] { return "the server offers a channel, and has heard that its clock or its node is behind the chain"; });
    } else if (const auto* close = std::get_if<wire::close>(&*m); close && close->settlement) {
        const txid& id = record.terms.contract.id;
        const auto own = known.channels.find(id);
        const bool over = own != known.channels.end() && own->second.closing_height != 0;  // and perhaps buried already
        check(rule::durable_before_sent, over || on_disk_is(d, record_kind::server_settlement, id, {}),
              [] { return "the server shows a settlement that is not on its disk"; });
    }
}

void world::client_sends(std::uint8_t process, const channel_record& record, bytes_view bytes) {
    const auto m = codec::decode(bytes);
    if (!m) return;
    count.mix(m->index() + 100U * process);
    const disk& d = disk_of(process);
    const txid& id = record.terms.contract.id;
    if (const auto* pay = std::get_if<wire::update_payment>(&*m)) {
        const auto& records = known.client_disk[process];
        const auto found = records.find(id);
        const auto change = static_cast<std::int64_t>(pay->client_change_value);
        check(rule::durable_before_sent,
              found != records.end() && found->second.paid.value >= record.terms.value.value - change,
              [&] { return "the client sends a payment on channel " + name_of(id) + " that is not on its disk"; });
    } else if (std::holds_alternative<wire::provide_contract>(*m)) {
        check(rule::durable_before_sent,
              known.client_disk[process].contains(id) && on_disk_is(d, record_kind::client_contract, id, {}) &&
                  on_disk_is(d, record_kind::client_refund, id, {}),
              [&] { return "the client sends contract " + name_of(id) + ", and it or its refund is not on disk"; });
    }
}

ecdsa_signature with_high_s(ecdsa_signature signature) {
    constexpr bytes32 order{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                            0xff, 0xff, 0xff, 0xff, 0xfe, 0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48,
                            0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41};
    int borrow = 0;
    for (std::size_t i = 32; i-- > 0;) {
        const int d = order[i] - signature.compact[32 + i] - borrow;
        borrow = d < 0 ? 1 : 0;
        signature.compact[32 + i] = static_cast<std::uint8_t>(d + 256 * borrow);
    }
    return signature;
}

std::optional<byte_string> world::rewritten(bytes_view bytes, wire_attack::kind how) {
    const auto m = codec::decode(bytes);
    if (!m) return std::nullopt;
    byte_string out(bytes.size() + 16);
    const auto encoded = [&](const wire::message& changed) -> std::optional<byte_string> {
        const auto done = codec::encode(changed, out);
        if (!done) return std::nullopt;
        out.resize(done->size());
        return out;
    };
    if (how == wire_attack::kind::raise_s) {
        if (!std::holds_alternative<wire::update_payment>(*m)) return std::nullopt;
        auto payment = std::get<wire::update_payment>(*m);
        const auto flagged = parse_flagged(payment.signature);
        if (!flagged) return std::nullopt;
        const auto high = to_bytes({with_high_s(flagged->signature), flagged->hash_type});
        payment.signature = high.view();
        return encoded(payment);
    }
    if (!std::holds_alternative<wire::provide_contract>(*m)) return std::nullopt;
    auto contract = std::get<wire::provide_contract>(*m);
    const auto flagged = parse_flagged(contract.initial_payment.signature);
    if (!flagged) return std::nullopt;
    auto other = flagged->signature;
    other.compact[31] ^= 1;
    const auto wrong = to_bytes({other, flagged->hash_type});
    contract.initial_payment.signature = wrong.view();
    return encoded(contract);
}

void world::carry(wire_link& link, bool to_client, bytes_view bytes) {
    auto& queue = to_client ? link.to_client : link.to_server;
    queue.push_back({{bytes.begin(), bytes.end()}, true});
    if (!to_client && recorded.size() < 64) recorded.emplace_back(bytes.begin(), bytes.end());
    wire_attack& attack = attacks[link.client];
    if (attack.what == wire_attack::kind::none || attack.to_client != to_client) return;
    frame& f = queue.back();
    if (attack.what == wire_attack::kind::raise_s || attack.what == wire_attack::kind::spoil_first) {
        auto changed = rewritten(bytes, attack.what);
        if (!changed) return;  // waits for one that fits
        f.bytes = std::move(*changed);
        if (attack.what == wire_attack::kind::spoil_first) f.honest = false;
        count.add(attack.what == wire_attack::kind::raise_s ? fault::high_s : fault::bad_first_payment);
    } else {
        // The server's own answers prove nothing any more once somebody else talks on the wire.
        link.tampered = true;
        if (const auto own = known.channels.find(link.channel); own != known.channels.end() && !to_client)
            own->second.may_end = true;
        f.honest = false;
        if (attack.what == wire_attack::kind::repeat) {
            count.add(fault::frame_repeated);
            const frame again = f;
            queue.push_back(again);
        } else if (!f.bytes.empty()) {
            count.add(fault::frame_changed);
            f.bytes[attack.at % f.bytes.size()] ^= attack.change;
        }
    }
    attack.what = wire_attack::kind::none;
}

// ---- network

void world::broadcasts(std::uint8_t process, bytes_view bytes) {
    const auto tx = parse_transaction(bytes);
    check(rule::relayed, tx.has_value(), [] { return "what is broadcast is no transaction"; });
    const txid id = tx->id();
    const bool server = process < first_client;
    const disk& d = disk_of(process);
    if (known.channels.contains(id)) {
        if (!server) return;
        const auto found = known.server_disk.find(id);
        check(
            rule::durable_before_sent,
            found != known.server_disk.end() && found->second.has_signature &&
                on_disk_is(d, record_kind::server_contract, id, {}),
            [&] { return "the server broadcasts contract " + name_of(id) + " without contract and payment on disk"; });
        return;
    }
    const outpoint spent = tx->inputs().begin()->prevout;
    if (!known.channels.contains(spent.id)) return;
    say([&] {
        return std::string("    ") +
               (server ? "the server broadcasts a settlement" : "the client broadcasts the refund") + " of channel " +
               name_of(spent.id);
    });
    // Is or was: a process that is behind may hold what another wrote over, or deleted when the channel was over.  Near the
    // expiry a disk that takes nothing keeps no settlement back: it gives what was paid and is on disk.
    const bool in_need = server && is_due(known.channels.at(spent.id), process);
    // One at another fee rests on the one that was made first.
    const auto kind = server ? record_kind::server_settlement : record_kind::client_refund;
    check(rule::durable_before_sent, in_need || known.ends_stored.contains({spent.id, kind}),
          [&] { return "what ends channel " + name_of(spent.id) + " is broadcast and not on disk"; });
}

void world::submits(std::uint8_t process, bytes_view bytes) {
    const submission said = chain.submit(bytes);
    count.mix(said.accepted ? 7 : 8);
    // What another transaction did to its inputs is nobody's fault, nor what fees have become.
    const bool excused = said.accepted || said.reason == "bad-txns-inputs-missingorspent" ||
                         said.reason == "txn-mempool-conflict" || said.reason == "mempool min fee not met" ||
                         said.reason.starts_with("insufficient fee");
    check(rule::relayed, excused, [&] {
        return std::string("the network refuses a transaction of ") +
               (process < first_client ? "the server" : "a client") + ": " + said.reason;
    });
}

void world::mine_one(memory_chain::contents take) {
    chain.set_time(now);
    chain.mine(1, miner, take);
    while (observer.deliver(*this) > 0) {
    }
}

void world::reorg(std::int32_t depth, memory_chain::contents take) {
    if (chain.height() - depth < first_height()) return;
    chain.set_time(now);
    if (!chain.reorg(depth, miner, take)) return;
    count.add(fault::reorg);
    while (observer.deliver(*this) > 0) {
    }
}

void world::on_block(const connected_block& b) {
    auto reader = open_block(b.raw);
    if (!reader) return;
    while (const auto tx = reader->next()) {
        const auto id = tx->id();
        if (const auto own = known.channels.find(id); own != known.channels.end()) {
            own->second.contract_height = b.height;
            own->second.late = b.median_time > own->second.terms.expiry;
        }
        for (const tx_input& in : tx->inputs()) {
            known.spent[in.prevout] = {b.height, id};
            if (const auto coin = known.funded_by.find(in.prevout); coin != known.funded_by.end())
                for (const txid& contract : coin->second) find_other_spend(contract);
            if (const auto own = known.channels.find(in.prevout.id);
                own != known.channels.end() && in.prevout.index == 0) {
                channel_truth& c = own->second;
                c.closing_height = b.height;
                c.closing = id;
                c.closing_tx.assign(tx->bytes().begin(), tx->bytes().end());
                c.may_end = true;
                say([&] {
                    return "    what ends channel " + name_of(in.prevout.id) + " is mined at height " +
                           std::to_string(b.height);
                });
            }
        }
    }
}

void world::find_other_spend(const txid& id) {
    const auto own = known.channels.find(id);
    if (own == known.channels.end()) return;
    for (const auto& [coin, contracts] : known.funded_by)
        if (const auto spent = known.spent.find(coin); contracts.contains(id) && spent != known.spent.end())
            if (spent->second.second != id) own->second.lost_height = spent->second.first;
}

void world::on_blocks_left(std::int32_t from) {
    std::erase_if(known.spent, [&](const auto& s) { return s.second.first >= from; });
    for (auto& [id, c] : known.channels) {
        if (c.contract_height >= from) {
            c.contract_height = 0;
            for (news& n : heard) n.taken.insert(id);  // a reorganisation gives it back to mempools
        }
        if (c.closing_height >= from) {
            c.closing_height = 0;
            c.ended_before = true;
        }
        if (c.lost_height >= from) {
            c.lost_height = 0;
            c.stopped.reset();
        }
    }
}

void world::passes(std::uint8_t process, const passed_blocks& p) {
    count.add(fault::blocks_pruned);
    const auto has = [&](std::int32_t height) { return height >= p.first && height <= p.last; };
    for (auto& [id, c] : known.channels)
        if (has(c.contract_height) || has(c.closing_height) || has(c.lost_height)) c.unseen.insert(process);
}

void world::double_spend(std::uint8_t client) {
    for (auto& [id, c] : known.channels) {
        if (c.client != client || c.contract_height != 0 || c.hopeless) continue;
        std::array<std::uint8_t, 10'000> memory{};
        const auto contract = disks[client].kept.get({record_kind::client_contract, id}, memory);
        if (!contract) continue;
        const outpoint coin = parse_transaction(contract->bytes).value().inputs().begin()->prevout;
        chain.forget(id);
        byte_string other(512);
        const auto tx = spend_coin(client, coin, {}, {}, other);
        if (!tx || !chain.submit(*tx).accepted) continue;
        count.add(fault::double_spend);
        c.hopeless = true;
        return;
    }
}

// ---- after every step

std::int64_t world::kept_by_server(const txid& id) const {
    const auto on_disk = known.server_disk.find(id);
    if (on_disk != known.server_disk.end()) return on_disk->second.paid.value;
    const auto own = known.channels.find(id);
    const bool over = own != known.channels.end() && (own->second.closing_height != 0 || own->second.lost_height != 0);
    return over ? own->second.best_on_disk : 0;
}

void world::check_all() {
    for (const auto& channel : known.channels) {
        const txid& id = channel.first;
        const channel_truth& c = channel.second;
        const std::int64_t paid = kept_by_server(id);
        check(rule::acked_is_kept, paid >= c.acked, [&] {
            return "channel " + name_of(id) + ": " + sat(c.acked) + " were acked, and the server has " + sat(paid);
        });
        constexpr std::int64_t below_dust = 545;
        const auto signed_away = known.signed_away.find({c.client, c.client_key});
        const std::int64_t most = signed_away == known.signed_away.end() ? 0 : signed_away->second;
        check(rule::paid_once, most <= c.first + c.asked + below_dust, [&] {
            return "channel " + name_of(id) + ": the client signed " + sat(most) + " away and was asked for " +
                   sat(c.first + c.asked);
        });
    }
}

bool world::is_locked(const txid& id, const channel_truth& c) const {
    if (!known.client_disk.contains(c.client) || !known.client_disk.at(c.client).contains(id)) return false;
    return std::ranges::any_of(known.funded_by,
                               [&](const auto& coin) { return coin.second.contains(id) && chain.coin_at(coin.first); });
}

void world::check_ended() {
    for (const auto& channel : known.channels) {
        const txid& own = channel.first;
        const channel_truth& c = channel.second;
        const auto about = [&id = own](const std::string& text) { return "channel " + name_of(id) + ": " + text; };
        const bool server_lives = !server_dead && !c.hopeless;
        check(rule::right_money, c.contract_height != 0 || c.acked == 0 || !server_lives,
              [&] { return about("payments were acked, and the contract is not on the chain"); });
        if (c.lost_height != 0) {
            check(rule::right_money, c.contract_height == 0, [&] { return about("its coins were spent twice"); });
            // Without the contract nobody knows any more what it spent: a deletion that was cut short stays so.
            const bool begun = !on_disk_is(disks[c.client], record_kind::client_contract, own, {});
            check(rule::kept_until_buried,
                  begun || is_unseen(c, c.client) || !known.client_disk[c.client].contains(own),
                  [&] { return about("what spent its coins is buried, and the client keeps its record"); });
        }
        if (c.contract_height == 0) {
            check(rule::coins_come_free, is_unseen(c, c.client) || !is_locked(own, c), [&] {
                return about("its contract is in no block, its refund was due, and its coins are still there");
            });
            continue;
        }
        check(rule::right_money, c.closing_height != 0, [&] { return about("the contract is not spent"); });
        const auto tx = parse_transaction(bytes_view(c.closing_tx)).value();
        const auto back = tx.output(0).value();
        const script_buffer to_client = script_of_key(c.terms.client_key);
        const bool has_change = equal(back.script_pubkey, to_client.view());
        if (tx.lock_time() != 0) {
            ++count.refunded;
            check(rule::right_money, !server_lives || c.acked == 0,
                  [&] { return about("it was refunded, though " + sat(c.acked) + " were acked"); });
            check(rule::right_money, has_change && back.value.value >= c.terms.value.value / 2,
                  [&] { return about("the refund does not pay the client what it should"); });
        } else {
            ++count.settled;
            const std::int64_t paid = c.terms.value.value - (has_change ? back.value.value : 0);
            check(rule::right_money, paid >= c.acked && paid == c.best_on_disk, [&] {
                return about("settled for " + sat(paid) + ", acked were " + sat(c.acked) + ", the server had " +
                             sat(c.best_on_disk));
            });
            std::int64_t payout = 0;
            std::int64_t total = 0;
            for (const tx_output& out : tx.outputs()) {
                if (equal(out.script_pubkey, server_payout.view())) payout += out.value.value;
                total += out.value.value;
            }
            // All of the contract goes to the two and to the miner, and the fee is the server's.
            check(rule::right_money,
                  payout > 0 && payout < paid && total - payout == (has_change ? back.value.value : 0),
                  [&] { return about("the settlement pays the server " + sat(payout) + " of " + sat(paid)); });
        }
        check(rule::kept_until_buried, is_unseen(c, c.client) || !known.client_disk[c.client].contains(own),
              [&] { return about("its end is buried, and the client keeps its record"); });
        check(rule::kept_until_buried, server_dead || is_unseen(c, 0) || !known.server_disk.contains(own),
              [&] { return about("its end is buried, and the server keeps its record"); });
    }
}

}  // namespace simulation
