// Six small policies of an embedded composition: fixed memory, no heap, no operating system.
#pragma once

#include "paychan/bitcoin/sighash.hpp"
#include "paychan/crypto/hash.hpp"
#include "paychan/policy.hpp"

namespace embedded {

using namespace paychan;

/// Up to four frames under way to the other side, as a radio's mailbox would hold them.
class mailbox_transport {
public:
    void send(bytes_view frame) {
        if (count_ < boxes_.size() && boxes_[count_].assign(frame)) ++count_;
    }
    void close() { closed_ = true; }

    [[nodiscard]] bool closed() const { return closed_; }

    /// Hands what was sent so far to the other side's driver.
    template <class Driver>
    bool deliver(Driver& to) {
        const std::size_t n = count_;
        count_ = 0;
        const auto boxes = boxes_;
        for (std::size_t i = 0; i < n; ++i) to.on_frame(boxes[i].view());
        return n > 0;
    }

private:
    std::array<bounded_bytes<1024>, 4> boxes_{};
    std::size_t count_ = 0;
    bool closed_ = false;
};

struct fixed_clock {
    unix_time time{1'700'000'000};
    unix_time now() { return time; }
};

/// Keys that were burnt in.
class fixed_keys {
public:
    explicit fixed_keys(std::uint8_t first) : next_(first) {}

    result<key_id> new_key() { return key_id{next_++}; }
    result<paychan::public_key> public_key(key_id id) {
        PAYCHAN_TRY(const auto key, secret_of(id));
        return public_key_of(key);
    }
    result<ecdsa_signature> sign(const sign_request& request) {
        PAYCHAN_TRY(const auto key, secret_of(request.key));
        return sign_ecdsa(key, request.digest);
    }

private:
    static result<secret_key> secret_of(key_id id) {
        bytes32 bytes{};
        bytes[31] = static_cast<std::uint8_t>(id);
        return make_secret_key(bytes);
    }

    std::uint64_t next_;
};

/// Eight records in memory that a real device would keep in flash.
class slot_store {
public:
    result<void> put(const record_id& id, std::uint64_t version, bytes_view bytes) {
        slot* free = nullptr;
        for (slot& s : slots_) {
            if (s.version != 0 && s.id == id) {
                if (version <= s.version) return fail(errc::stale_record, "a newer record is there");
                free = &s;
                break;
            }
            if (s.version == 0 && free == nullptr) free = &s;
        }
        if (needs_predecessor(id, version) && (free == nullptr || free->version == 0))
            return fail(errc::stale_record, "the record that this one follows was deleted");
        if (free == nullptr || !free->bytes.assign(bytes)) return fail(errc::store_failed, "the slots are full");
        free->id = id;
        free->version = version;
        ++writes;
        return {};
    }
    result<stored_record> get(const record_id& id, bytes_span memory) {
        for (const slot& s : slots_) {
            if (s.version == 0 || s.id != id) continue;
            if (s.bytes.size() > memory.size()) return fail(errc::too_long, "the record does not fit");
            std::ranges::copy(s.bytes.view(), memory.begin());
            return stored_record{s.version, memory.first(s.bytes.size())};
        }
        return fail(errc::not_found, "no such record");
    }
    result<void> erase(const record_id& id) {
        for (slot& s : slots_)
            if (s.id == id) s = {};
        return {};
    }
    template <class F>
    result<void> list(record_kind kind, F f) {
        for (const slot& s : slots_)
            if (s.version != 0 && s.id.kind == kind) f(s.id);
        return {};
    }

    int writes = 0;

private:
    struct slot {
        record_id id;
        std::uint64_t version = 0;
        bounded_bytes<1024> bytes;
    };
    std::array<slot, 8> slots_{};
};

/// A wallet of one coin, P2PKH, and one address.
class one_coin_wallet {
public:
    static constexpr satoshi coin_value{2'000'000};

    result<bytes_view> fund(bytes_view script, satoshi amount, fee_rate rate, bytes_span memory) {
        if (spent_) return fail(errc::insufficient_funds, "the only coin is spent");
        PAYCHAN_TRY(const auto key, coin_key());
        const auto own = p2pkh_script(hash160(public_key_of(key).view()));
        PAYCHAN_TRY(const auto fee, fee_for(rate, 300));
        PAYCHAN_TRY(const auto rest, subtract(coin_value, amount));
        PAYCHAN_TRY(const auto change, subtract(rest, fee));
        tx_input in{{txid{{1}}, 0}, {}, final_sequence, {}};
        const std::array outputs{tx_output{amount, script}, tx_output{change, own.view()}};
        writer unsigned_tx(memory);
        write_transaction(unsigned_tx, 1, {&in, 1}, outputs, 0);
        PAYCHAN_TRY(const auto tx, parse_transaction(unsigned_tx.written()));
        PAYCHAN_TRY(const auto digest, legacy_sighash(tx, 0, own.view(), sighash_all));
        PAYCHAN_TRY(const auto signature, sign_ecdsa(key, digest));
        std::array<std::uint8_t, 120> script_sig_memory{};
        writer script_sig(script_sig_memory);
        push(script_sig, to_bytes({signature, sighash_all}).view());
        push(script_sig, public_key_of(key).view());
        in.script_sig = script_sig.written();
        writer complete(memory);
        write_transaction(complete, 1, {&in, 1}, outputs, 0);
        if (!complete.ok()) return fail(errc::too_long, "the contract does not fit");
        spent_ = true;
        return complete.written();
    }
    void release(bytes_view) { spent_ = false; }
    result<script_buffer> payout_script() {
        PAYCHAN_TRY(const auto key, coin_key());
        return p2pkh_script(hash160(public_key_of(key).view()));
    }

private:
    static result<secret_key> coin_key() {
        bytes32 bytes{};
        bytes[0] = 7;
        return make_secret_key(bytes);
    }
    bool spent_ = false;
};

/// Keeps what was broadcast last, for a network that is somewhere else.
class last_broadcast {
public:
    void broadcast(bytes_view tx) {
        if (const auto parsed = parse_transaction(tx); parsed && last_.assign(tx)) id_ = parsed->id();
    }
    [[nodiscard]] bytes_view tx() const { return last_.view(); }
    [[nodiscard]] txid id() const { return id_; }

private:
    bounded_bytes<1024> last_;
    txid id_{};
};

}  // namespace embedded
