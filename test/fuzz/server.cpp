// libFuzzer: a hostile client, its application's answers, a failing disk and a moody network against our server; what
// must hold is the money.
//     fuzz_server --corpus FOLDER      writes what to begin with, from the recorded sessions
//     fuzz_server FOLDER               fuzzes
#include <map>
#include <set>

#include "input.hpp"
#include "money.hpp"
#include "paychan/memory/clock.hpp"
#include "paychan/memory/keys.hpp"
#include "paychan/server.hpp"
#include "support/channel.hpp"

const unsigned paychan_fuzz::kinds = 16;

namespace {

using namespace paychan_fuzz;

constexpr unix_time start_time{1'700'000'000};

enum class kind : std::uint8_t {
    frame,        ///< argument: what of it is repaired; data: a message
    honest,       ///< what an honest client, and the network, would do next
    pay,          ///< UPDATE_PAYMENT; argument: see change_of and sign_as; data: an amount
    hello,        ///< CLIENT_VERSION; argument: version, channel, proof; data: how old the proof is
    refund,       ///< PROVIDE_REFUND; argument: what is wrong with it; data: lock_time
    contract,     ///< PROVIDE_CONTRACT; argument: what is wrong with it; data: the first payment
    outcome,      ///< of a broadcast; argument: which, and how
    reconnect,    ///< the connection ends, and another begins; data: an expected min_payment
    clock,        ///< argument: back or forward; data: by how much
    disk,         ///< a write fails; argument: how; data: which
    keys,         ///< no key can be used for a while
    settle,       ///< the operator settles
    end,          ///< the server closes, or broadcasts again
    answer,       ///< the application answers a held payment; data: info
    application,  ///< argument: what it answers from now on
    fee_rate,     ///< data: sat/kvB
};

/// The disk, the network, the keys and the application of one server, and the client that attacks it.
class world {
public:
    explicit world(const session& s)
        : clock(start_time),
          ring(memory_keys::testing_from(2)),
          payer(make_secret_key(sha256(as_bytes("payer"))).value()) {
        client_key = public_key_of(payer);
        if ((s.setup[1] & 1) != 0) client_key = paychan_test::uncompressed(client_key);
        if ((s.setup[1] & 2) != 0) value = satoshi{100'000};
        if ((s.setup[1] & 8) != 0) value = satoshi{50'000};  // too small
        version = (s.setup[0] & 1) != 0 ? 2 : 1;
        extended = (s.setup[0] & 2) != 0;
        if ((s.setup[1] & 4) != 0) settings.unproven_close = unproven_close_rule::settles;
        connect();
        for (int i = 0; i < s.setup[0] >> 4; ++i) run({static_cast<std::uint8_t>(kind::honest), 0, {}});
        for (const action& one : s.actions) run(one);
        disconnect();
    }
    world(const world&) = delete;
    world& operator=(const world&) = delete;

    // ---- What the server borrows.

    struct transport_policy {
        world& w;
        void send(bytes_view frame) { w.on_send(frame); }
        void close() {
            must(!w.closed, "the connection was closed twice");
            w.closed = true;
        }
    };
    struct key_policy {
        world& w;
        result<key_id> new_key() {
            PAYCHAN_CHECK(w.keys_work());
            must(++w.keys_given <= w.connections, "a connection used up more than one key");
            return w.ring.new_key();
        }
        result<paychan::public_key> public_key(key_id id) {
            PAYCHAN_CHECK(w.keys_work());
            return w.ring.public_key(id);
        }
        result<ecdsa_signature> sign(const sign_request& request) {
            PAYCHAN_CHECK(w.keys_work());
            w.on_sign(request);
            return w.ring.sign(request);
        }
    };
    struct store_policy {
        world& w;
        result<void> put(const record_id& id, std::uint64_t v, bytes_view b) {
            const put_request one{id, v, b};
            return put_many({&one, 1});
        }
        result<void> put_many(std::span<const put_request> batch) { return w.on_put(batch); }
        result<stored_record> get(const record_id& id, bytes_span memory) { return w.store.get(id, memory); }
        result<void> erase(const record_id&) { stop("a server erased a record"); }
        template <class F>
        result<void> list(record_kind k, F&& f) {
            return w.store.list(k, f);
        }
    };
    struct wallet_policy {
        world& w;
        result<script_buffer> payout_script() { return p2pkh_script(hash160(as_bytes("payout"))); }
    };
    struct network_policy {
        world& w;
        void broadcast(bytes_view tx) { w.on_broadcast(tx); }
    };
    struct application {
        world& w;
        void on_event(const event& e) { w.on_event(e); }
        payment_answer on_payment(const event& e) { return w.on_payment(e); }
    };
    using server_type = paychan::server<schemes, transport_policy, manual_clock, key_policy, store_policy,
                                        wallet_policy, network_policy, wire::small_codec, application>;

    // ---- The actions.

    void run(const action& s) {
        const auto what = static_cast<kind>(s.kind % kinds);
        story += std::to_string(s.kind % kinds) + "/" + std::to_string(s.argument) + " ";
        sent_in_action = 0;
        switch (what) {
            case kind::frame: frame(repaired(s.data, s.argument)); break;
            case kind::honest: honest(); break;
            case kind::pay: frame(encoded(payment(s))); break;
            case kind::hello: hello(s); break;
            case kind::refund: frame(encoded(refund(s))); break;
            case kind::contract: frame(encoded(contract(s))); break;
            case kind::outcome: outcome(s.argument); break;
            case kind::reconnect:
                disconnect();
                connect();
                if (s.argument % 2 != 0) server->expect_min_payment(satoshi{s.amount()});
                break;
            case kind::clock: clock.advance((s.argument % 2 != 0 ? -1 : 1) * (s.amount() % 1'000'000)); break;
            case kind::disk:
                disk_fails_in = static_cast<int>(s.number() % 4);
                disk_fails_after = s.argument % 2 != 0;
                break;
            case kind::keys: keys_fail = static_cast<int>(s.argument % 4); break;
            case kind::settle: (void)server->settle(); break;
            case kind::end:
                if (s.argument % 3 == 0) server->rebroadcast();
                if (s.argument % 3 == 1) server->close();
                if (s.argument % 3 == 2) server->close(error{errc::timeout, "idle"});
                break;
            case kind::answer: {
                const satoshi total = s.argument % 8 < 6 ? server->record().paid() : satoshi{s.amount()};
                answering = true;
                if (s.argument % 2 != 0)
                    (void)server->refuse(total, "no");
                else
                    (void)server->ack(total, s.data);
                answering = false;
                break;
            }
            case kind::application: answer_with = s.argument % 4; break;
            case kind::fee_rate: server->on_fee_rate({s.amount() % 2'000'000}); break;
        }
        after_action();
    }

private:
    /// A new connection; the server's process goes on, or began anew: the store is all that it knows.
    void connect() {
        ++connections;
        closed = error_sent = opened_here = proven_here = false;
        hello_seen.clear();
        initiate_seen.reset();
        refund_seen.clear();
        claimed_change.reset();
        server.emplace(schemes{}, transport, clock, keys, disk, wallet, network, codec, events, settings);
    }
    void disconnect() {
        server->on_disconnected();
        closed = true;
    }

    void frame(const bytes& f) {
        const auto m = wire::small_codec::decode(f);
        if (m && server->phase() != server_phase::ended) {
            if (std::holds_alternative<wire::client_version>(*m) && server->phase() == server_phase::idle) {
                hello_seen = f;
                hello_at = clock.now();
            }
            if (const auto* r = std::get_if<wire::provide_refund>(&*m)) refund_seen = owned(r->tx);
            if (const auto* p = std::get_if<wire::update_payment>(&*m)) claimed_change = p->client_change_value;
            closing_unproven = std::holds_alternative<wire::close>(*m);
        }
        server->on_frame(f);
        closing_unproven = false;
    }

    void honest() {
        switch (server->phase()) {
            case server_phase::idle:
                hello(
                    {0, static_cast<std::uint8_t>(version - 1 + (known.empty() ? 0 : 4) + (extended ? 0x30 : 0)), {}});
                break;
            case server_phase::initiated:
                if (version == 1)
                    frame(encoded(refund({})));
                else
                    frame(encoded(contract({0, 0, of_number(1'000)})));
                break;
            case server_phase::refund_signed: frame(encoded(contract({0, 0, of_number(1'000)}))); break;
            case server_phase::broadcasting:
            case server_phase::settling: outcome(0); break;
            case server_phase::open: frame(encoded(payment({0, 1, of_number(1'000)}))); break;
            case server_phase::answering: (void)server->ack(server->record().paid(), {}); break;
            case server_phase::ended:
                disconnect();
                connect();
                break;
        }
    }

    // ---- What the client says.  Messages live in memory_ until the next one.

    /// The channel that is spoken of: of this connection, or else the last one.
    [[nodiscard]] channel_record subject() const {
        channel_record r = server->record();
        if (r.stage == channel_stage::none && !initiate_seen && !known.empty())
            r = record_in(store, record_kind::server_channel, known.back()).value();
        if (r.stage != channel_stage::none) return r;
        r.protocol = r.protocol == 0 ? version : r.protocol;
        r.terms.client_key = client_key;
        r.terms.value = value;
        r.change = value;
        r.terms.contract = {parse_transaction(contract_tx(r, 0)).value().id(), 0};
        return r;
    }

    [[nodiscard]] bytes signature_for(const channel_record& r, satoshi change, std::uint8_t how) const {
        std::uint8_t flags = payment_flags(change);
        if (how == flag_all) flags = sighash_all;
        const auto to = script_of_key(r.terms.client_key);
        const tx_input in{r.terms.contract, {}, final_sequence, {}};
        const tx_output out{change, to.view()};
        payment_buffer memory;
        writer w(memory.memory());
        write_transaction(w, channel_transaction_version, {&in, 1}, {&out, change.value > 0 ? 1U : 0U}, 0);
        memory.resize(w.size());
        const auto code = with_scheme(r.protocol, [&]<class Scheme>() { return Scheme::script_code(r.terms); });
        const auto digest = unchecked_legacy_sighash(parse_transaction(memory.view()).value(), 0, code.view(), flags);
        const auto other = make_secret_key(sha256(as_bytes("somebody"))).value();
        auto signature = sign_ecdsa(how == wrong_key ? other : payer, digest).value();
        if (how == high_s) signature = paychan_test::made_channel::with_high_s(signature);
        bytes out_bytes = owned(to_bytes({signature, flags}).view());
        if (how == damaged) out_bytes[out_bytes.size() / 2] ^= 0x10;
        if (how == other_flag) out_bytes.back() ^= 1;
        return out_bytes;
    }
    [[nodiscard]] static std::uint8_t signed_as(std::uint8_t argument) {
        const int how = argument >> 4;
        return static_cast<std::uint8_t>(how > damaged ? right : how);
    }

    /// argument  low 2 bits: data is the change, what to pay more, what to pay less, or what is paid in all
    [[nodiscard]] static satoshi change_of(const channel_record& r, const action& s) {
        switch (s.argument & 3) {
            case 0: return {s.amount()};
            case 1: return {r.change.value - s.amount() % 2'000'000};
            case 2: return {r.change.value + s.amount() % 2'000'000};
            default: return {r.terms.value.value - s.amount() % 2'000'000};
        }
    }

    [[nodiscard]] wire::update_payment payment(const action& s) {
        const channel_record r = subject();
        const satoshi change = change_of(r, s);
        memory_[0] = signature_for(r, change, signed_as(s.argument));
        wire::update_payment m;
        m.client_change_value = static_cast<std::uint64_t>(change.value);
        m.signature = memory_[0];
        if ((s.argument & 4) != 0) m.info = s.data;
        return m;
    }

    /// argument  0-1: the version, 2: names the channel, 3: in the wrong order, 4: extensions, 5-7: the proof
    void hello(const action& s) {
        wire::client_version m;
        m.major = (s.argument & 3) + 1;
        if ((s.argument & 4) != 0 && !known.empty()) {
            const txid id = known[s.data.size() > 8 ? s.data[8] % known.size() : known.size() - 1];
            const bytes32 name = (s.argument & 8) != 0 ? id.bytes : display_bytes(id);
            memory_[0] = owned(name);
            m.previous_channel_contract_hash = memory_[0];
            if ((s.argument & 0xe0) != 0) {
                const std::int64_t age = s.amount() % 1'000 - (s.data.size() > 9 ? 500 : 0);
                m.resume_time = static_cast<std::uint64_t>(clock.now().seconds - age);
                const auto digest = resume_message(id, *m.resume_time + (s.argument >> 5 == 2 ? 1 : 0));
                const auto other = make_secret_key(sha256(as_bytes("somebody"))).value();
                auto signature = sign_ecdsa(s.argument >> 5 == 3 ? other : payer, digest).value();
                if (s.argument >> 5 == 4) signature = paychan_test::made_channel::with_high_s(signature);
                memory_[1] = owned(to_der(signature).view());
                m.resume_signature = memory_[1];
            }
        }
        if ((s.argument & 16) != 0) m.extensions = wire::understands_amounts;
        frame(encoded(m));
    }

    /// argument  bits: a flaw each
    [[nodiscard]] bytes contract_tx(const channel_record& r, std::uint8_t argument) const {
        auto script = contract_script(r);
        if ((argument & 1) != 0) script.memory()[3] ^= 1;
        const auto to = script_of_key(client_key);
        const tx_output rest{{12'345}, to.view()};
        const std::array outputs{tx_output{value, script.view()}, rest};
        const std::array swapped{rest, tx_output{value, script.view()}};
        const tx_input in{{{sha256(r.terms.server_key.view())}, (argument & 8U) != 0 ? 8U : 7U}, {}, 0xffff'fffe, {}};
        bytes memory(512);
        writer w(memory);
        if ((argument & 2) != 0)
            write_transaction(w, 1, {&in, 1}, swapped, 0);
        else
            write_transaction(w, 1, {&in, 1}, outputs, 0);
        memory.resize(w.size() + ((argument & 4) != 0 ? 1 : 0));
        return memory;
    }

    /// argument  bits: a flaw each
    [[nodiscard]] wire::provide_refund refund(const action& s) {
        const channel_record r = subject();
        const bool index = (s.argument & 1) != 0;
        const bool final = (s.argument & 2) != 0;
        const tx_input in{{r.terms.contract.id, index ? 1U : 0U}, {}, final ? final_sequence : refund_sequence, {}};
        const std::array inputs{in, in};
        const auto to = script_of_key(client_key);
        const tx_output out{{value.value - 1'000}, to.view()};
        std::uint32_t lock_time = static_cast<std::uint32_t>(r.terms.expiry.seconds);
        if ((s.argument & 4) != 0) lock_time = static_cast<std::uint32_t>(s.number());
        if ((s.argument & 8) != 0) lock_time -= static_cast<std::uint32_t>(s.number() % 100);
        memory_[0].assign(512, 0);
        writer w(memory_[0]);
        write_transaction(w, 1, {inputs.data(), (s.argument & 16) != 0 ? 2U : 1U},
                          {&out, (s.argument & 32) != 0 ? 0U : 1U}, lock_time);
        memory_[0].resize(w.size());
        wire::provide_refund m;
        m.multisig_key = client_key.view();
        m.tx = memory_[0];
        return m;
    }

    /// argument  0-3: see contract_tx, and 3: another key; 4-7: see sign_as
    [[nodiscard]] wire::provide_contract contract(const action& s) {
        channel_record r = subject();
        memory_[1] = contract_tx(r, s.argument & 15);
        if (const auto tx = parse_transaction(memory_[1])) r.terms.contract = {tx->id(), 0};
        const satoshi change{r.terms.value.value - s.amount() % 2'000'000};
        memory_[0] = signature_for(r, change, signed_as(s.argument));
        wire::provide_contract m;
        m.tx = memory_[1];
        m.initial_payment.client_change_value = static_cast<std::uint64_t>(change.value);
        m.initial_payment.signature = memory_[0];
        if (r.protocol == 2)
            m.client_key = (s.argument & 8) != 0 ? server->record().terms.server_key.view() : client_key.view();
        return m;
    }

    /// A recorded message, of another channel, made to be of this one.
    /// what  0: key and name, 1: transaction, 2: signature
    [[nodiscard]] bytes repaired(const bytes& f, std::uint8_t what) {
        auto m = wire::small_codec::decode(f);
        if (!m || (what & 7) == 0) return f;
        const bool names = (what & 1) != 0;
        const bool transactions = (what & 2) != 0;
        const bool signatures = (what & 4) != 0;
        std::array<bytes, 2> memory;
        if (auto* hello = std::get_if<wire::client_version>(&*m)) {
            if (names && hello->previous_channel_contract_hash && !known.empty()) {
                memory[0] = owned(display_bytes(known.back()));
                hello->previous_channel_contract_hash = memory[0];
            }
        } else if (auto* given = std::get_if<wire::provide_refund>(&*m)) {
            if (names) given->multisig_key = client_key.view();
            if (transactions) given->tx = refund({}).tx;
        } else if (auto* provided = std::get_if<wire::provide_contract>(&*m)) {
            channel_record r = subject();
            if (names && provided->client_key) provided->client_key = client_key.view();
            if (transactions) provided->tx = memory[1] = contract_tx(r, 0);
            if (const auto tx = parse_transaction(provided->tx)) r.terms.contract = {tx->id(), 0};
            if (signatures) provided->initial_payment.signature = memory[0] = signed_like(r, provided->initial_payment);
        } else if (auto* update = std::get_if<wire::update_payment>(&*m)) {
            if (signatures) update->signature = memory[0] = signed_like(subject(), *update);
        }
        return encoded(*m);
    }
    /// With the flags of the recorded signature.
    [[nodiscard]] bytes signed_like(const channel_record& r, const wire::update_payment& m) const {
        const satoshi change{static_cast<std::int64_t>(m.client_change_value % 4'000'000'000'000'000U)};
        const bool as_recorded = m.signature.empty() || m.signature.back() == payment_flags(change);
        return signature_for(r, change, as_recorded ? right : other_flag);
    }

    void outcome(std::uint8_t argument) {
        constexpr std::array ends{broadcast_outcome::accepted, broadcast_outcome::accepted, broadcast_outcome::refused,
                                  broadcast_outcome::unreachable};
        txid id{sha256(as_bytes("nobody's"))};
        if (!broadcasts.empty() && argument < 0xf0)
            id = broadcasts[broadcasts.size() - 1 - (argument >> 2) % broadcasts.size()];
        if (ends[argument & 3] == broadcast_outcome::accepted) accepted.insert(id);
        const bool listens = server->phase() != server_phase::ended && id == server->record().terms.contract.id;
        write_failed = false;
        server->on_broadcast(id, ends[argument & 3], "words");
        // A disk that fails may lose the network's refusal.
        if (ends[argument & 3] == broadcast_outcome::refused && listens && !write_failed) accepted.erase(id);
    }

    // ---- What must hold.

    [[nodiscard]] result<void> keys_work() {
        if (keys_fail == 0) return {};
        --keys_fail;
        return fail(errc::key_unavailable, "as the input wants");
    }

    [[nodiscard]] channel_record on_disk() const {
        const auto r = record_in(store, record_kind::server_channel, server->record().terms.contract.id);
        must(r.has_value(), "the channel that is spoken of is not on disk");
        return *r;
    }

    void on_sign(const sign_request& request) {
        must(request.purpose == signing_purpose::refund_for_client || request.purpose == signing_purpose::settlement,
             "a server signs refunds for the client and settlements, nothing else");
        if (request.purpose == signing_purpose::settlement) {
            const channel_record r = on_disk();
            must(request.to_client == r.change && request.to_server == r.paid(),
                 "a settlement is signed that is not of the best payment on disk");
            return;
        }
        must(refunds_signed.insert(request.key).second, "a key signed two refunds");
        const auto tx = parse_transaction(refund_seen);
        must(tx && tx->input_count() == 1 && initiate_seen.has_value(), "a refund was signed that nobody asked for");
        const auto in = tx->input(0);
        must(in->sequence != final_sequence, "a refund without a lock was signed");
        must(tx->lock_time() >= initiate_seen->expire_time_secs && tx->lock_time() >= 500'000'000,
             "a refund was signed that is due before the expiry");
    }

    result<void> on_put(std::span<const put_request> batch) {
        const bool fails = disk_fails_in == 0;
        write_failed = write_failed || fails;
        if (disk_fails_in >= 0) --disk_fails_in;
        if (fails && !disk_fails_after) return fail(errc::store_failed, "as the input wants");
        const memory_store before = store;
        PAYCHAN_CHECK(store.put_many(batch));
        for (const put_request& r : batch) {
            must(r.bytes.size() <= max_contract_size, "a stranger fills the disk");
            if (r.id.kind == record_kind::server_channel) check_record(before, r.id.channel);
        }
        for (const put_request& r : batch)
            must(record_in(store, record_kind::server_channel, r.id.channel).has_value(), "a record without a channel");
        if (fails) return fail(errc::store_failed, "as the input wants, though it was done");
        return {};
    }

    void check_record(const memory_store& before, const txid& id) {
        const channel_record now = record_in(store, record_kind::server_channel, id).value();
        const auto old = record_in(before, record_kind::server_channel, id);
        check_backed(now);
        if (old) {
            must(now.paid() >= old->paid(), "the stored value went down");
            check_same_terms(*old, now);
            must(old->stage != channel_stage::settling || now.stage == channel_stage::settling,
                 "a channel that settles was opened again");
            if (old->change != now.change) {
                must(old->stage == channel_stage::open && now.stage == channel_stage::open, "paid while not open");
                proven_here = true;
            }
        } else {
            must(initiate_seen.has_value(), "a channel was stored that no terms were given for");
            must(!opened_here, "one connection stored two channels");
            opened_here = proven_here = true;
            known.push_back(id);
            must(now.stage == channel_stage::contract_stored, "a channel begins with its contract");
            check_contract(now, bytes_in(store, record_kind::server_contract, id));
            must(now.paid().value >= static_cast<std::int64_t>(initiate_seen->min_payment), "less than min_payment");
            must(now.terms.value.value >= static_cast<std::int64_t>(initiate_seen->min_accepted_channel_size),
                 "less than the smallest channel");
            must(now.terms.expiry.seconds == static_cast<std::int64_t>(initiate_seen->expire_time_secs),
                 "another expiry than was offered");
            must(now.terms.server_key == ring.public_key(now.key).value(), "a key that is not ours");
            must(clock.now() + settings.settle_margin < now.terms.expiry, "no time is left to settle in");
            // Version 1: the refund that was signed is of this contract, or the money would be the client's only by grace.
            if (now.protocol == 1)
                must(parse_transaction(refund_seen).value().input(0)->prevout == now.terms.contract,
                     "the signed refund spends another contract");
        }
    }
    void on_send(bytes_view frame) {
        must(!closed, "a frame was sent after the connection's end");
        must(!error_sent, "a frame was sent after an ERROR");
        must(frame.size() <= wire::max_frame_size, "a frame is too long");
        must(++sent_in_action <= 3, "one action brought more than three frames");
        const auto m = wire::small_codec::decode(frame);
        must(m.has_value(), "a frame does not decode");
        std::visit([&](const auto& body) { on_message(body); }, *m);
    }
    void on_message(const wire::error_message&) { error_sent = true; }
    void on_message(const wire::server_version& m) { must(m.major == 1 || m.major == 2, "a version there is not"); }
    void on_message(const wire::initiate& m) {
        must(!initiate_seen, "terms were given twice");
        initiate_seen = m;
        initiate_seen->multisig_key = {};
        must(m.min_payment >= 1'000, "terms that do not bear a settlement");
        must(m.expire_time_secs >= static_cast<std::uint64_t>(clock.now().seconds + settings.settle_margin),
             "terms that leave no time to settle");
    }
    void on_message(const wire::return_refund& m) {
        const auto flagged = parse_flagged(m.signature);
        must(flagged && flagged->hash_type == 0x82, "the refund is not signed NONE|ANYONECANPAY");
    }
    void on_message(const wire::channel_open& m) {
        const channel_record r = on_disk();
        must(r.stage == channel_stage::open, "CHANNEL_OPEN before it is on disk");
        must(accepted.contains(r.terms.contract.id), "CHANNEL_OPEN before the network has the contract");
        if (!m.resumed) return;
        must(!opened_here && proven(r), "amounts were shown to a peer that proved nothing");
        must(m.resumed->client_change_value == static_cast<std::uint64_t>(r.change.value) &&
                 equal(m.resumed->signature, r.signature.view()),
             "other amounts were shown than those on disk");
    }
    void on_message(const wire::payment_ack& m) {
        const channel_record r = on_disk();
        must(r.stage == channel_stage::open, "an ack on a channel that is not open");
        must(accepted.contains(r.terms.contract.id), "an ack for a contract that the network refuses");
        must(claimed_change == static_cast<std::uint64_t>(r.change.value), "an ack for what is not on disk");
        must(!m.paid || *m.paid == static_cast<std::uint64_t>(r.paid().value), "the ack names another amount");
        must(!m.paid || announced(), "an extension for a peer that did not announce it");
        must(clock.now() + settings.settle_margin < r.terms.expiry || answering || held, "an ack too late to settle");
        proven_here = true;
    }
    void on_message(const wire::close& m) {
        if (!m.settlement) return;
        const channel_record r = on_disk();
        must(r.stage == channel_stage::settling, "a settlement left before it is on disk");
        must(equal(*m.settlement, bytes_in(store, record_kind::server_settlement, r.terms.contract.id)),
             "another settlement left than the one on disk");
        must(accepted.contains(r.closing), "a settlement was called done that the network has not taken");
    }
    template <class ClientMessage>
    void on_message(const ClientMessage&) {
        stop("a server sent a client's message");
    }

    [[nodiscard]] std::optional<wire::client_version> said_hello() const {
        const auto m = wire::small_codec::decode(hello_seen);
        if (!m || !std::holds_alternative<wire::client_version>(*m)) return std::nullopt;
        return std::get<wire::client_version>(*m);
    }
    [[nodiscard]] bool announced() const {
        const auto m = said_hello();
        return m && (m->extensions.value_or(0) & 1) != 0;
    }
    /// The CLIENT_VERSION of this connection shows that its sender holds the client's key.
    [[nodiscard]] bool proven(const channel_record& r) const {
        const auto m = said_hello();
        if (!m || !m->resume_time || !m->resume_signature) return false;
        const auto now = static_cast<std::uint64_t>(hello_at.seconds);
        if (std::max(now, *m->resume_time) - std::min(now, *m->resume_time) > 300) return false;
        const auto signature = parse_der(*m->resume_signature);
        return signature &&
               verify_ecdsa(r.terms.client_key, resume_message(r.terms.contract.id, *m->resume_time), *signature);
    }

    void on_broadcast(bytes_view bytes) {
        const auto tx = parse_transaction(bytes);
        must(tx.has_value(), "what is broadcast is no transaction");
        broadcasts.push_back(tx->id());
        const channel_record r = on_disk();
        if (tx->id() == r.terms.contract.id) {
            must(equal(bytes, bytes_in(store, record_kind::server_contract, tx->id())),
                 "a contract before it is on disk");
            return;
        }
        must(equal(bytes, bytes_in(store, record_kind::server_settlement, r.terms.contract.id)),
             "a settlement before it is on disk");
        must(r.stage == channel_stage::settling && r.closing == tx->id(), "a settlement that the record does not name");
        if (!settlements.insert(tx->id()).second) return;
        check_settlement_pays(r, bytes);
        must(!closing_unproven || opened_here || proven_here || proven(r) ||
                 settings.unproven_close == unproven_close_rule::settles,
             "a stranger had the channel settled");
    }

    void on_event(const event& e) {
        if (e.kind != event_kind::payment) return;
        const channel_record r = on_disk();
        must(e.amount.value > 0 && e.total == r.paid(), "the application hears of a payment that is not on disk");
        satoshi& told_before = told[r.terms.contract.id];
        must(e.total.value - e.amount.value >= told_before.value, "the application hears of a payment twice");
        told_before = e.total;
    }
    payment_answer on_payment(const event& e) {
        must(e.total == on_disk().paid(), "the application is asked about a payment that is not on disk");
        held = answer_with == 1;
        if (answer_with == 1) return payment_answer::hold();
        if (answer_with == 2) return payment_answer::refuse("no");
        if (answer_with == 3) return payment_answer::ack(as_bytes("thanks"));
        return payment_answer::ack();
    }

    void after_action() {
        must(!error_sent || closed, "a connection goes on after an ERROR");
        must(closed == (server->phase() == server_phase::ended), "the server and its connection disagree on the end");
        const auto& r = server->record();
        if (r.stage == channel_stage::none) return;
        // A write that failed may be on disk, so the disk may be ahead; never behind.
        must(on_disk().paid() >= r.paid() && on_disk().version >= r.version, "the disk is behind the server");
    }

public:
    manual_clock clock;
    memory_keys ring;
    memory_store store;

private:
    transport_policy transport{*this};
    key_policy keys{*this};
    store_policy disk{*this};
    wallet_policy wallet{*this};
    network_policy network{*this};
    application events{*this};
    wire::small_codec codec;
    server_settings settings;
    std::optional<server_type> server;

    // The client.
    secret_key payer;
    paychan::public_key client_key;
    satoshi value{1'000'000};
    std::int32_t version = 1;
    bool extended = false;
    std::array<bytes, 2> memory_;

    // What the input wants to fail, and how the application answers.
    int disk_fails_in = -1;
    bool disk_fails_after = false;
    bool write_failed = false;
    int keys_fail = 0;
    int answer_with = 0;

    // Of this connection.
    bool closed = false;
    bool error_sent = false;
    bool opened_here = false;       // the contract came over it
    bool proven_here = false;       // a payment came over it
    bool closing_unproven = false;  // during a CLOSE
    bool answering = false;
    bool held = false;
    int sent_in_action = 0;
    bytes hello_seen;
    unix_time hello_at;
    bytes refund_seen;
    std::optional<wire::initiate> initiate_seen;
    std::optional<std::uint64_t> claimed_change;

    // Of all connections.
    int connections = 0;
    int keys_given = 0;
    std::vector<txid> known;
    std::vector<txid> broadcasts;
    std::set<txid> accepted;
    std::set<txid> settlements;
    std::set<key_id> refunds_signed;
    std::map<txid, satoshi> told;
};

action of(kind k, std::uint8_t argument = 0, bytes data = {}) { return {static_cast<std::uint8_t>(k), argument, data}; }

}  // namespace

void paychan_fuzz::play(const session& s) {
    story.clear();
    world{s};
}

void paychan_fuzz::write_corpus(corpus_writer& to) {
    // The recorded clients, as they were (only our keys differ), and made to fit our keys.
    for_each_recording([&](int protocol, const std::vector<recorded>& messages) {
        for (const std::uint8_t repair : std::initializer_list<std::uint8_t>{0, 7}) {
            session s;
            s.setup[0] = protocol == 2 ? 1 : 0;
            int connection = 1;
            for (const recorded& m : messages) {
                if (m.connection != connection) s.actions.push_back(of(kind::reconnect));
                connection = m.connection;
                if (!m.from_client) continue;
                s.actions.push_back(of(kind::frame, repair, m.frame));
                const auto decoded = wire::small_codec::decode(m.frame);
                if (decoded && (std::holds_alternative<wire::provide_contract>(*decoded) ||
                                std::holds_alternative<wire::close>(*decoded)))
                    s.actions.push_back(of(kind::outcome));
            }
            to.add(s);
        }
    });
    // Each kind of action after some honest ones, and what follows it.
    const auto add = [&](int setup, int honest, std::vector<action> actions) {
        session s;
        s.setup[0] = static_cast<std::uint8_t>(setup | honest << 4);
        s.actions = std::move(actions);
        for (const kind k :
             {kind::honest, kind::honest, kind::reconnect, kind::honest, kind::honest, kind::settle, kind::outcome})
            s.actions.push_back(of(k));
        to.add(s);
    };
    constexpr std::array<std::pair<kind, int>, 6> where_it_belongs{{{kind::hello, 0},
                                                                    {kind::refund, 1},
                                                                    {kind::contract, 1},
                                                                    {kind::contract, 2},
                                                                    {kind::pay, 4},
                                                                    {kind::answer, 5}}};
    for (const int setup : {0, 3}) {
        for (const auto& where : where_it_belongs)
            for_each_flaw(static_cast<std::uint8_t>(where.first),
                          [&](const action& a) { add(setup, where.second, {a}); });
        for_each_flaw(static_cast<std::uint8_t>(kind::hello), [&](action a) {
            a.argument |= 4 | 16;
            add(setup, 5, {of(kind::reconnect), a, of(kind::frame, 0, encoded(wire::close{}))});
        });
        for (int honest = 0; honest < 8; ++honest)
            for (unsigned k = static_cast<unsigned>(kind::outcome); k < kinds; ++k)
                for (const std::uint8_t argument : std::initializer_list<std::uint8_t>{0, 1})
                    add(setup, honest, {of(static_cast<kind>(k), argument, of_number(0)), of(kind::honest)});
        // Late: within the margin before the expiry, and after it.
        for (int honest = 0; honest < 8; ++honest)
            for (const std::uint64_t later : {80'000U, 90'000U})
                add(setup, honest, {of(kind::clock, 0, of_number(later)), of(kind::honest)});
    }
}
