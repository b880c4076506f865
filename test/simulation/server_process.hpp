// A server process: connections, a monitor and its keeper, an application; put together as paychan's own TCP server does it.
#pragma once

#include "paychan/keeper/keeper.hpp"
#include "paychan/server.hpp"
#include "paychan/server_monitor.hpp"
#include "simulation/parts.hpp"

namespace simulation {

class server_process {
public:
    server_process(world& w, std::uint8_t number);

    // Life.  Any of these may throw `crash`: then the process is to be destroyed.
    [[nodiscard]] bool start();  ///< false: its store does not load, and it gives up
    void accept(wire_link& link);
    /// The next frame, or the end, of a connection; false when nothing waits, or the application must answer first.
    bool deliver(wire_link& link);
    /// A frame of every connection that has one, with one commit for all: as tcp_server does.
    void turn();
    void follow();
    void answer_held(bool refuses);
    void order_settlement(std::uint32_t n);

    static constexpr chain_turn chain_order = chain_turn::others;
    void on_chain(const chain_event& e);
    void on_fees(const fee_estimate& fees);

    process_parts parts;

private:
    struct events_type {
        server_process& p;
        void on_event(const event& e);
        payment_answer on_payment(const event& e);
        bool is_backed(const txid& id) { return p.monitor_->is_backed(id); }
        bool is_attached(const txid& id) { return p.find_attached(id) != nullptr; }
        bool settle_attached(const txid& id);
    };
    using driver_type = server<both_versions, sim_transport, sim_clock, sim_keys, sim_store, sim_purse, sim_network,
                               codec, events_type, frame_capacity>;
    using monitor_type = server_monitor<both_versions, sim_store, sim_keys, sim_purse, sim_network, events_type>;
    using keeper_type = keeper<sim_store, sim_keys, sim_purse, sim_network, sim_clock, monitor_type>;
    struct connection {
        connection(server_process& p, wire_link& l);
        wire_link* link;
        sim_transport transport;
        codec codec_;
        driver_type driver;
        bool answers = false;  // the application holds a payment
    };

    [[nodiscard]] connection* find_attached(const txid& id, const connection* besides = nullptr);
    [[nodiscard]] connection* of(const wire_link& link);
    void commit(std::span<connection* const> group, std::vector<byte_string>& frames);
    bool settle_over(const txid& id);
    void detach(const txid& id, const txid& closing);
    void take_over(connection& c);
    template <class F>
    void outside_of_drivers(F f);
    void run_later();

    sim_store store_{parts};
    sim_keys keys_{parts, store_};
    sim_purse purse_{parts};
    sim_network network_{parts};
    sim_clock clock_{parts};
    events_type events_{*this};
    server_settings settings_;
    std::optional<monitor_type> monitor_;
    std::optional<keeper_type> keeper_;
    std::vector<std::unique_ptr<connection>> connections_;
    bool in_driver_ = false;
    std::vector<std::function<void()>> later_;
    chain_view view_;
};

}  // namespace simulation
