// Keys, coins and the node's answers.
#include "simulation/parts.hpp"

namespace simulation {

const known_key& key_of(std::uint8_t owner, std::uint64_t n) {
    static std::map<std::pair<std::uint8_t, std::uint64_t>, known_key> made;
    const auto found = made.find({owner, n});
    if (found != made.end()) return found->second;
    std::array<std::uint8_t, 9> text{owner};
    for (std::size_t i = 0; i < 8; ++i) text[i + 1] = static_cast<std::uint8_t>(n >> (8 * i));
    known_key k{make_secret_key(sha256(text)).value(), {}, {}};
    k.pub = public_key_of(k.secret);
    k.script = script_of_key(k.pub);
    return made.emplace(std::pair{owner, n}, std::move(k)).first->second;
}

result<void> sim_store::open() {
    disk& d = p.w.disk_of(p.number);
    if (!d.files) return {};
    if (d.files->dead) p.w.dies(p.number);  // while it was closed
    d.files->full = d.full;
    d.files->next = [this] {
        switch (p.plan.next(effect::operation).value_or(way{0xff})) {
            case way::fails: p.plan.count(fault::disk_operation_fails); return file_system::fate::fails;
            case way::fails_after: p.plan.count(fault::disk_operation_fails); return file_system::fate::fails_after;
            case way::crashes_before: return file_system::fate::dies_before;
            case way::crashes_after: return file_system::fate::dies_after;
        }
        return file_system::fate::goes_well;
    };
    p.files.reset();
    auto opened = std::make_unique<file_store>(d.files->path(), store_access::create, 0);
    if (d.files->dead) throw crash{};
    const result<void> status = opened->status();
    p.w.check(rule::disk_keeps, status || status.error().code == errc::store_failed,
              [&] { return "after a crash, a store does not open: " + opened->last_error(); });
    PAYCHAN_CHECK(status);
    p.w.opens(p.number, *opened);
    p.files = std::move(opened);
    return {};
}

result<void> sim_store::write_files(disk& d, std::span<const put_request> batch) {
    d.files->full = d.full;
    unsure_write attempt;
    for (const put_request& r : batch)
        attempt.records.push_back({r.id, r.version, byte_string(r.bytes.begin(), r.bytes.end())});
    const auto written = p.files->put_many(batch);
    if (d.files->dead || (!written && written.error().code == errc::store_failed)) d.may_have(std::move(attempt));
    if (d.files->dead) throw crash{};
    if (!written && d.full) p.plan.count(fault::disk_full);
    if (written)
        for (const put_request& r : batch) d.has(r.id);
    return written;
}

result<void> sim_store::erase_file(disk& d, const record_id& id) {
    d.files->full = d.full;
    const auto erased = p.files->erase(id);
    if (!erased) d.may_have({{{id, 0, std::nullopt}}, true});
    if (d.files->dead) throw crash{};
    if (erased) d.has(id);
    return erased;
}

outpoint coin_of(std::uint8_t client, int n) {
    const std::array<std::uint8_t, 3> text{'c', client, static_cast<std::uint8_t>(n)};
    return {{sha256(text)}, 0};
}

result<bytes_view> spend_coin(std::uint8_t client, const outpoint& coin, bytes_view script, satoshi amount,
                              bytes_span memory) {
    constexpr std::int64_t fee = 20'000;  // above any fee spike: the contract is not what is under test then
    const known_key& own = key_of(client, 0);
    const std::array outputs{tx_output{amount, script},
                             tx_output{{coin_value.value - amount.value - fee}, own.script.view()}};
    const auto paid = std::span(outputs).subspan(script.empty() ? 1 : 0);
    tx_input in{coin, {}, final_sequence, {}};
    std::array<std::uint8_t, 512> draft{};
    writer w(draft);
    write_transaction(w, 1, {&in, 1}, paid, 0);
    PAYCHAN_TRY(const auto tx, parse_transaction(w.written()));
    PAYCHAN_TRY(const auto digest, legacy_sighash(tx, 0, own.script.view(), sighash_all));
    PAYCHAN_TRY(const auto signature, sign_ecdsa(own.secret, digest));
    std::array<std::uint8_t, 128> sig_memory{};
    writer sig(sig_memory);
    push(sig, to_bytes({signature, sighash_all}).view());
    push(sig, own.pub.view());
    in.script_sig = sig.written();
    writer out(memory);
    write_transaction(out, 1, {&in, 1}, paid, 0);
    if (!out.ok()) return fail(errc::too_long, "no room for the contract");
    return out.written();
}

result<bytes_view> sim_purse::spend_one(bytes_view script, satoshi amount, bytes_span memory) {
    for (int n = 0; n < coins_per_client; ++n) {
        const outpoint where = coin_of(p.number, n);
        if (reserved_.contains(where) || !p.w.chain.coin_at(where)) continue;
        PAYCHAN_TRY(const bytes_view tx, spend_coin(p.number, where, script, amount, memory));
        reserved_.insert(where);
        return tx;
    }
    return fail(errc::insufficient_funds, "no coin is left");
}

result<bytes_view> sim_purse::take_back(bytes_view contract, fee_rate, bytes_span memory) {
    PAYCHAN_TRY(const auto tx, parse_transaction(contract));
    const outpoint coin = tx.inputs().begin()->prevout;
    if (!p.w.chain.coin_at(coin)) return fail(errc::insufficient_funds, "what the contract was to spend is spent");
    return spend_coin(p.number, coin, {}, {}, memory);
}

void sim_network::broadcast(bytes_view tx) {
    const auto how = p.plan.next(effect::broadcast);
    if (how == way::crashes_before) throw crash{};
    p.w.broadcasts(p.number, tx);
    if (how == way::fails || how == way::fails_after || p.node == chain_follower::node::down) {
        // Lost on the way, or the answer to it is.
        if (how == way::fails_after && p.node != chain_follower::node::down) p.w.submits(p.number, tx);
        p.plan.count(fault::broadcast_unreachable);
        p.follower.set_node(chain_follower::node::down);
        p.follower.broadcast(tx);
        p.follower.set_node(p.node);
    } else if (p.refusals > 0) {
        --p.refusals;
        p.plan.count(fault::broadcast_refused);
        p.follower.refuse_next("the simulation says so");
        p.follower.broadcast(tx);
    } else if (const auto parsed = parse_transaction(tx); parsed && p.w.barred.contains(parsed->id())) {
        p.follower.refuse_next("bare-multisig");
        p.follower.broadcast(tx);
    } else {
        p.w.submits(p.number, tx);
        p.follower.broadcast(tx);  // the same answer again
    }
    if (how == way::crashes_after) throw crash{};
}

}  // namespace simulation
