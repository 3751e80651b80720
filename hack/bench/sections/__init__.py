"""One module a section of the table. Each starts what it needs, measures, and ends it.

The section `cache` asks four questions and has a module for each.
"""

from collections.abc import Callable

from ..harness import Harness
from ..report import TableRow
from . import alone, cache, efficiency, lanes, memory, reload, served, start, wire

SECTIONS: dict[str, Callable[[Harness], list[TableRow]]] = {
    "served": served.run,
    "alone": alone.run,
    "efficiency": efficiency.run,
    "wire": wire.run,
    "lanes": lanes.run,
    "memory": memory.run,
    "start": start.run,
    "cache": cache.run,
    "reload": reload.run,
}
