"""One gRPC call: its metadata, its message, its end, and what it may cost before its key is known.

Handlers are registered as streams of requests, although each call has one message. gRPC then starts
a handler as soon as the metadata is there, and asks for the message only when the handler reads it:
a client without a key can make the server hold no more than one window of flow control.
"""

import asyncio
import time
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from predictor.access import Principal, credential
from predictor.errors import (
    DeadlineExceeded,
    InvalidInput,
    PredictorError,
    RateLimited,
    TooManyBytes,
)
from predictor.metrics import TRANSPORT_REFUSALS
from predictor.server.ledger import Ledger
from predictor.server.status import grpc_status, retry_after

Context = Any  # grpc.aio.ServicerContext has no types

# Seconds between two looks at the calls that wait for their message.
TICK_S = 0.25
# Looks at which a message is not complete until it is charged; nearly all come with their call.
CHARGED_TICKS = 2
# Answers of at most so many bytes are bounded by the number of calls and are not counted.
SMALL_BYTES = 64 << 10
# One connection may have this part of all unread bytes.
CONNECTION_SHARE = 4
CROWDED = "many calls send large messages at once (--waiting-memory-share)"


class Metadata:
    """The metadata of a call, read like the headers of a request."""

    __slots__ = ("_values",)

    def __init__(self, context: Context) -> None:
        self._values: dict[str, str] = dict(context.invocation_metadata() or ())

    def header(self, name: bytes) -> str | None:
        """Return a value by its name in lower case."""
        return self._values.get(name.decode("ascii"))

    @property
    def credential(self) -> str | None:
        """The API key or token of the call."""
        value = self._values.get
        return credential(value("authorization"), value("x-api-key"), value("api-key"))


class _Waiting:
    """A call that waits for its message."""

    __slots__ = ("refusal", "task", "ticks")

    def __init__(self, task: "asyncio.Task[Any] | None") -> None:
        self.task = task
        self.ticks = 0
        # Why the message is not waited for any more, and the label of a metric.
        self.refusal: tuple[PredictorError, str] | None = None


class Messages:
    """Reads the messages of calls, each within the same time; one timer for all of them.

    gRPC does not tell how much of a message has arrived. A message that is not complete at its
    second tick is charged with the most that it may have, and the calls that have waited longest
    are ended while these messages take more than their part of the ledger.
    """

    def __init__(
        self, limit_s: float, ledger: Ledger, max_bytes: int, tick_s: float = TICK_S
    ) -> None:
        """max_bytes: of one message."""
        self._limit_s = limit_s
        self._tick_s = tick_s
        self._ledger = ledger
        self._max_bytes = max_bytes
        # The oldest first.
        self._waiting: dict[_Waiting, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def read(self, context: Context) -> bytes:
        """Read the message of a call.

        Raises:
            DeadlineExceeded: the client did not send it in time.
            InvalidInput: the client ended the call without a message.
            TooManyBytes: other calls wait for large messages.
        """
        message = await self.read_next(context)
        if message is None:
            raise InvalidInput("the call has no message")
        return message

    async def read_next(self, context: Context) -> bytes | None:
        """Read the next message of a call; None: the client has ended it.

        Raises:
            DeadlineExceeded: the client did not send it in time.
            TooManyBytes: other calls wait for large messages.
        """
        waiting = _Waiting(asyncio.current_task())
        self._waiting[waiting] = None
        if self._timer is None:
            self._set_timer()
        try:
            message = await context.read()
            return message if isinstance(message, bytes) else None
        except asyncio.CancelledError:
            if waiting.refusal is None:
                raise
            error, reason = waiting.refusal
            refused(reason)
            raise error from None
        finally:
            del self._waiting[waiting]
            if waiting.ticks >= CHARGED_TICKS:
                self._ledger.messages -= self._max_bytes

    def _set_timer(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._tick_s, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self._waiting:
            self._set_timer()
        for waiting in self._waiting:
            waiting.ticks += 1
            if waiting.ticks == CHARGED_TICKS:
                self._ledger.messages += self._max_bytes
        ended = [waiting for waiting in self._waiting if waiting.refusal is not None]
        excess = self._ledger.messages - self._ledger.messages_limit
        excess -= self._max_bytes * len(ended)
        for waiting in self._waiting:
            if waiting.refusal is not None or waiting.task is None:
                continue
            if waiting.ticks < CHARGED_TICKS:
                break  # those behind it are younger
            if waiting.ticks * self._tick_s >= self._limit_s:
                limit = f"{self._limit_s:g} s (--body-timeout-s)"
                late = DeadlineExceeded(f"the message was not complete within {limit}")
                waiting.refusal = (late, "body_time")
            elif excess > 0:
                waiting.refusal = (TooManyBytes(CROWDED), "waiting")
            else:
                continue
            excess -= self._max_bytes
            waiting.task.cancel()


class UnreadAnswers:
    """The bytes of large answers that clients have not read yet, by connection."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._by_peer: dict[str, int] = {}

    def take(self, context: Context, size: int) -> bool:
        """Count an answer until its call ends; False: too much is unread already.

        The first unread answer of a connection is taken whatever its size, if there is room.
        """
        if size <= SMALL_BYTES:
            return True
        peer = context.peer()
        unread = self._by_peer.get(peer, 0)
        limit = self._ledger.answers_limit
        total = self._ledger.grpc_answers
        if unread and unread + size > limit // CONNECTION_SHARE:
            return False
        if total and total + size > limit:
            return False
        self._by_peer[peer] = unread + size
        self._ledger.grpc_answers += size
        context.add_done_callback(lambda _: self._release(peer, size))
        return True

    def _release(self, peer: str, size: int) -> None:
        self._ledger.grpc_answers -= size
        left = self._by_peer[peer] - size
        if left:
            self._by_peer[peer] = left
        else:
            del self._by_peer[peer]


def refused(reason: str) -> None:
    """Count a call that was refused by the transport."""
    TRANSPORT_REFUSALS.labels("grpc", reason).inc()


def parse(message_type: Any, data: bytes) -> Any:
    """Parse a message. Raises InvalidInput."""
    try:
        return message_type.FromString(data)
    except DecodeError:
        refused("malformed")
        name = message_type.DESCRIPTOR.name
        raise InvalidInput(f"the message is not a valid {name}") from None


async def abort(
    context: Context,
    error: PredictorError,
    request_id: str = "",
    principal: Principal | None = None,
) -> None:
    """End the call with the error's status; raises, as gRPC's own abort does."""
    trailing = [("x-request-id", request_id)] if request_id else []
    if (seconds := retry_after(error)) is not None:
        trailing.append(("retry-after", seconds))
    if isinstance(error, RateLimited) and principal is not None:
        trailing += principal.headers(time.monotonic())
    await context.abort(grpc_status(error), str(error), tuple(trailing))


def one_message(handler: Any) -> grpc.RpcMethodHandler:
    """How a handler of a call with one message is registered; it gets and returns bytes."""
    return grpc.stream_unary_rpc_method_handler(handler)
