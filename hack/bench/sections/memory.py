"""What the server holds: when ready, after real load, and whether it grows (--soak)."""

import math

from .. import process
from ..harness import Harness
from ..report import OURS, Figure, TableRow, log
from ..servers import RunningServer, started

SECTION = "memory"
CLIENTS = 64
STEP = 10_000  # requests between two readings
LOADED = 20_000
SOAK = 200_000
MEGABYTE = 1e6


def run(harness: Harness) -> list[TableRow]:
    with started(harness.ours(), harness.logs) as server:
        ready = process.memory(server.pid)
        load = _Requests(harness, server)
        readings = []
        for target in range(STEP, (SOAK if harness.options.soak else LOADED) + 1, STEP):
            load.until(target)
            readings.append(process.memory(server.pid))
            log(f"{load.done} requests: RSS {readings[-1].rss / MEGABYTE:.0f} MB")
    loaded = readings[LOADED // STEP - 1]
    rows = [
        _row(f"{name} {when}", memory, load.errors)
        for when, reading in (("when ready", ready), (f"after {LOADED} requests", loaded))
        for name, memory in (("RSS", reading.rss), ("PSS", reading.pss))
    ]
    if harness.options.soak:
        later = [reading.rss for reading in readings[LOADED // STEP :]]
        worst = max(abs(rss - loaded.rss) / loaded.rss * 100 for rss in later)
        title = f"RSS, largest deviation from {LOADED} to {SOAK} requests"
        rows.append(TableRow(SECTION, title, "%", {OURS: Figure((worst,), load.errors)}))
    return rows


def _row(title: str, value: int, errors: int) -> TableRow:
    return TableRow(SECTION, title, "MB", {OURS: Figure((value / MEGABYTE,), errors)})


class _Requests:
    """Requests in slices of time, since wrk stops by the clock and not by a count."""

    def __init__(self, harness: Harness, server: RunningServer) -> None:
        self._harness = harness
        self._server = server
        self._rate = 0.0
        self.done = 0
        self.errors = 0

    def until(self, target: int) -> None:
        while self.done < target and not self.errors:
            left = target - self.done
            seconds = math.ceil(left / self._rate) if self._rate else 2
            result = self._harness.load(self._server, clients=CLIENTS, seconds=min(seconds, 60))
            self.done += result.requests
            self.errors += result.errors
            self._rate = result.rate
