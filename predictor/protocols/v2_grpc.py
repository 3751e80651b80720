"""V2 over gRPC: the same tensors in KServe's protobuf messages, typed or raw contents."""

import struct
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from predictor.errors import EmptyInput, InvalidInput, PredictorError
from predictor.kserve_sdk import messages
from predictor.protocols.codec import Decoded, Encoded, Headers
from predictor.protocols.v2_codec import TensorCodec
from predictor.protocols.v2_tensors import (
    NO_PARAMETERS,
    InferParameters,
    NamedInput,
    TensorForm,
    check_given_once,
    check_inputs,
    check_outputs,
    raw_bytes,
    split_bytes,
    texts_of,
)
from predictor.protocols.wire import from_json
from predictor.tasks import TaskRequest, TaskResult

# Generated protobuf classes have no types.
InferRequest = Any
InferResponse = Any


# Bytes of a message from which its fields are counted before it is parsed.
COUNTED_BYTES = 64 << 10
# Most fields of a message: inputs, outputs, parameters and raw contents together.
MAX_FIELDS = 1024


def parse_infer(data: bytes) -> InferRequest:
    """Parse a ModelInferRequest.

    An empty input takes 2 bytes on the wire and 80 in memory, so 8 MiB of them would take 340 MiB.
    The fields of a large message are therefore counted before it is parsed.

    Raises:
        InvalidInput: the data is no such message, or it has too many fields.
    """
    if len(data) > COUNTED_BYTES and _has_more_fields(data, MAX_FIELDS):
        raise InvalidInput(f"the message has more than {MAX_FIELDS} fields")
    try:
        return messages.ModelInferRequest.FromString(data)
    except DecodeError:
        raise InvalidInput("the message is not a valid ModelInferRequest") from None


def _has_more_fields(data: bytes, most: int) -> bool:
    """Whether a message has more top-level fields; one that cannot be read has not."""
    place = 0
    for _ in range(most):
        if place >= len(data):
            return False
        tag, place = _varint(data, place)
        wire_type = tag & 7
        if wire_type == 2:
            size, place = _varint(data, place)
            place += size
        elif wire_type == 0:
            _, place = _varint(data, place)
        elif wire_type in (1, 5):
            place += 8 if wire_type == 1 else 4
        else:
            return False  # the parser refuses it
    return place < len(data)


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """A number and the place behind it; at most 10 bytes are read."""
    value = 0
    for shift, byte in enumerate(data[place : place + 10]):
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value, place + shift + 1
    return 0, len(data)


class V2GrpcForm:
    """A task's tensors as V2 writes them over gRPC. The option of an answer is the client's id."""

    def __init__(self, tensors: TensorForm) -> None:
        self._tensors = tensors
        self.task = tensors.task

    def decode(self, body: InferRequest, headers: Headers) -> tuple[TaskRequest, str]:
        """See `Form.decode`. body: a ModelInferRequest."""
        del headers
        form = self._tensors
        inputs = body.inputs
        check_inputs(form, len(inputs))
        if outputs := body.outputs:
            check_outputs(form, [output.name for output in outputs])
        texts: dict[str, list[str]] = {}
        for tensor, data in zip(inputs, _contents(body), strict=True):
            name = tensor.name
            named = NamedInput(name, tensor.datatype, list(tensor.shape), data)
            texts[name] = texts_of(form, named)
        check_given_once(form, len(texts))
        return form.request(texts, parameters_of(body.parameters)), body.id

    def encode(self, options: str, result: TaskResult, request_id: str) -> Encoded[InferResponse]:
        """See `Form.encode`. The body is a ModelInferResponse with raw contents."""
        response = messages.ModelInferResponse(
            model_name=result.model,
            model_version=result.version,
            id=options or request_id,
        )
        for tensor in self._tensors.tensors(result):
            data = raw_bytes(tensor.array)
            output = response.outputs.add(
                name=tensor.name, datatype=tensor.datatype, shape=tensor.array.shape
            )
            output.parameters["binary_data_size"].int64_param = len(data)
            if result.truncated:
                output.parameters["truncated_inputs"].string_param = result.truncated_list
            response.raw_output_contents.append(data)
        return Encoded(response.SerializeToString())


class V2GrpcCodec(TensorCodec[V2GrpcForm]):
    """V2's ModelInfer."""

    name = "v2_grpc"

    def __init__(self, tensors: Mapping[str, TensorForm]) -> None:
        """tensors: by the name of their task."""
        super().__init__(tensors, {task: V2GrpcForm(form) for task, form in tensors.items()})

    def decode(
        self, body: InferRequest, headers: Headers, tasks: Sequence[str]
    ) -> Decoded[InferRequest]:
        """See `Codec.decode`."""
        outputs = [output.name for output in body.outputs]
        form = self.form_for(tasks, outputs)
        request, options = form.decode(body, headers)
        return Decoded(form, request, options)

    def encode_error(self, error: PredictorError, request_id: str) -> bytes:
        """The details of a gRPC status."""
        del request_id
        return str(error).encode()


def _contents(message: InferRequest) -> list[list[bytes]]:
    """The elements of each input, in order.

    Raises:
        InvalidInput: there are both kinds of contents, or raw ones for some inputs only.
        EmptyInput: an input has neither.
    """
    raw = message.raw_input_contents
    typed = [list(tensor.contents.bytes_contents) for tensor in message.inputs]
    if raw:
        if any(typed) or len(raw) != len(typed):
            raise InvalidInput("one input takes one raw_input_contents and no contents")
        return [split_bytes(content) for content in raw]
    for tensor, elements in zip(message.inputs, typed, strict=True):
        if elements:
            continue
        is_empty = list(tensor.shape) in ([0], [0, 1])
        if not is_empty and tensor.datatype == "BYTES":
            raise EmptyInput(
                f"input {tensor.name!r} has neither bytes_contents nor raw_input_contents"
            )
    return typed


def parameters_of(message: Any) -> InferParameters:
    """Request parameters by their protobuf types.

    Raises:
        InvalidInput: one of ours has a value of another type.
    """
    if not message:
        return NO_PARAMETERS
    values: dict[str, Any] = {}
    for name, value in message.items():
        if name not in InferParameters.__struct_fields__:
            continue
        values[name] = _value_of(name, value)
    for name, kind in _TYPES.items():
        value = values.get(name)
        if value is not None and (not isinstance(value, kind) or _is_stray_bool(value, kind)):
            raise InvalidInput(f"parameter {name!r} is a {type(value).__name__}")
    try:
        return msgspec.convert(values, InferParameters, dec_hook=from_json)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"parameters: {error}") from error


def _value_of(name: str, parameter: Any) -> Any:
    """A parameter's value; Triton's proto has two kinds that KServe's does not know.

    Source: triton common/protobuf/grpc_service.proto, InferParameter: double_param is field 4,
    uint64_param field 5. Triton's clients send `priority` and `timeout` as the latter.
    """
    kind = parameter.WhichOneof("parameter_choice")
    if kind:
        return getattr(parameter, kind)
    for field in cast(Any, UnknownFieldSet(parameter)):
        if (field.field_number, field.wire_type) == (5, _VARINT):
            return field.data
        if (field.field_number, field.wire_type) == (4, _FIXED64):
            return struct.unpack("<d", field.data.to_bytes(8, "little"))[0]
    return None  # as null in JSON


_VARINT, _FIXED64 = 0, 1
_TYPES: dict[str, type | tuple[type, ...]] = {
    "dimensions": int,
    "normalize": bool,
    "truncate": (bool, str),
    "prompt_name": str,
    "priority": (str, int),
    "timeout": int,
    "timeout_ms": (int, float),
    "cache": (str, bool),
}


def _is_stray_bool(value: object, kind: type | tuple[type, ...]) -> bool:
    allowed = kind if isinstance(kind, tuple) else (kind,)
    return isinstance(value, bool) and bool not in allowed
