// expect: no member named 'broadcast'
#include "must_not_compile/policies.hpp"
#include "paychan/channel/carry_out.hpp"

using namespace paychan;

void whatever_became_of_the_write(declared::broadcaster& network, const result<void>& written,
                                  const result<effects>& wanted) {
#ifdef CORRECT
    auto saved = detail::on_disk(written, wanted);
    if (!saved) return;
    (void)std::move(*saved).broadcast(network);
#else
    (void)detail::on_disk(written, wanted).broadcast(network);
#endif
}
