"""Does a user's query wait behind a nightly import? One query client, with and without ingest."""

import time
from functools import partial

from .. import wrk
from ..bench import Bench, Sample, figure
from ..report import OURS, Row
from ..servers import Server, started
from ..wrk import Load

SECTION = "lanes"
PAUSE_MS = 50  # between queries: with answers of a few ms, ten to twenty queries a second
INGEST_CLIENTS = 4
INGEST_BATCH = 32
LONGER = 3  # times the usual duration: queries are paced, and a p99 needs a few hundred of them
HEAD_START_S = 1


def run(bench: Bench) -> list[Row]:
    with started(bench.ours(), bench.logs) as server:
        bench.check(server)
        bench.load(server, clients=8, seconds=2)
        samples = bench.interleave(
            {"idle": partial(idle, bench, server), "ingest": partial(saturated, bench, server)}
        )
    quiet, busy = (figure(samples[name], "p99_ms") for name in ("idle", "ingest"))
    medians = {name: figure(samples[name], "p50_ms") for name in samples}
    ingest = figure(samples["ingest"], "ingest_texts_per_second")
    under = f"under {INGEST_CLIENTS} clients of {INGEST_BATCH} texts"
    return [
        Row(SECTION, "query p50, otherwise idle", "ms", {OURS: medians["idle"]}),
        Row(SECTION, "query p99, otherwise idle", "ms", {OURS: quiet}),
        Row(SECTION, f"query p50, {under}", "ms", {OURS: medians["ingest"]}),
        Row(SECTION, f"query p99, {under}", "ms", {OURS: busy}),
        Row(SECTION, "query p99, ingest ÷ idle", "ratio", {OURS: busy.over(quiet)}),
        Row(SECTION, "ingest meanwhile", "texts/s", {OURS: ingest}),
    ]


def idle(bench: Bench, server: Server) -> Sample:
    seconds = LONGER * bench.options.seconds
    load = Load(
        bench.query_file, 1, seconds, bench.serial(server), priority="query", pause_ms=PAUSE_MS
    )
    seen = wrk.run(server.port, server.spec.route, load)
    return {"p50_ms": seen.p50_ms, "p99_ms": seen.p99_ms, "errors": seen.errors}


def saturated(bench: Bench, server: Server) -> Sample:
    """Queries as in `idle`; the ingest starts a little earlier and ends a little later."""
    seconds = LONGER * bench.options.seconds + 2 * HEAD_START_S
    load = Load(
        bench.mixed_file,
        INGEST_CLIENTS,
        seconds,
        bench.serial(server),
        INGEST_BATCH,
        priority="ingest",
    )
    with wrk.background(server.port, server.spec.route, load) as answered:
        time.sleep(HEAD_START_S)
        sample = idle(bench, server)
        ingest = answered()
    bench.settle([server])
    sample["ingest_texts_per_second"] = ingest.rate * INGEST_BATCH
    sample["errors"] += ingest.errors
    return sample
