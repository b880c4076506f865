// What a side does besides speaking the protocol: whatever ends a process, the next one knows all that the chain did.
#include "paychan/keeper/keeper.hpp"

#include <set>

#include "keeper/support.hpp"
#include "paychan/channel/export.hpp"

using namespace paychan;
using namespace paychan_test;

namespace {

constexpr std::array all_followers{follower::wallet, follower::client_monitor, follower::server_monitor};

keeper_settings born_at(std::int32_t height) {
    keeper_settings s = at_once();
    s.birthday = height;
    return s;
}
keeper_settings looking() {
    keeper_settings s = at_once();
    s.writes = false;
    return s;
}

std::set<outpoint> inputs_of(bytes_view tx) {
    std::set<outpoint> out;
    const auto parsed = parse_transaction(tx);
    REQUIRE(parsed);
    for (const tx_input& in : parsed->inputs()) out.insert(in.prevout);
    return out;
}

/// The store as a process leaves it that has read all, and the height at that time.
std::int32_t kept_once(scene& w) {
    process p(w);
    p.run();
    p.check();
    return w.chain.height();
}

/// The store of processes that were left at different blocks: `who` three below the tip.  Returns its height.
std::int32_t kept_apart(scene& w, follower who) {
    process p(w);
    p.run();
    const memory_store older = w.disk;
    w.give(400'000);
    w.mine(3);
    p.live();
    p.check();
    plant(w.disk, position_id(who), 1, stored_bytes(older, record_kind::chain_position, position_id(who).channel));
    return w.chain.height() - 3;
}

void plant_birthday(memory_store& disk, std::int32_t height) {
    plant(disk, position_id(follower::birthday), 1, write_birthday(height));
}
std::int32_t birthday_in(const memory_store& disk) {
    const bytes b = stored_bytes(disk, record_kind::chain_position, position_id(follower::birthday).channel);
    return b.empty() ? -1 : read_birthday(b).value();
}

/// Puts the channel into a store as an import does: as unknown.
void import_into(memory_store& disk, scene& w, channel_role role) {
    const role_kinds kinds = kinds_of(role);
    const bytes contract = stored_bytes(w.disk, kinds.contract, w.id);
    const bytes refund = role == channel_role::client ? stored_bytes(w.disk, kinds.closing, w.id) : bytes{};
    const channel_export e{network::regtest, role, load_record(w.disk, kinds.channel, w.id).value(), contract, refund};
    const auto checked = check_export<both_versions>(e);
    REQUIRE(checked);
    REQUIRE(import_channel(disk, *checked));
}

/// Tells a process that the node has many blocks more than it shows.
struct far_ahead {
    static constexpr chain_turn chain_order = chain_turn::monitors;
    process& p;
    void on_chain(const chain_event& e) const {
        p.k.on_chain(std::holds_alternative<chain_tip>(e) ? chain_event{chain_tip{100, {}}} : e);
    }
};

}  // namespace

// ------------------------------------------------------------------------------------------------ where blocks are read

TEST_CASE("the first start reads from the birthday, the second is told no block again", "[keeper]") {
    scene w;
    const std::int32_t birthday = GENERATE(0, 3);
    {
        process p(w, born_at(birthday));
        p.run();
        CHECK(p.net.followed_at == std::vector{-1});
        CHECK(p.blocks.connected.front() == birthday);
        CHECK(p.blocks.connected.size() == static_cast<std::size_t>(w.chain.height() - birthday + 1));
        CHECK(p.k.knows_coins());
        CHECK(p.problems.empty());
        p.check();
    }
    CHECK(birthday_in(w.disk) == birthday);
    const std::int32_t before = w.chain.height();
    {
        process p(w);
        p.run();
        CHECK(p.net.followed_at == std::vector{before});
        CHECK(p.blocks.connected.empty());
        CHECK(p.k.knows_coins());
        p.check();
    }
    w.give(300'000);
    w.mine(2);
    process p(w);
    p.run();
    CHECK(p.blocks.connected == std::vector{before + 1, before + 2});
    CHECK(p.k.birthday() == birthday);
    CHECK(p.problems.empty());
    p.check();
}

TEST_CASE("a process that reads nothing new writes nothing", "[keeper]") {
    scene w;
    kept_once(w);
    const auto before = contents_of(w.disk);
    process p(w);
    p.run();
    p.live(100);
    REQUIRE(p.k.save());
    CHECK(contents_of(w.disk) == before);
}

TEST_CASE("a store without channels is kept although its keys were given out before", "[keeper]") {
    struct used_keys : fresh_keys {
        [[nodiscard]] static std::uint32_t count() { return 7; }
    };
    scene w(false);
    used_keys keys{w.payee.ring};
    process_with<used_keys> p(w, w.disk, keys);
    p.run();
    p.check();
}

TEST_CASE("a wallet without any channel is kept as well", "[keeper]") {
    scene w(false);
    const std::int32_t at = kept_once(w);
    CHECK(stored_bytes(w.disk, record_kind::store_network, {}) == owned(as_bytes("regtest")));
    process p(w);
    p.run();
    CHECK(p.net.followed_at == std::vector{at});
    p.check();
}

TEST_CASE("of positions that differ the lowest counts", "[keeper]") {
    scene w;
    const follower who = GENERATE(follower::wallet, follower::client_monitor, follower::server_monitor);
    const std::int32_t low = kept_apart(w, who);
    process p(w);
    p.run();
    CHECK(p.net.followed_at == std::vector{low});
    CHECK(p.blocks.connected.front() == low + 1);
    CHECK(p.problems.empty());
    p.check();
    for (const follower f : all_followers) CHECK(p.stored_height(f) == w.chain.height());
}

TEST_CASE("positions that are too high are lowered before what is behind them is read again", "[keeper]") {
    scene w;
    const std::int32_t low = kept_apart(w, follower::client_monitor);
    {
        process p(w);  // whose node tells nothing before it ends
        REQUIRE(p.k.open(network::regtest));
        for (int i = 0; i < 8; ++i) {
            w.clock.advance(1);
            while (p.k.turn()) {
            }
        }
        REQUIRE(p.k.loaded());
        REQUIRE(p.k.save());
        for (const follower f : all_followers) CHECK(p.stored_height(f) == low);
    }
    process p(w);
    p.run();
    CHECK(p.problems.empty());
    CHECK(p.net.followed_at == std::vector{low});
    p.check();
}

TEST_CASE("a position that is damaged or missing sends everybody back to the birthday", "[keeper]") {
    scene w;
    kept_once(w);
    const follower who = GENERATE(follower::wallet, follower::client_monitor, follower::server_monitor);
    const bool is_missing = GENERATE(false, true);
    CAPTURE(static_cast<int>(who), is_missing);
    if (is_missing)
        REQUIRE(w.disk.erase(position_id(who)));
    else
        damage(w.disk, position_id(who));
    process p(w);
    p.run();
    CHECK(p.net.followed_at == std::vector{-1});
    CHECK(p.has_problem("position") == !is_missing);
    CHECK(p.problems.size() == (is_missing ? 0U : 1U));
    p.check();
    for (const follower f : all_followers) CHECK(p.stored_height(f) == w.chain.height());

    process next(w);  // and it is whole again
    next.run();
    CHECK(next.blocks.connected.empty());
    CHECK(next.problems.empty());
}

TEST_CASE("a monitor without channels does not hold the others back", "[keeper]") {
    scene w(false);
    const std::int32_t at = kept_once(w);
    REQUIRE(w.disk.erase(position_id(follower::client_monitor)));
    process p(w);
    p.run();
    CHECK(p.net.followed_at == std::vector{at});
    p.check();
}

TEST_CASE("wallet records that are damaged are forgotten and read anew", "[keeper]") {
    scene w;
    kept_once(w);
    const record_kind kind = GENERATE(record_kind::wallet_state, record_kind::wallet_coin);
    for (const auto& [id, _] : contents_of(w.disk))
        if (id.kind == kind) damage(w.disk, id);
    process p(w);
    p.run();
    CHECK(p.has_problem("wallet"));
    CHECK(p.net.followed_at == std::vector{-1});
    p.check();
    process next(w);
    next.run();
    CHECK(next.blocks.connected.empty());
    CHECK(next.problems.empty());
}

TEST_CASE("records of an older disk beside newer ones are found out", "[keeper]") {
    // Whatever was copied back from a backup: the coins and channels are those of the chain.
    scene w;
    memory_store older;
    {
        process p(w);
        p.run();
        older = w.disk;
        w.give(400'000);
        w.mine(2);
        // One coin of the wallet is spent too.
        bytes memory(10'000);
        const auto tx = p.wallet.fund(p2pkh_script({}).view(), satoshi{500'000}, {}, memory);
        REQUIRE(tx);
        REQUIRE(w.chain.submit(*tx).accepted);
        w.mine(2);
        p.live();
        p.check();
    }
    const int which = GENERATE(range(1, 16));
    constexpr std::array kinds{record_kind::wallet_coin, record_kind::wallet_state, record_kind::chain_position,
                               record_kind::server_watch};
    for (std::size_t i = 0; i < kinds.size(); ++i)
        if ((which >> i & 1) != 0) take_kind(w.disk, older, kinds[i]);
    CAPTURE(which);
    // The older coins alone are those of the newer state, for all that their records say: no checksum joins the two.
    if ((which & 3) == 1) return;
    process p(w);
    p.run();
    p.live();
    p.check();
}

// ------------------------------------------------------------------------------------------------ what is on disk when

TEST_CASE("a position is stored only behind what it speaks of, whichever write fails", "[keeper]") {
    const fault how = GENERATE(fault::fails, fault::fails_after, fault::crashes, fault::crashes_after);
    const call which = GENERATE(call::store_put, call::store_erase);
    const bool one_by_one = GENERATE(false, true);
    CAPTURE(static_cast<int>(how), static_cast<int>(which), one_by_one);
    bool hit = true;
    for (int n = 0; hit; ++n) {
        REQUIRE(n < 200);
        CAPTURE(n);
        scene w;
        memory_store left;
        {
            process p(w);
            p.store.one_by_one = one_by_one;
            p.plan = {which, how, n};
            try {
                p.run();
                w.give(700'000);
                w.mine(2);
                p.second();
                w.disconnect(2);
                w.mine_empty(3);
                p.live();
                w.mine();
                p.live(2);
            } catch (const crash&) {
            }
            left = w.disk;
            hit = p.plan.hit;
            // A process that only met an error has gone on, and has everything.
            if (how == fault::fails || how == fault::fails_after) {
                p.live(70);
                p.check();
            }
        }
        process next(w, left);
        next.run();
        next.live();
        next.check();
        CHECK(next.wallet.usable());
    }
}

TEST_CASE("a store that fails is not one without a position", "[keeper]") {
    scene w;
    const std::int32_t at = kept_once(w);
    const call which = GENERATE(call::store_get, call::store_list);
    process p(w);
    for (int n = 0;; ++n) {
        p.plan = {which, fault::fails, n};
        const auto opened = p.k.open(network::regtest);
        if (!p.plan.hit) {
            REQUIRE(n > 1);
            REQUIRE(opened);
            break;
        }
        CAPTURE(n);
        // That a monitor has channels is seen without reading them.
        if (!opened) CHECK(opened.error().code == errc::store_failed);
    }
    p.plan = {};
    p.hear();
    p.live();
    CHECK(p.net.followed_at == std::vector{at});
    p.check();
}

TEST_CASE("a store that fails while it is loaded is told, and asked again", "[keeper]") {
    scene w;
    kept_once(w);
    keeper_settings s = at_once();
    s.load_at_once = 1;
    const call which = GENERATE(call::store_list, call::store_scan, call::store_get);
    bool hit = true;
    for (int n = 0; hit; ++n) {
        REQUIRE(n < 200);
        process p(w, s);
        REQUIRE(p.k.open(network::regtest));
        p.plan = {which, fault::fails, n};
        p.hear();
        p.live(20);
        hit = p.plan.hit;
        CAPTURE(n, hit);
        CHECK(p.k.loaded());
        CHECK(p.payee.size() == 1);
        CHECK(p.payer.size() == 1);
        CHECK(p.net.followed_at == std::vector{w.chain.height()});  // what can be read later sends nobody back
        p.check();
    }
}

TEST_CASE("a damaged page of the store holds nothing up that is due and can be read", "[keeper]") {
    scene w;
    kept_once(w);
    const bool is_refund = GENERATE(false, true);
    const record_kind damaged = GENERATE(record_kind::client_contract, record_kind::server_settlement,
                                         record_kind::client_watch, record_kind::server_watch);
    CAPTURE(is_refund, static_cast<int>(damaged));
    w.set_time(is_refund ? w.expiry + 3'600 : w.expiry + -3'600);
    w.mine_empty(12);
    process p(w);
    p.store.damaged_page = damaged;
    REQUIRE(p.k.open(network::regtest));
    p.hear();
    p.live(10);
    CHECK(p.k.loaded());
    CHECK(
        (p.has_problem("store") || p.payer_told.count(event_kind::error) + p.payee_told.count(event_kind::error) > 0));
    const txid due =
        parse_transaction(
            stored_bytes(w.disk, is_refund ? record_kind::client_refund : record_kind::server_settlement, w.id))
            ->id();
    CHECK(std::ranges::find(p.net.sent, due) != p.net.sent.end());
    CHECK(p.wallet.balance().confirmed == w.coins());
}

TEST_CASE("channels of one role on a damaged page hold up neither the other role nor the blocks", "[keeper]") {
    scene w;
    kept_once(w);
    const channel_role damaged = GENERATE(channel_role::client, channel_role::server);
    process p(w);
    p.store.damaged_page = kinds_of(damaged).channel;
    p.run();
    // Its watch record names the channel, and its own can be read: no scan is needed for that.
    CHECK(p.payee.size() == 1);
    CHECK(p.payer.size() == 1);
    CHECK(p.wallet.balance().confirmed == w.coins());
}

TEST_CASE("a store that cannot be listed is asked once a second", "[keeper]") {
    scene w;
    process p(w);
    REQUIRE(p.k.open(network::regtest));
    for (int second = 0; second < 5; ++second) {
        w.clock.advance(1);
        int turns = 0;
        do p.plan = {call::store_list, fault::fails, 0};
        while (++turns < 100 && p.k.turn());
        CHECK(turns <= 2);  // not again and again at once
        CHECK(p.problems.size() <= static_cast<std::size_t>(second) + 2);
    }
    CHECK(p.has_problem("store"));
    CHECK_FALSE(p.k.loaded());
    p.plan = {};
    p.second();
    p.second();
    CHECK(p.k.loaded());
    p.live();
    p.check();
}

// ---------------------------------------------------------------------------------------------------- reorganisations

TEST_CASE("a reorganisation is followed, while it runs and while it was away", "[keeper]") {
    const bool away = GENERATE(false, true);
    const int depth = GENERATE(1, 3, 9);
    CAPTURE(away, depth);
    scene w;
    auto p = std::make_unique<process>(w);
    p->run();
    w.give(600'000);
    w.mine(2);
    p->live();
    p->check();
    if (away) p.reset();
    w.disconnect(depth);
    w.mine_empty(depth + 1);
    w.mine();  // what was in the blocks is in the last
    w.contract_height = w.is_in_block(w.id) && depth >= 3 ? w.chain.height() : w.contract_height;
    if (away) {
        p = std::make_unique<process>(w);
        p->run();
    }
    p->live();
    CHECK_FALSE(p->blocks.disconnected.empty());
    p->check();
    process next(w);
    next.run();
    CHECK(next.blocks.connected.empty());
    next.check();
}

TEST_CASE("positions are lowered before what blocks did is taken back", "[keeper]") {
    scene w;
    process p(w);
    p.run();
    p.check();
    const std::int32_t tip = w.chain.height();
    w.disconnect(2);
    p.live(2);
    // Nothing of the new branch has come yet: what is stored may be lower, but speaks of no block that has left.
    for (const follower f : all_followers) CHECK(p.stored_height(f) <= tip - 2);
    process other(w);  // a crash here
    other.run();
    w.mine(3);
    w.contract_height = tip - 1 < w.contract_height ? tip - 1 : w.contract_height;
    other.live();
    other.check();
}

TEST_CASE("a reorganisation deeper than the wallet remembers is read from the birthday on", "[keeper]") {
    const bool away = GENERATE(false, true);
    scene w;
    w.mine(40);
    auto p = std::make_unique<process>(w);
    p->run();
    p->check();
    if (away) p.reset();
    w.disconnect(45);
    w.mine_empty(50);
    w.mine();
    if (w.contract_height > w.chain.height() - 51) w.contract_height = w.chain.height();
    if (away) {
        p = std::make_unique<process>(w);
        p->run();
    }
    p->live(20);
    p->check();
    CHECK(p->net.followed_at.size() < 4);  // not for ever
}

TEST_CASE("a reorganisation below the first block that was read is followed", "[keeper]") {
    const bool away = GENERATE(false, true);
    scene w(false);
    w.mine(10);
    auto p = std::make_unique<process>(w, born_at(w.chain.height() - 1));
    p->run();
    REQUIRE(p->k.save());
    CHECK(p->stored_height(follower::wallet) == w.chain.height());
    if (away) p.reset();
    w.disconnect(6);
    w.mine_empty(8);
    w.give(900'000);
    w.mine();
    if (away) {
        p = std::make_unique<process>(w);
        p->run();
    }
    p->live(20);
    CHECK(p->wallet.usable());
    CHECK(p->wallet.balance().confirmed == satoshi{900'000});  // older coins are before its birthday
    CHECK(p->wallet.height() == w.chain.height());
    CHECK(p->net.followed_at.size() < 4);
}

// ------------------------------------------------------------------------------------------------------------ the start

TEST_CASE("what is due leaves before records and blocks have been read", "[keeper]") {
    scene w;
    kept_once(w);
    keeper_settings s = at_once();
    s.load_at_once = 1;
    const bool is_refund = GENERATE(false, true);
    w.set_time(is_refund ? w.expiry + 3'600 : w.expiry + -3'600);
    w.mine_empty(12);
    process p(w, s);
    REQUIRE(p.k.open(network::regtest));
    p.hear();  // the tip, and no block
    CHECK(p.blocks.connected.empty());
    for (int i = 0; i < 40 && !p.k.loaded(); ++i) {
        w.clock.advance(1);
        (void)p.k.turn();
    }
    REQUIRE(p.k.loaded());
    p.second();
    REQUIRE(p.net.log.size() > 1);
    CHECK(p.net.log.front() == "broadcast");
    const auto followed = std::ranges::find(p.net.log, "follow");
    REQUIRE(followed != p.net.log.end());
    std::set<txid> early(p.net.sent.begin(), p.net.sent.begin() + (followed - p.net.log.begin()));
    const txid refund = parse_transaction(stored_bytes(w.disk, record_kind::client_refund, w.id))->id();
    CHECK(early.contains(refund) == is_refund);
    const txid settlement = parse_transaction(stored_bytes(w.disk, record_kind::server_settlement, w.id))->id();
    CHECK(early.contains(settlement));
}

TEST_CASE("what is due waits for a fee estimate, but not for long", "[keeper]") {
    scene w;
    kept_once(w);
    const bool estimated = GENERATE(false, true);
    w.set_time(w.expiry + -3'600);
    process p(w, keeper_settings{});
    if (estimated) p.net.inner.set_fee_rate({3'000});
    REQUIRE(p.k.open(network::regtest));
    p.hear();
    for (int i = 0; i < 10; ++i) {
        if (i == 1) CHECK(p.net.sent.empty() != estimated);
        p.second();
    }
    CHECK(p.net.sent.empty() != estimated);
    p.second();
    CHECK_FALSE(p.net.sent.empty());
}

TEST_CASE("coins of stored contracts are reserved before anything is funded", "[keeper]") {
    scene w(false);
    w.give(3'000'000);
    w.mine();
    std::set<outpoint> spent;
    std::vector<bytes> contracts;
    for (int start = 0; start < 3; ++start) {
        CAPTURE(start);
        process p(w);
        REQUIRE(p.k.open(network::regtest));
        p.hear();
        p.live(1);
        // The blocks are read, or known: whatever can be funded now must spend other coins.
        bytes memory(10'000);
        const auto tx = p.wallet.fund(p2pkh_script({}).view(), satoshi{800'000}, {}, memory);
        REQUIRE(tx);
        for (const outpoint& in : inputs_of(*tx)) CHECK(spent.insert(in).second);
        const txid id = parse_transaction(*tx)->id();
        REQUIRE(w.disk.put({record_kind::client_contract, id}, 1, *tx));
        contracts.push_back(owned(*tx));
        p.live();
    }
    process p(w);
    p.run();
    bytes memory(10'000);
    CHECK(p.wallet.fund(p2pkh_script({}).view(), satoshi{800'000}, {}, memory).error().code ==
          errc::insufficient_funds);
    for (const bytes& tx : contracts) CHECK(w.chain.submit(tx).accepted);
}

TEST_CASE("a stored contract that cannot be read is named, and the others are reserved", "[keeper]") {
    scene w(false);
    const txid broken{bytes32{1}};
    REQUIRE(w.disk.put({record_kind::client_contract, broken}, 1, as_bytes("no transaction")));
    process p(w);
    p.run();
    CHECK(p.has_problem("transaction"));
    p.check();
}

// ---------------------------------------------------------------------------------------------------- other processes

TEST_CASE("a channel of another process is found before the block that holds its contract", "[keeper]") {
    const bool ended = GENERATE(false, true);
    scene w(false);
    process p(w);
    p.run();
    REQUIRE(p.payee.size() == 0);
    w.open_channel();  // stored by another process, and its contract is in the mempool
    w.mine();
    w.contract_height = w.chain.height();
    if (ended) {
        process other(w);
        other.run();
        REQUIRE(other.payee.settle(w.id));
        other.hear();
        w.mine();
    }
    p.hear();  // no second has gone by
    CHECK(p.payee.size() == 1);
    CHECK(p.payer.size() == 1);
    if (!ended) return p.check();
    CHECK(p.payee_told.count(event_kind::confirmed) == 1);
    CHECK(p.payer_told.count(event_kind::confirmed) == 1);
}

TEST_CASE("blocks that came while other processes' channels could not be listed are read once more", "[keeper]") {
    const bool restarted = GENERATE(false, true);
    scene w(false);
    {
        process p(w);
        p.run();
        w.open_channel();
        w.mine();
        w.contract_height = w.chain.height();
        p.plan = {call::store_list, fault::fails, 0};
        p.hear();
        REQUIRE(p.plan.hit);
        REQUIRE(p.payee.size() == 0);
        REQUIRE(p.k.save());
        if (!restarted) {
            p.live();
            CHECK(p.payee.is_mined(w.id));
            p.check();
        }
    }
    process next(w);
    next.run();
    CHECK(next.payee.is_mined(w.id));
    next.check();
}

TEST_CASE("channels that others store are also looked for without blocks", "[keeper]") {
    scene w(false);
    process p(w);
    p.run();
    w.open_channel();
    p.live(11);
    CHECK(p.payee.size() == 1);
    CHECK(p.payer.size() == 1);
}

TEST_CASE("two processes keep one store", "[keeper]") {
    scene w;
    process first(w);
    process second(w);
    first.run();
    second.run();
    for (int i = 0; i < 5; ++i) {
        w.give(100'000 + i);
        w.mine();
        if (i % 2 == 0) first.second();
        second.second();
        first.second();
    }
    first.live();
    second.live();
    CHECK(first.problems.empty());
    CHECK(second.problems.empty());
    first.check();
    second.check();
    process next(w);
    next.run();
    CHECK(next.blocks.connected.empty());
    next.check();
}

TEST_CASE("two processes begin on one new store", "[keeper]") {
    scene w(false);
    process first(w);
    process second(w);
    REQUIRE(first.k.open(network::regtest));
    REQUIRE(second.k.open(network::regtest));
    for (int i = 0; i < 10; ++i) {
        first.second();
        second.second();
    }
    first.check();
    w.mine();  // by then the first has ended
    second.live();
    second.check();
}

// ------------------------------------------------------------------------------------------------------------- imports

TEST_CASE("a channel that was imported has all blocks read again", "[keeper]") {
    const channel_role role = GENERATE(channel_role::client, channel_role::server);
    const bool running = GENERATE(false, true);
    CAPTURE(running);
    scene w;
    scene* const from = &w;
    memory_store disk;
    {
        process p(w, disk);  // a store without the channel, which has read all
        p.run();
        REQUIRE(p.k.save());
        if (running) {
            import_into(disk, *from, role);
            p.live(20);
            CHECK(p.net.followed_at == std::vector{-1, -1});
            const auto facts = read_watch(stored_bytes(disk, kinds_of(role).watch, w.id));
            CHECK(facts->contract_height == w.contract_height);
            CHECK_FALSE(facts->unknown);
            return;
        }
    }
    import_into(disk, *from, role);
    {
        process p(w, disk);  // ends in the middle
        REQUIRE(p.k.open(network::regtest));
        w.clock.advance(1);
        while (p.k.turn()) {
        }
        CHECK(p.net.followed_at == std::vector{-1});
        for (std::int32_t h = 0; h < w.chain.height(); ++h) p.k.on_chain(w.chain.block_at(h).value());
        (void)p.k.save();
    }
    CHECK(read_watch(stored_bytes(disk, kinds_of(role).watch, w.id))->unknown);
    {
        process p(w, disk);
        p.run();
        CHECK(p.net.followed_at == std::vector{-1});
        const auto facts = read_watch(stored_bytes(disk, kinds_of(role).watch, w.id));
        CHECK(facts->contract_height == w.contract_height);
        CHECK_FALSE(facts->unknown);
    }
    process p(w, disk);  // and no more
    p.run();
    CHECK(p.blocks.connected.empty());
}

TEST_CASE("a watch record that cannot be read has all blocks read again", "[keeper]") {
    scene w;
    kept_once(w);
    damage(w.disk, {GENERATE(record_kind::client_watch, record_kind::server_watch), w.id});
    process p(w);
    p.run();
    CHECK(p.net.followed_at == std::vector{-1});
    p.check();
    process next(w);
    next.run();
    CHECK(next.blocks.connected.empty());
    next.check();
}

// ------------------------------------------------------------------------------------------------ network and birthday

TEST_CASE("a store of another network is refused", "[keeper]") {
    scene w;
    kept_once(w);
    const auto before = contents_of(w.disk);
    process p(w, born_at(0));
    CHECK(p.k.open(network::testnet).error().code == errc::invalid_argument);
    CHECK(p.k.network_in_store() == network::regtest);
    CHECK(contents_of(w.disk) == before);
}

TEST_CASE("a store whose network's name is damaged goes on, and gets it back from the chain", "[keeper]") {
    scene w;
    kept_once(w);
    damage(w.disk, {record_kind::store_network, {}});
    process p(w);
    p.run();
    CHECK(p.has_problem("network"));
    p.live();
    CHECK(stored_bytes(w.disk, record_kind::store_network, {}) == owned(as_bytes("regtest")));
    p.check();
}

TEST_CASE("a node that does not know the contracts binds no store to its network", "[keeper]") {
    scene w;
    scene elsewhere(false);  // another chain
    const auto before = contents_of(w.disk);
    process p(elsewhere, w.disk);
    // The node refuses what it is offered.
    for (int i = 0; i < 10; ++i) p.net.inner.refuse_next("bad-txns-inputs-missingorspent");
    p.run();
    p.live();
    CHECK_FALSE(contents_of(w.disk).contains({record_kind::store_network, {}}));
    for (const follower f : all_followers) CHECK(p.stored_height(f) == -1);
}

TEST_CASE("a birthday can be lowered, and not raised", "[keeper]") {
    scene w;
    {
        process p(w, born_at(6));
        p.run();
        CHECK(p.wallet.balance().confirmed.value == 3'000'000);
    }
    {
        process p(w, born_at(7));
        CHECK(p.k.open(network::regtest).error().code == errc::out_of_range);
        CHECK(p.k.birthday() == 6);
    }
    {
        process p(w, born_at(-1));
        CHECK(p.k.open(network::regtest).error().code == errc::out_of_range);
    }
    CHECK(birthday_in(w.disk) == 6);
    process p(w, born_at(2));
    p.run();
    CHECK(p.blocks.connected.front() == 2);
    CHECK(birthday_in(w.disk) == 2);
    p.check();
    process next(w);
    next.run();
    CHECK(next.blocks.connected.empty());
}

TEST_CASE("on a real network a birthday is asked for", "[keeper]") {
    scene w(false);
    for (const network net : {network::mainnet, network::testnet, network::signet}) {
        memory_store disk;
        CHECK(process(w, disk).k.open(net).error().code == errc::not_found);
        CHECK(process(w, disk, born_at(3)).k.open(net));
        plant_birthday(disk, 3);
        CHECK(process(w, disk).k.open(net));
    }
}

TEST_CASE("a damaged birthday is passed over only when that is asked for", "[keeper]") {
    scene w;
    REQUIRE(w.disk.put(position_id(follower::birthday), 5, as_bytes("nonsense")));
    keeper_settings s = at_once();
    SECTION("needed") {
        process p(w, s);
        CHECK(p.k.open(network::mainnet).error().code == errc::not_found);
        CHECK(p.has_problem("birthday"));
    }
    SECTION("not needed") {
        s.needs_birthday = false;
        process p(w, s);
        REQUIRE(p.k.open(network::mainnet));
        CHECK(p.has_problem("birthday"));
        CHECK_FALSE(p.k.birthday());
        const std::int32_t tip = w.chain.height();
        p.hear();
        p.live(2);
        CHECK(p.blocks.connected == std::vector{tip});
        CHECK(p.k.caught_up());
        w.mine();
        p.live();
        CHECK(p.blocks.connected == std::vector{tip, tip + 1});
        CHECK(p.k.caught_up());
        CHECK(stored_bytes(w.disk, record_kind::chain_position, position_id(follower::birthday).channel) ==
              owned(as_bytes("nonsense")));
    }
    SECTION("mended") {
        s.birthday = 2;
        process p(w, s);
        p.run();
        CHECK(p.has_problem("birthday"));
        p.live();
        CHECK(birthday_in(w.disk) == 2);
        p.check();
    }
}

TEST_CASE("a birthday that the store does not take is written within a minute", "[keeper]") {
    bool hit = true;
    bool told = false;
    for (int n = 0; hit; ++n) {
        REQUIRE(n < 100);
        CAPTURE(n);
        scene w;
        process p(w, born_at(2));
        REQUIRE(p.k.open(network::regtest));
        p.plan = {call::store_put, fault::fails, n};
        p.hear();
        p.live(75);
        hit = p.plan.hit;
        told = told || p.has_problem("birthday");
        CHECK(birthday_in(w.disk) == 2);
        p.check();
    }
    CHECK(told);
}

TEST_CASE("a look leaves the store byte for byte as it was", "[keeper]") {
    scene w;
    const int state = GENERATE(0, 1, 2, 3, 4);
    CAPTURE(state);
    if (state > 0) kept_once(w);
    if (state == 2) w.mine(3);
    if (state == 3) damage(w.disk, {record_kind::wallet_state, {}});
    if (state == 4) damage(w.disk, position_id(follower::wallet));
    const auto before = contents_of(w.disk);
    fault_plan plan;
    faulty_store store{plan, w.disk};
    source net{w.chain};
    seed_wallet wallet = open_wallet();
    keeper keep(store, w.payee.ring, wallet, net, w.clock, looking());
    REQUIRE(keep.open(network::regtest));
    while (net.inner.deliver(keep) > 0) {
    }
    for (int i = 0; i < 100; ++i) {
        w.clock.advance(1);
        while (keep.turn()) {
        }
        while (net.inner.deliver(keep) > 0) {
        }
    }
    REQUIRE(keep.save());
    CHECK(keep.caught_up());
    CHECK(wallet.balance().confirmed == w.coins());
    CHECK(contents_of(w.disk) == before);
}

TEST_CASE("a rescan with a birthday that cannot be forgets nothing", "[keeper]") {
    scene w;
    kept_once(w);
    plant_birthday(w.disk, 3);
    const auto before = contents_of(w.disk);
    keeper_settings s = born_at(900);
    s.rescan = true;
    process p(w, s);
    CHECK(p.k.open(network::regtest).error().code == errc::out_of_range);
    CHECK(contents_of(w.disk) == before);
}

TEST_CASE("a rescan reads all blocks again", "[keeper]") {
    scene w;
    const bool writes = GENERATE(true, false);
    CAPTURE(writes);
    kept_once(w);
    const auto before = contents_of(w.disk);
    keeper_settings s = at_once();
    s.rescan = true;
    s.writes = writes;
    seed_wallet wallet = open_wallet();
    source net{w.chain};
    {
        keeper keep(w.disk, w.payee.ring, wallet, net, w.clock, s);
        REQUIRE(keep.open(network::regtest));
        CHECK_FALSE(keep.knows_coins());
        for (int i = 0; i < 10; ++i) {
            w.clock.advance(1);
            while (keep.turn()) {
            }
            while (net.inner.deliver(keep) > 0) {
            }
        }
        CHECK(net.followed_at == std::vector{-1});
        CHECK(wallet.balance().confirmed == w.coins());
        REQUIRE(keep.save());
    }
    if (!writes) CHECK(contents_of(w.disk) == before);
    process p(w);
    p.run();
    p.check();
}

TEST_CASE("a look with a lower birthday reads from there, and keeps nothing of it", "[keeper]") {
    scene w(false);
    {
        process p(w, born_at(7));
        p.run();
        CHECK(p.wallet.balance().confirmed == satoshi{0});
    }
    const auto before = contents_of(w.disk);
    keeper_settings s = looking();
    s.birthday = 0;
    source net{w.chain};
    seed_wallet wallet = open_wallet();
    keeper keep(w.disk, w.payee.ring, wallet, net, w.clock, s);
    REQUIRE(keep.open(network::regtest));
    for (int i = 0; i < 10; ++i) {
        w.clock.advance(1);
        while (keep.turn()) {
        }
        while (net.inner.deliver(keep) > 0) {
        }
    }
    CHECK(wallet.balance().confirmed == w.coins());
    CHECK(contents_of(w.disk) == before);
}

// ------------------------------------------------------------------------------------------------------ keys and clock

TEST_CASE("keys that the chain has paid to are counted as given out", "[keeper]") {
    scene w(false);
    const bool writes = GENERATE(true, false);
    memory_store lost;
    const script_buffer refunded = [&] {
        auto keys = seed_keys<memory_store>::open(test_seed(), network::regtest, lost).value();
        key_id last{};
        for (int i = 0; i < 7; ++i) last = keys.new_key().value();
        return p2pkh_script(hash160(keys.public_key(last)->view()));
    }();
    w.give(50'000, refunded);
    w.mine();
    memory_store disk;  // older than the chain
    fault_plan unused;
    faulty_store store{unused, disk};
    auto keys = seed_keys<faulty_store>::open(test_seed(), network::regtest, store).value();
    keeper_settings s = at_once();
    s.writes = writes;
    process_with<seed_keys<faulty_store>> p(w, disk, keys, s, [&] { return keys.count(); });
    p.run();
    p.live();
    CHECK(keys.count() == (writes ? 7U : 0U));
    if (!writes) {
        CHECK(contents_of(disk).empty());
        return;
    }
    CHECK(static_cast<std::uint64_t>(keys.new_key().value()) == 8);
    auto others = seed_keys<memory_store>::open(test_seed(), network::regtest, disk).value();
    CHECK(others.count() == 8);
}

TEST_CASE("keys of stored channels are counted as given out, should the counter be lost", "[keeper]") {
    scene w;
    REQUIRE_FALSE(contents_of(w.disk).contains({record_kind::key_counter, {}}));
    fault_plan unused;
    faulty_store store{unused, w.disk};
    auto keys = seed_keys<faulty_store>::open(test_seed(), network::regtest, store).value();
    REQUIRE(keys.count() == 0);
    process_with<seed_keys<faulty_store>> p(w, w.disk, keys);
    REQUIRE(p.k.open(network::regtest));
    p.hear();
    while (p.k.turn()) {
    }
    REQUIRE(p.k.loaded());  // and before any block is read
    key_id highest{};
    for (const auto kind : {record_kind::client_channel, record_kind::server_channel})
        highest = std::max(highest, load_record(w.disk, kind, w.id)->key);
    CHECK(keys.count() == static_cast<std::uint64_t>(highest));
    CHECK(keys.public_key(highest));
}

TEST_CASE("a clock hours ahead of the newest block is told, but not on regtest", "[keeper]") {
    const network net = GENERATE(network::signet, network::regtest);
    scene w(false);
    process p(w, born_at(0));
    REQUIRE(p.k.open(net));
    p.hear();
    p.live();
    CHECK_FALSE(p.has_problem("clock"));
    w.clock.advance(3 * 3'600 + 1);
    p.second();
    CHECK(p.has_problem("clock") == (net == network::signet));
    w.set_time(w.clock.now());
    w.mine(11);
    p.live();
    p.problems.clear();
    p.live();
    CHECK_FALSE(p.has_problem("clock"));
}

TEST_CASE("a clock that is set by days stops nothing", "[keeper]") {
    const std::int64_t by = GENERATE(-1'000'000, -86'400, -3, 86'400, 1'000'000);
    CAPTURE(by);
    scene w(false);
    process p(w);
    p.run();
    p.live(30);
    // A channel that was opened by a clock behind the chain's would be due.
    if (by < 0) w.open_channel(false);
    w.clock.advance(by);
    w.give(123'456);
    w.mine_empty();
    p.live(7);
    CHECK(p.stored_height(follower::wallet) == w.chain.height());  // saves go on
    if (by < 0)
        w.take_channel();
    else
        w.open_channel();
    p.live(12);
    CHECK(p.payee.size() == 1);  // looks for others go on
    w.mine();
    w.contract_height = w.chain.height();
    p.live();
    p.check();
    // And what is due is settled.
    w.set_time(w.expiry + -3'600);
    p.live(3);
    CHECK(w.chain.spender_in_mempool({w.id, 0}));
}

TEST_CASE("a clock that is set while blocks are read does not stop the saves", "[keeper]") {
    const std::int64_t by = GENERATE(-1'000'000, 1'000'000);
    scene w;
    process p(w, born_at(0));
    far_ahead listener{p};
    const auto live = [&] {
        for (int i = 0; i < 7; ++i) {
            w.clock.advance(1);
            while (p.k.turn()) {
            }
            while (p.net.inner.deliver(listener) > 0) {
            }
        }
    };
    REQUIRE(p.k.open(network::regtest));
    live();
    CHECK(p.stored_height(follower::wallet) == w.chain.height());
    w.clock.advance(by);
    w.mine();
    live();
    CHECK(p.stored_height(follower::wallet) == w.chain.height());
    CHECK_FALSE(p.k.caught_up());
}
