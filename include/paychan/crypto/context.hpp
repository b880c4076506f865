// The one libsecp256k1 context of the program, made in static memory.
#pragma once

#include <secp256k1.h>
#include <secp256k1_preallocated.h>

#include <cstddef>

#include "paychan/core/bytes.hpp"
#include "paychan/core/secret.hpp"

namespace paychan::detail {

/// Made, self-tested, at the first use; never destroyed, so that keys work until the very end.  No heap.
/// Any number of threads may use it at once.  Its making is safe between threads too, unless the program is compiled
/// with -fno-threadsafe-statics: then call any function of keys.hpp once before the second thread starts.
[[nodiscard]] inline secp256k1_context* context() {
    static secp256k1_context* const made = [] {
        constexpr std::size_t room = 1024;  // [bytes] 0.2.0 needs about 200
        alignas(std::max_align_t) static unsigned char memory[room];
        if (secp256k1_context_preallocated_size(SECP256K1_CONTEXT_NONE) > room) __builtin_trap();
        return secp256k1_context_preallocated_create(memory, SECP256K1_CONTEXT_NONE);
    }();
    return made;
}

}  // namespace paychan::detail

namespace paychan {

/// Blinds all later signing and key making against side channels.  Optional; results do not change.
/// seed   32 bytes from a good random source, for nothing else.
/// Thread rule: while it runs, no other thread may use anything of keys.hpp or bip32.hpp.  Call it at program start.
inline void randomize_context(const secret<bytes32>& seed) {
    // It reports failure by contract only: without a working context the library has aborted before.
    if (secp256k1_context_randomize(detail::context(), seed.reveal().data()) != 1) __builtin_trap();
}

}  // namespace paychan
