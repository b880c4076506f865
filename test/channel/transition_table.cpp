// The protocol as a table: every phase and every message or input, with what each side does, in both versions.  No row
// may be missing.
#include <catch2/catch.hpp>

#include "paychan/channel/client_step.hpp"
#include "paychan/channel/cltv_p2sh.hpp"
#include "paychan/channel/multisig_refund.hpp"
#include "paychan/channel/record_io.hpp"
#include "paychan/channel/server_step.hpp"
#include "paychan/memory/keys.hpp"
#include "support/coin_wallet.hpp"
#include "support/events.hpp"
#include "support/versions.hpp"
#include "support/wire.hpp"

using namespace paychan;
using namespace paychan_test;
using wire::message_type;

namespace {

using schemes = contracts<cltv_p2sh, multisig_refund>;
constexpr unix_time now{1'700'000'000};

// No default: a new enumerator is a warning here, and the counts below do not hold any more.
std::string_view name_of(client_phase p) {
    switch (p) {
        case client_phase::idle: return "idle";
        case client_phase::version_sent: return "version_sent";
        case client_phase::version_agreed: return "version_agreed";
        case client_phase::refund_sent: return "refund_sent";
        case client_phase::contract_sent: return "contract_sent";
        case client_phase::resuming: return "resuming";
        case client_phase::open: return "open";
        case client_phase::settling: return "settling";
        case client_phase::ended: return "ended";
    }
    return "?";
}
std::string_view name_of(server_phase p) {
    switch (p) {
        case server_phase::idle: return "idle";
        case server_phase::initiated: return "initiated";
        case server_phase::refund_signed: return "refund_signed";
        case server_phase::broadcasting: return "broadcasting";
        case server_phase::open: return "open";
        case server_phase::answering: return "answering";
        case server_phase::settling: return "settling";
        case server_phase::ended: return "ended";
    }
    return "?";
}
constexpr std::size_t client_phases = static_cast<std::size_t>(client_phase::ended) + 1;
constexpr std::size_t server_phases = static_cast<std::size_t>(server_phase::ended) + 1;
constexpr std::size_t message_types = std::variant_size_v<wire::message>;

/// "open; persist channel contract; broadcast 1; send PAYMENT_ACK; close; tell opened", or the error's name.
/// next  the channel that the step computed on
template <class Channel>
std::string in_brief(const result<effects>& done, const Channel& next) {
    if (!done) return std::string(name(done.error().code));
    std::string out(name_of(next.session.phase));
    if (!done->persist.empty()) {
        out += "; persist";
        if (done->persist.channel) out += " channel";
        if (!done->persist.contract.empty()) out += " contract";
        if (!done->persist.refund.empty()) out += " refund";
        if (!done->persist.settlement.empty()) out += " settlement";
    }
    if (!done->broadcast.empty()) out += "; broadcast";
    if (!done->send.empty()) out += "; send";
    for (const wire::message& m : done->send) out += " " + paychan_test::name_of(m);
    if (done->close) out += "; close";
    if (!done->notify.empty()) out += "; tell";
    for (const event& e : done->notify) out += std::string(" ") + paychan_test::name_of(e.kind);
    return out;
}

/// Version 2 has no refund to be signed by the server, and so no phase for it.
constexpr bool exists(client_phase p, std::int32_t version) { return version == 1 || p != client_phase::refund_sent; }
constexpr bool exists(server_phase p, std::int32_t version) { return version == 1 || p != server_phase::refund_signed; }

/// Both sides and a real conversation between them, kept at each phase and with one good message of each type.
struct conversation {
    explicit conversation(std::int32_t of_version) : version(of_version) {
        payer_settings.versions = payee_settings.versions = version_set::only(version);
        for (int i = 0; i < 2; ++i) payer_purse.add_coin(chain, satoshi{5'000'000});
        keep();
        client_does([&](client_channel& c) { return start<schemes>(c, client_env(), satoshi{1'000'000}); });
        keep();
        to_server(0);
        to_client(0);
        keep();
        to_client(1);
        keep();
        if (version == 1) {
            to_server(0);
            to_client(0);
            keep();
        }
        to_server(0);
        keep();
        accepted();
        keep();
        to_client(0);
        keep();
        client_does([&](client_channel& c) { return pay<schemes>(c, client_env(), satoshi{5'000}, {}); });
        keep_paying = client;
        to_server(0);
        keep();
        note(acknowledge(server, server.record.paid(), {}), from_server);
        to_client(0);
        client_does([&](client_channel& c) { return settle(c); });
        keep();
        to_server(0);
        keep();
        accepted();
        to_client(0);
        keep();
        samples[9] = encoded(wire::error_message{8, as_bytes("stop"), {}});
        samples[10] = encoded(wire::payment_ack{});  // good at any amount
        if (version == 2) {
            const conversation older(1);
            for (const message_type t : {message_type::provide_refund, message_type::return_refund})
                samples[static_cast<std::size_t>(t) - 1] = older.sample(t);
        }
        clients.try_emplace(client_phase::resuming, resumed_client());
    }

    [[nodiscard]] client_environment<memory_keys, coin_wallet> client_env() {
        return {payer_settings, payer_keys, payer_purse, now, min_relay_fee_rate, contract_memory};
    }
    struct store_of_one {
        const conversation& of;
        result<channel_record> operator()(const txid& id) const {
            if (of.known.stage == channel_stage::none || of.known.terms.contract.id != id)
                return fail(errc::not_found, "no such channel");
            return of.known;
        }
    };
    [[nodiscard]] server_environment<memory_keys, coin_wallet, store_of_one> server_env() {
        return {payee_settings, payee_keys, payee_purse, find, now, min_relay_fee_rate, settlement_memory};
    }

    /// The open channel on a new connection, up to the server's CHANNEL_OPEN.
    [[nodiscard]] client_channel resumed_client() {
        client_channel c;
        c.record = clients.at(client_phase::open).record;
        REQUIRE(start<schemes>(c, client_env(), satoshi{0}));
        REQUIRE(step<schemes>(c, client_env(), wire::server_version{version, 0}));
        REQUIRE(step<schemes>(c, client_env(), wire::channel_open{}));
        return c;
    }
    /// The server's end of a connection that resumes what is `known`.
    [[nodiscard]] server_channel resumed_server() {
        const bytes32 hash = display_bytes(known.terms.contract.id);
        wire::client_version hello{version, 0, {}, 86'340};
        hello.previous_channel_contract_hash = hash;
        server_channel s;
        REQUIRE(step<schemes>(s, server_env(), hello));
        return s;
    }

    [[nodiscard]] bytes sample(message_type t) const { return samples[static_cast<std::size_t>(t) - 1]; }
    [[nodiscard]] client_channel at(client_phase p) const { return clients.at(p); }
    [[nodiscard]] server_channel at(server_phase p) const { return servers.at(p); }
    [[nodiscard]] bool reached(client_phase p) const { return clients.contains(p); }
    [[nodiscard]] bool reached(server_phase p) const { return servers.contains(p); }
    /// The server's phase in which the contract comes.
    [[nodiscard]] server_phase awaits_contract() const {
        return version == 1 ? server_phase::refund_signed : server_phase::initiated;
    }

    std::int32_t version;

    memory_chain chain{now};
    client_settings payer_settings;
    server_settings payee_settings;
    memory_keys payer_keys = memory_keys::testing_from(1);
    memory_keys payee_keys = memory_keys::testing_from(2);
    coin_wallet payer_purse{1};
    coin_wallet payee_purse{2};
    bytes contract_memory = bytes(10'000);
    bytes settlement_memory = bytes(10'000);
    channel_record known;  // what the server has stored
    store_of_one find{*this};
    client_channel keep_paying;  // open, with a payment in flight

private:
    void keep() {
        clients.try_emplace(client.session.phase, client);
        servers.try_emplace(server.session.phase, server);
    }
    void note(const result<effects>& done, std::vector<bytes>& out) {
        REQUIRE(done);
        out.clear();
        for (const wire::message& m : done->send) {
            out.push_back(encoded(m));
            if (samples[m.index()].empty()) samples[m.index()] = out.back();
        }
    }
    template <class F>
    void client_does(F&& f) {
        note(f(client), from_client);
        if (from_client.size() == 1 && as<wire::close>(from_client[0])) samples[8] = from_client[0];
    }
    void to_server(std::size_t i) {
        note(step<schemes>(server, server_env(), decoded(from_client.at(i))), from_server);
    }
    void to_client(std::size_t i) {
        note(step<schemes>(client, client_env(), decoded(from_server.at(i))), from_client_next);
        if (!from_client_next.empty()) from_client = from_client_next;
    }
    void accepted() {
        note(on_broadcast(server, payee_settings, now, server.session.broadcast, broadcast_outcome::accepted),
             from_server);
    }

    client_channel client;
    server_channel server;
    std::vector<bytes> from_client, from_client_next, from_server;
    std::array<bytes, message_types> samples;
    std::map<client_phase, client_channel> clients;
    std::map<server_phase, server_channel> servers;
};

// The messages are good ones of a real conversation, so that what refuses them is the phase.
template <class Phase>
struct phase_row {
    Phase phase;
    message_type message;
    std::string_view expected;
    std::string_view in_version_2{};  // where that differs

    [[nodiscard]] constexpr std::string_view in(std::int32_t version) const {
        return version == 2 && !in_version_2.empty() ? in_version_2 : expected;
    }
};
using client_row = phase_row<client_phase>;
using server_row = phase_row<server_phase>;

constexpr std::string_view out_of_order = "SYNTAX_ERROR";
constexpr std::string_view peer_gave_up = "ended; close; tell error";

// clang-format off
constexpr auto client_table = [] {
    using enum client_phase;
    using enum message_type;
    using t = message_type;
    return std::array{
        client_row{idle, t::client_version, "idle"},
        client_row{idle, t::server_version, "idle"},
        client_row{idle, t::initiate, "idle"},
        client_row{idle, t::provide_refund, "idle"},
        client_row{idle, t::return_refund, "idle"},
        client_row{idle, t::provide_contract, "idle"},
        client_row{idle, t::channel_open, "idle"},
        client_row{idle, t::update_payment, "idle"},
        client_row{idle, t::close, "idle"},
        client_row{idle, t::error, "idle"},
        client_row{idle, t::payment_ack, "idle"},

        client_row{version_sent, t::client_version, out_of_order},
        client_row{version_sent, t::server_version, "version_agreed"},
        client_row{version_sent, t::initiate, out_of_order},
        client_row{version_sent, t::provide_refund, out_of_order},
        client_row{version_sent, t::return_refund, out_of_order},
        client_row{version_sent, t::provide_contract, out_of_order},
        client_row{version_sent, t::channel_open, out_of_order},
        client_row{version_sent, t::update_payment, out_of_order},
        client_row{version_sent, t::close, "ended; close"},
        client_row{version_sent, t::error, peer_gave_up},
        client_row{version_sent, t::payment_ack, out_of_order},

        client_row{version_agreed, t::client_version, out_of_order},
        client_row{version_agreed, t::server_version, out_of_order},
        client_row{version_agreed, t::initiate, "refund_sent; send PROVIDE_REFUND", "contract_sent; persist channel contract refund; send PROVIDE_CONTRACT; tell stored"},
        client_row{version_agreed, t::provide_refund, out_of_order},
        client_row{version_agreed, t::return_refund, out_of_order},
        client_row{version_agreed, t::provide_contract, out_of_order},
        client_row{version_agreed, t::channel_open, out_of_order},  // it asked for none to be resumed
        client_row{version_agreed, t::update_payment, out_of_order},
        client_row{version_agreed, t::close, "ended; close"},
        client_row{version_agreed, t::error, peer_gave_up},
        client_row{version_agreed, t::payment_ack, out_of_order},

        client_row{refund_sent, t::client_version, out_of_order},
        client_row{refund_sent, t::server_version, out_of_order},
        client_row{refund_sent, t::initiate, out_of_order},
        client_row{refund_sent, t::provide_refund, out_of_order},
        client_row{refund_sent, t::return_refund, "contract_sent; persist channel contract refund; send PROVIDE_CONTRACT; tell stored"},
        client_row{refund_sent, t::provide_contract, out_of_order},
        client_row{refund_sent, t::channel_open, out_of_order},
        client_row{refund_sent, t::update_payment, out_of_order},
        client_row{refund_sent, t::close, "ended; close"},
        client_row{refund_sent, t::error, peer_gave_up},
        client_row{refund_sent, t::payment_ack, out_of_order},

        client_row{contract_sent, t::client_version, out_of_order},
        client_row{contract_sent, t::server_version, out_of_order},
        client_row{contract_sent, t::initiate, out_of_order},
        client_row{contract_sent, t::provide_refund, out_of_order},
        client_row{contract_sent, t::return_refund, out_of_order},
        client_row{contract_sent, t::provide_contract, out_of_order},
        client_row{contract_sent, t::channel_open, "open; persist channel; tell opened"},
        client_row{contract_sent, t::update_payment, out_of_order},
        client_row{contract_sent, t::close, "ended; close"},
        client_row{contract_sent, t::error, peer_gave_up},
        client_row{contract_sent, t::payment_ack, out_of_order},

        client_row{resuming, t::client_version, out_of_order},
        client_row{resuming, t::server_version, out_of_order},
        client_row{resuming, t::initiate, out_of_order},
        client_row{resuming, t::provide_refund, out_of_order},
        client_row{resuming, t::return_refund, out_of_order},
        client_row{resuming, t::provide_contract, out_of_order},
        client_row{resuming, t::channel_open, out_of_order},
        client_row{resuming, t::update_payment, out_of_order},
        client_row{resuming, t::close, "ended; close"},
        client_row{resuming, t::error, peer_gave_up},
        client_row{resuming, t::payment_ack, "open; tell opened"},

        client_row{open, t::client_version, out_of_order},
        client_row{open, t::server_version, out_of_order},
        client_row{open, t::initiate, out_of_order},
        client_row{open, t::provide_refund, out_of_order},
        client_row{open, t::return_refund, out_of_order},
        client_row{open, t::provide_contract, out_of_order},
        client_row{open, t::channel_open, out_of_order},
        client_row{open, t::update_payment, out_of_order},
        client_row{open, t::close, "ended; close"},
        client_row{open, t::error, peer_gave_up},
        client_row{open, t::payment_ack, out_of_order},  // nothing awaits it; see the test of payments in flight

        client_row{settling, t::client_version, out_of_order},
        client_row{settling, t::server_version, out_of_order},
        client_row{settling, t::initiate, out_of_order},
        client_row{settling, t::provide_refund, out_of_order},
        client_row{settling, t::return_refund, out_of_order},
        client_row{settling, t::provide_contract, out_of_order},
        client_row{settling, t::channel_open, out_of_order},
        client_row{settling, t::update_payment, out_of_order},
        client_row{settling, t::close, "ended; close"},
        client_row{settling, t::error, peer_gave_up},
        client_row{settling, t::payment_ack, "settling"},

        client_row{ended, t::client_version, "ended"},
        client_row{ended, t::server_version, "ended"},
        client_row{ended, t::initiate, "ended"},
        client_row{ended, t::provide_refund, "ended"},
        client_row{ended, t::return_refund, "ended"},
        client_row{ended, t::provide_contract, "ended"},
        client_row{ended, t::channel_open, "ended"},
        client_row{ended, t::update_payment, "ended"},
        client_row{ended, t::close, "ended"},
        client_row{ended, t::error, "ended"},
        client_row{ended, t::payment_ack, "ended"},
    };
}();

constexpr auto server_table = [] {
    using enum server_phase;
    using t = message_type;
    return std::array{
        server_row{idle, t::client_version, "initiated; send SERVER_VERSION INITIATE"},
        server_row{idle, t::server_version, out_of_order},
        server_row{idle, t::initiate, out_of_order},
        server_row{idle, t::provide_refund, out_of_order},
        server_row{idle, t::return_refund, out_of_order},
        server_row{idle, t::provide_contract, out_of_order},
        server_row{idle, t::channel_open, out_of_order},
        server_row{idle, t::update_payment, out_of_order},
        server_row{idle, t::close, out_of_order},
        server_row{idle, t::error, peer_gave_up},
        server_row{idle, t::payment_ack, out_of_order},

        server_row{initiated, t::client_version, out_of_order},
        server_row{initiated, t::server_version, out_of_order},
        server_row{initiated, t::initiate, out_of_order},
        server_row{initiated, t::provide_refund, "refund_signed; send RETURN_REFUND", out_of_order},
        server_row{initiated, t::return_refund, out_of_order},
        server_row{initiated, t::provide_contract, out_of_order, "broadcasting; persist channel contract; broadcast; tell stored"},
        server_row{initiated, t::channel_open, out_of_order},
        server_row{initiated, t::update_payment, out_of_order},
        server_row{initiated, t::close, out_of_order},
        server_row{initiated, t::error, peer_gave_up},
        server_row{initiated, t::payment_ack, out_of_order},

        server_row{refund_signed, t::client_version, out_of_order},
        server_row{refund_signed, t::server_version, out_of_order},
        server_row{refund_signed, t::initiate, out_of_order},
        server_row{refund_signed, t::provide_refund, out_of_order},  // it signs one refund, and no second one
        server_row{refund_signed, t::return_refund, out_of_order},
        server_row{refund_signed, t::provide_contract, "broadcasting; persist channel contract; broadcast; tell stored"},
        server_row{refund_signed, t::channel_open, out_of_order},
        server_row{refund_signed, t::update_payment, out_of_order},
        server_row{refund_signed, t::close, out_of_order},
        server_row{refund_signed, t::error, peer_gave_up},
        server_row{refund_signed, t::payment_ack, out_of_order},

        server_row{broadcasting, t::client_version, out_of_order},
        server_row{broadcasting, t::server_version, out_of_order},
        server_row{broadcasting, t::initiate, out_of_order},
        server_row{broadcasting, t::provide_refund, out_of_order},
        server_row{broadcasting, t::return_refund, out_of_order},
        server_row{broadcasting, t::provide_contract, out_of_order},
        server_row{broadcasting, t::channel_open, out_of_order},
        server_row{broadcasting, t::update_payment, out_of_order},
        server_row{broadcasting, t::close, out_of_order},
        server_row{broadcasting, t::error, peer_gave_up},
        server_row{broadcasting, t::payment_ack, out_of_order},

        server_row{open, t::client_version, out_of_order},
        server_row{open, t::server_version, out_of_order},
        server_row{open, t::initiate, out_of_order},
        server_row{open, t::provide_refund, out_of_order},
        server_row{open, t::return_refund, out_of_order},
        server_row{open, t::provide_contract, out_of_order},
        server_row{open, t::channel_open, out_of_order},
        server_row{open, t::update_payment, "answering; persist channel; tell payment"},
        server_row{open, t::close, "settling; persist channel settlement; broadcast"},
        server_row{open, t::error, peer_gave_up},
        server_row{open, t::payment_ack, out_of_order},

        server_row{answering, t::client_version, out_of_order},
        server_row{answering, t::server_version, out_of_order},
        server_row{answering, t::initiate, out_of_order},
        server_row{answering, t::provide_refund, out_of_order},
        server_row{answering, t::return_refund, out_of_order},
        server_row{answering, t::provide_contract, out_of_order},
        server_row{answering, t::channel_open, out_of_order},
        server_row{answering, t::update_payment, out_of_order},
        server_row{answering, t::close, "settling; persist channel settlement; broadcast"},
        server_row{answering, t::error, peer_gave_up},
        server_row{answering, t::payment_ack, out_of_order},

        server_row{settling, t::client_version, out_of_order},
        server_row{settling, t::server_version, out_of_order},
        server_row{settling, t::initiate, out_of_order},
        server_row{settling, t::provide_refund, out_of_order},
        server_row{settling, t::return_refund, out_of_order},
        server_row{settling, t::provide_contract, out_of_order},
        server_row{settling, t::channel_open, out_of_order},
        server_row{settling, t::update_payment, "settling"},
        server_row{settling, t::close, "settling"},
        server_row{settling, t::error, peer_gave_up},
        server_row{settling, t::payment_ack, out_of_order},

        server_row{ended, t::client_version, "ended"},
        server_row{ended, t::server_version, "ended"},
        server_row{ended, t::initiate, "ended"},
        server_row{ended, t::provide_refund, "ended"},
        server_row{ended, t::return_refund, "ended"},
        server_row{ended, t::provide_contract, "ended"},
        server_row{ended, t::channel_open, "ended"},
        server_row{ended, t::update_payment, "ended"},
        server_row{ended, t::close, "ended"},
        server_row{ended, t::error, "ended"},
        server_row{ended, t::payment_ack, "ended"},
    };
}();

struct broadcast_row {
    server_phase phase;
    std::array<std::string_view, 3> expected;  // accepted, refused, unreachable
};
constexpr auto broadcast_table = [] {
    using enum server_phase;
    return std::array{
        broadcast_row{idle, {"idle", "idle", "idle"}},
        broadcast_row{initiated, {"initiated", "initiated", "initiated"}},
        broadcast_row{refund_signed, {"refund_signed", "refund_signed", "refund_signed"}},
        broadcast_row{broadcasting, {"open; persist channel; send CHANNEL_OPEN; tell payment opened", "BAD_TRANSACTION", "broadcasting"}},
        broadcast_row{open, {"open", "ended; persist channel; send ERROR; close; tell error", "open"}},
        broadcast_row{answering, {"answering", "ended; persist channel; send ERROR; close; tell error", "answering"}},
        broadcast_row{settling, {"ended; send CLOSE; close; tell settled", "OTHER", "settling"}},
        broadcast_row{ended, {"ended", "ended", "ended"}},
    };
}();

constexpr std::string_view not_now = "wrong_state";
constexpr std::string_view settles = "settling; persist channel settlement; broadcast";

struct server_input_row {
    server_phase phase;
    // Answers to the payment whose total is what was paid, and to another one; then the operator's word.
    std::string_view acknowledge, acknowledge_other, refuse, refuse_other, settle;
};
constexpr auto server_inputs = [] {
    using enum server_phase;
    return std::array{
        server_input_row{idle, not_now, not_now, not_now, not_now, not_now},
        server_input_row{initiated, not_now, not_now, not_now, not_now, not_now},
        server_input_row{refund_signed, not_now, not_now, not_now, not_now, not_now},
        server_input_row{broadcasting, not_now, not_now, not_now, not_now, not_now},
        server_input_row{open, not_now, not_now, not_now, not_now, settles},
        server_input_row{answering, "open; send PAYMENT_ACK", not_now, "ended; send ERROR; close; tell error", not_now, settles},
        server_input_row{settling, not_now, not_now, not_now, not_now, not_now},
        server_input_row{ended, not_now, not_now, not_now, not_now, not_now},
    };
}();

struct client_input_row {
    client_phase phase;
    std::string_view start, pay, settle;
};
constexpr auto client_inputs = [] {
    using enum client_phase;
    constexpr std::string_view gives_up = "ended; close";
    return std::array{
        client_input_row{idle, "version_sent; send CLIENT_VERSION", not_now, not_now},
        client_input_row{version_sent, not_now, not_now, gives_up},
        client_input_row{version_agreed, not_now, not_now, gives_up},
        client_input_row{refund_sent, not_now, not_now, gives_up},
        client_input_row{contract_sent, not_now, not_now, not_now},
        client_input_row{resuming, not_now, not_now, not_now},
        client_input_row{open, not_now, "open; persist channel; send UPDATE_PAYMENT", "settling; send CLOSE"},
        client_input_row{settling, not_now, not_now, not_now},
        client_input_row{ended, not_now, not_now, not_now},
    };
}();
// clang-format on

static_assert(client_table.size() == client_phases * message_types, "a row for each phase and message");
static_assert(server_table.size() == server_phases * message_types, "a row for each phase and message");
static_assert(broadcast_table.size() == server_phases, "a row for each phase");
static_assert(server_inputs.size() == server_phases, "a row for each phase");
static_assert(client_inputs.size() == client_phases, "a row for each phase");

/// Each pair once: with the right number of rows, none is missing then.
template <class Table>
constexpr bool in_order(const Table& rows) {
    for (std::size_t i = 0; i < rows.size(); ++i)
        if (static_cast<std::size_t>(rows[i].phase) != i / message_types ||
            static_cast<std::size_t>(rows[i].message) != i % message_types + 1)
            return false;
    return true;
}
static_assert(in_order(client_table));
static_assert(in_order(server_table));

bool same(const channel_record& a, const channel_record& b) {
    return equal(write_record(a).view(), write_record(b).view());
}

}  // namespace

TEST_CASE("the client does in every phase what the table says to every message", "[channel][table]") {
    conversation talk(each_version());
    for (const client_row& r : client_table) {
        REQUIRE(talk.reached(r.phase) == exists(r.phase, talk.version));
        if (!exists(r.phase, talk.version)) continue;
        INFO(name_of(r.phase) << " gets " << message_names[static_cast<std::size_t>(r.message) - 1]);
        client_channel next = talk.at(r.phase);
        const bytes frame = talk.sample(r.message);
        const auto done = step<schemes>(next, talk.client_env(), decoded(frame));
        CHECK(in_brief(done, next) == r.in(talk.version));
        // What is not written is not changed: a record in memory that the disk does not know would be forgotten.
        if (done && !done->persist.channel && next.record.stage != channel_stage::none)
            CHECK(same(next.record, talk.at(r.phase).record));
        if (done && done->persist.channel) CHECK(next.record.version == talk.at(r.phase).record.version + 1);
    }
}

TEST_CASE("the server does in every phase what the table says to every message", "[channel][table]") {
    conversation talk(each_version());
    for (const server_row& r : server_table) {
        REQUIRE(talk.reached(r.phase) == exists(r.phase, talk.version));
        if (!exists(r.phase, talk.version)) continue;
        INFO(name_of(r.phase) << " gets " << message_names[static_cast<std::size_t>(r.message) - 1]);
        server_channel next = talk.at(r.phase);
        const bytes frame = talk.sample(r.message);
        const auto done = step<schemes>(next, talk.server_env(), decoded(frame));
        CHECK(in_brief(done, next) == r.in(talk.version));
        if (done && !done->persist.channel && next.record.stage != channel_stage::none)
            CHECK(same(next.record, talk.at(r.phase).record));
        if (done && done->persist.channel) CHECK(next.record.version == talk.at(r.phase).record.version + 1);
    }
}

TEST_CASE("the server does in every phase what the table says to every outcome of a broadcast", "[channel][table]") {
    conversation talk(each_version());
    for (const broadcast_row& r : broadcast_table)
        for (std::size_t i = 0; i < 3 && exists(r.phase, talk.version); ++i) {
            INFO(name_of(r.phase) << " hears outcome " << i);
            server_channel next = talk.at(r.phase);
            const auto done =
                on_broadcast(next, talk.payee_settings, now, next.session.broadcast, static_cast<broadcast_outcome>(i));
            CHECK(in_brief(done, next) == r.expected[i]);

            server_channel other = talk.at(r.phase);  // another connection's transaction
            const auto passed =
                on_broadcast(other, talk.payee_settings, now, txid{bytes32{7}}, static_cast<broadcast_outcome>(i));
            CHECK(in_brief(passed, other) == name_of(r.phase));
        }
}

TEST_CASE("the server takes no payment after its node was away, until that has the contract", "[channel][table]") {
    conversation talk(each_version());
    const auto hears = [&](server_channel& next, broadcast_outcome outcome) {
        return in_brief(on_broadcast(next, talk.payee_settings, now, next.record.terms.contract.id, outcome), next);
    };
    for (std::size_t i = 0; i < server_phases; ++i) {
        const auto phase = static_cast<server_phase>(i);
        if (!exists(phase, talk.version)) continue;
        INFO(name_of(phase));
        server_channel next = talk.at(phase);
        const std::uint64_t version = next.record.version;
        if (!is_open(phase)) {
            CHECK(in_brief(on_node_returned(next, true), next) == name_of(phase));
            continue;
        }
        server_channel unproven = next;
        unproven.session.proven = false;
        CHECK(in_brief(on_node_returned(unproven, true), unproven) == name_of(phase));
        CHECK(is_in_doubt(unproven));
        CHECK(hears(unproven, broadcast_outcome::accepted) == name_of(phase));
        CHECK_FALSE(is_in_doubt(unproven));
        CHECK(unproven.record.version == version);
        server_channel remembered = next;
        CHECK(in_brief(on_node_returned(remembered, false), remembered) == name_of(phase));
        CHECK(is_in_doubt(remembered));
        CHECK(in_brief(on_node_returned(next, true), next) == std::string(name_of(phase)) + "; persist channel");
        CHECK(next.record.stage == channel_stage::unbacked);
        CHECK(next.record.version == version + 1);
        CHECK(is_in_doubt(next));
        CHECK(in_brief(on_node_returned(next, true), next) == name_of(phase));  // once
        CHECK(hears(next, broadcast_outcome::unreachable) == name_of(phase));
        server_channel refused = next;
        CHECK(hears(refused, broadcast_outcome::refused) == "ended; persist channel; send ERROR; close; tell error");
        if (phase == server_phase::answering) {  // that one is on disk
            CHECK(in_brief(acknowledge(next, next.record.paid(), {}), next) == "open; send PAYMENT_ACK");
        } else {
            const bytes payment = talk.sample(message_type::update_payment);
            server_channel paid = next;
            CHECK(in_brief(step<schemes>(paid, talk.server_env(), decoded(payment)), paid) == "OTHER");
        }
        CHECK(hears(next, broadcast_outcome::accepted) == "open; persist channel");
        CHECK(next.record.stage == channel_stage::open);
        CHECK_FALSE(is_in_doubt(next));
        CHECK(hears(next, broadcast_outcome::accepted) == "open");
    }
}

TEST_CASE("the server does in every phase what the table says to its application and its operator",
          "[channel][table]") {
    conversation talk(each_version());
    for (const server_input_row& r : server_inputs) {
        if (!exists(r.phase, talk.version)) continue;
        INFO(name_of(r.phase));
        const auto does = [&](auto&& input) {
            server_channel next = talk.at(r.phase);
            const auto done = input(next);
            const std::string said = in_brief(done, next);
            if (!done || !done->persist.channel) CHECK(same(next.record, talk.at(r.phase).record));
            if (done && done->persist.channel) CHECK(next.record.version == talk.at(r.phase).record.version + 1);
            return said;
        };
        const satoshi total = talk.at(r.phase).record.paid();
        const satoshi other{total.value + 1};
        CHECK(does([&](auto& c) { return acknowledge(c, total, {}); }) == r.acknowledge);
        CHECK(does([&](auto& c) { return acknowledge(c, other, {}); }) == r.acknowledge_other);
        CHECK(does([&](auto& c) { return refuse(c, total, "no"); }) == r.refuse);
        CHECK(does([&](auto& c) { return refuse(c, other, "no"); }) == r.refuse_other);
        CHECK(does([&](auto& c) { return settle<schemes>(c, talk.server_env()); }) == r.settle);
    }
}

TEST_CASE("the client does in every phase what the table says to its application", "[channel][table]") {
    conversation talk(each_version());
    for (const client_input_row& r : client_inputs) {
        if (!exists(r.phase, talk.version)) continue;
        INFO(name_of(r.phase));
        const auto does = [&](auto&& input) {
            client_channel next = talk.at(r.phase);
            const auto done = input(next);
            if (!done || !done->persist.channel) CHECK(same(next.record, talk.at(r.phase).record));
            if (done && done->persist.channel) CHECK(next.record.version == talk.at(r.phase).record.version + 1);
            return in_brief(done, next);
        };
        CHECK(does([&](auto& c) { return start<schemes>(c, talk.client_env(), satoshi{1'000'000}); }) == r.start);
        CHECK(does([&](auto& c) { return pay<schemes>(c, talk.client_env(), satoshi{10}, {}); }) == r.pay);
        CHECK(does([&](auto& c) { return settle(c); }) == r.settle);
    }
}

namespace {

/// What a client that resumes does with each message behind SERVER_VERSION; see the next test for CHANNEL_OPEN.
// clang-format off
constexpr auto resuming_client_table = [] {
    using t = message_type;
    struct message_row { message_type message; std::string_view expected; };
    return std::array{
        message_row{t::client_version, out_of_order},
        message_row{t::server_version, out_of_order},
        message_row{t::initiate, "not_found"},  // the server forgot the channel, and no other one was offered
        message_row{t::provide_refund, out_of_order},
        message_row{t::return_refund, out_of_order},
        message_row{t::provide_contract, out_of_order},
        message_row{t::channel_open, "resuming; send UPDATE_PAYMENT"},
        message_row{t::update_payment, out_of_order},
        message_row{t::close, "ended; close"},
        message_row{t::error, peer_gave_up},
        message_row{t::payment_ack, out_of_order},
    };
}();
// clang-format on
static_assert(resuming_client_table.size() == message_types, "a row for each message");

}  // namespace

TEST_CASE("a client that resumes does what the table says to every message behind SERVER_VERSION", "[channel][table]") {
    conversation talk(each_version());
    client_channel waiting;
    waiting.record = talk.at(client_phase::open).record;
    REQUIRE(start<schemes>(waiting, talk.client_env(), satoshi{0}));
    REQUIRE(step<schemes>(waiting, talk.client_env(), wire::server_version{talk.version, 0}));
    for (const auto& r : resuming_client_table) {
        INFO("gets " << message_names[static_cast<std::size_t>(r.message) - 1]);
        client_channel next = waiting;
        const bytes frame = talk.sample(r.message);
        CHECK(in_brief(step<schemes>(next, talk.client_env(), decoded(frame)), next) == r.expected);
        CHECK(same(next.record, waiting.record));
    }
}

TEST_CASE("a client that resumes does by what the server holds", "[channel][table]") {
    conversation talk(each_version());
    const channel_record first = talk.at(client_phase::open).record;  // 1,000 were paid
    const channel_record second = talk.keep_paying.record;            // 6,000
    bytes bad = owned(second.signature.view());
    bad[10] ^= 1;
    struct row {
        const char* what;
        const channel_record& ours;
        std::optional<wire::resume_state> theirs;
        std::string_view expected, expected_before_open;
    };
    const auto claim = [](const channel_record& r) { return resume_state_of(r); };
    const std::array rows{
        row{"it does not say", second, std::nullopt, "resuming; send UPDATE_PAYMENT",
            "resuming; persist channel; send UPDATE_PAYMENT"},
        row{"the same", second, claim(second), "open; tell opened", "open; persist channel; tell opened"},
        row{"less", second, claim(first), "resuming; send UPDATE_PAYMENT",
            "resuming; persist channel; send UPDATE_PAYMENT"},
        row{"more, with our signature", first, claim(second), "open; persist channel; tell opened",
            "open; persist channel; tell opened"},
        row{"more, with a spoiled signature", first,
            wire::resume_state{static_cast<std::uint64_t>(second.change.value), bad}, "BAD_TRANSACTION",
            "BAD_TRANSACTION"},
        row{"more than the signature says", first,
            wire::resume_state{static_cast<std::uint64_t>(second.change.value - 1), second.signature.view()},
            "BAD_TRANSACTION", "BAD_TRANSACTION"},
    };
    for (const row& r : rows)
        for (const channel_stage stage : {channel_stage::open, channel_stage::contract_stored}) {
            INFO(r.what << ", stage " << static_cast<int>(stage));
            client_channel next;
            next.record = r.ours;
            next.record.stage = stage;
            REQUIRE(start<schemes>(next, talk.client_env(), satoshi{0}));
            REQUIRE(step<schemes>(next, talk.client_env(), wire::server_version{talk.version, 0}));
            const auto done = step<schemes>(next, talk.client_env(), wire::channel_open{r.theirs});
            CHECK(in_brief(done, next) == (stage == channel_stage::open ? r.expected : r.expected_before_open));
            if (!done) continue;
            CHECK(next.record.version == r.ours.version + (done->persist.channel ? 1 : 0));
            CHECK(next.record.change == second.change);  // the least that was ever signed
        }
}

TEST_CASE("a client with a payment in flight takes one ack for it, also while it settles", "[channel][table]") {
    conversation talk(each_version());
    const wire::message ack = wire::payment_ack{};
    client_channel next = talk.keep_paying;
    const auto first = step<schemes>(next, talk.client_env(), ack);
    CHECK(in_brief(first, next) == "open; tell acked");
    CHECK(first->notify[0].amount == satoshi{5'000});
    CHECK(first->notify[0].total == satoshi{6'000});
    CHECK(in_brief(step<schemes>(next, talk.client_env(), ack), next) == out_of_order);

    next = talk.keep_paying;
    REQUIRE(settle(next));
    CHECK(in_brief(step<schemes>(next, talk.client_env(), ack), next) == "settling; tell acked");
    CHECK(in_brief(step<schemes>(next, talk.client_env(), ack), next) == "settling");
}

TEST_CASE("a settlement on CLOSE is stored in every phase that has a contract", "[channel][table]") {
    conversation talk(each_version());
    const bytes settlement = owned(talk.at(server_phase::settling).session.settlement);
    const auto settled = parse_transaction(settlement).value().id();
    for (const client_phase p :
         {client_phase::contract_sent, client_phase::resuming, client_phase::open, client_phase::settling}) {
        INFO(name_of(p));
        client_channel next = talk.at(p);
        const auto done = step<schemes>(next, talk.client_env(), wire::close{settlement});
        CHECK(in_brief(done, next) == "ended; persist channel; close; tell settled");
        CHECK(next.record.stage == channel_stage::settling);
        CHECK(next.record.closing == settled);
    }
    for (const client_phase p : {client_phase::version_sent, client_phase::version_agreed, client_phase::refund_sent}) {
        if (!exists(p, talk.version)) continue;
        INFO(name_of(p));
        client_channel next = talk.at(p);
        const auto done = step<schemes>(next, talk.client_env(), wire::close{settlement});
        CHECK(in_brief(done, next) == "ended; close");
    }
}

TEST_CASE("the server settles at once when a payment takes all there is", "[channel][table]") {
    conversation talk(each_version());
    client_channel payer = talk.at(client_phase::open);
    server_channel payee = talk.at(server_phase::open);
    const auto all = pay<schemes>(payer, talk.client_env(), payer.record.change, {});
    REQUIRE(all);
    const auto done = step<schemes>(payee, talk.server_env(), all->send[0]);
    CHECK(in_brief(done, payee) == "answering; persist channel; tell payment");
    CHECK_FALSE(is_exhausted(payee));  // the application has not answered yet
    REQUIRE(acknowledge(payee, payee.record.paid(), {}));
    CHECK(is_exhausted(payee));
    const auto settled = settle<schemes>(payee, talk.server_env());
    CHECK(in_brief(settled, payee) == "settling; persist channel settlement; broadcast");
}

TEST_CASE("a channel is resumed by its contract's txid in display order", "[channel][table]") {
    conversation talk(each_version());
    talk.payer_settings.extensions = false;  // with them: resume.cpp
    const server_channel stored = talk.at(server_phase::open);
    talk.known = stored.record;
    client_channel payer;
    payer.record = talk.at(client_phase::open).record;
    const auto hello = start<schemes>(payer, talk.client_env(), satoshi{0});
    REQUIRE(hello);
    const auto& asked = std::get<wire::client_version>(hello->send[0]);
    REQUIRE(asked.previous_channel_contract_hash);
    CHECK(owned(*asked.previous_channel_contract_hash) == owned(display_bytes(stored.record.terms.contract.id)));

    server_channel payee;
    const auto answer = step<schemes>(payee, talk.server_env(), hello->send[0]);
    CHECK(in_brief(answer, payee) == "open; send SERVER_VERSION CHANNEL_OPEN; tell opened");
    CHECK(same(payee.record, stored.record));
    REQUIRE(step<schemes>(payer, talk.client_env(), answer->send[0]));
    const auto again = step<schemes>(payer, talk.client_env(), answer->send[1]);
    CHECK(in_brief(again, payer) == "resuming; send UPDATE_PAYMENT");
    CHECK_FALSE(payee.session.proven);
    const auto ack = step<schemes>(payee, talk.server_env(), again->send[0]);
    CHECK(in_brief(ack, payee) == "open; send PAYMENT_ACK");  // it is on disk already
    CHECK(payee.session.proven);
    CHECK(in_brief(step<schemes>(payer, talk.client_env(), ack->send[0]), payer) == "open; tell opened");

    SECTION("one whose contract no node has taken yet awaits that") {
        talk.known.stage = channel_stage::contract_stored;
        server_channel waiting;
        CHECK(in_brief(step<schemes>(waiting, talk.server_env(), hello->send[0]), waiting) ==
              "broadcasting; send SERVER_VERSION; tell stored");
        CHECK(in_brief(on_broadcast(waiting, talk.payee_settings, now, waiting.session.broadcast,
                                    broadcast_outcome::accepted),
                       waiting) == "open; persist channel; send CHANNEL_OPEN; tell payment opened");
    }
    SECTION("one whose contract the network refused meanwhile awaits that it takes it, and tells no payment twice") {
        talk.known.stage = channel_stage::unbacked;
        server_channel waiting;
        CHECK(in_brief(step<schemes>(waiting, talk.server_env(), hello->send[0]), waiting) ==
              "broadcasting; send SERVER_VERSION; tell stored");
        CHECK(in_brief(step<schemes>(waiting, talk.server_env(), again->send[0]), waiting) == out_of_order);
        server_channel refused = waiting;
        CHECK(in_brief(on_broadcast(refused, talk.payee_settings, now, refused.session.broadcast,
                                    broadcast_outcome::refused),
                       refused) == "BAD_TRANSACTION");
        CHECK(in_brief(on_broadcast(waiting, talk.payee_settings, now, waiting.session.broadcast,
                                    broadcast_outcome::accepted),
                       waiting) == "open; persist channel; send CHANNEL_OPEN; tell opened");
        CHECK(waiting.record.stage == channel_stage::open);
    }
    SECTION("one that is settling is offered a new channel") {
        talk.known.stage = channel_stage::settling;
        server_channel other;
        CHECK(in_brief(step<schemes>(other, talk.server_env(), hello->send[0]), other) ==
              "initiated; send SERVER_VERSION INITIATE");
    }
    SECTION("one that the server settles by itself any moment is offered a new channel") {
        server_channel other;
        auto late = talk.server_env();
        late.now = talk.known.terms.expiry + -talk.payee_settings.settle_margin;
        CHECK(in_brief(step<schemes>(other, late, hello->send[0]), other) == "initiated; send SERVER_VERSION INITIATE");
    }
    SECTION("the bytes in the other order name no channel") {
        const bytes32 internal = stored.record.terms.contract.id.bytes;
        wire::client_version m = asked;
        m.previous_channel_contract_hash = internal;
        server_channel other;
        CHECK(in_brief(step<schemes>(other, talk.server_env(), m), other) == "initiated; send SERVER_VERSION INITIATE");
    }
    SECTION("a store that cannot be read is no reason to open a second channel") {
        talk.known.stage = channel_stage::none;
        auto broken = [](const txid&) -> result<channel_record> { return fail(errc::store_failed, "disk"); };
        const server_environment<memory_keys, coin_wallet, decltype(broken)> env{
            talk.payee_settings, talk.payee_keys, talk.payee_purse, broken, now, min_relay_fee_rate, {}};
        server_channel other;
        CHECK(in_brief(step<schemes>(other, env, hello->send[0]), other) == "store_failed");
    }
}

TEST_CASE("a contract that comes when its expiry is near is refused", "[channel][server]") {
    conversation talk(each_version());
    server_channel payee = talk.at(talk.awaits_contract());
    auto late = talk.server_env();
    late.now = payee.record.terms.expiry + -talk.payee_settings.settle_margin;
    const bytes contract = talk.sample(message_type::provide_contract);
    CHECK(in_brief(step<schemes>(payee, late, decoded(contract)), payee) == "TIME_WINDOW_UNACCEPTABLE");
    payee = talk.at(talk.awaits_contract());
    late.now = late.now + -1;
    CHECK(step<schemes>(payee, late, decoded(contract)));
}

TEST_CASE("a contract that a channel rests on already opens no second one", "[channel][server]") {
    conversation talk(each_version());
    server_channel payee = talk.at(talk.awaits_contract());
    talk.known = talk.at(server_phase::open).record;
    const bytes contract = talk.sample(message_type::provide_contract);
    const auto refused = step<schemes>(payee, talk.server_env(), decoded(contract));
    REQUIRE_FALSE(refused);
    CHECK(refused.error() == error{errc::bad_transaction, "this contract is in use already"});
}

TEST_CASE("a client that resumes neither pays nor settles before the server acked what it has", "[channel][table]") {
    conversation talk(each_version());
    client_channel c = talk.at(client_phase::resuming);
    const channel_record before = c.record;
    const auto paid = pay<schemes>(c, talk.client_env(), satoshi{1}, {});
    REQUIRE_FALSE(paid);
    CHECK(paid.error().code == errc::wrong_state);
    const auto settled = settle(c);
    REQUIRE_FALSE(settled);
    CHECK(settled.error().code == errc::wrong_state);
    CHECK(same(c.record, before));
    REQUIRE(step<schemes>(c, talk.client_env(), wire::payment_ack{}));
    CHECK(pay<schemes>(c, talk.client_env(), satoshi{1}, {}));
}

TEST_CASE("a CLOSE settles a resumed channel only after a payment of its client", "[channel][table]") {
    conversation talk(each_version());
    talk.known = talk.at(server_phase::open).record;
    server_channel payee = talk.resumed_server();
    REQUIRE(payee.session.phase == server_phase::open);
    const wire::message close = wire::close{};
    const wire::message last = paychan::detail::payment_message(talk.known, {});
    SECTION("no payment") {
        CHECK(in_brief(step<schemes>(payee, talk.server_env(), close), payee) == "ended; send CLOSE; close");
        CHECK(same(payee.record, talk.known));
    }
    SECTION("the last payment again") {
        CHECK(in_brief(step<schemes>(payee, talk.server_env(), last), payee) == "open; send PAYMENT_ACK");
        CHECK(in_brief(step<schemes>(payee, talk.server_env(), close), payee) ==
              "settling; persist channel settlement; broadcast");
    }
    SECTION("another payment") {
        client_channel payer = talk.at(client_phase::open);
        const auto paid = pay<schemes>(payer, talk.client_env(), satoshi{10}, {});
        REQUIRE(paid);
        CHECK(in_brief(step<schemes>(payee, talk.server_env(), paid->send[0]), payee) ==
              "answering; persist channel; tell payment");
        CHECK(in_brief(step<schemes>(payee, talk.server_env(), close), payee) ==
              "settling; persist channel settlement; broadcast");
    }
    SECTION("a payment that is none") {
        wire::update_payment bad = std::get<wire::update_payment>(last);
        bad.client_change_value -= 1;
        server_channel refused = payee;
        CHECK(in_brief(step<schemes>(refused, talk.server_env(), bad), refused) == "BAD_TRANSACTION");
        CHECK_FALSE(refused.session.proven);
    }
    SECTION("as the reference does it, where the operator wants that") {
        talk.payee_settings.unproven_close = unproven_close_rule::settles;
        CHECK(in_brief(step<schemes>(payee, talk.server_env(), close), payee) ==
              "settling; persist channel settlement; broadcast");
    }
    SECTION("the operator needs no proof") {
        CHECK(in_brief(settle<schemes>(payee, talk.server_env()), payee) ==
              "settling; persist channel settlement; broadcast");
    }
}

TEST_CASE("payments that come so near to the expiry that no settlement might be mined are refused",
          "[channel][server]") {
    conversation talk(each_version());
    const bytes payment = talk.sample(message_type::update_payment);
    server_channel payee = talk.at(server_phase::open);
    auto late = talk.server_env();
    late.now = payee.record.terms.expiry + -talk.payee_settings.settle_margin;
    CHECK(in_brief(step<schemes>(payee, late, decoded(payment)), payee) == "TIME_WINDOW_UNACCEPTABLE");
    payee = talk.at(server_phase::open);
    late.now = late.now + -1;
    CHECK(in_brief(step<schemes>(payee, late, decoded(payment)), payee) == "answering; persist channel; tell payment");
}

TEST_CASE("a contract of more than 10,000 bytes is refused before it is read", "[channel][server]") {
    conversation talk(each_version());
    const auto text_for = [&](std::size_t size) {
        const bytes contract(size, 0);
        const bytes frame = talk.sample(message_type::provide_contract);
        auto m = std::get<wire::provide_contract>(decoded(frame));
        m.tx = contract;
        server_channel payee = talk.at(talk.awaits_contract());
        const auto refused = step<schemes>(payee, talk.server_env(), m);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == errc::bad_transaction);
        return std::string(refused.error().text);
    };
    CHECK(text_for(10'001) == "the contract is too long: fund it from fewer inputs");
    CHECK(text_for(10'000) == "the contract is not a transaction");
}

TEST_CASE("what a peer has only claimed is in no event", "[channel][server]") {
    conversation talk(each_version());
    channel_record claimed = talk.at(server_phase::open).record;
    claimed.stage = channel_stage::none;
    const event nothing = paychan::detail::event_of(event_kind::error, claimed);
    CHECK(nothing.channel == txid{});
    CHECK(nothing.total == satoshi{0});
    for (const server_phase p : {server_phase::idle, server_phase::initiated, talk.awaits_contract()})
        CHECK(paychan::detail::event_of(event_kind::closed, talk.at(p).record).channel == txid{});
    claimed.stage = channel_stage::unbacked;
    CHECK(paychan::detail::event_of(event_kind::error, claimed).channel == claimed.terms.contract.id);
}
