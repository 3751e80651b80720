"""Memory is given back again and again, also of objects that wait for the garbage collector."""

import asyncio
import gc
import weakref

import pytest

from predictor.server.watch.resident_memory import ResidentMemoryWatch
from tests.deadlines import DEADLINE_S


class Node:
    """An object that refers to itself."""

    def __init__(self) -> None:
        self.itself = self


async def test_what_refers_to_itself_is_given_back() -> None:
    watch = ResidentMemoryWatch(0.001)
    gc.disable()
    watch.start(pytest.fail)
    try:
        for _ in range(3):
            left = weakref.ref(Node())
            async with asyncio.timeout(DEADLINE_S):
                while left() is not None:  # noqa: ASYNC110 - nothing rings
                    await asyncio.sleep(0.001)
    finally:
        gc.enable()
        await watch.stop()
