"""Nothing but hits: texts of the mean length that were asked before, over each wire.

h2load sends one body over and over, wrk goes through a few hundred texts.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from .. import agreement, corpus, h2load, scrape
from ..bench import CACHE, Bench, Sample, figure
from ..errors import BenchError
from ..grpc_body import infer_request
from ..report import OURS, Row
from ..scrape import REQUEST_SECONDS, Metrics
from ..servers import MODEL, OPENAI_BASE64, V2, Server, started
from ..wrk import Answered

CLIENTS = 64
TOLERANCE = 2  # tokens off the mean length
ROUTES = {"REST OpenAI base64": OPENAI_BASE64, "REST V2 JSON": V2}
GRPC = "gRPC V2, raw bytes"


def rows(bench: Bench) -> list[Row]:
    texts = bench.mixed.near_length(corpus.MEAN_TOKENS, TOLERANCE)
    file = corpus.write_lines(texts, CACHE / "texts" / "hits.txt")
    body = CACHE / "texts" / "hit.grpc"
    body.write_bytes(infer_request(MODEL, texts[0]))
    with started(bench.ours(name="ours-hits"), bench.logs) as server:
        fill(server, texts)
        # Once more, all from the cache: are the vectors still the right ones?
        bench.check(server)
        proven(server, partial(checked, bench, server))
        jobs: dict[str, Callable[[], Sample]] = {}
        for title, route in ROUTES.items():
            for clients in (CLIENTS, 1):
                ask = partial(bench.repeat, server, file, clients=clients, route=route)
                jobs[f"{title} {clients}"] = partial(hits, server, ask)
        jobs[f"{GRPC} {CLIENTS}"] = partial(hits, server, partial(grpc, bench, server, body))
        bench.repeat(server, file, clients=CLIENTS, seconds=2)
        samples = bench.interleave(jobs)
    table = [
        Row("cache", f"{title}, c={CLIENTS}, hits only", "hits/s", {OURS: throughput})
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
            table.append(Row("cache", f"{title}, c=1, hits only: {name}", "ms", figures))
    return table


def fill(server: Server, texts: list[str], step: int = 32) -> None:
    for start in range(0, len(texts), step):
        agreement.ask(server.port, V2, texts[start : start + step])


def checked(bench: Bench, server: Server) -> Answered:
    bench.check(server)
    return Answered(agreement.TEXTS, 1.0, 0)


def grpc(bench: Bench, server: Server, body: Path) -> Answered:
    seen = h2load.run(server.grpc_port, body, CLIENTS, bench.options.seconds)
    bench.settle([server])
    return seen


def hits(server: Server, ask: Callable[[], Answered]) -> Sample:
    seen, during = proven(server, ask)
    return {
        "hits/s": seen.rate,
        "p50 ms": seen.p50_ms,
        "server mean ms": during.mean(REQUEST_SECONDS) * 1e3,
        "server p50 ms": during.quantile(REQUEST_SECONDS, 0.5) * 1e3,
        "errors": seen.errors,
    }


def proven(server: Server, ask: Callable[[], Answered]) -> tuple[Answered, Metrics]:
    """What the client saw and what the server counted.

    Raises:
        BenchError: by the server's count not every answer was a hit.
    """
    before = scrape.read(server)
    seen = ask()
    during = scrape.read(server).since(before)
    counted = scrape.rows(during)
    if counted.computed or counted.memory < seen.requests:
        raise BenchError(
            f"{seen.requests} answers, but {counted.memory:.0f} hits and "
            f"{counted.computed:.0f} rows computed: not the hits were measured"
        )
    return seen, during
