"""What a protocol is: how its requests are decoded, its results and errors encoded.

A `Form` is one task as one protocol writes it; a `Codec` is a protocol: its forms, the shape of its
errors, and the statuses it gives them. A route names a codec and, where the protocol has a route
for each task, the task; V2 says by its tensors which of the model's tasks is meant.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from predictor.errors import PredictorError, TaskNotSupported
from predictor.tasks import TaskRequest, TaskResult
from predictor.types import ProtocolName

JSON = "application/json"
BINARY = "application/octet-stream"

Options = TypeVar("Options")
# What arrives and what is sent: bytes over REST, protobuf messages over gRPC.
Body = TypeVar("Body")

CLIENT_GONE = 499  # nginx's number; no client reads it, it is for the metrics
HTTP_STATUS = {
    "invalid_input": 400,
    "malformed_body": 400,
    "empty_input": 400,
    "input_too_long": 400,
    "batch_too_large": 400,
    "task_not_supported": 400,
    "body_too_large": 413,
    "unsupported_encoding": 415,
    "unauthorized": 401,
    "forbidden": 403,
    "model_not_found": 404,
    "route_not_found": 404,
    "method_not_allowed": 405,
    "bad_model": 409,
    "bad_setting": 409,
    "overloaded": 429,
    "rate_limit_exceeded": 429,
    "deadline_exceeded": 504,
    "not_ready": 503,
    "engine_out_of_memory": 503,
    "engine_error": 500,
    "internal": 500,
    "client_gone": CLIENT_GONE,
}


class Headers(Protocol):
    """The headers of a request, or the metadata of a gRPC call."""

    def header(self, name: bytes) -> str | None:
        """A header by its name in lower case."""


class Encoded(msgspec.Struct, Generic[Body]):
    """An answer's body."""

    body: Body
    content_type: str = JSON
    # Further header names (lower case) and values.
    headers: tuple[tuple[str, str], ...] = ()


class Form(Protocol[Body]):
    """One task as one protocol writes it. Stateless; pure functions on what was received."""

    @property
    def task(self) -> str:
        """The name of the task."""

    def decode(self, body: Body, headers: Headers) -> tuple[TaskRequest, Any]:
        """The request, and what its answer needs to know of how it was asked.

        Raises:
            InvalidInput: (or a subclass) anything wrong with it, by name.
        """

    def encode(self, options: Any, result: Any, request_id: str) -> Encoded[Body]:
        """The answer. options: what `decode` gave beside the request."""


class Decoded(msgspec.Struct, Generic[Body]):
    """A request, the form that it had, and what its answer needs to know of how it was asked."""

    form: Form[Body]
    request: TaskRequest
    options: Any = None

    def encode(self, result: TaskResult, request_id: str) -> Encoded[Body]:
        """The answer to this request in the form that it had."""
        return self.form.encode(self.options, result, request_id)


class Codec(Protocol[Body]):
    """One protocol. Knows no HTTP library, no model and no clock."""

    @property
    def name(self) -> ProtocolName:
        """As metrics, logs and traces have it."""

    @property
    def tasks(self) -> Sequence[str]:
        """Names of the tasks that the protocol can speak."""

    def decode(self, body: Body, headers: Headers, tasks: Sequence[str]) -> Decoded[Body]:
        """A request for one of these tasks: the route's, or those of the model in the path.

        Raises:
            InvalidInput: (or a subclass) anything wrong with it, by name.
            TaskNotSupported: the protocol speaks none of them.
        """

    def encode_error(self, error: PredictorError, request_id: str) -> bytes:
        """An error as this protocol's clients expect it."""

    def status(self, error: PredictorError) -> int:
        """The HTTP status of an error; gRPC's follows from it."""


class RestCodec(ABC):
    """What the protocols with one route for each task share."""

    name: ProtocolName

    def __init__(self, forms: Mapping[str, Form[bytes]]) -> None:
        """forms: by the name of their task."""
        self._forms = dict(forms)

    @property
    def tasks(self) -> Sequence[str]:
        """See `Codec.tasks`."""
        return tuple(self._forms)

    def decode(self, body: bytes, headers: Headers, tasks: Sequence[str]) -> Decoded[bytes]:
        """See `Codec.decode`."""
        for task in tasks:
            form = self._forms.get(task)
            if form is not None:
                request, options = form.decode(body, headers)
                return Decoded(form, request, options)
        raise no_such_task(tasks, self.tasks)

    @abstractmethod
    def encode_error(self, error: PredictorError, request_id: str) -> bytes:
        """See `Codec.encode_error`."""

    def status(self, error: PredictorError) -> int:
        """See `Codec.status`."""
        return HTTP_STATUS[error.code]


def no_such_task(requested: Sequence[str], known: Sequence[str]) -> TaskNotSupported:
    """The error for tasks that a protocol or a model does not know."""
    names = " or ".join(requested) or "no task"
    return TaskNotSupported(f"{names} is not served here; served: {', '.join(known) or 'none'}")
