// expect: is protected within this context
// expect: calling a protected constructor
#include "must_not_compile/policies.hpp"
#include "paychan/channel/carry_out.hpp"

using namespace paychan;

void without_a_write(declared::broadcaster& network, const result<void>& written, const result<effects>& wanted) {
#ifdef CORRECT
    auto saved = detail::on_disk(written, wanted);
    if (!saved) return;
    (void)std::move(*saved).broadcast(network);
#else
    (void)written;
    (void)detail::to_broadcast(*wanted).broadcast(network);
#endif
}
