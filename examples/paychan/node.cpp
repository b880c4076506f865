#include "node.hpp"

namespace tool {

network network_of(const options& o) { return need(parse_network(o.network), "--network " + o.network); }

asio::host_and_port parse_host_and_port(const std::string& text, const char* option) {
    if (const auto parsed = asio::parse_host_and_port(text)) return *parsed;
    throw usage_error{std::string(option) + " must look like HOST:PORT, for example 127.0.0.1:4242 or [::1]:4242"};
}

std::vector<std::uint8_t> info_of(const std::string& hex, const char* option) {
    std::string why;
    const auto bytes = bytes_of_hex(hex, max_info, why);
    if (!bytes) throw usage_error{option + why};
    return *bytes;
}

std::string reserved_text(const wallet_balance& b) {
    if (b.reserved.value == 0) return {};
    return "; " + text_of(b.reserved) + " are reserved for channels that are not settled or refunded yet";
}

node::node(const options& o, report& out, const node_use& use)
    : options_(o),
      out_(out),
      use_(use),
      net_(network_of(o)),
      delivery_(chain_, {.repeats = !use.patient,
                         .on_news = [this](const auto& a, bytes_view tx) { on_broadcast_news(a, tx); }}) {
    if (o.fee_rate) fees_.rate = fee_rate{*o.fee_rate};
    const seed_bytes seed = need(load_seed(o.seed), "--seed " + o.seed + " (make one with `paychan address`)");
    with_store([&] { return open_store(seed); }, {});
    if (o.chain == "print:") {
        // The median time of the last 11 blocks is about an hour behind the clock; 2 hours are on the safe side.
        tip_ = chain_tip{0, clock_.now() + -7'200};
        chain_.emplace<bitcoind::print_broadcaster>(io(), [this](const txid& id, std::string_view hex) {
            out_.event({{"event", "transaction"}, {"txid", text_of(id)}, {"hex", hex}},
                       "broadcast this transaction by other means (" + text_of(id) + "):\n" + std::string(hex));
        });
        if (use.needs_node != nullptr)
            throw usage_error{std::string(use.needs_node) + ": --chain rpc:http://USER:PASS@HOST:PORT"};
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
    chain_.emplace<bitcoind::backend>(io(), address, settings);
}

result<void> node::open_store(const seed_bytes& seed) {
    wallet_.reset();  // of an attempt that got half way
    keys_.reset();
    store_.reset();
    stored_.emplace(options_.store, use_.access);
    store_.emplace(*stored_, net_, options_.export_folder);
    keys_.emplace(need_at_run_time(keys_type::open(seed.reveal(), net_, *store_), "the store's key counter"));
    const auto style = options_.legacy ? funding_style::legacy : funding_style::segwit;
    wallet_.emplace(need(seed_wallet::open(
                             seed.reveal(), net_, style, [this] { return keys_->count(); }, options_.gap_limit),
                         "the seed"));
    return {};
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
            if (told_.is_due("store"))
                out_.error_event({{"event", "store"}, {"status", "away"}, {"explanation", e.text}},
                                 e.text + "; trying again");
            run_until([] { return false; }, std::chrono::seconds(1));
            if (stopping()) throw run_error{"stopped before the store was there"};
        }
    }
}

// ---- the chain

void node::on_chain(const chain_event& e) {
    const auto* const estimate = std::get_if<fee_estimate>(&e);
    if (estimate != nullptr) {
        fees_ = *estimate;
        fees_known_ = true;
    }
    // What its operator says counts, not what the node thinks; but what it does not take it does not take.
    if (estimate != nullptr && options_.fee_rate) fees_ = {fee_rate{*options_.fee_rate}, {}, estimate->floor};
    const chain_event told = estimate != nullptr ? chain_event(fees_) : e;
    if (connections_) connections_(told);
    tell_(told);
    match(
        e, [this](const chain_tip& t) { tip_ = t; }, [this](const connected_block&) { ++steps_; },
        [this](const disconnected_blocks&) { ++steps_; }, [this](const passed_blocks& p) { on_passed(p); });
    delivery_.on_chain(e);
}

bool node::catch_up() {
    // One that is downloading the chain is behind it: which coins there are is not known.  And what is built before the node
    // has said what fees are would pay too little.
    const auto done = [this] {
        return caught_up_() && (use_.brings_home || !tip_ || !tip_->downloading) && (fees_known_ || prints());
    };
    if (use_.patient) return run_until(done);
    const std::chrono::seconds patience(options_.patience);
    for (std::uint64_t before = steps_;; before = steps_) {
        if (run_until([&] { return done() || steps_ != before; }, patience)) {
            if (done()) return true;
            continue;
        }
        if (!stopping() && !failed_)
            fail("unreachable", "there was no progress on the node's chain for " + std::to_string(patience.count()) +
                                    " s: see to the node, and run this again");
        return false;
    }
}

bool node::deliver() {
    const auto delivered = [this] {
        delivery_.turn(clock_.now());
        return delivery_.done();
    };
    if (!stopping() && !failed_ && run_until(delivered, std::chrono::seconds(options_.patience))) return true;
    if (!failed_)
        out_.error("unreachable", std::to_string(delivery_.left()) + " transaction" +
                                      (delivery_.left() == 1 ? "" : "s") +
                                      " did not reach the network: run this again");
    return false;
}

void node::on_broadcast_news(const broadcast_answer& a, bytes_view transaction) {
    if (tells_ && !tells_(a)) return;
    const std::string what = name_of(a.outcome);
    json o{{"event", "broadcast"}, {"txid", text_of(a.id)}, {"outcome", what}, {"reason", a.words}};
    if (!transaction.empty()) o["hex"] = hex_of(transaction);
    std::string line = "broadcast " + text_of(a.id) + ": " + what;
    if (a.outcome != broadcast_outcome::accepted && !a.words.empty()) line += " (" + std::string(a.words) + ")";
    out_.event(o, line);
}

// ---- the loop

void node::fail(std::string_view code, const std::string& text) {
    if (!failed_) out_.error(code, text);  // what follows from it is no news
    failed_ = true;
}

bool node::run_until(const std::function<bool()>& done, std::chrono::milliseconds limit) {
    loop_.run_until([&] { return done() || failed_; }, limit);
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
    loop_.ignore_signals();
    if (auto* const backend = chain_.get_if<bitcoind::backend>()) backend->stop();
    if (save_ && !std::exchange(save_, nullptr)())
        (void)told_.is_due("store");  // the next start reads these blocks again
}

// ---- words

keeper_settings node::keeping() {
    keeper_settings s;
    s.birthday = options_.birthday;
    s.rescan = options_.rescan;
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
    if (what == "clock") line = std::string(e.text);
    if (what == "keys") line = "the store's key counter: " + std::string(e.text);
    if (what == "birthday" && e.code == errc::store_failed)
        line = "--birthday is not stored yet, and is needed again until it is: " + there;
    else if (what == "birthday")
        line = there + (options_.birthday || net_ == network::regtest
                            ? "; going on from block " + std::to_string(options_.birthday.value_or(0))
                            : "; --birthday HEIGHT mends it, and without it no coins are found");
    out_.error(name(e.code), line);
}

void node::on_status(bitcoind::node_status status, const bitcoind::rpc_error& cause, std::string_view text) {
    using enum bitcoind::node_status;
    const std::string words(text);
    trouble_.clear();
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
            if ((cause.failure == bitcoind::rpc_failure::unauthorized ||
                 cause.failure == bitcoind::rpc_failure::forbidden) &&
                !use_.patient) {
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
