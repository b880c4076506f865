#include "store_network.hpp"

#include <array>
#include <utility>

#include "options.hpp"

namespace tool {

using namespace paychan;

namespace {
constexpr record_id network_id{record_kind::store_network, {}};
}

store_network::store_network(any_store& store, network net) : store_(store), net_(net) {
    std::array<std::uint8_t, 16> memory{};
    const auto stored = store_.get(network_id, memory);
    if (!stored && stored.error().code == errc::not_found) return;
    if (!stored && stored.error().code == errc::store_failed) throw store_away{{"--store: " + store_.last_error()}};
    if (!stored) {
        damage_ = store_.last_error();
        return;
    }
    const std::string there(stored->bytes.begin(), stored->bytes.end());
    if (const auto readable = parse_network(there); !readable || name(*readable) != there) {
        damage_ = "the name of its network is damaged";
        return;
    }
    if (there != name(net))
        throw usage_error{"the store has channels of " + there + ", and --network is " + std::string(name(net))};
    known_ = true;
}

void store_network::keep() {
    if (known_ || std::exchange(tried_, true)) return;
    if (!damage_.empty() && !store_.erase(network_id)) return;
    const std::string_view text = name(net_);
    (void)store_.put(network_id, 1, {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

}  // namespace tool
