"""Every meaning on every wire, and what is our own fault."""

import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import grpc
import httpx
import pytest
from prometheus_client import REGISTRY

from predictor import errors
from predictor.access import Authenticator
from predictor.kserve_sdk import services
from predictor.repository import Repository, RoutingTable
from predictor.server.admin import Admin
from predictor.server.application import put_together
from predictor.server.grpc_server import GrpcServer
from predictor.server.http.app import HttpApplication
from predictor.server.http.route import Router
from predictor.server.http.services import Services
from predictor.server.http.watches import Watches
from predictor.server.inference import Inference, RequestContext
from predictor.server.ledger import Ledger
from predictor.server.metrics.exposition import Exposition
from predictor.server.model import ServedModel, TaskCall
from predictor.server.shadow.shadow import ShadowSender
from predictor.server.watch.drift import DriftWatch
from predictor.settings import ServerSettings, Settings
from predictor.tasks import Task
from tests.contract.helpers import MODEL
from tests.integration.bad_input.asking import (
    PATHS,
    body,
    infer_message,
    message_of,
    rest_protocols,
)
from tests.unit.protocols.calls import Sent

APPLICATION = put_together()


class Failing:
    """A model that answers every request with one error."""

    name = "fake"
    version = "1"
    revision = "none"
    is_healthy = True
    task_names = tuple(APPLICATION.tasks)

    def task(self, name: str) -> Task[Any, Any]:
        return APPLICATION.tasks[name]

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def __call__(self, call: TaskCall) -> Any:
        del call
        raise self._error


class OneModel:
    """Stands for the live versions: one, whatever is asked for."""

    is_ready = True

    def __init__(self, model: Failing) -> None:
        self._model = model

    def find(self, name: str, version: str = "") -> Failing:
        del name, version
        return self._model


def inference_with(error: Exception) -> Inference:
    models = cast(RoutingTable[ServedModel], OneModel(Failing(error)))
    return Inference(
        models,
        Authenticator(None),
        Ledger(1 << 30),
        max_concurrent=8,
        tasks=APPLICATION.tasks,
        tensors=APPLICATION.tensors,
    )


def application(error: Exception) -> HttpApplication:
    services = Services(
        settings=Settings(),
        inference=inference_with(error),
        admin=CLOSED,
        codecs=APPLICATION.codecs,
        openapi=lambda model: {},
        exposition=Exposition(REGISTRY),
        watches=Watches(),
        figures=None,
    )
    return HttpApplication(services, Router(APPLICATION.routes))


# Nothing here asks for a change.
CLOSED = Admin(
    cast(Repository[ServedModel], None),
    None,
    None,
    cast(DriftWatch, None),
    cast(ShadowSender, None),
)


STATUSES: list[tuple[errors.PredictorError, int, int, grpc.StatusCode, str | None]] = [
    (errors.InvalidInput("why"), 400, 422, grpc.StatusCode.INVALID_ARGUMENT, None),
    (errors.Unauthorized("why"), 401, 401, grpc.StatusCode.UNAUTHENTICATED, None),
    (errors.Forbidden("why"), 403, 403, grpc.StatusCode.PERMISSION_DENIED, None),
    (errors.RateLimited("why", 7.0), 429, 429, grpc.StatusCode.RESOURCE_EXHAUSTED, "7"),
    (errors.InputTooLong("why"), 400, 422, grpc.StatusCode.INVALID_ARGUMENT, None),
    (errors.BatchTooLarge("why"), 400, 422, grpc.StatusCode.INVALID_ARGUMENT, None),
    (errors.EmptyInput("why"), 400, 400, grpc.StatusCode.INVALID_ARGUMENT, None),
    (errors.MalformedBody("why"), 400, 400, grpc.StatusCode.INVALID_ARGUMENT, None),
    (errors.ModelNotFound("why"), 404, 404, grpc.StatusCode.NOT_FOUND, None),
    (errors.BodyTooLarge("why"), 413, 413, grpc.StatusCode.RESOURCE_EXHAUSTED, None),
    (errors.Overloaded("why", 2.6), 429, 429, grpc.StatusCode.RESOURCE_EXHAUSTED, "3"),
    (errors.TooManyRequests("why"), 429, 429, grpc.StatusCode.RESOURCE_EXHAUSTED, "1"),
    (errors.TooManyBytes("why"), 429, 429, grpc.StatusCode.RESOURCE_EXHAUSTED, "1"),
    (errors.DeadlineExceeded("why"), 504, 504, grpc.StatusCode.DEADLINE_EXCEEDED, None),
    (errors.NotReady("why", 5.0), 503, 503, grpc.StatusCode.UNAVAILABLE, "5"),
    (errors.EngineOutOfMemory("why"), 503, 503, grpc.StatusCode.UNAVAILABLE, "1"),
    (errors.EngineError("why"), 500, 500, grpc.StatusCode.INTERNAL, None),
]
each_status = pytest.mark.parametrize(
    ("error", "status", "tei_status", "code", "retry_after"),
    STATUSES,
    ids=[type(row[0]).__name__ for row in STATUSES],
)


@rest_protocols
@each_status
async def test_every_meaning_over_rest(
    protocol: str,
    error: errors.PredictorError,
    status: int,
    tei_status: int,
    code: grpc.StatusCode,
    retry_after: str | None,
) -> None:
    del code
    app = application(error)
    transport = httpx.ASGITransport(cast(Any, app))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        response = await client.post(
            PATHS[protocol].replace(MODEL, "fake"), json=body(protocol, ["a"], model="fake")
        )
    assert response.status_code == (tei_status if protocol == "tei" else status)
    assert response.headers.get("retry-after") == retry_after
    assert message_of(protocol, response) == "why"


@pytest.fixture
async def grpc_with() -> AsyncIterator[Callable[[Exception], Any]]:
    """Starts a gRPC server whose one model fails with that error; gives the address."""
    started: list[GrpcServer] = []

    async def start(error: Exception) -> str:
        settings = Settings(server=ServerSettings(host="127.0.0.1", grpc_port=0))
        server_ = GrpcServer(inference_with(error), APPLICATION.grpc_codec, CLOSED, settings)
        port = await server_.start()
        started.append(server_)
        return f"127.0.0.1:{port}"

    yield start
    for server_ in started:
        await server_.stop(0.0)


@each_status
async def test_every_meaning_over_grpc(
    grpc_with: Callable[[Exception], Any],
    error: errors.PredictorError,
    status: int,
    tei_status: int,
    code: grpc.StatusCode,
    retry_after: str | None,
) -> None:
    del status, tei_status
    async with grpc.aio.insecure_channel(await grpc_with(error)) as channel:
        stub_ = services.GRPCInferenceServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub_.ModelInfer(infer_message(b"a", model="fake"))
    assert raised.value.code() is code
    assert raised.value.details() == "why"
    trailing = dict(raised.value.trailing_metadata())
    assert trailing.get("retry-after") == retry_after
    assert trailing["x-request-id"]


async def test_our_own_fault_shows_an_id_and_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    inference = inference_with(RuntimeError("secret"))
    call = RequestContext(
        codec=APPLICATION.codecs["v1"],
        body=b'{"instances": ["a"]}',
        headers=Sent({}),
        request_id="r-1",
        route="/v1/models/{model}:predict",
        task="embed",
    )
    with caplog.at_level(logging.ERROR), pytest.raises(errors.Internal) as raised:
        await inference.answer(call)
    assert str(raised.value) == "internal error; request id r-1"
    (record,) = caplog.records
    assert record.__dict__["request_id"] == "r-1"
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "secret"
    assert inference.in_flight == 0


@rest_protocols
async def test_our_own_fault_over_rest(protocol: str, caplog: pytest.LogCaptureFixture) -> None:
    app = application(RuntimeError("secret"))
    transport = httpx.ASGITransport(cast(Any, app))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        response = await client.post(
            PATHS[protocol].replace(MODEL, "fake"), json=body(protocol, ["a"], model="fake")
        )
    assert response.status_code == 500
    assert "secret" not in response.text
    request_id = response.headers["x-request-id"]
    assert message_of(protocol, response) == f"internal error; request id {request_id}"
    assert [r for r in caplog.records if r.__dict__.get("request_id") == request_id]


async def test_our_own_fault_over_grpc(
    grpc_with: Callable[[Exception], Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with grpc.aio.insecure_channel(await grpc_with(RuntimeError("secret"))) as channel:
        stub_ = services.GRPCInferenceServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub_.ModelInfer(
                infer_message(b"a", model="fake"), metadata=[("x-request-id", "r-2")]
            )
    assert raised.value.code() is grpc.StatusCode.INTERNAL
    assert raised.value.details() == "internal error; request id r-2"
    assert [r for r in caplog.records if r.__dict__.get("request_id") == "r-2"]


async def test_a_fault_outside_of_inference(caplog: pytest.LogCaptureFixture) -> None:
    app = application(RuntimeError("secret"))
    transport = httpx.ASGITransport(cast(Any, app))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        response = await client.get("/info")  # the fake model has nothing to tell
    assert response.status_code == 500
    request_id = response.headers["x-request-id"]
    assert response.json()["error"] == f"internal error; request id {request_id}"
    assert [r for r in caplog.records if r.__dict__.get("request_id") == request_id]
