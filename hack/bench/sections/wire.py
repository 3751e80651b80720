"""What a request costs without the model: constant vectors, everything else as it is.

Ours runs with --null-engine; the peer is KServe's stock path with the same answer. One text a
request, float vectors in JSON, base64 in OpenAI's JSON, raw bytes in gRPC.
"""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from .. import corpus, correctness, h2load, peers, servers
from ..errors import BenchError
from ..grpc_body import infer_request
from ..harness import CACHE, Harness, Sample, figure
from ..report import NAIVE_ORT, OURS, TableRow, log
from ..servers import MODEL, OPENAI_BASE64, V2, RunningServer
from ..wrk import LoadResult, RequestTemplate

SECTION = "wire"
CLIENTS = 64


def run(harness: Harness) -> list[TableRow]:
    body = CACHE / "texts" / "request.grpc"
    # h2load sends one body over and over: of the mean length, or one long text would be measured.
    text = harness.mixed.of_length(corpus.MEAN_TOKENS)
    body.parent.mkdir(parents=True, exist_ok=True)
    body.write_bytes(infer_request(MODEL, text))
    specs = {
        # The budget of a GPU, which is what a wire this fast is for.
        OURS: harness.ours("--null-engine", "--max-batch-tokens=16384"),
        NAIVE_ORT: peers.naive(harness.python("naive"), harness.plain_model, "ort", "--null"),
    }
    with ExitStack() as stack:
        jobs: dict[str, Callable[[], Sample]] = {}
        for name, spec in specs.items():
            log(f"starting {name} without an engine")
            server = stack.enter_context(servers.started(spec, harness.logs))
            jobs[f"{name} V2"] = partial(rest, harness, server, V2)
            jobs[f"{name} gRPC"] = partial(grpc, harness, server, body)
            if name == OURS:
                jobs[f"{name} OpenAI"] = partial(rest, harness, server, OPENAI_BASE64)
                probe(server, OPENAI_BASE64, text)
            probe(server, V2, text)
            harness.load(server, clients=CLIENTS, seconds=2)
        samples = harness.interleave(jobs)
    return rows(samples)


def probe(server: RunningServer, route: RequestTemplate, text: str) -> None:
    shape = correctness.embed(server.port, route, [text]).shape
    if len(shape) != 2 or shape[0] != 1 or shape[1] < 2:
        raise BenchError(f"{server.spec.name} {route.path}: vectors of shape {shape}")


def rest(harness: Harness, server: RunningServer, route: RequestTemplate) -> Sample:
    return _sample(harness.load(server, clients=CLIENTS, route=route))


def grpc(harness: Harness, server: RunningServer, body: Path) -> Sample:
    result = h2load.run(server.grpc_port, body, CLIENTS, harness.options.seconds)
    harness.wait_until_idle([server])
    return _sample(result)


def _sample(result: LoadResult) -> Sample:
    return {"requests/s": result.rate, "errors": result.errors}


def rows(samples: dict[str, list[Sample]]) -> list[TableRow]:
    titles = {"V2": "REST V2 JSON", "OpenAI": "REST OpenAI base64", "gRPC": "gRPC V2, raw bytes"}
    table = []
    for key, title in titles.items():
        figures = {
            name: figure(samples[f"{name} {key}"], "requests/s")
            for name in (OURS, NAIVE_ORT)
            if f"{name} {key}" in samples
        }
        table.append(TableRow(SECTION, f"{title}, c={CLIENTS}, no engine", "requests/s", figures))
        if len(figures) == 2:
            ratio = {NAIVE_ORT: figures[OURS].over(figures[NAIVE_ORT])}
            table.append(TableRow(SECTION, f"{title}: ours ÷ KServe's stock path", "ratio", ratio))
    return table
