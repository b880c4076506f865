#!/usr/bin/env bash
# Two files that include every header link into one program: nothing lacks its `inline`.  And in any order of includes.
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"

headers | sed 's/.*/#include "&"/' >"$work/one.cpp"
headers | LC_ALL=C sort -r | sed 's/.*/#include "&"/' >"$work/two.cpp"
echo 'int main() {}' >>"$work/one.cpp"

for compiler in "${compilers[@]}"; do
    name="two files with every header, in opposite orders, link together ($compiler)"
    # Libraries are left out: which names they lack is not the question here.
    if (
        cd "$work" &&
            printf '%s\n' one two | xargs -P "$jobs" -I{} "$compiler" "${flags[@]}" -O0 -c {}.cpp -o {}.o &&
            "$compiler" one.o two.o -Wl,--unresolved-symbols=ignore-all -o odr
    ) >"$work/log" 2>&1; then
        ok "$name"
    else
        not_ok "$name" "$work/log"
    fi
done
finish
