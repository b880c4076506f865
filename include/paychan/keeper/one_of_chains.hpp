// A chain whose kind is chosen when the program starts, behind one type.
#pragma once

#include <utility>
#include <variant>

#include "paychan/policy.hpp"

namespace paychan {

/// Before emplace() nothing is broadcast, and nothing told.
template <class... Chains>
class one_of_chains {
    static_assert((ChainSource<Chains> && ...), "Chains: see ChainSource in policy.hpp");

    template <class F>
    void visit(F&& f) {
        std::visit(
            [&]<class C>(C& chain) {
                if constexpr (ChainSource<C>) f(chain);
            },
            chain_);
    }

public:
    one_of_chains() = default;
    one_of_chains(const one_of_chains&) = delete;
    one_of_chains& operator=(const one_of_chains&) = delete;

    template <class C, class... Arguments>
    C& emplace(Arguments&&... arguments) {
        return chain_.template emplace<C>(std::forward<Arguments>(arguments)...);
    }
    /// The one that was chosen, if it is a C.
    template <class C>
    [[nodiscard]] C* get_if() {
        return std::get_if<C>(&chain_);
    }
    template <class C>
    [[nodiscard]] bool is() const {
        return std::holds_alternative<C>(chain_);
    }

    template <class... L>
    void start(L&... listeners) {
        visit([&](auto& c) { c.start(listeners...); });
    }
    void broadcast(bytes_view tx) {
        visit([&](auto& c) { c.broadcast(tx); });
    }
    void follow(const chain_position& from, std::optional<std::int32_t> first) {
        visit([&](auto& c) { c.follow(from, first); });
    }
    [[nodiscard]] chain_position position() const {
        return std::visit(
            []<class C>(const C& chain) -> chain_position {
                if constexpr (ChainSource<C>)
                    return chain.position();
                else
                    return {};
            },
            chain_);
    }

private:
    std::variant<std::monostate, Chains...> chain_;
};

}  // namespace paychan
