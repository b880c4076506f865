// A process that writes two records over and over until it is ended, and what a store must hold then.
#pragma once

#include "../conformance/store.hpp"
#include "process.hpp"

namespace paychan_test {

struct twin_records {
    paychan::record_id a;
    paychan::record_id b;
    paychan::conformance::bytes (*content_of)(std::uint64_t version);

    /// In the child: writes both records, in one batch and with one content, again and again, and tells each version that
    /// the store says it has.
    /// open()  a store
    [[noreturn]] void write_on(const auto& open, std::uint64_t last, int channel) const {
        auto store = open();
        if (!store.status()) ::_exit(1);
        for (std::uint64_t v = last + 1;; ++v) {
            const auto content = content_of(v);
            const std::array both{paychan::put_request{a, v, content}, paychan::put_request{b, v, content}};
            if (!store.put_many(both)) ::_exit(2);
            tell(channel, v);
        }
    }

    /// Waits for `n` versions from the writer, and ends it.  Returns the last version that it told.
    static std::uint64_t end_after(const child& writer, int n, const auto& end) {
        std::uint64_t told = 0;
        for (int i = 0; i < n; ++i) {
            const auto v = writer.next<std::uint64_t>();
            REQUIRE(v);
            told = *v;
        }
        end();
        while (const auto v = writer.next<std::uint64_t>()) told = *v;
        return told;
    }

    /// The version of both records, after checking that they are whole and equal, that what was told is there, and at most
    /// one more.
    [[nodiscard]] std::uint64_t check_whole(auto& store, std::uint64_t told) const {
        const auto in_a = paychan::conformance::fetch(store, a);
        CAPTURE(store.last_error());
        REQUIRE(in_a);
        CHECK(in_a->version >= told);
        CHECK(in_a->version <= told + 1);
        CHECK(in_a->content == content_of(in_a->version));
        CHECK(paychan::conformance::fetch(store, b) == *in_a);
        return in_a->version;
    }
};

}  // namespace paychan_test
