#!/usr/bin/env bash
# Uses paychan as a stranger does: by add_subdirectory, and by find_package from a copy that was installed, with nothing
# but core, and with every component.  The little project is in consumer/.
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"

generator=()
! command -v ninja >/dev/null || generator=(-G Ninja)

# step CASE COMMAND...
step() {
    local name=$1
    shift
    if "$@" >"$work/log" 2>&1; then
        ok "$name"
    else
        not_ok "$name" "$work/log"
        return 1
    fi
}

# consume CASE COMPONENTS OPTION...: configures, builds and runs the consumer.
consume() {
    local name=$1 components=$2 folder=$work/build_${passed}_$failed
    shift 2
    step "$name: configures" cmake -S "$root/test/shape/consumer" -B "$folder" "${generator[@]}" -DCOMPONENTS="$components" "$@" &&
        step "$name: builds" cmake --build "$folder" --parallel "$jobs" &&
        step "$name: runs" "$folder/consumer" || true
}

all="asio;bitcoind;conformance;postgres;protobuf;sqlite"
consume "add_subdirectory, core" "" -DPAYCHAN_FOLDER="$root"
consume "add_subdirectory, core without OpenSSL" "" -DPAYCHAN_FOLDER="$root" -DPAYCHAN_PORTABLE_HASH=ON \
    -DCMAKE_DISABLE_FIND_PACKAGE_OpenSSL=ON
consume "add_subdirectory, every component" "$all" -DPAYCHAN_FOLDER="$root"

nothing=(-DPAYCHAN_TESTS=OFF -DPAYCHAN_EXAMPLES=OFF -DPAYCHAN_BENCHMARKS=OFF "-DPAYCHAN_COMPONENTS=")
if step "configures for installation" cmake -S "$root" -B "$work/build" "${generator[@]}" "${nothing[@]}" &&
    step "installs" cmake --install "$work/build" --prefix "$work/first"; then
    # Moved afterwards: an installed copy must not remember where it was.
    mv "$work/first" "$work/prefix"
    consume "find_package, core" "" -DCMAKE_PREFIX_PATH="$work/prefix"
    consume "find_package, every component" "$all" -DCMAKE_PREFIX_PATH="$work/prefix"
    # What is not asked for is not looked for.
    hide=()
    for package in Boost Catch2 Threads nlohmann_json PostgreSQL Protobuf SQLite3; do hide+=("-DCMAKE_DISABLE_FIND_PACKAGE_$package=ON"); done
    consume "find_package, core on a machine without the optional dependencies" "" -DCMAKE_PREFIX_PATH="$work/prefix" "${hide[@]}"

    name="a component that does not exist is refused by name"
    if cmake -S "$root/test/shape/consumer" -B "$work/unknown" -DCOMPONENTS=telepathy -DCMAKE_PREFIX_PATH="$work/prefix" \
        >"$work/log" 2>&1; then
        not_ok "$name" "$work/log"
    elif tr -s ' \n' ' ' <"$work/log" | grep -q "paychan has no component telepathy"; then
        ok "$name"
    else
        not_ok "$name" "$work/log"
    fi

    if grep -rnF -e "$root" -e "$work" "$work/prefix" >"$work/found"; then
        not_ok "an installed copy holds no path of the machine that installed it" "$work/found"
    else
        ok "an installed copy holds no path of the machine that installed it"
    fi
fi
finish
