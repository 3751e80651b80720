"""Hours of traffic, attacks, reloads, and a Redis that comes and goes: memory and vectors stay.

    python -m tests.attack.soak [--minutes 60] [--seed 1]

Prints the memory of each minute, and what clients got. The first third of the time is left out of
the judgement of the memory, because the cache fills and threads start meanwhile.
"""

import argparse
import os
import random
import shutil
import signal
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.attack.pod import resident_mb, started
from tests.attack.programs import PROGRAMS
from tests.attack.steady_client import (
    GrpcClient,
    Outcomes,
    RestClient,
    SteadyClient,
    expected_vectors,
    percentile,
)
from tests.attack.target import Target
from tests.integration.test_cache_redis import Server as Redis
from tests.serving import Server

# Seconds between two attacks, two reloads, and two changes of Redis.
ATTACK_S = 5.0
RELOAD_S = 20.0
REDIS_S = 15.0
SAMPLE_S = 0.5
CLIENTS = 4
# Statuses that say that there is too much to do; all others but 200 are unexpected.
SHED = {"200", "OK", "429", "RESOURCE_EXHAUSTED"}
# What a client may see of an attack that ends connections or gRPC's server.
INTERRUPTED = {"lost", "UNAVAILABLE", "CANCELLED"}
SPREAD = 0.02


@dataclass
class Report:
    """What came of it."""

    # MiB of each sample, and the seconds since the start at which it was taken.
    samples: list[tuple[float, float]] = field(default_factory=list)
    outcomes: list[Outcomes] = field(default_factory=list)
    attacks: Counter[str] = field(default_factory=Counter)
    reloads: int = 0
    is_alive: bool = False
    tracebacks: int = 0

    @property
    def counts(self) -> Counter[str]:
        """What clients got."""
        return sum((each.counts for each in self.outcomes), Counter())

    @property
    def wrong(self) -> int:
        """Vectors that were others than at the start."""
        return sum(each.wrong for each in self.outcomes)

    @property
    def unexpected(self) -> dict[str, int]:
        """Answers that nothing here explains."""
        return {
            status: count
            for status, count in self.counts.items()
            if status not in SHED | INTERRUPTED
        }

    def minutes(self) -> list[float]:
        """The median of each minute, MiB."""
        groups: dict[int, list[float]] = {}
        for seconds, size in self.samples:
            groups.setdefault(int(seconds // 60), []).append(size)
        return [statistics.median(group) for _, group in sorted(groups.items())]

    @property
    def spread(self) -> float:
        """By how much the minutes after the first third differ from their median, as a part."""
        minutes = self.minutes()
        late = minutes[len(minutes) // 3 :]
        middle = statistics.median(late)
        return max(abs(each - middle) for each in late) / middle


def soak(folder: Path, bundle: Path, seconds: float, seed: int) -> Report:
    """Let it run. bundle: a model directory, of which each version is a copy."""
    report = Report()
    repository = folder / "repository"
    shutil.copytree(bundle, repository / "minilm" / "1")
    with ExitStack() as stack:
        redis = Redis(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        stack.callback(redis.stop)
        server, target = stack.enter_context(
            started(
                folder,
                f"--model-dir={repository}",
                f"--cache-dir={folder}",
                "--cache-mb=32",
                f"--cache-redis-url={redis.url}",
                "--poll-interval-s=0",
            )
        )
        expected = expected_vectors(target)
        clients = [
            SteadyClient(client(target), expected, seed + number)
            for number in range(CLIENTS // 2)
            for client in (RestClient, GrpcClient)
        ]
        report.outcomes = [client.outcomes for client in clients]
        rng = random.Random(seed)
        with in_threads(
            lambda stop: _attacks(stop, target, rng, report),
            lambda stop: _reloads(stop, server, repository / "minilm", report),
            lambda stop: _restarts(stop, redis),
        ):
            for client in clients:
                stack.enter_context(client)
            _sample(server, seconds, report)
        report.is_alive = server.process.poll() is None
        report.tracebacks = sum("Traceback" in line for line in server.lines)
    return report


@contextmanager
def in_threads(*works: object) -> Iterator[None]:
    """Do the works in threads until the end."""
    stop = threading.Event()
    threads = [threading.Thread(target=work, args=(stop,)) for work in works]  # type: ignore[arg-type]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _attacks(stop: threading.Event, target: Target, rng: random.Random, report: Report) -> None:
    while not stop.wait(ATTACK_S):
        name = rng.choice(list(PROGRAMS))
        report.attacks[name] += 1
        with suppress(OSError):
            PROGRAMS[name](target)


def _reloads(stop: threading.Event, server: Server, model: Path, report: Report) -> None:
    """Add a version or take it away, and have the server look."""
    while not stop.wait(RELOAD_S):
        second = model / "2"
        if second.exists():
            shutil.rmtree(second)
        else:
            shutil.copytree(model / "1", model.parent.parent / "copy")
            (model.parent.parent / "copy").rename(second)
        server.process.send_signal(signal.SIGHUP)
        report.reloads += 1


def _restarts(stop: threading.Event, redis: Redis) -> None:
    is_running = True
    while not stop.wait(REDIS_S):
        (redis.stop if is_running else redis.start)()
        is_running = not is_running


def _sample(server: Server, seconds: float, report: Report) -> None:
    began = time.monotonic()
    while (passed := time.monotonic() - began) < seconds and server.process.poll() is None:
        report.samples.append((passed, resident_mb(server)))
        time.sleep(SAMPLE_S)


def main() -> int:
    """Run and print; 1 if anything was not as it has to be."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(os.environ["PREDICTOR_TEST_MODEL"])
        report = soak(Path(folder), bundle, options.minutes * 60, options.seed)
    seconds = [each for outcomes in report.outcomes for each in outcomes.seconds]
    print("MiB by minute:", " ".join(f"{size:.0f}" for size in report.minutes()))
    print(f"spread after the first third: {report.spread:.1%}")
    print(f"answers: {dict(report.counts)}")
    print(f"latency: p50 {percentile(seconds, 0.5):.1f} ms, p99 {percentile(seconds, 0.99):.0f} ms")
    print(f"attacks: {dict(report.attacks)}; reloads: {report.reloads}")
    print(f"wrong vectors: {report.wrong}; unexpected answers: {report.unexpected}")
    print(f"alive: {report.is_alive}; tracebacks: {report.tracebacks}")
    is_good = report.is_alive and not report.wrong and not report.unexpected
    return 0 if is_good and report.spread <= SPREAD else 1


if __name__ == "__main__":
    raise SystemExit(main())
