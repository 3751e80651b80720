"""Connects to the server's own ports, because a port that refuses makes the pod unready.

Only a refused connection counts. A connection that takes long, or that cannot be opened because
this process has no descriptors left, says nothing about the listener.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping

from predictor.server.health import ListenerHealth
from predictor.supervised_task import SupervisedTask

CONNECT_S = 1.0
ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


def connectable(address: tuple[str, int]) -> tuple[str, int]:
    """The address at which a listener can be connected to from its own host."""
    host, port = address
    return ANY.get(host, host), port


class PortWatch:
    """Checks the ports of the listeners until it is stopped."""

    def __init__(
        self, health: ListenerHealth, addresses: Mapping[str, tuple[str, int]], interval_s: float
    ) -> None:
        """addresses: by the names of the listeners."""
        self._health = health
        self._addresses = addresses
        self._interval_s = interval_s
        self._background = SupervisedTask("the watch of the ports")

    def start(self, on_fatal: Callable[[str], None]) -> None:
        self._background.start(self._run, on_fatal)

    async def stop(self) -> None:
        await self._background.stop()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            for name, address in self._addresses.items():
                self._health.set_refusing(name, await _refuses(address))


async def _refuses(address: tuple[str, int]) -> bool:
    """Whether a connection is refused; False if that cannot be told."""
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(*address)
    except ConnectionRefusedError:
        return True
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return False
