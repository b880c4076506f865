# What the shape tests share: the headers and their floors, the flags, and counting.  Sourced, not run.
# shellcheck shell=bash
set -euo pipefail

root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.." && pwd)
include=$root/include
jobs=$(nproc 2>/dev/null || echo 2)
compilers=(g++ clang++)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The generated messages, for the headers of protobuf/.
mkdir "$work/messages"
protoc --cpp_out "$work/messages" -I "$root/proto" paymentchannel.proto

mapfile -t warnings <"$root/test/shape/warnings"
flags=(-std=c++20 "${warnings[@]}" -Werror -I"$include" -isystem "$work/messages"
    -isystem "$(pkg-config --variable=includedir libpq)") # Debian keeps it in a folder of its own

# All headers as paychan/..., sorted.
headers() { (cd "$include" && find paychan -name '*.hpp' | LC_ALL=C sort); }

# floor_of HEADER: the lower floors as design.md has them; the keeper is 6, leaves are 7 (memory/ is one without a dependency),
# paychan.hpp is the umbrella (8).
floor_of() {
    case $1 in
        paychan/core/*) echo 0 ;;
        paychan/crypto/* | paychan/wire/*) echo 1 ;;
        paychan/bitcoin/*) echo 2 ;;
        paychan/policy.hpp) echo 3 ;;
        paychan/channel/*) echo 4 ;;
        paychan/client.hpp | paychan/server.hpp) echo 5 ;;
        paychan/client_monitor.hpp | paychan/server_monitor.hpp | paychan/monitor/*) echo 5 ;;
        paychan/keeper/*) echo 6 ;;
        paychan/paychan.hpp) echo 8 ;;
        paychan/*/*) echo 7 ;;
        *) echo unknown ;;
    esac
}

core_headers() {
    local header
    for header in $(headers); do
        case $(floor_of "$header") in [0-5]) echo "$header" ;; esac
    done
}

passed=0
failed=0

ok() {
    passed=$((passed + 1))
    echo "ok - $*"
}

# not_ok CASE [FILE with what was seen]
not_ok() {
    failed=$((failed + 1))
    echo "not ok - $1"
    [ $# -lt 2 ] || head -n 40 "$2" | sed 's/^/    /'
}

finish() {
    echo "$passed passed, $failed failed"
    [ "$failed" = 0 ]
}
