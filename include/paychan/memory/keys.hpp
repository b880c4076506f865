// Two key stores: keys that live and die with the process, and keys that grow from a seed by a counter on disk.
#pragma once

#include <algorithm>
#include <set>
#include <span>
#include <vector>

#include "paychan/core/reader.hpp"
#include "paychan/core/writer.hpp"
#include "paychan/memory/key_branch.hpp"
#include "paychan/memory/random.hpp"
#include "paychan/policy.hpp"

namespace paychan {

/// The canonical KeyStore, for tests and simulations: its keys are gone with it, and the money of its channels with
/// them.
class memory_keys {
public:
    /// Random keys.
    memory_keys() = default;

    /// These keys, in this order, so that a recorded session replays byte for byte; then key_unavailable.
    explicit memory_keys(std::span<const bytes32> given) : source_(source::given) {
        for (const bytes32& bytes : given) keys_.emplace_back(bytes);
    }

    /// Keys that anyone can compute from a number: for simulations that must run twice alike.
    [[nodiscard]] static memory_keys testing_from(std::uint64_t number) {
        memory_keys out;
        out.source_ = source::number;
        out.number_ = number;
        return out;
    }

    [[nodiscard]] result<key_id> new_key() {
        if (source_ == source::given) {
            if (given_out_ == keys_.size()) return fail(errc::key_unavailable, "all given keys are given out");
            PAYCHAN_CHECK(make_secret_key(keys_[given_out_].reveal()));
        } else {
            secret<bytes32> bytes;
            if (source_ == source::random) {
                PAYCHAN_CHECK(fill_random(bytes.edit()));
            } else {
                std::array<std::uint8_t, 16> text{};
                writer w(text);
                w.u64(number_);
                w.u64(keys_.size());
                bytes.edit() = sha256(text);
            }
            PAYCHAN_TRY(secret_key key, make_secret_key(bytes.reveal()));
            keys_.push_back(std::move(key));
        }
        return key_id{++given_out_};  // from 1: a record without a key names none by accident
    }

    [[nodiscard]] result<paychan::public_key> public_key(key_id id) const {
        PAYCHAN_TRY(const secret_key* const key, find(id));
        return public_key_of(*key);
    }

    [[nodiscard]] result<ecdsa_signature> sign(const sign_request& request) const {
        PAYCHAN_TRY(const secret_key* const key, find(request.key));
        return sign_ecdsa(*key, request.digest);
    }

private:
    enum class source : std::uint8_t { random, given, number };

    [[nodiscard]] result<const secret_key*> find(key_id id) const {
        const auto n = static_cast<std::uint64_t>(id);
        if (n == 0 || n > given_out_) return fail(errc::not_found, "no key of that number was given out");
        return &keys_[static_cast<std::size_t>(n - 1)];
    }

    std::vector<secret_key> keys_;
    std::size_t given_out_ = 0;
    source source_ = source::random;
    std::uint64_t number_ = 0;
};
static_assert(KeyStore<memory_keys>);

/// The KeyStore for real money: key n is the n-th of the seed's channel row, and the store holds how many are given
/// out, so that the seed is the backup.  Several key stores, also in several processes, may share one seed and one
/// store: each gets keys of its own.
/// On disk is the counter.  The last numbers go back by moving it down, as long as nobody has taken one behind them: each
/// write is of the next version, so the store refuses it if there was another since.
/// A server's keys are not counted on disk: they are 2^62, below number 0 of that row, m/1885436259'/coin'/0'/a'/b', and
/// each process takes them in a row from a random one on, so that none comes twice however many strangers ask.  The
/// channel's record, or its export file, says which; a seed alone cannot find them, nor anything that is paid to them.
template <class StoreT>
class seed_keys {
    static_assert(Store<StoreT>, "the counter of keys is kept in a Store: see policy.hpp");

public:
    /// store  borrowed; must outlive this
    /// Fails  invalid_argument (seed not 16 to 64 bytes), corrupt_record (the counter), store_failed.
    [[nodiscard]] static result<seed_keys> open(bytes_view seed, network net, StoreT& store) {
        PAYCHAN_TRY(extended_key parent, derive_branch(seed, net, key_branch::channel));
        PAYCHAN_TRY(extended_key openings, derive(parent, hardened));
        seed_keys out(std::move(parent), std::move(openings), store);
        PAYCHAN_CHECK(out.read_counter());
        return out;
    }

    /// Fails  store_failed, key_unavailable (2^31 keys are given out, or too many others take keys now: ask again).
    [[nodiscard]] result<key_id> new_key() {
        for (int attempt = 0; attempt < 100; ++attempt) {
            if (free_.empty()) {
                PAYCHAN_TRY(const bool claimed, claim(std::uint64_t{counter_} + 1));
                if (!claimed) continue;
                free_.insert(counter_);
            }
            const std::uint32_t n = *free_.begin();
            free_.erase(free_.begin());
            // 1 in 2^127 numbers has no key: it is skipped.
            if (derive_in_branch(parent_, key_branch::channel, n)) return key_id{n};
        }
        return fail(errc::key_unavailable, "others take keys from this store at the same time: try again");
    }

    /// As policy.hpp says.  Fails  key_unavailable (no random numbers).
    [[nodiscard]] result<key_id> opening_key() {
        if (next_opening_ == 0) {
            std::array<std::uint8_t, 8> bytes{};
            PAYCHAN_CHECK(fill_random(bytes));
            next_opening_ = reader(bytes).u64();
        }
        return key_id{(next_opening_++ & (opening_bit / 2 - 1)) | opening_bit};
    }

    /// As policy.hpp says: the key is given out again, here or by another process.
    /// id  of a key that new_key of this object gave out; one that the chain has seen since stays used
    void give_back(key_id id) {
        const auto n = static_cast<std::uint64_t>(id);
        if (n <= seen_ || n > counter_) return;
        free_.insert(static_cast<std::uint32_t>(n));
        unclaim();
    }

    [[nodiscard]] result<paychan::public_key> public_key(key_id id) {
        PAYCHAN_TRY(const secret_key key, find(id));
        return public_key_of(key);
    }

    [[nodiscard]] result<ecdsa_signature> sign(const sign_request& request) {
        PAYCHAN_TRY(const secret_key key, find(request.key));
        return sign_ecdsa(key, request.digest);
    }

    /// The numbers of all keys that this process knows to be given out, or claimed, are 1 to this.
    [[nodiscard]] std::uint32_t count() const { return counter_; }

    /// The public key of a number that may not have been given out yet.  Fails  not_found (no such number).
    [[nodiscard]] result<paychan::public_key> peek(key_id id) const {
        PAYCHAN_TRY(const secret_key key, derive_number(static_cast<std::uint64_t>(id)));
        return public_key_of(key);
    }

    /// Counts all keys up to `id` as given out: it was met on the chain or in an imported channel, so the store is
    /// older than the truth.  Fails  store_failed, not_found (no such number).
    [[nodiscard]] result<void> saw(key_id id) {
        if (!is_counted(id)) return {};
        const auto n = static_cast<std::uint64_t>(id);
        if (n == 0 || n >= hardened) return fail(errc::not_found, "there is no key of that number");
        while (counter_ < n) PAYCHAN_CHECK(claim(n));  // grows even when another was faster
        seen_ = std::max(seen_, static_cast<std::uint32_t>(n));
        free_.erase(free_.begin(), free_.upper_bound(seen_));
        return {};
    }

private:
    seed_keys(extended_key parent, extended_key openings, StoreT& store)
        : parent_(std::move(parent)), openings_(std::move(openings)), store_(&store) {}

    static constexpr std::uint64_t opening_bit = std::uint64_t{1} << 63;

    static constexpr record_id counter_id{record_kind::key_counter, {}};

    [[nodiscard]] result<void> read_counter() {
        std::array<std::uint8_t, 64> memory{};
        const result<stored_record> stored = store_->get(counter_id, memory);
        if (!stored && stored.error().code == errc::not_found) return {};
        if (!stored) return fail(stored.error());
        reader r(stored->bytes);
        const std::uint32_t n = r.u32();
        if (!r.done() || n >= hardened)
            return fail(errc::corrupt_record, "the counter of keys in the store is damaged");
        counter_ = n;
        version_ = stored->version;
        return {};
    }

    /// True: the numbers from counter_ + 1 to `to` are ours, and counter_ is `to`.  False: another key store was faster,
    /// and counter_ is what it wrote.
    [[nodiscard]] result<bool> claim(std::uint64_t to) {
        to = std::min<std::uint64_t>(to, hardened - 1);
        if (counter_ >= to) return fail(errc::key_unavailable, "all 2^31 keys of this seed are given out");
        return move_counter(static_cast<std::uint32_t>(to));
    }

    /// The last numbers that nobody uses go back.  If that fails they are lost: the store may have it, and others may take
    /// them.
    void unclaim() {
        std::uint32_t to = counter_;
        for (auto n = free_.rbegin(); n != free_.rend() && *n == to; ++n) --to;
        if (to == counter_) return;
        const std::set<std::uint32_t> ours = free_;
        free_.erase(free_.upper_bound(to), free_.end());
        if (const auto moved = move_counter(to); moved && !*moved) free_ = ours;  // another has claimed behind them
    }

    /// False: another key store was faster, nothing is written, and counter_ is what it wrote.
    [[nodiscard]] result<bool> move_counter(std::uint32_t to) {
        std::array<std::uint8_t, 4> memory{};
        writer w(memory);
        w.u32(to);
        const result<void> put = store_->put(counter_id, version_ + 1, w.written());
        if (put) {
            counter_ = to;
            ++version_;
            return true;
        }
        if (put.error().code != errc::stale_record) return fail(put.error());
        const std::uint64_t before = version_;
        PAYCHAN_CHECK(read_counter());
        if (version_ == before) return fail(errc::store_failed, "the store refuses a newer counter of keys");
        return false;
    }

    [[nodiscard]] result<secret_key> derive_number(std::uint64_t n) const {
        if (n >= opening_bit && n < opening_bit + opening_bit / 2) {
            PAYCHAN_TRY(const extended_key row, derive(openings_, static_cast<std::uint32_t>(n >> 31) | hardened));
            PAYCHAN_TRY(extended_key one, derive(row, static_cast<std::uint32_t>(n) | hardened));
            return std::move(one.key);
        }
        if (n == 0 || n >= hardened) return fail(errc::not_found, "there is no key of that number");
        return derive_in_branch(parent_, key_branch::channel, static_cast<std::uint32_t>(n));
    }

    [[nodiscard]] result<secret_key> find(key_id id) {
        const bool counted = is_counted(id);
        if (counted && static_cast<std::uint64_t>(id) > counter_)
            PAYCHAN_CHECK(read_counter());  // another may have given it out
        if (counted && static_cast<std::uint64_t>(id) > counter_)
            return fail(errc::not_found, "no key of that number was given out");
        return derive_number(static_cast<std::uint64_t>(id));
    }

    extended_key parent_;
    extended_key openings_;
    StoreT* store_;
    std::uint32_t counter_ = 0;  // as it was read or written last,
    std::uint64_t version_ = 0;  // and the version of that
    std::uint64_t next_opening_ = 0;
    std::uint32_t seen_ = 0;        // on the chain or in a channel: up to here nothing goes back
    std::set<std::uint32_t> free_;  // claimed here, and not given out
};

}  // namespace paychan
