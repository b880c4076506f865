// What is due while the node's blocks are still being read, or do not come: its broadcast does not wait for them.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <vector>

#include "hourly.hpp"
#include "node.hpp"
#include "paychan/channel/custody.hpp"

namespace tool {

/// A scan from an early birthday takes hours, and one block that the node does not give stops it.  Settlements and refunds
/// need no blocks: the node refuses what the blocks would have told to be over.  Once the chain is read, the books do all
/// this, and know more.
class urgent {
public:
    /// Builds, stores and broadcasts a settlement, by this time.
    using settle_function = std::function<paychan::result<void>(const paychan::txid&, paychan::unix_time)>;

    /// settle  none: channels that we are paid on are not looked at
    urgent(node& n, report& out, bool refunds, settle_function settle, const paychan::server_settings& settings = {})
        : node_(n), out_(out), refunds_(refunds), settle_(std::move(settle)), settings_(settings) {}

    /// Call it every second.
    void look() {
        const auto now = std::chrono::steady_clock::now();
        // A block that is on its way needs no help.
        if (node_.caught_up() && !node_.is_behind()) next_ = now + interval;
        // A settlement pays the fee of the day, which the node tells first.
        if (now < next_ || !node_.is_behind() || !node_.knows_rate()) return;
        next_ = now + interval;
        if (now >= next_list_) {
            list();
            next_list_ = now + list_interval;
        }
        for (duty& d : duties_)
            if (d.client)
                refund(d);
            else if (!node_.caught_up())  // the server's book goes by the clock: from then on it needs no help
                settle(d);
    }

private:
    static constexpr std::chrono::seconds interval{10};
    static constexpr std::chrono::minutes list_interval{10};  // also for what was refused: its reason may have gone

    struct duty {
        bool client;
        paychan::channel_record record;
        bool settling;  // a settlement is stored
        paychan::txid sent{};
    };

    [[nodiscard]] paychan::unix_time latest() { return std::max(node_.clock().now(), node_.tip_median_time()); }

    void list() {
        duties_.clear();
        if (refunds_) add(paychan::record_kind::client_channel);
        if (settle_) add(paychan::record_kind::server_channel);
    }

    /// What cannot be read was told by the book, which tries it again.  What is due much later is of no interest yet.
    void add(paychan::record_kind kind) {
        using paychan::channel_stage;
        const auto soon = latest() + 3'600;
        std::vector<paychan::txid> ids;
        if (!node_.store().list(kind, [&](const paychan::record_id& id) { ids.push_back(id.channel); })) return;
        for (const paychan::txid& id : ids) {
            const auto record = load_record(node_.store(), kind, id);
            // Stored heights may be those of blocks that have left the chain: the scan tells, and this much waits for it.
            if (!record || record->closing_height != 0 || record->stage == channel_stage::none) continue;
            const bool settling = record->stage == channel_stage::settling;
            if (!(settling && settle_) && settlement_deadline(*record, settings_) > soon) continue;
            if (kind == paychan::record_kind::client_channel)
                duties_.push_back({true, *record, false});
            else if (settling || record->stage == channel_stage::open || record->stage == channel_stage::unbacked)
                duties_.push_back({false, *record, settling});
        }
    }

    /// True when the network has said its word on what was sent.
    [[nodiscard]] bool is_answered(const duty& d) const {
        if (d.sent == paychan::txid{}) return false;
        const auto how = node_.outcome_of(d.sent);
        return how && *how != paychan::broadcast_outcome::unreachable;
    }

    void refund(duty& d) {
        if (!refund_is_due(d.record, node_.tip_median_time()) || is_answered(d)) return;
        const auto done = broadcast_refund(d.record, node_.tip_median_time(), node_.store(), node_, memory_);
        if (!done) return tell(d, done.error());
        d.sent = stored_id(paychan::record_kind::client_refund, d);
    }

    void settle(duty& d) {
        if (!d.settling && latest() < settlement_deadline(d.record, settings_)) return;
        if (is_answered(d)) return;
        const paychan::txid& id = d.record.terms.contract.id;
        if (d.settling) d.sent = stored_id(paychan::record_kind::server_settlement, d);
        // What was refused a while ago is built anew, with the fee of the day.
        const bool refused = d.settling && node_.outcome_of(d.sent) == paychan::broadcast_outcome::refused;
        if (d.settling && !refused && d.sent != paychan::txid{}) {
            (void)paychan::detail::broadcast_stored(paychan::record_kind::server_contract, id, node_.store(), node_,
                                                    memory_);
            (void)paychan::detail::broadcast_stored(paychan::record_kind::server_settlement, id, node_.store(), node_,
                                                    memory_);
            return;
        }
        if (const auto done = settle_(id, latest()); !done) return tell(d, done.error());
        d.settling = true;
        d.sent = stored_id(paychan::record_kind::server_settlement, d);
    }

    [[nodiscard]] paychan::txid stored_id(paychan::record_kind kind, const duty& d) {
        const auto stored = node_.store().get({kind, d.record.terms.contract.id}, memory_);
        if (!stored) return {};
        const auto tx = paychan::parse_transaction(stored->bytes);
        return tx ? tx->id() : paychan::txid{};
    }

    void tell(const duty& d, const paychan::error& e) {
        using paychan::errc;
        // Another process was faster; the coins for the fee are in blocks that are still to come; or the end was in a block
        // that has come since the list was made.
        if (e.code == errc::stale_record || e.code == errc::insufficient_funds || e.code == errc::wrong_state) return;
        const std::string channel = text_of(d.record.terms.contract.id);
        if (!told_.is_due(channel + std::string(name(e.code)))) return;
        out_.error_event({{"event", "error"}, {"code", name(e.code)}, {"explanation", e.text}, {"channel", channel}},
                         "channel " + channel + ": " + std::string(e.text) + " (" + std::string(name(e.code)) + ")");
    }

    node& node_;
    report& out_;
    bool refunds_;
    settle_function settle_;
    paychan::server_settings settings_;
    std::vector<duty> duties_;
    hourly told_;
    std::chrono::steady_clock::time_point next_{};
    std::chrono::steady_clock::time_point next_list_{};
    std::vector<std::uint8_t> memory_ = std::vector<std::uint8_t>(paychan::wire::max_frame_size);
};

}  // namespace tool
