"""What a client sees: texts a second and latency, ours beside the peers, at rising concurrency.

All servers are up during the whole section and one at a time is under load, in shuffled order.
"""

from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

from .. import servers
from ..bench import Bench, Sample, figure
from ..report import INFINITY, NAIVE_ORT, NAIVE_ST, OURS, OURS_INT8, Figure, Row, log
from ..servers import Server

SECTION = "served"
PEERS = (INFINITY, NAIVE_ORT, NAIVE_ST)
WARM_UP_S = 2
ANSWERS_A_CLIENT = 4  # at least, so that slow servers are not judged by their first answers
LONGEST = 5  # times the usual duration of a run


class Shape(NamedTuple):
    clients: int
    batch: int = 1

    def __str__(self) -> str:
        return f"c={self.clients}" + (f", {self.batch} texts a request" if self.batch > 1 else "")


SHAPES = (Shape(1), Shape(8), Shape(32), Shape(64), Shape(256), Shape(8, 32))


def run(bench: Bench) -> list[Row]:
    model = bench.plain_model
    specs = {
        OURS: bench.ours(),
        OURS_INT8: bench.ours(variant="int8"),
        INFINITY: servers.infinity(bench.python("infinity"), model, bench.home),
        NAIVE_ORT: servers.naive(bench.python("naive"), model, "ort"),
        NAIVE_ST: servers.naive(bench.python("st"), model, "st"),
    }
    with ExitStack() as stack:
        up: dict[str, Server] = {}
        for name, spec in specs.items():
            log(f"starting {name}")
            up[name] = stack.enter_context(servers.started(spec, bench.logs))
            bench.check(up[name])
        jobs = {}
        for name, server in up.items():
            warm = bench.load(server, clients=8, seconds=WARM_UP_S)
            for shape in SHAPES:
                seconds = duration(shape, warm.rate, bench.options.seconds)
                jobs[f"{name} {shape}"] = partial(measure, bench, server, shape, seconds)
        return rows(bench.interleave(jobs))


def duration(shape: Shape, texts_per_second: float, usual: float) -> float:
    needed = ANSWERS_A_CLIENT * shape.clients * shape.batch / max(texts_per_second, 1)
    return min(max(usual, needed), LONGEST * usual)


def measure(bench: Bench, server: Server, shape: Shape, seconds: float) -> Sample:
    seen = bench.load(server, clients=shape.clients, batch=shape.batch, seconds=seconds)
    return {
        "texts/s": seen.rate * shape.batch,
        "p50 ms": seen.p50_ms,
        "p99 ms": seen.p99_ms,
        "errors": seen.errors,
    }


def rows(samples: dict[str, list[Sample]]) -> list[Row]:
    columns = (OURS, OURS_INT8, INFINITY, NAIVE_ORT, NAIVE_ST)

    def figures(shape: Shape, key: str) -> dict[str, Figure]:
        return {name: figure(samples[f"{name} {shape}"], key) for name in columns}

    table = []
    for shape in SHAPES:
        table.append(Row(SECTION, f"throughput, {shape}", "texts/s", figures(shape, "texts/s")))
        table.append(Row(SECTION, f"p50, {shape}", "ms", figures(shape, "p50 ms")))
        table.append(Row(SECTION, f"p99, {shape}", "ms", figures(shape, "p99 ms")))
    for shape in (Shape(32), Shape(8, 32)):
        speeds = figures(shape, "texts/s")
        ratios = {name: speeds[OURS].over(speeds[name]) for name in PEERS}
        table.append(Row(SECTION, f"throughput, {shape}: ours ÷ this", "ratio", ratios))
    speeds = figures(Shape(64), "texts/s")
    ratios = {name: speeds[OURS_INT8].over(speeds[name]) for name in (OURS, *PEERS)}
    table.append(Row(SECTION, "throughput, c=64: ours in int8 ÷ this", "ratio", ratios))
    slowest = figures(Shape(64), "p99 ms")
    ratios = {name: slowest[OURS].over(slowest[name]) for name in PEERS}
    table.append(Row(SECTION, "p99, c=64: ours ÷ this", "ratio", ratios))
    many, few = (figures(Shape(clients), "texts/s") for clients in (256, 8))
    scaling = {name: many[name].over(few[name]) for name in columns}
    table.append(Row(SECTION, "throughput, c=256 ÷ c=8", "ratio", scaling))
    return table
