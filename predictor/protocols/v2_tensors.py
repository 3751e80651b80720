"""The tensors of the Open Inference Protocol (V2), where REST and gRPC meet.

Source: kserve.github.io/website (V2 protocol) and Triton's extension_binary_data.md.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy.typing as npt

from predictor.bundle.manifest import Bundle
from predictor.errors import EmptyInput, InvalidInput
from predictor.protocols.codec import no_such_task
from predictor.protocols.vector_fields import EmbedFields
from predictor.protocols.wire import first_duplicate
from predictor.tasks import TaskRequest
from predictor.types import Lane

_LENGTH = struct.Struct("<I")
# Largest number a timeout may be, in its own unit: what fits into Triton's int64.
MAX_TIMEOUT = 2**63 - 1
# Of a client's value, this much is repeated in an error; gRPC puts the error into a header.
SHOWN = 80


class InferParameters(EmbedFields, kw_only=True):
    """Request parameters. `timeout` in microseconds as Triton's, `timeout_ms` ours."""

    priority: str | int | None = None
    timeout: int | None = None
    timeout_ms: float | None = None
    cache: str | bool | None = None
    binary_data_output: bool | None = None


NO_PARAMETERS = InferParameters()


class TensorSpec(NamedTuple):
    """A tensor as the model's metadata describes it; -1 in the shape: any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class OutputTensor(NamedTuple):
    """A tensor of an answer; the array is C-contiguous and of the datatype."""

    name: str
    datatype: str
    array: npt.NDArray[Any]


class TensorForm(Protocol):
    """One task as tensors. Stateless."""

    @property
    def task(self) -> str:
        """The name of the task."""

    @property
    def inputs(self) -> Sequence[str]:
        """Names of the input tensors, all BYTES `[N]` or `[N, 1]`."""

    @property
    def outputs(self) -> Mapping[str, str]:
        """Names and datatypes of the output tensors that may be asked for."""

    def request(self, texts: Mapping[str, list[str]], parameters: InferParameters) -> TaskRequest:
        """The request behind the tensors. Raises InvalidInput."""

    def tensors(self, result: Any) -> list[OutputTensor]:
        """The tensors of the answer."""

    def described(self, bundle: Bundle) -> tuple[list[TensorSpec], list[TensorSpec]]:
        """The input and output tensors, for the model's metadata."""


class NamedInput(NamedTuple):
    """An input tensor as it was received; data: texts, or the bytes of texts."""

    name: str
    datatype: str
    shape: list[int]
    data: list[str | list[str]] | list[bytes]


def choose_form(
    forms: Mapping[str, TensorForm], tasks: Sequence[str], outputs: Sequence[str]
) -> TensorForm:
    """The task that is meant: the first of the model's that gives every output asked for.

    Where no task gives them all, it is the model's first, whose errors then name its outputs.

    Raises:
        TaskNotSupported: the model has no task that is spoken in tensors.
    """
    candidates = [forms[task] for task in tasks if task in forms]
    if not candidates:
        raise no_such_task(tasks, tuple(forms))
    if len(candidates) > 1:
        for form in candidates:
            if all(output in form.outputs for output in outputs):
                return form
    return candidates[0]


def texts_of(form: TensorForm, tensor: NamedInput) -> list[str]:
    """The texts of an input tensor.

    Raises:
        EmptyInput: it has none.
        InvalidInput: another name, datatype or shape, as many texts as the shape does not say, or
            bytes that are not UTF-8.
    """
    name, shape = tensor.name, tensor.shape
    if name not in form.inputs:
        known = ", ".join(map(repr, form.inputs))
        raise InvalidInput(f"input {name[:SHOWN]!r} is unknown; this model takes {known} (BYTES)")
    if tensor.datatype != "BYTES":
        raise InvalidInput(
            f"input {name!r} has datatype {tensor.datatype[:SHOWN]}; it must be BYTES"
        )
    if not (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)) or shape[0] < 0:
        shown = str(shape[:SHOWN])[:SHOWN]
        raise InvalidInput(f"input {name!r} has shape {shown}; it must be [N] or [N, 1]")
    if shape[0] == 0:
        raise EmptyInput(f"input {name!r} is empty; at least one text is needed")
    texts = [_text(item, name, index) for index, item in enumerate(tensor.data)]
    if len(texts) != shape[0]:
        raise InvalidInput(f"input {name!r} has shape {shape} but {len(texts)} texts")
    return texts


def check_inputs(form: TensorForm, count: int) -> None:
    """Raise InvalidInput unless there are as many input tensors as the task has."""
    inputs = form.inputs
    if count != len(inputs):
        number = "one" if len(inputs) == 1 else str(len(inputs))
        listed = ", ".join(map(repr, inputs))
        raise InvalidInput(f"{count} inputs; this model takes {number}, {listed}")


def check_given_once(form: TensorForm, names: int) -> None:
    """Raise InvalidInput if there are as many inputs as the task has, but fewer names."""
    if names != len(form.inputs):
        listed = ", ".join(map(repr, form.inputs))
        raise InvalidInput(f"an input is given twice; this model takes {listed}, each once")


def check_outputs(form: TensorForm, names: Sequence[str]) -> None:
    """Raise InvalidInput for an output that the task does not give, or that is asked for twice."""
    if len(names) > 1 and (name := first_duplicate(names)) is not None:
        raise InvalidInput(f"outputs has {name[:SHOWN]!r} twice; each may be asked for once")
    for name in names:
        if name not in form.outputs:
            listed = ", ".join(f"{output!r} ({kind})" for output, kind in form.outputs.items())
            raise InvalidInput(f"output {name[:SHOWN]!r} is unknown; this model gives {listed}")


def _text(item: str | bytes | list[str], name: str, index: int) -> str:
    if isinstance(item, str):
        return item
    if isinstance(item, bytes):
        try:
            return item.decode()
        except UnicodeDecodeError as error:
            raise InvalidInput(f"input {name!r}[{index}] is not valid UTF-8") from error
    if len(item) == 1:
        return item[0]
    raise InvalidInput(f"input {name!r}[{index}] has {len(item)} elements; its shape says 1")


def split_bytes(raw: bytes) -> list[bytes]:
    """Elements of a raw BYTES tensor: each a 4-byte little-endian length, then its bytes.

    Raises:
        InvalidInput: the lengths do not add up.
    """
    elements: list[bytes] = []
    place, size = 0, len(raw)
    while place < size:
        if size - place < _LENGTH.size:
            raise InvalidInput(f"binary input ends inside a length, after {len(elements)} elements")
        (length,) = _LENGTH.unpack_from(raw, place)
        place += _LENGTH.size
        if length > size - place:
            raise InvalidInput(
                f"binary input: element {len(elements)} has {length} bytes, {size - place} are left"
            )
        elements.append(raw[place : place + length])
        place += length
    return elements


def options_of(parameters: InferParameters) -> dict[str, Any]:
    """The parameters that every task has, as fields of a `TaskRequest`.

    Raises:
        InvalidInput: `priority` is unknown, a timeout is negative, or `cache` is not on or off.
    """
    return {
        "lane": parse_priority(parameters.priority),
        "timeout_s": _timeout(parameters),
        "cache": parameters.cache is None or cache_wanted("parameter cache", parameters.cache),
    }


def parse_priority(value: str | int | None) -> Lane | None:
    """`query`, `ingest` or Triton's number (1 query, 2 ingest, 0 unset).

    Raises:
        InvalidInput: anything else.
    """
    if value is None or value in (0, "0", ""):
        return None
    if value in (1, "1", "query"):
        return Lane.QUERY
    if value in (2, "2", "ingest"):
        return Lane.INGEST
    raise InvalidInput(f"priority {str(value)[:40]!r} is unknown; use query (1) or ingest (2)")


def cache_wanted(where: str, value: str | bool) -> bool:
    """Whether rows may come from the cache: `on` or `off`, or a truth value.

    Raises:
        InvalidInput: anything else.
    """
    if isinstance(value, bool):
        return value
    if value.strip().lower() not in ("on", "off"):
        raise InvalidInput(f"{where} is {value[:40]!r}; it must be on or off")
    return value.strip().lower() == "on"


def _timeout(parameters: InferParameters) -> float | None:
    name, value, unit = "timeout_ms", parameters.timeout_ms, 1e3
    if value is None:
        name, value, unit = "timeout", parameters.timeout or None, 1e6  # Triton: 0 means none
    if value is None:
        return None
    if value < 0:
        raise InvalidInput("timeout is negative")
    if not value <= MAX_TIMEOUT:  # NaN too, which Triton's double_param can carry
        raise InvalidInput(f"{name} is over the limit {MAX_TIMEOUT}")
    return value / unit


def raw_bytes(array: npt.NDArray[Any]) -> bytes:
    """An array's elements as V2 sends them in binary: little-endian, row by row."""
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def model_metadata(
    name: str, versions: list[str], forms: Sequence[TensorForm], bundle: Bundle
) -> dict[str, Any]:
    """V2's model metadata: the tensors of all tasks of the model, each once."""
    inputs: dict[str, TensorSpec] = {}
    outputs: dict[str, TensorSpec] = {}
    for form in forms:
        takes, gives = form.described(bundle)
        inputs |= {tensor.name: tensor for tensor in takes}
        outputs |= {tensor.name: tensor for tensor in gives}
    return {
        "name": name,
        "versions": versions,
        "platform": "onnxruntime_onnx",
        "inputs": [_described(tensor) for tensor in inputs.values()],
        "outputs": [_described(tensor) for tensor in outputs.values()],
    }


def _described(tensor: TensorSpec) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
