"""How long each stage of one request took: written on its way, read once at its end.

A context variable carries it, because every request runs in a task of its own: the functions in
between need no parameter for it. A row that several requests wait for is charged to the request
that computes it.
"""

from contextvars import ContextVar
from time import perf_counter
from typing import Any

from msgspec import Struct, field

STAGES = ("decode", "tokenize", "cache", "queue", "run", "encode")


class Timeline(Struct):
    """Seconds per stage, in the order of the stages; 0.0: the stage did not run."""

    # `time.perf_counter` when the complete body had arrived.
    started: float = field(default_factory=perf_counter)
    decode: float = 0.0
    tokenize: float = 0.0
    # Looking rows up, in memory and in Redis.
    cache: float = 0.0
    # From admission to the start of the first batch with a row of this request.
    queue: float = 0.0
    # From the start of that batch to the last row.
    run: float = 0.0
    encode: float = 0.0
    # The tracer's handle of this request; None: it is not traced.
    span: Any = None

    def stages(self) -> tuple[float, ...]:
        """Seconds in the order of `STAGES`."""
        return (self.decode, self.tokenize, self.cache, self.queue, self.run, self.encode)


CURRENT: ContextVar[Timeline | None] = ContextVar("timeline", default=None)
