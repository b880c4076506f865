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
    if (!stored) throw run_error{"--store: " + store_.last_error()};
    const std::string there(stored->bytes.begin(), stored->bytes.end());
    if (there != name(net))
        throw usage_error{"the store has channels of " + there + ", and --network is " + std::string(name(net))};
    known_ = true;
}

void store_network::keep() {
    if (known_ || std::exchange(tried_, true)) return;
    const std::string_view text = name(net_);
    (void)store_.put(network_id, 1, {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

}  // namespace tool
