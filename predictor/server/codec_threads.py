"""Decodes large bodies and encodes large answers outside of the event loop.

Decoding 8 MiB takes up to 0.8 s and encoding 2048 vectors 50 ms. In a thread the loop goes on
meanwhile: most of the time is spent in Python, and `wire` writes long lists in slices, so that
Python's lock is not kept for long.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from predictor.errors import DeadlineExceeded

T = TypeVar("T")

# Bytes of a body, and about as many of a result, up to which the event loop does the work itself.
# Nearly all requests are smaller, and a thread would cost them more than the work does.
INLINE_BYTES = 128 << 10
THREADS = 2
# Longest wait for a thread and its work, seconds.
WAIT_S = 60.0


class CodecThreads:
    """A few threads; used on one event loop."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, "codec")

    async def run(self, work: Callable[..., T], *args: Any) -> T:
        """Do the work in a thread.

        Raises:
            DeadlineExceeded: it took too long; what the work raises is passed on.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(WAIT_S):
                return await loop.run_in_executor(self._threads, work, *args)
        except TimeoutError as error:
            raise DeadlineExceeded("the deadline passed while a body was decoded") from error


def size_of(body: Any) -> int:
    """Bytes of a body: of bytes, or of a protobuf message."""
    return len(body) if isinstance(body, (bytes, bytearray)) else int(body.ByteSize())
