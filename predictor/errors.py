"""What can go wrong, by meaning.

Core code raises these and knows nothing of HTTP or gRPC; `server/` maps each `code` to a status of
each protocol, once. The message is written for the client: what was wrong, the limit, the value.
Anything that is not one of these is our fault, and its text never leaves the process.
"""

from typing import ClassVar


class PredictorError(Exception):
    """Base of all errors whose text a client may read."""

    code: ClassVar[str] = "internal"
    # The reason under which the metrics count a request that was refused for it.
    rejection: ClassVar[str | None] = None


class InvalidInput(PredictorError):
    """The request is malformed: wrong shape, type, parameter or an empty list."""

    code = "invalid_input"


class InputTooLong(InvalidInput):
    """A text has more tokens than the model takes and truncation is off."""

    code = "input_too_long"


class BatchTooLarge(InvalidInput):
    """A request has more inputs than one request may have."""

    code = "batch_too_large"


class EmptyInput(InvalidInput):
    """No input at all (or, on TEI's routes, an empty string)."""

    code = "empty_input"


class BodyTooLarge(PredictorError):
    """The request body is over the byte limit."""

    code = "body_too_large"


class ModelNotFound(PredictorError):
    """No model or version of that name is served here."""

    code = "model_not_found"


class RouteNotFound(PredictorError):
    """No such route, or one that this model cannot serve (rerank, sparse)."""

    code = "route_not_found"


class Overloaded(PredictorError):
    """The queue is full; `retry_after_s` says when it is worth coming back (seconds)."""

    code = "overloaded"
    rejection = "queue_full"

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TooManyRequests(Overloaded):
    """As many requests are in the server as may be."""

    rejection = "too_many_requests"


class RateLimited(Overloaded):
    """The caller's API key has used up its requests or tokens; others are still served.

    headers: what is left of the limits, as `Caller.headers` has it.
    """

    code = "rate_limit_exceeded"  # OpenAI's word
    rejection = "rate_limited"
    headers: tuple[tuple[str, str], ...] = ()


class Unauthorized(PredictorError):
    """No key or token, or one that is not known."""

    code = "unauthorized"
    rejection = "unauthorized"


class Forbidden(PredictorError):
    """The key is known, and may not do this."""

    code = "forbidden"
    rejection = "forbidden"


class DeadlineExceeded(PredictorError):
    """The request's own time limit passed before its rows were computed."""

    code = "deadline_exceeded"
    rejection = "deadline"


class NotReady(PredictorError):
    """Loading, draining, or the engine is down."""

    code = "not_ready"
    rejection = "not_ready"

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class EngineError(PredictorError):
    """The engine failed on these rows; the details are in the log only."""

    code = "engine_error"


class ClientGone(PredictorError):
    """The client went away; nobody reads the answer."""

    code = "client_gone"
    rejection = "client_gone"


class BadModel(PredictorError):
    """A model directory cannot be served: missing, corrupt, unsupported or out of tolerance.

    reason: the word for it in metrics and states.
    """

    code = "bad_model"
    reason: ClassVar[str] = "invalid"


class IncompleteModel(BadModel):
    """A file is missing or is not (yet) the one that the manifest lists."""

    reason = "incomplete"


class WrongVectors(BadModel):
    """The model does not give its own canonical vectors here."""

    reason = "vectors"


class NoMemory(BadModel):
    """The version does not fit into the memory limit beside what is loaded."""

    reason = "memory"


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
