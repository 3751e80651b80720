"""Requests that a model answers, over REST: read, answered, refused in their own shape."""

import asyncio
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from predictor.errors import (
    ClientGone,
    InvalidInput,
    NotReady,
    PredictorError,
)
from predictor.protocols import cohere, openai, tei, v1, v2
from predictor.protocols.wire import Decoded, Encoded
from predictor.server.headers import request_id_of
from predictor.server.http import (
    HeaderLines,
    Request,
    Watch,
    Watches,
    refuse,
)
from predictor.server.inference import Answer, Call, Encode, Inference
from predictor.server.model import EmbeddingModel
from predictor.server.status import http_status
from predictor.types import Protocol

DecodeBody = Callable[[bytes], Decoded[Any]]

DECODERS: dict[str, DecodeBody] = {
    "v1": v1.decode_request,
    "openai": openai.decode_request,
    "tei": tei.decode_request,
    "cohere": cohere.decode_request,
}
ENCODERS: dict[str, Encode] = {
    "v1": v1.encode_response,
    "v2": v2.encode_response,
    "openai": openai.encode_response,
    "tei": tei.encode_response,
    "cohere": cohere.encode_response,
}


class RestInference:
    """Reads bodies of up to `limit` bytes; used on one event loop."""

    def __init__(self, inference: Inference, limit: int) -> None:
        self._inference, self._limit = inference, limit
        self._watches = Watches()

    async def infer(
        self, protocol: Protocol, request: Request, *, model: str = "", version: str = ""
    ) -> None:
        """Read, answer, respond; errors in the protocol's own shape."""
        request_id = request_id_of(request.header(b"x-request-id"), request.header(b"traceparent"))
        watch: Watch | None = None
        try:
            credential = request.credential
            self._inference.caller(credential)  # nobody unknown may send a body
            body = await request.body(self._limit)
            watch = self._watches.begin(request)
            answer = await self._inference.answer(
                self._call(protocol, request, body, credential, (request_id, model, version))
            )
        except ClientGone:
            return
        except PredictorError as error:
            if watch is None:
                self._inference.refused(protocol, error)
            body = error_body(protocol, error, request_id)
            closing = self._inference.draining and isinstance(error, NotReady)
            await refuse(request, error, protocol, body, request_id=request_id, closing=closing)
            return
        except asyncio.CancelledError:
            if watch is not None and watch.left:
                return  # nobody is there to be answered
            raise
        finally:
            if watch is not None:
                self._watches.end(watch)
        await request.respond(200, answer.encoded, _result_headers(answer, request_id))

    def _call(
        self,
        protocol: Protocol,
        request: Request,
        body: bytes,
        credential: str | None,
        names: tuple[str, str, str],
    ) -> Call:
        request_id, model, version = names

        def decode() -> Decoded[Any]:
            if protocol == "v2":
                return v2.decode_request(body, _json_length(request))
            return DECODERS[protocol](body)

        return Call(
            protocol=protocol,
            decode=decode,
            encode=ENCODERS[protocol],
            request_id=request_id,
            lane=request.header(b"x-priority"),
            model=model or (named(request) if protocol == "tei" else ""),
            version=version,
            credential=credential,
            cache=request.header(b"x-cache"),
            route=_route(protocol, request.path, version),
            traceparent=request.header(b"traceparent"),
            tracestate=request.header(b"tracestate"),
        )

    async def tei_tool(
        self, tool: Callable[[EmbeddingModel, bytes], Encoded], request: Request
    ) -> None:
        """TEI's /tokenize and /decode, off the loop: they take texts of any length."""
        model: EmbeddingModel | None = None
        try:
            caller = self._inference.caller(request.credential)
            body = await request.body(self._limit)
            model = self._inference.models.find(named(request))
            if caller is not None:
                caller.may_use(model.name)
                caller.take_request(time.monotonic())
            encoded = await asyncio.to_thread(tool, model, body)
        except ClientGone:
            return
        except PredictorError as error:
            self._inference.count_rejection(model, error)
            raise
        await request.respond(200, encoded)


def _json_length(request: Request) -> int | None:
    value = request.header(b"inference-header-content-length")
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) < 20):
        raise InvalidInput(f"Inference-Header-Content-Length {value[:40]!r} is not a number")
    return int(value)


def _route(protocol: Protocol, path: str, version: str) -> str:
    """The path with names for what varies; others are looked up as they are, so there are few."""
    if protocol == "v1":
        return "/v1/models/{model}:predict"
    if protocol == "v2":
        return f"/v2/models/{{model}}{'/versions/{version}' if version else ''}/infer"
    return path


def named(request: Request) -> str:
    """The model that `X-Model` names, for protocols that have no place for it."""
    return request.header(b"x-model") or ""


def _result_headers(answer: Answer, request_id: str) -> HeaderLines:
    result = answer.result
    lines = ((b"x-request-id", request_id.encode()), *_identity(result.version, result.revision))
    if result.truncated:
        lines = (*lines, (b"x-truncated-inputs", result.truncated_list.encode()))
    if answer.headers:
        lines = (*lines, *((name.encode(), value.encode()) for name, value in answer.headers))
    return lines


@lru_cache(maxsize=256)  # a version that is gone need not be remembered
def _identity(version: str, revision: str) -> HeaderLines:
    return (b"x-model-version", version.encode()), (b"x-model-revision", revision.encode())


def error_body(protocol: Protocol, error: PredictorError, request_id: str) -> bytes:
    """An error as this protocol's clients expect it."""
    message = str(error)
    if protocol == "openai":
        return openai.encode_error(message, http_status(error, protocol), error.code)
    if protocol == "tei":
        return tei.encode_error(message, error.code)
    if protocol == "cohere":
        return cohere.encode_error(message, request_id)
    return v1.encode_error(message)
