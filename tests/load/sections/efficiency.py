"""How much of the engine reaches the client: served tokens a second over the engine's own.

The engine alone gets the best batches there can be (all texts known, sorted by length); what lies
between is waiting, HTTP, tokenising and batches that had to take what was there.
sentence-transformers is what the same model does in a notebook.
"""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from ..bench import Bench, Sample, figure, measured_by
from ..report import IN_PROCESS, OURS, OURS_INT8, Row
from ..servers import Server, started

SECTION = "efficiency"
CLIENTS = 64
KEY = "tokens_per_second"
VARIANTS = {"fp32": OURS, "int8": OURS_INT8}


def run(bench: Bench) -> list[Row]:
    common = ["--texts", str(bench.mixed_file), "--seconds", str(bench.options.seconds)]
    model = ["--model-dir", str(bench.plain_model)]
    jobs: dict[str, Callable[[], Sample]] = {
        "library": partial(measured_by, bench.python("st"), "st_alone", model + common)
    }
    with ExitStack() as stack:
        for variant in VARIANTS:
            server = stack.enter_context(started(bench.ours(variant=variant), bench.logs))
            bench.check(server)
            bench.load(server, clients=CLIENTS, seconds=2)
            arguments = ["--bundle", str(bench.bundle), "--variant", variant, *common]
            jobs[f"served {variant}"] = partial(served, bench, server)
            jobs[f"engine {variant}"] = partial(
                measured_by, bench.own_python, "engine_alone", arguments
            )
        samples = bench.interleave(jobs)
    library = figure(samples["library"], KEY)
    rows = [Row(SECTION, "sentence-transformers, batch 32", "tokens/s", {IN_PROCESS: library})]
    for variant, column in VARIANTS.items():
        ours, engine = (figure(samples[f"{name} {variant}"], KEY) for name in ("served", "engine"))
        rows += [
            Row(SECTION, f"served, c={CLIENTS}", "tokens/s", {column: ours}),
            Row(SECTION, "engine alone, best batches", "tokens/s", {column: engine}),
            Row(SECTION, "served ÷ engine alone", "ratio", {column: ours.over(engine)}),
            Row(SECTION, "engine ÷ sentence-transformers", "ratio", {column: engine.over(library)}),
        ]
    return rows


def served(bench: Bench, server: Server) -> Sample:
    seen = bench.load(server, clients=CLIENTS)
    tokens = bench.mixed.tokens_in_first(seen.requests)
    return {KEY: tokens / seen.seconds, "errors": seen.errors}
