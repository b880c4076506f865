// The policies of a simulated process: store, keys, wallet, broadcaster and transport, each of which can fail or be its end.
#pragma once

#include "paychan/bitcoin/sighash.hpp"
#include "paychan/client.hpp"
#include "paychan/keeper/keeper.hpp"
#include "paychan/memory/keys.hpp"
#include "simulation/strike.hpp"
#include "simulation/world.hpp"

namespace simulation {

/// What the parts of one process share.
struct process_parts {
    process_parts(world& in, std::uint8_t n) : w(in), number(n), plan(in.count), follower(in.chain, first_height()) {
        w.heard[n] = {};
    }
    process_parts(const process_parts&) = delete;
    process_parts& operator=(const process_parts&) = delete;

    /// What any process remembers of what it is told.
    void hears(const chain_event& e) {
        match(
            e,
            [this](const connected_block& b) {
                height = b.height;
                news().median_time = std::max(news().median_time, b.median_time);
                for (const auto& [id, c] : w.known.channels)
                    if (c.lost_height == b.height) {
                        news().taken.erase(id);
                        news().lost.insert(id);
                    }
            },
            [this](const passed_blocks& p) {
                height = p.last;
                w.passes(number, p);
            },
            [this](const disconnected_blocks& d) { height = d.from - 1; },
            [this](const chain_tip& t) {
                news().median_time = std::max(news().median_time, t.median_time);
                news().downloading = t.downloading;
            },
            [this](const broadcast_answer& a) {
                if (a.outcome == broadcast_outcome::accepted) news().taken.insert(a.id);
                if (a.outcome == broadcast_outcome::refused) news().taken.erase(a.id);
            },
            [this](const node_returned&) { news().taken.clear(); });
    }
    [[nodiscard]] simulation::news& news() { return w.heard[number]; }

    world& w;
    std::uint8_t number;
    strike_plan plan;
    chain_follower follower;
    std::int32_t height = 0;  // of the last block that this process heard of
    chain_follower::node node = chain_follower::node::up;
    std::set<key_id> keys_out;          // that it took, and that neither lock nor have signed anything yet
    std::uint32_t refusals = 0;         // broadcasts that the node refuses for no reason
    std::unique_ptr<file_store> files;  // on a disk of files
};

/// A Store whose put is on disk when it returns, or not, as the plan says.  With files it is a file_store over a disk that
/// can lose and tear what was not synced; else a write is there or not, as the Store contract has it, and a batch that is
/// written one by one is there in part.  (file_store itself is cut off at each system call in memory/file_store_crash.cpp.)
struct sim_store {
    process_parts& p;

    /// Opens a disk of files.  Fails  store_failed.
    [[nodiscard]] result<void> open();
    result<void> put(const record_id& id, std::uint64_t version, bytes_view bytes) {
        const put_request one{id, version, bytes};
        return write({&one, 1});
    }
    result<void> put_many(std::span<const put_request> batch) {
        for (const put_request& r : batch)
            if (r.id.kind == record_kind::client_channel || r.id.kind == record_kind::server_channel)
                p.keys_out.erase(
                    peek(r.bytes).key);  // whoever is told that this failed cannot know that nothing is there
        if (!p.w.disk_of(p.number).one_by_one) return write(batch);
        // As put_all does for stores that cannot take a batch: a crash can tear it.
        for (std::size_t i = 0; i < batch.size(); ++i) PAYCHAN_CHECK(write(batch.subspan(i, 1)));
        return {};
    }
    result<stored_record> get(const record_id& id, bytes_span memory) {
        return p.plan.run(effect::read, errc::store_failed, fault::store_read_fails, [&] {
            return p.files ? p.files->get(id, memory) : p.w.disk_of(p.number).kept.get(id, memory);
        });
    }
    result<void> erase(const record_id& id) {
        return p.plan.run(effect::write, errc::store_failed, fault::store_write_fails, [&]() -> result<void> {
            p.w.erases(p.number, id, p.height);
            disk& d = p.w.disk_of(p.number);
            if (p.files) PAYCHAN_CHECK(erase_file(d, id));
            PAYCHAN_CHECK(d.kept.erase(id));
            p.w.erased(p.number, id);
            return {};
        });
    }
    template <class F>
    result<void> list(record_kind kind, F&& f) {
        return p.plan.run(effect::read, errc::store_failed, fault::store_read_fails,
                          [&] { return p.files ? p.files->list(kind, f) : p.w.disk_of(p.number).kept.list(kind, f); });
    }
    template <class F>
    result<void> scan(record_kind kind, const std::optional<txid>& after, F&& f) {
        return p.plan.run(effect::read, errc::store_failed, fault::store_read_fails, [&] {
            return p.files ? p.files->scan(kind, after, f) : p.w.disk_of(p.number).kept.scan(kind, after, f);
        });
    }
    [[nodiscard]] std::string last_error() const { return p.files ? p.files->last_error() : "the simulation says so"; }

private:
    result<void> write_files(disk& d, std::span<const put_request> batch);
    result<void> erase_file(disk& d, const record_id& id);
    result<void> write(std::span<const put_request> batch) {
        return p.plan.run(effect::write, errc::store_failed, fault::store_write_fails, [&]() -> result<void> {
            disk& d = p.w.disk_of(p.number);
            for (const put_request& r : batch) p.w.writes(p.number, r.id, r.bytes);
            if (p.files) PAYCHAN_CHECK(write_files(d, batch));
            if (d.full && !p.files) {
                p.plan.count(fault::disk_full);
                return fail(errc::store_failed, "the disk is full");
            }
            PAYCHAN_CHECK(d.kept.put_many(batch));
            for (const put_request& r : batch) p.w.stored(p.number, r.id, r.version, r.bytes);
            return {};
        });
    }
};
static_assert(BatchStore<sim_store> && ScanStore<sim_store>);

/// Key n of an owner, the same in every history.
struct known_key {
    secret_key secret;
    public_key pub;
    script_buffer script;
};
[[nodiscard]] const known_key& key_of(std::uint8_t owner, std::uint64_t n);

/// Keys by a counter that is on disk before a key is given out.  What is given back is given out again by this process; the
/// counter does not go down.
class sim_keys {
public:
    sim_keys(process_parts& parts, sim_store& store) : p(parts), store_(store) {}

    [[nodiscard]] result<void> load() {
        std::array<std::uint8_t, 8> memory{};
        const auto stored = store_.get({record_kind::key_counter, {}}, memory);
        if (!stored && stored.error().code != errc::not_found) return fail(stored.error());
        count_ = stored ? stored->version : 0;
        return {};
    }
    result<key_id> new_key() {
        return p.plan.run(effect::new_key, errc::key_unavailable, fault::key_unavailable, [&]() -> result<key_id> {
            if (!free_.empty()) return take(free_.extract(free_.begin()).value());
            for (int attempt = 0; attempt < 3; ++attempt) {
                constexpr std::array<std::uint8_t, 1> nothing{};
                const auto put = store_.put({record_kind::key_counter, {}}, count_ + 1, nothing);
                if (put) return take(key_id{++count_});
                if (put.error().code != errc::stale_record) return fail(put.error());
                PAYCHAN_CHECK(load());
            }
            return fail(errc::key_unavailable, "others take keys");
        });
    }
    void give_back(key_id id) {
        free_.insert(id);
        p.keys_out.erase(id);
        p.w.known.signed_away.erase({p.number, id});  // what it signed has not left
    }
    result<paychan::public_key> public_key(key_id id) { return key_of(owner(), static_cast<std::uint64_t>(id)).pub; }
    result<ecdsa_signature> sign(const sign_request& request) {
        return p.plan.run(
            effect::sign, errc::key_unavailable, fault::key_unavailable, [&]() -> result<ecdsa_signature> {
                p.w.signs(p.number, request);
                if (request.purpose == signing_purpose::refund_for_client) p.keys_out.erase(request.key);
                return sign_ecdsa(key_of(owner(), static_cast<std::uint64_t>(request.key)).secret, request.digest);
            });
    }

private:
    [[nodiscard]] key_id take(key_id id) {
        p.keys_out.insert(id);
        return id;
    }
    [[nodiscard]] std::uint8_t owner() const { return p.number < first_client ? std::uint8_t{0} : p.number; }
    process_parts& p;
    sim_store& store_;
    std::uint64_t count_ = 0;
    std::set<key_id> free_;
};

/// A few coins of one key.  What is reserved is known from the stored contracts after a restart, as the tool does.
class sim_purse {
public:
    explicit sim_purse(process_parts& parts) : p(parts) {}

    result<bytes_view> fund(bytes_view script, satoshi amount, fee_rate, bytes_span memory) {
        return p.plan.run(effect::fund, errc::insufficient_funds, fault::funding_fails,
                          [&] { return spend_one(script, amount, memory); });
    }
    void release(bytes_view tx) {
        if (const auto parsed = parse_transaction(tx))
            for (const auto& in : parsed->inputs()) reserved_.erase(in.prevout);
    }
    result<void> reserve_inputs_of(bytes_view tx) {
        PAYCHAN_TRY(const auto parsed, parse_transaction(tx));
        for (const auto& in : parsed.inputs()) reserved_.insert(in.prevout);
        return {};
    }
    /// All of a contract's one coin.
    result<bytes_view> take_back(bytes_view contract, fee_rate rate, bytes_span memory);
    result<script_buffer> payout_script() {
        return p.plan.run(effect::payout, errc::key_unavailable, fault::key_unavailable,
                          [&]() -> result<script_buffer> { return p.w.server_payout; });
    }

    // For the keeper.  Coins are not looked for in blocks, so it is never behind.
    static constexpr chain_turn chain_order = chain_turn::wallet;
    void on_chain(const chain_event&) {}
    template <class S>
    result<void> load(S&) {
        return {};
    }
    template <class S>
    result<void> save(S&) {
        return {};
    }
    template <class S>
    result<void> forget(S&) {
        return {};
    }
    void restart_scan() {}
    [[nodiscard]] result<void> usable() const { return {}; }
    [[nodiscard]] std::optional<std::int32_t> height() const { return std::numeric_limits<std::int32_t>::max(); }

private:
    result<bytes_view> spend_one(bytes_view script, satoshi amount, bytes_span memory);

    process_parts& p;
    std::set<outpoint> reserved_;
};
static_assert(FundingWallet<sim_purse> && PayoutWallet<sim_purse> && TakeBackWallet<sim_purse>);

[[nodiscard]] outpoint coin_of(std::uint8_t client, int n);
/// A signed transaction that pays `amount` of a client's coin to `script`, where there is one, and the rest back to it.
[[nodiscard]] result<bytes_view> spend_coin(std::uint8_t client, const outpoint& coin, bytes_view script,
                                            satoshi amount, bytes_span memory);

struct sim_network {
    process_parts& p;
    void broadcast(bytes_view tx);
    void follow(const chain_position& from, std::optional<std::int32_t> first) { p.follower.follow(from, first); }
    [[nodiscard]] chain_position position() const { return p.follower.position(); }
};
static_assert(ChainSource<sim_network>);

/// Waits for nothing: the clocks of processes stand still for a while.
[[nodiscard]] inline keeper_settings sim_keeping() {
    keeper_settings s;
    s.birthday = first_height();
    s.rate_patience = 0;
    s.load_at_once = 2;
    return s;
}

/// Loads all that is stored.  False when the disk fails.
template <class Keeper>
[[nodiscard]] bool bring_up(Keeper& k) {
    while (k.turn()) continue;
    return k.loaded();
}

struct sim_clock {
    process_parts& p;
    [[nodiscard]] unix_time now() const { return p.w.clock_of(p.number); }
};
static_assert(Clock<sim_clock>);

/// One end of a connection; `link` is nothing when there is none.
struct sim_transport {
    process_parts& p;
    wire_link* link = nullptr;
    std::function<const channel_record&()> record{};

    void send(bytes_view bytes) {
        const auto how = p.plan.next(effect::send);
        if (how == way::crashes_before) throw crash{};
        if (link == nullptr) return;
        const bool from_client = p.number >= first_client;
        if (from_client)
            p.w.client_sends(p.number, record(), bytes);
        else
            p.w.server_sends(p.number, record(), bytes);
        const bool gone = from_client ? link->client_gone || link->server_gone : link->server_gone || link->client_gone;
        if (how == way::fails) p.plan.count(fault::frame_lost);
        if (!gone && how != way::fails) p.w.carry(*link, !from_client, bytes);
        if (how == way::crashes_after) throw crash{};
        if (how) close();
    }
    void close() {
        if (link == nullptr) return;
        (p.number >= first_client ? link->client_gone : link->server_gone) = true;
    }
};
static_assert(Transport<sim_transport>);

using both_versions = contracts<cltv_p2sh, multisig_refund>;
using codec = wire::small_codec;
inline constexpr std::size_t frame_capacity = 8'192;  // [bytes] a contract of one input is far smaller

}  // namespace simulation
