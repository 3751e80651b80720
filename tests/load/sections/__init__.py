"""One module a section of the table. Each starts what it needs, measures, and ends it."""

from collections.abc import Callable

from ..bench import Bench
from ..report import Row
from . import alone, efficiency, lanes, memory, served, start, wire

SECTIONS: dict[str, Callable[[Bench], list[Row]]] = {
    "served": served.run,
    "alone": alone.run,
    "efficiency": efficiency.run,
    "wire": wire.run,
    "lanes": lanes.run,
    "memory": memory.run,
    "start": start.run,
}
