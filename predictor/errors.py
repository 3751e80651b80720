"""The errors of the server, by meaning.

Core code raises these and knows nothing of HTTP or gRPC; `server/` maps each `code` to the statuses
of the protocols. The message is written for the client: what was wrong, the limit, the value. Any
other exception is an internal error, and its text never leaves the process.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

# As `PredictorError.param`: the inputs themselves, whatever the protocol calls their field.
INPUTS = "inputs"


class PredictorError(Exception):
    """Base of all errors whose message may be sent to a client."""

    code: ClassVar[str] = "internal"
    # The reason under which the metrics count a request that was rejected with this error.
    rejection: ClassVar[str | None] = None
    # The field of the request that is meant, as its protocol writes it; None: no field alone.
    param: str | None = None


class InvalidInput(PredictorError):
    """The request is malformed: wrong shape, type, parameter or an empty list."""

    code = "invalid_input"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        """param: the field of the request that is wrong, where it is one field."""
        super().__init__(message)
        if param is not None:
            self.param = param


class InputTooLong(InvalidInput):
    """A text has more tokens than the model's limit, and truncation is off."""

    code = "input_too_long"
    param = INPUTS


class BatchTooLarge(InvalidInput):
    """A request has more inputs than one request may have."""

    code = "batch_too_large"
    param = INPUTS


class EmptyInput(InvalidInput):
    """No input at all (or, on TEI's routes, an empty string)."""

    code = "empty_input"
    param = INPUTS


class BodyTooLarge(PredictorError):
    """The request body is over the byte limit."""

    code = "body_too_large"


class UnsupportedEncoding(PredictorError):
    """The body is compressed in a way that is not read; the message lists those that are."""

    code = "unsupported_encoding"


class ModelNotFound(PredictorError):
    """No model or version of that name is served here."""

    code = "model_not_found"
    param = "model"


class RouteNotFound(PredictorError):
    """No such route, or one that this model cannot serve (rerank, sparse)."""

    code = "route_not_found"


class TaskNotSupported(PredictorError):
    """The model or the protocol does not support this task; the message names those it does."""

    code = "task_not_supported"


class Overloaded(PredictorError):
    """The queue is full; a retry may succeed after `retry_after_s` seconds."""

    code = "overloaded"
    rejection = "queue_full"

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TooManyRequests(Overloaded):
    """The server has its maximum of concurrent requests."""

    rejection = "too_many_requests"


class TooManyBytes(Overloaded):
    """Requests and answers that wait take all of the memory that they may take."""

    rejection = "waiting_bytes"


class RateLimited(Overloaded):
    """The caller's API key has used up its requests or tokens; others are still served."""

    code = "rate_limit_exceeded"  # OpenAI's word
    rejection = "rate_limited"


class Unauthorized(PredictorError):
    """There is no API key or token, or an unknown one."""

    code = "unauthorized"
    rejection = "unauthorized"


class Forbidden(PredictorError):
    """The API key is known but may not do this."""

    code = "forbidden"
    rejection = "forbidden"


class DeadlineExceeded(PredictorError):
    """The request's deadline passed before its rows were computed."""

    code = "deadline_exceeded"
    rejection = "deadline"


class NotReady(PredictorError):
    """The server is loading or draining, or the engine is down."""

    code = "not_ready"
    rejection = "not_ready"

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class EngineError(PredictorError):
    """The engine failed on these rows; the details are in the log only."""

    code = "engine_error"


# Inputs that one message lists.
_LISTED = 16


class NotFinite(EngineError):
    """The model gave NaN or infinity for some rows; the other rows are good.

    indices: of those rows, ascending.
    rows: all rows that were computed, float32 `[N, dim]`; None where only the message is of use.
    """

    def __init__(self, indices: Sequence[int], rows: Any = None) -> None:
        listed = ", ".join(f"inputs[{index}]" for index in indices[:_LISTED])
        more = len(indices) - _LISTED
        super().__init__(
            f"the model gave NaN, infinity or numbers too large to use for {listed}"
            + (f" and {more} more inputs" if more > 0 else "")
        )
        self.indices = indices
        self.rows = rows


class ClientGone(PredictorError):
    """The client disconnected before it got its answer."""

    code = "client_gone"
    rejection = "client_gone"


class BadModel(PredictorError):
    """A model directory cannot be served: missing, corrupt, unsupported or out of tolerance.

    reason: the word for it in metrics and states.
    is_passing: whether the fault is not of the files but of the surroundings (memory, disk, time),
        so that the same files may load later.
    """

    code = "bad_model"
    reason: ClassVar[str] = "invalid"
    is_passing: ClassVar[bool] = False


class IncompleteModel(BadModel):
    """A file is missing or is not (yet) the one that the manifest lists."""

    reason = "incomplete"


class WrongVectors(BadModel):
    """The model does not give its own canonical vectors here."""

    reason = "vectors"


class NoMemory(BadModel):
    """The version does not fit into the memory limit beside what is loaded."""

    reason = "memory"
    is_passing = True


class NoResources(BadModel):
    """The disk is full, or the process has no file descriptors left."""

    reason = "resources"
    is_passing = True


class NotInTime(BadModel):
    """The version did not load within its deadline."""

    reason = "time"
    is_passing = True


class OtherDimensions(BadModel):
    """The version's vectors do not go with those that the model has given so far."""

    reason = "dimensions"


class BadSetting(PredictorError):
    """A flag or environment variable has an impossible value."""

    code = "bad_setting"


class EngineOutOfMemory(EngineError):
    """The engine could not allocate for this batch; a smaller one may fit."""

    code = "engine_out_of_memory"


class MalformedBody(InvalidInput):
    """The body does not parse at all."""

    code = "malformed_body"


class Internal(PredictorError):
    """Our fault. The text holds an id that finds the log line, and nothing else."""

    code = "internal"


class MethodNotAllowed(PredictorError):
    """The route exists, with other methods: `allowed`, as the header `Allow` lists them."""

    code = "method_not_allowed"

    def __init__(self, message: str, allowed: str = "") -> None:
        super().__init__(message)
        self.allowed = allowed
