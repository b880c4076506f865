// Resuming: who is believed to be the channel's client, and how both sides come to the same amount again.
#include "paychan/channel/resume.hpp"

#include <catch2/catch.hpp>

#include "support/channel.hpp"
#include "support/versions.hpp"
#include "support/world.hpp"

using namespace paychan;
using namespace paychan_test;

namespace {

/// A channel on which 6,000 were paid, and a connection on which nothing was said.
struct resumable : world {
    txid id;
    memory_store before_last_payment;  // the client's disk when it had paid 1,000

    explicit resumable(std::int32_t of_version) : world(of_version) {
        REQUIRE(open());
        id = channel();
        before_last_payment = payer.disk;
        REQUIRE(pays(5'000));
        anew();
    }

    /// A new connection; what was said and heard is forgotten.
    void anew() {
        reconnect();
        for (party* p : {&payer, &payee}) {
            p->events.heard.clear();
            p->transport.sent.clear();
            p->keys.signed_requests.clear();
        }
    }

    /// The client's disk is put back from a backup, and its process starts again.
    void restore_client() {
        payer.disk = before_last_payment;
        make_client();
        REQUIRE(c->load(id));
        REQUIRE(c->record().paid() == satoshi{1'000});
    }

    [[nodiscard]] channel_record client_disk() {
        return load_record(payer.disk, record_kind::client_channel, id).value();
    }
    [[nodiscard]] channel_record server_disk() {
        return load_record(payee.disk, record_kind::server_channel, id).value();
    }
    [[nodiscard]] std::string client_sent() const { return names_of(payer.transport.sent); }
    [[nodiscard]] std::string server_sent() const { return names_of(payee.transport.sent); }

    /// CLIENT_VERSION as this channel's client says it at `time`.
    [[nodiscard]] bytes hello(std::uint64_t time, std::optional<std::uint64_t> extensions = 1) {
        channel_record own = client_disk();
        const bytes32 hash = display_bytes(id);
        const auto proof = sign_resume(own, time, payer.ring).value();
        wire::client_version m{own.protocol, 0, hash, 86'340};
        m.extensions = extensions;
        m.resume_time = time;
        m.resume_signature = proof.view();
        return encoded(m);
    }
};

constexpr auto start_time = static_cast<std::uint64_t>(world_start.seconds);
const bytes plain_channel_open = unhex("0807");  // recorded in test/vectors/bitcoinj: open_pay10_settle.v2.json

}  // namespace

// ---- The proof

TEST_CASE("a resume proof signs the tagged hash of the contract's txid and the time", "[channel][resume]") {
    // Computed with Python's hashlib: t = sha256(b"paychan/resume"); sha256(t + t + txid + struct.pack("<Q", time)).
    txid counting, ones;
    for (std::size_t i = 0; i < 32; ++i) counting.bytes[i] = static_cast<std::uint8_t>(i);
    ones.bytes.fill(0xff);
    CHECK(hex(resume_digest(counting, 1'700'000'000)) ==
          "dbd65848be8448d973b48ed45b6ed070a013490ae8fd084ff327736ca9712e22");
    CHECK(hex(resume_digest(txid{}, 0)) == "c3b5d77752c875d8e7c92902c02aa5c4ebc73a17a4d1cf175cd3ca3b5687b30b");
    CHECK(hex(resume_digest(ones, ~std::uint64_t{0})) ==
          "af6a59490c5b71f08dc55a49f1eb8344fa379c80ae6561fddee63c33543cdd48");
}

TEST_CASE("a resume proof is believed for five minutes both ways, and only whole", "[channel][resume]") {
    made_channel c;
    channel_record own = c.record;
    own.key = c.client_key;
    const auto proves = [&](std::uint64_t time, unix_time now) {
        const auto signature = sign_resume(own, time, c.client_keys).value();
        wire::client_version m;
        m.resume_time = time;
        m.resume_signature = signature.view();
        return proves_resume(c.record, m, now);
    };
    for (const std::int64_t now : {std::int64_t{1'000}, std::int64_t{1'700'000'000}, std::int64_t{1} << 40}) {
        const auto t = static_cast<std::uint64_t>(now);
        CHECK(proves(t, {now}));
        CHECK(proves(t - 300, {now}));
        CHECK(proves(t + 300, {now}));
        CHECK_FALSE(proves(t - 301, {now}));
        CHECK_FALSE(proves(t + 301, {now}));
    }
    // Numbers at which a difference could wrap around.
    constexpr std::uint64_t most = ~std::uint64_t{0};
    for (const std::uint64_t time : {most, most - 300, std::uint64_t{1} << 63, (std::uint64_t{1} << 63) - 1})
        for (const std::int64_t now : {std::int64_t{0}, std::int64_t{-1}, std::int64_t{1'700'000'000}})
            CHECK_FALSE(proves(time, {now}));
    CHECK(proves(0, {0}));
    CHECK(proves(300, {0}));
    CHECK_FALSE(proves(0, {-1}));
    CHECK_FALSE(proves(most, {-1}));
    CHECK_FALSE(proves(0, {std::numeric_limits<std::int64_t>::min()}));
    CHECK(proves((std::uint64_t{1} << 63) - 1, {std::numeric_limits<std::int64_t>::max()}));
}

TEST_CASE("a resume proof that is not the client's, or not strict, or not whole, proves nothing", "[channel][resume]") {
    made_channel c;
    channel_record own = c.record;
    own.key = c.client_key;
    const unix_time now{1'700'000'000};
    const std::uint64_t time = 1'700'000'000;
    const der_signature good = sign_resume(own, time, c.client_keys).value();
    const auto proves = [&](std::optional<std::uint64_t> t, std::optional<bytes_view> signature) {
        wire::client_version m;
        m.resume_time = t;
        m.resume_signature = signature;
        return proves_resume(c.record, m, now);
    };
    REQUIRE(proves(time, good.view()));

    CHECK_FALSE(proves(std::nullopt, std::nullopt));
    CHECK_FALSE(proves(time, std::nullopt));
    CHECK_FALSE(proves(std::nullopt, good.view()));
    CHECK_FALSE(proves(time, bytes_view{}));
    CHECK_FALSE(proves(time + 1, good.view()));
    CHECK_FALSE(proves(time - 1, good.view()));

    // The server's key, which the channel has too.
    const der_signature of_server = sign_resume(c.record, time, c.server_keys).value();
    CHECK_FALSE(proves(time, of_server.view()));
    // The other s of the same signature.
    const auto high = made_channel::with_high_s(parse_der(good.view()).value());
    REQUIRE_FALSE(is_low_s(high));
    CHECK_FALSE(proves(time, to_der(high).view()));
    // With a flag byte, as payments have it; cut off; with one bit changed.
    const bytes whole = owned(good.view());
    bytes changed = whole;
    changed.push_back(sighash_all);
    CHECK_FALSE(proves(time, changed));
    for (std::size_t i = 0; i < whole.size(); ++i) {
        changed = whole;
        changed[i] ^= 1;
        CHECK_FALSE(proves(time, changed));
        CHECK_FALSE(proves(time, bytes_view(whole).first(i)));
    }
    // A signature of a payment is none of a resume.
    c.pay_down_to(600'000);
    CHECK_FALSE(proves(time, c.record.signature.view()));
    CHECK_FALSE(proves(time, c.record.signature.view().first(c.record.signature.size() - 1)));
    // A channel without a client's key.
    c.record.terms.client_key = {};
    CHECK_FALSE(proves(time, good.view()));
}

TEST_CASE("a resume proof for one channel proves nothing about another of the same client", "[channel][resume]") {
    made_channel c;
    channel_record own = c.record;
    own.key = c.client_key;
    const der_signature proof = sign_resume(own, start_time, c.client_keys).value();
    wire::client_version m;
    m.resume_time = start_time;
    m.resume_signature = proof.view();
    REQUIRE(proves_resume(c.record, m, world_start));
    channel_record other = c.record;  // even with the same key
    other.terms.contract.id = txid{sha256(as_bytes("another contract"))};
    CHECK_FALSE(proves_resume(other, m, world_start));
}

TEST_CASE("a key store sees what a resume proof is for, and that it moves nothing", "[channel][resume]") {
    resumable w(each_version());
    REQUIRE(w.open(satoshi{0}));
    REQUIRE(w.payer.keys.signed_requests.size() == 1);
    const sign_request& request = w.payer.keys.signed_requests[0];
    CHECK(request.purpose == signing_purpose::resume);
    CHECK(request.digest == resume_digest(w.id, start_time));
    CHECK(request.to_client == satoshi{0});
    CHECK(request.to_server == satoshi{0});
}

// ---- Both continue from the same amount

TEST_CASE("a client and a server with the same amount are open without another message", "[channel][resume]") {
    resumable w(each_version());
    const std::uint64_t version = w.client_disk().version;
    REQUIRE(w.open(satoshi{0}));
    CHECK(w.c->phase() == client_phase::open);
    CHECK(w.client_sent() == "CLIENT_VERSION");
    CHECK(w.server_sent() == "SERVER_VERSION CHANNEL_OPEN");
    const auto said = as<wire::channel_open>(w.payee.transport.sent[1]);
    REQUIRE(said->resumed);
    CHECK(said->resumed->client_change_value == 994'000);
    CHECK(equal(said->resumed->signature, w.client_disk().signature.view()));
    CHECK(w.payer.events.names() == "opened");
    CHECK(w.payer.events.last(event_kind::opened).total == satoshi{6'000});
    CHECK(w.payee.events.names() == "opened");
    CHECK(w.client_disk().version == version);
    CHECK(w.pays(1));
    CHECK(w.server_disk().paid() == satoshi{6'001});
}

TEST_CASE("a client with an older record adopts the server's amount, and has it on disk before it is open",
          "[channel][resume]") {
    resumable w(each_version());
    w.restore_client();
    bool looked = false;
    w.payer.events.then = [&](const event& e) {
        if (e.kind != event_kind::opened) return;
        CHECK(e.total == satoshi{6'000});
        CHECK(w.client_disk().paid() == satoshi{6'000});
        CHECK(w.client_disk().signature == w.server_disk().signature);
        looked = true;
    };
    REQUIRE(w.open(satoshi{0}));
    CHECK(looked);
    CHECK(w.c->phase() == client_phase::open);
    CHECK(w.client_sent() == "CLIENT_VERSION");
    CHECK(w.payee.events.names() == "opened");
    // It goes on from there, and never signs a state that the server would call a roll-back.
    CHECK(w.pays(2'000));
    CHECK(w.server_disk().paid() == satoshi{8'000});
}

TEST_CASE("a client that cannot store the server's amount is not open, and asks again", "[channel][resume]") {
    resumable w(each_version());
    w.restore_client();
    w.payer.plan = {call::store_put, GENERATE(fault::fails, fault::fails_after), 0, false};
    REQUIRE(w.open(satoshi{0}));
    REQUIRE(w.payer.plan.hit);
    CHECK(w.payer.events.names() == "error closed");
    CHECK(w.client_sent() == "CLIENT_VERSION ERROR");
    CHECK(error_text(w.payer.transport.sent) == "OTHER: this side cannot go on now; try again later");
    w.anew();
    REQUIRE(w.open(satoshi{0}));
    CHECK(w.c->phase() == client_phase::open);
    CHECK(w.client_disk().paid() == satoshi{6'000});
    CHECK(w.pays(1));
}

TEST_CASE("a server with less gets the last payment again", "[channel][resume]") {
    resumable w(each_version());
    outcome o;
    REQUIRE(w.open(satoshi{0}));
    REQUIRE(w.c->pay(satoshi{700}, o.callback()));
    w.pipe.cut();
    w.run();
    w.anew();
    REQUIRE(w.open(satoshi{0}));
    CHECK(w.client_sent() == "CLIENT_VERSION UPDATE_PAYMENT");
    CHECK(w.server_sent() == "SERVER_VERSION CHANNEL_OPEN PAYMENT_ACK");
    CHECK(w.payee.events.names() == "opened payment");
    CHECK(w.payee.events.last(event_kind::payment).amount == satoshi{700});
    CHECK(w.payer.events.names() == "opened");
    CHECK(w.server_disk().paid() == satoshi{6'700});
}

TEST_CASE("a client that comes back with less to a channel that is used up learns so, and gets the settlement",
          "[channel][resume]") {
    resumable w(each_version());
    REQUIRE(w.open(satoshi{0}));
    w.payee.plan = {call::keys_sign, fault::fails, 0, false};  // it cannot settle at once
    outcome o;
    REQUIRE(w.pay(w.c->record().change, o));
    REQUIRE(w.payee.plan.hit);
    REQUIRE(w.server_disk().change == satoshi{0});
    w.anew();
    w.restore_client();
    REQUIRE(w.open(satoshi{0}));
    CHECK(w.client_disk().paid() == satoshi{1'000'000});
    CHECK(w.payer.events.names() == "opened settled closed");
    CHECK(w.payee.events.names() == "opened settled closed");
    CHECK(w.chain.spender_in_mempool({w.id, 0}));
}

TEST_CASE("a client without a proof resumes by its last payment, as the reference does", "[channel][resume]") {
    resumable w(each_version());
    w.client_settings.extensions = false;
    w.make_client();
    REQUIRE(w.c->load(w.id));
    REQUIRE(w.open(satoshi{0}));
    CHECK(w.client_sent() == "CLIENT_VERSION UPDATE_PAYMENT");
    CHECK(w.server_sent() == "SERVER_VERSION CHANNEL_OPEN PAYMENT_ACK");
    CHECK(w.payee.transport.sent[1] == plain_channel_open);
    CHECK(w.payer.keys.signed_requests.empty());
    CHECK(w.c->phase() == client_phase::open);
}

TEST_CASE("a channel whose contract was not broadcast yet is resumed with amounts, too", "[channel][resume]") {
    world w(each_version());
    w.payee.follower.set_node(chain_follower::node::down);
    REQUIRE(w.open());
    REQUIRE(w.c->phase() == client_phase::contract_sent);
    w.reconnect();
    w.payee.transport.sent.clear();
    w.payee.follower.set_node(chain_follower::node::up);
    REQUIRE(w.open(satoshi{0}));
    REQUIRE(names_of(w.payee.transport.sent) == "SERVER_VERSION CHANNEL_OPEN");
    CHECK(as<wire::channel_open>(w.payee.transport.sent[1])->resumed->client_change_value == 999'000);
    CHECK(w.c->phase() == client_phase::open);
    CHECK(load_record(w.payer.disk, record_kind::client_channel, w.channel())->stage == channel_stage::open);
    CHECK(w.pays(1));
}

// ---- Servers that claim what is not so

namespace {

/// What a client that has paid 1,000 and resumes does when the server claims that.
struct claimed : resumable {
    explicit claimed(std::int32_t version) : resumable(version) {
        restore_client();
        REQUIRE(c->connect(satoshi{0}));
        c->on_frame(encoded(wire::server_version{c->record().protocol, 0}));
    }
    void hears(std::uint64_t change, const bytes& signature) {
        wire::channel_open m;
        m.resumed = wire::resume_state{change, signature};
        c->on_frame(encoded(m));
    }
    /// Any signature of the client's own key.
    [[nodiscard]] bytes own_signature(std::int64_t change, std::uint8_t flags) {
        const auto to = script_of_key(c->record().terms.client_key);
        const tx_input in{c->record().terms.contract, {}, final_sequence, {}};
        const tx_output out{{change}, to.view()};
        bytes tx(500);
        writer writing(tx);
        write_transaction(writing, 1, {&in, 1}, {&out, change > 0 ? 1U : 0U}, 0);
        const auto parsed = parse_transaction(writing.written()).value();
        const auto code = c->record().protocol == 1 ? v1_scheme::script_code(c->record().terms)
                                                    : v2_scheme::script_code(c->record().terms);
        const auto digest = unchecked_legacy_sighash(parsed, 0, code.view(), flags);
        const auto signature = payer.ring.sign({c->record().key, signing_purpose::payment, digest, {}, {}}).value();
        return owned(to_bytes({signature, flags}).view());
    }
};

}  // namespace

TEST_CASE("a server that claims a payment which the client never signed is refused, and nothing changes",
          "[channel][resume]") {
    claimed w(each_version());
    const record_buffer before = write_record(w.client_disk());
    const bytes real = owned(w.server_disk().signature.view());  // for 994,000
    SECTION("without a signature") { w.hears(994'000, {}); }
    SECTION("with garbage") { w.hears(994'000, bytes(71, 0x30)); }
    SECTION("with a spoiled signature") {
        bytes spoiled = real;
        spoiled[20] ^= 1;
        w.hears(994'000, spoiled);
    }
    SECTION("the signature is for another change") { w.hears(993'999, real); }
    SECTION("all of it") { w.hears(0, real); }
    SECTION("the signature is for what was paid before") { w.hears(994'000, owned(w.client_disk().signature.view())); }
    SECTION("a change that is dust, and a real signature") {
        const std::int64_t dust = GENERATE(1, 545);
        w.hears(static_cast<std::uint64_t>(dust), w.own_signature(dust, 0x83));
    }
    SECTION("a real signature under other flags") {
        const int flags = GENERATE(0x01, 0x02, 0x03, 0x81, 0x82);
        w.hears(994'000, w.own_signature(994'000, static_cast<std::uint8_t>(flags)));
    }
    SECTION("no change, and a signature that holds it fast") { w.hears(0, w.own_signature(0, 0x83)); }
    SECTION("signed by the server's own key") {
        const auto digest = w.c->record().protocol == 1 ? payment_digest<v1_scheme>(w.c->record().terms, {994'000})
                                                        : payment_digest<v2_scheme>(w.c->record().terms, {994'000});
        const auto signature = w.payee.ring.sign({w.server_disk().key, signing_purpose::payment, *digest, {}, {}});
        w.hears(994'000, owned(to_bytes({*signature, 0x83}).view()));
    }
    SECTION("signed for another channel of the same client") {
        resumable other(w.c->record().protocol);
        REQUIRE(other.id == w.id);  // the same coins and keys: one byte of the terms makes another channel
        contract_terms terms = w.c->record().terms;
        terms.contract.index = 1;
        const auto digest = w.c->record().protocol == 1 ? payment_digest<v1_scheme>(terms, {994'000})
                                                        : payment_digest<v2_scheme>(terms, {994'000});
        const auto signature = w.payer.ring.sign({w.c->record().key, signing_purpose::payment, *digest, {}, {}});
        w.hears(994'000, owned(to_bytes({*signature, 0x83}).view()));
    }
    CHECK(w.client_sent() == "CLIENT_VERSION ERROR");
    CHECK(error_text(w.payer.transport.sent) ==
          "BAD_TRANSACTION: the server claims a payment that this client never signed");
    CHECK(w.payer.transport.closed > 0);
    CHECK(w.c->phase() == client_phase::ended);
    CHECK(w.payer.events.names() == "error");
    CHECK(w.c->record().paid() == satoshi{1'000});
    CHECK(equal(write_record(w.client_disk()).view(), before.view()));
    // An honest server is believed afterwards.
    w.anew();
    REQUIRE(w.open(satoshi{0}));
    CHECK(w.client_disk().paid() == satoshi{6'000});
}

TEST_CASE("a server that claims that it has less, down to nonsense, is sent what there is", "[channel][resume]") {
    claimed w(each_version());
    w.hears(GENERATE(std::uint64_t{999'001}, std::uint64_t{1'000'000}, std::uint64_t{1'000'001}, std::uint64_t{1} << 63,
                     ~std::uint64_t{0}),
            GENERATE(bytes{}, bytes(71, 0x30)));
    CHECK(w.client_sent() == "CLIENT_VERSION UPDATE_PAYMENT");
    CHECK(as<wire::update_payment>(w.payer.transport.sent.back())->client_change_value == 999'000);
    CHECK(w.c->phase() == client_phase::resuming);
    CHECK(w.payer.events.heard.empty());
    CHECK(w.client_disk().paid() == satoshi{1'000});
}

TEST_CASE("a high S in what the server holds is kept with the low one", "[channel][resume]") {
    // Or the client's next check of it, and a node's, would refuse it.
    claimed w(each_version());
    const auto real = parse_flagged(w.server_disk().signature.view()).value();
    const flagged_signature high{made_channel::with_high_s(real.signature), real.hash_type};
    w.hears(994'000, owned(to_bytes(high).view()));
    CHECK(w.c->phase() == client_phase::open);
    CHECK(w.client_disk().signature == w.server_disk().signature);
}

TEST_CASE("amounts on the CHANNEL_OPEN of a new channel are passed over", "[channel][resume]") {
    world w(each_version());
    w.payee.follower.set_node(chain_follower::node::down);
    REQUIRE(w.open());
    REQUIRE(w.c->phase() == client_phase::contract_sent);
    wire::channel_open m;
    m.resumed = wire::resume_state{0, bytes_view{}};
    w.c->on_frame(encoded(m));
    CHECK(w.c->phase() == client_phase::open);
    CHECK(w.c->record().paid() == satoshi{1'000});
}

TEST_CASE("amounts that a client did not ask for are passed over", "[channel][resume]") {
    resumable w(each_version());
    w.client_settings.extensions = false;
    w.restore_client();
    REQUIRE(w.c->connect(satoshi{0}));
    w.c->on_frame(encoded(wire::server_version{w.c->record().protocol, 0}));
    wire::channel_open m;
    const bytes real = owned(w.server_disk().signature.view());
    m.resumed = wire::resume_state{994'000, real};
    w.c->on_frame(encoded(m));
    CHECK(w.client_sent() == "CLIENT_VERSION UPDATE_PAYMENT");
    CHECK(w.client_disk().paid() == satoshi{1'000});
}

// ---- Peers that prove nothing, or know nothing of all this

TEST_CASE("who has proven nothing is answered byte for byte as a peer of the reference", "[channel][resume]") {
    resumable w(each_version());
    bytes hello;
    SECTION("a proof that is too old") { hello = w.hello(start_time - 301); }
    SECTION("a proof from the future") { hello = w.hello(start_time + 301); }
    SECTION("the extension is not announced") { hello = w.hello(start_time, std::nullopt); }
    SECTION("another extension is announced") { hello = w.hello(start_time, 2); }
    SECTION("no proof") {
        const bytes32 hash = display_bytes(w.id);
        wire::client_version m{w.server_disk().protocol, 0, hash, 86'340};
        m.extensions = GENERATE(std::uint64_t{1}, ~std::uint64_t{0});
        hello = encoded(m);
    }
    SECTION("a proof for another channel of the same client") {
        const bytes32 hash = display_bytes(w.id);
        channel_record other = w.client_disk();
        other.terms.contract.id.bytes[0] ^= 1;
        const auto proof = sign_resume(other, start_time, w.payer.ring).value();
        wire::client_version m{w.server_disk().protocol, 0, hash, 86'340};
        m.extensions = 1;
        m.resume_time = start_time;
        m.resume_signature = proof.view();
        hello = encoded(m);
    }
    const std::uint64_t version = w.server_disk().version;
    w.s->on_frame(hello);
    REQUIRE(w.server_sent() == "SERVER_VERSION CHANNEL_OPEN");
    CHECK(w.payee.transport.sent[1] == plain_channel_open);
    CHECK(w.server_disk().version == version);
    CHECK(w.s->phase() == server_phase::open);
}

TEST_CASE("a new channel's CHANNEL_OPEN tells no amounts, to nobody", "[channel][resume]") {
    world w(each_version());
    REQUIRE(w.open());
    REQUIRE(as<wire::client_version>(w.payer.transport.sent[0])->extensions == std::uint64_t{1});
    CHECK(w.payee.transport.sent.back() == plain_channel_open);
}

TEST_CASE("a proof is believed on any connection for five minutes, and not after that", "[channel][resume]") {
    resumable w(each_version());
    const bytes hello = w.hello(start_time);
    for (const int late : {0, 300, 301}) {
        w.clock.set(world_start + late);
        w.anew();
        w.s->on_frame(hello);
        REQUIRE(w.server_sent() == "SERVER_VERSION CHANNEL_OPEN");
        CHECK(as<wire::channel_open>(w.payee.transport.sent[1])->resumed.has_value() == (late <= 300));
    }
}

TEST_CASE("CLOSE settles a resumed channel when the proof was believed, and else leaves it open", "[channel][resume]") {
    resumable w(each_version());
    SECTION("believed") {
        w.s->on_frame(w.hello(start_time, GENERATE(std::optional<std::uint64_t>{}, std::optional<std::uint64_t>{1})));
        w.s->on_frame(encoded(wire::close{}));
        w.payee.follower.deliver(*w.s);
        CHECK(w.server_sent() == "SERVER_VERSION CHANNEL_OPEN CLOSE");
        CHECK(as<wire::close>(w.payee.transport.sent.back())->settlement);
        CHECK(w.chain.spender_in_mempool({w.id, 0}));
        CHECK(w.server_disk().stage == channel_stage::settling);
    }
    SECTION("not believed") {
        w.s->on_frame(w.hello(start_time - 301));
        w.s->on_frame(encoded(wire::close{}));
        w.payee.follower.deliver(*w.s);
        CHECK(w.server_sent() == "SERVER_VERSION CHANNEL_OPEN CLOSE");
        CHECK_FALSE(as<wire::close>(w.payee.transport.sent.back())->settlement);
        CHECK_FALSE(w.chain.spender_in_mempool({w.id, 0}));
        CHECK(w.server_disk().stage == channel_stage::open);
    }
}

TEST_CASE("a client that is resumed and open settles without another payment", "[channel][resume]") {
    resumable w(each_version());
    REQUIRE(w.open(satoshi{0}));
    REQUIRE(w.c->settle());
    w.run();
    CHECK(w.client_sent() == "CLIENT_VERSION CLOSE");
    CHECK(w.chain.spender_in_mempool({w.id, 0}));
    CHECK(w.payer.events.names() == "opened settled closed");
}

// ---- PAYMENT_ACK.paid

TEST_CASE("an ack tells all that was accepted to who understands it, and nothing to others", "[channel][resume]") {
    world w(each_version());
    const bool understands = GENERATE(true, false);
    w.client_settings.extensions = understands;
    w.make_client();
    REQUIRE(w.open());
    REQUIRE(w.pays(5'000));
    const bytes ack = w.payee.transport.sent.back();
    if (understands)
        CHECK(as<wire::payment_ack>(ack)->paid == std::uint64_t{6'000});
    else
        CHECK(hex(ack) == "080b");  // recorded in open_pay10_settle.v2.json
    // Also for a frame that is repeated.
    w.s->on_frame(w.payer.transport.sent.back());
    CHECK(w.payee.transport.sent.back() == ack);
}

TEST_CASE("an ack for another amount than was paid ends the connection", "[channel][resume]") {
    world w(each_version());
    REQUIRE(w.open());
    outcome o;
    REQUIRE(w.c->pay(satoshi{5'000}, o.callback()));
    w.payer.events.heard.clear();
    const std::uint64_t paid =
        GENERATE(std::uint64_t{0}, std::uint64_t{1'000}, std::uint64_t{5'000}, std::uint64_t{5'999},
                 std::uint64_t{6'001}, ~std::uint64_t{0}, (std::uint64_t{1} << 63) + 6'000);
    const record_buffer before = write_record(w.c->record());
    wire::payment_ack ack;
    ack.paid = paid;
    w.c->on_frame(encoded(ack));
    CHECK(error_text(w.payer.transport.sent) ==
          "BAD_TRANSACTION: the server acknowledges another amount than was paid");
    CHECK(w.payer.events.names() == "error");
    CHECK(w.c->phase() == client_phase::ended);
    CHECK(equal(write_record(w.c->record()).view(), before.view()));
    w.pipe.cut();
    w.run();
    CHECK(o.calls == 1);
    CHECK_FALSE(o.told);
}

TEST_CASE("an ack for another amount does not open a channel that is resumed", "[channel][resume]") {
    resumable w(each_version());
    REQUIRE(w.c->connect(satoshi{0}));
    w.c->on_frame(encoded(wire::server_version{w.c->record().protocol, 0}));
    w.c->on_frame(plain_channel_open);
    REQUIRE(w.c->phase() == client_phase::resuming);
    wire::payment_ack ack;
    ack.paid = 1'000;
    w.c->on_frame(encoded(ack));
    CHECK(w.payer.events.names() == "error");
    CHECK(w.payer.events.count(event_kind::opened) == 0);
    CHECK(error_text(w.payer.transport.sent) ==
          "BAD_TRANSACTION: the server acknowledges another amount than was paid");
}

// ---- Invisible to others

TEST_CASE("a client without extensions says what the reference says", "[channel][resume]") {
    const std::int32_t version = each_version();
    const auto recorded = read_vectors("bitcoinj/resume.v" + std::to_string(version) + ".json");
    std::vector<bytes> hellos;
    for (const auto& e : recorded["exchange"])
        if (e.contains("message") && e["message"]["type"] == "CLIENT_VERSION")
            hellos.push_back(unhex(e["frame"].get<std::string>()));
    REQUIRE(hellos.size() == 2);

    world w(version);
    w.client_settings.extensions = false;
    w.make_client();
    REQUIRE(w.c->connect(satoshi{1'000'000}));
    CHECK(w.payer.transport.sent.back() == hellos[0]);
    w.run();
    REQUIRE(w.c->phase() == client_phase::open);
    w.reconnect();
    REQUIRE(w.c->connect(satoshi{0}));
    // The same but for the hash.
    auto resumed = as<wire::client_version>(hellos[1]).value();
    const bytes32 hash = display_bytes(w.channel());
    resumed.previous_channel_contract_hash = hash;
    CHECK(w.payer.transport.sent.back() == encoded(resumed));
    CHECK(w.payer.transport.sent.back().size() == hellos[1].size());
}
