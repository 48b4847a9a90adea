#!/usr/bin/env bash
# Measures the cost of monitoring and prints a table. Run it manually: it takes about eight minutes
# and needs an idle machine.
set -euo pipefail
cd "$(dirname "$0")/.."
tests/setup.sh
cargo build --quiet --release --locked --package exporter --package tests --bins
exec target/release/bench
