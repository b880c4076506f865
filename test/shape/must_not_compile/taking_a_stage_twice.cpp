// expect: as 'this' argument discards qualifiers
// expect: expects an rvalue for object argument
#include "must_not_compile/policies.hpp"
#include "paychan/channel/carry_out.hpp"

using namespace paychan;

void sent_twice(declared::transport& peer, declared::broadcaster& network, detail::frame_list<100>& frames,
                const result<void>& written, const result<effects>& wanted) {
    auto saved = detail::on_disk(written, wanted);
    if (!saved) return;
    auto rest = std::move(*saved).broadcast(network);
#ifndef CORRECT
    (void)rest.send(peer, frames);
#endif
    (void)std::move(rest).send(peer, frames);
}
