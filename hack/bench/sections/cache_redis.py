"""The second tier: rows that another server computed, and a Redis that falls silent under load.

The server that reads has no memory tier, so every hit is one round trip to Redis. With the default
of `--cache-redis-timeout-ms` a busy event loop may miss answers that are there: the share of hits
says so, and a server that waits longer shows what the hits alone give.
"""

import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from .. import corpus, redis_server, scrape, wrk
from ..errors import BenchError
from ..harness import CACHE, Harness, Sample, figure
from ..redis_server import Redis
from ..report import OURS, TableRow, log
from ..servers import V2, RunningServer, ServerSpec, started
from ..wrk import LoadPlan
from .cache_hits import fill

CLIENTS = 32
TEXTS = 1024  # each block of 64 holds the whole distribution of lengths
PATIENCE = "--cache-redis-timeout-ms=100"
DEFAULT = "Redis alone"
PATIENT = "Redis alone, 100 ms allowed"
COMPUTED = "the same computed"


def rows(harness: Harness) -> list[TableRow]:
    texts = harness.mixed.texts[:TEXTS]
    file = corpus.write_lines(texts, CACHE / "texts" / "redis.txt")
    with redis_server.started(CACHE / "redis") as redis:
        url = f"--cache-redis-url={redis.url}"
        with started(harness.ours(url, name="ours-redis-writer"), harness.logs) as writer:
            fill(writer, texts)
            redis.wait_for_keys(TEXTS)
        specs = {
            DEFAULT: harness.ours(url, "--cache-mb=0", name="ours-redis"),
            PATIENT: harness.ours(url, "--cache-mb=0", PATIENCE, name="ours-redis-patient"),
            COMPUTED: harness.ours("--cache-mb=0", name="ours-redis-none"),
        }
        with ExitStack() as stack:
            jobs = {}
            for name, spec in specs.items():
                server = stack.enter_context(started(spec, harness.logs))
                harness.check(server)
                harness.repeat(server, file, clients=CLIENTS, seconds=2)
                jobs[name] = partial(repeated, harness, server, file)
            samples = harness.interleave(jobs)
        for name in (DEFAULT, PATIENT):
            samples[f"{name}, then stopped"] = [
                measure_redis_stopped(harness, specs[name], redis, file)
                for _ in range(harness.options.rounds)
            ]
    return table(samples)


def table(samples: dict[str, list[Sample]]) -> list[TableRow]:
    def row(name: str, title: str, unit: str) -> TableRow:
        figures = {OURS: figure(samples[name], title)}
        return TableRow("cache", f"{name}, c={CLIENTS}: {title}", unit, figures)

    lines = [
        row(name, title, unit)
        for name in (DEFAULT, PATIENT, COMPUTED)
        for title, unit in (("throughput", "texts/s"), ("share of hits", "share"), ("p99", "ms"))
        if (name, title) != (COMPUTED, "share of hits")
    ]
    computed = figure(samples[COMPUTED], "throughput")
    for name in (DEFAULT, PATIENT):
        ratio = figure(samples[name], "throughput").over(computed)
        lines.append(TableRow("cache", f"{name}, c={CLIENTS}: ÷ computed", "ratio", {OURS: ratio}))
    stopped = [
        row(f"{name}, then stopped", title, unit)
        for name in (DEFAULT, PATIENT)
        for title, unit in (("share of hits before", "share"), ("p99 of the whole run", "ms"))
    ]
    return [*lines, *stopped]


def repeated(harness: Harness, server: RunningServer, file: Path) -> Sample:
    before = scrape.read(server)
    result = harness.repeat(server, file, clients=CLIENTS)
    counted = scrape.row_sources(scrape.read(server).since(before))
    return {
        "throughput": result.rate,
        "p99": result.p99_ms,
        "share of hits": counted.redis / sum(counted) if sum(counted) else 0.0,
        "errors": result.errors,
    }


def measure_redis_stopped(harness: Harness, spec: ServerSpec, redis: Redis, file: Path) -> Sample:
    """A run of two lengths; in the second Redis is there and says nothing.

    A server of its own: a circuit that opened stays open for a while.

    Raises:
        BenchError: Redis went on answering, so nothing was shown.
    """
    seconds = harness.options.seconds
    with started(spec, harness.logs) as server:
        load = LoadPlan(file, CLIENTS, 2 * seconds, serial=None)
        with wrk.background(server.port, V2, load) as answered:
            time.sleep(seconds)
            with redis.stopped():
                middle = scrape.read(server)
                result = answered()
                end = scrape.read(server)
    before, silent = scrape.row_sources(middle), scrape.row_sources(end.since(middle))
    log(f"{spec.name}, Redis stopped: p99 {result.p99_ms:.1f} ms, {result.errors} errors")
    # What Redis had sent before it was stopped may still be counted after.
    if silent.redis > CLIENTS:
        raise BenchError(f"{silent.redis:.0f} hits from a Redis that was stopped")
    return {
        "share of hits before": before.redis / sum(before) if sum(before) else 0.0,
        "p99 of the whole run": result.p99_ms,
        "errors": result.errors,
    }
