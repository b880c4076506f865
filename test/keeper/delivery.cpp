// How broadcasts end, and which are sent again.
#include "paychan/keeper/delivery.hpp"

#include <catch2/catch.hpp>

#include "paychan/core/hex.hpp"
#include "paychan/memory/store.hpp"

using namespace paychan;

namespace {

struct recorder {
    std::vector<std::vector<std::uint8_t>> sent{};
    void broadcast(bytes_view tx) { sent.emplace_back(tx.begin(), tx.end()); }
};

/// The transaction that spends output 0 of `from` and pays to nobody.
std::vector<std::uint8_t> spending(const txid& from) {
    std::vector<std::uint8_t> tx{2, 0, 0, 0, 1};
    tx.insert(tx.end(), from.bytes.begin(), from.bytes.end());
    const std::vector<std::uint8_t> rest{0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 1,  // the input; outputs
                                         1, 0, 0, 0, 0, 0,    0,    0,    0,    0,
                                         0, 0, 0};  // value; script; lock time
    tx.insert(tx.end(), rest.begin(), rest.end());
    return tx;
}

}  // namespace

TEST_CASE("what reached nobody is sent again, and only news is told", "[keeper]") {
    recorder net;
    int news = 0;
    delivery way(net, {.on_news = [&](const broadcast_answer&, bytes_view) { ++news; }});
    const auto parent = spending({}), child = spending(parse_transaction(parent)->id());
    const txid first = parse_transaction(parent)->id(), second = parse_transaction(child)->id();
    CHECK(way.done());
    way.broadcast(parent);
    way.broadcast(child);
    CHECK(way.left() == 2);
    way.on_chain(broadcast_answer{first, broadcast_outcome::unreachable, {}});
    way.on_chain(broadcast_answer{second, broadcast_outcome::refused, {}});  // for its parent is unknown
    CHECK(way.outcome_of(second) == broadcast_outcome::unreachable);
    CHECK(news == 2);
    CHECK_FALSE(way.done());
    way.turn(unix_time{100});
    CHECK(net.sent.size() == 2);
    way.turn(unix_time{102});
    CHECK(net.sent.size() == 4);
    way.on_chain(broadcast_answer{first, broadcast_outcome::accepted, {}});
    way.on_chain(broadcast_answer{second, broadcast_outcome::refused, {}});
    CHECK(way.outcome_of(second) == broadcast_outcome::refused);
    CHECK(news == 4);
    CHECK(way.done());
}

TEST_CASE("a side whose monitors run is only told, and repeats nothing", "[keeper]") {
    recorder net;
    delivery way(net, {.repeats = false});
    const auto parent = spending({}), child = spending(parse_transaction(parent)->id());
    const txid first = parse_transaction(parent)->id(), second = parse_transaction(child)->id();
    way.broadcast(parent);
    way.broadcast(child);
    way.on_chain(broadcast_answer{first, broadcast_outcome::unreachable, {}});
    way.on_chain(broadcast_answer{second, broadcast_outcome::refused, {}});
    CHECK(way.outcome_of(second) == broadcast_outcome::refused);
    CHECK(way.done());
    for (std::int64_t t = 100; t < 110; ++t) way.turn(unix_time{t});
    CHECK(net.sent.size() == 2);
}

TEST_CASE("a transaction that was sent twice may be answered twice", "[keeper]") {
    recorder net;
    delivery way(net);
    const auto parent = spending({}), child = spending(parse_transaction(parent)->id());
    const txid first = parse_transaction(parent)->id(), second = parse_transaction(child)->id();
    way.broadcast(parent);
    way.broadcast(child);
    way.broadcast(child);
    way.on_chain(broadcast_answer{first, broadcast_outcome::unreachable, {}});
    way.on_chain(broadcast_answer{second, broadcast_outcome::unreachable, {}});
    way.on_chain(broadcast_answer{second, broadcast_outcome::refused, {}});  // its parent is still not there
    CHECK(way.left() == 2);
    way.on_chain(broadcast_answer{first, broadcast_outcome::accepted, {}});
    way.on_chain(broadcast_answer{second, broadcast_outcome::accepted, {}});
    CHECK(way.done());
}

TEST_CASE("a clock that is set back holds nothing up, and what is sent again is counted once", "[keeper]") {
    recorder net;
    delivery way(net);
    const auto tx = spending({});
    const txid id = parse_transaction(tx)->id();
    way.broadcast(tx);
    way.on_chain(broadcast_answer{id, broadcast_outcome::unreachable, {}});
    way.turn(unix_time{10'000});
    CHECK(net.sent.size() == 1);
    way.turn(unix_time{6'400});
    CHECK(net.sent.size() == 2);
    CHECK(way.left() == 1);
    way.on_chain(broadcast_answer{id, broadcast_outcome::unreachable, {}});
    CHECK(way.left() == 1);
    way.turn(unix_time{6'400});
    CHECK(net.sent.size() == 2);
    way.turn(unix_time{6'401});
    CHECK(net.sent.size() == 3);
}

TEST_CASE("whether the network has anything that spends a contract, whatever became of others", "[keeper]") {
    recorder net;
    delivery way(net);
    const auto say = [&](const auto& tx, broadcast_outcome outcome) {
        way.broadcast(tx);
        way.on_chain(broadcast_answer{parse_transaction(tx)->id(), outcome, {}});
    };
    const auto tx = spending(txid{{5}});
    const auto first = parse_transaction(tx)->input(0)->prevout;
    CHECK_FALSE(way.has_taken_spend_of(first));
    say(tx, broadcast_outcome::refused);
    CHECK_FALSE(way.has_taken_spend_of(first));
    say(tx, broadcast_outcome::accepted);
    CHECK(way.has_taken_spend_of(first));
    say(tx, broadcast_outcome::refused);
    CHECK(way.has_taken_spend_of(first));
    CHECK_FALSE(way.has_taken_spend_of(outpoint{first.id, first.index + 1}));
}
