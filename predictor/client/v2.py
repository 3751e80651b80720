"""Vectors from any server that speaks V2 REST with JSON tensors.

`embed` requests vectors that are not normalised; a server that does not know the parameter ignores
it. Nothing is retried: what is compared must be what was answered.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import msgspec
import numpy as np

from predictor.client.http import Address, call, model_route
from predictor.errors import BadModel, BadSetting
from predictor.progress import Progress
from predictor.types import FloatRows

# Texts per request.
BATCH = 32
# Our names of variants by those of TEI's /info.
VARIANTS = {"float32": "fp32", "float16": "fp16"}
T = TypeVar("T")


@dataclass(frozen=True)
class V2Vectors:
    """Vectors, and what the server says of the model that computed them."""

    model: str
    version: str
    revision: str
    # `[N, dim]`
    raw: FloatRows
    # Texts that were truncated.
    truncated: int
    # Which graph of the model the server runs, if it says so.
    variant: str = ""
    # The id of the server's configuration of the model; empty: not known.
    configuration: str = ""

    @property
    def description(self) -> str:
        variant = f", {self.variant}" if self.variant else ""
        named = f"{self.model}, version {self.version}{variant}, revision {self.revision}"
        return f"{named}, configuration {self.configuration}" if self.configuration else named


class _Listed(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Listed]


class _Described(msgspec.Struct):
    name: str
    shape: list[int]


class _Info(msgspec.Struct):
    model_id: str
    model_dtype: str


class _Configuration(msgspec.Struct):
    id: str = ""


class _ModelParameters(msgspec.Struct):
    configuration: _Configuration = msgspec.field(default_factory=_Configuration)


class _Metadata(msgspec.Struct):
    outputs: list[_Described]
    parameters: _ModelParameters = msgspec.field(default_factory=_ModelParameters)


class _Output(msgspec.Struct):
    name: str
    shape: list[int]
    data: list[float]
    parameters: dict[str, Any] = {}


class _Inferred(msgspec.Struct):
    outputs: list[_Output]
    model_name: str = "a model without a name"
    model_version: str = "unknown"


def find(address: Address) -> Address:
    """The address with the path of a model that answers.

    Raises:
        BadModel: the server answers with an error, or with something else.
        BadSetting: there is no server, or it has several models and none is named.
    """
    if address.path:
        call(address, "GET", address.path)
        return address
    return replace(address, path=model_route(_only_model(address)))


def embed(address: Address, texts: Sequence[str], progress: Progress) -> V2Vectors:
    """Vectors of the texts, requested in batches from an address with a path.

    Raises:
        BadModel: the server answers with an error, or with something else.
        BadSetting: the server does not answer.
    """
    answers: list[V2Vectors] = []
    batches = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
    with progress.step(f"embedding with {address.url}", len(batches)) as advance:
        for batch in batches:
            answers.append(infer(address, batch, {"normalize": False}))
            advance()
    if len({answer.raw.shape[1] for answer in answers}) > 1:
        raise BadModel(f"{address.url}: answers vectors of different dimensions")
    raw = np.concatenate([answer.raw for answer in answers])
    return replace(
        answers[-1],
        raw=raw,
        truncated=sum(answer.truncated for answer in answers),
        variant=_variant(address, answers[-1].model),
        configuration=configuration(address),
    )


def _variant(address: Address, model: str) -> str:
    """What TEI's route says of a model's precision; empty if it does not speak of this model."""
    try:
        content, _ = call(address, "GET", "/info")
        info = _decode(address, content, _Info)
    except (BadModel, BadSetting):
        return ""
    if info.model_id != model:
        return ""
    return VARIANTS.get(info.model_dtype, info.model_dtype)


def infer(address: Address, texts: Sequence[str], parameters: Mapping[str, Any]) -> V2Vectors:
    """Vectors of the texts by one request to an address with a path.

    Raises:
        BadModel: the server answers with an error, or with something else.
        BadSetting: the server does not answer.
    """
    content, revision = call(address, "POST", f"{address.path}/infer", _body(texts, parameters))
    answer = _decode(address, content, _Inferred)
    vectors, truncated = _vectors(address, answer, len(texts))
    return V2Vectors(answer.model_name, answer.model_version, revision, vectors, truncated)


def dimensions(address: Address) -> int:
    """How many numbers a vector has, by the metadata of the model at an address with a path.

    Raises:
        BadModel: the server answers with an error or with something else, or its metadata has none.
        BadSetting: the server does not answer.
    """
    content, _ = call(address, "GET", address.path)
    for output in _decode(address, content, _Metadata).outputs:
        if output.name == "embedding" and output.shape and output.shape[-1] > 0:
            return output.shape[-1]
    raise BadModel(f"{address.url}: its metadata has no dimensions of an output 'embedding'")


def configuration(address: Address) -> str:
    """The id of the configuration of the model at an address with a path; empty: not known."""
    try:
        content, _ = call(address, "GET", address.path)
        return _decode(address, content, _Metadata).parameters.configuration.id
    except (BadModel, BadSetting):  # another server, whose metadata need not be like ours
        return ""


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
    output = next((tensor for tensor in answer.outputs if tensor.name == "embedding"), None)
    if output is None:
        names = ", ".join(tensor.name for tensor in answer.outputs) or "none"
        raise BadModel(f"{address.url}: has no output 'embedding'; its outputs: {names}")
    values = np.array(output.data, dtype=np.float32)
    if len(output.shape) != 2 or output.shape[0] != count or values.size != np.prod(output.shape):
        raise BadModel(
            f"{address.url}: answers {len(output.data)} numbers of shape {output.shape} to "
            f"{count} texts"
        )
    cut = str(output.parameters.get("truncated_inputs", ""))
    return values.reshape(output.shape), len(cut.split(",")) if cut else 0
