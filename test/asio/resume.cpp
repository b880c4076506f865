// Resuming over TCP: both sides go on from the same amount, whichever of them has lost a payment.
#include "paychan/asio/tcp_client.hpp"
#include "support.hpp"

using namespace paychan;
using namespace paychan::asio::testing;
using paychan::asio::tcp_client_settings;
using paychan::asio::tcp_server_settings;
namespace net = boost::asio;

namespace {

/// A channel with 1'030 paid in two payments, and disks as they were after the first of them.
struct resume_world : world {
    explicit resume_world(std::int32_t version, bool extensions = true) {
        settings.channel.versions = version_set::only(version);
        settings.channel.extensions = extensions;
        payer_client = make_client(settings);
        id = open(*payer_client).terms.contract.id;
        pay(*payer_client, satoshi{10});
        client_disk = client_store.records;
        server_disk = server_store.records;
        pay(*payer_client, satoshi{20});
        payer_client->disconnect();
        REQUIRE(run_until([&] { return !payer_client->connected() && server->connections() == 0; }));
    }

    /// Resumes through `between`, and says what the client sent.
    std::vector<wire::message> resume_over(relay& between) {
        world::outcome<channel_record> resumed;
        payer_client->async_resume("127.0.0.1", between.port(), id, {}, resumed.handler());
        REQUIRE(run_until([&] { return resumed.fired > 0; }));
        REQUIRE(resumed.ok());
        record = **resumed.value;
        REQUIRE(between.connections.size() == 1);
        return messages_in(between.connections[0]->up);
    }

    void check_goes_on(satoshi paid) {
        CHECK(record.paid() == paid);
        CHECK(stored(id)->paid() == paid);
        CHECK(load_record(client_store, record_kind::client_channel, id)->paid() == paid);
        CHECK(pay(*payer_client, satoshi{5}).total == satoshi{paid.value + 5});
        CHECK(stored(id)->paid() == satoshi{paid.value + 5});
        CHECK(client_events.problems.empty());
        CHECK(server_events.problems.empty());
    }

    tcp_client_settings settings;
    std::unique_ptr<client_type> payer_client;
    txid id;
    memory_store client_disk;
    memory_store server_disk;
    channel_record record;
};

}  // namespace

TEST_CASE("a tcp_client that resumes with the server's own amount sends no payment", "[asio][client][resume]") {
    resume_world w(GENERATE(1, 2));
    relay between(w.client_io, w.server->port());
    const auto sent = w.resume_over(between);
    REQUIRE(sent.size() == 1);
    CHECK(std::holds_alternative<wire::client_version>(sent[0]));
    const auto opened = all_of<wire::channel_open>(messages_in(between.connections[0]->down));
    REQUIRE(opened.size() == 1);
    REQUIRE(opened[0].resumed);
    CHECK(opened[0].resumed->client_change_value == 998'970);
    w.check_goes_on(satoshi{1'030});
    const auto acks = all_of<wire::payment_ack>(messages_in(between.connections[0]->down));
    REQUIRE(acks.size() == 1);
    CHECK(acks[0].paid == 1'035U);
    CHECK(w.server_events.asked.size() == 3);
}

TEST_CASE("a tcp_client with an older record takes the server's amount, and goes on", "[asio][client][resume]") {
    resume_world w(GENERATE(1, 2));
    w.client_store.records = w.client_disk;
    relay between(w.client_io, w.server->port());
    CHECK(w.resume_over(between).size() == 1);
    w.check_goes_on(satoshi{1'030});
}

TEST_CASE("a tcp_client pays a server with an older record again what that has lost", "[asio][client][resume]") {
    resume_world w(GENERATE(1, 2));
    w.server_store.records = w.server_disk;
    relay between(w.client_io, w.server->port());
    bool held = false;
    SECTION("acked at once") {}
    SECTION("held for a while") {
        held = true;
        w.server_events.answers = [&](const event& e) {
            net::post(w.server_io, [&w, total = e.total] { w.server->ack(w.id, total); });
            return payment_answer::hold();
        };
    }
    const std::size_t before = w.server_events.asked.size();
    CHECK(all_of<wire::update_payment>(w.resume_over(between)).size() == 1);
    CHECK(w.server_events.asked.size() == before + 1);
    if (held) w.server_events.answers = [](const event&) { return payment_answer::ack(); };
    w.check_goes_on(satoshi{1'030});
}

TEST_CASE("a tcp_client without extensions pays again when it resumes, and nothing counts twice",
          "[asio][client][resume]") {
    resume_world w(GENERATE(1, 2), false);
    const bool server_lost = GENERATE(false, true);
    if (server_lost) w.server_store.records = w.server_disk;
    const std::size_t before = w.server_events.asked.size();
    relay between(w.client_io, w.server->port());
    const auto sent = w.resume_over(between);
    CHECK(all_of<wire::update_payment>(sent).size() == 1);
    CHECK_FALSE(all_of<wire::client_version>(sent)[0].extensions);
    CHECK_FALSE(all_of<wire::channel_open>(messages_in(between.connections[0]->down))[0].resumed);
    CHECK(w.server_events.asked.size() == before + (server_lost ? 1 : 0));
    w.check_goes_on(satoshi{1'030});
    for (const auto& ack : all_of<wire::payment_ack>(messages_in(between.connections[0]->down))) CHECK_FALSE(ack.paid);
}

TEST_CASE("a tcp_server shows nobody else what a channel holds, and settles nothing for them",
          "[asio][server][resume][hostile]") {
    resume_world w(GENERATE(1, 2));
    // It knows the contract, which is public, and announces that it understands amounts; but it cannot prove anything.
    raw_peer stranger(w.client_io, w.server->port());
    const bytes32 hash = display_bytes(w.id);
    wire::client_version m;
    m.major = w.payer_client->record().protocol;
    m.previous_channel_contract_hash = bytes_view(hash);
    m.extensions = wire::understands_amounts;
    stranger.write(m);
    REQUIRE(w.run_until([&] { return stranger.count<wire::channel_open>() == 1; }));
    CHECK_FALSE(stranger.all<wire::channel_open>()[0].resumed);
    stranger.write(wire::close{});
    REQUIRE(w.run_until([&] { return stranger.ended; }));
    CHECK(w.stored(w.id)->stage == channel_stage::open);
    relay between(w.client_io, w.server->port());
    w.resume_over(between);
    w.check_goes_on(satoshi{1'030});
}

TEST_CASE("a tcp_client that resumes on a second connection while its payment is held on the first is in order",
          "[asio][client][resume]") {
    resume_world w(GENERATE(1, 2));
    relay first(w.client_io, w.server->port());
    w.resume_over(first);
    w.server_events.answers = [](const event&) { return payment_answer::hold(); };
    world::outcome<asio::receipt> lost;
    w.payer_client->async_pay(satoshi{7}, lost.handler());
    const std::size_t before = w.server_events.asked.size();
    REQUIRE(w.run_until([&] { return w.server_events.asked.size() == before + 1; }));
    // A second client of the same person, from the same disk: the first one's connection is dead to him.
    const auto second = w.make_client(w.settings);
    CHECK(w.resume(*second, w.id).paid() == satoshi{1'037});
    REQUIRE(w.run_until([&] { return lost.fired > 0 && !w.payer_client->connected(); }));
    CHECK(lost.code() == errc::connection_lost);
    w.server->ack(w.id, satoshi{1'037});
    w.server->refuse(w.id, satoshi{1'037}, "late");
    w.server_events.answers = [](const event&) { return payment_answer::ack(); };
    CHECK(w.pay(*second, satoshi{3}).total == satoshi{1'040});
    CHECK(w.server_events.asked.size() == before + 2);
    CHECK(w.stored(w.id)->paid() == satoshi{1'040});
}
