// Reads the files of recorded sessions.
#include "replay/session.hpp"

#include <algorithm>
#include <fstream>
#include <set>

#include "paychan/wire/codec.hpp"

namespace replay {

using nlohmann::ordered_json;
using namespace paychan;

namespace {

using names = std::set<std::string>;

// Options that change what is said: each is followed here or by the side that plays it.
const names telling_server_options{"ack",         "broadcast-delay", "broadcast-fail", "clock",
                                   "close-after", "fee-per-kb",      "max-window",     "min-channel",
                                   "min-payment", "min-window",      "settle-after"};
const names telling_client_options{"clock",    "exhaust", "fund",   "fund-n", "info",  "leave",   "overlap",
                                   "payments", "resume",  "settle", "size",   "value", "version", "window"};

// Those that do not, or are not followed: whose process it was, how long the recorder waited, its seed, and the coins and
// fees of transactions that are taken from the recording.
const names silent_server_options{"broadcast-sync", "close-delay", "fund",         "fund-n", "linger",
                                  "role",           "seed",        "settle-delay", "timeout"};
const names silent_client_options{
    "ack-wait",       "fee-per-kb", "linger", "open-wait", "role", "seed", "settle-wait", "timeout",
    "resume-version",  // makes the reference ask for another version than the channel's; ours cannot (differences.hpp)
};

[[noreturn]] void complain(const std::string& what) { throw unreadable(what); }

bytes from_hex_text(const ordered_json& text, const std::string& where) {
    if (!text.is_string()) complain(where + " is not text in hex");
    const auto& hex = text.get_ref<const std::string&>();
    bytes out(hex.size() / 2);
    if (!from_hex(hex, out)) complain(where + " is not hex");
    return out;
}

side side_named(const std::string& name, const std::string& where) {
    if (name == "server") return side::server;
    if (name == "client") return side::client;
    complain(where + ": \"" + name + "\" is neither server nor client");
}

bytes with_length(const bytes& frame) {
    const auto n = static_cast<std::uint32_t>(frame.size());
    bytes out{static_cast<std::uint8_t>(n >> 24), static_cast<std::uint8_t>(n >> 16), static_cast<std::uint8_t>(n >> 8),
              static_cast<std::uint8_t>(n)};
    out.insert(out.end(), frame.begin(), frame.end());
    return out;
}

std::string text_of(const ordered_json& value) {
    if (value.is_string()) return value.get<std::string>();
    return value.dump();  // true, 5
}

run_options read_options(const ordered_json& o, side s) {
    const bool serves = s == side::server;
    const names& telling = serves ? telling_server_options : telling_client_options;
    const names& silent = serves ? silent_server_options : silent_client_options;
    run_options out;
    for (const auto& [name, value] : o.items()) {
        if (!telling.contains(name) && !silent.contains(name))
            complain("the option \"" + name + "\" of the " + std::string(name_of(s)) +
                     " is new: teach it to test/replay/session.cpp and to the side that plays it");
        if (value.is_boolean() && !value.get<bool>()) continue;
        out[name] = text_of(value);
    }
    return out;
}

step read_step(const ordered_json& e, const std::string& where) {
    step out;
    out.connection = e.at("conn").get<int>();
    const std::string event = e.value("event", "");
    if (event == "connected") {
        out.what = step::kind::connected;
        return out;
    }
    out.from = side_named(e.at("from").get<std::string>(), where);
    if (event == "eof") {
        out.what = step::kind::ended;
        return out;
    }
    if (!event.empty()) complain(where + ": the event \"" + event + "\" is new to this program");
    out.what = step::kind::said;
    if (e.contains("frame") && !e.at("frame").is_null()) {
        out.frame = from_hex_text(e.at("frame"), where + ".frame");
        out.delivered = {with_length(*out.frame)};
    } else if (e.contains("raw")) {
        out.delivered = {from_hex_text(e.at("raw"), where + ".raw")};
        if (e.contains("raw_len") && e.at("raw_len").get<std::size_t>() != out.delivered[0].size())
            complain(where + ": raw_len is not the length of raw");
    } else if (e.contains("partial")) {
        out.delivered = {from_hex_text(e.at("partial"), where + ".partial")};
    } else {
        complain(where + " has neither a frame nor bytes nor a known event");
    }
    if (e.contains("forwarded_raw")) {
        out.delivered.clear();
        for (const auto& raw : e.at("forwarded_raw"))
            out.delivered.push_back(from_hex_text(raw, where + ".forwarded_raw"));
    }
    return out;
}

/// The recorder writes the rest of a stream down when it has ended: it was sent before.
std::vector<step> with_rests_before_ends(const std::vector<step>& steps) {
    std::vector<step> out;
    std::vector<std::size_t> moved;
    const auto is_rest = [](const step& s) { return s.what == step::kind::said && !s.frame; };
    for (std::size_t i = 0; i < steps.size(); ++i) {
        if (steps[i].what == step::kind::ended)
            for (std::size_t j = i + 1; j < steps.size(); ++j)
                if (is_rest(steps[j]) && steps[j].connection == steps[i].connection &&
                    std::ranges::find(moved, j) == moved.end()) {
                    moved.push_back(j);
                    out.push_back(steps[j]);
                }
        if (std::ranges::find(moved, i) == moved.end()) out.push_back(steps[i]);
    }
    return out;
}

recorded_channel read_channel(const ordered_json& c, const std::string& where) {
    recorded_channel out;
    out.version = c.at("major").get<std::int32_t>();
    out.contract = from_hex_text(c.at("contract"), where + ".contract");
    const auto id = parse_txid(c.at("contract_txid").get<std::string>());
    if (!id) complain(where + ": contract_txid is no txid");
    // A script may have shown no key, or none that is one: the terms are of no use then, and nobody asks for them.
    const auto key = [&](const char* name) {
        if (!c.contains(name)) return public_key{};
        return parse_public_key(from_hex_text(c.at(name), where + "." + name)).value_or(public_key{});
    };
    out.terms.client_key = key("client_pub");
    out.terms.server_key = key("server_pub");
    out.terms.contract = {*id, 0};
    out.terms.value = {c.value("value", std::int64_t{0})};
    out.terms.expiry = {c.at("expiry").get<std::int64_t>()};
    if (c.contains("refund_complete")) out.refund = from_hex_text(c.at("refund_complete"), where + ".refund_complete");
    return out;
}

void read_spends(session& out, const ordered_json& spends) {
    std::set<bytes> seen;
    for (const auto& s : spends) {
        const std::string from = s.at("from").get<std::string>();
        if (from != "server broadcast" && from != "CLOSE settlement") continue;
        bytes tx = from_hex_text(s.at("tx"), "spends.tx");
        if (!seen.insert(tx).second) continue;
        out.settlements.push_back(
            {std::move(tx), {s.value("fee", std::int64_t{0})}, s.value("inputs", std::size_t{1})});
    }
}

void read_events(session& out, const ordered_json& events) {
    for (const auto& e : events) {
        const std::string what = e.value("event", "");
        if (what == "payment") out.payments.push_back({e.at("by").get<std::int64_t>(), e.at("to").get<std::int64_t>()});
        if (what == "payment_acked")
            out.acks.push_back({e.at("value").get<std::int64_t>(), e.at("spent").get<std::int64_t>()});
        if (what == "broadcast" && e.value("who", "") == "server")
            out.broadcasts.push_back(from_hex_text(e.at("tx"), "reference_events.tx"));
    }
}

/// Where the file has no time: that of a process whose clock was frozen, or else the server's time follows from its
/// first INITIATE, for the window is clamped to known limits.
unix_time time_without_word(const session& s) {
    for (const side who : {side::server, side::client})
        if (s.option(who, "clock")) return {s.number(who, "clock", 0)};
    std::uint64_t asked = wire::client_version{}.time_window_secs;
    for (const step& e : s.steps) {
        if (!e.frame) continue;
        const auto m = wire::small_codec::decode(*e.frame);
        if (!m) continue;
        if (const auto* hello = std::get_if<wire::client_version>(&*m)) asked = hello->time_window_secs;
        if (const auto* terms = std::get_if<wire::initiate>(&*m)) {
            const auto window = std::clamp<std::int64_t>(
                static_cast<std::int64_t>(std::min<std::uint64_t>(asked, 1 << 30)),
                s.number(side::server, "min-window", 14'400), s.number(side::server, "max-window", 604'800));
            return {static_cast<std::int64_t>(terms->expire_time_secs) - window};
        }
    }
    complain("there is no \"time\", no \"clock\", and no INITIATE that it would follow from");
}

session read(const ordered_json& file) {
    for (const char* name : {"reference_is", "options", "exchange", "keys", "time"})
        if (!file.is_object() || !file.contains(name)) complain(std::string("it has no \"") + name + "\"");
    session out;
    out.reference_is = file.at("reference_is").get<std::string>();
    if (out.reference_is != "both") (void)side_named(out.reference_is, "reference_is");
    if (file.value("network", "regtest") != "regtest") complain("the network is not regtest");
    for (const auto& o : file.at("options")) {
        const side s = side_named(o.at("role").get<std::string>(), "options");
        (s == side::server ? out.server_runs : out.client_runs).push_back(read_options(o, s));
    }
    std::size_t n = 0;
    for (const auto& e : file.at("exchange"))
        out.steps.push_back(read_step(e, "exchange[" + std::to_string(n++) + "]"));
    out.steps = with_rests_before_ends(out.steps);
    for (const auto& [pub, key] : file.at("keys").items())
        out.keys.push_back({from_hex_text(pub, "keys"), from_hex_text(key.at("priv"), "keys.priv"),
                            key.value("owner", "") + (key.value("from", "") == "fake_fund" ? "'s coins" : "")});
    n = 0;
    if (file.contains("channels"))
        for (const auto& c : file.at("channels"))
            if (c.contains("contract"))
                out.channels.push_back(read_channel(c, "channels[" + std::to_string(n++) + "]"));
    if (file.contains("spends")) read_spends(out, file.at("spends"));
    out.has_events = file.contains("reference_events") && !file.at("reference_events").empty();
    if (out.has_events) read_events(out, file.at("reference_events"));
    const auto& time = file.at("time");
    if (time.is_null())
        out.time = time_without_word(out);
    else
        out.time = {time.is_string() ? std::stoll(time.get<std::string>()) : time.get<std::int64_t>()};
    return out;
}

}  // namespace

std::optional<std::string> session::option(side s, const std::string& option_name, std::size_t k) const {
    if (runs(s).empty()) return std::nullopt;
    const run_options& run = runs(s)[std::min(k, runs(s).size() - 1)];
    const auto found = run.find(option_name);
    if (found == run.end()) return std::nullopt;
    return found->second;
}

std::int64_t session::number(side s, const std::string& option_name, std::int64_t otherwise, std::size_t k) const {
    const auto text = option(s, option_name, k);
    if (!text) return otherwise;
    try {
        return std::stoll(*text);
    } catch (const std::logic_error&) {
        complain("the option \"" + option_name + "\" is \"" + *text + "\", which is no number");
    }
}

bool session::flag(side s, const std::string& option_name, std::size_t k) const {
    return option(s, option_name, k) == "true";
}

session read_session(const std::filesystem::path& path) {
    try {
        std::ifstream file(path);
        if (!file) complain("it cannot be opened");
        session out = read(ordered_json::parse(file));
        out.name = path.stem().string();
        return out;
    } catch (const std::exception& e) {
        throw unreadable(path.string() + " is not a recorded session: " + e.what() +
                         ".  Mend it, or take it out of the folder; test/vectors/README.md says where they come from.");
    }
}

std::vector<std::filesystem::path> find_sessions(const std::vector<std::string>& paths) {
    std::vector<std::filesystem::path> out;
    for (const std::string& path : paths) {
        if (!std::filesystem::exists(path))
            throw unreadable(path +
                             " does not exist: give a folder of recorded sessions, for example test/vectors/bitcoinj");
        if (!std::filesystem::is_directory(path)) {
            out.emplace_back(path);
            continue;
        }
        const std::size_t before = out.size();
        for (const auto& entry : std::filesystem::directory_iterator(path))
            if (entry.path().extension() == ".json") out.push_back(entry.path());
        if (out.size() == before)
            throw unreadable(path +
                             " holds no *.json: give a folder of recorded sessions, for example test/vectors/bitcoinj");
        std::sort(out.begin() + static_cast<std::ptrdiff_t>(before), out.end());
    }
    return out;
}

}  // namespace replay
