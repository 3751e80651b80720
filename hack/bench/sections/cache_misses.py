"""Every text for the first time: what it costs to look for a row in vain and to keep it."""

from contextlib import ExitStack
from functools import partial

from .. import scrape
from ..errors import BenchError
from ..harness import Harness, Sample, figure
from ..report import OURS, TableRow
from ..servers import RunningServer, started

CLIENTS = 32
FLAGS = {"cache": (), "no cache": ("--cache-mb=0",)}


def rows(harness: Harness) -> list[TableRow]:
    with ExitStack() as stack:
        jobs = {}
        for name, flags in FLAGS.items():
            spec = harness.ours(*flags, name=f"ours-{name.replace(' ', '-')}")
            server = stack.enter_context(started(spec, harness.logs))
            harness.check(server)
            harness.load(server, clients=CLIENTS, seconds=2)
            jobs[name] = partial(new_texts, harness, server)
        samples = harness.interleave(jobs)
    cached, uncached = (figure(samples[name], "texts/s") for name in FLAGS)
    title = f"c={CLIENTS}, no text twice"
    return [
        TableRow("cache", f"throughput, {title}", "texts/s", {OURS: cached}),
        TableRow("cache", f"throughput, {title}, --cache-mb=0", "texts/s", {OURS: uncached}),
        TableRow("cache", f"{title}: cache ÷ no cache", "ratio", {OURS: cached.over(uncached)}),
    ]


def new_texts(harness: Harness, server: RunningServer) -> Sample:
    """Raises BenchError if a text was known, for then it is not the misses that were measured."""
    before = scrape.read(server)
    result = harness.load(server, clients=CLIENTS)
    counted = scrape.row_sources(scrape.read(server).since(before))
    if hits := sum(counted) - counted.computed:
        raise BenchError(f"{server.spec.name}: {hits:.0f} hits among texts that were never sent")
    return {"texts/s": result.rate, "errors": result.errors}
