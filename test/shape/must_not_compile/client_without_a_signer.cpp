// expect: see KeyStore in policy.hpp
#include "must_not_compile/policies.hpp"
#include "paychan/client.hpp"

struct keys {
    paychan::result<paychan::key_id> new_key();
    paychan::result<paychan::public_key> public_key(paychan::key_id id);
#ifdef CORRECT
    paychan::result<paychan::ecdsa_signature> sign(const paychan::sign_request& request);
#endif
};

using client =
    paychan::client<paychan::contracts<paychan::multisig_refund>, declared::transport, declared::clock, keys,
                    declared::store, declared::wallet, declared::broadcaster, declared::codec, paychan::ignore_events>;
static_assert(sizeof(client) > 0);
