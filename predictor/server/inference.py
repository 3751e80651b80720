"""The pipeline of every inference request: admit, decode, run, encode, count.

REST and gRPC differ only in how a request is received and how its outcome is sent; the steps in
between are here. The transport calls `authenticate` before it reads the body, and passes the
principal in the context.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from predictor.access import Authenticator, Principal
from predictor.errors import (
    ClientGone,
    Internal,
    ModelNotFound,
    NotReady,
    PredictorError,
    TooManyRequests,
)
from predictor.protocols.codec import CLIENT_GONE, Codec, Decoded, Encoded, Headers
from predictor.protocols.v2_tensors import TensorForm, cache_wanted
from predictor.repository import RoutingTable
from predictor.server.access_log import AccessLog
from predictor.server.codec_threads import INLINE_BYTES, CodecThreads, size_of
from predictor.server.headers import lane_of
from predictor.server.health import ListenerHealth
from predictor.server.ledger import UNCHARGED_BYTES, Ledger
from predictor.server.model import ServedModel, TaskCall
from predictor.server.status import grpc_name
from predictor.tasks import Task, TaskRequest, TaskResult
from predictor.timeline import CURRENT, Timeline
from predictor.tracing import RequestFacts, Tracer
from predictor.version_metrics import count_rejection, observe_request

logger = logging.getLogger(__name__)


class RequestContext(Struct, frozen=True):
    """One request as it was received."""

    codec: Codec[Any]
    # Bytes over REST, a protobuf message over gRPC.
    body: Any
    headers: Headers
    # From `X-Request-Id` or `traceparent`, otherwise made by the server.
    request_id: str
    # The path template of the route, or gRPC's full method.
    route: str
    # The task that the route is for; empty: the body says which task of the model.
    task: str = ""
    # From the path; empty if the protocol does not name them there.
    model: str = ""
    version: str = ""
    # The API key that sent it; None: no keys are configured.
    principal: Principal | None = None
    # Seconds until the transport's deadline.
    timeout_s: float | None = None


class InferenceAnswer(Struct):
    """The answer for the client."""

    encoded: Encoded[Any]
    result: TaskResult
    # What is left of the API key's limits, as OpenAI's `x-ratelimit-*`.
    headers: tuple[tuple[str, str], ...] = ()


class RequestProgress(Struct):
    """How far a request got; None: it did not get so far. Only the pipeline writes it."""

    model: ServedModel | None = None
    decoded: Decoded[Any] | None = None
    inputs: int = 0
    result: TaskResult | None = None
    # Bytes in the ledger's account of texts.
    charged: int = 0

    @property
    def names(self) -> tuple[str, str]:
        """Model and version; empty if the request named none that is served."""
        return (self.model.name, self.model.version) if self.model else ("", "")


class Inference:
    """Answers requests with the versions in the routing table."""

    def __init__(  # noqa: PLR0913  the parts of the pipeline, by name
        self,
        models: RoutingTable[ServedModel],
        authenticator: Authenticator,
        ledger: Ledger,
        *,
        max_concurrent: int,
        tasks: Mapping[str, Task[Any, Any]],
        tensors: Mapping[str, TensorForm],
        access_log: AccessLog | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        """Prepare.

        Args:
            ledger: what waits in this process.
            max_concurrent: the most requests in the server at once.
            tasks: the tasks that this server supports, by name.
            tensors: their V2 inputs and outputs, by the name of the task.
        """
        self.models = models
        self.authenticator = authenticator
        self.ledger = ledger
        self.tasks = tasks
        self.tensors = tensors
        self.in_flight = 0
        self.draining = False
        self._max_concurrent = max_concurrent
        self._codec_threads = CodecThreads()
        self._access_log = access_log
        self._tracer = tracer
        self.health = ListenerHealth()

    def is_model_ready(self, name: str, version: str = "") -> bool | None:
        """Whether a model can answer now; None: there is none of that name."""
        try:
            model = self.models.find(name, version)
        except ModelNotFound:
            return None
        except NotReady:
            return False
        return not self.draining and model.is_healthy

    @property
    def ready(self) -> bool:
        """Whether requests are answered now, on every port."""
        return not self.draining and self.models.is_ready and self.health.is_good

    def record_refusal(self, codec: Codec[Any], error: PredictorError) -> None:
        """Count a request that was refused before its body was read."""
        observe_request(codec.name, "", "", codec.status(error), Timeline())
        _count_rejection("", "", error)

    def authenticate(self, credential: str | None) -> Principal | None:
        """Return the principal of a key; None: no keys are configured. Raises Unauthorized."""
        return self.authenticator.authenticate(credential, time.monotonic(), time.time())

    async def answer(self, context: RequestContext) -> InferenceAnswer:
        """Answer a request, and count, trace and log it.

        Raises:
            PredictorError: the error for the client; no other exception is raised.
        """
        timeline = Timeline()
        CURRENT.set(timeline)
        if self._tracer is not None:
            header = context.headers.header
            timeline.span = self._tracer.begin(header(b"traceparent"), header(b"tracestate"))
        progress = RequestProgress()
        status = 500  # until another status is known; an error of any kind must not count as 200
        self.in_flight += 1
        try:
            answer = await self._run(context, timeline, progress)
            status = 200
            return answer
        except PredictorError as error:
            status = context.codec.status(error)
            _count_rejection(*progress.names, error)
            raise
        except asyncio.CancelledError:
            status = CLIENT_GONE
            _count_rejection(*progress.names, ClientGone("the client went away"))
            raise
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:  # a library's panic is no Exception
            raise internal_error(context.request_id) from error
        finally:
            self.in_flight -= 1
            if progress.charged:
                self.ledger.texts -= progress.charged
            self._conclude(context, timeline, status, progress)

    async def _run(
        self, context: RequestContext, timeline: Timeline, progress: RequestProgress
    ) -> InferenceAnswer:
        """Take the steps of a request; `progress` says how far it got if it raises."""
        self._admit()
        if context.model or context.version:  # a wrong path is 404 before the body is decoded
            progress.model = self.models.find(context.model, context.version)
        tasks = (context.task,) if context.task else self._tasks_of(progress.model)
        body = context.body
        size = size_of(body)
        if size > UNCHARGED_BYTES:
            progress.charged = self.ledger.charge_texts(size)
        if size <= INLINE_BYTES:
            decoded = context.codec.decode(body, context.headers, tasks)
        else:
            decoded = await self._codec_threads.run(
                context.codec.decode, body, context.headers, tasks
            )
        progress.decoded = decoded
        timeline.decode = time.perf_counter() - timeline.started
        request = decoded.request
        _take_headers(request, context)
        model = progress.model or self.models.find(request.model)
        progress.model = model
        task = model.task(decoded.form.task)
        progress.inputs = len(task.inputs(request))
        principal = context.principal
        if principal is not None:
            principal.may_use(model.name, self.models.aliases)
            principal.charge_request(time.monotonic())
        result, _ = await model(TaskCall(task, request, principal))
        progress.result = result
        encoding = time.perf_counter()
        if result.content_bytes <= INLINE_BYTES:
            encoded = decoded.encode(result, context.request_id)
        else:
            encoded = await self._codec_threads.run(decoded.encode, result, context.request_id)
        timeline.encode = time.perf_counter() - encoding
        headers = principal.headers(time.monotonic()) if principal is not None else ()
        return InferenceAnswer(encoded, result, headers)

    def _tasks_of(self, model: ServedModel | None) -> tuple[str, ...]:
        """The tasks that a body may be for: those of the path's model, or else the server's."""
        return model.task_names if model is not None else tuple(self.tasks)

    def _admit(self) -> None:
        if self.draining:
            raise NotReady("the server is shutting down")
        if self.in_flight > self._max_concurrent:
            raise TooManyRequests(
                f"{self.in_flight} requests at once; the limit is {self._max_concurrent}"
            )

    def _conclude(
        self, context: RequestContext, timeline: Timeline, status: int, progress: RequestProgress
    ) -> None:
        """Count, trace and log one request, however it ended."""
        protocol = context.codec.name
        name, version = progress.names
        trace = timeline.span.trace if timeline.span is not None else ""
        seconds = observe_request(protocol, name, version, status, timeline, trace)
        if self._tracer is not None and timeline.span is not None:
            facts = RequestFacts(
                protocol,
                context.route,
                status,
                name,
                version,
                tokens=progress.result.tokens if progress.result else 0,
                texts=progress.inputs,
                code=grpc_name(status) if protocol == "v2_grpc" else "",
                request_id=context.request_id,
            )
            self._tracer.end(timeline.span, timeline, seconds, facts)
        if self._access_log is not None:
            names = {"protocol": protocol, "model": name, "version": version}
            if trace:
                names["trace_id"] = trace
            self._access_log.write(context.request_id, status, seconds, timeline, **names)


def _count_rejection(name: str, version: str, error: PredictorError) -> None:
    """Count a request that failed with this error, if the error is a rejection."""
    if error.rejection:
        count_rejection(name, version, error.rejection)


def _take_headers(request: TaskRequest, context: RequestContext) -> None:
    """Set what the headers and the transport say, unless the request itself says it."""
    header = context.headers.header
    if request.lane is None:
        request.lane = lane_of(header(b"x-priority"))
    cache = header(b"x-cache")
    if cache is not None:
        request.cache = request.cache and cache_wanted("header X-Cache", cache)
    if context.timeout_s is not None:
        request.timeout_s = min(context.timeout_s, request.timeout_s or context.timeout_s)


def internal_error(request_id: str) -> Internal:
    """Log the exception being handled; return an error for the client with only the id in it."""
    logger.exception("request failed", extra={"request_id": request_id})
    return Internal(f"internal error; request id {request_id}")
