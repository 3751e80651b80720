"""What a client sees: texts a second and latency, ours beside the peers, at rising concurrency.

All servers are up during the whole section and one at a time is under load, in shuffled order.
"""

from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

from .. import peers, servers
from ..harness import Harness, Sample, figure
from ..report import INFINITY, NAIVE_ORT, NAIVE_ST, OURS, OURS_INT8, Figure, TableRow, log
from ..servers import RunningServer

SECTION = "served"
PEERS = (INFINITY, NAIVE_ORT, NAIVE_ST)
WARM_UP_S = 2
ANSWERS_A_CLIENT = 4  # at least, so that slow servers are not judged by their first answers
LONGEST = 5  # times the usual duration of a run


class LoadShape(NamedTuple):
    clients: int
    batch: int = 1

    def __str__(self) -> str:
        return f"c={self.clients}" + (f", {self.batch} texts a request" if self.batch > 1 else "")


SHAPES = (
    LoadShape(1),
    LoadShape(8),
    LoadShape(32),
    LoadShape(64),
    LoadShape(256),
    LoadShape(8, 32),
)


def run(harness: Harness) -> list[TableRow]:
    model = harness.plain_model
    specs = {
        OURS: harness.ours(),
        OURS_INT8: harness.ours(variant="int8"),
        INFINITY: peers.infinity(harness.python("infinity"), model, harness.home),
        NAIVE_ORT: peers.naive(harness.python("naive"), model, "ort"),
        NAIVE_ST: peers.naive(harness.python("st"), model, "st"),
    }
    with ExitStack() as stack:
        up: dict[str, RunningServer] = {}
        for name, spec in specs.items():
            log(f"starting {name}")
            up[name] = stack.enter_context(servers.started(spec, harness.logs))
            harness.check(up[name])
        jobs = {}
        for name, server in up.items():
            warm = harness.load(server, clients=8, seconds=WARM_UP_S)
            for shape in SHAPES:
                seconds = duration(shape, warm.rate, harness.options.seconds)
                jobs[f"{name} {shape}"] = partial(measure, harness, server, shape, seconds)
        return rows(harness.interleave(jobs))


def duration(shape: LoadShape, texts_per_second: float, usual: float) -> float:
    needed = ANSWERS_A_CLIENT * shape.clients * shape.batch / max(texts_per_second, 1)
    return min(max(usual, needed), LONGEST * usual)


def measure(harness: Harness, server: RunningServer, shape: LoadShape, seconds: float) -> Sample:
    result = harness.load(server, clients=shape.clients, batch=shape.batch, seconds=seconds)
    return {
        "texts/s": result.rate * shape.batch,
        "p50 ms": result.p50_ms,
        "p99 ms": result.p99_ms,
        "errors": result.errors,
    }


def rows(samples: dict[str, list[Sample]]) -> list[TableRow]:
    columns = (OURS, OURS_INT8, INFINITY, NAIVE_ORT, NAIVE_ST)

    def figures(shape: LoadShape, key: str) -> dict[str, Figure]:
        return {name: figure(samples[f"{name} {shape}"], key) for name in columns}

    table = []
    for shape in SHAPES:
        table.append(
            TableRow(SECTION, f"throughput, {shape}", "texts/s", figures(shape, "texts/s"))
        )
        table.append(TableRow(SECTION, f"p50, {shape}", "ms", figures(shape, "p50 ms")))
        table.append(TableRow(SECTION, f"p99, {shape}", "ms", figures(shape, "p99 ms")))
    for shape in (LoadShape(32), LoadShape(8, 32)):
        speeds = figures(shape, "texts/s")
        ratios = {name: speeds[OURS].over(speeds[name]) for name in PEERS}
        table.append(TableRow(SECTION, f"throughput, {shape}: ours ÷ this", "ratio", ratios))
    speeds = figures(LoadShape(64), "texts/s")
    ratios = {name: speeds[OURS_INT8].over(speeds[name]) for name in (OURS, *PEERS)}
    table.append(TableRow(SECTION, "throughput, c=64: ours in int8 ÷ this", "ratio", ratios))
    slowest = figures(LoadShape(64), "p99 ms")
    ratios = {name: slowest[OURS].over(slowest[name]) for name in PEERS}
    table.append(TableRow(SECTION, "p99, c=64: ours ÷ this", "ratio", ratios))
    many, few = (figures(LoadShape(clients), "texts/s") for clients in (256, 8))
    scaling = {name: many[name].over(few[name]) for name in columns}
    table.append(TableRow(SECTION, "throughput, c=256 ÷ c=8", "ratio", scaling))
    return table
