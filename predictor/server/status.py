"""The gRPC status of an HTTP status, and the time after which a client may retry."""

import math

import grpc

from predictor.errors import NotReady, Overloaded, PredictorError, RouteNotFound
from predictor.protocols.codec import CLIENT_GONE, HTTP_STATUS

_GRPC = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    405: grpc.StatusCode.UNIMPLEMENTED,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    415: grpc.StatusCode.UNIMPLEMENTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    CLIENT_GONE: grpc.StatusCode.CANCELLED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}


def grpc_status(error: PredictorError) -> grpc.StatusCode:
    """The gRPC status of an error."""
    if isinstance(error, RouteNotFound):
        return grpc.StatusCode.UNIMPLEMENTED
    return _GRPC[HTTP_STATUS[error.code]]


def grpc_name(status: int) -> str:
    """The name of the gRPC status for an HTTP status."""
    return "OK" if status == 200 else str(_GRPC[status].name)


def retry_after(error: PredictorError) -> str | None:
    """Whole seconds for `Retry-After`, if a retry may succeed."""
    if isinstance(error, (Overloaded, NotReady)):
        return str(max(1, math.ceil(error.retry_after_s)))
    return "1" if HTTP_STATUS[error.code] == 503 else None
