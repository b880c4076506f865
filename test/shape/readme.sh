#!/usr/bin/env bash
# What the README says of the code is what the code says: quoted examples, the error catalogue, the commands and options it names.
# shellcheck source=common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"
readme=$root/README.md

# ```cpp blocks that follow <!-- FILE: MARKER -->, against the lines between the two `// --8<-- MARKER` of that file.
while IFS=$'\t' read -r file marker; do
    awk -v start="<!-- $file: $marker -->" '
        $0 == start { wanted = 1; next }
        wanted && $0 == "```cpp" { inside = 1; next }
        inside && $0 == "```" { exit }
        inside { print }' "$readme" >"$work/quoted"
    awk -v mark="// --8<-- $marker" '
        { line = $0; sub(/^ +/, "", line) }
        line == mark { inside = !inside; next }
        inside { print }' "$root/$file" | sed 's/^    //' >"$work/original"
    if [ -s "$work/original" ] && diff "$work/original" "$work/quoted" >"$work/log"; then
        ok "the README quotes $file ($marker) as it is"
    else
        not_ok "the README quotes $file ($marker) as it is" "$work/log"
    fi
    lines=$(wc -l <"$work/quoted")
    if [ "$lines" -lt 15 ]; then
        ok "the quoted composition has $lines lines, under 15"
    else
        not_ok "the quoted composition has $lines lines, not under 15"
    fi
done < <(sed -nE 's/^<!-- ([^:]+): (.+) -->$/\1\t\2/p' "$readme")

# Every errc has its row.
while read -r name number; do
    if [ "$number" -lt 64 ]; then row="| ${name^^} ($number) |"; else row="| $name |"; fi
    if grep -qF "$row" "$readme"; then ok "the README explains $name"; else not_ok "the README has no row for $name: $row"; fi
done < <(sed -nE 's/^    ([a-z_]+) = ([0-9]+),.*/\1 \2/p' "$include/paychan/core/errc.hpp")

# Every file that it points at is there.
for path in $(grep -oE '`(\./)?(include|examples|test|benchmarks|proto)/[a-z0-9_./]+' "$readme" | tr -d '`' | sort -u); do
    if [ -e "$root/$path" ]; then ok "$path, which the README names, is there"; else not_ok "$path, which the README names, is not there"; fi
done
finish
