"""One inference request, whatever wire it came on: admit, decode, embed, encode, count, log.

The only place where requests are counted and where an unknown error is turned into an id that the
client may see and the log explains.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from predictor.access import Caller, Guard
from predictor.errors import (
    ClientGone,
    Internal,
    NotReady,
    PredictorError,
    RateLimited,
    TooManyRequests,
)
from predictor.metrics import count_rejection, observe_request
from predictor.protocols.v2 import cache_wanted
from predictor.protocols.wire import Decoded, Encoded
from predictor.repository import Answers
from predictor.server.access_log import AccessLog
from predictor.server.headers import lane_of
from predictor.server.model import EmbeddingModel
from predictor.server.status import grpc_name, http_status
from predictor.timeline import CURRENT, Timeline
from predictor.tracing import RequestFacts, Tracer
from predictor.types import EmbedRequest, EmbedResult, Protocol

logger = logging.getLogger(__name__)

Decode = Callable[[], Decoded[Any]]
Encode = Callable[[Any, EmbedResult], Encoded]


class Call(Struct, frozen=True):
    """How one request is decoded and encoded.

    request_id: from `X-Request-Id` or `traceparent`, else made here.
    lane: the header `X-Priority` as it came; a parameter of the request goes before it.
    model, version: from the path or `X-Model`; empty where the protocol has none there.
    credential: the API key as it came.
    cache: the header `X-Cache` as it came; `off` keeps the request out of the cache.
    route: the path with names for what varies, or gRPC's full method.
    traceparent, tracestate: W3C's trace context as it came.
    """

    protocol: Protocol
    decode: Decode
    encode: Encode
    request_id: str
    lane: str | None = None
    model: str = ""
    version: str = ""
    credential: str | None = None
    cache: str | None = None
    route: str = ""
    traceparent: str | None = None
    tracestate: str | None = None


class Answer(Struct):
    """headers: what the caller's API key has left, as OpenAI's `x-ratelimit-*`."""

    encoded: Encoded
    result: EmbedResult
    headers: tuple[tuple[str, str], ...] = ()


class Outcome(Struct):
    """How far a request came; None: not so far."""

    model: EmbeddingModel | None
    decoded: Decoded[Any] | None
    result: EmbedResult | None

    @property
    def names(self) -> tuple[str, str]:
        """Model and version; empty where the request named none that is served."""
        return (self.model.name, self.model.version) if self.model else ("", "")

    @property
    def texts(self) -> int:
        return len(self.decoded.request.inputs) if self.decoded else 0

    @property
    def tokens(self) -> int:
        return self.result.tokens if self.result else 0


class Inference:
    """Answers calls on the live versions while it is open."""

    def __init__(
        self,
        models: Answers[EmbeddingModel],
        guard: Guard,
        *,
        max_concurrent: int,
        access_log: AccessLog | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._tracer = tracer
        self.models, self.guard = models, guard
        self._max_concurrent, self._access_log = max_concurrent, access_log
        self.in_flight = 0
        self.draining = False

    @property
    def ready(self) -> bool:
        return not self.draining and self.models.is_ready

    def refused(self, protocol: Protocol, error: PredictorError) -> None:
        """Count a request that was refused before its body was read."""
        observe_request(protocol, "", "", http_status(error, protocol), Timeline())
        self.count_rejection(None, error)

    def caller(self, credential: str | None) -> Caller | None:
        """Who sent this key; None: nobody needs one. Raises Unauthorized."""
        return self.guard.caller(credential, time.monotonic(), time.time())

    async def answer(self, call: Call) -> Answer:
        """Do all of it.

        Raises:
            PredictorError: what the client should be told; never another exception.
        """
        timeline = Timeline()
        CURRENT.set(timeline)
        if self._tracer is not None:
            timeline.span = self._tracer.begin(call.traceparent, call.tracestate)
        status, model, decoded, result = 200, None, None, None
        self.in_flight += 1
        try:
            self._admit()
            caller = self.caller(call.credential)
            if call.model or call.version:  # a wrong path is 404 before the body is looked at
                model = self.models.find(call.model, call.version)
            decoded = call.decode()
            timeline.decode = time.perf_counter() - timeline.started
            request = decoded.request
            _take_headers(request, call)
            model = model or self.models.find(request.model)
            if caller is None:
                result, _ = await model(request)
                headers: tuple[tuple[str, str], ...] = ()
            else:
                result = await _answer_for(caller, model, request)
                headers = caller.headers(time.monotonic())
            encoding = time.perf_counter()
            encoded = call.encode(decoded.options, result)
            timeline.encode = time.perf_counter() - encoding
            return Answer(encoded, result, headers)
        except PredictorError as error:
            status = http_status(error, call.protocol)
            self.count_rejection(model, error)
            raise
        except asyncio.CancelledError:
            gone = ClientGone("the client went away")
            status = http_status(gone, call.protocol)
            self.count_rejection(model, gone)
            raise
        except Exception as error:
            status = 500
            raise internal_error(call.request_id) from error
        finally:
            self.in_flight -= 1
            self._conclude(call, timeline, status, Outcome(model, decoded, result))

    def _conclude(self, call: Call, timeline: Timeline, status: int, outcome: Outcome) -> None:
        """Count, trace and log one request, however it ended."""
        name, version = outcome.names
        trace = timeline.span.trace if timeline.span is not None else ""
        seconds = observe_request(call.protocol, name, version, status, timeline, trace)
        if self._tracer is not None and timeline.span is not None:
            facts = RequestFacts(
                call.protocol,
                call.route,
                status,
                name,
                version,
                tokens=outcome.tokens,
                texts=outcome.texts,
                code=grpc_name(status) if call.protocol == "v2_grpc" else "",
                request_id=call.request_id,
            )
            self._tracer.end(timeline.span, timeline, seconds, facts)
        if self._access_log is not None:
            names = {"protocol": call.protocol, "model": name, "version": version}
            if trace:
                names["trace_id"] = trace
            self._access_log.write(call.request_id, status, seconds, timeline, **names)

    def _admit(self) -> None:
        if self.draining:
            raise NotReady("the server is shutting down")
        if self.in_flight > self._max_concurrent:
            raise TooManyRequests(
                f"{self.in_flight} requests at once; the limit is {self._max_concurrent}"
            )

    def count_rejection(self, model: EmbeddingModel | None, error: PredictorError) -> None:
        """Count a request that was refused for such an error, if it is one to be counted."""
        if error.rejection:
            name, version = (model.name, model.version) if model else ("", "")
            count_rejection(name, version, error.rejection)


async def _answer_for(caller: Caller, model: EmbeddingModel, request: EmbedRequest) -> EmbedResult:
    """Run a request at the expense of an API key.

    Raises:
        Forbidden, RateLimited: the key may not.
    """
    try:
        caller.may_use(model.name)
        caller.take_request(time.monotonic())
        request.spend = lambda tokens: caller.take_tokens(tokens, time.monotonic())
        result, _ = await model(request)
    except RateLimited as error:
        error.headers = caller.headers(time.monotonic())
        raise
    return result


def _take_headers(request: EmbedRequest, call: Call) -> None:
    """What the headers say, where the request itself does not."""
    request.request_id = call.request_id
    if request.lane is None:
        request.lane = lane_of(call.lane)
    if call.cache is not None:
        request.cache = request.cache and cache_wanted("header X-Cache", call.cache)


def internal_error(request_id: str) -> Internal:
    """Log the exception being handled; the error for the client holds only the id that finds it."""
    logger.exception("request failed", extra={"request_id": request_id})
    return Internal(f"internal error; request id {request_id}")
