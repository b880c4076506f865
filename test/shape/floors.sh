#!/usr/bin/env bash
# Reads the #include lines of every header: who may include whom (design.md), and what may not come in from outside.
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"

# What libraries a header of floors 0-5 may not name, and which std headers are too dear for it.
foreign='^(boost/|google/|sqlite3|libpq|postgresql/|nlohmann/|CLI/|openssl/|paymentchannel\.pb\.h|catch2/)'
dear='^(iostream|ostream|istream|sstream|fstream|iomanip|regex|filesystem|chrono|functional|system_error|string|vector|map|unordered_map|set|unordered_set|list|deque|memory|thread|mutex|future|format)$'

# breach HEADER INCLUDED: prints what is wrong, if anything.
breach() {
    local header=$1 included=$2 floor other
    floor=$(floor_of "$header")
    case $included in
        paychan/*)
            [ -f "$include/$included" ] || echo "includes $included, which does not exist"
            other=$(floor_of "$included")
            if [ "$floor" = 7 ] && [ "$other" = 7 ]; then
                [ "$(dirname "${header#paychan/}" | cut -d/ -f1)" = "$(dirname "${included#paychan/}" | cut -d/ -f1)" ] ||
                    echo "is a leaf and includes another leaf: $included"
            elif [ "$floor" = 8 ] && [ "$other" = 7 ]; then
                [[ $included == paychan/memory/* ]] || echo "is the umbrella of floors 0-6 and memory/, and includes $included"
            elif [ "$other" -gt "$floor" ]; then
                echo "is on floor $floor and includes $included from floor $other"
            fi
            ;;
        *)
            [ "$floor" -lt 7 ] || [[ $header == paychan/memory/* ]] || return 0
            if [[ $included =~ $foreign ]] && ! [[ $header == paychan/crypto/hash.hpp && $included == openssl/evp.h ]]; then
                echo "includes <$included>; a dependency is a leaf's"
            elif [[ $header =~ ^paychan/monitor/ && $included =~ ^(map|set|unordered_map|vector)$ ]]; then
                : # a monitor holds any number of channels; it is not on the payment path
            elif [[ $included =~ $dear ]] && [ "$floor" -lt 6 ]; then
                echo "includes <$included>, which floors 0-5 do without (heap, or compile time)"
            fi
            ;;
    esac
}

# A breach of every kind is found: the test of this test.
while read -r header included; do
    if [ -n "$(breach "$header" "$included")" ]; then
        ok "the floors test sees that $header may not include $included"
    else
        not_ok "the floors test does not see that $header may not include $included"
    fi
done <<'BREACHES'
paychan/core/bytes.hpp paychan/crypto/hash.hpp
paychan/wire/frame.hpp paychan/bitcoin/script.hpp
paychan/policy.hpp paychan/channel/record.hpp
paychan/channel/record.hpp paychan/client.hpp
paychan/client.hpp paychan/memory/store.hpp
paychan/asio/server.hpp paychan/sqlite/store.hpp
paychan/postgres/store.hpp paychan/sqlite/store.hpp
paychan/memory/file_store.hpp libpq-fe.h
paychan/paychan.hpp paychan/sqlite/store.hpp
paychan/core/bytes.hpp paychan/core/does_not_exist.hpp
paychan/core/bytes.hpp boost/asio.hpp
paychan/crypto/keys.hpp openssl/evp.h
paychan/crypto/hash.hpp openssl/ssl.h
paychan/wire/codec.hpp paymentchannel.pb.h
paychan/memory/chain.hpp nlohmann/json.hpp
paychan/client.hpp functional
BREACHES

for header in $(headers); do
    : >"$work/found"
    [ "$(floor_of "$header")" != unknown ] || echo "is on no floor: name it in floor_of of test/shape/common.sh" >>"$work/found"
    grep -q '^#pragma once$' "$include/$header" || echo 'has no "#pragma once"' >>"$work/found"
    [[ $(head -n 1 "$include/$header") == "// "* ]] || echo "does not say on line 1 what it is for" >>"$work/found"
    if [ ! -s "$work/found" ]; then
        while read -r included; do
            breach "$header" "$included" >>"$work/found"
        done < <(sed -nE 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]([^>"]+)[>"].*/\1/p' "$include/$header")
    fi
    if [ -s "$work/found" ]; then
        not_ok "$header keeps to its floor" "$work/found"
    else
        ok "$header keeps to its floor"
    fi
done
finish
