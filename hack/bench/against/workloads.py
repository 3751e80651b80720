"""What both sides are put under, section by section.

Texts of the section `served` never come twice, so that it also has what the cache costs where it
cannot help. Redis and Zipf's traffic are left out: the share of hits moves there from run to run.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from .. import corpus, correctness
from ..errors import BenchError
from ..grpc_body import infer_request
from ..harness import CACHE, Harness, Sample
from ..report import log
from ..sections import cache_hits, served, wire
from ..servers import MODEL, OPENAI_BASE64, V2, RunningServer
from ..wrk import LoadResult, RequestTemplate
from .flags import MAX_BATCH_TOKENS, NULL_ENGINE, Flag
from .schedule import BASELINE, CANDIDATE, Side

LEAST_COSINE = 0.9999
CLIENTS = 64
WARM_UP_S = 2
LATENCIES = {"p50 ms"}  # less is better

Servers = Mapping[Side, RunningServer]


@dataclass(frozen=True)
class Workload:
    """One run on one server; `units` are the keys of its sample that are compared."""

    name: str
    units: tuple[str, ...]
    measure: Callable[[RunningServer], Sample]


@dataclass(frozen=True)
class SectionPlan:
    """flags: of the servers, beside the common ones. prepare: checks and warms both servers."""

    flags: Sequence[tuple[Flag, str | None]]
    prepare: Callable[[Harness, Servers], list[Workload]]


def prepare_served(harness: Harness, servers: Servers) -> list[Workload]:
    check_same_vectors(harness, servers)
    warm = [harness.load(server, clients=8, seconds=WARM_UP_S).rate for server in servers.values()]
    workloads = []
    for shape in served.SHAPES:
        # The slower side decides how long both run.
        seconds = served.duration(shape, min(warm), harness.options.seconds)
        run = partial(_served, harness, shape=shape, seconds=seconds)
        units = ("texts/s", "p50 ms") if shape.clients == 1 else ("texts/s",)
        workloads.append(Workload(str(shape), units, run))
    return workloads


def prepare_wire(harness: Harness, servers: Servers) -> list[Workload]:
    text = harness.mixed.of_length(corpus.MEAN_TOKENS)
    body = CACHE / "texts" / "request.grpc"
    body.parent.mkdir(parents=True, exist_ok=True)
    body.write_bytes(infer_request(MODEL, text))
    for server in servers.values():
        wire.probe(server, V2, text)
        wire.probe(server, OPENAI_BASE64, text)
        harness.load(server, clients=wire.CLIENTS, seconds=WARM_UP_S)
    units = ("requests/s",)

    def rest(route: RequestTemplate) -> Callable[[RunningServer], Sample]:
        return lambda server: wire.rest(harness, server, route)

    return [
        Workload("REST V2 JSON, no engine", units, rest(V2)),
        Workload("REST OpenAI base64, no engine", units, rest(OPENAI_BASE64)),
        Workload("gRPC V2, no engine", units, lambda server: wire.grpc(harness, server, body)),
    ]


def prepare_cache(harness: Harness, servers: Servers) -> list[Workload]:
    check_same_vectors(harness, servers)
    texts = harness.mixed.near_length(corpus.MEAN_TOKENS, cache_hits.TOLERANCE)
    file = corpus.write_lines(texts, CACHE / "texts" / "hits.txt")
    body = CACHE / "texts" / "hit.grpc"
    body.write_bytes(infer_request(MODEL, texts[0]))
    for server in servers.values():
        cache_hits.fill(server, texts)
        harness.repeat(server, file, clients=CLIENTS, seconds=WARM_UP_S)

    def rest(route: RequestTemplate, clients: int) -> Callable[[RunningServer], Sample]:
        return lambda server: hits(harness.repeat(server, file, clients=clients, route=route))

    def grpc(server: RunningServer) -> Sample:
        return hits(cache_hits.grpc(harness, server, body))

    return [
        Workload(f"REST OpenAI base64, c={CLIENTS}", ("hits/s",), rest(OPENAI_BASE64, CLIENTS)),
        Workload(f"REST V2 JSON, c={CLIENTS}", ("hits/s",), rest(V2, CLIENTS)),
        Workload(f"gRPC V2, c={CLIENTS}", ("hits/s",), grpc),
        Workload("REST OpenAI base64, c=1", ("hits/s", "p50 ms"), rest(OPENAI_BASE64, 1)),
    ]


SECTIONS = {
    "served": SectionPlan((), prepare_served),
    "wire": SectionPlan(((NULL_ENGINE, None), (MAX_BATCH_TOKENS, "16384")), prepare_wire),
    "cache": SectionPlan((), prepare_cache),
}


def check_same_vectors(harness: Harness, servers: Servers) -> None:
    """Raises BenchError if the two sides answer different vectors: then speed says nothing."""
    texts = harness.mixed.texts[: correctness.TEXTS]
    rows = {
        side: correctness.embed(server.port, server.spec.route, texts)
        for side, server in servers.items()
    }
    cosine = correctness.smallest_cosine(rows[CANDIDATE], rows[BASELINE])
    log(f"smallest cosine between the two sides {cosine:.6f}")
    if not cosine > LEAST_COSINE:
        raise BenchError(f"the two sides answer different vectors: cosine {cosine:.5f}")


def hits(result: LoadResult) -> Sample:
    return {"hits/s": result.rate, "p50 ms": result.p50_ms, "errors": result.errors}


def _served(
    harness: Harness, server: RunningServer, *, shape: served.LoadShape, seconds: float
) -> Sample:
    return served.measure(harness, server, shape, seconds)
