"""What goes wrong around the requests: clients that leave, floods, SIGTERM, damaged models.

Occupied here means: one request with far more tokens than the engine can do in the meantime is in
the queue, so that what comes after it has to wait.
"""

import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import grpc
import httpx
import msgspec
import numpy as np
import onnxruntime
import pytest
from safetensors.numpy import load_file, save_file

from predictor import repository
from predictor.engine.bundle import read_bundle, sha256
from predictor.errors import BadModel
from predictor.export.convert import convert_cached
from predictor.export.source import read_source
from predictor.server.kserve_sdk import messages, services
from predictor.settings import ModelSettings
from tests.contract.helpers import MODEL, counted
from tests.integration.test_plain_onnx import VOCABULARY, write_graph, write_tokenizer
from tests.serving import Server, model_flags

LONG_TEXT = "word " * 250
# Some seconds of two cores, and less than the queue takes.
FLOOD_ROWS = 400
FLOOD = json.dumps({"inputs": [LONG_TEXT] * FLOOD_ROWS}).encode()


def wait_until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Poll until it holds.

    Raises:
        TimeoutError: it did not.
    """
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not so within {timeout_s} s")
        time.sleep(0.01)


def count(client: httpx.Client, name: str, **labels: str) -> float:
    """A counter, 0 where it was never counted."""
    try:
        return counted(client, name, **labels)
    except LookupError:
        return 0.0


@contextmanager
def client_of(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30.0) as client:
        yield client


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with client_of(server) as client:
        yield client


@contextmanager
def running(*flags: str) -> Iterator[Server]:
    server = Server("--drain-delay=0", *flags)
    try:
        yield server
    finally:
        assert server.stop() == 0


@contextmanager
def flooded(server: Server, client: httpx.Client) -> Iterator[socket.socket]:
    """A client whose request is FLOOD, most of it waiting; it leaves at the end."""
    head = f"POST /embed HTTP/1.1\r\nhost: test\r\ncontent-length: {len(FLOOD)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.http_port), timeout=30.0) as connection:
        connection.sendall(head.encode() + FLOOD)
        wait_until(lambda: count(client, "predictor_queue_rows") > 100)
        yield connection
    wait_until(lambda: count(client, "predictor_queue_tokens") == 0, 3.0)


def infer_message(*texts: str) -> Any:
    message = messages.ModelInferRequest(model_name=MODEL)
    tensor = message.inputs.add(name="text", datatype="BYTES", shape=[len(texts)])
    tensor.contents.bytes_contents.extend(text.encode() for text in texts)
    return message


def code_of(stub: Any, message: Any, **options: Any) -> grpc.StatusCode:
    """How a ModelInfer ends."""
    try:
        stub.ModelInfer(message, timeout=30.0, **options)
    except grpc.RpcError as error:
        return cast(grpc.Call, error).code()
    return grpc.StatusCode.OK


# Clients that leave


def test_a_client_that_leaves_takes_its_rows_along(server: Server, http: httpx.Client) -> None:
    gone = {"protocol": "tei", "code": "499"}
    left = count(http, "predictor_requests_total", **gone)
    rejected = count(http, "predictor_rejected_total", reason="client_gone")
    embedded = count(http, "predictor_inputs_total", lane="ingest")
    with flooded(server, http):
        pass
    wait_until(lambda: count(http, "predictor_requests_total", **gone) == left + 1)
    assert count(http, "predictor_rejected_total", reason="client_gone") == rejected + 1
    assert count(http, "predictor_queue_rows") == 0
    assert count(http, "predictor_inputs_total", lane="ingest") - embedded < FLOOD_ROWS - 50
    assert http.post("/embed", json={"inputs": "hello"}).status_code == 200


def test_a_cancelled_grpc_call_takes_its_rows_along(server: Server, http: httpx.Client) -> None:
    gone = {"protocol": "v2_grpc", "code": "499"}
    left = count(http, "predictor_requests_total", **gone)
    with grpc.insecure_channel(server.grpc) as channel:
        stub = services.GRPCInferenceServiceStub(channel)
        call = stub.ModelInfer.future(infer_message(*[LONG_TEXT] * FLOOD_ROWS))
        wait_until(lambda: count(http, "predictor_queue_rows") > 100)
        call.cancel()
        wait_until(lambda: count(http, "predictor_queue_tokens") == 0, 3.0)
    wait_until(lambda: count(http, "predictor_requests_total", **gone) == left + 1)


def test_a_client_that_leaves_while_it_sends(server: Server, http: httpx.Client) -> None:
    seen = len(server.events)
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", server.http_port), timeout=10.0) as connection:
            connection.sendall(b"POST /embed HTTP/1.1\r\nhost: test\r\ncontent-length: 99\r\n\r\n{")
    assert http.post("/embed", json={"inputs": "hello"}).status_code == 200
    assert not server.events[seen:]


# Deadlines


def test_a_request_that_waits_too_long(server: Server, http: httpx.Client) -> None:
    """Behind the flood, in its lane, where a query would be let through."""
    body = {
        "inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["hello"]}],
        "parameters": {"timeout_ms": 150, "priority": "ingest"},
    }
    message = infer_message("hello")
    message.parameters["timeout"].int64_param = 150_000
    late = count(http, "predictor_rejected_total", reason="deadline")
    with flooded(server, http), grpc.insecure_channel(server.grpc) as channel:
        began = time.monotonic()
        response = http.post(f"/v2/models/{MODEL}/infer", json=body)
        waited = time.monotonic() - began
        stub = services.GRPCInferenceServiceStub(channel)
        code = code_of(stub, message, metadata=[("x-priority", "ingest")])
    assert response.status_code == 504
    assert response.json()["error"].startswith("not computed within ")
    assert 0.15 <= waited < 2.0
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert count(http, "predictor_rejected_total", reason="deadline") == late + 2


@pytest.fixture(scope="module")
def hurried(model_dir: Path, cache_dir: Path, bundle_dir: Path) -> Iterator[Server]:
    """A server whose own deadline is so short that no large request meets it."""
    del bundle_dir
    with running(*model_flags(model_dir, cache_dir), "--request-timeout-ms=20") as server:
        yield server


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"/v1/models/{MODEL}:predict", {"instances": [LONG_TEXT] * 100}),
        ("/v1/embeddings", {"model": MODEL, "input": [LONG_TEXT] * 100}),
        ("/embed", {"inputs": [LONG_TEXT] * 100}),
        ("/v2/embed", {"model": MODEL, "texts": [LONG_TEXT] * 100}),
    ],
    ids=["v1", "openai", "tei", "cohere"],
)
def test_the_servers_own_deadline(hurried: Server, path: str, body: dict[str, Any]) -> None:
    with client_of(hurried) as client:
        response = client.post(path, json=body)
        assert response.status_code == 504
        wait_until(lambda: count(client, "predictor_queue_tokens") == 0)


# Floods


@pytest.fixture(scope="module")
def small(model_dir: Path, cache_dir: Path, bundle_dir: Path) -> Iterator[Server]:
    """A server with a queue of 2000 tokens."""
    del bundle_dir
    with running(*model_flags(model_dir, cache_dir), "--max-queue-tokens=2000") as server:
        yield server


def test_overload_refuses_some_and_answers_the_others_right(small: Server, server: Server) -> None:
    rows = 10
    requests = [[f"request {n} row {row} " * 8 for row in range(rows)] for n in range(48)]

    def ask(texts: list[str]) -> httpx.Response:
        with client_of(small) as client:
            return client.post("/embed", json={"inputs": texts})

    with client_of(small) as client, client_of(server) as calm:
        embedded = count(client, "predictor_inputs_total")
        full = count(client, "predictor_rejected_total", reason="queue_full")
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(ask, requests))
        accepted = [n for n, answer in enumerate(answers) if answer.status_code == 200]
        refused = [answer for answer in answers if answer.status_code != 200]
        assert accepted
        assert refused
        for answer in refused:
            assert answer.status_code == 429
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.json()["error_type"] == "Overloaded"
            assert "the limit is 2000" in answer.json()["error"]
        for n in accepted[:5]:
            expected = calm.post("/embed", json={"inputs": requests[n]}).json()
            np.testing.assert_allclose(answers[n].json(), expected, atol=1e-4)
        rejected = count(client, "predictor_rejected_total", reason="queue_full") - full
        assert rejected == len(refused)
        assert count(client, "predictor_inputs_total") - embedded == rows * len(accepted)


def test_a_request_is_admitted_whole_or_not_at_all(small: Server) -> None:
    with client_of(small) as client, grpc.insecure_channel(small.grpc) as channel:
        stub = services.GRPCInferenceServiceStub(channel)
        with flooded(small, client):
            # One row of it would find room once a batch has left the queue; two never do.
            queries = count(client, "predictor_inputs_total", lane="query")
            response = client.post("/embed", json={"inputs": ["hello", LONG_TEXT]})
            with pytest.raises(grpc.RpcError) as raised:
                stub.ModelInfer(infer_message("hello", LONG_TEXT), timeout=30.0)
            assert count(client, "predictor_inputs_total", lane="query") == queries
    assert response.status_code == 429
    assert response.json()["error"].startswith("the queue holds ")
    assert response.json()["error"].endswith(" this request has 255; the limit is 2000")
    call = cast(grpc.Call, raised.value)
    assert call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert int(dict(call.trailing_metadata() or ())["retry-after"]) >= 1


def test_too_many_requests_at_once(model_dir: Path, cache_dir: Path, bundle_dir: Path) -> None:
    del bundle_dir
    flags = [*model_flags(model_dir, cache_dir), "--max-concurrent-requests=1"]
    with running(*flags) as server, client_of(server) as client:
        with flooded(server, client):
            response = client.post("/v1/embeddings", json={"model": MODEL, "input": "hello"})
        assert count(client, "predictor_rejected_total", reason="too_many_requests") == 1
    assert response.status_code == 429
    assert response.json()["error"]["message"] == "2 requests at once; the limit is 1"
    assert response.json()["error"]["type"] == "rate_limit_error"
    assert int(response.headers["retry-after"]) >= 1


# SIGTERM


# Between two requests of one client of the load, so that the server gets some of the CPU, seconds.
PAUSE_S = 0.02


@dataclass
class Exchange:
    """One request of the load: when it was sent, what came back (None: no answer)."""

    sent: float
    response: httpx.Response | None


class Load:
    """Eight clients that ask until told to stop or until nobody is there to ask."""

    def __init__(self, server: Server) -> None:
        self.exchanges: list[Exchange] = []
        self._server = server
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(8)
        self._clients = [self._pool.submit(self._ask) for _ in range(8)]

    def _ask(self) -> None:
        with client_of(self._server) as client:
            while not self._stop.is_set():
                sent = time.monotonic()
                try:
                    response = client.post("/embed", json={"inputs": "hello world"})
                except httpx.TransportError:
                    self.exchanges.append(Exchange(sent, None))
                    return
                self.exchanges.append(Exchange(sent, response))
                self._stop.wait(PAUSE_S)

    def end(self) -> None:
        self._stop.set()
        self._pool.shutdown()
        for client in self._clients:
            client.result()


@dataclass
class Drained:
    """What was seen of a server that was terminated under load."""

    server: Server
    code: int
    terminated: float
    ready: httpx.Response
    alive: httpx.Response
    refused: httpx.Response
    refused_grpc: grpc.StatusCode
    ready_grpc: bool
    accepted: httpx.Response
    accepted_grpc: Any
    exchanges: list[Exchange]


@pytest.fixture(scope="module")
def drained(model_dir: Path, cache_dir: Path, bundle_dir: Path) -> Drained:
    """Accepted when SIGTERM comes: more work than fits into the drain delay of a second."""
    del bundle_dir
    server = Server(*model_flags(model_dir, cache_dir), "--drain-delay=1")
    load = Load(server)
    try:
        with (
            client_of(server) as client,
            ThreadPoolExecutor(1) as pool,
            grpc.insecure_channel(server.grpc) as channel,
        ):
            stub = services.GRPCInferenceServiceStub(channel)
            accepted = pool.submit(client.post, "/embed", json={"inputs": [LONG_TEXT] * 60})
            accepted_grpc = stub.ModelInfer.future(infer_message(*[LONG_TEXT] * 10), timeout=60.0)
            wait_until(lambda: count(client, "predictor_queue_rows") > 30)
            wait_until(lambda: len(load.exchanges) > 20)
            terminated = time.monotonic()
            server.terminate()
            server.wait_for_log("draining")
            return Drained(
                ready=client.get("/v2/health/ready"),
                alive=client.get("/v2/health/live"),
                refused=client.post("/embed", json={"inputs": "hello"}),
                refused_grpc=code_of(stub, infer_message("hello")),
                ready_grpc=stub.ServerReady(messages.ServerReadyRequest(), timeout=10.0).ready,
                accepted=accepted.result(timeout=30.0),
                accepted_grpc=accepted_grpc.result(timeout=30.0),
                code=server.stop(),
                server=server,
                terminated=terminated,
                exchanges=load.exchanges,
            )
    finally:
        server.stop()
        load.end()


def test_sigterm_makes_unready_at_once(drained: Drained) -> None:
    assert drained.ready.status_code == 503
    assert drained.ready.json() == {"ready": False, "unavailable": []}
    assert int(drained.ready.headers["retry-after"]) >= 1
    assert drained.ready_grpc is False
    assert drained.alive.status_code == 200


def test_new_requests_are_refused_after_sigterm(drained: Drained) -> None:
    refused = drained.refused
    assert refused.status_code == 503
    assert refused.headers["connection"] == "close"
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json() == {"error": "the server is shutting down", "error_type": "Unhealthy"}
    assert drained.refused_grpc is grpc.StatusCode.UNAVAILABLE


def test_accepted_requests_finish_after_sigterm(drained: Drained) -> None:
    assert drained.accepted.status_code == 200
    assert len(drained.accepted.json()) == 60
    assert list(drained.accepted_grpc.outputs[0].shape) == [10, 384]


def test_nobody_goes_without_an_answer_before_the_listener_closes(drained: Drained) -> None:
    answers = [e.response for e in drained.exchanges if e.response is not None]
    assert {answer.status_code for answer in answers} == {200, 503}
    closing = [answer for answer in answers if answer.status_code == 503]
    assert all(answer.headers["connection"] == "close" for answer in closing)
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in closing)
    unanswered = [e.sent - drained.terminated for e in drained.exchanges if e.response is None]
    assert all(after > 0.8 for after in unanswered)


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_the_listeners_are_closed_at_the_end(drained: Drained, kind: str) -> None:
    port = drained.server.http_port if kind == "http" else drained.server.grpc_port
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5.0).close()


def test_the_process_ends_well_after_sigterm(drained: Drained) -> None:
    assert drained.code == 0
    levels = {event["level"] for event in drained.server.events}
    assert levels <= {"info", "warning"}
    assert [e["message"] for e in drained.server.events][-1] == "stopped"


# The window


def _mean_batch(client: httpx.Client) -> float:
    return count(client, "predictor_batch_rows_sum") / count(client, "predictor_batch_rows_count")


def _burst(server: Server, rounds: int) -> None:
    """32 requests of one text at once, several times."""
    with grpc.insecure_channel(server.grpc) as channel:
        stub = services.GRPCInferenceServiceStub(channel)
        stub.ServerReady(messages.ServerReadyRequest(), timeout=10.0)
        message = infer_message("hello")
        for _ in range(rounds):
            calls = [stub.ModelInfer.future(message, timeout=30.0) for _ in range(32)]
            for call in calls:
                call.result()


@pytest.fixture
def null_flags(model_dir: Path, cache_dir: Path, bundle_dir: Path) -> list[str]:
    del bundle_dir
    return [*model_flags(model_dir, cache_dir), "--null-engine", "--max-batch-rows=32"]


def test_the_window_makes_batches_bigger(null_flags: list[str]) -> None:
    means = {}
    for delay_ms in (0, 10):
        flags = [*null_flags, f"--max-queue-delay-ms={delay_ms}"]
        with running(*flags) as server, client_of(server) as client:
            _burst(server, rounds=10)
            means[delay_ms] = _mean_batch(client)
            assert count(client, "predictor_batch_rows_bucket", le="32.0") == count(
                client, "predictor_batch_rows_count"
            )
    assert means[10] > means[0]


def test_a_full_batch_does_not_wait_for_the_window(null_flags: list[str]) -> None:
    with running(*null_flags, "--max-queue-delay-ms=20000") as server:
        began = time.monotonic()
        _burst(server, rounds=2)
        assert time.monotonic() - began < 10.0
        with client_of(server) as client:
            assert count(client, "predictor_batch_rows_count") == 2
            assert count(client, "predictor_batch_rows_sum") == 64


# Models that cannot be served


HIDDEN, INNER = 16, 32
CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "hidden_size": HIDDEN,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": INNER,
    "vocab_size": len(VOCABULARY),
    "max_position_embeddings": 64,
    "type_vocab_size": 2,
    "pad_token_id": 0,
}


def _linear(name: str, outward: int, inward: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outward, inward), f"{name}.bias": (outward,)}


def _norm(name: str) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (HIDDEN,), f"{name}.bias": (HIDDEN,)}


SHAPES: dict[str, tuple[int, ...]] = {
    "embeddings.word_embeddings.weight": (len(VOCABULARY), HIDDEN),
    "embeddings.position_embeddings.weight": (64, HIDDEN),
    "embeddings.token_type_embeddings.weight": (2, HIDDEN),
    **_norm("embeddings.LayerNorm"),
    **_linear("encoder.layer.0.attention.self.query", HIDDEN, HIDDEN),
    **_linear("encoder.layer.0.attention.self.key", HIDDEN, HIDDEN),
    **_linear("encoder.layer.0.attention.self.value", HIDDEN, HIDDEN),
    **_linear("encoder.layer.0.attention.output.dense", HIDDEN, HIDDEN),
    **_norm("encoder.layer.0.attention.output.LayerNorm"),
    **_linear("encoder.layer.0.intermediate.dense", INNER, HIDDEN),
    **_linear("encoder.layer.0.output.dense", HIDDEN, INNER),
    **_norm("encoder.layer.0.output.LayerNorm"),
}


def _write(path: Path, content: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A whole sentence-transformers directory of a BERT with one small layer."""
    folder = tmp_path / "model"
    folder.mkdir()
    random = np.random.default_rng(3)
    weights = {
        name: random.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()
    }
    save_file(weights, folder / "model.safetensors")
    write_tokenizer(folder)
    _write(folder / "config.json", CONFIG)
    _write(
        folder / "modules.json",
        [
            {"type": "sentence_transformers.models.Transformer", "path": ""},
            {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"},
            {"type": "sentence_transformers.models.Normalize", "path": "2_Normalize"},
        ],
    )
    _write(folder / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True})
    _write(folder / "sentence_bert_config.json", {"max_seq_length": 64})
    _write(folder / "config_sentence_transformers.json", {"prompts": {}})
    return folder


def load(folder: Path, cache: Path) -> repository.LoadedModel:
    return repository.open_model(
        ModelSettings(model_dir=str(folder), cache_dir=str(cache), threads=1)
    )


def convert(folder: Path, cache: Path) -> Path:
    return convert_cached(read_source(folder), cache, threads=1)


def serve(*flags: str, through: tuple[str, ...] = ("-m", "predictor")) -> tuple[int, str]:
    """Exit code, and what follows `predictor: ` in the one line that says what is wrong."""
    finished = subprocess.run(
        [sys.executable, *through, "serve", "--host=127.0.0.1", *flags],
        capture_output=True,
        text=True,
        timeout=30.0,
        check=False,
    )
    assert "Traceback" not in finished.stderr, finished.stderr
    lines = [line for line in finished.stderr.splitlines() if line.startswith("predictor: ")]
    assert len(lines) == 1, finished.stderr
    assert finished.stdout == ""
    return finished.returncode, lines[0].removeprefix("predictor: ")


def _cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def _change(path: Path, **changes: Any) -> None:
    """Change keys of a JSON object; `...` removes one."""
    content = json.loads(path.read_bytes()) | changes
    _write(path, {key: value for key, value in content.items() if value is not ...})


def all_of(*actions: Callable[[Path], object]) -> Callable[[Path], object]:
    def act(folder: Path) -> None:
        for action in actions:
            action(folder)

    return act


def test_the_undamaged_model_is_served(tiny: Path, tmp_path: Path) -> None:
    """Without it the tests below would prove nothing."""
    flags = [f"--model-dir={tiny}", f"--cache-dir={tmp_path / 'cache'}", "--model_name=tiny"]
    with running(*flags) as server, client_of(server) as client:
        (vector,) = client.post("/embed", json={"inputs": "abc"}).json()
    assert len(vector) == HIDDEN
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated-safetensors": (
        lambda folder: _cut(folder / "model.safetensors"),
        "model.safetensors: not a readable safetensors file: ",
    ),
    "garbage-tokenizer": (
        lambda folder: (folder / "tokenizer.json").write_bytes(b"\0garbage"),
        "tokenizer.json: not a readable tokenizer: ",
    ),
    "config-without-a-key": (
        lambda folder: _change(folder / "config.json", num_attention_heads=...),
        "config.json: num_attention_heads is missing",
    ),
    "unknown-pooling": (
        lambda folder: _write(folder / "1_Pooling" / "config.json", {"pooling_mode_median": True}),
        "pooling median is not supported; known are cls, mean, max, lasttoken",
    ),
    "unknown-module": (
        lambda folder: _write(
            folder / "modules.json", [{"type": "sentence_transformers.models.LSTM"}]
        ),
        "modules LSTM; supported is Transformer, Pooling, then any of Dense, LayerNorm, Normalize",
    ),
    "unknown-family": (
        lambda folder: _change(folder / "config.json", model_type="mystery"),
        "model type 'mystery' cannot be converted and there is no onnx/model.onnx",
    ),
    "empty-directory": (
        all_of(shutil.rmtree, Path.mkdir),
        "no model here: neither bundle.json nor config.json, and no numbered folder",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_model_is_one_line(tiny: Path, tmp_path: Path, damage: str) -> None:
    break_it, sentence = DAMAGES[damage]
    break_it(tiny)
    code, line = serve(f"--model-dir={tiny}", f"--cache-dir={tmp_path / 'cache'}")
    assert code == 1
    assert sentence in line
    assert not list((tmp_path / "cache").glob("*/*")), "half a bundle was left behind"


@pytest.mark.parametrize(
    ("file", "sentence"),
    [("model.onnx.data", "damaged, replaced"), ("canonical.npz", "missing, though bundle.json")],
)
def test_a_damaged_bundle_is_one_line(tiny: Path, tmp_path: Path, file: str, sentence: str) -> None:
    bundle = convert(tiny, tmp_path / "cache")
    if file == "canonical.npz":
        (bundle / file).unlink()
    else:
        _flip(bundle / file)
    code, line = serve(f"--model-dir={bundle}")
    assert code == 1
    assert f"{file}: " in line
    assert sentence in line


def test_no_convert_without_a_graph(tiny: Path) -> None:
    code, line = serve(f"--model-dir={tiny}", "--no-convert")
    assert code == 1
    assert "there is no onnx/model.onnx" in line


def test_no_such_directory(tmp_path: Path) -> None:
    code, line = serve(f"--model-dir={tmp_path / 'nowhere'}")
    assert code == 2
    assert line.startswith(f"--model-dir {tmp_path / 'nowhere'}: no such directory")


# The same in this process, where it is quick: every other damage is a BadModel of one line too.
def _set_weight(folder: Path, name: str, change: Callable[[Any], Any]) -> None:
    weights = load_file(folder / "model.safetensors")
    weights[name] = np.ascontiguousarray(change(weights[name]))
    save_file(weights, folder / "model.safetensors")


MORE_DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty-safetensors": (
        lambda folder: (folder / "model.safetensors").write_bytes(b""),
        "not a readable safetensors file",
    ),
    "a-header-that-lies": (
        lambda folder: (folder / "model.safetensors").write_bytes(b"\xff" * 64),
        "not a readable safetensors file",
    ),
    "a-tensor-of-another-shape": (
        lambda folder: _set_weight(folder, "embeddings.LayerNorm.bias", lambda a: a[:8]),
        "has shape [8], config.json says [16]",
    ),
    "weights-that-are-no-numbers": (
        lambda folder: _set_weight(
            folder, "embeddings.LayerNorm.bias", lambda a: a * np.float32("nan")
        ),
        "vectors that are not finite numbers",
    ),
    "truncated-tokenizer": (
        lambda folder: _cut(folder / "tokenizer.json"),
        "not a readable tokenizer",
    ),
    "no-tokenizer": (
        lambda folder: (folder / "tokenizer.json").unlink(),
        "has no tokenizer.json",
    ),
    "config-that-is-no-json": (
        lambda folder: (folder / "config.json").write_bytes(b"{"),
        "config.json: not readable JSON",
    ),
    "config-that-is-no-text": (
        lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe\0"),
        "config.json: not readable JSON",
    ),
    "config-that-is-a-list": (
        lambda folder: _write(folder / "config.json", []),
        "config.json: holds a list, not an object",
    ),
    "layers-that-are-not-there": (
        lambda folder: _change(folder / "config.json", num_hidden_layers=2),
        "has no tensor 'encoder.layer.1.",
    ),
    "a-width-in-words": (
        lambda folder: _change(folder / "config.json", hidden_size="wide"),
        "config.json",
    ),
    "an-epsilon-in-words": (
        lambda folder: _change(folder / "config.json", layer_norm_eps="tiny"),
        "config.json",
    ),
    "a-padding-in-words": (
        lambda folder: _change(folder / "config.json", pad_token_id="[PAD]"),
        "config.json",
    ),
    "no-heads": (
        lambda folder: _change(folder / "config.json", num_attention_heads=0),
        "do not split into 0 heads",
    ),
    "another-activation": (
        lambda folder: _change(folder / "config.json", hidden_act="mish"),
        "activation 'mish' is not supported",
    ),
    "more-tokens-than-rows": (
        all_of(
            lambda folder: _change(folder / "config.json", vocab_size=40),
            lambda folder: _set_weight(
                folder, "embeddings.word_embeddings.weight", lambda a: a[:40]
            ),
        ),
        f"tokenizer.json has {len(VOCABULARY)} ids, the model's table has 40",
    ),
    "modules-that-are-no-list": (
        lambda folder: _write(folder / "modules.json", {"0": "Transformer"}),
        "modules.json: not a list of modules",
    ),
    "two-poolings": (
        lambda folder: _change(folder / "1_Pooling" / "config.json", pooling_mode_cls_token=True),
        "is not supported",
    ),
    "a-pooling-by-another-name": (
        lambda folder: _write(folder / "1_Pooling" / "config.json", {"pooling_mode": "median"}),
        "pooling median is not supported",
    ),
    "prompts-that-are-a-list": (
        lambda folder: _write(
            folder / "config_sentence_transformers.json", {"prompts": ["query: "]}
        ),
        "config_sentence_transformers.json",
    ),
    "lengths-that-are-no-json": (
        lambda folder: (folder / "sentence_bert_config.json").write_bytes(b"["),
        "sentence_bert_config.json: not readable JSON",
    ),
    "a-length-beyond-the-positions": (
        all_of(
            lambda folder: _change(folder / "config.json", max_position_embeddings=2),
            lambda folder: _set_weight(
                folder, "embeddings.position_embeddings.weight", lambda a: a[:2]
            ),
        ),
        "max length 2 leaves no room beside special tokens",
    ),
}


@pytest.mark.parametrize("damage", MORE_DAMAGES)
def test_other_damages_of_a_model(tiny: Path, tmp_path: Path, damage: str) -> None:
    break_it, sentence = MORE_DAMAGES[damage]
    break_it(tiny)
    with pytest.raises(BadModel) as raised:
        load(tiny, tmp_path / "cache")
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not list((tmp_path / "cache").glob("*/*")), "half a bundle was left behind"


def _sign_again(bundle: Path) -> None:
    """Write the digests of the files as they are now."""
    manifest = read_manifest(bundle)
    manifest["files"] = {name: sha256(bundle / name) for name in manifest["files"]}
    _write(bundle / "bundle.json", manifest)


def read_manifest(bundle: Path) -> dict[str, Any]:
    return cast(dict[str, Any], json.loads((bundle / "bundle.json").read_bytes()))


def _other_vectors(bundle: Path) -> None:
    with np.load(bundle / "canonical.npz") as data:
        texts, vectors = data["texts"], data["vectors"]
    np.savez(bundle / "canonical.npz", texts=texts, vectors=np.roll(vectors, 1, axis=0))


def _wrong_offset(bundle: Path) -> None:
    manifest = read_manifest(bundle)
    manifest["variants"]["fp32"]["mapped"][0]["offset"] = 1 << 40
    _write(bundle / "bundle.json", manifest)


BUNDLE_DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "manifest-that-is-no-json": (
        lambda bundle: (bundle / "bundle.json").write_bytes(b"{"),
        "bundle.json: not a readable manifest",
    ),
    "manifest-without-a-key": (
        lambda bundle: _change(bundle / "bundle.json", variants=...),
        "bundle.json: not a readable manifest",
    ),
    "manifest-of-another-schema": (
        lambda bundle: _change(bundle / "bundle.json", schema=1),
        "schema 1; this server reads schema 2",
    ),
    "a-file-outside": (
        lambda bundle: _change(bundle / "bundle.json", files={"../secret": "0"}),
        "names a file outside of its folder: '../secret'",
    ),
    "no-graph": (lambda bundle: (bundle / "model.onnx").unlink(), "model.onnx: missing"),
    "no-weights": (
        lambda bundle: (bundle / "model.onnx.data").unlink(),
        "model.onnx.data: missing",
    ),
    "another-tokenizer": (
        lambda bundle: (bundle / "tokenizer.json").write_text("{}"),
        "tokenizer.json: differs from the digest",
    ),
    "a-flipped-bit-in-the-graph": (
        lambda bundle: _flip(bundle / "model.onnx"),
        "model.onnx: differs from the digest",
    ),
    "other-vectors": (
        all_of(_other_vectors, _sign_again),
        "canonical vectors of fp32 are not reproduced: smallest cosine ",
    ),
    "truncated-vectors": (
        all_of(lambda bundle: _cut(bundle / "canonical.npz"), _sign_again),
        "canonical.npz: cannot be read",
    ),
    "truncated-weights": (
        all_of(lambda bundle: _cut(bundle / "model.onnx.data"), _sign_again),
        "model.onnx",
    ),
    "a-table-outside-of-its-file": (_wrong_offset, "model.onnx.data"),
}


@pytest.mark.parametrize("damage", BUNDLE_DAMAGES)
def test_other_damages_of_a_bundle(tiny: Path, tmp_path: Path, damage: str) -> None:
    break_it, sentence = BUNDLE_DAMAGES[damage]
    bundle = convert(tiny, tmp_path / "cache")
    assert load(bundle, tmp_path / "unused").bundle == read_bundle(bundle)
    break_it(bundle)
    with pytest.raises(BadModel) as raised:
        load(bundle, tmp_path / "unused")
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_damaged_cache_is_not_served(tiny: Path, tmp_path: Path) -> None:
    _flip(convert(tiny, tmp_path / "cache") / "model.onnx.data")
    with pytest.raises(BadModel, match=r"model\.onnx\.data: differs from the digest"):
        load(tiny, tmp_path / "cache")


def test_no_convert_serves_the_graph_that_is_there(tiny: Path, tmp_path: Path) -> None:
    table = np.ones((len(VOCABULARY), HIDDEN), dtype=np.float32)
    write_graph(tiny / "onnx" / "model.onnx", table=table)
    settings = ModelSettings(
        model_dir=str(tiny), cache_dir=str(tmp_path / "cache"), threads=1, no_convert=True
    )
    model = repository.open_model(settings)
    assert (model.bundle.inputs, model.bundle.variants["fp32"].graph) == (
        "padded",
        "onnx/model.onnx",
    )
    assert not (tmp_path / "cache").exists()


# Places and settings that cannot be had


# A process of root that may not write everywhere: PR_CAPBSET_DROP (24) of CAP_DAC_OVERRIDE (1).
WITHOUT_OVERRIDE = (
    "-c",
    "import ctypes, os, sys;"
    "ctypes.CDLL(None).prctl(24, 1, 0, 0, 0);"
    "os.execv(sys.executable, [sys.executable, '-m', 'predictor', *sys.argv[1:]])",
)


def test_a_cache_that_cannot_be_written(tiny: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(0o555)
    try:
        code, line = serve(f"--model-dir={tiny}", f"--cache-dir={cache}", through=WITHOUT_OVERRIDE)
    finally:
        cache.chmod(0o755)
    assert code == 1
    assert line == f"{cache}: cannot be written (Permission denied); give --cache-dir"


def test_a_cache_that_is_no_directory(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadModel, match=r"cannot be written \(.+\); give --cache-dir$"):
        load(tiny, tmp_path / "file" / "cache")


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_a_port_that_is_taken(tiny: Path, tmp_path: Path, kind: str) -> None:
    bundle = convert(tiny, tmp_path / "cache")
    other = "grpc" if kind == "http" else "http"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, line = serve(f"--model-dir={bundle}", f"--{kind}-port={port}", f"--{other}-port=0")
    assert code == 2
    assert line.startswith(f"cannot listen on 127.0.0.1:{port} ")
    assert ("REST" if kind == "http" else "gRPC") in line


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--bogus"], "error: unrecognized arguments: --bogus"),
        (["--max-queue-token=5"], "error: unrecognized arguments: --max-queue-token=5"),
        (["--http-port=web"], "--http-port: 'web' is not a number"),
        (["--http-port=-1"], "--http-port: -1 is under the minimum 0"),
        (["--http-port=99999"], "--http-port"),
        (["--grpc-port=99999"], "--grpc-port"),
        (["--device=tpu"], "--device: 'tpu' is not one of auto, cpu, cuda"),
        (["--auto-truncate=maybe"], "--auto-truncate: 'maybe' is not true or false"),
        (["--max-queue-delay-ms=nan"], "--max-queue-delay-ms: nan is under the minimum 0"),
        (["--ingest-share=0.95"], "--ingest-share: 0.95 is over the maximum 0.9"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_a_setting_that_cannot_be(tmp_path: Path, flags: list[str], sentence: str) -> None:
    code, line = serve(f"--model-dir={tmp_path}", *flags)
    assert code == 2
    assert sentence in line


def test_a_default_prompt_that_the_model_does_not_have(tiny: Path, tmp_path: Path) -> None:
    bundle = convert(tiny, tmp_path / "cache")
    code, line = serve(f"--model-dir={bundle}", "--default-prompt-name=query")
    assert code == 2
    assert line == "--default-prompt-name query: the model has prompts none"


def test_cuda_where_there_is_none(tiny: Path) -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    code, line = serve(f"--model-dir={tiny}", "--device=cuda")
    assert code == 2
    assert line.startswith("--device cuda: this onnxruntime has no CUDA provider")


def test_pooling_of_a_bundle_cannot_be_changed(tiny: Path, tmp_path: Path) -> None:
    bundle = convert(tiny, tmp_path / "cache")
    assert msgspec.to_builtins(read_bundle(bundle))["pooling"] == "mean"
    code, line = serve(f"--model-dir={bundle}", "--pooling=cls")
    assert code == 2
    assert line.startswith("--pooling: a bundle's pooling is part of its graph")
