// A client process: one connection at a time, a monitor and its keeper, and an application that knows what it wants to pay.
#pragma once

#include "paychan/client_monitor.hpp"
#include "paychan/keeper/keeper.hpp"
#include "paychan/memory/export_file.hpp"
#include "simulation/parts.hpp"

namespace simulation {

/// A payment that the application does not know the end of.  It remembers it across crashes, as a shop remembers an order.
struct open_order {
    txid channel{};
    satoshi amount{};
    satoshi total_before{};  // of the channel: tells later whether the payment counted
    bool tried = false;      // it was signed once, and may be on the server's disk
};

class client_process {
public:
    client_process(world& w, std::uint8_t number, std::optional<open_order>& order);

    // Life.  Any of these may throw `crash`.
    [[nodiscard]] bool start();
    /// Puts the channels of the export files into a new store, as `paychan import` does.
    [[nodiscard]] bool import();
    /// Resumes a channel, or opens one.  link  a new connection
    void connect(wire_link& link);
    void pay(satoshi amount);
    void settle();
    void hang_up();
    bool deliver(wire_link& link);
    void follow();

    static constexpr chain_turn chain_order = chain_turn::others;
    void on_chain(const chain_event& e);
    void on_fees(const fee_estimate& fees) { on_chain(fees); }

    [[nodiscard]] bool connected() const { return transport_.link != nullptr; }

    process_parts parts;

private:
    struct events_type {
        client_process& p;
        void on_event(const event& e) { p.on_event(e); }
        bool is_attached(const txid& id) { return p.connected() && p.driver_->record().terms.contract.id == id; }
    };
    using store_type = exporting_store<sim_store>;
    using driver_type = client<both_versions, sim_transport, sim_clock, sim_keys, store_type, sim_purse, sim_network,
                               codec, events_type, frame_capacity>;

    void on_event(const event& e);
    static void on_paid(void* self, const result<payment_receipt>& outcome);
    void settle_order(const txid& channel, satoshi total);
    void send_payment(satoshi amount);
    void make_driver();

    sim_store disk_{parts};
    store_type store_{disk_, network::regtest, parts.w.export_folder(parts.number)};
    sim_keys keys_{parts, disk_};
    sim_purse purse_{parts};
    sim_network network_{parts};
    sim_clock clock_{parts};
    chain_view view_;
    codec codec_;
    sim_transport transport_{parts, nullptr, {}};
    events_type events_{*this};
    client_settings settings_;
    client_monitor<both_versions, store_type, sim_keys, sim_network, events_type, sim_purse> monitor_;
    keeper<store_type, sim_keys, sim_purse, sim_network, sim_clock, decltype(monitor_)> keeper_;
    std::unique_ptr<driver_type> driver_;
    std::optional<open_order>& order_;
    bool hears_honest_ = true;  // the frame that is being delivered is the server's own
};

}  // namespace simulation
