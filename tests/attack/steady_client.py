"""A client that behaves well while others attack: small requests, one after the other, checked."""

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from types import TracebackType

import grpc
import httpx
import numpy as np
import numpy.typing as npt

from predictor.kserve_sdk import services
from tests.attack.scoped_thread import ScopedThread
from tests.attack.target import Target
from tests.integration.bad_input.asking import infer_message

Vector = npt.NDArray[np.float32]

TEXTS = tuple(f"text number {number} of {'many ' * (number % 40)}words" for number in range(200))
TIMEOUT_S = 60.0
PAUSE_S = 0.02
# The cosine with its vector of the start that a text must have.
SAME = 0.9999


@dataclass
class Outcomes:
    """What a client got."""

    # Seconds of each request that was answered with a vector.
    seconds: list[float] = field(default_factory=list)
    # By status: an HTTP status, the name of a gRPC status, or "lost" for a connection.
    counts: Counter[str] = field(default_factory=Counter)
    # Texts whose vectors were others than at the start.
    wrong: int = 0


class RestClient:
    """OpenAI's protocol over a connection that is kept."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._client = httpx.Client(base_url=target.url, headers=target.headers, timeout=TIMEOUT_S)
        self.close: Callable[[], None] = self._client.close

    def ask(self, text: str, use_cache: bool) -> tuple[str, Vector | None]:
        headers = {} if use_cache else {"x-cache": "off"}
        try:
            response = self._client.post(
                "/v1/embeddings", content=self._target.embed_body(text), headers=headers
            )
        except httpx.TransportError:
            return "lost", None
        if response.status_code != 200:
            return str(response.status_code), None
        return "200", np.array(response.json()["data"][0]["embedding"], np.float32)


class GrpcClient:
    """V2 over a channel."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._channel = grpc.insecure_channel(f"{target.host}:{target.grpc_port}")
        self._stub = services.GRPCInferenceServiceStub(self._channel)
        self.close: Callable[[], None] = self._channel.close

    def ask(self, text: str, use_cache: bool) -> tuple[str, Vector | None]:
        metadata = self._target.metadata + ([] if use_cache else [("x-cache", "off")])
        try:
            answer = self._stub.ModelInfer(
                infer_message(text), timeout=TIMEOUT_S, metadata=metadata
            )
        except grpc.RpcError as error:
            return error.code().name, None
        return "OK", np.frombuffer(answer.raw_output_contents[0], np.float32)


class SteadyClient(ScopedThread):
    """Sends texts in a thread until it is left."""

    def __init__(
        self,
        client: RestClient | GrpcClient,
        expected: Mapping[str, Vector],
        seed: int = 0,
        pause_s: float = PAUSE_S,
    ) -> None:
        """expected: the vectors of the texts, unit length."""
        self.outcomes = Outcomes()
        self._client = client
        self._expected = expected
        self._random = random.Random(seed)
        self._pause_s = pause_s
        super().__init__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, traceback)
        self._client.close()

    def _run(self) -> None:
        while not self._stop.wait(self._pause_s):
            text = self._random.choice(TEXTS)
            began = time.perf_counter()
            outcome, vector = self._client.ask(text, self._random.random() < 0.5)
            self.outcomes.counts[outcome] += 1
            if vector is None:
                continue
            self.outcomes.seconds.append(time.perf_counter() - began)
            if cosine(vector, self._expected[text]) < SAME:
                self.outcomes.wrong += 1


def cosine(first: Vector, second: Vector) -> float:
    """The cosine of two vectors."""
    lengths = float(np.linalg.norm(first)) * float(np.linalg.norm(second))
    return float(first @ second) / lengths


def expected_vectors(target: Target) -> dict[str, Vector]:
    """The vectors of the texts as a server that nobody attacks gives them."""
    vectors = {}
    with closing(RestClient(target)) as client:
        for text in TEXTS:
            outcome, vector = client.ask(text, False)
            if vector is None:
                raise RuntimeError(f"the server answers {outcome} before it is attacked")
            vectors[text] = vector
    return vectors


def percentile(seconds: list[float], part: float) -> float:
    """Milliseconds; 0 without any."""
    return float(np.quantile(seconds, part)) * 1e3 if seconds else 0.0
