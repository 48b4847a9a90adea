#!/usr/bin/env bash
# Measures the cost of monitoring and prints tables, with limits and the load of the machine. Fails
# if a limit is exceeded. Run it manually on an idle machine: it takes fifteen minutes after the
# build.
# Usage: tests/bench.sh [--quick | [--write] [PART...]]
#   --quick: only instructions and small fleets of fake servers, within two minutes after the build
#   --write: replace the report in tests/BENCH.md
#   PART: instructions, fleets, tls, division, servers, server-time, evaluation or pages
set -euo pipefail
cd "$(dirname "$0")/.."

# 10,000 nodes need as many file descriptors, and some more.
needed=12000
limit=$(ulimit -Hn)
if [ "$limit" != unlimited ] && [ "$limit" -lt "$needed" ]; then
    ulimit -Hn "$needed" || { echo "raise the limit of open files to $needed" >&2; exit 1; }
fi
ulimit -Sn "$(ulimit -Hn)"

if [ "${1:-}" = --quick ]; then tests/setup.sh callgrind; else tests/setup.sh bench; fi
cargo build --quiet --release --locked --package exporter --package tests \
    --bin rolecall --bin bench --bin fake_fleet
exec target/release/bench "$@"
