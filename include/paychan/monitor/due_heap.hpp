// Who is due first: a binary heap whose members know their place, so that one can be moved or taken out.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace paychan::detail {

/// PlaceOf  std::uint32_t&(T&): where a member keeps its place, 0 for none.  It is in one heap that uses this at most, and
///          must not move in memory.
/// All in O(log n); what comes first, in O(1).
template <class Key, class T, std::uint32_t& (*PlaceOf)(T&)>
class due_heap {
public:
    [[nodiscard]] std::size_t size() const { return items_.size(); }
    [[nodiscard]] bool empty() const { return items_.empty(); }
    /// Not when empty().
    [[nodiscard]] const Key& first_key() const { return items_.front().first; }
    [[nodiscard]] T& first() const { return *items_.front().second; }

    /// Puts it in, or moves it to its new key.
    void put(T& item, Key key) {
        std::uint32_t& place = PlaceOf(item);
        if (place == 0) {
            items_.emplace_back(key, &item);
            place = static_cast<std::uint32_t>(items_.size());
        } else {
            if (items_[place - 1].first == key) return;
            items_[place - 1].first = key;
        }
        settle(place - 1);
    }

    /// Nothing when it is not in.
    void take_out(T& item) {
        const std::uint32_t place = std::exchange(PlaceOf(item), 0);
        if (place == 0) return;
        const auto last = items_.back();
        items_.pop_back();
        if (last.second == &item) return;
        items_[place - 1] = last;
        PlaceOf(*last.second) = place;
        settle(place - 1);
    }

    /// f(T&) for each with a key of `last` at most, in no order.  f must not change the heap.
    template <class F>
    void up_to(const Key& last, F&& f) const {
        up_to(0, last, f);
    }

private:
    template <class F>
    void up_to(std::size_t at, const Key& last, F& f) const {
        if (at >= items_.size() || last < items_[at].first) return;
        f(*items_[at].second);
        up_to(2 * at + 1, last, f);
        up_to(2 * at + 2, last, f);
    }

    /// Moves the one at `at` up or down to where it belongs.
    void settle(std::size_t at) {
        while (at > 0 && items_[at].first < items_[(at - 1) / 2].first) at = swapped(at, (at - 1) / 2);
        while (true) {
            std::size_t least = at;
            for (const std::size_t child : {2 * at + 1, 2 * at + 2})
                if (child < items_.size() && items_[child].first < items_[least].first) least = child;
            if (least == at) return;
            at = swapped(at, least);
        }
    }

    std::size_t swapped(std::size_t a, std::size_t b) {
        std::swap(items_[a], items_[b]);
        PlaceOf(*items_[a].second) = static_cast<std::uint32_t>(a + 1);
        PlaceOf(*items_[b].second) = static_cast<std::uint32_t>(b + 1);
        return b;
    }

    std::vector<std::pair<Key, T*>> items_;
};

}  // namespace paychan::detail
