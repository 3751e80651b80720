"""The table of versions on the page: states from the repository, figures from the series."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from predictor import metrics
from predictor.errors import PredictorError
from predictor.repository import RoutingTable
from predictor.server.http.page.series import Labels, by_labels
from predictor.server.model import ServedModel

# Most lines of the table; versions that answer come first, then those that failed.
MAX_VERSIONS = 64
# Most characters of a reason; the repository index has all of it.
MAX_REASON = 400


@dataclass(slots=True)
class VersionLine:
    """One version; None where only a loaded version has a value."""

    name: str
    version: str
    # Of the repository index.
    state: str
    reason: str = ""
    # Whether it should answer but failed to load.
    failed: bool = False
    # Whether it answers requests without a version.
    default: bool = False
    healthy: bool = True
    revision: str | None = None
    variant: str | None = None
    dimensions: int | None = None
    # What its vectors were verified against, and the smallest cosine that passes.
    reference: str | None = None
    tolerance: float | None = None
    # Smallest cosine of the canonical texts at the last check, and the seconds since then.
    cosine: float | None = None
    checked_s: float | None = None
    # Whether the reference of its traffic is still being learnt.
    learning: bool | None = None
    # Drift score per test: 1 or more is drift.
    drift: dict[str, float] = field(default_factory=dict)
    # Tests with an alarm.
    alarms: list[str] = field(default_factory=list)
    requests: float = 0.0
    texts: float = 0.0
    tokens: float = 0.0


def lines_of(models: RoutingTable[ServedModel]) -> list[VersionLine]:
    """Every known version, without the fields that `add_series` fills; call it on the loop."""
    lines = {
        (entry.name, entry.version): VersionLine(
            entry.name, entry.version, str(entry.state), entry.reason[:MAX_REASON]
        )
        for entry in models.index()
    }
    for entry in models.problems():
        lines[entry.name, entry.version].failed = True
    for model in models.all():
        proof = model.loaded.bundle.variant(model.loaded.variant).proof
        line = lines[model.name, model.version]
        line.healthy = model.is_healthy
        line.revision, line.variant = model.revision, model.loaded.variant
        line.dimensions = model.loaded.bundle.dimensions
        line.reference, line.tolerance = proof.reference, proof.tolerance
    for name in models.names():
        with contextlib.suppress(PredictorError):  # no version answers
            lines[name, models.find(name).version].default = True
    return sorted(lines.values(), key=_order)


def _order(line: VersionLine) -> tuple[bool, bool, str, int, str]:
    number = int(line.version) if line.version.isdecimal() else 0
    return line.state != "READY", not line.failed, line.name, -number, line.version


def add_series(lines: list[VersionLine], now: float) -> None:
    """Fill in the values of the series; from any thread. now: seconds since the epoch."""
    known: dict[Labels, VersionLine] = {(line.name, line.version): line for line in lines}
    _add_counts(known)
    timestamps = by_labels(metrics.CANONICAL_TIMESTAMP, *metrics.MODEL)
    for key, cosine in by_labels(metrics.CANONICAL_COSINE, *metrics.MODEL).items():
        checked_at = timestamps.get(key)
        if key in known and checked_at:  # 0 before the first check
            known[key].cosine = cosine
            known[key].checked_s = max(0.0, now - checked_at)
    for key, learning in by_labels(metrics.DRIFT_LEARNING, *metrics.MODEL).items():
        if key in known:
            known[key].learning = bool(learning)
    of_test = (*metrics.MODEL, "test")
    alarms = by_labels(metrics.DRIFT_ALARM, *of_test)
    for (name, version, test), score in by_labels(metrics.DRIFT_SCORE, *of_test).items():
        if (line := known.get((name, version))) is not None:
            line.drift[test] = score
            if alarms.get((name, version, test)):
                line.alarms.append(test)


def _add_counts(known: Mapping[Labels, VersionLine]) -> None:
    """Add requests, and the texts and tokens that were computed or read from the cache."""
    for count, sources in (
        ("requests", (metrics.REQUESTS,)),
        ("texts", (metrics.INPUTS, metrics.CACHE_HITS)),
        ("tokens", (metrics.TOKENS, metrics.CACHE_SAVED_TOKENS)),
    ):
        for source in sources:
            for key, value in by_labels(source, *metrics.MODEL).items():
                if (line := known.get(key)) is not None:
                    setattr(line, count, getattr(line, count) + value)
