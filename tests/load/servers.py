"""The servers under test: how each is started, when it is ready, and how a text is put to it.

Each runs with its own defaults, as its users would start it. Where a default would be wrong rather
than slow (Infinity takes CLS pooling for a mean-pooled model), the right value is given.
"""

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
from .wrk import Route

MODEL = "minilm"
START_LIMIT_S = 300
POLL_S = 0.005  # fine enough for the start-up times of the section `start`

V2 = Route(
    f"/v2/models/{MODEL}/infer",
    '{"inputs":[{"name":"text","shape":[{n}],"datatype":"BYTES","data":[',
    "]}]}",
)
OPENAI_BASE64 = Route(
    "/v1/embeddings", f'{{"model":"{MODEL}","encoding_format":"base64","input":[', "]}"
)
INFINITY_OPENAI = Route("/embeddings", f'{{"model":"{MODEL}","input":[', "]}")


@dataclass(frozen=True)
class Spec:
    """A server not yet started. `{http}` and `{grpc}` in the command stand for its ports."""

    name: str
    command: Sequence[str]
    ready_path: str
    route: Route
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path = Path()
    smallest_cosine: float = 0.999


@dataclass(frozen=True)
class Server:
    spec: Spec
    process: subprocess.Popen[bytes]
    port: int
    grpc_port: int
    ready_s: float

    @property
    def pid(self) -> int:
        return self.process.pid


def ours(venv: Path, bundle: Path, variant: str, *flags: str) -> Spec:
    return Spec(
        "ours" if variant == "fp32" else f"ours-{variant}",
        [
            *(str(venv / "bin/predictor"), "serve", "--model-dir", str(bundle)),
            *("--variant", variant, "--model_name", MODEL),
            *("--host", "127.0.0.1", "--http_port", "{http}", "--grpc_port", "{grpc}", *flags),
        ],
        "/v2/health/ready",
        V2,
        {"MALLOC_ARENA_MAX": "2"},  # as in the image and hack/serve.sh
        # The least cosine to sentence-transformers: what an int8 bundle has to reach at export.
        smallest_cosine=0.999 if variant == "fp32" else 0.985,
    )


def infinity(python: Path, model_dir: Path, home: Path) -> Spec:
    """Started in the model's directory, with `.` as its name: this optimum wants the graph's bare
    file name, and Infinity hands it the path that it found.
    """
    return Spec(
        "infinity",
        [
            *(str(python.with_name("infinity_emb").absolute()), "v2", "--model-id", "."),
            *("--served-model-name", MODEL, "--engine", "optimum", "--device", "cpu"),
            *("--pooling-method", "mean", "--host", "127.0.0.1", "--port", "{http}"),
        ],
        "/health",
        INFINITY_OPENAI,
        {
            "DO_NOT_TRACK": "1",
            "INFINITY_ANONYMOUS_USAGE_STATS": "0",
            "HF_HUB_OFFLINE": "1",
            "HF_HOME": str(home.absolute()),
        },
        folder=model_dir,
    )


def fused_graph(home: Path) -> Path:
    """Where Infinity looks for the fused graph of the model `.`."""
    return home / "hub" / "infinity_onnx" / "CPUExecutionProvider"


def naive(python: Path, model_dir: Path, backend: str, *flags: str) -> Spec:
    return Spec(
        f"naive-{backend}",
        [
            *(str(python), "-m", "tests.load.naive_server", "--model-dir", str(model_dir)),
            *("--backend", backend, "--model_name", MODEL),
            *("--http_port", "{http}", "--grpc_port", "{grpc}", *flags),
        ],
        f"/v2/models/{MODEL}/ready",
        V2,
        {"HF_HUB_OFFLINE": "1"},
    )


@contextmanager
def started(spec: Spec, logs: Path) -> Iterator[Server]:
    """The server, ready. Its output is in `logs`."""
    port, grpc_port = free_ports(2)
    ports = {"{http}": str(port), "{grpc}": str(grpc_port)}
    command = [ports.get(word, word) for word in spec.command]
    log = logs / f"{spec.name}.log"
    begun = time.monotonic()
    with running(command, spec.environment, spec.folder, log) as process:
        while not _answers(port, spec.ready_path):
            if process.poll() is not None:
                raise BenchError(f"{spec.name} ended while starting: {_tail(log)}")
            if time.monotonic() - begun > START_LIMIT_S:
                raise BenchError(f"{spec.name} is not ready after {START_LIMIT_S} s: {_tail(log)}")
            time.sleep(POLL_S)
        yield Server(spec, process, port, grpc_port, time.monotonic() - begun)


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
