"""Vectors from a running server, over V2 REST with JSON tensors: any server that speaks it will do.

A request asks for vectors that are not normalised; a server that does not know the parameter
ignores it. Nothing is tried again: what is compared must be what was answered.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec
import numpy as np

from predictor.comparison.exchange import Address, call
from predictor.errors import BadModel, BadSetting
from predictor.progress import Progress
from predictor.types import FloatRows

BATCH = 32
T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    what: str
    raw: FloatRows
    truncated: int


class _Listed(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Listed]


class _Output(msgspec.Struct):
    name: str
    shape: list[int]
    data: list[float]
    parameters: dict[str, Any] = {}


class _Inferred(msgspec.Struct):
    outputs: list[_Output]
    model_name: str = "a model without a name"
    model_version: str = "not told"


def find(address: Address) -> Address:
    """The address with a model's path: it is there and answers.

    Raises:
        BadModel: the server refuses, or answers something else.
        BadSetting: there is no server, or it has several models and none is named.
    """
    if address.path:
        call(address, "GET", address.path)
        return address
    return replace(address, path=f"/v2/models/{quote(_only_model(address), safe='')}")


def embed(address: Address, texts: Sequence[str], progress: Progress) -> Answer:
    """Vectors of the texts, asked for in batches from an address with a path.

    Raises:
        BadModel: the server refuses, or answers something else.
        BadSetting: nobody answers.
    """
    rows: list[FloatRows] = []
    truncated = 0
    what = ""
    batches = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
    with progress.step(f"embedding with {address.url}", len(batches)) as advance:
        for batch in batches:
            content, revision = call(address, "POST", f"{address.path}/infer", _body(batch))
            answer = _decode(address, content, _Inferred)
            what = ", ".join([answer.model_name, f"version {answer.model_version}", revision])
            vectors, cut = _vectors(address, answer, len(batch))
            if rows and vectors.shape[1] != rows[0].shape[1]:
                raise BadModel(f"{address.url}: answers vectors of different widths")
            rows.append(vectors)
            truncated += cut
            advance()
    return Answer(what, np.concatenate(rows), truncated)


def _only_model(address: Address) -> str:
    content, _ = call(address, "GET", "/v1/models")
    names = [model.id for model in _decode(address, content, _Models).data]
    if len(names) != 1:
        raise BadSetting(
            f"{address.url}: serves {', '.join(names) or 'no model'}; name one: "
            "http://host:port/v2/models/NAME"
        )
    return names[0]


def _body(texts: Sequence[str]) -> bytes:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [len(texts)], "data": list(texts)}
    request = {
        "inputs": [tensor],
        "outputs": [{"name": "embedding"}],
        "parameters": {"normalize": False},
    }
    return json.dumps(request).encode()


def _decode(address: Address, content: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.DecodeError as error:
        raise BadModel(
            f"{address.url}: answers something that is not V2's JSON: {error}"
        ) from error


def _vectors(address: Address, answer: _Inferred, count: int) -> tuple[FloatRows, int]:
    """The vectors of one answer, and how many texts were cut."""
    output = next((one for one in answer.outputs if one.name == "embedding"), None)
    if output is None:
        names = ", ".join(one.name for one in answer.outputs) or "none"
        raise BadModel(f"{address.url}: has no output 'embedding'; its outputs: {names}")
    values = np.array(output.data, dtype=np.float32)
    if len(output.shape) != 2 or output.shape[0] != count or values.size != np.prod(output.shape):
        raise BadModel(
            f"{address.url}: answers {len(output.data)} numbers of shape {output.shape} to "
            f"{count} texts"
        )
    cut = str(output.parameters.get("truncated_inputs", ""))
    return values.reshape(output.shape), len(cut.split(",")) if cut else 0
