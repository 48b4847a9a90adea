#!/usr/bin/env bash
# Runs the two commands of the README as on a new machine: in a fresh clone of HEAD, with an empty
# HOME, an empty CARGO_HOME and no target folder. Debian packages stay as they are. Reports the step
# that fails, with the end of its log. Takes an hour or more on two processors.
#
# Usage: tests/fresh.sh            both commands
#        tests/fresh.sh --demo     only deploy/demo.sh: start, one fault, heal, Ctrl-C
#        tests/fresh.sh --tests    only tests/run.sh
set -euo pipefail
cd "$(dirname "$0")/.."

# Limits in seconds: a build from nothing, and one step of a running demo.
build_limit=3600
step_limit=120

commands=(demo tests)
case ${1:-} in
    '') ;;
    --demo) commands=(demo) ;;
    --tests) commands=(tests) ;;
    *)
        sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2
        exit 2
        ;;
esac

say() { printf '\n== %s, after %d:%02d\n' "$*" $((SECONDS / 60)) $((SECONDS % 60)); }

# Prints the end of a log and exits.
fail() {
    local log=$1
    shift
    say "FAILED: $*"
    if [ -s "$log" ]; then
        echo "The log ends with:"
        tail -n 40 "$log"
    fi
    exit 1
}

job=
folder=$(mktemp -d "${TMPDIR:-/tmp}/rolecall-fresh.XXXXXXXX")

# Ends the running command and removes the clone. A job is a process group of its own.
cleanup() {
    trap - EXIT INT TERM HUP
    if [ -n "$job" ] && kill -0 "$job" 2>/dev/null; then
        kill -INT -- "-$job" 2>/dev/null || true
        ended 30 || kill -KILL -- "-$job" 2>/dev/null || true
    fi
    rm -rf "$folder"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

# Waits for the end of the running command, up to a number of seconds.
ended() {
    local limit=$((SECONDS + $1))
    while kill -0 "$job" 2>/dev/null; do
        [ "$SECONDS" -lt "$limit" ] || return 1
        sleep 0.5
    done
}

clone=$folder/rolecall
commit=$(git rev-parse HEAD)
say "clone $commit"
[ -z "$(git status --porcelain)" ] || echo "uncommitted changes are not part of the clone"
git clone --quiet --no-hardlinks . "$clone"
git -C "$clone" checkout --quiet --detach "$commit"

# The toolchain stays where it is. A registry mirror of this machine stays in use.
mkdir "$folder/home" "$folder/cargo"
rustup=${RUSTUP_HOME:-$HOME/.rustup}
registry=${CARGO_HOME:-$HOME/.cargo}/config.toml
if [ -f "$registry" ]; then cp "$registry" "$folder/cargo/"; fi

# Runs a command in the clone, with the environment of a new user. A shell that runs this script in
# the background ignores Ctrl-C, and so would the command.
fresh() {
    cd "$clone" && exec env --default-signal=INT \
        --unset=CARGO_TARGET_DIR --unset=DEMO_BINARY --unset=DEMO_PLAIN \
        --unset=PYTHONPATH --unset=XDG_CACHE_HOME --unset=XDG_CONFIG_HOME --unset=XDG_DATA_HOME \
        HOME="$folder/home" CARGO_HOME="$folder/cargo" RUSTUP_HOME="$rustup" "$@"
}

# Starts a command in the background. Job control gives it a process group and lets it get Ctrl-C.
start() {
    local log=$1
    shift
    set -m
    fresh "$@" >"$log" 2>&1 </dev/null &
    job=$!
    set +m
}

demo() {
    local log=$folder/demo.log fault limit used left
    say "deploy/demo.sh"
    start "$log" deploy/demo.sh
    limit=$((SECONDS + build_limit))
    until grep --quiet 'Stop everything with Ctrl-C' "$log"; do
        kill -0 "$job" 2>/dev/null || fail "$log" "deploy/demo.sh ended before it was ready"
        [ "$SECONDS" -lt "$limit" ] || fail "$log" "deploy/demo.sh is not ready"
        sleep 1
    done
    for fault in failover heal; do
        say "deploy/demo.sh $fault"
        (fresh timeout $step_limit deploy/demo.sh $fault) >"$folder/$fault.log" 2>&1 \
            || fail "$folder/$fault.log" "deploy/demo.sh $fault"
        cat "$folder/$fault.log"
        # Lets the client and the alerts react.
        sleep 15
    done
    kill -0 "$job" 2>/dev/null || fail "$log" "deploy/demo.sh ended by itself"
    grep --quiet --extended-regexp 'ALERT .*Redis(SplitBrain|WritesLost)' "$log" \
        || fail "$log" "no alert arrived"
    say "Ctrl-C"
    kill -INT -- "-$job"
    ended $step_limit || fail "$log" "deploy/demo.sh does not stop"
    wait "$job" || fail "$log" "deploy/demo.sh returned $?"
    job=
    # The demo prints its folder. Neither the folder nor a process that uses it may be left.
    used=$(sed -n 's/^Logs *//p' "$log")
    left=$(pgrep --list-full --full "$used" || true)
    [ -n "$used" ] && [ ! -e "$used" ] && [ -z "$left" ] || fail "$log" "left: $used $left"
}

tests() {
    local log=$folder/tests.log
    say "tests/run.sh"
    start "$log" tests/run.sh
    wait "$job" || fail "$log" "tests/run.sh returned $?"
    job=
    grep '^==' "$log"
}

for command in "${commands[@]}"; do "$command"; done
say "a fresh clone works"
