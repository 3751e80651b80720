"""All connections of one listener: their number, one timer for their clocks, and their end.

A timer for each request would take longer than the rest of what a connection does for it.
"""

import asyncio
import socket
import struct
from typing import Protocol

from predictor.metrics import HTTP_CONNECTIONS, TRANSPORT_REFUSALS
from predictor.server.http.connection.clock import ConnectionClock, Phase, Reading
from predictor.server.http.connection.limits import RESERVED_CONNECTIONS, HttpLimits
from predictor.server.ledger import SMALL_BYTES, Ledger

# Seconds between two looks at all connections; a limit may be exceeded by two of them.
TICK_S = 1.0
# Requests of which more is to come.
UNFINISHED = (Phase.HEAD, Phase.BODY)
# The part of a full ledger that is kept when unfinished requests are closed.
SHED_TO = 0.75
# `struct linger`: on, for 0 seconds.
RESET = struct.pack("ii", 1, 0)


class Connection(Protocol):
    """What this module asks of a connection."""

    transport: asyncio.Transport
    clock: ConnectionClock
    # Bytes that it has in the ledger's account of requests.
    charged: int

    @property
    def is_waiting(self) -> bool:
        """Whether no request of it is complete, so that it can be replaced."""

    def reading(self) -> Reading:
        """What it has done so far."""

    def close_when_answered(self) -> None:
        """Close it after the answer that is being made, if there is one."""

    def retire(self) -> None:
        """Close it with its next answer; until then it stays open."""


def count_refusal(reason: str) -> None:
    """Count a connection that was refused or closed before its client wanted."""
    TRANSPORT_REFUSALS.labels("http", reason).inc()


class Connections:
    """The connections of one listener; used on one event loop."""

    def __init__(self, limits: HttpLimits, ledger: Ledger, tick_s: float = TICK_S) -> None:
        self.limits = limits
        self.ledger = ledger
        # Whether each answer closes its connection, because the listener is about to close.
        self.draining = False
        self._tick_s = tick_s
        # In the order in which they were last used: those without an answer, and the others.
        self._new: dict[Connection, None] = {}
        self._used: dict[Connection, None] = {}
        # Bytes of the answers of connections that did not read them at once, the oldest first. The
        # ledger has their sum.
        self._unread: dict[Connection, int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._new) + len(self._used)

    def add(self, connection: Connection) -> bool:
        """Add a new connection; return whether it may send any request, not only health checks."""
        is_full = len(self) >= self.limits.connections
        if is_full and (replaced := self._replaceable()) is not None:
            self.abort(replaced, "replaced")
            is_full = False
        if len(self) >= self.limits.connections + RESERVED_CONNECTIONS:
            self.abort(connection, "connections")
        self._new[connection] = None
        HTTP_CONNECTIONS.inc()
        if self._timer is None:
            self._set_timer()
        return not is_full

    def remove(self, connection: Connection) -> None:
        """Forget a connection; it may have been forgotten before."""
        self.ledger.http_answers -= self._unread.pop(connection, 0)
        if connection in self._used:
            del self._used[connection]
        elif connection in self._new:
            del self._new[connection]
        else:
            return
        HTTP_CONNECTIONS.dec()

    def answered(self, connection: Connection) -> None:
        """Note that a connection was used just now."""
        if self._used.pop(connection, self) is self:
            if connection not in self._new:
                return
            del self._new[connection]
        self._used[connection] = None

    def unread(self, connection: Connection) -> None:
        """Note that an answer was not read at once; close the oldest if too much is unread."""
        self._unread.setdefault(connection, 0)
        self._count_unread()
        for each in tuple(self._unread):
            if self.ledger.http_answers <= self.ledger.answers_limit:
                break
            if each is not connection:
                self.abort(each, "unread")

    def _count_unread(self) -> None:
        """Look again at what is unread; the listeners of a process share the account."""
        before = sum(self._unread.values())
        sizes = {each: each.transport.get_write_buffer_size() for each in self._unread}
        self._unread = {each: size for each, size in sizes.items() if size}
        self.ledger.http_answers += sum(self._unread.values()) - before

    def drain(self) -> None:
        """From now on, close each connection with its next answer."""
        self.draining = True
        for connection in (*self._new, *self._used):
            connection.close_when_answered()

    def abort(self, connection: Connection, reason: str) -> None:
        """Close a connection at once; its unread answers are dropped, also those in the kernel."""
        count_refusal(reason)
        self.remove(connection)
        sock = connection.transport.get_extra_info("socket")
        if sock is not None and not connection.transport.is_closing():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        connection.transport.abort()

    def _replaceable(self) -> Connection | None:
        """The connection that has waited longest for a request, first among those without one."""
        for connections in (self._new, self._used):
            for connection in connections:
                if connection.is_waiting:
                    return connection
        return None

    def _set_timer(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._tick_s, self._tick)

    def _tick(self) -> None:
        """Close the connections that are late."""
        self._timer = None
        if not len(self):
            return
        self._set_timer()  # first, so that an error below does not end the clocks
        if self._unread:
            self._count_unread()
        unfinished: list[Connection] = []
        for connection in (*self._new, *self._used):
            reading = connection.reading()
            reason = connection.clock.tick(reading, self.limits, self._tick_s)
            if reason in ("idle", "lingered", "closing"):
                connection.transport.close()
            elif reason:
                self.abort(connection, reason)
            elif reading.phase in UNFINISHED and connection.charged > SMALL_BYTES:
                unfinished.append(connection)
            elif connection.clock.is_old(self.limits, self._tick_s):
                connection.retire()
        if self.ledger.is_full:
            self._shed(unfinished)

    def _shed(self, unfinished: list[Connection]) -> None:
        """Close the connections with the most bytes of requests that have no end yet.

        Otherwise clients that send large bodies and stop would keep all others from sending any,
        until their clocks end them.
        """
        # A closed connection gives its bytes back in a later turn of the loop.
        waiting = self.ledger.waiting
        for connection in sorted(unfinished, key=lambda each: each.charged, reverse=True):
            if waiting <= self.ledger.limit * SHED_TO:
                return
            waiting -= connection.charged
            self.abort(connection, "waiting")
