"""Few texts often and many seldom: what the cache gives then, also where it holds only a tenth.

Every run draws anew from the same popularity, after a long warm-up that draws too. The full cache
goes on to fill meanwhile: read its throughput with its share of hits. The small one is full, and
its share is put beside that of a cache which knows the popularity.
"""

from contextlib import ExitStack
from functools import partial

from predictor.cache.memory import ENTRY_BYTES
from predictor.engine.bundle import read_bundle

from .. import corpus, scrape, zipf
from ..bench import CACHE, Bench, Sample, figure
from ..report import OURS, Row, log
from ..servers import Server, Spec, started
from ..zipf import DISTINCT, Popularity

CLIENTS = 32
DRAWS = 100_000  # a run; a faster server begins again with the first
SMALL = DISTINCT // 10
WARM_UP = 4  # times a run
FULL, TENTH, NONE = "cache", "cache of a tenth", "no cache"


def rows(bench: Bench) -> list[Row]:
    popularity = zipf.popularity(bench.mixed)
    with ExitStack() as stack:
        jobs = {}
        for name, spec in specs(bench).items():
            log(f"warming {name}")
            traffic = Traffic(bench, stack.enter_context(started(spec, bench.logs)), popularity)
            traffic.run(2 if name == NONE else WARM_UP * bench.options.seconds)
            jobs[name] = partial(traffic.run, bench.options.seconds)
        samples = bench.interleave(jobs)
    speeds = {name: figure(samples[name], "texts/s") for name in jobs}
    shares = {name: figure(samples[name], "hit share") for name in (FULL, TENTH)}
    best = figure(samples[TENTH], "ideal share")
    title = f"Zipf over {DISTINCT} texts, c={CLIENTS}"
    table = []
    for name, speed in speeds.items():
        table.append(Row("cache", f"{title}: throughput, {name}", "texts/s", {OURS: speed}))
        if name in shares:
            share = shares[name]
            table.append(Row("cache", f"{title}: share of hits, {name}", "share", {OURS: share}))
    faster = speeds[FULL].over(speeds[NONE])
    kept = shares[TENTH].over(best)
    return [
        *table,
        Row("cache", f"{title}: throughput, cache ÷ no cache", "ratio", {OURS: faster}),
        Row("cache", f"{title}: share of hits, a tenth ÷ an ideal one", "ratio", {OURS: kept}),
    ]


def specs(bench: Bench) -> dict[str, Spec]:
    row_bytes = 4 * read_bundle(bench.bundle).dimensions + ENTRY_BYTES
    small = f"--cache-mb={SMALL * row_bytes / 2**20:.4f}"
    return {
        FULL: bench.ours(name="ours-zipf"),
        TENTH: bench.ours(small, name="ours-zipf-small"),
        NONE: bench.ours("--cache-mb=0", name="ours-zipf-no-cache"),
    }


class Traffic:
    """What one server is sent: the same draws for each server, others in each run."""

    def __init__(self, bench: Bench, server: Server, popularity: Popularity) -> None:
        self._bench, self._server, self._popularity = bench, server, popularity
        self._runs = 0

    def run(self, seconds: float) -> Sample:
        self._runs += 1
        draws = self._popularity.draws(DRAWS, seed=self._runs)
        texts = self._popularity.texts
        file = corpus.write_lines((texts[rank] for rank in draws), CACHE / "texts" / "zipf.txt")
        before = scrape.read(self._server)
        seen = self._bench.repeat(self._server, file, clients=CLIENTS, seconds=seconds)
        counted = scrape.rows(scrape.read(self._server).since(before))
        return {
            "texts/s": seen.rate,
            "hit share": counted.hit_share,
            "ideal share": zipf.ideal_share(draws[: seen.requests], SMALL),
            "errors": seen.errors,
        }
