// Key stores: no key twice, also after a crash; signatures that nodes relay.
#include "paychan/memory/keys.hpp"

#include <catch2/catch.hpp>
#include <set>
#include <string_view>
#include <vector>

#include "paychan/core/hex.hpp"
#include "paychan/memory/store.hpp"

using namespace paychan;

namespace {

bytes_view view(std::string_view text) { return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}; }

template <std::size_t N>
std::array<std::uint8_t, N> hex(std::string_view text) {
    std::array<std::uint8_t, N> out{};
    REQUIRE(from_hex(text, out));
    return out;
}

bytes32 number(std::uint8_t n) {
    bytes32 out{};
    out[31] = n;
    return out;
}

/// A store whose writes fail, before or after they are on disk, when told to.
struct failing_store : memory_store {
    enum class mode { good, lost, written } next = mode::good;
    result<void> put(const record_id& id, std::uint64_t version, bytes_view bytes) {
        if (next == mode::lost) return fail(errc::store_failed, "lost");
        PAYCHAN_CHECK(memory_store::put(id, version, bytes));
        if (next == mode::written) return fail(errc::store_failed, "on disk, but not known to be");
        return {};
    }
};

const bytes32 seed = number(7);

std::vector<std::uint8_t> bytes_of(const public_key& key) { return {key.view().begin(), key.view().end()}; }

template <class K>
std::vector<std::uint8_t> key_bytes(K& keys, key_id id) {
    const auto key = keys.public_key(id);
    REQUIRE(key);
    return bytes_of(*key);
}

}  // namespace

TEST_CASE("given keys are given out in their order, then none", "[memory][keys]") {
    const std::vector<bytes32> given{number(1), number(2)};
    memory_keys keys(given);
    const auto first = keys.new_key();
    const auto second = keys.new_key();
    REQUIRE(first);
    REQUIRE(second);
    // SEC2: G, the key of 1.
    CHECK(equal(keys.public_key(*first)->view(),
                hex<33>("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")));
    CHECK(equal(keys.public_key(*second)->view(),
                hex<33>("02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5")));
    CHECK(keys.new_key().error().code == errc::key_unavailable);
}

TEST_CASE("a signature is deterministic and has a low S", "[memory][keys]") {
    const std::vector<bytes32> given{number(1)};
    memory_keys keys(given);
    sign_request request;
    request.key = *keys.new_key();
    request.digest = sha256(view("Satoshi Nakamoto"));
    const auto signature = keys.sign(request);
    REQUIRE(signature);
    // The well-known secp256k1 vector for RFC 6979, of key 1 and this text.
    CHECK(signature->compact == hex<64>("934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d8"
                                        "2442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5"));
    CHECK(is_low_s(*signature));
}

TEST_CASE("a key that was not given out is not found", "[memory][keys]") {
    memory_keys keys;
    CHECK(keys.public_key(key_id{0}).error().code == errc::not_found);
    CHECK(keys.public_key(key_id{1}).error().code == errc::not_found);
    CHECK(keys.sign({}).error().code == errc::not_found);
    memory_store store;
    auto grown = seed_keys<memory_store>::open(seed, network::regtest, store);
    REQUIRE(grown);
    for (const std::uint64_t id : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1} << 31, ~std::uint64_t{0}}) {
        CHECK(grown->public_key(key_id{id}).error().code == errc::not_found);
        sign_request request;
        request.key = key_id{id};
        CHECK(grown->sign(request).error().code == errc::not_found);
    }
    REQUIRE(grown->new_key());
    CHECK(grown->public_key(key_id{1}));
}

TEST_CASE("random keys differ, and numbered ones repeat", "[memory][keys]") {
    memory_keys a;
    memory_keys b;
    CHECK(key_bytes(a, *a.new_key()) != key_bytes(b, *b.new_key()));
    memory_keys c = memory_keys::testing_from(5);
    memory_keys d = memory_keys::testing_from(5);
    memory_keys e = memory_keys::testing_from(6);
    const auto key = key_bytes(c, *c.new_key());
    CHECK(key == key_bytes(d, *d.new_key()));
    CHECK(key != key_bytes(e, *e.new_key()));
    CHECK(key != key_bytes(c, *c.new_key()));
}

TEST_CASE("keys from a seed go on where the store says, over restarts", "[memory][keys]") {
    memory_store store;
    std::set<std::vector<std::uint8_t>> seen;
    for (int start = 0; start < 5; ++start) {
        auto keys = seed_keys<memory_store>::open(seed, network::regtest, store);
        REQUIRE(keys);
        CHECK(keys->count() == seen.size());
        for (int i = 0; i < 3; ++i) {
            const auto id = keys->new_key();
            REQUIRE(id);
            CHECK(seen.insert(key_bytes(*keys, *id)).second);
        }
    }
    auto again = seed_keys<memory_store>::open(seed, network::regtest, store);
    for (std::uint64_t n = 1; n <= 15; ++n) CHECK(seen.contains(key_bytes(*again, key_id{n})));
}

TEST_CASE("no key is given out before its number is on disk", "[memory][keys]") {
    failing_store store;
    auto keys = seed_keys<failing_store>::open(seed, network::regtest, store);
    REQUIRE(keys);
    const auto first = keys->new_key();
    REQUIRE(first);

    store.next = failing_store::mode::lost;
    CHECK(keys->new_key().error().code == errc::store_failed);
    CHECK(keys->count() == 1);

    // The write reached the disk, but the answer did not come: the number is spent, and never given out twice.
    store.next = failing_store::mode::written;
    CHECK(keys->new_key().error().code == errc::store_failed);
    store.next = failing_store::mode::good;
    const auto next = keys->new_key();
    REQUIRE(next);
    CHECK(*next > *first);
    auto restarted = seed_keys<failing_store>::open(seed, network::regtest, store);
    REQUIRE(restarted);
    CHECK(*restarted->new_key() > *next);
}

TEST_CASE("two key stores on one store never give out the same key", "[memory][keys]") {
    memory_store store;
    auto a = seed_keys<memory_store>::open(seed, network::regtest, store);
    auto b = seed_keys<memory_store>::open(seed, network::regtest, store);
    std::set<key_id> ids;
    for (int i = 0; i < 10; ++i) {
        CHECK(ids.insert(*a->new_key()).second);
        CHECK(ids.insert(*b->new_key()).second);
        CHECK(ids.insert(*b->new_key()).second);
    }
    // Each can use what the other gave out.
    CHECK(key_bytes(*a, *ids.rbegin()) == key_bytes(*b, *ids.rbegin()));
}

TEST_CASE("keys that the chain has seen are not given out by an older store", "[memory][keys]") {
    memory_store store;
    auto keys = seed_keys<memory_store>::open(seed, network::regtest, store);
    REQUIRE(keys->new_key());
    REQUIRE(keys->saw(key_id{20}));
    CHECK(keys->count() == 20);
    REQUIRE(keys->saw(key_id{3}));
    CHECK(keys->count() == 20);
    CHECK(*keys->new_key() == key_id{21});
    CHECK(keys->saw(key_id{std::uint64_t{1} << 31}).error().code == errc::not_found);
}

TEST_CASE("a damaged counter of keys stops the key store", "[memory][keys]") {
    memory_store store;
    const std::array<std::uint8_t, 4> too_many{0, 0, 0, 0x80};
    const std::size_t size = GENERATE(3U, 4U);
    REQUIRE(store.put({record_kind::key_counter, {}}, 4, bytes_view(too_many).first(size)));
    const auto keys = seed_keys<memory_store>::open(seed, network::regtest, store);
    REQUIRE_FALSE(keys);
    CHECK(keys.error().code == errc::corrupt_record);
}

TEST_CASE("networks and seeds do not share channel keys", "[memory][keys]") {
    memory_store store;
    auto a = seed_keys<memory_store>::open(seed, network::regtest, store);
    auto b = seed_keys<memory_store>::open(seed, network::mainnet, store);
    const bytes32 other_seed = number(8);
    auto c = seed_keys<memory_store>::open(other_seed, network::regtest, store);
    CHECK(a->peek(key_id{1})->view().size() == 33);
    CHECK_FALSE(*a->peek(key_id{1}) == *b->peek(key_id{1}));
    CHECK_FALSE(*a->peek(key_id{1}) == *c->peek(key_id{1}));
    CHECK(a->peek(key_id{0}).error().code == errc::not_found);
}

TEST_CASE("a key for an opening comes once, costs nothing, and is there for whoever has the seed", "[memory][keys]") {
    memory_store store;
    auto keys = seed_keys<memory_store>::open(seed, network::regtest, store);
    auto other = seed_keys<memory_store>::open(seed, network::regtest, store);
    std::set<key_id> ids;
    std::set<std::vector<std::uint8_t>> publics;
    for (int i = 0; i < 100; ++i) {
        const auto id = keys->opening_key();
        REQUIRE(id);
        CHECK_FALSE(is_counted(*id));
        CHECK(ids.insert(*id).second);
        CHECK(publics.insert(key_bytes(*keys, *id)).second);
        CHECK(key_bytes(*other, *id) == key_bytes(*keys, *id));
        CHECK(key_bytes(*other, *id) == bytes_of(*other->peek(*id)));
        const sign_request request{*id, signing_purpose::settlement, bytes32{7}, {}, {}};
        CHECK(verify_ecdsa(keys->public_key(*id).value(), request.digest, other->sign(request).value()));
        keys->give_back(*id);
        CHECK(keys->saw(*id));
    }
    // In a row, so that not even 2^31 of them are enough for one to come twice; each process begins elsewhere.
    CHECK(static_cast<std::uint64_t>(*ids.rbegin()) - static_cast<std::uint64_t>(*ids.begin()) == ids.size() - 1);
    CHECK_FALSE(ids.contains(*other->opening_key()));
    CHECK(keys->count() == 0);
    CHECK(store.get({record_kind::key_counter, {}}, {}).error().code == errc::not_found);
    const std::uint64_t bit = std::uint64_t{1} << 63;
    CHECK(keys->public_key(key_id{bit | (bit / 2)}).error().code == errc::not_found);
    CHECK(keys->new_key() == key_id{1});
    CHECK(publics.insert(key_bytes(*keys, key_id{1})).second);
}

TEST_CASE("opening keys are where they always were", "[memory][keys]") {
    // A record or an export holds the id alone: m/1885436259'/1'/0'/5'/7', written down once more.
    memory_store store;
    auto keys = seed_keys<memory_store>::open(seed, network::regtest, store);
    extended_key at = master_key(seed).value();
    for (const std::uint32_t n : {1'885'436'259U, 1U, 0U, 5U, 7U}) at = derive(at, hardened + n).value();
    const key_id id{(std::uint64_t{1} << 63) | (std::uint64_t{5} << 31) | 7};
    CHECK(key_bytes(*keys, id) == bytes_of(public_key_of(at.key)));
}

TEST_CASE("a key that is given back is given out again, and the counter on disk goes back with it", "[memory][keys]") {
    memory_store store;
    auto keys = seed_keys<memory_store>::open(seed, network::regtest, store);
    REQUIRE(*keys->new_key() == key_id{1});
    for (int i = 0; i < 25; ++i) {
        const auto id = keys->new_key();
        CHECK(id == key_id{2});
        keys->give_back(*id);
        CHECK(keys->count() == 1);
        // A process for each attempt.
        keys = seed_keys<memory_store>::open(seed, network::regtest, store);
        CHECK(keys->count() == 1);
    }
    CHECK(keys->public_key(key_id{2}).error().code == errc::not_found);
    CHECK(keys->public_key(key_id{1}));
    for (const std::uint64_t id : {std::uint64_t{0}, std::uint64_t{3}, (std::uint64_t{1} << 32) + 1}) {
        keys->give_back(key_id{id});  // none that was given out
        CHECK(keys->count() == 1);
    }
    CHECK(keys->new_key() == key_id{2});
}

TEST_CASE("keys are given back in any order, and those between that are used stay", "[memory][keys]") {
    memory_store store;
    auto keys = seed_keys<memory_store>::open(seed, network::regtest, store);
    for (std::uint64_t n = 1; n <= 5; ++n) REQUIRE(keys->new_key() == key_id{n});
    keys->give_back(key_id{2});
    keys->give_back(key_id{4});
    CHECK(keys->count() == 5);
    keys->give_back(key_id{5});
    CHECK(keys->count() == 3);
    CHECK(keys->new_key() == key_id{2});
    CHECK(keys->new_key() == key_id{4});
}

TEST_CASE("the counter does not go back over a key that another process has claimed", "[memory][keys]") {
    memory_store store;
    auto a = seed_keys<memory_store>::open(seed, network::regtest, store);
    auto b = seed_keys<memory_store>::open(seed, network::regtest, store);
    REQUIRE(a->new_key() == key_id{1});
    REQUIRE(b->new_key() == key_id{2});
    a->give_back(key_id{1});
    CHECK(seed_keys<memory_store>::open(seed, network::regtest, store)->count() == 2);
    CHECK(a->new_key() == key_id{1});
    CHECK(a->new_key() == key_id{3});
    b->give_back(key_id{2});
    CHECK(b->new_key() == key_id{2});
    a->give_back(key_id{3});
    CHECK(seed_keys<memory_store>::open(seed, network::regtest, store)->count() == 2);
    CHECK(b->new_key() == key_id{3});  // what a has put back, b may have
    CHECK(a->new_key() == key_id{4});
}

TEST_CASE("no key is given out twice by processes that give back what they do not need", "[memory][keys]") {
    memory_store store;
    std::vector<seed_keys<memory_store>> all;
    for (int i = 0; i < 3; ++i) all.push_back(*seed_keys<memory_store>::open(seed, network::regtest, store));
    std::vector<std::set<key_id>> held(all.size());
    std::set<key_id> used;
    std::uint32_t random = 1;
    for (int i = 0; i < 20'000; ++i) {
        random = random * 1'664'525 + 1'013'904'223;
        const std::size_t who = (random >> 8) % all.size();
        const std::uint32_t what = (random >> 16) % 64;
        if (what == 0) {  // a crash: what it held is lost, or locked with a contract
            used.insert(held[who].begin(), held[who].end());
            held[who].clear();
            all[who] = *seed_keys<memory_store>::open(seed, network::regtest, store);
        } else if (what < 32 || held[who].empty()) {
            const auto id = all[who].new_key();
            REQUIRE(id);
            REQUIRE_FALSE(used.contains(*id));
            for (const auto& h : held) REQUIRE_FALSE(h.contains(*id));
            held[who].insert(*id);
        } else if (what < 34) {
            used.insert(held[who].extract(held[who].begin()).value());
        } else {
            const key_id id = *(what % 2 == 0 ? held[who].begin() : std::prev(held[who].end()));
            held[who].erase(id);
            all[who].give_back(id);
        }
    }
    const auto now = seed_keys<memory_store>::open(seed, network::regtest, store);
    CHECK(now->count() < used.size() + 1'500);  // and what crashes have lost
    CHECK(now->count() >= used.size());
}

TEST_CASE("a counter that could not be put back loses numbers, and gives none out twice", "[memory][keys]") {
    failing_store store;
    auto keys = seed_keys<failing_store>::open(seed, network::regtest, store);
    REQUIRE(keys->new_key() == key_id{1});
    REQUIRE(keys->new_key() == key_id{2});
    store.next = GENERATE(failing_store::mode::lost, failing_store::mode::written);
    const bool written = store.next == failing_store::mode::written;
    keys->give_back(key_id{2});
    store.next = failing_store::mode::good;
    auto other = seed_keys<failing_store>::open(seed, network::regtest, store);
    const auto theirs = other->new_key();
    CHECK(theirs == key_id{written ? 2U : 3U});
    CHECK(*keys->new_key() > *theirs);
}

TEST_CASE("a key that the chain has seen does not go back", "[memory][keys]") {
    memory_store store;
    auto keys = seed_keys<memory_store>::open(seed, network::regtest, store);
    REQUIRE(keys->new_key() == key_id{1});
    REQUIRE(keys->saw(key_id{1}));
    keys->give_back(key_id{1});
    CHECK(keys->count() == 1);
    CHECK(keys->new_key() == key_id{2});
}
