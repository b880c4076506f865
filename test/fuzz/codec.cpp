// libFuzzer: any bytes as a frame to both codecs, which have to agree, and as a stream to the frame reader.
//     clang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined test/fuzz/codec.cpp paymentchannel.pb.cc ...
//     -lprotobuf-lite
#include <cstdio>
#include <cstdlib>

#include "conformance/codec_agreement.hpp"
#include "paychan/protobuf/codec.hpp"
#include "paychan/wire/codec.hpp"
#include "paychan/wire/frame.hpp"

namespace {

using namespace paychan;

void stop(const char* what) {
    std::fprintf(stderr, "%s\n", what);
    std::abort();
}

/// Whole or in pieces, a stream holds the same frames.
void check_stream(bytes_view stream) {
    static wire::frame_reader<> whole;
    static wire::frame_reader<> pieces;
    whole.clear();
    pieces.clear();
    const std::size_t step = stream.empty() ? 1 : 1 + stream[0] % 7;
    bytes_view rest = stream;
    bytes_view piece;
    for (std::size_t given = 0;;) {
        const auto a = whole.next(rest);
        auto b = pieces.next(piece);
        while (b && !*b && given < stream.size()) {
            piece = stream.subspan(given, std::min(step, stream.size() - given));
            given += piece.size();
            b = pieces.next(piece);
        }
        if (a.has_value() != b.has_value() || (a && a->has_value() != b->has_value())) stop("frames differ");
        if (!a || !*a) {
            if (whole.between_frames() != pieces.between_frames()) stop("ends differ");
            return;
        }
        if (!equal(**a, **b)) stop("frames differ in their bytes");
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static wire::small_codec small;
    static protobuf_codec big;
    const bytes_view input{data, size};
    if (const char* what = conformance::disagreement_on_frame(small, big, input)) stop(what);
    check_stream(input);
    return 0;
}
