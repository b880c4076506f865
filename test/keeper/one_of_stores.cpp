// A store whose kind is chosen when the program starts.
#include "paychan/keeper/one_of_stores.hpp"

#include <catch2/catch.hpp>

#include "conformance/store.hpp"
#include "paychan/memory/store.hpp"

using namespace paychan;

namespace {

struct chosen : one_of_stores<memory_store> {
    chosen() { emplace<memory_store>(); }
};
static_assert(BatchStore<chosen> && ScanStore<chosen>);

}  // namespace

TEST_CASE("a store that is chosen at run time keeps the contract of stores", "[keeper]") {
    conformance::store_conformance([] { return chosen(); });
}

TEST_CASE("nothing is kept before a store is chosen", "[keeper]") {
    one_of_stores<memory_store> store;
    const record_id id{record_kind::client_channel, {}};
    const std::array<std::uint8_t, 1> bytes{7};
    std::array<std::uint8_t, 8> memory{};
    CHECK_FALSE(store.is_open());
    CHECK(store.last_error() == "there is no store");
    CHECK(store.put(id, 1, bytes).error().code == errc::store_failed);
    CHECK(store.put_many({}).error().code == errc::store_failed);
    CHECK(store.get(id, memory).error().code == errc::store_failed);
    CHECK(store.erase(id).error().code == errc::store_failed);
    CHECK(store.list(id.kind, [](const record_id&) {}).error().code == errc::store_failed);
    CHECK(store.foreign_writes() != store.foreign_writes());
    store.emplace<memory_store>();
    CHECK(store.is_open());
    REQUIRE(store.put(id, 1, bytes));
}
