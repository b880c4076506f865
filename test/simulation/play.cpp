// How steps are carried out.
#include "simulation/play.hpp"

#include "simulation/client_process.hpp"
#include "simulation/server_process.hpp"

namespace simulation {

namespace {

constexpr int blocks_ahead = 4;  // a server gets its calm moment this long before a refund's time

class player {
public:
    player(const cast& c, tally& t, bool tracing) : w(c, t, tracing) {
        for (std::uint8_t s = 0; s < c.servers; ++s) start_server(s);
        for (std::uint8_t i = 0; i < c.clients; ++i) start_client(client_number(i));
    }

    void perform(const step& s);
    void finish();

    world w;

private:
    static constexpr std::uint8_t client_number(std::uint32_t i) { return static_cast<std::uint8_t>(first_client + i); }
    [[nodiscard]] std::unique_ptr<client_process>& client_of(std::uint8_t n) { return clients_[n - first_client]; }

    // ---- processes

    /// Does something in a process, which may die of it.
    template <class P, class F>
    void in(std::unique_ptr<P>& p, F&& f) {
        if (!p) return;
        try {
            f(*p);
        } catch (const crash&) {
            w.say([&] { return "    " + name_of(p->parts.number) + " crashes"; });
            die(p);
        }
    }

    template <class P>
    void die(std::unique_ptr<P>& p) {
        if (!p) return;
        const std::uint8_t n = p->parts.number;
        if (auto& files = w.disk_of(n).files) files->dead = true;  // its destructors write nothing any more
        end(p);
        w.dies(n);
    }
    /// As by itself, in good order.
    template <class P>
    void end(std::unique_ptr<P>& p) {
        if (!p) return;
        const std::uint8_t n = p->parts.number;
        p.reset();
        for (const auto& l : w.links) {
            if (n >= first_client && l->client == n) l->client_gone = l->client_told = true;
            if (n < first_client && l->server == n) l->server_gone = l->server_told = true;
        }
    }

    void start_server(std::uint8_t n) {
        if (servers_[n] || w.server_dead) return;
        servers_[n] = std::make_unique<server_process>(w, n);
        bool runs = true;
        in(servers_[n], [&](auto& p) {
            set_node(p.parts);
            if (!p.start()) runs = false;
        });
        if (!runs) servers_[n].reset();
        in(servers_[n], [&](auto& p) {
            if (estimate_) p.on_fees(*estimate_);
            p.follow();
        });
    }
    void start_client(std::uint8_t n) {
        auto& c = client_of(n);
        if (c) return;
        c = std::make_unique<client_process>(w, n, orders_[n]);
        bool runs = true;
        in(c, [&](auto& p) {
            set_node(p.parts);
            if (!p.start()) runs = false;
        });
        if (!runs) c.reset();
        in(c, [this](auto& p) {
            if (estimate_) p.on_fees(*estimate_);
            p.follow();
        });
    }
    void start(std::uint8_t n) {
        if (n >= first_client)
            start_client(n);
        else if (n < w.who.servers)
            start_server(n);
    }
    template <class F>
    void with(std::uint8_t n, F&& f) {
        if (n >= first_client)
            in(client_of(n), [&](auto& p) { f(p.parts); });
        else
            in(servers_[n], [&](auto& p) { f(p.parts); });
    }
    void follow(std::uint8_t n) {
        if (n >= first_client)
            in(client_of(n), [](auto& p) { p.follow(); });
        else
            in(servers_[n], [](auto& p) { p.follow(); });
    }
    static std::string name_of(std::uint8_t n) {
        return n < first_client ? "server " + std::to_string(n) : "client " + std::to_string(n - first_client);
    }

    // ---- wires

    /// Delivers one thing on a link, to the server or to the client.
    bool deliver(wire_link& l) {
        bool any = false;
        in(servers_[l.server], [&](auto& p) { any = p.deliver(l); });
        if (!any && l.client >= first_client) in(client_of(l.client), [&](auto& p) { any = p.deliver(l); });
        return any;
    }
    void deliver_frames(std::uint32_t n, std::uint32_t from) {
        for (std::uint32_t i = 0; i < n && !w.links.empty(); ++i) {
            bool any = false;
            for (std::size_t k = 0; k < w.links.size() && !any; ++k)
                any = deliver(*w.links[(from + i + k) % w.links.size()]);
            if (!any) break;
        }
        std::erase_if(w.links, [](const auto& l) { return l->client_told && l->server_told; });
    }
    /// As an application does that has nothing else to do: frames, and what the node answered.
    void settle_down(std::uint32_t n, std::uint32_t from) {
        if (n < 3) return deliver_frames(n, from);
        deliver_frames(n / 2, from);
        for (std::uint8_t s = 0; s < w.who.servers; ++s) follow(s);
        deliver_frames(n - n / 2, from);
    }
    [[nodiscard]] wire_link* link_of(std::uint8_t client) {
        for (const auto& l : w.links)
            if (l->client == client && !l->client_told) return l.get();
        return nullptr;
    }
    wire_link& new_link(std::uint8_t client, std::uint8_t server) {
        w.links.push_back(std::make_unique<wire_link>());
        wire_link& l = *w.links.back();
        l.client = client;
        l.server = server;
        if (client < first_client) l.client_told = true;  // nobody there to be told
        in(servers_[server], [&](auto& p) { p.accept(l); });
        if (!servers_[server]) l.server_gone = l.server_told = true;
        return l;
    }
    void connect(std::uint8_t client, std::uint8_t server) {
        start_client(client);
        if (!servers_[server] || !client_of(client) || client_of(client)->connected()) return;
        wire_link& l = new_link(client, server);
        in(client_of(client), [&](auto& p) { p.connect(l); });
        if (!client_of(client)) l.client_gone = l.client_told = true;
    }
    void lose(std::uint8_t client, std::uint32_t arrive) {
        wire_link* const l = link_of(client);
        if (l == nullptr) return;
        w.count.add(fault::disconnect);
        for (auto* q : {&l->to_server, &l->to_client})
            while (q->size() > arrive) {
                w.count.add(fault::frame_lost);
                q->pop_back();
            }
        l->client_gone = l->server_gone = true;
    }
    /// Yesterday's records of a client; not those of another set of channels, which only the seed and exports bring back.
    void restore(std::uint8_t client) {
        auto& copy = w.copies[client];
        auto& now_there = w.known.client_disk[client];
        if (w.disks[client].files) return;  // a folder is not copied while it is in use
        if (!copy || copy->second.size() != now_there.size()) return;
        for (const auto& [id, record] : now_there)
            if (!copy->second.contains(id)) return;
        w.count.add(fault::old_disk);
        die(client_of(client));
        std::array<std::uint8_t, 8> memory{};
        const auto keys = w.disks[client].kept.get({record_kind::key_counter, {}}, memory);
        w.disks[client].kept = copy->first;
        // As seed_keys::saw: the chain tells which keys were given out since.
        if (keys) (void)w.disks[client].kept.put({record_kind::key_counter, {}}, keys->version, keys->bytes);
        now_there = copy->second;
        start_client(client);
    }
    /// A client's disk is gone.  It has its seed, and what it exported; without export files nothing could bring its
    /// channels back.
    void lose_disk(std::uint8_t client) {
        if (!w.sticks[client]) return;
        w.count.add(fault::disk_lost);
        die(client_of(client));
        disk& d = w.disks[client];
        d.kept = {};
        d.unsure.clear();
        d.full = false;
        if (d.files) d.files->wipe();
        w.known.client_disk[client].clear();
        w.copies[client].reset();
        auto import = std::make_unique<client_process>(w, client, orders_[client]);
        bool imported = false;
        in(import, [&](auto& p) { imported = p.import(); });
        w.check(rule::right_money, imported, [] { return "a client's export files cannot be imported"; });
        import.reset();
        start_client(client);
    }
    void stranger(const step& s);
    void send_as_stranger(wire_link& l, const wire::message& m) {
        byte_string bytes(8'000);
        const auto done = codec::encode(m, bytes);
        if (!done) return;
        bytes.resize(done->size());
        l.to_server.push_back({bytes, false});
    }

    // ---- chain

    void set_node(process_parts& p) const {
        p.node = node_[p.number];
        p.follower.set_node(p.node);
        p.follower.prune(pruned_[p.number]);
    }
    /// told  what nodes say; in any case they refuse what pays less
    void set_fees(std::int64_t floor, estimate told) {
        w.fee_floor = floor;
        w.chain.set_floor(fee_rate{floor});
        if (told == estimate::stale) return;
        estimate_.reset();
        if (told == estimate::none) return;
        const std::int64_t said = told == estimate::too_high  ? floor * 10
                                  : told == estimate::too_low ? floor / 10
                                                              : floor;
        estimate_ = fee_estimate{fee_rate{said}, {}, fee_rate{told == estimate::right ? floor : 0}};
        for (auto& s : servers_) in(s, [&](auto& p) { p.on_fees(*estimate_); });
        for (auto& c : clients_) in(c, [&](auto& p) { p.on_fees(*estimate_); });
    }
    /// [sat/kvB] that the half of what was paid bears, with something to spare.
    [[nodiscard]] static std::int64_t bearable(const channel_truth& c) {
        return std::max<std::int64_t>(1'000, c.best_on_disk / 2 * 1'000 / 400 * 2 / 3);
    }
    /// Fees are what they are, as long as what is at stake bears them; what nodes tell is not sure either.
    void calm_fees(estimate told) {
        std::int64_t rate = w.fee_floor;
        for (const auto& [id, c] : w.known.channels)
            if (is_at_stake(id, c)) rate = std::min(rate, bearable(c));
        set_fees(rate, told);
    }
    /// A channel whose money the server may still lose.
    [[nodiscard]] bool is_at_stake(const txid& id, const channel_truth& c) const {
        if (c.hopeless || c.closing_height != 0) return false;
        const auto record = w.known.server_disk.find(id);
        if (record == w.known.server_disk.end()) return false;
        return c.acked > 0 || (c.contract_height != 0 && !c.late && !world::is_unseen(c, 0));
    }
    /// [s] The median time if `n` more blocks were mined now.
    [[nodiscard]] unix_time median_after(int n) const {
        std::vector<unix_time> times;
        for (int i = 0; i < n; ++i) times.push_back(w.now);
        for (std::int32_t h = w.chain.height(); times.size() < 11; --h) {
            reader r(w.chain.block_at(h).value().raw.subspan(68));
            times.push_back(unix_time{r.u32()});
        }
        std::ranges::sort(times);
        return times[5];
    }
    /// A contract that never opened is nobody's promise: a server collects from it when it sees it in a block.  And it must
    /// be shown that the block of what ended a channel is on the chain no more.
    [[nodiscard]] static bool needs_blocks(const channel_truth& c) { return c.acked == 0 || c.ended_before; }
    [[nodiscard]] bool refund_is_near(const channel_truth& c) const {
        return median_after(blocks_ahead) > c.terms.expiry;
    }
    void before_block();
    void rescue(const txid& id);
    void mine() {
        before_block();
        w.mine_one();
    }
    void jump(const step& s);
    void fees(std::int64_t floor, estimate told);
    void evict(std::uint32_t n);
    void reorg(const step& s);
    void change_node(const step& s);
    void restart_nodes(const step& s);

    std::array<std::unique_ptr<server_process>, 2> servers_;
    std::array<std::unique_ptr<client_process>, 3> clients_;
    std::array<std::optional<open_order>, 8> orders_;
    std::array<chain_follower::node, 8> node_{};
    std::array<std::int32_t, 8> pruned_{};  // [blocks] up to this one each node has deleted them
    std::optional<fee_estimate> estimate_ = fee_estimate{min_relay_fee_rate, {}, {}};  // that nodes tell
    bool rescuing_ = false;
};

/// Near the time of a refund, the server gets what no server can do without: a moment in which it runs, with a disk, a
/// node that takes transactions, whatever it shows, and a clock that is not behind.  After that it must have its money on
/// the way.
void player::before_block() {
    if (rescuing_ || w.server_dead) return;
    for (const auto& [id, c] : w.known.channels)
        if (is_at_stake(id, c) && refund_is_near(c)) return rescue(id);
}

void player::rescue(const txid& id) {
    rescuing_ = true;
    const auto n = static_cast<std::uint8_t>(id.bytes[0] % w.who.servers);
    w.say([&] { return "  a refund is near: " + name_of(n) + " has a calm moment"; });
    ++w.count.rescues;
    w.disks[0].full = false;
    w.clock_error[n] = std::max<std::int64_t>(w.clock_error[n], 0);
    const bool must_see = std::ranges::any_of(w.known.channels, [&](const auto& c) {
        return needs_blocks(c.second) && is_at_stake(c.first, c.second) && refund_is_near(c.second);
    });
    if (must_see || node_[n] == chain_follower::node::down) node_[n] = chain_follower::node::up;
    if (node_[n] != chain_follower::node::up) w.now = w.now + 600;  // what it would have heard of in that many blocks
    calm_fees(static_cast<estimate>(id.bytes[1] % static_cast<std::uint32_t>(estimate::count)));
    for (int i = 0; i < 3; ++i) {
        with(n, [&](process_parts& p) {
            p.plan.disarm();
            p.refusals = 0;
            set_node(p);
        });
        start_server(n);
        follow(n);
        follow(n);
        if (i < 2) w.mine_one();
    }
    for (const auto& [own, c] : w.known.channels) {
        if (c.closing_height != 0 || !is_at_stake(own, c) || !refund_is_near(c)) continue;
        if (needs_blocks(c) && node_[n] != chain_follower::node::up) continue;  // it must see with the next block
        if (bearable(c) < w.fee_floor) continue;  // nothing was acked on it, and its contract has just come
        const auto spender = w.chain.spender_in_mempool({own, 0});
        bool settles = false;
        bool refunds = false;
        if (spender)
            if (const auto bytes = w.chain.find_transaction(*spender))
                if (const auto tx = parse_transaction(bytes_view(*bytes))) {
                    refunds = tx->lock_time() != 0;
                    settles = !refunds;
                }
        w.check(rule::right_money, settles, [&] {
            return std::string("the refund is due next, the server had its chance, and its settlement is ") +
                   (refunds ? "too late" : "nowhere");
        });
    }
    rescuing_ = false;
}

void player::jump(const step& s) {
    const std::int64_t by = std::int64_t{s.a} - clock_right;
    for (std::uint8_t n = 0; n < w.clock_error.size(); ++n) {
        if (static_cast<clocks>(s.b) == clocks::all) w.clock_error[n] = by;
        if (static_cast<clocks>(s.b) == clocks::apart) w.clock_error[n] = n < first_client ? by : -by;
    }
    if (static_cast<clocks>(s.b) == clocks::one) w.clock_error[s.who] = by;
}

void player::fees(std::int64_t floor, estimate told) {
    if (told == estimate::too_high || told == estimate::too_low) w.count.add(fault::estimate_wrong);
    if (told == estimate::stale) w.count.add(fault::estimate_stale);
    set_fees(floor, told);
}

void player::evict(std::uint32_t n) {
    std::vector<txid> there;
    for (const auto& [id, c] : w.known.channels) {
        // What was rescued stays rescued: no refund, nor the client's coins back, may slip in between two blocks.
        if (refund_is_near(c)) continue;
        if (w.chain.in_mempool(id)) there.push_back(id);
        if (const auto spender = w.chain.spender_in_mempool({id, 0})) there.push_back(*spender);
    }
    if (there.empty()) return;
    w.count.add(fault::eviction);
    w.chain.forget(there[n % there.size()]);
}

void player::reorg(const step& s) {
    for (const auto& [id, c] : w.known.channels)
        if (refund_is_near(c)) return;  // see evict
    w.reorg(static_cast<std::int32_t>(s.a),
            s.b != 0 ? memory_chain::contents::nothing : memory_chain::contents::mempool);
}

void player::change_node(const step& s) {
    using node = chain_follower::node;
    const bool back = s.what == act::node_up;
    if (s.what == act::node_down) w.count.add(fault::node_down);
    if (s.what == act::node_syncs) w.count.add(fault::node_syncs);
    node_[s.who] = back ? node::up : s.what == act::node_down ? node::down : s.b != 0 ? node::slow : node::syncing;
    with(s.who, [&](process_parts& p) {
        set_node(p);
        if (back) p.follower.restart_node();
    });
}

void player::restart_nodes(const step& s) {
    for (const auto& [id, c] : w.known.channels)
        if (c.closing_height == 0 && refund_is_near(c)) return;  // see evict
    w.count.add(fault::mempool_lost);
    w.chain.forget_mempool();
    for (std::uint8_t n = 0; n < first_client + w.who.clients; ++n)
        if (s.b == 0 || n == s.who) with(n, [](process_parts& p) { p.follower.restart_node(); });
}

void player::stranger(const step& s) {
    if (!servers_[s.who]) return;
    w.count.add(fault::stranger);
    wire_link& l = new_link(0, s.who);
    std::vector<txid> ids;
    for (const auto& [id, record] : w.known.server_disk) ids.push_back(id);
    if (ids.empty()) ids.push_back({});
    const txid id = ids[s.b % ids.size()];
    const bytes32 hash = display_bytes(id);
    const auto greet = [&] {
        wire::client_version m;
        m.major = 2;
        m.time_window_secs = 20'000;
        m.previous_channel_contract_hash = hash;
        if (s.c % 2 == 0) m.extensions = wire::understands_amounts;
        send_as_stranger(l, m);
    };
    const auto recorded = [&](auto wanted) -> std::optional<byte_string> {
        std::vector<const byte_string*> all;
        for (const byte_string& f : w.recorded) {
            const auto m = codec::decode(f);
            if (m && wanted(*m)) all.push_back(&f);
        }
        if (all.empty()) return std::nullopt;
        return *all[s.c % all.size()];
    };
    const auto is_payment = [](const wire::message& m) { return std::holds_alternative<wire::update_payment>(m); };
    const auto owned = w.known.channels.find(id);
    switch (s.a) {
        case 0:
            greet();
            send_as_stranger(l, wire::close{});
            break;
        case 1:
        case 2:
        case 3: {
            greet();
            auto payment = recorded(is_payment);
            if (!payment) break;
            auto m = std::get<wire::update_payment>(codec::decode(*payment).value());
            bounded_bytes<73> high;
            if (s.a == 3) {
                if (const auto flagged = parse_flagged(m.signature)) {
                    high = to_bytes({with_high_s(flagged->signature), flagged->hash_type});
                    m.signature = high.view();
                }
            }
            // A payment proves who sends it, even when somebody else does so.
            if (owned != w.known.channels.end()) owned->second.may_end = true;
            send_as_stranger(l, m);
            send_as_stranger(l, wire::close{});
            break;
        }
        case 4:
            // Within its life a recorded proof is as good as the client's own.
            for (auto& [any, c] : w.known.channels) c.may_end = true;
            for (std::uint32_t i = 0; i < 6 && i < w.recorded.size(); ++i)
                l.to_server.push_back({w.recorded[(s.c + i) % w.recorded.size()], false});
            break;
        case 5:
            l.to_server.push_back({byte_string{static_cast<std::uint8_t>(s.b), static_cast<std::uint8_t>(s.c)}, false});
            break;
        default: {
            wire::client_version m;
            m.major = s.c % 2 == 0 ? 1 : 2;
            m.time_window_secs = 20'000;
            send_as_stranger(l, m);
            const auto contract =
                recorded([](const wire::message& x) { return std::holds_alternative<wire::provide_contract>(x); });
            if (contract) l.to_server.push_back({*contract, false});
        }
    }
    l.client_gone = true;  // it does not wait for answers
}

void player::perform(const step& s) {
    ++w.count.steps;
    const bool is_server = s.who < first_client;
    if (is_server && s.who >= w.who.servers) return;
    switch (s.what) {
        case act::connect:
            connect(s.who, static_cast<std::uint8_t>(s.a));
            settle_down(s.b, 0);
            break;
        case act::pay:
            in(client_of(s.who), [&](auto& p) { p.pay(satoshi{s.a}); });
            settle_down(s.b, 0);
            break;
        case act::settle:
            in(client_of(s.who), [&](auto& p) { p.settle(); });
            settle_down(s.b, 0);
            break;
        case act::hang_up: in(client_of(s.who), [&](auto& p) { p.hang_up(); }); break;
        case act::frames: deliver_frames(s.a, s.b); break;
        case act::answer: in(servers_[s.who], [&](auto& p) { p.answer_held(s.b != 0); }); break;
        case act::turn: in(servers_[s.who], [&](auto& p) { p.turn(); }); break;
        case act::backup: w.copies[s.who] = {w.disks[s.who].kept, w.known.client_disk[s.who]}; break;
        case act::restore: restore(s.who); break;
        case act::follow: follow(s.who); break;
        case act::mine:
            for (std::uint32_t i = 0; i < s.a; ++i) {
                w.now = w.now + 30;
                mine();
            }
            break;
        case act::pass: w.now = w.now + s.a; break;
        case act::hours:
            for (std::uint32_t i = 0; i < s.a; ++i) {
                w.now = w.now + 1'200;
                mine();
                for (std::uint8_t n = 0; n < first_client + w.who.clients; ++n)
                    if ((s.b >> ((i + n) % 16) & 1U) != 0 && (n >= first_client || n < w.who.servers)) follow(n);
            }
            break;
        case act::order_settlement: in(servers_[s.who], [&](auto& p) { p.order_settlement(s.a); }); break;
        case act::start: start(s.who); break;
        case act::strike:
            with(s.who, [&](process_parts& p) { p.plan.arm({static_cast<effect>(s.a), s.b, static_cast<way>(s.c)}); });
            break;
        case act::kill:
            w.count.add(fault::kill);
            if (is_server)
                die(servers_[s.who]);
            else
                die(client_of(s.who));
            break;
        case act::disk_full: w.disk_of(s.who).full = true; break;
        case act::disk_freed: w.disk_of(s.who).full = false; break;
        case act::lose_frame: lose(s.who, s.a); break;
        case act::repeat_frame: w.attacks[s.who] = {wire_attack::kind::repeat, s.a != 0, 0, 0}; break;
        case act::change_frame:
            w.attacks[s.who] = {wire_attack::kind::change, s.a != 0, s.b, static_cast<std::uint8_t>(s.c)};
            break;
        case act::raise_s: w.attacks[s.who] = {wire_attack::kind::raise_s, false, 0, 0}; break;
        case act::jump:
            w.count.add(fault::clock_jump);
            jump(s);
            break;
        case act::node_down:
        case act::node_syncs:
        case act::node_up: change_node(s); break;
        case act::prune:
            pruned_[s.who] = std::max(pruned_[s.who], w.chain.height() - static_cast<std::int32_t>(s.a));
            with(s.who, [this](process_parts& p) { set_node(p); });
            break;
        case act::node_restarts: restart_nodes(s); break;
        case act::refuse: with(s.who, [&](process_parts& p) { p.refusals = s.a; }); break;
        case act::evict: evict(s.a); break;
        case act::reorg: reorg(s); break;
        case act::fees:
            w.count.add(fault::fee_spike);
            fees(s.a, static_cast<estimate>(s.b));
            break;
        case act::stranger:
            stranger(s);
            deliver_frames(6, static_cast<std::uint32_t>(w.links.size() - 1));
            break;
        case act::spoil_first: w.attacks[s.who] = {wire_attack::kind::spoil_first, false, 0, 0}; break;
        case act::lose_disk: lose_disk(s.who); break;
        case act::bar_contract: w.bars_next[s.who] = true; break;
        case act::double_spend: w.double_spend(s.who); break;
        case act::server_dies:
            w.count.add(fault::server_dies);
            w.server_dead = true;
            for (auto& p : servers_) die(p);
            break;
    }
    w.check_all();
}

void player::finish() {
    w.say([] { return "  the faults end, and time goes on with nobody connected"; });
    for (const auto& l : w.links) {
        l->client_gone = l->server_gone = true;
        l->to_client.clear();
        l->to_server.clear();
    }
    set_fees(1'000, estimate::right);
    for (disk& d : w.disks) d.full = false;
    w.clock_error.fill(0);
    node_.fill(chain_follower::node::up);
    const auto each = [&](auto f) {
        for (std::uint8_t s = 0; s < w.who.servers; ++s) f(s);
        for (std::uint8_t c = 0; c < w.who.clients; ++c) f(client_number(c));
    };
    each([&](std::uint8_t n) {
        with(n, [&](process_parts& p) {
            p.plan.disarm();
            p.refusals = 0;
            set_node(p);
        });
        start(n);
    });
    w.attacks.fill({});
    deliver_frames(100, 0);
    unix_time last = w.now;
    for (const auto& [id, c] : w.known.channels)
        if (c.closing_height == 0) last = std::max(last, c.terms.expiry);
    const auto round = [&](std::int64_t seconds) {
        each([&](std::uint8_t n) { follow(n); });
        w.now = w.now + seconds;
        mine();
        each([&](std::uint8_t n) { follow(n); });
        w.check_all();
    };
    while (w.now < last + 1'800) round(1'800);
    for (int i = 0; i < 9 + burial + 2; ++i) round(600);
    // Leftovers without money in them may stay until a process starts again: it reads its whole disk.
    each([&](std::uint8_t n) {
        if (n >= first_client)
            end(client_of(n));
        else
            end(servers_[n]);
        start(n);
        follow(n);
    });
    w.check_ended();
}

}  // namespace

outcome play(const history& h, tally& count, tell how) {
    outcome out;
    player p(h.who, count, how == tell::everything);
    ++count.histories;
    if (p.w.tracing) p.w.trace.push_back(words(h.who));
    try {
        for (; out.at < h.steps.size(); ++out.at) {
            p.w.say([&] { return std::to_string(out.at) + "  " + words(h.steps[out.at]); });
            p.perform(h.steps[out.at]);
        }
        p.finish();
    } catch (const violation& v) {
        out.broken = v;
    }
    out.trace = std::move(p.w.trace);
    return out;
}

}  // namespace simulation
