// Policies that do as they should, until the Nth call of a kind fails, crashes the process, or loses the connection.
#pragma once

#include <functional>

#include "paychan/memory/keys.hpp"
#include "paychan/memory/pipe.hpp"
#include "paychan/memory/store.hpp"
#include "support/coin_wallet.hpp"
#include "support/wire.hpp"

namespace paychan_test {

/// Thrown through a driver: the process is gone in the middle of a call.
struct crash {};

enum class call : std::uint8_t {
    store_put,
    store_get,  ///< and each record that a scan reads: it is told as an error, and the others follow
    store_erase,
    store_list,  ///< and the beginning of a scan
    store_scan,  ///< each record that a scan tells: the scan ends there, and fails
    keys_new,
    keys_public,
    keys_sign,
    wallet_fund,
    wallet_payout,
    codec_encode,
    codec_decode,
    transport_send,
    broadcast,
    any,  ///< whatever is called next
};
inline constexpr int call_kinds = static_cast<int>(call::any);

enum class fault : std::uint8_t {
    fails,        ///< nothing is done, an error is returned
    fails_after,  ///< it is done, and an error is returned all the same: a disk that failed after the write
    crashes,      ///< the process ends before the call does anything
    crashes_after,
};

/// Strikes once, at the Nth call of a kind.
struct fault_plan {
    call which = call::any;
    fault how = fault::fails;
    int left = -1;  ///< calls that pass before it strikes; below 0: never
    bool hit = false;

    [[nodiscard]] bool strikes(call c) {
        if (left < 0 || (which != call::any && which != c)) return false;
        hit = left == 0;
        return left-- == 0;
    }

    /// Does `work`, or fails as planned.
    template <class F>
    [[nodiscard]] auto run(call c, paychan::errc code, F&& work) -> decltype(work()) {
        if (!strikes(c)) return work();
        if (how == fault::crashes) throw crash{};
        if (how == fault::fails) return paychan::fail(code, "as planned by the test");
        (void)work();
        if (how == fault::crashes_after) throw crash{};
        return paychan::fail(code, "as planned by the test, though it was done");
    }
};

struct faulty_store {
    fault_plan& plan;
    paychan::memory_store& disk;
    bool one_by_one = false;  ///< a batch is written as by a store without put_many: each record may fail by itself
    std::optional<paychan::record_kind> damaged_page{};  ///< no scan gets at the records of this kind

    paychan::result<void> put(const paychan::record_id& id, std::uint64_t version, paychan::bytes_view b) {
        return plan.run(call::store_put, paychan::errc::store_failed, [&] { return disk.put(id, version, b); });
    }
    paychan::result<void> put_many(std::span<const paychan::put_request> batch) {
        if (one_by_one) {
            for (const paychan::put_request& r : batch) PAYCHAN_CHECK(put(r.id, r.version, r.bytes));
            return {};
        }
        return plan.run(call::store_put, paychan::errc::store_failed, [&] { return disk.put_many(batch); });
    }
    paychan::result<paychan::stored_record> get(const paychan::record_id& id, paychan::bytes_span memory) {
        return plan.run(call::store_get, paychan::errc::store_failed, [&] { return disk.get(id, memory); });
    }
    paychan::result<void> erase(const paychan::record_id& id) {
        return plan.run(call::store_erase, paychan::errc::store_failed, [&] { return disk.erase(id); });
    }
    template <class F>
    paychan::result<void> list(paychan::record_kind kind, F&& f) {
        return plan.run(call::store_list, paychan::errc::store_failed, [&] { return disk.list(kind, f); });
    }
    template <class F>
    paychan::result<void> scan(paychan::record_kind kind, const std::optional<paychan::txid>& after, F&& f) {
        if (damaged_page == kind) return paychan::fail(paychan::errc::corrupt_record, "a page is damaged");
        return plan.run(call::store_list, paychan::errc::store_failed, [&]() -> paychan::result<void> {
            paychan::result<void> told;
            PAYCHAN_CHECK(disk.scan(kind, after, [&](const paychan::record_id& id, const auto& r) {
                bool more = false;
                told = plan.run(call::store_scan, paychan::errc::store_failed, [&]() -> paychan::result<void> {
                    more = f(id, plan.run(call::store_get, paychan::errc::store_failed, [&] { return r; }));
                    return {};
                });
                return told && more;
            }));
            return told;
        });
    }
};
static_assert(paychan::BatchStore<faulty_store> && paychan::ScanStore<faulty_store>);

struct faulty_keys {
    fault_plan& plan;
    paychan::memory_keys& ring;
    std::vector<paychan::sign_request> signed_requests;
    std::vector<paychan::key_id> given_back;  // and never given out again

    paychan::result<paychan::key_id> new_key() {
        return plan.run(call::keys_new, paychan::errc::key_unavailable, [&] { return ring.new_key(); });
    }
    paychan::result<paychan::public_key> public_key(paychan::key_id id) {
        return plan.run(call::keys_public, paychan::errc::key_unavailable, [&] { return ring.public_key(id); });
    }
    paychan::result<paychan::ecdsa_signature> sign(const paychan::sign_request& request) {
        return plan.run(call::keys_sign, paychan::errc::key_unavailable, [&] {
            signed_requests.push_back(request);
            return ring.sign(request);
        });
    }
    void give_back(paychan::key_id id) { given_back.push_back(id); }
};
static_assert(paychan::KeyStore<faulty_keys>);

struct faulty_wallet {
    fault_plan& plan;
    coin_wallet& purse;

    paychan::result<paychan::bytes_view> fund(paychan::bytes_view script, paychan::satoshi amount,
                                              paychan::fee_rate rate, paychan::bytes_span memory) {
        return plan.run(call::wallet_fund, paychan::errc::insufficient_funds,
                        [&] { return purse.fund(script, amount, rate, memory); });
    }
    void release(paychan::bytes_view tx) { purse.release(tx); }
    paychan::result<paychan::script_buffer> payout_script() {
        return plan.run(call::wallet_payout, paychan::errc::key_unavailable, [&] { return purse.payout_script(); });
    }
};
static_assert(paychan::FundingWallet<faulty_wallet> && paychan::PayoutWallet<faulty_wallet>);

struct faulty_codec {
    fault_plan& plan;

    paychan::result<paychan::wire::message> decode(paychan::bytes_view frame) {
        return plan.run(call::codec_decode, paychan::errc::malformed,
                        [&] { return paychan::wire::small_codec::decode(frame); });
    }
    paychan::result<paychan::bytes_view> encode(const paychan::wire::message& m, paychan::bytes_span out) {
        return plan.run(call::codec_encode, paychan::errc::too_long,
                        [&] { return paychan::wire::small_codec::encode(m, out); });
    }
};
static_assert(paychan::Codec<faulty_codec>);

/// `fails`: this frame is lost, and the connection with it.  `fails_after`: the connection is lost behind this frame.
struct faulty_transport {
    fault_plan& plan;
    paychan::memory_pipe& pipe;
    paychan::memory_pipe::end& end;
    std::function<void(const bytes&)> watch;  ///< sees each frame before it leaves
    std::vector<bytes> sent{};
    int closed = 0;

    void send(paychan::bytes_view frame) {
        const bool strikes = plan.strikes(call::transport_send);
        if (strikes && plan.how == fault::crashes) throw crash{};
        if (strikes && plan.how == fault::fails) return pipe.cut();
        sent.push_back(owned(frame));
        if (watch) watch(sent.back());
        end.send(frame);
        if (strikes && plan.how == fault::crashes_after) throw crash{};
        if (strikes) end.close();
    }
    void close() {
        ++closed;
        end.close();
    }
};
static_assert(paychan::Transport<faulty_transport>);

template <class B>
struct faulty_broadcaster {
    fault_plan& plan;
    B& network;

    void broadcast(paychan::bytes_view tx) {
        const bool strikes = plan.strikes(call::broadcast);
        if (strikes && plan.how == fault::crashes) throw crash{};
        if (!strikes || plan.how != fault::fails)
            network.broadcast(tx);  // `fails`: lost on the way, and nobody says so
        if (strikes && plan.how == fault::crashes_after) throw crash{};
    }
};

}  // namespace paychan_test
