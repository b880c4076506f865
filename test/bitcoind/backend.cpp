#include "paychan/bitcoind/backend.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>
#include <map>
#include <random>
#include <stdexcept>
#include <utility>
#include <vector>

#include "fake_node.hpp"

using namespace paychan;
using namespace paychan::bitcoind;
using namespace std::chrono_literals;

namespace {

std::string hex(bytes_view bytes) {
    std::string out(2 * bytes.size(), '\0');
    REQUIRE(to_hex(bytes, out));
    return out;
}
std::string text(const block_hash& h) {
    const auto t = display(h);
    return {t.data(), t.size()};
}

/// A transaction that spends nothing; `name` makes it another one.
std::vector<std::uint8_t> transaction_named(std::uint64_t name) {
    std::array<std::uint8_t, 128> memory{};
    writer w(memory);
    const tx_output output{satoshi{50}, {}};
    std::array<std::uint8_t, 8> script{};
    writer(script).u64(name);
    tx_input input{};
    input.prevout.index = 0xffffffff;
    input.script_sig = script;
    input.sequence = 0xffffffff;
    write_transaction(w, 1, {&input, 1}, {&output, 1}, 0);
    REQUIRE(w.ok());
    return {w.written().begin(), w.written().end()};
}

std::string txid_text(bytes_view tx) {
    const auto id = display(parse_transaction(tx).value().id());
    return {id.data(), id.size()};
}

/// A node's chain of blocks with one transaction each, and what it answers.
struct fake_chain {
    struct block {
        block_hash hash;
        std::int64_t time = 0;
        std::vector<std::uint8_t> raw;
    };
    std::vector<block> active;
    std::map<std::string, std::vector<std::uint8_t>> known;  // raw, by hash: also of blocks that are no longer active
    std::map<std::string, int> asked;                        // by method
    std::vector<std::string> sent;
    std::string name = "regtest";
    json fee{{"errors", json::array({"Insufficient data or no feerate found"})}};
    bool downloading = false;
    json prune_height;                                                      // null for a node that keeps all
    std::function<std::optional<fake::reply>(const fake::request&)> first;  // has the first word, if set
    std::uint64_t made = 0;

    explicit fake_chain(int height) { grow(height + 1); }

    [[nodiscard]] std::int32_t height() const { return static_cast<std::int32_t>(active.size()) - 1; }

    void grow(int blocks) {
        for (; blocks > 0; --blocks) {
            block b;
            ++made;
            b.time = 1'600'000'000 + 600 * static_cast<std::int64_t>(active.size()) +
                     static_cast<std::int64_t>(made * 7919 % 5000);
            const auto tx = transaction_named(made);
            b.raw.resize(80 + 1);
            writer w(b.raw);
            w.i32(4);
            w.bytes(active.empty() ? bytes32{} : active.back().hash.bytes);
            w.bytes(hash256(tx));
            w.u32(static_cast<std::uint32_t>(b.time));
            w.u32(0x207fffff);
            w.u32(0);
            w.u8(1);
            b.raw.insert(b.raw.end(), tx.begin(), tx.end());
            b.hash.bytes = hash256(bytes_view(b.raw).first(80));
            known[text(b.hash)] = b.raw;
            active.push_back(std::move(b));
        }
    }
    void shrink(int blocks) { active.resize(active.size() - static_cast<std::size_t>(blocks)); }

    /// BIP113, written down once more.
    [[nodiscard]] std::int64_t median_time(std::size_t at) const {
        std::vector<std::int64_t> times;
        for (std::size_t i = at >= 10 ? at - 10 : 0; i <= at; ++i) times.push_back(active[i].time);
        std::sort(times.begin(), times.end());
        return times[times.size() / 2];
    }

    fake::reply answer(const fake::request& r) {
        ++asked[r.method()];
        if (first)
            if (auto out = first(r)) return *out;
        const json& p = r.body["params"];
        if (r.method() == "getblockchaininfo")
            return fake::ok(r, {{"chain", name},
                                {"blocks", height()},
                                {"bestblockhash", text(active.back().hash)},
                                {"mediantime", median_time(active.size() - 1)},
                                {"pruneheight", prune_height},
                                {"initialblockdownload", downloading}});
        if (r.method() == "getblockhash") {
            if (p[0].get<int>() > height()) return fake::error(r, -8, "Block height out of range");
            return fake::ok(r, text(active[p[0].get<std::size_t>()].hash));
        }
        if (r.method() == "getblock" || r.method() == "getblockheader") {
            const auto found = known.find(p[0].get<std::string>());
            if (found == known.end()) return fake::error(r, -5, "Block not found");
            const bytes_view raw = found->second;
            return fake::ok(r, hex(r.method() == "getblock" ? raw : raw.first(80)));
        }
        if (r.method() == "estimatesmartfee") return fake::ok(r, fee);
        if (r.method() == "sendrawtransaction") {
            sent.push_back(p[0].get<std::string>());
            std::vector<std::uint8_t> tx(sent.back().size() / 2);
            REQUIRE(from_hex(sent.back(), tx));
            return fake::ok(r, txid_text(tx));
        }
        return fake::error(r, -32601, "Method not found", 404);
    }
};

struct follower {
    static constexpr chain_turn chain_order = chain_turn::others;
    struct outcome {
        txid id;
        broadcast_outcome how;
        std::string reason;
    };
    std::map<std::int32_t, block_hash> blocks;
    std::map<std::int32_t, std::int64_t> medians;
    std::vector<std::int32_t> told;  // heights of blocks
    std::vector<std::int32_t> left;  // from which on
    std::vector<outcome> outcomes;
    package last_package{};  // of the last broadcast
    fee_refusal last_refusal{};
    std::int32_t last_mined = 0;
    bool last_spent = false;
    fee_estimate last_fees{};
    std::vector<std::int64_t> fees;
    std::vector<node_status> states;
    std::string last_words;
    std::vector<std::pair<std::int32_t, std::int32_t>> passed;
    std::vector<std::pair<std::int32_t, std::int64_t>> tips;
    int returns = 0;
    std::function<void(std::int32_t)> at_block = [](std::int32_t) {};
    std::function<void(const chain_event&)> at_end = [](const chain_event&) {};  // of each event
    bool in_call = false;  // the test is inside a call to the backend

    void on_chain(const chain_event& e) {
        REQUIRE_FALSE(in_call);
        match(
            e, [this](const connected_block& b) { on_block(b); },
            [this](const disconnected_blocks& d) {
                REQUIRE_FALSE(blocks.empty());
                REQUIRE(d.from <= blocks.rbegin()->first);
                std::erase_if(blocks, [&](const auto& b) { return b.first >= d.from; });
                std::erase_if(medians, [&](const auto& b) { return b.first >= d.from; });
                left.push_back(d.from);
            },
            [this](const passed_blocks& p) { passed.emplace_back(p.first, p.last); },
            [this](const chain_tip& t) { tips.emplace_back(t.height, t.median_time.seconds); },
            [this](const broadcast_answer& a) {
                outcomes.push_back({a.id, a.outcome, std::string(a.words)});
                last_package = a.pays.with_ancestors;
                last_refusal = a.for_fee;
                last_mined = a.mined;
                last_spent = a.spent;
            },
            [this](const fee_estimate& f) {
                fees.push_back(f.rate.sat_per_kvb);
                last_fees = f;
            },
            [this](const node_returned&) { ++returns; });
        at_end(e);
    }
    void on_block(const connected_block& b) {
        if (!blocks.empty() && (passed.empty() || passed.back().second != b.height - 1)) {
            REQUIRE(b.height == blocks.rbegin()->first + 1);
            REQUIRE(parse_block_header(b.raw)->previous == blocks.rbegin()->second);
        }
        REQUIRE(parse_block_header(b.raw)->hash.bytes == b.hash);
        told.push_back(b.height);
        blocks[b.height] = block_hash{b.hash};
        medians[b.height] = b.median_time.seconds;
        at_block(b.height);
    }
};

/// Throws at some events of one kind; of blocks, at one.
struct thrower {
    static constexpr chain_turn chain_order = chain_turn::others;
    int kind;
    int left = 2;  // times that it throws
    std::vector<chain_event> heard;
    void on_chain(const chain_event& e) {
        const auto index = static_cast<std::size_t>(kind);
        const auto* block = std::get_if<connected_block>(&e);
        if (e.index() != index || (block && block->height != 35)) return;
        heard.push_back(e);
        if (left > 0 && left-- > 0) throw std::runtime_error("a bug");
    }
};

backend_settings settings() {
    backend_settings s;
    s.chain = "regtest";
    s.poll = 1ms;
    s.fee_poll = 1ms;
    s.rpc.timeout = 5s;
    return s;
}

using height_or_none = std::optional<std::int32_t>;

struct fixture {
    boost::asio::io_context io;
    fake_chain chain;
    fake::node node;
    follower f;
    std::optional<backend> chain_backend;

    explicit fixture(int height, backend_settings s = settings())
        : chain(height), node(io, [this](const fake::request& r) { return chain.answer(r); }) {
        make(std::move(s));
    }
    void make(backend_settings s = settings()) {
        s.on_status = [this](node_status status, const rpc_error&, std::string_view words) {
            REQUIRE_FALSE(f.in_call);
            f.states.push_back(status);
            f.last_words = words;
        };
        chain_backend.emplace(io, node.address(), s);
    }
    backend& b() { return *chain_backend; }

    void follow(height_or_none first = 0, const chain_position& from = {}) {
        f.in_call = true;
        b().start(f);
        b().follow(from, first);
        f.in_call = false;
    }
    /// Another process goes on from `from`.
    void resume(const chain_position& from, height_or_none first = 0) {
        make();
        chain.asked.clear();
        f.told.clear();
        follow(first, from);
    }

    void broadcast(const std::vector<std::uint8_t>& tx) {
        f.in_call = true;
        b().broadcast(tx);
        f.in_call = false;
    }
    /// The follower holds what the node holds, from its first block to the tip.
    [[nodiscard]] bool same() const {
        if (f.blocks.empty() || f.blocks.rbegin()->first != chain.height()) return false;
        for (const auto& [height, hash] : f.blocks)
            if (hash != chain.active[static_cast<std::size_t>(height)].hash) return false;
        return true;
    }
    void check_medians() const {
        for (const auto& [height, median] : f.medians)
            REQUIRE(median == chain.median_time(static_cast<std::size_t>(height)));
    }
    /// The position has the tip, and only blocks of the chain, down to the first that was told.
    void check_position() const {
        const chain_position p = chain_backend->position();
        REQUIRE_FALSE(p.empty());
        CHECK(p[0].height == chain.height());
        CHECK(p[p.size() - 1].height == f.blocks.begin()->first);
        for (const chain_place& place : p)
            CHECK(place.hash == chain.active[static_cast<std::size_t>(place.height)].hash.bytes);
    }
    template <class Done>
    bool run(Done done) {
        return fake::run_until(io, done);
    }
    bool catch_up() {
        return run([&] { return same(); });
    }
    /// Until the node was looked at so many times more.
    void looks(int n) {
        const int end = chain.asked["getblockchaininfo"] + n;
        REQUIRE(run([&] { return chain.asked["getblockchaininfo"] >= end; }));
    }
};

}  // namespace

TEST_CASE("a backend reports every block from genesis with its median time", "[bitcoind]") {
    fixture t(40);
    t.follow();
    REQUIRE(t.catch_up());
    CHECK(t.f.blocks.size() == 41);
    t.check_medians();
    t.chain.grow(3);
    REQUIRE(t.catch_up());
    t.check_medians();
    CHECK(t.f.left.empty());
    REQUIRE(t.run([&] { return !t.f.states.empty(); }));
    CHECK(t.f.states == std::vector{node_status::following});
}

TEST_CASE("a backend that starts later asks for the headers before, so that the first median time is right",
          "[bitcoind]") {
    const auto from = GENERATE(1, 5, 10, 11, 12, 39, 40);
    fixture t(40);
    t.follow(from);
    REQUIRE(t.catch_up());
    CHECK(t.f.blocks.begin()->first == from);
    t.check_medians();
    CHECK(t.chain.asked["getblock"] == 41 - from);
}

TEST_CASE("a backend without a first height begins behind the tip", "[bitcoind]") {
    fixture t(40);
    t.follow(std::nullopt);
    REQUIRE(t.run([&] { return !t.f.states.empty(); }));
    CHECK(t.f.states == std::vector{node_status::following});
    CHECK(t.b().position().empty());
    t.chain.grow(2);
    REQUIRE(t.catch_up());
    CHECK(t.f.told == std::vector<std::int32_t>{41, 42});
    t.check_medians();
    t.chain.shrink(5);
    t.chain.grow(7);
    REQUIRE(t.catch_up());
    CHECK(t.f.left == std::vector<std::int32_t>{41});
    CHECK(t.f.blocks.begin()->first == 41);
    t.check_medians();
}

TEST_CASE("a backend waits, and says so once, for a first height that the chain has not reached", "[bitcoind]") {
    fixture t(40);
    t.follow(42);
    REQUIRE(t.run([&] { return !t.f.states.empty(); }));
    t.looks(3);
    CHECK(t.f.states == std::vector{node_status::waiting});
    t.chain.grow(2);
    REQUIRE(t.catch_up());
    CHECK(t.f.blocks.begin()->first == 42);
    t.check_medians();
}

TEST_CASE("a reorganisation takes the old blocks away, then brings the new ones", "[bitcoind]") {
    fixture t(40);
    t.follow();
    REQUIRE(t.catch_up());
    t.chain.shrink(4);
    t.chain.grow(GENERATE(1, 4, 6));  // to a chain that is shorter, as long, longer
    REQUIRE(t.catch_up());
    CHECK(t.f.left == std::vector<std::int32_t>{37});
    t.check_position();
    t.check_medians();
}

TEST_CASE("a chain that only gets shorter is a reorganisation, too", "[bitcoind]") {
    fixture t(40);
    t.follow();
    REQUIRE(t.catch_up());
    t.chain.shrink(2);
    REQUIRE(t.catch_up());
    CHECK(t.f.left == std::vector<std::int32_t>{39});
    t.check_position();
}

TEST_CASE("a node that downloads its chain again is behind, and takes no block away", "[bitcoind]") {
    fixture t(40);
    t.follow();
    REQUIRE(t.catch_up());
    const auto full = t.chain.active;
    t.chain.shrink(30);
    t.chain.downloading = true;
    t.looks(3);
    CHECK(t.f.left.empty());
    t.chain.active = full;
    t.chain.downloading = false;
    t.chain.grow(1);
    REQUIRE(t.catch_up());
    CHECK(t.f.left.empty());
}

TEST_CASE("a backend follows a node that is syncing, and says so", "[bitcoind]") {
    fixture t(40);
    t.chain.downloading = true;
    t.follow();
    REQUIRE(t.catch_up());
    REQUIRE(t.run([&] { return !t.f.states.empty(); }));
    CHECK(t.f.states == std::vector{node_status::syncing});
    t.chain.downloading = false;
    REQUIRE(t.run([&] { return t.f.states.size() == 2; }));
    CHECK(t.f.states[1] == node_status::following);
}

TEST_CASE("a backend tells with the tip that the node is downloading, but not on regtest, and sends what is due",
          "[bitcoind]") {
    const std::string name = GENERATE("signet", "regtest");
    auto s = settings();
    s.chain = name;
    fixture t(40, s);
    t.chain.name = name;
    t.chain.downloading = true;
    std::vector<bool> told;
    t.f.at_end = [&](const chain_event& e) {
        match(e, [&](const chain_tip& tip) { told.push_back(tip.downloading); });
    };
    t.follow();
    REQUIRE(t.catch_up());
    t.broadcast(transaction_named(1));
    REQUIRE(t.run([&] { return t.f.outcomes.size() == 1; }));
    CHECK(t.f.outcomes[0].how == broadcast_outcome::accepted);
    REQUIRE_FALSE(told.empty());
    CHECK(told.back() == (name == "signet"));
    t.chain.downloading = false;
    REQUIRE(t.run([&] { return !told.back(); }));
}

TEST_CASE("a reorganisation below the first height shows only blocks from there on", "[bitcoind]") {
    fixture t(40);
    t.follow(39);
    REQUIRE(t.catch_up());
    t.chain.shrink(6);
    t.chain.grow(10);
    REQUIRE(t.catch_up());
    CHECK(t.f.left == std::vector<std::int32_t>{39});
    CHECK(t.f.blocks.begin()->first == 39);
    t.check_medians();
}

TEST_CASE("a reorganisation of any depth is followed, with one event", "[bitcoind]") {
    const std::int32_t from = GENERATE(0, 300);
    const int depth = GENERATE(5, 280, 330, 420);
    fixture t(420);
    t.follow(from);
    REQUIRE(t.catch_up());
    t.check_position();
    t.chain.shrink(depth);
    t.chain.grow(depth + 1);
    REQUIRE(t.catch_up());
    REQUIRE(t.f.left.size() == 1);
    CHECK(t.f.left[0] <= std::max(from, 421 - depth));
    CHECK(t.f.left[0] >= from);
    if (depth <= 280) CHECK(t.f.left[0] == std::max(from, 421 - depth));  // it was in memory
    CHECK(t.f.blocks.begin()->first == from);
    t.check_medians();
    t.check_position();
    t.chain.grow(1);
    REQUIRE(t.catch_up());
    CHECK(t.f.left.size() == 1);
    CHECK(t.f.states.back() == node_status::following);
}

TEST_CASE("a backend goes on from a position, and reads no block twice", "[bitcoind]") {
    const std::int32_t from = GENERATE(0, 3, 39);
    fixture t(40);
    t.follow(from);
    REQUIRE(t.catch_up());
    const chain_position at_40 = t.b().position();
    t.f.states.clear();

    SECTION("the chain has not moved") {
        t.resume(at_40);
        REQUIRE(t.run([&] { return !t.f.states.empty(); }));
        CHECK(t.f.states == std::vector{node_status::following});
        CHECK(t.f.told.empty());
        CHECK(t.chain.asked["getblock"] == 0);
        CHECK(std::ranges::equal(t.b().position(), at_40));
    }
    SECTION("there are new blocks, and the next position goes as far back as the first one") {
        for (int i = 0; i < 3; ++i) {
            const chain_position before = t.b().position();
            t.chain.grow(2);
            t.resume(before);
            CHECK(std::ranges::equal(t.b().position(), before));
            REQUIRE(t.catch_up());
            CHECK(t.f.told == std::vector{41 + 2 * i, 42 + 2 * i});
            CHECK(t.chain.asked["getblock"] == 2);
            t.check_medians();
            t.check_position();
        }
    }
    SECTION("the chain has grown far, and is reorganised below where it went on") {
        t.chain.grow(1);
        t.resume(at_40);
        REQUIRE(t.catch_up());
        t.chain.shrink(2);  // 40 and 41; of what came before 40, only the position knows
        t.chain.grow(3);
        REQUIRE(t.catch_up());
        CHECK(t.f.left == std::vector<std::int32_t>{40});
        t.check_medians();
        t.check_position();
    }
    CHECK(t.f.left.size() <= 1);
}

TEST_CASE("a reorganisation while nobody looked is told when a backend goes on", "[bitcoind]") {
    fixture t(100);
    t.follow(10);
    REQUIRE(t.catch_up());
    const chain_position at_100 = t.b().position();
    const int depth = GENERATE(1, 3, 10, 11, 25, 60, 91, 95);
    const int grown = GENERATE(10, 40);
    t.chain.shrink(depth);
    t.chain.grow(grown);
    std::int32_t fork = 0;  // the highest place of the position that the node still has
    for (const chain_place& p : at_100)
        if (p.height <= 100 - depth) fork = std::max(fork, p.height);
    t.resume(at_100, 10);
    REQUIRE(t.catch_up());
    CHECK(t.f.left == std::vector{fork == 0 ? 10 : fork + 1});
    CHECK(t.f.told.front() == (fork == 0 ? 10 : fork + 1));
    if (fork != 0) CHECK(fork >= 100 - 4 * depth);
    t.check_medians();
    t.check_position();
}

TEST_CASE("blocks are told anew from the first height, when none of a position is left", "[bitcoind]") {
    fixture t(40);
    t.follow(30);
    REQUIRE(t.catch_up());
    const chain_position at_40 = t.b().position();
    t.chain.shrink(20);
    t.chain.grow(30);
    const height_or_none first = GENERATE(height_or_none(), height_or_none(30), height_or_none(5));
    t.resume(at_40, first);
    REQUIRE(t.catch_up());
    CHECK(t.f.left == std::vector<std::int32_t>{30});
    CHECK(t.f.told.front() == first.value_or(30));
    t.check_medians();
    t.check_position();
}

TEST_CASE("a node that has not got to the position yet takes no block away", "[bitcoind]") {
    fixture t(40);
    t.follow();
    REQUIRE(t.catch_up());
    const chain_position at_40 = t.b().position();
    const auto full = t.chain.active;
    t.chain.shrink(30);
    t.chain.downloading = true;
    t.f.states.clear();
    t.resume(at_40);
    REQUIRE(t.run([&] { return !t.f.states.empty(); }));
    t.looks(3);
    CHECK(t.f.states == std::vector{node_status::waiting});
    CHECK(std::ranges::equal(t.b().position(), at_40));
    t.chain.active = full;
    t.chain.grow(1);
    t.chain.downloading = false;
    REQUIRE(t.catch_up());
    CHECK(t.f.left.empty());
    CHECK(t.f.told == std::vector<std::int32_t>{41});
}

TEST_CASE("a chain that was shorter when a backend went on is followed", "[bitcoind]") {
    fixture t(40);
    t.follow();
    REQUIRE(t.catch_up());
    const chain_position at_40 = t.b().position();
    t.chain.shrink(4);
    t.chain.grow(2);  // fewer blocks, with more work
    t.resume(at_40);
    REQUIRE(t.catch_up());
    CHECK(t.f.left == std::vector<std::int32_t>{37});
    CHECK(t.f.told == std::vector<std::int32_t>{37, 38});
    t.check_medians();
}

TEST_CASE("a position whose blocks nobody can have is no harm", "[bitcoind]") {
    fixture t(40);
    chain_position damaged;
    damaged.push_back(chain_place{-3, {}});
    t.f.blocks[40] = {};  // something to take away
    t.follow(38, damaged);
    REQUIRE(t.catch_up());
    CHECK(t.f.told == std::vector<std::int32_t>{38, 39, 40});
}

TEST_CASE("before follow() all but blocks is told, and a node's trouble", "[bitcoind]") {
    fixture t(40);
    t.b().start(t.f);
    t.broadcast(transaction_named(1));
    REQUIRE(t.run([&] { return !t.f.tips.empty() && !t.f.fees.empty() && t.f.outcomes.size() == 1; }));
    t.looks(3);
    CHECK(t.f.told.empty());
    CHECK(t.f.states.empty());
    t.node.down();
    REQUIRE(t.run([&] { return !t.f.states.empty(); }));
    CHECK(t.f.states == std::vector{node_status::unreachable});
    t.node.up();
    t.b().follow({}, 40);
    REQUIRE(t.catch_up());
    REQUIRE(t.run([&] { return t.f.states.size() == 2; }));
    CHECK(t.f.states[1] == node_status::following);
}

TEST_CASE("follow() may be called again, also by a listener, and blocks come from the new place", "[bitcoind]") {
    const int when = GENERATE(0, 1, 2, 3, 4);
    fixture t(40);
    bool done = false;
    const auto again = [&] {
        if (std::exchange(done, true)) return;
        t.f.blocks.clear();
        t.b().follow({}, 5);
        t.f.told.clear();
        CHECK(t.b().position().empty());
    };
    if (when == 1)
        t.f.at_block = [&](std::int32_t height) {
            if (height == 20) again();
        };
    if (when == 2)
        t.f.at_end = [&](const chain_event& e) {
            if (std::holds_alternative<chain_tip>(e)) again();
        };
    if (when == 3)
        t.f.at_end = [&](const chain_event& e) {
            if (std::holds_alternative<fee_estimate>(e)) again();
        };
    if (when == 4)
        t.f.at_end = [&](const chain_event& e) {
            if (std::holds_alternative<disconnected_blocks>(e)) again();
        };
    t.follow(10);
    if (when == 0) {
        REQUIRE(t.run([&] { return t.f.told.size() == 3; }));
        again();
    }
    if (when == 4) {
        REQUIRE(t.catch_up());
        t.chain.shrink(3);
        t.chain.grow(4);
    }
    REQUIRE(t.run([&] { return done && t.same(); }));
    CHECK(t.f.told.front() == 5);
    CHECK(t.f.blocks.begin()->first == 5);
    REQUIRE(t.run([&] { return !t.f.states.empty() && t.f.states.back() == node_status::following; }));
    const auto states = t.f.states.size();
    again();
    t.b().follow(t.b().position(), 0);  // there is nothing new: it is caught up at once, and says so
    REQUIRE(t.run([&] { return t.f.states.size() == states + 1; }));
    t.check_medians();
    t.check_position();
}

TEST_CASE("what a listener throws at leaves run(), and is told to all again with the next look", "[bitcoind]") {
    const int kind = GENERATE(0, 1, 2, 3, 4, 5);
    thrower second{kind, 2, {}};
    auto s = settings();
    s.walk.pass_pruned = true;
    fixture t(40, s);
    int first_heard = 0;
    t.f.at_end = [&](const chain_event& e) {
        const auto* block = std::get_if<connected_block>(&e);
        if (e.index() != static_cast<std::size_t>(kind)) return;
        if (!block || block->height == 35) ++first_heard;
        if (second.left == 0) return;
        if (block && block->height == 35) t.f.blocks.erase(35);  // it comes again
        if (std::holds_alternative<disconnected_blocks>(e)) t.f.blocks[38];
    };
    if (kind == 1) t.chain.prune_height = 20;
    int thrown = 0;
    const auto run = [&](auto done) {
        const auto end = std::chrono::steady_clock::now() + 10s;
        while (!done() && std::chrono::steady_clock::now() < end) try {
                t.io.restart();
                t.io.run_one_for(100ms);
            } catch (const std::runtime_error&) {
                ++thrown;
            }
        return done();
    };
    t.b().start(t.f, second);
    t.b().follow({}, 0);
    t.broadcast(transaction_named(1));
    if (kind == 2) {
        REQUIRE(run([&] { return t.same(); }));
        t.chain.shrink(3);
        t.chain.grow(1);
    }
    const auto at_tip = [&] { return !t.f.told.empty() && t.f.told.back() == t.chain.height(); };
    REQUIRE(run([&] { return second.heard.size() >= 3 && at_tip(); }));
    CHECK(thrown == 2);
    CHECK(first_heard >= 3);
    t.f.at_end = [](const chain_event&) {};
    t.chain.grow(2);
    REQUIRE(run(at_tip));
    if (kind == 4) CHECK(t.f.outcomes.size() == 3);
    if (kind != 3) CHECK(second.heard.size() == 3);  // tips are told with each look
    t.check_medians();
    REQUIRE(run([&] { return !t.f.states.empty() && t.f.states.back() == node_status::following; }));
}

TEST_CASE("a node on another network is a failure, and no transaction is sent to it", "[bitcoind]") {
    fixture t(5);
    t.chain.name = "main";
    t.broadcast(transaction_named(1));
    t.follow();
    REQUIRE(t.run([&] { return !t.f.states.empty() && !t.f.outcomes.empty(); }));
    CHECK(t.f.states == std::vector{node_status::failed});
    CHECK(t.f.last_words.find("chain main, not on regtest") != std::string::npos);
    t.broadcast(transaction_named(2));
    REQUIRE(t.run([&] { return t.f.outcomes.size() == 2; }));
    for (const auto& o : t.f.outcomes) CHECK(o.how == broadcast_outcome::unreachable);
    CHECK(t.chain.sent.empty());
    CHECK(t.f.blocks.empty());
}

TEST_CASE("a pruned block is a failure that says which", "[bitcoind]") {
    fixture t(40);
    t.chain.first = [&](const fake::request& r) -> std::optional<fake::reply> {
        if (r.method() == "getblock") return fake::error(r, -1, "Block not available (pruned data)");
        return std::nullopt;
    };
    t.follow(20);
    REQUIRE(t.run([&] { return !t.f.states.empty(); }));
    CHECK(t.f.states == std::vector{node_status::failed});
    CHECK(t.f.last_words.find("the node has pruned block 20") == 0);
    // No block can be told any more; the chain's time, by which refunds come due, is told as before.
    t.looks(3);
    t.chain.grow(2);
    REQUIRE(t.run([&] { return t.f.tips.back().first == t.chain.height(); }));
    CHECK(t.f.states == std::vector{node_status::failed});
    CHECK(t.f.blocks.empty());
    t.broadcast(transaction_named(1));
    REQUIRE(t.run([&] { return t.f.outcomes.size() == 1; }));
    CHECK(t.f.outcomes[0].how == broadcast_outcome::accepted);
}

TEST_CASE("a backend that may goes on behind pruned blocks, and says which it has not seen", "[bitcoind]") {
    const bool says_lowest = GENERATE(false, true);
    const std::int32_t from = GENERATE(0, 5, 20);
    auto s = settings();
    s.walk.pass_pruned = true;
    fixture t(60, s);
    const auto is_gone = [](std::int32_t height) { return height < 25 || height == 30 || height == 60; };
    if (says_lowest) t.chain.prune_height = 25;
    t.chain.first = [&](const fake::request& r) -> std::optional<fake::reply> {
        if (r.method() != "getblock") return std::nullopt;
        for (std::size_t height = 0; height < t.chain.active.size(); ++height)
            if (r.body["params"][0] == text(t.chain.active[height].hash) && is_gone(static_cast<std::int32_t>(height)))
                return fake::error(r, -1, "Block not available (pruned data)");
        return std::nullopt;
    };
    t.follow(from);
    REQUIRE(t.run([&] { return !t.f.states.empty(); }));
    CHECK(t.f.states == std::vector{node_status::following});
    std::vector<std::pair<std::int32_t, std::int32_t>> gone;
    if (says_lowest) gone.emplace_back(from, 24);
    for (std::int32_t height = says_lowest ? 25 : from; height <= 60; ++height)
        if (is_gone(height)) gone.emplace_back(height, height);
    CHECK(t.f.passed == gone);
    for (std::int32_t height = from; height <= 60; ++height) CHECK((t.f.blocks.count(height) == 0) == is_gone(height));
    t.check_medians();
    t.chain.grow(3);
    REQUIRE(t.catch_up());
    t.check_medians();
    CHECK(t.f.left.empty());
}

TEST_CASE("a backend tells of the node's tip before it has read a block", "[bitcoind]") {
    fixture t(40);
    std::vector<std::pair<std::int32_t, std::int64_t>> before;
    t.f.at_block = [&](std::int32_t height) {
        if (height == 0) before = t.f.tips;
    };
    t.follow();
    REQUIRE(t.catch_up());
    REQUIRE_FALSE(before.empty());
    for (const auto& tip : before) CHECK(tip == std::pair{std::int32_t{40}, t.chain.median_time(40)});
    t.chain.grow(1);
    REQUIRE(t.catch_up());
    CHECK(t.f.tips.back() == std::pair{std::int32_t{41}, t.chain.median_time(41)});
}

TEST_CASE("a block that is not what was asked for is not reported, and the node's trouble is told once", "[bitcoind]") {
    const int kind = GENERATE(0, 1, 2, 3);
    fixture t(20);
    t.chain.first = [&](const fake::request& r) -> std::optional<fake::reply> {
        if (r.method() != "getblock" || r.body["params"][0] != text(t.chain.active[10].hash)) return std::nullopt;
        auto raw = t.chain.active[10].raw;
        if (kind == 0) raw = t.chain.active[9].raw;
        if (kind == 1) raw.back() ^= 1;  // another transaction
        if (kind == 2) raw.resize(90);
        if (kind == 3) return fake::ok(r, 17);
        return fake::ok(r, hex(raw));
    };
    t.follow();
    REQUIRE(t.run([&] { return !t.f.states.empty(); }));
    t.looks(5);
    CHECK(t.f.blocks.size() == 10);
    CHECK(t.f.states == std::vector{node_status::unreachable});
    t.chain.first = nullptr;
    REQUIRE(t.catch_up());
}

TEST_CASE("a node whose blocks never fit together is not asked in a tight loop", "[bitcoind]") {
    auto s = settings();
    s.poll = 20ms;
    fixture t(20, s);
    t.follow();
    REQUIRE(t.catch_up());
    // It says that there is another block, whose hash belongs to a block that stands elsewhere.
    t.chain.grow(1);
    t.chain.first = [&](const fake::request& r) -> std::optional<fake::reply> {
        if (r.method() == "getblockhash" && r.body["params"][0] == 21) return fake::ok(r, text(t.chain.active[3].hash));
        return std::nullopt;
    };
    const auto start = std::chrono::steady_clock::now();
    t.looks(6);
    CHECK(std::chrono::steady_clock::now() - start > 80ms);
    CHECK(t.f.left.empty());
    CHECK(t.f.blocks.size() == 21);
}

TEST_CASE("a broadcast is sent to the node and ends in one outcome, never from inside the call", "[bitcoind]") {
    fixture t(5);
    t.broadcast(transaction_named(1));  // before start: held
    t.follow();
    REQUIRE(t.run([&] { return t.f.outcomes.size() == 1; }));
    t.broadcast(transaction_named(2));
    t.broadcast(transaction_named(2));
    REQUIRE(t.run([&] { return t.f.outcomes.size() == 3; }));
    t.looks(3);
    REQUIRE(t.f.outcomes.size() == 3);
    for (const auto& o : t.f.outcomes) CHECK(o.how == broadcast_outcome::accepted);
    CHECK(t.f.outcomes[0].id.bytes == hash256(transaction_named(1)));
    CHECK(t.f.outcomes[2].id.bytes == hash256(transaction_named(2)));
    CHECK(t.chain.sent == std::vector{hex(transaction_named(1)), hex(transaction_named(2)), hex(transaction_named(2))});
}

TEST_CASE("a broadcast that the node refuses comes with the node's words", "[bitcoind]") {
    fixture t(5);
    t.chain.first = [](const fake::request& r) -> std::optional<fake::reply> {
        if (r.method() == "sendrawtransaction") return fake::error(r, -26, "non-final");
        return std::nullopt;
    };
    t.follow();
    t.broadcast(transaction_named(1));
    REQUIRE(t.run([&] { return t.f.outcomes.size() == 1; }));
    CHECK(t.f.outcomes[0].how == broadcast_outcome::refused);
    CHECK(t.f.outcomes[0].reason == "non-final");
}

TEST_CASE("a broadcast of what is no transaction is refused without asking the node", "[bitcoind]") {
    fixture t(5);
    t.broadcast({1, 2, 3});
    t.broadcast({});
    t.b().start(t.f);
    REQUIRE(t.run([&] { return t.f.outcomes.size() == 2; }));
    for (const auto& o : t.f.outcomes) CHECK(o.how == broadcast_outcome::refused);
}

TEST_CASE("a block that the node is slow to give holds neither broadcasts nor the chain's time nor fees up",
          "[bitcoind]") {
    auto s = settings();
    s.rpc.timeout = 20s;  // longer than a test waits
    fixture t(40, s);
    bool slow = true;
    t.chain.first = [&](const fake::request& r) -> std::optional<fake::reply> {
        if (slow && r.method() == "getblock") return fake::reply{};
        return std::nullopt;
    };
    t.follow();
    REQUIRE(t.run([&] { return t.chain.asked["getblock"] == 1; }));
    t.broadcast(transaction_named(1));
    REQUIRE(t.run([&] { return t.f.outcomes.size() == 1; }));
    CHECK(t.f.outcomes[0].how == broadcast_outcome::accepted);
    t.chain.grow(2);
    REQUIRE(t.run([&] { return t.f.tips.back().first == 42; }));
    t.chain.fee = json{{"feerate", 0.00007}};
    REQUIRE(t.run([&] { return t.f.fees.back() == 7'000; }));
    CHECK(t.chain.asked["getblock"] == 1);
    CHECK(t.f.states.empty());
    t.node.down();  // now it is known to be gone, whatever the block takes
    REQUIRE(t.run([&] { return !t.f.states.empty(); }));
    CHECK(t.f.states[0] == node_status::unreachable);
    slow = false;
    t.node.up();
    REQUIRE(t.catch_up());
}

TEST_CASE("a node that is too busy for a look is asked again, and what it reads for us meanwhile is not thrown away",
          "[bitcoind]") {
    fixture t(5);
    t.follow();
    REQUIRE(t.catch_up());
    t.chain.grow(1);
    bool busy = false;
    t.node.delay_with([&](const fake::request& r) { return r.method() == "getblock" ? 300ms : 0ms; });
    t.chain.first = [&](const fake::request& r) -> std::optional<fake::reply> {
        busy = busy || r.method() == "getblock";
        if (!busy || r.method() != "getblockchaininfo") return std::nullopt;
        return fake::http(503, "Work queue depth exceeded");
    };
    REQUIRE(t.catch_up());
    REQUIRE(t.f.states.size() >= 2);
    CHECK(t.f.states[1] == node_status::unreachable);
    t.chain.first = nullptr;
    REQUIRE(t.run([&] { return t.f.states.back() == node_status::following; }));
    CHECK(t.chain.asked["getblock"] == 7);
    CHECK(t.f.returns == 0);  // it was there all the time
}

TEST_CASE("a block that takes longer than the time limit is read in the end", "[bitcoind]") {
    auto s = settings();
    s.rpc.timeout = 100ms;
    fixture t(5, s);
    t.follow();
    REQUIRE(t.catch_up());
    t.chain.grow(1);
    const auto takes = 350ms;
    t.node.delay_with([&](const fake::request& r) { return r.method() == "getblock" ? takes : 0ms; });
    REQUIRE(t.catch_up());
    CHECK(t.chain.asked["getblock"] - 6 <= 4);  // 100, 200, 400 ms
    REQUIRE(t.run([&] { return t.f.states.back() == node_status::following; }));
    CHECK(t.f.states == std::vector{node_status::following, node_status::unreachable, node_status::following});
    CHECK(t.f.returns == 0);  // it was there all the time
}

TEST_CASE("broadcasts that wait for the node are bounded", "[bitcoind]") {
    auto s = settings();
    s.max_held = 2;
    fixture t(5, s);
    for (std::uint64_t i = 0; i < 4; ++i) t.broadcast(transaction_named(i));
    CHECK(t.f.outcomes.empty());
    t.follow();
    REQUIRE(t.run([&] { return t.f.outcomes.size() == 4; }));
    CHECK(t.f.outcomes[0].how == broadcast_outcome::accepted);  // in their order
    CHECK(t.f.outcomes[1].how == broadcast_outcome::accepted);
    CHECK(t.f.outcomes[3].how == broadcast_outcome::unreachable);
}

TEST_CASE("a node that goes down and comes back is told once each; broadcasts meanwhile are unreachable",
          "[bitcoind]") {
    fixture t(10);
    t.follow();
    REQUIRE(t.run([&] { return t.f.states.size() == 1; }));
    t.node.down();
    REQUIRE(t.run([&] { return t.f.states.size() == 2; }));
    for (std::uint64_t i = 0; i < 5; ++i) {
        t.broadcast(transaction_named(i));
        REQUIRE(t.run([&] { return t.f.outcomes.size() == i + 1; }));
        CHECK(t.f.outcomes.back().how == broadcast_outcome::unreachable);
    }
    t.chain.grow(3);
    t.node.up();
    REQUIRE(t.catch_up());
    REQUIRE(t.run([&] { return t.f.states.size() == 3; }));
    CHECK(t.f.states == std::vector{node_status::following, node_status::unreachable, node_status::following});
    CHECK(t.f.returns == 1);  // its mempool may be empty
    CHECK(t.f.left.empty());
    t.broadcast(transaction_named(9));
    REQUIRE(t.run([&] { return t.f.outcomes.size() == 6; }));
    CHECK(t.f.outcomes.back().how == broadcast_outcome::accepted);
}

TEST_CASE("a node that comes back as another chain gets no transaction", "[bitcoind]") {
    fixture t(10);
    t.follow();
    REQUIRE(t.catch_up());
    t.node.down();
    REQUIRE(t.run([&] { return !t.f.states.empty() && t.f.states.back() == node_status::unreachable; }));
    t.chain.name = "main";
    t.node.up();
    t.broadcast(transaction_named(1));
    REQUIRE(t.run([&] { return t.f.outcomes.size() == 1 && t.f.states.back() == node_status::failed; }));
    CHECK(t.f.outcomes[0].how == broadcast_outcome::unreachable);
    CHECK(t.chain.sent.empty());
    // Its operator starts it anew, as it should be.
    t.chain.name = "regtest";
    REQUIRE(t.run([&] { return t.f.states.back() == node_status::following; }));
    t.broadcast(transaction_named(2));
    REQUIRE(t.run([&] { return t.f.outcomes.size() == 2; }));
    CHECK(t.f.outcomes[1].how == broadcast_outcome::accepted);
}

TEST_CASE("a node that starts, refuses the login or is none is unreachable, told once for each cause", "[bitcoind]") {
    fixture t(10);
    int stage = 0;
    t.chain.first = [&](const fake::request& r) -> std::optional<fake::reply> {
        switch (stage) {
            case 0: return fake::error(r, -28, "Loading block index...");
            case 1: return fake::http(401, "");
            case 2: return fake::http(200, "<html>a web server</html>");
            default: return std::nullopt;
        }
    };
    t.follow();
    std::vector<std::string> words;
    for (; stage < 3; ++stage) {
        t.looks(4);
        words.push_back(t.f.last_words);
        CHECK(t.f.states.size() == static_cast<std::size_t>(stage + 1));
        CHECK(t.f.states.back() == node_status::unreachable);
    }
    CHECK(words[0] == "the node is starting: Loading block index...");
    CHECK(words[1] == "the node refuses user or password");
    CHECK(words[2].find("is this a node's RPC port?") != std::string::npos);
    REQUIRE(t.catch_up());
}

TEST_CASE("the fee rate is the fallback without an estimate, and is told when it changes", "[bitcoind]") {
    fixture t(5);
    t.follow();
    REQUIRE(t.run([&] { return t.f.fees.size() == 1; }));
    t.looks(3);
    t.chain.fee = json{{"feerate", json::parse("0.00012345")}, {"blocks", 6}};
    REQUIRE(t.run([&] { return t.f.fees.size() == 2; }));
    t.looks(3);
    t.chain.fee = json{{"feerate", 1}};
    REQUIRE(t.run([&] { return t.f.fees.size() == 3; }));
    CHECK(t.f.fees == std::vector<std::int64_t>{2'000, 12'345, 200'000});
}

TEST_CASE("the fee rate is above what the node's mempool takes, and asked for at once when the node refuses something",
          "[bitcoind]") {
    auto s = settings();
    s.fee_poll = std::chrono::hours(1);
    fixture t(5, s);
    std::string floor = "0.00003";
    t.chain.first = [&](const fake::request& r) -> std::optional<fake::reply> {
        if (r.method() == "getmempoolinfo") return fake::ok(r, json{{"mempoolminfee", json::parse(floor)}});
        if (r.method() == "sendrawtransaction") return fake::error(r, -26, "mempool min fee not met");
        return std::nullopt;
    };
    t.follow();
    REQUIRE(t.run([&] { return t.f.fees.size() == 1; }));
    floor = "0.0001";
    t.looks(3);
    CHECK(t.f.fees == std::vector<std::int64_t>{3'750});
    t.broadcast(transaction_named(1));
    REQUIRE(t.run([&] { return t.f.fees.size() == 2; }));
    CHECK(t.f.fees.back() == 12'500);
}

TEST_CASE(
    "what is told of fees: estimates, the floor, what a transaction pays with its ancestors, and why it is refused",
    "[bitcoind]") {
    fixture t(5);
    bool refuses = false;
    bool has_entry = true;
    t.chain.first = [&](const fake::request& r) -> std::optional<fake::reply> {
        if (r.method() == "getmempoolinfo") return fake::ok(r, json{{"mempoolminfee", json::parse("0.00003")}});
        if (r.method() == "estimatesmartfee")
            return fake::ok(r, json{{"feerate", json::parse(r.body["params"][0] == 2 ? "0.0009" : "0.0002")}});
        if (r.method() == "sendrawtransaction" && refuses)
            return fake::error(r, -26, "insufficient fee, rejecting replacement 00");
        if (r.method() == "getmempoolentry" && has_entry)
            return fake::ok(r, json{{"ancestorsize", 300}, {"fees", {{"ancestor", json::parse("0.000006")}}}});
        if (r.method() == "getmempoolentry") return fake::http(403, "");
        return std::nullopt;
    };
    t.follow();
    REQUIRE(t.run([&] { return t.f.fees.size() == 1; }));
    CHECK(t.f.last_fees == fee_estimate{fee_rate{20'000}, fee_rate{90'000}, fee_rate{3'000}});
    t.broadcast(transaction_named(1));
    REQUIRE(t.run([&] { return t.f.outcomes.size() == 1; }));
    CHECK(t.f.outcomes.back().how == broadcast_outcome::accepted);
    CHECK(t.f.last_package.fee == satoshi{600});
    CHECK(t.f.last_package.vsize == 300);
    has_entry = false;
    t.broadcast(transaction_named(2));
    REQUIRE(t.run([&] { return t.f.outcomes.size() == 2; }));
    CHECK(t.f.outcomes.back().how == broadcast_outcome::accepted);
    CHECK(t.f.last_package.vsize == 0);
    refuses = true;
    t.broadcast(transaction_named(3));
    REQUIRE(t.run([&] { return t.f.outcomes.size() == 3; }));
    CHECK(t.f.last_refusal == fee_refusal::outbid);
}

TEST_CASE("where a transaction is, or that its input is spent, in blocks that were told before", "[bitcoind]") {
    fixture t(20);
    int code = -27;
    const char* words = "Transaction already in block chain";
    std::function<fake::reply(const fake::request&)> output;
    t.chain.first = [&](const fake::request& r) -> std::optional<fake::reply> {
        if (r.method() == "sendrawtransaction") return fake::error(r, code, words);
        if (r.method() == "gettxout") return output(r);
        return std::nullopt;
    };
    std::uint64_t n = 0;
    const auto broadcast = [&](const std::function<fake::reply(const fake::request&)>& is) {
        output = is;
        t.broadcast(transaction_named(++n));
        REQUIRE(t.run([&] { return t.f.outcomes.size() == n; }));
    };
    const auto there = [&](std::size_t block, int confirmations) {
        return [&t, block, confirmations](const fake::request& r) {
            return fake::ok(r, json{{"bestblock", text(t.chain.active[block].hash)}, {"confirmations", confirmations}});
        };
    };
    const auto nowhere = [](const fake::request& r) { return fake::ok(r, json{}); };
    const auto forbidden = [](const fake::request&) { return fake::http(403, ""); };
    t.follow();
    REQUIRE(t.catch_up());

    broadcast(there(20, 8));
    CHECK(t.f.outcomes.back().how == broadcast_outcome::accepted);
    CHECK(t.f.last_mined == 13);
    for (const auto& unknown : std::vector<std::function<fake::reply(const fake::request&)>>{there(19, 7), there(20, 0),
                                                                                             nowhere, forbidden}) {
        broadcast(unknown);
        CHECK(t.f.outcomes.back().how == broadcast_outcome::accepted);
        CHECK(t.f.last_mined == 0);
    }

    code = -25;
    words = "bad-txns-inputs-missingorspent";
    broadcast(nowhere);
    CHECK(t.f.outcomes.back().how == broadcast_outcome::refused);
    CHECK_FALSE(t.f.last_spent);  // a node that keeps its blocks has shown what spends it
    t.chain.prune_height = 5;
    broadcast(nowhere);
    CHECK(t.f.last_spent);
    broadcast(there(20, 8));  // another input is missing
    CHECK_FALSE(t.f.last_spent);
    broadcast(forbidden);
    CHECK(t.f.outcomes.back().how == broadcast_outcome::refused);
    CHECK_FALSE(t.f.last_spent);
    // Perhaps by the block that has just come: it will tell.
    broadcast([&](const fake::request& r) {
        t.chain.grow(1);
        return fake::ok(r, json{});
    });
    CHECK_FALSE(t.f.last_spent);
    words = "txn-mempool-conflict";
    broadcast(nowhere);
    CHECK_FALSE(t.f.last_spent);

    // Answers that take more questions than others come in their turn all the same.
    words = "bad-txns-inputs-missingorspent";
    const txid late = parse_transaction(bytes_view(transaction_named(++n)))->id();
    t.broadcast(transaction_named(n));
    int answers = 0;
    output = [&](const fake::request& r) {
        if (answers++ == 0) words = "min relay fee not met";
        return fake::ok(r, json{});
    };
    t.broadcast(transaction_named(n));
    REQUIRE(t.run([&] { return t.f.outcomes.size() == n + 1; }));
    CHECK(t.f.outcomes[n - 1].id == late);
    CHECK(t.f.outcomes[n - 1].reason == "bad-txns-inputs-missingorspent");
}

TEST_CASE("a word of a block that has left the chain while it waited for its turn is not told", "[bitcoind]") {
    fixture t(20);
    int sent = 0;
    t.chain.first = [&](const fake::request& r) -> std::optional<fake::reply> {
        const json& p = r.body["params"];
        if (r.method() == "sendrawtransaction")
            return ++sent == 1 ? fake::error(r, -25, "bad-txns-inputs-missingorspent")
                               : fake::error(r, -27, "Transaction already in block chain");
        if (r.method() != "gettxout") return std::nullopt;
        if (p[0] != txid_text(transaction_named(2))) return fake::ok(r, json{});
        auto in_tip = fake::ok(r, json{{"bestblock", text(t.chain.active.back().hash)}, {"confirmations", 1}});
        t.chain.shrink(1);
        t.chain.grow(2);
        return in_tip;
    };
    // While the first transaction's questions take long the backend looks at the chain.
    int questions = 0;
    t.node.delay_with([&](const fake::request& r) {
        if (r.method() != "gettxout") return 0ms;
        ++questions;
        return questions == 1 ? 100ms : questions == 3 ? 500ms : 0ms;
    });
    t.follow();
    REQUIRE(t.catch_up());
    t.broadcast(transaction_named(1));
    t.broadcast(transaction_named(2));
    REQUIRE(t.run([&] { return t.f.outcomes.size() == 2; }));
    REQUIRE(t.f.left == std::vector<std::int32_t>{20});
    CHECK(t.f.outcomes.back().how == broadcast_outcome::accepted);
    CHECK(t.f.last_mined == 0);
}

TEST_CASE("a node that forbids its fee methods is followed at the fallback's rate", "[bitcoind]") {
    fixture t(5);
    t.chain.first = [&](const fake::request& r) -> std::optional<fake::reply> {
        if (r.method() == "getmempoolinfo" || r.method() == "estimatesmartfee") return fake::http(403, "");
        return std::nullopt;
    };
    t.follow();
    REQUIRE(t.catch_up());
    REQUIRE(t.run([&] { return t.f.fees.size() == 1; }));
    CHECK(t.f.fees == std::vector<std::int64_t>{2'000});
    CHECK(t.f.states == std::vector{node_status::following});
}

TEST_CASE("a node that forbids a method that is needed is told by the method's name", "[bitcoind]") {
    fixture t(5);
    t.chain.first = [&](const fake::request& r) -> std::optional<fake::reply> {
        if (r.method() == "getblock") return fake::http(403, "");
        return std::nullopt;
    };
    t.follow();
    REQUIRE(t.run([&] { return !t.f.states.empty(); }));
    CHECK(t.f.states.back() == node_status::unreachable);
    CHECK(t.f.last_words == "the node forbids this user or this address to call it: getblock");
}

TEST_CASE("a stopped backend lets the io_context end and tells nothing more", "[bitcoind]") {
    fixture t(40);
    const auto stop_at = GENERATE(0, 3, 40);
    t.f.at_block = [&](std::int32_t height) {
        if (height == stop_at) t.b().stop();
    };
    t.follow();
    REQUIRE(t.run([&] { return t.f.blocks.count(stop_at) == 1; }));
    t.broadcast(transaction_named(1));
    t.node.down();
    t.io.restart();
    t.io.run_for(5s);
    CHECK(t.io.stopped());
    CHECK(t.f.blocks.size() == static_cast<std::size_t>(stop_at + 1));
    CHECK(t.f.outcomes.empty());
}

TEST_CASE("a backend that is destroyed with work under way leaves nothing behind", "[bitcoind]") {
    fixture t(40);
    t.follow();
    t.broadcast({1});
    const auto steps = GENERATE(0, 1, 2, 5, 20, 50);
    for (int i = 0; i < steps; ++i) t.io.run_one_for(100ms);
    t.chain_backend.reset();
    t.node.down();
    t.io.restart();
    t.io.run_for(5s);
    CHECK(t.io.stopped());
}

TEST_CASE("a follower ends with the node's chain, however it is reorganised while being read", "[bitcoind]") {
    const auto seed = std::random_device{}();
    INFO("seed " << seed);
    std::mt19937 random(seed);
    const auto up_to = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n + 1)); };
    for (int round = 0; round < 8; ++round) {
        fixture t(30 + up_to(20));
        int changes = 30;
        t.chain.first = [&](const fake::request&) -> std::optional<fake::reply> {
            // Between any two questions, the chain may be another one, or the connection gone.
            if (changes == 0 || up_to(3) != 0) return std::nullopt;
            --changes;
            if (up_to(5) == 0) return fake::reply{{}, true};
            t.chain.shrink(up_to(8));
            t.chain.grow(up_to(10));
            if (t.chain.height() < 30) t.chain.grow(30 - t.chain.height());
            return std::nullopt;
        };
        t.follow(up_to(30));
        for (int restarts = up_to(3); restarts > 0; --restarts) {
            t.run([steps = up_to(200)]() mutable { return steps-- == 0; });
            const chain_position last = t.b().position();
            t.resume(last, t.f.blocks.empty() ? up_to(30) : t.f.blocks.begin()->first);
        }
        REQUIRE(t.run([&] { return changes == 0 && t.same(); }));
        t.check_medians();
    }
}
