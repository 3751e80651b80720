"""Does a user's query wait behind a nightly import? One query client, with and without ingest."""

import time
from functools import partial

from .. import wrk
from ..harness import Harness, Sample, figure
from ..report import OURS, TableRow
from ..servers import RunningServer, started
from ..wrk import LoadPlan

SECTION = "lanes"
PAUSE_MS = 50  # between queries: with answers of a few ms, ten to twenty queries a second
INGEST_CLIENTS = 4
INGEST_BATCH = 32
LONGER = 3  # times the usual duration: queries are paced, and a p99 needs a few hundred of them
HEAD_START_S = 1


def run(harness: Harness) -> list[TableRow]:
    with started(harness.ours(), harness.logs) as server:
        harness.check(server)
        harness.load(server, clients=8, seconds=2)
        samples = harness.interleave(
            {"idle": partial(idle, harness, server), "ingest": partial(saturated, harness, server)}
        )
    quiet, busy = (figure(samples[name], "p99_ms") for name in ("idle", "ingest"))
    medians = {name: figure(samples[name], "p50_ms") for name in samples}
    ingest = figure(samples["ingest"], "ingest_texts_per_second")
    under = f"under {INGEST_CLIENTS} clients of {INGEST_BATCH} texts"
    return [
        TableRow(SECTION, "query p50, otherwise idle", "ms", {OURS: medians["idle"]}),
        TableRow(SECTION, "query p99, otherwise idle", "ms", {OURS: quiet}),
        TableRow(SECTION, f"query p50, {under}", "ms", {OURS: medians["ingest"]}),
        TableRow(SECTION, f"query p99, {under}", "ms", {OURS: busy}),
        TableRow(SECTION, "query p99, ingest ÷ idle", "ratio", {OURS: busy.over(quiet)}),
        TableRow(SECTION, "ingest meanwhile", "texts/s", {OURS: ingest}),
    ]


def idle(harness: Harness, server: RunningServer) -> Sample:
    seconds = LONGER * harness.options.seconds
    load = LoadPlan(
        harness.query_file, 1, seconds, harness.serial(server), priority="query", pause_ms=PAUSE_MS
    )
    result = wrk.run(server.port, server.spec.route, load)
    return {"p50_ms": result.p50_ms, "p99_ms": result.p99_ms, "errors": result.errors}


def saturated(harness: Harness, server: RunningServer) -> Sample:
    """Queries as in `idle`; the ingest starts a little earlier and ends a little later."""
    seconds = LONGER * harness.options.seconds + 2 * HEAD_START_S
    load = LoadPlan(
        harness.mixed_file,
        INGEST_CLIENTS,
        seconds,
        harness.serial(server),
        INGEST_BATCH,
        priority="ingest",
    )
    with wrk.background(server.port, server.spec.route, load) as answered:
        time.sleep(HEAD_START_S)
        sample = idle(harness, server)
        ingest = answered()
    harness.wait_until_idle([server])
    sample["ingest_texts_per_second"] = ingest.rate * INGEST_BATCH
    sample["errors"] += ingest.errors
    return sample
