"""A thread that does something beside an attack, for as long as a block runs."""

import threading
from types import TracebackType
from typing import Self


class ScopedThread:
    """Runs `_run` in a thread from the beginning of a block to its end."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        del kind, error, traceback
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        """Return once `_stop` is set."""
        raise NotImplementedError
