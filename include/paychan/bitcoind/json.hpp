// JSON text from a node to a tree, bounded in depth and size, with numbers kept as the text that the node wrote.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace paychan::bitcoind {

using json = nlohmann::json;

inline constexpr std::size_t max_json_depth = 32;
inline constexpr std::size_t max_json_values = 100'000;  // what a small text may grow to in memory is bounded by this

namespace detail {

/// Builds the tree.  A number that is not a 64-bit integer becomes a `binary` node with its text: JSON has no such
/// type, so it cannot be mistaken for something that the node sent, and no double comes between the text and us.
class tree_builder {
public:
    explicit tree_builder(json& root) : root_(root) {}

    bool null() { return put(nullptr); }
    bool boolean(bool v) { return put(v); }
    bool number_integer(json::number_integer_t v) { return put(v); }
    bool number_unsigned(json::number_unsigned_t v) { return put(v); }
    bool number_float(json::number_float_t, const std::string& text) {
        json::binary_t::container_type kept(text.begin(), text.end());
        // The parser writes the decimal point of the program's locale into its text.
        constexpr std::string_view others = "0123456789+-eE";
        for (auto& c : kept)
            if (others.find(static_cast<char>(c)) == std::string_view::npos) c = '.';
        return put(json::binary(std::move(kept)));
    }
    bool string(std::string& v) { return put(std::move(v)); }
    bool binary(json::binary_t&) { return false; }
    bool start_object(std::size_t) { return open(json::object()); }
    bool start_array(std::size_t) { return open(json::array()); }
    bool key(std::string& v) {
        key_ = std::move(v);
        return true;
    }
    bool end_object() { return close(); }
    bool end_array() { return close(); }
    bool parse_error(std::size_t, const std::string&, const json::exception&) { return false; }

private:
    json* place(json v) {
        if (++count_ > max_json_values) return nullptr;
        if (open_.empty()) {
            root_ = std::move(v);
            return &root_;
        }
        json& in = *open_.back();
        if (in.is_array()) {
            in.push_back(std::move(v));
            return &in.back();
        }
        return &(in[key_] = std::move(v));
    }
    bool put(json v) { return place(std::move(v)) != nullptr; }
    bool open(json v) {
        if (open_.size() == max_json_depth) return false;
        json* placed = place(std::move(v));
        if (placed == nullptr) return false;
        open_.push_back(placed);
        return true;
    }
    bool close() {
        open_.pop_back();
        return true;
    }

    json& root_;
    std::vector<json*> open_;  // a container is complete before its parent grows again: the pointers stay valid
    std::string key_;
    std::size_t count_ = 0;
};

}  // namespace detail

/// The tree, or nothing when the text is not JSON, deeper than 32 or of more than 100,000 values.
[[nodiscard]] inline std::optional<json> parse_json(std::string_view text) {
    std::optional<json> out(json{});
    detail::tree_builder builder(*out);
    if (!json::sax_parse(text, &builder)) out.reset();
    return out;
}

/// The number as the node wrote it; nothing when `value` is no number.
[[nodiscard]] inline std::optional<std::string> number_text(const json& value) {
    if (value.is_binary()) return std::string(value.get_binary().begin(), value.get_binary().end());
    if (value.is_number_integer()) return value.dump();
    return std::nullopt;
}

/// The member of that name; null when `object` is no object or has none.  Nodes write absence as null, too.
[[nodiscard]] inline const json& member(const json& object, const char* name) {
    static const json null;
    if (!object.is_object()) return null;
    const auto found = object.find(name);
    return found == object.end() ? null : *found;
}

/// The text, or an empty one when `value` is no string.
[[nodiscard]] inline const std::string& text_or_empty(const json& value) {
    static const std::string empty;
    const auto* text = value.get_ptr<const json::string_t*>();
    return text != nullptr ? *text : empty;
}

/// A 64-bit integer, or nothing.
[[nodiscard]] inline std::optional<std::int64_t> integer(const json& value) {
    if (value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX) return std::nullopt;
    if (!value.is_number_integer()) return std::nullopt;
    return value.get<std::int64_t>();
}

}  // namespace paychan::bitcoind
