// The codec for hosts: messages to and from bytes with libprotobuf and the code that protoc generates.
#pragma once

#include <string>

// The generated header is not written to our warnings; the build gives its folder as a system include too.
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#endif
#include "paymentchannel.pb.h"
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

#include "paychan/core/result.hpp"
#include "paychan/wire/messages.hpp"

namespace paychan {

/// Decodes and encodes as wire::small_codec does, with libprotobuf.  Prints nothing, whatever a peer sends.
/// Not for use by two threads at once.
class protobuf_codec {
public:
    protobuf_codec() = default;
    protobuf_codec(const protobuf_codec&) = delete;  // messages that were decoded point into it
    protobuf_codec& operator=(const protobuf_codec&) = delete;

    /// The message in a frame without its 4 bytes of length.  Views in it are valid until the next `decode`.
    /// Fails   malformed (does not parse, lacks a required field in any body, unknown type) and too_long: such a peer
    ///         is cut off without an ERROR; syntax_error (its type's body is missing): answer with an ERROR.
    [[nodiscard]] result<wire::message> decode(bytes_view frame) {
        if (frame.size() > wire::max_frame_size) return fail(errc::too_long, "frame is longer than 32767 bytes");
        // Partial and a check of our own: the plain call prints a line for each message that lacks a field.
        if (!received_.ParsePartialFromArray(frame.data(), static_cast<int>(frame.size()))) {
            return fail(errc::malformed, "frame does not parse");
        }
        if (!received_.IsInitialized()) {
            return fail(errc::malformed, "message lacks a required field or has an unknown type");
        }
        using T = proto;
        const T& p = received_;
        switch (p.type()) {
            case T::CLIENT_VERSION:
                if (!p.has_client_version()) return fail(errc::syntax_error, "CLIENT_VERSION has no body");
                return from(p.client_version());
            case T::SERVER_VERSION:
                if (!p.has_server_version()) return fail(errc::syntax_error, "SERVER_VERSION has no body");
                return wire::server_version{p.server_version().major(), p.server_version().minor()};
            case T::INITIATE:
                if (!p.has_initiate()) return fail(errc::syntax_error, "INITIATE has no body");
                return wire::initiate{view(p.initiate().multisig_key()), p.initiate().min_accepted_channel_size(),
                                      p.initiate().expire_time_secs(), p.initiate().min_payment()};
            case T::PROVIDE_REFUND:
                if (!p.has_provide_refund()) return fail(errc::syntax_error, "PROVIDE_REFUND has no body");
                return wire::provide_refund{view(p.provide_refund().multisig_key()), view(p.provide_refund().tx())};
            case T::RETURN_REFUND:
                if (!p.has_return_refund()) return fail(errc::syntax_error, "RETURN_REFUND has no body");
                return wire::return_refund{view(p.return_refund().signature())};
            case T::PROVIDE_CONTRACT:
                if (!p.has_provide_contract()) return fail(errc::syntax_error, "PROVIDE_CONTRACT has no body");
                return from(p.provide_contract());
            case T::CHANNEL_OPEN:
                if (!p.has_resumed()) return wire::channel_open{};
                return wire::channel_open{
                    wire::resume_state{p.resumed().client_change_value(), view(p.resumed().signature())}};
            case T::UPDATE_PAYMENT:
                if (!p.has_update_payment()) return fail(errc::syntax_error, "UPDATE_PAYMENT has no body");
                return from(p.update_payment());
            case T::CLOSE: return wire::close{view_if(p.has_settlement(), p.settlement().tx())};
            case T::ERROR: return from(p.error());
            case T::PAYMENT_ACK: return from(p.payment_ack());
        }
        return fail(errc::malformed, "message has an unknown type");
    }

    /// The bytes of a message, without the 4 bytes of length, at the start of `out`; fields in the order of their
    /// numbers, defaults explicit, as the reference writes them.  Leaves what was decoded valid.
    /// Fails   too_long (more than `out` or a frame holds), invalid_argument (error_message.code is not 1-8).
    ///         `out` then holds anything.
    [[nodiscard]] result<bytes_view> encode(const wire::message& m, bytes_span out) {
        if (const auto* e = std::get_if<wire::error_message>(&m);
            e && !paymentchannels::Error::ErrorCode_IsValid(e->code)) {
            return fail(errc::invalid_argument, "an error code is 1 to 8");
        }
        sent_.Clear();
        sent_.set_type(static_cast<proto::MessageType>(wire::type_of(m)));
        std::visit([this](const auto& body) { this->fill(body); }, m);
        const std::size_t size = sent_.ByteSizeLong();
        if (size > wire::max_frame_size || size > out.size()) {
            return fail(errc::too_long, "message does not fit into its frame");
        }
        sent_.SerializeWithCachedSizesToArray(out.data());
        return out.first(size);
    }

private:
    using proto = paymentchannels::TwoWayChannelMessage;

    static bytes_view view(const std::string& s) { return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()}; }
    static std::optional<bytes_view> view_if(bool there, const std::string& s) {
        return there ? std::optional(view(s)) : std::nullopt;
    }
    static std::optional<std::uint64_t> number_if(bool there, std::uint64_t n) {
        return there ? std::optional(n) : std::nullopt;
    }
    static std::string copy(bytes_view b) { return {reinterpret_cast<const char*>(b.data()), b.size()}; }

    static wire::client_version from(const paymentchannels::ClientVersion& p) {
        return {p.major(),
                p.minor(),
                view_if(p.has_previous_channel_contract_hash(), p.previous_channel_contract_hash()),
                p.time_window_secs(),
                number_if(p.has_extensions(), p.extensions()),
                number_if(p.has_resume_time(), p.resume_time()),
                view_if(p.has_resume_signature(), p.resume_signature())};
    }
    static wire::update_payment from(const paymentchannels::UpdatePayment& p) {
        return {p.client_change_value(), view(p.signature()), view_if(p.has_info(), p.info())};
    }
    static wire::provide_contract from(const paymentchannels::ProvideContract& p) {
        return {view(p.tx()), from(p.initial_payment()), view_if(p.has_client_key(), p.client_key())};
    }
    static wire::error_message from(const paymentchannels::Error& p) {
        return {p.code(), view_if(p.has_explanation(), p.explanation()),
                number_if(p.has_expected_value(), p.expected_value())};
    }
    static wire::payment_ack from(const paymentchannels::PaymentAck& p) {
        return {view_if(p.has_info(), p.info()), number_if(p.has_paid(), p.paid())};
    }

    void fill(const wire::client_version& m) {
        auto& p = *sent_.mutable_client_version();
        p.set_major(m.major);
        p.set_minor(m.minor);
        if (m.previous_channel_contract_hash) {
            p.set_previous_channel_contract_hash(copy(*m.previous_channel_contract_hash));
        }
        p.set_time_window_secs(m.time_window_secs);
        if (m.extensions) p.set_extensions(*m.extensions);
        if (m.resume_time) p.set_resume_time(*m.resume_time);
        if (m.resume_signature) p.set_resume_signature(copy(*m.resume_signature));
    }
    void fill(const wire::server_version& m) {
        auto& p = *sent_.mutable_server_version();
        p.set_major(m.major);
        p.set_minor(m.minor);
    }
    void fill(const wire::initiate& m) {
        auto& p = *sent_.mutable_initiate();
        p.set_multisig_key(copy(m.multisig_key));
        p.set_min_accepted_channel_size(m.min_accepted_channel_size);
        p.set_expire_time_secs(m.expire_time_secs);
        p.set_min_payment(m.min_payment);
    }
    void fill(const wire::provide_refund& m) {
        auto& p = *sent_.mutable_provide_refund();
        p.set_multisig_key(copy(m.multisig_key));
        p.set_tx(copy(m.tx));
    }
    void fill(const wire::return_refund& m) { sent_.mutable_return_refund()->set_signature(copy(m.signature)); }
    void fill(const wire::provide_contract& m) {
        auto& p = *sent_.mutable_provide_contract();
        p.set_tx(copy(m.tx));
        fill(*p.mutable_initial_payment(), m.initial_payment);
        if (m.client_key) p.set_client_key(copy(*m.client_key));
    }
    void fill(const wire::channel_open& m) {
        if (!m.resumed) return;
        auto& p = *sent_.mutable_resumed();
        p.set_client_change_value(m.resumed->client_change_value);
        p.set_signature(copy(m.resumed->signature));
    }
    void fill(const wire::update_payment& m) { fill(*sent_.mutable_update_payment(), m); }
    void fill(const wire::close& m) {
        if (m.settlement) sent_.mutable_settlement()->set_tx(copy(*m.settlement));
    }
    void fill(const wire::error_message& m) {
        auto& p = *sent_.mutable_error();
        p.set_code(static_cast<paymentchannels::Error::ErrorCode>(m.code));
        if (m.explanation) p.set_explanation(copy(*m.explanation));
        if (m.expected_value) p.set_expected_value(*m.expected_value);
    }
    void fill(const wire::payment_ack& m) {
        if (m.info) sent_.mutable_payment_ack()->set_info(copy(*m.info));
        if (m.paid) sent_.mutable_payment_ack()->set_paid(*m.paid);
    }
    static void fill(paymentchannels::UpdatePayment& p, const wire::update_payment& m) {
        p.set_client_change_value(m.client_change_value);
        p.set_signature(copy(m.signature));
        if (m.info) p.set_info(copy(*m.info));
    }

    proto received_;
    proto sent_;
};

}  // namespace paychan
