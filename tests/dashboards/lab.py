#!/usr/bin/env python3
"""A small fleet on loopback, and an incident, to run the queries of the dashboards on.

    lab.py ROLECALL [SERVER]     starts it, prints its addresses as JSON, and lives through the incident; stops all at SIGTERM or SIGINT

The fleet: `sessions` (a primary, two replicas, three Sentinels), `orders` (an append-only file on a small tmpfs, with two replicas and
endpoints), `cache` (a cluster, three shards with a replica each), `vault` (one server with TLS, one whose password nobody told),
`names` (a server behind a name; SERVER is a newer redis-server for it), two Rolecalls that watch all of it, and a Prometheus with the rules.
It needs root for the tmpfs, redis-server, redis-sentinel, redis-cli, openssl and prometheus, takes ports between 22300 and 23500, and about eight minutes.
Steps go to standard error as they happen. It stops only what it started.
"""

import contextlib
import json
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SESSIONS, SENTINELS, ORDERS, CACHE = [23101, 23102, 23103], [23111, 23112, 23113], [23201, 23202, 23203], list(range(22301, 22307))  # their bus is 10,000 above, below the ephemeral ports
VAULT, NAMED = [23205, 23206], 23207
ROLECALLS, PROMETHEUS = [23401, 23402], 23490


class Lab:
    def __init__(self, rolecall, server):
        self.rolecall, self.server = rolecall, server
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="rolecall-lab-"))
        self.disk = self.folder / "disk"
        self.processes = {}
        self.over = threading.Event()

    # Processes.

    def start(self, name, *command):
        log = open(self.folder / f"{name}.log", "ab")
        self.processes[name] = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)

    def end(self, name, how=signal.SIGTERM):
        process = self.processes.pop(name)
        process.send_signal(how)
        if how == signal.SIGTERM:
            process.send_signal(signal.SIGCONT)
        process.wait()

    def stop(self):
        self.over.set()
        for name in reversed(list(self.processes)):
            self.end(name, signal.SIGKILL if name.startswith("redis") else signal.SIGTERM)
        subprocess.run(["umount", "--lazy", self.disk], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    # Servers.

    def redis(self, port, *options, folder=None, server="redis-server"):
        where = folder or self.folder
        self.start(f"redis-{port}", server, "--port", port, "--bind", "127.0.0.1", "--dir", where, "--dbfilename", f"{port}.rdb",
                   "--appenddirname", f"aof-{port}", "--save", "", "--slowlog-log-slower-than", "200", "--repl-diskless-sync-delay", "0", *options)

    def cache(self, port):
        self.redis(port, "--cluster-enabled", "yes", "--cluster-config-file", f"nodes-{port}.conf", "--cluster-node-timeout", "2000",
                   "--maxmemory", "6mb", "--maxmemory-policy", "allkeys-lru")

    def sentinel(self, port):
        file = self.folder / f"sentinel-{port}.conf"
        if not file.exists():
            file.write_text(f"port {port}\nbind 127.0.0.1\ndir {self.folder}\nsentinel monitor mymaster 127.0.0.1 {SESSIONS[0]} 2\n"
                            "sentinel down-after-milliseconds mymaster 3000\nsentinel failover-timeout mymaster 10000\n")
        self.start(f"sentinel-{port}", "redis-sentinel", file)

    def cli(self, port, *words):
        return subprocess.run(["redis-cli", "-p", str(port), *map(str, words)], capture_output=True, text=True, check=False).stdout.strip()

    def wait(self, what, check, seconds=40):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if check():
                return
            time.sleep(0.2)
        print(f"{what} did not happen", file=sys.stderr)

    def master_of_sessions(self):
        return next((port for port in SESSIONS if "role:master" in self.cli(port, "info", "replication")), None)

    # The fleet.

    def up(self):
        self.disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "rolecall-lab", self.disk], check=True)
        for port in SESSIONS:
            self.redis(port, *(["--replicaof", "127.0.0.1", SESSIONS[0]] if port != SESSIONS[0] else []), "--maxmemory", "64mb")
        self.redis(ORDERS[0], "--appendonly", "yes", "--auto-aof-rewrite-min-size", "100kb", "--auto-aof-rewrite-percentage", "400", "--repl-diskless-sync", "no", folder=self.disk)
        for port in ORDERS[1:]:
            self.redis(port, "--replicaof", "127.0.0.1", ORDERS[0], "--appendonly", "yes" if port == ORDERS[1] else "no")
        for port in CACHE:
            self.cache(port)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE",
                        "-keyout", self.folder / "key.pem", "-out", self.folder / "cert.pem"], check=True, capture_output=True)
        self.redis(VAULT[0], "--tls-port", VAULT[0] + 1000, "--tls-cert-file", self.folder / "cert.pem", "--tls-key-file", self.folder / "key.pem",
                   "--tls-ca-cert-file", self.folder / "cert.pem", "--tls-auth-clients", "no")
        self.redis(VAULT[1], "--requirepass", "untold")
        self.redis(NAMED, server=self.server or "redis-server")
        self.wait("a start", lambda: all(self.cli(port, "ping") == "PONG" for port in SESSIONS + ORDERS + CACHE))
        for port in SENTINELS:
            self.sentinel(port)
        subprocess.run(["redis-cli", "--cluster", "create", *[f"127.0.0.1:{port}" for port in CACHE], "--cluster-replicas", "1", "--cluster-yes"],
                       check=True, capture_output=True)
        self.wait("the cluster", lambda: "cluster_state:ok" in self.cli(CACHE[0], "cluster", "info"))
        for port in ROLECALLS:
            self.watch(port)
        (self.folder / "prometheus.yml").write_text(
            "global: { scrape_interval: 2s, evaluation_interval: 5s }\n"
            f"rule_files: ['{ROOT}/alerts/*.rules.yaml']\n"
            "scrape_configs:\n- job_name: rolecall\n  static_configs: [ { targets: [" + ", ".join(f"'127.0.0.1:{port}'" for port in ROLECALLS) + "] } ]\n")
        self.start("prometheus", "prometheus", f"--config.file={self.folder}/prometheus.yml", f"--storage.tsdb.path={self.folder}/data",
                   f"--web.listen-address=127.0.0.1:{PROMETHEUS}")
        for load in (self.writes, self.reads, self.mistakes, self.spread):
            threading.Thread(target=load, daemon=True).start()

    def watch(self, port, broken=False):
        file = self.folder / f"rolecall-{port}.toml"
        orders = ", ".join('{ url = "redis://127.0.0.1:%d", name = "orders-%d"%s }' % (node, at, extra) for at, (node, extra) in enumerate(zip(
            ORDERS, [f', role = "master", data_dir = "{self.disk}"', ', role = "replica"', ""])))
        sentinels = ", ".join(f'"redis://127.0.0.1:{node}"' for node in SENTINELS)
        file.write_text(("this is no configuration\n" if broken else "") + f'''
[web]
external_url = "http://127.0.0.1:{port}"

[[deployment]]
name = "orders"
labels = {{ team = "checkout" }}
nodes = [ {orders} ]
expect = {{ replicas = 2, aof = "all" }}
cadence = {{ latencystats = "10s" }}
endpoints = {{ primary = "redis://127.0.0.1:{ORDERS[0]}", reader = "redis://127.0.0.1:{ORDERS[1]}" }}

[[deployment]]
name = "sessions"
labels = {{ team = "web" }}
master_name = "mymaster"
sentinels = [ {sentinels} ]
ghost_after = "30s"

[[deployment]]
name = "vault"
nodes = [ {{ url = "rediss://127.0.0.1:{VAULT[0] + 1000}", name = "vault-0" }}, {{ url = "redis://127.0.0.1:{VAULT[1]}", name = "vault-1" }} ]
tls = {{ ca_file = "{self.folder}/cert.pem" }}
expect = {{ masters = 2 }}

[[deployment]]
name = "names"
dns = [ "redis://localhost:{NAMED}" ]

[[deployment]]
name = "cache"
labels = {{ team = "web" }}
cluster = [ "redis://127.0.0.1:{CACHE[0]}", "redis://127.0.0.1:{CACHE[1]}" ]
''')
        if f"rolecall-{port}" not in self.processes:
            self.start(f"rolecall-{port}", self.rolecall, "serve", "--config.file", file, "--web.listen-address", f"127.0.0.1:{port}")

    # Clients.

    def talk(self, port, make, pause):
        """Sends one command after another over one connection, and makes a new one when it breaks."""
        while not self.over.is_set():
            try:
                with socket.create_connection(("127.0.0.1", port() if callable(port) else port), timeout=2) as wire:
                    for words in (("CLIENT", "SETNAME", "lab"), ("CLIENT", "SETINFO", "LIB-NAME", "lab-client")):
                        wire.sendall(self.encode(words))
                        wire.recv(65536)
                    while not self.over.is_set():
                        wire.sendall(self.encode(make()))
                        if not wire.recv(65536):
                            break
                        time.sleep(pause)
            except OSError:
                pass
            time.sleep(0.5)

    @staticmethod
    def encode(words):
        return b"".join([b"*%d\r\n" % len(words)] + [b"$%d\r\n%s\r\n" % (len(word), word) for word in (str(word).encode() for word in words)])

    def writes(self):
        def write():
            key = random.randrange(5000)
            return random.choice([("SET", f"k{key}", "x" * 1000), ("SET", f"t{key}", "x" * 200, "EX", random.randrange(1, 40)), ("INCR", f"n{key % 50}"),
                                  ("LPUSH", "list", key), ("LTRIM", "list", 0, 999)])
        threading.Thread(target=self.talk, args=(ORDERS[0], write, 0.01), daemon=True).start()
        # To whatever is master first: a client that did not hear of the failover.
        self.talk(lambda: self.master_of_sessions() or SESSIONS[0], write, 0.01)

    def reads(self):
        def read():
            key = random.randrange(10000)
            return random.choice([("GET", f"k{key}"), ("GET", f"t{key}"), ("LRANGE", "list", 0, 500), ("SORT", "list", "ALPHA"), ("NOSUCH", "command"),
                                  ("INCR", "list")])
        threading.Thread(target=self.talk, args=(ORDERS[0], read, 0.02), daemon=True).start()
        threading.Thread(target=self.talk, args=(SESSIONS[0], lambda: ("BLPOP", "never", "1"), 0.1), daemon=True).start()
        threading.Thread(target=self.talk, args=(NAMED, read, 0.1), daemon=True).start()
        self.talk(SESSIONS[1], read, 0.02)

    def mistakes(self):
        """One who takes a replica for the primary."""
        self.talk(ORDERS[1], lambda: ("SET", "misplaced", time.time()), 0.5)

    def spread(self):
        for port in CACHE:
            threading.Thread(target=self.talk, args=(port, lambda: ("SET", f"c{random.randrange(100000)}", "x" * 2000), 0.005), daemon=True).start()

    # The incident.

    def step(self, what):
        print(f"{time.time():.0f} {what}", file=sys.stderr, flush=True)

    def pause(self, seconds):
        self.over.wait(seconds)

    def fill(self):
        try:
            with open(self.disk / "ballast", "wb", buffering=0) as ballast:
                while ballast.write(bytes(4096)):
                    pass
        except OSError:
            pass

    def incident(self):
        self.step("quiet")
        self.pause(60)
        for port in ORDERS[:2]:
            self.cli(port, "bgrewriteaof")
            self.cli(port, "bgsave")
        self.pause(10)
        self.step("sessions: the primary is killed, and comes back as a master")
        old = self.master_of_sessions()
        self.end(f"redis-{old}", signal.SIGKILL)
        self.wait("the failover", lambda: (self.master_of_sessions() or old) != old)
        self.pause(5)
        self.redis(old, "--maxmemory", "64mb")
        writes = threading.Thread(target=lambda: [self.cli(old, "set", f"lost{at}", at) for at in range(40)], daemon=True)
        writes.start()
        self.pause(25)
        self.step("orders: the tmpfs is full")
        self.fill()
        self.pause(20)
        self.cli(ORDERS[0], "bgsave")
        self.cli(ORDERS[0], "bgrewriteaof")
        self.pause(20)
        (self.disk / "ballast").unlink(missing_ok=True)
        self.pause(15)
        self.step("orders: a replica loses its way, another takes writes")
        self.cli(ORDERS[2], "config", "set", "replica-serve-stale-data", "no")
        self.cli(ORDERS[2], "replicaof", "127.0.0.1", "1")
        self.cli(ORDERS[1], "config", "set", "replica-read-only", "no")
        self.cli(ORDERS[1], "set", "astray", 1)
        self.pause(5)
        self.cli(ORDERS[1], "config", "set", "replica-read-only", "yes")
        self.pause(30)
        self.cli(ORDERS[2], "replicaof", "127.0.0.1", ORDERS[0])
        self.pause(5)
        self.step("orders: slow saves, a replica that starts empty, another that loads slowly")
        self.cli(ORDERS[0], "config", "set", "rdb-key-save-delay", "3000")
        self.cli(ORDERS[0], "bgsave")
        self.pause(12)
        self.cli(ORDERS[0], "bgrewriteaof")
        self.pause(12)
        self.cli(ORDERS[0], "config", "set", "rdb-key-save-delay", "0")
        self.end(f"redis-{ORDERS[1]}", signal.SIGTERM)
        self.redis(ORDERS[1], "--replicaof", "127.0.0.1", ORDERS[0], "--appendonly", "yes", "--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024")
        self.end(f"redis-{ORDERS[2]}", signal.SIGKILL)
        self.cli(ORDERS[0], "config", "set", "rdb-key-save-delay", "200")
        self.redis(ORDERS[2], "--replicaof", "127.0.0.1", ORDERS[0], "--key-load-delay", "500", "--loading-process-events-interval-bytes", "1024")
        self.pause(25)
        self.cli(ORDERS[0], "config", "set", "rdb-key-save-delay", "0")
        self.step("orders: too few replicas")
        self.cli(ORDERS[0], "config", "set", "min-replicas-to-write", "3")
        self.pause(15)
        self.cli(ORDERS[0], "config", "set", "min-replicas-to-write", "0")
        self.step("orders: the primary hangs")
        self.processes[f"redis-{ORDERS[0]}"].send_signal(signal.SIGSTOP)
        self.pause(20)
        self.processes[f"redis-{ORDERS[0]}"].send_signal(signal.SIGCONT)
        self.step("cache: a master is killed, then the whole shard")
        first = next(port for port in CACHE if "role:master" in self.cli(port, "info", "replication"))
        shard = [port for port in CACHE if port == first or f"master_port:{first}" in self.cli(port, "info", "replication")]
        self.end(f"redis-{first}", signal.SIGKILL)
        self.pause(15)
        for port in shard[1:]:
            self.end(f"redis-{port}", signal.SIGKILL)
        self.pause(20)
        for port in shard:
            self.cache(port)
        self.pause(10)
        self.step("sessions: two Sentinels are killed; one Rolecall gets a bad file, hangs, and is killed")
        for port in SENTINELS[1:]:
            self.end(f"sentinel-{port}", signal.SIGKILL)
        self.watch(ROLECALLS[1], broken=True)
        self.processes[f"rolecall-{ROLECALLS[1]}"].send_signal(signal.SIGHUP)
        self.pause(25)
        self.processes[f"rolecall-{ROLECALLS[1]}"].send_signal(signal.SIGSTOP)
        self.pause(15)
        self.processes[f"rolecall-{ROLECALLS[1]}"].send_signal(signal.SIGCONT)
        self.pause(15)
        self.end(f"rolecall-{ROLECALLS[1]}", signal.SIGKILL)
        self.pause(15)
        for port in SENTINELS[1:]:
            self.sentinel(port)
        self.watch(ROLECALLS[1])
        self.pause(20)
        self.step("over")


@contextlib.contextmanager
def running(rolecall, server=None):
    """A lab that is up, and is stopped whatever happens."""
    lab = Lab(rolecall, server)
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, lambda *_: sys.exit(1))
    try:
        lab.up()
        yield lab
    finally:
        lab.stop()


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    start = time.time()
    with running(*sys.argv[1:]) as lab:
        print(json.dumps({"start": start, "prometheus": f"http://127.0.0.1:{PROMETHEUS}", "rolecall": [f"http://127.0.0.1:{port}" for port in ROLECALLS],
                          "folder": str(lab.folder), "pids": {name: process.pid for name, process in lab.processes.items()}}), flush=True)
        lab.incident()
        while True:
            lab.pause(3600)


if __name__ == "__main__":
    main()
