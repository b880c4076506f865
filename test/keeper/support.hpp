// A store with a channel of both roles and a wallet's coins, and processes that keep it one after the other.
#pragma once

#include <catch2/catch.hpp>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "paychan/keeper/keeper.hpp"
#include "paychan/memory/wallet.hpp"
#include "support/world.hpp"

namespace paychan_test {

using stored_bytes_of = std::map<paychan::record_id, std::pair<std::uint64_t, bytes>>;

inline constexpr std::array all_record_kinds{
    paychan::record_kind::client_channel,  paychan::record_kind::client_contract,
    paychan::record_kind::client_refund,   paychan::record_kind::server_channel,
    paychan::record_kind::server_contract, paychan::record_kind::server_settlement,
    paychan::record_kind::key_counter,     paychan::record_kind::chain_position,
    paychan::record_kind::store_network,   paychan::record_kind::wallet_coin,
    paychan::record_kind::wallet_state,    paychan::record_kind::client_watch,
    paychan::record_kind::server_watch};

/// All that is on a disk.
[[nodiscard]] inline stored_bytes_of contents_of(const paychan::memory_store& disk) {
    stored_bytes_of out;
    for (const auto kind : all_record_kinds)
        REQUIRE(disk.scan(kind, std::nullopt, [&](const paychan::record_id& id, const auto& r) {
            out[id] = {r->version, owned(r->bytes)};
            return true;
        }));
    return out;
}

/// Writes a record as it is to be found, whatever is there.
inline void plant(paychan::memory_store& disk, const paychan::record_id& id, std::uint64_t version,
                  paychan::bytes_view b) {
    REQUIRE(disk.erase(id));
    if (paychan::needs_predecessor(id, version)) REQUIRE(disk.put(id, 1, b));
    REQUIRE(disk.put(id, version, b));
}

/// The records of one kind are as on another disk.
inline void take_kind(paychan::memory_store& to, const paychan::memory_store& from, paychan::record_kind kind) {
    for (const auto& [id, _] : contents_of(to))
        if (id.kind == kind) REQUIRE(to.erase(id));
    for (const auto& [id, r] : contents_of(from))
        if (id.kind == kind) plant(to, id, r.first, r.second);
}

inline void damage(paychan::memory_store& disk, const paychan::record_id& id) {
    auto all = contents_of(disk);
    REQUIRE(all.contains(id));
    auto& [version, b] = all[id];
    b.back() ^= 0x55U;
    plant(disk, id, version, b);
}

/// A ChainSource over a memory_chain that tells of no block before follow(), and writes down what it was asked.
struct source {
    paychan::memory_chain& chain;
    paychan::chain_follower inner{chain, std::numeric_limits<std::int32_t>::max()};
    std::vector<std::string> log{};           // "broadcast", "follow"
    std::vector<paychan::txid> sent{};        // what was broadcast
    std::vector<std::int32_t> followed_at{};  // heights that blocks were read behind; -1: from the birthday

    void broadcast(paychan::bytes_view tx) {
        log.emplace_back("broadcast");
        sent.push_back(paychan::parse_transaction(tx)->id());
        inner.broadcast(tx);
    }
    void follow(const paychan::chain_position& from, std::optional<std::int32_t> first) {
        log.emplace_back("follow");
        followed_at.push_back(from.empty() ? -1 : from[0].height);
        inner.follow(from, first);
    }
    [[nodiscard]] paychan::chain_position position() const { return inner.position(); }
};
static_assert(paychan::ChainSource<source>);

/// What was told of blocks, behind the keeper.
struct block_log {
    static constexpr paychan::chain_turn chain_order = paychan::chain_turn::others;
    std::vector<std::int32_t> connected;
    std::vector<std::int32_t> disconnected;
    std::vector<paychan::chain_event> seen;
    void on_chain(const paychan::chain_event& e) {
        paychan::match(
            e, [this](const paychan::connected_block& b) { connected.push_back(b.height); },
            [this](const paychan::disconnected_blocks& d) { disconnected.push_back(d.from); });
    }
};

inline const paychan::bytes32& test_seed() {
    static const paychan::bytes32 seed{42};
    return seed;
}

[[nodiscard]] inline paychan::seed_wallet open_wallet(std::function<std::uint32_t()> channel_keys = {}) {
    auto w = paychan::seed_wallet::open(test_seed(), paychan::network::regtest, paychan::funding_style::segwit,
                                        std::move(channel_keys));
    REQUIRE(w);
    return *std::move(w);
}

[[nodiscard]] inline paychan::script_buffer receive_script() {
    static const paychan::script_buffer script = [] {
        const paychan::seed_wallet w = open_wallet();
        const auto address = w.address(0, paychan::funding_style::segwit);
        return paychan::script_of_address(address->view(), paychan::network::regtest).value();
    }();
    return script;
}

/// The channel is open, paid on, and in a block; its peers have gone; its records of both roles are on one disk.
struct scene : world {
    paychan::memory_store disk;
    paychan::txid id;
    paychan::unix_time expiry;
    std::int32_t contract_height = 0;

    explicit scene(bool with_channel = true, bool mined = true) : world(2) {
        for (int i = 0; i < 10; ++i) payer.purse.add_coin(chain, paychan::satoshi{10'000'000});
        mine(5);
        give(1'000'000);
        give(2'000'000);
        mine(3);
        if (!with_channel) return;
        open_channel();
        if (mined) mine();
        contract_height = mined ? chain.height() : 0;
    }

    /// stored  on the disk that is kept, and not only by the channel's two peers
    void open_channel(bool stored = true) {
        REQUIRE(open());
        REQUIRE(pays(49'000));
        id = channel();
        expiry = c->record().terms.expiry;
        reconnect();
        if (stored) take_channel();
    }
    void take_channel() {
        for (const auto* from : {&payee.disk, &payer.disk})
            for (const auto& [name, r] : contents_of(*from))
                if (name.kind != paychan::record_kind::key_counter) plant(disk, name, r.first, r.second);
    }

    void mine(int count = 1) { chain.mine(count, paychan::p2pkh_script({}).view()); }
    void mine_empty(int count = 1) {
        chain.mine(count, paychan::p2pkh_script({}).view(), paychan::memory_chain::contents::nothing);
    }
    /// A payment to the wallet, or to somebody else, that waits for a block.
    paychan::txid give(std::int64_t value, const paychan::script_buffer& to = receive_script()) {
        bytes memory(10'000);
        const auto tx = payer.purse.fund(to.view(), paychan::satoshi{value}, {}, memory);
        REQUIRE(tx);
        REQUIRE(chain.submit(*tx).accepted);
        return paychan::parse_transaction(*tx)->id();
    }
    void set_time(paychan::unix_time t) {
        clock.set(t);
        chain.set_time(t);
    }
    void disconnect(int count) {
        for (int i = 0; i < count; ++i) REQUIRE(chain.disconnect_tip());
    }
    /// What a wallet has that reads all blocks.
    [[nodiscard]] paychan::satoshi coins() const {
        paychan::seed_wallet w = open_wallet();
        for (std::int32_t h = 0; h <= chain.height(); ++h) w.on_chain(chain.block_at(h).value());
        return w.balance().confirmed;
    }
    [[nodiscard]] bool is_in_block(const paychan::txid& tx) const {
        return !chain.in_mempool(tx) && chain.find_transaction(tx).has_value();
    }
};

[[nodiscard]] inline paychan::keeper_settings at_once() {
    paychan::keeper_settings s;
    s.rate_patience = 0;
    return s;
}

/// Keys of a store that has given out none, as far as it knows.
struct fresh_keys {
    paychan::memory_keys& ring;
    paychan::result<paychan::key_id> new_key() { return ring.new_key(); }
    paychan::result<paychan::public_key> public_key(paychan::key_id id) { return ring.public_key(id); }
    paychan::result<paychan::ecdsa_signature> sign(const paychan::sign_request& r) { return ring.sign(r); }
    [[nodiscard]] static std::uint32_t count() { return 0; }
};
static_assert(paychan::KeyStore<fresh_keys>);

/// A process that keeps a disk: a client's and a server's monitor, a wallet, and a node.
template <class Keys>
struct process_with {
    using payee_type =
        paychan::server_monitor<both_versions, faulty_store, Keys, paychan::seed_wallet, source, event_log>;
    using payer_type = paychan::client_monitor<both_versions, faulty_store, Keys, source, event_log>;

    scene& w;
    fault_plan plan;
    faulty_store store;
    source net{w.chain};
    paychan::seed_wallet wallet;
    event_log payee_told;
    event_log payer_told;
    block_log blocks;
    std::vector<std::pair<std::string, paychan::errc>> problems;
    payee_type payee;
    payer_type payer;
    paychan::keeper<faulty_store, Keys, paychan::seed_wallet, source, paychan::manual_clock, payee_type, payer_type> k;

    process_with(scene& in, paychan::memory_store& disk, Keys& keys, paychan::keeper_settings settings = at_once(),
                 std::function<std::uint32_t()> channel_keys = {})
        : w(in),
          store{plan, disk},
          wallet(open_wallet(std::move(channel_keys))),
          payee(both_versions{}, store, keys, wallet, net, payee_told, in.server_settings),
          payer(both_versions{}, store, keys, net, payer_told),
          k(store, keys, wallet, net, in.clock, with_log(std::move(settings)), payee, payer) {}

    paychan::keeper_settings with_log(paychan::keeper_settings s) {
        s.on_problem = [this](std::string_view what, const paychan::txid&, const paychan::error& e) {
            problems.emplace_back(what, e.code);
        };
        return s;
    }

    [[nodiscard]] bool has_problem(std::string_view what) const {
        return std::ranges::any_of(problems, [&](const auto& p) { return p.first == what; });
    }
    void hear() {
        while (net.inner.deliver(k, blocks) > 0) {
        }
    }
    void second() {
        w.clock.advance(1);
        while (k.turn()) {
        }
        hear();
    }
    /// So long that all is loaded, read, and saved.
    void live(int seconds = 8) {
        for (int i = 0; i < seconds; ++i) second();
    }
    /// From the start until all is read and saved.
    void run(paychan::network net_name = paychan::network::regtest) {
        REQUIRE(k.open(net_name));
        hear();
        live();
        REQUIRE(k.caught_up());
    }
    /// All that the chain says of the channel and of the coins is known, and on the disk.
    void check() {
        CHECK(wallet.usable());
        CHECK(wallet.balance().confirmed == w.coins());
        CHECK(k.save());
        CHECK(stored_height(paychan::follower::wallet) == w.chain.height());
        CHECK(wallet.height() == w.chain.height());
        if (w.contract_height == 0) return;
        for (const auto kind : {paychan::record_kind::server_watch, paychan::record_kind::client_watch}) {
            const auto facts = paychan::read_watch(stored_bytes(store.disk, kind, w.id));
            REQUIRE(facts);
            CHECK(facts->contract_height == w.contract_height);
            CHECK(facts->end_height == 0);
            CHECK_FALSE(facts->unknown);
        }
    }
    [[nodiscard]] std::int32_t stored_height(paychan::follower who) const {
        paychan::position_buffer memory;
        const auto stored = store.disk.get(paychan::position_id(who), memory.memory());
        if (!stored) return -1;
        const auto p = paychan::read_position(stored->bytes);
        return p ? (*p)[0].height : -2;
    }
};

struct process : private fresh_keys, process_with<fresh_keys> {
    explicit process(scene& in, paychan::keeper_settings s = at_once()) : process(in, in.disk, std::move(s)) {}
    process(scene& in, paychan::memory_store& disk, paychan::keeper_settings s = at_once())
        : fresh_keys{in.payee.ring}, process_with<fresh_keys>(in, disk, *this, std::move(s)) {}
};

}  // namespace paychan_test
