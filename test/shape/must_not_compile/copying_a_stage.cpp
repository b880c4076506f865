// expect: use of deleted function
// expect: call to implicitly-deleted copy constructor
#include "must_not_compile/policies.hpp"
#include "paychan/channel/carry_out.hpp"

using namespace paychan;

void in_reserve(declared::broadcaster& network, const result<void>& written, const result<effects>& wanted) {
    auto saved = detail::on_disk(written, wanted);
    if (!saved) return;
#ifndef CORRECT
    auto again = *saved;
    (void)std::move(again).broadcast(network);
#endif
    (void)std::move(*saved).broadcast(network);
}
