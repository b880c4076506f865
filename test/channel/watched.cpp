// What the chain did to a channel, on disk: what was written is read, and what was damaged is refused.
#include "paychan/channel/watched.hpp"

#include <catch2/catch.hpp>

#include "support/bytes.hpp"

using namespace paychan;
using namespace paychan_test;

namespace {

watched spent_channel() {
    watched w;
    w.contract_height = 812'345;
    w.end_height = 812'400;
    for (std::uint8_t i = 0; i < 32; ++i) w.closing.bytes[i] = i;
    return w;
}

watched lost_channel() {
    watched w;
    w.end_height = 812'400;
    w.lost = w.elsewhere = true;
    w.closing.bytes[0] = 7;  // the record's; what spent the coins has no name of its own
    return w;
}

watched open_channel() {
    watched w;
    w.contract_height = 812'345;
    w.closing.bytes[0] = 7;  // offered, and in no block
    return w;
}

/// The bytes under the checksum that fits them.
bytes sealed(bytes record) {
    const bytes32 hash = hash256(bytes_view(record).first(record.size() - 4));
    std::copy_n(hash.begin(), 4, record.end() - 4);
    return record;
}

errc code_of(bytes_view record) {
    const auto read = read_watch(record);
    REQUIRE_FALSE(read);
    return read.error().code;
}

constexpr std::size_t contract_at = 1, end_at = 5, flags_at = 9, closing_at = 10;

}  // namespace

TEST_CASE("a watch record is read as it was written", "[channel][record]") {
    const watched spent = spent_channel();
    CHECK(read_watch(write_watch(spent).view()) == watch_facts{812'345, 812'400, spent.closing, false, false});
    CHECK(read_watch(write_watch(lost_channel()).view()) == watch_facts{0, 812'400, {}, true, true});
    CHECK(read_watch(write_watch(open_channel()).view()) == watch_facts{812'345, 0, {}, false, false});
    CHECK(read_watch(write_watch(watched{}).view()) == watch_facts{});
    watched w = lost_channel();
    w.elsewhere = false;
    CHECK(read_watch(write_watch(w).view()) == watch_facts{0, 812'400, {}, true, false});
    w = spent;
    w.contract_height = w.end_height = std::numeric_limits<std::int32_t>::max();
    CHECK(read_watch(write_watch(w).view())->end_height == w.end_height);
}

TEST_CASE("what is of this process is not in a watch record", "[channel][record]") {
    watched w = spent_channel();
    w.offered = w.asked_over = w.refused_at = w.built_at = 3;
    w.built_rate = 1'000;
    w.unread = w.unwritten = w.asked = w.accepted = w.refused = w.told = w.overdue = true;
    w.stage = channel_stage::unbacked;
    w.recorded_height = 5;
    CHECK(write_watch(w) == write_watch(spent_channel()));
}

TEST_CASE("watch records of format 1 are read for ever", "[channel][record]") {
    const std::pair<watched, std::string> known[] = {
        {spent_channel(),
         "0139650c0070650c0000000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f28930b55"},
        {lost_channel(),
         "010000000070650c000300000000000000000000000000000000000000000000000000000000000000003920f1dc"},
        {open_channel(),
         "0139650c0000000000000000000000000000000000000000000000000000000000000000000000000000c19a25d8"}};
    for (const auto& [w, file] : known) {
        CHECK(hex(write_watch(w).view()) == file);  // while this is the format that is written
        CHECK(read_watch(unhex(file)) == read_watch(write_watch(w).view()));
    }
}

TEST_CASE("a watch record with any one byte changed is refused", "[channel][record]") {
    for (const watched& w : {spent_channel(), lost_channel(), open_channel(), watched{}}) {
        const bytes good = owned(write_watch(w).view());
        for (std::size_t i = 0; i < good.size(); ++i)
            for (int other = 1; other < 256; ++other) {
                bytes damaged = good;
                damaged[i] = static_cast<std::uint8_t>(damaged[i] ^ other);
                INFO("byte " << i << " is " << int{damaged[i]});
                // The first byte says which format it is, so that a newer one is called by its name.
                const bool newer = i == 0 && damaged[0] > watch_format;
                CHECK(code_of(damaged) == (newer ? errc::unknown_format : errc::corrupt_record));
            }
    }
}

TEST_CASE("a watch record that is cut off, empty, or longer than it should be, is refused", "[channel][record]") {
    bytes record = owned(write_watch(spent_channel()).view());
    for (std::size_t size = 0; size < record.size(); ++size)
        CHECK(code_of(bytes_view(record).first(size)) == errc::corrupt_record);
    record.push_back(0);
    CHECK(code_of(record) == errc::corrupt_record);
    CHECK(code_of(sealed(record)) == errc::corrupt_record);
}

TEST_CASE("a watch record of a newer format is named so, also one that is shorter", "[channel][record]") {
    bytes newer = owned(write_watch(spent_channel()).view());
    newer[0] = watch_format + 1;
    CHECK(code_of(sealed(newer)) == errc::unknown_format);
    CHECK(code_of(bytes{watch_format + 1}) == errc::unknown_format);
    newer[0] = 0;  // there is none before the first
    CHECK(code_of(sealed(newer)) == errc::corrupt_record);
}

TEST_CASE("a watch record with values that cannot be is refused, whatever its checksum says", "[channel][record]") {
    const bytes good = owned(write_watch(spent_channel()).view());
    REQUIRE(read_watch(sealed(good)));
    const auto with = [&](bytes record, std::size_t at, std::uint8_t value) {
        record[at] = value;
        return sealed(record);
    };
    CHECK(code_of(with(good, contract_at + 3, 0x80)) == errc::corrupt_record);  // a negative height
    CHECK(code_of(with(good, end_at + 3, 0x80)) == errc::corrupt_record);
    for (int flags = 8; flags < 256; ++flags)
        CHECK(code_of(with(good, flags_at, static_cast<std::uint8_t>(flags))) == errc::corrupt_record);
    CHECK(code_of(with(good, flags_at, 1)) == errc::corrupt_record);  // lost, and spent by a transaction
    const bytes lost = owned(write_watch(lost_channel()).view());
    CHECK(code_of(with(lost, flags_at, 2)) == errc::corrupt_record);  // under another txid, and not lost
    bytes endless = lost;
    std::fill_n(endless.begin() + end_at, 4, 0);
    CHECK(code_of(sealed(endless)) == errc::corrupt_record);  // lost in no block
    CHECK(code_of(with(owned(write_watch(open_channel()).view()), closing_at, 1)) == errc::corrupt_record);
}
