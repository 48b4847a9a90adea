"""Client that writes numbered keys and reports the outcome of each write.

Arguments: MODE TARGET PASSWORD CERTIFICATE PREFIX RATE
MODE is `direct` (TARGET is a file with HOST and PORT, which may change), `sentinel` (TARGET is
HOST:PORT,... of Sentinels and the master name, separated by `/`) or `cluster` (TARGET is
HOST:PORT,... of nodes). PASSWORD and CERTIFICATE (of the authority) are `-` if there is none.

Each line of output is `NUMBER ok`, `NUMBER refused CODE` or `NUMBER hung`.
"""

import sys
import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

mode, target, password, certificate, prefix, rate = sys.argv[1:7]
options = {
    "password": None if password == "-" else password,
    "protocol": 2,
    "socket_timeout": 1,
    "socket_connect_timeout": 1,
}
if certificate != "-":
    options |= {"ssl": True, "ssl_ca_certs": certificate, "ssl_check_hostname": False}


def addresses(text):
    return [(pair.split(":")[0], int(pair.split(":")[1])) for pair in text.split(",")]


def connect():
    """Returns a client, and the text that identifies its target."""
    if mode == "direct":
        text = open(target).read()
        host, port = text.split()
        client = redis.Redis(host=host, port=int(port), retry=Retry(NoBackoff(), 0), **options)
        return client, text
    if mode == "sentinel":
        sentinels, name = target.split("/")
        about_sentinels = {"protocol": 2, "socket_timeout": 1}
        group = redis.Sentinel(addresses(sentinels), sentinel_kwargs=about_sentinels)
        return group.master_for(name, retry=Retry(NoBackoff(), 0), **options), target
    nodes = [redis.cluster.ClusterNode(*address) for address in addresses(target)]
    retry = Retry(NoBackoff(), 1)
    return redis.RedisCluster(startup_nodes=nodes, retry=retry, **options), target


client, current, number = None, None, 0
while True:
    number += 1
    started = time.monotonic()
    try:
        if client is None or (mode == "direct" and open(target).read() != current):
            client, current = connect()
        client.set(prefix + str(number), number)
        outcome = "ok"
    except redis.ResponseError as error:
        outcome = "refused " + (str(error).split() or ["?"])[0]
        if isinstance(error, redis.ReadOnlyError):
            outcome = "refused READONLY"
    except Exception:  # Some of redis-py's exceptions have no common class.
        outcome = "hung"
        if mode == "cluster":
            client = None
    print(number, outcome, flush=True)
    time.sleep(max(0.0, 1 / float(rate) - (time.monotonic() - started)))
