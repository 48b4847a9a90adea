#!/usr/bin/env bash
# Measures what watching costs, and prints a table. By hand: it takes some eight minutes, and wants a quiet machine.
set -euo pipefail
cd "$(dirname "$0")/.."
tests/setup.sh
cargo build --quiet --release --locked --package exporter --package tests --bins
exec target/release/bench
