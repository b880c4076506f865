// Names the codec of a tcp_server or tcp_client, so that the other template arguments can be deduced.
#pragma once

namespace paychan::asio {

/// use_codec<protobuf_codec>{} as the last argument of a constructor.
template <class C>
struct use_codec {};

}  // namespace paychan::asio
