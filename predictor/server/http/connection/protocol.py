"""uvicorn's connection on httptools, with limits on what a client may send, hold and wait."""

import asyncio
import logging
from collections import deque
from typing import Any, Final

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from predictor.server.http.connection.clock import ConnectionClock, Phase, Reading
from predictor.server.http.connection.connections import Connections, count_refusal
from predictor.server.http.connection.limits import (
    MALFORMED,
    TUNNEL,
    WAITING,
    HeadRefused,
    Refusal,
    head_too_large,
    too_many_headers,
    uri_too_long,
)
from predictor.server.http.connection.overflow import HealthOnly
from predictor.server.http.connection.upgrade import without_offer
from predictor.server.ledger import SMALL_BYTES

logger = logging.getLogger(__name__)

# Every request that has no body with a Content-Length ends with these bytes, so that data with few
# of them holds few requests.
END: Final = b"\r\n\r\n"


class ReadGate(FlowControl):
    """Flow control of a connection that may not be read while `shut`."""

    shut = False

    def resume_reading(self) -> None:
        if not self.shut:
            super().resume_reading()


class HttpConnection(HttpToolsProtocol):
    """One connection. uvicorn makes the requests of it; this class bounds and clocks them."""

    flow: ReadGate

    def __init__(
        self,
        connections: Connections,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.clock = ConnectionClock()
        self._connections = connections
        self._limits = connections.limits
        self._ledger = connections.ledger
        # Bytes received of requests that are not answered yet, which are in the ledger.
        self.charged = 0
        # Whether a request has begun and its headers are not complete.
        self._in_head = False
        # Whether the bytes of the head are counted as the parser reports them. Those of a head that
        # came with little data, as nearly all do, are within the limit.
        self._is_counted = False
        # Bytes of the head so far, if they are counted, and of data that belongs to a head and was
        # not reported yet.
        self._head_bytes = 0
        self._head_received = 0
        # Bytes of the body that are still to come; negative without Content-Length.
        self._body_left = 0
        # Bytes of a chunked body since the last one that was content: sizes and trailers.
        self._overhead = 0
        # Data behind the requests that may wait.
        self._held: deque[bytes] = deque()
        self._offer: bytes | None = None
        self._refusal: Refusal | None = None
        self._is_refused = False
        self._is_leaving = False
        # Whether the next answer closes the connection.
        self._is_last = False
        # The request that is being answered; `cycle` is the last one that was parsed.
        self._running: RequestResponseCycle | None = None
        # Whether the next request waits until the client has read more of the answers before it.
        self._is_postponed = False
        self._requests = 0
        self._answered = 0
        self._received = 0

    # What the registry asks.

    @property
    def is_waiting(self) -> bool:
        return not self._is_answering

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def reading(self) -> Reading:
        return Reading(
            self._phase(),
            self._requests,
            self._answered,
            self._received,
            self.transport.get_write_buffer_size(),
        )

    def _phase(self) -> Phase:
        if self._is_refused and self._refusal is None:
            return Phase.LINGER
        if self._is_answering:
            if self.flow.read_paused:
                return Phase.ANSWER
            if self.cycle.more_body:
                return Phase.BODY
            return Phase.HEAD if self._in_head else Phase.ANSWER
        if self._in_head:
            return Phase.HEAD
        return Phase.LEAVE if self._is_leaving else Phase.QUIET

    def close_when_answered(self) -> None:
        if self._is_answering and not self.cycle.response_started:
            self.cycle.keep_alive = False

    def retire(self) -> None:
        self._is_last = True
        if not self.pipeline:  # otherwise the last of the requests that wait closes it
            self.close_when_answered()

    # The protocol of asyncio.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = ReadGate(transport)
        if not self._connections.add(self):
            self.app = HealthOnly(self.app)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.remove(self)
        self._held.clear()
        self._keep_charged(0)
        self.pipeline.clear()
        if self._running is not None and self._running is not self.cycle:
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._is_postponed:
            self._is_postponed = False
            self._next()

    def data_received(self, data: bytes) -> None:
        size = len(data)
        self._received += size
        if self._is_refused:
            return
        self.charged += size
        self._ledger.requests += size
        if self.charged > SMALL_BYTES and self._ledger.is_full:
            self._refuse(WAITING)
            return
        if len(self.pipeline) + data.count(END) < self._limits.pipelined and not self._held:
            self._feed(data)
        else:
            self._held.append(data)
            self._feed_held()

    def shutdown(self) -> None:
        """Close the connection with its next answer, or now if it has been used and is idle."""
        if self._is_answering:
            self.cycle.keep_alive = False
        elif self._requests and not self._in_head:
            self.transport.close()
        else:
            self._is_leaving = True
            self._is_last = True  # its request may be on the way

    # Data to the parser.

    def _feed(self, data: bytes) -> None:
        """Parse data that ends the heads of few requests."""
        was_in_head = self._in_head
        requests = self._requests
        body_left = self._body_left
        self._is_counted = was_in_head or len(data) > self._limits.header_bytes
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offered:
            self._feed_without_offer(data[offered.args[0] :])
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause.refusal if isinstance(cause, HeadRefused) else MALFORMED)
        else:
            is_same = requests == self._requests
            if self._in_head:
                self._check_head(data, is_same and was_in_head, body_left)
            elif self._body_left < 0:
                self._check_overhead(len(data), is_same and body_left == self._body_left)

    def _feed_without_offer(self, rest: bytes) -> None:
        """Parse the head of an upgrade offer again, without the offer, and what follows it."""
        head, self._offer = self._offer, None
        self._in_head = False
        if head is None or self.parser is None:
            self._refuse(TUNNEL)
            return
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._feed(head)
        if rest and not self._is_refused and self.parser is not None:
            self._feed(rest)

    def _feed_held(self) -> None:
        """Parse held data request by request, until enough of them wait."""
        while self._held and self._has_room():
            data = self._held.popleft()
            start = 0
            while start < len(data) and self._has_room():
                end = self._part_end(data, start)
                self._feed(data[start:end])
                start = end
            if start < len(data) and not self._is_refused:
                self._held.appendleft(data[start:])
        if self._held:
            self.flow.pause_reading()
            self.flow.shut = True

    def _has_room(self) -> bool:
        """Whether a further request may be parsed."""
        return not self._is_refused and len(self.pipeline) < self._limits.pipelined

    def _part_end(self, data: bytes, start: int) -> int:
        """The end of a part of the data that completes at most one head."""
        if self._body_left > 0:
            return min(len(data), start + self._body_left)
        end = data.find(END, start)
        return len(data) if end < 0 else end + len(END)

    def _keep_charged(self, size: int) -> None:
        """Give back all but so many bytes to the ledger."""
        self._ledger.requests -= self.charged - size
        self.charged = size

    def _waiting_bytes(self) -> int:
        """About as many bytes as the requests that wait behind the present one have."""
        size = self._head_received if self._in_head else 0
        size += sum(map(len, self._held))
        for cycle, _ in self.pipeline:
            headers = cycle.scope["headers"]
            size += len(cycle.body) + sum(len(name) + len(value) for name, value in headers)
        return size

    def _check_head(self, data: bytes, is_continued: bool, body_left: int) -> None:
        """Bound a head that is not complete, of which the parser may have reported nothing yet."""
        if is_continued:
            self._head_received += len(data)
        else:
            end = data.rfind(END)
            before = max(0, body_left, end + len(END) if end >= 0 else 0)
            self._head_received = len(data) - before
        if not self._is_counted:
            reported = (len(name) + len(value) + 4 for name, value in self.headers)
            self._head_bytes = len(self.url) + sum(reported)
        if self._head_received > self._limits.header_bytes:
            is_line = not self.headers and not self._head_bytes
            self._refuse(uri_too_long(self._limits) if is_line else head_too_large(self._limits))

    def _check_overhead(self, size: int, is_overhead: bool) -> None:
        """Bound the trailers of a chunked body, which the parser keeps until their end."""
        self._overhead = self._overhead + size if is_overhead else 0
        if self._overhead > self._limits.header_bytes:
            self._refuse(head_too_large(self._limits))

    # Refusals.

    def _refuse(self, refusal: Refusal) -> None:
        """Parse nothing more, and refuse the request behind the answers that are being made."""
        if self._is_refused:
            return
        self._is_refused = True
        self._held.clear()
        count_refusal(refusal.reason)
        logger.warning("refused a request: %s", refusal.sentence)
        cycle = self.cycle
        is_body = cycle is not None and cycle.more_body
        if is_body and cycle.response_started:
            self.transport.close()
            return
        self._refusal = refusal
        self.flow.pause_reading()
        self.flow.shut = True
        if is_body:
            cycle.disconnected = True
            cycle.message_event.set()
            if self.pipeline:  # it is the last one there
                self.pipeline.popleft()
                waiting = self.pipeline[0][0] if self.pipeline else self._running
                if waiting is not None:
                    self.cycle = waiting
                return
        elif self._is_answering:
            return
        self._send_refusal(refusal)

    def _send_refusal(self, refusal: Refusal) -> None:
        """Send the last answer, and close the connection once the client has read it.

        Closing at once would reset the connection while the client still sends, and the client
        would not see the answer.
        """
        self._refusal = None
        self._keep_charged(0)
        body = refusal.sentence.encode()
        again = b"retry-after: %d\r\n" % refusal.retry_after_s if refusal.retry_after_s else b""
        self.transport.write(
            STATUS_LINE[refusal.status]
            + b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n" % len(body)
            + again
            + b"connection: close\r\n\r\n"
            + body
        )
        self.transport.write_eof()
        self._read_on()

    # Callbacks of the parser.

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._requests += 1
        self._in_head = True
        self._head_bytes = 0
        self._body_left = 0
        self._overhead = 0

    def on_url(self, url: bytes) -> None:
        self.url += url
        if self._is_counted:
            self._head_bytes += len(url)
            if self._head_bytes > self._limits.header_bytes:
                raise HeadRefused(uri_too_long(self._limits))

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_counted:
            self._head_bytes += len(name) + len(value) + 4
            if self._head_bytes > self._limits.header_bytes:
                raise HeadRefused(head_too_large(self._limits))
        if not self._in_head:
            return  # a trailer, which must not become a header of the request
        name = name.lower()
        if name == b"content-length":
            self._body_left = int(value)
        elif name == b"transfer-encoding":
            self._body_left = -1
        elif name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if len(self.headers) > self._limits.headers:
            raise HeadRefused(too_many_headers(self._limits))
        if self.parser.should_upgrade():
            method = self.parser.get_method()
            if method != b"CONNECT":
                version = self.parser.get_http_version()
                self._offer = without_offer(method, self.url, version, self.headers)
            return
        if (self._body_left > SMALL_BYTES or self._body_left < 0) and self._ledger.is_full:
            raise HeadRefused(WAITING)
        self._in_head = False
        super().on_headers_complete()
        if self.pipeline:
            self.flow.shut = True
        else:
            self._running = self.cycle
        if self._connections.draining or self._is_last:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._body_left -= len(body)
        cycle = self.cycle
        if cycle.response_complete:
            self._keep_charged(0)
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        if self._in_head:
            return  # of an upgrade offer, which is parsed again
        self._body_left = 0
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.more_body = False
            cycle.message_event.set()

    # Answers.

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        self._answered += 1
        if self.transport.get_write_buffer_size():
            # Most answers fit into the kernel's buffer at once.
            self._connections.unread(self)
        if self.transport.is_closing():
            return
        self._connections.answered(self)
        if not self.pipeline and not self._in_head:
            self._ledger.requests -= self.charged
            self.charged = 0
        elif self.charged > SMALL_BYTES:
            self._keep_charged(self._waiting_bytes())
        if self.pipeline:
            if self.flow.write_paused:
                self._is_postponed = True
            else:
                self._next()
        elif self._refusal is not None:
            self._send_refusal(self._refusal)
        else:
            self._read_on()

    def _next(self) -> None:
        """Answer the next request of the pipeline."""
        self._running, app = self.pipeline.pop()
        self._start_asgi_task(self._running, app)
        if self._held and not self._is_refused:
            self._feed_held()
        if not self.pipeline and self._refusal is None:
            self._read_on()

    def _read_on(self) -> None:
        flow = self.flow
        flow.shut = False
        if flow.read_paused:
            flow.resume_reading()
