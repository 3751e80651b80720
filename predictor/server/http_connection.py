"""uvicorn's connection, which does not wait for ever until somebody reads his answer.

uvicorn closes an idle connection in time, but closing means: once all is sent. A client that asks
and does not read (a scraper that hangs) would keep its answer in memory and its connection open
until it goes away, which may be never.
"""

import asyncio
import socket
import struct

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# An answer must move by so many bytes in so many seconds: 2 KiB a second, slower than any network
# on which somebody waits for it.
STALL_S = 30.0
LEAST_BYTES = 64 << 10
# `struct linger`: on, for 0 seconds.
RESET = struct.pack("ii", 1, 0)


def is_stalled(before: int, now: int) -> bool:
    """Whether too little has gone out between two looks at what waits, bytes."""
    return now > 0 and before - now < LEAST_BYTES


class HttpConnection(HttpToolsProtocol):
    """Drops a client that does not take what it asked for."""

    _stall: asyncio.TimerHandle | None = None

    def on_response_complete(self) -> None:
        super().on_response_complete()
        # Most answers are in the kernel's buffer at once, and nothing is to be watched.
        if (waiting := self.transport.get_write_buffer_size()) and self._stall is None:
            self._look_after(waiting)

    def _look_after(self, waiting: int) -> None:
        self._stall = self.loop.call_later(STALL_S, self._look, waiting)

    def _look(self, before: int) -> None:
        self._stall = None
        waiting = self.transport.get_write_buffer_size()
        if is_stalled(before, waiting):
            # The kernel, too, shall forget what it holds.
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.transport.abort()
        elif waiting:
            self._look_after(waiting)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
        super().connection_lost(exc)
