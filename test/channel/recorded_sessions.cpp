// Sessions of bitcoinj 0.14.7, played against our server and our client with the same keys, clock and contract: we send
// the same bytes, but for the differences listed here with their reasons.
#include <catch2/catch.hpp>
#include <filesystem>

#include "paychan/client.hpp"
#include "paychan/memory/clock.hpp"
#include "paychan/memory/keys.hpp"
#include "paychan/memory/store.hpp"
#include "paychan/server.hpp"
#include "support/events.hpp"
#include "support/wire.hpp"

using namespace paychan;
using namespace paychan_test;
using nlohmann::json;

namespace {

enum class side : std::uint8_t { server, client };

/// Where we send something else than the reference.
struct difference {
    std::string_view session;
    side who;
    std::size_t index;  // of the frame, counted over the session and this side
    std::string_view reference;
    std::string_view ours;  // empty: nothing
    std::string_view why;
    bool last = false;  // the conversations have parted: what follows is not compared
};

constexpr std::string_view no_ack_info = "our server cannot put an application's bytes into an ack yet";
constexpr std::string_view below_minimum = "we: the first payment must be what INITIATE demanded";
constexpr std::string_view any_minimum = "we: a minimum up to a limit is accepted, not one's own value alone";

constexpr std::array differences{
    difference{"info_ack", side::server, 4, "PAYMENT_ACK order-1", "PAYMENT_ACK", no_ack_info},
    difference{"info_ack", side::server, 5, "PAYMENT_ACK order-2", "PAYMENT_ACK", no_ack_info},
    difference{"info_ack", side::server, 6, "PAYMENT_ACK order-3", "PAYMENT_ACK", no_ack_info},
    difference{"raw_good", side::server, 4, "PAYMENT_ACK i0", "PAYMENT_ACK", no_ack_info},
    difference{"raw_good", side::server, 5, "PAYMENT_ACK i1", "PAYMENT_ACK", no_ack_info},
    difference{"raw_good", side::server, 6, "PAYMENT_ACK i2", "PAYMENT_ACK", no_ack_info},
    difference{"raw_initial_one", side::server, 3, "CHANNEL_OPEN", "ERROR BAD_TRANSACTION", below_minimum, true},
    difference{"raw_initial_zero", side::server, 3, "CHANNEL_OPEN", "ERROR BAD_TRANSACTION", below_minimum, true},
    difference{"raw_contract_trailing_byte", side::server, 3, "CHANNEL_OPEN", "ERROR BAD_TRANSACTION",
               "what follows a transaction is not part of it, and no node would take it", true},
    difference{"raw_refund_other_contract", side::server, 3, "CHANNEL_OPEN", "ERROR BAD_TRANSACTION",
               "we: the refund that was signed must spend the contract that follows", true},
    difference{"raw_settle_high_s", side::server, 5, "CLOSE with settlement", "CLOSE with settlement",
               "we: a high S is made low before it is stored, or no node would relay the settlement"},
    difference{"raw_close_after_version", side::server, 2, "", "ERROR SYNTAX_ERROR",
               "we: a message out of order is told so; the reference hangs up without a word"},
    difference{"server_settle", side::server, 9, "CLOSE", "CLOSE with settlement",
               "we: the settlement is in the CLOSE that the server begins, too"},
    difference{"fake_min_payment_999", side::client, 1, "ERROR MIN_PAYMENT_TOO_LARGE 1000", "PROVIDE_REFUND",
               any_minimum, true},
    difference{"fake_min_payment_1001", side::client, 1, "ERROR MIN_PAYMENT_TOO_LARGE 1000", "PROVIDE_REFUND",
               any_minimum, true},
    difference{"client_insufficient_money", side::client, 1, "", "ERROR OTHER",
               "the reference hangs up without a word"},
};

/// Where our client, before it goes on with a resumed channel, sends its last payment again and awaits the ack; the
/// reference's does not, and never learns of a payment that was lost.  The reference's server acks an equal payment, as
/// raw_pay_same_again shows.  The exchange is played here, and taken out of what is compared.
constexpr std::array<std::string_view, 2> last_payment_sent_again{"mitm_payment_lost_then_resume", "resume"};

/// The frame in words: what must be equal where bytes need not be.
std::string in_brief(const bytes& frame) {
    const auto m = wire::small_codec::decode(frame);
    if (!m) return "a frame that does not parse";
    std::string out = name_of(*m);
    if (const auto* e = std::get_if<wire::error_message>(&*m)) {
        out += " " + std::string(name(static_cast<errc>(e->code)));
        if (e->expected_value) out += " " + std::to_string(*e->expected_value);
    }
    if (const auto* c = std::get_if<wire::close>(&*m); c && c->settlement) out += " with settlement";
    if (const auto* a = std::get_if<wire::payment_ack>(&*m); a && a->info) out += " " + text_of(*a->info);
    return out;
}

const difference* find_difference(const std::string& session, side who, std::size_t index) {
    for (const difference& d : differences)
        if (d.session == session && d.who == who && d.index == index) return &d;
    return nullptr;
}

struct session {
    explicit session(const std::string& name) : file(read_vectors("bitcoinj/" + name + ".v1.json")) {}

    json file;

    [[nodiscard]] unix_time time() const {
        const json& t = file["time"];
        return {t.is_string() ? std::stoll(t.get<std::string>()) : t.get<std::int64_t>()};
    }
    [[nodiscard]] std::vector<bytes32> private_keys(std::string_view from) const {
        std::vector<bytes32> out;
        for (const json& key : file["keys"])
            if (key.value("from", "") == from) {
                bytes32& k = out.emplace_back();
                (void)from_hex(key["priv"].get<std::string>(), k);
            }
        return out;
    }
    /// run  0, or 1 for the client that comes back
    [[nodiscard]] json option(side who, const char* name, std::size_t run = 0) const {
        for (const json& o : file["options"])
            if (o["role"] == (who == side::server ? "server" : "client") && run-- == 0) return o.value(name, json{});
        return {};
    }
    [[nodiscard]] std::int64_t number(side who, const char* name, std::int64_t otherwise, std::size_t run = 0) const {
        const json o = option(who, name, run);
        return o.is_string() ? std::stoll(o.get<std::string>()) : otherwise;
    }
    [[nodiscard]] bool is_real(side who) const {
        const std::string is = file["reference_is"];
        return is == "both" || is == (who == side::server ? "server" : "client");
    }
    /// The frames that reached the other side: as they were sent, or what a proxy made of them.
    [[nodiscard]] static std::vector<bytes> delivered(const json& e) {
        if (!e.contains("forwarded_raw")) return {unhex(e["frame"].get<std::string>())};
        std::vector<bytes> out;
        for (const json& raw : e["forwarded_raw"]) {
            const bytes b = unhex(raw.get<std::string>());
            if (b.size() > 4) out.emplace_back(b.begin() + 4, b.end());
        }
        return out;
    }
};

/// Compares what we sent with what the reference sent, frame by frame.
void compare(const std::string& name, side who, const std::vector<bytes>& reference, const std::vector<bytes>& ours) {
    for (std::size_t i = 0; i < std::max(reference.size(), ours.size()); ++i) {
        const std::string theirs_brief = i < reference.size() ? in_brief(reference[i]) : "";
        const std::string ours_brief = i < ours.size() ? in_brief(ours[i]) : "";
        INFO(name << ", " << (who == side::server ? "server" : "client") << "'s frame " << i);
        if (const difference* d = find_difference(name, who, i)) {
            INFO(d->why);
            CHECK(theirs_brief == d->reference);
            CHECK(ours_brief == d->ours);
            if (d->last) return;
            continue;
        }
        CHECK(ours_brief == theirs_brief);
        if (i >= reference.size() || i >= ours.size()) continue;
        if (as<wire::error_message>(reference[i])) continue;  // explanations are our own
        CHECK(hex(ours[i]) == hex(reference[i]));
    }
}

std::vector<std::string> all_sessions() {
    std::vector<std::string> out;
    for (const auto& f : std::filesystem::directory_iterator(std::string(PAYCHAN_TEST_VECTORS) + "/bitcoinj")) {
        const std::string file = f.path().filename();
        if (const std::size_t end = file.find(".v1.json"); end != std::string::npos) out.push_back(file.substr(0, end));
    }
    std::ranges::sort(out);
    return out;
}

std::vector<std::string> sessions_of(side who) {
    std::vector<std::string> out = all_sessions();
    std::erase_if(out, [&](const std::string& name) { return !session(name).is_real(who); });
    return out;
}

/// All contracts of the recordings.  The same keys and coins give the same one, also in a session that ends before it is
/// shown.
const std::vector<bytes>& recorded_contracts() {
    static const std::vector<bytes> all = [] {
        std::vector<bytes> out;
        for (const std::string& name : all_sessions())
            if (const session s(name); s.is_real(side::client))
                for (const json& c : s.file["channels"])
                    if (c.contains("contract")) out.push_back(unhex(c["contract"].get<std::string>()));
        return out;
    }();
    return all;
}

/// A wallet whose money the recordings decide on.
struct recorded_wallet {
    satoshi funds = max_money;
    script_buffer payout;

    result<bytes_view> fund(bytes_view script, satoshi amount, fee_rate, bytes_span memory) const {
        for (const bytes& contract : recorded_contracts()) {
            const auto tx = parse_transaction(contract).value();
            const tx_output out = tx.output(0).value();
            if (amount > funds || out.value != amount || !equal(out.script_pubkey, script)) continue;
            std::ranges::copy(contract, memory.begin());
            return memory.first(contract.size());
        }
        return fail(errc::insufficient_funds, "no recording has such a contract");
    }
    void release(bytes_view) {}
    result<script_buffer> payout_script() const { return payout; }
};

void play_server(const std::string& name) {
    const session s(name);
    manual_clock clock(s.time());
    const auto given = s.private_keys("new_key");
    memory_keys keys{std::span(given)};
    memory_store store;
    recorded_wallet wallet;
    wallet.payout = p2pkh_script({});
    fee_rate settlement_rate = min_relay_fee_rate;
    for (const json& spend : s.file["spends"]) {
        if (spend["from"] != "server broadcast" || spend["inputs"] != 1) continue;
        // The reference estimates sizes in its own way.  We are told the rate at which our estimate comes to its fee.
        const bytes raw = unhex(spend["tx"].get<std::string>());
        const auto tx = parse_transaction(raw).value();
        const tx_output payout = tx.output(tx.output_count() - 1).value();
        std::ranges::copy(payout.script_pubkey, wallet.payout.memory().begin());
        wallet.payout.resize(payout.script_pubkey.size());
        channel_record sized;
        sized.terms.client_key = public_key_of(make_secret_key(given[0]).value());
        sized.change = satoshi{tx.output_count() == 2 ? 1 : 0};
        const auto size = static_cast<std::int64_t>(settlement_vsize<multisig_refund>(sized, wallet.payout));
        settlement_rate = {spend["fee"].get<std::int64_t>() * 1000 / size};
    }
    recording_broadcaster network;
    wire::small_codec codec;
    event_log events;
    server_settings settings;
    settings.min_channel = {s.number(side::server, "min-channel", 100'000)};
    settings.min_window = s.number(side::server, "min-window", settings.min_window);
    const std::int64_t settle_after = s.number(side::server, "settle-after", -1);

    std::vector<bytes> reference, ours;
    using server_type = server<contracts<multisig_refund>, recording_transport, manual_clock, memory_keys, memory_store,
                               recorded_wallet, recording_broadcaster, wire::small_codec, event_log>;
    std::unique_ptr<recording_transport> connection;
    std::unique_ptr<server_type> payee;
    const auto end_connection = [&] {
        if (!payee) return;
        payee->on_disconnected();
        ours.insert(ours.end(), connection->sent.begin(), connection->sent.end());
        payee.reset();
    };
    std::size_t accepted = 0;
    const auto network_accepts = [&] {
        for (; accepted < network.sent.size(); ++accepted)
            payee->on_broadcast(network.ids()[accepted], broadcast_outcome::accepted);
    };
    for (const json& e : s.file["exchange"]) {
        if (e.value("event", "") == "connected") {
            end_connection();
            connection = std::make_unique<recording_transport>();
            payee = std::make_unique<server_type>(contracts<multisig_refund>{}, *connection, clock, keys, store, wallet,
                                                  network, codec, events, settings);
        }
        if (!e.contains("frame") || e["frame"].is_null()) continue;
        if (e["from"] == "server") {
            reference.push_back(unhex(e["frame"].get<std::string>()));
            continue;
        }
        for (const bytes& frame : session::delivered(e)) {
            payee->on_frame(frame);
            payee->on_fee_rate(settlement_rate);
            network_accepts();
        }
        const bool enough =
            settle_after >= 0 && events.count(event_kind::payment) == static_cast<std::size_t>(settle_after) + 1;
        if (enough && payee->settle()) network_accepts();
    }
    end_connection();
    compare(name, side::server, reference, ours);
}

void play_client(const std::string& name) {
    const session s(name);
    manual_clock clock(s.time());
    const auto given = s.private_keys("client_key");
    memory_keys keys{std::span(given)};
    memory_store store;
    recorded_wallet wallet;
    wallet.funds = {s.number(side::client, "fund", max_money.value)};
    recording_transport connection;
    recording_broadcaster network;
    wire::small_codec codec;
    event_log events;
    client payer(contracts<multisig_refund>{}, connection, clock, keys, store, wallet, network, codec, events);
    const satoshi value{s.number(side::client, "value", 1'000'000)};
    const satoshi size{s.number(side::client, "size", 1'000)};
    const std::int64_t leave = s.number(side::client, "leave", 0);
    const std::string info = s.option(side::client, "info").is_string() ? s.option(side::client, "info") : "";
    // The client that comes back has options of its own, or makes `resume` payments more.
    const bool comes_back_otherwise = s.option(side::client, "version", 1).is_string();
    const std::int64_t resume =
        s.number(side::client, "resume", comes_back_otherwise ? s.number(side::client, "payments", 0, 1) : -1);
    std::int64_t left = s.number(side::client, "payments", 0);
    bool exhaust = s.option(side::client, "exhaust") == true;
    bool settle = s.option(side::client, "settle", comes_back_otherwise ? 1 : 0) == true;
    std::int64_t paid = 0;
    int connections = 0;

    // What the reference's application does when its channel is open and no payment is under way.
    const auto act = [&] {
        if (payer.phase() != client_phase::open || payer.payment_in_flight()) return;
        if (left > 0) {
            --left;
            std::string text = info;
            if (const auto at = text.find("%d"); at != std::string::npos) text.replace(at, 2, std::to_string(++paid));
            (void)payer.pay(size, {}, as_bytes(text));
        } else if (exhaust) {
            exhaust = false;
            (void)payer.pay(satoshi{payer.record().change.value - leave});
        } else if (settle && (resume < 0 || connections == 2)) {
            settle = false;
            (void)payer.settle();
        }
    };
    std::vector<bytes> reference;
    bytes last_payment;
    int sent_again = 0;
    // The one additional exchange of a resume.
    const auto ack_again = [&] {
        if (payer.phase() != client_phase::resuming) return;
        INFO(name);
        CHECK(hex(connection.sent.back()) == hex(last_payment));
        connection.sent.pop_back();
        ++sent_again;
        payer.on_frame(encoded(wire::payment_ack{}));
        CHECK(payer.phase() == client_phase::open);
    };
    for (const json& e : s.file["exchange"]) {
        if (e.value("event", "") == "connected") {
            for (const bytes& frame : connection.sent)
                if (as<wire::update_payment>(frame)) last_payment = frame;
            if (connections++ > 0) {
                payer.on_disconnected();
                left = resume;
            }
            REQUIRE(payer.connect(value));
        }
        if (!e.contains("frame") || e["frame"].is_null()) continue;
        if (e["from"] == "client") {
            reference.push_back(unhex(e["frame"].get<std::string>()));
            continue;
        }
        for (const bytes& frame : session::delivered(e)) {
            payer.on_frame(frame);
            ack_again();
        }
        act();
    }
    payer.on_disconnected();
    const bool listed = std::ranges::find(last_payment_sent_again, name) != last_payment_sent_again.end();
    INFO(name);
    CHECK(sent_again == (listed ? 1 : 0));
    compare(name, side::client, reference, connection.sent);
}

}  // namespace

TEST_CASE("our server answers recorded clients as the reference did, byte for byte", "[channel][recorded]") {
    const auto names = sessions_of(side::server);
    CHECK(names.size() >= 25);
    for (const std::string& name : names) play_server(name);
}

TEST_CASE("our client answers recorded servers as the reference did, byte for byte", "[channel][recorded]") {
    const auto names = sessions_of(side::client);
    CHECK(names.size() >= 15);
    for (const std::string& name : names) play_client(name);
}

TEST_CASE("each listed difference belongs to a session that is played", "[channel][recorded]") {
    for (const difference& d : differences) {
        INFO(d.session);
        const auto names = sessions_of(d.who);
        CHECK(std::ranges::find(names, d.session) != names.end());
    }
    const auto clients = sessions_of(side::client);
    for (const std::string_view name : last_payment_sent_again)
        CHECK(std::ranges::find(clients, name) != clients.end());
}

TEST_CASE("the reference's server acks a payment that is equal to the last", "[channel][recorded]") {
    // What our client relies on when it resumes.
    const session s("raw_pay_same_again");
    REQUIRE(s.is_real(side::server));
    bytes last;
    bool again = false;
    int acks = 0;
    for (const json& e : s.file["exchange"]) {
        if (!e.contains("frame") || e["frame"].is_null()) continue;
        const bytes frame = unhex(e["frame"].get<std::string>());
        if (e["from"] == "server") {
            if (again && as<wire::payment_ack>(frame)) ++acks;
            again = false;
        } else if (as<wire::update_payment>(frame)) {
            again = !last.empty() && frame == last;
            last = frame;
        }
    }
    CHECK(acks > 0);
}
