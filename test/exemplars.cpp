// The smallest type that satisfies each concept of policy.hpp, to copy and fill in; and what does not satisfy it.
#include "paychan/policy.hpp"

#include <cstdint>

// Each policy here is complete as far as the compiler can see, and says in its comments what yours must do besides. The
// drivers borrow it by reference: it outlives them, and never calls them from inside one of these functions.  What each
// function may fail with stands in policy.hpp.  The error texts are literals.  Then run the conformance tests in
// test/conformance/ on it.
namespace paychan::exemplar {

// ---- Transport
// ----------------------------------------------------------------------------------------------------------------

struct transport {
    /// Copy the frame into your queue and return: it is gone afterwards.  Do not block, do not call the driver.
    /// If the connection is dead, drop it; tell the driver later, from your loop, by on_disconnected().
    void send(bytes_view frame) { queued += frame.size(); }

    /// End the connection when the queue is empty.
    void close() { closing = true; }

    std::size_t queued = 0;
    bool closing = false;
};
static_assert(Transport<transport>);

struct transport_without_close : transport {
    void close() = delete;
};
struct transport_that_may_refuse : transport {  // a driver could do nothing about it: say it by on_disconnected()
    bool send(bytes_view) { return true; }
};
static_assert(!Transport<transport_without_close>);
static_assert(!Transport<transport_that_may_refuse>);

// ---- Clock
// --------------------------------------------------------------------------------------------------------------------

struct clock {
    /// Seconds since 1970, UTC, as right as you can: expiries are compared with it.  Not the time since power on.
    [[nodiscard]] unix_time now() const { return {1'700'000'000}; }
};
static_assert(Clock<clock>);

struct clock_of_bare_numbers {
    [[nodiscard]] std::int64_t now() const { return 1'700'000'000; }  // of what?
};
static_assert(!Clock<clock_of_bare_numbers>);

// ---- KeyStore
// -----------------------------------------------------------------------------------------------------------------

struct key_store {
    /// Count on disk first, then give out: after a crash, no key is given out again.
    result<key_id> new_key() { return fail(errc::key_unavailable, "no seed"); }

    /// Optional, for a server: strangers begin its openings, so that nothing should last of one.  Never twice the same; its
    /// id, with the highest bit set, is all that is stored of it.
    result<key_id> opening_key() { return fail(errc::key_unavailable, "no seed"); }

    /// Optional.  Of a key that new_key gave out, and that nothing is locked with: give it out again, or forget it.
    void give_back(key_id) {}

    /// 33 or 65 bytes; the same bytes each time, since scripts depend on them.
    result<paychan::public_key> public_key(key_id) { return fail(errc::not_found, "no such key"); }

    /// ECDSA over request.digest, low S, nonce by RFC 6979.  Look at purpose and amounts if you have limits, or a
    /// screen. key_unavailable means that nothing was signed and the driver may ask again.
    result<ecdsa_signature> sign(const sign_request&) { return fail(errc::key_unavailable, "no seed"); }
};
static_assert(KeyStore<key_store>);

struct key_store_that_signs_blindly : key_store {
    result<ecdsa_signature> sign(key_id, const bytes32&) { return fail(errc::key_unavailable, "no seed"); }
};
struct key_store_that_gives_keys_away : key_store {
    result<secret_key> new_key() { return fail(errc::key_unavailable, "no seed"); }
};
static_assert(!KeyStore<key_store_that_signs_blindly>);
static_assert(!KeyStore<key_store_that_gives_keys_away>);

// ---- Store
// --------------------------------------------------------------------------------------------------------------------

struct store {
    /// All or nothing, and on disk (synced, not only handed to the system) when you return success: a signature or an
    /// ack leaves next. A version that is not above the stored one is stale_record, and changes nothing.  Versions stay
    /// below 2^63.
    result<void> put(const record_id&, std::uint64_t, bytes_view) { return fail(errc::store_failed, "no disk"); }

    /// Copy into `memory`, and return a view of its beginning.
    result<stored_record> get(const record_id&, bytes_span) { return fail(errc::not_found, "no such record"); }

    /// Also a success when there is no such record.
    result<void> erase(const record_id&) { return {}; }

    /// Once for each record of the kind; any order.  Take any callable: drivers pass lambdas.
    template <class F>
    result<void> list(record_kind, F&&) {
        return {};
    }
};
static_assert(Store<store>);
static_assert(!BatchStore<store>);  // put_all then writes one by one

struct batch_store : store {
    /// All of the batch or none of it, for the price of one put.
    result<void> put_many(std::span<const put_request>) { return fail(errc::store_failed, "no disk"); }
};
static_assert(BatchStore<batch_store>);
static_assert(!ScanStore<batch_store>);  // a start then asks for each record by its name

struct scan_store : store {
    /// In the order of the names' bytes, from the first above `after` on, until f returns false.  A record that cannot be
    /// read is handed over as its error, and the others follow; fail only when you cannot go on.  Any callable.
    template <class F>
    result<void> scan(record_kind, const std::optional<txid>& /*after*/, F&&) {
        return {};
    }
};
static_assert(ScanStore<scan_store>);

struct store_without_put : store {
    result<void> put(const record_id&, std::uint64_t, bytes_view) = delete;
};
struct store_without_versions : store {
    result<void> put(const record_id&, bytes_view) { return {}; }
};
struct store_without_erase : store {
    result<void> erase(const record_id&) = delete;
};
struct store_without_get : store {
    result<stored_record> get(const record_id&, bytes_span) = delete;
};
struct store_without_list : store {
    void list() = delete;
};
struct store_that_says_only_no : store {
    bool put(const record_id&, std::uint64_t, bytes_view) {
        return false;
    }  // stale, or the disk?  They differ in what to do
};
struct batches_without_a_store {
    result<void> put_many(std::span<const put_request>) { return {}; }
};
static_assert(!Store<store_without_put>);
static_assert(!Store<store_without_versions>);
static_assert(!Store<store_without_erase>);
static_assert(!Store<store_without_get>);
static_assert(!Store<store_without_list>);
static_assert(!Store<store_that_says_only_no>);
static_assert(!BatchStore<batches_without_a_store>);

// ---- Wallet
// -------------------------------------------------------------------------------------------------------------------

struct funding_wallet {
    /// Sign it, reserve its coins, do not broadcast it: the refund must be safe first.  Output 0 pays exactly `amount`.
    result<bytes_view> fund(bytes_view /*script*/, satoshi /*amount*/, fee_rate, bytes_span /*memory*/) {
        return fail(errc::insufficient_funds, "no coins");
    }

    /// That transaction will not be broadcast.  May come twice, or for a transaction that you do not know.
    void release(bytes_view /*tx*/) {}
};
static_assert(FundingWallet<funding_wallet>);

struct payout_wallet {
    /// A script that you will be able to spend in years, too.
    result<script_buffer> payout_script() { return fail(errc::key_unavailable, "no seed"); }
};
static_assert(PayoutWallet<payout_wallet>);
static_assert(!FeeInputWallet<payout_wallet>);  // settlements then pay for themselves, or wait

struct fee_input_wallet : payout_wallet {
    /// Append inputs of your own; leave input 0, and output 0 where there are two, in their places.  Fail with
    /// insufficient_funds when the fee is not below draft.available: the payout would not be worth your inputs.
    result<bytes_view> add_fee_inputs(const settlement_draft&, bytes_span /*memory*/) {
        return fail(errc::insufficient_funds, "no coins");
    }
};
static_assert(FeeInputWallet<fee_input_wallet>);

struct funding_wallet_without_release : funding_wallet {
    void release(bytes_view) = delete;
};
struct funding_wallet_without_a_rate : funding_wallet {
    result<bytes_view> fund(bytes_view, satoshi, bytes_span) { return fail(errc::insufficient_funds, "no coins"); }
};
struct fee_input_wallet_without_a_payout : funding_wallet {
    result<bytes_view> add_fee_inputs(const settlement_draft&, bytes_span) {
        return fail(errc::insufficient_funds, "no coins");
    }
};
static_assert(!FundingWallet<funding_wallet_without_release>);
static_assert(!FundingWallet<funding_wallet_without_a_rate>);
static_assert(!FundingWallet<payout_wallet>);
static_assert(!PayoutWallet<funding_wallet>);
static_assert(!FeeInputWallet<fee_input_wallet_without_a_payout>);

// ---- Broadcaster
// --------------------------------------------------------------------------------------------------------------

struct broadcaster {
    /// Copy it and return.  Tell the driver the outcome later, by on_broadcast(txid, outcome, reason).  The same
    /// transaction comes again until it is buried, so "already known" is `accepted`.
    void broadcast(bytes_view /*tx*/) {}
};
static_assert(Broadcaster<broadcaster>);

struct broadcaster_that_answers_at_once {
    result<void> broadcast(bytes_view) { return {}; }  // it would have to block
};
static_assert(!Broadcaster<broadcaster_that_answers_at_once>);

// ---- ChainListener
// --------------------------------------------------------------------------------------------------------------------

struct chain_listener {
    static constexpr chain_turn chain_order = chain_turn::others;

    /// Take what you need by match(), and pass over the rest.  Blocks come again after a restart.  Do not throw.
    void on_chain(const chain_event& e) {
        match(e, [this](const connected_block& b) { height = b.height; });
    }

    std::int32_t height = 0;
};
static_assert(ChainListener<chain_listener>);

struct chain_listener_without_a_turn {
    void on_chain(const chain_event&) {}
};
struct chain_listener_of_blocks : chain_listener {
    void on_chain(const connected_block&) {}
};
static_assert(!ChainListener<chain_listener_without_a_turn>);
static_assert(!ChainListener<chain_listener_of_blocks>);

// ---- ChainSource
// --------------------------------------------------------------------------------------------------------------------

struct chain_source : broadcaster {
    /// Remember it and return: blocks are told later, from your loop.
    void follow(const chain_position& /*from*/, std::optional<std::int32_t> /*first*/) {}

    /// Of the last block that all listeners were told of.
    [[nodiscard]] chain_position position() const { return {}; }
};
static_assert(ChainSource<chain_source>);
static_assert(!ChainSource<broadcaster>);

// ---- Codec
// --------------------------------------------------------------------------------------------------------------------

struct codec {
    /// The frame is a stranger's: check every length.  Views may point into it.
    result<wire::message> decode(bytes_view /*frame*/) { return fail(errc::malformed, "not a message"); }

    /// Into `out`, without the 4 bytes of length that a stream adds.
    result<bytes_view> encode(const wire::message&, bytes_span /*out*/) { return fail(errc::too_long, "no room"); }
};
static_assert(Codec<codec>);

struct codec_without_encode : codec {
    result<bytes_view> encode(const wire::message&, bytes_span) = delete;
};
struct codec_that_throws_instead : codec {
    wire::message decode(bytes_view) { return wire::channel_open{}; }
};
static_assert(!Codec<codec_without_encode>);
static_assert(!Codec<codec_that_throws_instead>);

}  // namespace paychan::exemplar
