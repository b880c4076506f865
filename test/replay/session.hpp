// One recorded session of the reference, read from its file and checked: what nobody understands is an error, not skipped.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "paychan/channel/record.hpp"
#include "support/bytes.hpp"

namespace replay {

using paychan_test::bytes;

enum class side : std::uint8_t { server, client };

[[nodiscard]] constexpr side other(side s) { return s == side::server ? side::client : side::server; }
[[nodiscard]] constexpr std::string_view name_of(side s) { return s == side::server ? "server" : "client"; }

/// The file is no session, or says something that this program does not know.
struct unreadable : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// What happened next.
struct step {
    enum class kind : std::uint8_t { connected, said, ended };
    kind what{};
    int connection = 0;
    side from{};
    std::optional<bytes> frame;      ///< what `from` meant to say, without its length; nothing for bytes of a script
    std::vector<bytes> delivered{};  ///< what reached the other side, as it lay on the wire
};

/// How one process was started: its options, all as text.
using run_options = std::map<std::string, std::string>;

struct recorded_key {
    bytes public_key;
    bytes private_key;
    std::string owner;  ///< "server", "client", "scripted client" ...
};

struct recorded_channel {
    std::int32_t version = 0;
    paychan::contract_terms terms{};
    bytes contract;
    bytes refund;  ///< complete, as the client keeps it; empty when the recording does not have it
};

struct recorded_settlement {
    bytes tx;
    paychan::satoshi fee{};
    std::size_t inputs = 0;
};

/// What an application was told of a payment.
struct told_payment {
    std::int64_t amount = 0;  ///< [satoshi]
    std::int64_t total = 0;   ///< [satoshi]
    friend bool operator==(const told_payment&, const told_payment&) = default;
};

struct session {
    std::string name;  ///< of the file, without .json
    paychan::unix_time time{};
    std::vector<step> steps;
    std::vector<run_options> server_runs;
    std::vector<run_options> client_runs;
    std::vector<recorded_key> keys;
    std::vector<recorded_channel> channels;
    std::vector<recorded_settlement> settlements;
    std::vector<told_payment> payments;  ///< that the server's application heard of
    std::vector<told_payment> acks;      ///< that the client's application heard of
    std::vector<bytes> broadcasts;       ///< of the server
    bool has_events = false;  ///< false: the file does not say what the applications heard and the network got
    std::string reference_is;

    [[nodiscard]] const std::vector<run_options>& runs(side s) const {
        return s == side::server ? server_runs : client_runs;
    }
    /// True when that side's frames are the reference's own.  Some files say "both" where one side was a script: only a
    /// side with options was a program.
    [[nodiscard]] bool is_real(side s) const { return claims(s) && !runs(s).empty(); }
    [[nodiscard]] bool claims(side s) const { return reference_is == "both" || reference_is == name_of(s); }

    /// The option of the k-th process of that side; the last one's when there were fewer.
    [[nodiscard]] std::optional<std::string> option(side s, const std::string& name, std::size_t k = 0) const;
    /// Fails  throws unreadable (not a number).
    [[nodiscard]] std::int64_t number(side s, const std::string& name, std::int64_t otherwise, std::size_t k = 0) const;
    [[nodiscard]] bool flag(side s, const std::string& name, std::size_t k = 0) const;
};

/// Throws  unreadable, with a text that says what to do.
[[nodiscard]] session read_session(const std::filesystem::path& file);

/// The files of sessions in folders, sorted; a path to a file is that file.
/// Throws  unreadable (no such folder, or nothing in it).
[[nodiscard]] std::vector<std::filesystem::path> find_sessions(const std::vector<std::string>& paths);

}  // namespace replay
