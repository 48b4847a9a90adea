"""Client of the demo. Gets the primary from the Sentinels, as applications do, and prints changes.

    client.py write HOST...          writes to the primary ten times a second
    client.py misroute FLAG HOST...  writes to a replica five times a second while the file FLAG
                                     exists

A Sentinel runs on port 26379 of each host. With the Python package `redis` the client keeps its
connection. Without it, the client runs redis-cli for each write.
"""

import os
import subprocess
import sys
import time

try:
    import redis
    import redis.sentinel
except ImportError:
    redis = None

NAME = "shop"
# Number of acknowledged writes that are read again after a change of the primary.
REMEMBERED = 3000


class Library:
    """redis-py without retries, so that every error is visible."""

    def __init__(self, hosts):
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        options = {"socket_timeout": 1, "socket_connect_timeout": 1, "retry": Retry(NoBackoff(), 0)}
        sentinels = [(host, 26379) for host in hosts]
        self.sentinel = redis.sentinel.Sentinel(sentinels, sentinel_kwargs=options, **options)
        self.primary = self.sentinel.master_for(NAME, client_name="shop")
        self.replica = None

    def write(self, key, value):
        self.primary.set(key, value)

    def read(self, keys):
        return [None if value is None else value.decode() for value in self.primary.mget(keys)]

    def where(self):
        return self.primary.connection_pool.master_address[0]

    def misroute(self):
        if self.replica is None:
            host, port = self.sentinel.discover_slaves(NAME)[0]
            options = {"client_name": "reports", "socket_timeout": 1}
            self.replica = redis.Redis(host=host, port=port, **options)
        self.replica.set("report", "1")


class Command:
    """redis-cli."""

    def __init__(self, hosts):
        self.hosts = hosts
        self.address = None

    def write(self, key, value):
        try:
            self.address = self.address or self.discover()
            self.run(self.address, "SET", key, value)
        except Exception:
            self.address = None
            raise

    def read(self, keys):
        return self.run(self.address, "MGET", *keys).split("\n")

    def where(self):
        return self.address[0]

    def misroute(self):
        fields = self.ask("SENTINEL", "REPLICAS", NAME)
        self.run((fields[fields.index("ip") + 1], 6379), "SET", "report", "1")

    def discover(self):
        host, port = self.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)
        return host, int(port)

    def ask(self, *request):
        for host in self.hosts:
            try:
                return self.run((host, 26379), *request).split("\n")
            except RuntimeError:
                pass
        raise RuntimeError("no Sentinel replies")

    @staticmethod
    def run(address, *request):
        command = ["redis-cli", "-e", "-h", address[0], "-p", str(address[1]), *request]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=1, check=False)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"timeout at {address[0]}") from None
        if done.returncode:
            raise RuntimeError((done.stderr + done.stdout).strip().removeprefix("(error) "))
        # A missing key is an empty line.
        return done.stdout.removesuffix("\n")


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def brief(error):
    return " ".join(str(error).split())[:150] or type(error).__name__


def write(client):
    last, where, failed, since, acknowledged, number = None, None, 0, 0.0, {}, 0
    while True:
        begun = time.monotonic()
        number += 1
        key, value = f"order:{number % REMEMBERED}", str(number)
        try:
            client.write(key, value)
            if last is not None:
                seconds = time.monotonic() - since
                failures = f"{failed} failed in {seconds:.1f} s"
                say(f"client: {client.where()} accepts writes again; {failures}")
            elif client.where() != where:
                say(f"client: {client.where()} accepts writes")
            last, failed = None, 0
            if where not in (None, client.where()):
                keys = list(acknowledged)
                values = client.read(keys)
                lost = sum(acknowledged[key] != found for key, found in zip(keys, values))
                say(f"client: {lost} of the last {len(keys)} acknowledged writes are lost")
                acknowledged.clear()
            where = client.where()
            acknowledged[key] = value
        except Exception as error:  # the demo shows every error of a client
            text = brief(error)
            if last is None:
                since = begun
            if text != last:
                say(f"client: {text}")
            last, failed = text, failed + 1
        time.sleep(max(0.0, begun + 0.1 - time.monotonic()))


def misroute(client, flag):
    last = None
    while True:
        time.sleep(0.2)
        if not os.path.exists(flag):
            if last is not None:
                say("misrouted client: stopped")
            last = None
            client.replica = None
            continue
        try:
            client.misroute()
            text = "the replica accepted a write"
        except Exception as error:  # as above
            text = brief(error)
        if text != last:
            say(f"misrouted client: {text}")
        last = text


if sys.argv[1] == "write":
    write((Library if redis else Command)(sys.argv[2:]))
else:
    misroute((Library if redis else Command)(sys.argv[3:]), sys.argv[2])
