"""One version takes the place of another, again and again, under load, and clients look on.

No version is kept warm, so every change loads, proves, drains and unloads. The cache is small: it
is full before the first reading of memory, and what grows then is something else.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

from .. import checker, correctness, process, versions, wrk
from ..admin import AdminClient, write_token
from ..checker import CheckerResult
from ..correctness import Rows
from ..errors import BenchError
from ..harness import CACHE, Harness
from ..report import OURS, Figure, TableRow, log
from ..servers import OPENAI_BASE64, RunningServer, started
from ..wrk import LoadPlan, LoadResult

SECTION = "reload"
CLIENTS = 16
LONGEST_S = 24 * 3600  # wrk is stopped after the last reload; it has to be told a time
UNLOAD_S = 60
GIVEN_BACK_S = 1.0
WINDOW = 5  # readings of memory that one figure is the median of
POLL_S = 0.05
MEGABYTE = 1e6
FLAGS = ("--warm-versions=0", "--cache-mb=4")


@dataclass
class Reloads:
    """seconds: of each change, until the new version answers; rss: bytes, after so many."""

    seconds: list[float] = field(default_factory=list)
    rss: dict[int, int] = field(default_factory=dict)

    def rss_near(self, number: int) -> float:
        """The median of the readings just before: one may meet a large batch."""
        return median(self.rss[n] for n in self.rss if 0 <= number - n < WINDOW)


def run(harness: Harness) -> list[TableRow]:
    token_file = CACHE / "admin-token"
    token = write_token(token_file)
    log("making two versions")
    root = versions.write_repository(harness.bundle, CACHE / "repository")
    flags = (*FLAGS, f"--admin-token-file={token_file}", f"--model-dir={root}")
    with started(harness.ours(*flags, name="ours-reload"), harness.logs) as server:
        admin = AdminClient(server, token)
        admin.load("1")
        harness.check(server)
        texts = harness.mixed.texts[: correctness.TEXTS]
        reference = correctness.embed(server.port, OPENAI_BASE64, texts)
        before, _ = under_load(
            harness, server, reference, lambda: time.sleep(harness.options.seconds)
        )
        done = Reloads()
        during, checked = under_load(
            harness,
            server,
            reference,
            lambda: reload(server, admin, done, harness.options.reloads),
        )
    log(f"checked {checked.requests} answers: {dict(checked.versions)}")
    if len(checked.versions) < len(versions.SIGN):
        raise BenchError(f"only {list(checked.versions)} answered the checker: nothing was shown")
    return rows(before, during, checked, done)


def under_load(
    harness: Harness, server: RunningServer, reference: Rows, work: Callable[[], None]
) -> tuple[LoadResult, CheckerResult]:
    """What both clients saw while `work` was done.

    Raises:
        BenchError: a request failed, or an answer was not one version's.
    """
    texts = harness.mixed.texts[: len(reference)]
    load = LoadPlan(harness.mixed_file, CLIENTS, LONGEST_S, harness.serial(server))
    with (
        wrk.background(server.port, server.spec.route, load) as running,
        checker.checking(server.port, texts, reference) as checked,
    ):
        work()
        answered = running.stop()
    harness.wait_until_idle([server])
    if answered.errors or checked.faults:
        raise BenchError(
            f"{answered.errors} of {answered.requests} requests failed, and of "
            f"{checked.requests} that were looked at {dict(checked.faults)}: {checked.first}"
        )
    return answered, checked


def reload(server: RunningServer, admin: AdminClient, done: Reloads, times: int) -> None:
    """All changes, one after another; memory is read now and then.

    Raises:
        BenchError: the version that was asked for does not answer.
    """
    points = checkpoints(times)
    for number in range(1, times + 1):
        version = "1" if number % 2 == 0 else "2"
        started = time.monotonic()
        admin.load(version)
        done.seconds.append(time.monotonic() - started)
        answer = correctness.post(server.port, OPENAI_BASE64, ["Who answers?"])
        if (named := answer.headers[checker.VERSION_HEADER]) != version:
            raise BenchError(f"version {version} was loaded, and {named} answers")
        if any(0 <= point - number < WINDOW for point in points):
            done.rss[number] = rss_when_unloaded(server, admin)
        if number in points:
            rss = done.rss_near(number) / MEGABYTE
            log(f"reload {number}/{times}: {done.seconds[-1]:.2f} s, RSS {rss:.0f} MB")


def rss_when_unloaded(server: RunningServer, admin: AdminClient) -> int:
    """With one version in memory, under load. The least within a moment after the other one was
    let go of: its memory is given back only then.
    """
    end = time.monotonic() + UNLOAD_S
    while "UNLOADING" in (states := admin.states()).values():
        if time.monotonic() > end:
            raise BenchError(f"still not unloaded after {UNLOAD_S} s: {states}")
        time.sleep(POLL_S)
    least = process.memory(server.pid).rss
    end = time.monotonic() + GIVEN_BACK_S
    while time.monotonic() < end:
        time.sleep(POLL_S)
        least = min(least, process.memory(server.pid).rss)
    return least


def checkpoints(times: int) -> list[int]:
    """After which reloads memory is read: of 100, after 10, 50 and 100."""
    return sorted({max(1, times // 10), max(1, times // 2), times})


def rows(
    before: LoadResult, during: LoadResult, checked: CheckerResult, done: Reloads
) -> list[TableRow]:
    count = len(done.seconds)
    points = checkpoints(count)
    readings = [done.rss_near(point) / MEGABYTE for point in points]
    quiet, busy = Figure((before.rate,)), Figure((during.rate,))
    lines = [
        ("reloads", "times", Figure((count,))),
        ("a reload, until the new version answers", "s", Figure(tuple(done.seconds))),
        ("the longest of them", "s", Figure((max(done.seconds),))),
        ("failed requests", "requests", Figure((during.errors,))),
        ("wrong, mixed or unnamed answers", "requests", Figure((checked.faults.total(),))),
        ("answers looked at", "requests", Figure((checked.requests,))),
        *(
            (f"RSS after reload {point}", "MB", Figure((rss,)))
            for point, rss in zip(points, readings, strict=True)
        ),
        (
            f"RSS, growth from reload {points[0]} to {points[-1]}",
            "MB",
            Figure((readings[-1] - readings[0],)),
        ),
        (f"throughput before, c={CLIENTS} and the checker", "texts/s", quiet),
        ("throughput during reloads", "texts/s", busy),
        ("throughput, during ÷ before", "ratio", busy.over(quiet)),
    ]
    return [TableRow(SECTION, name, unit, {OURS: value}) for name, unit, value in lines]
