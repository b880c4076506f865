// The sessions of the reference implementation that were recorded on the wire: frames, and what they mean.
#pragma once

#include <algorithm>
#include <deque>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "paychan/wire/messages.hpp"

namespace paychan::conformance {

using bytes = std::vector<std::uint8_t>;

inline bytes unhex(const std::string& text) {
    bytes out;
    for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
        out.push_back(static_cast<std::uint8_t>(std::stoul(text.substr(i, 2), nullptr, 16)));
    }
    return out;
}

/// One frame of a session.
struct recorded_frame {
    std::string where;          ///< file and position
    bytes payload;              ///< without the length
    nlohmann::json meaning;     ///< what the recorder's own decoder made of it
    bool by_reference = false;  ///< written by the reference, not by a script
};

/// Bytes of a session that are no frame.
struct recorded_bytes {
    std::string where;
    bytes raw;
    bool partial = false;  ///< the beginning of a frame whose rest never came
};

struct recording {
    std::vector<recorded_frame> frames;
    std::vector<recorded_bytes> others;
};

/// All that stands in the folder's files.
inline recording load_recording(const std::filesystem::path& folder) {
    recording out;
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        if (entry.path().extension() == ".json") files.push_back(entry.path());
    }
    std::ranges::sort(files);
    for (const auto& file : files) {
        const auto session = nlohmann::json::parse(std::ifstream(file));
        // Some that say "both" ran with a script on one side; only a side with options is the reference.
        const auto is_reference = [&](const std::string& side) {
            const std::string& who = session.at("reference_is").get_ref<const std::string&>();
            return (who == "both" || who == side) &&
                   std::ranges::any_of(session.at("options"), [&](const auto& o) { return o.at("role") == side; });
        };
        std::size_t n = 0;
        for (const auto& e : session.at("exchange")) {
            const std::string where = file.filename().string() + ", exchange[" + std::to_string(n++) + "]";
            if (e.contains("frame") && e.at("frame").is_string()) {
                out.frames.push_back({where, unhex(e.at("frame")), e.at("message"), is_reference(e.at("from"))});
            }
            if (e.contains("raw")) out.others.push_back({where, unhex(e.at("raw")), false});
            if (e.contains("partial")) out.others.push_back({where, unhex(e.at("partial")), true});
        }
    }
    return out;
}

/// Turns a recorded meaning into our words.  Owns the bytes that the message points to.
class meaning_reader {
public:
    /// Nothing when the message's type calls for a body that is not there.
    std::optional<wire::message> operator()(const nlohmann::json& m) {
        const std::string type = m.at("type");
        const auto body = [&](const char* name) { return m.contains(name) ? m.at(name) : nlohmann::json(); };
        if (type == "CHANNEL_OPEN") return wire::channel_open{};
        if (type == "CLOSE") return wire::close{maybe_bytes(body("settlement"), "tx")};
        if (type == "PAYMENT_ACK") return wire::payment_ack{maybe_bytes(body("payment_ack"), "info"), {}};
        if (type == "ERROR") return error(body("error"));

        std::string name = type;
        std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
        const auto b = body(name.c_str());
        if (b.is_null()) return std::nullopt;
        if (type == "CLIENT_VERSION") {
            return wire::client_version{b.at("major"),
                                        b.value("minor", 0),
                                        maybe_bytes(b, "previous_channel_contract_hash"),
                                        b.value("time_window_secs", std::uint64_t{86'340}),
                                        {},
                                        {},
                                        {}};
        }
        if (type == "SERVER_VERSION") return wire::server_version{b.at("major"), b.value("minor", 0)};
        if (type == "INITIATE") {
            return wire::initiate{view(b, "multisig_key"), b.at("min_accepted_channel_size"), b.at("expire_time_secs"),
                                  b.at("min_payment")};
        }
        if (type == "PROVIDE_REFUND") return wire::provide_refund{view(b, "multisig_key"), view(b, "tx")};
        if (type == "RETURN_REFUND") return wire::return_refund{view(b, "signature")};
        if (type == "PROVIDE_CONTRACT") {
            return wire::provide_contract{view(b, "tx"), payment(b.at("initial_payment")),
                                          maybe_bytes(b, "client_key")};
        }
        if (type == "UPDATE_PAYMENT") return payment(b);
        throw std::runtime_error("no such type: " + type);
    }

private:
    bytes_view view(const nlohmann::json& b, const char* name) {
        return kept_.emplace_back(unhex(b.at(name).get<std::string>()));
    }
    std::optional<bytes_view> maybe_bytes(const nlohmann::json& b, const char* name) {
        if (!b.is_object() || !b.contains(name)) return std::nullopt;
        return view(b, name);
    }
    wire::update_payment payment(const nlohmann::json& b) {
        return {b.at("client_change_value"), view(b, "signature"), maybe_bytes(b, "info")};
    }
    wire::error_message error(const nlohmann::json& b) {
        wire::error_message out;
        if (b.is_null()) return out;
        const auto named = b.value("code", "OTHER");
        for (std::uint8_t code = 1; code <= 8; ++code) {
            if (name(static_cast<errc>(code)) == named) out.code = code;
        }
        if (b.contains("explanation")) {
            const std::string text = b.at("explanation");
            out.explanation = bytes_view(kept_.emplace_back(text.begin(), text.end()));
        }
        if (b.contains("expected_value")) out.expected_value = b.at("expected_value").get<std::uint64_t>();
        return out;
    }

    std::deque<bytes> kept_;
};

}  // namespace paychan::conformance
