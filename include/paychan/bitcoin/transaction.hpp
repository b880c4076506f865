// Transactions: a non-owning view that reads serialized ones, and a writer; with and without witness, no heap.
#pragma once

#include <iterator>
#include <span>

#include "paychan/bitcoin/txid.hpp"
#include "paychan/core/bytes.hpp"
#include "paychan/core/reader.hpp"
#include "paychan/core/result.hpp"
#include "paychan/core/satoshi.hpp"
#include "paychan/core/writer.hpp"
#include "paychan/crypto/hash.hpp"

namespace paychan {

/// An input that is final on every count: its transaction's lock_time does not bind through it.
inline constexpr std::uint32_t final_sequence = 0xffff'ffff;

/// Views point into the transaction that it was read from, or to what the caller will have written.
struct tx_input {
    outpoint prevout;
    bytes_view script_sig;
    std::uint32_t sequence = final_sequence;
    bytes_view witness;  ///< serialized stack: CompactSize count, then sized items; empty when there is none
};

struct tx_output {
    satoshi value;  ///< as serialized: any 64-bit number in a transaction that is not ours
    bytes_view script_pubkey;
};

namespace detail {

/// What is still to be read, without reading it.
[[nodiscard]] constexpr bytes_view rest(reader r) { return r.bytes(r.remaining()); }

/// One input's witness as it is serialized; an empty stack gives an empty view.
constexpr bytes_view read_witness(reader& r) {
    const bytes_view source = rest(r);
    const std::size_t start = r.position();
    const std::uint64_t count = r.compact_size();
    for (std::uint64_t i = 0; i < count && r.ok(); ++i) r.sized_bytes();  // each takes a byte, or fails: ends
    if (!r.ok() || count == 0) return {};
    return source.first(r.position() - start);
}

struct input_decoder {
    using value_type = tx_input;
    reader body{bytes_view{}};
    reader witnesses{bytes_view{}};

    constexpr tx_input next() {
        tx_input in;
        in.prevout.id.bytes = body.array<32>();
        in.prevout.index = body.u32();
        in.script_sig = body.sized_bytes();
        in.sequence = body.u32();
        if (witnesses.remaining() > 0) in.witness = read_witness(witnesses);
        return in;
    }
};

struct output_decoder {
    using value_type = tx_output;
    reader body{bytes_view{}};

    constexpr tx_output next() {
        tx_output out;
        out.value = satoshi{body.i64()};
        out.script_pubkey = body.sized_bytes();
        return out;
    }
};

/// Items decoded one after the other, as a range for `for (const tx_input in : tx.inputs())`.
template <class Decoder>
class item_range {
public:
    class iterator {
    public:
        using value_type = typename Decoder::value_type;
        using difference_type = std::ptrdiff_t;

        constexpr iterator() = default;
        constexpr iterator(const Decoder& decoder, std::size_t count) : decoder_(decoder), left_(count) {
            if (left_ > 0) current_ = decoder_.next();
        }
        constexpr const value_type& operator*() const { return current_; }
        constexpr const value_type* operator->() const { return &current_; }
        constexpr iterator& operator++() {
            if (--left_ > 0) current_ = decoder_.next();
            return *this;
        }
        constexpr void operator++(int) { ++*this; }
        friend constexpr bool operator==(const iterator& i, std::default_sentinel_t) { return i.left_ == 0; }

    private:
        Decoder decoder_{};
        std::size_t left_ = 0;
        value_type current_{};
    };

    constexpr item_range(const Decoder& decoder, std::size_t count) : decoder_(decoder), count_(count) {}
    [[nodiscard]] constexpr iterator begin() const { return {decoder_, count_}; }
    [[nodiscard]] constexpr std::default_sentinel_t end() const { return {}; }
    [[nodiscard]] constexpr std::size_t size() const { return count_; }

private:
    Decoder decoder_;
    std::size_t count_;
};

}  // namespace detail

class transaction;
[[nodiscard]] result<transaction> parse_transaction(reader& from);

/// A transaction read from bytes that must outlive it.  Made by `parse_transaction` only, so that every part of it is
/// known to be there.  Says nothing about the rules of consensus: see check.hpp.
class transaction {
public:
    [[nodiscard]] std::int32_t version() const { return version_; }
    [[nodiscard]] std::uint32_t lock_time() const { return lock_time_; }
    [[nodiscard]] bool has_witness() const { return !witnesses_.empty(); }
    [[nodiscard]] std::size_t input_count() const { return input_count_; }
    [[nodiscard]] std::size_t output_count() const { return output_count_; }

    /// All inputs, all outputs, in order; decoded while walking.
    [[nodiscard]] detail::item_range<detail::input_decoder> inputs() const {
        return {detail::input_decoder{reader(inputs_), reader(witnesses_)}, input_count_};
    }
    [[nodiscard]] detail::item_range<detail::output_decoder> outputs() const {
        return {detail::output_decoder{reader(outputs_)}, output_count_};
    }

    /// One input or output by its index; walks there from the first.  Fails  not_found (no such index).
    [[nodiscard]] result<tx_input> input(std::size_t index) const { return at<tx_input>(inputs(), index); }
    [[nodiscard]] result<tx_output> output(std::size_t index) const { return at<tx_output>(outputs(), index); }

    /// The whole serialization, as it was read.
    [[nodiscard]] bytes_view bytes() const { return bytes_; }

    /// hash256 without the witness.  Computed at each call.
    [[nodiscard]] txid id() const {
        sha256_stream hash;
        hash.update(bytes_.first(4));
        hash.update(body_);
        hash.update(bytes_.last(4));
        return txid{finish_hash256(hash)};
    }

    /// hash256 with the witness; equals `id()` when there is none.  Internal order.  BIP141.
    [[nodiscard]] bytes32 wtxid() const { return hash256(bytes_); }

    /// [bytes] without marker, flag and witness.
    [[nodiscard]] std::size_t stripped_size() const { return 4 + body_.size() + 4; }

    /// [weight units]  BIP141: three times the stripped size plus the whole size.
    [[nodiscard]] std::size_t weight() const { return 3 * stripped_size() + bytes_.size(); }

    /// [virtual bytes]  weight / 4, rounded up.
    [[nodiscard]] std::size_t vsize() const { return (weight() + 3) / 4; }

    /// The outputs as serialized, with and without their count: what a sighash streams.
    [[nodiscard]] bytes_view serialized_outputs() const { return outputs_; }
    [[nodiscard]] bytes_view serialized_outputs_with_count() const { return counted_outputs_; }

private:
    friend result<transaction> parse_transaction(reader& from);
    transaction() = default;

    template <class Item, class Range>
    static result<Item> at(const Range& range, std::size_t index) {
        if (index >= range.size()) return fail(errc::not_found, "the transaction has no input or output of that index");
        auto i = range.begin();
        for (; index > 0; --index) ++i;
        return *i;
    }

    bytes_view bytes_;
    bytes_view body_;  // from the count of inputs to the last output
    bytes_view inputs_;
    bytes_view outputs_;
    bytes_view counted_outputs_;
    bytes_view witnesses_;  // empty, or one stack for each input
    std::size_t input_count_ = 0;
    std::size_t output_count_ = 0;
    std::int32_t version_ = 0;
    std::uint32_t lock_time_ = 0;
};

/// Takes one transaction off the front of `from`.
/// Fails   malformed; `from` is then where it was.
/// Work    at most one step for each byte, whatever the counts in it claim.
/// Source  BIP144; Bitcoin Core UnserializeTransaction: CompactSize in shortest form, no unknown flags, no witness
///         record with all stacks empty.
inline result<transaction> parse_transaction(reader& from) {
    const auto malformed = [](std::string_view why) { return fail(errc::malformed, why); };
    const bytes_view source = detail::rest(from);
    reader r(source);
    const auto since = [&](std::size_t start) { return source.subspan(start, r.position() - start); };

    transaction tx;
    tx.version_ = r.i32();

    std::size_t body = r.position();
    std::uint64_t count = r.compact_size();
    bool witness = false;
    // No inputs is the marker of BIP144, unless a zero flag follows: that is a transaction without inputs and outputs.
    if (r.ok() && count == 0 && r.remaining() > 0 && source[r.position()] != 0) {
        if (r.u8() != 1) return malformed("transaction has an unknown flag");
        witness = true;
        body = r.position();
        count = r.compact_size();
    }
    if (!r.ok() || count > r.remaining() / 41) return malformed("transaction is shorter than its inputs");
    tx.input_count_ = static_cast<std::size_t>(count);
    const std::size_t inputs = r.position();
    for (std::size_t i = 0; i < tx.input_count_ && r.ok(); ++i) {
        r.bytes(36);  // prevout
        r.sized_bytes();
        r.u32();
    }
    if (!r.ok()) return malformed("transaction is shorter than its inputs");
    tx.inputs_ = since(inputs);

    const std::size_t counted_outputs = r.position();
    count = r.compact_size();
    if (!r.ok() || count > r.remaining() / 9) return malformed("transaction is shorter than its outputs");
    tx.output_count_ = static_cast<std::size_t>(count);
    const std::size_t outputs = r.position();
    for (std::size_t i = 0; i < tx.output_count_ && r.ok(); ++i) {
        r.u64();
        r.sized_bytes();
    }
    if (!r.ok()) return malformed("transaction is shorter than its outputs");
    tx.outputs_ = since(outputs);
    tx.counted_outputs_ = since(counted_outputs);
    tx.body_ = since(body);

    if (witness) {
        const std::size_t witnesses = r.position();
        bool any = false;
        for (std::size_t i = 0; i < tx.input_count_ && r.ok(); ++i) any |= !detail::read_witness(r).empty();
        if (!r.ok()) return malformed("transaction is shorter than its witness");
        if (!any) return malformed("transaction has a witness record without a witness");
        tx.witnesses_ = since(witnesses);
    }

    tx.lock_time_ = r.u32();
    if (!r.ok()) return malformed("transaction ends before its lock time");
    tx.bytes_ = from.bytes(r.position());
    return tx;
}

/// Reads `bytes`, all of which must be one transaction.  Fails  malformed.
[[nodiscard]] inline result<transaction> parse_transaction(bytes_view bytes) {
    reader r(bytes);
    PAYCHAN_TRY(const transaction tx, parse_transaction(r));
    if (!r.done()) return fail(errc::malformed, "bytes follow the transaction");
    return tx;
}

/// Writes a transaction; in the form with witness if any input has one.  Check `to.ok()`.
/// Source  BIP144.
inline void write_transaction(writer& to, std::int32_t version, std::span<const tx_input> inputs,
                              std::span<const tx_output> outputs, std::uint32_t lock_time) {
    // A serialized stack of no items is no witness: Core refuses a record in which all are such.
    const auto has_witness = [](const tx_input& in) { return !in.witness.empty() && in.witness[0] != 0; };
    const bool witness = std::ranges::any_of(inputs, has_witness);

    to.i32(version);
    if (witness) {
        to.u8(0);  // marker
        to.u8(1);  // flag
    }
    to.compact_size(inputs.size());
    for (const tx_input& in : inputs) {
        to.bytes(in.prevout.id.bytes);
        to.u32(in.prevout.index);
        to.sized_bytes(in.script_sig);
        to.u32(in.sequence);
    }
    to.compact_size(outputs.size());
    for (const tx_output& out : outputs) {
        to.i64(out.value.value);
        to.sized_bytes(out.script_pubkey);
    }
    if (witness) {
        for (const tx_input& in : inputs) {
            if (has_witness(in))
                to.bytes(in.witness);
            else
                to.u8(0);
        }
    }
    to.u32(lock_time);
}

}  // namespace paychan
