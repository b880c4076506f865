// How a client process acts.
#include "simulation/client_process.hpp"

#include "simulation/mutants/active.hpp"

namespace simulation {

client_process::client_process(world& w, std::uint8_t number, std::optional<open_order>& order)
    : parts(w, number),
      monitor_(both_versions{}, store_, keys_, purse_, network_, events_, monitor_settings{.burial = burial}),
      keeper_(store_, keys_, purse_, network_, clock_, sim_keeping(), monitor_),
      order_(order) {
    settings_.time_window = w.who.window;
    settings_.extensions = w.who.extensions;
    settings_.versions = w.who.versions == 3 ? version_set::all() : version_set::only(static_cast<int>(w.who.versions));
    transport_.record = [this]() -> const channel_record& { return driver_->record(); };
    make_driver();
}

void client_process::make_driver() {
    driver_ = std::make_unique<driver_type>(both_versions{}, transport_, clock_, keys_, store_, purse_, network_,
                                            codec_, events_, settings_);
    driver_->set_chain(view_);
}

bool client_process::start() {
    if (!disk_.open() || !keys_.load() || !keeper_.open(network::regtest)) return false;
    parts.height = keeper_.height();
    return bring_up(keeper_);
}

bool client_process::import() {
    const file_system* const stick = parts.w.sticks[parts.number].get();
    if (stick == nullptr || !disk_.open()) return false;
    for (const auto& [name, file] : stick->listed()) {
        if (!name.ends_with(".channel")) continue;
        const auto e = read_export(file->now);
        if (!e || !check_export<both_versions>(*e)) return false;
        const txid& id = e->record.terms.contract.id;
        const record_buffer record = write_record(e->record);
        const auto key = static_cast<std::uint64_t>(e->record.key);
        constexpr std::array<std::uint8_t, 1> nothing{};
        const watch_buffer unknown = write_watch(watch_facts{.unknown = true});
        const auto is_there = [](const result<void>& put) { return put || put.error().code == errc::stale_record; };
        if (!is_there(disk_.put({record_kind::key_counter, {}}, key, nothing)) ||
            !is_there(disk_.put({record_kind::client_contract, id}, 1, e->contract)) ||
            !is_there(disk_.put({record_kind::client_refund, id}, 1, e->refund)) ||
            !is_there(disk_.put({record_kind::client_watch, id}, 1, unknown.view())) ||
            !is_there(disk_.put({record_kind::client_channel, id}, e->record.version, record.view())))
            return false;
    }
    return true;
}

void client_process::connect(wire_link& link) {
    make_driver();
    transport_.link = &link;
    std::vector<txid> ids;
    if (!store_.list(record_kind::client_channel, [&](const record_id& id) { ids.push_back(id.channel); }))
        return transport_.close();
    for (const txid& id : ids) {
        const auto record = load_record(store_, record_kind::client_channel, id);
        if (!record) return transport_.close();
        if (record->stage == channel_stage::settling || record->closing_height != 0) continue;
        if (record->terms.expiry < clock_.now() + settle_margin) continue;
        if (!driver_->load(id)) return transport_.close();
        link.channel = id;
        break;
    }
    if (!driver_->connect(satoshi{100'000})) transport_.close();
}

void client_process::pay(satoshi amount) {
    if (order_ || !connected() || driver_->phase() != client_phase::open || driver_->payment_in_flight()) return;
    const channel_record& record = driver_->record();
    const satoshi all = std::min(amount, record.change);
    if (all.value <= 0) return;
    order_ = open_order{record.terms.contract.id, all, record.paid(), false};
    parts.w.known.channels[order_->channel].asked += all.value;
    send_payment(all);
}

void client_process::send_payment(satoshi amount) {
    const bool tried_before = std::exchange(order_->tried, true);  // a process that dies in between may have signed it
    const auto sent = driver_->pay(amount, {&on_paid, this});
    const bool unknown = !sent && (sent.error().code == errc::store_failed || sent.error().code == errc::stale_record);
    order_->tried = tried_before || sent || unknown;
    if (order_->tried) return;
    // Nothing was signed, and the record is unchanged: the order is off.
    parts.w.known.channels[order_->channel].asked -= order_->amount.value;
    order_.reset();
}

void client_process::on_paid(void* self, const result<payment_receipt>& outcome) {
    auto& p = *static_cast<client_process*>(self);
    if (!outcome) return;  // unknown: a resume will tell
    ++p.parts.w.count.payments;
    p.order_.reset();
}

/// A resumed channel tells whether the last payment counted.
void client_process::settle_order(const txid& channel, satoshi total) {
    if (!order_) return;
    if (order_->channel != channel) {
        order_.reset();  // that channel is over: the shop writes the order off
        return;
    }
    if (total.value >= order_->total_before.value + order_->amount.value)
        order_.reset();
    else
        send_payment(order_->amount);
}

void client_process::settle() {
    if (!connected() || driver_->phase() != client_phase::open) return;
    parts.w.known.channels[driver_->record().terms.contract.id].may_end = true;
    (void)driver_->settle();
}

void client_process::hang_up() { transport_.close(); }

bool client_process::deliver(wire_link& link) {
    if (transport_.link != &link) return false;
    if (!link.to_client.empty()) {
        const frame next = std::move(link.to_client.front());
        link.to_client.pop_front();
        hears_honest_ = next.honest && !link.tampered;
        driver_->on_frame(next.bytes);
        return true;
    }
    if (link.client_told || !(link.client_gone || link.server_gone)) return false;
    link.client_told = link.client_gone = true;
    transport_.link = nullptr;
    driver_->on_disconnected();
    parts.w.check(rule::hellos_are_free, parts.keys_out.empty(),
                  [] { return "an opening that came to nothing costs the client a key"; });
    return true;
}

void client_process::follow() {
    for (int i = 0; i < 10 && parts.follower.deliver(*this) > 0; ++i) {
    }
    wall_clock = clock_.now();
    keeper_.look();
}

void client_process::on_chain(const chain_event& e) {
    parts.hears(e);
    view_.on_chain(e);
    driver_->on_chain(e);
    keeper_.on_chain(e);
}

void client_process::on_event(const event& e) {
    parts.w.count.mix(50 + static_cast<std::uint64_t>(e.kind));
    if (e.kind == event_kind::error)
        parts.w.say([&] {
            return "    client " + std::to_string(parts.number - first_client) + " reports " +
                   std::string(name(e.problem.code)) + ": " + std::string(e.problem.text);
        });
    monitor_.on_event(e);
    if (e.kind == event_kind::stored && transport_.link != nullptr) transport_.link->channel = e.channel;
    if (e.kind == event_kind::opened || e.kind == event_kind::acked) {
        if (hears_honest_) {
            channel_truth& c = parts.w.known.channels[e.channel];
            c.acked = std::max(c.acked, e.total.value);
        }
        parts.w.say([&] {
            return "    client " + std::to_string(parts.number - first_client) +
                   (e.kind == event_kind::opened ? ": open, paid are " : ": acked are ") +
                   std::to_string(e.total.value) + (hears_honest_ ? "" : " (says somebody on the wire)");
        });
        if (e.kind == event_kind::opened) settle_order(e.channel, e.total);
    }
}

}  // namespace simulation
