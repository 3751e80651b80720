"""The Open Inference Protocol (V2) over REST: JSON tensors and the binary tensor extension.

Source: kserve.github.io/website (V2 protocol) and Triton's extension_binary_data.md. gRPC carries
the same tensors in protobuf; `Tensor` is where both meet.
"""

import struct
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from predictor.errors import EmptyInput, InvalidInput
from predictor.protocols.wire import BINARY, JSON, Decoded, Encoded, decode_json, encode_json
from predictor.types import EmbedRequest, EmbedResult, Lane

INPUT, OUTPUT = "text", "embedding"
_LENGTH = struct.Struct("<I")
# Largest number a timeout may be, in its own unit: what fits into Triton's int64.
MAX_TIMEOUT = 2**63 - 1
# Of a client's value, this much is repeated in an error; gRPC puts the error into a header.
SHOWN = 80


class Parameters(msgspec.Struct):
    """Request parameters. `timeout` in microseconds as Triton's, `timeout_ms` ours."""

    dimensions: int | None = None
    normalize: bool | None = None
    truncate: bool | None = None
    prompt_name: str | None = None
    priority: str | int | None = None
    timeout: int | None = None
    timeout_ms: float | None = None
    cache: str | bool | None = None
    binary_data_output: bool = False


class TensorParameters(msgspec.Struct):
    binary_data_size: int | None = None
    binary_data: bool | None = None


class InputTensor(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: list[str | list[str]] | None = None
    parameters: TensorParameters | None = None


class RequestedOutput(msgspec.Struct):
    name: str
    parameters: TensorParameters | None = None


class InferBody(msgspec.Struct):
    inputs: list[InputTensor]
    id: str | None = None
    parameters: Parameters = msgspec.field(default_factory=Parameters)
    outputs: list[RequestedOutput] | None = None


@dataclass(slots=True)
class Answer:
    """How the client wants its answer."""

    id: str
    binary: bool


def texts_of(
    name: str, datatype: str, shape: list[int], data: list[str | list[str]] | list[bytes]
) -> list[str]:
    """The texts of the one input tensor, BYTES `[N]` or `[N, 1]`.

    Raises:
        EmptyInput: N is 0.
        InvalidInput: another name, datatype or shape, as many texts as the shape does not say, or
            bytes that are not UTF-8.
    """
    if name != INPUT:
        raise InvalidInput(f"input {name[:SHOWN]!r} is unknown; this model takes {INPUT!r} (BYTES)")
    if datatype != "BYTES":
        raise InvalidInput(f"input {INPUT!r} has datatype {datatype[:SHOWN]}; it must be BYTES")
    if not (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)) or shape[0] < 0:
        shown = str(shape[:SHOWN])[:SHOWN]
        raise InvalidInput(f"input {INPUT!r} has shape {shown}; it must be [N] or [N, 1]")
    if shape[0] == 0:
        raise EmptyInput(f"input {INPUT!r} is empty; at least one text is needed")
    texts = [_text(item, index) for index, item in enumerate(data)]
    if len(texts) != shape[0]:
        raise InvalidInput(f"input {INPUT!r} has shape {shape} but {len(texts)} texts")
    return texts


def _text(item: str | bytes | list[str], index: int) -> str:
    if isinstance(item, str):
        return item
    if isinstance(item, bytes):
        try:
            return item.decode()
        except UnicodeDecodeError as error:
            raise InvalidInput(f"input {INPUT!r}[{index}] is not valid UTF-8") from error
    if len(item) == 1:
        return item[0]
    raise InvalidInput(f"input {INPUT!r}[{index}] has {len(item)} elements; its shape says 1")


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


def request_of(texts: list[str], parameters: Parameters) -> EmbedRequest:
    """The request behind the tensors.

    Raises:
        InvalidInput: `priority` is unknown or a timeout is negative.
    """
    return EmbedRequest(
        inputs=texts,
        protocol="v2",
        dimensions=parameters.dimensions,
        normalize=parameters.normalize,
        truncate=parameters.truncate,
        prompt_name=parameters.prompt_name,
        lane=parse_priority(parameters.priority),
        timeout_s=_timeout(parameters),
        cache=parameters.cache is None or cache_wanted("parameter cache", parameters.cache),
    )


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


def _timeout(parameters: Parameters) -> float | None:
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


def decode_request(body: bytes, json_length: int | None) -> Decoded[Answer]:
    """A REST body; `json_length` is the header `Inference-Header-Content-Length` if given.

    Raises:
        InvalidInput: (or a subclass) anything wrong with it, by name.
    """
    if json_length is None:
        header, binary = body, b""
    elif 0 <= json_length <= len(body):
        header, binary = body[:json_length], body[json_length:]
    else:
        raise InvalidInput(
            f"Inference-Header-Content-Length is {json_length}, the body has {len(body)} bytes"
        )
    wire = decode_json(header, InferBody)
    if len(wire.inputs) != 1:
        raise InvalidInput(f"{len(wire.inputs)} inputs; this model takes one, {INPUT!r}")
    tensor = wire.inputs[0]
    texts = texts_of(tensor.name, tensor.datatype, tensor.shape, _elements(tensor, binary))
    answer = Answer(wire.id or "", _wants_binary(wire))
    return Decoded(request_of(texts, wire.parameters), answer)


def _elements(tensor: InputTensor, binary: bytes) -> list[str | list[str]] | list[bytes]:
    size = tensor.parameters.binary_data_size if tensor.parameters else None
    if size is not None and tensor.data is not None:
        raise InvalidInput(f"input {tensor.name!r} has both data and binary_data_size")
    if size is not None:
        if size != len(binary):
            raise InvalidInput(
                f"input {tensor.name!r} says binary_data_size {size}, {len(binary)} bytes follow"
            )
        return split_bytes(binary)
    if tensor.data is None:
        raise InvalidInput(f"input {tensor.name!r} has neither data nor binary_data_size")
    if binary:
        raise InvalidInput(f"{len(binary)} bytes follow the JSON, but no input claims them")
    return tensor.data


def _wants_binary(wire: InferBody) -> bool:
    """Binary for the output by its own parameter, else by the request's."""
    if wire.outputs:
        check_outputs([output.name for output in wire.outputs])
        own = wire.outputs[0].parameters
        if own is not None and own.binary_data is not None:
            return own.binary_data
    return wire.parameters.binary_data_output


def check_outputs(names: list[str]) -> None:
    """Raise InvalidInput for an output that this model does not have."""
    for name in names:
        if name != OUTPUT:
            raise InvalidInput(
                f"output {name[:SHOWN]!r} is unknown; this model gives {OUTPUT!r} (FP32)"
            )


def encode_response(options: Answer, result: EmbedResult) -> Encoded:
    output: dict[str, Any] = {
        "name": OUTPUT,
        "datatype": "FP32",
        "shape": result.vectors.shape,
    }
    parameters: dict[str, Any] = {}
    if result.truncated:
        parameters["truncated_inputs"] = result.truncated_list
    content = {
        "model_name": result.model,
        "model_version": result.version,
        "id": options.id or result.request_id,
        "outputs": [output],
    }
    if not options.binary:
        output["data"] = result.vectors.ravel()
        if parameters:
            output["parameters"] = parameters
        return Encoded(encode_json(content), JSON)
    data = little_endian(result)
    output["parameters"] = parameters | {"binary_data_size": len(data)}
    header = encode_json(content)
    return Encoded(header + data, BINARY, (("inference-header-content-length", str(len(header))),))


def little_endian(result: EmbedResult) -> bytes:
    """The vectors as raw little-endian float32."""
    return result.vectors.astype(np.dtype("<f4"), copy=False).tobytes()


def model_metadata(name: str, versions: list[str], dimensions: int) -> dict[str, Any]:
    return {
        "name": name,
        "versions": versions,
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": INPUT, "datatype": "BYTES", "shape": [-1]}],
        "outputs": [{"name": OUTPUT, "datatype": "FP32", "shape": [-1, dimensions]}],
    }
