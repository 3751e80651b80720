"""Nothing but hits: texts of the mean length that were asked before, over each wire.

h2load sends one body over and over, wrk goes through a few hundred texts.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from .. import corpus, correctness, h2load, scrape
from ..errors import BenchError
from ..grpc_body import infer_request
from ..harness import CACHE, Harness, Sample, figure
from ..report import OURS, TableRow
from ..scrape import REQUEST_SECONDS, Metrics
from ..servers import MODEL, OPENAI_BASE64, V2, RunningServer, started
from ..wrk import LoadResult

CLIENTS = 64
TOLERANCE = 2  # tokens off the mean length
ROUTES = {"REST OpenAI base64": OPENAI_BASE64, "REST V2 JSON": V2}
GRPC = "gRPC V2, raw bytes"


def rows(harness: Harness) -> list[TableRow]:
    texts = harness.mixed.near_length(corpus.MEAN_TOKENS, TOLERANCE)
    file = corpus.write_lines(texts, CACHE / "texts" / "hits.txt")
    body = CACHE / "texts" / "hit.grpc"
    body.write_bytes(infer_request(MODEL, texts[0]))
    with started(harness.ours(name="ours-hits"), harness.logs) as server:
        fill(server, texts)
        # Once more, all from the cache: are the vectors still the right ones?
        harness.check(server)
        measure_hits(server, partial(checked, harness, server))
        jobs: dict[str, Callable[[], Sample]] = {}
        for title, route in ROUTES.items():
            for clients in (CLIENTS, 1):
                ask = partial(harness.repeat, server, file, clients=clients, route=route)
                jobs[f"{title} {clients}"] = partial(hits, server, ask)
        jobs[f"{GRPC} {CLIENTS}"] = partial(hits, server, partial(grpc, harness, server, body))
        harness.repeat(server, file, clients=CLIENTS, seconds=2)
        samples = harness.interleave(jobs)
    table = [
        TableRow("cache", f"{title}, c={CLIENTS}, hits only", "hits/s", {OURS: throughput})
        for title in (*ROUTES, GRPC)
        for throughput in [figure(samples[f"{title} {CLIENTS}"], "hits/s")]
    ]
    for title in ROUTES:
        alone = samples[f"{title} 1"]
        for name, key in (
            ("p50 at the client", "p50 ms"),
            ("mean in the server", "server mean ms"),
            ("p50 in the server, within its bucket", "server p50 ms"),
        ):
            figures = {OURS: figure(alone, key)}
            table.append(TableRow("cache", f"{title}, c=1, hits only: {name}", "ms", figures))
    return table


def fill(server: RunningServer, texts: list[str], step: int = 32) -> None:
    for start in range(0, len(texts), step):
        correctness.embed(server.port, V2, texts[start : start + step])


def checked(harness: Harness, server: RunningServer) -> LoadResult:
    harness.check(server)
    return LoadResult(correctness.TEXTS, 1.0, 0)


def grpc(harness: Harness, server: RunningServer, body: Path) -> LoadResult:
    result = h2load.run(server.grpc_port, body, CLIENTS, harness.options.seconds)
    harness.wait_until_idle([server])
    return result


def hits(server: RunningServer, ask: Callable[[], LoadResult]) -> Sample:
    result, during = measure_hits(server, ask)
    return {
        "hits/s": result.rate,
        "p50 ms": result.p50_ms,
        "server mean ms": during.mean(REQUEST_SECONDS) * 1e3,
        "server p50 ms": during.quantile(REQUEST_SECONDS, 0.5) * 1e3,
        "errors": result.errors,
    }


def measure_hits(
    server: RunningServer, ask: Callable[[], LoadResult]
) -> tuple[LoadResult, Metrics]:
    """What the client saw and what the server counted.

    Raises:
        BenchError: by the server's count not every answer was a hit.
    """
    before = scrape.read(server)
    result = ask()
    during = scrape.read(server).since(before)
    counted = scrape.row_sources(during)
    if counted.computed or counted.memory < result.requests:
        raise BenchError(
            f"{result.requests} answers, but {counted.memory:.0f} hits and "
            f"{counted.computed:.0f} rows computed: not the hits were measured"
        )
    return result, during
