"""Where the time of one request went: written on its way, read once at its end.

A context variable carries it, as every request runs in a task of its own: the steps between need
not know of it, and a row that another request is waiting for is on the account of who computes it.
"""

from contextvars import ContextVar
from time import perf_counter
from typing import Any

from msgspec import Struct, field

STAGES = ("decode", "tokenize", "cache", "queue", "run", "encode")


class Timeline(Struct):
    """Seconds by stage, in the order in which they happen; 0.0: this one did not.

    started: `time.perf_counter` when the whole body was there.
    cache: looking rows up, in memory and in Redis.
    queue: from admission to the start of the first batch with a row of this request; run: from
    there to the last row.
    span: what the tracer calls this request; None: it is not traced.
    """

    started: float = field(default_factory=perf_counter)
    decode: float = 0.0
    tokenize: float = 0.0
    cache: float = 0.0
    queue: float = 0.0
    run: float = 0.0
    encode: float = 0.0
    span: Any = None


CURRENT: ContextVar[Timeline | None] = ContextVar("timeline", default=None)
