#!/usr/bin/env python3
"""Starts real servers on loopback and plays an incident, to run dashboard queries on the result.

    lab.py ROLECALL [SERVER]     starts everything, prints addresses as JSON, plays the incident and
                                 then waits; SIGTERM or SIGINT stops everything

The lab has these deployments:
- `sessions`: a primary, two replicas, three Sentinels
- `orders`: a primary with its append-only file on a small tmpfs, two replicas, endpoints
- `cache`: a cluster of three shards with one replica each
- `vault`: one server with TLS, and one with a password that Rolecall does not know; more commands
  than its limit
- `names`: a server found by its DNS name; SERVER is a newer redis-server for it

Two Rolecalls poll all of them. A Prometheus scrapes both and runs the alert rules.

The lab needs root for the tmpfs, and redis-server, redis-sentinel, redis-cli, openssl and
prometheus. It uses ports from 22300 to 23500 and takes about eight minutes. The steps of the
incident are printed to standard error. The lab stops only processes that it started.
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
SESSIONS = [23101, 23102, 23103]
SENTINELS = [23111, 23112, 23113]
ORDERS = [23201, 23202, 23203]
# The ports of the cluster bus are 10,000 higher. They must be below the ephemeral ports.
CACHE = list(range(22301, 22307))
VAULT = [23205, 23206]
NAMED = 23207
ROLECALLS = [23401, 23402]
PROMETHEUS = 23490


class Lab:
    """The processes of the lab, the load on the servers, and the incident."""

    def __init__(self, rolecall, server):
        self.rolecall, self.server = rolecall, server
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="rolecall-lab-"))
        self.disk = self.folder / "disk"
        self.processes = {}
        self.stopping = threading.Event()

    # Processes.

    def start(self, name, *command):
        log = open(self.folder / f"{name}.log", "ab")
        self.processes[name] = subprocess.Popen(
            [str(part) for part in command],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def send_signal(self, name, number):
        self.processes[name].send_signal(number)

    def end(self, name, number=signal.SIGTERM):
        """Ends a process with this signal, and waits for its exit."""
        process = self.processes.pop(name)
        process.send_signal(number)
        if number == signal.SIGTERM:
            process.send_signal(signal.SIGCONT)
        process.wait()

    def stop(self):
        self.stopping.set()
        for name in reversed(list(self.processes)):
            self.end(name, signal.SIGKILL if name.startswith("redis") else signal.SIGTERM)
        subprocess.run(["umount", "--lazy", self.disk], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    # Servers.

    def redis(self, port, *options, folder=None, server="redis-server"):
        self.start(
            f"redis-{port}",
            server,
            *("--port", port),
            *("--bind", "127.0.0.1"),
            *("--dir", folder or self.folder),
            *("--dbfilename", f"{port}.rdb"),
            *("--appenddirname", f"aof-{port}"),
            *("--save", ""),
            *("--slowlog-log-slower-than", "200"),
            *("--repl-diskless-sync-delay", "0"),
            *options,
        )

    def cache_node(self, port):
        self.redis(
            port,
            *("--cluster-enabled", "yes"),
            *("--cluster-config-file", f"nodes-{port}.conf"),
            *("--cluster-node-timeout", "2000"),
            *("--maxmemory", "6mb"),
            *("--maxmemory-policy", "allkeys-lru"),
        )

    def sentinel(self, port):
        file = self.folder / f"sentinel-{port}.conf"
        if not file.exists():
            file.write_text(
                f"port {port}\n"
                "bind 127.0.0.1\n"
                f"dir {self.folder}\n"
                f"sentinel monitor mymaster 127.0.0.1 {SESSIONS[0]} 2\n"
                "sentinel down-after-milliseconds mymaster 3000\n"
                "sentinel failover-timeout mymaster 10000\n"
            )
        self.start(f"sentinel-{port}", "redis-sentinel", file)

    def cli(self, port, *words):
        command = ["redis-cli", "-p", str(port), *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    def wait(self, event, check, seconds=40):
        """Waits until `check` returns true. Prints a warning if that takes too long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if check():
                return
            time.sleep(0.2)
        print(f"timeout: {event}", file=sys.stderr)

    def is_master(self, port):
        return "role:master" in self.cli(port, "info", "replication")

    def master_of_sessions(self):
        return next((port for port in SESSIONS if self.is_master(port)), None)

    # The deployments.

    def start_all(self):
        self.disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=96m", "rolecall-lab", self.disk]
        subprocess.run(mount, check=True)
        for port in SESSIONS:
            upstream = ["--replicaof", "127.0.0.1", SESSIONS[0]] if port != SESSIONS[0] else []
            self.redis(port, *upstream, "--maxmemory", "64mb")
        self.redis(
            ORDERS[0],
            *("--appendonly", "yes"),
            *("--auto-aof-rewrite-min-size", "100kb"),
            *("--auto-aof-rewrite-percentage", "400"),
            *("--repl-diskless-sync", "no"),
            folder=self.disk,
        )
        for port in ORDERS[1:]:
            self.redis(
                port,
                *("--replicaof", "127.0.0.1", ORDERS[0]),
                *("--appendonly", "yes" if port == ORDERS[1] else "no"),
            )
        for port in CACHE:
            self.cache_node(port)
        self.create_certificate()
        self.redis(
            VAULT[0],
            *("--tls-port", VAULT[0] + 1000),
            *("--tls-cert-file", self.folder / "cert.pem"),
            *("--tls-key-file", self.folder / "key.pem"),
            *("--tls-ca-cert-file", self.folder / "cert.pem"),
            *("--tls-auth-clients", "no"),
        )
        self.redis(VAULT[1], "--requirepass", "unknown-to-rolecall")
        self.redis(NAMED, server=self.server or "redis-server")
        ports = SESSIONS + ORDERS + CACHE
        self.wait("start", lambda: all(self.cli(port, "ping") == "PONG" for port in ports))
        for port in SENTINELS:
            self.sentinel(port)
        addresses = [f"127.0.0.1:{port}" for port in CACHE]
        create = ["redis-cli", "--cluster", "create", *addresses]
        create += ["--cluster-replicas", "1", "--cluster-yes"]
        subprocess.run(create, check=True, capture_output=True)
        self.wait(
            "cluster state ok",
            lambda: "cluster_state:ok" in self.cli(CACHE[0], "cluster", "info"),
        )
        for port in ROLECALLS:
            self.start_rolecall(port)
        self.start_prometheus()
        for load in (self.writes, self.reads, self.misplaced_writes, self.cluster_writes):
            threading.Thread(target=load, daemon=True).start()

    def create_certificate(self):
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3"]
        command += ["-subj", "/CN=localhost"]
        command += ["-addext", "subjectAltName=IP:127.0.0.1"]
        command += ["-addext", "basicConstraints=critical,CA:FALSE"]
        command += ["-keyout", self.folder / "key.pem", "-out", self.folder / "cert.pem"]
        subprocess.run(command, check=True, capture_output=True)

    def start_prometheus(self):
        targets = ", ".join(f"'127.0.0.1:{port}'" for port in ROLECALLS)
        (self.folder / "prometheus.yml").write_text(
            "global: { scrape_interval: 2s, evaluation_interval: 5s }\n"
            f"rule_files: ['{ROOT}/alerts/*.rules.yaml']\n"
            "scrape_configs:\n"
            "- job_name: rolecall\n"
            f"  static_configs: [ {{ targets: [{targets}] }} ]\n"
        )
        self.start(
            "prometheus",
            "prometheus",
            f"--config.file={self.folder}/prometheus.yml",
            f"--storage.tsdb.path={self.folder}/data",
            f"--web.listen-address=127.0.0.1:{PROMETHEUS}",
        )

    def start_rolecall(self, port, broken=False):
        """Writes the configuration of a Rolecall, and starts it if it is not running."""
        file = self.folder / f"rolecall-{port}.toml"
        file.write_text(("this is not a configuration\n" if broken else "") + self.config(port))
        if f"rolecall-{port}" not in self.processes:
            self.start(
                f"rolecall-{port}",
                *(self.rolecall, "serve"),
                *("--config.file", file),
                *("--web.listen-address", f"127.0.0.1:{port}"),
            )

    def config(self, port):
        orders = [f"redis://127.0.0.1:{node}" for node in ORDERS]
        sentinels = ", ".join(f'"redis://127.0.0.1:{node}"' for node in SENTINELS)
        return f"""
[web]
external_url = "http://127.0.0.1:{port}"

[[deployment]]
name = "orders"
labels = {{ team = "checkout" }}
nodes = [
  {{ url = "{orders[0]}", name = "orders-0", role = "master", data_dir = "{self.disk}" }},
  {{ url = "{orders[1]}", name = "orders-1", role = "replica" }},
  {{ url = "{orders[2]}", name = "orders-2" }},
]
expect = {{ replicas = 2, aof = "all" }}
cadence = {{ latencystats = "10s" }}

[deployment.endpoints]
primary = "{orders[0]}"
reader = "{orders[1]}"

[[deployment]]
name = "sessions"
labels = {{ team = "web" }}
master_name = "mymaster"
sentinels = [ {sentinels} ]
ghost_after = "30s"

[[deployment]]
name = "vault"
nodes = [
  {{ url = "rediss://127.0.0.1:{VAULT[0] + 1000}", name = "vault-0" }},
  {{ url = "redis://127.0.0.1:{VAULT[1]}", name = "vault-1" }},
]
tls = {{ ca_file = "{self.folder}/cert.pem" }}
expect = {{ masters = 2 }}
limits = {{ label_values = 1 }}

[[deployment]]
name = "names"
dns = [ "redis://localhost:{NAMED}" ]

[[deployment]]
name = "cache"
labels = {{ team = "web" }}
cluster = [ "redis://127.0.0.1:{CACHE[0]}", "redis://127.0.0.1:{CACHE[1]}" ]
"""

    # Clients.

    def client(self, port, command, pause):
        """Sends commands over one connection, and reconnects when it breaks.

        `port` is a port or a function that returns one. `command` returns the next command.
        """
        while not self.stopping.is_set():
            try:
                address = ("127.0.0.1", port() if callable(port) else port)
                with socket.create_connection(address, timeout=2) as connection:
                    for words in (
                        ("CLIENT", "SETNAME", "lab"),
                        ("CLIENT", "SETINFO", "LIB-NAME", "lab-client"),
                    ):
                        connection.sendall(self.encode(words))
                        connection.recv(65536)
                    while not self.stopping.is_set():
                        connection.sendall(self.encode(command()))
                        if not connection.recv(65536):
                            break
                        time.sleep(pause)
            except OSError:
                pass
            time.sleep(0.5)

    def start_client(self, *arguments):
        threading.Thread(target=self.client, args=arguments, daemon=True).start()

    @staticmethod
    def encode(words):
        encoded = [str(word).encode() for word in words]
        return b"*%d\r\n" % len(encoded) + b"".join(
            b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded
        )

    def writes(self):
        def write():
            key = random.randrange(5000)
            return random.choice(
                [
                    ("SET", f"k{key}", "x" * 1000),
                    ("SET", f"t{key}", "x" * 200, "EX", random.randrange(1, 40)),
                    ("INCR", f"n{key % 50}"),
                    ("LPUSH", "list", key),
                    ("LTRIM", "list", 0, 999),
                ]
            )

        self.start_client(ORDERS[0], write, 0.01)
        # Writes to the first master in the list, like a client that missed the failover.
        self.client(lambda: self.master_of_sessions() or SESSIONS[0], write, 0.01)

    def reads(self):
        def read():
            key = random.randrange(10000)
            return random.choice(
                [
                    ("GET", f"k{key}"),
                    ("GET", f"t{key}"),
                    ("LRANGE", "list", 0, 500),
                    ("SORT", "list", "ALPHA"),
                    ("NOSUCH", "command"),
                    ("INCR", "list"),
                ]
            )

        self.start_client(ORDERS[0], read, 0.02)
        self.start_client(SESSIONS[0], lambda: ("BLPOP", "never", "1"), 0.1)
        self.start_client(NAMED, read, 0.1)
        self.client(SESSIONS[1], read, 0.02)

    def misplaced_writes(self):
        """Writes to a replica."""
        self.client(ORDERS[1], lambda: ("SET", "misplaced", time.time()), 0.5)

    def cluster_writes(self):
        for port in CACHE:
            self.start_client(
                port,
                lambda: ("SET", f"c{random.randrange(100000)}", "x" * 2000),
                0.005,
            )

    # The incident.

    def step(self, text):
        print(f"{time.time():.0f} {text}", file=sys.stderr, flush=True)

    def pause(self, seconds):
        self.stopping.wait(seconds)

    def fill_disk(self):
        try:
            with open(self.disk / "ballast", "wb", buffering=0) as ballast:
                while ballast.write(bytes(4096)):
                    pass
        except OSError:
            pass

    def exceed_connections(self):
        """Opens more connections to a Rolecall than one client address may have."""
        with contextlib.ExitStack() as connections:
            for _ in range(300):
                connection = socket.create_connection(
                    ("127.0.0.1", ROLECALLS[0]), timeout=2, source_address=("127.0.0.2", 0)
                )
                connections.enter_context(connection)
            self.pause(5)

    def incident(self):
        self.step("no faults")
        self.pause(60)
        for port in ORDERS[:2]:
            self.cli(port, "bgrewriteaof")
            self.cli(port, "bgsave")
        self.pause(10)
        self.step("sessions: the primary is killed, and returns as a master")
        old = self.master_of_sessions()
        self.end(f"redis-{old}", signal.SIGKILL)
        self.wait("failover", lambda: (self.master_of_sessions() or old) != old)
        self.pause(5)
        self.redis(old, "--maxmemory", "64mb")
        writes = threading.Thread(
            target=lambda: [self.cli(old, "set", f"lost{index}", index) for index in range(40)],
            daemon=True,
        )
        writes.start()
        self.pause(25)
        self.step("orders: the tmpfs is full")
        self.fill_disk()
        self.pause(20)
        self.cli(ORDERS[0], "bgsave")
        self.cli(ORDERS[0], "bgrewriteaof")
        self.pause(20)
        (self.disk / "ballast").unlink(missing_ok=True)
        self.pause(15)
        self.step("orders: one replica has a wrong upstream, another accepts writes")
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
        slow = ["--replicaof", "127.0.0.1", ORDERS[0]]
        slow += ["--loading-process-events-interval-bytes", "1024"]
        self.end(f"redis-{ORDERS[1]}", signal.SIGTERM)
        self.redis(ORDERS[1], *slow, "--appendonly", "yes", "--key-load-delay", "2000")
        self.end(f"redis-{ORDERS[2]}", signal.SIGKILL)
        self.cli(ORDERS[0], "config", "set", "rdb-key-save-delay", "200")
        self.redis(ORDERS[2], *slow, "--key-load-delay", "500")
        self.pause(25)
        self.cli(ORDERS[0], "config", "set", "rdb-key-save-delay", "0")
        self.step("orders: too few replicas")
        self.cli(ORDERS[0], "config", "set", "min-replicas-to-write", "3")
        self.pause(15)
        self.cli(ORDERS[0], "config", "set", "min-replicas-to-write", "0")
        self.step("orders: the primary hangs")
        self.send_signal(f"redis-{ORDERS[0]}", signal.SIGSTOP)
        self.pause(20)
        self.send_signal(f"redis-{ORDERS[0]}", signal.SIGCONT)
        self.step("cache: a master is killed, then all nodes of its shard")
        master = next(port for port in CACHE if self.is_master(port))
        shard = [
            port
            for port in CACHE
            if port == master or f"master_port:{master}" in self.cli(port, "info", "replication")
        ]
        self.end(f"redis-{master}", signal.SIGKILL)
        self.pause(15)
        for port in shard[1:]:
            self.end(f"redis-{port}", signal.SIGKILL)
        self.pause(20)
        for port in shard:
            self.cache_node(port)
        self.pause(10)
        self.step("sessions: two Sentinels are killed")
        for port in SENTINELS[1:]:
            self.end(f"sentinel-{port}", signal.SIGKILL)
        self.step("a client opens too many connections to one Rolecall")
        self.exceed_connections()
        self.step("another Rolecall gets an invalid configuration, hangs, and is killed")
        second = f"rolecall-{ROLECALLS[1]}"
        self.start_rolecall(ROLECALLS[1], broken=True)
        self.send_signal(second, signal.SIGHUP)
        self.pause(25)
        self.send_signal(second, signal.SIGSTOP)
        self.pause(15)
        self.send_signal(second, signal.SIGCONT)
        self.pause(15)
        self.end(second, signal.SIGKILL)
        self.pause(15)
        for port in SENTINELS[1:]:
            self.sentinel(port)
        self.start_rolecall(ROLECALLS[1])
        self.pause(20)
        self.step("end of the incident")


@contextlib.contextmanager
def running(rolecall, server=None):
    """Starts a lab, and stops it at the end, also after an error."""
    lab = Lab(rolecall, server)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(1))
    try:
        lab.start_all()
        yield lab
    finally:
        lab.stop()


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    start = time.time()
    with running(*sys.argv[1:]) as lab:
        info = {
            "start": start,
            "prometheus": f"http://127.0.0.1:{PROMETHEUS}",
            "rolecall": [f"http://127.0.0.1:{port}" for port in ROLECALLS],
            "folder": str(lab.folder),
            "pids": {name: process.pid for name, process in lab.processes.items()},
        }
        print(json.dumps(info), flush=True)
        lab.incident()
        while True:
            lab.pause(3600)


if __name__ == "__main__":
    main()
