// The small codec: messages to and from protobuf's bytes without libprotobuf and without a heap.
#pragma once

#include <tuple>

#include "paychan/core/result.hpp"
#include "paychan/core/writer.hpp"
#include "paychan/wire/field_reader.hpp"
#include "paychan/wire/layout.hpp"

namespace paychan::wire {

/// Says yes and no to the same bytes as libprotobuf does (protobuf/codec.hpp): the last of a repeated scalar counts,
/// repeated messages merge, int32 takes the low 32 bits of its varint, a field of the wrong wire type is unknown,
/// unknown fields are skipped.
class small_codec {
public:
    /// The message in a frame without its 4 bytes of length.  Views in it point into `frame`.
    /// Fails   malformed (does not parse, lacks a required field in any body, unknown type) and too_long: such a peer
    ///         is cut off without an ERROR; syntax_error (its type's body is missing): answer with an ERROR.
    [[nodiscard]] static result<message> decode(bytes_view frame);

    /// The bytes of a message, without the 4 bytes of length, at the start of `out`; fields in the order of their
    /// numbers, defaults explicit, as the reference writes them.
    /// Fails   too_long (more than `out` or a frame holds), invalid_argument (error_message.code is not 1-8).
    ///         `out` then holds anything.
    [[nodiscard]] static result<bytes_view> encode(const message& m, bytes_span out);
};

namespace detail {

/// True for a field that is a message itself: a body, and the payment inside PROVIDE_CONTRACT.
template <class Member>
inline constexpr bool is_message = body_of<Member>.number != 0;

// Decoding.  `seen` has a bit for each field that was there; a message inside a body has the upper half.

inline constexpr int nested = 16;

/// None for the extensions, whose numbers begin at 1000: they are optional, so that nobody asks for them.
inline constexpr std::uint32_t bit(std::uint32_t number) { return number < nested ? std::uint32_t{1} << number : 0; }

/// Reads one field into its member.  Returns false when its wire type is not the member's: it is an unknown field then.
template <class Member>
constexpr bool read(field_reader& in, tag t, field f, Member& member, std::uint32_t& seen, std::size_t depth);

/// Adds the fields of `in` to the message.
template <class M>
constexpr void merge(field_reader& in, M& m, std::uint32_t& seen, std::size_t depth) {
    while (!in.at_end()) {
        const tag t = in.next_tag();
        bool known = false;
        layout(m, [&](field f, auto& member) {
            if (f.number == t.number) known = read(in, t, f, member, seen, depth);
        });
        if (!known) in.skip(t, depth);
    }
}

template <class M>
constexpr void merge_sized(field_reader& in, M& m, std::uint32_t& seen, std::size_t depth) {
    field_reader inner(in.sized_bytes());
    merge(inner, m, seen, depth - 1);
    if (!inner.ok()) in.fail();
}

template <class Member>
constexpr bool read(field_reader& in, tag t, field f, Member& member, std::uint32_t& seen, std::size_t depth) {
    constexpr bool is_bytes = std::is_assignable_v<Member&, bytes_view>;
    if (t.type != (is_bytes || is_message<Member> ? 2 : 0)) return false;
    if constexpr (is_message<Member>) {
        std::uint32_t inner = 0;
        merge_sized(in, member, inner, depth);
        seen |= inner << nested;
    } else if constexpr (is_bytes) {
        member = in.sized_bytes();
    } else if constexpr (std::is_same_v<Member, std::int32_t>) {
        const auto value = static_cast<std::int32_t>(in.varint());
        if (f.presence == rule::error_code && !is_error_code(value)) return true;  // proto2: goes to the unknown fields
        member = value;
    } else {
        member = in.varint();
    }
    seen |= bit(f.number);
    return true;
}

template <class M>
constexpr bool complete(const M& m, std::uint32_t seen) {
    bool ok = true;
    layout(m, [&]<class Member>(field f, const Member& member) {
        const bool there = (seen & bit(f.number)) != 0;
        if (!there && f.presence == rule::required) ok = false;
        if constexpr (is_message<Member>) ok = ok && (!there || complete(member, seen >> nested));
    });
    return ok;
}

/// A body that may or may not have come, of whatever type the message turns out to be.
template <class M>
struct slot {
    M message{};
    std::uint32_t seen = 0;
    bool there = false;
};

using slots = std::tuple<slot<client_version>, slot<server_version>, slot<initiate>, slot<provide_refund>,
                         slot<return_refund>, slot<provide_contract>, slot<update_payment>, slot<close>,
                         slot<error_message>, slot<payment_ack>, slot<resume_state>>;

template <class Visit>
constexpr void each_slot(slots& all, Visit&& visit) {
    std::apply([&](auto&... s) { (visit(s), ...); }, all);
}

// Encoding, once to count and once to write.

struct counter {
    std::size_t size = 0;
    constexpr void u8(std::uint8_t) { ++size; }
    constexpr void bytes(bytes_view b) { size += b.size(); }
};

template <class Sink>
constexpr void put_varint(Sink& out, std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) out.u8(static_cast<std::uint8_t>(value | 0x80));
    out.u8(static_cast<std::uint8_t>(value));
}

template <class Sink, class Member>
constexpr void put(Sink& out, std::uint32_t number, const Member& member) {
    if constexpr (is_message<Member>) {
        const auto fields = [&](auto& to) {
            layout(member, [&](field f, const auto& inner) { put(to, f.number, inner); });
        };
        counter count;
        fields(count);
        put_varint(out, number << 3 | 2);
        put_varint(out, count.size);
        fields(out);
    } else if constexpr (std::is_same_v<Member, bytes_view>) {
        put_varint(out, number << 3 | 2);
        put_varint(out, member.size());
        out.bytes(member);
    } else if constexpr (std::is_integral_v<Member>) {
        put_varint(out, number << 3);
        put_varint(out, static_cast<std::uint64_t>(member));  // int32: with its sign, 10 bytes when negative
    } else if (member) {
        put(out, number, *member);
    }
}

template <class... M>
constexpr void put_body(writer& out, const std::variant<M...>& m) {
    const auto one = [&]<class Body>(const Body* body) {
        if constexpr (std::is_same_v<Body, channel_open>) {
            if (body) put(out, body_of<resume_state>.number, body->resumed);
        } else {
            if (body && has_body(*body)) put(out, body_of<Body>.number, *body);
        }
    };
    (one(std::get_if<M>(&m)), ...);
}

}  // namespace detail

inline result<message> small_codec::decode(bytes_view frame) {
    if (frame.size() > max_frame_size) return fail(errc::too_long, "frame is longer than 32767 bytes");
    constexpr auto last_type = static_cast<std::uint32_t>(message_type::payment_ack);
    detail::slots all;
    std::uint32_t type = 0;
    field_reader in(frame);
    while (!in.at_end()) {
        const tag t = in.next_tag();
        bool known = t.number == 1 && t.type == 0;
        if (known) {
            const auto value = static_cast<std::uint32_t>(in.varint());
            if (1 <= value && value <= last_type) type = value;  // an unknown type does not replace a known one
        }
        detail::each_slot(all, [&]<class M>(detail::slot<M>& s) {
            if (t.number != body_of<M>.number || t.type != 2) return;
            known = s.there = true;
            detail::merge_sized(in, s.message, s.seen, max_depth);
        });
        if (!known) in.skip(t, max_depth);
    }
    if (!in.ok()) return fail(errc::malformed, "frame does not parse");

    bool ok = type != 0;
    detail::each_slot(all, [&](const auto& s) { ok = ok && (!s.there || detail::complete(s.message, s.seen)); });
    if (!ok) return fail(errc::malformed, "message lacks a required field or has an unknown type");

    result<message> out = channel_open{};  // stays so when that is the type and there is no body
    detail::each_slot(all, [&]<class M>(const detail::slot<M>& s) {
        constexpr body b = body_of<M>;
        if (b.type != static_cast<message_type>(type)) return;
        if (!s.there && b.presence == rule::required) {
            out = fail(errc::syntax_error, b.missing);
        } else if constexpr (std::is_same_v<M, resume_state>) {
            if (s.there) out = channel_open{s.message};
        } else {
            out = s.message;
        }
    });
    return out;
}

inline result<bytes_view> small_codec::encode(const message& m, bytes_span out) {
    if (const auto* e = std::get_if<error_message>(&m); e && !is_error_code(e->code)) {
        return fail(errc::invalid_argument, "an error code is 1 to 8");
    }
    writer to(out.first(std::min(out.size(), max_frame_size)));
    detail::put(to, 1, static_cast<std::uint32_t>(type_of(m)));
    detail::put_body(to, m);
    if (!to.ok()) return fail(errc::too_long, "message does not fit into its frame");
    return to.written();
}

}  // namespace paychan::wire
