"""The Open Inference Protocol (V2) over REST: JSON tensors and the binary tensor extension.

Source: kserve.github.io/website (V2 protocol) and Triton's extension_binary_data.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from predictor.errors import InvalidInput, PredictorError
from predictor.protocols.codec import (
    BINARY,
    JSON,
    Decoded,
    Encoded,
    Headers,
)
from predictor.protocols.v2_codec import TensorCodec
from predictor.protocols.v2_tensors import (
    NO_PARAMETERS,
    InferParameters,
    NamedInput,
    OutputTensor,
    TensorForm,
    check_given_once,
    check_inputs,
    check_outputs,
    raw_bytes,
    split_bytes,
    texts_of,
)
from predictor.protocols.wire import decode_json, encode_json, json_array
from predictor.tasks import TaskRequest, TaskResult


class TensorParameters(msgspec.Struct):
    """Of one tensor: whether its data follow the JSON, and how many bytes."""

    binary_data_size: int | None = None
    binary_data: bool | None = None


class InputTensor(msgspec.Struct):
    """An input; its data are here or follow the JSON."""

    name: str
    shape: list[int]
    datatype: str
    data: list[str | list[str]] | None = None
    parameters: TensorParameters | None = None


class RequestedOutput(msgspec.Struct):
    """An output that the client asks for."""

    name: str
    parameters: TensorParameters | None = None


class InferBody(msgspec.Struct):
    """The body of `POST /v2/models/{model}/infer`."""

    inputs: list[InputTensor]
    id: str | None = None
    parameters: InferParameters | None = None
    outputs: list[RequestedOutput] | None = None


@dataclass(slots=True)
class InferOptions:
    """How the client wants its answer."""

    # The client's own id of the request; empty: it gave none.
    id: str
    # Whether the output's data follow the JSON.
    binary: bool


class V2Form:
    """A task's tensors as V2 writes them over REST."""

    def __init__(self, tensors: TensorForm) -> None:
        self._tensors = tensors
        self.task = tensors.task

    def decode(self, body: bytes, headers: Headers) -> tuple[TaskRequest, InferOptions]:
        """See `Form.decode`."""
        wire, binary = _read(body, headers)
        return self.decode_read(wire, binary)

    def decode_read(self, wire: "InferBody", binary: bytes) -> tuple[TaskRequest, InferOptions]:
        """The request of a body that was read, and the bytes that follow its JSON."""
        form = self._tensors
        check_inputs(form, len(wire.inputs))
        texts = {
            tensor.name: texts_of(form, _named(tensor, binary, len(wire.inputs)))
            for tensor in wire.inputs
        }
        check_given_once(form, len(texts))
        options = InferOptions(wire.id or "", _wants_binary(form, wire))
        return form.request(texts, wire.parameters or NO_PARAMETERS), options

    def encode(self, options: InferOptions, result: TaskResult, request_id: str) -> Encoded[bytes]:
        """See `Form.encode`."""
        outputs: list[dict[str, Any]] = []
        chunks: list[bytes] = []
        for tensor in self._tensors.tensors(result):
            outputs.append(_output(tensor, result, options.binary, chunks))
        content = {
            "model_name": result.model,
            "model_version": result.version,
            "id": options.id or request_id,
            "outputs": outputs,
        }
        header = encode_json(content)
        if not options.binary:
            return Encoded(header, JSON)
        length = (("inference-header-content-length", str(len(header))),)
        return Encoded(b"".join((header, *chunks)), BINARY, length)


class V2Codec(TensorCodec[V2Form]):
    """V2's inference routes over REST."""

    name = "v2"

    def __init__(self, tensors: Mapping[str, TensorForm]) -> None:
        """tensors: by the name of their task."""
        super().__init__(tensors, {task: V2Form(form) for task, form in tensors.items()})

    def decode(self, body: bytes, headers: Headers, tasks: Sequence[str]) -> Decoded[bytes]:
        """See `Codec.decode`."""
        wire, binary = _read(body, headers)
        outputs = [output.name for output in wire.outputs or ()]
        form = self.form_for(tasks, outputs)
        request, options = form.decode_read(wire, binary)
        return Decoded(form, request, options)

    def encode_error(self, error: PredictorError, request_id: str) -> bytes:
        """V2's error object."""
        del request_id
        return encode_json({"error": str(error)})


def _read(body: bytes, headers: Headers) -> tuple[InferBody, bytes]:
    """The JSON of a body, and the bytes that follow it."""
    length = _json_length(headers)
    if length is None:
        return decode_json(body, InferBody), b""
    if length > len(body):
        raise InvalidInput(
            f"Inference-Header-Content-Length is {length}, the body has {len(body)} bytes"
        )
    return decode_json(body[:length], InferBody), body[length:]


def _json_length(headers: Headers) -> int | None:
    value = headers.header(b"inference-header-content-length")
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) < 20):
        raise InvalidInput(f"Inference-Header-Content-Length {value[:40]!r} is not a number")
    return int(value)


def _named(tensor: InputTensor, binary: bytes, count: int) -> NamedInput:
    data = _elements(tensor, binary, count)
    return NamedInput(tensor.name, tensor.datatype, tensor.shape, data)


def _elements(
    tensor: InputTensor, binary: bytes, count: int
) -> list[str | list[str]] | list[bytes]:
    """The data of an input; bytes after the JSON can be of an only input alone."""
    size = tensor.parameters.binary_data_size if tensor.parameters else None
    if size is not None and tensor.data is not None:
        raise InvalidInput(f"input {tensor.name!r} has both data and binary_data_size")
    if size is not None:
        if count > 1:
            raise InvalidInput("several inputs in binary are not served; send them as JSON")
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


def _wants_binary(form: TensorForm, wire: InferBody) -> bool:
    """Binary for the output by its own parameter, else by the request's."""
    if wire.outputs:
        check_outputs(form, [output.name for output in wire.outputs])
        parameters = wire.outputs[0].parameters
        if parameters is not None and parameters.binary_data is not None:
            return parameters.binary_data
    return wire.parameters is not None and bool(wire.parameters.binary_data_output)


def _output(
    tensor: OutputTensor, result: TaskResult, binary: bool, chunks: list[bytes]
) -> dict[str, Any]:
    """An output as JSON; in binary its bytes go to `chunks`."""
    output: dict[str, Any] = {
        "name": tensor.name,
        "datatype": tensor.datatype,
        "shape": tensor.array.shape,
    }
    parameters: dict[str, Any] = {}
    if result.truncated:
        parameters["truncated_inputs"] = result.truncated_list
    if binary:
        chunks.append(raw_bytes(tensor.array))
        parameters["binary_data_size"] = len(chunks[-1])
    else:
        output["data"] = json_array(tensor.array.ravel())
    if parameters:
        output["parameters"] = parameters
    return output
