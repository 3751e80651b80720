"""One inference request, whatever wire it came on: admit, decode, embed, encode, count, log.

The only place where requests are counted and where an unknown error is turned into an id that the
client may see and the log explains.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from predictor.errors import (
    ClientGone,
    Internal,
    ModelNotFound,
    NotReady,
    PredictorError,
    TooManyRequests,
)
from predictor.metrics import observe_request
from predictor.protocols.wire import Decoded, Encoded
from predictor.server.headers import lane_of
from predictor.server.kserve_sdk import ModelRepository
from predictor.server.model import EmbeddingModel
from predictor.server.status import http_status
from predictor.types import EmbedResult, Protocol

logger = logging.getLogger(__name__)

Decode = Callable[[], Decoded[Any]]
Encode = Callable[[Any, EmbedResult], Encoded]


@dataclass(slots=True, frozen=True)
class Call:
    """How one request is decoded and encoded.

    request_id: from `X-Request-Id` or `traceparent`, else made here.
    lane: the header `X-Priority` as it came; a parameter of the request goes before it.
    model, version: from the path; empty where the protocol has none there.
    """

    protocol: Protocol
    decode: Decode
    encode: Encode
    request_id: str
    lane: str | None = None
    model: str = ""
    version: str = ""


class Inference:
    """Answers calls on the models of KServe's registry while it is open."""

    def __init__(
        self, models: ModelRepository, default_model: str, max_concurrent: int, access_log: bool
    ) -> None:
        self._models, self._default = models, default_model
        self._max_concurrent, self._access_log = max_concurrent, access_log
        self.in_flight = 0
        self.draining = False

    @property
    def ready(self) -> bool:
        models = self._models.get_models().values()
        return not self.draining and bool(models) and all(m.is_healthy for m in models)

    def model(self, name: str, version: str = "") -> EmbeddingModel:
        """The model of that name; the default model for an empty one.

        Raises:
            ModelNotFound: no such model, or not in that version.
        """
        model: EmbeddingModel | None = self._models.get_model(name or self._default)
        if model is None:
            served = ", ".join(sorted(self._models.get_models()))
            raise ModelNotFound(f"model {name[:80]!r} is not served here; served: {served}")
        if version and version != model.version:
            raise ModelNotFound(
                f"model {model.name!r} has no version {version[:80]!r}; served: {model.version}"
            )
        return model

    def names(self) -> list[str]:
        return sorted(self._models.get_models())

    def refused(self, protocol: Protocol, status: int) -> None:
        """Count a request that was refused before its body was read."""
        observe_request(protocol, "", "", status, 0.0)

    async def answer(self, call: Call) -> tuple[Encoded, EmbedResult]:
        """Do all of it.

        Raises:
            PredictorError: what the client should be told; never another exception.
        """
        started = time.perf_counter()
        status, model = 200, None
        self.in_flight += 1
        try:
            self._admit()
            if call.model or call.version:  # a wrong path is 404 before the body is looked at
                model = self.model(call.model, call.version)
            decoded = call.decode()
            request = decoded.request
            request.request_id = call.request_id
            if request.lane is None:
                request.lane = lane_of(call.lane)
            model = model or self.model(request.model)
            result, _ = await model(request)
            return call.encode(decoded.options, result), result
        except PredictorError as error:
            status = http_status(error, call.protocol)
            self._count_rejection(model, error)
            raise
        except asyncio.CancelledError:
            gone = ClientGone("the client went away")
            status = http_status(gone, call.protocol)
            self._count_rejection(model, gone)
            raise
        except Exception as error:
            status = 500
            raise internal_error(call.request_id) from error
        finally:
            self.in_flight -= 1
            seconds = time.perf_counter() - started
            name, version = (model.name, model.version) if model else ("", "")
            observe_request(call.protocol, name, version, status, seconds)
            if self._access_log:
                logger.info(
                    "request",
                    extra={
                        "request_id": call.request_id,
                        "protocol": call.protocol,
                        "model": name,
                        "status": status,
                        "ms": round(seconds * 1e3, 2),
                    },
                )

    def _admit(self) -> None:
        if self.draining:
            raise NotReady("the server is shutting down")
        if self.in_flight > self._max_concurrent:
            raise TooManyRequests(
                f"{self.in_flight} requests at once; the limit is {self._max_concurrent}"
            )

    def _count_rejection(self, model: EmbeddingModel | None, error: PredictorError) -> None:
        if error.rejection:
            (model or self.model("")).metrics.rejected[error.rejection].inc()


def internal_error(request_id: str) -> Internal:
    """Log the exception being handled; the error for the client holds only the id that finds it."""
    logger.exception("request failed", extra={"request_id": request_id})
    return Internal(f"internal error; request id {request_id}")
