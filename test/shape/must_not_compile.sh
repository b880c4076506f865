#!/usr/bin/env bash
# Mistakes that the compiler has to catch, with a text that says what to do.  A case is a file in must_not_compile/ whose line
#     // expect: TEXT
# must be in the compiler's errors, and which compiles if -DCORRECT is given: so the mistake is the only reason.  Where the
# compilers have different words for it there is a line for each.
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"
export LC_ALL=C # quotes in the compilers' texts are ' then

for file in "$root"/test/shape/must_not_compile/*.cpp; do
    name=$(basename "$file" .cpp)
    expect=$(sed -nE 's|^// expect: (.*)|\1|p' "$file")
    words=${expect//$'\n'/\" or \"}
    for compiler in "${compilers[@]}"; do
        if ! "$compiler" "${flags[@]}" -I"$root/test/shape" -DCORRECT -fsyntax-only "$file" >"$work/log" 2>&1; then
            not_ok "$name compiles when it is corrected ($compiler)" "$work/log"
        elif "$compiler" "${flags[@]}" -I"$root/test/shape" -fsyntax-only "$file" >"$work/log" 2>&1; then
            not_ok "$name must not compile ($compiler)"
        elif [ -z "$expect" ] || ! grep -qF "$expect" "$work/log"; then
            not_ok "$name is refused with \"$words\" ($compiler)" "$work/log"
        else
            ok "$name is refused with \"$words\" ($compiler)"
        fi
    done
done
finish
