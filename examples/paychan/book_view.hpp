// Books over a store that other processes use too.
#pragma once

#include <chrono>
#include <utility>

#include "hourly.hpp"
#include "node.hpp"

namespace tool {

/// Keeps a book up with its store: now and then, and before the blocks that the node may have had no longer than the store
/// has a channel.
template <class Book>
class book_view {
public:
    book_view(node& n, report& out, Book& book) : node_(n), out_(out), book_(book) {}

    void on_block(const paychan::connected_block& b) {
        look_before_blocks();
        book_.on_block(b);
    }

    void on_blocks_passed(std::int32_t first, std::int32_t last) {
        look_before_blocks();
        book_.on_blocks_passed(first, last);
    }

    /// Call it now and then.
    void look() { look(false); }

private:
    /// All blocks that follow a look at the node were there when it was taken.
    void look_before_blocks() {
        const std::uint64_t before = std::exchange(node_looks_, node_.looks());
        look(node_.caught_up() || node_looks_ != before);
    }

    void look(bool surely) {
        const auto now = std::chrono::steady_clock::now();
        if (!surely && now < next_) return;
        next_ = now + std::chrono::seconds(10);  // a list of all names is not free
        const auto done = book_.refresh();
        if (done) told_.forget("store");  // told anew each time that the store goes away
        if (!done && told_.is_due("store"))
            out_.error(paychan::name(done.error().code), "--store: " + node_.store().last_error());
    }

    node& node_;
    report& out_;
    Book& book_;
    std::uint64_t node_looks_ = 0;
    std::chrono::steady_clock::time_point next_{};
    hourly told_;
};

}  // namespace tool
