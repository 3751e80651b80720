"""What an error's meaning is called in HTTP and in gRPC: one table, the only one."""

import math

import grpc

from predictor.errors import NotReady, Overloaded, PredictorError, RouteNotFound
from predictor.protocols import tei
from predictor.types import Protocol

CLIENT_GONE = 499  # nginx's number; nobody reads it, it is for the metrics

_HTTP = {
    "invalid_input": 400,
    "malformed_body": 400,
    "empty_input": 400,
    "input_too_long": 400,
    "batch_too_large": 400,
    "body_too_large": 413,
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

_GRPC = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    405: grpc.StatusCode.UNIMPLEMENTED,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    CLIENT_GONE: grpc.StatusCode.CANCELLED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}


def http_status(error: PredictorError, protocol: Protocol) -> int:
    status = _HTTP[error.code]
    return tei.STATUS.get(error.code, status) if protocol == "tei" else status


def grpc_status(error: PredictorError) -> grpc.StatusCode:
    if isinstance(error, RouteNotFound):
        return grpc.StatusCode.UNIMPLEMENTED
    return _GRPC[_HTTP[error.code]]


def grpc_name(status: int) -> str:
    """What gRPC calls an HTTP status of `http_status`."""
    return "OK" if status == 200 else str(_GRPC[status].name)


def retry_after(error: PredictorError) -> str | None:
    """Whole seconds for `Retry-After`, if coming back makes sense."""
    if isinstance(error, (Overloaded, NotReady)):
        return str(max(1, math.ceil(error.retry_after_s)))
    return "1" if _HTTP[error.code] == 503 else None
