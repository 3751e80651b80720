"""How much of the engine reaches the client: served tokens a second over the engine's own.

The engine alone gets the best batches there can be (all texts known, sorted by length); what lies
between is waiting, HTTP, tokenising and batches that had to take what was there.
sentence-transformers is what the same model does in a notebook.
"""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from .. import environments, scrape
from ..harness import Harness, Sample, figure
from ..report import IN_PROCESS, OURS, OURS_INT8, TableRow
from ..servers import RunningServer, started

SECTION = "efficiency"
CLIENTS = 64
KEY, IDLE = "tokens_per_second", "idle"
VARIANTS = {"fp32": OURS, "int8": OURS_INT8}


def run(harness: Harness) -> list[TableRow]:
    common = ["--texts", str(harness.mixed_file), "--seconds", str(harness.options.seconds)]
    model = ["--model-dir", str(harness.plain_model)]
    jobs: dict[str, Callable[[], Sample]] = {
        "library": partial(
            environments.run_measurement, harness.python("st"), "st_alone", model + common
        )
    }
    with ExitStack() as stack:
        for variant in VARIANTS:
            server = stack.enter_context(started(harness.ours(variant=variant), harness.logs))
            harness.check(server)
            harness.load(server, clients=CLIENTS, seconds=2)
            arguments = ["--bundle", str(harness.bundle), "--variant", variant, *common]
            jobs[f"served {variant}"] = partial(served, harness, server)
            jobs[f"engine {variant}"] = partial(
                environments.run_measurement, harness.own_python, "engine_alone", arguments
            )
        samples = harness.interleave(jobs)
    library = figure(samples["library"], KEY)
    rows = [TableRow(SECTION, "sentence-transformers, batch 32", "tokens/s", {IN_PROCESS: library})]
    for variant, column in VARIANTS.items():
        idle = figure(samples[f"served {variant}"], IDLE)
        ours, engine = (figure(samples[f"{name} {variant}"], KEY) for name in ("served", "engine"))
        rows += [
            TableRow(SECTION, f"served, c={CLIENTS}", "tokens/s", {column: ours}),
            TableRow(SECTION, "engine idle while texts waited", "share", {column: idle}),
            TableRow(SECTION, "engine alone, best batches", "tokens/s", {column: engine}),
            TableRow(SECTION, "served ÷ engine alone", "ratio", {column: ours.over(engine)}),
            TableRow(
                SECTION, "engine ÷ sentence-transformers", "ratio", {column: engine.over(library)}
            ),
        ]
    return rows


def served(harness: Harness, server: RunningServer) -> Sample:
    before = scrape.read(server)
    result = harness.load(server, clients=CLIENTS)
    during = scrape.read(server).since(before)
    tokens = harness.mixed.tokens_in_first(result.requests)
    return {
        KEY: tokens / result.seconds,
        IDLE: scrape.idle_share(during),
        "errors": result.errors,
    }
