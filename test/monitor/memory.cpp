// How much memory a channel takes that is only watched.
#include <catch2/catch.hpp>

#include "monitor/support.hpp"

// Sanitizers have an allocator of their own, which counts nothing here.
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
#if defined(__has_feature)
#if !__has_feature(address_sanitizer)
#define PAYCHAN_TEST_COUNTS_MEMORY
#endif
#else
#define PAYCHAN_TEST_COUNTS_MEMORY
#endif
#endif

#ifdef PAYCHAN_TEST_COUNTS_MEMORY
#include <malloc.h>

using namespace paychan;
using namespace paychan_test;

namespace {

/// [bytes] of the heap that are in use.
std::size_t in_use() {
    const struct mallinfo2 now = mallinfo2();
    return now.uordblks + now.hblkhd;
}

}  // namespace

TEST_CASE("an open channel that is watched takes less than 200 bytes of memory", "[monitor][stored]") {
    constexpr std::size_t channels = 100'000;
    world w(1);
    REQUIRE(w.open());
    channel_record record = load_record(w.payee.disk, record_kind::server_channel, w.channel()).value();
    watched in_a_block;
    in_a_block.contract_height = 1;
    const watch_buffer facts = write_watch(in_a_block);
    memory_store disk;
    record.version = 1;
    for (std::size_t i = 0; i < channels; ++i) {
        std::array<std::uint8_t, 8> number{};
        writer out(number);
        out.u64(i);
        record.terms.contract.id.bytes = sha256(number);
        record.terms.expiry = record.terms.expiry + 1;
        REQUIRE(disk.put({record_kind::server_channel, record.terms.contract.id}, 1, write_record(record).view()));
        REQUIRE(disk.put({record_kind::server_watch, record.terms.contract.id}, 1, facts.view()));
    }
    event_log told;
    const std::size_t before = in_use();
    server_monitor monitor(both_versions{}, disk, w.payee.keys, w.payee.wallet, w.payee.network, told,
                           w.server_settings);
    monitor.start_at(1);
    REQUIRE(monitor.load());
    monitor.on_chain(chain_tip{1, world_start});
    monitor.tick(world_start);
    const std::size_t each = (in_use() - before) / channels;
    REQUIRE(monitor.size() == channels);
    CHECK(told.heard.empty());
    INFO(each << " bytes");
    CHECK(each > 100);  // or it counts nothing
    CHECK(each < 200);
}
#endif
