#!/usr/bin/env bash
# Runs the fuzz targets with cargo-fuzz, each for some time. Exits with 1 if one of them found an
# input, and prints its path.
# Usage: tests/fuzz/run.sh [--check | [--parallel N] [SECONDS [TARGET...]]]
#   SECONDS: time for each target, 600 by default
#   TARGET: names of targets, all by default
#   --parallel N: N targets at a time, 1 by default
#   --check: only reports if something is missing
# Needs a nightly toolchain, cargo-fuzz and a C++ compiler:
#   rustup toolchain install nightly --profile minimal
#   cargo install --locked cargo-fuzz
#   apt-get install g++
# The code has no unsafe blocks, so it runs without AddressSanitizer, which would double the time of
# compilation. Inputs that reached new code are kept in target/fuzz/corpus. The log of a target is
# target/fuzz/logs/TARGET.log.
set -euo pipefail
cd "$(dirname "$0")/../.."

require() {
    "${@:2}" >/dev/null 2>&1 || { echo "$1" >&2; exit 1; }
}
require "fuzzing needs the nightly toolchain: rustup toolchain install nightly --profile minimal" \
    cargo +nightly --version
require "fuzzing needs cargo-fuzz: cargo install --locked cargo-fuzz" cargo fuzz --version
require "fuzzing needs a C++ compiler: apt-get install g++" c++ --version
[ "${1:-}" != --check ] || exit 0

parallel=1
if [ "${1:-}" = --parallel ]; then
    parallel=$2
    shift 2
fi
seconds=${1:-600}
[ $# -eq 0 ] || shift
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    for file in tests/fuzz/fuzz_targets/*.rs; do
        targets+=("$(basename "$file" .rs)")
    done
fi

folder=$PWD/target/fuzz
mkdir -p "$folder/logs"
options=(--fuzz-dir tests/fuzz --target-dir "$folder" --sanitizer none)
echo "building the fuzz targets" >&2
cargo +nightly fuzz build "${options[@]}" >"$folder/logs/build.log" 2>&1 ||
    { tail -50 "$folder/logs/build.log" >&2; exit 1; }
binaries=$folder/$(rustc +nightly -vV | sed -n 's/^host: //p')/release

# One certificate instead of the hundreds of the system, which each `rediss://` would read.
if [ -r /etc/ssl/certs/ca-certificates.crt ]; then
    sed '/END CERTIFICATE/q' /etc/ssl/certs/ca-certificates.crt >"$folder/ca.crt"
    export SSL_CERT_FILE=$folder/ca.crt SSL_CERT_DIR=$folder/logs
fi

# Each error would capture a backtrace.
export RUST_LIB_BACKTRACE=0

run() {
    local target=$1 log=$folder/logs/$1.log
    mkdir -p "$folder/corpus/$target" "$folder/findings" "$folder/seeds/$target"
    if "$binaries/$target" "$folder/corpus/$target" "$folder/seeds/$target" \
        -max_total_time="$seconds" -max_len=16384 -timeout=10 -rss_limit_mb=2048 \
        -artifact_prefix="$folder/findings/$target-" -print_final_stats=1 >"$log" 2>&1; then
        local runs coverage
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        coverage=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)
        echo "$target: no finding in $runs inputs, coverage $coverage"
    else
        echo "$target: FINDING, see $log"
        sed -n 's/.*Test unit written to /  input: /p' "$log"
        return 1
    fi
}

# Ends the running targets: each job is a process group.
stop() {
    local job
    for job in $(jobs -p); do
        kill -- "-$job" 2>/dev/null || true
    done
    wait
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

failed=0
running=0
for target in "${targets[@]}"; do
    if [ "$running" -ge "$parallel" ]; then
        wait -n || failed=1
        running=$((running - 1))
    fi
    set -m
    run "$target" &
    set +m
    running=$((running + 1))
done
while [ "$running" -gt 0 ]; do
    wait -n || failed=1
    running=$((running - 1))
done
exit "$failed"
