"""What the cache costs where it cannot help, and what it gives where it can.

Aims, none of which is asserted: at most 2 % less throughput when no text comes twice; 9000 hits a
second from one process on at least one wire, the client on the same two cores; half of the single
hits within 0.2 ms of the server's own time.
"""

import subprocess

from .. import redis_server
from ..harness import Harness
from ..report import TableRow, log
from . import cache_hits, cache_misses, cache_redis, cache_zipf


def run(harness: Harness) -> list[TableRow]:
    rows = [*cache_misses.rows(harness), *cache_hits.rows(harness), *cache_zipf.rows(harness)]
    if redis_server.program() is None:
        log("no redis-server on PATH: the second tier is not measured")
    elif not has_redis(harness):
        log("the server's environment has no redis package: the second tier is not measured")
    else:
        rows += cache_redis.rows(harness)
    return rows


def has_redis(harness: Harness) -> bool:
    command = [str(harness.own_python), "-c", "import redis"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
