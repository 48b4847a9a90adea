#!/usr/bin/env bash
# A primary with two replicas, Rolecall and a Prometheus on loopback, until Ctrl-C. Installs what a machine lacks.
set -euo pipefail
cd "$(dirname "$0")/.."

primary=7000 first=7001 second=7002 rolecall=9121 prometheus=9090

command -v cargo >/dev/null || { echo "cargo is missing: install Rust 1.88 or later" >&2; exit 1; }
tests/setup.sh demo
echo "building"
cargo build --quiet --release --locked --package exporter

for port in $primary $first $second $rolecall $prometheus; do
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
        echo "port $port is taken: stop what listens there, and try again" >&2
        exit 1
    fi
done

folder=$(mktemp -d)
processes=()
stop() {
    trap - EXIT INT TERM
    for process in "${processes[@]}"; do kill "$process" 2>/dev/null || true; done
    wait
    rm -rf "$folder"
    echo "stopped"
}
trap stop EXIT
trap 'exit 0' INT TERM

# Starts a command in the background, its output in a file of that name. The shell's own Ctrl-C must reach only the shell.
start() {
    local name=$1
    shift
    mkdir -p "$folder/$name"
    setsid "$@" >"$folder/$name.log" 2>&1 &
    processes+=($!)
}

redis() {
    local port=$1
    shift
    start "redis-$port" redis-server --port "$port" --bind 127.0.0.1 --dir "$folder" --dbfilename "$port.rdb" --appenddirname "aof-$port" --appendonly yes "$@"
}

# Waits until a URL answers.
await() {
    for _ in $(seq 100); do
        curl --silent --fail --output /dev/null "$1" && return
        sleep 0.2
    done
    echo "$1 does not answer; see the logs:" >&2
    tail -n 5 "$folder"/*.log >&2
    exit 1
}

redis $primary
redis $first --replicaof 127.0.0.1 $primary
redis $second --replicaof 127.0.0.1 $primary
start rolecall target/release/rolecall serve --web.listen-address 127.0.0.1:$rolecall \
    redis://127.0.0.1:$primary redis://127.0.0.1:$first redis://127.0.0.1:$second

cat >"$folder/prometheus.yml" <<YAML
global: { scrape_interval: 5s }
scrape_configs:
  - job_name: rolecall
    static_configs: [ { targets: ["127.0.0.1:$rolecall"] } ]
YAML
start prometheus prometheus --config.file="$folder/prometheus.yml" --storage.tsdb.path="$folder/data" --web.listen-address=127.0.0.1:$prometheus

await http://127.0.0.1:$rolecall/-/ready
await http://127.0.0.1:$prometheus/-/ready

cat <<TEXT

Rolecall     http://127.0.0.1:$rolecall
  metrics    http://127.0.0.1:$rolecall/metrics
  findings   http://127.0.0.1:$rolecall/api/v1/findings
Prometheus   http://127.0.0.1:$prometheus
  roles      http://127.0.0.1:$prometheus/graph?g0.expr=redis_role%20%3D%3D%201&g0.tab=1
Redis        127.0.0.1:$primary (primary), 127.0.0.1:$first and 127.0.0.1:$second (replicas)
Logs         $folder

Try: redis-cli -p $primary replicaof 127.0.0.1 $first    every link stays green, and nobody is primary.
     target/release/rolecall diagnose redis://127.0.0.1:$primary redis://127.0.0.1:$first redis://127.0.0.1:$second
     redis-cli -p $primary replicaof no one    mends it.
Stop everything with Ctrl-C.
TEXT

# Ends when any of them does: then something is wrong.
wait -n "${processes[@]}" || true
echo "one of the processes ended; see the logs:" >&2
tail -n 5 "$folder"/*.log >&2
exit 1
