"""Every meaning has a status in every protocol."""

import grpc
import pytest

from predictor import errors
from predictor.protocols.codec import HTTP_STATUS
from predictor.server.status import grpc_status, retry_after


def all_errors() -> list[type[errors.PredictorError]]:
    kinds, queue = [], [errors.PredictorError]
    while queue:
        kind = queue.pop()
        kinds.append(kind)
        queue += kind.__subclasses__()
    # A model's faults have subclasses elsewhere; what they are called is that of their base.
    return [kind for kind in kinds if kind.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", all_errors())
def test_no_meaning_is_forgotten(kind: type[errors.PredictorError]) -> None:
    error = kind("x")
    assert 400 <= HTTP_STATUS[error.code] <= 599
    assert isinstance(grpc_status(error), grpc.StatusCode)


@pytest.mark.parametrize(
    ("error", "http", "rpc"),
    [
        (errors.InvalidInput("x"), 400, grpc.StatusCode.INVALID_ARGUMENT),
        (errors.ModelNotFound("x"), 404, grpc.StatusCode.NOT_FOUND),
        (errors.BodyTooLarge("x"), 413, grpc.StatusCode.RESOURCE_EXHAUSTED),
        (errors.Overloaded("x"), 429, grpc.StatusCode.RESOURCE_EXHAUSTED),
        (errors.DeadlineExceeded("x"), 504, grpc.StatusCode.DEADLINE_EXCEEDED),
        (errors.NotReady("x"), 503, grpc.StatusCode.UNAVAILABLE),
        (errors.Internal("x"), 500, grpc.StatusCode.INTERNAL),
    ],
)
def test_the_table(error: errors.PredictorError, http: int, rpc: grpc.StatusCode) -> None:
    assert HTTP_STATUS[error.code] == http
    assert grpc_status(error) is rpc


def test_retry_after_in_whole_seconds_where_it_makes_sense() -> None:
    assert retry_after(errors.Overloaded("x", 2.6)) == "3"
    assert retry_after(errors.NotReady("x", 0.1)) == "1"
    assert retry_after(errors.EngineOutOfMemory("x")) == "1"
    assert retry_after(errors.InvalidInput("x")) is None
