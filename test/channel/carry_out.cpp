// From effects to deeds: the order, the whole of it or nothing, and the last word of a connection.
#include "paychan/channel/carry_out.hpp"

#include <catch2/catch.hpp>

#include "support/versions.hpp"
#include "support/world.hpp"

using namespace paychan;
using namespace paychan_test;

namespace {

/// Every policy that effects reach, as one list of what was done.
struct deeds {
    std::vector<std::string> done;
    bool disk_fails = false;

    result<void> put(const record_id&, std::uint64_t, bytes_view) {
        done.emplace_back("put");
        return disk_fails ? fail(errc::store_failed, "no space") : result<void>{};
    }
    result<stored_record> get(const record_id&, bytes_span) { return fail(errc::not_found, "none"); }
    result<void> erase(const record_id&) { return {}; }
    result<void> list(record_kind, void (*)(const record_id&)) { return {}; }

    void broadcast(bytes_view tx) { done.push_back("broadcast " + hex(tx)); }
    void send(bytes_view frame) { done.push_back("send " + name_of(decoded(owned(frame)))); }
    void close() { done.emplace_back("close"); }
    void on_event(const event& e) { done.push_back(std::string("event ") + name_of(e.kind)); }
};

/// Effects that want everything there is.
struct wanted_of_all {
    const bytes first{1}, second{2};
    channel_record record;
    result<effects> wanted = effects{};
    wire::small_codec codec;
    detail::frame_list<1'000> frames;
    deeds world;

    wanted_of_all() {
        record.version = 1;
        wanted->persist.channel = true;
        wanted->persist.contract = first;
        for (const bytes* tx : {&first, &second}) wanted->broadcast.push_back(bytes_view{*tx});
        wanted->send.push_back(wire::payment_ack{});
        wanted->send.push_back(wire::close{});
        wanted->close = true;
        for (const event_kind kind : {event_kind::opened, event_kind::payment, event_kind::closed})
            wanted->notify.push_back(event{kind});
        REQUIRE(frames.encode(wanted->send, codec));
    }

    template <class Tell>
    result<void> carry_out(Tell&& tell) {
        const detail::put_batch batch(wanted->persist, record, record_kind::server_channel);
        auto saved = detail::on_disk(put_all(world, batch.view()), wanted);
        if (!saved) return fail(saved.error());
        std::move(*saved).broadcast(world).send(world, frames).close(world).notify(tell);
        return {};
    }
    result<void> carry_out() {
        return carry_out([this](const event& e) { world.on_event(e); });
    }
};

using list = std::vector<std::string>;

}  // namespace

TEST_CASE("effects happen in the order of their fields", "[carry_out]") {
    wanted_of_all all;
    REQUIRE(all.carry_out());
    CHECK(all.world.done == list{"put", "put", "broadcast 01", "broadcast 02", "send PAYMENT_ACK", "send CLOSE",
                                 "close", "event opened", "event payment", "event closed"});
}

TEST_CASE("where the write fails nothing follows it", "[carry_out]") {
    wanted_of_all all;
    all.world.disk_fails = true;
    const auto done = all.carry_out();
    REQUIRE(!done);
    CHECK(done.error() == error{errc::store_failed, "no space"});
    CHECK(all.world.done == list{"put"});
}

TEST_CASE("a step that failed has no effects, whatever was written", "[carry_out]") {
    const result<effects> none = fail(errc::invalid_signature, "not the client's");
    const result<void> failed = fail(errc::store_failed, "no space");
    for (const auto& written : {result<void>{}, failed}) {
        const auto saved = detail::on_disk(written, none);
        REQUIRE(!saved);
        CHECK(saved.error().code == errc::invalid_signature);
    }
}

TEST_CASE("a connection stays when the effects do not end it", "[carry_out]") {
    wanted_of_all all;
    all.wanted->close = false;
    REQUIRE(all.carry_out());
    CHECK(std::ranges::count(all.world.done, "close") == 0);
    CHECK(all.world.done.back() == "event closed");
}

TEST_CASE("a listener whose answer overwrites the effects still hears all of them", "[carry_out]") {
    wanted_of_all all;
    REQUIRE(all.carry_out([&](const event& e) {
        all.wanted = effects{};
        all.world.on_event(e);
    }));
    CHECK(list(all.world.done.end() - 3, all.world.done.end()) ==
          list{"event opened", "event payment", "event closed"});
}

TEST_CASE("the last word of a connection leaves alone, and one that does not fit is left out", "[carry_out]") {
    wanted_of_all all;  // whose frames wait: they must not leave with it
    all.frames.send_last(wire::error_message{}, all.world, all.codec);
    CHECK(all.world.done == list{"send ERROR", "close"});

    deeds world;
    detail::frame_list<8> small;
    const bytes text(100, 'x');
    wire::error_message m;
    m.explanation = text;
    small.send_last(m, world, all.codec);
    CHECK(world.done == list{"close"});
}

// ---- The drivers

TEST_CASE("whoever cannot write says ERROR, and nothing after it", "[carry_out]") {
    const bool server = GENERATE(false, true);
    const fault how = GENERATE(fault::fails, fault::fails_after);
    const std::int32_t version = each_version();
    int writes = 0;
    for (bool hit = true; hit; ++writes) {
        world w(version);
        party& side = server ? w.payee : w.payer;
        side.plan = {call::store_put, how, writes, false};
        std::vector<bytes> after;
        side.transport.watch = [&](const bytes& frame) {
            if (side.plan.hit) after.push_back(frame);
        };
        (void)w.open();
        for (const std::int64_t amount : {5'000, 7'000}) {
            outcome o;
            (void)w.pay(satoshi{amount}, o);
        }
        (void)w.c->settle();
        w.run();
        hit = side.plan.hit;
        INFO((server ? "server" : "client") << ", write " << writes);
        CHECK(names_of(after) == (hit ? "ERROR" : ""));
        CHECK(side.transport.closed == 1);
    }
    CHECK(writes > 4);  // the opening, two payments, the settlement, and the life in which no write failed
}
