// expect: declared private here
#include "must_not_compile/policies.hpp"
#include "paychan/channel/carry_out.hpp"

using namespace paychan;

void past_the_stages(declared::transport& peer, declared::codec& codec, detail::frame_list<100>& frames) {
#ifdef CORRECT
    frames.send_last(wire::close{}, peer, codec);
#else
    (void)codec;
    frames.send_all(peer);
#endif
}
