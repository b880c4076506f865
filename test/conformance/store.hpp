// What every Store must do: one body of checks for any model.  Run it on your own store, in a TEST_CASE of its own:
//     TEST_CASE("my_store keeps the contract of Store") { store_conformance([] { return my_store(...); }); }
#pragma once

#include <array>
#include <catch2/catch.hpp>
#include <limits>
#include <optional>
#include <set>
#include <stdexcept>
#include <utility>
#include <vector>

#include "paychan/policy.hpp"

namespace paychan::conformance {

using bytes = std::vector<std::uint8_t>;

inline record_id id_of(record_kind kind, std::uint8_t n) {
    record_id id{kind, {}};
    id.channel.bytes.fill(n);
    return id;
}

struct found {
    std::uint64_t version = 0;
    bytes content;
    std::optional<errc> problem{};  ///< what a scan was told instead
    friend bool operator==(const found&, const found&) = default;
};

/// What is stored, with 200 kB of memory for it.
inline result<found> fetch(auto& store, const record_id& id) {
    bytes memory(200'000, 0xee);
    PAYCHAN_TRY(const stored_record r, store.get(id, memory));
    return found{r.version, {r.bytes.begin(), r.bytes.end()}};
}

inline errc code_of(const auto& outcome) {
    REQUIRE_FALSE(outcome.has_value());
    CHECK_FALSE(outcome.error().text.empty());
    return outcome.error().code;
}

inline std::set<record_id> listed(auto& store, record_kind kind) {
    std::set<record_id> out;
    std::size_t calls = 0;
    REQUIRE(store.list(kind, [&](const record_id& id) { out.insert(id), ++calls; }));
    CHECK(calls == out.size());
    return out;
}

using scanned_records = std::vector<std::pair<record_id, found>>;

/// What a scan tells of a record that cannot be read.
inline found unreadable(errc problem) { return {0, {}, problem}; }

/// What a scan tells until it was told of `most` records.
inline scanned_records scanned(auto& store, record_kind kind, const std::optional<txid>& after = {},
                               std::size_t most = 1'000'000) {
    scanned_records out;
    bool stopped = false;
    const result<void> outcome = store.scan(kind, after, [&](const record_id& id, const result<stored_record>& r) {
        CHECK_FALSE(stopped);
        out.push_back({id, r ? found{r->version, {r->bytes.begin(), r->bytes.end()}} : unreadable(code_of(r))});
        stopped = out.size() >= most;
        return !stopped;
    });
    REQUIRE(outcome);
    return out;
}

/// Of a ScanStore that holds nothing; the sections of store_conformance.
void scan_conformance(auto& store) {
    constexpr auto kind = record_kind::server_settlement;
    // In the order of their bytes, which are unsigned, the first one first.
    std::vector<record_id> ids;
    for (const auto& [first, last] : {std::pair{0x00, 0x00},
                                      {0x00, 0x01},
                                      {0x00, 0xff},
                                      {0x01, 0x00},
                                      {0x7f, 0x80},
                                      {0x80, 0x00},
                                      {0x80, 0x7f},
                                      {0xff, 0x00},
                                      {0xff, 0xff}}) {
        record_id id{kind, {}};
        id.channel.bytes.front() = static_cast<std::uint8_t>(first);
        id.channel.bytes.back() = static_cast<std::uint8_t>(last);
        ids.push_back(id);
    }
    const auto put_all_of_them = [&] {
        scanned_records out;
        for (std::size_t i = 0; i < ids.size(); ++i)
            out.push_back({ids[i], {i, bytes(3 * i, static_cast<std::uint8_t>(i))}});  // the first is empty
        for (std::size_t i = 0; i < ids.size(); ++i) {
            const auto& [id, r] = out[(i * 5 + 3) % ids.size()];
            REQUIRE(store.put(id, r.version, r.content));
        }
        return out;
    };
    const auto from = [](const scanned_records& all, std::size_t first) {
        return scanned_records(all.begin() + static_cast<std::ptrdiff_t>(first), all.end());
    };

    SECTION("a scan of an empty store tells nothing") {
        CHECK(scanned(store, kind).empty());
        CHECK(scanned(store, kind, ids.front().channel).empty());
        CHECK(scanned(store, kind, ids.back().channel).empty());
    }
    SECTION("a scan tells all records with their versions and bytes, in the order of their names") {
        const auto all = put_all_of_them();
        CHECK(scanned(store, kind) == all);
        CHECK(scanned(store, kind) == all);
    }
    SECTION("a scan begins behind a name, whether a record has it or not") {
        const auto all = put_all_of_them();
        for (std::size_t i = 0; i < ids.size(); ++i) CHECK(scanned(store, kind, ids[i].channel) == from(all, i + 1));
        for (std::size_t i = 0; i < ids.size(); ++i) {
            REQUIRE(store.erase(ids[i]));
            CHECK(scanned(store, kind, ids[i].channel) == from(all, i + 1));
        }
    }
    SECTION("a scan that is stopped goes on behind the last name, with chunks of any size") {
        const auto all = put_all_of_them();
        for (std::size_t most = 1; most <= all.size() + 1; ++most) {
            scanned_records told;
            std::optional<txid> last;
            for (;;) {
                const auto chunk = scanned(store, kind, last, most);
                told.insert(told.end(), chunk.begin(), chunk.end());
                if (chunk.size() < most) break;
                last = chunk.back().first.channel;
            }
            CHECK(told == all);
        }
    }
    SECTION("what is put and erased between two parts of a scan is seen by the second where it lies behind the first") {
        const auto all = put_all_of_them();
        CHECK(scanned(store, kind, {}, 4).size() == 4);
        REQUIRE(store.erase(ids[0]));
        REQUIRE(store.erase(ids[5]));
        REQUIRE(store.put(ids[2], 100, bytes{1}));
        REQUIRE(store.put(ids[6], 100, bytes{2}));
        const scanned_records rest{all[4], {ids[6], {100, {2}}}, all[7], all[8]};
        CHECK(scanned(store, kind, ids[3].channel) == rest);
    }
    SECTION("a scan keeps kinds apart") {
        const auto all = put_all_of_them();
        for (const record_kind other :
             {record_kind::server_contract, record_kind::key_counter, record_kind::wallet_coin}) {
            record_id last{other, {}};
            last.channel.bytes.fill(0xff);
            REQUIRE(store.put({other, {}}, 1, bytes{1}));
            REQUIRE(store.put(last, 2, bytes{2}));
            const scanned_records both{{{other, {}}, {1, {1}}}, {last, {2, {2}}}};
            CHECK(scanned(store, other) == both);
            CHECK(scanned(store, other, txid{}) == from(both, 1));
            CHECK(scanned(store, other, last.channel).empty());
        }
        CHECK(scanned(store, kind) == all);
        CHECK(scanned(store, record_kind::client_refund).empty());
    }
    SECTION("a scan tells a record of 100 kB between small ones, and an empty one") {
        bytes large(100'000);
        for (std::size_t i = 0; i < large.size(); ++i) large[i] = static_cast<std::uint8_t>(i * 7);
        REQUIRE(store.put(ids[0], 1, bytes{1}));
        REQUIRE(store.put(ids[1], 2, large));
        REQUIRE(store.put(ids[2], 3, {}));
        REQUIRE(store.put(ids[3], 4, bytes(5'000, 4)));
        const scanned_records all{
            {ids[0], {1, {1}}}, {ids[1], {2, large}}, {ids[2], {3, {}}}, {ids[3], {4, bytes(5'000, 4)}}};
        CHECK(scanned(store, kind) == all);
        CHECK(scanned(store, kind, ids[0].channel, 1) == scanned_records{all[1]});
    }
    SECTION("a scan tells the versions up to 2^63-1, and the newest content only") {
        constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max();
        REQUIRE(store.put(ids[0], 1, bytes(50, 1)));
        REQUIRE(store.put(ids[0], most, bytes{2}));
        CHECK(scanned(store, kind) == scanned_records{{ids[0], {most, {2}}}});
    }
    SECTION("a scan tells what was put in batches") {
        scanned_records all;
        for (std::uint64_t i = 0; i < 300; ++i) {
            record_id id{kind, {}};
            id.channel.bytes[3] = static_cast<std::uint8_t>(i / 256);
            id.channel.bytes[7] = static_cast<std::uint8_t>(i % 256);
            all.push_back({id, {i, bytes(i, 0x5a)}});
        }
        for (std::size_t first = 0; first < all.size(); first += 100) {
            std::vector<put_request> batch;
            for (std::size_t i = first; i < first + 100; ++i)
                batch.push_back({all[i].first, all[i].second.version, all[i].second.content});
            REQUIRE(put_all(store, batch));
            CHECK(scanned(store, kind).size() == first + 100);
        }
        CHECK(scanned(store, kind) == all);
        CHECK(scanned(store, kind, all[148].first.channel, 2) == scanned_records{all[149], all[150]});
    }
    SECTION("a store is used as ever after a scan that was stopped, or that threw") {
        const auto all = put_all_of_them();
        CHECK(scanned(store, kind, {}, 1).size() == 1);
        const auto throws = [](const record_id&, const result<stored_record>&) -> bool {
            throw std::runtime_error("f");
        };
        CHECK_THROWS_AS(store.scan(kind, {}, throws), std::runtime_error);
        REQUIRE(store.put(ids[1], 100, bytes{1}));
        REQUIRE(store.erase(ids[0]));
        CHECK(fetch(store, ids[1]) == found{100, {1}});
        CHECK(listed(store, kind).size() == ids.size() - 1);
        CHECK(scanned(store, kind, ids[1].channel) == from(all, 2));
    }
}

/// make()  a new store that holds nothing
void store_conformance(const auto& make) {
    Store auto store = make();
    constexpr auto kind = record_kind::server_settlement;  // of those that may be put at any version
    const record_id a = id_of(kind, 1);
    const record_id b = id_of(kind, 2);
    const record_id c = id_of(kind, 3);

    SECTION("a new store is empty") {
        CHECK(code_of(fetch(store, a)) == errc::not_found);
        CHECK(listed(store, kind).empty());
        CHECK(store.erase(a));
    }
    SECTION("get returns what was put, in the memory that it was given") {
        REQUIRE(store.put(a, 7, bytes{1, 2, 3}));
        bytes memory(5, 0xee);
        const auto r = store.get(a, memory);
        REQUIRE(r);
        CHECK(r->version == 7);
        CHECK(r->bytes.data() == memory.data());
        CHECK(memory == bytes{1, 2, 3, 0xee, 0xee});
        CHECK(r->bytes.size() == 3);
    }
    SECTION("a newer version replaces the content, whether shorter or longer") {
        REQUIRE(store.put(a, 1, bytes{1, 2, 3}));
        REQUIRE(store.put(a, 2, bytes{4}));
        CHECK(fetch(store, a) == found{2, {4}});
        REQUIRE(store.put(a, 100, bytes(50, 5)));
        CHECK(fetch(store, a) == found{100, bytes(50, 5)});
        CHECK(listed(store, kind) == std::set{a});
    }
    SECTION("a version that is not newer is refused and changes nothing") {
        REQUIRE(store.put(a, 5, bytes{5}));
        CHECK(code_of(store.put(a, 5, bytes{6})) == errc::stale_record);
        CHECK(code_of(store.put(a, 4, bytes{6})) == errc::stale_record);
        CHECK(code_of(store.put(a, 0, bytes{6})) == errc::stale_record);
        CHECK(fetch(store, a) == found{5, {5}});
        CHECK(store.put(a, 6, bytes{6}));
    }
    SECTION("versions go from 0 to 2^63-1") {
        constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max();
        REQUIRE(store.put(a, 0, bytes{1}));
        CHECK(code_of(store.put(a, 0, bytes{2})) == errc::stale_record);
        CHECK(fetch(store, a) == found{0, {1}});
        REQUIRE(store.put(a, most, bytes{3}));
        CHECK(code_of(store.put(a, most - 1, bytes{4})) == errc::stale_record);
        CHECK(fetch(store, a) == found{most, {3}});
    }
    SECTION("an empty record is not a missing one") {
        REQUIRE(store.put(a, 1, {}));
        CHECK(fetch(store, a) == found{1, {}});
        const auto r = store.get(a, {});
        REQUIRE(r);
        CHECK(r->bytes.empty());
    }
    SECTION("a record of 100 kB, with every byte value in it") {
        bytes large(100'000);
        for (std::size_t i = 0; i < large.size(); ++i) large[i] = static_cast<std::uint8_t>(i * 7);
        REQUIRE(store.put(a, 1, large));
        CHECK(fetch(store, a) == found{1, large});
    }
    SECTION("memory that is one byte too small is refused, exact memory is enough") {
        REQUIRE(store.put(a, 1, bytes(300, 9)));
        bytes memory(300);
        CHECK(code_of(store.get(a, bytes_span(memory).first(299))) == errc::too_long);
        CHECK(code_of(store.get(a, {})) == errc::too_long);
        CHECK(store.get(a, memory));
    }
    SECTION("kinds and channels are kept apart") {
        const record_id other = id_of(record_kind::client_channel, 1);
        const record_id zeros = id_of(kind, 0);
        REQUIRE(store.put(a, 3, bytes{3}));
        REQUIRE(store.put(other, 1, bytes{1}));
        REQUIRE(store.put(zeros, 2, bytes{2}));
        CHECK(fetch(store, a) == found{3, {3}});
        CHECK(fetch(store, other) == found{1, {1}});
        CHECK(fetch(store, zeros) == found{2, {2}});
        CHECK(listed(store, kind) == std::set{a, zeros});
        CHECK(listed(store, record_kind::client_channel) == std::set{other});
        CHECK(listed(store, record_kind::server_contract).empty());
    }
    SECTION("channels that differ in one bit, at either end, are different") {
        for (const std::size_t at : {std::size_t{0}, std::size_t{31}}) {
            record_id near = a;
            near.channel.bytes[at] ^= 1;
            REQUIRE(store.put(near, 1, bytes{1}));
            CHECK(code_of(fetch(store, a)) == errc::not_found);
        }
        CHECK(listed(store, kind).size() == 2);
    }
    SECTION("an erased record is gone, only that one, and may be put again") {
        REQUIRE(store.put(a, 9, bytes{9}));
        REQUIRE(store.put(b, 9, bytes{9}));
        REQUIRE(store.erase(a));
        CHECK(code_of(fetch(store, a)) == errc::not_found);
        CHECK(listed(store, kind) == std::set{b});
        CHECK(store.erase(a));
        CHECK(store.put(a, 1, bytes{1}));
    }
    SECTION("a batch is written") {
        const bytes one{1}, two{2};
        const std::array batch{put_request{a, 1, one}, put_request{b, 2, two}, put_request{c, 3, {}}};
        REQUIRE(put_all(store, batch));
        CHECK(fetch(store, a) == found{1, one});
        CHECK(fetch(store, b) == found{2, two});
        CHECK(fetch(store, c) == found{3, {}});
        CHECK(code_of(put_all(store, batch)) == errc::stale_record);
        CHECK(put_all(store, {}));
    }
    SECTION("a channel's record begins with version 1, and only one that is there goes on") {
        for (const record_kind channel : {record_kind::client_channel, record_kind::server_channel}) {
            const record_id id = id_of(channel, 1);
            for (const std::uint64_t version : {std::uint64_t{2}, std::uint64_t{7}, std::uint64_t{1} << 62}) {
                CHECK(code_of(store.put(id, version, bytes{7})) == errc::stale_record);
                CHECK(code_of(fetch(store, id)) == errc::not_found);
            }
            CHECK(listed(store, channel).empty());
            REQUIRE(store.put(id, 1, bytes{1}));
            CHECK(fetch(store, id) == found{1, {1}});
            CHECK(code_of(store.put(id, 1, bytes{2})) == errc::stale_record);
            REQUIRE(store.put(id, 2, bytes(50, 2)));
            CHECK(fetch(store, id) == found{2, bytes(50, 2)});
            REQUIRE(store.put(id, 9, {}));
            CHECK(code_of(store.put(id, 9, bytes{3})) == errc::stale_record);
            CHECK(code_of(store.put(id, 8, bytes{3})) == errc::stale_record);
            CHECK(code_of(store.put(id, 1, bytes{3})) == errc::stale_record);
            CHECK(fetch(store, id) == found{9, {}});
        }
    }
    SECTION("a channel's record that was deleted is not brought back by who still has it") {
        for (const record_kind channel : {record_kind::client_channel, record_kind::server_channel}) {
            const record_id id = id_of(channel, 1), other = id_of(channel, 2);
            for (std::uint64_t v = 1; v <= 4; ++v) {
                REQUIRE(store.put(id, v, bytes{4}));
                REQUIRE(store.put(other, v, bytes{4}));
            }
            REQUIRE(store.erase(id));
            CHECK(code_of(store.put(id, 5, bytes{5})) == errc::stale_record);
            CHECK(code_of(store.put(id, 2, bytes{2})) == errc::stale_record);
            CHECK(code_of(fetch(store, id)) == errc::not_found);
            CHECK(listed(store, channel) == std::set{other});
            CHECK(store.put(other, 5, bytes{5}));  // the others go on
            REQUIRE(store.put(id, 1, bytes{1}));   // as for an import
            CHECK(store.put(id, 2, bytes{2}));
            CHECK(fetch(store, id) == found{2, {2}});
        }
    }
    SECTION("what belongs to no channel, and what is not rewritten by payments, needs no predecessor") {
        for (const record_kind other :
             {record_kind::client_contract, record_kind::client_refund, record_kind::server_contract,
              record_kind::server_settlement, record_kind::key_counter, record_kind::chain_position})
            CHECK(store.put(id_of(other, 1), 12, bytes{1}));
    }
    if constexpr (BatchStore<decltype(store)>) {
        SECTION("a batch with a channel's record that was deleted writes nothing, wherever that one stands") {
            const bytes content{1};
            const record_id channels[] = {id_of(record_kind::client_channel, 1), id_of(record_kind::client_channel, 2),
                                          id_of(record_kind::server_channel, 1)};
            for (const record_id& id : channels) REQUIRE(store.put(id, 1, content));
            for (std::size_t gone = 0; gone < 3; ++gone) {
                REQUIRE(store.erase(channels[gone]));
                std::vector<put_request> batch{{id_of(record_kind::server_contract, 9), 1, content},
                                               {id_of(record_kind::server_settlement, 9), 2, content}};
                for (const record_id& id : channels) batch.push_back({id, 2, content});
                CHECK(code_of(store.put_many(batch)) == errc::stale_record);
                for (std::size_t i = 0; i < 3; ++i) {
                    if (i == gone)
                        CHECK(code_of(fetch(store, channels[i])) == errc::not_found);
                    else
                        CHECK(fetch(store, channels[i]) == found{1, content});
                }
                CHECK(code_of(fetch(store, batch[0].id)) == errc::not_found);
                CHECK(code_of(fetch(store, batch[1].id)) == errc::not_found);
                REQUIRE(store.put(channels[gone], 1, content));
            }
        }
        SECTION("in a batch a channel's record may follow one that stands before it") {
            const record_id id = id_of(record_kind::client_channel, 1);
            const bytes one{1}, two{2};
            const std::array back{put_request{id, 8, two}, put_request{id, 1, one}};
            CHECK(code_of(store.put_many(back)) == errc::stale_record);
            CHECK(code_of(fetch(store, id)) == errc::not_found);
            const std::array both{put_request{id, 1, one}, put_request{id, 8, two}};
            REQUIRE(store.put_many(both));
            CHECK(fetch(store, id) == found{8, two});
            CHECK(code_of(store.put_many(both)) == errc::stale_record);
            CHECK(fetch(store, id) == found{8, two});
        }
        SECTION("a batch with one stale record writes none of them, wherever that one stands") {
            const bytes before{1}, after{2};
            for (std::size_t stale = 0; stale < 3; ++stale) {
                const record_id ids[] = {id_of(record_kind::client_refund, static_cast<std::uint8_t>(stale)),
                                         id_of(record_kind::server_settlement, static_cast<std::uint8_t>(stale)),
                                         id_of(record_kind::key_counter, static_cast<std::uint8_t>(stale))};
                std::vector<put_request> batch;
                for (const record_id& id : ids) batch.push_back({id, 10, after});
                REQUIRE(store.put(ids[stale], 10, before));
                CHECK(code_of(store.put_many(batch)) == errc::stale_record);
                for (std::size_t i = 0; i < 3; ++i) {
                    if (i == stale)
                        CHECK(fetch(store, ids[i]) == found{10, before});
                    else
                        CHECK(code_of(fetch(store, ids[i])) == errc::not_found);
                }
                batch[stale].version = 11;  // and the refusal left nothing behind
                CHECK(store.put_many(batch));
                CHECK(fetch(store, ids[stale]) == found{11, after});
            }
        }
        SECTION("a batch may rewrite a record that it has just written, in order only") {
            const bytes one{1}, two{2};
            const std::array up{put_request{a, 1, one}, put_request{a, 2, two}};
            REQUIRE(store.put_many(up));
            CHECK(fetch(store, a) == found{2, two});
            const std::array down{put_request{b, 2, two}, put_request{b, 1, one}};
            CHECK(code_of(store.put_many(down)) == errc::stale_record);
            CHECK(code_of(fetch(store, b)) == errc::not_found);
        }
    }
    if constexpr (ScanStore<decltype(store)>) scan_conformance(store);
}

}  // namespace paychan::conformance
