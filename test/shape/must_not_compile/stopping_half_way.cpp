// expect: send() is still to be called
#include "must_not_compile/policies.hpp"
#include "paychan/channel/carry_out.hpp"

using namespace paychan;

void half_done(declared::transport& peer, declared::broadcaster& network, detail::frame_list<100>& frames,
               const result<void>& written, const result<effects>& wanted) {
    auto saved = detail::on_disk(written, wanted);
    if (!saved) return;
#ifdef CORRECT
    std::move(*saved).broadcast(network).send(peer, frames).close(peer).notify([](const event&) {});
#else
    (void)peer, (void)frames;
    std::move(*saved).broadcast(network);
#endif
}
