// memory_store: the conformance of Store, and snapshots.
#include "paychan/memory/store.hpp"

#include "../conformance/store.hpp"

using namespace paychan;
using namespace paychan::conformance;

TEST_CASE("memory_store keeps the contract of Store", "[memory][store]") {
    store_conformance([] { return memory_store(); });
}

TEST_CASE("a copy of memory_store is a snapshot that later writes do not reach", "[memory][store]") {
    const record_id id = id_of(record_kind::client_channel, 1);
    memory_store store;
    REQUIRE(store.put(id, 1, bytes{1}));
    memory_store before = store;
    REQUIRE(store.put(id, 2, bytes{2}));
    CHECK(fetch(before, id) == found{1, {1}});
    CHECK(fetch(store, id) == found{2, {2}});
}
