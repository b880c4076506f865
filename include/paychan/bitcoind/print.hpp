// The `print:` chain: no node at all.  Each transaction is printed, for the user to broadcast by other means.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "paychan/core/hex.hpp"
#include "paychan/policy.hpp"

namespace paychan::bitcoind {

/// A Broadcaster that gives each transaction's hex to `print(const txid&, std::string_view hex)`, once for each txid,
/// and takes it as broadcast: on_broadcast(accepted) follows from the io_context, for each call.  There are no blocks
/// and no fee rates.  The follower's type may be incomplete until broadcast() is called.
template <class Follower, class Print>
class print_broadcaster {
public:
    print_broadcaster(boost::asio::io_context& io, Follower& follower, Print print)
        : io_(io), follower_(follower), print_(std::move(print)) {}
    print_broadcaster(const print_broadcaster&) = delete;
    print_broadcaster& operator=(const print_broadcaster&) = delete;

    void broadcast(bytes_view tx) {
        const auto parsed = parse_transaction(tx);
        if (!parsed) return outcome_later(txid{hash256(tx)}, broadcast_outcome::refused, parsed.error().text);
        const txid id = parsed->id();
        // Due transactions are broadcast again and again: the user needs to see each only once.
        if (printed_.insert(id).second) {
            std::string hex(2 * tx.size(), '\0');
            (void)to_hex(tx, hex);  // cannot fail: two characters a byte are there
            print_(id, std::string_view(hex));
        }
        outcome_later(id, broadcast_outcome::accepted, "printed");
    }

private:
    void outcome_later(const txid& id, broadcast_outcome outcome, std::string_view literal) {
        boost::asio::post(io_, [this, alive = std::weak_ptr(alive_), id, outcome, literal] {
            if (!alive.expired()) follower_.on_broadcast(id, outcome, literal);
        });
    }

    boost::asio::io_context& io_;
    Follower& follower_;
    Print print_;
    std::set<txid> printed_;
    std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace paychan::bitcoind
