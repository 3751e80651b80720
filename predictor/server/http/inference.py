"""The handler of inference requests over REST: reads, answers, and sends errors."""

import asyncio
import time
from functools import lru_cache

from predictor.access import Principal
from predictor.errors import ClientGone, PredictorError, RateLimited
from predictor.server.headers import request_id_of
from predictor.server.http.request import HeaderLines, Request, send_error
from predictor.server.http.route import Match
from predictor.server.http.services import Services
from predictor.server.http.watches import Watch
from predictor.server.inference import InferenceAnswer, RequestContext

# Bytes of the largest body that is read although the request is refused, so that the client can
# keep its connection.
SKIPPED_BYTES = 64 << 10


async def infer(services: Services, request: Request, match: Match) -> None:
    """Answer a request; an error has the shape of the request's protocol."""
    inference = services.inference
    route = match.route
    codec = services.codecs[route.codecs[0]]
    request_id = request_id_of(request.header(b"x-request-id"), request.header(b"traceparent"))
    principal: Principal | None = None
    watch: Watch | None = None
    is_unread = False
    try:
        principal = inference.authenticate(request.credential)  # before the body is read
        if principal is not None:
            try:
                principal.check_limits(time.monotonic())
            except RateLimited:
                is_unread = not await request.skip_small_body(SKIPPED_BYTES)
                raise
        body = await request.body(services.settings.request.max_body_bytes)
        codec = services.codecs[route.codec_for(body)]
        watch = services.watches.begin(request)
        context = RequestContext(
            codec=codec,
            body=body,
            headers=request,
            request_id=request_id,
            route=route.template,
            task=route.task,
            model=match.parameters.get("model", ""),
            version=match.parameters.get("version", ""),
            principal=principal,
        )
        answer = await inference.answer(context)
    except ClientGone:
        return
    except PredictorError as error:
        if watch is None:
            inference.record_refusal(codec, error)
        headers = _limits(principal) if isinstance(error, RateLimited) else ()
        await send_error(
            request, error, codec, request_id=request_id, headers=headers, closing=is_unread
        )
        return
    except asyncio.CancelledError:
        if watch is not None and watch.left:
            return  # the client has left, so there is no answer to send
        raise
    finally:
        if watch is not None:
            services.watches.end(watch)
    await request.respond(200, answer.encoded, _result_headers(answer, request_id))


def _limits(principal: Principal | None) -> HeaderLines:
    """The headers that say what is left of the API key's limits."""
    if principal is None:
        return ()
    return _lines(principal.headers(time.monotonic()))


def _lines(headers: tuple[tuple[str, str], ...]) -> HeaderLines:
    return tuple((name.encode(), value.encode()) for name, value in headers)


def _result_headers(answer: InferenceAnswer, request_id: str) -> HeaderLines:
    result = answer.result
    lines = ((b"x-request-id", request_id.encode()), *_identity(result.version, result.revision))
    if result.truncated:
        lines = (*lines, (b"x-truncated-inputs", result.truncated_list.encode()))
    if result.missing_prompt:
        lines = (*lines, (b"x-missing-prompt", result.missing_prompt.encode()))
    if answer.headers:
        lines = (*lines, *_lines(answer.headers))
    return lines


@lru_cache(maxsize=256)  # bounded, because versions come and go
def _identity(version: str, revision: str) -> HeaderLines:
    return (b"x-model-version", version.encode()), (b"x-model-revision", revision.encode())
