// The interpreter's memory: two stacks in one array, and the nesting of IFs, without heap.
#pragma once

#include "paychan/bitcoin/script.hpp"

namespace paychan::detail {

/// A stack item.  What scripts and witnesses push stays where it is, as a view; what operations compute is at most a
/// hash of 32 bytes and is held inline.  Not initialised on purpose: an array of a thousand would cost 50 KB of zeros.
class stack_item {
public:
    stack_item() = default;

    [[nodiscard]] static stack_item viewing(bytes_view bytes) {
        stack_item out;
        out.outside_ = bytes.data();
        out.size_ = bytes.size();
        out.is_outside_ = true;
        return out;
    }

    /// bytes.size() <= 32
    [[nodiscard]] static stack_item holding(bytes_view bytes) {
        stack_item out;
        std::ranges::copy(bytes, out.inside_.begin());
        out.size_ = bytes.size();
        out.is_outside_ = false;
        return out;
    }

    [[nodiscard]] bytes_view view() const { return {is_outside_ ? outside_ : inside_.data(), size_}; }

    /// False: no byte, or all zero, where the last may be 0x80 (negative zero).
    [[nodiscard]] bool is_true() const {
        const bytes_view v = view();
        for (std::size_t i = 0; i < v.size(); ++i)
            if (v[i] != 0) return i + 1 != v.size() || v[i] != 0x80;
        return false;
    }

private:
    const std::uint8_t* outside_;
    std::size_t size_;
    std::array<std::uint8_t, 32> inside_;
    bool is_outside_;
};

/// The main stack grows from the front of the array, the alternative one from its back.
class script_stack {
public:
    static constexpr std::size_t limit = 1000;  // consensus: items on both, after each operation

    /// The first operation of a witness script takes at most 43 items (20 keys, 20 signatures, 3 counts), so that a
    /// witness of more than limit + 43 cannot succeed and need not fit.  No operation adds more than 3.
    static constexpr std::size_t capacity = limit + 60;

    [[nodiscard]] std::size_t size() const { return size_; }
    [[nodiscard]] std::size_t alternative_size() const { return alternative_size_; }
    [[nodiscard]] bool too_large() const { return overflow_ || size_ + alternative_size_ > limit; }

    void clear() { size_ = alternative_size_ = 0; }
    void clear_alternative() { alternative_size_ = 0; }

    /// The item at a depth: 1 is the top.  1 <= depth <= size()
    [[nodiscard]] stack_item& top(std::size_t depth = 1) { return items_[size_ - depth]; }

    void push(const stack_item& item) {
        if (size_ + alternative_size_ == capacity)
            overflow_ = true;
        else
            items_[size_++] = item;
    }
    void push(bool value) {
        constexpr std::uint8_t one = 1;
        push(stack_item::holding(value ? bytes_view{&one, 1} : bytes_view{}));
    }
    void push_number(std::int64_t value) { push(stack_item::holding(encode_script_number(value).view())); }

    /// count <= size()
    void pop(std::size_t count = 1) { size_ -= count; }

    /// Takes out the item at a depth and closes the gap.
    stack_item remove(std::size_t depth) {
        const stack_item out = top(depth);
        for (; depth > 1; --depth) top(depth) = top(depth - 1);
        pop();
        return out;
    }

    /// Puts an item below the `depth` uppermost ones.
    void insert_below(std::size_t depth, const stack_item& item) {
        push(item);
        for (std::size_t i = 1; i <= depth; ++i) std::swap(top(i), top(i + 1));
    }

    void to_alternative() {
        const stack_item item = top();
        pop();
        items_[capacity - ++alternative_size_] = item;
    }
    void from_alternative() {
        const stack_item item = items_[capacity - alternative_size_--];
        push(item);
    }

private:
    std::array<stack_item, capacity> items_;
    std::size_t size_ = 0;
    std::size_t alternative_size_ = 0;
    bool overflow_ = false;
};

/// Nested IFs.  It is enough to know how deep we are and which is the first that is not taken.
class conditions {
public:
    [[nodiscard]] bool empty() const { return depth_ == 0; }
    [[nodiscard]] bool all_true() const { return first_false_ == none; }
    void enter(bool taken) {
        if (all_true() && !taken) first_false_ = depth_;
        ++depth_;
    }
    void toggle() {
        if (all_true())
            first_false_ = depth_ - 1;
        else if (first_false_ == depth_ - 1)
            first_false_ = none;
    }
    void leave() {
        --depth_;
        if (first_false_ == depth_) first_false_ = none;
    }

private:
    static constexpr std::size_t none = ~std::size_t{0};
    std::size_t depth_ = 0;
    std::size_t first_false_ = none;
};

}  // namespace paychan::detail
