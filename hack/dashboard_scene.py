"""Make some minutes of real life to draw the dashboards from.

A stable and a canary server with a Redis, scraped by a real Prometheus with the chart's rules,
under mixed load. Then things go wrong one after the other: deadlines that pass, a burst that fills
the queue, other texts than before, a Redis that dies, a version that cannot be loaded. Prometheus
goes on, its URL on standard output, until a line on standard input or its end, so that
hack/dashboard_pictures.py can draw. Needs helm (hack/tools.sh), prometheus and redis-server
(Debian), the package with its test extra, and the model of hack/serve.sh.
"""

import argparse
import contextlib
import http.client
import json
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / ".cache/models/all-MiniLM-L6-v2"
PROMETHEUS, REDIS = 19290, 19291
# Deployment: REST port, gRPC port, version, share of the requests.
DEPLOYMENTS = {
    "minilm-predictor": (19280, 19281, "1", 0.8),
    "minilm-v2-predictor": (19282, 19283, "2", 0.2),
}
WORDS = ("guitar", "river", "invoice", "database", "recipe", "winter", "string", "bridge", "music")
STRANGE = ("книга", "стол", "окно", "дерево", "лампа", "вода", "письмо", "город", "дорога")
# Seconds from the start: from when to when.
SLOW, DEADLINES, OTHER_TEXTS, BURST = (150, 180), (190, 215), (215, 400), (225, 245)
NO_REDIS, BAD_VERSION, END = 270, 290, 400


def during(phase: tuple[int, int], at: float) -> bool:
    return phase[0] <= at < phase[1]


def configuration(folder: Path) -> Path:
    """Prometheus' own, with the labels that the chart's ServiceMonitor gives."""
    helm = [ROOT / ".cache/tools/helm", "template", "scene", ROOT / "charts/embedding-runtime"]
    sets = [
        "--set",
        "image.repository=x,rules.enabled=true",
        "--show-only",
        "templates/prometheusrule.yaml",
    ]
    made = subprocess.run([*helm, *sets], capture_output=True, text=True, check=True)
    (folder / "rules.yaml").write_text(yaml.safe_dump(yaml.safe_load(made.stdout)["spec"]))
    targets = [
        {
            "targets": [f"127.0.0.1:{ports[0]}"],
            "labels": {"namespace": "search", "deployment": name, "pod": f"{name}-7c9d8-abcde"},
        }
        for name, ports in DEPLOYMENTS.items()
    ]
    config = {
        "global": {"scrape_interval": "2s", "evaluation_interval": "5s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [{"job_name": "predictor", "static_configs": targets}],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    return folder / "prometheus.yaml"


def serve(name: str, folder: Path) -> list[str]:
    """The command of one server; its model directory has one version."""
    rest, grpc, version, _ = DEPLOYMENTS[name]
    models = folder / name
    models.mkdir(exist_ok=True)
    shutil.copytree(MODEL, models / version, dirs_exist_ok=True)
    return [
        str(Path(sys.executable).with_name("predictor")), "serve", f"--model-dir={models}",
        "--model-name=minilm", f"--cache-dir={folder / 'bundles'}", "--threads=1",
        "--host=127.0.0.1", f"--http-port={rest}", f"--grpc-port={grpc}",
        "--max-queue-tokens=6000", "--cache-mb=8",
        f"--cache-redis-url=redis://127.0.0.1:{REDIS}", "--canonical-interval=15",
        "--drift-window=15", "--drift-learn=60", f"--drift-dir={folder / name}-drift",
        "--poll-interval=2", "--version-policy=latest:1", "--drain-delay=0",
    ]  # fmt: skip


def body(protocol: str, texts: list[str], at: float) -> tuple[str, dict[str, object]]:
    """Path and JSON of one request."""
    if protocol == "openai":
        return "/v1/embeddings", {"model": "minilm", "input": texts}
    if protocol == "tei":
        return "/embed", {"inputs": texts}
    tensor = {"name": "text", "shape": [len(texts)], "datatype": "BYTES", "data": texts}
    asked: dict[str, object] = {"inputs": [tensor]}
    if during(DEADLINES, at) and random.random() < 0.5:
        asked["parameters"] = {"timeout_ms": 1}
    return "/v2/models/minilm/infer", asked


def texts_at(at: float) -> list[str]:
    """Some hundred that come again and again, so that the cache has something to do."""
    slow = during(SLOW, at) and random.random() < 0.3
    words = STRANGE if during(OTHER_TEXTS, at) else WORDS
    count, length = (16, 200) if slow else (random.choice((1, 1, 4, 24)), random.randint(3, 14))
    if random.random() < 0.5:
        seeded = random.Random(random.randint(0, 300))
        return [" ".join(seeded.choices(words, k=length)) for _ in range(count)]
    return [" ".join(random.choices(words, k=length)) for _ in range(count)]


def client(begun: float, stopping: threading.Event) -> None:
    """Ask one thing after the other, with pauses; what comes back is for Prometheus to count."""
    names, shares = list(DEPLOYMENTS), [share for *_, share in DEPLOYMENTS.values()]
    while not stopping.is_set():
        at = time.monotonic() - begun
        (name,) = random.choices(names, shares)
        protocol = random.choice(("openai", "openai", "v2", "v2", "tei", "grpc"))
        with contextlib.suppress(OSError, http.client.HTTPException):
            if protocol == "grpc":
                ask_grpc(DEPLOYMENTS[name][1], texts_at(at))
            else:
                ask(DEPLOYMENTS[name][0], *body(protocol, texts_at(at), at))
        stopping.wait(0.0 if during(BURST, at) else random.uniform(0.05, 0.25))


def ask(port: int, path: str, asked: dict[str, object]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", path, json.dumps(asked), {"Content-Type": "application/json"})
    connection.getresponse().read()
    connection.close()


def ask_grpc(port: int, texts: list[str]) -> None:
    import grpc
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, contextlib.suppress(grpc.RpcError):
        request = service_pb2.ModelInferRequest(model_name="minilm")
        tensor = request.inputs.add(name="text", datatype="BYTES", shape=[len(texts)])
        tensor.contents.bytes_contents.extend(text.encode() for text in texts)
        service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=20)


def burst(begun: float) -> None:
    """Large requests at once, more than the queue takes."""

    def send() -> None:
        words = [" ".join(random.choices(WORDS, k=100)) for _ in range(32)]
        with contextlib.suppress(OSError, http.client.HTTPException):
            ask(
                DEPLOYMENTS["minilm-predictor"][0],
                "/v1/embeddings",
                {"model": "minilm", "input": words},
            )

    while during(BURST, time.monotonic() - begun):
        threading.Thread(target=send, daemon=True).start()
        time.sleep(0.25)


@contextlib.contextmanager
def running(folder: Path, name: str, command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)


def play(folder: Path, redis: subprocess.Popen[bytes], end: float) -> None:
    """The load, and what goes wrong."""
    begun, stopping = time.monotonic(), threading.Event()
    clients = [
        threading.Thread(target=client, args=(begun, stopping), daemon=True) for _ in range(5)
    ]
    for thread in clients:
        thread.start()

    def wait_until(at: float) -> None:
        time.sleep(max(0.0, min(at, end) - (time.monotonic() - begun)))

    wait_until(BURST[0])
    burst(begun)
    wait_until(NO_REDIS)
    redis.terminate()
    wait_until(BAD_VERSION)
    broken = folder / "minilm-v2-predictor/3"
    shutil.copytree(MODEL, broken)
    (broken / "model.safetensors").write_bytes(b"this is no model")
    wait_until(end)
    stopping.set()
    for thread in clients:
        thread.join(40)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="an empty folder for everything that is written")
    parser.add_argument("--seconds", type=float, default=END, help="how long")
    arguments = parser.parse_args()
    folder = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    prometheus = [
        "prometheus", f"--config.file={configuration(folder)}",
        f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{PROMETHEUS}",
    ]  # fmt: skip
    redis = [
        "redis-server",
        "--port",
        str(REDIS),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--dir",
        str(folder),
    ]
    with contextlib.ExitStack() as stack:
        cache = stack.enter_context(running(folder, "redis", redis))
        for name in DEPLOYMENTS:
            stack.enter_context(running(folder, name, serve(name, folder)))
            ready(DEPLOYMENTS[name][0])
        scraping = stack.enter_context(running(folder, "prometheus", prometheus))
        play(folder, cache, arguments.seconds)
        sys.stdout.write(f"http://127.0.0.1:{PROMETHEUS}\n")
        sys.stdout.flush()
        sys.stdin.readline()
        assert scraping.poll() is None
    return 0


def ready(port: int, timeout_s: float = 120.0) -> None:
    """Wait for a server. Raises TimeoutError."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/v2/health/ready")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.5)
    raise TimeoutError(f"no server on {port} within {timeout_s:g} s")


if __name__ == "__main__":
    sys.exit(main())
