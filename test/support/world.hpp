// A client, a server, their disks and wallets, and one chain between them, in one process; everything can fail.
#pragma once

#include <memory>

#include "paychan/client.hpp"
#include "paychan/client_monitor.hpp"
#include "paychan/memory/chain.hpp"
#include "paychan/memory/chain_follower.hpp"
#include "paychan/memory/clock.hpp"
#include "paychan/server.hpp"
#include "paychan/server_monitor.hpp"
#include "support/events.hpp"
#include "support/faults.hpp"

namespace paychan_test {

inline constexpr paychan::unix_time world_start{1'700'000'000};
/// What both programs are built with; which version they speak is a setting.
using both_versions = paychan::contracts<paychan::cltv_p2sh, paychan::multisig_refund>;

/// An application that is asked about payments: it takes them, unless a test says otherwise.
struct asked_events : event_log {
    std::function<paychan::payment_answer(const paychan::event&)> answer;
    std::vector<paychan::satoshi> asked;  // the totals of the payments that it was asked about

    bool backed = true;  // what the network is known to have
    std::function<paychan::result<void>(paychan::satoshi)> may;

    paychan::result<void> may_take(const paychan::txid&, paychan::satoshi total) {
        return may ? may(total) : paychan::result<void>{};
    }
    [[nodiscard]] bool is_backed(const paychan::txid&) const { return backed; }
    paychan::payment_answer on_payment(const paychan::event& e) {
        asked.push_back(e.total);
        return answer ? answer(e) : paychan::payment_answer::ack();
    }
};

/// One party: what outlives a crash (disk, keys, wallet), and the policies that its driver borrows.
struct party {
    party(std::uint8_t number, paychan::memory_chain& chain, paychan::memory_pipe& pipe, paychan::memory_pipe::end& end)
        : ring(paychan::memory_keys::testing_from(number)),
          purse(number),
          follower(chain),
          transport{plan, pipe, end, {}} {}

    fault_plan plan;
    paychan::memory_store disk;
    paychan::memory_keys ring;
    coin_wallet purse;
    paychan::chain_follower follower;
    asked_events events;

    faulty_store store{plan, disk};
    faulty_keys keys{plan, ring, {}, {}};
    faulty_wallet wallet{plan, purse};
    faulty_codec codec{plan};
    faulty_transport transport;
    faulty_broadcaster<paychan::chain_follower> network{plan, follower};
};

/// What a payment's completion was told.
struct outcome {
    paychan::satoshi asked{};
    int calls = 0;
    paychan::result<paychan::payment_receipt> told = paychan::fail(paychan::errc::other, "not called yet");
    bytes info;

    [[nodiscard]] paychan::payment_callback callback() {
        return {[](void* self, const paychan::result<paychan::payment_receipt>& r) {
                    auto& o = *static_cast<outcome*>(self);
                    ++o.calls;
                    o.told = r;
                    if (r) o.info = owned(r->info);
                },
                this};
    }
};

struct world {
    using client =
        paychan::client<both_versions, faulty_transport, paychan::manual_clock, faulty_keys, faulty_store,
                        faulty_wallet, faulty_broadcaster<paychan::chain_follower>, faulty_codec, asked_events>;
    using server =
        paychan::server<both_versions, faulty_transport, paychan::manual_clock, faulty_keys, faulty_store,
                        faulty_wallet, faulty_broadcaster<paychan::chain_follower>, faulty_codec, asked_events>;

    paychan::memory_chain chain{world_start};
    paychan::manual_clock clock{world_start};
    paychan::memory_pipe pipe;
    party payer{1, chain, pipe, pipe.first};
    party payee{2, chain, pipe, pipe.second};
    paychan::client_settings client_settings;
    paychan::server_settings server_settings;
    std::unique_ptr<client> c;
    std::unique_ptr<server> s;

    /// version  that both sides speak, and no other
    explicit world(std::int32_t version = 1) {
        client_settings.versions = server_settings.versions = paychan::version_set::only(version);
        for (int i = 0; i < 4; ++i) payer.purse.add_coin(chain, paychan::satoshi{10'000'000});
        make_client();
        make_server();
    }
    world(const world&) = delete;
    world& operator=(const world&) = delete;

    void make_client() {
        c = std::make_unique<client>(both_versions{}, payer.transport, clock, payer.keys, payer.store, payer.wallet,
                                     payer.network, payer.codec, payer.events, client_settings);
    }
    /// A server is one connection: a new one needs a new server.
    void make_server() {
        s = std::make_unique<server>(both_versions{}, payee.transport, clock, payee.keys, payee.store, payee.wallet,
                                     payee.network, payee.codec, payee.events, server_settings);
    }

    /// Everything that waits is delivered, until nothing does.
    void run() {
        for (int i = 0; i < 100; ++i)
            if (paychan::pump(pipe, *c, *s) + payee.follower.deliver(*s) + payer.follower.deliver(*c) == 0) return;
    }

    /// Ends the connection, whatever state it is in, and makes a new one that nothing was said on.
    void reconnect() {
        pipe.cut();
        run();
        pipe.reconnect();
        make_server();
    }

    /// Opens a channel, or resumes the one there is.
    paychan::result<void> open(paychan::satoshi offer = paychan::satoshi{1'000'000}) {
        const auto begun = c->connect(offer);
        run();
        return begun;
    }

    paychan::result<void> pay(paychan::satoshi amount, outcome& o, std::string_view info = {}) {
        o.asked = amount;
        const auto sent = c->pay(amount, o.callback(), as_bytes(info));
        run();
        return sent;
    }

    /// Pays, and is sure that it was acked.
    [[nodiscard]] bool pays(std::int64_t amount) {
        outcome o;
        return pay(paychan::satoshi{amount}, o) && o.calls == 1 && o.told && !c->payment_in_flight();
    }

    /// Of a world that speaks one.
    [[nodiscard]] std::int32_t version() const { return client_settings.versions.has(1) ? 1 : 2; }

    [[nodiscard]] paychan::txid channel() const { return c->record().terms.contract.id; }
};

/// The channels of that kind that are on a disk.
[[nodiscard]] inline std::vector<paychan::txid> stored_channels(const paychan::memory_store& disk,
                                                                paychan::record_kind kind) {
    std::vector<paychan::txid> out;
    (void)disk.list(kind, [&](const paychan::record_id& id) { out.push_back(id.channel); });
    return out;
}

[[nodiscard]] inline bytes stored_bytes(const paychan::memory_store& disk, paychan::record_kind kind,
                                        const paychan::txid& id) {
    bytes memory(paychan::wire::max_frame_size);
    const auto found = disk.get({kind, id}, memory);
    return found ? owned(found->bytes) : bytes{};
}

}  // namespace paychan_test
