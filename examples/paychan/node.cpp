#include "node.hpp"

#include <boost/asio/steady_timer.hpp>
#include <csignal>

namespace tool {

using namespace paychan;

namespace {

/// A store that is away may be there later; what is damaged stays so.
[[noreturn]] void throw_store(const error& e, const std::string& why) {
    if (e.code == errc::store_failed) throw store_away{{"--store: " + why}};
    throw run_error{"--store: " + why};
}

/// The names of all records of a kind.  Throws store_away, run_error.
std::vector<txid> list_all(store_type& store, record_kind kind) {
    std::vector<txid> ids;
    if (const auto listed = store.list(kind, [&](const record_id& id) { ids.push_back(id.channel); }); !listed)
        throw_store(listed.error(), store.last_error());
    return ids;
}

}  // namespace

network network_of(const options& o) { return need(parse_network(o.network), "--network " + o.network); }

host_and_port parse_host_and_port(const std::string& text, const char* option) {
    const auto colon = text.rfind(':');
    const auto bad = [&] {
        return usage_error{std::string(option) + " must look like HOST:PORT, for example 127.0.0.1:4242 or [::1]:4242"};
    };
    if (colon == std::string::npos || colon == 0 || colon + 1 == text.size()) throw bad();
    host_and_port out{text.substr(0, colon), 0};
    if (out.host.starts_with('[') && out.host.ends_with(']')) out.host = out.host.substr(1, out.host.size() - 2);
    std::uint32_t port = 0;
    for (const char c : text.substr(colon + 1)) {
        if (c < '0' || c > '9') throw bad();
        port = port * 10 + static_cast<std::uint32_t>(c - '0');
        if (port > 65'535) throw bad();
    }
    out.port = static_cast<std::uint16_t>(port);
    return out;
}

std::vector<std::uint8_t> info_of(const std::string& hex, const char* option) {
    const std::string name(option);
    if (hex.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos)
        throw usage_error{name +
                          " must be hexadecimal digits only, two for each byte, for example 0102ff (without 0x)"};
    if (hex.size() % 2 != 0)
        throw usage_error{name + " has an odd number of hexadecimal digits: two make a byte, 0a and not a"};
    if (hex.size() / 2 > max_info)
        throw usage_error{name + " has " + std::to_string(hex.size() / 2) + " bytes, more than the " +
                          std::to_string(max_info) + " that a message has room for: send less, or a hash of it"};
    std::vector<std::uint8_t> out(hex.size() / 2);
    (void)need(from_hex(hex, out), name);
    return out;
}

std::vector<channel_record> load_all(store_type& store, record_kind kind) {
    std::vector<channel_record> out;
    for (const txid& id : list_all(store, kind))
        if (const auto record = load_record(store, kind, id)) out.push_back(*record);
    return out;
}

std::string reserved_text(const wallet_balance& b) {
    if (b.reserved.value == 0) return {};
    return "; " + text_of(b.reserved) + " are reserved for channels that are not settled or refunded yet";
}

node::node(const options& o, report& out, const node_use& use)
    : out_(out), use_(use), net_(network_of(o)), patience_(o.patience), birthday_(o.birthday), rescan_(o.rescan) {
    if (o.fee_rate) fixed_rate_ = rate_ = fee_rate{*o.fee_rate};
    signals_.add(SIGINT);
    signals_.add(SIGTERM);
    signals_.async_wait([this](boost::system::error_code ec, int) {
        if (!ec) stopping_ = true;
    });
    const seed_bytes seed = need(load_seed(o.seed), "--seed " + o.seed + " (make one with `paychan address`)");
    with_store(
        [&]() -> result<void> {
            open_store(o, seed);
            return {};
        },
        {});
    if (o.chain == "print:") {
        // The median time of the last 11 blocks is about an hour behind the clock; 2 hours are on the safe side.
        median_time_ = clock_.now() + -7'200;
        print_ = std::make_unique<bitcoind::print_broadcaster>(io_, [this](const txid& id, std::string_view hex) {
            out_.event({{"event", "transaction"}, {"txid", text_of(id)}, {"hex", hex}},
                       "broadcast this transaction by other means (" + text_of(id) + "):\n" + std::string(hex));
        });
        return;
    }
    const auto address = need(bitcoind::parse_node_address(o.chain), "--chain");
    bitcoind::backend_settings settings;
    settings.chain = bitcoind::core_chain_name(o.network);
    settings.poll = std::chrono::milliseconds(o.poll);
    settings.walk.pass_pruned = use.passes_pruned;
    settings.on_status = [this](auto status, const auto& cause, std::string_view text) {
        on_status(status, cause, text);
    };
    settings.on_progress = [this](std::int32_t height, std::int32_t tip) {
        out_.progress("reading block", static_cast<std::uint64_t>(height), static_cast<std::uint64_t>(tip));
    };
    backend_ = std::make_unique<bitcoind::backend>(io_, address, settings);
}

void node::open_store(const options& o, const seed_bytes& seed) {
    wallet_.reset();  // of an attempt that got half way
    keys_.reset();
    store_.reset();
    stored_.emplace(o.store, use_.access);
    store_.emplace(*stored_, net_, o.export_folder);
    keys_.emplace(need_at_run_time(keys_type::open(seed.reveal(), net_, *store_, use_.keys_per_write),
                                   "the store's key counter"));
    const auto style = o.legacy ? funding_style::legacy : funding_style::segwit;
    wallet_.emplace(need(seed_wallet::open(seed.reveal(), net_, style, [this] { return keys_->count(); }), "the seed"));
}

void node::with_store(const std::function<result<void>()>& f, const std::function<void(const error&)>& explain) {
    for (bool was_away = false;; was_away = true) {
        try {
            const result<void> done = f();
            if (!done && explain && done.error().code != errc::store_failed) explain(done.error());
            if (!done) throw_store(done.error(), store_ ? store_->last_error() : std::string(done.error().text));
            if (was_away) out_.event({{"event", "store"}, {"status", "there"}}, "the store is there");
            return;
        } catch (const store_away& e) {
            if (!use_.waits_for_store) throw;
            wait_for_store(e.text);
        }
    }
}

void node::wait_for_store(const std::string& why) {
    if (told_.is_due("store"))
        out_.error_event({{"event", "store"}, {"status", "away"}, {"explanation", why}}, why + "; trying again");
    run_until([] { return false; }, std::chrono::seconds(1));
    if (stopping_) throw run_error{"stopped before the store was there"};
}

// ---- the chain

void node::broadcast(bytes_view tx) {
    if (const auto parsed = parse_transaction(tx)) under_way_[parsed->id()].assign(tx.begin(), tx.end());
    if (print_)
        print_->broadcast(tx);
    else
        backend_->broadcast(tx);
}

void node::follow(const chain_position& from, std::optional<std::int32_t> first) {
    if (backend_) backend_->follow(from, first);
}

chain_position node::position() const { return backend_ ? backend_->position() : chain_position{}; }

void node::begin(std::function<void(const chain_event&)> tell, std::function<std::int32_t()> height,
                 std::function<bool()> caught_up) {
    tell_ = std::move(tell);
    height_ = std::move(height);
    caught_up_ = std::move(caught_up);
    if (print_) {
        print_->start(*this);
        tell_(chain_tip{0, median_time_});
    } else {
        backend_->start(*this);
    }
    if (fixed_rate_ || print_) tell_(fee_estimate{rate_});
    tick();
}

void node::on_chain(const chain_event& e) {
    // What its operator says counts, not what the node thinks.
    if (const auto* const estimate = std::get_if<fee_estimate>(&e); estimate && !fixed_rate_) rate_ = estimate->rate;
    const chain_event told = std::holds_alternative<fee_estimate>(e) ? chain_event(fee_estimate{rate_}) : e;
    if (connections_) connections_(told);
    tell_(told);
    match(
        e, [this](const chain_tip& t) { median_time_ = t.median_time; }, [this](const connected_block&) { ++steps_; },
        [this](const disconnected_blocks&) { ++steps_; }, [this](const passed_blocks& p) { on_passed(p); },
        [this](const broadcast_answer& a) { on_answer(a); });
}

bool node::catch_up() {
    // A node that is downloading the chain is behind it; on regtest it says so for as long as its last block is old.
    const auto done = [this] { return caught_up_() && (!syncing_ || net_ == network::regtest); };
    if (use_.patient) return run_until(done);
    for (std::uint64_t before = steps_;; before = steps_) {
        if (run_until([&] { return done() || steps_ != before; }, patience_)) {
            if (done()) return true;
            continue;
        }
        if (!stopping_ && !failed_)
            fail("unreachable", "there was no progress on the node's chain for " + std::to_string(patience_.count()) +
                                    " s: see to the node, and run this again");
        return false;
    }
}

bool node::deliver() {
    const auto end = std::chrono::steady_clock::now() + patience_;
    while (true) {
        const auto now = std::chrono::steady_clock::now();
        if (!stopping_ && !failed_ && now < end &&
            run_until([this] { return under_way_.empty(); },
                      std::chrono::duration_cast<std::chrono::milliseconds>(end - now))) {
            if (unsent_.empty()) return true;
            run_until([] { return false; }, std::chrono::seconds(1));
            for (const auto& [id, tx] : std::map(unsent_)) broadcast(tx);
            continue;
        }
        const std::size_t left = under_way_.size() + unsent_.size();
        if (!failed_)
            out_.error("unreachable", std::to_string(left) + " transaction" + (left == 1 ? "" : "s") +
                                          " did not reach the network: run this again");
        return false;
    }
}

std::optional<broadcast_outcome> node::outcome_of(const txid& id) const {
    const auto found = last_outcome_.find(id);
    if (found == last_outcome_.end()) return std::nullopt;
    return found->second;
}

void node::on_answer(const broadcast_answer& a) {
    broadcast_outcome outcome = a.outcome;
    const auto sent = under_way_.extract(a.id);
    // While what it spends has not reached the network, a refusal says nothing about the transaction itself.  Not for
    // a server, whose monitor builds anew what is refused.
    if (outcome == broadcast_outcome::refused && !sent.empty() && !use_.patient)
        if (const auto tx = parse_transaction(bytes_view(sent.mapped())))
            for (const tx_input& in : tx->inputs())
                if (outcome_of(in.prevout.id) == broadcast_outcome::unreachable)
                    outcome = broadcast_outcome::unreachable;
    const char* const what = outcome == broadcast_outcome::accepted  ? "accepted"
                             : outcome == broadcast_outcome::refused ? "refused"
                                                                     : "unreachable";
    if (outcome != broadcast_outcome::unreachable)
        unsent_.erase(a.id);
    else if (!sent.empty() && !use_.patient)  // a monitor that runs repeats its own
        unsent_[a.id] = sent.mapped();
    if (last_outcome_.size() > 10'000) last_outcome_.clear();  // strangers can make a server broadcast
    // Due transactions go out again with every block: only news is reported.
    const auto [last, first_time] = last_outcome_.try_emplace(a.id, outcome);
    if (!first_time && last->second == outcome) return;
    last->second = outcome;
    json o{{"event", "broadcast"}, {"txid", text_of(a.id)}, {"outcome", what}, {"reason", a.words}};
    if (!sent.empty()) o["hex"] = hex_of(sent.mapped());
    std::string line = "broadcast " + text_of(a.id) + ": " + what;
    if (outcome != broadcast_outcome::accepted && !a.words.empty()) line += " (" + std::string(a.words) + ")";
    out_.event(o, line);
}

// ---- the loop

void node::fail(std::string_view code, const std::string& text) {
    if (!failed_) out_.error(code, text);  // what follows from it is no news
    failed_ = true;
}

bool node::run_until(const std::function<bool()>& done, std::chrono::milliseconds limit) {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (!done() && !stopping_ && !failed_ && std::chrono::steady_clock::now() < end) {
        io_.restart();
        io_.run_one_for(std::chrono::milliseconds(100));
        io_.poll();
    }
    return done();
}

void node::tick() {
    if (every_second_) every_second_();
    if (!trouble_.empty() && told_.is_due("node"))
        out_.event({{"event", "node"}, {"status", "unreachable"}, {"height", height()}, {"explanation", trouble_}},
                   "the node: " + trouble_ + "; still trying");
    timer_.expires_after(std::chrono::seconds(1));
    timer_.async_wait([this](boost::system::error_code ec) {
        if (!ec) tick();
    });
}

void node::stop() {
    turning_.reset();
    connections_ = nullptr;
    timer_.cancel();
    signals_.cancel();
    if (backend_) backend_->stop();
    if (save_ && !std::exchange(save_, nullptr)())
        (void)told_.is_due("store");  // the next start reads these blocks again
}

// ---- words

keeper_settings node::keeping() {
    keeper_settings s;
    s.birthday = birthday_;
    s.rescan = rescan_;
    s.writes = use_.writes;
    s.sees_blocks = !prints();
    s.needs_birthday = !use_.passes_pruned;
    s.on_problem = [this](std::string_view what, const txid& channel, const error& e) { on_problem(what, channel, e); };
    return s;
}

/// Whether the store itself finds the record damaged: then its own words name the place.
bool node::is_unreadable(std::string_view what) {
    if (what != "network" && what != "birthday") return false;
    std::array<std::uint8_t, 16> memory{};
    const auto stored =
        store_->get(what == "network" ? network_guard<any_store>::id : position_id(follower::birthday), memory);
    return !stored && stored.error().code == errc::corrupt_record;
}

void node::on_problem(std::string_view what, const txid& channel, const error& e) {
    if (!told_.is_due(std::string(what) + std::string(name(e.code)) + text_of(channel))) return;
    const std::string there = "--store: " + (e.code == errc::store_failed || is_unreadable(what) ? store_->last_error()
                                                                                                 : std::string(e.text));
    std::string line = there;
    if (what == "network") line = there + "; --network is taken at its word";
    if (what == "transaction") line = "a transaction of channel " + text_of(channel) + " in the store cannot be read";
    if (what == "wallet" || what == "position") line = there + "; blocks are read from the birthday on";
    if (what == "keys") line = "the store's key counter: " + std::string(e.text);
    if (what == "birthday" && e.code == errc::store_failed)
        line = "--birthday is not stored yet, and is needed again until it is: " + there;
    else if (what == "birthday")
        line = there + (birthday_ || net_ == network::regtest
                            ? "; going on from block " + std::to_string(birthday_.value_or(0))
                            : "; --birthday HEIGHT mends it, and without it no coins are found");
    out_.error(name(e.code), line);
}

void node::on_status(bitcoind::node_status status, const bitcoind::rpc_error& cause, std::string_view text) {
    using enum bitcoind::node_status;
    const std::string words(text);
    trouble_.clear();
    syncing_ = status == syncing;
    const auto tell = [&](const char* what, const std::string& line) {
        out_.event({{"event", "node"}, {"status", what}, {"height", height()}, {"explanation", words}}, line);
    };
    switch (status) {
        case syncing: return tell("syncing", words);
        case following: return tell("following", "the chain is at height " + std::to_string(height()));
        case waiting:
            if (use_.patient) return tell("waiting", words);  // a node that is rebuilding its chain gets there
            tell("waiting", {});
            return fail("not_found", words + ": start again when it has more blocks, or with a lower --birthday");
        case unreachable:
            if (cause.failure == bitcoind::rpc_failure::unauthorized && !use_.patient) {
                tell("unreachable", {});
                return fail("unreachable", words + ": see --chain");
            }
            trouble_ = words;
            told_.forget("node");
            (void)told_.is_due("node");
            return tell("unreachable", "the node: " + words + "; trying again");
        case failed: tell("failed", {}); return fail("node", words);
    }
}

/// What they held is lost to the wallet: what it knew of earlier coins may be spent in them.
void node::on_passed(const passed_blocks& p) {
    ++steps_;
    if (!told_.is_due("pruned")) return;
    const std::string which = p.first == p.last ? "block " + std::to_string(p.first)
                                                : "blocks " + std::to_string(p.first) + " to " + std::to_string(p.last);
    out_.event({{"event", "node"},
                {"status", "pruned"},
                {"height", height()},
                {"from", p.first},
                {"to", p.last},
                {"explanation", "the node has deleted " + which}},
               "the node has deleted " + which +
                   ": going on behind, without the coins that came before; channels come home as ever");
}

}  // namespace tool
