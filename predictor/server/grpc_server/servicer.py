"""KServe's GRPCInferenceService on our models.

KServe's servicer reaches 3.5 k requests a second with an engine that does nothing, answers UNKNOWN
where a client needs a code that it can act on, and lets every client unload models.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

import grpc
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from predictor.access import Principal
from predictor.errors import (
    InvalidInput,
    Overloaded,
    PredictorError,
    TooManyBytes,
    TooManyRequests,
)
from predictor.kserve_sdk import messages
from predictor.protocols.v2_grpc import V2GrpcCodec, parse_infer
from predictor.server import metadata
from predictor.server.admin import Admin, version_of
from predictor.server.grpc_server.calls import (
    Context,
    Messages,
    Metadata,
    UnreadAnswers,
    abort,
    parse,
    refused,
)
from predictor.server.headers import request_id_of
from predictor.server.inference import (
    Inference,
    InferenceAnswer,
    RequestContext,
    internal_error,
)
from predictor.server.watch.long_turns import timed
from predictor.settings import Settings

Handler = Callable[[object, Context], Awaitable[bytes]]

SERVICE = "inference.GRPCInferenceService"
UNREAD = "the client has not read the answers before this one (--waiting-memory-share)"
FULL = "too many bytes of requests and answers wait (--waiting-memory-share)"
INFER = f"{SERVICE}/ModelInfer"


class Servicer:
    """KServe's GRPCInferenceService on our models. Handlers take no message and return bytes."""

    def __init__(
        self, inference: Inference, codec: V2GrpcCodec, admin: Admin, settings: Settings
    ) -> None:
        limits = settings.transport
        ledger = inference.ledger
        self._inference = inference
        self._codec = codec
        self._admin = admin
        self._ledger = ledger
        max_bytes = settings.request.max_body_bytes
        self.messages = Messages(limits.body_timeout_s, ledger, max_bytes)
        self._unread = UnreadAnswers(ledger)
        self._max_calls = limits.grpc_max_concurrent_calls
        self._calls = 0

    def methods(self) -> Mapping[str, Handler]:
        """The handlers by the names of their methods; only those without a message are free."""
        free = (self.ServerLive, self.ServerReady, self.ServerMetadata)
        bounded = (
            self.ModelInfer,
            self.ModelReady,
            self.ModelMetadata,
            self.RepositoryModelLoad,
            self.RepositoryModelUnload,
        )
        handlers = {method.__name__: method for method in free}
        return handlers | {method.__name__: self._bounded(method) for method in bounded}

    def _bounded(self, method: Handler) -> Handler:
        """The same handler for a limited number of calls at once."""

        async def call(requests: object, context: Context) -> bytes:
            if self._calls >= self._max_calls:
                refused("calls")
                limit = f"{self._max_calls} (--grpc-max-concurrent-calls)"
                await abort(
                    context, TooManyRequests(f"too many calls at once; the limit is {limit}")
                )
            if self._ledger.is_full:
                refused("waiting")
                await abort(context, TooManyBytes(FULL))
            self._calls += 1
            try:
                return await method(requests, context)
            except grpc.aio.AbortError as aborted:
                # grpcio keeps it in a cycle, and with its frames would keep the call's message.
                aborted.__context__ = None
                raise aborted.with_traceback(None)  # noqa: B904  it is the same error
            finally:
                self._calls -= 1

        return call

    async def ModelInfer(self, requests: object, context: Context) -> bytes:
        """Answer an inference request; an error is the status of the call."""
        del requests
        headers = Metadata(context)
        request_id = request_id_of(headers.header(b"x-request-id"), headers.header(b"traceparent"))
        principal: Principal | None = None
        is_counted = False
        try:
            principal = self._inference.authenticate(headers.credential)  # before the message
            if principal is not None:
                principal.check_limits(time.monotonic())
            request = parse_infer(await self.messages.read(context))
            is_counted = True
            call = RequestContext(
                codec=self._codec,
                body=request,
                headers=headers,
                request_id=request_id,
                route=INFER,
                model=request.model_name,
                version=request.model_version,
                principal=principal,
                timeout_s=context.time_remaining(),
            )
            answer = await timed(self._inference.answer(call), INFER)
        except PredictorError as error:
            if not is_counted:
                self._inference.record_refusal(self._codec, error)
                if isinstance(error, InvalidInput):
                    refused("malformed")
            await abort(context, error, request_id, principal)
            raise  # abort has raised already
        body: bytes = answer.encoded.body
        if not self._unread.take(context, len(body)):
            refused("unread")
            await abort(context, Overloaded(UNREAD), request_id)
        context.set_trailing_metadata(_trailing(answer, request_id))
        return body

    async def ServerLive(self, requests: object, context: Context) -> bytes:
        del requests, context
        return _bytes(messages.ServerLiveResponse(live=True))

    async def ServerReady(self, requests: object, context: Context) -> bytes:
        del requests, context
        return _bytes(messages.ServerReadyResponse(ready=self._inference.ready))

    async def ServerMetadata(self, requests: object, context: Context) -> bytes:
        del requests, context
        return _bytes(messages.ServerMetadataResponse(**metadata.server_metadata()))

    async def ModelReady(self, requests: object, context: Context) -> bytes:
        """Whether a model can answer now. Like Triton's, it is false for an unknown model."""
        del requests
        request = await self._read(messages.ModelReadyRequest, context)
        ready = self._inference.is_model_ready(request.name, request.version) or False
        return _bytes(messages.ModelReadyResponse(ready=ready))

    async def ModelMetadata(self, requests: object, context: Context) -> bytes:
        del requests
        request = await self._read(messages.ModelMetadataRequest, context)
        model = await self._served(context, request.name, request.version)
        identity = (
            ("x-model-version", model.version),
            ("x-model-revision", model.revision),
            ("x-model-configuration", model.context.configuration.id),
        )
        context.set_trailing_metadata(identity)
        return _bytes(
            messages.ModelMetadataResponse(
                **metadata.model_metadata(self._inference, model.name, request.version)
            )
        )

    async def RepositoryModelLoad(self, requests: object, context: Context) -> bytes:
        del requests
        name = await self._change(self._admin.load, messages.RepositoryModelLoadRequest, context)
        return _bytes(messages.RepositoryModelLoadResponse(model_name=name, isLoaded=True))

    async def RepositoryModelUnload(self, requests: object, context: Context) -> bytes:
        del requests
        kind = messages.RepositoryModelUnloadRequest
        name = await self._change(self._admin.unload, kind, context)
        return _bytes(messages.RepositoryModelUnloadResponse(model_name=name, isUnloaded=True))

    async def _read(self, message_type: Any, context: Context) -> Any:
        """Read and parse the message of a call that needs no key; abort a call without one."""
        try:
            return parse(message_type, await self.messages.read(context))
        except PredictorError as error:
            await abort(context, error)

    async def _change(
        self,
        action: Callable[[str, object], Awaitable[None]],
        message_type: Any,
        context: Context,
    ) -> str:
        """Check the admin token and load or unload a model, `m` or `m:2`; return its name."""
        name = ""
        try:
            self._admin.check(Metadata(context).credential)  # before the message
            request = parse(message_type, await self.messages.read(context))
            name = _repository_name(request)
            await action(name, version_of(_repository_parameters(request)))
        except PredictorError as error:
            await abort(context, error)
        except Exception:
            await abort(context, internal_error(request_id_of(None, None)))
        return name

    async def _served(self, context: Context, name: str, version: str) -> Any:
        try:
            return self._inference.models.find(name, version)
        except PredictorError as error:
            await abort(context, error)


def _repository_name(request: Any) -> str:
    """The model of a load or unload; Triton's proto has it in field 2, KServe's in field 1.

    Source: triton common/protobuf/grpc_service.proto, RepositoryModelLoadRequest.
    """
    for field in cast(Any, UnknownFieldSet(request)):
        if field.field_number == 2 and isinstance(field.data, bytes):
            return field.data.decode("utf-8", "replace")
    return str(request.model_name)


def _repository_parameters(request: Any) -> dict[str, Any]:
    """Triton's `parameters` of a load or unload, field 3, which KServe's proto does not have.

    Entries are read as those of an inference request, which are the same but for values of bytes.

    Raises:
        InvalidInput: they are no parameters.
    """
    parameters: dict[str, Any] = {}
    for field in cast(Any, UnknownFieldSet(request)):
        if field.field_number == 3 and isinstance(field.data, bytes):
            try:
                entry = messages.ModelInferRequest.ParametersEntry.FromString(field.data)
            except DecodeError as error:
                raise InvalidInput("parameters cannot be read") from error
            kind = entry.value.WhichOneof("parameter_choice")
            parameters[entry.key] = getattr(entry.value, kind) if kind else b""
    return parameters


def _trailing(answer: InferenceAnswer, request_id: str) -> tuple[tuple[str, str], ...]:
    result = answer.result
    trailing = (
        *answer.headers,
        ("x-request-id", request_id),
        ("x-model-version", result.version),
        ("x-model-revision", result.revision),
    )
    if result.missing_prompt:
        trailing = (*trailing, ("x-missing-prompt", result.missing_prompt))
    if result.truncated:
        return (*trailing, ("x-truncated-inputs", result.truncated_list))
    return trailing


def _bytes(message: Any) -> bytes:
    serialised: bytes = message.SerializeToString()
    return serialised
