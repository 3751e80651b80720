"""Every text for the first time: what it costs to look for a row in vain and to keep it."""

from contextlib import ExitStack
from functools import partial

from .. import scrape
from ..bench import Bench, Sample, figure
from ..errors import BenchError
from ..report import OURS, Row
from ..servers import Server, started

CLIENTS = 32
FLAGS = {"cache": (), "no cache": ("--cache-mb=0",)}


def rows(bench: Bench) -> list[Row]:
    with ExitStack() as stack:
        jobs = {}
        for name, flags in FLAGS.items():
            spec = bench.ours(*flags, name=f"ours-{name.replace(' ', '-')}")
            server = stack.enter_context(started(spec, bench.logs))
            bench.check(server)
            bench.load(server, clients=CLIENTS, seconds=2)
            jobs[name] = partial(new_texts, bench, server)
        samples = bench.interleave(jobs)
    cached, uncached = (figure(samples[name], "texts/s") for name in FLAGS)
    title = f"c={CLIENTS}, no text twice"
    return [
        Row("cache", f"throughput, {title}", "texts/s", {OURS: cached}),
        Row("cache", f"throughput, {title}, --cache-mb=0", "texts/s", {OURS: uncached}),
        Row("cache", f"{title}: cache ÷ no cache", "ratio", {OURS: cached.over(uncached)}),
    ]


def new_texts(bench: Bench, server: Server) -> Sample:
    """Raises BenchError if a text was known, for then it is not the misses that were measured."""
    before = scrape.read(server)
    seen = bench.load(server, clients=CLIENTS)
    counted = scrape.rows(scrape.read(server).since(before))
    if hits := sum(counted) - counted.computed:
        raise BenchError(f"{server.spec.name}: {hits:.0f} hits among texts that were never sent")
    return {"texts/s": seen.rate, "errors": seen.errors}
