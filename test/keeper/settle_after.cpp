// A channel is settled after a number of payments.
#include "paychan/keeper/settle_after.hpp"

#include <catch2/catch.hpp>

#include "paychan/memory/store.hpp"

using namespace paychan;

namespace {

struct side {
    bool attached = false, takes = true;
    int settled = 0;
    bool settle_attached(const txid&) { return attached; }
    result<void> settle(const txid&) {
        ++settled;
        return takes ? result<void>{} : fail(errc::not_found, "there is no such channel");
    }
};

}  // namespace

TEST_CASE("the Nth payment is enough; what fails is tried again", "[keeper]") {
    memory_store store;
    side server;
    settle_after after(2, server, store);
    const txid channel{};
    CHECK_FALSE(after.count(channel));
    CHECK(after.count(channel));
    server.takes = false;
    CHECK_FALSE(after.settle(channel));
    CHECK_FALSE(after.settle(channel));
    CHECK(server.settled == 2);
    server.attached = true;
    CHECK(after.count(channel));
    CHECK(after.settle(channel));
    CHECK(server.settled == 2);
    CHECK(after.settle(channel));  // nothing is left to do
    CHECK_FALSE(after.count(channel));
}
