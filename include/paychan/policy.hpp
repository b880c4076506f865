// The seams: what paychan asks of the parts that you choose.  Each concept lists the functions; above it, the contract.
#pragma once

#include <concepts>
#include <optional>
#include <span>
#include <string_view>
#include <variant>

#include "paychan/bitcoin/fee.hpp"
#include "paychan/bitcoin/script.hpp"
#include "paychan/bitcoin/transaction.hpp"
#include "paychan/core/bounded_list.hpp"
#include "paychan/core/bytes.hpp"
#include "paychan/core/result.hpp"
#include "paychan/core/satoshi.hpp"
#include "paychan/core/unix_time.hpp"
#include "paychan/crypto/keys.hpp"
#include "paychan/wire/messages.hpp"

// Rules for all of them: the driver borrows a policy by reference, and the policy outlives it.  A policy never calls
// back into the driver from inside a call.  A driver is used from one thread at a time; a policy shared by several
// drivers either runs on that thread too, or locks by itself.
namespace paychan {

// ---- Transport ----------------------------------------------------------------------------------------------------

/// Carries frames to the peer, in order.
/// send(frame)  queues one frame, copying what it needs; never blocks.  The frame is the message without a length: a
///              stream adds its own 4 bytes (wire/frame.hpp).  A connection that cannot send any more drops the frame
///              and reports its end later, through the driver's on_disconnected().
/// close()      ends the connection once what was queued has been sent.  Whoever owns the connection then calls
///              on_disconnected(), as when the peer ends it: once, and never from inside close().
template <class T>
concept Transport = requires(T t, bytes_view frame) {
    { t.send(frame) } -> std::same_as<void>;
    { t.close() } -> std::same_as<void>;
};

// ---- Clock --------------------------------------------------------------------------------------------------------

/// now()  the wall clock [s since 1970].  It may jump; expiries are compared with it, lock times with the chain's time.
template <class C>
concept Clock = requires(C c) {
    { c.now() } -> std::same_as<unix_time>;
};

// ---- KeyStore -----------------------------------------------------------------------------------------------------

/// Names a key in its key store.  Stored in the channel's record in place of the key.
enum class key_id : std::uint64_t {};

/// False for keys of opening_key(), whose highest bit is set: no counter rests on them.
[[nodiscard]] constexpr bool is_counted(key_id id) { return static_cast<std::uint64_t>(id) >> 63 == 0; }

/// What a signature will do, so that a signer can show it or apply limits.
enum class signing_purpose : std::uint8_t {
    refund,             ///< client: takes the whole contract back after the expiry
    refund_for_client,  ///< server, version 1: lets the client take it back after the expiry
    payment,            ///< client: gives `to_server` away
    settlement,         ///< server: collects `to_server`
    resume,             ///< client: moves nothing; shows a server that it talks to the channel's client
};

struct sign_request {
    key_id key{};
    signing_purpose purpose{};
    bytes32 digest{};     ///< the sighash; with `resume` see channel/resume.hpp
    satoshi to_client{};  ///< [satoshi] what the client gets by this transaction, before fees
    satoshi to_server{};  ///< [satoshi] what the server gets by it, before fees
};

/// Holds private keys; none of them ever leaves it.
/// new_key()       a key that was never given out before, also not before a restart: what makes sure of that is on disk
///                 before it returns.  Fails  store_failed, key_unavailable.
/// public_key(id)  its public key.  Fails  not_found, key_unavailable.
/// sign(request)   ECDSA, low S, RFC 6979.  Fails  not_found, key_unavailable ("nothing moved, ask again").
///
/// Optional: opening_key()  for a server, whose openings strangers begin: as new_key, but nothing lasts of it, and it can be
/// had from its id alone, which has its highest bit set.  Never given out twice: who had a version 1 refund signed with a
/// near expiry could else open a channel with a far one on the same contract.  Without it, new_key.
///
/// Optional: give_back(id)  new_key may give this key out again: its opening ended, nothing is stored or locked with it, and
/// what it signed, if anything, has not left.  A peer may have seen its public key.  Without it each opening that fails costs
/// a client a key, and, without opening_key, each stranger's hello a server.
template <class K>
concept KeyStore = requires(K k, key_id id, const sign_request& request) {
    { k.new_key() } -> std::same_as<result<key_id>>;
    { k.public_key(id) } -> std::same_as<result<paychan::public_key>>;
    { k.sign(request) } -> std::same_as<result<ecdsa_signature>>;
};

/// A key for a server's opening.
template <KeyStore K>
[[nodiscard]] result<key_id> opening_key(K& keys) {
    if constexpr (requires { keys.opening_key(); })
        return keys.opening_key();
    else
        return keys.new_key();
}

/// Gives a key back where the key store takes it; id 0 is none.
template <KeyStore K>
void give_back(K& keys, key_id id) {
    if constexpr (requires { keys.give_back(id); })
        if (id != key_id{}) keys.give_back(id);
}

// ---- Store --------------------------------------------------------------------------------------------------------

/// What a stored record holds.  The numbers are on disk: never reuse one.
enum class record_kind : std::uint8_t {
    client_channel = 1,     ///< the client's record; rewritten by every payment
    client_contract = 2,    ///< the contract transaction; never changes
    client_refund = 3,      ///< the complete refund transaction; never changes
    server_channel = 4,     ///< the server's record; rewritten by every payment
    server_contract = 5,    ///< the contract transaction; never changes
    server_settlement = 6,  ///< the settlement that was broadcast last
    key_counter = 7,        ///< how many keys a key store has given out
    chain_position = 8,     ///< how far somebody has followed the chain; the record's name says who
    store_network = 9,      ///< the name of the network that the store's channels are on
    wallet_coin = 10,       ///< a wallet's outputs of one transaction, whose txid is the record's name
    wallet_state = 11,      ///< what a wallet knows besides its coins
    client_watch = 12,      ///< what the chain did to a client's channel; rewritten by a monitor, never by payments
    server_watch = 13,      ///< the same of a server's
};

/// The name of a record: its kind, and the contract's txid (or zeros, for records that belong to no channel).
struct record_id {
    record_kind kind{};
    txid channel{};
    friend bool operator==(const record_id&, const record_id&) = default;
    friend auto operator<=>(const record_id&, const record_id&) = default;
};

struct put_request {
    record_id id;
    std::uint64_t version = 0;
    bytes_view bytes;
};

struct stored_record {
    std::uint64_t version = 0;
    bytes_view bytes;  ///< in the memory that `get` was given
};

/// Whether a put of this version only ever replaces a record that is there.  A channel is stored first with version 1;
/// where none is at a later version, it was deleted, its contract being spent and buried: a process that was stopped
/// since before that must not write it again, and ack a payment on nothing.
[[nodiscard]] constexpr bool needs_predecessor(const record_id& id, std::uint64_t version) {
    return version > 1 && (id.kind == record_kind::client_channel || id.kind == record_kind::server_channel);
}

/// How a store on disk is opened.
enum class store_access : std::uint8_t {
    create,     ///< read and write; a missing store is made, for its owner alone
    existing,   ///< read and write; a missing store is an error: a mistyped path must not look like "no channels"
    read_only,  ///< read; a missing store is an error
};

/// Keeps records across crashes.  Any function may fail with corrupt_record too.
/// put(id, version, bytes)  atomic, and on disk when it returns.  version  below 2^63
///                          Fails  stale_record (this version or a newer one is there, or none is and
///                                 needs_predecessor() says that one must: nothing is written),
///                                 store_failed (nothing is written, or it is unknown: stop using the record).
/// get(id, memory)          the latest version, copied into `memory`.  Fails  not_found, too_long (memory), store_failed.
/// erase(id)                forgets it; no error when it is not there.  Fails  store_failed.
/// list(kind, f)            calls f(record_id) for each record of that kind; f must not use the store.
///                          Fails  store_failed.
///
/// Optional: put_many(span<const put_request>)  all of them or none, at the cost of one put; a record may occur again,
/// newer, and what stands before it counts as there.  Without put_many a batch is written one by one in its order, so a
/// server commits once for each channel and not once for all.
///
/// Optional: scan(kind, after, f)  calls f(record_id, const result<stored_record>&) for the records of that kind in the
/// order of their names, from the first name above `after` on, or from the first of all; f returns false to stop, and must
/// not use the store.  The bytes live during the call.  What get() would fail with, as corrupt_record, f is given; the
/// others follow.  Without scan a start asks for each record by its name.  Fails  store_failed, corrupt_record (it cannot
/// go on).
///
/// Optional: foreign_writes()  a number that changes when another process has written since the last call.  Without it a
/// monitor lists all names now and then, to find what others have stored.
template <class S>
concept Store = requires(S s, const record_id& id, std::uint64_t version, bytes_view bytes, bytes_span memory,
                         record_kind kind, void (*f)(const record_id&)) {
    { s.put(id, version, bytes) } -> std::same_as<result<void>>;
    { s.get(id, memory) } -> std::same_as<result<stored_record>>;
    { s.erase(id) } -> std::same_as<result<void>>;
    { s.list(kind, f) } -> std::same_as<result<void>>;
};

template <class S>
concept BatchStore = Store<S> && requires(S s, std::span<const put_request> batch) {
    { s.put_many(batch) } -> std::same_as<result<void>>;
};

template <class S>
concept ScanStore = Store<S> && requires(S s, record_kind kind, const std::optional<txid>& after,
                                         bool (*f)(const record_id&, const result<stored_record>&)) {
    { s.scan(kind, after, f) } -> std::same_as<result<void>>;
};

/// Writes the batch at once where the store can, else in order.  On failure the caller sends nothing.
template <Store S>
[[nodiscard]] result<void> put_all(S& store, std::span<const put_request> batch) {
    if (batch.empty()) return {};
    if constexpr (BatchStore<S>) {
        return store.put_many(batch);
    } else {
        for (const put_request& r : batch) PAYCHAN_CHECK(store.put(r.id, r.version, r.bytes));
        return {};
    }
}

// ---- Wallet -------------------------------------------------------------------------------------------------------

/// The client's coins.
/// fund(script, amount, rate, memory)  a signed transaction, written into `memory`, whose output 0 pays `amount` to
///                                     `script`.  Its inputs are confirmed coins, or change of unmined transactions that
///                                     nobody else can replace, and stay reserved until `release`d or seen spent.
///                                     Fails  insufficient_funds, too_long (memory), key_unavailable.
/// release(tx)                         the funded transaction will never be broadcast: its coins are free again.
template <class W>
concept FundingWallet = requires(W w, bytes_view script, satoshi amount, fee_rate rate, bytes_span memory,
                                 bytes_view tx) {
    { w.fund(script, amount, rate, memory) } -> std::same_as<result<bytes_view>>;
    { w.release(tx) } -> std::same_as<void>;
};

/// payout_script()  where the server's share goes: a script that the wallet can spend for ever.  Fails key_unavailable.
///
/// Optional: add_fee_inputs(draft, memory), for settlements that do not pay for themselves: see `settlement_draft`.
template <class W>
concept PayoutWallet = requires(W w) {
    { w.payout_script() } -> std::same_as<result<script_buffer>>;
};

/// A settlement whose fee leaves less than a payout that nodes relay.  The wallet appends inputs of its own, signs them
/// (SIGHASH_ALL), and raises the value of the last output, its own payout, to all that is left after the fee.  Input 0
/// and, where there are two outputs, output 0 are fixed by the client's signature and must stay where they are.
/// It must fail with insufficient_funds when the payout would not be more than the inputs that were added: strangers
/// could make a wallet pay for settlements that bring nothing.
struct settlement_draft {
    bytes_view tx;                    ///< unsigned: input 0 = contract; the last output pays the wallet, at value 0
    satoshi available{};              ///< [satoshi] value for payout and fee that the contract input brings
    std::size_t script_sig_size = 0;  ///< [bytes] what input 0 will still grow by
    fee_rate rate{};
};

template <class W>
concept FeeInputWallet = PayoutWallet<W> && requires(W w, const settlement_draft& draft, bytes_span memory) {
    { w.add_fee_inputs(draft, memory) } -> std::same_as<result<bytes_view>>;
};

/// What a transaction and its unmined ancestors pay, and what they weigh.
struct package {
    satoshi fee{};           ///< [satoshi]
    std::int64_t vsize = 0;  ///< [vbytes]; 0: not known
};

/// What a transaction in a mempool pays and weighs.
struct mempool_fees {
    package alone{};  ///< itself
    package with_ancestors{};
};

/// For nodes that let nothing take an unmined settlement's place: a child that spends its payout pays for both.
/// pay_for(draft, memory)  a signed transaction that spends `payout` to the wallet.  The same draft gives the same one.
///                         Fails  insufficient_funds (the payout does not bear it), as add_fee_inputs.
struct child_draft {
    outpoint payout;
    satoshi value{};    ///< [satoshi] of the payout
    bytes_view script;  ///< it pays to, one of the wallet's
    package parent;     ///< what the settlement and its unmined ancestors pay and weigh
    fee_rate rate{};    ///< [sat/kvB] that all of them are to pay together
    satoshi most{};     ///< [satoshi] of fee, for the child
};

template <class W>
concept ChildWallet = PayoutWallet<W> && requires(W w, const child_draft& draft, bytes_span memory) {
    { w.pay_for(draft, memory) } -> std::same_as<result<bytes_view>>;
};

/// For a contract that no node takes: its coins come back to the wallet, and it can be in no block any more.
/// take_back(contract, rate, memory)  a signed transaction that spends coins of the contract's inputs to the wallet, at
///                                    `rate` or more.  Fails  insufficient_funds (they are spent, or do not bear the fee).
template <class W>
concept TakeBackWallet = requires(W w, bytes_view contract, fee_rate rate, bytes_span memory) {
    { w.take_back(contract, rate, memory) } -> std::same_as<result<bytes_view>>;
};

// ---- Broadcaster --------------------------------------------------------------------------------------------------

/// broadcast(tx)  hands a transaction to the network.  Never blocks; the outcome comes back later through the driver's
///                on_broadcast().  May be called again with the same transaction at any time.
template <class B>
concept Broadcaster = requires(B b, bytes_view tx) {
    { b.broadcast(tx) } -> std::same_as<void>;
};

/// How a broadcast ended.
enum class broadcast_outcome : std::uint8_t {
    accepted,     ///< in the mempool or in a block already
    refused,      ///< the network says no: its words come with it
    unreachable,  ///< no answer: it will be tried again
};

// ---- ChainListener ------------------------------------------------------------------------------------------------

/// A block that joined the active chain.  Views live during the call.
struct connected_block {
    std::int32_t height = 0;
    bytes32 hash{};
    unix_time median_time{};  ///< of this block and the 10 before it: what lock times are compared with (BIP113)
    bytes_view raw;           ///< the whole block, see bitcoin/block.hpp
};

/// Blocks that are on the active chain and that nobody can show any more: the node has deleted them.
struct passed_blocks {
    std::int32_t first = 0;
    std::int32_t last = 0;
};

/// A reorganisation took the block at this height away, and all above it.
struct disconnected_blocks {
    std::int32_t from = 0;
};

/// The best block of whoever shows the blocks; connected_block gets there later, perhaps much later.
struct chain_tip {
    std::int32_t height = 0;
    unix_time median_time{};
    bool downloading = false;  ///< there are later ones, as it says itself: what was spent in those is not known

    /// The chain's time for who knew `before`: one that is behind does not set it back, as a reorganisation does.
    [[nodiscard]] constexpr unix_time time_after(unix_time before) const {
        return downloading && median_time < before ? before : median_time;
    }
};

/// Why the network refused a transaction, where a higher fee helps.
enum class fee_refusal : std::uint8_t {
    none,       ///< for something else, or it is not known
    underpaid,  ///< it pays less than nodes take now
    outbid,     ///< something that it would replace pays as much
};

/// What the network said to a transaction.
struct broadcast_answer {
    txid id;
    broadcast_outcome outcome{};
    std::string_view words;                   ///< the node's, for people; lives during the call
    fee_refusal for_fee = fee_refusal::none;  ///< with `refused`
    mempool_fees pays{};                      ///< with `accepted`, where the node tells
    // What a node knows that has deleted its old blocks.  Of blocks that were told, or passed:
    std::int32_t mined = 0;  ///< with `accepted`: [blocks] height of the one that holds it; 0: not known
    bool spent = false;      ///< with `refused`: one has spent what its input 0 spends, if that was ever in one
};

/// What transactions should pay now.  More with each: floor, rate, soon.
struct fee_estimate {
    fee_rate rate{};   ///< [sat/kvB] to be in a block in an hour or so
    fee_rate soon{};   ///< [sat/kvB] to be in one of the next two; 0: not known
    fee_rate floor{};  ///< [sat/kvB] below this nodes take nothing now; 0: not known
    friend bool operator==(const fee_estimate&, const fee_estimate&) = default;
};

/// Whoever takes transactions was away, and is back: it may have forgotten all that is in no block.
struct node_returned {};

using chain_event = std::variant<connected_block, passed_blocks, disconnected_blocks, chain_tip, broadcast_answer,
                                 fee_estimate, node_returned>;

/// When a listener has its turn.  A connection holds its channel's record, so it changes that before a monitor looks; a
/// monitor learns what is spent before a wallet offers what is left.
enum class chain_turn : std::uint8_t { connections, monitors, wallet, others };

/// Follows the chain; what happens there is not asked for but pushed in.
/// chain_order  its chain_turn
/// on_chain(e)  connected and passed blocks come with heights in order and without a gap.  The same block may come again,
///              and blocks from a lower height on: after a restart, or when somebody else has to read them anew.  They say
///              the same again, unless they have left the chain meanwhile: what is known of a block that comes again is what
///              it says now.  Must not throw.  If it does all the same, that is a bug of its own: the exception passes
///              through whoever tells; who stands behind has not heard of the event, and all are told it again with the
///              next look at the chain.
template <class L>
concept ChainListener = requires(L l, const chain_event& e) {
    { l.on_chain(e) } -> std::same_as<void>;
    { L::chain_order } -> std::convertible_to<chain_turn>;
};

/// Tells all listeners of an event, each in its turn; those of one turn in the order given.
template <class... L>
void tell([[maybe_unused]] const chain_event& e, L&... listeners) {
    static_assert((ChainListener<L> && ...), "who follows the chain has chain_order and on_chain(): see ChainListener");
    [[maybe_unused]] const auto in_turn = [&](chain_turn now, auto& listener) {
        if (listener.chain_order == now) listener.on_chain(e);
    };
    (in_turn(chain_turn::connections, listeners), ...);
    (in_turn(chain_turn::monitors, listeners), ...);
    (in_turn(chain_turn::wallet, listeners), ...);
    (in_turn(chain_turn::others, listeners), ...);
}

/// Calls the one of `f` that takes the event; events that none of them takes are passed over.
///     match(e, [&](const connected_block& b) { ... }, [&](const chain_tip& t) { ... });
template <class... F>
void match(const chain_event& e, F&&... f) {
    struct matcher : F... {
        using F::operator()...;
    };
    const matcher all{std::forward<F>(f)...};
    std::visit(
        [&](const auto& happened) {
            if constexpr (requires { all(happened); }) all(happened);
        },
        e);
}

// ---- ChainSource --------------------------------------------------------------------------------------------------

/// A block of the active chain.
struct chain_place {
    std::int32_t height = 0;
    bytes32 hash{};
    friend bool operator==(const chain_place&, const chain_place&) = default;
};

/// How far the chain was followed: some of its blocks, the highest first, each further below the last one, so that a fork
/// is found however deep it is.  Empty: not at all.
using chain_position = bounded_list<chain_place, 48>;

/// Where blocks come from.  It is a Broadcaster, and tells its listeners (see ChainListener) of everything else.
/// follow(from, first)  tells of blocks from now on: of those behind `from`.  Blocks of `from` that have left the active
///                      chain are told as disconnected before; when all of them have, or `from` is empty, blocks are told
///                      from the height `first` on; without it, from the lowest of `from`, or the next that comes.  May
///                      be called again, also from a listener, to read anew.  Until it is called, all but blocks is told.
/// position()           up to which block the listeners were told; empty before the first.
template <class C>
concept ChainSource = Broadcaster<C> &&
    requires(C c, const C k, const chain_position& from, std::optional<std::int32_t> first) {
    { c.follow(from, first) } -> std::same_as<void>;
    { k.position() } -> std::same_as<chain_position>;
};

// ---- Codec --------------------------------------------------------------------------------------------------------

/// decode(frame)         the message; its views live until the next decode or as long as the frame, whichever ends first.
///                       Fails  malformed, too_long (cut the peer off without an ERROR), syntax_error (answer with it).
/// encode(message, out)  the frame's bytes, written into `out`.  Fails  too_long.
template <class C>
concept Codec = requires(C c, bytes_view frame, const wire::message& m, bytes_span out) {
    { c.decode(frame) } -> std::same_as<result<wire::message>>;
    { c.encode(m, out) } -> std::same_as<result<bytes_view>>;
};

}  // namespace paychan
