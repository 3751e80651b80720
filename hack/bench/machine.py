"""Which CPU the figures are of: ratios between servers differ with the instructions it has."""

import os
import platform
import time
from pathlib import Path
from typing import Any

from predictor.engine.cpu import instruction_sets

from .report import log

NOISY_CORES = 0.1


def describe() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    facts = {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)
    }
    return {
        "cpu": facts.get("model name", platform.machine()),
        "cores": len(os.sched_getaffinity(0)),
        "instruction_sets": list(instruction_sets()),
    }


def busy_cores(seconds: float = 1.0) -> float:
    """Cores that anything on this machine keeps busy, while we do nothing ourselves."""
    before = _busy_ticks()
    time.sleep(seconds)
    return (_busy_ticks() - before) / os.sysconf("SC_CLK_TCK") / seconds


def _busy_ticks() -> int:
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text().split(maxsplit=9)[1:9]
    )
    return user + nice + system + irq + softirq + steal


def busy_before(section: str) -> float:
    """Cores that are busy before a section; a line of the log says so where they are too many."""
    log(f"section {section}")
    busy = busy_cores()
    if busy > NOISY_CORES:
        log(f"other processes keep {busy:.1f} cores busy: these figures will say little")
    return busy
