// expect: constraints not satisfied
#include "must_not_compile/policies.hpp"
#include "paychan/channel/carry_out.hpp"

using namespace paychan;

void a_promise_without_a_write(declared::transport& peer, declared::codec& codec, detail::frame_list<100>& frames) {
#ifdef CORRECT
    frames.send_last(wire::error_message{}, peer, codec);
#else
    frames.send_last(wire::payment_ack{}, peer, codec);
#endif
}
