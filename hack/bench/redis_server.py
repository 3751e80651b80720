"""A Redis of our own: on a port of its own, empty, without a disk, and one that can be stopped."""

import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .errors import BenchError
from .process import running
from .servers import free_ports

LIMIT_S = 10
POLL_S = 0.02


@dataclass(frozen=True)
class Redis:
    pid: int
    port: int

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def keys(self) -> int:
        """How many there are. Raises OSError where it does not answer."""
        with socket.create_connection(("127.0.0.1", self.port), LIMIT_S) as connection:
            connection.sendall(b"DBSIZE\r\n")
            return int(connection.makefile("rb").readline()[1:])

    def wait_for_keys(self, count: int) -> None:
        """The server writes beside its answers."""
        end = time.monotonic() + LIMIT_S
        while (stored := self.keys()) < count:
            if time.monotonic() > end:
                raise BenchError(f"Redis has {stored} of {count} rows after {LIMIT_S} s")
            time.sleep(POLL_S)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Alive, its connections open, and silent."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)


def program() -> str | None:
    return shutil.which("redis-server")


@contextmanager
def started(folder: Path) -> Iterator[Redis]:
    command = program()
    if command is None:
        raise BenchError("redis-server is not on PATH")
    (port,) = free_ports(1)
    flags = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    folder.mkdir(parents=True, exist_ok=True)
    with running([command, *flags], {}, folder, folder / "redis.log") as process:
        redis = Redis(process.pid, port)
        end = time.monotonic() + LIMIT_S
        while not _answers(redis):
            if process.poll() is not None or time.monotonic() > end:
                raise BenchError(f"redis-server did not start: see {folder / 'redis.log'}")
            time.sleep(POLL_S)
        yield redis


def _answers(redis: Redis) -> bool:
    try:
        return redis.keys() >= 0
    except (OSError, ValueError):
        return False
