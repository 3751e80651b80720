"""Recorded traffic for the simulator: a table of what each version answered, interval by interval.

Lines of CSV or of JSON with `time` (seconds, the start of an interval), `deployment` (`stable` or
`canary`), `answers`, `errors`, `refused`, and answers up to each bound, cumulative as in
Prometheus: columns `le_0.005` … `le_+Inf`, in JSON also `"buckets": {"0.005": 12, …}`.
"""

import csv
import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import inf, isfinite
from typing import Any

import numpy as np

from predictor.rollout.judge import Traffic
from predictor.rollout.load import Behaviour, Fault, Moment, slower, slower_tail

SIDES = ("stable", "canary")


class BadRecording(ValueError):
    """It cannot be used; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Interval:
    """What both versions answered from `time` on; of the canary None if it was not there."""

    time: float
    stable: Traffic
    canary: Traffic | None


@dataclass(frozen=True, slots=True)
class Recording:
    """Intervals in order. length_s: of all, seconds. bounds: of every histogram, no infinity."""

    intervals: tuple[Interval, ...]
    length_s: float
    bounds: tuple[float, ...]


class Replayed:
    """A recording as it comes in one run: from a random place, around and around.

    The rates and shares are the recording's; who gets a request is the simulated weight's affair.
    Where no canary was recorded it behaves as the stable version did. `fault` comes on top.
    """

    def __init__(self, recording: Recording, fault: Fault, rng: np.random.Generator) -> None:
        self.bounds: Sequence[float] = recording.bounds
        self._recording, self._fault = recording, fault
        self._times = [one.time for one in recording.intervals]
        self._offset = float(rng.uniform(0, recording.length_s))

    def at(self, now: float, warm_s: float) -> Moment:
        recording, begun = self._recording, self._times[0]
        place = (now + self._offset) % recording.length_s
        index = bisect_right(self._times, begun + place) - 1
        one = recording.intervals[index]
        end = (*self._times, begun + recording.length_s)[index + 1]
        answers = one.stable.answers + (one.canary.answers if one.canary else 0.0)
        stable = self._behaviour(one.stable)
        has_canary = one.canary is not None and one.canary.answers > 0
        canary = self._behaviour(one.canary) if one.canary and has_canary else stable
        return Moment(answers / (end - one.time), stable, self._with_fault(canary))

    def _behaviour(self, seen: Traffic) -> Behaviour:
        counts = np.array([seen.buckets[bound] for bound in (*self.bounds, inf)])
        total = counts[-1]
        ordered = np.maximum.accumulate(np.minimum(counts, total))
        upto = ordered / total if total else np.append(np.zeros(len(self.bounds)), 1.0)
        answers = max(seen.answers, 1.0)
        return Behaviour(seen.errors / answers, seen.refused / answers, upto)

    def _with_fault(self, canary: Behaviour) -> Behaviour:
        fault, bounds = self._fault, np.asarray(self.bounds)
        upto = slower(bounds, canary.upto, fault.latency)
        return replace(
            canary,
            errors=min(1.0, canary.errors + fault.errors),
            refused=min(1.0, canary.refused + fault.refused),
            upto=slower_tail(bounds, upto, fault.tail, fault.tail_share),
        )


def read_recording(text: str) -> Recording:
    """Of a file's text; a first character `{` means JSON.

    Raises:
        BadRecording: it is none, or too short.
    """
    found: dict[float, dict[str, Traffic]] = {}
    for place, row in _rows(text):
        try:
            time, side, seen = _read(row)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            told = f"{type(error).__name__} {error}" if isinstance(error, KeyError) else error
            raise BadRecording(f"line {place}: {told}") from error
        if side in found.setdefault(time, {}):
            raise BadRecording(f"line {place}: {side} at {time:g} is there already")
        found[time][side] = seen
    intervals = tuple(
        Interval(time, sides["stable"], sides.get("canary"))
        for time, sides in sorted(found.items())
        if "stable" in sides
    )
    if len(intervals) < 2:
        raise BadRecording("two intervals of the stable version at least are wanted")
    bounds = {tuple(sorted(one.buckets)) for sides in found.values() for one in sides.values()}
    if len(bounds) != 1:
        raise BadRecording("the histograms have different bounds")
    gaps = [after.time - before.time for before, after in pairwise(intervals)]
    # The last interval is taken to be as long as they usually are.
    length_s = intervals[-1].time - intervals[0].time + sorted(gaps)[len(gaps) // 2]
    return Recording(intervals, length_s, bounds.pop()[:-1])


def _rows(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    lines = text.splitlines()
    if not text.lstrip().startswith("{"):
        yield from enumerate(csv.DictReader(lines), start=2)
        return
    for place, line in enumerate(lines, start=1):
        if line.strip():
            try:
                yield place, json.loads(line)
            except ValueError as error:
                raise BadRecording(f"line {place}: it is no JSON") from error


def _read(row: dict[str, Any]) -> tuple[float, str, Traffic]:
    """Raises KeyError, TypeError, ValueError, AttributeError."""
    time, side = float(row["time"]), row["deployment"]
    if side not in SIDES or not isfinite(time):
        raise ValueError("deployment must be stable or canary, time a number")
    named = row.get("buckets") or {
        key[3:]: value for key, value in row.items() if key and key.startswith("le_")
    }
    buckets = {float(bound): float(count) for bound, count in named.items()}
    seen = Traffic(float(row["answers"]), float(row["errors"]), float(row["refused"]), buckets)
    if inf not in buckets or min(buckets) <= 0 or len(buckets) < 2:
        raise ValueError("buckets must have bounds above 0 and +Inf")
    if not seen.is_whole:
        raise ValueError("these figures cannot be: buckets must be cumulative, nothing below 0")
    return time, side, seen
