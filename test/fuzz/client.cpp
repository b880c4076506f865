// libFuzzer: a hostile server, an application that pays, a failing disk and crashes against our client; what must hold
// is the money.
//     fuzz_client --corpus FOLDER      writes what to begin with, from the recorded sessions
//     fuzz_client FOLDER               fuzzes
#include <deque>
#include <map>
#include <set>

#include "input.hpp"
#include "money.hpp"
#include "paychan/client.hpp"
#include "paychan/memory/clock.hpp"
#include "paychan/memory/keys.hpp"
#include "support/channel.hpp"

const unsigned paychan_fuzz::kinds = 18;

namespace {

using namespace paychan_fuzz;

constexpr unix_time start_time{1'700'000'000};

enum class kind : std::uint8_t {
    frame,      ///< argument: what of it is repaired; data: a message
    honest,     ///< what an honest server, and an application, would do next
    pay,        ///< data: an amount
    settle,     ///< the application asks for the settlement
    reconnect,  ///< the connection ends, and another begins; argument: with an offer or without
    restart,    ///< the process is killed, and another begins; argument: 1: the disk is restored, 2: it is copied first
    clock,      ///< argument: back or forward; data: by how much
    disk,       ///< a write fails; argument: how; data: which
    keys,       ///< no key can be used for a while
    wallet,     ///< no coins for a while, or a wallet that funds something else
    version,    ///< SERVER_VERSION; argument: which
    initiate,   ///< INITIATE; argument: what is wrong with it; data: a number for that
    returned,   ///< RETURN_REFUND; argument: see sign_as
    open,       ///< CHANNEL_OPEN; argument: what it says of amounts; data: a change
    ack,        ///< PAYMENT_ACK; argument: what it says was paid; data: info
    close,      ///< CLOSE; argument: with which settlement
    refund,     ///< the application wants the refund; data: the median time, about the expiry
    fee_rate,   ///< data: sat/kvB
};

/// The application, the disk, the keys and the wallet of one client, and the server that attacks it.
class world {
public:
    explicit world(const session& s) : clock(start_time), payee(make_secret_key(sha256(as_bytes("payee"))).value()) {
        constexpr std::array versions{version_set::only(1), version_set::only(2), version_set::all(),
                                      version_set::all()};
        constexpr std::array<std::int64_t, 4> offers{1'000'000, 2'000, 1'546, 100'000'000};
        settings.versions = versions[s.setup[0] & 3];
        settings.extensions = (s.setup[0] & 4) == 0;
        server_key = public_key_of(payee);
        if ((s.setup[1] & 1) != 0) server_key = paychan_test::uncompressed(server_key);
        offer = {offers[s.setup[1] >> 1 & 3]};
        make_client();
        connect(offer);
        for (int i = 0; i < s.setup[0] >> 4; ++i) run({static_cast<std::uint8_t>(kind::honest), 0, {}});
        for (const action& one : s.actions) run(one);
        disconnect();
        for (const pending_payment& p : payments) must(p.calls == (p.sent ? 1 : 0), "a payment was not answered once");
    }
    world(const world&) = delete;
    world& operator=(const world&) = delete;

    // ---- What the client borrows.

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
        result<void> erase(const record_id&) { stop("a client erased a record"); }
        template <class F>
        result<void> list(record_kind k, F&& f) {
            return w.store.list(k, f);
        }
    };
    struct wallet_policy {
        world& w;
        result<bytes_view> fund(bytes_view script, satoshi amount, fee_rate, bytes_span memory) {
            return w.on_fund(script, amount, memory);
        }
        void release(bytes_view tx) { w.on_release(tx); }
    };
    struct network_policy {
        world& w;
        void broadcast(bytes_view tx) { w.on_broadcast(tx); }
    };
    struct application {
        world& w;
        void on_event(const event& e) { w.on_event(e); }
    };
    using client_type = paychan::client<schemes, transport_policy, manual_clock, key_policy, store_policy,
                                        wallet_policy, network_policy, wire::small_codec, application>;

    // ---- The actions.

    void run(const action& s) {
        const auto what = static_cast<kind>(s.kind % kinds);
        story += std::to_string(s.kind % kinds) + "/" + std::to_string(s.argument) + " ";
        sent_in_action = 0;
        switch (what) {
            case kind::frame: frame(repaired(s.data, s.argument)); break;
            case kind::honest: honest(); break;
            case kind::pay: pay(s); break;
            case kind::settle:
                settle_asked = true;
                (void)client->settle();
                settle_asked = false;
                break;
            case kind::reconnect:
                disconnect();
                connect(s.argument % 4 == 3 ? satoshi{} : offer);
                break;
            case kind::restart: restart(s.argument); break;
            case kind::clock: clock.advance((s.argument % 2 != 0 ? -1 : 1) * (s.amount() % 1'000'000)); break;
            case kind::disk:
                disk_fails_in = static_cast<int>(s.number() % 4);
                disk_fails_after = s.argument % 2 != 0;
                break;
            case kind::keys: keys_fail = static_cast<int>(s.argument % 4); break;
            case kind::wallet: wallet_mood = s.argument % 4; break;
            case kind::version: frame(encoded(wire::server_version{s.argument % 8 - 2, s.argument >> 3})); break;
            case kind::initiate: frame(encoded(initiate(s))); break;
            case kind::returned: frame(encoded(returned(s.argument))); break;
            case kind::open: frame(encoded(open(s))); break;
            case kind::ack: frame(encoded(ack(s))); break;
            case kind::close: frame(encoded(close(s))); break;
            case kind::refund: {
                median_time = client->record().terms.expiry + (s.amount() % 10'000 - 5'000);
                (void)client->refund(*median_time);
                median_time.reset();
                break;
            }
            case kind::fee_rate: client->on_fee_rate({s.amount() % 2'000'000}); break;
        }
        after_action();
    }

private:
    struct pending_payment {
        world* w = nullptr;
        bool sent = false;
        int calls = 0;
    };

    void make_client() {
        client.emplace(schemes{}, transport, clock, keys, disk, wallet, network, codec, events, settings);
    }
    void connect(satoshi offered) {
        closed = error_sent = false;
        hello_seen.clear();
        min_payment_seen.reset();
        if (!client->connect(offered)) {
            closed = true;
            client->on_disconnected();
        }
    }
    void disconnect() {
        closed = true;
        client->on_disconnected();
        must(reserved.empty(), "coins stay reserved for a contract that never left");
        last_change.reset();
    }
    void restart(std::uint8_t argument) {
        closed = true;
        if ((argument & 2) != 0) copy_of_disk = store;
        if ((argument & 1) != 0) {
            store = copy_of_disk;
            lowest_sent.clear();  // a disk that lost payments: the rest must hold all the same
        }
        reserved.clear();
        last_change.reset();
        for (pending_payment& p : payments) p.calls = p.sent ? 1 : 0;  // died with the process
        make_client();
        if (!known.empty()) (void)client->load(known[(argument >> 2) % known.size()]);
        connect(offer);
    }

    void frame(const bytes& f) {
        const auto m = wire::small_codec::decode(f);
        const auto* const terms = m ? std::get_if<wire::initiate>(&*m) : nullptr;
        if (terms != nullptr) min_payment_seen = terms->min_payment;
        if (terms != nullptr) terms_at = clock.now();
        if (m && std::holds_alternative<wire::payment_ack>(*m)) ack_under_way = std::get<wire::payment_ack>(*m);
        opening = true;
        client->on_frame(f);
        opening = false;
        ack_under_way.reset();
    }

    void honest() {
        switch (client->phase()) {
            case client_phase::idle: connect(offer); break;
            case client_phase::version_sent: {
                const auto m = wire::small_codec::decode(hello_seen);
                frame(encoded(wire::server_version{std::get<wire::client_version>(*m).major, 0}));
                break;
            }
            case client_phase::version_agreed: {
                const auto m = wire::small_codec::decode(hello_seen);
                const bool resumes = std::get<wire::client_version>(*m).previous_channel_contract_hash.has_value();
                frame(resumes ? encoded(wire::channel_open{}) : encoded(initiate({})));
                break;
            }
            case client_phase::refund_sent: frame(encoded(returned(0))); break;
            case client_phase::contract_sent: frame(encoded(wire::channel_open{})); break;
            case client_phase::resuming: frame(encoded(wire::payment_ack{})); break;
            case client_phase::open:
                if (client->payment_in_flight())
                    frame(encoded(wire::payment_ack{}));
                else
                    pay({0, 0, of_number(1'000)});
                break;
            case client_phase::settling: frame(encoded(close({0, 1, {}}))); break;
            case client_phase::ended: disconnect(); break;
        }
    }

    void pay(const action& s) {
        const satoshi amount{s.amount() % 2'000'000};
        const satoshi before = client->record().change;
        const txid id = client->record().terms.contract.id;
        const std::int64_t rest = before.value - amount.value;
        allowed = satoshi{rest < 546 ? 0 : rest};
        payments.push_back({this});
        pending_payment& p = payments.back();
        const auto done = client->pay(amount,
                                      {[](void* self, const result<payment_receipt>& r) {
                                           auto& told = *static_cast<pending_payment*>(self);
                                           ++told.calls;
                                           must(told.calls == 1, "a payment was answered twice");
                                           if (r) told.w->on_receipt(*r);
                                       },
                                       &p},
                                      s.data);
        p.sent = done.has_value();
        if (done) {
            must(amount.value > 0 && amount <= before, "an amount was paid that is not there");
            must(client->record().change == *allowed, "another amount was paid than the one asked for");
            paid_once.insert(id);
        }
        allowed.reset();
    }

    // ---- What the server says.  Messages live in memory_ until the next one.

    /// argument  bits: a flaw each
    [[nodiscard]] wire::initiate initiate(const action& s) {
        wire::initiate m;
        m.multisig_key = server_key.view();
        m.min_accepted_channel_size = 1'000;
        m.min_payment = 1'000;
        m.expire_time_secs = static_cast<std::uint64_t>(clock.now().seconds) + 86'340;
        if ((s.argument & 1) != 0) m.min_payment = s.number() % 20'000;
        if ((s.argument & 2) != 0) m.expire_time_secs += s.number() % 200;
        if ((s.argument & 4) != 0) m.expire_time_secs -= s.number() % 200'000;
        if ((s.argument & 8) != 0) m.min_accepted_channel_size = s.number();
        if ((s.argument & 16) != 0) m.expire_time_secs = s.number();
        if ((s.argument & 32) != 0) m.min_payment = s.number();
        if ((s.argument & 64) != 0) m.multisig_key = m.multisig_key.first(s.number() % m.multisig_key.size());
        return m;
    }

    [[nodiscard]] bytes signed_by_server(const bytes32& digest, std::uint8_t flags, std::uint8_t how) const {
        const auto other = make_secret_key(sha256(as_bytes("somebody"))).value();
        auto signature = sign_ecdsa(how == wrong_key ? other : payee, digest).value();
        if (how == high_s) signature = paychan_test::made_channel::with_high_s(signature);
        bytes out = owned(to_bytes({signature, flags}).view());
        if (how == damaged) out[out.size() / 2] ^= 0x10;
        if (how == other_flag) out.back() ^= 1;
        return out;
    }

    /// The refund's signature, version 1.
    [[nodiscard]] wire::return_refund returned(std::uint8_t argument) {
        const int how = argument % 8;
        const auto flags = static_cast<std::uint8_t>(how == flag_all ? 0x01 : 0x82);
        memory_ = {0x30};
        if (const auto tx = parse_transaction(refund_seen); tx && client_key_seen.size() > 0) {
            const auto code = multisig_2of2_script(client_key_seen, server_key.view());
            const bytes32 digest = unchecked_legacy_sighash(*tx, 0, code.view(), flags);
            memory_ = signed_by_server(digest, flags, static_cast<std::uint8_t>(how));
        }
        return {memory_};
    }

    /// argument  0-1: no amounts, the client's last, an earlier or later one, made up; 2-7: which
    [[nodiscard]] wire::channel_open open(const action& s) {
        wire::channel_open m;
        if ((s.argument & 3) == 0) return m;
        m.resumed.emplace();
        const channel_record& r = client->record();
        m.resumed->client_change_value = static_cast<std::uint64_t>(r.change.value);
        memory_ = owned(r.signature.view());
        if ((s.argument & 3) == 2 && !received.empty()) {
            const auto& one = received[received.size() - 1 - (s.argument >> 2) % received.size()];
            m.resumed->client_change_value = one.first;
            memory_ = one.second;
        }
        if ((s.argument & 3) == 3) {
            m.resumed->client_change_value =
                (s.argument & 4) != 0 ? s.number() : static_cast<std::uint64_t>(r.change.value) - s.number();
            if ((s.argument & 8) != 0 && r.stage != channel_stage::none) {  // signed by the wrong side
                const satoshi change{static_cast<std::int64_t>(m.resumed->client_change_value % 0xffff'ffff'ffff)};
                const auto digest =
                    with_scheme(r.protocol, [&]<class Scheme>() { return payment_digest<Scheme>(r.terms, change); });
                memory_ = signed_by_server(*digest, payment_flags(change), right);
            }
        }
        m.resumed->signature = memory_;
        return m;
    }

    /// argument  0-1: says nothing, what was paid, something else
    [[nodiscard]] wire::payment_ack ack(const action& s) {
        wire::payment_ack m;
        if ((s.argument & 1) != 0) m.paid = static_cast<std::uint64_t>(client->record().paid().value);
        if ((s.argument & 2) != 0) m.paid = s.number();
        if ((s.argument & 4) != 0) m.info = s.data;
        return m;
    }

    /// argument  0-1: no settlement, of the last payment, of an earlier one, not one; 2-4: see sign_as; 5-6: its flags
    [[nodiscard]] wire::close close(const action& s) {
        wire::close m;
        const channel_record& r = client->record();
        if ((s.argument & 3) == 0 || r.stage == channel_stage::none) return m;
        satoshi change = r.change;
        bytes signature = owned(r.signature.view());
        if ((s.argument & 3) == 2 && !received.empty()) {
            const auto& one = received[s.number() % received.size()];
            change = {static_cast<std::int64_t>(one.first)};
            signature = one.second;
        }
        if ((s.argument & 3) == 3) signature = s.data;
        const auto to = script_of_key(r.terms.client_key);
        const std::array outputs{tx_output{change, to.view()},
                                 tx_output{{r.paid().value > 500 ? r.paid().value - 500 : 0}, to.view()}};
        const auto paid_out = std::span(outputs).subspan(change.value > 0 ? 0 : 1);
        tx_input in{r.terms.contract, {}, final_sequence, {}};
        constexpr std::array<std::uint8_t, 4> flags{0x01, 0x81, 0x03, 0x41};
        bytes memory(1'024);
        writer w(memory);
        write_transaction(w, 1, {&in, 1}, paid_out, 0);
        bytes script_sig(1'024);
        script_sig.resize(with_scheme(r.protocol, [&]<class Scheme>() {
            const std::uint8_t flag = flags[s.argument >> 5 & 3];
            const auto digest = unchecked_legacy_sighash(parse_transaction(w.written()).value(), 0,
                                                         Scheme::script_code(r.terms).view(), flag);
            const bytes mine = signed_by_server(digest, flag, s.argument >> 2 & 7);
            writer to_sig(script_sig);
            Scheme::write_settlement_script_sig(to_sig, r.terms, signature, mine);
            return to_sig.size();
        }));
        in.script_sig = script_sig;
        memory_.assign(2'048, 0);
        writer complete(memory_);
        write_transaction(complete, 1, {&in, 1}, paid_out, 0);
        memory_.resize(complete.size());
        m.settlement = memory_;
        return m;
    }

    /// A recorded message, of another channel, made to be of this one.
    /// what  0: key, 1: transaction, 2: signature
    [[nodiscard]] bytes repaired(const bytes& f, std::uint8_t what) {
        auto m = wire::small_codec::decode(f);
        if (!m || (what & 7) == 0) return f;
        if (auto* terms = std::get_if<wire::initiate>(&*m)) {
            if ((what & 1) != 0) terms->multisig_key = server_key.view();
        } else if (auto* refund = std::get_if<wire::return_refund>(&*m)) {
            if ((what & 4) != 0)
                *refund = returned(refund->signature.empty() || refund->signature.back() == 0x82 ? 0 : 2);
        } else if (auto* closing = std::get_if<wire::close>(&*m)) {
            if ((what & 2) != 0 && closing->settlement) *closing = close({0, 1, {}});
        }
        return encoded(*m);
    }

    // ---- What must hold.

    [[nodiscard]] result<void> keys_work() {
        if (keys_fail == 0) return {};
        --keys_fail;
        return fail(errc::key_unavailable, "as the input wants");
    }

    [[nodiscard]] channel_record on_disk(const txid& id) const {
        const auto r = record_in(store, record_kind::client_channel, id);
        must(r.has_value(), "the channel that is spoken of is not on disk");
        return *r;
    }
    [[nodiscard]] channel_record on_disk() const { return on_disk(client->record().terms.contract.id); }

    /// What a new channel may begin with by the server's terms and the client's limit.
    [[nodiscard]] bool is_first_change(satoshi value, satoshi change) const {
        if (!min_payment_seen || *min_payment_seen > static_cast<std::uint64_t>(settings.max_min_payment.value))
            return false;
        const std::int64_t rest = value.value - static_cast<std::int64_t>(*min_payment_seen);
        return rest >= 0 && change.value == (rest < 546 ? 0 : rest);
    }

    void on_sign(const sign_request& request) {
        const channel_record& r = client->record();
        switch (request.purpose) {
            case signing_purpose::payment: {
                if (!allowed) {  // the first payment
                    must(opening && is_first_change(offer, request.to_client), "a first payment above the terms");
                    return;
                }
                must(request.to_client == *allowed, "more is signed away than the application asked for");
                const auto digest =
                    with_scheme(r.protocol, [&]<class Scheme>() { return payment_digest<Scheme>(r.terms, *allowed); });
                must(digest && *digest == request.digest, "something else is signed than was said");
                return;
            }
            case signing_purpose::refund: must(opening && !allowed, "a refund is signed while nothing opens"); return;
            case signing_purpose::resume:
                must(settings.extensions && !opening &&
                         request.digest ==
                             resume_message(r.terms.contract.id, static_cast<std::uint64_t>(clock.now().seconds)),
                     "a proof is signed that is none");
                return;
            case signing_purpose::refund_for_client:
            case signing_purpose::settlement: stop("a client signs as a server");
        }
    }

    result<void> on_put(std::span<const put_request> batch) {
        const bool fails = disk_fails_in == 0;
        if (disk_fails_in >= 0) --disk_fails_in;
        for (const put_request& r : batch)
            if (r.id.kind == record_kind::client_contract) reserved.erase(r.id.channel);  // it may be on disk now
        if (fails && !disk_fails_after) return fail(errc::store_failed, "as the input wants");
        const memory_store before = store;
        PAYCHAN_CHECK(store.put_many(batch));
        for (const put_request& r : batch)
            if (r.id.kind == record_kind::client_channel) check_record(before, r.id.channel);
        if (fails) return fail(errc::store_failed, "as the input wants, though it was done");
        return {};
    }

    void check_record(const memory_store& before, const txid& id) {
        const channel_record now = on_disk(id);
        const auto old = record_in(before, record_kind::client_channel, id);
        check_backed(now);
        if (old) {
            must(now.change <= old->change, "the stored change went up");
            check_same_terms(*old, now);
            must(old->stage != channel_stage::settling || now.stage == channel_stage::settling,
                 "a channel that settles was opened again");
            // Less only by a payment that is asked for now, or by one that was signed before and lost since.
            must(now.change == old->change || (allowed && now.change == *allowed) || signed_for(id, now.change),
                 "the change went down without a payment");
        } else {
            must(opening && is_first_change(now.terms.value, now.change), "a first payment above the terms");
            must(now.terms.value == offer, "a channel of another value than was offered");
            must(now.stage == channel_stage::contract_stored, "a channel begins with its contract");
            check_contract(now, bytes_in(store, record_kind::client_contract, id));
            check_refund(now, bytes_in(store, record_kind::client_refund, id));
            must(now.terms.client_key == ring.public_key(now.key).value(), "a key that is not ours");
            const std::int64_t life = now.terms.expiry.seconds - terms_at.seconds;
            must(life >= settings.min_window, "the channel is over before it begins");
            must(now.terms.expiry.seconds <= asked_at.seconds + 86'340 + 60,
                 "the money is locked for longer than agreed");
            must(settings.versions.has(now.protocol), "a protocol version that this client does not want");
            known.push_back(id);
        }
        signed_changes.insert({id, now.change.value});
    }
    [[nodiscard]] bool signed_for(const txid& id, satoshi change) const {
        return signed_changes.contains({id, change.value});
    }
    result<bytes_view> on_fund(bytes_view script, satoshi amount, bytes_span memory) {
        if (wallet_mood == 1) return fail(errc::insufficient_funds, "as the input wants");
        if (wallet_mood == 2) amount.value -= 1;
        must(opening && reserved.empty(), "a second contract is funded");
        must(amount <= offer, "more is funded than was offered");
        const tx_output out{amount, script};
        const tx_input in{{{sha256(of_number(++funded))}, 0}, {}, final_sequence, {}};
        writer w(memory);
        write_transaction(w, 1, {&in, 1}, {&out, 1}, 0);
        if (!w.ok()) return fail(errc::too_long, "no room for the contract");
        reserved.insert(parse_transaction(w.written()).value().id());
        return w.written();
    }
    void on_release(bytes_view bytes) {
        const auto tx = parse_transaction(bytes);
        must(tx.has_value(), "something is released that is no contract");
        must(bytes_in(store, record_kind::client_contract, tx->id()).empty(), "a contract is released that is on disk");
        must(reserved.erase(tx->id()) == 1, "a contract is released twice, or though it may be on disk");
    }

    void on_send(bytes_view frame) {
        must(!closed, "a frame was sent after the connection's end");
        must(!error_sent, "a frame was sent after an ERROR");
        must(frame.size() <= wire::max_frame_size, "a frame is too long");
        must(++sent_in_action <= 2, "one action brought more than two frames");
        const auto m = wire::small_codec::decode(frame);
        must(m.has_value(), "a frame does not decode");
        if (std::holds_alternative<wire::client_version>(*m)) hello_seen = owned(frame);
        std::visit([&](const auto& body) { on_message(body); }, *m);
    }
    void on_message(const wire::error_message&) { error_sent = true; }
    void on_message(const wire::client_version& m) {
        asked_at = clock.now();
        must(settings.extensions || (!m.extensions && !m.resume_time && !m.resume_signature), "extensions are off");
        if (m.previous_channel_contract_hash) must(m.major == on_disk().protocol, "resumed with another version");
    }
    void on_message(const wire::provide_refund& m) {
        refund_seen = owned(m.tx);
        client_key_seen = owned(m.multisig_key);
    }
    void on_message(const wire::provide_contract& m) {
        const auto tx = parse_transaction(m.tx);
        must(tx.has_value(), "the contract is no transaction");
        const channel_record r = on_disk(tx->id());
        must(equal(m.tx, bytes_in(store, record_kind::client_contract, tx->id())), "a contract before it is on disk");
        check_refund(r, bytes_in(store, record_kind::client_refund, tx->id()));
        on_payment(r, m.initial_payment);
    }
    void on_message(const wire::update_payment& m) { on_payment(on_disk(), m); }
    void on_payment(const channel_record& r, const wire::update_payment& m) {
        must(m.client_change_value == static_cast<std::uint64_t>(r.change.value) &&
                 equal(m.signature, r.signature.view()),
             "a payment left that is not on disk");
        received.emplace_back(m.client_change_value, owned(m.signature));
        const auto [lowest, first] = lowest_sent.emplace(r.terms.contract.id, r.change);
        if (!first) {
            must(r.change <= lowest->second, "a payment was taken back");
            lowest->second = r.change;
        }
    }
    void on_message(const wire::close& m) {
        must(settle_asked && !m.settlement, "a settlement was asked for by nobody");
    }
    template <class ServerMessage>
    void on_message(const ServerMessage&) {
        stop("a client sent a server's message");
    }

    void on_broadcast(bytes_view bytes) {
        const channel_record r = on_disk();
        must(median_time && *median_time > r.terms.expiry, "broadcast before the refund is due");
        must(equal(bytes, bytes_in(store, record_kind::client_contract, r.terms.contract.id)) ||
                 equal(bytes, bytes_in(store, record_kind::client_refund, r.terms.contract.id)),
             "something is broadcast that is not on disk");
    }

    void on_event(const event& e) {
        if (e.kind == event_kind::settled) {
            const channel_record r = on_disk();
            const auto tx = parse_transaction(e.data);
            must(tx && tx->id() == e.closing && spends_contract(r, *tx, consensus_flags),
                 "a settlement was believed that does not spend the contract");
            must(r.stage == channel_stage::settling && r.closing == e.closing, "a settlement before it is on disk");
        }
        if (e.kind == event_kind::opened)
            must(on_disk().stage == channel_stage::open && e.total == on_disk().paid(), "open, but not on disk");
    }
    void on_receipt(const payment_receipt& r) {
        must(ack_under_way.has_value(), "a payment was confirmed that the server did not ack");
        must(!settings.extensions || !ack_under_way->paid ||
                 *ack_under_way->paid == static_cast<std::uint64_t>(r.total.value),
             "an ack for another amount was believed");
        must(r.total == on_disk().paid() && r.amount.value > 0 && r.amount <= r.total, "a receipt for another amount");
    }

    void after_action() {
        must(!error_sent || closed, "a connection goes on after an ERROR");
        const client_phase phase = client->phase();
        must(closed == (phase == client_phase::ended || phase == client_phase::idle),
             "the client and its connection disagree on the end");
        const channel_record& r = client->record();
        if (r.stage == channel_stage::none) {
            last_change.reset();
            return;
        }
        const channel_record stored = on_disk();
        must(stored.change <= r.change && stored.version >= r.version, "the disk is behind the client");
        if (const auto sent = lowest_sent.find(r.terms.contract.id); sent != lowest_sent.end())
            must(stored.change <= sent->second, "the disk is behind what was sent");
        if (last_change && last_change->first == r.terms.contract.id)
            must(r.change <= last_change->second, "the change went up");
        last_change = {r.terms.contract.id, r.change};
    }

    manual_clock clock;
    memory_keys ring = memory_keys::testing_from(1);
    memory_store store;
    memory_store copy_of_disk;
    transport_policy transport{*this};
    key_policy keys{*this};
    store_policy disk{*this};
    wallet_policy wallet{*this};
    network_policy network{*this};
    application events{*this};
    wire::small_codec codec;
    client_settings settings;
    satoshi offer;
    std::optional<client_type> client;

    // The server.
    secret_key payee;
    paychan::public_key server_key;
    bytes memory_;
    bytes refund_seen;
    bytes client_key_seen;
    std::vector<std::pair<std::uint64_t, bytes>> received;  // changes and the signatures for them

    // What the input wants to fail.
    int disk_fails_in = -1;
    bool disk_fails_after = false;
    int keys_fail = 0;
    int wallet_mood = 0;

    // Of this connection.
    bool closed = true;
    bool error_sent = false;
    int sent_in_action = 0;
    bytes hello_seen;
    unix_time asked_at;
    unix_time terms_at;
    std::optional<std::uint64_t> min_payment_seen;

    // Of the call that is under way.
    bool opening = false;                            // a message of the server
    std::optional<wire::payment_ack> ack_under_way;  // and that one a PAYMENT_ACK
    bool settle_asked = false;                       // settle()
    std::optional<satoshi> allowed;                  // pay(): the change that it leads to
    std::optional<unix_time> median_time;

    // Of all connections.
    std::uint64_t funded = 0;
    std::set<txid> reserved;  // contracts that were funded, and are neither released nor on disk
    std::vector<txid> known;
    std::set<txid> paid_once;
    std::set<std::pair<txid, std::int64_t>> signed_changes;
    std::map<txid, satoshi> lowest_sent;
    std::optional<std::pair<txid, satoshi>> last_change;
    std::deque<pending_payment> payments;
};

action of(kind k, std::uint8_t argument = 0, bytes data = {}) { return {static_cast<std::uint8_t>(k), argument, data}; }

}  // namespace

void paychan_fuzz::play(const session& s) {
    story.clear();
    world{s};
}

void paychan_fuzz::write_corpus(corpus_writer& to) {
    // The recorded servers, as they were (only our keys differ), and made to fit our keys; what the recorded client did
    // becomes what the application does.
    for_each_recording([&](int protocol, const std::vector<recorded>& messages) {
        for (const std::uint8_t repair : std::initializer_list<std::uint8_t>{0, 7}) {
            session s;
            s.setup[0] = protocol == 2 ? 1 : 0;
            int connection = 1;
            std::uint64_t change = 999'000;
            for (const recorded& m : messages) {
                if (m.connection != connection) s.actions.push_back(of(kind::reconnect));
                connection = m.connection;
                const auto decoded = wire::small_codec::decode(m.frame);
                if (!m.from_client) {
                    s.actions.push_back(of(kind::frame, repair, m.frame));
                } else if (decoded && std::holds_alternative<wire::close>(*decoded)) {
                    s.actions.push_back(of(kind::settle));
                } else if (decoded && std::holds_alternative<wire::update_payment>(*decoded)) {
                    const std::uint64_t rest = std::get<wire::update_payment>(*decoded).client_change_value;
                    if (rest < change) s.actions.push_back(of(kind::pay, 0, of_number(change - rest)));
                    change = rest;
                }
            }
            to.add(s);
        }
    });
    // Each kind of action after some honest ones, and what follows it.
    const auto add = [&](int setup, int honest, std::vector<action> actions) {
        session s;
        s.setup[0] = static_cast<std::uint8_t>(setup | honest << 4);
        s.actions = std::move(actions);
        for (const kind k : {kind::honest, kind::honest, kind::reconnect, kind::honest, kind::honest, kind::honest,
                             kind::settle, kind::honest})
            s.actions.push_back(of(k));
        to.add(s);
    };
    constexpr std::array<std::pair<kind, int>, 7> where_it_belongs{{{kind::version, 0},
                                                                    {kind::initiate, 1},
                                                                    {kind::returned, 2},
                                                                    {kind::ack, 4},
                                                                    {kind::ack, 5},
                                                                    {kind::close, 6},
                                                                    {kind::refund, 6}}};
    for (const int setup : {0, 1}) {
        for (const auto& where : where_it_belongs)
            for_each_flaw(static_cast<std::uint8_t>(where.first),
                          [&](const action& a) { add(setup, where.second, {a}); });
        // The server forgot the channel: with an offer for a new one, and without.
        for (const std::uint8_t argument : std::initializer_list<std::uint8_t>{0, 3})
            add(setup, 6, {of(kind::reconnect, argument), of(kind::honest), of(kind::initiate)});
        for_each_flaw(static_cast<std::uint8_t>(kind::open), [&](const action& a) {
            // With nothing lost, and with a disk that has lost a payment.
            add(setup, 6, {of(kind::reconnect), of(kind::honest), a});
            add(setup, 4,
                {of(kind::restart, 2), of(kind::honest), of(kind::honest), of(kind::honest),
                 of(kind::pay, 0, of_number(7'000)), of(kind::restart, 1), of(kind::honest), a});
        });
    }
    for (const int setup : {0, 1, 6}) {
        for (int honest = 0; honest < 8; ++honest)
            for (const std::uint64_t later : {80'000U, 90'000U})
                add(setup, honest, {of(kind::clock, 0, of_number(later)), of(kind::honest)});
        for (int honest = 0; honest < 8; ++honest)
            for (const kind k : {kind::pay, kind::settle, kind::reconnect, kind::restart, kind::clock, kind::disk,
                                 kind::keys, kind::wallet, kind::fee_rate})
                for (const std::uint8_t argument : std::initializer_list<std::uint8_t>{0, 1, 2})
                    add(setup, honest, {of(k, argument, of_number(0)), of(kind::honest)});
    }
}
