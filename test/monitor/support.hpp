// A channel whose peers have gone, and the monitors of both sides that bring it home; and a store for them.
#pragma once

#include <catch2/catch.hpp>
#include <memory>
#include <optional>

#include "support/versions.hpp"
#include "support/world.hpp"

namespace paychan_test {

struct hooked_events : event_log {
    std::vector<paychan::txid> attached;
    int settled_over_connection = 0;
    bool is_attached(const paychan::txid& id) const { return std::ranges::find(attached, id) != attached.end(); }
    bool settle_attached(const paychan::txid& id) {
        settled_over_connection += is_attached(id) ? 1 : 0;
        return is_attached(id);
    }
};

using payees_monitor = paychan::server_monitor<both_versions, faulty_store, faulty_keys, faulty_wallet,
                                               faulty_broadcaster<paychan::chain_follower>, hooked_events>;
using payers_monitor = paychan::client_monitor<both_versions, faulty_store, faulty_keys,
                                               faulty_broadcaster<paychan::chain_follower>, event_log>;

/// A channel that was opened and paid on, is in a block, and whose peers have gone.
struct left_alone : world {
    paychan::txid id;
    paychan::outpoint contract;
    paychan::unix_time expiry;
    paychan::chain_follower payee_view{chain};
    paychan::chain_follower payer_view{chain};
    faulty_broadcaster<paychan::chain_follower> payee_network{payee.plan, payee_view};
    faulty_broadcaster<paychan::chain_follower> payer_network{payer.plan, payer_view};
    hooked_events payee_told;
    event_log payer_told;
    std::unique_ptr<payees_monitor> server_side;
    std::unique_ptr<payers_monitor> client_side;

    explicit left_alone(bool mined = true, std::int32_t of_version = each_version()) : world(of_version) {
        REQUIRE(open());
        REQUIRE(pays(49'000));
        id = channel();
        contract = {id, 0};
        expiry = c->record().terms.expiry;
        reconnect();
        if (mined) mine();
        start();
    }

    void make_monitors() {
        server_side = std::make_unique<payees_monitor>(both_versions{}, payee.store, payee.keys, payee.wallet,
                                                       payee_network, payee_told, server_settings);
        client_side =
            std::make_unique<payers_monitor>(both_versions{}, payer.store, payer.keys, payer_network, payer_told);
    }

    /// The monitors as a process that starts has them: from the disks, and all blocks again.
    void start() {
        make_monitors();
        payee_view = paychan::chain_follower(chain);
        payer_view = paychan::chain_follower(chain);
        REQUIRE(server_side->load());
        REQUIRE(client_side->load());
        catch_up();
    }

    void mine(int count = 1) { chain.mine(count, paychan::p2pkh_script({}).view()); }

    void catch_up() {
        while (payee_view.deliver(*server_side) > 0) {
        }
        while (payer_view.deliver(*client_side) > 0) {
        }
    }

    /// Time goes by on both sides, and each follows the chain.
    void tick() {
        catch_up();
        server_side->tick(clock.now());
        client_side->tick(clock.now());
        catch_up();
    }

    /// The client is away.
    void tick_server() {
        catch_up();
        server_side->tick(clock.now());
        catch_up();
    }

    void set_time(paychan::unix_time t) {
        clock.set(t);
        chain.set_time(t);
    }

    [[nodiscard]] std::string in_mempool() {
        const auto spender = chain.spender_in_mempool(contract);
        if (!spender) return "nothing";
        const bytes tx = chain.find_transaction(*spender).value();
        return paychan::parse_transaction(paychan::bytes_view(tx))->lock_time() != 0 ? "refund" : "settlement";
    }

    [[nodiscard]] paychan::channel_record server_record() {
        return paychan::load_record(payee.disk, paychan::record_kind::server_channel, id).value();
    }

    /// Closed by the server, in a block.
    void settle_and_mine() {
        REQUIRE(server_side->settle(id));
        mine();
        catch_up();
    }
};

/// Processes that store what the chain did, and start again without reading old blocks.
struct kept : left_alone {
    std::int32_t saved_at = 0;

    explicit kept(bool mined = true) : left_alone(mined) {}

    void save() {
        REQUIRE(server_side->save());
        REQUIRE(client_side->save());
        saved_at = chain.height();
    }
    /// Blocks behind the last ones that were saved are read, and no others.
    void restart() {
        begin();
        REQUIRE(server_side->load());
        REQUIRE(client_side->load());
        tell_tip();
        catch_up();
    }
    void begin() {
        make_monitors();
        server_side->start_at(saved_at);
        client_side->start_at(saved_at);
        payee_view = paychan::chain_follower(chain, saved_at + 1);
        payer_view = paychan::chain_follower(chain, saved_at + 1);
    }
    void tell(const paychan::chain_event& e) {
        server_side->on_chain(e);
        client_side->on_chain(e);
    }
    void tell_tip() { tell(paychan::chain_tip{chain.height(), chain.median_time()}); }
    void mine_empty(int count = 1) {
        chain.mine(count, paychan::p2pkh_script({}).view(), paychan::memory_chain::contents::nothing);
    }

    /// How many transactions the server's and the client's monitor give to the network with a tick.
    [[nodiscard]] std::pair<std::size_t, std::size_t> offers() {
        catch_up();
        server_side->tick(clock.now());
        client_side->tick(clock.now());
        const std::pair out{payee_view.deliver(*server_side), payer_view.deliver(*client_side)};
        catch_up();
        return out;
    }

    [[nodiscard]] paychan::watch_facts server_facts() {
        return paychan::read_watch(stored_bytes(payee.disk, paychan::record_kind::server_watch, id)).value();
    }
    [[nodiscard]] paychan::watch_facts client_facts() {
        return paychan::read_watch(stored_bytes(payer.disk, paychan::record_kind::client_watch, id)).value();
    }
    [[nodiscard]] std::size_t records() const {
        std::size_t n = 0;
        for (const auto* const disk : {&payee.disk, &payer.disk})
            for (const auto role : {paychan::channel_role::client, paychan::channel_role::server}) {
                const auto kinds = paychan::kinds_of(role);
                for (const auto kind : {kinds.channel, kinds.contract, kinds.closing, kinds.watch})
                    n += stored_channels(*disk, kind).size();
            }
        return n;
    }

    /// The records are as before the block that ended the channel, as if another process had not been able to write it.
    void forget_end_in_record() {
        paychan::channel_record r = server_record();
        r.closing_height = 0;
        ++r.version;
        REQUIRE(payee.disk.put({paychan::record_kind::server_channel, id}, r.version, paychan::write_record(r).view()));
    }

    /// Takes blocks away; what was in them does not come back by itself.
    void disconnect(int count) {
        for (int i = 0; i < count; ++i) REQUIRE(chain.disconnect_tip());
    }

    /// Another transaction of the contract's own coins, in the mempool in its place.
    paychan::txid double_spend() {
        const bytes contract_bytes = stored_bytes(payer.disk, paychan::record_kind::client_contract, id);
        bytes memory(10'000);
        while (payer.purse.fund(paychan::p2pkh_script({}).view(), paychan::satoshi{1'000}, {}, memory)) {
        }
        payer.purse.release(contract_bytes);
        const auto tx = payer.purse.fund(paychan::p2pkh_script({}).view(), paychan::satoshi{5'000'000}, {}, memory);
        REQUIRE(tx);
        chain.forget(id);
        REQUIRE(chain.submit(*tx).accepted);
        return paychan::parse_transaction(*tx)->id();
    }
};

/// A store without put_many: put_all writes a batch one record after the other.
struct plain_store {
    fault_plan& plan;
    paychan::memory_store& disk;
    std::optional<paychan::record_kind> damaged = std::nullopt;

    paychan::result<void> put(const paychan::record_id& id, std::uint64_t version, paychan::bytes_view b) {
        return plan.run(call::store_put, paychan::errc::store_failed, [&] { return disk.put(id, version, b); });
    }
    paychan::result<paychan::stored_record> get(const paychan::record_id& id, paychan::bytes_span memory) {
        if (id.kind == damaged) return paychan::fail(paychan::errc::corrupt_record, "as planned by the test");
        return disk.get(id, memory);
    }
    paychan::result<void> erase(const paychan::record_id& id) { return disk.erase(id); }
    template <class F>
    paychan::result<void> list(paychan::record_kind kind, F&& f) {
        return disk.list(kind, f);
    }
};
static_assert(paychan::Store<plain_store> && !paychan::BatchStore<plain_store>);

}  // namespace paychan_test
