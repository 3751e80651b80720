"""Same vectors first, speed second: a server that answers something else is not a peer.

Long texts are among those asked, since the usual mistakes (CLS instead of mean pooling, truncation
at the 128 tokens that a tokenizer.json may carry) show there.
"""

import base64
import json
from collections.abc import Sequence
from email.message import Message
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .errors import BenchError
from .servers import RunningServer
from .wrk import RequestTemplate

TEXTS = 64  # the first block of the corpus: the whole distribution of lengths
Rows = npt.NDArray[np.float32]


class HttpResponse(NamedTuple):
    headers: Message
    body: bytes


def post(port: int, route: RequestTemplate, texts: Sequence[str]) -> HttpResponse:
    connection = HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request("POST", route.path, route.body(texts), headers)
        response = connection.getresponse()
        answer = HttpResponse(response.headers, response.read())
    finally:
        connection.close()
    if response.status != 200:
        raise BenchError(f"POST {route.path}: {response.status} {answer.body[:300]!r}")
    return answer


def embed(port: int, route: RequestTemplate, texts: Sequence[str]) -> Rows:
    return vectors(json.loads(post(port, route, texts).body))


def vectors(answer: dict[str, Any]) -> Rows:
    """Rows of a V2 or an OpenAI answer."""
    if "outputs" in answer:
        output = answer["outputs"][0]
        return np.array(output["data"], dtype=np.float32).reshape(output["shape"])
    rows = [item["embedding"] for item in sorted(answer["data"], key=lambda item: item["index"])]
    if isinstance(rows[0], str):
        rows = [np.frombuffer(base64.b64decode(row), dtype="<f4") for row in rows]
    return np.array(rows, dtype=np.float32)


def smallest_cosine(rows: Rows, reference: Rows) -> float:
    norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(reference, axis=1)
    return float(((rows * reference).sum(axis=1) / norms).min())


def check(server: RunningServer, reference: Path) -> float:
    """Ask one by one and in batches of eight, so that padding is under test as well.

    Raises:
        BenchError: a vector is not sentence-transformers' own.
    """
    with np.load(reference) as file:
        texts, expected = [str(text) for text in file["texts"]], file["vectors"]
    steps = (1, 8)
    smallest = min(
        smallest_cosine(
            np.concatenate(
                [
                    embed(server.port, server.spec.route, texts[i : i + step])
                    for i in range(0, len(texts), step)
                ]
            ),
            expected,
        )
        for step in steps
    )
    if not smallest > server.spec.smallest_cosine:
        raise BenchError(
            f"{server.spec.name}: cosine {smallest:.5f} to sentence-transformers, under "
            f"{server.spec.smallest_cosine}: it serves other vectors, so its speed says nothing"
        )
    return smallest
