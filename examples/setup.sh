# What ./examples/demo and ./test/run share: say, die, the packages, and one way to configure.  Sourced, not run.
# shellcheck shell=bash

root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
jobs=$(nproc 2>/dev/null || echo 2)

# Debian's names of what the tool needs to be built and to run.
tool_packages=(g++ cmake ninja-build pkg-config libsecp256k1-dev libssl-dev libexpected-dev libboost-dev
    protobuf-compiler libprotobuf-dev libsqlite3-dev libpq-dev nlohmann-json3-dev libcli11-dev)

say() { printf '==> %s\n' "$*"; }

die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# is_installed PACKAGE
is_installed() {
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# as_root COMMAND...
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif [ -t 0 ]; then
        sudo "$@"
    else
        sudo -n "$@"
    fi
}

# apt_get ARGUMENT...: asks nothing, and waits if another apt is at work.
apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@"
}

# install_packages PACKAGE...: those of them that are missing.
install_packages() {
    local package missing=()
    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        say "this machine has no apt; going on in the hope that it has what these Debian packages hold: $*"
        return
    fi
    for package in "$@"; do
        is_installed "$package" || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0

    if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
        die "run this as root, or install sudo; these packages are missing: ${missing[*]}"
    fi
    say "installing with apt: ${missing[*]}"
    # The package lists may be absent (a fresh machine) or older than the archive: then fetch them and try again.
    if ! apt_get install -y --no-install-recommends "${missing[@]}" >/dev/null 2>&1; then
        apt_get update || die "apt-get update failed (see above): check the network and /etc/apt/sources.list"
        apt_get install -y --no-install-recommends "${missing[@]}" >/dev/null ||
            die "apt-get could not install (see above): ${missing[*]}"
    fi
}

# configure FOLDER COMPILER OPTION...: starts afresh if the folder was made by another compiler or for another clone.
configure() {
    local folder=$1 compiler cache=$1/CMakeCache.txt generator=()
    compiler=$(command -v "$2") || die "there is no $2 on this machine"
    shift 2
    if [ -f "$cache" ] && ! { grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "$cache" &&
        grep -qE "^CMAKE_CXX_COMPILER:[A-Z]+=$compiler\$" "$cache"; }; then
        rm -rf "$cache" "$folder/CMakeFiles"
    fi
    [ -f "$cache" ] || ! command -v ninja >/dev/null || generator=(-G Ninja)
    cmake -S "$root" -B "$folder" "${generator[@]}" -DCMAKE_CXX_COMPILER="$compiler" "$@"
}
