"""Vectors from a running server, over V2 REST with JSON tensors: any server that speaks it will do.

`embed` asks for vectors that are not normalised; a server that does not know the parameter
ignores it. Nothing is tried again: what is compared must be what was answered.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import msgspec
import numpy as np

from predictor.comparison.exchange import Address, call, model_route
from predictor.errors import BadModel, BadSetting
from predictor.progress import Progress
from predictor.types import FloatRows

BATCH = 32
T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """What the server says of its model, the vectors `[N, dim]`, and how many texts were cut."""

    model: str
    version: str
    revision: str
    raw: FloatRows
    truncated: int

    @property
    def what(self) -> str:
        return f"{self.model}, version {self.version}, revision {self.revision}"


class _Listed(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Listed]


class _Described(msgspec.Struct):
    name: str
    shape: list[int]


class _Metadata(msgspec.Struct):
    outputs: list[_Described]


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
    return replace(address, path=model_route(_only_model(address)))


def embed(address: Address, texts: Sequence[str], progress: Progress) -> Answer:
    """Vectors of the texts, asked for in batches from an address with a path.

    Raises:
        BadModel: the server refuses, or answers something else.
        BadSetting: nobody answers.
    """
    answers: list[Answer] = []
    batches = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
    with progress.step(f"embedding with {address.url}", len(batches)) as advance:
        for batch in batches:
            answers.append(infer(address, batch, {"normalize": False}))
            advance()
    if len({answer.raw.shape[1] for answer in answers}) > 1:
        raise BadModel(f"{address.url}: answers vectors of different widths")
    raw = np.concatenate([answer.raw for answer in answers])
    return replace(answers[-1], raw=raw, truncated=sum(answer.truncated for answer in answers))


def infer(address: Address, texts: Sequence[str], parameters: Mapping[str, Any]) -> Answer:
    """Vectors of the texts by one request to an address with a path.

    Raises:
        BadModel: the server refuses, or answers something else.
        BadSetting: nobody answers.
    """
    content, revision = call(address, "POST", f"{address.path}/infer", _body(texts, parameters))
    answer = _decode(address, content, _Inferred)
    vectors, truncated = _vectors(address, answer, len(texts))
    return Answer(answer.model_name, answer.model_version, revision, vectors, truncated)


def dimensions(address: Address) -> int:
    """How many numbers a vector has, by the metadata of the model at an address with a path.

    Raises:
        BadModel: the server refuses, answers something else, or does not tell.
        BadSetting: nobody answers.
    """
    content, _ = call(address, "GET", address.path)
    for output in _decode(address, content, _Metadata).outputs:
        if output.name == "embedding" and output.shape and output.shape[-1] > 0:
            return output.shape[-1]
    raise BadModel(f"{address.url}: does not tell how many dimensions its output 'embedding' has")


def _only_model(address: Address) -> str:
    content, _ = call(address, "GET", "/v1/models")
    names = [model.id for model in _decode(address, content, _Models).data]
    if len(names) != 1:
        raise BadSetting(
            f"{address.url}: serves {', '.join(names) or 'no model'}; name one: "
            "http://host:port/v2/models/NAME"
        )
    return names[0]


def _body(texts: Sequence[str], parameters: Mapping[str, Any]) -> bytes:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [len(texts)], "data": list(texts)}
    request = {
        "inputs": [tensor],
        "outputs": [{"name": "embedding"}],
        "parameters": dict(parameters),
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
