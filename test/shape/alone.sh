#!/usr/bin/env bash
# Each header compiles by itself with g++ and no warning; floors 0-5 also with clang++, without exceptions and RTTI, with
# the portable hash.  (A missing include is the same for both; the tests compile all with both.)  Prints the slowest.
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"

embedded=(-fno-exceptions -fno-rtti -DPAYCHAN_PORTABLE_HASH)

# One line a case: compiler, kind, header.  A file that includes it twice, so that `#pragma once` counts, and a function,
# since some warnings come only from code that is used.
{
    for header in $(headers); do echo "g++ host $header"; done
    for header in $(core_headers); do echo "clang++ embedded $header"; done
} >"$work/cases"

# try COMPILER KIND HEADER: writes ID.time [s of CPU], and ID.failed if it does not compile
try() {
    local id=${1}_${2}_${3//\//_} options=("${flags[@]}") TIMEFORMAT=%U
    [ "$2" = host ] || options+=("${embedded[@]}")
    printf '#include "%s"\n#include "%s"\n' "$3" "$3" >"$work/$id.cpp"
    { time "$1" "${options[@]}" -fsyntax-only "$work/$id.cpp" >"$work/$id.log" 2>&1 || touch "$work/$id.failed"; } \
        2>"$work/$id.time"
}
export -f try
export work
# Arrays do not travel to a subprocess: their text does.
export settings
settings=$(declare -p flags embedded)
xargs -P "$jobs" -L 1 bash -c 'eval "$settings"; try "$@"' try <"$work/cases"

while read -r compiler kind header; do
    id=${compiler}_${kind}_${header//\//_}
    if [ -f "$work/$id.time" ] && [ ! -f "$work/$id.failed" ]; then
        ok "$header compiles alone ($compiler, $kind)"
    else
        not_ok "$header compiles alone ($compiler, $kind)" "$work/$id.log"
    fi
done <"$work/cases"

# slowest FILE of cases
slowest() {
    while read -r compiler kind header; do
        echo "    $(cat "$work/${compiler}_${kind}_${header//\//_}.time") s  $header ($compiler, $kind)"
    done | sort -rn | head -n 5
}
core_headers >"$work/core"
echo "The slowest of floors 0-5 (CPU time; their budget is 1 s on an idle machine):"
{ grep -wFf "$work/core" "$work/cases" || true; } | slowest
echo "The slowest of all:"
slowest <"$work/cases"
finish
