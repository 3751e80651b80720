"""The process of a trial, `python -m predictor.repository.trial_process`: load one version and end.

The order comes on standard input, the report goes to standard output. Whatever a model folder may
do wrong stays here: memory, aborts, hanging.
"""

import os
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec

from predictor.repository.load import load_version
from predictor.repository.trial import TrialOrder, limit_data, report_of
from predictor.storage.confine import die_with_parent

# The process then gives way to the engine's threads of the one that serves.
NICE = 5
# The kernel ends this process first where a container's memory runs out.
OOM_SCORE = "1000"


def main() -> None:
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=TrialOrder)
    report = os.dup(1)
    os.dup2(2, 1)  # what a library prints is not part of the report
    die_with_parent(order.parent)
    os.nice(NICE)
    with suppress(OSError):  # not on Linux
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)
    limit_data(order.data_limit)
    load = partial(load_version, Path(order.folder), order.name, order.version, order.model)
    os.write(report, msgspec.json.encode(report_of(load)))
    os._exit(0)  # the engine's threads are not waited for


if __name__ == "__main__":
    main()
