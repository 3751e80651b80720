"""HTTP load by wrk: not written in Python, so that the client takes as little as possible of the
cores that it shares with the server.

Percentiles are wrk's own. wrk adds samples for requests that a long answer held back (its
correction for coordinated omission): for every server alike, and it makes them a little worse, not
better.
"""

import json
import math
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .errors import BenchError

SCRIPT = Path(__file__).with_name("requests.lua")
TIMEOUT_S = 60


@dataclass(frozen=True)
class RequestTemplate:
    """Where texts are sent, and the JSON around them. `{n}` in the prefix is their number."""

    path: str
    prefix: str
    suffix: str

    def body(self, texts: Sequence[str]) -> bytes:
        data = ",".join(json.dumps(text) for text in texts)
        return (self.prefix.replace("{n}", str(len(texts))) + data + self.suffix).encode()


@dataclass(frozen=True)
class LoadPlan:
    """What the client sends: the texts of a file, one line after the other, round and round.

    serial: the number put before each text (see corpus.py); None: the texts go out as they are,
    pass after pass, one a request.
    """

    texts: Path
    clients: int
    seconds: float
    serial: int | None
    batch: int = 1
    priority: str | None = None
    pause_ms: int = 0


@dataclass(frozen=True)
class LoadResult:
    """What the client saw. Errors are answers other than 2xx, broken sockets and timeouts."""

    requests: int
    seconds: float
    errors: int
    p50_ms: float = math.nan
    p99_ms: float = math.nan

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


class RunningLoad:
    """wrk at work; calling it waits for its end."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(self) -> LoadResult:
        return parse(self._process.communicate()[0])

    def stop(self) -> LoadResult:
        """End it now; what it saw so far."""
        self._process.send_signal(signal.SIGINT)
        return self()


@contextmanager
def background(port: int, route: RequestTemplate, load: LoadPlan) -> Iterator[RunningLoad]:
    """Run wrk beside what the block does."""
    process = subprocess.Popen(
        _command(port, route, load), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield RunningLoad(process)
    finally:
        process.kill()
        process.wait()


def run(port: int, route: RequestTemplate, load: LoadPlan) -> LoadResult:
    with background(port, route, load) as answered:
        return answered()


def _command(port: int, route: RequestTemplate, load: LoadPlan) -> list[str]:
    options = {
        "texts": str(load.texts),
        "batch": str(load.batch),
        "path": route.path,
        "prefix": route.prefix.replace("{n}", str(load.batch)),
        "suffix": route.suffix,
        "pause": str(load.pause_ms),
    }
    if load.serial is not None:
        options["serial"] = str(load.serial)
    if load.priority:
        options["priority"] = load.priority
    return [
        "wrk",
        "--threads=1",
        f"--connections={load.clients}",
        f"--duration={math.ceil(load.seconds)}s",
        f"--timeout={TIMEOUT_S}s",
        f"--script={SCRIPT}",
        f"http://127.0.0.1:{port}{route.path}",
        "--",
        *(f"{key}={value}" for key, value in options.items()),
    ]


def parse(output: str) -> LoadResult:
    lines = [line for line in output.splitlines() if line.startswith('{"requests"')]
    if not lines:
        raise BenchError(f"wrk gave no result:\n{output.strip()[-500:]}")
    counts = json.loads(lines[-1])
    kinds = ("connect", "read", "write", "timeout", "status")
    return LoadResult(
        requests=counts["requests"],
        seconds=counts["microseconds"] / 1e6,
        # No answer at all within the time is no measurement either.
        errors=sum(counts[kind] for kind in kinds) or int(counts["requests"] == 0),
        p50_ms=counts["p50"] / 1e3,
        p99_ms=counts["p99"] / 1e3,
    )
