"""One client and an idle server: what the server adds to the bare run of the stock graph.

The bare session has all cores, spinning threads and tokens made beforehand; our figure includes
HTTP, tokenising and pooling. A ratio under 1 means that the packed graph won more than all that
costs.
"""

from functools import partial

from ..bench import Bench, Sample, figure, measured_by
from ..report import IN_PROCESS, OURS, Row
from ..servers import Server, started

SECTION = "alone"
KINDS = {"mixed": "mixed texts", "query": "queries of 16 tokens"}


def run(bench: Bench) -> list[Row]:
    files = {"mixed": bench.mixed_file, "query": bench.query_file}
    with started(bench.ours(), bench.logs) as server:
        bench.check(server)
        bench.load(server, clients=1, seconds=2)
        jobs = {}
        for kind in KINDS:
            jobs[f"{OURS} {kind}"] = partial(served, bench, server, kind)
            arguments = ["--model-dir", str(bench.plain_model), "--texts", str(files[kind])]
            arguments += ["--seconds", str(bench.options.seconds)]
            jobs[f"{IN_PROCESS} {kind}"] = partial(
                measured_by, bench.own_python, "bare_session", arguments
            )
        samples = bench.interleave(jobs)
    rows = []
    for kind, title in KINDS.items():
        figures = {name: figure(samples[f"{name} {kind}"], "p50_ms") for name in (OURS, IN_PROCESS)}
        ratio = figures[OURS].over(figures[IN_PROCESS])
        rows.append(Row(SECTION, f"p50, c=1, {title}", "ms", figures))
        rows.append(
            Row(SECTION, f"p50, c=1, {title}: ours ÷ plain session", "ratio", {OURS: ratio})
        )
    return rows


def served(bench: Bench, server: Server, kind: str) -> Sample:
    texts = bench.query_file if kind == "query" else bench.mixed_file
    seen = bench.load(server, clients=1, texts=texts)
    return {"p50_ms": seen.p50_ms, "p99_ms": seen.p99_ms, "errors": seen.errors}
