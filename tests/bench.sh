#!/usr/bin/env bash
# Measures the cost of monitoring and prints tables, with the load of the machine. Fails if a limit
# is exceeded. Run it manually on an idle machine: it takes about fifteen minutes. `--quick`
# measures only small fleets of fake servers, within two minutes after the build.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --quiet --release --locked --package exporter --package tests --bins
# Each fake server and each connection needs a file descriptor.
ulimit -n "$(ulimit -Hn)"
if [ "${1:-}" = --quick ]; then
    exec target/release/bench quick
fi
tests/setup.sh
exec target/release/bench "$@"
