// Policies that are declared and no more: enough for the compiler to accept a driver, with none of them behind it.
#pragma once

#include "paychan/policy.hpp"

namespace declared {

struct transport {
    void send(paychan::bytes_view frame);
    void close();
};

struct clock {
    paychan::unix_time now();
};

struct keys {
    paychan::result<paychan::key_id> new_key();
    paychan::result<paychan::public_key> public_key(paychan::key_id id);
    paychan::result<paychan::ecdsa_signature> sign(const paychan::sign_request& request);
};

struct store {
    paychan::result<void> put(const paychan::record_id& id, std::uint64_t version, paychan::bytes_view bytes);
    paychan::result<paychan::stored_record> get(const paychan::record_id& id, paychan::bytes_span memory);
    paychan::result<void> erase(const paychan::record_id& id);
    paychan::result<void> list(paychan::record_kind kind, void (*f)(const paychan::record_id&));
};

struct wallet {
    paychan::result<paychan::bytes_view> fund(paychan::bytes_view script, paychan::satoshi amount,
                                              paychan::fee_rate rate, paychan::bytes_span memory);
    void release(paychan::bytes_view tx);
    paychan::result<paychan::script_buffer> payout_script();
};

struct broadcaster {
    void broadcast(paychan::bytes_view tx);
};

struct codec {
    paychan::result<paychan::wire::message> decode(paychan::bytes_view frame);
    paychan::result<paychan::bytes_view> encode(const paychan::wire::message& message, paychan::bytes_span out);
};

}  // namespace declared
