"""Cancels requests whose clients have disconnected, so that nothing is computed for them."""

import asyncio

from predictor.server.http.request import Request

# Seconds. A request that still runs after one to two of these intervals gets a task that watches
# its client; for a shorter request the task would take more time than it saves.
WATCH_AFTER_S = 0.025


class Watch:
    """Cancels a request's task if its client disconnects while the request is running."""

    __slots__ = ("_request", "_task", "_watcher", "is_known", "left")

    def __init__(self, request: Request, task: "asyncio.Task[None] | None") -> None:
        # Whether the client has disconnected.
        self.left = False
        # Whether the timer of `Watches` has seen this request before.
        self.is_known = False
        self._request = request
        self._task = task
        self._watcher: asyncio.Task[None] | None = None

    def begin(self) -> None:
        if self._watcher is None:
            self._watcher = asyncio.get_running_loop().create_task(self._wait())

    async def _wait(self) -> None:
        await self._request.disconnected()
        self.left = True
        if self._task is not None:
            self._task.cancel()

    def end(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()


class Watches:
    """The watches of one event loop. They share a timer, because most requests end before it."""

    def __init__(self) -> None:
        self._running: set[Watch] = set()
        self._timer: asyncio.TimerHandle | None = None
        # Kept, because asking for it is a system call (Python 3.11).
        self._loop: asyncio.AbstractEventLoop | None = None

    def begin(self, request: Request) -> Watch:
        """Watch a request; call this in the request's task, and `end` when it has ended."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        watch = Watch(request, asyncio.current_task(self._loop))
        self._running.add(watch)
        if self._timer is None:
            self._set_timer()
        return watch

    def end(self, watch: Watch) -> None:
        self._running.discard(watch)
        watch.end()

    def _set_timer(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER_S, self._tick)

    def _tick(self) -> None:
        """Begin to watch the requests that were already running at the previous tick."""
        self._timer = None
        for watch in self._running:
            if watch.is_known:
                watch.begin()
            watch.is_known = True
        if self._running:
            self._set_timer()
