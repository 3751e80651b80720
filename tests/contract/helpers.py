"""What the contract tests share: facts of the model, texts with known vectors, answers' parts."""

import binascii
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
from prometheus_client.parser import text_string_to_metric_families

from tests.deadlines import DEADLINE_S
from tests.reference import texts as reference_texts

MODEL = "minilm"
DIMENSIONS = 384
MAX_TOKENS = 256
UNKNOWN = "no-such-model"

# Three sentences whose right vectors are in the reference.
TEXTS = reference_texts.by_category()["sentences"][:3]
# One token a word, so both are over the limit of MAX_TOKENS.
LONG = "word " * 400
CAT_THEN_DOG = "cat " * 300 + "dog " * 300
# The ids of "hello world", without and with [CLS] and [SEP].
HELLO_WORLD = [7592, 2088]
WRAPPED_HELLO_WORLD = [101, *HELLO_WORLD, 102]

# Beyond these a vector is another one, not the same one rounded differently.
TOLERANCE = 1e-4
COSINE = 0.99999

Floats = npt.NDArray[np.float32]
REFERENCE_FILE = Path(reference_texts.__file__).with_name("minilm.npz")


@dataclass(frozen=True)
class Reference:
    """The texts and what the library that the model was made for says of them."""

    texts: list[str]
    vectors: Floats
    token_counts: npt.NDArray[np.int32]
    truncated: npt.NDArray[np.bool_]

    def rows(self, texts: Sequence[str]) -> list[int]:
        return [self.texts.index(text) for text in texts]

    def vectors_of(self, texts: Sequence[str]) -> Floats:
        return self.vectors[self.rows(texts)]

    def tokens_of(self, texts: Sequence[str]) -> int:
        return int(self.token_counts[self.rows(texts)].sum())

    def check(self, vectors: Any, texts: Sequence[str]) -> None:
        """Raise AssertionError unless these are the right unit vectors of the texts, in order."""
        np.testing.assert_allclose(
            np.asarray(vectors, np.float32), self.vectors_of(texts), rtol=0, atol=TOLERANCE
        )


def read_reference() -> Reference:
    """The stored reference.

    Raises:
        ValueError: it was made from other texts.
    """
    items = reference_texts.texts()
    with np.load(REFERENCE_FILE, allow_pickle=False) as stored:
        if str(stored["texts_sha256"]) != reference_texts.digest(items):
            raise ValueError(f"{REFERENCE_FILE.name} belongs to other texts: make it anew")
        return Reference(items, stored["vectors"], stored["token_counts"], stored["truncated"])


def from_base64(text: str) -> Floats:
    """Little-endian float32 in base64, as OpenAI and Cohere send a vector."""
    return np.frombuffer(binascii.a2b_base64(text), np.dtype("<f4")).astype(np.float32)


def cosines(left: Any, right: Any) -> npt.NDArray[np.float64]:
    """Cosine of each row to the same row of the other."""
    a, b = np.asarray(left, np.float64), np.asarray(right, np.float64)
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    result: npt.NDArray[np.float64] = (a * b).sum(axis=-1) / norms
    return result


def norms(rows: Any) -> npt.NDArray[np.float64]:
    result: npt.NDArray[np.float64] = np.linalg.norm(np.asarray(rows, np.float64), axis=-1)
    return result


def openai_vectors(http: httpx.Client, texts: Sequence[str]) -> Floats:
    """Vectors by way of /v1/embeddings, to compare other ways with."""
    response = http.post(
        "/v1/embeddings",
        json={"model": MODEL, "input": list(texts), "encoding_format": "base64"},
    )
    response.raise_for_status()
    return np.stack([from_base64(item["embedding"]) for item in response.json()["data"]])


def counted(http: httpx.Client, name: str, **labels: str) -> float:
    """The sum of a counter's samples that have these labels, by the server's metrics.

    Raises:
        LookupError: there is no such sample.
    """
    values = [
        sample.value
        for family in text_string_to_metric_families(http.get("/metrics").text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    if not values:
        raise LookupError(f"no {name} with {labels}")
    return sum(values)


def texts_embedded(http: httpx.Client, lane: str) -> float:
    """How many texts the server has embedded so far in that lane."""
    return counted(http, "predictor_inputs_total", lane=lane)


def soon(holds: Callable[[], bool]) -> bool:
    """Whether it comes to hold."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.02)
    return False
