// expect: no member named 'send'
#include "must_not_compile/policies.hpp"
#include "paychan/channel/carry_out.hpp"

using namespace paychan;

void to_the_peer_before_the_network(declared::transport& peer, declared::broadcaster& network,
                                    detail::frame_list<100>& frames, const result<void>& written,
                                    const result<effects>& wanted) {
    auto saved = detail::on_disk(written, wanted);
    if (!saved) return;
#ifdef CORRECT
    std::move(*saved).broadcast(network).send(peer, frames).close(peer).notify([](const event&) {});
#else
    std::move(*saved).send(peer, frames);
#endif
}
