// Which stored channel a client goes on with.
#include "paychan/channel/resumable.hpp"

#include <catch2/catch.hpp>
#include <string>
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

TEST_CASE("servers whose names are longer than a label are told apart", "[channel]") {
    const std::string host(62, '0');
    CHECK(equal(label_of("server:1").view(), bytes_view(reinterpret_cast<const std::uint8_t*>("server:1"), 8)));
    const auto text = [](const channel_label& l) { return std::string(l.view().begin(), l.view().end()); };
    const std::string longest(64, 'a');
    CHECK(text(label_of(longest)) == longest);
    CHECK(text(label_of(host + "177.0.0.1:4242")) == text(label_of(host + "177.0.0.1:4242")));
    CHECK(text(label_of(host + "177.0.0.1:4242")) != text(label_of(host + "177.0.0.1:4243")));
    const std::string onion(56, 'b');
    const std::string label = text(label_of(onion + ".onion:65000"));
    CHECK(label.size() == 64);
    CHECK(label.starts_with(onion.substr(0, 31) + "#"));
    CHECK(label.find_first_not_of("0123456789abcdef", 32) == std::string::npos);
}
