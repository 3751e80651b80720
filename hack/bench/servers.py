"""A server under test: how it is started, when it is ready, and how a text is put to it."""

import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from .errors import BenchError
from .process import running
from .wrk import RequestTemplate

MODEL = "minilm"
START_LIMIT_S = 300
POLL_S = 0.005  # fine enough for the start-up times of the section `start`

V2 = RequestTemplate(
    f"/v2/models/{MODEL}/infer",
    '{"inputs":[{"name":"text","shape":[{n}],"datatype":"BYTES","data":[',
    "]}]}",
)
OPENAI_BASE64 = RequestTemplate(
    "/v1/embeddings", f'{{"model":"{MODEL}","encoding_format":"base64","input":[', "]}"
)


@dataclass(frozen=True)
class ServerSpec:
    """A server not yet started. `{http}` and `{grpc}` in the command stand for its ports."""

    name: str
    command: Sequence[str]
    ready_path: str
    route: RequestTemplate
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path = Path()
    smallest_cosine: float = 0.999


@dataclass(frozen=True)
class RunningServer:
    spec: ServerSpec
    process: subprocess.Popen[bytes]
    port: int
    grpc_port: int
    ready_s: float

    @property
    def pid(self) -> int:
        return self.process.pid


def ours(venv: Path, bundle: Path, variant: str, *flags: str) -> ServerSpec:
    return ServerSpec(
        "ours" if variant == "fp32" else f"ours-{variant}",
        [
            str(venv / "bin/predictor"),
            "serve",
            f"--model-dir={bundle}",
            f"--variant={variant}",
            f"--model_name={MODEL}",
            "--host=127.0.0.1",
            "--http_port={http}",
            "--grpc_port={grpc}",
            *flags,
        ],
        "/v2/health/ready",
        V2,
        {"MALLOC_ARENA_MAX": "2"},  # as in the image and hack/serve.sh
        # The least cosine to sentence-transformers: what an int8 bundle has to reach at export.
        smallest_cosine=0.999 if variant == "fp32" else 0.985,
    )


@contextmanager
def started(spec: ServerSpec, logs: Path) -> Iterator[RunningServer]:
    """The server, ready. Its output is in `logs`."""
    port, grpc_port = free_ports(2)
    command = [
        word.replace("{http}", str(port)).replace("{grpc}", str(grpc_port)) for word in spec.command
    ]
    log = logs / f"{spec.name}.log"
    started = time.monotonic()
    with running(command, spec.environment, spec.folder, log) as process:
        while not _answers(port, spec.ready_path):
            if process.poll() is not None:
                raise BenchError(f"{spec.name} ended while starting: {_tail(log)}")
            if time.monotonic() - started > START_LIMIT_S:
                raise BenchError(f"{spec.name} is not ready after {START_LIMIT_S} s: {_tail(log)}")
            time.sleep(POLL_S)
        yield RunningServer(spec, process, port, grpc_port, time.monotonic() - started)


def _answers(port: int, path: str) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _tail(log: Path) -> str:
    return f"{log}\n{log.read_text(errors='replace')[-1500:]}"


def free_ports(count: int) -> list[int]:
    """TCP ports that nobody has at this moment."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()
