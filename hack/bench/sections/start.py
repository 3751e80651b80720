"""From exec to ready, with the bundle already made: what a scale-up or a crash costs."""

from .. import correctness
from ..harness import Harness
from ..report import OURS, Figure, TableRow, log
from ..servers import started

SECTION = "start"
TIMES = 5


def run(harness: Harness) -> list[TableRow]:
    with started(harness.ours(), harness.logs) as server:
        log(f"the bundle is made (ready after {server.ready_s:.2f} s)")
    seconds = []
    for _ in range(TIMES):
        with started(harness.ours(), harness.logs) as server:
            # Ready has to mean that it answers.
            correctness.embed(server.port, server.spec.route, harness.mixed.texts[:1])
            seconds.append(server.ready_s)
            log(f"ready after {server.ready_s:.2f} s")
    title = "exec to the first ready answer"
    return [TableRow(SECTION, title, "s", {OURS: Figure(tuple(seconds))})]
