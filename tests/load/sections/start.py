"""From exec to ready, with the bundle already made: what a scale-up or a crash costs."""

from .. import agreement
from ..bench import Bench
from ..report import OURS, Figure, Row, log
from ..servers import started

SECTION = "start"
TIMES = 5


def run(bench: Bench) -> list[Row]:
    with started(bench.ours(), bench.logs) as server:
        log(f"the bundle is made (ready after {server.ready_s:.2f} s)")
    seconds = []
    for _ in range(TIMES):
        with started(bench.ours(), bench.logs) as server:
            # Ready has to mean that it answers.
            agreement.ask(server.port, server.spec.route, bench.mixed.texts[:1])
            seconds.append(server.ready_s)
            log(f"ready after {server.ready_s:.2f} s")
    title = "exec to the first ready answer"
    return [Row(SECTION, title, "s", {OURS: Figure(tuple(seconds))})]
