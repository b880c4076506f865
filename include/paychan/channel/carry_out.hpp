// Carries out effects in the one order that is safe.  The only place where a step's wishes become deeds; its types leave
// frames no other way out.
//     const put_batch batch(wanted->persist, record, kind);
//     auto saved = on_disk(put_all(store, batch.view()), wanted);
//     if (!saved) ...                                       // nothing has left, and nothing can
//     std::move(*saved).broadcast(broadcaster).send(transport, frames).close(transport).notify(tell);
#pragma once

#include <concepts>
#include <utility>

#include "paychan/channel/effects.hpp"
#include "paychan/channel/record_io.hpp"

namespace paychan::detail {

/// The records that effects want on disk, as one batch, in an order that is safe where a store takes them one by one:
/// what never changes first, so that a channel's record is never there without its contract; a settlement last, because
/// a record that says `settling` without one has it built again, while a settlement of a version that the record never
/// reached would keep out every later one.
class put_batch {
public:
    /// Views the effects and `record`; both must stay until the batch is written.
    /// channel_kind  of the role's channel record; the kinds of its other records follow from it
    put_batch(const persist_set& what, const channel_record& record, record_kind channel_kind) {
        const txid id = record.terms.contract.id;
        const bool client = channel_kind == record_kind::client_channel;
        add(client ? record_kind::client_contract : record_kind::server_contract, id, 1, what.contract);
        add(record_kind::client_refund, id, 1, what.refund);
        if (what.channel) {
            encoded_ = write_record(record);
            add(channel_kind, id, record.version, encoded_.view());
        }
        // Settlements may be rebuilt with another fee: the record's version orders them.
        add(record_kind::server_settlement, id, record.version, what.settlement);
    }
    put_batch(const put_batch&) = delete;
    put_batch& operator=(const put_batch&) = delete;

    [[nodiscard]] std::span<const put_request> view() const { return {requests_.data(), count_}; }

private:
    void add(record_kind kind, const txid& id, std::uint64_t version, bytes_view bytes) {
        if (!bytes.empty()) requests_[count_++] = {{kind, id}, version, bytes};
    }

    record_buffer encoded_;
    std::array<put_request, 4> requests_{};
    std::size_t count_ = 0;
};

/// The frames of effects, encoded before anything is persisted: a message that cannot be sent must not change the
/// record.
template <std::size_t Capacity>
class frame_list {
public:
    /// Fails  too_long.  Nothing is kept then.
    template <Codec C>
    [[nodiscard]] result<void> encode(const bounded_list<wire::message, 2>& messages, C& codec) {
        clear();
        std::size_t used = 0;
        for (const wire::message& m : messages) {
            const auto room = bytes_span{memory_}.subspan(used);
            const auto frame = codec.encode(m, room);
            if (!frame) {
                clear();
                return fail(frame.error());
            }
            frames_.push_back(*frame);
            used += frame->size();
        }
        return {};
    }

    void clear() { frames_ = {}; }

    /// The memory of the frames, for other use while there are none.
    [[nodiscard]] bytes_span memory() {
        clear();
        return memory_;
    }

    /// Ends a connection with a message that needs nothing on disk, for it promises nothing.  It is left out where it does
    /// not fit into a frame.
    template <class Last, Transport T, Codec C>
    requires std::same_as<Last, wire::error_message> || std::same_as<Last, wire::close>
    void send_last(const Last& last, T& transport, C& codec) {
        bounded_list<wire::message, 2> list;
        list.push_back(last);
        if (encode(list, codec)) send_all(transport);
        transport.close();
    }

private:
    friend class to_send;

    template <Transport T>
    void send_all(T& transport) const {
        for (const bytes_view frame : frames_) transport.send(frame);
    }

    std::array<std::uint8_t, Capacity> memory_{};
    bounded_list<bytes_view, 2> frames_;
};

/// What is still to be done of effects whose records are on disk.  Each stage is a type with one function, which uses it up
/// and returns the next.  All point to the effects: carry them out before those change.
class stage {
public:
    stage(const stage&) = delete;
    stage& operator=(const stage&) = delete;

protected:
    explicit stage(const effects& all) : all_(&all) {}
    stage(stage&&) = default;
    const effects* all_;
};

class to_notify final : stage {
public:
    /// tell(event)  may begin the next step, which overwrites these effects: so they are copied.
    template <class Tell>
    void notify(Tell&& tell) && {
        const auto list = all_->notify;
        for (const event& e : list) tell(e);
    }

private:
    friend class to_close;
    friend class to_send;
    using stage::stage;
};

class to_close final : stage {
public:
    template <Transport T>
    [[nodiscard("notify() is still to be called")]] to_notify close(T& transport) && {
        if (all_->close) transport.close();
        return to_notify(*all_);
    }

private:
    friend class to_send;
    using stage::stage;
};

class to_send final : stage {
public:
    /// frames  those of the effects
    template <Transport T, std::size_t Capacity>
    [[nodiscard("close() is still to be called")]] to_close send(T& transport, const frame_list<Capacity>& frames) && {
        frames.send_all(transport);
        return to_close(*all_);
    }

    /// For effects of a monitor: there is nobody to send anything to.
    [[nodiscard("notify() is still to be called")]] to_notify without_connection() && { return to_notify(*all_); }

private:
    friend class to_broadcast;
    using stage::stage;
};

class to_broadcast final : stage {
public:
    template <Broadcaster B>
    [[nodiscard("send() is still to be called")]] to_send broadcast(B& broadcaster) && {
        for (const bytes_view tx : all_->broadcast) broadcaster.broadcast(tx);
        return to_send(*all_);
    }

private:
    friend result<to_broadcast> on_disk(const result<void>& written, const result<effects>& wanted);
    friend result<to_broadcast> settlement_on_full_disk_near_expiry(const error& why, const result<effects>& wanted);
    using stage::stage;
};

/// The first stage.  written  the outcome of writing the put_batch of these effects
/// Fails  as the step did, or the write.
[[nodiscard("broadcast() is still to be called")]] inline result<to_broadcast> on_disk(const result<void>& written,
                                                                                       const result<effects>& wanted) {
    if (!wanted) return fail(wanted.error());
    if (!written) return fail(written.error());
    return to_broadcast(*wanted);
}
result<to_broadcast> on_disk(const result<void>& written, result<effects>&& wanted) = delete;  // it points to them

/// The one way past the disk.  What a settlement rests on, the client's last payment, is on disk already; only a
/// server that was not told of the chain takes another one so late; and a disk that takes nothing must not cost the channel.
/// why     the failed write
/// wanted  a settlement to broadcast, and nothing to send: what a peer is told has to be on disk
/// Fails   as the step did, or the write, where it is anything else.
[[nodiscard("broadcast() is still to be called")]] inline result<to_broadcast> settlement_on_full_disk_near_expiry(
    const error& why, const result<effects>& wanted) {
    if (!wanted) return fail(wanted.error());
    if (why.code != errc::store_failed || wanted->persist.settlement.empty() || !wanted->send.empty()) return fail(why);
    return to_broadcast(*wanted);
}
result<to_broadcast> settlement_on_full_disk_near_expiry(const error& why, result<effects>&& wanted) = delete;

/// Why a frame was not understood: answered when it is a message of the wrong kind, cut off without a word when it is
/// none at all.
[[nodiscard]] inline error decode_error(const error& e) {
    return e.code == errc::syntax_error ? e : error{errc::malformed, e.text};
}

}  // namespace paychan::detail
