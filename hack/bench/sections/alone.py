"""One client and an idle server: what the server adds to the bare run of the stock graph.

The bare session has all cores, spinning threads and tokens made beforehand; our figure includes
HTTP, tokenising and pooling. A ratio under 1 means that the packed graph won more than all that
costs.
"""

from functools import partial

from .. import environments
from ..harness import Harness, Sample, figure
from ..report import IN_PROCESS, OURS, TableRow
from ..servers import RunningServer, started

SECTION = "alone"
KINDS = {"mixed": "mixed texts", "query": "queries of 16 tokens"}


def run(harness: Harness) -> list[TableRow]:
    files = {"mixed": harness.mixed_file, "query": harness.query_file}
    with started(harness.ours(), harness.logs) as server:
        harness.check(server)
        harness.load(server, clients=1, seconds=2)
        jobs = {}
        for kind in KINDS:
            jobs[f"{OURS} {kind}"] = partial(served, harness, server, kind)
            arguments = ["--model-dir", str(harness.plain_model), "--texts", str(files[kind])]
            arguments += ["--seconds", str(harness.options.seconds)]
            jobs[f"{IN_PROCESS} {kind}"] = partial(
                environments.run_measurement, harness.own_python, "bare_session", arguments
            )
        samples = harness.interleave(jobs)
    rows = []
    for kind, title in KINDS.items():
        figures = {name: figure(samples[f"{name} {kind}"], "p50_ms") for name in (OURS, IN_PROCESS)}
        ratio = figures[OURS].over(figures[IN_PROCESS])
        rows.append(TableRow(SECTION, f"p50, c=1, {title}", "ms", figures))
        rows.append(
            TableRow(SECTION, f"p50, c=1, {title}: ours ÷ plain session", "ratio", {OURS: ratio})
        )
    return rows


def served(harness: Harness, server: RunningServer, kind: str) -> Sample:
    texts = harness.query_file if kind == "query" else harness.mixed_file
    result = harness.load(server, clients=1, texts=texts)
    return {"p50_ms": result.p50_ms, "p99_ms": result.p99_ms, "errors": result.errors}
