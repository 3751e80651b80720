"""Few texts often and many seldom: what the cache gives then, also where it holds only a tenth.

Every run draws anew from the same popularity, after a long warm-up that draws too. The full cache
goes on to fill meanwhile: read its throughput with its share of hits. The small one is full, and
its share is put beside that of a cache which knows the popularity.
"""

from contextlib import ExitStack
from functools import partial

from predictor.bundle.manifest import read_bundle
from predictor.cache.memory import ENTRY_BYTES

from .. import corpus, scrape, zipf
from ..harness import CACHE, Harness, Sample, figure
from ..report import OURS, TableRow, log
from ..servers import RunningServer, ServerSpec, started
from ..zipf import DISTINCT, Popularity

CLIENTS = 32
DRAWS = 100_000  # a run; a faster server begins again with the first
SMALL = DISTINCT // 10
WARM_UP = 4  # times a run
FULL, TENTH, NONE = "cache", "cache of a tenth", "no cache"


def rows(harness: Harness) -> list[TableRow]:
    popularity = zipf.popularity(harness.mixed)
    with ExitStack() as stack:
        jobs = {}
        for name, spec in specs(harness).items():
            log(f"warming {name}")
            traffic = ZipfTraffic(
                harness, stack.enter_context(started(spec, harness.logs)), popularity
            )
            traffic.run(2 if name == NONE else WARM_UP * harness.options.seconds)
            jobs[name] = partial(traffic.run, harness.options.seconds)
        samples = harness.interleave(jobs)
    speeds = {name: figure(samples[name], "texts/s") for name in jobs}
    shares = {name: figure(samples[name], "hit share") for name in (FULL, TENTH)}
    best = figure(samples[TENTH], "ideal share")
    title = f"Zipf over {DISTINCT} texts, c={CLIENTS}"
    table = []
    for name, speed in speeds.items():
        table.append(TableRow("cache", f"{title}: throughput, {name}", "texts/s", {OURS: speed}))
        if name in shares:
            share = shares[name]
            table.append(
                TableRow("cache", f"{title}: share of hits, {name}", "share", {OURS: share})
            )
    faster = speeds[FULL].over(speeds[NONE])
    kept = shares[TENTH].over(best)
    return [
        *table,
        TableRow("cache", f"{title}: throughput, cache ÷ no cache", "ratio", {OURS: faster}),
        TableRow("cache", f"{title}: share of hits, a tenth ÷ an ideal one", "ratio", {OURS: kept}),
    ]


def specs(harness: Harness) -> dict[str, ServerSpec]:
    row_bytes = 4 * read_bundle(harness.bundle).dimensions + ENTRY_BYTES
    small = f"--cache-mb={SMALL * row_bytes / 2**20:.4f}"
    return {
        FULL: harness.ours(name="ours-zipf"),
        TENTH: harness.ours(small, name="ours-zipf-small"),
        NONE: harness.ours("--cache-mb=0", name="ours-zipf-no-cache"),
    }


class ZipfTraffic:
    """What one server is sent: the same draws for each server, others in each run."""

    def __init__(self, harness: Harness, server: RunningServer, popularity: Popularity) -> None:
        self._harness = harness
        self._server = server
        self._popularity = popularity
        self._runs = 0

    def run(self, seconds: float) -> Sample:
        self._runs += 1
        draws = self._popularity.draws(DRAWS, seed=self._runs)
        texts = self._popularity.texts
        file = corpus.write_lines((texts[rank] for rank in draws), CACHE / "texts" / "zipf.txt")
        before = scrape.read(self._server)
        result = self._harness.repeat(self._server, file, clients=CLIENTS, seconds=seconds)
        counted = scrape.row_sources(scrape.read(self._server).since(before))
        return {
            "texts/s": result.rate,
            "hit share": counted.hit_share,
            "ideal share": zipf.ideal_share(draws[: result.requests], SMALL),
            "errors": result.errors,
        }
