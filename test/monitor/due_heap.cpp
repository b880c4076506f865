// The heap of what is due, against a multimap that is sorted all the time.
#include "paychan/monitor/due_heap.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <deque>
#include <limits>
#include <map>
#include <random>
#include <set>

using paychan::detail::due_heap;

namespace {

struct member {
    int number = 0;
    std::uint32_t place = 0;
};
std::uint32_t& place_of(member& m) { return m.place; }
using heap_type = due_heap<int, member, place_of>;

/// The heap and its model, and members that do not move.
struct both {
    heap_type heap;
    std::multimap<int, member*> model;
    std::deque<member> members;

    explicit both(int count) {
        for (int i = 0; i < count; ++i) members.push_back({i, 0});
    }
    void take_out_of_model(const member& m) {
        for (auto i = model.begin(); i != model.end(); ++i)
            if (i->second == &m) {
                model.erase(i);
                return;
            }
    }
    void put(member& m, int key) {
        heap.put(m, key);
        take_out_of_model(m);
        model.emplace(key, &m);
    }
    void take_out(member& m) {
        heap.take_out(m);
        take_out_of_model(m);
    }
    [[nodiscard]] bool agree_up_to(int last) const {
        std::multiset<int> found, expected;
        heap.up_to(last, [&](const member& m) { found.insert(m.number); });
        for (auto i = model.begin(); i != model.upper_bound(last); ++i) expected.insert(i->second->number);
        return found == expected;
    }
    [[nodiscard]] bool agree() const {
        if (heap.size() != model.size() || heap.empty() != model.empty()) return false;
        if (!model.empty() && heap.first_key() != model.begin()->first) return false;
        std::set<std::uint32_t> places;
        for (const member& m : members) {
            const bool is_in = std::any_of(model.begin(), model.end(), [&](const auto& e) { return e.second == &m; });
            if (is_in != (m.place != 0)) return false;
            if (is_in && (m.place > heap.size() || !places.insert(m.place).second)) return false;
        }
        return true;
    }
};

}  // namespace

TEST_CASE("a heap of what is due agrees with a multimap, whatever is put in, moved and taken out", "[monitor]") {
    for (const unsigned seed : {1U, 2U, 3U, 4U, 5U, 6U, 7U, 8U}) {
        std::mt19937 random(seed);
        const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
        const int count = 1 + below(60);
        const int keys = 1 + below(seed % 2 == 0 ? 5 : 1'000);  // few: many are due at once
        both b(count);
        for (int i = 0; i < 1'500; ++i) {
            member& m = b.members[static_cast<std::size_t>(below(count))];
            // Grows, and then shrinks.
            const bool puts = below(10) < (i < 750 ? 7 : 3);
            if (puts)
                b.put(m, below(keys));
            else
                b.take_out(m);
            INFO("seed " << seed << ", operation " << i);
            REQUIRE(b.agree());
            REQUIRE(b.agree_up_to(below(keys + 2) - 1));
        }
        while (!b.heap.empty()) {
            REQUIRE(b.heap.first_key() == b.model.begin()->first);
            b.take_out(b.heap.first());
            REQUIRE(b.agree());
        }
    }
}

TEST_CASE("a heap of what is due may be empty, and its members may come back", "[monitor]") {
    both b(2);
    CHECK(b.agree_up_to(1'000));
    b.take_out(b.members[0]);  // it was never in
    CHECK(b.agree());
    b.put(b.members[0], 5);
    b.put(b.members[0], 5);
    CHECK(b.heap.size() == 1);
    CHECK(b.agree_up_to(4));
    CHECK(b.agree_up_to(5));
    b.put(b.members[1], std::numeric_limits<int>::max());
    b.put(b.members[0], std::numeric_limits<int>::min());
    CHECK(b.heap.first().number == 0);
    CHECK(b.agree_up_to(std::numeric_limits<int>::min()));
    b.take_out(b.members[0]);
    b.take_out(b.members[0]);
    b.put(b.members[0], 1);
    CHECK(b.agree());
}
