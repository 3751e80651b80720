"""A daemon thread for calls that may hang: into a driver, or to an untrusted server.

Nothing ends such a call from outside: neither a signal nor a time limit. So one thread makes the
calls, and neither the loop nor the shutdown nor the process waits for it.
"""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

ArgumentT = TypeVar("ArgumentT")
ResultT = TypeVar("ResultT")


class DaemonCaller(Generic[ArgumentT, ResultT]):
    """Calls one function on a thread of its own, one call after the other."""

    def __init__(
        self,
        name: str,
        function: Callable[[ArgumentT], ResultT],
        close: Callable[[], None] = lambda: None,
    ) -> None:
        """function: never raises. close: called on the thread when it ends."""
        self._function = function
        self._close = close
        self._calls: SimpleQueue[
            tuple[asyncio.AbstractEventLoop, asyncio.Future[ResultT], ArgumentT] | None
        ] = SimpleQueue()
        threading.Thread(target=self._main, name=name, daemon=True).start()

    def call(self, argument: ArgumentT) -> asyncio.Future[ResultT]:
        """The future result, on the running loop; call again only after it is done."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[ResultT] = loop.create_future()
        self._calls.put((loop, future, argument))
        return future

    def end(self) -> None:
        """Let the thread end after the call that it makes now."""
        self._calls.put(None)

    def _main(self) -> None:
        while (pending := self._calls.get()) is not None:
            loop, future, argument = pending
            result = self._function(argument)
            # No argument is held while the thread waits for the next call.
            del pending, argument
            try:
                loop.call_soon_threadsafe(_set_result, future, result)
            except RuntimeError:  # the loop has ended meanwhile
                break
        self._close()


def _set_result(future: asyncio.Future[ResultT], result: ResultT) -> None:
    if not future.cancelled():
        future.set_result(result)
