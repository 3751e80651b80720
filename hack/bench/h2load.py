"""gRPC load by h2load: one call at a time a connection, in a closed loop.

gRPC tells of errors in trailers behind HTTP status 200, which h2load does not read. They are
counted by what is missing in the bytes instead: an error has no message.
"""

import math
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .errors import BenchError
from .wrk import LoadResult

PATH = "/inference.GRPCInferenceService/ModelInfer"
PROBES = 4


@dataclass(frozen=True)
class H2loadCounts:
    succeeded: int
    failed: int
    data_bytes: int


def run(port: int, body: Path, clients: int, seconds: float) -> LoadResult:
    probe = _h2load(port, body, 1, ["--requests", str(PROBES)])
    size = probe.data_bytes / PROBES
    if probe.succeeded != PROBES or size < 5:
        raise BenchError(f"gRPC on port {port}: no message in the answer")
    whole = math.ceil(seconds)
    counts = _h2load(port, body, clients, ["--duration", str(whole)])
    without_message = max(0, round(counts.succeeded - counts.data_bytes / size))
    return LoadResult(counts.succeeded, whole, counts.failed + without_message)


def _h2load(port: int, body: Path, clients: int, extent: list[str]) -> H2loadCounts:
    command = [
        "h2load",
        "--threads=1",
        f"--clients={clients}",
        "--max-concurrent-streams=1",
        *extent,
        f"--data={body}",
        "--header=content-type: application/grpc",
        "--header=te: trailers",
        f"http://127.0.0.1:{port}{PATH}",
    ]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return parse(done.stdout)


def parse(output: str) -> H2loadCounts:
    match = re.search(
        r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout.*?"
        r"status codes: (\d+) 2xx.*?\((\d+)\) data",
        output,
        re.DOTALL,
    )
    if match is None:
        raise BenchError(f"h2load gave no result:\n{output.strip()[-500:]}")
    succeeded, failed, errored, timeout, good, data = map(int, match.groups())
    return H2loadCounts(min(succeeded, good), max(failed, errored) + timeout, data)
