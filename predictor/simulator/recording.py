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
from predictor.simulator.load import Behaviour, Fault, Moment, slower, slower_tail

VERSIONS = ("stable", "canary")


class BadRecording(ValueError):
    """A recording that cannot be used; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Interval:
    """What both versions answered in one interval."""

    # Its start, seconds.
    time: float
    stable: Traffic
    # None: there was no canary.
    canary: Traffic | None


@dataclass(frozen=True, slots=True)
class Recording:
    """Recorded traffic, two intervals at least."""

    # By time.
    intervals: tuple[Interval, ...]
    # Of all intervals together.
    length_s: float
    # Of every histogram, seconds, ascending, without infinity.
    bounds: tuple[float, ...]


class Replayed:
    """A recording in one run: it starts at a random interval and repeats.

    Rates and shares are the recording's; the simulated weight splits the requests. A canary that
    was not recorded behaves as the stable version did. The fault is added.
    """

    def __init__(self, recording: Recording, fault: Fault, rng: np.random.Generator) -> None:
        self.bounds: Sequence[float] = recording.bounds
        self._recording = recording
        self._fault = fault
        self._times = [interval.time for interval in recording.intervals]
        self._offset = float(rng.uniform(0, recording.length_s))

    def at(self, now: float, warm_s: float) -> Moment:
        recording = self._recording
        begin = self._times[0]
        time = begin + (now + self._offset) % recording.length_s
        index = bisect_right(self._times, time) - 1
        interval = recording.intervals[index]
        end = (*self._times, begin + recording.length_s)[index + 1]
        answers = interval.stable.answers + (interval.canary.answers if interval.canary else 0.0)
        stable = self._behaviour(interval.stable)
        canary = stable
        if interval.canary is not None and interval.canary.answers > 0:
            canary = self._behaviour(interval.canary)
        return Moment(answers / (end - interval.time), stable, self._with_fault(canary))

    def _behaviour(self, traffic: Traffic) -> Behaviour:
        counts = np.array([traffic.buckets[bound] for bound in (*self.bounds, inf)])
        total = counts[-1]
        ordered = np.maximum.accumulate(np.minimum(counts, total))
        cdf = ordered / total if total else np.append(np.zeros(len(self.bounds)), 1.0)
        answers = max(traffic.answers, 1.0)
        return Behaviour(traffic.errors / answers, traffic.refused / answers, cdf)

    def _with_fault(self, canary: Behaviour) -> Behaviour:
        fault = self._fault
        bounds = np.asarray(self.bounds)
        cdf = slower(bounds, canary.cdf, fault.latency)
        return replace(
            canary,
            errors=min(1.0, canary.errors + fault.errors),
            refused=min(1.0, canary.refused + fault.refused),
            cdf=slower_tail(bounds, cdf, fault.tail, fault.tail_share),
        )


def read_recording(text: str) -> Recording:
    """The recording in a file's text; a first character `{` means JSON.

    Raises:
        BadRecording: the text is not a recording, or too short.
    """
    traffic_at = _traffic_by_time(text)
    intervals = tuple(
        Interval(time, versions["stable"], versions.get("canary"))
        for time, versions in sorted(traffic_at.items())
        if "stable" in versions
    )
    if len(intervals) < 2:
        raise BadRecording("at least two intervals of the stable version are required")
    bounds = {
        tuple(sorted(traffic.buckets))
        for versions in traffic_at.values()
        for traffic in versions.values()
    }
    if len(bounds) != 1:
        raise BadRecording("the histograms have different bounds")
    gaps = [after.time - before.time for before, after in pairwise(intervals)]
    # The last interval is assumed to have the median length.
    length_s = intervals[-1].time - intervals[0].time + sorted(gaps)[len(gaps) // 2]
    return Recording(intervals, length_s, bounds.pop()[:-1])


def _traffic_by_time(text: str) -> dict[float, dict[str, Traffic]]:
    """Traffic by start of the interval and by version. Raises BadRecording."""
    traffic_at: dict[float, dict[str, Traffic]] = {}
    for line, row in _rows(text):
        try:
            time, version, traffic = _read(row)
        except KeyError as error:
            raise BadRecording(f"line {line}: there is no {error}") from error
        except (TypeError, ValueError, AttributeError) as error:
            raise BadRecording(f"line {line}: {error}") from error
        versions = traffic_at.setdefault(time, {})
        if version in versions:
            raise BadRecording(f"line {line}: {version} at {time:g} is there already")
        versions[version] = traffic
    return traffic_at


def _rows(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    lines = text.splitlines()
    if not text.lstrip().startswith("{"):
        yield from enumerate(csv.DictReader(lines), start=2)
        return
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except ValueError as error:
                raise BadRecording(f"line {number}: it is not JSON") from error


def _read(row: dict[str, Any]) -> tuple[float, str, Traffic]:
    """Raises KeyError, TypeError, ValueError, AttributeError."""
    time = float(row["time"])
    version = row["deployment"]
    if version not in VERSIONS or not isfinite(time):
        raise ValueError("deployment must be stable or canary, time a number")
    named_buckets = row.get("buckets") or {
        key[3:]: value for key, value in row.items() if key and key.startswith("le_")
    }
    buckets = {float(bound): float(count) for bound, count in named_buckets.items()}
    traffic = Traffic(float(row["answers"]), float(row["errors"]), float(row["refused"]), buckets)
    if inf not in buckets or min(buckets) <= 0 or len(buckets) < 2:
        raise ValueError("buckets must have bounds above 0 and +Inf")
    if not traffic.is_whole:
        raise ValueError("impossible figures: buckets must be cumulative, and nothing below 0")
    return time, version, traffic
