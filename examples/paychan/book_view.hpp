// Books over a store that other processes use too.
#pragma once

#include <chrono>

#include "hourly.hpp"
#include "node.hpp"

namespace tool {

/// Keeps a book up with its store: before each block at the tip, and now and then.
template <class Book>
class book_view {
public:
    book_view(node& n, report& out, Book& book) : node_(n), out_(out), book_(book) {}

    void on_block(const paychan::connected_block& b) {
        look(node_.caught_up());
        book_.on_block(b);
    }

    /// Call it now and then.
    void look() { look(false); }

private:
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
    std::chrono::steady_clock::time_point next_{};
    hourly told_;
};

}  // namespace tool
