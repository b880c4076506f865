// The `print:` chain: no node at all.  Each transaction is printed, for the user to broadcast by other means.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "paychan/core/hex.hpp"
#include "paychan/policy.hpp"

namespace paychan::bitcoind {

/// A ChainSource without blocks and fee rates.  Gives each transaction's hex to `print`, once for each txid, and takes it
/// as broadcast: for each call, broadcast_answer(accepted) follows from the io_context, once start() was called.
class print_broadcaster {
public:
    using print_function = std::function<void(const txid&, std::string_view hex)>;

    print_broadcaster(boost::asio::io_context& io, print_function print) : io_(io), print_(std::move(print)) {}
    print_broadcaster(const print_broadcaster&) = delete;
    print_broadcaster& operator=(const print_broadcaster&) = delete;

    /// Once.  The listeners must outlive this.
    template <class... L>
    void start(L&... listeners) {
        static_assert((ChainListener<L> && ...),
                      "who follows the chain has chain_order and on_chain(): see ChainListener");
        tell_ = [&listeners...](const chain_event& e) { tell(e, listeners...); };
        tell_later();
    }

    void broadcast(bytes_view tx) {
        const auto parsed = parse_transaction(tx);
        if (!parsed) return answer(txid{hash256(tx)}, broadcast_outcome::refused, parsed.error().text);
        const txid id = parsed->id();
        // Due transactions are broadcast again and again: the user needs to see each only once.
        if (printed_.insert(id).second) {
            std::string hex(2 * tx.size(), '\0');
            (void)to_hex(tx, hex);  // cannot fail: two characters a byte are there
            print_(id, std::string_view(hex));
        }
        answer(id, broadcast_outcome::accepted, "printed");
    }

    void follow(const chain_position& /*from*/, std::optional<std::int32_t> /*first*/) {}
    [[nodiscard]] chain_position position() const { return {}; }

private:
    void answer(const txid& id, broadcast_outcome outcome, std::string_view literal) {
        answers_.push_back({id, outcome, literal});
        tell_later();
    }

    void tell_later() {
        boost::asio::post(io_, [this, alive = std::weak_ptr(alive_)] {
            if (alive.expired() || !tell_) return;
            try {
                for (; !answers_.empty(); answers_.pop_front()) tell_(broadcast_answer(answers_.front()));
            } catch (...) {
                tell_later();  // the same one again
                throw;
            }
        });
    }

    boost::asio::io_context& io_;
    print_function print_;
    std::function<void(const chain_event&)> tell_;  // to all listeners; empty before start()
    std::set<txid> printed_;
    std::deque<broadcast_answer> answers_;  // that were not told to all yet
    std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};
static_assert(ChainSource<print_broadcaster>);

}  // namespace paychan::bitcoind
