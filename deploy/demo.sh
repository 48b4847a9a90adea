#!/usr/bin/env bash
# Demo: a primary, two replicas and three Sentinels, Rolecall, Prometheus and Alertmanager with the
# shipped alerts, and a client that writes. Installs missing packages. Runs until Ctrl-C.
#
# Usage: deploy/demo.sh            starts the demo
#        deploy/demo.sh FAULT      in a second terminal, as the same user: causes a fault and prints
#                                  what to watch
#        deploy/demo.sh heal       repairs everything
#        deploy/demo.sh help       lists the faults
#
# As root, each Redis has its own network namespace and a small disk. As another user, or with
# DEMO_PLAIN=1, everything is on loopback and in one folder: `partition` then uses ACLs instead of
# the network, and `fill-disk` is not available.
# DEMO_BINARY=FILE uses that Rolecall binary and skips the build.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/.."

# Divides the durations of the alert rules and of Alertmanager, so that alerts come in seconds.
factor=10
rolecall=9121 prometheus=9090 alertmanager=9093 receiver=9099
name=shop
secret=demo
# Prefix of the network namespaces.
space="rolecall-demo"

# === State of the running demo ===

declare -A state
state_file=

# Finds the state file of a running demo. Ignores files of other users. Removes what a killed demo
# left behind.
find_demo() {
    local folder key value
    for folder in "${XDG_RUNTIME_DIR:-/tmp}" /tmp; do
        state_file=$folder/rolecall-demo-$(id -u)
        if [ ! -f "$state_file" ] || [ ! -O "$state_file" ] || [ -L "$state_file" ]; then
            continue
        fi
        state=()
        while read -r key value; do state[$key]=$value; done <"$state_file"
        [ "$(started "${state[demo]:-0}")" = "${state[started]:-none}" ] && return 0
        remove_leftovers
    done
    state=()
    return 1
}

# Prints the start time of a process, to recognize a reused process ID.
started() {
    awk '{ print $3 == "Z" ? "gone" : $22 }' "/proc/$1/stat" 2>/dev/null || echo gone
}

save() {
    local key
    for key in "${!state[@]}"; do echo "$key ${state[$key]}"; done >"$state_file.new"
    mv "$state_file.new" "$state_file"
}

# Removes what outlives the processes: mounts, network namespaces and files.
remove_leftovers() {
    local node
    for node in 1 2 3; do
        if [ "${state[disk]:-}" = small ]; then
            umount --lazy "${state[folder]}/node-$node" 2>/dev/null || true
        fi
        if [ "${state[network]:-}" = own ]; then
            ip netns delete "$space-$node" 2>/dev/null || true
        fi
    done
    if [ "${state[network]:-}" = own ]; then
        ip netns delete "$space-switch" 2>/dev/null || true
    fi
    case ${state[folder]:-} in */rolecall-demo.*) rm -rf "${state[folder]}" ;; esac
    rm -f "$state_file" "$state_file.new"
}

host() { echo "${state[net]}.$1"; }

# Sends a command to a Redis, or with -p 26379 to a Sentinel. Gives up after three seconds.
query() {
    local node=$1
    shift
    timeout 3 redis-cli -h "$(host "$node")" "$@" 2>/dev/null
}

sentinel() {
    local node=$1
    shift
    query "$node" -p 26379 sentinel "$@"
}

# Prints the number of the node that a Sentinel names as primary.
named_by() {
    local address
    address=$(sentinel "$1" get-master-addr-by-name "$name" | head -n 1) || return 1
    echo "${address##*.}"
}

# Prints one field of INFO replication.
field() {
    query "$1" info replication | tr -d '\r' | sed -n "s/^$2://p"
}

# Succeeds if all Sentinels name the same primary, it is a master, and the others replicate from it.
healthy() {
    local node
    primary=$(named_by 1) && [ -n "$primary" ] || return 1
    for node in 2 3; do [ "$(named_by "$node")" = "$primary" ] || return 1; done
    for node in 1 2 3; do
        if [ "$node" = "$primary" ]; then
            [ "$(field "$node" role)" = master ] || return 1
        else
            [ "$(field "$node" master_host)" = "$(host "$primary")" ] || return 1
            [ "$(field "$node" master_link_status)" = up ] || return 1
        fi
        case $(sentinel "$node" master "$name" | tr '\n' ' ') in
            *flags\ master\ *num-slaves\ 2\ *num-other-sentinels\ 2\ *) ;;
            *) return 1 ;;
        esac
    done
}

# === Faults, in another terminal ===

usage() {
    cat <<'TEXT'
Usage: deploy/demo.sh [COMMAND]

  (none)          starts the demo, until Ctrl-C; run the other commands in a second terminal
  failover        promotes a replica with SENTINEL FAILOVER, as for planned maintenance
  demote          makes the primary a replica of an address without a server: no primary is left
  loop            makes the primary a replica of its own replica: all links are up, all writes fail
  partition       cuts the primary off from the other nodes, but not from its client
  fill-disk       fills the disk of the primary
  slow-fsync      makes every fsync of the primary take six seconds
  wrong-password  sets a wrong masterauth on a replica
  hang            freezes the primary (SIGSTOP)
  misroute        makes a client write to a replica
  heal            repairs everything
TEXT
}

fail() {
    echo "$*" >&2
    exit 1
}

# Records the time of a fault. The receiver prints how many seconds later each alert arrives.
mark() {
    echo "$1 $(date +%s.%N)" >"${state[folder]}/fault"
    echo "$(date +%H:%M:%S) --- $1 ---" >>"${state[folder]}/shown.log"
}

# Sends a command that must succeed.
must() {
    local answer
    answer=$(query "$@") || true
    case $answer in
        OK* | [0-9]*) ;;
        *) fail "$(host "$1") replied '${answer}': run deploy/demo.sh heal and try again" ;;
    esac
}

# Succeeds if a critical alert fires in Prometheus.
alarmed() {
    curl --silent --get --data-urlencode 'query=ALERTS{alertstate="firing",severity="critical"}' \
        "http://127.0.0.1:$prometheus/api/v1/query" | grep --quiet '"alertname"'
}

fault() {
    local node first=
    find_demo || fail "$(id -un) runs no demo: start deploy/demo.sh in another terminal"
    healthy || fail "the deployment is not healthy yet: run deploy/demo.sh heal first"
    if alarmed; then
        echo "Note: an earlier critical alert still fires and may suppress the next one."
        echo "Wait until it is resolved to see every notification."
        echo
    fi
    for node in 3 2 1; do [ "$node" = "$primary" ] || first=$node; done
    case $1 in
        failover)
            mark "$1"
            must "$first" -p 26379 sentinel failover "$name"
            ;;
        demote)
            mark "$1"
            must "$primary" replicaof "$(host 9)" 6379
            ;;
        loop)
            mark "$1"
            must "$primary" replicaof "$(host "$first")" 6379
            ;;
        partition)
            mark "$1"
            if [ "${state[network]}" = own ]; then
                ip -n "$space-switch" link set "port$primary" nomaster
            else
                # Without PING and the replication user, Sentinels and replicas see it as down.
                must "$primary" acl setuser replication off
                must "$primary" acl setuser default -ping -publish -slaveof -replicaof -psync -sync
                must "$primary" client kill user replication
            fi
            ;;
        fill-disk)
            [ "${state[disk]}" = small ] || fail "fill-disk needs mounts: start the demo as root"
            mark "$1"
            touch "${state[folder]}/full"
            head -c 1G /dev/zero >"${state[folder]}/node-$primary/ballast" 2>/dev/null || true
            ;;
        slow-fsync)
            [ "${state[fsync]}" = preload ] || fail "slow-fsync needs cc: install it"
            mark "$1"
            touch "${state[folder]}/slow-$primary"
            ;;
        wrong-password)
            mark "$1"
            must "$first" config set masterauth wrong
            must "$first" client kill type master
            ;;
        hang)
            mark "$1"
            kill -STOP "${state[node-$primary]}"
            ;;
        misroute)
            mark "$1"
            touch "${state[folder]}/misroute"
            ;;
    esac
    explain "$1" "$first"
}

# Prints what was done, what to watch, and how it ends. The seconds are from several runs.
explain() {
    local was others=() node runbook
    was=$(host "$primary")
    for node in 1 2 3; do [ "$node" = "$primary" ] || others+=("$(host "$node")"); done
    case $1 in
        failover)
            runbook=RedisWritesLost
            cat <<TEXT
SENTINEL FAILOVER promotes a replica, as for planned maintenance. The old primary is $was.

For about 11 s there are two masters: Sentinel demotes the old primary late. The client stays
connected to the old primary. It acknowledges writes that are then lost.
  alert     RedisSplitBrain, warning, while there are two masters. Then RedisWritesLost, warning.
            No alert pages. Without a writing client no alert fires.
  client    after about 11 s: moves to the new primary and prints how many acknowledged writes are
            lost
  metrics   redis_deployment_split_brain, redis_deployment_unreplicated_writes_total,
            redis_deployment_primary_changes_total{cause="sentinel"}
Ends by itself. The alert is resolved about 75 s after the fault.
TEXT
            ;;
        demote)
            runbook=RedisNoPrimary
            cat <<TEXT
$was, the primary, is now a replica of $(host 9), where no server runs: a typing error in
REPLICAOF. No primary is left.

  alert     RedisNoPrimary, critical, after about 10 s
  client    at once: its connection is closed, and there is no primary to write to
  metrics   redis_deployment_no_primary, redis_topology_commands_total{command="replicaof"},
            redis_replica_orphaned{why="unknown_address"}
Repair: deploy/demo.sh heal makes $was a master again. The alert is resolved about 10 s
later. Without heal, Sentinel promotes a replica after about 30 s.
TEXT
            ;;
        loop)
            runbook=RedisReplicationLoop
            cat <<TEXT
$was, the primary, is now a replica of its own replica $(host "$2"). The two replicate from
each other: every link is up, and no node accepts writes.

  alert     RedisReplicationLoop, critical, after about 10 s. RedisNoPrimary fires too, but is
            inhibited because it is a consequence.
  client    at once: writes are refused
  metrics   redis_deployment_replication_loop is 1, while redis_master_link_up is 1 on every node
Repair: deploy/demo.sh heal makes $was a master again. The alert is resolved about 10 s
later. Without heal, Sentinel promotes a replica after about 30 s.
TEXT
            ;;
        partition)
            runbook=RedisSplitBrain
            if [ "${state[network]}" = own ]; then
                cat <<TEXT
$was, the primary, and its Sentinel are cut off from ${others[0]}, ${others[1]} and their
Sentinels. The client and Rolecall still reach both sides.
TEXT
            else
                cat <<TEXT
$was, the primary, rejects its replicas and all Sentinels by ACL, but not its client. The
network is intact: a network partition needs root.
TEXT
            fi
            cat <<TEXT

The other side promotes a replica after about 5 s. The client keeps writing to the old primary. All
of these writes are lost.
  alert     RedisSplitBrain, warning, after about 10 s, and critical 15 s after the promotion. After
            heal RedisWritesLost, warning.
  client    nothing. After heal it moves to the new primary and prints how many acknowledged writes
            are lost.
  metrics   redis_deployment_split_brain, redis_deployment_masters,
            redis_deployment_unreplicated_writes_total
Repair: deploy/demo.sh heal, which takes about 11 s. Lost writes stay lost. The alert is resolved
one minute after the last lost write, about 75 s after heal.
TEXT
            ;;
        fill-disk)
            runbook=RedisAofWriteFailing
            cat <<TEXT
The disk of $was, the primary, is full. Redis cannot write its append-only file. It refuses
all writes, and the PING of Sentinels.

  alert     RedisAofWriteFailing, critical, after about 8 s
  client    after a few seconds: MISCONF. Sentinel promotes a replica after about 12 s. The client
            gets errors but keeps its connection until Redis closes it, about 30 s after the fault.
  metrics   redis_aof_last_write_status, redis_writes_refused{reason="misconf_aof"},
            redis_errors_total{err="MISCONF"}
The findings show the consequence: the old primary, now a replica, cannot store its data.
Repair: deploy/demo.sh heal frees the disk. The alert is resolved about 40 s later. If the client
has not moved by then, the old primary accepts writes again for a moment. They are lost, and
RedisWritesLost fires.
TEXT
            ;;
        slow-fsync)
            runbook=RedisAofDelayedFsync
            cat <<TEXT
Every fsync of $was, the primary, takes six seconds: a preloaded library delays it. The disk
itself is fine.

  alert     RedisAofDelayedFsync, warning, after about 95 s. It waits long because busy disks are
            common.
  client    nothing: its writes are acknowledged, but reach the disk only seconds later
  metrics   redis_aof_delayed_fsync_total increases, redis_aof_pending_bio_fsync;
            redis_aof_last_write_status stays 1
Repair: deploy/demo.sh heal. The alert is resolved within 90 s.
TEXT
            ;;
        wrong-password)
            runbook=RedisReplicationAuthFailing
            cat <<TEXT
$(host "$2"), a replica, has a wrong masterauth, and its link was closed once. It cannot
log in to $was.

  alert     RedisReplicationAuthFailing, critical, after about 12 s. RedisReplicaLinkDown is
            inhibited because it is a consequence.
  client    nothing
  metrics   redis_errors_total{err="WRONGPASS"} increases on the primary,
            redis_link_state{state="lost"} is 1 on the replica
Repair: deploy/demo.sh heal sets the right masterauth. The link is up within a second, and the alert
is resolved about 5 s later.
TEXT
            ;;
        hang)
            runbook=RedisDown
            cat <<TEXT
$was, the primary, is frozen (SIGSTOP). Its connections stay open, but it does not reply.

  alert     RedisDown, warning, after about 15 s. It is not critical, because Sentinel promotes a
            replica after about 5 s.
  client    after a second: timeouts, until the Sentinels name the new primary
  metrics   redis_up, redis_down_reason{reason="timeout"},
            redis_deployment_primary_changes_total{cause="sentinel"}
Repair: deploy/demo.sh heal resumes the process. For about 10 s it still acts as primary, then
Sentinel demotes it. The alert is resolved within 90 s. The process may accept writes that timed out
before. In that case RedisWritesLost fires.
TEXT
            ;;
        misroute)
            runbook=RedisWritesHitReplica
            cat <<TEXT
A second client writes to a replica five times a second, as with a wrong address.

  alert     RedisWritesHitReplica, warning, after about 40 s
  client    the second client, at once: READONLY errors. The first client is not affected.
  metrics   redis_errors_total{err="READONLY"}, redis_misrouted_clients. The finding names the
            client after a minute.
Repair: deploy/demo.sh heal stops that client. The alert is resolved within 90 s.
TEXT
            ;;
    esac
    case $runbook in
        RedisNoPrimary | RedisReplicationLoop)
            cat <<TEXT
After heal, RedisSentinelDisagreement may fire for a moment: Sentinels check a master's role only
every 10 s, and the demo shortens the alert's wait from one minute to 6 s.
TEXT
            ;;
        RedisAofDelayedFsync | RedisDown | RedisWritesHitReplica)
            cat <<TEXT
Warnings are sent at most once a minute, so after another fault this one may come a minute later.
TEXT
            ;;
    esac
    cat <<TEXT

  status    http://127.0.0.1:$rolecall
  findings  http://127.0.0.1:$rolecall/api/v1/findings
  events    http://127.0.0.1:$rolecall/api/v1/events
  runbook   http://127.0.0.1:$rolecall/runbooks/$runbook?deployment=$name
  alerts    http://127.0.0.1:$prometheus/alerts, and notifications in the terminal of the demo
TEXT
}

heal() {
    local node limit begun=$SECONDS
    find_demo || fail "$(id -un) runs no demo: start deploy/demo.sh in another terminal"
    mark heal
    rm -f "${state[folder]}"/{slow-*,misroute,full,node-*/ballast}
    for node in 1 2 3; do
        kill -CONT "${state[node-$node]}" 2>/dev/null || true
        if [ "${state[network]}" = own ]; then
            ip -n "$space-switch" link set "port$node" master switch
        fi
    done
    for node in 1 2 3; do
        query "$node" acl load >/dev/null || true
        if [ "$(query "$node" config get masterauth | tail -n 1)" != "$secret" ]; then
            query "$node" config set masterauth "$secret" >/dev/null || true
        fi
    done
    # Without a master, promotes the node that the Sentinels name, unless they start a failover.
    local roles='' flags
    for node in 1 2 3; do roles+=$(field "$node" role); done
    primary=$(named_by 1 || true)
    flags=$(sentinel 1 master "$name" | sed -n '/^flags$/{n;p}') || true
    case $roles/$flags in
        *master*/* | */*failover* | */*down*) ;;
        *) query "$primary" replicaof no one >/dev/null || true ;;
    esac
    echo "repairing: usually takes about 10 s, sometimes 40 s"
    for ((limit = SECONDS + 90; SECONDS < limit; )); do
        if healthy; then
            cat <<TEXT
$(host "$primary") is the primary and the others replicate from it, after $((SECONDS - begun)) s.
Status: http://127.0.0.1:$rolecall
Alerts are resolved up to 90 s later; see the terminal of the demo. Wait for that before the next
fault: while a critical alert fires, it inhibits others of the same deployment.
TEXT
            return
        fi
        sleep 0.5
    done
    fail "not healthy after 90 s: see http://127.0.0.1:$rolecall and the logs in" \
        "${state[folder]}, or restart the demo"
}

# === Demo ===

declare -A processes

# Starts a command in the background, with its output in NAME.log. The command gets no Ctrl-C (own
# session) and is killed when this shell dies.
start() {
    local process=$1
    shift
    setsid setpriv --pdeathsig KILL "$@" >>"${state[folder]}/$process.log" 2>&1 &
    disown
    processes[$process]=$!
    state[$process]=$!
}

# Starts a command whose output is shown in this terminal.
start_shown() {
    local process=$1
    shift
    PYTHONPATH=target/testbed/python setsid setpriv --pdeathsig KILL "$@" \
        >>"${state[folder]}/shown.log" 2>>"${state[folder]}/$process.log" &
    disown
    processes[$process]=$!
}

start_node() {
    local node=$1 folder=${state[folder]} within=()
    if [ "${state[network]}" = own ]; then within=(ip netns exec "$space-$node"); fi
    if [ "${state[fsync]}" = preload ]; then
        within+=(env LD_PRELOAD="$folder/fsync.so" FSYNC_SLOW="$folder/slow-$node")
    fi
    start "node-$node" "${within[@]}" redis-server "$folder/node-$node.conf"
}

stop() {
    local process
    trap - EXIT INT TERM HUP
    for process in "${processes[@]}"; do kill -KILL "$process" 2>/dev/null || true; done
    for process in "${processes[@]}"; do
        while kill -0 "$process" 2>/dev/null; do sleep 0.1; done
    done
    remove_leftovers
    echo "stopped"
}

# Waits until a process is ready on a port.
await() {
    for _ in $(seq 150); do
        if curl --silent --fail --output /dev/null "http://127.0.0.1:$2/-/ready"; then return; fi
        kill -0 "${processes[$1]}" 2>/dev/null || break
        sleep 0.2
    done
    echo "$1 is not ready. Its log ends with:" >&2
    tail -n 5 "${state[folder]}/$1.log" >&2
    exit 1
}

# Fails if something listens on a port.
free() {
    if (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; then
        fail "port $2 of $1 is in use: stop the process that listens there and try again"
    fi
}

# Creates three network namespaces on one switch. Each also has its own link to this machine, which
# stays up when the node is cut off. The addresses are reserved for documentation (RFC 5737).
own_network() {
    local node switch=$space-switch
    ip netns add "$switch"
    ip -n "$switch" link add switch type bridge stp_state 0 forward_delay 0
    ip -n "$switch" link set switch up
    for node in 1 2 3; do
        local there=$space-$node
        ip netns add "$there"
        ip -n "$switch" link add "port$node" type veth peer name eth0 netns "$there"
        ip -n "$switch" link set "port$node" master switch up
        ip link add "rolecall$node" type veth peer name outside netns "$there"
        ip address add "$(host 254)/32" dev "rolecall$node"
        ip link set "rolecall$node" up
        ip route add "$(host "$node")/32" dev "rolecall$node" src "$(host 254)"
        ip -n "$there" address add "$(host "$node")/24" dev eth0
        for device in lo eth0 outside; do ip -n "$there" link set "$device" up; done
        ip -n "$there" route add "$(host 254)/32" dev outside
    done
}

write_node() {
    local node=$1 folder=${state[folder]} own
    own=$(host "$node")
    cat >"$folder/node-$node.conf" <<CONF
bind $own
port 6379
protected-mode no
dir $folder/node-$node
aclfile $folder/node.acl
masteruser replication
masterauth $secret
appendonly yes
auto-aof-rewrite-min-size 1mb
save ""
repl-diskless-sync-delay 0
replica-announce-ip $own
CONF
    [ "$node" = 1 ] || echo "replicaof $(host 1) 6379" >>"$folder/node-$node.conf"
    cat >"$folder/sentinel-$node.conf" <<CONF
bind $own
port 26379
protected-mode no
dir $folder
aclfile $folder/sentinel.acl
sentinel announce-ip $own
sentinel monitor $name $(host 1) 6379 2
sentinel down-after-milliseconds $name 3000
sentinel failover-timeout $name 5000
CONF
}

run() {
    local node binary=${DEMO_BINARY:-} folder port
    if find_demo; then fail "a demo is already running as process ${state[demo]}"; fi
    [ -n "$binary" ] || command -v cargo >/dev/null \
        || fail "cargo is missing: install Rust 1.88 or later"
    tests/setup.sh demo
    for port in $rolecall $prometheus $alertmanager $receiver; do free 127.0.0.1 "$port"; done
    if [ -z "$binary" ]; then
        echo "building"
        cargo build --quiet --release --locked --package exporter
        binary=$PWD/target/release/rolecall
    fi

    folder=$(mktemp -d "${TMPDIR:-/tmp}/rolecall-demo.XXXXXXXX")
    chmod 755 "$folder"
    state_file=${XDG_RUNTIME_DIR:-/tmp}/rolecall-demo-$(id -u)
    state=([demo]=$$ [started]=$(started $$) [folder]=$folder [binary]=$binary [network]=loopback)
    state+=([disk]=folder [fsync]=plain [net]=127.98.51)
    trap stop EXIT
    trap 'exit 0' INT TERM HUP
    (set -o noclobber && : >"$state_file") 2>/dev/null || fail "$state_file exists: remove it"
    save

    mkdir "$folder"/node-{1,2,3} "$folder/prometheus" "$folder/alertmanager"
    if [ "$(id -u)" = 0 ] && [ -z "${DEMO_PLAIN:-}" ]; then
        if ip netns add "$space-switch" 2>/dev/null; then
            ip netns delete "$space-switch"
            state[network]=own state[net]=198.51.100
            save
            own_network
        fi
        if mount -t tmpfs -o size=16m rolecall-demo "$folder/node-1" 2>/dev/null; then
            state[disk]=small
            save
            for node in 2 3; do
                mount -t tmpfs -o size=16m rolecall-demo "$folder/node-$node"
            done
        fi
    fi
    if cc -shared -fPIC -O1 -o "$folder/fsync.so" deploy/demo/fsync.c -ldl 2>/dev/null; then
        state[fsync]=preload
    fi
    for node in 1 2 3; do free "$(host "$node")" 6379; free "$(host "$node")" 26379; done

    # Rolecall gets the shipped minimal ACL. All other users have full access without a password.
    for port in redis sentinel; do
        {
            echo "user default on nopass allkeys allchannels +@all"
            sed "s/CHANGE-ME/$secret/" "deploy/acl/$port.acl"
        } >"$folder/$port.acl"
    done
    {
        cat "$folder/redis.acl"
        echo "user replication on >$secret -@all +psync +replconf +ping"
    } >"$folder/node.acl"
    for node in 1 2 3; do
        write_node "$node"
        start_node "$node"
    done
    for node in 1 2 3; do
        local within=()
        if [ "${state[network]}" = own ]; then within=(ip netns exec "$space-$node"); fi
        start "sentinel-$node" "${within[@]}" redis-server "$folder/sentinel-$node.conf" --sentinel
    done

    cat >"$folder/rolecall.toml" <<TOML
[web]
external_url = "http://127.0.0.1:$rolecall"

[[deployment]]
name = "$name"
master_name = "$name"
sentinels = [
  { url = "redis://$(host 1):26379", name = "sentinel-1" },
  { url = "redis://$(host 2):26379", name = "sentinel-2" },
  { url = "redis://$(host 3):26379", name = "sentinel-3" },
]
sentinel_username = "rolecall"
sentinel_password = "$secret"
username = "rolecall"
password = "$secret"
node_name = "{host}"
trust = ["$(host 0)/24"]
expect = { replicas = 2, aof = "all" }
TOML
    for port in redis rolecall; do
        python3 deploy/demo/shorten.py $factor rules "alerts/$port.rules.yaml" \
            >"$folder/$port.rules.yaml"
    done
    python3 deploy/demo/shorten.py $factor alertmanager alerts/alertmanager.yaml \
        "http://127.0.0.1:$receiver" >"$folder/alertmanager.yaml"
    cat >"$folder/prometheus.yaml" <<YAML
global: { scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }
rule_files: [redis.rules.yaml, rolecall.rules.yaml]
alerting: { alertmanagers: [ { static_configs: [ { targets: ["127.0.0.1:$alertmanager"] } ] } ] }
scrape_configs:
  - job_name: rolecall
    static_configs: [ { targets: ["127.0.0.1:$rolecall"] } ]
YAML
    : >"$folder/shown.log"
    start_shown receiver python3 deploy/demo/receiver.py $receiver "$folder/fault"
    start alertmanager "$(command -v prometheus-alertmanager || command -v alertmanager)" \
        --config.file="$folder/alertmanager.yaml" --storage.path="$folder/alertmanager" \
        --cluster.listen-address= --web.listen-address=127.0.0.1:$alertmanager
    start rolecall "$binary" serve --config.file "$folder/rolecall.toml" \
        --web.listen-address 127.0.0.1:$rolecall
    save
    await alertmanager $alertmanager
    await rolecall $rolecall
    echo "waiting for the Sentinels to discover each other"
    for _ in $(seq 60); do
        if healthy; then break; fi
        sleep 0.5
    done
    start prometheus prometheus --config.file="$folder/prometheus.yaml" \
        --storage.tsdb.path="$folder/prometheus" --web.listen-address=127.0.0.1:$prometheus \
        --rules.alert.resend-delay=1s
    save
    await prometheus $prometheus
    local hosts=("$(host 1)" "$(host 2)" "$(host 3)")
    start_shown client python3 deploy/demo/client.py write "${hosts[@]}"
    start_shown misrouted python3 deploy/demo/client.py misroute "$folder/misroute" "${hosts[@]}"
    welcome
    setsid setpriv --pdeathsig KILL tail -n +1 -f "$folder/shown.log" &
    disown
    processes[tail]=$!

    # Runs until a process ends unexpectedly. Restarts a Redis that ended, as an init system does,
    # but not while its disk is full: it would only end again.
    local process
    while sleep 1; do
        for process in "${!processes[@]}"; do
            if kill -0 "${processes[$process]}" 2>/dev/null; then continue; fi
            case $process in
                node-*)
                    if [ "${ended:-}" != "${processes[$process]}" ]; then
                        ended=${processes[$process]}
                        say "Redis $(host "${process#node-}") exited"
                    fi
                    [ ! -e "$folder/full" ] || continue
                    say "restarting Redis $(host "${process#node-}")"
                    start_node "${process#node-}"
                    save
                    ;;
                *)
                    echo "$process exited. Its log ends with:" >&2
                    tail -n 5 "$folder/$process.log" >&2
                    exit 1
                    ;;
            esac
        done
    done
}

# Prints a line of the demo itself in the terminal.
say() {
    echo "$(date +%H:%M:%S) demo: $*" >>"${state[folder]}/shown.log"
}

welcome() {
    cat <<TEXT

Rolecall      http://127.0.0.1:$rolecall
  findings    http://127.0.0.1:$rolecall/api/v1/findings
  metrics     http://127.0.0.1:$rolecall/metrics
Prometheus    http://127.0.0.1:$prometheus/alerts
Alertmanager  http://127.0.0.1:$alertmanager
Redis         $(host 1), $(host 2), $(host 3); on each also a Sentinel on port 26379
              redis-cli -h $(host 1)
Logs          ${state[folder]}
Diagnosis     ${state[binary]} diagnose --config.file ${state[folder]}/rolecall.toml

The durations of the alert rules and of Alertmanager are divided by $factor. Redis, Sentinel and
Rolecall use their normal durations.
Below: what the client sees, and every notification. Cause a fault in a second terminal:
deploy/demo.sh help. Stop everything with Ctrl-C.

TEXT
}

case ${1:-} in
    '') run ;;
    failover | demote | loop | partition | fill-disk | slow-fsync) fault "$1" ;;
    wrong-password | hang | misroute) fault "$1" ;;
    heal) heal ;;
    help | -h | --help) usage ;;
    *)
        echo "unknown command '$1'" >&2
        usage >&2
        exit 2
        ;;
esac
