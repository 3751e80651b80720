"""How much of the engine reaches the client: served tokens a second over the engine's own.

The engine alone gets the best batches there can be (all texts known, sorted by length); what lies
between is waiting, HTTP, tokenising and batches that had to take what was there.
sentence-transformers is what the same model does in a notebook.
"""

from functools import partial

from .. import agreement
from ..bench import BUNDLES, Bench, Sample, figure, measured_by
from ..errors import BenchError
from ..report import IN_PROCESS, OURS, Row
from ..servers import Server, started

SECTION = "efficiency"
CLIENTS = 64
KEY = "tokens_per_second"


def run(bench: Bench) -> list[Row]:
    common = ["--texts", str(bench.mixed_file), "--seconds", str(bench.options.seconds)]
    model = ["--model-dir", str(bench.plain_model)]
    with started(bench.ours(), bench.logs) as server:
        bench.check(server)
        bench.load(server, clients=CLIENTS, seconds=2)
        bundle = ["--bundles", str(BUNDLES), "--revision", revision(server)]
        samples = bench.interleave(
            {
                "served": partial(served, bench, server),
                "engine": partial(measured_by, bench.own_python, "engine_alone", bundle + common),
                "library": partial(measured_by, bench.python("st"), "st_alone", model + common),
            }
        )
    ours, engine, library = (figure(samples[name], KEY) for name in samples)
    return [
        Row(SECTION, f"served, c={CLIENTS}", "tokens/s", {OURS: ours}),
        Row(SECTION, "engine alone, best batches", "tokens/s", {IN_PROCESS: engine}),
        Row(SECTION, "sentence-transformers, batch 32", "tokens/s", {IN_PROCESS: library}),
        Row(SECTION, "served ÷ engine alone", "ratio", {OURS: ours.over(engine)}),
        Row(SECTION, "engine alone ÷ sentence-transformers", "ratio", {OURS: engine.over(library)}),
        Row(SECTION, "served ÷ sentence-transformers", "ratio", {OURS: ours.over(library)}),
    ]


def served(bench: Bench, server: Server) -> Sample:
    seen = bench.load(server, clients=CLIENTS)
    tokens = bench.mixed.tokens_in_first(seen.requests)
    return {KEY: tokens / seen.seconds, "errors": seen.errors}


def revision(server: Server) -> str:
    """Of the model that answers, so that the engine is measured on the very same bundle."""
    answer = agreement.post(server.port, server.spec.route, ["which revision?"])
    found = answer.headers.get("X-Model-Revision")
    if not found:
        raise BenchError("our server names no X-Model-Revision")
    return found
