"""What observes the server must not harm it: scrapes, names, scrapers and clocks gone wrong, texts.

Elsewhere: collectors of traces in test_tracing and test_tracing_server, a GPU library that hangs in
unit/server/test_gpu_watch, the cost of an observed request in unit/test_metrics, of a scrape in
unit/server/test_exposition, when a scraper is dropped in unit/server/test_http_connection.
"""

import asyncio
import io
import json
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import grpc
import httpx
import pytest
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from predictor import logs
from predictor.access import Authenticator
from predictor.bundle.manifest import CANONICAL
from predictor.bundle.source import read_source
from predictor.errors import PredictorError
from predictor.export.convert import convert_cached
from predictor.kserve_sdk import messages, services
from predictor.repository import RoutingTable
from predictor.server.access_log import AccessLog
from predictor.server.application import put_together
from predictor.server.inference import Inference, RequestContext
from predictor.server.ledger import Ledger
from predictor.server.model import ServedModel, TaskCall
from predictor.tasks import Task
from predictor.tracing import Tracer
from predictor.tracing.sampling import Sampling
from tests.collector import GrpcCollector
from tests.contract.helpers import counted
from tests.deadlines import DEADLINE_S
from tests.integration.faults.troubled import count, wait_until
from tests.reference.families.folders import assemble
from tests.serving import FREE_PORTS, Server
from tests.unit.access.files import entry, listing
from tests.unit.protocols.calls import Sent
from tests.unit.tracing.doubles import Counts, FakeSender

MODELS = {"a": ("1", "2"), "b": ("1", "2"), "c": ("1",)}
MARKER = "Zxqvw-private-Zxqvw"
# Lines a second in the access log of these servers.
RATE = 20
DAY_S = 86_400
OPENMETRICS = {"accept": "application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model, converted."""
    work = tmp_path_factory.mktemp("observed")
    return convert_cached(read_source(assemble("bert", work / "bert")), work / "cache", threads=2)


@pytest.fixture(scope="module")
def collector() -> Iterator[GrpcCollector]:
    made = GrpcCollector()
    yield made
    made.close()


@pytest.fixture(scope="module")
def root(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of several models and versions."""
    place: Path = tmp_path_factory.mktemp("repository") / "models"
    for name, versions in MODELS.items():
        for version in versions:
            shutil.copytree(bundle, place / name / version)
    return place


def traced(collector: GrpcCollector) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_TRACES_SAMPLER": "always_on",
        "OTEL_SERVICE_NAME": "observed",
    }


@pytest.fixture(scope="module")
def watched(root: Path, collector: GrpcCollector) -> Iterator[Server]:
    server = Server(
        f"--model-dir={root}", "--version-policy=all", "--default-model=a", "--drain-delay-s=0",
        "--access-log", f"--access-log-rate={RATE}", "--poll-interval-s=0.2", "--cache-mb=0",
        "--canonical-interval-s=1", "--metrics-compat=te,nv", "--max-body-bytes=65536",
        "--max-client-batch-size=8",
        environment=traced(collector),
    )  # fmt: skip
    yield server
    assert server.stop() == 0


@pytest.fixture
def http(watched: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=watched.url, timeout=DEADLINE_S) as client:
        yield client


def rest_of(model: str, texts: list[str]) -> dict[str, dict[str, Any]]:
    """The same request in every protocol of HTTP, by path."""
    tensor = {"name": "text", "datatype": "BYTES", "shape": [len(texts)], "data": texts}
    return {
        "/v1/embeddings": {"model": model, "input": texts},
        "/embed": {"inputs": texts},
        f"/v2/models/{model}/infer": {"inputs": [tensor]},
        f"/v1/models/{model}:predict": {"instances": texts},
        "/v2/embed": {"model": model, "texts": texts, "input_type": "search_query"},
    }


def message_of(model: str, texts: list[str], version: str = "") -> Any:
    message = messages.ModelInferRequest(model_name=model, model_version=version)
    tensor = message.inputs.add(name="text", datatype="BYTES", shape=[len(texts)])
    tensor.contents.bytes_contents.extend(text.encode() for text in texts)
    return message


def speak_all(server: Server, http: httpx.Client) -> None:
    """Every protocol with every model and version that it can name."""
    for model, versions in MODELS.items():
        for path, body in rest_of(model, ["hello"]).items():
            http.post(path, json=body, headers={"x-model": model}).raise_for_status()
        with grpc.insecure_channel(server.grpc) as channel:
            stub = services.GRPCInferenceServiceStub(channel)
            for version in versions:
                stub.ModelInfer(message_of(model, ["hello"], version), timeout=DEADLINE_S)
                path = f"/v2/models/{model}/versions/{version}/infer"
                body = rest_of(model, ["hello"])[f"/v2/models/{model}/infer"]
                http.post(path, json=body).raise_for_status()


@contextmanager
def under_load(server: Server, clients: int = 8) -> Iterator[list[float]]:
    """Closed-loop clients; yields their latencies in seconds. Raises what a client raised."""
    ended, latencies, faults = threading.Event(), list[float](), list[BaseException]()

    def ask(number: int) -> None:
        try:
            with httpx.Client(base_url=server.url, timeout=DEADLINE_S) as client:
                while not ended.is_set():
                    started = time.perf_counter()
                    body = {"inputs": [f"{number} words {len(latencies)}"] * 4}
                    client.post("/embed", json=body).raise_for_status()
                    latencies.append(time.perf_counter() - started)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: len(latencies) > 2 * clients or bool(faults))
        yield latencies
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    if faults:
        raise faults[0]


def labels_of(http: httpx.Client) -> dict[str, set[str]]:
    """All values of all labels, by label."""
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(http.get("/metrics").text):
        for sample in family.samples:
            for name, value in sample.labels.items():
                labels.setdefault(name, set()).add(value)
    return labels


# Scrapes


@pytest.mark.slow
def test_scrapes_under_full_load(watched: Server, http: httpx.Client) -> None:
    speak_all(watched, http)
    with under_load(watched) as latencies:
        answered = len(latencies)
        for _ in range(20):
            http.get("/metrics", headers=OPENMETRICS).raise_for_status()
    # What a scrape costs is held against the library's in unit/server/metrics/test_exposition.
    assert len(latencies) - answered > 20


@pytest.mark.parametrize("version", ["abc", "1.0.0.a", "", "99", "1e9"])
def test_any_version_that_is_asked_for(http: httpx.Client, version: str) -> None:
    accept = {"accept": f"application/openmetrics-text; version={version}; escaping=x"}
    response = http.get("/metrics", headers=accept)
    assert response.status_code == 200
    assert response.text.endswith("# EOF\n")


# Names


def test_names_of_folders_are_no_labels(watched: Server, http: httpx.Client, root: Path) -> None:
    bad = [
        'q"uote',
        "new\nline",
        "br{ace}",
        'x"} 1\npredictor_injected{a="b',
        "ünï",
        "sp ace",
        "a,b",
    ]
    before = labels_of(http)
    polls = counted(http, "predictor_repository_polls_total", outcome="ok")
    for name in bad:
        shutil.copytree(root / "c", root / name)
    try:
        wait_until(
            lambda: counted(http, "predictor_repository_polls_total", outcome="ok") > polls + 2
        )
        after = labels_of(http)
        for label in ("model", "version"):
            assert after[label] == before[label]
        text = http.get("/metrics", headers=OPENMETRICS).text
        assert not [name for name in bad if name in text]
        assert "injected" not in text
        assert http.post("/embed", json={"inputs": "hello"}).status_code == 200
        assert [json.loads(line) for line in watched.lines]  # a name does not break a line either
    finally:
        for name in bad:
            shutil.rmtree(root / name)


NAMES = [
    'x"} 1\npredictor_injected{a="b',
    "{}",
    "ünï",
    "\u2028",
    "a" * 3000,
    "\\",
    "%0a",
    "a:9",
    "0",
]


def test_names_in_requests_are_no_labels(watched: Server, http: httpx.Client) -> None:
    speak_all(watched, http)
    refused_all(watched, http)  # 404 is a label of its own, from the first on
    before = labels_of(http)
    refused_all(watched, http)
    after = labels_of(http)
    assert {name: after[name] for name in ("model", "version", "code", "protocol")} == {
        name: before[name] for name in ("model", "version", "code", "protocol")
    }
    assert "injected" not in http.get("/metrics", headers=OPENMETRICS).text


def refused_all(server: Server, http: httpx.Client) -> None:
    """Ask for models and versions of every odd name, in every place that has one."""
    with grpc.insecure_channel(server.grpc) as channel:
        stub = services.GRPCInferenceServiceStub(channel)
        for name in NAMES:
            quoted = "".join(f"%{byte:02x}" for byte in name.encode())
            tensor = rest_of("a", ["x"])["/v2/models/a/infer"]
            for path, body in {
                **rest_of(name, ["x"]),
                f"/v2/models/{quoted}/infer": tensor,
                f"/v2/models/a/versions/{quoted}/infer": tensor,
                f"/v1/models/{quoted}:predict": {"instances": ["x"]},
            }.items():
                if path.startswith(("/v2/models/", "/v1/models/")) and quoted not in path:
                    continue  # no URL
                odd = {"x-model": quoted, "x-request-id": quoted, "x-priority": "query"}
                assert http.post(path, json=body, headers=odd).status_code == 404, path
            for message in (message_of(name, ["x"]), message_of("a", ["x"], name)):
                with pytest.raises(grpc.RpcError):
                    stub.ModelInfer(message, timeout=DEADLINE_S)


# Scrapers


def memory_of(server: Server) -> int:
    """Resident bytes."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    match = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert match
    return int(match[1]) << 10


def hanging_scraper(server: Server) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", server.http_port))
    client.sendall(b"GET /metrics HTTP/1.1\r\nhost: test\r\n\r\n" * 3)
    return client


def test_fifty_scrapers_that_hang_harm_nobody(watched: Server, http: httpx.Client) -> None:
    """25 read nothing, 25 a byte now and then; all of them want three texts each."""
    speak_all(watched, http)
    before = memory_of(watched)
    clients = [hanging_scraper(watched) for _ in range(50)]
    try:
        with under_load(watched, clients=4) as latencies:
            answered = len(latencies)
            for _ in range(10):
                for client in clients[25:]:
                    client.recv(1)
                assert http.get("/v2/health/ready").status_code == 200
                assert http.get("/metrics").status_code == 200
            wait_until(lambda: len(latencies) > answered + 50)
        # A text is half a MB, and each client may have one here and one in its kernel.
        assert memory_of(watched) - before < 100 << 20
    finally:
        for client in clients:
            client.close()


def test_scrapers_that_hang_do_not_keep_the_process(bundle: Path) -> None:
    server = Server(
        f"--model-dir={bundle}", "--drain-delay-s=0", "--grace-period-s=2", "--metrics-compat=te,nv"
    )
    clients = [hanging_scraper(server) for _ in range(10)]
    with httpx.Client(base_url=server.url, timeout=DEADLINE_S) as http:
        assert http.get("/metrics").status_code == 200
    started = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - started < 30.0  # the grace period by default
    for client in clients:
        client.close()


# The canonical file


def test_a_canonical_file_that_is_damaged_while_serving(
    watched: Server, http: httpx.Client, root: Path
) -> None:
    def checks(outcome: str) -> float:
        labels = {"model": "c", "version": "1", "outcome": outcome}
        return count(http, "predictor_canonical_checks_total", **labels)

    path = root / "c" / "1" / CANONICAL
    content = path.read_bytes()
    wait_until(lambda: checks("passed") > 0)
    path.write_bytes(content[: len(content) // 2])
    try:
        wait_until(lambda: checks("unreadable") > 0)
        right = checks("passed")
        assert http.post("/embed", json={"inputs": "x"}, headers={"x-model": "c"}).is_success
        assert http.get("/v2/health/ready").status_code == 200
    finally:
        path.write_bytes(content)
    wait_until(lambda: checks("passed") > right)
    watched.wait_for_log(f"{CANONICAL}: cannot be read")


# The clock

# In front of everything that runs: the wall clock goes wrong by what a file says, in seconds.
WRONG_CLOCK = """
import os, time
real_time, real_time_ns = time.time, time.time_ns
def wrong():
    with open(os.environ["TEST_CLOCK"]) as file:
        return float(file.read() or 0)
time.time = lambda: real_time() + wrong()
time.time_ns = lambda: real_time_ns() + int(wrong() * 1e9)
"""


class Clock:
    def __init__(self, folder: Path) -> None:
        self._file, self._fresh = folder / "clock", folder / "fresh"
        (folder / "sitecustomize.py").write_text(WRONG_CLOCK)
        self.jump(0)
        self.environment = {"PYTHONPATH": str(folder), "TEST_CLOCK": str(self._file)}

    def jump(self, seconds: float) -> None:
        self._fresh.write_text(str(seconds))
        self._fresh.rename(self._file)


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    folder = tmp_path / "site"
    folder.mkdir()
    return Clock(folder)


@pytest.mark.slow
def test_a_wall_clock_that_jumps(
    clock: Clock, bundle: Path, collector: GrpcCollector, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.json"
    free, limited = {"x-api-key": "k-free-0123456789"}, {"x-api-key": "k-limited-0123456789"}
    keys.write_bytes(
        listing(
            entry("free", free["x-api-key"]),
            entry("limited", limited["x-api-key"], requests_per_minute=1),
        )
    )
    server = Server(
        f"--model-dir={bundle}", f"--api-keys-file={keys}", "--drain-delay-s=0", "--access-log",
        "--cache-ttl-s=3600", "--canonical-interval-s=300", "--poll-interval-s=0.2",
        environment=traced(collector) | clock.environment,
    )  # fmt: skip
    known = len(collector.inbox.spans)
    try:
        with httpx.Client(base_url=server.url, timeout=DEADLINE_S) as http:
            body = {"inputs": "the same text"}
            http.post("/embed", json=body, headers=free).raise_for_status()
            wait_until(lambda: canonical_checks(http) == 1)
            codes = [http.post("/embed", json=body, headers=limited).status_code for _ in range(2)]
            assert codes == [200, 429]
            for days in (1, -1, 0):
                hits = count(http, "predictor_cache_hits_total")
                with jumping(clock, days):
                    for number in range(20):
                        new = {"inputs": [f"{days} {number} {word}" for word in "abcd"]}
                        http.post("/embed", json=new, headers=free).raise_for_status()
                http.post("/embed", json=body, headers=free).raise_for_status()
                assert count(http, "predictor_cache_hits_total") == hits + 1
                assert http.post("/embed", json=body, headers=limited).status_code == 429
                if days == 1:
                    time.sleep(1.2)  # each second the watch asks whether a look is due
            assert canonical_checks(http) == 1
            assert 0.0 < counted(http, "predictor_request_seconds_sum") < DAY_S / 2
            assert 0.0 < counted(http, "predictor_stage_seconds_sum") < DAY_S / 2
            assert count(http, "predictor_event_loop_lag_seconds_sum") < DAY_S / 2
    finally:
        assert server.stop() == 0
    spans = collector.inbox.spans[known:]
    assert len(spans) > 200
    lengths = [span.end_time_unix_nano - span.start_time_unix_nano for span in spans]
    assert 0 <= min(lengths) <= max(lengths) < DAY_S / 2 * 1e9
    starts = [span.start_time_unix_nano / 1e9 for span in spans]
    assert max(starts) - min(starts) > DAY_S  # the clock did jump
    lines = [event for event in server.events if event.get("message") == "request"]
    assert lines
    taken_ms = [line[field] for line in lines for field in ("ms", "queue_ms")]
    assert 0.0 <= min(taken_ms) <= max(taken_ms) < DAY_S / 2 * 1e3


def canonical_checks(http: httpx.Client) -> float:
    """How often the canonical texts were compared."""
    return count(http, "predictor_canonical_checks_total")


@contextmanager
def jumping(clock: Clock, days: int) -> Iterator[None]:
    """The clock is days off in the end, and now and then meanwhile."""
    ended = threading.Event()

    def jump() -> None:
        while not ended.wait(0.003):
            clock.jump(days * DAY_S)
            time.sleep(0.003)
            clock.jump(0)
        clock.jump(days * DAY_S)

    thread = threading.Thread(target=jump)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


# Keys


def test_keys_leave_no_trace_in_the_metrics(bundle: Path, tmp_path: Path) -> None:
    """10 000 of them; what they cost in memory and time is in unit/access/test_authenticator."""
    good = [f"k-{number:030d}" for number in range(10_000)]
    path = tmp_path / "keys.json"
    path.write_bytes(listing(*(entry(f"name{n}", key) for n, key in enumerate(good))))
    server = Server(f"--model-dir={bundle}", f"--api-keys-file={path}", "--drain-delay-s=0")
    body = json.dumps({"inputs": "x"}).encode()
    try:
        with httpx.Client(base_url=server.url, timeout=DEADLINE_S) as http:

            def ask(key: str) -> int:
                return http.post("/embed", content=body, headers={"x-api-key": key}).status_code

            assert (ask(good[0]), ask("guess")) == (200, 401)
            labels, before = labels_of(http), memory_of(server)
            for key in good[::25]:
                assert ask(key) == 200
                assert ask(key[::-1] + "?") == 401
            text = http.get("/metrics").text
            assert labels_of(http) == labels
            assert not re.search(r"name\d|k-0", text)
            assert memory_of(server) - before < 50 << 20
    finally:
        assert server.stop() == 0


# Logs and texts


def outcomes_of_marked(server: Server, http: httpx.Client) -> set[int]:
    """Send the marker in every way that is answered and in every way that is refused."""
    texts = [MARKER, f"{MARKER} again"]
    statuses = set[int]()
    for path, body in rest_of("a", texts).items():
        whole = json.dumps(body)
        for content in (
            whole,
            whole[:-1],  # not JSON any more
            whole.replace(f'"{MARKER}"', f'{{"{MARKER}": 1}}'),
            whole.replace(f'"{MARKER}"', "7"),
            json.dumps(body | {MARKER: MARKER, "truncate": MARKER, "dimensions": MARKER}),
            json.dumps({MARKER: texts}),
            json.dumps(rest_of("a", [f"{MARKER} " * 2000])[path] | {"truncate": False}),
            json.dumps(rest_of("a", texts * 8)[path]),
            json.dumps(rest_of("a", [MARKER * 5000])[path]),  # too large
            json.dumps(body | {"dimensions": 99_999}),
            json.dumps(body | {"prompt_name": MARKER}),
            whole.replace("again", "\ud800"),
        ):
            sent = content.encode("utf-8", "surrogatepass")
            statuses.add(http.post(path, content=sent).status_code)
        statuses.add(http.post(path, json=body, headers={"x-model": "no"}).status_code)
        statuses.add(http.post(path, json=body, headers={"x-priority": MARKER}).status_code)
        statuses.add(http.post(path, content=whole.encode() + b"\xff").status_code)
        statuses.add(http.put(path, json=body).status_code)
    for path in ("/tokenize", "/decode", "/rerank", "/similarity", "/nowhere"):
        for body in ({"inputs": texts}, {"ids": MARKER}, {MARKER: 1}):
            statuses.add(http.post(path, json=body).status_code)
    deadline = {"inputs": rest_of("a", texts)["/v2/models/a/infer"]["inputs"]}
    deadline["parameters"] = {"timeout": 1}
    statuses.add(http.post("/v2/models/a/infer", json=deadline).status_code)
    return statuses


def codes_of_marked(server: Server) -> set[grpc.StatusCode]:
    """The same over gRPC."""
    long = message_of("a", [MARKER * 5000])
    raw = message_of("a", [])
    raw.raw_input_contents.append(b"\xff\xff\xff\x00" + MARKER.encode())
    numbers = message_of("a", [MARKER])
    numbers.inputs[0].datatype = "FP32"
    parameter = message_of("a", [MARKER])
    parameter.parameters["prompt_name"].string_param = MARKER
    codes = set[grpc.StatusCode]()
    with grpc.insecure_channel(server.grpc) as channel:
        stub = services.GRPCInferenceServiceStub(channel)
        for message in (
            message_of("a", [MARKER]), message_of("a", [MARKER] * 9), message_of("no", [MARKER]),
            long, raw, numbers, parameter,
        ):  # fmt: skip
            try:
                stub.ModelInfer(message, timeout=DEADLINE_S)
                codes.add(grpc.StatusCode.OK)
            except grpc.RpcError as error:
                codes.add(cast(grpc.Call, error).code())
    return codes


def test_no_text_of_a_user_is_observed(
    watched: Server, http: httpx.Client, collector: GrpcCollector
) -> None:
    statuses, codes = outcomes_of_marked(watched, http), codes_of_marked(watched)
    assert {200, 400, 404, 405, 413, 422, 504} <= statuses, statuses
    expected = {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}
    assert expected | {grpc.StatusCode.RESOURCE_EXHAUSTED} <= codes, codes
    headers = {"traceparent": f"00-{0xABC:032x}-{1:016x}-01", "x-request-id": "the-last"}
    http.post("/embed", json={"inputs": MARKER}, headers=headers).raise_for_status()
    wait_until(
        lambda: any(s.trace_id == (0xABC).to_bytes(16, "big") for s in collector.inbox.spans)
    )
    sent = b"".join(request.SerializeToString() for request in collector.inbox.requests)
    assert b"the-last" in sent
    assert MARKER.encode() not in sent
    assert MARKER not in http.get("/metrics", headers=OPENMETRICS).text
    assert watched.lines
    assert MARKER not in "\n".join(watched.lines)


class Failing:
    """Stands for all models, and quotes what it is asked in its errors."""

    name = "m"
    version = "1"
    is_ready = True
    application = put_together()

    def find(self, name: str, version: str = "") -> "Failing":
        del name, version
        return self

    def task(self, name: str) -> Task[Any, Any]:
        return self.application.tasks[name]

    async def __call__(self, call: TaskCall) -> Any:
        (text,) = call.task.inputs(call.request)
        try:
            raise KeyError(text)
        except KeyError as error:
            raise ValueError(f"cannot embed {text!r}") from error


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the server would write to standard error."""
    stream, root = io.StringIO(), logging.getLogger()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonFormatter())
    root.addHandler(handler)
    level = root.level
    root.setLevel(logging.INFO)
    yield stream
    root.setLevel(level)
    root.removeHandler(handler)


async def test_nor_is_it_where_an_error_of_ours_quotes_it(log: io.StringIO) -> None:
    sender, counts = FakeSender(), Counts()
    tracer = Tracer(Sampling(), sender, counts)
    models = cast(RoutingTable[ServedModel], Failing())
    application = Failing.application
    inference = Inference(
        models,
        Authenticator(None),
        Ledger(1 << 30),
        max_concurrent=8,
        tasks=application.tasks,
        tensors=application.tensors,
        access_log=AccessLog(100),
        tracer=tracer,
    )
    call = RequestContext(
        codec=application.codecs["openai"],
        body=json.dumps({"model": "m", "input": [MARKER]}).encode(),
        headers=Sent({}),
        request_id="r-1",
        route="/v1/embeddings",
        task="embed",
    )
    with pytest.raises(PredictorError) as raised:
        await inference.answer(call)
    await tracer.close()
    assert await asyncio.to_thread(lambda: sender.sent)
    written = log.getvalue()
    events = [json.loads(line) for line in written.splitlines()]
    assert [event["message"] for event in events] == ["request failed", "request"]
    assert {event["request_id"] for event in events} == {"r-1"}
    assert "ValueError" in events[0]["exception"]
    observed = (str(raised.value), written, repr(sender.sent), generate_latest(REGISTRY).decode())
    assert not [text for text in observed if MARKER in text]


def access_lines(server: Server, **fields: object) -> list[Mapping[str, Any]]:
    return [
        event
        for event in list(server.events)
        if event.get("message") == "request" and fields.items() <= event.items()
    ]


def test_a_line_says_which_request_trace_and_version(watched: Server, http: httpx.Client) -> None:
    time.sleep(2 / RATE)  # there is room for a line
    headers = {"traceparent": f"00-{0xDEF:032x}-{1:016x}-01", "x-request-id": "a-line"}
    path = "/v2/models/b/versions/1/infer"
    body = rest_of("b", ["hello"])["/v2/models/b/infer"]
    assert http.post(path, json=body, headers=headers).status_code == 200
    wait_until(lambda: bool(access_lines(watched, request_id="a-line")))
    (line,) = access_lines(watched, request_id="a-line")
    assert (line["model"], line["version"], line["status"]) == ("b", "1", 200)
    assert line["trace_id"] == f"{0xDEF:032x}"
    assert (line["protocol"], line["level"]) == ("v2", "info")


def test_lines_are_sampled_under_load(watched: Server) -> None:
    before, started = len(access_lines(watched)), time.monotonic()
    with under_load(watched) as latencies:
        wait_until(lambda: len(latencies) > 200)
    took = time.monotonic() - started
    lines = access_lines(watched)[before:]
    assert 0 < len(lines) <= RATE * took + 2
    # Nothing is lost: what was left out is counted in the line after it.
    requests = len(lines) + sum(line.get("skipped", 0) for line in lines)
    assert requests == pytest.approx(len(latencies), abs=len(latencies) / took)
    assert len({line["request_id"] for line in lines}) == len(lines)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_logs_are_json_except_on_a_terminal(bundle: Path, is_terminal: bool) -> None:
    ours, theirs = os.openpty() if is_terminal else os.pipe()
    command = [sys.executable, "-m", "predictor", "serve", *FREE_PORTS]
    with subprocess.Popen(
        [*command, f"--model-dir={bundle}", "--drain-delay-s=0", "--null-engine"],
        stderr=theirs,
        stdin=subprocess.DEVNULL,
    ) as process:
        os.close(theirs)
        with open(ours, encoding="utf-8", errors="replace") as written:
            line = next(line for line in written if "listening" in line)
            process.terminate()
            with suppress(OSError):  # a terminal's way of saying that nobody is left
                written.read()
        assert process.wait(DEADLINE_S) == 0
    assert line.startswith("{") != is_terminal
    assert re.search(r"INFO +listening http=\d+" if is_terminal else r'"http": \d+', line)
