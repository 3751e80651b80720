"""What the cache costs where it cannot help, and what it gives where it can.

Aims, none of which is asserted: at most 2 % less throughput when no text comes twice; 9000 hits a
second from one process on at least one wire, the client on the same two cores; half of the single
hits within 0.2 ms of the server's own time.
"""

import subprocess

from .. import redis_server
from ..bench import Bench
from ..report import Row, log
from . import cache_hits, cache_misses, cache_redis, cache_zipf


def run(bench: Bench) -> list[Row]:
    rows = [*cache_misses.rows(bench), *cache_hits.rows(bench), *cache_zipf.rows(bench)]
    if redis_server.program() is None:
        log("no redis-server on PATH: the second tier is not measured")
    elif not has_redis(bench):
        log("the server's environment has no redis package: the second tier is not measured")
    else:
        rows += cache_redis.rows(bench)
    return rows


def has_redis(bench: Bench) -> bool:
    command = [str(bench.own_python), "-c", "import redis"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
