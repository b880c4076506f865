#include "node.hpp"

#include <boost/asio/steady_timer.hpp>
#include <csignal>

namespace tool {

using namespace paychan;

namespace {

constexpr record_id birthday_id{record_kind::chain_position, {}};

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

node::node(const options& o, report& out, const node_use& use) : out_(out), use_(use), patience_(o.patience) {
    const network net = network_of(o);
    regtest_ = net == network::regtest;
    if (o.fee_rate) fixed_rate_ = rate_ = fee_rate{*o.fee_rate};

    signals_.add(SIGINT);
    signals_.add(SIGTERM);
    signals_.async_wait([this](boost::system::error_code ec, int) {
        if (!ec) stopping_ = true;
    });
    const seed_bytes seed = need(load_seed(o.seed), "--seed " + o.seed + " (make one with `paychan address`)");
    with_store([&]() -> result<void> {
        open_store(o, net, seed);
        return {};
    });

    if (o.chain == "print:") {
        // The median time of the last 11 blocks is about an hour behind the clock; 2 hours are on the safe side.
        median_time_ = clock_.now() + -7'200;
        print_ = std::make_unique<printer>(io_, *this, [this](const txid& id, std::string_view hex) {
            out_.event({{"event", "transaction"}, {"txid", text_of(id)}, {"hex", hex}},
                       "broadcast this transaction by other means (" + text_of(id) + "):\n" + std::string(hex));
        });
    } else {
        const auto address = need(bitcoind::parse_node_address(o.chain), "--chain");
        bitcoind::backend_settings settings;
        settings.chain = bitcoind::core_chain_name(o.network);
        settings.poll = std::chrono::milliseconds(o.poll);
        settings.walk.from = from_;
        settings.walk.pass_pruned = use.passes_pruned;
        backend_ = std::make_unique<backend>(io_, address, *this, settings);
    }
}

void node::open_store(const options& o, network net, const seed_bytes& seed) {
    wallet_.reset();  // of an attempt that got half way
    keys_.reset();
    store_.reset();
    stored_.emplace(o.store, use_.access);
    network_.emplace(*stored_, net);
    store_.emplace(*stored_, net, o.export_folder);
    keys_.emplace(
        need_at_run_time(keys_type::open(seed.reveal(), net, *store_, use_.keys_per_write), "the store's key counter"));
    const auto style = o.legacy ? funding_style::legacy : funding_style::segwit;
    wallet_.emplace(need(seed_wallet::open(seed.reveal(), net, style, [this] { return keys_->count(); }), "the seed"));
    reserve_stored_transactions();
    list_stored_contracts();
    if (o.chain != "print:") from_ = find_birthday(o);
}

void node::give_up(const error& e) { throw_store(e, store_ ? store_->last_error() : std::string(e.text)); }

void node::list_stored_contracts() {
    contracts_.clear();
    if (network_->known()) return;
    if (!network_->damage().empty() && told_.is_due("network"))
        out_.error("corrupt_record", "--store: " + network_->damage() + "; --network is taken at its word");
    for (const record_kind kind : {record_kind::client_channel, record_kind::server_channel})
        for (const txid& id : list_all(*store_, kind)) contracts_.insert(id);
    is_new_ = contracts_.empty() && keys_->count() == 0;
}

void node::wait_for_store(const store_away& why) {
    store_was_away_ = true;
    if (told_.is_due("store"))
        out_.error_event({{"event", "store"}, {"status", "away"}, {"explanation", why.text}},
                         why.text + "; trying again");
    run_until([] { return false; }, std::chrono::seconds(1));
    if (stopping_) throw run_error{"stopped before the store was there"};
}

/// Blocks before it hold nothing of ours.  On regtest a scan of everything is a matter of seconds.
std::optional<std::int32_t> node::find_birthday(const options& o) {
    std::array<std::uint8_t, 16> memory{};
    const auto stored = store_->get(birthday_id, memory);
    if (!stored && stored.error().code == errc::store_failed) give_up(stored.error());
    std::optional<std::int32_t> known;
    if (stored) {
        reader r(stored->bytes);
        if (const std::int32_t height = r.i32(); r.done() && height >= 0) known = height;
    }
    birthday_is_damaged_ = !known && (stored || stored.error().code != errc::not_found);
    if (o.birthday && known && *o.birthday > *known)
        throw usage_error{"--birthday can only lower the one in the store, which is " + std::to_string(*known) +
                          ": coins that came since could be missed"};
    const auto wanted = o.birthday               ? o.birthday
                        : known                  ? known
                        : o.network == "regtest" ? std::optional<std::int32_t>(0)
                                                 : std::nullopt;
    if (birthday_is_damaged_ && told_.is_due("damaged birthday"))
        out_.error("corrupt_record",
                   (stored ? "--store: the birthday in it is damaged" : "--store: " + store_->last_error()) +
                       (wanted ? "; going on from block " + std::to_string(*wanted)
                               : "; --birthday HEIGHT mends it, and without it no coins are found"));
    // The channels' money comes home without it.
    if (!wanted && birthday_is_damaged_ && use_.passes_pruned) return std::nullopt;
    if (!wanted)
        throw usage_error{
            "say from which block on to look for coins: --birthday HEIGHT, the chain's height when the seed was made"};
    if (*wanted < 0) throw usage_error{"--birthday must be 0 or more"};
    if (known != wanted && use_.keeps_birthday) {
        new_birthday_ = wanted;
        birthday_version_ = stored ? stored->version + 1 : 1;
    }
    return *wanted;
}

void node::on_caught_up() {
    if (!std::exchange(caught_up_, true) && !is_new_ && !network_shown_) ask_for_contracts();
    keep_network();
    keep_birthday();
}

/// A node of the wrong network must not bind the store to it for ever.
void node::keep_network() {
    if (backend_ && use_.keeps_birthday && (network_shown_ || (is_new_ && caught_up_))) network_->keep();
}

void node::look_for_contracts(const connected_block& b) {
    auto block = open_block(b.raw);
    if (!block) return;
    while (const auto tx = block->next())
        if (contracts_.contains(tx->id())) network_shown_ = true;
    keep_network();
}

/// A contract that is in the mempool, or in a block before the birthday: the node says whether it knows it.  Not one that
/// its server may never have taken.
void node::ask_for_contracts() {
    if (!backend_ || !use_.keeps_birthday) return;
    constexpr int most = 100;
    int asked = 0;
    std::vector<std::uint8_t> memory(wire::max_frame_size);
    for (const auto& [kind, contract] : {std::pair{record_kind::client_channel, record_kind::client_contract},
                                         std::pair{record_kind::server_channel, record_kind::server_contract}})
        for (const txid& id : contracts_) {
            const auto record = load_record(*store_, kind, id);
            if (!record || record->closing_height != 0 || record->stage == channel_stage::none ||
                record->stage == channel_stage::contract_stored)
                continue;
            if (const auto stored = store_->get({contract, id}, memory)) broadcast(stored->bytes);
            if (++asked == most) return;
        }
}

/// Not before the node has shown a chain that is long enough for it: a slip of the hand is not to be kept.
/// A store that does not take it now is asked again: nothing else depends on it before the next start.
void node::keep_birthday() {
    const auto now = std::chrono::steady_clock::now();
    if (!new_birthday_ || !caught_up_ || now < next_birthday_) return;
    next_birthday_ = now + std::chrono::seconds(60);
    std::array<std::uint8_t, 4> bytes{};
    writer w(bytes);
    w.i32(*new_birthday_);
    // Nothing replaces what cannot be read, in some stores.
    if (birthday_is_damaged_ && store_->erase(birthday_id)) birthday_is_damaged_ = false;
    const auto put = store_->put(birthday_id, birthday_version_, w.written());
    // stale_record: another process was faster.
    if (put || put.error().code == errc::stale_record) return new_birthday_.reset();
    if (told_.is_due("birthday"))
        out_.error(name(put.error().code), "--birthday is not stored yet, and is needed again until it is: " +
                                               std::string("--store: ") + store_->last_error());
}

/// Contracts, and settlements with fee inputs, that were stored before a restart may not be mined yet: nothing else may
/// spend the same coins.
void node::reserve_stored_transactions() {
    std::vector<std::uint8_t> memory(wire::max_frame_size);
    for (const record_kind kind : {record_kind::client_contract, record_kind::server_settlement}) {
        for (const txid& id : list_all(*store_, kind)) {
            const auto stored = store_->get({kind, id}, memory);
            if (!stored && stored.error().code == errc::store_failed) give_up(stored.error());
            if (!stored || !wallet_->reserve_inputs_of(stored->bytes))
                out_.error("corrupt_record",
                           "a transaction of channel " + text_of(id) + " in the store cannot be read");
        }
    }
}

void node::broadcast(bytes_view tx) {
    if (const auto parsed = parse_transaction(tx)) under_way_[parsed->id()].assign(tx.begin(), tx.end());
    if (print_)
        print_->broadcast(tx);
    else
        backend_->broadcast(tx);
}

bool node::catch_up() {
    if (print_) {
        caught_up_ = true;
        return true;
    }
    backend_->start();
    if (use_.patient) return run_until([this] { return caught_up_; });
    for (std::uint64_t before = steps_;; before = steps_) {
        if (run_until([&] { return caught_up_ || steps_ != before; }, patience_)) {
            if (caught_up_) return true;
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

void node::count_seen_keys() {
    if (const std::uint32_t seen = wallet_->highest_channel_key(); seen > keys_->count())
        if (const auto counted = keys_->saw(key_id{seen}); !counted)
            throw run_error{"the store's key counter: " + std::string(counted.error().text)};
}

std::optional<broadcast_outcome> node::outcome_of(const txid& id) const {
    const auto found = last_outcome_.find(id);
    if (found == last_outcome_.end()) return std::nullopt;
    return found->second;
}

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

void node::every_second(std::function<void()> what) {
    every_second_ = std::move(what);
    tick();
}

void node::tick() {
    every_second_();
    keep_birthday();
    if (!trouble_.empty() && told_.is_due("node"))
        out_.event({{"event", "node"}, {"status", "unreachable"}, {"height", height_}, {"explanation", trouble_}},
                   "the node: " + trouble_ + "; still trying");
    timer_.expires_after(std::chrono::seconds(1));
    timer_.async_wait([this](boost::system::error_code ec) {
        if (!ec) tick();
    });
}

void node::stop() {
    timer_.cancel();
    signals_.cancel();
    if (backend_) backend_->stop();
}

void node::on_block(const connected_block& b) {
    // What the store knows of blocks that a damaged birthday does not let us see is believed.
    if (!std::exchange(has_begun_, true) && !from_ && hooks_.blocks_passed) hooks_.blocks_passed(0, b.height - 1);
    height_ = b.height;
    median_time_ = b.median_time;
    ++steps_;
    if (!contracts_.empty() && !network_shown_) look_for_contracts(b);
    if (const auto taken = wallet_->on_block(b); !taken)
        return fail(name(taken.error().code), std::string(taken.error().text) + ": start again");
    if (hooks_.block) hooks_.block(b);
}

void node::on_block_disconnected(std::int32_t height) {
    height_ = height - 1;
    ++steps_;
    if (const auto taken = wallet_->on_block_disconnected(height); !taken)
        return fail(name(taken.error().code), std::string(taken.error().text) + ": start again");
    if (hooks_.block_disconnected) hooks_.block_disconnected(height);
}

void node::on_broadcast(const txid& id, broadcast_outcome outcome, std::string_view reason) {
    const auto sent = under_way_.extract(id);
    // While what it spends has not reached the network, a refusal says nothing about the transaction itself.  Not for
    // a server, whose book builds anew what is refused.
    if (outcome == broadcast_outcome::refused && !sent.empty() && !use_.patient)
        if (const auto tx = parse_transaction(bytes_view(sent.mapped())))
            for (const tx_input& in : tx->inputs())
                if (outcome_of(in.prevout.id) == broadcast_outcome::unreachable)
                    outcome = broadcast_outcome::unreachable;
    const char* const what = outcome == broadcast_outcome::accepted  ? "accepted"
                             : outcome == broadcast_outcome::refused ? "refused"
                                                                     : "unreachable";
    if (outcome != broadcast_outcome::unreachable)
        unsent_.erase(id);
    else if (!sent.empty() && !use_.patient)  // a server's book repeats its own
        unsent_[id] = sent.mapped();
    if (last_outcome_.size() > 10'000) last_outcome_.clear();  // strangers can make a server broadcast
    // Due transactions go out again with every block: only news is reported.
    const auto [last, first_time] = last_outcome_.try_emplace(id, outcome);
    if (first_time || last->second != outcome) {
        last->second = outcome;
        json o{{"event", "broadcast"}, {"txid", text_of(id)}, {"outcome", what}, {"reason", reason}};
        if (!sent.empty()) o["hex"] = hex_of(sent.mapped());
        std::string line = "broadcast " + text_of(id) + ": " + what;
        if (outcome != broadcast_outcome::accepted && !reason.empty()) line += " (" + std::string(reason) + ")";
        out_.event(o, line);
    }
    if (outcome == broadcast_outcome::accepted && contracts_.contains(id)) {
        network_shown_ = true;
        keep_network();
    }
    if (hooks_.broadcast) hooks_.broadcast(id, outcome, reason);
}

void node::on_fee_rate(fee_rate rate) {
    rate_told_ = true;
    if (!fixed_rate_) rate_ = rate;
    if (hooks_.fee_rate) hooks_.fee_rate(rate_);
}

void node::on_node_status(bitcoind::node_status status, const bitcoind::rpc_error& cause, std::string_view text) {
    using enum bitcoind::node_status;
    const std::string words(text);
    trouble_.clear();
    const auto tell = [&](const char* what, const std::string& line) {
        out_.event({{"event", "node"}, {"status", what}, {"height", height_}, {"explanation", words}}, line);
    };
    switch (status) {
        case syncing:
            tell("syncing", words);
            if (!regtest_) return;  // a regtest node says so for as long as its last block is old
            return on_caught_up();
        case following: tell("following", "the chain is at height " + std::to_string(height_)); return on_caught_up();
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

void node::on_catch_up(std::int32_t height, std::int32_t tip) {
    out_.progress("reading block", static_cast<std::uint64_t>(height), static_cast<std::uint64_t>(tip));
}

void node::on_tip(std::int32_t height, unix_time median_time) {
    tip_height_ = height;
    tip_median_time_ = median_time;
    ++looks_;
}

/// What they held is lost to the wallet: what it knew of earlier coins may be spent in them.
void node::on_blocks_passed(std::int32_t first, std::int32_t last) {
    height_ = last;
    ++steps_;
    wallet_->restart_scan();
    if (hooks_.blocks_passed) hooks_.blocks_passed(first, last);
    if (!told_.is_due("pruned")) return;
    const std::string which = first == last ? "block " + std::to_string(first)
                                            : "blocks " + std::to_string(first) + " to " + std::to_string(last);
    out_.event({{"event", "node"},
                {"status", "pruned"},
                {"height", height_},
                {"from", first},
                {"to", last},
                {"explanation", "the node has deleted " + which}},
               "the node has deleted " + which +
                   ": going on behind, without the coins that came before; channels come home as ever");
}

}  // namespace tool
