// Which stored channel a client goes on with.
#include "paychan/channel/resumable.hpp"

#include <catch2/catch.hpp>
#include <vector>

using namespace paychan;

TEST_CASE("of the channels with this server the one that lives longest goes on", "[channel]") {
    channel_record r;
    r.stage = channel_stage::open;
    r.protocol = 2;
    r.label = label_of("server:1");
    r.change = satoshi{100};
    r.terms.expiry = unix_time{2'000};
    const resume_wish wish{label_of("server:1"), version_set::only(2), satoshi{10}, 10, unix_time{1'000}};
    std::vector<channel_record> all{r};
    all.push_back(r);
    all.back().terms.expiry = unix_time{3'000};
    CHECK(find_resumable(all, wish).best->terms.expiry.seconds == 3'000);

    channel_record& last = all.back();
    last.stage = channel_stage::settling;
    CHECK(find_resumable(all, wish).best->terms.expiry.seconds == 2'000);
    last = all.front();
    last.protocol = 1;
    all.erase(all.begin());
    CHECK_FALSE(find_resumable(all, wish).best);
    CHECK(find_resumable(all, wish).other_version);
    all[0].label = label_of("server:2");
    CHECK_FALSE(find_resumable(all, wish).other_version);
    all[0] = r;
    all[0].change = satoshi{99};
    CHECK_FALSE(find_resumable(all, wish).best);
    all[0].change = satoshi{100};
    all[0].terms.expiry = unix_time{1'000};
    CHECK_FALSE(find_resumable(all, wish).best);
}
