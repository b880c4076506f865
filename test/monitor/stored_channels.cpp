// All that a store has of a kind at once.
#include "paychan/monitor/stored_channels.hpp"

#include <catch2/catch.hpp>

#include "support/versions.hpp"
#include "support/world.hpp"

using namespace paychan;
using namespace paychan_test;

TEST_CASE("channels of both roles are listed; those that cannot be read are not loaded", "[monitor]") {
    world w(each_version());
    REQUIRE(w.open());
    memory_store& disk = w.payer.disk;
    const txid broken{{9}};
    const std::array<std::uint8_t, 3> nonsense{1, 2, 3};
    REQUIRE(disk.put({record_kind::server_channel, broken}, 1, nonsense));
    const auto all = list_channels(disk);
    REQUIRE(all);
    REQUIRE(all->size() == 2);
    CHECK((*all)[0].role == channel_role::client);
    CHECK((*all)[0].id == w.channel());
    CHECK((*all)[1].role == channel_role::server);
    CHECK((*all)[1].id == broken);
    const auto ours = load_channels(disk, channel_role::client);
    REQUIRE(ours);
    REQUIRE(ours->size() == 1);
    CHECK((*ours)[0].terms.contract.id == w.channel());
    CHECK(load_channels(disk, channel_role::server)->empty());
    // A store that fails is not one without channels.
    fault_plan plan{call::store_get, fault::fails, 0};
    faulty_store failing{plan, disk};
    CHECK(load_channels(failing, channel_role::client).error().code == errc::store_failed);
}
