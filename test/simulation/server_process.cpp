// How a server process acts.
#include "simulation/server_process.hpp"

namespace simulation {

namespace {
/// Sets a flag for as long as it lives.
struct scope {
    bool& flag;
    explicit scope(bool& f) : flag(f) { flag = true; }
    ~scope() { flag = false; }
    scope(const scope&) = delete;
    scope& operator=(const scope&) = delete;
};
}  // namespace

server_process::connection::connection(server_process& p, wire_link& l)
    : link(&l),
      transport{p.parts, &l, [this]() -> const channel_record& { return driver.record(); }},
      driver(both_versions{}, transport, p.clock_, p.keys_, p.store_, p.purse_, p.network_, codec_, p.events_,
             p.settings_) {}

server_process::server_process(world& w, std::uint8_t number) : parts(w, number) {
    settings_.versions = w.who.versions == 3 ? version_set::all() : version_set::only(static_cast<int>(w.who.versions));
    settings_.min_channel = satoshi{10'000};
    settings_.settle_margin = settle_margin;
    monitor_.emplace(both_versions{}, store_, keys_, purse_, network_, events_, settings_,
                     monitor_settings{.burial = burial});
    keeper_.emplace(store_, keys_, purse_, network_, clock_, sim_keeping(), *monitor_);
}

bool server_process::start() {
    if (!store_.open() || !keys_.load() || !keeper_->open(network::regtest)) return false;
    parts.height = keeper_->height();
    return bring_up(*keeper_);
}

void server_process::accept(wire_link& link) {
    connections_.push_back(std::make_unique<connection>(*this, link));
    connections_.back()->driver.set_chain(view_);
}

bool server_process::deliver(wire_link& link) {
    connection* const c = of(link);
    if (c == nullptr) return false;
    if (!link.to_server.empty()) {
        if (c->driver.phase() == server_phase::answering) return false;
        const frame next = std::move(link.to_server.front());
        link.to_server.pop_front();
        if (!next.honest && link.client != 0)  // what strangers send is judged where they send it
            if (const auto own = parts.w.known.channels.find(c->driver.record().terms.contract.id);
                own != parts.w.known.channels.end())
                own->second.may_end = true;
        {
            const scope now(in_driver_);
            const bool greets = c->driver.phase() == server_phase::idle;
            c->driver.on_frame(next.bytes);
            if (greets) take_over(*c);
        }
        run_later();
        return true;
    }
    if (link.server_told || !(link.client_gone || link.server_gone)) return false;
    link.server_told = link.server_gone = true;
    {
        const scope now(in_driver_);
        c->driver.on_disconnected();
    }
    std::erase_if(connections_, [&](const auto& x) { return x->link == &link; });
    run_later();
    return true;
}

void server_process::turn() {
    std::vector<connection*> talking;
    std::vector<connection*> greeting;
    for (const auto& c : connections_) {
        if (c->link->to_server.empty() || c->driver.phase() == server_phase::answering) continue;
        (c->driver.phase() == server_phase::idle ? greeting : talking).push_back(c.get());
    }
    {
        const scope now(in_driver_);
        std::vector<byte_string> frames;
        frames.reserve(talking.size() + greeting.size());
        commit(talking, frames);
        commit(greeting, frames);
        for (connection* const c : greeting) take_over(*c);
    }
    run_later();
}

void server_process::commit(std::span<connection* const> group, std::vector<byte_string>& frames) {
    std::vector<put_request> batch;
    std::vector<std::span<const put_request>> own;
    for (connection* const c : group) {
        frame next = std::move(c->link->to_server.front());
        c->link->to_server.pop_front();
        if (!next.honest && c->link->client != 0)
            if (const auto known = parts.w.known.channels.find(c->driver.record().terms.contract.id);
                known != parts.w.known.channels.end())
                known->second.may_end = true;
        frames.push_back(std::move(next.bytes));
        own.push_back(c->driver.take(frames.back()));
        batch.insert(batch.end(), own.back().begin(), own.back().end());
    }
    const auto all = put_all(store_, batch);
    for (std::size_t i = 0; i < group.size(); ++i)
        group[i]->driver.finish(all || group.size() == 1 ? all : put_all(store_, own[i]));
}

void server_process::follow() {
    for (int i = 0; i < 10 && parts.follower.deliver(*this) > 0; ++i) {
    }
    keeper_->look();
    run_later();
    for (const auto& c : connections_) {
        const scope now(in_driver_);
        c->driver.rebroadcast();
    }
    run_later();
}

void server_process::answer_held(bool refuses) {
    for (const auto& c : connections_) {
        if (c->driver.phase() != server_phase::answering) continue;
        const scope now(in_driver_);
        const satoshi total = c->driver.record().paid();
        if (refuses)
            (void)c->driver.refuse(total, "not today");
        else
            (void)c->driver.ack(total);
    }
    run_later();
}

void server_process::order_settlement(std::uint32_t n) {
    std::vector<txid> ids;
    for (const auto& [id, record] : parts.w.known.server_disk)
        if (record.stage == channel_stage::open) ids.push_back(id);
    if (ids.empty()) return;
    const txid id = ids[n % ids.size()];
    parts.w.known.channels[id].may_end = true;
    if (!settle_over(id)) (void)monitor_->settle(id);
    run_later();
}

void server_process::on_chain(const chain_event& e) {
    parts.hears(e);
    view_.on_chain(e);
    {
        const scope now(in_driver_);
        for (const auto& c : connections_) c->driver.on_chain(e);
    }
    run_later();
    keeper_->on_chain(e);
}

void server_process::on_fees(const fee_estimate& fees) { on_chain(fees); }

void server_process::events_type::on_event(const event& e) {
    p.parts.w.count.mix(static_cast<std::uint64_t>(e.kind));
    if (e.kind == event_kind::error)
        p.parts.w.say([&] {
            return "    server " + std::to_string(p.parts.number) + " reports " + std::string(name(e.problem.code)) +
                   ": " + std::string(e.problem.text);
        });
    p.monitor_->on_event(e);
    if (e.kind == event_kind::confirmed || e.kind == event_kind::double_spent)
        p.outside_of_drivers([this, id = e.channel, closing = e.closing] { p.detach(id, closing); });
}

payment_answer server_process::events_type::on_payment(const event&) {
    return p.parts.w.who.held ? payment_answer::hold() : payment_answer::ack();
}

bool server_process::events_type::settle_attached(const txid& id) {
    if (!p.in_driver_) {
        const scope now(p.in_driver_);
        return p.settle_over(id);
    }
    if (!is_attached(id)) return false;
    p.outside_of_drivers([this, id] { p.settle_over(id); });
    return true;
}

bool server_process::settle_over(const txid& id) {
    connection* const c = find_attached(id);
    if (c == nullptr) return false;
    if (c->driver.phase() == server_phase::settling) return true;
    if (c->driver.phase() == server_phase::broadcasting) {
        c->driver.close();
        return false;
    }
    return c->driver.settle().has_value();
}

void server_process::detach(const txid& id, const txid& closing) {
    connection* const c = find_attached(id);
    if (c == nullptr) return;
    if (c->driver.phase() == server_phase::settling && c->driver.record().closing == closing)
        c->driver.on_broadcast(closing, broadcast_outcome::accepted);
    else
        c->driver.close();
}

void server_process::take_over(connection& c) {
    if (!is_open(c.driver.phase()) && c.driver.phase() != server_phase::broadcasting) return;
    while (connection* const other = find_attached(c.driver.record().terms.contract.id, &c)) other->driver.close();
}

server_process::connection* server_process::find_attached(const txid& id, const connection* besides) {
    for (const auto& c : connections_) {
        const server_phase phase = c->driver.phase();
        const bool attached = phase == server_phase::broadcasting || is_open(phase) || phase == server_phase::settling;
        if (attached && c.get() != besides && c->driver.record().terms.contract.id == id) return c.get();
    }
    return nullptr;
}

server_process::connection* server_process::of(const wire_link& link) {
    for (const auto& c : connections_)
        if (c->link == &link) return c.get();
    return nullptr;
}

template <class F>
void server_process::outside_of_drivers(F f) {
    if (in_driver_) {
        later_.emplace_back(std::move(f));
        return;
    }
    const scope now(in_driver_);
    f();
}

void server_process::run_later() {
    while (!later_.empty()) {
        const auto work = std::move(later_);
        later_.clear();
        const scope now(in_driver_);
        for (const auto& f : work) f();
    }
    parts.w.check(rule::hellos_are_free, parts.keys_out.size() <= connections_.size(), [&] {
        return std::to_string(parts.keys_out.size()) + " keys of the server are out, and it has " +
               std::to_string(connections_.size()) + " connections";
    });
}

}  // namespace simulation
