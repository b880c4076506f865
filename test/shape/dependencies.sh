#!/usr/bin/env bash
# What the compiler really opens for client.hpp, server.hpp and the monitors: no file of an optional dependency.
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"

forbidden='/(boost|google/protobuf|nlohmann|openssl|postgresql|CLI)/|sqlite3|libpq|\.pb\.h'

# check COMPILER HEADER
check() {
    local name="$2 opens no file of Boost, protobuf, SQLite, libpq, OpenSSL or JSON ($1)"
    echo "#include \"$2\"" >"$work/one.cpp"
    if ! "$1" "${flags[@]}" -DPAYCHAN_PORTABLE_HASH -M "$work/one.cpp" >"$work/opened" 2>"$work/errors"; then
        not_ok "$name" "$work/errors"
    elif tr -s ' \\' '\n' <"$work/opened" | grep -E "$forbidden" >"$work/found"; then
        not_ok "$name" "$work/found"
    else
        ok "$name"
    fi
}

for compiler in "${compilers[@]}"; do
    for header in paychan/client.hpp paychan/server.hpp paychan/client_monitor.hpp paychan/server_monitor.hpp; do
        check "$compiler" "$header"
    done
done

# The look at the list does find what is there.
printf '#include <sqlite3.h>\n#include <nlohmann/json.hpp>\n' >"$work/with.cpp"
g++ "${flags[@]}" -M "$work/with.cpp" >"$work/opened"
if grep -qE "$forbidden" "$work/opened"; then
    ok "the dependencies test sees SQLite and JSON where they are"
else
    not_ok "the dependencies test does not see SQLite and JSON where they are"
fi
finish
