#!/usr/bin/env bash
# A deployment to break: a primary with two replicas and three Sentinels, Rolecall, a Prometheus and an Alertmanager with the shipped
# alerts, and a client that writes. Runs until Ctrl-C, and installs what a machine lacks.
#
# Usage: deploy/demo.sh            starts it
#        deploy/demo.sh FAULT      in another terminal, as the same user: breaks something, and says what to watch
#        deploy/demo.sh heal       mends everything
#        deploy/demo.sh help       lists the faults
#
# As root each Redis has a network and a small disk of its own. As another user, or with DEMO_PLAIN=1, all of it is on loopback
# and in one folder: `partition` works in another way then, and `fill-disk` not at all.
# DEMO_BINARY=FILE takes that binary of Rolecall, and skips the build.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/.."

# What the waits of the rules and of Alertmanager are divided by, so that nobody waits for minutes.
factor=10
rolecall=9121 prometheus=9090 alertmanager=9093 receiver=9099
name=shop
secret=demo
# The namespaces of its network begin so.
space="rolecall-demo"

# === The state of the running demo ===

declare -A state
state_file=

# Finds the file of a running demo. Nobody else's is read; what a demo that was killed left behind is cleared away.
find_demo() {
    local folder key value
    for folder in "${XDG_RUNTIME_DIR:-/tmp}" /tmp; do
        state_file=$folder/rolecall-demo-$(id -u)
        if [ ! -f "$state_file" ] || [ ! -O "$state_file" ] || [ -L "$state_file" ]; then continue; fi
        state=()
        while read -r key value; do state[$key]=$value; done <"$state_file"
        [ "$(started "${state[demo]:-0}")" = "${state[started]:-none}" ] && return 0
        clear_away
    done
    state=()
    return 1
}

# When a process began, so that an id that was given again is not mistaken for it.
started() {
    awk '{ print $3 == "Z" ? "gone" : $22 }' "/proc/$1/stat" 2>/dev/null || echo gone
}

save() {
    local key
    for key in "${!state[@]}"; do echo "$key ${state[$key]}"; done >"$state_file.new"
    mv "$state_file.new" "$state_file"
}

# Takes away what outlives the processes.
clear_away() {
    local place
    for place in 1 2 3; do
        if [ "${state[disk]:-}" = small ]; then umount --lazy "${state[folder]}/node-$place" 2>/dev/null || true; fi
        if [ "${state[network]:-}" = own ]; then ip netns delete "$space-$place" 2>/dev/null || true; fi
    done
    if [ "${state[network]:-}" = own ]; then ip netns delete "$space-switch" 2>/dev/null || true; fi
    case ${state[folder]:-} in */rolecall-demo.*) rm -rf "${state[folder]}" ;; esac
    rm -f "$state_file" "$state_file.new"
}

host() { echo "${state[net]}.$1"; }

# Asks a Redis, or with -p 26379 a Sentinel. One that hangs is given up.
ask() {
    local place=$1
    shift
    timeout 3 redis-cli -h "$(host "$place")" "$@" 2>/dev/null
}

sentinel() {
    local place=$1
    shift
    ask "$place" -p 26379 sentinel "$@"
}

# The place that a Sentinel names as primary.
named_by() {
    local address
    address=$(sentinel "$1" get-master-addr-by-name "$name" | head -n 1) || return 1
    echo "${address##*.}"
}

# One field of INFO replication.
field() {
    ask "$1" info replication | tr -d '\r' | sed -n "s/^$2://p"
}

# All Sentinels name one primary, which is a master, and the others follow it.
healthy() {
    local place
    primary=$(named_by 1) && [ -n "$primary" ] || return 1
    for place in 2 3; do [ "$(named_by "$place")" = "$primary" ] || return 1; done
    for place in 1 2 3; do
        if [ "$place" = "$primary" ]; then
            [ "$(field "$place" role)" = master ] || return 1
        else
            [ "$(field "$place" master_host) $(field "$place" master_link_status)" = "$(host "$primary") up" ] || return 1
        fi
        case $(sentinel "$place" master "$name" | tr '\n' ' ') in *flags\ master\ *num-slaves\ 2\ *num-other-sentinels\ 2\ *) ;; *) return 1 ;; esac
    done
}

# === Faults, in another terminal ===

usage() {
    cat <<'TEXT'
Usage: deploy/demo.sh [COMMAND]

  (none)          starts the demo, until Ctrl-C; the others are for a second terminal
  failover        has Sentinel make a replica the primary, as for planned work
  demote          makes the primary follow an address where nobody is: no primary is left
  loop            makes the primary follow its own replica: every link is up, and nothing takes writes
  partition       cuts the primary off from the rest, but not from its client
  fill-disk       fills the disk of the primary
  slow-fsync      makes every fsync of the primary take six seconds
  wrong-password  gives a replica a wrong password for its primary
  hang            freezes the primary
  misroute        has a client write to a replica
  heal            mends everything
TEXT
}

fail() {
    echo "$*" >&2
    exit 1
}

# Notes a fault: what is told is told as so many seconds after it.
mark() {
    echo "$1 $(date +%s.%N)" >"${state[folder]}/fault"
    echo "$(date +%H:%M:%S) --- $1 ---" >>"${state[folder]}/told.log"
}

# What is asked of a server must have been done.
order() {
    local answer
    answer=$(ask "$@") || true
    case $answer in
        OK* | [0-9]*) ;;
        *) fail "$(host "$1") answers '${answer}': run deploy/demo.sh heal, and try again" ;;
    esac
}

# Whether Prometheus has a critical alert.
alarmed() {
    curl --silent --get --data-urlencode 'query=ALERTS{alertstate="firing",severity="critical"}' \
        "http://127.0.0.1:$prometheus/api/v1/query" | grep --quiet '"alertname"'
}

fault() {
    local place first=
    find_demo || fail "no demo of $(id -un) is running: start it with deploy/demo.sh in another terminal, as the same user"
    healthy || fail "not all is well yet: run deploy/demo.sh heal first"
    if alarmed; then
        echo "A page of before still stands, and may hide what comes now: better wait until it is over."
        echo
    fi
    for place in 3 2 1; do [ "$place" = "$primary" ] || first=$place; done
    case $1 in
        failover)
            mark "$1"
            order "$first" -p 26379 sentinel failover "$name"
            ;;
        demote)
            mark "$1"
            order "$primary" replicaof "$(host 9)" 6379
            ;;
        loop)
            mark "$1"
            order "$primary" replicaof "$(host "$first")" 6379
            ;;
        partition)
            mark "$1"
            if [ "${state[network]}" = own ]; then
                ip -n "$space-switch" link set "port$primary" nomaster
            else
                # Neither PING nor the replication user: to Sentinels and replicas it is gone.
                order "$primary" acl setuser replication off
                order "$primary" acl setuser default -ping -publish -slaveof -replicaof -psync -sync
                order "$primary" client kill user replication
            fi
            ;;
        fill-disk)
            [ "${state[disk]}" = small ] || fail "fill-disk needs a small disk for each Redis, and that needs root: start the demo as root"
            mark "$1"
            touch "${state[folder]}/full"
            head -c 1G /dev/zero >"${state[folder]}/node-$primary/ballast" 2>/dev/null || true
            ;;
        slow-fsync)
            [ "${state[fsync]}" = preload ] || fail "slow-fsync needs a C compiler: install cc, and start the demo again"
            mark "$1"
            touch "${state[folder]}/slow-$primary"
            ;;
        wrong-password)
            mark "$1"
            order "$first" config set masterauth wrong
            order "$first" client kill type master
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

# What was done, what to watch, and how it is mended. The seconds are those of several tries.
explain() {
    local was others=() place runbook
    was=$(host "$primary")
    for place in 1 2 3; do [ "$place" = "$primary" ] || others+=("$(host "$place")"); done
    case $1 in
        failover)
            runbook=RedisWritesLost
            cat <<TEXT
Sentinel was told to make a replica the primary, as before planned work. $was was primary.

For some 11 s there are two masters: Sentinel tells the old one late that it is a replica. The client notices nothing. It stays connected
to the old one, where its writes are acknowledged and lost.
  alert     RedisWritesLost, critical, after some 5 s. Without writes on the old primary nobody would be told.
  client    after some 11 s: moves to the new primary, and says how many acknowledged writes are gone
  metrics   redis_deployment_split_brain, redis_deployment_unreplicated_writes_total, redis_deployment_primary_changes_total{cause="sentinel"}
Mended: by itself. That the alert is over is told some 75 s after the fault.
TEXT
            ;;
        demote)
            runbook=RedisNoPrimary
            cat <<TEXT
$was, the primary, was told to follow $(host 9), where nobody is: a typing error in REPLICAOF. No primary is left.

  alert     RedisNoPrimary, critical, after some 10 s
  client    at once: its connection is cut, as there is no primary it could write to
  metrics   redis_deployment_no_primary, redis_topology_commands_total{command="replicaof"}, redis_replica_orphaned{why="unknown_address"}
Mended: by deploy/demo.sh heal, which makes $was a master again; the alert is over some 10 s later. Or wait: Sentinel takes a
replica as the new primary after some 30 s.
TEXT
            ;;
        loop)
            runbook=RedisReplicationLoop
            cat <<TEXT
$was, the primary, was told to follow its own replica $(host "$2"). The two follow one another: every link is up, and nothing
takes writes.

  alert     RedisReplicationLoop, critical, after some 10 s. RedisNoPrimary is its effect: it fires, and is not told.
  client    at once: writes are refused
  metrics   redis_deployment_replication_loop is 1, while redis_master_link_up is 1 on every node
Mended: by deploy/demo.sh heal, which makes $was a master again; the alert is over some 10 s later. Or wait: Sentinel takes a
replica as the new primary after some 30 s.
TEXT
            ;;
        partition)
            runbook=RedisWritesLost
            if [ "${state[network]}" = own ]; then
                cat <<TEXT
$was, the primary, and its Sentinel were cut off from ${others[0]}, ${others[1]} and their Sentinels. The client and Rolecall
still reach both sides.
TEXT
            else
                cat <<TEXT
$was, the primary, turns its replicas and all Sentinels away by their rights, but not its client. No network was cut: that needs root.
TEXT
            fi
            cat <<TEXT

The other side makes a primary of its own after some 5 s. The client notices nothing: it writes on to the old one, and all of that is lost.
  alert     RedisWritesLost, critical, after some 10 s. RedisSplitBrain fires too, and is not told: it says less.
  client    nothing. After heal it is moved to the new primary, and says how many acknowledged writes are gone.
  metrics   redis_deployment_split_brain, redis_deployment_masters, redis_deployment_unreplicated_writes_total
Mended: by deploy/demo.sh heal, in some 11 s. What was lost stays lost. The alert is over a minute after the last lost write: some 75 s
after heal.
TEXT
            ;;
        fill-disk)
            runbook=RedisAofWriteFailing
            cat <<TEXT
The disk of $was, the primary, is full. It cannot write its append-only file, and refuses all writes, and the PING of Sentinels.

  alert     RedisAofWriteFailing, critical, after some 8 s
  client    after a few seconds: MISCONF. Sentinel has a new primary after some 12 s, but the client sees an error and no reason to ask
            again, so it stays until it is cut off, some 30 s after the fault.
  metrics   redis_aof_last_write_status, redis_writes_refused{reason="misconf_aof"}, redis_errors_total{err="MISCONF"}
What follows is on the page of findings: the old primary, now a replica, cannot store what it is sent.
Mended: by deploy/demo.sh heal, which frees the disk; the alert is over some 40 s later. If the client has not moved by then, the old primary
takes writes again for a moment; they are lost, and RedisWritesLost says so.
TEXT
            ;;
        slow-fsync)
            runbook=RedisAofDelayedFsync
            cat <<TEXT
Every fsync of $was, the primary, takes six seconds: a library before fsync sleeps. The disk itself is well.

  alert     RedisAofDelayedFsync, warning, after some 95 s. It is one of the slowest, as busy disks are common.
  client    nothing: what it writes is acknowledged, and is not on the disk for seconds
  metrics   redis_aof_delayed_fsync_total rises, redis_aof_pending_bio_fsync; redis_aof_last_write_status stays well
Mended: by deploy/demo.sh heal. That the alert is over is told within a minute and a half.
TEXT
            ;;
        wrong-password)
            runbook=RedisReplicationAuthFailing
            cat <<TEXT
$(host "$2"), a replica, has a wrong masterauth, and its link was cut once. It cannot log in to $was any more.

  alert     RedisReplicationAuthFailing, critical, after some 12 s. RedisReplicaLinkDown is its effect, and is not told.
  client    nothing
  metrics   redis_errors_total{err="WRONGPASS"} rises on the primary, redis_link_state{state="lost"} on the replica
Mended: by deploy/demo.sh heal, which sets the right masterauth; the link is back within a second, the alert over some 5 s later.
TEXT
            ;;
        hang)
            runbook=RedisDown
            cat <<TEXT
$was, the primary, is frozen (SIGSTOP). Its connections stay open, and nothing answers.

  alert     RedisDown, warning, after some 15 s: it is no page, as Sentinel has a new primary after some 5 s
  client    after a second: timeouts, until the Sentinels name the new primary
  metrics   redis_up, redis_down_reason{reason="timeout"}, redis_deployment_primary_changes_total{cause="sentinel"}
Mended: by deploy/demo.sh heal, which lets it go on. For some 10 s it takes itself for the primary, then Sentinel makes it a replica.
That the alert is over is told within a minute and a half. Writes that timed out may still lie before it, and it takes them
then: if it does, RedisWritesLost pages.
TEXT
            ;;
        misroute)
            runbook=RedisWritesHitReplica
            cat <<TEXT
A second client writes five times a second to a replica, as one that was given the wrong address.

  alert     RedisWritesHitReplica, warning, after some 40 s
  client    the second one, at once: it cannot write against a read only replica. The first one is well.
  metrics   redis_errors_total{err="READONLY"}, redis_misrouted_clients; the finding names the client, after a minute
Mended: by deploy/demo.sh heal, which stops that client. That the alert is over is told within a minute and a half.
TEXT
            ;;
    esac
    case $runbook in
        RedisNoPrimary | RedisReplicationLoop)
            echo "Sentinels look at a master's role every 10 s, and RedisSentinelDisagreement waits for 6 s here instead of a minute: after heal it may"
            echo "page for a moment."
            ;;
        RedisAofDelayedFsync | RedisDown | RedisWritesHitReplica)
            echo "Warnings are told once a minute: after another fault this one may come up to a minute later."
            ;;
    esac
    cat <<TEXT

  status    http://127.0.0.1:$rolecall
  findings  http://127.0.0.1:$rolecall/api/v1/findings      with evidence, the worst first
  events    http://127.0.0.1:$rolecall/api/v1/events
  runbook   http://127.0.0.1:$rolecall/runbooks/$runbook?deployment=$name      with the live values
  alerts    http://127.0.0.1:$prometheus/alerts, and as they are told in the terminal of the demo
TEXT
}

heal() {
    local place limit begun=$SECONDS
    find_demo || fail "no demo of $(id -un) is running: start it with deploy/demo.sh in another terminal, as the same user"
    mark heal
    rm -f "${state[folder]}"/slow-* "${state[folder]}/misroute" "${state[folder]}/full" "${state[folder]}"/node-*/ballast
    for place in 1 2 3; do
        kill -CONT "${state[node-$place]}" 2>/dev/null || true
        if [ "${state[network]}" = own ]; then ip -n "$space-switch" link set "port$place" master switch; fi
    done
    for place in 1 2 3; do
        ask "$place" acl load >/dev/null || true
        if [ "$(ask "$place" config get masterauth | tail -n 1)" != "$secret" ]; then
            ask "$place" config set masterauth "$secret" >/dev/null || true
        fi
    done
    # Nobody is master: the one that the Sentinels name is, unless they are about to choose another.
    local roles='' flags
    for place in 1 2 3; do roles+=$(field "$place" role); done
    primary=$(named_by 1 || true)
    flags=$(sentinel 1 master "$name" | sed -n '/^flags$/{n;p}') || true
    case $roles/$flags in
        *master*/* | */*failover* | */*down*) ;;
        *) ask "$primary" replicaof no one >/dev/null || true ;;
    esac
    echo "mending: until all follow one primary again, some 10 s, at times 40 s"
    for ((limit = SECONDS + 90; SECONDS < limit; )); do
        if healthy; then
            echo "$(host "$primary") is primary and the others follow, after $((SECONDS - begun)) s. See http://127.0.0.1:$rolecall"
            echo "That alerts are over arrives up to a minute and a half later, in the terminal of the demo. Then make the next fault:"
            echo "as long as a page stands, it hides others of the same deployment, so that one cause pages once."
            return
        fi
        sleep 0.5
    done
    fail "not all is well after 90 s: see http://127.0.0.1:$rolecall and the logs in ${state[folder]}; Ctrl-C and a new start help"
}

# === The demo itself ===

declare -A processes

# Starts a command in the background, its output in a file of that name. The shell's own Ctrl-C must reach only the shell; and when that
# is killed, so is the command.
start() {
    local called=$1
    shift
    setsid setpriv --pdeathsig KILL "$@" >>"${state[folder]}/$called.log" 2>&1 &
    disown
    processes[$called]=$!
    state[$called]=$!
}

# The same, for what is to be read in this terminal.
start_telling() {
    local called=$1
    shift
    PYTHONPATH=target/testbed/python setsid setpriv --pdeathsig KILL "$@" >>"${state[folder]}/told.log" 2>>"${state[folder]}/$called.log" &
    disown
    processes[$called]=$!
}

start_node() {
    local place=$1 folder=${state[folder]} within=()
    if [ "${state[network]}" = own ]; then within=(ip netns exec "$space-$place"); fi
    if [ "${state[fsync]}" = preload ]; then within+=(env LD_PRELOAD="$folder/fsync.so" FSYNC_SLOW="$folder/slow-$place"); fi
    start "node-$place" "${within[@]}" redis-server "$folder/node-$place.conf"
}

stop() {
    local process
    trap - EXIT INT TERM HUP
    for process in "${processes[@]}"; do kill -KILL "$process" 2>/dev/null || true; done
    for process in "${processes[@]}"; do
        while kill -0 "$process" 2>/dev/null; do sleep 0.1; done
    done
    clear_away
    echo "stopped"
}

# Waits until one of the processes is ready at this port.
await() {
    for _ in $(seq 150); do
        if curl --silent --fail --output /dev/null "http://127.0.0.1:$2/-/ready"; then return; fi
        kill -0 "${processes[$1]}" 2>/dev/null || break
        sleep 0.2
    done
    echo "$1 does not answer; see its log:" >&2
    tail -n 5 "${state[folder]}/$1.log" >&2
    exit 1
}

free() {
    if (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; then fail "port $2 of $1 is taken: stop what listens there, and try again"; fi
}

# Three places on one switch, in network namespaces. Each has a way of its own to this machine, which stays when it is cut off.
# Nothing leaves this machine: the addresses are of those that are meant for examples.
own_network() {
    local place switch=$space-switch
    ip netns add "$switch"
    ip -n "$switch" link add switch type bridge stp_state 0 forward_delay 0
    ip -n "$switch" link set switch up
    for place in 1 2 3; do
        local there=$space-$place
        ip netns add "$there"
        ip -n "$switch" link add "port$place" type veth peer name eth0 netns "$there"
        ip -n "$switch" link set "port$place" master switch up
        ip link add "rolecall$place" type veth peer name outside netns "$there"
        ip address add "$(host 254)/32" dev "rolecall$place"
        ip link set "rolecall$place" up
        ip route add "$(host "$place")/32" dev "rolecall$place" src "$(host 254)"
        ip -n "$there" address add "$(host "$place")/24" dev eth0
        for device in lo eth0 outside; do ip -n "$there" link set "$device" up; done
        ip -n "$there" route add "$(host 254)/32" dev outside
    done
}

write_node() {
    local place=$1 folder=${state[folder]} own
    own=$(host "$place")
    cat >"$folder/node-$place.conf" <<CONF
bind $own
port 6379
protected-mode no
dir $folder/node-$place
aclfile $folder/node.acl
masteruser replication
masterauth $secret
appendonly yes
auto-aof-rewrite-min-size 1mb
save ""
repl-diskless-sync-delay 0
replica-announce-ip $own
CONF
    [ "$place" = 1 ] || echo "replicaof $(host 1) 6379" >>"$folder/node-$place.conf"
    cat >"$folder/sentinel-$place.conf" <<CONF
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
    local place binary=${DEMO_BINARY:-} folder port
    if find_demo; then fail "a demo is running already, as process ${state[demo]}: stop it with Ctrl-C there"; fi
    [ -n "$binary" ] || command -v cargo >/dev/null || fail "cargo is missing: install Rust 1.88 or later"
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
    state=([demo]=$$ [started]=$(started $$) [folder]=$folder [binary]=$binary [network]=loopback [disk]=folder [fsync]=plain [net]=127.98.51)
    trap stop EXIT
    trap 'exit 0' INT TERM HUP
    (set -o noclobber && : >"$state_file") 2>/dev/null || fail "$state_file is in the way: remove it"
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
            for place in 2 3; do mount -t tmpfs -o size=16m rolecall-demo "$folder/node-$place"; done
        fi
    fi
    if cc -shared -fPIC -O1 -o "$folder/fsync.so" deploy/demo/fsync.c -ldl 2>/dev/null; then state[fsync]=preload; fi
    for place in 1 2 3; do free "$(host "$place")" 6379; free "$(host "$place")" 26379; done

    # The rights that are shipped for Rolecall; everybody else may do everything here, without a password.
    for port in redis sentinel; do
        { echo "user default on nopass allkeys allchannels +@all" && sed "s/CHANGE-ME/$secret/" "deploy/acl/$port.acl"; } >"$folder/$port.acl"
    done
    { cat "$folder/redis.acl" && echo "user replication on >$secret -@all +psync +replconf +ping"; } >"$folder/node.acl"
    for place in 1 2 3; do
        write_node "$place"
        start_node "$place"
    done
    for place in 1 2 3; do
        local within=()
        if [ "${state[network]}" = own ]; then within=(ip netns exec "$space-$place"); fi
        start "sentinel-$place" "${within[@]}" redis-server "$folder/sentinel-$place.conf" --sentinel
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
        python3 deploy/demo/shorten.py $factor rules "alerts/$port.rules.yaml" >"$folder/$port.rules.yaml"
    done
    python3 deploy/demo/shorten.py $factor alertmanager alerts/alertmanager.yaml "http://127.0.0.1:$receiver" >"$folder/alertmanager.yaml"
    cat >"$folder/prometheus.yaml" <<YAML
global: { scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }
rule_files: [redis.rules.yaml, rolecall.rules.yaml]
alerting: { alertmanagers: [ { static_configs: [ { targets: ["127.0.0.1:$alertmanager"] } ] } ] }
scrape_configs:
  - job_name: rolecall
    static_configs: [ { targets: ["127.0.0.1:$rolecall"] } ]
YAML
    : >"$folder/told.log"
    start_telling receiver python3 deploy/demo/receiver.py $receiver "$folder/fault"
    start alertmanager "$(command -v prometheus-alertmanager || command -v alertmanager)" --config.file="$folder/alertmanager.yaml" \
        --storage.path="$folder/alertmanager" --cluster.listen-address= --web.listen-address=127.0.0.1:$alertmanager
    start rolecall "$binary" serve --config.file "$folder/rolecall.toml" --web.listen-address 127.0.0.1:$rolecall
    save
    await alertmanager $alertmanager
    await rolecall $rolecall
    echo "waiting until the Sentinels know one another"
    for _ in $(seq 60); do
        if healthy; then break; fi
        sleep 0.5
    done
    start prometheus prometheus --config.file="$folder/prometheus.yaml" --storage.tsdb.path="$folder/prometheus" \
        --web.listen-address=127.0.0.1:$prometheus --rules.alert.resend-delay=1s
    save
    await prometheus $prometheus
    start_telling client python3 deploy/demo/client.py write "$(host 1)" "$(host 2)" "$(host 3)"
    start_telling misrouted python3 deploy/demo/client.py misroute "$folder/misroute" "$(host 1)" "$(host 2)" "$(host 3)"
    welcome
    setsid setpriv --pdeathsig KILL tail -n +1 -f "$folder/told.log" &
    disown
    processes[tail]=$!

    # Goes on until one of them ends: then something is wrong. A Redis that ended is started again, as an init system does, but not
    # while a disk is full: it would only end again.
    local called
    while sleep 1; do
        for called in "${!processes[@]}"; do
            if kill -0 "${processes[$called]}" 2>/dev/null; then continue; fi
            case $called in
                node-*)
                    if [ "${ended:-}" != "${processes[$called]}" ]; then
                        ended=${processes[$called]}
                        echo "$(date +%H:%M:%S) demo: the Redis $(host "${called#node-}") ended by itself" >>"$folder/told.log"
                    fi
                    [ ! -e "$folder/full" ] || continue
                    echo "$(date +%H:%M:%S) demo: the Redis $(host "${called#node-}") is started again" >>"$folder/told.log"
                    start_node "${called#node-}"
                    save
                    ;;
                *)
                    echo "$called ended; see its log:" >&2
                    tail -n 5 "$folder/$called.log" >&2
                    exit 1
                    ;;
            esac
        done
    done
}

welcome() {
    cat <<TEXT

Rolecall      http://127.0.0.1:$rolecall
  findings    http://127.0.0.1:$rolecall/api/v1/findings
  metrics     http://127.0.0.1:$rolecall/metrics
Prometheus    http://127.0.0.1:$prometheus/alerts
Alertmanager  http://127.0.0.1:$alertmanager
Redis         $(host 1), $(host 2), $(host 3), each with a Sentinel at port 26379; redis-cli -h $(host 1)
Logs          ${state[folder]}
Diagnosis     ${state[binary]} diagnose --config.file ${state[folder]}/rolecall.toml

The rules and Alertmanager wait $factor times shorter than the shipped ones. Redis, Sentinel and Rolecall are as ever.
Below: what the client sees, and each alert as it is told. Break something in another terminal: deploy/demo.sh help
Stop everything with Ctrl-C.

TEXT
}

case ${1:-} in
    '') run ;;
    failover | demote | loop | partition | fill-disk | slow-fsync | wrong-password | hang | misroute) fault "$1" ;;
    heal) heal ;;
    help | -h | --help) usage ;;
    *)
        echo "there is no command '$1'" >&2
        usage >&2
        exit 2
        ;;
esac
